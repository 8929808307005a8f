"""Verdicts kept: which were passed on an experiment, in order, and what changed in between.

`verdicts/NAME/index.json` lists them; each lies in a folder named after a digest of its content.
The same verdict again is no new evidence and no new entry: it confirms that judging is
repeatable, and is counted. Only origins that came to pass since are new evidence.

Schema numbers of the index: 1, the first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.errors import StoreError
from harness.gate.inputs import FILE as INPUTS
from harness.gate.inputs import scores_of
from harness.judging.findings import Outcome
from harness.judging.verdict import Verdict, to_json
from harness.running.identity import digest
from harness.running.lease import sole_writer
from harness.running.store import Store, read_record, write_record
from harness.scoring.scores import UnitScores

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
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
    summary: str
    decides: bool
    meaning: str
    outcomes: Mapping[str, str]
    spans: Mapping[str, Span]
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


def spans_of(scores: Sequence[UnitScores]) -> dict[str, Span]:
    """Origins by dataset, of scores that share a plan."""
    first = {unit.dataset: unit for unit in reversed(scores) if len(unit)}
    return {
        name: Span(
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
        return [_entry(row) for row in found["entries"]]
    except (KeyError, TypeError, ValueError) as problem:
        raise StoreError(f"{file}: not a whole index: {problem}") from None


def _entry(row: Mapping[str, Any]) -> Entry:
    spans = {name: Span(**span) for name, span in row["spans"].items()}
    return Entry(**{**row, "outcome": Outcome(row["outcome"]), "spans": spans})


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
        rows = [dataclasses.asdict(each) for each in known]
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


def _new(old: Span | None, span: Span, dates: Sequence[str] | None) -> int:
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
    for file in sorted((store.root / "verdicts").glob(f"*/*/{INPUTS}")):
        try:
            name = file.parent.relative_to(store.root).as_posix()
            found[name] = scores_of(file.parent, scoring=scoring)
        except StoreError:
            if file.parent.parent.name == experiment:
                raise
    return found
