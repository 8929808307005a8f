"""What other machines have computed and nobody has sealed yet: folders of `STORE/incoming/`.

A node of a cluster, or a shard, leaves there what the process of a task left, beside a delivery
note. Only the process that holds the store seals. It takes a job that is due here, at the same
origins and in the same environment, and checks it as if its process had run on this machine.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from harness.errors import StoreError, escaped
from harness.parsing import parse_json, parse_record
from harness.running.due import Work, works
from harness.running.executor import Finished, LastFit
from harness.running.grid import Grid, GridCell
from harness.running.identity import machine, unlike
from harness.running.sealing import Sealed, seal_finished
from harness.running.sources import digest, file_digest
from harness.running.store_folder import INCOMING, Store
from harness.running.supervisor import Ending
from harness.running.unit import STATE
from harness.running.work import read_plain

_LOG = logging.getLogger(__name__)
NOTE = "delivery.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredJob:
    """A job of a task: the cell it was for, the identity of its fit, and its origins.

    Attributes
    ----------
    cell
        Arm, dataset and seed as they are shown.
    fit
        Key of the fit, a digest of `identity`.
    cutoffs
        Last session seen at each origin.
    follows
        Digest of the state of the fit that its own started from; '' where none was.
    """

    cell: str
    fit: str
    identity: Mapping[str, Any]
    cutoffs: tuple[str, ...]
    follows: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What lies in a folder: how a task ended, where, and under which limits."""

    jobs: tuple[DeliveredJob, ...]
    environment: Mapping[str, Any]
    limits: Mapping[str, float]
    ending: Ending
    seconds: float
    machine: Mapping[str, str]


def deliver(root: Path, finished: Finished) -> Path:
    """Leave what a task left in the `incoming/` of a store; gives the folder.

    Plain files are copied, and nothing else: what the process wrote is nothing to be trusted.

    Parameters
    ----------
    root
        The folder of the store.
    finished
        Of a task that says which fits its jobs are of.

    Raises
    ------
    OSError
        When the store's folder is not there or cannot be written.
    """
    task = finished.task
    note = Delivery(
        jobs=tuple(
            DeliveredJob(
                cell=str(cell),
                fit=fit.key,
                identity=fit.identity,
                cutoffs=task.jobs[number].days,
                follows=last.state if last else "",
            )
            for number, ((cell, fit), last) in enumerate(zip(task.fits, task.starts, strict=True))
        ),
        environment=task.fits[0][0].environment,
        limits=task.fits[0][0].limits,
        ending=finished.ending,
        seconds=finished.seconds,
        machine=machine(),
    )
    name = f"{task.key[:32]}-{uuid4().hex[:8]}"
    draft, whole = root / INCOMING / f".{name}", root / INCOMING / name
    draft.mkdir()
    try:
        for file in _plain_files(finished.left) if finished.left else ():
            target = draft / file.relative_to(finished.left or file)
            target.parent.mkdir(parents=True, exist_ok=True)
            _write(target, read_plain(file))
        _write(draft / NOTE, json.dumps(dataclasses.asdict(note), sort_keys=True).encode())
        draft.rename(whole)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return whole


def claim(folder: Path) -> Path | None:
    """Take a delivery, so that nobody else does; None where somebody has.

    Gives the folder under its new name, which is swept a day later where its owner was killed.
    """
    mine = folder.with_name(f".{folder.name}")
    try:
        folder.rename(mine)
    except OSError:
        return None
    return mine


def arrived(root: Path) -> Iterator[tuple[Path, Delivery | StoreError]]:
    """Folders in the `incoming/` of a store, each with its note or what is wrong with that."""
    for folder in sorted(each for each in (root / INCOMING).glob("[!.]*") if each.is_dir()):
        try:
            yield folder, read_delivery(folder)
        except StoreError as problem:
            yield folder, problem


def undelivered(root: Path, asked: Sequence[Work]) -> list[Work]:
    """Tasks of which no other process has delivered the same, made in this environment."""
    there = {
        (job.fit, job.cutoffs, digest(found.environment))
        for _, found in arrived(root)
        if isinstance(found, Delivery)
        for job in found.jobs
    }
    return [
        work
        for work in asked
        if not there.issuperset(
            (fit.key, work.task.jobs[number].days, digest(cell.environment))
            for number, (cell, fit) in enumerate(work.task.fits)
        )
    ]


def delivered_fit(root: Path) -> Callable[[str], LastFit | None]:
    """Finds what was delivered of a fit, by its key, for another one to start from."""

    def find(key: str) -> LastFit | None:
        for folder, found in arrived(root):
            jobs = found.jobs if isinstance(found, Delivery) else ()
            for fit in (folder / str(number) for number, job in enumerate(jobs) if job.fit == key):
                saved = sorted(each for each in (fit / STATE).rglob("*") if each.is_file())
                files = {each.relative_to(fit).as_posix(): file_digest(each) for each in saved}
                return LastFit(folder=fit, state=digest(files) if files else "")
        return None

    return find


def _plain_files(folder: Path) -> Iterator[Path]:
    """Plain files below a scratch folder, without copies of kept fits; links are not followed."""
    for here, folders, names in os.walk(folder):
        if Path(here) == folder:
            folders[:] = [name for name in folders if name.isdigit()]
        for name in names:
            file = Path(here) / name
            with suppress(OSError):
                if stat.S_ISREG(file.lstat().st_mode):
                    yield file


def _write(file: Path, content: bytes) -> None:
    with file.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def read_delivery(folder: Path) -> Delivery:
    """Read a delivery note.

    Raises
    ------
    StoreError
        When it is not there, or none.
    """
    note = folder / NOTE
    try:
        content = parse_json(read_plain(note), where=str(note))
    except FileNotFoundError:
        raise StoreError(f"{note}: no such file") from None
    if not isinstance(content, dict):
        raise StoreError(f"{note}: not a delivery note")
    return parse_record(Delivery, content, where=str(note))


def seal_incoming(grid: Grid, store: Store) -> list[tuple[GridCell, Sealed]]:
    """Seal what has arrived and is due; gives what came of each job.

    A folder goes once all its fits are of this grid, whether or not they were still due. What was
    made by another installation, from other code or from other data, stays and is named.

    Raises
    ------
    StoreError
        When the store cannot be written.
    """
    deliveries = list(arrived(store.root))
    if not deliveries:
        return []
    firsts = {
        folder: min((str(job.identity.get("cutoff")) for job in delivery.jobs), default="")
        for folder, delivery in deliveries
        if isinstance(delivery, Delivery)
    }
    deliveries.sort(key=lambda each: firsts.get(each[0], ""))  # none before what it starts from
    due = {
        (one.fit.key, work.task.jobs[number].days): (work, number)
        for work in works(grid, store, grid.cells).works
        for number, one in enumerate(work.due)
    }
    cells = {fit.key: cell for cell in grid.cells for fit in cell.fits}
    found: list[tuple[GridCell, Sealed]] = []
    for folder, delivery in deliveries:
        if isinstance(delivery, StoreError):
            _LOG.warning("%s; it is left where it is", delivery)
            continue
        apart = _apart(grid, cells, delivery)
        if apart:
            _LOG.warning("%s", escaped(f"{folder} is not sealed: {apart}"))
        elif all(job.fit in cells for job in delivery.jobs):
            found += _seal(store, folder, delivery, due)
            half = claim(folder)  # nobody takes it for a whole one while it is removed
            if half is not None:
                shutil.rmtree(half, ignore_errors=True)
    return found


def _apart(grid: Grid, cells: Mapping[str, GridCell], delivery: Delivery) -> str:
    """Why a delivery is none of this grid's, though it is for cells of these names."""
    for job in delivery.jobs:
        mine = cells.get(job.fit)
        if mine is not None:
            others = unlike(mine.environment, delivery.environment)
            if others:
                return f"{job.cell} was computed with other {', '.join(others)}"
        for cell in grid.cells if mine is None else ():
            for fit in cell.fits:
                if (str(cell), fit.cutoff) == (job.cell, job.identity.get("cutoff")):
                    others = unlike(fit.identity, job.identity)
                    return f"{job.cell} was computed with other {', '.join(others)}"
    return ""


def _seal(
    store: Store,
    folder: Path,
    delivery: Delivery,
    due: Mapping[tuple[str, tuple[str, ...]], tuple[Work, int]],
) -> Iterator[tuple[GridCell, Sealed]]:
    for place, job in enumerate(delivery.jobs):
        work, number = due.get((job.fit, job.cutoffs), (None, 0))
        if work is None:
            continue
        one = work.due[number]
        broken = delivery.ending.limit
        if broken and delivery.limits.get(broken, 0.0) < one.cell.limits[broken]:
            continue  # it failed by a limit that is higher here
        follows = [LastFit(folder=folder, state=each.follows) for each in delivery.jobs]
        finished = Finished(
            task=dataclasses.replace(work.task, follows=tuple(follows)),
            seconds=delivery.seconds,
            ending=delivery.ending,
            left=folder,
            machine=delivery.machine,
        )
        yield one.cell, seal_finished(store, one, work.task.jobs[number], place, finished)
