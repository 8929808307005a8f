"""All numbers of the criteria: every method, the tests, both sides against the reference."""

from __future__ import annotations

from collections.abc import Iterator

from harness.evidence.comparison import Comparison
from harness.evidence.estimates import Estimate
from harness.judging.findings import GRAVEST, Finding, Unit
from reports.page_input import PageInput
from reports.section import (
    Details,
    Lines,
    Placement,
    Section,
    Table,
    TableCell,
    Text,
    columns,
    text,
    there,
)
from reports.sections.scorecard import limit_text
from reports.words import numbers
from reports.words.sentences import sentence_of

_METHODS = {
    "hac": "HAC t",
    "long": "HAC t, long lag",
    "bootstrap": "block bootstrap",
    "independent": "independent",
}

_TEST_HEADS = (
    *("Rule", "candidate", "legacy", "DM statistic", "p (equal)", "origins"),
    *("not overlapping", "effective", "HAC lag", "block", "resamples", "range over seeds"),
    *("last origins alone", "failed"),
)


def criteria(page: PageInput) -> Table:
    """Every number of every criterion, a row per method."""
    heads = (
        "Rule",
        "limit",
        "method",
        "n",
        "effect",
        "one-sided bounds",
        "two-sided interval",
        "p within",
        "p beyond",
        "concludes",
    )
    rows = [row for finding in page.verdict.findings for row in _estimate_rows(finding)]
    return Table(
        caption="All numbers of every rule, by every method",
        columns=columns(*heads, words=("limit", "method", "concludes")),
        rows=tuple(rows),
        note="A small 'p within' shows that the candidate keeps its limit, a small 'p beyond' "
        "that it breaks it. The decision rests on the one-sided bounds. Independent: HAC t on the "
        "origins that do not overlap, shown and not decisive.",
    )


def _estimate_rows(finding: Finding) -> Iterator[tuple[TableCell, ...]]:
    name = TableCell(
        text=f"{numbers.metric_name(finding.metric)} on {finding.dataset}", note=finding.role
    )
    limit = text(limit_text(finding))
    estimates = finding.comparison.estimates if finding.comparison else ()
    if not estimates:
        found = "" if finding.value is None else numbers.number(finding.value)
        blank = tuple(text("") for _ in range(4))
        yield (
            name,
            limit,
            text("count" if finding.role == "limit" else "none"),
            text(""),
            text(found),
            *blank,
            text(numbers.finding_word(finding)),
        )
    for estimate in estimates:
        yield (name, limit, *_estimate_cells(finding.unit, estimate))


def _estimate_cells(unit: Unit, estimate: Estimate) -> tuple[TableCell, ...]:
    return (
        text(_METHODS.get(estimate.method, estimate.method)),
        text(f"{estimate.n:,}"),
        text(numbers.effect(unit, estimate.effect)),
        text(numbers.effects(unit, estimate.lower, estimate.upper)),
        text(numbers.effects(unit, estimate.low, estimate.high)),
        text(p_text(estimate.p_within)),
        text(p_text(estimate.p_beyond)),
        text(estimate.conclusion),
    )


def p_text(value: float | None) -> str:
    """Write a p-value."""
    if value is None:
        return numbers.NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def tests(page: PageInput) -> Table | None:
    """The setting and the equality test of each comparison; None where nothing was compared."""
    compared = [finding for finding in page.verdict.findings if finding.comparison]
    if not compared:
        return None
    return Table(
        caption="What the comparisons are made of",
        columns=columns(*_TEST_HEADS),
        rows=tuple(
            _test_row(finding, finding.comparison) for finding in compared if finding.comparison
        ),
        note="DM: Diebold-Mariano test of equal losses, two-sided, at the lag and in the "
        "fixed-smoothing law of the t test that decides. Losses are scaled by the last value seen. "
        "PROMOTE is HOLD while the last origins alone lie beyond the limit. "
        "Failed: windows of the candidate and of the legacy arm, filled in against the candidate.",
    )


def _test_row(finding: Finding, found: Comparison) -> tuple[TableCell, ...]:
    metric = finding.metric
    write = numbers.percent if finding.unit == "points" else numbers.number
    sample, effect, equality = found.sample, found.effect, found.equality
    worth = found.variances.effective_n if found.variances else None
    return (
        TableCell(text=f"{numbers.metric_name(metric)} on {finding.dataset}", note=finding.role),
        text(write(effect.candidate)),
        text(write(effect.legacy)),
        text(numbers.number(equality.statistic if equality else None)),
        text(p_text(equality.p_value if equality else None)),
        text(f"{sample.n:,}"),
        text(f"{sample.independent_n:,}"),
        text(numbers.NONE if worth is None else f"{worth:,.0f}"),
        text(f"{found.lengths.lag:,}"),
        text(f"{found.lengths.block:,}"),
        text(f"{found.lengths.resamples:,}"),
        text(numbers.effects(finding.unit, effect.seed_low, effect.seed_high)),
        text(
            numbers.NONE
            if found.recent is None
            else f"{numbers.effect(finding.unit, found.recent.effect)} "
            f"({found.recent.n:,} since {found.recent.since})"
        ),
        text(f"{found.failed.candidate:,} / {found.failed.legacy:,}"),
    )


def standings(page: PageInput) -> Table | None:
    """Both sides against the reference by every metric; None when there is no reference."""
    rows = tuple(
        (
            text(row.arm),
            text(row.dataset),
            text(numbers.metric_name(row.metric)),
            text(numbers.number(row.value)),
            text(numbers.number(row.reference_value)),
            text(numbers.percent(row.skill, signed=True)),
        )
        for row in page.verdict.validity.standings
    )
    if not rows:
        return None
    against = numbers.listing(
        dict.fromkeys(row.reference for row in page.verdict.validity.standings)
    )
    return Table(
        caption=f"Both sides against {against}",
        columns=columns(
            "Arm", "Dataset", "Metric", "value", against, "skill", words=("Dataset", "Metric")
        ),
        rows=rows,
    )


def all_numbers(page: PageInput) -> Iterator[Section]:
    """Each finding in a sentence, and every number of every rule behind a click."""
    found = sorted(page.verdict.findings, key=lambda each: GRAVEST.index(each.outcome))
    tables = there(criteria(page), tests(page), standings(page))
    yield Section(
        id="criteria",
        title="Every rule in a sentence",
        link="Rules",
        items=(
            Lines(
                lines=tuple(f"{numbers.finding_word(each)}: {sentence_of(each)}" for each in found),
                style="findings",
            ),
            *(Details(summary=table.caption, blocks=(table,)) for table in tables if table.rows),
        )
        if found
        else (Text(text="None."),),
    )


PLACEMENTS = (Placement(order=250, page=all_numbers),)
