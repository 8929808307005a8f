"""A migration killed at random moments: the night, a move, and a router that serves meanwhile.

After every kill there is one stage, the records fold, and what went on serving answered every
request by the arm of a stage that stood. In the end the stream equals one that was never killed.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from in_process import InThisProcess
from made_up_migration import Migration

from harness.rollout.past_moves import replay
from harness.rollout.router import Rollout
from harness.rollout.stream import read_pairs
from harness.running import fill

HERE = Path(__file__).parents[1]
CHILD = f"""
import sys
sys.path[:0] = [{str(HERE / "building")!r}]
import json, numpy as np
from pathlib import Path
from in_process import InThisProcess, Quiet
from made_up_migration import Migration
from harness.data.dataset import load
from harness.rollout.router import Rollout
from harness.rollout.stages import RefusedError
from harness.running import fill
fill.LocalProcesses = InThisProcess
found = Migration(sessions=int(sys.argv[2]))
print("up", flush=True)
if sys.argv[1] == "night":
    found.open().run(workers=1, progress=Quiet())
if sys.argv[1] == "move":
    for _ in range(20):
        night = found.open()
        try:
            night.advance()
        except RefusedError:
            night.rollback("drill")
if sys.argv[1] == "router":
    series = load("A", [Path("data")]).series
    with Rollout.open("rollout.toml", store="runs", data_dir=["data"]) as router:
        for _ in range(10000):
            answer = router.forecast("A", series.target, dates=series.dates)
            print(json.dumps([answer.stage, answer.served_by, answer.reason]), flush=True)
"""
SERVES = {"legacy": "old", "shadow": "old", "all": "new"}


def killed(what: str, sessions: int, after_s: float) -> list[str]:
    """Start a process, kill it and all it started so long after it is up, and give its lines."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, what, str(sessions)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        time.sleep(after_s)
        os.killpg(child.pid, signal.SIGKILL)
        return [line for line in child.stdout.read().splitlines() if line.endswith("]")]


class Serving(threading.Thread):
    """A router that goes on answering, and what of its answers was wrong."""

    def __init__(self, router: Rollout, values: np.ndarray, days: np.ndarray) -> None:
        super().__init__()
        self.router, self.values, self.days = router, values, days
        self.wrong: list[str] = []
        self.count, self.over = 0, threading.Event()

    def run(self) -> None:
        """Ask until it is over."""
        while not self.over.is_set():
            answer = self.router.forecast("A", self.values, dates=self.days)
            honest = answer.forecast.point[0, 0] == self.values[-1]  # only the legacy repeats it
            said = (answer.stage, answer.served_by, answer.reason)
            if honest != (answer.served_by == "old"):
                self.wrong.append(f"credited to the wrong arm: {said}")
            if answer.served_by != SERVES[answer.stage] and not answer.reason:
                self.wrong.append(f"not the arm of its stage, and no flag: {said}")
            self.count += 1


@pytest.mark.slow
def test_a_migration_survives_kills(tmp_path, monkeypatch, sized):
    """One stage at every moment, every request answered, and a stream as if nothing happened."""
    rng, kills = random.Random(7), sized(3, 100)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fill, "LocalProcesses", InThisProcess)
    found = Migration()
    found.write(stages='["shadow", "all"]', options="noise = 0.001", keys="budget = 1000.0")
    found.judge()
    found.open().advance()
    shutil.copytree("runs", "calm")
    found.night(1)
    moves, before = 0, found.sessions
    values = np.linspace(100.0, 101.0, 40)
    days = found.days()[found.sessions - 40 : found.sessions]
    router = Rollout.open("rollout.toml", store="runs", data_dir=["data"])
    serving = Serving(router, values, days)
    serving.start()
    for number in range(kills):
        what = ("night", "move", "router")[number % 3]
        if what == "night":
            found.grow(1)
            found.judge()
        longest = {"night": 1.5, "move": 4.0, "router": 4.0}[what]
        for line in killed(what, found.sessions, longest * rng.random()):
            stage, served_by, reason = json.loads(line)
            assert reason or SERVES[stage] == served_by
        state = found.open().state  # folds, or raises
        assert len(state.moves) >= moves
        moves = len(state.moves)
        assert set(state.served_by.values()) == {SERVES[state.moves[-1].stage]}
        assert not replay(found.open()).differ
    serving.over.set()
    serving.join()
    router.close()
    state, _ = found.night(1)

    assert not serving.wrong
    assert serving.count > kills
    night = found.open()
    killed_pairs = read_pairs(night.settings, night.grid(state), night.store)
    shutil.rmtree("runs")
    shutil.move("calm", "runs")
    calm, _ = found.night(0)
    night = found.open()
    calm_pairs = read_pairs(night.settings, night.grid(calm), night.store)
    assert before < found.sessions
    for one, other in zip(killed_pairs, calm_pairs, strict=True):
        assert np.array_equal(one.day, other.day)
        for side in ("candidate", "legacy"):
            ours, theirs = getattr(one, side), getattr(other, side)
            assert np.array_equal(ours.early, theirs.early, equal_nan=True)
            assert np.array_equal(ours.whole, theirs.whole, equal_nan=True)
