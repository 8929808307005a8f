"""250 nights, one at a time: only new origins and due refits are computed, and a night stays cheap.

The sample of twelve nights in one process: `tests/harness/running/test_nights.py`.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from harness.data.dataset import load
from harness.experiments.experiment import read_experiment
from harness.running.cells import read_cell
from harness.running.fill import prepare
from harness.running.store_folder import open_store

ARMS = Path(__file__).parents[1] / "harness" / "arms_for_tests.py"
HISTORY = 60
"""Origins of the first night."""
EXPERIMENT = """\
datasets = ["MINE"]

[plan]
horizon = 5
stride = {stride}
first = "{first}"
refit = 50
history = 500
validation = 60
{more}

[run]
seeds = [1]

[[arms]]
name = "old"
use = "arms_for_tests:Flat"
role = "legacy"

[[arms]]
name = "new"
use = "{learner}"
role = "candidate"
{options}

[[arms]]
name = "{third}"
{third_arm}
role = "reference"

[policy]
baseline = "old"
candidate = "new"

[[policy.criteria]]
metric = "crps"
margin = 0.05
"""
WALK = 'use = "baselines.random_walk:RandomWalk"'
SAMPLER = 'use = "arms_for_tests:Sampler"'
PAIR = """use = "harness.fallback:WithFallback"
primary = {use = "arms_for_tests:Flat", fault = "raise at", at = 1657.5}
fallback = {use = "arms_for_tests:Keeper"}"""
KEEPER = {"learner": "arms_for_tests:Keeper", "options": "", "more": "", "stride": 1}
CONFORMAL = {
    "learner": "candidates.hf_bayesian_autoformer:HFBayesianAutoformer",
    "options": "context = 64\nconformal = true",
}
PLANS = {
    "stride 1": KEEPER | {"third": "walk", "third_arm": WALK},
    "stride 12": KEEPER | {"stride": 12, "third": "walk", "third_arm": WALK},
    "gap and repeats": KEEPER
    | {"more": "gap = 3\nskip_repeats = true", "third": "walk", "third_arm": WALK},
    "samples": KEEPER | {"third": "draws", "third_arm": SAMPLER},
    "fallback": KEEPER | {"third": "pair", "third_arm": PAIR},
    "conformal": KEEPER | CONFORMAL | {"third": "walk", "third_arm": WALK},
}


def write_data(series, sessions):
    """Put the first sessions of a series into the folder of datasets."""
    rows = [
        f"{day},{price!r}" for day, price in zip(series.dates, series.target.tolist(), strict=True)
    ]
    Path("rows.csv").write_text("\n".join(["date,price", *rows[:sessions], ""]), encoding="utf-8")


def abharness(*words):
    """Run the command; gives what it printed and the seconds it took."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "harness", *map(str, words)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, time.monotonic() - start


def night(store):
    """Run once; gives origins and fits made now, and the seconds."""
    out, seconds = abharness("run", "nights.toml", "--store", store, "--data-dir", "data")
    found = re.search(r"\((\d+) origins, (\d+) fits\)", out)
    return (*map(int, found.groups() if found else (0, 0)), seconds)


@pytest.mark.slow
@pytest.mark.timeout(36_000)
@pytest.mark.parametrize("plan", PLANS)
def test_two_hundred_and_fifty_nights(plan, sized, tmp_path, monkeypatch):
    """Each night costs a night, the last as much as the second; all equal one run over them."""
    nights = sized(3, 250)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "arms_for_tests.py").write_text(ARMS.read_text(encoding="utf-8"), encoding="utf-8")
    series, begun = load("GOLD").series, 8000
    settings = PLANS[plan] | {"first": str(series.dates[begun - HISTORY])}
    (tmp_path / "nights.toml").write_text(EXPERIMENT.format(**settings), encoding="utf-8")
    write_data(series, begun)
    abharness(*("data", "import", "rows.csv", "--id", "MINE", "--target", "price"),
              *("--date", "date", "--to", "data"))  # fmt: skip

    taken = [night("runs")]
    files = len([*Path("runs").rglob("*")])
    for more in range(1, nights + 1):
        write_data(series, begun + more)
        abharness("data", "update", "MINE", "rows.csv", "--to", "data")
        taken.append(night("runs"))
    once = night("once")

    assert sum(origins for origins, _, _ in taken) == once[0]
    assert sum(fits for _, fits, _ in taken) == once[1]
    if "gap" not in plan:  # one origin of three arms, or a night on which none is due
        due = {3} if settings["stride"] == 1 else {0, 3}
        assert {origins for origins, _, _ in taken[1:]} <= due
    assert len([*Path("runs").rglob("*")]) - files <= 300
    quiet = [seconds for origins, fits, seconds in taken[1:] if origins and not fits]
    if len(quiet) >= 20:  # else there are too few to say
        assert np.median(quiet[-10:]) <= 1.5 * np.median(quiet[:10])
    found, wanted = cells("runs"), cells("once")
    for name, cell in found.items():
        assert cell.reason == wanted[name].reason
        assert np.array_equal(cell.origin, wanted[name].origin)
        one, other = cell.forecast.point, wanted[name].forecast.point
        assert np.allclose(one, other, rtol=1e-6, atol=0, equal_nan=True)


def cells(store):
    """What a store holds of every cell."""
    opened = open_store(Path(store), create=False)
    grid = prepare(read_experiment("nights.toml"), [Path("data")], opened, grow=False)
    return {str(cell): read_cell(opened, cell) for cell in grid.cells}
