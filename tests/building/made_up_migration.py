"""A migration on made-up prices whose dates lie ahead, so that nightly forecasts are in time."""

from __future__ import annotations

import datetime as dt
import hashlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from in_process import InThisProcess, Quiet

from harness.data.importer import import_file
from harness.gate.judge import judge_grid, judging_digest
from harness.gate.registration import register
from harness.rollout.night import OpenRollout
from harness.rollout.settings import read_rollout
from harness.rollout.stages import Move, RolloutState
from harness.running import fill
from harness.running.store_folder import open_store

ARMS = '''
"""Two sides that err alike, and a candidate that goes wrong in the way and the days it is told."""

import os
import time
from dataclasses import dataclass

import numpy as np

from harness.forecast import Forecast


@dataclass(slots=True, kw_only=True)
class Side:
    noise: float = 0.0
    since: str = ""
    fault: str = ""
    fault_from: str = "9999-01-01"
    fault_to: str = "9999-12-31"

    @property
    def context_length(self):
        return 30

    def forecast(self, contexts):
        path = np.repeat(contexts.last[:, None], contexts.horizon, axis=1)
        days = np.datetime_as_string(contexts.dates[:, -1], "D").tolist()
        for place, day in enumerate(days):
            draw = np.random.default_rng(int(day.replace("-", ""))).standard_normal()
            if day >= self.since:
                path[place] *= 1 + self.noise * draw
            if self.fault_from <= day <= self.fault_to:
                self.go_wrong(path, place)
        spread = np.linspace(0.97, 1.03, len(contexts.levels))
        return Forecast.of_quantiles(path[:, :, None] * spread, contexts.levels, path)

    def go_wrong(self, path, place):
        if self.fault == "raise":
            raise RuntimeError("told to raise")
        if self.fault == "nan":
            path[place] = np.nan
        if self.fault == "wild":
            path[place] *= 5.0
        if self.fault == "hang":
            time.sleep(600)
        if self.fault == "slow":
            time.sleep(0.3)
        if self.fault == "die":
            os._exit(3)
        if self.fault == "eat":
            self.kept = np.ones(100_000_000)
            time.sleep(600)
'''.replace("    fault_to: str", "    kept: object = None\n    fault_to: str")

EXPERIMENT = """
title = "A migration"
datasets = ["A", "B"]

[plan]
horizon = 5
stride = 5
origins = 40
validation = 60

[[arms]]
name = "old"
use = "sides:Side"
role = "legacy"

[[arms]]
name = "new"
use = "sides:Side"
role = "candidate"
{options}

[policy]
baseline = "old"
candidate = "new"
mode = "replace"
min_origins = 10

[[policy.criteria]]
metric = "mae"
margin = 0.05

[policy.looks]
max_origins = 60
attempts = 1
"""
ROLLOUT = """
experiment = "move.toml"
stages = {stages}
{keys}
"""
SESSIONS = 620


@dataclass(slots=True, kw_only=True)
class Migration:
    """A migration in the folder the test works in.

    Attributes
    ----------
    sessions
        Of the data, now.
    first_day
        Of the data; in the past every forecast comes after its outcome.
    made_once
        Keeps the store of a first look for all tests that begin with the same.
    """

    sessions: int = SESSIONS
    first_day: str = "2031-01-01"
    made_once: Callable[..., Path] | None = None

    def days(self) -> np.ndarray:
        """The sessions there can ever be."""
        return _days(self.first_day)

    def write(self, *, stages: str, keys: str = "", options: str = "") -> None:
        """Write experiment, rollout and data."""
        Path("sides.py").write_text(ARMS, encoding="utf-8")
        Path("move.toml").write_text(EXPERIMENT.format(options=options), encoding="utf-8")
        Path("rollout.toml").write_text(ROLLOUT.format(stages=stages, keys=keys), encoding="utf-8")
        self.grow(0)

    def grow(self, sessions: int) -> None:
        """Let more sessions come."""
        self.sessions += sessions
        shutil.rmtree("data", ignore_errors=True)
        for file, content in _imported(self.first_day, self.sessions).items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)

    def open(self) -> OpenRollout:
        """The rollout as another process would open it."""
        return OpenRollout(
            settings=read_rollout(Path("rollout.toml")),
            store=open_store(Path("runs")),
            folders=[Path("data")],
        )

    def judge(self) -> str:
        """The look of a night; gives the outcome."""
        if self.made_once is None or Path("runs").exists():
            return self._look()

        def make(folder: Path) -> None:
            (folder / "outcome").write_text(self._look(), encoding="utf-8")
            Path("runs").rename(folder / "runs")

        text = f"{Path('move.toml').read_text(encoding='utf-8')}{self.first_day}{self.sessions}"
        kept = self.made_once(f"look-{hashlib.sha256(text.encode()).hexdigest()}", make)
        shutil.copytree(kept / "runs", "runs")
        return (kept / "outcome").read_text(encoding="utf-8")

    def _look(self) -> str:
        night = self.open()
        grid = fill.prepare(night.settings.experiment, night.folders, night.store)
        register(grid, night.store, code=judging_digest())
        grid = fill.fill(
            grid, night.store, workers=1, progress=Quiet(), executor=InThisProcess()
        ).grid
        policy = night.settings.experiment.policy
        return judge_grid(grid, night.store, policy=policy).verdict.outcome.value

    def night(self, sessions: int = 1) -> tuple[RolloutState, Move | None]:
        """Let sessions come, and the job of the night run."""
        self.grow(sessions)
        return self.open().run(workers=1, progress=Quiet())


def _days(first: str) -> np.ndarray:
    return np.busday_offset(first, np.arange(1200), roll="forward")


@cache
def _imported(first_day: str, sessions: int) -> dict[Path, bytes]:
    """The files of the data of so many sessions, which every migration shares."""
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(("A", "B")):
            change = 0.01 * np.random.default_rng(number).standard_normal(1200)
            prices = 100 * np.exp(np.cumsum(change))
            rows = [
                f"{day},{price:.6f}" for day, price in zip(_days(first_day), prices, strict=True)
            ]
            text = "\n".join(["date,price", *rows[:sessions]]) + "\n"
            import_file(
                Path(f"{name}.csv"),
                raw=text.encode(),
                dataset_id=name,
                target="price",
                date="date",
                folder=Path(folder),
                today=dt.date(2040, 1, 1),
            )
        files = [file for file in Path(folder).rglob("*") if file.is_file()]
        return {"data" / file.relative_to(folder): file.read_bytes() for file in files}
