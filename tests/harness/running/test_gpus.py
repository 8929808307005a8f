"""Fits on one GPU do not share it by accident; no GPU is needed to see that."""

import shutil

import pytest

from harness.arm_ref import ArmRef
from harness.running.executor import LocalProcesses, Task
from harness.running.parts import read_part
from harness.running.unit import Job
from harness.window import RollingOrigin, up_to

ARM = '''
import os

import numpy as np

from harness.forecast import Forecast

class Shown:
    """Answers with the number of the GPU that it sees, or -1."""

    context_length = 5

    def __init__(self, device="cpu"):
        self.device = device

    def forecast(self, contexts):
        number = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        value = float(number) if number.isdigit() else -1.0
        shape = (len(contexts), contexts.horizon, len(contexts.levels))
        return Forecast.of_quantiles(np.full(shape, value), contexts.levels)
'''


@pytest.fixture
def task(tmp_path, made_series):
    """Make a task of an arm on a device: `task(device, key)`."""
    (tmp_path / "shown_gpus.py").write_text(ARM)
    series = made_series(300)
    plan = RollingOrigin(horizon=2, stride=1, origins=3, validation=10)
    windows = plan.over(series.dates)

    def made(device, key):
        job = Job(
            ref=ArmRef(
                name="shown",
                use="shown_gpus:Shown",
                role="reference",
                options={"device": device},
                folder=tmp_path,
            ),
            seed=1,
            plan=plan,
            series=up_to(series, int(windows.origin[-1])),
            windows=windows,
            threads=1,
            batch=8,
        )
        return Task(key=key, jobs=(job,), kept=(None,), time_limit_s=60.0, memory_limit_mib=4096)

    return made


def ended(executor, count):
    """Wait until so many tasks have ended; gives the GPU that each saw by its key."""
    seen = {}
    while len(seen) < count:
        for finished in executor.poll():
            assert finished.ending.kind == "done"
            part = read_part(finished.left / "0" / "part.parquet")
            shutil.rmtree(finished.left)
            seen[finished.task.key] = part.forecast.point[0, 0]
    return seen


@pytest.fixture
def executor(monkeypatch):
    """Processes of a machine that shows GPUs 4 and 7."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    made = LocalProcesses(threads=1)
    yield made
    made.cancel()


def test_two_fits_never_have_one_gpu(executor, task):
    """Each fit sees one GPU alone; the third waits until one is free, and the CPU has room."""
    assert [executor.submit(task("cuda", key)) for key in ("a", "b", "c")] == [True, True, False]
    assert executor.submit(task("cpu", "d"))

    seen = ended(executor, 3)

    assert {seen["a"], seen["b"]} == {4.0, 7.0}
    assert executor.submit(task("auto", "c"))
    assert ended(executor, 1)["c"] in (4.0, 7.0)


def test_a_named_gpu_keeps_its_number(executor, task):
    """`cuda:1` is the second of all GPUs that are shown, so its process sees them all."""
    assert executor.submit(task("cuda:1", "a"))
    assert not executor.submit(task("cuda:1", "b"))
    assert executor.submit(task("cuda", "c"))

    assert ended(executor, 2) == {"a": -1.0, "c": 4.0}


def test_a_cancelled_fit_gives_its_gpu_back(executor, task):
    """What was cancelled holds no GPU any more."""
    assert executor.submit(task("cuda:0", "a"))
    executor.cancel()

    assert executor.submit(task("cuda:0", "b"))


def test_without_any_gpu_nothing_waits_for_one(monkeypatch, task):
    """On a machine without GPUs an arm on one is started, and fails by itself."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    executor = LocalProcesses(threads=1)

    assert executor.submit(task("cuda", "a"))
    assert executor.submit(task("cuda", "b"))
    executor.cancel()
