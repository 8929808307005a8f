"""What the battery of checks said of the arms, or the command that runs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from harness.checks.predicate import CheckResult, number_of
from harness.checks.stored_checks import CheckRecord
from reports.page_input import PageInput
from reports.section import Command, Details, Part, Section, Table, TableCell, columns, text
from reports.words import numbers

_SIGNS = {"pass": "\u2713 pass", "fail": "\u2717 fail", "not applicable": "n/a", "error": "! error"}


def tried(page: PageInput) -> list[CheckRecord]:
    """Stored results on arms of the page, or on networks that they are built from."""
    uses = {arm.use for arm in page.arms}
    names = {arm.name for arm in page.arms} | {str(arm.options.get("model")) for arm in page.arms}
    return [each for each in page.beside.checks if each.use in uses or each.target in names]


def battery_summary(page: PageInput) -> Table | None:
    """One row per subject that was tried; None where nothing was."""
    found = tried(page)
    if not found:
        return None
    return Table(
        caption="What the battery said",
        columns=columns(
            "Subject",
            "as",
            "pass",
            "fail",
            "error",
            "n/a",
            "failed",
            "state",
            words=("as", "failed", "state"),
        ),
        rows=tuple(_subject_row(each) for each in found),
        note="A failure is a finding, not an error of the battery. Results of other code than "
        "today's say nothing about this one.",
    )


def _subject_row(record: CheckRecord) -> tuple[TableCell, ...]:
    counts = Counter(each.outcome for each in record.results)
    options = ", ".join(f"{name}={numbers.plain(value)}" for name, value in record.options.items())
    return (
        TableCell(text=record.target, note=options),
        text(record.kind),
        *(text(str(counts[name])) for name in ("pass", "fail", "error", "not applicable")),
        text(", ".join(record.failing) or "none"),
        text("current" if record.current else "of other code"),
    )


def battery_tables(page: PageInput) -> list[Table]:
    """Every result of every subject that was tried."""
    return [
        Table(
            caption=f"{record.target} as {record.kind}, every predicate",
            columns=columns(
                "Predicate",
                "result",
                "value",
                "wanted",
                "what was measured",
                words=("result", "wanted", "what was measured"),
            ),
            rows=tuple(
                _result_row(each)
                for each in sorted(record.results, key=lambda r: number_of(r.code))
            ),
        )
        for record in tried(page)
    ]


def _result_row(result: CheckResult) -> tuple[TableCell, ...]:
    return (
        TableCell(text=f"{result.code} {result.title}"),
        text(_SIGNS[result.outcome]),
        text(numbers.number(result.measured.get("value"))),
        text(result.wanted),
        text(numbers.printable(result.reason)),
    )


def battery(page: PageInput) -> Iterator[Section]:
    """A summary, then every result of every subject."""
    summary = battery_summary(page)
    found = () if summary is None else (summary, *_each(page))
    command = page.beside.check_command(page.verdict.candidate)
    yield Section(
        id="battery",
        title="Battery",
        link="Battery",
        items=found,
        absent=Command(said="Not run", command=command),
    )


def _each(page: PageInput) -> Iterator[Details]:
    for table in battery_tables(page):
        yield Details(summary=table.caption, blocks=(table,))


PARTS = (Part(order=710, page=battery),)
