"""From what a session took to one cost per criterion."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.costs import CRITERIA, TIMED, Cost
from harness.measure.ratios import Ratio, exact_ratio, paired_level, ratio_of
from harness.measure.session import AGAIN, BASELINE, CANDIDATE, Process, Taken
from harness.window import Array

SERVING = ("load", "first", "steady", "offline")
"""Phases of a process in use, whose highest peak is its memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubts:
    """Why figures are no evidence; empty where they are.

    Attributes
    ----------
    timing
        Of what is timed: a loaded machine.
    arms
        Of everything that is not counted: an arm that forecasts something else when timed, or
        remembers its inputs.
    no_peaks
        Why there is no peak memory.
    """

    timing: str = ""
    arms: str = ""
    no_peaks: str = ""


def costs_of(taken: Taken, lines: tuple[int, int], doubts: Doubts) -> list[Cost]:
    """One cost per key of `CRITERIA`, in their order."""
    found = {
        "latency": _figures("latency", taken, _levels(taken, lambda process: process.rounds)),
        "throughput": _figures("throughput", taken, _rates(taken)),
        "peak_memory": _memory(taken, doubts),
        "fit_time": _fit_time(taken),
        "load_time": _load_time(taken),
        "checkpoint_bytes": _stored(taken),
        "code_lines": _code(lines),
    }
    assert list(found) == list(CRITERIA)
    return [_doubted(cost, doubts) for cost in found.values()]


def _doubted(cost: Cost, doubts: Doubts) -> Cost:
    """Take back what is no evidence; counted figures stand."""
    if cost.ratio is None or cost.exact:
        return cost
    reasons = [doubts.arms, doubts.timing if cost.criterion in TIMED else ""]
    reason = "; ".join(filter(None, reasons))
    return dataclasses.replace(cost, valid=False, reason=reason) if reason else cost


def _cost(criterion: str, ratio: Ratio, absolute: tuple[float, float], note: str = "") -> Cost:
    return Cost(
        criterion=criterion,
        unit=CRITERIA[criterion],
        baseline=absolute[0],
        candidate=absolute[1],
        ratio=ratio.value,
        low=ratio.low,
        high=ratio.high,
        log_se=ratio.log_se,
        df=ratio.df,
        noise_floor=ratio.noise_floor,
        n=ratio.n,
        valid=True,
        note=note,
    )


def _none(
    criterion: str,
    reason: str,
    *,
    baseline: float | None = None,
    candidate: float | None = None,
) -> Cost:
    return Cost(
        criterion=criterion,
        unit=CRITERIA[criterion],
        baseline=baseline,
        candidate=candidate,
        reason=reason,
    )


def _figures(
    criterion: str, taken: Taken, figures: tuple[Array, Array, Array], note: str = ""
) -> Cost:
    """A cost from figures [K] of A, B and A'."""
    baseline, candidate, again = figures
    ratio = ratio_of(baseline, candidate, again)
    return _cost(criterion, ratio, (float(np.median(baseline)), float(np.median(candidate))), note)


def _levels(
    taken: Taken, rounds: Callable[[Process], Sequence[float]]
) -> tuple[Array, Array, Array]:
    """One figure per process, [K] of A, B and A'; see `ratios.paired_level`."""
    rows = []
    for found in taken.sets:
        others = [rounds(found[name]) for name in (CANDIDATE, AGAIN)]
        rows.append(paired_level(rounds(found[BASELINE]), others))
    table = np.array(rows)  # [K, 3]
    return table[:, 0], table[:, 1], table[:, 2]


def _rates(taken: Taken) -> tuple[Array, Array, Array]:
    windows = taken.processes(BASELINE)[0].windows
    baseline, candidate, again = _levels(taken, lambda process: process.spans)
    return windows / baseline, windows / candidate, windows / again


def _memory(taken: Taken, doubts: Doubts) -> Cost:
    if doubts.no_peaks:
        return _none("peak_memory", doubts.no_peaks)
    return _figures(
        "peak_memory",
        taken,
        _by_role(taken, serving_peak),
        "highest resident memory of a process in use: loading and forecasting, not fitting",
    )


def serving_peak(process: Process) -> float:
    """Highest resident memory of a process in use."""
    return float(max(process.phases["peak_bytes"][phase] for phase in SERVING))


def _by_role(taken: Taken, figure: Callable[[Process], float]) -> tuple[Array, Array, Array]:
    baseline, candidate, again = (
        np.array([figure(each) for each in taken.processes(name)])
        for name in (BASELINE, CANDIDATE, AGAIN)
    )
    return baseline, candidate, again


def _fit_time(taken: Taken) -> Cost:
    seconds = {
        name: [fit["seconds"]["fit"] for fit in taken.sides[name].fits]
        for name in (BASELINE, CANDIDATE)
    }
    means = [float(np.mean(each)) if each else 0.0 for each in seconds.values()]
    missing = _one_sided("fit_time", means, verb="fitted")
    if missing is not None:
        return missing
    baseline, candidate = np.array(seconds[BASELINE]), np.array(seconds[CANDIDATE])
    note = "one fit each has a ratio but no interval; [measure] fits = 2 or more gives one"
    return _cost(
        "fit_time",
        ratio_of(baseline, candidate),
        (means[0], means[1]),
        note if len(baseline) == 1 else "",
    )


def _load_time(taken: Taken) -> Cost:
    def seconds(process: Process) -> float:
        return float(process.phases["seconds"]["load"])

    figures = _by_role(taken, seconds)
    reads = [
        taken.sides[name].loads or _state_bytes(taken, name) > 0 for name in (BASELINE, CANDIDATE)
    ]
    means = [
        float(np.median(each)) if read else 0.0 for each, read in zip(figures, reads, strict=False)
    ]
    note = "weights from a warm disk cache into memory; libraries are imported before"
    return _one_sided("load_time", means, verb="loaded") or _figures(
        "load_time", taken, figures, note
    )


def _stored(taken: Taken) -> Cost:
    sizes = (float(_state_bytes(taken, BASELINE)), float(_state_bytes(taken, CANDIDATE)))
    note = "weight files; of an arm that learns its pickled state after a fit"
    return _one_sided("checkpoint_bytes", sizes, verb="stored") or _cost(
        "checkpoint_bytes", exact_ratio(*sizes), sizes, note
    )


def _state_bytes(taken: Taken, name: str) -> int:
    return taken.processes(name)[0].stored_bytes


def _code(lines: tuple[int, int]) -> Cost:
    counts = (float(lines[0]), float(lines[1]))
    note = "the arm's modules and what they import of their package; no comments, no blank lines"
    return _one_sided("code_lines", counts, verb="counted") or _cost(
        "code_lines", exact_ratio(*counts), counts, note
    )


def _one_sided(criterion: str, values: Sequence[float], *, verb: str) -> Cost | None:
    """The cost where a side has nothing of the kind; None where both have."""
    baseline, candidate = values
    if baseline and candidate:
        return None
    if baseline:
        note = f"of the candidate nothing is {verb}"
        return _cost(criterion, exact_ratio(baseline, 0.0), (baseline, 0.0), note)
    side = "the baseline" if candidate else "either arm"
    return _none(
        criterion,
        f"of {side} nothing is {verb}: there is no ratio",
        baseline=baseline,
        candidate=candidate,
    )
