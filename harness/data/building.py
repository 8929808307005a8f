"""From a table of text to checked series: which rows count, in which order, in which unit.

Nothing is repaired without being told to: what can be read in one way only is read and said, all
else stops with the option that settles it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date as Date  # `date` is the name of a field elsewhere
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np

from harness.data.dates import DateColumn, DateStyle, read_dates
from harness.data.manifest import Columns, calendar_of, season_of
from harness.data.number_forms import Decimal, NumberColumn, looks_like_a_number, read_numbers
from harness.data.oddities import count_text, oddities
from harness.data.reading import read_table
from harness.data.rows import FileLayout, Wanted
from harness.data.tables import Faults, TextTable, shown
from harness.data.text import is_missing, plain
from harness.errors import DataError
from harness.window import Array, Dates, Rows, Series

_IDS = (
    *(
        "unique_id",
        "item_id",
        "series_id",
        "sec_id",
        "id",
        "code",
        "ticker",
        "symbol",
        "name",
        "ric",
    ),
    *(
        "series",
        "asset",
        "instrument",
        "security",
        "stock",
        "isin",
        "contract",
        "currency",
        "permno",
    ),
)
"""Names of columns that tell series apart, in lower case."""

_WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What the user said about a file, all of it: options of `data import` and `data update`.

    Attributes
    ----------
    layout
        The file as a whole.
    date_format, date_language, timezone
        As in `DateStyle`.
    decimal
        Decimal mark, for numbers that can be read in two ways.
    missing
        What becomes of rows that lack a value: refused, left out, or filled by the value before.
    missing_text
        Further texts that stand for a missing value.
    ignore_text
        Texts that are taken out of every cell of numbers.
    sort
        Sort rows that are neither oldest nor newest first.
    duplicates
        Which of several rows of one date counts, as they stand in the file.
    drop
        Dates of sessions to leave out.
    drop_days
        Days of the week to leave out, such as ``Sat``.
    scale_from
        ``DATE`` or ``DATE=FACTOR``: multiply the target from there on, by what undoes the move.
    id_column, series
        Column that tells several series apart; the ones to take, all if none is named.
    """

    layout: FileLayout = field(default_factory=FileLayout)
    date_format: str | None = None
    date_language: str | None = None
    timezone: str | None = None
    decimal: Decimal | None = None
    missing: Literal["refuse", "drop", "carry"] = "refuse"
    missing_text: tuple[str, ...] = ()
    ignore_text: tuple[str, ...] = ()
    sort: bool = False
    duplicates: Literal["first", "last"] | None = None
    drop: tuple[str, ...] = ()
    drop_days: tuple[str, ...] = ()
    scale_from: tuple[str, ...] = ()
    id_column: str | None = None
    series: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for day in self.drop:
            _day(day, "--drop")
        for day in self.drop_days:
            if day.strip().casefold()[:3] not in _WEEK:
                raise DataError(f"--drop-days {shown(day)}: expected Mon, Tue, Wed, Thu, Fri, ...")
        for told in self.scale_from:
            _scale(told)
        if self.series and not self.id_column:
            raise DataError("--series needs --id-column, which names the column it stands in")


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """One checked series of a file.

    Attributes
    ----------
    name
        Its value in the id column; blank where there is none.
    series
        Oldest first.
    places
        Where each of its rows stands in the file, such as ``line 17``.
    steps
        The last printed place of the target and of each covariate.
    unit
        What every cell of the target carries, such as ``USD``; blank if nothing.
    read
        Rows of the file that are its, those left out since included.
    zone
        Which zone's dates they are, in words.
    notes
        What was understood or left out, one sentence each.
    warnings
        What is allowed but worth knowing, one sentence each.
    """

    name: str
    series: Series
    places: tuple[str, ...]
    steps: tuple[float, ...]
    unit: str
    read: int
    zone: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def build_series(
    path: Path,
    raw: bytes,
    columns: Columns,
    options: ImportOptions,
    *,
    today: Date,
    calendar: tuple[str, int] | None = None,
) -> list[Built]:
    """Read every series of a file.

    Parameters
    ----------
    path, raw
        Name, for errors, and content.
    columns
        Names in the file.
    options
        What the user said.
    today
        No session may lie after it.
    calendar
        Days of the week and season of a dataset that the rows are for, of which one may do; left
        out, they come from the dates, of which it takes two.

    Raises
    ------
    DataError
        One line with every fault that was found.
    """
    faults = Faults(path)
    style = DateStyle(
        form=options.date_format,
        language=options.date_language,
        zone=options.timezone,
        today=today,
    )
    ids = (options.id_column,) if options.id_column else ()
    if options.id_column in columns.names:
        raise DataError(
            f"--id-column {shown(options.id_column or '')}: that column has another role"
        )
    wanted = Wanted(date=columns.date, others=(*columns.names[1:], *ids))
    read = read_table(path, raw, wanted, options.layout, faults)
    table = _with_user_texts(read.table, columns, options)
    builders = [
        _Builder(
            name=name,
            table=part,
            columns=columns,
            options=options,
            faults=faults,
            calendar=calendar,
        )
        for name, part in _parts(table, options)
    ]
    built = [builder.build(style, wanted, read.notes) for builder in builders]
    faults.raise_any()
    return [series for series in built if series is not None]


def _day(text: str, option: str) -> np.datetime64:
    try:
        return np.datetime64(Date.fromisoformat(text), "D")
    except ValueError:
        raise DataError(f"{option} {shown(text)}: expected a date such as 2020-01-31") from None


def _scale(told: str) -> tuple[np.datetime64, Fraction | None]:
    day, equals, factor = told.partition("=")
    try:
        over, _, under = factor.partition("/")
        by = Fraction(over) / Fraction(under or 1) if equals else None
    except (ValueError, ZeroDivisionError):
        by = Fraction(0)
    if by is not None and by <= 0:
        wanted = "expected DATE or DATE=FACTOR, such as 2023-02-15=100"
        raise DataError(f"--scale-from {shown(told)}: {wanted}")
    return _day(day, "--scale-from"), by


def _with_user_texts(table: TextTable, columns: Columns, options: ImportOptions) -> TextTable:
    """The table without texts that the user said stand for nothing."""
    if not options.missing_text and not options.ignore_text:
        return table
    gone = {plain(text).casefold() for text in options.missing_text}
    cells = []
    for name, column in zip(table.names, table.cells, strict=True):
        found = list(column)
        if name in columns.names:
            found = ["" if plain(cell).casefold() in gone else cell for cell in found]
        if name in columns.names[1:]:
            for text in options.ignore_text:
                found = [cell.replace(text, "") for cell in found]
        cells.append(found)
    return replace(table, cells=tuple(cells))


def _parts(table: TextTable, options: ImportOptions) -> Iterator[tuple[str, TextTable]]:
    """Each series of a long file, in the order of the file."""
    if not options.id_column:
        yield "", table
        return
    ids = table.column(options.id_column)
    known = list(dict.fromkeys(ids))
    if missing := [name for name in options.series if name not in known]:
        names = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
        column = f"column '{options.id_column}'"
        raise DataError(f"{table.path}: no series {shown(missing[0])} in {column}; it has {names}")
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(ids):
        rows.setdefault(name, []).append(row)
    for name in options.series or known:
        yield name, table.part(rows[name])


@dataclass(slots=True, kw_only=True)
class _Builder:
    """One series on its way; what is wrong goes to `faults`, so that all of it is told at once."""

    name: str
    table: TextTable
    columns: Columns
    options: ImportOptions
    faults: Faults
    calendar: tuple[str, int] | None

    def build(self, style: DateStyle, wanted: Wanted, notes: Sequence[str]) -> Built | None:
        """The series, or None after noting faults."""
        table, before = self.table, len(self.faults)
        dates = read_dates(table, self.columns.date, style, self.faults)
        names = self.columns.names[1:]
        numbers = read_numbers(table, names, self.options.decimal, self.faults)
        said = [*notes, *dates.notes, *(note for name in names for note in numbers[name].notes)]
        sound = len(self.faults) == before
        self._check_prices(numbers[self.columns.target].values)
        if not sound:
            return None
        values = np.array([numbers[name].values for name in names])  # [1 + C, N]
        rows = self._in_order(dates.dates, values, wanted, said)
        rows = self._chosen_days(rows, dates.dates, said)
        rows = self._complete(rows, dates.dates, values, said)
        least = 1 if self.calendar else 2
        if len(self.faults) == before and len(rows) < least:
            count = "one row" if len(rows) else "no row"
            self.faults.add(f"{self._which()}{count}; expected {least} or more")
        if len(self.faults) > before:
            return None
        return self._finished(dates, numbers, rows, values[:, rows], said, wanted)

    def _which(self) -> str:
        return f"series '{self.name}': " if self.name else ""

    def _finished(
        self,
        column: DateColumn,
        numbers: dict[str, NumberColumn],
        rows: Rows,
        values: Array,
        said: list[str],
        wanted: Wanted,
    ) -> Built:
        dates = column.dates[rows]
        for told in self.options.scale_from:
            self._rescale(told, dates, values[0], said)
        series = Series(
            dates=dates,
            target=values[0],
            past=values[1:].T.copy(),
            past_names=self.columns.past,
            weekmask=self.calendar[0] if self.calendar else calendar_of(dates),
            season=self.calendar[1] if self.calendar else season_of(dates),
        )
        warnings = []
        if len(series) > 1:
            warnings = oddities(series, lambda row: self.table.at(int(rows[row])))
        name, ids = _series_one_after_another(self.table, wanted)
        if name:
            warnings.append(
                f"column '{name}' holds {len(ids)} values ({', '.join(ids[:3])}): several series "
                f"one after another? --id-column {name} makes a dataset of each"
            )
        return Built(
            name=self.name,
            series=series,
            places=tuple(self.table.at(row) for row in rows.tolist()),
            steps=tuple(numbers[name].step for name in self.columns.names[1:]),
            unit=numbers[self.columns.target].unit,
            read=len(self.table),
            zone=column.zone,
            notes=tuple(said),
            warnings=tuple(warnings),
        )

    def _check_prices(self, target: Array) -> None:
        """Demand positive numbers: the target is a price, and arms take its logarithm."""
        bad = np.flatnonzero(target <= 0)
        if bad.size:
            cell = self.table.column(self.columns.target)[int(bad[0])].strip()
            hint = f"if it stands for a missing value, --missing-text {cell}"
            problem = f"{cell} is not a price; expected above 0; {hint}"
            name = self.columns.target
            self.faults.cell(self.table, int(bad[0]), name, problem, count=bad.size)

    def _in_order(self, dates: Dates, values: Array, wanted: Wanted, said: list[str]) -> Rows:
        """Rows with a date, oldest first, one a date."""
        dated = np.flatnonzero(~np.isnat(dates))
        if missing := len(dates) - len(dated):
            if self.options.missing == "drop":
                said.append(f"{count_text(missing, 'row')} without a date dropped.")
            else:
                row = int(np.flatnonzero(np.isnat(dates))[0])
                problem = "empty; expected a date; --missing drop leaves such rows out"
                self.faults.cell(self.table, row, self.columns.date, problem, count=missing)
        rows = self._one_a_date(dated, dates, values, wanted, said)
        steps = np.diff(dates[rows]).astype(np.int64)
        if (steps >= 0).all():
            return rows
        if (steps <= 0).all():
            said.append("Newest first: turned round.")
            return rows[::-1]
        if self.options.sort:
            said.append("Rows were sorted by date (--sort).")
            return rows[np.argsort(dates[rows], kind="stable")]
        forward = (steps > 0).sum() >= (steps < 0).sum()
        place = int(np.flatnonzero(steps < 0 if forward else steps > 0)[0])
        row, earlier = int(rows[place + 1]), int(rows[place])
        way = "ascending" if forward else "descending"
        before = f"{dates[earlier]} ({self.table.at(earlier)})"
        problem = f"{dates[row]} after {before}; expected {way} dates; --sort sorts them"
        self.faults.cell(self.table, row, self.columns.date, problem)
        return rows

    def _one_a_date(
        self, rows: Rows, dates: Dates, values: Array, wanted: Wanted, said: list[str]
    ) -> Rows:
        """Rows of which no two have one date, in the order of the file."""
        _, first, group = np.unique(dates[rows], return_index=True, return_inverse=True)
        again = np.flatnonzero(first[group] != np.arange(len(rows)))
        if not again.size:
            return rows
        one, two = values[:, rows[first[group[again]]]], values[:, rows[again]]
        differ = again[~((one == two) | (np.isnan(one) & np.isnan(two))).all(axis=0)]
        kept = np.sort(first)
        if differ.size and not self.options.duplicates:
            row, earlier = int(rows[differ[0]]), int(rows[first[group[differ[0]]]])
            problem = (
                f"{dates[row]} is on {self.table.at(earlier)} already; expected one row a date"
            )
            hint = "--duplicates first or last keeps one"
            column, ids = _several_series(self.table, dates.tolist(), wanted)
            if column:
                some = f"{len(ids)} series (column '{column}': {', '.join(ids[:3])})"
                hint = f"the file holds {some}: --id-column {column} makes a dataset of each"
                hint += f", --series {shown(ids[0])} takes one"
            self.faults.cell(
                self.table, row, self.columns.date, f"{problem}; {hint}", count=differ.size
            )
            return rows[kept]
        if self.options.duplicates == "last":
            last = np.full(len(first), -1)
            np.maximum.at(last, group, np.arange(len(rows)))
            kept = np.sort(last)
        how = f" (--duplicates {self.options.duplicates})" if self.options.duplicates else ""
        same = "" if differ.size else ", the same as before,"
        said.append(f"{count_text(again.size, 'row')} of a date that was there{same} dropped{how}.")
        return rows[kept]

    def _chosen_days(self, rows: Rows, dates: Dates, said: list[str]) -> Rows:
        """Rows without sessions and days of the week that the user leaves out."""
        for told in self.options.drop:
            keep = dates[rows] != _day(told, "--drop")
            if keep.all() and not self.name:
                self.faults.add(f"--drop {told}: there is no such session")
            elif not keep.all():
                said.append(f"The session of {told} was left out (--drop).")
            rows = rows[keep]
        if self.options.drop_days:
            names = {day.strip().casefold()[:3] for day in self.options.drop_days}
            week = (dates[rows].astype(np.int64) + 3) % 7
            keep = ~np.isin(week, [_WEEK.index(name) for name in names])
            left = count_text(int((~keep).sum()), "session")
            said.append(f"{left} on {', '.join(self.options.drop_days)} left out (--drop-days).")
            rows = rows[keep]
        return rows

    def _complete(self, rows: Rows, dates: Dates, values: Array, said: list[str]) -> Rows:
        """Rows without missing values: dropped, carried into `values`, or refused."""
        empty = np.isnan(values[:, rows])  # [1 + C, N]
        lacking = np.flatnonzero(empty.any(axis=0))
        if not lacking.size:
            return rows
        each = ", ".join(
            f"{name} {count}"
            for name, count in zip(self.columns.names[1:], empty.sum(axis=1).tolist(), strict=True)
            if count
        )
        if self.options.missing == "carry":
            filled = np.where(~empty, np.arange(len(rows)), -1)
            source = np.maximum.accumulate(filled, axis=1)
            start = int((source < 0).any(axis=0).sum())
            for column, sources in enumerate(source):
                values[column, rows[start:]] = values[column, rows[sources[start:]]]
            lost = f"; {count_text(start, 'row')} before the first value dropped" if start else ""
            said.append(f"Missing values carried forward ({each}){lost}.")
            return rows[start:]
        first = dates[rows[lacking[0]]]
        if self.options.missing == "drop":
            what = count_text(lacking.size, "row")
            said.append(f"{what} with missing values dropped ({each}), the first of {first}.")
            return np.delete(rows, lacking)
        row = int(rows[lacking[0]])
        column = int(np.flatnonzero(empty[:, lacking[0]])[0])
        name = self.columns.names[1 + column]
        cell = self.table.column(name)[row].strip()
        found = "empty" if is_missing(cell) and not cell else f"{shown(cell)} is a missing value"
        lack = "lacks" if lacking.size == 1 else "lack"
        share = f"{lacking.size} of {len(rows)} rows {lack} a value"
        hint = "--missing drop leaves them out, --missing carry takes the value before"
        self.faults.cell(self.table, row, name, f"{found}; {share}; {hint}")
        return rows

    def _rescale(self, told: str, dates: Dates, target: Array, said: list[str]) -> None:
        """Multiply the target from a date on, in place."""
        day, factor = _scale(told)
        row = int(np.searchsorted(dates, day))
        if not 0 < row < len(dates):
            if not self.name:
                span = f"{dates[1]} to {dates[-1]}"
                self.faults.add(f"--scale-from {told}: expected a date from {span}")
            return
        if factor is None:
            power = round(float(np.log10(target[row - 1] / target[row])))
            factor = Fraction(10) ** power
            if not power:
                move = f"{100 * (target[row] / target[row - 1] - 1):+.2f} %"
                hint = f"say the factor, as --scale-from {told}=100"
                self.faults.add(f"--scale-from {told}: the move there is {move}; {hint}")
                return
        said.append(f"The target was multiplied by {factor} from {dates[row]} on (--scale-from).")
        target[row:] = [float(Fraction(repr(value)) * factor) for value in target[row:].tolist()]


def _several_series(
    table: TextTable, dates: Sequence[object], wanted: Wanted
) -> tuple[str, list[str]]:
    """Name the column that tells several series of a file apart, with its values; or two blanks."""
    for name, cells in zip(table.names, table.cells, strict=True):
        values = list(dict.fromkeys(cells))
        most = len(table) / (10 if any(map(looks_like_a_number, values[:5])) else 2)
        if name in wanted.names or not 2 <= len(values) <= most:
            continue
        if len(set(zip(cells, dates, strict=True))) == len(cells):
            return name, values
    return "", []


def _series_one_after_another(table: TextTable, wanted: Wanted) -> tuple[str, list[str]]:
    """Name a column of ids that holds several; or two blanks."""
    for name, cells in zip(table.names, table.cells, strict=True):
        values = list(dict.fromkeys(cells))
        several = 1 < len(values) <= len(table) / 2
        if name.casefold() in _IDS and name not in wanted.names and several:
            return name, values
    return "", []
