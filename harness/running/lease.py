"""The lock of a host, so that what is timed runs alone.

A measuring session holds the lease alone; a run of ordinary units shares it with other runs. The
lock is the kernel's (`flock`): it ends with the processes that hold it, whatever ends them. The
file says who took it last, for the message of whoever has to wait.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from harness.errors import ConfigError

Kind = Literal["alone", "shared"]

HOST_FILE = Path("/tmp/abharness.lease")  # noqa: S108  # one place for all users and stores of a host
_POLL_S = 0.2
_MODES = {"alone": fcntl.LOCK_EX, "shared": fcntl.LOCK_SH}


@contextmanager
def lease(
    kind: Kind,
    purpose: str,
    *,
    wait_s: float,
    file: Path | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Iterator[int]:
    """Hold the host's lease; gives the descriptor, to be inherited by what runs under it.

    Parameters
    ----------
    kind
        ``alone`` for what is timed, ``shared`` for everything else.
    purpose
        What for, in a few words; others are told.
    wait_s
        How long to wait for those who hold it.
    file
        Another lock than the host's.
    tell
        Called once with who holds it when there is to wait.

    Raises
    ------
    ConfigError
        When it is still held after `wait_s`, or the file cannot be opened by who asks for it
        alone.
    """
    import psutil

    path = HOST_FILE if file is None else file
    handle = -1
    try:
        with suppress(FileNotFoundError):
            handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        if handle < 0:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            with suppress(OSError):
                os.fchmod(handle, 0o666)  # whatever the umask: other users wait for us as well
    except OSError as problem:
        said = f"{path}: the lock cannot be opened: {problem}"
        if kind == "alone":
            raise ConfigError(said) from None
        tell(f"{said}; measurements on this host cannot wait for this run")
    if handle < 0:
        yield handle
        return
    try:
        _acquire(handle, _MODES[kind], path, wait_s=wait_s, tell=tell)
        me = psutil.Process()
        note = {"pid": me.pid, "started": me.create_time(), "purpose": purpose}
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(note).encode(), 0)
        yield handle
    finally:
        os.close(handle)  # a process that inherited it keeps the lease until it ends, too


def _acquire(
    handle: int, mode: int, path: Path, *, wait_s: float, tell: Callable[[str], None]
) -> None:
    """Wait for the lock, and tell once who holds it."""
    import psutil

    start, told = time.monotonic(), False
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(handle, mode | fcntl.LOCK_NB)
            return
        holder = "another abharness process"
        with suppress(ValueError, KeyError, TypeError, psutil.Error):
            note = json.loads(os.pread(handle, 4096, 0))  # by who signed last
            process = psutil.Process(int(note["pid"]))
            if abs(process.create_time() - float(note["started"])) < 1:  # it still lives
                since = datetime.fromtimestamp(process.create_time(), UTC)
                said = f"process {process.pid}, started {since.isoformat(' ', 'seconds')}"
                holder = f"{note['purpose']!s:.80} ({said})"
        if time.monotonic() - start >= wait_s:
            raise ConfigError(
                f"{path}: this host is in use by {holder}; a measurement must run alone "
                f"(waited {wait_s:g} s)"
            )
        if not told:
            tell(f"waiting for {holder}")
            told = True
        time.sleep(_POLL_S)
