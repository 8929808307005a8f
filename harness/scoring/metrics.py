"""Metrics: one decorated pure function each, on all windows at once.

Shapes: W windows, H steps, Q levels of the common grid, M samples, S seeds.

A *metric* gives one number per window and step, [W, H]. An *aggregate* makes one number of
those: RMSE is the root of the mean of the metric ``squared_error``.

NaN: a cell is NaN where the window failed, or where a formula has no value (stated with each
metric). NaN is never dropped on the way: an aggregate is NaN unless every value it is made of is
there, and how many are missing stands beside it. `docs/metrics.md` has the whole list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

import numpy as np

from harness.errors import ConfigError, one_line
from harness.forecast import LEVELS
from harness.scoring.kernels import (
    WEIGHTS,
    fair_crps,
    gaussian_crps,
    level_of,
    normal_level,
    pinball_sum,
)
from harness.window import Array

Part = Literal["quantiles", "naive_square"]
_AT = {round(level * 1000): index for index, level in enumerate(LEVELS.tolist())}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A forecast beside the actuals, laid out for scoring.

    Attributes
    ----------
    truth, point : [W, H]
    naive_scale : [W]
        Mean absolute one-session change before the origin.
    naive_square : [W], optional
        Mean squared one-session change before the origin.
    quantiles : [Q, W, H], optional
        On `LEVELS`, not decreasing along the first axis.
    samples : [W, H, M], optional
        Independent draws, increasing along the last axis; CRPS is taken from them when they are
        there.
    deviation : [W, H], optional
        Of a normal distribution around the point path; CRPS and PIT are exact when it is there.
    """

    truth: Array
    point: Array
    naive_scale: Array
    naive_square: Array | None = None
    quantiles: Array | None = None
    samples: Array | None = None
    deviation: Array | None = None

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
    needs
        Parts of `Judged` without which it has no scores.
    function
        `Judged` to [W, H].
    """

    name: str
    unit: str
    lower_is_better: bool | None
    needs: tuple[Part, ...]
    function: Callable[[Judged], Array]

    @property
    def distribution(self) -> bool:
        """Whether it needs more than a point path."""
        return "quantiles" in self.needs

    def scores(self, judged: Judged) -> bool:
        """Whether what it needs is there."""
        return all(getattr(judged, part) is not None for part in self.needs)


CENTRAL = (50, 68, 80, 95)
"""Central intervals that are judged, in per cent; both ends lie on the common grid."""
PINBALL = (5, 10, 25, 50, 75, 90, 95)
"""Levels with a pinball loss of their own, in per cent."""
DECILES: tuple[int, ...] = tuple(range(100, 1000, 100))
"""Levels of the mean pinball loss and of the WQL, in thousandths: those GluonTS and Chronos use."""
_Function = TypeVar("_Function", bound=Callable[..., Array])

_METRICS: dict[str, Metric] = {}
METRICS: Mapping[str, Metric] = _METRICS
"""Every metric by name."""


def metric(
    name: str,
    *,
    unit: str,
    lower_is_better: bool | None,
    needs: tuple[Part, ...] = ("quantiles",),
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
                needs=needs,
                function=made,
            )
        return function

    return register


@metric("absolute_error", unit="target", lower_is_better=True, needs=())
def absolute_error(judged: Judged) -> Array:
    """Distance of the point path from the actual: ``|y - p|``; its mean is the MAE.

    The point path is the median unless the arm gives another; the median is what minimises it.
    Source: Hyndman and Koehler (2006), section 2.1.
    """
    return np.abs(judged.truth - judged.point)


@metric("squared_error", unit="target^2", lower_is_better=True, needs=())
def squared_error(judged: Judged) -> Array:
    """Squared distance of the point path from the actual: ``(y - p)^2``; not yet rooted.

    The root of its mean is the RMSE. Source: Hyndman and Koehler (2006), section 2.1.
    """
    return np.square(judged.truth - judged.point)


@metric("percentage_error", unit="share", lower_is_better=True, needs=())
def percentage_error(judged: Judged) -> Array:
    """Distance relative to the actual: ``|y - p| / |y|``, as a share; its mean is the MAPE.

    NaN where the actual is 0: it has no value there. It prefers low forecasts, so no gate rests
    on it alone. Source: Hyndman and Koehler (2006), section 2.2.
    """
    size = np.abs(judged.truth)
    share: Array = np.abs(judged.truth - judged.point) / np.where(size > 0, size, np.nan)
    return share


@metric("symmetric_error", unit="share", lower_is_better=True, needs=())
def symmetric_error(judged: Judged) -> Array:
    """Distance relative to the mean of both sizes: ``2 |y - p| / (|y| + |p|)``, 0 to 2.

    Its mean, in per cent, is the sMAPE as the M4 competition defines it (0 to 200 %). 0 where
    both are 0. In spite of its name it prefers high forecasts. Source: Makridakis, Spiliotis and
    Assimakopoulos (2020).
    """
    size = (np.abs(judged.truth) + np.abs(judged.point)) / 2
    share: Array = np.abs(judged.truth - judged.point) / np.where(size == 0, 1.0, size)
    return share


@metric("error", unit="target", lower_is_better=None, needs=())
def error(judged: Judged) -> Array:
    """Signed error ``p - y``; its mean is the bias, above 0 where forecasts are too high."""
    return judged.point - judged.truth


@metric("actual_size", unit="target", lower_is_better=None, needs=())
def actual_size(judged: Judged) -> Array:
    """Size of the actual, ``|y|``: what the WQL is divided by. The same for every arm."""
    return np.abs(judged.truth)


@metric("scaled_error", unit="naive changes", lower_is_better=True, needs=())
def scaled_error(judged: Judged) -> Array:
    """Absolute error over the mean absolute one-session change before the origin.

    ``|y - p| / mean |y_t - y_(t-1)|``, t before the origin; its mean over steps and origins is
    the MASE with season 1. NaN where the series never moved. Source: Hyndman and Koehler (2006),
    section 3.
    """
    scale = np.where(judged.naive_scale > 0, judged.naive_scale, np.nan)
    scaled: Array = np.abs(judged.truth - judged.point) / scale[:, None]
    return scaled


@metric("scaled_square", unit="naive changes^2", lower_is_better=True, needs=("naive_square",))
def scaled_square(judged: Judged) -> Array:
    """Squared error over the mean squared one-session change before the origin; not yet rooted.

    ``(y - p)^2 / mean (y_t - y_(t-1))^2``, t before the origin. The root of its mean over steps
    and origins is the RMSSE; the M5 competition takes the root of each series first. NaN where
    the series never moved. Source: Makridakis, Spiliotis and Assimakopoulos (2022).
    """
    assert judged.naive_square is not None
    scale = np.where(judged.naive_square > 0, judged.naive_square, np.nan)
    scaled: Array = np.square(judged.truth - judged.point) / scale[:, None]
    return scaled


@metric("crps", unit="target", lower_is_better=True)
def crps(judged: Judged) -> Array:
    """Continuous ranked probability score: the distance of a distribution from the actual.

    From quantiles: ``integral over u of 2 (1[y < q_u] - u) (q_u - y)``, the trapezoid rule over
    the common grid with the integrand 0 at u = 0 and u = 1 (the factor 2 makes it the CRPS and
    equal to the absolute error for a point). From M samples: the fair estimator
    (`kernels.fair_crps`), without bias at any M. From a normal distribution: the closed form
    (`kernels.gaussian_crps`). Sources: Laio and Tamea (2007), equation 6; Zamo and Naveau (2018),
    section 3; Gneiting, Raftery, Westveld and Goldman (2005).
    """
    if judged.deviation is not None:
        return gaussian_crps(judged.truth, judged.point, judged.deviation)
    if judged.samples is not None:
        return fair_crps(judged.truth, judged.samples, increasing=True)
    assert judged.quantiles is not None
    return pinball_sum(judged.truth, judged.quantiles, LEVELS, WEIGHTS)


@metric("pinball", unit="target", lower_is_better=True)
def pinball(judged: Judged) -> Array:
    """Mean pinball loss over the nine deciles, with the factor 2.

    ``mean over u of 2 max(u (y - q_u), (u - 1) (y - q_u))``, u = 0.1 .. 0.9. Its mean over the
    mean size of the actuals is the weighted quantile loss (WQL, GluonTS's
    ``mean_weighted_sum_quantile_loss``). Source: Koenker and Bassett (1978).
    """
    levels = np.array(DECILES) / 1000
    rows = [judged.quantile(per_mille) for per_mille in DECILES]
    return pinball_sum(judged.truth, rows, levels, np.full(len(rows), 1 / len(rows)))


@metric("pinball", unit="target", lower_is_better=True, levels=PINBALL)
def pinball_at(judged: Judged, *, level: int) -> Array:
    """Pinball (quantile) loss at one level, in per cent, with the factor 2.

    ``2 max(u (y - q), (u - 1) (y - q))`` with u = level / 100: at 50 it is the absolute error of
    the median. Source: Koenker and Bassett (1978).
    """
    row = judged.quantile(10 * level)
    return pinball_sum(judged.truth, [row], np.array([level / 100]), np.ones(1))


@metric("coverage", unit="share", lower_is_better=None, levels=CENTRAL)
def coverage(judged: Judged, *, level: int) -> Array:
    """1 where the actual lies in the closed central interval of `level` per cent, else 0.

    Source: Christoffersen (1998).
    """
    low, high = judged.interval(level)
    return ((judged.truth >= low) & (judged.truth <= high)).astype(np.float64)


@metric("width", unit="target", lower_is_better=True, levels=CENTRAL)
def width(judged: Judged, *, level: int) -> Array:
    """Width of the central interval of `level` per cent; read it beside the coverage only.

    ``q_(1/2 + level / 200) - q_(1/2 - level / 200)``: the sharpness of Gneiting, Balabdaoui and
    Raftery (2007).
    """
    low, high = judged.interval(level)
    return high - low


@metric("winkler", unit="target", lower_is_better=True, levels=CENTRAL)
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
    """Probability integral transform: the level at which the actual lies, in 0 .. 1.

    Exact for a normal distribution; from quantiles (samples are read as quantiles first) by
    `kernels.level_of`. A certain forecast that is right has 0.5. Source: Dawid (1984).
    """
    if judged.deviation is not None:
        return normal_level(judged.truth, judged.point, judged.deviation)
    assert judged.quantiles is not None
    return level_of(judged.truth, judged.quantiles, LEVELS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """One number made of a metric.

    Attributes
    ----------
    of
        The metric whose mean it is.
    title, unit
        How every form of a report shows it; ``target`` is the unit of the data.
    factor
        Multiplies the mean (100 for per cent).
    rooted
        The square root of the mean is taken.
    over
        The metric by whose mean it is divided; '' for none.
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
    over: str = ""
    comparable: bool = False
    scaled: bool = False

    @property
    def lower_is_better(self) -> bool | None:
        """As the metric says; None where neither end is better."""
        known = METRICS.get(self.of)  # a loss of a user is not scored for other policies
        return known.lower_is_better if known else True

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric it is made of."""
        return (self.of, self.over) if self.over else (self.of,)


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


def _of_interval(what: str, at: int, *, unit: str, factor: float) -> Aggregate:
    name = f"{what}_{at}"
    return Aggregate(name=name, of=name, title=f"{what} {at} %", unit=unit, factor=factor)


_loss = partial(Aggregate, comparable=True, scaled=True, unit="target")
_ratio = partial(Aggregate, comparable=True)
_AGGREGATES = {
    each.name: each
    for each in (
        _loss(name="crps", of="crps", title="CRPS"),
        _loss(name="rmse", of="squared_error", title="RMSE", rooted=True),
        _loss(name="mae", of="absolute_error", title="MAE"),
        _ratio(name="mape", of="percentage_error", title="MAPE", unit="%", factor=100),
        _ratio(name="smape", of="symmetric_error", title="sMAPE", unit="%", factor=100),
        _ratio(name="mase", of="scaled_error", title="MASE", unit="naive steps"),
        _ratio(name="rmsse", of="scaled_square", title="RMSSE", unit="naive steps", rooted=True),
        _loss(name="pinball", of="pinball", title="pinball loss"),
        _ratio(name="wql", of="pinball", over="actual_size", title="WQL", unit=""),
        *(_loss(name=f"pinball_{u}", of=f"pinball_{u}", title=f"pinball {u} %") for u in PINBALL),
        *(_loss(name=f"winkler_{u}", of=f"winkler_{u}", title=f"Winkler {u} %") for u in CENTRAL),
        Aggregate(name="bias", of="error", title="bias", unit="target"),
        *(_of_interval("coverage", at, unit="%", factor=100.0) for at in CENTRAL),
        *(_of_interval("width", at, unit="target", factor=1.0) for at in CENTRAL),
    )
}
AGGREGATES: Mapping[str, Aggregate] = _AGGREGATES
"""Every aggregate by name: what tables show and policies name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnLoss:
    """What a user says of a loss by `loss`."""

    title: str
    unit: str
    needs: tuple[Part, ...]


def loss(
    title: str, *, unit: str = "target", needs: tuple[Part, ...] = ()
) -> Callable[[_Function], _Function]:
    """Make a function of your own a loss that a policy can name, as ``metric = "mine:pnl_loss"``.

    It is given a `Judged` and gives one number per window and step [W, H], lower is better; NaN
    where it has no value. Its mean over origins is compared.

    Parameters
    ----------
    unit
        ``target`` is the unit of the data: it is then divided by the last value seen before arms
        are compared.
    needs
        ``quantiles`` where a path is not enough.
    """

    def declared(function: _Function) -> _Function:
        made = OwnLoss(title=title, unit=unit, needs=needs)
        function.own_loss = made  # type: ignore[attr-defined]  # how it is known again
        return function

    return declared


def forget_losses() -> None:
    """Score by ours alone from here on; the titles of those of users stay."""
    for name in [each for each in _METRICS if ":" in each]:
        del _METRICS[name]


def use_loss(name: str, function: Callable[[Judged], Array]) -> None:
    """Let a loss of a user count beside ours, under a name with a colon.

    Raises
    ------
    ConfigError
        When it was not declared by `loss`; later, when it raises or gives another shape.
    """
    said = getattr(function, "own_loss", None)
    if not isinstance(said, OwnLoss):
        raise ConfigError(
            f"metric = '{name}': expected a function decorated by harness.scoring.metrics.loss"
        )

    def counted(judged: Judged) -> Array:
        try:  # of a copy: what is judged is shared by all metrics
            found = np.asarray(function(deepcopy(judged)), dtype=np.float64)
        except Exception as problem:  # a user's code may fail in any way
            told = f"{type(problem).__name__}: {one_line(str(problem))}"
            raise ConfigError(f"metric = '{name}': {told}") from problem
        if found.shape != judged.truth.shape:
            raise ConfigError(
                f"metric = '{name}': it gives shape {found.shape}, expected [W, H] = "
                f"{judged.truth.shape}"
            )
        return found

    _METRICS[name] = Metric(
        name=name, unit=said.unit, lower_is_better=True, needs=said.needs, function=counted
    )
    scaled = said.unit == "target"
    _AGGREGATES[name] = Aggregate(
        name=name, of=name, title=said.title, unit=said.unit, comparable=True, scaled=scaled
    )


def aggregate(name: str, cells: Array, over: Array | None = None) -> Aggregated:
    """Make one number of a metric's cells, [S, W, H] or any other shape.

    Parameters
    ----------
    over
        Cells of the metric it is divided by, where it is (the size of the actuals for the WQL).

    Returns
    -------
    Aggregated
        NaN when a cell is NaN or there is none, or the divisor is 0.
    """
    value = float(_finish(name, cells, over, axes=None)) if cells.size else float("nan")
    missing = 0 if np.isfinite(value) else int(np.isnan(cells).sum())
    return Aggregated(value=value, n=cells.size, missing=missing)


def by_seed(name: str, cells: Array, over: Array | None = None) -> Array:
    """Make one number per seed of cells [S, W, H]: [S], NaN of a seed with a NaN in it."""
    if cells.size == 0:
        return np.full(len(cells), np.nan)
    return _finish(name, cells, over, axes=(1, 2))


def by_step(name: str, cells: Array, over: Array | None = None) -> Array:
    """Make one number per step of cells [..., W, H]: [H], NaN at a step with a NaN in it."""
    if cells.size == 0:
        return np.full(cells.shape[-1], np.nan)
    return _finish(name, cells, over, axes=tuple(range(cells.ndim - 1)))


def _finish(name: str, cells: Array, over: Array | None, axes: tuple[int, ...] | None) -> Array:
    what = AGGREGATES[name]
    mean = cells.mean(axis=axes)
    if what.over:
        assert over is not None, f"{name} is divided by {what.over}"
        below = over.mean(axis=axes)
        mean = mean / np.where(below > 0, below, np.nan)
    finished: Array = (np.sqrt(mean) if what.rooted else mean) * what.factor
    return finished
