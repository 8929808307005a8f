"""What an arm's process does: carry out its jobs, and leave what came of each in its scratch.

Folder ``0`` is of the first job, and so on. ``fit.json`` is there as soon as the arm was made
ready, ``part.json`` when its forecasts are whole, so that a fit outlives a process that ends while
it forecasts.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import ChangedFileError, StoreError
from harness.parsing import parse_json, parse_record
from harness.running.parts import Part, read_part, write_atomically, write_part, write_table
from harness.running.unit import RESIDUALS, STATE, Job, UnitResult, carry_out

_Content = bytes | memoryview
FIT_FILE, PART_FILE = "fit.json", "part.json"
FORECASTS = "part.parquet"
CURVE = "curve.parquet"
TRACEBACK = "traceback.txt"
_LARGEST = 1 << 36
"""Bytes of a file an arm's process may leave: more than any model of ours."""
_MOST_FILES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class FitReport:
    """How making an arm ready went.

    Attributes
    ----------
    made
        It was fitted here, not restored.
    problem
        Why the arm is not ready; empty where it is.
    """

    made: bool
    problem: str = ""
    saved: bool = False
    epochs: int | None = None
    best_epoch: int | None = None
    diverged: bool = False
    card: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartReport:
    """How forecasting went: what it took, and the traceback of the first failure."""

    seconds: Mapping[str, float]
    peak_bytes: Mapping[str, int]
    trace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOutput:
    """What a process left of a job, checked.

    Attributes
    ----------
    fit
        None where the arm never was ready.
    fit_files
        Content of what the arm saved, by name below the fit's folder.
    part, content
        The forecasts and their file; None where they are not whole.
    """

    fit: FitReport | None = None
    fit_files: Mapping[str, bytes] = field(default_factory=dict)
    report: PartReport | None = None
    part: Part | None = None
    content: bytes = b""


def carry_out_all(
    jobs: Sequence[Job],
    scratch: Path,
    *,
    tell: Callable[[float], None] = lambda share: None,
    vouch: Callable[[str, str], None] = lambda name, digest: None,
) -> None:
    """Carry out jobs, each of one fit, and write what came of them.

    Parameters
    ----------
    tell
        Called with the share of all windows that are done.
    vouch
        Called for each file as soon as it is written, with its name below the scratch and the
        SHA-256 of what was written: whatever is read there later has to be the same.
    """
    total, done = sum(len(job.windows) for job in jobs), 0
    for number, job in enumerate(jobs):
        folder = scratch / str(number)
        folder.mkdir()

        def told(share: float, count: int = len(job.windows), before: int = done) -> None:
            tell((before + share * count) / total)

        def wrote(name: str, content: _Content, number: int = number) -> None:
            vouch(f"{number}/{name}", hashlib.sha256(content).hexdigest())

        def ready(
            outcome: UnitResult,
            folder: Path = folder,
            job: Job = job,
            wrote: Callable[[str, _Content], None] = wrote,
        ) -> None:
            for name, content in _write_fit(folder, job, outcome):
                wrote(name, content)

        outcome = carry_out(job, keep=folder, ready=ready, tell=told)
        with suppress(FileNotFoundError, StoreError):  # there where it was measured
            wrote(RESIDUALS, read_plain(folder / RESIDUALS))
        wrote(FORECASTS, write_part(folder / FORECASTS, Part.of(job.cutoffs, outcome)))
        report = PartReport(
            seconds=outcome.meter.seconds, peak_bytes=outcome.meter.peak_bytes, trace=outcome.trace
        )
        wrote(PART_FILE, _write_json(folder / PART_FILE, report))
        done += len(job.windows)


def _write_fit(folder: Path, job: Job, outcome: UnitResult) -> Iterator[tuple[str, _Content]]:
    """Write how the fit went; gives all files of the fit, by name, as they are."""
    if outcome.saved:
        with suppress(StoreError):  # whoever reads the folder says what is wrong with it
            for name, content in list(_state(folder / STATE)):
                yield f"{STATE}/{name}", content
    training = outcome.fits[-1].training if outcome.fits else None
    if training is not None:
        names = ("train_loss", "validation_loss", "learning_rate", "gradient_norm")
        columns: dict[str, Any] = {
            "epoch": np.array([row.epoch for row in training.curve], dtype=np.int64)
        }
        for name in names:
            columns[name] = np.array([getattr(row, name) for row in training.curve], dtype=float)
        yield CURVE, write_table(folder / CURVE, columns)
    report = FitReport(
        made=job.restored is None,
        problem=outcome.unfit,
        saved=outcome.saved,
        epochs=None if training is None else len(training.curve),
        best_epoch=None if training is None else training.best_epoch,
        diverged=training is not None and training.diverged,
        card=outcome.card,
    )
    yield FIT_FILE, _write_json(folder / FIT_FILE, report)


def _write_json(file: Path, report: Any) -> _Content:
    content = json.dumps(dataclasses.asdict(report), sort_keys=True).encode()
    return write_atomically(file, content)


def read_left(folder: Path, job: Job, *, vouched: Mapping[str, str] | None = None) -> JobOutput:
    """Read what a process left of a job: nothing of it is trusted before it was checked.

    Parameters
    ----------
    vouched
        Digests of files below the scratch, as the process told its supervisor when it wrote them;
        None where nobody asked it to.

    Raises
    ------
    ChangedFileError
        When a file is not what the process wrote, or is gone: somebody else was here.
    StoreError
        When something is there that is not what a job leaves.
    """
    left = _Vouched(folder, vouched)
    if not left.has(FIT_FILE):
        return JobOutput()
    fit = _report(folder / FIT_FILE, left.read(FIT_FILE), FitReport)
    files = left.state() if fit.saved else {}
    for name in (RESIDUALS, CURVE):
        if left.has(name):
            files[name] = left.read(name)
    if not left.has(PART_FILE):
        return JobOutput(fit=fit, fit_files=files)
    if not left.has(FORECASTS):
        raise StoreError(f"{folder / FORECASTS}: is not there")
    content = left.read(FORECASTS)
    part = read_part(folder / FORECASTS, content)
    if not np.array_equal(part.cutoff, job.cutoffs):
        raise StoreError(f"{folder}: forecasts of other origins than requested")
    if part.forecast.point.shape[1] != job.windows.horizon:
        raise StoreError(f"{folder}: forecasts of other steps than requested")
    report = _report(folder / PART_FILE, left.read(PART_FILE), PartReport)
    return JobOutput(fit=fit, fit_files=files, report=report, part=part, content=content)


@dataclass(slots=True)
class _Vouched:
    """The folder of a job, whose files have to be what their process said it wrote."""

    folder: Path
    vouched: Mapping[str, str] | None

    def has(self, name: str) -> bool:
        """Whether a file is there; one that was written must be."""
        there = os.path.lexists(self.folder / name)
        if not there and self._digest(name):
            raise self._changed(name)
        return there

    def read(self, name: str) -> bytes:
        """A file's content."""
        try:
            content = read_plain(self.folder / name)
        except (FileNotFoundError, StoreError):
            if self._digest(name):
                raise self._changed(name) from None
            raise
        self._compare(name, content)
        return content

    def state(self) -> dict[str, bytes]:
        """All files that the arm saved, by name below the folder."""
        mine = f"{self.folder.name}/"
        written = (name.removeprefix(mine) for name in self.vouched or () if name.startswith(mine))
        known = [name for name in written if name.startswith(f"{STATE}/")]
        try:
            found = {f"{STATE}/{name}": content for name, content in _state(self.folder / STATE)}
        except StoreError:
            if known:
                raise self._changed(STATE) from None
            raise
        for name in {*found, *known}:
            self._compare(name, found.get(name, b""))
        return found

    def _digest(self, name: str) -> str:
        return (self.vouched or {}).get(f"{self.folder.name}/{name}", "")

    def _compare(self, name: str, content: bytes) -> None:
        if self.vouched is None or self._digest(name) == hashlib.sha256(content).hexdigest():
            return
        raise self._changed(name)

    def _changed(self, name: str) -> ChangedFileError:
        return ChangedFileError(f"{self.folder / name}: has changed since its process wrote it")


def _report(file: Path, text: bytes, kind: type[Any]) -> Any:
    content = parse_json(text, where=str(file))
    if not isinstance(content, dict):
        raise StoreError(f"{file}: not a report")
    return parse_record(kind, content, where=str(file))


def _state(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Files below a folder, by their names below it; links and what is no file are refused."""
    waiting, count = [folder], 0
    while waiting:
        here = waiting.pop()
        try:
            entries = sorted(here.iterdir())
        except OSError as problem:
            raise StoreError(f"{here}: cannot be read: {problem.strerror}") from None
        for entry in entries:
            count += 1
            if count > _MOST_FILES:
                raise StoreError(f"{folder}: holds more than {_MOST_FILES} files")
            if stat.S_ISDIR(entry.lstat().st_mode):
                waiting.append(entry)
            else:
                yield entry.relative_to(folder).as_posix(), read_plain(entry)


def read_plain(file: Path) -> bytes:
    """Read a plain file; a link, a pipe or a device in its place is refused, not waited for.

    Raises
    ------
    FileNotFoundError
        When there is none.
    StoreError
        When it is no plain file.
    """
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise
    except OSError as problem:
        raise StoreError(f"{file}: cannot be read: {problem.strerror}") from None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise StoreError(f"{file}: not a plain file")
        if found.st_size > _LARGEST:
            raise StoreError(f"{file}: larger than {_LARGEST} bytes")
        with os.fdopen(handle, "rb", closefd=False) as stream:
            return stream.read()
    except OSError as problem:
        raise StoreError(f"{file}: cannot be read: {problem.strerror}") from None
    finally:
        os.close(handle)
