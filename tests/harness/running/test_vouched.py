"""What a process left is what it said it wrote: another arm of the same user may not change it."""

import dataclasses
import shutil
from pathlib import Path

import pytest
from in_process import InThisProcess, Quiet

from harness.arm_ref import ArmRef
from harness.errors import ChangedFileError
from harness.experiments.experiment import read_experiment
from harness.running.executor import LocalProcesses, Task, _copies_changed
from harness.running.fill import fill, prepare
from harness.running.sources import file_digest
from harness.running.store_folder import open_store
from harness.running.supervisor import Ending
from harness.running.unit import Job
from harness.running.work import read_left
from harness.window import RollingOrigin, up_to

ARM = '''
import numpy as np

from harness.arm import Training
from harness.forecast import Forecast

class Keeps:
    """Answers with the last value; keeps a file."""

    context_length = 5

    def fit(self, context, *, seed):
        return Training(curve=(), best_epoch=0)

    def save(self, folder):
        (folder / "weights.json").write_text("1")

    def restore(self, folder):
        pass

    def forecast(self, contexts):
        return Forecast.of_point(np.repeat(contexts.last[:, None], contexts.horizon, axis=1))
'''


@pytest.fixture
def finished(tmp_path, made_series):
    """What a process left of a fit that keeps a state and measured its residuals."""
    (tmp_path / "keeping_arm.py").write_text(ARM)
    series = made_series(300)
    plan = RollingOrigin(horizon=2, stride=1, origins=3, validation=20)
    windows = plan.over(series.dates)
    job = Job(
        ref=ArmRef(name="keeps", use="keeping_arm:Keeps", role="legacy", folder=tmp_path),
        seed=1,
        plan=plan,
        series=up_to(series, int(windows.origin[-1])),
        windows=windows,
        threads=1,
        batch=8,
    )
    executor = LocalProcesses(threads=1)
    executor.submit(
        Task(key="a" * 64, jobs=(job,), kept=(None,), time_limit_s=60.0, memory_limit_mib=4096)
    )
    ended = []
    while not ended:
        ended = executor.poll()
    yield ended[0]
    shutil.rmtree(ended[0].left)


def test_any_file_that_was_changed_or_removed_is_noticed(finished):
    """Forecasts, reports, residuals and what the arm saved; untouched, all of it is read."""
    job, folder = finished.task.jobs[0], finished.left / "0"
    vouched = finished.ending.vouched
    files = sorted(file for file in folder.rglob("*") if file.is_file())

    left = read_left(folder, job, vouched=vouched)

    assert left.part is not None
    assert {file.relative_to(finished.left).as_posix() for file in files} == set(vouched)
    assert any(name.endswith("weights.json") for name in vouched)
    for file in files:
        content = file.read_bytes()
        for spoil in (lambda f, c: f.write_bytes(c[:-1] + b"x"), lambda f, _: f.unlink()):
            spoil(file, content)
            with pytest.raises(ChangedFileError, match="has changed since its process"):
                read_left(folder, job, vouched=vouched)
            file.write_bytes(content)
    (folder / "state" / "more.json").write_text("2")
    with pytest.raises(ChangedFileError, match=r"more\.json: has changed since"):
        read_left(folder, job, vouched=vouched)


class Disturbed(InThisProcess):
    """Somebody removes what the first task left before it is read."""

    def __init__(self):
        super().__init__()
        self.first = True

    def poll(self):
        (ended,) = super().poll()
        if self.first:
            files = [file for file in ended.left.rglob("*") if file.is_file()]
            vouched = {str(f.relative_to(ended.left)): file_digest(f) for f in files}
            shutil.rmtree(ended.left / "0")
            ended = dataclasses.replace(ended, ending=Ending(kind="done", vouched=vouched))
        self.first = False
        return [ended]


def test_what_another_arm_removed_is_asked_once_more(tiny, asked_here):
    """It is no answer, so the task runs again after the others, in the same call."""
    store = open_store(Path("runs"))
    grid = prepare(read_experiment("tiny.toml"), [], store)
    executor = Disturbed()

    summary = fill(grid, store, workers=1, progress=Quiet(), executor=executor)

    assert (len(executor.done), summary.total) == (6, 5)
    assert (summary.unanswered, summary.failed) == ({}, {})


def test_a_kept_fit_that_was_changed_while_it_was_gone_on_from_is_no_answer(tmp_path):
    """Whoever writes into the copy that a task was handed spoils that task alone."""
    kept, scratch = tmp_path / "kept", tmp_path / "scratch"
    (kept / "state").mkdir(parents=True)
    (kept / "state/state.json").write_text("[1, 2]")
    shutil.copytree(kept, scratch / "kept-0")
    task = Task(key="a", jobs=(), kept=(kept,), time_limit_s=1.0, memory_limit_mib=1)
    sound = _copies_changed(task, scratch)

    (scratch / "kept-0/state/state.json").write_text("[9, 9]")

    assert (sound, _copies_changed(task, scratch)) == (False, True)
