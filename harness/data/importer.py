"""Make a user's file a dataset: checked series of its table, a plain CSV and a manifest.

`reading` finds the table in the file, `dates` and `number_forms` say what its cells mean, and
`oddities` warns. Nothing is repaired without being told to: what can be read in one way only is
read and said, all else stops with the option that settles it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from datetime import date as Date  # `date` is the name of an argument here
from fractions import Fraction
from pathlib import Path

import numpy as np

from harness.data import tables
from harness.data.dataset import facts_of, quirks_of, read_dataset, search_folders
from harness.data.dates import NO_TIMES, DateColumn, read_dates
from harness.data.import_options import WEEK, ImportOptions, day_of, scale_of
from harness.data.manifest import (
    ID,
    Columns,
    Manifest,
    calendar_of,
    season_of,
    write_dataset,
)
from harness.data.number_forms import NumberColumn, looks_like_a_number, read_numbers
from harness.data.oddities import oddities
from harness.data.reading import read_table
from harness.data.tables import Faults, TextTable, count_text, is_missing, plain, shown, weekdays
from harness.errors import DataError, meant
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedSeries:
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
    form
        How columns, numbers and dates were read, in a line.
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
    form: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesDescription:
    """What a manifest says of a series that no file tells; left out, file and column name it."""

    title: str | None = None
    unit: str | None = None
    source: str | None = None
    licence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """One dataset that was made of a file, or would be.

    Attributes
    ----------
    manifest
        What is promised about it.
    path
        The manifest's file; None after a dry run.
    built
        The series, with what was understood and what is odd about it.
    """

    manifest: Manifest
    path: Path | None
    built: ImportedSeries

    def lines(self) -> Iterator[tuple[str, str]]:
        """What was understood, for people: titles and texts in order."""
        series = self.built.series
        yield "dataset", self.manifest.id
        first, last = f"{series.target[0]:.10g}", f"{series.target[-1]:.10g}"
        yield "target", f"{self.manifest.columns.target}, from {first} to {last}"
        yield "rows", f"{len(series)} of {self.built.read} in the file"
        yield from facts_of(series).items()
        yield "time zone", self.built.zone
        yield "read as", self.built.form
        yield "understood", "\n".join(self.built.notes) or "nothing special"
        yield "warnings", "\n".join(self.built.warnings) or "none"


def import_file(
    path: Path,
    *,
    dataset_id: str,
    target: str,
    date: str,
    folder: Path,
    past: Sequence[str] = (),
    options: ImportOptions | None = None,
    about: SeriesDescription | None = None,
    folders: Sequence[Path] = (),
    raw: bytes | None = None,
    dry_run: bool = False,
    today: Date | None = None,
) -> tuple[Imported, ...]:
    """Check a file and write it into `folder` as a dataset, or as one a series.

    Parameters
    ----------
    path
        CSV and its relatives, Excel workbook, Parquet or Feather.
    dataset_id
        Letters, digits, ``_``, ``-`` and ``.``, not starting with a dot. With an id column of
        which no single series is asked for, the series' name is added to it.
    target, date, past
        Names of columns.
    folder
        Made when it is not there.
    options
        What is to be known about the file.
    about
        For the manifest.
    folders
        Other folders in which the id must be free.
    raw
        Content of the file; left out, it is read.
    dry_run
        Write nothing.
    today
        No session may lie after it; left out, the clock's.

    Returns
    -------
    tuple of Imported
        One, or one a series in the order of the file.

    Raises
    ------
    DataError
        One line naming file, line, column and value of every fault, or the file in the way.
    """
    options = options or ImportOptions()
    columns = Columns(date=date, target=target, past=tuple(past))
    _check_free(dataset_id, folder, folders)
    raw = tables.read_bytes(path) if raw is None else raw
    today = today or datetime.now(UTC).date()
    found = build_series(path, raw, columns, options, today=today)
    columns = Columns(date=date or "date", target=target, past=columns.past)
    names = [dataset_id]
    if options.id_column and len(options.series) != 1:
        series = [built.name for built in found]
        signs = "[^A-Za-z0-9_.-]+"  # that no file name should have
        names = [f"{dataset_id}-{re.sub(signs, '_', name) or '_'}" for name in series]
        for place, name in enumerate(names):
            if (first := names.index(name)) < place:
                both = f"'{series[first]}' and '{series[place]}'"
                raise DataError(
                    f"{path}: series {both} would both be called '{name}'; --series takes one"
                )
    drafts = []
    for name, built in zip(names, found, strict=True):
        _check_free(name, folder, folders)
        content = csv_bytes(built.series, columns)
        drafts.append(
            (_manifest(name, built, columns, about or SeriesDescription(), path, content), content)
        )
    return tuple(
        Imported(
            manifest=manifest,
            path=None if dry_run else _store(folder, manifest, content),
            built=built,
        )
        for (manifest, content), built in zip(drafts, found, strict=True)
    )


def csv_bytes(series: Series, columns: Columns) -> bytes:
    """The plain CSV of a series: ISO dates and the shortest text of each number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns.names)
    numbers = [series.target.tolist(), *series.past.T.tolist()]
    writer.writerows(
        (day, *map(repr, row))
        for day, *row in zip(series.dates.astype(str).tolist(), *numbers, strict=True)
    )
    return text.getvalue().encode()


def _check_free(dataset_id: str, folder: Path, folders: Sequence[Path]) -> None:
    if not ID.fullmatch(dataset_id):
        wanted = "letters, digits, '_', '-' and '.', no dot in front"
        raise DataError(f"id '{dataset_id}': expected {wanted}")
    for place in (*search_folders(folders), folder):
        if (taken := place / f"{dataset_id}.toml").exists():
            hint = (
                f"choose another id, or add sessions with `abharness data update {dataset_id} FILE`"
            )
            raise DataError(f"{taken}: dataset '{dataset_id}' exists already; {hint}")


def _manifest(
    name: str,
    built: ImportedSeries,
    columns: Columns,
    about: SeriesDescription,
    path: Path,
    content: bytes,
) -> Manifest:
    series = built.series
    return Manifest(
        schema=1,
        id=name,
        title=about.title or name,
        file=f"{name}.csv",
        sha256=hashlib.sha256(content).hexdigest(),
        rows=len(series),
        first=series.dates[0].item(),
        last=series.dates[-1].item(),
        source=about.source or f"imported from {path.name}",
        licence=about.licence or "not stated",
        unit=about.unit or built.unit or f"as in column {columns.target}",
        calendar=series.weekmask,
        season=series.season,
        columns=columns,
        quirks=(*quirks_of(series), *built.notes),
    )


def _store(folder: Path, manifest: Manifest, content: bytes) -> Path:
    """Write the data, then the manifest that makes it a dataset; read it back."""
    file, path = folder / manifest.file, folder / f"{manifest.id}.toml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if file.exists() and file.read_bytes() != content:
            raise DataError(f"{file}: exists already, and no import wrote it; choose another id")
        write_dataset(path, manifest, {manifest.file: content})
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{folder}: cannot write dataset '{manifest.id}': {reason}") from None
    read_dataset(path)
    return path


# --- series of a file


def build_series(
    path: Path,
    raw: bytes,
    columns: Columns,
    options: ImportOptions,
    *,
    today: Date,
    calendar: tuple[str, int] | None = None,
) -> list[ImportedSeries]:
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
    ids = (options.id_column,) if options.id_column else ()
    if options.id_column in columns.names:
        raise DataError(
            f"--id-column {shown(options.id_column or '')}: that column already has a role"
        )
    table = read_table(path, raw, (*columns.names, *ids), options, faults)
    if options.missing_text or options.ignore_text:
        gone = {plain(text).casefold() for text in options.missing_text}
        cells = []
        for name, column in zip(table.names, table.cells, strict=True):
            found = list(column)
            if name in columns.names:
                found = ["" if plain(cell).casefold() in gone else cell for cell in found]
            for text in options.ignore_text if name in columns.names[1:] else ():
                found = [cell.replace(text, "") for cell in found]
            cells.append(found)
        table = replace(table, cells=tuple(cells))
    built = [
        _Builder(
            name=name,
            table=part,
            columns=columns,
            options=options,
            faults=faults,
            calendar=calendar,
            said=list(part.notes),
        ).build(today)
        for name, part in _parts(table, options)
    ]
    faults.raise_any()
    return [series for series in built if series is not None]


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
        near = meant(missing[0], known)
        raise DataError(
            f"{table.path}: no series {shown(missing[0])} in {column}{near}; it has {names}"
        )
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
    said: list[str]
    timed: bool = False

    def build(self, today: Date) -> ImportedSeries | None:
        """The series, or None after noting faults."""
        table, before = self.table, len(self.faults)
        dates = read_dates(table, self.columns.date, self.options, today, self.faults)
        names = self.columns.names[1:]
        self.timed = dates.zone != NO_TIMES
        numbers = read_numbers(table, names, self.options.decimal, self.faults)
        self.said += [*dates.notes, *(note for name in names for note in numbers[name].notes)]
        sound = len(self.faults) == before
        below = np.flatnonzero(numbers[self.columns.target].values <= 0)
        if below.size:  # the target is a price, and arms take its logarithm
            cell = table.column(self.columns.target)[int(below[0])].strip()
            hint = f"if it stands for a missing value, --missing-text {cell}"
            problem = f"{cell} is not a price; expected above 0; {hint}"
            place = int(below[0]), self.columns.target
            self.faults.cell(table, *place, problem, count=below.size)
        if not sound:
            return None
        values = np.array([numbers[name].values for name in names])  # [1 + C, N]
        rows = self._in_order(dates.dates, values)
        rows = self._chosen_days(rows, dates.dates)
        rows = self._complete(rows, dates.dates, values)
        least = 1 if self.calendar else 2
        if len(self.faults) == before and len(rows) < least:
            count = "one row" if len(rows) else "no row"
            which = f"series '{self.name}': " if self.name else ""
            self.faults.add(f"{which}{count}; expected {least} or more")
        if len(self.faults) > before:
            return None
        return self._finished(dates, numbers, rows, values[:, rows])

    def _finished(
        self, column: DateColumn, numbers: dict[str, NumberColumn], rows: Rows, values: Array
    ) -> ImportedSeries:
        dates = column.dates[rows]
        for told in self.options.scale_from:
            self._rescale(told, dates, values[0])
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
        for name, cells in zip(self.table.names, self.table.cells, strict=True):
            ids, own = list(dict.fromkeys(cells)), (*self.columns.names, self.options.id_column)
            several = name.casefold() in _IDS and name not in own
            if several and 1 < len(ids) <= len(cells) / 2:
                warnings.append(
                    f"column '{name}' holds {len(ids)} values ({', '.join(ids[:3])}): several "
                    f"series one after another? --id-column {name} makes a dataset of each"
                )
                break
        return ImportedSeries(
            name=self.name,
            series=series,
            places=tuple(self.table.at(row) for row in rows.tolist()),
            steps=tuple(numbers[name].step for name in self.columns.names[1:]),
            unit=numbers[self.columns.target].unit,
            read=len(self.table),
            zone=column.zone,
            form="; ".join(
                (
                    f"columns by {self.table.separator}",
                    numbers[self.columns.target].form,
                    column.form,
                )
            ),
            notes=tuple(self.said),
            warnings=tuple(warnings),
        )

    def _in_order(self, dates: Dates, values: Array) -> Rows:
        """Rows with a date, oldest first, one a date."""
        dated = np.flatnonzero(~np.isnat(dates))
        if missing := len(dates) - len(dated):
            if self.options.missing == "drop":
                self.said.append(f"{count_text(missing, 'row')} without a date dropped.")
            else:
                row = int(np.flatnonzero(np.isnat(dates))[0])
                problem = "empty; expected a date; --missing drop leaves such rows out"
                self.faults.cell(self.table, row, self.columns.date, problem, count=missing)
        rows = self._one_a_date(dated, dates, values)
        steps = np.diff(dates[rows]).astype(np.int64)
        if (steps >= 0).all():
            return rows
        if (steps <= 0).all():
            self.said.append("Rows were newest first: reversed.")
            return rows[::-1]
        if self.options.sort:
            self.said.append("Rows were sorted by date (--sort).")
            return rows[np.argsort(dates[rows], kind="stable")]
        forward = (steps > 0).sum() >= (steps < 0).sum()
        place = int(np.flatnonzero(steps < 0 if forward else steps > 0)[0])
        row, earlier = int(rows[place + 1]), int(rows[place])
        way = "ascending" if forward else "descending"
        before = f"{dates[earlier]} ({self.table.at(earlier)})"
        problem = f"{dates[row]} after {before}; expected {way} dates; --sort sorts them"
        self.faults.cell(self.table, row, self.columns.date, problem)
        return rows

    def _one_a_date(self, rows: Rows, dates: Dates, values: Array) -> Rows:
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
                f"{dates[row]} is on {self.table.at(earlier)} already; expected one row per date"
            )
            hint = "--duplicates first or last keeps one"
            if self.timed:
                hint = "--duplicates last keeps the last of each day"
            column, ids = self._several_series(dates.tolist())
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
        self.said.append(f"{count_text(again.size, 'row')} of a repeated date{same} dropped{how}.")
        return rows[kept]

    def _chosen_days(self, rows: Rows, dates: Dates) -> Rows:
        """Rows without sessions and days of the week that the user leaves out."""
        for told in self.options.drop:
            keep = dates[rows] != day_of(told, "--drop")
            if keep.all() and not self.name:
                self.faults.add(f"--drop {told}: there is no such session")
            elif not keep.all():
                self.said.append(f"The session of {told} was left out (--drop).")
            rows = rows[keep]
        if self.options.drop_days:
            names = {day.strip().casefold()[:3] for day in self.options.drop_days}
            keep = ~np.isin(weekdays(dates[rows]), [WEEK.index(name) for name in names])
            left = count_text(int((~keep).sum()), "session")
            self.said.append(
                f"{left} on {', '.join(self.options.drop_days)} left out (--drop-days)."
            )
            rows = rows[keep]
        return rows

    def _complete(self, rows: Rows, dates: Dates, values: Array) -> Rows:
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
            self.said.append(f"Missing values carried forward ({each}){lost}.")
            return rows[start:]
        first = dates[rows[lacking[0]]]
        if self.options.missing == "drop":
            what = count_text(lacking.size, "row")
            self.said.append(f"{what} with missing values dropped ({each}), the first of {first}.")
            return np.delete(rows, lacking)
        row = int(rows[lacking[0]])
        column = int(np.flatnonzero(empty[:, lacking[0]])[0])
        name = self.columns.names[1 + column]
        cell = self.table.column(name)[row].strip()
        found = "empty" if is_missing(cell) and not cell else f"{shown(cell)} is a missing value"
        lack = "lacks" if lacking.size == 1 else "lack"
        share = f"{lacking.size} of {len(rows)} rows {lack} a value"
        hint = "--missing drop leaves them out, --missing carry repeats the value before"
        self.faults.cell(self.table, row, name, f"{found}; {share}; {hint}")
        return rows

    def _rescale(self, told: str, dates: Dates, target: Array) -> None:
        """Multiply the target from a date on, in place."""
        day, factor = scale_of(told)
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
                hint = f"give the factor, as in --scale-from {told}=100"
                self.faults.add(f"--scale-from {told}: the move there is {move}; {hint}")
                return
        self.said.append(
            f"The target was multiplied by {factor} from {dates[row]} on (--scale-from)."
        )
        target[row:] = [float(Fraction(repr(value)) * factor) for value in target[row:].tolist()]

    def _several_series(self, dates: Sequence[object]) -> tuple[str, list[str]]:
        """The column that tells several series apart, with its values; or two blanks."""
        for name, cells in zip(self.table.names, self.table.cells, strict=True):
            values = list(dict.fromkeys(cells))
            most = len(cells) / (10 if any(map(looks_like_a_number, values[:5])) else 2)
            if (
                name in (*self.columns.names, self.options.id_column)
                or not 2 <= len(values) <= most
            ):
                continue
            if len(set(zip(cells, dates, strict=True))) == len(cells):
                return name, values
        return "", []
