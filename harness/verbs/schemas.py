"""JSON schemas of the files people write and of the verdict, made from the classes that read them.

An editor completes keys with them and shows what each means.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from typing import Any, Literal

SchemaOf = Literal["experiment", "policy", "verdict"]
_ATTRIBUTE = re.compile(r"^(\w[^\n]*)\n((?:    [^\n]*\n?|\n)+)", re.MULTILINE)
"""Names of attributes in a docstring, and what it says of them."""
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_Schema = dict[str, Any]


def schema_text(what: SchemaOf) -> str:
    """A JSON schema as text."""
    from harness.judging.verdict import Verdict

    makers: dict[SchemaOf, Callable[[], _Schema]] = {
        "experiment": _experiment,
        "policy": _policy_file,
        "verdict": lambda: _of(Verdict),
    }
    made = {"$schema": _DIALECT, **makers[what]()}
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


def _policy() -> _Schema:
    from harness.experiments.policy import Policy

    return _of(Policy)


def _policy_file() -> _Schema:
    """A policy's tables at the top of a file of its own, or under `[policy]`."""
    found = _policy()
    parts = found.pop("$defs")
    under = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"policy": found},
        "required": ["policy"],
    }
    return {"title": "Policy", "anyOf": [found, under], "$defs": parts}


def _experiment() -> _Schema:
    """The tables of an experiment: each is a class of its own, and an arm's options are free."""
    from typing import get_args

    from harness.arm import Role
    from harness.experiments.experiment import SCHEMA, MeasureSettings, RunSettings
    from harness.window import RollingOrigin

    tables = {"run": _of(RunSettings), "measure": _of(MeasureSettings), "policy": _policy()}
    parts: _Schema = {}
    for found in tables.values():
        parts |= found.pop("$defs", {})
    plan = {key: value for key, value in _of(RollingOrigin).items() if key != "required"}
    text, name = {"type": "string"}, {"type": "string", "minLength": 1}
    arm = {
        "type": "object",
        "description": "An arm; further keys are options of its class.",
        "properties": {
            "name": {**name, "description": "Unique in the experiment; shown everywhere."},
            "use": {**name, "description": "module:Class"},
            "role": {"enum": list(get_args(Role)), "description": "Which side it is on."},
        },
        "required": ["name", "use", "role"],
    }
    return {
        "title": "Experiment",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "schema": {"const": SCHEMA},
            "title": {**text, "description": "Shown on every page."},
            "datasets": {"type": "array", "items": text, "minItems": 1, "uniqueItems": True},
            "plan": {
                **plan,
                "description": f"{plan['description']} [plan.ID] overrides it on a dataset.",
                "additionalProperties": plan,
            },
            "run": tables["run"],
            "arms": {"type": "array", "items": arm, "minItems": 1},
            "measure": tables["measure"],
            "policy": {
                "description": "The rules, or the name of a file that holds them.",
                "anyOf": [text, tables["policy"]],
            },
        },
        "required": ["datasets", "plan", "arms", "policy"],
        "$defs": parts,
    }


def _of(kind: type[Any]) -> _Schema:
    """The schema of a dataclass: no unknown keys, and each key with what its docstring says."""
    from pydantic import TypeAdapter

    found: _Schema = TypeAdapter(kind).json_schema()
    for each in (found, *found.get("$defs", {}).values()):
        if "properties" in each:
            each["additionalProperties"] = False
            words = inspect.cleandoc(each.pop("description", ""))
            summary, _, attributes = words.partition("\n\nAttributes\n----------\n")
            if not words.startswith(f"{each.get('title')}("):  # what a class without one gets
                each["description"] = summary.partition("\n\n")[0].replace("\n", " ")
            for names, said in _ATTRIBUTE.findall(attributes):
                for name in names.partition(" : ")[0].split(", "):
                    if name in each["properties"]:
                        each["properties"][name]["description"] = " ".join(said.split())
    return found
