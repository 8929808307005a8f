"""The page: one HTML file that needs nothing else, the same bytes for the same records."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.judging.findings import Outcome
from harness.judging.verdict import Verdict
from reports.page_input import DatasetFacts, PageInput
from reports.sections import appendix, cost_tables, evidence_views, metric_tables, trust
from reports.sections.by_time import time_view
from reports.sections.calibration_views import parts_view, pit_views, width_view
from reports.sections.cost_tables import cost_table, not_measured
from reports.sections.curves import coverage_view, step_views
from reports.sections.diagnostic_views import diagnostics
from reports.sections.first_screen import first_screen, open_rules, why
from reports.sections.forecast_views import WindowView, lost_most, window_views
from reports.sections.forest import Forest, build_forest
from reports.sections.policy_view import policy_tables
from reports.sections.seeds import seed_view
from reports.sections.slices import slice_view, worst_slice
from reports.sections.training_views import training_views
from reports.svg import chart_style, compacted, environment
from reports.tables import Chart, Table
from reports.words import numbers, verdicts
from reports.words.facts import say
from reports.words.findings import sentence_of


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetView:
    """All there is to show of a dataset; `notes` say what could not be drawn."""

    id: str
    anchor: str
    title: str
    plan: str
    tables: tuple[Table, ...]
    further: tuple[Table, ...]
    steps: tuple[Chart, ...]
    time: Chart | None
    coverage: Chart | None
    pit: tuple[Chart, ...]
    width: Chart | None
    slices: Chart | None
    parts: Table | None
    windows: tuple[WindowView, ...]
    lost: Table | None
    seeds: Chart | None
    training: tuple[Chart, ...]
    costs: tuple[Table, ...]
    notes: tuple[str, ...]
    untrained: tuple[str, ...]


def dataset_view(page: PageInput, dataset: str, *, place: int) -> DatasetView:
    """Build a dataset's part; `place`, from 1, makes its ids."""
    name = f"d{place}"
    facts = page.datasets.get(dataset)
    windows, notes = window_views(page, facts, name=name) if facts else ((), _no_series(dataset))
    training, untrained = training_views(page, dataset, name=name)
    return DatasetView(
        id=dataset,
        anchor=f"dataset-{place}",
        title=facts.title if facts else dataset,
        plan=_plan(facts) if facts else "",
        tables=_there(
            metric_tables.accuracy(page, dataset),
            metric_tables.intervals(page, dataset),
            metric_tables.independent(page, dataset),
        ),
        further=_there(metric_tables.others(page, dataset)),
        steps=step_views(page, dataset, name=name),
        time=time_view(page, dataset, name=f"{name}-time"),
        coverage=coverage_view(page, dataset, name=f"{name}-coverage"),
        pit=pit_views(page, dataset, name=f"{name}-pit"),
        width=width_view(page, dataset, name=f"{name}-width"),
        slices=slice_view(page, dataset, name=f"{name}-slices"),
        parts=parts_view(page, dataset),
        windows=windows,
        lost=lost_most(page, facts),
        seeds=seed_view(page, dataset, name=f"{name}-seeds"),
        training=training,
        costs=_there(cost_tables.speed(page, dataset), cost_tables.memory(page, dataset)),
        notes=notes,
        untrained=untrained,
    )


def _there(*tables: Table | None) -> tuple[Table, ...]:
    return tuple(table for table in tables if table is not None)


def _no_series(dataset: str) -> tuple[str, ...]:
    return (f"No series of {dataset} was given, so no forecast can be drawn.",)


def _plan(facts: DatasetFacts) -> str:
    gap = f", after a gap of {facts.gap}" if facts.gap else ""
    overlap = (
        f"; {facts.overlap} consecutive origins overlap" if facts.overlap > 1 else "; no overlap"
    )
    return (
        f"{numbers.plural(facts.origins, 'origin')} from {facts.first_origin} to "
        f"{facts.last_origin}, every {numbers.plural(facts.stride, 'session')}, "
        f"{facts.horizon} sessions ahead{gap}{overlap}."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PairView:
    """A legacy arm against the candidate: what was concluded, every criterion, what it costs."""

    anchor: str
    legacy: str
    note: str
    outcome: Outcome
    decides: bool
    why: str
    next_action: str
    forest: Forest
    worst: str
    open: int
    self_test: str
    reasons: tuple[str, ...]
    costs: Table | None
    unmeasured: str


def pair_views(page: PageInput, datasets: Sequence[str]) -> tuple[PairView, ...]:
    """Word every pair, the one that decides first."""
    found = (page.verdict, *page.beside.others)
    return tuple(
        _view(page, verdict, datasets, anchor=f"pair-{place}", decides=place == 1)
        for place, verdict in enumerate(found, 1)
    )


def _view(
    page: PageInput, verdict: Verdict, datasets: Sequence[str], *, anchor: str, decides: bool
) -> PairView:
    worst = worst_slice(dataclasses.replace(page, verdict=verdict), datasets)
    return PairView(
        anchor=anchor,
        legacy=page.label(verdict.legacy),
        note="A repaired build: no version of the original ever ran, so this is no comparison "
        "with anything that was ever in use."
        if verdict.legacy in page.repaired
        else "",
        outcome=verdict.outcome,
        decides=decides,
        why=why(verdict),
        next_action=verdicts.next_action(verdict),
        forest=build_forest(verdict),
        worst="No part can be compared."
        if worst is None
        else f"{worst.title} on {worst.dataset}, CRPS {numbers.effect('crps', worst.effect)}",
        open=len(open_rules(verdict)),
        self_test=_self_test(verdict),
        reasons=tuple(dict.fromkeys([*verdicts.problems(verdict), *verdicts.reasons(verdict)])),
        costs=cost_table(page, verdict.legacy),
        unmeasured=not_measured(page, verdict.legacy),
    )


def _self_test(verdict: Verdict) -> str:
    """How the gate judged itself on this pair; '' where it did not."""
    if verdict.self_test is None:
        return ""
    bad = [
        f"{part.code} failed: {say(part.found)}"
        for part in verdict.self_test.parts
        if part.state == "failed"
    ]
    count = f"Self-test: {verdict.self_test.passed} of {len(verdict.self_test.parts)} parts passed"
    return "; ".join([count, *bad]) + "."


def render_html(page: PageInput) -> str:
    """Draw the page.

    Returns
    -------
    str
        A whole HTML document. No clock, no path and no random id is in it; all text that comes
        from outside is escaped.
    """
    return compacted(environment().get_template("page.html").render(content(page)) + "\n")


def content(page: PageInput) -> dict[str, Any]:
    """All that the template shows, by name: words, tables and drawn charts."""
    names = _datasets(page)
    with chart_style():
        datasets = [dataset_view(page, name, place=at) for at, name in enumerate(names, 1)]
        pairs = pair_views(page, names)
    return {
        **lead(page),
        "pairs": pairs,
        "datasets": datasets,
        "basis": trust.trust_strip(page),
        **_evidence(page),
        **_appendix(page, datasets),
    }


def lead(page: PageInput) -> dict[str, Any]:
    """What the first screen shows, by name."""
    return {
        "page": page,
        "verdict": page.verdict,
        "findings": [(each, sentence_of(each)) for each in page.verdict.findings],
        "question": f"May {page.verdict.candidate} replace {page.verdict.legacy}?",
        "first": first_screen(page, _datasets(page)),
        "weak": numbers.listing(trust.weak_legacy(page)),
        "against": page.reference or "the random walk",
    }


def _datasets(page: PageInput) -> list[str]:
    """Datasets in the order of the experiment, then any that only the records name."""
    named = [finding.dataset for finding in page.verdict.findings if finding.unit != "ratio"]
    named += [row.dataset for row in page.summaries]
    return list(dict.fromkeys([*page.datasets, *named]))


def _evidence(page: PageInput) -> dict[str, Any]:
    """What else was measured and tried, each with the command that makes it."""
    beside, legacy = page.beside, page.verdict.legacy
    return {
        "criteria": appendix.criteria(page),
        "tests": appendix.tests(page),
        "standings": appendix.standings(page),
        "power": evidence_views.power_table(page),
        "diagnostics": diagnostics(page),
        "self_test": evidence_views.self_test_table(page),
        "costs": cost_tables.cost_table(page, legacy),
        "unmeasured": cost_tables.not_measured(page, legacy),
        "battery": evidence_views.battery_summary(page),
        "predicates": evidence_views.battery_tables(page),
        "claims": evidence_views.claims_tables(page),
        "fallback": evidence_views.fallback_table(page),
        "failures": cost_tables.failures(page),
        "commands": {
            "check": beside.check_command(page.verdict.candidate),
            "claims": beside.command("claims"),
            "gate": beside.command("gate"),
        },
    }


def _appendix(page: PageInput, datasets: list[DatasetView]) -> dict[str, Any]:
    return {
        "speed": [(view.id, view.costs) for view in datasets if view.costs],
        "arms": [(arm, appendix.arm_facts(arm)) for arm in page.arms],
        "data": [(facts, appendix.data_facts(facts)) for facts in page.datasets.values()],
        "policy": policy_tables(page),
        "records": _records(page),
        "glossary": appendix.GLOSSARY,
    }


def _records(page: PageInput) -> list[Any]:
    """Tables of names and values: what the numbers depend on."""
    verdict = page.verdict
    fingerprints = {**verdict.fingerprints, **page.fingerprints}
    machines = dict.fromkeys(cost_tables.machine_text(unit.record) for unit in page.units.values())
    found = [
        appendix.pairs("Facts of the plan", verdicts.plan(verdict.plan)),
        appendix.pairs("Environment", page.environment),
        appendix.pairs("Machines", {f"machine {i}": m for i, m in enumerate(machines, 1)}),
        appendix.pairs("Versions", page.versions),
        appendix.pairs("Fingerprints", fingerprints, code=True),
        appendix.pairs(
            "Digests of what was judged against", verdict.validity.truth_digests, code=True
        ),
    ]
    return [table for table in found if table is not None]
