"""Small parts shared by the legacy networks, written for speed on few CPU cores."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

Module = TypeVar("Module", bound=nn.Module)
Answer = TypeVar("Answer")

_DRAWS = 1 << 16  # outcomes of a dropout decision: 16 bits, four decisions to a random word


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


class Masks:
    """Dropout masks on the CPU, of a seed, or seeded by one draw from torch's global generator."""

    def __init__(self, drop: float, seed: int | None = None) -> None:
        self._threshold = round((1.0 - drop) * _DRAWS)
        drawn = int(torch.empty((), dtype=torch.int64).random_()) if seed is None else seed
        self.seed, self._source = drawn, np.random.SFC64(drawn)

    @property
    def scale(self) -> float:
        """What kept values are multiplied by: one over the chance to be kept."""
        return _DRAWS / self._threshold

    def draw(self, count: int) -> Tensor:
        """Draw ones with the chance to be kept (to 1 in 65536), else zeros: [count], bytes."""
        draws = self._source.random_raw(-(-count // 4)).view(np.uint16)[:count]
        return torch.from_numpy((draws < self._threshold).view(np.uint8))


@torch.library.custom_op(
    "abharness::dropout_mask", mutates_args=(), tags=(torch.Tag.nondeterministic_seeded,)
)
def dropout_mask(like: Tensor, drop: float) -> Tensor:
    """Draw a mask as an operator, since a compiler's own draws take longer than a whole step."""
    return _mask(like, drop)


@dropout_mask.register_fake
def _(like: Tensor, drop: float) -> Tensor:
    return torch.empty(like.shape, dtype=like.dtype, device=like.device)


def _mask(like: Tensor, drop: float) -> Tensor:
    """Draw a mask of the shape and type of a tensor: 0, or one over the chance to be kept."""
    if torch.compiler.is_compiling():
        operator: Tensor = dropout_mask(like.detach(), drop)
        return operator
    masks = Masks(drop)
    drawn = masks.draw(like.numel()).view(like.shape)
    return drawn.to(like.dtype).mul_(masks.scale)


def dropped(x: Tensor, drop: float) -> Tensor:
    """Zero entries with a probability and rescale the others."""
    if x.device.type != "cpu":
        return functional.dropout(x, drop, training=True)
    return x * _mask(x, drop)


class _MaskedSum(torch.autograd.Function):
    """x plus an update times its mask."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, update: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(mask)
        return torch.addcmul(x, update, mask)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        (mask,) = ctx.saved_tensors
        return grad, grad.mul(mask), None


class Dropout(nn.Dropout):
    """Dropout, its masks drawn quickly where they are drawn on the CPU."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's name
        """Zero entries with probability p in training and rescale the others; else pass on."""
        if not self.training or self.p == 0.0:
            return input
        return dropped(input, self.p)

    def onto(self, x: Tensor, update: Tensor) -> Tensor:
        """Add `update`, dropped out, to x: in one pass where masks are drawn on the CPU."""
        quick = self.training and self.p > 0.0 and update.device.type == "cpu"
        if not quick or update.dtype != x.dtype or torch.compiler.is_compiling():
            dropped: Tensor = self(update)
            return x + dropped
        added: Tensor = _MaskedSum.apply(x, update, _mask(update, self.p))  # type: ignore[no-untyped-call]
        return added


def circular_windows(x: Tensor) -> Tensor:
    """Lay each step's previous, own and next row side by side: [B, L, C] to [B, L, 3C]."""
    return torch.cat([x.roll(1, 1), x, x.roll(-1, 1)], dim=-1)


class CircularProjection(nn.Conv1d):
    """Convolution over three neighbouring steps, circular in time, without bias."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels, width, 3, bias=False)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's name
        """Map [B, L, channels] to [B, L, width]; maps first and shifts the narrow result."""
        taps = functional.linear(input, self.weight.permute(2, 0, 1).flatten(0, 1))
        before, now, after = taps.chunk(3, dim=-1)
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
