"""What stands beside the findings and decides nothing, as tables behind a click."""

from __future__ import annotations

from collections.abc import Iterator

from harness.stats.confidence_set import ConfidenceSet, Member
from reports.page_input import PageInput
from reports.section import (
    Command,
    Details,
    Lines,
    Placement,
    Section,
    Table,
    TableCell,
    columns,
    text,
)
from reports.sections.criteria import p_text
from reports.words import numbers
from reports.words.reason_words import why


def beside_the_verdict(page: PageInput) -> Iterator[Section]:
    """A table behind a click for each diagnostic."""
    found = page.verdict.diagnostics
    made = (_best_arms, _secondary, _conditional, _over_time, _intervals, _uniformity)
    tables = [table for make in made if (table := make(page)) is not None and table.rows]
    notes = found.notes if found is not None else ()
    command = page.beside.command("gate")
    yield Section(
        id="diagnostics",
        title="Diagnostics",
        note="beside the verdict, they decide nothing",
        items=(
            *(Details(summary=table.caption, blocks=(table,)) for table in tables),
            *((Lines(lines=tuple(f"{why(each)}." for each in notes)),) if notes else ()),
        ),
        absent=Command(said="Not run for this verdict", command=command),
    )


def _best_arms(page: PageInput) -> Table | None:
    found = page.verdict.diagnostics
    if found is None:
        return None
    return Table(
        caption="Which arms may be the best (model confidence sets)",
        columns=columns(
            *("Dataset", "metric", "in the set", "left out, p"),
            words=("metric", "in the set", "left out, p"),
        ),
        rows=tuple(
            (
                text(each.dataset),
                text(numbers.metric_name(each.metric)),
                text(numbers.listing(map(page.label, each.kept)) or "none"),
                text(
                    ", ".join(
                        f"{page.label(member.arm)} {_standing(page, each, member)}"
                        for member in each.members
                        if not member.kept
                    )
                    or "none"
                ),
            )
            for each in found.confidence_sets
        ),
        note=f"Each set holds the best arm with probability "
        f"{numbers.percent(1 - found.alpha, digits=0)} or more.",
    )


def _standing(page: PageInput, among: ConfidenceSet, member: Member) -> str:
    """Why an arm is not in the set."""
    if member.standing == "no_number":
        return f"{member.number:.0f} of {among.n} losses have no number"
    if member.standing == "hopeless":
        return f"left out first: {member.number:.1f} times the loss of {page.label(member.beside)}"
    if member.standing == "ties":
        return f"ties with {page.label(member.beside)}"
    return p_text(member.p_value)


def _secondary(page: PageInput) -> Table | None:
    found = page.verdict.diagnostics
    if found is None:
        return None
    return Table(
        caption="Candidate against every legacy arm by every other loss",
        columns=columns(
            *("Against", "dataset", "metric", "effect", "p", "p (Holm)", "claim"),
            words=("dataset", "metric", "claim"),
        ),
        rows=tuple(
            (
                text(page.label(each.legacy)),
                text(each.dataset),
                text(numbers.metric_name(each.metric)),
                text(numbers.percent(each.effect, signed=True)),
                text(p_text(each.p_value)),
                text(p_text(each.adjusted)),
                TableCell(text=each.claim, note=why(each.reason)),
            )
            for each in found.secondary
        ),
        note="Secondary: shown for the record, decides nothing. Two-sided tests of equal losses; "
        f"Holm over all of them at {numbers.percent(found.alpha, digits=0)}.",
    )


def _conditional(page: PageInput) -> Table | None:
    found = page.verdict.diagnostics
    if found is None:
        return None
    return Table(
        caption="When the candidate loses: do past losses tell? (Giacomini and White)",
        columns=columns(
            *("Dataset", "metric", "n", "p", "persistence", "expected to lose", "note"),
            words=("metric", "note"),
        ),
        rows=tuple(
            (
                text(each.dataset),
                text(numbers.metric_name(each.metric)),
                text(f"{each.n:,}"),
                text(p_text(each.p_value)),
                text(numbers.number(each.persistence)),
                text(numbers.percent(each.losing_share)),
                text(why(each.reason)),
            )
            for each in found.conditional
        ),
        note="A small p: when it lost last time is worth knowing for the next time.",
    )


def _over_time(page: PageInput) -> Table | None:
    found = page.verdict.diagnostics
    if found is None:
        return None
    return Table(
        caption="Was the difference there all the time? (fluctuation test)",
        columns=columns(
            *("Dataset", "metric", "n", "window", "largest", "smallest", "critical"),
            "shown to differ",
            words=("metric", "shown to differ"),
        ),
        rows=tuple(
            (
                text(each.dataset),
                text(numbers.metric_name(each.metric)),
                text(f"{each.n:,}"),
                text(f"{each.window:,}"),
                text(numbers.number(each.largest)),
                text(numbers.number(each.smallest)),
                text(numbers.number(each.critical)),
                text(
                    "; ".join(f"{s.first} to {s.last}: {s.loser} loses" for s in each.spans)
                    or why(each.reason)
                    or "at no time"
                ),
            )
            for each in found.fluctuations
        ),
    )


def _intervals(page: PageInput) -> Table | None:
    found = page.verdict.diagnostics
    if found is None:
        return None
    return Table(
        caption="Do intervals cover what they promise, and do misses come one by one?",
        columns=columns(
            *("Arm", "dataset", "step", "level", "covered", "rate (Kupiec)"),
            *("clusters (Christoffersen)", "both", "dynamic quantile", "note"),
            words=("dataset", "note"),
        ),
        rows=tuple(
            (
                text(page.label(each.arm)),
                text(each.dataset),
                text(str(each.step)),
                text(f"{each.level} %"),
                text(numbers.percent(each.coverage)),
                text(p_text(each.unconditional)),
                text(p_text(each.independence)),
                text(p_text(each.joint)),
                text(p_text(each.dynamic_quantile)),
                text(why(each.reason)),
            )
            for each in found.intervals
        ),
        note="P-values: a small one speaks against the arm's intervals.",
    )


def _uniformity(page: PageInput) -> Table | None:
    found = page.verdict.diagnostics
    if found is None:
        return None
    return Table(
        caption="Are the distributions uniform in the PIT? (Kn\u00fcppel)",
        columns=columns(
            *("Arm", "dataset", "step", "n", "centre", "spread", "p", "note"),
            words=("dataset", "note"),
        ),
        rows=tuple(
            (
                text(page.label(each.arm)),
                text(each.dataset),
                text(str(each.step)),
                text(f"{each.n:,}"),
                text(numbers.number(each.centre)),
                text(numbers.number(each.spread)),
                text(p_text(each.p_value)),
                text(why(each.reason)),
            )
            for each in found.uniformity
        ),
        note="An honest arm has centre 0 (above: outcomes lie high) and spread 1 (above: too "
        "narrow).",
    )


PLACEMENTS = (Placement(order=520, page=beside_the_verdict),)
