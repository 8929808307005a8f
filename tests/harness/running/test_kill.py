"""Killed at any moment and started again, a grid ends as if nothing had happened."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from harness.running.store import _owner, read_unit

KILLS = 20
COMMAND = [sys.executable, "-P", "-m", "harness", "compare", "tiny.toml", "--workers", "2"]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL")


def finished(store):
    """Run to the end, undisturbed."""
    done = subprocess.run(
        [*COMMAND, "--store", store], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def killed(store, *, after):
    """Start, let it run for so many seconds, kill the parent alone; gives all it had started."""
    process = subprocess.Popen(
        [*COMMAND, "--store", store],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        time.sleep(after)
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return family


def content(store, pattern):
    return {file.relative_to(store): file.read_bytes() for file in sorted(store.glob(pattern))}


def whole_units(store):
    """Names of the units there are, each read whole."""
    folders = list((store / "units").iterdir()) if (store / "units").is_dir() else []
    assert all(read_unit(folder).record["windows"] == 40 for folder in folders)
    return {folder.name for folder in folders}


SLOW_ARM = """

class Slow(Sampler):
    def forecast(self, contexts):
        time.sleep(0.3)
        return Sampler.forecast(self, contexts)
"""


@pytest.fixture
def many(tiny):
    """Write an experiment of 13 units, most of which take a moment."""
    source = Path("arms_for_tests.py").read_text(encoding="utf-8")
    Path("slow_arms.py").write_text(source + SLOW_ARM, encoding="utf-8")
    return tiny(
        ("arms_for_tests:Sampler", "slow_arms:Slow"),
        ("seeds = [1, 2]", f"seeds = {list(range(6))}"),
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_twenty_kills_leave_no_trace(many):
    """Twenty kills at random moments cost time, and not one byte of scores or verdict."""
    start = time.monotonic()
    said = finished(Path("calm"))
    usual = time.monotonic() - start
    rng = random.Random(20)
    stores, family, seen = [Path("storm-0")], [], set()

    for _ in range(KILLS):
        family += killed(stores[-1], after=usual * rng.uniform(0.15, 0.4))
        units = whole_units(stores[-1])
        assert seen <= units, "a finished unit is gone"
        seen = units
        if list(stores[-1].glob("verdicts/*/*/report.html")):  # nothing left to disturb
            stores.append(Path(f"storm-{len(stores)}"))
            seen = set()
    assert len(stores) < KILLS / 2, "most kills came too late"
    assert not psutil.wait_procs(family, timeout=30)[1], "a child outlived its parent"

    for store in stores:
        assert finished(store) == said.replace("calm", store.name)
        for pattern in ("units/*/*.parquet", "scores/*.parquet", "verdicts/*/*/verdict.json"):
            calm, stormy = content(Path("calm"), pattern), content(store, pattern)
            assert calm, pattern
            assert calm == stormy, pattern
        assert whole_units(Path("calm")) == whole_units(store)
        assert list((store / "tmp").iterdir()) == []


def test_children_end_with_their_parent(tiny, scratch):
    """A unit that would run for minutes is gone moments after its parent was killed."""
    tiny(('role = "legacy"', 'role = "legacy"\nwait_s = 300.0'))
    process = subprocess.Popen(
        [*COMMAND, "--only", "old"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"TMPDIR": str(scratch)},
    )
    try:
        deadline = time.monotonic() + 60
        while not list(scratch.glob("*/log.txt")):  # its unit has begun
            assert time.monotonic() < deadline
            time.sleep(0.05)
        family = psutil.Process(process.pid).children(recursive=True)
    finally:
        process.kill()
        process.wait()

    alive = psutil.wait_procs(family, timeout=10)[1]

    assert len(family) >= 3  # the unit, who watches over it, and the server they came from
    assert alive == []
    assert not list(scratch.glob("abharness-*"))


def test_torn_folder_is_no_unit(tiny, in_process, call):
    """What a killed process left half-written is not taken for a unit, and is swept."""
    assert call("run", "tiny.toml")[0] == 0
    unit = next(Path("runs/units").iterdir())
    dead = 2**22 + 1  # no process has a number that high
    half = Path("runs/tmp") / f"{_owner().replace(str(os.getpid()), str(dead))}half"
    unit.rename(half)
    (half / "unit.json").unlink()

    code, out, _ = call("run", "tiny.toml")

    assert code == 0
    assert "1 computed now" in out
    assert not half.exists()
    assert whole_units(Path("runs")) >= {unit.name}
