"""Inputs for timed calls: none comes twice, and those of the plan lie hidden among others."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.forecast import LEVELS
from harness.running.unit import Job
from harness.window import Contexts, Rows, Series, contexts_at

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
        other = np.setdiff1d(self._possible(), planned)
        draw.shuffle(other)
        first = np.concatenate([planned, other[: len(planned)]])
        draw.shuffle(first)
        origins = np.concatenate([first, other[len(planned) :]])
        number = {origin: index for index, origin in enumerate(planned.tolist())}
        for turn in self._endless():
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

    def _possible(self) -> Rows:
        """Rows an origin may stand at for timing: enough history, nothing after the last one."""
        windows = self.job.windows.origin
        least = int(windows[0]) if self.length is None else min(self.length, int(windows[0]))
        return np.arange(max(least, 1), int(windows[-1]) + 1)

    def _endless(self) -> Iterator[int]:
        turn = 0
        while True:
            yield turn
            turn += 1

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
