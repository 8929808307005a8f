"""What other machines leave in `incoming/` is checked as if it had been computed here."""

import dataclasses
import json
import logging
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from in_process import InThisProcess, Quiet

from harness.experiments.experiment import read_experiment
from harness.gate.upkeep import adopt, prune
from harness.running.due import works
from harness.running.executor import Finished
from harness.running.fill import fill, load_datasets
from harness.running.grid import declare
from harness.running.incoming import NOTE, deliver, read_delivery
from harness.running.sources import digest
from harness.running.store_folder import open_store

pytestmark = pytest.mark.usefixtures("asked_here")


def grid_in(store):
    experiment = read_experiment("tiny.toml")
    return declare(experiment, load_datasets(experiment, []), store)


def carried_out(store):
    """Every task of the grid, done here; each is told and given up to the caller."""
    executor, grid = InThisProcess(), grid_in(store)
    for work in works(grid, store, grid.cells).works:
        executor.submit(work.task)
        yield from executor.poll()


@pytest.fixture
def delivered(tiny):
    """A store to which another machine has delivered the whole grid."""
    store = open_store(Path("runs"))
    for finished in carried_out(store):
        deliver(store.root, dataclasses.replace(finished, machine={}))
    return store


def filled(store):
    executor = InThisProcess()
    done = fill(grid_in(store), store, workers=1, progress=Quiet(), executor=executor)
    return done, executor.done


@pytest.mark.slow
def test_deliveries_are_sealed_by_the_next_run(delivered):
    """What was delivered is sealed as if it had been run here, and no arm is asked again."""
    there = open_store(Path("here"))
    filled(there)

    summary, tasks = filled(delivered)

    assert (summary.computed, summary.delivered, summary.origins, tasks) == (0, 5, 0, [])
    assert {key: seal.digests for key, seal in delivered.parts().items()} == {
        key: seal.digests for key, seal in there.parts().items()
    }
    assert list(Path("runs/incoming").iterdir()) == []


def test_gate_seals_what_has_arrived(delivered, call):
    """The verb `gate` judges what other machines have delivered."""
    code, out, _ = call("gate", "tiny.toml", "--store", delivered.root)

    assert code == 0
    assert "PROMOTE" in out


def test_adopting_seals_what_has_arrived(delivered):
    """`store adopt` takes in what lies in `incoming/` as well."""
    found = adopt(delivered, grid_in(delivered), why="a test")

    assert (found.parts, found.delivered) == (0, 5)
    assert list(Path("runs/incoming").iterdir()) == []


@pytest.mark.slow
def test_pruning_removes_deliveries_that_nothing_needs(delivered):
    """What is of no declared experiment goes, and what is torn; what waits to be sealed stays."""
    grid = grid_in(delivered)
    delivered.journal.append("grid", grid.experiment.name, grid.record())
    torn, other, *_ = sorted(Path("runs/incoming").iterdir())
    (torn / NOTE).write_text("{")
    (job,) = json.loads((other / NOTE).read_text())["jobs"]
    change(other, jobs=[{**job, "identity": {**job["identity"], "source": "0" * 64}}])

    assert prune(delivered).deliveries == 2
    assert prune(delivered).deliveries == 0
    assert filled(delivered)[0].delivered == 3


def change(folder, **parts):
    note = folder / NOTE
    note.write_text(json.dumps({**json.loads(note.read_text()), **parts}))


def test_another_environment_is_named_and_left(delivered, caplog):
    """A delivery made with another numpy is neither sealed nor lost, and a line says why."""
    folder = next(Path("runs/incoming").iterdir())
    before = dict(read_delivery(folder).environment)
    before["libraries"] = {**before["libraries"], "numpy": "1.0"}
    change(folder, environment=before)

    with caplog.at_level(logging.WARNING):
        _, tasks = filled(delivered)

    assert len(tasks) == 1
    assert "numpy (1.0 there" in caplog.text
    assert folder.is_dir()


@pytest.mark.slow
def test_other_code_is_named_and_left(delivered, caplog):
    """A delivery of an arm whose code is another here is not sealed under today's key."""
    folder = next(Path("runs/incoming").iterdir())
    (job,) = json.loads((folder / NOTE).read_text())["jobs"]
    identity = {**job["identity"], "source": "0" * 64}
    change(folder, jobs=[{**job, "identity": identity, "fit": digest(identity)}])

    with caplog.at_level(logging.WARNING):
        _, tasks = filled(delivered)

    assert len(tasks) == 1
    assert "was computed with other code of the arm" in caplog.text
    assert folder.is_dir()


@pytest.mark.slow
@pytest.mark.parametrize("spoil", ["torn note", "no note", "torn part", "link"])
def test_what_is_torn_is_computed_here(delivered, caplog, spoil):
    """A delivery that is not whole counts as nothing; its origins are forecast here or failed."""
    folder = next(Path("runs/incoming").iterdir())
    if spoil == "torn note":
        (folder / NOTE).write_text("{")
    elif spoil == "no note":
        (folder / NOTE).unlink()
    else:
        part = folder / "0" / "part.parquet"
        content = part.read_bytes()
        part.unlink()
        if spoil == "link":
            part.symlink_to("/etc/hostname")
        else:
            part.write_bytes(content[:100])

    with caplog.at_level(logging.WARNING):
        summary, tasks = filled(delivered)

    torn_forecasts = spoil in ("torn part", "link")
    assert len(tasks) == (0 if torn_forecasts else 1)
    assert len(summary.failed) == (1 if torn_forecasts else 0)
    assert (summary.computed, summary.delivered) == (len(tasks), 5 - len(tasks))


def test_only_plain_files_are_delivered(tiny):
    """Links and pipes in what a process left are not copied, and no file behind them is read."""
    store = open_store(Path("runs"))
    finished = next(carried_out(store))
    secret = Path("secret")
    secret.write_text("secret")
    (finished.left / "0" / "more.txt").symlink_to(secret.resolve())
    os.mkfifo(finished.left / "0" / "pipe")

    folder = deliver(store.root, finished)

    names = {file.name for file in folder.rglob("*")}
    assert {"part.parquet", "fit.json", NOTE} <= names
    assert names & {"more.txt", "pipe"} == set()


@pytest.mark.slow
def test_a_failure_by_a_lower_limit_is_no_delivery(tiny):
    """What broke a limit elsewhere that is higher here is carried out here."""
    store = open_store(Path("runs"))
    finished = next(carried_out(store))
    shutil.rmtree(finished.left)
    empty = Path(tempfile.mkdtemp(dir="."))
    ending = dataclasses.replace(finished.ending, kind="failed", reason="slow", limit="time_s")
    folder = deliver(
        store.root, Finished(task=finished.task, seconds=1.0, ending=ending, left=empty)
    )
    change(folder, limits={"time_s": 1.0, "memory_mib": 8192.0})

    summary, tasks = filled(store)

    assert len(tasks) == 5
    assert summary.failed == {}
