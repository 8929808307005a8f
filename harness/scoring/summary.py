"""The metrics table: what the scores of each arm come to.

Shapes: W windows, H steps, S seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.arm import Role
from harness.scoring.metrics import AGGREGATES, Aggregate, aggregate, by_seed, by_step
from harness.scoring.scores import UnitScores, non_overlapping, reach_of
from harness.window import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSummary:
    """One row of the metrics table: an arm on a dataset by one aggregated metric.

    Attributes
    ----------
    arm, role, dataset, metric, unit
        What is shown, and in what unit.
    value
        Over all seeds, a root taken last; None unless every window of every seed has a value.
    low, high
        Range over seeds; None as `value`.
    seeds
        The seeds S.
    n, missing
        Scored values (S x W x H) and how many of them are NaN.
    failures
        Windows failed, over all seeds.
    skill
        1 - value / the reference arm's; None without one, or where the ratio means nothing.
    by_step : [H]
        The metric at each step, over all seeds; NaN at a step that is incomplete.
    independent, independent_n
        The metric, over all seeds, on the non-overlapping subset of origins, and how many
        origins that has.
    """

    arm: str
    role: Role
    dataset: str
    metric: str
    unit: str
    value: float | None
    low: float | None
    high: float | None
    seeds: tuple[int, ...]
    n: int
    missing: int
    failures: int
    skill: float | None
    by_step: Array
    independent: float | None
    independent_n: int


def summarise(units: Sequence[UnitScores], *, reference: str | None = None) -> list[MetricSummary]:
    """Make the metrics table: a row per arm, dataset and aggregate.

    Parameters
    ----------
    units
        Any number of arms, datasets and seeds; seeds of one arm on one dataset are one row.
    reference
        Arm the skill is measured against, on the same dataset.

    Returns
    -------
    list
        In the order in which arms and datasets appear. Metrics an arm has no scores for (a
        point forecaster's CRPS) have no row.
    """
    groups: dict[tuple[str, str], list[UnitScores]] = {}
    for unit in units:
        groups.setdefault((unit.dataset, unit.arm), []).append(unit)
    for group in groups.values():
        group.sort(key=lambda unit: unit.seed)
    bars = {
        (dataset, name): _value(aggregate(name, *_cells(group, each)).value)
        for (dataset, arm), group in groups.items()
        if arm == reference
        for name, each in _known(group).items()
    }
    rows = []
    for group in groups.values():
        first = group[0]
        apart = non_overlapping(first.origin, reach_of(first))
        for name, each in _known(group).items():
            cells = _cells(group, each)
            found = aggregate(name, *cells)
            value = alone = _value(found.value)
            if len(apart) < len(first):
                some = (np.take(part, apart, axis=1) for part in cells)
                alone = _value(aggregate(name, *some).value)
            bar, skill = bars.get((first.dataset, name)), None
            if each.lower_is_better and value is not None and bar is not None and bar > 0:
                skill = 1 - value / bar
            values = by_seed(name, *cells).tolist()
            rows.append(
                MetricSummary(
                    arm=first.arm,
                    role=first.role,
                    dataset=first.dataset,
                    metric=name,
                    unit=each.unit,
                    value=value,
                    low=None if value is None else min(values),
                    high=None if value is None else max(values),
                    seeds=tuple(unit.seed for unit in group),
                    n=found.n,
                    missing=found.missing,
                    failures=sum(unit.failures for unit in group),
                    skill=skill,
                    by_step=by_step(name, *cells),
                    independent=alone,
                    independent_n=len(apart),
                )
            )
    return rows


def _known(group: Sequence[UnitScores]) -> dict[str, Aggregate]:
    there = set.intersection(*(set(unit.values) for unit in group))
    return {name: each for name, each in AGGREGATES.items() if there.issuperset(each.metrics)}


def _cells(group: Sequence[UnitScores], each: Aggregate) -> list[Array]:
    """Cells [S, W, H] of an aggregate's metrics."""
    return [np.stack([unit.values[metric] for unit in group]) for metric in each.metrics]


def _value(found: float) -> float | None:
    return found if np.isfinite(found) else None
