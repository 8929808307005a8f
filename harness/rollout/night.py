"""A night of a rollout: what is new is forecast by both sides, and harm rolls it back.

The job of every night, called by `abharness nightly` where a rollout file stands beside the
experiment. What it reads is a function of the store alone, so a night that was killed is made good
by the next one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import StoreError
from harness.gate.history import standing as standing_verdict
from harness.gate.judge import stored_judgement
from harness.judging.findings import Outcome
from harness.judging.verdict import plain
from harness.rollout.sentinel import (
    LEAST_STRETCH,
    NIGHTS,
    STEPS,
    Sentinel,
    calibrated,
    harm_beyond,
)
from harness.rollout.settings import Settings
from harness.rollout.stages import (
    Cause,
    Event,
    Move,
    Refusal,
    RefusedError,
    RolloutState,
    StandingVerdict,
    WatchFacts,
    asked_digest,
    moved,
    record_move,
    refusals,
    stage_at,
    state_of,
)
from harness.rollout.stream import (
    PairedStream,
    datasets_of,
    first_origins,
    last_widths,
    read_pairs,
    revision_of,
    serving_fits,
    stream_grid,
)
from harness.running.fill import Progress, fill, prepare
from harness.running.grid import Grid
from harness.running.sources import digest
from harness.running.store_folder import Store
from harness.scoring.scores import non_overlapping
from harness.window import Array

SERVING, REQUEST = "serving", "request"
"""Kinds of records: the fits that serve, and requests the arm of their stage did not answer."""
MADE_OF = ("use", "options", "source", "weights")
"""What of an arm's identity a router holds the arm it builds against."""
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
class Seen:
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
) -> Seen:
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
    return Seen(
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


def standing_of(settings: Settings, folders: Sequence[Path], store: Store) -> StandingVerdict:
    """What the registration's one stream of evidence says now."""
    grid = prepare(settings.experiment, folders, store, grow=False)
    origins = {
        name: len(non_overlapping(split.windows.origin, split.windows.reach))
        for name, split in grid.splits.items()
    }
    name = standing_verdict(store, settings.experiment.name)
    if not name:
        return StandingVerdict(origins=origins)
    policy = grid.experiment.policy
    try:
        verdict = stored_judgement(grid, store).verdict
    except StoreError as problem:
        return StandingVerdict(name=name, stale=str(problem), origins=origins)
    stale = ""
    if (verdict.candidate, verdict.legacy) != (policy.candidate, policy.baseline):
        stale = f"it is on {verdict.candidate} against {verdict.legacy}"
    elif verdict.fingerprints.get("policy") != digest(plain(policy)):
        stale = "the policy is another by now"
    return StandingVerdict(verdict=verdict, name=name, stale=stale, origins=origins)


def place_after(
    settings: Settings, state: RolloutState, seen: Seen, outcome: Outcome | None
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """All that is shown of a rollout.

    Attributes
    ----------
    seen
        None where no night has been.
    refusals
        All that forbids the next stage.
    requests
        Every request that the arm of its stage did not answer, and every failure in shadow.
    head
        Of the records, as people are shown it.
    """

    settings: Settings
    state: RolloutState
    standing: StandingVerdict
    seen: Seen | None
    refusals: tuple[Refusal, ...]
    requests: tuple[Mapping[str, Any], ...]
    head: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRollout:
    """A rollout opened for a night or a question: its file, its store and its data.

    Attributes
    ----------
    folders
        More folders of datasets.
    """

    settings: Settings
    store: Store
    folders: Sequence[Path] = ()

    @property
    def state(self) -> RolloutState:
        """Where it stands."""
        return state_of(self.store.journal, self.settings.name)

    def grid(self, state: RolloutState) -> Grid:
        """The stream's grid, from where it began; where none did, as it would begin now."""
        begun = state.stream
        first = (
            begun.first
            if begun
            else first_origins(self.settings, datasets_of(self.settings, self.folders))
        )
        return stream_grid(self.settings, self.folders, self.store, first=first)

    def seen(self, state: RolloutState, grid: Grid) -> Seen | None:
        """What both sides did; None where no stream has begun, or nothing of it is there yet."""
        if state.stream is None:
            return None
        try:
            pairs = read_pairs(self.settings, grid, self.store)
        except StoreError:
            if not any(self.store.seals(fit.key) for cell in grid.cells for fit in cell.fits):
                return None
            raise
        return seen_of(self.settings, state, pairs, self.requests(state))

    def requests(self, state: RolloutState) -> list[Fault]:
        """Faults that a router met since the stage began."""
        since = state.since
        found = []
        for record in self.store.journal.records(REQUEST, self.settings.name):
            body = self.store.journal.body(record)
            if (
                since is not None
                and body["at"] >= since.at
                and body["arm"] == self.settings.candidate
            ):
                found.append(
                    Fault(
                        day=body["cutoff"],
                        series=body["series"],
                        what=body["reason"],
                        served=bool(body["exposed"]),
                    )
                )
        return found

    def status(self) -> Status:
        """Everything that is known of it now."""
        state = self.state
        grid = self.grid(state)
        standing = standing_of(self.settings, self.folders, self.store)
        seen = self.seen(state, grid)
        watch = seen.watch(state) if seen else None
        return Status(
            settings=self.settings,
            state=state,
            standing=standing,
            seen=seen,
            refusals=tuple(
                refusals(self.settings, state, standing, watch, revision_of(grid, self.settings))
            ),
            requests=tuple(
                self.store.journal.body(record)
                for record in self.store.journal.records(REQUEST, self.settings.name)
            ),
            head=self.store.journal.short,
        )

    def replay(self) -> list[str]:
        """Derive every automatic move again from the stream; names what comes out otherwise.

        The records themselves are folded, so moves that do not follow each other are an error.

        Raises
        ------
        StoreError
            When records or forecasts are not what was written.
        """
        state, found = self.state, list[str]()
        for count, move in enumerate(state.moves):
            before = RolloutState(place=move.before, moves=state.moves[:count])
            again = (
                {
                    name: self.settings.arm_of(self.settings.stages[move.after], name)
                    for name in self.settings.series
                }
                if move.after < len(self.settings.stages)
                else {}
            )
            if move.asked == asked_digest(self.settings) and move.served != again:
                found.append(f"move {count + 1}: recorded to serve {move.served}, derived {again}")
            if move.cause not in ("sentinel", "budget"):
                continue
            if before.stream is None or before.stream is not state.stream:
                continue  # an earlier stream, of another revision
            seen = self.seen(before, self.grid(before))
            assert seen is not None
            if move.cause == "sentinel":
                name, day = move.detail["series"], str(move.detail["day"])
                pair = next(each for each in seen.pairs if each.series == name)
                watched = before.watched_from
                assert watched is not None
                line = line_of(self.settings, pair.until(day), watched.until[pair.series])
                if line.crossed != day:
                    found.append(
                        f"move {count + 1}: the sentinel of {name} went off on {day}, derived "
                        f"{line.crossed or 'never'}"
                    )
            else:
                most = max((spent for _, spent in seen.budget), default=0.0)
                if most <= self.settings.budget:
                    found.append(f"move {count + 1}: the budget was spent, derived {most:.3f}")
        return found

    def back_from_requests(self) -> RolloutState:
        """Roll back at once where a router met a fault of the candidate at a series it served."""
        state = self.state
        faults = [each for each in self.requests(state) if each.served]
        if not faults or not self.settings.stages[state.place].exposed:
            return state
        return self._back_now(state, cause="fault", detail=faults[-1].detail)

    def rollback(self, why: str, owner: str = "") -> RolloutState:
        """Go back to the legacy alone; needs neither data nor arms."""
        return self._back_now(self.state, cause="hand", why=why, owner=owner)

    def _back_now(self, state: RolloutState, *, cause: Cause, **given: Any) -> RolloutState:
        """Go back to the legacy by what the last stage knew of data and candidate."""
        last = state.since
        known: dict[str, Any] = {}
        if last is not None:
            names = ("verdict", "origins", "revision", "until")
            known = {name: getattr(last, name) for name in names}
        move = moved(self.settings, state, 0, event="rollback", cause=cause, **known, **given)
        return record_move(self.store.journal, self.settings.name, state, move)

    def advance(self, owner: str = "") -> RolloutState:
        """Enter the next stage.

        Raises
        ------
        RefusedError
            Names all that forbids it.
        """
        state = self.state
        grid = self.grid(state)
        standing = standing_of(self.settings, self.folders, self.store)
        seen = self.seen(state, grid)
        revision = revision_of(grid, self.settings)
        watch = seen.watch(state) if seen else None
        found = refusals(self.settings, state, standing, watch, revision)
        if found:
            raise RefusedError(found)
        move = self._moved(state, grid, standing, state.place + 1, event="advance", owner=owner)
        return record_move(self.store.journal, self.settings.name, state, move)

    def hold(self, why: str, owner: str, *, release: bool = False) -> RolloutState:
        """Let no stage be entered until the hold is released."""
        state = self.state
        move = moved(
            self.settings,
            state,
            state.place,
            event="release" if release else "hold",
            why=why,
            owner=owner,
        )
        return record_move(self.store.journal, self.settings.name, state, move)

    def run(self, *, workers: int, progress: Progress) -> tuple[RolloutState, Move | None]:
        """Forecast what is new by both sides, and roll back where that must be.

        Returns
        -------
        tuple
            The state, and the move of this night, if there was one.
        """
        state = self.state
        stream = state.stream
        if stream is None or self.settings.stages[state.place].kind == "retired":
            return state, None
        grid = self.grid(state)
        revision = revision_of(grid, self.settings)
        made = None
        if revision != stream.revision:
            state, made = self._restart(state, grid)
            grid = self.grid(state)
        summary = fill(grid, self.store, workers=workers, progress=progress)
        grid = summary.grid
        self._record_serving(grid)
        seen = self.seen(state, grid)
        if seen is None:
            return state, made
        verdict = standing_of(self.settings, self.folders, self.store)
        outcome = verdict.verdict.outcome if verdict.verdict and not verdict.stale else None
        back = place_after(self.settings, state, seen, outcome)
        if back is None:
            return state, made
        place, cause, detail = back
        made = self._moved(
            state, grid, verdict, place, event="rollback", cause=cause, detail=detail
        )
        return record_move(self.store.journal, self.settings.name, state, made), made

    def _restart(self, state: RolloutState, grid: Grid) -> tuple[RolloutState, Move]:
        """Begin a new stream with another revision, at the first stage if that exposes nothing."""
        first = next((p for p, each in enumerate(self.settings.stages) if each.kind == "shadow"), 0)
        standing = standing_of(self.settings, self.folders, self.store)
        move = self._moved(
            state,
            grid,
            standing,
            min(first, state.place),
            event="restart",
            cause="revision",
        )
        return record_move(self.store.journal, self.settings.name, state, move), move

    def _moved(
        self,
        state: RolloutState,
        grid: Grid,
        standing: StandingVerdict,
        after: int,
        *,
        event: Event,
        **given: Any,
    ) -> Move:
        """A move by what is there now; the first one and a restart begin a stream."""
        begins = event == "restart" or (state.stream is None and after > 0)
        datasets = datasets_of(self.settings, self.folders) if begins else {}
        return moved(
            self.settings,
            state,
            after,
            event=event,
            verdict=standing.name,
            origins=standing.origins,
            revision=revision_of(grid, self.settings),
            until={name: str(each.dataset.series.dates[-1]) for name, each in grid.splits.items()},
            first=first_origins(self.settings, datasets) if begins else {},
            **given,
        )

    def _record_serving(self, grid: Grid) -> None:
        """Write which fits serve, what their arms are made of, and how wide the legacy was last."""
        arms: dict[str, dict[str, Any]] = {}
        for cell in grid.cells:
            made_of = {name: cell.identity[name] for name in MADE_OF}
            arms[cell.arm.name] = {"folder": str(cell.arm.folder or ""), **made_of}
        body = {
            "fits": serving_fits(grid, self.store),
            "arms": arms,
            "seed": grid.cells[0].seed,
            "widths": last_widths(self.settings, grid, self.store),
        }
        self.store.journal.append_new(SERVING, self.settings.name, body)
