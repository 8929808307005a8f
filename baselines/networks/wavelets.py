"""Wavelet parts of the hierarchical network: Daubechies bands, Legendre multiwavelets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.networks.config import WAVELETS, NetworkConfig, Repairs
from baselines.networks.layers import in_float32

ORDER = 8  # Legendre polynomials to a cell
MODES = 16


def resized(x: Tensor, length: int) -> Tensor:
    """Interpolate [B, L, C] linearly to `length` steps, half-pixel centres."""
    if x.shape[1] == length:
        return x
    return functional.interpolate(x.transpose(1, 2), size=length, mode="linear").transpose(1, 2)


class Filters(nn.Module):
    """A pair of filters stored under the original's names."""

    def __init__(self, names: tuple[str, str], low: Tensor, high: Tensor) -> None:
        super().__init__()
        for name, taps in zip(names, (low, high), strict=True):
            self.register_buffer(name, taps.view(1, 1, -1))


def daubechies_filters(moments: int) -> tuple[Tensor, Tensor]:
    """Low- and high-pass analysis taps [2 * moments] in the order they meet the samples.

    Of the wavelet with that many vanishing moments and the energy as early as possible: I.
    Daubechies, Ten Lectures on Wavelets (1992), section 6.1, by spectral factorisation.
    """
    terms = [math.comb(moments - 1 + power, power) for power in reversed(range(moments))]
    taps = np.ones(1)
    for root in np.roots(terms):  # y = (2 - z - 1 / z) / 4
        middle = 1.0 - 2.0 * root
        pair = middle + np.array([1.0, -1.0]) * np.sqrt(middle * middle - 1.0 + 0.0j)
        taps = np.convolve(taps, [1.0, -pair[np.abs(pair).argmin()]])
    taps = np.convolve(taps.real, np.poly(-np.ones(moments)))
    low = torch.from_numpy(taps * (math.sqrt(2.0) / taps.sum())).float()
    signs = torch.tensor([-1.0, 1.0]).repeat(moments)
    return low, (low * signs).flip(0)


def analyse(x: Tensor, filters: Tensor, *, true_gradient: bool) -> tuple[Tensor, Tensor]:
    """One wavelet level of [B, L, C] by filters [n, 2]: two bands [B, (L + n - 1) // 2, C].

    The ends are mirrored about half samples. The mirrored samples pass no gradient unless
    `true_gradient` (H-13).
    """
    length, taps = x.shape[1], len(filters)
    total = 2 * ((length + taps - 1) // 2 - 1) - length + taps
    before, after = total // 2, total - total // 2
    outside = x if true_gradient else x.detach()
    places = torch.arange(-before, length + after, device=x.device) % (2 * length)
    places = torch.minimum(places, 2 * length - 1 - places)
    ends = outside[:, places[:before]], outside[:, places[before + length :]]
    windows = torch.cat([ends[0], x, ends[1]], dim=1).unfold(1, taps, 2)  # [B, T, C, taps]
    bands = windows @ filters  # [B, T, C, 2]
    return bands[..., 0], bands[..., 1]


class WaveletBands(nn.Module):
    """Embedded series into its low band and J high bands, each brought to a set length."""

    def __init__(self, config: NetworkConfig, repairs: Repairs) -> None:
        super().__init__()
        self.levels, self.repairs = config.n_levels, repairs
        bands = config.n_levels + 1
        low, high = daubechies_filters(WAVELETS[config.wavelet_type])
        self.dwt_forward = Filters(("h0", "h1"), low, high)
        self.dwt_inverse = Filters(("g0", "g1"), low, high)  # never called
        self.scale_projections = nn.ModuleList(
            nn.Linear(config.d_model, config.d_model) for _ in range(bands)
        )
        if not repairs.live_parts:
            self.scale_weights = nn.Parameter(torch.full((bands,), 1.0 / bands))  # never read

    def lengths(self, length: int) -> list[int]:
        """Length of each of the J + 1 sequences for a series of that length."""
        shifts = [self.levels, *(self.levels - i for i in range(self.levels))]
        return [length >> shift for shift in shifts]

    @in_float32
    def forward(self, x: Tensor) -> list[Tensor]:
        """Split [B, S, d] into J + 1 sequences: low band, then high bands, finest first."""
        taps = [self.get_buffer(f"dwt_forward.{name}").flatten() for name in ("h0", "h1")]
        filters = torch.stack(taps, dim=-1).to(x.dtype)
        low, highs = x, []
        for _ in range(self.levels):
            low, high = analyse(low, filters, true_gradient=self.repairs.true_wavelet_gradient)
            highs.append(high)
        if self.repairs.coarse_first:
            highs.reverse()
        sizes = self.lengths(x.shape[1])
        split = []
        for project, band, size in zip(self.scale_projections, [low, *highs], sizes, strict=True):
            if band.shape[1] > size:  # averaged; a shorter one is stretched
                fitted = functional.adaptive_avg_pool1d(band.transpose(1, 2), size).transpose(1, 2)
            else:
                fitted = resized(band, size)
            split.append(project(fitted))
        return split


def legendre_filters() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Filters H0, H1 of Legendre polynomials on a cell and G0, G1 of their multiwavelets.

    Polynomials of the whole cell are written in those of its halves; the wavelets complete
    them by Gram-Schmidt on the polynomials of the left half, in rising degree.
    """
    nodes, weights = np.polynomial.legendre.leggauss(2 * ORDER)
    scale = np.sqrt(2 * np.arange(ORDER) + 1)

    def at(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(np.polynomial.legendre.legvander(points, ORDER - 1) * scale, np.float64)

    halves = [at((nodes + shift) / 2).T * (weights / 2) @ at(nodes) for shift in (-1, 1)]
    rows = list(np.concatenate(halves, axis=1) / math.sqrt(2))  # [k, 2 k], orthonormal
    for degree in range(ORDER):
        wave = np.eye(2 * ORDER)[degree]
        for _ in range(2):  # twice, against rounding
            wave = wave - np.stack(rows).T @ (np.stack(rows) @ wave)
        rows.append(wave / np.linalg.norm(wave))
    table = np.stack(rows)
    table[np.abs(table) < 1e-8] = 0.0
    h, g = torch.from_numpy(table).float().split(ORDER)
    return h[:, :ORDER], h[:, ORDER:], g[:, :ORDER], g[:, ORDER:]


class Multiwavelet(nn.Module):
    """The Legendre filter bank: one level down, one level up, on [B, N, c, k]."""

    ec_s: Tensor
    ec_d: Tensor
    rc_e: Tensor
    rc_o: Tensor

    def __init__(self) -> None:
        super().__init__()
        h0, h1, g0, g1 = legendre_filters()
        self.register_buffer("ec_s", torch.cat([h0.t(), h1.t()]))
        self.register_buffer("ec_d", torch.cat([g0.t(), g1.t()]))
        self.register_buffer("rc_e", torch.cat([h0, g0]))
        self.register_buffer("rc_o", torch.cat([h1, g1]))

    def pad(self, x: Tensor) -> Tensor:
        """Append first rows up to a power of two."""
        missing = (1 << (x.shape[1] - 1).bit_length()) - x.shape[1]
        return torch.cat([x, x[:, :missing]], dim=1) if missing else x

    def down(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Detail and smooth part, half as long."""
        pairs = x.unflatten(1, (-1, 2)).transpose(2, 3).flatten(3)  # both steps side by side
        return pairs @ self.ec_d, pairs @ self.ec_s

    def up(self, smooth: Tensor, detail: Tensor) -> Tensor:
        """Twice as long, from smooth part and detail."""
        both = torch.cat([smooth, detail], dim=-1) @ torch.cat([self.rc_e, self.rc_o], dim=1)
        steps: Tensor = both.unflatten(-1, (2, -1)).transpose(2, 3).flatten(1, 2)
        return steps


def depth(length: int) -> int:
    """Levels of a series: the whole part of log2 of its length."""
    return length.bit_length() - 1


class SpectralKernel(nn.Module):
    """Complex weights for the lowest Fourier modes of [B, N, c, k]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        shape, scale = (width, width, MODES), 1.0 / width**2
        self.weights1 = nn.Parameter(torch.rand(shape) * scale)
        self.weights2 = nn.Parameter(torch.rand(shape) * scale)

    def mode_major(self, counts: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """Real and imaginary weights of as many of the lowest modes, each [modes, width, width].

        The first count is the largest.
        """
        parts: Any = (_ModeMajor.apply(each, counts) for each in (self.weights1, self.weights2))  # type: ignore[no-untyped-call]
        return zip(*parts, strict=True)


class _ModeMajor(torch.autograd.Function):
    """The lowest modes of weights [width, width, modes], laid out once, and parts of them.

    What comes back is summed in one place, where slices would each be laid out in full.
    """

    @staticmethod
    def forward(ctx: Any, weights: Tensor, counts: Sequence[int]) -> tuple[Tensor, ...]:
        ctx.counts, ctx.all = counts, weights.shape[-1]
        laid = weights[..., : counts[0]].permute(2, 0, 1).contiguous()
        return tuple(laid[:count] for count in counts)

    @staticmethod
    def backward(ctx: Any, first: Tensor, *others: Tensor) -> tuple[Tensor, None]:
        total = first.clone()
        for count, grad in zip(ctx.counts[1:], others, strict=True):
            total[:count] += grad
        return functional.pad(total.permute(1, 2, 0), (0, ctx.all - ctx.counts[0])), None


def _spectrum(x: Tensor) -> Tensor:
    """Lowest modes of [B, N, c, k], mode-major, real parts then imaginary: [modes, 2B, c * k]."""
    bins = torch.view_as_real(torch.fft.rfft(x.flatten(2), dim=1)[:, :MODES])
    parts: Tensor = bins.permute(1, 3, 0, 2).flatten(1, 2)
    return parts


def _series(bins: Sequence[Tensor], like: Tensor) -> Tensor:
    """Back to the shape of `like` from `_spectrum`'s bins times real and imaginary weights."""
    (real, turned_imag), (turned_real, imag) = bins[0].chunk(2, 1), bins[1].chunk(2, 1)
    found = torch.complex(real - imag, turned_imag + turned_real)
    series: Tensor = torch.fft.irfft(found.transpose(0, 1), n=like.shape[1], dim=1)
    return series.view(like.shape)


class MultiwaveletKernel(Multiwavelet):
    """Spectral kernels A, B, C on every multiwavelet level."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.A, self.B, self.C = (SpectralKernel(width) for _ in range(3))
        self.T0 = nn.Linear(ORDER, ORDER)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, N, c, k] to the same shape."""
        length, ups = x.shape[1], []
        x = self.pad(x)
        steps = [x.shape[1] >> level for level in range(1, depth(length) + 1)]
        modes = [min(MODES, step // 2 + 1) for step in steps]  # most on the longest level
        kernels = (kernel.mode_major(modes) for kernel in (self.A, self.B, self.C))
        for a, b, c in zip(*kernels, strict=True):
            detail, x = self.down(x)
            fine, smooth = _spectrum(detail), _spectrum(x)
            both = [torch.baddbmm(fine @ w, smooth, v) for w, v in zip(a, b, strict=True)]
            ups.append((_series(both, x), _series([fine @ w for w in c], x)))
        x = self.T0(x)
        for detail, smooth in reversed(ups):
            x = self.up(x + smooth, detail)
        return x[:, :length]


class MultiwaveletTransform(nn.Module):
    """Series into c channels of k coefficients, the kernels, and back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.channels = min(128, width)
        self.Lk0 = nn.Linear(width, self.channels * ORDER)
        self.Lk1 = nn.Linear(self.channels * ORDER, width)
        self.MWT_CZ = nn.ModuleList([MultiwaveletKernel(self.channels * ORDER)])

    @in_float32
    def forward(self, x: Tensor) -> Tensor:
        """Map [B, N, d] to [B, N, d]."""
        coefficients = self.Lk0(x).unflatten(-1, (self.channels, ORDER))
        mapped: Tensor = self.Lk1(self.MWT_CZ[0](coefficients).flatten(2))
        return mapped


class MultiwaveletCross(Multiwavelet):
    """Fourier attention between two series on every multiwavelet level.

    Unless `carries_values`, scores are applied to the keys; values and T0 are unused (H-17).
    """

    def __init__(
        self, width: int, heads: int, channels: int = 64, *, carries_values: bool = False
    ) -> None:
        super().__init__()
        self.channels, self.share, self.carries_values = channels, width // heads, carries_values
        self.modes = min(32, self.share // 2)
        self.T0 = nn.Linear(ORDER, ORDER)
        self.Lk, self.Lq, self.Lv = (nn.Linear(width, channels * ORDER) for _ in range(3))
        self.out = nn.Linear(channels * ORDER, width)

    @in_float32
    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """Attend from [B, N, d] to `other` [B, N, d]: [B, N, d]."""
        length, ups = x.shape[1], []
        queries = self.pad(self.Lq(x).unflatten(-1, (self.channels, ORDER)))
        keys = values = self.pad(self.Lk(other).unflatten(-1, (self.channels, ORDER)))
        if self.carries_values:
            values = self.pad(self.Lv(other).unflatten(-1, (self.channels, ORDER)))
        for _ in range(depth(length)):
            query_detail, queries = self.down(queries)
            key_detail, smooth = self.down(keys)
            detail, values = self.down(values) if self.carries_values else (key_detail, smooth)
            keys = smooth
            fine = self._attend(query_detail, key_detail, detail)
            ups.append((fine + self._attend(queries, keys, values), fine))
        attended = self._attend(queries, keys, values)
        if self.carries_values:
            attended = self.T0(attended)
        for detail, smooth in reversed(ups):
            attended = self.up(attended + smooth, detail)
        mapped: Tensor = self.out(attended[:, :length].flatten(2))
        return mapped

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Score Fourier modes of [B, N, c, k] against each other and apply them to the values."""
        steps = queries.shape[1]
        modes = min(steps // 2, self.modes)
        if not modes:  # nothing is attended, and nothing learns by it
            return torch.zeros_like(queries)
        q, k = (torch.fft.rfft(z, dim=1)[:, :modes] for z in (queries, keys))
        v = k if values is keys else torch.fft.rfft(values, dim=1)[:, :modes]
        scores = torch.einsum("bxek,byek->bkxy", q, k)
        scores = torch.complex(scores.real.tanh(), scores.imag.tanh())
        bins = torch.einsum("bkxy,byek->bxek", scores, v) / self.share / self.share
        bins = functional.pad(torch.view_as_real(bins), (0, 0) * 3 + (0, steps // 2 + 1 - modes))
        attended: Tensor = torch.fft.irfft(torch.view_as_complex(bins), n=steps, dim=1)
        return attended
