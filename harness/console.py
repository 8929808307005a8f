"""Progress on standard error: a live line in a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TextIO

from harness.grid import GridCell

_QUIET_S = 30.0
"""In a log, say something at least this often."""

_BAR_WIDTH = 24


@dataclass(slots=True)
class LineProgress:
    """Says what starts and ends, with an estimate of what is left.

    The estimate is the mean time of finished units of the same arm (of all units, while that arm
    has none), over the workers that run.
    """

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    workers: int = 1
    _left: list[GridCell] = field(default_factory=list)
    _spent: dict[str, list[float]] = field(default_factory=dict)
    _running: dict[str, float] = field(default_factory=dict)
    _total: int = 0
    _done: int = 0
    _start: float = 0.0
    _said: float = 0.0

    def begin(self, cells: Sequence[GridCell], *, done: int) -> None:
        """Say how much there is to do."""
        self._left = list(cells)
        self._total, self._done = len(cells) + done, done
        self._start = self._said = time.monotonic()
        kept = f", {done} already in the store" if done else ""
        self._say(f"running {len(cells)} of {self._total} units on {self.workers} workers{kept}")

    def started(self, cell: GridCell) -> None:
        """Note that a unit started."""
        self._running[str(cell)] = time.monotonic()

    def ended(self, cell: GridCell, seconds: float, *, failed: int, problem: str) -> None:
        """Say how a unit ended and how long the rest will take."""
        self._running.pop(str(cell), None)
        self._left = [other for other in self._left if other.key != cell.key]
        self._spent.setdefault(cell.arm.name, []).append(seconds)
        self._done += 1
        result = f"{failed} windows FAILED" if failed else "ok"
        text = f"[{self._done}/{self._total}] {cell}: {problem or result}, {seconds:.1f} s"
        self._say(text + self._rest())

    def tick(self) -> None:
        """Redraw the live line, or speak up when the log was quiet for long."""
        if self.stream.isatty():
            text = f"{self._bar()} {', '.join(self._running)}{self._rest()}"
            self.stream.write(f"\r\x1b[K{text[: _width()]}")
            self.stream.flush()
        elif time.monotonic() - self._said > _QUIET_S:
            self._say(f"... {', '.join(self._running)} running{self._rest()}")

    def end(self) -> None:
        """Say how long it took."""
        self._say(f"{self._done}/{self._total} units in {_clock(time.monotonic() - self._start)}")

    def _bar(self) -> str:
        """Units done, as a bar; a running unit counts half."""
        share = (self._done + len(self._running) / 2) / max(self._total, 1)
        full = round(_BAR_WIDTH * share)
        bar = "#" * full + "." * (_BAR_WIDTH - full)
        return f"[{bar}] {self._done}/{self._total} units"

    def _rest(self) -> str:
        """Estimate what is left, as text; nothing before the first unit ended."""
        every = [seconds for spent in self._spent.values() for seconds in spent]
        if not every or not self._left:
            return ""
        mean = sum(every) / len(every)
        need = 0.0
        for cell in self._left:
            spent = self._spent.get(cell.arm.name)
            need += sum(spent) / len(spent) if spent else mean
        need -= sum(time.monotonic() - start for start in self._running.values())
        return f", about {_clock(max(need, 0.0) / self.workers)} left"

    def _say(self, text: str) -> None:
        clear = "\r\x1b[K" if self.stream.isatty() else ""
        self.stream.write(f"{clear}{text}\n")
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
