"""Measure a pair of arms and store what came of it."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.costs import Costs
from harness.experiments.experiment import MeasureSettings
from harness.measure.load import Load, busy_now, load_between, sample_load
from harness.measure.measurements import (
    costs_from,
    describe_arm,
    machine_class,
    pair_of,
    record_file,
    record_key,
    write_measure,
)
from harness.measure.ratios import Doubts, costs_of
from harness.measure.session import BASELINE, CANDIDATE, Session, Taken, TurnError, Turns, make_side
from harness.running.grid import Grid, GridCell
from harness.running.identity import machine
from harness.running.lease import lease
from harness.running.store import Store, read_unit

_KINDS = {"operators": "txt", "memory": "json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What is to be measured.

    Attributes
    ----------
    profile
        Operators and memory over time of one pass of each arm as well.
    lease_file
        Another lock than the host's.
    """

    baseline: str
    candidate: str
    settings: MeasureSettings = field(default_factory=MeasureSettings)
    profile: bool = False
    lease_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loads:
    before: Load
    during: Load
    after: Load

    def problem(self) -> str:
        """Why timings are no evidence; the first reason."""
        named = (("before", self.before), ("while", self.during), ("after", self.after))
        found = (load.problem(f"{when} it was timed") for when, load in named)
        return next(filter(None, found), "")

    def record(self) -> dict[str, Any]:
        return {name: getattr(self, name).record() for name in ("before", "during", "after")}


def measure_pair(
    grid: Grid, store: Store, ask: Ask, *, tell: Callable[[str], None] = lambda text: None
) -> Costs:
    """Measure two arms of a grid, write the record, and read its costs.

    The units of both must be in the store: what is forecast while timed is compared with them.

    Parameters
    ----------
    tell
        Told what is done now, in a few words.

    Raises
    ------
    ConfigError
        When an arm is not in the grid, or the host stays in use.
    StoreError
        When a unit is not in the store.
    """
    cells = pair_of(
        grid, baseline=ask.baseline, candidate=ask.candidate, dataset=ask.settings.dataset
    )
    purpose = f"abharness measure {grid.experiment.name}"
    with lease(
        "alone", purpose, wait_s=ask.settings.wait_s, file=ask.lease_file, tell=tell
    ) as handle:
        record = _record(grid, store, cells, ask, handle=handle, tell=tell)
    file = record_file(store, *cells, record["machine_class"])
    write_measure(file, record)
    return costs_from(record, where=str(file.relative_to(store.root)))


def _record(
    grid: Grid,
    store: Store,
    cells: tuple[GridCell, GridCell],
    ask: Ask,
    *,
    handle: int,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Take a session and put it into words and numbers; the lease is held."""
    tell("looking how busy this machine is")
    before, begun, own = sample_load(), busy_now(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        sides = {
            name: make_side(grid, cell, Path(folder), name)
            for name, cell in zip((BASELINE, CANDIDATE), cells, strict=True)
        }
        run, log = grid.experiment.run, Path(folder) / "log.txt"
        turning = Turns(threads=run.threads, keep=(handle,), log=log, limit_s=run.time_limit_s)
        with turning as turns:
            session = Session(turns, sides, settings=ask.settings, folder=Path(folder), tell=tell)
            problem = _carry_out(session, ask.settings)
            spent = turns.spent() + time.process_time() - own
            during = load_between(begun, busy_now(), own=spent)
            loads = _Loads(before=before, during=during, after=sample_load())
            profiles = {} if problem or not ask.profile else _profiles(session, store, cells)
    base = _base(grid, cells, ask, loads)
    if problem:
        return base | _failed(ask, cells[0].dataset, problem)
    return base | _results(grid, store, cells, session.taken, loads) | {"profiles": profiles}


def _failed(ask: Ask, dataset: str, problem: str) -> dict[str, Any]:
    """The part of a record that says why nothing was measured."""
    missing = Costs.missing(ask.baseline, ask.candidate, dataset, problem)
    costs = [dataclasses.asdict(cost) for cost in missing.items.values()]
    return {"costs": costs, "failed": problem}


def _carry_out(session: Session, settings: MeasureSettings) -> str:
    """Take everything; why that failed, in a line."""
    try:
        session.fit()
        session.take_sets()
    except TurnError as problem:
        return f"an arm failed while it was measured: {problem}"
    if settings.energy:
        try:
            session.take_energy()
        except TurnError as problem:  # never judged, so nothing else is lost
            session.taken.notes.append(f"no energy: {problem}")
    return ""


def _base(grid: Grid, cells: tuple[GridCell, GridCell], ask: Ask, loads: _Loads) -> dict[str, Any]:
    facts = machine()
    return {
        "experiment": grid.experiment.name,
        "baseline": cells[0].arm.name,
        "candidate": cells[1].arm.name,
        "dataset": cells[0].dataset,
        "units": {BASELINE: cells[0].key, CANDIDATE: cells[1].key},
        "machine": facts,
        "machine_class": machine_class(facts),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "threads": grid.experiment.run.threads,
        "settings": dataclasses.asdict(ask.settings),
        "load": loads.record(),
        "failed": "",
    }


def _results(
    grid: Grid,
    store: Store,
    cells: tuple[GridCell, GridCell],
    taken: Taken,
    loads: _Loads,
) -> dict[str, Any]:
    split = grid.splits[cells[0].dataset]
    arms = []
    for name, cell in zip((BASELINE, CANDIDATE), cells, strict=True):
        unit = read_unit(store.unit_folder(cell.key))
        arms.append(describe_arm(taken, name, unit, split))
    doubts = Doubts(
        timing=loads.problem(),
        arms="; ".join(text for arm in arms for text in arm.doubts),
        no_peaks=taken.processes(BASELINE)[0].phases["no_peaks"],
    )
    costs = costs_of(taken, (arms[0].lines, arms[1].lines), doubts)
    return {
        "costs": [dataclasses.asdict(cost) for cost in costs],
        "sets": len(taken.sets),
        "notes": taken.notes,
        "energy": taken.energy,
        "arms": [arm.record for arm in arms],
    }


def _profiles(
    session: Session, store: Store, cells: tuple[GridCell, GridCell]
) -> dict[str, dict[str, str]]:
    """Files of profiles by arm and kind, relative to the store."""
    folder = store.root / "measures" / machine_class()
    folder.mkdir(parents=True, exist_ok=True)
    key = record_key(*cells)
    arms = {BASELINE: cells[0].arm.name, CANDIDATE: cells[1].arm.name}

    def file_of(name: str, kind: str) -> Path:
        return folder / f"{key}-{name}-{kind}.{_KINDS[kind]}"

    try:
        session.profile(file_of)
    except TurnError as problem:
        session.taken.notes.append(f"no profile: {problem}")
        return {}
    return {
        arms[name]: {kind: str(file_of(name, kind).relative_to(store.root)) for kind in _KINDS}
        for name in arms
    }
