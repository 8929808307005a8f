"""What a process left is what it said it wrote: another arm of the same user may not change it."""

import shutil

import pytest

from harness.arm import ArmRef
from harness.errors import ChangedFileError
from harness.running.executor import LocalProcesses, Task
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
            with pytest.raises(ChangedFileError, match="was changed after its process"):
                read_left(folder, job, vouched=vouched)
            file.write_bytes(content)
    (folder / "state" / "more.json").write_text("2")
    with pytest.raises(ChangedFileError, match=r"more\.json: was changed after"):
        read_left(folder, job, vouched=vouched)
