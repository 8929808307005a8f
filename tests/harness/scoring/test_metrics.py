"""Metrics against closed forms, plain loops and other libraries."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri

from harness.forecast import LEVELS
from harness.scoring.metrics import (
    AGGREGATES,
    CENTRAL,
    DECILES,
    METRICS,
    PINBALL,
    Judged,
    aggregate,
    by_step,
)

LOSSES = [name for name, each in METRICS.items() if each.lower_is_better]


def judged_of(seed: int = 0, windows: int = 7, steps: int = 3, scale: float = 1.0) -> Judged:
    """Normal forecasts of what came, on the common grid."""
    draw = np.random.default_rng(seed)
    truth = scale * (10 + draw.normal(size=(windows, steps)))
    point = scale * (10 + draw.normal(size=(windows, steps)))
    spread = scale * draw.uniform(0.5, 2, size=(windows, steps))
    quantiles = point + spread * ndtri(LEVELS)[:, None, None]
    naive = scale * draw.uniform(0.5, 2, size=windows)
    return Judged(
        truth=truth, point=point, naive_scale=naive, naive_square=naive**2, quantiles=quantiles
    )


def quantile(judged: Judged, level: float) -> np.ndarray:
    """The quantile [W, H] at a level of the grid."""
    assert judged.quantiles is not None
    return judged.quantiles[int(np.argmin(np.abs(LEVELS - level)))]


def loop(judged: Judged, one: object) -> np.ndarray:
    """Apply a function of (window, step) cell by cell."""
    assert callable(one)
    windows, steps = judged.truth.shape
    return np.array([[one(w, h) for h in range(steps)] for w in range(windows)])


@pytest.mark.parametrize("name", LOSSES)
def test_perfect_forecast_scores_zero(name: str) -> None:
    """A forecast that puts everything on what came has loss 0 by every loss."""
    truth = np.array([[3.0, 4.0], [5.0, 6.0]])
    perfect = Judged(
        truth=truth,
        point=truth,
        naive_scale=np.ones(2),
        naive_square=np.ones(2),
        quantiles=np.broadcast_to(truth, (len(LEVELS), 2, 2)).copy(),
    )

    found = METRICS[name].function(perfect)

    assert np.array_equal(np.zeros((2, 2)), found)


@pytest.mark.parametrize("name", LOSSES)
@given(seed=st.integers(0, 1000), factor=st.floats(0.01, 1000))
def test_losses_scale_with_the_data(name: str, seed: int, factor: float) -> None:
    """Multiplying data and forecasts multiplies losses by the power their unit says."""
    power = {"target": 1, "target^2": 2}.get(METRICS[name].unit, 0)

    plain = METRICS[name].function(judged_of(seed))
    scaled = METRICS[name].function(judged_of(seed, scale=factor))

    assert np.allclose(plain * factor**power, scaled, rtol=1e-9)


@given(seed=st.integers(0, 1000))
def test_windows_are_scored_alone(seed: int) -> None:
    """Reversing the windows reverses the scores of every metric and changes none."""
    judged = judged_of(seed)
    assert judged.quantiles is not None
    back = Judged(
        truth=judged.truth[::-1],
        point=judged.point[::-1],
        naive_scale=judged.naive_scale[::-1],
        naive_square=judged.naive_scale[::-1] ** 2,
        quantiles=np.ascontiguousarray(judged.quantiles[:, ::-1]),
    )

    for each in METRICS.values():
        assert np.array_equal(each.function(judged)[::-1], each.function(back))


def test_point_metrics_agree_with_plain_loops() -> None:
    """Absolute, squared, percentage, scaled and signed errors are what their formulas say."""
    judged = judged_of()
    y, p, scale = judged.truth, judged.point, judged.naive_scale
    wanted = {
        "absolute_error": lambda w, h: abs(y[w, h] - p[w, h]),
        "squared_error": lambda w, h: (y[w, h] - p[w, h]) ** 2,
        "percentage_error": lambda w, h: abs(y[w, h] - p[w, h]) / abs(y[w, h]),
        "symmetric_error": lambda w, h: 2 * abs(y[w, h] - p[w, h]) / (abs(y[w, h]) + abs(p[w, h])),
        "scaled_error": lambda w, h: abs(y[w, h] - p[w, h]) / scale[w],
        "scaled_square": lambda w, h: (y[w, h] - p[w, h]) ** 2 / scale[w] ** 2,
        "actual_size": lambda w, h: abs(y[w, h]),
        "error": lambda w, h: p[w, h] - y[w, h],
    }

    for name, one in wanted.items():
        assert np.allclose(loop(judged, one), METRICS[name].function(judged), rtol=1e-14)


def test_crps_of_quantiles_agrees_with_a_plain_loop() -> None:
    """The quantile CRPS is the trapezoid rule over twice the pinball loss with zero ends."""
    judged = judged_of()
    assert judged.quantiles is not None
    edges = [0.0, *LEVELS.tolist(), 1.0]

    def one(w: int, h: int) -> float:
        losses = [0.0]
        for level, q in zip(LEVELS.tolist(), judged.quantiles[:, w, h], strict=True):
            distance = judged.truth[w, h] - q
            losses.append(2 * max(level * distance, (level - 1) * distance))
        losses.append(0.0)
        pieces = range(len(edges) - 1)
        return sum((edges[i + 1] - edges[i]) * (losses[i] + losses[i + 1]) / 2 for i in pieces)

    assert np.allclose(loop(judged, one), METRICS["crps"].function(judged), rtol=1e-12)


def test_crps_of_quantiles_is_close_to_the_closed_form() -> None:
    """On the common grid the CRPS of normal forecasts is within half a per cent of the exact."""
    properscoring = pytest.importorskip("properscoring")
    draw = np.random.default_rng(1)
    truth = draw.normal(size=(4000, 5))
    centre = 0.3 * draw.normal(size=truth.shape)
    quantiles = centre + ndtri(LEVELS)[:, None, None]
    judged = Judged(truth=truth, point=centre, naive_scale=np.ones(4000), quantiles=quantiles)

    exact = properscoring.crps_gaussian(truth, centre, 1.0).mean()

    assert METRICS["crps"].function(judged).mean() == pytest.approx(exact, rel=5e-3)


@pytest.mark.slow
def test_crps_of_samples_is_the_fair_estimator() -> None:
    """The sample CRPS equals scoringrules' fair and PWM estimators and a double loop."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the other library's imports, not ours
        import scoringrules
    draw = np.random.default_rng(2)
    truth, samples = draw.normal(size=(6, 4)), np.sort(draw.normal(size=(6, 4, 9)), axis=-1)
    judged = Judged(truth=truth, point=truth, naive_scale=np.ones(6), samples=samples)

    def one(w: int, h: int) -> float:
        x = samples[w, h]
        near = np.mean([abs(value - truth[w, h]) for value in x])
        return float(near - sum(abs(a - b) for a in x for b in x) / (2 * 9 * 8))

    found = METRICS["crps"].function(judged)

    assert np.allclose(loop(judged, one), found, rtol=1e-12, atol=1e-13)
    for estimator in ("fair", "pwm"):
        theirs = scoringrules.crps_ensemble(truth, samples, estimator=estimator, backend="numpy")
        assert np.allclose(theirs, found, rtol=1e-12, atol=1e-13)


def test_fair_and_biased_sample_crps_differ_as_known() -> None:
    """Properscoring's ensemble CRPS is the 1/M^2 one: higher by mean |x - x'| / (2 M)."""
    properscoring = pytest.importorskip("properscoring")
    draw = np.random.default_rng(3)
    truth, samples = draw.normal(size=(5, 2)), np.sort(draw.normal(size=(5, 2, 8)), axis=-1)
    judged = Judged(truth=truth, point=truth, naive_scale=np.ones(5), samples=samples)
    gaps = np.abs(samples[..., None] - samples[..., None, :]).sum(axis=(2, 3)) / (8 * 7)

    biased = properscoring.crps_ensemble(truth, samples)

    assert np.allclose(biased, METRICS["crps"].function(judged) + gaps / 16, rtol=1e-12)


def test_pinball_agrees_with_scoringrules() -> None:
    """The pinball loss is twice scoringrules' quantile score, alone and over the deciles."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the other library's imports, not ours
        import scoringrules
    judged = judged_of()

    def theirs(level: float) -> np.ndarray:
        return 2 * scoringrules.quantile_score(judged.truth, quantile(judged, level), level)

    mean = np.mean([theirs(per_mille / 1000) for per_mille in DECILES], axis=0)

    assert np.allclose(mean, METRICS["pinball"].function(judged), rtol=1e-12)
    for at in PINBALL:
        found = METRICS[f"pinball_{at}"].function(judged)
        assert np.allclose(theirs(at / 100), found, rtol=1e-12)


def test_wql_is_the_pinball_loss_over_the_size_of_the_actuals() -> None:
    """WQL: twice the pinball losses summed over the sum of |y|, mean over the deciles."""
    judged = judged_of()
    y = judged.truth
    sums = [
        sum(
            2 * max(u * (a - q), (u - 1) * (a - q))
            for a, q in zip(y.ravel(), quantile(judged, u).ravel(), strict=True)
        )
        / np.abs(y).sum()
        for u in np.arange(1, 10) / 10
    ]
    cells = [METRICS[name].function(judged) for name in AGGREGATES["wql"].metrics]

    assert aggregate("wql", *cells).value == pytest.approx(np.mean(sums))
    assert by_step("wql", *cells) == pytest.approx(cells[0].mean(0) / cells[1].mean(0))
    assert math.isnan(aggregate("wql", cells[0], np.zeros_like(y)).value)


@pytest.mark.smoke
def test_crps_and_pit_of_a_normal_forecast_are_exact() -> None:
    """Stated as mean and deviation, CRPS is scoringrules' closed form."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the other library's imports, not ours
        import scoringrules
    draw = np.random.default_rng(4)
    truth, mean = draw.normal(size=(2, 8, 3))
    deviation = draw.uniform(0.7, 3, size=(8, 3))
    judged = Judged(truth=truth, point=mean, naive_scale=np.ones(8), deviation=deviation)

    found = METRICS["crps"].function(judged)

    assert np.allclose(
        scoringrules.crps_normal(truth, mean, deviation, backend="numpy"), found, rtol=1e-10
    )
    level = METRICS["pit"].function(judged)
    assert np.allclose(mean + deviation * ndtri(level), truth)


def test_a_normal_forecast_without_deviation_is_a_point() -> None:
    """At deviation 0 the CRPS is the absolute error and the PIT 0, 0.5 or 1."""
    judged = Judged(
        truth=np.array([[1.0, 2.0, 3.0]]),
        point=np.full((1, 3), 2.0),
        naive_scale=np.ones(1),
        deviation=np.zeros((1, 3)),
    )

    assert METRICS["crps"].function(judged).tolist() == [[1.0, 0.0, 1.0]]
    assert METRICS["pit"].function(judged).tolist() == [[0.0, 0.5, 1.0]]


def test_point_aggregates_agree_with_statsmodels() -> None:
    """MAE, RMSE, bias and MAPE are statsmodels' evaluation measures."""
    measures = pytest.importorskip("statsmodels.tools.eval_measures")
    judged = judged_of(windows=40)
    y, p = judged.truth.ravel(), judged.point.ravel()
    wanted = {
        "mae": measures.meanabs(p, y),
        "rmse": measures.rmse(p, y),
        "bias": measures.bias(p, y),
        "mape": 100 * np.mean(np.abs((y - p) / y)),
    }

    for name, value in wanted.items():
        cells = METRICS[AGGREGATES[name].of].function(judged)
        assert aggregate(name, cells).value == pytest.approx(value)


def test_symmetric_error_of_two_zeros_is_none() -> None:
    """A forecast of 0 for an actual of 0 has no error; for another actual it has the largest."""
    judged = Judged(
        truth=np.array([[0.0, 2.0]]), point=np.array([[0.0, 0.0]]), naive_scale=np.ones(1)
    )

    assert METRICS["symmetric_error"].function(judged).tolist() == [[0.0, 2.0]]


@pytest.mark.parametrize("level", CENTRAL)
def test_interval_score_agrees_with_scoringrules(level: int) -> None:
    """The Winkler score is scoringrules' interval score."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the other library's imports, not ours
        import scoringrules
    judged = judged_of()
    tail = (1 - level / 100) / 2

    theirs = scoringrules.interval_score(
        judged.truth, quantile(judged, tail), quantile(judged, 1 - tail), 2 * tail
    )

    assert np.allclose(theirs, METRICS[f"winkler_{level}"].function(judged), rtol=1e-12)


@pytest.mark.parametrize("level", CENTRAL)
def test_coverage_and_width_are_those_of_the_closed_central_interval(level: int) -> None:
    """An actual on the edge is covered, one beyond is not; the width is between the edges."""
    tail = (1 - level / 100) / 2
    quantiles = np.broadcast_to(LEVELS[:, None, None], (len(LEVELS), 1, 3)).copy()
    truth = np.array([[quantiles[np.argmin(np.abs(LEVELS - tail)), 0, 0], 0.5, 1.0]])
    judged = Judged(truth=truth, point=truth, naive_scale=np.ones(1), quantiles=quantiles)

    assert METRICS[f"coverage_{level}"].function(judged).tolist() == [[1.0, 1.0, 0.0]]
    assert METRICS[f"width_{level}"].function(judged) == pytest.approx(level / 100)


@given(level=st.floats(0.0005, 0.9995))
def test_pit_inverts_the_quantiles(level: float) -> None:
    """An actual at a normal forecast's quantile of level u has the PIT u, the tails included."""
    quantiles = 5 + 2 * ndtri(LEVELS)[:, None, None]
    truth = np.array([[5 + 2 * ndtri(level)]])
    judged = Judged(truth=truth, point=truth, naive_scale=np.ones(1), quantiles=quantiles)

    assert METRICS["pit"].function(judged)[0, 0] == pytest.approx(level, abs=1e-9)


def test_pit_of_quantiles_that_coincide_is_the_middle_of_their_levels() -> None:
    """Where a forecast is certain and right the PIT is 0.5; certain and wrong, 0 or 1."""
    quantiles = np.zeros((len(LEVELS), 1, 3))
    judged = Judged(
        truth=np.array([[0.0, -1.0, 1.0]]),
        point=np.zeros((1, 3)),
        naive_scale=np.ones(1),
        quantiles=quantiles,
    )

    assert METRICS["pit"].function(judged).tolist() == [[0.5, 0.0, 1.0]]


def test_zero_actuals_have_no_percentage_error_and_are_counted() -> None:
    """An actual of 0 gives NaN; MAPE is then NaN and says how many values are missing."""
    judged = Judged(
        truth=np.array([[0.0, 2.0]]), point=np.array([[1.0, 1.0]]), naive_scale=np.ones(1)
    )

    cells = METRICS["percentage_error"].function(judged)
    found = aggregate("mape", cells)

    assert np.isnan(cells[0, 0])
    assert cells[0, 1] == 0.5
    assert math.isnan(found.value)
    assert (found.n, found.missing) == (2, 1)


def test_a_series_that_never_moved_has_no_scaled_error() -> None:
    """A naive scale of 0 gives NaN, not infinity."""
    judged = Judged(
        truth=np.ones((1, 1)),
        point=np.zeros((1, 1)),
        naive_scale=np.zeros(1),
        naive_square=np.zeros(1),
    )

    assert np.isnan(METRICS["scaled_error"].function(judged)).all()
    assert np.isnan(METRICS["scaled_square"].function(judged)).all()


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=30),
    st.sampled_from(sorted(AGGREGATES)),
)
def test_nan_never_helps_an_aggregate(values: list[float], name: str) -> None:
    """One NaN among the cells makes the aggregate NaN, whatever the others are."""
    whole = aggregate(name, np.array(values), np.ones(len(values)))
    holed = aggregate(name, np.array([*values, np.nan]), np.ones(len(values) + 1))

    assert math.isfinite(whole.value)
    assert whole.missing == 0
    assert math.isnan(holed.value)
    assert holed.missing == 1


def test_aggregates_agree_with_their_names() -> None:
    """RMSE is a root of a mean, MAPE and coverage are per cent, nothing at all is NaN."""
    cells = np.array([[[1.0, 4.0], [9.0, 16.0]]])

    assert aggregate("rmse", cells).value == pytest.approx(math.sqrt(7.5))
    assert aggregate("mae", cells).value == pytest.approx(7.5)
    assert aggregate("mape", cells).value == pytest.approx(750)
    assert aggregate("coverage_80", cells / 16).value == pytest.approx(100 * 7.5 / 16)
    assert by_step("rmse", cells) == pytest.approx([math.sqrt(5), math.sqrt(10)])
    assert math.isnan(aggregate("mae", np.empty((0, 2))).value)
    assert np.isnan(by_step("mae", np.empty((0, 2)))).all()


def test_every_aggregate_is_made_of_a_metric() -> None:
    """The registry is whole: aggregates name metrics, and only losses are comparable."""
    for each in AGGREGATES.values():
        assert set(each.metrics) <= set(METRICS)
        assert METRICS[each.of].lower_is_better or not each.comparable


def test_the_page_of_metrics_names_every_one() -> None:
    """docs/metrics.md leaves out no metric and no aggregate, and invents none of a family."""
    page = Path(__file__).parents[3] / "docs" / "metrics.md"
    text = page.read_text(encoding="utf-8")
    families = {f"{name}_{level}" for name in ("coverage", "width", "winkler") for level in CENTRAL}
    families |= {f"pinball_{level}" for level in PINBALL}

    plain = (set(METRICS) | set(AGGREGATES)) - families

    assert sorted(name for name in plain if f"`{name}`" not in text) == []
    for name in ("coverage", "width", "winkler"):
        assert f"`{name}_50`, `_68`, `_80`, `_95`" in text
    assert ", ".join([f"`pinball_{PINBALL[0]}`", *(f"`_{at}`" for at in PINBALL[1:])]) in text
