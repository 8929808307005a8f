"""The formulas of scores: plain arrays in, plain arrays out.

Shapes: Q levels, M samples; all else is of any shape.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from harness.forecast import LEVELS
from harness.window import Array

Ranks = npt.NDArray[np.intp]
_CELLS = 16384
"""Cells of a piece: three rows of them fit into a second-level cache."""
_ROWS = 512
"""Rows of samples of a piece."""
EVEN = 0.6
"""Samples that vary less than this share of what draws do, at any scale, are not independent."""
_STEPS = np.diff([0.0, *LEVELS, 1.0])
WEIGHTS: Array = (_STEPS[1:] + _STEPS[:-1]) / 2
"""Weights of the common grid: the trapezoid rule over 0 .. 1 for what is 0 at both ends."""
WEIGHTS.flags.writeable = False


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
    for start in range(0, len(actual), _CELLS):
        piece = slice(start, start + _CELLS)
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
    for start in range(0, len(actual), _ROWS):
        piece = slice(start, start + _ROWS)
        drawn = buffer[: len(actual[piece])]
        np.subtract(rows[piece], actual[piece, None], out=drawn)  # the spread is the same
        if not increasing:
            drawn.sort(axis=1)
        spread = np.einsum("nm,m->n", drawn, rank)
        np.abs(drawn, out=drawn)
        found[piece] = np.einsum("nm->n", drawn) / count - spread
    return found.reshape(truth.shape)


def gaussian_crps(truth: Array, mean: Array, deviation: Array) -> Array:
    """CRPS of a normal distribution in closed form, by properscoring.

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
    from properscoring import crps_gaussian

    certain = deviation <= 1e-12 * np.abs(truth - mean)  # also where the quotient overflows
    exact = crps_gaussian(truth, mean, np.where(certain, 1.0, deviation))
    found: Array = np.where(certain, np.abs(truth - mean), exact)
    return found


def look_drawn(samples: Array) -> bool:
    """Whether samples [..., M], in order along the last axis, are spread as independent draws are.

    Where the middle one of three draws that lie m ranks apart each lies between the outer two
    varies from set to set by ``1 / (4 (2 m + 1))``, if draws are dense and whatever they are drawn
    from: they are uniform there (Pyke 1965). By normal, skewed and heavy-tailed sets it is 0.7 to 2
    times as much at every m, by quantiles nothing, by stratified, mirrored and repeated sets, and
    by quantiles that were jittered, less than half at some. Few sets must show it more clearly.
    What `fair_crps` takes for draws and is none scores too well, by about 1 / M.
    """
    rows = samples.reshape(-1, samples.shape[-1])
    rows = rows[np.isfinite(rows).all(axis=1) & (np.ptp(rows, axis=1) > 0)]
    if not len(rows):
        return True
    middles = rows + rows[:, ::-1]
    if float(np.mean(np.ptp(middles, axis=1) <= 1e-6 * np.ptp(rows, axis=1))) > 0.5:
        return False  # mirrored around their middle, however many they are
    apart, least = 1, EVEN - 2 * math.sqrt(2 / len(rows))
    while 2 * apart < rows.shape[1]:
        low, middle, high = rows[:, : -2 * apart], rows[:, apart:-apart], rows[:, 2 * apart :]
        with np.errstate(invalid="ignore"):
            place = np.where(high > low, (middle - low) / (high - low), np.nan)
        varies = np.nanvar(place[:, (high > low).any(axis=0)], axis=0)
        if len(varies) and float(varies.mean()) * 4 * (2 * apart + 1) < least:
            return False
        apart *= 2
    return True


def normal_level(truth: Array, mean: Array, deviation: Array) -> Array:
    """Level of a normal distribution at which each actual lies; a certain hit is at 0.5."""
    from scipy.special import ndtr

    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
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

    counts = np.zeros((2, *truth.shape), dtype=np.int8)  # quantiles below what came, and up to it
    for quantile in quantiles:
        counts[0] += (quantile < truth).view(np.int8)
        counts[1] += (quantile <= truth).view(np.int8)
    below, touching = counts[0].astype(np.intp), (counts[1] - counts[0]).astype(np.intp)
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
