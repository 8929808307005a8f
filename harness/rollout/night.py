"""A night of a rollout: what is new is forecast by both sides, and harm rolls it back.

The job of every night, called by `abharness nightly` where a rollout file stands beside the
experiment. What it reads is a function of the store alone, so a night that was killed is made good
by the next one.
"""

from __future__ import annotations

import dataclasses
import getpass
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import ConfigError, StoreError
from harness.gate.history import standing as standing_verdict
from harness.gate.judge import stored_judgement
from harness.judging.verdict import plain
from harness.rollout.harm import Fault, StreamTotals, place_after, seen_of
from harness.rollout.settings import Settings
from harness.rollout.stages import (
    Cause,
    Event,
    Move,
    Refusal,
    RefusedError,
    RolloutState,
    StandingVerdict,
    asked_at,
    moved,
    record_move,
    refusals,
    state_of,
)
from harness.rollout.stream import (
    StoredStream,
    first_origins,
    last_widths,
    revision_of,
    serving_fits,
    stream_grid,
)
from harness.running.fill import Progress, fill, load_datasets, prepare
from harness.running.grid import Grid
from harness.running.sources import digest
from harness.running.store_folder import Store
from harness.scoring.scores import non_overlapping

SERVING, REQUEST = "serving", "request"
"""Kinds of records: the fits that serve, and requests the arm of their stage did not answer."""
MADE_OF = ("use", "options", "source", "weights")
"""What of an arm's identity a router holds the arm it builds against."""


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
    places
        Options that name store and folders of data, where they are not the usual ones.
    """

    settings: Settings
    state: RolloutState
    standing: StandingVerdict
    seen: StreamTotals | None
    refusals: tuple[Refusal, ...]
    requests: tuple[Mapping[str, Any], ...]
    head: str
    places: tuple[str, ...] = ()


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

    def in_force(self, state: RolloutState) -> Settings:
        """What the file asked when the stage was entered, whatever it asks by now."""
        last = state.since
        asked = asked_at(self.store.journal, self.settings, last) if last else None
        return asked or self.settings

    def grid(self, state: RolloutState) -> Grid:
        """The stream's grid, from where it began; where none did, as it would begin now."""
        begun = state.stream
        first = (
            begun.first
            if begun
            else first_origins(self.settings, load_datasets(self.settings.experiment, self.folders))
        )
        return stream_grid(self.settings, self.folders, self.store, first=first)

    def stream(self, grid: Grid) -> StoredStream | None:
        """What both sides forecast; None where nothing of it is there yet."""
        try:
            return StoredStream.read(self.settings, grid, self.store)
        except StoreError:
            if not any(self.store.seals(fit.key) for cell in grid.cells for fit in cell.fits):
                return None
            raise

    def seen(self, state: RolloutState, grid: Grid) -> StreamTotals | None:
        """What both sides did; None where no stream has begun, or nothing of it is there yet."""
        if state.stream is None:
            return None
        found = self.stream(grid)
        if found is None:
            return None
        return seen_of(self.in_force(state), state, found.pairs(), self.requests(state))

    def requests(self, state: RolloutState, *, before: int | None = None) -> list[Fault]:
        """Faults that a router met since the stage began, of the records before a number."""
        since = state.since
        found = []
        for record in self.store.journal.records(REQUEST, self.settings.name):
            if since is None or (before is not None and record.seq >= before):
                continue
            body = self.store.journal.body(record)
            # times are whole seconds: within one, the order of the records decides
            later = (body["at"], record.seq) > (since.at, since.seq)
            if later and body["arm"] == self.settings.candidate:
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
            settings=self.in_force(state),
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
            places=(
                *(("--store", str(self.store.root)) if str(self.store.root) != "runs" else ()),
                *(word for each in self.folders for word in ("--data-dir", str(each))),
            ),
        )

    def back_from_requests(self) -> RolloutState:
        """Roll back at once where a router met a fault of the candidate at a series it served."""
        state = self.state
        faults = [each for each in self.requests(state) if each.served]
        if not faults or not self.in_force(state).stages[state.place].exposed:
            return state
        return self._back_now(state, cause="fault", detail=faults[-1].detail)

    def rollback(self, why: str, owner: str = "") -> RolloutState:
        """Go back to the legacy alone; needs neither data nor arms."""
        return self._back_now(self.state, cause="hand", why=why, owner=_named(owner))

    def _back_now(self, state: RolloutState, *, cause: Cause, **given: Any) -> RolloutState:
        """Go back to the legacy by what the last stage knew of data and candidate."""
        last = state.since
        known: dict[str, Any] = {}
        if last is not None:
            names = ("verdict", "origins", "revision", "until")
            known = {name: getattr(last, name) for name in names}
        move = moved(self.settings, state, 0, event="rollback", cause=cause, **known, **given)
        return record_move(self.store.journal, self.settings, state, move)

    def advance(self, owner: str = "") -> RolloutState:
        """Enter the next stage.

        Raises
        ------
        RefusedError
            Names all that forbids it.
        """
        owner = _named(owner)
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
        return record_move(self.store.journal, self.settings, state, move)

    def hold(self, why: str, owner: str, *, release: bool = False) -> RolloutState:
        """Let no stage be entered until the hold is released."""
        state = self.state
        move = moved(
            self.settings,
            state,
            state.place,
            event="release" if release else "hold",
            why=why,
            owner=_named(owner),
        )
        if state.moves:  # whoever serves goes on, whatever the file asks by now
            last = state.moves[-1]
            move = dataclasses.replace(move, stage=last.stage, served=last.served, asked=last.asked)
        return record_move(self.store.journal, self.settings, state, move)

    def run(self, *, workers: int, progress: Progress) -> tuple[RolloutState, Move | None]:
        """Forecast what is new by both sides, and roll back where that must be.

        Returns
        -------
        tuple
            The state, and the move of this night, if there was one.
        """
        state = self.state
        stream = state.stream
        settings = self.in_force(state)
        if stream is None or settings.stages[state.place].kind == "retired":
            return state, None
        grid = self.grid(state)
        revision = revision_of(grid, self.settings)
        made = None
        if revision != stream.revision:  # anew from the first stage, if that exposes nothing
            first = next((p for p, e in enumerate(self.settings.stages) if e.kind == "shadow"), 0)
            made = self._moved(
                state,
                grid,
                standing_of(self.settings, self.folders, self.store),
                min(first, state.place),
                event="restart",
                cause="revision",
            )
            state = record_move(self.store.journal, self.settings, state, made)
            grid = self.grid(state)
        summary = fill(grid, self.store, workers=workers, progress=progress)
        grid = summary.grid
        seen = self.seen(state, grid)
        assert seen is not None
        standing = standing_of(self.settings, self.folders, self.store)
        verdict = standing.verdict if not standing.stale else None
        back = place_after(settings, state, seen, verdict.outcome if verdict else None)
        serving = self._serving(grid, standing.name if verdict else "")
        journal = self.store.journal
        if back is None:
            journal.append_new(SERVING, self.settings.name, serving)
            return state, made
        place, cause, detail = back
        made = self._moved(
            state, grid, standing, place, event="rollback", cause=cause, detail=detail
        )
        with journal.writing():  # one transaction: a night that was killed has said nothing
            night = journal.append(SERVING, self.settings.name, serving).seq
            made = dataclasses.replace(made, night=night)
            return record_move(journal, self.settings, state, made), made

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
        datasets = load_datasets(self.settings.experiment, self.folders) if begins else {}
        last = state.since
        back = event == "rollback" and after > 0 and last is not None
        settings = self.in_force(state) if back else self.settings
        move = moved(
            settings,
            state,
            after,
            event=event,
            verdict=standing.name,
            origins=standing.origins,
            revision=revision_of(grid, self.settings),
            until=until_of(grid),
            first=first_origins(self.settings, datasets) if begins else {},
            **given,
        )
        if back:  # to a stage of the list that it went up by
            assert last is not None
            move = dataclasses.replace(move, asked=last.asked)
        return move

    def _serving(self, grid: Grid, verdict: str) -> dict[str, Any]:
        """Which fits serve, what their arms are made of, how wide the legacy was last.

        With them the verdict that counts, '' where none does, and the last sessions.
        """
        arms: dict[str, dict[str, Any]] = {}
        for cell in grid.cells:
            made_of = {name: cell.identity[name] for name in MADE_OF}
            arms[cell.arm.name] = {"folder": str(cell.arm.folder or ""), **made_of}
        return {
            "fits": serving_fits(grid, self.store),
            "arms": arms,
            "seed": grid.cells[0].seed,
            "widths": last_widths(self.settings, grid, self.store),
            "until": until_of(grid),
            "verdict": verdict,
        }


def _named(owner: str) -> str:
    """Who makes a move by hand: the login name where none is given."""
    try:
        return owner.strip() or getpass.getuser()
    except (ImportError, KeyError, OSError):
        raise ConfigError(
            "rollout: this system has no login name for you; name who makes the move with --owner"
        ) from None


def until_of(grid: Grid) -> dict[str, str]:
    """Last session of the data, by series."""
    return {name: str(each.dataset.series.dates[-1]) for name, each in grid.splits.items()}
