"""A data file as columns of text, and what the cells of a dataset must be.

Reading text first and numbers second costs little and lets each fault name its line, column and
value. The header is line 1; rows of a Parquet file are counted from 1.
"""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness.errors import DataError
from harness.window import Array, Dates, Rows

NUMBER_WANTED = "expected a number such as 1234.5"
MOST_SKIPPED = 5
"""Rows at the end of a file that may be a footer."""

_LONGEST_ANSWER = 600
"""Characters up to which the faults of one file are told in words."""

_FOREIGN = {  # what a file starts with that is neither text nor Parquet
    b"PK\x03\x04": "an Excel or zip file; save it as CSV",
    b"\xd0\xcf\x11\xe0": "an old or protected Excel file; save it as CSV",
    **dict.fromkeys(
        (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"(\xb5/\xfd"), "compressed; unpack it first"
    ),
    b"ARROW1": "Feather or Arrow; save it as Parquet or CSV",
    b"FEA1": "Feather; save it as Parquet or CSV",
    b"ORC": "ORC; save it as Parquet or CSV",
    b"\x89HDF": "HDF5; save it as Parquet or CSV",
    b"\x89PNG": "a picture, not a table",
    b"%PDF": "a PDF; save the table as CSV",
    b"SQLite format 3": "a database; save the table as CSV",
    **dict.fromkeys((b"\x80\x04\x95", b"\x80\x05\x95"), "a pickle; save it as Parquet or CSV"),
}
_SIGNS = {
    **dict.fromkeys("\u2212\u2010\u2011", "-"),
    **dict.fromkeys("\u2019\u02bc", "'"),
    "\u066b": ".",
    "\u066c": ",",  # Arabic decimal mark and thousands
    **dict.fromkeys("\u200b\u200e\u200f\ufeff", ""),
}
_MISSING = frozenset(
    {
        *("", ".", "..", "...", "-", "--", "---", "\u2013", "\u2014", "*", "?", "/", "\\n"),
        *("na", "n/a", "n.a.", "n.a", "nan", "-nan", "nd", "n/d"),
        *("n.d.", "null", "none", "nil", "nat", "missing", "void", "empty"),
        *("k.a.", "k. a.", "n.v."),
        *("1.#qnan", "-1.#ind", "1.#ind", "-1.#qnan", "undefined"),
        *("not available", "holiday", "closed", "no data", "nv", "n. a.", "s/d", "\u2026"),
    }
)


class Declared(str):
    """A cell of a workbook that holds a number, not text."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTable:
    """Columns of text with the place of each row.

    Attributes
    ----------
    path
        The file, as errors name it.
    names
        All columns of the file, in its order.
    cells
        One sequence of text a column; empty for a column that was not asked for.
    places, place
        Where each row stands in the file, and what that counts.
    typed
        Columns the file itself declares as numbers.
    notes
        What is worth saying about how it was found.
    separator
        What stands between its columns, in a word or two.
    """

    path: Path
    names: tuple[str, ...]
    cells: tuple[Sequence[str], ...]
    places: Sequence[int]
    place: Literal["line", "row"]
    typed: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    separator: str = "the file's own types"

    def __len__(self) -> int:
        return len(self.places)

    def column(self, name: str) -> Sequence[str]:
        """The cells of one column; `DataError` when there is none, or more than one, so called."""
        where = f"{self.path}: line 1: " if self.place == "line" else f"{self.path}: "
        if name not in self.names:
            known = ", ".join(self.names[:20]) + (", ..." if len(self.names) > 20 else "")
            raise DataError(f"{where}no column '{name}'; columns are {known}")
        if self.names.count(name) > 1:
            raise DataError(f"{where}column '{name}' appears {self.names.count(name)} times")
        return self.cells[self.names.index(name)]

    def part(self, rows: Sequence[int]) -> TextTable:
        """The table of some of its rows, which keep their places."""
        return replace(
            self,
            cells=tuple([column[row] for row in rows] if column else () for column in self.cells),
            places=[self.places[row] for row in rows],
        )

    def at(self, row: int) -> str:
        """Where a row stands, such as ``line 17``."""
        return f"{self.place} {self.places[row]}"

    def fault(self, row: int, name: str, problem: str) -> DataError:
        """Make the error for one cell."""
        return DataError(f"{self.path}: {self.at(row)}: column '{name}': {problem}")

    def skip_hint(self, rows: Sequence[int]) -> str:
        """How to leave out rows that are the last of the table; blank where they are not."""
        first = len(self) - len(rows)
        few = 0 < len(rows) <= min(MOST_SKIPPED, first)
        if not few or list(rows) != list(range(first, len(self))):
            return ""
        return f"; --skip-last {len(rows)} leaves out the end of the file"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextGrid:
    """Rows of a text file or a sheet, of any width, each with its place."""

    rows: list[list[str]]
    places: list[int]
    place: Literal["line", "row"]

    def at(self, row: int) -> str:
        """Where a row stands, such as ``line 17``."""
        return f"{self.place} {self.places[row]}"


class Faults:
    """All that is wrong with one file, so that one answer names everything."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._found)

    def add(self, problem: str) -> None:
        """Note a fault once; `problem` says where it is and what was expected."""
        self._found[problem] = None

    def cell(self, table: TextTable, row: int, name: str, problem: str, *, count: int = 1) -> None:
        """Note a fault of one cell that `count` rows of its column share."""
        more = f" (and {count - 1} more such row{'s' * (count > 2)})" if count > 1 else ""
        self.add(f"{table.at(row)}: column '{name}': {problem}{more}")

    def raise_any(self) -> None:
        """Stop here, with one line of all faults, if anything was found: the first few in words."""
        if not self._found:
            return
        told, *others = self._found
        while others and len(told) + len(others[0]) < _LONGEST_ANSWER:
            told += f"; also {others.pop(0)}"
        rest = f"; also {len(others)} more faults" if others else ""
        raise DataError(f"{self._path}: {told}{rest}")


# --- cells


def plain(cell: str) -> str:
    """A cell in ASCII digits, spaces, dashes and apostrophes, without any around it."""
    if not cell.isascii():
        signs = unicodedata.normalize("NFKC", cell)
        cell = "".join(
            _SIGNS.get(s, str(unicodedata.decimal(s)) if s.isdecimal() else s) for s in signs
        )
    return " ".join(cell.split()).strip("'")


def is_missing(cell: str) -> bool:
    """Whether a plain cell stands for a missing value."""
    word = cell.casefold()
    error = word.startswith("#") and not re.search("[1-9]", word)  # of a spreadsheet: #WERT!
    return error or word in _MISSING or word.strip("*[](){}<>$€£¥₹% ") in _MISSING


def plain_name(name: str) -> str:
    """A column's name without spaces around it and on one line."""
    return " ".join(name.split())


def shown(cell: str) -> str:
    """Quote a cell on one line, shortened where it is long."""
    return repr(cell if len(cell) <= 40 else f"{cell[:37]}...")


def count_text(number: int, noun: str) -> str:
    """A number and its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


# --- files


def read_bytes(path: Path) -> bytes:
    """Read a whole file; `DataError` when it cannot be read or holds nothing."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    if not raw.strip():
        raise DataError(f"{path}: empty file; expected a header and rows")
    return raw


def is_parquet(raw: bytes) -> bool:
    """Whether the bytes of a file are Parquet, whatever its name ends in."""
    return raw.startswith(b"PAR1")


def is_arrow(raw: bytes) -> bool:
    """Whether the bytes of a file are Parquet, Feather or Arrow, whatever its name ends in."""
    return is_parquet(raw) or raw.startswith((b"ARROW1", b"FEA1"))


def decode(
    path: Path, raw: bytes, *, encoding: str | None = None, hint: str = "save it as UTF-8"
) -> str:
    """Decode a text file: as told, or UTF-8, or UTF-16 with its mark.

    Raises
    ------
    DataError
        Naming the kind of file that it is instead, or the line of the first byte that is not text.
    """
    if kind := next((_FOREIGN[start] for start in _FOREIGN if raw.startswith(start)), None):
        raise DataError(f"{path}: {kind}")
    wide = raw.startswith((b"\xff\xfe", b"\xfe\xff"))
    name = encoding or ("utf-16" if wide else "utf-8-sig")
    try:
        text = raw.decode(name).removeprefix("\ufeff")
    except LookupError:
        wanted = "expected the name of an encoding such as cp1252"
        raise DataError(f"--encoding {shown(name)}: {wanted}") from None
    except UnicodeError as error:
        start = error.start if isinstance(error, UnicodeDecodeError) else 0
        line, called = raw.count(b"\n", 0, start) + 1, name.removesuffix("-sig").upper()
        problem = f"byte 0x{raw[start]:02x} is not {called}; {hint}"
        raise DataError(f"{path}: line {line}: {problem}") from None
    if (swapped := text.find("\u0a00")) >= 0:  # no sign at all, but a line's end read askew
        line = text.count("\n", 0, swapped) + 1
        raise DataError(f"{path}: line {line}: damaged, a byte of its UTF-16 is missing or extra")
    return text


_OTHER_TEXT = {
    ("<!doctype html", "<html", "<head", "<body", "<title", "<script"): "a web page, not a table",
    ("<?xml", "<!doctype", "<div", "<p>", "<table"): "XML or a web page, not a table",
    ("{", "[{", "[["): "JSON, not a table",
}


def expect_table(path: Path, text: str) -> None:
    """Refuse a web page, XML or JSON, which servers give in place of a table."""
    start = text[:2000].lstrip().lower()
    said = " ".join(re.sub(r"<[^>]*>|\s+", " ", text[:2000]).split())
    for starts, kind in _OTHER_TEXT.items():
        if start.startswith(starts):
            begin = f"; it says {shown(said)}" if "page" in kind or len(text) < 500 else ""
            raise DataError(f"{path}: {kind}{begin}; download it again or save it as CSV")


def read_data(path: Path, raw: bytes, *, wanted: Collection[str]) -> TextTable:
    """The wanted columns of a dataset's file: Parquet, or a plain CSV with whatever it has.

    Raises
    ------
    DataError
        As `read_arrow_table` and `read_text_table`.
    """
    if is_parquet(raw):
        return read_arrow_table(path, raw, wanted=wanted)
    return read_text_table(path, decode(path, raw))


def read_text_table(path: Path, text: str) -> TextTable:
    """Split a plain CSV into columns; empty lines are skipped.

    Raises
    ------
    DataError
        When a row is longer or shorter than the header, or there is no row.
    """
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        rows = [(row, reader.line_num) for row in reader if row]
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num + 1}: {error}") from None
    if not rows:
        raise DataError(f"{path}: empty file; expected a header and rows")
    names = tuple(map(plain_name, rows.pop(0)[0]))
    if not rows:
        raise DataError(f"{path}: line 1: a header but no rows; columns are {', '.join(names)}")
    for row, line in rows:
        if len(row) != len(names):
            found = f"{len(row)} values in {shown(','.join(row))}"
            raise DataError(f"{path}: line {line}: {found}; the header has {len(names)}")
    cells = tuple(zip(*(row for row, _ in rows), strict=True))
    places = [line for _, line in rows]
    return TextTable(path=path, names=names, cells=cells, places=places, place="line")


def read_arrow_table(
    path: Path, raw: bytes, *, wanted: Collection[str] | None = None, zoned: bool = False
) -> TextTable:
    """Turn columns of a Parquet or Feather file into text that loses nothing.

    Parameters
    ----------
    wanted
        Columns whose cells are read; left out, all.
    zoned
        Stamps that have a zone are written with it, else as local time.

    Raises
    ------
    DataError
        When it is damaged or holds no rows.
    """
    import pyarrow as pa
    import pyarrow.feather as feather
    import pyarrow.parquet as pq

    kind, source = "Parquet" if is_parquet(raw) else "Feather", pa.BufferReader(raw)
    try:
        data = pq.ParquetFile(source).read() if kind == "Parquet" else feather.read_table(source)
        got = {
            name: _texts(data.column(place), zoned=zoned)
            for place, name in enumerate(data.column_names)
            if wanted is None or name in wanted
        }
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: not a readable {kind} file: {reason}") from None
    if not data.num_rows:
        raise DataError(f"{path}: no rows; columns are {', '.join(data.column_names[:20])}")
    tests = (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal)
    typed = {field.name for field in data.schema if any(test(field.type) for test in tests)}
    return TextTable(
        path=path,
        names=tuple(data.column_names),
        cells=tuple(got.get(name, ()) for name in data.column_names),
        places=range(1, data.num_rows + 1),
        place="row",
        typed=frozenset(typed),
    )


def _texts(column: Any, *, zoned: bool) -> list[str]:
    """Write each value of an Arrow column: ISO dates, shortest exact numbers, '' for null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_timestamp(column.type):
        zone = column.type.tz
        local = column if zone is None or zoned else pc.local_timestamp(column)
        column = local.cast(pa.timestamp("us", zone if zoned else None), safe=False)
    if pa.types.is_floating(column.type) and column.type.bit_width < 64:
        narrow = np.float32 if column.type.bit_width == 32 else np.float16  # 0.1, not 0.10000000149
        return ["" if value is None else str(narrow(value)) for value in column.to_pylist()]
    return [cell_text(value) for value in column.to_pylist()]


def cell_text(value: object) -> str:
    """What a typed cell says as text; '' for None, a date alone where its time is midnight."""
    if isinstance(value, datetime):
        midnight = value.time() == time() and value.tzinfo is None
        return value.date().isoformat() if midnight else value.isoformat(sep=" ")
    if isinstance(value, date | time):
        return value.isoformat()
    return "" if value is None else str(value)


def read_sheets(path: Path, raw: bytes) -> dict[str, TextGrid]:
    """Rows of each sheet of an Excel workbook, without empty rows and columns at their end.

    Raises
    ------
    DataError
        When it cannot be read.
    """
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
            if any(value not in (None, "") for value in values):
                grid.rows.append(
                    [
                        Declared(repr(value))
                        if isinstance(value, int | float) and not isinstance(value, bool)
                        else cell_text(value)
                        for value in values
                    ]
                )
                grid.places.append(number)
        width = max((c + 1 for row in grid.rows for c, cell in enumerate(row) if cell), default=0)
        sheets[sheet.title] = replace(grid, rows=[row[:width] for row in grid.rows])
    return sheets


# --- columns of a dataset


def weekdays(dates: Dates) -> Rows:
    """Day of the week of each date, Monday 0."""
    return (dates.astype("datetime64[D]").astype(np.int64) + 3) % 7  # day 0 was a Thursday


def iso_dates(table: TextTable, name: str) -> Dates:
    """Read a column of ISO dates, each after the one before; `DataError` at the first fault."""
    found: list[date] = []
    for row, cell in enumerate(table.column(name)):
        try:
            found.append(date.fromisoformat(cell if cell[4:5] + cell[7:8] == "--" else ""))
        except ValueError:
            problem = f"{shown(cell)} is not a date such as 2020-01-31"
            raise table.fault(row, name, problem) from None
    dates = np.array(found, dtype="datetime64[D]")
    bad = np.flatnonzero(np.diff(dates) <= np.timedelta64(0, "D"))
    if not bad.size:
        return dates
    row = int(bad[0]) + 1
    if (earlier := np.flatnonzero(dates[:row] == dates[row])).size:
        place = table.at(int(earlier[0]))
        raise table.fault(
            row, name, f"{dates[row]} is on {place} already; expected one row per date"
        )
    hint = "; the file is newest first, sort it by date" if bad.size == len(dates) - 1 else ""
    before = f"{dates[row - 1]} ({table.at(row - 1)})"
    raise table.fault(row, name, f"{dates[row]} after {before}; expected ascending dates{hint}")


def numbers(table: TextTable, name: str, *, prices: bool = False) -> Array:
    """Read a column of finite numbers; `DataError` at the first cell that is none.

    Parameters
    ----------
    prices
        All must be above 0: arms take logarithms of the target.
    """
    cells = table.column(name)
    values = np.empty(len(cells))
    for row, cell in enumerate(cells):
        try:
            values[row] = value = float("" if "_" in cell else cell)  # Python reads 1_000
        except ValueError:
            found = f"{shown(cell)} is not a number" if cell.strip() else "empty"
            raise table.fault(row, name, f"{found}; {NUMBER_WANTED}") from None
        if not math.isfinite(value):
            raise table.fault(row, name, f"{shown(cell)} is not finite; {NUMBER_WANTED}")
        if prices and value <= 0:
            raise table.fault(row, name, f"{cell.strip()} is not a price; expected above 0")
    return values
