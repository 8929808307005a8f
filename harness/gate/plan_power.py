"""Before paying for a run: the chance that a plan decides, by the true effect.

How losses vary is taken from stored scores of the pair where there are any, else from two
reference arms that are cheap enough to be run at once; those say nothing of seeds. The figures are
those of the verdict: the same function makes them from the same comparisons.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.arm import Learns
from harness.errors import ConfigError
from harness.evidence.prospects import EFFECTS, prospects_of
from harness.experiments.policy import Policy
from harness.experiments.rules import EvidenceNeeded, Limits
from harness.gate.circumstances import room_of
from harness.gate.judge import scored
from harness.judging.declared import Cell, JudgedGrid
from harness.judging.fact import Fact, FactCode, fact
from harness.judging.findings import Finding, RulePower, chances_of_all, outlooks_of
from harness.judging.verdict import gather
from harness.running.cells import has_cell
from harness.running.grid import Grid, GridCell
from harness.running.store_folder import Store
from harness.running.unit import carry_out
from harness.scoring.scores import Truth, UnitScores, score
from harness.stats.spending import chance_by_looks, levels


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerReport:
    """Outlooks on every finding on losses and coverage, and where the variances come from.

    Attributes
    ----------
    whole
        The same for all guardrails together, see `chances_of_all`.
    source
        Where the variances come from.
    power, power_each
        As the policy asks for all guardrails together, and what each is planned with.
    room
        Independent origins per dataset that the history holds beyond those of the plan.
    looks
        The same where a policy plans looks; empty where it plans none.
    """

    outlooks: tuple[RulePower, ...]
    whole: tuple[tuple[float, float, float], ...]
    source: Fact
    power: float
    power_each: float
    room: Mapping[str, int]
    looks: tuple[LookChances, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LookChances:
    """What the looks of a policy can show of one finding, as a first attempt.

    Attributes
    ----------
    most
        Non-overlapping origins with which the question ends.
    chances
        True effects, each with the chance that the bound is shown to be kept: at the first look,
        today; by the last; and where all origins are looked at once in the end, at the whole error
        rate.
    """

    finding: str
    most: int
    chances: tuple[tuple[float, float, float, float], ...]


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
    scores: list[UnitScores] = []
    cells = tuple(cell for cell in grid.cells if cell.arm.name in policy.pair)
    if store is not None and all(has_cell(store, cell) for cell in cells):
        stored = scored(dataclasses.replace(grid, cells=cells), store)
        scores = [] if stored.problems else stored.scores
    source = fact(FactCode.STORED_SCORES, candidate=policy.candidate, legacy=policy.baseline)
    if not scores:
        scores, source = _stand_ins(grid, policy)
    declared = [Cell(arm=u.arm, dataset=u.dataset, seed=u.seed) for u in scores]
    bare = dataclasses.replace(policy, limits=Limits(), evidence=EvidenceNeeded(), waivers=())
    evidence = gather(JudgedGrid(policy=bare, declared=declared, scores=scores))
    found = outlooks_of([each for each in evidence.findings if each.role != "limit"])
    if source.code is FactCode.STAND_INS:  # their own effect says nothing of the pair's
        found = tuple(
            dataclasses.replace(each, effect=None, chance=None, settled_at=None, decided=False)
            for each in found
        )
    shared = evidence.multiplicity
    return PowerReport(
        outlooks=found,
        whole=chances_of_all(found),
        source=source,
        power=shared.power,
        power_each=shared.power_each,
        room={name: room_of(split) for name, split in grid.splits.items()},
        looks=_at_looks(policy, evidence.findings, shared.successes),
    )


def _at_looks(
    policy: Policy, findings: Sequence[Finding], successes: int
) -> tuple[LookChances, ...]:
    """Work out what a look at each further non-overlapping origin can show, up to the last."""
    found: list[LookChances] = []
    for each in findings if policy.looks else ():
        ahead = None if each.comparison is None else prospects_of(each.comparison)
        asked = policy.looks
        if ahead is None or asked is None:
            continue
        now = ahead.found.sample.independent_n
        counts = range(now, max(now, asked.max_origins) + 1)
        fractions = [min(1.0, count / asked.max_origins) for count in counts]
        whole = policy.alpha / (max(1, successes) if each.role == "success" else 1)
        given = levels(fractions, whole * asked.share(1), asked.spending)
        rows = []
        for effect in EFFECTS:
            single = [
                0.0
                if math.isnan(level)
                else ahead.chance_at_look(effect, independent=count, alpha=level, once=False)
                for count, level in zip(counts, given.tolist(), strict=True)
            ]
            once = ahead.chance_at_look(effect, independent=counts[-1], alpha=whole, once=True)
            rows.append((effect, single[0], chance_by_looks(single, fractions), once))
        found.append(LookChances(finding=each.id, most=asked.max_origins, chances=tuple(rows)))
    return tuple(found)


def _stand_ins(grid: Grid, policy: Policy) -> tuple[list[UnitScores], Fact]:
    """Two light reference arms, run here and scored under the names of the pair."""
    light = []
    for arm in grid.experiment.arms:
        kind = arm.find() if arm.role == "reference" else Learns
        if not getattr(kind, "heavy_modules", ()) and not issubclass(kind, Learns):
            light.append(arm)
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
    scores = []
    for cell in firsts.values():
        split, name = grid.splits[cell.dataset], names[cell.arm.name]
        outcome = carry_out(grid.job(cell))
        scores.append(
            score(
                Truth.of(cell.dataset, split.dataset.series, split.windows),
                outcome.forecast,
                arm=name,
                role=grid.experiment.arm(name).role,
                seed=cell.seed,
                reasons=outcome.reason,
            )
        )
    return scores, fact(FactCode.STAND_INS, arms=(last.name, first.name))
