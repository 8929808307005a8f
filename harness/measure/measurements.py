"""A measuring session as a record in the store, and back as costs.

`measures/MACHINE_CLASS/KEY.json`: one record per pair of units, replaced by the next session.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.costs import CRITERIA, Cost, Costs
from harness.errors import ConfigError
from harness.forecast import LEVELS
from harness.measure.code_lines import arm_size
from harness.measure.ratios import block_medians, percentiles, repeats_are_faster
from harness.measure.session import Process, Side, Taken
from harness.running.grid import Grid, GridCell, Split
from harness.running.identity import digest, machine
from harness.running.store import Store, StoredUnit, read_record, write_record
from harness.window import Array, Dates, RollingOrigin, Series

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


TOLERANCE = 0.01
"""Of the standard deviation of one session's change. Batches of other sizes round otherwise, by
a thousandth of that at most; another forecast differs by whole deviations."""
DRAWN_TOLERANCE = 4.0
"""For arms that draw: in standard errors of a median of their draws, root mean square. Two honest
sets of draws differ by 1.8 (normal law)."""


def difference(unit: StoredUnit, timed: Mapping[str, Any], series: Series) -> str:
    """How forecasts made while timed differ from the stored ones; empty where they do not.

    Parameters
    ----------
    unit
        The ordinary unit of the same arm, data and seed.
    timed
        `number` [n] of the windows, `single_point` [n, H] and maybe `single_values` [n, H, Q];
        `offline_point` [W, H] and maybe `offline_values`.
    series
        What was forecast, for the scale.
    """
    if not len(timed["number"]):
        return "no window of the plan was forecast while timed"
    for mode, title in (("single", "one window at a time"), ("offline", "in batches")):
        point = timed[f"{mode}_point"]
        rows = timed["number"] if mode == "single" else np.arange(len(point))
        found = _difference(unit, rows, point, timed.get(f"{mode}_values"), series)
        if found:
            return f"timed {title} it forecasts something else: {found}"
    return ""


def _difference(
    unit: StoredUnit, rows: Any, point: Array, values: Array | None, series: Series
) -> str:
    """Compare windows `rows` [n] that have a stored forecast."""
    whole = unit.forecast
    good = np.array([not unit.reason[row] for row in rows.tolist()])
    rows = rows[good]
    if not len(rows):
        return ""
    stored, point = whole.point[rows], point[good][:, -whole.point.shape[1] :]
    if whole.samples is not None:
        return _of_draws(whole.samples[rows], stored, point)
    worst = np.max(np.abs(stored - point))
    own = not unit.record["residual_distribution"]  # else the distribution is the harness's
    if own and values is not None and whole.has_distribution:
        grid = values[good][:, -whole.point.shape[1] :]
        worst = max(worst, np.max(np.abs(whole.at(LEVELS)[rows] - grid)))
    scale = float(np.std(np.diff(series.target)))
    if worst <= TOLERANCE * scale:  # not so for NaN either
        return ""
    return f"by up to {worst / scale:.3g} standard deviations of a session's change"


def _of_draws(samples: Array, stored: Array, point: Array) -> str:
    """Draws [n, M, H] of the stored unit give the scale."""
    error = np.std(samples, axis=1) / np.sqrt(samples.shape[1])  # [n, H]
    apart = np.where(error > 0, np.abs(stored - point) / np.maximum(error, 1e-300), 0.0)
    away = float(np.sqrt(np.mean(apart**2)))
    if away <= DRAWN_TOLERANCE:
        return ""
    return f"{away:.3g} standard errors of its draws on average"


_DAYS_PER_YEAR = 365.25


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSummary:
    """Fits of one arm over seeds and refits.

    Attributes
    ----------
    fits
        How many curves.
    diverged
        Share of fits with a loss that is not finite.
    epochs_to_best
        Median epoch of the lowest validation loss; None where no fit has a finite one.
    final_spread
        Highest over lowest last validation loss, over finite fits, less 1; None with fewer than
        two.
    largest_jump
        Largest rise of the validation loss from one epoch to the next, as a share of the loss
        before it; 0 where it never rose, None where no curve has two finite epochs.
    norm_peak
        Largest gradient norm over the median one; None where none is finite.
    """

    fits: int
    diverged: float
    epochs_to_best: float | None
    final_spread: float | None
    largest_jump: float | None
    norm_peak: float | None


def training_summary(curves: Sequence[Mapping[str, Array]]) -> TrainingSummary | None:
    """Summarise curves as `records.read_curve` gives them, one per unit; None where there is none.

    A unit with several refits has the column `fitted_at`; each fit counts on its own.
    """
    fits = [fit for curve in curves for fit in _fits(curve)]
    if not fits:
        return None
    losses = [fit["validation_loss"] for fit in fits]
    bad = [not np.isfinite(np.r_[fit["train_loss"], fit["validation_loss"]]).all() for fit in fits]
    finals = [float(each[-1]) for each in losses if math.isfinite(each[-1])]
    best = [
        float(fit["epoch"][np.nanargmin(fit["validation_loss"])])
        for fit in fits
        if np.isfinite(fit["validation_loss"]).any()
    ]
    norms = np.concatenate([fit["gradient_norm"] for fit in fits])
    norms = norms[np.isfinite(norms)]
    jumps = [jump for each in losses for jump in _jumps(each)]
    return TrainingSummary(
        fits=len(fits),
        diverged=sum(bad) / len(fits),
        epochs_to_best=float(np.median(best)) if best else None,
        final_spread=_spread(finals),
        largest_jump=max(0.0, *jumps) if jumps else None,
        norm_peak=float(norms.max() / np.median(norms)) if norms.any() else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class YearlyFits:
    """Training of one arm over a year of nightly runs under a plan's refit policy."""

    fits: float
    seconds: float


def yearly_fits(
    fit_s: float, plan: RollingOrigin, dates: Dates, *, seeds: int = 1
) -> YearlyFits | None:
    """What fitting costs in a year; None where the plan fits once only.

    Parameters
    ----------
    fit_s
        Seconds of one fit.
    plan
        Fits again every ``refit * stride`` sessions.
    dates : [N]
        Sessions of the data: how many there are in a year.
    seeds
        Networks that are kept in use.
    """
    if plan.refit is None:
        return None
    days = float((dates[-1] - dates[0]) / np.timedelta64(1, "D"))
    sessions = (len(dates) - 1) / days * _DAYS_PER_YEAR
    count = sessions / (plan.refit * plan.stride) * seeds
    return YearlyFits(fits=count, seconds=count * fit_s)


def _fits(curve: Mapping[str, Array]) -> list[dict[str, Array]]:
    if not curve:
        return []
    starts = np.unique(curve["fitted_at"])
    return [
        {name: values[curve["fitted_at"] == start] for name, values in curve.items()}
        for start in starts
    ]


def _jumps(losses: Array) -> list[float]:
    before, after = losses[:-1], losses[1:]
    known = np.isfinite(before) & np.isfinite(after) & (before > 0)
    rises: list[float] = (after[known] / before[known] - 1).tolist()
    return rises


def _spread(finals: Sequence[float]) -> float | None:
    if len(finals) < 2 or min(finals) <= 0:
        return None
    return max(finals) / min(finals) - 1


_PHASES = ("import", "load", "fit", "first", "steady", "offline")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRow:
    """What a session says of one arm.

    Attributes
    ----------
    record
        For the store.
    lines
        Of its source, see `source_lines.arm_size`.
    doubts
        Why its figures are no evidence.
    """

    record: dict[str, Any]
    lines: int
    doubts: list[str]


def describe_arm(taken: Taken, name: str, unit: StoredUnit, split: Split) -> ArmRow:
    """Describe the arm in the role `name`, whose ordinary unit is `unit`."""
    side, processes = taken.sides[name], taken.processes(name)
    lines = arm_size(side.cell.arm.use).lines
    honesty, doubts = _honesty(processes, side, unit, split)
    record = {
        "arm": side.cell.arm.name,
        "phases": {phase: _phase(processes, side, phase) for phase in _PHASES},
        "single_stream": _single(processes),
        "offline": _offline(processes, side),
        "lines": lines,
        "stored_bytes": processes[0].stored_bytes,
        "training": _training(side, split),
        **honesty,
    }
    return ArmRow(record=record, lines=lines, doubts=doubts)


def _phase(processes: Sequence[Process], side: Side, phase: str) -> dict[str, Any] | None:
    """Medians over processes; None where the arm has no such phase."""
    found = side.fits if phase == "fit" else [each.phases for each in processes]
    if not found or phase not in found[0]["seconds"]:
        return None
    row: dict[str, Any] = {"n": len(found)}
    for field in ("seconds", "cpu_seconds", "peak_bytes", "gpu_allocated", "gpu_reserved"):
        values = [each[field][phase] for each in found if phase in each[field]]
        row[field] = float(np.median(values)) if values else None
    added = [
        each["peak_bytes"][phase] - each["start_bytes"][phase]
        for each in found
        if phase in each["peak_bytes"]
    ]
    row["added_bytes"] = float(np.median(added)) if added else None
    row["reason"] = found[0]["no_peaks"]
    return row


def _single(processes: Sequence[Process]) -> dict[str, Any]:
    calls = [call for each in processes for turn in each.calls for call in turn]
    cpu = sum(each.cpu for each in processes)
    return {
        "n": len(calls),
        "seconds": percentiles(calls),
        "by_process": [block_medians(each.calls) for each in processes],
        "cpu_share": cpu / sum(calls),
    }


def _offline(processes: Sequence[Process], side: Side) -> dict[str, Any]:
    rates = [each.windows / float(np.median(each.spans)) for each in processes]
    return {
        "batch": side.batch,
        "windows": processes[0].windows,
        "windows_per_second": float(np.median(rates)),
        "by_process": rates,
    }


def _honesty(
    processes: Sequence[Process], side: Side, unit: StoredUnit, split: Split
) -> tuple[dict[str, Any], list[str]]:
    """Whether it forecasts the same when timed, and forgets its inputs."""
    arm = side.cell.arm.name
    found = (difference(unit, each.timed, split.dataset.series) for each in processes)
    differs = next(filter(None, found), "")
    if differs and side.learns and unit.record["machine"] != machine():
        differs += " (its unit was trained on another machine)"
    fresh = [second for each in processes for second in each.fresh]
    again = [second for each in processes for second in each.again]
    faster, ratio = repeats_are_faster(fresh, again)
    doubts = [f"{arm}: {differs}"] if differs else []
    if faster:
        doubts.append(
            f"{arm} remembers inputs: one it has seen takes {ratio:.2f} of the time of a new one"
        )
    record = {
        "same_forecasts": not differs,
        "difference": differs,
        "repeated_input": {"ratio": ratio, "faster": faster, "n": len(fresh)},
    }
    return record, doubts


def _training(side: Side, split: Split) -> dict[str, Any] | None:
    """Cost of a fit, and of a year of nightly runs; None for an arm that does not learn."""
    if not side.fits:
        return None
    seconds = float(np.mean([each["seconds"]["fit"] for each in side.fits]))
    yearly = yearly_fits(seconds, split.plan, split.dataset.series.dates)
    return {
        "fit_seconds": seconds,
        "epochs": side.fits[0]["epochs"],
        "yearly": None if yearly is None else dataclasses.asdict(yearly),
        "reason": "" if yearly else "the plan fits once and never again",
    }
