"""Where a migration stands: its moves, kept as records, and the rules that allow the next one.

Records: ``rollout`` under the rollout's name, one for each move, and ``rollout asked``, what its
file asked when it was made; both only ever added to. The state is what folding the moves gives, so
a cache that is lost changes nothing. A move is written in the same transaction in which the state
it starts from is read: two processes never make two moves of one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.errors import InputError, StoreError
from harness.judging.findings import Outcome
from harness.judging.verdict import Verdict, plain
from harness.parsing import parse_record
from harness.records.journal import Journal
from harness.rollout.settings import LEGACY, Settings, Stage
from harness.running.sources import digest

KIND, ASKED = "rollout", "rollout asked"
Event = Literal["advance", "hold", "release", "rollback", "restart"]
Cause = Literal["hand", "fault", "sentinel", "budget", "reject", "revision"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One move of a rollout.

    Attributes
    ----------
    before, after
        Places in the list of stages; equal for a hold and its release.
    cause
        Who or what moved it.
    detail
        What the cause was, as plain values by name.
    why, owner
        As given by hand.
    verdict
        Name of the verdict that stood; '' where there was none.
    asked
        Digest of the file's stages, limits and policy.
    revision
        Digest of the candidate: code, options, weights.
    until
        Last session in the data, by series.
    origins
        Origins of the plan that overlap with none before, by series.
    served
        The stages by name, and what each series is served by after it.
    first
        First origin of the stream, by series; only where a stream begins.
    night
        Number of the record of the night that made it; 0 where none did.
    at
        UTC, ISO, to the second.
    """

    event: Event
    before: int
    after: int
    cause: Cause = "hand"
    detail: Mapping[str, str | float | int] = field(default_factory=dict)
    why: str = ""
    owner: str = ""
    verdict: str = ""
    asked: str = ""
    revision: str = ""
    until: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, int] = field(default_factory=dict)
    first: Mapping[str, str] = field(default_factory=dict)
    stage: str = ""
    served: Mapping[str, str] = field(default_factory=dict)
    night: int = 0
    at: str = field(default="", compare=False)
    seq: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutState:
    """Where a rollout stands.

    Attributes
    ----------
    place
        In the list of stages; 0 is the legacy alone.
    moves
        Every move, the oldest first.
    """

    place: int = 0
    moves: tuple[Move, ...] = ()

    @property
    def begun(self) -> bool:
        """Whether there was a move."""
        return bool(self.moves)

    @property
    def served_by(self) -> Mapping[str, str]:
        """Which side serves each series; empty before the first move, when the legacy does."""
        return self.moves[-1].served if self.moves else {}

    @property
    def held(self) -> Move | None:
        """The hold that has not been released."""
        last = next((m for m in reversed(self.moves) if m.event in ("hold", "release")), None)
        return last if last is not None and last.event == "hold" else None

    @property
    def since(self) -> Move | None:
        """The move by which the stage began."""
        return next((m for m in reversed(self.moves) if m.before != m.after or m.first), None)

    @property
    def stream(self) -> Move | None:
        """The move by which the stream of both sides began: the first, or the last restart."""
        return next((m for m in reversed(self.moves) if m.first), None)

    @property
    def watched_from(self) -> Move | None:
        """The move from which on the sentinel counts: it begins anew once it went off."""
        return next((m for m in reversed(self.moves) if m.first or m.cause == "sentinel"), None)


class MovedMeanwhileError(StoreError):
    """Another process moved the rollout between reading and writing."""


def state_of(journal: Journal, name: str) -> RolloutState:
    """Fold the records of a rollout.

    Raises
    ------
    StoreError
        When a record is not what was written, or does not start where the one before ended.
    """
    moves: list[Move] = []
    place = 0
    for record in journal.records(KIND, name):
        body = {**journal.body(record), "at": record.at, "seq": record.seq}
        move = parse_record(Move, body, where=f"{journal.path}: {record}")
        if move.before != place:
            raise StoreError(
                f"{journal.path}: {record}: starts at stage {move.before}, the one before it ended "
                f"at {place}"
            )
        moves.append(move)
        place = move.after
    return RolloutState(place=place, moves=tuple(moves))


def record_move(
    journal: Journal, settings: Settings, before: RolloutState, move: Move
) -> RolloutState:
    """Write a move from a state, and what the file asks, where that is new.

    Raises
    ------
    MovedMeanwhileError
        When that is not the state any more.
    """
    name = settings.name
    with journal.writing():
        now = state_of(journal, name)
        if len(now.moves) != len(before.moves):
            raise MovedMeanwhileError(
                f"{journal.path}: another process moved '{name}' to stage {now.place} in the "
                "meantime; run the command again to start from there"
            )
        body = {key: value for key, value in plain(move).items() if key not in ("at", "seq")}
        if move.asked == asked_digest(settings):  # another one is recorded already
            journal.append_new(ASKED, move.asked, _asked(settings))
        journal.append(KIND, name, body)
    return state_of(journal, name)


def stage_at(settings: Settings, state: RolloutState, at: str) -> Stage:
    """The stage that stood at a time (UTC, ISO); in the second of a move the more exposing one."""
    before = [m for m in state.moves if m.at < at]
    same = [m for m in state.moves if m.at == at]
    places = [before[-1].after if before else 0, *(m.after for m in same)]
    kinds = ("legacy", "shadow", "series", "all", "retired")
    stood = (settings.stages[min(place, len(settings.stages) - 1)] for place in places)
    return max(stood, key=lambda each: kinds.index(each.kind))


def asked_digest(settings: Settings) -> str:
    """Digest of all that a stage was entered under: stages, limits and the policy."""
    return digest(_asked(settings))


_LIMITS = ("metric", "limit", "budget", "calm")


def _asked(settings: Settings) -> dict[str, Any]:
    plans = settings.experiment.plans
    return {
        "policy": digest(plain(settings.experiment.policy)),
        "stages": plain(settings.stages),
        "truth": {name: plan.truth for name, plan in plans.items()},
        **{name: getattr(settings, name) for name in _LIMITS},
    }


def asked_at(journal: Journal, settings: Settings, move: Move) -> Settings | None:
    """The settings as the file asked them when a move was made; None where that is not recorded."""
    kept = journal.latest(ASKED, move.asked)
    if kept is None:
        return None
    where = f"{journal.path}: what '{settings.name}' asked on {move.at[:10]}"
    stages = tuple(parse_record(Stage, each, where=where) for each in kept["stages"])
    limits = {name: kept[name] for name in _LIMITS}
    return dataclasses.replace(settings, stages=stages, **limits)


Code = Literal[
    "held",
    "last stage",
    "no verdict",
    "stale",
    "invalid",
    "reject",
    "not shown",
    "no new origin",
    "policy changed",
    "revision changed",
    "budget spent",
    "fault",
    "no sentinel",
    "too soon",
    "no stream",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a rollout does not advance: a code, and plain values."""

    code: Code
    values: Mapping[str, str | float | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingVerdict:
    """What the evidence of the registration says now.

    Attributes
    ----------
    verdict, name
        The verdict that stands; None and '' where there is none.
    stale
        Why it does not speak of what is there now; '' where it does.
    origins
        Origins of the plan that overlap with none before, by series.
    """

    verdict: Verdict | None = None
    name: str = ""
    stale: str = ""
    origins: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchFacts:
    """What was seen of both sides since the stream began; made by `harness.rollout.night`.

    Attributes
    ----------
    spent
        Legacy losses that were lost to serving the candidate.
    faults
        Of the candidate since the stage began, the newest last.
    calm
        Sessions since the last of them, of the series with fewest; since the stage began where
        there was none.
    unset
        Nights that series without a sentinel still lack for one.
    sessions
        That came since the stage began, of the series with fewest.
    """

    spent: float = 0.0
    faults: Sequence[str] = ()
    calm: int = 0
    unset: Mapping[str, int] = field(default_factory=dict)
    sessions: int = 0


def refusals(
    settings: Settings,
    state: RolloutState,
    standing: StandingVerdict,
    watch: WatchFacts | None,
    revision: str,
    *,
    asked: str = "",
) -> list[Refusal]:
    """All that forbids the next stage; empty where it may be entered.

    Parameters
    ----------
    watch
        None where no stream has begun.
    revision
        Digest of the candidate as it is now.
    asked
        Digest of what the file asks; left out, that of the settings.
    """
    found, held, last = list[Refusal](), state.held, state.since
    if held is not None:
        values = {"owner": held.owner, "why": held.why, "since": held.at[:10]}
        found.append(Refusal(code="held", values=values))
    if last is not None and last.asked != (asked or asked_digest(settings)):
        found.append(Refusal(code="policy changed", values={"since": last.at[:10]}))
    if last is not None and last.revision != revision:
        found.append(Refusal(code="revision changed", values={"since": last.at[:10]}))
    if state.place + 1 >= len(settings.stages):
        return [*found, Refusal(code="last stage", values={"stage": str(settings.stages[-1])})]
    following = settings.stages[state.place + 1]
    if following.kind == "retired":
        lasted = watch.sessions if watch else 0
        if lasted < following.after:
            needed = {"sessions": lasted, "needed": following.after}
            found.append(Refusal(code="too soon", values=needed))
    found += _refusals_of_verdict(standing, following)
    if last is not None and not any(
        count > last.origins.get(name, 0) for name, count in standing.origins.items()
    ):
        found.append(Refusal(code="no new origin", values={"since": last.at[:10]}))
    if following.exposed and state.begun:
        found += _refusals_of_watch(settings, watch)
    return found


def _refusals_of_verdict(standing: StandingVerdict, following: Stage) -> Iterable[Refusal]:
    verdict = standing.verdict
    if standing.stale:
        yield Refusal(code="stale", values={"why": standing.stale})
    elif verdict is None:
        if following.kind != "shadow":
            yield Refusal(code="no verdict")
    elif verdict.outcome is Outcome.INVALID:
        yield Refusal(code="invalid", values={"verdict": standing.name})
    elif verdict.outcome is Outcome.REJECT:
        yield Refusal(code="reject", values={"verdict": standing.name})
    elif following.exposed and verdict.outcome is not Outcome.PROMOTE:
        wide = following.margin
        bounds = {
            each.id: each.comparison.settled_at if each.comparison else None
            for each in verdict.findings
            if each.role == "guardrail" and each.unit == "share" and each.binding
        }
        open_ = [
            each for each, at in bounds.items() if wide is None or at is None or at > wide
        ] or ([] if bounds and wide is not None else ["all"])
        for name in open_:
            at = bounds.get(name)
            values: dict[str, str | float] = {"finding": name, "verdict": verdict.outcome.value}
            values |= {"margin": wide} if wide is not None else {}
            values |= {"shown": at} if at is not None else {}
            yield Refusal(code="not shown", values=values)


def _refusals_of_watch(settings: Settings, watch: WatchFacts | None) -> Iterable[Refusal]:
    if watch is None:
        yield Refusal(code="no stream")
        return
    if watch.spent > settings.budget:
        yield Refusal(code="budget spent", values={"spent": watch.spent, "budget": settings.budget})
    if watch.faults and watch.calm < settings.calm:
        yield Refusal(
            code="fault",
            values={"fault": watch.faults[-1], "calm": watch.calm, "needed": settings.calm},
        )
    for series, lacking in watch.unset.items():
        yield Refusal(code="no sentinel", values={"series": series, "nights": lacking})


def moved(
    settings: Settings,
    state: RolloutState,
    after: int,
    *,
    event: Event,
    cause: Cause = "hand",
    **given: Any,
) -> Move:
    """Make a move from a state, with what each series is served by afterwards."""
    stage = settings.stages[after] if after < len(settings.stages) else LEGACY
    return dataclasses.replace(
        Move(event=event, before=state.place, after=after, cause=cause),
        stage=str(stage),
        served={name: settings.arm_of(stage, name) for name in settings.series},
        asked=asked_digest(settings),
        **given,
    )


class RefusedError(InputError):
    """A move that the rules do not allow.

    Attributes
    ----------
    refusals
        Each with its code and values; `reports.words.rollout_words` says them.
    """

    def __init__(self, refusals_: Sequence[Refusal]) -> None:
        super().__init__("; ".join(each.code for each in refusals_))
        self.refusals = tuple(refusals_)
