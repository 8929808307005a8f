"""Adaptive auto-correlation: several time scales, and a number of lags read from the data."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.networks.config import NetworkConfig, Repairs
from baselines.networks.correlation import fit_length, lag_count
from baselines.networks.layers import composed
from baselines.networks.spectrum import (
    analysis_matrix,
    bins_of,
    scales_in,
    shifted_sum,
    synthesis_matrix,
)

LIMIT = 10.0
EPSILON = 1e-8


class _PhaseSpectrum(torch.autograd.Function):
    """Cross-spectrum of gained queries and keys [B, 2F, C], the keys' amplitude divided out.

    The first F rows are real parts, the others imaginary. A bin without amplitude passes no
    gradient to the amplitude.
    """

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, gain: Tensor) -> Tensor:
        (q_real, q_imag), (k_real, k_imag) = queries.chunk(2, 1), keys.chunk(2, 1)
        amplitude = (k_real.square().addcmul_(k_imag, k_imag)).sqrt_()
        inverse = gain / (gain * amplitude).add_(EPSILON)
        unit_real, unit_imag = k_real * inverse, k_imag * inverse
        out = torch.empty_like(queries)
        real, imag = out.chunk(2, 1)
        torch.mul(q_real, unit_real, out=real).addcmul_(q_imag, unit_imag).mul_(gain)
        torch.mul(q_imag, unit_real, out=imag).addcmul_(q_real, unit_imag, value=-1).mul_(gain)
        ctx.save_for_backward(queries, keys, gain, amplitude, inverse, out)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
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
        to_gain = (grad * out).sum() / gain + (along * inverse).sum() * (EPSILON / gain.square())
        along.div_(amplitude.clamp_min(torch.finfo(amplitude.dtype).tiny))
        first.addcmul_(along, k_real, value=-1).mul_(inverse)
        second.addcmul_(along, k_imag, value=-1).mul_(inverse)
        return to_queries, to_keys, to_gain


class MultiScaleCorrelation(nn.Module):
    """Phase correlation of queries and keys, and the lags and weights it proposes."""

    def __init__(self, config: NetworkConfig, repairs: Repairs, scales: tuple[int, ...]) -> None:
        super().__init__()
        self.scales, self.factor, self.repairs = scales, config.factor, repairs
        if len(scales) > 1:
            self.scale_weights = nn.Parameter(torch.full((len(scales),), 1.0 / len(scales)))
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
            most = min(int(counts.max()), scores.shape[1])
            lags = scores.mean(-1).topk(most, dim=-1).indices
        rows = synthesis[lags] * shares  # [B, k, 2F]
        chosen = torch.bmm(rows, spectrum).clamp(-LIMIT, LIMIT).mean(-1)  # [B, k]
        if self.repairs.per_sample_lag_count:
            rank = torch.arange(most, device=lags.device)
            chosen = chosen.masked_fill(rank >= counts.unsqueeze(1), -math.inf)
        return lags, torch.softmax(chosen, dim=-1)

    def _synthesis(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Back-transform [T, 2F], and the weight of each bin's scale [2F]."""
        length, repairs = like.shape[1], self.repairs
        full, aligned = repairs.full_length_lags, repairs.aligned_scales
        placement = (like.dtype, like.device)
        matrix = synthesis_matrix(length, self.scales, full, aligned, placement)
        if len(self.scales) == 1:
            return matrix, matrix.new_ones(())
        present = scales_in(length, self.scales)
        shares = torch.softmax(self.scale_weights, dim=0)[: len(present)]
        bins = torch.tensor([bins_of(length, scale) for scale in present], device=like.device)
        return matrix, shares.repeat_interleave(bins).repeat(2)

    def _cross_spectrum(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Cross-spectrum with the keys' amplitude divided out: [B, 2F, C]."""
        matrix = analysis_matrix(queries.shape[1], self.scales, (queries.dtype, queries.device))
        matrix = matrix.expand(len(queries), -1, -1)
        query_bins, key_bins = torch.bmm(matrix, queries), torch.bmm(matrix, keys)
        several = len(self.scales) > 1
        gain = torch.sigmoid(self.frequency_filter) if several else queries.new_ones(1)
        result: Tensor = _PhaseSpectrum.apply(query_bins, key_bins, gain)  # type: ignore[no-untyped-call]
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
        most = max(least, min(int(0.3 * length), int(2 * self.factor * math.log(length))))
        counts = (bend.argmax(-1) + 2).clamp(least, most)
        return counts if self.repairs.per_sample_lag_count else counts.median().expand(batch)


class AdaptiveAutoCorrelation(nn.Module):
    """Adaptive auto-correlation attention with its linear maps and a learned gain."""

    def __init__(self, config: NetworkConfig, repairs: Repairs, scales: tuple[int, ...]) -> None:
        super().__init__()
        self.heads = config.n_heads
        inner = config.d_model // self.heads * self.heads
        self.layer_scale = nn.Parameter(torch.full((1,), 1.0 if repairs.open_gains else 0.1))
        self.inner_correlation = MultiScaleCorrelation(config, repairs, scales)
        self.query_projection = nn.Linear(config.d_model, inner)
        self.key_projection = nn.Linear(config.d_model, inner)
        self.value_projection = nn.Linear(config.d_model, inner)
        self.out_projection = nn.Linear(inner, config.d_model)
        self.newest = repairs.newest_keys

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """Attend from [B, L, d] to the rows of `source` [B, S, d]; returns [B, L, d]."""
        length, shorter = x.shape[1], source.shape[1] < x.shape[1]
        kept = source if shorter else fit_length(source, length, newest=self.newest)
        keys = fit_length(self._normed(kept, self.key_projection), length, newest=False)
        lags, weights = self.inner_correlation(self._normed(x, self.query_projection), keys)
        value, out = self.value_projection, self.out_projection
        if shorter:  # missing values are zero, bias included
            values = fit_length(value(kept), length, newest=False)
            attended = out(shifted_sum(values, lags, weights))
        else:  # the weights sum to one, so the value map may follow the sum
            mixed = shifted_sum(kept, lags, weights)
            attended = composed(mixed, value.weight, out.weight, value.bias, out.bias)
        scaled: Tensor = attended * self.layer_scale
        return scaled

    def _normed(self, x: Tensor, projection: nn.Linear) -> Tensor:
        """Project [B, L, d] and normalise each head: [B, L, inner]."""
        heads = projection(x).unflatten(-1, (self.heads, -1))
        return functional.layer_norm(heads, heads.shape[-1:]).flatten(-2)
