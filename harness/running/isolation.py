"""Code of users is asked in a process of its own: nothing it does reaches the one that judges."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.errors import ArmError, ConfigError, DataError, InputError, StoreError, escaped
from harness.parsing import parse_json
from harness.running.supervisor import (
    Ending,
    UnitLimits,
    scratch_prefix,
    supervise,
    sweep_scratch,
)
from harness.running.work import read_plain

_REFUSALS = {kind.__name__: kind for kind in (ArmError, ConfigError, DataError, StoreError)}

_SHOWN = 4096
"""Characters of what it prints that are shown: the end."""


def in_isolation(work: Callable[[], object], *, limits: UnitLimits) -> Any:
    """What `work` gives, as JSON has it; done in a fork of this process.

    What it prints goes to standard error, and what it starts ends with it. Where there are no
    forks it is done here.

    Raises
    ------
    InputError
        What `work` raised of that; an `ArmError` where its process ended otherwise.
    """
    if sys.platform != "linux":
        return json.loads(json.dumps(work()))
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()  # or the fork writes it as well
    sweep_scratch()
    try:
        named = f"{scratch_prefix()}asked-"
        folder = tempfile.TemporaryDirectory(prefix=named, ignore_cleanup_errors=True)
    except OSError as problem:
        raise StoreError(f"{tempfile.gettempdir()}: {problem.strerror or problem}") from None
    with folder:
        scratch = Path(folder.name)
        file, log = scratch / "answer.json", scratch / "log.txt"

        def answered(_: object) -> None:
            try:
                said: dict[str, object] = {"answer": work()}
            except InputError as problem:
                said = {"refused": type(problem).__name__, "said": str(problem)}
            file.write_text(json.dumps(said), encoding="utf-8")

        ending = _supervised(answered, scratch, log, limits)
        with suppress(OSError, ValueError, AttributeError, StoreError):
            printed = read_plain(log).decode(errors="replace")[-_SHOWN:]
            sys.stderr.write(escaped(printed))
        if ending.kind != "done":
            raise ArmError(f"describing the arms: {ending.reason}")
        try:
            found = parse_json(read_plain(file), where="what arms say")
        except FileNotFoundError:
            raise ArmError("describing the arms: the process left no answer") from None
    if not isinstance(found, dict) or not found.keys() & {"refused", "answer"}:
        raise ArmError("describing the arms: the process answered something else")
    if "refused" in found:
        raise _REFUSALS.get(str(found["refused"]), InputError)(str(found.get("said", "")))
    return found["answer"]


def _supervised(
    work: Callable[[object], None], scratch: Path, log: Path, limits: UnitLimits
) -> Ending:
    """Carry out work in a forked process under watch; gives how it ended."""
    ours, theirs = multiprocessing.Pipe()
    watcher = os.fork()
    if watcher == 0:
        with suppress(BaseException):
            ours.close()
            supervise(work, log=log, scratch=scratch, limits=limits, executor=theirs)
        os._exit(0)
    theirs.close()
    try:
        found = ours.recv()  # of the supervisor, which runs no code of users
        assert isinstance(found, Ending)
    except (EOFError, OSError):
        return Ending(kind="no answer", reason="the process that watched over it vanished")
    else:
        return found
    finally:
        ours.close()  # which ends whatever still runs
        os.waitpid(watcher, 0)
