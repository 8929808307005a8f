"""Whether a conclusion is allowed at all: completeness, pairing, failures, standing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.policy import Policy
from harness.scores import Summary, UnitScores, skill_of, summarise


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of the declared grid."""

    arm: str
    dataset: str
    seed: int

    def __str__(self) -> str:
        return f"{self.arm} on {self.dataset}, seed {self.seed}"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One side against the reference: skill is 1 - value / reference value; above 0 is better."""

    arm: str
    dataset: str
    metric: str
    reference: str
    value: float | None
    reference_value: float | None
    skill: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """Whether a conclusion is allowed at all, and on what it rests.

    Attributes
    ----------
    problems
        Why no conclusion is allowed, one sentence each; empty when one is.
    declared, present
        Cells of the declared grid, and how many of them have scores.
    missing
        The cells that have none.
    truth_digests
        Dataset to the digest all units were judged against ('' when they differ).
    units
        Failures, NaN and crossings per unit.
    standings
        Both sides against the reference arm.
    """

    problems: tuple[str, ...]
    declared: int
    present: int
    missing: tuple[str, ...]
    truth_digests: Mapping[str, str]
    units: tuple[UnitHealth, ...]
    standings: tuple[Standing, ...]


def examine(
    policy: Policy,
    declared: Sequence[Cell],
    scores: Sequence[UnitScores],
    *,
    stride: Mapping[str, int] | None = None,
) -> Validity:
    """Check what a verdict would rest on.

    Problems are: an empty grid, a grid without one side on a dataset, cells that are missing,
    double or not declared, units of one dataset that were judged against different actuals, and
    origins that are not `stride` sessions apart where the plan's stride is given per dataset.
    """
    present = [(unit.arm, unit.dataset, unit.seed) for unit in scores]
    missing = tuple(
        str(cell) for cell in declared if (cell.arm, cell.dataset, cell.seed) not in set(present)
    )
    digests = _digests(scores)
    return Validity(
        problems=(
            *_grid_problems(policy, declared),
            *_cell_problems(declared, present, missing),
            *(
                f"On {dataset} not all arms were judged against the same actuals and origins."
                for dataset, digest in digests.items()
                if not digest
            ),
            *_stride_problems(scores, stride or {}),
        ),
        declared=len(declared),
        present=len(declared) - len(missing),
        missing=missing,
        truth_digests=digests,
        units=tuple(_health(unit) for unit in scores),
        standings=_standings(policy, scores),
    )


def datasets_of(declared: Sequence[Cell]) -> tuple[str, ...]:
    """Datasets of the grid, in the order declared."""
    return tuple(dict.fromkeys(cell.dataset for cell in declared))


def _grid_problems(policy: Policy, declared: Sequence[Cell]) -> list[str]:
    if not declared:
        return ["The declared grid is empty: nothing was compared."]
    cells = {(cell.arm, cell.dataset) for cell in declared}
    return [
        f"The declared grid has no {arm} on {dataset}."
        for dataset in datasets_of(declared)
        for arm in (policy.baseline, policy.candidate)
        if (arm, dataset) not in cells
    ]


def _cell_problems(
    declared: Sequence[Cell], present: list[tuple[str, str, int]], missing: tuple[str, ...]
) -> list[str]:
    problems = []
    if missing:
        shown = "; ".join(missing[:3]) + ("; ..." if len(missing) > 3 else "")
        problems.append(
            f"{len(missing)} of {len(declared)} declared cells have no scores: {shown}."
        )
    known = {(cell.arm, cell.dataset, cell.seed) for cell in declared}
    for unit in dict.fromkeys(present):
        name = Cell(arm=unit[0], dataset=unit[1], seed=unit[2])
        if present.count(unit) > 1:
            problems.append(f"{name} has scores {present.count(unit)} times.")
        if unit not in known:
            problems.append(f"{name} has scores but was not declared.")
    return problems


def _stride_problems(scores: Sequence[UnitScores], stride: Mapping[str, int]) -> list[str]:
    return [
        f"{unit.arm} on {unit.dataset}, seed {unit.seed}: origins are not every "
        f"{stride[unit.dataset]} sessions, as the plan says."
        for unit in scores
        if unit.dataset in stride
        and bool(np.any(np.diff(np.sort(unit.origin)) != stride[unit.dataset]))
    ]


def _digests(scores: Sequence[UnitScores]) -> dict[str, str]:
    found: dict[str, str] = {}
    for unit in scores:
        same = found.setdefault(unit.dataset, unit.truth_digest) == unit.truth_digest
        found[unit.dataset] = unit.truth_digest if same else ""
    return found


def _health(unit: UnitScores) -> UnitHealth:
    holes = sum(int(np.isnan(cells[unit.ok]).sum()) for cells in unit.values.values())
    return UnitHealth(
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
    )


def _standings(policy: Policy, scores: Sequence[UnitScores]) -> tuple[Standing, ...]:
    """Both sides against the reference, by CRPS and every loss the policy names."""
    bar = policy.reference or next((u.arm for u in scores if u.role == "reference"), None)
    if bar is None:
        return ()
    metrics = dict.fromkeys(["crps", *(rule.metric for rule in policy.criteria)])
    sides = (policy.baseline, policy.candidate)
    rows = {
        (row.dataset, row.arm, row.metric): row
        for row in summarise([unit for unit in scores if unit.arm in (*sides, bar)])
    }
    return tuple(
        _standing(rows, (dataset, arm, metric), bar)
        for dataset in dict.fromkeys(unit.dataset for unit in scores)
        for metric in metrics
        for arm in sides
        if (dataset, arm, metric) in rows
    )


def _standing(
    rows: Mapping[tuple[str, str, str], Summary], key: tuple[str, str, str], bar: str
) -> Standing:
    dataset, arm, metric = key
    value = rows[key].value
    against = rows.get((dataset, bar, metric))
    reference_value = against.value if against else None
    return Standing(
        arm=arm,
        dataset=dataset,
        metric=metric,
        reference=bar,
        value=value,
        reference_value=reference_value,
        skill=skill_of(value, reference_value),
    )
