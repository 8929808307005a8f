"""Anybody's file as a table of text: CSV and its relatives, Excel workbooks, Parquet and Feather.

What a file is shows in its first bytes, not in its name. What cells mean is read elsewhere.
"""

from __future__ import annotations

import ast
import csv
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime, time
from pathlib import Path

from harness.data import tables
from harness.data.dates import is_dated, looks_like_a_date
from harness.data.oddities import count_text
from harness.data.rows import (
    HEAD,
    NAMELESS,
    FileLayout,
    Read,
    TextGrid,
    Wanted,
    find_header,
    full_name,
    named,
    refuse_data_above,
    table_of,
)
from harness.data.tables import Declared, Faults, plain_name, shown
from harness.errors import DataError

_DELIMITERS = (",", ";", "\t", "|", "  ", " ")
"""What may stand between columns; two spaces stand for two or more, one for any white space."""

_LONGEST_CELL = 20
"""Lines of a quoted cell; one of more comes from a quote that was not closed."""

_ENCODING_HINT = "save it as UTF-8, or say what it is, as --encoding cp1252"


def read_table(path: Path, raw: bytes, wanted: Wanted, layout: FileLayout, faults: Faults) -> Read:
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
    if tables.is_parquet(raw) or raw.startswith((b"ARROW1", b"FEA1")):
        return _of_arrow(path, raw, wanted)
    if raw.startswith(b"PK\x03\x04"):
        return _of_workbook(path, raw, wanted, layout, faults)
    text = tables.decode(path, raw, encoding=layout.encoding, hint=_ENCODING_HINT)
    _refuse_other_text(path, text)
    return _of_text(path, text, wanted, layout, faults)


# --- text


def _refuse_other_text(path: Path, text: str) -> None:
    start = text[:2000].lstrip().lower()
    kinds = {
        (
            "<!doctype html",
            "<html",
            "<head",
            "<body",
            "<title",
            "<script",
        ): "a web page, not a table",
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


def _refuse_a_message(path: Path, lines: Sequence[str], wanted: Wanted) -> None:
    """Say that a few words are no table: what a server answers instead of one."""
    filled = [line for line in lines if line.strip()]
    named = any(name and name in line for name in wanted.names for line in filled)
    if 1 <= len(filled) <= 3 and not named and not any(map(looks_like_a_date, filled)):
        raise DataError(f"{path}: no table; it says {shown(' '.join(' '.join(filled).split()))}")


def _of_text(path: Path, text: str, wanted: Wanted, layout: FileLayout, faults: Faults) -> Read:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    start, delimiters = 0, list(_DELIMITERS)
    if said := re.fullmatch(r'\s*"?sep=(.)"?\s*', lines[0], re.IGNORECASE):
        start, delimiters = 1, [said[1], *_DELIMITERS]
    if layout.delimiter:
        delimiters = [{"\\t": "\t", "tab": "\t"}.get(layout.delimiter, layout.delimiter)]
    if any(len(mark) != 1 and mark != "  " for mark in delimiters):
        raise DataError(f"--delimiter {shown(layout.delimiter or '')}: expected one character")
    _refuse_a_message(path, lines, wanted)
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
        rows = [
            [cell.strip('"') for cell in line.split(best[1])] for line in lines[start : best[2]]
        ]
        refuse_data_above(path, rows, f"line {best[2] + 1}")
        notes = (
            f"The header is line {best[2] + 1}; {count_text(above, 'line')} above it left out.",
        )
    between = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}.get(best[1], "")
    between = between or ("white space" if best[1].isspace() else shown(best[1]))
    read = table_of(path, grid, wanted, layout, faults)
    if between != "comma":
        notes = (f"Between columns: {between}.", *notes)
    return Read(table=read.table, notes=(*notes, *read.notes))


def _starts(
    lines: Sequence[str], start: int, mark: str, wanted: Wanted, layout: FileLayout
) -> Iterator[int]:
    """Lines from which to split: the first, and the header if a quote above would swallow it."""
    yield start
    if layout.header is None and any('"' in line for line in lines[start:HEAD]):
        for number, line in enumerate(lines[start:HEAD], start=start):
            names = {plain_name(cell) for cell in next(csv.reader([line], delimiter=mark[0]), [])}
            if names.issuperset(wanted.names) and number > start:
                yield number
                return


def _split(path: Path, lines: list[str], first: int, mark: str, *, head: bool = False) -> TextGrid:
    """Rows of the lines from `first` on; with `head` only the first few hundred."""
    part = lines[first : first + HEAD] if head else lines[first:]
    grid = TextGrid(rows=[], places=[], place="line")
    if mark.isspace() and mark != "\t":
        between = re.compile(r"\t| {2,}" if mark == "  " else r"\s+")
        for number, line in enumerate(part, start=first + 1):
            if line.strip():
                grid.rows.append([cell.strip('"') for cell in between.split(line.strip())])
                grid.places.append(number)
        return grid
    problem = _quoted(grid, part, first, mark, strict=not head)
    if head:
        return grid
    fault = ""
    if problem:  # sloppy quotes are fine as long as none swallows a line
        grid = TextGrid(rows=[], places=[], place="line")
        fault = _quoted(grid, part, first, mark, strict=False)
    for row, at in zip(grid.rows, grid.places, strict=True):
        if not fault and any(_swallowed(cell, mark, sloppy=bool(problem)) for cell in row):
            fault = problem or f"line {at}: a cell of several lines holds the start of a row"
    if fault:
        raise DataError(f"{path}: {fault}; a quote is missing or too many here or above")
    return grid


def _swallowed(cell: str, mark: str, *, sloppy: bool) -> bool:
    """Whether a cell of several lines holds what looks like the start of a row.

    Where quotes are `sloppy`, a digit at the start of a line is enough.
    """
    starts = [line.split(mark)[0].strip('" ') for line in cell.split("\n")[1:]]
    if sloppy:
        return any(map(looks_like_a_date, starts))
    return any(is_dated(start) or re.fullmatch("[0-9]{5,19}", start) for start in starts)


def _quoted(grid: TextGrid, part: Sequence[str], first: int, mark: str, *, strict: bool) -> str:
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


def _merit(grid: TextGrid, wanted: Wanted, layout: FileLayout) -> tuple[bool, float, int]:
    """How well a delimiter fits: the header is found, rows are as wide as it, many columns."""
    try:
        header = find_header(grid, wanted, layout)
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


# --- workbooks


def _of_workbook(
    path: Path, raw: bytes, wanted: Wanted, layout: FileLayout, faults: Faults
) -> Read:
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
    read = table_of(path, sheets[chosen], wanted, layout, faults)
    return Read(table=read.table, notes=(f"Sheet '{chosen}'.", *read.notes))


def _sheets(path: Path, raw: bytes) -> dict[str, TextGrid]:
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
        grid = TextGrid(rows=[], places=[], place="row")
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
        return Declared(repr(value))
    return str(value)


def _has_header(grid: TextGrid, wanted: Wanted, layout: FileLayout) -> bool:
    try:
        return find_header(grid, wanted, layout) is not None
    except DataError:
        return True


# --- Parquet and Feather


def _of_arrow(path: Path, raw: bytes, wanted: Wanted) -> Read:
    table = tables.read_arrow_table(path, raw)
    asked = set(wanted.names)
    parts = [(name,) if name in asked else _levels(name) for name in table.names]
    notes = []
    index = [column for column, part in enumerate(parts) if " ".join(part) in NAMELESS]
    dated = len(index) == 1 and all(map(is_dated, table.cells[index[0]][:20]))
    if dated and not any(wanted.date in part for part in parts):
        parts[index[0]] = (wanted.date,)
        notes.append(f"The index has no name and holds dates: taken as '{wanted.date}'.")
    try:
        names = named(parts, wanted)
    except DataError as problem:
        raise DataError(f"{path}: {problem}") from None
    if names is None:
        known = [" ".join(part) for part in parts]
        missing = next((name for name in wanted.names if name not in known), wanted.date)
        raise DataError(f"{path}: no column '{missing}'; columns are {', '.join(known[:20])}")
    if whole := full_name(parts, names, wanted):
        notes.append(f"Columns have several levels{whole}.")
    typed = {new for new, old in zip(names, table.names, strict=True) if old in table.typed}
    found = replace(table, names=tuple(names), typed=frozenset(typed))
    return Read(table=found, notes=tuple(notes))


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
