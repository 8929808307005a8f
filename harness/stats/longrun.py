"""The numerics of intervals: long-run variance, bounds of a ratio, block bootstrap.

Shapes: n origins in time order, K series, B resamples. Nothing here knows of arms or policies.

The test and the interval are one thing. For a ratio r the differences ``c - r l`` are tested by
Diebold-Mariano with a Bartlett long-run variance; the interval is the set of all r that the test
does not reject (Fieller), in closed form because that variance is a quadratic in r.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from harness.window import Array, Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class TDistribution:
    """The law a t statistic with a Bartlett long-run variance is read in.

    Attributes
    ----------
    n, lag
        Observations, and the lag: autocovariance j has the weight ``1 - j / (lag + 1)``.
    factor
        Multiplies the statistic before it is read.
    freedom
        Degrees of freedom of Student's law.
    """

    n: int
    lag: int
    factor: float
    freedom: float

    def stretched(self, by: float) -> TDistribution:
        """The same where the error is so many times as long as it is taken to be."""
        return self if by == 1.0 else dataclasses.replace(self, factor=self.factor / by)

    def critical(self, tail: float) -> float:
        """Find the size of the unmultiplied statistic that is exceeded with chance `tail`."""
        from scipy.special import stdtrit

        return float(stdtrit(self.freedom, 1 - tail)) / self.factor

    def chance_below(self, statistic: float) -> float:
        """Chance of a smaller statistic where there is no difference."""
        from scipy.special import stdtr

        if math.isinf(statistic):
            return float(statistic > 0)
        return float(stdtr(self.freedom, self.factor * statistic))

    def deviate(self, statistics: Array) -> Array:
        """Find the standard normal deviates that are as rare as unmultiplied statistics."""
        from scipy.special import ndtri, stdtr

        tail = stdtr(self.freedom, -self.factor * np.abs(statistics))
        deviates: Array = np.copysign(ndtri(np.maximum(tail, 1e-300)), statistics)
        return deviates


def constant(series: Array) -> bool:
    """Whether numbers [n] vary by no more than roundings of their size do."""
    if not series.size:
        return True
    return float(np.ptp(series)) <= 1e-12 * float(np.abs(series).max())


TIE = 1e-9
"""A difference below this share of the loss is none: roundings make it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanRatio:
    """The ratio of two means as its excess over 1, with the long-run covariance it rests on.

    Everything is centred at the estimate, so that two sides which differ by a billionth of their
    size have an interval as right as any other: with e = numerator - ratio * denominator, the
    difference at another ratio is ``e - (other - ratio) * denominator``.

    Attributes
    ----------
    above, below
        Means of numerator and denominator.
    excess
        Ratio of the means less 1, from the mean of the differences; NaN where `below` is 0.
    covariance : [2, 2]
        Long-run covariance of e and the denominator.
    law
        How the statistic is read.
    """

    above: float
    below: float
    excess: float
    covariance: Array
    law: TDistribution

    @property
    def ratio(self) -> float:
        """The ratio itself; NaN where the denominator is 0."""
        return 1.0 + self.excess

    def variance(self, excess: float) -> float:
        """Long-run variance of ``numerator - (1 + excess) * denominator``."""
        contrast = np.array([1.0, -(excess - self._centre)])
        return max(0.0, float(contrast @ self.covariance @ contrast))

    @property
    def _centre(self) -> float:
        return self.excess if self.below else 0.0

    def statistic(self, excess: float) -> float:
        """Student statistic of "the ratio is 1 + `excess`"; infinite where there is no variance."""
        rest = 0.0 if self.below else self.above
        distance = rest - (excess - self._centre) * self.below
        return self._against(distance, self.variance(excess))

    def _against(self, distance: float, variance: float) -> float:
        """Student statistic of a mean with a long-run variance."""
        error = math.sqrt(variance / self.law.n)
        size = max(abs(self.above), abs(self.below))
        if error <= 1e-16 * size:
            return 0.0 if abs(distance) <= 1e-14 * size else math.copysign(math.inf, distance)
        return distance / error

    def bounds(self, tail: float) -> tuple[float | None, float | None]:
        """Find both one-sided bounds of the excess, error rate `tail`; None where there is none.

        The roots of ``(d below)^2 = t^2 variance(excess + d) / n``. Where the same test does not
        tell the denominator's mean from 0, no ratio is too large; the ratio of two means that are
        not negative still has a lower bound if that of the numerator is told from 0. Source:
        Fieller (1954).
        """
        if not self.below:
            return None, None
        spread = self.law.critical(tail) ** 2 * self.covariance / self.law.n
        square, half, own = self.below**2 - spread[1, 1], -spread[0, 1], spread[0, 0]
        root = math.sqrt(max(0.0, half**2 + square * own))
        if square > 0:
            ends = (half - root) / square, (half + root) / square
            return float(self.excess + ends[0]), float(self.excess + ends[1])
        if half > 0 and self.ratio > 0 and square * self.ratio**2 + 2 * half * self.ratio > own:
            return float(self.excess - own / (half + root)), None
        return None, None

    def chance_above(self, excess: float) -> float:
        """P-value of "the ratio is 1 + `excess` or larger": the largest of any such ratio.

        It is that of the smallest of them or, where this is larger, that of a denominator of mean
        0; below an error rate exactly where the upper bound is below the excess.
        """
        level = self._against(self.below, max(0.0, float(self.covariance[1, 1])))
        return max(self.law.chance_below(self.statistic(excess)), self.law.chance_below(-level))

    def chance_below(self, excess: float) -> float:
        """P-value of "the ratio is 1 + `excess` or smaller, and not negative": the largest.

        It is that of the largest of them or, where this is larger, that of the ratio 0; below an
        error rate exactly where the lower bound is above the excess.
        """
        ends = self.statistic(excess), self.statistic(min(excess, -1.0))
        return max(self.law.chance_below(-each) for each in ends)


def long_run_covariance(series: Array, lag: int) -> Array:
    """Bartlett (Newey-West) long-run covariance [K, K] of series [K, n].

    ``G_0 + sum over j of (1 - j / (lag + 1)) (G_j + G_j')``, autocovariances with divisor n and
    the sample means taken out; never negative definite. Source: Newey and West (1987).

    That is the mean square of all sums of ``lag + 1`` neighbours, with nothing before the first
    and after the last, over ``lag + 1``.
    """
    size, count = series.shape
    width = lag + 1
    centred = series - series.sum(axis=1, keepdims=True) / count
    sums = np.zeros((size, count + 2 * width - 1))
    np.cumsum(centred, axis=1, out=sums[:, width : width + count])
    sums[:, width + count :] = sums[:, width + count - 1, None]
    windows = sums[:, width:] - sums[:, : count + width - 1]
    covariance: Array = windows @ windows.T / (width * count)
    return covariance


def least_lag(n: int, overlap: int) -> int:
    """The rule of statsmodels' `diebold_mariano_test`: ``max(overlap - 1, ceil(n^(1/3)))``."""
    return max(overlap - 1, math.ceil(float(n ** (1 / 3))))


def choose_lag(difference: Array, overlap: int) -> int:
    """Choose the Bartlett lag for differences [n], of which `overlap` neighbours share a session.

    The largest of: `least_lag`; three times the overlap (at the overlap itself the Bartlett
    weights see two thirds of the variance of overlapping sums); ``1.3 sqrt(n)`` (Lazarus, Lewis,
    Stock and Watson 2018, meant for fixed-smoothing laws); and Andrews' (1991) plug-in for the
    first-order autocorrelation found, less Kendall's bias. That plug-in makes the variance's
    squared error small; a test that keeps its level needs more (Sun, Phillips and Jin 2008), here
    2.5 times as much without overlap and less with it, where the autocorrelation is the
    overlap's. At most n - 1.
    """
    return lag_for(len(difference), overlap, first_order(difference))


def lag_for(n: int, overlap: int, rho: float) -> int:
    """Lag of `choose_lag` for n origins with the first-order autocorrelation `rho`."""
    rules = (
        least_lag(n, overlap),
        3 * overlap - 1 if overlap > 1 else 0,
        math.ceil(1.3 * math.sqrt(n)),
        math.ceil(max(1.25, 2.5 / math.sqrt(overlap)) * _plug_in(n, rho)),
    )
    return max(0, min(n - 1, max(rules)))


def first_order(difference: Array) -> float:
    """First-order autocorrelation of [n] less Kendall's bias; 0 without variance."""
    count = len(difference)
    centred = difference - difference.sum() / count
    size = float(centred @ centred)
    if size == 0.0:
        return 0.0
    found = float(centred[1:] @ centred[:-1]) / size
    return min(1.0, max(-1.0, found + (1 + 3 * found) / count))


def _plug_in(n: int, rho: float) -> float:
    """Andrews' bandwidth for a Bartlett window, ``1.1447 (a n)^(1/3)``, for a first-order model."""
    rho = min(0.97, max(-0.97, rho))
    strength = 4 * rho**2 / (1 - rho**2) ** 2
    return 1.1447 * float((strength * n) ** (1 / 3))


def automatic_block(n: int, rho: float) -> float:
    """What `optimal_block` comes to for a first-order model: Andrews' bandwidth, at least 1."""
    return max(1.0, _plug_in(n, rho))


def fixed_smoothing(n: int, lag: int, overlap: int) -> TDistribution:
    """Law of the t statistic when the lag is a real share of the sample.

    With ``b = (lag + 1) / n`` the Bartlett estimate is too small by ``1 - b + b^2 / 3`` on
    average and is worth ``3 / (2 b)`` degrees of freedom: a Student law that follows the
    fixed-smoothing critical values of Kiefer and Vogelsang (2005) within 1.5 % for b up to 0.2
    and is wider beyond. The factor of Harvey, Leybourne and Newbold (1997) is used where it is
    the smaller one. Source of the moments: Sun (2014), section 3.
    """
    fixed, small = math.sqrt(bartlett_share(n, lag)), _harvey(n, overlap)
    factor = min(fixed, small) if small > 0 else fixed
    return TDistribution(
        n=n, lag=lag, factor=factor, freedom=min(float(n - 1), 1.5 * n / (lag + 1))
    )


def tail_safe(law: TDistribution, overlap: int, rho: float) -> TDistribution:
    """The same law, safe far out in its tails where neighbours resemble each other.

    White noise is what `fixed_smoothing` works with. What a Bartlett estimate misses of a
    first-order autoregression, and the fewer degrees of freedom it is worth there, matter little at
    5 % and much at the small levels of early looks; both are exact for the autocorrelation found.
    """
    shares = shares_of(law.n, law.lag, overlap, min(0.95, max(0.0, rho)))
    return dataclasses.replace(
        law, factor=min(law.factor, shares.stretch), freedom=min(law.freedom, shares.freedom)
    )


def bartlett_share(n: int, lag: int) -> float:
    """Share of a long-run variance that its Bartlett estimate finds on average, mean taken out."""
    share = (lag + 1) / n
    return max(1 / 3, 1 - share + share**2 / 3)


def harvey_leybourne_newbold(n: int, lag: int, horizon: int) -> TDistribution:
    """Small-sample law of Harvey, Leybourne and Newbold (1997): Student with n - 1 degrees.

    The factor is ``sqrt((n + 1 - 2 h + h (h - 1) / n) / n)``.
    """
    return TDistribution(n=n, lag=lag, factor=_harvey(n, horizon), freedom=float(n - 1))


def _harvey(n: int, horizon: int) -> float:
    return math.sqrt(max(0.0, n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n)


def wald(moments: Array, law: TDistribution) -> tuple[float | None, float | None]:
    """Test whether all moments [q, n] have mean 0: F statistic and p-value.

    A Wald statistic with a Bartlett covariance, read as Hotelling's with the degrees of freedom
    that covariance is worth; None where they are too few, where a moment does not vary and where
    one follows from the others. Source: Sun (2013), section 4.
    """
    from scipy.special import fdtrc

    size = len(moments)
    rest = law.freedom - size + 1
    if rest <= 0 or any(constant(each) for each in moments):
        return None, None
    covariance = long_run_covariance(moments, law.lag)
    unit = np.sqrt(np.diag(covariance))  # the moments may be of very different sizes
    correlation = covariance / np.outer(unit, unit)
    if np.linalg.cond(correlation) > 1e12:
        return None, None
    mean = moments.mean(axis=1) / unit
    square = law.n * float(mean @ np.linalg.solve(correlation, mean)) * law.factor**2
    statistic = square * rest / (law.freedom * size)
    return statistic, float(fdtrc(size, rest, statistic))


@dataclass(frozen=True, slots=True, kw_only=True)
class DieboldMariano:
    """Test of equal losses: the corrected statistic and its two-sided p-value."""

    statistic: float
    p_value: float


def diebold_mariano(difference: Array, law: TDistribution) -> DieboldMariano | None:
    """Test whether loss differences [n] have mean 0, by their Bartlett long-run variance.

    In the law of `harvey_leybourne_newbold` it is statsmodels' `diebold_mariano_test` with
    ``harvey_adj=True``; with more than a short lag that rejects true nulls in 8 to 17 % of cases at
    5 %, which `fixed_smoothing` does not.

    Returns
    -------
    DieboldMariano or None
        None where the statistic has no value: no variance, or fewer origins than steps.
    """
    count = len(difference)
    if constant(difference) or law.factor == 0:
        return None
    variance = float(long_run_covariance(difference[None], law.lag)[0, 0])
    if variance <= 0:
        return None
    plain = float(difference.mean()) / math.sqrt(variance / count)
    return DieboldMariano(statistic=law.factor * plain, p_value=2 * law.chance_below(-abs(plain)))


def centred(above: Array, below: Array) -> tuple[float, Array]:
    """Excess over 1 of the ratio of two means [n], and ``above - ratio * below`` [n].

    Both come from the differences, which lose no digit however close the sides are. The ratio is 1
    and the excess NaN where the denominator's mean is 0, unless the sides are the same.
    """
    level = float(below.sum()) / len(below)
    apart = above - below
    if not level:
        return math.nan if apart.any() else 0.0, apart
    excess = float(apart.sum()) / len(apart) / level
    around: Array = apart - excess * below
    return excess, around


def tied(above: Array, below: Array) -> bool:
    """Whether two series [n] are nowhere further apart than `TIE` of the second one's mean."""
    largest = float(np.abs(above - below).max(initial=0.0))
    return largest == 0.0 or largest * len(below) <= TIE * float(np.abs(below).sum())


FEW = 60
"""A part of so few origins has no room for a lag beyond its overlap."""


def mean_ratio(
    above: Array, below: Array, overlap: int, *, lag: int | None = None, part: bool = False
) -> MeanRatio:
    """Estimate the ratio of the means of two paired series [n], n of at least 2.

    The lag is chosen from the differences at the estimated ratio unless given, and kept for
    every other ratio.

    Parameters
    ----------
    part
        The origins were picked out of more. Fewer than `FEW` of them get what they support:
        Student's t at the lag of the overlap, whose law is exact for independent sessions.
    """
    excess, around = centred(above, below)
    count = len(above)
    few = part and count < FEW and lag is None
    if few:
        lag = min(overlap, count) - 1
    elif lag is None:
        lag = choose_lag(around, overlap)
    law = overlap_law(count, lag, overlap) if few else fixed_smoothing(count, lag, overlap)
    return MeanRatio(
        above=float(above.sum()) / count,
        below=float(below.sum()) / count,
        excess=excess,
        covariance=long_run_covariance(np.stack([around, below]), lag),
        law=law,
    )


def optimal_block(series: Array) -> float:
    """Block length for the circular bootstrap of a mean, [n] to a length of at least 1.

    Politis and White (2004) with the correction of Patton, Politis and White (2009), as
    `arch.bootstrap.optimal_block_length` has it (column ``circular``); 1 where nothing varies.
    """
    count = len(series)
    centred = series - series.mean()
    if count < 10 or float(centred @ centred) <= 1e-24 * float(series @ series):
        return 1.0
    reach = math.ceil(math.sqrt(count)) + max(5, int(math.log10(count)))
    reach = min(reach, count - 2)
    covariances, correlations = np.zeros(reach + 1), np.zeros(reach + 1)
    for j in range(reach + 1):
        product = float(centred[j:] @ centred[: count - j])
        late, early = centred[j + 1 :], centred[: -(j + 1)]
        size = math.sqrt(float(late @ late) * float(early @ early))
        covariances[j] = product / count
        correlations[j] = abs(product) / size if size > 0 else math.inf
    run, last = max(5, int(math.log10(count))), reach
    least = 2 * math.sqrt(math.log10(count) / count)
    for j in range(run, reach + 1):  # twice the lag after which a run of them is insignificant
        if bool(np.all(correlations[j - run : j] < least)):
            last = min(2 * max(j - run, 1), reach)
            break
    lags = np.arange(1, last + 1)
    weights = np.minimum(1.0, 2 * (1 - lags / len(lags)))
    slope = 2 * float(np.sum(weights * lags * covariances[lags]))
    level = float(covariances[0] + 2 * np.sum(weights * covariances[lags]))
    if level == 0.0:
        return 1.0
    length = float((1.5 * slope**2 / level**2 * count) ** (1 / 3))
    return max(1.0, min(length, math.ceil(min(3 * math.sqrt(count), count / 3))))


def block_starts(n: int, block: int, resamples: int, generator: np.random.Generator) -> Rows:
    """Draw where the blocks of each resample start: [B, blocks], the last one cut to fit n."""
    return generator.integers(n, size=(resamples, -(-n // block)))


def circular_means(series: Array, starts: Rows, block: int) -> Array:
    """Means [K, B] of the circular block resamples of series [K, n] that begin at `starts`.

    Sums of blocks are differences of one cumulative sum, so no resample is ever written out.
    Source: Politis and Romano (1992).
    """
    count = series.shape[1]
    centre = series.mean(axis=1, keepdims=True)
    around = np.concatenate([series, series[:, :block]], axis=1) - centre
    sums = np.concatenate([np.zeros((len(series), 1)), np.cumsum(around, axis=1)], axis=1)
    rest = count - (starts.shape[1] - 1) * block
    whole = sums[:, block : block + count] - sums[:, :count]  # [K, n]: a block from each start
    total = np.stack([each[starts[:, :-1]].sum(axis=1) for each in whole])
    total += sums[:, starts[:, -1] + rest] - sums[:, starts[:, -1]]
    means: Array = total / count + centre
    return means


def generator_of(*series: Array) -> np.random.Generator:
    """Make a generator whose seed is a digest of the numbers it will resample."""
    content = hashlib.sha256()
    for each in series:
        content.update(np.ascontiguousarray(each, dtype="<f8").tobytes())
    return np.random.Generator(np.random.PCG64(int.from_bytes(content.digest()[:16], "big")))


@dataclass(frozen=True, slots=True, kw_only=True)
class VarianceShares:
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


def shares_of(n: int, lag: int, overlap: int, rho: float) -> VarianceShares:
    """Work out both shares for sums over the overlap of a first-order autoregression.

    `rho` is the first-order autocorrelation of those sums; what autoregression gives it is
    solved for. Expectations are exact, mean taken out.
    """
    covariances = _sums(n, overlap, _levels(overlap, rho))
    true, found = bartlett_expected(covariances, lag)
    freedom, circular, follows = _ordinates(bartlett_weights(n, lag), covariances)
    return VarianceShares(
        true=true,
        found=max(1e-3, found),
        freedom=freedom,
        circular=max(1e-3, circular),
        follows=follows,
    )


def bartlett_weights(n: int, lag: int) -> Array:
    """Weights of autocovariances 0 .. n - 1."""
    weights = np.zeros(n)
    weights[: lag + 1] = 1 - np.arange(lag + 1) / (lag + 1)
    return weights


def bartlett_expected(covariances: Array, lag: int) -> tuple[float, float]:
    """Variance of the mean of n, times n, and what its Bartlett estimate finds on average.

    `covariances` are the true ones at lags 0 .. n - 1. Expectations are exact, mean taken out.
    """
    n = len(covariances)
    beside = np.concatenate([[0.0], np.cumsum(covariances)])  # sums of the first j lags
    rows = np.arange(n)
    with_mean = (beside[rows + 1] + beside[n - rows] - covariances[0]) / n
    weights = bartlett_weights(n, lag)
    reached = np.concatenate([[0.0], np.cumsum(weights)])
    weight = reached[rows + 1] + reached[n - rows] - 1.0  # row sums of the kernel
    pairs = weights * (n - rows) * covariances
    plain = (2 * float(pairs.sum()) - float(pairs[0])) / n
    true = float(with_mean.mean())
    found = plain - 2 * float(weight @ with_mean) / n + true * float(weight.mean())
    return n * true, found


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


def summed(levels: Array, n: int, overlap: int) -> Array:
    """Autocovariances 0 .. n - 1 of sums over the overlap, from those [n + overlap] of levels."""
    weights = overlap - np.abs(np.arange(1 - overlap, overlap))
    reach = np.abs(np.arange(1 - overlap, n + overlap - 1))
    found: Array = np.convolve(levels[reach], weights, mode="valid")
    return found


@lru_cache(maxsize=64)
def _sums(n: int, overlap: int, rho: float) -> Array:
    """Autocovariances 0 .. n - 1 of sums over the overlap, their long-run variance being 1."""
    found = summed(rho ** np.arange(float(n + overlap)), n, overlap)
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


def overlap_law(n: int, lag: int, overlap: int) -> TDistribution:
    """Law of a statistic of n origins that share sessions and are independent otherwise."""
    shares = shares_of(n, lag, overlap, (overlap - 1) / overlap)
    return TDistribution(n=n, lag=lag, factor=min(1.0, shares.stretch), freedom=shares.freedom)


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
