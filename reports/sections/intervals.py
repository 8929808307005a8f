"""Whether distributions are honest and sharp: coverage, width, PIT, parts of a score."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from harness.scoring.metrics import CENTRAL
from harness.scoring.score_decomposition import Decomposition, decompose_crps
from harness.scoring.scores import UnitScores, non_overlapping, reach_of
from harness.window import Array
from reports.charts import Line, coverage_chart, cut_note, histogram, line_chart, strokes
from reports.page_input import ArmFacts, PageInput, window_of
from reports.section import Chart, Column, Table, TableCell, columns, text
from reports.sections import metric_tables
from reports.svg import Ink
from reports.words import numbers

BINS = 10
DECILES: Array = np.arange(1, 10) / 10
DECILES.flags.writeable = False


def pit_views(page: PageInput, dataset: str, *, name: str) -> tuple[Chart, ...]:
    """A histogram of each side's probability integral transforms."""
    sides: tuple[tuple[str, Ink], ...] = (
        (page.verdict.legacy, "legacy"),
        (page.verdict.candidate, "candidate"),
    )
    found = [
        _pit(page, arm, dataset, ink=ink, name=f"{name}-{place}")
        for place, (arm, ink) in enumerate(sides)
    ]
    return tuple(chart for chart in found if chart is not None)


def _pit(page: PageInput, arm: str, dataset: str, *, ink: Ink, name: str) -> Chart | None:
    units = [unit for unit in page.scores_of(arm, dataset) if "pit" in unit.values]
    values = [unit.values["pit"][np.isfinite(unit.values["pit"])] for unit in units]
    if not sum(map(len, values)):
        return None
    counts, _ = np.histogram(np.concatenate(values), bins=BINS, range=(0, 1))
    shares = 100 * counts / counts.sum()
    dagger = page.dagger if arm in page.repaired else ""
    count = len(non_overlapping(units[0].origin, reach_of(units[0])))
    low, high = (100 * end for end in chance_range(1 / BINS, count))
    said = ", ".join(f"{share:.0f}" for share in shares)
    return Chart(
        title=f"PIT of {page.label(arm)}",
        caption="Where outcomes lie in the forecast distribution: flat is honest, high ends are "
        "too narrow, a hump is too wide, a slope is biased. Grey: 95 % of honest arms, one "
        f"independent point per non-overlapping origin (n = {count})." + dagger,
        svg=histogram(
            shares,
            (low, high),
            ink=ink,
            name=name,
            alt=f"PIT of {arm} on {dataset}, per cent of outcomes in ten equal bins: {said}.",
        ),
        table=_pit_table(arm, shares, (low, high)),
    )


def _pit_table(arm: str, shares: Array, band: tuple[float, float]) -> Table:
    chance = f"{band[0]:.1f} to {band[1]:.1f} %"
    rows = tuple(
        (
            text(f"{place / BINS:.1f} to {(place + 1) / BINS:.1f}"),
            text(f"{share:.1f} %"),
            text(chance),
        )
        for place, share in enumerate(shares.tolist())
    )
    titles = ("Level", "outcomes", "by chance")
    return Table(
        caption=f"PIT of {arm}",
        columns=tuple(Column(title=title, numeric=at > 0) for at, title in enumerate(titles)),
        rows=rows,
    )


def width_view(page: PageInput, dataset: str, *, name: str) -> Chart | None:
    """Width against coverage of every arm's central intervals; None without any."""
    lines = [line for arm in page.arms if (line := _width_line(page, arm, dataset)) is not None]
    if not lines:
        return None
    facts = page.datasets.get(dataset)
    unit = facts.unit if facts else ""
    told = "; ".join(
        f"{line.label} {numbers.number(float(line.y[-1]))} wide at {line.x[-1]:.0f} %"
        for line in lines
    )
    return Chart(
        title="Width against coverage reached",
        caption="Each line joins the 50, 68, 80 and 95 % intervals of an arm: at the same coverage "
        "the lower line is sharper." + cut_note(lines) + page.dagger,
        svg=line_chart(
            lines,
            x_label="covered, %",
            unit=f"width, {unit}" if unit else "width",
            name=name,
            alt=f"Width against coverage on {dataset}: {told}.",
        ),
        table=_width_table(lines, dataset),
    )


def _width_line(page: PageInput, arm: ArmFacts, dataset: str) -> Line | None:
    points = []
    for at in CENTRAL:
        rows = [page.summary(arm.name, dataset, f"{kind}_{at}") for kind in ("coverage", "width")]
        values = [math.nan if row is None or row.value is None else row.value for row in rows]
        scale = 1.0 if rows[0] is not None and rows[0].unit == "%" else 100.0
        points.append((values[0] * scale, values[1]))
    found = np.array(points)
    if not np.isfinite(found).all():
        return None
    return Line(
        label=page.label(arm.name), x=found[:, 0], y=found[:, 1], stroke=strokes(page)[arm.name]
    )


def _width_table(lines: Sequence[Line], dataset: str) -> Table:
    rows = tuple(
        (
            text(line.label),
            *(
                text(numbers.number(float(y)), f"covers {x:.1f} %")
                for x, y in zip(line.x, line.y, strict=True)
            ),
        )
        for line in lines
    )
    heads = [Column(title="Arm", numeric=False)]
    heads += [Column(title=f"{at} % interval") for at in CENTRAL]
    return Table(caption=f"Width and coverage on {dataset}", columns=tuple(heads), rows=rows)


def parts_view(page: PageInput, dataset: str) -> Table | None:
    """What the score of each arm is made of; None where no forecast with a distribution is there.

    Mean pinball loss over the nine deciles of the relative change from the last value seen, of an
    arm's first seed, on the origins that do not overlap.
    """
    rows = []
    for arm in page.arms:
        found = _parts(page, arm.name, dataset)
        if found is not None:
            rows.append(_parts_row(page, arm, found))
    if not rows:
        return None
    titles = ("Arm", "Score", "Miscalibration", "Discrimination", "Uncertainty")
    notes = ("role", "lower is better", "lower is better", "higher is better", "same for all")
    return Table(
        caption=f"What the score on {dataset} is made of",
        columns=tuple(
            Column(title=title, note=note, numeric=at > 0)
            for at, (title, note) in enumerate(zip(titles, notes, strict=True))
        ),
        rows=tuple(rows),
        note="Score = miscalibration \u2212 discrimination + uncertainty, in per mille of the last "
        "value seen: mean pinball loss (with the factor 2) over the nine deciles of the relative "
        "change, first seed, origins that do not overlap, all their steps laid end to end. The "
        "recalibration is fitted to the cases it is judged on, so even an honest arm shows a "
        "little miscalibration: compare arms.",
    )


def _parts_row(page: PageInput, arm: ArmFacts, found: Decomposition) -> tuple[TableCell, ...]:
    values = (found.score, found.miscalibration, found.discrimination, found.uncertainty)
    return (metric_tables.arm_cell(page, arm), *(text(f"{1000 * value:.3f}") for value in values))


def _parts(page: PageInput, arm: str, dataset: str) -> Decomposition | None:
    facts = page.datasets.get(dataset)
    units = page.scores_of(arm, dataset)
    stored = page.units.get((arm, dataset, units[0].seed)) if units else None
    if facts is None or stored is None or not stored.forecast.has_distribution:
        return None
    scores = units[0]
    apart = non_overlapping(scores.origin, reach_of(scores))
    fine = apart[(scores.ok & (scores.last != 0))[apart]]
    if not len(fine) or not np.array_equal(scores.origin, stored.origin):
        return None
    actual = _actual(scores, facts.target)
    if actual is None:
        return None
    last = scores.last[fine, None]
    quantiles = window_of(stored.forecast, fine).at(DECILES)
    changes = (quantiles - last[..., None]) / np.abs(last)[..., None]
    weights = np.full(len(DECILES), 1 / len(DECILES))
    truth = (actual[fine] - last) / np.abs(last)
    return decompose_crps(
        truth.ravel(), changes.reshape(-1, len(DECILES)), levels=DECILES, weights=weights
    )


def _actual(scores: UnitScores, target: Array) -> Array | None:
    """What came at each window and step [W, H]; None where the series does not reach."""
    rows = scores.origin[:, None] + scores.step[None] - 1
    return None if int(rows.max()) >= len(target) else target[rows]


def coverage_view(page: PageInput, dataset: str, *, name: str) -> Chart | None:
    """Draw coverage against nominal with bands of chance; None without any."""
    lines = [line for arm in page.arms if (line := _coverage_line(page, arm, dataset)) is not None]
    count = metric_tables.independent_origins(page, dataset)
    if not lines or count < 1:
        return None
    bands = {}
    for at in CENTRAL:
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
    for at in CENTRAL:
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
