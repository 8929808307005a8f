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
import platform, sys
platform.node = lambda: sys.argv[1]
from harness.cli import run_cli
sys.exit(run_cli(sys.argv[2:]))
"""
"""Runs a command line as a host of another name does."""


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
    """Processes of two host names compare at once: both end in the verdict of a calm run."""
    calm = command("compare", "tiny.toml", "--store", "calm")
    elsewhere = [sys.executable, "-P", "-c", ELSEWHERE]
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
