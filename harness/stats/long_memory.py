"""Long memory: whether differences forget so slowly that no long-run variance sees how far.

With an order d of fractional integration above 0 the variance of a mean falls as ``n^(2 d - 1)``,
slower than any Bartlett estimate says. A few dozen differences cannot tell such a noise from a
first-order autoregression for certain, so both are held against the same periodogram: what is
explained no worse by a fractional noise *may* remember, and is said to; where the fractional noise
is far more likely, intervals are widened.
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
    count = len(series)
    number = (count // overlap - 1) // 2
    spread = float(np.ptp(series)) if count else 0.0
    if number < LEAST or spread <= 1e-13 * float(np.abs(series).max()):
        return None
    fractional, regressive = _spectra(count, overlap)
    ordinates = np.abs(np.fft.fft((series - series.mean()) / spread)[1 : number + 1]) ** 2

    def likelihoods(models: tuple[Array, Array], kept: Array) -> Array:
        logs, shares = models
        level = shares @ (ordinates * kept) / kept.sum()
        found: Array = -kept.sum() * np.log(level) - logs @ kept
        return found

    every, rest = np.ones(number), np.ones(number)
    if float(ordinates.sum()) <= 1e-20 * count**2:  # all of it lies at higher frequencies
        return None
    best = int(likelihoods(fractional, every).argmax())
    rest[int((ordinates * fractional[1][best]).argmax())] = 0.0
    if float(ordinates @ rest) <= 1e-12 * float(ordinates.sum()):
        return None
    evidence = min(
        float(likelihoods(fractional, kept).max() - likelihoods(regressive, kept).max())
        for kept in (every, rest)
    )
    return LongMemory(
        order=float(ORDERS[best]), error=math.sqrt(3 / number) / math.pi, evidence=evidence
    )


@lru_cache(maxsize=64)
def _spectra(n: int, overlap: int) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Logs of the spectra, and one over them, of all fractional noises and of all autoregressions.

    [models, frequencies] each.
    """
    at = 2 * math.pi * np.arange(1, (n // overlap - 1) // 2 + 1) / n
    sums = 2 * np.log(np.abs(np.sin(overlap * at / 2) / np.sin(at / 2)))
    fractional = -2 * ORDERS[:, None] * np.log(2 * np.sin(at / 2)) + sums
    rho = RHOS[:, None]
    regressive = sums - np.log(1 - 2 * rho * np.cos(at) + rho**2)
    return (fractional, np.exp(-fractional)), (regressive, np.exp(-regressive))


@lru_cache(maxsize=256)
def memory_stretch(n: int, lag: int, overlap: int, order: float) -> float:
    """How many times as long the error of a mean is as one without memory is taken to be.

    Both as the Bartlett estimate of that lag finds them on average. Source of the autocovariances
    of a fractional noise: Hosking (1981).
    """
    if order <= 0:
        return 1.0
    lags = np.arange(1, n + overlap)
    levels = np.concatenate([[1.0], np.cumprod((lags - 1 + order) / (lags - order))])
    plain = np.zeros(n + overlap)
    plain[0] = 1.0
    true, found = bartlett_expected(summed(levels, n, overlap), lag)
    own_true, own_found = bartlett_expected(summed(plain, n, overlap), lag)
    return max(1.0, math.sqrt(true * own_found / (found * own_true)))
