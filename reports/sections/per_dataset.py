"""All that is shown of one dataset: metrics, curves, calibration, forecasts, training."""

from __future__ import annotations

from collections.abc import Iterator

from reports.page_input import DatasetFacts, PageInput
from reports.section import (
    Block,
    Chart,
    Details,
    Group,
    Heading,
    Lines,
    Placement,
    Section,
    Text,
    there,
)
from reports.sections import metric_tables
from reports.sections.curves import seed_view, step_views, time_view, training_views
from reports.sections.forecasts import history_view, lost_most, window_views
from reports.sections.intervals import coverage_view, parts_view, pit_views, width_view
from reports.sections.slices import slice_view
from reports.words import numbers


def datasets(page: PageInput) -> Iterator[Section]:
    """A section for each dataset."""
    for place, name in enumerate(page.dataset_names, 1):
        facts = page.datasets.get(name)
        titled = facts is not None and facts.title != name
        yield Section(
            id=f"dataset-{place}",
            title=name,
            note=facts.title if facts and titled else "",
            link=name,
            style="dataset",
            items=tuple(_blocks(page, name, place)),
        )


def _blocks(page: PageInput, dataset: str, place: int) -> Iterator[Block]:
    anchor, name = f"dataset-{place}", f"d{place}"
    facts = page.datasets.get(dataset)
    if facts is not None:
        yield Text(text=_plan(facts), style="plan")
    yield Group(id=f"{anchor}-metrics", blocks=_metrics(page, dataset))
    yield Group(id=f"{anchor}-windows", blocks=tuple(_windows(page, dataset, facts, name)))
    split = "No score can be split: no arm has a whole distribution stored."
    yield _charts(
        "Over steps and time",
        _pass(
            f"{anchor}-steps",
            *step_views(page, dataset, name=name),
            absent="No arm has values by step.",
        ),
        _pass(
            f"{anchor}-time",
            time_view(page, dataset, name=f"{name}-time"),
            absent="No difference over time: the two sides share no whole set of losses.",
        ),
    )
    yield _charts(
        "By slice and by seed",
        _pass(
            f"{anchor}-slices",
            slice_view(page, dataset, name=f"{name}-slices"),
            absent="No slice can be compared.",
        ),
        _pass(
            f"{anchor}-seeds",
            seed_view(page, dataset, name=f"{name}-seeds"),
            absent="No arm has a CRPS by seed.",
        ),
    )
    yield _charts(
        "Calibration: coverage, width, PIT, parts of the score",
        _pass(
            f"{anchor}-coverage",
            coverage_view(page, dataset, name=f"{name}-coverage"),
            absent="No arm has intervals.",
        ),
        _pass(
            f"{anchor}-width",
            width_view(page, dataset, name=f"{name}-width"),
            absent="No arm has whole intervals.",
        ),
        _pass(
            f"{anchor}-pit",
            *pit_views(page, dataset, name=f"{name}-pit"),
            absent="No transforms: the sides have no distribution.",
        ),
        below=Group(id=f"{anchor}-parts", blocks=(parts_view(page, dataset) or Text(text=split),)),
    )
    charts, untrained = training_views(page, dataset, name=name)
    lines = (Lines(lines=untrained, style="plain"),) if untrained else ()
    yield Details(
        summary="Training",
        blocks=(*((Group(style="charts", blocks=charts),) if charts else ()), *lines),
    )


def _charts(title: str, *groups: Group, below: Block | None = None) -> Details:
    """Charts behind a click."""
    return Details(summary=title, blocks=there(Group(style="charts", blocks=groups), below))


def _plan(facts: DatasetFacts) -> str:
    gap = f", after a gap of {facts.gap}" if facts.gap else ""
    overlap = (
        f"; {facts.overlap} consecutive origins overlap" if facts.overlap > 1 else "; no overlap"
    )
    return (
        f"{numbers.plural(facts.origins, 'origin')} from {facts.first_origin} to "
        f"{facts.last_origin}, every {numbers.plural(facts.stride, 'session')}, "
        f"{facts.horizon} sessions ahead{gap}{overlap}.{_ended(facts)}"
    )


def _ended(facts: DatasetFacts) -> str:
    """That no session will come any more, where that is so."""
    return (
        f" The data have ended, on {facts.ended}: no new origin will come." if facts.ended else ""
    )


def _metrics(page: PageInput, dataset: str) -> tuple[Block, ...]:
    folded = there(
        metric_tables.intervals(page, dataset),
        metric_tables.independent(page, dataset),
        metric_tables.others(page, dataset),
    )
    return (
        metric_tables.accuracy(page, dataset),
        *(Details(summary=table.caption, blocks=(table,)) for table in folded),
    )


def _pass(name: str, *charts: Chart | None, absent: str) -> Group:
    return Group(id=name, style="pass", blocks=there(*charts) or (Text(text=absent),))


def _windows(
    page: PageInput, dataset: str, facts: DatasetFacts | None, name: str
) -> Iterator[Block]:
    yield Heading(text="The candidate's worst, median and best window")
    if facts is None:
        yield Text(text=f"No series of {dataset} was given, so no forecast can be drawn.")
        return
    views, notes = window_views(page, facts, name=name)
    for note in notes:
        yield Text(text=note)
    if views:
        legend = Text(
            text="Below, thin line: what was seen before the origin (dashed upright). Line with "
            "dots: the actuals. Coloured line: the median; bands: its 50, 80 and 95 % intervals. "
            "Both sides of a window share one axis.",
            style="note",
        )
        history = history_view(page, facts, name=f"{name}-history")
        yield Group(style="window history", blocks=there(history, legend))
    yield from views
    yield from there(lost_most(page, facts))


def summary(page: PageInput) -> Iterator[Section]:
    """Losses of every dataset, then intervals."""
    for make in (metric_tables.accuracy, metric_tables.intervals):
        for name in page.datasets:
            table = make(page, name)
            yield Section(id=name, title="", items=(table,))


def terminal(page: PageInput) -> Iterator[Section]:
    """A table of metrics for each dataset."""
    for name in dict.fromkeys(row.dataset for row in page.summaries):
        yield Section(id=name, title=name, items=(metric_tables.in_short(page, name),))


PLACEMENTS = (Placement(order=400, page=datasets, summary=summary, terminal=terminal),)
