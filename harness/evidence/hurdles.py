"""Hurdles: how far inside its bound an effect must be found before every method says so.

Each method shows an effect when the estimate and its own margin (critical value times estimated
error) stay inside the bound. What those margins come to is followed over nodes that stand for
what a sample may show: the autocorrelation found and the lag chosen by it, the long-run variance,
how blocks see it, the skewness found, and the variance between seeds.

Shapes: N nodes (K for each lag), M methods as `harness.evidence.estimates.deciding` asks them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from harness.evidence.inference import Law, automatic_block, fixed_smoothing, lag_for
from harness.evidence.resampling import RESAMPLES, block_law, moved, shrunk
from harness.evidence.shares import Shares, correlation_found, shares_of, skew_noise
from harness.window import Array

HERMITE = (
    (-2.85697001, 0.01125741),
    (-1.35562618, 0.22207592),
    (0.0, 0.53333334),
    (1.35562618, 0.22207592),
    (2.85697001, 0.01125741),
)
"""Five nodes and weights that average over a standard normal: Gauss-Hermite."""

NODES = 96
"""Nodes of each lag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hurdles:
    """What a sample may show and how each method then reads it, by nodes [N].

    Attributes
    ----------
    chance
        Of a node; they add to 1.
    size, blocks
        Variance over origins as the Bartlett estimate and as circular blocks find it, over the
        true one.
    critical, factor, freedom
        Critical value of the t test, and the law it is from.
    drawn
        Critical value of the bootstrap, in units of the error its blocks have.
    seeds : [2, N]
        Variance between the seeds of candidate and legacy as found, over the true one.
    seed_freedom
        Degrees of freedom of both.
    alpha
        Error rate.
    """

    chance: Array
    size: Array
    blocks: Array
    critical: Array
    factor: Array
    freedom: Array
    drawn: Array
    seeds: Array
    seed_freedom: tuple[float, float]
    alpha: float

    def margins(self, origins: float, seeds: tuple[float, float]) -> Array:
        """Margins [M, N] of every method, by the true variances; the t tests in even rows."""
        from scipy.special import stdtrit

        made = [
            self.critical * np.sqrt(origins * self.size),
            self.drawn * np.sqrt(origins * self.blocks),
        ]
        if max(seeds) > 0:
            over = origins * self.size / self.factor**2
            between = np.array(seeds)[:, None] * self.seeds
            total = over + between.sum(axis=0)
            size = over**2 / self.freedom
            size += (between**2 / np.array(self.seed_freedom)[:, None]).sum(axis=0)
            made.append(stdtrit(total**2 / size, 1 - self.alpha) * np.sqrt(total))
            made.append(self.drawn * np.sqrt(origins * self.blocks + between.sum(axis=0)))
        return np.stack(made)


def hurdles_of(
    n: int, overlap: int, rho: float, *, lean: float, seeds: tuple[int, int], alpha: float
) -> Hurdles:
    """Spread nodes over what a sample may show.

    The autocorrelation found, and the lag and block it leads to, by five-point Gauss-Hermite; all
    else by nodes within each lag.

    Parameters
    ----------
    rho, lean
        True first-order autocorrelation, and true skewness of the mean.
    seeds
        Of candidate and legacy.
    """
    from scipy.special import gammaincinv

    mean, deviation = correlation_found(n, overlap, rho)
    lags = [
        lag_for(n, overlap, min(1.0, max(-1.0, mean + node * deviation))) for node, _ in HERMITE
    ]
    found = [
        _of_lag(shares_of(n, lag, overlap, rho), n=n, lag=lag, overlap=overlap, deviate=node)
        for lag, (node, _) in zip(lags, HERMITE, strict=True)
    ]
    size, blocks = np.concatenate([sizes for _, sizes in found], axis=1)
    half = np.array([max(1, count - 1) / 2 for count in seeds])[:, None]
    return Hurdles(
        chance=np.repeat([weight / NODES for _, weight in HERMITE], NODES),
        size=size,
        blocks=blocks,
        critical=np.repeat([law.critical(alpha) for law, _ in found], NODES),
        factor=np.repeat([law.factor for law, _ in found], NODES),
        freedom=np.repeat([law.freedom for law, _ in found], NODES),
        drawn=_drawn([law for law, _ in found], _leaning(n, overlap, rho, lean), alpha),
        seeds=np.tile(gammaincinv(half, lattice()[4:]) / half, len(HERMITE)),
        seed_freedom=(float(2 * half[0, 0]), float(2 * half[1, 0])),
        alpha=alpha,
    )


def _of_lag(shares: Shares, *, n: int, lag: int, overlap: int, deviate: float) -> tuple[Law, Array]:
    """Law and sizes [2, K] (Bartlett, blocks) where the autocorrelation found is `deviate` off.

    The long-run variance found goes with the autocorrelation found. Circular blocks add products
    of both ends of the sample that the Bartlett sum does not have.
    """
    from scipy.special import gammaincinv, ndtr, ndtri

    normal, half = ndtri(lattice()[:2]), shares.freedom / 2
    apart = math.sqrt(max(0.0, 1 - shares.follows**2))
    relative = gammaincinv(half, ndtr(shares.follows * deviate + apart * normal[0])) / half
    wrapped = (lag + 1) / n / math.sqrt(3) * normal[1]
    sizes = [
        relative * shares.found / shares.true,
        np.maximum(0.0, relative + wrapped) * shares.circular / shares.true,
    ]
    return fixed_smoothing(n, lag, overlap), np.stack(sizes)


def _leaning(n: int, overlap: int, rho: float, lean: float) -> Array:
    """Skewness [K] of the mean as the bootstrap finds it in blocks of the automatic length."""
    from scipy.special import ndtri

    block = min(n, max(overlap, math.ceil(automatic_block(n, rho))))
    noise = skew_noise(n, overlap, rho, block) * ndtri(lattice()[2])
    return shrunk(lean * math.sqrt(n / block) + noise, n / block)


def _drawn(laws: Sequence[Law], lean: Array, alpha: float) -> Array:
    """Critical values [N] of the bootstrap, with the noise of its own quantile."""
    from scipy.special import ndtri, stdtrit

    normal = float(ndtri(1 - alpha))
    density = math.exp(-(normal**2) / 2) / math.sqrt(2 * math.pi)
    noise = math.sqrt(alpha * (1 - alpha) / RESAMPLES) / density
    read = moved(normal + noise * ndtri(lattice()[3]), lean) / normal
    blocks = [block_law(law.n, max(1, min(law.n // 2, law.lag + 1))) for law in laws]
    return np.concatenate([stdtrit(b.freedom, 1 - alpha) / b.factor * read for b in blocks])


@lru_cache(maxsize=1)
def lattice() -> Array:
    """Points [6, K] that fill the unit cube evenly: multiples of powers of one irrational number.

    Source: Roberts (2018), the generalised golden ratio, root of ``x^7 = x + 1``.
    """
    golden = 1.1127756842787055
    steps = golden ** -np.arange(1.0, 7.0)
    points: Array = (0.5 + steps[:, None] * np.arange(NODES)) % 1.0
    return points
