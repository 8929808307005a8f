"""What a Bartlett estimate cannot see: long memory, and persistence that noise hides.

With an order d of fractional integration above 0 the variance of a mean falls as ``n^(2 d - 1)``,
slower than any Bartlett estimate says. A few dozen differences cannot tell such a noise from a
first-order autoregression for certain, so both are held against the same periodogram: what is
explained no worse by a fractional noise *may* remember, and is said to; where the fractional noise
is far more likely, intervals are widened.

The hits of an interval follow the volatility. Each says little of the next, and yet many in a row
are the likelier misses: an autoregression under white noise, whose first autocorrelation calls for
a lag far shorter than its memory. Their intervals are widened as far as that is the likely law.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from harness.stats.longrun import bartlett_expected, summed
from harness.window import Array

ORDERS: Array = np.arange(0.0, 0.4801, 0.02)
"""Orders of fractional integration that are tried."""
RHOS: Array = np.arange(-0.6, 0.9701, 0.03)
"""First-order autoregressions that are."""
PERSISTENCES: tuple[float, ...] = (0.5, 0.7, 0.8, 0.9, 0.95)
"""Autoregressions under white noise that are tried."""
SHARES: tuple[float, ...] = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6)
"""Shares of the variance that such an autoregression has."""
HIDDEN = tuple((share, rho) for share in SHARES for rho in PERSISTENCES)
AS_LIKELY = -1.0
"""Log-likelihood by which a fractional noise may be the worse explanation and still be one."""
FAR_MORE_LIKELY = 2.0
LEAST = 10
"""Fewer frequencies than this cannot tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LongMemory:
    """How differences remember.

    Attributes
    ----------
    order, error
        Order of fractional integration by Whittle's likelihood, and its standard error.
    evidence
        Log-likelihood of the fractional noise less that of the best first-order autoregression.
    """

    order: float
    error: float
    evidence: float

    @property
    def suspected(self) -> bool:
        """Whether an order above 0 is shown, at one-sided 5 %, unless it is an autoregression."""
        return self.order > 1.645 * self.error and self.evidence > AS_LIKELY

    @property
    def shown(self) -> bool:
        """Whether it is no autoregression either."""
        return self.suspected and self.evidence > FAR_MORE_LIKELY


def memory_of(series: Array, overlap: int) -> LongMemory | None:
    """Hold a fractional noise and an autoregression, both summed over the overlap, against [n].

    By Whittle's likelihood over the frequencies below the first that the sums hide. The evidence is
    the smaller one of two: with every frequency, and without the one that is largest for the
    fractional noise, so that a single cycle is not taken for memory. Source: Fox and Taqqu (1986).

    Returns
    -------
    LongMemory or None
        None without variance, or none but that of one cycle, or with fewer than `LEAST`
        frequencies.
    """
    ordinates = _periodogram(series, overlap)
    if ordinates is None:
        return None
    models = _spectra(len(series), overlap)
    number = len(ordinates)
    rest = np.ones(number)
    best = int(_likelihoods(models.fractional, ordinates).argmax())
    rest[int((ordinates * models.fractional[1][best]).argmax())] = 0.0
    if float(ordinates @ rest) <= 1e-12 * float(ordinates.sum()):
        return None
    evidence = min(
        float(
            _likelihoods(models.fractional, ordinates, kept).max()
            - _likelihoods(models.regressive, ordinates, kept).max()
        )
        for kept in (np.ones(number), rest)
    )
    return LongMemory(
        order=float(ORDERS[best]), error=math.sqrt(3 / number) / math.pi, evidence=evidence
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Persistence:
    """An autoregression `rho` with a `share` of the variance under white noise, and its weight.

    The weight is that of Akaike's criterion beside independence and a first-order autoregression,
    for which a lag is chosen: they have none, one and two parameters. Source: Buckland, Burnham
    and Augustin (1997).
    """

    share: float
    rho: float
    weight: float

    def stretch(self, n: int, lag: int, overlap: int) -> float:
        """How many times as long the error of a mean is as a Bartlett estimate says; at least 1."""
        longer = _hidden_stretch(n, lag, overlap, self.share, self.rho)
        return math.sqrt(1 + self.weight * (longer**2 - 1))


def persistence_of(series: Array, overlap: int) -> Persistence | None:
    """Hold three laws, summed over the overlap, against the periodogram of [n].

    Returns
    -------
    Persistence or None
        None without variance and with fewer than `LEAST` frequencies.
    """
    ordinates = _periodogram(series, overlap)
    if ordinates is None:
        return None
    models = _spectra(len(series), overlap)
    hidden = _likelihoods(models.hidden, ordinates)
    best = int(hidden.argmax())
    independent = float(_likelihoods(models.fractional, ordinates)[0])  # of order 0
    regressive = float(_likelihoods(models.regressive, ordinates).max())
    criteria = np.array([independent, regressive - 1, float(hidden[best]) - 2])
    weights = np.exp(criteria - criteria.max())
    share, rho = HIDDEN[best]
    return Persistence(share=share, rho=rho, weight=float(weights[2] / weights.sum()))


def _periodogram(series: Array, overlap: int) -> Array | None:
    """Ordinates of [n] below the first frequency that sums over the overlap hide.

    None without variance there, or with fewer than `LEAST`.
    """
    count = len(series)
    number = (count // overlap - 1) // 2
    spread = float(np.ptp(series)) if count else 0.0
    if number < LEAST or spread <= 1e-13 * float(np.abs(series).max()):
        return None
    ordinates: Array = np.abs(np.fft.fft((series - series.mean()) / spread)[1 : number + 1]) ** 2
    return ordinates if float(ordinates.sum()) > 1e-20 * count**2 else None


Spectra = tuple[Array, Array]
"""Logs of the spectra of some laws, and one over them: [laws, frequencies] each."""


def _likelihoods(laws: Spectra, ordinates: Array, kept: Array | None = None) -> Array:
    """Log-likelihood of each law by Whittle's formula, of the frequencies that are kept."""
    if kept is None:
        kept = np.ones(len(ordinates))
    level = laws[1] @ (ordinates * kept) / kept.sum()
    found: Array = -kept.sum() * np.log(level) - laws[0] @ kept
    return found


@dataclass(frozen=True, slots=True)
class _Spectra:
    """Of all fractional noises, autoregressions, and autoregressions under white noise."""

    fractional: Spectra
    regressive: Spectra
    hidden: Spectra


@lru_cache(maxsize=64)
def _spectra(n: int, overlap: int) -> _Spectra:
    at = 2 * math.pi * np.arange(1, (n // overlap - 1) // 2 + 1) / n
    sums = 2 * np.log(np.abs(np.sin(overlap * at / 2) / np.sin(at / 2)))
    fractional = -2 * ORDERS[:, None] * np.log(2 * np.sin(at / 2)) + sums
    rho = RHOS[:, None]
    regressive = sums - np.log(1 - 2 * rho * np.cos(at) + rho**2)
    share, rho = (np.array(each)[:, None] for each in zip(*HIDDEN, strict=True))
    under = share * (1 - rho**2) / (1 - 2 * rho * np.cos(at) + rho**2)
    hidden = sums + np.log(1 - share + under)
    return _Spectra(*((each, np.exp(-each)) for each in (fractional, regressive, hidden)))


@lru_cache(maxsize=256)
def memory_stretch(n: int, lag: int, overlap: int, order: float) -> float:
    """How many times as long the error of a mean is as one without memory is taken to be.

    Both as the Bartlett estimate of that lag finds them on average. Source of the autocovariances
    of a fractional noise: Hosking (1981).
    """
    if order <= 0:
        return 1.0
    lags = np.arange(1, n + overlap)
    return _missed(np.concatenate([[1.0], np.cumprod((lags - 1 + order) / (lags - order))]), n, lag)


@lru_cache(maxsize=256)
def _hidden_stretch(n: int, lag: int, overlap: int, share: float, rho: float) -> float:
    levels = share * rho ** np.arange(float(n + overlap))
    levels[0] = 1.0
    return _missed(levels, n, lag)


def _missed(levels: Array, n: int, lag: int) -> float:
    """How many times as long the error is as a Bartlett estimate finds, beside white noise.

    `levels` are autocovariances 0 .. n + overlap - 1, before they are summed.
    """
    overlap = len(levels) - n
    plain = np.zeros(len(levels))
    plain[0] = 1.0
    true, found = bartlett_expected(summed(levels, n, overlap), lag)
    own_true, own_found = bartlett_expected(summed(plain, n, overlap), lag)
    return max(1.0, math.sqrt(true * own_found / (found * own_true)))
