"""Another installation: forecasts made again are those that were stored, or all begins anew."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from in_process import InThisProcess, Quiet

from harness.data.dataset import load
from harness.experiments.experiment import read_experiment
from harness.running import identity
from harness.running.cells import read_cell
from harness.running.fill import fill
from harness.running.grid import declare
from harness.running.store_folder import open_store
from harness.window import up_to

pytestmark = pytest.mark.usefixtures("asked_here")

DRIFTING = """
from pathlib import Path

from arms_for_tests import Flat, Keeper


class Drifting(Keeper):
    def forecast(self, contexts):
        return self._moved(Keeper.forecast(self, contexts))

    def fit(self, context, *, seed):
        made = Keeper.fit(self, context, seed=seed)
        self.growth += float(Path("fit-drift").read_text()) if Path("fit-drift").exists() else 0.0
        return made

    def _moved(self, found):
        if Path("drift").exists():
            found.point[:] *= 1 + float(Path("drift").read_text())
        return found
"""


@pytest.fixture
def gold():
    return load("GOLD")


@pytest.fixture
def run(tiny, gold, tmp_path):
    """Run the experiment on some sessions; gives summary and tasks."""
    (tmp_path / "drifting.py").write_text(DRIFTING, encoding="utf-8")
    file = tiny(
        ("arms_for_tests:Learner", "drifting:Drifting"),
        ("seeds = [1, 2]", "seeds = [1]"),
        ("validation = 60", "validation = 60\nrefit = 20"),
    )

    def run(sessions=9000, **options):
        data = dataclasses.replace(gold, series=up_to(gold.series, sessions))
        store, executor = open_store(Path("runs")), InThisProcess()
        grid = declare(read_experiment(str(file)), {"GOLD": data}, store)
        done = fill(grid, store, workers=1, progress=Quiet(), executor=executor, **options)
        return done, executor.done

    return run


@pytest.fixture
def another_numpy(monkeypatch):
    """Install another patch version of numpy, as far as anybody can tell."""
    known = identity.library_versions()

    def install():
        monkeypatch.setattr(identity, "library_versions", lambda: {**known, "numpy": "99.0.1"})

    return install


@pytest.mark.slow
def test_equal_forecasts_go_on(run, another_numpy):
    """Another numpy with the same forecasts: five of each fit made again, nothing new, recorded."""
    first, _ = run()
    another_numpy()

    done, tasks = run()
    again, nothing = run()

    assert first.origins == 41 * 3
    assert (done.origins, done.computed) == (0, 0)
    assert [line.partition(": another")[0] for line in done.events] == [
        "old/GOLD/1", "new/GOLD/1", "draws/GOLD/1"
    ]  # fmt: skip
    assert "numpy" in done.events[0]
    assert "99.0.1" in done.events[0]
    assert all(line.endswith("are equal, so it goes on") for line in done.events)
    kept = {task.jobs[0].ref.name: [bool(each) for each in task.kept] for task in tasks}
    assert kept["new"] == [True, True, True, False]  # the newest fit once more
    assert {len(job.windows) for task in tasks for job in task.jobs} == {5, 1}
    assert (again.events, nothing) == ((), [])


@pytest.mark.slow
@pytest.mark.parametrize("how", ["drift", "fit-drift"])
def test_other_forecasts_begin_anew(run, another_numpy, how):
    """Another numpy that changes forecasts, or the fit: new results, said; the old ones stay."""
    first, _ = run()
    another_numpy()
    Path(how).write_text("0.001", encoding="utf-8")

    done, _ = run()

    (said,) = [line for line in done.events if "start afresh" in line]
    assert said.startswith("new/GOLD/1: another environment (numpy ")
    assert "of the last value" in said
    assert (done.origins, done.computed) == (41, 1)
    assert [a.key == b.key for a, b in zip(first.grid.cells, done.grid.cells, strict=True)] == [
        True, False, True
    ]  # fmt: skip
    store = open_store(Path("runs"))
    old, new = (read_cell(store, grid.cells[1]).forecast.point for grid in (first.grid, done.grid))
    assert not np.allclose(old, new, rtol=1e-6)
    assert run()[0].computed == 0


@pytest.mark.slow
def test_recompute_begins_anew(run):
    """Asked for, results begin anew although nothing changed; later nights go on with those."""
    first, _ = run()

    again, _ = run(recompute=True, only=["old"])

    assert again.origins == 41
    assert again.grid.cells[0].key != first.grid.cells[0].key
    assert again.grid.cells[1].key == first.grid.cells[1].key
    assert run(9005)[0].origins == 3


@pytest.mark.slow
def test_other_words_are_no_other_installation(run, edited_module):
    """A changed docstring between data and forecast makes nothing again, and records nothing."""
    run()

    with edited_module("harness.running.unit", "harness.window", added="'''Other words.'''"):
        done, tasks = run()

    assert (done.origins, done.events, tasks) == (0, (), [])


@pytest.mark.slow
def test_a_changed_line_between_data_and_forecast_is_another_installation(run, edited_module):
    """The last forecasts are made again; equal, they go on, and the journal says what changed."""
    run()

    with edited_module("harness.running.unit", added="CHANGED = True"):
        done, tasks = run()
        again, nothing = run()

    assert (done.origins, len(done.events), len(tasks)) == (0, 3, 3)
    assert all("another environment (the harness's code)" in line for line in done.events)
    assert (again.events, nothing) == ((), [])
    journal = open_store(Path("runs")).journal
    assert {body["equal"] for _, body in journal.all("maintenance")} == {True}
