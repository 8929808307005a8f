"""What is odd about the numbers of an arm, and must be known with a conclusion."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from harness.experiments.policy import Policy
from harness.judging.fact import Fact, FactCode, fact
from harness.scoring.scores import UnitScores
from harness.window import Array

FAR = math.log(2)
"""A path whose middle lies further than this from the last price, in logs, is on another scale."""
UNLIKE = 5.0
"""It lies this many times further from it than the prices themselves went."""
GAP = 0.02
"""Readings of samples that differ by more are worth a word."""
SOUND_ORIGINS = 20
"""With fewer non-overlapping origins than this, no bound keeps its error rate."""


def oddities(policy: Policy, scores: Sequence[UnitScores]) -> list[Fact]:
    """What is odd about the sides, and about how little evidence the policy asks for.

    A candidate's path on another scale is a broken limit and stands among the findings.
    """
    found: list[Fact] = []
    read: set[tuple[str, str]] = set()
    for unit in scores:
        if unit.arm == policy.baseline and (far := far_from_prices(unit)) is not None:
            found.append(far)
        cell = unit.arm, unit.dataset
        judged = unit.arm in (policy.baseline, policy.candidate)
        if judged and abs(unit.reading_gap) > GAP and cell not in read:  # once for all its seeds
            read.add(cell)
            found.append(
                fact(
                    FactCode.MEMBERS_READ,
                    dataset=unit.dataset,
                    arm=unit.arm,
                    members=unit.members,
                    drawn=unit.drawn,
                    gap=unit.reading_gap,
                )
            )
    few = fact(FactCode.FEW_ORIGINS_ASKED, asked=policy.min_origins, sound=SOUND_ORIGINS)
    return [*found, *([few] if policy.min_origins < SOUND_ORIGINS else [])]


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
