"""A network in a folder: the backbone as a Chronos checkpoint, and what the network was told."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import ArmError

if TYPE_CHECKING:
    from candidates.replacement.bayesian import HFBayesianAutoformer

FILE = "replacement.json"
_SCHEMA = 1


def save(network: HFBayesianAutoformer, folder: Path) -> None:
    """Write both; the folder is also what `backbone` and chronos-forecasting take."""
    model: Any = network.backbone.model
    model.save_pretrained(folder)
    layout, options = dataclasses.asdict(network.layout), dataclasses.asdict(network.options)
    config = {
        **{name: layout[name] for name in ("seq_len", "pred_len", "enc_in", "c_out")},
        "c_out_evaluation": layout["targets"],
        "quantile_levels": list(layout["levels"]),
    }
    kept = {n: v for n, v in options.items() if n not in ("backbone", "revision", "device")}
    text = json.dumps({"schema": _SCHEMA, "config": config, "options": kept}, indent=2)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def stored(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Config and options of a folder.

    Raises
    ------
    ArmError
        When there are none, or of another schema.
    """
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise ArmError(f"{folder}: no readable {FILE}: {problem}") from None
    if not isinstance(found, dict) or found.get("schema") != _SCHEMA:
        raise ArmError(f"{folder / FILE}: expected schema {_SCHEMA}")
    return found["config"], found["options"]
