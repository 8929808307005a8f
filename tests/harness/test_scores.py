"""Scores of a unit: equal treatment of forecast forms, failures, summaries."""

import dataclasses

import numpy as np
import pytest
from scipy.special import ndtri

from harness.errors import ForecastError
from harness.forecast import LEVELS, Forecast
from harness.metrics import METRICS
from harness.scores import (
    Truth,
    UnitScores,
    in_time_order,
    non_overlapping,
    score,
    summarise,
)
from harness.window import RollingOrigin, Series

DECILES = np.arange(1, 10) / 10
TWENTY_ONE = np.array([0.01, *np.arange(1, 20) / 20, 0.99])


def truth_of(windows: int = 6, steps: int = 4, *, seed: int = 0, stride: int = 4) -> Truth:
    """A dataset of normal actuals."""
    draw = np.random.default_rng(seed)
    origin = 100 + stride * np.arange(windows, dtype=np.int64)
    return Truth(
        dataset="X",
        origin=origin,
        origin_date=np.datetime64("2001-01-01", "D") + origin,
        step=np.arange(1, steps + 1),
        values=10 + draw.normal(size=(windows, steps)),
        last=np.full(windows, 10.0),
        naive_scale=np.ones(windows),
    )


def normal(truth: Truth, levels: np.ndarray = LEVELS, *, shift: float = 0.0) -> Forecast:
    """The same normal forecast on any levels."""
    shape = truth.values.shape
    return Forecast.of_quantiles(
        np.broadcast_to(10 + shift + ndtri(levels), (*shape, len(levels))).copy(), levels
    )


def scored(truth: Truth, forecast: Forecast, **options: object) -> UnitScores:
    """Score under fixed names unless told otherwise."""
    given = {"arm": "A", "role": "legacy", "seed": 1} | options
    return score(truth, forecast, **given)  # type: ignore[arg-type]  # test shorthand


def test_case_15_equal_forecasts_in_other_forms_score_alike() -> None:
    """One distribution as nine deciles, 21 levels and 500 samples scores within 1 %."""
    truth = truth_of(1500, 4)
    samples = 10 + np.random.default_rng(5).normal(size=(1500, 500, 4))
    forms = [normal(truth, levels) for levels in (LEVELS, DECILES, TWENTY_ONE)]
    forms.append(Forecast.of_samples(samples, point=np.full(truth.values.shape, 10.0)))

    units = [scored(truth, form) for form in forms]

    for name in ("crps", "pinball", "winkler_80", "winkler_95", "width_80", "width_95"):
        means = [float(unit.values[name].mean()) for unit in units]
        assert max(means) < 1.01 * min(means), name


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
    assert truth.step.tolist() == [2, 3]
    assert truth.origin_date.tolist() == dates[[4, 7]].tolist()


def test_truth_digest_sees_numbers_and_not_names_or_order() -> None:
    """Renaming or reordering keeps the digest; one changed actual, scale or date does not."""
    truth = truth_of()
    back = {
        name: getattr(truth, name)[::-1]
        for name in ("origin", "origin_date", "values", "last", "naive_scale")
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
    order = np.arange(len(unit))[::-1]
    back = dataclasses.replace(
        unit,
        origin=unit.origin[order],
        origin_date=unit.origin_date[order],
        ok=unit.ok[order],
        reason=unit.reason[::-1],
        values={name: cells[order] for name, cells in unit.values.items()},
    )

    again = in_time_order(back)

    assert again.reason == unit.reason
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
