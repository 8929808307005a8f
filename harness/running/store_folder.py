"""The folder that holds every result: forecasts and fits as files, everything else as records.

::

    records.sqlite              every record that is not listed below: see `harness.records.journal`
    fits/KEY/                   what a fit left: state/, residuals.json, curve.parquet, log.txt
    parts/KEY.parquet           forecasts of some consecutive origins by one fit; KEY-2.parquet is
                                what was answered when a failure that lay there was asked again
    scores/                     derived from forecasts, and made again where they do not fit
    verdicts/NAME/              drawn from the records for others to read
    measures/                   profiles of what was measured
    tmp/                        files being written; swept when no process owns them
    incoming/                   what other machines computed, until it is checked and sealed here

Records kept here: ``anchor`` (cutoffs of a plan on a dataset, only ever added to), ``fit``,
``part`` (the seal of a file of forecasts, with a digest of each origin), ``drop`` (a part given
up), ``no answer`` (the system kept an arm from a result) and ``maintenance``.

A file is written to `tmp/`, flushed, renamed into place and then sealed by a record in one
transaction. What is not sealed is computed again; what is sealed and is not what was sealed is
named. Files are put into place inside the transaction that seals them, so of several hosts that
made the same thing the first to seal it wins, and no other sees it half done.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from harness.errors import DamagedRecordsError, StoreError
from harness.parsing import parse_json, parse_record
from harness.records.journal import FILE, Journal, Record
from harness.running.identity import is_left_over, owner_mark
from harness.running.parts import Part, read_part
from harness.running.sources import digest, file_digest
from harness.window import Dates

_Found = TypeVar("_Found")
_NO_OTHER_KEYS = {"extra": "forbid"}

RESULTS = ("fits", "parts")
"""Folders of what took a model to make."""
INCOMING = "incoming"
"""Folder of what other machines computed; see `harness.running.incoming`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A limit of ours that ended an arm's process: it says nothing once the limit is higher."""

    name: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessCosts:
    """What an arm's process took: seconds and peak bytes of each phase, and where it ran."""

    seconds: Mapping[str, float] = field(default_factory=dict)
    peak_bytes: Mapping[str, int] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def together(cls, each: Iterable[ProcessCosts]) -> ProcessCosts:
        """Seconds added up, peaks the highest, the machine of the last."""
        seconds: dict[str, float] = {}
        peaks: dict[str, int] = {}
        machine: Mapping[str, str] = {}
        for spent in each:
            for phase, value in spent.seconds.items():
                seconds[phase] = seconds.get(phase, 0.0) + value
            for phase, peak in spent.peak_bytes.items():
                peaks[phase] = max(peaks.get(phase, 0), peak)
            machine = spent.machine
        return cls(seconds=seconds, peak_bytes=peaks, machine=machine)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFacts:
    """What is kept of a training record besides its curve."""

    epochs: int
    best_epoch: int | None
    diverged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFit:
    """The record of a fit.

    Attributes
    ----------
    cutoff
        Last session seen.
    identity, environment
        What its key is a digest of, and what lay between data and forecast when it was made.
    problem, limit
        Why there is no fit, empty where there is one; the limit of ours that ended it, if one did.
    saved
        The arm kept its state, so later nights go on with it.
    files
        Digests of its files by name below its folder, without logs.
    training
        None for an arm that does not learn.
    """

    __pydantic_config__ = _NO_OTHER_KEYS

    cutoff: str
    identity: Mapping[str, Any]
    environment: Mapping[str, Any]
    problem: str = ""
    limit: Limit | None = None
    saved: bool = False
    files: Mapping[str, str] = field(default_factory=dict)
    training: TrainingFacts | None = None
    card: Mapping[str, str] = field(default_factory=dict)
    spent: ProcessCosts = field(default_factory=ProcessCosts)

    def state(self, key: str) -> str:
        """Digest of what the arm saved; its own key where it saved nothing."""
        saved = {name: found for name, found in self.files.items() if name.startswith("state/")}
        return digest(saved) if saved else key


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """The record of a part.

    Attributes
    ----------
    fit
        Key of its fit.
    file
        Digest of the file.
    cutoffs, digests, issued_at
        By origin: last session seen, digest of the forecast, UTC time it was made.
    records
        By origin: digest of what a log that is played back held; empty for any other arm.
    horizon, gap
        Of the plan it was made for.
    rows
        Digest of the rows visible at its last origin.
    failed, by_fallback
        Cutoffs of origins the arm itself has no forecast for, and of those its fallback answered.
    first_reason
        Why the arm has none for the first of them.
    device
        What the arm computed on, which need not be what its fit was made on; '' where it does not
        say.
    limit
        The limit of ours that ended it, if one did.
    replaces
        Keys of the parts that were merged into it.
    """

    __pydantic_config__ = _NO_OTHER_KEYS

    fit: str
    file: str
    cutoffs: tuple[str, ...]
    digests: tuple[str, ...]
    issued_at: tuple[str, ...]
    horizon: int
    gap: int
    rows: str
    form: str
    levels: tuple[float, ...]
    residual_distribution: bool
    failed: tuple[str, ...]
    by_fallback: tuple[str, ...]
    first_reason: str
    environment: Mapping[str, Any]
    device: str = ""
    limit: Limit | None = None
    spent: ProcessCosts = field(default_factory=ProcessCosts)
    replaces: tuple[str, ...] = ()
    records: tuple[str, ...] = ()


@dataclass(slots=True)
class _Index:
    """Records of fits and parts, taken in as they come."""

    seen: int = 0
    head: str = ""
    fits: dict[str, StoredFit] = field(default_factory=dict)
    parts: dict[str, dict[str, Seal]] = field(default_factory=dict)  # fit -> key -> seal
    events: dict[str, dict[str, Any]] = field(default_factory=dict)  # of maintenance, by line
    sound: dict[str, tuple[str, int, int, int]] = field(default_factory=dict)  # as last hashed
    found: dict[int, tuple[object, Any]] = field(default_factory=dict)  # by id, with its owner

    def take_in(self, record: Record, text: bytes) -> None:
        self.found.clear()
        where = str(record)
        if record.kind == "fit":
            self.fits[record.key] = parse_record(StoredFit, text, where=where)
        elif record.kind == "maintenance":
            self.events[record.key] = parse_json(text, where=where)
        elif record.kind == "drop":
            self.fits.pop(record.key, None)
            for known in self.parts.values():
                known.pop(record.key, None)
        else:
            seal = parse_record(Seal, text, where=where)
            known = self.parts.setdefault(seal.fit, {})
            for key in (record.key, *seal.replaces):
                known.pop(key, None)
            known[record.key] = seal


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A folder of results, and the journal of its records. Make one with `open_store`."""

    root: Path
    journal: Journal
    _index: _Index = field(default_factory=_Index, repr=False, compare=False)

    # -- fits and parts ----------------------------------------------------------------------

    def fit(self, key: str) -> StoredFit | None:
        """The record of a fit."""
        return self._indexed().fits.get(key)

    def fits(self) -> dict[str, StoredFit]:
        """Records of all fits by key."""
        return dict(self._indexed().fits)

    def parts(self) -> dict[str, Seal]:
        """Seals of all parts by key."""
        return {
            key: seal for known in self._indexed().parts.values() for key, seal in known.items()
        }

    def seals(self, fit: str) -> dict[str, Seal]:
        """Seals of a fit's parts by key, the oldest first; dropped and merged ones are out."""
        return dict(self._indexed().parts.get(fit, {}))

    def _indexed(self) -> _Index:
        """Take in what was written since; every record is read once."""
        head = self.journal.head
        if head == self._index.head:
            return self._index
        fresh = self.journal.after(self._index.seen, kinds=("fit", "part", "drop", "maintenance"))
        for record, text in zip(fresh, self.journal.texts(fresh), strict=True):
            self._index.take_in(record, text)
            self._index.seen = record.seq
        self._index.head = head
        return self._index

    def once(self, owner: object, find: Callable[[], _Found]) -> _Found:
        """What was found of something, until fits or parts are written, dropped or merged."""
        known = self._indexed().found
        if id(owner) not in known:
            known[id(owner)] = (owner, find())
        found: _Found = known[id(owner)][1]
        return found

    def fit_folder(self, key: str) -> Path:
        """Where a fit's files lie."""
        return self.root / "fits" / key

    def part_file(self, key: str) -> Path:
        """Where a part's file lies."""
        return self.root / "parts" / f"{key}.parquet"

    def fit_damage(self, key: str) -> str:
        """What of a fit's files is not what was sealed; empty where all is."""
        known = self.fit(key)
        for name, wanted in (known.files if known else {}).items():
            file = self.fit_folder(key) / name
            try:
                if file_digest(file) != wanted:
                    return f"{file}: is not what was sealed"
            except OSError as problem:
                return f"{file}: cannot be read: {problem.strerror}"
        return ""

    def part_damage(self, key: str, seal: Seal) -> str:
        """Why a part's file is not what was sealed; empty where it is."""
        try:
            self._sound(key, seal)
        except StoreError as problem:
            return str(problem)
        return ""

    def _sound(self, key: str, seal: Seal, content: bytes | None = None) -> None:
        """Raise unless a part's file is what was sealed; one that has not moved is hashed once."""
        file = f"{self.root}/parts/{key}.parquet"  # a path takes longer to make than to look at
        try:
            status = os.stat(file)  # noqa: PTH116
            mark = (seal.file, status.st_ino, status.st_size, status.st_mtime_ns)
            if self._index.sound.get(key) == mark:
                return
            found = bytes_digest(Path(file).read_bytes() if content is None else content)
        except OSError as problem:
            raise StoreError(f"{file}: cannot be read: {problem.strerror}") from None
        if found != seal.file:
            raise StoreError(f"{file}: is not what was sealed")
        self._index.sound[key] = mark

    def read_sealed(self, key: str, seal: Seal) -> Part:
        """Read a part, held against its seal.

        Raises
        ------
        StoreError
            When its file is missing, or not what was sealed.
        """
        file = self.part_file(key)
        try:
            content = file.read_bytes()
        except OSError as problem:
            raise StoreError(f"{file}: cannot be read: {problem.strerror}") from None
        self._sound(key, seal, content)
        part = read_part(file, content)
        if tuple(map(str, part.cutoff)) != seal.cutoffs:
            raise StoreError(f"{file}: holds origins other than its seal says")
        return part

    def put_part(self, key: str, content: bytes) -> None:
        """Put a part's file into place, flushed, inside the transaction that seals it."""
        with self._draft() as folder:
            draft = folder / key
            draft.write_bytes(content)
            _flush(draft)
            draft.replace(self.part_file(key))
        _flush(self.part_file(key).parent)

    @contextmanager
    def drafted(self, files: Mapping[str, bytes]) -> Iterator[Path]:
        """Write files of a fit, flushed, where `put_fit` and `add_files` take them from.

        It is done before the transaction: what is large must not keep other hosts waiting.
        """
        with self._draft() as folder:
            drafted = folder / "fit"
            drafted.mkdir(mode=0o755)
            for name, content in files.items():
                file = drafted / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
                _flush(file)
            if files:
                _flush(drafted)
            yield drafted

    def put_fit(self, key: str, drafted: Path) -> None:
        """Put a fit's files into place as a whole, inside the transaction that seals them."""
        target = self.fit_folder(key)
        with suppress(FileNotFoundError):
            target.rename(drafted.with_name("former"))
        drafted.rename(target)
        _flush(target.parent)

    def add_files(self, key: str, drafted: Path) -> None:
        """Put more files beside a fit's, inside the transaction that seals them; logs need none."""
        folder = self.fit_folder(key)
        if added := list(drafted.iterdir()):
            folder.mkdir(exist_ok=True)
            for file in added:
                file.replace(folder / file.name)
            _flush(folder)

    def seal(self, fit_key: str, fit: StoredFit | None, key: str, seal: Seal) -> None:
        """Record a part, and its fit where that is new, in one transaction."""
        with self.journal.writing():
            if fit is not None:
                self.journal.append("fit", fit_key, dataclasses.asdict(fit))
            self.journal.append("part", key, dataclasses.asdict(seal), alone=True)

    @contextmanager
    def _draft(self) -> Iterator[Path]:
        """A folder to write into, swept when this process is gone."""
        folder = Path(tempfile.mkdtemp(prefix=owner_mark(), dir=self.root / "tmp"))
        try:
            yield folder
        except OSError as problem:  # what a full disk refuses while it is written has no name
            if problem.filename is None:
                said = problem.strerror or problem
                raise StoreError(f"{self.root}: store cannot be written: {said}") from None
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def results(self, line: str) -> str:
        """What the results of a line began with, where they began anew; '' where they did not."""
        known = self.maintenance(line)
        return str(known["results"]) if known else ""

    def maintenance(self, line: str) -> Mapping[str, Any] | None:
        """What the last maintenance event of a line found; None where there was none."""
        return self._indexed().events.get(line)

    # -- origins -----------------------------------------------------------------------------

    def cutoffs(self, anchor: Mapping[str, object]) -> Dates:
        """Cutoffs recorded for a plan on a dataset, in order."""
        known = self.journal.latest("anchor", digest(anchor)) or {"cutoffs": []}
        return np.array(known["cutoffs"], dtype="datetime64[D]")

    def record_cutoffs(self, anchor: Mapping[str, object], cutoffs: Dates) -> None:
        """Add what is new of a plan's cutoffs; those recorded before stay what they are.

        Raises
        ------
        StoreError
            When another process has recorded others meanwhile.
        """
        with self.journal.writing():
            known = self.cutoffs(anchor)
            both = min(len(known), len(cutoffs))
            if not np.array_equal(known[:both], cutoffs[:both]):
                raise StoreError(
                    f"{self.root}: another process has recorded other origins for this plan "
                    "in the meantime; run the command again"
                )
            if len(cutoffs) > len(known):
                body = {**anchor, "cutoffs": [str(day) for day in cutoffs]}
                self.journal.append("anchor", digest(anchor), body)

    # -- other files -------------------------------------------------------------------------

    def verdict_folder(self, name: str) -> Path:
        """Where the verdict of an experiment lies."""
        return self.root / "verdicts" / name

    def sweep(self) -> None:
        """Remove what killed processes of this host left in `tmp/`, and drafts a day old."""
        for folder in (self.root / "tmp").iterdir():
            gone = is_left_over(folder.name)
            with suppress(FileNotFoundError):  # its owner has just removed it
                if gone or folder.stat().st_mtime < time.time() - 86400:
                    shutil.rmtree(folder, ignore_errors=True)
        for draft in (self.root / "scores").glob(".*"):
            if draft.stat().st_mtime < time.time() - 86400:
                draft.unlink(missing_ok=True)
        for half in (self.root / INCOMING).glob(".*"):
            with suppress(FileNotFoundError):  # its owner has just removed it
                if half.stat().st_mtime < time.time() - 86400:
                    half.unlink() if half.is_file() else shutil.rmtree(half, ignore_errors=True)


def bytes_digest(content: bytes) -> str:
    """Hash of a file's content."""
    return hashlib.sha256(content).hexdigest()


def is_store(root: Path) -> bool:
    """Whether there is a store, whole or not, of this version or not."""
    return any((root / name).exists() for name in (FILE, "store.json", *RESULTS))


def open_store(root: Path, *, create: bool = True, without_records: bool = False) -> Store:
    """Open a store, making it when it is not there.

    Without `create`, one that cannot be written is opened for reading.

    Parameters
    ----------
    without_records
        Begin new records where there are results without any.

    Raises
    ------
    StoreError
        When the folder cannot be written, is no store, is damaged or of another version.
    """
    if (root / "store.json").is_file():
        raise StoreError(
            f"{root}: this store was made by an older abharness, whose results cannot be read; "
            "remove it, or name another folder with --store"
        )
    if not (root / FILE).exists():
        left = any((root / name).is_dir() and any((root / name).iterdir()) for name in RESULTS)
        if left and not without_records:
            raise DamagedRecordsError(
                f"{root}: results without their records ({FILE} is not there); put it back, or "
                "run `abharness store adopt EXPERIMENT --why`"
            )
        if not create:
            raise StoreError(f"{root}: no store here (no {FILE}); `abharness run` makes one")
    journal = Journal.open(root, create=create)
    if not journal.read_only:
        try:
            for name in (*RESULTS, "scores", "verdicts", "tmp", INCOMING):
                (root / name).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=root / "tmp"):
                pass
        except OSError as problem:
            raise StoreError(f"{root}: store cannot be written: {problem.strerror}") from None
    elif create:
        raise StoreError(f"{root}: store cannot be written: it is read-only")
    return Store(root=root, journal=journal)


def write_text(path: Path, text: str) -> None:
    """Write text atomically, flushed to disk.

    Raises
    ------
    StoreError
        When the system refuses it, or no file can hold the text.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            os.fchmod(handle, 0o644)  # temporary files are private by default
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as problem:
        raise StoreError(f"{path}: cannot be written: {problem.strerror or problem}") from problem
    except UnicodeEncodeError as problem:
        raise StoreError(f"{path}: cannot be written: {problem}") from problem


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
