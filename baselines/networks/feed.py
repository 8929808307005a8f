"""The feed-forward part, worked through in slices that stay in the processor's cache."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from baselines.networks.layers import draw_words, mask_from

SLICE = 1 << 18  # hidden values held at once: 1 MiB of float32


class _Feed(torch.autograd.Function):
    """Two linear maps with a nonlinearity and dropout between them, on rows [N, d]."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, first: Tensor, second: Tensor, settings: tuple[bool, float, bool]
    ) -> Tensor:
        gelu, drop, remember = settings
        rows, out = _rows_at_once(x, first), x.new_empty(len(x), len(second))
        kept = []
        for start in range(0, len(x), rows):
            part = slice(start, start + rows)
            hidden = x[part] @ first.t()
            active = functional.gelu(hidden) if gelu else functional.relu(hidden)
            mask = _mask(hidden, drop)
            if mask is not None:
                active.mul_(mask)
            torch.mm(active, second.t(), out=out[part])
            if remember:
                kept += [_slope(hidden, mask, gelu), active]
        ctx.save_for_backward(x, first, second, *kept)
        ctx.rows = rows
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, first, second, *kept = ctx.saved_tensors
        grad, grad_x = grad.contiguous(), torch.empty_like(x)
        grad_first, grad_second = torch.zeros_like(first), torch.zeros_like(second)
        for index, start in enumerate(range(0, len(x), ctx.rows)):
            part = slice(start, start + ctx.rows)
            slope, active = kept[2 * index], kept[2 * index + 1]
            grad_second.addmm_(grad[part].t(), active)
            inner = (grad[part] @ second).mul_(slope)
            grad_first.addmm_(inner.t(), x[part])
            torch.mm(inner, first, out=grad_x[part])
        return grad_x, grad_first, grad_second, None


def _rows_at_once(x: Tensor, first: Tensor) -> int:
    """Rows of a slice: few on a CPU, all of them elsewhere."""
    return max(64, SLICE // len(first)) if x.device.type == "cpu" else max(1, len(x))


def _mask(hidden: Tensor, drop: float) -> Tensor | None:
    """Dropout's mask, or None where nothing is dropped."""
    if not drop:
        return None
    draws = draw_words(hidden.numel()).view(hidden.shape).to(hidden.device)
    return mask_from(draws, 1.0 - drop, hidden.dtype)


def _slope(hidden: Tensor, mask: Tensor | None, gelu: bool) -> Tensor:
    """Derivative of nonlinearity and dropout together."""
    above = torch.ones_like(hidden) if mask is None else mask
    if gelu:
        return torch.ops.aten.gelu_backward(above, hidden)  # type: ignore[no-any-return]
    return torch.ops.aten.threshold_backward(above, hidden, 0)  # type: ignore[no-any-return]


def feed_forward(
    x: Tensor, first: Tensor, second: Tensor, *, activation: str, drop: float
) -> Tensor:
    """Map [B, L, d] through `first` [f, d], the nonlinearity, dropout, and `second` [e, f].

    `drop` is the chance to drop a hidden value, 0 outside training. Returns [B, L, e].
    """
    if torch.is_autocast_enabled(x.device.type):
        hidden = getattr(functional, activation)(functional.linear(x, first))
        return functional.linear(functional.dropout(hidden, drop, training=True), second)
    settings = (activation == "gelu", drop, torch.is_grad_enabled())
    flat = x.reshape(-1, x.shape[-1])
    fed: Tensor = _Feed.apply(flat, first, second, settings)  # type: ignore[no-untyped-call]
    return fed.view(*x.shape[:-1], -1)
