"""What a killed run leaves behind: no process, and no unit written by half.

Whole runs killed at random moments: `tests/studies/test_kills.py`.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from harness.running.store import _owner, read_unit

COMMAND = [sys.executable, "-P", "-m", "harness", "compare", "tiny.toml", "--workers", "2"]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL")


def whole_units(store):
    """Names of the units there are, each read whole."""
    folders = list((store / "units").iterdir()) if (store / "units").is_dir() else []
    assert all(read_unit(folder).record["windows"] == 40 for folder in folders)
    return {folder.name for folder in folders}


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


def test_torn_folder_is_no_unit(ran, call):
    """What a killed process left half-written is not taken for a unit, and is swept."""
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
