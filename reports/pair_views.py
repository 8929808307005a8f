"""One section per legacy arm against the candidate."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from harness.judging.findings import Outcome
from harness.judging.verdict import Verdict
from reports import wording
from reports.cost_line import cost_table, not_measured
from reports.forest import Forest, build_forest
from reports.inputs import PageInput
from reports.slice_views import worst_slice
from reports.tables import Table
from reports.why import open_rules, why


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
        next_action=verdict.next_action,
        forest=build_forest(verdict),
        worst="No part can be compared."
        if worst is None
        else f"{worst.title} on {worst.dataset}, CRPS {wording.effect('crps', worst.effect)}",
        open=len(open_rules(verdict)),
        self_test=_self_test(verdict),
        reasons=tuple(dict.fromkeys([*verdict.validity.problems, *verdict.reasons])),
        costs=cost_table(page, verdict.legacy),
        unmeasured=not_measured(page, verdict.legacy),
    )


def _self_test(verdict: Verdict) -> str:
    """How the gate judged itself on this pair; '' where it did not."""
    if verdict.self_test is None:
        return ""
    bad = [
        f"{part.code} failed: {part.said}"
        for part in verdict.self_test.parts
        if part.state == "failed"
    ]
    count = f"Self-test: {verdict.self_test.passed} of {len(verdict.self_test.parts)} parts passed"
    return "; ".join([count, *bad]) + "."
