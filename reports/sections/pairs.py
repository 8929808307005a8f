"""Every legacy arm against the candidate, the pair that decides first."""

from __future__ import annotations

from collections.abc import Iterator

from harness.judging.verdict import Verdict
from reports.page_input import PageInput
from reports.section import (
    Block,
    Details,
    Lines,
    Placement,
    Section,
    TableCell,
    Text,
    table_of,
    there,
)
from reports.sections.cost_tables import cost_table, not_measured
from reports.sections.curves import worst_slice
from reports.sections.first_screen import open_rules
from reports.sections.scorecard import build_scorecard
from reports.words import numbers, verdicts
from reports.words.facts import say
from reports.words.next_step import next_action
from reports.words.verdicts import headline

_REASONS_SHOWN = 40


def pairs(page: PageInput) -> Iterator[Section]:
    """What was concluded on each pair, its criteria and its costs."""
    warning = (
        "A repaired build: no version of the original ever ran, so this is no comparison "
        "with anything that was ever in use."
    )
    items = []
    for place, verdict in enumerate((page.verdict, *page.beside.others), 1):
        decides = verdict is page.verdict
        following = next_action(verdict.next_action, store=page.beside.store)
        said = [*verdicts.problems(verdict), *verdicts.reasons(verdict), following]
        lines = Lines(lines=tuple(dict.fromkeys(said)), shown=_REASONS_SHOWN)
        whole = (Details(summary="All reasons", blocks=(lines,)),)
        pair = Section(
            id=f"pair-{place}",
            style="pair",
            title=f"{verdict.outcome} against {page.label(verdict.legacy)}",
            note="decides" if decides else "for the record, decides nothing",
            outcome=verdict.outcome,
            items=there(
                Text(text=warning, style="warning") if verdict.legacy in page.repaired else None,
                Text(text=headline(verdict)),
                *(whole if decides else _in_short(page, verdict)),
            ),
        )
        items.append(pair)
    yield Section(
        id="pairs",
        title=f"Every legacy arm against {page.verdict.candidate}",
        link="Legacy arms",
        items=tuple(items),
    )


def _in_short(page: PageInput, verdict: Verdict) -> Iterator[Block]:
    """A pair that decides nothing: its weakest slice, its rules and its costs."""
    found = worst_slice(page, verdict.legacy)
    worst = (
        "none can be compared"
        if found is None
        else f"{found.title} on {found.dataset}, CRPS {numbers.effect('share', found.effect)}"
    )
    still, arm = len(open_rules(verdict)), page.arm(verdict.legacy)
    options = {name: each for name, each in (arm.options if arm else {}).items() if name != "model"}
    run = f" Run with {numbers.plain(options)}." if options else ""
    tried = ""
    if verdict.self_test is not None:
        parts = verdict.self_test.parts
        bad = [f"; {e.code} failed: {say(e.found)}" for e in parts if e.state == "failed"]
        tried = f"Self-test: {verdicts.parts_passed(verdict.self_test)}{''.join(bad)}."
    yield Text(
        text=f"Weakest slice: {worst}. Undecided rules: {still}. {tried}{run}",
        style="note",
    )
    scorecard = build_scorecard(verdict)
    costs = cost_table(page, verdict.legacy)
    unmeasured = Text(text=f"Costs in pairs {not_measured(page, verdict.legacy)}", style="note")
    yield Details(
        summary="Its rules and costs",
        blocks=(*((scorecard,) if scorecard.groups else ()), costs or unmeasured),
    )


def family(page: PageInput) -> Iterator[Section]:
    """The other legacy arms in a sentence each."""
    rows = tuple(
        (
            TableCell(text=each.outcome, outcome=each.outcome),
            each.legacy,
            verdicts.summary(each),
        )
        for each in page.beside.others
    )
    if rows:
        table = table_of("", ("Result", "Against", "In a sentence"), rows, words=_WORDS)
        yield Section(
            id="pairs",
            title="The other legacy arms (for the record, they decide nothing here)",
            items=(table,),
        )


_WORDS = ("Against", "In a sentence")


def against(page: PageInput) -> Iterator[Section]:
    """The other legacy arms, a line each."""
    lines = tuple(
        f"Against {other.legacy}, for the record: {other.outcome}: {verdicts.summary(other)}"
        for other in page.beside.others
    )
    if lines:
        yield Section(id="pairs", title="", items=(Lines(lines=lines, style="plain"),))


PLACEMENTS = (
    Placement(order=300, page=pairs),
    Placement(order=120, summary=family),
    Placement(order=600, terminal=against),
)
