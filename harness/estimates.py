"""Estimates: a question about paired losses, answered by one method at a time.

Shapes: n origins in time order.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.inference import (
    MeanRatio,
    block_starts,
    circular_means,
    generator_of,
    mean_ratio,
)
from harness.metrics import AGGREGATES
from harness.window import Array

Conclusion = Literal["within", "beyond", "undecided"]
Method = Literal["hac", "bootstrap", "independent"]
Scale = Literal["ratio", "root", "share"]

RESAMPLES = 2000
"""Bootstrap resamples of every comparison."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The effect with its uncertainty by one method.

    Attributes
    ----------
    method
        ``hac`` (autocorrelation-robust t), ``bootstrap`` (circular blocks) or ``independent``
        (hac on the non-overlapping origins alone).
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
        Name of a comparable aggregate, or of a coverage.
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
        if self.metric.startswith("coverage"):
            return "share"
        return "root" if AGGREGATES[self.metric].rooted else "ratio"

    @property
    def nominal(self) -> float:
        """The promised coverage as a share; 0 for a loss."""
        return int(self.metric.partition("_")[2]) / 100 if self.scale == "share" else 0.0

    def effect(self, ratio: float) -> float:
        """Effect of a ratio of means: on the root scale for RMSE, from nominal for coverage."""
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


def ratio_of(above: Array, below: Array, overlap: int, question: Question) -> MeanRatio:
    """Estimate a ratio of means.

    Identical sides are a tie. A coverage that never varies gets the variance it would have if it
    were nominal and all steps of a window were hit or missed together: it is not known exactly.
    """
    found = mean_ratio(above, below, overlap)
    if np.array_equal(above, below) and question.scale != "share":
        return dataclasses.replace(found, above=1.0, below=1.0, covariance=np.zeros((2, 2)))
    if question.scale == "share" and found.covariance[0, 0] <= 1e-15:
        floor = np.diag([question.nominal * (1 - question.nominal), 0.0])
        return dataclasses.replace(found, covariance=floor)
    return found


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


def by_bootstrap(above: Array, below: Array, block: int, question: Question) -> Estimate:
    """Percentile interval of circular block resamples; the seed is a digest of the losses."""
    generator = generator_of(above, below)
    starts = block_starts(len(above), block, RESAMPLES, generator)
    means = circular_means(np.stack([above, below]), starts, block)
    if bool(np.any(means[1] <= 0)):
        return _estimate("bootstrap", len(above), question, ratios=None, p=(None, None))
    drawn = means[0] / means[1]
    tails = np.array([question.alpha / 2, question.alpha])
    low, lower, upper, high = np.quantile(drawn, [*tails, *(1 - tails[::-1])]).tolist()
    chance = [
        (0.5 + int(np.sum(drawn >= question.ratio(bound)))) / (RESAMPLES + 1)
        for bound in (question.bound_high, question.bound_low)
        if bound is not None
    ]
    ratios = (low, lower, float(above.mean() / below.mean()), upper, high)
    return _estimate("bootstrap", len(above), question, ratios=ratios, p=_p_values(chance))


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


def agreed(test: Estimate, bootstrap: Estimate) -> tuple[Conclusion, str]:
    """The conclusion both methods share, or why there is none."""
    if test.lower is None or bootstrap.lower is None:
        return "undecided", "legacy's loss cannot be told apart from 0, so a ratio has no bounds"
    if test.conclusion == bootstrap.conclusion:
        crosses = "the interval reaches across the bound"
        return test.conclusion, crosses if test.conclusion == "undecided" else ""
    said = {"within": "the bound kept", "beyond": "the bound broken", "undecided": "undecided"}
    return "undecided", (
        f"the methods disagree: the t test says {said[test.conclusion]}, "
        f"the block bootstrap says {said[bootstrap.conclusion]}"
    )
