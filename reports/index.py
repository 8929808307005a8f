"""The index of a store: every verdict, newest first, and how each criterion moved over the runs.

Like the page: one HTML file that needs nothing else, the same bytes for the same records.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from harness.costs import HIGHER_IS_BETTER
from harness.gate.history import Change, Entry
from harness.judging.findings import Finding, Outcome
from harness.judging.verdict import Verdict, plain
from reports.forms.html import environment
from reports.section import Table, columns, text
from reports.sections.scorecard import bounds_of, limit_text
from reports.words import numbers
from reports.words.facts import say

SCHEMA = 1
RUNS = 30
"""Runs of a pair whose numbers are shown as a trend; the list of verdicts holds all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """One verdict of a store.

    Attributes
    ----------
    experiment
        Name of the experiment.
    entry
        What the history says of it.
    until
        ISO date of the last origin of any verdict up to this one; '' where none had origins.
    change
        What changed since the last verdict on the same pair; None for the first.
    machine
        The class of machine its units ran on, in words.
    page
        File of its page relative to the folder of all verdicts; '' where none was drawn.
    """

    experiment: str
    entry: Entry
    until: str
    change: Change | None
    machine: str
    page: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One criterion in one run.

    Attributes
    ----------
    sequence
        Number of the verdict in its experiment.
    at, low, high
        Effect and its decision bounds divided by the limit: 1 is the limit. None without.
    shown
        The effect in its unit, in words.
    """

    sequence: int
    outcome: Outcome
    at: float | None
    low: float | None
    high: float | None
    shown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """One criterion over the runs, the oldest first.

    Attributes
    ----------
    limits
        Where its limits stand on the axis of `Point.at`.
    has_zero
        Whether 0 on that axis is equality.
    word
        How it came out last.
    """

    id: str
    label: str
    dataset: str
    limit: str
    limits: tuple[float, ...]
    has_zero: bool
    word: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """The runs of one pair of arms on one class of machine.

    Attributes
    ----------
    runs
        The oldest first; at most `RUNS`.
    left_out
        Earlier runs that are not shown.
    """

    experiment: str
    candidate: str
    legacy: str
    decides: bool
    machine: str
    runs: tuple[Passed, ...]
    trends: tuple[Trend, ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexInput:
    """All an index shows.

    Attributes
    ----------
    passed
        Every verdict, the newest first.
    tracks
        The deciding pair of an experiment first.
    problems
        What of the store cannot be read, one sentence each.
    """

    passed: Sequence[Passed]
    tracks: Sequence[Track] = ()
    problems: Sequence[str] = ()
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A verdict with its record, while trends are made."""

    passed: Passed
    verdict: Verdict

    def finding(self, name: str) -> Finding | None:
        """Find a finding by its id."""
        return next((each for each in self.verdict.findings if each.id == name), None)


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
    limits = (-1.0, 1.0) if last.unit == "points" else (-1.0,) if last.bound < 0 else (1.0,)
    return Trend(
        id=name,
        label=f"{numbers.metric_name(last.metric)} ({last.role}{part})",
        dataset=last.dataset,
        limit=limit_text(last),
        limits=limits,
        has_zero=last.unit in ("share", "points"),
        word=numbers.finding_word(last),
        points=tuple(_point(sequence, finding) for sequence, finding in there),
    )


def _point(sequence: int, finding: Finding) -> Point:
    compared = finding.comparison
    low, high = (finding.low, finding.high) if compared is None else bounds_of(compared)
    return Point(
        sequence=sequence,
        outcome=finding.outcome,
        at=_placed(finding, finding.value),
        low=_placed(finding, low),
        high=_placed(finding, high),
        shown=shown(finding),
    )


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
        return numbers.NONE
    if finding.unit == "ratio":
        return f"{numbers.ratio(finding.value)} x"
    if finding.unit == "count" or (finding.role == "limit" and finding.comparison is None):
        return f"{finding.value:,.0f}"
    return numbers.effect(finding.unit, finding.value)


_MOVED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRow:
    """One verdict as the list shows it."""

    passed: Passed
    name: str
    summary: str
    changes: str


def what_changed(change: Change | None) -> str:
    """Say in words what changed since the last verdict on the same pair."""
    if change is None:
        return "the first on this pair"
    new = [f"{count:,} on {name}" for name, count in change.new_origins.items() if count]
    said = [f"new origins: {numbers.listing(new)}" if new else "no new evidence"]
    if change.before != change.after:
        said.append(f"{change.before} became {change.after}")
    moved = [
        f"{name}: {was or 'none'} to {now or 'none'}"
        for name, (was, now) in list(change.findings.items())[:_MOVED]
    ]
    more = len(change.findings) - len(moved)
    said += moved + ([f"{more} more findings differ"] if more else [])
    if not change.same_meaning:
        said.append("policy, data, arms or code changed")
    return "; ".join(said)


def verdict_row(each: Passed) -> VerdictRow:
    """Word one verdict."""
    return VerdictRow(
        passed=each,
        name=f"{each.experiment} {each.entry.sequence}",
        summary=say(each.entry.summary),
        changes=what_changed(each.change),
    )


WIDTH, HEIGHT = 180, 44
_REACH = 2.0
_EDGE = 8.0
_SPOKEN = 8


def render_index(index: IndexInput) -> str:
    """Draw the index; all text that comes from outside is escaped."""
    machines = dict.fromkeys(each.machine for each in index.passed)
    names = {machine: str(place) for place, machine in enumerate(sorted(machines), 1)}
    content = {
        "index": index,
        "machines": names,
        "verdicts": [verdict_row(each) for each in index.passed],
        "tracks": [
            TrackView(
                track=track,
                anchor=f"track-{place}",
                rows=tuple(
                    TrendRow(
                        trend=trend,
                        now=trend.points[-1],
                        so_far=so_far(trend),
                        strip=_strip(trend, track),
                    )
                    for trend in track.trends
                ),
                figures=_figures(track),
            )
            for place, track in enumerate(index.tracks, 1)
        ],
        "newest": max((each.until for each in index.passed), default=""),
        "most": RUNS,
        "height": HEIGHT,
        "width": WIDTH,
    }
    return environment().get_template("index.html").render(content) + "\n"


def index_json(index: IndexInput) -> str:
    """Write what the index shows as JSON: numbers as numbers."""
    data = plain(index)
    return json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Where a sign stands on a strip, and of which outcome it is."""

    x: float
    y: float
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """A trend as a small picture.

    Attributes
    ----------
    line, dots, bars
        Path data of effects, of every run, and of the decision bounds.
    marks
        A sign where the outcome changed, and at the last run.
    limits
        Heights of the limits.
    zero
        Height of equality; None where the axis has none.
    alt
        The picture in words.
    """

    line: str
    dots: str
    bars: str
    marks: tuple[Mark, ...]
    limits: tuple[float, ...]
    zero: float | None
    alt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendRow:
    """One criterion of a track; `strip` is None where nothing can be placed on an axis."""

    trend: Trend
    now: Point
    so_far: str
    strip: Strip | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackView:
    """One track as the template draws it."""

    track: Track
    anchor: str
    rows: tuple[TrendRow, ...]
    figures: Table


def so_far(trend: Trend) -> str:
    """Name the outcomes in the order they came, with how many runs each lasted."""
    runs = groupby(trend.points, lambda point: point.outcome)
    return ", then ".join(f"{outcome} {len(list(group))}" for outcome, group in runs)


def _strip(trend: Trend, track: Track) -> Strip | None:
    """Draw a trend, its last run at the right edge; marked are changes and the last run."""
    if all(point.at is None for point in trend.points):
        return None
    runs = [run.entry.sequence for run in track.runs]
    step = (WIDTH - 2 * _EDGE) / max(len(runs) - 1, 1)
    across = {
        sequence: round(WIDTH - _EDGE - (len(runs) - 1 - place) * step, 1)
        for place, sequence in enumerate(runs)
    }
    known = [(across[p.sequence], _up(p.at), p) for p in trend.points if p.at is not None]
    count, last = len(trend.points), known[-1][2]
    before = [None, *(point.outcome for _, _, point in known)]
    over = "1 run" if count == 1 else f"{count} runs, the last {min(count, _SPOKEN)}"
    values = ", ".join(point.shown for point in trend.points[-_SPOKEN:])
    return Strip(
        line="M" + "L".join(f"{x:g} {y:g}" for x, y, _ in known),
        dots="".join(f"M{x:g} {y:g}h0" for x, y, _ in known),
        bars="".join(_bar(x, point) for x, _, point in known),
        marks=tuple(
            Mark(x=x, y=y, outcome=point.outcome)
            for place, (x, y, point) in enumerate(known)
            if point is last or (place and point.outcome != before[place])
        ),
        limits=tuple(_up(limit) for limit in trend.limits),
        zero=_up(0.0) if trend.has_zero else None,
        alt=f"{trend.label} on {trend.dataset}, limit {trend.limit}, over {over}: {values}",
    )


def _up(value: float) -> float:
    """Height of a value; worse is higher, and what lies beyond the axis stands at its edge."""
    kept = min(max(value, -_REACH), _REACH)
    return round(HEIGHT / 2 - kept / _REACH * (HEIGHT / 2 - _EDGE), 1)


def _bar(x: float, point: Point) -> str:
    """Draw the decision bounds; a side that is not bounded goes to the edge."""
    if point.low is None and point.high is None:
        return ""
    low = -_REACH if point.low is None else point.low
    high = _REACH if point.high is None else point.high
    return f"M{x:g} {_up(low):g}V{_up(high):g}"


def _figures(track: Track) -> Table:
    """Every number of a track: a row per run, newest first."""
    found = [{point.sequence: point for point in trend.points} for trend in track.trends]
    heads = [f"{trend.dataset} {trend.label}" for trend in track.trends]
    rows = []
    for run in reversed(track.runs):
        there = [points.get(run.entry.sequence) for points in found]
        cells = (text("") if p is None else text(p.shown, p.outcome.value) for p in there)
        head = text(f"{run.entry.sequence}", run.until)
        rows.append((head, text(run.entry.outcome.value), *cells))
    return Table(
        caption="Effect of each rule by run, with its outcome",
        columns=columns("Run", "Verdict", *heads, words=("Verdict",)),
        rows=tuple(rows),
    )
