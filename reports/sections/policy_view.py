"""The policy as written, rule by rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reports.page_input import PageInput
from reports.sections.appendix import pairs
from reports.tables import Table, TableCell, columns, text
from reports.words import numbers, verdicts

_LISTS = ("criteria", "coverage", "waivers")


def policy_tables(page: PageInput) -> list[Table]:
    """Settings, criteria, coverage rules, limits, evidence asked for and waivers."""
    policy = page.verdict.policy
    plainly = {
        name: value
        for name, value in policy.items()
        if name not in _LISTS and not isinstance(value, Mapping)
    }
    found = [
        pairs("Settings", plainly),
        _rules("Criteria", policy.get("criteria")),
        _rules("Coverage rules", policy.get("coverage")),
        _mapping("Limits", policy.get("limits")),
        _mapping("Evidence asked for", policy.get("evidence")),
        _waivers(page),
    ]
    return [table for table in found if table is not None]


def _mapping(caption: str, value: Any) -> Table | None:
    return pairs(caption, value) if isinstance(value, Mapping) else None


def _rules(caption: str, value: Any) -> Table | None:
    rows = [row for row in _list(value) if isinstance(row, Mapping)]
    if not rows:
        return None
    names = list(dict.fromkeys(str(name) for row in rows for name in row))
    return Table(
        caption=caption,
        columns=columns("Rule", *names, words=names),
        rows=tuple(
            (text(str(at)), *(text(_said(row.get(name))) for name in names))
            for at, row in enumerate(rows, 1)
        ),
    )


def _list(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list | tuple) else ()


def _said(value: Any) -> str:
    if isinstance(value, list | tuple) and not value:
        return "all"
    if isinstance(value, Mapping):
        kept = {name: each for name, each in value.items() if each}
        return numbers.plain(kept) if kept else "all"
    return numbers.plain(value)


def _waivers(page: PageInput) -> Table | None:
    """Every waiver with what it did."""
    states = page.verdict.waivers
    if not states:
        return None
    return Table(
        caption="Waivers",
        columns=columns(
            "Finding",
            "until",
            "owner",
            "reason",
            "what it did",
            words=("until", "owner", "reason", "what it did"),
        ),
        rows=tuple(
            (
                TableCell(text=each.waiver.finding, code=True),
                text(each.waiver.until),
                text(each.waiver.owner),
                text(each.waiver.reason),
                text(verdicts.waiver(each)),
            )
            for each in states
        ),
        note=f"Held against {page.verdict.judged_on}." if page.verdict.judged_on else "",
    )
