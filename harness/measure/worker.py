"""A measured process: one arm, told step by step what to do, with each step metered.

Commands come as lines of JSON on standard input; one reply each goes to what was standard output.
What an arm prints goes to the log.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import signal
import sys
import time
import traceback
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from harness.arm import Arm, HasWeights, Learns, Loads, Samples, training_of
from harness.forecast import LEVELS, Forecast
from harness.measure.feed import Feed, copied
from harness.running.meter import Meter, why_no_peaks
from harness.running.unit import Job, attempt, one_line
from harness.window import Array, Contexts, context_at

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
        self._arm = self._built()
        self._feed = Feed(job=self._job, length=self._arm.context_length, seed=order)
        self._singles = self._feed.singles()
        self._single: dict[int, Forecast] = {}
        self._offline: list[Forecast] = []

    def open(self) -> dict[str, Any]:
        """Answer what importing the arm's libraries and building it took."""
        return self._phases()

    def load(self, *, state: str | None) -> dict[str, Any]:
        """Read weights, or the state a fit left, as the phase ``load``."""
        with self._meter.phase("load"):
            if state is not None:
                self._arm = pickle.loads(Path(state).read_bytes())  # noqa: S301  # as above
            elif isinstance(self._arm, Loads):
                self._arm.load()
        files = self._arm.weight_files() if isinstance(self._arm, HasWeights) else ()
        stored = [Path(state)] if state is not None else list(files)
        return self._phases() | {"stored_bytes": sum(each.stat().st_size for each in stored)}

    def fit(self, *, state: str) -> dict[str, Any]:
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
        return self._phases() | {"epochs": len(training.curve), "not_kept": kept}

    def first(self) -> dict[str, Any]:
        """Forecast one window, as the phase ``first``."""
        with self._meter.phase("first"):
            self._call(*next(self._singles))
        return self._phases()

    def steady(self, *, calls: int) -> dict[str, Any]:
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
        return self._phases() | {"calls": spent, "cpu": cpu}

    def offline(self, *, batch: int) -> dict[str, Any]:
        """Forecast all windows of the plan in batches."""
        parts = self._feed.passes(batch)
        with self._meter.phase("offline"):
            start = time.perf_counter()
            answers = [self._forecast(contexts) for contexts in parts]
            spent = time.perf_counter() - start
        self._offline = self._offline or answers
        return self._phases() | {"span": spent, "windows": sum(map(len, parts))}

    def repeat(self, *, pairs: int) -> dict[str, Any]:
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
        return {"fresh": fresh, "again": again}

    def rest(self) -> dict[str, Any]:
        """Answer the plan's windows that no timed call has come to yet, one at a time."""
        missing = len(self._feed.fitted_windows()) - len(self._single)
        while missing:
            number, contexts = next(self._singles)
            if number is not None:
                self._call(number, contexts)
                missing -= 1
        return {}

    def answers(self, *, file: str) -> dict[str, Any]:
        """Write what was forecast while timed."""
        numbers = sorted(self._single)
        fitted = len(self._feed.fitted_windows())
        arrays: dict[str, Any] = {"number": np.array(numbers, dtype=np.int64)}
        arrays |= _arrays("single", [self._single[number] for number in numbers], len(numbers))
        arrays |= _arrays("offline", self._offline, fitted)
        np.savez(file, **arrays)
        return {}

    def profile(self, *, table: str, memory: str, batch: int) -> dict[str, Any]:
        """Profile one pass over all windows; see `harness.measure.profile`."""
        from harness.measure.profile import profiled

        parts = self._feed.passes(batch)
        profiled(
            lambda: [self._forecast(contexts) for contexts in parts], Path(table), Path(memory)
        )
        return {}

    def energy(self, *, batch: int, seconds: float) -> dict[str, Any]:
        """Kilowatt hours of passes over all windows, by codecarbon."""
        from harness.measure.energy import energy_of

        def once() -> int:
            parts = self._feed.passes(batch)
            return sum(len(self._forecast(contexts).point) for contexts in parts)

        return energy_of(once, seconds=seconds)

    def _built(self) -> Arm:
        """Import the arm's libraries and build it, as the phase ``import``."""
        with self._meter.phase("import"):
            kind = self._job.ref.find()
            for name in getattr(kind, "heavy_modules", ()):
                importlib.import_module(name)
            arm = self._job.ref.build()
        torch = sys.modules.get("torch")
        if torch is not None:
            torch.set_num_threads(self._job.threads)
        if isinstance(arm, Samples):
            arm.seed(self._job.seed)
        return arm

    def _call(self, number: int | None, contexts: Contexts) -> None:
        answer = self._forecast(contexts)
        if number is not None:
            self._single[number] = answer

    def _forecast(self, contexts: Contexts) -> Forecast:
        return self._arm.forecast(contexts)

    def _phases(self) -> dict[str, Any]:
        meter = self._meter
        return {
            "seconds": meter.seconds,
            "cpu_seconds": meter.cpu_seconds,
            "peak_bytes": meter.peak_bytes,
            "start_bytes": meter.start_bytes,
            "gpu_allocated": meter.gpu_allocated,
            "gpu_reserved": meter.gpu_reserved,
            "no_peaks": self._no_peaks,
        }


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
    _end_with_parent()
    replies = _taken_output()
    _say(replies, {"ready": True})
    workers: list[Worker] = []

    def obey(command: dict[str, Any]) -> dict[str, Any]:
        what = command.pop("do")
        assert what in COMMANDS
        if what == "open":
            workers.append(Worker(job=command.pop("job"), order=command.pop("order")))
        reply: dict[str, Any] = getattr(workers[0], what)(**command)
        return reply

    for line in iter(sys.stdin.readline, ""):
        reply, problem = attempt(partial(obey, json.loads(line)))
        if problem is not None:
            traceback.print_exception(problem)
            reply = {"failed": one_line(problem)}
        assert reply is not None
        _say(replies, reply)


def _end_with_parent() -> None:
    """Ask Linux to kill this process when the launcher ends, even while it is stopped."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _taken_output() -> TextIO:
    """Take standard output for replies; what is printed from now on goes to the log."""
    handle = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(handle, "w", encoding="utf-8")


def _say(replies: TextIO, reply: dict[str, Any]) -> None:
    replies.write(json.dumps(reply) + "\n")
    replies.flush()


if __name__ == "__main__":
    main()
