"""How sure an effect is: a question about two sides, answered by one method at a time.

Shapes: n origins in time order.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness.evidence.estimand import Estimand
from harness.evidence.pairing import Sides
from harness.reasons import Reason, ReasonCode, reason
from harness.stats.bootstrap import RESAMPLES, block_law, lean_of, stretched
from harness.stats.longrun import (
    FEW,
    TIE,
    MeanRatio,
    TDistribution,
    block_starts,
    centred,
    circular_means,
    first_order,
    generator_of,
    optimal_block,
    tail_safe,
)
from harness.stats.statistical_power import freedom_of
from harness.window import Array, Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of a pair of arms.

    Attributes
    ----------
    estimand
        What is compared.
    bound_low, bound_high
        The effect must be shown to lie between these; `bound_low` None is no lower bound.
    alpha, power
        Error rate of each bound; chance with which the detectable effect is found.
    alpha_beyond
        Error rate at which a bound is shown broken beside other rules that could be; for planning.
    resamples
        Of a bootstrap.
    among_looks
        It is asked at one of several looks, whose levels are small: see `tail_safe`.
    """

    estimand: Estimand
    bound_low: float | None = None
    bound_high: float
    alpha: float = 0.05
    power: float = 0.8
    alpha_beyond: float | None = None
    resamples: int = RESAMPLES
    among_looks: bool = False

    @property
    def bounds(self) -> tuple[float, ...]:
        """The upper bound, and the lower one where there is one."""
        return (self.bound_high,) if self.bound_low is None else (self.bound_high, self.bound_low)

    @property
    def recent_bounds(self) -> tuple[float | None, float]:
        """Where the effect over the last origins must lie too, or what is shown is vetoed.

        Where a gain is asked for, there must be one. The hits of so few swing more than the
        differences of paired losses do, so a coverage may be twice its tolerance away.
        """
        if self.bound_low is not None:
            return 2 * self.bound_low, 2 * self.bound_high
        return None, max(0.0, self.bound_high)


def seed_variance(losses: Array) -> float:
    """Variance of the mean over seeds of losses [S, n]: that between seeds, over S; 0 for one.

    The variance between the seeds' means holds what they do differently on single origins as
    well, and so does the long-run variance: their sum errs on the wide side. Source: Owen (2007).
    """
    if len(losses) < 2:
        return 0.0
    return float(losses.mean(axis=1).var(ddof=1)) / len(losses)


def with_seeds(found: MeanRatio, above: Array, below: Array) -> MeanRatio:
    """Add the variance between seeds to that over origins, for sides [S, n] each.

    Degrees of freedom by Satterthwaite (1946), at the estimated ratio: two seeds say little of
    how seeds vary, and the interval says so.
    """
    ratio = found.ratio if found.below else 1.0
    above_v, below_v = seed_variance(above), seed_variance(below)
    seeds = [
        (variance, len(side) - 1.0)
        for variance, side in ((above_v, above), (ratio**2 * below_v, below))
        if variance > 0
    ]
    origins = float(found.covariance[0, 0]) / (found.law.n * found.law.factor**2)
    freedom = freedom_of([(origins, found.law.freedom), *seeds])
    covariance = found.covariance / found.law.factor**2
    turned = np.array([[ratio**2, -ratio], [-ratio, 1.0]])  # legacy's own, seen at the ratio
    return dataclasses.replace(
        found,
        covariance=covariance + found.law.n * (np.diag([above_v, 0.0]) + below_v * turned),
        law=TDistribution(n=found.law.n, lag=found.law.lag, factor=1.0, freedom=freedom),
    )


def resampled_means(
    losses: Array, starts: npt.NDArray[np.int64], block: int, generator: np.random.Generator
) -> Array:
    """Means [B] of one side [S, n] with seeds drawn with replacement and blocks of origins.

    Drawn seeds are set ``sqrt(S / (S - 1))`` times as far from their mean as they are, so that
    the resampled variance is that of `seed_variance` without bias. Source: Davison and Hinkley
    (1997), section 3.8.
    """
    means = circular_means(losses, starts, block)  # [S, B]
    count = len(losses)
    middle: Array = means.mean(axis=0)
    if count < 2:
        return middle
    drawn = generator.integers(count, size=(count, means.shape[1]))
    apart: Array = np.take_along_axis(means, drawn, axis=0).mean(axis=0) - middle
    return middle + math.sqrt(count / (count - 1)) * apart


Conclusion = Literal["within", "beyond", "undecided"]
Method = Literal["hac", "bootstrap", "seeds", "two_level", "long", "independent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The effect with its uncertainty by one method.

    Attributes
    ----------
    method
        ``hac`` (autocorrelation-robust t), ``bootstrap`` (circular blocks), ``seeds`` (hac with
        the variance between seeds added), ``two_level`` (seeds and blocks resampled together),
        ``long`` (hac with a lag of a third of the sample) or ``independent`` (hac on the
        non-overlapping origins alone).
    n
        Origins used.
    effect
        Point estimate; None when it has none.
    low, high
        Two-sided interval of level 1 - alpha; None on a side that is not bounded.
    lower, upper
        One-sided bounds of level 1 - alpha each: what the decision rests on. None on a side that
        is not bounded, where nothing is shown.
    p_within, p_beyond
        P-values of "the bound is not kept" and of "the bound is kept": a `p_within` below alpha
        shows that the candidate keeps its bound, such a `p_beyond` that it breaks it.
    conclusion
        ``within`` the bound, ``beyond`` it, or ``undecided``.
    """

    method: Method
    n: int
    effect: float | None
    low: float | None
    high: float | None
    lower: float | None
    upper: float | None
    p_within: float | None
    p_beyond: float | None
    conclusion: Conclusion


def deciding(
    sides: Sides,
    question: Question,
    *,
    lag: int | None = None,
    block: int | None = None,
    brief: bool = False,
) -> tuple[Estimate, ...]:
    """Answer by every method the conclusion rests on; lag and block by their rules or given.

    With `brief` nothing else is asked where the t test leaves the question open: no other method
    could decide it.
    """
    low = dataclasses.replace(question, bound_low=-question.bound_high)
    ways = [(sides, question), *((other, low) for other in sides.others)]
    made: list[Estimate] = []
    methods = (_methods(*way, lag=lag, block=block, seeded=sides.seeded) for way in ways)
    for own, *others in zip(*methods, strict=False):  # all are as many
        made.append(reduce(lambda one, two: _nearer(one, two, question), others, own))
        if brief and made[0].conclusion == "undecided":
            break
    return tuple(made)


def _methods(
    sides: Sides, question: Question, *, lag: int | None, block: int | None, seeded: bool
) -> Iterator[Estimate]:
    found = ratio_for(sides, question, lag=lag)
    yield by_test("hac", found, question)
    length = block_of(sides, found.law.lag) if block is None else block
    yield by_bootstrap(sides, length, question)
    if seeded:
        yield by_test("seeds", with_seeds(found, sides.above, sides.below), question)
        yield by_two_levels(sides, length, question)
    if question.estimand.two_sided and lag is None and 0 < found.above < 1:
        count = sides.above.shape[1]
        far = ratio_for(sides, question, lag=max(found.law.lag, count // 3))
        yield by_test("long", far, question)


def ratio_for(sides: Sides, question: Question, *, lag: int | None = None) -> MeanRatio:
    """The ratio of both sides' means, in the law that the question is answered in."""
    found = question.estimand.ratio_of(sides, lag=lag)
    if not question.among_looks:
        return found
    law = tail_safe(found.law, sides.overlap, first_order(sides.difference))
    return dataclasses.replace(found, law=law)


def _nearer(one: Estimate, other: Estimate, question: Question) -> Estimate:
    """The first, with upper bounds of another effect that is as large without its sign."""

    def least(mine: float | None, low: float | None, high: float | None) -> float | None:
        size = None if low is None or high is None else max(high, -low)
        return min((each for each in (mine, size) if each is not None), default=None)

    chances = [each for each in (one.p_within, other.p_within) if each is not None]
    p_within = min(chances, default=None)
    return dataclasses.replace(
        one,
        upper=least(one.upper, other.lower, other.upper),
        high=least(one.high, other.low, other.high),
        p_within=p_within,
        conclusion=_conclusion(p_within, one.p_beyond, question.alpha),
    )


def block_of(sides: Sides, lag: int) -> int:
    """Bootstrap block: the automatic length, or the reach of the HAC lag where that is longer.

    The automatic length makes the variance's squared error small; like the lag, a bound that
    keeps its level needs longer blocks. At most half of the origins.
    """
    difference = sides.difference
    wanted = lag + 1
    if not (sides.part and len(difference) < FEW):
        wanted = max(math.ceil(optimal_block(difference)), wanted)
    return max(1, min(len(difference) // 2, wanted))


def lean_in(sides: Sides) -> float:
    """Skewness of the mean difference, from blocks of the automatic length."""
    difference = sides.difference
    block = max(math.ceil(optimal_block(difference)), sides.overlap)
    return lean_of(difference, min(block, len(difference)))


def by_test(method: Method, found: MeanRatio, question: Question) -> Estimate:
    """Interval and p-values by the autocorrelation-robust t test."""
    if not found.below:  # no ratio
        return _estimate(method, found.law.n, question, excesses=(None,) * 5, p=(None, None))
    (lower, upper), (low, high) = found.bounds(question.alpha), found.bounds(question.alpha / 2)
    excesses = (low, lower, found.excess, upper, high)
    p = _p_values(question, found.chance_above, found.chance_below)
    return _estimate(method, found.law.n, question, excesses=excesses, p=p)


def by_bootstrap(sides: Sides, block: int, question: Question) -> Estimate:
    """Percentile interval of circular block resamples; the seed is a digest of the losses."""
    above, below = sides.means
    excess, around = centred(above, below)
    starts = block_starts(len(around), block, question.resamples, generator_of(above, below))
    drawn = circular_means(np.stack([around, below]), starts, block)
    law = block_law(len(around), block).stretched(question.estimand.stretch(sides, block - 1))
    return _by_draws("bootstrap", sides, (excess, drawn[0], drawn[1]), law, question)


def by_two_levels(sides: Sides, block: int, question: Question) -> Estimate:
    """Percentile interval of resampled seeds of both sides and blocks of origins together."""
    generator = generator_of(sides.above, sides.below)
    excess, _ = centred(*sides.means)
    starts = block_starts(sides.above.shape[1], block, question.resamples, generator)
    above = resampled_means(sides.above, starts, block, generator)
    below = resampled_means(sides.below, starts, block, generator)
    law = block_law(sides.above.shape[1], block)
    law = law.stretched(question.estimand.stretch(sides, block - 1))
    around = (above - below) - excess * below
    return _by_draws("two_level", sides, (excess, around, below), law, question)


def _by_draws(
    method: Method,
    sides: Sides,
    drawn: tuple[float, Array, Array],
    law: TDistribution,
    question: Question,
) -> Estimate:
    """Read interval and p-values off the excess found and resampled means [B] around it.

    The means are those of ``candidate - ratio * legacy`` and of legacy. A resample in which the
    latter is not above 0 has no ratio: it counts as larger than any bound and as smaller.
    """
    excess, around, below = drawn
    count = sides.above.shape[1]
    if not math.isfinite(excess):
        return _estimate(method, count, question, excesses=(None,) * 5, p=(None, None))
    if sides.tied:
        below = np.full(len(below), float(below.mean()) or 1.0)
    none, size = below <= 0, len(below)
    ratio = around / np.where(none, 1.0, below)
    lean, places = lean_in(sides), np.linspace(0.0, 1.0, size)
    tops = bottoms = stretched(np.where(none, _FAR, ratio), 0.0, law, lean)
    if none.any():
        bottoms = stretched(np.where(none, -_FAR, ratio), 0.0, law, lean)

    def end(ordered: Array, share: float) -> float | None:
        found = float(np.interp(share, places, ordered))
        return excess + found if abs(found) < _FAR / size else None

    def chance(ordered: Array, bound: float) -> float:
        """Share of resamples below, as the quantiles are interpolated; never 0."""
        return max(0.5 / (size + 1), float(np.interp(bound, ordered, places)))

    alpha = question.alpha
    low, lower = end(bottoms, alpha / 2), end(bottoms, alpha)
    upper, high = end(tops, 1 - alpha), end(tops, 1 - alpha / 2)
    p = _p_values(
        question,
        lambda bound: chance(-tops[::-1], excess - bound),
        lambda bound: chance(bottoms, bound - excess),
    )
    excesses = (low, lower, excess, upper, high)
    return _estimate(method, count, question, excesses=excesses, p=p)


_FAR = 1e200
"""Stands for a ratio without a number."""


def _p_values(
    question: Question, above: Callable[[float], float], below: Callable[[float], float]
) -> tuple[float, float]:
    """P-values of "not within" and "not beyond", from those of a ratio above and below an excess.

    A difference below `TIE` counts for neither: nothing is shown within or beyond by a rounding.
    """
    excess, high = question.estimand.excess, question.bound_high
    within, beyond = above(excess(high - TIE)), below(excess(high + TIE))
    if question.bound_low is not None:  # both must be kept, either can be broken
        low = question.bound_low
        within = max(within, below(excess(low + TIE)))
        beyond = min(1.0, 2 * min(beyond, above(excess(low - TIE))))
    return within, beyond


def _estimate(
    method: Method,
    n: int,
    question: Question,
    *,
    excesses: Sequence[float | None],
    p: tuple[float | None, float | None],
) -> Estimate:
    """Put excesses (low, lower, point, upper, high) on the scale of effects and conclude."""
    low, lower, effect, upper, high = (
        None if each is None else question.estimand.effect(each) for each in excesses
    )
    return Estimate(
        method=method,
        n=n,
        effect=effect,
        low=low,
        high=high,
        lower=lower,
        upper=upper,
        p_within=p[0],
        p_beyond=p[1],
        conclusion=_conclusion(p[0], p[1], question.alpha),
    )


def _conclusion(p_within: float | None, p_beyond: float | None, alpha: float) -> Conclusion:
    """Conclude from both p-values: what is printed and what is concluded cannot disagree."""
    if p_within is not None and p_within < alpha:
        return "within"
    return "beyond" if p_beyond is not None and p_beyond < alpha else "undecided"


def agreed(estimates: Sequence[Estimate]) -> tuple[Conclusion, Reason | None]:
    """The conclusion all methods share, or why there is none.

    The t test and the block bootstrap come first. The tests over seeds and origins may only take
    a conclusion away: what does not survive them holds for the models that were trained, not for
    the next ones. So may the long lag, where a bound is broken: hits of an interval cluster with
    the volatility for longer than a sample shows.
    """
    asked = [each for each in estimates if each.method != "long"]
    said = [each.conclusion for each in asked]
    if any(each.upper is None for each in asked if each.conclusion == "undecided"):
        return "undecided", reason(ReasonCode.NO_BOUNDS)
    long = next((each for each in estimates if each.method == "long"), None)
    if set(said) == {"beyond"} and long is not None and long.conclusion != "beyond":
        return "undecided", reason(ReasonCode.MAY_CLUSTER)
    if len(set(said)) == 1:
        return said[0], reason(ReasonCode.CROSSES) if said[0] == "undecided" else None
    if said[0] != said[1]:
        return "undecided", reason(ReasonCode.METHODS_DISAGREE, test=said[0], bootstrap=said[1])
    return "undecided", reason(ReasonCode.SEEDS_DISAGREE, said=said[0])


def shaken(estimates: Sequence[Estimate], question: Question, wider: float) -> bool:
    """Whether what is concluded would not be if every error were so many times as long.

    Only the estimates that give a conclusion are asked: not those over a long lag, nor over
    independent origins alone.
    """
    asked = [each for each in estimates if each.method not in ("long", "independent")]
    said = {each.conclusion for each in asked}
    least, most = question.bound_low, question.bound_high

    def beyond(end: float | None, effect: float | None, bound: float | None, sign: int) -> bool:
        """Whether a bound that far out still lies above, sign 1, or below what is asked."""
        if end is None or effect is None or bound is None:
            return False
        return sign * (effect + wider * (end - effect) - bound) > TIE

    def stands(each: Estimate) -> bool:
        if each.conclusion == "within":
            above = least is None or beyond(each.lower, each.effect, least, 1)
            return above and beyond(each.upper, each.effect, most, -1)
        low = each.lower if least is None else each.low
        return beyond(low, each.effect, most, 1) or beyond(each.high, each.effect, least, -1)

    decided = len(said) == 1 and "undecided" not in said
    return wider > 1 and decided and not all(map(stands, asked))


@dataclass(frozen=True, slots=True, kw_only=True)
class LagAndBlock:
    """Lag of the t test and block of the bootstrap, in origins, and the number of resamples."""

    lag: int = 0
    block: int = 0
    resamples: int = 0


INFLUENTIAL = 0.05
"""Share of the windows that is left out: those that pull hardest, either way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """The same question answered another way.

    Attributes
    ----------
    name
        ``without_influential``, ``half_lengths`` or ``double_lengths`` (of lag and block).
    n
        Origins used.
    effect, lower, upper
        As in the first estimate; None where it has none.
    conclusion
        What the methods agree on.
    """

    name: str
    n: int
    effect: float | None
    lower: float | None
    upper: float | None
    conclusion: Conclusion


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """How a conclusion fares under variations; it is shown and decides nothing.

    Attributes
    ----------
    variations
        Each answer.
    changed
        Names of those whose conclusion is another one.
    """

    variations: tuple[Variation, ...]
    changed: tuple[str, ...]


def vary(
    sides: Sides, question: Question, *, lengths: LagAndBlock, conclusion: Conclusion
) -> Sensitivity:
    """Answer again without the most influential windows, and with other lags and blocks.

    Parameters
    ----------
    lengths, conclusion
        Of the answer itself.
    """
    lag, block = lengths.lag, lengths.block
    count = sides.above.shape[1]
    kept = sides.at(least_influential(sides))
    made = (
        _variation("without_influential", kept, question),
        _variation("half_lengths", sides, question, lag=lag // 2, block=max(1, block // 2)),
        _variation(
            "double_lengths",
            sides,
            question,
            lag=min(count - 1, 2 * lag),
            block=max(1, min(count // 2, 2 * block)),
        ),
    )
    return Sensitivity(
        variations=made,
        changed=tuple(each.name for each in made if each.conclusion != conclusion),
    )


def least_influential(sides: Sides) -> Rows:
    """Rows of all windows but the `INFLUENTIAL` share that pull the effect hardest.

    The pull of a window is the size of ``candidate - ratio * legacy`` there, to which the change
    of the ratio without it is proportional. At least two windows stay.
    """
    pull = np.abs(sides.difference)
    out = min(math.ceil(INFLUENTIAL * len(pull)), len(pull) - 2)
    kept: Rows = np.sort(np.argsort(-pull, kind="stable")[max(0, out) :])
    return kept


def _variation(
    name: str,
    sides: Sides,
    question: Question,
    *,
    lag: int | None = None,
    block: int | None = None,
) -> Variation:
    estimates = deciding(sides, question, lag=lag, block=block, brief=True)
    first = estimates[0]
    return Variation(
        name=name,
        n=first.n,
        effect=first.effect,
        lower=first.lower,
        upper=first.upper,
        conclusion=agreed(estimates)[0],
    )
