"""One lock per host: who measures is alone."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from harness.errors import ConfigError
from harness.running.lease import lease


def test_two_who_measure_exclude_each_other(tmp_path):
    """While one holds the lease alone, another is refused and told who holds it."""
    file = tmp_path / "lease"

    with (
        lease("alone", "the first", wait_s=0, file=file),
        pytest.raises(ConfigError, match=r"in use by the first \(process \d+, started 20"),
        lease("alone", "the second", wait_s=0, file=file),
    ):
        pass


@pytest.mark.parametrize("kinds", [("alone", "shared"), ("shared", "alone")])
def test_ordinary_runs_and_measuring_exclude_each_other(tmp_path, kinds):
    """Neither begins while the other is there."""
    file = tmp_path / "lease"

    with (
        lease(kinds[0], "who was here first", wait_s=0, file=file),
        pytest.raises(ConfigError, match="who was here first"),
        lease(kinds[1], "who came later", wait_s=0, file=file),
    ):
        pass


def test_ordinary_runs_share_the_host(tmp_path):
    """Any number of runs may go on at a time."""
    file = tmp_path / "lease"

    with (
        lease("shared", "one", wait_s=0, file=file) as first,
        lease("shared", "two", wait_s=0, file=file) as second,
    ):
        assert first != second


@pytest.mark.slow
def test_who_waits_gets_it_when_the_holder_leaves(tmp_path):
    """Waiting ends with the lease, and the waiting is told once whom it waits for."""
    file, told, got = tmp_path / "lease", [], threading.Event()

    def later():
        with lease("alone", "the second", wait_s=60, file=file, tell=told.append):
            got.set()

    with lease("alone", "the first", wait_s=0, file=file):
        waiting = threading.Thread(target=later)
        waiting.start()
        early = got.wait(0.5)
    waiting.join()

    assert not early
    assert got.is_set()
    assert len(told) == 1
    assert "the first" in told[0]


def test_a_killed_holder_leaves_nothing(tmp_path):
    """The lease ends with the process that holds it, also when that is killed."""
    file = tmp_path / "lease"
    hold = (
        "import sys, time, pathlib\n"
        "from harness.running.lease import lease\n"
        "with lease('alone', 'doomed', wait_s=0, file=pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-P", "-c", hold, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(ConfigError, match="doomed"),
            lease("alone", "test", wait_s=0, file=file),
        ):
            pass
        holder.kill()

    with lease("alone", "test", wait_s=10, file=file) as handle:
        assert handle > 0


def test_where_there_can_be_no_lock_only_runs_go_on(tmp_path):
    """A run is told and goes on; who would measure is refused."""
    file, told = tmp_path / "no folder" / "lease", []

    with lease("shared", "run", wait_s=0, file=file, tell=told.append):
        assert "cannot be opened" in told[0]
    with (
        pytest.raises(ConfigError, match="cannot be opened"),
        lease("alone", "measure", wait_s=0, file=file),
    ):
        pass
