"""Wavelet parts against the same sums written as loops, at even and odd lengths."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from baselines.networks.wavelets import (
    ORDER,
    MultiwaveletCross,
    SpectralKernel,
    analyse,
    daubechies_filters,
    resized,
)


def mirrored(x: Tensor, place: int) -> Tensor:
    """The sample at a place, mirrored about half samples at both ends."""
    length = len(x)
    while not 0 <= place < length:
        place = -1 - place if place < 0 else 2 * length - 1 - place
    return x[place]


@pytest.mark.parametrize("moments", [1, 2, 4, 10])
@pytest.mark.parametrize("length", [5, 8, 17, 29, 51, 96])
def test_a_wavelet_level_is_a_loop_over_mirrored_samples(length: int, moments: int) -> None:
    """Every second place, the first window starting all but two taps before the series."""
    x, wide = torch.randn(2, length, 3, dtype=torch.float64), 2 * moments
    taps = torch.stack(daubechies_filters(moments), dim=-1).double()

    bands = analyse(x, taps, true_gradient=False)

    steps = (length + wide - 1) // 2
    for band, filter_ in zip(bands, taps.unbind(-1), strict=True):
        assert band.shape == (2, steps, 3)
        for t in range(steps):
            window = [mirrored(x[0], 2 * t + tap - wide + 2) for tap in range(wide)]
            wanted = (torch.stack(window) * filter_.unsqueeze(1)).sum(0)
            torch.testing.assert_close(band[0, t], wanted)


@pytest.mark.parametrize(("source", "length"), [(12, 72), (29, 48), (18, 12), (13, 13)])
def test_stretching_is_linear_between_half_pixel_centres(source: int, length: int) -> None:
    """Step t of n stands at (t + 1/2) m / n - 1/2 of m steps, held at the ends."""
    x = torch.randn(1, source, 2, dtype=torch.float64)
    found = resized(x, length)[0]

    for t in range(length):
        place = min(max((t + 0.5) * source / length - 0.5, 0.0), source - 1.0)
        low = int(place)
        high = min(low + 1, source - 1)
        wanted = x[0, low] * (low + 1 - place) + x[0, high] * (place - low)
        torch.testing.assert_close(found[t], wanted)


@pytest.mark.parametrize("steps", [1, 2, 5, 8])
def test_attention_between_levels_is_a_loop_over_modes(steps: int) -> None:
    """Scores of modes go through tanh by real and imaginary part, and meet the keys (H-16)."""
    cross = MultiwaveletCross(32, 4, channels=2)
    queries, keys = torch.randn(2, 1, steps, 2, ORDER, dtype=torch.float64)
    found = cross._attend(queries, keys, keys)[0]

    modes = min(steps // 2, 32, (32 // 4) // 2)
    for e in range(ORDER):
        q, k = (torch.fft.rfft(z[0, :, :, e], dim=0) for z in (queries, keys))
        bins = torch.zeros(steps // 2 + 1, 2, dtype=torch.complex128)
        for x in range(modes):
            for y in range(modes):
                score = (q[x] * k[y]).sum()
                squashed = torch.complex(score.real.tanh(), score.imag.tanh())
                bins[x] += squashed * k[y] / (32 / 4) ** 2
        wanted = torch.fft.irfft(bins, n=steps, dim=0)
        torch.testing.assert_close(found[:, :, e], wanted)


@pytest.mark.parametrize("level", [0, 1])
def test_a_spectral_kernel_is_complex_and_mode_major(level: int) -> None:
    """On every level mode m maps all channels by weights1 + i weights2 at [.., m]."""
    kernel = SpectralKernel(6)
    x = torch.randn(6, dtype=torch.complex64)

    real, imag = list(kernel.mode_major([4, 3]))[level]

    assert len(real) == len(imag) == 4 - level
    found = x @ torch.complex(real[2], imag[2])
    weights = torch.complex(kernel.weights1[..., 2], kernel.weights2[..., 2])
    wanted = torch.stack([sum(x[i] * weights[i, o] for i in range(6)) for o in range(6)])
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("length", [8, 12, 13])
def test_padding_repeats_the_first_rows_up_to_a_power_of_two(length: int) -> None:
    """A power of two stays as it is."""
    cross = MultiwaveletCross(8, 2, channels=1)
    x = torch.randn(1, length, 1, ORDER)
    whole = 1 << math.ceil(math.log2(length))

    padded = cross.pad(x)

    assert torch.equal(padded, torch.cat([x, x[:, : whole - length]], dim=1))


DB4 = (
    0.23037781330885523, 0.7148465705525415, 0.6308807679295904, -0.02798376941698385,
    -0.18703481171888114, 0.030841381835986965, 0.032883011666982945, -0.010597401784997278,
)  # fmt: skip


@pytest.mark.parametrize("moments", range(1, 11))
def test_wavelet_filters_turn_and_know_polynomials(moments: int) -> None:
    """Shifts by two are orthonormal, and the high band of a polynomial of low degree is 0."""
    low, high = (taps.double() for taps in daubechies_filters(moments))
    for shift in range(moments):
        kept = len(low) - 2 * shift
        inner = (low[:kept] * low[2 * shift :]).sum(), (low[:kept] * high[2 * shift :]).sum()
        assert float(inner[0]) == pytest.approx(float(shift == 0), abs=1e-6)
        assert float(inner[1]) == pytest.approx(0.0, abs=1e-6)
    place = torch.linspace(-1, 1, len(low), dtype=torch.float64)
    for degree in range(min(moments, 4)):
        assert float((high * place**degree).sum()) == pytest.approx(0.0, abs=1e-6)


def test_the_default_wavelet_has_the_published_taps() -> None:
    """Of four vanishing moments, to the last bit of single precision."""
    assert torch.equal(daubechies_filters(4)[0], torch.tensor(DB4))
