"""A measuring session as a record in the store, and back as costs.

`measures/MACHINE_CLASS/KEY.json`: one record per pair of units, replaced by the next session.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.costs import CRITERIA, Cost, Costs
from harness.errors import ConfigError
from harness.running.grid import Grid, GridCell
from harness.running.identity import digest, machine
from harness.running.store import Store, read_record, write_record

SCHEMA = 1


def machine_class(facts: Mapping[str, str] | None = None) -> str:
    """Short digest of what makes timings comparable: processor, cores, memory, GPU."""
    found = machine() if facts is None else facts
    kept = {key: found.get(key, "") for key in ("processor", "cores", "memory_gib", "gpu")}
    return digest(kept)[:12]


def pair_of(
    grid: Grid, *, baseline: str, candidate: str, dataset: str | None = None
) -> tuple[GridCell, GridCell]:
    """Cells of both arms that are measured: one dataset, the first seed.

    Raises
    ------
    ConfigError
        When an arm or the dataset is not in the grid.
    """
    wanted = dataset or dataset_of(grid)
    found = []
    for name in (baseline, candidate):
        mine = [c for c in grid.cells if c.arm.name == name and c.dataset == wanted]
        if not mine:
            raise ConfigError(f"{grid.experiment.source}: no cell of arm '{name}' on '{wanted}'")
        found.append(mine[0])
    return found[0], found[1]


def dataset_of(grid: Grid) -> str:
    """The dataset that costs are taken on."""
    settings = grid.experiment.measure
    return (settings and settings.dataset) or grid.experiment.datasets[0]


def record_key(baseline: GridCell, candidate: GridCell) -> str:
    """Name of a pair's record: the same units, the same record."""
    return digest([baseline.key, candidate.key])


def record_file(store: Store, baseline: GridCell, candidate: GridCell, folder: str) -> Path:
    """Where the record of a pair lies for a class of machine."""
    return store.root / "measures" / folder / f"{record_key(baseline, candidate)}.json"


def write_measure(file: Path, record: Mapping[str, Any]) -> None:
    """Write a session's record atomically."""
    write_record(file, {"schema": SCHEMA, **record})


def read_costs(
    store: Store, grid: Grid, *, baseline: str, candidate: str, dataset: str | None = None
) -> Costs:
    """Read the costs of a pair of arms.

    A session of this machine's class is preferred; else the newest of another class, which
    `Costs.machine` names. Never raises for a missing session: then every cost says why.

    Raises
    ------
    ConfigError
        When an arm or the dataset is not in the grid.
    StoreError
        When a record is torn or of a newer version.
    """
    cells = pair_of(grid, baseline=baseline, candidate=candidate, dataset=dataset)
    name = f"{record_key(*cells)}.json"
    files = sorted((store.root / "measures").glob(f"*/{name}"))
    if not files:
        return Costs.missing(
            baseline,
            candidate,
            cells[0].dataset,
            "not measured; `abharness measure` takes it",
        )
    found = {file: read_record(file) for file in files}
    own = [file for file in files if file.parent.name == machine_class()]
    chosen = own[0] if own else max(files, key=lambda file: str(found[file]["measured_at"]))
    return costs_from(found[chosen], where=str(chosen.relative_to(store.root)))


def costs_from(record: Mapping[str, Any], *, where: str = "") -> Costs:
    """Read the costs out of a session's record; `where` is its file, for links."""
    fields = {each.name for each in dataclasses.fields(Cost)}
    items = {
        row["criterion"]: Cost(**{key: value for key, value in row.items() if key in fields})
        for row in record["costs"]
    }
    unknown = "this session did not take it"
    return Costs(
        baseline=record["baseline"],
        candidate=record["candidate"],
        dataset=record["dataset"],
        items={
            name: items.get(name) or Cost(criterion=name, unit=unit, reason=unknown)
            for name, unit in CRITERIA.items()
        },
        machine=record["machine"],
        machine_class=record["machine_class"],
        measured_at=record["measured_at"],
        record=where,
    )
