"""Whether a conclusion is allowed at all: completeness, pairing, failures, standing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.evidence.estimand import loss_of
from harness.experiments.policy import Policy
from harness.judging.declared import Cell, JudgedGrid
from harness.judging.fact import Fact, FactCode, Value, fact
from harness.judging.price_scale import far_from_prices
from harness.judging.reference import (
    AgainstReference,
    reference_arm,
    shown_by,
    standings_of,
    straw_man,
)
from harness.scoring.scores import UnitScores

Mark = Literal["holds", "note", "broken"]
"""How a check came out: it holds, something must be known with it, or it does not hold."""


CROSSED = 0.1
"""Share of the cells whose quantiles came out of order from which on they hardly are quantiles."""
READING_GAP = 0.02
"""Readings of samples that differ by more are worth a word."""
SOUND_ORIGINS = 20
"""With fewer non-overlapping origins than this, no bound keeps its error rate."""
CUT_OFF = "pretraining cut-off"
"""Title of the card fact that tells up to which ISO date an arm's pretraining data reach."""
PRETRAINING = "pretraining data"
NO_MARKET_DATA = "no market data"
"""A card's `PRETRAINING` fact that starts so says that no judged session can be in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitHealth:
    """What happened in one unit, for the validity section.

    Attributes
    ----------
    windows, failures
        Windows asked for and failed.
    missing
        Values that are NaN in windows that did not fail (a percentage error of an actual 0).
    crossings
        Share of cells whose quantiles came out of order.
    extrapolated
        Levels of the common grid beyond the arm's own.
    residual_distribution
        The harness added the distribution.
    first_reason
        Why the first failed window failed; ''.
    judged
        It is of a side, not of an arm beside the pair.
    """

    arm: str
    dataset: str
    seed: int
    windows: int
    failures: int
    missing: int
    crossings: float
    extrapolated: int
    residual_distribution: bool
    first_reason: str
    judged: bool = False

    @classmethod
    def of(cls, unit: UnitScores, *, judged: bool) -> UnitHealth:
        """What happened in a unit that was scored."""
        rows = slice(None) if unit.ok.all() else unit.ok
        holes = sum(int(np.count_nonzero(np.isnan(cells[rows]))) for cells in unit.values.values())
        return cls(
            arm=unit.arm,
            dataset=unit.dataset,
            seed=unit.seed,
            windows=len(unit),
            failures=unit.failures,
            missing=holes,
            crossings=unit.crossings,
            extrapolated=unit.extrapolated,
            residual_distribution=unit.residual_distribution,
            first_reason=next((text for text in unit.reason if text), ""),
            judged=judged,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Blindness:
    """Whether an arm was shown not to see past its origin.

    Every context ends at its origin and every process is handed rows up to its last origin only;
    this is about an arm that keeps what it saw at later origins.
    """

    arm: str
    state: Literal["passed", "failed", "not tested"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contamination:
    """How much of what is judged may have been in an arm's pretraining data.

    Attributes
    ----------
    share
        Share of origins before the cut-off; None where the arm does not say.
    said
        What its card says: the cut-off, or else the data; '' where it says nothing.
    """

    arm: str
    dataset: str
    share: float | None
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """Whether a conclusion is allowed at all, and on what it rests.

    Attributes
    ----------
    problems
        Why no conclusion is allowed; empty when one is.
    declared, present
        Cells of the declared grid, and how many of them have scores.
    missing
        The cells that have none.
    reference
        The arm both sides are set against; None where there is none.
    truth_digests
        Dataset to the digest all units were judged against ('' when they differ).
    units
        Failures, NaN and crossings per unit.
    standings
        Both sides against the reference arm.
    blindness
        Both sides: whether they were shown not to see past their origin.
    contamination
        The candidate: judged origins that its pretraining data may hold.
    doubts
        What allows a conclusion and must be known with it.
    """

    problems: tuple[Fact, ...]
    declared: int
    present: int
    missing: tuple[Cell, ...]
    truth_digests: Mapping[str, str]
    units: tuple[UnitHealth, ...]
    standings: tuple[AgainstReference, ...]
    blindness: tuple[Blindness, ...] = ()
    contamination: tuple[Contamination, ...] = ()
    doubts: tuple[Fact, ...] = ()
    reference: str | None = None

    @property
    def pairing(self) -> Mark:
        """Whether all arms were judged on the same origins and actuals."""
        same = bool(self.truth_digests) and all(self.truth_digests.values())
        return "holds" if same else "broken"

    @property
    def completeness(self) -> Mark:
        """Whether every declared cell is there, no window failed and the declared seeds were run.

        A cell that is missing breaks it, and so does a failed window of a side.
        """
        if not self.declared or self.present < self.declared or self.failures == "broken":
            return "broken"
        seeds = self.doubted(FactCode.ONE_SEED) or self.doubted(FactCode.HAND_PICKED_SEEDS)
        return "note" if seeds or any(unit.failures for unit in self.units) else "holds"

    @property
    def failures(self) -> Mark:
        """Whether no window failed: of a side it breaks the check, beside the pair it is noted."""
        failed = [unit for unit in self.units if unit.failures]
        if any(unit.judged for unit in failed):
            return "broken"
        return "holds" if not failed and any(unit.windows for unit in self.units) else "note"

    @property
    def future_blindness(self) -> Mark:
        """Whether both sides were shown not to see past their origin."""
        states = [each.state for each in self.blindness]
        if "failed" in states:
            return "broken"
        return "holds" if states == ["passed", "passed"] else "note"

    @property
    def uncontaminated(self) -> Mark:
        """Whether no judged origin can have been in the candidate's pretraining data."""
        shares = [each.share for each in self.contamination]
        return "holds" if shares and not any(share is None or share for share in shares) else "note"

    def above_reference(self, dataset: str | None = None) -> Mark:
        """Whether both sides have skill over the reference, by the first loss: on all datasets."""
        bars = self.bars if dataset is None else {dataset: self.bars[dataset]}
        skills = [side.skill for sides in bars.values() for side in sides.values()]
        better = bool(skills) and all(skill is not None and skill > 0 for skill in skills)
        return "holds" if better else "note"

    @property
    def bars(self) -> dict[str, dict[str, AgainstReference]]:
        """Standings by dataset and arm: by CRPS, or by the loss that stands first."""
        found: dict[str, dict[str, AgainstReference]] = {}
        for dataset in dict.fromkeys(row.dataset for row in self.standings):
            mine = [row for row in self.standings if row.dataset == dataset]
            metrics = [row.metric for row in mine]
            metric = "crps" if "crps" in metrics else metrics[0]
            found[dataset] = {row.arm: row for row in mine if row.metric == metric}
        return found

    def doubted(self, code: FactCode) -> bool:
        """Whether a doubt of that kind is among those to be known."""
        return any(each.code is code for each in self.doubts)


def examine(grid: JudgedGrid) -> Validity:
    """Check what a verdict would rest on.

    Problems are: what the caller found; an empty grid, a grid without one side on a dataset, cells
    that are missing, double or not declared; less evidence than the policy declares; units of one
    dataset that were judged against different actuals; origins that are not at the planned stride;
    a side that sees past its origin; and, where the policy says so, an implausible gain.
    """
    policy, given = grid.policy, grid.given
    there = {(unit.arm, unit.dataset, unit.seed) for unit in grid.scores}
    missing = tuple(
        cell for cell in grid.declared if (cell.arm, cell.dataset, cell.seed) not in there
    )
    seen: dict[str, set[str]] = {}
    for unit in grid.scores:
        seen.setdefault(unit.dataset, set()).add(unit.truth_digest)
    digests = {name: next(iter(each)) if len(each) == 1 else "" for name, each in seen.items()}
    bar = reference_arm(grid)
    standings = standings_of(grid, bar)
    gains = _implausible(grid, standings, bar)
    weak = straw_man(policy, standings) if policy.broken_baseline == "invalid" else None
    contamination = _contamination(grid)
    untested = [
        fact(FactCode.NOT_TESTED, arm=arm, tests=given.tests_of(arm).missing)
        for arm in policy.pair
        if given.tests_of(arm).state == "not tested"
    ]
    refused = policy.evidence.implausible == "invalid"
    needed = policy.evidence.untested == "invalid"
    return Validity(
        problems=(
            *given.problems,
            *_problems(grid, missing, digests),
            *(untested if needed else ()),
            *(gains if refused else ()),
            *([weak] if weak else []),
        ),
        declared=len(grid.declared),
        present=len(grid.declared) - len(missing),
        missing=missing,
        truth_digests=digests,
        units=tuple(UnitHealth.of(unit, judged=unit.arm in policy.pair) for unit in grid.scores),
        standings=standings,
        blindness=tuple(Blindness(arm=arm, state=given.tests_of(arm).state) for arm in policy.pair),
        contamination=contamination,
        doubts=(
            *given.doubts,
            *_oddities(grid),
            *(
                fact(
                    FactCode.CONTAMINATED,
                    dataset=each.dataset,
                    arm=each.arm,
                    share=each.share,
                    said=each.said,
                )
                for each in contamination
                if each.share
            ),
            *(() if refused else gains),
            *_partly(policy, standings),
            *(() if needed else untested),
            *(doubt for arm in policy.pair for doubt in given.tests_of(arm).doubts),
        ),
        reference=bar,
    )


def _problems(
    grid: JudgedGrid, missing: tuple[Cell, ...], digests: Mapping[str, str]
) -> list[Fact]:
    """What is wrong with the grid, with how much evidence it holds, with its scores and sides."""
    pair, stride = grid.policy.pair, grid.given.stride
    sides = {(cell.arm, cell.dataset) for cell in grid.declared}
    problems = [] if grid.declared else [fact(FactCode.GRID_EMPTY)]
    problems += [
        fact(FactCode.GRID_WITHOUT_ARM, arm=arm, dataset=dataset)
        for dataset in grid.datasets
        for arm in pair
        if (arm, dataset) not in sides
    ]
    if missing:
        cells = tuple((cell.arm, cell.dataset, cell.seed) for cell in missing)
        problems.append(fact(FactCode.CELLS_MISSING, cells=cells, declared=len(grid.declared)))
    known = {(cell.arm, cell.dataset, cell.seed) for cell in grid.declared}
    times = Counter((unit.arm, unit.dataset, unit.seed) for unit in grid.scores)
    for (arm, dataset, seed), count in times.items():
        named: dict[str, Value] = {"arm": arm, "dataset": dataset, "seed": seed}
        if count > 1:
            problems.append(fact(FactCode.CELL_TWICE, **named, times=count))
        if (arm, dataset, seed) not in known:
            problems.append(fact(FactCode.CELL_NOT_DECLARED, **named))
    wanted = grid.policy.evidence  # less than it declares is no evidence, however good it looks
    problems += [
        fact(FactCode.EVIDENCE_NOT_THERE, dataset=name)
        for name in wanted.datasets
        if name not in grid.datasets
    ]
    seeds = {cell.seed for cell in grid.declared if cell.arm in pair}
    if grid.declared and len(seeds) < wanted.seeds:
        problems.append(fact(FactCode.FEW_SEEDS, asked=wanted.seeds, found=len(seeds)))
    origins = {unit.dataset: len(unit) for unit in grid.scores}
    problems += [
        fact(FactCode.FEWER_ORIGINS, dataset=name, asked=wanted.origins, found=count)
        for name, count in origins.items()
        if count < wanted.origins
    ]
    problems += [fact(FactCode.OTHER_ACTUALS, dataset=n) for n, same in digests.items() if not same]
    strides = [(unit, stride[unit.dataset]) for unit in grid.scores if unit.dataset in stride]
    problems += [
        fact(FactCode.OFF_STRIDE, arm=u.arm, dataset=u.dataset, seed=u.seed, stride=planned)
        for u, planned in strides
        if bool(np.any(np.diff(np.sort(u.origin)) != planned))
    ]
    for arm in pair:
        for first in grid.given.tests_of(arm).failed[:1]:
            itself = first.code is FactCode.NOT_REPEATABLE
            ahead = fact(FactCode.READS_AHEAD, arm=arm).resting_on(first)
            problems.append(first if itself else ahead)
    return problems


def _contamination(grid: JudgedGrid) -> tuple[Contamination, ...]:
    """Origins of the candidate before its pretraining cut-off, per dataset."""
    candidate = grid.policy.candidate
    card = grid.given.cards.get(candidate, {})
    cut_off, said = card.get(CUT_OFF), card.get(PRETRAINING, "")
    day: np.datetime64 = np.datetime64("NaT")
    with suppress(ValueError):  # a date that is none says nothing
        day = np.datetime64(cut_off or "NaT", "D")
    clean = cut_off is None and said.startswith(NO_MARKET_DATA)
    firsts = {unit.dataset: unit for unit in grid.scores if unit.arm == candidate}
    return tuple(
        Contamination(
            arm=candidate,
            dataset=dataset,
            share=0.0
            if clean
            else (None if np.isnat(day) else float(np.mean(unit.origin_date <= day))),
            said=cut_off or said,
        )
        for dataset, unit in firsts.items()
    )


def _implausible(
    grid: JudgedGrid, standings: Sequence[AgainstReference], bar: str | None
) -> list[Fact]:
    """A gain over all steps that is too large; or one at the first step that is shown to be.

    Whoever has seen a session or two too many knows the nearest best, and over a long horizon it is
    averaged away. By MAE there: a reference may well be too wide or too narrow so near.
    """
    policy = grid.policy
    whole = [each for each in standings if (each.arm, each.metric) == (policy.candidate, "crps")]
    nearest: list[AgainstReference] = []
    for dataset in dict.fromkeys(unit.dataset for unit in grid.scores):
        candidate, reference = (
            [
                unit.at(steps=unit.step == unit.step.min())
                for unit in grid.units(arm, dataset)
                if len(unit.step) > 1
            ]
            for arm in (policy.candidate, bar)
        )
        if candidate and reference:
            near = shown_by(loss_of("mae"), candidate, reference, alpha=policy.alpha)
            nearest += [near] if near else []
    found: dict[str, Fact] = {}
    for each, gain in (*((e, e.skill) for e in whole), *((e, e.low) for e in nearest)):
        if gain is None or gain <= policy.evidence.implausible_skill:
            continue
        said = fact(
            FactCode.IMPLAUSIBLE,
            dataset=each.dataset,
            arm=each.arm,
            reference=each.reference,
            metric=each.metric,
            skill=each.skill,
            most=policy.evidence.implausible_skill,
            first=each in nearest,
        )
        found.setdefault(each.dataset, said)
    return list(found.values())


def _partly(policy: Policy, standings: Sequence[AgainstReference]) -> list[Fact]:
    """That a candidate is set against the reference on a part of the windows only."""
    found = dict.fromkeys(
        (each.dataset, each.arm, each.reference, each.left_out)
        for each in standings
        if each.arm == policy.candidate and each.left_out
    )
    return [
        fact(FactCode.PARTLY_COMPARED, dataset=dataset, arm=arm, reference=bar, windows=count)
        for dataset, arm, bar, count in found
    ]


def _oddities(grid: JudgedGrid) -> list[Fact]:
    """What is odd about the sides, and about how little evidence the policy asks for.

    A candidate's path on another scale is a broken limit and stands among the findings.
    """
    policy, found = grid.policy, dict[tuple[object, ...], Fact]()
    for unit in grid.scores:
        place: dict[str, Value] = {"dataset": unit.dataset, "arm": unit.arm}
        if unit.arm == policy.baseline and (far := far_from_prices(unit)) is not None:
            found[far.code, unit.arm, unit.dataset, unit.seed] = far
        if unit.arm not in policy.pair:
            continue
        odd: list[Fact] = []
        if unit.crossings > CROSSED:
            odd.append(fact(FactCode.QUANTILES_CROSSED, **place, share=unit.crossings))
        if abs(unit.reading_gap) > READING_GAP:
            read = {"members": unit.members, "drawn": unit.drawn, "gap": unit.reading_gap}
            odd.append(fact(FactCode.MEMBERS_READ, **place, **read))
        for each in odd:  # once for all seeds
            found.setdefault((each.code, unit.arm, unit.dataset), each)
    few = fact(FactCode.FEW_ORIGINS_ASKED, asked=policy.min_origins, sound=SOUND_ORIGINS)
    return [*found.values(), *([few] if policy.min_origins < SOUND_ORIGINS else [])]
