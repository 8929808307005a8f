"""What the gate says of itself: what it could have detected, and its self-test."""

from __future__ import annotations

from collections.abc import Iterator

from harness.judging.findings import Multiplicity, PowerRow
from reports.page_input import PageInput
from reports.section import Command, Part, Section, Table, TableCell, columns, text, there
from reports.words import numbers, verdicts
from reports.words.facts import say


def power_table(page: PageInput) -> Table | None:
    """What each criterion could have detected; None in records that do not say."""
    rows = page.verdict.power
    if not rows:
        return None
    return Table(
        caption="What could be detected",
        columns=columns(
            "Criterion",
            "margin",
            "detectable",
            "enough",
            "more origins",
            "by",
            words=("enough", "by"),
        ),
        rows=tuple(_power_row(row) for row in rows),
        note=_shared_text(page.verdict.multiplicity),
    )


def _power_row(row: PowerRow) -> tuple[TableCell, ...]:
    return (
        text(row.finding),
        text(numbers.percent(row.margin)),
        text(numbers.percent(row.detectable)),
        TableCell(
            text="not known" if row.enough is None else "yes" if row.enough else "no",
            note=say(row.silent) if row.silent else "",
        ),
        text(numbers.NONE if row.more_origins is None else f"{row.more_origins:,}"),
        text(row.decided_by or numbers.NONE),
    )


def _shared_text(shared: Multiplicity | None) -> str:
    """How error rate and power are shared over the findings."""
    if shared is None:
        return ""
    return (
        f"Planned for a power of {numbers.percent(shared.power, digits=0)} that all "
        f"{shared.guardrails} guardrails hold together: {numbers.percent(shared.power_each)} "
        f"each. One-sided error rates: a wrong PROMOTE {numbers.percent(shared.alpha_guardrail)} "
        f"(of each guardrail), of each of {shared.successes} gains "
        f"{numbers.percent(shared.alpha_success)}; a wrong REJECT "
        f"{numbers.percent(shared.alpha_reject)} over all rules together (Holm)."
    )


def self_test_table(page: PageInput) -> Table | None:
    """The six parts; None where the gate did not judge itself."""
    found = page.verdict.self_test
    if found is None:
        return None
    return Table(
        caption="What the gate found when it judged itself",
        columns=columns("Part", "result", "what was found", words=("result", "what was found")),
        rows=tuple(
            (
                text(f"{part.code} {verdicts.self_test_title(part)}"),
                text(part.state),
                text(say(part.found)),
            )
            for part in found.parts
        ),
    )


def power(page: PageInput) -> Iterator[Section]:
    """What each criterion could have detected."""
    yield Section(
        id="power",
        title="What could be detected",
        items=there(power_table(page)),
        absent=Command(said="Not recorded with this verdict", command=page.beside.command("gate")),
    )


def self_test(page: PageInput) -> Iterator[Section]:
    """What the gate found when it judged itself."""
    yield Section(
        id="self-test",
        title="The gate's self-test",
        items=there(self_test_table(page)),
        absent=Command(said="Not run for this verdict", command=page.beside.command("gate")),
    )


PARTS = (Part(order=510, page=power), Part(order=730, page=self_test))
