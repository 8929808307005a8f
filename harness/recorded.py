"""Recorded forecasts as an arm: what a production log holds is judged without running its model.

A record is one issued forecast: the last session it had seen (its *cutoff*), the days it speaks
of, a path, maybe quantiles. Steps are counted in order: the k-th open day of a record is the k-th
step. Where the sessions that came show that a record passes one over, its later days would be
judged against others: it lacks a step.

Shapes: W windows, H steps, R records, q levels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import ArmError, meant
from harness.forecast import LEVELS, Forecast
from harness.issued_forecasts import COLUMN_NAMES, IssuedForecast, Records, few, read_records
from harness.parsing import check_fields
from harness.window import Array, Contexts, Dates, Rows, Series, Windows

LEAST_RECORDS = 20
"""Fewer earlier records than this give a point path no distribution worth the name."""
MOST_RECORDS = 250
"""Earlier records that its distribution is made of."""
SESSIONS = 1500
"""Sessions that are read to find what came of them."""

OTHER_ACTUAL = 1e-3
"""Share by which most actuals in the file may differ from the dataset's."""


@dataclass(kw_only=True)  # without slots: it is asked for `context_length` before it is read
class Recorded:
    """Answers what a file of forecasts holds for the last session seen.

    A window without a record fails, as does one whose record came after its first session or has
    too few steps; each says so. A path without quantiles gets a distribution from the errors of
    earlier records whose outcome had come, centred on the path: 20 of them are needed.

    Parameters
    ----------
    file
        CSV, JSON, workbook, Parquet or Feather: a row per day that was forecast.
        `docs/recorded.md` has the layouts.
    model
        Column of the forecasts, where the file has several models.
    series
        Which series, where the file has several.
    interval
        Per cent that lie between columns such as `yhat_lower` and `yhat_upper`; 0 where the
        columns' names tell the levels.
    columns
        What the columns are called, where they have other names: a table of `day`, `cutoff`,
        `issued`, `series`, `model`, `actual`.
    """

    file: str
    model: str = ""
    series: str = ""
    interval: float = 0.0
    columns: dict[str, str] = field(default_factory=dict)
    _records: Records = field(init=False, repr=False)
    _sessions: Dates | None = field(init=False, repr=False, default=None)

    paths = ("file",)

    def __post_init__(self) -> None:
        check_fields(self)
        unknown = sorted(set(self.columns) - set(COLUMN_NAMES))
        if unknown:
            keys = ", ".join(f"{each}{meant(each, COLUMN_NAMES)}" for each in unknown)
            raise ArmError(f"columns: unknown key {keys}; known are {', '.join(COLUMN_NAMES)}")
        self._records = read_records(
            Path(self.file),
            model=self.model,
            series=self.series,
            interval=self.interval,
            columns=self.columns,
        )

    @property
    def context_length(self) -> int:
        """Sessions read: enough to see what came of earlier records where paths need that."""
        return 1 if len(self._records.levels) else SESSIONS

    def weight_files(self) -> Sequence[Path]:
        """The file."""
        return [Path(self.file).absolute()]

    def know_sessions(self, dates: Dates) -> None:
        """Take all sessions known by now, later ones too: which days a record passes over."""
        self._sessions = dates

    def origins_on(self, series: Series) -> tuple[Rows, int]:
        """First sessions not seen [W] that records in time speak of, and the fewest steps of one.

        The earliest are left out where a path alone needs their errors for a distribution.
        """
        dates, steps = series.dates, dict[int, int]()
        for cutoff, record in zip(self._records.cutoffs, self._records.records, strict=True):
            origin = int(np.searchsorted(dates, cutoff, side="right"))
            if record.late or not 0 < origin <= len(dates):
                continue
            last = dates[origin - 1]
            following = np.busday_offset(last, 1, "backward", weekmask=series.weekmask)
            if self._records.at(last, following) is record:
                steps[origin] = len(_open(record.days, series.weekmask, dates))
        origins = sorted(steps)[0 if len(self._records.levels) else LEAST_RECORDS :]
        return np.array(origins, dtype=np.int64), min((steps[each] for each in origins), default=0)

    def record_digests(self, series: Series, windows: Windows) -> Sequence[str]:
        """Digest of the record of each origin; of all earlier ones, too, where it is a path alone.

        So what was read of a log stands while the log only grows. It is read again where a record
        was changed, or where a session came that a record passes over.
        """
        found, chain = self._records, hashlib.sha256()
        before = []
        for cutoff, each in zip(found.cutoffs, found.records, strict=True):
            own = hashlib.sha256(f"{cutoff} {each.late} {found.levels.tolist()}".encode())
            for values in (each.days.astype("<M8[D]"), each.point, each.quantiles):
                own.update(np.ascontiguousarray(values).tobytes())
            chain.update(own.digest())
            before.append(own.hexdigest() if len(found.levels) else chain.hexdigest())
        digests = []
        for origin in windows.origin.tolist():
            last = series.dates[origin - 1]
            following = np.busday_offset(last, 1, "backward", weekmask=series.weekmask)
            place = found.place(last, following)
            if place is None:
                digests.append("")
                continue
            days = found.records[place].days
            lacks = _passed_over(days, last, windows.reach, series.dates)
            steps = days[_open(days, series.weekmask, series.dates)]
            odd = steps[~np.is_busday(steps, weekmask=series.weekmask)]
            told = hashlib.sha256(
                f"{before[place]} {lacks}{' '.join(odd.astype(str))}".encode()
            ).hexdigest()
            digests.append(told if lacks or len(odd) else before[place])
        return digests

    def forecast(self, contexts: Contexts) -> Forecast:
        """Look each window up; one that has no record in time is NaN, with the reason."""
        found = [self._window(contexts, row) for row in range(len(contexts))]
        levels = self._records.levels if len(self._records.levels) else LEVELS
        return Forecast(
            point=np.stack([path for path, _, _ in found]),
            levels=levels,
            quantiles=np.stack([values for _, values, _ in found]),
            fallback=tuple(why for _, _, why in found) if any(why for *_, why in found) else (),
        )

    def _window(self, contexts: Contexts, row: int) -> tuple[Array, Array, str]:
        """Path [H], quantiles [H, q] and '' of one window, or NaN and why there is none."""
        own = self._records.levels
        path = np.full(contexts.horizon, np.nan)
        values = np.full((contexts.horizon, len(own) or len(LEVELS)), np.nan)
        last, following = contexts.dates[row, -1], contexts.future_dates[row, 0]
        record = self._records.at(last, following)
        known = contexts.dates[row] if self._sessions is None else self._sessions
        why = _fault(record, last, contexts.horizon, contexts.weekmask, known)
        if record is None or why:
            return path, values, why
        steps = _open(record.days, contexts.weekmask, known)[: contexts.horizon]
        if len(own):
            return record.point[steps], record.quantiles[steps], ""
        errors = self._errors(contexts, row)
        if len(errors) < LEAST_RECORDS:
            few = f"{LEAST_RECORDS} earlier records are needed, {last} has {len(errors)}"
            return path, values, f"no distribution for a path alone: {few}"
        spread = np.quantile(errors, LEVELS, axis=0).T - np.median(errors, axis=0)[:, None]
        path = record.point[steps]
        return path, path[:, None] + contexts.last[row] * spread, ""

    def _errors(self, contexts: Contexts, row: int) -> Array:
        """Errors [n, H] of earlier records, in units of the last value each had seen."""
        dates, target = contexts.dates[row], contexts.target[row]
        found: list[Array] = []
        stop = int(np.searchsorted(self._records.cutoffs, dates[-1]))
        for place in range(stop - 1, -1, -1):
            cutoff, record = self._records.cutoffs[place], self._records.records[place]
            seen = int(np.sum(dates <= cutoff))  # NaT in the padding is no date
            seen += int(np.isnat(dates).sum())
            if seen + contexts.horizon > len(dates) or seen <= int(np.isnat(dates).sum()):
                continue
            steps = _open(record.days, contexts.weekmask, dates)[: contexts.horizon]
            came = target[seen : seen + contexts.horizon]
            if record.late or len(steps) < contexts.horizon or not np.isfinite(came).all():
                continue
            came_on = dates[seen : seen + contexts.horizon]
            if _passed_over(record.days, cutoff, contexts.horizon, came_on):
                continue
            errors = (came - record.point[steps]) / target[seen - 1]
            found += [errors] if np.isfinite(errors).all() else []
            if len(found) == MOST_RECORDS:
                break
        return np.array(found).reshape(-1, contexts.horizon)

    def card(self) -> Mapping[str, str]:
        """Facts for the report."""
        found = self._records
        kind = (
            "its own: recorded quantiles"
            if len(found.levels)
            else ("none of its own: errors of earlier records around the recorded path")
        )
        timed = "UNKNOWN: nothing shows that a record was made before its sessions"
        if found.timed:
            early = sum(each.same_day for each in found.records)
            timed = f"UNKNOWN of {early} records: they were issued on the first day they speak of"
            timed = timed if early else "each record says when it was issued"
        return {
            "model": f"{found.model}, recorded in {Path(self.file).name}",
            "issued": timed,
            "distribution": kind,
        }

    def notes_on(self, dataset: str, series: Series, windows: Windows) -> list[str]:
        """What of it does not fit a plan: missing, late, short, and days that were no sessions."""
        faults: dict[str, list[str]] = {}
        other = extra = 0
        ratios = []
        for window in windows:
            last = series.dates[window.origin - 1]
            following = np.busday_offset(last, 1, "backward", weekmask=series.weekmask)
            record = self._records.at(last, following)
            why = _fault(record, last, windows.reach, series.weekmask, series.dates)
            if why:
                faults.setdefault(why.partition(":")[0], []).append(str(last))
                continue
            assert record is not None
            ratios.append(record.point[0] / series.target[window.origin - 1])
            steps = _open(record.days, series.weekmask, series.dates)
            days = record.days[steps][: windows.reach]
            extra += not np.is_busday(days, weekmask=series.weekmask).all()
            came = series.dates[window.origin : window.stop]  # fewer where its end is pending
            other += not np.array_equal(days[: len(came)], came)
        said = [
            f"{len(days)} of {len(windows)} origins on {dataset}: {what} ({few(days)})"
            for what, days in faults.items()
        ]
        if other:
            said.append(
                f"{other} of {len(windows)} records on {dataset} name days that were no sessions "
                "(holidays): steps are counted in order"
            )
        if extra:
            said.append(
                f"{extra} of {len(windows)} records on {dataset} name sessions on days on which "
                "its calendar is closed: they count as steps, since the dataset has them"
            )
        if ratios and not 0.5 < (times := float(np.median(ratios))) < 2:
            said.append(
                f"its paths are about {times:.3g} times the last prices of {dataset}: another "
                "unit, or returns in place of prices?"
            )
        longer = [len(each.days) for each in self._records.records]
        if max(longer) > windows.reach:
            first = windows.reach
            said.append(f"records of up to {max(longer)} steps; the plan takes the first {first}")
        if self._records.replaced:
            said.append(
                f"{self._records.replaced} records were issued again in time: the last counts"
            )
        known = dict(zip(series.dates.astype("datetime64[D]"), series.target, strict=True))
        both = [(value, known[day]) for day, value in self._records.actuals.items() if day in known]
        apart = [abs(value / came - 1) for value, came in both if came]
        if sum(each > OTHER_ACTUAL for each in apart) > len(apart) / 2:
            said.append(
                f"its actuals are not those of {dataset}: {100 * float(np.median(apart)):.2g} % "
                "away at the median: another series, a price adjusted otherwise, or another unit"
            )
        said += self._records.notes
        if not self._records.timed:
            said.append("it has no column of issue times: nothing shows when a record was made")
        return said


def _fault(
    record: IssuedForecast | None, last: Any, horizon: int, weekmask: str, sessions: Dates
) -> str:
    """Why a window cannot be answered, its kind before a colon; '' where it can."""
    if record is None:
        return f"no record: none has the cutoff {last}"
    if record.late:
        return f"issued too late: {record.late}"
    lacks = _passed_over(record.days, last, horizon, sessions)
    if lacks:
        closed = "" if np.is_busday(lacks, weekmask=weekmask) else _CLOSED
        return f"a session is missing: the record of {last} has no row for {lacks}{closed}"
    steps = _open(record.days, weekmask, sessions)
    if len(steps) < horizon:
        return f"too few steps: {len(steps)} of {horizon} were recorded at {last}"
    if not np.isfinite(record.point[steps[:horizon]]).all():
        return f"not a number: the record of {last} holds none for some steps"
    return ""


_CLOSED = ", on which its calendar is closed, yet the dataset has a session"


def _passed_over(days: Dates, last: Any, horizon: int, sessions: Dates) -> str:
    """The first of the next `horizon` sessions up to a record's last day that it has no row for."""
    known = _without_padding(sessions)
    first = int(np.searchsorted(known, last, side="right"))
    coming = known[first : first + horizon]
    lacking = coming[(coming <= days[-1]) & ~_among(coming, days)]
    return str(lacking[0].astype("datetime64[D]")) if len(lacking) else ""


def _open(days: Dates, weekmask: str, sessions: Dates) -> Any:
    """Rows of the days on which the calendar opens, or a session is known to have been.

    A record may speak of weekends as well.
    """
    known = _among(days, _without_padding(sessions))
    return np.flatnonzero(np.is_busday(days, weekmask=weekmask) | known)


def _without_padding(sessions: Dates) -> Dates:
    """Sessions without the dates that are none, which stand in front."""
    return sessions[np.count_nonzero(np.isnat(sessions)) :]


def _among(days: Dates, others: Dates) -> Any:
    """Which of some days are among others, which rise: [D]."""
    if not len(others):
        return np.zeros(len(days), dtype=np.bool_)
    return others[np.searchsorted(others, days).clip(max=len(others) - 1)] == days
