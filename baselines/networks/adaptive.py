"""Adaptive auto-correlation: several time scales, and a number of lags read from the data."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.networks.config import NetworkConfig, Repairs
from baselines.networks.correlation import causal_sum, fit_length, lag_count
from baselines.networks.layers import Dropout, composed, in_float32
from baselines.networks.spectrum import (
    analysis_matrix,
    bins_of,
    pitches,
    scales_in,
    shifted_sum,
    synthesis_matrix,
)

LIMIT = 10.0
EPSILON = 1e-8
NORM_EPSILON = 1e-5
FADE = 0.1  # score above the edge of the choice at which a lag has two thirds of its weight
FLOOR = 1.0  # amplitude, of the ten or so of a hundred steps, below which a phase fades


class _PhaseSpectrum(torch.autograd.Function):
    """Cross-spectrum of gained queries and keys [B, 2F, C], the keys' amplitude divided out.

    The first F rows are real parts, the others imaginary. A bin without amplitude passes no
    gradient to the amplitude.
    """

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, gain: Tensor, floor: float) -> Tensor:
        (q_real, q_imag), (k_real, k_imag) = queries.chunk(2, 1), keys.chunk(2, 1)
        amplitude = (k_real.square().addcmul_(k_imag, k_imag)).sqrt_()
        inverse = gain / (gain * amplitude).add_(floor)
        unit_real, unit_imag = k_real * inverse, k_imag * inverse
        out = torch.empty_like(queries)
        real, imag = out.chunk(2, 1)
        torch.mul(q_real, unit_real, out=real).addcmul_(q_imag, unit_imag).mul_(gain)
        torch.mul(q_imag, unit_real, out=imag).addcmul_(q_real, unit_imag, value=-1).mul_(gain)
        ctx.save_for_backward(queries, keys, gain, amplitude, inverse, out)
        ctx.floor = floor
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        queries, keys, gain, amplitude, inverse, out = ctx.saved_tensors
        (q_real, q_imag), (k_real, k_imag) = queries.chunk(2, 1), keys.chunk(2, 1)
        real, imag = (grad * gain).chunk(2, 1)
        unit_real, unit_imag = k_real * inverse, k_imag * inverse
        to_queries, to_keys = torch.empty_like(queries), torch.empty_like(keys)
        first, second = to_queries.chunk(2, 1)
        torch.mul(real, unit_real, out=first).addcmul_(imag, unit_imag, value=-1)
        torch.mul(real, unit_imag, out=second).addcmul_(imag, unit_real)
        first, second = to_keys.chunk(2, 1)  # as yet the gradient to the unit vectors
        torch.mul(real, q_real, out=first).addcmul_(imag, q_imag)
        torch.mul(real, q_imag, out=second).addcmul_(imag, q_real, value=-1)
        along = (unit_real * first).addcmul_(unit_imag, second)
        to_gain = (grad * out).sum() / gain + (along * inverse).sum() * (ctx.floor / gain.square())
        along.div_(amplitude.clamp_min(torch.finfo(amplitude.dtype).tiny))
        first.addcmul_(along, k_real, value=-1).mul_(inverse)
        second.addcmul_(along, k_imag, value=-1).mul_(inverse)
        return to_queries, to_keys, to_gain, None


class _HeadScale(torch.autograd.Function):
    """Bring each head of rows [B, L, H * E], whose mean is 0, to unit variance."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, heads: int) -> Tensor:
        grouped = x.unflatten(-1, (heads, -1))
        inverse = (_head_means(x.square(), heads) + NORM_EPSILON).rsqrt_().unsqueeze(-1)
        scaled: Tensor = grouped * inverse
        ctx.save_for_backward(scaled, inverse)
        return scaled.flatten(-2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        scaled, inverse = ctx.saved_tensors
        heads = scaled.shape[-2]
        grad = grad.contiguous()
        along = _head_means(grad * scaled.flatten(-2), heads).unsqueeze(-1)
        return ((grad.view_as(scaled) - scaled * along) * inverse).flatten(-2), None


def _head_means(x: Tensor, heads: int) -> Tensor:
    """Mean over each head of [.., H * E]: [.., H]; a product, for short heads are slow to sum."""
    width = x.shape[-1] // heads
    member = torch.eye(heads, dtype=x.dtype, device=x.device).repeat_interleave(width, 0)
    means: Tensor = x @ member.div_(width)
    return means


class MultiScaleCorrelation(nn.Module):
    """Phase correlation of queries and keys, and the lags and weights it proposes."""

    def __init__(self, config: NetworkConfig, repairs: Repairs, scales: tuple[int, ...]) -> None:
        super().__init__()
        self.scales, self.factor, self.repairs = scales, config.factor, repairs
        if len(scales) > 1:
            self.scale_weights = nn.Parameter(torch.full((len(scales),), 1.0 / len(scales)))
        if len(scales) > 1 or repairs.selective_filter or not repairs.live_parts:
            self.frequency_filter = nn.Parameter(torch.ones(1))

    def forward(self, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Propose lags for normalised queries and keys [B, L, C]: lags and weights, both [B, k].

        Samples that take fewer lags than others carry weight 0 on the rest.
        """
        synthesis, shares = self._synthesis(queries)  # [T, 2F] and [2F]
        spectrum = self._cross_spectrum(queries, keys)  # [B, 2F, C]
        with torch.no_grad():
            back = (synthesis * shares).expand(len(spectrum), -1, -1)
            scores = torch.bmm(back, spectrum).clamp_(-LIMIT, LIMIT)  # [B, T, C]
            counts = self._counts(scores, queries.shape[1])
            most = int(counts.max()) + self.repairs.soft_lags  # one more: the edge of the choice
            lags = scores.mean(-1).topk(min(most, scores.shape[1]), dim=-1).indices
        rows = synthesis[lags] * shares  # [B, k, 2F]
        chosen = torch.bmm(rows, spectrum).clamp(-LIMIT, LIMIT).mean(-1)  # [B, k]
        if self.repairs.soft_lags:
            return lags, _faded(chosen, counts)
        if self.repairs.per_sample_lag_count:
            chosen = chosen.masked_fill(_unchosen(chosen, counts), -math.inf)
        return lags, torch.softmax(chosen, dim=-1)

    def _synthesis(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Back-transform [T, 2F], and the weight of each bin's scale [2F]."""
        length, repairs = like.shape[1], self.repairs
        full, aligned = repairs.full_length_lags, repairs.aligned_scales
        placement = (like.dtype, like.device)
        matrix = synthesis_matrix(length, self.scales, full, aligned, placement)
        shares = matrix.new_ones(())
        if len(self.scales) > 1:
            present = scales_in(length, self.scales)
            weights = torch.softmax(self.scale_weights, dim=0)[: len(present)]
            bins = torch.tensor([bins_of(length, scale) for scale in present], device=like.device)
            shares = weights.repeat_interleave(bins).repeat(2)
        if repairs.selective_filter:
            tilt = pitches(length, self.scales, placement)
            shares = shares * torch.sigmoid(self.frequency_filter * tilt)
        return matrix, shares

    def _cross_spectrum(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Cross-spectrum with the keys' amplitude divided out: [B, 2F, C]."""
        matrix = analysis_matrix(queries.shape[1], self.scales, (queries.dtype, queries.device))
        matrix = matrix.expand(len(queries), -1, -1)
        query_bins, key_bins = torch.bmm(matrix, queries), torch.bmm(matrix, keys)
        plain = len(self.scales) == 1 or self.repairs.selective_filter
        gain = queries.new_ones(1) if plain else torch.sigmoid(self.frequency_filter)
        floor = FLOOR if self.repairs.soft_lags else EPSILON
        result: Tensor = _PhaseSpectrum.apply(query_bins, key_bins, gain, floor)  # type: ignore[no-untyped-call]
        return result

    def _counts(self, scores: Tensor, length: int) -> Tensor:
        """Number of lags of each sample [B]: one and the same unless repaired."""
        batch = scores.shape[0]
        if length <= 10 or self.repairs.plain_lag_count:
            count = lag_count(self.factor, length)
            count = max(1 if self.repairs.plain_lag_count else 2, count)
            return torch.full((batch,), count, device=scores.device)
        energy = scores.square().sum(-1).sort(dim=-1, descending=True).values  # [B, T]
        bend = energy.diff().neg().diff().neg()
        least = max(2, int(0.1 * math.log(length)))
        most = min(int(0.3 * length), int(2 * self.factor * math.log(length)))  # wins over least
        counts = (bend.argmax(-1) + 2).clamp(least, most)
        return counts if self.repairs.per_sample_lag_count else counts.median().expand(batch)


def _unchosen(scores: Tensor, counts: Tensor) -> Tensor:
    """Which of scores [B, k], best first, lie beyond the first `counts` [B]."""
    return torch.arange(scores.shape[1], device=scores.device) >= counts.unsqueeze(1)


def _faded(scores: Tensor, counts: Tensor) -> Tensor:
    """Weights [B, k] of the first `counts` of the scores, each falling to 0 towards the next.

    A lag that joins or leaves the choice does so with no weight, so nothing jumps; where no lag
    stands out, all weights are small.
    """
    last = scores.shape[1] - 1
    edge = scores.gather(1, counts.clamp_max(last).unsqueeze(1))
    edge = edge.masked_fill((counts > last).unsqueeze(1), -math.inf)
    above = (scores - edge).clamp_min(0.0)
    shares = torch.softmax(scores.masked_fill(_unchosen(scores, counts), -math.inf), dim=-1)
    return shares * -torch.expm1(-above / FADE)


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

    @in_float32
    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """Attend from [B, L, d] to the rows of `source` [B, S, d]; returns [B, L, d]."""
        length, shorter = x.shape[1], source.shape[1] < x.shape[1]
        kept = source if shorter else fit_length(source, length, newest=self.newest)
        keys = fit_length(self._normed(kept, self.key_projection), length, newest=False)
        lags, weights = self.inner_correlation(self._normed(x, self.query_projection), keys)
        value, out = self.value_projection, self.out_projection
        if shorter or self.flagged or self.soft:  # missing values are zero, bias included
            values = fit_length(value(kept), length, newest=False)
            weights = self.lag_dropout(weights) if self.flagged else weights
            carry = causal_sum if self.flagged and self.mask_flag else shifted_sum
            attended = out(carry(values, lags, weights))
        else:  # the weights sum to one, so the value map may follow the sum
            mixed = shifted_sum(kept, lags, weights)
            attended = composed(mixed, value.weight, out.weight, value.bias, out.bias)
        scaled: Tensor = attended * self.layer_scale
        return scaled

    def _normed(self, x: Tensor, projection: nn.Linear) -> Tensor:
        """Project [B, L, d] and normalise each head: [B, L, inner].

        The heads' means are taken off the map beforehand.
        """
        weight, bias = (p.unflatten(0, (self.heads, -1)) for p in projection.parameters())
        weight, bias = weight - weight.mean(1, keepdim=True), bias - bias.mean(1, keepdim=True)
        rows = functional.linear(x, weight.flatten(0, 1), bias.flatten())
        normed: Tensor = _HeadScale.apply(rows, self.heads)  # type: ignore[no-untyped-call]
        return normed
