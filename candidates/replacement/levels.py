"""Quantiles in order, at other levels, and stretched until they cover what they say.

Between neighbouring levels quantiles lie on straight lines over standard normal scores; beyond the
outermost two levels the line through these two goes on (`harness.forecast.quantiles_at`). All of
it has gradients.

Split-conformal calibration: for a pair of levels a and 1 - a, the miss of one truth is its
distance from the median over the distance of that side's quantile. The pair is stretched around
the median, on both sides, by the miss that the share (1 - 2a)(1 + 1/n) of all misses does not
exceed, over all steps of n calibration windows; shares above 1 take the largest. The median stays.
A stretch of 1 means the pair was right. Overlapping windows are worth fewer than n, so small tails
stay uncertain.

Shapes: n calibration windows, W windows, H steps, Q levels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from harness.forecast import quantiles_at
from harness.window import Array

NODES = 12
FAR = 1e-3


def ordered(quantiles: Tensor) -> Tensor:
    """Sort along the last axis: crossings are put right, the set of values stays."""
    return quantiles.sort(dim=-1).values


def read_at(quantiles: Tensor, levels: Sequence[float], wanted: Sequence[float]) -> Tensor:
    """Read quantiles [..., q] at other levels, [..., Q], in order whatever they were."""
    if tuple(levels) == tuple(wanted):
        return ordered(quantiles)
    weights = torch.as_tensor(
        _weights(tuple(levels), tuple(wanted)), dtype=quantiles.dtype, device=quantiles.device
    )
    rising = sorted(range(len(wanted)), key=lambda index: wanted[index])
    back = sorted(range(len(wanted)), key=lambda index: rising[index])
    return ordered((ordered(quantiles) @ weights)[..., rising])[..., back]


@lru_cache(maxsize=64)
def _weights(levels: tuple[float, ...], wanted: tuple[float, ...]) -> np.ndarray:
    """Weights [q, Q] of that linear map: what it makes of unit vectors."""
    return quantiles_at(np.eye(len(levels)), np.array(levels), np.array(wanted))


def beyond(levels: Sequence[float], wanted: Sequence[float]) -> tuple[float, ...]:
    """Which of `wanted` lie outside the range of `levels`; none where there are no levels."""
    if not levels:
        return ()
    low, high = min(levels) - 1e-9, max(levels) + 1e-9
    return tuple(level for level in wanted if not low <= level <= high)


def draws_for(wanted: Sequence[float]) -> int:
    """Sample paths the outermost level needs: two are expected beyond it.

    Levels further out than `FAR` are read from what the others need.
    """
    tails = [min(level, 1.0 - level) for level in wanted]
    return math.ceil(2.0 / min([tail for tail in tails if tail >= FAR] or [0.5]) - 1e-9)


@lru_cache(maxsize=1)
def node_levels() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Levels and weights that give the mean and variance of a distribution from its quantiles.

    Gauss-Hermite nodes on the scale of normal scores: exact for a normal distribution.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    levels = [0.5 * math.erfc(-node / math.sqrt(2.0)) for node in nodes.tolist()]
    return tuple(levels), tuple((weights / weights.sum()).tolist())


def spread(at_nodes: Tensor) -> Tensor:
    """Standard deviation [...] from the quantiles [..., NODES] at `node_levels`."""
    weights = torch.tensor(node_levels()[1], dtype=at_nodes.dtype, device=at_nodes.device)
    mean = (at_nodes * weights).sum(-1, keepdim=True)
    variance = ((at_nodes - mean).square() * weights).sum(-1)
    positive = variance > 0  # the square root has no gradient at 0
    return torch.where(positive, torch.where(positive, variance, 1.0).sqrt(), 0.0)


def pinball(quantiles: Tensor, truth: Tensor, levels: Sequence[float]) -> Tensor:
    """Mean of max(q e, (q - 1) e), e = truth - quantile; NaN in the truth is left out.

    Parameters
    ----------
    quantiles : [..., q]
    truth : [...]
    levels : [q]
    """
    share = torch.tensor(levels, dtype=quantiles.dtype, device=quantiles.device)
    error = truth.unsqueeze(-1) - quantiles
    return torch.maximum(share * error, (share - 1.0) * error).nanmean()


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
    for low, level in enumerate(levels.tolist()):
        across = np.flatnonzero(np.isclose(levels, 1.0 - level, rtol=0, atol=1e-9))
        if level >= 0.5 or not len(across):
            continue
        high = int(across[0])
        # distance of the truth over that of the quantile on its side; 0 / 0 is 0
        error = truth - median
        reach = np.where(error < 0, median - quantiles[..., low], quantiles[..., high] - median)
        with np.errstate(divide="ignore", invalid="ignore"):
            misses = np.abs(error) / reach
        misses = np.where((error == 0) & (reach == 0), 0.0, misses)
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
