"""What a verdict was judged from, as a record beside it: enough to judge again without the grid.

Schema numbers: 1, the first.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.arm import Role
from harness.errors import StoreError
from harness.gate.stored_scores import read_scores
from harness.judging.given import Given
from harness.judging.verdict import Cell, plain
from harness.running.identity import digest
from harness.running.store import Store, write_text
from harness.scoring.scores import UnitScores, in_time_order

SCHEMA = 1
FILE = "inputs.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellInput:
    """One declared cell and its scores.

    Attributes
    ----------
    unit
        Key of its unit: all that decides its forecasts.
    file
        Name of its score file in the store; '' where it has no scores.
    scores
        Digest of the scores as numbers; '' where it has none.
    failures
        Windows it failed.
    """

    arm: str
    role: Role
    dataset: str
    seed: int
    unit: str
    file: str = ""
    scores: str = ""
    failures: int = 0

    @property
    def cell(self) -> Cell:
        """The same as the verdict names it."""
        return Cell(arm=self.arm, dataset=self.dataset, seed=self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """All of it. The given fingerprints are left out: they stand in the verdict itself.

    Attributes
    ----------
    scoring
        Digest of the code that made the scores.
    decides
        The gate judged itself too and made diagnostics. False in records on pairs that decide
        nothing, from when only the policy's pair had these.
    """

    cells: tuple[CellInput, ...]
    given: Given
    scoring: str
    decides: bool = True
    schema: int = SCHEMA

    @property
    def digest(self) -> str:
        """Hash of everything in it."""
        return digest(plain(self))


def scores_digest(unit: UnitScores) -> str:
    """Hash of a unit's scores as numbers, independent of names, files and row order."""
    unit = in_time_order(unit)
    content = hashlib.sha256(unit.truth_digest.encode())
    content.update(unit.ok.tobytes())
    for name in sorted(unit.values):
        content.update(name.encode())
        content.update(np.ascontiguousarray(unit.values[name], dtype="<f8").data)
    return content.hexdigest()


def write_inputs(folder: Path, inputs: Inputs) -> None:
    """Write the record beside a verdict."""
    text = json.dumps(plain(inputs), sort_keys=True, indent=1, allow_nan=False) + "\n"
    write_text(folder / FILE, text)


def read_inputs(folder: Path) -> Inputs:
    """Read the record beside a verdict.

    Raises
    ------
    StoreError
        When it is missing, torn or newer.
    """
    from pydantic import TypeAdapter, ValidationError

    file = folder / FILE
    content = _content(file)
    try:
        return TypeAdapter(Inputs).validate_python(content)
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise StoreError(f"{file}: not whole: {where}: {first['msg']}") from None


def _content(file: Path) -> dict[str, Any]:
    try:
        content: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise StoreError(f"{file}: cannot be read: {problem}") from None
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise StoreError(f"{file}: inputs of schema {schema}; this version reads {SCHEMA}")
    found: dict[str, Any] = content
    return found


def scores_of(folder: Path, *, scoring: str) -> list[tuple[str, str]]:
    """Unit and digest of the scores of every cell a verdict was judged from.

    Without cells that failed windows (what failed may succeed when it is run again), and empty
    where other code made the scores. Read without checking all else: a store may hold hundreds.

    Raises
    ------
    StoreError
        When the record is torn or newer.
    """
    content = _content(folder / FILE)
    if content.get("scoring") != scoring:
        return []
    try:
        return [
            (row["unit"], row["scores"])
            for row in content["cells"]
            if row["scores"] and not row["failures"]
        ]
    except (KeyError, TypeError) as problem:
        raise StoreError(f"{folder / FILE}: not whole: {problem}") from None


def without_fingerprints(given: Given) -> Given:
    """Leave out what the verdict itself holds."""
    return dataclasses.replace(given, fingerprints={})


def stored_scores(store: Store, inputs: Inputs) -> tuple[list[UnitScores], list[str]]:
    """Read the scores a verdict was judged from, and say which are not what they were.

    Returns
    -------
    list, list
        The scores of all cells that have some, and a sentence for each that is gone, cannot be
        read or holds other numbers.
    """
    found: list[UnitScores] = []
    changed: list[str] = []
    for each in inputs.cells:
        if not each.file:
            continue
        file = store.root / "scores" / each.file
        try:
            unit = read_scores(
                file, arm=each.arm, role=each.role, dataset=each.dataset, seed=each.seed
            )
        except StoreError as problem:
            changed.append(f"scores of {each.cell}: {problem}")
            continue
        if scores_digest(unit) != each.scores:
            changed.append(f"scores of {each.cell}: {file.name} holds other numbers than then")
        found.append(unit)
    return found, changed


def conflicts(
    now: Sequence[CellInput], earlier: Mapping[str, Sequence[tuple[str, str]]]
) -> list[str]:
    """Name cells whose unit had other scores in any verdict before, and where.

    The same meaning must give the same numbers. Units with failed windows are left out.

    Parameters
    ----------
    earlier
        Folder of a verdict in the store to the scores of its units, see `scores_of`.
    """
    return [
        f"{each.cell}: the same unit {each.unit[:12]} has other scores than in an earlier verdict, "
        "though nothing that decides them changed: an error of the pipeline or of its store. Once "
        f"the cause is known, removing {' and '.join(others)} from the store accepts those of now."
        for each in now
        if each.scores and not each.failures
        if (others := [name for name, known in earlier.items() if _differs(each, known)])
    ]


def changed(then: Sequence[CellInput], now: Sequence[CellInput]) -> list[str]:
    """Name cells that have other scores now than a verdict was judged from, or none any more."""
    scores = {each.cell: each.scores for each in now}
    return [str(each.cell) for each in then if scores.get(each.cell, "") != each.scores]


def _differs(cell: CellInput, known: Sequence[tuple[str, str]]) -> bool:
    return any(unit == cell.unit and scores != cell.scores for unit, scores in known)
