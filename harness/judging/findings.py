"""A rule judged: its numbers and what they show."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from harness.evidence.comparison import Comparison
from harness.evidence.estimand import Estimand
from harness.evidence.estimates import Conclusion, Question
from harness.evidence.pairing import CountedPair, Pair, PairingError, pair
from harness.evidence.prospects import comparison_of, date_of_more
from harness.experiments.policy import Policy, finding_id
from harness.experiments.rules import CoverageRule, Criterion
from harness.judging.fact import Fact, FactCode, Value, fact
from harness.scoring.scores import UnitScores
from harness.scoring.subsets import ScopeError, cut
from harness.stats.ability import holm
from harness.stats.longrun import TIE
from harness.stats.statistical_power import LEAST_INDEPENDENT

FindingRole = Literal["guardrail", "success", "limit"]
Unit = Literal["share", "points", "count", "ratio"]
"""What a finding's numbers are: a share of legacy's loss, points of a share, a count, a ratio."""


MeasuringTask = Callable[[Pair, Question], Comparison]
"""What puts a question to a pair: `comparison_of`, or `answer` for the conclusion alone."""
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
    found
        What the numbers show, or why nothing could be judged.
    estimand
        What was compared, or would have been; None for a count or a cost.
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
    found: Fact
    estimand: Estimand | None = None
    unit: Unit = "share"
    part: str = ""
    low: float | None = None
    high: float | None = None
    waived: bool = False

    @property
    def binding(self) -> bool:
        """Whether the outcome of the verdict depends on it: guardrails and limits not waived."""
        return self.role != "success" and not self.waived

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """Those of the comparison, None where there are none; see `Comparison.bounds`."""
        return (None, None) if self.comparison is None else self.comparison.bounds


def judge_rule(
    rule: Criterion | CoverageRule,
    dataset: str,
    *,
    policy: Policy,
    question: Question,
    candidate: Sequence[UnitScores],
    legacy: Sequence[UnitScores],
    ask: MeasuringTask = comparison_of,
) -> list[Finding]:
    """Judge one rule on one dataset from the units of both sides: a finding for each part.

    Sides that cannot be paired, a part that is not there and a margin on a baseline that cannot be
    told from 0 give INVALID; too few non-overlapping origins give HOLD whatever the numbers say.

    Parameters
    ----------
    ask
        What puts a question to each pair.
    """
    names = rule.scope.slices or ("",)
    found = []
    for name, part in zip(names, rule.scope.parts, strict=True):
        made = _FindingDraft(
            rule=rule, dataset=dataset, part=part, policy=policy, question=question, ask=ask
        )
        try:
            sides = [cut(units, rule.scope, name) for units in (candidate, legacy)]
            picked = bool(sides[0]) and len(sides[0][0]) < len(candidate[0])
            both = pair(sides[0], sides[1], question.estimand.metric, part=picked)
        except (PairingError, ScopeError) as problem:
            why = problem.why
            rest = {name: value for name, value in why.values.items() if name != "dataset"}
            found.append(made.invalid(FactCode.NOT_COMPARED, problem=why.code.value, **rest))
            continue
        found.append(made.judged(both))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _FindingDraft:
    """One finding in the making."""

    rule: Criterion | CoverageRule
    dataset: str
    part: str
    policy: Policy
    question: Question
    ask: MeasuringTask

    def invalid(self, code: FactCode, **values: Value) -> Finding:
        """Nothing could be compared."""
        place = {"dataset": self.dataset, "metric": self.question.estimand.name, "part": self.part}
        return self._finding(Outcome.INVALID, None, fact(code, **place, **values))

    def judged(self, both: Pair) -> Finding:
        """Compare a pair and conclude: failed windows never help the arm that failed them."""
        if not both.candidate_ok.any():
            return self.invalid(FactCode.ALL_WINDOWS_FAILED, arm=both.names[0])
        estimand = self.question.estimand
        found = self._gravest(estimand.readings(both))
        if found.outcome is not Outcome.REJECT or found.comparison is None:
            return found
        if not found.comparison.failed.legacy_as:
            return found
        other = self._gravest(estimand.readings(both, legacy="worst"))
        if other.outcome is Outcome.PROMOTE and other.comparison is not None:
            open_ = dataclasses.replace(other.comparison, conclusion="undecided")
            why = fact(FactCode.DEPENDS_ON_FAILED, arm=other.comparison.legacy)
            return self._concluded(open_, why)
        return found if other.outcome is Outcome.REJECT else other

    def _gravest(self, ways: Sequence[CountedPair]) -> Finding:
        """Compare a pair with its failed windows counted in each way; the gravest counts."""
        found: list[Finding] = []
        for way in ways:
            made = dataclasses.replace(self.ask(way.pair, self.question), failed=way.failed)
            missing = self.policy.min_origins - made.sample.independent_n
            if missing > 0 and made.sample.n >= 2:  # with so few nothing is decided
                planned = made.planning
                more = max(planned.more_origins or 0, missing)
                planned = dataclasses.replace(
                    planned,
                    chances=tuple((effect, 0.0) for effect, _ in planned.chances),
                    chance=None if planned.chance is None else 0.0,
                    more_origins=more,
                    decided_by=date_of_more(way.pair, more),
                )
                made = dataclasses.replace(made, planning=planned)
            elif without_scale(made):
                nothing = self.invalid(FactCode.NO_LOSS_TO_SHARE, arm=made.legacy, most=NO_LOSS)
                found.append(dataclasses.replace(nothing, comparison=made))
                continue
            found.append(self._concluded(made, fact(_CONCLUDED[made.conclusion])))
        return min(found, key=lambda each: GRAVEST.index(each.outcome))

    def _concluded(self, found: Comparison, shown: Fact) -> Finding:
        """Conclude from a comparison; too few origins leave it open whatever it shows."""
        outcome = _OUTCOMES[self.rule.role, found.conclusion]
        if found.sample.independent_n < self.policy.min_origins:
            outcome = Outcome.HOLD
            shown = fact(FactCode.FEW_ORIGINS, asked=self.policy.min_origins)
        elif outcome is Outcome.PROMOTE and recently_beyond(found):
            outcome, shown = Outcome.HOLD, fact(FactCode.RECENTLY_BEYOND)
        return self._finding(outcome, found, shown)

    def _finding(self, outcome: Outcome, found: Comparison | None, shown: Fact) -> Finding:
        return Finding(
            id=finding_id(self.dataset, self.rule.id, self.part),
            metric=self.question.estimand.name,
            dataset=self.dataset,
            role=self.rule.role,
            outcome=outcome,
            bound=self.question.bound_high,
            value=found.effect.value if found else None,
            comparison=found,
            found=shown,
            estimand=self.question.estimand,
            unit=self.question.estimand.unit,
            part=self.part,
        )


def recently_beyond(found: Comparison) -> bool:
    """Whether the last origins alone lie beyond the bound, or show no gain where one is asked.

    It vetoes a PROMOTE, and rejects nothing: a break in the difference is averaged away over all
    origins, and the last ones are too few for a test.
    """
    effect = found.recent.effect if found.recent is not None else None
    if effect is None:
        return False
    low, high = found.question.recent_bounds
    return effect > high + TIE or (low is not None and effect < low - TIE)


NEAR = 0.6
"""Standard errors from the bound within which the last origins alone are a caution."""


def nearly_beyond(finding: Finding) -> Fact | None:
    """State that what is shown within over all origins is hardly so over the last ones.

    So few cannot tell a candidate that has become worse from one that has not: of those that a
    break makes PROMOTE, most lie near the bound. For losses; see the simulation study.
    """
    found = finding.comparison
    shown = finding.outcome is Outcome.PROMOTE and finding.role != "limit"
    if not shown or found is None or not found.estimand.relative:
        return None
    recent, known = found.recent, found.variances
    if recent is None or recent.effect is None or known is None:
        return None
    error = math.sqrt(known.origins * found.sample.n / recent.n)
    if recent.effect <= found.question.recent_bounds[1] - NEAR * error:
        return None
    return fact(
        FactCode.NEARLY_BEYOND,
        dataset=finding.dataset,
        metric=finding.metric,
        part=finding.part,
        origins=recent.n,
        since=recent.since,
        effect=recent.effect,
        error=error,
        bound=found.question.recent_bounds[1],
    )


def rejected_together(findings: Sequence[Finding], *, alpha: float) -> list[Finding]:
    """Leave open what is shown broken alone, and not among all rules that could be.

    Every rule that compares is one chance of a wrong REJECT. By Holm over all of them the chance of
    any is at most `alpha`, however they depend on each other.
    """
    tests = [f for f in findings if f.comparison is not None and f.role != "success"]
    adjusted = dict(zip((f.id for f in tests), holm(list(map(p_of_reject, tests))), strict=True))

    def judged(each: Finding) -> Finding:
        p_value = adjusted.get(each.id, 0.0)
        if each.outcome is not Outcome.REJECT or p_value <= alpha:
            return each
        alone = fact(FactCode.BEYOND_ALONE, adjusted=p_value, rules=len(tests))
        return dataclasses.replace(each, outcome=Outcome.HOLD, found=alone)

    return list(map(judged, findings))


def p_of_reject(finding: Finding) -> float:
    """P-value of "the bound is kept" by the t tests that decide; 1 where there is none."""
    found = finding.comparison
    tests = [found.estimate("hac"), found.estimate("seeds")] if found else []
    values = [each.p_beyond for each in tests if each is not None]
    return max((1.0 if value is None else value for value in values), default=1.0)


_CONCLUDED: dict[Conclusion, FactCode] = {
    "within": FactCode.WITHIN,
    "beyond": FactCode.BEYOND,
    "undecided": FactCode.UNDECIDED,
}


def without_scale(found: Comparison) -> bool:
    """Whether legacy's loss is so near to 0 that a share of it means nothing.

    A loss that merely varies too much to have bounds is another matter: that is undecided.
    """
    if not found.estimand.relative or found.failed.candidate or found.failed.legacy:
        return False
    near = found.effect.legacy is not None and abs(found.effect.legacy) <= NO_LOSS
    return bool(found.estimates) and (found.effect.value is None or near)


_OUTCOMES = {
    ("guardrail", "within"): Outcome.PROMOTE,
    ("guardrail", "beyond"): Outcome.REJECT,
    ("guardrail", "undecided"): Outcome.HOLD,
    ("success", "within"): Outcome.PROMOTE,
    ("success", "beyond"): Outcome.HOLD,  # a gain that is not there breaks nothing
    ("success", "undecided"): Outcome.HOLD,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Multiplicity:
    """How error rate and power are shared.

    All guardrails must hold, so each keeps alpha: a chance to pass wrongly is at most that of one.
    One that is broken is enough for a REJECT, so there they share alpha (`rejected_together`).
    Their powers multiply, so each is planned with more: 1 - (1 - power) / guardrails finds all of
    them together with at least the power asked for (Bonferroni). One success is enough, so the
    successes share alpha.

    Attributes
    ----------
    guardrails, successes
        Findings of each role.
    alpha_guardrail, alpha_success
        One-sided error rate of each finding.
    alpha_reject
        Chance that any rule is wrongly shown broken.
    power, power_each
        As asked for all guardrails together, and what each is planned with.
    """

    guardrails: int
    successes: int
    alpha_guardrail: float
    alpha_success: float
    alpha_reject: float
    power: float
    power_each: float

    def asked_by(self, rule: Criterion | CoverageRule, *, rivals: int = 1) -> Question:
        """What a rule asks of a pair.

        Parameters
        ----------
        rivals
            Rules that share the error rate of a REJECT, see `rejected_together`.
        """
        alpha = self.alpha_success if rule.role == "success" else self.alpha_guardrail
        own = alpha * rule.estimand.alpha_share
        low, high = rule.estimand.bounds(rule.bound)
        return Question(
            estimand=rule.estimand,
            bound_low=low,
            bound_high=high,
            alpha=own,
            power=self.power_each,
            alpha_beyond=min(own, alpha / max(1, rivals)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RulePower:
    """What a plan can tell of one finding: the same answer in `power`, verdict and page.

    Attributes
    ----------
    finding, role, bound, unit
        Of the finding.
    origins, independent_n, seeds
        Of the plan; seeds of candidate and legacy.
    effect
        The one found; None where it is not the pair's.
    chances
        True effects with the chance of deciding, see `Planning`.
    chance
        The same at the effect found.
    detectable
        Smallest distance from the bound that is found with the planned power.
    settled_at
        The smallest bound that today's evidence would show to be kept.
    more_origins, decided_by, seeds_needed
        What would decide it if the effect stays; None when decided or out of reach.
    decided
        It is decided already.
    silent
        Why there is no prediction; None where there may be one.
    """

    finding: str
    role: FindingRole
    bound: float
    unit: Unit
    origins: int
    independent_n: int
    seeds: tuple[int, int]
    effect: float | None
    chances: tuple[tuple[float, float], ...]
    chance: float | None
    detectable: float | None
    settled_at: float | None
    more_origins: int | None
    decided_by: str | None
    seeds_needed: int | None
    decided: bool
    silent: Fact | None = None


def outlooks_of(findings: Sequence[Finding]) -> tuple[RulePower, ...]:
    """One per finding that compares losses or coverage."""
    found = []
    for each in findings:
        compared = each.comparison
        if compared is None:
            continue
        planned, sample = compared.planning, compared.sample
        silent = no_prediction(sample.independent_n) if compared.silent else None
        found.append(
            RulePower(
                finding=each.id,
                role=each.role,
                bound=each.bound,
                unit=each.unit,
                origins=sample.n,
                independent_n=sample.independent_n,
                seeds=(sample.candidate_seeds, sample.legacy_seeds),
                effect=compared.effect.value,
                chances=planned.chances,
                chance=planned.chance,
                detectable=planned.detectable,
                settled_at=compared.settled_at,
                more_origins=planned.more_origins,
                decided_by=planned.decided_by,
                seeds_needed=planned.seeds_needed,
                decided=each.outcome in (Outcome.PROMOTE, Outcome.REJECT),
                silent=silent or (None if planned.chances else fact(FactCode.TIED)),
            )
        )
    return tuple(found)


def chances_of_all(outlooks: Sequence[RulePower]) -> tuple[tuple[float, float, float], ...]:
    """True effects with the least and the most the chance can be that all guardrails are decided.

    Losses that much better than legacy's, and intervals that cover as promised. How the guardrails
    hang together is not known: at worst they fail on different samples, at best on the same.
    Empty where one of them has no prediction.
    """
    bars = [each for each in outlooks if each.role == "guardrail"]
    if not bars or not all(each.chances for each in bars):
        return ()
    found = []
    for place, (effect, _) in enumerate(bars[0].chances):
        each = [bar.chances[place if bar.unit == "share" else 0][1] for bar in bars]
        found.append((effect, max(0.0, 1 - sum(1 - chance for chance in each)), min(each)))
    return tuple(found)


def no_prediction(independent_n: int) -> Fact:
    """State that so few non-overlapping origins allow no prediction."""
    return fact(FactCode.NO_PREDICTION, origins=independent_n, least=LEAST_INDEPENDENT)


def multiplicity_of(policy: Policy, datasets: Sequence[str]) -> Multiplicity:
    """Share out alpha and power over the findings a policy makes on these datasets."""
    guardrails, successes = policy.guardrails_on(datasets), policy.successes_on(datasets)
    return Multiplicity(
        guardrails=guardrails,
        successes=successes,
        alpha_guardrail=policy.alpha,
        alpha_success=policy.alpha / max(1, successes),
        alpha_reject=policy.alpha,
        power=policy.power,
        power_each=1 - (1 - policy.power) / max(1, guardrails),
    )
