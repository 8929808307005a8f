"""The verdict as Markdown, for the page of a CI job or a comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import repeat

from harness.judging.fact import Fact
from harness.judging.findings import Outcome
from reports.forms.plain import Plain, plainly
from reports.page_input import HEAD, PageInput
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
from reports.words.facts import first_line

LIMIT = 60_000
_SIGNS = {
    Outcome.PROMOTE: "✅",
    Outcome.REJECT: "⛔",
    Outcome.HOLD: "⏸️",
    Outcome.INVALID: "⚠️",
}
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~>$-])")
_COMMAND = re.compile(r"`(abharness .*?)`(?=[\s.,:;)]|$)")
_LONGEST = 2_000


def render_markdown(page: PageInput, *, news: Sequence[Fact] = (), limit: int = LIMIT) -> str:
    """Write the sections of the summary: the answer, its criteria, and what else is known.

    Parameters
    ----------
    news
        What is new since the verdict before, and of the data: the first line.
    limit
        Sections that would make it longer than so many characters are left out, and that is said.
    """
    sections = sections_of(page, "summary")
    if HEAD in page.fingerprints:
        head = Command(said=HEAD.capitalize(), command=page.fingerprints[HEAD])
        sections.append(Section(id="head", title="", items=(head,)))
    return markdown_of(sections, news=news, limit=limit)


def markdown_of(
    sections: Iterable[Section], *, news: Sequence[Fact] = (), limit: int = LIMIT
) -> str:
    """Write sections below what is new, the first ones where there is no room for all of them."""
    parts = [f"**{_safe(first_line(news))}**\n"] if news else []
    for section in sections:
        blocks = [_block(each) for block in section.blocks for each in plainly(block)]
        title = [f"### {_safe(section.title)}\n"] if section.title and blocks else []
        if part := "\n".join([*title, *blocks]):
            parts.append(part)
    left_out = "\n_Left out for length; the HTML page holds it all._\n"
    room = limit - len(left_out)
    kept = parts[0][:room]
    whole = len(kept) == len(parts[0])
    for part in parts[1:]:
        fits = len(kept) + len(part) + 1 <= room
        kept = f"{kept}\n{part}" if fits else kept
        whole = whole and fits
    return kept if whole else kept + left_out


def _block(block: Plain) -> str:
    match block:
        case Banner():
            return (
                f"## {_SIGNS[block.outcome]} {block.outcome}: {block.meaning}\n\n"
                f"May **{_safe(block.candidate)}** replace **{_safe(block.legacy)}**?"
                + (f" ({_safe(block.title)})\n" if block.title else "\n")
            )
        case Text():
            lead = f"**{_safe(block.lead)}** " if block.lead else ""
            return f"{lead}{_sentence(block.text)}\n"
        case Command():
            said = f"{_safe(block.said)}: " if block.said else ""
            return f"{said}{_code(block.command)}\n"
        case Heading():
            return f"#### {_safe(block.text)}\n"
        case Lines():
            codes = (f"{_code(code)} " for code in block.codes) if block.codes else repeat("")
            return "".join(
                f"- {code}{_sentence(line)}\n"
                for code, line in zip(codes, block.lines, strict=False)
            )
        case Verbatim():
            return "".join(f"    {line}\n" for line in block.text.splitlines())
        case Table():
            cells = [
                [
                    cell.text if cell.outcome is None else f"{_SIGNS[cell.outcome]} {cell.text}"
                    for cell in row
                ]
                for row in block.rows
            ]
            heads = [column.title for column in block.columns]
            head, *rows = (f"| {' | '.join(map(_safe, row))} |" for row in (heads, *cells))
            marks = " | ".join("--:" if column.numeric else "---" for column in block.columns)
            body = "\n".join([head, f"| {marks} |", *rows, ""])
            return f"### {_safe(block.caption)}\n\n{body}" if block.caption else body


def _sentence(text: str) -> str:
    """Outside text that stays text, but for the commands in it, which can be copied."""
    parts = _COMMAND.split(numbers.printable(text))
    return "".join(_code(part) if place % 2 else _inert(part) for place, part in enumerate(parts))


def _code(text: str) -> str:
    """Outside text as code: one line, in more backticks than any run of them that it holds."""
    flat = numbers.printable(text)[:_LONGEST]
    fence = "`" * (1 + max(map(len, re.findall("`+", flat)), default=0))
    room = " " if "`" in (flat[:1], flat[-1:]) else ""
    return f"{fence}{room}{flat}{room}{fence}"


def _safe(text: str) -> str:
    """Outside text that stays text: no markup, no links, no mentions, one line."""
    return _inert(numbers.printable(text))


def _inert(text: str) -> str:
    """One line of outside text, each sign that means something in Markdown escaped."""
    flat = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\u2026"
    flat = _SPECIAL.sub(r"\\\1", flat.replace("&", "&amp;").replace("<", "&lt;"))
    return flat.replace("@", "@\u200b").replace("://", ":\u200b//")
