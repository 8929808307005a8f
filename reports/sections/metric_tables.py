"""Metrics of all arms on a dataset, and whether their distributions are honest and sharp."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from harness.scoring.metrics import AGGREGATES, CENTRAL
from harness.scoring.score_decomposition import Decomposition, decompose_crps
from harness.scoring.scores import non_overlapping, reach_of
from harness.scoring.summary import MetricSummary
from harness.window import Array
from reports.charts import Line, coverage_chart, cut_note, histogram, line_chart, strokes
from reports.page_input import ArmFacts, PageInput, window_of
from reports.section import Chart, Column, Row, Table, TableCell, table_of, text
from reports.svg import Ink
from reports.words import numbers

_Pick = Callable[[MetricSummary], float | None]


def accuracy(page: PageInput, dataset: str) -> Table:
    """Losses of every arm with their range over seeds, skill, n and failures."""
    heads = [Column(title="Arm", numeric=False)]
    heads += [Column(title=numbers.metric_name(name)) for name in LOSSES]
    heads += [Column(title="Skill"), Column(title="n"), Column(title="Failed")]
    best: dict[str, float | None] = {}
    for name in LOSSES:
        found = [page.summary(arm.name, dataset, name) for arm in page.arms]
        values = [row.value for row in found if row is not None and row.value is not None]
        best[name] = min((value for value in values if numbers.is_number(value)), default=None)
    return Table(
        caption=f"Accuracy on {dataset}",
        caption_note=_units(page, dataset, LOSSES),
        columns=tuple(heads),
        rows=tuple(_accuracy_row(page, dataset, arm, best) for arm in page.arms),
        note="Lower is better; bold is the lowest of a column; the second line is the range over "
        "seeds. An arm that misses a single value has no mean. Skill (above 0 is better): of CRPS "
        f"as a share of the last close, against {page.reference or 'the random walk'}. n: forecast "
        "values. Failed: "
        "windows. Losses are in the unit of the data; findings divide each by the last close, so "
        "their effects differ a little from ratios of these.",
    )


def intervals(page: PageInput, dataset: str) -> Table:
    """Coverage and width of the central intervals."""
    heads = [Column(title="Arm", numeric=False)]
    heads += [Column(title=f"{at} % covers") for at in CENTRAL]
    heads += [Column(title=f"{at} % width") for at in CENTRAL]
    names = [f"{kind}_{at}" for kind in ("coverage", "width") for at in CENTRAL]
    rows = tuple(
        (arm_cell(page, arm), *(_value(page.summary(arm.name, dataset, name)) for name in names))
        for arm in page.arms
    )
    unit = _unit(page, dataset)
    return Table(
        caption=f"Central intervals on {dataset}: share covered, and width",
        caption_note=f"width in {unit}" if unit else "",
        columns=tuple(heads),
        rows=rows,
        note="A good interval covers what it promises and is narrow; width says nothing alone.",
    )


def _units(page: PageInput, dataset: str, names: Sequence[str]) -> str:
    """The unit of each column, once: those of the data together, the others by name."""
    unit = _unit(page, dataset)
    named = {name: AGGREGATES[name].unit for name in names if name in AGGREGATES}
    target = numbers.listing(numbers.metric_name(n) for n, u in named.items() if u == "target")
    said = [f"{target} in {unit}"] if unit and target else []
    said += [
        f"{numbers.metric_name(n)} in {u}" for n, u in named.items() if u not in ("target", "", "%")
    ]
    return "; ".join(said)


_IN_SHORT = ("crps", "rmse", "coverage_80", "mae", "mape", "mase", "coverage_95")


def in_short(page: PageInput, dataset: str) -> Table:
    """The metrics that weigh most, as many as there is room for, of every arm that has any."""
    rows = {(row.arm, row.metric): row for row in page.summaries if row.dataset == dataset}
    shown = [metric for metric in _IN_SHORT if any(each == metric for _, each in rows)]
    heads = [Column(title=numbers.metric_name(name), optional=True) for name in shown]

    def cells(arm: str) -> Iterator[TableCell]:
        found = [rows.get((arm, metric)) for metric in shown]
        crps = rows.get((arm, "crps"))
        yield text(arm)
        yield from map(_value, found)
        yield text(numbers.percent(None if crps is None else crps.skill, signed=True))
        yield text(f"{max((row.failures for row in found if row is not None), default=0):,}")

    return Table(
        caption="",
        columns=(
            Column(title="Arm", numeric=False),
            *heads,
            Column(title="Skill"),
            Column(title="Failed"),
        ),
        rows=tuple(tuple(cells(arm)) for arm in dict.fromkeys(arm for arm, _ in rows)),
    )


def independent(page: PageInput, dataset: str) -> Table | None:
    """The losses on the non-overlapping origins; None where no origins overlap."""
    facts = page.datasets.get(dataset)
    count = independent_origins(page, dataset)
    if facts is None or count >= facts.origins:
        return None
    names = (*LOSSES, *(f"coverage_{at}" for at in CENTRAL))
    heads = [Column(title="Arm", numeric=False)]
    heads += [Column(title=numbers.metric_name(name)) for name in names]

    def cells(arm: ArmFacts) -> Iterator[TableCell]:
        yield arm_cell(page, arm)
        for name in names:
            yield _value(page.summary(arm.name, dataset, name), lambda row: row.independent)

    return Table(
        caption=f"The same on the {numbers.plural(count, 'origin')} of {dataset} that do not "
        "overlap",
        columns=tuple(heads),
        rows=tuple(tuple(cells(arm)) for arm in page.arms),
        note=f"At stride {facts.stride} and horizon {facts.horizon}, {facts.overlap} consecutive "
        "origins share a judged session, so the table above counts each session several times.",
    )


def independent_origins(page: PageInput, dataset: str) -> int:
    """How many origins of a dataset do not overlap."""
    found = [row.independent_n for row in page.summaries if row.dataset == dataset]
    if found:
        return max(found)
    facts = page.datasets.get(dataset)
    return 0 if facts is None else -(-facts.origins // facts.overlap)


def others(page: PageInput, dataset: str) -> Table | None:
    """Metrics that have no column of their own; None when there are none."""
    shown = {*LOSSES, *(f"{kind}_{at}" for kind in ("coverage", "width") for at in CENTRAL)}
    found = (row.metric for row in page.summaries if row.dataset == dataset)
    names = [name for name in dict.fromkeys(found) if name not in shown]
    if not names:
        return None
    heads = ["Arm", *(numbers.metric_name(name) for name in names)]
    rows = tuple(
        (arm_cell(page, arm), *(_value(page.summary(arm.name, dataset, name)) for name in names))
        for arm in page.arms
    )
    return table_of(
        f"Further metrics on {dataset}", heads, rows, caption_note=_units(page, dataset, names)
    )


LOSSES = ("crps", "rmse", "mae", "mape", "mase")


def _unit(page: PageInput, dataset: str) -> str:
    facts = page.datasets.get(dataset)
    return "" if facts is None else facts.unit


def _accuracy_row(
    page: PageInput, dataset: str, arm: ArmFacts, best: Mapping[str, float | None]
) -> tuple[TableCell, ...]:
    rows = {name: page.summary(arm.name, dataset, name) for name in LOSSES}
    known = [row for row in rows.values() if row is not None]
    cells = [arm_cell(page, arm)]
    for name, row in rows.items():
        if row is None:
            cells.append(text(numbers.NONE))
            continue
        note = f"{row.missing:,} missing" if row.value is None and row.missing else ""
        if len(row.seeds) > 1 and row.value is not None:
            note = numbers.between(numbers.figure(row, row.low), numbers.figure(row, row.high))
        strong = row.value is not None and row.value == best[name]
        cells.append(TableCell(text=numbers.figure(row, row.value), note=note, strong=strong))
    crps, missing = rows["crps"], max((row.missing for row in known), default=0)
    skill = numbers.percent(None if crps is None else crps.skill, signed=True)
    failed = max((row.failures for row in known), default=0)
    return (
        *cells,
        text("reference" if arm.name == page.reference else skill),
        text(f"{known[0].n:,}", f"{missing:,} missing" if missing else "")
        if known
        else text(numbers.NONE),
        text(f"{failed:,}" if known else numbers.NONE),
    )


def _value(row: MetricSummary | None, pick: _Pick = lambda row: row.value) -> TableCell:
    return text(numbers.NONE if row is None else numbers.figure(row, pick(row)))


def arm_cell(page: PageInput, arm: ArmFacts) -> TableCell:
    """Head of an arm's row: its name, its side, and whether it is a repaired build."""
    judged = {page.verdict.candidate: "the candidate", page.verdict.legacy: "the legacy arm"}
    side = judged.get(arm.name, arm.role)
    return TableCell(text=arm.name, note=f"{side}, a repaired build" if arm.repaired else side)


BINS = 10
DECILES: Array = np.arange(1, 10) / 10
DECILES.flags.writeable = False


def pit_views(page: PageInput, dataset: str, *, name: str) -> tuple[Chart, ...]:
    """A histogram of each side's probability integral transforms."""
    inks: tuple[Ink, ...] = ("legacy", "candidate")
    charts = []
    for place, arm in enumerate((page.verdict.legacy, page.verdict.candidate)):
        units = [unit for unit in page.scores_of(arm, dataset) if "pit" in unit.values]
        values = [unit.values["pit"][np.isfinite(unit.values["pit"])] for unit in units]
        if not sum(map(len, values)):
            continue
        counts, _ = np.histogram(np.concatenate(values), bins=BINS, range=(0, 1))
        shares = 100 * counts / counts.sum()
        count = len(non_overlapping(units[0].origin, reach_of(units[0])))
        low, high = (100 * end for end in chance_range(1 / BINS, count))
        said = ", ".join(f"{share:.0f}" for share in shares)
        told = (
            (f"{at / BINS:.1f} to {(at + 1) / BINS:.1f}", f"{share:.1f} %")
            for at, share in enumerate(shares.tolist())
        )
        chance = f"{low:.1f} to {high:.1f} %"
        chart = Chart(
            title=f"PIT of {page.label(arm)}",
            caption="Where outcomes lie in the forecast distribution: flat is honest, high ends "
            "are too narrow, a hump is too wide, a slope is biased. Grey: 95 % of honest arms, one "
            f"independent point per non-overlapping origin (n = {count})."
            + (page.dagger if arm in page.repaired else ""),
            svg=histogram(
                shares,
                (low, high),
                ink=inks[place],
                name=f"{name}-{place}",
                alt=f"PIT of {arm} on {dataset}, per cent of outcomes in ten equal bins: {said}.",
            ),
            table=table_of(
                f"PIT of {arm}",
                ("Level", "outcomes", "by chance"),
                ((*row, chance) for row in told),
            ),
        )
        charts.append(chart)
    return tuple(charts)


def width_view(page: PageInput, dataset: str, *, name: str) -> Chart | None:
    """Width against coverage of every arm's central intervals; None without any."""
    looks, lines = strokes(page), []
    for arm in page.arms:
        x = _covered(page, arm, dataset)
        widths = [page.summary(arm.name, dataset, f"width_{at}") for at in CENTRAL]
        y = np.array([_number(row) for row in widths])
        if np.isfinite(x).all() and np.isfinite(y).all():
            lines.append(Line(label=page.label(arm.name), x=x, y=y, stroke=looks[arm.name]))
    if not lines:
        return None
    unit = _unit(page, dataset)
    told = "; ".join(
        f"{line.label} {numbers.number(float(line.y[-1]))} wide at {line.x[-1]:.0f} %"
        for line in lines
    )
    rows: list[Row] = []
    for line in lines:
        ends = zip(line.x, line.y, strict=True)
        cells = (text(numbers.number(float(y)), f"covers {x:.1f} %") for x, y in ends)
        rows.append((line.label, *cells))
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
        table=table_of(
            f"Width and coverage on {dataset}",
            ("Arm", *(f"{at} % interval" for at in CENTRAL)),
            rows,
        ),
    )


def _covered(page: PageInput, arm: ArmFacts, dataset: str) -> Array:
    """What an arm's central intervals cover, in per cent; NaN where that is not known."""
    rows = [page.summary(arm.name, dataset, f"coverage_{at}") for at in CENTRAL]
    scales = [1.0 if row is not None and row.unit == "%" else 100.0 for row in rows]
    return np.array([_number(row) for row in rows]) * scales


def _number(row: MetricSummary | None) -> float:
    return math.nan if row is None or row.value is None else row.value


def parts_view(page: PageInput, dataset: str) -> Table | None:
    """What the score of each arm is made of; None where no forecast with a distribution is there.

    Mean pinball loss over the nine deciles of the relative change from the last value seen, of an
    arm's first seed, on the origins that do not overlap.
    """
    rows = []
    for arm in page.arms:
        found = _parts(page, arm.name, dataset)
        if found is not None:
            values = (found.score, found.miscalibration, found.discrimination, found.uncertainty)
            cells = (text(f"{1000 * value:.3f}") for value in values)
            rows.append((arm_cell(page, arm), *cells))
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


def _parts(page: PageInput, arm: str, dataset: str) -> Decomposition | None:
    facts = page.datasets.get(dataset)
    units = page.scores_of(arm, dataset)
    stored = page.answers.get((arm, dataset, units[0].seed)) if units else None
    if facts is None or stored is None or not stored.forecast.has_distribution:
        return None
    scores = units[0]
    apart = non_overlapping(scores.origin, reach_of(scores))
    fine = apart[(scores.ok & (scores.last != 0))[apart]]
    judged = scores.origin[:, None] + scores.step[None] - 1
    same = np.array_equal(scores.origin, stored.origin)
    if not len(fine) or not same or int(judged.max()) >= len(facts.target):
        return None
    last = scores.last[fine, None]
    quantiles = window_of(stored.forecast, fine).at(DECILES)
    changes = (quantiles - last[..., None]) / np.abs(last)[..., None]
    weights = np.full(len(DECILES), 1 / len(DECILES))
    truth = (facts.target[judged[fine]] - last) / np.abs(last)
    return decompose_crps(
        truth.ravel(), changes.reshape(-1, len(DECILES)), levels=DECILES, weights=weights
    )


def coverage_view(page: PageInput, dataset: str, *, name: str) -> Chart | None:
    """Draw coverage against nominal with bands of chance; None without any."""
    looks, lines = strokes(page), []
    for arm in page.arms:
        y = _covered(page, arm, dataset) - np.array(CENTRAL)
        if np.isfinite(y).any():
            x = np.arange(len(y), dtype=float)
            lines.append(Line(label=page.label(arm.name), x=x, y=y, stroke=looks[arm.name]))
    count = independent_origins(page, dataset)
    if not lines or count < 1:
        return None
    bands, rows = {}, []
    for place, at in enumerate(CENTRAL):
        low, high = chance_range(at / 100, count)
        bands[at / 100] = (100 * low - at, 100 * high - at)
        found = [numbers.percent(at / 100 + float(line.y[place]) / 100) for line in lines]
        chance = numbers.between(numbers.percent(low), numbers.percent(high))
        rows.append((f"{at} %", chance, *found))
    told = (
        f"{line.label} "
        + ", ".join(numbers.points(value / 100).removesuffix(" pts") for value in line.y.tolist())
        for line in lines
    )
    return Chart(
        title="Coverage against nominal",
        caption=f"Grey: where 95 % of perfectly calibrated arms would lie, counting one "
        f"independent point per non-overlapping origin (n = {count})." + page.dagger,
        svg=coverage_chart(
            lines,
            bands,
            name=name,
            alt=f"Coverage on {dataset} minus nominal at 50, 68, 80 and 95 %, in points: "
            + "; ".join(told),
        ),
        table=table_of(
            f"Coverage on {dataset}",
            ("Nominal", "by chance", *(line.label for line in lines)),
            rows,
        ),
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
