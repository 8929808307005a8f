"""From stored forecasts to stored scores: derived, cached, and never needing a model."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.arm import Role
from harness.errors import StoreError
from harness.running.cells import cell_digest, has_cell, read_cell
from harness.running.parquet import TornTableError, column, read_table, write_table
from harness.running.sources import CodeReader, digest, harness_digest
from harness.running.store import Store
from harness.scoring.metrics import METRICS
from harness.scoring.scores import Truth, UnitScores, score

if TYPE_CHECKING:
    from harness.running.grid import Grid, GridCell

SCHEMA = 3
"""1 had neither volatility and drawdown at the origin nor a fallback's answers, 2 no actuals."""
_AT_ORIGIN = (
    *("origin", "origin_date", "last"),
    *("naive_scale", "naive_square", "volatility", "drawdown"),
)
_TEXTS = ("reason", "fallback")
_ACTUAL = "actual"
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
        if has_cell(store, cell)
    ]


def score_cell(cell: GridCell, store: Store, truth: Truth) -> UnitScores:
    """Score a cell, or read its scores when the same forecasts were scored the same way before.

    Scores are derived: a file of them that is torn is made again.
    """
    file = score_file_of(cell, store, truth)
    if file.is_file():
        with suppress(TornTableError):
            return read_scores(
                file, arm=cell.arm.name, role=cell.arm.role, dataset=cell.dataset, seed=cell.seed
            )
    scores = _scored(cell, store, truth)
    write_scores(file, scores)
    return scores


def _scored(cell: GridCell, store: Store, truth: Truth) -> UnitScores:
    unit = read_cell(store, cell)
    if not np.array_equal(unit.origin, truth.origin):
        raise StoreError(f"{store.root}: holds other origins than {cell} asks")
    return score(
        truth,
        unit.forecast,
        arm=cell.arm.name,
        role=cell.arm.role,
        seed=cell.seed,
        reasons=unit.reason,
        residual_distribution=unit.record.residual_distribution,
    )


def score_file_of(
    cell: GridCell, store: Store, truth: Truth, *, scoring: str | None = None
) -> Path:
    """Where the scores of a cell's stored forecasts lie: other rows or code, another file.

    Parameters
    ----------
    scoring
        Digest of the code that scores; left out, of this.

    Raises
    ------
    StoreError
        When an origin is not in the store.
    """
    rows = cell_digest(store, cell)
    return store.score_file(digest([cell.key, rows, truth.digest, scoring or scoring_digest()]))


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
        if getattr(scores.truth, name) is not None:
            columns[name] = np.repeat(getattr(scores.truth, name), steps)
    columns[_ACTUAL] = scores.truth.values.reshape(-1)
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
    try:
        return _read(file, rows, arm=arm, role=role, dataset=dataset, seed=seed)
    except (KeyError, TypeError, ValueError) as problem:
        raise TornTableError(f"{file}: no whole table of scores: {problem}") from None


def _read(file: Path, rows: Any, *, arm: str, role: Role, dataset: str, seed: int) -> UnitScores:
    facts = json.loads((rows.schema.metadata or {}).get(b"abharness", b"{}"))
    schema = facts.pop("schema", None)
    if schema != SCHEMA:
        raise StoreError(f"{file}: scores of schema {schema}, this version reads {SCHEMA}")
    shape = (facts["windows"], rows.num_rows // max(facts.pop("windows"), 1))
    columns = {name: column(rows, name).reshape(shape) for name in rows.column_names}
    del columns["window"]
    at_origin = {name: columns.pop(name)[:, 0] for name in _AT_ORIGIN if name in columns}
    at_origin["origin_date"] = at_origin["origin_date"].astype("datetime64[D]")
    texts = {
        name: tuple(str(text) for text in columns.pop(name)[:, 0])
        for name in _TEXTS
        if name in columns
    }
    reason = texts.get("reason", ("",) * shape[0])
    truth = Truth(
        dataset=dataset,
        step=columns.pop("step")[0],
        values=columns.pop(_ACTUAL),
        **at_origin,
    )
    served = [name for name in columns if name.startswith(_SERVED)]
    return UnitScores(
        arm=arm,
        role=role,
        seed=seed,
        truth=truth,
        ok=np.array([not text for text in reason], dtype=bool),
        reason=reason,
        values={name: cells for name, cells in columns.items() if name not in served},
        served={name.removeprefix(_SERVED): columns[name] for name in served},
        fallback=texts.get("fallback", ()),
        **facts,
    )


def scoring_digest() -> str:
    """Digest of the code that decides a score: this module and all of ours that it imports.

    Losses of users, and what their modules import, belong to it.
    """
    ours = harness_digest(__name__)
    own = sorted(name for name in METRICS if ":" in name)
    modules = sorted({name.partition(":")[0] for name in own})
    return digest([ours, own, CodeReader().arm_digest(modules, data=False)]) if own else ours
