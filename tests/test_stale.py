"""A change between data and forecast is computed again, tried on a copy of the whole tree."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from harness.data.dataset import builtin_folder

EXPERIMENT = """\
datasets = ["GOLD"]
[plan]
horizon = 2
stride = 2
origins = 3
history = 50
validation = 30
[run]
seeds = [1]
[[arms]]
name = "reads"
use = "network_arms:Reads"
role = "candidate"
[[arms]]
name = "walk"
use = "baselines.random_walk:RandomWalk"
role = "legacy"
[policy]
baseline = "walk"
candidate = "reads"
mode = "replace"
[[policy.criteria]]
metric = "mae"
margin = 0.05
"""
ARM = """\
import numpy as np
from harness.network_answers import prediction_in
from harness.forecast import Forecast

class Reads:
    context_length = 5

    def forecast(self, contexts):
        path = np.repeat(contexts.last[:, None], contexts.horizon, axis=1)
        return Forecast.of_point(prediction_in({"prediction": path}))
"""
RUN = """\
from pathlib import Path
from harness.experiments.experiment import read_experiment
from harness.running.fill import fill, prepare
from harness.running.store_folder import open_store
from harness.verbs.progress import LineProgress
grid = prepare(read_experiment("small.toml"), [])
done = fill(grid, open_store(Path("runs")), workers=2, progress=LineProgress(workers=2))
print(done.computed)
"""


@pytest.mark.slow
def test_the_reader_of_networks_changed_is_computed_again(tmp_path):
    """Its answer times 1.5: the arm that uses it is computed again; its docstring: nothing is."""
    tree, place = tmp_path / "tree", tmp_path / "place"
    for name in ("harness", "baselines"):
        package = Path(harness.__file__).parents[1] / name
        shutil.copytree(package, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(builtin_folder(), tree / "abharness-data")
    place.mkdir()
    (place / "small.toml").write_text(EXPERIMENT, encoding="utf-8")
    (place / "network_arms.py").write_text(ARM, encoding="utf-8")

    def ran():
        done = subprocess.run(
            [sys.executable, "-P", "-c", RUN],
            cwd=place,
            env=os.environ | {"PYTHONPATH": str(tree)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    def edited(old, new):
        file = tree / "harness" / "network_answers.py"
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new, 1), encoding="utf-8")

    assert ran() == 2
    edited("Take out the prediction", "Find the prediction")
    assert ran() == 0
    edited("    return output\n", "    return output * 1.5\n")
    assert ran() == 1
