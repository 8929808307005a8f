"""All that a unit's process starts ends with it; what failed is told from what got no answer."""

import errno
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from harness.errors import NoAnswerError, refused_by_system
from harness.experiments.experiment import read_experiment
from harness.running.cells import has_cell, read_cell
from harness.running.fill import prepare
from harness.running.store_folder import open_store
from harness.running.supervisor import LOG_BYTES

pytestmark = pytest.mark.skipif(os.name != "posix", reason="forks")

HOSTILE = """
import ctypes, errno, os, signal, subprocess, sys, threading, time
from pathlib import Path

import numpy as np

from arms_for_tests import Flat

NOTES = Path({notes!r})


def note(name):
    (NOTES / f"{{name}}.{{os.getpid()}}").touch()


def daemon(name):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            note(name)
            time.sleep(600)
        os._exit(0)


class Daemon(Flat):
    def forecast(self, contexts):
        daemon("daemon")
        return super().forecast(contexts)


class Session(Flat):
    def forecast(self, contexts):
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        (NOTES / f"session.{{child.pid}}").touch()
        return super().forecast(contexts)


class Thread(Flat):
    def forecast(self, contexts):
        threading.Thread(target=time.sleep, args=(600,)).start()
        return super().forecast(contexts)


class Chatty(Flat):
    def forecast(self, contexts):
        for _ in range(64):
            os.write(1, b"x" * (1 << 16))
        os.write(2, b"\\nthe end\\n")
        return super().forecast(contexts)


class Children(Flat):
    def forecast(self, contexts):
        for _ in range(4):
            if os.fork() == 0:
                held = np.ones(25_000_000)
                time.sleep(60)
                os._exit(int(held[0]))
        time.sleep(60)


class Quiet(Flat):
    def forecast(self, contexts):
        os._exit(0)


class Crash(Flat):
    def forecast(self, contexts):
        os.kill(os.getpid(), signal.SIGABRT)


class Killed(Flat):
    def forecast(self, contexts):
        if not (NOTES / "alive").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forecast(contexts)


class Parricide(Flat):
    def forecast(self, contexts):
        note("parricide")
        if not (NOTES / "alive").exists():
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(600)
        return super().forecast(contexts)


class Orphans(Flat):
    def forecast(self, contexts):
        if not (NOTES / "alive").exists():
            daemon("orphan")
            time.sleep(0.5)
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(600)
        return super().forecast(contexts)


class FullDisk(Flat):
    def forecast(self, contexts):
        if not (NOTES / "alive").exists():
            try:
                raise OSError(errno.ENOSPC, "No space left on device", "cache.bin")
            except OSError as problem:
                raise RuntimeError("cannot cache") from problem
        return super().forecast(contexts)


class Curious(Flat):
    def forecast(self, contexts):
        words = [*sys.argv, *os.environ, *os.environ.values()]
        assert not [each for each in words if "hostile-store" in each]
        return super().forecast(contexts)
"""

ARMS = ["Daemon", "Session", "Thread", "Chatty", "Children", "Quiet", "Crash", "Killed",
        "Parricide", "Orphans", "FullDisk", "Curious"]  # fmt: skip
ANSWERED = {"Daemon", "Session", "Thread", "Chatty", "Curious"}
FAILED = {
    "Children": "the memory limit is 500 MiB",
    "Quiet": "ended with exit code 0 and left no result",
    "Crash": "ended by SIGABRT",
}
UNANSWERED = {
    "Killed": "ended by SIGKILL",
    "Parricide": "the process that watched over it vanished",
    "Orphans": "the process that watched over it vanished",
    "FullDisk": "cache.bin: No space left on device",
}


@pytest.fixture
def hostile(tiny, tmp_path):
    """An experiment of hostile arms, beside a well-behaved pair."""
    notes = tmp_path / "notes"
    notes.mkdir()
    source = HOSTILE.format(notes=str(notes))
    (tmp_path / "hostile_arms.py").write_text(source, encoding="utf-8")
    tables = "".join(
        f'[[arms]]\nname = "{name}"\nuse = "hostile_arms:{name}"\nrole = "reference"\n\n'
        for name in ARMS
    )
    tiny(
        ("\n[policy]\n", f"\n{tables}[policy]\n"),
        ("[run]\n", "[run]\ntime_limit_s = 60\nmemory_limit_mib = 500\n"),
    )
    return notes


def cells():
    """Each cell of the experiment by its arm, seed 1."""
    grid = prepare(read_experiment("tiny.toml"), [])
    return {cell.arm.name: cell for cell in reversed(grid.cells)}


def gone(notes, name):
    """Whether every process that left such a note has ended."""
    pids = [int(file.suffix[1:]) for file in notes.glob(f"{name}.*")]
    assert pids, f"{name} never ran"
    deadline = time.monotonic() + 10
    while any(map(psutil.pid_exists, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(psutil.pid_exists, pids))


@pytest.mark.slow
def test_hostile_arms_cost_only_themselves(hostile, call, monkeypatch):
    """Arms that fail are booked, those the system stopped run again, and nothing is left over."""
    monkeypatch.setenv("ABHARNESS_STORE", "hostile-store")

    code, out, err = call("run", "tiny.toml", "--workers", "2")

    assert code == 0, err
    store, found = open_store(Path("hostile-store"), create=False), cells()
    for name in ANSWERED:
        assert set(read_cell(store, found[name]).reason) == {""}, name
    for name, words in FAILED.items():
        assert all(words in text for text in read_cell(store, found[name]).reason)
    for name, words in UNANSWERED.items():
        assert not has_cell(store, found[name]), name
        (line,) = [line for line in out.splitlines() if line.startswith(f"no answer: {name}/")]
        assert words in line
        assert err.count(f"{name}/GOLD/1: NO ANSWER") == 2  # tried once more
    assert gone(hostile, "daemon")
    assert gone(hostile, "session")
    assert gone(hostile, "parricide")
    assert gone(hostile, "orphan")
    log = store.fit_folder(found["Chatty"].fits[0].key) / "log.txt"
    assert log.stat().st_size < 1.1 * LOG_BYTES
    assert log.read_bytes().endswith(b"the end\n")
    assert list(Path(tempfile.gettempdir()).glob(f"abharness-*.{os.getpid()}-*")) == []
    assert list((store.root / "tmp").iterdir()) == []

    (hostile / "alive").touch()
    code, out, _ = call("run", "tiny.toml")

    assert code == 0
    assert "4 computed now" in out
    assert "no answer" not in out
    assert all(has_cell(store, cell) for cell in found.values())


def test_what_the_system_refuses_is_known_behind_any_error():
    """A full or broken disk is found behind what it caused; an arm's own trouble is not one."""
    full = OSError(errno.ENOSPC, "No space left on device", "a.bin")
    behind = RuntimeError("cannot write")
    behind.__cause__ = full
    looped = ValueError("x")
    looped.__context__ = looped

    assert refused_by_system(full) == "a.bin: No space left on device"
    assert refused_by_system(behind) == "a.bin: No space left on device"
    assert refused_by_system(NoAnswerError("said before")) == "said before"
    assert refused_by_system(OSError(errno.ENOENT, "No such file", "a.bin")) == ""
    assert refused_by_system(looped) == ""
    assert refused_by_system(MemoryError()) == ""


@pytest.mark.slow
def test_semaphores_of_killed_processes_are_cleaned_up_in_silence(tmp_path):
    """Python's resource tracker does not print a warning at the end of a user's command."""
    script = tmp_path / "leak.py"
    script.write_text(
        "import multiprocessing, os\n"
        "from harness.running.executor import LocalProcesses\n"
        "def leak():\n"
        "    lock = multiprocessing.RLock()\n"
        "    os.kill(os.getpid(), 9)\n"
        "if __name__ == '__main__':\n"
        "    context = LocalProcesses(threads=1)._context\n"
        "    process = context.Process(target=leak)\n"
        "    process.start()\n"
        "    process.join()\n",
        encoding="utf-8",
    )

    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
