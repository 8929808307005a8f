"""Code between a forecast and a verdict decides both scores and verdict; words do not."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from harness.experiments.experiment import read_experiment
from harness.gate.dossier import Dossier
from harness.gate.judge import fingerprints, judging_digest
from harness.gate.stored_scores import scoring_digest
from harness.running.fill import prepare
from harness.running.store_folder import open_store
from harness.scoring.scores import Truth

SCORED = """\
import pickle, sys
from pathlib import Path
from harness.gate.stored_scores import score_cell
from harness.running.store_folder import open_store
cell, truth = pickle.loads(sys.stdin.buffer.read())
score_cell(cell, open_store(Path("runs")), truth)
"""
JUDGED = """\
import sys
from pathlib import Path
from harness.data.dataset import load
from harness.experiments.experiment import read_experiment
from harness.gate.judge import judge_grid
from harness.running.grid import declare
from harness.running.store_folder import open_store
experiment = read_experiment("tiny.toml")
grid = declare(experiment, {"GOLD": load("GOLD")})
judge_grid(grid, open_store(Path("runs")), policy=experiment.policy)
"""
LOADED = "\nprint(*[name for name in sys.modules if name.split('.')[0] == 'harness'])\n"


def loaded_by(code, content=b""):
    """Modules of the harness that a process of its own loads for some work."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code + LOADED],
        input=content,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        check=True,
    )
    return set(done.stdout.decode().split()) - {"harness"}


@pytest.fixture
def filled(ran):
    """A grid and a store with all units."""
    return prepare(read_experiment("tiny.toml"), []), open_store(Path("runs"))


def noticed(modules, digest, edited_module):
    """Modules whose code changes a digest; other words change none."""
    before = digest()
    with edited_module(*modules, added="'''Other words.'''  # and a comment"):
        assert digest() == before
    found = set()
    for module in modules:
        with edited_module(module, added="CHANGED = True"):
            found |= {module} if digest() != before else set()
    return found


@pytest.mark.slow
def test_code_that_scores_decides(filled, edited_module):
    """Each module that a process loads to score a unit is in the name of the scores."""
    cell, part = filled[0].cells[0], filled[0].splits["GOLD"]
    truth = Truth.of("GOLD", part.dataset.series, part.windows)
    used = loaded_by(SCORED, pickle.dumps((cell, truth)))

    assert {"harness.scoring.metrics", "harness.forecast", "harness.running.parts"} <= used
    assert noticed(used, scoring_digest, edited_module) == used


@pytest.mark.slow
def test_code_that_judges_decides(filled, edited_module):
    """Each module that a process loads to judge a store is in the verdict's fingerprints."""
    grid, store = filled
    used = loaded_by(JUDGED)

    assert {"harness.judging.verdict", "harness.stats.longrun", "harness.evidence.pairing"} <= used
    assert noticed(used, judging_digest, edited_module) == used
    found = fingerprints(Dossier(grid=grid, store=store, policy=grid.experiment.policy))
    assert (found["code"], found["scoring"]) == (judging_digest(), scoring_digest())
