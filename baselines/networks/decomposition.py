"""Splitting a series into a moving-average trend and the seasonal rest."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from baselines.networks.config import Repairs
from baselines.networks.layers import in_float32

PLAIN = 25  # kernel entries that start as a moving average, of twice as many
LEAST = 5  # steps of the narrowest kernel that is predicted


@lru_cache(maxsize=64)
def seasonal_operator(length: int, window: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Matrix [length, length] that takes a series to its distance from the moving average.

    Both ends are continued with their own value, (window - 1) / 2 steps each.
    """
    with torch.inference_mode(mode=False):
        reach = (window - 1) // 2
        sources = torch.arange(length).unsqueeze(1) + torch.arange(-reach, reach + 1)
        share = torch.full(sources.shape, 1.0 / window, dtype=torch.float64)
        average = torch.zeros(length, length, dtype=torch.float64)
        average.scatter_add_(1, sources.clamp_(0, length - 1), share)
        operator = torch.eye(length, dtype=torch.float64) - average
        return operator.to(device=device, dtype=dtype)


class MovingAverage(nn.Module):
    """Decomposition by a moving average of odd width with replicated ends."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window

    @in_float32
    def seasonal(self, x: Tensor) -> Tensor:
        """The part of [B, L, C] its moving average leaves."""
        operator = seasonal_operator(x.shape[1], self.window, x.dtype, x.device)
        return torch.bmm(operator.expand(len(x), -1, -1), x)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Split [B, L, C] into seasonal part and trend, both [B, L, C]."""
        seasonal = self.seasonal(x)
        return seasonal, x - seasonal


class _Smooth(torch.autograd.Function):
    """Correlate each channel of each sample with a kernel, by way of the spectrum."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernels: Tensor, which: Tensor) -> Tensor:
        length, reach = x.shape[1], kernels.shape[1] // 2
        period = _smooth_number(length + 2 * reach)
        ends = x[:, :1].expand(-1, reach, -1), x[:, -1:].expand(-1, reach, -1)
        padded = torch.cat([ends[0], x, ends[1]], dim=1)
        bins = torch.fft.rfft(padded, n=period, dim=1)  # [B, F, C]
        kernel_bins = torch.fft.rfft(kernels, n=period, dim=1)  # [G, F, C]
        ctx.save_for_backward(bins, kernel_bins, which)
        ctx.sizes = (length, reach, period)
        products = kernel_bins.conj().resolve_conj()[which].mul_(bins)
        smoothed: Tensor = torch.fft.irfft(products, n=period, dim=1)
        return smoothed[:, :length]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        bins, kernel_bins, which = ctx.saved_tensors
        length, reach, period = ctx.sizes
        grad_bins = torch.fft.rfft(grad, n=period, dim=1)
        padded = torch.fft.irfft(kernel_bins[which].mul_(grad_bins), n=period, dim=1)
        inner = padded[:, reach : reach + length].contiguous()
        inner[:, 0] += padded[:, :reach].sum(1)
        inner[:, -1] += padded[:, reach + length : length + 2 * reach].sum(1)
        products = torch.zeros_like(kernel_bins).index_add_(0, which, grad_bins.conj() * bins)
        kernels = torch.fft.irfft(products, n=period, dim=1)[:, : 2 * reach + 1]
        return inner, kernels, None


def _smooth_number(least: int) -> int:
    """The smallest number from `least` on with no prime factor above 5, good to transform."""
    number = least
    while any(number % prime == 0 for prime in (2, 3, 5)) and number > 1:
        number //= next(prime for prime in (2, 3, 5) if number % prime == 0)
    return least if number == 1 else _smooth_number(least + 1)


class LearnedAverage(nn.Module):
    """Decomposition by a learned kernel per channel whose size is predicted per sample.

    Kernels reach up to twice 25 steps, or twice `window` where `configured_kernel` is repaired.
    Unless `soft_kernel` is repaired the size is rounded to an odd number outside autograd.
    """

    def __init__(self, channels: int, window: int, repairs: Repairs) -> None:
        super().__init__()
        plain = window if repairs.configured_kernel else PLAIN
        self.widest = max(2 * plain, LEAST)
        entries = max(self.widest, 2 * PLAIN)  # as stored, also where narrower ones are asked for
        table = torch.randn(channels, 1, entries)
        table[..., : entries if repairs.uniform_kernel else plain] = 1.0 / plain
        self.feature_specific_trend_weights = nn.Parameter(table)
        hidden = max(channels // 2, 4)
        self.kernel_predictor = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, 1), nn.Sigmoid()
        )
        self.soft = repairs.soft_kernel

    def sizes(self, x: Tensor) -> Tensor:
        """Unrounded kernel size of each sample of [B, L, C]: [B], from 5 to the widest."""
        share: Tensor = self.kernel_predictor(x.mean(1)).squeeze(-1)
        return LEAST + float(self.widest - LEAST) * share

    def kernels(self, sizes: Tensor, reach: int) -> Tensor:
        """Centred kernels of the odd `sizes` [G]: [G, 2 * reach + 1, C], zero outside."""
        taps = torch.arange(2 * reach + 1, device=sizes.device) - reach
        entry = taps + (sizes // 2).unsqueeze(1)  # [G, R]
        outside = (entry < 0) | (entry >= sizes.unsqueeze(1))
        table = self.feature_specific_trend_weights.squeeze(1).t()  # [entries, C]
        logits = table[entry.clamp(0, len(table) - 1)]
        return torch.softmax(logits.masked_fill(outside.unsqueeze(-1), -math.inf), dim=1)

    @in_float32
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Split [B, L, C] into seasonal part and trend, both [B, L, C]."""
        most = max(3, min(self.widest, x.shape[1] // 2))
        if self.soft:
            largest = (most - 1) // 2 * 2 + 1
            kernels, which = self._blended(x, largest), torch.arange(len(x), device=x.device)
        else:
            with torch.no_grad():
                whole = self.sizes(x).round().long().clamp(3, most)
                odd = whole - (whole + 1) % 2
                distinct, which = odd.clamp_min(3).unique(return_inverse=True)
            kernels = self.kernels(distinct, int(distinct[-1]) // 2)
        trend: Tensor = _Smooth.apply(x, kernels, which)  # type: ignore[no-untyped-call]
        return x - trend, trend

    def _blended(self, x: Tensor, largest: int) -> Tensor:
        """One kernel per sample, between the two odd sizes around its size: [B, R, C]."""
        sizes = self.sizes(x).clamp(3.0, float(largest))
        below = ((sizes.detach() - 1.0) / 2.0).floor().long() * 2 + 1
        share = ((sizes - below) / 2.0).view(-1, 1, 1)
        above = (below + 2).clamp_max(largest)
        reach = largest // 2
        return (1.0 - share) * self.kernels(below, reach) + share * self.kernels(above, reach)
