"""What is compared: one class for each kind of estimand.

Every estimand is a ratio of means of two paired sides, which becomes an *effect*. What differs from
kind to kind stands in its class and nowhere else: the two sides, what failed windows count as, how
a ratio becomes an effect and back, the bounds a rule sets, and what the numbers are.

Shapes: S seeds, W origins in time order, n origins that are compared.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from harness.evidence.pairing import (
    ALONE,
    CountedPair,
    FailedAs,
    Pair,
    Sides,
    capped,
    count_failed,
    filled,
    lost,
)
from harness.scoring.metrics import AGGREGATES, CENTRAL
from harness.stats.long_memory import memory_stretch
from harness.stats.longrun import (
    FEW,
    DieboldMariano,
    MeanRatio,
    TDistribution,
    VarianceShares,
    diebold_mariano,
    mean_ratio,
    tied,
)
from harness.window import Array

EffectUnit = Literal["share", "points"]
"""What an effect is: a share of legacy's loss, or a difference of two shares."""
Range = tuple[float, float]


class _Kind:
    """What the estimands have in common.

    Attributes
    ----------
    unit
        What its effects are.
    relative
        The effect is a share of legacy's mean loss, which is estimated too and must not be 0.
    candidate_alone
        The candidate alone is judged; legacy's number is shown beside it.
    two_sided
        A rule bounds the effect on both sides.
    ways
        What the candidate's failed windows are counted as, one reading for each: of the
        conclusions the gravest stands, so that a failure never helps the arm that failed.
    worst
        What legacy's failed windows are counted as where a REJECT must hold for them too.
    alpha_share
        Share of a rule's error rate at which each bound is tested.
    """

    __slots__ = ()
    unit: ClassVar[EffectUnit]
    relative: ClassVar[bool]
    candidate_alone: ClassVar[bool] = False
    two_sided: ClassVar[bool] = False
    alpha_share: ClassVar[float] = 1.0
    ways: ClassVar[tuple[FailedAs, ...]]
    worst: ClassVar[FailedAs] = "worst"

    def readings(self, both: Pair, *, legacy: FailedAs = "out") -> list[CountedPair]:
        """Count failed windows in every way that is asked for, the first one first among equals.

        Parameters
        ----------
        legacy
            What legacy's failed windows are counted as: ``out``, so that nothing is shown by
            losses that nobody saw, or ``worst``. It is the same where the candidate alone is
            judged.
        """
        counted_as = self.worst if legacy == "worst" else legacy
        theirs = counted_as if not both.legacy_ok.all() and not self.candidate_alone else ""
        ways = self.ways if not both.candidate_ok.all() else ("",)
        return [count_failed(both, ours, theirs) for ours in ways]

    def bounds(self, margin: float) -> tuple[float | None, float]:
        """Where the effect must be shown to lie for a margin: nothing bounds it from below."""
        return None, margin

    def slope(self, excess: float) -> float:
        """How fast the effect changes with the ratio."""
        return 1.0

    def value(self, mean: float) -> float:
        """What a side's mean is shown as."""
        return mean

    def uncertain(self, sides: Sides) -> bool:
        """Whether there is an uncertainty to estimate, or a tie that needs none."""
        return sides.tied or sides.varies

    def variance_at(self, excess: float) -> float:
        """The excess at which the variance over origins is taken for planning."""
        return excess

    def share_at(self, value: float | None) -> float | None:
        """Share at which the variance of a share is known; None of what is no share."""
        return None

    def legacy_variance(self, found: MeanRatio, shares: VarianceShares) -> Range | None:
        """Variance of legacy's mean, as a share of it, and its covariance with the effect.

        None where what stands below is known.
        """
        return None

    def equality(self, whole: Pair, law: TDistribution) -> DieboldMariano | None:
        """Diebold-Mariano test of equal mean losses, read in the law that decides; of losses."""
        return None

    def stretch_feared(self, sides: Sides, lag: int) -> float:
        """How many times as long the error is if the differences remember as they may; at least 1.

        Nothing is widened by it: a conclusion that would not stand has a caution.
        """
        order = 0.0 if sides.memory is None else sides.memory.order
        return memory_stretch(sides.above.shape[1], lag, sides.overlap, order)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loss(_Kind):
    """A mean loss of the candidate over legacy's; the effect is a share of legacy's loss.

    Failed windows: the candidate's count as twice the largest loss seen, or are left out with
    their origins; legacy's are left out, and a REJECT must also hold where they count as twice
    the largest loss. Losses one side had alone are counted as they are, and capped.

    Attributes
    ----------
    metric
        Name of a comparable aggregate, such as ``crps``.
    """

    metric: str
    unit: ClassVar[EffectUnit] = "share"
    relative: ClassVar[bool] = True
    ways: ClassVar[tuple[FailedAs, ...]] = ("worst", "out")

    @property
    def name(self) -> str:
        """What findings and rules call it."""
        return self.metric

    def readings(self, both: Pair, *, legacy: FailedAs = "out") -> list[CountedPair]:
        """Count failed windows in every way, and in each also cap losses one side had alone.

        One absurd forecast makes any interval too wide to conclude from: it neither hides that the
        candidate is worse elsewhere nor makes legacy a straw man.
        """
        plain = _Kind.readings(self, both, legacy=legacy)
        cut, ours, theirs = capped(both, beyond=self.cell_factor(ALONE))
        if not ours and not theirs:
            return plain
        found = _Kind.readings(self, cut, legacy=legacy)
        return plain + [
            CountedPair(
                pair=each.pair,
                failed=dataclasses.replace(
                    each.failed, candidate_capped=ours, legacy_capped=theirs
                ),
            )
            for each in found
        ]

    def effect(self, excess: float) -> float:
        """Effect of a ratio of means less 1: -0.03 is a loss 3 % lower than legacy's."""
        return excess

    def excess(self, effect: float) -> float:
        """Ratio of means less 1 of an effect: the inverse of `effect`."""
        return effect

    def cell_factor(self, factor: float) -> float:
        """What losses by origin and step are multiplied by to multiply `value` by a factor."""
        return factor

    def whole(self, both: Pair) -> Pair:
        """Losses of both sides; failed windows still in the pair are filled against the candidate.

        The candidate's with twice the largest loss seen on either side, legacy's with the smallest.
        """
        return filled(both)

    def sides(self, whole: Pair) -> Sides:
        """The losses themselves."""
        return Sides(
            above=whole.candidate, below=whole.legacy, overlap=whole.overlap, part=whole.part
        )

    def ratio_of(self, sides: Sides, *, lag: int | None = None) -> MeanRatio:
        """Estimate the ratio of the means of both sides.

        How legacy's level varies leaves a tie alone: no ratio times it is in the difference. Where
        the difference is shown to remember for long, the error is taken to be as much longer.
        """
        found = _ratio_of(sides, lag)
        stretch = self.stretch(sides, found.law.lag)
        found = dataclasses.replace(found, law=found.law.stretched(stretch))
        if sides.tied:
            own = np.diag([float(found.covariance[0, 0]), 0.0])
            return dataclasses.replace(found, below=found.below or 1.0, covariance=own)
        return found

    def stretch(self, sides: Sides, lag: int) -> float:
        """How many times as long the error is taken to be, for shown memory; 1 without."""
        if sides.memory is None or not sides.memory.shown:
            return 1.0
        return memory_stretch(sides.above.shape[1], lag, sides.overlap, sides.memory.order)

    def legacy_variance(self, found: MeanRatio, shares: VarianceShares) -> Range | None:
        """Variance of legacy's mean, as a share of it, and its covariance with the effect."""
        unit = shares.true / shares.found / found.law.n / found.below**2
        both, own = found.covariance[:, 1].tolist()
        return unit * own, unit * self.slope(found.excess) * both

    def over_seeds(self, whole: Pair) -> Range | None:
        """Range of the effect over the seeds of both sides; None where a loss to divide by is 0."""
        ours, theirs = whole.candidate.mean(axis=1), whole.legacy.mean(axis=1)
        if bool(np.any(theirs <= 0)):
            return None
        effects = [self.effect((a - b) / b) for a in ours.tolist() for b in theirs.tolist()]
        return min(effects), max(effects)

    def equality(self, whole: Pair, law: TDistribution) -> DieboldMariano | None:
        """Diebold-Mariano test of equal mean losses, read in the law that decides; not of a tie."""
        above, below = whole.candidate.mean(axis=0), whole.legacy.mean(axis=0)
        return None if tied(above, below) else diebold_mariano(above - below, law)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanLoss(_Loss):
    """A mean loss, such as CRPS or MAE, against legacy's: -0.03 is 3 % lower."""

    kind: Literal["mean_loss"] = "mean_loss"


@dataclass(frozen=True, slots=True, kw_only=True)
class RootLoss(_Loss):
    """The root of a mean of squares, such as RMSE, against legacy's: -0.03 is a root 3 % lower.

    Squares are averaged and tested; effect, bounds and values are those of the roots.
    """

    kind: Literal["root_loss"] = "root_loss"

    def effect(self, excess: float) -> float:
        """Effect of a ratio of mean squares less 1, on the root scale."""
        return excess / (1 + math.sqrt(1 + excess)) if excess > -1 else -1.0

    def excess(self, effect: float) -> float:
        """Ratio of mean squares less 1 of an effect: the inverse of `effect`."""
        return effect * (2 + effect)

    def slope(self, excess: float) -> float:
        """How fast the effect changes with the ratio."""
        return 0.5 / math.sqrt(1 + excess) if excess > -1 else 1.0

    def value(self, mean: float) -> float:
        """The root of a side's mean square."""
        return math.sqrt(mean)

    def cell_factor(self, factor: float) -> float:
        """Squares change by the factor squared."""
        return factor**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill(_Loss):
    """A mean loss against that of the reference arm: -0.03 is a skill of 3 %."""

    metric: str = "crps"
    kind: Literal["skill"] = "skill"

    @property
    def name(self) -> str:
        """What findings and rules call it."""
        return "skill"


@dataclass(frozen=True, slots=True, kw_only=True)
class _OverOnes(_Kind, ABC):
    """A mean over ones; the effect is its distance from `nominal`, in points."""

    unit: ClassVar[EffectUnit] = "points"
    relative: ClassVar[bool] = False

    @property
    @abstractmethod
    def nominal(self) -> float:
        """The mean from which the distance is taken."""

    def effect(self, excess: float) -> float:
        """Distance from nominal of a mean that is 1 + `excess`."""
        return excess + (1 - self.nominal)

    def excess(self, effect: float) -> float:
        """Mean less 1 of an effect: the inverse of `effect`."""
        return effect - (1 - self.nominal)

    def whole(self, both: Pair) -> Pair:
        """Shares covered; failed windows still in the pair are missed, and legacy's covered."""
        return filled(both, candidate=0.0, legacy=1.0)

    def ratio_of(self, sides: Sides, *, lag: int | None = None) -> MeanRatio:
        """Estimate the mean, its error as much longer as `stretch` says."""
        found = _ratio_of(sides, lag)
        law = found.law.stretched(self.stretch(sides, found.law.lag))
        return dataclasses.replace(found, law=law)

    def stretch(self, sides: Sides, lag: int) -> float:
        """How many times as long the error is taken to be: hits cluster with the volatility.

        1 for a part of few origins: what lies between them is not known.
        """
        count = sides.above.shape[1]
        if sides.persistence is None or (sides.part and count < FEW):
            return 1.0
        return sides.persistence.stretch(count, lag, sides.overlap)

    def stretch_feared(self, sides: Sides, lag: int) -> float:
        """The same where hits cluster, half way from how likely that is to certain."""
        count, found = sides.above.shape[1], _Kind.stretch_feared(self, sides, lag)
        if sides.persistence is None or (sides.part and count < FEW):
            return found
        feared = dataclasses.replace(sides.persistence, weight=(1 + sides.persistence.weight) / 2)
        return max(found, feared.stretch(count, lag, sides.overlap))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share(_OverOnes, ABC):
    """A share of origins or sessions: the ratio is the share itself."""

    def ratio_of(self, sides: Sides, *, lag: int | None = None) -> MeanRatio:
        """Estimate a share and its uncertainty.

        The variance of a share r is proportional to ``r (1 - r)``, at the value that is tested and
        not at the one found: Wilson's interval (1927), with the long-run variance in the place of
        the binomial one. A share that never varies gets the variance it would have if all steps of
        a window were hit or missed together.
        """
        found = _OverOnes.ratio_of(self, sides, lag=lag)
        share = found.above
        binomial, own = share * (1 - share), float(found.covariance[0, 0])
        times = own / binomial if min(binomial, own) > 1e-15 else 1.0  # 1 for independent windows
        both = share - 0.5
        covariance = times * np.array([[binomial, both], [both, -1.0]])
        return dataclasses.replace(found, covariance=covariance)

    def uncertain(self, sides: Sides) -> bool:
        """There always is an uncertainty: `ratio_of` gives one to a share that never varies."""
        return True

    def variance_at(self, excess: float) -> float:
        """Nominal where none or all is hit: the share is not known exactly then."""
        return self.nominal - 1 if excess in (0.0, -1.0) else excess

    def share_at(self, value: float | None) -> float | None:
        """Share at which the variance holds: nominal where none or all is hit."""
        if value is None:
            return None
        return value if 0.0 < value < 1.0 else self.nominal


def _ratio_of(sides: Sides, lag: int | None) -> MeanRatio:
    return mean_ratio(*sides.means, sides.overlap, lag=lag, part=sides.part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage(_Share):
    """Share of sessions in the candidate's central interval, less what the interval promises.

    The effect -0.03 is three points too few. It is bounded on both sides by a tolerance, and
    legacy's coverage is shown beside it and not judged. Failed windows of the candidate are
    counted as missed, as covered, and left out with their origins; legacy's change nothing.

    Attributes
    ----------
    level
        Nominal coverage in per cent.
    """

    level: int
    kind: Literal["coverage"] = "coverage"
    candidate_alone: ClassVar[bool] = True
    two_sided: ClassVar[bool] = True
    ways: ClassVar[tuple[FailedAs, ...]] = ("missed", "covered", "out")

    @staticmethod
    def meant_by(text: str) -> bool:
        """Whether a name in a policy means a coverage, of whatever level."""
        return text.partition("_")[0] == "coverage"

    @property
    def metric(self) -> str:
        """Name of the aggregate it is the mean of."""
        return f"coverage_{self.level}"

    @property
    def name(self) -> str:
        """What findings and rules call it."""
        return self.metric

    @property
    def nominal(self) -> float:
        """The promised coverage as a share."""
        return self.level / 100

    def bounds(self, tolerance: float) -> tuple[float | None, float]:
        """Where the effect must be shown to lie for a tolerance: within it on both sides."""
        return -tolerance, tolerance

    def sides(self, whole: Pair) -> Sides:
        """The candidate's coverage over ones."""
        ones = np.ones((1, len(whole.origin)))
        return Sides(above=whole.candidate, below=ones, overlap=whole.overlap, part=whole.part)

    def over_seeds(self, whole: Pair) -> Range | None:
        """Range of the effect over the candidate's seeds."""
        effects = [self.effect(each - 1) for each in whole.candidate.mean(axis=1).tolist()]
        return min(effects), max(effects)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelativeCoverage(_OverOnes):
    """How much further the candidate's coverage lies from nominal than legacy's, in points.

    The effect 0.03 is three points further. On each origin both distances are counted towards the
    side of nominal on which the mean lies, so the effect is a mean of paired differences. It is no
    larger than the distance between both coverages, nor than the candidate's own from nominal: a
    candidate within the tolerance of either keeps the rule, and as any of the three is enough each
    is tested at a third of alpha. Failed windows of the candidate are counted as missed, as
    covered, and left out with their origins; legacy's are left out, and a REJECT must also hold
    where they are counted as missed.

    Attributes
    ----------
    level
        Nominal coverage in per cent.
    """

    level: int
    kind: Literal["relative_coverage"] = "relative_coverage"
    alpha_share: ClassVar[float] = 1 / 3
    ways: ClassVar[tuple[FailedAs, ...]] = ("missed", "covered", "out")
    worst: ClassVar[FailedAs] = "missed"

    @property
    def metric(self) -> str:
        """Name of the aggregate both sides are means of."""
        return f"coverage_{self.level}"

    @property
    def name(self) -> str:
        """What findings and rules call it."""
        return f"coverage_{self.level}_relative"

    @property
    def nominal(self) -> float:
        """The ratio of equal distances, as 1 is added to their difference."""
        return 1.0

    @property
    def promised(self) -> float:
        """The promised coverage as a share."""
        return self.level / 100

    def sides(self, whole: Pair) -> Sides:
        """1 and the difference of distances over ones, which legacy's seeds move as in `Wins`."""
        ours, theirs = whole.candidate - self.promised, whole.legacy - self.promised

        def over_ones(first: Array, second: Array) -> Sides:
            above = 1 + first - second.mean(axis=0)
            level = float(above.mean()) or 1.0  # 0 where one covers nothing and the other all
            below = 1 + (second - second.mean(axis=0)) / level
            return Sides(above=above, below=below, overlap=whole.overlap, part=whole.part)

        apart, alone = over_ones(ours, theirs), over_ones(ours, np.zeros_like(theirs))
        signs = [1.0 if each.mean() >= 0 else -1.0 for each in (ours, theirs)]
        main = over_ones(signs[0] * ours, signs[1] * theirs)
        return dataclasses.replace(main, others=tuple(e for e in (apart, alone) if e.varies))

    def over_seeds(self, whole: Pair) -> Range | None:
        """Range of the effect over the seeds of both sides."""
        ours, theirs = (
            np.abs(side.mean(axis=1) - self.promised) for side in (whole.candidate, whole.legacy)
        )
        effects = [a - b for a in ours.tolist() for b in theirs.tolist()]
        return min(effects), max(effects)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wins(_Share):
    """Share of origins on which the candidate's loss is the higher one, less one half.

    The effect -0.03 is 53 of 100 origins won; the same loss counts half. Failed windows of the
    candidate are lost, or left out with their origins; legacy's are left out, and a REJECT must
    also hold where they count as twice the largest loss.

    Attributes
    ----------
    metric
        The loss by which origins are won.
    """

    metric: str
    kind: Literal["wins"] = "wins"
    ways: ClassVar[tuple[FailedAs, ...]] = ("lost", "out")

    @property
    def name(self) -> str:
        """What findings and rules call it."""
        return f"{self.metric}_wins"

    @property
    def nominal(self) -> float:
        """Half of the origins: neither side is better."""
        return 0.5

    def whole(self, both: Pair) -> Pair:
        """The share of each origin that a seed of one side loses to those of the other."""
        return lost(both)

    def sides(self, whole: Pair) -> Sides:
        """The share lost over ones.

        Legacy's seeds stand below too, by what each takes from or adds to the share, so that how
        they differ is seen.
        """
        below = np.ones((1, len(whole.origin)))
        level = float(whole.candidate.mean())
        if level > 0:
            below = 1 + (whole.legacy - whole.legacy.mean(axis=0)) / level
        return Sides(above=whole.candidate, below=below, overlap=whole.overlap, part=whole.part)

    def ratio_of(self, sides: Sides, *, lag: int | None = None) -> MeanRatio:
        """Estimate the share lost as any share; arms that tie on every origin have no variance."""
        found = _Share.ratio_of(self, sides, lag=lag)
        tied = bool(np.all(sides.means[0] == 0.5))
        return dataclasses.replace(found, covariance=np.zeros((2, 2))) if tied else found

    def over_seeds(self, whole: Pair) -> Range | None:
        """Range of the effect over the seeds of both sides."""
        ours, theirs = whole.candidate.mean(axis=1), whole.legacy.mean(axis=1)
        apart = theirs.mean() - theirs
        effects = [self.effect(a + b - 1) for a in ours.tolist() for b in apart.tolist()]
        return min(effects), max(effects)


Estimand = MeanLoss | RootLoss | Coverage | RelativeCoverage | Wins | Skill
"""Any of the kinds; `kind` tells them apart in a record."""


def loss_of(metric: str) -> MeanLoss | RootLoss:
    """The estimand of a comparable aggregate: its mean, or the root of it."""
    return RootLoss(metric=metric) if AGGREGATES[metric].rooted else MeanLoss(metric=metric)


_LOSSES = [name for name, each in AGGREGATES.items() if each.comparable]
_ESTIMANDS: dict[str, Estimand] = {
    each.name: each
    for each in (
        *(loss_of(name) for name in _LOSSES),
        *(Wins(metric=name) for name in _LOSSES),
        *(Coverage(level=level) for level in CENTRAL),
        *(RelativeCoverage(level=level) for level in CENTRAL),
        Skill(),
    )
}
ESTIMANDS: Mapping[str, Estimand] = _ESTIMANDS
"""Every estimand by the name that findings and rules call it."""


def name_loss(metric: str) -> None:
    """Let findings and rules name a loss that was not there when this module was imported."""
    for each in (loss_of(metric), Wins(metric=metric)):
        _ESTIMANDS[each.name] = each
