"""Which windows to show, and what was forecast there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.forecast import Forecast
from harness.running.records import StoredUnit
from harness.scoring.scores import UnitScores
from harness.window import Array, Dates, Rows
from reports.inputs import DatasetFacts, PageInput

FAN_LEVELS: Array = np.array([0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975])
FAN_LEVELS.flags.writeable = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """A window to show: why, where it is, and what each side lost there.

    Losses are the window's CRPS as a share of the last value seen, mean over steps and seeds.
    """

    word: str
    origin: int
    candidate_loss: float
    legacy_loss: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fan:
    """One arm's forecast of one window.

    Attributes
    ----------
    quantiles : [H, 7], optional
        At `FAN_LEVELS`; None for an arm without a distribution.
    point : [H]
    """

    arm: str
    seed: int
    point: Array
    quantiles: Array | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The sessions around an origin: seen before it, and judged after it.

    Attributes
    ----------
    seen_dates, seen : [T], [T]
    dates, truth : [H], [H]
    """

    seen_dates: Dates
    seen: Array
    dates: Dates
    truth: Array


def relative_loss(scores: Sequence[UnitScores]) -> tuple[Rows, Array]:
    """Origins [W] and each window's CRPS over the last value seen [W], mean over seeds.

    NaN where a window failed for any seed. Units on other origins than the first are left out:
    such a verdict is INVALID already.
    """
    usable = [each for each in scores if "crps" in each.values]
    if not usable:
        return np.empty(0, dtype=np.int64), np.empty(0)
    origin = usable[0].origin
    same = [each for each in usable if np.array_equal(each.origin, origin)]
    losses = [each.values["crps"].mean(axis=1) / each.last for each in same]
    return origin, np.mean(losses, axis=0)


def picks(page: PageInput, dataset: str) -> list[Pick]:
    """Choose the worst, median and best window by the candidate's loss."""
    origin, loss = relative_loss(page.scores_of(page.verdict.candidate, dataset))
    ranked = [int(place) for place in np.argsort(loss, kind="stable") if np.isfinite(loss[place])]
    if not ranked:
        return []
    places = {
        "Worst": ranked[-1],
        "Median": ranked[(len(ranked) - 1) // 2],
        "Best": ranked[0],
    }
    legacy = _losses_by_origin(page, page.verdict.legacy, dataset)
    return [
        Pick(
            word=word,
            origin=int(origin[place]),
            candidate_loss=float(loss[place]),
            legacy_loss=legacy.get(int(origin[place])),
        )
        for word, place in places.items()
    ]


def largest_losses(page: PageInput, dataset: str, *, count: int = 3) -> list[Pick]:
    """Windows where the candidate loses most against the legacy arm, gravest first."""
    candidate = _losses_by_origin(page, page.verdict.candidate, dataset)
    legacy = _losses_by_origin(page, page.verdict.legacy, dataset)
    gaps = sorted((legacy[at] - loss, at) for at, loss in candidate.items() if at in legacy)
    return [
        Pick(word="", origin=at, candidate_loss=candidate[at], legacy_loss=legacy[at])
        for gap, at in gaps[:count]
        if gap < 0
    ]


def _losses_by_origin(page: PageInput, arm: str, dataset: str) -> dict[int, float]:
    origin, loss = relative_loss(page.scores_of(arm, dataset))
    pairs = zip(origin.tolist(), loss.tolist(), strict=True)
    return {at: value for at, value in pairs if np.isfinite(value)}


def span(facts: DatasetFacts, origin: int) -> Span | None:
    """Cut the sessions around an origin; None where the series does not reach."""
    first = origin + facts.gap
    stop = first + facts.horizon
    if stop > len(facts.target):
        return None
    start = max(0, origin - max(20, 2 * facts.horizon))
    return Span(
        seen_dates=facts.dates[start:origin],
        seen=facts.target[start:origin],
        dates=facts.dates[first:stop],
        truth=facts.target[first:stop],
    )


def fan(page: PageInput, arm: str, dataset: str, origin: int) -> Fan | None:
    """Read an arm's forecast at an origin from its first seed that has one."""
    for key in page.unit_keys(arm, dataset):
        unit = page.units[key]
        row = _row(unit, origin)
        if row is not None:
            return Fan(
                arm=arm,
                seed=key[2],
                point=unit.forecast.point[row],
                quantiles=_quantiles(unit.forecast, row),
            )
    return None


def _row(unit: StoredUnit, origin: int) -> int | None:
    """Row of an origin, by key; None where it is not there or failed."""
    found = np.flatnonzero(unit.origin == origin)
    if len(found) != 1 or unit.reason[int(found[0])]:
        return None
    row = int(found[0])
    return row if bool(np.isfinite(unit.forecast.point[row]).all()) else None


def _quantiles(forecast: Forecast, row: int) -> Array | None:
    """One window's quantiles at `FAN_LEVELS`, [H, 7], in order; None without a distribution."""
    if not forecast.has_distribution:
        return None
    quantiles: Array = window_of(forecast, slice(row, row + 1)).at(FAN_LEVELS)[0]
    return quantiles


def window_of(forecast: Forecast, rows: slice | Rows) -> Forecast:
    """Some windows of a forecast, in the same form."""
    quantiles, samples, deviation = forecast.quantiles, forecast.samples, forecast.deviation
    return Forecast(
        point=forecast.point[rows],
        levels=forecast.levels,
        quantiles=None if quantiles is None else quantiles[rows],
        samples=None if samples is None else samples[rows],
        deviation=None if deviation is None else deviation[rows],
    )
