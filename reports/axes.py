"""Axes as every chart has them: numbers, real dates, units."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from harness.window import Dates
from reports.svg import FONT, INKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def number_axis(axis: Axis, limits: tuple[float, float]) -> None:
    """Write few round numbers with as many decimals as the range needs."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=5, min_n_ticks=3))
    wide = abs(limits[1] - limits[0])
    digits = 0 if wide >= 8 else 1 if wide >= 0.8 else 2 if wide >= 0.08 else 4
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value + 0.0:,.{digits}f}".replace("-", "\u2212"))
    )


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


def word_above(axes: Axes, word: str, at: float) -> None:
    """Write a word above the plot at a value."""
    axes.annotate(
        word,
        (at, 1),
        xytext=(0, 3),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="center",
        color=INKS["muted"],
    )
