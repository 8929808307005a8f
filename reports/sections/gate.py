"""What the gate says of itself: what it could have detected, and its self-test."""

from __future__ import annotations

from collections.abc import Iterator

from harness.judging.findings import Multiplicity, Outlook, chances_of_all
from reports.page_input import PageInput
from reports.section import Command, Part, Section, Table, TableCell, columns, text, there
from reports.words import numbers, verdicts
from reports.words.facts import say


def power_table(page: PageInput) -> Table | None:
    """The chance of deciding each criterion by the true effect; None in records without one."""
    rows = page.verdict.power
    effects = next((row.chances for row in rows if row.chances), ())
    if not effects:
        return None
    heads = [f"if {numbers.percent(effect, digits=0, signed=True)}" for effect, _ in effects]
    return Table(
        caption="Chance of a decision, by the true effect",
        columns=columns(
            *("Criterion", "limit", *heads, "if as found", "shown today", "more origins"),
            words=("more origins",),
        ),
        rows=(*(_power_row(row, len(heads)) for row in rows), *_together(page)),
        note=_shared_text(page.verdict.multiplicity),
    )


def _power_row(row: Outlook, count: int) -> tuple[TableCell, ...]:
    chances = [text(numbers.percent(chance, digits=0)) for _, chance in row.chances]
    needed = "decided" if row.decided else numbers.NONE
    if not row.decided and row.more_origins is not None:
        needed = f"{row.more_origins:,}" + (f", by {row.decided_by}" if row.decided_by else "")
    elif not row.decided and row.seeds_needed is not None:
        needed = f"{row.seeds_needed} seeds a side"
    return (
        text(row.finding),
        text(numbers.effect(row.unit, row.bound)),
        *(chances or [text(numbers.NONE)] * count),
        TableCell(
            text=numbers.percent(row.chance, digits=0),
            note=say(row.silent) if row.silent else numbers.effect(row.unit, row.effect),
        ),
        text(numbers.effect(row.unit, row.settled_at)),
        text(needed),
    )


def _together(page: PageInput) -> Iterator[tuple[TableCell, ...]]:
    """The least and the most the chance of all guardrails together can be."""
    found = chances_of_all(page.verdict.power)
    if found:
        both = [
            text(numbers.between(*(numbers.percent(end, digits=0) for end in (low, high))))
            for _, low, high in found
        ]
        empty = [text("") for _ in range(3)]
        yield (text("all guardrails together"), text(""), *both, *empty)


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
