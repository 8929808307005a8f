"""Why a score is what it is: miscalibration, discrimination, uncertainty.

Shapes: n cases (any windows and steps laid end to end), Q levels.

``score = miscalibration - discrimination + uncertainty``. The forecasts are recalibrated by the
best non-decreasing map from forecast to actual that these very cases allow (isotonic regression):
*miscalibration* is what that map gains (0 for a reliable forecast), *discrimination* (resolution)
is what the recalibrated forecasts gain over the one constant forecast that is best for all cases,
and *uncertainty* is that constant's score, the same for every arm. All three are 0 or more. The
map is fitted to the cases it is judged on, so a perfectly reliable forecast shows a small
miscalibration too: compare arms on the same cases, not a number with 0.

Sources: Dimitriadis, Gneiting and Jordan (2021) for the CORP approach; Gneiting and others (2023),
"Model diagnostics and forecast evaluation for quantiles", for quantiles; Arnold, Walz,
Ziegel and Gneiting (2024), "Decompositions of the mean continuous ranked probability score",
for the CRPS as the integral of the quantile decompositions over the levels.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from harness.errors import ForecastError
from harness.forecast import LEVELS
from harness.scoring.kernels import WEIGHTS, pinball_sum
from harness.window import Array

_SLACK = 1e-9
"""Weights below this are rounding."""
_NOTHING = 1e-12
"""Relative differences below this are rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decomposition:
    """A mean score and its parts, in the unit of the data.

    Attributes
    ----------
    score
        ``miscalibration - discrimination + uncertainty``.
    n
        Cases.
    """

    score: float
    miscalibration: float
    discrimination: float
    uncertainty: float
    n: int


def decompose_quantile(truth: Array, quantile: Array, level: float) -> Decomposition:
    """Split the mean pinball loss (with the factor 2) at one level.

    Parameters
    ----------
    truth, quantile : [n]
        Cases with a NaN are refused: leaving them out would change what is split.
    level
        Inside (0, 1).

    Raises
    ------
    ForecastError
        When there is no case, or a NaN among them.
    """
    if truth.shape != quantile.shape or truth.ndim != 1 or not len(truth):
        raise ForecastError(
            f"actuals of shape {truth.shape} and quantiles of shape {quantile.shape}: expected "
            "one of each per case, and a case"
        )
    if not (np.isfinite(truth).all() and np.isfinite(quantile).all()):
        raise ForecastError("a decomposition needs every case: some are not finite")
    recalibrated = isotonic_quantile(quantile, truth, level)
    rank = max(0, int(np.ceil(level * len(truth) - _SLACK)) - 1)
    constant = np.full(truth.shape, np.sort(truth)[rank])  # no other one has a smaller loss
    score, best, uncertainty = (
        float(pinball_sum(truth, [each], np.array([level]), np.ones(1)).mean())
        for each in (quantile, recalibrated, constant)
    )
    return Decomposition(
        score=score,
        miscalibration=score - best,
        discrimination=uncertainty - best,
        uncertainty=uncertainty,
        n=len(truth),
    )


def decompose_crps(
    truth: Array, quantiles: Array, levels: Array = LEVELS, weights: Array = WEIGHTS
) -> Decomposition:
    """Split the mean CRPS of quantile forecasts, level by level.

    Parameters
    ----------
    truth : [n]
    quantiles : [n, Q]
    levels, weights : [Q]
        The common grid and its weights, unless the quantiles are on another.

    Raises
    ------
    ForecastError
        As `decompose_quantile`.
    """
    each = [
        decompose_quantile(truth, column, level)
        for column, level in zip(quantiles.T, levels.tolist(), strict=True)
    ]
    names = ("score", "miscalibration", "discrimination", "uncertainty")
    table = np.array([[getattr(one, name) for name in names] for one in each])  # [Q, 4]
    score, miscalibration, discrimination, uncertainty = (weights @ table).tolist()
    return Decomposition(
        score=score,
        miscalibration=miscalibration,
        discrimination=discrimination,
        uncertainty=uncertainty,
        n=len(truth),
    )


def isotonic_quantile(forecast: Array, truth: Array, level: float) -> Array:
    """The non-decreasing function of the forecast with the least mean pinball loss, [n].

    Equal forecasts get equal values, and so do those that differ by rounding. Exact, in
    O(n log n): the loss up to a case, minimised over all values not above z, is convex and
    piecewise linear in z, and a heap holds where its slope changes.

    Parameters
    ----------
    forecast, truth : [n]
    """
    order = np.argsort(forecast, kind="stable")
    tie = _NOTHING * float(np.abs(forecast).max(initial=0.0))
    starts = np.flatnonzero(np.diff(forecast[order], prepend=-np.inf) > tie)
    ends = [*starts.tolist(), len(truth)]
    actuals = truth[order].tolist()
    bends: list[tuple[float, float]] = []  # (-place, change of slope): the largest place first
    highest = np.array([_add(bends, actuals[a:b], level) for a, b in pairwise(ends)])
    fitted = np.minimum.accumulate(highest[::-1])[::-1]  # no group above those that follow
    found = np.empty(len(truth))
    found[order] = np.repeat(fitted, np.diff(ends))
    return found


def _add(bends: list[tuple[float, float]], actuals: Sequence[float], level: float) -> float:
    """Add the losses of one group; return where the least total loss is reached.

    The slope right of every bend was 0 and is ``k (1 - level)`` now: bends are taken off the right
    until it is 0 again.
    """
    for actual in actuals:
        heapq.heappush(bends, (-actual, 1.0))
    excess = len(actuals) * (1 - level)
    while True:
        place, change = heapq.heappop(bends)
        if change > excess + _SLACK:
            heapq.heappush(bends, (place, change - excess))
            return -place
        excess -= change
        if excess <= _SLACK:
            return -bends[0][0] if bends else -place
