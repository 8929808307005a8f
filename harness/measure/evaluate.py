"""From what a session took to the costs of the pair and what is known of each arm."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from harness.costs import CRITERIA, TIMED, Cost
from harness.forecast import LEVELS
from harness.measure.code_lines import arm_size
from harness.measure.ratios import (
    Ratio,
    block_medians,
    exact_ratio,
    paired_level,
    percentiles,
    ratio_of,
    repeats_are_faster,
)
from harness.measure.record import (
    MeasuredArm,
    Offline,
    PhaseFigures,
    RepeatedInput,
    SingleStream,
    TrainingCost,
    YearlyFits,
)
from harness.measure.replies import Phases
from harness.measure.session import (
    AGAIN,
    BASELINE,
    CANDIDATE,
    Mode,
    Process,
    SessionMeasurements,
    Side,
    TimedForecasts,
)
from harness.reasons import Plain, Reason, ReasonCode, reason
from harness.running.identity import machine
from harness.running.split import Split
from harness.running.stored_cell import StoredCell
from harness.window import Array, Dates, RollingOrigin, Series

SERVING = ("load", "first", "steady", "offline")
"""Phases of a process in use, whose highest peak is its memory."""
_PHASES = ("import", "load", "fit", "first", "steady", "offline")
_DAYS_PER_YEAR = 365.25


def evaluate(
    taken: SessionMeasurements,
    units: Mapping[str, StoredCell],
    split: Split,
    *,
    loaded: Reason | None,
) -> tuple[tuple[MeasuredArm, ...], tuple[Cost, ...]]:
    """What a session says of both arms, and one cost per key of `CRITERIA`, in their order.

    Parameters
    ----------
    units
        Ordinary units of baseline and candidate, by role.
    loaded
        Why timings are no evidence; None where they are.
    """
    arms = [_measured_arm(taken, name, units[name], split) for name in (BASELINE, CANDIDATE)]
    spans = _levels(taken, lambda process: process.spans)
    found = (
        _figures("latency", _levels(taken, lambda process: process.rounds)),
        _figures("throughput", [arms[0].offline.windows / each for each in spans]),
        _peak_memory(taken),
        _fit_time(taken),
        _load_time(taken),
        _counted("checkpoint_bytes", [arm.stored_bytes for arm in arms]),
        _counted("code_lines", [arm.lines for arm in arms]),
    )
    assert [each.criterion for each in found] == list(CRITERIA)
    doubts, costs = [each for arm in arms for each in arm.doubts], []
    for cost in found:
        busy = () if loaded is None or cost.criterion not in TIMED else (loaded,)
        reasons = (*doubts, *busy)
        if reasons and cost.ratio is not None and not cost.exact:  # counted ones stand
            costs.append(dataclasses.replace(cost, valid=False, reasons=reasons))
        else:
            costs.append(cost)
    return tuple(arms), tuple(costs)


def _cost(criterion: str, ratio: Ratio, absolute: Sequence[float]) -> Cost:
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
    )


def _figures(criterion: str, figures: Sequence[Array]) -> Cost:
    """A cost from figures [K] of A, B and A'."""
    baseline, candidate, again = figures
    absolute = (float(np.median(baseline)), float(np.median(candidate)))
    return _cost(criterion, ratio_of(baseline, candidate, again), absolute)


def _levels(
    taken: SessionMeasurements, rounds: Callable[[Process], Sequence[float]]
) -> list[Array]:
    """One figure per process, [K] of A, B and A'; see `ratios.paired_level`."""
    rows = []
    for found in taken.sets:
        others = [rounds(found[name]) for name in (CANDIDATE, AGAIN)]
        rows.append(paired_level(rounds(found[BASELINE]), others))
    return list(np.array(rows).T)


def _by_role(taken: SessionMeasurements, figure: Callable[[Process], float]) -> list[Array]:
    """One figure per process, [K] of A, B and A'."""
    return [
        np.array([figure(each) for each in taken.processes(name)])
        for name in (BASELINE, CANDIDATE, AGAIN)
    ]


def _peak_memory(taken: SessionMeasurements) -> Cost:
    missing = taken.processes(BASELINE)[0].phases.no_peaks
    if missing:
        why = reason(ReasonCode.NO_PEAKS, said=missing)
        return Cost(criterion="peak_memory", unit=CRITERIA["peak_memory"], reasons=(why,))
    return _figures("peak_memory", _by_role(taken, serving_peak))


def serving_peak(process: Process) -> float:
    """Highest resident memory of a process in use."""
    return float(max(process.phases.peak_bytes[phase] for phase in SERVING))


def _fit_time(taken: SessionMeasurements) -> Cost:
    baseline, candidate = (
        np.array([fit.phases.seconds["fit"] for fit in taken.sides[name].fits])
        for name in (BASELINE, CANDIDATE)
    )
    means = [float(np.mean(each)) if len(each) else 0.0 for each in (baseline, candidate)]
    return _one_sided("fit_time", means) or _cost("fit_time", ratio_of(baseline, candidate), means)


def _load_time(taken: SessionMeasurements) -> Cost:
    figures = _by_role(taken, lambda process: process.phases.seconds["load"])
    medians = [
        float(np.median(each))
        if taken.sides[name].loads or taken.processes(name)[0].stored_bytes
        else 0.0
        for name, each in zip((BASELINE, CANDIDATE), figures[:2], strict=True)
    ]
    return _one_sided("load_time", medians) or _figures("load_time", figures)


def _counted(criterion: str, counts: Sequence[int]) -> Cost:
    values = [float(each) for each in counts]
    return _one_sided(criterion, values) or _cost(criterion, exact_ratio(*values), values)


def _one_sided(criterion: str, values: Sequence[float]) -> Cost | None:
    """The cost where a side has nothing of the kind; None where both have."""
    baseline, candidate = values
    if baseline and candidate:
        return None
    if baseline:
        return _cost(criterion, exact_ratio(baseline, 0.0), values)
    sides = "baseline" if candidate else "both"
    return Cost(
        criterion=criterion,
        unit=CRITERIA[criterion],
        baseline=baseline,
        candidate=candidate,
        reasons=(reason(ReasonCode.NOTHING_OF_KIND, cost=criterion, sides=sides),),
    )


def _measured_arm(
    taken: SessionMeasurements, name: str, unit: StoredCell, split: Split
) -> MeasuredArm:
    """What a session says of the arm in the role `name`, whose ordinary unit is `unit`."""
    side, processes = taken.sides[name], taken.processes(name)
    elsewhere = side.learns and dict(unit.record.machine) != machine()
    arm, series = side.cell.arm.name, split.dataset.series
    differs = (
        difference(unit, each.timed, series, arm=arm, elsewhere=elsewhere) for each in processes
    )
    doubts = [next(filter(None, differs), None)]
    repeats = [each.repeats for each in processes if each.repeats is not None]
    fresh = [second for each in repeats for second in each.fresh]
    again = [second for each in repeats for second in each.again]
    faster, ratio = repeats_are_faster(fresh, again)
    if faster:
        doubts.append(reason(ReasonCode.REMEMBERS_INPUTS, arm=arm, share=ratio))
    calls = [call for each in processes for turn in each.calls for call in turn]
    rates = tuple(each.windows / float(np.median(each.spans)) for each in processes)
    fits = [each.phases for each in side.fits]
    told = [each.phases for each in processes]
    return MeasuredArm(
        arm=arm,
        phases={each: _phase(fits if each == "fit" else told, each) for each in _PHASES},
        single_stream=SingleStream(
            n=len(calls),
            seconds=percentiles(calls),
            by_process=tuple(block_medians(each.calls) for each in processes),
            cpu_share=sum(each.cpu for each in processes) / sum(calls),
        ),
        offline=Offline(
            batch=side.batch,
            windows=processes[0].windows,
            windows_per_second=float(np.median(rates)),
            by_process=rates,
        ),
        lines=arm_size(side.cell.arm.use, side.cell.arm.folder).lines,
        stored_bytes=processes[0].stored_bytes,
        training=_training(side, split),
        repeated_input=RepeatedInput(ratio=ratio, faster=faster, n=len(fresh)),
        doubts=tuple(each for each in doubts if each is not None),
    )


def _phase(told: Sequence[Phases], phase: str) -> PhaseFigures | None:
    """Medians over processes, or fits; None where the arm has no such phase."""
    if not told or phase not in told[0].seconds:
        return None

    def median(values: Sequence[float]) -> float | None:
        return float(np.median(values)) if values else None

    return PhaseFigures(
        n=len(told),
        seconds=float(np.median([each.seconds[phase] for each in told])),
        cpu_seconds=float(np.median([each.cpu_seconds[phase] for each in told])),
        peak_bytes=median([e.peak_bytes[phase] for e in told if phase in e.peak_bytes]),
        added_bytes=median(
            [e.peak_bytes[phase] - e.start_bytes[phase] for e in told if phase in e.peak_bytes]
        ),
        gpu_allocated=median([e.gpu_allocated[phase] for e in told if phase in e.gpu_allocated]),
        gpu_reserved=median([e.gpu_reserved[phase] for e in told if phase in e.gpu_reserved]),
        reason=told[0].no_peaks,
    )


def _training(side: Side, split: Split) -> TrainingCost | None:
    """Cost of a fit, and of a year of nightly runs; None for an arm that does not learn."""
    if not side.fits:
        return None
    seconds = float(np.mean([each.phases.seconds["fit"] for each in side.fits]))
    return TrainingCost(
        fit_seconds=seconds,
        epochs=side.fits[0].epochs,
        yearly=yearly_fits(seconds, split.plan, split.dataset.series.dates),
    )


def yearly_fits(fit_s: float, plan: RollingOrigin, dates: Dates) -> YearlyFits | None:
    """What fitting costs in a year; None where the plan fits once only.

    Parameters
    ----------
    fit_s
        Seconds of one fit.
    plan
        Fits again every ``refit * stride`` sessions.
    dates : [N]
        Sessions of the data: how many there are in a year.
    """
    if plan.refit is None:
        return None
    days = float((dates[-1] - dates[0]) / np.timedelta64(1, "D"))
    sessions = (len(dates) - 1) / days * _DAYS_PER_YEAR
    count = sessions / (plan.refit * plan.stride)
    return YearlyFits(fits=count, seconds=count * fit_s)


TOLERANCE = 0.01
"""Of the standard deviation of one session's change. Batches of other sizes round otherwise, by
a thousandth of that at most; another forecast differs by whole deviations."""
_FARTHEST = 1e9
"""Also what is told of forecasts that are not finite."""
DRAWN_TOLERANCE = 4.0
"""For arms that draw: in standard errors of a median of their draws, root mean square. Two honest
sets of draws differ by 1.8 (normal law)."""


def difference(
    unit: StoredCell,
    timed: Mapping[Mode, TimedForecasts],
    series: Series,
    *,
    arm: str,
    elsewhere: bool = False,
) -> Reason | None:
    """How forecasts made while timed differ from the stored ones; None where they do not.

    Parameters
    ----------
    unit
        The ordinary unit of the same arm, data and seed.
    series
        What was forecast, for the scale.
    elsewhere
        The unit was trained on another machine.
    """
    if not timed:
        return reason(ReasonCode.NOTHING_TIMED, arm=arm)
    for mode, found in timed.items():
        apart, scale = _difference(unit, found, series)
        if apart:
            values: dict[str, Plain] = {"mode": mode, "by": apart, "unit": scale}
            return reason(ReasonCode.TIMED_OTHERWISE, arm=arm, elsewhere=elsewhere, **values)
    return None


def _difference(unit: StoredCell, timed: TimedForecasts, series: Series) -> tuple[float, str]:
    """Compare the windows that have a stored forecast: how far they lie apart, and in what; or 0.

    In standard errors of a median of draws (``errors``), or in standard deviations of a session's
    change (``changes``).
    """
    whole = unit.forecast
    horizon = whole.point.shape[1]
    good = np.array([not unit.reason[row] for row in timed.rows.tolist()])
    rows = timed.rows[good]
    if not len(rows):
        return 0.0, ""
    stored, point = whole.point[rows], timed.point[good][:, -horizon:]
    if whole.samples is not None:  # its draws [n, M, H] give the scale
        draws = whole.samples[rows]
        error = np.std(draws, axis=1) / np.sqrt(draws.shape[1])  # [n, H]
        apart = np.where(error > 0, np.abs(stored - point) / np.maximum(error, 1e-300), 0.0)
        away = float(np.sqrt(np.mean(apart**2)))
        return (0.0 if away <= DRAWN_TOLERANCE else away), "errors"
    worst = np.max(np.abs(stored - point))
    own = not unit.record.residual_distribution  # else the distribution is the harness's
    if own and timed.values is not None and whole.has_distribution:
        grid = timed.values[good][:, -horizon:]
        worst = max(worst, np.max(np.abs(whole.at(LEVELS)[rows] - grid)))
    scale = float(np.std(np.diff(series.target)))
    if worst <= TOLERANCE * scale:  # not so for NaN either
        return 0.0, "changes"
    by = float(worst / scale) if scale > 0 else math.inf
    return min(_FARTHEST, by), "changes"  # NaN too
