"""The replacement in a checkout: a library's own script trains and tests it, unchanged."""

import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from harness.cli import run_cli

RUN = """
import argparse

import numpy as np
import pandas as pd
import torch
from torch import nn

from models.HFBayesianAutoformer import HFBayesianAutoformer
from models import HFBayesianAutoformer as module

parser = argparse.ArgumentParser()
parser.add_argument("--model", default="HFBayesianAutoformer")
parser.add_argument("--task_name", default="long_term_forecast")
parser.add_argument("--features", default="M")
parser.add_argument("--target", default="OT")
parser.add_argument("--freq", default="d")
for name, value in dict(seq_len=48, label_len=24, pred_len=6, enc_in=7, dec_in=7, c_out=7,
                        d_model=16, n_heads=2, e_layers=1, d_layers=1, d_ff=16, factor=1,
                        moving_avg=25, batch_size=8, train_epochs=1).items():
    parser.add_argument("--" + name, type=int, default=value)
parser.add_argument("--dropout", type=float, default=0.05)
parser.add_argument("--embed", default="timeF")
parser.add_argument("--activation", default="gelu")
parser.add_argument("--output_attention", action="store_true")
args = parser.parse_args()

frame = pd.read_csv("prices.csv")
columns = [name for name in frame if name not in ("date", args.target)] + [args.target]
raw = frame[[args.target]] if args.features == "S" else frame[columns]
border = int(len(raw) * 0.7)
data = (raw.values - raw.values[:border].mean(0)) / raw.values[:border].std(0)
marks = np.zeros((len(data), 3))


def batch(starts):
    parts = [], [], [], []
    for s in starts:
        middle, end = s + args.seq_len, s + args.seq_len + args.pred_len
        parts[0].append(data[s:middle])
        parts[1].append(marks[s:middle])
        parts[2].append(data[middle - args.label_len:end])
        parts[3].append(marks[middle - args.label_len:end])
    x, x_mark, y, y_mark = (torch.tensor(np.array(p)).float() for p in parts)
    zeros = torch.zeros_like(y[:, -args.pred_len:])
    return x, x_mark, torch.cat([y[:, :args.label_len], zeros], 1), y_mark, y


model = {args.model: module}[args.model].Model(args).float()
assert isinstance(model, HFBayesianAutoformer)
optimizer, criterion = torch.optim.Adam(model.parameters(), lr=1e-5), nn.MSELoss()
f_dim = -1 if args.features == "MS" else 0
for starts in np.arange(0, 64, 4).reshape(-1, args.batch_size):
    x, x_mark, dec, y_mark, y = batch(starts)
    optimizer.zero_grad()
    outputs = model(x, x_mark, dec, y_mark)[:, -args.pred_len:, f_dim:]
    criterion(outputs, y[:, -args.pred_len:, f_dim:]).backward()
    optimizer.step()
model.eval()
with torch.no_grad():
    x, x_mark, dec, y_mark, y = batch(range(len(data) - 120, len(data) - 60, 6))
    outputs = model(x, x_mark, dec, y_mark)[:, -args.pred_len:, f_dim:]
    truth = y[:, -args.pred_len:, f_dim:]
    naive = x[:, -1:, f_dim:].expand_as(truth)
    print("mse:%.5f naive:%.5f" % (float(((outputs - truth) ** 2).mean()),
                                   float(((naive - truth) ** 2).mean())))
"""


@pytest.fixture
def checkout(tmp_path):
    """A checkout whose script imports the replacement as if it were its own, and two columns."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("")
    (tmp_path / "run.py").write_text(RUN)
    rng = np.random.default_rng(2)
    walk = np.cumsum(rng.standard_normal((500, 2)), axis=0) * [1, 0.1] + [50, 90]
    days = np.busday_offset("2019-01-07", np.arange(500), "forward")
    pd.DataFrame({"date": days, "OT": walk[:, 1], "other": walk[:, 0]}).to_csv(
        tmp_path / "prices.csv", index=False
    )
    return tmp_path


@pytest.mark.slow
def test_a_librarys_script_runs_the_replacement_unchanged(checkout, capsys):
    """After `shim`, run.py with features MS forecasts the last column, as its last value does."""
    assert run_cli(["shim", str(checkout)]) == 0

    done = subprocess.run(
        [sys.executable, "run.py", "--features", "MS", "--enc_in", "2", "--c_out", "1"],
        cwd=checkout,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": ""},  # as a user runs it
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    found, naive = map(float, re.findall(r":([0-9.]+)", done.stdout))
    assert found < 1.5 * naive
    assert "HFBayesianAutoformer.py" in capsys.readouterr().out


def test_shim_touches_nothing_of_the_checkout(checkout, capsys):
    """It writes its own files, the same again, and never over a file of that name."""
    before = {file: file.read_bytes() for file in checkout.rglob("*.py")}
    mine = checkout / "models" / "HFQuantileAutoformer.py"

    assert run_cli(["shim", str(checkout)]) == run_cli(["shim", str(checkout)]) == 0
    mine.write_text("mine = 1\n")
    refused = run_cli(["shim", str(checkout)])

    assert refused == 2
    assert "HFQuantileAutoformer.py: exists already; --force" in capsys.readouterr().err
    assert mine.read_text() == "mine = 1\n"
    assert {file: file.read_bytes() for file in before} == before
    assert run_cli(["shim", str(checkout / "models")]) == 2
