"""Whether an arm's point path is on the scale of the prices at all."""

from __future__ import annotations

import math

import numpy as np

from harness.judging.fact import Fact, FactCode, fact
from harness.scoring.scores import UnitScores
from harness.window import Array

FAR = math.log(2)
"""A path whose middle lies further than this from the last price, in logs, is on another scale."""
UNLIKE = 5.0
"""It lies this many times further from it than the prices themselves went."""


MOST = 0.9
"""Share of the last prices that must be above 0, for a scale to be one."""


def on_another_scale(point: Array, actual: Array, last: Array) -> bool:
    """Whether a point path is nowhere near the prices, as of a network that forgot its scaling.

    Only windows whose last price is above 0 can tell; where too few are, prices have no such scale.

    Parameters
    ----------
    point, actual : [W, H]
    last : [W]
    """
    above = last > 0
    if not len(last) or above.mean() < MOST:
        return False
    seen = last[above, None]
    away, moved = (
        float(np.median(np.abs(np.log(np.maximum(path[above], 1e-300) / seen))))
        for path in (point, actual)
    )
    return away > max(FAR, UNLIKE * moved)


def far_from_prices(unit: UnitScores) -> Fact | None:
    """State that a unit's point path is nowhere near the prices; None where it is near."""
    cells, last = unit.values.get("error"), unit.last[unit.ok]
    if cells is None:
        return None
    actual = unit.truth.values[unit.ok]
    point = actual + cells[unit.ok]
    if not on_another_scale(point, actual, last):
        return None
    return fact(
        FactCode.FAR_FROM_PRICES,
        dataset=unit.dataset,
        arm=unit.arm,
        seed=unit.seed,
        middle=float(np.median(point)),
        last=float(np.median(last)),
    )
