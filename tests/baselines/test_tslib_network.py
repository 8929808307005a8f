"""The network of a user's own checkout, asked the whole battery."""

import sys
from pathlib import Path
from textwrap import dedent

import pytest
import torch

from harness.checks import read_checks
from harness.claims import gather
from harness.cli import run_cli
from harness.experiments.experiment import read_experiment
from harness.running.fill import prepare
from harness.running.store_folder import open_store

MODEL = """
    import torch
    from torch import nn

    class Model(nn.Module):
        def __init__(self, configs, width=1.0):
            super().__init__()
            from layers.blocks import Level
            self.level, self.width = Level(), width
            self.time = nn.Linear(configs.seq_len, configs.pred_len).cuda()
            self.k = configs.top_k

        def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec, mask=None):
            from utils.tools import scaled
            level = self.level(x_enc).cuda()
            return level + scaled(self.time((x_enc - level).transpose(1, 2))).transpose(1, 2)
"""
EXPERIMENT = """\
datasets = ["GOLD"]

[plan]
horizon = 5
stride = 5
origins = 40
validation = 100

[[arms]]
name = "ours"
use = "baselines.tslib:TSLibModel"
role = "legacy"
root = "checkout"
model = "Mine"
config = { seq_len = 48, label_len = 24, top_k = 5 }

[[arms]]
name = "needy"
use = "baselines.tslib:TSLibModel"
role = "legacy"
root = "checkout"
model = "Mine"
config = { seq_len = 48, label_len = 24 }

[[arms]]
name = "walk"
use = "baselines.random_walk:RandomWalk"
role = "candidate"

[policy]
baseline = "ours"
candidate = "walk"

[[policy.criteria]]
metric = "crps"
margin = 0.02
"""


@pytest.fixture(autouse=True)
def trial(tmp_path, monkeypatch):
    """A checkout whose packages have common names, and an experiment beside it."""
    files = {
        "models/Mine.py": MODEL,
        "models/__init__.py": "raise RuntimeError('all models were imported')\n",
        "layers/blocks.py": "from torch import nn\n\nclass Level(nn.Module):\n"
        "    def forward(self, x):\n        return x[:, -1:]\n",
        "utils/tools.py": "def scaled(x):\n    return 0.5 * x\n",
    }
    for name, text in files.items():
        (tmp_path / "checkout" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "checkout" / name).write_text(dedent(text))
    (tmp_path / "trial.toml").write_text(EXPERIMENT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)


def check(*arguments):
    return run_cli(["check", *arguments, "--as", "network", "--experiment", "trial.toml"])


@pytest.mark.slow
def test_every_predicate_is_asked_inside_the_checkout(capsys):
    """Its packages are imported while it works and on the CPU; no question ends in error."""
    before, cuda = set(sys.modules), torch.Tensor.cuda

    code = check("ours", "--store", "runs")

    capsys.readouterr()
    (record,) = read_checks(open_store(Path("runs")))
    found = {result.code: result.outcome for result in record.results}
    assert code == 0
    assert len(found) == 34
    assert "error" not in found.values()
    assert [code for code, outcome in found.items() if outcome == "fail"] == ["T6", "T7", "T14"]
    assert (found["T18"], found["T29"], found["T31"]) == ("pass", "pass", "pass")
    assert (record.target, record.kind, record.role) == ("ours", "network", "legacy")
    assert torch.Tensor.cuda is cuda
    left = {name.partition(".")[0] for name in set(sys.modules) - before}
    assert not {"models", "layers", "utils"} & left
    assert not list(Path("checkout").rglob("__pycache__"))


@pytest.mark.slow
def test_a_changed_file_of_the_checkout_makes_its_check_old(tmp_path):
    """Claims count what the user's network failed until any file that decides it is edited."""
    needy = EXPERIMENT[EXPERIMENT.index('[[arms]]\nname = "needy"') :]
    whole = EXPERIMENT.replace(needy[: needy.index('[[arms]]\nname = "walk"')], "")
    (tmp_path / "trial.toml").write_text(whole)

    def tried():
        grid = prepare(read_experiment("trial.toml"), [])
        return gather(grid, open_store(Path("runs"), create=False), named="trial.toml").checks

    ask = ["check", "ours", "--as", "network", "--experiment", "trial.toml", "--only", "T34"]
    assert run_cli([*ask, "--store", "runs"]) == 0
    (before,) = tried()
    layer = tmp_path / "checkout" / "layers" / "blocks.py"
    layer.write_text(layer.read_text() + "# changed\n")
    (after,) = tried()

    assert (before.current, after.current) == (True, False)


def test_sizes_are_the_arms_own_and_may_be_changed(capsys):
    """The config of the experiment is what the network is built with, other fields by option."""
    fields = ["--option", "config.seq_len=64", "--option", "config.pred_len=12"]
    code = check("ours", *fields, "--only", "T28", "--format", "json")

    assert code == 0
    assert "numerical rank 12 of 12" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ours", "--option", "config.d_modle=8"], "'d_modle' occurs nowhere in the checkout"),
        (["ours", "--option", "epochz=3"], "unknown option 'epochz'"),
        (["needy"], "models/Mine.py needs config field 'top_k', which is not given"),
    ],
)
def test_what_is_missing_is_one_line(capsys, arguments, said):
    """A field or option that is wrong ends the command before any question."""
    code = check(*arguments)

    printed = capsys.readouterr()
    assert (code, printed.out, printed.err.count("\n")) == (2, "", 1)
    assert said in printed.err
