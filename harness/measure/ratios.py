"""Ratios of paired measurements, their intervals, and what identical arms would show.

Shapes: K sets of fresh processes; in each the baseline ran as A and once more as A', and the
candidate as B. Everything is on the scale of natural logarithms: a ratio is a difference.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.costs import CRITERIA, TIMED, Cost
from harness.measure.session import AGAIN, BASELINE, CANDIDATE, Process, Taken
from harness.window import Array

_CONFIDENCE = 0.95
CACHE_TOLERANCE = 0.10
"""A repeated input may be this much faster: processor caches are warm."""
_CACHE_ERROR = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A ratio with what is known about it; `None` where one pair tells nothing.

    Attributes
    ----------
    log_se, df
        Of the logarithm; Student's law.
    noise_floor
        How far from 1 identical processes may seem to be, as a share.
    n
        Pairs of processes.
    """

    value: float
    low: float | None
    high: float | None
    log_se: float | None
    df: float | None
    noise_floor: float | None
    n: int


def ratio_of(baseline: Array, candidate: Array, again: Array | None = None) -> Ratio:
    """Candidate over baseline, from one figure per process.

    The interval rests on the spread between sets: two processes of the same arm differ by more
    than the calls within one do (where the loader and the allocator put things). The A/A pairs
    know that their true difference is 0 and lend their degrees of freedom; the variance is the
    larger of the arms' own and the pooled one, and each A/A pair counts half, since it shares A.

    Parameters
    ----------
    baseline, candidate : [K]
        Positive figures of A and B.
    again : [K], optional
        Of A'.
    """
    difference = np.log(candidate) - np.log(baseline)  # [K]
    count, mean = len(difference), float(np.mean(difference))
    if not difference.any() and (again is None or np.array_equal(baseline, again)):
        return _exact(1.0, count)
    if count < 2:
        return Ratio(
            value=math.exp(mean), low=None, high=None, log_se=None, df=None, noise_floor=None, n=1
        )
    own = float(np.var(difference, ddof=1))
    variance, freedom, floor = own, float(count - 1), None
    if again is not None:
        variance, freedom, floor = _pooled(own, np.log(again) - np.log(baseline))
    error = math.sqrt(variance / count)
    half = _student(freedom) * error
    return Ratio(
        value=math.exp(mean),
        low=math.exp(mean - half),
        high=math.exp(mean + half),
        log_se=error,
        df=freedom,
        noise_floor=floor,
        n=count,
    )


def _pooled(own: float, null: Array) -> tuple[float, float, float]:
    """Variance and degrees of freedom with the A/A pairs' differences [K], and the noise floor."""
    count, squares = len(null), float(np.sum(null**2))
    variance = max(own, (own * (count - 1) + squares) / (2 * count - 1))
    spread = math.sqrt(squares) / count  # standard error of their mean
    floor = math.expm1(abs(float(np.mean(null))) + _student(count) * spread)
    return variance, count - 1 + count / 2, floor


def exact_ratio(baseline: float, candidate: float) -> Ratio:
    """The ratio of two figures that do not vary."""
    return _exact(candidate / baseline, 1)


def _exact(value: float, count: int) -> Ratio:
    return Ratio(value=value, low=value, high=value, log_se=0.0, df=None, noise_floor=None, n=count)


def block_medians(blocks: Sequence[Sequence[float]]) -> float:
    """One figure of a process: the median over turns of each turn's median call."""
    return float(np.median([np.median(block) for block in blocks]))


def paired_level(reference: Sequence[float], others: Sequence[Sequence[float]]) -> list[float]:
    """Figures of processes that took turns, put on the level of the first.

    Parameters
    ----------
    reference
        One figure per round of the first process.
    others
        The same of the others, round by round beside it.

    Returns
    -------
    list
        The first process's median, then each other's: that median times the median over rounds
        of its ratio to the first, so that what moved both in a round cancels.
    """
    first = np.asarray(reference)
    level = float(np.median(first))
    return [level, *(level * float(np.median(np.asarray(each) / first)) for each in others)]


def least_count(share: float) -> int:
    """Samples needed to state a percentile: 29 for 0.9, 299 for 0.99.

    With fewer, the largest sample may lie below the percentile with a chance of more than 5 %.
    """
    return math.ceil(math.log(1 - _CONFIDENCE) / math.log(share))


def percentiles(seconds: Sequence[float]) -> dict[str, float | None]:
    """The median, p90 and p99 of single calls; None where the count does not support one."""
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
    return {
        name: float(np.quantile(seconds, share)) if len(seconds) >= least_count(share) else None
        for name, share in shares.items()
    }


def repeats_are_faster(fresh: Sequence[float], again: Sequence[float]) -> tuple[bool, float]:
    """Whether repeated inputs are answered faster than new ones, and the median ratio.

    The bound is that of the median by order statistics, one-sided at 1 in 1000: no law of the
    times is assumed, and single interruptions do not matter.
    """
    logs = np.sort(np.log(again) - np.log(fresh))
    count = len(logs)
    rank = _upper_rank(count)
    faster = rank is not None and bool(logs[rank] < math.log(1 - CACHE_TOLERANCE))
    return faster, math.exp(float(np.median(logs)))


def _upper_rank(count: int) -> int | None:
    """Index of the order statistic that lies below the median with a chance under the error."""
    below = 0.0
    for index in range(count, 0, -1):  # chance that `index` or more of `count` are below
        below += math.comb(count, index) * 0.5**count
        if below > _CACHE_ERROR:
            return index if index < count else None
    return None


def _student(freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + _CONFIDENCE) / 2))


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
