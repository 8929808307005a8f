"""Verdicts kept: which were passed on an experiment, in order, and what changed in between.

Records: ``verdict`` and ``inputs`` (what it was judged from) under the verdict's name, a digest of
its content; ``passed`` under experiment and pair, one each time another verdict is passed on it;
``stands`` (the last one that decides), ``family`` (the verdicts on all legacy arms) and
``scored`` (the first scores of a cell, which every later verdict is held against). The same verdict
again is no new evidence and writes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from harness.arm import Role
from harness.errors import StoreError
from harness.experiments.policy import Policy
from harness.judging.declared import Cell, Circumstances
from harness.judging.fact import SCHEMA, Fact, FactCode, expect_schema, fact
from harness.judging.findings import Outcome
from harness.judging.verdict import Change, Verdict, plain, verdict_of
from harness.parsing import adapter, faults_of
from harness.records.journal import Journal
from harness.running.sources import digest
from harness.running.store_folder import Store
from harness.scoring.scores import UnitScores, in_time_order


@dataclass(frozen=True, slots=True, kw_only=True)
class CellInput:
    """One declared cell and its scores.

    Attributes
    ----------
    unit
        Its key: all that decides its forecasts.
    line
        What all its nights have in common.
    slot
        Start of the name of its score file; '' where it has no scores.
    forecasts, truth, scores
        Digests of what was scored, of what came, and of the scores as numbers; '' where it has
        none.
    failures
        Windows it failed.
    machine
        Where its forecasts were made, the last of them.
    """

    arm: str
    role: Role
    dataset: str
    seed: int
    unit: str
    line: str = ""
    slot: str = ""
    forecasts: str = ""
    truth: str = ""
    scores: str = ""
    failures: int = 0
    machine: Mapping[str, str] = field(default_factory=dict)

    @property
    def cell(self) -> Cell:
        """The same as the verdict names it."""
        return Cell(arm=self.arm, dataset=self.dataset, seed=self.seed, role=self.role)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """All of it. The given fingerprints are left out: they stand in the verdict itself.

    Attributes
    ----------
    scoring
        Digest of the code that made the scores.
    """

    cells: tuple[CellInput, ...]
    given: Circumstances
    scoring: str
    kind: Literal["inputs"] = "inputs"
    schema: int = SCHEMA

    @property
    def digest(self) -> str:
        """Hash of everything in it."""
        return digest(plain(self))


def scores_digest(unit: UnitScores) -> str:
    """Hash of a unit's scores as numbers, independent of names, files and row order."""
    unit = in_time_order(unit)
    content = hashlib.sha256(unit.truth_digest.encode())
    content.update(unit.ok.tobytes())
    for name in sorted(unit.values):
        content.update(name.encode())
        content.update(np.ascontiguousarray(unit.values[name], dtype="<f8").data)
    return content.hexdigest()


def read_verdict(store: Store, name: str) -> Verdict:
    """Read a verdict by its name.

    Raises
    ------
    StoreError
        When there is none, or it is not what was written.
    """
    content = store.journal.latest("verdict", name)
    if content is None:
        raise StoreError(f"{store.root}: no verdict named {name}; `abharness gate` makes one")
    return verdict_of(content, where=f"{store.journal.path}: verdict {name}")


def read_inputs(store: Store, name: str) -> Inputs:
    """Read what a verdict was judged from.

    Raises
    ------
    StoreError
        When there is none, or it is not what was written.
    """
    from pydantic import ValidationError

    where = f"{store.journal.path}: inputs of {name}"
    content = store.journal.latest("inputs", name)
    if content is None:
        raise StoreError(f"{where}: not there")
    expect_schema(content, where=where)
    try:
        found: Inputs = adapter(Inputs).validate_python(content)
    except ValidationError as problem:
        raise StoreError(f"{where}: not whole: {faults_of(problem)[0]}") from None
    return found


def conflicts(
    store: Store,
    now: Sequence[CellInput],
    *,
    scoring: str,
    fits: Mapping[str, Collection[str]],
) -> tuple[dict[str, Fact], set[str]]:
    """Name cells that had other scores in a verdict before, and in which; by their keys.

    The same meaning must give the same numbers. Cells with failed windows are left out: what
    failed may succeed when it is run again; so are those of which a part was given up since.

    Parameters
    ----------
    scoring
        Digest of the code that scores: what other code made says nothing.
    fits
        Keys of each cell's fits by its own key.

    Returns
    -------
    dict, set
        These cells, and those whose scores of today are recorded already.
    """
    found, recorded = {}, set[str]()
    drops = store.journal.all("drop")
    whole = [each for each in now if each.scores and not each.failures]
    with store.journal.at_rest():
        known = [store.journal.records("scored", each.unit) for each in whole]
    bodies = store.journal.bodies([record for records in known for record in records])
    for each, records in zip(whole, known, strict=True):
        given_up = max(
            (record.seq for record, body in drops if body.get("fit") in fits.get(each.unit, ())),
            default=0,
        )
        others = []
        for record in records:
            body = next(bodies)
            if (body["scoring"], body["scores"]) == (scoring, each.scores):
                recorded.add(each.unit)
            elif body["scoring"] == scoring and record.seq > given_up:
                others.append(body["verdict"])
        if others:
            found[each.unit] = fact(
                FactCode.SCORES_CONFLICT,
                arm=each.arm,
                dataset=each.dataset,
                seed=each.seed,
                verdicts=tuple(others),
            )
    return found, recorded


def changed(then: Sequence[CellInput], now: Sequence[CellInput]) -> list[Cell]:
    """Name cells that have other scores now than a verdict was judged from, or none any more."""
    scores = {each.cell: each.scores for each in now}
    return [each.cell for each in then if scores.get(each.cell, "") != each.scores]


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginSpan:
    """The origins of one dataset in a verdict: how many, ISO dates of the first and the last."""

    origins: int
    first: str
    last: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One verdict of an experiment.

    Attributes
    ----------
    sequence
        From 1, in the order in which they were passed.
    name
        Of the verdict: a digest of its content.
    head
        The journal's head when it was passed: a hash of all that it was made from, and of itself.
    candidate, legacy, outcome
        As in the verdict.
    decides
        It is on the policy's pair: the one that decided the exit code.
    meaning
        Digest of everything that decides the scores and how they are judged.
    outcomes
        Finding id to outcome.
    spans
        Origins by dataset.
    machines
        Where the forecasts were made.
    at
        ISO time (UTC) at which it was passed.
    """

    sequence: int
    name: str
    head: str
    candidate: str
    legacy: str
    outcome: Outcome
    decides: bool
    meaning: str
    outcomes: Mapping[str, str]
    spans: Mapping[str, OriginSpan]
    machines: tuple[Mapping[str, str], ...] = ()
    at: str = field(default="", compare=False)


def verdict_name(verdict: Verdict) -> str:
    """Name of a verdict: a digest of it, but for the day it was passed on."""
    return _name_of(plain(verdict))


def _name_of(record: Mapping[str, Any]) -> str:
    return digest({**record, "judged_on": None})[:16]


def spans_of(scores: Sequence[UnitScores]) -> dict[str, OriginSpan]:
    """Origins by dataset, of scores that share a plan."""
    first = {unit.dataset: unit for unit in reversed(scores) if len(unit)}
    return {
        name: OriginSpan(
            origins=len(unit),
            first=str(unit.origin_date.min()),
            last=str(unit.origin_date.max()),
        )
        for name, unit in sorted(first.items())
    }


def history(store: Store, experiment: str) -> list[Entry]:
    """Every verdict on an experiment, the oldest first; empty where there is none.

    Raises
    ------
    StoreError
        When a record is not what was written.
    """
    records = [
        record
        for key in store.journal.newest("passed")
        if json.loads(key)[0] == experiment
        for record in store.journal.records("passed", key)
    ]
    records.sort(key=lambda record: record.seq)
    rows = [
        {**store.journal.body(record), "sequence": number, "head": record.head, "at": record.at}
        for number, record in enumerate(records, 1)
    ]
    try:
        entries: list[Entry] = adapter(list[Entry]).validate_python(rows)
    except ValueError as problem:
        raise StoreError(f"{store.journal.path}: verdicts on {experiment}: {problem}") from None
    return entries


def record_verdicts(
    store: Store,
    experiment: str,
    passed: Sequence[tuple[Verdict, Inputs]],
    *,
    scores: Sequence[UnitScores],
    recorded: Collection[str],
) -> list[str]:
    """Write the verdicts of a call, the one that decides first, in one transaction.

    What is known already is not written again. A store that cannot be written is left as it is.

    Parameters
    ----------
    recorded
        Keys of cells whose scores are a precedent already, or are none.

    Returns
    -------
    list
        Their names.
    """
    verdicts = [plain(verdict) for verdict, _ in passed]
    names = [_name_of(record) for record in verdicts]
    if store.journal.read_only:
        return names
    journal = store.journal
    with journal.writing():
        for name, record, (_, inputs) in zip(names, verdicts, passed, strict=True):
            journal.append_new("verdict", name, record)
            journal.append_new("inputs", name, plain(inputs))
        _remember_scores(journal, names[0], passed[0][1], recorded)
        rows = [
            {"legacy": v.legacy, "outcome": v.outcome.value, "name": name}
            for name, (v, _) in zip(names, passed, strict=True)
        ]
        first, first_cells = passed[0][0], [c for c in passed[0][1].cells if c.scores]
        family = {"decides": first.legacy, "outcome": first.outcome.value, "verdicts": rows}
        journal.append_new("family", names[0], family)
        made_on = {json.dumps(dict(c.machine), sort_keys=True): c.machine for c in first_cells}
        machines = [made_on[each] for each in sorted(made_on) if made_on[each]]
        for name, (verdict, _) in zip(names, passed, strict=True):
            found = plain(
                Entry(
                    sequence=0,
                    name=name,
                    head="",
                    candidate=verdict.candidate,
                    legacy=verdict.legacy,
                    outcome=verdict.outcome,
                    decides=name == names[0],
                    meaning=verdict.fingerprints.get("meaning", ""),
                    outcomes={finding.id: finding.outcome.value for finding in verdict.findings},
                    spans=spans_of(scores),
                    machines=tuple(machines),
                )
            )
            own = ("sequence", "head", "at")  # which the journal's row has
            entry = {key: value for key, value in found.items() if key not in own}
            journal.append_new("passed", pair_key(experiment, verdict), entry)
        journal.append_new("stands", experiment, {"verdict": names[0]})
    return names


def pair_key(experiment: str, pair: Verdict | Policy) -> str:
    """Key of what was passed on a pair of an experiment."""
    legacy = pair.legacy if isinstance(pair, Verdict) else pair.baseline
    return json.dumps([experiment, pair.candidate, legacy])


def last_on_pair(store: Store, experiment: str, pair: Policy) -> Verdict | None:
    """The last verdict on a pair; None where there is none, or another version wrote it."""
    passed = store.journal.latest("passed", pair_key(experiment, pair))
    known = store.journal.latest("verdict", str(passed["name"])) if passed else None
    if known is None or known.get("schema") != SCHEMA:
        return None
    return verdict_of(known, where=f"{store.journal.path}: verdict on {experiment}")


def fingerprints_of(store: Store, name: str) -> Mapping[str, str]:
    """Digests that a verdict rests on, whichever version wrote it."""
    found: Mapping[str, str] = (store.journal.latest("verdict", name) or {}).get("fingerprints", {})
    return found


def passing(store: Store, name: str) -> tuple[str, str]:
    """The journal's head and the time (UTC, ISO) when a verdict was passed last.

    Where that is not recorded, the head there is now and ''.
    """
    journal = store.journal
    for record in reversed(journal.records("passed")):
        if journal.body(record)["name"] == name:
            return record.head, record.at
    return journal.head, ""


def experiments(store: Store) -> list[str]:
    """Those with verdicts."""
    return sorted({str(json.loads(key)[0]) for key in store.journal.newest("passed")})


def _remember_scores(
    journal: Journal, name: str, inputs: Inputs, recorded: Collection[str]
) -> None:
    """Write the first scores of each cell, which later verdicts are held against."""
    for each in inputs.cells:
        if not each.scores or each.failures or each.unit in recorded:
            continue
        said = {"scoring": inputs.scoring, "scores": each.scores}
        known = [journal.body(record) for record in journal.records("scored", each.unit)]
        if not any({**body, "verdict": ""} == {**said, "verdict": ""} for body in known):
            journal.append("scored", each.unit, {**said, "verdict": name})


def standing(store: Store, experiment: str) -> str:
    """Name of the last verdict on an experiment that decides; '' where there is none."""
    known = store.journal.latest("stands", experiment)
    return str(known["verdict"]) if known else ""


def before(entries: Sequence[Entry], entry: Entry) -> Entry | None:
    """The last verdict on the same pair that came before one."""
    earlier = [
        e
        for e in entries
        if e.sequence < entry.sequence
        and (e.candidate, e.legacy) == (entry.candidate, entry.legacy)
    ]
    return earlier[-1] if earlier else None


def change(old: Entry, new: Entry, *, dates: Mapping[str, Sequence[str]] | None = None) -> Change:
    """Say what changed between two verdicts.

    Parameters
    ----------
    dates
        ISO dates of all origins of the newer one, by dataset, to count those that are new; left
        out, the difference of the counts is taken where the last origin moved.
    """

    def new_since(last: OriginSpan | None, span: OriginSpan, days: Sequence[str] | None) -> int:
        if last is None:
            return span.origins
        if days is not None:
            return sum(day > last.last for day in days)
        return max(0, span.origins - last.origins) if span.last > last.last else 0

    ids = dict.fromkeys([*old.outcomes, *new.outcomes])
    moved = {
        name: (old.outcomes.get(name), new.outcomes.get(name))
        for name in ids
        if old.outcomes.get(name) != new.outcomes.get(name)
    }
    return Change(
        before=old.outcome,
        findings=moved,
        new_origins={
            name: new_since(old.spans.get(name), span, (dates or {}).get(name))
            for name, span in new.spans.items()
        },
    )
