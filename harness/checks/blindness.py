"""Whether forecasts can have used the future: stored fits are asked again where none is at hand.

Every context ends at its origin. But an arm may know the future otherwise: from the later windows
of its batch, from what it kept of an earlier call, or from a file on its disk. So what is stored is
held against what the same fit answers

* *in order*: alone, in a fresh process that was handed the rows up to that origin and no more;
* *under other dates*: the same rows with all dates 28 years back, where the calendar is the same,
  so that weekdays and months are too. An arm that looks something up by date finds another day;
* *at other prices*: for arms that learn nothing and read no weights, the same rows in another unit.
  A path that is on no scale of the prices anyway has no unit, and cannot be asked so: what it is
  worth is judged by its path.

Where a way shows a difference, the fit is asked in order a second time, and once more in one
process: an arm that does not repeat itself need not know anything.

The processes are those of a run, with its limits, environment and names: an arm cannot tell.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from harness.arm_ref import ArmRef
from harness.checks.placebo import Placebo, confirmed, continued
from harness.data.tables import count_text
from harness.errors import StoreError
from harness.forecast import Forecast
from harness.judging.price_scale import on_another_scale
from harness.parsing import parse_record
from harness.running.cells import answered, cell_record, has_cell, read_cell
from harness.running.executor import Executor, Finished, LocalProcesses, Task
from harness.running.grid import Grid, GridCell, PlannedFit, preload_for
from harness.running.sources import digest, harness_digest
from harness.running.store_folder import Store
from harness.running.stored_cell import StoredCell
from harness.running.work import read_left
from harness.scoring.scores import Truth, score
from harness.window import Rows, Series, up_to

KIND = "future"
"""Kind of its records in the journal; the key is that of the fit."""
LEAST = 8
"""Origins of a fit that are asked again; three times as many while that is cheap."""
CHEAP = 0.1
"""Share of what the stored forecasts took that more than the least may cost."""
SAME = 1e-5
"""Forecasts that are no farther apart, as a share of the price, are the same."""
SAME_SCALED = 1e-3
DAYS = 10_227
"""28 years: the calendar repeats."""
FACTOR = 4.0
"""A power of 2, so that sums round alike."""
RECORDED = ("harness.recorded:Recorded", "issued", "each record says when it was issued")
"""Arm of ours that plays records back, and what its card says where each is timed: it did not
forecast here, and what was issued late counts as failed. A log cannot be asked again: where records
are not timed, nothing is tested."""
PAIRED = "harness.fallback:WithFallback"
"""Arm of ours that answers by its primary; what the fallback answers never earns it anything."""

Way = Literal["in order", "under other dates", "at other prices"]
NEEDED: tuple[Way, ...] = ("in order", "under other dates")
"""Ways that every fit must have been asked in."""
State = Literal["passed", "failed", "not tested"]
Answer = tuple[Rows, Forecast] | str
"""What a task forecast at which origins, or why the system gave no answer."""
Found = TypeVar("Found")
Asking = Generator[Sequence[Task], Sequence[Finished], Found]
"""Hands out tasks and is sent how they ended, in their order, until it has found something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedAgain:
    """What one fit answered in one way.

    Attributes
    ----------
    origins
        How many it was asked at.
    apart
        Largest distance from what is stored, as a share of the price; None where a forecast that
        is stored did not come again.
    at
        Last session seen where it is farthest apart.
    why
        Why it was not tested.
    """

    way: Way
    state: State
    origins: int = 0
    apart: float | None = None
    at: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitAsked:
    """Everything a fit was asked again: one result a way.

    Attributes
    ----------
    asked, forecasts
        Last sessions seen at the origins it was asked at, and a digest of what is stored there.
    code
        Digest of the code that asked.
    repeats
        Whether it answered alike in order, again in order, and in one process; None where no way
        failed, or it gave no answer to compare.
    placebo
        Of the first fit on a dataset, against the reference arm.
    """

    arm: str
    dataset: str
    seed: int
    cutoff: str
    asked: tuple[str, ...]
    forecasts: str
    code: str
    found: tuple[AskedAgain, ...]
    repeats: bool | None = None
    placebo: Placebo | None = None


def ask_again(
    grid: Grid,
    store: Store,
    arms: Sequence[str],
    *,
    workers: int,
    reference: str | None = None,
    tell: Callable[[str], None] = lambda text: None,
    executor: Executor | None = None,
) -> None:
    """Ask every fit of some arms again that was not yet, and record what came of it.

    Parameters
    ----------
    workers
        Processes at a time.
    reference
        Arm whose skill is set against the placebo's; left out, there is no placebo.
    tell
        Told what is about to happen.
    executor
        Where arms run; left out, in processes on this machine.
    """
    cells = [cell for cell in grid.cells if cell.arm.name in arms and has_cell(store, cell)]
    known = asked_fits(store, cells)
    by_key = {
        fit.key: (cell, fit)  # one fit may serve two arms that are the same but for their names
        for cell in cells
        for fit in judging_fits(cell)
        if fit.key not in known and played_back(cell.arm) is None
    }
    todo = list(by_key.values())
    if not todo:
        return
    names = sorted({cell.arm.name for cell, _ in todo})
    fits = count_text(len(todo), "fit")
    tell(f"asking {fits} of {' and '.join(names)} again, in order and under other dates")
    processes: Executor = executor or LocalProcesses(
        threads=grid.experiment.run.threads,
        preload=preload_for(cell for cell, _ in todo),
    )
    seconds = (
        sum(cell_record(store, cell).seconds.values())
        for cell in {id(c): c for c, _ in todo}.values()
    )
    spare = _Spare(seconds=CHEAP * sum(seconds))

    def asked(cell: GridCell, fit: PlannedFit) -> Asking[None]:
        stored = read_cell(store, cell)
        asking = _FitAsking(grid=grid, store=store, cell=cell, fit=fit, stored=stored)
        found = yield from asking.all(spare)
        bar = _first_of(grid, store, reference, cell.dataset)
        first = _first_of(grid, store, cell.arm.name, cell.dataset)
        if bar is not None and fit is cell.fits[0] and cell is first:
            held = yield from _placebo(grid, store, cell, bar)
            found = dataclasses.replace(found, placebo=held)
        store.journal.append(KIND, fit.key, dataclasses.asdict(found))

    try:
        _side_by_side((asked(*each) for each in todo), processes, workers=workers)
    finally:
        processes.cancel()


def is_exempt(cell: GridCell, store: Store) -> bool:
    """Whether an arm plays back records that say when they were issued."""
    title = played_back(cell.arm)
    return title is not None and cell_record(store, cell).card.get(title) == RECORDED[2]


def played_back(arm: ArmRef) -> str | None:
    """Title on the card of an arm whose forecasts are records, also as a primary; else None."""
    use, before = arm.use, ""
    inside: object = arm.options.get("primary")
    while use == PAIRED and isinstance(inside, Mapping):
        use, before = str(inside.get("use")), f"{before}primary: "
        inside = inside.get("primary")
    return f"{before}{RECORDED[1]}" if use == RECORDED[0] else None


def asked_fits(store: Store, cells: Sequence[GridCell]) -> dict[str, FitAsked]:
    """What was recorded of the fits of some cells by this code, on the forecasts stored now."""
    wanted = {fit.key: (cell, fit) for cell in cells for fit in cell.fits}
    found = {}
    for key, record in store.journal.newest(KIND).items():
        if key not in wanted:
            continue
        said = parse_record(FitAsked, store.journal.body(record), where=f"{KIND} {key[:12]}")
        if (said.code, said.forecasts) == (
            _code(),
            _stored_digest(store, *wanted[key], said.asked),
        ):
            found[key] = said
    return found


def _code() -> str:
    return harness_digest(__name__)


def _stored_digest(store: Store, cell: GridCell, fit: PlannedFit, cutoffs: Sequence[str]) -> str:
    """Digest of what is stored at some origins of a fit."""
    there = answered(store, cell, fit)
    return digest([there[each].digest if each in there else "" for each in cutoffs])


def judging_fits(cell: GridCell) -> list[PlannedFit]:
    """The fits of a cell that are judged: not one made for an origin whose outcome is to come."""
    return [fit for fit in cell.fits if len(_judged(cell, fit))]


def _judged(cell: GridCell, fit: PlannedFit) -> Rows:
    """Judged origins that a fit serves."""
    last = int(cell.split.windows.origin[-1])
    return fit.windows.origin[fit.windows.origin <= last]


def _first_of(grid: Grid, store: Store, arm: str | None, dataset: str) -> GridCell | None:
    """The cell of an arm's first seed on a dataset, if it is stored."""
    mine = (cell for cell in grid.cells if (cell.arm.name, cell.dataset) == (arm, dataset))
    return next((cell for cell in mine if has_cell(store, cell)), None)


def _placebo(grid: Grid, store: Store, cell: GridCell, bar: GridCell) -> Asking[Placebo | None]:
    """Ask the first fit of an arm and of the reference about a made-up continuation.

    Window by window, as all that is asked again: who looked at the later windows of its batch and
    kept its answers for the second time never saw these.
    """
    series, plan = cell.split.dataset.series, cell.split.plan
    fit = cell.fits[0]
    fit_at = int(fit.windows.fitted_at[0])
    made = continued(series, fit_at, horizon=plan.horizon, gap=plan.gap, seed=int(fit.key[:12], 16))
    if made is None:
        return None
    fake, windows = made
    truth = Truth.of(cell.dataset, fake, windows)
    there, here, tasks, kept = [], [], [], []
    for each in (cell, bar):
        stored = read_cell(store, each)
        asking = _FitAsking(grid=grid, store=store, cell=each, fit=each.fits[0], stored=stored)
        task = asking.task(f"placebo of {fit.key}", each.fits[0].windows.origin[:1], series)
        rows = up_to(fake, int(windows.origin[-1]))
        job = dataclasses.replace(task.jobs[0], series=rows, windows=windows)
        tasks.append(dataclasses.replace(task, jobs=(job,)))
        kept.append(stored)
    ended = yield tasks
    answers = [_read(each) for each in ended]
    for each, stored, answer in zip((cell, bar), kept, answers, strict=True):
        if isinstance(answer, str):
            return None
        arm, role = each.arm.name, each.arm.role
        there.append(score(truth, answer[1], arm=arm, role=role, seed=each.seed))
        judged = Truth.of(cell.dataset, series, each.split.windows)
        here.append(
            score(
                judged,
                stored.forecast,
                arm=arm,
                role=role,
                seed=each.seed,
                reasons=stored.reason,
            )
        )
    return confirmed(*here, *there)


@dataclass(slots=True, kw_only=True)
class _Spare:
    """Seconds that all fits together may still take beyond the least."""

    seconds: float


@dataclass(slots=True, kw_only=True)
class _FitAsking:
    """One fit that is asked again."""

    grid: Grid
    store: Store
    cell: GridCell
    fit: PlannedFit
    stored: StoredCell

    def all(self, spare: _Spare) -> Asking[FitAsked]:
        """Ask in every way, and in order more often while seconds are to spare."""
        origins = self.chosen()
        found = []
        least, rest = origins[:LEAST], origins[LEAST:]
        in_order, spent = yield from self.in_order(np.sort(least))
        if in_order.state == "passed" and spent > 0:  # as many more as there is time for
            rest = rest[: max(0, int(spare.seconds * len(least) / spent))]
        if in_order.state == "passed" and len(rest):
            spare.seconds -= spent * len(rest) / len(least)
            more, _ = yield from self.in_order(np.sort(rest))
            in_order = (
                more
                if more.state != "passed"
                else dataclasses.replace(
                    in_order,
                    origins=in_order.origins + more.origins,
                    apart=max(in_order.apart or 0.0, more.apart or 0.0),
                )
            )
        found.append(in_order)
        asked = np.sort(least)
        found.append((yield from self.once("under other dates", _redated, asked, limit=SAME)))
        if not self.cell.learns and not self.cell.identity.get("weights"):
            found.append((yield from self.rescaled(asked)))
        failed = any(each.state == "failed" for each in found)
        repeats = (yield from self.repeats(asked)) if failed else None
        return FitAsked(
            arm=self.cell.arm.name,
            dataset=self.cell.dataset,
            seed=self.cell.seed,
            cutoff=self.fit.cutoff,
            asked=tuple(self.days(asked)),
            forecasts=_stored_digest(self.store, self.cell, self.fit, self.days(asked)),
            code=_code(),
            found=tuple(found),
            repeats=repeats,
        )

    def chosen(self) -> Rows:
        """Origins with a forecast, spread over the fit, the least ones first.

        Which ones, in which order, is drawn from the fit's key: no author of an arm knows it.
        """
        fine = np.array([not text for text in self.stored.reason])
        judged = _judged(self.cell, self.fit)
        there = judged[np.isin(judged, self.stored.origin[fine])]
        rng = np.random.default_rng(int(self.fit.key[:12], 16))
        picked: list[int] = []
        for share in (LEAST, 2 * LEAST):
            left = np.setdiff1d(there, picked)
            parts = np.array_split(left, min(share, len(left))) if len(left) else []
            picked += rng.permutation([int(rng.choice(part)) for part in parts]).tolist()
        return np.array(picked, dtype=np.int64)

    def days(self, origins: Rows) -> list[str]:
        """The last session seen at origins."""
        dates = self.cell.split.dataset.series.dates[origins - 1]
        return [str(day) for day in dates.astype("datetime64[D]")]

    def task(self, name: str, origins: Rows, series: Series) -> Task:
        """Ask the fit at some origins, each alone, on rows before the last of them."""
        windows = self.fit.windows
        at = np.searchsorted(windows.origin, origins)
        job = dataclasses.replace(
            self.grid.job(self.cell, windows),
            series=up_to(series, int(origins[-1])),
            windows=windows.part(at),
            batch=1,
            days_moved=int((series.dates[0] - self.cell.split.dataset.series.dates[0]).astype(int)),
        )
        settings = self.grid.experiment.run
        known = self.store.fit(self.fit.key)
        kept = known is not None and (known.saved or not self.cell.learns)
        return Task(
            key=digest([name, self.fit.key, origins.tolist()]),
            jobs=(job,),
            kept=(self.store.fit_folder(self.fit.key) if kept else None,),
            time_limit_s=settings.time_limit_s,
            memory_limit_mib=settings.memory_limit_mib,
        )

    def in_order(self, origins: Rows) -> Asking[tuple[AskedAgain, float]]:
        """A process for each origin, or one for all where no fit was kept; with the seconds."""
        if not len(origins):
            return AskedAgain(way="in order", state="not tested", why="no forecast is stored"), 0.0
        ended = yield self.tasks_in_order(origins)
        answers = [_read(each) for each in ended]
        spent = sum(each.seconds for each in ended)
        return self.compared("in order", answers, limit=SAME), spent

    def tasks_in_order(self, origins: Rows) -> list[Task]:
        """A task for each origin, or one for all where no fit was kept."""
        series = self.cell.split.dataset.series
        whole = self.task("in order", origins, series)
        if whole.kept[0] is None and self.cell.learns:
            return [whole]
        return [self.task("in order", origins[at : at + 1], series) for at in range(len(origins))]

    def repeats(self, origins: Rows) -> Asking[bool | None]:
        """Whether it answers alike if nothing is changed: in order twice, and in one process."""
        whole = self.task("in one process", origins, self.cell.split.dataset.series)
        one, two = self.tasks_in_order(origins), self.tasks_in_order(origins)
        answers = [_read(each) for each in (yield [*one, *two, whole])]
        told: list[tuple[Forecast, int]] = []
        for each in answers:
            if isinstance(each, str):
                return None
            told += [(each[1], row) for row in range(len(each[0]))]
        last = np.abs(self.cell.split.dataset.series.target[origins - 1])
        first = told[: len(origins)] * 2
        for at, ((kept, row), (other, place)) in enumerate(
            zip(first, told[len(origins) :], strict=True)
        ):
            silent = not kept.finite[row] and not other.finite[place]
            far = SAME * (float(last[at % len(origins)]) or 1.0)
            if not silent and not _apart(kept, row, other, place, 1.0) <= far:
                return False
        return True

    def once(
        self,
        way: Way,
        change: Callable[[Series], Series | None],
        origins: Rows,
        *,
        limit: float,
    ) -> Asking[AskedAgain]:
        """Ask in one process on changed rows."""
        if not len(origins):
            return AskedAgain(way=way, state="not tested", why="no forecast is stored")
        last = up_to(self.cell.split.dataset.series, int(origins[-1]))
        changed = change(last)
        if changed is None:
            return AskedAgain(way=way, state="not tested", why="its dates leave the calendar")
        (ended,) = yield [self.task(way, origins, changed)]
        factor = FACTOR if way == "at other prices" else 1.0
        return self.compared(way, [_read(ended)], limit=limit, factor=factor)

    def rescaled(self, origins: Rows) -> Asking[AskedAgain]:
        """Ask on prices in another unit, unless nothing that is stored is on their scale at all."""
        stored, windows = self.stored.forecast, self.cell.split.windows
        judged = stored.finite & np.isin(self.stored.origin, windows.origin)
        at = np.searchsorted(windows.origin, self.stored.origin[judged])
        target = self.cell.split.dataset.series.target
        actual, last = target[windows.judged[at]], target[windows.origin[at] - 1]
        paths = [stored.point]
        if stored.quantiles is not None:
            paths.append(stored.quantiles[..., len(stored.levels) // 2])
        if stored.samples is not None:
            paths.append(np.median(stored.samples, axis=1))
        if all(on_another_scale(path[judged], actual, last) for path in paths):
            why = "its path is nowhere near the prices"
            return AskedAgain(way="at other prices", state="not tested", why=why)
        return (yield from self.once("at other prices", _rescaled, origins, limit=SAME_SCALED))

    def compared(
        self,
        way: Way,
        answers: Sequence[Answer],
        *,
        limit: float,
        factor: float = 1.0,
    ) -> AskedAgain:
        """Hold answers against what is stored."""
        silent = [each for each in answers if isinstance(each, str)]
        if silent:
            return AskedAgain(way=way, state="not tested", why=silent[0])
        last = self.cell.split.dataset.series.target
        worst, at, count = 0.0, "", 0
        for origins, forecast in (each for each in answers if not isinstance(each, str)):
            rows = np.searchsorted(self.stored.origin, origins)
            for place, (origin, row) in enumerate(
                zip(origins.tolist(), rows.tolist(), strict=True)
            ):
                apart = _apart(self.stored.forecast, row, forecast, place, factor)
                apart /= abs(float(last[origin - 1])) or 1.0
                count += 1
                if not apart <= worst:
                    worst, at = apart, self.days(np.array([origin]))[0]
        fine = worst <= limit
        return AskedAgain(
            way=way,
            state="passed" if fine else "failed",
            origins=count,
            apart=worst if np.isfinite(worst) else None,
            at="" if fine else at,
        )


def _apart(stored: Forecast, row: int, again: Forecast, place: int, factor: float) -> float:
    """Largest difference of two forecasts; infinite where one has no number, or another form."""
    worst = 0.0
    for name in ("point", "quantiles", "samples", "deviation"):
        one, other = getattr(stored, name), getattr(again, name)
        if (one is None) != (other is None):
            return np.inf
        if one is None:
            continue
        if one[row].shape != other[place].shape:
            return np.inf
        gap = float(np.abs(one[row] - other[place] / factor).max(initial=0.0))
        worst = max(worst, gap) if np.isfinite(gap) else np.inf
    return worst


@dataclass(slots=True, kw_only=True)
class _Group:
    """Tasks that an asking waits for, and how those of them ended that have.

    By identity: two may be equal, such as an arm's and the reference's where they are one.
    """

    asking: Asking[None]
    tasks: Sequence[Task]
    ended: dict[int, Finished] = dataclasses.field(default_factory=dict)


def _side_by_side(askings: Iterable[Asking[None]], processes: Executor, *, workers: int) -> None:
    """Carry out what askings hand out; the next is begun where a worker would stand idle."""
    coming, running = iter(askings), 0
    waiting: deque[Task] = deque()
    groups: dict[int, _Group] = {}

    def go_on(asking: Asking[None], ended: Sequence[Finished] | None) -> None:
        with suppress(StopIteration):
            tasks = next(asking) if ended is None else asking.send(ended)
            group = _Group(asking=asking, tasks=tasks)
            groups.update({id(task): group for task in tasks})
            waiting.extend(tasks)

    while True:
        while len(waiting) + running < workers and (asking := next(coming, None)) is not None:
            go_on(asking, None)
        while waiting and running < workers and processes.submit(waiting[0]):
            waiting.popleft()
            running += 1
        if not waiting and not running:
            return
        for finished in processes.poll():
            running -= 1
            group = groups.pop(id(finished.task))
            group.ended[id(finished.task)] = finished
            if len(group.ended) == len(group.tasks):
                go_on(group.asking, [group.ended[id(task)] for task in group.tasks])


def _read(finished: Finished) -> Answer:
    """What a task answered; what it left is removed."""
    job = finished.task.jobs[0]
    nothing = Forecast.of_point(np.full((len(job.windows), job.windows.horizon), np.nan))
    try:
        if finished.ending.kind == "no answer" or finished.left is None:
            return finished.ending.reason or "it ended without a result"
        if finished.ending.kind == "failed":
            return job.windows.origin, nothing
        left = read_left(finished.left / "0", job, vouched=finished.ending.vouched)
    except StoreError as problem:
        return str(problem)
    finally:
        if finished.left is not None:
            shutil.rmtree(finished.left, ignore_errors=True)
    if left.part is None:
        return job.windows.origin, nothing
    return job.windows.origin, left.part.forecast


def _redated(series: Series) -> Series | None:
    """The same rows 28 years earlier, or later where that is before the calendar repeats."""
    first, last = series.dates[0], series.dates[-1]
    if first - DAYS >= np.datetime64("1900-03-01"):
        move = -DAYS
    elif last + DAYS < np.datetime64("2100-01-01"):
        move = DAYS
    else:
        return None
    return dataclasses.replace(series, dates=series.dates + np.timedelta64(move, "D"))


def _rescaled(series: Series) -> Series:
    """The same rows in another unit: the target, and covariates that are prices like it."""
    past = series.past.copy()
    for column in range(past.shape[1]):
        with np.errstate(all="ignore"):
            ratio = np.nanmedian(past[:, column] / series.target)
        if 0.5 < ratio < 2:
            past[:, column] *= FACTOR
    return dataclasses.replace(series, target=FACTOR * series.target, past=past)
