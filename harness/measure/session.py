"""One measuring session: both arms in fresh processes, side by side, taking turns.

The baseline runs as A and once more as A', the candidate as B. Each *set* starts the three anew;
within a set they take turns in rounds that read the same forwards and backwards (A B A' A' B A,
the order turning from round to round), so that whatever drifts meets all alike.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

import numpy as np

from harness.errors import AbharnessError
from harness.experiments.experiment import MeasureSettings
from harness.measure import launcher
from harness.measure.replies import (
    Done,
    Energy,
    Fitted,
    ForecastCalls,
    LoadedReply,
    Phases,
    ProcessorTime,
    RepeatsReply,
    TimedPass,
)
from harness.measure.worker import batch_sizes
from harness.parsing import parse_record
from harness.running.grid import Grid, GridCell
from harness.window import Array, Rows

_Reply = TypeVar("_Reply")
_WORKER = ("-P", "-m", "harness.measure.worker")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


class TurnError(AbharnessError):
    """A measured process ended, hung, or its arm failed; the message is one line."""


class MeasuredProcesses:
    """A launcher and the measured processes it holds.

    Parameters
    ----------
    threads
        Threads of each measured process.
    keep
        Descriptors that every process inherits: the host's lease.
    log
        Where processes print.
    limit_s
        Longest turn.
    """

    def __init__(self, *, threads: int, keep: tuple[int, ...], log: Path, limit_s: float) -> None:
        self._log, self._limit_s = log, limit_s
        environment = dict(os.environ) | dict.fromkeys(_THREADS, str(threads))
        environment["PYTHONSAFEPATH"] = "1"
        script = str(Path(launcher.__file__))
        self._process = subprocess.Popen(  # noqa: S603  # our own script
            [sys.executable, "-S", "-E", script, *map(str, keep)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            pass_fds=keep,
            start_new_session=True,  # Ctrl-C is the session's to handle
        )

    def __enter__(self) -> MeasuredProcesses:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def start(self, name: str) -> None:
        """Start a measured process; it waits for its first turn."""
        command = {
            "do": "start",
            "name": name,
            "argv": [sys.executable, *_WORKER],
            "log": str(self._log),
            "limit_s": self._limit_s,
        }
        self._ask(command, Done)

    def turn(self, name: str, what: str, kind: type[_Reply], **details: Any) -> _Reply:
        """Let a process do one thing while all others stand still.

        Parameters
        ----------
        what
            One of `worker.COMMANDS`, with its `details`.
        kind
            What it answers.

        Raises
        ------
        TurnError
            When its arm fails, or the process ends or takes too long.
        """
        message = {"do": what, **details}
        command = {"do": "turn", "name": name, "message": message, "limit_s": self._limit_s}
        return self._ask(command, kind)

    def stop(self, name: str) -> None:
        """End a process."""
        self._ask({"do": "stop", "name": name}, Done)

    def spent(self) -> float:
        """Processor seconds of the launcher and of the processes that have ended."""
        return self._ask({"do": "spent"}, ProcessorTime).seconds

    def _ask(self, command: Mapping[str, Any], kind: type[_Reply]) -> _Reply:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise TurnError("the launcher of measured processes is gone")
        reply = json.loads(line)
        for sign in ("ended", "failed"):
            if sign in reply:
                raise TurnError(str(reply[sign]))
        return parse_record(kind, reply, where=f"answer to '{command['do']}'", error=TurnError)


BASELINE, CANDIDATE, AGAIN = "A", "B", "A'"
Mode = Literal["single", "offline"]
"""One window at a time, or all of them in batches."""

_WARM_CALLS = 3
_MOST_CALLS = 2000
_REPEATS = 16
_OFFLINE_ROUNDS = 2
_ENERGY_S = 10.0


@dataclass(slots=True, kw_only=True)
class Side:
    """One arm of the pair.

    Attributes
    ----------
    windows
        Of the plan.
    learns, loads
        Whether it is fitted, and whether it reads weights.
    state
        File of what its first fit left; None where it does not learn or cannot be pickled.
    fits
        One reply per measured fit.
    batch
        Windows per call that were fastest offline; 0 until tried.
    """

    cell: GridCell
    job: Path
    windows: int
    learns: bool
    loads: bool
    state: Path | None = None
    fits: list[Fitted] = field(default_factory=list)
    batch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedForecasts:
    """What was forecast while timed.

    Attributes
    ----------
    rows : [n]
        Numbers of the plan's windows.
    point : [n, H]
    values : [n, H, Q], optional
        At `LEVELS`; None for an arm without a distribution.
    """

    rows: Rows
    point: Array
    values: Array | None


@dataclass(slots=True, kw_only=True)
class Process:
    """What one measured process showed.

    Attributes
    ----------
    phases
        Seconds and bytes by phase, as last told.
    calls
        Seconds of single calls, turn by turn.
    cpu
        Processor seconds of all of them.
    rounds
        Seconds per call in each round: the mean of its two turns' medians.
    windows
        Of a pass in batches.
    spans
        Seconds of a pass over all windows in each offline round.
    repeats
        New inputs and the same numbers once more; None for A', which is not asked.
    timed
        One window at a time, and in batches; empty where no window of the plan was forecast.
    """

    name: str
    stored_bytes: int
    phases: Phases
    calls: list[tuple[float, ...]] = field(default_factory=list)
    cpu: float = 0.0
    rounds: list[float] = field(default_factory=list)
    windows: int = 0
    spans: list[float] = field(default_factory=list)
    repeats: RepeatsReply | None = None
    timed: Mapping[Mode, TimedForecasts] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class SessionMeasurements:
    """Everything a session took."""

    sides: dict[str, Side]
    sets: list[dict[str, Process]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    energy: dict[str, Energy] = field(default_factory=dict)

    def processes(self, name: str) -> list[Process]:
        """Processes of one role, one per set."""
        return [each[name] for each in self.sets]


def make_side(grid: Grid, cell: GridCell, folder: Path, name: str) -> Side:
    """Write down what a measured process of an arm is handed."""
    job, file = grid.job(cell), folder / f"{name}.job"
    file.write_bytes(pickle.dumps(job))
    known = cell.known
    return Side(
        cell=cell, job=file, windows=len(job.windows), learns=known.learns, loads=known.loads
    )


class Session:
    """Takes the measurements, one turn after the other."""

    def __init__(
        self,
        turns: MeasuredProcesses,
        sides: dict[str, Side],
        *,
        settings: MeasureSettings,
        folder: Path,
        tell: Callable[[str], None],
    ) -> None:
        self._turns, self._settings, self._folder, self._tell = turns, settings, folder, tell
        self._start = time.monotonic()
        self.taken = SessionMeasurements(sides=sides)

    def take(self) -> str:
        """Take everything; why that failed, in a line."""
        try:
            self._fit()
            self._take_sets()
        except TurnError as problem:
            return f"an arm failed while it was measured: {problem}"
        if self._settings.energy:
            try:
                for name in (BASELINE, CANDIDATE):  # offline passes, each side alone
                    self._open(name, order=0)
                    self.taken.energy[name] = self._turns.turn(
                        name, "energy", Energy, batch=self._side(name).batch, seconds=_ENERGY_S
                    )
                    self._turns.stop(name)
            except TurnError as problem:  # never judged, so nothing else is lost
                self.taken.notes.append(f"no energy: {problem}")
        return ""

    def _fit(self) -> None:
        """Fit what learns: A B B A, or one side alone."""
        sides = self.taken.sides
        learners = [name for name in (BASELINE, CANDIDATE) if sides[name].learns]
        for turn in range(self._settings.fits):
            for name in learners if turn % 2 == 0 else learners[::-1]:
                side, file = sides[name], self._folder / f"{name}.state"
                self._tell(f"fitting {side.cell.arm.name}")
                self._turns.start(name)
                self._turns.turn(name, "open", Phases, job=str(side.job), order=0)
                reply = self._turns.turn(name, "fit", Fitted, state=str(file))
                self._turns.stop(name)
                side.fits.append(reply)
                if not reply.not_kept:
                    side.state = file
                elif len(side.fits) == 1:
                    self.taken.notes.append(
                        f"{side.cell.arm.name} was fitted in every process: {reply.not_kept}"
                    )

    def _take_sets(self) -> None:
        """Start sets of processes until enough are taken or the time is spent.

        Before the first one each arm's fastest batch size is found, in a process of its own: trying
        leaves memory behind. It also brings everything that is read from disk into its cache.
        """
        for name in (BASELINE, CANDIDATE):
            side = self.taken.sides[name]
            self._tell(f"batch sizes of {side.cell.arm.name}")
            self._open(name, order=0)
            sizes, spans = batch_sizes(side.windows), dict[int, float]()
            self._turns.turn(name, "offline", TimedPass, batch=sizes[-1])
            for size in sizes:
                spans[size] = self._turns.turn(name, "offline", TimedPass, batch=size).span
            side.batch = min(spans, key=spans.__getitem__)
            self._turns.stop(name)
        begun = time.monotonic()
        for number in range(self._settings.sets):
            now = time.monotonic()
            each = (now - begun) / max(number, 1)
            if number >= 2 and now - self._start + each > self._settings.budget_s:
                self.taken.notes.append(
                    f"{number} of {self._settings.sets} sets: the budget of "
                    f"{self._settings.budget_s:g} s was spent"
                )
                return
            self._tell(f"set {number + 1} of {self._settings.sets}")
            self.taken.sets.append(self._take_set(number))

    def profile(self, file_of: Callable[[str, str], Path]) -> None:
        """Profile one pass of each side into the files that `file_of(side, kind)` names."""
        for name in (BASELINE, CANDIDATE):
            self._open(name, order=0)
            self._turns.turn(
                name,
                "profile",
                Done,
                table=str(file_of(name, "operators")),
                memory=str(file_of(name, "memory")),
                batch=self.taken.sides[name].batch,
            )
            self._turns.stop(name)

    def _open(self, name: str, *, order: int) -> Process:
        """Start a process of a role up to its first forecast."""
        side = self._side(name)
        self._turns.start(name)
        self._turns.turn(name, "open", Phases, job=str(side.job), order=order)
        if side.learns and side.state is None:
            self._turns.turn(name, "fit", Fitted, state=str(self._folder / "unused"))
        state = None if side.state is None else str(side.state)
        loaded = self._turns.turn(name, "load", LoadedReply, state=state)
        first = self._turns.turn(name, "first", Phases)
        return Process(name=name, stored_bytes=loaded.stored_bytes, phases=first)

    def _take_set(self, number: int) -> dict[str, Process]:
        order = [BASELINE, CANDIDATE, AGAIN]
        names = order if number % 2 == 0 else order[::-1]
        found = {name: self._open(name, order=number) for name in names}
        self._singles(found)
        self._batches(found)
        for name in (BASELINE, CANDIDATE):
            found[name].repeats = self._turns.turn(name, "repeat", RepeatsReply, pairs=_REPEATS)
            self._turns.turn(name, "rest", Done)
            found[name].timed = self._answers(name)
        for name in names:
            self._turns.stop(name)
        return {name: found[name] for name in order}

    def _singles(self, found: dict[str, Process]) -> None:
        """One window at a time."""
        calls = {}
        for name in found:
            warm = self._turns.turn(name, "steady", ForecastCalls, calls=_WARM_CALLS)
            each = max(float(np.median(warm.seconds)), 1e-7)
            calls[name] = min(max(1, round(self._settings.block_s / each)), _MOST_CALLS)
        for order in _rounds(self._settings.rounds):
            medians: dict[str, list[float]] = {name: [] for name in found}
            for name in order:
                reply = self._turns.turn(name, "steady", ForecastCalls, calls=calls[name])
                found[name].calls.append(reply.seconds)
                found[name].cpu += reply.cpu
                medians[name].append(float(np.median(reply.seconds)))
            for name, pair in medians.items():
                found[name].rounds.append(float(np.mean(pair)))

    def _batches(self, found: dict[str, Process]) -> None:
        """All windows at the batch size that is fastest for each arm."""
        for name in found:
            self._turns.turn(name, "offline", TimedPass, batch=self._side(name).batch)
        for order in _rounds(_OFFLINE_ROUNDS):
            spans: dict[str, list[float]] = {name: [] for name in found}
            for name in order:
                reply = self._turns.turn(name, "offline", TimedPass, batch=self._side(name).batch)
                spans[name].append(reply.span)
                found[name].windows, found[name].phases = reply.windows, reply.phases
            for name, pair in spans.items():
                found[name].spans.append(float(np.mean(pair)))

    def _answers(self, name: str) -> dict[Mode, TimedForecasts]:
        file = self._folder / "answers.npz"
        self._turns.turn(name, "answers", Done, file=str(file))
        with np.load(file) as arrays:
            found = dict(arrays)
        if not len(found["number"]):
            return {}
        whole = found["offline_point"]
        return {
            "single": TimedForecasts(
                rows=found["number"],
                point=found["single_point"],
                values=found.get("single_values"),
            ),
            "offline": TimedForecasts(
                rows=np.arange(len(whole)), point=whole, values=found.get("offline_values")
            ),
        }

    def _side(self, name: str) -> Side:
        return self.taken.sides[CANDIDATE if name == CANDIDATE else BASELINE]


_START_S = 2.5
"""About what a fresh process takes until it can read its weights."""
_TRIAL_PASSES, _SET_PASSES = 6, 8
"""Forecasts of all windows by each process: to find batch sizes, and in a set."""


def session_s(settings: MeasureSettings, sides: Sequence[Mapping[str, float]]) -> float:
    """About how many seconds a session takes.

    Parameters
    ----------
    sides
        Seconds by phase that the unit of the baseline took, then the candidate's.
    """
    fits, starts, passes = (
        [side.get(phase, 0.0) for side in sides] for phase in ("fit", "load", "forecast")
    )
    starts = [_START_S + each for each in starts]
    begun = settings.fits * sum(fit + _START_S for fit in fits if fit)
    begun += sum(starts) + _TRIAL_PASSES * sum(passes)
    turns = 6 * settings.rounds * settings.block_s
    each = sum(starts) + starts[0] + turns + _SET_PASSES * (sum(passes) + passes[0])
    return min(begun + settings.sets * each, max(settings.budget_s, begun + 2 * each))


def _rounds(count: int) -> list[list[str]]:
    """Orders of turns: each a palindrome, begun by another process each time."""
    names = [BASELINE, CANDIDATE, AGAIN]
    orders = []
    for number in range(count):
        shift = number % len(names)
        turned = names[shift:] + names[:shift]
        orders.append(turned + turned[::-1])
    return orders
