"""The page's data as JSON: numbers as numbers, and every table and chart as it is worded.

Schema numbers: 1, the first.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from harness.judging.verdict import plain
from reports.page_input import DatasetFacts, PageInput
from reports.tables import Chart, Table, TableCell

SCHEMA = 1
_SERIES = ("dates", "target")


def page_json(page: PageInput) -> str:
    """Write what a page shows.

    Left out is what the store holds in a better form: series, forecasts and the losses of each
    window, of which the page shows a few in its tables.
    """
    data = page_data(page)
    return json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def page_data(page: PageInput) -> dict[str, Any]:
    """Plain data of a page: mappings, lists, text and finite numbers or None."""
    from reports.page import content

    return {
        "schema": SCHEMA,
        "title": page.title,
        "experiment_text": page.experiment_text,
        "verdict": _plain(page.verdict),
        "summaries": _plain(page.summaries),
        "arms": _plain(page.arms),
        "datasets": [_facts(each) for each in page.datasets.values()],
        "units": [_unit(key, unit.record) for key, unit in page.units.items()],
        "environment": _plain(page.environment),
        "versions": _plain(page.versions),
        "fingerprints": _plain(page.fingerprints),
        "beside": _plain(page.beside),
        "tables": [_table(each) for each in _tables(content(page))],
    }


def _facts(facts: DatasetFacts) -> dict[str, Any]:
    known = (each.name for each in dataclasses.fields(facts) if each.name not in _SERIES)
    return {name: _plain(getattr(facts, name)) for name in known}


def _unit(key: tuple[str, str, int], record: Mapping[str, Any]) -> dict[str, Any]:
    arm, dataset, seed = key
    return {"arm": arm, "dataset": dataset, "seed": seed, "record": _plain(record)}


def _plain(value: Any) -> Any:
    """As the verdict's own record is written; arrays and dates included, functions left out."""
    return plain(_listed(value))


def _listed(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = ((each.name, getattr(value, each.name)) for each in dataclasses.fields(value))
        return {name: _listed(part) for name, part in parts if not callable(part)}
    if isinstance(value, np.ndarray | np.generic):
        return value.astype(str).tolist() if value.dtype.kind == "M" else value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _listed(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_listed(each) for each in value]
    return value


def _tables(value: Any) -> Iterator[Table]:
    """Every table of the page in the order of its views, those of charts included."""
    if isinstance(value, Table):
        yield value
    elif isinstance(value, Chart):
        if value.table is not None:
            yield value.table
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tables(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tables(each)
    elif dataclasses.is_dataclass(value) and not isinstance(value, PageInput):
        for field in dataclasses.fields(value):
            yield from _tables(getattr(value, field.name))


def _table(table: Table) -> dict[str, Any]:
    return {
        "caption": table.caption,
        "columns": [" ".join(filter(None, (each.title, each.note))) for each in table.columns],
        "rows": [[_cell(cell) for cell in row] for row in table.rows],
        "note": table.note,
    }


def _cell(cell: TableCell) -> str:
    return f"{cell.text} ({cell.note})" if cell.note else cell.text
