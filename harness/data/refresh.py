"""Run the command by which a dataset gets its new sessions, and remember how it went.

A command stands in the table ``[update]`` of a manifest. It is a program and its arguments, never a
line for a shell; it is shown before it runs, and it runs only where the manifest is the user's own,
or where the user says that it is trusted. How the last attempt went lies beside the manifest, in
``.ID.update.json``, so that a run that goes on with the data there are can say so.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from datetime import date as Date  # `date` is the name of a method
from pathlib import Path

import numpy as np

from harness.data.dataset import Dataset, catalogue, find, is_built_in
from harness.data.manifest import UpdateCommand, read_manifest, write_whole
from harness.data.tables import count_text
from harness.data.update import Updated, update_file
from harness.errors import DataError, one_line

PATIENCE = 5
"""Sessions a dataset may lack before this is a caution."""

_MOST_BYTES = 1 << 28


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """One attempt to get new sessions.

    Attributes
    ----------
    dataset
        Its id.
    updated
        What came of it; None where there was a problem.
    problem
        Why nothing was changed, in one line; '' where all is well.
    """

    dataset: str
    updated: Updated | None = None
    problem: str = ""

    @property
    def line(self) -> str:
        """The attempt in one line."""
        if self.updated is None:
            return f"data not updated: {self.dataset}: {self.problem}"
        last = self.updated.series.dates[-1]
        return f"{self.dataset}: {count_text(self.updated.added, 'new session')}, now to {last}"


def refresh(
    dataset_id: str,
    *,
    folders: Sequence[Path],
    trust: bool = False,
    tell: Callable[[str], None] = print,
) -> Refreshed:
    """Run a dataset's command and append the sessions that it prints.

    Parameters
    ----------
    trust
        Run the command of a manifest that is not the user's own.
    tell
        Told which command is about to run.

    Returns
    -------
    Refreshed
        A command that cannot be run, fails, prints no table or other rows than those that are
        there is a problem, not an error: whoever asks can go on with the data there are.

    Raises
    ------
    DataError
        When there is no such dataset, or it has no command.
    """
    place = find(dataset_id, folders)
    manifest = read_manifest(place)
    if manifest.update is None:
        hint = 'a table [update] in it, such as command = ["python", "prices.py"], says how'
        raise DataError(f"{place}: dataset '{dataset_id}' has no command to update it; {hint}")
    problem, updated = "", None
    try:
        written, reason = place.stat(), ""
        own_group = written.st_gid == os.getegid()  # which many systems let new files be written by
        if is_built_in(place) or written.st_uid != os.geteuid():
            reason = "is not yours"
        elif written.st_mode & stat.S_IWOTH or (written.st_mode & stat.S_IWGRP and not own_group):
            reason = "can be written by others"
        if reason and not trust:
            raise DataError(
                f"{place}: its command is not run, the manifest {reason}; read it, then use --trust"
            )
        tell(f"{dataset_id}: runs {shlex.join(manifest.update.command)} in {place.parent}")
        raw = _printed(manifest.update, place.parent)
        path = Path(f"output of {manifest.update.command[0]}")
        updated = update_file(dataset_id, path, folders=folders, raw=raw)
    except DataError as refused:
        problem = one_line(str(refused))
    note_attempt(place, problem)
    return Refreshed(dataset=dataset_id, updated=updated, problem=problem)


def refresh_all(
    *, folders: Sequence[Path], trust: bool = False, tell: Callable[[str], None] = print
) -> Iterator[Refreshed]:
    """Refresh every dataset that has a command, one after the other, whatever becomes of each."""
    for name, path in catalogue(folders).items():
        try:
            if read_manifest(path).update is not None:
                yield refresh(name, folders=folders, trust=trust, tell=tell)
        except DataError as problem:
            yield Refreshed(dataset=name, problem=one_line(str(problem)))


def _printed(update: UpdateCommand, folder: Path) -> bytes:
    """What a command prints; one that is stopped takes along all that it started.

    `DataError` when it cannot be started, fails, takes too long or prints too much or nothing.
    """
    shown = shlex.join(update.command)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            process = subprocess.Popen(  # noqa: S603  # a list, no shell, and trusted
                update.command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        except (OSError, ValueError) as problem:
            said = getattr(problem, "strerror", None) or str(problem)
            raise DataError(f"'{shown}' cannot be run: {said.lower()}") from None
        try:
            code = process.wait(timeout=update.time_limit_s)
        except subprocess.TimeoutExpired:
            limit = f"time_limit_s = {update.time_limit_s:g}"
            raise DataError(f"'{shown}' was stopped after its {limit}") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # and all that it started
                process.wait()
        if code:
            how = f"exit code {code}" if code > 0 else f"signal {-code}"
            err.seek(max(0, err.seek(0, os.SEEK_END) - 4096))
            lines = err.read().decode("utf-8", "replace").strip().splitlines()
            said = f": {one_line(lines[-1])[:300]}" if lines else ""
            raise DataError(f"'{shown}' failed with {how}{said}")
        size = out.seek(0, os.SEEK_END)
        if not 0 < size <= _MOST_BYTES:
            much = "nothing" if not size else f"more than {_MOST_BYTES >> 20} MiB"
            raise DataError(f"'{shown}' printed {much}; expected a table of sessions")
        out.seek(0)
        return out.read()


def _note(place: Path) -> Path:
    return place.with_name(f".{place.stem}.update.json")


def note_attempt(place: Path, problem: str) -> None:
    """Remember beside a manifest how the last attempt to update its dataset went.

    Where it cannot be written, it is not remembered; a built-in dataset is never updated.
    """
    if is_built_in(place):
        return
    day = datetime.now(UTC).date().isoformat()
    content = json.dumps({"schema": 1, "day": day, "problem": problem[:1000]})
    try:
        write_whole(_note(place), content.encode())
    except OSError:
        return


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """How new a dataset is.

    Attributes
    ----------
    last
        Its last session.
    ended
        No session will come any more.
    lacking
        Days of its calendar since, today not among them; 0 where nothing ever updated it.
    problem
        Why the last attempt to update it failed, with its day; '' where none did.
    """

    dataset: str
    last: Date
    ended: bool
    lacking: int
    problem: str


def freshness(dataset: Dataset, today: Date) -> Freshness:
    """How new a dataset is on a day."""
    manifest, place = dataset.manifest, dataset.path.with_name(f"{dataset.id}.toml")
    last = np.datetime64(manifest.last, "D")
    days = np.busday_count(last + 1, np.datetime64(today, "D"), weekmask=manifest.calendar)
    alive = manifest.update is not None or _note(place).exists()
    problem = ""
    with suppress(OSError, ValueError, LookupError, TypeError):
        found = json.loads(_note(place).read_text(encoding="utf-8"))
        problem = f"{found['problem']} ({found['day']})" if found["problem"] else ""
    return Freshness(
        dataset=dataset.id,
        last=manifest.last,
        ended=manifest.ended,
        lacking=max(0, int(days)) if alive else 0,
        problem=problem,
    )
