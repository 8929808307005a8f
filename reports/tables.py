"""Tables and charts as the template draws them: text already worded, nothing left to decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.judging.findings import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCell:
    """One cell: its text, a quieter second line, and how it stands out."""

    text: str
    note: str = ""
    strong: bool = False
    outcome: Outcome | None = None
    code: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: its title, and a quieter second line (a unit, mostly)."""

    title: str
    note: str = ""
    numeric: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A captioned table whose first column heads the rows."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[TableCell, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A picture with its text alternative and its figures.

    Attributes
    ----------
    title, caption
        Above and below the picture.
    svg
        The picture; made by `reports.svg`, the only markup that is not escaped.
    table
        The figures the picture shows; None where another chart's table holds them.
    """

    title: str
    caption: str
    svg: str
    table: Table | None = None


def text(value: str, note: str = "") -> TableCell:
    """Make a plain cell."""
    return TableCell(text=value, note=note)


def columns(*titles: str, words: Sequence[str] = ()) -> tuple[Column, ...]:
    """Make columns by title; the first and those in `words` hold text, the others numbers."""
    return tuple(
        Column(title=title, numeric=place > 0 and title not in words)
        for place, title in enumerate(titles)
    )
