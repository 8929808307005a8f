"""Tricks and accidents with numbers: one row each, with the outcome it must have.

Every row was once answered wrongly, through the command line or the real decision functions.
"""

import numpy as np
import pytest
from scores_for_tests import table_of, truth_of

from harness.evidence.comparison import compare
from harness.evidence.estimand import MeanLoss, Question, RootLoss, Sides
from harness.evidence.estimates import deciding
from harness.evidence.pairing import pair
from harness.experiments.policy import Policy
from harness.experiments.rules import Criterion
from harness.judging.declared import Cell, Given
from harness.judging.findings import Outcome
from harness.judging.selftest import self_test
from harness.judging.verdict import Verdict, conclude, gather
from harness.scoring.scores import UnitScores

CRPS = (Criterion(metric="crps", margin=0.02),)


def judged(old: UnitScores, new: UnitScores, *beside: UnitScores, **rules: object) -> Verdict:
    """The verdict on two units, with the gate's self-test."""
    units = [old, new, *beside]
    cells = [Cell(arm=u.arm, dataset=u.dataset, seed=u.seed, role=u.role) for u in units]
    policy = Policy(baseline="old", candidate="new", **{"criteria": CRPS} | rules)  # type: ignore[arg-type]
    evidence = gather(policy, cells, units, Given())
    return conclude(evidence, self_test=self_test(evidence, cells, units))


def losses_of(losses: np.ndarray, arm: str) -> UnitScores:
    """A unit with one CRPS an origin, in units of the last value seen."""
    table = {"crps": 100.0 * losses[:, None]}
    return table_of(table, arm=arm, truth=truth_of(len(losses), 1, first=500, stride=1))


def losses_of_two(
    difference: float, *, windows: int = 60, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Losses of legacy, and of a candidate that is `difference` apart, as noisy as that."""
    draw = np.random.default_rng(seed)
    legacy = 0.01 + 0.004 * draw.gamma(2, size=windows)
    return legacy, legacy * (1 + difference * (0.5 + draw.normal(size=windows)))


@pytest.mark.parametrize("order", [1e-3, 1e-5, 1e-7, 1e-9, 1e-11, 1e-12])
@pytest.mark.parametrize("estimand", [MeanLoss(metric="crps"), RootLoss(metric="rmse")])
def test_half_widths_follow_the_size_of_the_differences(
    estimand: MeanLoss | RootLoss, order: float
) -> None:
    """An interval is right within 1 % however close the sides are: it scales with them."""
    question = Question(estimand=estimand, bound_high=0.02)
    halves = []
    for each in (order, 1e-3):
        legacy, candidate = losses_of_two(each)
        sides = Sides(above=candidate[None], below=legacy[None], overlap=1)
        found = deciding(sides, question)
        halves.append([(e.high - e.low) / 2 / each for e in found])  # type: ignore[operator]
        assert [e.conclusion for e in found] == ["within", "within"]

    assert halves[0][0] == pytest.approx(halves[1][0], rel=0.01)
    assert halves[0][1] == pytest.approx(halves[1][1], rel=0.05)  # other resamples are drawn


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("order", [0.0, 1e-14, 1e-9, 1e-6])
@pytest.mark.parametrize("margin", [0.0, 0.02])
def test_an_equal_port_is_never_refused(order: float, margin: float, seed: int) -> None:
    """A float32 copy, another order of summation: within any margin, and the gate stays sound."""
    draw = np.random.default_rng(seed)
    legacy = 0.01 + 0.004 * draw.gamma(2, size=60)
    port = legacy * (1 + order * draw.normal(size=60))

    verdict = judged(
        losses_of(legacy, "old"),
        losses_of(port, "new"),
        criteria=(Criterion(metric="crps", margin=margin),),
    )

    assert verdict.outcome == (Outcome.PROMOTE if margin else Outcome.HOLD)
    assert verdict.self_test is not None
    assert verdict.self_test.failures == ()


def test_what_rounding_makes_decides_nothing() -> None:
    """A difference of one sign below a billionth of the loss is neither a gain nor a harm."""
    legacy, _ = losses_of_two(0.0)
    for candidate in (legacy * (1 + 5e-10), legacy * (1 - 5e-10)):
        both = pair([losses_of(candidate, "new")], [losses_of(legacy, "old")], "crps")

        found = compare(both, Question(estimand=MeanLoss(metric="crps"), bound_high=0.0))

        assert found.conclusion == "undecided"
        assert {each.conclusion for each in found.estimates} == {"undecided"}
