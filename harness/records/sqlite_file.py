"""The SQLite file below the journal: made, opened, locked and closed, and its errors in a line."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.errors import DamagedRecordsError, StoreError, one_line

_RESERVED_BYTE = 0x40000001
"""The byte of its file on which SQLite holds the lock of a writer."""
_WAIT_S = 60.0
"""How long a reader, and the end of a transaction, waits for others."""


def make(path: Path, script: str) -> None:
    """Make a file by a script; it appears whole, also beside others who make it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.fchmod(handle, 0o644)  # temporary files are private by default
        os.close(handle)
    except OSError as problem:
        raise StoreError(
            f"{path.parent}: store cannot be written: {problem.strerror or problem}"
        ) from None
    draft = Path(name)
    try:
        with told(path, "written"):
            connection = sqlite3.connect(draft, isolation_level=None)
            connection.executescript(script)
            connection.close()
        with suppress(FileExistsError):  # another made it meanwhile
            os.link(draft, path)
    except OSError as problem:
        raise StoreError(
            f"{path}: store cannot be written: {problem.strerror or problem}"
        ) from None
    finally:
        draft.unlink(missing_ok=True)


def connected(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Connect; where a read-only place refuses even the locks of a reader, without any."""
    ways = ("mode=ro", "immutable=1") if read_only else ("mode=rw",)
    for way in ways:
        try:
            connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?{way}", uri=True, isolation_level=None, timeout=_WAIT_S
            )
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            torn = path.with_name(f"{path.name}-journal")
            if way == ways[-1] or (torn.is_file() and torn.stat().st_size):
                raise
        else:
            return connection
    raise AssertionError


def begin_writing(
    connection: sqlite3.Connection, path: Path, *, wait_s: float, tell: Callable[[str], object]
) -> None:
    """Begin a transaction that alone may write: arguments and errors as in `Journal.writing`."""
    start, said = time.monotonic(), False
    while True:
        try:
            connection.execute("PRAGMA busy_timeout = 100")
            connection.execute("BEGIN IMMEDIATE")
            break
        except sqlite3.OperationalError as problem:
            if problem.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise StoreError(f"{path}: cannot be written: {problem}") from None
            holder = holder_of(path)
            if not said:
                tell(f"waiting for {holder}, which is writing to {path}")
                said = True
            if time.monotonic() - start >= wait_s:
                raise StoreError(
                    f"{path}: {holder} is writing to this store (waited {wait_s:g} s); "
                    "run the command again once it has finished"
                ) from None
        finally:
            connection.execute(f"PRAGMA busy_timeout = {_WAIT_S * 1000:.0f}")


def close(connection: sqlite3.Connection, owner: int) -> None:
    """Close a connection in the process that opened it: one forked since has no part in it."""
    if os.getpid() == owner:
        with suppress(sqlite3.ProgrammingError):  # collected in another thread than it was used in
            connection.close()


@contextmanager
def told(path: Path, done: str = "read") -> Iterator[None]:
    """Turn what SQLite raises into one line."""
    try:
        yield
    except UnicodeEncodeError as problem:
        raise StoreError(f"{path}: cannot be {done}: {problem}") from None
    except sqlite3.OperationalError as problem:
        code = getattr(problem, "sqlite_errorcode", sqlite3.SQLITE_ERROR)  # else Python's own
        if code == sqlite3.SQLITE_READONLY_ROLLBACK:
            raise StoreError(
                f"{path}: a process died while writing it; open the store once from a place "
                "where it is writable"
            ) from None
        if code & 0xFF == sqlite3.SQLITE_BUSY:
            raise StoreError(
                f"{path}: cannot be {done}: {holder_of(path)} has it (waited {_WAIT_S:g} s); "
                "run the command again once it has finished"
            ) from None
        if code == sqlite3.SQLITE_ERROR:  # no such table, no such column, not UTF-8
            raise damaged(path, one_line(str(problem))) from None
        raise StoreError(f"{path}: cannot be {done}: {one_line(str(problem))}") from None
    except (sqlite3.Error, UnicodeDecodeError) as problem:
        raise damaged(path, one_line(str(problem))) from None


def damaged(path: Path, why: str) -> DamagedRecordsError:
    """Say that a file is not what was written, and what to do."""
    return DamagedRecordsError(
        f"{path}: damaged: {why}; put back a copy of it, or move it away and run "
        "`abharness store adopt EXPERIMENT --why`"
    )


def holder_of(path: Path) -> str:
    """Who writes to an SQLite file, as far as the kernel's table of locks says."""
    import psutil

    with suppress(OSError):
        inode = path.stat().st_ino
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            with suppress(ValueError, psutil.Error):  # some lines are of who waits for a lock
                _, _, _, mode, pid, place, first, last = line.split()
                covers = int(first) <= _RESERVED_BYTE and (
                    last == "EOF" or int(last) >= _RESERVED_BYTE
                )
                if mode == "WRITE" and covers and int(place.rpartition(":")[2]) == inode:
                    process = psutil.Process(int(pid))
                    said = " ".join(process.cmdline()) or process.name()
                    return f"process {pid} ({one_line(said)[:80]})"
    return "a process of another container or host"
