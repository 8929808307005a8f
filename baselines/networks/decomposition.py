"""Splitting a series into a smooth trend and the seasonal rest, which is worked out first.

The trend is a moving average, or a kernel that is learned: one for each sample, or a mixture of
several.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.networks.config import Repairs
from baselines.networks.layers import in_float32
from baselines.networks.twins import again, apart, fixed, keep_apart

PLAIN = 25  # kernel entries that start as a moving average, of twice as many
LEAST = 5  # steps of the narrowest kernel that is predicted
DENSE = 512  # steps of the longest series that is quicker to transform by a product
STEPS = 48  # of a series, at most, made at once from those within reach of a moving average


def less_average(x: Tensor, window: int) -> Tensor:
    """Series [B, L, C] less its moving average of odd width, its ends continued."""
    if torch.compiler.is_compiling():
        kernel = x.new_full((window, x.shape[2]), 1.0 / window)
        return x - _by_channel(continued(x, window // 2), kernel)
    left: Tensor = _LessAverage.apply(x, window, False)  # type: ignore[no-untyped-call]
    return left


class _LessAverage(torch.autograd.Function):
    """A fixed linear map along time; its way back is its transpose, and that one's is itself."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, window: int, back: bool) -> Tensor:
        ctx.window, ctx.back = window, back
        bands = _bands(x.shape[1], window, back, x.dtype, x.device)
        rows = [torch.bmm(band.expand(len(x), -1, -1), x[:, within]) for within, band in bands]
        return torch.cat(rows, dim=1) if len(rows) > 1 else rows[0]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _LessAverage.apply(grad, ctx.window, not ctx.back), None, None  # type: ignore[no-untyped-call]


@fixed
def _bands(
    length: int, window: int, back: bool, dtype: torch.dtype, device: torch.device
) -> list[tuple[slice, Tensor]]:
    """Rows of the map or of its transpose: which steps they reach, and the matrix of these."""
    steps = torch.arange(length).unsqueeze(1) + torch.arange(window) - window // 2
    shares = torch.full(steps.shape, -1.0 / window, dtype=torch.float64)
    matrix = torch.eye(length, dtype=torch.float64)
    matrix.scatter_add_(1, steps.clamp(0, length - 1), shares)
    matrix = (matrix.t() if back else matrix).to(dtype=dtype, device=device)
    bands, rows = [], -(-length // -(-length // STEPS))  # all alike, of at most STEPS
    for start in range(0, length, rows):
        within = slice(max(0, start - window // 2), min(length, start + rows + window // 2))
        bands.append((within, matrix[start : start + rows, within].contiguous()))
    return bands


def continued(x: Tensor, reach: int) -> Tensor:
    """Series [B, L, C] with its first and last value `reach` times more: [B, L + 2 reach, C]."""
    ends = x[:, :1].expand(-1, reach, -1), x[:, -1:].expand(-1, reach, -1)
    return torch.cat([ends[0], x, ends[1]], dim=1)


@dataclass(frozen=True, slots=True)
class Groups:
    """Samples side by side with those that take the same kernel.

    Attributes
    ----------
    counts
        Samples of each group; they add up to the batch.
    order : [B]
        Which samples they are, group after group; None where all are one group.
    """

    counts: list[int]
    order: Tensor | None = None

    def together(self, x: Tensor) -> Tensor:
        """Samples [B, ..] in the groups' order."""
        return x if self.order is None else x.index_select(0, self.order)

    def as_given(self, x: Tensor) -> Tensor:
        """Samples [B, ..] in the groups' order back in their own."""
        return x if self.order is None else x.index_select(0, self.order.argsort())


def unsmoothed(x: Tensor, kernels: Tensor, groups: Groups) -> Tensor:
    """Series [B, L, C] less its correlation with centred kernels, one for each sample and channel.

    Parameters
    ----------
    x : [B, L, C]
        Continued with its first and its last value beyond its ends.
    kernels : [G, R, C]
        R is odd.
    groups
        The G groups of samples that take each kernel.
    """
    left: Tensor = _Unsmoothed.apply(x, kernels, groups)  # type: ignore[no-untyped-call]
    return left


class _Unsmoothed(torch.autograd.Function):
    """Sums over a window of steps, as a convolution of each channel with the channels last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernels: Tensor, groups: Groups) -> Tensor:
        ctx.save_for_backward(x, kernels)
        ctx.groups = groups
        return _Unsmoothed.plain(x, kernels, groups=groups)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, kernels = ctx.saved_tensors
        groups: Groups = ctx.groups
        if torch.is_grad_enabled():
            twin = partial(_Unsmoothed.plain, groups=groups)
            return *again(twin, (x, kernels), ctx.needs_input_grad, grad), None
        x, grad = groups.together(x), groups.together(grad)
        wide = kernels.shape[1] - 1
        back = functional.pad(grad, (0, 0, wide, wide))
        back = _correlated(back, kernels.flip(1), groups.counts)  # of the continued series
        first, own, last = back.split([wide // 2, x.shape[1], wide // 2], dim=1)
        to_x = grad - own
        to_x[:, 0].sub_(first.sum(1))
        to_x[:, -1].sub_(last.sum(1))
        windows = continued(x, wide // 2).unfold(1, x.shape[1], 1).transpose(2, 3)  # [B, R, L, C]
        sums, counts = [], groups.counts
        for ours, theirs in zip(windows.split(counts), grad.split(counts), strict=True):
            total = ours[0] * theirs[0]
            for window, each in zip(ours[1:], theirs[1:], strict=True):  # one by one: in cache
                total.addcmul_(window, each)
            sums.append(total.sum(1))
        return groups.as_given(to_x), -torch.stack(sums), None

    @staticmethod
    def plain(x: Tensor, kernels: Tensor, *, groups: Groups) -> Tensor:
        x = groups.together(x)
        smooth = _correlated(continued(x, kernels.shape[1] // 2), kernels, groups.counts)
        return groups.as_given(x - smooth)


def _correlated(x: Tensor, kernels: Tensor, counts: list[int]) -> Tensor:
    """Correlate groups of [B, N, C] with their own kernels of [G, R, C]: [B, N - R + 1, C]."""
    each = [_by_channel(*pair) for pair in zip(x.split(counts), kernels, strict=True)]
    return torch.cat(each) if len(each) > 1 else each[0]


def _by_channel(x: Tensor, kernel: Tensor) -> Tensor:
    """Correlate every channel of [B, N, C] with its own column of [R, C]: [B, N - R + 1, C]."""
    image, taps = x.transpose(1, 2).unsqueeze(2), kernel.t()[:, None, None]
    return functional.conv2d(image, taps, groups=len(taps)).squeeze(2).transpose(1, 2)


def unsmoothed_by_mixture(x: Tensor, kernels: Tensor, shares: Tensor) -> Tensor:
    """Series [B, L, C] less its correlation with centred kernels, mixed for each sample.

    Parameters
    ----------
    x : [B, L, C]
        Continued with its first and its last value beyond its ends.
    kernels : [G, R, C]
        R is odd.
    shares : [B, G]
        How much of each kernel a sample takes.
    """
    length, reach = x.shape[1], kernels.shape[1] // 2
    if length > DENSE:  # by fast transforms
        from scipy.fft import next_fast_len  # imported where a series is that long

        period = next_fast_len(length + 2 * reach, real=True)
        bins = torch.fft.rfft(continued(x, reach), n=period, dim=1)
        spectra = _shared(torch.fft.rfft(kernels, n=period, dim=1).conj(), shares)
        smooth: Tensor = torch.fft.irfft(bins * spectra, n=period, dim=1)
        return x - smooth[:, :length]
    series, back, taps = _matrices(length, reach, x.dtype, x.device)
    spectra = _shared(torch.matmul(taps, kernels), shares)  # [B, 2F, C]
    bins = torch.bmm(series.expand(len(x), -1, -1), x)
    filtered: Tensor = _Filtered.apply(bins, spectra)  # type: ignore[no-untyped-call]
    return torch.baddbmm(x, back.expand(len(x), -1, -1), filtered)


def _crossed(bins: Tensor, grad: Tensor) -> Tensor:
    """Spectra [B, 2F, C] times the conjugate of others, real parts first."""
    (x_real, x_imag), (real, imag) = bins.chunk(2, 1), grad.chunk(2, 1)
    out = torch.empty_like(bins)
    first, second = out.chunk(2, 1)
    torch.mul(x_real, real, out=first).addcmul_(x_imag, imag)
    torch.mul(x_imag, real, out=second).addcmul_(x_real, imag, value=-1)
    return out


class _Filtered(torch.autograd.Function):
    """Spectra [B, 2F, C] times the conjugate of the kernels' [B, 2F, C].

    The first F rows are real parts, the others imaginary.
    """

    @staticmethod
    def forward(ctx: Any, bins: Tensor, kernels: Tensor) -> Tensor:
        ctx.save_for_backward(bins, kernels)
        return _crossed(bins, kernels)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        bins, kernels = ctx.saved_tensors
        if torch.is_grad_enabled():
            return again(_Filtered.plain, (bins, kernels), ctx.needs_input_grad, grad)
        (k_real, k_imag), (real, imag) = kernels.chunk(2, 1), grad.chunk(2, 1)
        to_bins = torch.empty_like(bins)
        first, second = to_bins.chunk(2, 1)
        torch.mul(k_real, real, out=first).addcmul_(k_imag, imag, value=-1)
        torch.mul(k_imag, real, out=second).addcmul_(k_real, imag)
        return to_bins, _crossed(bins, grad)

    @staticmethod
    def plain(bins: Tensor, kernels: Tensor) -> Tensor:
        (x_real, x_imag), (real, imag) = bins.chunk(2, 1), kernels.chunk(2, 1)
        return torch.cat([x_real * real + x_imag * imag, x_imag * real - x_real * imag], dim=1)


@fixed
def _matrices(
    length: int, reach: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Matrices that take a series to its spectrum, back, and a kernel to its own.

    The series [length] is continued with its ends, `reach` steps each; the spectrum [2F] has real
    parts, then imaginary ones. The way back gives the first `length` steps, with a minus sign.
    The kernel is [2 * reach + 1].
    """
    period = length + 2 * reach
    bins = period // 2 + 1
    turns = torch.arange(bins).unsqueeze(1) * torch.arange(period) % period
    angle = turns.to(torch.float64) * (2.0 * math.pi / period)
    waves = torch.cat([angle.cos(), -angle.sin()])  # [2F, period]
    ends = (torch.arange(period) - reach).clamp(0, length - 1)
    series = waves.new_zeros(2 * bins, length).index_add_(1, ends, waves)
    counts = torch.full((bins, 1), 2.0 / period, dtype=torch.float64)
    counts[0] /= 2
    if period % 2 == 0:
        counts[-1] /= 2
    back = -(waves * counts.repeat(2, 1)).t()[:length]
    taps = waves[:, : 2 * reach + 1]
    placed = (m.to(dtype=dtype, device=device).contiguous() for m in (series, back, taps))
    return next(placed), next(placed), next(placed)


def _shared(each: Tensor, shares: Tensor) -> Tensor:
    """Each sample's mixture of [G, F, C] by its shares [B, G]: [B, F, C]."""
    mixed: Tensor = (shares.to(each.dtype) @ each.flatten(1)).unflatten(1, each.shape[1:])
    return mixed


class MovingAverage(nn.Module):
    """Decomposition by a moving average of odd width with replicated ends."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window

    @in_float32
    def seasonal(self, x: Tensor) -> Tensor:
        """The part of [B, L, C] its moving average leaves."""
        return less_average(x, self.window)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Split [B, L, C] into seasonal part and trend, both [B, L, C]."""
        seasonal = self.seasonal(x)
        return seasonal, x - seasonal


@fixed
def _kernel_entries(
    sizes: tuple[int, ...], entries: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Table entry of every tap of centred kernels as wide as the last: [G * R], and what is none.

    The second tensor [G, R, 1] marks the taps outside a kernel.
    """
    widths = torch.tensor(sizes).unsqueeze(1)
    entry = torch.arange(sizes[-1]) - sizes[-1] // 2 + widths // 2  # [G, R]
    outside = (entry < 0) | (entry >= widths)
    index = entry.clamp(0, entries - 1).flatten()
    return index.to(device), outside.unsqueeze(-1).to(device)


class LearnedAverage(nn.Module):
    """Decomposition by a learned kernel per channel whose size is predicted per sample.

    Kernels reach up to twice 25 steps, or twice `window` where `configured_kernel` is repaired.
    Unless `soft_kernel` is repaired the size is rounded to an odd number outside autograd.
    """

    def __init__(self, channels: int, window: int, repairs: Repairs) -> None:
        super().__init__()
        keep_apart(type(self))
        plain = window if repairs.configured_kernel else PLAIN
        self.widest = max(2 * plain, LEAST)
        entries = max(self.widest, 2 * PLAIN)  # as stored, also where narrower ones are asked for
        table = torch.randn(channels, 1, entries)
        table[..., : entries if repairs.uniform_kernel else plain] = 1.0 / plain
        self.feature_specific_trend_weights = nn.Parameter(table)
        hidden = max(channels // 2, 4)
        self.kernel_predictor = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, 1), nn.Sigmoid()
        )
        self.soft = repairs.soft_kernel

    def sizes(self, x: Tensor) -> Tensor:
        """Unrounded kernel size of each sample of [B, L, C]: [B], from 5 to the widest."""
        share: Tensor = self.kernel_predictor(x.mean(1)).squeeze(-1)
        return share * float(self.widest - LEAST) + LEAST

    def kernels(self, sizes: tuple[int, ...]) -> Tensor:
        """Centred kernels of ascending odd `sizes`: [G, the last, C], zero outside their own."""
        table = self.feature_specific_trend_weights.squeeze(1).t()  # [entries, C]
        index, outside = _kernel_entries(sizes, len(table), table.device)
        logits = table.index_select(0, index).unflatten(0, (len(sizes), -1))
        return torch.softmax(logits.masked_fill(outside, -math.inf), dim=1)

    @apart
    @in_float32
    def seasonal(self, x: Tensor) -> Tensor:
        """The part of [B, L, C] its learned average leaves."""
        most = max(3, min(self.widest, x.shape[1] // 2))
        if self.soft:
            sizes, shares = self._between(x, most)
            return unsmoothed_by_mixture(x, self.kernels(sizes), shares)
        sizes, groups = self._nearest(x, most)
        return unsmoothed(x, self.kernels(sizes), groups)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Split [B, L, C] into seasonal part and trend, both [B, L, C]."""
        seasonal = self.seasonal(x)
        return seasonal, x - seasonal

    def _nearest(self, x: Tensor, most: int) -> tuple[tuple[int, ...], Groups]:
        """Distinct odd sizes, ascending, and the samples that take each."""
        with torch.no_grad():
            whole = self.sizes(x).round().long().clamp(3, most).tolist()
        odd = [size - (size + 1) % 2 for size in whole]
        takers = Counter(odd)
        sizes = tuple(sorted(takers))
        if len(sizes) == 1:
            return sizes, Groups([len(odd)])
        order = torch.tensor(sorted(range(len(odd)), key=odd.__getitem__), device=x.device)
        return sizes, Groups([takers[size] for size in sizes], order)

    def _between(self, x: Tensor, most: int) -> tuple[tuple[int, ...], Tensor]:
        """Distinct odd sizes, ascending, and each sample's shares [B, G] of the two around it."""
        largest = (most - 1) // 2 * 2 + 1
        wanted = self.sizes(x).clamp(3.0, float(largest)).unsqueeze(1)
        below = ((wanted.detach() - 1.0) / 2.0).floor().long().mul(2).add(1).clamp(3, largest)
        above = (below + 2).clamp_max(largest)
        sizes = tuple(sorted({*below.flatten().tolist(), *above.flatten().tolist()}))
        share, all_sizes = (wanted - below) / 2.0, below.new_tensor(sizes)
        return sizes, (1.0 - share) * (below == all_sizes) + share * (above == all_sizes)
