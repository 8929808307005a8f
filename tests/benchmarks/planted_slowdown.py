"""Find out whether `abharness measure` sees a slow-down of 5 % and leaves identical arms alone.

    python tests/benchmarks/planted_slowdown.py --planted 10 --identical 20

Carries out whole measuring sessions: fresh processes, turns, interval, noise floor. A session
counts as an alarm when `Cost.differs`: the interval and the noise floor both leave 1 out. Ends
with 1 when fewer than 9 of 10 planted slow-downs are found, or identical arms alarm more than
once in 20. Results are in docs/measuring.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from harness.costs import Cost
from harness.experiments.experiment import MeasureSettings, parse_experiment
from harness.measure.pair import MeasuringTask, measure_pair
from harness.measure.record import read_measure
from harness.running.fill import fill, prepare
from harness.running.grid import Grid
from harness.running.store_folder import Store, open_store

WORK = 200
EXPERIMENT = """\
schema = 1
title = "Planted slow-down"
datasets = ["GOLD"]

[plan]
horizon = 5
stride = 5
origins = 40
history = 200
validation = 60

[[arms]]
name = "plain"
use = "planted_arms:Counted"
role = "legacy"
work = {work}

[[arms]]
name = "same"
use = "planted_arms:Counted"
role = "candidate"
work = {work}
label = "same"

[[arms]]
name = "slower"
use = "planted_arms:Counted"
role = "candidate"
work = {slower}

[policy]
baseline = "plain"
candidate = "slower"

[[policy.criteria]]
metric = "crps"
margin = 0.05
"""


class Quiet:
    """Says nothing while units run."""

    def __getattr__(self, name: str) -> object:
        return lambda *_, **__: None


def experiment(slow_down: float) -> Grid:
    """The three arms: one is the same, one does so much more."""
    text = EXPERIMENT.format(work=WORK, slower=round(WORK * (1 + slow_down)))
    folder = Path(__file__).resolve().parent
    return prepare(parse_experiment(text, source="planted", folder=folder), [])


def session(grid: Grid, store: Store, candidate: str, settings: MeasureSettings) -> Cost:
    """Measure the plain arm against another one; prints a line."""
    costs = measure_pair(
        grid, store, MeasuringTask(baseline="plain", candidate=candidate, settings=settings)
    )
    cost = costs["latency"]
    load = read_measure(store.root / costs.record).load.during.others
    print(
        f"{candidate:7} ratio {cost.ratio:.4f}  {cost.low:.4f} to {cost.high:.4f}  A/A noise "
        f"{100 * (cost.noise_floor or 0):.2f} %  others {load:.2f} cores  "
        f"{'ALARM' if cost.differs else ''}",
        flush=True,
    )
    return cost


def main() -> int:
    """Carry out the experiment and judge it."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--planted", type=int, default=10)
    options.add_argument("--identical", type=int, default=20)
    options.add_argument("--slow-down", type=float, default=0.05)
    options.add_argument("--output", type=Path, help="write all ratios as JSON")
    asked = options.parse_args()
    settings = MeasureSettings()
    grid = experiment(asked.slow_down)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "store")
        fill(grid, store, workers=1, progress=Quiet())  # type: ignore[arg-type]  # any call is taken
        same = [session(grid, store, "same", settings) for _ in range(asked.identical)]
        slower = [session(grid, store, "slower", settings) for _ in range(asked.planted)]
    found = sum(cost.differs and cost.ratio > 1 for cost in slower if cost.ratio)
    alarms = sum(cost.differs for cost in same)
    print(f"planted {asked.slow_down:.1%} found in {found} of {len(slower)} sessions")
    print(f"identical arms told apart in {alarms} of {len(same)} sessions")
    if asked.output:
        rows = {"same": [c.ratio for c in same], "slower": [c.ratio for c in slower]}
        asked.output.write_text(json.dumps(rows) + "\n", encoding="utf-8")
    return int(found < 0.9 * len(slower) or alarms > len(same) / 20)


if __name__ == "__main__":
    raise SystemExit(main())
