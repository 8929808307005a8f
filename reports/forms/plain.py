"""Every kind of block told by the few that plain text can show."""

from __future__ import annotations

from collections.abc import Iterator

from reports.section import (
    Banner,
    BasisList,
    Block,
    Chart,
    Command,
    Details,
    Facts,
    Group,
    Heading,
    Lines,
    Section,
    Table,
    TableCell,
    Text,
    Verbatim,
    table_of,
)
from reports.sections.scorecard import Scorecard

Plain = Text | Lines | Table | Command | Heading | Verbatim | Banner


def plainly(block: Block) -> Iterator[Plain]:
    """Say a block in plain blocks; of a chart its figures, without the picture.

    Raises
    ------
    TypeError
        For a kind of block that this function does not know.
    """
    match block:
        case Text() | Lines() | Table() | Command() | Heading() | Verbatim() | Banner():
            yield block
        case Chart():
            yield block.table or Text(text=block.caption, lead=block.title)
        case Scorecard():
            yield _criteria(block)
        case BasisList():
            yield Lines(lines=tuple(f"{i.label} ({i.state}): {i.text}" for i in block.items))
        case Facts():
            if block.title:
                yield Heading(text=block.title)
            said = (
                (term.name, (term.code, term.strong, term.state, term.text, term.note))
                for term in block.terms
            )
            yield Lines(lines=tuple(f"{name}: {', '.join(filter(None, s))}" for name, s in said))
        case Details(summary=title) | Section(title=title):
            yield Heading(text=title)
            yield from _all(block.blocks)
        case Group():
            yield from _all(block.blocks)
        case _:
            raise TypeError(f"no plain text is known for {type(block).__name__}")


def _all(blocks: tuple[Block, ...]) -> Iterator[Plain]:
    for block in blocks:
        yield from plainly(block)


def _criteria(scorecard: Scorecard) -> Table:
    heads = ("Result", "Rule", "Dataset", "Effect", "Bounds", "Limit")
    return table_of(
        "",
        heads,
        (
            (
                TableCell(text=row.word, outcome=row.outcome),
                f"{row.label} ({row.note})",
                *(row.dataset, row.effect, row.interval, row.limit),
            )
            for _, rows in scorecard.groups
            for row in rows
        ),
        words=("Rule", "Dataset", "Limit"),
    )
