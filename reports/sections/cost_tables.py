"""What both sides cost: paired ratios, and speed and memory as the units' records have them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.costs import Cost
from harness.running.stored_cell import CellRecord
from reports.page_input import PageInput, SessionTimes, machine_text
from reports.section import (
    Column,
    Details,
    Group,
    Lines,
    Placement,
    Section,
    Table,
    TableCell,
    Text,
    table_of,
    text,
    there,
)
from reports.words import numbers
from reports.words.reason_words import why_all

_PHASES = ("import", "load", "fit", "forecast")
_MIB = 2**20


def _by_phase(
    page: PageInput, dataset: str, *, caption: str, note: str, timed: bool
) -> Table | None:
    found = {
        arm.name: [page.units[key] for key in page.unit_keys(arm.name, dataset)]
        for arm in page.arms
    }
    units = [unit for each in found.values() for unit in each]
    if not units:
        return None

    def measured(unit: CellRecord) -> Mapping[str, float]:
        return unit.seconds if timed else unit.peak_bytes

    def write(value: float) -> str:
        return numbers.seconds(value) if timed else f"{value / _MIB:,.0f}"

    names = {name for unit in units for name in measured(unit)}
    phases = [name for name in _PHASES if name in names] + sorted(names - set(_PHASES))
    several = len({machine_text(unit.machine) for unit in units}) > 1
    heads = [Column(title="Arm", note="machine" if several else "", numeric=False)]
    heads += [Column(title=phase) for phase in phases]
    heads += [Column(title="per window", note="ms of forecast")] if timed else []
    rows = []
    for arm, mine in found.items():
        machines = numbers.listing(dict.fromkeys(machine_text(unit.machine) for unit in mine))
        cells = [_range([measured(unit).get(phase) for unit in mine], write) for phase in phases]
        if timed:
            per_window = [
                1000 * unit.seconds["forecast"] / unit.windows
                for unit in mine
                if "forecast" in unit.seconds and unit.windows
            ]
            cells.append(_range(per_window, numbers.number))
        rows.append((TableCell(text=arm, note=(machines or "no unit") * several), *cells))
    where = "" if several else f" Machine: {machine_text(units[0].machine)}."
    return Table(caption=caption, columns=tuple(heads), rows=tuple(rows), note=note + where)


def _range(values: Iterable[float | None], write: Callable[[float], str]) -> TableCell:
    known = [value for value in values if value is not None]
    if not known:
        return text("none")
    return text(numbers.between(write(min(known)), write(max(known))))


_TITLES = {
    "fit_time": "Fit",
    "load_time": "Load",
    "latency": "One forecast, p50",
    "throughput": "Throughput",
    "peak_memory": "Peak memory",
    "checkpoint_bytes": "Weights on disk",
    "code_lines": "Code",
}
_MEASURED = {
    "load_time": "weights from a warm disk cache into memory; libraries are imported before",
    "peak_memory": "highest resident memory of a process in use: loading and forecasting, not "
    "fitting",
    "checkpoint_bytes": "weight files; of an arm that learns, its pickled state after a fit",
    "code_lines": "the arm's modules and what they import of their package; no comments, no blank "
    "lines",
}
"""What exactly was measured, where its title does not tell."""
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
    if costs is None or not costs.record:
        return []
    found = [_figure(costs[name]) for name in _FIRST_SCREEN]
    session = page.beside.sessions.get(legacy, SessionTimes())
    first = _plain_ratio("First forecast", session.first_s)
    tail = _plain_ratio("One forecast, p90", session.p90_s)
    return [*found[:2], *first, found[2], *tail, *found[3:]]


def in_lines(page: PageInput) -> Iterator[Section]:
    """The same, a line each; what the run took where nothing was measured in pairs."""
    legacy = page.verdict.legacy
    told = (
        f"{each.title}: "
        + ", ".join(filter(None, (each.ratio, each.interval, each.floor, each.word, each.said)))
        for each in cost_line(page, legacy)
    )
    found = tuple(told) or (unpaired(page, legacy),)
    yield Section(id="", title="Costs, candidate over legacy", items=(Lines(lines=found),))


def not_measured(page: PageInput, legacy: str) -> str:
    """Why a pair has no costs, with the command that takes them."""
    costs = page.beside.costs.get(legacy)
    broken = "" if costs is None else costs.unreadable
    detail = f" (cannot be read: {broken})" if broken else ""
    other = "" if legacy == page.verdict.legacy else f"--baseline-arm {legacy}"
    options = (other,) if other else ()
    takes = page.beside.measuring_s
    about = f" takes about {numbers.plural(math.ceil(takes / 60), 'minute')}" if takes else ""
    return f"not measured: `{page.beside.command('measure', *options)}`{about}{detail}"


def unpaired(page: PageInput, legacy: str) -> str:
    """What both sides took in the run, median over their units; and what measuring would take."""
    sides = [
        [page.units[key] for name in page.dataset_names for key in page.unit_keys(arm, name)]
        for arm in (page.verdict.candidate, legacy)
    ]

    def forecast(unit: CellRecord) -> float | None:
        spent, count = unit.seconds.get("forecast"), unit.windows
        return spent / count if spent is not None and count else None

    taken: tuple[tuple[str, str, Callable[[CellRecord], float | None]], ...] = (
        ("fit", "s", lambda unit: unit.seconds.get("fit", 0.0)),
        ("a forecast", "s", forecast),
        ("memory", "bytes", lambda unit: max(unit.peak_bytes.values(), default=None)),
    )
    told = []
    for name, unit, of in taken:
        known = [[each for each in map(of, units) if each is not None] for units in sides]
        if all(known):
            ours, theirs = map(statistics.median, known)
            large = max(ours, theirs)
            factor, shown = (1.0, "s") if unit == "s" and large >= 1 else _SCALES[unit]
            mine, legacys = (numbers.two_digits(factor * each) for each in (ours, theirs))
            times = ""
            if ours and theirs:
                ratio = numbers.two_digits(ours / theirs)
                times = ", about equal" if ratio == "1" else f", {ratio} times"
            told.append(f"{name} {mine} {shown} (legacy {legacys} {shown}{times})")
    missing = not_measured(page, legacy)
    if not told:
        return f"Costs of the pair are {missing}"
    return f"Medians of this run: {', '.join(told)}; as paired ratios {missing}"


def _figure(cost: Cost) -> Figure:
    if cost.ratio is None:
        return Figure(
            title=_TITLES[cost.criterion],
            ratio="",
            interval="",
            floor="",
            word="none",
            said=why_all(cost.reasons),
        )
    interval = ""
    if cost.low is not None and cost.high is not None and not cost.exact:
        interval = f"{numbers.ratio(cost.low)}\u2013{numbers.ratio(cost.high)}"
    floor = "" if cost.noise_floor is None else f"noise {numbers.percent(cost.noise_floor)}"
    better = cost.ratio > 1 if cost.higher_is_better else cost.ratio < 1
    word = "better" if better else "same" if cost.ratio == 1 else "worse"
    if not cost.valid:
        word = "no evidence"
    elif not cost.differs and not cost.exact:
        word = "not told apart"
    return Figure(
        title=_TITLES[cost.criterion],
        ratio=f"{cost.ratio:.2f}\u00d7" if cost.ratio else "0\u00d7",
        interval=interval,
        floor=floor,
        word=word,
        said=_absolute(cost),
    )


def _absolute(cost: Cost) -> str:
    return _sides(cost.candidate, cost.baseline, cost.unit)


def _sides(candidate: float | None, baseline: float | None, unit: str) -> str:
    """Both absolute values in a unit that fits them."""
    largest = max(candidate or 0.0, baseline or 0.0)
    factor, shown = (1.0, "s") if unit == "s" and largest >= 1 else _SCALES.get(unit, (1.0, unit))
    ours, theirs = (
        numbers.NONE if value is None else numbers.number(factor * value)
        for value in (candidate, baseline)
    )
    return f"{ours} against {theirs} {shown}"


def _plain_ratio(title: str, values: Sequence[float | None]) -> list[Figure]:
    """A ratio without an interval of what legacy and candidate took; empty without both."""
    known = [value for value in values if value is not None]
    if len(known) != 2 or not known[0]:
        return []
    return [
        Figure(
            title=title,
            ratio=f"{known[1] / known[0]:.2f}\u00d7",
            interval="",
            floor="",
            word="no interval",
            said=_sides(known[1], known[0], "s"),
        )
    ]


def cost_table(page: PageInput, legacy: str) -> Table | None:
    """All costs of a pair with intervals, noise floors and why a figure is no evidence."""
    costs = page.beside.costs.get(legacy)
    if costs is None or not costs.record:
        return None
    where = ", ".join(filter(None, (costs.machine.get("processor"), costs.machine_class)))
    rows = []
    for cost in costs.items.values():
        found = _figure(cost)
        note = _MEASURED.get(cost.criterion, "") if cost.ratio is not None else ""
        if cost.ratio == 0:
            note = "the candidate has none"
        elif cost.criterion == "fit_time" and cost.n == 1:
            note = "one fit each has a ratio but no interval; [measure] fits = 2 or more gives one"
        row = (
            TableCell(text=_TITLES[cost.criterion], note=note),
            found.ratio or numbers.NONE,
            found.interval or ("counted" if cost.exact else numbers.NONE),
            found.floor.removeprefix("noise ") or numbers.NONE,
            _absolute(cost),
            f"{cost.n:,}",
            why_all(cost.reasons) or found.word,
        )
        rows.append(row)
    return table_of(
        f"What {page.verdict.candidate} costs against {page.label(legacy)}, on {costs.dataset}",
        ("Cost", "ratio", "95 % interval", "noise floor", "absolute", "pairs", "standing"),
        rows,
        words=("absolute", "standing"),
        note="Candidate over legacy, from paired turns in fresh processes; the noise floor is how "
        "far apart two identical processes of the legacy arm came out in the same session. "
        f"Machine: {where}; measured {costs.measured_at}.",
    )


def costs(page: PageInput) -> Iterator[Section]:
    """The pair that decides in full, and every unit, unpaired."""
    legacy, units = page.verdict.legacy, []
    for name in page.dataset_names:
        seconds = _by_phase(
            page,
            name,
            caption=f"Seconds per unit, {name}",
            note="Single, unpaired measurements, one process per unit; with several seeds the "
            "range. Good for orders of magnitude, not for a ratio between arms.",
            timed=True,
        )
        memory = _by_phase(
            page,
            name,
            caption=f"Peak resident memory per phase, MiB, {name}",
            note="High-water mark of the unit's own process, counted anew in each phase; it "
            "contains what earlier phases left loaded.",
            timed=False,
        )
        if tables := there(seconds, memory):
            units.append(Group(blocks=tables, style="tables"))
    yield Section(
        id="costs-detail",
        title="Costs",
        link="Costs",
        items=(
            cost_table(page, legacy) or Text(lead="In pairs", text=not_measured(page, legacy)),
            Details(summary="Speed and memory of each unit, unpaired", blocks=tuple(units))
            if units
            else Text(text="No unit is stored, so nothing was timed."),
        ),
    )


PLACEMENTS = (
    Placement(order=700, page=costs),
    Placement(order=450, terminal=in_lines),
)
