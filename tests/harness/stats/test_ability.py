"""When one arm loses: sizes by simulation, planted spells, critical values."""

import numpy as np
import pytest

from harness.stats.ability import CRITICAL, conditional_ability, fluctuation
from harness.stats.longrun import fixed_smoothing, wald

NAMES = ("X", "crps", "new", "old")


def days(count: int) -> np.ndarray:
    return np.datetime64("2010-01-01", "D") + 7 * np.arange(count)


def overlapping(count: int, overlap: int, draw: np.random.Generator) -> np.ndarray:
    sums = np.cumsum(np.concatenate([[0.0], draw.normal(size=count + overlap - 1)]))
    return (sums[overlap:] - sums[:-overlap]) / np.sqrt(overlap)


def test_wald_of_one_moment_is_the_square_of_the_t_statistic() -> None:
    """With one moment F is t squared, read in the same law."""
    series = np.random.default_rng(0).normal(0.2, 1, size=80)
    law = fixed_smoothing(80, 6, 1)

    statistic, p_value = wald(series[None], law)

    from harness.stats.longrun import long_run_covariance

    plain = series.mean() / np.sqrt(long_run_covariance(series[None], 6)[0, 0] / 80)
    assert statistic == pytest.approx((law.factor * plain) ** 2)
    assert p_value == pytest.approx(2 * law.chance_below(-abs(plain)))


def test_wald_without_inverse_has_no_value() -> None:
    """Two copies of one moment have no joint test."""
    series = np.random.default_rng(0).normal(size=80)

    assert wald(np.stack([series, series]), fixed_smoothing(80, 6, 1)) == (None, None)


def test_wald_of_moments_of_other_sizes_is_the_same() -> None:
    """Two moments are tested jointly however small one of them is beside the other."""
    series = np.random.default_rng(0).normal(0.1, 1, size=(2, 80))
    law = fixed_smoothing(80, 6, 1)

    small = wald(series * [[1.0], [1e-9]], law)

    assert small == pytest.approx(wald(series, law))


@pytest.mark.parametrize(("count", "overlap"), [(60, 1), (250, 6)])
def test_nothing_to_predict_is_seldom_predicted(count: int, overlap: int) -> None:
    """Both tests at 5 % reject equal arms in at most 9 % of draws, overlap or not."""
    draw = np.random.default_rng(7)
    ability = spells = 0
    for _ in range(300):
        series = overlapping(count, overlap, draw)
        found = conditional_ability(series, overlap=overlap, names=NAMES)
        ability += found.p_value is not None and found.p_value <= 0.05
        spells += bool(
            fluctuation(series, days(count), overlap=overlap, alpha=0.05, names=NAMES).spans
        )

    assert ability / 300 <= 0.09
    assert spells / 300 <= 0.09


def test_predictable_losses_are_predicted() -> None:
    """Losses that persist are found out, with the sign and size of their persistence."""
    series = np.zeros(400)
    draw = np.random.default_rng(0)
    for t in range(1, 400):
        series[t] = 0.6 * series[t - 1] + draw.normal()

    found = conditional_ability(series, overlap=1, names=NAMES)

    assert found.p_value is not None
    assert found.p_value < 0.01
    assert found.persistence == pytest.approx(0.6, abs=0.1)
    assert 0.3 < (found.losing_share or 0) < 0.7


def test_a_losing_spell_is_dated() -> None:
    """Origins over which the candidate loses are named by date; the other side stays silent."""
    series = 0.3 * np.random.default_rng(2).normal(size=200)
    series[100:170] += 0.6

    found = fluctuation(series, days(200), overlap=1, alpha=0.05, names=NAMES)

    assert {span.loser for span in found.spans} == {"candidate"}
    first, last = (np.datetime64(day) for day in (found.spans[0].first, found.spans[-1].last))
    assert days(200)[50] <= first <= days(200)[110]
    assert days(200)[160] <= last
    mirrored = fluctuation(-series, days(200), overlap=1, alpha=0.05, names=NAMES)
    assert mirrored.largest == pytest.approx(-(found.smallest or 0))
    assert {span.loser for span in mirrored.spans} == {"legacy"}


@pytest.mark.parametrize("share", [0.1, 0.3, 0.9])
def test_critical_values_are_those_of_the_limit(share: float) -> None:
    """Simulated quantiles of the limit law agree with the table within a tenth."""
    count, window = 1000, round(1000 * share)
    walk = np.cumsum(np.random.default_rng(3).normal(size=(3000, count)), axis=1)
    walk = np.pad(walk, ((0, 0), (1, 0)))
    largest = np.abs(walk[:, window:] - walk[:, :-window]).max(axis=1) / np.sqrt(window)

    for level, table in CRITICAL.items():
        found = np.quantile(largest, 1 - level)
        assert found == pytest.approx(table[round(share * 10) - 1], abs=0.12)


def test_too_little_says_why() -> None:
    """Few origins, and differences that only roundings vary, give a reason and no number."""
    few = np.random.default_rng(0).normal(size=12)

    nearly = (np.arange(50.0) + 0.1) - np.arange(50.0)  # 0.1 but for roundings

    for series, overlap in ((few, 6), (np.zeros(50), 1), (nearly, 1)):
        ability = conditional_ability(series, overlap=overlap, names=NAMES)
        spell = fluctuation(series, days(len(series)), overlap=1, alpha=0.05, names=NAMES)

        assert ability.p_value is None
        assert ability.reason
        assert spell.largest is None
        assert spell.reason


def test_differences_that_were_never_known_predict_nothing():
    """Equal forecasts of which one window fails at the end have no statistic, and no crash."""
    difference = np.zeros(40)
    difference[-1] = 2.0

    found = conditional_ability(difference, overlap=1, names=("X", "crps", "new", "old"))

    assert found.p_value is None
