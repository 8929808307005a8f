"""Calibration tests against plain loops, other libraries and simulation."""

import math
import warnings
from itertools import pairwise

import numpy as np
import pytest

from harness.reasons import ReasonCode, reason
from harness.stats.calibration import (
    LAGS,
    dynamic_quantile,
    independence,
    interval_calibration,
    kupiec,
    p_values,
    uniformity,
)

NAMES = ("X", "new")


def hits_of(count: int, share: float = 0.8, *, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).uniform(size=count) < share).astype(float)


def clustered(count: int, *, seed: int = 0) -> np.ndarray:
    """Covered 80 % of the time, with misses that come together."""
    draw = np.random.default_rng(seed).uniform(size=count)
    hits = np.ones(count)
    for t in range(1, count):
        hits[t] = draw[t] < (0.9 if hits[t - 1] else 0.4)
    return hits


def test_kupiec_agrees_with_binomial_likelihoods() -> None:
    """Twice the log of the likelihood at the rate found over that at the rate promised."""
    from scipy.stats import binom

    hits = hits_of(90, 0.7)
    found = int(hits.sum())

    wanted = 2 * (binom.logpmf(found, 90, found / 90) - binom.logpmf(found, 90, 0.8))

    assert float(kupiec(hits, 0.8)) == pytest.approx(wanted)
    assert float(kupiec(np.ones(20), 0.8)) == pytest.approx(-40 * math.log(0.8))


def test_independence_agrees_with_a_plain_loop() -> None:
    """Counts of the four transitions give Christoffersen's likelihood ratio."""
    hits = clustered(80)
    count = {(a, b): 0 for a in (0, 1) for b in (0, 1)}
    for before, after in pairwise(hits):
        count[int(before), int(after)] += 1
    rate = {a: count[a, 1] / (count[a, 0] + count[a, 1]) for a in (0, 1)}
    pooled = (count[0, 1] + count[1, 1]) / 79
    wanted = 0.0
    for (before, after), times in count.items():
        chain = rate[before] if after else 1 - rate[before]
        plain = pooled if after else 1 - pooled
        wanted += 2 * times * (math.log(chain) - math.log(plain))

    assert float(independence(hits)) == pytest.approx(wanted)
    assert float(independence(np.ones(30))) == 0


def test_dynamic_quantile_is_a_regression() -> None:
    """The statistic is the explained sum of squares of a regression, over p (1 - p)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the other library's imports, not ours
        from statsmodels.api import OLS
    hits = clustered(120) - 0.8
    known = np.column_stack(
        [np.ones(120 - LAGS), *(hits[LAGS - j : 120 - j] for j in range(1, LAGS + 1))]
    )

    wanted = OLS(hits[LAGS:], known).fit().uncentered_tss - OLS(hits[LAGS:], known).fit().ssr

    assert float(dynamic_quantile(hits + 0.8, 0.8)) == pytest.approx(wanted / 0.16)


def test_many_sequences_are_tested_as_one_by_one() -> None:
    """Rows of an array get the values each would get alone."""
    many = np.stack([clustered(60, seed=s) for s in range(5)])

    for each in (lambda h: kupiec(h, 0.8), independence, lambda h: dynamic_quantile(h, 0.8)):
        assert np.allclose(each(many), [each(row) for row in many])


def test_p_values_meet_the_chi_squared_law_in_long_sequences() -> None:
    """With a thousand origins the drawn p-values are near the asymptotic ones."""
    from scipy.stats import chi2

    hits = hits_of(1000, 0.785, seed=4)
    found = p_values(hits[None], 80)

    for name, statistic, freedom in (
        ("unconditional", kupiec(hits, 0.8), 1),
        ("joint", kupiec(hits, 0.8) + independence(hits), 2),
        ("dynamic_quantile", dynamic_quantile(hits, 0.8), LAGS + 1),
    ):
        assert found[name][0] == pytest.approx(chi2.sf(float(statistic), freedom), abs=0.03)


@pytest.mark.parametrize(("count", "level"), [(30, 95), (60, 80)])
def test_right_intervals_are_seldom_rejected(count: int, level: int) -> None:
    """At 5 % every test rejects independent hits at the promised rate in at most 6.5 %."""
    hits = np.stack([hits_of(count, level / 100, seed=1000 + s) for s in range(2000)])

    for found in p_values(hits, level).values():
        assert np.mean(found <= 0.05) <= 0.065


def test_wrong_intervals_are_found_by_the_test_meant_for_them() -> None:
    """Too few hits fail the first test; clustered misses the second; both the joint one."""
    few = interval_calibration(
        hits_of(250, 0.65, seed=1)[None], level=80, step=1, overlap=1, names=NAMES
    )
    lumps = interval_calibration(
        clustered(250, seed=2)[None], level=80, step=1, overlap=1, names=NAMES
    )

    assert (few.unconditional or 0) < 0.01
    assert (few.independence or 0) > 0.05
    assert (lumps.independence or 1) < 0.01
    assert (lumps.dynamic_quantile or 1) < 0.01
    assert (lumps.unconditional or 0) > 0.05
    assert max(few.joint or 1, lumps.joint or 1) < 0.01


def test_overlapping_hits_are_tested_in_sequences_that_do_not_overlap() -> None:
    """Hits shared by neighbours are no clusters: sub-sequences are joined by Holm."""
    shared = np.repeat(hits_of(60, seed=2), 4)

    apart = interval_calibration(shared[None], level=80, step=4, overlap=4, names=NAMES)
    pooled = interval_calibration(shared[None], level=80, step=4, overlap=1, names=NAMES)

    alone = p_values(shared[None, ::4], 80)
    assert apart.sequences == 4
    assert (apart.independence or 0) == pytest.approx(min(1, 4 * alone["independence"][0]))
    assert (pooled.independence or 1) < 0.01


def test_holes_and_short_sequences_say_why() -> None:
    """A window without a number, or too few origins, gives a reason and no p-value."""
    holed = hits_of(50)
    holed[7] = np.nan

    hole = interval_calibration(holed[None], level=80, step=1, overlap=1, names=NAMES)
    short = interval_calibration(hits_of(30)[None], level=80, step=24, overlap=24, names=NAMES)

    assert (hole.unconditional, hole.coverage) == (None, None)
    assert hole.reason == reason(ReasonCode.WINDOWS_MISSING, windows=1, of=50)
    assert short.unconditional is None
    assert short.reason == reason(ReasonCode.FEW_APART, origins=1)


def test_uniform_transforms_pass_and_others_do_not() -> None:
    """Uniform transforms have moments 0 and 1; narrow and shifted forecasts are found."""
    draw = np.random.default_rng(0)
    uniform = draw.uniform(size=(2, 250))

    def tested(pit: np.ndarray) -> object:
        return uniformity(pit, step=1, overlap=1, names=NAMES)

    right, narrow, low = tested(uniform), tested(draw.beta(0.5, 0.5, (1, 250))), tested(uniform**2)

    assert right.centre == pytest.approx(0, abs=0.15)
    assert right.spread == pytest.approx(1, abs=0.1)
    assert right.p_value > 0.05
    assert narrow.p_value < 0.01
    assert narrow.spread > 1.1
    assert low.p_value < 0.01
    assert low.centre < 0


@pytest.mark.parametrize(
    "pit",
    [
        np.full((1, 60), 0.3),
        np.full((1, 60), 0.5),
        np.tile([[0.3], [0.7]], 60),  # the seeds' mean is 0 but for roundings
        np.tile([0.2, 0.8], 30)[None],  # their squares are the same
        np.tile(0.5 + np.array([-1, 1]) / np.sqrt(12), 30)[None],  # and 1 as promised
        0.4 + 1e-15 * np.random.default_rng(0).normal(size=(1, 60)),
    ],
)
def test_transforms_that_do_not_vary_have_no_statistic(pit: np.ndarray) -> None:
    """Without variance a moment has no error to be held against, roundings or not."""
    found = uniformity(pit, step=1, overlap=1, names=NAMES)

    assert (found.statistic, found.p_value) == (None, None)
    assert found.reason == reason(ReasonCode.FEW_FOR_OVERLAP)
    assert found.centre == pytest.approx(np.sqrt(12) * (pit.mean() - 0.5), abs=1e-9)


def test_uniformity_keeps_its_level_under_overlap() -> None:
    """Transforms of overlapping sums are rejected at 5 % in at most 9 % of draws."""
    from scipy.special import ndtr

    draw = np.random.default_rng(5)
    rejected = 0
    for _ in range(300):
        sums = np.cumsum(np.concatenate([[0.0], draw.normal(size=250 + 5)]))
        pit = ndtr((sums[6:] - sums[:-6]) / np.sqrt(6))[None]
        rejected += (uniformity(pit, step=6, overlap=6, names=NAMES).p_value or 1) <= 0.05

    assert rejected / 300 <= 0.09
