"""One dataset's part of the page: tables, then pictures with their figures."""

from __future__ import annotations

from dataclasses import dataclass

from reports import costs, metric_tables, wording
from reports.curve_views import curve_views
from reports.forecast_views import WindowView, lost_most, window_views
from reports.inputs import DatasetFacts, PageInput
from reports.tables import Chart, Table
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
    windows: tuple[WindowView, ...]
    lost: Table | None
    charts: tuple[Chart, ...]
    training: tuple[Chart, ...]
    costs: tuple[Table, ...]
    notes: tuple[str, ...]
    untrained: tuple[str, ...]


def dataset_view(page: PageInput, dataset: str, *, place: int) -> DatasetView:
    """Build a dataset's part; `place` makes its ids."""
    name = f"d{place}"
    facts = page.datasets.get(dataset)
    tables = (
        metric_tables.accuracy(page, dataset),
        metric_tables.intervals(page, dataset),
        metric_tables.independent(page, dataset),
    )
    windows, notes = window_views(page, facts, name=name) if facts else ((), _no_series(dataset))
    training, untrained = training_views(page, dataset, name=name)
    return DatasetView(
        id=dataset,
        anchor=name,
        title=facts.title if facts else dataset,
        plan=_plan(facts) if facts else "",
        tables=_there(*tables),
        further=_there(metric_tables.others(page, dataset)),
        windows=windows,
        lost=lost_most(page, facts),
        charts=curve_views(page, dataset, name=name),
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
