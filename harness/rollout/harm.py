"""What harm a migration has met: faults, what serving the candidate cost, and the sentinels.

A function of the stream of both sides, of the moves and of faults at requests, and of nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from harness.judging.findings import Outcome
from harness.rollout.sentinel import (
    LEAST_STRETCH,
    NIGHTS,
    STEPS,
    Sentinel,
    calibrated,
    harm_beyond,
)
from harness.rollout.settings import Settings
from harness.rollout.stages import Cause, RolloutState, WatchFacts, stage_at
from harness.rollout.stream import PairedStream
from harness.running.sources import digest
from harness.window import Array

HARM = 0.3
"""A candidate that is so much worse is what the night of detection is printed for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelLine:
    """The sentinel of a series, and what it saw.

    Attributes
    ----------
    day : [T]
        ISO dates of the last session seen at each night since the watch began.
    sums : [T]
        After each night.
    boundary
        None while there is no sentinel.
    lacking
        Nights that are still needed for one.
    crossed
        The night on which it went off; '' where it did not.
    found_by
        Night by which 30 % harm is found in 8 of 10; None where that takes longer than it watches.
    """

    series: str
    day: tuple[str, ...] = ()
    sums: tuple[float, ...] = ()
    boundary: float | None = None
    lacking: int = 0
    crossed: str = ""
    found_by: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something wrong with the candidate: on which day, at which series, and whether it served."""

    day: str
    series: str
    what: str
    served: bool

    @property
    def detail(self) -> dict[str, str]:
        """As a move records it."""
        return {"day": self.day, "series": self.series, "what": self.what}


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTotals:
    """What both sides did since the stream began.

    Attributes
    ----------
    pairs, lines
        By series.
    budget
        Day and sum up to it of (c - l) / l, over the origins that the candidate served.
    faults
        Of the candidate since the stage began, the oldest first.
    late
        Origins issued after their outcome since the stream began, by series: served, no evidence.
    """

    pairs: tuple[PairedStream, ...]
    lines: tuple[SentinelLine, ...]
    budget: tuple[tuple[str, float], ...]
    faults: tuple[Fault, ...]
    late: Mapping[str, int]

    @property
    def spent(self) -> float:
        """Of the budget, until now."""
        return self.budget[-1][1] if self.budget else 0.0

    def watch(self, state: RolloutState) -> WatchFacts:
        """What the rules ask of it."""
        since = state.since
        calm, sessions = [], []
        for pair in self.pairs:
            began = since.until.get(pair.series, "") if since else ""
            days = pair.day.astype(str)
            last = max((f.day for f in self.faults if f.series == pair.series), default=began)
            calm.append(int((days > last).sum()))
            sessions.append(int((days > began).sum()))
        return WatchFacts(
            spent=self.spent,
            faults=tuple(f"{each.series} {each.day}: {each.what}" for each in self.faults),
            calm=min(calm),
            unset={each.series: each.lacking for each in self.lines if each.boundary is None},
            sessions=min(sessions),
        )


def seen_of(
    settings: Settings,
    state: RolloutState,
    pairs: Sequence[PairedStream],
    requests: Sequence[Fault] = (),
) -> StreamTotals:
    """Read a stream by the rules.

    Parameters
    ----------
    requests
        Faults that a router met.
    """
    stream, since, watched = state.stream, state.since, state.watched_from
    assert stream is not None
    assert since is not None
    assert watched is not None
    lines, faults, late = [], list(requests), {}
    spending: list[tuple[str, float]] = []
    for pair in pairs:
        days = pair.day.astype(str).tolist()
        begun = stream.until[pair.series]
        lines.append(line_of(settings, pair, watched.until[pair.series]))
        late[pair.series] = sum(
            day >= begun and not fine
            for day, fine in zip(days, pair.candidate.in_time.tolist(), strict=True)
        )
        for place, day in enumerate(days):
            if day < begun:
                continue
            stage = stage_at(settings, state, pair.candidate.issued_at[place])
            served = stage.exposes(pair.series)
            what = pair.fault(place)
            if what and pair.candidate.issued_at[place] >= since.at:
                faults.append(Fault(day=day, series=pair.series, what=what, served=served))
            if served and pair.whole_came[place]:
                spending.append((day, relative(pair, place)))
    spending.sort()
    total = np.cumsum([lost for _, lost in spending]).tolist()
    return StreamTotals(
        pairs=tuple(pairs),
        lines=tuple(lines),
        budget=tuple((day, spent) for (day, _), spent in zip(spending, total, strict=True)),
        faults=tuple(sorted(faults, key=lambda each: (each.day, each.series))),
        late=late,
    )


def relative(pair: PairedStream, place: int) -> float:
    """Loss of what the caller got over the legacy's, less 1, over the whole horizon.

    0 where the candidate failed: the legacy answered then, and the failure is a fault. Infinite
    where the candidate answered and has no loss though the legacy has one: NaN never helps. 0 where
    the legacy has none, of which no share can be taken.
    """
    new, old = float(pair.candidate.whole[place]), float(pair.legacy.whole[place])
    if pair.candidate.reason[place] or not math.isfinite(old) or new == old:
        return 0.0
    return (new - old) / old if math.isfinite(new) and old > 0 else math.inf


def line_of(settings: Settings, pair: PairedStream, start: str) -> SentinelLine:
    """Watch a series from a day on.

    The watch begins anew every `NIGHTS` nights, with the nights before as its stretch.

    Parameters
    ----------
    start
        ISO date: the last session that had come when the watch began.
    """
    came = int(pair.early_came.sum())
    late = ~pair.candidate.in_time[:came] & pair.legacy.in_time[:came]
    candidate = np.where(late, np.nan, pair.candidate.early[:came])
    harm = harm_beyond(candidate, pair.legacy.early[:came], limit=settings.limit, gap=pair.gap)
    days = pair.day.astype(str)
    begun = int((days < start).sum())
    known = np.cumsum(~np.isnan(harm))
    enough = np.flatnonzero(known >= LEAST_STRETCH)
    lacking = LEAST_STRETCH - (int(known[-1]) if came else 0)
    if not len(enough) or came == 0:
        return SentinelLine(series=pair.series, lacking=max(1, lacking))
    ahead = pair.gap + STEPS  # origins whose first steps had come when one was issued
    begun = max(begun, int(enough[0]) + ahead)
    begun += max(0, (came - 1 - begun) // NIGHTS) * NIGHTS
    evidence = harm[begun:].copy()
    evidence[~pair.legacy.in_time[begun:came]] = np.nan
    name = digest([settings.name, pair.series, str(days[min(begun, len(days) - 1)])])
    stretch = harm[: begun - ahead + 1].tobytes()
    found, found_by = _sentinel(stretch, len(settings.series), name, settings.limit)
    sums: Array = found.sums(evidence)
    at = found.crossed(evidence)
    return SentinelLine(
        series=pair.series,
        day=tuple(days[begun:came].tolist()),
        sums=tuple(sums.tolist()),
        boundary=found.boundary,
        crossed="" if at is None else str(days[begun + at]),
        found_by=found_by,
    )


@lru_cache(maxsize=64)
def _sentinel(stretch: bytes, streams: int, name: str, limit: float) -> tuple[Sentinel, int | None]:
    """A watch and when it finds harm; of the same stretch the same, which a rehearsal asks for."""
    found = calibrated(
        np.frombuffer(stretch),
        streams=streams,
        generator=np.random.default_rng(int(name[:16], 16)),
    )
    return found, found.found_by(HARM - limit)


def place_after(
    settings: Settings, state: RolloutState, seen: StreamTotals, outcome: Outcome | None
) -> tuple[int, Cause, dict[str, Any]] | None:
    """Where harm rolls a rollout back to, and what it was; None where it stays."""
    stage = settings.stages[state.place]
    faults = [each for each in seen.faults if each.served]
    if stage.exposed and faults:
        return 0, "fault", faults[-1].detail
    if stage.exposed and seen.spent > settings.budget:
        known = {"spent": seen.spent} if math.isfinite(seen.spent) else {}  # JSON has no infinity
        return 0, "budget", {"budget": settings.budget, **known}
    if state.place and outcome is Outcome.REJECT:
        return 0, "reject", {}
    crossed = [each for each in seen.lines if each.crossed]
    if state.place and crossed:
        first = min(crossed, key=lambda each: each.crossed)
        return (
            state.place - 1,
            "sentinel",
            {"series": first.series, "day": first.crossed, "boundary": first.boundary},
        )
    return None
