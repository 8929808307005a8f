"""One byte changed or an end cut off anywhere in a store, and two containers on one store.

The sample of the damage is in `tests/harness/gate/test_upkeep.py`.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from damage import damaged

from harness.cli import run_cli
from harness.gate.history import standing
from harness.running.store_folder import open_store

ARMS = Path(__file__).parents[1] / "harness" / "arms_for_tests.py"
TINY = """\
datasets = ["GOLD"]

[plan]
horizon = 5
stride = 5
origins = 40
history = 200
validation = 60

[run]
seeds = [1, 2]

[[arms]]
name = "old"
use = "few_arms:Sampler"
role = "legacy"

[[arms]]
name = "new"
use = "few_arms:Learner"
role = "candidate"

[policy]
baseline = "old"
candidate = "new"

[[policy.criteria]]
metric = "crps"
margin = 0.05
"""
ELSEWHERE = """\
import os, platform, socket, sys
if os.getpid() == 1:
    socket.sethostname(sys.argv[1])
else:
    platform.node = lambda: sys.argv[1]
from harness.cli import run_cli
sys.exit(run_cli(sys.argv[2:]))
"""
"""Runs a command line as a host of another name does, which it is in a container of its own."""
CONTAINER = ["unshare", "-r", "--uts", "--pid", "--fork", "--mount-proc"]
"""Starts a process with a host name, process numbers and /proc of its own."""


def container():
    """What starts a container here; nothing where the system has none to give."""
    try:
        found = subprocess.run([*CONTAINER, "true"], capture_output=True, check=False).returncode
    except FileNotFoundError:
        return []
    return [] if found else CONTAINER


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """Work beside the experiment and its arms."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ARMS, tmp_path / "few_arms.py")
    (tmp_path / "tiny.toml").write_text(TINY, encoding="utf-8")


def command(*arguments):
    line = [sys.executable, "-P", "-m", "harness", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def said(capsys, *arguments):
    """Exit code, output and errors of a command line in this process."""
    capsys.readouterr()
    code = run_cli(list(arguments))
    return (code, *capsys.readouterr())


@pytest.mark.study
@pytest.mark.timeout(3600)
def test_damage_anywhere_is_told_or_changes_nothing(experiment, capsys):
    """Of 500 random flips and cuts none changes a figure, none shows a traceback."""
    assert command("compare", "tiny.toml").returncode in (0, 3, 4)
    sound = said(capsys, "gate", "tiny.toml")[:2]
    shutil.copytree("runs", "kept")
    chance, told, healed = Random(0), 0, 0
    for number in range(500):
        done = damaged(
            Path("runs") if number else Path("runs/parts"), chance
        )  # one is read for sure

        code, out, err = said(capsys, "gate", "tiny.toml")

        assert (code, out) == sound or code in (2, 5), (number, str(done))
        assert "Traceback" not in err
        assert "internal error" not in err
        assert code == 5 or err.count("\n") <= 1
        told += (code, out) != sound
        if code == 5 and number % 10 == 0:  # what can be computed again comes out as it was
            assert command("compare", "tiny.toml").returncode == sound[0], (number, str(done))
            healed += 1
        shutil.rmtree("runs")
        shutil.copytree("kept", "runs")
    assert told


@pytest.mark.slow
def test_two_containers_on_one_store_end_as_one(experiment, sized):
    """Two hosts compare at once, in real containers where there are: both end as a calm run."""
    calm = command("compare", "tiny.toml", "--store", "calm")
    elsewhere = [*container(), sys.executable, "-P", "-c", ELSEWHERE]
    for number in range(sized(1, 5)):
        store = f"shared-{number}"
        both = [
            subprocess.Popen(
                [*elsewhere, host, "compare", "tiny.toml", "--store", store],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for host in ("one", "two")
        ]
        answers = [each.communicate(timeout=300) for each in both]

        assert [each.returncode for each in both] == [calm.returncode] * 2, answers
        names = [standing(open_store(Path(root)), "tiny") for root in ("calm", store)]
        assert names[0] == names[1]
        assert command("store", "check", "--store", store).returncode == 0
        assert list((Path(store) / "tmp").iterdir()) == []
