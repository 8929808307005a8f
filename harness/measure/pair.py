"""Measure a pair of arms and store the result."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from harness.costs import Costs, untaken
from harness.experiments.experiment import MeasureSettings
from harness.measure.evaluate import evaluate
from harness.measure.load import busy_now, load_between, sample_load
from harness.measure.record import (
    LoadsAround,
    MeasuredArm,
    MeasureRecord,
    machine_class,
    pair_of,
    record_key,
    write_measure,
)
from harness.measure.session import (
    BASELINE,
    CANDIDATE,
    MeasuredProcesses,
    Session,
    TurnError,
    make_side,
)
from harness.reasons import ReasonCode, reason
from harness.running.cells import read_cell
from harness.running.grid import Grid, GridCell
from harness.running.identity import machine
from harness.running.lease import lease
from harness.running.store_folder import Store

_KINDS = {"operators": "txt", "memory": "json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuringTask:
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


def measure_pair(
    grid: Grid, store: Store, ask: MeasuringTask, *, tell: Callable[[str], None] = lambda text: None
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
        record = _take(grid, store, cells, ask, handle=handle, tell=tell)
    key = record_key(*cells, record.machine_class)
    write_measure(store, key, record)
    return record.costs_in(key)


def _take(
    grid: Grid,
    store: Store,
    cells: tuple[GridCell, GridCell],
    ask: MeasuringTask,
    *,
    handle: int,
    tell: Callable[[str], None],
) -> MeasureRecord:
    """Take a session; the lease is held."""
    tell("looking how busy this machine is")
    before, begun, own = sample_load(), busy_now(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        sides = {
            name: make_side(grid, cell, Path(folder), name)
            for name, cell in zip((BASELINE, CANDIDATE), cells, strict=True)
        }
        run, log = grid.experiment.run, Path(folder) / "log.txt"
        turning = MeasuredProcesses(
            threads=run.threads, keep=(handle,), log=log, limit_s=run.time_limit_s
        )
        with turning as turns:
            session = Session(turns, sides, settings=ask.settings, folder=Path(folder), tell=tell)
            problem = session.take()
            spent = turns.spent() + time.process_time() - own
            during = load_between(begun, busy_now(), own=spent)
            load = LoadsAround(before=before, during=during, after=sample_load())
            profiles = {} if problem or not ask.profile else _profiles(session, store, cells)
    facts, taken = machine(), session.taken
    arms: tuple[MeasuredArm, ...] = ()
    if problem:
        costs = untaken(reason(ReasonCode.SESSION_FAILED, said=problem))
    else:
        units = {
            name: read_cell(store, cell)
            for name, cell in zip((BASELINE, CANDIDATE), cells, strict=True)
        }
        split = grid.splits[cells[0].dataset]
        arms, costs = evaluate(taken, units, split, loaded=load.problem())
    return MeasureRecord(
        experiment=grid.experiment.name,
        baseline=cells[0].arm.name,
        candidate=cells[1].arm.name,
        dataset=cells[0].dataset,
        units={BASELINE: cells[0].key, CANDIDATE: cells[1].key},
        machine=facts,
        machine_class=machine_class(facts),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        threads=run.threads,
        settings=ask.settings,
        load=load,
        costs=costs,
        failed=problem,
        sets=len(taken.sets),
        notes=tuple(taken.notes),
        energy=taken.energy,
        arms=arms,
        profiles=profiles,
    )


def _profiles(
    session: Session, store: Store, cells: tuple[GridCell, GridCell]
) -> dict[str, dict[str, str]]:
    """Files of profiles by arm and kind, relative to the store."""
    folder = store.root / "measures" / machine_class()
    folder.mkdir(parents=True, exist_ok=True)
    key = record_key(*cells, machine_class())
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
