"""Before judging: does a later session change a forecast? Asked once of both arms of a pair.

Each arm is tried by `abharness check` in a process of its own, so that judging loads no framework,
and the answer is kept in the store for as long as arm and battery are the same code.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import IO, TYPE_CHECKING

from harness.verbs.saying import say

if TYPE_CHECKING:
    from harness.battery.nouns import CheckResult
    from harness.running.grid import Grid
    from harness.running.store import Store

WAIT_S = 3600.0
"""How long to wait while something is timed on this host."""

LIMIT_S = 600.0
"""An arm that takes longer for a fit and a few windows of a made-up series stays untested."""


def try_blindness(
    grid: Grid, store: Store, *, baseline: str | None = None, candidate: str | None = None
) -> None:
    """Try both arms of the pair that have units and were not tried yet.

    A failure to try is said, not raised.

    Parameters
    ----------
    baseline, candidate
        Arms in place of the policy's.
    """
    from harness.gate.provenance import FUTURE, tried_for_future
    from harness.running.lease import lease

    policy = grid.experiment.policy
    pair = (baseline or policy.baseline, candidate or policy.candidate)
    known = tried_for_future(grid, store)
    there = {cell.arm.name for cell in grid.cells if store.has_unit(cell.key)}
    for arm in pair:
        if arm in known or arm not in there:
            continue
        say(f"trying whether {arm} sees the future ({FUTURE}), once", err=True)
        with lease("shared", f"abharness check {arm}", wait_s=WAIT_S, tell=_tell):
            problem = _try(grid, store, arm, FUTURE)
        _tell_note(arm, problem, tried_for_future(grid, store).get(arm))


def _tell_note(arm: str, problem: str, found: CheckResult | None) -> None:
    """Say why there is no answer, where there is none."""
    if problem or found is None:
        _tell(f"note: {arm} could not be tried: {problem or 'it ended without a result'}")
    elif found.outcome not in ("pass", "fail"):
        _tell(f"note: {arm} stays untested: {found.reason}")


def _tell(text: str) -> None:
    say(text, err=True)


def _try(grid: Grid, store: Store, arm: str, code: str) -> str:
    """Carry out one predicate in a fresh process; '' or what went wrong, in a line."""
    from harness.running.executor import signal_name

    settings = grid.experiment.run
    options = ("--experiment", grid.experiment.source, "--as", "arm", "--only", code)
    words = ("check", *options, "--store", str(store.root), "--", arm)
    limit_s = min(LIMIT_S, settings.time_limit_s)
    with tempfile.TemporaryFile() as said:  # a pipe would wait for whatever the arm started
        ended = _ended(words, limit_s=limit_s, threads=settings.threads, said=said)
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
    if ended is None:
        return f"no answer within {limit_s:g} s"
    if ended < 0:
        return f"its process was ended by {signal_name(-ended)}"
    return "" if ended == 0 else (lines or ["no reason given"])[-1]


def _ended(words: tuple[str, ...], *, limit_s: float, threads: int, said: IO[bytes]) -> int | None:
    """What a command of ours ended with; None where it was stopped for its time.

    What it started ends with it.
    """
    from harness.running.executor import end_family

    process = subprocess.Popen(  # noqa: S603  # our own program
        [sys.executable, "-P", "-m", "harness", *words],
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=said,
        process_group=0,
    )
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        end_family(process.pid, alive=process.returncode is None)
        process.wait()
