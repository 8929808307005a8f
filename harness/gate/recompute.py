"""A verdict judged again from what is stored beside it: the same bytes, or what differs by name.

Needs neither the experiment, nor its data, nor an arm: the policy stands in the verdict, the cells
and all that was given in `inputs.json`, the losses in the store's score files.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import ConfigError, StoreError
from harness.experiments.policy import Policy
from harness.gate.history import Inputs, read_inputs, stored_scores, verdict_name
from harness.gate.judge import judging_digest, verdict_from
from harness.judging.fact import Fact, FactCode, fact
from harness.judging.verdict import Verdict, from_json, plain, to_json
from harness.running.sources import digest
from harness.running.store import Store, is_store, open_store

_MEANT = ("grid", "policy", "scoring", "code")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What came of judging again.

    Attributes
    ----------
    verdict
        As recorded.
    differences
        Each by name; empty when every byte is the same.
    notes
        What explains a difference and is none itself, such as other code.
    """

    verdict: Verdict
    differences: tuple[Fact, ...]
    notes: tuple[Fact, ...]

    @property
    def same(self) -> bool:
        """Whether every byte is the same."""
        return not self.differences


def replay(path: Path, store: Store | None = None) -> Replay:
    """Judge a stored verdict again.

    Parameters
    ----------
    path
        `verdict.json`, or the folder that holds it.
    store
        Where the scores lie; left out, the store the verdict lies in.

    Raises
    ------
    StoreError
        When the record or what it was judged from cannot be read.
    """
    file = path / "verdict.json" if path.is_dir() else path
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise StoreError(f"{file}: cannot be read: {problem}") from None
    verdict = from_json(text, where=str(file))
    inputs = read_inputs(file.parent)
    scores, changed = stored_scores(store or _store_of(file), inputs)
    differences = [*_edits(file, text, verdict, inputs), *changed]
    given = dataclasses.replace(inputs.given, fingerprints=verdict.fingerprints)
    again = verdict_from(_policy(file, verdict), inputs, scores, given=given)
    differences += _between(json.loads(text), json.loads(to_json(again)))
    if not differences and to_json(again) != text:
        differences.append(fact(FactCode.LAYOUT_DIFFERS))
    return Replay(verdict=verdict, differences=tuple(differences), notes=_notes(verdict))


def _store_of(file: Path) -> Store:
    root = file.resolve().parents[3] if len(file.resolve().parents) > 3 else file.parent
    if not is_store(root):
        raise StoreError(f"{file}: lies in no store; name one with --store")
    return open_store(root, create=False)


def _policy(file: Path, verdict: Verdict) -> Policy:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Policy).validate_python(plain(verdict.policy))
    except (ValidationError, ConfigError) as problem:
        reason = " ".join(str(problem).split())[:200]
        raise StoreError(f"{file}: policy: cannot be applied: {reason}") from None


def _edits(file: Path, text: str, verdict: Verdict, inputs: Inputs) -> Iterator[Fact]:
    """Where the record's own digests do not fit what they are digests of."""
    marks = verdict.fingerprints
    if inputs.digest != marks.get("inputs"):
        yield fact(FactCode.INPUTS_EDITED)
    if digest(plain(verdict.policy)) != marks.get("policy"):
        yield fact(FactCode.POLICY_EDITED)
    meant = {k: v for k, v in marks.items() if k in _MEANT or k.startswith("data ")}
    if digest(meant) != marks.get("meaning"):
        yield fact(FactCode.MEANING_EDITED)
    name = verdict_name(verdict, text)
    if re.fullmatch("[0-9a-f]{16}", file.parent.name) and file.parent.name != name:
        yield fact(FactCode.FOLDER_DIFFERS, name=name, folder=file.parent.name)


def _notes(verdict: Verdict) -> tuple[Fact, ...]:
    if verdict.fingerprints.get("code") == judging_digest():
        return ()
    return (fact(FactCode.OTHER_CODE),)


def _between(old: Any, new: Any, name: str = "") -> Iterator[Fact]:
    """Name every place where two records differ, findings by their id."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from _between(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            label = one.get("id", index) if isinstance(one, dict) else index
            yield from _between(one, other, f"{name}[{label}]")
    elif old != new or type(old) is not type(new):
        yield fact(FactCode.VALUE_DIFFERS, place=name, recorded=_short(old), again=_short(new))


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
