"""Adaptive auto-correlation: several time scales, and a number of lags read from the data."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.networks.config import NetworkConfig, Repairs
from baselines.networks.correlation import causal_sum, faded, fit_length, lag_count, unchosen
from baselines.networks.layers import Dropout, composed, in_float32
from baselines.networks.spectrum import (
    Placement,
    exact_spectra,
    from_spectra,
    pitches,
    scale_members,
    shifted_sum,
    spectra,
    synthesis_matrix,
)
from baselines.networks.twins import again, apart, fixed, keep_apart

LIMIT = 10.0
EPSILON = 1e-8
NORM_EPSILON = 1e-5
FLOOR = 1.0  # amplitude, of the ten or so of a hundred steps, below which a phase fades


class _PhaseSpectrum(torch.autograd.Function):
    """Cross-spectrum [B, 2F, C] of queries and keys [2, B, L, C], the keys' amplitude divided out.

    With their transforms q and k at every scale, amplitude a of k, gain g and floor e:
    g q conj(g k) / (g a + e). The first F rows are real parts, the others imaginary. A bin without
    amplitude passes no gradient to the amplitude.
    """

    @staticmethod
    def forward(
        ctx: Any, pairs: Tensor, gain: Tensor, floor: float, scales: tuple[int, ...]
    ) -> Tensor:
        # what rounding does to a weak bin of the keys it does to its phase, of a query to no phase
        bins = spectra(pairs[0], scales), exact_spectra(pairs[1], scales)
        (q_real, q_imag), (k_real, k_imag) = (half.chunk(2, 1) for half in bins)
        amplitude = (k_real * k_real).addcmul_(k_imag, k_imag).sqrt_()
        weight = gain / (amplitude + floor / gain)
        out = torch.empty_like(bins[0])
        real, imag = out.chunk(2, 1)
        torch.mul(q_real, k_real, out=real).addcmul_(q_imag, k_imag).mul_(weight)
        torch.mul(q_imag, k_real, out=imag).addcmul_(q_real, k_imag, value=-1).mul_(weight)
        ctx.save_for_backward(*bins, gain, amplitude, weight, out, pairs)
        ctx.floor, ctx.scales, ctx.length = floor, scales, pairs.shape[2]
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        *bins, gain, amplitude, weight, out, pairs = ctx.saved_tensors
        if torch.is_grad_enabled():
            twin = partial(_PhaseSpectrum.plain, floor=ctx.floor, scales=ctx.scales)
            return *again(twin, (pairs, gain), ctx.needs_input_grad, grad), None, None
        (q_real, q_imag), (k_real, k_imag) = (half.chunk(2, 1) for half in bins)
        (real, imag), (out_real, out_imag) = grad.chunk(2, 1), out.chunk(2, 1)
        along = (real * out_real).addcmul_(imag, out_imag)
        to_gain = along.sum() / gain + (along * weight).sum() * (ctx.floor / gain**3)
        to_bins = out.new_empty(2, *out.shape)
        first, second = to_bins[0].chunk(2, 1)
        torch.mul(real, k_real, out=first).addcmul_(imag, k_imag, value=-1).mul_(weight)
        torch.mul(real, k_imag, out=second).addcmul_(imag, k_real).mul_(weight)
        along.div_((amplitude * gain).clamp_min_(torch.finfo(amplitude.dtype).tiny))
        first, second = to_bins[1].chunk(2, 1)
        torch.mul(real, q_real, out=first).addcmul_(imag, q_imag)
        torch.mul(real, q_imag, out=second).addcmul_(imag, q_real, value=-1)
        first.addcmul_(along, k_real, value=-1).mul_(weight)
        second.addcmul_(along, k_imag, value=-1).mul_(weight)
        return from_spectra(to_bins, ctx.length, ctx.scales), to_gain, None, None

    @staticmethod
    def plain(pairs: Tensor, gain: Tensor, *, floor: float, scales: tuple[int, ...]) -> Tensor:
        queries, keys = (exact_spectra(each, scales) for each in pairs)
        (q_real, q_imag), (k_real, k_imag) = queries.chunk(2, 1), keys.chunk(2, 1)
        energy = k_real.square() + k_imag.square()
        amplitude = torch.where(energy > 0, torch.where(energy > 0, energy, 1.0).sqrt(), 0.0)
        weight = gain / (amplitude + floor / gain)
        real, imag = q_real * k_real + q_imag * k_imag, q_imag * k_real - q_real * k_imag
        return torch.cat([real * weight, imag * weight], dim=1)


class _HeadScale(torch.autograd.Function):
    """Bring each head of two tensors [B, L, H * E], whose mean is 0, to unit variance: [2, ..]."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, heads: int) -> Tensor:
        width = queries.shape[-1] // heads
        averages = _head_averages(heads, width, (queries.dtype, queries.device))
        pairs, inverse = queries.new_empty(2, *queries.shape), []
        for rows, scaled in zip((queries, keys), pairs, strict=True):
            spread = _averaged(rows * rows, averages).add_(NORM_EPSILON).rsqrt_()
            torch.mul(_by_head(rows, heads), spread, out=_by_head(scaled, heads))
            inverse.append(spread)
        ctx.save_for_backward(pairs, averages, queries, keys, *inverse)
        return pairs

    @staticmethod
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor, Tensor, None]:
        pairs, averages, queries, keys, *inverse = ctx.saved_tensors
        heads, back = len(averages), []
        if torch.is_grad_enabled():
            twin = partial(_HeadScale.plain, heads=heads)
            return *again(twin, (queries, keys), ctx.needs_input_grad, grads), None
        for grad, scaled, spread in zip(grads, pairs, inverse, strict=True):
            along = _averaged(grad * scaled, averages)
            rest = torch.addcmul(_by_head(grad, heads), _by_head(scaled, heads), along, value=-1)
            back.append(rest.mul_(spread).flatten(-2))
        return back[0], back[1], None

    @staticmethod
    def plain(queries: Tensor, keys: Tensor, *, heads: int) -> Tensor:
        parted = _by_head(torch.stack([queries, keys]), heads)
        spread = torch.rsqrt(parted.square().mean(-1, keepdim=True) + NORM_EPSILON)
        return (parted * spread).flatten(-2)


def _by_head(rows: Tensor, heads: int) -> Tensor:
    """View [.., H * E] as [.., H, E]."""
    parted: Tensor = rows.unflatten(-1, (heads, -1))
    return parted


def _averaged(rows: Tensor, averages: Tensor) -> Tensor:
    """Average [B, L, H * E] over each head: [B, L, H, 1]; by a product, for short sums are slow."""
    found = averages @ rows.flatten(0, 1).t()  # quicker than from the other side
    return found.t().contiguous().view(*rows.shape[:2], -1, 1)


@fixed
def _head_averages(heads: int, width: int, placement: Placement) -> Tensor:
    """Matrix [H, H * E] that averages over each head."""
    member = torch.eye(heads, dtype=placement[0], device=placement[1])
    return member.repeat_interleave(width, 1).div_(width)


@fixed
def _head_centring(heads: int, width: int, placement: Placement) -> Tensor:
    """Matrix [H * E, H * E] that takes off each head its mean."""
    averages = _head_averages(heads, width, placement)
    return torch.eye(heads * width).to(averages) - averages.repeat_interleave(width, 0)


@contextmanager
def each_alone(network: nn.Module) -> Iterator[None]:
    """Answer every sample of a batch as if it were alone, for a while.

    With the number of lags of each sample: the median over a batch of one (E-09).
    """
    parts = [part for part in network.modules() if isinstance(part, MultiScaleCorrelation)]
    kept = [part.repairs for part in parts]
    try:
        for part in parts:
            part.repairs = dataclasses.replace(part.repairs, per_sample_lag_count=True)
        yield
    finally:
        for part, repairs in zip(parts, kept, strict=True):
            part.repairs = repairs


class MultiScaleCorrelation(nn.Module):
    """Phase correlation of queries and keys, and the lags and weights it proposes."""

    def __init__(self, config: NetworkConfig, repairs: Repairs, scales: tuple[int, ...]) -> None:
        super().__init__()
        self.scales, self.factor, self.repairs = scales, config.factor, repairs
        if len(scales) > 1:
            self.scale_weights = nn.Parameter(torch.full((len(scales),), 1.0 / len(scales)))
        if len(scales) > 1 or repairs.selective_filter or not repairs.live_parts:
            self.frequency_filter = nn.Parameter(torch.ones(1))

    def forward(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """Propose lags for normalised queries and keys [2, B, L, C]: lags and weights, both [B, k].

        Samples that take fewer lags than others carry weight 0 on the rest.
        """
        scores, means = self._scores(pairs)
        with torch.no_grad():
            counts = self._counts(scores, pairs.shape[2])
            most = int(counts.max()) + self.repairs.soft_lags  # one more: the edge of the choice
            lags = means.topk(min(most, means.shape[1]), dim=-1).indices
        chosen = means.gather(1, lags)  # [B, k]
        if self.repairs.soft_lags:
            return lags, faded(chosen, counts)
        if self.repairs.per_sample_lag_count:
            chosen = chosen.masked_fill(unchosen(chosen, counts), -math.inf)
        return lags, torch.softmax(chosen, dim=-1)

    def _scores(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of all lags [B, T, C], without gradient, and their mean over channels [B, T]."""
        synthesis = self._synthesis(pairs)  # [T, 2F]
        spectrum = self._cross_spectrum(pairs)  # [B, 2F, C]
        back = synthesis.expand(len(spectrum), -1, -1)
        with torch.no_grad():
            scores = torch.bmm(back, spectrum)
            low, high = scores.aminmax()
        if low >= -LIMIT and high <= LIMIT:  # then channels may be averaged first
            return scores, (spectrum.sum(-1) / spectrum.shape[-1]) @ synthesis.t()
        limited = torch.bmm(back, spectrum).clamp(-LIMIT, LIMIT)
        return limited.detach(), limited.mean(-1)

    def _synthesis(self, like: Tensor) -> Tensor:
        """Back-transform [T, 2F], each bin times the weight of its scale."""
        length, repairs = like.shape[-2], self.repairs
        full, aligned = repairs.full_length_lags, repairs.aligned_scales
        placement = (like.dtype, like.device)
        matrix = synthesis_matrix(length, self.scales, full, aligned, placement)
        if len(self.scales) > 1:
            members = scale_members(length, self.scales, placement)  # [2F, scales in the length]
            left = self.scale_weights[: members.shape[1]]  # too coarse scales have no share
            matrix = matrix * (members @ torch.softmax(left, dim=0))
        if repairs.selective_filter:
            tilt = pitches(length, self.scales, placement)
            matrix = matrix * torch.sigmoid(self.frequency_filter * tilt)
        return matrix

    def _cross_spectrum(self, pairs: Tensor) -> Tensor:
        """Cross-spectrum with the keys' amplitude divided out: [B, 2F, C]."""
        plain = len(self.scales) == 1 or self.repairs.selective_filter
        gain = pairs.new_ones(1) if plain else torch.sigmoid(self.frequency_filter)
        floor = FLOOR if self.repairs.soft_lags else EPSILON
        result: Tensor = _PhaseSpectrum.apply(pairs, gain, floor, self.scales)  # type: ignore[no-untyped-call]
        return result

    def _counts(self, scores: Tensor, length: int) -> Tensor:
        """Number of lags of each sample [B]: one and the same unless repaired."""
        batch = scores.shape[0]
        if length <= 10 or self.repairs.plain_lag_count:
            count = lag_count(self.factor, length)
            count = max(1 if self.repairs.plain_lag_count else 2, count)
            return torch.full((batch,), count, device=scores.device)
        energy = (scores * scores).sum(-1).sort(dim=-1, descending=True).values  # [B, T]
        falls = energy[:, :-1] - energy[:, 1:]
        bends = falls[:, :-1] - falls[:, 1:]
        least = max(2, int(0.1 * math.log(length)))
        most = min(int(0.3 * length), int(2 * self.factor * math.log(length)))  # wins over least
        counts = (bends.argmax(-1) + 2).clamp(least, most)
        return counts if self.repairs.per_sample_lag_count else counts.median().expand(batch)


class AdaptiveAutoCorrelation(nn.Module):
    """Adaptive auto-correlation attention with its linear maps and a learned gain."""

    def __init__(
        self,
        config: NetworkConfig,
        repairs: Repairs,
        scales: tuple[int, ...],
        *,
        self_in_decoder: bool = False,
    ) -> None:
        super().__init__()
        keep_apart(type(self))
        if repairs.working_flags:
            self.mask_flag, self.lag_dropout = self_in_decoder, Dropout(config.dropout)
        self.heads = config.n_heads
        inner = config.d_model // self.heads * self.heads
        self.layer_scale = nn.Parameter(torch.full((1,), 1.0 if repairs.open_gains else 0.1))
        self.inner_correlation = MultiScaleCorrelation(config, repairs, scales)
        self.query_projection = nn.Linear(config.d_model, inner)
        self.key_projection = nn.Linear(config.d_model, inner)
        self.value_projection = nn.Linear(config.d_model, inner)
        self.out_projection = nn.Linear(inner, config.d_model)
        self.newest, self.flagged = repairs.newest_keys, repairs.working_flags
        self.soft = repairs.soft_lags  # then the weights need not sum to one

    @apart
    @in_float32
    def forward(self, x: Tensor, source: Tensor, gain: Tensor | None = None) -> Tensor:
        """Attend from [B, L, d] to the rows of `source` [B, S, d]; returns [B, L, d].

        `gain` [1] multiplies the module's own; both meet in the last linear map.
        """
        length, shorter = x.shape[1], source.shape[1] < x.shape[1]
        kept = source if shorter else fit_length(source, length, newest=self.newest)
        lags, weights = self.inner_correlation(self._pairs(x, kept))
        value = self.value_projection
        scale = self.layer_scale * (1.0 if gain is None else gain)
        weight, bias = self.out_projection.weight * scale, self.out_projection.bias * scale
        if shorter or self.flagged or self.soft:  # missing values are zero, bias included
            values = fit_length(value(kept), length, newest=False)
            weights = self.lag_dropout(weights) if self.flagged else weights
            carry = causal_sum if self.flagged and self.mask_flag else shifted_sum
            return functional.linear(carry(values, lags, weights), weight, bias)
        mixed = shifted_sum(kept, lags, weights)
        # the weights sum to one, so the value map may follow the sum
        return composed(mixed, value.weight, weight, value.bias, bias)

    def _pairs(self, x: Tensor, kept: Tensor) -> Tensor:
        """Queries and keys, each head normalised: [2, B, L, inner]; missing keys are zero.

        The heads' means are taken off the maps beforehand.
        """
        query, key, length = self.query_projection, self.key_projection, x.shape[1]
        width = len(query.weight) // self.heads
        centring = _head_centring(self.heads, width, (query.weight.dtype, query.weight.device))
        queries = functional.linear(x, centring @ query.weight, centring @ query.bias)
        keys = functional.linear(kept, centring @ key.weight, centring @ key.bias)
        keys = fit_length(keys, length, newest=False)
        pairs: Tensor = _HeadScale.apply(queries, keys, self.heads)  # type: ignore[no-untyped-call]
        return pairs
