"""Turn a user's CSV or Parquet file into a dataset: a normalised CSV and its manifest.

Nothing is guessed. A delimiter, a way to write dates or a way to write numbers is taken when the
whole column allows only one reading; otherwise the import stops and shows both.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date as Date  # `date` is the name of an argument here
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np

from harness.data import checks
from harness.data.checks import TextTable, plain_name, shown
from harness.data.dataset import quirks_of, read_dataset, search_folders
from harness.data.manifest import (
    ID,
    Columns,
    Manifest,
    calendar_of,
    manifest_text,
    season_of,
    write_whole,
)
from harness.errors import DataError
from harness.window import Array, Dates, Series

Decimal = Literal[".", ","]

_DELIMITERS = (",", ";", "\t", "|")
_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)
_YEAR = "(?P<y>(?:1[5-9]|2[01])[0-9]{2})"
_DAY, _MONTH, _WORD = "(?P<d>[0-9]{1,2})", "(?P<m>[0-9]{1,2})", r"(?P<b>[A-Za-z]{3,9})\.?"
_CLOCK = (
    r"(?:[T ] *[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?(?: ?[AaPp][Mm])?"
    r"(?: ?(?:Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2}))?)?"
)
_SHAPES = {
    name: re.compile(pattern + _CLOCK)
    for name, pattern in {
        "year-month-day": f"{_YEAR}(?P<s>[-/.]){_MONTH}(?P=s){_DAY}",
        "YYYYMMDD": f"{_YEAR}(?P<m>[0-9]{{2}})(?P<d>[0-9]{{2}})",
        "day-month-year": f"{_DAY}(?P<s>[-/.]){_MONTH}(?P=s){_YEAR}",
        "month-day-year": f"{_MONTH}(?P<s>[-/]){_DAY}(?P=s){_YEAR}",  # nobody writes it with dots
        "day-name-year": f"{_DAY}[-/. ]+{_WORD}[-/, ]+{_YEAR}",
        "name-day-year": f"{_WORD} +{_DAY},? +{_YEAR}",
        "year-name-day": f"{_YEAR}[-/ ]{_WORD}[-/ ]{_DAY}",
    }.items()
}
_FORMATS = {"day-month-year": "%d/%m/%Y", "month-day-year": "%m/%d/%Y"}
_SHORT_YEAR = re.compile(r"[0-9]{1,2}([-/. ])(?:[0-9]{1,2}|[A-Za-z]{3,9})\1[0-9]{2}" + _CLOCK)
_MIDNIGHT = re.compile(r"[T ]0?0:00(?::00(?:[.,]0+)?)?(?![0-9:.,])")
_STYLES: tuple[tuple[str, Decimal], ...] = (
    *(("", "."), (",", "."), (" ", "."), ("'", ".")),
    *(("", ","), (".", ","), (" ", ","), ("'", ",")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """A column as one style of writing gives it; None where a cell does not fit."""

    name: str
    values: Sequence[object]

    @property
    def fits(self) -> bool:
        return None not in self.values

    @property
    def hits(self) -> int:
        return len(self.values) - self.values.count(None)


def import_file(
    path: Path,
    *,
    dataset_id: str,
    target: str,
    date: str,
    folder: Path,
    past: Sequence[str] = (),
    title: str | None = None,
    unit: str | None = None,
    source: str | None = None,
    licence: str | None = None,
    date_format: str | None = None,
    decimal: Decimal | None = None,
    folders: Sequence[Path] = (),
) -> Path:
    """Check a file and write it into `folder` as a dataset.

    Parameters
    ----------
    path
        CSV with a comma, semicolon, tab or bar between columns, or Parquet.
    dataset_id
        Letters, digits, ``_``, ``-`` and ``.``, not starting with a dot.
    target, date, past
        Names of columns.
    folder
        Made when it is not there.
    title, unit, source, licence
        For the manifest; left out, they name the file and the column.
    date_format
        `strptime` pattern, for dates that can be read in two ways.
    decimal
        Decimal mark, for numbers that can be read in two ways.
    folders
        Other folders in which the id must be free.

    Returns
    -------
    Path
        The manifest.

    Raises
    ------
    DataError
        One line naming file, line, column and value, or the file that is in the way.
    """
    _check_free(dataset_id, folder, folders)
    columns = Columns(date=date, target=target, past=tuple(past))
    table = _read_table(path, columns)
    series, notes = _read_series(table, columns, date_format=date_format, decimal=decimal)
    content = _csv_bytes(series, columns)
    manifest = Manifest(
        schema=1,
        id=dataset_id,
        title=title or dataset_id,
        file=f"{dataset_id}.csv",
        sha256=hashlib.sha256(content).hexdigest(),
        rows=len(series),
        first=series.dates[0].item(),
        last=series.dates[-1].item(),
        source=source or f"imported from {path.name}",
        licence=licence or "not stated",
        unit=unit or f"as in column {columns.target}",
        calendar=series.weekmask,
        season=series.season,
        columns=columns,
        quirks=notes,
    )
    return _store(folder, manifest, content)


def _read_series(
    table: TextTable, columns: Columns, *, date_format: str | None, decimal: Decimal | None
) -> tuple[Series, tuple[str, ...]]:
    """The checked series, and what is worth recording about it."""
    dates = _read_dates(table, columns.date, date_format)
    values = _read_numbers(table, columns.names[1:], decimal)
    checks.check_prices(table, columns.target, values[columns.target])
    if len(table) < 2:
        raise DataError(f"{table.path}: one row; expected 2 or more")
    past = [values[name] for name in columns.past]
    series = Series(
        dates=dates,
        target=values[columns.target],
        past=np.array(past).reshape(len(past), len(dates)).T,
        past_names=columns.past,
        weekmask=calendar_of(dates),
        season=season_of(dates),
    )
    timed = any(":" in cell and not _MIDNIGHT.search(cell) for cell in table.column(columns.date))
    notes = ("Times of day were dropped.",) if timed else ()
    return series, (*quirks_of(series), *notes)


def _check_free(dataset_id: str, folder: Path, folders: Sequence[Path]) -> None:
    if not ID.fullmatch(dataset_id):
        wanted = "letters, digits, '_', '-' and '.', no dot in front"
        raise DataError(f"id '{dataset_id}': expected {wanted}")
    for place in (*search_folders(folders), folder):
        if (taken := place / f"{dataset_id}.toml").exists():
            raise DataError(f"{taken}: dataset '{dataset_id}' is there already; take another id")


def _read_table(path: Path, columns: Columns) -> TextTable:
    raw = checks.read_bytes(path)
    if checks.is_parquet(raw):
        table = checks.read_parquet_table(path, raw, columns.names)
    else:
        text = checks.decode(path, raw)
        delimiter = _delimiter(text, columns.names)
        table = checks.read_text_table(path, text, delimiter=delimiter)
    for name in columns.names:
        table.column(name)
    return table


def _delimiter(text: str, wanted: Sequence[str]) -> str:
    """The delimiter whose header has the wanted columns; failing that, the most columns."""

    def merit(delimiter: str) -> tuple[int, int]:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        try:
            header = [plain_name(name) for name in next(filter(None, lines), [])]
        except csv.Error:
            return (0, 0)
        return (sum(name in header for name in wanted), len(header))

    return max(_DELIMITERS, key=merit)


def _read_dates(table: TextTable, name: str, date_format: str | None) -> Dates:
    """Dates in ascending order; a time of day is dropped."""
    cells = [cell.strip() for cell in table.column(name)]
    if date_format:
        found = [_with_format(table, name, row, date_format) for row in range(len(cells))]
    else:
        readings = [
            _Reading(name=shape, values=[_date(pattern, cell) for cell in cells])
            for shape, pattern in _SHAPES.items()
        ]
        reading = _only_date_reading(table, name, readings)
        found = [value for value in reading.values if isinstance(value, Date)]
    dates = np.array(found, dtype="datetime64[D]")
    checks.check_order(table, name, dates)
    return dates


def _date(pattern: re.Pattern[str], cell: str) -> Date | None:
    match = pattern.fullmatch(cell)
    if not match:
        return None
    part = match.groupdict()
    month = int(part["m"]) if part.get("m") else _month(part["b"])
    try:
        return Date(int(part["y"]), month, int(part["d"]))
    except ValueError:
        return None


def _month(word: str) -> int:
    """Month by English name or its first letters; 0, which no date has, for other words."""
    starts = [month.startswith(word.lower()) for month in _MONTHS]
    return starts.index(True) + 1 if any(starts) else 0


def _only_date_reading(table: TextTable, name: str, readings: list[_Reading]) -> _Reading:
    fitting = [reading for reading in readings if reading.fits]
    if not fitting:
        raise _no_date_reading(table, name, max(readings, key=lambda reading: reading.hits))
    for row, other in _differences(fitting):
        cell = shown(table.column(name)[row].strip())
        one, two = (_long(reading.values[row]) for reading in (fitting[0], other))
        formats = " or ".join(_FORMATS[reading.name] for reading in (fitting[0], other))
        problem = f"{cell} could be {one} or {two}; settle it by --date-format, {formats}"
        raise table.fault(row, name, problem)
    return fitting[0]


def _differences(readings: Sequence[_Reading]) -> Iterator[tuple[int, _Reading]]:
    """Rows on which another reading says something else than the first."""
    for other in readings[1:]:
        for row, (one, two) in enumerate(zip(readings[0].values, other.values, strict=True)):
            if one != two:
                yield row, other


def _no_date_reading(table: TextTable, name: str, best: _Reading) -> DataError:
    row = best.values.index(None)
    cell = table.column(name)[row].strip()
    if _SHORT_YEAR.fullmatch(cell) and not best.hits:
        problem = f"{shown(cell)} has a year of two digits; settle it by --date-format, as %d/%m/%y"
    elif not cell:
        problem = "empty; expected a date"
    elif best.hits:
        problem = f"{shown(cell)} is not a date written {best.name} as the other rows are"
    else:
        problem = f"{shown(cell)} is not a known form of date; give --date-format, as %d.%m.%Y"
    return table.fault(row, name, problem)


def _long(day: object) -> str:
    assert isinstance(day, Date)
    return f"{day.day} {_MONTHS[day.month - 1].capitalize()} {day.year}"


def _with_format(table: TextTable, name: str, row: int, date_format: str) -> Date:
    cell = table.column(name)[row].strip()
    try:
        return datetime.strptime(cell, date_format).date()
    except (ValueError, re.error):  # '%d%d' is the latter
        problem = f"{shown(cell)} does not match --date-format '{date_format}'"
        raise table.fault(row, name, problem) from None


def _read_numbers(
    table: TextTable, names: Sequence[str], decimal: Decimal | None
) -> dict[str, Array]:
    """Read columns of numbers; one that is sure of its decimal mark settles the others."""
    readings = {
        name: _number_readings(table, name, decimal) for name in names if name not in table.typed
    }
    sure = {marks.pop() for found in readings.values() if len(marks := _marks(found)) == 1}
    values = {}
    for name in names:
        if name in table.typed:
            values[name] = checks.numbers(table, name)
            continue
        found = readings[name]
        if len(_marks(found)) > 1 and len(sure) == 1:
            found = [reading for reading in found if reading.name in sure]
        values[name] = _only_number_reading(table, name, found)
        checks.check_finite(table, name, values[name])
    return values


def _number_readings(table: TextTable, name: str, decimal: Decimal | None) -> list[_Reading]:
    """All readings that fit the whole column; named by their decimal mark."""
    blanks = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2019": "'"})
    cells = [cell.translate(blanks).strip() for cell in table.column(name)]
    readings = []
    for group, mark in _STYLES:
        if decimal in (None, mark):
            values = _numbers(cells, group, mark)
            readings.append(_Reading(name=mark, values=values))
    fitting = [reading for reading in readings if reading.fits]
    if not fitting:
        best = max(readings, key=lambda reading: reading.hits)
        raise checks.not_a_number(table, best.values.index(None), name)
    return fitting


def _numbers(cells: Sequence[str], group: str, mark: str) -> list[float | None]:
    whole = rf"[1-9][0-9]{{0,2}}(?:{re.escape(group)}[0-9]{{3}})+|[0-9]{{1,3}}"
    whole = whole if group else "[0-9]+"
    point = re.escape(mark)
    number = rf"[+-]?(?:(?:{whole})(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?"
    fits = re.compile(number).fullmatch
    return [
        float(cell.replace(group, "").replace(mark, ".")) if fits(cell) else None for cell in cells
    ]


def _marks(readings: Sequence[_Reading]) -> set[str]:
    """Decimal marks among readings that differ; none when all readings agree."""
    same = all(reading.values == readings[0].values for reading in readings)
    marks = {reading.name for reading in readings}
    return set() if same and len(marks) > 1 else marks


def _only_number_reading(table: TextTable, name: str, fitting: Sequence[_Reading]) -> Array:
    for row, other in _differences(fitting):
        cell = shown(table.column(name)[row].strip())
        readings = f"{fitting[0].values[row]!r} or {other.values[row]!r}"
        marks = f"'{fitting[0].name}' or '{other.name}'"
        problem = f"{cell} could be {readings}; settle it by --decimal {marks}"
        raise table.fault(row, name, problem)
    return np.array(fitting[0].values, dtype=np.float64)


def _csv_bytes(series: Series, columns: Columns) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns.names)
    numbers = [series.target.tolist(), *series.past.T.tolist()]
    writer.writerows(
        (day, *map(repr, row))
        for day, *row in zip(series.dates.astype(str).tolist(), *numbers, strict=True)
    )
    return text.getvalue().encode()


def _store(folder: Path, manifest: Manifest, content: bytes) -> Path:
    """Write the data, then the manifest that makes it a dataset; read it back."""
    file, path = folder / manifest.file, folder / f"{manifest.id}.toml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if file.exists() and file.read_bytes() != content:
            raise DataError(f"{file}: in the way, and not written by an import; take another id")
        write_whole(file, content)
        write_whole(path, manifest_text(manifest).encode(errors="replace"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{folder}: cannot write dataset '{manifest.id}': {reason}") from None
    read_dataset(path)
    return path
