"""Recorded forecasts as an arm: what a production log holds is judged without running its model.

A record is one issued forecast: the last session it had seen (its *cutoff*), the days it speaks
of, a path, maybe quantiles. Steps are counted in order: the k-th open day of a record is the k-th
step. Where the sessions that came show that a record passes one over, its later days would be
judged against others: it lacks a step.

Shapes: W windows, H steps, R records, q levels.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.data import tables
from harness.errors import ArmError, DataError, meant, one_line
from harness.forecast import LEVELS, Forecast
from harness.network_answers import level_of
from harness.parsing import check_fields
from harness.window import Array, Contexts, Dates, Series, Windows

LEAST_RECORDS = 20
"""Fewer earlier records than this give a point path no distribution worth the name."""
MOST_RECORDS = 250
"""Earlier records that its distribution is made of."""
SESSIONS = 1500
"""Sessions that are read to find what came of them."""

OTHER_ACTUAL = 1e-3
"""Share by which most actuals in the file may differ from the dataset's."""

_NAMES = {
    "series": ("unique_id", "item_id", "series_id", "series", "id", "symbol", "ticker"),
    "day": ("ds", "timestamp", "target_date", "date", "day", "session"),
    "cutoff": ("cutoff", "origin", "forecast_origin", "as_of", "asof", "train_end", "last_seen"),
    "issued": ("issued_at", "issued", "issue_time", "issue_date", "created_at", "run_at"),
    "actual": ("y", "actual", "truth", "target"),
}
"""What the columns that are no forecasts are called, each the first that is there."""
_INTERVAL = re.compile(r"(.*?)[-_ ](lo|hi|lower|upper)[-_ ](\d+(?:\.\d+)?)%?")
_LEVEL = re.compile(
    r"(?:(.*?)[-_ ])?(?:(?:quantile|ql|q|p)[-_ ]?(\d{2,3}%?|\d*\.\d+%?|(?<=[-_ ])\d)"
    r"|(0?\.\d+|\d+(?:\.\d+)?%))"
)
_CLOCK = r"[T ]((?:0[1-9]|1\d|2[0-3]):\d\d|00:(?:0[1-9]|[1-5]\d))"
"""A time of day that is not midnight."""
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}(?!\d)")
_PATHS = ("mean", "median", "forecast", "prediction", "yhat", "point", "mu")
_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedForecast:
    """One issued forecast.

    Attributes
    ----------
    days : [h]
        Days it speaks of, rising, as they are in the file.
    point : [h]
    quantiles : [h, q]
    late
        Why it came too late; '' where it did not, or the file does not say when it was issued.
    same_day
        It was issued on its first day: before that session's end or after, nobody can tell.
    """

    days: Dates
    point: Array
    quantiles: Array
    late: str = ""
    same_day: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """All records of one model on one series.

    Attributes
    ----------
    cutoffs : [R]
        Rising; the last day each had seen.
    levels : [q]
    timed
        Whether the file says when each was issued.
    replaced
        Records left out for one of the same cutoff that was issued later, and in time.
    notes
        How the file was read, where that is worth knowing.
    actuals
        What came, by day, where the file holds it.
    """

    model: str
    cutoffs: Dates
    records: tuple[IssuedForecast, ...]
    levels: Array
    timed: bool
    replaced: int = 0
    notes: tuple[str, ...] = ()
    actuals: Mapping[np.datetime64, float] = field(default_factory=dict)

    def place(self, last: Any, following: Any) -> int | None:
        """Where the record is whose cutoff is a session, or a day up to the one that follows."""
        place = int(np.searchsorted(self.cutoffs, following)) - 1
        return None if place < 0 or self.cutoffs[place] < last else place

    def at(self, last: Any, following: Any) -> IssuedForecast | None:
        """The record of that place; None where there is none."""
        place = self.place(last, following)
        return None if place is None else self.records[place]


@dataclass(kw_only=True)  # without slots: it is asked for `context_length` before it is read
class Recorded:
    """Answers what a file of forecasts holds for the last session seen.

    A window without a record fails, as does one whose record came after its first session or has
    too few steps; each says so. A path without quantiles gets a distribution from the errors of
    earlier records whose outcome had come, centred on the path: 20 of them are needed.

    Parameters
    ----------
    file
        CSV or Parquet: a row per day that was forecast. `docs/recorded.md` has the layouts.
    model
        Column of the forecasts, where the file has several models.
    series
        Which series, where the file has several.
    columns
        What the columns are called, where they have other names: a table of `day`, `cutoff`,
        `issued`, `series`, `actual`.
    """

    file: str
    model: str = ""
    series: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    _records: Records = field(init=False, repr=False)
    _sessions: Dates | None = field(init=False, repr=False, default=None)

    paths = ("file",)

    def __post_init__(self) -> None:
        check_fields(self)
        unknown = sorted(set(self.columns) - set(_NAMES))
        if unknown:
            keys = ", ".join(f"{each}{meant(each, _NAMES)}" for each in unknown)
            raise ArmError(f"columns: unknown key {keys}; known are {', '.join(_NAMES)}")
        self._records = read_records(
            Path(self.file), model=self.model, series=self.series, columns=self.columns
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
            f"{len(days)} of {len(windows)} origins on {dataset}: {what} ({_few(days)})"
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
    coming = sessions[~np.isnat(sessions)]
    coming = coming[np.searchsorted(coming, last, side="right") :][:horizon]
    lacking = np.setdiff1d(coming[coming <= days[-1]], days)
    return str(lacking[0].astype("datetime64[D]")) if len(lacking) else ""


def _open(days: Dates, weekmask: str, sessions: Dates) -> Any:
    """Rows of the days on which the calendar opens, or a session is known to have been.

    A record may speak of weekends as well.
    """
    known = np.isin(days, sessions[~np.isnat(sessions)])
    return np.flatnonzero(np.is_busday(days, weekmask=weekmask) | known)


def _few(days: Sequence[str]) -> str:
    return ", ".join(days[:3]) + (f" and {len(days) - 3} more" if len(days) > 3 else "")


def read_records(
    file: Path, *, model: str = "", series: str = "", columns: Mapping[str, str] | None = None
) -> Records:
    """Read the forecasts of one model on one series from a file.

    Raises
    ------
    ArmError
        In one line: what is missing or can be read in two ways, and the option that settles it.
    """
    import pandas as pd

    if not file.exists():
        raise ArmError(
            f"file = '{file}': no such file, neither beside the experiment file nor in the current "
            "folder"
        )
    notes: list[str] = []
    try:
        raw = tables.read_bytes(file)
        raw = gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw
        if tables.is_parquet(raw):
            table = pd.read_parquet(io.BytesIO(raw))
        elif raw.startswith((b"ARROW1", b"FEA1")):
            table = pd.read_feather(io.BytesIO(raw))
        else:
            text = tables.decode(file, raw)
            tables.expect_table(file, text)
            head, _, body = text.partition("\n")
            mark = max(",;\t|", key=head.count)
            comma = mark != "," and re.search(r"\d,\d", body) and not re.search(r"\d\.\d", body)
            if mark != ",":
                decimals = "a comma" if comma else "a point"
                notes.append(
                    f"its columns are separated by {mark!r}, its decimal mark is {decimals}"
                )
            table = pd.read_csv(io.StringIO(text), sep=mark, decimal="," if comma else ".")
    except DataError as problem:
        raise ArmError(f"file = {problem}") from None
    except (OSError, ValueError, EOFError, zlib.error) as problem:  # pandas' and pyarrow's, too
        raise ArmError(f"file = '{file.name}' cannot be read: {one_line(str(problem))}") from None
    if any(table.index.names):
        table = table.reset_index()
    found = records_in(table, model=model, series=series, columns=columns, label=file.name)
    return replace(found, notes=(*notes, *found.notes))


def records_in(
    table: Any,
    *,
    model: str = "",
    series: str = "",
    columns: Mapping[str, str] | None = None,
    label: str = "the frame",
) -> Records:
    """The records of a pandas frame; see `read_records`."""
    table = table.rename(columns=str)
    names = _roles(list(table), columns or {}, label)
    if not len(table):
        raise ArmError(f"{label} holds no row")
    table = _one_series(table, names.get("series"), series, label)
    once = table.drop_duplicates(ignore_index=True)
    again = len(table) - len(once)
    notes = [f"{again} rows are there twice, the same: each counts once"] if again else []
    table = once
    values = [name for name in table if name not in names.values() and name not in ("index", "")]
    chosen = _forecasts([v for v in values if not v.startswith("Unnamed")], model, label)
    days = _days(table[names["day"]], names["day"], label)
    times = _times(table[names["issued"]], names["issued"], label) if "issued" in names else None
    cutoff = _cutoffs(table, names, days, times, label)
    numbers = {name: _numbers(table[name], name, label) for name in chosen.columns}
    found: dict[Any, IssuedForecast] = {}
    replaced = 0
    order = np.lexsort((days, cutoff) if times is None else (days, times, cutoff))
    key = cutoff[order] if times is None else np.rec.fromarrays([cutoff[order], times[order]])
    starts = np.flatnonzero(np.append(True, key[1:] != key[:-1]))
    for rows in np.split(order, starts[1:]):
        if (np.diff(days[rows]) <= np.timedelta64(0, "D")).any():
            day = days[rows][1:][np.diff(days[rows]) <= np.timedelta64(0, "D")][0]
            raise ArmError(
                f"{label}: two forecasts of {day} with the cutoff {cutoff[rows[0]]}; expected "
                "one, or a column issued_at that tells them apart"
            )
        record = IssuedForecast(
            days=days[rows],
            point=chosen.path(numbers, rows),
            quantiles=np.stack([numbers[n][rows] for n in chosen.levels.values()], axis=-1)
            if chosen.levels
            else np.empty((len(rows), 0)),
            late="" if times is None else _late(times[rows[0]], days[rows[0]]),
            same_day=times is not None and times[rows[0]].astype("datetime64[D]") == days[rows[0]],
        )
        before = found.get(cutoff[rows[0]])
        in_time = not record.late and (before is None or before.same_day or not record.same_day)
        replaced += before is not None and in_time
        if before is None or in_time or before.late:
            found[cutoff[rows[0]]] = record
    actual = names.get("actual")
    return Records(
        model=chosen.model,
        cutoffs=np.array(sorted(found), dtype="datetime64[D]"),
        records=tuple(found[each] for each in sorted(found)),
        levels=np.array(list(chosen.levels)),
        timed=times is not None,
        replaced=replaced,
        notes=(*notes, *_clock_notes(table, names)),
        actuals={}
        if actual is None
        else dict(zip(days, _numbers(table[actual], actual, label), strict=True)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """The columns of one model: its path, and its quantiles by level, rising."""

    model: str
    point: str
    levels: Mapping[float, str]

    @property
    def columns(self) -> list[str]:
        return [*([self.point] if self.point else []), *self.levels.values()]

    def path(self, numbers: Mapping[str, Array], rows: Any) -> Array:
        """The path, or the median of the quantiles where there is none."""
        if self.point:
            path: Array = numbers[self.point][rows]
            return path
        values = np.stack([numbers[name][rows] for name in self.levels.values()], axis=-1)
        median: Array = Forecast.of_quantiles(values[None], list(self.levels)).point[0]
        return median


def _forecasts(values: list[str], model: str, label: str) -> _Chosen:
    """Which columns belong to a model, told by their names."""
    paths, levels = _by_name(values, label)
    medians = {name[:-7]: name for name in paths if name.endswith("-median")}
    paths = [name for name in paths if name not in medians.values()]
    models = list(dict.fromkeys([*paths, *medians, *(name for name in levels if name)]))
    if "" in levels and set(models) <= set(_PATHS):
        models = [""]  # AutoGluon's: quantiles by their level, and a mean
    there = ", ".join(models)
    if model and model not in models:
        near = meant(model, models)
        raise ArmError(
            f"{label}: no forecasts of model '{model}'{near}; there are {there or 'none'}"
        )
    if not models:
        raise ArmError(f"{label}: no column of forecasts; it has {', '.join(values) or 'none'}")
    if not model and len(models) > 1:
        raise ArmError(f"{label} holds several models: {there}; say model = '{models[0]}'")
    name = model or models[0]
    own = dict(levels.get(name, {}))
    if own and name in medians:  # beside quantiles a median is one of them
        own.setdefault(0.5, medians[name])
    own = dict(sorted(own.items()))
    alone = [name for level, name in own.items() if round(1 - level, 6) not in own]
    if alone and ((len(own) == 1 and 0.5 not in own) or any(map(_INTERVAL.fullmatch, alone))):
        raise ArmError(
            f"{label}: column '{alone[0]}' has no counterpart at the other end; expected lower and "
            "upper ends in pairs, such as M-lo-80 and M-hi-80"
        )
    paths_of = [name] if name else ["median", *_PATHS]
    point = next((each for each in paths_of if each in paths), medians.get(name, ""))
    if len(own) == 1 and 0.5 in own:  # a median is a path, not a distribution
        point, own = point or own[0.5], {}
    return _Chosen(model=name or "quantiles", point=point, levels=own)


def _by_name(values: list[str], label: str) -> tuple[list[str], dict[str, dict[float, str]]]:
    """Columns that are paths, and those that are quantiles by model and level."""
    paths: list[str] = []
    levels: dict[str, dict[float, str]] = {}
    for name in values:
        interval, quantile = _INTERVAL.fullmatch(name), _LEVEL.fullmatch(name)
        if interval:
            half = float(interval[3]) / 200
            if not 0 < half < 0.5:
                raise ArmError(f"{label}: column '{name}': expected a width between 0 and 100 %")
            level = 0.5 - half if interval[2].startswith("lo") else 0.5 + half
            levels.setdefault(interval[1], {})[round(level, 6)] = name
        elif quantile:
            said = quantile[2] or quantile[3]
            levels.setdefault(quantile[1] or "", {})[level_of(label, f"q{said}")] = name
        else:
            paths.append(name)
    return paths, levels


def _roles(there: list[str], given: Mapping[str, str], label: str) -> dict[str, str]:
    """Which column plays which role: as told, or the first known name that is there."""
    low = {name.lower(): name for name in there}
    found = {
        role: next((low[name] for name in names if name in low), "")
        for role, names in _NAMES.items()
    }
    for role, name in given.items():
        if name not in there:
            raise ArmError(
                f"{label}: columns.{role} = '{name}': it has {', '.join(there[:20])}"
                f"{meant(name, there)}"
            )
    found |= given
    if not found["day"]:
        raise ArmError(
            f"{label}: no column of days that were forecast ({', '.join(_NAMES['day'])}); say "
            f"columns = {{ day = '...' }}; it has {one_line(', '.join(there[:20]))[:300]}"
        )
    return {role: name for role, name in found.items() if name}


def _one_series(table: Any, column: str | None, series: str, label: str) -> Any:
    if column is None:
        if series:
            raise ArmError(f"series = '{series}': {label} has no column of series")
        return table
    there = sorted(map(str, table[column].unique()))
    if series and series not in there:
        raise ArmError(f"series = '{series}': {label} has {_few(there)}{meant(series, there)}")
    if not series and len(there) > 1:
        named = f"say series = '{there[0]}'"
        raise ArmError(f"{label} holds {len(there)} series: {_few(there)}; {named}")
    chosen = table[table[column].map(str) == (series or there[0])]
    return chosen.reset_index(drop=True)


def _times(values: Any, name: str, label: str) -> Any:
    """Points in time in UTC; without an offset they are taken for UTC."""
    import pandas as pd

    _expect_iso(values, name, label)
    try:
        found = pd.to_datetime(values.map(str), utc=True, format="ISO8601")
    except (ValueError, TypeError, OverflowError) as problem:
        raise ArmError(f"{label}: column '{name}': {one_line(str(problem))[:120]}") from None
    return found.dt.tz_localize(None).to_numpy().astype("datetime64[s]")


def _clock_notes(table: Any, names: Mapping[str, str]) -> list[str]:
    """What to say of days that are written with a time of day: they may be those of elsewhere."""
    columns = {role: names[role] for role in ("day", "cutoff") if role in names}
    clocks = {role: table[name].map(str).str.extract(_CLOCK)[0] for role, name in columns.items()}
    odd = {
        columns[role]: found.dropna().iloc[0]
        for role, found in clocks.items()
        if len(found.dropna())
    }
    if not odd:
        return []
    where = " and ".join(f"'{name}' (as {clock})" for name, clock in odd.items())
    said = "dates are taken as written: stamps of another zone would name the day before or after"
    return [f"times of day in {where} were dropped, {said}"]


def _days(values: Any, name: str, label: str) -> Dates:
    """Days as they are written, wherever that was."""
    texts = _expect_iso(values, name, label)
    try:
        return np.array([text[:10] for text in texts], dtype="datetime64[D]")
    except ValueError as problem:
        raise ArmError(f"{label}: column '{name}': {one_line(str(problem))[:120]}") from None


def _expect_iso(values: Any, name: str, label: str) -> list[str]:
    """Refuse dates that can be read in two ways, and rows without one."""
    texts = list(map(str, values))
    odd = [text for text in texts if not _ISO.match(text)]
    if odd:
        raise ArmError(
            f"{label}: column '{name}': {len(odd)} of {len(texts)} rows hold no ISO date, such as "
            f"'{odd[0][:40]}'; expected 2024-01-31"
        )
    return texts


def _numbers(values: Any, name: str, label: str) -> Array:
    import pandas as pd

    found: Array = pd.to_numeric(values, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    odd = values[np.isnan(found) & values.notna().to_numpy()]
    if len(odd):
        raise ArmError(
            f"{label}: column '{name}': {len(odd)} of {len(values)} rows hold no number, such as "
            f"'{str(odd.iloc[0])[:40]}'; expected 1234.5, or an empty cell"
        )
    return found


def _cutoffs(table: Any, names: Mapping[str, str], days: Dates, times: Any, label: str) -> Dates:
    """The last day seen by the forecast in each row.

    Without a column of cutoffs a forecast is what has one issue time, else it begins wherever the
    days go back; it has seen the day before its first. Where every cutoff is also the first day of
    its forecast, it is that.
    """
    if "cutoff" not in names:
        blocks = np.cumsum(np.append(True, np.diff(days) <= np.timedelta64(0, "D")))
        each, which = np.unique(blocks if times is None else times, return_inverse=True)
        first = np.array([days[which == place].min() for place in range(len(each))])
        return np.asarray(first[which] - _DAY, dtype="datetime64[D]")
    cutoff = _days(table[names["cutoff"]], names["cutoff"], label)
    if (days > cutoff).all():
        return cutoff
    first_days = {c: days[cutoff == c].min() for c in np.unique(cutoff)}
    if all(first == c for c, first in first_days.items()):
        return np.asarray(cutoff - _DAY, dtype="datetime64[D]")
    early = int((days <= cutoff).sum())
    raise ArmError(
        f"{label}: {early} of {len(days)} rows forecast a day that is not after the cutoff in "
        f"'{names['cutoff']}': expected the last day each forecast had seen"
    )


def _late(issued: Any, first: Any) -> str:
    if issued.astype("datetime64[D]") <= first:
        return ""
    return f"on {issued.astype('datetime64[D]')}, after its first day {first}"
