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
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal

import numpy as np

from harness.evidence.comparison import answer
from harness.evidence.estimand import loss_of
from harness.evidence.estimates import Conclusion, Question, by_test
from harness.evidence.pairing import Sides, pair
from harness.evidence.prospects import comparison_of
from harness.experiments.rules import Criterion
from harness.judging.conclusion import Evidence, SelfTest, SelfTestPart, State, case_of
from harness.judging.fact import Fact, FactCode, fact
from harness.judging.findings import (
    Finding,
    MeasuringTask,
    Outcome,
    judge_rule,
    rejected_together,
)
from harness.judging.safeguards import Safeguards
from harness.judging.validity import examine
from harness.judging.verdict import gather, plain
from harness.scoring.metrics import AGGREGATES
from harness.scoring.scores import UnitScores
from harness.scoring.subsets import LEAST, cut
from harness.stats.longrun import TIE, generator_of, mean_ratio

FLIPS = 100
"""Random exchanges of the arms per criterion and dataset."""
_Found = tuple[State, Fact]


@dataclass(frozen=True, kw_only=True)  # no slots: what is derived is worked out once
class _Trial:
    """What the parts are tried on, and the parts.

    Attributes
    ----------
    evidence
        The real one.
    ask
        What it was gathered with.
    """

    evidence: Evidence
    ask: MeasuringTask

    @cached_property
    def sides(self) -> dict[tuple[str, str], list[UnitScores]]:
        """Units by arm and dataset, without the windows either side failed on."""
        found = {}
        grid = self.evidence.grid
        for dataset in grid.datasets:
            both = [unit for arm in grid.policy.pair for unit in grid.units(arm, dataset)]
            fine = np.logical_and.reduce([unit.ok for unit in both])
            for arm in grid.policy.pair:
                found[arm, dataset] = [unit.at(fine) for unit in both if unit.arm == arm]
        return found

    @cached_property
    def criteria(self) -> tuple[tuple[Criterion, str, tuple[Sides, ...]], ...]:
        """Each criterion on mean losses with each dataset it speaks of, where one can be planted.

        And the real losses of both arms on each of its parts. One can be planted in losses of both
        sides that are numbers, vary and are not all 0, at two origins or more.
        """
        policy, found = self.evidence.grid.policy, []
        for dataset in self.evidence.grid.datasets:
            whole = [self.sides[arm, dataset] for arm in (policy.candidate, policy.baseline)]
            for rule in policy.criteria:
                if rule.statistic != "mean" or not rule.scope.covers(dataset):
                    continue
                parts = []
                for name in rule.scope.slices or ("",):
                    ours, theirs = (cut(side, rule.scope, name) for side in whole)
                    part = len(ours[0]) < len(whole[0][0])
                    both = pair(ours, theirs, rule.metric, part=part)
                    parts.append(loss_of(rule.metric).sides(both))
                if all(
                    len(sides.means[0]) > 1
                    and bool(np.isfinite(sides.above).all() and np.isfinite(sides.below).all())
                    and min(each.mean() for each in sides.means) > 0
                    and sides.varies
                    for sides in parts
                ):
                    found.append((rule, dataset, tuple(parts)))
        return tuple(found)

    def outcome(self, findings: Sequence[Finding]) -> Outcome:
        """Conclude from findings on planted losses as from real ones, on sound validity."""
        evidence = self.evidence
        policy = dataclasses.replace(evidence.grid.policy, waivers=())
        planted = dataclasses.replace(
            evidence,
            grid=dataclasses.replace(evidence.grid, policy=policy),
            validity=dataclasses.replace(evidence.validity, problems=()),
            findings=tuple(findings),
            safeguards=Safeguards(),  # planted losses are those of no arm
        )
        return case_of(planted).conclusion

    def itself(self) -> _Found:
        """(a) Legacy against itself is not rejected, nor are arms exchanged at random."""
        findings = self.planted(lambda rule, parts: 1.0)
        if not findings:
            return "not run", fact(FactCode.NO_LOSS_TO_PLANT)
        rejected = [each for each in findings if each.outcome is Outcome.REJECT]
        if rejected or self.outcome(findings) is Outcome.REJECT:
            return "failed", fact(FactCode.ITSELF_REJECTED, findings=_ids(rejected))
        alpha = self.evidence.grid.policy.alpha
        level = 1.6 * alpha  # at it, more than `most` alarms are raised once in a thousand times
        most = math.ceil(FLIPS * level + 3.1 * math.sqrt(FLIPS * level * (1 - level)))
        alarms = {
            (dataset, rule.metric): max(
                (
                    _alarms(each, self.evidence.multiplicity.asked_by(rule))
                    for each in parts
                    if each.above.shape[1] >= LEAST
                ),
                default=0,  # where every part is too small to judge
            )
            for rule, dataset, parts in self.criteria
        }
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

    def worse(self) -> _Found:
        """(b) Losses worse than the margin are not promoted, and much worse ones rejected."""

        def a_little(rule: Criterion, parts: Sequence[Sides]) -> float:
            value = rule.estimand.value  # beside a huge loss, 1 + the effect is rounded to 0
            means = [[float(side.mean()) for side in sides.means] for sides in parts]
            least = min(value(above) / value(below) for above, below in means)
            return (1 + rule.margin + max(0.1 * rule.margin, 0.001)) / least

        little = self.planted(a_little, of="candidate")
        much = self.planted(lambda rule, parts: 2 * (1 + rule.margin))
        bars = [each for each in little if each.role == "guardrail"]
        if not bars:
            return "not run", fact(FactCode.NO_LOSS_TO_PLANT)
        passed = [each for each in bars if each.outcome is Outcome.PROMOTE]
        if passed or self.outcome(little) is Outcome.PROMOTE:
            return "failed", fact(FactCode.WORSE_PROMOTED, findings=_ids(passed))
        able = [
            each
            for each in much
            if each.role == "guardrail"
            and _decidable(each, "beyond")
            and each.found.code is not FactCode.FEW_ORIGINS
        ]
        missed = [each for each in able if each.outcome is not Outcome.REJECT]
        much = rejected_together(much, alpha=self.evidence.grid.policy.alpha)
        if missed:
            return "failed", fact(FactCode.MUCH_WORSE_NOT_REJECTED, findings=_ids(missed))
        if not able:
            return "passed", fact(FactCode.NONE_ABLE_TO_REJECT)
        shown = any(each.outcome is Outcome.REJECT for each in much)
        if shown and self.outcome(much) is not Outcome.REJECT:
            return "failed", fact(FactCode.MUCH_WORSE_NO_REJECT)
        return "passed", fact(FactCode.WORSE_HELD_BACK, guardrails=len(bars), able=len(able))

    def gain(self) -> _Found:
        """(c) A planted gain is promoted."""
        findings = self.planted(lambda rule, parts: 0.5 * (1 - rule.margin))
        if not findings:
            return "not run", fact(FactCode.NO_LOSS_TO_PLANT)
        least = self.evidence.grid.policy.min_origins
        ready = [
            each
            for each in findings
            if each.comparison
            and each.comparison.sample.independent_n >= least
            and _decidable(each, "within")
        ]
        missed = [each for each in ready if each.outcome is not Outcome.PROMOTE]
        if missed:
            return "failed", fact(FactCode.GAIN_NOT_PROMOTED, findings=_ids(missed))
        if not ready:
            return "not run", fact(FactCode.NONE_ABLE_TO_PROMOTE)
        if len(ready) < len(findings):
            able = fact(FactCode.GAIN_PARTLY_PROMOTED, able=len(ready), findings=len(findings))
            return "passed", able
        if self.outcome(findings) is not Outcome.PROMOTE:
            return "failed", fact(FactCode.GAIN_NO_PROMOTE)
        return "passed", fact(FactCode.GAIN_PROMOTED, findings=len(findings))

    def dropped(self) -> _Found:
        """(d) Without a cell there is no conclusion."""
        grid = self.evidence.grid
        legacy, candidate = grid.policy.pair
        arms = tuple(dict.fromkeys((candidate, legacy, grid.declared[0].arm)))
        for arm in arms:
            at = next(index for index, unit in enumerate(grid.scores) if unit.arm == arm)
            left = [unit for index, unit in enumerate(grid.scores) if index != at]
            validity = examine(dataclasses.replace(grid, scores=left))
            outcome = case_of(dataclasses.replace(self.evidence, validity=validity)).conclusion
            if outcome is not Outcome.INVALID:
                said = fact(FactCode.STILL_CONCLUDED, arm=arm, outcome=outcome.value)
                return "failed", said
        return "passed", fact(FactCode.REFUSED_WITHOUT_CELL, arms=arms)

    def swapped(self) -> _Found:
        """(e) Swapped arms mirror the findings."""
        mirrored = {"within": "beyond", "beyond": "within", "undecided": "undecided"}
        count = 0
        for rule, dataset, parts in self.criteria:
            asked = self.evidence.multiplicity.asked_by(rule)
            question = dataclasses.replace(asked, bound_high=0.0)
            for sides in parts:
                back = dataclasses.replace(sides, above=sides.below, below=sides.above)
                there, again = (
                    by_test("hac", rule.estimand.ratio_of(each), question) for each in (sides, back)
                )
                if there.effect is None or again.effect is None:
                    continue  # a side that is 0 has no ratio to mirror
                pairs = [
                    (there.effect, again.effect),
                    (there.lower, again.upper),
                    (there.upper, again.lower),
                ]
                reciprocal = all(
                    abs((1 + here) * (1 + other) - 1) <= 1e-6 + 1e-15 * max(1 + here, 1 + other)
                    for here, other in pairs
                    if here is not None and other is not None
                )
                if mirrored[there.conclusion] != again.conclusion or not reciprocal:
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

    def reordered(self) -> _Found:
        """(f) The order of rows changes no byte."""
        grid = self.evidence.grid
        back = [unit.at(slice(None, None, -1)) for unit in reversed(grid.scores)]
        again = gather(dataclasses.replace(grid, scores=back), ask=self.ask)
        texts = {
            json.dumps(
                plain((each.validity, each.findings, each.multiplicity, each.safeguards)),
                sort_keys=True,
            )
            for each in (self.evidence, again)
        }
        if len(texts) == 1:
            return "passed", fact(FactCode.SAME_BYTES)
        return "failed", fact(FactCode.OTHER_BYTES)

    def planted(
        self,
        factor: Callable[[Criterion, Sequence[Sides]], float],
        *,
        of: Literal["legacy", "candidate"] = "legacy",
    ) -> list[Finding]:
        """Judge all criteria on a candidate whose losses are those `of` a side, times a factor."""
        policy = self.evidence.grid.policy
        source = policy.baseline if of == "legacy" else policy.candidate
        found: list[Finding] = []
        for rule, dataset, parts in self.criteria:
            times = loss_of(rule.metric).cell_factor(factor(rule, parts))
            name = AGGREGATES[rule.metric].of
            found += judge_rule(
                rule,
                dataset,
                policy=policy,
                question=self.evidence.multiplicity.asked_by(rule),
                candidate=[
                    dataclasses.replace(
                        unit,
                        arm=policy.candidate,
                        role="candidate",
                        values={name: unit.values[name] * times},
                    )
                    for unit in self.sides[source, dataset]
                ],
                legacy=self.sides[policy.baseline, dataset],
                ask=partial(answer, brief=True),
            )
        return found


def self_test(evidence: Evidence, *, ask: MeasuringTask = comparison_of) -> SelfTest:
    """Try all six parts on the losses a verdict is made of.

    Where the real evidence allows no conclusion there is nothing sound to plant in: the parts are
    then ``not run``, and the verdict is INVALID for its own reasons.

    Parameters
    ----------
    ask
        What the evidence was gathered with; one that remembers makes part (f) cheap.
    """
    why: Fact | None = None
    invalid = [each.found for each in evidence.findings if each.outcome is Outcome.INVALID]
    if evidence.validity.problems:
        why = fact(FactCode.EVIDENCE_UNSOUND).resting_on(evidence.validity.problems[0])
    elif invalid:
        why = fact(FactCode.FINDING_UNSOUND).resting_on(invalid[0])
    elif not any(each.comparison for each in evidence.findings):
        why = fact(FactCode.NOTHING_TO_TEST)
    trial = _Trial(evidence=evidence, ask=ask)
    parts: dict[str, Callable[[], _Found]] = {
        "a": trial.itself,
        "b": trial.worse,
        "c": trial.gain,
        "d": trial.dropped,
        "e": trial.swapped,
        "f": trial.reordered,
    }
    found = []
    for code, part in parts.items():
        tried: _Found = ("not run", why) if why else part()
        found.append(SelfTestPart(code=code, state=tried[0], found=tried[1]))
    return SelfTest(parts=tuple(found))


def _ids(findings: Sequence[Finding]) -> tuple[str, ...]:
    return tuple(each.id for each in findings)


def _alarms(sides: Sides, question: Question) -> int:
    """How often arms exchanged at random, block by block, are shown worse than equal."""
    above, below = sides.means
    generator = generator_of(above, below)
    block = max(sides.overlap, math.ceil(math.sqrt(len(above)) / 2))
    blocks = -(-len(above) // block)
    question = dataclasses.replace(question, bound_high=0.0)
    flips = generator.integers(2, size=(FLIPS, blocks)).astype(bool)
    swap = np.repeat(flips, block, axis=1)[:, : len(above)]
    ones, others = np.where(swap, below, above), np.where(swap, above, below)  # [FLIPS, n]
    higher = (ones - others).sum(axis=1) * others.sum(axis=1) > 0
    count = 0
    for one, other in zip(ones[higher], others[higher], strict=True):
        plain = mean_ratio(one, other, sides.overlap, part=sides.part).bounds(question.alpha)
        if plain[0] is None or question.estimand.effect(plain[0]) <= TIE:
            continue  # memory, which takes long to look for, only widens a bound
        exchanged = dataclasses.replace(sides, above=one[None], below=other[None])
        found = question.estimand.ratio_of(exchanged)
        count += by_test("hac", found, question).conclusion == "beyond"
    return count


def _decidable(finding: Finding, wanted: Conclusion) -> bool:
    """Whether planted losses can be decided at all: two things may rightly keep them open.

    Legacy's loss is not told apart from 0, so no ratio to it has the bound that is asked for; or
    origins alone show what was planted, and too few seeds that differ too much take it away again.
    """
    found = finding.comparison
    test = found.estimate("hac") if found else None
    if found is None or test is None or (test.upper if wanted == "within" else test.lower) is None:
        return False
    over_seeds = [found.estimate(method) for method in ("seeds", "two_level")]
    open_ = any(each is not None and each.conclusion == "undecided" for each in over_seeds)
    return not (open_ and test.conclusion == wanted)
