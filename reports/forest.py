"""The interval plot: every criterion on one axis, 0 equal and 1 the limit.

Positions are per cent of the axis, so that the browser stretches the lines and never the text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.comparison import Comparison, Estimate
from harness.findings import Finding, Outcome
from harness.verdict import Verdict
from reports import wording

_REACH = 3.0
_FALLBACK = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A line from `left` to `right`; an end that goes on beyond the axis is an arrow."""

    left: float
    right: float
    left_open: bool
    right_open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ForestRow:
    """One criterion on the common axis.

    Attributes
    ----------
    label, note
        Metric and role.
    effect, interval, limit
        The numbers at the side, in words.
    dot
        Where the effect stands; None when there is none or it lies beyond the axis.
    hac, bootstrap
        Decision bounds by both methods.
    limits
        Where the criterion's own limits stand.
    """

    dataset: str
    label: str
    note: str
    effect: str
    interval: str
    limit: str
    outcome: Outcome
    word: str
    sentence: str
    dot: float | None
    hac: Bar | None
    bootstrap: Bar | None
    limits: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark on the axis."""

    at: float
    label: str
    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """All rows, by dataset, with their axis; `zero` is where 0 stands."""

    groups: tuple[tuple[str, tuple[ForestRow, ...]], ...]
    ticks: tuple[Tick, ...]
    zero: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    low: float
    high: float

    def at(self, value: float) -> float:
        """Where a value stands, in per cent."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 2)

    def bar(self, low: float | None, high: float | None) -> Bar | None:
        """Draw a range; None is an open end, a range without ends is no line."""
        if low is None and high is None:
            return None
        left = -math.inf if low is None else low
        right = math.inf if high is None else high
        return Bar(
            left=self.at(left),
            right=self.at(right),
            left_open=left < self.low,
            right_open=right > self.high,
        )


def build_forest(verdict: Verdict) -> Forest:
    """Put every finding on the common axis, grouped by dataset in the order judged."""
    units = {finding.id: _unit(finding, verdict) for finding in verdict.findings}
    axis = _axis(verdict, units)
    groups: dict[str, list[ForestRow]] = {}
    for finding in verdict.findings:
        row = _row(finding, units[finding.id], axis)
        groups.setdefault(finding.dataset, []).append(row)
    return Forest(
        groups=tuple((name, tuple(rows)) for name, rows in groups.items()),
        ticks=tuple(_tick(value, axis) for value in range(round(axis.low), round(axis.high) + 1)),
        zero=axis.at(0.0),
    )


def _unit(finding: Finding, verdict: Verdict) -> float:
    """What one step of the axis is worth: the limit, or that of the metric's other rule."""
    if finding.bound:
        return abs(finding.bound)
    same = (other for other in verdict.findings if other.metric == finding.metric)
    return next((abs(other.bound) for other in same if other.bound), _FALLBACK)


def _axis(verdict: Verdict, units: dict[str, float]) -> _Axis:
    ends = [-1.0, 1.0]
    for finding in verdict.findings:
        for estimate in _estimates(finding.comparison):
            ends += [
                end / units[finding.id]
                for end in (estimate.lower, estimate.upper, estimate.effect)
                if end is not None and math.isfinite(end)
            ]
    low, high = max(min(ends), -_REACH), min(max(ends), _REACH)
    return _Axis(low=float(math.floor(low)), high=float(math.ceil(high)))


def _estimates(comparison: Comparison | None) -> list[Estimate]:
    if comparison is None:
        return []
    found = (comparison.estimate("hac"), comparison.estimate("bootstrap"))
    return [estimate for estimate in found if estimate is not None]


def _tick(value: int, axis: _Axis) -> Tick:
    return Tick(
        at=axis.at(float(value)),
        label=str(value).replace("-", "\u2212"),
        word={0: "equal", 1: "limit"}.get(value, ""),
    )


def _row(finding: Finding, unit: float, axis: _Axis) -> ForestRow:
    compared = finding.comparison
    hac = compared.estimate("hac") if compared else None
    bootstrap = compared.estimate("bootstrap") if compared else None
    value = None if compared is None else compared.effect
    ratio = value / unit if value is not None and math.isfinite(value) else None
    return ForestRow(
        dataset=finding.dataset,
        label=wording.metric_name(finding.metric),
        note=finding.role,
        effect=_effect(finding),
        interval=_interval(finding.metric, hac),
        limit=limit_text(finding),
        outcome=finding.outcome,
        word=wording.finding_word(finding),
        sentence=finding.sentence,
        dot=None if ratio is None or not axis.low <= ratio <= axis.high else axis.at(ratio),
        hac=_bar(hac, unit, axis),
        bootstrap=_bar(bootstrap, unit, axis),
        limits=_limits(finding, unit, axis),
    )


def _bar(estimate: Estimate | None, unit: float, axis: _Axis) -> Bar | None:
    if estimate is None:
        return None
    low, high = (
        None if end is None or not math.isfinite(end) else end / unit
        for end in (estimate.lower, estimate.upper)
    )
    return axis.bar(low, high)


def _limits(finding: Finding, unit: float, axis: _Axis) -> tuple[float, ...]:
    compared = finding.comparison
    if compared is None:
        return ()
    ends = (compared.bound_low, compared.bound_high)
    return tuple(axis.at(end / unit) for end in ends if end is not None)


def _effect(finding: Finding) -> str:
    if finding.role == "limit":
        return "" if finding.value is None else f"{finding.value:,.0f}"
    return wording.effect(finding.metric, finding.value)


def _interval(metric: str, estimate: Estimate | None) -> str:
    if estimate is None or (estimate.lower is None and estimate.upper is None):
        return ""
    return wording.effects(metric, estimate.lower, estimate.upper)


def limit_text(finding: Finding) -> str:
    """Write the number a rule compares with."""
    if finding.role == "limit":
        return f"≤ {finding.bound:,.0f}"
    if finding.metric.startswith("coverage"):
        return f"± {wording.points(abs(finding.bound)).removeprefix('+')}"
    sign = -1 if finding.role == "success" else 1
    return f"≤ {wording.percent(sign * abs(finding.bound), signed=True)}"
