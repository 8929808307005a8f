"""Reliability and resolution: exact on small cases, right on simulated ones."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri

from harness.errors import ForecastError
from harness.forecast import LEVELS, Forecast
from harness.scoring.score_decomposition import (
    decompose_crps,
    decompose_quantile,
    isotonic_quantile,
)


def loss(truth: np.ndarray, quantile: np.ndarray, level: float) -> float:
    """Mean pinball loss with the factor 2, by its definition."""
    gap = truth - quantile
    return float(np.mean(2 * np.maximum(level * gap, (level - 1) * gap)))


def best_by_trying(forecast: np.ndarray, truth: np.ndarray, level: float) -> float:
    """Least loss over all non-decreasing maps onto actuals (some optimum uses actuals only)."""
    places = np.unique(forecast)
    values = np.unique(truth)
    return min(
        loss(truth, np.array(chosen)[np.searchsorted(places, forecast)], level)
        for chosen in itertools.combinations_with_replacement(values.tolist(), len(places))
    )


@given(
    pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(-3, 3)), min_size=1, max_size=6),
    level=st.sampled_from([0.05, 0.1, 0.25, 0.5, 0.8, 0.9]),
)
def test_isotonic_quantiles_are_the_best_there_are(
    pairs: list[tuple[int, int]], level: float
) -> None:
    """No non-decreasing function of the forecast has a smaller loss; ties stay ties."""
    forecast = np.array([float(f) for f, _ in pairs])
    truth = np.array([float(y) for _, y in pairs])

    fitted = isotonic_quantile(forecast, truth, level)

    assert loss(truth, fitted, level) == pytest.approx(best_by_trying(forecast, truth, level))
    for one, other in itertools.product(range(len(pairs)), repeat=2):
        if forecast[one] <= forecast[other]:
            assert fitted[one] <= fitted[other]


@given(st.integers(0, 500), st.sampled_from(LEVELS.tolist()))
def test_parts_add_up_and_none_is_negative(seed: int, level: float) -> None:
    """Score = miscalibration - discrimination + uncertainty, whatever the forecasts are."""
    draw = np.random.default_rng(seed)
    truth, quantile = draw.normal(size=(2, 40))

    found = decompose_quantile(truth, quantile, level)

    whole = found.miscalibration - found.discrimination + found.uncertainty
    assert found.score == pytest.approx(loss(truth, quantile, level))
    assert whole == pytest.approx(found.score)
    assert min(found.miscalibration, found.discrimination) >= -1e-12


def simulated(shift: float = 0.0, stretch: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Actuals around a known mean, and normal forecasts of them that are off as told."""
    draw = np.random.default_rng(11)
    mean = draw.normal(size=4000)
    truth = mean + draw.normal(size=4000)
    return truth, mean[:, None] + shift + stretch * ndtri(LEVELS)


def test_calibrated_forecasts_are_nearly_free_of_miscalibration() -> None:
    """The true distribution: miscalibration under 2 %, discrimination and uncertainty as known."""
    found = decompose_crps(*simulated())

    assert found.miscalibration < 0.02 * found.score
    assert found.score == pytest.approx(1 / np.sqrt(np.pi), rel=0.03)
    assert found.uncertainty == pytest.approx(np.sqrt(2 / np.pi), rel=0.03)


@pytest.mark.parametrize(("shift", "stretch"), [(0.5, 1.0), (0.0, 0.4), (0.0, 2.5)])
def test_miscalibration_is_what_miscalibrating_costs(shift: float, stretch: float) -> None:
    """A shift or a wrong width raises miscalibration by its cost and leaves the rest alone."""
    right, wrong = decompose_crps(*simulated()), decompose_crps(*simulated(shift, stretch))

    cost = wrong.score - right.score
    assert cost > 0.05
    assert wrong.miscalibration - right.miscalibration == pytest.approx(cost)
    assert wrong.discrimination == pytest.approx(right.discrimination)
    assert wrong.uncertainty == pytest.approx(right.uncertainty)


def test_a_forecast_that_knows_nothing_discriminates_nothing() -> None:
    """The climate at every origin: no discrimination, its score is the uncertainty."""
    truth, _ = simulated()
    climate = np.broadcast_to(np.quantile(truth, LEVELS), (len(truth), len(LEVELS)))

    found = decompose_crps(truth, climate)

    assert found.discrimination == pytest.approx(0, abs=1e-9)
    assert found.score == pytest.approx(found.uncertainty, rel=1e-4)


def test_a_missing_case_is_refused() -> None:
    """NaN is not left out: what is split would no longer be the score."""
    with pytest.raises(ForecastError, match="some are not finite"):
        decompose_quantile(np.array([1.0, np.nan]), np.zeros(2), 0.5)
    with pytest.raises(ForecastError, match="and a case"):
        decompose_quantile(np.empty(0), np.empty(0), 0.5)


def test_a_unit_is_split_by_relative_changes() -> None:
    """On a trending price the changes that a random walk forecasts discriminate nothing."""
    draw = np.random.default_rng(3)
    last = 100 * np.exp(0.01 * np.arange(400))
    values = last[:, None] * (1 + 0.02 * draw.normal(size=(400, 3)))
    centre = np.repeat(last[:, None], 3, axis=1)
    walk = Forecast.of_gaussian(centre, 0.02 * centre).at(LEVELS)

    found = decompose_crps(
        (values / centre - 1).ravel(),
        (walk / centre[..., None] - 1).reshape(-1, len(LEVELS)),
    )

    assert found.discrimination == pytest.approx(0, abs=1e-9)
    assert found.score == pytest.approx(0.02 / np.sqrt(np.pi), rel=0.05)
    assert found.n == 1200
