"""Gather from the store what a page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version

import numpy as np

from harness.grid import Grid, Split
from harness.records import StoredUnit, read_curve, read_unit
from harness.scores import UnitScores, summarise
from harness.store import SCHEMA, Store
from harness.verdict import Verdict
from harness.window import up_to
from reports.inputs import ArmFacts, DatasetFacts, PageInput, UnitKey


def collect(grid: Grid, store: Store, verdict: Verdict, scores: Sequence[UnitScores]) -> PageInput:
    """Read everything about a verdict that a page may show."""
    stored = {
        (c.arm.name, c.dataset, c.seed): store.unit_folder(c.key)
        for c in grid.cells
        if store.has_unit(c.key)
    }
    units: dict[UnitKey, StoredUnit] = {key: read_unit(path) for key, path in stored.items()}
    return PageInput(
        verdict=verdict,
        title=grid.experiment.title,
        experiment_text=grid.experiment.text,
        summaries=summarise(scores, reference=reference_of(grid)),
        scores=scores,
        units=units,
        curves={key: read_curve(path) for key, path in stored.items()},
        datasets={name: _dataset_facts(name, split) for name, split in grid.splits.items()},
        arms=[_arm_facts(grid, name, units) for name in _names(grid)],
        environment={"abharness": version("abharness"), "store schema": str(SCHEMA)},
        versions=dict(grid.cells[0].identity["libraries"]) if grid.cells else {},
    )


def reference_of(grid: Grid) -> str | None:
    """The arm all others are set against: the policy's, or the first reference arm."""
    named = grid.experiment.policy.reference
    references = (arm.name for arm in grid.experiment.arms if arm.role == "reference")
    return named or next(references, None)


def _names(grid: Grid) -> list[str]:
    return [arm.name for arm in grid.experiment.arms]


def _arm_facts(grid: Grid, name: str, units: Mapping[UnitKey, StoredUnit]) -> ArmFacts:
    ref = grid.experiment.arm(name)
    records = [unit.record for key, unit in units.items() if key[0] == name]
    return ArmFacts(
        name=name,
        role=ref.role,
        use=ref.use,
        options=ref.options,
        card=records[0]["card"] if records else {},
        residual_distribution=any(record["residual_distribution"] for record in records),
    )


def _dataset_facts(name: str, split: Split) -> DatasetFacts:
    dataset, plan, windows = split.dataset, split.plan, split.windows
    series = up_to(dataset.series, int(windows.judged.max()) + 1)
    first, last = (str(series.dates[row]) for row in windows.origin[[0, -1]].tolist())
    manifest = dataset.manifest
    dropped = dataset.skipped  # by skip_repeats, so no longer among the rows
    repeats = dropped + int((np.diff(dataset.series.target) == 0).sum())
    return DatasetFacts(
        id=name,
        title=manifest.title,
        unit=manifest.unit,
        dates=series.dates,
        target=series.target,
        source=manifest.source,
        licence=manifest.licence,
        sha256=dataset.digest,
        first_origin=first,
        last_origin=last,
        origins=len(windows),
        stride=plan.stride,
        horizon=plan.horizon,
        gap=plan.gap,
        refit=plan.refit,
        skip_repeats=plan.skip_repeats,
        repeats=repeats / (len(dataset) + dropped),
        warnings=dataset.warnings,
        quirks=manifest.quirks,
    )
