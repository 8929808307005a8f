"""The session's end of the launcher: start processes, give turns, read replies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.errors import AbharnessError
from harness.measure import launcher

_WORKER = ("-P", "-m", "harness.measure.worker")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


class TurnError(AbharnessError):
    """A measured process ended, hung, or its arm failed; the message is one line."""


class Turns:
    """A launcher and the measured processes it holds.

    Parameters
    ----------
    threads
        Threads of each measured process.
    keep
        Descriptors that every process inherits: the host's lease.
    log
        Where processes print.
    limit_s
        Longest turn.
    """

    def __init__(self, *, threads: int, keep: tuple[int, ...], log: Path, limit_s: float) -> None:
        self._log, self._limit_s = log, limit_s
        environment = dict(os.environ) | dict.fromkeys(_THREADS, str(threads))
        environment["PYTHONSAFEPATH"] = "1"
        script = str(Path(launcher.__file__))
        self._process = subprocess.Popen(  # noqa: S603  # our own script
            [sys.executable, "-S", "-E", script, *map(str, keep)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            pass_fds=keep,
            start_new_session=True,  # Ctrl-C is the session's to handle
        )

    def __enter__(self) -> Turns:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def start(self, name: str) -> None:
        """Start a measured process; it waits for its first turn."""
        argv = [sys.executable, *_WORKER]
        self._ask(
            {
                "do": "start",
                "name": name,
                "argv": argv,
                "log": str(self._log),
                "limit_s": self._limit_s,
            }
        )

    def turn(self, name: str, what: str, **details: Any) -> dict[str, Any]:
        """Let a process do one thing while all others stand still.

        Raises
        ------
        TurnError
            When its arm fails, or the process ends or takes too long.
        """
        message = {"do": what, **details}
        return self._ask({"do": "turn", "name": name, "message": message, "limit_s": self._limit_s})

    def stop(self, name: str) -> None:
        """End a process."""
        self._ask({"do": "stop", "name": name})

    def spent(self) -> float:
        """Processor seconds of the launcher and of the processes that have ended."""
        return float(self._ask({"do": "spent"})["seconds"])

    def _ask(self, command: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise TurnError("the launcher of measured processes is gone")
        reply: dict[str, Any] = json.loads(line)
        for sign in ("ended", "failed"):
            if sign in reply:
                raise TurnError(str(reply[sign]))
        return reply
