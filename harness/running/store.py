"""The folder that holds every result: whole records only, found by what they depend on.

::

    store.json                  {"schema": 1}
    grids/NAME.json             the declared grid of an experiment: every cell with its unit key
    units/KEY/unit.json         what was asked, what happened, timings, digests of its files
    units/KEY/attempts.parquet  one row per window: ok or failed, with the reason
    units/KEY/forecasts.parquet one row per window and step: point path, quantiles or samples
    units/KEY/curve.parquet     one row per fit and epoch, for arms that learn
    units/KEY/log.txt           what was printed while it was carried out
    scores/DIGEST.parquet       scores derived from a unit's forecasts
    verdicts/NAME/              verdict.json and what was rendered from it
    measures/CLASS/KEY.json     costs of a pair of units on a class of machine
    tmp/                        units being written; swept when no process owns them

Schema numbers: 1, the first.

A unit is written to `tmp/`, flushed to disk and renamed into place: it is there whole or not at
all. Two processes that finish the same unit write the same content; the second gives way. What was
damaged since is no unit, and gives way itself.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.errors import NewerRecordError, StoreError

SCHEMA = 1
UNIT_FILES = ("attempts.parquet", "forecasts.parquet")
"""Files every unit has; those from before files were listed in its record have no list."""
UNIT_FACTS: Mapping[str, type] = MappingProxyType(
    {
        "windows": int,
        "horizon": int,
        "form": str,
        "levels": list,
        "residual_distribution": bool,
        "failed": int,
        "first_reason": str,
        "fits": list,
        "card": dict,
        "machine": dict,
    }
)
"""What every unit's record says, of any schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A folder of results. Make one with `open_store`."""

    root: Path

    def unit_folder(self, key: str) -> Path:
        """Where the unit of that key lies, whether or not it is there."""
        return self.root / "units" / key

    def has_unit(self, key: str) -> bool:
        """Whether the unit is there, which means whole."""
        with suppress(StoreError):
            return self.holds(key)
        return False

    def holds(self, key: str) -> bool:
        """Whether the unit is there.

        Raises
        ------
        StoreError
            When there is something in its place that is not a whole unit of this version's.
        """
        folder = self.unit_folder(key)
        if not folder.is_dir():
            return False
        for name in self.unit(key).get("files", UNIT_FILES):
            if not (folder / name).is_file():
                raise StoreError(f"{folder / name}: no such file, so the unit is not whole")
        return True

    def unit(self, key: str) -> dict[str, Any]:
        """Read a unit's record.

        Raises
        ------
        StoreError
            When it is missing, torn or newer than this version.
        """
        file = self.unit_folder(key) / "unit.json"
        record = read_record(file)
        wanted = {**UNIT_FACTS, **({"files": dict} if "files" in record else {})}
        absent = [name for name, kind in wanted.items() if not isinstance(record.get(name), kind)]
        if absent:
            raise StoreError(f"{file}: not a whole record: it lacks {', '.join(absent)}")
        return record

    def verdict_folder(self, name: str) -> Path:
        """Where the verdict of an experiment lies."""
        return self.root / "verdicts" / name

    def grid_file(self, name: str) -> Path:
        """Where the declared grid of an experiment lies."""
        return self.root / "grids" / f"{name}.json"

    def score_file(self, key: str) -> Path:
        """Where derived scores lie."""
        return self.root / "scores" / f"{key}.parquet"

    def draft(self) -> Path:
        """Make a folder to write a unit into, for `adopt`; swept when this process is gone."""
        folder = Path(tempfile.mkdtemp(prefix=_owner(), dir=self.root / "tmp"))
        folder.chmod(0o755)  # a store may be shared; temporary folders are private by default
        return folder

    @contextmanager
    def new_unit(self, key: str) -> Iterator[Path]:
        """Give a folder to write a unit into; on leaving without an error it becomes the unit."""
        folder = self.draft()
        try:
            yield folder
            self.adopt(folder, key)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def adopt(self, folder: Path, key: str) -> None:
        """Flush a finished folder and rename it into place; give way to a whole one there."""
        for file in sorted(folder.iterdir()):
            _flush(file)
        _flush(folder)
        target = self.unit_folder(key)
        try:
            folder.rename(target)
        except OSError:
            if self._holds_for_good(key):
                return
            self.discard(key)
            folder.rename(target)
        _flush(target.parent)

    def _holds_for_good(self, key: str) -> bool:
        """Whether the unit is there; what a newer version made is not ours to replace."""
        try:
            return self.holds(key)
        except NewerRecordError:
            raise
        except StoreError:
            return False

    def discard(self, key: str) -> None:
        """Remove a unit, so that it is computed again."""
        doomed = self.draft()
        with suppress(FileNotFoundError):
            self.unit_folder(key).rename(doomed / key)
        shutil.rmtree(doomed, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what killed processes of this host left in `tmp/`, and drafts a day old."""
        import psutil

        host = _owner().rpartition(".")[0]
        for folder in (self.root / "tmp").iterdir():
            owner, _, process = folder.name.partition("-")[0].rpartition(".")
            if owner == host and process.isdigit() and not psutil.pid_exists(int(process)):
                shutil.rmtree(folder, ignore_errors=True)
        for draft in (self.root / "scores").glob(".*"):
            if draft.stat().st_mtime < time.time() - 86400:
                draft.unlink(missing_ok=True)


def _owner() -> str:
    """Start of a temporary folder's name: which host and process writes it."""
    host = re.sub("[^A-Za-z0-9]", "", platform.node()) or "host"
    return f"{host}.{os.getpid()}-"


def open_store(root: Path, *, create: bool = True) -> Store:
    """Open a store, making it when it is not there.

    Raises
    ------
    StoreError
        When the folder cannot be written, is no store, or was made by a newer version.
    """
    marker = root / "store.json"
    if marker.is_file():
        read_record(marker)
    elif not create:
        raise StoreError(f"{root}: no store here (no store.json); `abharness run` makes one")
    try:
        for name in ("grids", "units", "scores", "verdicts", "tmp"):
            (root / name).mkdir(parents=True, exist_ok=True)
        if not marker.is_file():
            write_record(marker, {"schema": SCHEMA})
        with tempfile.TemporaryFile(dir=root / "tmp"):
            pass
    except OSError as problem:
        raise StoreError(f"{root}: store cannot be written: {problem.strerror}") from None
    return Store(root=root)


def write_record(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON so that a reader sees the old file or the whole new one."""
    write_text(path, json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text atomically, flushed to disk.

    Raises
    ------
    StoreError
        When the system refuses it, or no file can hold the text.
    """
    try:
        _write_text(path, text)
    except OSError as problem:
        raise StoreError(f"{path}: cannot be written: {problem.strerror or problem}") from problem
    except UnicodeEncodeError as problem:
        raise StoreError(f"{path}: cannot be written: {problem}") from problem


def _write_text(path: Path, text: str) -> None:
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


def read_record(path: Path, *, newest: int = SCHEMA) -> dict[str, Any]:
    """Read a JSON record of any schema up to the newest of its kind.

    Raises
    ------
    StoreError
        When it is missing, not JSON, or of a newer schema.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"{path}: no such record") from None
    except (OSError, ValueError) as problem:
        raise StoreError(f"{path}: cannot be read: {problem}") from None
    schema = found.get("schema") if isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(schema, int):
        raise StoreError(f"{path}: not a record of ours: it has no schema number")
    if schema > newest:
        raise NewerRecordError(
            f"{path}: made by a newer version: schema {schema}, this one reads up to {newest}"
        )
    return found


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
