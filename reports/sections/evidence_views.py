"""Battery, claims, self-test, power and diagnostics as tables; or the command that makes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from harness.checks.predicate import CheckResult, number_of
from harness.checks.stored_checks import CheckRecord
from harness.claims.claim import ClaimRow
from harness.judging.findings import Multiplicity, PowerRow
from harness.scoring.scores import UnitScores
from reports.forms.claim_rows import measured_text
from reports.page_input import PageInput
from reports.tables import Table, TableCell, columns, text
from reports.words import numbers, verdicts
from reports.words.facts import say

_SIGNS = {"pass": "\u2713 pass", "fail": "\u2717 fail", "not applicable": "n/a", "error": "! error"}
_GROUPS = {
    "summary": "Claims of the migration summary",
    "beside": "Claims of documents beside it",
    "pipeline": "Defects of the original pipeline not reproduced here",
}


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
        f"each. One-sided error rate of each guardrail {numbers.percent(shared.alpha_guardrail)}, "
        f"of each of {shared.successes} gains {numbers.percent(shared.alpha_success)}."
    )


def fallback_table(page: PageInput) -> Table | None:
    """Windows that an arm's fallback answered, with reasons; None where there are none."""
    rows = [row for unit in page.scores for row in _answered_rows(unit)]
    if not rows:
        return None
    return Table(
        caption="Windows a fallback answered",
        columns=columns(
            "Arm",
            "Dataset",
            "Seed",
            "Windows",
            "Origins",
            "Reason",
            words=("Dataset", "Origins", "Reason"),
        ),
        rows=tuple(rows),
        note="None of them is credited to the arm: each counts as a failure of it.",
    )


def _answered_rows(unit: UnitScores) -> Iterator[tuple[TableCell, ...]]:
    """A row for each reason for which a unit's fallback answered."""
    days = [str(day) for day in unit.origin_date[unit.answered_by_fallback]]
    reasons = [why for why in unit.fallback if why]
    for why in dict.fromkeys(reasons):
        mine = [day for day, each in zip(days, reasons, strict=True) if each == why]
        counted = (str(unit.seed), f"{len(mine):,}", _days(mine), numbers.printable(why))
        yield (text(unit.arm), text(unit.dataset), *map(text, counted))


def _days(days: Sequence[str]) -> str:
    more = f" and {len(days) - 4} more" if len(days) > 4 else ""
    return ", ".join(days[:4]) + more
