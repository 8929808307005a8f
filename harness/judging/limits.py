"""Limits judged: failed windows, skill against the random walk, and measured costs.

A cost is a measured ratio candidate / legacy with an interval, taken on one machine class. Without
one the limit is undecided and says which command measures it: not run never looks like kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from harness.costs import HIGHER_IS_BETTER, Cost
from harness.evidence.estimates import Question
from harness.judging.findings import Finding, Outcome, judge_rule
from harness.judging.policy import EVERYWHERE, Criterion, Policy, RuleRole, finding_id
from harness.judging.wording import sentence_of
from harness.scoring.scores import UnitScores


def judge_failures(
    side: Literal["candidate", "legacy"],
    dataset: str,
    *,
    arm: str,
    limit: int,
    units: Sequence[UnitScores],
) -> Finding:
    """Judge the limit on failed windows: broken it is a REJECT or, for legacy, an INVALID.

    No limit allows all of them: then nothing was compared, which is INVALID for either side.
    """
    count = sum(unit.failures for unit in units)
    windows = sum(len(unit) for unit in units)
    none_left = 0 < windows == count
    kept = count <= limit and not none_left
    sound = side == "candidate" and not none_left
    broken = Outcome.REJECT if sound else Outcome.INVALID
    meaning = "broken, nothing was compared" if none_left else "broken"
    meaning += "" if side == "candidate" else ", so there is nothing sound to compare to"
    return Finding(
        id=finding_id(dataset, f"{side}_failures:limit"),
        metric=f"{side}_failures",
        dataset=dataset,
        role="limit",
        outcome=Outcome.PROMOTE if kept else broken,
        bound=float(limit),
        value=float(count),
        comparison=None,
        sentence=f"{dataset} failures: {arm} failed {count} of {windows} windows, limit {limit}: "
        f"{'kept' if kept else meaning}.",
        unit="count",
    )


def judge_skill(
    dataset: str,
    *,
    policy: Policy,
    question: Question,
    candidate: Sequence[UnitScores],
    reference: Sequence[UnitScores],
) -> Finding:
    """Judge whether the candidate is shown to have the least skill over the reference arm."""
    wanted = policy.limits.min_skill
    assert wanted is not None
    rule = Criterion(metric="crps")
    asked = dataclasses.replace(question, bound_high=-wanted)
    found = judge_rule(
        rule, dataset, policy=policy, question=asked, candidate=candidate, legacy=reference
    )[0]
    said = found.sentence.partition(": ")[2]
    if not reference:
        said = "there is no reference arm: no conclusion allowed."
    elif found.comparison is not None and found.outcome is not Outcome.INVALID:
        role: RuleRole = "success" if wanted > 0 else "guardrail"
        told = sentence_of(found.comparison, role=role, least=policy.min_origins)
        said = told.partition(": ")[2]
    return dataclasses.replace(
        found,
        id=finding_id(dataset, "skill:limit"),
        metric="skill",
        role="limit",
        sentence=f"{dataset} skill by CRPS: {said}",
    )


def judge_cost(
    name: str, bound: float, found: Cost | None, *, alpha: float, command: str
) -> Finding:
    """Judge a measured ratio against its limit.

    Kept or broken when the one-sided bound, widened by the noise floor, lies on that side. A
    figure that was taken and is no evidence (a loaded machine, an overlap) allows no conclusion.

    Parameters
    ----------
    command
        What measures it, named where it was not.
    """
    side = "at least" if name in HIGHER_IS_BETTER else "at most"
    asked = f"limit {side} {bound:g} times legacy's"
    outcome, said = _against(bound, found, alpha=alpha, command=command)
    figure = ""
    if found is not None and found.ratio is not None:
        figure = f"{found.ratio:.3g} times legacy's{_interval(found)}, "
    return Finding(
        id=finding_id(EVERYWHERE, f"{name}:limit"),
        metric=name,
        dataset=EVERYWHERE,
        role="limit",
        outcome=outcome,
        bound=bound,
        value=found.ratio if found else None,
        comparison=None,
        sentence=f"{name.replace('_', ' ')}: {figure}{asked}: {said}.",
        unit="ratio",
        low=found.low if found else None,
        high=found.high if found else None,
    )


def _against(
    bound: float, found: Cost | None, *, alpha: float, command: str
) -> tuple[Outcome, str]:
    if found is None:
        return Outcome.HOLD, f"not decided, it was not measured; `{command}` measures it"
    if not found.valid:
        outcome = Outcome.HOLD if found.ratio is None else Outcome.INVALID
        return outcome, f"{_UNSOUND[outcome]}, {found.reason}"
    worst, best = found.worst(alpha), found.best(alpha)
    if worst is None or best is None:
        return Outcome.HOLD, f"not decided, {found.n} pair gives no interval; `{command}` again"
    allowed = 1 - bound if found.higher_is_better else bound - 1
    noise = found.noise_floor or 0.0
    if worst + noise <= allowed:
        return Outcome.PROMOTE, "kept"
    if best - noise > allowed:
        return Outcome.REJECT, "broken"
    return Outcome.HOLD, "not decided, interval and noise reach across the limit"


_UNSOUND = {Outcome.HOLD: "not decided", Outcome.INVALID: "no conclusion allowed"}


def _interval(found: Cost) -> str:
    if found.low is None or found.high is None or found.exact:
        return ""
    noise = "" if found.noise_floor is None else f", noise {100 * found.noise_floor:.2g} %"
    return f" ({found.low:.3g} to {found.high:.3g}{noise})"
