"""Verdicts kept: which were passed on an experiment, in order, and what changed in between.

`verdicts/NAME/index.json` lists them; each lies in a folder named after a digest of its content.
The same verdict again is no new evidence and no new entry: it confirms that judging is
repeatable, and is counted. Only origins that came to pass since are new evidence.

Schema numbers of the index: 1, the first.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness.arm import Role
from harness.errors import StoreError
from harness.gate.stored_scores import read_scores
from harness.judging.declared import Cell, Given
from harness.judging.fact import Fact, FactCode, Value, fact
from harness.judging.findings import Outcome
from harness.judging.verdict import Verdict, plain, to_json
from harness.running.lease import sole_writer
from harness.running.sources import digest
from harness.running.store import Store, read_record, write_record, write_text
from harness.scoring.scores import UnitScores, in_time_order

INPUTS_SCHEMA = 1
INPUTS_FILE = "inputs.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellInput:
    """One declared cell and its scores.

    Attributes
    ----------
    unit
        Key of its unit: all that decides its forecasts.
    file
        Name of its score file in the store; '' where it has no scores.
    scores
        Digest of the scores as numbers; '' where it has none.
    failures
        Windows it failed.
    """

    arm: str
    role: Role
    dataset: str
    seed: int
    unit: str
    file: str = ""
    scores: str = ""
    failures: int = 0

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
    given: Given
    scoring: str
    kind: Literal["inputs"] = "inputs"
    schema: int = INPUTS_SCHEMA

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


def write_inputs(folder: Path, inputs: Inputs) -> None:
    """Write the record beside a verdict."""
    text = json.dumps(plain(inputs), sort_keys=True, indent=1, allow_nan=False) + "\n"
    write_text(folder / INPUTS_FILE, text)


def read_inputs(folder: Path) -> Inputs:
    """Read the record beside a verdict.

    Raises
    ------
    StoreError
        When it is missing, torn or newer.
    """
    from pydantic import TypeAdapter, ValidationError

    file = folder / INPUTS_FILE
    content = _content(folder)
    try:
        return TypeAdapter(Inputs).validate_python(content)
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise StoreError(f"{file}: not whole: {where}: {first['msg']}") from None


def _content(folder: Path) -> dict[str, Any]:
    file = folder / INPUTS_FILE
    try:
        content: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise StoreError(f"{file}: cannot be read: {problem}") from None
    if not isinstance(content, dict) or content.get("kind") != "inputs":
        raise StoreError(
            f"{file}: was written by an older abharness; remove {folder.parent} and run "
            "`abharness gate` again"
        )
    if content.get("schema") != INPUTS_SCHEMA:
        raise StoreError(
            f"{file}: was written by a newer abharness: schema {content.get('schema')}, this one "
            f"reads {INPUTS_SCHEMA}"
        )
    return content


def scores_of(folder: Path, *, scoring: str) -> list[tuple[str, str]]:
    """Unit and digest of the scores of every cell a verdict was judged from.

    Without cells that failed windows (what failed may succeed when it is run again), and empty
    where other code made the scores. Read without checking all else: a store may hold hundreds.

    Raises
    ------
    StoreError
        When the record is torn or newer.
    """
    content = _content(folder)
    if content.get("scoring") != scoring:
        return []
    try:
        return [
            (row["unit"], row["scores"])
            for row in content["cells"]
            if row["scores"] and not row["failures"]
        ]
    except (KeyError, TypeError) as problem:
        raise StoreError(f"{folder / INPUTS_FILE}: not whole: {problem}") from None


def without_fingerprints(given: Given) -> Given:
    """Leave out what the verdict itself holds."""
    return dataclasses.replace(given, fingerprints={})


def stored_scores(store: Store, inputs: Inputs) -> tuple[list[UnitScores], list[Fact]]:
    """Read the scores a verdict was judged from, and say which are not what they were.

    Returns
    -------
    list, list
        The scores of all cells that have some, and each that is gone, cannot be read or holds
        other numbers.
    """
    found: list[UnitScores] = []
    changed: list[Fact] = []
    for each in inputs.cells:
        if not each.file:
            continue
        file = store.root / "scores" / each.file
        cell: dict[str, Value] = {"arm": each.arm, "dataset": each.dataset, "seed": each.seed}
        try:
            unit = read_scores(
                file, arm=each.arm, role=each.role, dataset=each.dataset, seed=each.seed
            )
        except StoreError as problem:
            changed.append(fact(FactCode.SCORES_GONE, **cell, problem=str(problem)))
            continue
        if scores_digest(unit) != each.scores:
            changed.append(fact(FactCode.SCORES_DIFFER, **cell, file=file.name))
        found.append(unit)
    return found, changed


def conflicts(
    now: Sequence[CellInput], earlier: Mapping[str, Sequence[tuple[str, str]]]
) -> list[Fact]:
    """Name cells whose unit had other scores in any verdict before, and where.

    The same meaning must give the same numbers. Units with failed windows are left out.

    Parameters
    ----------
    earlier
        Folder of a verdict in the store to the scores of its units, see `scores_of`.
    """
    return [
        fact(
            FactCode.SCORES_CONFLICT,
            arm=each.arm,
            dataset=each.dataset,
            seed=each.seed,
            unit=each.unit[:12],
            verdicts=tuple(others),
        )
        for each in now
        if each.scores and not each.failures
        if (others := [name for name, known in earlier.items() if _differs(each, known)])
    ]


def changed(then: Sequence[CellInput], now: Sequence[CellInput]) -> list[Cell]:
    """Name cells that have other scores now than a verdict was judged from, or none any more."""
    scores = {each.cell: each.scores for each in now}
    return [each.cell for each in then if scores.get(each.cell, "") != each.scores]


def _differs(cell: CellInput, known: Sequence[tuple[str, str]]) -> bool:
    return any(unit == cell.unit and scores != cell.scores for unit, scores in known)


SCHEMA = 1


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
    folder
        Its folder below the experiment's.
    candidate, legacy, outcome, summary
        As in the verdict.
    decides
        It is on the policy's pair: the one that decided the exit code.
    meaning
        Digest of everything that decides the scores and how they are judged.
    outcomes
        Finding id to outcome.
    spans
        Origins by dataset.
    confirmed
        How often the same verdict was passed again, right after.
    """

    sequence: int
    folder: str
    candidate: str
    legacy: str
    outcome: Outcome
    summary: Fact
    decides: bool
    meaning: str
    outcomes: Mapping[str, str]
    spans: Mapping[str, OriginSpan]
    confirmed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What changed from one verdict to a later one on the same pair.

    Attributes
    ----------
    before, after
        The outcomes.
    findings
        Id to (outcome before, outcome after) where they differ; None where there was none.
    new_origins
        Origins after the last one of before, by dataset: the only new evidence.
    same_meaning
        Nothing that decides the numbers changed.
    """

    before: Outcome
    after: Outcome
    findings: Mapping[str, tuple[str | None, str | None]]
    new_origins: Mapping[str, int] = field(default_factory=dict)
    same_meaning: bool = False


def verdict_name(verdict: Verdict, text: str) -> str:
    """Name of a verdict's folder: a digest of its `text`, but for the day it was passed on."""
    if verdict.judged_on is not None:
        text = to_json(dataclasses.replace(verdict, judged_on=None))
    return digest(text)[:16]


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
        When the index is torn or newer.
    """
    file = store.verdict_folder(experiment) / "index.json"
    if not file.is_file():
        return []
    found = read_record(file)
    try:
        if any(isinstance(row["summary"], str) for row in found["entries"]):
            raise StoreError(
                f"{file}: was written by an older abharness; remove {file.parent} and run "
                "`abharness gate` again"
            )
        return [_entry(row) for row in found["entries"]]
    except (KeyError, TypeError, ValueError) as problem:
        raise StoreError(f"{file}: not a whole index: {problem}") from None


def _entry(row: Mapping[str, Any]) -> Entry:
    from pydantic import TypeAdapter

    entry: Entry = TypeAdapter(Entry).validate_python(row)
    return entry


def remember(
    store: Store,
    experiment: str,
    verdict: Verdict,
    *,
    folder: str,
    decides: bool,
    scores: Sequence[UnitScores],
) -> Entry:
    """Put a verdict into the index; the same as the last on its pair confirms that one.

    Verdicts may be passed at the same time: each finds the entries of the others.
    """
    root = store.verdict_folder(experiment)
    with sole_writer(root):
        known = history(store, experiment)
        same = [e for e in known if (e.candidate, e.legacy) == (verdict.candidate, verdict.legacy)]
        if same and same[-1].folder == folder:
            entry = dataclasses.replace(same[-1], confirmed=same[-1].confirmed + 1)
            known[known.index(same[-1])] = entry
        else:
            sequence = known[-1].sequence + 1 if known else 1
            entry = _new_entry(verdict, sequence, folder=folder, decides=decides, scores=scores)
            known.append(entry)
        rows = [plain(each) for each in known]
        write_record(root / "index.json", {"schema": SCHEMA, "entries": rows})
    return entry


def _new_entry(
    verdict: Verdict, sequence: int, *, folder: str, decides: bool, scores: Sequence[UnitScores]
) -> Entry:
    return Entry(
        sequence=sequence,
        folder=folder,
        candidate=verdict.candidate,
        legacy=verdict.legacy,
        outcome=verdict.outcome,
        summary=verdict.summary,
        decides=decides,
        meaning=verdict.fingerprints.get("meaning", ""),
        outcomes={finding.id: finding.outcome.value for finding in verdict.findings},
        spans=spans_of(scores),
    )


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
    ids = dict.fromkeys([*old.outcomes, *new.outcomes])
    moved = {
        name: (old.outcomes.get(name), new.outcomes.get(name))
        for name in ids
        if old.outcomes.get(name) != new.outcomes.get(name)
    }
    return Change(
        before=old.outcome,
        after=new.outcome,
        findings=moved,
        new_origins={
            name: _new(old.spans.get(name), span, (dates or {}).get(name))
            for name, span in new.spans.items()
        },
        same_meaning=bool(old.meaning) and old.meaning == new.meaning,
    )


def _new(old: OriginSpan | None, span: OriginSpan, dates: Sequence[str] | None) -> int:
    if old is None:
        return span.origins
    if dates is not None:
        return sum(day > old.last for day in dates)
    return max(0, span.origins - old.origins) if span.last > old.last else 0


def earlier_scores(
    store: Store, experiment: str, *, scoring: str
) -> dict[str, list[tuple[str, str]]]:
    """Scores of units by the verdict's folder in the store, as far as the same code scored them.

    Experiments share units, so verdicts on others count as well, as far as they can be read.

    Raises
    ------
    StoreError
        When a verdict on this experiment cannot be read.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for file in sorted((store.root / "verdicts").glob(f"*/*/{INPUTS_FILE}")):
        try:
            name = file.parent.relative_to(store.root).as_posix()
            found[name] = scores_of(file.parent, scoring=scoring)
        except StoreError:
            if file.parent.parent.name == experiment:
                raise
    return found
