"""Starts measured processes and gives them turns; a program of its own, standard library only.

It is small on purpose: what a process inherits from its parent (the peak of `ru_maxrss`, open
files, memory that is shared until written) it inherits from here and not from a runner that holds
gigabytes. Commands come as lines of JSON on standard input, one reply each on standard output::

    {"do": "start", "name": "A", "argv": [...], "log": "file", "limit_s": 60}
    {"do": "turn", "name": "A", "message": {...}, "limit_s": 60}
    {"do": "stop", "name": "A"}
    {"do": "spent"}

Only the process whose turn it is runs: between its turns each is stopped by SIGSTOP, threads and
all. When the command stream ends, everything started is killed. When this program is killed, the
kernel ends what it started: on Linux each process asks for that itself; elsewhere each has a
process group of its own, whose stopped members are woken and told to hang up.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable


class Launcher:
    """The processes by name."""

    def __init__(self, keep: list[int]) -> None:
        self._keep = keep
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *, name: str, argv: list[str], log: str, limit_s: float) -> str:
        """Start a process and wait until it says that it is ready."""
        with open(log, "ab") as stream:  # noqa: PTH123  # pathlib is not imported here
            process = subprocess.Popen(  # noqa: S603  # what the session asks for
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                bufsize=0,
                pass_fds=self._keep,
                process_group=0,
            )
        self._processes[name] = process
        return self._answer(name, limit_s)

    def turn(self, *, name: str, message: object, limit_s: float) -> str:
        """Wake a process, hand it a message, wait for its reply, stop it."""
        process = self._processes.get(name)
        if process is None or process.stdin is None:
            return json.dumps({"ended": "it is not there"})
        process.send_signal(signal.SIGCONT)
        try:
            process.stdin.write(json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            return self._ended(name)
        return self._answer(name, limit_s)

    def stop(self, *, name: str) -> str:
        """End a process."""
        process = self._processes.pop(name, None)
        if process is not None:
            _end(process)
        return "{}"

    def spent(self) -> str:
        """Processor seconds of this program and of all processes that have ended."""
        whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        found = [resource.getrusage(each) for each in whose]
        return json.dumps({"seconds": sum(each.ru_utime + each.ru_stime for each in found)})

    def close(self) -> None:
        """End everything."""
        for name in list(self._processes):
            self.stop(name=name)

    def _answer(self, name: str, limit_s: float) -> str:
        """One line of a process as it wrote it, or how it ended; it is stopped afterwards."""
        process = self._processes[name]
        assert process.stdout is not None
        deadline, text = time.monotonic() + limit_s, b""
        while not text.endswith(b"\n"):
            left = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([process.stdout, sys.stdin], [], [], left)
            if process.stdout in ready:
                part = os.read(process.stdout.fileno(), 1 << 16)
                if not part:
                    return self._ended(name)
                text += part
            elif ready:  # nothing is sent while a turn runs: the session is gone
                self.close()
                raise SystemExit(1)
            else:
                self.stop(name=name)
                return json.dumps({"ended": f"stopped after the limit of {limit_s:g} s"})
        process.send_signal(signal.SIGSTOP)
        if hasattr(os, "waitid"):  # the signal is sent, not yet taken
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        return text.decode()

    def _ended(self, name: str) -> str:
        process = self._processes.pop(name)
        if hasattr(os, "waitid"):  # it has ended or is about to; it is not to be killed for it
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        else:
            process.wait()
        code = _end(process)
        if code >= 0:
            return json.dumps({"ended": f"the process ended with exit code {code}"})
        try:
            name = signal.Signals(-code).name
        except ValueError:  # such as most real-time signals
            name = f"signal {-code}"
        return json.dumps({"ended": f"the process was ended by {name}"})


def _end(process: subprocess.Popen[bytes]) -> int:
    """Kill a process with all that it started; what it ended with."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    return process.wait()


def main() -> None:
    """Carry out commands until there are none; arguments are descriptors to hand down."""
    launcher = Launcher([int(each) for each in sys.argv[1:]])
    known: dict[str, Callable[..., str]] = {
        "start": launcher.start,
        "turn": launcher.turn,
        "stop": launcher.stop,
        "spent": launcher.spent,
    }
    try:
        for line in iter(sys.stdin.readline, ""):
            command = json.loads(line)
            sys.stdout.write(known[command.pop("do")](**command).rstrip("\n") + "\n")
            sys.stdout.flush()
    finally:
        launcher.close()


if __name__ == "__main__":
    main()
