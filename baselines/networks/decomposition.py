"""Splitting a series into a moving-average trend and the seasonal rest."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn


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

    def seasonal(self, x: Tensor) -> Tensor:
        """The part of [B, L, C] its moving average leaves."""
        operator = seasonal_operator(x.shape[1], self.window, x.dtype, x.device)
        return torch.matmul(operator, x)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Split [B, L, C] into seasonal part and trend, both [B, L, C]."""
        seasonal = self.seasonal(x)
        return seasonal, x - seasonal
