"""Estimates by every method: bounds, p-values and conclusions say one thing, whatever the data."""

import dataclasses

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.evidence.estimand import ESTIMANDS
from harness.evidence.estimates import Estimate, Question, agreed, by_test, deciding, shaken
from harness.evidence.pairing import Pair, Sides
from harness.reasons import ReasonCode
from harness.stats.longrun import TIE, mean_ratio

SHAPES = ("even", "skewed", "spikes", "zeros", "tied", "proportional")


def sides_of(name: str, shape: str, *, n: int, seeds: tuple[int, int], seed: int) -> Sides:
    """Sides of an estimand whose losses, or shares covered, are as unfriendly as `shape` says."""
    draw = np.random.default_rng(seed)
    count = sum(seeds)
    if name.startswith("coverage"):
        both = draw.uniform(size=(count, n)) < draw.uniform(0.5, 1.0, size=(count, 1))
    elif shape == "even":
        both = 1 + 0.3 * draw.uniform(size=(count, n))
    elif shape == "skewed":
        both = draw.gamma(0.3, size=(count, n)) * draw.lognormal(0, 1.5, size=(count, 1))
    elif shape == "zeros":
        both = draw.gamma(1.0, size=(count, n)) * (draw.uniform(size=(count, n)) < 0.3)
    else:  # a few origins hold nearly all of the loss, of both sides or of one
        both = 0.01 + draw.uniform(size=(count, n))
        both[:, : max(1, n // 12)] *= draw.lognormal(3, 1.5, size=(count, 1))
    if shape == "tied":
        both[:] = both[0] * (1 + 1e-12 * draw.normal(size=(count, n)))
    if shape == "proportional":
        both[: seeds[0]] = both[-1] * draw.uniform(0.5, 1.5)
    found = ESTIMANDS[name]
    fine = np.ones((count, n), dtype=bool)
    pair = Pair(
        candidate=both[: seeds[0]].astype(float),
        legacy=both[seeds[0] :].astype(float),
        origin=np.arange(n),
        origin_date=np.arange(n).astype("datetime64[D]"),
        reach=int(draw.integers(1, 4)),
        names=("new", "old", "made"),
        candidate_ok=fine[: seeds[0]],
        legacy_ok=fine[seeds[0] :],
    )
    return found.sides(found.whole(pair))


@example("crps_wins", "spikes", 2, (2, 2), 2, -0.75, 0.05)
@settings(max_examples=150)
@given(
    st.sampled_from(["crps", "rmse", "skill", "crps_wins", "coverage_80", "coverage_80_relative"]),
    st.sampled_from(SHAPES),
    st.integers(2, 40),
    st.sampled_from([(1, 1), (2, 2), (1, 3), (5, 2)]),
    st.integers(0, 10_000),
    st.floats(-0.9, 1.5),
    st.sampled_from([0.05, 0.0125, 0.1]),
)
@example("crps_wins", "spikes", 2, (2, 2), 2, -0.75, 0.05)
def test_bounds_p_values_and_conclusions_agree_for_any_data(
    name: str, shape: str, n: int, seeds: tuple[int, int], seed: int, bound: float, alpha: float
) -> None:
    """By every method p < alpha, the bound on that side, and the conclusion are one statement."""
    sides = sides_of(name, shape, n=n, seeds=seeds, seed=seed)
    estimand = ESTIMANDS[name]
    if not estimand.uncertain(sides):
        return
    possible = max(bound, estimand.effect(-1.0))  # no mean of losses or shares is below 0
    low, high = estimand.bounds(possible if not estimand.two_sided else abs(bound) / 4)
    question = Question(estimand=estimand, bound_low=low, bound_high=high, alpha=alpha)

    for each in deciding(sides, question):
        assert each.conclusion == _concluded(each, alpha), each
        if each.p_within is None or each.p_beyond is None:
            assert (each.lower, each.upper, each.low, each.high) == (None,) * 4
            continue
        assert 0 <= each.p_within <= 1
        assert 0 <= each.p_beyond <= 1
        assert not (each.p_within < alpha / 2 and each.p_beyond < alpha / 2)
        ends = [e for e in (each.low, each.lower, each.upper, each.high) if e is not None]
        assert ends == sorted(ends)
        kept = _under(each.upper, high) and (low is None or _over(each.lower, low))
        broken = _over(each.lower if low is None else each.low, high)
        broken = broken or (low is not None and _under(each.high, low))
        for shown, p_value in ((kept, each.p_within), (broken, each.p_beyond)):
            if abs(p_value - alpha) > 1e-6 * alpha:
                assert shown == (p_value < alpha), each


def _concluded(each: Estimate, alpha: float) -> str:
    if each.p_within is not None and each.p_within < alpha:
        return "within"
    return "beyond" if each.p_beyond is not None and each.p_beyond < alpha else "undecided"


def _under(end: float | None, bound: float) -> bool:
    return end is not None and end < bound - TIE


def _over(end: float | None, bound: float) -> bool:
    return end is not None and end > bound + TIE


@pytest.fixture
def wild() -> Sides:
    """Legacy told apart from 0 at 5 % and not at 2.5 %, with a candidate 40 % better."""
    draw = np.random.default_rng(2)
    count, largest = int(draw.integers(2, 5)), float(draw.uniform(5, 40))
    calm = 0.2 + 0.1 * draw.uniform(size=48 - count)
    below = np.concatenate([calm, draw.uniform(2, largest, size=count)])
    draw.shuffle(below)
    above = 0.6 * below * draw.uniform(0.9, 1.1, size=48)
    return Sides(above=above[None], below=below[None], overlap=1)


def test_a_bound_further_out_that_does_not_exist_takes_no_conclusion_away(wild: Sides) -> None:
    """The one-sided test at alpha decides, whether or not the interval at alpha / 2 is bounded."""
    question = Question(estimand=ESTIMANDS["crps"], bound_high=0.02)

    found = by_test("hac", mean_ratio(*wild.means, 1), question)

    assert found.high is None
    assert found.upper is not None
    assert found.p_within is not None
    assert 0.025 < found.p_within < 0.05
    assert found.conclusion == "within"
    assert agreed(deciding(wild, question)) == ("within", None)


def test_a_candidate_is_shown_worse_than_a_legacy_without_an_upper_bound(wild: Sides) -> None:
    """How much worse cannot be told where legacy may be 0; that it is worse can."""
    sides = dataclasses.replace(wild, above=wild.below / 10 + 3)
    question = Question(estimand=ESTIMANDS["crps"], bound_high=0.02, alpha=0.02)

    found = by_test("hac", mean_ratio(*sides.means, 1), question)

    assert (found.upper, found.high, found.p_within) == (None, None, pytest.approx(0.98, abs=0.02))
    assert found.lower is not None
    assert found.lower > 0.02
    assert found.conclusion == "beyond"


def test_nothing_is_shown_on_a_side_without_a_bound(wild: Sides) -> None:
    """No p-value is below alpha where legacy is not told from 0 at alpha; the reason says so."""
    question = Question(estimand=ESTIMANDS["crps"], bound_high=5.0, alpha=0.02)

    found = deciding(wild, question)

    assert found[0].upper is None
    assert found[0].p_within is not None
    assert found[0].p_within > 0.02
    conclusion, why = agreed(found)
    assert conclusion == "undecided"
    assert why is not None
    assert why.code is ReasonCode.NO_BOUNDS


def test_one_resample_without_a_legacy_loss_leaves_the_bootstrap_its_bounds() -> None:
    """A resample whose legacy mean is not above 0 counts as beyond every bound, and as no more."""
    draw = np.random.default_rng(0)
    calm = 1 + 0.2 * draw.uniform(size=(5, 40))
    below = calm * np.array([0.01, 0.02, 0.03, 0.04, 4.0])[:, None]
    sides = Sides(above=below / 2 + 0.01 * draw.uniform(size=(5, 40)), below=below, overlap=1)
    question = Question(estimand=ESTIMANDS["crps"], bound_high=3.0)

    found = {each.method: each for each in deciding(sides, question)}["two_level"]

    assert found.effect is not None
    assert found.upper is None
    assert found.p_within is not None
    assert 0.05 < found.p_within < 0.5


def test_a_conclusion_with_one_known_bound_is_shaken_on_that_side(wild: Sides) -> None:
    """What is shown rests on the bound on its side alone, wider or not."""
    question = Question(estimand=ESTIMANDS["crps"], bound_high=0.02)
    test = by_test("hac", mean_ratio(*wild.means, 1), question)
    bare = dataclasses.replace(test, low=None, lower=None, high=None, upper=-0.1)

    assert not shaken([bare], question, 1.1)
    assert shaken([bare], question, 2.0)
    assert not shaken([dataclasses.replace(bare, conclusion="undecided")], question, 2.0)
