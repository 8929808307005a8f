"""Stored forecasts and scores as tables, and back again as an arm."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.data.dataset import load
from harness.experiments.experiment import read_experiment
from harness.gate.judge import scored
from harness.running.grid import declare
from harness.running.store_folder import open_store

LOG = """\
use = "harness.recorded:Recorded"
role = "candidate"
file = "out/forecasts.parquet"
model = "new-s2"
"""


def scores_of(file, store):
    """The scores of a store by arm and seed."""
    opened = open_store(Path(store), create=False)
    grid = declare(read_experiment(file), {"GOLD": load("GOLD")}, opened, grow=False)
    return {(unit.arm, unit.seed): unit for unit in scored(grid, opened).scores}


@pytest.mark.slow
@pytest.mark.usefixtures("ran")
def test_what_was_exported_scores_the_same_when_it_is_played_back(tiny, call):
    """The forecasts of one seed, read back by the recorded arm, have the scores they had."""
    code, out, _ = call("export", "tiny.toml", "--format", "parquet", "--to", "out")
    tiny(('use = "arms_for_tests:Learner"\nrole = "candidate"\n', LOG), name="log.toml")
    call("run", "log.toml", "--store", "again")

    was = scores_of("tiny.toml", "runs")["new", 2]
    again = scores_of("log.toml", "again")["new", 1]

    assert code == 0
    assert "out/forecasts.parquet: 200 rows" in out
    assert was.values.keys() == again.values.keys()
    for name, values in was.values.items():
        assert np.allclose(values, again.values[name], rtol=1e-9, equal_nan=True), name


@pytest.mark.usefixtures("ran")
def test_both_forms_hold_the_same_tables(call):
    """A row for each session of each origin, a column a model and level, and a row a score."""
    for form in ("csv", "parquet"):
        assert call("export", "tiny.toml", "--format", form, "--to", "out")[0] == 0

    found = pd.read_csv("out/forecasts.csv", parse_dates=["ds", "cutoff"])
    scores = pd.read_parquet("out/scores.parquet")

    assert list(found)[:6] == ["unique_id", "ds", "cutoff", "y", "old", "old-lo-98"]
    assert {"new-s1-lo-80", "new-s2-hi-95", "draws-s1-median"} <= set(found)
    assert (found["cutoff"] < found["ds"]).all()
    assert len(found) == 40 * 5
    written = pd.read_parquet("out/forecasts.parquet")
    pd.testing.assert_frame_equal(found, written, check_dtype=False)
    assert scores.groupby(["model", "seed"]).size().tolist() == [200] * 5
    assert not scores["prospective"].any()


def test_a_store_without_forecasts_says_what_makes_them(tiny, refused):
    """Wrong input ends with 2 and one line."""
    tiny()
    open_store(Path("runs"))

    assert "no forecast is stored; `abharness run tiny.toml` makes them" in refused(
        "export", "tiny.toml"
    )
