"""The comparison: paired losses of two arms on one dataset, and what they say."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field

import numpy as np

from harness.evidence.estimand import Estimand
from harness.evidence.estimates import (
    Conclusion,
    Estimate,
    LagAndBlock,
    Method,
    Question,
    Sensitivity,
    agreed,
    block_of,
    by_test,
    deciding,
    lean_in,
    seed_variance,
    shaken,
)
from harness.evidence.pairing import FailedWindows, Pair, Sides
from harness.reasons import Reason, ReasonCode, reason
from harness.scoring.scores import non_overlapping
from harness.stats.long_memory import LongMemory
from harness.stats.longrun import (
    DieboldMariano,
    MeanRatio,
    centred,
    first_order,
    shares_of,
)
from harness.stats.statistical_power import LEAST_INDEPENDENT
from harness.window import Dates


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """How much a comparison looked at.

    Attributes
    ----------
    n, overlap, independent_n
        Origins; consecutive ones that share a session; and non-overlapping ones.
    candidate_seeds, legacy_seeds
        Seeds of each side.
    """

    n: int
    overlap: int
    independent_n: int
    candidate_seeds: int
    legacy_seeds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """The effect that all methods share, and what it is made of; None where there is no number.

    Attributes
    ----------
    value
        The effect of the estimand.
    candidate, legacy
        Means of both sides: the loss scaled by the last close, or its root; the share covered
        (legacy's own, shown and not judged); the share of origins each side loses to the other.
    seed_low, seed_high
        Range of the effect over the seeds.
    """

    value: float | None = None
    candidate: float | None = None
    legacy: float | None = None
    seed_low: float | None = None
    seed_high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Variances:
    """How the effect varies, for planning.

    Attributes
    ----------
    rho
        First-order autocorrelation of the differences, less its bias.
    lean
        Skewness of the effect over samples, less what may be noise.
    effective_n
        How many independent origins the estimate is worth.
    origins, candidate_seeds, legacy_seeds
        Variance of the effect by source: long-run variance over n, and the variance between the
        seeds of a side over their number.
    memory
        How the differences remember; None for too few origins.
    memory_stretch, stretch
        How many times as wide an interval would have to be if they remember as they may, and how
        many times as wide it was made, for what a long-run variance does not see.
    level, level_covariance
        Variance of legacy's mean loss, as a share of it, and its covariance with the effect, both
        over origins: what a bound far from the effect adds to the error of a ratio. As much longer
        as the interval was made. None where legacy's mean is no scale.
    """

    rho: float
    lean: float
    effective_n: float
    origins: float
    candidate_seeds: float
    legacy_seeds: float
    level: float | None
    level_covariance: float | None
    memory: LongMemory | None = None
    memory_stretch: float = 1.0
    stretch: float = 1.0


RECENT_SHARE = 0.3
"""Share of the origins that is looked at by itself, the last ones."""
RECENT_LEAST = 12
"""Non-overlapping origins that it holds at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentEffect:
    """The effect over the last origins: a break is averaged away in that over all of them.

    Attributes
    ----------
    n, since
        Origins, and the ISO date of the first of them.
    effect
        None where it has no number.
    """

    n: int
    since: str
    effect: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Planning:
    """What such a plan can tell, and what would decide a question that is open.

    Attributes
    ----------
    detectable
        Smallest distance of the true effect from the bound that is found with the power asked
        for; None where no distance is, or where too few origins allow no prediction.
    chances
        True effects with the chance that such a plan decides: that every method shows an effect of
        that size to keep its bound or to break it. Of a gain that is asked for, to be there.
    chance
        The same if the true effect is the one that was found.
    more_origins, decided_by
        Further independent origins that would decide if the effect stays as it is, and the ISO
        date by which they exist where that is within a year; None when decided, out of reach or
        without a prediction.
    seeds_needed
        Seeds a side that would decide where no number of origins would; None otherwise.
    """

    detectable: float | None = None
    chances: tuple[tuple[float, float], ...] = ()
    chance: float | None = None
    more_origins: int | None = None
    decided_by: str | None = None
    seeds_needed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Candidate against legacy by one estimand on one dataset.

    Attributes
    ----------
    question
        What was asked: estimand, bounds, error rate and power.
    dataset, candidate, legacy
        What is compared.
    sample, failed
        How much was looked at, and what became of failed windows.
    effect
        What was found.
    variances
        How it varies; None where nothing was found.
    lengths
        Lag, block and resamples; all 0 where nothing was estimated.
    estimates
        `hac` and `bootstrap`; `seeds` and `two_level` where a side has several seeds;
        `independent` when origins overlap.
    equality
        Diebold-Mariano test of equal losses, two-sided, at the lag and in the law of the t test
        that decides. None when the losses are identical or the estimand is no loss.
    conclusion
        What all estimates but `independent` agree on; ``undecided`` otherwise.
    reason
        Why there is no conclusion; None when there is one.
    sensitivity
        Whether the conclusion stands without the most influential windows and at other lags.
    planning
        What such a plan can tell.
    recent
        The last origins alone; None where that is all of them.
    """

    question: Question
    dataset: str
    candidate: str
    legacy: str
    sample: Sample
    failed: FailedWindows
    effect: Effect = Effect()
    variances: Variances | None = None
    lengths: LagAndBlock = field(default_factory=LagAndBlock)
    estimates: tuple[Estimate, ...] = ()
    equality: DieboldMariano | None = None
    conclusion: Conclusion = "undecided"
    reason: Reason | None = None
    sensitivity: Sensitivity | None = None
    planning: Planning = Planning()
    recent: RecentEffect | None = None

    @property
    def estimand(self) -> Estimand:
        """What is compared."""
        return self.question.estimand

    @property
    def silent(self) -> bool:
        """Whether so few non-overlapping origins allow no prediction."""
        return self.sample.independent_n < LEAST_INDEPENDENT

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """Lowest lower and highest upper bound of the methods that decide; None where one is open.

        What tables, sentences and claims show. The long lag is not among them: it can only keep a
        bound from being shown broken.
        """
        found = [each for each in self.estimates if each.method not in ("independent", "long")]
        lower = [each.lower for each in found if each.lower is not None]
        upper = [each.upper for each in found if each.upper is not None]
        return (
            min(lower) if found and len(lower) == len(found) else None,
            max(upper) if found and len(upper) == len(found) else None,
        )

    @property
    def settled_at(self) -> float | None:
        """The smallest bound that would be shown to be kept today; None where there is none."""
        low, high = self.bounds
        if high is None or self.question.bound_low is None:
            return high
        return None if low is None else max(high, -low)

    @property
    def shaken(self) -> bool:
        """Whether the conclusion would not stand if the differences remember as they seem to."""
        known = self.variances
        if known is None:
            return False
        return shaken(self.estimates, self.question, known.memory_stretch / known.stretch)

    def estimate(self, method: Method) -> Estimate | None:
        """The estimate by one method, if it was made."""
        return next((each for each in self.estimates if each.method == method), None)


def answer(both: Pair, question: Question, *, brief: bool = False) -> Comparison:
    """Say what paired losses say to a question: effect, uncertainty, conclusion.

    Failed windows that are still in the pair are filled against the candidate, so that a failure
    never helps it. The effect is that of the mean over seeds. `hac` and `bootstrap` say how sure
    it is over origins; where a side has several seeds, `seeds` and `two_level` say how sure it is
    over seeds as well. With `brief` none is asked where the first leaves the question open.
    """
    estimand = question.estimand
    whole = estimand.whole(both)
    apart = non_overlapping(both.origin, both.reach)
    candidate, legacy, dataset = both.names
    blank = Comparison(
        question=question,
        dataset=dataset,
        candidate=candidate,
        legacy=legacy,
        sample=Sample(
            n=len(both.origin),
            overlap=both.overlap,
            independent_n=len(apart),
            candidate_seeds=len(both.candidate),
            legacy_seeds=len(both.legacy),
        ),
        failed=FailedWindows(
            candidate=int((~both.candidate_ok).sum()), legacy=int((~both.legacy_ok).sum())
        ),
    )
    if nothing := _why_nothing(whole):
        return dataclasses.replace(blank, reason=nothing)
    sides = estimand.sides(whole)
    if not estimand.uncertain(sides):
        return dataclasses.replace(blank, reason=reason(ReasonCode.CONSTANT))
    found = estimand.ratio_of(sides)
    effect, variances = _found(whole, sides, found, estimand)
    estimates = deciding(sides, question, brief=brief)
    conclusion, open_because = agreed(estimates)
    if 2 <= len(apart) < len(both.origin):  # the non-overlapping origins alone, for the reader
        alone = estimand.ratio_of(dataclasses.replace(sides.at(apart), overlap=1))
        estimates = (*estimates, by_test("independent", alone, question))
    lag = found.law.lag
    return dataclasses.replace(
        blank,
        effect=effect,
        variances=variances,
        lengths=LagAndBlock(lag=lag, block=block_of(sides, lag), resamples=question.resamples),
        estimates=estimates,
        equality=estimand.equality(whole, found.law),
        conclusion=conclusion,
        reason=open_because,
        recent=recent_of(sides, both.origin_date, estimand),
    )


def recent_origins(count: int, overlap: int) -> int | None:
    """How many of the origins are looked at by themselves; None where that is all of them."""
    last = max(RECENT_LEAST * overlap, math.ceil(RECENT_SHARE * count))
    return None if last >= count else last


def recent_of(sides: Sides, dates: Dates, estimand: Estimand) -> RecentEffect | None:
    """Look at the last origins alone; None where that is all of them.

    Parameters
    ----------
    dates : [n]
        Of the origins of both sides.
    """
    count = len(dates)
    last = recent_origins(count, sides.overlap)
    if last is None:
        return None
    excess, _ = centred(*sides.at(np.arange(count - last, count)).means)
    return RecentEffect(
        n=last,
        since=str(dates[count - last].astype("datetime64[D]")),
        effect=estimand.effect(excess) if math.isfinite(excess) else None,
    )


def _why_nothing(filled: Pair) -> Reason | None:
    if len(filled.origin) < 2:
        return reason(ReasonCode.ONE_ORIGIN, origins=len(filled.origin))
    sides = (filled.candidate, filled.legacy)
    for name, losses in zip(filled.names[:2], sides, strict=True):
        count = int((~np.isfinite(losses)).sum())
        if count:
            return reason(ReasonCode.NO_NUMBER, arm=name, missing=count, losses=losses.size)
    return None


def _found(
    whole: Pair, sides: Sides, found: MeanRatio, estimand: Estimand
) -> tuple[Effect, Variances | None]:
    """The effect and where its variance comes from; nothing where the ratio has no number."""
    ratio, excess = found.ratio, found.excess
    if not math.isfinite(excess):
        return Effect(), None
    low, high = estimand.over_seeds(whole) or (None, None)
    effect = Effect(
        value=estimand.effect(excess),
        candidate=estimand.value(float(whole.candidate.mean())),
        legacy=estimand.value(float(whole.legacy.mean())),
        seed_low=low,
        seed_high=high,
    )
    difference = sides.difference
    count, spread = len(difference), float(difference.var())
    rho = first_order(difference)
    shares = shares_of(count, found.law.lag, sides.overlap, rho)
    variance = found.variance(excess) / shares.found
    worth = count * spread / variance if variance > 0 and spread > 0 else float(count)
    unit = (estimand.slope(excess) / found.below) ** 2
    over_origins = unit * found.variance(estimand.variance_at(excess)) / found.law.n
    longer = estimand.stretch(sides, found.law.lag)
    level = estimand.legacy_variance(found, shares)
    return effect, Variances(
        rho=rho,
        lean=lean_in(sides),
        effective_n=min(float(count), max(1.0, worth)),
        origins=over_origins * shares.true / shares.found * longer**2,
        candidate_seeds=unit * seed_variance(sides.above) if sides.seeded else 0.0,
        legacy_seeds=unit * ratio**2 * seed_variance(sides.below) if sides.seeded else 0.0,
        level=None if level is None else level[0] * longer**2,
        level_covariance=None if level is None else level[1] * longer**2,
        memory=sides.memory,
        memory_stretch=estimand.stretch_feared(sides, found.law.lag),
        stretch=longer,
    )
