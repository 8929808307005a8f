"""A placebo: an arm is asked about a continuation that stands on no disk.

The rows up to a fit go on with blocks of their own returns, each day up or down by chance around
the drift. Volatility, tails and drift are those of the data; what comes next is known to nobody,
also to who finds the block in a file. An arm that is better than the
reference on the data and not at all here may know the data. Or it is good at something that blocks
do not keep, such as how volatility follows volatility over months: so this is only a caution.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from harness.evidence.estimand import loss_of
from harness.judging.reference import AgainstReference, shown_by
from harness.scoring.scores import UnitScores
from harness.window import Series, Windows

WINDOWS = 48
BLOCK = 60
"""Sessions of a block: long enough for a quiet and a wild spell each."""
REMEMBERED = 2500
"""Sessions before the fit that blocks are drawn from."""
LEAST_GAP = 0.05
ERRORS = 3.0
"""A skill on the data is not confirmed where it is higher by so much and by so many errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placebo:
    """Skill by CRPS over the reference, on the data and on the placebo, with intervals.

    Attributes
    ----------
    doubted
        The placebo does not confirm the skill on the data.
    """

    arm: str
    dataset: str
    reference: str
    skill: float | None
    low: float | None
    high: float | None
    placebo: float | None
    placebo_low: float | None
    placebo_high: float | None
    doubted: bool


def continued(
    series: Series, fit_at: int, *, horizon: int, gap: int, seed: int
) -> tuple[Series, Windows] | None:
    """The rows before a fit and a made-up continuation, with windows that do not overlap.

    None where prices are not all above 0, or too few rows lie before the fit.
    """
    start = max(1, fit_at - REMEMBERED)
    target = series.target[:fit_at]
    if fit_at - start < 2 * BLOCK or not (target[start - 1 :] > 0).all():
        return None
    rng, reach = np.random.default_rng(seed), gap + horizon
    count = reach + horizon * (WINDOWS - 1)
    starts = rng.integers(start, fit_at - BLOCK + 1, size=math.ceil(count / BLOCK))
    rows = (starts[:, None] + np.arange(BLOCK)).reshape(-1)[:count]
    returns = np.log(target[rows] / target[rows - 1])
    drift = float(np.log(target[fit_at - 1] / target[start - 1])) / (fit_at - start)
    returns = drift + rng.choice([-1.0, 1.0], size=count) * (returns - drift)
    path = target[-1] * np.exp(np.cumsum(returns))
    past = series.past[rows].copy()
    for column in range(past.shape[1]):
        ratio = series.past[rows, column] / series.target[rows]
        if np.isfinite(ratio).all() and 0.5 < np.median(ratio) < 2:
            past[:, column] = ratio * path
    days = np.busday_offset(
        series.dates[fit_at - 1].astype("datetime64[D]"),
        np.arange(1, count + 1),
        "backward",
        weekmask=series.weekmask,
    )
    made = dataclasses.replace(
        series,
        dates=np.concatenate([series.dates[:fit_at], days.astype(series.dates.dtype)]),
        target=np.concatenate([target, path]),
        past=np.concatenate([series.past[:fit_at], past]),
    )
    origin = fit_at + horizon * np.arange(WINDOWS, dtype=np.int64)
    fitted = np.full_like(origin, fit_at)
    return made, Windows(origin=origin, fitted_at=fitted, horizon=horizon, gap=gap)


def confirmed(
    arm: UnitScores, reference: UnitScores, arm_there: UnitScores, reference_there: UnitScores
) -> Placebo:
    """Hold the skill on the data against the skill on the placebo.

    Parameters
    ----------
    arm, reference
        Scores on the data.
    arm_there, reference_there
        On the placebo.
    """
    estimand = loss_of("crps")
    here = shown_by(estimand, [arm], [reference], alpha=0.05)
    there = shown_by(estimand, [arm_there], [reference_there], alpha=0.05)
    doubted = False
    if here and there and here.skill is not None and there.skill is not None:
        error = math.hypot(_error(here), _error(there))
        gap = here.skill - there.skill
        doubted = here.shown == "better" and gap > max(LEAST_GAP, ERRORS * error)
    return Placebo(
        arm=arm.arm,
        dataset=arm.dataset,
        reference=reference.arm,
        skill=here.skill if here else None,
        low=here.low if here else None,
        high=here.high if here else None,
        placebo=there.skill if there else None,
        placebo_low=there.low if there else None,
        placebo_high=there.high if there else None,
        doubted=doubted,
    )


def _error(found: AgainstReference) -> float:
    """Standard error behind a two-sided interval of 95 %; infinite where there is none."""
    if found.low is None or found.high is None:
        return math.inf
    return (found.high - found.low) / 2 / 1.96
