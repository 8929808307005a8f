"""Failed windows: a failure never helps the arm that failed, and switches no check off."""

import dataclasses

import numpy as np
import pytest
from scores_for_tests import table_of

from harness.evidence.estimand import MeanLoss
from harness.evidence.pairing import pair
from harness.experiments.policy import Policy
from harness.experiments.rules import CoverageRule, Criterion, EvidenceNeeded, Limits
from harness.judging.declared import Cell
from harness.judging.fact import FactCode
from harness.judging.findings import Finding, Outcome, judge_rule, multiplicity_of
from harness.judging.verdict import Verdict, verdict_on
from harness.scoring.scores import UnitScores
from reports.words import verdicts
from reports.words.sentences import sentence_of

CRPS = Criterion(metric="crps", margin=0.05)
POLICY = Policy(
    baseline="old",
    candidate="new",
    min_origins=20,
    criteria=(CRPS,),
    limits=Limits(failures=1000),
)


def unit_of(losses: np.ndarray, arm: str, failed: tuple[int, ...] = ()) -> UnitScores:
    """Scores with the given losses [W, 4], last close 100."""
    hit = np.random.default_rng(3).random(losses.shape) < 0.8
    return table_of({"crps": losses, "coverage_80": hit.astype(float)}, arm=arm, failed=failed)


def losses_of(seed: int = 0, count: int = 80, mean: float = 1.0) -> np.ndarray:
    """Positive losses [W, 4] whose windows differ in how hard they are."""
    draw = np.random.default_rng(seed)
    hard = np.random.default_rng(99).lognormal(0, 0.8, size=(count, 1))
    return mean * hard * draw.gamma(20, 0.05, size=(count, 4))


def found_on(new: UnitScores, old: UnitScores, rule: Criterion | CoverageRule = CRPS) -> Finding:
    """One rule judged."""
    asked = multiplicity_of(POLICY, ["X"]).asked_by(rule)
    return judge_rule(rule, "X", policy=POLICY, question=asked, candidate=[new], legacy=[old])[0]


def verdict_of_units(*units: UnitScores, policy: Policy = POLICY) -> Verdict:
    """A full grid judged."""
    cells = [Cell(arm=unit.arm, dataset=unit.dataset, seed=unit.seed) for unit in units]
    return verdict_on(policy, cells, units)


def hardest(losses: np.ndarray, count: int) -> tuple[int, ...]:
    """The windows with the largest losses."""
    return tuple(np.argsort(-losses.mean(axis=1))[:count].tolist())


def test_a_rejected_candidate_is_not_undecided_for_failing_a_window() -> None:
    """Twice the worst loss says less than nothing where it makes the spread explode: left out."""
    new, old = losses_of(1, mean=1.15), losses_of(2)
    old[7] *= 40  # a crash of the market, on which both are as bad
    new[7] = 1.15 * old[7]
    failed = (20,)

    found = found_on(unit_of(new, "new", failed), unit_of(old, "old"))

    assert found_on(unit_of(new, "new"), unit_of(old, "old")).outcome is Outcome.REJECT
    assert found.outcome is Outcome.REJECT
    assert found.comparison is not None
    assert (found.comparison.failed.candidate, found.comparison.sample.n) == (1, 79)
    assert found.comparison.failed.candidate_as == "out"
    assert sentence_of(found).endswith("1 failed window of new was left out.")


@pytest.mark.parametrize("count", [1, 3, 10, 40])
def test_failing_hard_windows_promotes_nobody(count: int) -> None:
    """A candidate that is as good is not better for failing where it is hard."""
    new, old = losses_of(1, mean=1.05), losses_of(2)

    found = found_on(unit_of(new, "new", hardest(new, count)), unit_of(old, "old"))

    assert found_on(unit_of(new, "new"), unit_of(old, "old")).outcome is Outcome.HOLD
    assert found.outcome in (Outcome.HOLD, Outcome.REJECT)


def test_a_failed_window_counts_as_twice_the_worst_loss() -> None:
    """Not as the worst there is: an arm that gives nothing is worse than one that gives that."""
    new, old = losses_of(1), losses_of(2)
    both = pair([unit_of(new, "new", (5,))], [unit_of(old, "old")], "crps")

    made = {each.failed.candidate_as: each.pair for each in MeanLoss(metric="crps").readings(both)}

    largest = max(np.nanmax(both.candidate), both.legacy.max())
    assert made["worst"].candidate[0, 5] == pytest.approx(2 * largest)
    assert list(made) == ["worst", "out"]
    assert len(made["out"].origin) == 79
    assert np.isfinite(made["out"].candidate).all()


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_failed_windows_of_a_coverage_are_missed_or_covered_whichever_is_graver(
    share: float,
) -> None:
    """Too wide an interval is not repaired by windows counted as missed, nor the reverse."""
    rule = CoverageRule(level=80, tolerance=0.1)
    new, old = unit_of(losses_of(1), "new"), unit_of(losses_of(2), "old")
    hit = np.full((80, 4), share)
    wrong = dataclasses.replace(new, values={**new.values, "coverage_80": hit})
    ok = np.arange(80) >= 15
    failed = dataclasses.replace(
        wrong, ok=ok, values={k: np.where(ok[:, None], v, np.nan) for k, v in wrong.values.items()}
    )

    assert found_on(wrong, old, rule).outcome is Outcome.REJECT
    assert found_on(failed, old, rule).outcome is Outcome.REJECT


def test_legacy_gains_nothing_from_windows_it_failed() -> None:
    """It failed where it was worst: that used to turn a PROMOTE into a REJECT."""
    new, old = losses_of(1, mean=0.9), losses_of(2)
    new_unit, failed = unit_of(new, "new"), unit_of(old, "old", hardest(old, 20))

    found = found_on(new_unit, failed)

    assert found_on(new_unit, unit_of(old, "old")).outcome is Outcome.PROMOTE
    assert found.outcome is Outcome.PROMOTE
    assert "20 failed windows of old were left out" in sentence_of(found)


def test_nothing_is_promoted_by_losses_that_nobody_saw() -> None:
    """Twice the worst loss for legacy would promote a worse candidate; at most it is undecided."""
    new, old = losses_of(1, mean=1.2), losses_of(2)
    some = tuple(range(0, 80, 4))

    found = found_on(unit_of(new, "new"), unit_of(old, "old", some))

    assert found_on(unit_of(new, "new"), unit_of(old, "old")).outcome is Outcome.REJECT
    assert found.outcome is Outcome.HOLD
    assert "old" in sentence_of(found)


@pytest.mark.parametrize("limit", [0, 80, 1000])
def test_nothing_was_compared_with_an_arm_that_gave_nothing(limit: int) -> None:
    """Every window failed: INVALID with a plain reason whatever is allowed, and no crash."""
    every = tuple(range(80))
    policy = dataclasses.replace(
        POLICY,
        limits=Limits(failures=limit),
        coverage=(CoverageRule(level=80, tolerance=0.1),),
    )
    new, old = unit_of(losses_of(1), "new", every), unit_of(losses_of(2), "old")

    verdict = verdict_of_units(new, old, unit_of(losses_of(3), "walk"), policy=policy)

    assert verdict.outcome is Outcome.INVALID
    assert any("new failed 80 of 80 windows" in reason for reason in verdicts.reasons(verdict))


def test_an_arm_that_raised_everywhere_reads_the_same() -> None:
    """Its scores have no distribution because there is no forecast; that is not what is said."""
    every = tuple(range(80))
    new = unit_of(losses_of(1), "new", every)
    bare = dataclasses.replace(new, values={"absolute_error": np.full((80, 4), np.nan)})
    policy = dataclasses.replace(POLICY, coverage=(CoverageRule(level=80, tolerance=0.1),))

    verdict = verdict_of_units(bare, unit_of(losses_of(2), "old"), policy=policy)

    assert verdict.outcome is Outcome.INVALID
    assert {finding.outcome for finding in verdict.findings} == {Outcome.INVALID, Outcome.PROMOTE}
    apart = ("no reference arm", "not shown to be blind to the future")  # nothing was tested here
    said = [each for each in verdicts.reasons(verdict) if not any(words in each for words in apart)]
    assert said
    assert all("failed" in reason for reason in said)


def test_a_legacy_that_gave_nothing_is_nothing_to_compare_with() -> None:
    """Every window of legacy failed: INVALID, whatever is allowed."""
    old = unit_of(losses_of(2), "old", tuple(range(80)))

    assert verdict_of_units(unit_of(losses_of(1), "new"), old).outcome is Outcome.INVALID


def test_an_infinite_loss_counts_as_failed() -> None:
    """A loss that is no number for the arm's own fault is no way out of a REJECT."""
    new, old = losses_of(1, mean=1.3), losses_of(2)
    new[hardest(new, 2), 0] = np.inf

    found = found_on(unit_of(new, "new"), unit_of(old, "old"))

    assert found.outcome is Outcome.REJECT
    assert found.comparison is not None
    assert found.comparison.failed.candidate == 2


@pytest.mark.parametrize("failed", [(), (3,), tuple(range(0, 80, 2))])
def test_an_implausible_gain_is_seen_though_windows_failed(failed: tuple[int, ...]) -> None:
    """A cheater that fails a window is doubted as one that fails none."""
    cheat, old, walk = losses_of(1, mean=0.3), losses_of(2), losses_of(4)
    strict = dataclasses.replace(POLICY, evidence=EvidenceNeeded(implausible="invalid"))
    units = (unit_of(cheat, "new", failed), unit_of(old, "old"), unit_of(walk, "walk"))

    doubted, refused = verdict_of_units(*units), verdict_of_units(*units, policy=strict)

    assert doubted.validity.doubted(FactCode.IMPLAUSIBLE)
    assert refused.outcome is Outcome.INVALID


def test_a_candidate_worse_than_the_reference_is_said_though_windows_failed() -> None:
    """The caution is made on the windows both have, and says how many are not among them."""
    units = (
        unit_of(losses_of(1, mean=1.5), "new", (3, 4)),
        unit_of(losses_of(2, mean=2.0), "old"),
        unit_of(losses_of(4), "walk", (9,)),
    )

    verdict = verdict_of_units(*units)

    assert any("new is shown worse than walk: CRPS +" in r for r in verdicts.reasons(verdict))
    assert any(
        "on X new is set against walk without the 3 windows that one of them failed" in reason
        for reason in verdicts.reasons(verdict)
    )


def test_the_reference_declared_first_is_the_bar() -> None:
    """Neither the first by name nor the best one: the experiment's order decides."""
    units = [
        unit_of(losses_of(4, mean=2.0), "walk"),
        unit_of(losses_of(5, mean=0.1), "a-better-one"),
        unit_of(losses_of(2), "old"),
        unit_of(losses_of(1), "new"),
    ]
    skilled = dataclasses.replace(POLICY, limits=Limits(min_skill=0.0))

    verdict = verdict_of_units(*units, policy=skilled)
    other = verdict_of_units(units[1], units[0], *units[2:], policy=skilled)

    assert {each.reference for each in verdict.validity.standings} == {"walk"}
    assert {f.metric: f.outcome for f in verdict.findings}["skill"] is Outcome.PROMOTE
    assert {each.reference for each in other.validity.standings} == {"a-better-one"}
    assert {f.metric: f.outcome for f in other.findings}["skill"] is Outcome.REJECT


def test_a_side_is_no_bar_for_itself() -> None:
    """Where a reference arm is what is judged against, the next one is the bar."""
    units = [unit_of(losses_of(k), arm) for k, arm in enumerate(("walk", "drift", "new"))]
    policy = dataclasses.replace(POLICY, baseline="walk")

    verdict = verdict_of_units(*units, policy=policy)

    assert {each.reference for each in verdict.validity.standings} == {"drift"}
