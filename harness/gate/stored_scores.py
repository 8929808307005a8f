"""From stored forecasts to scores: derived, kept in a file, and never needing a model.

`scores/SLOT-CONTENT.parquet`: the last scores of an arm under a plan with a seed. CONTENT is a
digest of the file; in its own metadata it says of which forecasts, actuals and code it was made.
It is used when all of that fits, and made again otherwise: it is no record.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.arm import Role
from harness.errors import StoreError
from harness.running.cells import cell_digest, has_cell, issued_in_time, read_cell
from harness.running.parquet import TornTableError, column, read_table, write_table
from harness.running.sources import CodeReader, digest, harness_digest
from harness.running.split import anchor_of
from harness.running.store_folder import Store, bytes_digest
from harness.scoring.metrics import METRICS
from harness.scoring.scores import Truth, UnitScores, score
from harness.window import Series, Windows

if TYPE_CHECKING:
    import pyarrow as pa

    from harness.running.grid import Grid, GridCell

_AT_ORIGIN = (
    *("origin", "origin_date", "last"),
    *("naive_scale", "naive_square", "volatility", "drawdown"),
)
_TEXTS = ("reason", "fallback")
_ACTUAL = "actual"
_SERVED = "served:"
"""Starts the column of a metric as served, the fallback's answers included."""
_NAME = 32
"""Characters of a digest in a file's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellScores:
    """Scores of a cell, and what they were derived from.

    Attributes
    ----------
    forecasts
        Digest of the stored forecasts.
    slot
        Start of its file's name.
    """

    scores: UnitScores
    forecasts: str
    slot: str


def score_grid(grid: Grid, store: Store) -> list[UnitScores]:
    """Score every cell that is in the store, in declared order; the others are left out."""
    truths = truths_of(grid, store)
    return [
        score_cell(cell, store, truths[cell.dataset]).scores
        for cell in grid.cells
        if has_cell(store, cell)
    ]


def truths_of(grid: Grid, store: Store) -> dict[str, Truth]:
    """What came, by dataset; the same for every arm.

    Where values were revised, an origin that any arm was issued for in time is held against what
    was known that day and what came first, unless the plan asks for the latest.
    """
    found = {}
    for name, split in grid.splits.items():
        data, issued = split.dataset, dict[int, str]()
        if data.revisions and split.plan.truth == "first":
            issued = issued_in_time(store, [cell for cell in grid.cells if cell.dataset == name])
        found[name] = truth_of(name, data.series, split.windows, issued, data.known_on)
    return found


def truth_of(
    name: str,
    series: Series,
    windows: Windows,
    issued: Mapping[int, str],
    known_on: Callable[[date], Series],
) -> Truth:
    """What came at some origins of a dataset.

    Parameters
    ----------
    series
        What the others are held against.
    issued
        Day (ISO) of the origins that are held against what was known on it, by origin.
    known_on
        The series as it was known on a day, later sessions as they came first.
    """
    truth = Truth.of(name, series, windows)
    days = np.array([issued.get(origin, "") for origin in windows.origin.tolist()])
    for day in sorted({*days.tolist()} - {""}):
        known = known_on(date.fromisoformat(day))
        truth = truth.where(days == day, Truth.of(name, known, windows))
    return truth


def score_cell(cell: GridCell, store: Store, truth: Truth, *, anew: bool = False) -> CellScores:
    """Score a cell, or read its scores when the same forecasts were scored the same way before.

    Parameters
    ----------
    anew
        Derive them, whatever is kept.

    Raises
    ------
    StoreError
        When a forecast is not there, or not what was sealed.
    """
    forecasts = cell_digest(store, cell)
    slot = slot_of(cell)
    made_of = _made_of(forecasts, truth)
    kept = None
    if not anew:
        there = read_slot(
            store,
            slot,
            arm=cell.arm.name,
            role=cell.arm.role,
            dataset=cell.dataset,
            seed=cell.seed,
            made_of=made_of,
        )
        kept = next(there, None)
    if kept is None:
        unit = read_cell(store, cell)
        if not np.array_equal(unit.origin, truth.origin):
            raise StoreError(f"{store.root}: holds other origins than {cell} asks")
        kept = score(
            truth,
            unit.forecast,
            arm=cell.arm.name,
            role=cell.arm.role,
            seed=cell.seed,
            reasons=unit.reason,
            residual_distribution=unit.record.residual_distribution,
        )
        if not store.journal.read_only:
            _keep(store, slot, kept, made_of=made_of)
    return CellScores(scores=kept, forecasts=forecasts, slot=slot)


def slot_of(cell: GridCell) -> str:
    """Start of the name of a cell's score file: the same every night."""
    plan = cell.split.plan
    return digest([cell.line, anchor_of(cell.split.dataset.id, plan), plan.refit])[:_NAME]


def _made_of(forecasts: str, truth: Truth) -> str:
    return digest([forecasts, truth.digest, scoring_digest()])


def _keep(store: Store, slot: str, scores: UnitScores, *, made_of: str) -> None:
    """Write a score file in place of what lies in its slot."""
    draft = store.root / "scores" / f".{slot}.{os.getpid()}"
    write_scores(draft, scores, made_of=made_of)
    target = draft.with_name(f"{slot}-{bytes_digest(draft.read_bytes())[:_NAME]}.parquet")
    former = [file for file in store.root.glob(f"scores/{slot}-*.parquet") if file != target]
    draft.replace(target)
    for file in former:
        file.unlink(missing_ok=True)


def write_scores(file: Path, scores: UnitScores, *, made_of: str = "") -> None:
    """Write one row per origin and step.

    Names are not in it: they are the experiment's. Texts that are all empty have no column.
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
        "made_of": made_of,
        "truth_digest": scores.truth_digest,
        "crossings": scores.crossings,
        "extrapolated": scores.extrapolated,
        "residual_distribution": scores.residual_distribution,
        "members": scores.members,
        "drawn": scores.drawn,
        "reading_gap": scores.reading_gap,
        "windows": count,
    }
    write_table(file, columns, facts={"abharness": json.dumps(facts, sort_keys=True)})


def read_slot(
    store: Store,
    slot: str,
    *,
    arm: str,
    role: Role,
    dataset: str,
    seed: int,
    made_of: str | None = None,
) -> Iterator[UnitScores]:
    """Read the scores that lie in a slot, under the names of an experiment.

    Files that are not what was written are passed over.

    Parameters
    ----------
    made_of
        Give only what was made of that.
    """
    for file in sorted(store.root.glob(f"scores/{slot}-*.parquet")):
        with suppress(OSError, TornTableError):
            content = file.read_bytes()
            if file.stem == f"{slot}-{bytes_digest(content)[:_NAME]}":
                rows = read_table(file, content)
                if made_of in (None, _facts(rows)["made_of"]):
                    yield _scores(rows, arm=arm, role=role, dataset=dataset, seed=seed)


def read_scores(file: Path, *, arm: str, role: Role, dataset: str, seed: int) -> UnitScores:
    """Read a score file back under the names of an experiment."""
    return _scores(read_table(file), arm=arm, role=role, dataset=dataset, seed=seed)


def _facts(rows: pa.Table) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(rows.schema.metadata[b"abharness"])
    return found


def _scores(rows: pa.Table, *, arm: str, role: Role, dataset: str, seed: int) -> UnitScores:
    facts = _facts(rows)
    del facts["made_of"]
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
