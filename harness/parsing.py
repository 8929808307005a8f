"""From TOML text and stored records to frozen dataclasses, with errors a reader can act on."""

from __future__ import annotations

import dataclasses
import json
import re
import reprlib
import tomllib
from collections.abc import Collection, Mapping
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from harness.errors import AbharnessError, ConfigError, InputError, StoreError, meant, one_line

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

_Table = TypeVar("_Table")
_LONGEST = 60
"""Characters of a wrong value that are shown."""


def read_toml(path: Path, *, error: type[InputError] = ConfigError) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    InputError
        Of the class `error`, when the file is missing, unreadable or not TOML.
    """
    return parse_toml(read_text(path, error=error), where=str(path), error=error)


def read_text(path: Path, *, error: type[InputError] = ConfigError, absent: str = "") -> str:
    """Read a text file in UTF-8, with or without the mark that some editors put in front.

    Parameters
    ----------
    absent
        What to add where there is no such file.

    Raises
    ------
    InputError
        Of the class `error`, when it is missing, a folder, unreadable or in another encoding.
    """
    try:
        raw = path.read_bytes()
        return raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError:
        raise error(f"{path}: no such file{absent}") from None
    except UnicodeDecodeError as problem:
        line = raw.count(b"\n", 0, problem.start) + 1
        found = f"line {line}: byte 0x{raw[problem.start]:02x} is not UTF-8"
        wide = raw.startswith((b"\xff\xfe", b"\xfe\xff"))
        raise error(f"{path}: {'UTF-16' if wide else found}; save it as UTF-8") from None
    except OSError as problem:
        said = problem.strerror or problem
        raise error(f"{path}: cannot be read: {said}; expected a file") from None


def parse_toml(text: str, *, where: str, error: type[InputError] = ConfigError) -> dict[str, Any]:
    """Parse TOML text; `where` names it in errors."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as problem:  # numbers of 5,000 digits, brackets in brackets
        said = one_line(str(problem))[:300]
        place, lines = re.search(r"at line (\d+)", said), text.splitlines()
        if place and 0 < int(place[1]) <= len(lines):
            said += f": {one_line(lines[int(place[1]) - 1])[:80]}"
        raise error(f"{where}: not valid TOML: {said}") from None


def parse_json(text: str | bytes, *, where: str) -> Any:
    """Parse JSON text in UTF-8; `where` names it in errors."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise StoreError(f"{where}: not valid JSON: {one_line(str(problem))[:300]}") from None


def table(
    kind: type[_Table],
    found: Mapping[str, Any],
    *,
    where: str,
    given: Mapping[str, Any] | None = None,
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
    ConfigError
        For unknown keys, missing keys and values of another type: all of them, after `where`.
    """
    given = dict(given or {})
    values, faults = fields_of(kind, found, given)
    if faults:
        raise ConfigError(f"{where}: {'; '.join(faults)}")
    try:
        return kind(**values, **given)
    except InputError as problem:
        raise ConfigError(f"{where.partition(': ')[0]}: {problem}") from None


def fields_of(
    kind: type[Any], found: Mapping[str, Any], apart: Collection[str] = ()
) -> tuple[dict[str, Any], list[str]]:
    """Values of a dataclass's fields as a table has them, and what is wrong with its keys."""
    fields = {f.name: f for f in dataclasses.fields(kind) if f.name not in apart}
    hints, values = get_type_hints(kind), {}
    none = dataclasses.MISSING
    needed = [n for n, f in fields.items() if f.default is none and f.default_factory is none]
    missing = [name for name in needed if name not in found]
    unknown, faults = [key for key in found if key not in fields], []
    near = {key: meant(key, missing) or meant(key, fields) for key in unknown}
    if unknown:
        odd = ", ".join(f"'{key}'{near[key]}" for key in unknown)
        known = ", ".join(sorted(fields))
        faults.append(f"unknown key{'s' * (len(unknown) > 1)} {odd}; known keys are {known}")
    for key in (key for key in found if key in fields):
        value = found[key]
        given = tuple(value) if isinstance(value, list) else value  # the nouns hold tuples
        if isinstance(value, date) and not isinstance(value, datetime):
            given = value.isoformat()  # first = 2015-01-31 and first = "2015-01-31" are the same
        wanted, values[key] = _read_as(hints[key], given)
        if wanted:
            faults.append(f"{key} = {_short(value)}: expected {wanted}")
    faults += [f"missing key '{name}'" for name in missing if f"'{name}'" not in str(near)]
    return values, faults


def parse_record(
    kind: type[_Table],
    content: Mapping[str, Any] | bytes,
    *,
    where: str,
    error: type[AbharnessError] = StoreError,
) -> _Table:
    """Make a dataclass from a record as JSON has it, its parts included.

    Parameters
    ----------
    kind
        The dataclass.
    content
        Its fields, and maybe a number `schema` that has been looked at. As JSON text, where it is
        for the class to forbid other keys.
    where
        What the record is, for errors.

    Raises
    ------
    AbharnessError
        Of the class `error`: names every key that is missing, unknown or of another type.
    """
    from pydantic import ValidationError

    hashable: Any = kind  # which mypy doubts of a class
    faults: list[str] = []
    text = content
    if not isinstance(text, bytes):
        known = {each.name for each in dataclasses.fields(hashable)} | {"schema"}
        faults += [f"{key}: unknown key" for key in text if key not in known]
        text = json.dumps(text).encode()
    found: _Table | None = None
    try:
        found = adapter(hashable).validate_json(text, strict=True)
    except ValidationError as problem:
        faults += faults_of(problem, kind.__name__)
    if faults or found is None:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise error(f"{where}: {'; '.join(faults[:3])}{more}")
    return found


def faults_of(problem: ValidationError, whole: str = "") -> list[str]:
    """Each fault with its place, or that of the whole; what has very many values names none."""
    found = []
    for each in problem.errors(include_url=False):
        said = each["msg"]
        if each["type"] in ("enum", "literal_error") and len(said) > 200:
            said = f"{reprlib.repr(each['input'])} is no value that this version knows"
        found.append(": ".join(filter(None, (".".join(map(str, each["loc"])) or whole, said))))
    return found


@cache
def adapter(kind: Any, *, strict: bool = False) -> TypeAdapter[Any]:
    """What reads plain data as an object of a type; made once, since making it takes long.

    Parameters
    ----------
    strict
        Take no text for a number; only for a type that has no configuration of its own.
    """
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(kind, config=ConfigDict(strict=True)) if strict else TypeAdapter(kind)


def check_fields(made: Any) -> None:
    """Refuse an object of a dataclass whose fields are of other types than it declares.

    Numbers are not read from texts, nor flags from numbers; a whole number is a number. For arms,
    whose options come from an experiment or a command line as they are.

    Parameters
    ----------
    made
        Fields that are not given to its constructor are left alone.

    Raises
    ------
    ValueError
        ``name = value: expected ...``, of the first field that is wrong.
    """
    given = {item.name: item.type for item in dataclasses.fields(made) if item.init}
    holder = type("Given", (), {"__annotations__": given, "__module__": type(made).__module__})
    for name, kind in get_type_hints(holder).items():
        value = getattr(made, name)
        wanted, _ = _read_as(kind, value)
        if wanted:
            raise ValueError(f"{name} = {_short(value)}: expected {wanted}")


def _short(value: Any) -> str:
    text = str(value) if isinstance(value, date) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _read_as(kind: Any, value: Any) -> tuple[str, Any]:
    """What a value should be, '' where it is, and the value in that type."""
    from pydantic import ValidationError

    try:
        return "", adapter(kind, strict=True).validate_python(value)
    except ValidationError as problem:
        said = problem.errors()[0]["msg"].removeprefix("Input should be ")
        return said.replace("a valid tuple", "a list in brackets"), None
