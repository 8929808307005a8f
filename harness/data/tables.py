"""A data file as a table of text, and what every cell of it must be.

Reading text first and numbers second costs little and lets each fault name its line, column and
value. The header is line 1; rows of a Parquet file are counted from 1.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness.errors import DataError
from harness.window import Array, Dates, Series

_ISO = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_ISO_DATE = re.compile(_ISO)
_ISO_DATES = re.compile(rf"(?:{_ISO}\n)+")
NUMBER_WANTED = "expected a number such as 1234.5"
MOST_SKIPPED = 5
"""Rows at the end of a file that may be a footer."""

_LONGEST_ANSWER = 600
"""Characters up to which the faults of one file are told in words."""

_FOREIGN = {  # what a file starts with that is neither text nor Parquet
    b"PK\x03\x04": "an Excel or zip file; save it as CSV",
    b"\xd0\xcf\x11\xe0": "an old or protected Excel file; save it as CSV",
    b"\x1f\x8b": "compressed; unpack it first",
    b"BZh": "compressed; unpack it first",
    b"\xfd7zXZ": "compressed; unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed; unpack it first",
    b"ARROW1": "Feather or Arrow; save it as Parquet or CSV",
    b"FEA1": "Feather; save it as Parquet or CSV",
    b"ORC": "ORC; save it as Parquet or CSV",
    b"\x89HDF": "HDF5; save it as Parquet or CSV",
    b"\x89PNG": "a picture, not a table",
    b"%PDF": "a PDF; save the table as CSV",
    b"SQLite format 3": "a database; save the table as CSV",
    b"\x80\x04\x95": "a pickle; save it as Parquet or CSV",
    b"\x80\x05\x95": "a pickle; save it as Parquet or CSV",
}


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
    places
        Where each row stands in the file.
    place
        What `places` counts.
    typed
        Columns the file itself declares as numbers.
    """

    path: Path
    names: tuple[str, ...]
    cells: tuple[Sequence[str], ...]
    places: Sequence[int]
    place: Literal["line", "row"]
    typed: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.places)

    def column(self, name: str) -> Sequence[str]:
        """The cells of one column.

        Raises
        ------
        DataError
            When there is none, or more than one, of that name.
        """
        where = f"{self.path}: line 1: " if self.place == "line" else f"{self.path}: "
        if name not in self.names:
            known = ", ".join(self.names[:20]) + (", ..." if len(self.names) > 20 else "")
            raise DataError(f"{where}no column '{name}'; columns are {known}")
        if self.names.count(name) > 1:
            raise DataError(f"{where}column '{name}' stands there {self.names.count(name)} times")
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


class Faults:
    """All that is wrong with one file, so that one answer names everything.

    Parameters
    ----------
    path
        The file, as the answer names it.
    """

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
        more = f" (and {count - 1} more such {_rows(count - 1)})" if count > 1 else ""
        self.add(f"{table.at(row)}: column '{name}': {problem}{more}")

    def error(self) -> DataError:
        """Make one line of all faults, the first few in words."""
        told, *others = self._found
        while others and len(told) + len(others[0]) < _LONGEST_ANSWER:
            told += f"; also {others.pop(0)}"
        rest = f"; also {len(others)} more faults" if others else ""
        return DataError(f"{self._path}: {told}{rest}")

    def raise_any(self) -> None:
        """Stop here if anything was found.

        Raises
        ------
        DataError
            One line of all faults.
        """
        if self._found:
            raise self.error()


def at_the_end(table: TextTable, rows: Sequence[int]) -> str:
    """How to leave out rows that are the last of a table; blank where they are not."""
    first = len(table) - len(rows)
    few = 0 < len(rows) <= min(MOST_SKIPPED, first)
    if not few or list(rows) != list(range(first, len(table))):
        return ""
    return f"; --skip-last {len(rows)} leaves out the end of the file"


def _rows(count: int) -> str:
    return "row" if count == 1 else "rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """Sessions on which the target is what it was the session before.

    Attributes
    ----------
    count
        How many.
    share
        Of all sessions that have one before them.
    longest
        Most of them in a row.
    since
        Date of the first of that run; None without repeats.
    """

    count: int
    share: float
    longest: int
    since: str | None


def read_bytes(path: Path) -> bytes:
    """Read a whole file.

    Raises
    ------
    DataError
        When it cannot be read or holds nothing.
    """
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
        return raw.decode(name).removeprefix("\ufeff")
    except LookupError:
        wanted = "expected the name of an encoding such as cp1252"
        raise DataError(f"--encoding {shown(name)}: {wanted}") from None
    except UnicodeError as error:
        start = error.start if isinstance(error, UnicodeDecodeError) else 0
        line, called = raw.count(b"\n", 0, start) + 1, (encoding or name[:5]).upper()
        problem = f"byte 0x{raw[start]:02x} is not {called.removesuffix('-S')}; {hint}"
        raise DataError(f"{path}: line {line}: {problem}") from None


def read_text_table(path: Path, text: str, *, delimiter: str = ",") -> TextTable:
    """Split delimited text into columns; empty lines are skipped.

    Raises
    ------
    DataError
        When a row is longer or shorter than the header, or there is no row.
    """
    return _plain_table(path, text, delimiter) or _csv_table(path, text, delimiter)


def _plain_table(path: Path, text: str, delimiter: str) -> TextTable | None:
    """Split text that needs no CSV reader, several times as fast; None if it does."""
    body = text.replace("\r\n", "\n").removesuffix("\n")
    lines = body.split("\n")
    commas = lines[0].count(delimiter)
    odd = '"' in body or "\r" in body or "\0" in body or "" in lines or len(lines) == 1
    if odd or any(line.count(delimiter) != commas for line in lines):
        return None
    cells = body.replace("\n", delimiter).split(delimiter)
    width = commas + 1
    return TextTable(
        path=path,
        names=tuple(map(plain_name, cells[:width])),
        cells=tuple(cells[width + index :: width] for index in range(width)),
        places=range(2, len(lines) + 1),
        place="line",
    )


def _csv_table(path: Path, text: str, delimiter: str) -> TextTable:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows: list[list[str]] = []
    places: list[int] = []
    try:
        for row in reader:
            if row:
                rows.append(row)
                places.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num + 1}: {error}") from None
    if not rows:
        raise DataError(f"{path}: empty file; expected a header and rows")
    names = tuple(map(plain_name, rows[0]))
    if len(rows) == 1:
        raise DataError(f"{path}: line 1: a header and no rows; columns are {', '.join(names)}")
    for row, line in zip(rows, places, strict=True):
        if len(row) != len(names):
            found = f"{len(row)} values in {shown(delimiter.join(row))}"
            raise DataError(f"{path}: line {line}: {found}; the header has {len(names)}")
    cells = tuple(zip(*rows[1:], strict=True))
    return TextTable(path=path, names=names, cells=cells, places=places[1:], place="line")


def read_parquet_table(path: Path, raw: bytes, wanted: Collection[str]) -> TextTable:
    """Turn the wanted columns of a Parquet file into text that loses nothing.

    Raises
    ------
    DataError
        When it is damaged or holds no rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(raw))
        names = tuple(file.schema_arrow.names)
        data = file.read(columns=[name for name in names if name in wanted])
        got = {name: _texts(data.column(name)) for name in data.column_names}
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: not a readable Parquet file: {reason}") from None
    if not data.num_rows and got:
        raise DataError(f"{path}: no rows; columns are {', '.join(names)}")
    return TextTable(
        path=path,
        names=names,
        cells=tuple(got.get(name, ()) for name in names),
        places=range(1, data.num_rows + 1),
        place="row",
        typed=_declared(data.schema),
    )


def read_arrow_table(path: Path, raw: bytes) -> TextTable:
    """Turn all columns of a Parquet or Feather file into text that loses nothing.

    Raises
    ------
    DataError
        When it is damaged or holds no rows.
    """
    import pyarrow as pa
    import pyarrow.feather as feather
    import pyarrow.parquet as pq

    parquet = is_parquet(raw)
    try:
        source = pa.BufferReader(raw)
        data = pq.ParquetFile(source).read() if parquet else feather.read_table(source)
        columns = tuple(_texts(column, zoned=True) for column in data.columns)
    except (pa.ArrowException, OSError, ValueError) as error:
        kind = "Parquet" if parquet else "Feather"
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: not a readable {kind} file: {reason}") from None
    if not data.num_rows:
        raise DataError(f"{path}: no rows; columns are {', '.join(data.column_names[:20])}")
    return TextTable(
        path=path,
        names=tuple(data.column_names),
        cells=columns,
        places=range(1, data.num_rows + 1),
        place="row",
        typed=_declared(data.schema),
    )


def _declared(schema: Any) -> frozenset[str]:
    """Columns whose type is a number."""
    import pyarrow as pa

    tests = (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal)
    return frozenset(field.name for field in schema if any(test(field.type) for test in tests))


def _texts(column: Any, *, zoned: bool = False) -> list[str]:
    """Write each value of an Arrow column: ISO dates, shortest exact numbers, '' for null.

    Stamps that have a zone are written with it where `zoned`, else as local time.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_timestamp(column.type):
        zone = column.type.tz
        local = column if zone is None or zoned else pc.local_timestamp(column)
        column = local.cast(pa.timestamp("us", zone if zoned else None), safe=False)
    return [_text(value) for value in column.to_pylist()]


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        midnight = value.time() == time() and value.tzinfo is None
        return value.date().isoformat() if midnight else value.isoformat(sep=" ")
    return value.isoformat() if isinstance(value, date) else str(value)


def iso_dates(table: TextTable, name: str) -> Dates:
    """Read a column of ISO dates in ascending order.

    Raises
    ------
    DataError
        At the first cell that is no date, or not after the one before it.
    """
    cells = table.column(name)
    try:
        if not _ISO_DATES.fullmatch("\n".join([*cells, ""])):
            raise ValueError
        dates = np.array(cells, dtype="datetime64[D]")
    except ValueError:
        raise _date_fault(table, name, cells) from None
    check_order(table, name, dates)
    return dates


def _date_fault(table: TextTable, name: str, cells: Iterable[str]) -> DataError:
    for row, cell in enumerate(cells):
        try:
            if _ISO_DATE.fullmatch(cell):
                date.fromisoformat(cell)
                continue
        except ValueError:
            pass
        return table.fault(row, name, f"{shown(cell)} is not a date such as 2020-01-31")
    raise AssertionError(name)


def check_order(table: TextTable, name: str, dates: Dates) -> None:
    """Demand strictly increasing dates.

    Raises
    ------
    DataError
        At the first row that stands on a date already seen, or goes back in time.
    """
    bad = np.flatnonzero(np.diff(dates) <= np.timedelta64(0, "D"))
    if not bad.size:
        return
    row = int(bad[0]) + 1
    earlier = np.flatnonzero(dates[:row] == dates[row])
    if earlier.size:
        place = table.at(int(earlier[0]))
        raise table.fault(row, name, f"{dates[row]} is on {place} already; expected one row a date")
    hint = "; the file runs backwards, sort it by date" if bad.size == len(dates) - 1 else ""
    before = f"{dates[row - 1]} ({table.at(row - 1)})"
    raise table.fault(row, name, f"{dates[row]} after {before}; expected ascending dates{hint}")


def numbers(table: TextTable, name: str) -> Array:
    """Read a column of plain numbers, all finite.

    Raises
    ------
    DataError
        At the first cell that is not a finite number.
    """
    cells = table.column(name)
    try:
        values = np.array(list(map(float, cells)))
    except ValueError:
        bad = next(row for row, cell in enumerate(cells) if not _is_number(cell))
        raise not_a_number(table, bad, name) from None
    strange = next((row for row, cell in enumerate(cells) if "_" in cell), None)
    if strange is not None:  # Python reads 1_000
        raise not_a_number(table, strange, name)
    check_finite(table, name, values)
    return values


def not_a_number(table: TextTable, row: int, name: str) -> DataError:
    """Make the error for a cell that should have been a number."""
    cell = table.column(name)[row]
    found = f"{shown(cell)} is not a number" if cell.strip() else "empty"
    return table.fault(row, name, f"{found}; {NUMBER_WANTED}")


def check_finite(table: TextTable, name: str, values: Array) -> None:
    """Demand finite numbers.

    Raises
    ------
    DataError
        At the first NaN or infinity.
    """
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        row = int(bad[0])
        cell = shown(table.column(name)[row])
        raise table.fault(row, name, f"{cell} is not finite; {NUMBER_WANTED}")


def check_prices(table: TextTable, name: str, values: Array) -> None:
    """Demand positive numbers: the target is a price, and arms take its logarithm.

    Raises
    ------
    DataError
        At the first zero or negative number.
    """
    bad = np.flatnonzero(values <= 0)
    if bad.size:
        row = int(bad[0])
        problem = f"{table.column(name)[row].strip()} is not a price; expected above 0"
        raise table.fault(row, name, problem)


def repeats_of(series: Series) -> Repeats:
    """Count sessions that repeat the target of the session before."""
    same = np.flatnonzero(np.diff(series.target) == 0) + 1  # rows that repeat
    if not same.size:
        return Repeats(count=0, share=0.0, longest=0, since=None)
    runs = np.split(same, np.flatnonzero(np.diff(same) > 1) + 1)
    longest = max(runs, key=len)
    return Repeats(
        count=len(same),
        share=len(same) / (len(series) - 1),
        longest=len(longest),
        since=str(series.dates[longest[0]]),
    )


def plain_name(name: str) -> str:
    """A column's name without spaces around it and on one line."""
    return " ".join(name.split())


def shown(cell: str) -> str:
    """Quote a cell on one line, shortened where it is long."""
    return repr(cell if len(cell) <= 40 else f"{cell[:37]}...")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
