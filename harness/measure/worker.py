"""A measured process: one arm, told step by step what to do, with each step metered.

Commands come as lines of JSON on standard input; one reply each goes to what was standard output.
What an arm prints goes to the log.
"""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import json
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness.arm import Arm, HasWeights, Learns, Loads, Samples, training_of
from harness.arm_ref import attempt
from harness.errors import exception_line
from harness.forecast import LEVELS, Forecast
from harness.measure.replies import (
    Done,
    Energy,
    Fitted,
    ForecastCalls,
    LoadedReply,
    Phases,
    RepeatsReply,
    TimedPass,
)
from harness.running.meter import Meter, gpu_in_use, resident_bytes, why_no_peaks
from harness.running.unit import Job
from harness.window import Array, Contexts, Rows, Series, context_at, contexts_at


def energy_of(once: Callable[[], int], *, seconds: float) -> Energy:
    """Repeat work for some seconds and ask codecarbon what it took.

    Parameters
    ----------
    once
        Forecasts some windows and says how many.

    Returns
    -------
    Energy
        On machines without power counters codecarbon estimates from the processor's rated power.
    """
    try:
        from codecarbon import OfflineEmissionsTracker
    except ImportError:
        return Energy(reason="codecarbon is not installed; the extra `energy` brings it")
    tracker = OfflineEmissionsTracker(
        country_iso_code="USA",  # for emissions, which are not read
        save_to_file=False,
        log_level="error",
        tracking_mode="process",
        allow_multiple_runs=True,
    )
    tracker.start()
    windows, end = 0, time.monotonic() + seconds
    while not windows or time.monotonic() < end:
        windows += once()
    tracker.stop()
    found = getattr(tracker, "final_emissions_data", None)
    if found is None:  # codecarbon logs what goes wrong in it and goes on
        return Energy(reason="codecarbon gave no figure; it said why in its log")
    return Energy(kwh=float(found.energy_consumed), windows=windows)


_STEP = 1e-6
"""Each further pass over the same origins scales the series by this share more: other numbers of
the same kind, which no memory of earlier ones helps with."""


@dataclass(slots=True)
class Feed:
    """Contexts of a job, one after the other.

    Parameters
    ----------
    job
        What is measured.
    length
        Sessions the arm reads; None is all.
    seed
        Of the order.
    """

    job: Job
    length: int | None
    seed: int
    _passes: int = field(default=0, init=False)

    def fitted_windows(self) -> Rows:
        """Origins of the plan that the first fit answers, [W]."""
        windows = self.job.windows
        found: Rows = windows.origin[windows.fitted_at == windows.fitted_at[0]]
        return found

    def singles(self) -> Iterator[tuple[int | None, Contexts]]:
        """One window at a time, without end: its number in the plan (None: not in it), context.

        The plan's own windows come once, unscaled, spread over the first inputs.
        """
        draw = np.random.default_rng(self.seed)
        planned = self.fitted_windows()
        windows = self.job.windows.origin
        least = int(windows[0]) if self.length is None else min(self.length, int(windows[0]))
        possible = np.arange(max(least, 1), int(windows[-1]) + 1)  # nothing after the last origin
        other = np.setdiff1d(possible, planned)
        draw.shuffle(other)
        first = np.concatenate([planned, other[: len(planned)]])
        draw.shuffle(first)
        origins = np.concatenate([first, other[len(planned) :]])
        number = {origin: index for index, origin in enumerate(planned.tolist())}
        for turn in itertools.count():
            series = self._scaled(turn)
            for origin in origins.tolist():
                known = number.get(origin) if turn == 0 else None
                yield known, self._contexts(series, np.array([origin]))

    def passes(self, batch: int) -> list[Contexts]:
        """All windows of the plan in batches; scaled anew in each call but the first."""
        series = self._scaled(-self._passes)
        self._passes += 1
        origins = self.job.windows.origin
        return [
            self._contexts(series, origins[start : start + batch])
            for start in range(0, len(origins), batch)
        ]

    def _scaled(self, turn: int) -> Series:
        series = self.job.series
        if turn == 0:
            return series
        return dataclasses.replace(series, target=series.target * (1 + turn * _STEP))

    def _contexts(self, series: Series, origins: Rows) -> Contexts:
        return contexts_at(series, origins, plan=self.job.plan, length=self.length, levels=LEVELS)


def copied(contexts: Contexts) -> Contexts:
    """The same numbers in other memory."""
    fresh = {name: getattr(contexts, name).copy() for name in ("dates", "target", "past", "length")}
    for values in fresh.values():
        values.flags.writeable = False
    return dataclasses.replace(contexts, **fresh)


def batch_sizes(windows: int) -> Sequence[int]:
    """Batch sizes worth trying for so many windows."""
    return sorted({min(size, windows) for size in (1, 8, 32, 128, 512)})


Reply = Phases | LoadedReply | Fitted | ForecastCalls | TimedPass | RepeatsReply | Energy | Done

COMMANDS = (
    "open", "load", "fit", "first", "steady", "offline", "repeat", "rest", "answers", "profile",
    "energy",
)  # fmt: skip
_PR_SET_PDEATHSIG = 1


class Worker:
    """One arm and its meter."""

    def __init__(self, *, job: str, order: int) -> None:
        self._meter, self._no_peaks = Meter(), why_no_peaks()
        self._job: Job = pickle.loads(Path(job).read_bytes())  # noqa: S301  # the session wrote it
        with self._meter.phase("import"):
            kind = self._job.ref.find()
            for name in getattr(kind, "heavy_modules", ()):
                importlib.import_module(name)
            self._arm: Arm = self._job.ref.build()
        torch = sys.modules.get("torch")
        if torch is not None:
            torch.set_num_threads(self._job.threads)
        if isinstance(self._arm, Samples):
            self._arm.seed(self._job.seed)
        self._feed = Feed(job=self._job, length=self._arm.context_length, seed=order)
        self._singles = self._feed.singles()
        self._single: dict[int, Forecast] = {}
        self._offline: list[Forecast] = []

    def open(self) -> Phases:
        """Answer what importing the arm's libraries and building it took."""
        return self._phases()

    def load(self, *, state: str | None) -> LoadedReply:
        """Read weights, or the state a fit left, as the phase ``load``."""
        with self._meter.phase("load"):
            if state is not None:
                self._arm = pickle.loads(Path(state).read_bytes())  # noqa: S301  # as above
            elif isinstance(self._arm, Loads):
                self._arm.load()
        files = self._arm.weight_files() if isinstance(self._arm, HasWeights) else ()
        stored = [Path(state)] if state is not None else list(files)
        return LoadedReply(stored_bytes=sum(each.stat().st_size for each in stored))

    def fit(self, *, state: str) -> Fitted:
        """Fit at the first origin, as the phase ``fit``; keep what it learnt in a file."""
        assert isinstance(self._arm, Learns)
        origin = int(self._job.windows.fitted_at[0])
        context = context_at(self._job.series, origin, plan=self._job.plan)
        with self._meter.phase("fit"):
            training = training_of(self._arm.fit(context, seed=self._job.seed))
        kept = ""
        try:
            Path(state).write_bytes(pickle.dumps(self._arm))
        except (pickle.PicklingError, AttributeError, TypeError) as problem:
            kept = f"{type(problem).__name__}: {problem}"
        return Fitted(phases=self._phases(), epochs=len(training.curve), not_kept=kept)

    def first(self) -> Phases:
        """Forecast one window, as the phase ``first``."""
        with self._meter.phase("first"):
            self._call(*next(self._singles))
        return self._phases()

    def steady(self, *, calls: int) -> ForecastCalls:
        """Forecast one window at a time; the first call of a turn is not counted."""
        inputs = [next(self._singles) for _ in range(calls + 1)]
        spent = []
        with self._meter.phase("steady"):
            self._call(*inputs[0])
            cpu = time.process_time()
            for number, contexts in inputs[1:]:
                start = time.perf_counter()
                self._call(number, contexts)
                spent.append(time.perf_counter() - start)
            cpu = time.process_time() - cpu
        return ForecastCalls(seconds=tuple(spent), cpu=cpu)

    def offline(self, *, batch: int) -> TimedPass:
        """Forecast all windows of the plan in batches."""
        parts = self._feed.passes(batch)
        with self._meter.phase("offline"):
            start = time.perf_counter()
            answers = [self._forecast(contexts) for contexts in parts]
            spent = time.perf_counter() - start
        self._offline = self._offline or answers
        return TimedPass(phases=self._phases(), span=spent, windows=sum(map(len, parts)))

    def repeat(self, *, pairs: int) -> RepeatsReply:
        """Time new inputs, each followed by the same numbers once more."""
        fresh, again = [], []
        for _ in range(pairs):
            before, (number, contexts) = next(self._singles), next(self._singles)
            same = copied(contexts)
            self._call(*before)
            start = time.perf_counter()
            self._call(number, contexts)
            middle = time.perf_counter()
            self._forecast(same)
            fresh.append(middle - start)
            again.append(time.perf_counter() - middle)
        return RepeatsReply(fresh=tuple(fresh), again=tuple(again))

    def rest(self) -> Done:
        """Answer the plan's windows that no timed call has come to yet, one at a time."""
        missing = len(self._feed.fitted_windows()) - len(self._single)
        while missing:
            number, contexts = next(self._singles)
            if number is not None:
                self._call(number, contexts)
                missing -= 1
        return Done()

    def answers(self, *, file: str) -> Done:
        """Write what was forecast while timed."""
        numbers = sorted(self._single)
        fitted = len(self._feed.fitted_windows())
        arrays: dict[str, Any] = {"number": np.array(numbers, dtype=np.int64)}
        arrays |= _arrays("single", [self._single[number] for number in numbers], len(numbers))
        arrays |= _arrays("offline", self._offline, fitted)
        np.savez(file, **arrays)
        return Done()

    def profile(self, *, table: str, memory: str, batch: int) -> Done:
        """Profile one pass over all windows; see `profiled`."""
        parts = self._feed.passes(batch)
        profiled(
            lambda: [self._forecast(contexts) for contexts in parts], Path(table), Path(memory)
        )
        return Done()

    def energy(self, *, batch: int, seconds: float) -> Energy:
        """Kilowatt hours of passes over all windows, by codecarbon."""

        def once() -> int:
            parts = self._feed.passes(batch)
            return sum(len(self._forecast(contexts).point) for contexts in parts)

        return energy_of(once, seconds=seconds)

    def _call(self, number: int | None, contexts: Contexts) -> None:
        answer = self._forecast(contexts)
        if number is not None:
            self._single[number] = answer

    def _forecast(self, contexts: Contexts) -> Forecast:
        return self._arm.forecast(contexts)

    def _phases(self) -> Phases:
        return Phases(**dataclasses.asdict(self._meter), no_peaks=self._no_peaks)


def _arrays(mode: str, answers: list[Forecast], windows: int) -> dict[str, Array]:
    """Point paths [W, H] and, where there is a distribution, quantiles [W, H, Q]."""
    if not answers:
        return {}
    arrays = {f"{mode}_point": np.concatenate([each.point for each in answers])[:windows]}
    if all(each.has_distribution for each in answers):
        levels = [each.at(LEVELS) for each in answers]
        arrays[f"{mode}_values"] = np.concatenate(levels)[:windows]
    return arrays


def main() -> None:
    """Obey until the commands end."""
    if sys.platform == "linux":  # ends with the launcher, even while it is stopped
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    handle = os.dup(1)
    os.dup2(2, 1)  # what is printed from now on goes to the log
    workers: list[Worker] = []

    def obey(command: dict[str, Any]) -> Reply:
        what = command.pop("do")
        assert what in COMMANDS
        if what == "open":
            workers.append(Worker(job=command.pop("job"), order=command.pop("order")))
        reply: Reply = getattr(workers[0], what)(**command)
        return reply

    with os.fdopen(handle, "w", encoding="utf-8") as replies:
        print("{}", file=replies, flush=True)  # it is ready
        for line in iter(sys.stdin.readline, ""):
            reply, problem = attempt(partial(obey, json.loads(line)))
            if problem is not None:
                traceback.print_exception(problem)
                print(json.dumps({"failed": exception_line(problem)}), file=replies, flush=True)
            else:
                assert reply is not None
                print(json.dumps(dataclasses.asdict(reply)), file=replies, flush=True)


_EVERY_S = 0.005
_ROWS = 40


def profiled(work: Callable[[], object], table: Path, memory: Path) -> None:
    """Carry out some work twice: once for the timeline, once under torch's profiler.

    Parameters
    ----------
    table
        Where the operators go, longest own time first; one line of reason without torch.
    memory
        Where the timeline goes, JSON: `seconds`, `resident_bytes` (null where the system does
        not tell) and, on a GPU, `gpu_bytes`.
    """
    memory.write_text(json.dumps(_timeline(work)), encoding="utf-8")
    torch = sys.modules.get("torch")
    if torch is None:
        table.write_text("this arm does not use torch\n", encoding="utf-8")
        return
    kinds = torch.profiler.ProfilerActivity
    activities = [kinds.CPU] if gpu_in_use() is None else [kinds.CPU, kinds.CUDA]
    with torch.profiler.profile(
        activities=activities, profile_memory=True, record_shapes=True
    ) as found:
        work()
    by = "self_cpu_time_total" if len(activities) == 1 else "self_device_time_total"
    operators = found.key_averages().table(sort_by=by, row_limit=_ROWS)
    table.write_text(str(operators), encoding="utf-8")


def _timeline(work: Callable[[], object]) -> dict[str, list[float | None]]:
    rows: list[tuple[float, int | None, int | None]] = []
    done = threading.Event()
    start = time.perf_counter()

    def note() -> None:
        while True:
            gpu = gpu_in_use()
            used = None if gpu is None else int(gpu.memory_allocated())
            rows.append((time.perf_counter() - start, resident_bytes(), used))
            if done.wait(_EVERY_S):
                return

    watcher = threading.Thread(target=note, daemon=True)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    seconds, resident, gpu = zip(*rows, strict=True)
    return {"seconds": [*seconds], "resident_bytes": [*resident], "gpu_bytes": [*gpu]}


if __name__ == "__main__":
    main()
