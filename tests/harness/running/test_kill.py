"""What a killed run leaves behind: no process, and nothing half-written that counts.

Whole runs killed at random moments: `tests/studies/test_kills.py`.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from harness.running.store_folder import open_store

COMMAND = [sys.executable, "-P", "-m", "harness", "compare", "tiny.toml", "--workers", "2"]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL")


@pytest.mark.slow
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
        while all("-asked-" in str(log) for log in scratch.glob("abharness-*/log.txt")):
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


@pytest.mark.slow
def test_what_is_not_sealed_is_computed_again(tiny, in_process, call):
    """Forecasts that a killed process put into place and did not seal are not taken for results."""
    assert call("run", "tiny.toml", "--only", "new")[0] == 0
    store = open_store(Path("runs"))
    (seal,) = store.seals(store.journal.records("fit")[0].key)
    whole = store.part_file(seal).read_bytes()
    half = store.part_file("0" * 64)
    half.write_bytes(whole[:1000])

    code, out, _ = call("run", "tiny.toml")

    assert code == 0
    assert "3 computed now" in out
    assert store.part_file(seal).read_bytes() == whole
