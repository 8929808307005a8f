"""Fixed matrices for correlations at several time scales, and shifted sums."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from baselines.networks.twins import again, fixed

Placement = tuple[torch.dtype, torch.device]


def scales_in(length: int, scales: tuple[int, ...]) -> tuple[int, ...]:
    """The scales a series of that length can be pooled to: two steps must remain."""
    return tuple(scale for scale in scales if length >= 2 * scale)


def bins_of(length: int, scale: int) -> int:
    """One-sided frequency bins of the pooled series."""
    return length // scale // 2 + 1


@fixed
def analysis_matrix(length: int, scales: tuple[int, ...], placement: Placement) -> Tensor:
    """Pool by each scale and transform: [2 * bins, length], all real parts, then all imaginary."""
    real: list[Tensor] = []
    imaginary: list[Tensor] = []
    for scale in scales_in(length, scales):
        steps = length // scale
        pool = torch.eye(steps, dtype=torch.float64).repeat_interleave(scale, dim=1) / scale
        pool = functional.pad(pool, (0, length - steps * scale))
        angle = _angles(bins_of(length, scale), steps, steps)
        real.append(angle.cos() @ pool)
        imaginary.append(-angle.sin() @ pool)
    return _placed(torch.cat(real + imaginary), placement)


def spectra(series: Tensor, scales: tuple[int, ...]) -> Tensor:
    """Pool series [B, L, C] by each scale and transform, by a product: [B, 2F, C]."""
    matrix = analysis_matrix(series.shape[1], scales, (series.dtype, series.device))
    return torch.bmm(matrix.expand(len(series), -1, -1), series)


def exact_spectra(series: Tensor, scales: tuple[int, ...]) -> Tensor:
    """The same by fast transforms: nearer, and zero where there is nothing.

    In a series with an exact period a product leaves a rounding error there.
    """
    rows = series.transpose(1, 2).contiguous()
    pooled = [_pooled(rows, scale) for scale in scales_in(rows.shape[2], scales)]
    found = torch.cat([torch.fft.rfft(each) for each in pooled], dim=-1)  # [B, C, F]
    parts = torch.view_as_real(found).permute(0, 3, 2, 1)
    return parts.reshape(len(series), -1, series.shape[2])


def _pooled(rows: Tensor, scale: int) -> Tensor:
    """Mean of every `scale` steps of [.., L], which is quicker than pooling along them."""
    if scale == 1:
        return rows
    whole = rows.shape[-1] // scale * scale
    total = rows[..., 0:whole:scale] + rows[..., 1:whole:scale]
    for first in range(2, scale):
        total = total + rows[..., first:whole:scale]
    return total / scale


def from_spectra(grad: Tensor, length: int, scales: tuple[int, ...]) -> Tensor:
    """What a gradient to `spectra` [2, B, 2F, C] is to the series: [2, B, L, C]."""
    matrix = analysis_matrix(length, scales, (grad.dtype, grad.device))
    rows = grad.flatten(0, 1)
    series = torch.bmm(matrix.t().expand(len(rows), -1, -1), rows)
    return series.view(2, -1, *series.shape[1:])


@fixed
def scale_members(length: int, scales: tuple[int, ...], placement: Placement) -> Tensor:
    """Which of the scales in a length each bin belongs to, as ones [2 * bins, scales in it]."""
    bins = torch.tensor([bins_of(length, scale) for scale in scales_in(length, scales)])
    members = torch.eye(len(bins), dtype=torch.float64)
    return _placed(members.repeat_interleave(bins, 0).repeat(2, 1), placement)


@fixed
def pitches(length: int, scales: tuple[int, ...], placement: Placement) -> Tensor:
    """Cosine of the angle per step of every bin, real and imaginary parts [2 * bins].

    1 for what never changes, -1 for what changes its sign with every step.
    """
    angles = []
    for scale in scales_in(length, scales):
        steps = length // scale
        bins = torch.arange(bins_of(length, scale), dtype=torch.float64)
        angles.append(bins * (2.0 * math.pi / (steps * scale)))
    return _placed(torch.cat(angles * 2).cos(), placement)


@fixed
def synthesis_matrix(
    length: int, scales: tuple[int, ...], full: bool, aligned: bool, placement: Placement
) -> Tensor:
    """Transform back and bring every scale to all lags: [lags, 2 * bins].

    `full` keeps all lags of odd lengths; `aligned` places the lags of a coarse scale at its
    multiples, around the circle, where the original stretches them. A single scale is never
    stretched, so without `full` it has one lag less at odd lengths.
    """
    real: list[Tensor] = []
    imaginary: list[Tensor] = []
    for scale in scales_in(length, scales):
        steps, bins = length // scale, bins_of(length, scale)
        period = steps if full else 2 * (steps // 2)
        angle = _angles(bins, period, period).t()  # [period, bins]
        counts = torch.full((bins,), 2.0 / period, dtype=torch.float64)
        counts[0] /= 2
        if period % 2 == 0:
            counts[-1] /= 2
        spread = _spread(length, scale, period, aligned) if len(scales) > 1 else None
        for part, wave in ((real, angle.cos() * counts), (imaginary, -angle.sin() * counts)):
            part.append(wave if spread is None else spread @ wave)
    return _placed(torch.cat(real + imaginary, dim=1), placement)


def _angles(bins: int, steps: int, period: int) -> Tensor:
    """2 pi f t / period for f < bins, t < steps: [bins, steps]; reduced first, to stay exact."""
    turns = torch.arange(bins).unsqueeze(1) * torch.arange(steps) % period
    return turns.to(torch.float64) * (2.0 * math.pi / period)


def _spread(length: int, scale: int, period: int, aligned: bool) -> Tensor:
    """How the `period` lags of a scale are spread over `length` lags: [length, period]."""
    identity = torch.eye(period, dtype=torch.float64)
    if not aligned:
        if period == length:
            return identity
        stretched = functional.interpolate(identity.unsqueeze(0), size=length, mode="linear")
        return stretched.squeeze(0).t()
    position = torch.arange(length, dtype=torch.float64) / scale
    below = position.floor()
    share = (position - below).unsqueeze(1)
    index = below.long()
    return (1 - share) * identity[index % period] + share * identity[(index + 1) % period]


def _placed(matrix: Tensor, placement: Placement) -> Tensor:
    """Round what should be zero to zero, and move."""
    exact = torch.where(matrix.abs() < 1e-12, 0.0, matrix)
    return exact.to(dtype=placement[0], device=placement[1])


class _ShiftedSum(torch.autograd.Function):
    """Weighted sum of copies of a series, each moved back by its lag, on a circle."""

    @staticmethod
    def forward(ctx: Any, memory: Tensor, lags: Tensor, weights: Tensor) -> Tensor:
        rows = moved_rows(lags, memory.shape[1])
        ctx.save_for_backward(memory, lags, weights, rows)
        return bagged(memory, rows, weights)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor]:
        memory, lags, weights, rows = ctx.saved_tensors
        length = memory.shape[1]
        if torch.is_grad_enabled():
            needed = ctx.needs_input_grad[::2]
            by_memory, by_weights = again(
                partial(moved_sum, rows=rows), (memory, weights), needed, grad
            )
            return by_memory, None, by_weights
        back = moved_rows(-lags % length, length)
        return bagged(grad, back, weights), None, products(memory, rows, grad)


def moved_sum(memory: Tensor, weights: Tensor, *, rows: Tensor) -> Tensor:
    """The same by plain operations, from where each step stands among all rows: [B, k, L]."""
    flat, total = memory.flatten(0, 1), torch.zeros_like(memory)
    for each, weight in zip(rows.unbind(1), weights.unbind(1), strict=True):
        moved = flat.index_select(0, each.flatten()).view_as(memory)
        total = total + weight.view(-1, 1, 1) * moved
    return total


def products(memory: Tensor, rows: Tensor, grad: Tensor) -> Tensor:
    """Sums of [B, L, C] times each moved copy of a series, over time and channels: [B, k]."""
    flat, sums = memory.flatten(0, 1), []
    for each in rows.unbind(1):  # one after the other: all moved copies at once may be large
        moved = flat.index_select(0, each.flatten()).view_as(grad)
        sums.append(moved.mul_(grad).sum((1, 2)))
    return torch.stack(sums, dim=1)


def moved_rows(lags: Tensor, length: int) -> Tensor:
    """Where each step of a series moved back by `lags` [B, k] stands among all rows: [B, k, L]."""
    first = torch.arange(0, len(lags) * length, length, device=lags.device).view(-1, 1, 1)
    places = lags.unsqueeze(-1) + torch.arange(length, device=lags.device)
    return places - length * (places >= length) + first


def bagged(series: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Sum `weights` [B, k] times the `rows` [B, k, L] of series [.., L, C]: [B, L, C]."""
    index = rows.transpose(1, 2).flatten(0, 1)  # [B * L, k]
    shares = weights.repeat_interleave(rows.shape[2], 0)
    flat = series.flatten(0, 1)
    summed = functional.embedding_bag(index, flat, mode="sum", per_sample_weights=shares)
    return summed.view(len(rows), *series.shape[1:])


def shifted_sum(memory: Tensor, lags: Tensor, weights: Tensor) -> Tensor:
    """Sum `weights` [B, k] times `memory` [B, L, C] read `lags` [B, k] steps later, circularly."""
    if not lags.shape[1]:
        return memory * weights.sum()  # of nothing: zero, and still part of the graph
    result: Tensor = _ShiftedSum.apply(memory, lags, weights)  # type: ignore[no-untyped-call]
    return result
