"""From stored forecasts to scores: derived, kept in a file, and never needing a model.

`scores/SLOT.scores`: the last scores of an arm under a plan with a seed. It begins with a digest of
the rest, which is safetensors and says in its head of which forecasts, actuals and code it was
made. It is used when all of that fits, and made again otherwise: it is no record.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.arm import Role
from harness.errors import StoreError
from harness.running.cells import cell_digest, has_cell, issued_in_time, read_cell
from harness.running.identity import process_space
from harness.running.sources import CodeReader, digest, harness_digest
from harness.running.store_folder import Store, bytes_digest
from harness.scoring.metrics import METRICS
from harness.scoring.scores import Truth, UnitScores, score
from harness.window import Series, Windows

if TYPE_CHECKING:
    from harness.running.grid import Grid, GridCell

_AT_ORIGIN = ("last", "naive_scale", "naive_square", "volatility", "drawdown")
_FACTS = (
    *("crossings", "extrapolated", "residual_distribution", "members", "drawn", "reading_gap"),
    *("reason", "fallback"),
)
_HEAD = "abharness"
_DIGEST = 64
"""Characters that a file of scores begins with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellScores:
    """Scores of a cell, and what they were derived from.

    Attributes
    ----------
    forecasts
        Digest of the stored forecasts.
    """

    scores: UnitScores
    forecasts: str


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
    made_of = digest([forecasts, truth.digest, scoring_digest()])
    file, kept = file_of(store, cell.slot), None
    if not anew:
        names = (cell.arm.name, cell.arm.role, cell.dataset, cell.seed)
        kept = read_scores(file, names, truth=truth, made_of=made_of)
    if kept is None:
        unit = read_cell(store, cell)
        if not np.array_equal(unit.origin, truth.origin):
            raise StoreError(f"{store.root}: holds origins other than those {cell} asks for")
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
            write_scores(file, kept, made_of=made_of)
    return CellScores(scores=kept, forecasts=forecasts)


def file_of(store: Store, slot: str) -> Path:
    """Where the scores of a slot lie."""
    return store.root / "scores" / f"{slot}.scores"


def write_scores(file: Path, scores: UnitScores, *, made_of: str = "") -> None:
    """Write scores in place of what a file held, atomically.

    Names are not in it: they are the experiment's.
    """
    from safetensors.numpy import save

    truth = scores.truth
    known = [name for name in _AT_ORIGIN if getattr(truth, name) is not None]
    facts = {
        "made_of": made_of,
        "truth_digest": scores.truth_digest,
        "at_origin": known,
        "values": list(scores.values),
        "served": list(scores.served),
        **{name: getattr(scores, name) for name in _FACTS},
    }
    if not any(scores.reason):
        facts["reason"] = []
    numbers = [truth.values, *scores.values.values(), *scores.served.values()]
    arrays = {
        "step": truth.step.astype(np.int64),
        "rows": np.stack([truth.origin, truth.origin_date.astype("datetime64[D]").view(np.int64)]),
        "at_origin": np.stack([getattr(truth, name) for name in known]),
        "cells": np.stack(numbers),
    }
    content: bytes = save(arrays, {_HEAD: json.dumps(facts, sort_keys=True)})
    draft = file.with_name(f".{file.stem}.{process_space()}.{os.getpid()}")
    draft.write_bytes(bytes_digest(content).encode() + content)
    draft.replace(file)


_Names = tuple[str, Role, str, int]
"""Of an arm, its role, a dataset and a seed: what a file of scores does not say."""


def read_scores(
    file: Path, names: _Names, *, truth: Truth | None = None, made_of: str | None = None
) -> UnitScores | None:
    """Read a score file back under the names of an experiment; None where it is not whole.

    Parameters
    ----------
    truth
        What they are known to be held against; left out, as the file has it.
    made_of
        Give only what was made of that.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    content = whole_content(file)
    arm, role, dataset, seed = names
    with suppress(SafetensorError, ValueError, LookupError, TypeError):
        size = int.from_bytes(content[:8], "little")
        facts = json.loads(json.loads(content[8 : 8 + size])["__metadata__"][_HEAD])
        if made_of not in (None, facts["made_of"]):
            return None
        arrays = load(content)
        actual, *cells = arrays["cells"]
        if truth is None:
            origin, days = arrays["rows"]
            truth = Truth(
                dataset=dataset,
                origin=origin,
                origin_date=days.view("datetime64[D]"),
                step=arrays["step"],
                values=actual,
                **dict(zip(facts["at_origin"], arrays["at_origin"], strict=True)),
            )
        by_metric = list(zip([*facts["values"], *facts["served"]], cells, strict=True))
        reason = tuple(facts["reason"]) or ("",) * len(truth.origin)
        told = {name: facts[name] for name in _FACTS}
        return UnitScores(
            arm=arm,
            role=role,
            seed=seed,
            truth=truth,
            truth_digest=facts["truth_digest"],
            ok=np.array([not text for text in reason], dtype=bool),
            values=dict(by_metric[: len(facts["values"])]),
            served=dict(by_metric[len(facts["values"]) :]),
            **told | {"reason": reason, "fallback": tuple(facts["fallback"])},
        )
    return None


def whole_content(file: Path) -> bytes:
    """What a file of scores holds behind its digest; nothing where that is of something else."""
    with suppress(OSError):
        with file.open("rb") as stream:
            wanted, content = stream.read(_DIGEST), stream.read()
        if bytes_digest(content).encode() == wanted:
            return content
    return b""


def scoring_digest() -> str:
    """Digest of the code that decides a score: this module and all of ours that it imports.

    Losses of users, and what their modules import, belong to it.
    """
    ours = harness_digest(__name__)
    own = sorted(name for name in METRICS if ":" in name)
    modules = sorted({name.partition(":")[0] for name in own})
    return digest([ours, own, CodeReader().arm_digest(modules, data=False)]) if own else ours
