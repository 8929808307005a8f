"""Tables of metrics: all arms on a dataset, references beside the two sides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from harness.scoring.metrics import AGGREGATES, CENTRAL
from harness.scoring.summary import MetricSummary
from reports.page_input import ArmFacts, PageInput
from reports.section import Column, Table, TableCell, columns, text
from reports.words import numbers

_Pick = Callable[[MetricSummary], float | None]


def accuracy(page: PageInput, dataset: str) -> Table:
    """Losses of every arm with their range over seeds, skill, n and failures."""
    heads = [Column(title="Arm", numeric=False)]
    heads += [Column(title=numbers.metric_name(name)) for name in _losses()]
    heads += [Column(title="Skill"), Column(title="n"), Column(title="Failed")]
    best = {name: _best(page, dataset, name) for name in _losses()}
    return Table(
        caption=f"Accuracy on {dataset}",
        caption_note=_units(page, dataset, _losses()),
        columns=tuple(heads),
        rows=tuple(_accuracy_row(page, dataset, arm, best) for arm in page.arms),
        note="Lower is better; bold is the lowest of a column; the second line is the range over "
        "seeds. An arm that misses a single value has no mean. Skill: of CRPS, against "
        f"{page.reference or 'the random walk'}. n: forecast values. Failed: windows. Losses "
        "are in the unit of the data; findings divide each by the last close, so their effects "
        "differ a little from ratios of these.",
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
    names = (*_losses(), *(f"coverage_{at}" for at in CENTRAL))
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
    shown = {*_losses(), *(f"{kind}_{at}" for kind in _KINDS for at in CENTRAL)}
    found = (row.metric for row in page.summaries if row.dataset == dataset)
    names = [name for name in dict.fromkeys(found) if name not in shown]
    if not names:
        return None
    heads = ["Arm", *(numbers.metric_name(name) for name in names)]
    rows = tuple(
        (arm_cell(page, arm), *(_value(page.summary(arm.name, dataset, name)) for name in names))
        for arm in page.arms
    )
    return Table(
        caption=f"Further metrics on {dataset}",
        caption_note=_units(page, dataset, names),
        columns=columns(*heads),
        rows=rows,
    )


_KINDS = ("coverage", "width")


def _losses() -> tuple[str, ...]:
    return ("crps", "rmse", "mae", "mape", "mase")


def _unit(page: PageInput, dataset: str) -> str:
    facts = page.datasets.get(dataset)
    return "" if facts is None else facts.unit


def _best(page: PageInput, dataset: str, metric: str) -> float | None:
    rows = [page.summary(arm.name, dataset, metric) for arm in page.arms]
    values = [row.value for row in rows if row is not None and row.value is not None]
    return min((value for value in values if numbers.is_number(value)), default=None)


def _accuracy_row(
    page: PageInput, dataset: str, arm: ArmFacts, best: dict[str, float | None]
) -> tuple[TableCell, ...]:
    rows = {name: page.summary(arm.name, dataset, name) for name in _losses()}
    known = [row for row in rows.values() if row is not None]
    crps = rows["crps"]
    cells = [arm_cell(page, arm)]
    for name, row in rows.items():
        strong = row is not None and row.value is not None and row.value == best[name]
        cells.append(_loss(row, strong=strong))
    return (
        *cells,
        text(_skill(page, arm, crps)),
        _count(known),
        text(f"{max((row.failures for row in known), default=0):,}" if known else numbers.NONE),
    )


def _skill(page: PageInput, arm: ArmFacts, row: MetricSummary | None) -> str:
    if arm.name == page.reference:
        return "reference"
    return numbers.percent(None if row is None else row.skill, signed=True)


def _count(rows: Sequence[MetricSummary]) -> TableCell:
    if not rows:
        return text(numbers.NONE)
    missing = max(row.missing for row in rows)
    return text(f"{rows[0].n:,}", f"{missing:,} missing" if missing else "")


def _loss(row: MetricSummary | None, *, strong: bool) -> TableCell:
    if row is None:
        return text(numbers.NONE)
    note = ""
    if len(row.seeds) > 1 and row.value is not None:
        note = numbers.between(numbers.figure(row, row.low), numbers.figure(row, row.high))
    elif row.value is None and row.missing:
        note = f"{row.missing:,} missing"
    return TableCell(text=numbers.figure(row, row.value), note=note, strong=strong)


def _value(row: MetricSummary | None, pick: _Pick = lambda row: row.value) -> TableCell:
    return text(numbers.NONE if row is None else numbers.figure(row, pick(row)))


def arm_cell(page: PageInput, arm: ArmFacts) -> TableCell:
    """Head of an arm's row: its name, its side, and whether it is a repaired build."""
    judged = {page.verdict.candidate: "the candidate", page.verdict.legacy: "the legacy arm"}
    side = judged.get(arm.name, arm.role)
    return TableCell(text=arm.name, note=f"{side}, a repaired build" if arm.repaired else side)
