"""The gate judges itself, on each call and from the stored losses: six parts, in seconds.

Eleven public projects were found whose gate was green while it measured nothing, never compared,
or lost its exit code. So the same functions that judge the candidate are asked questions whose
answers are known: (a) legacy against itself, (b) losses made worse, (c) a planted gain, (d) a
dropped cell, (e) swapped arms, (f) another order of rows. A wrong answer makes the verdict INVALID.

Losses are planted on the origins, the criteria and the parts that are judged; coverage rules, wins
and limits are not part of (a) to (c), because no factor on a loss says what they should become.
Variations and predicted power, on which no conclusion rests, are not worked out for them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness.evidence.comparison import answer, compare
from harness.evidence.estimand import Question, loss_of
from harness.evidence.estimates import Conclusion, Estimate, by_test
from harness.evidence.pairing import Sides, pair
from harness.experiments.rules import Criterion
from harness.judging.declared import Cell, datasets_of
from harness.judging.fact import Fact, FactCode, fact
from harness.judging.findings import (
    Ask,
    Finding,
    Outcome,
    judge_rule,
    question_of,
    rejected_together,
)
from harness.judging.safeguards import Safeguards
from harness.judging.validity import examine
from harness.judging.verdict import (
    Evidence,
    SelfTest,
    SelfTestPart,
    State,
    case_of,
    conclude,
    gather,
    outcome_of,
    to_json,
)
from harness.scoring.metrics import AGGREGATES
from harness.scoring.scores import UnitScores, in_time_order
from harness.scoring.subsets import LEAST, cut
from harness.stats.longrun import centred, generator_of

FLIPS = 100
"""Random exchanges of the arms per criterion and dataset."""
_Found = tuple[State, Fact]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ground:
    """What the parts are tried on.

    Attributes
    ----------
    evidence
        The real one.
    units
        All scores, in time order.
    ask
        What the evidence was gathered with.
    """

    evidence: Evidence
    declared: Sequence[Cell]
    units: Sequence[UnitScores]
    ask: Ask

    def side(self, arm: str, dataset: str) -> list[UnitScores]:
        """Units of an arm on a dataset, without the windows either side failed on."""
        policy = self.evidence.policy
        pair_ = [
            unit
            for unit in self.units
            if unit.dataset == dataset and unit.arm in (policy.baseline, policy.candidate)
        ]
        fine = np.logical_and.reduce([unit.ok for unit in pair_])
        return [unit.at(fine) for unit in pair_ if unit.arm == arm]

    def criteria(self) -> Iterator[tuple[Criterion, str]]:
        """Each criterion on mean losses with each dataset it speaks of, where one can be planted.

        That takes losses of both sides that are numbers, vary and are not all 0.
        """
        for dataset in datasets_of(self.declared):
            for rule in self.evidence.policy.criteria:
                spoken = rule.statistic == "mean" and rule.scope.covers(dataset)
                if spoken and all(map(_sound, _sides(self, rule, dataset))):
                    yield rule, dataset

    def question(self, rule: Criterion) -> Question:
        """What the verdict asks of a criterion."""
        shared = self.evidence.multiplicity
        return question_of(rule, alpha=shared.alpha(rule.role), power=shared.power_each)

    def effect(self, rule: Criterion, dataset: str) -> float:
        """Effect found by a criterion on windows that nobody failed on: the least of its parts."""
        found = []
        for sides in _sides(self, rule, dataset):
            above, below = sides.means
            found.append(rule.estimand.effect(centred(above, below)[0]))
        return min(found)

    def outcome(self, findings: Sequence[Finding]) -> Outcome:
        """Conclude from findings on planted losses as from real ones, on sound validity."""
        sound = dataclasses.replace(self.evidence.validity, problems=())
        policy = dataclasses.replace(self.evidence.policy, waivers=())
        alone = Safeguards()  # planted losses are those of no arm
        made = case_of(policy, sound, findings, safeguards=alone, today=None, self_test=None)
        return outcome_of(made)


def self_test(
    evidence: Evidence,
    declared: Sequence[Cell],
    scores: Sequence[UnitScores],
    *,
    ask: Ask = compare,
) -> SelfTest:
    """Try all six parts on the losses a verdict is made of.

    Where the real evidence allows no conclusion there is nothing sound to plant in: the parts are
    then ``not run``, and the verdict is INVALID for its own reasons.

    Parameters
    ----------
    ask
        What the evidence was gathered with; one that remembers makes part (f) cheap.
    """
    why = _unsound(evidence)
    units = list(map(in_time_order, scores))
    ground = _Ground(evidence=evidence, declared=declared, units=units, ask=ask)
    parts: dict[str, Callable[[_Ground], _Found]] = {
        "a": _itself, "b": _worse, "c": _gain, "d": _dropped, "e": _swapped, "f": _reordered
    }  # fmt: skip
    found = []
    for code, part in parts.items():
        tried: _Found = ("not run", why) if why else part(ground)
        found.append(SelfTestPart(code=code, state=tried[0], found=tried[1]))
    return SelfTest(parts=tuple(found))


def _unsound(evidence: Evidence) -> Fact | None:
    """Why there is nothing sound to plant in; None where there is."""
    if evidence.validity.problems:
        return fact(FactCode.EVIDENCE_UNSOUND).resting_on(evidence.validity.problems[0])
    invalid = [each for each in evidence.findings if each.outcome is Outcome.INVALID]
    if invalid:
        return fact(FactCode.FINDING_UNSOUND).resting_on(invalid[0].found)
    compared = any(each.comparison for each in evidence.findings)
    return None if compared else fact(FactCode.NOTHING_TO_TEST)


def _itself(ground: _Ground) -> _Found:
    findings = _planted(ground, lambda rule, dataset: 1.0)
    if not findings:
        return "not run", fact(FactCode.NO_LOSS_TO_PLANT)
    rejected = [each for each in findings if each.outcome is Outcome.REJECT]
    if rejected or ground.outcome(findings) is Outcome.REJECT:
        return "failed", fact(FactCode.ITSELF_REJECTED, findings=_ids(rejected))
    alarms = _alarms_of(ground)
    alpha = ground.evidence.policy.alpha
    most = _most_alarms(alpha)
    for (dataset, metric), count in alarms.items():
        if count > most:
            return "failed", fact(
                FactCode.TOO_MANY_ALARMS,
                dataset=dataset,
                metric=metric,
                alarms=count,
                exchanges=FLIPS,
                alpha=alpha,
            )
    return "passed", fact(
        FactCode.ITSELF_TIES,
        findings=len(findings),
        exchanges=FLIPS,
        alarms=max(alarms.values()),
        allowed=most,
    )


def _ids(findings: Sequence[Finding]) -> tuple[str, ...]:
    return tuple(each.id for each in findings)


def _alarms_of(ground: _Ground) -> dict[tuple[str, str], int]:
    """Most alarms of the parts of each criterion; none where a part is too small to judge."""
    found = {}
    for rule, dataset in ground.criteria():
        parts = [each for each in _sides(ground, rule, dataset) if each.above.shape[1] >= LEAST]
        asked = ground.question(rule)
        found[dataset, rule.metric] = max((_alarms(each, asked) for each in parts), default=0)
    return found


def _most_alarms(alpha: float) -> int:
    """Alarms that a test of at most 1.6 times its level exceeds once in a thousand times."""
    level = 1.6 * alpha
    return math.ceil(FLIPS * level + 3.1 * math.sqrt(FLIPS * level * (1 - level)))


def _alarms(sides: Sides, question: Question) -> int:
    """How often arms exchanged at random, block by block, are shown worse than equal."""
    above, below = sides.means
    generator = generator_of(above, below)
    block = max(sides.overlap, math.ceil(math.sqrt(len(above)) / 2))
    blocks = -(-len(above) // block)
    question = dataclasses.replace(question, bound_high=0.0)
    count = 0
    for flips in generator.integers(2, size=(FLIPS, blocks)).astype(bool):
        swap = np.repeat(flips, block)[: len(above)]
        one, other = np.where(swap, below, above), np.where(swap, above, below)
        exchanged = dataclasses.replace(sides, above=one[None], below=other[None])
        found = question.estimand.ratio_of(exchanged)
        count += by_test("hac", found, question).conclusion == "beyond"
    return count


def _worse(ground: _Ground) -> _Found:
    little = _planted(ground, _a_little_worse(ground), of="candidate")
    much = _planted(ground, lambda rule, dataset: 2 * (1 + rule.margin))
    bars = [each for each in little if each.role == "guardrail"]
    if not bars:
        return "not run", fact(FactCode.NO_LOSS_TO_PLANT)
    passed = [each for each in bars if each.outcome is Outcome.PROMOTE]
    if passed or ground.outcome(little) is Outcome.PROMOTE:
        return "failed", fact(FactCode.WORSE_PROMOTED, findings=_ids(passed))
    able = _judgeable(much)
    missed = [each for each in able if each.outcome is not Outcome.REJECT]
    much = rejected_together(much, alpha=ground.evidence.policy.alpha)
    if missed:
        return "failed", fact(FactCode.MUCH_WORSE_NOT_REJECTED, findings=_ids(missed))
    if not able:
        return "passed", fact(FactCode.NONE_ABLE_TO_REJECT)
    shown = any(each.outcome is Outcome.REJECT for each in much)
    if shown and ground.outcome(much) is not Outcome.REJECT:
        return "failed", fact(FactCode.MUCH_WORSE_NO_REJECT)
    return "passed", fact(FactCode.WORSE_HELD_BACK, guardrails=len(bars), able=len(able))


def _a_little_worse(ground: _Ground) -> Callable[[Criterion, str], float]:
    def factor(rule: Criterion, dataset: str) -> float:
        aim = 1 + rule.margin + max(0.1 * rule.margin, 0.001)
        return aim / (1 + ground.effect(rule, dataset))

    return factor


def _gain(ground: _Ground) -> _Found:
    findings = _planted(ground, lambda rule, dataset: 0.5 * (1 - rule.margin))
    if not findings:
        return "not run", fact(FactCode.NO_LOSS_TO_PLANT)
    least = ground.evidence.policy.min_origins
    ready = [
        f
        for f in findings
        if f.comparison and f.comparison.sample.independent_n >= least and _decidable(f, "within")
    ]
    missed = [each for each in ready if each.outcome is not Outcome.PROMOTE]
    if missed:
        return "failed", fact(FactCode.GAIN_NOT_PROMOTED, findings=_ids(missed))
    if not ready:
        return "not run", fact(FactCode.NONE_ABLE_TO_PROMOTE)
    if len(ready) < len(findings):
        able = fact(FactCode.GAIN_PARTLY_PROMOTED, able=len(ready), findings=len(findings))
        return "passed", able
    if ground.outcome(findings) is not Outcome.PROMOTE:
        return "failed", fact(FactCode.GAIN_NO_PROMOTE)
    return "passed", fact(FactCode.GAIN_PROMOTED, findings=len(findings))


def _dropped(ground: _Ground) -> _Found:
    policy, given = ground.evidence.policy, ground.evidence.given
    arms = tuple(dict.fromkeys((policy.candidate, policy.baseline, ground.declared[0].arm)))
    for arm in arms:
        at = next(index for index, unit in enumerate(ground.units) if unit.arm == arm)
        left = [unit for index, unit in enumerate(ground.units) if index != at]
        validity = examine(policy, ground.declared, left, given)
        verdict = conclude(dataclasses.replace(ground.evidence, validity=validity))
        if verdict.outcome is not Outcome.INVALID:
            said = fact(FactCode.STILL_CONCLUDED, arm=arm, outcome=verdict.outcome.value)
            return "failed", said
    return "passed", fact(FactCode.REFUSED_WITHOUT_CELL, arms=arms)


def _swapped(ground: _Ground) -> _Found:
    mirrored = {"within": "beyond", "beyond": "within", "undecided": "undecided"}
    count = 0
    for rule, dataset in ground.criteria():
        question = dataclasses.replace(ground.question(rule), bound_high=0.0)
        for sides in _sides(ground, rule, dataset):
            back = dataclasses.replace(sides, above=sides.below, below=sides.above)
            there, again = (
                by_test("hac", rule.estimand.ratio_of(each), question) for each in (sides, back)
            )
            if there.upper is None or again.upper is None:
                continue  # a side that is not told apart from 0 has no bounds to mirror
            if mirrored[there.conclusion] != again.conclusion or not _reciprocal(there, again):
                return "failed", fact(
                    FactCode.NOT_MIRRORED,
                    dataset=dataset,
                    metric=rule.metric,
                    effect=there.effect,
                    back=again.effect,
                )
            count += 1
    if not count:
        return "not run", fact(FactCode.NO_BOUNDS_TO_MIRROR)
    return "passed", fact(FactCode.MIRRORED, findings=count)


def _reciprocal(there: Estimate, again: Estimate) -> bool:
    """Whether effects and bounds of both directions are those of reciprocal ratios."""
    pairs = [
        (there.effect, again.effect), (there.lower, again.upper), (there.upper, again.lower)
    ]  # fmt: skip
    return all(
        math.isclose((1 + here) * (1 + back), 1.0, rel_tol=1e-6)
        for here, back in pairs
        if here is not None and back is not None
    )


def _reordered(ground: _Ground) -> _Found:
    back = [unit.at(slice(None, None, -1)) for unit in reversed(ground.units)]
    evidence = ground.evidence
    again = gather(evidence.policy, ground.declared, back, evidence.given, ask=ground.ask)
    same = to_json(conclude(again)) == to_json(conclude(evidence))
    if same:
        return "passed", fact(FactCode.SAME_BYTES)
    return "failed", fact(FactCode.OTHER_BYTES)


def _judgeable(findings: Sequence[Finding]) -> list[Finding]:
    """Guardrails that have the evidence to be decided."""
    return [
        f
        for f in findings
        if f.role == "guardrail"
        and _decidable(f, "beyond")
        and f.found.code is not FactCode.FEW_ORIGINS
    ]


def _decidable(finding: Finding, wanted: Conclusion) -> bool:
    """Whether planted losses can be decided at all: two things may rightly keep them open.

    Legacy's loss is not told apart from 0, so no ratio to it has bounds; or origins alone show
    what was planted, and too few seeds that differ too much take it away again.
    """
    found = finding.comparison
    test = found.estimate("hac") if found else None
    if found is None or test is None or test.upper is None:
        return False
    over_seeds = [found.estimate(method) for method in ("seeds", "two_level")]
    open_ = any(each is not None and each.conclusion == "undecided" for each in over_seeds)
    return not (open_ and test.conclusion == wanted)


def _planted(
    ground: _Ground, factor: Callable[[Criterion, str], float], *, of: str = "legacy"
) -> list[Finding]:
    """Judge all criteria on a candidate whose losses are those `of` a side, times a factor."""
    policy = ground.evidence.policy
    source = policy.baseline if of == "legacy" else policy.candidate
    found: list[Finding] = []
    for rule, dataset in ground.criteria():
        times = factor(rule, dataset)
        found += judge_rule(
            rule,
            dataset,
            policy=policy,
            question=ground.question(rule),
            candidate=[
                _times(unit, rule, times, policy.candidate) for unit in ground.side(source, dataset)
            ],
            legacy=ground.side(policy.baseline, dataset),
            ask=answer,
        )
    return found


def _times(unit: UnitScores, rule: Criterion, factor: float, arm: str) -> UnitScores:
    name = AGGREGATES[rule.metric].of
    cells = unit.values[name] * loss_of(rule.metric).cell_factor(factor)
    return dataclasses.replace(unit, arm=arm, role="candidate", values={**unit.values, name: cells})


def _sound(sides: Sides) -> bool:
    """Whether anything can be planted in losses: two origins, numbers, variance, a scale."""
    means = sides.means
    whole = bool(np.isfinite(sides.above).all() and np.isfinite(sides.below).all())
    return len(means[0]) > 1 and whole and min(each.mean() for each in means) > 0 and sides.varies


def _sides(ground: _Ground, rule: Criterion, dataset: str) -> Iterator[Sides]:
    """The real losses of both arms on each part of a criterion."""
    policy = ground.evidence.policy
    whole = [ground.side(arm, dataset) for arm in (policy.candidate, policy.baseline)]
    for name in rule.scope.slices or ("",):
        ours, theirs = (cut(side, rule.scope, name) for side in whole)
        part = len(ours[0]) < len(whole[0][0])
        both = pair(ours, theirs, rule.metric, part=part)
        yield loss_of(rule.metric).sides(both)
