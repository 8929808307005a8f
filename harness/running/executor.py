"""Where arms run. The port is three verbs; the default is processes on this machine."""

from __future__ import annotations

import dataclasses
import filecmp
import gc
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from harness.errors import StoreError, one_line
from harness.running.grid import Grid, GridCell, PlannedFit
from harness.running.identity import device_name, visible_gpus
from harness.running.supervisor import (
    Ending,
    UnitLimits,
    scratch_prefix,
    supervise,
    sweep_scratch,
)
from harness.running.unit import RESIDUALS, STATE, Job
from harness.running.work import carry_out_all

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_NOT_FOR_ARMS = ("ABHARNESS_STORE", "ABHARNESS_DATA_DIR")
_EVERY_TASK = ("harness.running.executor", "pydantic", "pyarrow.parquet")
"""Modules that every task needs, if only to write down what it answered."""
_POLL_S = 0.2
_ROOM = 70
"""Bytes of the temporary folder's path that leave room for the name of a server's socket."""
_BACKSTOP_S = 30.0
"""A supervisor that has not reported so long after the time limit is stopped itself."""
_WAKE_S = 1.0
_MARK = "ABHARNESS_TASK_OF"
"""Variable that all processes of a run inherit: it names the process that began it."""
LOG = "log.txt"
"""File of a scratch folder with what was printed in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastFit:
    """The fit that another one starts from: its folder, and the digest of the state there."""

    folder: Path
    state: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """Jobs that one process carries out, with the limits it must keep.

    Attributes
    ----------
    jobs
        Each of one fit.
    kept
        For each job, where its kept fit lies, to be copied for the process; None makes it.
    fits
        For each job, the cell and the fit it is of, by which another machine makes the same job;
        empty where only this one can.
    follows
        For each job, the fit that its own starts from, to be copied as well; empty where none does.
    """

    key: str
    jobs: tuple[Job, ...]
    kept: tuple[Path | None, ...]
    time_limit_s: float
    memory_limit_mib: int
    fits: tuple[tuple[GridCell, PlannedFit], ...] = ()
    follows: tuple[LastFit | None, ...] = ()

    @classmethod
    def of(
        cls,
        grid: Grid,
        key: str,
        *,
        fits: Sequence[tuple[GridCell, PlannedFit]],
        kept: Sequence[Path | None],
        follows: Sequence[LastFit | None] = (),
    ) -> Task:
        """A task for some fits of a grid, within the limits of its experiment."""
        return cls(
            key=key,
            jobs=tuple(grid.job(cell, fit.windows) for cell, fit in fits),
            kept=tuple(kept),
            time_limit_s=grid.experiment.run.time_limit_s,
            memory_limit_mib=grid.experiment.run.memory_limit_mib,
            fits=tuple(fits),
            follows=tuple(follows),
        )

    @property
    def starts(self) -> tuple[LastFit | None, ...]:
        """For each job, the fit that its own starts from; None where there is none."""
        return self.follows or (None,) * len(self.jobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A task that ended.

    Attributes
    ----------
    ending
        Whether the process did all of it, the arm failed, or the system gave no answer.
    left
        Folder with what the process wrote, which is nothing to be trusted; whoever is told of the
        end removes it. None where the process never started.
    machine
        What it ran on; empty where that is this one.
    """

    task: Task
    seconds: float
    ending: Ending
    left: Path | None = None
    machine: Mapping[str, str] = field(default_factory=dict)


class Executor(Protocol):
    """Carries out tasks somewhere."""

    def submit(self, task: Task) -> bool:
        """Start a task; False where there is no room for it until another one has ended."""
        ...

    def poll(self) -> list[Finished]:
        """Wait a moment, keep the limits, and return what ended."""
        ...

    def shares(self) -> Mapping[str, float]:
        """Share of windows done, of each running task by its key."""
        ...

    def cancel(self) -> None:
        """Stop everything that runs."""
        ...


@dataclass(slots=True, kw_only=True, eq=False)
class _Running:
    task: Task
    scratch: Path  # where the unit is being written, known to its process
    process: Any  # multiprocessing has no public type common to all start methods
    supervisor: Connection
    share: Any  # of windows done; shared with the process
    start: float
    gpu: str  # which it holds; '' for none

    def ending(self) -> Ending | None:
        """How its task ended, as the supervisor says; None while it runs."""
        if self.supervisor.poll():
            with suppress(EOFError, OSError):
                found = self.supervisor.recv()
                if isinstance(found, Ending):
                    return found
            return Ending(kind="no answer", reason="the process that watched over it vanished")
        if time.monotonic() - self.start > self.task.time_limit_s + _BACKSTOP_S:
            said = "the process that watched over it stopped working"
            return Ending(kind="no answer", reason=said)
        return None

    def bury(self) -> None:
        """Wait until its supervisor is gone."""
        self.supervisor.close()
        with _server_going():  # which buries it
            self.process.join(_BACKSTOP_S)
            if self.process.is_alive():
                self.process.kill()
                self.process.join()


class LocalProcesses:
    """One fresh process per task, each under a supervisor of its own.

    Supervisors are forked from a server that has imported the heavy packages and touched nothing
    else (importing chronos alone takes seconds); where there is no such server they are started
    anew. What a process reads and writes lies in a scratch folder of its own; it is never given the
    path of a store. No two tasks have the same GPU at a time.

    Parameters
    ----------
    threads
        Threads of each process.
    preload
        Modules the server imports.
    """

    def __init__(self, *, threads: int, preload: Sequence[str] = ()) -> None:
        self._running: list[_Running] = []
        self._stillborn: list[Finished] = []
        self._gpus = set(visible_gpus())  # those that no task holds
        for name in _THREAD_VARIABLES:
            os.environ[name] = str(threads)  # read when a child loads its numerical libraries
        os.environ["PYTHONSAFEPATH"] = "1"  # or the server takes ./datasets for Hugging Face's
        methods = multiprocessing.get_all_start_methods()
        served = "forkserver" in methods and len(os.fsencode(tempfile.gettempdir())) < _ROOM
        self._context = multiprocessing.get_context("forkserver" if served else "spawn")
        # Processes of arms end at once, and progress bars and pools leave a semaphore each: the
        # resource tracker, a process of its own, is told at its start to say nothing of them.
        sys.warnoptions.append("ignore:resource_tracker:UserWarning")
        try:
            resource_tracker.ensure_running()
        finally:
            sys.warnoptions.pop()
        if served:
            self._context.set_forkserver_preload([*_EVERY_TASK, *preload])
        sweep_scratch()
        end_orphans()

    def submit(self, task: Task) -> bool:
        """Start a task in a process of its own; False while the GPU it needs is taken.

        Raises
        ------
        StoreError
            When a kept fit cannot be copied for it.
        """
        gpu, shown = self._free_gpu(task)
        if gpu is None:
            return False
        self._gpus -= {gpu}
        scratch = Path(tempfile.mkdtemp(prefix=scratch_prefix()))
        try:
            jobs = with_fits(task, scratch)
        except OSError as problem:  # shutil's own says of each file what the system said
            shutil.rmtree(scratch, ignore_errors=True)
            said = problem.strerror or one_line(str(problem))[:200]
            raise StoreError(f"{scratch}: kept fits cannot be copied: {said}") from None
        ours, theirs = self._context.Pipe()
        share = self._context.Value("d", 0.0, lock=False)
        limits = UnitLimits(time_s=task.time_limit_s, memory_mib=task.memory_limit_mib)
        process = self._context.Process(  # type: ignore[attr-defined]  # every context has it
            target=_supervised,
            args=(jobs, limits, scratch, shown, share, theirs),
            name=f"task {task.key[:12]}",
        )
        start = time.monotonic()
        try:
            with _as_a_child_of_ours(), _server_going():
                process.start()
        except (EOFError, ConnectionError) as problem:  # the server was killed; a new one follows
            ours.close()
            self._gpus |= {gpu} - {""}
            shutil.rmtree(scratch, ignore_errors=True)
            text = f"its process could not be started: {type(problem).__name__}"
            ending = Ending(kind="no answer", reason=text)
            self._stillborn.append(Finished(task=task, seconds=0.0, ending=ending))
        else:
            self._running.append(
                _Running(
                    task=task,
                    scratch=scratch,
                    process=process,
                    supervisor=ours,
                    share=share,
                    start=start,
                    gpu=gpu,
                )
            )
        finally:
            theirs.close()
        return True

    def _free_gpu(self, task: Task) -> tuple[str | None, str]:
        """The GPU for a task, as CUDA numbers it, and which alone its process is to see.

        '' where it needs none or is to see all, None where it must wait. Where there is none that
        it could have, a task fails by itself.
        """
        known = visible_gpus()
        device = ""
        if known:  # all jobs are of one arm
            cells = [cell for cell, _ in task.fits]
            device = cells[0].known.device_name if cells else device_name(task.jobs[0].ref.build())
        kind, _, number = device.partition(":")
        choice = known[int(number) : int(number) + 1] if number else known
        if kind != "cuda" or not choice:
            return "", ""
        gpu = next((each for each in choice if each in self._gpus), None)
        return gpu, "" if number or gpu is None else gpu  # a number counts among all

    def poll(self) -> list[Finished]:
        """Wait up to a fifth of a second and return what ended."""
        ended, self._stillborn = self._stillborn, []
        if self._running:
            wait([item.supervisor for item in self._running], timeout=0 if ended else _POLL_S)
        for item in list(self._running):
            ending = item.ending()
            if ending is None:
                continue
            self._running.remove(item)
            item.bury()
            self._gpus |= {item.gpu} - {""}
            found = ending
            if ending.kind == "done" and _copies_changed(item.task, item.scratch):
                said = "its copy of a kept fit was changed while it ran"
                found = Ending(kind="no answer", reason=said)
                shutil.rmtree(item.scratch, ignore_errors=True)
            seconds = time.monotonic() - item.start
            ended.append(Finished(task=item.task, seconds=seconds, ending=found, left=item.scratch))
            if ending.kind == "no answer":
                end_orphans()  # where its supervisor was killed, nobody else ends them
        return ended

    def shares(self) -> Mapping[str, float]:
        """Share of windows done, of each running task by its key."""
        return {item.task.key: float(item.share.value) for item in self._running}

    def cancel(self) -> None:
        """End every process and wait until it is gone."""
        for item in self._running:
            item.supervisor.close()  # which its supervisor sees
        for item in self._running:
            item.bury()
            shutil.rmtree(item.scratch, ignore_errors=True)
        self._running, self._gpus = [], set(visible_gpus())


def with_fits(task: Task, scratch: Path) -> tuple[Job, ...]:
    """A task's jobs, with the kept fits they go on or start from copied into its scratch."""

    def copied(fit: Path, name: str) -> Path:
        copy = scratch / name
        copy.mkdir()
        if (fit / STATE).is_dir():
            shutil.copytree(fit / STATE, copy / STATE)
        if (fit / RESIDUALS).is_file():
            shutil.copyfile(fit / RESIDUALS, copy / RESIDUALS)
        return copy

    jobs = []
    for number, (job, kept, last) in enumerate(zip(task.jobs, task.kept, task.starts, strict=True)):
        restored = copied(kept, f"kept-{number}") if kept else None
        start = copied(last.folder, f"last-{number}") if last else None
        jobs.append(dataclasses.replace(job, restored=restored, follows=start))
    return tuple(jobs)


def _copies_changed(task: Task, scratch: Path) -> bool:
    """Whether kept fits that a task was handed are others by now: any arm can write there."""
    pairs = [(fit, scratch / f"kept-{number}") for number, fit in enumerate(task.kept) if fit]
    pairs += [(fit.folder, scratch / f"last-{n}") for n, fit in enumerate(task.follows) if fit]
    for fit, copy in pairs:
        for file in (fit / STATE).rglob("*"):
            with suppress(OSError):
                if file.is_dir() or filecmp.cmp(file, copy / file.relative_to(fit), shallow=False):
                    continue
            return True
    return False


def end_family(leader: int, *, alive: bool) -> None:
    """Kill a group of processes and, while its leader lives, what has left the group as well."""
    import psutil

    started: list[Any] = []
    if alive:
        with suppress(psutil.Error):
            started = psutil.Process(leader).children(recursive=True)
    with suppress(OSError):
        os.killpg(leader, signal.SIGKILL)
    for child in started:
        with suppress(psutil.Error):
            child.kill()


@contextmanager
def _as_a_child_of_ours() -> Iterator[None]:
    """Let what is started inherit our mark, and not run the user's script a second time.

    What this process starts otherwise has no mark. Multiprocessing imports the main module in each
    new process, which a script without ``if __name__ == "__main__"`` would not survive; nothing of
    ours is defined there.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    os.environ[_MARK] = _mark_of(os.getpid())
    try:
        yield
    finally:
        del os.environ[_MARK]
        sys.modules["__main__"] = main


def _supervised(
    jobs: tuple[Job, ...],
    limits: UnitLimits,
    scratch: Path,
    gpu: str,
    share: Any,
    executor: Connection,
) -> None:
    """Watch over one task, which a child carries out; runs in a process of its own."""

    def tell(done: float) -> None:
        share.value = done

    def work(vouch: Callable[[str, str], None]) -> None:
        torch = sys.modules.get("torch")
        if torch is not None:  # imported by the server, maybe under another setting
            torch.set_num_threads(jobs[0].threads)
        carry_out_all(jobs, scratch, tell=tell, vouch=vouch)

    gc.freeze()  # else each process looks through, and so copies, all that the server imported
    for name in _NOT_FOR_ARMS:
        os.environ.pop(name, None)
    if gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    supervise(work, log=scratch / LOG, scratch=scratch, limits=limits, executor=executor)


@contextmanager
def _server_going() -> Iterator[None]:
    """Wake the server that forks processes and buries them: an arm may have stopped it."""
    server = getattr(forkserver, "_forkserver", None)  # nothing public names its process
    pid = getattr(server, "_forkserver_pid", None)
    if not isinstance(pid, int):
        yield
        return
    done = threading.Event()

    def wake() -> None:
        with suppress(OSError):
            os.kill(pid, signal.SIGCONT)
            while not done.wait(_WAKE_S):
                os.kill(pid, signal.SIGCONT)

    waking = threading.Thread(target=wake, daemon=True)
    waking.start()
    try:
        yield
    finally:
        done.set()
        waking.join()


def _mark_of(pid: int) -> str:
    """Names a process by its namespace, number and start; '' where there is none."""
    with suppress(OSError, IndexError):
        begun = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
        return f"{Path('/proc/self/ns/pid').readlink()}-{pid}-{begun}"
    return ""


def end_orphans() -> None:
    """Kill what units started and nobody watches: their supervisor was killed, or their run.

    They are known by the mark that they inherited; what was started with another environment
    is not. Of this process's own, those are orphans that do not descend from it any more.
    """
    import psutil

    me = _mark_of(os.getpid())
    for process in psutil.process_iter() if me else ():
        with suppress(psutil.Error, OSError):
            mark = process.environ().get(_MARK, "")
            namespace, _, rest = mark.partition("-")
            owner = rest.partition("-")[0]
            if not owner.isdigit() or namespace != me.partition("-")[0]:
                continue
            lost = all(each.pid != os.getpid() for each in process.parents())
            if lost if mark == me else _mark_of(int(owner)) != mark:
                process.kill()
