"""The verdict as Markdown, for the page of a CI job or a comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from harness.judging.findings import Outcome
from harness.judging.verdict import Verdict
from reports.index import IndexInput, verdict_row
from reports.page_input import PageInput
from reports.sections import metric_tables, trust
from reports.sections.first_screen import First, first_screen, open_rules, why
from reports.sections.forest import ForestRow, build_forest
from reports.tables import Table
from reports.words import numbers, verdicts
from reports.words.facts import say

LIMIT = 60_000
_SIGNS = {
    Outcome.PROMOTE: "✅",
    Outcome.REJECT: "⛔",
    Outcome.HOLD: "⏸️",
    Outcome.INVALID: "⚠️",
}
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~>$-])")
_LONGEST = 2_000


def render_markdown(
    subject: PageInput | Verdict, *, others: Sequence[Verdict] = (), limit: int = LIMIT
) -> str:
    """Write the verdict and its criteria; for a page all that its first screen holds, and metrics.

    Parameters
    ----------
    others
        Verdicts of the same candidate against other legacy arms, which decide nothing here.
    limit
        Parts that would make it longer than so many characters are left out, and that is said.
    """
    page = subject if isinstance(subject, PageInput) else PageInput(verdict=subject, title="")
    parts = [_head(page), _criteria(page.verdict), _family(others), *_lists(page)]
    if isinstance(subject, PageInput):
        parts += _beside(page)
        parts += [_table(metric_tables.accuracy(page, name)) for name in page.datasets]
        parts += [_table(metric_tables.intervals(page, name)) for name in page.datasets]
    return _within([part for part in parts if part], limit)


def index_markdown(index: IndexInput, *, limit: int = LIMIT) -> str:
    """Write every verdict of a store, newest first; those that do not fit are left out, and said.

    Parameters
    ----------
    limit
        Characters.
    """
    head = ["Verdict", "Until", "Result", "Candidate", "Legacy", "In a sentence", "Since the last"]
    rows = [verdict_row(each) for each in index.passed]
    lines = [
        [
            row.name + ("" if row.passed.entry.decides else " (for the record)"),
            row.passed.until,
            f"{_SIGNS[row.passed.entry.outcome]} {row.passed.entry.outcome}",
            row.passed.entry.candidate,
            row.passed.entry.legacy,
            row.summary,
            row.changes,
        ]
        for row in rows
    ]
    table = _rows(head, lines, numeric=set()).splitlines()
    title = f"## {numbers.plural(len(rows), 'verdict')}, newest first\n"
    problems = _bullets("What cannot be read", index.problems)
    return _within([title, problems, "\n".join(table[:2]), *table[2:]], limit) + "\n"


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
        f"## {_SIGNS[verdict.outcome]} {verdict.outcome}: {numbers.MEANINGS[verdict.outcome]}",
        f"May **{_safe(verdict.candidate)}** replace **{_safe(verdict.legacy)}**?"
        + (f" ({_safe(page.title)})" if page.title else ""),
        _safe(why(verdict)),
        f"**Next:** {_safe(verdicts.next_action(verdict))}",
    ]
    weak = numbers.listing(trust.weak_legacy(page))
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


def _family(others: Sequence[Verdict]) -> str:
    if not others:
        return ""
    rows = (
        [f"{_SIGNS[each.outcome]} {each.outcome}", each.legacy, verdicts.summary(each)]
        for each in others
    )
    table = _rows(["Result", "Against", "In a sentence"], rows, numeric=set())
    return f"### The other legacy arms (for the record, they decide nothing here)\n\n{table}"


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
        f"{rule.name}: independent origins: {rule.needed}; detectable {rule.detectable}, "
        f"limit {rule.margin}"
        for rule in open_rules(verdict)
    )
    return [
        _bullets("Why no conclusion is allowed", verdicts.problems(verdict)),
        _bullets("Reasons", verdicts.reasons(verdict)),
        _bullets("What could not be told", doubts),
        _bullets("Waivers", map(verdicts.waiver, verdict.waivers)),
        _bullets("The gate's self-test", _self_test(verdict)),
    ]


def _beside(page: PageInput) -> list[str]:
    """What else the first screen of the page holds."""
    first = first_screen(page, list(page.datasets))
    return [
        _bullets("Where it is worse even so", _worst(first)),
        _bullets("Costs, candidate over legacy", _costs(first)),
        _bullets("What it rests on", (_item(each) for each in first.trust)),
        _bullets("Since the last verdict", first.changed),
        _bullets("Fallback", [first.fallback]),
        f"### Judge the same records again\n\n`{_code(first.replay)}`\n",
    ]


def _worst(first: First) -> list[str]:
    windows = (
        f"{lost.dates} on {lost.dataset}: CRPS {lost.candidate} of the last value, "
        f"legacy {lost.legacy}"
        for lost in first.windows
    )
    return [first.worst, *windows]


def _costs(first: First) -> list[str]:
    facts = ((f.title, (f.ratio, f.interval, f.floor, f.word, f.said)) for f in first.costs)
    found = [f"{title}: {', '.join(filter(None, said))}" for title, said in facts]
    return found or [first.unmeasured]


def _self_test(verdict: Verdict) -> list[str]:
    """One line where all parts passed, else a line per part that did not."""
    if verdict.self_test is None:
        return []
    parts = verdict.self_test.parts
    bad = [
        f"{part.code}, {part.state}: {verdicts.self_test_title(part)}: {say(part.found)}"
        for part in parts
        if part.state != "passed"
    ]
    count = f"{verdict.self_test.passed} of {len(parts)} parts passed"
    return [count, *dict.fromkeys(bad)]


def _bullets(title: str, lines: Iterable[str]) -> str:
    found = [f"- {_safe(line)}" for line in lines]
    return "\n".join([f"### {title}", "", *found, ""]) if found else ""


def _item(item: trust.Item) -> str:
    return f"{item.label} ({item.mark}): {item.text}"


def _code(text: str) -> str:
    """Outside text inside backticks: one line, without a backtick that would end it."""
    return numbers.printable(text).replace("`", "'")


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
    flat = numbers.printable(text)
    flat = flat if len(flat) <= _LONGEST else f"{flat[:_LONGEST]}\u2026"
    flat = _SPECIAL.sub(r"\\\1", flat.replace("&", "&amp;").replace("<", "&lt;"))
    return flat.replace("@", "@\u200b").replace("://", ":\u200b//")
