"""The pictures: fan charts, curves over steps, coverage, training. One small style."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from harness.window import Array
from reports.inputs import ArmFacts, PageInput
from reports.svg import FONT, INKS, Ink, new_figure, to_svg
from reports.windows import FAN_LEVELS, Fan, Span

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BANDS = ((0, 6, 0.14), (1, 5, 0.2), (2, 4, 0.3))
_DASHES = ((0, (1, 0)), (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)))
_LABEL_ROOM = 122
_LEADER = {"arrowstyle": "-", "linewidth": 0.6, "relpos": (0, 0.5), "shrinkA": 1, "shrinkB": 3}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


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
    _value_axis(axes, unit)
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
    months = np.arange(first.astype("datetime64[M]") + 1, last.astype("datetime64[M]") + 1)
    keep = months[:: max(1, math.ceil(len(months) / 5))]
    labels = []
    for place, month in enumerate(keep.astype(int).tolist()):
        text = _MONTHS[month % 12]
        labels.append(f"{text}\n{1970 + month // 12}" if place == 0 or month % 12 == 0 else text)
    axes.set_xticks(keep.astype("datetime64[D]").astype(float), labels)


def _value_axis(axes: Axes, unit: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, min_n_ticks=3))
    low, high = axes.get_ylim()
    digits = 0 if high - low >= 8 else 1 if high - low >= 0.8 else 2 if high - low >= 0.08 else 4
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:,.{digits}f}".replace("-", "\u2212"))
    )
    axes.annotate(
        unit,
        (0, 1),
        xytext=(-4, 7),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="left",
        va="bottom",
        color=INKS["muted"],
        fontsize=FONT,
    ) if unit else None


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
    _integer_axis(axes, x_label)
    _value_axis(axes, unit)
    _direct_labels(axes, lines)
    return to_svg(figure, name=name, alt=alt)


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
    _value_axis(axes, "points above nominal")
    _direct_labels(axes, ends)
    return to_svg(figure, name=name, alt=alt)


def _direct_labels(axes: Axes, lines: Sequence[Line]) -> None:
    """Write each line's name at its right end, pushed apart where they would touch."""
    ends = [(line, _last(line)) for line in lines]
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


def _label(axes: Axes, line: Line, end: tuple[float, float], height: float) -> None:
    """Write a line's name beside the plot at a height in pixels, with a leader to its end."""
    at = axes.transData.transform(end)
    right = axes.transAxes.transform((1, 0))[0]
    colour = INKS[line.stroke.ink]
    axes.annotate(
        _short(line.label),
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
    down = max(0.0, placed[-1] - high)
    up = max(0.0, low - (placed[0] - down))
    return [height - down + up for height in placed]


def _short(label: str, size: int = 17) -> str:
    return label if len(label) <= size else f"{label[: size - 1]}\u2026"


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
    lines = []
    for label, curve in zip(labels, curves, strict=True):
        line = Line(label=label, x=curve["epoch"], y=curve["validation_loss"], stroke=stroke)
        axes.plot(
            line.x, curve["train_loss"], color=INKS[stroke.ink], linewidth=1, linestyle=_DASHES[2]
        )
        axes.plot(line.x, line.y, color=INKS[stroke.ink], linewidth=1.4)
        _mark_best(axes, line)
        lines.append(line)
    _integer_axis(axes, "epoch")
    _value_axis(axes, "loss")
    _direct_labels(axes, [line for line in lines if line.label])
    return to_svg(figure, name=name, alt=alt)


def _mark_best(axes: Axes, line: Line) -> None:
    if np.isfinite(line.y).any():
        best = int(np.nanargmin(line.y))
        axes.plot(line.x[best], line.y[best], color=INKS[line.stroke.ink], marker="o", markersize=5)
