"""One arm's row of a session's record: phases, percentiles, honesty, training."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.measure.ratios import block_medians, percentiles, repeats_are_faster
from harness.measure.same import difference
from harness.measure.session import Process, Side, Taken
from harness.measure.training import yearly_fits
from harness.running.grid import Split
from harness.running.identity import machine
from harness.running.records import StoredUnit
from harness.source_lines import arm_size

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
