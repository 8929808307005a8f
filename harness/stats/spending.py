"""How much of an error rate each look at growing evidence may spend.

A statistic that is looked at K times crosses a fixed bound more often than once. The looks share
one error rate: by the time a fraction tau of the planned information has come, alpha(tau) of it
may be spent (Lan and DeMets 1983). The statistic is a Brownian motion in tau over its standard
deviation, and bound after bound follows from its density among paths that have not crossed yet
(Armitage, McPherson and Rowe 1969).

Shapes: K looks in order, P nodes of integration.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Literal

import numpy as np

from harness.window import Array

Spending = Literal["late", "today"]
LEAST_LEVEL = 0.002
"""Below this a bootstrap of at most 20,000 resamples says nothing; there is no look then."""
_FAR = 8.0
"""Standard deviations below which a Brownian motion is taken never to lie."""


def spent(fraction: float, alpha: float, spending: Spending) -> float:
    """Error rate that may be spent once a fraction of the information has come.

    Parameters
    ----------
    fraction
        Of the planned information, above 0; more than all of it counts as all.
    alpha
        The whole error rate, one-sided.
    spending
        ``late`` is like O'Brien and Fleming's bounds, 2 (1 - Phi(z_{alpha/2} / sqrt(tau))): little
        at first, nearly all at the end. ``today`` is alpha tau.
    """
    from scipy.stats import norm

    tau = min(1.0, fraction)
    if spending == "today":
        return alpha * tau
    return float(2 * norm.sf(norm.isf(alpha / 2) / np.sqrt(tau)))


@cache
def _quadrature() -> tuple[Array, Array]:
    """Nodes and weights on [-1, 1]; made when first asked for, since that takes a while."""
    points, weights = np.polynomial.legendre.leggauss(400)
    return points, weights


def levels(fractions: Sequence[float], alpha: float, spending: Spending) -> Array:
    """Nominal one-sided level of each look, [K]; NaN where there is none.

    There is no look where its level would lie below `LEAST_LEVEL`, or where no information came
    since the one before; what it could have spent is left for the next.

    Parameters
    ----------
    fractions
        K fractions of the planned information, increasing, those of looks to come last.
    """
    asked = tuple(float(fraction) for fraction in fractions)
    ends = range(1, len(asked) + 1)  # one after the other: the last ones are remembered
    return np.array([_paths(asked[:end], alpha, spending).level for end in ends])


@dataclass(frozen=True, slots=True)
class _Paths:
    """Where the paths lie that have not crossed by a look, [P] places of so much mass each."""

    place: Array
    mass: Array
    tau: float = 0.0
    used: float = 0.0
    level: float = math.nan
    """Of the last look."""


@lru_cache(maxsize=4096)
def _paths(fractions: tuple[float, ...], alpha: float, spending: Spending) -> _Paths:
    """What is left after these looks; all paths start at 0."""
    from scipy.optimize import brentq
    from scipy.special import ndtr
    from scipy.stats import norm

    if not fractions:
        return _Paths(place=np.zeros(1), mass=np.ones(1))
    known = replace(_paths(fractions[:-1], alpha, spending), level=math.nan)
    tau = min(1.0, fractions[-1])
    if tau <= known.tau or not len(known.place):
        return known
    share = spent(tau, alpha, spending) - known.used
    step, scale = np.sqrt(tau - known.tau), np.sqrt(tau)

    def crossing(bound: float) -> float:
        return float(known.mass @ ndtr((known.place - bound * scale) / step)) - share

    if crossing(-_FAR) <= 0:  # fewer paths are left than may cross: no look after it
        return replace(known, level=1.0, place=np.zeros(0), mass=np.zeros(0))
    if crossing(_FAR) >= 0:  # so little may be spent that no bound is high enough
        return known
    bound = brentq(crossing, -_FAR, _FAR, xtol=1e-10)
    level = float(norm.sf(bound))
    if level < LEAST_LEVEL:
        return known
    low, high = -_FAR * scale, bound * scale
    points, weights = _quadrature()
    nodes = (high - low) / 2 * points + (high + low) / 2
    apart = (nodes[:, None] - known.place) / step
    density = np.exp(-(apart**2) / 2) / np.sqrt(2 * np.pi) @ known.mass / step
    mass = density * weights * (high - low) / 2
    return _Paths(place=nodes, mass=mass, tau=tau, used=known.used + share, level=level)


def chance_by_looks(chances: Sequence[float], fractions: Sequence[float]) -> float:
    """Chance that one look at least shows it, from what each would show if it were the only one.

    The statistic of evidence that grows is taken for a Brownian motion over its standard deviation,
    as `levels` takes it: what one look missed, the next may miss as well.

    Parameters
    ----------
    chances
        K chances.
    fractions
        Of the planned information that has come by each look, increasing.
    """
    from scipy.special import ndtri

    nodes, weights = _quadrature()
    before = 0.0
    place, mass = np.zeros(1), np.ones(1)  # paths that nothing was shown of: all start at 0
    for chance, tau in zip(chances, fractions, strict=True):
        far = _FAR * np.sqrt(tau)
        bound = min(far, max(-far, -float(ndtri(chance)) * np.sqrt(tau)))
        there = (bound + far) / 2 * nodes + (bound - far) / 2
        edges = (there[:, None] - place) / np.sqrt(tau - before)
        density = np.exp(-(edges**2) / 2) @ mass / np.sqrt(2 * np.pi * (tau - before))
        place, mass = there, density * weights * (bound + far) / 2
        before = tau
    return min(1.0, max(0.0, 1 - float(mass.sum())))
