"""The model confidence set: the arms that cannot be told apart from the best one.

Shapes: K arms, n origins in time order, B resamples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness.stats.longrun import (
    TDistribution,
    block_starts,
    choose_lag,
    circular_means,
    fixed_smoothing,
    generator_of,
    long_run_covariance,
    tied,
)
from harness.window import Array

RESAMPLES = 1000
"""Resamples of every confidence set."""
HOPELESS = 2.0
"""An arm shown to lose with this many times the best one's loss is left out before the others."""
AgainstReference = Literal["judged", "ties", "no_number", "hopeless"]
"""Judged by itself; the same losses as another arm; losses missing; left out beforehand."""


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
    standing
        How it was judged.
    beside
        The arm it ties with, or whose loss a hopeless one has many times; '' otherwise.
    number
        How many losses are missing, or how many times the best one's loss it has; 0 otherwise.
    """

    arm: str
    value: float | None
    p_value: float | None
    kept: bool
    standing: AgainstReference = "judged"
    beside: str = ""
    number: float = 0.0


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
    3.1.2). Each pair has the lag of its own differences, and its statistic is read in its own
    fixed-smoothing law before it meets the resampled ones. Resamples are drawn for all arms
    together, in circular blocks as long as the middle pair asks for and at most half of the sample.
    Arms that are shown to lose with `HOPELESS` times the best one's loss leave first, on their own
    pair with the best one: how they vary says nothing of the others.
    """
    whole = {arm: each for arm, each in losses.items() if bool(np.isfinite(each).all())}
    count = len(next(iter(losses.values()))) if losses else 0
    leaders: dict[str, str] = {}  # each arm to the first with the same losses, as a rule itself
    for arm, each in whole.items():
        same = (first for first in leaders if leaders[first] == first and tied(each, whole[first]))
        leaders[arm] = next(same, arm)
    unlike = [arm for arm, leader in leaders.items() if arm == leader]
    best = min(unlike, key=lambda arm: float(whole[arm].mean()), default="") if count > 1 else ""
    chance = dict.fromkeys(unlike, 1.0)
    hopeless: dict[str, float] = {}
    for arm in unlike if best else ():
        times = float(whole[arm].mean()) / (float(whole[best].mean()) or math.nan)
        if times >= HOPELESS:
            law, statistic = _of_pair(whole[arm] - whole[best], overlap)
            lost = 1 - law.chance_below(statistic)
            if lost <= alpha / (2 * len(unlike)):
                hopeless[arm], chance[arm] = times, lost
    left = [arm for arm in unlike if arm not in hopeless]
    block = 0
    if count > 1 and len(left) > 1:
        p_values, block = _p_values(np.stack([whole[arm] for arm in left]), overlap)
        chance |= dict(zip(left, p_values.tolist(), strict=True))

    def member(arm: str, found: Array) -> Member:
        if arm not in leaders:
            holes = float((~np.isfinite(found)).sum())
            return Member(
                arm=arm, value=None, p_value=None, kept=False, standing="no_number", number=holes
            )
        leader = leaders[arm]
        standing: AgainstReference = "ties" if arm != leader else "judged"
        if leader in hopeless:
            standing = "hopeless"
        return Member(
            arm=arm,
            value=float(found.mean()) if len(found) else None,
            p_value=chance[leader],
            kept=chance[leader] > alpha,
            standing=standing,
            beside={"ties": leader, "hopeless": best}.get(standing, ""),
            number=hopeless.get(leader, 0.0),
        )

    members = [member(arm, each) for arm, each in losses.items()]
    return ConfidenceSet(
        dataset=dataset,
        metric=metric,
        alpha=alpha,
        n=count,
        block=block,
        resamples=RESAMPLES if block else 0,
        members=tuple(sorted(members, key=_rank)),
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


def _of_pair(difference: Array, overlap: int) -> tuple[TDistribution, float]:
    """The law of a pair's own lag, and the t statistic of its mean difference."""
    lag = choose_lag(difference, overlap)
    law = fixed_smoothing(len(difference), lag, overlap)
    error = math.sqrt(float(long_run_covariance(difference[None], lag)[0, 0]) / len(difference))
    mean = float(difference.mean())
    if error <= 1e-13 * abs(mean):
        return law, 0.0 if mean == 0 else math.copysign(math.inf, mean)
    return law, mean / error


def _p_values(series: Array, overlap: int) -> tuple[Array, int]:
    """P-values of arms [K] with series [K, n], and the block they were resampled in."""
    count, n = series.shape
    difference, lags = np.zeros((count, count)), []
    for i, j in combinations(range(count), 2):
        law, statistic = _of_pair(series[i] - series[j], overlap)
        deviate = float(law.deviate(np.array(statistic)))
        difference[i, j], difference[j, i] = deviate, -deviate
        lags.append(law.lag)
    block = max(1, min(n // 2, int(np.median(lags)) + 1))
    starts = block_starts(n, block, RESAMPLES, generator_of(*series))
    return eliminate(difference, standardised(series, block, starts)[1]), block


def _rank(member: Member) -> tuple[float, float, str]:
    return (
        {"no_number": 2.0, "hopeless": 1.0}.get(member.standing, -(member.p_value or 0.0)),
        math.inf if member.value is None else member.value,
        member.arm,
    )
