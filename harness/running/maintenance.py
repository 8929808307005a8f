"""Another installation: whether its forecasts are those that were stored.

Libraries, and the modules of the harness between data and forecast, lie beside a fit's key. Where
they are others than those its forecasts were made in, the last origins of each fit are forecast
again from the kept fit, and the newest fit is made once more. Where all are equal the line goes on;
where they are not, its results begin anew.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from harness.arm_ref import ArmRef
from harness.errors import StoreError
from harness.running.cells import Answered, answered, settled
from harness.running.due import kept_fit, last_fit
from harness.running.executor import Finished, LastFit, Task
from harness.running.grid import Grid, GridCell, PlannedFit, as_stored
from harness.running.parts import Part
from harness.running.sources import digest
from harness.running.store_folder import Store
from harness.running.work import read_left

ORIGINS = 5
"""The last origins of each fit that are forecast again."""
TOLERANCE = 1e-6
"""Of the last value seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedForecast:
    """Origins of a fit that are forecast again, beside what was sealed of them."""

    fit: PlannedFit
    sealed: Mapping[str, Answered]
    made_anew: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A line whose environment is another than its forecasts were made in.

    Attributes
    ----------
    before
        The environment they were made in.
    """

    cell: GridCell
    before: Mapping[str, object]
    repeats: tuple[RepeatedForecast, ...]
    task: Task

    @property
    def key(self) -> str:
        """Key of its task."""
        return self.task.key

    @property
    def arm(self) -> ArmRef:
        """The arm that is asked."""
        return self.cell.arm

    @property
    def cells(self) -> tuple[GridCell, ...]:
        """The cell that waits for it."""
        return (self.cell,)

    @property
    def origins(self) -> int:
        """How many are forecast again."""
        return sum(len(each.sealed) for each in self.repeats)

    @property
    def kind(self) -> str:
        """What takes about as long as others of its kind."""
        return f"{self.cell.arm.name} again"

    def __str__(self) -> str:
        return f"{self.cell} in another environment"

    @property
    def after(self) -> str:
        """It waits for no other fit."""
        return ""

    def changed(self) -> str:
        """What is another, in a few words."""
        now, then = self.cell.environment, self.before
        before = then.get("libraries")
        known = before if isinstance(before, Mapping) else {}
        libraries = [
            f"{name} {known.get(name, 'none')} -> {version}"
            for name, version in now["libraries"].items()
            if known.get(name) != version
        ]
        code = ["the harness's code"] if now["harness"] != then.get("harness") else []
        return ", ".join([*libraries, *code])


def events(grid: Grid, store: Store, asked: Sequence[GridCell]) -> list[Event]:
    """Lines among some cells whose forecasts were made in another environment than this."""
    found: dict[str, Event] = {}
    with store.journal.at_rest():
        for cell in asked:
            seals = [seal for fit in cell.fits for seal in store.seals(fit.key).values()]
            if cell.line in found or not seals:
                continue
            known = store.maintenance(cell.line)
            before: Mapping[str, object] = (
                max(seals, key=lambda seal: max(seal.issued_at)).environment
                if known is None
                else known["environment"]
            )
            if before == cell.environment:
                continue
            event = _event(grid, store, cell, before)
            if event is not None:
                found[cell.line] = event
    return list(found.values())


def _event(grid: Grid, store: Store, cell: GridCell, before: Mapping[str, object]) -> Event | None:
    repeats: list[RepeatedForecast] = []
    for fit in cell.fits:
        there = answered(store, cell, fit)
        # what is not on this disk any more is forecast again in any case, and held to its seal
        there = {day: each for day, each in there.items() if store.part_file(each.key).is_file()}
        last = dict(sorted(there.items())[-ORIGINS:])
        if not last:
            continue
        dates = cell.split.dataset.series.dates
        rows = np.searchsorted(dates, np.array(list(last), dtype="datetime64[D]")) + 1
        again = fit.at(np.isin(fit.windows.origin, rows))
        repeats.append(RepeatedForecast(fit=again, sealed=last, made_anew=False))
    if not repeats:
        return None
    newest = repeats[-1]
    start = last_fit(store, newest.fit)
    if cell.learns and kept_fit(store, cell, newest.fit) is not None and not isinstance(start, str):
        repeats.append(dataclasses.replace(newest, made_anew=True))
    task = Task.of(
        grid,
        digest([cell.line, "maintenance", cell.environment]),
        fits=[(cell, each.fit) for each in repeats],
        kept=[None if each.made_anew else kept_fit(store, cell, each.fit) for each in repeats],
        follows=[
            start if each.made_anew and isinstance(start, LastFit) else None for each in repeats
        ],
    )
    return Event(cell=cell, before=before, repeats=tuple(repeats), task=task)


def difference(store: Store, event: Event, finished: Finished) -> str:
    """Where the forecasts made again differ from those sealed; empty where they are equal.

    Raises
    ------
    StoreError
        When what was sealed cannot be read.
    """
    if finished.ending.kind != "done" or finished.left is None:
        return finished.ending.reason
    for number, (repeat, job) in enumerate(zip(event.repeats, event.task.jobs, strict=True)):
        try:
            folder = finished.left / str(number)
            left = read_left(folder, job, vouched=finished.ending.vouched)
        except StoreError as problem:
            return str(problem).replace(f"{finished.left}/", "")
        if left.part is None:
            return "it left no result"
        apart = _apart(store, event.cell, repeat, left.part)
        if apart:
            made = "the repeated fit" if repeat.made_anew else "the kept fit"
            return f"{made} forecasts {apart}"
    return ""


def _apart(store: Store, cell: GridCell, repeat: RepeatedForecast, again: Part) -> str:
    """The first origin that is not equal, in words."""
    series = cell.split.dataset.series

    def read() -> tuple[dict[str, Answered], dict[str, Part]]:
        # where another process has merged parts since, they lie in another file
        there = {**repeat.sealed, **answered(store, cell, repeat.fit)}
        return there, {each.key: store.read_sealed(each.key, each.seal) for each in there.values()}

    there, files = settled(store, read)
    for row, day in enumerate(map(str, again.cutoff)):
        each = there[day]
        sealed = files[each.key].at(np.array([each.place]))
        mine = again.at(np.array([row]))
        if bool(sealed.reason[0]) != bool(mine.reason[0]):
            return f"{day} differently: {mine.reason[0] or 'what failed before does not now'}"
        if mine.reason[0]:
            continue
        if (mine.form, mine.forecast.levels.tolist()) != (
            sealed.form,
            sealed.forecast.levels.tolist(),
        ):
            return f"{day} in another form"
        last = abs(float(series.target[int(np.searchsorted(series.dates, np.datetime64(day)))]))
        worst = max(
            float(np.max(np.abs(one - other)))
            for one, other in zip(mine.numbers(), sealed.numbers(), strict=True)
        )
        if not worst <= TOLERANCE * last:
            return f"{day} differently, by up to {worst / last:.2g} of the last value"
    return ""


def record_event(store: Store, event: Event, difference: str) -> str:
    """Record what came of an event: the line goes on, or its results begin anew.

    Returns
    -------
    str
        The difference that is recorded: of several hosts, the first one's.
    """
    body = {
        "cell": str(event.cell),
        "environment": event.cell.environment,
        "changed": event.changed(),
        "equal": not difference,
        "difference": difference,
        "origins": event.origins,
    }
    with store.journal.writing():
        known = store.maintenance(event.cell.line) or {"results": ""}
        if known.get("environment") == event.cell.environment:
            return str(known["difference"])
        body["results"] = known["results"]
        if difference:
            body["results"] = digest([event.cell.environment, datetime.now(UTC).isoformat()])
        store.journal.append("maintenance", event.cell.line, body)
    return difference


def begin_anew(grid: Grid, store: Store, cells: Sequence[GridCell]) -> Grid:
    """Begin the results of some cells anew, whatever their environment."""
    for line, cell in {cell.line: cell for cell in cells}.items():
        body = {
            "cell": str(cell),
            "environment": cell.environment,
            "changed": "asked for by --recompute",
            "equal": False,
            "difference": "not compared",
            "origins": 0,
            "results": digest([line, datetime.now(UTC).isoformat()]),
        }
        store.journal.append("maintenance", line, body)
    return as_stored(grid, store)
