"""Where units run. The port is three verbs; the default is processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Protocol

from harness.errors import one_line
from harness.running.store import Store, write_unit
from harness.running.unit import Job, carry_out

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_POLL_S = 0.2
LOG = "log.txt"
"""File of a unit with all that was printed while it was carried out."""


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
    left
        Folder of the unit that was not finished, with what was printed; for `keep_log`.
    """

    task: Task
    seconds: float
    problem: str = ""
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
    folder: Path  # where the unit is being written
    process: Any  # multiprocessing has no public type common to all start methods
    share: Any  # of windows done; shared with the process
    start: float


class LocalProcesses:
    """One fresh process per unit.

    Processes are forked from a server that has imported the heavy packages and touched nothing
    else (importing chronos alone takes seconds); where there is no such server they are started
    anew. A process whose parent dies ends itself; with a process ends all that it started.

    Parameters
    ----------
    store
        Where units are written.
    threads
        Threads of each process.
    preload
        Modules the server imports.
    """

    def __init__(self, store: Store, *, threads: int, preload: Sequence[str] = ()) -> None:
        self._store = store
        self._running: list[_Running] = []
        for name in _THREAD_VARIABLES:
            os.environ[name] = str(threads)  # read when a child loads its numerical libraries
        os.environ["PYTHONSAFEPATH"] = "1"  # or the server takes ./datasets for Hugging Face's
        methods = multiprocessing.get_all_start_methods()
        self._context = multiprocessing.get_context(
            "forkserver" if "forkserver" in methods else "spawn"
        )
        self._context.set_forkserver_preload(["harness.running.executor", *preload])

    def submit(self, task: Task) -> None:
        """Start a task in a process of its own."""
        share, folder = self._context.Value("d", 0.0, lock=False), self._store.draft()
        process = self._context.Process(  # type: ignore[attr-defined]  # every context has it
            target=_work, args=(task, self._store, folder, share), name=f"unit {task.key[:12]}"
        )
        process.start()
        start = time.monotonic()
        self._running.append(
            _Running(task=task, folder=folder, process=process, share=share, start=start)
        )

    def poll(self) -> list[Finished]:
        """Wait up to a fifth of a second, stop what is beyond its limits, return what ended."""
        if self._running:
            wait([item.process.sentinel for item in self._running], timeout=_POLL_S)
        ended = [(item, self._ending(item)) for item in self._running]
        self._running = [item for item, finished in ended if finished is None]
        return [finished for _, finished in ended if finished is not None]

    def shares(self) -> Mapping[str, float]:
        """Share of windows done, of each running task by its key."""
        return {item.task.key: float(item.share.value) for item in self._running}

    def cancel(self) -> None:
        """Kill every process and wait until it is gone."""
        for item in self._running:
            _end(item.process)
        for item in self._running:
            item.process.join()
            shutil.rmtree(item.folder, ignore_errors=True)
        self._running = []

    def _ending(self, item: _Running) -> Finished | None:
        spent = time.monotonic() - item.start
        problem = ""
        if item.process.is_alive():
            problem = _beyond_limits(item, spent)
            if not problem:
                return None
        _end(item.process)
        item.process.join()
        if not problem and not self._store.has_unit(item.task.key):
            problem = _exit_text(item.process.exitcode, item.folder / LOG)
        if not problem:
            shutil.rmtree(item.folder, ignore_errors=True)
        return Finished(
            task=item.task, seconds=spent, problem=problem, left=item.folder if problem else None
        )


def _beyond_limits(item: _Running, spent: float) -> str:
    import psutil

    task = item.task
    if spent > task.time_limit_s:
        return f"stopped after {spent:.0f} s, the time limit is {task.time_limit_s:g} s"
    try:
        used = psutil.Process(item.process.pid).memory_info().rss / 2**20
    except psutil.Error:
        return ""
    if used > task.memory_limit_mib:
        return f"stopped at {used:.0f} MiB, the memory limit is {task.memory_limit_mib} MiB"
    return ""


def _exit_text(code: int | None, log: Path) -> str:
    last = _last_line(log)
    said = f"; its log ends with: {last}" if last else ""
    if code is not None and code < 0:
        return f"the process was ended by {signal_name(-code)}{said}"
    return f"the process ended with exit code {code} and left no result{said}"


def signal_name(number: int) -> str:
    """The name of a signal; its number where it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:  # such as most real-time signals
        return f"signal {number}"


def _last_line(log: Path) -> str:
    """The last line a process printed, if any."""
    with suppress(OSError), log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 4096))
        lines = stream.read().decode(errors="replace").splitlines()
        return next((one_line(line)[:200] for line in reversed(lines) if line.strip()), "")
    return ""


def keep_log(left: Path, folder: Path) -> None:
    """Move what an unfinished unit printed to where its failure is written."""
    with suppress(OSError):
        (left / LOG).rename(folder / LOG)
    shutil.rmtree(left, ignore_errors=True)


def _end(process: Any) -> None:
    """Kill a process with all that it started; it may have ended by itself."""
    end_family(process.pid, alive=process.is_alive())
    process.kill()


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


def _work(task: Task, store: Store, folder: Path, share: Any) -> None:
    """Carry out one unit; runs in a process of its own."""

    def tell(done: float) -> None:
        share.value = done

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    os.setpgid(0, 0)  # so that what an arm starts can be ended with it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _redirect_output(folder / LOG)
    _set_torch_threads(task.job.threads)
    outcome = carry_out(task.job, tell=tell)
    write_unit(folder, task.job, outcome, task.identity)
    store.adopt(folder, task.key)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.killpg(0, signal.SIGKILL)  # this process leads its group


def _redirect_output(path: Path) -> None:
    """Send what an arm prints to a file of the unit."""
    sys.stdout.flush()
    sys.stderr.flush()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)


def _set_torch_threads(threads: int) -> None:
    torch = sys.modules.get("torch")
    if torch is not None:  # imported by the server, maybe under another setting
        torch.set_num_threads(threads)
