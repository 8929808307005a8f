"""Smoothing by mixtures of kernels, worked out by way of the spectrum."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from baselines.networks.twins import again, fixed

DENSE = 512  # steps of the longest series that is quicker to transform by a product


def unsmoothed_by_mixture(x: Tensor, kernels: Tensor, shares: Tensor) -> Tensor:
    """Series [B, L, C] less its correlation with centred kernels, mixed for each sample.

    Parameters
    ----------
    x : [B, L, C]
        Continued with its first and its last value beyond its ends.
    kernels : [G, R, C]
        R is odd.
    shares : [B, G]
        How much of each kernel a sample takes.
    """
    if x.shape[1] > DENSE:
        return x - _transformed(x, kernels, shares)
    series, back, taps = _matrices(x.shape[1], kernels.shape[1] // 2, x.dtype, x.device)
    spectra = _shared(torch.matmul(taps, kernels), shares)  # [B, 2F, C]
    bins = torch.bmm(series.expand(len(x), -1, -1), x)
    filtered: Tensor = _Filtered.apply(bins, spectra)  # type: ignore[no-untyped-call]
    return torch.baddbmm(x, back.expand(len(x), -1, -1), filtered)


def continued(x: Tensor, reach: int) -> Tensor:
    """Series [B, L, C] with its first and last value `reach` times more: [B, L + 2 reach, C]."""
    ends = x[:, :1].expand(-1, reach, -1), x[:, -1:].expand(-1, reach, -1)
    return torch.cat([ends[0], x, ends[1]], dim=1)


def _crossed(bins: Tensor, grad: Tensor) -> Tensor:
    """Spectra [B, 2F, C] times the conjugate of others, real parts first."""
    (x_real, x_imag), (real, imag) = bins.chunk(2, 1), grad.chunk(2, 1)
    out = torch.empty_like(bins)
    first, second = out.chunk(2, 1)
    torch.mul(x_real, real, out=first).addcmul_(x_imag, imag)
    torch.mul(x_imag, real, out=second).addcmul_(x_real, imag, value=-1)
    return out


class _Filtered(torch.autograd.Function):
    """Spectra [B, 2F, C] times the conjugate of the kernels' [B, 2F, C].

    The first F rows are real parts, the others imaginary.
    """

    @staticmethod
    def forward(ctx: Any, bins: Tensor, kernels: Tensor) -> Tensor:
        ctx.save_for_backward(bins, kernels)
        return _crossed(bins, kernels)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        bins, kernels = ctx.saved_tensors
        if torch.is_grad_enabled():
            return again(_twin, (bins, kernels), ctx.needs_input_grad, grad)
        (k_real, k_imag), (real, imag) = kernels.chunk(2, 1), grad.chunk(2, 1)
        to_bins = torch.empty_like(bins)
        first, second = to_bins.chunk(2, 1)
        torch.mul(k_real, real, out=first).addcmul_(k_imag, imag, value=-1)
        torch.mul(k_imag, real, out=second).addcmul_(k_real, imag)
        return to_bins, _crossed(bins, grad)


def _twin(bins: Tensor, kernels: Tensor) -> Tensor:
    """The same by plain operations."""
    (x_real, x_imag), (real, imag) = bins.chunk(2, 1), kernels.chunk(2, 1)
    return torch.cat([x_real * real + x_imag * imag, x_imag * real - x_real * imag], dim=1)


@fixed
def _matrices(
    length: int, reach: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Matrices that take a series to its spectrum, back, and a kernel to its own.

    The series [length] is continued with its ends, `reach` steps each; the spectrum [2F] has real
    parts, then imaginary ones. The way back gives the first `length` steps, with a minus sign.
    The kernel is [2 * reach + 1].
    """
    period = length + 2 * reach
    bins = period // 2 + 1
    turns = torch.arange(bins).unsqueeze(1) * torch.arange(period) % period
    angle = turns.to(torch.float64) * (2.0 * math.pi / period)
    waves = torch.cat([angle.cos(), -angle.sin()])  # [2F, period]
    ends = (torch.arange(period) - reach).clamp(0, length - 1)
    series = waves.new_zeros(2 * bins, length).index_add_(1, ends, waves)
    counts = torch.full((bins, 1), 2.0 / period, dtype=torch.float64)
    counts[0] /= 2
    if period % 2 == 0:
        counts[-1] /= 2
    back = -(waves * counts.repeat(2, 1)).t()[:length]
    taps = waves[:, : 2 * reach + 1]
    placed = (m.to(dtype=dtype, device=device).contiguous() for m in (series, back, taps))
    return next(placed), next(placed), next(placed)


def _shared(each: Tensor, shares: Tensor) -> Tensor:
    """Each sample's mixture of [G, F, C] by its shares [B, G]: [B, F, C]."""
    mixed: Tensor = (shares.to(each.dtype) @ each.flatten(1)).unflatten(1, each.shape[1:])
    return mixed


def _transformed(x: Tensor, kernels: Tensor, shares: Tensor) -> Tensor:
    """Correlate as `unsmoothed_by_mixture` does, by fast transforms."""
    length, reach = x.shape[1], kernels.shape[1] // 2
    period = _smooth_number(length + 2 * reach)
    bins = torch.fft.rfft(continued(x, reach), n=period, dim=1)
    spectra = _shared(torch.fft.rfft(kernels, n=period, dim=1).conj(), shares)
    smooth: Tensor = torch.fft.irfft(bins * spectra, n=period, dim=1)
    return smooth[:, :length]


def _smooth_number(least: int) -> int:
    """The smallest number from `least` on with no prime factor above 5, good to transform."""
    number = least
    while any(number % prime == 0 for prime in (2, 3, 5)) and number > 1:
        number //= next(prime for prime in (2, 3, 5) if number % prime == 0)
    return least if number == 1 else _smooth_number(least + 1)
