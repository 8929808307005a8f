"""The declared grid: every cell of an experiment with the fits that answer for it."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from harness.arm import (
    Arm,
    Fetches,
    Learns,
    Loads,
    Samples,
    Saves,
    Wraps,
    expect_columns,
    logs_in,
)
from harness.arm_ref import ArmRef, look_beside
from harness.data.dataset import Dataset
from harness.errors import ArmError, ConfigError, meant
from harness.experiments.experiment import Experiment
from harness.parsing import parse_record
from harness.running.identity import (
    DEVICES,
    arm_identity,
    device_name,
    environment_of,
    line_identity,
    line_of,
)
from harness.running.isolation import in_isolation
from harness.running.sources import OURS, CodeReader, digest
from harness.running.split import Split, anchor_of, split
from harness.running.supervisor import UnitLimits
from harness.running.unit import Job
from harness.window import Dates, Windows

if TYPE_CHECKING:
    from harness.running.store_folder import StoredFit


class KnownResults(Protocol):
    """What a grid asks a store for, or who knows what is in it."""

    def cutoffs(self, anchor: Mapping[str, object]) -> Dates:
        """Cutoffs recorded for a plan on a dataset, in order."""
        ...

    def results(self, line: str) -> str:
        """What the results of a line began with, where they began anew."""
        ...

    def fit(self, key: str) -> StoredFit | None:
        """The record of a fit."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownArm:
    """What an arm said it is, asked in a process of its own.

    Attributes
    ----------
    pinned
        Options that name its weights exactly, in place of those that were given.
    identity, environment
        See `arm_identity` and `environment_of`.
    device_name
        What it computes on here, such as ``cuda:1``; '' where it does not say.
    records
        By dataset: digests of what a log that is played back holds for each issued origin.
    plays_back
        It is such a log, or one is inside it.
    learns, saves, loads, fetches
        What it can do.
    seeded
        Its forecasts may depend on the seed.
    heavy_modules
        What its processes import first.
    notes
        What it has to say of the data it is asked on.
    """

    pinned: Mapping[str, Any]
    identity: Mapping[str, Any]
    environment: Mapping[str, Any]
    device_name: str
    records: Mapping[str, tuple[str, ...]]
    plays_back: bool
    learns: bool
    saves: bool
    loads: bool
    seeded: bool
    fetches: bool
    heavy_modules: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def device(self) -> str:
        """Kind of device it computes on here, such as ``cuda``; '' where it does not say."""
        return self.device_name.partition(":")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFit:
    """A fit of a cell, made or not.

    Attributes
    ----------
    key
        Digest of its `identity`.
    cutoff
        Last session seen, ISO date.
    windows
        The issued origins that it serves.
    """

    key: str
    identity: Mapping[str, Any]
    cutoff: str
    windows: Windows

    def at(self, rows: slice | npt.NDArray[Any]) -> PlannedFit:
        """The same fit at some of its origins."""
        return dataclasses.replace(self, windows=self.windows.part(rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class GridCell:
    """One cell: an arm on a dataset with a seed.

    Attributes
    ----------
    key
        Digest of all that decides its judged forecasts: another night, another key.
    line
        Digest of what all its nights have in common.
    slot
        Digest of line and plan: stem of the name of its score file, the same every night.
    identity
        What all its fits have in common.
    fits
        In order of time.
    limits
        What its processes may use, by name.
    records
        Of an arm that plays a log back: digest of what it holds for each issued origin, by cutoff.
    """

    arm: ArmRef
    known: KnownArm
    dataset: str
    seed: int
    key: str
    line: str
    slot: str
    identity: Mapping[str, Any]
    fits: tuple[PlannedFit, ...]
    split: Split
    limits: Mapping[str, float]
    records: Mapping[str, str]

    @property
    def environment(self) -> Mapping[str, Any]:
        """What lies between data and forecast on this installation."""
        return self.known.environment

    @property
    def device(self) -> str:
        """Kind of device the arm computes on here; see `KnownArm.device`."""
        return self.known.device

    @property
    def learns(self) -> bool:
        """Whether the arm is fitted."""
        return self.known.learns

    @property
    def continues(self) -> bool:
        """Whether each fit starts from the last one."""
        return "continues" in self.identity

    @property
    def saves(self) -> bool:
        """Whether the arm keeps its fits."""
        return self.known.saves

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

    def job(self, cell: GridCell, windows: Windows | None = None) -> Job:
        """What a process needs to carry out a cell; left out, on all judged windows."""
        settings = self.experiment.run
        job = cell.split.job(
            cell.arm,
            seed=cell.seed,
            threads=settings.threads,
            batch=settings.batch,
            windows=windows,
        )
        if not cell.known.plays_back:
            return job
        return dataclasses.replace(job, sessions=cell.split.dataset.series.dates)

    def record(self) -> dict[str, Any]:
        """Write down the grid for the store."""
        return {
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
                    "line": c.line,
                }
                for c in self.cells
            ],
        }


def declare(
    experiment: Experiment,
    datasets: Mapping[str, Dataset],
    store: KnownResults | None = None,
    *,
    grow: bool = True,
) -> Grid:
    """Ask every arm once what it is, and name every cell.

    Parameters
    ----------
    store
        Where origins may have been recorded; left out, the plan is as begun today.
    grow
        Add origins that the data have reached since; without, those recorded are all there are.

    Raises
    ------
    ArmError
        When an arm cannot be built, or asked what it is.
    ConfigError
        When a plan does not fit its dataset.
    """
    try:
        splits = {
            name: split(
                datasets[name],
                plan,
                cutoffs=store.cutoffs(anchor_of(datasets[name].id, plan)) if store else None,
                grow=grow,
            )
            for name, plan in experiment.plans.items()
        }
    except ConfigError as problem:
        raise ConfigError(f"{experiment.source}: {problem}") from None
    known = _ask_arms(experiment, splits)
    arms = tuple(
        dataclasses.replace(ref, options={**ref.options, **known[ref.name].pinned})
        for ref in experiment.arms
    )
    for ref in arms:
        if ref.folder is not None:
            look_beside(ref.folder)  # who reads the source of an arm finds it; nothing is imported
    cells = [
        _cell(experiment, ref, known[ref.name], part, seed)
        for ref in arms
        for name, part in splits.items()
        for seed in experiment.run.seeds[: None if known[ref.name].seeded else 1]
    ]
    experiment = dataclasses.replace(experiment, arms=arms)
    grid = Grid(experiment=experiment, splits=splits, cells=tuple(cells))
    return grid if store is None else as_stored(grid, store)


def _ask_arms(experiment: Experiment, splits: Mapping[str, Split]) -> dict[str, KnownArm]:
    """Ask arms what they are, in a process for our own and one for each other module."""
    groups: dict[str, list[ArmRef]] = {}
    for ref in experiment.arms:
        top = ref.use.partition(".")[0]
        groups.setdefault("" if top in OURS else ref.use.partition(":")[0], []).append(ref)
    found: dict[str, KnownArm] = {}
    for group in groups.values():

        def asked(group: Sequence[ArmRef] = group) -> list[dict[str, Any]]:
            code = CodeReader()
            return [dataclasses.asdict(_known(ref, splits, code)) for ref in group]

        said = in_isolation(asked, limits=limits_of(experiment))
        if not isinstance(said, list) or [type(each) for each in said] != [dict] * len(group):
            names = ", ".join(ref.name for ref in group)
            raise ArmError(f"describing {names}: the process answered something else")
        for ref, own in zip(group, said, strict=True):
            found[ref.name] = parse_record(KnownArm, own, where=f"what arm '{ref.name}' says")
    return found


def _known(ref: ArmRef, splits: Mapping[str, Split], code: CodeReader) -> KnownArm:
    """Build an arm and ask it what it is; in a process that does nothing else."""
    exact = ref.pinned()
    arm = exact.build()
    with ref.asking():
        for name, part in splits.items():
            columns = part.dataset.manifest.columns
            expect_columns(arm, dataset=name, target=columns.target, past=columns.past)
        logs = list(logs_in(arm))
        told = [
            f"{ref.name}: {note}"
            for name, part in splits.items()
            for speaker in logs
            if (notes := getattr(speaker, "notes_on", None))
            for note in notes(name, part.dataset.series, part.windows)
        ]
        return KnownArm(
            pinned={k: v for k, v in exact.options.items() if ref.options.get(k) != v},
            identity=arm_identity(exact, arm, code),
            environment=environment_of(exact, arm, code),
            device_name=device_name(arm),
            records={
                name: tuple(
                    each[0] if len(each) == 1 else digest(each)
                    for each in zip(
                        *(log.record_digests(part.dataset.series, part.issued) for log in logs),
                        strict=True,
                    )
                )
                for name, part in splits.items()
                if logs
            },
            plays_back=bool(logs),
            learns=isinstance(arm, Learns),
            saves=isinstance(arm, Saves),
            loads=isinstance(arm, Loads),
            seeded=seeded(arm),
            fetches=isinstance(arm, Fetches),
            heavy_modules=tuple(map(str, getattr(arm, "heavy_modules", ()))),
            notes=tuple(map(str, told)),
        )


def preload_for(cells: Iterable[GridCell]) -> list[str]:
    """Heavy modules that the processes of some cells say they need."""
    return list(dict.fromkeys(name for cell in cells for name in cell.known.heavy_modules))


def limits_of(experiment: Experiment) -> UnitLimits:
    """What one process of an experiment may use."""
    run = experiment.run
    return UnitLimits(time_s=run.time_limit_s, memory_mib=run.memory_limit_mib)


def as_stored(grid: Grid, store: KnownResults) -> Grid:
    """The same grid under the keys that its results have in a store.

    Results of a line that began anew have keys of their own. A fit that was made on another device
    than today's serves as well, where there is none of today's.
    """

    def holds(cell: GridCell) -> bool:
        on = {fit.identity["device"] for fit in cell.fits}
        return on <= {cell.device} and (
            not cell.device or all(_is_made(store, fit.key) for fit in cell.fits)
        )

    found = []
    for cell in grid.cells:
        results = store.results(cell.line)
        if results == cell.identity.get("results", "") and holds(cell):
            found.append(cell)
            continue
        identity = {name: value for name, value in cell.identity.items() if name != "results"}
        identity |= {"results": results} if results else {}
        fits = _planned(identity, cell.split, cell.device, store)
        kept = dataclasses.replace(cell, identity=identity, fits=fits)
        found.append(dataclasses.replace(kept, key=_cell_key(kept)))
    return dataclasses.replace(grid, cells=tuple(found))


def _cell(experiment: Experiment, ref: ArmRef, known: KnownArm, part: Split, seed: int) -> GridCell:
    run, dataset = experiment.run, part.dataset.id
    identity = line_identity(
        known.identity,
        plan=part.plan,
        seed=seed if known.seeded else None,
        threads=run.threads,
    )
    digests = known.records.get(dataset)
    line, fits = line_of(dataset, identity), _planned(identity, part, known.device)
    cell = GridCell(
        arm=ref,
        known=known,
        dataset=dataset,
        seed=seed,
        key="",
        line=line,
        slot=digest([line, part.nights])[:32],
        identity=identity,
        fits=fits,
        split=part,
        records=dict(zip(map(str, part.cutoffs), digests, strict=True)) if digests else {},
        limits={"time_s": run.time_limit_s, "memory_mib": float(run.memory_limit_mib)},
    )
    return dataclasses.replace(cell, key=_cell_key(cell))


def _planned(
    identity: Mapping[str, Any], part: Split, device: str, store: KnownResults | None = None
) -> tuple[PlannedFit, ...]:
    """The fits of a line, each at its cutoff on the rows visible there.

    Where each starts from the last one, its identity holds that one's key as well.
    """
    dates = part.dataset.series.dates
    devices = dict.fromkeys([device, *DEVICES]) if device and store else [device]
    found: list[PlannedFit] = []
    for origin, rows in part.issued.segments():
        cutoff, seen = str(dates[origin - 1]), part.rows_digest(origin)
        last = {"follows": found[-1].key} if found and "continues" in identity else {}
        choice = []
        for each in devices:
            own = {**identity, "device": each, "cutoff": cutoff, "rows": seen, **last}
            windows = part.issued.part(rows)
            choice.append(PlannedFit(key=digest(own), identity=own, cutoff=cutoff, windows=windows))
        made = [fit for fit in choice if store is not None and _is_made(store, fit.key)]
        found.append(made[0] if made else choice[0])
    return tuple(found)


def _is_made(store: KnownResults, fit: str) -> bool:
    known = store.fit(fit)
    return known is not None and not known.problem


def _cell_key(cell: GridCell) -> str:
    """Digest of all that decides a cell's judged forecasts and what they are held against."""
    part = cell.split
    fitted = part.days(np.unique(part.windows.fitted_at))
    log = [cell.records[day] for day in part.days(part.windows.origin)] if cell.records else []
    on = [[fit.cutoff, fit.identity["device"]] for fit in cell.fits if fit.cutoff in fitted]
    return digest([cell.identity, cell.split.asked, log, on])


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
                f"--only '{pattern}' matches nothing{meant(pattern, [*arms, *sets])}; "
                f"arms are {', '.join(arms)}; "
                f"datasets are {', '.join(sets)}"
            )
    taken = [c for c in cells if not only or any(_matches(c, pattern) for pattern in only)]
    return taken if shard is None else taken[shard[0] - 1 :: shard[1]]


def _matches(cell: GridCell, pattern: str) -> bool:
    return any(
        fnmatch.fnmatchcase(text, pattern) for text in (cell.arm.name, cell.dataset, str(cell))
    )
