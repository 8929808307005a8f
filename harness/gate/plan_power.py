"""Before paying for a run: which criteria a plan can decide, and what would decide the others.

How losses vary is taken from stored scores of the pair where there are any, else from two
reference arms that are cheap enough to be run at once; those say nothing of seeds.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.arm import Learns
from harness.errors import ConfigError
from harness.evidence.comparison import Comparison, date_of_more, spread_of
from harness.evidence.pairing import Pair, pair
from harness.experiments.policy import Policy
from harness.experiments.rules import EvidenceNeeded, Limits
from harness.gate.judge import scored
from harness.judging.declared import Cell, Given
from harness.judging.fact import Fact, FactCode, fact
from harness.judging.findings import Finding, no_prediction
from harness.judging.verdict import gather
from harness.running.grid import Grid, GridCell
from harness.running.store import Store
from harness.running.unit import carry_out
from harness.scoring.scores import Truth, UnitScores, score
from harness.stats.statistical_power import (
    Plan,
    Spread,
    detectable,
    origins_needed,
    predicted_power,
    seeds_needed,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What a plan can do for one finding.

    Attributes
    ----------
    finding
        Its id.
    bound
        Margin, asked gain or tolerance, as a share (or points).
    origins, seeds
        Of the plan; seeds of candidate and legacy.
    silent
        Why there is no figure; None where there is one.
    detectable
        Smallest distance from the bound that is shown with the planned power; None where nothing
        is known of how losses vary, too few origins make any figure worthless, or none is shown.
    chance
        Chance of showing that a candidate exactly as good as legacy keeps the bound; for a
        success, that one twice as far from equality as asked does.
    decidable
        `chance` reaches the planned power.
    origins_needed, more_origins, decided_by
        Origins with which it would, how many further independent ones that are, and the ISO date
        by which they exist; None when it does already or none are enough.
    seeds_needed
        Seeds a side with which it would, where no number of origins does.
    """

    finding: str
    bound: float
    origins: int
    seeds: tuple[int, int]
    silent: Fact | None
    detectable: float | None
    chance: float | None
    decidable: bool
    origins_needed: int | None
    more_origins: int | None
    decided_by: str | None
    seeds_needed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerReport:
    """Outlooks on every finding on losses and coverage, and where the variances come from.

    Attributes
    ----------
    source
        Where the variances come from.
    power, power_each
        As the policy asks for all guardrails together, and what each is planned with.
    """

    outlooks: tuple[Outlook, ...]
    source: Fact
    power: float
    power_each: float


def plan_power(grid: Grid, store: Store | None, *, policy: Policy) -> PowerReport:
    """Say what the plan of an experiment can decide.

    Parameters
    ----------
    store
        With scores of the pair, if there are any; nothing is written to it but scores.

    Raises
    ------
    ConfigError
        When there are neither stored scores of the pair nor two light reference arms.
    """
    scores = _pair_scores(grid, store, policy)
    pair_ = {"candidate": policy.candidate, "legacy": policy.baseline}
    source = fact(FactCode.STORED_SCORES, **pair_)
    if not scores:
        scores, source = _stand_ins(grid, policy)
    declared = [Cell(arm=u.arm, dataset=u.dataset, seed=u.seed) for u in scores]
    bare = dataclasses.replace(policy, limits=Limits(), evidence=EvidenceNeeded(), waivers=())
    evidence = gather(bare, declared, scores, Given())
    shared = evidence.multiplicity
    return PowerReport(
        outlooks=tuple(
            _outlook(each, grid, policy, scores)
            for each in evidence.findings
            if each.role != "limit"
        ),
        source=source,
        power=shared.power,
        power_each=shared.power_each,
    )


def _pair_scores(grid: Grid, store: Store | None, policy: Policy) -> list[UnitScores]:
    """Scores of the pair where all of its cells are stored."""
    wanted = (policy.baseline, policy.candidate)
    cells = [cell for cell in grid.cells if cell.arm.name in wanted]
    if store is None or not all(store.has_unit(cell.key) for cell in cells):
        return []
    found = scored(dataclasses.replace(grid, cells=tuple(cells)), store)
    return [] if found.problems else found.scores


def _stand_ins(grid: Grid, policy: Policy) -> tuple[list[UnitScores], Fact]:
    """Two light reference arms, run here and scored under the names of the pair."""
    light = [
        arm for arm in grid.experiment.arms if arm.role == "reference" and _is_light(grid, arm.name)
    ]
    if len(light) < 2:
        raise ConfigError(
            f"{grid.experiment.source}: power needs stored scores of {policy.candidate} and "
            f"{policy.baseline}, or two reference arms that do not learn; there are {len(light)}: "
            "run the pair first (`abharness run`), or add random walks"
        )
    first, last = light[0], light[-1]
    names = {first.name: policy.baseline, last.name: policy.candidate}
    firsts: dict[tuple[str, str], GridCell] = {}
    for cell in grid.cells:
        if cell.arm.name in names:
            firsts.setdefault((cell.arm.name, cell.dataset), cell)
    scores = [_run(grid, cell, names[cell.arm.name]) for cell in firsts.values()]
    return scores, fact(FactCode.STAND_INS, arms=(last.name, first.name))


def _is_light(grid: Grid, name: str) -> bool:
    kind = grid.experiment.arm(name).find()
    return not getattr(kind, "heavy_modules", ()) and not issubclass(kind, Learns)


def _run(grid: Grid, cell: GridCell, name: str) -> UnitScores:
    split = grid.splits[cell.dataset]
    outcome = carry_out(grid.job(cell))
    truth = Truth.of(cell.dataset, split.dataset.series, split.windows)
    role = grid.experiment.arm(name).role
    return score(
        truth, outcome.forecast, arm=name, role=role, seed=cell.seed, reasons=outcome.reason
    )


def _outlook(finding: Finding, grid: Grid, policy: Policy, scores: Sequence[UnitScores]) -> Outlook:
    found = finding.comparison
    spread = None if found is None else spread_of(found)
    seeds = _seeds(grid, finding.dataset, policy)
    count = len(grid.splits[finding.dataset].windows) if found is None else found.sample.n
    blank = _blank(finding, count, seeds)
    if found is None or spread is None or spread.long_run <= 0:
        return blank  # stand-ins that tie on a metric say nothing of how it varies
    if found.silent:
        return dataclasses.replace(blank, silent=no_prediction(found.sample.independent_n))
    plan = Plan(
        n=count,
        overlap=found.sample.overlap,
        candidate_seeds=seeds[0],
        legacy_seeds=seeds[1],
        bounds=len(found.question.bounds),
    )
    return _filled(blank, found, spread, plan, _pair_on(finding.dataset, scores, policy))


def _blank(finding: Finding, origins: int, seeds: tuple[int, int]) -> Outlook:
    """What is said where nothing is known."""
    return Outlook(
        finding=finding.id,
        bound=finding.bound,
        origins=origins,
        seeds=seeds,
        silent=fact(FactCode.TIED),
        detectable=None,
        chance=None,
        decidable=False,
        origins_needed=None,
        more_origins=None,
        decided_by=None,
        seeds_needed=None,
    )


def _filled(blank: Outlook, found: Comparison, spread: Spread, plan: Plan, both: Pair) -> Outlook:
    """Ask the power law: for an effect of 0, or of twice the asked gain."""
    asked = found.question
    bound, alpha, wanted = asked.bound_high, asked.alpha, asked.power
    distance = abs(bound)
    effect = 2 * bound if bound < 0 else 0.0
    chance = predicted_power(spread, plan, effect=effect, bound=bound, alpha=alpha)
    made = dataclasses.replace(
        blank,
        silent=None,
        detectable=detectable(spread, plan, alpha=alpha, power=wanted),
        chance=chance,
        decidable=chance >= wanted,
    )
    if made.decidable or distance == 0:
        return made
    needed = origins_needed(spread, plan, distance=distance, alpha=alpha, power=wanted)
    if needed is None:
        seeds = seeds_needed(spread, plan, distance=distance, alpha=alpha, power=wanted)
        return dataclasses.replace(made, seeds_needed=seeds)
    more = max(1, math.ceil((needed - plan.n) / plan.overlap))
    return dataclasses.replace(
        made, origins_needed=needed, more_origins=more, decided_by=date_of_more(both, more)
    )


def _pair_on(dataset: str, scores: Sequence[UnitScores], policy: Policy) -> Pair:
    """One unit of each side: what tells at which pace origins come to pass."""
    there = [unit for unit in scores if unit.dataset == dataset]
    candidate, legacy = (
        next(unit for unit in there if unit.arm == arm)
        for arm in (policy.candidate, policy.baseline)
    )
    return pair([candidate], [legacy], "mae")


def _seeds(grid: Grid, dataset: str, policy: Policy) -> tuple[int, int]:
    counts = [
        sum(cell.arm.name == arm and cell.dataset == dataset for cell in grid.cells)
        for arm in (policy.candidate, policy.baseline)
    ]
    return counts[0], counts[1]
