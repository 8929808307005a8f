"""The stream of a rollout: both sides at every session, beside the plan's own origins.

It is an experiment of its own, made of the rollout's: the pair, every series, stride 1, one seed.
Its forecasts are parts and seals of the store like any other. What is read of it here: losses over
the first steps as soon as these have come, losses over the whole horizon, and faults.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.data.dataset import Dataset
from harness.errors import StoreError
from harness.forecast import Forecast
from harness.rollout.sentinel import STEPS, WHOLE_STRETCH
from harness.rollout.settings import Settings
from harness.running.cells import read_cell
from harness.running.fill import load_datasets, prepare
from harness.running.grid import Grid, GridCell
from harness.running.sources import digest
from harness.running.store_folder import Store
from harness.scoring.metrics import AGGREGATES
from harness.scoring.scores import Truth, score
from harness.window import Array, Dates, Series, Windows

OBSERVED = "observed"
"""Kind of the records of values that a caller reported, by series."""
BEFORE = WHOLE_STRETCH + 60
"""Origins of a stream before its start: the stretch, and some from which usual losses are known."""
WIDTHS, _INNER = 10, (0.1, 0.9)
"""A point path further off than so many legacy widths, between these levels, is a fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideLosses:
    """One side of a series, at W origins.

    Attributes
    ----------
    early, whole : [W]
        Mean loss over steps 1 to `STEPS` and over all; NaN where a step has not come, the arm has
        no forecast, or another answered for it.
    reason
        W texts: why the arm itself has no forecast.
    issued_at
        W texts: UTC, ISO.
    in_time : [W]
        Issued before the first judged session.
    """

    early: Array
    whole: Array
    reason: tuple[str, ...]
    issued_at: tuple[str, ...]
    in_time: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedStream:
    """Both sides of a series on the same origins, the oldest first.

    Attributes
    ----------
    day : [W]
        Last session seen at each origin.
    early_came, whole_came : [W]
        Whether steps 1 to `STEPS`, and all steps, have come.
    wild : [W]
        The candidate's point path lies beyond ten legacy widths.
    last
        Last session of the data.
    """

    series: str
    day: Dates
    candidate: SideLosses
    legacy: SideLosses
    early_came: npt.NDArray[np.bool_]
    whole_came: npt.NDArray[np.bool_]
    wild: npt.NDArray[np.bool_]
    gap: int
    horizon: int
    last: str

    def __len__(self) -> int:
        return len(self.day)

    def until(self, day: str) -> PairedStream:
        """The same as it was when the first steps of the origin of a day had come."""
        came = self.early_came & (self.day.astype(str) <= day)
        return dataclasses.replace(self, early_came=came)

    def as_of(self, count: int) -> PairedStream:
        """The same as it was when so many origins had been issued."""

        def side(found: SideLosses) -> SideLosses:
            return SideLosses(
                early=found.early[:count],
                whole=found.whole[:count],
                reason=found.reason[:count],
                issued_at=found.issued_at[:count],
                in_time=found.in_time[:count],
            )

        sessions = np.arange(count, 0, -1) - 1 - self.gap  # that had come of each origin's steps
        return dataclasses.replace(
            self,
            day=self.day[:count],
            candidate=side(self.candidate),
            legacy=side(self.legacy),
            early_came=self.early_came[:count] & (sessions >= min(STEPS, self.horizon)),
            whole_came=self.whole_came[:count] & (sessions >= self.horizon),
            wild=self.wild[:count],
            last=str(self.day[count - 1]),
        )

    def fault(self, place: int) -> str:
        """What was wrong with the candidate at an origin; '' where nothing was."""
        said = self.candidate.reason[place]
        return said or ("point path beyond ten legacy widths" if self.wild[place] else "")


def first_origins(settings: Settings, datasets: Mapping[str, Dataset]) -> dict[str, str]:
    """Where a stream begins that is started now: a stretch and a little more before the end.

    Returns
    -------
    dict
        ISO date of the first session not seen, by series.
    """
    found = {}
    for name, plan in settings.experiment.plans.items():
        dataset = datasets[name].without_repeats() if plan.skip_repeats else datasets[name]
        dates = dataset.series.dates
        reach = plan.gap + plan.horizon
        row = len(dates) - reach - BEFORE
        row = min(max(row, plan.validation + 2), len(dates) - reach)
        found[name] = str(dates[max(0, row)])
    return found


def stream_grid(
    settings: Settings, folders: Sequence[Path], store: Store | None, *, first: Mapping[str, str]
) -> Grid:
    """Declare the stream's grid.

    The fits are those of the plan, at its distances in sessions, but none within the stretch.

    Parameters
    ----------
    first
        ISO date of the first origin, by series.
    """
    asked = settings.experiment
    plans = {
        name: dataclasses.replace(
            plan,
            stride=1,
            first=first[name],
            origins=None,
            refit=max(plan.refit * plan.stride, BEFORE) if plan.refit else None,
        )
        for name, plan in asked.plans.items()
    }
    pair = (settings.legacy, settings.candidate)
    stream = dataclasses.replace(
        asked,
        name=f"{settings.name}.stream",
        plans=plans,
        arms=tuple(arm for arm in asked.arms if arm.name in pair),
        run=dataclasses.replace(asked.run, seeds=asked.run.seeds[:1]),
    )
    return prepare(stream, folders, store, grow=True)


def revision_of(grid: Grid, settings: Settings) -> str:
    """Digest of the candidate: its code, options and weights, the origins left out."""
    lines = [
        [cell.identity[name] for name in sorted(cell.identity) if name != "results"]
        for cell in grid.cells
        if cell.arm.name == settings.candidate
    ]
    return digest(lines)[:16]


def read_pairs(settings: Settings, grid: Grid, store: Store) -> list[PairedStream]:
    """Read both sides of every series.

    Raises
    ------
    StoreError
        When a forecast is not there, or not what was sealed.
    """
    return [_pair(settings, grid, store, name) for name in settings.series]


def _pair(settings: Settings, grid: Grid, store: Store, name: str) -> PairedStream:
    cells = {cell.arm.name: cell for cell in grid.cells if cell.dataset == name}
    split = cells[settings.legacy].split
    series = _with_observed(store, name, split.dataset.series, settings.truth)
    count, gap = len(split.issued), split.issued.gap
    sides, forecasts = {}, {}
    for arm in (settings.legacy, settings.candidate):
        whole = dataclasses.replace(split, windows=split.issued)
        stored = read_cell(store, dataclasses.replace(cells[arm], split=whole))
        forecasts[arm] = stored.forecast
        early, late = (
            _losses(
                settings, cells[arm], split.issued, stored.forecast, stored.reason, series, steps
            )
            for steps in (min(STEPS, split.issued.horizon), split.issued.horizon)
        )
        flags = stored.forecast.fallback or ("",) * count
        sides[arm] = SideLosses(
            early=early,
            whole=late,
            reason=tuple(a or b for a, b in zip(stored.reason, flags, strict=True)),
            issued_at=stored.issued_at,
            in_time=np.array(stored.prospective, dtype=bool),
        )
    return PairedStream(
        series=name,
        day=split.dataset.series.dates[split.issued.origin - 1],
        candidate=sides[settings.candidate],
        legacy=sides[settings.legacy],
        early_came=_came(split.issued, series, STEPS),
        whole_came=_came(split.issued, series, split.issued.horizon),
        wild=wild(forecasts[settings.candidate], forecasts[settings.legacy]),
        gap=gap,
        horizon=split.issued.horizon,
        last=str(series.dates[-1]),
    )


def _came(windows: Windows, series: Series, steps: int) -> npt.NDArray[np.bool_]:
    last = windows.origin + windows.gap + min(steps, windows.horizon)
    return np.asarray(last <= len(series))


def _losses(
    settings: Settings,
    cell: GridCell,
    windows: Windows,
    forecast: Forecast,
    reason: Sequence[str],
    series: Series,
    steps: int,
) -> Array:
    """Mean loss over the first steps at each origin, [W]; NaN where it has none."""
    found = np.full(len(windows), np.nan)
    came = int(_came(windows, series, steps).sum())  # origins are in order of time
    if not came:
        return found
    part = dataclasses.replace(windows.part(slice(0, came)), horizon=steps)
    scores = score(
        Truth.of(cell.dataset, series, part),
        _upto(forecast, came, steps),
        arm=cell.arm.name,
        role=cell.arm.role,
        seed=cell.seed,
        reasons=reason[:came],
    )
    metric = AGGREGATES[settings.metric].of
    if metric in scores.values:
        found[:came] = scores.values[metric].mean(axis=1)
    return found


def _upto(forecast: Forecast, windows: int, steps: int) -> Forecast:
    """The first windows and steps."""

    def cut(values: Array | None, axis: int = 1) -> Array | None:
        if values is None:
            return None
        return values[:windows, :steps] if axis == 1 else values[:windows, :, :steps]

    return Forecast(
        point=forecast.point[:windows, :steps],
        levels=forecast.levels,
        quantiles=cut(forecast.quantiles),
        samples=cut(forecast.samples, 2),
        deviation=cut(forecast.deviation),
        fallback=forecast.fallback[:windows],
        exchangeable=forecast.exchangeable,
    )


def wild(candidate: Forecast, legacy: Forecast) -> npt.NDArray[np.bool_]:
    """Where the candidate's point path lies beyond ten legacy widths at some step, [W].

    A width is that between the legacy's quantiles at 10 and 90 per cent, counted from its point.
    Where the legacy has no forecast nothing is told.
    """
    if not legacy.has_distribution:
        return np.zeros(len(candidate), dtype=bool)
    ends = legacy.at(np.array(_INNER))
    width = ends[..., 1] - ends[..., 0]
    with np.errstate(invalid="ignore"):
        beyond = np.abs(candidate.point - legacy.point) > WIDTHS * width
    return np.asarray(beyond.any(axis=1))


def last_widths(settings: Settings, grid: Grid, store: Store) -> dict[str, dict[str, list[float]]]:
    """The legacy's newest forecast of each series: path less the last value, and width, by step.

    A router holds a path of the candidate against them before it serves it. Nothing of a series of
    which the legacy has no forecast with a distribution.
    """
    found = {}
    for cell in grid.cells:
        if cell.arm.name != settings.legacy:
            continue
        whole = dataclasses.replace(cell.split, windows=cell.split.issued)
        stored = read_cell(store, dataclasses.replace(cell, split=whole))
        forecast = stored.forecast
        good = np.flatnonzero([not why for why in stored.reason])
        if not len(good) or not forecast.has_distribution:
            continue
        ends = forecast.at(np.array(_INNER))[good[-1]]
        last = cell.split.dataset.series.target[stored.origin[good[-1]] - 1]
        found[cell.dataset] = {
            "path": (forecast.point[good[-1]] - last).tolist(),
            "width": (ends[:, 1] - ends[:, 0]).tolist(),
        }
    return found


def _with_observed(store: Store, name: str, series: Series, which: str) -> Series:
    """The actuals with what callers reported: later sessions, and other values of known ones.

    Of several values of a session the first that was reported counts, or the latest; what the data
    say counts as the first.
    """
    known: dict[str, float] = {}
    for record in store.journal.records(OBSERVED, name):
        body = store.journal.body(record)
        for day, value in zip(body["dates"], body["values"], strict=True):
            if which == "latest" or day not in known:
                known[str(day)] = float(value)
    if not known:
        return series
    days = np.array(sorted(known), dtype="datetime64[D]")
    values = np.array([known[str(day)] for day in days])
    there = np.isin(days, series.dates)
    target = series.target.copy()
    if which == "latest":
        target[np.searchsorted(series.dates, days[there])] = values[there]
    more = days > series.dates[-1]
    past = np.full((int(more.sum()), series.past.shape[1]), np.nan)
    return dataclasses.replace(
        series,
        dates=np.concatenate([series.dates, days[more]]),
        target=np.concatenate([target, values[more]]),
        past=np.concatenate([series.past, past]),
    )


def datasets_of(settings: Settings, folders: Sequence[Path]) -> dict[str, Dataset]:
    """The data of every series."""
    return load_datasets(settings.experiment, folders)


def serving_fits(grid: Grid, store: Store) -> dict[str, dict[str, str]]:
    """Key of the fit that answers for the newest origin, by series and arm.

    Raises
    ------
    StoreError
        When a fit failed: nothing can be served by it.
    """
    found: dict[str, dict[str, str]] = {}
    for cell in grid.cells:
        fit = cell.fits[-1]
        known = store.fit(fit.key)
        if known is None or known.problem:
            raise StoreError(
                f"{cell}: no fit to serve: {known.problem if known else 'it was not made'}"
            )
        found.setdefault(cell.dataset, {})[cell.arm.name] = fit.key
    return found
