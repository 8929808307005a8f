"""Claims of the migration's documents beside what was measured here."""

from __future__ import annotations

from collections.abc import Iterator

from harness.claims.claim import ClaimRow
from reports.forms.claim_rows import measured_text
from reports.page_input import PageInput
from reports.section import Command, Details, Part, Section, Table, TableCell, columns

_GROUPS = {
    "summary": "Claims of the migration summary",
    "beside": "Claims of documents beside it",
    "pipeline": "Defects of the original pipeline not reproduced here",
}


def claims_tables(page: PageInput) -> list[Table]:
    """The claims by group, each beside what was measured here."""
    found = []
    for group, title in _GROUPS.items():
        rows = [row for row in page.beside.claims if row.claim.group == group]
        if rows:
            found.append(
                Table(
                    caption=title,
                    columns=columns(
                        "Claim", "status", "measured here", words=("status", "measured here")
                    ),
                    rows=tuple(_claim_row(row) for row in rows),
                )
            )
    return found


def _claim_row(row: ClaimRow) -> tuple[TableCell, ...]:
    said = [measured_text(each) for each in row.measured[:6]]
    left = len(row.measured) - len(said)
    said += [f"and {left} more"] if left > 0 else []
    said += list(row.open) + [f"run: {line}" for line in row.commands]
    return (
        TableCell(
            text=f"{row.claim.number} {row.claim.text}", note=f"offered: {row.claim.offered}"
        ),
        TableCell(text=row.status, strong=row.status in ("confirmed", "refuted")),
        TableCell(text="; ".join(said) or row.rule, note=f"rule: {row.rule}" if said else ""),
    )


def claims(page: PageInput) -> Iterator[Section]:
    """A table for each group of claims."""
    yield Section(
        id="claims",
        title="Claims and what was measured",
        link="Claims",
        items=tuple(
            Details(summary=table.caption, blocks=(table,), open=place == 0)
            for place, table in enumerate(claims_tables(page))
        ),
        absent=Command(said="Not gathered for this page", command=page.beside.command("claims")),
    )


PARTS = (Part(order=720, page=claims),)
