"""Splitting a series into a moving-average trend and the seasonal rest."""

from __future__ import annotations

import math
from collections import Counter

import torch
from torch import Tensor, nn

from baselines.networks.config import Repairs
from baselines.networks.layers import in_float32
from baselines.networks.smoothing import (
    Groups,
    less_average,
    unsmoothed,
    unsmoothed_by_mixture,
)
from baselines.networks.twins import apart, fixed, keep_apart

PLAIN = 25  # kernel entries that start as a moving average, of twice as many
LEAST = 5  # steps of the narrowest kernel that is predicted


class MovingAverage(nn.Module):
    """Decomposition by a moving average of odd width with replicated ends."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window

    @in_float32
    def seasonal(self, x: Tensor) -> Tensor:
        """The part of [B, L, C] its moving average leaves."""
        return less_average(x, self.window)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Split [B, L, C] into seasonal part and trend, both [B, L, C]."""
        seasonal = self.seasonal(x)
        return seasonal, x - seasonal


@fixed
def _kernel_entries(
    sizes: tuple[int, ...], entries: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Table entry of every tap of centred kernels as wide as the last: [G * R], and what is none.

    The second tensor [G, R, 1] marks the taps outside a kernel.
    """
    widths = torch.tensor(sizes).unsqueeze(1)
    entry = torch.arange(sizes[-1]) - sizes[-1] // 2 + widths // 2  # [G, R]
    outside = (entry < 0) | (entry >= widths)
    index = entry.clamp(0, entries - 1).flatten()
    return index.to(device), outside.unsqueeze(-1).to(device)


class LearnedAverage(nn.Module):
    """Decomposition by a learned kernel per channel whose size is predicted per sample.

    Kernels reach up to twice 25 steps, or twice `window` where `configured_kernel` is repaired.
    Unless `soft_kernel` is repaired the size is rounded to an odd number outside autograd.
    """

    def __init__(self, channels: int, window: int, repairs: Repairs) -> None:
        super().__init__()
        keep_apart(type(self))
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
        return share * float(self.widest - LEAST) + LEAST

    def kernels(self, sizes: tuple[int, ...]) -> Tensor:
        """Centred kernels of ascending odd `sizes`: [G, the last, C], zero outside their own."""
        table = self.feature_specific_trend_weights.squeeze(1).t()  # [entries, C]
        index, outside = _kernel_entries(sizes, len(table), table.device)
        logits = table.index_select(0, index).unflatten(0, (len(sizes), -1))
        return torch.softmax(logits.masked_fill(outside, -math.inf), dim=1)

    @apart
    @in_float32
    def seasonal(self, x: Tensor) -> Tensor:
        """The part of [B, L, C] its learned average leaves."""
        most = max(3, min(self.widest, x.shape[1] // 2))
        if self.soft:
            sizes, shares = self._between(x, most)
            return unsmoothed_by_mixture(x, self.kernels(sizes), shares)
        sizes, groups = self._nearest(x, most)
        return unsmoothed(x, self.kernels(sizes), groups)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Split [B, L, C] into seasonal part and trend, both [B, L, C]."""
        seasonal = self.seasonal(x)
        return seasonal, x - seasonal

    def _nearest(self, x: Tensor, most: int) -> tuple[tuple[int, ...], Groups]:
        """Distinct odd sizes, ascending, and the samples that take each."""
        with torch.no_grad():
            whole = self.sizes(x).round().long().clamp(3, most).tolist()
        odd = [size - (size + 1) % 2 for size in whole]
        takers = Counter(odd)
        sizes = tuple(sorted(takers))
        if len(sizes) == 1:
            return sizes, Groups([len(odd)])
        order = torch.tensor(sorted(range(len(odd)), key=odd.__getitem__), device=x.device)
        return sizes, Groups([takers[size] for size in sizes], order)

    def _between(self, x: Tensor, most: int) -> tuple[tuple[int, ...], Tensor]:
        """Distinct odd sizes, ascending, and each sample's shares [B, G] of the two around it."""
        largest = (most - 1) // 2 * 2 + 1
        wanted = self.sizes(x).clamp(3.0, float(largest)).unsqueeze(1)
        below = ((wanted.detach() - 1.0) / 2.0).floor().long().mul(2).add(1).clamp(3, largest)
        above = (below + 2).clamp_max(largest)
        sizes = tuple(sorted({*below.flatten().tolist(), *above.flatten().tolist()}))
        share, all_sizes = (wanted - below) / 2.0, below.new_tensor(sizes)
        return sizes, (1.0 - share) * (below == all_sizes) + share * (above == all_sizes)
