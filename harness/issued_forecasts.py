"""A table of issued forecasts as records: whose columns are what, and which rows are one forecast.

A record is one issued forecast: the last session it had seen (its *cutoff*), the days it speaks
of, a path, maybe quantiles.

Shapes: R records, h days of a record, q levels.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.data import tables
from harness.errors import ArmError, DataError, meant, one_line
from harness.forecast import Forecast
from harness.network_answers import level_of
from harness.window import Array, Dates

COLUMN_NAMES = {
    "series": ("unique_id", "item_id", "series_id", "series", "id", "symbol", "ticker"),
    "model": ("model", "model_name", "model_id", "forecaster", "algorithm"),
    "day": ("ds", "timestamp", "target_date", "date", "day", "session"),
    "cutoff": (
        "cutoff",
        "origin",
        "origin_date",
        "forecast_origin",
        "as_of",
        "asof",
        "train_end",
        "last_seen",
    ),
    "issued": ("issued_at", "issued", "issue_time", "issue_date", "created_at", "run_at"),
    "actual": ("y", "actual", "truth", "target"),
}
"""What the columns that are no forecasts are called, each the first that is there."""
_INTERVAL = re.compile(
    r"(?:(.*?)[-_ .])??(lo|hi|lower|upper)[-_ .]?(\d+(?:\.\d+)?)%?", re.IGNORECASE
)
_BOUND = re.compile(r"(?:(.*?)[-_ .])??(lower|upper)(?:[-_ .](?:ci|pi|bound))?", re.IGNORECASE)
"""An end of an interval whose width the name does not tell."""
_LEVEL = re.compile(
    r"(?:(.*?)[-_ .])??(?:(?:quantile|ql|q|p)[-_ ]?(\d{2,3}%?|\d*\.\d+%?|(?<=[-_ ])\d)"
    r"|(0?\.\d+|\d+(?:\.\d+)?%))",
    re.IGNORECASE,
)
_CLOCK = r"[T ]((?:0[1-9]|1\d|2[0-3]):\d\d|00:(?:0[1-9]|[1-5]\d))"
"""A time of day that is not midnight."""
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}(?!\d)")
_PATHS = ("mean", "median", "forecast", "prediction", "predictions", "yhat", "point", "mu")
_STEP = re.compile(r"(?:step|horizon|lead|h|t\+)[-_ ]?\d*")
_TARGETS = ("target_name", "variable")
"""Columns that name the series beside its id, as Chronos writes them."""
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


def read_records(
    file: Path,
    *,
    model: str = "",
    series: str = "",
    interval: float = 0.0,
    columns: Mapping[str, str] | None = None,
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
        elif raw.startswith(b"PK"):
            table = _sheet(io.BytesIO(raw), file.name)
        else:
            table = _from_text(file, tables.decode(file, raw), notes)
    except DataError as problem:
        raise ArmError(f"file = {problem}") from None
    except (OSError, ValueError, EOFError, zlib.error) as problem:  # pandas' and pyarrow's, too
        raise ArmError(f"file = '{file.name}' cannot be read: {one_line(str(problem))}") from None
    if any(table.index.names):
        table = table.reset_index()
    found = records_in(
        table, model=model, series=series, interval=interval, columns=columns, label=file.name
    )
    return replace(found, notes=(*notes, *found.notes))


def _sheet(workbook: io.BytesIO, label: str) -> Any:
    """The one sheet of a workbook that holds anything."""
    import pandas as pd

    try:
        sheets = pd.read_excel(workbook, sheet_name=None)
    except (KeyError, ValueError, zipfile.BadZipFile):
        raise ArmError(f"file = '{label}': an archive, but not a workbook") from None
    filled = {name: table for name, table in sheets.items() if len(table)}
    if len(filled) != 1:
        there = ", ".join(map(str, filled)) or "none"
        raise ArmError(f"{label}: expected one sheet with a table; with rows there are {there}")
    return next(iter(filled.values()))


def _from_text(file: Path, text: str, notes: list[str]) -> Any:
    """The table of a CSV, or of JSON: a list of rows, or a row a line."""
    import pandas as pd

    first = text.lstrip()[:1]
    if first in ("[", "{"):
        lines = (json.loads(line) for line in text.splitlines() if line.strip())
        return pd.DataFrame(list(lines) if first == "{" else json.loads(text))
    tables.expect_table(file, text)
    head, _, body = text.partition("\n")
    mark = max(",;\t|", key=head.count)
    comma = mark != "," and re.search(r"\d,\d", body) and not re.search(r"\d\.\d", body)
    if mark != ",":
        decimals = "a comma" if comma else "a point"
        notes.append(f"its columns are separated by {mark!r}, its decimal mark is {decimals}")
    return pd.read_csv(io.StringIO(text), sep=mark, decimal="," if comma else ".")


def records_in(
    table: Any,
    *,
    model: str = "",
    series: str = "",
    interval: float = 0.0,
    columns: Mapping[str, str] | None = None,
    label: str = "the frame",
) -> Records:
    """The records of a pandas frame; see `read_records`."""
    frame = _Frame(table=table.rename(columns=str), label=label)
    names = frame.roles(columns or {})
    if not len(table):
        raise ArmError(f"{label} holds no row")
    named = [names.get("series"), *(each for each in _TARGETS if each in frame.table)]
    frame = frame.of_one([each for each in named if each], "series", series)
    by_row = names.pop("model", "")
    if by_row and frame.holds_numbers(by_row):
        by_row = ""  # a path that is called so
    if by_row:
        frame = frame.of_one([by_row], "model", model)
    once = frame.table.drop_duplicates(ignore_index=True)
    again = len(frame.table) - len(once)
    notes = [f"{again} rows are there twice, the same: each counts once"] if again else []
    frame = replace(frame, table=once)
    others = {*names.values(), *_TARGETS, by_row, "index", ""}
    values = [name for name in once if name not in others and not name.startswith("Unnamed")]
    texts = [name for name in values if name != model and not frame.holds_numbers(name)]
    values = [name for name in values if name not in texts] or values
    if texts and texts != values:
        notes.append(f"it has no numbers in {', '.join(map(repr, texts))}: not read as forecasts")
    chosen = frame.forecasts(values, "" if by_row else model, interval)
    if by_row:
        chosen = replace(chosen, model=str(once[by_row].iloc[0]))
    days = frame.days(names["day"])
    times = frame.times(names["issued"]) if "issued" in names else None
    cutoff = frame.cutoffs(names, days, times)
    numbers = {name: frame.numbers(name) for name in chosen.columns}
    path, quantiles = chosen.read_from(numbers)
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
        begins = days[rows[0]]
        issued = None if times is None else times[rows[0]].astype("datetime64[D]")
        late = issued is not None and issued > begins
        record = IssuedForecast(
            days=days[rows],
            point=path[rows],
            quantiles=quantiles[rows],
            late=f"on {issued}, after its first day {begins}" if late else "",
            same_day=issued is not None and issued == begins,
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
        notes=(*notes, *frame.clock_notes(names)),
        actuals={} if actual is None else dict(zip(days, frame.numbers(actual), strict=True)),
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

    def read_from(self, numbers: Mapping[str, Array]) -> tuple[Array, Array]:
        """Path [n] and quantiles [n, q]; where there is no path, their median."""
        if not self.levels:
            return numbers[self.point], np.empty((len(numbers[self.point]), 0))
        quantiles = np.stack([numbers[name] for name in self.levels.values()], axis=-1)
        if self.point:
            return numbers[self.point], quantiles
        median: Array = Forecast.of_quantiles(quantiles[None], list(self.levels)).point[0]
        return median, quantiles


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """A pandas frame of forecasts, read column by column; what is wrong names its `label`."""

    table: Any
    label: str

    def fault(self, what: str) -> ArmError:
        """What is wrong, with where."""
        return ArmError(f"{self.label}: {what}")

    def roles(self, given: Mapping[str, str]) -> dict[str, str]:
        """Which column plays which role: as told, or the first known name that is there."""
        there = list(self.table)
        low = {name.lower(): name for name in there}
        found = {
            role: next((low[name] for name in names if name in low), "")
            for role, names in COLUMN_NAMES.items()
        }
        for role, name in given.items():
            if name not in there:
                raise self.fault(
                    f"columns.{role} = '{name}': it has {', '.join(there[:20])}{meant(name, there)}"
                )
        found |= given
        if not found["day"]:
            undated = any(_STEP.fullmatch(name) for name in low)
            hint = (
                "; steps alone have no date: write the day that each speaks of" if undated else ""
            )
            raise self.fault(
                f"no column of days that were forecast ({', '.join(COLUMN_NAMES['day'])}); "
                "say columns = { day = '...' }; it has "
                f"{one_line(', '.join(there[:20]))[:300]}{hint}"
            )
        return {role: name for role, name in found.items() if name}

    def of_one(self, columns: list[str], kind: str, wanted: str) -> _Frame:
        """The rows of one series or model, named by its option where there are several."""
        table = self.table
        for column in columns:
            there = sorted(map(str, table[column].unique()))
            if wanted in there:
                table = table[table[column].map(str) == wanted]
        several = [
            there
            for column in columns
            if len(there := sorted(map(str, table[column].unique()))) > 1
        ]
        if wanted and not any((table[column].map(str) == wanted).all() for column in columns):
            if not columns:
                raise ArmError(f"{kind} = '{wanted}': {self.label} has no column of {kind}")
            there = sorted({each for column in columns for each in table[column].map(str)})
            raise ArmError(
                f"{kind} = '{wanted}': {self.label} has {few(there)}{meant(wanted, there)}"
            )
        if several:
            found, plural = several[0], kind if kind == "series" else f"{kind}s"
            raise ArmError(
                f"{self.label} holds {len(found)} {plural}: {few(found)}; say {kind} = '{found[0]}'"
            )
        return replace(self, table=table.reset_index(drop=True))

    def forecasts(self, values: list[str], model: str, interval: float) -> _Chosen:
        """Which columns belong to a model, told by their names."""
        ends = {name: found for name in values if (found := _BOUND.fullmatch(name))}
        paths, levels = self._by_name([name for name in values if name not in ends])
        medians = {name[:-7]: name for name in paths if name.endswith("-median")}
        paths = [name for name in paths if name not in medians.values()]
        models = list(dict.fromkeys([*paths, *medians, *(name for name in levels if name)]))
        usual = [each for each in models if each.lower() in _PATHS]
        if "" in levels and usual == models and model not in models:
            models = [""]  # AutoGluon's: quantiles by their level, and a mean
        there = ", ".join(models)
        if model and model not in models:
            near = meant(model, models)
            raise self.fault(f"no forecasts of model '{model}'{near}; there are {there or 'none'}")
        if not models:
            raise self.fault(f"no column of forecasts; it has {', '.join(values) or 'none'}")
        if not model and len(models) > 1:
            raise ArmError(f"{self.label} holds several models: {there}; say model = '{models[0]}'")
        name = model or models[0]
        sole = len(models) == 1 or name in usual  # then columns that name no model are its own
        own = dict(levels.get(name) or (levels.get("", {}) if sole else {}))
        bounds = [end for end, found in ends.items() if sole or found[1] == name]
        if bounds and not own:
            own = self._interval(bounds, interval)
        elif interval and not ends:
            raise self.fault(
                f"interval = {interval:g}: no pair of columns such as yhat_lower, yhat_upper"
            )
        if own and name in medians:  # beside quantiles a median is one of them
            own.setdefault(0.5, medians[name])
        own = dict(sorted(own.items()))
        alone = [name for level, name in own.items() if round(1 - level, 6) not in own]
        if alone and ((len(own) == 1 and 0.5 not in own) or any(map(_INTERVAL.fullmatch, alone))):
            raise self.fault(
                f"column '{alone[0]}' has no counterpart at the other end; expected lower and "
                "upper ends in pairs, such as M-lo-80 and M-hi-80"
            )
        by_name = {each.lower(): each for each in paths}
        paths_of = [by_name[each] for each in ("median", *_PATHS) if each in by_name]
        told = [each for each in ([name] if name else paths_of) if each in paths]
        point = told[0] if told else medians.get(name, "")
        if len(own) == 1 and 0.5 in own:  # a median is a path, not a distribution
            point, own = point or own[0.5], {}
        return _Chosen(model=name or "quantiles", point=point, levels=own)

    def _interval(self, bounds: list[str], width: float) -> dict[float, str]:
        """Columns of the two ends of an interval by their level, its width as told in per cent."""
        ends = {name: "lower" in name.lower() for name in bounds}
        if sorted(ends.values()) != [False, True]:
            raise self.fault(
                f"{', '.join(map(repr, bounds))}: expected the lower and the upper end of one "
                "interval"
            )
        if not 0 < width < 100:
            found = f"interval = {width:g}" if width else "nothing tells how wide it is"
            raise self.fault(
                f"{' and '.join(map(repr, bounds))} are the ends of an interval: {found}; say "
                "interval = 80, in per cent (Prophet's default; statsmodels' is 95)"
            )
        half = round(width / 200, 6)
        return {round(0.5 - half if low else 0.5 + half, 6): name for name, low in ends.items()}

    def _by_name(self, values: list[str]) -> tuple[list[str], dict[str, dict[float, str]]]:
        """Columns that are paths, and those that are quantiles by model and level."""
        paths: list[str] = []
        levels: dict[str, dict[float, str]] = {}
        for name in values:
            interval, quantile = _INTERVAL.fullmatch(name), _LEVEL.fullmatch(name)
            if interval:
                half = float(interval[3]) / 200
                if not 0 < half < 0.5:
                    raise self.fault(f"column '{name}': expected a width between 0 and 100 %")
                level = 0.5 - half if interval[2].lower().startswith("lo") else 0.5 + half
                levels.setdefault(interval[1] or "", {})[round(level, 6)] = name
            elif quantile:
                said = quantile[2] or quantile[3]
                levels.setdefault(quantile[1] or "", {})[level_of(self.label, f"q{said}")] = name
            else:
                paths.append(name)
        return paths, levels

    def holds_numbers(self, name: str) -> bool:
        """Whether a column holds any number, or nothing at all."""
        import pandas as pd

        values = self.table[name]
        return bool(values.isna().all() or pd.to_numeric(values, errors="coerce").notna().any())

    def numbers(self, name: str) -> Array:
        """Numbers of a column; NaN where a cell is empty."""
        import pandas as pd

        values = self.table[name]
        found: Array = pd.to_numeric(values, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        odd = values[np.isnan(found) & values.notna().to_numpy()]
        if len(odd):
            raise self.fault(
                f"column '{name}': {len(odd)} of {len(values)} rows hold no number, such as "
                f"'{str(odd.iloc[0])[:40]}'; expected 1234.5, or an empty cell"
            )
        return found

    def days(self, name: str) -> Dates:
        """Days as they are written, wherever that was."""
        texts = self._iso(name)
        try:
            return np.array([text[:10] for text in texts], dtype="datetime64[D]")
        except ValueError as problem:
            raise self.fault(f"column '{name}': {one_line(str(problem))[:120]}") from None

    def times(self, name: str) -> Any:
        """Points in time in UTC; without an offset they are taken for UTC."""
        import pandas as pd

        self._iso(name)
        try:
            found = pd.to_datetime(self.table[name].map(str), utc=True, format="ISO8601")
        except (ValueError, TypeError, OverflowError) as problem:
            raise self.fault(f"column '{name}': {one_line(str(problem))[:120]}") from None
        return found.dt.tz_localize(None).to_numpy().astype("datetime64[s]")

    def _iso(self, name: str) -> list[str]:
        """Refuse dates that can be read in two ways, and rows without one."""
        texts = list(map(str, self.table[name]))
        odd = [text for text in texts if not _ISO.match(text)]
        if odd:
            raise self.fault(
                f"column '{name}': {len(odd)} of {len(texts)} rows hold no ISO date, such as "
                f"'{odd[0][:40]}'; expected 2024-01-31"
            )
        return texts

    def cutoffs(self, names: Mapping[str, str], days: Dates, times: Any) -> Dates:
        """The last day seen by the forecast in each row.

        Without a column of cutoffs a forecast is what has one issue time, else it begins wherever
        the days go back; it has seen the day before its first. Where every cutoff is also the
        first day of its forecast, it is that.
        """
        if "cutoff" not in names:
            blocks = np.cumsum(np.append(True, np.diff(days) <= np.timedelta64(0, "D")))
            each, which = np.unique(blocks if times is None else times, return_inverse=True)
            first = np.array([days[which == place].min() for place in range(len(each))])
            return np.asarray(first[which] - _DAY, dtype="datetime64[D]")
        cutoff = self.days(names["cutoff"])
        if (days > cutoff).all():
            return cutoff
        first_days = {c: days[cutoff == c].min() for c in np.unique(cutoff)}
        if all(first == c for c, first in first_days.items()):
            return np.asarray(cutoff - _DAY, dtype="datetime64[D]")
        early = int((days <= cutoff).sum())
        raise self.fault(
            f"{early} of {len(days)} rows forecast a day that is not after the cutoff in "
            f"'{names['cutoff']}': expected the last day each forecast had seen"
        )

    def clock_notes(self, names: Mapping[str, str]) -> list[str]:
        """What to say of days that are written with a time: they may be those of elsewhere."""
        columns = {role: names[role] for role in ("day", "cutoff") if role in names}
        clocks = {
            role: self.table[name].map(str).str.extract(_CLOCK)[0] for role, name in columns.items()
        }
        odd = {
            columns[role]: found.dropna().iloc[0]
            for role, found in clocks.items()
            if len(found.dropna())
        }
        if not odd:
            return []
        where = " and ".join(f"'{name}' (as {clock})" for name, clock in odd.items())
        said = (
            "dates are taken as written: stamps of another zone would name the day before or after"
        )
        return [f"times of day in {where} were dropped, {said}"]


def few(days: Sequence[str]) -> str:
    """The first three of a list, and how many more there are."""
    return ", ".join(days[:3]) + (f" and {len(days) - 3} more" if len(days) > 3 else "")
