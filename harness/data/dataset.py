"""Checked, read-only datasets, and where they are found."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date as Date
from pathlib import Path
from typing import TypeVar

import numpy as np

from harness.data import tables
from harness.data.manifest import ID, Manifest, is_manifest, read_manifest
from harness.data.oddities import Repeats, gap_text, gaps_of, oddities, repeats_of
from harness.data.revisions import Revision, agreement, first_known, read_revisions
from harness.data.tables import TextTable, count_text
from harness.errors import ConfigError, DataError, meant
from harness.parsing import read_toml
from harness.window import Array, Series, frozen

BUILT_IN = ("DOW_JONES", "GOLD")
"""What comes with the package."""

MOST_SERIES = 10
"""Datasets that one verdict may rest on."""

BLOCK = 256
"""Rows of a series that have a digest together."""

_Item = TypeVar("_Item", bound=np.generic)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """A series whose file was checked against its manifest.

    Attributes
    ----------
    manifest
        What was promised.
    series
        What was read; its arrays are read-only.
    path
        The data file.
    digest
        sha256 of the file.
    warnings
        What is allowed but worth knowing, one sentence each.
    skipped
        Sessions dropped by `without_repeats`.
    revisions
        What updates changed, in order.
    """

    manifest: Manifest
    series: Series
    path: Path
    digest: str
    warnings: tuple[str, ...]
    skipped: int = 0
    revisions: tuple[Revision, ...] = ()
    _blocks: list[bytes] = field(default_factory=list, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.series)

    @property
    def id(self) -> str:
        """What the manifest calls it."""
        return self.manifest.id

    @property
    def repeats(self) -> Repeats:
        """How often the target repeats."""
        return repeats_of(self.series)

    @property
    def first_known(self) -> Series:
        """The same sessions with the values that were known first, before any revision."""
        return self.known_on(Date.min)

    def known_on(self, day: Date) -> Series:
        """The same sessions with the values known on a day; later ones as they were known first."""
        since = [each for each in self.revisions if each.revised > day]
        return first_known(self.series, self.manifest.columns.names[1:], since)

    def without_repeats(self) -> Dataset:
        """Drop sessions that repeat the target of the session before, covariates included."""
        keep = np.append(True, np.diff(self.series.target) != 0)
        series = replace(
            self.series,
            dates=frozen(self.series.dates[keep]),
            target=frozen(self.series.target[keep]),
            past=frozen(self.series.past[keep]),
        )
        return replace(self, series=series, skipped=self.skipped + int((~keep).sum()))

    def span_digest(self, stop: int) -> str:
        """Digest of what rows ``0 .. stop - 1`` say, whatever file they came from.

        Later rows, the file's format and the name of its date column do not matter; dates,
        values, names of target and covariates, calendar and season do.

        Whole blocks of rows are digested once, so that each prefix costs less than a block.

        Parameters
        ----------
        stop
            From 0 to the number of sessions.
        """
        if not 0 <= stop <= len(self):
            raise ValueError(f"stop = {stop}: expected 0 to {len(self)}")
        series, whole = self.series, stop // BLOCK
        meaning = {
            "schema": 2,
            "rows": stop,
            "target": self.manifest.columns.target,
            "past": series.past_names,
            "calendar": series.weekmask,
            "season": series.season,
        }
        for block in range(len(self._blocks), whole):
            self._blocks.append(self._rows_digest(block * BLOCK, (block + 1) * BLOCK))
        digest = hashlib.sha256(json.dumps(meaning, sort_keys=True).encode())
        digest.update(b"".join(self._blocks[:whole]))
        digest.update(self._rows_digest(whole * BLOCK, stop))
        return digest.hexdigest()

    def _rows_digest(self, start: int, stop: int) -> bytes:
        digest = hashlib.sha256(self.series.dates[start:stop].astype("<M8[D]").tobytes())
        digest.update(self.series.target[start:stop].astype("<f8").tobytes())
        digest.update(self.series.past[start:stop].astype("<f8").tobytes())
        return digest.digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One line of the catalogue: a manifest, or why it cannot be read."""

    id: str
    path: Path
    manifest: Manifest | None
    problem: str | None


def builtin_folder(package: Path = Path(__file__).parents[1]) -> Path:
    """The folder of the built-in datasets, of a wheel or of an editable checkout.

    A wheel calls it `abharness-data`. Beside `harness` an installation may have Hugging Face's
    package `datasets`, so a folder of that name counts only when our manifests are in it.

    Raises
    ------
    DataError
        When the installation holds none.
    """
    places = (package.parent / "abharness-data", package.parent / "datasets")
    for folder in places:
        if all((folder / f"{name}.toml").is_file() for name in BUILT_IN):
            return folder
    tried = " or ".join(map(str, places))
    raise DataError(f"the built-in datasets are not in {tried}; install abharness again")


def is_built_in(file: Path) -> bool:
    """Whether a manifest or a data file came with the package."""
    return file.parent.resolve() == builtin_folder().resolve()


def search_folders(folders: Sequence[Path]) -> list[Path]:
    """The built-in folder, then `folders`, each once.

    Raises
    ------
    DataError
        When one is not there.
    """
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder of datasets")
    unique = {folder.resolve(): folder for folder in (*reversed(folders), builtin_folder())}
    return list(reversed(unique.values()))


def find(dataset_id: str, folders: Sequence[Path] = ()) -> Path:
    """The manifest of one dataset, from `folders` or, where none has it, the built-in folder.

    Raises
    ------
    DataError
        When there is none, or two.
    """
    if not ID.fullmatch(dataset_id):
        raise DataError(
            f"'{dataset_id}' cannot be a dataset's id: expected letters, digits, '_', '-' or '.'"
        )
    places = search_folders(folders)
    paths = [path for place in places if (path := place / f"{dataset_id}.toml").is_file()]
    if len(paths) > 1 and paths[0].parent == builtin_folder():
        del paths[0]  # which the other one continues
    if len(paths) > 1:
        raise _twice(dataset_id, paths[0], paths[1])
    if not paths:
        known, looked = catalogue(folders), ", ".join(map(str, places))
        near = meant(dataset_id, known)
        raise DataError(
            f"no dataset '{dataset_id}' in {looked}{near}; known datasets are {', '.join(known)}; "
            "--data-dir FOLDER adds a folder"
        )
    return paths[0]


def catalogue(folders: Sequence[Path] = ()) -> Mapping[str, Path]:
    """Every dataset's manifest by id, sorted; TOML files that are no manifests are left out.

    Raises
    ------
    DataError
        When two datasets have one id, or a folder is not there.
    """
    found: dict[str, Path] = {}
    for place in search_folders(folders):
        for path in sorted(place.glob("*.toml")):
            if not ID.fullmatch(path.stem):
                continue
            with suppress(DataError):  # listed with its problem rather than left out in silence
                if not is_manifest(read_toml(path, error=DataError)):
                    continue
            if path.stem in found and found[path.stem].parent != builtin_folder():
                raise _twice(path.stem, found[path.stem], path)
            found[path.stem] = path
    return dict(sorted(found.items()))


def summaries(folders: Sequence[Path] = ()) -> list[Summary]:
    """What `data list` shows: every manifest, read but not checked against its file."""
    listed = []
    for name, path in catalogue(folders).items():
        manifest, problem = None, None
        try:
            manifest = read_manifest(path)
        except DataError as error:
            problem = str(error)
        listed.append(Summary(id=name, path=path, manifest=manifest, problem=problem))
    return listed


def load(dataset_id: str, folders: Sequence[Path] = ()) -> Dataset:
    """Find, read and check one dataset.

    One that has the id of a built-in dataset must continue it: the same sessions first, which
    agree as far as both are printed.

    Raises
    ------
    DataError
        One line naming file, line, column and value of the first fault.
    """
    path = find(dataset_id, folders)
    dataset, bundled = read_dataset(path), builtin_folder() / f"{dataset_id}.toml"
    if path == bundled or not bundled.is_file():
        return dataset
    begun = read_dataset(bundled)
    ours, theirs = begun.manifest, dataset.manifest
    problems = [
        f"{what} = {there!r}, built in {here!r}"
        for what, there, here in (
            ("columns.target", theirs.columns.target, ours.columns.target),
            ("columns.past", list(theirs.columns.past), list(ours.columns.past)),
            ("calendar", theirs.calendar, ours.calendar),
            ("season", theirs.season, ours.season),
            ("first", str(theirs.first), str(ours.first)),
        )
        if there != here
    ]
    if theirs.last < ours.last:
        problems.append(f"last = {theirs.last}, built in {ours.last}")
    if not problems:
        compared = agreement(begun.series, dataset.first_known, place=lambda row: f"row {row + 1}")
        text = compared.differences(begun.series, ours.columns.names[1:])
        problems = [text] if text else []
    if problems:
        raise DataError(
            f"{dataset.path}: dataset '{dataset.id}' comes with abharness, and this file does "
            f"not continue it: {'; '.join(problems)}; give it another id"
        )
    return dataset


def read_dataset(path: Path) -> Dataset:
    """Read and check the dataset of one manifest.

    Faults of the content come before the digest, so that a damaged file says where. A manifest that
    an update replaces meanwhile is read again.

    Raises
    ------
    DataError
        One line naming file, line, column and value of the first fault.
    """
    while True:
        promised = _promises(path)
        try:
            return _read_once(path)
        except DataError:
            if _promises(path) == promised:
                raise


def _promises(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _read_once(path: Path) -> Dataset:
    manifest = read_manifest(path)
    file = path.parent / manifest.file
    raw = tables.read_bytes(file)
    table = tables.read_data(file, raw, wanted=manifest.columns.names)
    series = _series(table, manifest)
    digest = hashlib.sha256(raw).hexdigest()
    if len(table) != manifest.rows:
        raise DataError(f"{table.path}: {len(table)} rows; its manifest says {manifest.rows}")
    for row, wanted in ((0, manifest.first), (len(table) - 1, manifest.last)):
        if str(series.dates[row]) != wanted.isoformat():
            said = f"{series.dates[row]}; its manifest says {wanted}"
            raise table.fault(row, manifest.columns.date, said)
    if digest != manifest.sha256:
        raise DataError(
            f"{table.path}: sha256 is {digest}; its manifest says {manifest.sha256}: the file has "
            "changed"
        )
    revisions: tuple[Revision, ...] = ()
    if manifest.revisions is not None:
        record = path.parent / manifest.revisions.file
        told = tables.read_bytes(record)
        if hashlib.sha256(told).hexdigest() != manifest.revisions.sha256:
            raise DataError(f"{record}: not the record of revisions that {path.name} names")
        revisions = read_revisions(record, told)
    return Dataset(
        manifest=manifest,
        series=series,
        path=file,
        digest=digest,
        warnings=tuple(f"{file}: {text}" for text in oddities(series, table.at)),
        revisions=revisions,
    )


def check_count(dataset_ids: Sequence[str]) -> None:
    """Demand few enough datasets for a verdict that asks for every one of them.

    Raises
    ------
    ConfigError
        Naming the limit and its reason.
    """
    if len(dataset_ids) > MOST_SERIES:
        reason = (
            "'every series' promotes an equal candidate in 51 % of trials on one series and in 2 % "
            "on 20, so it says nothing about a panel"
        )
        raise ConfigError(f"{len(dataset_ids)} datasets: expected at most {MOST_SERIES}; {reason}")


def describe(dataset: Dataset) -> Mapping[str, str]:
    """What `data show` shows, in order; several sentences stand on lines of their own."""
    manifest, series, changed = dataset.manifest, dataset.series, len(dataset.revisions)
    come = f"by `abharness data update {manifest.id} FILE`"
    if manifest.update is not None:
        come = f"by `abharness data update {manifest.id}`: {shlex.join(manifest.update.command)}"
    if manifest.ended:
        come = f"none: the data have ended, on {manifest.last}"
    return {
        "id": manifest.id,
        "title": manifest.title,
        "file": str(dataset.path),
        "sha256": dataset.digest,
        "unit": manifest.unit,
        "target": manifest.columns.target,
        **facts_of(series),
        "new sessions": f"{come}; {count_text(changed, 'value')} revised" if changed else come,
        "source": manifest.source,
        "licence": manifest.licence,
        "quirks": "\n".join(manifest.quirks) or "none recorded",
        "warnings": "\n".join(dataset.warnings) or "none",
    }


def facts_of(series: Series) -> Mapping[str, str]:
    """What a series is, in a few words each."""
    return {
        "past": ", ".join(series.past_names) or "none",
        "sessions": f"{len(series)} from {series.dates[0]} to {series.dates[-1]}",
        "calendar": f"{series.weekmask} (Monday first), season {series.season}",
        "range": f"{series.target.min():g} to {series.target.max():g}",
        "largest move": _largest_move(series),
        "repeats": _repeats_text(repeats_of(series)),
        "longest gap": gap_text(gaps_of(series.dates, over=0)[0]),
    }


def quirks_of(series: Series) -> tuple[str, ...]:
    """What the checker finds worth recording in a manifest, one sentence each."""
    found = []
    if (repeats := repeats_of(series)).count:
        found.append(f"Repeats the target of the session before: {_repeats_text(repeats)}.")
    found += [f"{text[0].upper()}{text[1:]}." for text in oddities(series)]
    found.append(f"The largest move is {_largest_move(series)}.")
    return tuple(found)


def _twice(dataset_id: str, one: Path, other: Path) -> DataError:
    return DataError(f"two datasets are called '{dataset_id}': {one} and {other}; rename one")


def _series(table: TextTable, manifest: Manifest) -> Series:
    columns = manifest.columns
    dates = tables.iso_dates(table, columns.date)
    target = tables.numbers(table, columns.target, prices=True)
    past: Array = np.empty((len(table), len(columns.past)))
    for index, name in enumerate(columns.past):
        past[:, index] = tables.numbers(table, name)
    return Series(
        dates=frozen(dates),
        target=frozen(target),
        past=frozen(past),
        past_names=columns.past,
        weekmask=manifest.calendar,
        season=manifest.season,
    )


def _repeats_text(repeats: Repeats) -> str:
    if not repeats.count:
        return "none"
    run = f", {repeats.longest} in a row from {repeats.since}" if repeats.longest > 1 else ""
    return f"{count_text(repeats.count, 'session')} ({100 * repeats.share:.2f} %{run})"


def _largest_move(series: Series) -> str:
    moves = series.target[1:] / series.target[:-1] - 1
    row = int(np.argmax(np.abs(moves)))
    return f"{100 * moves[row]:+.2f} % on {series.dates[row + 1]}"
