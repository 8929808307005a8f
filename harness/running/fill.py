"""Fill the grid: forecast the origins that are due, make the fits they need, keep what is there."""

from __future__ import annotations

import logging
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.data.dataset import Dataset, load
from harness.errors import ConfigError
from harness.experiments.experiment import Experiment
from harness.running.cells import cell_record, has_cell
from harness.running.due import Unfit, Work, begun, works
from harness.running.executor import Executor, Finished, LocalProcesses
from harness.running.grid import (
    Grid,
    GridCell,
    as_stored,
    declare,
    limits_of,
    preload_for,
    select,
)
from harness.running.identity import allowed_cores
from harness.running.incoming import deliver, delivered_fit, seal_incoming, undelivered
from harness.running.isolation import in_isolation
from harness.running.lease import lease
from harness.running.maintenance import Event, begin_anew, difference, events, record_event
from harness.running.sealing import Sealed, merge_parts, seal_finished, seal_unfit
from harness.running.split import anchor_of
from harness.running.store_folder import Store

_LOG = logging.getLogger(__name__)
_LEASE_WAIT_S = 3600.0
"""A measuring session takes minutes; one that holds the host for an hour is stuck."""


class RunningWork(Protocol):
    """Something that runs, as progress is told of it; its text names it."""

    @property
    def key(self) -> str:
        """Digest of what it does."""
        ...

    @property
    def kind(self) -> str:
        """What takes about as long as others of its kind."""
        ...


_Work = Work | Event


class Progress(Protocol):
    """Told what happens while arms run."""

    def begin(self, works: Sequence[RunningWork], *, done: int) -> None:
        """`works` are about to run; `done` cells need nothing."""
        ...

    def started(self, work: RunningWork) -> None:
        """A process was started."""
        ...

    def ended(
        self, work: RunningWork, seconds: float, *, failed: int, reason: str, pending: int = 0
    ) -> None:
        """It ended with so many failed windows, the first of them for this reason.

        `pending` are those without a forecast whose outcome is to come: they are not judged yet.
        """
        ...

    def unanswered(self, work: RunningWork, reason: str, *, again: bool) -> None:
        """The system kept it from a result; it is tried `again` now, or by the next call."""
        ...

    def tick(self, shares: Mapping[str, float]) -> None:
        """Some time passed; `shares` of the windows of what runs are done, by key."""
        ...

    def end(self) -> None:
        """Nothing runs any more."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """What a call of `fill` did.

    Attributes
    ----------
    grid
        As it is now: where results began anew, its cells have other keys.
    total
        Cells asked for.
    computed
        Those of which something was computed now.
    delivered
        Those of which something was sealed now that another machine had computed.
    origins, fits
        Forecast, and made, now.
    failed
        Cells asked for with at least one failed window, and the first reason of each.
    unanswered
        Cells that have no result, and why: the system kept them from it, or what is stored of them
        is damaged.
    lost
        Arms whose every window failed, in all of their cells that were asked for.
    events
        What came of forecasts that were made in another environment than this, a line each.
    """

    grid: Grid
    total: int
    computed: int
    origins: int
    fits: int
    failed: Mapping[str, str]
    unanswered: Mapping[str, str]
    delivered: int = 0
    lost: tuple[str, ...] = ()
    events: tuple[str, ...] = ()


def load_datasets(experiment: Experiment, folders: Sequence[Path]) -> dict[str, Dataset]:
    """Load every dataset the experiment names, from the built-in folder and `folders`."""
    return {name: load(name, folders) for name in experiment.datasets}


def prepare(
    experiment: Experiment,
    folders: Sequence[Path],
    store: Store | None = None,
    *,
    grow: bool = True,
) -> Grid:
    """Load the data, build the arms and declare the grid.

    Parameters
    ----------
    store
        Whose recorded origins count.
    grow
        See `grid.declare`.

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
    datasets = load_datasets(experiment, folders)
    with store.journal.at_rest() if store else nullcontext():
        return declare(experiment, datasets, store, grow=grow)


def fill(
    grid: Grid,
    store: Store,
    *,
    workers: int,
    progress: Progress,
    only: Sequence[str] = (),
    shard: tuple[int, int] | None = None,
    retry_failed: bool = False,
    recompute: bool = False,
    hand_over: bool = False,
    executor: Executor | None = None,
) -> RunSummary:
    """Forecast every issued origin that is not in the store yet.

    Parameters
    ----------
    grid
        Its origins, and then itself, are written to the store first, whole, also when only a part
        is run.
    workers
        Processes at a time.
    only, shard
        See `grid.select`.
    retry_failed
        Ask again for windows that failed.
    recompute
        Begin the results of these cells anew.
    hand_over
        Leave what was computed in the store's `incoming/`, for the process that holds the store to
        check and seal: many of them may compute at once.
    executor
        Where arms run, which looks for their weights there and shares the host with what is timed;
        left out, in processes on this machine.

    Raises
    ------
    ArmError
        When the weights of an arm that is to run are not there.
    ConfigError
        When something is being timed on this host for an hour.
    StoreError
        When the store cannot be written.
    KeyboardInterrupt
        After everything that runs was stopped; what was finished is kept.
    """
    for split in grid.splits.values():
        store.record_cutoffs(anchor_of(split.dataset.id, split.plan), split.cutoffs)
    store.sweep()
    with store.journal.at_rest():
        grid = as_stored(grid, store)
    run = _Run(
        grid=grid,
        store=store,
        workers=workers,
        progress=progress,
        executor=executor,
        handing_over=hand_over,
    )
    asked = select(grid.cells, only=only, shard=shard)
    if hand_over:
        store.journal.append_new("grid", grid.experiment.name, grid.record())
        return run.hand_over(asked, retry_failed=retry_failed)
    if recompute:
        run.grid = begin_anew(grid, store, asked)
        asked = select(run.grid.cells, only=only, shard=shard)
    if held := events(run.grid, store, asked):
        run.carry_out(held, run.compare, done=0)
        run.grid = as_stored(run.grid, store)
    store.journal.append_new("grid", grid.experiment.name, run.grid.record())
    asked = select(run.grid.cells, only=only, shard=shard)
    for cell, sealed in seal_incoming(run.grid, store):
        run.note(cell, sealed, delivered=True)
    todo = asked
    while todo := [cell for cell in todo if str(cell) not in run.unanswered]:
        run.overtaken.clear()
        found = works(run.grid, store, todo, retry_failed=retry_failed)
        for line in found.damage:
            _LOG.warning("%s", line)
        for unfit in found.unfit:
            run.note_unfit(unfit)
        run.unanswered |= found.given_up
        if found.works:
            busy = {str(cell) for work in found.works for cell in work.cells}
            run.carry_out(found.works, run.seal, done=sum(str(cell) not in busy for cell in asked))
        todo = [cell for cell in todo if str(cell) in run.overtaken]
    merge_parts(store, asked)
    with store.journal.at_rest():
        whole = [c for c in asked if str(c) not in run.unanswered and has_cell(store, c)]
        records = {str(cell): cell_record(store, cell) for cell in whole}
    fine = [c for c in whole if records[str(c)].failed < records[str(c)].windows]
    answered = {cell.arm.name for cell in fine}
    return RunSummary(
        grid=run.grid,
        total=len(whole),
        computed=len(run.computed),
        delivered=len(run.delivered),
        origins=run.origins,
        fits=run.fits,
        failed={name: found.first_reason for name, found in records.items() if found.failed},
        unanswered=run.unanswered,
        lost=tuple(dict.fromkeys(c.arm.name for c in whole if c.arm.name not in answered)),
        events=tuple(run.events),
    )


def not_run(grid: Grid, store: Store) -> list[GridCell]:
    """Cells that are not in the store."""
    return [cell for cell in grid.cells if not has_cell(store, cell)]


@dataclass(slots=True, kw_only=True)
class _Run:
    """A call of `fill` while it goes on."""

    grid: Grid
    store: Store
    workers: int
    progress: Progress
    executor: Executor | None
    handing_over: bool = False
    origins: int = 0
    fits: int = 0
    computed: set[str] = field(default_factory=set)
    delivered: set[str] = field(default_factory=set)
    unanswered: dict[str, str] = field(default_factory=dict)
    overtaken: set[str] = field(default_factory=set)
    events: list[str] = field(default_factory=list)

    def note(self, cell: GridCell, sealed: Sealed, *, delivered: bool = False) -> None:
        """Count what was sealed: computed now, or by the machine that delivered it."""
        if sealed.problem:
            self.unanswered[str(cell)] = sealed.problem
            return
        if delivered:
            self.delivered |= {str(cell)} if sealed.origins else set()
            return
        self.origins += sealed.origins
        self.fits += sealed.made
        if sealed.origins:
            self.computed.add(str(cell))
        if sealed.overtaken:
            self.overtaken.add(str(cell))

    def note_unfit(self, unfit: Unfit) -> Sealed:
        """Seal and count origins without a fit."""
        sealed = seal_unfit(self.store, unfit.due, unfit.reason, unfit.limit)
        self.note(unfit.due.cell, sealed)
        return sealed

    def carry_out(
        self, works: Sequence[_Work], take: Callable[[_Work, Finished], str], *, done: int
    ) -> None:
        """Carry out tasks, whatever ends them; `take` gets what each left.

        Parameters
        ----------
        take
            Gives why the system gave no answer, '' where it gave one.
        """
        arms = {cell.arm.name: cell for work in works for cell in work.cells}
        missing = [cell.arm for cell in arms.values() if cell.known.fetches]
        if missing and self.executor is None:  # else it is asked for where it will be needed

            def fetch() -> None:
                for ref in missing:
                    ref.fetch()  # what is not there ends the call before anything runs

            in_isolation(fetch, limits=limits_of(self.grid.experiment))
        self.progress.begin(works, done=done)
        executor = self.executor or LocalProcesses(
            threads=self.grid.experiment.run.threads, preload=preload_for(arms.values())
        )
        try:
            with ExitStack() as beside:
                if self.executor is None:  # shares the host, but not with what is timed
                    purpose = f"abharness run {self.grid.experiment.name}"
                    beside.enter_context(
                        lease("shared", purpose, wait_s=_LEASE_WAIT_S, tell=_LOG.warning)
                    )
                check = beside.enter_context(_interrupts_at_safe_points())
                self._drive(executor, works, take, check=check)
        finally:
            executor.cancel()
            self.progress.end()
            self.store.sweep()  # a process of a killed run may have ended since

    def _drive(
        self,
        executor: Executor,
        works: Sequence[_Work],
        take: Callable[[_Work, Finished], str],
        *,
        check: Callable[[], None],
    ) -> None:
        """Keep `workers` processes running until all is done; `check` raises when to stop.

        What the system kept from an answer is tried once more, after all others. A fit that starts
        from another one waits for it.
        """
        asked, again = {work.key: work for work in works}, set[str]()
        waiting, running = dict(asked), dict[str, _Work]()
        coming = {key for work in works for key in _fits_of(work)}
        while waiting or running:
            for work in list(waiting.values()):
                if len(running) >= self.workers:
                    break
                if work.after in coming:
                    continue
                ready = self._begun(work)
                if ready is not None and not executor.submit(ready.task):
                    waiting[work.key] = ready  # what it starts from is there: not looked at again
                    continue
                del waiting[work.key]
                if ready is None:
                    coming.difference_update(_fits_of(work))
                else:
                    running[work.key] = ready
                    self.progress.started(work)
            for finished in executor.poll() if running else ():
                work = running.pop(finished.task.key)
                try:
                    no_answer = take(work, finished)
                finally:
                    shutil.rmtree(finished.left or "", ignore_errors=True)
                if no_answer and work.key not in again:
                    again.add(work.key)
                    waiting[work.key] = asked[work.key]
                    self.progress.unanswered(work, no_answer, again=True)
                    continue
                coming.difference_update(_fits_of(work))
                if no_answer:
                    self._give_up(work, no_answer)
            self.progress.tick(executor.shares())
            check()

    def _begun(self, work: _Work) -> _Work | None:
        """A work as it can begin now; None, counted and told, where its last fit is not there."""
        if isinstance(work, Event):
            return work
        store = self.store
        found = begun(
            store, work, delivered=delivered_fit(store.root) if self.handing_over else None
        )
        if isinstance(found, Work):
            return found
        if isinstance(found, Unfit):
            unfit = Sealed() if self.handing_over else self.note_unfit(found)
            failed, pending = unfit.failed - unfit.pending, unfit.pending
            self.progress.ended(work, 0.0, failed=failed, reason=found.reason, pending=pending)
            return None
        self.progress.unanswered(work, found, again=False)
        for cell in work.cells:
            self.unanswered.setdefault(str(cell), f"{found}; the same command runs it again")
        return None

    def hand_over(self, asked: Sequence[GridCell], *, retry_failed: bool) -> RunSummary:
        """Leave what is due and was not delivered yet in `incoming/`; nothing is sealed."""
        root = self.store.root
        found = works(self.grid, self.store, asked, retry_failed=retry_failed)
        due = undelivered(root, found.works)

        def take(work: _Work, finished: Finished) -> str:
            if finished.ending.kind == "no answer":
                return finished.ending.reason
            deliver(root, finished)
            self.origins += sum(len(job.windows) for job in finished.task.jobs)
            self.fits += sum(kept is None for kept in finished.task.kept)
            self.computed |= {str(cell) for cell in work.cells}
            reason = finished.ending.reason
            self.progress.ended(work, finished.seconds, failed=0, reason=reason)
            return ""

        if due:
            busy = {str(cell) for work in due for cell in work.cells}
            self.carry_out(due, take, done=len({str(cell) for cell in asked} - busy))
        self.unanswered |= found.given_up
        return RunSummary(
            grid=self.grid,
            total=sum(str(cell) not in self.unanswered for cell in asked),
            computed=len(self.computed),
            origins=self.origins,
            fits=self.fits,
            failed={},
            unanswered=self.unanswered,
        )

    def seal(self, work: _Work, finished: Finished) -> str:
        """Seal what a task left; why the system gave no answer, where it gave none."""
        assert isinstance(work, Work)
        failed, pending, reasons = 0, 0, list[str]()
        for number, (due, job) in enumerate(zip(work.due, work.task.jobs, strict=True)):
            sealed = seal_finished(self.store, due, job, number, finished)
            if sealed.no_answer:
                return sealed.problem
            self.note(due.cell, sealed)
            failed += sealed.failed - sealed.pending
            pending += sealed.pending
            told = sealed.reason or sealed.problem
            reasons.insert(0 if sealed.failed > sealed.pending else len(reasons), told)
        reason = next(filter(None, reasons), "")
        self.progress.ended(work, finished.seconds, failed=failed, reason=reason, pending=pending)
        return ""

    def compare(self, event: _Work, finished: Finished) -> str:
        """Hold forecasts made again in another environment against those sealed."""
        assert isinstance(event, Event)
        if finished.ending.kind == "no answer":
            return finished.ending.reason
        apart = record_event(self.store, event, difference(self.store, event, finished))
        self.progress.ended(event, finished.seconds, failed=0, reason="")
        said = f"{event.cell}: another environment ({event.changed()}): "
        if apart:
            self.events.append(f"{said}its results start afresh, because {apart}")
        else:
            self.events.append(f"{said}{event.origins} repeated forecasts are equal, so it goes on")
        return ""

    def _give_up(self, work: _Work, reason: str) -> None:
        """Say that this call has no answer, and record the day."""
        self.progress.unanswered(work, reason, again=False)
        with self.store.journal.writing():
            for due in work.due if isinstance(work, Work) else ():
                self.store.journal.append("no answer", due.fit.key, {"reason": reason})
        said = f"{reason}; the same command runs it again"
        self.unanswered |= {str(cell): said for cell in work.cells}


def _fits_of(work: _Work) -> Sequence[str]:
    """Keys of the fits that a task makes or goes on from."""
    return [due.fit.key for due in work.due] if isinstance(work, Work) else ()


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


def default_workers(threads: int) -> int:
    """Processes that fit on this machine's allowed cores."""
    return max(1, allowed_cores() // threads)
