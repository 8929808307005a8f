"""Make a user's file a dataset: a plain CSV and its manifest.

`reading` finds the table in the file, `dates` and `numbers` say what its cells mean, `building`
makes checked series of it, `oddities` warns; here they become datasets on disk.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from datetime import date as Date  # `date` is the name of an argument here
from pathlib import Path

from harness.data import tables
from harness.data.building import Built, ImportOptions, build_series
from harness.data.dataset import facts_of, quirks_of, read_dataset, search_folders
from harness.data.manifest import ID, Columns, Manifest, manifest_text, write_whole
from harness.errors import DataError
from harness.window import Series


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a manifest says of a series that no file tells; left out, file and column name it."""

    title: str | None = None
    unit: str | None = None
    source: str | None = None
    licence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """One dataset that was made of a file, or would be.

    Attributes
    ----------
    manifest
        What is promised about it.
    path
        The manifest's file; None after a dry run.
    built
        The series, with what was understood and what is odd about it.
    """

    manifest: Manifest
    path: Path | None
    built: Built

    def lines(self) -> Iterator[tuple[str, str]]:
        """What was understood, for people: titles and texts in order."""
        series = self.built.series
        yield "dataset", self.manifest.id
        first, last = f"{series.target[0]:.10g}", f"{series.target[-1]:.10g}"
        yield "target", f"{self.manifest.columns.target}, from {first} to {last}"
        yield "rows", f"{len(series)} of {self.built.read} in the file"
        yield from facts_of(series).items()
        yield "time zone", self.built.zone
        yield "understood", "\n".join(self.built.notes) or "nothing special"
        yield "warnings", "\n".join(self.built.warnings) or "none"


def import_file(
    path: Path,
    *,
    dataset_id: str,
    target: str,
    date: str,
    folder: Path,
    past: Sequence[str] = (),
    options: ImportOptions | None = None,
    about: About | None = None,
    folders: Sequence[Path] = (),
    raw: bytes | None = None,
    dry_run: bool = False,
    today: Date | None = None,
) -> tuple[Imported, ...]:
    """Check a file and write it into `folder` as a dataset, or as one a series.

    Parameters
    ----------
    path
        CSV and its relatives, Excel workbook, Parquet or Feather.
    dataset_id
        Letters, digits, ``_``, ``-`` and ``.``, not starting with a dot. With an id column of
        which no single series is asked for, the series' name is added to it.
    target, date, past
        Names of columns.
    folder
        Made when it is not there.
    options
        What is to be known about the file.
    about
        For the manifest.
    folders
        Other folders in which the id must be free.
    raw
        Content of the file; left out, it is read.
    dry_run
        Write nothing.
    today
        No session may lie after it; left out, the clock's.

    Returns
    -------
    tuple of Imported
        One, or one a series in the order of the file.

    Raises
    ------
    DataError
        One line naming file, line, column and value of every fault, or the file in the way.
    """
    options = options or ImportOptions()
    columns = Columns(date=date, target=target, past=tuple(past))
    _check_free(dataset_id, folder, folders)
    raw = tables.read_bytes(path) if raw is None else raw
    today = today or datetime.now(UTC).date()
    found = build_series(path, raw, columns, options, today=today)
    columns = Columns(date=date or "date", target=target, past=columns.past)
    single = not options.id_column or len(options.series) == 1
    names = [dataset_id] if single else _names(path, dataset_id, [built.name for built in found])
    drafts = []
    for name, built in zip(names, found, strict=True):
        _check_free(name, folder, folders)
        content = csv_bytes(built.series, columns)
        drafts.append((_manifest(name, built, columns, about or About(), path, content), content))
    return tuple(
        Imported(
            manifest=manifest,
            path=None if dry_run else _store(folder, manifest, content),
            built=built,
        )
        for (manifest, content), built in zip(drafts, found, strict=True)
    )


def csv_bytes(series: Series, columns: Columns) -> bytes:
    """The plain CSV of a series: ISO dates and the shortest text of each number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns.names)
    numbers = [series.target.tolist(), *series.past.T.tolist()]
    writer.writerows(
        (day, *map(repr, row))
        for day, *row in zip(series.dates.astype(str).tolist(), *numbers, strict=True)
    )
    return text.getvalue().encode()


def _check_free(dataset_id: str, folder: Path, folders: Sequence[Path]) -> None:
    if not ID.fullmatch(dataset_id):
        wanted = "letters, digits, '_', '-' and '.', no dot in front"
        raise DataError(f"id '{dataset_id}': expected {wanted}")
    for place in (*search_folders(folders), folder):
        if (taken := place / f"{dataset_id}.toml").exists():
            hint = f"take another id, or add sessions by 'abharness data update {dataset_id} FILE'"
            raise DataError(f"{taken}: dataset '{dataset_id}' is there already; {hint}")


def _names(path: Path, prefix: str, series: Sequence[str]) -> list[str]:
    """An id for each series: signs that no file name should have become ``_``."""
    names = [f"{prefix}-{re.sub('[^A-Za-z0-9_.-]+', '_', name) or '_'}" for name in series]
    for place, name in enumerate(names):
        if (first := names.index(name)) < place:
            both = f"'{series[first]}' and '{series[place]}'"
            raise DataError(
                f"{path}: series {both} would both be called '{name}'; --series takes one"
            )
    return names


def _manifest(
    name: str, built: Built, columns: Columns, about: About, path: Path, content: bytes
) -> Manifest:
    series = built.series
    return Manifest(
        schema=1,
        id=name,
        title=about.title or name,
        file=f"{name}.csv",
        sha256=hashlib.sha256(content).hexdigest(),
        rows=len(series),
        first=series.dates[0].item(),
        last=series.dates[-1].item(),
        source=about.source or f"imported from {path.name}",
        licence=about.licence or "not stated",
        unit=about.unit or built.unit or f"as in column {columns.target}",
        calendar=series.weekmask,
        season=series.season,
        columns=columns,
        quirks=(*quirks_of(series), *built.notes),
    )


def _store(folder: Path, manifest: Manifest, content: bytes) -> Path:
    """Write the data, then the manifest that makes it a dataset; read it back."""
    file, path = folder / manifest.file, folder / f"{manifest.id}.toml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if file.exists() and file.read_bytes() != content:
            raise DataError(f"{file}: in the way, and not written by an import; take another id")
        write_whole(file, content)
        write_whole(path, manifest_text(manifest).encode(errors="replace"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{folder}: cannot write dataset '{manifest.id}': {reason}") from None
    read_dataset(path)
    return path
