"""Shares of a long-run variance that a sample of overlapping origins has and finds.

Bartlett weights and the taken-out mean hide a part of the variance, more of it the longer the
overlap. For sums over the overlap of a first-order autoregression that part is known exactly.

Shapes: n origins in time order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from harness.evidence.inference import Law
from harness.window import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Shares of the long-run variance that a sample of n has.

    Attributes
    ----------
    true
        Variance of the mean, times n.
    found
        Its Bartlett estimate, on average.
    freedom
        Degrees of freedom that estimate is worth: twice its squared mean over its variance.
    circular
        What circular blocks one longer than the lag find, on average.
    follows
        Correlation of the estimate with the first-order autocorrelation found in the same sample.
    """

    true: float
    found: float
    freedom: float
    circular: float
    follows: float

    @property
    def stretch(self) -> float:
        """How much longer the error is taken to be than it is, before any factor."""
        return math.sqrt(self.found / self.true)


def shares_of(n: int, lag: int, overlap: int, rho: float) -> Shares:
    """Work out both shares for sums over the overlap of a first-order autoregression.

    `rho` is the first-order autocorrelation of those sums; what autoregression gives it is
    solved for. Expectations are exact, mean taken out.
    """
    covariances = _sums(n, overlap, _levels(overlap, rho))
    beside = np.concatenate([[0.0], np.cumsum(covariances)])  # sums of the first j lags
    rows = np.arange(n)
    with_mean = (beside[rows + 1] + beside[n - rows] - covariances[0]) / n
    weights = np.zeros(n)
    weights[: lag + 1] = 1 - np.arange(lag + 1) / (lag + 1)
    reached = np.concatenate([[0.0], np.cumsum(weights)])
    weight = reached[rows + 1] + reached[n - rows] - 1.0  # row sums of the kernel
    pairs = weights * (n - rows) * covariances
    plain = (2 * float(pairs.sum()) - float(pairs[0])) / n
    true = float(with_mean.mean())
    found = plain - 2 * float(weight @ with_mean) / n + true * float(weight.mean())
    freedom, circular, follows = _ordinates(weights, covariances)
    return Shares(
        true=n * true,
        found=max(1e-3, found),
        freedom=freedom,
        circular=max(1e-3, circular),
        follows=follows,
    )


def _ordinates(weights: Array, covariances: Array) -> tuple[float, float, float]:
    """Freedom, mean, and correlation with the first autocorrelation, of a weighted sum.

    The sum of a sample's independent periodogram ordinates; with the weights of a lag it is the
    variance of circular blocks one longer.
    """
    rows = np.arange(len(weights))
    back = -rows  # the row n - j, by its index from the end
    kernel = weights + np.where(rows > 0, weights[back], 0.0)
    share = rows / len(rows)
    expected = np.fft.fft((1 - share) * covariances + share * covariances[back]).real[1:]
    ordinates = np.fft.fft(kernel).real[1:] * expected
    first = float(covariances[1] / covariances[0])
    turning = (np.cos(2 * math.pi * share[1:]) - first) * expected
    size, total = float(ordinates @ ordinates), float(ordinates.sum())
    if size <= 0:
        return 1.0, 0.0, 0.0
    both = math.sqrt(size * float(turning @ turning))
    follows = float(ordinates @ turning) / both if both > 0 else 0.0
    return max(1.0, total**2 / size), total / len(rows), follows


@lru_cache(maxsize=64)
def _sums(n: int, overlap: int, rho: float) -> Array:
    """Autocovariances 0 .. n - 1 of sums over the overlap, their long-run variance being 1."""
    reach = np.abs(np.arange(1 - overlap, n + overlap - 1))
    weights = overlap - np.abs(np.arange(1 - overlap, overlap))
    found: Array = np.convolve(rho**reach, weights, mode="valid")
    found *= (1 - rho) / ((1 + rho) * overlap**2)
    found.setflags(write=False)
    return found


@lru_cache(maxsize=256)
def _levels(overlap: int, rho: float) -> float:
    """First-order autoregression whose sums over the overlap have the autocorrelation `rho`."""
    low, high = -0.9, 0.97
    for _ in range(30):
        middle = (low + high) / 2
        found = _sums(2, overlap, middle)
        low, high = (middle, high) if found[1] < rho * found[0] else (low, middle)
    return (low + high) / 2


def correlation_found(n: int, overlap: int, rho: float) -> tuple[float, float]:
    """Mean and standard deviation of what `first_order` finds in such a sample.

    The mean is that of the ratio of autocovariances with the sample's mean taken out, to the
    second order (it lies below the ratio of their means: Marriott and Pope 1954), less Kendall's
    bias as `first_order` has it; the deviation is Bartlett's (1946).
    """
    covariances = _sums(n, overlap, _levels(overlap, rho))
    rows = np.arange(n)
    taken = 2 * float((1 - rows / n) @ covariances) / n - float(covariances[0]) / n
    mean = ((1 - 1 / n) * float(covariances[1]) - taken) / (float(covariances[0]) - taken)
    size = covariances / covariances[0]
    both = np.concatenate([size[:0:-1], size])  # at lags 1 - n .. n - 1
    before, at, after, first = both[:-2], both[1:-1], both[2:], float(size[1])
    mean += 2 / n * float((first * at - after) @ at)
    terms = at**2 + after * before - 4 * first * at * before + 2 * first**2 * at**2
    return mean + (1 + 3 * mean) / n, math.sqrt(max(0.0, float(terms.sum())) / n)


def overlap_law(n: int, lag: int, overlap: int) -> Law:
    """Law of a statistic of n origins that share sessions and are independent otherwise."""
    shares = shares_of(n, lag, overlap, (overlap - 1) / overlap)
    return Law(n=n, lag=lag, factor=min(1.0, shares.stretch), freedom=shares.freedom)


def skew_noise(n: int, overlap: int, rho: float, block: int) -> float:
    """Standard deviation of the skewness of circular block sums that have none.

    ``6 / n`` times the sum of their cubed autocorrelations, for a Gaussian sample.
    """
    reach = min(n, 4 * (block + overlap) + 1)
    covariances = _sums(reach + block, overlap, _levels(overlap, rho))
    both = np.concatenate([covariances[:0:-1], covariances])
    triangle = block - np.abs(np.arange(1 - block, block))
    sums = np.convolve(both, triangle, mode="same")
    return math.sqrt(6 / n * float(np.sum((sums / sums.max()) ** 3)))


@lru_cache(maxsize=256)
def true_share(n: int, overlap: int, rho: float) -> float:
    """Variance of the mean of n, times n, over the long-run variance."""
    covariances = _sums(n, overlap, _levels(overlap, rho))
    return 2 * float((1 - np.arange(n) / n) @ covariances) - float(covariances[0])
