"""Losses over steps and coverage against nominal, as pictures with their figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from reports.charts import Line, coverage_chart, cut_note, line_chart, strokes
from reports.page_input import ArmFacts, PageInput
from reports.sections import metric_tables
from reports.tables import Chart, Table, columns, text
from reports.words import numbers


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


def coverage_view(page: PageInput, dataset: str, *, name: str) -> Chart | None:
    """Draw coverage against nominal with bands of chance; None without any."""
    lines = [line for arm in page.arms if (line := _coverage_line(page, arm, dataset)) is not None]
    count = metric_tables.independent_origins(page, dataset)
    if not lines or count < 1:
        return None
    bands = {}
    for at in numbers.COVERAGES:
        low, high = chance_range(at / 100, count)
        bands[at / 100] = (100 * low - at, 100 * high - at)
    return Chart(
        title="Coverage against nominal",
        caption=f"Grey: where 95 % of perfectly calibrated arms would lie, counting one "
        f"independent point per non-overlapping origin (n = {count})." + page.dagger,
        svg=coverage_chart(lines, bands, name=name, alt=_coverage_alt(lines, dataset)),
        table=_coverage_table(lines, bands, dataset),
    )


def _coverage_line(page: PageInput, arm: ArmFacts, dataset: str) -> Line | None:
    values = []
    for at in numbers.COVERAGES:
        row = page.summary(arm.name, dataset, f"coverage_{at}")
        value = math.nan if row is None or row.value is None else row.value
        scale = 100.0 if row is not None and row.unit != "%" else 1.0
        values.append(value * scale - at)
    y = np.array(values)
    if not np.isfinite(y).any():
        return None
    return Line(
        label=page.label(arm.name),
        x=np.arange(len(y), dtype=float),
        y=y,
        stroke=strokes(page)[arm.name],
    )


def _coverage_alt(lines: Sequence[Line], dataset: str) -> str:
    texts = [
        f"{line.label} " + ", ".join(_signed(value) for value in line.y.tolist()) for line in lines
    ]
    return f"Coverage on {dataset} minus nominal at 50, 68, 80 and 95 %, in points: " + "; ".join(
        texts
    )


def _signed(value: float) -> str:
    return numbers.points(value / 100).removesuffix(" pts")


def _coverage_table(
    lines: Sequence[Line], bands: dict[float, tuple[float, float]], dataset: str
) -> Table:
    rows = []
    for place, (level, (low, high)) in enumerate(bands.items()):
        chance = numbers.between(
            numbers.percent(level + low / 100), numbers.percent(level + high / 100)
        )
        found = [numbers.percent(level + float(line.y[place]) / 100) for line in lines]
        rows.append((text(f"{100 * level:.0f} %"), text(chance), *(text(each) for each in found)))
    return Table(
        caption=f"Coverage on {dataset}",
        columns=columns("Nominal", "by chance", *(line.label for line in lines)),
        rows=tuple(rows),
    )


def chance_range(level: float, count: int) -> tuple[float, float]:
    """Central 95 % range of the share of hits among `count` independent points."""
    logs = [
        math.lgamma(count + 1)
        - math.lgamma(hits + 1)
        - math.lgamma(count - hits + 1)
        + hits * math.log(level)
        + (count - hits) * math.log1p(-level)
        for hits in range(count + 1)
    ]
    total = np.cumsum(np.exp(logs))
    low, high = np.searchsorted(total, [0.025, 0.975])
    return min(float(low) / count, 1.0), min(float(high) / count, 1.0)
