"""Filling a grid without starting a process: all of the loop, none of the start-up."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.running.executor import Finished, Task, with_fits
from harness.running.fill import RunningWork
from harness.running.supervisor import Ending
from harness.running.work import carry_out_all


class InThisProcess:
    """Carries out tasks where it is, one per poll.

    Attributes
    ----------
    done
        Tasks that were carried out.
    """

    def __init__(self, **_: object) -> None:
        self.done: list[Task] = []
        self._waiting: list[Task] = []

    def submit(self, task: Task) -> bool:
        self._waiting.append(task)
        return True

    def poll(self) -> list[Finished]:
        task, start = self._waiting.pop(0), time.monotonic()
        scratch = Path(tempfile.mkdtemp(prefix="task"))
        carry_out_all(with_fits(task, scratch), scratch)
        self.done.append(task)
        done = Ending(kind="done")
        return [Finished(task=task, seconds=time.monotonic() - start, ending=done, left=scratch)]

    def shares(self) -> dict[str, float]:
        return {}

    def cancel(self) -> None:
        self._waiting = []


class Quiet:
    """Progress that nobody reads."""

    def begin(self, works: Sequence[RunningWork], *, done: int) -> None: ...

    def started(self, work: RunningWork) -> None: ...

    def ended(
        self, work: RunningWork, seconds: float, *, failed: int, reason: str, pending: int = 0
    ) -> None: ...

    def unanswered(self, work: RunningWork, reason: str, *, again: bool) -> None: ...

    def tick(self, shares: Mapping[str, float]) -> None: ...

    def end(self) -> None: ...
