"""Everything that the page of the nights shows, gathered from records alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.gate.history import Entry
from harness.gate.nights import Night
from harness.judging.declared import Look
from harness.judging.findings import Finding
from harness.judging.verdict import Verdict
from harness.scoring.scores import EVERY
from harness.stats.longrun import centred
from harness.window import Array, Dates, Rows
from reports.words.numbers import identifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """What a rule compares on a dataset, origin by origin in time order.

    Attributes
    ----------
    above, below : [n]
        Candidate and what it is held against; their mean over seeds.
    dates : [n]
        Of the origins.
    """

    finding: Finding
    above: Array
    below: Array
    dates: Dates

    def effect(self, rows: slice | Rows = EVERY) -> float | None:
        """The effect over some origins; None without a number."""
        estimand = self.finding.estimand
        assert estimand is not None
        above, below = self.above[rows], self.below[rows]
        excess = centred(above, below)[0] if len(above) else np.nan
        return estimand.effect(excess) if np.isfinite(excess) else None

    @property
    def slug(self) -> str:
        """What its pictures are called: letters, digits and hyphens."""
        return identifier(self.finding.id).strip("-").lower()

    def by_block(self) -> tuple[list[str], list[Rows]]:
        """Fixed blocks of origins: years, or quarters where there are fewer than four years."""
        months = self.dates.astype("datetime64[M]").astype(int)
        size = 12 if (months[-1] - months[0]) >= 36 else 3
        blocks = months // size
        names, rows = [], []
        for block in np.unique(blocks):
            year, month = divmod(int(block) * size, 12)
            names.append(str(1970 + year) + (f" Q{month // 3 + 1}" if size == 3 else ""))
            rows.append(np.flatnonzero(blocks == block))
        return names, rows


@dataclass(frozen=True, slots=True, kw_only=True)
class CostSeries:
    """What one origin took of an arm's process, night by night on one class of machine."""

    arm: str
    machine: str
    days: tuple[str, ...]
    seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataState:
    """How far one dataset has come; `ended` is the last session of data that have ended."""

    dataset: str
    until: str
    last_origin: str
    ended: str
    pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryInput:
    """All the page shows.

    Attributes
    ----------
    verdict
        The one that stands.
    since
        ISO day on which the outcome that stands was first passed.
    nights, entries
        Nights and verdicts on the pair, the oldest first.
    looked
        Each look with its findings, the oldest first.
    following
        The day on which the next look may be taken, and the sessions until then; '' and None where
        none will be.
    losses
        Of every rule on all of a dataset.
    prospective
        Dataset to judged origins that were forecast before their first judged session.
    events
        What was acknowledged: day, what, and who answers for it until when.
    page
        File of the report, relative to this page; '' for none.
    """

    title: str
    verdict: Verdict
    since: str
    nights: Sequence[Night] = ()
    entries: Sequence[Entry] = ()
    looked: Sequence[tuple[Look, Sequence[Finding]]] = ()
    following: tuple[str, int | None] = ("", None)
    losses: Sequence[Losses] = ()
    prospective: Mapping[str, int] = field(default_factory=dict)
    costs: Sequence[CostSeries] = ()
    events: Sequence[tuple[str, str, str]] = ()
    freshness: Sequence[DataState] = ()
    page: str = ""
