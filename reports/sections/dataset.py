"""All that is shown of one dataset: metrics, curves, calibration, forecasts, training."""

from __future__ import annotations

from collections.abc import Iterator

from reports.page_input import DatasetFacts, PageInput
from reports.section import Block, Chart, Details, Group, Heading, Lines, Part, Section, Text, there
from reports.sections import metric_tables
from reports.sections.by_time import step_views, time_view
from reports.sections.calibration import coverage_view, parts_view, pit_views, width_view
from reports.sections.forecasts import lost_most, window_views
from reports.sections.seeds import seed_view
from reports.sections.slices import slice_view
from reports.sections.training import training_views
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
    yield Heading(text="Over steps and time")
    yield Group(
        style="charts",
        blocks=(
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
        ),
    )
    yield Heading(text="By part, calibration, seeds")
    yield Group(
        style="charts",
        blocks=(
            _pass(
                f"{anchor}-slices",
                slice_view(page, dataset, name=f"{name}-slices"),
                absent="No part can be compared.",
            ),
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
            _pass(
                f"{anchor}-seeds",
                seed_view(page, dataset, name=f"{name}-seeds"),
                absent="No arm has a CRPS by seed.",
            ),
        ),
    )
    split = "No score can be split: no arm has a whole distribution stored."
    yield Group(id=f"{anchor}-parts", blocks=(parts_view(page, dataset) or Text(text=split),))
    yield Group(id=f"{anchor}-windows", blocks=tuple(_windows(page, dataset, facts, name)))
    yield Group(id=f"{anchor}-training", blocks=tuple(_training(page, dataset, name)))


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
    further = metric_tables.others(page, dataset)
    return there(
        metric_tables.accuracy(page, dataset),
        metric_tables.intervals(page, dataset),
        metric_tables.independent(page, dataset),
        None if further is None else Details(summary=further.caption, blocks=(further,)),
    )


def _pass(name: str, *charts: Chart | None, absent: str) -> Group:
    return Group(id=name, style="pass", blocks=there(*charts) or (Text(text=absent),))


def _windows(
    page: PageInput, dataset: str, facts: DatasetFacts | None, name: str
) -> Iterator[Block]:
    yield Heading(text="Forecasts of the candidate's worst, median and best window")
    if facts is None:
        yield Text(text=f"No series of {dataset} was given, so no forecast can be drawn.")
        return
    views, notes = window_views(page, facts, name=name)
    for note in notes:
        yield Text(text=note)
    if views:
        yield Text(
            text="Thin line: what was seen before the origin (dashed upright). Line with dots: "
            "what came. Coloured line: the median; bands: its 50, 80 and 95 % intervals.",
            style="note",
        )
    yield from views
    yield from there(lost_most(page, facts))


def _training(page: PageInput, dataset: str, name: str) -> Iterator[Block]:
    yield Heading(text="Training")
    charts, untrained = training_views(page, dataset, name=name)
    if charts:
        yield Group(style="charts", blocks=charts)
    if untrained:
        yield Lines(lines=untrained, style="plain")


def summary(page: PageInput) -> Iterator[Section]:
    """Losses of every dataset, then intervals."""
    for make in (metric_tables.accuracy, metric_tables.intervals):
        for name in page.datasets:
            table = make(page, name)
            yield Section(id=name, title="", items=(table,))


def terminal(page: PageInput) -> Iterator[Section]:
    """A table of metrics for each dataset."""
    for name in dict.fromkeys(row.dataset for row in page.summaries):
        facts = page.datasets.get(name)
        ended = Text(text=_ended(facts).strip()) if facts and facts.ended else None
        yield Section(id=name, title=name, items=there(metric_tables.in_short(page, name), ended))


PARTS = (Part(order=400, page=datasets, summary=summary, terminal=terminal),)
