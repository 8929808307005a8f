"""What the index of a store is made from: verdicts of all experiments, and how criteria moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.gate.history import Change, Entry
from harness.judging.findings import Finding, Outcome
from harness.judging.verdict import Verdict

SCHEMA = 1
RUNS = 30
"""Runs of a pair whose numbers are shown as a trend; the list of verdicts holds all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """One verdict of a store.

    Attributes
    ----------
    experiment
        Name of the experiment.
    entry
        What the history says of it.
    until
        ISO date of the last origin of any verdict up to this one; '' where none had origins.
    change
        What changed since the last verdict on the same pair; None for the first.
    machine
        The class of machine its units ran on, in words.
    page
        File of its page relative to the folder of all verdicts; '' where none was drawn.
    problem
        Why its record cannot be read; '' otherwise.
    """

    experiment: str
    entry: Entry
    until: str
    change: Change | None
    machine: str
    page: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One criterion in one run.

    Attributes
    ----------
    sequence
        Number of the verdict in its experiment.
    at, low, high
        Effect and its decision bounds divided by the limit: 1 is the limit. None without.
    shown
        The effect in its unit, in words.
    """

    sequence: int
    outcome: Outcome
    at: float | None
    low: float | None
    high: float | None
    shown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """One criterion over the runs, the oldest first.

    Attributes
    ----------
    limits
        Where its limits stand on the axis of `Point.at`.
    has_zero
        Whether 0 on that axis is equality.
    word
        How it came out last.
    """

    id: str
    label: str
    dataset: str
    limit: str
    limits: tuple[float, ...]
    has_zero: bool
    word: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """The runs of one pair of arms on one class of machine.

    Attributes
    ----------
    runs
        The oldest first; at most `RUNS`.
    left_out
        Earlier runs that are not shown.
    """

    experiment: str
    candidate: str
    legacy: str
    decides: bool
    machine: str
    runs: tuple[Passed, ...]
    trends: tuple[Trend, ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexInput:
    """All an index shows.

    Attributes
    ----------
    passed
        Every verdict, the newest first.
    tracks
        The deciding pair of an experiment first.
    problems
        What of the store cannot be read, one sentence each.
    """

    passed: Sequence[Passed]
    tracks: Sequence[Track] = ()
    problems: Sequence[str] = ()
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A verdict with its record, while trends are made."""

    passed: Passed
    verdict: Verdict

    def finding(self, name: str) -> Finding | None:
        """Find a finding by its id."""
        return next((each for each in self.verdict.findings if each.id == name), None)
