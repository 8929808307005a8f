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
        draws = draw_words(len(x) * len(first)).view(len(x), -1).to(x.device) if drop else None
        kept = []
        for start in range(0, len(x), rows):
            part = slice(start, start + rows)
            hidden = x[part] @ first.t()
            active = functional.gelu(hidden) if gelu else functional.relu(hidden)
            if draws is not None:
                active.mul_(mask_from(draws[part], 1.0 - drop, x.dtype))
            torch.mm(active, second.t(), out=out[part])
            if remember:
                kept += [hidden, active]
        ctx.save_for_backward(x, first, second, draws, *kept)
        ctx.settings, ctx.rows = settings, rows
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, first, second, draws, *kept = ctx.saved_tensors
        gelu, drop, _ = ctx.settings
        grad, grad_x = grad.contiguous(), torch.empty_like(x)
        grad_first, grad_second = torch.zeros_like(first), torch.zeros_like(second)
        for index, start in enumerate(range(0, len(x), ctx.rows)):
            part = slice(start, start + ctx.rows)
            hidden, active = kept[2 * index], kept[2 * index + 1]
            grad_second.addmm_(grad[part].t(), active)
            inner = grad[part] @ second
            if draws is not None:
                inner.mul_(mask_from(draws[part], 1.0 - drop, x.dtype))
            inner = _slope(inner, hidden, gelu)
            grad_first.addmm_(inner.t(), x[part])
            torch.mm(inner, first, out=grad_x[part])
        return grad_x, grad_first, grad_second, None


def _rows_at_once(x: Tensor, first: Tensor) -> int:
    """Rows of a slice: few on a CPU, all of them elsewhere."""
    return max(64, SLICE // len(first)) if x.device.type == "cpu" else max(1, len(x))


def _slope(grad: Tensor, hidden: Tensor, gelu: bool) -> Tensor:
    """Gradient before the nonlinearity."""
    if gelu:
        return torch.ops.aten.gelu_backward(grad, hidden)  # type: ignore[no-any-return]
    return grad.mul_(hidden > 0)


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
