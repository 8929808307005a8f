"""The numerics of intervals against statsmodels, arch and simulation."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats.longrun import (
    block_starts,
    choose_lag,
    circular_means,
    diebold_mariano,
    first_order,
    fixed_smoothing,
    generator_of,
    harvey_leybourne_newbold,
    lag_for,
    least_lag,
    long_run_covariance,
    mean_ratio,
    optimal_block,
    tail_safe,
)


def autocorrelated(n: int, rho: float, *, seed: int = 0, overlap: int = 1) -> np.ndarray:
    """Means over `overlap` neighbours of a first-order autoregression, [n]."""
    draw = np.random.default_rng(seed).normal(size=n + overlap + 50)
    for t in range(1, len(draw)):
        draw[t] += rho * draw[t - 1]
    sums = np.cumsum(np.concatenate([[0.0], draw[50:]]))
    return (sums[overlap:] - sums[:-overlap])[:n] / overlap


@pytest.mark.parametrize("horizon", [1, 2, 6, 24])
@pytest.mark.parametrize("n", [30, 101, 400])
def test_diebold_mariano_is_that_of_statsmodels(n: int, horizon: int) -> None:
    """Statistic and p-value agree with statsmodels to 1e-10, at its lag rule and at others."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the other library's imports, not ours
        from statsmodels.tsa.stattools import diebold_mariano_test
    draw = np.random.default_rng(n + horizon)
    truth, a, b = draw.normal(size=(3, n)) + autocorrelated(n, 0.5)
    difference = (truth - a) ** 2 - (truth - b) ** 2

    for lag in (None, 0, horizon + 3):
        theirs = diebold_mariano_test(truth, a, b, lags=lag, harvey_adj=True, horizon=horizon)
        ours = diebold_mariano(
            difference,
            harvey_leybourne_newbold(n, least_lag(n, horizon) if lag is None else lag, horizon),
        )
        assert ours is not None
        assert ours.statistic == pytest.approx(theirs.statistic, rel=1e-10)
        assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-10)


def test_diebold_mariano_without_variance_has_no_value() -> None:
    """Identical losses, and a horizon as long as the sample, give None rather than NaN."""
    assert diebold_mariano(np.zeros(20), harvey_leybourne_newbold(20, 3, 1)) is None
    assert diebold_mariano(np.arange(20.0), harvey_leybourne_newbold(20, 3, 20)) is None


def test_long_run_covariance_agrees_with_a_plain_loop() -> None:
    """The Bartlett estimate is the weighted sum of autocovariances, symmetric, not negative."""
    series = np.stack([autocorrelated(60, 0.4, seed=s) for s in (1, 2)])
    centred = series - series.mean(axis=1, keepdims=True)
    wanted = np.zeros((2, 2))
    for i in range(2):
        for j in range(2):
            for s in range(60):
                for t in range(60):
                    weight = max(0.0, 1 - abs(s - t) / 8)
                    wanted[i, j] += weight * centred[i, s] * centred[j, t] / 60

    found = long_run_covariance(series, 7)

    assert np.allclose(wanted, found, rtol=1e-11)
    assert np.linalg.eigvalsh(found).min() > 0


@pytest.mark.parametrize("rho", [-0.3, 0.0, 0.6, 0.95])
@pytest.mark.parametrize("n", [40, 250, 2000])
def test_block_length_is_that_of_arch(n: int, rho: float) -> None:
    """The automatic block length agrees with arch's for the circular bootstrap."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the other library's imports, not ours
        from arch.bootstrap import optimal_block_length
    series = autocorrelated(n, rho, seed=n)

    theirs = float(optimal_block_length(series)["circular"].iloc[0])

    assert optimal_block(series) == pytest.approx(max(1.0, theirs), rel=1e-10)


def test_block_length_of_a_constant_is_one() -> None:
    """A series without variance, or too short, gets blocks of one."""
    assert optimal_block(np.full(50, 3.3)) == 1
    assert optimal_block(np.arange(5.0)) == 1


@pytest.mark.parametrize("block", [1, 4, 7, 50])
def test_resampled_means_are_those_of_arch(block: int) -> None:
    """The same seed draws arch's blocks, and means over them are the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the other library's imports, not ours
        from arch.bootstrap import CircularBlockBootstrap
    series = np.stack([autocorrelated(50, 0.5, seed=s) for s in (1, 2)])
    theirs = CircularBlockBootstrap(block, series[0], series[1], seed=np.random.default_rng(9))

    wanted = [[x.mean(), y.mean()] for (x, y), _ in theirs.bootstrap(40)]
    starts = block_starts(50, block, 40, np.random.default_rng(9))

    assert np.allclose(np.transpose(wanted), circular_means(series, starts, block), rtol=1e-11)


@given(st.integers(2, 40), st.integers(1, 40), st.integers(0, 99))
def test_resampled_means_agree_with_a_plain_loop(n: int, block: int, seed: int) -> None:
    """Differences of one cumulative sum are the means of written-out circular blocks."""
    block = min(block, n)
    series = np.random.default_rng(seed).normal(size=(1, n))
    starts = block_starts(n, block, 5, np.random.default_rng(seed))

    wanted = [
        np.mean([series[0, (s + k) % n] for s in row for k in range(block)][:n]) for row in starts
    ]

    assert np.allclose(wanted, circular_means(series, starts, block)[0], atol=1e-12)


@given(st.integers(10, 120), st.floats(0.5, 2), st.integers(0, 500), st.integers(1, 6))
def test_interval_and_test_agree_exactly(n: int, centre: float, seed: int, overlap: int) -> None:
    """At a bound of the interval the test's p-value is exactly the level; beyond, smaller."""
    draw = np.random.default_rng(seed)
    below = 1 + draw.gamma(2, size=n)
    above = centre * below + 0.3 * draw.normal(size=n)
    found = mean_ratio(above, below, overlap)

    low, high = found.bounds(0.05)

    if high is not None:
        assert high >= found.excess
        assert found.law.chance_below(found.statistic(high)) == pytest.approx(0.05, abs=1e-7)
        assert found.chance_above(high + 0.01) < 0.05
    if low is not None:
        assert low <= found.excess
        assert found.law.chance_below(found.statistic(low)) == pytest.approx(0.95, abs=1e-7)
        assert low < -1 or found.chance_below(low - 0.01) < 0.05


def test_ratio_without_bounds_says_so() -> None:
    """A denominator that cannot be told apart from 0 gives None, never NaN."""
    draw = np.random.default_rng(0)

    assert mean_ratio(draw.normal(size=40) + 1, draw.normal(size=40), 1).bounds(0.05)[1] is None
    assert mean_ratio(np.ones(20), np.zeros(20), 1).bounds(0.05) == (None, None)


def test_constant_denominator_gives_the_plain_t_interval() -> None:
    """With a denominator of 1 the ratio's interval is mean plus and minus t times its error."""
    series = autocorrelated(80, 0.3)
    found = mean_ratio(series, np.ones(80), 1)
    half = found.law.critical(0.05) * math.sqrt(found.variance(-1.0) / 80)

    middle = series.mean() - 1
    assert found.bounds(0.05) == pytest.approx((middle - half, middle + half))


@pytest.mark.parametrize(("share", "wanted"), [(0.02, 2.020), (0.1, 2.261), (0.2, 2.566)])
def test_law_follows_fixed_smoothing_critical_values(share: float, wanted: float) -> None:
    """Critical values at 97.5 % are within 1.5 % of Kiefer and Vogelsang's polynomial."""
    law = fixed_smoothing(10_000, round(share * 10_000) - 1, 1)

    assert law.critical(0.025) == pytest.approx(wanted, rel=0.015)


def test_lag_is_at_least_what_overlap_and_statsmodels_ask_for() -> None:
    """The chosen lag covers the overlap, is statsmodels' rule or more, and fits the sample."""
    for n, overlap in ((20, 1), (60, 4), (250, 24), (30, 40)):
        lag = choose_lag(autocorrelated(n, 0.2), overlap)

        assert lag >= min(n - 1, least_lag(n, overlap))
        assert lag <= n - 1


def test_lag_grows_with_autocorrelation() -> None:
    """Strongly autocorrelated differences get a longer lag than white ones."""
    white, red = (choose_lag(autocorrelated(200, rho), 1) for rho in (0.0, 0.9))

    assert red > white


def test_seed_is_a_digest_of_the_numbers() -> None:
    """The same numbers draw the same resamples; a change in the last digit draws others."""
    series = np.arange(10.0)
    again, other = series.copy(), series.copy()
    other[3] = np.nextafter(other[3], 9)

    first = generator_of(series).integers(1 << 60)

    assert generator_of(again).integers(1 << 60) == first
    assert generator_of(other).integers(1 << 60) != first


@pytest.mark.parametrize(
    ("n", "rho", "overlap"),
    [(60, 0.0, 1), (60, 0.4, 6), (60, 0.8, 1), (250, 0.4, 24), (250, 0.8, 1)],
)
def test_case_14_size_is_kept_on_autocorrelated_losses(n: int, rho: float, overlap: int) -> None:
    """At nominal 5 % the one-sided test rejects a true bound at most 8 % of the time."""
    trials = 1000
    draw = np.random.default_rng(14)
    rejected = 0
    for _ in range(trials):
        seed = int(draw.integers(1 << 40))
        noise = autocorrelated(n, rho, seed=seed, overlap=overlap)
        below = 5 + autocorrelated(n, rho, seed=seed + 1, overlap=overlap)
        found = mean_ratio(1.02 * below + noise, below, overlap)  # the truth is at the margin
        rejected += found.law.chance_below(found.statistic(0.02)) < 0.05

    assert rejected / trials <= 0.08


@pytest.mark.slow
def test_small_levels_are_kept_by_the_law_that_is_safe_in_its_tails() -> None:
    """At nominal 1 % and correlation .6 it rejects at most 1.5 %; the law of white noise more."""
    draw, rejected = np.random.default_rng(2), np.zeros(2)
    for _ in range(1500):
        noise = 5 + autocorrelated(90, 0.6, seed=int(draw.integers(1 << 40)))
        found = mean_ratio(noise, np.full(90, 5.0), 1)
        safe = tail_safe(found.law, 1, first_order(noise))
        assert safe.factor <= found.law.factor
        assert safe.freedom <= found.law.freedom
        chances = [each.chance_below(found.statistic(0.0)) for each in (found.law, safe)]
        rejected += np.array(chances) < 0.01
    plain, kept = rejected / 1500
    white = fixed_smoothing(120, 15, 1)

    assert kept <= 0.015 < plain
    assert tail_safe(white, 1, 0.0).critical(0.05) == pytest.approx(white.critical(0.05), rel=0.02)


def test_the_lag_of_fixed_smoothing_is_1_3_times_the_root() -> None:
    """Without overlap and autocorrelation no other rule asks for more, so the factor shows."""
    lags = [lag_for(n, 1, 0.0) for n in (100, 2_500, 10_000)]

    assert lags == [13, 65, 130]
