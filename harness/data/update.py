"""Append sessions to a dataset: rows that are there must agree with the file, or nothing changes.

The new data file gets a name of its own, ``ID.LAST-SESSION.csv``, and the manifest that names it
is put in place whole: a reader has the old dataset or the new one, whatever happens meanwhile.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from datetime import date as Date  # `date` is the name of an argument here
from pathlib import Path

import numpy as np

from harness.data import tables
from harness.data.building import Built, ImportOptions, build_series
from harness.data.dataset import (
    Dataset,
    builtin_folder,
    facts_of,
    find,
    quirks_of,
    read_dataset,
)
from harness.data.importer import csv_bytes
from harness.data.manifest import Columns, Manifest, manifest_text, write_whole
from harness.data.numbers import step_of
from harness.data.oddities import count_text, oddities
from harness.errors import DataError
from harness.window import Array, Series

_COARSEST = 1e-3  # of a price: rows printed more coarsely than this cannot be compared
_LISTED = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Updated:
    """What an update did, or would do.

    Attributes
    ----------
    manifest
        What is promised about the dataset now.
    path
        Its file; None where nothing was written.
    added
        Sessions that are new.
    series
        All sessions.
    notes, warnings
        What was understood, and what is allowed but worth knowing; one sentence each.
    """

    manifest: Manifest
    path: Path | None
    added: int
    series: Series
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    def lines(self) -> Iterator[tuple[str, str]]:
        """What was understood, for people: titles and texts in order."""
        new = f"{count_text(self.added, 'session')}"
        span = (
            f", {self.series.dates[-self.added]} to {self.series.dates[-1]}" if self.added else ""
        )
        yield "dataset", self.manifest.id
        yield "new", new + span
        yield from facts_of(self.series).items()
        yield "understood", "\n".join(self.notes) or "nothing special"
        yield "warnings", "\n".join(self.warnings) or "none"


def update_file(
    dataset_id: str,
    path: Path,
    *,
    folders: Sequence[Path],
    date: str | None = None,
    target: str | None = None,
    past: Sequence[str] = (),
    options: ImportOptions | None = None,
    raw: bytes | None = None,
    dry_run: bool = False,
    today: Date | None = None,
) -> Updated:
    """Append the sessions of a file that come after the dataset's last.

    Calendar and season stay what they were at import, and so do all rows that are there.

    Parameters
    ----------
    dataset_id
        A dataset in one of `folders`.
    path, options, raw, today
        As in `import_file`.
    date, target, past
        Names in the file; left out, as at import.
    dry_run
        Write nothing.

    Raises
    ------
    DataError
        When the dataset is a built-in one, the file has faults, or rows that are there differ from
        the file by more than what is printed: the rows are named and nothing changes.
    """
    place = find(dataset_id, folders)
    if place.parent.resolve() == builtin_folder().resolve():
        hint = "it ends where it ends; import a file of your own under another id"
        raise DataError(f"{dataset_id} comes with abharness: {hint}")
    options = options or ImportOptions()
    raw = tables.read_bytes(path) if raw is None else raw
    today = today or datetime.now(UTC).date()
    with _alone(place.parent):
        dataset = read_dataset(place)
        names = _columns(dataset.manifest, date, target, past)
        calendar = (dataset.series.weekmask, dataset.series.season)
        found = build_series(path, raw, names, options, today=today, calendar=calendar)
        if len(found) != 1:
            raise DataError(f"{path}: {len(found)} series; --series NAME takes one")
        said = _agreeing(path, dataset, found[0])
        updated = _joined(dataset, found[0], said)
        if dry_run or not updated.added:
            return updated
        return replace(updated, path=_store(place, dataset, updated))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other updates of the folder away; the lock ends with this process at the latest."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{folder}: another update is running here; wait for its end") from None
        yield
    finally:
        os.close(handle)


def _columns(
    manifest: Manifest, date: str | None, target: str | None, past: Sequence[str]
) -> Columns:
    known = manifest.columns
    if past and len(past) != len(known.past):
        wanted = f"{len(known.past)} as at import ({', '.join(known.past) or 'none'})"
        raise DataError(f"--past: {len(past)} columns; expected {wanted}")
    return Columns(
        date=known.date if date is None else date,
        target=known.target if target is None else target,
        past=tuple(past) or known.past,
    )


def _agreeing(path: Path, dataset: Dataset, built: Built) -> list[str]:
    """What to say of the rows that both have.

    Raises
    ------
    DataError
        When one is not the same, or only one of both has it.
    """
    old, new = dataset.series, built.series
    first, last = old.dates[0], old.dates[-1]
    said = []
    if earlier := int((new.dates < first).sum()):
        said.append(f"{count_text(earlier, 'session')} before {first}, where it starts, left out.")
    common, ours, theirs = np.intersect1d(old.dates, new.dates, return_indices=True)
    within = (new.dates >= first) & (new.dates <= last)
    covered = (old.dates >= new.dates[0]) & (old.dates <= new.dates[-1])
    problems = [
        *(
            f"{built.places[row]}: {new.dates[row]} is in the file only"
            for row in np.flatnonzero(within & ~np.isin(new.dates, common)).tolist()
        ),
        *(
            f"{old.dates[row]} is in the dataset only"
            for row in np.flatnonzero(covered & ~np.isin(old.dates, common)).tolist()
        ),
    ]
    names = dataset.manifest.columns.names[1:]
    before, after = _values(old)[:, ours], _values(new)[:, theirs]
    steps = [
        max(step_of(column), step) for column, step in zip(_values(old), built.steps, strict=True)
    ]
    for column, name in enumerate(names):
        bound = 0.5 * steps[column] * (1 + 1e-6) + 1e-12 * np.abs(before[column])
        if not column:
            bound = np.minimum(bound, _COARSEST * np.abs(before[column]))
        for row in np.flatnonzero(~(np.abs(after[column] - before[column]) <= bound)).tolist():
            values = f"{before[column, row]!s} became {after[column, row]!s}"
            place = built.places[int(theirs[row])]
            problems.append(f"{place}: {name} of {common[row]}, {values}")
    if problems:
        listed = "; ".join(problems[:_LISTED])
        more = f"; and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
        raise DataError(
            f"{path}: {count_text(len(problems), 'difference')} from the rows that dataset "
            f"'{dataset.id}' has, nothing was changed: {listed}{more}"
        )
    if not common.size:
        return [*said, "The file has no session of the dataset: old rows could not be compared."]
    return [*said, f"{count_text(int(common.size), 'old session')} agree with the file."]


def _values(series: Series) -> Array:
    """Target and covariates, [1 + C, N]."""
    return np.vstack([series.target[None, :], series.past.T])


def _joined(dataset: Dataset, built: Built, said: Sequence[str]) -> Updated:
    old, new = dataset.series, built.series
    rows = np.flatnonzero(new.dates > old.dates[-1])
    series = replace(
        old,
        dates=np.append(old.dates, new.dates[rows]),
        target=np.append(old.target, new.target[rows]),
        past=np.vstack([old.past, new.past[rows]]),
    )

    def at(row: int) -> str:
        return built.places[int(rows[row - len(old)])] if row >= len(old) else f"row {row + 1}"

    content = csv_bytes(series, dataset.manifest.columns)
    kept = [text for text in dataset.manifest.quirks if text not in quirks_of(old)]
    last = series.dates[-1].item()
    manifest = replace(
        dataset.manifest,
        file=f"{dataset.id}.{last}.csv",
        sha256=hashlib.sha256(content).hexdigest(),
        rows=len(series),
        last=last,
        quirks=tuple(dict.fromkeys((*quirks_of(series), *kept))),
    )
    return Updated(
        manifest=manifest if len(rows) else dataset.manifest,
        path=None,
        added=len(rows),
        series=series,
        notes=(*built.notes, *said),
        warnings=tuple(oddities(series, at)),
    )


def _store(place: Path, dataset: Dataset, updated: Updated) -> Path:
    """Write the new data beside the old, then the manifest; then the old data may go."""
    file = place.parent / updated.manifest.file
    if file.with_suffix(".toml").exists():
        raise DataError(f"{file}: the name belongs to dataset '{file.stem}'; rename that one")
    content = csv_bytes(updated.series, updated.manifest.columns)
    try:
        write_whole(file, content)
        write_whole(place, manifest_text(updated.manifest).encode(errors="replace"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{place}: cannot be written: {reason}") from None
    ours = rf"{re.escape(dataset.id)}(?:\.[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})?\.csv"
    if re.fullmatch(ours, dataset.path.name) and dataset.path != file:
        dataset.path.unlink(missing_ok=True)
    return place
