"""The command line: from a recipe to a checkpoint with its figures, and clear refusals."""

import io
import json
import re
import shutil
import subprocess
import sys

import pytest

from candidates.pretraining.command import TrainingProgress, clock, run_command
from harness.data.dataset import builtin_folder

GOLD = str(builtin_folder() / "GOLD.toml")
TINY = """\
[network]
d_model = 32
layers = 1
context = 64
steps = 24

[training]
steps = 60
batch = 8
pool = 32
warmup = 5
least = 16
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.toml").write_text(TINY)
    code = run_command(
        ["train", str(folder / "tiny.toml"), "--out", str(folder / "run"), "--device", "cpu"]
    )
    assert code == 0
    return folder


def test_train_leaves_checkpoint_record_and_card(trained):
    """The run's folder says what was done, and the card holds every setting."""
    record = json.loads((trained / "run" / "training.json").read_text())
    card = (trained / "run" / "checkpoint" / "README.md").read_text()

    assert [row[0] for row in record["curve"]] == [50, 60]
    assert record["recipe"]["training"]["batch"] == 8
    assert record["device"] == "cpu"
    assert {"torch", "chronos-forecasting"} <= record["versions"].keys()
    assert json.loads(re.search(r"```json\n(.*?)```", card, re.DOTALL)[1]) == record["recipe"]
    assert "No\nmarket data" in card
    assert f"{record['parameters']:,} parameters" in card


def test_train_again_changes_nothing(trained, capsys):
    """A finished run is not trained further; its weights are exported once more, the same."""
    weights = trained / "run" / "checkpoint" / "model.safetensors"
    before = weights.read_bytes()

    code = run_command(
        ["train", str(trained / "tiny.toml"), "--out", str(trained / "run"), "--device", "cpu"]
    )

    assert code == 0
    assert "going on after step 60" in capsys.readouterr().err
    assert weights.read_bytes() == before


@pytest.mark.slow
def test_evaluate_prints_and_fills_the_card(trained, capsys):
    """Both spans are in the table, and the same table is in the card with its command, once."""
    arguments = ["evaluate", str(trained / "run" / "checkpoint"), "--dataset", GOLD, "--card"]
    arguments += ["--sessions", "200", "--sessions", "100"]

    codes = [run_command(arguments), run_command(arguments)]

    table = capsys.readouterr().out.strip().splitlines()
    card = (trained / "run" / "checkpoint" / "README.md").read_text()
    assert codes == [0, 0]
    assert len(table) == 2 * 4
    assert all(card.count(row) == 1 for row in table[2:4])
    assert "Not evaluated yet" not in card
    assert "Every setting" in card


def test_evaluate_prints_json(trained, capsys):
    """For programs: the same figures under their names."""
    arguments = ["evaluate", str(trained / "run" / "checkpoint"), "--dataset", GOLD, "--json"]

    code = run_command(arguments)

    found = json.loads(capsys.readouterr().out)
    assert code == 0
    assert (found[0]["dataset"], found[0]["windows"]) == ("GOLD", 96)
    assert found[0]["crps"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "huge"], "error: recipe 'huge': expected a .toml file, or one of full, toy"),
        (["train", "toy", "--device", "abacus"], "--device abacus: expected cpu, cuda"),
        (["train", "toy", "--device", "cuda:99"], "--device cuda:99: "),
        (["evaluate", "nowhere", "--dataset", GOLD], "error: nowhere: no checkpoint there"),
        (["evaluate", "nowhere", "--dataset", "x.toml"], "error: x.toml: no such file"),
        (["evaluate", "nowhere"], "Missing option"),
        (["bogus"], "No such command 'bogus'"),
    ],
)
def test_wrong_input_is_said_in_a_line(arguments, said, capsys):
    """Exit code 2, what is wrong on standard error, no traceback."""
    code = run_command(arguments)

    printed = capsys.readouterr().err
    assert code == 2
    assert said in printed
    assert "Traceback" not in printed


def test_card_without_marks_is_left_alone(trained, tmp_path, capsys):
    """Figures are not written into a card that has no place for them."""
    folder = shutil.copytree(trained / "run" / "checkpoint", tmp_path / "copy")
    (folder / "README.md").write_text("mine")

    code = run_command(["evaluate", str(folder), "--dataset", GOLD, "--card"])

    assert code == 2
    assert "to write figures between" in capsys.readouterr().err
    assert (folder / "README.md").read_text() == "mine"


def test_show_prints_every_setting(capsys):
    """Defaults that a recipe leaves out are shown."""
    code = run_command(["show", "full"])

    shown = json.loads(capsys.readouterr().out)
    assert code == 0
    assert shown["training"]["batch"] == 2048
    assert shown["mixture"]["prices"]["levels"] == 0.65


def test_module_starts_from_anywhere(tmp_path, with_pretraining):
    """`python -m candidates.pretraining --help` answers, and needs no deep-learning library."""
    code = (
        "import runpy, sys; sys.argv[1:] = ['--help']\n"
        "try: runpy.run_module('candidates.pretraining', run_name='__main__')\n"
        "except SystemExit as end: print('code', end.code, 'torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", with_pretraining + code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )

    assert "train" in done.stdout
    assert "evaluate" in done.stdout
    assert done.stdout.splitlines()[-1] == "code 0 False"


def test_progress_estimates_what_is_left(monkeypatch):
    """100 of 400 steps in 10 seconds leave 30 seconds; steps of an earlier sitting do not count."""
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    progress = TrainingProgress(stream=io.StringIO(), every_s=5.0)

    progress.begin(100, 500)
    now[0] = 102.0
    progress.step(150, 0.5)
    now[0] = 110.0
    progress.step(200, 0.25)
    progress.step(200, None)

    assert progress.stream.getvalue().splitlines() == [
        "training 500 steps, going on after step 100",
        "step 200 of 500, loss 0.2500, 10.0 steps/s, about 30 s left",
    ]
    assert clock(125) == "2 min 05 s"
