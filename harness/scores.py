"""Scores: what each forecast was worth against what came, per origin and step.

Shapes: W windows, H steps, Q levels, S seeds.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from harness.arm import Role
from harness.errors import ForecastError
from harness.forecast import LEVELS, Forecast, extrapolated, quantiles_at
from harness.metrics import AGGREGATES, METRICS, Aggregate, Judged, aggregate, by_step
from harness.window import Array, Dates, Rows, Series, Windows

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
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
    """

    dataset: str
    origin: Rows
    origin_date: Dates
    step: Rows
    values: Array
    last: Array
    naive_scale: Array

    @classmethod
    def of(cls, dataset: str, series: Series, windows: Windows) -> Truth:
        """Read what came off the whole series."""
        change = np.abs(np.diff(series.target))
        so_far = np.concatenate([[0.0], np.cumsum(change)])  # [N]: over changes up to each row
        seen = windows.origin - 1  # the last row that is seen
        return cls(
            dataset=dataset,
            origin=windows.origin,
            origin_date=series.dates[windows.origin],
            step=windows.gap + 1 + np.arange(windows.horizon, dtype=np.int64),
            values=series.target[windows.judged],
            last=series.target[seen],
            naive_scale=so_far[seen] / np.maximum(seen, 1),
        )

    @property
    def digest(self) -> str:
        """Hash of everything a score depends on besides the forecast; not of name or row order."""
        order = np.argsort(self.origin, kind="stable")
        content = hashlib.sha256(str(self.values.shape).encode())
        for rows in (self.step, self.origin[order], self.origin_date[order]):
            whole = rows.astype("datetime64[D]") if rows.dtype.kind == "M" else rows
            content.update(np.ascontiguousarray(whole).astype("<i8").tobytes())
        for numbers in (self.values, self.last, self.naive_scale):
            content.update(np.ascontiguousarray(numbers[order], dtype="<f8").tobytes())
        return content.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitScores:
    """Scores of one unit of the grid: one arm on one dataset with one seed.

    Attributes
    ----------
    arm, role, dataset, seed
        Which unit.
    origin, origin_date, step, last, naive_scale
        As in `Truth`.
    truth_digest
        Digest of what was judged against; units that differ in it are never compared.
    ok : [W]
        False for a window the arm failed on.
    reason
        W texts: why a window failed, '' where it did not.
    values
        Per-cell metric name to scores [W, H]; NaN exactly where the window failed or the metric
        has no value there (a percentage error of an actual 0).
    crossings
        Share of (window, step) whose quantiles came out of order, among those that did not fail.
    extrapolated
        Levels of the common grid beyond the arm's own levels.
    residual_distribution
        The harness added the predictive distribution; the arm gave a point path only.
    """

    arm: str
    role: Role
    dataset: str
    seed: int
    origin: Rows
    origin_date: Dates
    step: Rows
    last: Array
    naive_scale: Array
    truth_digest: str
    ok: Flags
    reason: tuple[str, ...]
    values: Mapping[str, Array]
    crossings: float = 0.0
    extrapolated: int = 0
    residual_distribution: bool = False

    def __len__(self) -> int:
        return len(self.origin)

    @property
    def failures(self) -> int:
        """Windows the arm failed on."""
        return int(np.sum(~self.ok))


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One row of the metrics table: an arm on a dataset by one aggregated metric.

    Attributes
    ----------
    arm, role, dataset, metric, unit
        What is shown, and in what unit.
    value
        Mean over seeds; None unless every window of every seed has a value.
    low, high
        Range over seeds; None as `value`.
    seeds
        The seeds S.
    n, missing
        Scored values (S x W x H) and how many of them are NaN.
    failures
        Windows failed, over all seeds.
    skill
        1 - value / the reference arm's; None without one, or where the ratio means nothing.
    by_step : [H]
        The metric at each step, mean over seeds; NaN at a step that is incomplete.
    independent, independent_n
        The metric (mean over seeds) on the non-overlapping subset of origins, and how many
        origins that has.
    """

    arm: str
    role: Role
    dataset: str
    metric: str
    unit: str
    value: float | None
    low: float | None
    high: float | None
    seeds: tuple[int, ...]
    n: int
    missing: int
    failures: int
    skill: float | None
    by_step: Array
    independent: float | None
    independent_n: int


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
        When the forecast has other windows or steps than the truth.
    """
    if forecast.point.shape != truth.values.shape:
        raise ForecastError(
            f"arm '{arm}' on {truth.dataset}: forecasts have shape {forecast.point.shape}, "
            f"what came has {truth.values.shape} (windows, steps)"
        )
    reason = _reasons(forecast, reasons)
    ok = np.array([not text for text in reason], dtype=bool)
    judged, crossed, beyond = _judged(truth, forecast)
    values = {
        name: _blank(each.function(judged), ~ok)
        for name, each in METRICS.items()
        if judged.quantiles is not None or not each.distribution
    }
    return UnitScores(
        arm=arm,
        role=role,
        dataset=truth.dataset,
        seed=seed,
        origin=truth.origin,
        origin_date=truth.origin_date,
        step=truth.step,
        last=truth.last,
        naive_scale=truth.naive_scale,
        truth_digest=truth.digest,
        ok=ok,
        reason=reason,
        values=values,
        crossings=float(crossed[ok].mean()) if ok.any() else 0.0,
        extrapolated=beyond,
        residual_distribution=residual_distribution,
    )


def _reasons(forecast: Forecast, reasons: Sequence[str] | None) -> tuple[str, ...]:
    given = [""] * len(forecast) if reasons is None else list(reasons)
    return tuple(
        text or ("" if fine else "the forecast is not finite")
        for text, fine in zip(given, forecast.finite.tolist(), strict=True)
    )


def _blank(cells: Array, failed: Flags) -> Array:
    cells[failed] = np.nan
    return cells


def _judged(truth: Truth, forecast: Forecast) -> tuple[Judged, Flags, int]:
    """Lay the forecast out on the common grid; which cells crossed [W, H], levels beyond."""
    quantiles, samples = None, None
    crossed = np.zeros(truth.values.shape, dtype=bool)
    beyond = 0
    if forecast.quantiles is not None:
        quantiles, crossed = _on_grid(forecast.quantiles, forecast.levels)
        beyond = extrapolated(forecast.levels, LEVELS)
    elif forecast.samples is not None:
        samples = np.sort(forecast.samples, axis=1)
        quantiles, beyond = _quantiles_of_samples(samples)
    judged = Judged(
        truth=truth.values,
        point=forecast.point,
        naive_scale=truth.naive_scale,
        quantiles=quantiles,
        samples=samples,
    )
    return judged, crossed, beyond


def _on_grid(quantiles: Array, levels: Array) -> tuple[Array, Flags]:
    """Quantiles [W, H, q] to [Q, W, H] in order, and where they had to be sorted [W, H]."""
    rows = np.moveaxis(quantiles, -1, 0).copy()  # [q, W, H], each level in one piece
    crossed = np.zeros(quantiles.shape[:2], dtype=bool)
    for lower, upper in pairwise(rows):
        crossed |= upper < lower
    if crossed.any():
        rows[:, crossed] = np.sort(rows[:, crossed], axis=0)
    on_grid = quantiles_at(np.moveaxis(rows, 0, -1), levels, LEVELS)
    return np.ascontiguousarray(np.moveaxis(on_grid, -1, 0)), crossed


def _quantiles_of_samples(samples: Array) -> tuple[Array, int]:
    """Quantiles [Q, W, H] of sorted samples [W, M, H], and how many lie beyond the samples.

    The median-unbiased rule: level u lies at rank ``(M + 1/3) u + 1/3``, with straight lines
    between ranks. Source: Hyndman and Fan (1996), definition 8.
    """
    count = samples.shape[1]
    rank = (count + 1 / 3) * LEVELS + 1 / 3 - 1  # from 0
    inside = np.clip(rank, 0, count - 1)
    left = np.minimum(inside.astype(np.int64), count - 2)
    share = (inside - left)[:, None, None]
    by_rank = np.moveaxis(samples, 1, 0)
    return by_rank[left] * (1 - share) + by_rank[left + 1] * share, int(np.sum(rank != inside))


def in_time_order(unit: UnitScores) -> UnitScores:
    """Sort a unit's rows by origin, so that the order they came in decides nothing."""
    order = np.argsort(unit.origin, kind="stable")
    if bool(np.all(order[1:] > order[:-1])):
        return unit
    return dataclasses.replace(
        unit,
        origin=unit.origin[order],
        origin_date=unit.origin_date[order],
        last=unit.last[order],
        naive_scale=unit.naive_scale[order],
        ok=unit.ok[order],
        reason=tuple(unit.reason[index] for index in order.tolist()),
        values={name: cells[order] for name, cells in unit.values.items()},
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


def summarise(units: Sequence[UnitScores], *, reference: str | None = None) -> list[Summary]:
    """Make the metrics table: a row per arm, dataset and aggregate.

    Parameters
    ----------
    units
        Any number of arms, datasets and seeds; seeds of one arm on one dataset are one row.
    reference
        Arm the skill is measured against, on the same dataset.

    Returns
    -------
    list
        In the order in which arms and datasets appear. Metrics an arm has no scores for (a
        point forecaster's CRPS) have no row.
    """
    groups: dict[tuple[str, str], list[UnitScores]] = {}
    for unit in units:
        groups.setdefault((unit.dataset, unit.arm), []).append(unit)
    bars = {
        (dataset, name): _value(group, each)
        for (dataset, arm), group in groups.items()
        if arm == reference
        for name, each in _known(group).items()
    }
    return [
        _summary(sorted(group, key=lambda unit: unit.seed), each, bars.get((dataset, name)))
        for (dataset, _), group in groups.items()
        for name, each in _known(group).items()
    ]


def skill_of(value: float | None, bar: float | None) -> float | None:
    """``1 - value / bar``; None where either is missing or the bar is not above 0."""
    return None if value is None or bar is None or bar <= 0 else 1 - value / bar


def _known(group: Sequence[UnitScores]) -> dict[str, Aggregate]:
    return {
        name: each
        for name, each in AGGREGATES.items()
        if all(each.of in unit.values for unit in group)
    }


def _value(group: Sequence[UnitScores], each: Aggregate) -> float | None:
    found = np.mean([aggregate(each.name, unit.values[each.of]).value for unit in group])
    return float(found) if np.isfinite(found) else None


def _summary(group: Sequence[UnitScores], each: Aggregate, bar: float | None) -> Summary:
    first = group[0]
    per_seed = [aggregate(each.name, unit.values[each.of]) for unit in group]
    values = [found.value for found in per_seed]
    value = _value(group, each)
    apart = non_overlapping(first.origin, reach_of(first))
    alone = [aggregate(each.name, unit.values[each.of][apart]).value for unit in group]
    return Summary(
        arm=first.arm,
        role=first.role,
        dataset=first.dataset,
        metric=each.name,
        unit=each.unit,
        value=value,
        low=None if value is None else min(values),
        high=None if value is None else max(values),
        seeds=tuple(unit.seed for unit in group),
        n=sum(found.n for found in per_seed),
        missing=sum(found.missing for found in per_seed),
        failures=sum(unit.failures for unit in group),
        skill=skill_of(value, bar) if each.lower_is_better else None,
        by_step=np.mean([by_step(each.name, unit.values[each.of]) for unit in group], axis=0),
        independent=float(np.mean(alone)) if np.isfinite(alone).all() else None,
        independent_n=len(apart),
    )
