"""Upkeep of a store: is it what was written, what may go, and what is taken in or given up."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from harness.errors import StoreError
from harness.gate.history import experiments, read_inputs, standing
from harness.gate.recompute import replay
from harness.judging.fact import Fact
from harness.records.journal import FILE, Journal
from harness.running.grid import Grid, GridCell, PlannedFit
from harness.running.parts import Part, read_part
from harness.running.sealing import part_key
from harness.running.sources import digest, file_digest
from harness.running.split import anchor_of
from harness.running.store import (
    RESULTS,
    Seal,
    Spent,
    Store,
    StoredFit,
    bytes_digest,
    open_store,
)
from harness.running.unit import STATE


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCheck:
    """What a store was found to be.

    Attributes
    ----------
    records, fits, parts
        How many were looked at.
    damage
        Sealed files that are not what was sealed, a line each.
    verdicts
        What differs in each standing verdict when it is judged again, by experiment; nothing where
        it is the same.
    stale
        Score files that are not what was written: they are made again.
    unsealed
        Files of fits and parts that no record knows: what a process left that was ended.
    """

    records: int
    fits: int
    parts: int
    damage: tuple[str, ...]
    verdicts: Mapping[str, tuple[Fact, ...]]
    stale: tuple[str, ...]
    unsealed: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether every record, seal and verdict holds."""
        return not self.damage and not any(self.verdicts.values())


def check_store(store: Store) -> StoreCheck:
    """Walk the chain of records, hold every file against its seal, and judge again what stands.

    Raises
    ------
    StoreError
        When a record is not what was written: nothing else can be told then.
    """
    store.journal.verify()
    damage = [found for key in store.fits() if (found := store.fit_damage(key))]
    for key, seal in store.parts().items():
        try:
            part = store.read_sealed(key, seal)
        except StoreError as problem:
            damage.append(str(problem))
            continue
        if tuple(part.digests()) != seal.digests:
            damage.append(f"{store.part_file(key)}: its forecasts are not what was sealed")
    verdicts = {name: replay(standing(store, name), store).differences for name in stands(store)}
    return StoreCheck(
        records=len(store.journal.records()),
        fits=len(store.fits()),
        parts=len(store.parts()),
        damage=tuple(damage),
        verdicts=verdicts,
        stale=tuple(file.name for file in _stale(store)),
        unsealed=tuple(str(file.relative_to(store.root)) for file in _unsealed(store)),
    )


def stands(store: Store) -> list[str]:
    """Experiments with a verdict that stands."""
    return [name for name in experiments(store) if standing(store, name)]


def _stale(store: Store) -> Iterator[Path]:
    """Score files whose content is not what their names say."""
    for file in sorted((store.root / "scores").iterdir()):
        if not bytes_digest(file.read_bytes()).startswith(file.stem.rpartition("-")[2] or "-"):
            yield file


def _unsealed(store: Store) -> Iterator[Path]:
    parts, fits = store.parts(), store.fits()
    for file in sorted((store.root / "parts").iterdir()):
        if file.stem not in parts:
            yield file
    for folder in sorted((store.root / "fits").iterdir()):
        if folder.name not in fits:
            yield folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was removed: how many of each, and bytes in all."""

    fits: int
    parts: int
    scores: int
    drawn: int
    bytes: int


def prune(store: Store) -> Pruned:
    """Remove what no experiment needs any more.

    Kept are the fits and parts of every experiment as it was declared last, and of every verdict
    that stands. Removed are the others, what no record knows, scores that no standing verdict has
    or that are not what was written, and what was drawn of verdicts that do not stand.

    Raises
    ------
    StoreError
        When the store cannot be written.
    """
    names, lines, slots = set[str](), set[str](), set[str]()
    for record in store.journal.newest("grid").values():
        lines |= {str(cell["line"]) for cell in store.journal.body(record)["cells"]}
    for experiment in stands(store):
        name = standing(store, experiment)
        family = store.journal.latest("family", name) or {"verdicts": []}
        names |= {name, *(str(row["name"]) for row in family["verdicts"])}
        cells = read_inputs(store, name).cells
        lines |= {cell.line for cell in cells}
        slots |= {cell.slot for cell in cells}
    datasets = {line_of(fit, dataset) for fit in () for dataset in ()}
    del datasets
    needless = [key for key, fit in store.fits().items() if not _lines(store, fit) & lines]
    parts = [(key, seal) for key, seal in store.parts().items() if seal.fit in needless]
    doomed = [store.part_file(key) for key, _ in parts]
    doomed += [store.fit_folder(key) for key in needless]
    doomed += _unsealed(store)
    scores = {file for file in (store.root / "scores").iterdir() if file.name[:32] not in slots}
    scores |= set(_stale(store))
    drawn = [f for f in (store.root / "verdicts").glob("*/*/") if f.name not in names]
    size = sum(map(_size, {*doomed, *scores, *drawn}))
    with store.journal.writing():
        for key in (*needless, *(key for key, _ in parts)):
            store.journal.append("drop", key, {"why": "no experiment needs it", "pruned": True})
    for path in {*doomed, *scores, *drawn}:
        _remove(path)
    store.sweep()
    return Pruned(
        fits=len(needless), parts=len(parts), scores=len(scores), drawn=len(drawn), bytes=size
    )


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
