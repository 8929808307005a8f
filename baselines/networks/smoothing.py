"""What a series is without its smoothed version, by one kernel for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from baselines.networks.mixtures import continued, lag_sums
from baselines.networks.twins import again


def unsmoothed(x: Tensor, kernels: Tensor, members: Sequence[Tensor] = ()) -> Tensor:
    """Series [B, L, C] less its correlation with centred kernels, one for each sample and channel.

    Parameters
    ----------
    x : [B, L, C]
        Continued with its first and its last value beyond its ends.
    kernels : [G, R, C]
        R is odd.
    members
        G tensors: the samples that take each kernel. Every sample is in one of them. May be left
        out where there is one kernel and it is not learned.
    """
    if torch.compiler.is_compiling():
        return _less_correlated(x, kernels, members)
    left: Tensor = _Unsmoothed.apply(x, kernels, members)  # type: ignore[no-untyped-call]
    return left


class _Unsmoothed(torch.autograd.Function):
    """Sums over a window of steps, as a convolution of each channel with the channels last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernels: Tensor, members: Sequence[Tensor]) -> Tensor:
        ctx.save_for_backward(x, kernels)
        ctx.members = members
        return _less_correlated(x, kernels, members)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        x, kernels = ctx.saved_tensors
        if torch.is_grad_enabled():
            twin = partial(_less_correlated, members=ctx.members)
            return *again(twin, (x, kernels), ctx.needs_input_grad, grad), None
        wide = kernels.shape[1] - 1
        back = functional.pad(grad, (0, 0, wide, wide))
        back = _correlated(back, kernels.flip(1), ctx.members)  # of the continued series
        first, own, last = back.split([wide // 2, x.shape[1], wide // 2], dim=1)
        to_x = grad - own
        to_x[:, 0].sub_(first.sum(1))
        to_x[:, -1].sub_(last.sum(1))
        learned = ctx.needs_input_grad[1]
        return to_x, -lag_sums(x, grad, ctx.members, wide + 1) if learned else None, None


def _less_correlated(x: Tensor, kernels: Tensor, members: Sequence[Tensor]) -> Tensor:
    """What `unsmoothed` returns, by differentiable operations."""
    return x - _correlated(continued(x, kernels.shape[1] // 2), kernels, members)


def _correlated(x: Tensor, kernels: Tensor, members: Sequence[Tensor]) -> Tensor:
    """Correlate samples [B, N, C] with their own kernel of [G, R, C]: [B, N - R + 1, C]."""
    if len(kernels) == 1:
        return _by_channel(x, kernels[0])
    out = x.new_empty(len(x), x.shape[1] - kernels.shape[1] + 1, x.shape[2])
    for each, kernel in zip(members, kernels, strict=True):
        out.index_copy_(0, each, _by_channel(x.index_select(0, each), kernel))
    return out


def _by_channel(x: Tensor, kernel: Tensor) -> Tensor:
    """Correlate every channel of [B, N, C] with its own column of [R, C]: [B, N - R + 1, C]."""
    image, taps = x.transpose(1, 2).unsqueeze(2), kernel.t()[:, None, None]
    return functional.conv2d(image, taps, groups=len(taps)).squeeze(2).transpose(1, 2)
