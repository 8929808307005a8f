"""Forecasts and their quantiles."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from harness.arm import expect_answer
from harness.errors import ForecastError
from harness.forecast import LEVELS, Forecast, extrapolated, quantiles_at
from harness.scoring.kernels import WEIGHTS
from harness.window import RollingOrigin, contexts_at


def test_common_levels_hold_what_users_ask_for():
    """The grid is symmetric, has at least 21 levels, and those of all intervals."""
    wanted = [0.1, 0.25, 0.5, 0.75, 0.9, 0.16, 0.84, 0.025, 0.975, 0.01, 0.99]

    assert len(LEVELS) >= 21
    assert np.allclose(LEVELS, 1 - LEVELS[::-1])
    assert set(wanted) <= set(LEVELS.tolist())


@given(mean=st.floats(-1e6, 1e6), sd=st.floats(1e-6, 1e6))
def test_normal_quantiles_are_reproduced_from_any_levels(mean, sd):
    """A normal distribution given on nine deciles is right at every common level."""
    deciles = np.arange(1, 10) / 10
    given_on = norm.ppf(deciles, mean, sd)[None, None, :]

    found = quantiles_at(given_on, deciles, LEVELS)

    assert np.allclose(found[0, 0], norm.ppf(LEVELS, mean, sd), rtol=1e-9, atol=1e-9 * sd)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9))
def test_read_quantiles_never_cross(values):
    """Quantiles in order stay in order on any grid, extrapolated ones included."""
    levels = np.linspace(0.1, 0.9, len(values))

    found = quantiles_at(np.sort(values)[None, None, :], levels, LEVELS)

    assert (np.diff(found) >= -1e-9 * (1 + np.abs(found).max())).all()


def test_own_levels_are_kept_exactly():
    """A quantile at a level the arm gave is that quantile, to the last bit."""
    values = np.array([[[1.1, 2.3, 7.7]]])

    found = quantiles_at(values, np.array([0.1, 0.5, 0.9]), np.array([0.5, 0.9]))

    assert found.tolist() == [[[2.3, 7.7]]]


def test_extrapolated_levels_are_counted():
    """Deciles do not reach the three outer levels on either side."""
    assert extrapolated(np.arange(1, 10) / 10, LEVELS) == 6
    assert extrapolated(LEVELS, LEVELS) == 0


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"point": np.zeros(3), "levels": np.empty(0)}, "expected \\[W, H\\]"),
        ({"levels": np.array([0.5])}, "go together"),
        ({"levels": np.array([0.5, 0.5]), "quantiles": np.zeros((2, 3, 2))}, "increase strictly"),
        ({"levels": np.array([0.0, 0.5]), "quantiles": np.zeros((2, 3, 2))}, "inside"),
        ({"levels": np.array([0.5]), "quantiles": np.zeros((2, 4, 1))}, "quantiles have shape"),
        ({"levels": np.empty(0), "samples": np.zeros((2, 1, 3))}, "samples have shape"),
        (
            {
                "levels": np.array([0.5]),
                "quantiles": np.zeros((2, 3, 1)),
                "samples": np.zeros((2, 5, 3)),
            },
            "not both",
        ),
    ],
)
def test_misshapen_forecast_is_refused(parts, words):
    """What does not fit together is refused when it is made."""
    with pytest.raises(ForecastError, match=words):
        Forecast(**({"point": np.zeros((2, 3))} | parts))


def test_finite_tells_windows_apart():
    """A NaN anywhere in a window marks that window and no other."""
    quantiles = np.zeros((3, 4, 2))
    quantiles[1, 2, 0] = np.nan

    found = Forecast.of_quantiles(quantiles, np.array([0.25, 0.75]))

    assert found.finite.tolist() == [True, False, True]


def test_steps_leave_the_gap_out():
    """The steps of a gap are forecast and not judged."""
    samples = np.arange(2 * 5 * 6, dtype=float).reshape(2, 5, 6)

    found = Forecast.of_samples(samples).part(steps=slice(2, None))

    assert found.point.shape == (2, 4)
    assert np.array_equal(found.samples, samples[:, :, 2:])


def test_weights_integrate_what_is_zero_at_both_ends():
    """The trapezoid rule over 0 .. 1 with nothing at the ends: within 0.3 % for u (1 - u)."""
    assert np.sum(WEIGHTS * LEVELS * (1 - LEVELS)) == pytest.approx(1 / 6, rel=3e-3)
    assert np.allclose(WEIGHTS, WEIGHTS[::-1])


def test_every_form_is_read_at_any_levels():
    """Quantiles, samples and normal parameters give the quantiles asked for, in order."""
    wanted = np.array([0.2, 0.5, 0.7])
    mean, deviation = np.array([[3.0, 4.0]]), np.array([[1.0, 2.0]])
    exact = mean[..., None] + deviation[..., None] * norm.ppf(wanted)
    levels = np.array([0.9, 0.1])  # of quantiles that come in the wrong order
    crossed = mean[..., None] + deviation[..., None] * norm.ppf(levels)
    even = norm.ppf((np.arange(20_000) + 0.5) / 20_000)[::-1]
    samples = mean[:, None] + deviation[:, None] * even[None, :, None]

    forms = [
        Forecast.of_gaussian(mean, deviation),
        Forecast.of_quantiles(crossed, np.array([0.1, 0.9])),
        Forecast.of_samples(samples),
    ]

    for form in forms:
        assert np.allclose(form.at(wanted), exact, atol=1e-3)
    with pytest.raises(ForecastError, match="a point path alone has no quantiles"):
        Forecast.of_point(mean).at(wanted)


def test_later_steps_keep_every_part():
    """Leaving out steps cuts deviations too, and keeps which windows a fallback answered."""
    deviation = np.arange(1.0, 7.0).reshape(2, 3)
    whole = Forecast(
        point=-deviation, levels=np.empty(0), deviation=deviation, fallback=("", "crash")
    )

    cut = whole.part(steps=slice(1, None))

    assert cut.point.tolist() == [[-2.0, -3.0], [-5.0, -6.0]]
    assert cut.deviation.tolist() == [[2.0, 3.0], [5.0, 6.0]]
    assert cut.fallback == ("", "crash")
    with pytest.raises(ForecastError, match="fallback has 1 reasons for 2 windows"):
        Forecast(point=deviation, levels=np.empty(0), fallback=("",))


@pytest.mark.parametrize("form", ["quantiles", "samples", "deviation", "point"])
def test_what_is_masked_is_missing(form):
    """A window with one masked value, in whatever part of a forecast, is not finite."""
    point = np.ones((3, 2))
    parts = {
        "point": (point, Forecast.of_point),
        "deviation": (point, lambda values: Forecast.of_gaussian(np.ones((3, 2)), values)),
        "samples": (np.ones((3, 5, 2)), Forecast.of_samples),
        "quantiles": (
            np.ones((3, 2, 2)),
            lambda values: Forecast.of_quantiles(values, np.array([0.25, 0.75])),
        ),
    }
    values, make = parts[form]
    mask = np.zeros_like(values, dtype=bool)
    mask[1, 0, ...] = True

    found = make(np.ma.masked_array(values, mask))

    assert found.finite.tolist() == [True, False, True]
    assert not isinstance(getattr(found, "point" if form == "point" else form), np.ma.MaskedArray)


NUMBERS = {
    "lists": (lambda x: x.tolist()),
    "tuples": (lambda x: tuple(map(tuple, x.tolist())) if x.ndim == 2 else tuple(x.tolist())),
    "single precision": (lambda x: x.astype(np.float32)),
    "a tensor in a graph": (lambda x: torch.tensor(x, dtype=torch.float32, requires_grad=True)),
    "a list of tensors": (lambda x: list(torch.tensor(x, dtype=torch.float32))),
}


@pytest.mark.parametrize("form", NUMBERS)
def test_constructors_take_numbers_in_any_form(form):
    """Lists, tuples, single precision and tensors give the forecast that arrays give."""
    made = NUMBERS[form]
    quantiles = np.arange(12.0).reshape(2, 2, 3)
    levels = np.array([0.1, 0.5, 0.9])

    by_level = Forecast.of_quantiles(made(quantiles), made(levels))
    drawn = Forecast.of_samples(made(quantiles), made(quantiles[:, 0]))
    normal = Forecast.of_gaussian(made(quantiles[:, 0]), made(quantiles[:, 1]))
    path = Forecast.of_point(made(quantiles[:, 0]))

    assert by_level.levels.tolist() == [0.1, 0.5, 0.9]
    assert np.array_equal(by_level.quantiles, quantiles)
    assert np.array_equal(by_level.point, quantiles[..., 1])
    assert np.array_equal(drawn.samples, quantiles)
    assert np.array_equal(normal.deviation, quantiles[:, 1])
    assert path.point.dtype == np.float64
    assert np.array_equal(path.point, quantiles[:, 0])


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (np.arange(1, 10, dtype=np.float32) / np.float32(10), [x / 10 for x in range(1, 10)]),
        (LEVELS.astype(np.float32).astype(np.float64), LEVELS.tolist()),
        (LEVELS.astype(np.float16), LEVELS.tolist()),
        (torch.tensor([0.1, 0.9], dtype=torch.bfloat16), [0.1, 0.9]),
        ([10, 50, 90], [0.1, 0.5, 0.9]),
        ([0.5, 2.5, 50, 97.5, 99.5], [0.005, 0.025, 0.5, 0.975, 0.995]),
        ([1 / 3, 2 / 3], [1 / 3, 2 / 3]),
    ],
)
def test_levels_are_read_as_they_were_meant(given, meant):
    """What single precision makes of a level is that level; per cent are shares."""
    found = Forecast.of_quantiles(np.zeros((1, 2, len(meant))), given)

    assert found.levels.tolist() == meant


@pytest.mark.parametrize("levels", [[0.1, 0.5, 9], [0.5, 1], [1.0], [50, 100], [0.05, 0.5, 99]])
def test_levels_of_two_readings_are_refused(levels):
    """A level above 1 among shares is not read as per cent."""
    with pytest.raises(ForecastError, match="do not increase strictly inside"):
        Forecast.of_quantiles(np.zeros((1, 2, len(levels))), levels)


@pytest.mark.parametrize("values", ["abc", [[1, 2], [3]], {"a": 1}, [["1", "2"]], [[1j, 2]]])
def test_what_is_not_numbers_is_refused(values):
    """Texts, ragged lists, tables and complex numbers are named as such."""
    with pytest.raises(ForecastError, match="point: expected an array of numbers"):
        Forecast.of_point(values)


def fan(steps, levels):
    """Quantiles [3, H, q] of a random walk."""
    spread = np.sqrt(np.arange(1, steps + 1))[:, None] * norm.ppf(levels)
    return 100 + np.repeat(spread[None], 3, axis=0)


DRIFT = 0.3 * np.arange(9)[:, None]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (lambda q: fan(5, q).swapaxes(1, 2), "expected [W, H, q] = (3, 5, 9): the last two axes"),
        (lambda q: np.moveaxis(fan(5, q), 2, 0), "expected [W, H, q] = (3, 5, 9): the axis of lev"),
        (
            lambda q: fan(5, q[:-2]),
            "(3, 5, 7), expected [W, H, q] with one for each of the 9 levels",
        ),
        (lambda q: fan(9, q).swapaxes(1, 2), "fall from one level to the next in 44% of places"),
        (lambda q: (fan(9, q) + DRIFT).swapaxes(1, 2), "the last two axes look swapped"),
    ],
)
def test_quantiles_with_swapped_axes_are_named(values, said):
    """Axes in another order are named, by their shape, and where it is square by their rise."""
    levels = np.arange(1, 10) / 10

    with pytest.raises(ForecastError, match=re.escape(said)):
        Forecast.of_quantiles(values(levels), levels)


def test_square_quantiles_in_their_place_are_kept():
    """As many steps as levels is no fault, nor are a few crossings."""
    levels = np.arange(1, 10) / 10
    values = fan(9, levels)
    values[0, 0, :2] = values[0, 0, 1::-1]

    assert Forecast.of_quantiles(values, levels).quantiles.shape == (3, 9, 9)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((3, 5, 200), "expected [W, M, H] = (3, 200, 5): the last two axes look swapped"),
        ((200, 3, 5), "expected [W, M, H] = (3, 200, 5): the axis of samples is first"),
    ],
)
def test_samples_with_swapped_axes_are_named(series, shape, said):
    """Samples whose axes are in another order are named as samples, not as point paths."""
    plan = RollingOrigin(horizon=5, stride=1, origins=3, validation=10)
    rows = plan.over(series.dates).origin
    contexts = contexts_at(series, rows, plan=plan, length=4, levels=LEVELS)

    with pytest.raises(ForecastError, match=re.escape(said)):
        expect_answer(Forecast.of_samples(np.ones(shape)), contexts)
