"""The verdict as plain text for a terminal or a CI log: no colour codes, no box characters."""

from __future__ import annotations

import re
from collections.abc import Iterable

from reports.forms.plain import Plain, plainly
from reports.page_input import PageInput
from reports.section import (
    Banner,
    Command,
    Heading,
    Lines,
    Section,
    Table,
    Text,
    Verbatim,
)
from reports.sections import sections_of
from reports.words import numbers

_LEAST = 40
_SIGNS = {"\u2212": "-", "\u202f": " ", "≤": "<=", "±": "+/-", "…": "..."}


def render_terminal(page: PageInput, *, width: int = 80) -> str:
    """Write outcome, findings and metrics, at most `width` characters wide where words allow.

    A table that is too wide is written as one block per row.
    """
    return text_of(sections_of(page, "terminal"), width=width)


def text_of(sections: Iterable[Section], *, width: int) -> str:
    """Write sections of any page, one after the other."""
    room, parts = max(width, _LEAST), []
    for section in sections:
        blocks = [_block(each, room) for block in section.blocks for each in plainly(block)]
        title = [_text(section.title)] if section.title and blocks else []
        parts.append("\n".join([*title, *blocks]))
    return "\n\n".join(part for part in parts if part) + "\n"


def _block(block: Plain, width: int) -> str:
    match block:
        case Banner():
            question = f"May {block.candidate} replace {block.legacy}?"
            return _wrapped(f"{block.outcome}: {block.meaning}. {question}", width)
        case Text():
            return _wrapped(f"{block.lead} {block.text}" if block.lead else block.text, width)
        case Command():
            return _wrapped(
                f"{block.said}: {block.command}" if block.said else block.command, width
            )
        case Heading():
            return _text(block.text)
        case Lines():
            dash = "" if block.style == "plain" else "- "
            return "\n".join(_wrapped(f"{dash}{line}", width, hang=2) for line in block.lines)
        case Verbatim():
            return "\n".join(_text(line) for line in block.text.splitlines())
        case Table():
            return _table(block, width)


def _table(table: Table, width: int) -> str:
    """Draw a table without the last optional columns, or in blocks where even that is too wide.

    A block has the first cell as its heading, the others named after it.
    """
    if not table.rows:
        return ""
    optional = [place for place, column in enumerate(table.columns) if column.optional]
    for count in range(len(optional) + 1):
        left_out = optional[len(optional) - count :]
        kept = [place for place in range(len(table.columns)) if place not in left_out]
        columns = [table.columns[place] for place in kept]
        rows = [
            [_text(column.title) for column in columns],
            *([_text(row[place].text) for place in kept] for row in table.rows),
        ]
        sizes = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        rows.insert(1, ["-" * size for size in sizes])
        if sum(sizes) + 2 * (len(sizes) - 1) > width:
            continue
        lines = (
            "  ".join(
                cell.rjust(size) if column.numeric else cell.ljust(size)
                for cell, size, column in zip(row, sizes, columns, strict=True)
            )
            for row in rows
        )
        return "\n".join(line.rstrip() for line in lines)
    names = [column.title.lower() for column in table.columns[1:]]
    blocks = []
    for row in table.rows:
        first, *others = (_text(cell.text) for cell in row)
        facts = [f"{name} {cell}" for name, cell in zip(names, others, strict=True) if cell]
        blocks.append(_wrapped(f"{first}: {', '.join(facts)}", width, hang=4))
    return "\n".join(blocks)


def _wrapped(text: str, width: int, *, hang: int = 0) -> str:
    return "\n".join(numbers.wrapped(_text(text), width, after=" " * hang))


def _text(text: str) -> str:
    """One printable line, with signs that any log can show."""
    return re.sub("|".join(_SIGNS), lambda sign: _SIGNS[sign[0]], numbers.printable(text))
