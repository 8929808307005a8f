"""250 nights, one at a time: only new origins and due refits are computed, and a night stays cheap.

The sample is two nights of one plan; nine nights of three plans, in one process, are in
`tests/harness/running/test_nights.py`.
"""

import importlib
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from in_process import InThisProcess

from harness import cli
from harness.data.dataset import load
from harness.experiments.experiment import read_experiment
from harness.running import fill as filling
from harness.running.cells import read_cell
from harness.running.fill import prepare
from harness.running.store_folder import open_store
from harness.verbs import run as run_verb

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
    "chain": KEEPER | {"learner": "arms_for_tests:Chained", "third": "draws", "third_arm": SAMPLER},
    "fallback": KEEPER | {"third": "pair", "third_arm": PAIR},
    "conformal": KEEPER | CONFORMAL | {"third": "walk", "third_arm": WALK},
}
SAMPLE = "chain"


def write_data(series, sessions):
    """Put the first sessions of a series into the folder of datasets."""
    rows = [
        f"{day},{price!r}" for day, price in zip(series.dates, series.target.tolist(), strict=True)
    ]
    Path("rows.csv").write_text("\n".join(["date,price", *rows[:sessions], ""]), encoding="utf-8")


def abharness(*words):
    """Run the command in a process of its own, as a job does; gives what it printed and seconds."""
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


def forked(*words):
    """Run the command in a fork of this process, arms included: a night without any start-up.

    Gives what it printed, and the seconds of a processor that it took.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = Path("said.txt").resolve()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1)
            os.dup2(out, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            filling.LocalProcesses = InThisProcess  # type: ignore[misc]
            run_verb.try_blindness = lambda *_, **__: None
            code = cli.run_cli([str(word) for word in words])
            sys.stdout.flush()
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    text = said.read_text(encoding="utf-8")
    assert status == 0, text
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = [each.ru_utime + each.ru_stime for each in (before, after)]
    return text, spent[1] - spent[0]


def night(store, command=abharness):
    """Run once; gives origins and fits made now, and the seconds."""
    out, seconds = command("run", "nights.toml", "--store", store, "--data-dir", "data")
    found = re.search(r"\((\d+) origins, (\d+) fits\)", out)
    return (*map(int, found.groups() if found else (0, 0)), seconds)


@pytest.mark.slow
@pytest.mark.timeout(36_000)
@pytest.mark.parametrize(
    "plan",
    [pytest.param(plan, marks=() if plan == SAMPLE else pytest.mark.study) for plan in PLANS],
)
def test_two_hundred_and_fifty_nights(plan, sized, tmp_path, monkeypatch, capsys):
    """Each night costs a night, the last as much as the second; all equal one run over them.

    Nights are forks of this process, but for the first and the last few, which are commands.
    """
    nights, real = sized(2, 250), sized(1, 5)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "arms_for_tests.py").write_text(ARMS.read_text(encoding="utf-8"), encoding="utf-8")
    series, begun = load("GOLD").series, 8000
    settings = PLANS[plan] | {"first": str(series.dates[begun - HISTORY])}
    (tmp_path / "nights.toml").write_text(EXPERIMENT.format(**settings), encoding="utf-8")
    write_data(series, begun)
    abharness(*("data", "import", "rows.csv", "--id", "MINE", "--target", "price"),
              *("--date", "date", "--to", "data"))  # fmt: skip

    taken, whole, spent = [night("runs")], [], []
    heavy = load_frameworks()
    files = len([*Path("runs").rglob("*")])
    for more in range(1, nights + 1):
        write_data(series, begun + more)
        forked("data", "update", "MINE", "rows.csv", "--to", "data")
        as_a_job = more > nights - real or (more <= real and nights > 2)
        taken.append(night("runs", abharness if as_a_job else forked))
        origins, fits, seconds = taken[-1]
        if origins and not fits:
            (whole if as_a_job else spent).append(seconds)
    once = night("once")
    asking = abharness("config", "nights.toml", "--data-dir", "data")[1]
    imports = importing(heavy)

    assert sum(origins for origins, _, _ in taken) == once[0]
    assert sum(fits for _, fits, _ in taken) == once[1]
    if "gap" not in plan:  # one origin of three arms, or a night on which none is due
        due = {3} if settings["stride"] == 1 else {0, 3}
        assert {origins for origins, _, _ in taken[1:]} <= due
    more_files = len([*Path("runs").rglob("*")]) - files
    assert more_files <= 300
    if len(spent) >= 20:  # else there are too few to say
        assert np.median(spent[-10:]) <= 1.5 * np.median(spent[:10])
    found, wanted = cells("runs"), cells("once")
    for name, cell in found.items():
        assert cell.reason == wanted[name].reason
        assert np.array_equal(cell.origin, wanted[name].origin)
        one, other = cell.forecast.point, wanted[name].forecast.point
        assert np.allclose(one, other, rtol=1e-6, atol=0, equal_nan=True)
    job = np.median(whole or [0])
    first, last = np.median(spent[:10] or [0]), np.median(spent[-10:] or [0])
    with capsys.disabled():
        print(f"\n{plan}: {more_files} more files; a job without a fit {job:.1f} s, of which "
              f"start-up {asking:.1f} as `config` and {imports:.1f} for the arms' frameworks; "
              f"processor seconds of a forked night: {first:.2f} in the first ten, {last:.2f} in "
              f"the last ten")  # fmt: skip


def load_frameworks():
    """Import what the arms and their records need, so that no fork does; gives what arms need."""
    refs = prepare(read_experiment("nights.toml"), [Path("data")]).experiment.arms
    names = {name: ref for ref in refs for name in getattr(ref.find(), "heavy_modules", ())}
    for name in names:
        importlib.import_module(name)
    cells("runs")
    return list(names)


def importing(modules):
    """Seconds that a new process takes to import modules, as the arms' server does once a night."""
    if not modules:
        return 0.0
    start = time.monotonic()
    command = [sys.executable, "-P", "-c", f"import {', '.join(modules)}"]
    subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True)
    return time.monotonic() - start


def cells(store):
    """What a store holds of every cell."""
    opened = open_store(Path(store), create=False)
    grid = prepare(read_experiment("nights.toml"), [Path("data")], opened, grow=False)
    return {str(cell): read_cell(opened, cell) for cell in grid.cells}
