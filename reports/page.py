"""The page: one HTML file that needs nothing else, the same bytes for the same records."""

from __future__ import annotations

from typing import Any

from reports import appendix, cost_line, costs, evidence_views, trust, wording
from reports.compact import compacted
from reports.dataset_section import DatasetView, dataset_view
from reports.diagnostic_views import diagnostics
from reports.first import first_screen
from reports.inputs import ArmFacts, DatasetFacts, PageInput, UnitKey
from reports.pair_views import pair_views
from reports.policy_view import policy_tables
from reports.svg import chart_style
from reports.templating import environment

__all__ = ["ArmFacts", "DatasetFacts", "PageInput", "UnitKey", "content", "render_html"]


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
        first = first_screen(page, names)
    return {
        "page": page,
        "verdict": page.verdict,
        "question": f"May {page.verdict.candidate} replace {page.verdict.legacy}?",
        "first": first,
        "pairs": pairs,
        "datasets": datasets,
        "weak": wording.listing(trust.weak_legacy(page)),
        "against": page.reference or "the random walk",
        "basis": trust.trust_strip(page),
        **_evidence(page),
        **_appendix(page, datasets),
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
        "costs": cost_line.cost_table(page, legacy),
        "unmeasured": cost_line.not_measured(page, legacy),
        "battery": evidence_views.battery_summary(page),
        "predicates": evidence_views.battery_tables(page),
        "claims": evidence_views.claims_tables(page),
        "fallback": evidence_views.fallback_table(page),
        "failures": costs.failures(page),
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
    machines = dict.fromkeys(costs.machine_text(unit.record) for unit in page.units.values())
    found = [
        appendix.pairs("Facts of the plan", verdict.facts),
        appendix.pairs("Environment", page.environment),
        appendix.pairs("Machines", {f"machine {i}": m for i, m in enumerate(machines, 1)}),
        appendix.pairs("Versions", page.versions),
        appendix.pairs("Fingerprints", fingerprints, code=True),
        appendix.pairs(
            "Digests of what was judged against", verdict.validity.truth_digests, code=True
        ),
    ]
    return [table for table in found if table is not None]
