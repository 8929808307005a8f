"""Inner loops of scoring: whole arrays at once, in pieces that stay in the processor's cache.

Shapes: N cells (windows x steps), M samples, Q levels. Every cell is worked on alone and in the
same order of operations, so a score does not depend, to the last bit, on what stands beside it:
sums of products are written out rather than left to a matrix library.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from harness.window import Array

Ranks = npt.NDArray[np.intp]
_CELLS = 16384
"""Cells of a piece: three rows of them fit into a second-level cache."""
_ROWS = 512
"""Rows of samples of a piece."""


def pinball_sum(
    truth: Array, quantiles: Sequence[Array] | Array, levels: Array, weights: Array
) -> Array:
    """Weighted sum over levels of twice the pinball loss.

    ``sum over u of w_u 2 max(u d, (u - 1) d)`` with d = y - q_u. The factor 2 makes it the
    absolute error at the median, and the CRPS when integrated over u.

    Parameters
    ----------
    truth : [...]
    quantiles : [Q, ...]
    levels, weights : [Q]

    Returns
    -------
    [...]
        NaN where the truth or a quantile is NaN.
    """
    actual = np.ascontiguousarray(truth).reshape(-1)
    rows = [np.ascontiguousarray(row).reshape(-1) for row in quantiles]
    total = np.zeros(len(actual))
    above, below = np.empty(_CELLS), np.empty(_CELLS)
    factors = list(zip(rows, (2 * weights * levels).tolist(), (2 * weights).tolist(), strict=True))
    for piece in _pieces(len(actual), _CELLS):
        y, out = actual[piece], total[piece]
        up, down = above[: len(y)], below[: len(y)]
        for row, over, whole in factors:
            np.subtract(y, row[piece], out=down)
            np.multiply(down, over, out=up)
            np.multiply(down, over - whole, out=down)
            np.maximum(up, down, out=up)
            np.add(out, up, out=out)
    return total.reshape(truth.shape)


def fair_crps(truth: Array, samples: Array, *, increasing: bool = False) -> Array:
    """Fair CRPS of samples.

    ``mean |x_i - y| - 1 / (M (M - 1)) sum over i of (2 i - M - 1) x_(i)``, i from 1: the second
    term is half the mean distance of two different samples. Without bias at any M of 2 or more.
    Source: Zamo and Naveau (2018), section 3 (the PWM form).

    Parameters
    ----------
    truth : [...]
    samples : [..., M]
    increasing
        The samples are in order already, so they need not be sorted.

    Returns
    -------
    [...]
        NaN where the truth or a sample is NaN.
    """
    count = samples.shape[-1]
    actual = np.ascontiguousarray(truth).reshape(-1)
    rows = samples.reshape(-1, count)
    rank = (2 * np.arange(count) - (count - 1)) / (count * (count - 1))
    found = np.empty(len(actual))
    buffer = np.empty((_ROWS, count))
    for piece in _pieces(len(actual), _ROWS):
        drawn = buffer[: piece.stop - piece.start]
        np.subtract(rows[piece], actual[piece, None], out=drawn)  # the spread is the same
        if not increasing:
            drawn.sort(axis=1)
        spread = np.einsum("nm,m->n", drawn, rank)
        np.abs(drawn, out=drawn)
        found[piece] = np.einsum("nm->n", drawn) / count - spread
    return found.reshape(truth.shape)


def gaussian_crps(truth: Array, mean: Array, deviation: Array) -> Array:
    """CRPS of a normal distribution in closed form.

    ``s (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi))`` with z = (y - m) / s; the distance from the
    mean where s is 0. Source: Gneiting, Raftery, Westveld and Goldman (2005).

    Parameters
    ----------
    truth, mean, deviation : [...]

    Returns
    -------
    [...]
        NaN where one of them is NaN.
    """
    from scipy.special import ndtr

    distance = truth - mean
    score = distance / np.where(deviation == 0, 1.0, deviation)
    density = np.exp(-(score**2) / 2) / np.sqrt(2 * np.pi)
    exact = deviation * (score * (2 * ndtr(score) - 1) + 2 * density - 1 / np.sqrt(np.pi))
    found: Array = np.where(deviation == 0, np.abs(distance), exact)
    return found


def normal_level(truth: Array, mean: Array, deviation: Array) -> Array:
    """Level of a normal distribution at which each actual lies; a certain hit is at 0.5."""
    from scipy.special import ndtr

    with np.errstate(divide="ignore", invalid="ignore"):
        level: Array = ndtr((truth - mean) / deviation)
    return np.where((deviation == 0) & (truth == mean), 0.5, level)


def level_of(truth: Array, quantiles: Array, levels: Array) -> Array:
    """Level at which each actual lies among quantiles: the inverse of `forecast.quantiles_at`.

    Between two quantiles by a straight line on the scale of standard normal scores, beyond the
    outermost by that line going on. Quantiles that coincide at the actual give the middle of
    their levels.

    Parameters
    ----------
    truth : [...]
    quantiles : [Q, ...]
        Not decreasing along the first axis.
    levels : [Q]
    """
    from scipy.special import ndtr, ndtri

    below, touching = _rank(truth, quantiles)
    left = np.clip(below - 1, 0, len(levels) - 2)
    place = left * left.size + np.arange(left.size).reshape(left.shape)  # in the flat [Q, ...]
    low = quantiles.take(place)
    score = ndtri(levels)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (truth - low) / (quantiles.take(place + left.size) - low)
        level: Array = ndtr(score[left] + share * np.diff(score)[left])
    first, last = below[touching > 0], (below + touching - 1)[touching > 0]
    level[touching > 0] = (levels[first] + levels[last]) / 2
    return level


def quantiles_of_samples(samples: Array, levels: Array) -> tuple[Array, int]:
    """Quantiles of sorted samples, and how many levels lie beyond the samples.

    The median-unbiased rule: level u lies at rank ``(M + 1/3) u + 1/3``, with straight lines
    between ranks; beyond the outermost sample that sample is repeated. Source: Hyndman and Fan
    (1996), definition 8.

    Parameters
    ----------
    samples : [W, H, M]
    levels : [Q]

    Returns
    -------
    [Q, W, H] and a count
    """
    count = samples.shape[-1]
    rank = (count + 1 / 3) * levels + 1 / 3 - 1  # from 0
    inside = np.clip(rank, 0, count - 1)
    left = np.minimum(inside.astype(np.int64), count - 2)
    share = inside - left
    rows = samples.reshape(-1, count)
    found = np.empty((len(levels), len(rows)))
    for piece in _pieces(len(rows), _ROWS):
        drawn = rows[piece]
        low, high = drawn[:, left], drawn[:, left + 1]  # [n, Q]
        found[:, piece] = (low * (1 - share) + high * share).T
    return found.reshape(len(levels), *samples.shape[:-1]), int(np.sum(rank != inside))


def _rank(truth: Array, quantiles: Array) -> tuple[Ranks, Ranks]:
    """How many quantiles lie below what came, and how many coincide with it: [...] each."""
    below = np.zeros(truth.shape, dtype=np.int8)
    reached = np.zeros(truth.shape, dtype=np.int8)
    for quantile in quantiles:
        below += (quantile < truth).view(np.int8)
        reached += (quantile <= truth).view(np.int8)
    return below.astype(np.intp), (reached - below).astype(np.intp)


def _pieces(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
