"""Both sides set against the reference arm."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from harness.evidence.pairing import LARGEST
from harness.experiments.policy import Policy
from harness.judging.declared import Cell
from harness.judging.fact import Fact, FactCode, Value, fact
from harness.scoring.metrics import AGGREGATES
from harness.scoring.scores import Flags, UnitScores
from harness.scoring.summary import MetricSummary, skill_of, summarise


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One side against the reference: skill is 1 - value / reference value; above 0 is better.

    Attributes
    ----------
    value, reference_value
        Of the same windows: those that neither failed with any seed.
    left_out
        Windows that one of them failed.
    """

    arm: str
    dataset: str
    metric: str
    reference: str
    value: float | None
    reference_value: float | None
    skill: float | None
    left_out: int = 0


def reference_arm(
    policy: Policy, declared: Sequence[Cell], scores: Sequence[UnitScores]
) -> str | None:
    """The arm both sides are set against, found once for a verdict and kept in its record."""
    scored: dict[str, str] = {u.arm: u.role for u in sorted(scores, key=lambda unit: unit.arm)}
    roles = {cell.arm: cell.role or scored.get(cell.arm, "") for cell in declared}
    return policy.reference_among({**roles, **scored})


def standings_of(
    policy: Policy, bar: str | None, scores: Sequence[UnitScores]
) -> tuple[Standing, ...]:
    """Both sides against the reference `bar`, by CRPS and every loss the policy names."""
    if bar is None:
        return ()
    metrics = dict.fromkeys(["crps", *(rule.metric for rule in policy.criteria)])
    needed = {name for metric in metrics for name in AGGREGATES[metric].metrics}
    units = [_only(needed, unit) for unit in scores]
    found: dict[tuple[str, str, str], Standing] = {}
    for dataset in dict.fromkeys(unit.dataset for unit in scores):
        there = [unit for unit in units if unit.dataset == dataset]
        against = [unit for unit in there if unit.arm == bar]
        for arm in (policy.baseline, policy.candidate):
            side = [unit for unit in there if unit.arm == arm]
            for each in _against(side, against, bar) if side else ():
                found[dataset, each.metric, arm] = each
    order = [
        (dataset, metric, arm)
        for dataset in dict.fromkeys(unit.dataset for unit in scores)
        for metric in metrics
        for arm in (policy.baseline, policy.candidate)
    ]
    return tuple(found[key] for key in order if key in found)


def _against(side: Sequence[UnitScores], bar: Sequence[UnitScores], name: str) -> list[Standing]:
    """A side against the reference by every metric both have, on windows neither failed."""
    fine = _fine([*side, *bar])
    units = [*side, *bar] if fine is None or fine.all() else [u.at(fine) for u in (*side, *bar)]
    out = 0 if fine is None else int((~fine).sum())
    if not len(units[0]):
        return [_nothing(side[0], name, out)]
    rows = {(row.arm, row.metric): row for row in summarise(units)}
    return [
        _standing(row, rows.get((name, row.metric)), name, out)
        for (arm, _), row in rows.items()
        if arm == side[0].arm
    ]


def _nothing(unit: UnitScores, bar: str, left_out: int) -> Standing:
    """No window is left that neither failed."""
    return Standing(
        arm=unit.arm,
        dataset=unit.dataset,
        metric="crps",
        reference=bar,
        value=None,
        reference_value=None,
        skill=None,
        left_out=left_out,
    )


def _fine(units: Sequence[UnitScores]) -> Flags | None:
    """Windows [W] that no unit failed; None where units are of other windows."""
    if len({len(unit) for unit in units}) > 1:
        return None
    fine: Flags = np.logical_and.reduce([unit.ok & ~_absurd(unit) for unit in units])
    return fine


def _absurd(unit: UnitScores) -> Flags:
    """Windows [W] with a loss so large that its sums overflow."""
    found = np.zeros(len(unit), dtype=bool)
    for cells in unit.values.values():
        found |= (np.abs(cells) > LARGEST).any(axis=1)
    return found


def _only(needed: Collection[str], unit: UnitScores) -> UnitScores:
    values = {name: cells for name, cells in unit.values.items() if name in needed}
    return dataclasses.replace(unit, values=values)


def _standing(
    row: MetricSummary, against: MetricSummary | None, bar: str, left_out: int
) -> Standing:
    reference_value = against.value if against else None
    return Standing(
        arm=row.arm,
        dataset=row.dataset,
        metric=row.metric,
        reference=bar,
        value=row.value,
        reference_value=reference_value,
        skill=skill_of(row.value, reference_value),
        left_out=left_out,
    )


def standing_fact(code: FactCode, each: Standing, **values: Value) -> Fact:
    """State how a side stands against the reference."""
    return fact(
        code,
        dataset=each.dataset,
        arm=each.arm,
        reference=each.reference,
        metric=each.metric,
        skill=each.skill,
        **values,
    )
