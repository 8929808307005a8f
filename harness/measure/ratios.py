"""Ratios of paired measurements, their intervals, and what identical arms would show.

Shapes: K sets of fresh processes; in each the baseline ran as A and once more as A', and the
candidate as B. Everything is on the scale of natural logarithms: a ratio is a difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.window import Array

_CONFIDENCE = 0.95
CACHE_TOLERANCE = 0.10
"""A repeated input may be this much faster: processor caches are warm."""
_CACHE_ERROR = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A ratio with what is known about it; `None` where one pair tells nothing.

    Attributes
    ----------
    log_se, df
        Of the logarithm; Student's law.
    noise_floor
        How far from 1 identical processes may seem to be, as a share.
    n
        Pairs of processes.
    """

    value: float
    low: float | None
    high: float | None
    log_se: float | None
    df: float | None
    noise_floor: float | None
    n: int


def ratio_of(baseline: Array, candidate: Array, again: Array | None = None) -> Ratio:
    """Candidate over baseline, from one figure per process.

    The interval rests on the spread between sets: two processes of the same arm differ by more
    than the calls within one do (where the loader and the allocator put things). The A/A pairs
    know that their true difference is 0 and lend their degrees of freedom; the variance is the
    larger of the arms' own and the pooled one, and each A/A pair counts half, since it shares A.

    Parameters
    ----------
    baseline, candidate : [K]
        Positive figures of A and B.
    again : [K], optional
        Of A'.
    """
    difference = np.log(candidate) - np.log(baseline)  # [K]
    count, mean = len(difference), float(np.mean(difference))
    if not difference.any() and (again is None or np.array_equal(baseline, again)):
        return _exact(1.0, count)
    if count < 2:
        return Ratio(
            value=math.exp(mean), low=None, high=None, log_se=None, df=None, noise_floor=None, n=1
        )
    own = float(np.var(difference, ddof=1))
    variance, freedom, floor = own, float(count - 1), None
    if again is not None:
        null = np.log(again) - np.log(baseline)  # [K]
        squares = float(np.sum(null**2))
        variance = max(own, (own * (count - 1) + squares) / (2 * count - 1))
        freedom += count / 2
        spread = math.sqrt(squares) / count  # standard error of the mean of `null`
        floor = math.expm1(abs(float(np.mean(null))) + _student(count) * spread)
    error = math.sqrt(variance / count)
    half = _student(freedom) * error
    return Ratio(
        value=math.exp(mean),
        low=math.exp(mean - half),
        high=math.exp(mean + half),
        log_se=error,
        df=freedom,
        noise_floor=floor,
        n=count,
    )


def exact_ratio(baseline: float, candidate: float) -> Ratio:
    """The ratio of two figures that do not vary."""
    return _exact(candidate / baseline, 1)


def _exact(value: float, count: int) -> Ratio:
    return Ratio(value=value, low=value, high=value, log_se=0.0, df=None, noise_floor=None, n=count)


def block_medians(blocks: Sequence[Sequence[float]]) -> float:
    """One figure of a process: the median over turns of each turn's median call."""
    return float(np.median([np.median(block) for block in blocks]))


def paired_level(reference: Sequence[float], others: Sequence[Sequence[float]]) -> list[float]:
    """Figures of processes that took turns, put on the level of the first.

    Parameters
    ----------
    reference
        One figure per round of the first process.
    others
        The same of the others, round by round beside it.

    Returns
    -------
    list
        The first process's median, then each other's: that median times the median over rounds
        of its ratio to the first, so that what moved both in a round cancels.
    """
    first = np.asarray(reference)
    level = float(np.median(first))
    return [level, *(level * float(np.median(np.asarray(each) / first)) for each in others)]


def least_count(share: float) -> int:
    """Samples needed to state a percentile: 29 for 0.9, 299 for 0.99.

    With fewer, the largest sample may lie below the percentile with a chance of more than 5 %.
    """
    return math.ceil(math.log(1 - _CONFIDENCE) / math.log(share))


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Of single calls; None where there are too few to state one."""

    p50: float | None
    p90: float | None
    p99: float | None


def percentiles(seconds: Sequence[float]) -> Percentiles:
    """The median, p90 and p99 of single calls."""

    def stated(share: float) -> float | None:
        return float(np.quantile(seconds, share)) if len(seconds) >= least_count(share) else None

    return Percentiles(p50=stated(0.5), p90=stated(0.9), p99=stated(0.99))


def repeats_are_faster(fresh: Sequence[float], again: Sequence[float]) -> tuple[bool, float]:
    """Whether repeated inputs are answered faster than new ones, and the median ratio.

    The bound is that of the median by order statistics, one-sided at 1 in 1000: no law of the
    times is assumed, and single interruptions do not matter.
    """
    from scipy.stats import binom

    logs = np.sort(np.log(again) - np.log(fresh))
    rank = int(binom.isf(_CACHE_ERROR, len(logs), 0.5))  # below the median by no more chance
    faster = rank < len(logs) and bool(logs[rank] < math.log(1 - CACHE_TOLERANCE))
    return faster, math.exp(float(np.median(logs)))


def _student(freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + _CONFIDENCE) / 2))
