"""Upkeep of a store: is it what was written, what may go, and what is taken in or given up."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import NewerRecordError, StoreError
from harness.gate.history import experiments, read_inputs, standing
from harness.gate.recompute import replay
from harness.gate.stored_scores import whole_content
from harness.judging.fact import Fact
from harness.running.executor import LOG
from harness.running.grid import Grid, GridCell
from harness.running.identity import line_of
from harness.running.incoming import arrived, seal_incoming
from harness.running.parts import Part, read_part
from harness.running.sealing import DueOrigins, part_key, seal_part
from harness.running.sources import file_digest
from harness.running.split import anchor_of
from harness.running.store_folder import Store, StoredFit
from harness.running.unit import STATE
from harness.running.work import TRACEBACK


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
    DamagedRecordsError
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
            damage.append(f"{store.part_file(key)}: its forecasts are not those that were sealed")
    verdicts: dict[str, tuple[Fact, ...]] = {}
    for name in stands(store):
        try:
            verdicts[name] = replay(standing(store, name), store).differences
        except NewerRecordError:
            raise
        except StoreError as problem:  # what it was judged from cannot be read
            damage.append(str(problem))
    return StoreCheck(
        records=len(store.journal),
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
    """Score files that are not what was written."""
    files = sorted((store.root / "scores").iterdir())
    yield from (file for file in files if not whole_content(file))


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
    deliveries: int
    bytes: int


def prune(store: Store) -> Pruned:
    """Remove what no experiment needs any more.

    Kept are the fits and parts of every experiment as it was declared last, and of every verdict
    that stands. Removed are the others, what no record knows, scores that no standing verdict has
    or that are not what was written, what was drawn of verdicts that do not stand, and what was
    delivered to `incoming/` of other fits or is not whole.

    Raises
    ------
    StoreError
        When the store cannot be written.
    """
    names, needed, slots = set[str](), set[tuple[str, str]](), set[str]()
    for record in store.journal.newest("grid").values():
        cells = store.journal.body(record)["cells"]
        needed |= {(str(cell["dataset"]), str(cell["line"])) for cell in cells}
    for experiment in stands(store):
        name = standing(store, experiment)
        family = store.journal.latest("family", name) or {"verdicts": []}
        names |= {name, *(str(row["name"]) for row in family["verdicts"])}
        inputs = read_inputs(store, name)
        needed |= {(cell.dataset, cell.line) for cell in inputs.cells}
        slots |= {cell.slot for cell in inputs.cells}
    datasets = {dataset for dataset, _ in needed}
    needless = [
        key
        for key, fit in store.fits().items()
        if not any((dataset, line_of(dataset, fit.identity)) in needed for dataset in datasets)
    ]
    parts = [(key, seal) for key, seal in store.parts().items() if seal.fit in needless]
    doomed = [store.part_file(key) for key, _ in parts]
    doomed += [store.fit_folder(key) for key in needless]
    deliveries = [
        folder
        for folder, found in arrived(store.root)
        if isinstance(found, StoreError)
        or not any(
            (dataset, line_of(dataset, job.identity)) in needed
            for job in found.jobs
            for dataset in datasets
        )
    ]
    scores = {file for file in (store.root / "scores").iterdir() if file.stem not in slots}
    scores |= set(_stale(store))
    drawn = [f for f in (store.root / "verdicts").glob("*/*/") if f.name not in names]
    with store.journal.writing():  # so that nothing is being put into place meanwhile
        for key in (*needless, *(key for key, _ in parts)):
            store.journal.append("drop", key, {"why": "no experiment needs it", "pruned": True})
        gone = {*doomed, *scores, *drawn, *deliveries, *_unsealed(store)}
        files = [file for path in gone for file in (path, *path.rglob("*")) if file.is_file()]
        size = sum(file.stat().st_size for file in files)
        for path in gone:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    store.sweep()
    return Pruned(
        fits=len(needless),
        parts=len(parts),
        scores=len(scores),
        drawn=len(drawn),
        deliveries=len(deliveries),
        bytes=size,
    )


def drop(store: Store, part: str, *, why: str) -> str:
    """Give up a sealed part that is damaged, so that what is forecast again is accepted.

    Verdicts say that it was, and why.

    Parameters
    ----------
    part
        Its key, or as much of the start as no other part has.

    Returns
    -------
    str
        The whole key.

    Raises
    ------
    StoreError
        When no part or more than one begins so, or it is not damaged.
    """
    found = {key: seal for key, seal in store.parts().items() if key.startswith(part)}
    if len(found) != 1:
        raise StoreError(
            f"{store.root}: {len(found) or 'no'} sealed parts begin with '{part}'; "
            "`abharness store check` names those that are damaged"
        )
    ((key, seal),) = found.items()
    if not store.part_damage(key, seal):
        raise StoreError(f"{store.part_file(key)}: is what was sealed, so there is nothing to drop")
    body = {"why": why, "fit": seal.fit, "cutoffs": seal.cutoffs}
    store.journal.append("drop", key, body)
    store.part_file(key).unlink(missing_ok=True)
    return key


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """What was taken in, and files of parts that belong to no fit of the experiment.

    `delivered` counts fits that lay in `incoming/` and were sealed; `left_from` is the last session
    seen at the earliest origin of what was left, '' where nothing was.
    """

    fits: int
    parts: int
    delivered: int
    left: tuple[str, ...]
    left_from: str


def adopt(store: Store, grid: Grid, *, why: str) -> Adopted:
    """Take in fits and parts whose records are lost, as a new attempt: issued now.

    A part belongs to a fit of the experiment when its name is the digest of that fit, its origins
    and the rows they see. What it holds is taken as it is. What lies in `incoming/` is sealed after
    that.

    Parameters
    ----------
    store
        Of which the experiment's grid was declared.

    Raises
    ------
    StoreError
        When the store cannot be written.
    """
    left, parts, fits, cutoffs = [], 0, set[str](), list[str]()
    for split in grid.splits.values():
        store.record_cutoffs(anchor_of(split.dataset.id, split.plan), split.cutoffs)
    store.journal.append("adopt", grid.experiment.name, {"why": why})
    files = [each for each in (store.root / "parts").iterdir() if each.is_file()]
    for file in sorted(files, key=lambda each: (len(each.stem), each.stem)):  # later answers last
        if file.stem in store.parts():
            continue
        content = file.read_bytes()
        try:
            part = read_part(file, content)
        except StoreError:
            left.append(file.name)
            continue
        for cell in grid.cells:
            due, fit = _belongs(store, cell, part, file.stem)
            if due is not None:
                new = None if due.known else fit
                seal_part(store, due, part, fit=new, content=content)
                parts += 1
                fits.add(due.fit.key)
                break
        else:
            left.append(file.name)
            cutoffs.append(str(part.cutoff[0]))
    delivered = sum(not sealed.problem for _, sealed in seal_incoming(grid, store))
    return Adopted(
        fits=len(fits),
        parts=parts,
        delivered=delivered,
        left=tuple(left),
        left_from=min(cutoffs, default=""),
    )


def _belongs(
    store: Store, cell: GridCell, part: Part, key: str
) -> tuple[DueOrigins | None, StoredFit | None]:
    """The fit of a cell that a part is of, if it is of any."""
    cutoffs = tuple(map(str, part.cutoff))
    dates = cell.split.dataset.series.dates
    for fit in cell.fits:
        days = dates[fit.windows.origin - 1].astype("datetime64[D]").astype(str).tolist()
        rows = [number for number, day in enumerate(days) if day in cutoffs]
        if len(rows) != len(cutoffs) or part.forecast.point.shape[1] != fit.windows.horizon:
            continue
        windows = dataclasses.replace(
            fit.windows,
            origin=fit.windows.origin[rows],
            fitted_at=fit.windows.fitted_at[rows],
        )
        due = DueOrigins(
            cell=cell,
            fit=dataclasses.replace(fit, windows=windows),
            since=len(store.journal),
            known=store.fit(fit.key),
        )
        stored = due.known
        if stored is None:  # its record, from what lies in its folder
            folder = store.fit_folder(fit.key)
            files = {
                str(file.relative_to(folder)): file_digest(file)
                for file in sorted(folder.rglob("*"))
                if file.is_file() and file.name not in (LOG, TRACEBACK)
            }
            stored = StoredFit(
                cutoff=fit.cutoff,
                identity=fit.identity,
                environment=cell.environment,
                saved=any(name.startswith(f"{STATE}/") for name in files),
                files=files,
            )
        rows_seen = cell.split.rows_digest(int(windows.origin[-1]))
        wanted = part_key(fit, stored, cutoffs=cutoffs, rows=rows_seen, records=cell.records)
        if wanted == key.partition("-")[0]:
            return due, stored
    return None, None
