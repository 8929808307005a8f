"""What a run leaves: a state to go on from, a record, and a folder that Chronos loads."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError  # what torch raises for a file that is not its own
from typing import Any

import torch
from torch import Tensor

from candidates.pretraining.recipe import PretrainingRecipe, as_settings, differences
from harness.errors import StoreError

SCHEMA = 1
"""Of `state.pt` and `training.json`. 1: the first."""

STATE, RECORD, EXPORTED = "state.pt", "training.json", "checkpoint"

_DAMAGED = (OSError, EOFError, RuntimeError, UnpicklingError, KeyError, TypeError, ValueError)


@dataclass(slots=True, kw_only=True)
class State:
    """Where a run stands.

    Attributes
    ----------
    step
        Optimizer steps done. Series are a function of seed and step: this is the random state, too.
    network, average, optimizer
        Weights, their moving average, and what the optimizer remembers.
    curve
        Rows of step, mean loss since the row before, and learning rate.
    seconds
        Time spent training so far, over all sittings.
    """

    step: int
    network: dict[str, Tensor]
    average: dict[str, Tensor]
    optimizer: dict[str, Any]
    curve: list[tuple[int, float, float]]
    seconds: float


def save_state(folder: Path, recipe: PretrainingRecipe, state: State) -> None:
    """Replace `state.pt` at once: whatever happens, there is an old one or a new one."""
    content = {
        "schema": SCHEMA,
        "recipe": json.dumps(as_settings(recipe)),
        **{name: getattr(state, name) for name in State.__slots__},
    }
    draft = folder / f".{STATE}.{os.getpid()}.tmp"
    try:
        with draft.open("wb") as stream:
            torch.save(content, stream)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(folder / STATE)
    except OSError as problem:
        raise StoreError(f"{folder}: cannot be written: {problem.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)


def load_state(folder: Path, recipe: PretrainingRecipe, *, device: str) -> State | None:
    """Read `state.pt` back; None where there is none.

    Raises
    ------
    StoreError
        When it cannot be read, or was written by another recipe.
    """
    file = folder / STATE
    if not file.exists():
        return None
    try:
        content = torch.load(file, map_location=device, weights_only=True)
        schema, settings = content["schema"], json.loads(content["recipe"])
    except _DAMAGED as problem:
        said = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        raise StoreError(f"{file}: cannot be read as a training state: {said}") from None
    if schema != SCHEMA:
        raise StoreError(f"{file}: schema {schema}; this version reads {SCHEMA}")
    if found := differences(settings, json.loads(json.dumps(as_settings(recipe)))):
        raise StoreError(
            f"{folder}: holds a run of another recipe ({'; '.join(found[:3])}); take another folder"
        )
    return State(**{name: content[name] for name in State.__slots__})


def export(network: Any, folder: Path) -> Path:
    """Write weights (float16) and config where `BaseChronosPipeline.from_pretrained` finds them.

    The network's own weights stay as they are.
    """
    import copy

    target, draft = folder / EXPORTED, folder / f".{EXPORTED}.tmp"
    shutil.rmtree(draft, ignore_errors=True)
    copy.deepcopy(network).to("cpu", torch.float16).save_pretrained(draft)
    shutil.rmtree(target, ignore_errors=True)
    draft.replace(target)
    return target


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write `training.json`."""
    draft = folder / f".{RECORD}.tmp"
    draft.write_text(json.dumps({"schema": SCHEMA, **record}, indent=1), encoding="utf-8")
    draft.replace(folder / RECORD)
