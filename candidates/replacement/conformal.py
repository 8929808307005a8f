"""Split-conformal calibration: how far intervals must be stretched to have covered what they say.

For a pair of levels a and 1 - a, the miss of one truth is its distance from the median over the
distance of that side's quantile. The pair is stretched around the median, on both sides, by the
miss that the share (1 - 2a)(1 + 1/n) of all misses does not exceed, over all steps of n
calibration windows; shares above 1 take the largest. The median stays. A stretch of 1 is right.

Overlapping windows are worth fewer than n, so that small tails stay uncertain.

Shapes: n calibration windows, W windows, H steps, Q levels.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.window import Array


def stretches(quantiles: Array, truth: Array, levels: Array) -> Array:
    """Stretch [Q] of each level.

    Parameters
    ----------
    quantiles : [n, H, Q]
        Not decreasing along the last axis; the level 0.5 is among them.
    truth : [n, H]
        NaN is left out.
    levels : [Q]

    Returns
    -------
    [Q]
        1 for the median and for a level whose counterpart is missing.

    Raises
    ------
    ValueError
        When there is no median or no truth.
    """
    middle = np.flatnonzero(np.isclose(levels, 0.5))
    if not len(middle) or not np.isfinite(truth).any():
        raise ValueError("calibration needs the level 0.5 and at least one finite truth")
    median, found = quantiles[..., middle[0]], np.ones(len(levels))
    windows = int(np.isfinite(truth).any(axis=1).sum())
    for low, high in _pairs(levels):
        misses = _misses(
            truth - median, median - quantiles[..., low], quantiles[..., high] - median
        )
        share = min(1.0, (levels[high] - levels[low]) * (1.0 + 1.0 / windows))
        finite = np.sort(misses[~np.isnan(misses)])
        rank = max(1, int(np.ceil(share * len(finite) - 1e-9)))
        found[[low, high]] = min(finite[rank - 1], finite[np.isfinite(finite)].max(initial=1.0))
    return found


def stretched(quantiles: Array, levels: Array, by: Array) -> Array:
    """Quantiles [W, H, Q] at their new distances from the median, in order."""
    middle = int(np.flatnonzero(np.isclose(levels, 0.5))[0])
    median = quantiles[..., middle : middle + 1]
    return np.sort(median + by * (quantiles - median), axis=-1)


def _misses(error: Array, below: Array, above: Array) -> Array:
    """Distance of the truth over that of the quantile on its side; 0 / 0 is 0."""
    reach = np.where(error < 0, below, above)
    with np.errstate(divide="ignore", invalid="ignore"):
        misses = np.abs(error) / reach
    return np.where((error == 0) & (reach == 0), 0.0, misses)


def _pairs(levels: Array) -> Iterator[tuple[int, int]]:
    """Places of levels a < 0.5 and 1 - a."""
    for low, level in enumerate(levels.tolist()):
        high = np.flatnonzero(np.isclose(levels, 1.0 - level, rtol=0, atol=1e-9))
        if level < 0.5 and len(high):
            yield low, int(high[0])
