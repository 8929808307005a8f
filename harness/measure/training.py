"""What training an arm costs and how steady it is, from the curves that units keep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.window import Array, Dates, RollingOrigin

_DAYS_PER_YEAR = 365.25


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSummary:
    """Fits of one arm over seeds and refits.

    Attributes
    ----------
    fits
        How many curves.
    diverged
        Share of fits with a loss that is not finite.
    epochs_to_best
        Median epoch of the lowest validation loss; None where no fit has a finite one.
    final_spread
        Highest over lowest last validation loss, over finite fits, less 1; None with fewer than
        two.
    largest_jump
        Largest rise of the validation loss from one epoch to the next, as a share of the loss
        before it; 0 where it never rose, None where no curve has two finite epochs.
    norm_peak
        Largest gradient norm over the median one; None where none is finite.
    """

    fits: int
    diverged: float
    epochs_to_best: float | None
    final_spread: float | None
    largest_jump: float | None
    norm_peak: float | None


def training_summary(curves: Sequence[Mapping[str, Array]]) -> TrainingSummary | None:
    """Summarise curves as `records.read_curve` gives them, one per unit; None where there is none.

    A unit with several refits has the column `fitted_at`; each fit counts on its own.
    """
    fits = [fit for curve in curves for fit in _fits(curve)]
    if not fits:
        return None
    losses = [fit["validation_loss"] for fit in fits]
    bad = [not np.isfinite(np.r_[fit["train_loss"], fit["validation_loss"]]).all() for fit in fits]
    finals = [float(each[-1]) for each in losses if math.isfinite(each[-1])]
    best = [
        float(fit["epoch"][np.nanargmin(fit["validation_loss"])])
        for fit in fits
        if np.isfinite(fit["validation_loss"]).any()
    ]
    norms = np.concatenate([fit["gradient_norm"] for fit in fits])
    norms = norms[np.isfinite(norms)]
    jumps = [jump for each in losses for jump in _jumps(each)]
    return TrainingSummary(
        fits=len(fits),
        diverged=sum(bad) / len(fits),
        epochs_to_best=float(np.median(best)) if best else None,
        final_spread=_spread(finals),
        largest_jump=max(0.0, *jumps) if jumps else None,
        norm_peak=float(norms.max() / np.median(norms)) if norms.any() else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class YearlyFits:
    """Training of one arm over a year of nightly runs under a plan's refit policy."""

    fits: float
    seconds: float


def yearly_fits(
    fit_s: float, plan: RollingOrigin, dates: Dates, *, seeds: int = 1
) -> YearlyFits | None:
    """What fitting costs in a year; None where the plan fits once only.

    Parameters
    ----------
    fit_s
        Seconds of one fit.
    plan
        Fits again every ``refit * stride`` sessions.
    dates : [N]
        Sessions of the data: how many there are in a year.
    seeds
        Networks that are kept in use.
    """
    if plan.refit is None:
        return None
    days = float((dates[-1] - dates[0]) / np.timedelta64(1, "D"))
    sessions = (len(dates) - 1) / days * _DAYS_PER_YEAR
    count = sessions / (plan.refit * plan.stride) * seeds
    return YearlyFits(fits=count, seconds=count * fit_s)


def _fits(curve: Mapping[str, Array]) -> list[dict[str, Array]]:
    if not curve:
        return []
    starts = np.unique(curve["fitted_at"])
    return [
        {name: values[curve["fitted_at"] == start] for name, values in curve.items()}
        for start in starts
    ]


def _jumps(losses: Array) -> list[float]:
    before, after = losses[:-1], losses[1:]
    known = np.isfinite(before) & np.isfinite(after) & (before > 0)
    rises: list[float] = (after[known] / before[known] - 1).tolist()
    return rises


def _spread(finals: Sequence[float]) -> float | None:
    if len(finals) < 2 or min(finals) <= 0:
        return None
    return max(finals) / min(finals) - 1
