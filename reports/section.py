"""What a page is made of: sections, and the few kinds of blocks they hold.

Text is already worded here and nothing is left to decide; each form of `reports.forms` writes
every kind of block in its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from harness.judging.findings import Outcome
from harness.judging.validity import Mark
from reports.words import numbers

if TYPE_CHECKING:
    from reports.page_input import PageInput


class Block:
    """Anything that a section holds."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCell:
    """One cell: its text, a quieter second line, and how it stands out."""

    text: str
    note: str = ""
    strong: bool = False
    outcome: Outcome | None = None
    code: bool = False
    quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: its title, and a quieter second line (a unit, mostly).

    Optional ones are left out, the last first, where a form has no room for them.
    """

    title: str
    note: str = ""
    numeric: bool = True
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table(Block):
    """A captioned table whose first column heads the rows.

    Attributes
    ----------
    note
        Stands below.
    small
        Drawn small, for the first screen: its caption unseen unless it has a `caption_note`, then
        its head.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[TableCell, ...], ...]
    note: str = ""
    caption_note: str = ""
    small: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart(Block):
    """A picture with its text alternative and its figures.

    Attributes
    ----------
    title, caption
        Above and below the picture.
    svg
        The picture; made by `reports.svg`, the only markup that is not escaped.
    table
        The figures the picture shows; None where another chart's table holds them.
    level
        Of its heading.
    """

    title: str
    caption: str
    svg: str
    table: Table | None = None
    level: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Block):
    """A paragraph, with its first words in bold.

    `link` is the id of the section it leads to, `file` a file beside the page that it leads to.
    """

    text: str
    lead: str = ""
    style: str = ""
    link: str = ""
    file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Block):
    """What is not there, and the command that makes it."""

    said: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading(Block):
    """A heading inside a section, with quieter words after it."""

    text: str
    level: int = 3
    quiet: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines(Block):
    """A list of lines.

    Attributes
    ----------
    codes
        A name before each line; empty for none.
    shown
        So many are seen at once, the others behind a click; 0 for all.
    """

    lines: tuple[str, ...]
    codes: tuple[str, ...] = ()
    style: str = ""
    shown: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A name and what is said of it: code, a number in bold, its state, words, a quieter line."""

    name: str
    text: str = ""
    code: str = ""
    strong: str = ""
    state: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts(Block):
    """Names and what is said of them; with a title, a card of its own."""

    terms: tuple[Term, ...]
    title: str = ""
    note: str = ""
    style: str = ""


MARKS: dict[Mark, str] = {"holds": "passed", "note": "note", "broken": "failed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """Something the verdict rests on: a word, a mark and what was found."""

    label: str
    mark: Mark
    text: str

    @property
    def state(self) -> str:
        """The mark in a word."""
        return MARKS[self.mark]


@dataclass(frozen=True, slots=True, kw_only=True)
class BasisList(Block):
    """What a verdict rests on; `brief` is the strip of the first screen."""

    items: tuple[Basis, ...]
    brief: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner(Block):
    """The question and its answer in one look: result and obstacle in a sentence, and the step."""

    outcome: Outcome
    meaning: str
    candidate: str
    legacy: str
    title: str
    said: str = ""
    following: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Details(Block):
    """Blocks behind a click."""

    summary: str
    blocks: tuple[Block, ...]
    open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Group(Block):
    """Blocks that are laid out together."""

    blocks: tuple[Block, ...]
    style: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verbatim(Block):
    """A text as it was written, such as an experiment file."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section(Block):
    """A part of the page with a heading.

    Attributes
    ----------
    id
        Letters, digits and hyphens, unique on the page: links lead there.
    title, note
        The heading, and quieter words after it.
    items
        What it holds, sections of the next level among them.
    absent
        What stands there when it holds nothing.
    outcome
        Marked in the heading.
    link
        Its name in the navigation of the page; '' for none.
    """

    id: str
    title: str
    items: tuple[Block, ...]
    absent: Block | None = None
    note: str = ""
    outcome: Outcome | None = None
    link: str = ""
    style: str = ""

    @property
    def blocks(self) -> tuple[Block, ...]:
        """What is shown: the items, or what stands in their place."""
        return self.items or (() if self.absent is None else (self.absent,))


Maker = Callable[["PageInput"], Iterable[Section]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What a file of `reports/sections` adds to a report: a maker of sections for each form.

    Attributes
    ----------
    order
        Parts stand in this order.
    page
        Sections of the HTML page and of its data as JSON.
    summary
        Sections of the Markdown summary.
    terminal
        Sections of the text for a terminal.
    """

    order: int
    page: Maker | None = None
    summary: Maker | None = None
    terminal: Maker | None = None


def text(value: str, note: str = "") -> TableCell:
    """Make a plain cell."""
    return TableCell(text=value, note=note)


def columns(*titles: str, words: Sequence[str] = ()) -> tuple[Column, ...]:
    """Make columns by title; the first and those in `words` hold text, the others numbers."""
    return tuple(
        Column(title=title, numeric=place > 0 and title not in words)
        for place, title in enumerate(titles)
    )


Row = Sequence[str | TableCell]
"""Cells of a table; a text is a plain one."""


def table_of(
    caption: str,
    heads: Sequence[str],
    rows: Iterable[Row],
    *,
    words: Sequence[str] = (),
    note: str = "",
    caption_note: str = "",
    small: bool = False,
) -> Table:
    """Make a table by the titles of its columns; the first and those in `words` hold text."""
    return Table(
        caption=caption,
        columns=columns(*heads, words=words),
        rows=tuple(
            tuple(text(cell) if isinstance(cell, str) else cell for cell in row) for row in rows
        ),
        note=note,
        caption_note=caption_note,
        small=small,
    )


def pairs(caption: str, found: Mapping[str, object], *, code: bool = False) -> Table | None:
    """Names and texts as a table; None when there are none."""
    if not found:
        return None
    return table_of(
        caption,
        ("Name", "Value"),
        (
            (str(name), TableCell(text=numbers.plain(value), code=code))
            for name, value in found.items()
        ),
        words=("Value",),
    )


_Some = TypeVar("_Some", bound=Block)


def there(*blocks: _Some | None) -> tuple[_Some, ...]:
    """Those that are there."""
    return tuple(block for block in blocks if block is not None)
