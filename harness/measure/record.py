"""A measuring session as it is stored, and the costs read out of it.

Records ``measurement``: one per session, of which the last of a pair on a class of machine counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.costs import Cost, Costs, untaken
from harness.errors import ConfigError, StoreError
from harness.experiments.experiment import MeasureSettings
from harness.measure.load import Load
from harness.measure.ratios import Percentiles
from harness.measure.replies import Energy
from harness.parsing import parse_record
from harness.reasons import Reason, ReasonCode, reason
from harness.running.grid import Grid, GridCell
from harness.running.identity import machine
from harness.running.sources import digest
from harness.running.store_folder import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseFigures:
    """Medians of one phase over processes, or over fits.

    Attributes
    ----------
    n
        How many processes or fits.
    added_bytes
        Peak less the memory when the phase began.
    reason
        Why there is no peak; '' where there is.
    """

    n: int
    seconds: float
    cpu_seconds: float
    peak_bytes: float | None
    added_bytes: float | None
    gpu_allocated: float | None
    gpu_reserved: float | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleStream:
    """One window at a time: `n` calls, their percentiles, and each process's median.

    `cpu_share` is processor seconds over wall-clock seconds.
    """

    n: int
    seconds: Percentiles
    by_process: tuple[float, ...]
    cpu_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Offline:
    """All windows of the plan, `batch` a call: windows per second, and those of each process."""

    batch: int
    windows: int
    windows_per_second: float
    by_process: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedInput:
    """Median time of an input that came before over that of a new one, from `n` pairs.

    `faster` is whether that is shown to be less than processor caches explain.
    """

    ratio: float
    faster: bool
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class YearlyFits:
    """Training of one arm over a year of nightly runs under a plan's refit policy."""

    fits: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCost:
    """Seconds and epochs of a fit, and what a year takes; None where the plan fits once."""

    fit_seconds: float
    epochs: int
    yearly: YearlyFits | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredArm:
    """What a session says of one arm.

    Attributes
    ----------
    phases
        By name; None where the arm has no such phase.
    lines
        Of its source, see `code_lines.arm_size`.
    stored_bytes
        Of its weight files, or of the state its fit left.
    training
        None for an arm that does not learn.
    repeated_input
        Whether it remembers inputs.
    doubts
        Why its figures are no evidence; empty where they are.
    """

    arm: str
    phases: Mapping[str, PhaseFigures | None]
    single_stream: SingleStream
    offline: Offline
    lines: int
    stored_bytes: int
    training: TrainingCost | None
    repeated_input: RepeatedInput
    doubts: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadsAround:
    """What others did before, while and after something was timed."""

    before: Load
    during: Load
    after: Load

    def problem(self) -> Reason | None:
        """Why timings are no evidence, the first reason; None where they are."""
        named = (("before", self.before), ("while", self.during), ("after", self.after))
        return next(filter(None, (load.problem(when) for when, load in named)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureRecord:
    """One session.

    Attributes
    ----------
    units
        Keys of the ordinary units, by role: ``A`` the baseline, ``B`` the candidate.
    machine, machine_class
        Facts about the machine, and the digest of those that timings depend on.
    measured_at
        ISO time.
    failed
        Why nothing was measured; '' where something was.
    costs
        One per criterion.
    sets
        Of fresh processes that were taken.
    notes
        What a reader must know, a sentence each.
    energy
        By role; empty where nobody asked.
    arms
        Baseline and candidate; empty where nothing was measured.
    profiles
        Files by arm and kind, relative to the store.
    """

    experiment: str
    baseline: str
    candidate: str
    dataset: str
    units: Mapping[str, str]
    machine: Mapping[str, str]
    machine_class: str
    measured_at: str
    threads: int
    settings: MeasureSettings
    load: LoadsAround
    costs: tuple[Cost, ...]
    failed: str = ""
    sets: int = 0
    notes: tuple[str, ...] = ()
    energy: Mapping[str, Energy] = field(default_factory=dict)
    arms: tuple[MeasuredArm, ...] = ()
    profiles: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def costs_in(self, key: str) -> Costs:
        """The costs; `key` names the record in the store."""
        missing = untaken(reason(ReasonCode.NOT_IN_SESSION))
        return Costs(
            baseline=self.baseline,
            candidate=self.candidate,
            dataset=self.dataset,
            items={each.criterion: each for each in (*missing, *self.costs)},
            machine=self.machine,
            machine_class=self.machine_class,
            measured_at=self.measured_at,
            record=key,
        )


def write_measure(store: Store, key: str, record: MeasureRecord) -> None:
    """Record a session."""
    store.journal.append("measurement", key, dataclasses.asdict(record))


def read_measure(store: Store, key: str) -> MeasureRecord:
    """Read the last session of a key.

    Raises
    ------
    StoreError
        When there is none, or it is not what was written.
    """
    content = store.journal.latest("measurement", key)
    if content is None:
        raise StoreError(f"{store.root}: no measurement {key}")
    return parse_record(MeasureRecord, content, where=f"measurement {key}")


def machine_class(facts: Mapping[str, str] | None = None) -> str:
    """Short digest of what makes timings comparable: processor, cores, memory, GPU."""
    found = machine() if facts is None else facts
    kept = {key: found.get(key, "") for key in ("processor", "cores", "memory_gib", "gpu")}
    return digest(kept)[:12]


def pair_of(
    grid: Grid, *, baseline: str, candidate: str, dataset: str | None = None
) -> tuple[GridCell, GridCell]:
    """Cells of both arms that are measured: one dataset, the first seed.

    Parameters
    ----------
    dataset
        Left out: the one `[measure]` names, else the first of the experiment.

    Raises
    ------
    ConfigError
        When an arm or the dataset is not in the grid.
    """
    settings = grid.experiment.measure
    wanted = dataset or (settings and settings.dataset) or grid.experiment.datasets[0]
    found = []
    for name in (baseline, candidate):
        mine = [c for c in grid.cells if c.arm.name == name and c.dataset == wanted]
        if not mine:
            raise ConfigError(f"{grid.experiment.source}: no cell of arm '{name}' on '{wanted}'")
        found.append(mine[0])
    return found[0], found[1]


def record_key(baseline: GridCell, candidate: GridCell, of_class: str) -> str:
    """Key of a pair's record on a class of machine: the same on every night."""
    return f"{digest([baseline.line, candidate.line])[:24]}-{of_class}"


def read_costs(store: Store, grid: Grid, *, baseline: str, candidate: str) -> Costs:
    """Read the costs of a pair of arms.

    A session of this machine's class is preferred; else the newest of another class, which
    `Costs.machine` names. Never raises for a missing session: then every cost says why.

    Raises
    ------
    ConfigError
        When an arm is not in the grid.
    StoreError
        When a record is torn or of a newer version.
    """
    cells = pair_of(grid, baseline=baseline, candidate=candidate)
    pair = record_key(*cells, "")
    keys = [key for key in store.journal.newest("measurement") if key.startswith(pair)]
    if not keys:
        return Costs.missing(baseline, candidate, cells[0].dataset)
    found = {key: read_measure(store, key) for key in keys}
    own = record_key(*cells, machine_class())
    chosen = own if own in found else max(keys, key=lambda key: found[key].measured_at)
    return found[chosen].costs_in(chosen)
