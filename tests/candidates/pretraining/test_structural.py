"""Structural series have the statistics they are named for."""

import math

import numpy as np
import pytest
import torch

from candidates.pretraining.mixture import (
    exponential,
    level_shift,
    power_law_noise,
    random_walk,
    seasonal,
    trend,
    white_noise,
)


def test_a_season_repeats_and_has_its_variance():
    """It comes back after its period; the variance is half the sum of squared amplitudes."""
    amplitude = torch.tensor([[2.0, 1.0, 0.5]])

    wave = seasonal(
        240, period=torch.tensor([24.0]), amplitude=amplitude, phase=torch.tensor([[0.3, 1.0, 2.0]])
    )

    assert torch.allclose(wave[:, 24:], wave[:, :-24], atol=1e-4)
    assert not torch.allclose(wave[:, 12:], wave[:, :-12], atol=0.1)
    assert float(wave.var(correction=0)) == pytest.approx((4 + 1 + 0.25) / 2, rel=1e-4)
    assert float(wave[0, 0]) == pytest.approx(
        2 * math.sin(0.3) + math.sin(1.0) + 0.5 * math.sin(2), rel=1e-5
    )


@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
def test_noise_falls_off_with_its_slope(rng, slope):
    """A line through its periodogram on logarithmic axes has the stated slope."""
    noise = power_law_noise(rng, 2048, slope=torch.full((300,), slope)).numpy()

    window = np.hanning(2048)  # the ends do not meet: without it they leak into all frequencies
    power = (np.abs(np.fft.rfft(noise * window, axis=1)) ** 2).mean(axis=0)
    frequency = np.fft.rfftfreq(2048)
    middle = slice(8, 600)
    fitted = np.polyfit(np.log(frequency[middle]), np.log(power[middle]), 1)[0]

    assert fitted == pytest.approx(-slope, abs=0.05)
    assert noise.mean(axis=1) == pytest.approx(np.zeros(300), abs=1e-5)
    assert noise.std(axis=1) == pytest.approx(np.ones(300), rel=1e-2)


def test_noise_need_not_end_where_it_starts(rng):
    """Smooth noise is cut from a longer one: its ends differ as any two far values do."""
    noise = power_law_noise(rng, 512, slope=torch.full((400,), 2.0))

    assert float((noise[:, -1] - noise[:, 0]).std()) > 1.0


def test_a_trend_is_a_straight_line():
    """It starts at 0, rises evenly and reaches its rise after the last step."""
    line = trend(10, rise=torch.tensor([5.0]))

    assert line[0, 0] == 0
    assert torch.allclose(torch.diff(line), torch.full((1, 9), 0.5))


def test_a_level_shifts_once():
    """0 before the place, the size from there on."""
    shifted = level_shift(8, size=torch.tensor([2.0]), at=torch.tensor([0.5]))

    assert shifted.tolist() == [[0, 0, 0, 0, 0, 2, 2, 2]]


def test_white_noise_has_its_deviation_and_no_memory(rng):
    """Standard deviation as stated, no autocorrelation."""
    noise = white_noise(rng, 50_000, deviation=torch.tensor([0.3, 2.0]))

    assert noise.std(1).tolist() == pytest.approx([0.3, 2.0], rel=0.02)
    assert float((noise[1, 1:] * noise[1, :-1]).mean()) == pytest.approx(0, abs=0.05)


def test_a_walk_ends_at_its_deviation(rng):
    """Its last value has the stated deviation, and its variance grows evenly."""
    walk = random_walk(rng, 200, deviation=torch.full((4000,), 3.0))

    assert float(walk[:, -1].std()) == pytest.approx(3, rel=0.05)
    assert float(walk[:, 49].var()) == pytest.approx(9 / 4, rel=0.1)


def test_an_exponential_is_positive_and_bounded(rng):
    """Whatever the scale of the series, the result is positive, finite and skewed to the right."""
    made = exponential(1e6 * torch.randn(5, 2000, generator=rng))

    assert float(made.min()) > 0
    assert float(made.max()) <= math.exp(6) * 1.001
    assert float(made.mean()) > float(made.median())
