"""From TOML text to frozen dataclasses, with errors a reader can act on."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from harness.errors import ConfigError, InputError

_Table = TypeVar("_Table")


def read_toml(path: Path, *, error: type[InputError] = ConfigError) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    InputError
        Of the class `error`, when the file is missing, unreadable or not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise error(f"{path}: cannot be read: {problem}") from None
    return parse_toml(text, where=str(path), error=error)


def parse_toml(text: str, *, where: str, error: type[InputError] = ConfigError) -> dict[str, Any]:
    """Parse TOML text; `where` names it in errors."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise error(f"{where}: not valid TOML: {problem}") from None


def table(
    kind: type[_Table],
    found: Mapping[str, Any],
    *,
    where: str,
    given: Mapping[str, Any] | None = None,
    error: type[InputError] = ConfigError,
) -> _Table:
    """Make a dataclass from a table, strictly.

    Parameters
    ----------
    kind
        The dataclass; its field names are the keys, its annotations the types.
    found
        The table as parsed.
    where
        File and table, for errors.
    given
        Fields that do not come from the table and are not keys of it.

    Raises
    ------
    InputError
        For an unknown key, a missing key or a value of another type, each named with `where`.
    """
    given = dict(given or {})
    fields = {f.name: f for f in dataclasses.fields(kind) if f.name not in given}  # type: ignore[arg-type]  # TypeVar has no dataclass bound
    for key in found:
        if key not in fields:
            raise error(f"{where}: unknown key '{key}'; known keys are {', '.join(sorted(fields))}")
    for name, item in fields.items():
        if name not in found and _required(item):
            raise error(f"{where}: missing key '{name}'")
    hints = get_type_hints(kind)
    values = {
        key: _checked(hints[key], value, where=where, key=key, error=error)
        for key, value in found.items()
    }
    try:
        return kind(**values, **given)
    except InputError as problem:
        raise error(f"{where.partition(': ')[0]}: {problem}") from None


def _required(item: dataclasses.Field[Any]) -> bool:
    no_default = item.default is dataclasses.MISSING
    return no_default and item.default_factory is dataclasses.MISSING


def _checked(kind: Any, value: Any, *, where: str, key: str, error: type[InputError]) -> Any:
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    if isinstance(value, list):
        value = tuple(value)  # TOML has arrays, the nouns hold tuples
    if isinstance(value, date) and not isinstance(value, datetime):
        value = value.isoformat()  # first = 2015-01-31 and first = "2015-01-31" are the same
    try:
        return TypeAdapter(kind, config=ConfigDict(strict=True)).validate_python(value)
    except ValidationError as problem:
        first = problem.errors()[0]
        wanted = first["msg"].removeprefix("Input should be ")
        raise error(f"{where}: {key} = {value!r}: expected {wanted}") from None
