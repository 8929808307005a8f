"""From stored forecasts to stored scores: derived, cached, and never needing a model."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from harness.arm import Role
from harness.errors import StoreError
from harness.grid import Grid, GridCell
from harness.identity import digest, file_digest
from harness.records import column, read_table, read_unit, write_table
from harness.scores import Truth, UnitScores, score
from harness.store import Store

SCHEMA = 1
_SCORING_PATH = ("metrics.py", "scores.py", "forecast.py", "scoring.py")
_UNIT_ROWS = ("attempts", "forecasts")
_ROW_COLUMNS = ("window", "origin", "origin_date", "step", "last", "naive_scale", "reason")


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
    folder = store.unit_folder(cell.key)
    file = store.score_file(
        digest([cell.key, _content_digest(folder), truth.digest, scoring_digest()])
    )
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


def write_scores(file: Path, scores: UnitScores) -> None:
    """Write one row per origin and step. Names are not in it: they are the experiment's."""
    count, steps = len(scores), len(scores.step)
    columns: dict[str, Any] = {
        "window": np.repeat(np.arange(count, dtype=np.int32), steps),
        "origin": np.repeat(scores.origin, steps),
        "origin_date": np.repeat(scores.origin_date, steps),
        "step": np.tile(scores.step, count),
        "last": np.repeat(scores.last, steps),
        "naive_scale": np.repeat(scores.naive_scale, steps),
        "reason": [text for text in scores.reason for _ in range(steps)],
    }
    columns |= {name: cells.reshape(-1) for name, cells in scores.values.items()}
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
    if facts.get("schema") != SCHEMA:
        raise StoreError(
            f"{file}: scores of schema {facts.get('schema')}, this version reads {SCHEMA}"
        )
    shape = (facts["windows"], rows.num_rows // max(facts["windows"], 1))
    columns = {name: column(rows, name).reshape(shape) for name in rows.column_names}
    reason = tuple(str(text) for text in columns["reason"][:, 0])
    return UnitScores(
        arm=arm,
        role=role,
        dataset=dataset,
        seed=seed,
        origin=columns["origin"][:, 0],
        origin_date=columns["origin_date"][:, 0].astype("datetime64[D]"),
        step=columns["step"][0],
        last=columns["last"][:, 0],
        naive_scale=columns["naive_scale"][:, 0],
        truth_digest=facts["truth_digest"],
        ok=np.array([not text for text in reason], dtype=bool),
        reason=reason,
        values={name: cells for name, cells in columns.items() if name not in _ROW_COLUMNS},
        crossings=facts["crossings"],
        extrapolated=facts["extrapolated"],
        residual_distribution=facts["residual_distribution"],
    )


def _content_digest(folder: Path) -> str:
    """Digest of a unit's rows: a unit that is run again keeps its key, not always its rows."""
    try:
        return digest([file_digest(folder / f"{name}.parquet") for name in _UNIT_ROWS])
    except OSError as problem:
        raise StoreError(f"{problem.filename}: cannot be read: {problem.strerror}") from None


@lru_cache(maxsize=1)
def scoring_digest() -> str:
    """Digest of the code that decides a score."""
    folder = Path(__file__).parent
    return digest({name: file_digest(folder / name) for name in _SCORING_PATH})
