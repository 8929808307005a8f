"""What an arm keeps of a fit: one folder of plain numbers, and nothing that could run code.

``state.json`` says whose it is and holds facts; ``state.safetensors`` holds the arrays. Both are
covered by digests, so that a folder that was damaged, or that another arm wrote, is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import ArmError, one_line

_SCHEMA = 1
_FACTS, _ARRAYS = "state.json", "state.safetensors"
_PLACES = ("device",)
"""Options that say where an arm works and not what it answers: a fit may be restored elsewhere.

So do those an arm names as `paths`: what lies there belongs to the fit's key.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedState:
    """What one fit left.

    Attributes
    ----------
    facts
        What JSON can hold; floats come back bit by bit.
    arrays
        Numbers by name, of any shape; they come back bit by bit.
    """

    facts: Mapping[str, Any]
    arrays: Mapping[str, npt.NDArray[Any]]

    def under(self, prefix: str) -> dict[str, npt.NDArray[Any]]:
        """The arrays whose names start so, without that start."""
        found = self.arrays.items()
        return {name[len(prefix) :]: v for name, v in found if name.startswith(prefix)}


def write_state(folder: Path, arm: Any, state: SavedState) -> None:
    """Write what an arm learned, with its class and options.

    Parameters
    ----------
    folder
        Is there, and empty.
    arm
        Of a dataclass, the constructor's fields are its options; others have none.

    Raises
    ------
    ArmError
        When something is not a number or JSON.
    """
    from safetensors.numpy import save

    try:
        # copied one by one: arrays that share memory are stored apart
        arrays = {name: np.array(value, order="C") for name, value in state.arrays.items()}
        stored = save(arrays)
        content = {
            "schema": _SCHEMA,
            "arm": _name_of(arm),
            "options": _options_of(arm),
            "facts": dict(state.facts),
            "arrays": hashlib.sha256(stored).hexdigest(),
        }
        text = json.dumps({"sha256": _digest(content), **content}, indent=1, sort_keys=True)
    except (TypeError, ValueError, KeyError, RecursionError) as problem:
        said = one_line(str(problem))
        raise ArmError(f"what {_name_of(arm)} learned cannot be saved: {said}") from problem
    (folder / _ARRAYS).write_bytes(stored)
    (folder / _FACTS).write_text(text + "\n", encoding="utf-8")


def read_state(folder: Path, arm: Any) -> SavedState:
    """Read what `write_state` wrote for such an arm.

    Raises
    ------
    ArmError
        In one line: something is not there or damaged, or was written by another class or with
        other options.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = folder / _FACTS
    try:
        content = json.loads(path.read_bytes().decode("utf-8"))
    except (OSError, ValueError, RecursionError) as problem:
        raise ArmError(_unreadable(path, problem)) from problem
    if not isinstance(content, dict) or content.get("schema") != _SCHEMA:
        raise ArmError(f"saved fit {path}: expected schema = {_SCHEMA}")
    if content.pop("sha256", None) != _digest(content):
        raise ArmError(f"saved fit {path} is damaged: its digest is another")
    if content.get("arm") != _name_of(arm):
        raise ArmError(f"saved fit {folder} is of {content.get('arm')}, not of {_name_of(arm)}")
    theirs, ours = content["options"], _options_of(arm)
    for name in sorted(theirs.keys() | ours.keys()):
        made, wanted = (f"{json.dumps(options.get(name)):.80}" for options in (theirs, ours))
        if theirs.get(name) != ours.get(name) and made != wanted:  # NaN equals nothing
            raise ArmError(f"saved fit {folder} was made with {name} = {made}, not with {wanted}")
    try:
        stored = (folder / _ARRAYS).read_bytes()
        if hashlib.sha256(stored).hexdigest() != content["arrays"]:
            raise ArmError(f"saved fit {folder / _ARRAYS} is damaged: its digest is another")
        return SavedState(facts=content["facts"], arrays=load(stored))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as problem:
        raise ArmError(_unreadable(folder / _ARRAYS, problem)) from problem


def _name_of(arm: Any) -> str:
    return f"{type(arm).__module__}:{type(arm).__qualname__}"


def _options_of(arm: Any) -> dict[str, Any]:
    declared = fields(arm) if is_dataclass(arm) else ()
    places = {*_PLACES, *getattr(arm, "paths", ())}
    names = [field.name for field in declared if field.init and field.name not in places]
    told: dict[str, Any] = json.loads(
        json.dumps({name: getattr(arm, name) for name in names}, default=str)
    )
    return told


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _unreadable(path: Path, problem: Exception) -> str:
    known = isinstance(problem, OSError) and problem.strerror
    said = str(known).lower() if known else one_line(str(problem)) or type(problem).__name__
    return f"saved fit {path} cannot be read: {said}"
