"""The page's data as JSON: numbers as numbers, and every table and chart as it is worded.

Schema numbers: 1, the first.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np

from harness.judging.verdict import plain
from reports.forms.plain import plainly
from reports.page_input import DatasetFacts, PageInput
from reports.section import Block, Section, Table
from reports.sections import sections_of
from reports.sections.scorecard import Scorecard
from reports.svg import without_pictures

SCHEMA = 1
_SERIES = ("dates", "target")


def json_of(sections: Iterable[Section], *, title: str) -> str:
    """Write sections as they are worded."""
    data = {"schema": SCHEMA, "title": title, "sections": [_block(each) for each in sections]}
    return json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def page_json(page: PageInput) -> str:
    """Write what a page shows.

    Left out is what the store holds in a better form: series, forecasts and the losses of each
    window, of which the page shows a few in its tables.
    """
    data = page_data(page)
    return json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def page_data(page: PageInput) -> dict[str, Any]:
    """Plain data of a page: mappings, lists, text and finite numbers or None."""
    with without_pictures():
        sections = sections_of(page, "page")
    named = [each.name for each in dataclasses.fields(DatasetFacts) if each.name not in _SERIES]
    units = []
    for (arm, dataset, seed), unit in page.units.items():
        facts = {
            "windows": unit.windows,
            "failed": sum(map(bool, page.answers[arm, dataset, seed].reason)),
            "fits": len(unit.fits),
            "seconds": unit.seconds,
            "peak_bytes": unit.peak_bytes,
            "machine": unit.machine,
            "digest": unit.digest,
        }
        units.append({"arm": arm, "dataset": dataset, "seed": seed, **_plain(facts)})
    return {
        "schema": SCHEMA,
        "title": page.title,
        "experiment_text": page.experiment_text,
        "verdict": _plain(page.verdict),
        "summaries": _plain(page.summaries),
        "arms": _plain(page.arms),
        "datasets": [
            {name: _plain(getattr(facts, name)) for name in named}
            for facts in page.datasets.values()
        ],
        "units": units,
        "environment": _plain(page.environment),
        "versions": _plain(page.versions),
        "fingerprints": _plain(page.fingerprints),
        "beside": _plain(page.beside),
        "sections": [_block(each) for each in sections],
    }


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


_LOOKS = ("svg", "style", "level", "small", "brief", "open", "shown", "link", "file")
"""How a block looks: of no use where nothing is drawn."""


def _block(block: Block) -> dict[str, Any]:
    """A block with its kind; empty fields and how it looks are left out."""
    if isinstance(block, Scorecard):
        (block,) = plainly(block)
    if isinstance(block, Table):
        return {
            "kind": "table",
            "caption": " ".join(filter(None, (block.caption, block.caption_note))),
            "columns": [" ".join(filter(None, (each.title, each.note))) for each in block.columns],
            "rows": [
                [f"{cell.text} ({cell.note})" if cell.note else cell.text for cell in row]
                for row in block.rows
            ],
            "note": block.note,
        }
    fields = {each.name: getattr(block, each.name) for each in dataclasses.fields(cast(Any, block))}
    if isinstance(block, Section):
        fields = {**fields, "items": block.blocks, "absent": None}
    known = {name: _inner(value) for name, value in fields.items() if name not in _LOOKS}
    kept = {name: value for name, value in known.items() if value not in ("", None, [])}
    return {"kind": type(block).__name__.lower(), **kept}


def _inner(value: Any) -> Any:
    if isinstance(value, Block):
        return _block(value)
    if isinstance(value, tuple):
        return [_inner(each) for each in value]
    return _plain(value)
