"""The page: one HTML file that needs nothing else, the same bytes for the same records."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from reports import appendix, costs, trust, wording
from reports.dataset_section import DatasetView, dataset_view
from reports.forest import build_forest
from reports.inputs import ArmFacts, DatasetFacts, PageInput, UnitKey
from reports.svg import chart_style

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["ArmFacts", "DatasetFacts", "PageInput", "UnitKey", "render_html"]


def render_html(page: PageInput) -> str:
    """Draw the page.

    Returns
    -------
    str
        A whole HTML document. No clock, no path and no random id is in it; all text that comes
        from outside is escaped.
    """
    with chart_style():
        datasets = [
            dataset_view(page, name, place=place) for place, name in enumerate(_datasets(page))
        ]
    return _environment().get_template("page.html").render(_content(page, datasets)) + "\n"


@lru_cache(maxsize=1)
def _environment() -> Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _datasets(page: PageInput) -> list[str]:
    """Datasets in the order of the experiment, then any that only the records name."""
    named = [finding.dataset for finding in page.verdict.findings]
    named += [row.dataset for row in page.summaries]
    return list(dict.fromkeys([*page.datasets, *named]))


def _content(page: PageInput, datasets: list[DatasetView]) -> dict[str, Any]:
    verdict = page.verdict
    return {
        "page": page,
        "verdict": verdict,
        "meaning": wording.MEANINGS[verdict.outcome],
        "question": f"May {verdict.candidate} replace {verdict.legacy}?",
        "lead": _lead(page, datasets),
        "forest": build_forest(verdict),
        "reasons": list(dict.fromkeys([*verdict.validity.problems, *verdict.reasons])),
        "doubts": [_doubt(doubt) for doubt in trust.doubts(page)],
        "trust": trust.trust_strip(page),
        "weak": wording.listing(trust.weak_legacy(page)),
        "against": page.reference or "the random walk",
        "datasets": datasets,
        "criteria": appendix.criteria(page),
        "tests": appendix.tests(page),
        "standings": appendix.standings(page),
        "failures": costs.failures(page),
        "arms": [(arm, appendix.arm_facts(arm)) for arm in page.arms],
        "data": [(facts, appendix.data_facts(facts)) for facts in page.datasets.values()],
        "records": _records(page),
        "glossary": appendix.GLOSSARY,
    }


def _lead(page: PageInput, datasets: list[DatasetView]) -> list[tuple[str, str]]:
    """Who, against whom, on what, by which policy."""
    return [
        ("Candidate", page.verdict.candidate),
        ("Legacy", page.verdict.legacy),
        ("Data", wording.listing(view.id for view in datasets) or "none"),
        ("Policy", _policy(page)),
    ]


def _policy(page: PageInput) -> str:
    policy = page.verdict.policy
    parts = []
    if policy.get("mode"):
        parts.append(str(policy["mode"]))
    if isinstance(policy.get("alpha"), float):
        parts.append(f"error rate {wording.percent(policy['alpha'])} a side")
    if isinstance(policy.get("min_origins"), int):
        parts.append(f"at least {policy['min_origins']} independent origins")
    return ", ".join(parts) or "as recorded below"


def _doubt(doubt: trust.Doubt) -> str:
    return f"{doubt.title}: {'; '.join(doubt.facts) or doubt.sentence}"


def _records(page: PageInput) -> list[Any]:
    """Tables of names and values: what the numbers depend on."""
    verdict = page.verdict
    fingerprints = {**verdict.fingerprints, **page.fingerprints}
    machines = dict.fromkeys(costs.machine_text(unit.record) for unit in page.units.values())
    found = [
        appendix.pairs("Facts of the plan", verdict.facts),
        appendix.pairs("Policy", verdict.policy),
        appendix.pairs("Environment", page.environment),
        appendix.pairs("Machines", {f"machine {i}": m for i, m in enumerate(machines, 1)}),
        appendix.pairs("Versions", page.versions),
        appendix.pairs("Fingerprints", fingerprints, code=True),
        appendix.pairs(
            "Digests of what was judged against", verdict.validity.truth_digests, code=True
        ),
    ]
    return [table for table in found if table is not None]
