"""A rule judged: its numbers and one plain sentence."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from harness.evidence.compared import Comparison
from harness.evidence.comparison import compare
from harness.evidence.estimates import Question
from harness.evidence.outlook import date_of_more
from harness.evidence.pairing import Pair, PairingError, pair
from harness.judging.failed_windows import Ask, Reading, readings
from harness.judging.policy import CoverageRule, Criterion, Policy, finding_id
from harness.judging.scope import ScopeError, cut
from harness.judging.wording import sentence_of
from harness.scoring.scores import UnitScores

FindingRole = Literal["guardrail", "success", "limit"]
Unit = Literal["share", "points", "count", "ratio"]
"""What a finding's numbers are: a share of legacy's loss, points of a share, a count, a ratio."""


NO_LOSS = 1e-6
"""A legacy loss up to this, scaled by the last value, is no scale for a margin."""


class Outcome(StrEnum):
    """What may be concluded, gravest first."""

    INVALID = "INVALID"
    REJECT = "REJECT"
    HOLD = "HOLD"
    PROMOTE = "PROMOTE"


GRAVEST = tuple(Outcome)
"""Outcomes, gravest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One rule on one dataset, judged.

    Attributes
    ----------
    id
        ``dataset:metric:role``, with ``@part`` where a rule speaks of a part; unique in a verdict.
        The metric of a limit is ``candidate_failures``, ``legacy_failures``, ``skill`` or the name
        of a cost.
    metric, dataset, role
        What was judged, ``crps_wins`` for origins won by CRPS; the dataset is ``all`` for a cost.
    outcome
        Guardrail: PROMOTE (shown within its margin), REJECT (shown beyond), HOLD or INVALID.
        Success: PROMOTE (gain shown), HOLD or INVALID. Limit: any.
    bound
        The number the rule compares with: the margin as a signed share (a success asks for a
        negative effect), the tolerance, or the limit.
    value
        The number found: the effect as a share, a count, or a ratio.
    comparison
        All numbers; None for a count or a cost, and where nothing could be compared.
    sentence
        What was found, written from the numbers.
    unit
        What `bound` and `value` are.
    part
        The part judged, such as ``volatility:high``; '' for everything.
    low, high
        Interval of a measured ratio; None for all others, whose intervals are in `comparison`.
    waived
        A waiver keeps it from binding.
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
    unit: Unit = "share"
    part: str = ""
    low: float | None = None
    high: float | None = None
    waived: bool = False

    @property
    def binding(self) -> bool:
        """Whether the outcome of the verdict depends on it: guardrails and limits not waived."""
        return self.role != "success" and not self.waived


def judge_rule(
    rule: Criterion | CoverageRule,
    dataset: str,
    *,
    policy: Policy,
    question: Question,
    candidate: Sequence[UnitScores],
    legacy: Sequence[UnitScores],
    ask: Ask = compare,
) -> list[Finding]:
    """Judge one rule on one dataset from the units of both sides: a finding for each part.

    Sides that cannot be paired, a part that is not there and a margin on a baseline that cannot be
    told from 0 give INVALID; too few non-overlapping origins give HOLD whatever the numbers say.

    Parameters
    ----------
    ask
        What is asked of each pair: `compare`, or `answer` where the conclusion alone is wanted.
    """
    names = rule.scope.slices or ("",)
    found = []
    for name, part in zip(names, rule.scope.parts, strict=True):
        made = _Making(
            rule=rule, dataset=dataset, part=part, policy=policy, question=question, ask=ask
        )
        try:
            sides = [cut(units, rule.scope, name) for units in (candidate, legacy)]
            both = pair(sides[0], sides[1], rule.metric)
        except (PairingError, ScopeError) as problem:
            found.append(made.invalid(str(problem)))
            continue
        found.append(made.judged(both))
    return found


def question_of(rule: Criterion | CoverageRule, *, alpha: float, power: float) -> Question:
    """What a rule asks of a pair."""
    low, high = None, 0.0
    if isinstance(rule, CoverageRule):
        low, high = -rule.tolerance, rule.tolerance
    else:
        high = -rule.margin if rule.role == "success" else rule.margin
    return Question(metric=rule.judged, bound_low=low, bound_high=high, alpha=alpha, power=power)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Making:
    """One finding in the making."""

    rule: Criterion | CoverageRule
    dataset: str
    part: str
    policy: Policy
    question: Question
    ask: Ask

    def invalid(self, problem: str) -> Finding:
        """Nothing could be compared."""
        return self._finding(Outcome.INVALID, None, f"{problem}: no conclusion allowed.")

    def judged(self, both: Pair) -> Finding:
        """Compare a pair and conclude: failed windows never help the arm that failed them."""
        if not both.candidate_ok.any():
            return self.invalid(f"{both.names[0]} failed every window, nothing was compared")
        found = self._gravest(readings(both, self.question))
        if found.outcome is not Outcome.REJECT or found.comparison is None:
            return found
        if not found.comparison.legacy_failed_as:
            return found
        other = self._gravest(readings(both, self.question, legacy="worst"))
        if other.outcome is Outcome.PROMOTE and other.comparison is not None:
            why = f"it depends on how the failed windows of {other.comparison.legacy} are counted"
            open_ = dataclasses.replace(other.comparison, conclusion="undecided", reason=why)
            return self._concluded(open_)
        return found if other.outcome is Outcome.REJECT else other

    def _gravest(self, ways: Sequence[Reading]) -> Finding:
        return min(map(self._read, ways), key=lambda found: GRAVEST.index(found.outcome))

    def _read(self, reading: Reading) -> Finding:
        """Compare a pair whose failed windows are counted in one way."""
        least = self.policy.min_origins
        found = reading.asked(self.question, self.ask)
        if found.independent_n < least and found.n >= 2:
            found = _asking_for_more(found, reading.pair, self.policy)
        elif without_scale(found):
            return dataclasses.replace(
                self.invalid(
                    f"{found.legacy}'s loss is as good as 0 (at most {NO_LOSS:g} of the last "
                    "value), so a margin that is a share of it means nothing"
                ),
                comparison=found,
            )
        return self._concluded(found)

    def _concluded(self, found: Comparison) -> Finding:
        least = self.policy.min_origins
        few = found.independent_n < least
        outcome = Outcome.HOLD if few else _OUTCOMES[self.rule.role, found.conclusion]
        said = sentence_of(found, role=self.rule.role, least=least)
        return self._finding(outcome, found, said.partition(": ")[2])

    def _finding(self, outcome: Outcome, found: Comparison | None, said: str) -> Finding:
        metric = self.rule.judged
        where = f"{self.dataset} {metric}" + (f" ({self.part})" if self.part else "")
        return Finding(
            id=finding_id(self.dataset, self.rule.id, self.part),
            metric=metric,
            dataset=self.dataset,
            role=self.rule.role,
            outcome=outcome,
            bound=self.question.bound_high,
            value=found.effect if found else None,
            comparison=found,
            sentence=f"{where}: {said}",
            unit="points" if self.question.scale == "share" else "share",
            part=self.part,
        )


def without_scale(found: Comparison) -> bool:
    """Whether legacy's loss is so near to 0 that a share of it means nothing.

    A loss that merely varies too much to have bounds is another matter: that is undecided.
    """
    asked = Question(metric=found.metric, bound_high=found.bound_high)
    if asked.scale == "share" or found.n < 2 or found.candidate_failed or found.legacy_failed:
        return False
    near = found.legacy_value is not None and abs(found.legacy_value) <= NO_LOSS
    return bool(found.estimates) and (found.effect is None or near)


_OUTCOMES = {
    ("guardrail", "within"): Outcome.PROMOTE,
    ("guardrail", "beyond"): Outcome.REJECT,
    ("guardrail", "undecided"): Outcome.HOLD,
    ("success", "within"): Outcome.PROMOTE,
    ("success", "beyond"): Outcome.HOLD,  # a gain that is not there breaks nothing
    ("success", "undecided"): Outcome.HOLD,
}


def _asking_for_more(found: Comparison, both: Pair, policy: Policy) -> Comparison:
    """Raise the origins still needed to what the policy asks for at least."""
    more = max(found.more_origins or 0, policy.min_origins - found.independent_n)
    return dataclasses.replace(found, more_origins=more, decided_by=date_of_more(both, more))
