"""One side of a migration in a process of its own: restored once, asked over a pipe.

    python -m harness.rollout.served_arm DESCRIPTOR

The first message over the descriptor says what to serve; each later one holds series to forecast.
It ends with its parent, also while an arm is busy.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from harness.arm_ref import ArmRef, attempt
from harness.errors import ArmError, exception_line
from harness.forecast import Forecast
from harness.running.identity import arm_identity
from harness.running.unit import Job, restored
from harness.window import RollingOrigin, Series, Windows

_POLL_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a worker serves.

    Attributes
    ----------
    made_of
        Of the arm, when its fits were made: nothing else is served by them.
    plans, fits
        By series: the plan, and the folder of the kept fit.
    """

    ref: ArmRef
    made_of: Mapping[str, Any]
    plans: Mapping[str, RollingOrigin]
    fits: Mapping[str, Path]
    seed: int
    threads: int


Reply = tuple[Forecast | None, str]
"""A forecast of one window, or why there is none."""


def ready(served: Served) -> dict[str, Any]:
    """Restore an arm for every series.

    Raises
    ------
    ArmError
        When its code or weights are others than those its fits were made with.
    """
    arm = served.ref.build()
    identity = arm_identity(served.ref, arm)
    other = [name for name, value in served.made_of.items() if identity[name] != value]
    if other:
        raise ArmError(
            f"arm '{served.ref.name}': its {other[0]} has changed since its fit was made; the "
            "next night starts afresh with it"
        )
    found = {}
    for name, plan in served.plans.items():
        at = np.array([1], dtype=np.int64)
        empty = Series(
            dates=np.empty(0, dtype="datetime64[D]"),
            target=np.empty(0),
            past=np.empty((0, 0)),
            past_names=(),
            weekmask="1111100",
            season=1,
        )
        windows = Windows(origin=at, fitted_at=at, horizon=plan.horizon, gap=plan.gap)
        job = Job(
            ref=served.ref,
            seed=served.seed,
            plan=plan,
            series=empty,
            windows=windows,
            threads=served.threads,
            batch=1,
            restored=served.fits[name],
        )
        found[name] = restored(job)
    return found


def main() -> None:
    """Serve over the descriptor until it is closed, or the parent is gone."""
    parent, pipe = os.getppid(), Connection(int(sys.argv[1]))

    def end_with_parent() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL_S)
        os._exit(0)

    threading.Thread(target=end_with_parent, daemon=True).start()
    served: Served = pipe.recv()
    answers, problem = attempt(lambda: ready(served))
    pipe.send("" if problem is None else exception_line(problem))
    while answers is not None:
        asked: list[tuple[str, Series]] = pipe.recv()
        replies: list[Reply] = []
        for name, series in asked:
            found, failed = attempt(lambda n=name, s=series: answers[n](s))  # type: ignore[misc]  # defaults bind
            replies.append((found, "" if failed is None else exception_line(failed)))
        pipe.send(replies)


if __name__ == "__main__":
    try:
        main()
    except (EOFError, OSError):
        os._exit(0)
