"""The scorecard: every rule with its interval and its own limit, on one axis in per cent.

Losses stand as per cent of the legacy arm's, coverage as points off its nominal level, costs as per
cent more or less. Positions are per cent of the axis, so that the browser stretches the lines and
never the text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.costs import HIGHER_IS_BETTER
from harness.evidence.estimand import Coverage
from harness.judging.findings import Finding, Outcome
from harness.judging.verdict import Verdict
from reports.section import Block
from reports.words import numbers

_REACH = 1.0
"""The axis ends here at most: at twice the loss, or none at all."""
_LEAST = 0.1
_FINE = 0.05
"""The ends of the axis are multiples of this."""
_STEPS = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
_TICKS = 3.5
"""More steps than these on the axis, and their numbers would touch."""
_ROLES = {"guardrail": "Guardrails", "success": "Gains asked for", "limit": "Limits"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A line from `left` to `right`; an end that goes on beyond the axis is an arrow."""

    left: float
    right: float
    left_open: bool
    right_open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
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
class AxisTick:
    """A mark on the axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorecard(Block):
    """All rows, by dataset, with their axis.

    Attributes
    ----------
    zero
        Where 0 stands.
    kept
        What to say of the rows that are not drawn.
    """

    groups: tuple[tuple[str, tuple[ScoreRow, ...]], ...]
    ticks: tuple[AxisTick, ...]
    zero: float
    kept: str = ""

    @property
    def shown(self) -> int:
        """How many rows are drawn."""
        return sum(len(rows) for _, rows in self.by_role)

    @property
    def by_role(self) -> list[tuple[str, list[ScoreRow]]]:
        """Rows under role and dataset, without the counts that are kept."""
        found: dict[str, list[ScoreRow]] = {}
        for role, title in _ROLES.items():
            for name, rows in self.groups:
                mine = [row for row in rows if row.role == role and not row.silent]
                if mine:
                    heading = title if role == "limit" else f"{title} on {name}"
                    found[heading] = [*found.get(heading, ()), *mine]
        return list(found.items())

    @property
    def silent(self) -> list[ScoreRow]:
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


def build_scorecard(verdict: Verdict) -> Scorecard:
    """Put every finding on the common axis, grouped by dataset in the order judged."""
    ends = [-_LEAST / 2, _LEAST / 2]  # room for effects, bounds and limits, up to a whole loss
    for finding in verdict.findings:
        ends += [end for end in finding.bounds if end is not None]
        ends += _limits(finding)
        ends += [end for end in (_place(finding), *_cost_ends(finding)) if end is not None]
    known = [min(max(end, -_REACH), _REACH) for end in ends if math.isfinite(end)]
    axis = _Axis(
        low=math.floor(min(known) / _FINE) * _FINE, high=math.ceil(max(known) / _FINE) * _FINE
    )
    groups: dict[str, list[ScoreRow]] = {}
    for finding in verdict.findings:
        groups.setdefault(finding.dataset, []).append(_row(finding, axis))
    step = next(each for each in _STEPS if (axis.high - axis.low) / each <= _TICKS)
    ticks = []
    for place in range(math.ceil(axis.low / step), math.floor(axis.high / step) + 1):
        size = f"{100 * place * step:+.0f}".replace("-", "\u2212")
        ticks.append(AxisTick(at=axis.at(place * step), label=size if place else "equal"))
    return Scorecard(
        groups=tuple((name, tuple(rows)) for name, rows in groups.items()),
        ticks=tuple(ticks),
        zero=axis.at(0.0),
    )


def _place(finding: Finding) -> float | None:
    """Where the effect stands on the axis; a cost as what it is more or less than legacy's."""
    if finding.unit == "ratio":
        return _more(finding, finding.value)
    value = None if finding.comparison is None else finding.comparison.effect.value
    return value if value is not None and math.isfinite(value) else None


def _more(finding: Finding, ratio: float | None) -> float | None:
    """A ratio as a share more or less, so that less is better."""
    if not ratio or not math.isfinite(ratio):
        return None
    return 1 / ratio - 1 if finding.metric in HIGHER_IS_BETTER else ratio - 1


def _cost_ends(finding: Finding) -> tuple[float | None, float | None]:
    """Ends of a measured ratio on the axis, in order."""
    if finding.unit != "ratio":
        return None, None
    ends = [_more(finding, end) for end in (finding.low, finding.high)]
    low, high = sorted(end for end in ends if end is not None) if None not in ends else ends
    return low, high


def _limits(finding: Finding) -> list[float]:
    if finding.unit == "ratio":
        bound = _more(finding, finding.bound)
        return [] if bound is None else [bound]
    return [] if finding.comparison is None else sorted(finding.comparison.question.bounds)


def _row(finding: Finding, axis: _Axis) -> ScoreRow:
    compared = finding.comparison
    hac = compared.estimate("hac") if compared else None
    low, high = finding.bounds
    value, cost = _place(finding), _cost_ends(finding)
    every = axis.bar(*cost)
    if compared and compared.estimates:
        every = axis.bar(*(_finite(end) for end in (low, high)))
    interval = ""
    if finding.unit == "ratio" and finding.low is not None and finding.high is not None:
        interval = f"{numbers.ratio(finding.low)} to {numbers.ratio(finding.high)} x"
    elif compared is not None and compared.estimates:
        interval = numbers.found_range(finding, low, high)
    return ScoreRow(
        dataset=finding.dataset,
        label=numbers.metric_name(finding.metric),
        role=finding.role,
        note=", ".join(filter(None, (finding.role, finding.part, "waived" * finding.waived))),
        effect=effect_text(finding),
        interval=interval,
        limit=limit_text(finding),
        outcome=finding.outcome,
        word=numbers.finding_word(finding),
        dot=None if value is None or not axis.low <= value <= axis.high else axis.at(value),
        hac=axis.bar(_finite(hac.lower), _finite(hac.upper)) if hac else axis.bar(*cost),
        every=every,
        limits=tuple(axis.at(end) for end in _limits(finding)),
    )


def _finite(end: float | None) -> float | None:
    return None if end is None or not math.isfinite(end) else end


def effect_text(finding: Finding) -> str:
    """Write what was found, in the unit of the rule."""
    if finding.unit == "ratio":
        return numbers.NONE if finding.value is None else f"{numbers.ratio(finding.value)} x"
    if is_count(finding):
        return "" if finding.value is None else f"{finding.value:,.0f}"
    counted = finding.comparison is not None and finding.comparison.failed.candidate_as not in (
        "",
        "out",
    )
    said = numbers.found(finding, finding.value)
    return f"{said}, failures counted" if counted else said


def is_count(finding: Finding) -> bool:
    """Whether it is about a number of windows; so are all limits of the first schema."""
    return finding.unit == "count" or (finding.role == "limit" and finding.comparison is None)


def limit_text(finding: Finding) -> str:
    """Write the number a rule compares with."""
    if finding.unit == "ratio":
        return f"{'≥' if finding.metric in HIGHER_IS_BETTER else '≤'} {finding.bound:g} x"
    if is_count(finding):
        return f"≤ {finding.bound:,.0f}"
    if isinstance(finding.estimand, Coverage):
        return f"{finding.estimand.level} ± {100 * finding.bound:g}\u202f%"
    limit = numbers.effect(finding.unit, finding.bound)
    two_sided = finding.estimand is not None and finding.estimand.two_sided
    return f"± {limit.removeprefix('+')}" if two_sided else f"≤ {limit}"
