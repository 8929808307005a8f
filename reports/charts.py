"""The pictures: fan charts, curves over steps, coverage, training. One small style."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from harness.window import Array
from reports.axes import months_axis, value_axis
from reports.inputs import ArmFacts, PageInput
from reports.svg import FONT, INKS, Ink, new_figure, shortened, to_svg
from reports.windows import FAN_LEVELS, Fan, Span
from reports.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BANDS = ((0, 6, 0.14), (1, 5, 0.2), (2, 4, 0.3))
_DASHES = ((0, (1, 0)), (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)))
_LABEL_ROOM = 134
_JUDGED = ("candidate", "legacy", "reference")
_LEADER = {"arrowstyle": "-", "linewidth": 0.6, "relpos": (0, 0.5), "shrinkA": 1, "shrinkB": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stroke:
    """How an arm looks everywhere: colour by side, dash by place among its like, and a marker."""

    ink: Ink
    dash: int
    marker: str
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One labelled line of a chart."""

    label: str
    x: Array
    y: Array
    stroke: Stroke


def strokes(page: PageInput) -> dict[str, Stroke]:
    """Give each arm its look; the two that are judged are solid and wide."""
    found: dict[str, Stroke] = {}
    seen: dict[str, int] = {}
    for arm in page.arms:
        ink = _ink(page, arm)
        judged = ink in ("candidate", "legacy")
        place = seen.get(arm.role, 0)
        seen[arm.role] = place + (not judged)
        found[arm.name] = Stroke(
            ink=ink,
            dash=0 if judged else 1 + place % (len(_DASHES) - 1),
            marker={"candidate": "o", "legacy": "s", "reference": "D"}[arm.role],
            width=2.0 if judged else 1.3,
        )
    return found


def _ink(page: PageInput, arm: ArmFacts) -> Ink:
    if arm.name == page.verdict.candidate:
        return "candidate"
    if arm.name == page.verdict.legacy:
        return "legacy"
    others: dict[str, Ink] = {"candidate": "other-candidate", "legacy": "other-legacy"}
    return others.get(arm.role, "reference")


def fan_chart(
    fan: Fan, span: Span, *, ink: Ink, limits: tuple[float, float], unit: str, name: str, alt: str
) -> str:
    """Draw one arm's forecast of one window over real dates, with what was seen and what came."""
    figure, axes = new_figure(left=58, right=8, top=20)
    dates = span.dates.astype(float)
    _bands(axes, fan, dates, ink)
    middle = fan.point if fan.quantiles is None else fan.quantiles[:, 3]
    axes.plot(dates, middle, color=INKS[ink], linewidth=2)
    axes.plot(span.seen_dates.astype(float), span.seen, color=INKS["muted"], linewidth=1.2)
    axes.plot(dates, span.truth, color=INKS["ink"], linewidth=1.2, marker="o", markersize=2.6)
    axes.axvline(
        float(span.seen_dates[-1].astype(float)),
        color=INKS["muted"],
        linewidth=0.8,
        linestyle=(0, (2, 2)),
    )
    axes.set_ylim(*limits)
    _date_axis(axes, span)
    value_axis(axes, unit)
    return to_svg(figure, name=name, alt=alt)


def _bands(axes: Axes, fan: Fan, dates: Array, ink: Ink) -> None:
    if fan.quantiles is None:
        return
    for low, high, alpha in _BANDS:
        ends = fan.quantiles[:, low], fan.quantiles[:, high]
        axes.fill_between(dates, *ends, color=INKS[ink], alpha=alpha, linewidth=0)


def fan_limits(fans: Sequence[Fan], span: Span) -> tuple[float, float]:
    """One value range for all fans of a window."""
    values = [span.seen, span.truth]
    for fan in fans:
        values.append(fan.point)
        if fan.quantiles is not None:
            values.append(fan.quantiles[:, [0, len(FAN_LEVELS) - 1]].ravel())
    every = np.concatenate(values)
    every = every[np.isfinite(every)]
    low, high = float(every.min()), float(every.max())
    room = 0.04 * (high - low) or 1.0
    return low - room, high + room


def _date_axis(axes: Axes, span: Span) -> None:
    """Mark month starts, the year under the first and each January."""
    first, last = span.seen_dates[0], span.dates[-1]
    axes.set_xlim(first.astype(float), last.astype(float) + 1)
    months_axis(axes, first, last)


def line_chart(
    lines: Sequence[Line],
    *,
    x_label: str,
    unit: str,
    name: str,
    alt: str,
    level: float | None = None,
) -> str:
    """Draw labelled lines; `level` draws a line to compare with. NaN leaves a gap."""
    figure, axes = new_figure(right=_LABEL_ROOM, top=20)
    axes.margins(x=0.02, y=0.06)
    if level is not None:
        axes.axhline(level, color=INKS["muted"], linewidth=0.8)
    for line in lines:
        axes.plot(
            line.x,
            line.y,
            color=INKS[line.stroke.ink],
            linewidth=line.stroke.width,
            linestyle=_DASHES[line.stroke.dash],
        )
    top = _cut(lines)
    if top is not None:
        axes.set_ylim(min(_lows(lines)) - 0.04 * top, top)
    _integer_axis(axes, x_label)
    value_axis(axes, unit)
    _direct_labels(axes, lines, top=top)
    return to_svg(figure, name=name, alt=alt)


def _cut(lines: Sequence[Line]) -> float | None:
    """Where to end the axis when a line that is not judged lies far above all that are."""
    tops = {line.label: _top(line) for line in lines}
    judged = [tops[line.label] for line in lines if line.stroke.ink in _JUDGED]
    known = [top for top in judged if math.isfinite(top)]
    if not known or max(known) <= 0 or max(tops.values()) <= 3 * max(known):
        return None
    return 1.35 * max(known)


def cut_note(lines: Sequence[Line]) -> str:
    """Say for the caption which lines leave the chart; '' where none does."""
    top = _cut(lines)
    above = [] if top is None else [line for line in lines if _top(line) > top]
    said = ", ".join(f"{line.label} (up to {number(_top(line))})" for line in above)
    return f" \u2191 Above the chart: {said}." if said else ""


def _top(line: Line) -> float:
    return float(np.nanmax(line.y)) if np.isfinite(line.y).any() else -math.inf


def _lows(lines: Sequence[Line]) -> list[float]:
    return [float(np.nanmin(line.y)) for line in lines if np.isfinite(line.y).any()]


def _integer_axis(axes: Axes, label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.set_xlabel(label, labelpad=2)


def coverage_chart(
    lines: Sequence[Line], bands: Mapping[float, tuple[float, float]], *, name: str, alt: str
) -> str:
    """Draw coverage minus nominal, in points, over nominal levels with binomial bands.

    Parameters
    ----------
    lines
        One per arm: `x` places 0, 1, ... of the levels, `y` points above nominal.
    bands
        Nominal level (a share) to the range of chance, in points above nominal.
    """
    figure, axes = new_figure(right=_LABEL_ROOM, top=20)
    for place, (low, high) in enumerate(bands.values()):
        axes.fill_between([place - 0.3, place + 0.3], low, high, color=INKS["line"], linewidth=0)
    axes.axhline(0, color=INKS["ink"], linewidth=0.8)
    ends: list[Line] = []
    for place, line in enumerate(lines):
        shift = 0.4 * ((place + 0.5) / len(lines) - 0.5)
        moved = replace(line, x=line.x + shift)
        ends.append(moved)
        axes.plot(
            moved.x,
            line.y,
            color=INKS[line.stroke.ink],
            linewidth=0.7 * line.stroke.width,
            linestyle=_DASHES[line.stroke.dash],
            marker=line.stroke.marker,
            markersize=4.5,
        )
    axes.set_xlim(-0.4, len(bands) - 0.5)
    axes.set_xticks(range(len(bands)), [f"{100 * level:.0f} %" for level in bands])
    axes.set_xlabel("nominal coverage", labelpad=2)
    value_axis(axes, "points above nominal")
    _direct_labels(axes, ends)
    return to_svg(figure, name=name, alt=alt)


def _direct_labels(axes: Axes, lines: Sequence[Line], *, top: float | None = None) -> None:
    """Write each line's name at its right end, pushed apart where they would touch.

    A line that ends above `top` is named there, with an arrow.
    """
    ends = [_named_end(line, top) for line in lines]
    known = sorted(
        ((line, end) for line, end in ends if end is not None), key=lambda pair: pair[1][1]
    )
    if not known:
        return
    heights = [float(axes.transData.transform(end)[1]) for _, end in known]
    low, high = axes.transAxes.transform([(0, 0), (1, 1)])[:, 1]
    placed = _apart(heights, gap=FONT + 2.0, low=float(low), high=float(high))
    for (line, end), height in zip(known, placed, strict=True):
        _label(axes, line, end, height)


def _named_end(line: Line, top: float | None) -> tuple[Line, tuple[float, float] | None]:
    end = _last(line)
    if end is None or top is None or end[1] <= top:
        return line, end
    return replace(line, label=f"\u2191 {line.label}"), (end[0], top)


def _label(axes: Axes, line: Line, end: tuple[float, float], height: float) -> None:
    """Write a line's name beside the plot at a height in pixels, with a leader to its end."""
    at = axes.transData.transform(end)
    right = axes.transAxes.transform((1, 0))[0]
    colour = INKS[line.stroke.ink]
    axes.annotate(
        shortened(line.label),
        end,
        xytext=(right - at[0] + 16, height - at[1]),
        textcoords="offset points",
        va="center",
        ha="left",
        color=colour,
        annotation_clip=False,
        arrowprops={**_LEADER, "color": colour},
    )


def _last(line: Line) -> tuple[float, float] | None:
    fine = np.flatnonzero(np.isfinite(line.y))
    return None if len(fine) == 0 else (float(line.x[fine[-1]]), float(line.y[fine[-1]]))


def _apart(heights: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """Move sorted heights as little as possible so that neighbours are at least `gap` apart.

    Groups that would touch are spread around their mean; then all are kept between `low` and
    `high`, as far as they have room there.
    """
    groups: list[list[float]] = []  # of heights less the gaps below them: these must not decrease
    for place, height in enumerate(heights):
        groups.append([height - gap * place])
        while len(groups) > 1 and np.mean(groups[-2]) > np.mean(groups[-1]):
            last = groups.pop()
            groups[-1] += last
    level = [float(np.mean(group)) for group in groups for _ in group]
    placed = [height + gap * place for place, height in enumerate(level)]
    for place, height in enumerate(placed):
        placed[place] = max(height, low + gap * place)
    top = len(placed) - 1
    return [min(height, high - gap * (top - place)) for place, height in enumerate(placed)]


def training_chart(
    curves: Sequence[Mapping[str, Array]],
    labels: Sequence[str],
    *,
    stroke: Stroke,
    name: str,
    alt: str,
) -> str:
    """Draw training (thin, dotted) and validation loss (solid) of one arm, one pair per fit."""
    figure, axes = new_figure(right=_LABEL_ROOM, top=20)
    axes.margins(x=0.02, y=0.06)
    lines = [
        Line(label=label, x=curve["epoch"], y=curve["validation_loss"], stroke=stroke)
        for label, curve in zip(labels, curves, strict=True)
    ]
    ink, epochs = INKS[stroke.ink], _joined([line.x for line in lines])
    training = _joined([curve["train_loss"] for curve in curves])
    axes.plot(epochs, training, color=ink, linewidth=1, linestyle=_DASHES[2])
    axes.plot(epochs, _joined([line.y for line in lines]), color=ink, linewidth=1.4)
    _mark_best(axes, lines)
    _integer_axis(axes, "epoch")
    value_axis(axes, "loss")
    _direct_labels(axes, [line for line in lines if line.label])
    return to_svg(figure, name=name, alt=alt)


def _joined(parts: Sequence[Array]) -> Array:
    """Several curves as one that breaks between them: a picture of one path is much smaller."""
    gap = np.array([np.nan])
    return np.concatenate([piece for part in parts for piece in (part.astype(float), gap)])


def _mark_best(axes: Axes, lines: Sequence[Line]) -> None:
    known = [line for line in lines if np.isfinite(line.y).any()]
    best = [(line.x[at], line.y[at]) for line in known for at in (int(np.nanargmin(line.y)),)]
    if best:
        axes.plot(*zip(*best, strict=True), INKS[known[0].stroke.ink], ls="", marker="o", ms=5)
