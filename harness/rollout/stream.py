"""The stream of a rollout: both sides at every session, beside the plan's own origins.

It is an experiment of its own, made of the rollout's: the pair, every series, stride 1, one seed.
Its forecasts are parts and seals of the store like any other. What is read of it here: losses over
the first steps as soon as these have come, losses over the whole horizon, and faults.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.data.dataset import Dataset
from harness.errors import StoreError
from harness.forecast import Forecast
from harness.gate.stored_scores import truth_of
from harness.rollout.sentinel import STEPS, WHOLE_STRETCH
from harness.rollout.settings import Settings
from harness.running.cells import read_cell, stored_origins
from harness.running.fill import prepare
from harness.running.grid import Grid, GridCell
from harness.running.sources import digest
from harness.running.split import Split
from harness.running.store_folder import Store
from harness.running.stored_cell import StoredCell
from harness.scoring.metrics import AGGREGATES
from harness.scoring.scores import Truth, score
from harness.window import Array, Dates, Series, up_to

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

    def as_of(self, count: int, *, after: int = 0) -> PairedStream:
        """The same as it was when so many origins had been issued.

        Parameters
        ----------
        after
            Sessions that had come after the last one that the last of them saw.
        """

        def side(found: SideLosses) -> SideLosses:
            return SideLosses(
                early=found.early[:count],
                whole=found.whole[:count],
                reason=found.reason[:count],
                issued_at=found.issued_at[:count],
                in_time=found.in_time[:count],
            )

        sessions = np.arange(count, 0, -1) - 1 - self.gap + after  # come of each origin's steps
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
    """Read both sides of every series, and hold them against what has come.

    Raises
    ------
    StoreError
        When a forecast is not there, or not what was sealed.
    """
    return StoredStream.read(settings, grid, store).pairs()


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """How far records and data had got: the time (UTC, ISO), the next record, the last sessions."""

    at: str
    seq: int
    until: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredStream:
    """Forecasts of both sides, read once; `pairs` holds them against what had come by a moment.

    Attributes
    ----------
    cells, found
        By series and arm: what was asked, and what is stored of it.
    """

    settings: Settings
    store: Store
    cells: Mapping[str, Mapping[str, GridCell]]
    found: Mapping[str, Mapping[str, StoredCell]]
    _now: dict[str, PairedStream] = field(default_factory=dict)

    @classmethod
    def read(cls, settings: Settings, grid: Grid, store: Store) -> StoredStream:
        """Read it up to the newest origin for which both sides were asked.

        Raises
        ------
        StoreError
            When a forecast before that is not there, or not what was sealed.
        """
        cells: dict[str, dict[str, GridCell]] = {}
        for cell in grid.cells:
            whole = dataclasses.replace(cell.split, windows=cell.split.issued)
            asked = cells.setdefault(cell.dataset, {})
            asked[cell.arm.name] = dataclasses.replace(cell, split=whole)
        found: dict[str, dict[str, StoredCell]] = {}
        for name, sides in cells.items():
            count = min(stored_origins(store, cell) for cell in sides.values())
            for arm, cell in sides.items():
                windows = cell.split.issued.part(slice(0, max(1, count)))
                cut = dataclasses.replace(cell.split, issued=windows, windows=windows)
                sides[arm] = dataclasses.replace(cell, split=cut)
                found.setdefault(name, {})[arm] = read_cell(store, sides[arm])
        return cls(settings=settings, store=store, cells=cells, found=found)

    def pairs(self, moment: Moment | None = None) -> list[PairedStream]:
        """Every series as it was at a moment; left out, as it is now."""
        found = []
        for name in self.settings.series:
            split = self.cells[name][self.settings.legacy].split
            changed = split.dataset.revisions or self.store.journal.records(OBSERVED, name)
            if moment is not None and changed:
                found.append(self._held_against(name, moment))
                continue
            if name not in self._now:
                self._now[name] = self._held_against(name, None)
            pair = self._now[name]
            if moment is not None:
                count = self._issued_by(name, moment)
                rows = _sessions(split.dataset.series.dates, moment.until[name])
                pair = pair.as_of(count, after=rows - int(split.issued.origin[count - 1]))
            found.append(pair)
        return found

    def _issued_by(self, name: str, moment: Moment) -> int:
        """How many origins both sides had a forecast for; at least 1."""
        split = self.cells[name][self.settings.legacy].split
        days = split.dataset.series.dates[split.issued.origin - 1]
        count = _sessions(days, moment.until[name])
        for stored in self.found[name].values():
            later = [at > moment.at for at in stored.issued_at[:count]]
            count = later.index(True) if True in later else count
        return max(1, count)

    def _held_against(self, name: str, moment: Moment | None) -> PairedStream:
        """Score both sides by what had come, each origin by what its plan's `truth` says."""
        settings, found = self.settings, self.found[name]
        split = self.cells[name][settings.legacy].split
        known_on = _known_on(self.store, split, moment)
        series = known_on(None)
        days = split.dataset.series.dates[split.issued.origin - 1]
        count = len(days) if moment is None else self._issued_by(name, moment)
        windows = split.issued.part(slice(0, count))
        issued: dict[int, str] = {}
        if split.plan.truth == "first" and split.dataset.revisions:
            for stored in found.values():
                times = zip(
                    stored.origin.tolist(), stored.issued_at, stored.prospective, strict=True
                )
                for origin, at, in_time in times:
                    if in_time:
                        issued[origin] = min(at[:10], issued.get(origin, "9"))
        steps = {"early": min(STEPS, windows.horizon), "whole": windows.horizon}
        came = {
            which: windows.origin + windows.gap + reach <= len(series)
            for which, reach in steps.items()
        }
        truths = {}
        for which, reach in steps.items():
            part = windows.part(slice(0, int(came[which].sum())))  # origins are in order of time
            if len(part):
                part = dataclasses.replace(part, horizon=reach)
                truths[which] = truth_of(name, series, part, issued, known_on)
        sides = {arm: self._side(name, arm, truths, count) for arm in found}
        return PairedStream(
            series=name,
            day=days[:count],
            candidate=sides[settings.candidate],
            legacy=sides[settings.legacy],
            early_came=came["early"],
            whole_came=came["whole"],
            wild=wild(found[settings.candidate].forecast, found[settings.legacy].forecast)[:count],
            gap=windows.gap,
            horizon=windows.horizon,
            last=str(series.dates[-1]),
        )

    def _side(self, name: str, arm: str, truths: Mapping[str, Truth], count: int) -> SideLosses:
        """Mean losses of one side where its steps have come; NaN where it has none."""
        cell, stored = self.cells[name][arm], self.found[name][arm]
        metric = AGGREGATES[self.settings.metric].of
        losses = {which: np.full(count, np.nan) for which in ("early", "whole")}
        for which, truth in truths.items():
            came, steps = truth.values.shape
            scores = score(
                truth,
                stored.forecast.part(slice(came), slice(steps)),
                arm=arm,
                role=cell.arm.role,
                seed=cell.seed,
                reasons=stored.reason[:came],
            )
            if metric in scores.values:
                losses[which][:came] = scores.values[metric].mean(axis=1)
        flags = stored.forecast.fallback or ("",) * len(stored.reason)
        reason = tuple(a or b for a, b in zip(stored.reason, flags, strict=True))
        return SideLosses(
            early=losses["early"],
            whole=losses["whole"],
            reason=reason[:count],
            issued_at=stored.issued_at[:count],
            in_time=np.array(stored.prospective[:count], dtype=bool),
        )


def _sessions(days: Dates, until: str) -> int:
    return int(np.searchsorted(days, np.datetime64(until, "D"), side="right"))


def _known_on(store: Store, split: Split, moment: Moment | None) -> Callable[[date | None], Series]:
    """What a series is held against, as known on a day; None: at the moment, or now.

    Sessions a caller reported count beside those of the data. Of several values of a session the
    plan's `truth` says which one counts: the first, so what was reported before the data had the
    session, or the latest.
    """
    data, name = split.dataset, split.dataset.id
    revised = {str(each.session): str(each.revised) for each in data.revisions}
    last = str(data.series.dates[-1]) if moment is None else moment.until[name]
    reported: dict[str, float] = {}
    for record in store.journal.records(OBSERVED, name):
        if moment is not None and record.seq >= moment.seq:
            break
        body = store.journal.body(record)
        for day, value in zip(body["dates"], body["values"], strict=True):
            before_data = day > body["until"]
            if split.plan.truth == "first":
                counts = before_data and day not in reported
            else:
                later = not before_data and revised.get(day, "") <= record.at[:10]
                counts = later or day > last
            if counts:
                reported[day] = value

    def known(day: date | None) -> Series:
        when = day or (date.fromisoformat(moment.at[:10]) if moment is not None else None)
        series = data.series if when is None else data.known_on(when)
        series = up_to(series, _sessions(series.dates, last))
        if not reported:
            return series
        days = np.array(sorted(reported), dtype="datetime64[D]")
        values = np.array([reported[str(day)] for day in days])
        there, more = np.isin(days, series.dates), days > series.dates[-1]
        target = series.target.copy()
        target[np.searchsorted(series.dates, days[there])] = values[there]
        empty = np.full((int(more.sum()), series.past.shape[1]), np.nan)
        return dataclasses.replace(
            series,
            dates=np.concatenate([series.dates, days[more]]),
            target=np.concatenate([target, values[more]]),
            past=np.concatenate([series.past, empty]),
        )

    return known


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
