"""Scores: what each forecast was worth against the actuals, per origin and step.

Shapes: W windows, H steps, Q levels, S seeds.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from harness.arm import Role
from harness.errors import ForecastError
from harness.forecast import (
    ANSWERED,
    LEVELS,
    Forecast,
    extrapolated,
    normal_scores,
    quantiles_at,
    quantiles_of_samples,
)
from harness.scoring.kernels import WEIGHTS, fair_crps, look_drawn, pinball_sum
from harness.scoring.metrics import METRICS, Judged
from harness.stats.longrun import generator_of
from harness.window import Array, Dates, Rows, Series, Windows

Flags = npt.NDArray[np.bool_]
Chosen = Rows | Flags | slice
"""Some windows or steps: places in any order, a flag for each, or a slice."""
EVERY = slice(None)
VOLATILITY_SESSIONS = 20
"""Changes the trailing volatility is made of: a trading month."""
DRAWDOWN_SESSIONS = 250
"""Sessions whose highest value the drawdown is measured from: a trading year."""


@dataclass(frozen=True, kw_only=True)  # no slots: its digest is worked out once
class Truth:
    """What came, and what it is scaled by; the same for every arm on a dataset.

    Attributes
    ----------
    dataset
        Id of the dataset.
    origin : [W]
        Row of the first session not seen.
    origin_date : [W]
        Date of that row, `datetime64[D]`.
    step : [H]
        Sessions ahead of the last one seen, 1-based: with a gap of g the first is g + 1.
    values : [W, H]
        What came.
    last : [W]
        Last value seen.
    naive_scale : [W]
        Mean absolute one-session change before the origin (the denominator of MASE).
    naive_square : [W], optional
        Mean squared one-session change before the origin (the denominator of RMSSE).
    volatility : [W], optional
        Root mean square of the last `VOLATILITY_SESSIONS` changes over the last value seen; NaN
        where that is 0.
    drawdown : [W], optional
        How far the last value seen lies below the highest of the last `DRAWDOWN_SESSIONS`, as a
        share of that; NaN where that is not above 0.
    """

    dataset: str
    origin: Rows
    origin_date: Dates
    step: Rows
    values: Array
    last: Array
    naive_scale: Array
    naive_square: Array | None = None
    volatility: Array | None = None
    drawdown: Array | None = None

    @classmethod
    def of(cls, dataset: str, series: Series, windows: Windows) -> Truth:
        """Read the actuals off the whole series."""
        change = np.diff(series.target)
        seen = windows.origin - 1  # the last row that is seen
        last = series.target[seen]
        size = np.sqrt(_trailing(change**2, seen, VOLATILITY_SESSIONS, np.mean))
        high = _trailing(series.target, seen + 1, DRAWDOWN_SESSIONS, np.max)
        return cls(
            dataset=dataset,
            origin=windows.origin,
            origin_date=series.dates[windows.origin],
            step=windows.gap + 1 + np.arange(windows.horizon, dtype=np.int64),
            values=series.target[windows.judged],
            last=last,
            naive_scale=_trailing_mean(np.abs(change), seen),
            naive_square=_trailing_mean(change**2, seen),
            volatility=size / np.where(last != 0, np.abs(last), np.nan),
            drawdown=1 - series.target[seen] / np.where(high > 0, high, np.nan),
        )

    def at(self, rows: Chosen = EVERY, steps: Chosen = EVERY) -> Truth:
        """The same at some windows and steps, in the order given."""
        square, volatility, drawdown = (
            None if numbers is None else numbers[rows]
            for numbers in (self.naive_square, self.volatility, self.drawdown)
        )
        return dataclasses.replace(
            self,
            origin=self.origin[rows],
            origin_date=self.origin_date[rows],
            step=self.step[steps],
            values=self.values[rows][:, steps],
            last=self.last[rows],
            naive_scale=self.naive_scale[rows],
            naive_square=square,
            volatility=volatility,
            drawdown=drawdown,
        )

    def where(self, rows: Flags, other: Truth) -> Truth:
        """The same with some windows [W] as another knows them."""
        chosen: dict[str, Any] = {}
        for name in ("values", "last", "naive_scale", "naive_square", "volatility", "drawdown"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine is not None:
                chosen[name] = np.where(rows[:, None] if mine.ndim == 2 else rows, theirs, mine)
        return dataclasses.replace(self, **chosen)

    @cached_property
    def digest(self) -> str:
        """Hash of everything a score depends on besides the forecast; not of name or row order."""
        order = np.argsort(self.origin, kind="stable")
        content = hashlib.sha256(str(self.values.shape).encode())
        for rows in (self.step, self.origin[order], self.origin_date[order]):
            whole = rows.astype("datetime64[D]") if rows.dtype.kind == "M" else rows
            content.update(np.ascontiguousarray(whole).astype("<i8").tobytes())
        known = (self.naive_square, self.volatility, self.drawdown)
        for numbers in (self.values, self.last, self.naive_scale, *known):
            given = b"" if numbers is None else np.ascontiguousarray(numbers[order], dtype="<f8")
            content.update(bytes(given))
        return content.hexdigest()

    @cached_property
    def in_time(self) -> Rows | None:
        """Places of the rows in the order of their origins; None where that is their order."""
        order = np.argsort(self.origin, kind="stable")
        return None if bool(np.all(order[1:] > order[:-1])) else order


def _trailing_mean(changes: Array, seen: Rows) -> Array:
    """Mean of all changes up to each row seen, [W]."""
    so_far = np.concatenate([[0.0], np.cumsum(changes)])
    mean: Array = so_far[seen] / np.maximum(seen, 1)
    return mean


def _trailing(values: Array, stop: Rows, size: int, of: Callable[..., Any]) -> Array:
    """A statistic of the last values before each row, of fewer where there are no more, [W]."""
    found = np.empty(len(stop))
    early = stop < size
    found[early] = [of(values[:row]) for row in stop[early]]
    if not early.all():
        whole = sliding_window_view(values, size)
        found[~early] = of(whole[stop[~early] - size], axis=1)
    return found


class _CutColumns(Mapping[str, Array]):
    """Scores [W, H] by metric at some windows and steps, each cut when it is asked for."""

    __slots__ = ("_rows", "_steps", "_whole")

    def __init__(self, whole: Mapping[str, Array], rows: Chosen, steps: Chosen) -> None:
        self._whole, self._rows, self._steps = whole, rows, steps

    def __getitem__(self, name: str) -> Array:
        return self._whole[name][self._rows][:, self._steps]

    def __contains__(self, name: object) -> bool:
        return name in self._whole

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole)

    def __len__(self) -> int:
        return len(self._whole)


_POINTS = 2**18
"""Windows x steps x levels that are scored at a time: two megabytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitScores:
    """Scores of one unit of the grid: one arm on one dataset with one seed.

    Attributes
    ----------
    arm, role, seed
        Which unit.
    truth
        What was judged against.
    truth_digest
        Digest of all of it, also where only a part of it is left; units that differ in it are
        never compared.
    ok : [W]
        False for a window the arm failed on, whether or not its fallback answered.
    reason
        W texts: why a window failed, '' where it did not.
    values
        Per-cell metric name to scores [W, H]; NaN exactly where the window failed or the metric
        has no value there (a percentage error of an actual 0). A fallback's answer is not in it.
    fallback
        W texts: why the arm's fallback answered a window, '' where the arm did. Empty when it
        never did.
    served
        As `values`, with the fallback's answers where it answered: what a user of the pair got.
        Empty when it never did. `as_served` makes scores of it.
    crossings
        Share of (window, step) whose quantiles came out of order, among those that did not fail.
    extrapolated
        Levels of the common grid beyond the arm's own levels.
    residual_distribution
        The harness added the predictive distribution; the arm gave a point path only.
    members
        Samples of a window; 0 for an arm that gave none.
    drawn
        The samples were declared to be independent draws, are spread as such, and scored as such.
        Others are scored through the common grid, as quantiles.
    reading_gap
        CRPS read through the common grid over that of independent draws, less 1; 0 without samples.
    """

    arm: str
    role: Role
    seed: int
    truth: Truth
    truth_digest: str
    ok: Flags
    reason: tuple[str, ...]
    values: Mapping[str, Array]
    fallback: tuple[str, ...] = ()
    served: Mapping[str, Array] = field(default_factory=dict)
    crossings: float = 0.0
    extrapolated: int = 0
    residual_distribution: bool = False
    members: int = 0
    drawn: bool = True
    reading_gap: float = 0.0

    def __len__(self) -> int:
        return len(self.ok)

    def at(self, rows: Chosen = EVERY, steps: Chosen = EVERY) -> UnitScores:
        """The same scores at some windows and steps, in the order given."""
        return dataclasses.replace(
            self,
            truth=self.truth.at(rows, steps),
            ok=self.ok[rows],
            reason=_texts_at(self.reason, rows),
            values=_CutColumns(self.values, rows, steps),
            fallback=_texts_at(self.fallback, rows),
            served=_CutColumns(self.served, rows, steps),
        )

    @property
    def dataset(self) -> str:
        """Id of the dataset."""
        return self.truth.dataset

    @property
    def origin(self) -> Rows:
        """Row of the first session not seen, [W]."""
        return self.truth.origin

    @property
    def origin_date(self) -> Dates:
        """Date of that row, [W]."""
        return self.truth.origin_date

    @property
    def step(self) -> Rows:
        """Sessions ahead of the last one seen, [H]."""
        return self.truth.step

    @property
    def last(self) -> Array:
        """Last value seen, [W]."""
        return self.truth.last

    @property
    def failures(self) -> int:
        """Windows the arm failed on, those its fallback answered included."""
        return int(np.sum(~self.ok))

    @property
    def answered_by_fallback(self) -> Flags:
        """Which windows the arm's fallback answered, [W]."""
        if not self.fallback:
            return np.zeros(len(self), dtype=bool)
        return np.array([bool(text) for text in self.fallback])


def _texts_at(texts: tuple[str, ...], rows: Chosen) -> tuple[str, ...]:
    return tuple(np.array(texts, dtype=object)[rows].tolist()) if texts else ()


def score(
    truth: Truth,
    forecast: Forecast,
    *,
    arm: str,
    role: Role,
    seed: int,
    reasons: Sequence[str] | None = None,
    residual_distribution: bool = False,
) -> UnitScores:
    """Score a unit's forecasts on the common grid by every metric.

    A window that the arm's fallback answered counts as one the arm failed on: its scores stand in
    `UnitScores.served` only.

    Parameters
    ----------
    truth
        What came, W windows of H steps.
    forecast
        Of the same windows in the same order. A point path alone gets the point metrics only.
    reasons
        W texts, why a window failed ('' where it did not); a forecast that is not finite fails
        whatever this says.

    Raises
    ------
    ForecastError
        When the forecast has other windows or steps than the truth, or too few samples.
    """
    if forecast.point.shape != truth.values.shape:
        raise ForecastError(
            f"arm '{arm}' on {truth.dataset}: forecasts have shape {forecast.point.shape}, "
            f"what came has {truth.values.shape} (windows, steps)"
        )
    forecast.expect_members()
    unserved, fallback, reason = _served(forecast, reasons)
    ok = np.array([not text for text in reason], dtype=bool)
    gap, drawn = 0.0, True
    if forecast.samples is not None:
        count = min(200, len(forecast))  # which ones is drawn from them: no arm knows it
        drawing = generator_of(forecast.samples)
        rows = np.sort(drawing.choice(len(forecast), size=count, replace=False))
        ordered = np.sort(np.moveaxis(forecast.samples[rows], 1, -1), axis=-1)  # [w, H, M]
        gap = _reading_gap(truth.values[rows], ordered)
        drawn = forecast.exchangeable and gap <= MOST_GAP / ordered.shape[-1]
        drawn = drawn and look_drawn(ordered)
    with np.errstate(over="ignore", invalid="ignore"):  # such windows failed, and are blanked below
        cells, crossed, beyond = _cells(truth, forecast, drawn=drawn)
    lost = np.array([bool(text) for text in unserved])
    served = {name: _blank(found.copy(), lost) for name, found in cells.items() if fallback}
    return UnitScores(
        arm=arm,
        role=role,
        seed=seed,
        truth=truth,
        truth_digest=truth.digest,
        ok=ok,
        reason=reason,
        values={name: _blank(found, ~ok) for name, found in cells.items()},
        fallback=fallback,
        served=served,
        crossings=float(crossed[ok].mean()) if ok.any() else 0.0,
        extrapolated=beyond,
        residual_distribution=residual_distribution,
        members=0 if forecast.samples is None else forecast.samples.shape[1],
        drawn=drawn,
        reading_gap=gap,
    )


MOST_GAP = 4.0
"""Over the number of members: independent draws that are spread ten times too far have a gap of 2.4
between both readings, and what has more is none."""


def _reading_gap(actual: Array, ordered: Array) -> float:
    """CRPS of samples [w, H, M] as quantiles over that of independent draws, less 1."""
    fine = np.isfinite(ordered).all(axis=(1, 2))
    if not fine.any():
        return 0.0
    draws = float(fair_crps(actual[fine], ordered[fine], increasing=True).mean())
    rows, _ = quantiles_of_samples(ordered[fine], LEVELS)
    grid = float(pinball_sum(actual[fine], rows, LEVELS, WEIGHTS).mean())
    return grid / draws - 1 if draws > 0 and np.isfinite(grid / draws) else 0.0


def _served(
    forecast: Forecast, reasons: Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Why each window has no answer; why the fallback answered it; why it is none of the arm's.

    The second is empty where the fallback never answered.
    """
    given = [""] * len(forecast) if reasons is None else list(reasons)
    unserved = tuple(
        text or ("" if fine else "the forecast is not finite")
        for text, fine in zip(given, forecast.finite.tolist(), strict=True)
    )
    if not any(forecast.fallback):
        return unserved, (), unserved
    pairs = list(zip(unserved, forecast.fallback, strict=True))
    answered = tuple("" if lost else why for lost, why in pairs)
    credited = tuple(lost or (f"{ANSWERED}{why}" if why else "") for lost, why in pairs)
    return unserved, answered if any(answered) else (), credited


def _blank(cells: Array, failed: Flags) -> Array:
    cells[failed] = np.nan
    return cells


def _cells(truth: Truth, forecast: Forecast, *, drawn: bool) -> tuple[dict[str, Array], Flags, int]:
    """Every metric [W, H], which cells crossed [W, H], and how many levels lie beyond the arm's.

    Windows are scored alone, so they can be taken in pieces that stay in the processor's cache.
    """
    found: dict[str, Array] = {}
    crossed = np.zeros(truth.values.shape, dtype=bool)
    beyond = 0
    depth = len(LEVELS) if forecast.samples is None else forecast.samples.shape[1]
    size = max(16, _POINTS // max(1, depth * forecast.point.shape[1]))
    for start in range(0, len(forecast), size):
        part = slice(start, start + size)
        judged, crossed[part], beyond = _judged(truth, forecast, part)
        if not drawn:
            judged = dataclasses.replace(judged, samples=None)
        for name, each in METRICS.items():
            if each.scores(judged):
                whole = found.setdefault(name, np.empty(truth.values.shape))
                whole[part] = each.function(judged)
    return found, crossed, beyond


def _judged(truth: Truth, forecast: Forecast, part: slice) -> tuple[Judged, Flags, int]:
    """Lay some windows out on the common grid; which cells crossed [w, H], levels beyond."""
    quantiles, samples, deviation = None, None, None
    crossed = np.zeros(truth.values[part].shape, dtype=bool)
    beyond = 0
    if forecast.quantiles is not None:
        rows = np.moveaxis(forecast.quantiles[part], -1, 0).copy()  # [q, w, H], a level in a piece
        for lower, upper in pairwise(rows):
            crossed |= upper < lower
        if crossed.any():
            rows[:, crossed] = np.sort(rows[:, crossed], axis=0)
        quantiles = quantiles_at(np.moveaxis(rows, 0, -1), forecast.levels, LEVELS)
        quantiles = np.ascontiguousarray(np.moveaxis(quantiles, -1, 0))
        beyond = extrapolated(forecast.levels, LEVELS)
    elif forecast.samples is not None:
        samples = np.ascontiguousarray(np.moveaxis(forecast.samples[part], 1, -1))  # [w, H, M]
        samples = np.sort(samples, axis=-1)
        quantiles, beyond = quantiles_of_samples(samples, LEVELS)
    elif forecast.deviation is not None:
        deviation = forecast.deviation[part]
        quantiles = forecast.point[part] + deviation * normal_scores(LEVELS)[:, None, None]
    judged = Judged(
        truth=truth.values[part],
        point=forecast.point[part],
        naive_scale=truth.naive_scale[part],
        naive_square=None if truth.naive_square is None else truth.naive_square[part],
        quantiles=quantiles,
        samples=samples,
        deviation=deviation,
    )
    return judged, crossed, beyond


def in_time_order(unit: UnitScores) -> UnitScores:
    """Sort a unit's rows by origin, so that the order they came in decides nothing."""
    order = unit.truth.in_time
    return unit if order is None else unit.at(order)


def as_served(unit: UnitScores) -> UnitScores:
    """The scores of what was delivered, the fallback's answers included.

    Only windows that nobody answered count as failed. Not for judging the arm: what the fallback
    answered is none of its merit.
    """
    if not unit.served:
        return unit
    taken = unit.answered_by_fallback
    pairs = zip(unit.reason, taken.tolist(), strict=True)
    return dataclasses.replace(
        unit,
        ok=unit.ok | taken,
        reason=tuple("" if answered else text for text, answered in pairs),
        values=unit.served,
        fallback=(),
        served={},
    )


def reach_of(unit: UnitScores) -> int:
    """Sessions from the last one seen to the last one judged: horizon and gap."""
    return int(unit.step.max())


def non_overlapping(origin: Rows, reach: int) -> Rows:
    """Indices of origins, from the first on, that share no session: each `reach` after the last."""
    order = np.argsort(origin, kind="stable")
    kept: list[int] = []
    free = None
    for index in order.tolist():
        row = int(origin[index])
        if free is None or row >= free:
            kept.append(index)
            free = row + reach
    return np.array(kept, dtype=np.int64)
