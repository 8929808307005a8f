"""Anybody's file as a table of text: CSV and its relatives, Excel workbooks, Parquet and Feather.

What a file is shows in its first bytes, not in its name. The header is the row, or the few rows,
that have the names that are looked for; text above and below the table goes, and everything left
out is said. What cells mean is read elsewhere.

The wanted names are the date's column, the target's, then all others.
"""

from __future__ import annotations

import ast
import csv
import io
import re
import zipfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.data import tables
from harness.data.dates import is_dated, looks_like_a_date
from harness.data.import_options import ImportOptions
from harness.data.number_forms import looks_like_a_number
from harness.data.tables import (
    MOST_SKIPPED,
    Declared,
    Faults,
    TextGrid,
    TextTable,
    count_text,
    is_missing,
    plain_name,
    shown,
)
from harness.errors import DataError, meant, nearest

_HEAD = 200
"""Rows in which a header is looked for."""

_NAMELESS = ("", "Unnamed: 0", "__index_level_0__")
"""What a column without a name is called in files of pandas."""

_DELIMITERS = {
    ",": "",
    ";": "semicolon",
    "\t": "tab",
    "|": "bar",
    "  ": "white space",
    " ": "white space",
}
"""What may stand between columns; two spaces stand for two or more, one for any white space."""

_LONGEST_CELL = 20
"""Lines of a quoted cell; one of more comes from a quote that was not closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Where the data start, and what each column is called; wanted ones by the wanted name."""

    first: int
    stop: int
    names: list[str]
    note: str = ""


def read_table(
    path: Path, raw: bytes, wanted: Sequence[str], options: ImportOptions, faults: Faults
) -> TextTable:
    """Find the table in a file; rows that do not fit its header go to `faults`.

    Parameters
    ----------
    path, raw
        Name, for errors, and content of the file.
    wanted
        Columns that must be there; the table calls them by these names.

    Raises
    ------
    DataError
        When there is no such table: one line that says what the file is instead.
    """
    if tables.is_arrow(raw):
        return _of_arrow(path, raw, wanted)
    if raw.startswith(b"PK\x03\x04"):
        return _of_workbook(path, raw, wanted, options, faults)
    hint = "save it as UTF-8, or name its encoding, as in --encoding cp1252"
    text = tables.decode(path, raw, encoding=options.encoding, hint=hint)
    tables.expect_table(path, text)
    if "\0" in text[:2000]:
        wide = "32" if "\0\0" in text[:4] else "16"
        name = f"utf-{wide}-{'be' if text.startswith(chr(0)) else 'le'}"
        raise DataError(f"{path}: not text; if it is UTF-{wide}, use --encoding {name}")
    filled = [line for line in text.splitlines() if line.strip()]
    named = any(name and name in line for name in wanted for line in filled)
    if 1 <= len(filled) <= 3 and not named and not any(map(looks_like_a_date, filled)):
        whole = " ".join(" ".join(filled).split())  # what a server answers instead of a table
        raise DataError(f"{path}: not a table; it says {shown(whole)}")
    return _of_text(path, text, wanted, options, faults)


def first_cells(path: Path, raw: bytes, *, known: Collection[str]) -> dict[str, list[str]]:
    """The first cells of each column of a file that nothing is known of; none without a header.

    Parameters
    ----------
    known
        Names, in lower case, that a row without a column of dates below it is a header by.
    """
    if tables.is_arrow(raw):
        table = tables.read_arrow_table(path, raw)
        every = zip(table.names, table.cells, strict=True)
        return {" ".join(_levels(name)): list(cells[:20]) for name, cells in every}
    if raw.startswith(b"PK\x03\x04"):
        grids = list(tables.read_sheets(path, raw).values())
    else:
        lines = tables.decode(path, raw).splitlines()[:_HEAD]
        grids = [_split(path, lines, 0, mark, head=True) for mark in _DELIMITERS]
    for grid in grids:
        for first, row in enumerate(grid.rows[:50]):
            titles = [plain_name(cell) for cell in row]
            below = [cells for cells in grid.rows[first + 1 :] if len(cells) == len(row)][:20]
            columns = dict(zip(titles, map(list, zip(*below, strict=True)), strict=bool(below)))
            named = any(title.lower() in known for title in titles)
            dated = any(all(map(is_dated, cells)) for cells in columns.values())
            if len(columns) > 1 and (named or dated) and not any(map(is_dated, row)):
                return columns
    return {}


# --- text


def _of_text(
    path: Path, text: str, wanted: Sequence[str], options: ImportOptions, faults: Faults
) -> TextTable:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    start, marks = 0, list(_DELIMITERS)
    if said := re.fullmatch(r'\s*"?sep=(.)"?\s*', lines[0], re.IGNORECASE):
        start, marks = 1, [said[1], *_DELIMITERS]
    if options.delimiter:
        marks = [{"\\t": "\t", "tab": "\t"}.get(options.delimiter, options.delimiter)]
    if any(len(mark) != 1 and mark != "  " for mark in marks):
        raise DataError(f"--delimiter {shown(options.delimiter or '')}: expected one character")
    tried = [
        (
            _merit(
                _split(path, lines[first : first + _HEAD], first, mark, head=True), wanted, options
            ),
            mark,
            first,
        )
        for mark in marks
        for first in _starts(lines, start, mark, wanted, options)
    ]
    _, mark, first = max(tried, key=lambda each: each[0])  # the first of the best
    grid = _split(path, lines[first:], first, mark)
    if not grid.rows:
        raise DataError(f"{path}: empty file; expected a header and rows")
    between = _DELIMITERS.get(mark, "white space" if mark.isspace() else shown(mark))
    notes = [f"Columns are separated by: {between}."] if between else []
    if above := [line for line in lines[start:first] if line.strip()]:
        cells = [[cell.strip('"') for cell in line.split(mark)] for line in above]
        notes.append(_left_out_above(path, cells, f"line {first + 1}", "line"))
    table = _table_of(path, grid, wanted, options, faults)
    return replace(table, notes=(*notes, *table.notes), separator=between or "comma")


def _starts(
    lines: Sequence[str], start: int, mark: str, wanted: Sequence[str], options: ImportOptions
) -> Iterator[int]:
    """Lines from which to split: the first, and the header if a quote above would swallow it."""
    yield start
    if options.header is None and any('"' in line for line in lines[start:_HEAD]):
        for number, line in enumerate(lines[start + 1 : _HEAD], start=start + 1):
            names = {plain_name(cell) for cell in next(csv.reader([line], delimiter=mark[0]), [])}
            if names.issuperset(wanted):
                yield number
                return


def _split(
    path: Path, lines: Sequence[str], first: int, mark: str, *, head: bool = False
) -> TextGrid:
    """Rows of some lines of which the first is line `first` + 1; of a `head`, without checks."""
    grid = TextGrid(rows=[], places=[], place="line")
    if mark.isspace() and mark != "\t":
        between = re.compile(r"\t| {2,}" if mark == "  " else r"\s+")
        for number, line in enumerate(lines, start=first + 1):
            if line.strip():
                grid.rows.append([cell.strip('"') for cell in between.split(line.strip())])
                grid.places.append(number)
        return grid
    problem = _quoted(grid, lines, first, mark, strict=not head)
    if head:
        return grid
    fault = ""
    if problem:  # sloppy quotes are fine as long as none swallows a line
        grid = TextGrid(rows=[], places=[], place="line")
        fault = _quoted(grid, lines, first, mark, strict=False)
    for number, row in enumerate(grid.rows):
        for cell in row if not fault else ():
            starts = [line.split(mark)[0].strip('" ') for line in cell.split("\n")[1:]]
            if any(
                looks_like_a_date(begin)
                if problem
                else is_dated(begin) or re.fullmatch("[0-9]{5,19}", begin)
                for begin in starts
            ):
                swallowed = "a cell of several lines holds the start of a row"
                fault = problem or f"{grid.at(number)}: {swallowed}"
    if fault:
        raise DataError(f"{path}: {fault}; a quotation mark is missing or extra, here or above")
    return grid


def _quoted(grid: TextGrid, lines: Sequence[str], first: int, mark: str, *, strict: bool) -> str:
    """Split lines with quotes into the grid; what is wrong with them, or blank."""
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=mark, strict=strict)
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


def _merit(
    grid: TextGrid, wanted: Sequence[str], options: ImportOptions
) -> tuple[bool, float, int]:
    """How well a delimiter fits: the header is found, rows are as wide as it, many columns."""
    try:
        header = _find_header(grid, wanted, options)
    except DataError:  # found, but not unique
        return (True, 0.0, 0)
    if header is None:
        hits = max((len({*row} & {*wanted}) for row in grid.rows), default=0)
        width = _usual_width(grid.rows)
        return (False, hits if width > 1 else 0, width)  # what parts no rows is no delimiter
    width, below = len(header.names), grid.rows[header.stop :]
    fit = sum(len(row) >= width and not any(map(str.strip, row[width:])) for row in below)
    return (True, fit / max(1, len(below)), width)


def _usual_width(rows: Sequence[Sequence[str]]) -> int:
    widths = [len(row) for row in rows[:_HEAD]]
    return max(widths, key=widths.count, default=0)


# --- other kinds of file


def _of_workbook(
    path: Path, raw: bytes, wanted: Sequence[str], options: ImportOptions, faults: Faults
) -> TextTable:
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
    sheets = tables.read_sheets(path, raw)
    if options.sheet is not None and options.sheet not in sheets:
        near = meant(options.sheet, sheets)
        raise DataError(f"{path}: no sheet '{options.sheet}'{near}; sheets are {', '.join(sheets)}")
    names = [options.sheet] if options.sheet else list(sheets)
    fitting = [name for name in names if _merit(sheets[name], wanted, options)[0]]
    if len(fitting) > 1:
        several = ", ".join(fitting)
        raise DataError(
            f"{path}: {len(fitting)} sheets have these columns: {several}; choose one with --sheet"
        )
    chosen = fitting[0] if fitting else max(names, key=lambda name: len(sheets[name].rows))
    if not sheets[chosen].rows:
        raise DataError(f"{path}: sheet '{chosen}' is empty; expected a header and rows")
    table = _table_of(path, sheets[chosen], wanted, options, faults)
    return replace(table, notes=(f"Sheet '{chosen}'.", *table.notes), separator="cells of a sheet")


def _of_arrow(path: Path, raw: bytes, wanted: Sequence[str]) -> TextTable:
    table = tables.read_arrow_table(path, raw, zoned=True)
    parts = [(name,) if name in wanted else _levels(name) for name in table.names]
    notes = []
    index = [column for column, part in enumerate(parts) if " ".join(part) in _NAMELESS]
    dated = len(index) == 1 and all(map(is_dated, table.cells[index[0]][:20]))
    if dated and not any(wanted[0] in part for part in parts):
        parts[index[0]] = (wanted[0],)
        notes.append(f"The index has no name and holds dates: taken as '{wanted[0]}'.")
    try:
        names = _named(parts, wanted)
    except DataError as problem:
        raise DataError(f"{path}: {problem}") from None
    if names is None:
        known = [" ".join(part) for part in parts]
        lacking = [name for name in wanted if name not in known] or [wanted[0]]
        said = ", ".join(f"no column '{name}'" for name in lacking)
        hint = _near(lacking, known)
        raise DataError(f"{path}: {said}; columns are {', '.join(known[:20])}{hint}")
    if whole := _full_name(parts, names, wanted):
        notes.append(f"Columns have several levels{whole}.")
    typed = {new for new, old in zip(names, table.names, strict=True) if old in table.typed}
    return replace(table, names=tuple(names), typed=frozenset(typed), notes=tuple(notes))


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


# --- header


def _find_header(grid: TextGrid, wanted: Sequence[str], options: ImportOptions) -> Header | None:
    """The row, or the rows, that have the wanted names; None if no row has.

    A wanted name that stands there twice is a `DataError` that names the place, not the file.
    """
    rows = [[plain_name(cell) for cell in row] for row in grid.rows[:_HEAD]]
    if options.header is not None:
        return _header_as_told(rows, grid, wanted, options.header)
    for first, row in enumerate(rows):
        if set(wanted) <= set(row):
            twice = any(row.count(name) > 1 for name in wanted if name)
            depth = 1  # names that are there twice are told apart by up to three lines below
            for below in rows[first + 1 : first + 4] if twice else ():
                if looks_like_a_date(below[0]) or any(map(is_dated, below)):
                    break
                depth += 1
            names = _named(_parts(rows, first, first + depth), wanted, at=f"{grid.at(first)}: ")
            return Header(first=first, stop=first + depth, names=names) if names else None
    for first in range(min(50, len(rows))):
        for depth in (2, 3, 4):
            if first + depth >= len(rows) or any(map(is_dated, rows[first + depth - 1])):
                break
            parts = _parts(rows, first, first + depth)
            if names := _named(parts, wanted, at=f"{grid.at(first)}: "):
                note = f"The header has {depth} lines{_full_name(parts, names, wanted)}."
                return Header(first=first, stop=first + depth, names=names, note=note)
    return _nameless_dates(rows, wanted)


def _nameless_dates(rows: list[list[str]], wanted: Sequence[str]) -> Header | None:
    """A header without the wanted date whose first column has no name and holds dates."""
    for first, row in enumerate(rows):
        if not row or row[0] not in _NAMELESS or not set(wanted[1:]) <= set(row):
            continue
        below = [cells for cells in rows[first + 1 :] if len(cells) >= len(row)][:20]
        dated = [all(is_dated(cells[column]) for cells in below) for column in range(len(row))]
        if below and dated[0] and sum(dated) == 1:
            names = _named([(wanted[0],), *((name,) for name in row[1:])], wanted)
            note = f"The first column has no name and holds dates: taken as '{wanted[0]}'."
            return Header(first=first, stop=first + 1, names=names, note=note) if names else None
    return None


def _header_as_told(
    rows: list[list[str]], grid: TextGrid, wanted: Sequence[str], told: str
) -> Header | None:
    if told.isdigit():
        if int(told) not in grid.places[: len(rows)]:
            last = grid.places[len(rows) - 1] if rows else 0
            raise DataError(f"--header {told}: expected one of its first lines, up to {last}")
        first = grid.places.index(int(told))
        names = _named([(name,) for name in rows[first]], wanted, at=f"{grid.at(first)}: ")
        return Header(first=first, stop=first + 1, names=names) if names else None
    usual = _usual_width(rows)
    given = [plain_name(name) for name in told.split(",")]
    if told == "none":
        given = [str(number + 1) for number in range(usual)]
    elif len(given) < usual:
        found = f"--header has {count_text(len(given), 'name')}, the file {usual} columns"
        raise DataError(f"{found}; name them all")
    first = next((row for row, cells in enumerate(rows) if len(cells) == usual), 0)
    names = _named([(name,) for name in given], wanted)
    return Header(first=first, stop=first, names=names) if names else None


def _parts(rows: list[list[str]], first: int, stop: int) -> list[tuple[str, ...]]:
    """What stands above each column in some rows, blanks left out."""
    width = max(len(row) for row in rows[first:stop])
    filled = [row + [""] * (width - len(row)) for row in rows[first:stop]]
    return [tuple(filter(None, column)) for column in zip(*filled, strict=True)]


def _named(
    parts: Sequence[tuple[str, ...]], wanted: Sequence[str], *, at: str = ""
) -> list[str] | None:
    """Names of all columns, wanted ones by the wanted name; None if one is not there.

    `DataError` when one is there twice.
    """
    names = [" ".join(part) for part in parts]
    called, taken = list(names), set()
    for name in wanted:
        hits = [column for column, whole in enumerate(names) if whole == name]
        hits = hits or [column for column, part in enumerate(parts) if name in part]
        if not hits:
            return None
        if len(hits) > 1 and name:
            several = [shown(names[column]) for column in hits]
            which = f" as {', '.join(several)}: name one" if len({*several}) > 1 else ""
            hint = which or "; --header a,b,c renames all columns"
            raise DataError(f"{at}column '{name}' appears {len(hits)} times{hint}")
        called[hits[0]] = name
        taken.add(hits[0])
    return called if len(taken) == len(wanted) else None


def _full_name(
    parts: Sequence[tuple[str, ...]], names: Sequence[str], wanted: Sequence[str]
) -> str:
    """What the target is called in full, where its header has several lines."""
    full = " ".join(parts[names.index(wanted[1])])
    return "" if full == wanted[1] else f": '{wanted[1]}' is '{full}'"


def _no_header(
    path: Path, grid: TextGrid, wanted: Sequence[str], options: ImportOptions
) -> DataError:
    """Say which column is not there, what is, and what would help."""
    usual = _usual_width(grid.rows)
    first = next(row for row, cells in enumerate(grid.rows) if len(cells) == usual)
    row = [plain_name(cell) for cell in grid.rows[first]]
    for number, cells in enumerate(grid.rows[:_HEAD]):
        names = [plain_name(cell) for cell in cells]
        told = str(grid.places[number]) == options.header
        if told or (set(names) & set(wanted) and options.header is None):
            row, first = names, number
            break
    lacking = [name for name in wanted if name not in row] or [wanted[0]]
    missing, also = lacking[0], "".join(f", no '{name}'" for name in lacking[1:])
    head = f"{path}: {grid.at(first)}: no column '{missing}'"
    if options.header == "none":
        return DataError(f"{head}{also}; columns are 1 to {len(row)}")
    if any(map(is_dated, row)) or sum(map(looks_like_a_number, row)) > len(row) / 2:
        numbers = "--header none and columns by number, as in --date 1 --target 2"
        hint = f"use {numbers}, or name them with --header date,open,close"
        return DataError(f"{head}: this looks like data, not a header; {hint}")
    known = ", ".join(name or "'' (no name)" for name in row[:20])
    known += ", ..." if len(row) > 20 else ""
    hint = _near(lacking, row) or ("; --header a,b,c renames all columns" if "" in row else "")
    if len(row) == 1 and (marks := re.findall(r"[^\w\s]", row[0])):
        hint = f"; if '{marks[0]}' separates columns, use --delimiter '{marks[0]}'"
    return DataError(f"{head}{also}; columns are {known}{hint}")


def _near(lacking: Sequence[str], there: Sequence[str]) -> str:
    """Which columns may be meant by those that are not there."""
    longer = {name: next((n for n in there if n.startswith(f"{name} ")), "") for name in lacking}
    found = [longer[name] or nearest(name, filter(None, there)) for name in lacking]
    names = ", ".join(f"'{name}'" for name in dict.fromkeys(filter(None, found)))
    return f"; did you mean {names}?" if names else ""


# --- table


def _table_of(
    path: Path, grid: TextGrid, wanted: Sequence[str], options: ImportOptions, faults: Faults
) -> TextTable:
    """The table in rows of text; rows that do not fit its header go to `faults`."""
    try:
        header = _find_header(grid, wanted, options)
    except DataError as problem:
        raise DataError(f"{path}: {problem}") from None
    if header is None:
        raise _no_header(path, grid, wanted, options)
    notes = [header.note] if header.note else []
    above = [row for row in grid.rows[: header.first] if any(map(str.strip, row))]
    if above and options.header is None:
        notes.append(_left_out_above(path, above, grid.at(header.first), "row"))
    rows, places = _body(grid, header, wanted, options, faults, notes)
    if not rows:
        faults.raise_any()
        there = f"a header but no rows; columns are {', '.join(header.names)}"
        raise DataError(f"{path}: {grid.at(header.first)}: {there}")
    cells = tuple(zip(*rows, strict=True))
    typed = {
        name
        for name, column in zip(header.names, cells, strict=True)
        if any(isinstance(cell, Declared) for cell in column)
        and all(isinstance(cell, Declared) or is_missing(cell.strip()) for cell in column)
    }
    return TextTable(
        path=path,
        names=tuple(header.names),
        cells=cells,
        places=places,
        place=grid.place,
        typed=frozenset(typed),
        notes=tuple(notes),
    )


def _left_out_above(path: Path, rows: Sequence[Sequence[str]], header: str, noun: str) -> str:
    """What to say of rows above a header.

    `DataError` when more than two of them hold two dates or numbers each.
    """
    data = sum(
        sum(is_dated(cell) or looks_like_a_number(cell) for cell in row) >= 2 for row in rows
    )
    if data > 2:
        hint = "a second header? remove it, or choose one with --header LINE"
        raise DataError(f"{path}: {header}: {data} rows of data are above this header; {hint}")
    return f"The header is {header}; {count_text(len(rows), noun)} above it left out."


_Numbered = list[tuple[list[str], int]]
"""Rows with their places."""


def _body(
    grid: TextGrid,
    header: Header,
    wanted: Sequence[str],
    options: ImportOptions,
    faults: Faults,
    notes: list[str],
) -> tuple[list[list[str]], list[int]]:
    """Rows of the table with their places; every other row is in `notes` or in `faults`."""
    below = list(zip(grid.rows[header.stop :], grid.places[header.stop :], strict=True))
    numbered = [(row, at) for row, at in below if any(map(str.strip, row))]
    if blank := len(below) - len(numbered):
        notes.append(f"{count_text(blank, 'empty row')} skipped.")
    if options.skip_last:
        notes.append(f"{count_text(options.skip_last, 'row')} at the end left out (--skip-last).")
        numbered = numbered[: -options.skip_last]
    noted = [row[0].lstrip().startswith("#") and len(row) == 1 for row, _ in numbered]
    if any(noted):
        notes.append(f"{count_text(sum(noted), 'comment')} (#) skipped.")
        numbered = [each for each, note in zip(numbered, noted, strict=True) if not note]
    titles = [plain_name(cell) for cell in grid.rows[header.first]]
    again = [at for row, at in numbered if [plain_name(cell) for cell in row] == titles]
    if again and header.stop > header.first:
        times = f"{count_text(len(again), 'time')}, first in {grid.place} {again[0]}"
        notes.append(f"The header repeated {times}: skipped.")
        numbered = [(row, at) for row, at in numbered if at not in set(again)]
    numbered = _without_edges(numbered, header, wanted, grid.place, notes)
    numbered = _fitted(numbered, header, wanted, notes)
    width = len(header.names)
    if wrong := [each for each in numbered if len(each[0]) != width]:
        row, at = wrong[0]
        found = f"{count_text(len(row), 'value')} in {shown(','.join(row))}; the header has {width}"
        if len(wrong) == len(numbered) and len(row) > width:
            found += "; with decimal commas, columns need another separator"
        more = f" (and {len(wrong) - 1} more such rows)" if len(wrong) > 1 else ""
        if len(wrong) <= MOST_SKIPPED and numbered[-len(wrong) :] == wrong:
            more += f"; it is at the end, --skip-last {len(wrong)} leaves it out"
        faults.add(f"{grid.place} {at}: {found}{more}")
    kept = [each for each in numbered if len(each[0]) == width]
    return [row for row, _ in kept], [at for _, at in kept]


def _without_edges(
    numbered: _Numbered, header: Header, wanted: Sequence[str], place: str, notes: list[str]
) -> _Numbered:
    """Rows without those below the header and at the end that hold neither date nor number."""
    date, other = header.names.index(wanted[0]), header.names.index(wanted[1])

    def is_text(row: list[str]) -> bool:
        on = row[date] if date < len(row) else row[0]
        value = row[other] if other < len(row) else ""
        dated = looks_like_a_date(on, alone=len(row) < len(header.names))
        return not dated and not looks_like_a_number(value)

    start, stop = 0, len(numbered)
    for row, _ in numbered[:4]:  # units, tickers, types
        if not is_text(row) or re.search("[0-9]", "".join(row[date : date + 1])):
            break
        start += 1
    while stop > start and is_text(numbered[stop - 1][0]) and stop > len(numbered) - 50:
        stop -= 1
    if stop <= start:
        return numbered
    if start:
        notes.append(f"{count_text(start, 'row')} below the header held no data: skipped.")
    if stop < len(numbered):
        row, at = numbered[stop]
        said = shown(" ".join(filter(None, map(str.strip, row))))
        left = count_text(len(numbered) - stop, "row")
        notes.append(f"{left} below the table left out, first {place} {at}: {said}.")
    return numbered[start:stop]


def _fitted(
    numbered: _Numbered, header: Header, wanted: Sequence[str], notes: list[str]
) -> _Numbered:
    """Rows without empty cells beyond the header, and without R's column of row names.

    Columns at the end that have neither a name nor, for the most part, a value go from the header.
    """
    names = header.names
    while not names[-1] and len(names) > 1:
        filled = sum(bool("".join(row[len(names) - 1 : len(names)]).strip()) for row, _ in numbered)
        if filled > len(numbered) / 2:
            break
        names.pop()
    width = len(names)
    longer = {at for row, at in numbered if row[width:] and not any(map(str.strip, row[width:]))}
    fitted = [(row[:width] if at in longer else row, at) for row, at in numbered]
    if longer:
        notes.append(
            f"{count_text(len(longer), 'row')} had empty cells beyond the header: dropped."
        )
    date = names.index(wanted[0])
    one_more = bool(fitted) and all(len(row) == width + 1 for row, _ in fitted)
    if one_more and all(is_dated(row[date + 1]) and not is_dated(row[date]) for row, _ in fitted):
        notes.append("Each row begins with a name that the header lacks: dropped.")
        fitted = [(row[1:], at) for row, at in fitted]
    return fitted
