"""The interval plot: every criterion on one axis, 0 equal and 1 the limit.

Positions are per cent of the axis, so that the browser stretches the lines and never the text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.costs import HIGHER_IS_BETTER
from harness.evidence.comparison import Comparison
from harness.evidence.estimates import Estimate
from harness.judging.findings import Finding, Outcome
from harness.judging.verdict import Verdict
from reports.section import Block
from reports.words import numbers

_REACH = 3.0
_ROLES = {"guardrail": "Guardrail", "success": "Gain asked for", "limit": "Limits"}
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
    label, note, role
        Metric, and role with what else must be known; the role alone.
    effect, interval, limit
        The numbers at the side, in words.
    dot
        Where the effect stands; None when there is none or it lies beyond the axis.
    hac, every
        Decision bounds over origins by the autocorrelation-robust test, and by every method that
        decides (bootstrap and seeds too): from the lowest to the highest.
    limits
        Where the criterion's own limits stand.
    """

    dataset: str
    label: str
    note: str
    role: str
    effect: str
    interval: str
    limit: str
    outcome: Outcome
    word: str
    dot: float | None
    hac: Bar | None
    every: Bar | None
    limits: tuple[float, ...]

    @property
    def detail(self) -> str:
        """What must be known besides the role."""
        return self.note.removeprefix(self.role).removeprefix(", ")

    @property
    def silent(self) -> bool:
        """A limit without an interval that is kept."""
        kept = self.role == "limit" and self.outcome is Outcome.PROMOTE
        return kept and self.hac is None and self.dot is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark on the axis."""

    at: float
    label: str
    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest(Block):
    """All rows, by dataset, with their axis.

    Attributes
    ----------
    zero
        Where 0 stands.
    kept
        What to say of the rows that are not drawn.
    """

    groups: tuple[tuple[str, tuple[ForestRow, ...]], ...]
    ticks: tuple[Tick, ...]
    zero: float
    kept: str = ""

    @property
    def shown(self) -> int:
        """How many rows are drawn."""
        return sum(len(rows) for _, rows in self.by_role)

    @property
    def by_role(self) -> list[tuple[str, list[ForestRow]]]:
        """Rows under role and dataset, without the counts that are kept."""
        found: dict[str, list[ForestRow]] = {}
        for role, title in _ROLES.items():
            for name, rows in self.groups:
                mine = [row for row in rows if row.role == role and not row.silent]
                if mine:
                    heading = title if role == "limit" else f"{title}, {name}"
                    found[heading] = [*found.get(heading, ()), *mine]
        return list(found.items())

    @property
    def silent(self) -> list[ForestRow]:
        """Counts that are kept: one line is enough for all of them."""
        return [row for _, rows in self.groups for row in rows if row.silent]


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


_WAIVED = {True: "waived", False: ""}


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
    """Those the conclusion rests on: all but the non-overlapping origins alone."""
    found = comparison.estimates if comparison else ()
    return [estimate for estimate in found if estimate.method != "independent"]


def bounds_of(comparison: Comparison | None) -> tuple[float | None, float | None]:
    """Lowest lower and highest upper bound of the methods that decide; None where one is open."""
    found = _estimates(comparison)
    lower = [each.lower for each in found]
    upper = [each.upper for each in found]
    return (
        None if not found or None in lower else min(end for end in lower if end is not None),
        None if not found or None in upper else max(end for end in upper if end is not None),
    )


def _tick(value: int, axis: _Axis) -> Tick:
    return Tick(
        at=axis.at(float(value)),
        label=str(value).replace("-", "\u2212"),
        word={0: "equal", 1: "limit"}.get(value, ""),
    )


def _row(finding: Finding, unit: float, axis: _Axis) -> ForestRow:
    compared = finding.comparison
    hac = compared.estimate("hac") if compared else None
    low, high = bounds_of(compared)
    value = None if compared is None else compared.effect.value
    ratio = value / unit if value is not None and math.isfinite(value) else None
    return ForestRow(
        dataset=finding.dataset,
        label=numbers.metric_name(finding.metric),
        role=finding.role,
        note=", ".join(filter(None, (finding.role, finding.part, _WAIVED[finding.waived]))),
        effect=effect_text(finding),
        interval=_interval(finding, low, high),
        limit=limit_text(finding),
        outcome=finding.outcome,
        word=numbers.finding_word(finding),
        dot=None if ratio is None or not axis.low <= ratio <= axis.high else axis.at(ratio),
        hac=_bar(hac.lower, hac.upper, unit, axis) if hac else None,
        every=_bar(low, high, unit, axis) if compared and compared.estimates else None,
        limits=_limits(finding, unit, axis),
    )


def _bar(lower: float | None, upper: float | None, unit: float, axis: _Axis) -> Bar | None:
    low, high = (
        None if end is None or not math.isfinite(end) else end / unit for end in (lower, upper)
    )
    return axis.bar(low, high)


def _limits(finding: Finding, unit: float, axis: _Axis) -> tuple[float, ...]:
    compared = finding.comparison
    if compared is None:
        return ()
    return tuple(axis.at(end / unit) for end in sorted(compared.question.bounds))


def effect_text(finding: Finding) -> str:
    """Write what was found, in the unit of the rule."""
    if finding.unit == "ratio":
        return numbers.NONE if finding.value is None else f"{finding.value:.3g} x"
    if is_count(finding):
        return "" if finding.value is None else f"{finding.value:,.0f}"
    counted = finding.comparison is not None and finding.comparison.failed.candidate_as not in (
        "",
        "out",
    )
    said = numbers.effect(finding.unit, finding.value)
    return f"{said}, failures counted" if counted else said


def _interval(finding: Finding, low: float | None, high: float | None) -> str:
    if finding.unit == "ratio" and finding.low is not None and finding.high is not None:
        return f"{finding.low:.3g} to {finding.high:.3g} x"
    if low is None and high is None:
        return "no bounds" if finding.comparison and finding.comparison.estimates else ""
    return numbers.effects(finding.unit, low, high)


def is_count(finding: Finding) -> bool:
    """Whether it is about a number of windows; so are all limits of the first schema."""
    return finding.unit == "count" or (finding.role == "limit" and finding.comparison is None)


def limit_text(finding: Finding) -> str:
    """Write the number a rule compares with."""
    if finding.unit == "ratio":
        return f"{'≥' if finding.metric in HIGHER_IS_BETTER else '≤'} {finding.bound:g} x"
    if is_count(finding):
        return f"≤ {finding.bound:,.0f}"
    limit = numbers.effect(finding.unit, finding.bound)
    two_sided = finding.estimand is not None and finding.estimand.two_sided
    return f"± {limit.removeprefix('+')}" if two_sided else f"≤ {limit}"
