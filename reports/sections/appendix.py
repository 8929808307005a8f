"""What stands at the end: all numbers of the criteria, arms, data, environment, glossary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.evidence.comparison import Comparison
from harness.evidence.estimand import Estimate
from harness.judging.findings import Finding
from reports.page_input import ArmFacts, DatasetFacts, PageInput
from reports.sections.forest import limit_text
from reports.tables import Column, Table, TableCell, columns, text
from reports.words import numbers
from reports.words.numbers import Term

_METHODS = {
    "hac": "HAC t",
    "bootstrap": "block bootstrap",
    "independent": "independent",
}

_TEST_HEADS = (
    *("Criterion", "candidate", "legacy", "DM statistic", "p (equal)", "origins"),
    *("not overlapping", "effective", "HAC lag", "block", "resamples", "range over seeds"),
    "failed",
)

GLOSSARY = (
    Term(
        name="RMSE",
        formula="sqrt(mean((y − f)²))",
        reading="Root mean squared error of the point path, in the unit of the data; large misses "
        "weigh most.",
    ),
    Term(
        name="MAE",
        formula="mean(|y − f|)",
        reading="Mean absolute error of the point path, in the unit of the data.",
    ),
    Term(
        name="MAPE",
        formula="100 · mean(|y − f| / |y|)",
        reading="In per cent. It prefers low forecasts, so it is shown and never judged alone.",
    ),
    Term(
        name="CRPS",
        formula="2 · ∫ pinball(u) du over levels u",
        reading="Error of the whole predictive distribution, in the unit of the data; for a point "
        "forecast it is the MAE. Every arm is scored on the same level grid.",
    ),
    Term(
        name="MASE",
        formula="mean(|y − f|) / mean(|change from session to session, before the origin|)",
        reading="Absolute error in units of a typical one-session change: comparable over decades.",
    ),
    Term(
        name="Coverage",
        formula="share of outcomes inside the central interval",
        reading="Should be near the nominal level: below it the interval is too narrow, above it "
        "too wide.",
    ),
    Term(
        name="Width",
        formula="upper − lower end of the central interval",
        reading="In the unit of the data. Of two arms with the right coverage the narrower is "
        "better.",
    ),
    Term(
        name="Skill",
        formula="1 − loss / loss of the random walk",
        reading="Above 0 is better than the random walk, which forecasts the last price. On "
        "prices this is the bar.",
    ),
    Term(
        name="Effect",
        formula="loss of the candidate / loss of the legacy arm − 1",
        reading="On the same windows, with losses divided by the last value seen. Below 0 the "
        "candidate is better. For coverage: distance from nominal, in points.",
    ),
    Term(
        name="HAC, block bootstrap",
        formula="two intervals for the same effect",
        reading="Both allow for windows that overlap. A criterion is decided only where they "
        "agree.",
    ),
)


def criteria(page: PageInput) -> Table:
    """Every number of every criterion, a row per method."""
    heads = (
        "Criterion",
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
        caption="All criteria by every method",
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
        yield (name, limit, *_estimate_cells(finding.metric, estimate))


def _estimate_cells(metric: str, estimate: Estimate) -> tuple[TableCell, ...]:
    return (
        text(_METHODS.get(estimate.method, estimate.method)),
        text(f"{estimate.n:,}"),
        text(numbers.effect(metric, estimate.effect)),
        text(numbers.effects(metric, estimate.lower, estimate.upper)),
        text(numbers.effects(metric, estimate.low, estimate.high)),
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
        note="DM: Diebold-Mariano test of equal losses, Harvey-Leybourne-Newbold correction, "
        "two-sided. Losses are scaled by the last value seen. Failed: windows of the candidate "
        "and of the legacy arm, filled in against the candidate.",
    )


def _test_row(finding: Finding, found: Comparison) -> tuple[TableCell, ...]:
    metric = finding.metric
    share = numbers.in_points(metric)
    write = numbers.percent if share else numbers.number
    return (
        TableCell(text=f"{numbers.metric_name(metric)} on {finding.dataset}", note=finding.role),
        text(write(found.candidate_value)),
        text(write(found.legacy_value)),
        text(numbers.number(found.statistic)),
        text(p_text(found.p_value)),
        text(f"{found.n:,}"),
        text(f"{found.independent_n:,}"),
        text(numbers.NONE if found.effective_n is None else f"{found.effective_n:,.0f}"),
        text(f"{found.lag:,}"),
        text(f"{found.block:,}"),
        text(f"{found.resamples:,}"),
        text(numbers.effects(metric, found.seed_low, found.seed_high)),
        text(f"{found.candidate_failed:,} / {found.legacy_failed:,}"),
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


def pairs(caption: str, found: Mapping[str, object], *, code: bool = False) -> Table | None:
    """Names and texts as a table; None when there are none."""
    if not found:
        return None
    return Table(
        caption=caption,
        columns=(Column(title="Name", numeric=False), Column(title="Value", numeric=False)),
        rows=tuple(
            (text(str(name)), TableCell(text=numbers.plain(value), code=code))
            for name, value in found.items()
        ),
    )


def arm_facts(arm: ArmFacts) -> dict[str, str]:
    """Flatten an arm's facts for a definition list."""
    found = {"use": arm.use, "role": arm.role}
    options = ", ".join(f"{name} = {numbers.plain(value)}" for name, value in arm.options.items())
    found["options"] = options or "none"
    if arm.residual_distribution:
        found["distribution"] = "added by the harness from residuals on the validation span"
    return found | {str(title): str(said) for title, said in arm.card.items()}


def data_facts(facts: DatasetFacts) -> dict[str, str]:
    """Flatten a dataset's facts for a definition list."""
    dates = facts.dates
    span = f"{dates[0]} to {dates[-1]}, {len(dates):,} sessions" if len(dates) else "none"
    refit = "once" if facts.refit is None else f"every {numbers.plural(facts.refit, 'origin')}"
    return {
        "title": facts.title,
        "unit": facts.unit,
        "sessions used": span,
        "origins": f"{facts.origins:,}, {facts.first_origin} to {facts.last_origin}",
        "plan": f"stride {facts.stride}, horizon {facts.horizon}, gap {facts.gap}, fitted {refit}",
        "skip_repeats": f"{'on' if facts.skip_repeats else 'off'}; "
        f"{numbers.percent(facts.repeats)} of sessions repeat the price before them",
        "source": facts.source,
        "licence": facts.licence,
        "sha256": facts.sha256,
        "known quirks": "; ".join(facts.quirks) or "none",
        "warnings on loading": "; ".join(facts.warnings) or "none",
    }
