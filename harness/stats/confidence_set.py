"""The model confidence set: the arms that cannot be told apart from the best one.

Shapes: K arms, n origins in time order, B resamples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.stats.longrun import (
    Law,
    block_starts,
    choose_lag,
    circular_means,
    fixed_smoothing,
    generator_of,
)
from harness.window import Array

RESAMPLES = 1000
"""Resamples of every confidence set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One arm in or out of a confidence set.

    Attributes
    ----------
    value
        Mean loss as compared (scaled, not rooted); None where a loss is missing.
    p_value
        Smallest alpha at which the arm is left out; None for an arm that was not judged.
    kept
        In the set.
    reason
        Why the arm was not judged, or with which arm it ties; '' otherwise.
    """

    arm: str
    value: float | None
    p_value: float | None
    kept: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceSet:
    """The arms that hold the best one with a chance of 1 - alpha.

    Attributes
    ----------
    n, block, resamples
        Origins, bootstrap block in origins, resamples; block 0 where nothing was resampled.
    members
        Every arm, the best first, those that were not judged last.
    """

    dataset: str
    metric: str
    alpha: float
    n: int
    block: int
    resamples: int
    members: tuple[Member, ...]

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the arms in the set."""
        return tuple(each.arm for each in self.members if each.kept)


def confidence_set(
    losses: Mapping[str, Array], *, dataset: str, metric: str, overlap: int, alpha: float
) -> ConfidenceSet:
    """Find the arms that cannot be told apart from the best one.

    Parameters
    ----------
    losses
        Arm to its loss per origin [n], all on the same origins. An arm with a loss that is not
        finite is not judged: failing never makes an arm one of the best. Arms with the same
        losses tie, and stand or fall together.
    overlap
        Consecutive origins that share a session.

    Notes
    -----
    Range statistic over all pairs, worst arm out first (Hansen, Lunde and Nason 2011, section
    3.1.2). Circular blocks are as long as the HAC lag of the same differences asks for (the
    bootstrap variance then is the Bartlett one), and statistics are read in the same
    fixed-smoothing law as those of a comparison before they meet the resampled ones.
    """
    whole = {arm: each for arm, each in losses.items() if bool(np.isfinite(each).all())}
    leaders = _leaders(whole)
    unlike = [arm for arm, leader in leaders.items() if arm == leader]
    series = np.stack([whole[arm] for arm in unlike]) if unlike else np.zeros((0, 0))
    count = len(next(iter(losses.values()))) if losses else 0
    judged = count > 1 and len(unlike) > 1
    law = _law(series, overlap) if judged else None
    p_values = _p_values(series, law) if law else np.ones(len(unlike))
    chance = dict(zip(unlike, p_values.tolist(), strict=True))
    found = [
        _member(arm, each, leaders, chance[leaders[arm]] if arm in leaders else None, alpha)
        for arm, each in losses.items()
    ]
    return ConfidenceSet(
        dataset=dataset,
        metric=metric,
        alpha=alpha,
        n=count,
        block=law.lag + 1 if law else 0,
        resamples=RESAMPLES if law else 0,
        members=tuple(sorted(found, key=_rank)),
    )


def eliminate(difference: Array, drawn: Array) -> Array:
    """P-values [K] of the arms, the worst left out first.

    Parameters
    ----------
    difference : [K, K]
        Standardised mean differences, row minus column: large in row i where i is worse.
    drawn : [B, K, K]
        The same of each resample, about its expectation.

    Returns
    -------
    [K]
        The largest p-value up to the step in which the arm left; 1 for the last one.
    """
    p_values = np.ones(len(difference))
    left = list(range(len(difference)))
    least = 0.0
    while len(left) > 1:
        among = np.ix_(left, left)
        worst, _ = divmod(int(np.argmax(difference[among])), len(left))
        largest = drawn[:, left][:, :, left].max(axis=(1, 2))
        least = max(least, float(np.mean(difference[among].max() < largest)))
        p_values[left.pop(worst)] = least
    return p_values


def standardised(series: Array, block: int, starts: npt.NDArray[np.int64]) -> tuple[Array, Array]:
    """Mean differences of all pairs [K, K] and their resamples [B, K, K] over bootstrap errors.

    A difference without variance is infinite, or 0 where there is none.
    """
    means = series.mean(axis=1)
    about = circular_means(series, starts, block) - means[:, None]  # [K, B]
    drawn = (about[:, None] - about[None]).transpose(2, 0, 1)
    error = np.sqrt(np.mean(drawn**2, axis=0))
    difference = means[:, None] - means[None]
    exact = error <= 1e-13 * float(np.abs(means).max())
    safe = np.where(exact, 1.0, error)
    certain = np.where(difference == 0, 0.0, np.copysign(np.inf, difference))
    return np.where(exact, certain, difference / safe), np.where(exact, 0.0, drawn / safe)


def _leaders(whole: Mapping[str, Array]) -> dict[str, str]:
    """Each arm to the first arm with the same losses, itself as a rule."""
    first: dict[bytes, str] = {}
    return {arm: first.setdefault(each.tobytes(), arm) for arm, each in whole.items()}


def _law(series: Array, overlap: int) -> Law:
    """The law of the pair of arms that needs the longest lag."""
    centre = series.mean(axis=0)
    lag = max(choose_lag(each - centre, overlap) for each in series)
    return fixed_smoothing(series.shape[1], lag, overlap)


def _p_values(series: Array, law: Law) -> Array:
    block = law.lag + 1
    starts = block_starts(law.n, block, RESAMPLES, generator_of(*series))
    difference, drawn = standardised(series, block, starts)
    return eliminate(law.deviate(difference), drawn)


def _member(
    arm: str, losses: Array, leaders: Mapping[str, str], p_value: float | None, alpha: float
) -> Member:
    if p_value is None:
        holes = int((~np.isfinite(losses)).sum())
        reason = f"{holes} of {len(losses)} losses have no number"
        return Member(arm=arm, value=None, p_value=None, kept=False, reason=reason)
    leader = leaders[arm]
    return Member(
        arm=arm,
        value=float(losses.mean()) if len(losses) else None,
        p_value=p_value,
        kept=p_value > alpha,
        reason="" if arm == leader else f"ties with {leader}",
    )


def _rank(member: Member) -> tuple[float, float, str]:
    return (
        1.0 if member.p_value is None else -member.p_value,
        math.inf if member.value is None else member.value,
        member.arm,
    )
