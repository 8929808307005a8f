"""A verdict judged again from the store: the same bytes, or what differs by name.

Needs neither the experiment, nor its data, nor an arm: the policy stands in the verdict, the cells
and all that was given in its inputs. Scores are derived again from the sealed forecasts; what came
to pass is read from the score files, and held against its recorded digest.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import ConfigError, StoreError
from harness.experiments.policy import Policy
from harness.gate.history import (
    CellInput,
    Inputs,
    passing,
    read_inputs,
    read_verdict,
    scores_digest,
    standing,
    verdict_name,
)
from harness.gate.judge import judging_digest, verdict_from
from harness.gate.stored_scores import file_of, read_scores
from harness.judging.fact import Fact, FactCode, Value, fact
from harness.judging.verdict import Verdict, from_json, plain, to_json
from harness.parsing import adapter
from harness.running.identity import line_of
from harness.running.parts import together
from harness.running.sources import digest
from harness.running.store_folder import Seal, Store, is_store, open_store
from harness.scoring.scores import Truth, UnitScores, score

_MEANT = ("grid", "policy", "scoring", "code")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What came of judging again.

    Attributes
    ----------
    verdict
        As recorded.
    head
        The journal's head when it was passed.
    differences
        Each by name; empty when every byte is the same.
    notes
        What explains a difference and is none itself, such as other code.
    """

    verdict: Verdict
    head: str
    differences: tuple[Fact, ...]
    notes: tuple[Fact, ...]

    @property
    def same(self) -> bool:
        """Whether every byte is the same."""
        return not self.differences


def replay(asked: str, store: Store | None = None) -> Replay:
    """Judge a recorded verdict again.

    Parameters
    ----------
    asked
        The name of a verdict, or an experiment's name or file (its last verdict), or a
        `verdict.json` or the folder that holds it: that is held against the record of the same
        verdict.
    store
        Left out, the one the `verdict.json` lies in.

    Raises
    ------
    StoreError
        When the record, or what it was judged from, cannot be read.
    """
    path = Path(asked)
    differences: list[Fact] = []
    if is_verdict_file(asked):
        file = path / "verdict.json" if path.is_dir() else path
        if store is None:
            above = file.resolve().parents
            root = above[3] if len(above) > 3 else file.parent
            if not is_store(root):
                raise StoreError(f"{file}: is not inside a store; name one with --store")
            store = open_store(root, create=False)
        name, differences = _recorded(file, store)
    elif store is None:
        raise StoreError(f"{asked}: no such file; name the store of this verdict with --store")
    else:
        experiment = path.stem if path.suffix == ".toml" else asked
        name = asked if store.journal.last("verdict", asked) else standing(store, experiment)
        if not name:
            raise StoreError(f"{store.root}: no verdict named {asked}, nor one on it")
    verdict, inputs = read_verdict(store, name), read_inputs(store, name)
    scores, changed = _JudgedFrom(store=store, inputs=inputs).scores()
    differences += [*_edits(verdict, inputs), *changed]
    if not any(each.code == FactCode.SCORES_GONE for each in changed):
        given = dataclasses.replace(inputs.given, fingerprints=verdict.fingerprints)
        again = verdict_from(_policy(name, verdict), inputs, scores, given=given)
        differences += _between(plain(verdict), plain(again))
        if not differences and to_json(again) != to_json(verdict):
            differences.append(fact(FactCode.LAYOUT_DIFFERS))
    other = verdict.fingerprints.get("code") != judging_digest()
    return Replay(
        verdict=verdict,
        head=passing(store, name)[0],
        differences=tuple(differences),
        notes=(fact(FactCode.OTHER_CODE),) if other else (),
    )


def is_verdict_file(asked: str) -> bool:
    """Whether a `verdict.json` or a folder is asked about, not an experiment or a name.

    A folder that happens to be called like an experiment holds no verdict.
    """
    path = Path(asked)
    if path.is_dir():
        return path.name != asked or (path / "verdict.json").exists()
    return path.suffix != ".toml" and path.exists()


def _recorded(file: Path, store: Store) -> tuple[str, list[Fact]]:
    """Name of the verdict that a file was drawn from, and whether it says something else."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise StoreError(f"{file}: cannot be read: {problem}") from None
    shown = from_json(text, where=str(file))
    name, folder = verdict_name(shown), file.resolve().parent.name
    named = next((each for each in (name, folder) if store.journal.last("verdict", each)), "")
    if not named:
        raise StoreError(f"{file}: {store.root} has no record of this verdict ({name})")
    record = read_verdict(store, named)
    if text == to_json(record):
        return named, []
    places = tuple(str(each.values["place"]) for each in _between(plain(record), plain(shown)))
    return named, [fact(FactCode.FILE_DIFFERS, name=named, places=places or ("layout",))]


@dataclass(frozen=True, slots=True, kw_only=True)
class _JudgedFrom:
    """What a verdict was judged from, found again in its store."""

    store: Store
    inputs: Inputs

    def scores(self) -> tuple[list[UnitScores], list[Fact]]:
        """Derive the scores a verdict was judged from, and say which are not what they were.

        Returns
        -------
        list, list
            The scores of all cells that had some and can be derived, and each that cannot, or is of
            other numbers now.
        """
        store, inputs = self.store, self.inputs
        store.parts()  # a damaged record is no fault of a cell's
        found: list[UnitScores] = []
        changed: list[Fact] = []
        truths: dict[str, Truth] = {}
        plans = (
            {} if inputs.given.plan is None else {p.dataset: p for p in inputs.given.plan.datasets}
        )
        for each in inputs.cells:
            if not each.scores:
                continue
            cell: dict[str, Value] = {"arm": each.arm, "dataset": each.dataset, "seed": each.seed}
            try:
                if each.truth not in truths:
                    truths[each.truth] = self.truth(each.truth, plans[each.dataset].last)
                unit = self.score(each, truths[each.truth], plans[each.dataset].refit)
            except StoreError as problem:
                changed.append(fact(FactCode.SCORES_GONE, **cell, problem=str(problem)))
                continue
            if scores_digest(unit) != each.scores:
                changed.append(fact(FactCode.SCORES_DIFFER, **cell))
            found.append(unit)
        return found, changed

    def truth(self, wanted: str, last: str) -> Truth:
        """What came to pass, of a recorded digest, out of any score file that holds it.

        A file of a later night holds more: `last` is the date of the last origin.
        """
        for each in self.inputs.cells:
            if each.truth != wanted:
                continue
            names = (each.arm, each.role, each.dataset, each.seed)
            unit = read_scores(file_of(self.store, each.slot), names)
            if unit is not None:
                truth = unit.truth.at(unit.truth.origin_date <= np.datetime64(last))
                if truth.digest == wanted:
                    return truth
        raise StoreError(
            f"{self.store.root / 'scores'}: no file holds the actual values; `abharness gate` with "
            "the experiment writes them again"
        )

    def score(self, cell: CellInput, truth: Truth, refit: int | None) -> UnitScores:
        """Score the sealed forecasts of a cell again, found by its line and the plan's refits.

        A line may have begun anew; the results it was judged from are those with its digest.
        """
        lines: dict[Any, dict[str, list[str]]] = {}  # results -> cutoff -> keys of fits
        for key, fit in self.store.fits().items():
            if line_of(cell.dataset, fit.identity) == cell.line:
                by_cutoff = lines.setdefault(fit.identity.get("results"), {})
                by_cutoff.setdefault(fit.cutoff, []).append(key)
        for by_cutoff in reversed(lines.values()):
            found = self.answers(by_cutoff, truth, refit)
            if digest([seal.digests[place] for _, seal, place in found]) == cell.forecasts:
                break
        else:
            raise StoreError("the store no longer holds the forecasts that it was judged from")
        files = {key: self.store.read_sealed(key, seal) for key, seal, _ in found}
        part = together([files[key].at(np.array([place])) for key, _, place in found])
        return score(
            truth,
            part.forecast,
            arm=cell.arm,
            role=cell.role,
            seed=cell.seed,
            reasons=part.reason,
            residual_distribution=part.residual_distribution,
        )

    def answers(
        self, by_cutoff: Mapping[str, list[str]], truth: Truth, refit: int | None
    ) -> list[tuple[str, Seal, int]]:
        """Where the forecast of each origin lies, as far as there is one: key, seal and place."""
        days = truth.origin_date.astype(str).tolist()
        plan = (len(truth.step), int(truth.step[0]) - 1)
        found = []
        for number, day in enumerate(days):
            fitted = days[number // refit * refit if refit else 0]
            keys = by_cutoff.get(max((c for c in by_cutoff if c < fitted), default=""), [])
            there = {
                cutoff: (key, seal, place)
                for fit_key in keys
                for key, seal in self.store.seals(
                    fit_key
                ).items()  # the newest comes last, and counts
                if (seal.horizon, seal.gap) == plan
                for place, cutoff in enumerate(seal.cutoffs)
            }
            at = max((cutoff for cutoff in there if cutoff < day), default="")
            found += [there[at]] if at else []
        return found


def _policy(name: str, verdict: Verdict) -> Policy:
    from pydantic import ValidationError

    try:
        policy: Policy = adapter(Policy).validate_python(plain(verdict.policy))
    except (ValidationError, ConfigError) as problem:
        reason = " ".join(str(problem).split())[:200]
        raise StoreError(f"verdict {name}: policy: cannot be applied: {reason}") from None
    return policy


def _edits(verdict: Verdict, inputs: Inputs) -> Iterator[Fact]:
    """Where the record's own digests do not fit what they are digests of."""
    marks = verdict.fingerprints
    if inputs.digest != marks.get("inputs"):
        yield fact(FactCode.INPUTS_EDITED)
    if digest(plain(verdict.policy)) != marks.get("policy"):
        yield fact(FactCode.POLICY_EDITED)
    meant = {k: v for k, v in marks.items() if k in _MEANT or k.startswith("data ")}
    if digest(meant) != marks.get("meaning"):
        yield fact(FactCode.MEANING_EDITED)


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
