"""Progress of a training run on standard error, with an estimate of what is left."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TextIO


@dataclass(slots=True, kw_only=True)
class TrainingProgress:
    """One line that is redrawn in a terminal; in a log a line from time to time.

    Attributes
    ----------
    every_s
        Seconds between lines of a log.
    """

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    every_s: float = 15.0
    _steps: int = 0
    _began_at: int = 0
    _start: float = 0.0
    _said: float = 0.0

    def begin(self, done: int, steps: int) -> None:
        """Say where it starts."""
        self._steps, self._began_at = steps, done
        self._start = self._said = time.monotonic()
        gone_on = f", going on after step {done:,}" if done else ""
        self.stream.write(f"training {steps:,} steps{gone_on}\n")
        self.stream.flush()

    def step(self, done: int, loss: float | None) -> None:
        """Say how far it is, where a row of the curve was completed."""
        now = time.monotonic()
        terminal = self.stream.isatty()
        last = done == self._steps
        if loss is None or not (terminal or last or now - self._said >= self.every_s):
            return
        pace = (done - self._began_at) / max(now - self._start, 1e-9)
        left = "" if last else f", about {clock((self._steps - done) / pace)} left"
        text = f"step {done:,} of {self._steps:,}, loss {loss:.4f}, {pace:.1f} steps/s{left}"
        self.stream.write(f"\r\x1b[K{text}" if terminal else f"{text}\n")
        self.stream.write("\n" if terminal and last else "")
        self.stream.flush()
        self._said = now


def clock(seconds: float) -> str:
    """Seconds as text."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
