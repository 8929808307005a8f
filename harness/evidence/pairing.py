"""Pairs: two arms' losses side by side, by key, or a refusal.

Shapes: S seeds, W origins. Nothing is ever paired by position alone, and nothing is left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from harness.errors import AbharnessError
from harness.reasons import Reason, ReasonCode, reason
from harness.scoring.metrics import AGGREGATES
from harness.scoring.scores import Flags, UnitScores, in_time_order, reach_of
from harness.stats.long_memory import LongMemory, Persistence, memory_of, persistence_of
from harness.stats.longrun import centred, constant, tied
from harness.window import Array, Dates, Rows

WORST = 2.0
"""A failed window counts as so many times the largest loss seen."""
LARGEST = 1e60
"""Share of the last value beyond which a loss counts as a failed window: sums of it overflow."""

ALONE = 10.0
"""A loss of one side beyond so many times the largest that both had together is absurd."""
SMALLEST = 1e-60
"""Share of the last value below which a loss is 0: squares of it underflow."""


class PairingError(AbharnessError):
    """Two sides were not judged on the same thing, so they cannot be compared; `why` says how."""

    def __init__(self, why: Reason) -> None:
        super().__init__(str(why))
        self.why = why


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Both sides' losses on the same origins, in time order.

    Attributes
    ----------
    candidate, legacy : [S, W]
        Mean over the horizon per seed and origin, scaled; NaN where a side failed.
    origin, origin_date : [W]
    reach
        Sessions from the last one seen to the last one judged.
    names
        Candidate, legacy, dataset.
    candidate_ok, legacy_ok : [S, W]
        False where the arm failed, or where its loss is beyond `LARGEST`.
    part
        The origins were picked out of those that were judged.
    """

    candidate: Array
    legacy: Array
    origin: Rows
    origin_date: Dates
    reach: int
    names: tuple[str, str, str]
    candidate_ok: Flags
    legacy_ok: Flags
    part: bool = False

    @property
    def overlap(self) -> int:
        """Consecutive origins that share a session, counting the origin itself."""
        return overlap_of(self.origin, self.reach)


def overlap_of(origin: Rows, reach: int) -> int:
    """Consecutive origins [n], in order, that share a session, counting the origin itself."""
    return -(-reach // max(1, int(np.diff(origin).min()))) if len(origin) > 1 else 1


def pair(
    candidate: Sequence[UnitScores],
    legacy: Sequence[UnitScores],
    metric: str,
    *,
    part: bool = False,
) -> Pair:
    """Pair two arms by key: dataset, origin row and date, step.

    Parameters
    ----------
    part
        The units hold some of the judged origins, picked out by a slice.

    Raises
    ------
    PairingError
        When there is nothing to pair, a unit repeats an origin, or units were judged on
        different data, origins or steps.
    """
    if not candidate or not legacy:
        raise PairingError(reason(ReasonCode.NO_SCORES))
    sides = (*sorted(candidate, key=_seed), *sorted(legacy, key=_seed))
    units = [in_time_order(unit) for unit in sides]
    first = units[0]
    for unit in units:
        _same_plan(first, unit)
    losses = np.stack([_losses(unit, metric) for unit in units])
    fine = np.stack([unit.ok for unit in units]) & ~(np.abs(losses) > LARGEST)
    losses = np.where(np.abs(losses) > LARGEST, np.nan, losses)
    losses = np.where(np.abs(losses) < SMALLEST, 0.0, losses)
    split = len(candidate)
    return Pair(
        candidate=losses[:split],
        legacy=losses[split:],
        origin=first.origin,
        origin_date=first.origin_date,
        reach=reach_of(first),
        names=(first.arm, units[-1].arm, first.dataset),
        candidate_ok=fine[:split],
        legacy_ok=fine[split:],
        part=part,
    )


def filled(both: Pair, *, candidate: float | None = None, legacy: float | None = None) -> Pair:
    """Fill failed windows against the candidate; a NaN with another cause stays.

    Parameters
    ----------
    candidate, legacy
        What those of a side are filled with; left out, the candidate's with twice the largest
        loss seen on either side and legacy's with the smallest.
    """
    seen = _seen(both)
    if not len(seen):
        return both
    worst = WORST * seen.max() if candidate is None else candidate
    best = seen.min() if legacy is None else legacy
    return dataclasses.replace(
        both,
        candidate=np.where(both.candidate_ok, both.candidate, worst),
        legacy=np.where(both.legacy_ok, both.legacy, best),
    )


def counted(
    both: Pair, *, candidate: float | None = None, legacy: float | None = None, out: Flags
) -> Pair:
    """Count failed windows as a number, which settles them, and leave origins out.

    Parameters
    ----------
    candidate, legacy
        Loss that the failed windows of a side count as; None leaves them failed.
    out : [W]
        Origins to leave out.
    """
    changes: dict[str, Array | Flags | Rows | Dates] = {}
    for side, value in (("candidate", candidate), ("legacy", legacy)):
        fine = getattr(both, f"{side}_ok")
        losses = getattr(both, side)
        if value is not None:
            losses, fine = np.where(fine, losses, value), np.ones_like(fine)
        changes |= {side: losses[:, ~out], f"{side}_ok": fine[:, ~out]}
    for name in ("origin", "origin_date"):
        changes[name] = getattr(both, name)[~out]
    return dataclasses.replace(both, **changes)  # type: ignore[arg-type]  # by name


def capped(both: Pair, *, beyond: float) -> tuple[Pair, int, int]:
    """Count absurd losses as twice the largest that both sides had together; how many of each side.

    A loss both sides have at the same origin is the data's: a burst, a crash. One that a side has
    alone is its own. The candidate's are cut at twice that largest loss, which never makes it look
    worse; legacy's only where they are beyond `beyond` times it.
    """
    sides = (np.fmax.reduce(losses, axis=0) for losses in (both.candidate, both.legacy))
    together = np.minimum(*sides)
    together = together[np.isfinite(together)]
    largest = float(together.max(initial=0.0))
    if largest <= 0:
        return both, 0, 0
    most = WORST * largest
    ours, theirs = both.candidate > most, both.legacy > beyond * largest
    cut = dataclasses.replace(
        both,
        candidate=np.where(ours, most, both.candidate),
        legacy=np.where(theirs, most, both.legacy),
    )
    return cut, int(ours.sum()), int(theirs.sum())


def worst_of(both: Pair) -> float | None:
    """What a failed window counts as: twice the largest loss seen; None where none was seen."""
    seen = _seen(both)
    return WORST * float(seen.max()) if len(seen) else None


def _seen(both: Pair) -> Array:
    """Every loss that is a number, of windows that did not fail."""
    fine = np.concatenate([both.candidate[both.candidate_ok], both.legacy[both.legacy_ok]])
    seen: Array = fine[np.isfinite(fine)]
    return seen


def lost(both: Pair) -> Pair:
    """Turn losses into the share of each origin that a seed loses to those of the other side.

    1 where its loss is higher, 1/2 where both are the same, mean over the other side's seeds. The
    means of both sides add to 1. A window the candidate failed is lost, one that legacy alone
    failed is won by legacy; NaN where a loss has no number for another cause, or none has one.
    """
    whole = filled(both)
    none = not np.isfinite(whole.candidate[~both.candidate_ok]).all()
    ours = np.where(both.candidate_ok | none, whole.candidate, np.inf)[:, None]
    theirs = np.where(both.legacy_ok | none, whole.legacy, -np.inf)[None]
    share = 0.5 + np.sign(ours - theirs) / 2  # [S, S', W]
    return dataclasses.replace(both, candidate=share.mean(axis=1), legacy=1 - share.mean(axis=0))


def _seed(unit: UnitScores) -> int:
    return unit.seed


def _same_plan(first: UnitScores, other: UnitScores) -> None:
    """Refuse units that differ in anything but the forecasts."""
    sides = tuple(f"{each.arm} (seed {each.seed})" for each in (first, other))
    if first.dataset != other.dataset:
        both = first.dataset, other.dataset
        raise PairingError(reason(ReasonCode.OTHER_DATASETS, sides=sides, datasets=both))
    same = other is not first and other.truth is first.truth  # and so are origins, dates and steps
    if same and other.truth_digest == first.truth_digest:
        return
    found: ReasonCode | None = None
    if bool((other.origin[1:] == other.origin[:-1]).any()):
        found = ReasonCode.ORIGIN_TWICE
    elif not np.array_equal(first.origin, other.origin):
        found = ReasonCode.OTHER_ORIGINS
    elif not np.array_equal(first.origin_date, other.origin_date):
        found = ReasonCode.OTHER_DATES
    elif not np.array_equal(first.step, other.step):
        found = ReasonCode.OTHER_STEPS
    elif first.truth_digest != other.truth_digest:
        found = ReasonCode.OTHER_ACTUALS
    if found is not None:
        raise PairingError(reason(found, sides=sides, dataset=first.dataset, arm=other.arm))


def _losses(unit: UnitScores, metric: str) -> Array:
    """Loss per origin [W]: scaled, then the mean over the horizon; NaN where all failed."""
    what = AGGREGATES[metric]
    if what.of not in unit.values and not unit.ok.any():  # nobody knows what it would have given
        return np.full(len(unit), np.nan)
    if what.of not in unit.values:
        why = reason(
            ReasonCode.NO_METRIC, arm=unit.arm, dataset=unit.dataset, seed=unit.seed, loss=metric
        )
        raise PairingError(why)
    cells = unit.values[what.of]
    if what.scaled:
        last = np.where(unit.last != 0, np.abs(unit.last), np.nan)
        with np.errstate(over="ignore", invalid="ignore"):
            cells = cells / (last**2 if what.rooted else last)[:, None]
    with np.errstate(over="ignore", invalid="ignore"):
        losses: Array = cells.mean(axis=1)
    return losses


FailedAs = Literal["", "worst", "missed", "covered", "lost", "out"]
"""What failed windows count as: twice the largest loss seen, missed, covered, lost, left out."""


@dataclass(frozen=True, kw_only=True)  # no slots: what is derived is worked out once
class Sides:
    """Both sides of a ratio, every seed by itself, on the same origins in time order.

    Attributes
    ----------
    above, below : [S, n]
        Losses of candidate and legacy; what is covered, or lost, and ones for a share.
    overlap
        Consecutive origins that share a session.
    part
        The origins were picked out of those that were judged.
    others
        Further sides whose effect, without its sign, is at least as large: where any of them is
        shown to be small, so is this one.
    """

    above: Array
    below: Array
    overlap: int
    part: bool = False
    others: tuple[Sides, ...] = ()

    @cached_property
    def means(self) -> tuple[Array, Array]:
        """Means over the seeds of each side, [n] each."""
        above, below = (
            side[0] if len(side) == 1 else side.mean(axis=0) for side in (self.above, self.below)
        )
        return above, below

    @cached_property
    def difference(self) -> Array:
        """Candidate less the estimated ratio times legacy, [n]: what the ratio's error is of."""
        return centred(*self.means)[1]

    @cached_property
    def memory(self) -> LongMemory | None:
        """Whether the difference remembers; None where that cannot be told."""
        return memory_of(self.difference, self.overlap)

    @cached_property
    def persistence(self) -> Persistence | None:
        """Persistence under noise in the difference; None where that cannot be told."""
        return persistence_of(self.difference, self.overlap)

    @cached_property
    def tied(self) -> bool:
        """Both sides are the same but for roundings."""
        return tied(*self.means)

    @property
    def varies(self) -> bool:
        """A side is not the same on every origin, so that there is an uncertainty to estimate."""
        return not all(constant(side) for side in self.means)

    @property
    def seeded(self) -> bool:
        """There is a side with more than one seed, so that seeds can be seen to vary."""
        return max(len(self.above), len(self.below)) > 1 and not self.tied

    def at(self, rows: Rows) -> Sides:
        """The same sides at some of the origins."""
        others = tuple(each.at(rows) for each in self.others)
        return dataclasses.replace(
            self, above=self.above[:, rows], below=self.below[:, rows], others=others
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedWindows:
    """How many windows each side failed on, over its seeds, and what they were counted as.

    Attributes
    ----------
    candidate_as, legacy_as
        '' where a side failed on none, or where they were filled against the candidate.
    candidate_capped, legacy_capped
        Windows of absurd losses that were counted as twice the largest that both sides had
        together.
    """

    candidate: int = 0
    legacy: int = 0
    candidate_as: FailedAs = ""
    legacy_as: FailedAs = ""
    candidate_capped: int = 0
    legacy_capped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedPair:
    """A pair whose failed windows, and absurd losses, are counted in one way."""

    pair: Pair
    failed: FailedWindows


def count_failed(both: Pair, ours: FailedAs, theirs: FailedAs) -> CountedPair:
    """Count failed windows of the candidate, and of legacy, in one way each."""
    values: dict[FailedAs, float | None] = {"worst": worst_of(both), "missed": 0.0, "covered": 1.0}
    left: Flags = np.zeros(len(both.origin), dtype=bool)
    for way, fine in ((ours, both.candidate_ok), (theirs, both.legacy_ok)):
        if way == "out":
            left |= ~fine.all(axis=0)
    return CountedPair(
        pair=counted(both, candidate=values.get(ours), legacy=values.get(theirs), out=left),
        failed=FailedWindows(
            candidate=int((~both.candidate_ok).sum()),
            legacy=int((~both.legacy_ok).sum()),
            candidate_as=ours,
            legacy_as=theirs,
        ),
    )
