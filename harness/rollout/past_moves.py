"""The moves of a rollout derived again, from the records and the stored forecasts alone.

Each night and each move is taken as it was: the verdict, the requests and the file's stages that
were recorded by then, the forecasts that were issued by then, and what had come by then. The rules
are those of earnest, `harness.rollout.stages.refusals` and `harness.rollout.harm.place_after`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.gate.history import read_verdict
from harness.records.journal import Record
from harness.rollout.harm import StreamTotals, place_after, seen_of
from harness.rollout.night import SERVING, OpenRollout
from harness.rollout.settings import LEGACY, Settings
from harness.rollout.stages import (
    Move,
    RolloutState,
    StandingVerdict,
    asked_at,
    refusals,
)
from harness.rollout.stream import Moment, StoredStream
from harness.running.fill import prepare
from harness.running.grid import Grid
from harness.running.sources import digest
from harness.running.split import anchor_of
from harness.scoring.scores import non_overlapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What replaying gives.

    Attributes
    ----------
    moves, nights
        How many were derived again.
    former
        Moves and nights of a revision of the candidate that is no more, taken as recorded.
    differ
        What comes out otherwise than was recorded.
    """

    moves: int
    nights: int
    former: int
    differ: tuple[str, ...]


def replay(opened: OpenRollout) -> Replayed:
    """Derive every state again: each night rolled back or did not, and each move was allowed.

    Raises
    ------
    StoreError
        When records or forecasts are not what was written, or moves do not follow each other.
    """
    past = _Past.of(opened)
    differ, derived = list[str](), [0, 0, 0]
    for record in opened.store.journal.records(SERVING, opened.settings.name):
        known = past.state.stream is None or record.seq > past.state.stream.seq
        derived[1 if known else 2] += 1
        differ += past.night(record) if known else ()
    for count, move in enumerate(past.state.moves):
        before = past.before(move)
        known = before.stream is past.state.stream or before.stream is None
        known = known or move.event != "advance"
        derived[0 if known else 2] += 1
        said = list(past.served(move))
        if known:
            said += past.allowed(before, move)
        differ += [f"move {count + 1} ({move.event} on {move.at[:10]}): {each}" for each in said]
    moves, nights, former = derived
    return Replayed(moves=moves, nights=nights, former=former, differ=tuple(differ))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Past:
    """What is read once."""

    opened: OpenRollout
    state: RolloutState
    stream: StoredStream | None
    plan: Grid

    @classmethod
    def of(cls, opened: OpenRollout) -> _Past:
        state = opened.state
        stream = opened.stream(opened.grid(state)) if state.stream else None
        plan = prepare(opened.settings.experiment, opened.folders, opened.store, grow=False)
        return cls(opened=opened, state=state, stream=stream, plan=plan)

    def before(self, move: Move) -> RolloutState:
        """The state that a move starts from."""
        return self.until(move.seq)

    def until(self, seq: int) -> RolloutState:
        """The state that the records before a number give."""
        moves = tuple(each for each in self.state.moves if each.seq < seq)
        return RolloutState(place=moves[-1].after if moves else 0, moves=moves)

    def settings(self, state: RolloutState) -> Settings:
        """What the file asked when the stage was entered."""
        return self.opened.in_force(state)

    def seen(self, state: RolloutState, moment: Moment) -> StreamTotals | None:
        """What both sides had done by a moment."""
        if state.stream is None or self.stream is None:
            return None
        requests = self.opened.requests(state, before=moment.seq)
        return seen_of(self.settings(state), state, self.stream.pairs(moment), requests)

    def night(self, record: Record) -> Iterator[str]:
        """Whether a night rolled back where it should have."""
        journal = self.opened.store.journal
        body, state = journal.body(record), self.until(record.seq)
        seen = self.seen(state, Moment(at=record.at, seq=record.seq, until=body["until"]))
        if seen is None:
            return
        name = str(body["verdict"])
        outcome = read_verdict(self.opened.store, name).outcome if name else None
        back = place_after(self.settings(state), state, seen, outcome)
        made = next((each for each in self.state.moves if each.night == record.seq), None)
        was = (made.after, made.cause, dict(made.detail)) if made else None
        if was != back:
            yield f"night of {record.at[:10]}: recorded {_told(was)}, derived {_told(back)}"

    def served(self, move: Move) -> Iterator[str]:
        """Whether a move says of each series whom its stage serves it by."""
        settings = asked_at(self.opened.store.journal, self.opened.settings, move)
        if settings is None:
            yield "what its file asked is not recorded"
        elif move.event not in ("hold", "release"):
            stages = settings.stages
            stage = stages[move.after] if move.after < len(stages) else LEGACY
            again = {name: settings.arm_of(stage, name) for name in settings.series}
            if move.served != again:
                yield f"recorded to serve {dict(move.served)}, derived {again}"

    def allowed(self, before: RolloutState, move: Move) -> Iterator[str]:
        """Whether the rules allow a move, from what was there when it was made."""
        if move.event == "advance":
            yield from self._advanced(before, move)
        elif move.event == "restart":
            former = before.stream
            if former is None or former.revision == move.revision:
                yield "the candidate was no other revision"
        elif move.event in ("hold", "release"):
            if move.after != move.before:
                yield f"recorded to end at stage {move.after}, derived {move.before}"
        else:
            yield from self._rolled_back(before, move)

    def _rolled_back(self, before: RolloutState, move: Move) -> Iterator[str]:
        """By whom it was: a night, a request that met a fault, or by hand."""
        if move.night:
            nights = self.opened.store.journal.records(SERVING, self.opened.settings.name)
            if move.night not in {record.seq for record in nights}:
                yield f"no night is record {move.night}"
        elif move.after:
            yield f"recorded to end at stage {move.after}, derived 0"
        elif move.cause == "fault":
            met = [each.detail for each in self.opened.requests(before, before=move.seq)]
            if dict(move.detail) not in met:
                yield f"no request met {dict(move.detail)}"
        elif move.cause != "hand":
            yield f"'{move.cause}' is found by a night, and none made it"

    def _advanced(self, before: RolloutState, move: Move) -> Iterator[str]:
        journal, experiment = self.opened.store.journal, self.opened.settings.experiment
        if move.after != move.before + 1:
            yield f"recorded to end at stage {move.after}, derived {move.before + 1}"
        stood = [each for each in journal.records("stands", experiment.name) if each.seq < move.seq]
        name = str(journal.body(stood[-1])["verdict"]) if stood else ""
        origins = {}  # of the plan, by series: those that overlapped with none before
        for series, split in self.plan.splits.items():
            plan, dates = split.plan, split.dataset.series.dates
            until = np.datetime64(move.until[series])
            dates = dates[: int(np.searchsorted(dates, until, "right"))]
            key = digest(anchor_of(series, plan))
            known = [each for each in journal.records("anchor", key) if each.seq < move.seq]
            cutoffs = journal.body(known[-1])["cutoffs"] if known else []
            days = np.array(cutoffs, dtype="datetime64[D]")
            issued = plan.issued(dates, cutoffs=days, grow=not len(days), label=series)
            windows = issued.complete(len(dates))
            origins[series] = len(non_overlapping(windows.origin, windows.reach))
        for what, was, again in (
            ("verdict", move.verdict, name),
            ("origins", dict(move.origins), origins),
        ):
            if was != again:
                yield f"recorded {what} {was or 'none'}, derived {again or 'none'}"
        settings = asked_at(journal, self.opened.settings, move)
        if settings is None:
            return
        verdict = read_verdict(self.opened.store, name) if name else None
        standing = StandingVerdict(verdict=verdict, name=name, origins=origins)
        moment = Moment(at=move.at, seq=move.seq, until=move.until)
        seen = self.seen(before, moment)
        watch = seen.watch(before) if seen else None
        found = refusals(settings, before, standing, watch, move.revision, asked=move.asked)
        for each in found:
            yield f"the rules refuse it: {each.code} {dict(each.values) or ''}".rstrip()


def _told(back: object) -> str:
    return "that it stayed" if back is None else str(back)
