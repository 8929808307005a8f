"""What is known about a data file before it is read: `<ID>.toml` beside it.

::

    schema = 1
    id = "GOLD"                      # the name of this file, too
    title = "Gold, daily"
    file = "GOLD.csv"                # in the same folder; CSV or Parquet
    sha256 = "aa58..."
    rows = 9132
    first = 1977-12-30
    last = 2012-12-31
    source = "where it comes from"
    licence = "what may be done with it"
    unit = "index points"
    calendar = "1111100"             # days of the week with sessions, Monday first
    season = 5                       # sessions in the shortest season
    quirks = ["what a reader of results should know"]

    [columns]
    date = "date"
    target = "gold"
    past = ["silver"]                # covariates known up to the origin only

Beside these there may be ``ended = true`` (no session will come any more), a table ``[update]``
(`UpdateCommand`), and a table ``[revisions]`` (`RevisionsFile`) that `data update --revise` writes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from harness.data.tables import weekdays
from harness.errors import DataError, meant
from harness.parsing import adapter, read_toml

if TYPE_CHECKING:
    from pydantic import ConfigDict, ValidationError

ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
"""What a dataset may be called: it becomes a file name."""

_SEASONS = ((10, 52), (45, 12), (135, 4))  # typical days between sessions, sessions in a year
_RARE = 0.2  # a weekday with fewer sessions than this share of the busiest is an exception
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which column of the file plays which part.

    Attributes
    ----------
    date
        Session dates.
    target
        What is forecast.
    past
        Covariates known up to the origin only.
    """

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid", "strict": True}

    date: str
    target: str
    past: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.names:
            if self.names.count(name) > 1:
                raise DataError(f"[columns] '{name}' has two roles; expected distinct columns")

    @property
    def names(self) -> tuple[str, ...]:
        """All columns: date, target, covariates."""
        return (self.date, self.target, *self.past)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateCommand:
    """How new sessions are had: a program that writes a table to its standard output.

    Attributes
    ----------
    command
        Program and arguments; no shell sees them. It runs in the manifest's folder.
    time_limit_s
        Seconds after which it is stopped.
    """

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid", "strict": True}

    command: tuple[str, ...]
    time_limit_s: float = 300.0

    def __post_init__(self) -> None:
        fine = bool(self.command) and all(self.command[:1]) and "\0" not in "".join(self.command)
        wanted = 'a program and its arguments, such as ["python", "prices.py"]'
        _expect(
            (fine, "[update] command", list(self.command), wanted),
            (self.time_limit_s > 0, "[update] time_limit_s", self.time_limit_s, "more than 0"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionsFile:
    """Where the values lie that revisions replaced; see `harness.data.revisions`."""

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid", "strict": True}

    file: str
    sha256: str

    def __post_init__(self) -> None:
        plain = PurePath(self.file).name == self.file and "\\" not in self.file
        _expect((plain, "[revisions] file", self.file, "the name of a file in the same folder"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One `<ID>.toml`; the module's docstring shows every key.

    Raises
    ------
    DataError
        When values are of the right type but cannot be meant.
    """

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid", "strict": True}

    schema: Literal[1]
    id: str
    title: str
    file: str
    sha256: str
    rows: int
    first: date
    last: date
    source: str
    licence: str
    unit: str
    calendar: str
    season: int
    columns: Columns
    quirks: tuple[str, ...] = ()
    ended: bool = False
    update: UpdateCommand | None = None
    revisions: RevisionsFile | None = None

    def __post_init__(self) -> None:
        plain = PurePath(self.file).name == self.file and "\\" not in self.file
        mask = re.fullmatch("[01]{7}", self.calendar) and "1" in self.calendar
        digest = re.fullmatch("[0-9a-f]{64}", self.sha256)
        _expect(
            (ID.fullmatch(self.id), "id", self.id, "letters, digits, '_', '-' or '.'"),
            (plain, "file", self.file, "the name of a file in the same folder"),
            (digest, "sha256", self.sha256, "64 hex digits"),
            (self.rows >= 2, "rows", self.rows, "2 or more"),
            (self.first < self.last, "last", self.last, f"a date after first = {self.first}"),
            (mask, "calendar", self.calendar, "seven of 0 and 1, Monday first, as '1111100'"),
            (self.season >= 1, "season", self.season, "1 or more"),
        )


_TABLES: Mapping[str, type[Columns | UpdateCommand | RevisionsFile]] = {
    "columns": Columns,
    "update": UpdateCommand,
    "revisions": RevisionsFile,
}


def read_manifest(path: Path) -> Manifest:
    """Read and check one manifest.

    Raises
    ------
    DataError
        One line naming the file and the key.
    """
    from pydantic import ValidationError

    table = read_toml(path, error=DataError)
    if (schema := table.get("schema")) != 1 and isinstance(schema, int) and schema > 1:
        raise DataError(f"{path}: schema = {schema}: this abharness reads 1; update abharness")
    try:
        # in JSON, whose strict mode knows lists and tuples apart; only TOML has dates and times
        text = json.dumps(table, default=lambda value: value.isoformat())
        manifest: Manifest = adapter(Manifest).validate_json(text)
    except ValidationError as error:
        raise DataError(f"{path}: {_faults(error)}") from None
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    if manifest.id != path.stem:
        raise DataError(f"{path}: id = '{manifest.id}': expected '{path.stem}', as the file's name")
    return manifest


def is_manifest(table: Mapping[str, object]) -> bool:
    """Whether a TOML file means to be a manifest: other files may lie in the folder."""
    return "sha256" in table or ("file" in table and "columns" in table)


def manifest_text(manifest: Manifest) -> str:
    """Write a manifest as TOML that `read_manifest` reads back."""
    lines = []
    for field in fields(manifest):
        value = getattr(manifest, field.name)
        if field.name not in _TABLES and value is not False:
            lines.append(f"{field.name} = {_toml(value)}")
    for name in _TABLES:
        if (part := getattr(manifest, name)) is not None:
            lines += ["", f"[{name}]"]
            lines += [f"{f.name} = {_toml(getattr(part, f.name))}" for f in fields(part)]
    return "\n".join(lines) + "\n"


def calendar_of(dates: npt.NDArray[np.datetime64]) -> str:
    """Days of the week that regularly have sessions, Monday first."""
    counts = np.bincount(weekdays(dates), minlength=7)
    return "".join("1" if count >= _RARE * counts.max() else "0" for count in counts.tolist())


def season_of(dates: npt.NDArray[np.datetime64]) -> int:
    """Sessions a week for daily data, sessions a year for sparser data."""
    typical = float(np.median(np.diff(dates).astype(np.int64)))
    if typical <= 4:
        return calendar_of(dates).count("1")
    return next((season for days, season in _SEASONS if typical <= days), 1)


def write_whole(path: Path, content: bytes) -> None:
    """Put a whole file in place, or none, whatever happens meanwhile."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_dataset(path: Path, manifest: Manifest, files: Mapping[str, bytes]) -> None:
    """Write files into the folder of a manifest, then the manifest that makes them a dataset.

    Raises
    ------
    OSError
        When the system refuses one; the manifest is then what it was.
    """
    for name, content in files.items():
        write_whole(path.parent / name, content)
    write_whole(path, manifest_text(manifest).encode(errors="replace"))


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        items = [f"    {_toml(item)},\n" for item in value]
        return f"[\n{''.join(items)}]" if items else "[]"
    if isinstance(value, str):  # a JSON string is a TOML one, DEL apart
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _faults(error: ValidationError) -> str:
    """All faults, unknown keys before what may only be their lack."""
    faults = error.errors(include_url=False)
    faults.sort(key=lambda fault: fault["type"] not in _UNKNOWN)
    lacking = [str(each["loc"][-1]) for each in faults if each["type"].startswith("missing")]
    said, near = [], ""
    for fault in faults:
        table = str(fault["loc"][0])
        inner = table in _TABLES and len(fault["loc"]) > 1
        place, kind = (f"[{table}] ", _TABLES[table]) if inner else ("", Manifest)
        key = str(fault["loc"][1 if inner else 0])
        if fault["type"] in _UNKNOWN:
            known = sorted(field.name for field in fields(kind))
            near += (own := meant(key, lacking) or meant(key, known))
            said.append(f"{place}unknown key '{key}'{own}; known keys are {', '.join(known)}")
        elif fault["type"].startswith("missing"):
            said += [f"{place}missing key '{key}'"] if f"'{key}'" not in near else []
        else:
            wanted = fault["msg"].removeprefix("Input should be ")
            said.append(f"{place}{key} = {fault['input']!r}: expected {wanted}")
    return "; ".join(said)


def _expect(*checks: tuple[object, str, object, str]) -> None:
    """Raise all that does not hold, each a check with key, value and what was expected."""
    odd = []
    for holds, key, value, wanted in checks:
        if not holds:
            shown = f"'{value}'" if isinstance(value, str) else str(value)
            odd.append(f"{key} = {shown}: expected {wanted}")
    if odd:
        raise DataError("; ".join(odd))
