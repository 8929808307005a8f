"""Progress on standard error: a live line in a terminal, plain lines in a log."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from harness.errors import escaped

if TYPE_CHECKING:
    from harness.running.fill import RunningWork

_QUIET_S = 30.0
"""In a log, say something at least this often."""

_BAR_WIDTH = 24


@dataclass(slots=True)
class LineProgress:
    """Says what starts and ends, with an estimate of what is left.

    A unit is expected to take as long as finished units of its arm did on the mean; while there
    is none, as long as the share of windows that a running one has done makes it; while there is
    not even that, at least as long as the running ones have taken, or as units took on the mean.
    """

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    workers: int = 1
    _left: dict[str, set[str]] = field(default_factory=dict)  # kind -> keys
    _spent: dict[str, tuple[float, int]] = field(default_factory=dict)  # kind -> seconds, units
    # key -> what runs, and when it started
    _running: dict[str, tuple[RunningWork, float]] = field(default_factory=dict)
    _shares: Mapping[str, float] = field(default_factory=dict)
    _total: int = 0
    _done: int = 0
    _start: float = 0.0
    _said: float = 0.0

    def begin(self, cells: Sequence[RunningWork], *, done: int) -> None:
        """Say how much there is to do."""
        self._left = {}
        for cell in cells:
            self._left.setdefault(cell.kind, set()).add(cell.key)
        self._total, self._done = len(cells) + done, done
        self._start = self._said = time.monotonic()
        kept = f", {done} already in the store" if done else ""
        workers = f"{self.workers} worker{'s' * (self.workers != 1)}"
        self._say(f"running {len(cells)} of {self._total} units on {workers}{kept}")

    def started(self, cell: RunningWork) -> None:
        """Note that a unit started."""
        self._running[cell.key] = (cell, time.monotonic())

    def ended(
        self, cell: RunningWork, seconds: float, *, failed: int, reason: str, pending: int = 0
    ) -> None:
        """Say how a unit ended and how long the rest will take."""
        self._running.pop(cell.key, None)
        self._forget(cell)
        before, units = self._spent.get(cell.kind, (0.0, 0))
        self._spent[cell.kind] = (before + seconds, units + 1)
        self._done += 1
        result = f"no result ({reason})" if reason else "ok"
        if failed:
            result = f"{failed} window{'s' * (failed > 1)} FAILED ({reason})"
        elif pending:
            result = f"ok, no forecast for {pending} window{'s' * (pending > 1)} to come ({reason})"
        text = f"[{self._done}/{self._total}] {cell}: {result}, {seconds:.1f} s"
        self._say(text + self._rest())

    def unanswered(self, cell: RunningWork, reason: str, *, again: bool) -> None:
        """Say that the system kept a unit from a result, and when it is tried again."""
        self._running.pop(cell.key, None)
        if not again:
            self._forget(cell)
        when = "it runs again after the others" if again else "the same command runs it again"
        self._say(f"{cell}: NO ANSWER ({reason}); {when}")

    def tick(self, shares: Mapping[str, float]) -> None:
        """Redraw the live line, or speak up when the log was quiet for long.

        Units that run count by their share of windows.
        """
        self._shares = shares
        running = ", ".join(str(cell) for cell, _ in self._running.values())
        if self.stream.isatty():
            share = (self._done + sum(shares.values())) / max(self._total, 1)
            full = min(_BAR_WIDTH, round(_BAR_WIDTH * share))
            bar = f"[{'#' * full:.<{_BAR_WIDTH}}] {self._done}/{self._total} units"
            text = escaped(f"{bar} {running}{self._rest()}")
            self.stream.write(f"\r\x1b[K{text[: shutil.get_terminal_size().columns - 1]}")
            self.stream.flush()
        elif time.monotonic() - self._said > _QUIET_S:
            self._say(f"... {running} running{self._rest()}")

    def end(self) -> None:
        """Say how long it took."""
        self._say(f"{self._done}/{self._total} units in {_clock(time.monotonic() - self._start)}")

    def _forget(self, cell: RunningWork) -> None:
        keys = self._left.get(cell.kind, set())
        keys.discard(cell.key)
        if not keys:
            self._left.pop(cell.kind, None)

    def _rest(self) -> str:
        """Estimate what is left, as text."""
        if not self._left:
            return ""
        now, need, sure = time.monotonic(), 0.0, True
        elapsed: dict[str, dict[str, float]] = {}
        for key, (cell, start) in self._running.items():
            elapsed.setdefault(cell.kind, {})[key] = now - start
        for kind, keys in self._left.items():
            running = elapsed.get(kind, {})
            whole, known = self._expected(kind, running)
            need += whole * (len(keys) - len(running))
            need += sum(max(whole - spent, 0.0) for spent in running.values())
            sure &= known
        if not (need or self._spent):
            return ""
        return f", {'about' if sure else 'at least'} {_clock(need / self.workers)} left"

    def _expected(self, kind: str, running: Mapping[str, float]) -> tuple[float, bool]:
        """Seconds a unit of a kind takes, and whether that is more than a lower bound.

        Parameters
        ----------
        running
            Seconds that those running of it have taken so far, by key.
        """
        if kind in self._spent:
            seconds, units = self._spent[kind]
            return seconds / units, True
        shared = [key for key in running if self._shares.get(key)]
        if shared:
            return max(running[key] / self._shares[key] for key in shared), True
        units = sum(units for _, units in self._spent.values())
        mean = sum(seconds for seconds, _ in self._spent.values()) / max(units, 1)
        return max([mean, *running.values()]), False

    def _say(self, text: str) -> None:
        clear = "\r\x1b[K" if self.stream.isatty() else ""
        self.stream.write(f"{clear}{escaped(text)}\n")
        self.stream.flush()
        self._said = time.monotonic()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
