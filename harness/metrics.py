"""Metrics: one decorated pure function each, on all windows at once.

Shapes: W windows, H steps, Q levels of the common grid, M samples, S seeds.

A *metric* gives one number per window and step, [W, H]. An *aggregate* makes one number of
those: RMSE is the root of the mean of the metric ``squared_error``. NaN is never dropped on the
way: an aggregate is NaN unless every value it is made of is there, and the count stands beside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from harness.forecast import LEVELS
from harness.window import Array

CENTRAL = (50, 68, 80, 95)
"""Central intervals that are judged, in per cent; both ends lie on the common grid."""
TAILS = (80, 95)
"""Central intervals that get an interval score."""
PINBALL_LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""The levels of the pinball loss."""
Ranks = npt.NDArray[np.intp]
_Function = TypeVar("_Function", bound=Callable[..., Array])
_AT = {round(level * 1000): index for index, level in enumerate(LEVELS.tolist())}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A forecast beside what came, laid out for scoring.

    Attributes
    ----------
    truth, point : [W, H]
    naive_scale : [W]
        Mean absolute one-session change before the origin.
    quantiles : [Q, W, H], optional
        On `LEVELS`, not decreasing along the first axis.
    samples : [W, M, H], optional
        Increasing along the second axis; CRPS is taken from them when they are there.
    """

    truth: Array
    point: Array
    naive_scale: Array
    quantiles: Array | None = None
    samples: Array | None = None

    def quantile(self, per_mille: int) -> Array:
        """One quantile [W, H]; the level in thousandths."""
        assert self.quantiles is not None
        row: Array = self.quantiles[_AT[per_mille]]
        return row

    def interval(self, level: int) -> tuple[Array, Array]:
        """Both ends [W, H] of the central interval of `level` per cent."""
        return self.quantile(500 - level * 5), self.quantile(500 + level * 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric and what to know of it.

    Attributes
    ----------
    unit
        ``target`` is the unit of the data.
    lower_is_better
        None where neither end is better (a signed error, a coverage).
    distribution
        It needs quantiles, not only a point path.
    function
        `Judged` to [W, H].
    """

    name: str
    unit: str
    lower_is_better: bool | None
    distribution: bool
    function: Callable[[Judged], Array]


_METRICS: dict[str, Metric] = {}
METRICS: Mapping[str, Metric] = _METRICS
"""Every metric by name."""


def metric(
    name: str,
    *,
    unit: str,
    lower_is_better: bool | None,
    distribution: bool = True,
    levels: tuple[int, ...] = (),
) -> Callable[[_Function], _Function]:
    """Register a metric; with `levels` one per level, named ``name_LEVEL``."""

    def register(function: _Function) -> _Function:
        each: dict[str, Callable[[Judged], Array]] = {name: function}
        if levels:
            each = {f"{name}_{level}": partial(function, level=level) for level in levels}
        for key, made in each.items():
            _METRICS[key] = Metric(
                name=key,
                unit=unit,
                lower_is_better=lower_is_better,
                distribution=distribution,
                function=made,
            )
        return function

    return register


@metric("absolute_error", unit="target", lower_is_better=True, distribution=False)
def absolute_error(judged: Judged) -> Array:
    """Distance of the point path from what came: ``|y - p|``.

    The point path is the median unless the arm gives another; the median is what minimises it.
    """
    return np.abs(judged.truth - judged.point)


@metric("squared_error", unit="target^2", lower_is_better=True, distribution=False)
def squared_error(judged: Judged) -> Array:
    """Squared distance of the point path from what came: ``(y - p)^2``; not yet rooted."""
    return np.square(judged.truth - judged.point)


@metric("percentage_error", unit="share", lower_is_better=True, distribution=False)
def percentage_error(judged: Judged) -> Array:
    """Distance relative to what came: ``|y - p| / |y|``, as a share.

    NaN where the actual is 0: it has no value there. It prefers low forecasts, so no gate rests
    on it alone. Source: Hyndman and Koehler (2006), section 2.2.
    """
    size = np.abs(judged.truth)
    share: Array = np.abs(judged.truth - judged.point) / np.where(size > 0, size, np.nan)
    return share


@metric("error", unit="target", lower_is_better=None, distribution=False)
def error(judged: Judged) -> Array:
    """Signed error ``p - y``; its mean is the bias, above 0 where forecasts are too high."""
    return judged.point - judged.truth


@metric("scaled_error", unit="naive changes", lower_is_better=True, distribution=False)
def scaled_error(judged: Judged) -> Array:
    """Absolute error over the mean absolute one-session change before the origin.

    ``|y - p| / mean |y_t - y_(t-1)|``, t before the origin: the numerator of MASE and its scale.
    NaN where the series never moved. Source: Hyndman and Koehler (2006), equation 3, with m = 1.
    """
    scale = np.where(judged.naive_scale > 0, judged.naive_scale, np.nan)
    scaled: Array = np.abs(judged.truth - judged.point) / scale[:, None]
    return scaled


@metric("crps", unit="target", lower_is_better=True)
def crps(judged: Judged) -> Array:
    """Continuous ranked probability score: the distance of a distribution from what came.

    From quantiles: ``integral over u of 2 (1[y < q_u] - u) (q_u - y)``, the trapezoid rule over
    the common grid with the integrand 0 at u = 0 and u = 1 (the factor 2 makes it the CRPS and
    equal to the absolute error for a point). From M samples: the fair estimator in its
    probability-weighted-moment form, ``mean |x - y| + b0 - 2 b1`` with b1 over M (M - 1), without
    bias at any M. Sources: Laio and Tamea (2007), equation 6; Zamo and Naveau (2018), section 3.
    """
    if judged.samples is not None:
        return _crps_of_samples(judged.truth, judged.samples)
    assert judged.quantiles is not None
    edges = np.concatenate([[0.0], LEVELS, [1.0]])
    weights = (edges[2:] - edges[:-2]) / 2
    return _pinball_sum(judged.truth, judged.quantiles, LEVELS, weights)


@metric("pinball", unit="target", lower_is_better=True)
def pinball(judged: Judged) -> Array:
    """Mean quantile loss at 0.1, 0.25, 0.5, 0.75 and 0.9, with the factor 2.

    ``mean over u of 2 max(u (y - q_u), (u - 1) (y - q_u))``: the weighted quantile loss (WQL)
    before it is divided by the size of the actuals. Source: Koenker and Bassett (1978).
    """
    assert judged.quantiles is not None
    rows = [_AT[round(level * 1000)] for level in PINBALL_LEVELS]
    weights = np.full(len(rows), 1 / len(rows))
    return _pinball_sum(
        judged.truth, [judged.quantiles[row] for row in rows], LEVELS[rows], weights
    )


@metric("coverage", unit="share", lower_is_better=None, levels=CENTRAL)
def coverage(judged: Judged, *, level: int) -> Array:
    """1 where what came lies in the closed central interval of `level` per cent, else 0."""
    low, high = judged.interval(level)
    return ((judged.truth >= low) & (judged.truth <= high)).astype(np.float64)


@metric("width", unit="target", lower_is_better=True, levels=CENTRAL)
def width(judged: Judged, *, level: int) -> Array:
    """Width of the central interval of `level` per cent; read it beside the coverage only."""
    low, high = judged.interval(level)
    return high - low


@metric("winkler", unit="target", lower_is_better=True, levels=TAILS)
def winkler(judged: Judged, *, level: int) -> Array:
    """Interval score: width plus a fine for missing, ``2 / a`` times the distance missed.

    ``(h - l) + 2/a (l - y) 1[y < l] + 2/a (y - h) 1[y > h]`` with a = 1 - level / 100.
    Sources: Winkler (1972); Gneiting and Raftery (2007), equation 43.
    """
    low, high = judged.interval(level)
    fine = 200 / (100 - level)
    missed = np.maximum(low - judged.truth, 0) + np.maximum(judged.truth - high, 0)
    return (high - low) + fine * missed


@metric("pit", unit="level", lower_is_better=None)
def pit(judged: Judged) -> Array:
    """Probability integral transform: the level at which what came lies, in 0 .. 1.

    Between two quantiles by a straight line on the scale of standard normal scores, beyond the
    outermost by that line going on: the inverse of `forecast.quantiles_at`. Quantiles that
    coincide at the actual give the middle of their levels. Source: Dawid (1984).
    """
    from scipy.special import ndtr, ndtri

    assert judged.quantiles is not None
    below, touching = _rank(judged.truth, judged.quantiles)
    left = np.clip(below - 1, 0, len(LEVELS) - 2)
    place = left * left.size + np.arange(left.size).reshape(left.shape)  # in the flat [Q, W, H]
    low = judged.quantiles.take(place)
    score = ndtri(LEVELS)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (judged.truth - low) / (judged.quantiles.take(place + left.size) - low)
        level: Array = ndtr(score[left] + share * np.diff(score)[left])
    first, last = below[touching > 0], (below + touching - 1)[touching > 0]
    level[touching > 0] = (LEVELS[first] + LEVELS[last]) / 2
    return level


def _rank(truth: Array, quantiles: Array) -> tuple[Ranks, Ranks]:
    """How many quantiles lie below what came, and how many coincide with it: [W, H] each."""
    below = np.zeros(truth.shape, dtype=np.int8)
    reached = np.zeros(truth.shape, dtype=np.int8)
    for quantile in quantiles:
        below += (quantile < truth).view(np.int8)
        reached += (quantile <= truth).view(np.int8)
    return below.astype(np.intp), (reached - below).astype(np.intp)


def _pinball_sum(truth: Array, quantiles: Iterable[Array], levels: Array, weights: Array) -> Array:
    """Weighted sum over levels of twice the pinball loss, without an array of [Q, W, H].

    Twice the pinball loss is ``|d| + (2 u - 1) d`` with d = y - q.
    """
    total = np.zeros(truth.shape)
    distance = np.empty(truth.shape)
    tilted = np.empty(truth.shape)
    for quantile, level, weight in zip(quantiles, levels.tolist(), weights.tolist(), strict=True):
        np.subtract(truth, quantile, out=distance)
        np.multiply(distance, weight * (2 * level - 1), out=tilted)
        total += tilted
        np.abs(distance, out=distance)
        distance *= weight
        total += distance
    return total


def _crps_of_samples(truth: Array, samples: Array) -> Array:
    """Fair CRPS [W, H] of samples [W, M, H] that increase along M."""
    count = samples.shape[1]
    spread = np.abs(samples - truth[:, None]).mean(axis=1)
    first = samples.mean(axis=1)
    rank = np.arange(count) / (count * (count - 1))
    second = np.einsum("m,wmh->wh", rank, samples)
    fair: Array = spread + first - 2 * second
    return fair


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """One number made of a metric.

    Attributes
    ----------
    of
        The metric whose mean it is.
    title, unit
        How to show it.
    factor
        Multiplies the mean (100 for per cent).
    rooted
        The square root of the mean is taken.
    comparable
        A loss by which two arms can be compared and a policy can gate.
    scaled
        The loss is in the unit of the data, so it is divided by the last close (or its square)
        before a test: prices trend over decades.
    """

    name: str
    of: str
    title: str
    unit: str
    factor: float = 1.0
    rooted: bool = False
    comparable: bool = False
    scaled: bool = False

    @property
    def lower_is_better(self) -> bool | None:
        """As the metric says; None where neither end is better."""
        return METRICS[self.of].lower_is_better


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregated:
    """An aggregate's value with what it is made of.

    Attributes
    ----------
    value
        NaN unless all `n` values were there.
    n, missing
        Values asked for, and how many of them are NaN.
    """

    value: float
    n: int
    missing: int


def _aggregates() -> tuple[Aggregate, ...]:
    loss = partial(Aggregate, comparable=True, scaled=True, unit="target")
    ratio = partial(Aggregate, comparable=True)
    return (
        loss(name="crps", of="crps", title="CRPS"),
        loss(name="rmse", of="squared_error", title="RMSE", rooted=True),
        loss(name="mae", of="absolute_error", title="MAE"),
        ratio(name="mape", of="percentage_error", title="MAPE", unit="%", factor=100),
        ratio(name="mase", of="scaled_error", title="MASE", unit=""),
        loss(name="pinball", of="pinball", title="Pinball loss"),
        *(loss(name=f"winkler_{at}", of=f"winkler_{at}", title=f"Winkler {at} %") for at in TAILS),
        Aggregate(name="bias", of="error", title="Bias", unit="target"),
        *(_of_interval("coverage", at, unit="%", factor=100.0) for at in CENTRAL),
        *(_of_interval("width", at, unit="target", factor=1.0) for at in CENTRAL),
    )


def _of_interval(what: str, at: int, *, unit: str, factor: float) -> Aggregate:
    name = f"{what}_{at}"
    return Aggregate(name=name, of=name, title=f"{what.title()} {at} %", unit=unit, factor=factor)


AGGREGATES: Mapping[str, Aggregate] = {each.name: each for each in _aggregates()}
"""Every aggregate by name: what tables show and policies name."""


def aggregate(name: str, cells: Array) -> Aggregated:
    """Make one number of a metric's cells, [S, W, H] or any other shape.

    Returns
    -------
    Aggregated
        NaN when a cell is NaN or there is none.
    """
    missing = int(np.isnan(cells).sum())
    whole = cells.size > 0 and missing == 0
    value = float(_finish(name, cells.mean())) if whole else float("nan")
    return Aggregated(value=value, n=cells.size, missing=missing)


def by_step(name: str, cells: Array) -> Array:
    """Make one number per step of cells [..., W, H]: [H], NaN at a step with a NaN in it."""
    if cells.size == 0:
        return np.full(cells.shape[-1], np.nan)
    return _finish(name, cells.mean(axis=tuple(range(cells.ndim - 1))))


def _finish(name: str, mean: Array) -> Array:
    what = AGGREGATES[name]
    finished: Array = (np.sqrt(mean) if what.rooted else mean) * what.factor
    return finished
