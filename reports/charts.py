"""The pictures: fan charts, curves over steps, coverage, training. One small style."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from harness.window import Array, Dates
from reports.page_input import FAN_LEVELS, Fan, PageInput, PriceSpan
from reports.svg import FONT, HEIGHT, INKS, WIDTH, Ink, in_lines, new_figure, to_svg
from reports.words.numbers import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis


Day = np.datetime64
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def number_axis(axis: Axis, limits: tuple[float, float]) -> None:
    """Write few round numbers with as many decimals as the range needs, and as they need apart."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=5, min_n_ticks=3))
    wide = abs(limits[1] - limits[0])
    digits = 0 if wide >= 8 else 1 if wide >= 0.8 else 2 if wide >= 0.08 else 4

    def written(value: float, _: int | None) -> str:
        places = axis.get_majorticklocs()
        halves = any(abs(at - round(at, digits)) > wide * 1e-6 for at in map(float, places))
        return f"{value + 0.0:,.{digits + halves}f}".replace("-", "\u2212")

    axis.set_major_formatter(FuncFormatter(written))


def value_axis(axes: Axes, unit: str) -> None:
    """Write numbers upwards, the unit above them."""
    number_axis(axes.yaxis, axes.get_ylim())
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


def years_axis(axes: Axes, dates: Dates) -> None:
    """Mark year starts, or month starts where there are too few of them."""
    first, last = dates[0].astype("datetime64[D]"), dates[-1].astype("datetime64[D]")
    axes.set_xlim(first.astype(float), max(last.astype(float), first.astype(float) + 1))
    years = np.arange(first.astype("datetime64[Y]") + 1, last.astype("datetime64[Y]") + 1)
    if len(years) < 3:
        months_axis(axes, first, last)
        return
    keep = years[:: max(1, math.ceil(len(years) / 6))]
    at = keep.astype("datetime64[D]").astype(float)
    axes.set_xticks(at, [str(year) for year in keep])


def months_axis(axes: Axes, first: np.datetime64, last: np.datetime64) -> None:
    """Mark month starts, the year under the first of each."""
    months = np.arange(first.astype("datetime64[M]") + 1, last.astype("datetime64[M]") + 1)
    keep = months[:: max(1, math.ceil(len(months) / 5))]
    labels, told = [], None
    for month in keep.astype(int).tolist():
        year, text = 1970 + month // 12, _MONTHS[month % 12]
        labels.append(text if year == told else f"{text}\n{year}")
        told = year
    axes.set_xticks(keep.astype("datetime64[D]").astype(float), labels)


_NEAR_END = 0.1
_BANDS = ((0, 6, 0.14), (1, 5, 0.2), (2, 4, 0.3))
_DASHES = ((0, (1, 0)), (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)))
_LABEL_ROOM = 134
_LABEL = 18
_JUDGED = ("candidate", "legacy", "reference")
_LEADER = {
    "arrowstyle": "-",
    "linewidth": 0.6,
    "relpos": (0, 0.5),
    "shrinkA": 3,
    "shrinkB": 3,
    "patchA": None,  # else where the line leaves the name is searched for: half the time of a chart
}


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
    others: dict[str, Ink] = {"candidate": "other-candidate", "legacy": "other-legacy"}
    found: dict[str, Stroke] = {}
    seen: dict[str, int] = {}
    for arm in page.arms:
        ink = others.get(arm.role, "reference")
        ink = "candidate" if arm.name == page.verdict.candidate else ink
        ink = "legacy" if arm.name == page.verdict.legacy else ink
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


def fan_chart(
    fan: Fan,
    span: PriceSpan,
    *,
    ink: Ink,
    limits: tuple[float, float],
    unit: str,
    name: str,
    alt: str,
) -> str:
    """Draw one arm's forecast of one window over real dates, with what was seen and what came."""
    figure, axes = new_figure(left=58, right=8, top=20)
    dates = span.dates.astype(float)
    middle = fan.point
    if fan.quantiles is not None:
        middle = fan.quantiles[:, 3]
        for low, high, alpha in _BANDS:
            ends = fan.quantiles[:, low], fan.quantiles[:, high]
            axes.fill_between(dates, *ends, color=INKS[ink], alpha=alpha, linewidth=0)
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
    axes.set_xlim(span.seen_dates[0].astype(float), span.dates[-1].astype(float) + 1)
    months_axis(axes, span.seen_dates[0], span.dates[-1])
    value_axis(axes, unit)
    return to_svg(figure, name=name, alt=alt)


def fan_limits(fans: Sequence[Fan], span: PriceSpan) -> tuple[float, float]:
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
    figure, axes = new_figure(height=_height(lines), right=_LABEL_ROOM, top=20)
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
        lows = [np.nanmin(line.y) for line in lines if np.isfinite(line.y).any()]
        axes.set_ylim(float(min(lows)) - 0.04 * top, top)
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
    figure, axes = new_figure(height=_height(lines), right=_LABEL_ROOM, top=20)
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
    ends = []
    for line in lines:
        fine = np.flatnonzero(np.isfinite(line.y))
        if len(fine):
            x, y = float(line.x[fine[-1]]), float(line.y[fine[-1]])
            above = top is not None and y > top
            shown = replace(line, label=f"\u2191 {line.label}") if above else line
            ends.append((shown, (x, top if above and top is not None else y)))
    if not ends:
        return
    ends.sort(key=lambda each: each[1][1])
    heights = [float(axes.transData.transform(end)[1]) for _, end in ends]
    low, high = axes.transAxes.transform([(0, 0), (1, 1)])[:, 1]
    placed = _apart(heights, gap=_gap(lines), low=float(low), high=float(high))
    right = axes.transAxes.transform((1, 0))[0]
    for (line, end), height in zip(ends, placed, strict=True):
        at, colour = axes.transData.transform(end), INKS[line.stroke.ink]
        axes.annotate(  # beside the plot, with a leader to the line's end
            in_lines(line.label, _LABEL),
            end,
            xytext=(right - at[0] + 16, height - at[1]),
            textcoords="offset points",
            va="center",
            ha="left",
            color=colour,
            annotation_clip=False,
            arrowprops={**_LEADER, "color": colour},
        )


def _gap(lines: Sequence[Line]) -> float:
    """Room from one name to the next: some have two lines."""
    two = any("\n" in in_lines(line.label, _LABEL) for line in lines)
    return (2 if two else 1) * FONT + 2.0


def _height(lines: Sequence[Line]) -> int:
    """As high as every chart, or higher where its names need the room."""
    return max(HEIGHT, 70 + round(_gap(lines) * len(lines)))


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
    known = [line for line in lines if np.isfinite(line.y).any()]
    best = [(line.x[at], line.y[at]) for line in known for at in (int(np.nanargmin(line.y)),)]
    if best:
        axes.plot(*zip(*best, strict=True), ink, ls="", marker="o", ms=5)
    _integer_axis(axes, "epoch")
    value_axis(axes, "loss")
    _direct_labels(axes, [line for line in lines if line.label])
    return to_svg(figure, name=name, alt=alt)


def _joined(parts: Sequence[Array]) -> Array:
    """Several curves as one that breaks between them: a picture of one path is much smaller."""
    gap = np.array([np.nan])
    return np.concatenate([piece for part in parts for piece in (part.astype(float), gap)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A labelled value with its interval; an end that is None is open or unknown.

    Where intervals are expected, one without is `hollow`: no bar is not a short one.
    """

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    ink: Ink = "candidate"
    others: tuple[float, ...] = ()
    hollow: bool = False


def dot_chart(
    dots: Sequence[Dot],
    *,
    unit: str,
    name: str,
    alt: str,
    zero: str = "",
    cut: float | None = None,
    left: int = 150,
) -> str:
    """Draw values below each other, the first at the top, on one axis.

    Parameters
    ----------
    zero
        Word at 0; '' draws no line there.
    cut
        Where the axis ends at most; a value beyond it is an arrow there.
    left
        Room for the labels, in pixels.
    """
    labels = [in_lines(dot.label) for dot in dots]
    step = 26 if any("\n" in label for label in labels) else 17
    figure, axes = new_figure(height=58 + step * len(dots), left=left, right=14, top=18, bottom=40)
    axes.grid(visible=False)
    axes.grid(axis="x")
    for place, dot in enumerate(dots):
        if cut is not None and dot.value > cut:
            axes.plot([cut], [-place], color=INKS[dot.ink], marker=">", markersize=6, clip_on=False)
        else:
            _draw_dot(axes, dot, -place)
    axes.set_yticks([-place for place in range(len(dots))], labels)
    axes.set_ylim(0.6 - len(dots), 0.6)
    low, high = _dot_limits(dots, with_zero=bool(zero))
    axes.set_xlim(low, high if cut is None else min(high, cut))
    number_axis(axes.xaxis, axes.get_xlim())
    if zero:
        axes.axvline(0, color=INKS["ink"], linewidth=0.8)
        low, high = axes.get_xlim()
        share = -low / (high - low)
        axes.annotate(  # from near an end of the axis inwards
            zero,
            (0.0, 1),
            xytext=(0, 3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="left" if share < _NEAR_END else "right" if share > 1 - _NEAR_END else "center",
            color=INKS["muted"],
        )
    axes.set_xlabel(unit, labelpad=2)
    return to_svg(figure, name=name, alt=alt)


def _draw_dot(axes: Axes, dot: Dot, height: float) -> None:
    colour = INKS[dot.ink]
    if dot.low is not None and dot.high is not None:
        axes.plot([dot.low, dot.high], [height, height], color=colour, linewidth=2)
    if dot.others:
        heights = [height] * len(dot.others)
        axes.plot(dot.others, heights, color=colour, marker="|", markersize=9, linestyle="none")
    bare = dot.hollow and (dot.low is None or dot.high is None)
    fill = INKS["paper"] if bare else colour
    axes.plot([dot.value], [height], color=colour, marker="o", markersize=5, markerfacecolor=fill)


def _dot_limits(dots: Sequence[Dot], *, with_zero: bool) -> tuple[float, float]:
    """Range of all values; an interval far beyond them is cut at three times their reach."""
    values = [value for dot in dots for value in (dot.value, *dot.others)]
    values += [0.0] if with_zero else []
    low, high = min(values), max(values)
    reach = max(high - low, 0.1 * max(abs(low), abs(high)), 1e-9)
    ends = [end for dot in dots for end in (dot.low, dot.high) if end is not None]
    low = min([low, *(max(end, low - 3 * reach) for end in ends)])
    high = max([high, *(min(end, high + 3 * reach) for end in ends)])
    return low - 0.05 * (high - low or reach), high + 0.05 * (high - low or reach)


def band_chart(
    dates: Dates,
    values: Array,
    band: Array,
    *,
    spans: Sequence[tuple[str, str]],
    unit: str,
    name: str,
    alt: str,
) -> str:
    """Draw a path over real dates with a band around 0 and shaded spans.

    Parameters
    ----------
    dates, values, band : [n]
        The band reaches from ``-band`` to ``band``.
    spans
        ISO dates from and to.
    """
    figure, axes = new_figure(left=58, right=12, top=20)
    days = dates.astype("datetime64[D]").astype(float)
    axes.fill_between(days, -band, band, color=INKS["line"], linewidth=0)
    for first, last in spans:
        ends = np.array([first, last], dtype="datetime64[D]").astype(float)
        axes.axvspan(*ends, color=INKS["candidate"], alpha=0.12, linewidth=0)
    axes.axhline(0, color=INKS["ink"], linewidth=0.8)
    axes.plot(days, values, color=INKS["candidate"], linewidth=2)
    years_axis(axes, dates)
    value_axis(axes, unit)
    return to_svg(figure, name=name, alt=alt)


def histogram(shares: Array, band: tuple[float, float], *, ink: Ink, name: str, alt: str) -> str:
    """Draw shares of values in equal bins of 0 to 1, with the band of chance around the level."""
    figure, axes = new_figure(height=200, left=44, right=12, top=20)
    count = len(shares)
    edges = np.arange(count) / count
    axes.axhspan(*band, color=INKS["line"], linewidth=0)
    axes.bar(edges, shares, width=0.92 / count, align="edge", color=INKS[ink], alpha=0.75)
    axes.axhline(100 / count, color=INKS["ink"], linewidth=0.8)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axes.set_xlabel("level at which the outcome lies", labelpad=2)
    axes.set_ylim(0, max(float(shares.max()), band[1]) * 1.08)
    value_axis(axes, "% of outcomes")
    return to_svg(figure, name=name, alt=alt)


def history_chart(
    dates: Dates,
    target: Array,
    *,
    judged: tuple[Day, Day],
    marks: Mapping[str, Day],
    unit: str,
    name: str,
    alt: str,
) -> str:
    """Draw a whole series in small, with the judged span shaded and some origins marked.

    Parameters
    ----------
    dates, target : [N]
        At most about one point per pixel is drawn.
    judged
        First and last judged session.
    marks
        Word and date of each origin to mark; both are written beside its line.
    """
    figure, axes = new_figure(height=160, left=58, right=12, top=44, bottom=22)
    days = dates.astype("datetime64[D]").astype(float)
    every = max(1, len(days) // WIDTH)
    axes.axvspan(*(each.astype(float) for each in judged), color=INKS["line"], linewidth=0)
    axes.plot(days[::every], target[::every], color=INKS["ink"], linewidth=1)
    for place, (word, day) in enumerate(sorted(marks.items(), key=lambda mark: mark[1])):
        at, height = float(day.astype(float)), 3 + (FONT + 1) * (place % 3)
        axes.axvline(at, color=INKS["candidate"], linewidth=1)
        low, high = axes.get_xlim()
        side = 1 if (at - low) / (high - low) < 1 - 2 * _NEAR_END else -1
        stem = {"arrowstyle": "-", "color": INKS["candidate"], "shrinkA": 0, "shrinkB": 0}
        for text, shift, up, arrow in (
            ("", 0, height + FONT, stem),
            (f"{word}, {day}", 4 * side, height, None),
        ):
            axes.annotate(
                text,
                (at, 1),
                xytext=(shift, up),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha="left" if side > 0 else "right",
                color=INKS["muted"],
                arrowprops=arrow,
            )
    years_axis(axes, dates)
    value_axis(axes, unit)
    return to_svg(figure, name=name, alt=alt)
