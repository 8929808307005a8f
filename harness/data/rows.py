"""Rows of text as a table: which of them is the header, and where the table ends.

The header is the row, or the few rows, that have the names that are looked for. Text above and
below the table goes, and everything left out is said.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.data.dates import is_dated, looks_like_a_date
from harness.data.number_forms import looks_like_a_number
from harness.data.oddities import count_text
from harness.data.tables import MOST_SKIPPED, Declared, Faults, TextTable, plain_name, shown
from harness.data.text import is_missing
from harness.errors import DataError

HEAD = 200
"""Rows in which a header is looked for."""

NAMELESS = ("", "Unnamed: 0", "__index_level_0__")
"""What a column without a name is called in files of pandas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLayout:
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
        """All of them, the date first."""
        return (self.date, *self.others)


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A table and what is worth saying about how it was found."""

    table: TextTable
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextGrid:
    """Rows of a text file or a sheet, of any width, each with its place."""

    rows: list[list[str]]
    places: list[int]
    place: Literal["line", "row"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Where the data start, and what each column is called; wanted ones by the wanted name."""

    first: int
    stop: int
    names: list[str]
    notes: tuple[str, ...] = ()


def table_of(
    path: Path, grid: TextGrid, wanted: Wanted, layout: FileLayout, faults: Faults
) -> Read:
    """Find the table in rows of text; rows that do not fit its header go to `faults`.

    Raises
    ------
    DataError
        When no row has the wanted names, or one of them twice, or there are no rows below.
    """
    try:
        header = find_header(grid, wanted, layout)
    except DataError as problem:
        raise DataError(f"{path}: {problem}") from None
    if header is None:
        raise _no_header(path, grid, wanted, layout)
    notes = list(header.notes)
    above = [row for row in grid.rows[: header.first] if any(map(str.strip, row))]
    if above and layout.header is None:
        where = f"{grid.place} {grid.places[header.first]}"
        refuse_data_above(path, above, where)
        notes.append(f"The header is {where}; {count_text(len(above), 'row')} above it left out.")
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
        and any(isinstance(cell, Declared) for cell in column)
        and all(isinstance(cell, Declared) or is_missing(cell.strip()) for cell in column)
    }
    table = TextTable(
        path=path,
        names=tuple(header.names),
        cells=cells,
        places=places,
        place=grid.place,
        typed=frozenset(typed),
    )
    return Read(table=table, notes=tuple(notes))


def refuse_data_above(path: Path, rows: Sequence[Sequence[str]], where: str) -> None:
    """Demand that what stands above a header is text.

    Raises
    ------
    DataError
        When more than two rows hold two dates or numbers each.
    """
    data = sum(
        sum(is_dated(cell) or looks_like_a_number(cell) for cell in row) >= 2 for row in rows
    )
    if data > 2:
        hint = "a second header? take it out, or say which counts by --header LINE"
        raise DataError(f"{path}: {where}: {data} rows of data stand above this header; {hint}")


def find_header(grid: TextGrid, wanted: Wanted, layout: FileLayout) -> Header | None:
    """The row, or the rows, that have the wanted names; None if no row has.

    Raises
    ------
    DataError
        When a wanted name stands there twice: the place, not the file.
    """
    rows = [[plain_name(cell) for cell in row] for row in grid.rows[:HEAD]]
    if layout.header is not None:
        return _header_as_told(rows, grid, wanted, layout.header)
    for first, row in enumerate(rows):
        if set(wanted.names) <= set(row):
            twice = any(row.count(name) > 1 for name in wanted.names if name)
            depth = _depth(rows, first) if twice else 1
            names = named(_parts(rows, first, first + depth), wanted, at=_place(grid, first))
            return Header(first=first, stop=first + depth, names=names) if names else None
    for first in range(min(50, len(rows))):
        for depth in (2, 3, 4):
            if first + depth >= len(rows) or any(map(is_dated, rows[first + depth - 1])):
                break
            parts = _parts(rows, first, first + depth)
            if names := named(parts, wanted, at=_place(grid, first)):
                note = f"The header has {depth} lines{full_name(parts, names, wanted)}."
                return Header(first=first, stop=first + depth, names=names, notes=(note,))
    return _nameless_dates(rows, wanted)


def full_name(parts: Sequence[tuple[str, ...]], names: Sequence[str], wanted: Wanted) -> str:
    """What the target is called in full, where its header has several lines."""
    full = " ".join(parts[names.index(wanted.others[0])])
    return "" if full == wanted.others[0] else f": '{wanted.others[0]}' is '{full}'"


def _place(grid: TextGrid, row: int) -> str:
    return f"{grid.place} {grid.places[row]}: "


def _header_as_told(
    rows: list[list[str]], grid: TextGrid, wanted: Wanted, told: str
) -> Header | None:
    if told.isdigit():
        if int(told) not in grid.places[: len(rows)]:
            return None
        first = grid.places.index(int(told))
        names = named([(name,) for name in rows[first]], wanted, at=_place(grid, first))
        return Header(first=first, stop=first + 1, names=names) if names else None
    widths = [len(row) for row in rows]
    usual = max(widths, key=widths.count, default=0)
    given = [plain_name(name) for name in told.split(",")]
    if told == "none":
        given = [str(number + 1) for number in range(usual)]
    elif len(given) < usual:
        found = f"--header has {count_text(len(given), 'name')}, the file {usual} columns"
        raise DataError(f"{found}; name them all")
    first = next((row for row, width in enumerate(widths) if width == usual), 0)
    names = named([(name,) for name in given], wanted)
    return Header(first=first, stop=first, names=names) if names else None


def _depth(rows: list[list[str]], first: int) -> int:
    """Rows from a header on that hold no date and begin with no digit, at most 4."""
    depth = 1
    while depth < 4 and first + depth < len(rows):
        row = rows[first + depth]
        if looks_like_a_date(row[0]) or any(map(is_dated, row)):
            break
        depth += 1
    return depth


def _parts(rows: list[list[str]], first: int, stop: int) -> list[tuple[str, ...]]:
    """What stands above each column in some rows, blanks left out."""
    width = max(len(row) for row in rows[first:stop])
    filled = [row + [""] * (width - len(row)) for row in rows[first:stop]]
    return [tuple(filter(None, column)) for column in zip(*filled, strict=True)]


def named(parts: Sequence[tuple[str, ...]], wanted: Wanted, *, at: str = "") -> list[str] | None:
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


def _nameless_dates(rows: list[list[str]], wanted: Wanted) -> Header | None:
    """A header without the wanted date whose first column has no name and holds dates."""
    for first, row in enumerate(rows):
        if not row or row[0] not in NAMELESS or not set(wanted.others) <= set(row):
            continue
        below = [cells for cells in rows[first + 1 :] if len(cells) >= len(row)][:20]
        dated = [
            column
            for column in range(len(row))
            if below and all(is_dated(cells[column]) for cells in below)
        ]
        if dated == [0]:
            names = named([(wanted.date,), *((name,) for name in row[1:])], wanted)
            note = f"The first column has no name and holds dates: taken as '{wanted.date}'."
            return (
                Header(first=first, stop=first + 1, names=names, notes=(note,)) if names else None
            )
    return None


def _no_header(path: Path, grid: TextGrid, wanted: Wanted, layout: FileLayout) -> DataError:
    """Say which column is not there, what is, and what would help."""
    widths = [len(row) for row in grid.rows[:HEAD]]
    usual = max(widths, key=widths.count)
    first = next(row for row, width in enumerate(widths) if width == usual)
    row = [plain_name(cell) for cell in grid.rows[first]]
    for at, others in zip(grid.places, grid.rows[:HEAD], strict=False):
        names = [plain_name(cell) for cell in others]
        if str(at) == layout.header or (set(names) & set(wanted.names) and layout.header is None):
            row, first = names, grid.rows.index(others)
            break
    where = f"{path}: {grid.place} {grid.places[first]}: "
    lacking = [name for name in wanted.names if name not in row] or [wanted.date]
    missing, also = lacking[0], "".join(f", no '{name}'" for name in lacking[1:])
    if layout.header == "none":
        return DataError(f"{where}no column '{missing}'{also}; columns are 1 to {len(row)}")
    if any(map(is_dated, row)) or sum(map(looks_like_a_number, row)) > len(row) / 2:
        numbers = "--header none and columns by number, as --date 1 --target 2"
        hint = f"say {numbers}, or name them by --header date,open,close"
        return DataError(
            f"{where}no column '{missing}': this looks like data, not a header; {hint}"
        )
    known = ", ".join(name or "'' (no name)" for name in row[:20])
    known += ", ..." if len(row) > 20 else ""
    close = difflib.get_close_matches(missing.casefold(), [n.casefold() for n in row if n], 1, 0.8)
    meant = next((name for name in row if close and name.casefold() == close[0]), None)
    meant = meant or next((name for name in row if name.startswith(f"{missing} ")), None)
    hint = f"; is '{meant}' meant?" if meant else ""
    if len(row) == 1 and (marks := re.findall(r"[^\w\s]", row[0])) and not hint:
        hint = f"; if '{marks[0]}' stands between columns, --delimiter '{marks[0]}'"
    if "" in row and not hint:
        hint = "; --header a,b,c names all columns anew"
    return DataError(f"{where}no column '{missing}'{also}; columns are {known}{hint}")


def _body(
    grid: TextGrid,
    header: Header,
    wanted: Wanted,
    layout: FileLayout,
    faults: Faults,
    notes: list[str],
) -> tuple[list[list[str]], list[int]]:
    """Rows of the table with their places; every other row is in `notes` or in `faults`."""
    rows, places = grid.rows[header.stop :], grid.places[header.stop :]
    numbered = [(row, at) for row, at in zip(rows, places, strict=True) if any(map(str.strip, row))]
    if blank := len(rows) - len(numbered):
        notes.append(f"{count_text(blank, 'empty row')} skipped.")
    if layout.skip_last:
        notes.append(f"{count_text(layout.skip_last, 'row')} at the end left out (--skip-last).")
        numbered = numbered[: -layout.skip_last]
    titles = [plain_name(cell) for cell in grid.rows[header.first]]
    noted = {at for row, at in numbered if row[0].lstrip().startswith("#") and len(row) == 1}
    if noted:
        notes.append(f"{count_text(len(noted), 'comment')} (#) skipped.")
        numbered = [(row, at) for row, at in numbered if at not in noted]
    again = [at for row, at in numbered if [plain_name(cell) for cell in row] == titles]
    if again and header.stop > header.first:
        notes.append(
            f"The header repeated {count_text(len(again), 'time')}, first in {grid.place} "
            f"{again[0]}: skipped."
        )
        numbered = [(row, at) for row, at in numbered if at not in set(again)]
    numbered = _without_edges(numbered, header, wanted, grid.place, notes)
    numbered = _fitted(numbered, header, wanted, notes)
    width = len(header.names)
    wrong = [(row, at) for row, at in numbered if len(row) != width]
    if wrong:
        row, at = wrong[0]
        found = f"{count_text(len(row), 'value')} in {shown(','.join(row))}; the header has {width}"
        last = f"; it is the last row, --skip-last {len(wrong)} leaves it out"
        if len(wrong) == len(numbered) and len(row) > width:
            found += "; a decimal comma needs another sign between columns"
        more = f" (and {len(wrong) - 1} more such rows)" if len(wrong) > 1 else ""
        at_end = len(wrong) <= MOST_SKIPPED and numbered[-len(wrong) :] == wrong
        faults.add(f"{grid.place} {at}: {found}{more}{last if at_end else ''}")
    kept = [(row, at) for row, at in numbered if len(row) == width]
    return [row for row, _ in kept], [at for _, at in kept]


def _without_edges(
    numbered: list[tuple[list[str], int]],
    header: Header,
    wanted: Wanted,
    place: str,
    notes: list[str],
) -> list[tuple[list[str], int]]:
    """Rows without those below the header and at the end that hold neither date nor number."""
    date, other = header.names.index(wanted.date), header.names.index(wanted.others[0])

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
    numbered: list[tuple[list[str], int]], header: Header, wanted: Wanted, notes: list[str]
) -> list[tuple[list[str], int]]:
    """Rows without empty cells beyond the header, and without R's column of row names.

    Columns at the end that have neither a name nor, for the most part, a value go from the header.
    """
    names = header.names
    while not names[-1] and len(names) > 1:
        filled = sum(
            len(row) >= len(names) and bool(row[len(names) - 1].strip()) for row, _ in numbered
        )
        if filled > len(numbered) / 2:
            break
        names.pop()
    width = len(names)
    longer = {at for row, at in numbered if row[width:] and not any(map(str.strip, row[width:]))}
    fitted = [(row[:width] if at in longer else row, at) for row, at in numbered]
    if trimmed := len(longer):
        notes.append(f"{count_text(trimmed, 'row')} had empty cells beyond the header: dropped.")
    date = names.index(wanted.date)
    one_more = bool(fitted) and all(len(row) == width + 1 for row, _ in fitted)
    if one_more and all(is_dated(row[date + 1]) and not is_dated(row[date]) for row, _ in fitted):
        notes.append("Each row begins with a name that the header lacks: dropped.")
        fitted = [(row[1:], at) for row, at in fitted]
    return fitted
