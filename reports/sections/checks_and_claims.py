"""What was tried on the code and claimed of it: the battery of checks, and the claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import get_args

from harness.checks.predicate import CheckRecord
from harness.claims.claim import Status
from reports.page_input import Claimed, PageInput
from reports.section import (
    Block,
    Command,
    Details,
    Lines,
    Placement,
    Section,
    TableCell,
    table_of,
    text,
)
from reports.words import numbers

_SIGNS = {"pass": "\u2713 pass", "fail": "\u2717 fail", "not applicable": "n/a", "error": "! error"}
_MISSED = ("fail", "error")


def battery(page: PageInput) -> Iterator[Section]:
    """A row per subject that was tried, then every result of every subject."""
    trials, rows = page.beside.trials, []
    for trial in trials:
        counts = Counter(str(each.outcome) for each in trial.results)
        given = ", ".join(f"{name}={numbers.plain(value)}" for name, value in trial.options.items())
        failing = ", ".join(each.code for each in trial.results if each.outcome in _MISSED)
        row = (
            TableCell(text=trial.target, note=given),
            trial.kind,
            *(text(str(counts[name])) for name in _SIGNS if name != "not applicable"),
            str(counts["not applicable"]),
            failing or "none",
            "current" if trial.current else "of other code",
        )
        rows.append(row)
    summary = table_of(
        "What the battery said",
        ("Subject", "as", "pass", "fail", "error", "n/a", "failed", "state"),
        rows,
        words=("as", "failed", "state"),
        note="A failure is a finding, not an error of the battery. A result of earlier "
        "code says nothing about today's.",
    )
    yield Section(
        id="battery",
        title="Battery of checks",
        link="Battery",
        items=(summary, *(_predicates(each) for each in trials)) if trials else (),
        absent=Command(said="Not run", command=page.beside.check_command(page.verdict.candidate)),
    )


def _predicates(trial: CheckRecord) -> Details:
    table = table_of(
        f"{trial.target} as {trial.kind}, every predicate",
        ("Predicate", "result", "value", "wanted", "what was measured"),
        (
            (
                f"{each.code} {each.title}",
                _SIGNS[each.outcome],
                numbers.number(each.measured.get("value")),
                each.wanted,
                numbers.printable(each.reason),
            )
            for each in trial.results
        ),
        words=("result", "wanted", "what was measured"),
    )
    return Details(summary=table.caption, blocks=(table,))


def claims(page: PageInput) -> Iterator[Section]:
    """How many claims came out which way; behind a click each of them, by group and by status."""
    grouped: dict[str, dict[str, list[Claimed]]] = {}
    for each in page.beside.claims:
        grouped.setdefault(each.group, {}).setdefault(each.status, []).append(each)
    items = []
    for group, by_status in grouped.items():
        counts = Counter({status: len(mine) for status, mine in by_status.items()})
        told = numbers.listing(f"{count} {status}" for status, count in counts.most_common())
        blocks = tuple(
            block
            for status in sorted(by_status, key=lambda each: (*_ORDER, each).index(each))
            for block in _of_status(status, by_status[status])
        )
        items.append(Details(summary=f"{group}: {told}", blocks=blocks))
    yield Section(
        id="claims",
        title="Claims and what was measured",
        link="Claims",
        items=tuple(items),
        absent=Command(said="Not gathered for this page", command=page.beside.command("claims")),
    )


_ORDER = get_args(Status)


def _of_status(status: str, found: Sequence[Claimed]) -> Iterator[Block]:
    """A table of the claims that came out one way, and each command that tries more of them."""
    yield table_of(
        f"{status.capitalize()}: {len(found)}",
        ("Claim", "measured here"),
        (
            (
                TableCell(text=f"{each.number} {each.text}", note=f"offered: {each.offered}"),
                TableCell(
                    text="; ".join(each.found) or each.decides,
                    note=f"rule: {each.decides}" if each.found else "",
                ),
            )
            for each in found
        ),
        words=("measured here",),
    )
    tries: dict[str, list[str]] = {}
    for each in found:
        for command in each.commands:
            tries.setdefault(command, []).append(each.number)
    if tries:
        lines = tuple(f"for {numbers.listing(numbered)}" for numbered in tries.values())
        yield Lines(codes=tuple(tries), lines=lines)


PLACEMENTS = (Placement(order=710, page=battery), Placement(order=720, page=claims))
