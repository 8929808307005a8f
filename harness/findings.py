"""A rule judged: its numbers and one plain sentence."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from harness.comparison import Comparison, Question, compare, date_of_more
from harness.pairing import Pair, PairingError, pair
from harness.policy import CoverageRule, Criterion, Policy
from harness.scores import UnitScores
from harness.wording import sentence_of

FindingRole = Literal["guardrail", "success", "limit"]


class Outcome(StrEnum):
    """What may be concluded, gravest first."""

    INVALID = "INVALID"
    REJECT = "REJECT"
    HOLD = "HOLD"
    PROMOTE = "PROMOTE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One rule on one dataset, judged.

    Attributes
    ----------
    id
        ``dataset:metric:role``, unique in a verdict; the metric of a limit is
        ``candidate_failures`` or ``legacy_failures``.
    metric, dataset, role
        What was judged.
    outcome
        Guardrail: PROMOTE (shown within its margin), REJECT (shown beyond), HOLD or INVALID.
        Success: PROMOTE (gain shown), HOLD or INVALID. Limit: PROMOTE, REJECT or INVALID.
    bound
        The number the rule compares with: the margin as a signed share (a success asks for a
        negative effect), the tolerance, or the limit.
    value
        The number found: the effect as a share, or a count.
    comparison
        All numbers; None for a limit, and where nothing could be compared.
    sentence
        What was found, written from the numbers.
    """

    id: str
    metric: str
    dataset: str
    role: FindingRole
    outcome: Outcome
    bound: float
    value: float | None
    comparison: Comparison | None
    sentence: str


def judge_rule(
    rule: Criterion | CoverageRule,
    dataset: str,
    *,
    policy: Policy,
    alpha: float,
    candidate: Sequence[UnitScores],
    legacy: Sequence[UnitScores],
) -> Finding:
    """Judge one rule on one dataset from the units of both sides.

    Sides that cannot be paired give INVALID; too few non-overlapping origins give HOLD whatever
    the numbers say.
    """
    question = _question(rule, policy, alpha)
    try:
        both = pair(candidate, legacy, rule.metric)
    except PairingError as problem:
        sentence = f"{dataset} {rule.metric}: {problem}: no conclusion allowed."
        return _finding(rule, dataset, Outcome.INVALID, question, None, sentence)
    found = compare(both, question)
    few = found.independent_n < policy.min_origins
    if few and found.n >= 2:
        found = _asking_for_more(found, both, policy)
    outcome = Outcome.HOLD if few else _OUTCOMES[rule.role, found.conclusion]
    sentence = sentence_of(found, role=rule.role, least=policy.min_origins)
    return _finding(rule, dataset, outcome, question, found, sentence)


def judge_failures(
    side: Literal["candidate", "legacy"],
    dataset: str,
    *,
    arm: str,
    limit: int,
    units: Sequence[UnitScores],
) -> Finding:
    """Judge the limit on failed windows: broken it is a REJECT or, for legacy, an INVALID."""
    count = sum(unit.failures for unit in units)
    windows = sum(len(unit) for unit in units)
    kept = count <= limit
    broken = Outcome.REJECT if side == "candidate" else Outcome.INVALID
    meaning = "broken" if side == "candidate" else "broken, so there is nothing sound to compare to"
    return Finding(
        id=f"{dataset}:{side}_failures:limit",
        metric=f"{side}_failures",
        dataset=dataset,
        role="limit",
        outcome=Outcome.PROMOTE if kept else broken,
        bound=float(limit),
        value=float(count),
        comparison=None,
        sentence=f"{dataset} failures: {arm} failed {count} of {windows} windows, limit {limit}: "
        f"{'kept' if kept else meaning}.",
    )


_OUTCOMES = {
    ("guardrail", "within"): Outcome.PROMOTE,
    ("guardrail", "beyond"): Outcome.REJECT,
    ("guardrail", "undecided"): Outcome.HOLD,
    ("success", "within"): Outcome.PROMOTE,
    ("success", "beyond"): Outcome.HOLD,  # a gain that is not there breaks nothing
    ("success", "undecided"): Outcome.HOLD,
}


def _question(rule: Criterion | CoverageRule, policy: Policy, alpha: float) -> Question:
    low, high = None, 0.0
    if isinstance(rule, CoverageRule):
        low, high = -rule.tolerance, rule.tolerance
    else:
        high = -rule.margin if rule.role == "success" else rule.margin
    return Question(
        metric=rule.metric, bound_low=low, bound_high=high, alpha=alpha, power=policy.power
    )


def _asking_for_more(found: Comparison, both: Pair, policy: Policy) -> Comparison:
    """Raise the origins still needed to what the policy asks for at least."""
    more = max(found.more_origins or 0, policy.min_origins - found.independent_n)
    return dataclasses.replace(found, more_origins=more, decided_by=date_of_more(both, more))


def _finding(
    rule: Criterion | CoverageRule,
    dataset: str,
    outcome: Outcome,
    question: Question,
    found: Comparison | None,
    sentence: str,
) -> Finding:
    return Finding(
        id=f"{dataset}:{rule.id}",
        metric=rule.metric,
        dataset=dataset,
        role=rule.role,
        outcome=outcome,
        bound=question.bound_high,
        value=found.effect if found else None,
        comparison=found,
        sentence=sentence,
    )
