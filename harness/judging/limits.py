"""What a policy limits besides its rules: failures, the point path, skill, measured costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from harness.costs import Cost
from harness.evidence.estimand import Skill
from harness.evidence.estimates import Question
from harness.evidence.prospects import comparison_of
from harness.experiments.policy import EVERYWHERE, Policy, finding_id
from harness.experiments.rules import Criterion
from harness.judging.declared import JudgedGrid
from harness.judging.fact import FactCode, Value, fact
from harness.judging.findings import Finding, MeasuringTask, Multiplicity, Outcome, judge_rule
from harness.judging.price_scale import far_from_prices
from harness.scoring.scores import UnitScores

_SKILL = Criterion(metric="crps")


def judge_limits(
    grid: JudgedGrid, dataset: str, *, shared: Multiplicity, bar: str | None, ask: MeasuringTask
) -> list[Finding]:
    """Judge what a policy limits on one dataset: failures, the point path, the least skill.

    Parameters
    ----------
    bar
        The reference arm.
    """
    policy, candidate = grid.policy, grid.units(grid.policy.candidate, dataset)
    found = [
        judge_failures("candidate", grid, dataset),
        judge_failures("legacy", grid, dataset),
        *judge_path(dataset, candidate),
    ]
    if policy.limits.min_skill is not None:
        found.append(
            judge_skill(
                dataset,
                policy=policy,
                question=shared.asked_by(_SKILL),
                candidate=candidate,
                reference=grid.units(bar, dataset),
                ask=ask,
            )
        )
    return found


def judge_failures(side: Literal["candidate", "legacy"], grid: JudgedGrid, dataset: str) -> Finding:
    """Judge the limit on failed windows: broken it is a REJECT or, for legacy, an INVALID.

    No limit allows all of them: then nothing was compared, which is INVALID for either side.
    """
    limit = grid.policy.limits.failures
    arm = grid.policy.candidate if side == "candidate" else grid.policy.baseline
    units = grid.units(arm, dataset)
    count = sum(unit.failures for unit in units)
    windows = sum(len(unit) for unit in units)
    none_left = 0 < windows == count
    kept = count <= limit and not none_left
    sound = side == "candidate" and not none_left
    broken = Outcome.REJECT if sound else Outcome.INVALID
    return Finding(
        id=finding_id(dataset, f"{side}_failures:limit"),
        metric=f"{side}_failures",
        dataset=dataset,
        role="limit",
        outcome=Outcome.PROMOTE if kept else broken,
        bound=float(limit),
        value=float(count),
        comparison=None,
        found=fact(
            FactCode.FAILURES,
            dataset=dataset,
            side=side,
            arm=arm,
            failed=count,
            windows=windows,
            limit=limit,
            kept=kept,
        ),
        unit="count",
    )


def judge_path(dataset: str, units: Sequence[UnitScores]) -> list[Finding]:
    """Refuse a candidate whose point path is nowhere near the prices, whatever the rules name."""
    far = next(filter(None, map(far_from_prices, units)), None)
    if far is None:
        return []
    middle, last = far.values["middle"], far.values["last"]
    assert isinstance(middle, float)
    assert isinstance(last, float)
    return [
        Finding(
            id=finding_id(dataset, "point_path:limit"),
            metric="point_path",
            dataset=dataset,
            role="limit",
            outcome=Outcome.REJECT,
            bound=2.0,
            value=max(middle / last, last / middle) if middle / last > 0 else None,
            comparison=None,
            found=far,
            unit="ratio",
        )
    ]


def judge_skill(
    dataset: str,
    *,
    policy: Policy,
    question: Question,
    candidate: Sequence[UnitScores],
    reference: Sequence[UnitScores],
    ask: MeasuringTask = comparison_of,
) -> Finding:
    """Judge whether the candidate is shown to have the least skill over the reference arm."""
    wanted = policy.limits.min_skill
    assert wanted is not None
    asked = dataclasses.replace(question, estimand=Skill(), bound_high=-wanted)
    found = judge_rule(
        _SKILL,
        dataset,
        policy=policy,
        question=asked,
        candidate=candidate,
        legacy=reference,
        ask=ask,
    )[0]
    shown = found.found
    if not reference:
        shown = fact(FactCode.NO_REFERENCE, dataset=dataset, metric="skill", part="")
    return dataclasses.replace(
        found, id=finding_id(dataset, f"{found.metric}:limit"), role="limit", found=shown
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
    outcome, code, values = _against(bound, found, alpha=alpha, command=command)
    shown = found is not None and found.ratio is not None and not found.exact
    return Finding(
        id=finding_id(EVERYWHERE, f"{name}:limit"),
        metric=name,
        dataset=EVERYWHERE,
        role="limit",
        outcome=outcome,
        bound=bound,
        value=found.ratio if found else None,
        comparison=None,
        found=fact(
            code,
            criterion=name,
            bound=bound,
            ratio=found.ratio if found else None,
            low=found.low if found and shown else None,
            high=found.high if found and shown else None,
            noise=found.noise_floor if found and shown else None,
            **values,
        ),
        unit="ratio",
        low=found.low if found else None,
        high=found.high if found else None,
    )


def _against(
    bound: float, found: Cost | None, *, alpha: float, command: str
) -> tuple[Outcome, FactCode, dict[str, Value]]:
    if found is None:
        return Outcome.HOLD, FactCode.COST_NOT_MEASURED, {"command": command}
    if not found.valid:
        why = found.reasons[0]
        said: dict[str, Value] = {"problem": why.code.value, **why.values}
        if found.ratio is None:
            return Outcome.HOLD, FactCode.COST_NOT_TAKEN, said
        return Outcome.INVALID, FactCode.COST_NO_EVIDENCE, said
    worst, best = found.worst(alpha), found.best(alpha)
    if worst is None or best is None:
        values: dict[str, Value] = {"pairs": found.n, "command": command}
        return Outcome.HOLD, FactCode.COST_WITHOUT_INTERVAL, values
    allowed = 1 - bound if found.higher_is_better else bound - 1
    noise = found.noise_floor or 0.0
    if worst + noise <= allowed:
        return Outcome.PROMOTE, FactCode.COST_KEPT, {}
    if best - noise > allowed:
        return Outcome.REJECT, FactCode.COST_BROKEN, {}
    return Outcome.HOLD, FactCode.COST_OPEN, {}
