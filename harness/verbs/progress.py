"""Progress on standard error: a live line in a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from harness.errors import escaped

if TYPE_CHECKING:
    from harness.running.fill import Doing

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
    _left: list[Doing] = field(default_factory=list)
    _spent: dict[str, list[float]] = field(default_factory=dict)
    _started: dict[str, float] = field(default_factory=dict)
    _shares: Mapping[str, float] = field(default_factory=dict)
    _total: int = 0
    _done: int = 0
    _start: float = 0.0
    _said: float = 0.0

    def begin(self, cells: Sequence[Doing], *, done: int) -> None:
        """Say how much there is to do."""
        self._left = list(cells)
        self._total, self._done = len(cells) + done, done
        self._start = self._said = time.monotonic()
        kept = f", {done} already in the store" if done else ""
        self._say(f"running {len(cells)} of {self._total} units on {self.workers} workers{kept}")

    def started(self, cell: Doing) -> None:
        """Note that a unit started."""
        self._started[cell.key] = time.monotonic()

    def ended(self, cell: Doing, seconds: float, *, failed: int, reason: str) -> None:
        """Say how a unit ended and how long the rest will take."""
        self._started.pop(cell.key, None)
        self._left = [other for other in self._left if other.key != cell.key]
        self._spent.setdefault(cell.kind, []).append(seconds)
        self._done += 1
        result = f"{failed} windows FAILED ({reason})" if failed else "ok"
        text = f"[{self._done}/{self._total}] {cell}: {result}, {seconds:.1f} s"
        self._say(text + self._rest())

    def unanswered(self, cell: Doing, reason: str, *, again: bool) -> None:
        """Say that the system kept a unit from a result, and when it is tried again."""
        self._started.pop(cell.key, None)
        if not again:
            self._left = [other for other in self._left if other.key != cell.key]
        when = "it runs again after the others" if again else "the same command runs it again"
        self._say(f"{cell}: NO ANSWER ({reason}); {when}")

    def tick(self, shares: Mapping[str, float]) -> None:
        """Redraw the live line, or speak up when the log was quiet for long."""
        self._shares = shares
        running = ", ".join(str(cell) for cell in self._left if cell.key in self._started)
        if self.stream.isatty():
            text = escaped(f"{self._bar()} {running}{self._rest()}")
            self.stream.write(f"\r\x1b[K{text[: _width()]}")
            self.stream.flush()
        elif time.monotonic() - self._said > _QUIET_S:
            self._say(f"... {running} running{self._rest()}")

    def end(self) -> None:
        """Say how long it took."""
        self._say(f"{self._done}/{self._total} units in {_clock(time.monotonic() - self._start)}")

    def _bar(self) -> str:
        """Units done, as a bar; running units count by their share of windows."""
        share = (self._done + sum(self._shares.values())) / max(self._total, 1)
        full = min(_BAR_WIDTH, round(_BAR_WIDTH * share))
        bar = "#" * full + "." * (_BAR_WIDTH - full)
        return f"[{bar}] {self._done}/{self._total} units"

    def _rest(self) -> str:
        """Estimate what is left, as text."""
        need, sure = 0.0, True
        for cell in self._left:
            whole, known = self._expected(cell.kind)
            need += max(whole - self._elapsed(cell.key), 0.0)
            sure &= known
        if not self._left or not (need or self._spent):
            return ""
        return f", {'about' if sure else 'at least'} {_clock(need / self.workers)} left"

    def _expected(self, arm: str) -> tuple[float, bool]:
        """Seconds a unit of an arm takes, and whether that is more than a lower bound."""
        spent = self._spent.get(arm)
        if spent:
            return sum(spent) / len(spent), True
        running = [c.key for c in self._left if c.kind == arm and c.key in self._started]
        shared = [key for key in running if self._shares.get(key)]
        if shared:
            return max(self._elapsed(key) / self._shares[key] for key in shared), True
        every = [seconds for others in self._spent.values() for seconds in others]
        mean = sum(every) / len(every) if every else 0.0
        return max([mean, *map(self._elapsed, running)]), False

    def _elapsed(self, key: str) -> float:
        start = self._started.get(key)
        return 0.0 if start is None else time.monotonic() - start

    def _say(self, text: str) -> None:
        clear = "\r\x1b[K" if self.stream.isatty() else ""
        self.stream.write(f"{clear}{escaped(text)}\n")
        self.stream.flush()
        self._said = time.monotonic()


def _width() -> int:
    import shutil

    return shutil.get_terminal_size().columns - 1


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
