"""The path of a migration through stored nights, with truths that were planted.

Looks are taken on the experiment's stored grid as they came due; sentinel, budget and faults on the
rollout's stream. Nothing is judged by other rules than in earnest: states, refusals and roll-backs
are those of `harness.rollout.stages` and `harness.rollout.night`, on moves that are not recorded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from harness.errors import StoreError
from harness.evidence.comparison import answer
from harness.experiments.policy import Policy
from harness.experiments.rules import Looks
from harness.gate.dossier import Dossier
from harness.gate.judge import deciding_scores, scored
from harness.gate.looks import independent_of
from harness.judging.declared import Cell, Circumstances, Look
from harness.judging.findings import Outcome
from harness.judging.sequential import grown, latches, look_at
from harness.judging.verdict import Verdict, verdict_on
from harness.rollout.harm import place_after, seen_of
from harness.rollout.night import OpenRollout
from harness.rollout.sentinel import NIGHTS
from harness.rollout.settings import Settings
from harness.rollout.stages import (
    Move,
    RolloutState,
    StandingVerdict,
    moved,
    refusals,
)
from harness.rollout.stream import BEFORE, PairedStream, read_pairs, stream_grid
from harness.running.fill import Progress, fill, prepare
from harness.scoring.metrics import AGGREGATES
from harness.scoring.scores import UnitScores, in_time_order, reach_of
from harness.window import Array, Dates

WORSE, BETTER, WEEK = 1.3, 0.9, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedTruth:
    """A planted truth: the candidate's mean loss over the legacy's by day, and days it fails."""

    name: str
    ratio: Callable[[Dates], Array]
    fails: Callable[[Dates], npt.NDArray[np.bool_]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePath:
    """What a migration would have done under a truth.

    Attributes
    ----------
    truth
        Its name.
    nights
        Sessions that were gone through.
    moves
        Each at the day on which it would have been made.
    stage
        In the end.
    spent
        Of the budget, in the end.
    looks
        That were taken.
    """

    truth: str
    nights: int
    moves: tuple[Move, ...]
    stage: str
    spent: float
    looks: int


def truths(start: str, end: str) -> list[PlantedTruth]:
    """The truths that are planted between two days."""
    first, last = np.datetime64(start), np.datetime64(end)
    third = first + (last - first) // 3

    def always(value: float) -> Callable[[Dates], Array]:
        return lambda days: np.full(len(days), value)

    def never(days: Dates) -> npt.NDArray[np.bool_]:
        return np.zeros(len(days), dtype=bool)

    def week(days: Dates) -> npt.NDArray[np.bool_]:
        return np.asarray((days >= third) & (days < third + np.timedelta64(7, "D")))

    return [
        PlantedTruth(name="equal", ratio=always(1.0), fails=never),
        PlantedTruth(name="10 % better", ratio=always(BETTER), fails=never),
        PlantedTruth(
            name="30 % worse from the start",
            ratio=lambda days: np.where(days >= first, WORSE, 1.0),
            fails=never,
        ),
        PlantedTruth(
            name="30 % worse after a third",
            ratio=lambda days: np.where(days >= third, WORSE, 1.0),
            fails=never,
        ),
        PlantedTruth(name="equal, failing for a week", ratio=always(1.0), fails=week),
    ]


def rehearse(
    opened: OpenRollout, since: str | None, *, workers: int, progress: Progress
) -> list[StagePath]:
    """Go through the nights from a day on, under each planted truth.

    Whoever is asked to advance does so on the first night on which nothing forbids it. The stream
    is forecast once, as far as it is not there; the experiment's own grid must be stored.

    Parameters
    ----------
    since
        ISO date of the last session before the first night; left out, the last `NIGHTS` sessions of
        the series that ends first are gone through.

    Raises
    ------
    StoreError
        When forecasts of the pair are missing, or there is no night.
    """
    settings = dataclasses.replace(opened.settings, name=f"{opened.settings.name}.rehearsal")
    grid = prepare(settings.experiment, opened.folders, opened.store, grow=False)
    first, starts = {}, []
    end = min(split.dataset.series.dates[-1] for split in grid.splits.values())
    for name, split in grid.splits.items():
        dates, plan = split.dataset.series.dates, split.plan
        rows = int(np.searchsorted(dates, end, side="right"))
        last = rows - plan.gap - plan.horizon
        row = rows - NIGHTS if since is None else int(np.searchsorted(dates, np.datetime64(since)))
        row = max(row, plan.validation + 2)
        starts.append(str(dates[min(row, last) - 1]))
        first[name] = str(dates[max(row - BEFORE, plan.validation + 2)])
    stream = stream_grid(settings, opened.folders, opened.store, first=first)
    done = fill(stream, opened.store, workers=workers, progress=progress)
    pairs, start = read_pairs(settings, done.grid, opened.store), max(starts)
    found = scored(grid, opened.store)
    policy = settings.experiment.policy
    lacking = [each.cell for each in found.cells if each.arm in policy.pair and not each.scores]
    if lacking or found.problems:
        raise StoreError(
            f"{opened.store.root}: forecasts of {lacking[0] if lacking else 'some cells'} are "
            "missing; `abharness run` makes them"
        )
    asked = Dossier(grid=grid, store=opened.store, policy=policy)
    scores = [in_time_order(unit) for unit in deciding_scores(asked, found)]
    sessions = {name: split.dataset.series.dates for name, split in grid.splits.items()}
    until = min(each.last for each in pairs)
    nights = sorted({day for pair in pairs for day in pair.day.astype(str) if start < day <= until})
    if not nights:
        raise StoreError(
            f"--from {start}: no session comes after that day; the data end on {until}"
        )
    looks = policy.looks or Looks(max_origins=max(2, *independent_of(scores).values()), attempts=1)
    planned = dataclasses.replace(policy, looks=looks)
    return [
        StageWalk(
            settings=settings,
            policy=planned,
            declared=[each.cell for each in found.cells],
            scores=[_planted_unit(unit, scores, planned, truth) for unit in scores],
            ends=[sessions[unit.dataset][unit.origin - 1 + reach_of(unit)] for unit in scores],
            pairs=[_planted_pair(pair, truth) for pair in pairs],
            start=start,
        ).gone_through(truth.name, nights)
        for truth in truths(start, until)
    ]


def _planted_unit(
    unit: UnitScores, scores: Sequence[UnitScores], policy: Policy, truth: PlantedTruth
) -> UnitScores:
    """The candidate's losses moved so that their mean is what a truth says of the legacy's."""
    if unit.arm != policy.candidate:
        return unit
    other = next(
        each for each in scores if (each.arm, each.dataset) == (policy.baseline, unit.dataset)
    )
    days = unit.origin_date
    fails, ratio = truth.fails(days), truth.ratio(days)
    values = dict(unit.values)
    for name in {AGGREGATES[rule.metric].of for rule in policy.criteria}:
        now, old = np.nanmean(unit.values[name]), np.nanmean(other.values[name])
        power = 2.0 if any(a.of == name and a.rooted for a in AGGREGATES.values()) else 1.0
        values[name] = unit.values[name] * (old / now) * (ratio**power)[:, None]
    blank = {name: np.where(fails[:, None], np.nan, cells) for name, cells in values.items()}
    said = tuple(
        "planted failure" if bad else why for bad, why in zip(fails, unit.reason, strict=True)
    )
    return dataclasses.replace(unit, values=blank, ok=unit.ok & ~fails, reason=said)


def _planted_pair(pair: PairedStream, truth: PlantedTruth) -> PairedStream:
    """The same of a stream; every forecast of it counts as issued in time, on its day."""
    fails = truth.fails(pair.day)
    ratio = truth.ratio(pair.day)
    candidate = dataclasses.replace(
        pair.candidate,
        early=_moved_to(pair.candidate.early, pair.legacy.early, ratio, fails),
        whole=_moved_to(pair.candidate.whole, pair.legacy.whole, ratio, fails),
        reason=tuple(
            "planted failure" if bad else why
            for bad, why in zip(fails, pair.candidate.reason, strict=True)
        ),
    )
    in_time = np.ones(len(pair), dtype=bool)
    issued = tuple(f"{day}T00" for day in pair.day)
    return dataclasses.replace(
        pair,
        candidate=dataclasses.replace(candidate, issued_at=issued, in_time=in_time),
        legacy=dataclasses.replace(pair.legacy, issued_at=issued, in_time=in_time),
        wild=np.zeros(len(pair), dtype=bool),
    )


def _moved_to(new: Array, old: Array, ratio: Array, fails: npt.NDArray[np.bool_]) -> Array:
    both = np.isfinite(new) & np.isfinite(old)
    factor = old[both].mean() / new[both].mean() if both.any() else 1.0
    moved_: Array = np.where(fails, np.nan, new * factor * ratio)
    return moved_


@dataclass(slots=True, kw_only=True)
class StageWalk:
    """A migration on its way under one truth."""

    settings: Settings
    policy: Policy
    declared: Sequence[Cell]
    scores: Sequence[UnitScores]
    ends: Sequence[Dates]
    pairs: Sequence[PairedStream]
    start: str
    looks: tuple[tuple[Look, Verdict], ...] = ()
    latched: Mapping[str, str] = field(default_factory=dict)

    def gone_through(self, truth: str, nights: Sequence[str]) -> StagePath:
        """Every night: a look where one is due, then harm, then the next stage if it may be."""
        state, spent = RolloutState(), 0.0
        for day in nights:
            standing = self._standing(day)
            seen = None
            if state.stream is not None:
                pairs = [
                    pair.as_of(int((pair.day.astype(str) <= day).sum())) for pair in self.pairs
                ]
                seen = seen_of(self.settings, state, pairs)
                spent = seen.spent
                outcome = standing.verdict.outcome if standing.verdict else None
                back = place_after(self.settings, state, seen, outcome)
                if back is not None:
                    place, cause, detail = back
                    state = self._with(
                        state, day, standing, place, event="rollback", cause=cause, detail=detail
                    )
                    continue
            watch = seen.watch(state) if seen else None
            if not refusals(self.settings, state, standing, watch, ""):
                state = self._with(state, day, standing, state.place + 1, event="advance")
        return StagePath(
            truth=truth,
            nights=len(nights),
            moves=state.moves,
            stage=str(self.settings.stages[state.place]),
            spent=spent,
            looks=len(self.looks),
        )

    def _with(
        self, state: RolloutState, day: str, standing: StandingVerdict, place: int, **given: object
    ) -> RolloutState:
        first = {} if state.stream else dict.fromkeys(self.settings.series, self.start)
        move = moved(
            self.settings,
            state,
            place,
            until=dict.fromkeys(self.settings.series, day),
            origins=standing.origins,
            first=first,
            at=f"{day}T12",
            verdict=standing.name,
            **given,  # type: ignore[arg-type]  # event, cause and detail
        )
        return RolloutState(place=move.after, moves=(*state.moves, move))

    def _standing(self, day: str) -> StandingVerdict:
        """What the looks say by a day; another one is taken where it is due."""
        came = np.datetime64(day)
        there = [unit.at(ends <= came) for unit, ends in zip(self.scores, self.ends, strict=True)]
        origins = independent_of([unit for unit in there if len(unit)])
        origins = {name: origins.get(name, 0) for name in self.settings.series}
        last = self.looks[-1] if self.looks else None
        ended = last is not None and (
            last[1].outcome in (Outcome.PROMOTE, Outcome.REJECT) or last[0].last
        )
        due = all(origins.values()) and not ended and (last is None or grown(origins, last[0]))
        if due:
            look = look_at(
                self.policy,
                origins,
                until=day,
                earlier=[each for each, _ in self.looks],
                latched=self.latched,
            )
            given = Circumstances(look=look)
            verdict = verdict_on(self.policy, self.declared, there, given, ask=answer)
            self.looks = (*self.looks, (look, verdict))
            self.latched = latches(verdict.findings, look)
        if not self.looks:
            return StandingVerdict(origins=origins)
        return StandingVerdict(
            verdict=self.looks[-1][1], name=f"look {len(self.looks)}", origins=origins
        )
