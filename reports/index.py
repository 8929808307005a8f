"""The index of a store: every verdict, newest first, and how each criterion moved over the runs.

Like the page: one HTML file that needs nothing else, the same bytes for the same records.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import groupby

from harness.judging.findings import Outcome
from harness.judging.verdict import plain
from reports.index_inputs import RUNS, IndexInput, Point, Track, Trend
from reports.index_words import verdict_row
from reports.tables import Cell, Table, columns, text
from reports.templating import environment

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
        "tracks": [_track(place, track) for place, track in enumerate(index.tracks, 1)],
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


def _track(place: int, track: Track) -> TrackView:
    return TrackView(
        track=track,
        anchor=f"track-{place}",
        rows=tuple(_row(trend, track) for trend in track.trends),
        figures=_figures(track),
    )


def _row(trend: Trend, track: Track) -> TrendRow:
    now = trend.points[-1]
    return TrendRow(
        trend=trend,
        now=now,
        so_far=so_far(trend),
        strip=_strip(trend, track),
    )


def so_far(trend: Trend) -> str:
    """Name the outcomes in the order they came, with how many runs each lasted."""
    runs = [(outcome, len(list(group))) for outcome, group in groupby(trend.points, _outcome)]
    return ", then ".join(f"{outcome} {count}" for outcome, count in runs)


def _outcome(point: Point) -> Outcome:
    return point.outcome


def _strip(trend: Trend, track: Track) -> Strip | None:
    if all(point.at is None for point in trend.points):
        return None
    runs = [run.entry.sequence for run in track.runs]
    across = {sequence: _across(place, len(runs)) for place, sequence in enumerate(runs)}
    placed = [(across[p.sequence], p) for p in trend.points]
    known = [(x, _up(p.at), p) for x, p in placed if p.at is not None]
    return Strip(
        line="M" + "L".join(f"{x:g} {y:g}" for x, y, _ in known),
        dots="".join(f"M{x:g} {y:g}h0" for x, y, _ in known),
        bars="".join(_bar(x, point) for x, _, point in known),
        marks=_marks([(x, y, point.outcome) for x, y, point in known]),
        limits=tuple(_up(limit) for limit in trend.limits),
        zero=_up(0.0) if trend.has_zero else None,
        alt=_spoken(trend),
    )


def _across(place: int, count: int) -> float:
    """Where a run stands from the left; the last stands at the right edge."""
    return round(WIDTH - _EDGE - (count - 1 - place) * (WIDTH - 2 * _EDGE) / max(count - 1, 1), 1)


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


def _marks(placed: list[tuple[float, float, Outcome]]) -> tuple[Mark, ...]:
    """Mark the runs whose outcome differs from the run before, and the last run."""
    before = [None, *(outcome for _, _, outcome in placed)]
    last = len(placed) - 1
    return tuple(
        Mark(x=x, y=y, outcome=outcome)
        for place, (x, y, outcome) in enumerate(placed)
        if place == last or (place and outcome != before[place])
    )


def _spoken(trend: Trend) -> str:
    values = ", ".join(point.shown for point in trend.points[-_SPOKEN:])
    count = len(trend.points)
    over = "1 run" if count == 1 else f"{count} runs, the last {min(count, _SPOKEN)}"
    return f"{trend.label} on {trend.dataset}, limit {trend.limit}, over {over}: {values}"


def _figures(track: Track) -> Table:
    """Every number of a track: a row per run, newest first."""
    found = {trend.id: {p.sequence: p for p in trend.points} for trend in track.trends}
    heads = [f"{trend.dataset} {trend.label}" for trend in track.trends]
    rows = []
    for run in reversed(track.runs):
        cells = [_value(points.get(run.entry.sequence)) for points in found.values()]
        head = text(f"{run.entry.sequence}", run.until)
        rows.append((head, text(run.entry.outcome.value), *cells))
    return Table(
        caption="Effect of each criterion by run, with its outcome",
        columns=columns("Run", "Verdict", *heads, words=("Verdict",)),
        rows=tuple(rows),
    )


def _value(point: Point | None) -> Cell:
    return text("") if point is None else text(point.shown, point.outcome.value)
