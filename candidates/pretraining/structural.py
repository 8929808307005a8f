"""Series with structure: seasons, trends, level shifts, rough and smooth noise.

Shapes: B series, T steps, K harmonics. Every function is pure.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor


def seasonal(length: int, *, period: Tensor, amplitude: Tensor, phase: Tensor) -> Tensor:
    """Sum of K harmonics of one period, [B, T].

    Its variance over whole periods is half the sum of the squared amplitudes.

    Parameters
    ----------
    period : [B]
        Steps.
    amplitude, phase : [B, K]
        Of harmonics 1 .. K; phase in radians.
    """
    steps = torch.arange(length, device=period.device, dtype=period.dtype)
    wave = torch.zeros(len(period), length, device=period.device, dtype=period.dtype)
    for index in range(amplitude.shape[1]):
        angle = 2 * math.pi * (index + 1) * steps / period[:, None] + phase[:, index, None]
        wave = wave + amplitude[:, index, None] * torch.sin(angle)
    return wave


def power_law_noise(rng: Generator, length: int, *, slope: Tensor) -> Tensor:
    """Noise whose power falls with frequency f as ``f^-slope``, mean 0 and variance 1, [B, T].

    Slope 0 is white noise, 2 as rough as a random walk, 3 smooth. Drawn as a spectrum of twice the
    length, of which the first half is kept, so that it need not end where it starts. Source:
    Timmer and Koenig (1995).

    Parameters
    ----------
    slope : [B]
    """
    frequency = torch.fft.rfftfreq(2 * length, device=rng.device)[1:]
    shape = (len(slope), len(frequency))
    real = torch.randn(shape, generator=rng, device=rng.device)
    imaginary = torch.randn(shape, generator=rng, device=rng.device)
    bins = torch.complex(real, imaginary) * frequency ** (-slope[:, None] / 2)
    still = torch.zeros(len(slope), 1, device=rng.device, dtype=bins.dtype)
    noise = torch.fft.irfft(torch.cat([still, bins], dim=1), dim=1)[:, :length]
    standard: Tensor = (noise - noise.mean(1, keepdim=True)) / (noise.std(1, keepdim=True) + 1e-6)
    return standard


def trend(length: int, *, rise: Tensor) -> Tensor:
    """A straight line from 0 that rises by `rise` [B] in `length` steps, [B, T]."""
    steps = torch.arange(length, device=rise.device, dtype=rise.dtype)
    return rise[:, None] * steps / length


def level_shift(length: int, *, size: Tensor, at: Tensor) -> Tensor:
    """0 up to the share `at` [B] of the steps, then `size` [B], [B, T]."""
    steps = torch.arange(length, device=size.device)
    return size[:, None] * (steps > length * at[:, None])


def white_noise(rng: Generator, length: int, *, deviation: Tensor) -> Tensor:
    """Independent normal values of standard deviation `deviation` [B], [B, T]."""
    shape = (len(deviation), length)
    return torch.randn(shape, generator=rng, device=rng.device) * deviation[:, None]


def random_walk(rng: Generator, length: int, *, deviation: Tensor) -> Tensor:
    """Running sum of normal steps; the last value has standard deviation `deviation` [B]."""
    steps = white_noise(rng, length, deviation=deviation / math.sqrt(length))
    return torch.cumsum(steps, dim=1)


def exponential(series: Tensor) -> Tensor:
    """Exponential of the series over its standard deviation, within e^-6 .. e^6."""
    deviation = series.std(1, keepdim=True) + 1e-6
    return torch.exp((series / deviation).clamp(-6, 6))
