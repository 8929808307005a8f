"""Anybody's file as a table of text: which rows are the table, which one is its header.

CSV and its relatives, Excel workbooks, Parquet and Feather. What cells mean is read elsewhere; here
text above and below the table goes, and everything left out is said.
"""

from __future__ import annotations

import ast
import csv
import difflib
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Literal

from harness.data import checks
from harness.data.checks import Faults, Table, plain_name, shown
from harness.data.dates import is_dated, looks_like_a_date
from harness.data.numbers import looks_like_a_number
from harness.data.text import is_missing
from harness.errors import DataError

_DELIMITERS = (",", ";", "\t", "|", "  ", " ")
"""What may stand between columns; two spaces stand for two or more, one for any white space."""

_HEAD = 200
"""Rows in which a header is looked for."""

_LONGEST_CELL = 20
"""Lines of a quoted cell; one of more comes from a quote that was not closed."""

_NAMELESS = ("", "Unnamed: 0", "__index_level_0__")
_IDS = ("unique_id", "item_id", "ticker", "symbol", "series_id", "series", "asset", "instrument")
_ENCODING_HINT = "save it as UTF-8, or say what it is, as --encoding cp1252"
_Place = Literal["line", "row"]


class _Declared(str):
    """A cell of a workbook that holds a number, not text."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What the user said about the file as a whole.

    Attributes
    ----------
    header
        ``none`` (columns are then called 1, 2, ...), the header's line, or names for the columns.
    delimiter
        What stands between columns.
    encoding
        Of text that is not UTF-8.
    sheet
        Of a workbook.
    skip_last
        Rows at the end that do not belong to the table.
    """

    header: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    sheet: str | None = None
    skip_last: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Columns that are looked for; the header is the row that has them."""

    date: str
    others: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return (self.date, *self.others)


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A table and what is worth saying about how it was found."""

    table: Table
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grid:
    """Rows of a text file or a sheet, of any width, each with its place."""

    rows: list[list[str]]
    places: list[int]
    place: _Place


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    """Where the data start, and what each column is called; wanted ones by the wanted name."""

    first: int
    stop: int
    names: list[str]
    notes: tuple[str, ...] = ()


def read_table(path: Path, raw: bytes, wanted: Wanted, layout: Layout, faults: Faults) -> Read:
    """Find the table in a file.

    Parameters
    ----------
    path, raw
        Name, for errors, and content of the file.
    wanted
        Columns that must be there; the table calls them by these names.
    layout
        What the user said.
    faults
        Gets every row that does not fit the header.

    Raises
    ------
    DataError
        When there is no such table: one line that says what the file is instead.
    """
    if checks.is_parquet(raw) or raw.startswith((b"ARROW1", b"FEA1")):
        return _of_arrow(path, raw, wanted)
    if raw.startswith(b"PK\x03\x04"):
        return _of_workbook(path, raw, wanted, layout, faults)
    checks.refuse_foreign(path, raw)
    text = checks.decode(path, raw, encoding=layout.encoding, hint=_ENCODING_HINT)
    _refuse_other_text(path, text)
    return _of_text(path, text, wanted, layout, faults)


def several_series(table: Table, dates: Sequence[object], wanted: Wanted) -> tuple[str, list[str]]:
    """Name the column that tells several series of a file apart, with its values; or two blanks."""
    for name, cells in zip(table.names, table.cells, strict=True):
        values = list(dict.fromkeys(cells))
        most = len(table) / (10 if any(map(looks_like_a_number, values[:5])) else 2)
        if name in wanted.names or not 2 <= len(values) <= most:
            continue
        if len(set(zip(cells, dates, strict=True))) == len(cells):
            return name, values
    return "", []


def series_one_after_another(table: Table, wanted: Wanted) -> tuple[str, list[str]]:
    """Name a column of ids that holds several; or two blanks."""
    for name, cells in zip(table.names, table.cells, strict=True):
        values = list(dict.fromkeys(cells))
        if name.casefold() in _IDS and name not in wanted.names and len(values) > 1:
            return name, values
    return "", []


# --- text


def _refuse_other_text(path: Path, text: str) -> None:
    start = text[:2000].lstrip().lower()
    kinds = {
        ("<!doctype html", "<html", "<head", "<body", "<title", "<script"): "a web page, not a table",
        ("<?xml", "<!doctype", "<div", "<p>", "<table"): "XML or a web page, not a table",
        ("{", "[{", "[["): "JSON, not a table",
    }
    for starts, kind in kinds.items():
        if start.startswith(starts):
            said = re.sub(r"<[^>]*>|\s+", " ", text[:2000])
            begin = f"; it says {shown(' '.join(said.split()))}" if "page" in kind else ""
            raise DataError(f"{path}: {kind}{begin}; download it again or save it as CSV")
    if "\0" in text[:2000]:
        raise DataError(f"{path}: not text; if it is UTF-16, say --encoding utf-16-le")


def _of_text(path: Path, text: str, wanted: Wanted, layout: Layout, faults: Faults) -> Read:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    start, delimiters = 0, _DELIMITERS
    if said := re.fullmatch(r'\s*"?sep=(.)"?\s*', lines[0], re.IGNORECASE):
        start, delimiters = 1, (said[1],)
    if layout.delimiter:
        delimiters = ({"\\t": "\t", "tab": "\t"}.get(layout.delimiter, layout.delimiter),)
    if any(len(mark) != 1 and mark != "  " for mark in delimiters):
        raise DataError(f"--delimiter {shown(layout.delimiter or '')}: expected one character")
    best: tuple[tuple[bool, float, int], str, int] | None = None
    for mark in delimiters:
        for first in _starts(lines, start, mark, wanted, layout):
            merit = _merit(_split(path, lines, first, mark, head=True), wanted, layout)
            if best is None or merit > best[0]:
                best = (merit, mark, first)
    assert best
    notes: tuple[str, ...] = ()
    grid = _split(path, lines, best[2], best[1])
    if not grid.rows:
        raise DataError(f"{path}: empty file; expected a header and rows")
    if above := sum(bool(line.strip()) for line in lines[start : best[2]]):
        notes = (f"The header is line {best[2] + 1}; {_count(above, 'line')} above it left out.",)
    between = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}.get(best[1], "")
    between = between or ("white space" if best[1].isspace() else shown(best[1]))
    read = _of_grid(path, grid, wanted, layout, faults)
    if between != "comma":
        notes = (f"Between columns: {between}.", *notes)
    return Read(table=read.table, notes=(*notes, *read.notes))


def _starts(
    lines: Sequence[str], start: int, mark: str, wanted: Wanted, layout: Layout
) -> Iterator[int]:
    """Lines from which to split: the first, and the header if a quote above would swallow it."""
    yield start
    if layout.header is None and any('"' in line for line in lines[start:_HEAD]):
        for number, line in enumerate(lines[start:_HEAD], start=start):
            names = {plain_name(cell) for cell in next(csv.reader([line], delimiter=mark[0]), [])}
            if names.issuperset(wanted.names) and number > start:
                yield number
                return


def _split(path: Path, lines: list[str], first: int, mark: str, *, head: bool = False) -> _Grid:
    """Rows of the lines from `first` on; with `head` only the first few hundred."""
    part = lines[first : first + _HEAD] if head else lines[first:]
    grid = _Grid(rows=[], places=[], place="line")
    if mark.isspace() and mark != "\t":
        between = re.compile(r"\t| {2,}" if mark == "  " else r"\s+")
        for number, line in enumerate(part, start=first + 1):
            if line.strip():
                grid.rows.append([cell.strip('"') for cell in between.split(line.strip())])
                grid.places.append(number)
        return grid
    problem = _quoted(grid, part, first, mark, strict=not head)
    if problem and not head:  # sloppy quotes are fine as long as none swallows a line
        grid = _Grid(rows=[], places=[], place="line")
        again = _quoted(grid, part, first, mark, strict=False)
        if again or any(_swallowed(cell, mark) for row in grid.rows for cell in row):
            hint = "a quote is missing or too many here or above"
            raise DataError(f"{path}: {again or problem}; {hint}")
    return grid


def _swallowed(cell: str, mark: str) -> bool:
    """Whether a cell of several lines holds what looks like the start of a row."""
    return any(looks_like_a_date(line.split(mark)[0].strip('"')) for line in cell.split("\n")[1:])


def _quoted(grid: _Grid, part: Sequence[str], first: int, mark: str, *, strict: bool) -> str:
    """Split lines with quotes into the grid; what is wrong with them, or blank."""
    reader = csv.reader((f"{line}\n" for line in part), delimiter=mark, strict=strict)
    try:
        before = 0
        for row in reader:
            if row:
                grid.rows.append(row)
                grid.places.append(first + reader.line_num)
            if strict and reader.line_num - before > _LONGEST_CELL:
                return f"line {first + before + 1}: a cell of more than {_LONGEST_CELL} lines"
            before = reader.line_num
    except csv.Error as error:
        return f"line {first + reader.line_num}: {error}"
    return ""


def _merit(grid: _Grid, wanted: Wanted, layout: Layout) -> tuple[bool, float, int]:
    """How well a delimiter fits: the header is found, rows are as wide as it, many columns."""
    try:
        header = _find_header(grid, wanted, layout)
    except DataError:  # found, but not unique
        return (True, 0.0, 0)
    widths = [len(row) for row in grid.rows]
    if header is None:
        usual = max(widths, key=widths.count, default=0)
        hits = max((len({*row} & {*wanted.names}) for row in grid.rows), default=0)
        return (False, hits, usual)
    width, below = len(header.names), grid.rows[header.stop :]
    fit = sum(len(row) >= width and not any(map(str.strip, row[width:])) for row in below)
    return (True, fit / max(1, len(below)), width)


# --- rows to a table


def _of_grid(
    path: Path, grid: _Grid, wanted: Wanted, layout: Layout, faults: Faults
) -> Read:
    try:
        header = _find_header(grid, wanted, layout)
    except DataError as problem:
        raise DataError(f"{path}: {problem}") from None
    if header is None:
        raise _no_header(path, grid, wanted, layout)
    notes = list(header.notes)
    above = [row for row in grid.rows[: header.first] if any(map(str.strip, row))]
    if above and layout.header is None:
        where = f"{grid.place} {grid.places[header.first]}"
        notes.append(f"The header is {where}; {_count(len(above), 'row')} above it left out.")
    rows, places = _body(grid, header, wanted, layout, faults, notes)
    if not rows:
        faults.raise_any()
        head = f"{path}: {grid.place} {grid.places[header.first]}: "
        raise DataError(f"{head}a header and no rows; columns are {', '.join(header.names)}")
    cells = tuple(zip(*rows, strict=True))
    typed = {
        name
        for name, column in zip(header.names, cells, strict=True)
        if grid.place == "row"
        and any(isinstance(cell, _Declared) for cell in column)
        and all(isinstance(cell, _Declared) or is_missing(cell.strip()) for cell in column)
    }
    table = Table(
        path=path,
        names=tuple(header.names),
        cells=cells,
        places=places,
        place=grid.place,
        typed=frozenset(typed),
    )
    return Read(table=table, notes=tuple(notes))


def _find_header(grid: _Grid, wanted: Wanted, layout: Layout) -> _Header | None:
    """The row, or the rows, that have the wanted names; None if no row has.

    Raises
    ------
    DataError
        When a wanted name stands there twice: the place, not the file.
    """
    rows = [[plain_name(cell) for cell in row] for row in grid.rows[:_HEAD]]
    if layout.header is not None:
        return _header_as_told(rows, grid, wanted, layout.header)
    for first, row in enumerate(rows):
        if set(wanted.names) <= set(row):
            depth = 1 if len(set(row)) == len(row) else _depth(rows, first)
            names = _named(_parts(rows, first, first + depth), wanted, at=_place(grid, first))
            return _Header(first=first, stop=first + depth, names=names) if names else None
    for first in range(min(50, len(rows))):
        for depth in (2, 3, 4):
            if first + depth >= len(rows) or any(map(is_dated, rows[first + depth - 1][:1])):
                break
            parts = _parts(rows, first, first + depth)
            if names := _named(parts, wanted, at=_place(grid, first)):
                note = f"The header has {depth} lines{_which(parts, names, wanted)}."
                return _Header(first=first, stop=first + depth, names=names, notes=(note,))
    return _nameless_dates(rows, wanted)


def _which(parts: Sequence[tuple[str, ...]], names: Sequence[str], wanted: Wanted) -> str:
    """What the target is called in full, where its header has several lines."""
    full = " ".join(parts[names.index(wanted.others[0])])
    return "" if full == wanted.others[0] else f": '{wanted.others[0]}' is '{full}'"


def _place(grid: _Grid, row: int) -> str:
    return f"{grid.place} {grid.places[row]}: "


def _header_as_told(
    rows: list[list[str]], grid: _Grid, wanted: Wanted, told: str
) -> _Header | None:
    if told.isdigit():
        if int(told) not in grid.places[: len(rows)]:
            return None
        first = grid.places.index(int(told))
        names = _named([(name,) for name in rows[first]], wanted, at=_place(grid, first))
        return _Header(first=first, stop=first + 1, names=names) if names else None
    widths = [len(row) for row in rows]
    usual = max(widths, key=widths.count, default=0)
    given = [plain_name(name) for name in told.split(",")]
    if told == "none":
        given = [str(number + 1) for number in range(usual)]
    elif len(given) < usual:
        found = f"--header has {_count(len(given), 'name')}, the file {usual} columns"
        raise DataError(f"{found}; name them all")
    first = next((row for row, width in enumerate(widths) if width == usual), 0)
    names = _named([(name,) for name in given], wanted)
    return _Header(first=first, stop=first, names=names) if names else None


def _depth(rows: list[list[str]], first: int) -> int:
    """Rows from a header on that have no digit at the start of their first cell, at most 4."""
    depth = 1
    while depth < 4 and first + depth < len(rows) and not looks_like_a_date(rows[first + depth][0]):
        depth += 1
    return depth


def _parts(rows: list[list[str]], first: int, stop: int) -> list[tuple[str, ...]]:
    """What stands above each column in some rows, blanks left out."""
    width = max(len(row) for row in rows[first:stop])
    filled = [row + [""] * (width - len(row)) for row in rows[first:stop]]
    return [tuple(filter(None, column)) for column in zip(*filled, strict=True)]


def _named(
    parts: Sequence[tuple[str, ...]], wanted: Wanted, *, at: str = ""
) -> list[str] | None:
    """Names of all columns, wanted ones by the wanted name; None if one is not there.

    Raises
    ------
    DataError
        When one is there twice.
    """
    names = [" ".join(part) for part in parts]
    called, taken = list(names), set()
    for name in wanted.names:
        hits = [column for column, whole in enumerate(names) if whole == name]
        hits = hits or [column for column, part in enumerate(parts) if name in part]
        if not hits:
            return None
        if len(hits) > 1 and name:
            several = [shown(names[column]) for column in hits]
            which = f" as {', '.join(several)}: say which" if len({*several}) > 1 else ""
            hint = which or "; --header a,b,c names all columns anew"
            raise DataError(f"{at}column '{name}' stands there {len(hits)} times{hint}")
        called[hits[0]] = name
        taken.add(hits[0])
    return called if len(taken) == len(wanted.names) else None


def _nameless_dates(rows: list[list[str]], wanted: Wanted) -> _Header | None:
    """A header without the wanted date whose first column has no name and holds dates."""
    for first, row in enumerate(rows):
        if not row or row[0] not in _NAMELESS or not set(wanted.others) <= set(row):
            continue
        below = [cells for cells in rows[first + 1 :] if len(cells) >= len(row)][:20]
        dated = [
            column
            for column in range(len(row))
            if below and all(is_dated(cells[column]) for cells in below)
        ]
        if dated == [0]:
            names = _named([(wanted.date,), *((name,) for name in row[1:])], wanted)
            note = f"The first column has no name and holds dates: taken as '{wanted.date}'."
            return _Header(first=first, stop=first + 1, names=names, notes=(note,)) if names else None
    return None


def _no_header(path: Path, grid: _Grid, wanted: Wanted, layout: Layout) -> DataError:
    """Say which column is not there, what is, and what would help."""
    widths = [len(row) for row in grid.rows[:_HEAD]]
    usual = max(widths, key=widths.count)
    first = next(row for row, width in enumerate(widths) if width == usual)
    row = [plain_name(cell) for cell in grid.rows[first]]
    for at, others in zip(grid.places, grid.rows[:_HEAD], strict=False):
        names = [plain_name(cell) for cell in others]
        if str(at) == layout.header or (set(names) & set(wanted.names) and layout.header is None):
            row, first = names, grid.rows.index(others)
            break
    where = f"{path}: {grid.place} {grid.places[first]}: "
    missing = next((name for name in wanted.names if name not in row), wanted.date)
    if layout.header == "none":
        return DataError(f"{where}no column '{missing}'; columns are 1 to {len(row)}")
    if any(map(is_dated, row)) or sum(map(looks_like_a_number, row)) > len(row) / 2:
        numbers = "--header none and columns by number, as --date 1 --target 2"
        hint = f"say {numbers}, or name them by --header date,open,close"
        return DataError(f"{where}no column '{missing}': this looks like data, not a header; {hint}")
    known = ", ".join(name or "'' (no name)" for name in row[:20])
    known += ", ..." if len(row) > 20 else ""
    close = difflib.get_close_matches(missing.casefold(), [n.casefold() for n in row if n], 1, 0.8)
    meant = next((name for name in row if close and name.casefold() == close[0]), None)
    hint = f"; is '{meant}' meant?" if meant else ""
    if "" in row and not hint:
        hint = "; --header a,b,c names all columns anew"
    return DataError(f"{where}no column '{missing}'; columns are {known}{hint}")


def _body(
    grid: _Grid,
    header: _Header,
    wanted: Wanted,
    layout: Layout,
    faults: Faults,
    notes: list[str],
) -> tuple[list[list[str]], list[int]]:
    """Rows of the table with their places; every other row is in `notes` or in `faults`."""
    rows, places = grid.rows[header.stop :], grid.places[header.stop :]
    numbered = [(row, at) for row, at in zip(rows, places, strict=True) if any(map(str.strip, row))]
    if blank := len(rows) - len(numbered):
        notes.append(f"{_count(blank, 'empty row')} skipped.")
    if layout.skip_last:
        notes.append(f"{_count(layout.skip_last, 'row')} at the end left out (--skip-last).")
        numbered = numbered[: -layout.skip_last]
    titles = [plain_name(cell) for cell in grid.rows[header.first]]
    again = [at for row, at in numbered if [plain_name(cell) for cell in row] == titles]
    if again and header.stop > header.first:
        notes.append(f"The header repeated {_count(len(again), 'time')}, first in {grid.place} "
                     f"{again[0]}: skipped.")
        numbered = [(row, at) for row, at in numbered if at not in set(again)]
    numbered = _without_edges(numbered, header, wanted, grid.place, notes)
    numbered = _fitted(numbered, header, wanted, notes)
    width = len(header.names)
    wrong = [(row, at) for row, at in numbered if len(row) != width]
    if wrong:
        row, at = wrong[0]
        found = f"{_count(len(row), 'value')} in {shown(','.join(row))}; the header has {width}"
        last = f"; it is the last row, --skip-last {len(wrong)} leaves it out"
        more = f" (and {len(wrong) - 1} more such rows)" if len(wrong) > 1 else ""
        at_end = numbered[-len(wrong) :] == wrong
        faults.add(f"{grid.place} {at}: {found}{more}{last if at_end else ''}")
    kept = [(row, at) for row, at in numbered if len(row) == width]
    return [row for row, _ in kept], [at for _, at in kept]


def _without_edges(
    numbered: list[tuple[list[str], int]],
    header: _Header,
    wanted: Wanted,
    place: str,
    notes: list[str],
) -> list[tuple[list[str], int]]:
    """Rows without those right below the header and at the end that hold neither date nor number."""
    date, other = header.names.index(wanted.date), header.names.index(wanted.others[0])

    def is_text(row: list[str]) -> bool:
        on = row[date] if date < len(row) else row[0]
        value = row[other] if other < len(row) else ""
        dated = looks_like_a_date(on, alone=len(row) < len(header.names))
        return not dated and not looks_like_a_number(value)

    start, stop = 0, len(numbered)
    while start < min(stop, 4) and is_text(numbered[start][0]) and _blank_or_word(numbered, start, date):
        start += 1
    while stop > start and is_text(numbered[stop - 1][0]) and stop > len(numbered) - 50:
        stop -= 1
    if stop <= start:
        return numbered
    if start:
        notes.append(f"{_count(start, 'row')} below the header held no data: skipped.")
    if stop < len(numbered):
        row, at = numbered[stop]
        said = shown(" ".join(filter(None, map(str.strip, row))))
        left = _count(len(numbered) - stop, "row")
        notes.append(f"{left} below the table left out, first {place} {at}: {said}.")
    return numbered[start:stop]


def _blank_or_word(numbered: list[tuple[list[str], int]], row: int, date: int) -> bool:
    cells = numbered[row][0]
    return date < len(cells) and not re.search("[0-9]", cells[date])


def _fitted(
    numbered: list[tuple[list[str], int]], header: _Header, wanted: Wanted, notes: list[str]
) -> list[tuple[list[str], int]]:
    """Rows without empty cells beyond the header, and without R's column of row names.

    Columns at the end that have neither a name nor, for the most part, a value go from the header.
    """
    names = header.names
    while not names[-1] and len(names) > 1:
        filled = sum(len(row) >= len(names) and bool(row[len(names) - 1].strip()) for row, _ in numbered)
        if filled > len(numbered) / 2:
            break
        names.pop()
    width, trimmed, fitted = len(names), 0, []
    for row, at in numbered:
        if len(row) > width and not any(map(str.strip, row[width:])):
            row, trimmed = row[:width], trimmed + 1
        fitted.append((row, at))
    if trimmed:
        notes.append(f"{_count(trimmed, 'row')} had empty cells beyond the header: dropped.")
    date = names.index(wanted.date)
    one_more = bool(fitted) and all(len(row) == width + 1 for row, _ in fitted)
    if one_more and all(is_dated(row[date + 1]) and not is_dated(row[date]) for row, _ in fitted):
        notes.append("Each row begins with a name that the header lacks: dropped.")
        fitted = [(row[1:], at) for row, at in fitted]
    return fitted


# --- workbooks


def _of_workbook(path: Path, raw: bytes, wanted: Wanted, layout: Layout, faults: Faults) -> Read:
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            inside = set(archive.namelist())
    except (zipfile.BadZipFile, OSError):
        raise DataError(f"{path}: a damaged Excel or zip file; save it as CSV") from None
    if "xl/workbook.xml" not in inside:
        kind = "a zip file; unpack it first"
        if "xl/workbook.bin" in inside or "content.xml" in inside:
            kind = "a workbook that is not .xlsx; save it as .xlsx or CSV"
        raise DataError(f"{path}: {kind}")
    sheets = _sheets(path, raw)
    if layout.sheet is not None and layout.sheet not in sheets:
        raise DataError(f"{path}: no sheet '{layout.sheet}'; sheets are {', '.join(sheets)}")
    names = [layout.sheet] if layout.sheet else list(sheets)
    fitting = [name for name in names if _has_header(sheets[name], wanted, layout)]
    if len(fitting) > 1:
        several = ", ".join(fitting)
        raise DataError(f"{path}: {len(fitting)} sheets have these columns: {several}; say --sheet")
    chosen = fitting[0] if fitting else max(names, key=lambda name: len(sheets[name].rows))
    if not sheets[chosen].rows:
        raise DataError(f"{path}: sheet '{chosen}' is empty; expected a header and rows")
    read = _of_grid(path, sheets[chosen], wanted, layout, faults)
    return Read(table=read.table, notes=(f"Sheet '{chosen}'.", *read.notes))


def _sheets(path: Path, raw: bytes) -> dict[str, _Grid]:
    try:
        import openpyxl
    except ImportError:
        hint = "pip install 'abharness[xlsx]', or save it as CSV"
        raise DataError(f"{path}: an Excel workbook needs openpyxl: {hint}") from None
    try:
        book = openpyxl.load_workbook(io.BytesIO(raw), data_only=True)
    except Exception as error:  # noqa: BLE001 - a foreign library on a foreign file
        raise DataError(f"{path}: not a readable workbook: {shown(str(error))}") from None
    sheets = {}
    for sheet in book.worksheets:
        grid = _Grid(rows=[], places=[], place="row")
        for number, values in enumerate(sheet.iter_rows(values_only=True), start=1):
            cells = [_cell(value) for value in values]
            while cells and not cells[-1]:
                cells.pop()
            if cells:
                grid.rows.append(cells)
                grid.places.append(number)
        width = max(map(len, grid.rows), default=0)
        for cells in grid.rows:
            cells.extend([""] * (width - len(cells)))
        sheets[sheet.title] = grid
    return sheets


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(sep=" ")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bool) or value is None:
        return "" if value is None else str(value)
    if isinstance(value, int | float):
        return _Declared(repr(value))
    return str(value)


def _has_header(grid: _Grid, wanted: Wanted, layout: Layout) -> bool:
    try:
        return _find_header(grid, wanted, layout) is not None
    except DataError:
        return True


# --- Parquet and Feather


def _of_arrow(path: Path, raw: bytes, wanted: Wanted) -> Read:
    table = checks.read_arrow_table(path, raw)
    parts = [_levels(name) for name in table.names]
    notes: tuple[str, ...] = ()
    try:
        names = _named(parts, wanted)
    except DataError as problem:
        raise DataError(f"{path}: {problem}") from None
    if names is None:
        names = [name if len(part) == 1 else " ".join(part) for name, part in zip(table.names, parts)]
        index = [column for column, name in enumerate(names) if name in _NAMELESS]
        if len(index) == 1 and all(map(is_dated, table.cells[index[0]][:20])):
            names[index[0]] = wanted.date
            note = f"The index has no name and holds dates: taken as '{wanted.date}'."
            notes = (note,)
        missing = next((name for name in wanted.names if name not in names), None)
        if missing is not None:
            raise DataError(f"{path}: no column '{missing}'; columns are {', '.join(names[:20])}")
    elif whole := _which(parts, names, wanted):
        notes = (f"Columns have several levels{whole}.",)
    typed = {new for new, old in zip(names, table.names, strict=True) if old in table.typed}
    found = Table(
        path=path,
        names=tuple(names),
        cells=table.cells,
        places=table.places,
        place="row",
        typed=frozenset(typed),
    )
    return Read(table=found, notes=notes)


def _levels(name: str) -> tuple[str, ...]:
    """The levels of a column of several, as pandas writes them: ``('Close', '^DJI')``."""
    if name.startswith("("):
        try:
            found = ast.literal_eval(name)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return (name,)
        if isinstance(found, tuple):
            return tuple(str(level) for level in found if level not in ("", None))
    return (plain_name(name),)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
