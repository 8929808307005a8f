"""What users' modules do when they are imported reaches nothing that judges."""

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest

from harness.errors import ArmError, ConfigError
from harness.experiments.experiment import read_experiment
from harness.running.fill import prepare
from harness.running.isolation import in_isolation
from harness.running.supervisor import UnitLimits, scratch_prefix
from harness.scoring import scores

LIMITS = UnitLimits(time_s=60, memory_mib=4000)
HOSTILE = """
import atexit, json, os, sys, threading, time
from pathlib import Path

import numpy as np

import harness.scoring.scores
from arms_for_tests import Flat

np.seterr(all="raise")
os.chdir("/")
atexit.register(print, "an exit handler of an arm")
harness.scoring.scores.score = lambda *_, **__: None
threading.Thread(target=time.sleep, args=(600,)).start()
print("said on import")
if os.fork() == 0:
    os.setsid()
    Path({note!r}).write_text(str(os.getpid()))
    time.sleep(600)


class Hostile(Flat):
    pass
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks")


def test_an_import_changes_nothing_that_judges(tiny, tmp_path, capfd):
    """Settings, folder, threads, exit handlers and patches stay in the process that was asked."""
    note = tmp_path / "daemon.txt"
    text = HOSTILE.format(note=str(note))
    (tmp_path / "hostile_import.py").write_text(text, encoding="utf-8")
    file = tiny(("arms_for_tests:Flat", "hostile_import:Hostile"))
    before = (np.geterr(), Path.cwd(), threading.active_count(), scores.score)

    grid = prepare(read_experiment(str(file)), [])

    assert (np.geterr(), Path.cwd(), threading.active_count(), scores.score) == before
    assert "hostile_import" not in sys.modules
    assert grid.cells[0].known.identity["source"] != "unknown"
    assert not psutil.pid_exists(int(note.read_text()))
    out, err = capfd.readouterr()
    assert (out, err) == ("", "said on import\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os._exit(0)", "describing the arms: the process left no answer"),
        ("import os; os.abort()", "ended by SIGABRT"),
        ("import os, signal; os.kill(os.getppid(), signal.SIGKILL)", "watched over it vanished"),
        ("import time; time.sleep(600)", "the time limit is 2 s"),
        ("raise SystemExit(0)", "asks to end the program"),
        (
            (
                "import os, sys\n"
                "frame = sys._getframe()\n"
                "while 'file' not in frame.f_locals:\n"
                "    frame = frame.f_back\n"
                "with open(frame.f_locals['file'], 'w') as file:\n"
                "    file.write('{\"answer\": [3]}')\n"
                "os._exit(0)"
            ),
            "answered something else",
        ),
    ],
)
def test_an_import_that_ends_its_process_is_wrong_input(tiny, tmp_path, code, said):
    """One line that says how, and the caller goes on."""
    (tmp_path / "hostile_import.py").write_text(code, encoding="utf-8")
    file = tiny(("arms_for_tests:Flat", "hostile_import:X"), ("[run]", "[run]\ntime_limit_s = 2"))

    with pytest.raises(ArmError) as caught:
        prepare(read_experiment(str(file)), [])

    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_refused_there_is_refused_here(tmp_path, monkeypatch):
    """An error of ours keeps its kind and its words; no litter stays, nor that of one killed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    of_one_killed = scratch_prefix().replace(str(os.getpid()), gone.stdout.decode().strip())
    (tmp_path / f"{of_one_killed}x").mkdir()

    def refuse():
        raise ConfigError("[plan] no")

    with pytest.raises(ConfigError, match=r"^\[plan\] no$"):
        in_isolation(refuse, limits=LIMITS)
    assert in_isolation(lambda: {"a": (1, None)}, limits=LIMITS) == {"a": [1, None]}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_arm_beside_its_experiment_is_tried_for_blindness(tiny, tmp_path, call):
    """Its module is imported by its own processes alone, and what they found of it is current."""
    (tmp_path / "arms_beside.py").write_text("from arms_for_tests import Flat\n", encoding="utf-8")
    tiny(("arms_for_tests:Flat", "arms_beside:Flat"))

    _, _, said = call("compare", "tiny.toml", "--store", "s")

    assert "could not be tried" not in said
    assert "arms_beside" not in sys.modules
    code, out, _ = call("gate", "tiny.toml", "--store", "s")
    assert "not tested" not in out
    assert code == 0
