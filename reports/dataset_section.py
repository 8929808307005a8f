"""One dataset's part of the page: tables, then pictures with their figures."""

from __future__ import annotations

from dataclasses import dataclass

from reports import costs, metric_tables, wording
from reports.calibration_views import parts_view, pit_views, width_view
from reports.curve_views import coverage_view, step_views
from reports.forecast_views import WindowView, lost_most, window_views
from reports.inputs import DatasetFacts, PageInput
from reports.seed_views import seed_view
from reports.slice_views import slice_view
from reports.tables import Chart, Table
from reports.time_views import time_view
from reports.training_views import training_views


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetView:
    """All there is to show of a dataset; `notes` say what could not be drawn."""

    id: str
    anchor: str
    title: str
    plan: str
    tables: tuple[Table, ...]
    further: tuple[Table, ...]
    steps: tuple[Chart, ...]
    time: Chart | None
    coverage: Chart | None
    pit: tuple[Chart, ...]
    width: Chart | None
    slices: Chart | None
    parts: Table | None
    windows: tuple[WindowView, ...]
    lost: Table | None
    seeds: Chart | None
    training: tuple[Chart, ...]
    costs: tuple[Table, ...]
    notes: tuple[str, ...]
    untrained: tuple[str, ...]


def dataset_view(page: PageInput, dataset: str, *, place: int) -> DatasetView:
    """Build a dataset's part; `place`, from 1, makes its ids."""
    name = f"d{place}"
    facts = page.datasets.get(dataset)
    windows, notes = window_views(page, facts, name=name) if facts else ((), _no_series(dataset))
    training, untrained = training_views(page, dataset, name=name)
    return DatasetView(
        id=dataset,
        anchor=f"dataset-{place}",
        title=facts.title if facts else dataset,
        plan=_plan(facts) if facts else "",
        tables=_there(
            metric_tables.accuracy(page, dataset),
            metric_tables.intervals(page, dataset),
            metric_tables.independent(page, dataset),
        ),
        further=_there(metric_tables.others(page, dataset)),
        steps=step_views(page, dataset, name=name),
        time=time_view(page, dataset, name=f"{name}-time"),
        coverage=coverage_view(page, dataset, name=f"{name}-coverage"),
        pit=pit_views(page, dataset, name=f"{name}-pit"),
        width=width_view(page, dataset, name=f"{name}-width"),
        slices=slice_view(page, dataset, name=f"{name}-slices"),
        parts=parts_view(page, dataset),
        windows=windows,
        lost=lost_most(page, facts),
        seeds=seed_view(page, dataset, name=f"{name}-seeds"),
        training=training,
        costs=_there(costs.speed(page, dataset), costs.memory(page, dataset)),
        notes=notes,
        untrained=untrained,
    )


def _there(*tables: Table | None) -> tuple[Table, ...]:
    return tuple(table for table in tables if table is not None)


def _no_series(dataset: str) -> tuple[str, ...]:
    return (f"No series of {dataset} was given, so no forecast can be drawn.",)


def _plan(facts: DatasetFacts) -> str:
    gap = f", after a gap of {facts.gap}" if facts.gap else ""
    overlap = (
        f"; {facts.overlap} consecutive origins overlap" if facts.overlap > 1 else "; no overlap"
    )
    return (
        f"{wording.plural(facts.origins, 'origin')} from {facts.first_origin} to "
        f"{facts.last_origin}, every {wording.plural(facts.stride, 'session')}, "
        f"{facts.horizon} sessions ahead{gap}{overlap}."
    )
