"""The declared grid: every cell of an experiment with the identity of its result."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.arm import Arm, ArmRef, Learns, Samples, Wraps, expect_columns
from harness.data.dataset import Dataset
from harness.errors import ConfigError
from harness.experiments.experiment import Experiment
from harness.running.identity import arm_identity, unit_identity
from harness.running.sources import CodeReader, digest
from harness.running.split import Split, split
from harness.running.store import SCHEMA
from harness.running.unit import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class GridCell:
    """One cell: an arm on a dataset with a seed, and the key of its unit."""

    arm: ArmRef
    dataset: str
    seed: int
    key: str
    identity: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.arm.name}/{self.dataset}/{self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """All cells of an experiment over its splits."""

    experiment: Experiment
    splits: Mapping[str, Split]
    cells: tuple[GridCell, ...]

    @property
    def digest(self) -> str:
        """Hash of what is compared: the same digest, the same numbers."""
        return digest([[str(cell), cell.key] for cell in self.cells])

    def job(self, cell: GridCell) -> Job:
        """What a process needs to carry out a cell."""
        settings = self.experiment.run
        return self.splits[cell.dataset].job(
            cell.arm, seed=cell.seed, threads=settings.threads, batch=settings.batch
        )

    def record(self) -> dict[str, Any]:
        """Write down the grid for the store."""
        return {
            "schema": SCHEMA,
            "experiment": self.experiment.name,
            "text": self.experiment.text,
            "digest": self.digest,
            "cells": [
                {
                    "arm": c.arm.name,
                    "role": c.arm.role,
                    "dataset": c.dataset,
                    "seed": c.seed,
                    "key": c.key,
                }
                for c in self.cells
            ],
        }


def declare(experiment: Experiment, datasets: Mapping[str, Dataset]) -> Grid:
    """Build every arm once and name every cell.

    Raises
    ------
    ArmError
        When an arm cannot be built, or asked what it is.
    ConfigError
        When a plan does not fit its dataset.
    """
    try:
        splits = {name: split(datasets[name], plan) for name, plan in experiment.plans.items()}
    except ConfigError as problem:
        raise ConfigError(f"{experiment.source}: {problem}") from None
    cells: list[GridCell] = []
    code = CodeReader()
    for ref in experiment.arms:
        arm = ref.build()
        with ref.asking():
            known = arm_identity(ref, arm, code)
            for name, part in splits.items():
                columns = part.dataset.manifest.columns
                expect_columns(arm, dataset=name, target=columns.target, past=columns.past)
                cells.extend(_cells(experiment, ref, arm, known, name, part))
    return Grid(experiment=experiment, splits=splits, cells=tuple(cells))


def _cells(
    experiment: Experiment,
    ref: ArmRef,
    arm: Arm,
    known: Mapping[str, Any],
    dataset: str,
    part: Split,
) -> list[GridCell]:
    found: list[GridCell] = []
    for seed in seeds_of(arm, experiment.run.seeds):
        identity = unit_identity(
            known,
            plan=part.plan,
            data=part.data,
            seed=seed,
            threads=experiment.run.threads,
            batch=experiment.run.batch,
        )
        found.append(
            GridCell(arm=ref, dataset=dataset, seed=seed, key=digest(identity), identity=identity)
        )
    return found


def seeds_of(arm: Arm, seeds: Sequence[int]) -> Sequence[int]:
    """All seeds for an arm that learns or draws; the first for one that has no use for more."""
    return seeds if seeded(arm) else seeds[:1]


def seeded(arm: Arm) -> bool:
    """Whether an arm's forecasts may depend on the seed; one made of others is what they are.

    An arm whose learning draws nothing says so: `fit_draws = False`.
    """
    if isinstance(arm, Wraps):
        return any(seeded(part) for part in arm.parts())
    learns = isinstance(arm, Learns) and getattr(arm, "fit_draws", True)
    return learns or (isinstance(arm, Samples) and arm.draws)


def select(
    cells: Sequence[GridCell], *, only: Sequence[str] = (), shard: tuple[int, int] | None = None
) -> list[GridCell]:
    """Take part of a grid.

    Parameters
    ----------
    cells
        In declared order, so that shards are the same on every machine.
    only
        Patterns; a cell is taken when one matches its arm, its dataset or arm/dataset/seed.
    shard
        (i, n): every n-th cell, starting with the i-th, i from 1.

    Raises
    ------
    ConfigError
        When a pattern matches no cell.
    """
    for pattern in only:
        if not any(_matches(cell, pattern) for cell in cells):
            arms = sorted({cell.arm.name for cell in cells})
            sets = sorted({cell.dataset for cell in cells})
            raise ConfigError(
                f"--only '{pattern}' matches nothing; arms are {', '.join(arms)}; "
                f"datasets are {', '.join(sets)}"
            )
    taken = [c for c in cells if not only or any(_matches(c, pattern) for pattern in only)]
    return taken if shard is None else taken[shard[0] - 1 :: shard[1]]


def _matches(cell: GridCell, pattern: str) -> bool:
    return any(
        fnmatch.fnmatchcase(text, pattern) for text in (cell.arm.name, cell.dataset, str(cell))
    )
