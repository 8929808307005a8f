"""Scores of a unit: equal treatment of forecast forms, failures, summaries."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtri
from scores_for_tests import truth_of as plain_truth

from harness.errors import ForecastError
from harness.forecast import LEVELS, Forecast
from harness.scoring.metrics import CENTRAL, METRICS
from harness.scoring.scores import (
    Truth,
    UnitScores,
    in_time_order,
    non_overlapping,
    score,
)
from harness.scoring.summary import summarise
from harness.window import RollingOrigin, Series

DECILES = np.arange(1, 10) / 10
TWENTY_ONE = np.array([0.01, *np.arange(1, 20) / 20, 0.99])


def truth_of(windows: int = 6, steps: int = 4, *, seed: int = 0, stride: int = 4) -> Truth:
    """A dataset of normal actuals."""
    draw = np.random.default_rng(seed)
    return plain_truth(
        windows,
        steps,
        first=100,
        stride=stride,
        values=10 + draw.normal(size=(windows, steps)),
        last=np.full(windows, 10.0),
        naive_square=np.ones(windows),
    )


def normal(truth: Truth, levels: np.ndarray = LEVELS, *, shift: float = 0.0) -> Forecast:
    """The same normal forecast on any levels."""
    shape = truth.values.shape
    return Forecast.of_quantiles(
        np.broadcast_to(10 + shift + ndtri(levels), (*shape, len(levels))).copy(), levels
    )


def of_shape(shape: Any, truth: Truth, levels: np.ndarray) -> Forecast:
    """The same distribution everywhere, on any levels."""
    form = np.broadcast_to(shape.ppf(levels), (*truth.values.shape, len(levels)))
    return Forecast.of_quantiles(form.copy(), levels)


def scored(truth: Truth, forecast: Forecast, **options: object) -> UnitScores:
    """Score under fixed names unless told otherwise."""
    given = {"arm": "A", "role": "legacy", "seed": 1} | options
    return score(truth, forecast, **given)  # type: ignore[arg-type]  # test shorthand


SHAPES = {
    "normal": stats.norm(),
    "laplace": stats.laplace(),
    "student t with 5 degrees": stats.t(5),
    "student t with 3 degrees": stats.t(3),
    "log-normal 0.5": stats.lognorm(0.5),
    "log-normal 1": stats.lognorm(1.0),
    "exponential": stats.expon(),
    "gamma": stats.gamma(2),
}


@pytest.mark.parametrize("name", SHAPES)
def test_case_15_equal_forecasts_in_other_forms_score_alike(name: str) -> None:
    """One distribution as nine deciles, 21 levels, the grid and 500 samples: within 1 %."""
    shape = SHAPES[name]
    draw = np.random.default_rng(5)
    truth = dataclasses.replace(truth_of(1500, 4), values=shape.rvs((1500, 4), random_state=draw))
    draws = shape.rvs((1500, 500, 4), random_state=draw)
    samples = Forecast.of_samples(draws, exchangeable=True)
    quantiles = [of_shape(shape, truth, levels) for levels in (LEVELS, DECILES, TWENTY_ONE)]

    units = [scored(truth, form) for form in (samples, *quantiles)]

    for metric in ("crps", "pinball", "winkler_80"):
        means = [float(unit.values[metric].mean()) for unit in units]
        assert max(means) < 1.01 * min(means), metric


def test_case_15_normal_parameters_score_as_every_other_form() -> None:
    """A normal forecast by its parameters scores within 1 % of its quantiles and samples."""
    truth = truth_of(1500, 4)
    samples = 10 + np.random.default_rng(5).normal(size=(1500, 500, 4))
    forms = [normal(truth, levels) for levels in (LEVELS, DECILES, TWENTY_ONE)]
    forms.append(Forecast.of_samples(samples, np.full(truth.values.shape, 10.0), exchangeable=True))
    ones = np.ones(truth.values.shape)
    forms.append(Forecast.of_gaussian(10 * ones, ones))

    units = [scored(truth, form) for form in forms]

    intervals = [f"{what}_{at}" for what in ("winkler", "width") for at in CENTRAL]
    for name in ("crps", "pinball", *intervals):
        means = [float(unit.values[name].mean()) for unit in units]
        assert max(means) < 1.01 * min(means), name


@pytest.mark.parametrize("form", ["quantiles", "deciles", "samples", "normal"])
def test_a_window_scores_the_same_alone_and_among_thousands(form: str) -> None:
    """Windows are scored in pieces; to the last bit nothing depends on what stands beside one."""
    truth = truth_of(3000, 4)
    centre = truth.values + np.random.default_rng(1).normal(size=(3000, 4))

    def forecast(rows: slice) -> Forecast:
        mean = centre[rows]
        noise = np.random.default_rng(2).normal(size=(3000, 30, 4))[rows]
        return {
            "quantiles": Forecast.of_quantiles(mean[..., None] + ndtri(LEVELS), LEVELS),
            "deciles": Forecast.of_quantiles(mean[..., None] + ndtri(DECILES), DECILES),
            "samples": Forecast.of_samples(mean[:, None] + noise, exchangeable=True),
            "normal": Forecast.of_gaussian(mean, np.abs(mean)),
        }[form]

    rows = slice(2990, 2997)
    names = ("origin", "origin_date", "values", "last", "naive_scale", "naive_square")
    part = dataclasses.replace(truth, **{name: getattr(truth, name)[rows] for name in names})
    whole, alone = scored(truth, forecast(slice(None))), scored(part, forecast(rows))

    assert set(whole.values) == set(METRICS)
    for name, cells in whole.values.items():
        assert np.array_equal(cells[rows], alone.values[name]), name


def test_a_negative_deviation_is_a_failed_window() -> None:
    """A standard deviation below 0 is no distribution; a deviation of 0 is a point."""
    truth = truth_of()
    deviation = np.ones(truth.values.shape)
    deviation[1, 2], deviation[3, 0] = -1.0, 0.0

    unit = scored(truth, Forecast.of_gaussian(np.full(truth.values.shape, 10.0), deviation))

    assert unit.ok.tolist() == [True, False, True, True, True, True]
    assert unit.values["crps"][3, 0] == pytest.approx(abs(truth.values[3, 0] - 10))


def test_levels_beyond_an_arms_own_are_counted() -> None:
    """Nine deciles leave six levels of the common grid to extrapolation; the grid leaves none."""
    truth = truth_of()

    assert scored(truth, normal(truth, DECILES)).extrapolated == 6
    assert scored(truth, normal(truth)).extrapolated == 0


def test_crossing_quantiles_are_counted_then_sorted() -> None:
    """A forecast with two quantiles swapped scores as the sorted one and shows its share."""
    truth = truth_of()
    sorted_ = normal(truth)
    assert sorted_.quantiles is not None
    swapped = sorted_.quantiles.copy()
    swapped[0, 1, [3, 4]] = swapped[0, 1, [4, 3]]

    unit = scored(truth, Forecast.of_quantiles(swapped, LEVELS, point=sorted_.point))

    assert unit.crossings == pytest.approx(1 / truth.values.size)
    assert np.array_equal(scored(truth, sorted_).values["crps"], unit.values["crps"])


def test_case_4_failed_windows_are_nan_in_every_metric() -> None:
    """A window that is not finite, or was reported failed, has no score by any metric."""
    truth = truth_of()
    forecast = normal(truth)
    assert forecast.quantiles is not None
    forecast.quantiles[2, 0, 5] = np.nan

    unit = scored(truth, forecast, reasons=["", "out of memory", "", "", "", ""])

    assert unit.ok.tolist() == [True, False, False, True, True, True]
    assert unit.reason[1] == "out of memory"
    assert unit.reason[2] == "the forecast is not finite"
    assert unit.failures == 2
    for name, cells in unit.values.items():
        assert np.isnan(cells[~unit.ok]).all(), name
        assert np.isfinite(cells[unit.ok]).all(), name


def test_case_3_fewer_forecasts_than_windows_are_an_error() -> None:
    """A forecast of other windows or steps than what came is refused, never scored."""
    truth = truth_of()

    with pytest.raises(ForecastError, match=r"shape \(5, 4\), what came has \(6, 4\)"):
        scored(truth, normal(truth_of(5, 4)))


def test_a_point_path_alone_gets_point_metrics_only() -> None:
    """Without a distribution there is no CRPS: absent, not zero and not NaN."""
    truth = truth_of()

    unit = scored(truth, Forecast.of_point(truth.values))

    assert set(unit.values) == {n for n, each in METRICS.items() if not each.distribution}
    assert unit.values["absolute_error"].max() == 0


def test_truth_is_read_off_the_series_at_each_origin() -> None:
    """Actuals, last value, naive scale and dates are those of the plan's rows."""
    target = np.array([1.0, 2.0, 4.0, 7.0, 11.0, 16.0, 22.0, 29.0, 37.0, 46.0])
    dates = np.datetime64("2020-01-01", "D") + np.arange(10)
    series = Series(
        dates=dates,
        target=target,
        past=np.empty((10, 0)),
        past_names=(),
        weekmask="1111111",
        season=7,
    )
    windows = RollingOrigin(horizon=2, stride=3, gap=1, first=4, validation=1).over(dates)

    truth = Truth.of("X", series, windows)

    assert truth.origin.tolist() == [4, 7]
    assert truth.values.tolist() == [[16.0, 22.0], [37.0, 46.0]]
    assert truth.last.tolist() == [7.0, 22.0]
    assert truth.naive_scale.tolist() == [2.0, 3.5]
    assert truth.naive_square is not None
    assert truth.naive_square.tolist() == [14 / 3, 91 / 6]
    assert truth.step.tolist() == [2, 3]
    assert truth.origin_date.tolist() == dates[[4, 7]].tolist()


def test_volatility_and_drawdown_are_known_at_the_origin() -> None:
    """Both come from the sessions before the origin, and what comes later changes neither."""
    draw = np.random.default_rng(9)
    target = 100 * np.exp(np.cumsum(0.02 * draw.normal(size=700)))
    later = np.where(np.arange(700) < 600, target, 3 * target)
    plan = RollingOrigin(horizon=10, stride=10, first=300, origins=31)

    def of(values: np.ndarray) -> Truth:
        dates = np.datetime64("2000-01-01", "D") + np.arange(700)
        nothing = np.empty((700, 0))
        series = Series(
            dates=dates, target=values, past=nothing, past_names=(), weekmask="1111111", season=7
        )
        return Truth.of("X", series, plan.over(dates))

    truth, other = of(target), of(later)

    assert truth.volatility is not None
    assert truth.drawdown is not None
    for place, origin in enumerate(truth.origin.tolist()):
        seen = target[:origin]
        size = np.sqrt(np.mean(np.diff(seen[-21:]) ** 2)) / seen[-1]
        assert truth.volatility[place] == pytest.approx(size)
        assert truth.drawdown[place] == pytest.approx(1 - seen[-1] / seen[-250:].max())
    assert np.array_equal(truth.volatility, other.volatility)
    assert np.array_equal(truth.drawdown, other.drawdown)


def test_truth_digest_sees_numbers_and_not_names_or_order() -> None:
    """Renaming or reordering keeps the digest; one changed actual, scale or date does not."""
    truth = truth_of()
    back = {
        name: getattr(truth, name)[::-1]
        for name in ("origin", "origin_date", "values", "last", "naive_scale", "naive_square")
    }

    same = [dataclasses.replace(truth, dataset="Y"), dataclasses.replace(truth, **back)]
    other = [
        dataclasses.replace(truth, values=truth.values + 1e-12),
        dataclasses.replace(truth, naive_scale=truth.naive_scale * 2),
        dataclasses.replace(truth, origin_date=truth.origin_date + 1),
        dataclasses.replace(truth, step=truth.step + 1),
    ]

    assert {each.digest for each in same} == {truth.digest}
    assert truth.digest not in {each.digest for each in other}


def test_rows_can_be_put_in_time_order() -> None:
    """Reversed rows come back as they were, every column of them."""
    truth = truth_of()
    unit = scored(truth, normal(truth), reasons=["late", "", "", "", "", ""])
    back = unit.at(slice(None, None, -1))

    again = in_time_order(back)

    assert again.reason == unit.reason
    assert back.reason == unit.reason[::-1]
    assert np.array_equal(again.origin, unit.origin)
    assert np.array_equal(again.values["crps"], unit.values["crps"], equal_nan=True)


def test_non_overlapping_origins_share_no_session() -> None:
    """Kept origins are at least the reach apart, and none that fits is left out."""
    assert non_overlapping(np.array([10, 15, 20, 26, 30]), 10).tolist() == [0, 2, 4]
    assert non_overlapping(np.array([30, 10, 20]), 10).tolist() == [1, 2, 0]
    assert non_overlapping(np.arange(5), 1).tolist() == [0, 1, 2, 3, 4]


def test_summary_is_mean_and_range_over_seeds_with_skill() -> None:
    """A row holds the mean and range over seeds, counts, skill and the by-step values."""
    truth = truth_of(8, 4, stride=2)
    units = [
        scored(truth, normal(truth, shift=shift), arm=arm, seed=seed)
        for arm, seed, shift in (("A", 1, 1.0), ("A", 2, 2.0), ("RW", 1, 3.0))
    ]

    rows = {(row.arm, row.metric): row for row in summarise(units, reference="RW")}
    row = rows["A", "mae"]
    per_seed = [float(np.abs(truth.values - 10 - shift).mean()) for shift in (1, 2)]
    bar = float(np.abs(truth.values - 13).mean())

    assert (row.low, row.high) == pytest.approx((min(per_seed), max(per_seed)))
    assert row.value == pytest.approx(np.mean(per_seed))
    assert row.skill == pytest.approx(1 - np.mean(per_seed) / bar)
    assert (row.n, row.missing, row.failures, row.seeds) == (64, 0, 0, (1, 2))
    assert row.by_step.mean() == pytest.approx(row.value)
    assert row.independent_n == 4
    assert rows["RW", "mae"].skill == 0
    assert rows["A", "bias"].skill is None


def test_summary_of_an_incomplete_arm_has_no_value() -> None:
    """One failed window leaves the aggregate empty and the count beside it."""
    truth = truth_of()
    unit = scored(truth, normal(truth), reasons=["crash", "", "", "", "", ""])

    row = next(row for row in summarise([unit]) if row.metric == "crps")

    assert row.value is None
    assert (row.missing, row.failures) == (4, 1)
    assert np.isnan(row.by_step).all()
