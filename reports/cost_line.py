"""What replacing costs or saves, in one line and at length: paired measurements only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.costs import Cost
from reports import wording
from reports.inputs import PageInput
from reports.tables import Cell, Table, columns, text

_TITLES = {
    "fit_time": "Fit",
    "load_time": "Load",
    "latency": "One forecast, p50",
    "throughput": "Throughput",
    "peak_memory": "Peak memory",
    "checkpoint_bytes": "Weights on disk",
    "code_lines": "Code",
}
_FIRST_SCREEN = ("fit_time", "load_time", "latency", "throughput", "peak_memory")
_SCALES = {"s": (1e3, "ms"), "bytes": (2.0**-20, "MiB")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One cost: candidate over legacy.

    Attributes
    ----------
    ratio, interval, floor
        In words; '' where there is none.
    word
        ``less``, ``more``, ``same`` as far as can be told, ``no evidence`` or ``none``.
    said
        Absolute values, or why there is no ratio.
    """

    title: str
    ratio: str
    interval: str
    floor: str
    word: str
    said: str


def cost_line(page: PageInput, legacy: str) -> list[Figure]:
    """Fit, load, first forecast, p50 and p90, throughput, peak memory; empty if not measured."""
    costs = page.beside.costs.get(legacy)
    if costs is None or costs.reason:
        return []
    found = [_figure(costs[name]) for name in _FIRST_SCREEN]
    session = page.beside.sessions.get(legacy, {})
    first = _plain_ratio(session, "First forecast", _first)
    tail = _plain_ratio(session, "One forecast, p90", _p90)
    return [*found[:2], *first, found[2], *tail, *found[3:]]


def not_measured(page: PageInput, legacy: str) -> str:
    """Why a pair has no costs, with the command that takes them."""
    costs = page.beside.costs.get(legacy)
    why = costs.reason if costs is not None else ""
    detail = f" ({why})" if why and not why.startswith("not measured") else ""
    other = "" if legacy == page.verdict.legacy else f"--baseline-arm {legacy}"
    options = (other,) if other else ()
    return f"not measured: {page.beside.command('measure', *options)}{detail}"


def _figure(cost: Cost) -> Figure:
    if cost.ratio is None:
        return Figure(
            title=_TITLES[cost.criterion],
            ratio="",
            interval="",
            floor="",
            word="none",
            said=cost.reason,
        )
    interval = ""
    if cost.low is not None and cost.high is not None and not cost.exact:
        interval = f"{cost.low:.3g}\u2013{cost.high:.3g}"
    floor = "" if cost.noise_floor is None else f"noise {wording.percent(cost.noise_floor)}"
    return Figure(
        title=_TITLES[cost.criterion],
        ratio=f"{cost.ratio:.2f}\u00d7" if cost.ratio else "0\u00d7",
        interval=interval,
        floor=floor,
        word=_word(cost),
        said=_absolute(cost),
    )


def _word(cost: Cost) -> str:
    if not cost.valid:
        return "no evidence"
    if not cost.differs and not cost.exact:
        return "not told apart"
    assert cost.ratio is not None
    better = cost.ratio > 1 if cost.higher_is_better else cost.ratio < 1
    return "better" if better else "same" if cost.ratio == 1 else "worse"


def _absolute(cost: Cost) -> str:
    return _sides(cost.candidate, cost.baseline, cost.unit)


def _sides(candidate: float | None, baseline: float | None, unit: str) -> str:
    """Both absolute values in a unit that fits them."""
    largest = max(candidate or 0.0, baseline or 0.0)
    factor, shown = (1.0, "s") if unit == "s" and largest >= 1 else _SCALES.get(unit, (1.0, unit))
    ours, theirs = (
        wording.NONE if value is None else wording.number(factor * value)
        for value in (candidate, baseline)
    )
    return f"{ours} against {theirs} {shown}"


def _plain_ratio(session: Mapping[str, Any], title: str, read: Any) -> list[Figure]:
    """A ratio of medians without an interval, where a session has both."""
    rows = session.get("arms", ())
    values = [read(row) for row in rows]
    if len(values) != 2 or None in values or not values[0]:
        return []
    ratio = values[1] / values[0]
    said = _sides(values[1], values[0], "s")
    return [
        Figure(
            title=title,
            ratio=f"{ratio:.2f}\u00d7",
            interval="",
            floor="",
            word="no interval",
            said=said,
        )
    ]


def _first(row: Mapping[str, Any]) -> float | None:
    phase = row.get("phases", {}).get("first")
    return None if not phase else phase.get("seconds")


def _p90(row: Mapping[str, Any]) -> float | None:
    value: float | None = row.get("single_stream", {}).get("seconds", {}).get("p90")
    return value


def cost_table(page: PageInput, legacy: str) -> Table | None:
    """All costs of a pair with intervals, noise floors and why a figure is no evidence."""
    costs = page.beside.costs.get(legacy)
    if costs is None or costs.reason:
        return None
    where = ", ".join(filter(None, (costs.machine.get("processor"), costs.machine_class)))
    return Table(
        caption=f"What {page.verdict.candidate} costs against {page.label(legacy)}, "
        f"on {costs.dataset}",
        columns=columns(
            "Cost",
            "ratio",
            "95 % interval",
            "noise floor",
            "absolute",
            "pairs",
            "standing",
            words=("absolute", "standing"),
        ),
        rows=tuple(_row(cost) for cost in costs.items.values()),
        note="Candidate over legacy, from paired turns in fresh processes; the noise floor is how "
        "far apart two identical processes of the legacy arm came out in the same session. "
        f"Machine: {where}; measured {costs.measured_at}.",
    )


def _row(cost: Cost) -> tuple[Cell, ...]:
    found = _figure(cost)
    standing = cost.reason or found.word
    return (
        Cell(text=_TITLES[cost.criterion], note=cost.note),
        text(found.ratio or wording.NONE),
        text(found.interval or ("counted" if cost.exact else wording.NONE)),
        text(found.floor.removeprefix("noise ") or wording.NONE),
        text(_absolute(cost)),
        text(f"{cost.n:,}"),
        text(standing),
    )
