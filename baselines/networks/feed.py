"""The feed-forward part, worked through in slices that stay in the processor's cache."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from baselines.networks.layers import Masks, dropped
from baselines.networks.twins import again

SLICE = 1 << 18  # hidden values worked on at once: 1 MiB of float32


class _Feed(torch.autograd.Function):
    """Two linear maps with a nonlinearity and dropout between them, on rows [N, d].

    Hidden values and masks are written over from slice to slice; kept for the way back are what
    the second map was given and the slope from the first map's answer to it.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, first: Tensor, second: Tensor, settings: tuple[bool, float, bool]
    ) -> Tensor:
        gelu, drop, remember = settings
        masks, kept = Masks(drop) if drop else None, []
        aten: Any = torch.ops.aten
        slope = aten.gelu_backward if gelu else partial(aten.threshold_backward, threshold=0)
        ctx.settings, ctx.seed = settings, masks.seed if masks else None
        ctx.scale = masks.scale if masks else 1.0
        wide, narrow, out = first.t(), (second * ctx.scale).t(), x.new_empty(len(x), len(second))
        hidden = x.new_empty(_rows_at_once(x, first), len(first))
        mask = torch.ones_like(hidden) if masks or remember else hidden
        for start in range(0, len(x), len(hidden)):
            part = slice(start, min(start + len(hidden), len(x)))
            hidden, mask = hidden[: part.stop - start], mask[: part.stop - start]
            torch.mm(x[part], wide, out=hidden)
            active = functional.gelu(hidden) if gelu else functional.relu(hidden)
            if masks:
                active.mul_(mask.copy_(masks.draw(mask.numel()).view(mask.shape)))
            torch.mm(active, narrow, out=out[part])
            if remember:
                kept += [slope(mask, hidden), active]
        ctx.save_for_backward(x, first, second, *kept)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, first, second, *kept = ctx.saved_tensors
        if torch.is_grad_enabled():
            twin = partial(_Feed.plain, settings=ctx.settings, seed=ctx.seed)
            return *again(twin, (x, first, second), ctx.needs_input_grad, grad), None
        grad, grad_x, second = grad.contiguous(), torch.empty_like(x), second * ctx.scale
        grad_first, grad_second = torch.zeros_like(first), torch.zeros_like(second)
        rows, hidden = _rows_at_once(x, first), torch.empty_like(kept[0])
        for index, start in enumerate(range(0, len(x), rows)):
            part = slice(start, start + rows)
            slope, active = kept[2 * index], kept[2 * index + 1]
            grad_second.addmm_(grad[part].t(), active)
            inner = torch.mm(grad[part], second, out=hidden[: len(active)]).mul_(slope)
            grad_first.addmm_(inner.t(), x[part])
            torch.mm(inner, first, out=grad_x[part])
        return grad_x, grad_first, grad_second.mul_(ctx.scale), None

    @staticmethod
    def plain(
        x: Tensor,
        first: Tensor,
        second: Tensor,
        *,
        settings: tuple[bool, float, bool],
        seed: int | None,
    ) -> Tensor:
        gelu, drop, _ = settings
        hidden = functional.linear(x, first)
        active = functional.gelu(hidden) if gelu else functional.relu(hidden)
        if seed is not None:
            masks = Masks(drop, seed)
            slices = active.detach().split(_rows_at_once(x, first))
            drawn = [masks.draw(part.numel()).view(part.shape) for part in slices]
            active = active * (torch.cat(drawn).to(x.dtype) * masks.scale)
        return functional.linear(active, second)


def _rows_at_once(x: Tensor, first: Tensor) -> int:
    """Rows of a slice: as many as are there, or as fit the cache."""
    return max(1, min(len(x), max(64, SLICE // len(first))))


def feed_forward(
    x: Tensor, first: Tensor, second: Tensor, *, activation: str, drop: float
) -> Tensor:
    """Map [B, L, d] through `first` [f, d], the nonlinearity, dropout, and `second` [e, f].

    `drop` is the chance to drop a hidden value, 0 outside training. Returns [B, L, e].
    """
    compiled = torch.compiler.is_compiling()
    if compiled or x.device.type != "cpu" or torch.is_autocast_enabled("cpu") or not x.numel():
        hidden = getattr(functional, activation)(functional.linear(x, first))
        return functional.linear(dropped(hidden, drop) if drop else hidden, second)
    settings = (activation == "gelu", drop, torch.is_grad_enabled())
    flat = x.reshape(-1, x.shape[-1])
    fed: Tensor = _Feed.apply(flat, first, second, settings)  # type: ignore[no-untyped-call]
    return fed.view(*x.shape[:-1], -1)
