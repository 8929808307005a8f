"""Losses over the steps of a forecast, and how the two sides grew apart over the origins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from harness.evidence.pairing import Pair, PairingError, filled, pair
from harness.stats.longrun import choose_lag, long_run_covariance
from harness.window import Array
from reports.charts import Line, band_chart, cut_note, line_chart, strokes
from reports.page_input import PageInput
from reports.section import Chart, Table, columns, text
from reports.words import numbers

_METRIC = "crps"
_TABLE_ROWS = 60


def time_view(page: PageInput, dataset: str, *, name: str) -> Chart | None:
    """Draw the cumulative loss difference of a dataset; None where the sides cannot be paired."""
    both = _pair(page, dataset)
    if both is None or len(both.origin) < 2:
        return None
    difference = 100 * (both.candidate.mean(axis=0) - both.legacy.mean(axis=0))
    if not np.isfinite(difference).all():
        return None
    path, band = np.cumsum(difference), _band(difference, both.overlap)
    spans = _spans(page, dataset)
    return Chart(
        title=f"{page.verdict.candidate} less {page.verdict.legacy}, added up",
        caption="CRPS as a share of the last value seen, candidate less legacy, added up over the "
        "origins: falling is a gain for the candidate. Grey: where 95 % of paths of equal arms "
        "lie at each date." + (" Shaded: shown to differ there (fluctuation test)." * bool(spans)),
        svg=band_chart(
            both.origin_date,
            path,
            band,
            spans=spans,
            unit="points of the last value",
            name=name,
            alt=f"The difference on {dataset} adds up to {_points(path[-1])} points from "
            f"{both.origin_date[0]} to {both.origin_date[-1]}; equal arms would end within "
            f"{_points(band[-1])} points of 0 in 95 % of cases.",
        ),
        table=_table(both, difference, path, band),
    )


def _pair(page: PageInput, dataset: str) -> Pair | None:
    sides = [page.scores_of(arm, dataset) for arm in (page.verdict.candidate, page.verdict.legacy)]
    try:
        return filled(pair(sides[0], sides[1], _METRIC))
    except PairingError:
        return None


def _band(difference: Array, overlap: int) -> Array:
    """Half-width at each origin: 1.96 times the root of its number times the long-run variance."""
    lag = choose_lag(difference, overlap)
    spread = float(long_run_covariance(difference[None], lag)[0, 0])
    half: Array = 1.96 * np.sqrt(np.arange(1, len(difference) + 1) * spread)
    return half


def _spans(page: PageInput, dataset: str) -> list[tuple[str, str]]:
    found = page.verdict.diagnostics
    tests = [] if found is None else found.fluctuations
    return [
        (span.first, span.last)
        for test in tests
        if (test.dataset, test.metric) == (dataset, _METRIC)
        for span in test.spans
    ]


def _points(value: float) -> str:
    return numbers.number(float(value))


def _table(both: Pair, difference: Array, path: Array, band: Array) -> Table:
    """Every origin, or evenly spread ones where there are many."""
    count = len(path)
    step = -(-count // _TABLE_ROWS)
    rows = [place for place in range(count) if (count - 1 - place) % step == 0]
    return Table(
        caption="The difference over time, in points of the last value seen"
        + (f", every {step} origins" if step > 1 else ""),
        columns=columns("Origin", "difference", "added up", "band"),
        rows=tuple(
            (
                text(str(both.origin_date[place])),
                text(_points(difference[place])),
                text(_points(path[place])),
                text(f"\u00b1 {_points(band[place])}"),
            )
            for place in rows
        ),
    )


def step_views(page: PageInput, dataset: str, *, name: str) -> tuple[Chart, ...]:
    """Draw a dataset's losses over steps, where there are values."""
    steps = _steps(page, dataset, "crps")
    if not steps:
        return ()
    found = (
        _by_step(page, dataset, steps, name=f"{name}-step"),
        _against_reference(page, dataset, steps, name=f"{name}-ratio"),
    )
    return tuple(chart for chart in found if chart is not None)


def _steps(page: PageInput, dataset: str, metric: str) -> list[Line]:
    """One line per arm that has a value at some step."""
    looks = strokes(page)
    found = []
    for arm in page.arms:
        row = page.summary(arm.name, dataset, metric)
        if row is not None and np.isfinite(row.by_step).any():
            x = _first_step(page, dataset) + np.arange(len(row.by_step), dtype=float)
            found.append(
                Line(label=page.label(arm.name), x=x, y=row.by_step, stroke=looks[arm.name])
            )
    return found


def _first_step(page: PageInput, dataset: str) -> int:
    facts = page.datasets.get(dataset)
    return 1 + (facts.gap if facts else 0)


def _by_step(page: PageInput, dataset: str, lines: Sequence[Line], *, name: str) -> Chart:
    facts = page.datasets.get(dataset)
    return Chart(
        title="CRPS by step",
        caption="Mean over windows and seeds. Lower is better." + cut_note(lines) + page.dagger,
        svg=line_chart(
            lines,
            x_label="sessions ahead",
            unit=facts.unit if facts else "",
            name=name,
            alt=f"CRPS on {dataset} by step. " + _ends(lines),
        ),
        table=_line_table(f"CRPS on {dataset} by step", "step", lines),
    )


def _ends(lines: Sequence[Line]) -> str:
    return "; ".join(
        f"{line.label} from {numbers.number(float(line.y[0]))} to "
        f"{numbers.number(float(line.y[-1]))}"
        for line in lines
    )


def _against_reference(
    page: PageInput, dataset: str, lines: Sequence[Line], *, name: str
) -> Chart | None:
    base = next((line for line in lines if line.label == page.label(page.reference or "")), None)
    if base is None:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = [replace(line, y=np.where(base.y > 0, line.y / base.y, np.nan)) for line in lines]
    return Chart(
        title=f"CRPS by step against {base.label}",
        caption=f"Divided by that of {base.label}: below 1 is better than it."
        + cut_note(ratios)
        + page.dagger,
        svg=line_chart(
            ratios,
            x_label="sessions ahead",
            unit="ratio",
            level=1.0,
            name=name,
            alt=f"CRPS on {dataset} divided by that of {base.label}. " + _ends(ratios),
        ),
        table=_line_table(f"CRPS on {dataset} over that of {base.label}", "step", ratios),
    )


def _line_table(caption: str, first: str, lines: Sequence[Line]) -> Table:
    rows = tuple(
        (text(f"{x:g}"), *(text(numbers.number(float(line.y[place]))) for line in lines))
        for place, x in enumerate(lines[0].x.tolist())
    )
    return Table(
        caption=caption, columns=columns(first, *(line.label for line in lines)), rows=rows
    )
