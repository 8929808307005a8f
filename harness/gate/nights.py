"""What each night said: one record a call of `nightly`, which every form begins with.

Record: ``night`` under the experiment. It names the verdict that stands, what is new, how fresh the
data are, and digests of all that decides numbers, so that two nights can be held beside each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from datetime import date as Date
from typing import Literal

import numpy as np

from harness.data.refresh import PATIENCE, freshness
from harness.gate.dossier import Dossier
from harness.gate.judge import Judgement, judging_digest
from harness.gate.stored_scores import scoring_digest
from harness.judging.fact import SCHEMA, Fact, FactCode, fact
from harness.judging.findings import Outcome
from harness.judging.verdict import plain
from harness.parsing import parse_record
from harness.running.grid import Grid
from harness.running.sources import digest
from harness.running.store_folder import Store

NIGHT = "night"
Mark = Literal["data revised", "plan", "policy", "arms", "weights", "code", "installation"]
"""What can be other than the night before; new sessions are no change of any of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """One call of the job of every night.

    Attributes
    ----------
    verdict
        Name of the one that stands.
    news
        What is new, then what must be known of the data; empty where another version said it.
    until
        Dataset to the ISO date of its last session.
    rows
        Dataset to the digest of its rows up to there.
    basis
        Digest of each thing that decides numbers, by its mark.
    marks
        What is other than the night before.
    at
        ISO time, UTC.
    """

    verdict: str
    outcome: Outcome
    candidate: str
    legacy: str
    news: tuple[Fact, ...]
    until: Mapping[str, str]
    rows: Mapping[str, str]
    basis: Mapping[Mark, str]
    marks: tuple[Mark, ...] = ()
    schema: int = SCHEMA
    at: str = field(default="", compare=False)


def data_facts(grid: Grid, today: Date | None = None) -> tuple[Fact, ...]:
    """What must be known of the data: an update that failed, sessions that are lacking."""
    day, found = today or datetime.now(UTC).date(), []
    for split in grid.splits.values():
        each = freshness(split.dataset, day)
        if each.ended:
            continue
        if each.problem:
            found.append(fact(FactCode.NOT_UPDATED, dataset=each.dataset, why=each.problem))
        if each.lacking > PATIENCE:
            last = str(each.last)
            found.append(
                fact(FactCode.DATA_OLD, dataset=each.dataset, last=last, lacking=each.lacking)
            )
    return tuple(found)


def record_night(asked: Dossier, judgement: Judgement) -> Night:
    """Write down what a night said; a store that cannot be written is left as it is."""
    grid, store, policy, cells = asked.grid, asked.store, asked.policy, asked.cells
    plans = [plain(split.plan) for split in grid.splits.values()]
    basis: dict[Mark, str] = {
        "plan": digest([{k: v for k, v in plan.items() if k != "origins"} for plan in plans]),
        "policy": digest(plain(policy)),
        "arms": digest([[cell.identity["source"], dict(cell.arm.options)] for cell in cells]),
        "weights": digest([cell.identity["weights"] for cell in cells]),
        "code": digest([judging_digest(), scoring_digest()]),
        "installation": digest([cell.environment for cell in cells]),
    }
    known = nights(store, asked.name)
    before = known[-1] if known else None
    marks = [mark for mark in basis if before and before.basis.get(mark) != basis[mark]]
    for dataset, day in before.until.items() if before else ():
        split = grid.splits.get(dataset)
        if split is None:
            continue
        seen = int(np.searchsorted(split.dataset.series.dates, np.datetime64(day), side="right"))
        if before and split.rows_digest(seen) != before.rows[dataset]:
            marks.insert(0, "data revised")
            break
    night = Night(
        verdict=judgement.folder.name,
        outcome=judgement.verdict.outcome,
        candidate=policy.candidate,
        legacy=policy.baseline,
        news=judgement.news,
        until={n: str(each.dataset.series.dates[-1]) for n, each in grid.splits.items()},
        rows={n: each.rows_digest(len(each.dataset)) for n, each in grid.splits.items()},
        basis=dict(basis),
        marks=tuple(marks),
    )
    if not store.journal.read_only:
        body = {key: value for key, value in plain(night).items() if key != "at"}
        store.journal.append(NIGHT, asked.name, body)
    return night


def nights(store: Store, experiment: str) -> list[Night]:
    """Every night of an experiment, the oldest first."""
    found = []
    for row, body in store.journal.all(NIGHT, experiment):
        news = body["news"] if body.get("schema") == SCHEMA else []
        content = {**body, "news": news, "at": row.at}
        found.append(parse_record(Night, content, where=f"{NIGHT} {row.key}"))
    return found
