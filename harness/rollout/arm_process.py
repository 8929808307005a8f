"""An arm in a process of its own, asked over a pipe: whatever it does, the asker gets a reason."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from harness.rollout.served_arm import Reply, Served
from harness.window import Series

_LOOK_S, _FAMILY_S = 0.5, 5.0
"""How often its memory is looked at, and that of all it started."""
_START_S = 300.0


class ArmProcess:
    """One arm in a process of its own; it answers one thread at a time, the others wait."""

    def __init__(self, served: Served, *, limit_s: float, memory_mib: int) -> None:
        self.name = served.ref.name
        self._served, self._limit_s, self._memory_mib = served, limit_s, memory_mib
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._problem = "it is being loaded"
        self._closed = False

    @property
    def problem(self) -> str:
        """Why it does not answer; '' where it does."""
        return self._problem

    def start(self) -> str:
        """Start its process and wait until it is ready; why it is not, '' where it is."""
        ours, theirs = Pipe()
        variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        threads = {name: str(self._served.threads) for name in variables}
        process = subprocess.Popen(  # noqa: S603  # our own module, no shell
            [sys.executable, "-m", "harness.rollout.served_arm", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            env={**os.environ, **threads, "PYTHONSAFEPATH": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        problem = "its process ended while it was loaded"
        with suppress(EOFError, OSError):
            ours.send(self._served)
            problem = str(ours.recv()) if ours.poll(_START_S) else "loading took too long"
        with self._lock:
            if problem or self._closed:
                _ended(process, ours)
            else:
                self._process, self._pipe = process, ours
                threading.Thread(target=self._watch_memory, args=(process,), daemon=True).start()
            self._problem = problem
        return problem

    def ask(self, asked: Sequence[tuple[str, Series]]) -> tuple[list[Reply], float]:
        """Forecast after the end of series; what it did not answer in time has a reason.

        Returns
        -------
        tuple
            A reply for each, and seconds.
        """
        start = time.monotonic()
        limit = self._limit_s * len(asked)
        if self._lock.acquire(timeout=limit):
            try:
                replies = self._asked(asked, start + limit)
            finally:
                self._lock.release()
        else:
            replies = [(None, f"busy for {limit:g} s")] * len(asked)
        return replies, time.monotonic() - start

    def _asked(self, asked: Sequence[tuple[str, Series]], until: float) -> list[Reply]:
        if self._pipe is None or self._process is None:
            return [(None, self._problem)] * len(asked)
        try:
            self._pipe.send(list(asked))
            if self._pipe.poll(max(0.0, until - time.monotonic())):
                found: list[Reply] = self._pipe.recv()
                return found
            problem = f"no answer within {self._limit_s:g} s each"
        except (EOFError, OSError):
            problem = self._problem or "its process ended"  # the watch says why it ended it
        _ended(self._process, self._pipe)
        self._process = self._pipe = None
        self._problem = f"being loaded again after: {problem}"
        if not self._closed:  # another one, beside the requests
            threading.Thread(target=self.start, daemon=True).start()
        return [(None, problem)] * len(asked)

    def _watch_memory(self, process: subprocess.Popen[bytes]) -> None:
        """End a process that holds more than it may, beside the requests; a thread's work."""
        import psutil

        family_at = 0.0
        with suppress(psutil.Error, OSError):
            main = psutil.Process(process.pid)
            while self._process is process:
                held = [main]
                if time.monotonic() >= family_at:  # to find them costs milliseconds
                    held += main.children(recursive=True)
                    family_at = time.monotonic() + _FAMILY_S
                used = sum(each.memory_info().rss for each in held) / 2**20
                if used > self._memory_mib and process.poll() is None:
                    self._problem = f"{used:.0f} MiB, the limit is {self._memory_mib} MiB"
                    os.killpg(process.pid, 9)
                    return
                time.sleep(_LOOK_S)

    def close(self) -> None:
        """End it."""
        with self._lock:
            self._closed = True
            if self._process is not None and self._pipe is not None:
                _ended(self._process, self._pipe)
            self._process = self._pipe = None
            self._problem = "closed"


def _ended(process: subprocess.Popen[bytes], pipe: Connection) -> None:
    pipe.close()
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, 9)
    process.wait()
