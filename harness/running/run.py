"""Fill the grid: run what is missing, keep what is there, turn what breaks into rows."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from harness.data.dataset import Dataset, load
from harness.errors import ConfigError, NewerRecordError, StoreError, escaped
from harness.experiments.experiment import Experiment
from harness.running.executor import Executor, Finished, LocalProcesses, Task, keep_log
from harness.running.grid import Grid, GridCell, declare, select
from harness.running.identity import allowed_cores
from harness.running.lease import lease
from harness.running.store import Store, expect_as_written, write_record, write_unit
from harness.running.unit import UnitResult

_LOG = logging.getLogger(__name__)
_LEASE_WAIT_S = 3600.0
"""A measuring session takes minutes; one that holds the host for an hour is stuck."""


class Progress(Protocol):
    """Told what happens while units run."""

    def begin(self, cells: Sequence[GridCell], *, done: int) -> None:
        """`cells` are about to run; `done` others are in the store."""
        ...

    def started(self, cell: GridCell) -> None:
        """A cell's process was started."""
        ...

    def ended(self, cell: GridCell, seconds: float, *, failed: int, reason: str) -> None:
        """A cell ended with so many failed windows, the first of them for this reason."""
        ...

    def unanswered(self, cell: GridCell, reason: str, *, again: bool) -> None:
        """The system kept a cell from a result; it is tried `again` now, or by the next call."""
        ...

    def tick(self, shares: Mapping[str, float]) -> None:
        """Some time passed; `shares` of the windows of running cells are done, by key."""
        ...

    def end(self) -> None:
        """Nothing runs any more."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """What a call of `fill` did.

    Attributes
    ----------
    total
        Cells asked for.
    computed
        Units that were run now.
    failed
        Cells asked for with at least one failed window, and the first reason of each.
    unanswered
        Cells the system kept from a result, and why: they are not in the store, and the same call
        runs them again.
    lost
        Arms whose every window failed, in all of their cells that were asked for.
    """

    total: int
    computed: int
    failed: Mapping[str, str]
    unanswered: Mapping[str, str]
    lost: tuple[str, ...] = ()


def load_datasets(experiment: Experiment, folders: Sequence[Path]) -> dict[str, Dataset]:
    """Load every dataset the experiment names, from the built-in folder and `folders`."""
    return {name: load(name, folders) for name in experiment.datasets}


def prepare(experiment: Experiment, folders: Sequence[Path]) -> Grid:
    """Load the data, build the arms and declare the grid.

    Raises
    ------
    InputError
        When some of it cannot be used; a `ConfigError` when the experiment's name is no text.
    """
    try:
        experiment.name.encode()
    except UnicodeEncodeError:
        raise ConfigError(
            f"{experiment.source}: the name of the file is not UTF-8, so no record can hold it"
        ) from None
    arms = tuple(ref.pinned() for ref in experiment.arms)
    experiment = replace(experiment, arms=arms)
    return declare(experiment, load_datasets(experiment, folders))


def fill(
    grid: Grid,
    store: Store,
    *,
    workers: int,
    progress: Progress,
    only: Sequence[str] = (),
    shard: tuple[int, int] | None = None,
    retry_failed: bool = False,
) -> RunSummary:
    """Run every cell that is not in the store yet.

    Parameters
    ----------
    grid
        Written to the store first, whole, also when only a part is run.
    workers
        Units at a time.
    only, shard
        See `grid.select`.
    retry_failed
        Run units again that have failed windows.

    Raises
    ------
    ArmError
        When the weights of an arm that is to run are not there.
    ConfigError
        When something is being timed on this host for an hour.
    StoreError
        When a unit was made by a newer version.
    KeyboardInterrupt
        After everything that runs was stopped; what was finished is kept.
    """
    write_record(store.grid_file(grid.experiment.name), grid.record())
    store.sweep()
    asked = select(grid.cells, only=only, shard=shard)
    if retry_failed:
        _discard_failed(asked, store)
    missing = _missing(asked, store)
    unanswered: dict[str, str] = {}
    for ref in {cell.arm.name: cell.arm for cell in missing}.values():
        ref.fetch()  # what is not there ends the call before anything runs
    if missing:
        progress.begin(missing, done=len(asked) - len(missing))
        threads, preload = grid.experiment.run.threads, _preload(missing)
        executor = LocalProcesses(store, threads=threads, preload=preload)
        drive = partial(_drive, store=store, workers=workers, progress=progress)
        try:
            with _beside_others(grid), _interrupts_at_safe_points() as check:
                unanswered = drive(executor, grid, missing, check=check)
        finally:
            executor.cancel()
            progress.end()
            store.sweep()  # a process of a killed run may have ended since
    records = {str(cell): store.unit(cell.key) for cell in asked if cell.key not in unanswered}
    return RunSummary(
        total=len(asked) - sum(cell.key in unanswered for cell in asked),
        computed=len(missing) - len(unanswered),
        failed={name: r["first_reason"] for name, r in records.items() if r["failed"]},
        unanswered={str(cell): unanswered[cell.key] for cell in asked if cell.key in unanswered},
        lost=_lost(asked, records),
    )


def _lost(asked: Sequence[GridCell], records: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Arms that have no forecast in any of their cells."""
    found: dict[str, bool] = {}
    for cell in asked:
        if (record := records.get(str(cell))) is not None:
            whole = record["failed"] == record["windows"]
            found[cell.arm.name] = whole and found.get(cell.arm.name, True)
    return tuple(name for name, whole in found.items() if whole)


def not_run(grid: Grid, store: Store) -> list[GridCell]:
    """Cells that are not in the store."""
    return [cell for cell in grid.cells if not store.has_unit(cell.key)]


def _missing(asked: Sequence[GridCell], store: Store) -> list[GridCell]:
    """Cells to run; units that are not whole, or not what was written, are removed for it.

    Raises
    ------
    NewerRecordError
        When a newer version made one: that is not ours to replace.
    """
    for cell in asked:
        try:
            if store.holds(cell.key):
                expect_as_written(store.unit_folder(cell.key), store.unit(cell.key))
        except NewerRecordError:
            raise
        except StoreError as problem:
            _LOG.warning("%s", escaped(f"{cell} is run again: {problem}"))
            store.discard(cell.key)
    return list({cell.key: cell for cell in asked if not store.has_unit(cell.key)}.values())


def _discard_failed(asked: Sequence[GridCell], store: Store) -> None:
    for cell in asked:
        if store.has_unit(cell.key) and store.unit(cell.key)["failed"]:
            store.discard(cell.key)


def _drive(
    executor: Executor,
    grid: Grid,
    missing: Sequence[GridCell],
    *,
    store: Store,
    workers: int,
    progress: Progress,
    check: Callable[[], None],
) -> dict[str, str]:
    """Keep `workers` units running until all have ended; `check` raises when it is to stop.

    A unit the system kept from an answer is tried once more, after all others. Gives why there is
    still none, by key.
    """
    waiting = list(missing)
    running: dict[str, GridCell] = {}
    unanswered: dict[str, str] = {}
    while waiting or running:
        while waiting and len(running) < workers:
            cell = waiting.pop(0)
            executor.submit(_task(grid, cell))
            running[cell.key] = cell
            progress.started(cell)
        for finished in executor.poll():
            cell = running.pop(finished.task.key)
            if finished.unanswered:
                if cell.key not in unanswered:
                    waiting.append(cell)
                unanswered[cell.key] = finished.problem
                progress.unanswered(cell, finished.problem, again=cell in waiting)
                continue
            unanswered.pop(cell.key, None)
            if finished.problem:
                _store_failure(store, finished)
            record = store.unit(cell.key)
            progress.ended(
                cell, finished.seconds, failed=record["failed"], reason=record["first_reason"]
            )
        progress.tick(executor.shares())
        check()
    return unanswered


@contextmanager
def _beside_others(grid: Grid) -> Iterator[None]:
    """Share the host with other runs, and wait while something is timed on it."""
    purpose = f"abharness run {grid.experiment.name}"
    with lease("shared", purpose, wait_s=_LEASE_WAIT_S, tell=_LOG.warning):
        yield


@contextmanager
def _interrupts_at_safe_points() -> Iterator[Callable[[], None]]:
    """Note Ctrl-C instead of raising anywhere, and give a function that raises it.

    Python raises `KeyboardInterrupt` between any two instructions; in a finaliser it is
    swallowed, and the run would go on.
    """
    noted = threading.Event()

    def check() -> None:
        if noted.is_set():
            raise KeyboardInterrupt

    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN  # as a shell's background jobs do
    if ignored or threading.current_thread() is not threading.main_thread():
        yield check
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: noted.set())
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)


def _task(grid: Grid, cell: GridCell) -> Task:
    settings = grid.experiment.run
    return Task(
        key=cell.key,
        job=grid.job(cell),
        identity=cell.identity,
        time_limit_s=settings.time_limit_s,
        memory_limit_mib=settings.memory_limit_mib,
    )


def _store_failure(store: Store, finished: Finished) -> None:
    """Write a unit whose process gave no result: every window failed, with reason and log."""
    task = finished.task
    outcome = UnitResult.blank(task.job.windows, finished.problem)
    outcome.meter.seconds["total"] = finished.seconds
    with store.new_unit(task.key) as folder:
        write_unit(folder, task.job, outcome, task.identity)
        if finished.left is not None:
            keep_log(finished.left, folder)


def _preload(cells: Sequence[GridCell]) -> list[str]:
    """Heavy modules the arms to be run say they need."""
    wanted: Mapping[str, None] = {
        name: None for cell in cells for name in getattr(cell.arm.find(), "heavy_modules", ())
    }
    return list(wanted)


def default_workers(threads: int) -> int:
    """Units that fit on this machine's allowed cores."""
    return max(1, allowed_cores() // threads)
