"""Where units run. The port is three verbs; the default is processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import platform
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from harness.errors import StoreError
from harness.running.store import Store, read_unit, write_unit
from harness.running.supervisor import Ending, UnitLimits, supervise
from harness.running.unit import Job, carry_out

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_NOT_FOR_ARMS = ("ABHARNESS_STORE", "ABHARNESS_DATA_DIR")
_POLL_S = 0.2
_BACKSTOP_S = 30.0
"""A supervisor that has not reported so long after the time limit is stopped itself."""
LOG = "log.txt"
"""File of a unit with what was printed while it was carried out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A unit to carry out and store, with the limits it must keep."""

    key: str
    job: Job
    identity: Mapping[str, Any]
    time_limit_s: float
    memory_limit_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A task that ended.

    Attributes
    ----------
    problem
        Why its unit is not in the store; empty when it is.
    unanswered
        The problem is the system's, not the arm's: nothing is to be stored, and it may run again.
    left
        Folder of the unit the arm failed, with what was printed; for `keep_log`.
    """

    task: Task
    seconds: float
    problem: str = ""
    unanswered: bool = False
    left: Path | None = None


class Executor(Protocol):
    """Carries out tasks somewhere."""

    def submit(self, task: Task) -> None:
        """Start a task."""
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


@dataclass(slots=True, kw_only=True)
class _Running:
    task: Task
    scratch: Path  # where the unit is being written, known to its process
    process: Any  # multiprocessing has no public type common to all start methods
    supervisor: Connection
    share: Any  # of windows done; shared with the process
    start: float


class LocalProcesses:
    """One fresh process per unit, each under a supervisor of its own.

    Supervisors are forked from a server that has imported the heavy packages and touched nothing
    else (importing chronos alone takes seconds); where there is no such server they are started
    anew. What a unit's process writes lies in a scratch folder; it is checked here, then copied
    into the store, whose path the process is never given.

    Parameters
    ----------
    store
        Where units are kept.
    threads
        Threads of each process.
    preload
        Modules the server imports.
    """

    def __init__(self, store: Store, *, threads: int, preload: Sequence[str] = ()) -> None:
        self._store = store
        self._running: list[_Running] = []
        self._stillborn: list[Finished] = []
        for name in _THREAD_VARIABLES:
            os.environ[name] = str(threads)  # read when a child loads its numerical libraries
        os.environ["PYTHONSAFEPATH"] = "1"  # or the server takes ./datasets for Hugging Face's
        methods = multiprocessing.get_all_start_methods()
        self._context = multiprocessing.get_context(
            "forkserver" if "forkserver" in methods else "spawn"
        )
        self._context.set_forkserver_preload(["harness.running.executor", *preload])
        _sweep_scratch()

    def submit(self, task: Task) -> None:
        """Start a task in a process of its own."""
        scratch = Path(tempfile.mkdtemp(prefix=f"{_scratch_prefix()}{os.getpid()}-"))
        ours, theirs = self._context.Pipe()
        share = self._context.Value("d", 0.0, lock=False)
        process = self._context.Process(  # type: ignore[attr-defined]  # every context has it
            target=_supervised, args=(task, scratch, share, theirs), name=f"unit {task.key[:12]}"
        )
        start = time.monotonic()
        try:
            process.start()
        except (EOFError, ConnectionError) as problem:  # the server was killed; a new one follows
            ours.close()
            shutil.rmtree(scratch, ignore_errors=True)
            text = f"its process could not be started: {type(problem).__name__}"
            self._stillborn.append(Finished(task=task, seconds=0.0, problem=text, unanswered=True))
        else:
            self._running.append(
                _Running(
                    task=task,
                    scratch=scratch,
                    process=process,
                    supervisor=ours,
                    share=share,
                    start=start,
                )
            )
        finally:
            theirs.close()

    def poll(self) -> list[Finished]:
        """Wait up to a fifth of a second and return what ended.

        Raises
        ------
        OSError
            When a finished unit cannot be copied into the store: the disk is full.
        """
        ended, self._stillborn = self._stillborn, []
        if self._running:
            wait([item.supervisor for item in self._running], timeout=0 if ended else _POLL_S)
        for item in list(self._running):
            ending = _reported(item)
            if ending is not None:
                self._running.remove(item)
                ended.append(self._finished(item, ending))
        return ended

    def shares(self) -> Mapping[str, float]:
        """Share of windows done, of each running task by its key."""
        return {item.task.key: float(item.share.value) for item in self._running}

    def cancel(self) -> None:
        """End every process and wait until it is gone."""
        for item in self._running:
            item.supervisor.close()  # which its supervisor sees
        for item in self._running:
            _gone(item)
        self._running = []

    def _finished(self, item: _Running, ending: Ending) -> Finished:
        try:
            if ending.kind == "done":
                ending = self._kept(item)
        finally:
            _gone(item, keep=ending.kind == "failed")
        return Finished(
            task=item.task,
            seconds=time.monotonic() - item.start,
            problem=ending.reason,
            unanswered=ending.kind == "no answer",
            left=item.scratch if ending.kind == "failed" else None,
        )

    def _kept(self, item: _Running) -> Ending:
        """Copy a finished unit into the store, once it is what was asked for."""
        try:
            found = read_unit(item.scratch)
        except StoreError as problem:
            reason = f"the process ended with exit code 0 and left no result: {problem}"
            return Ending(kind="failed", reason=reason)
        job = item.task.job
        asked = (len(job.windows), job.windows.horizon, dict(item.task.identity))
        if (len(found.reason), found.record["horizon"], found.record["identity"]) != asked:
            return Ending(kind="failed", reason="the process left another unit's result")
        with self._store.new_unit(item.task.key) as folder:
            for file in sorted(item.scratch.iterdir()):
                if file.is_file() and not file.is_symlink():
                    shutil.copyfile(file, folder / file.name)
        return Ending(kind="done")


def _reported(item: _Running) -> Ending | None:
    """How a task ended, as its supervisor says; None while it runs."""
    if item.supervisor.poll():
        with suppress(EOFError, OSError):
            found = item.supervisor.recv()
            if isinstance(found, Ending):
                return found
        return Ending(kind="no answer", reason="the process that watched over it vanished")
    if time.monotonic() - item.start > item.task.time_limit_s + _BACKSTOP_S:
        return Ending(kind="no answer", reason="the process that watched over it stopped working")
    return None


def _gone(item: _Running, *, keep: bool = False) -> None:
    """Wait until a task's supervisor is gone, and remove what it wrote unless that is kept."""
    item.supervisor.close()
    item.process.join(_BACKSTOP_S)
    if item.process.is_alive():
        item.process.kill()
        item.process.join()
    if not keep:
        shutil.rmtree(item.scratch, ignore_errors=True)


def keep_log(left: Path, folder: Path) -> None:
    """Move what an unfinished unit printed to where its failure is written."""
    with suppress(OSError):
        shutil.copyfile(left / LOG, folder / LOG)
    shutil.rmtree(left, ignore_errors=True)


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


def _supervised(task: Task, scratch: Path, share: Any, executor: Connection) -> None:
    """Watch over one unit; runs in a process of its own."""
    for name in _NOT_FOR_ARMS:
        os.environ.pop(name, None)
    supervise(
        partial(_work, task, scratch, share),
        log=scratch / LOG,
        scratch=scratch,
        limits=UnitLimits(time_s=task.time_limit_s, memory_mib=task.memory_limit_mib),
        executor=executor,
    )


def _work(task: Task, scratch: Path, share: Any) -> None:
    """Carry out one unit."""

    def tell(done: float) -> None:
        share.value = done

    torch = sys.modules.get("torch")
    if torch is not None:  # imported by the server, maybe under another setting
        torch.set_num_threads(task.job.threads)
    write_unit(scratch, task.job, carry_out(task.job, tell=tell), task.identity)


def _scratch_prefix() -> str:
    host = re.sub("[^A-Za-z0-9]", "", platform.node()) or "host"
    return f"abharness-{host}."


def _sweep_scratch() -> None:
    """Remove scratch folders whose executor and supervisor were both killed."""
    import psutil

    for folder in Path(tempfile.gettempdir()).glob(f"{_scratch_prefix()}*-*"):
        owner = folder.name.removeprefix(_scratch_prefix()).partition("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)
