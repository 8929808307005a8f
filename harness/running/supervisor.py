"""A unit's process under watch: its limits, its output, all that it starts, and how it ended.

The executor starts a *supervisor* for each unit. The supervisor forks the *worker*, in which the
arm runs, adopts whatever the worker leaves behind (on Linux, as a subreaper), copies what is
printed into the log up to a limit, and kills the worker and all its descendants when it ends, when
it is beyond a limit, or when the executor goes away. It then reports how the worker ended.

Two kinds of endings are kept apart. An *arm failed* when it raised, broke a limit of ours, left
without a result, or was ended by a signal that its own code raises (`FAULTS`). Anything else is
*no answer*: the system killed it, a disk was full or broken, a helper vanished. That says nothing
about the arm, so nothing is stored and the unit runs again.
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import BinaryIO, Literal

from harness.errors import one_line, refused_by_system
from harness.running.identity import is_left_over, owner_mark

FAULTS = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGILL})
"""Signals that mean the arm's own code crashed."""
LOG_BYTES = 1 << 20
"""What is kept of a unit's output: this much from its start, and a sixteenth of it from its end."""
_POLL_S = 0.1
_GRACE_S = 10.0
"""How long the supervisor waits for killed descendants to be gone."""
_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36
_NO_ANSWER = 75  # EX_TEMPFAIL
_VOUCHED_BYTES = 1 << 24
_SCRATCH = "abharness-"


def scratch_prefix() -> str:
    """Start of the name of a scratch folder: which process of which host answers for it."""
    return f"{_SCRATCH}{owner_mark()}"


def sweep_scratch() -> None:
    """Remove scratch folders of this host whose process was killed, and its supervisor with it."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*-*"):
        if is_left_over(folder.name.removeprefix(_SCRATCH)):
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitLimits:
    """What a unit may use.

    Attributes
    ----------
    memory_mib
        Of the worker and all its descendants together; shared memory is counted once.
    """

    time_s: float
    memory_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a worker ended.

    Attributes
    ----------
    kind
        ``done``: it returned. ``failed``: that is the arm's doing. ``no answer``: it is not.
    reason
        Why it is not done, in a line.
    limit
        The limit of ours that ended it: ``time_s``, ``memory_mib`` or ''.
    vouched
        SHA-256 of each file the worker wrote, by name, as it told the supervisor; None where it
        was not listened to.
    """

    kind: Literal["done", "failed", "no answer"]
    reason: str = ""
    limit: Literal["", "time_s", "memory_mib"] = ""
    vouched: Mapping[str, str] | None = None


def supervise(
    work: Callable[[Callable[[str, str], None]], None],
    *,
    log: Path,
    scratch: Path,
    limits: UnitLimits,
    executor: Connection,
) -> None:
    """Run `work` in a forked process, and send its `Ending` to the executor.

    Parameters
    ----------
    work
        Called in the worker with a function that takes the name and digest of a file it wrote; they
        come with the ending, by a way of their own. What the system refuses it is no failure of
        the arm.
    log
        Gets what the worker and its descendants print.
    scratch
        Removed when the executor goes away.
    executor
        Its other end is the executor's; when that closes, everything ends.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the executor decides what Ctrl-C means
    _process_control(_SET_CHILD_SUBREAPER, 1)
    said, saying = os.pipe()
    vouched, vouching = os.pipe()
    worker = os.fork()
    if worker == 0:
        executor.close()
        os.close(said)
        os.close(vouched)

        def vouch(name: str, digest: str) -> None:
            line = f"{digest} {name}\n".encode(errors="surrogateescape")
            while line:
                line = line[os.write(vouching, line) :]

        _work(partial(work, vouch), saying)
    os.close(saying)
    os.close(vouching)
    watched = _Watched(
        worker=worker, said=said, vouched=vouched, limits=limits, start=time.monotonic()
    )
    with _Output(log) as output:
        ending = watched.until_it_ends(output, executor)
        killed = _end_descendants()
        watched.drain(output)
        files = watched.files()
    if ending is None:  # nobody waits for it any more
        shutil.rmtree(scratch, ignore_errors=True)
        return
    if not killed:
        ending = Ending(kind="no answer", reason="processes it started could not be ended")
    with suppress(OSError):
        executor.send(dataclasses.replace(ending, vouched=files))


def _work(work: Callable[[], None], saying: int) -> None:
    """Be the worker; never returns. What threads and exit handlers still want is not waited for."""
    code = 1
    try:
        _process_control(_SET_PDEATHSIG, signal.SIGKILL)
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(saying, 1)
        os.dup2(saying, 2)
        os.close(saying)
        work()
        code = 0
    except BaseException as problem:  # noqa: BLE001  # whatever it is, it ends this process alone
        refused = refused_by_system(problem)
        if refused:
            code = _NO_ANSWER
            os.write(2, f"\n{one_line(refused)}\n".encode())
        else:
            traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


@dataclass(slots=True, kw_only=True)
class _Watched:
    """A worker that runs."""

    worker: int
    said: int
    vouched: int
    files_said: bytes = b""
    limits: UnitLimits
    start: float

    def until_it_ends(self, output: _Output, executor: Connection) -> Ending | None:
        """Copy its output and keep its limits until it ends; None when the executor went away."""
        open_ends: list[int] = [self.said, self.vouched, executor.fileno()]
        while True:
            ready = select.select(open_ends, [], [], _POLL_S)[0]
            if executor.fileno() in ready:
                return None
            if self.said in ready and not output.copy_from(self.said):
                open_ends.remove(self.said)
            if self.vouched in ready and not self._listen():
                open_ends.remove(self.vouched)
            status = self._reap()
            if status is not None:
                return _ending(status, output)
            broken = self._broken_limit()
            if broken is not None:
                return broken

    def drain(self, output: _Output) -> None:
        """Copy what is still in the pipe; whoever holds its other end is not waited for."""
        while select.select([self.said], [], [], 0)[0] and output.copy_from(self.said):
            pass
        os.close(self.said)
        while select.select([self.vouched], [], [], 0)[0] and self._listen():
            pass
        os.close(self.vouched)

    def files(self) -> dict[str, str]:
        """Digests of the files the worker wrote, by name; what it wrote last counts."""
        lines = self.files_said[: self.files_said.rfind(b"\n") + 1].splitlines()
        pairs = (line.partition(b" ") for line in lines)
        return {os.fsdecode(name): digest.decode(errors="replace") for digest, _, name in pairs}

    def _listen(self) -> bool:
        found = os.read(self.vouched, 1 << 16)
        self.files_said = (self.files_said + found)[-_VOUCHED_BYTES:]
        return bool(found)

    def _reap(self) -> int | None:
        """Bury what has ended; gives the wait status of the worker once it has."""
        found = None
        with suppress(ChildProcessError):
            while True:
                ended, status = os.waitpid(-1, os.WNOHANG)
                if ended == 0:
                    break
                if ended == self.worker:
                    found = status
        return found

    def _broken_limit(self) -> Ending | None:
        """The end by a limit that is broken: of time, or of the memory of all descendants."""
        import psutil

        spent = time.monotonic() - self.start
        if spent > self.limits.time_s:
            said = f"stopped after {spent:.0f} s, the time limit is {self.limits.time_s:g} s"
            return Ending(kind="failed", reason=said, limit="time_s")
        quick, exact = 0, 0
        family = psutil.Process().children(recursive=True)
        for process in family:
            with suppress(psutil.Error):  # counts pages that processes share once for each
                quick += process.memory_info().rss
        if quick / 2**20 <= self.limits.memory_mib:
            return None
        for process in family:
            with suppress(psutil.Error):
                found = process.memory_full_info()
                exact += getattr(found, "pss", found.uss)
        used = exact / 2**20
        if used > self.limits.memory_mib:
            said = f"stopped at {used:.0f} MiB, the memory limit is {self.limits.memory_mib} MiB"
            return Ending(kind="failed", reason=said, limit="memory_mib")
        return None


def _ending(status: int, output: _Output) -> Ending:
    """What a wait status means."""
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return Ending(kind="done")
    last = output.last_line()
    if code == _NO_ANSWER:
        return Ending(kind="no answer", reason=last or "the system refused it something")
    said = f"; its log ends with: {last}" if last else ""
    if code > 0:
        reason = f"the process ended with exit code {code} and left no result{said}"
        return Ending(kind="failed", reason=reason)
    reason = f"the process was ended by {signal_name(-code)}{said}"
    return Ending(kind="failed" if -code in FAULTS else "no answer", reason=reason)


def _end_descendants() -> bool:
    """Kill whatever descends from this process, again until nothing does; False if some stays."""
    import psutil

    deadline = time.monotonic() + _GRACE_S
    while time.monotonic() < deadline:
        alive = False
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE:
                    process.kill()
                    alive = True
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not alive:
            return True
        time.sleep(0.01)
    return False


class _Output:
    """A log that keeps the start and the end of what is printed, within a limit.

    Where the disk has no room for it, nothing is kept, which costs no unit.
    """

    def __init__(self, log: Path) -> None:
        # not buffered: a disk that is full must not refuse what is written when it is closed
        try:
            self._stream: BinaryIO = log.open("wb", buffering=0)
        except OSError:
            self._stream = Path(os.devnull).open("wb", buffering=0)  # noqa: SIM115  # until the end
        self._room = LOG_BYTES
        self._tail = b""
        self._dropped = 0
        self._last = b""

    def __enter__(self) -> _Output:
        return self

    def __exit__(self, *_: object) -> None:
        if self._dropped:
            note = f"\n[{self._dropped} bytes of output were not kept]\n"
            self._tail = note.encode() + self._tail
        with self._stream, suppress(OSError):
            self._stream.write(self._tail)

    def copy_from(self, pipe: int) -> bool:
        """Copy what is there; False at its end."""
        found = os.read(pipe, 1 << 16)
        kept, rest = found[: self._room], found[self._room :]
        self._room -= len(kept)
        with suppress(OSError):  # a full disk costs the log, not the unit
            self._stream.write(kept)
        self._tail += rest
        beyond = max(0, len(self._tail) - LOG_BYTES // 16)
        self._dropped += beyond
        self._tail = self._tail[beyond:]
        self._last = (self._last + found)[-4096:]
        return bool(found)

    def last_line(self) -> str:
        """The last line that was printed, if any."""
        lines = self._last.decode(errors="replace").splitlines()
        return next((one_line(line)[:200] for line in reversed(lines) if line.strip()), "")


def signal_name(number: int) -> str:
    """The name of a signal; its number where it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:  # such as most real-time signals
        return f"signal {number}"


def _process_control(option: int, value: int) -> None:
    """Linux' prctl; elsewhere nothing."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
