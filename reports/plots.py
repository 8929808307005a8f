"""Pictures of one series or one row of dots each: effects by part, paths over time, histograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.window import Array, Dates
from reports.axes import number_axis, value_axis, word_above, years_axis
from reports.svg import INKS, Ink, new_figure, shortened, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A labelled value with its interval; an end that is None is open or unknown."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    ink: Ink = "candidate"
    others: tuple[float, ...] = ()


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
    figure, axes = new_figure(height=58 + 17 * len(dots), left=left, right=14, top=18, bottom=40)
    axes.grid(visible=False)
    axes.grid(axis="x")
    for place, dot in enumerate(dots):
        if cut is not None and dot.value > cut:
            axes.plot([cut], [-place], color=INKS[dot.ink], marker=">", markersize=6, clip_on=False)
        else:
            _draw_dot(axes, dot, -place)
    axes.set_yticks([-place for place in range(len(dots))], [shortened(d.label, 22) for d in dots])
    axes.set_ylim(0.6 - len(dots), 0.6)
    low, high = _dot_limits(dots, with_zero=bool(zero))
    axes.set_xlim(low, high if cut is None else min(high, cut))
    number_axis(axes.xaxis, axes.get_xlim())
    if zero:
        axes.axvline(0, color=INKS["ink"], linewidth=0.8)
        word_above(axes, zero, 0.0)
    axes.set_xlabel(unit, labelpad=2)
    return to_svg(figure, name=name, alt=alt)


def _draw_dot(axes: Axes, dot: Dot, height: float) -> None:
    colour = INKS[dot.ink]
    if dot.low is not None and dot.high is not None:
        axes.plot([dot.low, dot.high], [height, height], color=colour, linewidth=2)
    if dot.others:
        heights = [height] * len(dot.others)
        axes.plot(dot.others, heights, color=colour, marker="|", markersize=9, linestyle="none")
    axes.plot([dot.value], [height], color=colour, marker="o", markersize=5)


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
