"""Estimates: a question about paired losses, answered by one method at a time.

Shapes: n origins in time order.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness.scoring.metrics import AGGREGATES
from harness.stats.bootstrap import RESAMPLES, block_law, lean_of, stretched
from harness.stats.longrun import (
    Law,
    MeanRatio,
    block_starts,
    circular_means,
    generator_of,
    mean_ratio,
    optimal_block,
)
from harness.stats.statistical_power import freedom_of
from harness.window import Array, Rows


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
    ratio = found.above / found.below if found.below else 1.0
    above_v, below_v = seed_variance(above), seed_variance(below)
    seeds = [
        (variance, len(side) - 1.0)
        for variance, side in ((above_v, above), (ratio**2 * below_v, below))
        if variance > 0
    ]
    origins = found.variance(ratio) / (found.law.n * found.law.factor**2)
    freedom = freedom_of([(origins, found.law.freedom), *seeds])
    covariance = found.covariance / found.law.factor**2
    return dataclasses.replace(
        found,
        covariance=covariance + found.law.n * np.diag([above_v, below_v]),
        law=Law(n=found.law.n, lag=found.law.lag, factor=1.0, freedom=freedom),
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
Method = Literal["hac", "bootstrap", "seeds", "two_level", "independent"]
Scale = Literal["ratio", "root", "share"]
WINS = "_wins"
"""End of the name of a question on how many origins are won instead of on a mean loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The effect with its uncertainty by one method.

    Attributes
    ----------
    method
        ``hac`` (autocorrelation-robust t), ``bootstrap`` (circular blocks), ``seeds`` (hac with
        the variance between seeds added), ``two_level`` (seeds and blocks resampled together)
        or ``independent`` (hac on the non-overlapping origins alone).
    n
        Origins used.
    effect
        Point estimate; None when it has none.
    low, high
        Two-sided interval of level 1 - alpha; None on a side that is not bounded.
    lower, upper
        One-sided bounds of level 1 - alpha each: what the decision rests on.
    p_within, p_beyond
        P-values of "the bound is not kept" and of "the bound is kept": a small `p_within` shows
        that the candidate keeps its bound, a small `p_beyond` that it breaks it.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of a pair of arms.

    Attributes
    ----------
    metric
        Name of a comparable aggregate, of one with `WINS` behind it, or of a coverage.
    bound_low, bound_high
        The effect must be shown to lie between these; `bound_low` None is no lower bound.
    alpha, power
        Error rate of each bound; chance with which the detectable effect is found.
    """

    metric: str
    bound_low: float | None = None
    bound_high: float
    alpha: float = 0.05
    power: float = 0.8

    @property
    def scale(self) -> Scale:
        """How a ratio of means becomes an effect."""
        if self.wins or self.metric.startswith("coverage"):
            return "share"
        return "root" if AGGREGATES[self.metric].rooted else "ratio"

    @property
    def wins(self) -> bool:
        """Whether origins are counted that the candidate loses to legacy: half is equality."""
        return self.metric.endswith(WINS)

    @property
    def nominal(self) -> float:
        """The promised coverage as a share, half for origins lost; 0 for a loss."""
        if self.wins:
            return 0.5
        return int(self.metric.partition("_")[2]) / 100 if self.scale == "share" else 0.0

    def effect(self, ratio: float) -> float:
        """Effect of a ratio of means: on the root scale for RMSE, from nominal for a share."""
        if self.scale == "root":
            return math.sqrt(max(0.0, ratio)) - 1
        return ratio - self.nominal if self.scale == "share" else ratio - 1

    def ratio(self, effect: float) -> float:
        """Ratio of means of an effect: the inverse of `effect`."""
        if self.scale == "root":
            return (1 + effect) ** 2
        return effect + self.nominal if self.scale == "share" else 1 + effect

    def slope(self, ratio: float) -> float:
        """How fast the effect changes with the ratio."""
        return 0.5 / math.sqrt(ratio) if self.scale == "root" and ratio > 0 else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Both sides of a ratio, every seed by itself, on the same origins in time order.

    Attributes
    ----------
    above, below : [S, n]
        Losses of candidate and legacy; what is covered, or lost, and ones for a share.
    overlap
        Consecutive origins that share a session.
    """

    above: Array
    below: Array
    overlap: int

    @property
    def means(self) -> tuple[Array, Array]:
        """Means over the seeds of each side, [n] each."""
        return self.above.mean(axis=0), self.below.mean(axis=0)

    @property
    def difference(self) -> Array:
        """Candidate less the estimated ratio times legacy, [n]: what the ratio's error is of."""
        above, below = self.means
        level = float(below.mean())
        difference: Array = above - (float(above.mean()) / level if level else 1.0) * below
        return difference

    @property
    def tied(self) -> bool:
        """Both sides are the same to the last bit."""
        return np.array_equal(*self.means)

    @property
    def varies(self) -> bool:
        """A side is not the same on every origin, so that there is an uncertainty to estimate."""
        return any(float(np.ptp(side)) > 1e-12 * float(np.abs(side).max()) for side in self.means)

    @property
    def seeded(self) -> bool:
        """There is a side with more than one seed, so that seeds can be seen to vary."""
        return max(len(self.above), len(self.below)) > 1 and not self.tied

    def at(self, rows: Rows) -> Sides:
        """The same sides at some of the origins."""
        return dataclasses.replace(self, above=self.above[:, rows], below=self.below[:, rows])


def ratio_of(
    above: Array, below: Array, overlap: int, question: Question, *, lag: int | None = None
) -> MeanRatio:
    """Estimate a ratio of means.

    Identical sides are a tie. The variance of a coverage r is proportional to ``r (1 - r)``, at
    the value that is tested and not at the one found: Wilson's interval (1927), with the
    long-run variance in the place of the binomial one. A coverage that never varies gets the
    variance it would have if all steps of a window were hit or missed together; arms that tie on
    every origin have none.
    """
    found = mean_ratio(above, below, overlap, lag=lag)
    if question.scale == "share":
        tied = question.wins and bool(np.all(above == 0.5))
        return dataclasses.replace(found, covariance=np.zeros((2, 2)) if tied else _wilson(found))
    if np.array_equal(above, below):
        return dataclasses.replace(found, above=1.0, below=1.0, covariance=np.zeros((2, 2)))
    return found


def _wilson(found: MeanRatio) -> Array:
    """Coefficients whose form in (1, -r) is ``c r (1 - r)``; c is 1 for independent windows."""
    binomial = found.above * (1 - found.above)
    varies = min(binomial, float(found.covariance[0, 0])) > 1e-15
    times = float(found.covariance[0, 0]) / binomial if varies else 1.0
    return times * np.array([[0.0, -0.5], [-0.5, -1.0]])


def deciding(
    sides: Sides, question: Question, *, lag: int | None = None, block: int | None = None
) -> tuple[Estimate, ...]:
    """Answer by every method the conclusion rests on; lag and block by their rules or given."""
    above, below = sides.means
    found = ratio_of(above, below, sides.overlap, question, lag=lag)
    length = block_of(sides, found.law.lag) if block is None else block
    made = [by_test("hac", found, question), by_bootstrap(sides, length, question)]
    if sides.seeded:
        made.append(by_test("seeds", with_seeds(found, sides.above, sides.below), question))
        made.append(by_two_levels(sides, length, question))
    return tuple(made)


def block_of(sides: Sides, lag: int) -> int:
    """Bootstrap block: the automatic length, or the reach of the HAC lag where that is longer.

    The automatic length makes the variance's squared error small; like the lag, a bound that
    keeps its level needs longer blocks. At most half of the origins.
    """
    difference = sides.difference
    wanted = max(math.ceil(optimal_block(difference)), lag + 1)
    return max(1, min(len(difference) // 2, wanted))


def lean_in(sides: Sides) -> float:
    """Skewness of the mean difference, from blocks of the automatic length."""
    difference = sides.difference
    block = max(math.ceil(optimal_block(difference)), sides.overlap)
    return lean_of(difference, min(block, len(difference)))


def point_of(found: MeanRatio) -> float:
    """The ratio itself; NaN where the denominator is 0."""
    return found.above / found.below if found.below else math.nan


def by_test(method: Method, found: MeanRatio, question: Question) -> Estimate:
    """Interval and p-values by the autocorrelation-robust t test."""
    inner, outer = found.bounds(question.alpha), found.bounds(question.alpha / 2)
    if inner is None or outer is None:
        return _estimate(method, found.law.n, question, ratios=None, p=(None, None))
    chance = [
        found.law.chance_below(found.statistic(question.ratio(bound)))
        for bound in (question.bound_high, question.bound_low)
        if bound is not None
    ]
    ratios = (outer[0], inner[0], point_of(found), inner[1], outer[1])
    return _estimate(method, found.law.n, question, ratios=ratios, p=_p_values(chance))


def by_bootstrap(sides: Sides, block: int, question: Question) -> Estimate:
    """Percentile interval of circular block resamples; the seed is a digest of the losses."""
    series = np.stack(sides.means)
    starts = block_starts(series.shape[1], block, RESAMPLES, generator_of(*series))
    drawn = circular_means(series, starts, block)
    law = block_law(series.shape[1], block)
    return _by_draws("bootstrap", sides, (drawn[0], drawn[1]), law, question)


def by_two_levels(sides: Sides, block: int, question: Question) -> Estimate:
    """Percentile interval of resampled seeds of both sides and blocks of origins together."""
    generator = generator_of(sides.above, sides.below)
    starts = block_starts(sides.above.shape[1], block, RESAMPLES, generator)
    above = resampled_means(sides.above, starts, block, generator)
    below = resampled_means(sides.below, starts, block, generator)
    law = block_law(sides.above.shape[1], block)
    return _by_draws("two_level", sides, (above, below), law, question)


def _by_draws(
    method: Method, sides: Sides, drawn: tuple[Array, Array], law: Law, question: Question
) -> Estimate:
    """Read interval and p-values off resampled means [B] of both sides, at a tie as they are."""
    above, below = drawn
    count = sides.above.shape[1]
    if bool(np.any(below <= 0)):
        return _estimate(method, count, question, ratios=None, p=(None, None))
    point = float(sides.above.mean() / sides.below.mean())
    ratio = above / below
    if not sides.tied:
        ratio = stretched(ratio, point, law, lean_in(sides))
    tails = np.array([question.alpha / 2, question.alpha])
    low, lower, upper, high = np.quantile(ratio, [*tails, *(1 - tails[::-1])]).tolist()
    chance = [
        (0.5 + int(np.sum(ratio >= question.ratio(bound)))) / (RESAMPLES + 1)
        for bound in (question.bound_high, question.bound_low)
        if bound is not None
    ]
    ratios = (low, lower, point, upper, high)
    return _estimate(method, count, question, ratios=ratios, p=_p_values(chance))


def _p_values(chance: list[float]) -> tuple[float, float]:
    """P-values of "not within" and "not beyond" from chances of a ratio at or above each bound."""
    within, beyond = chance[0], 1 - chance[0]
    if len(chance) == 2:  # a lower bound too: both must be kept, either can be broken
        within, beyond = max(within, 1 - chance[1]), min(beyond, chance[1])
    return within, beyond


def _estimate(
    method: Method,
    n: int,
    question: Question,
    *,
    ratios: tuple[float, float, float, float, float] | None,
    p: tuple[float | None, float | None],
) -> Estimate:
    """Put ratios (low, lower, point, upper, high) on the scale of effects and conclude."""
    empty: tuple[float | None, ...] = (None,) * 5
    effects = empty if ratios is None else tuple(question.effect(each) for each in ratios)
    low, lower, effect, upper, high = effects
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
        conclusion=_conclusion(lower, upper, question),
    )


def _conclusion(lower: float | None, upper: float | None, question: Question) -> Conclusion:
    if lower is None or upper is None:
        return "undecided"
    floor = -math.inf if question.bound_low is None else question.bound_low
    if floor < lower and upper < question.bound_high:
        return "within"
    return "beyond" if lower > question.bound_high or upper < floor else "undecided"


def agreed(estimates: Sequence[Estimate]) -> tuple[Conclusion, str]:
    """The conclusion all methods share, or why there is none.

    The t test and the block bootstrap come first. The tests over seeds and origins may only take
    a conclusion away: what does not survive them holds for the models that were trained, not for
    the next ones.
    """
    if any(each.lower is None for each in estimates):
        return (
            "undecided",
            "legacy's loss cannot be told apart from 0, so a ratio has no bounds",
        )
    said = [each.conclusion for each in estimates]
    if len(set(said)) == 1:
        crosses = "the interval reaches across the bound"
        return said[0], crosses if said[0] == "undecided" else ""
    if said[0] != said[1]:
        return "undecided", (
            f"the methods disagree: the t test says {_SAID[said[0]]}, "
            f"the block bootstrap says {_SAID[said[1]]}"
        )
    return "undecided", (
        f"the seeds that were run say {_SAID[said[0]]}, but they differ so much among themselves "
        "that other seeds may not"
    )


_SAID = {"within": "the bound kept", "beyond": "the bound broken", "undecided": "undecided"}
