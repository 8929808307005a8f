"""How each criterion moved over the runs of a pair."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.costs import HIGHER_IS_BETTER
from harness.judging.findings import Finding
from reports import wording
from reports.forest import bounds_of, limit_text
from reports.index_inputs import RUNS, Passed, Point, Run, Track, Trend


def track_of(runs: Sequence[Run], *, left_out: int = 0) -> Track:
    """Make the track of one pair on one class of machine, from its runs, the oldest first."""
    last = runs[-1].passed
    ids = dict.fromkeys(finding.id for run in reversed(runs) for finding in run.verdict.findings)
    return Track(
        experiment=last.experiment,
        candidate=last.entry.candidate,
        legacy=last.entry.legacy,
        decides=last.entry.decides,
        machine=last.machine,
        runs=tuple(run.passed for run in runs),
        trends=tuple(_trend(name, runs) for name in ids),
        left_out=left_out,
    )


def newest(passed: Sequence[Passed]) -> tuple[list[Passed], int]:
    """The last `RUNS` verdicts of some, in the same order, and how many there are before them."""
    return list(passed[-RUNS:]), max(0, len(passed) - RUNS)


def _trend(name: str, runs: Sequence[Run]) -> Trend:
    found = [(run.passed.entry.sequence, run.finding(name)) for run in runs]
    there = [(sequence, finding) for sequence, finding in found if finding is not None]
    last = there[-1][1]
    part = f", {last.part}" if last.part else ""
    return Trend(
        id=name,
        label=f"{wording.metric_name(last.metric)} ({last.role}{part})",
        dataset=last.dataset,
        limit=limit_text(last),
        limits=_limits(last),
        has_zero=last.unit in ("share", "points"),
        word=wording.finding_word(last),
        points=tuple(_point(sequence, finding) for sequence, finding in there),
    )


def _limits(finding: Finding) -> tuple[float, ...]:
    if finding.unit == "points":
        return (-1.0, 1.0)
    return (-1.0,) if finding.bound < 0 else (1.0,)


def _point(sequence: int, finding: Finding) -> Point:
    low, high = _bounds(finding)
    return Point(
        sequence=sequence,
        outcome=finding.outcome,
        at=_placed(finding, finding.value),
        low=_placed(finding, low),
        high=_placed(finding, high),
        shown=shown(finding),
    )


def _bounds(finding: Finding) -> tuple[float | None, float | None]:
    if finding.comparison is None:
        return (finding.low, finding.high)
    return bounds_of(finding.comparison)


def _placed(finding: Finding, value: float | None) -> float | None:
    """Divide by the limit; None where there is nothing to divide, or no limit to divide by."""
    if value is None or not math.isfinite(value) or not finding.bound:
        return None
    if finding.metric in HIGHER_IS_BETTER:
        return finding.bound / value if value else None
    return value / abs(finding.bound)


def shown(finding: Finding) -> str:
    """Write the effect in its unit."""
    if finding.value is None:
        return wording.NONE
    if finding.unit == "ratio":
        return f"{finding.value:.3g} x"
    if finding.unit == "count" or (finding.role == "limit" and finding.comparison is None):
        return f"{finding.value:,.0f}"
    return wording.effect(finding.metric, finding.value)
