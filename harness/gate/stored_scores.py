"""From stored forecasts to stored scores: derived, cached, and never needing a model."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from harness.arm import Role
from harness.errors import StoreError
from harness.running.grid import Grid, GridCell
from harness.running.identity import digest, file_digest
from harness.running.records import column, read_table, read_unit, write_table
from harness.running.store import Store
from harness.scoring.scores import Truth, UnitScores, score

SCHEMA = 2
"""1 had neither volatility and drawdown at the origin nor a fallback's answers."""
_SCORING_PATH = (
    *("forecast.py", "kernels.py", "scoring/judged.py", "scoring/metrics.py"),
    *("scoring/scores.py", "scoring/truth.py", "gate/stored_scores.py"),
)
_UNIT_ROWS = ("attempts", "forecasts")
_AT_ORIGIN = ("origin", "origin_date", "last", "naive_scale", "volatility", "drawdown")
_TEXTS = ("reason", "fallback")
_SERVED = "served:"
"""Starts the column of a metric as served, the fallback's answers included."""


def score_grid(grid: Grid, store: Store) -> list[UnitScores]:
    """Score every cell that is in the store, in declared order; the others are left out."""
    truths = {
        name: Truth.of(name, split.dataset.series, split.windows)
        for name, split in grid.splits.items()
    }
    return [
        score_cell(cell, store, truths[cell.dataset])
        for cell in grid.cells
        if store.has_unit(cell.key)
    ]


def score_cell(cell: GridCell, store: Store, truth: Truth) -> UnitScores:
    """Score a cell, or read its scores when the same forecasts were scored the same way before."""
    folder, file = store.unit_folder(cell.key), score_file_of(cell, store, truth)
    if not file.is_file():
        unit = read_unit(folder)
        if not np.array_equal(unit.origin, truth.origin):
            raise StoreError(f"{folder}: holds other origins than {cell} asks")
        scores = score(
            truth,
            unit.forecast,
            arm=cell.arm.name,
            role=cell.arm.role,
            seed=cell.seed,
            reasons=unit.reason,
            residual_distribution=bool(unit.record["residual_distribution"]),
        )
        write_scores(file, scores)
        return scores
    return read_scores(
        file, arm=cell.arm.name, role=cell.arm.role, dataset=cell.dataset, seed=cell.seed
    )


def score_file_of(cell: GridCell, store: Store, truth: Truth) -> Path:
    """Where the scores of a cell's stored forecasts lie: other rows or code, another file."""
    rows = _content_digest(store.unit_folder(cell.key))
    return store.score_file(digest([cell.key, rows, truth.digest, scoring_digest()]))


def write_scores(file: Path, scores: UnitScores) -> None:
    """Write one row per origin and step. Names are not in it: they are the experiment's.

    Texts that are all empty have no column.
    """
    count, steps = len(scores), len(scores.step)
    columns: dict[str, Any] = {
        "window": np.repeat(np.arange(count, dtype=np.int32), steps),
        "step": np.tile(scores.step, count),
    }
    for name in _AT_ORIGIN:
        if getattr(scores, name) is not None:
            columns[name] = np.repeat(getattr(scores, name), steps)
    for name in _TEXTS:
        if any(getattr(scores, name)):
            columns[name] = [text for text in getattr(scores, name) for _ in range(steps)]
    columns |= {name: cells.reshape(-1) for name, cells in scores.values.items()}
    columns |= {_SERVED + name: cells.reshape(-1) for name, cells in scores.served.items()}
    facts = {
        "schema": SCHEMA,
        "truth_digest": scores.truth_digest,
        "crossings": scores.crossings,
        "extrapolated": scores.extrapolated,
        "residual_distribution": scores.residual_distribution,
        "windows": count,
    }
    write_table(file, columns, facts={"abharness": json.dumps(facts, sort_keys=True)})


def read_scores(file: Path, *, arm: str, role: Role, dataset: str, seed: int) -> UnitScores:
    """Read a score file back under the names of an experiment."""
    rows = read_table(file)
    facts = json.loads((rows.schema.metadata or {}).get(b"abharness", b"{}"))
    schema = facts.pop("schema", None)
    if schema != SCHEMA:
        raise StoreError(f"{file}: scores of schema {schema}, this version reads {SCHEMA}")
    shape = (facts["windows"], rows.num_rows // max(facts.pop("windows"), 1))
    columns = {name: column(rows, name).reshape(shape) for name in rows.column_names}
    step = columns.pop("step")[0]
    del columns["window"]
    at_origin = _at_origin(columns, shape[0])
    served = [name for name in columns if name.startswith(_SERVED)]
    return UnitScores(
        arm=arm,
        role=role,
        dataset=dataset,
        seed=seed,
        step=step,
        ok=np.array([not text for text in at_origin["reason"]], dtype=bool),
        values={name: cells for name, cells in columns.items() if name not in served},
        served={name.removeprefix(_SERVED): columns[name] for name in served},
        **at_origin,
        **facts,
    )


def _at_origin(columns: dict[str, Any], count: int) -> dict[str, Any]:
    """Take out of the columns [W, H] what is the same at every step: its first column each."""
    texts = {
        name: tuple(str(text) for text in columns.pop(name)[:, 0])
        for name in _TEXTS
        if name in columns
    }
    rest = {name: columns.pop(name)[:, 0] for name in _AT_ORIGIN if name in columns}
    dates = rest["origin_date"].astype("datetime64[D]")
    return {"reason": ("",) * count, "fallback": ()} | texts | rest | {"origin_date": dates}


def _content_digest(folder: Path) -> str:
    """Digest of a unit's rows: a unit that is run again keeps its key, not always its rows."""
    try:
        return digest([file_digest(folder / f"{name}.parquet") for name in _UNIT_ROWS])
    except OSError as problem:
        raise StoreError(f"{problem.filename}: cannot be read: {problem.strerror}") from None


@lru_cache(maxsize=1)
def scoring_digest() -> str:
    """Digest of the code that decides a score."""
    folder = Path(__file__).parent.parent
    return digest({name: file_digest(folder / name) for name in _SCORING_PATH})
