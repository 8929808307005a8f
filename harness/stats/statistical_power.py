"""What a plan can decide: chance of a conclusion, smallest effect found, origins and seeds needed.

Everything is on the scale of relative effects (0.02 is 2 %). The chance is that of the whole
rule: t test and bootstrap, and where there are seeds both methods over seeds, must all conclude.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from harness.stats.bootstrap import RESAMPLES, block_law, moved, shrunk
from harness.stats.longrun import (
    TDistribution,
    automatic_block,
    correlation_found,
    fixed_smoothing,
    lag_for,
    shares_of,
    skew_noise,
    tail_safe,
    true_share,
)
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
class PossibleSamples:
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


@lru_cache(maxsize=64)
def hurdles_of(
    n: int,
    overlap: int,
    rho: float,
    *,
    lean: float,
    seeds: tuple[int, int],
    alpha: float,
    among_looks: bool = False,
) -> PossibleSamples:
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
    from scipy.special import gammaincinv, ndtri

    found = _by_lags(n, overlap, rho, among_looks=among_looks)
    block = min(n, max(overlap, math.ceil(automatic_block(n, rho))))
    noise = skew_noise(n, overlap, rho, block) * ndtri(lattice()[2])
    read_lean = shrunk(lean * math.sqrt(n / block) + noise, n / block)  # [K], by the bootstrap
    size, blocks = np.concatenate([sizes for _, sizes in found], axis=1)
    half = np.array([max(1, count - 1) / 2 for count in seeds])[:, None]
    return PossibleSamples(
        chance=np.repeat([weight / NODES for _, weight in HERMITE], NODES),
        size=size,
        blocks=blocks,
        critical=np.repeat([law.critical(alpha) for law, _ in found], NODES),
        factor=np.repeat([law.factor for law, _ in found], NODES),
        freedom=np.repeat([law.freedom for law, _ in found], NODES),
        drawn=_drawn([law for law, _ in found], read_lean, alpha),
        seeds=np.tile(gammaincinv(half, lattice()[4:]) / half, len(HERMITE)),
        seed_freedom=(float(2 * half[0, 0]), float(2 * half[1, 0])),
        alpha=alpha,
    )


@lru_cache(maxsize=64)
def _by_lags(
    n: int, overlap: int, rho: float, *, among_looks: bool = False
) -> list[tuple[TDistribution, Array]]:
    """Law and sizes [2, K] (Bartlett, blocks) of each node of the autocorrelation found.

    The long-run variance found goes with the autocorrelation found. Circular blocks add products
    of both ends of the sample that the Bartlett sum does not have.
    """
    from scipy.special import gammaincinv, ndtr, ndtri

    mean, deviation = correlation_found(n, overlap, rho)
    normal = ndtri(lattice()[:2])
    made = []
    for node, _ in HERMITE:
        seen = min(1.0, max(-1.0, mean + node * deviation))
        lag = lag_for(n, overlap, seen)
        shares = shares_of(n, lag, overlap, rho)
        half, apart = shares.freedom / 2, math.sqrt(max(0.0, 1 - shares.follows**2))
        relative = gammaincinv(half, ndtr(shares.follows * node + apart * normal[0])) / half
        wrapped = (lag + 1) / n / math.sqrt(3) * normal[1]
        sizes = [
            relative * shares.found / shares.true,
            np.maximum(0.0, relative + wrapped) * shares.circular / shares.true,
        ]
        law = fixed_smoothing(n, lag, overlap)
        made.append((tail_safe(law, overlap, seen) if among_looks else law, np.stack(sizes)))
    return made


def _drawn(laws: Sequence[TDistribution], lean: Array, alpha: float) -> Array:
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


BOUNDLESS = 1000.0
"""No distance beyond this many times the larger of legacy's loss and the error is looked at."""


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
    level, along
        Long-run variance of legacy's loss over its mean, and its covariance with the difference;
        0 for a coverage and where it is not known.
    candidate_seeds, legacy_seeds
        Variance of the effect from one seed to the next of each side; 0 for arms without one.
    ratio
        Candidate's mean over legacy's, where the effect is: how much of legacy's own seeds is in
        the effect. Negative where the sign of the differences is turned.
    skewness
        Skewness of the mean of n origins, times the root of n; 0 where it is not known.
    share
        For a coverage, the true share of what is covered, at which `long_run` holds.
    """

    long_run: float
    rho: float = 0.0
    skewness: float = 0.0
    share: float | None = None
    level: float = 0.0
    along: float = 0.0
    candidate_seeds: float = 0.0
    legacy_seeds: float = 0.0
    ratio: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is looked at.

    Attributes
    ----------
    n, overlap
        Origins, and consecutive ones that share a session.
    candidate_seeds, legacy_seeds
        Seeds of each side.
    bounds
        1 for losses; 2 where a bound on the other side, as far away, must be kept as well: the
        tolerance of a coverage.
    among_looks
        It is asked at one of several looks.
    """

    n: int
    overlap: int = 1
    candidate_seeds: int = 1
    legacy_seeds: int = 1
    bounds: int = 1
    among_looks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """What a plan's tests are worth.

    Attributes
    ----------
    hurdles
        What every method asks.
    origins, candidate_seeds, legacy_seeds
        True variance of the effect by its sources.
    level, along
        Of legacy's mean over origins, and its covariance with the effect.
    ratio
        See `Spread`.
    lean
        Skewness of a mean over origins.
    share
        True share of what is covered; None for losses.
    other
        Of the bound on the other side, where both must be kept.
    """

    hurdles: PossibleSamples
    origins: float
    level: float
    along: float
    candidate_seeds: float
    legacy_seeds: float
    ratio: float
    lean: float
    share: float | None
    other: Precision | None = None

    def power(self, distance: float) -> float:
        """Chance that every method shows an effect that lies `distance` inside its bounds."""
        shown = self.shown(distance)
        if self.other is not None:
            shown = both_shown(shown, self.other.shown(distance))
        return float(self.hurdles.chance @ shown)

    def shown(self, distance: float) -> Array:
        """Chances [N] for the upper bound, by what the sample shows of its variance.

        The mean Z of a sample, in errors, moves the variance found in it: by ``1 + lean Z`` for
        skewed losses; for a coverage r by ``r (1 - r)``, except in the t tests, which take the
        share that is tested (Wilson). So a margin m keeps Z below the smaller root of
        ``(distance - Z)^2 = m^2 (1 + lean Z - bend Z^2)``, and all methods below the least.
        """
        from scipy.special import ndtr

        seeds = self.candidate_seeds, self.legacy_seeds * (1 + distance / self.ratio) ** 2
        origins = self.origins - 2 * distance * self.along + distance**2 * self.level
        origins = max(0.0, origins)  # of what is tested: candidate - (effect + distance) legacy
        error = math.sqrt(origins + sum(seeds))
        if error == 0.0:
            return np.full(len(self.hurdles.chance), float(distance > 0))
        square = np.square(self.hurdles.margins(origins, seeds) / error)
        lean = self.lean * (math.sqrt(origins) / error) ** 3
        follows, bend = np.full((len(square), 1), lean), np.zeros((len(square), 1))
        if self.share is not None:
            bend[1::2] = error**2 / (self.share * (1 - self.share))
            tested = min(1.0, self.share + distance)
            square[::2] *= tested * (1 - tested) / (self.share * (1 - self.share))
            follows[::2] = 0.0
        far = distance / error
        middle, first = far + square * follows / 2, 1 + square * bend
        root = (middle - np.sqrt(np.maximum(0.0, middle**2 - first * (far**2 - square)))) / first
        # a normal z as ``z + lean (z^2 - 1) / 6``: Cornish and Fisher (1938), first term
        rest = root.min(axis=0) + lean / 6
        found: Array = ndtr(2 * rest / (1 + np.sqrt(np.maximum(0.0, 1 + 2 / 3 * lean * rest))))
        return found

    def detectable(self, power: float) -> float | None:
        """Smallest distance from the bound that is shown with the chance `power`.

        None where no distance is: a legacy whose seeds differ so much has no bounded ratio. Found
        by false position (Illinois) in normal deviates, in which power is nearly a line; loading a
        general solver takes longer than all the searches of a verdict.
        """
        from scipy.special import ndtri

        def beyond(far: float) -> float:
            return float(ndtri(min(1 - 1e-16, max(1e-300, self.power(far)))) - ndtri(power))

        low, high = 0.0, math.sqrt(self.origins + self.candidate_seeds + self.legacy_seeds)
        if high == 0.0:
            return 0.0
        most, below, above = BOUNDLESS * max(1.0, high), beyond(low), beyond(high)
        if below >= 0:
            return low
        while above < 0:
            low, high, below = high, 2 * high, above
            if high > most:
                return None
            above = beyond(high)
        kept = 0  # which end stayed in the last step
        while True:
            middle = high - above * (high - low) / (above - below)
            found = beyond(middle)
            if abs(found) < 1e-12 or not low < middle < high:
                return middle
            if found < 0:
                low, below, above = middle, found, above / 2 if kept == 1 else above
                kept = 1
            else:
                high, above, below = middle, found, below / 2 if kept == -1 else below
                kept = -1


def both_shown(one: Array, other: Array) -> Array:
    """Chances [N] that a mean is below one margin and above another, from those of each.

    Of samples whose variance is found alike: an interval that is too long for both bounds in most
    samples may be short enough in the others.
    """
    found: Array = np.maximum(0.0, one + other - 1)
    return found


def precision_of(spread: Spread, plan: Plan, alpha: float) -> Precision:
    """Say what a plan's tests of level `alpha` would be worth if differences vary by `spread`."""
    lean = min(1.0, max(-1.0, spread.skewness / math.sqrt(plan.n)))
    counts = plan.candidate_seeds, plan.legacy_seeds
    between = [
        each / count if count > 1 else 0.0
        for each, count in zip((spread.candidate_seeds, spread.legacy_seeds), counts, strict=True)
    ]
    mean = true_share(plan.n, plan.overlap, spread.rho) / plan.n  # from one origin to the mean
    return Precision(
        hurdles=hurdles_of(
            plan.n,
            plan.overlap,
            spread.rho,
            lean=lean,
            seeds=counts,
            alpha=alpha,
            among_looks=plan.among_looks,
        ),
        origins=spread.long_run * mean,
        level=spread.level * mean,
        along=spread.along * mean,
        candidate_seeds=between[0],
        legacy_seeds=between[1],
        ratio=spread.ratio,
        lean=lean,
        share=spread.share,
        other=precision_of(_turned(spread), replace(plan, bounds=1), alpha)
        if plan.bounds > 1
        else None,
    )


def _turned(spread: Spread) -> Spread:
    """The same differences with the other sign, so that a lower bound becomes an upper one."""
    share = None if spread.share is None else 1 - spread.share
    return replace(
        spread,
        skewness=-spread.skewness,
        along=-spread.along,
        ratio=-spread.ratio,
        share=share,
    )


def freedom_of(parts: Sequence[tuple[float, float]]) -> float:
    """Degrees of freedom of a sum of variances, ``V^2 / sum(V_i^2 / freedom_i)``.

    Source: Satterthwaite (1946). Those of the first part where nothing varies.
    """
    total = sum(each for each, _ in parts)
    if total <= 0.0:
        return parts[0][1]
    return total**2 / sum(each**2 / freedom for each, freedom in parts)


LEAST_INDEPENDENT = 10
"""Below so many non-overlapping origins a prediction has no worth: a bound may not even exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Veto:
    """What the last origins alone can take away from a plan.

    Attributes
    ----------
    n
        How many they are.
    low, high
        Their effect must lie between; `low` None is no lower bound.
    """

    n: int
    low: float | None
    high: float


def chance_of_deciding(
    spread: Spread,
    plan: Plan,
    *,
    effect: float,
    bound_high: float,
    bound_low: float | None = None,
    alpha: float,
    alpha_beyond: float | None = None,
    veto: Veto | None = None,
    either_way: bool = True,
) -> float:
    """Chance that a plan shows a true effect to lie within its bounds, or beyond one of them.

    Parameters
    ----------
    spread
        As differences vary at this effect.
    alpha_beyond
        Error rate at which a bound is shown broken, where it is another one. Either of two bounds
        can be, at half of it.
    veto
        What is shown to lie within counts only where the last origins do as well.
    either_way
        Count what is shown to lie beyond as decided too.
    """
    one, level = replace(plan, bounds=1), alpha if alpha_beyond is None else alpha_beyond
    sides = [spread] if bound_low is None else [spread, _turned(spread)]
    up, down = precision_of(spread, one, alpha), precision_of(_turned(spread), one, alpha)
    above, chance = up.shown(bound_high - effect), up.hurdles.chance
    below, both, some = np.ones_like(above), above, chance
    if bound_low is not None:
        below = down.shown(effect - bound_low)
        both = both_shown(above, below)
        some = chance * (both > 0) / max(1e-300, float(chance @ (both > 0)))
    within = float(chance @ both)
    if veto is not None:
        low = 1.0 if bound_low is None else min(1.0, float(some @ below))
        tops = min(1.0, float(some @ above)), low  # rounding may make them more than certain
        within *= _not_vetoed(up, plan, veto, effect=effect, tops=tops)
    if not either_way:
        return within
    level /= len(sides)
    beyond = precision_of(_turned(spread), one, level).power(effect - bound_high)
    if bound_low is not None:
        beyond += precision_of(spread, one, level).power(bound_low - effect)
    return min(1.0, within + beyond)


def _not_vetoed(
    whole: Precision, plan: Plan, veto: Veto, *, effect: float, tops: tuple[float, float]
) -> float:
    """Chance that the last origins lie within, in samples that show that all of them do.

    `tops` are the chances with which a sample is below what the upper bound asks, and above what
    the lower one does. The estimate over all origins is part of that over the last ones, so both
    are taken to be jointly normal; seeds move both alike.
    """
    from scipy.special import ndtr, ndtri

    seeds = whole.candidate_seeds + whole.legacy_seeds
    error = math.sqrt(whole.origins + seeds)
    late = math.sqrt(whole.origins * plan.n / veto.n + seeds)
    if error == 0.0 or tops[0] + tops[1] <= 1:
        inside = effect < veto.high and (veto.low is None or effect > veto.low)
        return float(inside)
    places = (np.arange(NODES) + 0.5) / NODES
    deviates = ndtri(1 - tops[1] + places * (tops[0] + tops[1] - 1))
    follows = error / late
    rest = math.sqrt(max(1e-12, 1 - follows**2))

    def below(bound: float) -> Array:
        found: Array = ndtr(((bound - effect) / late - follows * deviates) / rest)
        return found

    kept = below(veto.high) - (0.0 if veto.low is None else below(veto.low))
    return float(kept.mean())


def detectable(spread: Spread, plan: Plan, *, alpha: float, power: float) -> float | None:
    """Smallest distance of the true effect from the bound a plan shows with `power`, if any."""
    return precision_of(spread, plan, alpha).detectable(power)


def origins_needed(
    spread: Spread, plan: Plan, *, distance: float, alpha: float, power: float, most: int = 100_000
) -> int | None:
    """Origins with which an effect `distance` from its bound is shown with `power`.

    None where more than `most` would be needed, as when the seeds alone leave it open. Found to
    within half a per cent: the chance rises with n but for small steps where the lag changes.
    """
    now = detectable(spread, plan, alpha=alpha, power=power)
    start = most if now is None else plan.n * min(1e6, now / max(distance, 1e-12)) ** 2
    return _least(
        lambda n: precision_of(spread, replace(plan, n=n), alpha).power(distance) >= power,
        2,
        most,
        start=math.ceil(start),
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
        return precision_of(spread, wider, alpha).power(distance) >= power

    return _least(enough, 2, most, start=2)


def _least(enough: Callable[[int], bool], low: int, most: int, *, start: int) -> int | None:
    """Smallest count from `low` to `most` that is enough, looked for from `start` on."""
    high = min(most, max(low, start))
    while not enough(high):
        if high >= most:
            return None
        low, high = high, min(most, high + max(1, high // 4))
    below = high
    while below > low:
        below = max(low, min(high - 1, int(0.8 * high)))
        if not enough(below):
            low = below
            break
        high = below
    while high - low > max(1, low // 200):
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
