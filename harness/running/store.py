"""The folder that holds every result: whole records only, found by what they depend on.

::

    records.sqlite              every record that is not listed below: see `harness.records.journal`
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

import dataclasses
import json
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.errors import NewerRecordError, StoreError, one_line
from harness.forecast import Forecast
from harness.parsing import parse_json
from harness.records.journal import FILE, Journal
from harness.running.identity import machine
from harness.running.sources import file_digest
from harness.running.unit import Job, UnitResult
from harness.window import Array, Dates, Rows

if TYPE_CHECKING:
    import pyarrow as pa


SCHEMA = 1
RESULTS = ("units",)
"""Folders of what took a model to make."""
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
    """A folder of results, and the journal of its records. Make one with `open_store`."""

    root: Path
    journal: Journal

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


def is_store(root: Path) -> bool:
    """Whether there is a store, whole or not, of this version or not."""
    return any((root / name).exists() for name in (FILE, "store.json", *RESULTS))


def open_store(root: Path, *, create: bool = True) -> Store:
    """Open a store, making it when it is not there.

    Without `create`, one that cannot be written is opened for reading.

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
        if any((root / name).is_dir() and any((root / name).iterdir()) for name in RESULTS):
            raise StoreError(
                f"{root}: results without their records ({FILE} is not there); put it back, or "
                "run `abharness store adopt --why`"
            )
        if not create:
            raise StoreError(f"{root}: no store here (no {FILE}); `abharness run` makes one")
    journal = Journal.open(root, create=create)
    if not journal.read_only:
        try:
            for name in ("grids", *RESULTS, "scores", "verdicts", "tmp"):
                (root / name).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=root / "tmp"):
                pass
        except OSError as problem:
            raise StoreError(f"{root}: store cannot be written: {problem.strerror}") from None
    elif create:
        raise StoreError(f"{root}: store cannot be written: it is read-only")
    return Store(root=root, journal=journal)


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
        found = parse_json(path.read_bytes(), where=f"{path}: cannot be read")
    except FileNotFoundError:
        raise StoreError(f"{path}: no such record") from None
    except OSError as problem:
        raise StoreError(f"{path}: cannot be read: {problem.strerror}") from None
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


class TornTableError(StoreError):
    """A table is missing or torn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredUnit:
    """A unit as read from the store.

    Attributes
    ----------
    record
        `unit.json`.
    origin : [W]
    last_date : [W]
        Date of the last session seen.
    reason
        W texts, empty where the window has a forecast.
    forecast
        NaN in failed windows; its `fallback` says which windows the arm's fallback answered.
    """

    record: dict[str, Any]
    origin: Rows
    last_date: Dates
    reason: tuple[str, ...]
    forecast: Forecast


def write_unit(folder: Path, job: Job, outcome: UnitResult, identity: Mapping[str, Any]) -> None:
    """Write a unit's files into a folder; `unit.json` comes last, with digests of the tables."""
    write_table(folder / "attempts.parquet", _attempt_columns(job, outcome))
    write_table(folder / "forecasts.parquet", _forecast_columns(outcome))
    if outcome.fits:
        write_table(folder / "curve.parquet", _curve_columns(outcome))
    if outcome.trace:
        (folder / "traceback.txt").write_text(outcome.trace, encoding="utf-8")
    record = _record(job, outcome, identity) | {"files": _digests(folder)}
    text = json.dumps(record, indent=1, sort_keys=True, allow_nan=False)
    (folder / "unit.json").write_text(text + "\n", encoding="utf-8")


def _digests(folder: Path) -> dict[str, str]:
    return {file.name: file_digest(file) for file in sorted(folder.glob("*.parquet"))}


def expect_as_written(folder: Path, record: Mapping[str, Any]) -> dict[str, str]:
    """Hold a unit's tables against its record, and give their digests by file.

    Raises
    ------
    StoreError
        When one is missing, or is not what was written with the record, or an older abharness
        wrote it without digests.
    """
    written = record.get("files", {})
    if not written:
        raise StoreError(
            f"{folder}: was written by an older abharness; remove it and run `abharness run` again"
        )
    found: dict[str, str] = {}
    for name in dict.fromkeys([*UNIT_FILES, *written]):
        try:
            found[name] = file_digest(folder / name)
        except OSError as problem:
            raise StoreError(f"{folder / name}: cannot be read: {problem.strerror}") from None
        if name in written and found[name] != written[name]:
            raise StoreError(f"{folder / name}: is not what was written with the unit")
    return found


def read_unit(folder: Path) -> StoredUnit:
    """Read a unit's files.

    Raises
    ------
    StoreError
        When one is missing, torn or not what was written.
    """
    record = read_record(folder / "unit.json")
    expect_as_written(folder, record)
    attempts = read_table(folder / "attempts.parquet")
    rows = read_table(folder / "forecasts.parquet")
    shape = (record["windows"], record["horizon"])
    if attempts.num_rows != shape[0] or rows.num_rows != shape[0] * shape[1]:
        raise StoreError(
            f"{folder}: {attempts.num_rows} attempts and {rows.num_rows} forecast rows "
            f"for {shape[0]} windows of {shape[1]} steps"
        )
    if not np.array_equal(column(rows, "window"), np.repeat(np.arange(shape[0]), shape[1])):
        raise StoreError(f"{folder}: forecast rows are not in the order of their windows")
    return StoredUnit(
        record=record,
        origin=column(attempts, "origin"),
        last_date=column(attempts, "last_date"),
        reason=tuple(column(attempts, "reason").tolist()),
        forecast=dataclasses.replace(_forecast(rows, record, shape), fallback=_fallback(attempts)),
    )


def read_curve(folder: Path) -> dict[str, Array]:
    """Read a unit's training curve as columns; empty for arms that do not learn."""
    file = folder / "curve.parquet"
    if not file.is_file():
        return {}
    rows = read_table(file)
    return {name: column(rows, name) for name in rows.column_names}


def _record(job: Job, outcome: UnitResult, identity: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "identity": dict(identity),
        "windows": len(job.windows),
        "horizon": job.windows.horizon,
        "form": outcome.form,
        "levels": outcome.levels.tolist(),
        "residual_distribution": outcome.residual_distribution,
        "failed": sum(1 for reason in outcome.failures if reason),
        "first_reason": next(filter(None, outcome.failures), ""),
        "answered_by_fallback": sum(1 for text in outcome.fallback if text),
        "fits": [
            {
                "origin": fit.origin,
                "epochs": len(fit.training.curve),
                "best_epoch": fit.training.best_epoch,
                "diverged": fit.training.diverged,
            }
            for fit in outcome.fits
        ],
        "card": outcome.card,
        "seconds": outcome.meter.seconds,
        "peak_bytes": outcome.meter.peak_bytes,
        "machine": machine(),
    }


def _attempt_columns(job: Job, outcome: UnitResult) -> dict[str, Any]:
    windows = job.windows
    columns = {
        "window": np.arange(len(windows), dtype=np.int32),
        "origin": windows.origin,
        "last_date": job.series.dates[windows.origin - 1],
        "fitted_at": windows.fitted_at,
        "status": _status(outcome),
        "reason": outcome.reason,
    }
    return columns | ({"fallback": outcome.fallback} if outcome.fallback else {})


def _status(outcome: UnitResult) -> list[str]:
    """Of each window: ``ok``, ``failed``, or ``fallback`` where the arm's fallback answered."""
    flags = outcome.fallback or [""] * len(outcome.reason)
    return [
        "failed" if reason else "fallback" if flag else "ok"
        for reason, flag in zip(outcome.reason, flags, strict=True)
    ]


def _forecast_columns(outcome: UnitResult) -> dict[str, Any]:
    count, horizon = outcome.point.shape
    columns: dict[str, Any] = {
        "window": np.repeat(np.arange(count, dtype=np.int32), horizon),
        "step": np.tile(np.arange(1, horizon + 1, dtype=np.int32), count),
        "point": outcome.point.reshape(-1),
    }
    if outcome.values is None:
        return columns
    names, values = _named_values(outcome)
    by_column = np.ascontiguousarray(values.reshape(count * horizon, -1).T)
    return columns | dict(zip(names, by_column, strict=True))


def _named_values(outcome: UnitResult) -> tuple[list[str], Array]:
    """Names of the columns, and their values [W, H, columns]."""
    assert outcome.values is not None
    if outcome.form == "gaussian":
        return ["deviation"], outcome.values[..., None]
    if outcome.form == "quantiles":
        return [f"q{level:g}" for level in outcome.levels], outcome.values
    values = outcome.values.transpose(0, 2, 1)
    return [f"s{number}" for number in range(values.shape[-1])], values


def _curve_columns(outcome: UnitResult) -> dict[str, Any]:
    rows = [(fit.origin, epoch) for fit in outcome.fits for epoch in fit.training.curve]
    names = ("epoch", "train_loss", "validation_loss", "learning_rate", "gradient_norm")
    columns: dict[str, Any] = {"fitted_at": np.array([row[0] for row in rows], dtype=np.int64)}
    for name in names:
        columns[name] = np.array([float(getattr(row[1], name)) for row in rows])
    return columns


def _forecast(rows: pa.Table, record: Mapping[str, Any], shape: tuple[int, int]) -> Forecast:
    point = column(rows, "point").reshape(shape)
    names = [name for name in rows.column_names if name not in ("window", "step", "point")]
    if not names:
        return Forecast.of_point(point)
    values = np.empty((*shape, len(names)))
    for number, name in enumerate(names):
        values[..., number] = column(rows, name).reshape(shape)
    if record["form"] == "samples":
        return Forecast.of_samples(values.transpose(0, 2, 1), point)
    if record["form"] == "gaussian":
        return Forecast.of_gaussian(point, values[..., 0])
    return Forecast.of_quantiles(values, np.array(record["levels"]), point)


def _fallback(attempts: pa.Table) -> tuple[str, ...]:
    """Why the fallback answered each window; empty in units of arms without one."""
    known = "fallback" in attempts.column_names
    return tuple(column(attempts, "fallback").tolist()) if known else ()


def write_table(
    path: Path, columns: Mapping[str, Any], *, facts: Mapping[str, str] | None = None
) -> None:
    """Write columns as Parquet, atomically; `facts` go into the file's own metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({name: _arrow(values) for name, values in columns.items()})
    if facts:
        table = table.replace_schema_metadata(dict(facts))
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    # forecasts are noise to a compressor: plain pages are as small and written faster
    pq.write_table(table, draft, use_dictionary=False, compression="none", write_statistics=False)
    draft.replace(path)


def _arrow(values: npt.NDArray[Any] | Sequence[str]) -> pa.Array:
    """Numbers or dates as Arrow sees them, over the same memory; texts copied."""
    import pyarrow as pa

    if not isinstance(values, np.ndarray):
        raw = [text.encode(errors="backslashreplace") for text in values]
        ends = np.cumsum([0, *map(len, raw)], dtype=np.int32)
        return pa.StringArray.from_buffers(
            len(raw), pa.py_buffer(ends), pa.py_buffer(b"".join(raw))
        )
    kind = pa.from_numpy_dtype(values.dtype)
    if values.dtype.kind == "M":
        kind, values = pa.date32(), values.astype("datetime64[D]").astype(np.int32)
    return pa.Array.from_buffers(
        kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))]
    )


def column(rows: pa.Table, name: str) -> npt.NDArray[Any]:
    """A column of a table as `write_table` was given it; texts as objects."""
    import pyarrow as pa

    values = rows[name].combine_chunks()
    if pa.types.is_string(values.type):
        return np.array(values.to_pylist(), dtype=object)
    if pa.types.is_date32(values.type):
        return np.from_dlpack(values.view(pa.int32())).astype("datetime64[D]")
    return np.from_dlpack(values)


def read_table(path: Path) -> pa.Table:
    """Read a Parquet file.

    Raises
    ------
    TornTableError
        When it is missing or torn.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            found = file.read()
    except (OSError, pa.ArrowException) as problem:
        raise TornTableError(f"{path}: cannot be read: {one_line(str(problem))[:300]}") from None
    twice = {name for name in found.column_names if found.column_names.count(name) > 1}
    if twice:
        raise TornTableError(f"{path}: columns are there twice: {', '.join(sorted(twice))}")
    return found
