"""Speed, memory, failures: what the units' records say about carrying them out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports import wording
from reports.inputs import PageInput, UnitKey
from reports.tables import Cell, Column, Table, columns, text

_PHASES = ("import", "load", "fit", "forecast")
_MIB = 2**20
_SHOWN = 40
_FAILURE_HEADS = ("Arm", "Dataset", "Seed", "Windows", "First origin", "Reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measure:
    """What a unit's record says per phase, and how to write it."""

    field: str
    title: str
    note: str
    write: Callable[[float], str]


_SECONDS = _Measure(
    field="seconds",
    title="Seconds per unit",
    note="Single, unpaired measurements, one process per unit; with several seeds the range. Good "
    "for orders of magnitude, not for a ratio between arms.",
    write=wording.seconds,
)
_MEMORY = _Measure(
    field="peak_bytes",
    title="Peak resident memory per phase, MiB",
    note="High-water mark of the unit's own process, counted anew in each phase; it contains what "
    "earlier phases left loaded.",
    write=lambda value: f"{value / _MIB:,.0f}",
)


def speed(page: PageInput, dataset: str) -> Table | None:
    """Seconds per phase and per window; None when no unit is stored."""
    return _by_phase(page, dataset, _SECONDS)


def memory(page: PageInput, dataset: str) -> Table | None:
    """Peak resident memory per phase; None when no unit is stored."""
    return _by_phase(page, dataset, _MEMORY)


def _by_phase(page: PageInput, dataset: str, measure: _Measure) -> Table | None:
    found = {
        arm.name: [page.units[key].record for key in page.unit_keys(arm.name, dataset)]
        for arm in page.arms
    }
    records = [record for each in found.values() for record in each]
    if not records:
        return None
    phases = _phases(_numbers(record, measure.field) for record in records)
    timed = measure is _SECONDS
    several = len({machine_text(record) for record in records}) > 1
    heads = [Column(title="Arm", note="machine" if several else "", numeric=False)]
    heads += [Column(title=phase) for phase in phases]
    heads += [Column(title="per window", note="ms of forecast")] if timed else []
    rows = []
    for arm, mine in found.items():
        cells = [_phase(mine, phase, measure) for phase in phases]
        cells += [_per_window(mine)] if timed else []
        rows.append((Cell(text=arm, note=_machines(mine) if several else ""), *cells))
    where = "" if several else f" Machine: {machine_text(records[0])}."
    return Table(
        caption=f"{measure.title}, {dataset}",
        columns=tuple(heads),
        rows=tuple(rows),
        note=measure.note + where,
    )


def _phase(records: Iterable[Mapping[str, Any]], phase: str, measure: _Measure) -> Cell:
    return _range([_numbers(each, measure.field).get(phase) for each in records], measure.write)


def _phases(measured: Iterable[Mapping[str, float]]) -> list[str]:
    names = {name for each in measured for name in each}
    return [name for name in _PHASES if name in names] + sorted(names - set(_PHASES))


def _numbers(record: Mapping[str, Any], field: str) -> dict[str, float]:
    found = record.get(field)
    return {
        str(name): float(value)
        for name, value in (found.items() if isinstance(found, Mapping) else ())
        if isinstance(value, int | float)
    }


def _range(values: Iterable[float | None], write: Callable[[float], str]) -> Cell:
    known = [value for value in values if value is not None]
    if not known:
        return text("none")
    return text(wording.between(write(min(known)), write(max(known))))


def _per_window(records: Iterable[Mapping[str, Any]]) -> Cell:
    values = []
    for record in records:
        spent, done = _numbers(record, "seconds").get("forecast"), record.get("windows")
        if spent is not None and done:
            values.append(1000 * spent / int(done))
    return _range(values, wording.number)


def _machines(records: Iterable[Mapping[str, Any]]) -> str:
    return wording.listing(dict.fromkeys(machine_text(record) for record in records)) or "no unit"


def machine_text(record: Mapping[str, Any]) -> str:
    """Name the machine a unit was carried out on."""
    found = record.get("machine")
    if not isinstance(found, Mapping):
        return "machine not stated"
    parts = [str(found.get("processor", "processor not stated"))]
    if found.get("cores"):
        parts.append(f"{found['cores']} cores")
    if found.get("gpu") not in (None, "", "none"):
        parts.append(str(found["gpu"]))
    return ", ".join(parts)


def failures(page: PageInput) -> Table | None:
    """Failed windows with their reasons; None when there are none."""
    groups: dict[tuple[str, str, int, str], list[str]] = {}
    for key, reason, day in _failed(page):
        groups.setdefault((*key, reason), []).append(day)
    if not groups:
        return None
    rows = tuple(_failure_row(key, days) for key, days in list(groups.items())[:_SHOWN])
    left = wording.plural(len(groups) - len(rows), "further reason")
    return Table(
        caption="Failed windows, by reason",
        columns=columns(*_FAILURE_HEADS, words=("Dataset", "First origin", "Reason")),
        rows=rows,
        note=f"{left} left out; the store holds all." if len(groups) > len(rows) else "",
    )


def _failure_row(key: tuple[str, str, int, str], days: Sequence[str]) -> tuple[Cell, ...]:
    arm, dataset, seed, reason = key
    counted = (str(seed), f"{len(days):,}", min(days))
    return (text(arm), text(dataset), *map(text, counted), text(wording.printable(reason)))


def _failed(page: PageInput) -> Iterable[tuple[UnitKey, str, str]]:
    """Each failed window: unit, reason, origin date; scores first, stored units for the rest."""
    seen = set()
    for scores in page.scores:
        key = (scores.arm, scores.dataset, scores.seed)
        seen.add(key)
        for reason, day in zip(scores.reason, scores.origin_date.tolist(), strict=True):
            if reason:
                yield key, reason, str(day)
    for key in sorted(set(page.units) - seen):
        unit = page.units[key]
        for reason, day in zip(unit.reason, unit.last_date.tolist(), strict=True):
            if reason:
                yield key, reason, str(day)
