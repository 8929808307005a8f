"""Append sessions to a dataset: rows that are there must agree with the file, or nothing changes.

A revision changes them on request, and keeps the values that were there. The new data file gets a
name of its own, ``ID.LAST-SESSION.csv``, and the manifest that names it is put in place whole: a
reader has the old dataset or the new one, whatever happens meanwhile.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from datetime import date as Date  # `date` is the name of an argument here
from pathlib import Path

import numpy as np

from harness.data import tables
from harness.data.dataset import (
    Dataset,
    facts_of,
    find,
    is_built_in,
    load,
    quirks_of,
)
from harness.data.import_options import ImportOptions
from harness.data.importer import ImportedSeries, build_series, csv_bytes
from harness.data.manifest import (
    Columns,
    Manifest,
    RevisionsFile,
    write_dataset,
)
from harness.data.oddities import oddities
from harness.data.revisions import Agreement, Revision, agreement, revisions_bytes
from harness.data.tables import count_text
from harness.errors import DataError
from harness.window import Series

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
    revised
        Values that changed.
    series
        All sessions.
    form
        How columns, numbers and dates of the file were read, in a line.
    notes, warnings
        What was understood, and what is allowed but worth knowing; one sentence each.
    """

    manifest: Manifest
    path: Path | None
    added: int
    revised: tuple[Revision, ...]
    series: Series
    form: str
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
        if self.revised:
            texts = [
                f"{each.column} of {each.session}, {each.before!s} became {each.after!s}"
                for each in self.revised[:_LISTED]
            ]
            more = len(self.revised) - len(texts)
            yield "revised", "\n".join([*texts, *([f"and {more} more"] if more else [])])
        yield from facts_of(self.series).items()
        yield "read as", self.form
        yield "understood", "\n".join(self.notes) or "nothing special"
        yield "warnings", "\n".join(self.warnings) or "none"


def update_file(
    dataset_id: str,
    path: Path,
    *,
    folders: Sequence[Path],
    to: Path | None = None,
    date: str | None = None,
    target: str | None = None,
    past: Sequence[str] = (),
    options: ImportOptions | None = None,
    raw: bytes | None = None,
    revise: bool = False,
    dry_run: bool = False,
    today: Date | None = None,
) -> Updated:
    """Append the sessions of a file that come after the dataset's last.

    Calendar and season stay what they were at import, and so do all rows that are there, unless
    they are revised.

    Parameters
    ----------
    dataset_id
        A dataset in one of `folders`, or a built-in one, which is continued in `to`.
    path, options, raw, today
        As in `import_file`.
    to
        Where the continuation of a built-in dataset is written.
    date, target, past
        Names in the file; left out, as at import.
    revise
        Let values of sessions that are there change; the old ones are kept beside the dataset.
    dry_run
        Write nothing.

    Raises
    ------
    DataError
        When the file has faults, or rows that are there differ from the file by more than what is
        printed: the rows are named and nothing changes.
    """
    place = find(dataset_id, folders)
    bundled = is_built_in(place)
    if bundled and to is None:
        hint = "it is complete; name a folder for its continuation"
        raise DataError(f"{dataset_id} comes with abharness: {hint}")
    goal = to / place.name if bundled and to is not None else place
    options = options or ImportOptions()
    raw = tables.read_bytes(path) if raw is None else raw
    today = today or datetime.now(UTC).date()
    if bundled and not dry_run:
        goal.parent.mkdir(parents=True, exist_ok=True)
    with _alone(place.parent if dry_run else goal.parent):
        dataset = load(dataset_id, folders)
        known = dataset.manifest.columns
        if past and len(past) != len(known.past):
            wanted = f"{len(known.past)} as at import ({', '.join(known.past) or 'none'})"
            raise DataError(f"--past: {len(past)} columns; expected {wanted}")
        names = Columns(
            date=known.date if date is None else date,
            target=known.target if target is None else target,
            past=tuple(past) or known.past,
        )
        calendar = (dataset.series.weekmask, dataset.series.season)
        found = build_series(path, raw, names, options, today=today, calendar=calendar)
        if len(found) != 1:
            raise DataError(f"{path}: {len(found)} series; --series NAME takes one")
        compared, said = _agreeing(path, dataset, found[0], revise=revise)
        updated, files = _joined(dataset, found[0], compared, said, today, path)
        if dry_run or not files:
            return updated
        _store(goal, dataset, updated.manifest, files)
        return replace(updated, path=goal)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other updates of the folder away; the lock ends with this process at the latest."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"{folder}: another update is running here; wait until it ends"
            ) from None
        yield
    finally:
        os.close(handle)


def _agreeing(
    path: Path, dataset: Dataset, built: ImportedSeries, *, revise: bool
) -> tuple[Agreement, list[str]]:
    """How the rows that both have compare, and what to say of it.

    `DataError` when one is not the same and is not to be revised, or only one of both has it.
    """
    old = dataset.series
    found = agreement(old, built.series, place=built.places.__getitem__, steps=built.steps)
    if found.lonely or (found.changed and not revise):
        hint = "; --revise accepts changed values" if not found.lonely else ""
        raise DataError(
            f"{path}: {found.count_text} from the rows of dataset '{dataset.id}', so nothing "
            f"was written: {found.differences(old, dataset.manifest.columns.names[1:])}{hint}"
        )
    said = []
    if found.earlier:
        before = f"{count_text(found.earlier, 'session')} before {old.dates[0]}"
        said.append(f"{before}, where it starts, left out.")
    if not found.common:
        return found, [
            *said,
            "The file has no session of the dataset: old rows could not be compared.",
        ]
    fine = found.common - len({each.row for each in found.changed})
    return found, [*said, f"{count_text(fine, 'old session')} agree with the file."]


def _joined(
    dataset: Dataset,
    built: ImportedSeries,
    compared: Agreement,
    said: Sequence[str],
    today: Date,
    path: Path,
) -> tuple[Updated, dict[str, bytes]]:
    """What a dataset becomes, and the files that takes by name; none where nothing is new."""
    old, new, names = dataset.series, built.series, dataset.manifest.columns.names[1:]
    rows = np.flatnonzero(new.dates > old.dates[-1])
    revised = tuple(
        Revision(
            revised=today,
            session=old.dates[each.row].item(),
            column=names[each.column],
            before=each.before,
            after=each.after,
        )
        for each in compared.changed
    )
    target, past = old.target.copy(), old.past.copy()
    for each in compared.changed:
        if each.column:
            past[each.row, each.column - 1] = each.after
        else:
            target[each.row] = each.after
    series = replace(
        old,
        dates=np.append(old.dates, new.dates[rows]),
        target=np.append(target, new.target[rows]),
        past=np.vstack([past, new.past[rows]]),
    )

    def at(row: int) -> str:
        return built.places[int(rows[row - len(old)])] if row >= len(old) else f"row {row + 1}"

    manifest, files = dataset.manifest, dict[str, bytes]()
    if len(rows) or revised:
        data = csv_bytes(series, manifest.columns)
        record = revisions_bytes((*dataset.revisions, *revised)) if revised else None
        manifest = _promising(dataset, series, data, record, path)
        files = {manifest.file: data}
        if record is not None and manifest.revisions is not None:
            files[manifest.revisions.file] = record
    updated = Updated(
        manifest=manifest,
        path=None,
        added=len(rows),
        revised=revised,
        series=series,
        form=built.form,
        notes=(*built.notes, *said),
        warnings=tuple(oddities(series, at)),
    )
    return updated, files


def _promising(
    dataset: Dataset, series: Series, data: bytes, record: bytes | None, path: Path
) -> Manifest:
    """The manifest of what a dataset becomes.

    A revision's files have names of their own as well, since the last session may stay.
    """
    old, digest = dataset.manifest, hashlib.sha256(data).hexdigest()
    last, revisions = series.dates[-1].item(), old.revisions
    mark = "" if record is None else f".{digest[:8]}"
    if record is not None:
        told = hashlib.sha256(record).hexdigest()
        name = f"{old.id}.revisions.{told[:8]}.csv"
        revisions = RevisionsFile(file=name, sha256=told)
    bundled = is_built_in(dataset.path)
    more = f"; from {series.dates[len(dataset)]} on {path.name}" if bundled else ""
    kept = [text for text in old.quirks if text not in quirks_of(dataset.series)]
    return replace(
        old,
        file=f"{old.id}.{last}{mark}.csv",
        sha256=digest,
        rows=len(series),
        last=last,
        source=old.source + more,
        quirks=tuple(dict.fromkeys((*quirks_of(series), *kept))),
        ended=old.ended and len(series) == len(dataset),
        revisions=revisions,
    )


def _store(place: Path, dataset: Dataset, manifest: Manifest, files: Mapping[str, bytes]) -> None:
    """Write the new data beside the old, then the manifest; then the old data may go."""
    file = place.parent / manifest.file
    if file.with_suffix(".toml").exists():
        raise DataError(f"{file}: the name belongs to dataset '{file.stem}'; rename that one")
    try:
        write_dataset(place, manifest, files)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{place}: cannot be written: {reason}") from None
    before = dataset.manifest
    stem = re.escape(dataset.id)
    ours = rf"{stem}(?:\.[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})?(?:\.[0-9a-f]{{8}})?\.csv"
    if dataset.path.parent != place.parent:
        return  # a built-in dataset was continued
    if re.fullmatch(ours, dataset.path.name) and dataset.path != file:
        dataset.path.unlink(missing_ok=True)
    if before.revisions is not None and before.revisions != manifest.revisions:
        (place.parent / before.revisions.file).unlink(missing_ok=True)
