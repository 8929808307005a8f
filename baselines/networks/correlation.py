"""Auto-correlation: attention that compares a series with shifted copies of another."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.networks.config import NetworkConfig, Repairs
from baselines.networks.layers import Dropout, composed, in_float32
from baselines.networks.spectrum import bagged, moved_rows, moved_sum, products, shifted_sum
from baselines.networks.twins import again, apart, keep_apart

FADE = 0.1  # score above the edge of the choice at which a lag has two thirds of its weight


def lag_count(factor: float, length: int) -> int:
    """Number of lags the plain rule takes at a length: the whole part of factor * ln(length)."""
    return int(factor * math.log(length))


def fit_length(source: Tensor, length: int, *, newest: bool) -> Tensor:
    """Bring [B, S, C] to `length` rows: zeros at the end, or its first (or newest) rows."""
    if source.shape[1] == length:
        return source
    if source.shape[1] < length:
        return functional.pad(source, (0, 0, 0, length - source.shape[1]))
    return source[:, -length:] if newest else source[:, :length]


class _LagAttention(torch.autograd.Function):
    """Weighted sum of shifted copies of `memory`, weights from its correlation with `queries`.

    Everything is linear but the softmax over the chosen lags, so heads and channels are
    averaged in the frequency domain; the way back passes the chosen lags only.
    """

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        memory: Tensor,
        width: int,
        count: int,
        options: tuple[bool, bool],
    ) -> Tensor:
        shared, full = options
        length = queries.shape[1]
        period = length if full else 2 * (length // 2)
        scores = _scores(queries, memory, width, period)
        lags = _best_lags(scores, count, shared=shared)  # [B, count]
        weights = torch.softmax(scores.gather(1, lags), dim=-1)
        rows = moved_rows(lags, length)
        ctx.save_for_backward(queries, memory, lags, weights, rows)
        ctx.sizes = (width, period)
        return bagged(memory, rows, weights)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        queries, memory, lags, weights, rows = ctx.saved_tensors
        (width, period), length = ctx.sizes, memory.shape[1]
        if torch.is_grad_enabled() or period != length:
            twin = partial(_LagAttention.plain, width=width, period=period, choose=lambda _: lags)
            found = again(twin, (queries, memory), ctx.needs_input_grad, grad)
            return *found, None, None, None
        by_lag = products(memory, rows, grad)
        by_score = weights * (by_lag - (weights * by_lag).sum(-1, keepdim=True)) / width
        back = moved_rows(-lags % length, length)
        both = torch.cat([grad, queries]), torch.cat([back, rows + len(grad) * length], dim=1)
        return (
            bagged(memory, back, by_score),
            bagged(both[0], both[1], torch.cat([weights, by_score], dim=1)),
            None,
            None,
            None,
        )

    @staticmethod
    def plain(
        queries: Tensor,
        memory: Tensor,
        *,
        width: int,
        period: int,
        choose: Callable[[Tensor], Tensor],
    ) -> Tensor:
        scores = _scores(queries, memory, width, period)
        lags = choose(scores.detach())
        weights = torch.softmax(scores.gather(1, lags), dim=-1)
        return moved_sum(memory, weights, rows=moved_rows(lags, memory.shape[1]))


def _scores(queries: Tensor, memory: Tensor, width: int, period: int) -> Tensor:
    """Correlation of [B, L, C] with [B, L, C] at `period` lags, averaged over `width`: [B, T]."""
    bins = torch.fft.rfft(queries, dim=1) * torch.fft.rfft(memory, dim=1).conj()
    scores: Tensor = torch.fft.irfft(bins.sum(-1), n=period) / width
    return scores


def _attended(
    queries: Tensor, memory: Tensor, width: int, count: int, options: tuple[bool, bool]
) -> Tensor:
    """See `_LagAttention`; `options` are whether the batch shares its lags and keeps them all."""
    if not count:
        return 0.0 * (queries + memory)  # of no lags: zero, and still part of the graph
    if torch.compiler.is_compiling():
        shared, full = options
        period = queries.shape[1] if full else 2 * (queries.shape[1] // 2)
        choose = partial(_best_lags, count=count, shared=shared)
        return _LagAttention.plain(queries, memory, width=width, period=period, choose=choose)
    mixed: Tensor = _LagAttention.apply(queries, memory, width, count, options)  # type: ignore[no-untyped-call]
    return mixed


def _best_lags(scores: Tensor, count: int, *, shared: bool) -> Tensor:
    """The `count` highest lags of each row of [B, T], or of the mean row for all rows."""
    if shared:
        return scores.mean(0).topk(count).indices.expand(len(scores), count)
    return scores.topk(count, dim=-1).indices


def unchosen(scores: Tensor, counts: Tensor) -> Tensor:
    """Which of scores [B, k], best first, lie beyond the first `counts` [B]."""
    return torch.arange(scores.shape[1], device=scores.device) >= counts.unsqueeze(1)


def faded(scores: Tensor, counts: Tensor) -> Tensor:
    """Weights [B, k] of the first `counts` of the scores, each falling to 0 towards the next.

    A lag that joins or leaves the choice does so with no weight, so nothing jumps; where no lag
    stands out, all weights are small.
    """
    last = scores.shape[1] - 1
    edge = scores.gather(1, counts.clamp_max(last).unsqueeze(1))
    edge = edge.masked_fill((counts > last).unsqueeze(1), -math.inf)
    above = (scores - edge).clamp_min(0.0)
    shares = torch.softmax(scores.masked_fill(unchosen(scores, counts), -math.inf), dim=-1)
    return shares * -torch.expm1(-above / FADE)


def causal_sum(values: Tensor, lags: Tensor, weights: Tensor) -> Tensor:
    """Sum `weights` [B, k] times `values` [B, L, C] read `lags` [B, k] steps later, circularly.

    Only rows up to a step's own reach it; what a lag finds in later ones counts as 0.
    """
    length = values.shape[1]
    steps = torch.arange(length, device=values.device).view(1, -1, 1)
    places = (steps + lags.unsqueeze(1)) % length  # [B, L, k]
    seen = weights.unsqueeze(1) * (places <= steps)
    mixing = seen.new_zeros(len(seen), length, length).scatter_add(2, places, seen)
    return torch.bmm(mixing, values)


class AutoCorrelation(nn.Module):
    """Auto-correlation attention with its four linear maps.

    The query and key maps meet in one product, and so do the value and output maps, since
    every head is given the same lags and weights; both pairs are therefore multiplied out.
    """

    def __init__(
        self, config: NetworkConfig, repairs: Repairs, *, self_in_decoder: bool = False
    ) -> None:
        super().__init__()
        keep_apart(type(self))
        if repairs.working_flags:
            self.mask_flag, self.lag_dropout = self_in_decoder, Dropout(config.dropout)
        inner = config.d_model // config.n_heads * config.n_heads
        self.query_projection = nn.Linear(config.d_model, inner)
        self.key_projection = nn.Linear(config.d_model, inner)
        self.value_projection = nn.Linear(config.d_model, inner)
        self.out_projection = nn.Linear(inner, config.d_model)
        self.factor, self.inner, self.repairs = config.factor, inner, repairs
        self.stepwise = repairs.working_flags or repairs.soft_lags

    @in_float32
    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """Attend from [B, L, d] to the rows of `source` [B, S, d]; returns [B, L, d]."""
        length = x.shape[1]
        count = lag_count(self.factor, length)
        shared = self.training and not self.repairs.per_sample_lags
        options = (shared, self.repairs.full_length_lags)
        if self.stepwise:
            return self._attend_stepwise(x, source, count, options)
        if source.shape[1] < length:
            return self._attend_padded(x, source, count, options)
        memory = fit_length(source, length, newest=self.repairs.newest_keys)
        key = self.key_projection
        bias = self.query_projection.bias + 0.0 * key.bias  # shifts all lags alike: no gradient
        queries = composed(x, self.query_projection.weight, key.weight.t(), bias)
        mixed = _attended(queries, memory, self.inner, count, options)
        value, out = self.value_projection, self.out_projection
        carried = value.bias if count else None  # no lags, no weights: nothing carries the bias
        return composed(mixed, value.weight, out.weight, carried, out.bias)

    @apart
    def _attend_stepwise(
        self, x: Tensor, source: Tensor, count: int, options: tuple[bool, bool]
    ) -> Tensor:
        """Attend step by step: lags may fade, be dropped, or see no later step where flagged."""
        shared, full = options
        length, newest = x.shape[1], self.repairs.newest_keys
        period = length if full else 2 * (length // 2)
        keys = fit_length(self.key_projection(source), length, newest=newest)
        values = fit_length(self.value_projection(source), length, newest=newest)
        bins = torch.fft.rfft(self.query_projection(x), dim=1)
        bins = bins * torch.fft.rfft(keys, dim=1).conj()
        scores = torch.fft.irfft(bins.sum(-1), n=period) / self.inner
        lags, weights = self._weighted(scores, count, shared=shared)
        weights = self.lag_dropout(weights) if self.repairs.working_flags else weights
        carry = causal_sum if self.repairs.working_flags and self.mask_flag else shifted_sum
        attended: Tensor = self.out_projection(carry(values, lags, weights))
        return attended

    def _weighted(self, scores: Tensor, count: int, *, shared: bool) -> tuple[Tensor, Tensor]:
        """Best lags of scores [B, T] and their weights: [B, k] each."""
        soft = self.repairs.soft_lags and count > 0
        most = min(count + soft, scores.shape[1])  # one more, for the edge of the choice
        lags = _best_lags(scores.detach(), most, shared=shared)
        chosen = scores.gather(1, lags)
        if not soft:
            return lags, torch.softmax(chosen, dim=-1)
        return lags, faded(chosen, torch.full((len(scores),), count, device=scores.device))

    def _attend_padded(
        self, x: Tensor, source: Tensor, count: int, options: tuple[bool, bool]
    ) -> Tensor:
        """Attend to a shorter source, whose missing keys and values are zero, biases included."""
        key, value = self.key_projection, self.value_projection
        known = torch.cat([source, source.new_ones(*source.shape[:2], 1)], dim=-1)
        memory = fit_length(known, x.shape[1], newest=False)  # [B, L, d + 1]
        queries = self.query_projection(x)
        queries = functional.linear(
            queries, torch.cat([key.weight, key.bias.unsqueeze(1)], dim=1).t()
        )
        mixed = _attended(queries, memory, self.inner, count, options)
        values = functional.linear(mixed, torch.cat([value.weight, value.bias.unsqueeze(1)], dim=1))
        attended: Tensor = self.out_projection(values)
        return attended
