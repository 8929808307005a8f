"""The verdict as Markdown, for the page of a CI job or a comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from harness.findings import Outcome
from harness.verdict import Verdict
from reports import metric_tables, trust, wording
from reports.forest import ForestRow, build_forest
from reports.inputs import PageInput
from reports.tables import Table

LIMIT = 60_000
_SIGNS = {
    Outcome.PROMOTE: "✅",
    Outcome.REJECT: "⛔",
    Outcome.HOLD: "⏸️",
    Outcome.INVALID: "⚠️",
}
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~>$-])")
_LONGEST = 2_000


def render_markdown(subject: PageInput | Verdict, *, limit: int = LIMIT) -> str:
    """Write the verdict, its criteria and, for a page, trust and metrics.

    Parts that would make it longer than `limit` characters are left out, and that is said.
    """
    page = subject if isinstance(subject, PageInput) else PageInput(verdict=subject, title="")
    parts = [_head(page), _criteria(page.verdict), *_lists(page)]
    if isinstance(subject, PageInput):
        parts.append(
            _bullets("What it rests on", (_item(each) for each in trust.trust_strip(page)))
        )
        parts += [_table(metric_tables.accuracy(page, name)) for name in page.datasets]
        parts += [_table(metric_tables.intervals(page, name)) for name in page.datasets]
    return _within([part for part in parts if part], limit)


def _within(parts: Sequence[str], limit: int) -> str:
    """Join parts in order while they fit; the first is cut if it must be."""
    left_out = "\n_Left out for length; the HTML page holds it all._\n"
    room = limit - len(left_out)
    kept = parts[0][:room]
    whole = len(kept) == len(parts[0])
    for part in parts[1:]:
        fits = len(kept) + len(part) + 1 <= room
        kept = f"{kept}\n{part}" if fits else kept
        whole = whole and fits
    return kept if whole else kept + left_out


def _head(page: PageInput) -> str:
    verdict = page.verdict
    lines = [
        f"## {_SIGNS[verdict.outcome]} {verdict.outcome}: {wording.MEANINGS[verdict.outcome]}",
        f"May **{_safe(verdict.candidate)}** replace **{_safe(verdict.legacy)}**?"
        + (f" ({_safe(page.title)})" if page.title else ""),
        _safe(verdict.summary),
        f"**Next:** {_safe(verdict.next_action)}",
    ]
    weak = wording.listing(trust.weak_legacy(page))
    if weak:
        lines.append(
            f"**A weak bar on {_safe(weak)}:** {_safe(verdict.candidate)} beats "
            f"{_safe(verdict.legacy)}, but neither beats the random walk. Beating a weak legacy "
            "model is not a reason to trust either."
        )
    return "\n\n".join(lines) + "\n"


def _criteria(verdict: Verdict) -> str:
    rows = [row for _, group in build_forest(verdict).groups for row in group]
    if not rows:
        return "No criterion was judged.\n"
    head = ["Result", "Criterion", "Dataset", "Effect", "Bounds", "Limit"]
    return _rows(head, (_criterion(row) for row in rows), numeric={3, 4})


def _criterion(row: ForestRow) -> list[str]:
    return [
        f"{_SIGNS[row.outcome]} {row.word}",
        f"{row.label} ({row.note})",
        row.dataset,
        row.effect,
        row.interval,
        row.limit,
    ]


def _lists(page: PageInput) -> list[str]:
    verdict = page.verdict
    doubts = (
        f"{doubt.title}: {'; '.join(doubt.facts) or doubt.sentence}" for doubt in trust.doubts(page)
    )
    return [
        _bullets("Why no conclusion is allowed", verdict.validity.problems),
        _bullets("Reasons", verdict.reasons),
        _bullets("What could not be told", doubts),
    ]


def _bullets(title: str, lines: Iterable[str]) -> str:
    found = [f"- {_safe(line)}" for line in lines]
    return "\n".join([f"### {title}", "", *found, ""]) if found else ""


def _item(item: trust.Item) -> str:
    return f"{item.label} ({item.mark}): {item.text}"


def _table(table: Table) -> str:
    numeric = {place for place, column in enumerate(table.columns) if column.numeric}
    rows = ([cell.text for cell in row] for row in table.rows)
    body = _rows([column.title for column in table.columns], rows, numeric=numeric)
    return f"### {_safe(table.caption)}\n\n{body}"


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: set[int]) -> str:
    lines = [head, ["--:" if place in numeric else "---" for place in range(len(head))]]
    text = [_line(map(_safe, lines[0])), _line(lines[1])]
    return "\n".join([*text, *(_line(map(_safe, row)) for row in rows), ""])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _safe(text: str) -> str:
    """Outside text that stays text: no markup, no links, no mentions, one line."""
    flat = wording.printable(text)
    flat = flat if len(flat) <= _LONGEST else f"{flat[:_LONGEST]}\u2026"
    flat = _SPECIAL.sub(r"\\\1", flat.replace("&", "&amp;").replace("<", "&lt;"))
    return flat.replace("@", "@\u200b").replace("://", ":\u200b//")
