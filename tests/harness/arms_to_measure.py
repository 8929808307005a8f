"""Arms with known costs, and arms that cheat when they are timed."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.arm import Training
from harness.forecast import Forecast

MIB = 2**20


def flat(contexts, level=1.0):
    """The last value times a level, with quantiles a fixed share around it."""
    last = np.repeat(level * contexts.last[:, None], contexts.horizon, axis=1)
    spread = np.linspace(0.9, 1.1, len(contexts.levels))
    return Forecast.of_quantiles(last[:, :, None] * spread, contexts.levels)


@dataclass(slots=True, kw_only=True)
class Busy:
    """Multiplies matrices a number of times per window."""

    work: int = 20
    context_length = 30

    def forecast(self, contexts):
        values = np.full((64, 64), 0.5)
        for _ in range(self.work * len(contexts)):
            values = np.tanh(values @ values * 0.01)
        return flat(contexts)


@dataclass(slots=True, kw_only=True)
class Holder:
    """Fills some memory while it forecasts, and some more for good when it loads."""

    mib: int = 0
    kept_mib: int = 0
    kept: object = None
    context_length = 30

    def load(self):
        self.kept = np.ones(self.kept_mib * MIB, dtype=np.uint8)

    def forecast(self, contexts):
        filled = np.ones(self.mib * MIB, dtype=np.uint8)
        assert filled[-1] == 1
        return flat(contexts)


@dataclass(slots=True, kw_only=True)
class Remembers:
    """Answers an input it has seen from memory."""

    seen: dict = field(default_factory=dict)
    context_length = 30

    def forecast(self, contexts):
        key = contexts.target.tobytes()
        if key not in self.seen:
            Busy(work=10).forecast(contexts)
            self.seen[key] = flat(contexts)
        return self.seen[key]


@dataclass(slots=True, kw_only=True)
class Hurries:
    """Forecasts something else when asked for one window at a time, as a timer does."""

    context_length = 30

    def forecast(self, contexts):
        return flat(contexts, level=1.0 if len(contexts) > 1 else 1.02)


@dataclass(slots=True, kw_only=True)
class Trained:
    """Learns a level; told not to, it cannot be kept in a file."""

    level: float = 0.0
    keeps: bool = True
    extra: object = None
    context_length = 30

    def fit(self, context, *, seed):
        time.sleep(0.05)
        self.level = float(np.mean(context.target) / np.median(context.target))
        self.extra = None if self.keeps else lambda: None
        return Training()

    def forecast(self, contexts):
        assert self.level > 0
        return flat(contexts, level=self.level)


@dataclass(slots=True, kw_only=True)
class Breaks:
    """Cannot forecast one window alone."""

    context_length = 30

    def forecast(self, contexts):
        if len(contexts) == 1:
            raise RuntimeError("one is too few")
        return flat(contexts)


@dataclass(slots=True, kw_only=True)
class Notes:
    """Writes down when it worked, and whether it was measured."""

    file: str
    context_length = 30

    def forecast(self, contexts):
        start = time.monotonic()
        time.sleep(0.005)
        with Path(self.file).open("a", encoding="utf-8") as stream:
            started = sys.modules["__main__"].__spec__
            timed = int(started is not None and started.name == "harness.measure.worker")
            stream.write(f"{start} {time.monotonic()} {timed}\n")
        return flat(contexts)
