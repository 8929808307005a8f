"""Small parts shared by the legacy networks, written for speed on few CPU cores."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

Module = TypeVar("Module", bound=nn.Module)
Answer = TypeVar("Answer")

_DRAWS = 1 << 16  # a dropout decision is one 16-bit draw, four to a random word


def in_float32(
    forward: Callable[Concatenate[Module, ...], Answer],
) -> Callable[Concatenate[Module, ...], Answer]:
    """Let a method of tensors work in single precision where its caller works in a lower one.

    Transforms have no lower precision, and lags chosen in one would be other lags.
    """

    @wraps(forward)
    def full(module: Module, *inputs: Tensor) -> Answer:
        kind = inputs[0].device.type
        if not torch.is_autocast_enabled(kind):
            return forward(module, *inputs)
        with torch.autocast(kind, enabled=False):
            return forward(module, *(x.float() for x in inputs))

    return full


def draw_words(count: int) -> Tensor:
    """Uniform random 16-bit numbers [count] from torch's global generator, four to a word."""
    words = torch.empty(-(-count // 4), dtype=torch.int64)
    return words.random_(-(1 << 63), None).view(torch.int16)[:count]


def mask_from(draws: Tensor, keep: float, dtype: torch.dtype) -> Tensor:
    """Turn 16-bit draws into a mask: 1/keep with chance `keep` (to 1 in 65536), else 0."""
    threshold = round(keep * _DRAWS)
    mask = draws.to(torch.float32)  # holds these whole numbers exactly
    mask.sub_(threshold - _DRAWS // 2).clamp_(-1.0, 0.0)  # -1 or 0
    return mask.mul_(-_DRAWS / threshold).to(dtype)


class Dropout(nn.Dropout):
    """Dropout, its masks drawn quickly where they are drawn on the CPU."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's name
        """Zero entries with probability p in training and rescale the others; else pass on."""
        if not self.training or self.p == 0.0:
            return input
        if input.device.type != "cpu":
            return functional.dropout(input, self.p, training=True)
        draws = draw_words(input.numel()).view(input.shape)
        return input * mask_from(draws, 1.0 - self.p, input.dtype)


def circular_windows(x: Tensor) -> Tensor:
    """Lay each step's previous, own and next row side by side: [B, L, C] to [B, L, 3C]."""
    return torch.cat([x.roll(1, 1), x, x.roll(-1, 1)], dim=-1)


class CircularProjection(nn.Conv1d):
    """Convolution over three neighbouring steps, circular in time, without bias."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels, width, 3, bias=False)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's name
        """Map [B, L, channels] to [B, L, width]; maps first and shifts the narrow result."""
        before, now, after = (functional.linear(input, tap) for tap in self.weight.unbind(-1))
        return now + before.roll(1, 1) + after.roll(-1, 1)


def pointwise(x: Tensor, conv: nn.Conv1d) -> Tensor:
    """Apply a convolution of kernel size 1 as the linear map it is, on [B, L, C]."""
    return functional.linear(x, conv.weight.squeeze(-1), conv.bias)


class SeasonalNorm(nn.Module):
    """Layer norm less its mean over time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layernorm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [B, L, width]."""
        normed: Tensor = self.layernorm(x)
        return normed - normed.mean(1, keepdim=True)


def composed(
    x: Tensor, first: Tensor, second: Tensor, bias: Tensor | None, last: Tensor | None = None
) -> Tensor:
    """Two linear maps in a row: [.., a] through `first` [b, a] and `second` [c, b].

    The maps are multiplied beforehand where there are more rows than columns, which halves
    the work; `bias` [b] is added between them, `last` [c] after them.
    """
    if x.numel() > x.shape[-1] * first.shape[0]:
        shift = last if bias is None else functional.linear(bias, second, last)
        return functional.linear(x, second @ first, shift)
    return functional.linear(functional.linear(x, first, bias), second, last)
