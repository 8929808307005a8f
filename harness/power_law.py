"""What a plan can decide: chance of a conclusion, smallest effect found, origins and seeds needed.

Everything is on the scale of relative effects (0.02 is 2 %). The law is that of the test itself:
Student with the degrees of freedom its long-run variance is worth, about the true distance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from harness.inference import Law, fixed_smoothing, lag_for
from harness.shares import Shares, correlation_found, shares_of

HERMITE = (
    (-2.85697001, 0.01125741),
    (-1.35562618, 0.22207592),
    (0.0, 0.53333334),
    (1.35562618, 0.22207592),
    (2.85697001, 0.01125741),
)
"""Five nodes and weights that average over a standard normal: Gauss-Hermite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How relative differences vary: what the power of a plan depends on.

    Attributes
    ----------
    long_run
        Long-run variance of one origin's difference (candidate less legacy, over legacy's mean):
        that of the mean of n origins is `long_run` / n. It belongs to one stride.
    rho
        First-order autocorrelation of the differences at that stride.
    candidate_seeds, legacy_seeds
        Variance of the effect from one seed to the next of each side; 0 for arms without one.
    """

    long_run: float
    rho: float = 0.0
    candidate_seeds: float = 0.0
    legacy_seeds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is looked at.

    Attributes
    ----------
    n, overlap
        Origins, and consecutive ones that share a session.
    candidate_seeds, legacy_seeds
        Seeds of each side.
    """

    n: int
    overlap: int = 1
    candidate_seeds: int = 1
    legacy_seeds: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One way the test may read its statistic.

    Attributes
    ----------
    chance
        Of reading it this way: the lag is chosen from the data.
    read
        Degrees of freedom the statistic is read with.
    freedom
        Degrees of freedom the estimate of the error is worth.
    stretch
        How much longer the test takes the error to be than it is.
    """

    chance: float = 1.0
    read: float
    freedom: float
    stretch: float

    def power(self, distance: float, alpha: float) -> float:
        """Chance of showing an effect `distance` standard errors inside its bound, one-sided."""
        from scipy.special import nctdtr, stdtrit

        least = float(stdtrit(self.read, 1 - alpha)) * self.stretch
        return min(1.0, max(0.0, 1 - float(nctdtr(self.freedom, distance, least))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """What a plan's test is worth.

    Attributes
    ----------
    error
        Standard error of the effect.
    readings
        Ways the test may read it, their chances adding to 1.
    """

    error: float
    readings: tuple[Reading, ...]

    def power(self, distance: float, alpha: float) -> float:
        """Chance of showing an effect that lies `distance` inside its bound, one-sided."""
        if self.error == 0.0:
            return float(distance > 0)
        far = distance / self.error
        return sum(each.chance * each.power(far, alpha) for each in self.readings)

    def detectable(self, alpha: float, power: float) -> float:
        """Smallest distance from the bound that is shown with the chance `power`."""
        low, high = 0.0, self.error
        if high == 0.0:
            return 0.0
        while self.power(high, alpha) < power:
            low, high = high, 2 * high
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if self.power(middle, alpha) < power else (low, middle)
        return high


def precision_of(spread: Spread, plan: Plan) -> Precision:
    """Say what a plan's test would be worth if differences vary by `spread`."""
    sides = (
        (spread.candidate_seeds, plan.candidate_seeds),
        (spread.legacy_seeds, plan.legacy_seeds),
    )
    seeds = [(each / count, count - 1.0) for each, count in sides if count > 1 and each > 0]
    lags = _lags(plan, spread.rho)
    found = []
    for lag, chance in lags.items():
        shares = shares_of(plan.n, lag, plan.overlap, spread.rho)
        law = fixed_smoothing(plan.n, lag, plan.overlap)
        variance = spread.long_run * shares.true / plan.n
        found.append((chance, joined(variance, law, seeds, shares)))
    return Precision(
        error=found[0][1].error,
        readings=tuple(replace(each.readings[0], chance=chance) for chance, each in found),
    )


def _lags(plan: Plan, rho: float) -> dict[int, float]:
    """Lags the rule may choose with their chances: five-point Gauss-Hermite over what it finds."""
    mean, deviation = correlation_found(plan.n, plan.overlap, rho)
    found: dict[int, float] = {}
    for node, weight in HERMITE:
        seen = min(1.0, max(-1.0, mean + node * deviation))
        lag = lag_for(plan.n, plan.overlap, seen)
        found[lag] = found.get(lag, 0.0) + weight
    return found


def joined(
    variance: float, law: Law, seeds: Sequence[tuple[float, float]], shares: Shares
) -> Precision:
    """Join the variance of a mean over origins with those over seeds (variance, freedom)."""
    total = variance + sum(each for each, _ in seeds)
    stretch = shares.stretch / law.factor
    wide = (total + (stretch**2 - 1) * variance) / total if total > 0 else 1.0
    reading = Reading(
        read=freedom_of([(variance, law.freedom), *seeds]),
        freedom=freedom_of([(variance, shares.freedom), *seeds]),
        stretch=math.sqrt(wide),
    )
    return Precision(error=math.sqrt(total), readings=(reading,))


def freedom_of(parts: Sequence[tuple[float, float]]) -> float:
    """Degrees of freedom of a sum of variances, ``V^2 / sum(V_i^2 / freedom_i)``.

    Source: Satterthwaite (1946). Those of the first part where nothing varies.
    """
    total = sum(each for each, _ in parts)
    if total <= 0.0:
        return parts[0][1]
    return total**2 / sum(each**2 / freedom for each, freedom in parts)


def predicted_power(
    spread: Spread, plan: Plan, *, effect: float, bound: float, alpha: float
) -> float:
    """Chance that a plan shows a true effect to lie below its bound."""
    return precision_of(spread, plan).power(bound - effect, alpha)


def detectable(spread: Spread, plan: Plan, *, alpha: float, power: float) -> float:
    """Smallest distance of the true effect from the bound that a plan shows with `power`."""
    return precision_of(spread, plan).detectable(alpha, power)


def origins_needed(
    spread: Spread, plan: Plan, *, distance: float, alpha: float, power: float, most: int = 100_000
) -> int | None:
    """Origins with which an effect `distance` from its bound is shown with `power`.

    None where more than `most` would be needed, as when the seeds alone leave it open.
    """
    return _least(
        lambda n: precision_of(spread, replace(plan, n=n)).power(distance, alpha) >= power, 2, most
    )


def seeds_needed(
    spread: Spread, plan: Plan, *, distance: float, alpha: float, power: float, most: int = 100
) -> int | None:
    """Seeds of each side that has some with which the same is shown; None beyond `most`."""

    def enough(count: int) -> bool:
        wider = replace(
            plan,
            candidate_seeds=count if plan.candidate_seeds > 1 else 1,
            legacy_seeds=count if plan.legacy_seeds > 1 else 1,
        )
        return precision_of(spread, wider).power(distance, alpha) >= power

    return _least(enough, 2, most)


def _least(enough: Callable[[int], bool], low: int, most: int) -> int | None:
    """Smallest count from `low` to `most` that is enough, more being no worse; None if none is."""
    if enough(low):
        return low
    high = low
    while not enough(high):
        if high >= most:
            return None
        low, high = high, min(most, 2 * high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
