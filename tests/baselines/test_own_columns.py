"""Checkpoints of own columns: ten checkouts answer what their own pipeline answers.

The pipeline here is written to Time-Series-Library's contract: covariates first and the target
last, a standard scaler of the training rows, calendar marks, a decoder input of known rows and
zeros, the target's channel by `features`, and the scaler undone.
"""

import json
import re
from argparse import Namespace
from textwrap import dedent

import numpy as np
import pandas as pd
import pytest
import torch

from baselines.tslib import TSLibModel
from harness.arm import expect_columns
from harness.arm_ref import ArmRef
from harness.errors import ArmError, ForecastError
from harness.forecast import LEVELS
from harness.window import RollingOrigin, Series, context_at, contexts_at

COVARIATES = ("open", "high", "low", "volume")
SEQ, LABEL, PRED, ROWS, TRAINED = 24, 12, 5, 400, 280
PLAN = RollingOrigin(horizon=PRED, stride=7, origins=12, validation=60)

HEAD = """
    import torch
    from torch import nn

    class Model(nn.Module):
        def __init__(self, configs):
            super().__init__()
            self.pred_len, self.label_len = configs.pred_len, configs.label_len
            self.time = nn.Linear(configs.seq_len, configs.pred_len)
            self.mix = nn.Linear(configs.enc_in, configs.c_out)
            self.marks = nn.Linear({marks}, configs.c_out)
            {more}

        def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec, mask=None):
            path = self.time(x_enc.transpose(1, 2)).transpose(1, 2)
            {answer}
"""
ANSWERS = {
    "linear": "return self.mix(path)",
    "marks": "return self.mix(path) + self.marks(x_mark_dec[:, -self.pred_len:])",
    "decoder": "return self.mix(path + x_dec[:, : self.label_len].mean(1, keepdim=True))",
    "whole": "return torch.cat([self.mix(x_dec[:, : self.label_len]), self.mix(path)], 1)",
    "tuple": "return self.mix(path), None",
    "normalised": (
        "centre = x_enc.mean(1, keepdim=True); width = x_enc.std(1, keepdim=True) + 1e-5; "
        "path = self.time(((x_enc - centre) / width).transpose(1, 2)).transpose(1, 2); "
        "return self.mix(path * width + centre)"
    ),
    "future marks": "return self.mix(path) * self.marks(x_mark_dec).mean(1, keepdim=True)",
}
CHECKOUTS = [
    # name, features, columns' order of covariates, c_out, answer, further config, scaler
    ("M-linear", "M", COVARIATES, 5, "linear", {}, "file"),
    ("M-decoder", "M", COVARIATES, 5, "decoder", {}, "until"),
    ("M-normalised", "M", COVARIATES[2:], 3, "normalised", {"embed": "fixed"}, "file"),
    ("MS-one-channel", "MS", COVARIATES, 1, "marks", {"freq": "b"}, "file"),
    ("MS-all-channels", "MS", COVARIATES, 5, "whole", {"freq": "h"}, "until"),
    ("MS-two-columns", "MS", COVARIATES[3:], 2, "tuple", {}, "rows"),
    ("MS-other-order", "MS", COVARIATES[::-1], 1, "future marks", {"freq": "t"}, "file"),
    ("S-marks", "S", (), 1, "marks", {"embed": "learned"}, "until"),
    ("S-unscaled", "S", (), 1, "normalised", {}, "none"),
    ("M-ninth", "M", tuple(f"x{i}" for i in range(8)), 9, "future marks", {}, "file"),
]


def prices(names):
    """A table of sessions as a library's CSV has it: date, covariates, and the target last."""
    rng = np.random.default_rng(5)
    target = 15_000 * np.exp(np.cumsum(0.01 * rng.standard_normal(ROWS)))
    days = np.busday_offset("2019-01-07", np.arange(ROWS), "forward")
    columns = {
        n: target * (1 + 0.01 * rng.standard_normal(ROWS)) ** (i + 1) for i, n in enumerate(names)
    }
    return pd.DataFrame({"date": days, **columns, "OT": target})


def series_of(table):
    names = [name for name in table if name not in ("date", "OT")]
    return Series(
        dates=table["date"].to_numpy().astype("datetime64[D]"),
        target=table["OT"].to_numpy(),
        past=table[sorted(names)].to_numpy(),  # in another order than the checkpoint's
        past_names=tuple(sorted(names)),
        weekmask="1111100",
        season=5,
    )


def marks_of(dates, config):
    """Marks as the library makes them of pandas dates."""
    day = pd.DatetimeIndex(dates)
    weekday = np.array([each.weekday() for each in day])
    if config.get("embed", "timeF") != "timeF":
        zero = [np.zeros(len(day))] * (2 if config.get("freq") == "t" else 1)
        return np.stack([day.month, day.day, weekday, *zero], axis=1).astype(float)
    finer = {"h": 1, "t": 2}.get(config.get("freq", "d"), 0)
    daily = [weekday / 6 - 0.5, (day.day - 1) / 30 - 0.5, (day.day_of_year - 1) / 365 - 0.5]
    return np.stack([*[np.full(len(day), -0.5)] * finer, *daily], axis=1)


def own_pipeline(network, table, features, config, rows, scaled):
    """Forecasts [W, P] at origins [W], each step the library's."""
    data = table[["OT"]] if features == "S" else table.drop(columns="date")
    values = data.to_numpy()
    mean, scale = values[:TRAINED].mean(axis=0), values[:TRAINED].std(axis=0)
    if not scaled:
        mean, scale = mean * 0, scale * 0 + 1
    values = (values - mean) / scale
    marks = marks_of(table["date"], config)
    place = -1 if features == "MS" else 0
    found = []
    for row in rows:
        seen, span = slice(row - SEQ, row), slice(row - LABEL, row + PRED)
        known = values[row - LABEL : row]
        x_dec = np.concatenate([known, np.zeros((PRED, values.shape[1]))])
        inputs = [values[seen], marks[seen], x_dec, marks[span]]
        with torch.no_grad():
            output = network(*(torch.tensor(x, dtype=torch.float32)[None] for x in inputs))
        output = output[0] if isinstance(output, tuple) else output
        output = output[:, -PRED:].numpy()
        if output.shape[-1] != values.shape[1]:  # one channel: as wide as the scaler
            output = np.tile(output, [1, 1, values.shape[1]])
        restored = output * scale + mean
        found.append(restored[0, :, place:][:, -1])  # M: the target is the last of all columns
    return np.array(found), mean, scale


def written(folder, answer, config):
    """A checkout with one model, and the width of its marks."""
    width = {"h": 4, "t": 5}.get(config.get("freq"), 3)
    width = 4 if config.get("embed", "timeF") != "timeF" else width
    text = dedent(HEAD).format(marks=width, more="pass", answer=ANSWERS[answer])
    for name, content in {"models/__init__.py": "", "models/Mini.py": text}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return text


def asked(table, arm):
    """The arm, fitted before the first origin, its contexts, and the origins."""
    series = series_of(table)
    rows = PLAN.over(series.dates).origin
    assert rows[0] > TRAINED
    arm.load()
    arm.fit(context_at(series, int(rows[0]), plan=PLAN), seed=1)
    contexts = contexts_at(series, rows, plan=PLAN, length=arm.context_length, levels=LEVELS)
    return arm.forecast(contexts).point, rows


@pytest.mark.parametrize(
    ("features", "covariates", "c_out", "answer", "more", "scaler"),
    [each[1:] for each in CHECKOUTS],
    ids=[each[0] for each in CHECKOUTS],
)
def test_checkpoint_answers_as_in_its_own_pipeline(
    tmp_path, features, covariates, c_out, answer, more, scaler
):
    """Ten checkouts of own columns, each with its scaler, agree with their pipeline to 1e-5."""
    table = prices(covariates)
    text = written(tmp_path, answer, more)
    width = len(covariates) + 1
    config = {
        "seq_len": SEQ,
        "label_len": LABEL,
        "pred_len": PRED,
        "enc_in": width,
        "dec_in": width,
    }
    config |= {"c_out": c_out, "features": features, "target": "OT"} | more
    torch.manual_seed(3)
    space = {}
    exec(text, space)  # the library's own way to its class does not matter here
    network = space["Model"](Namespace(**config)).eval()
    torch.save(network.state_dict(), tmp_path / "checkpoint.pth")
    rows = PLAN.over(series_of(table).dates).origin
    expected, mean, scale = own_pipeline(network, table, features, config, rows, scaler != "none")
    names = [*covariates, "OT"]
    facts = {"columns": names, "mean": mean.tolist(), "scale": scale.tolist()}
    (tmp_path / "scaler.json").write_text(json.dumps(facts))
    last = str(table["date"][TRAINED - 1].date())
    named = {"file": "scaler.json", "until": f"until {last}", "rows": "from training rows"}

    point, _ = asked(
        table,
        TSLibModel(
            root=str(tmp_path),
            model="Mini",
            config=config,
            columns=names,
            scaler=named.get(scaler, "none"),
            checkpoint="checkpoint.pth",
            trained_until=last,
            train=False,
        ),
    )

    assert np.abs(point / expected - 1).max() < 1e-5


BASE = {"checkpoint": "checkpoint.pth", "train": False, "model": "Mini"}
FIVE = {"seq_len": SEQ, "enc_in": 5, "features": "MS", "target": "OT"}


def refusal(root, **options):
    """Why an arm is refused, on one line."""
    ref = ArmRef(
        name="ours", use="baselines.tslib:TSLibModel", role="legacy",
        options=BASE | {"root": str(root)} | options,
    )  # fmt: skip
    with pytest.raises(ArmError) as caught:
        ref.build()
    assert "\n" not in str(caught.value)
    return str(caught.value)


NAMES = [*COVARIATES, "OT"]
SAID = {"columns": NAMES, "scaler": "none", "trained_until": "2019-06-28"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"config": FIVE}, ["columns = [...]", "its 5 channels", "scaler = ", "trained_until"]),
        ({"config": {"seq_len": SEQ}}, ["columns", "'from prices'", "trained_until = 'DATE'"]),
        ({"checkpoint": "", "config": FIVE}, ["config.features and config.target", "columns"]),
        ({"config": FIVE, "columns": "from prices"}, ["trained_until"]),
        ({"config": {"seq_len": SEQ}} | SAID, ["target, which of", "config.features: M, MS or S"]),
        ({"config": FIVE | {"enc_in": 4}} | SAID, ["config.enc_in = 4: columns names 5"]),
        ({"config": FIVE} | SAID | {"columns": NAMES[::-1]}, ["'MS' forecasts the last", "output"]),
        ({"config": FIVE | {"c_out": 3}} | SAID, ["answers 3 channels for 5", "output = 0"]),
        ({"config": FIVE} | SAID | {"columns": [*NAMES, "OT"]}, ["a column is there twice"]),
        ({"config": FIVE} | SAID | {"target": "close"}, ["target = 'close': expected one of"]),
        ({"config": FIVE | {"features": "S"}} | SAID, ["'S' is the target alone"]),
        ({"config": FIVE | {"features": "MX"}} | SAID, ["config.features = 'MX'"]),
        ({"config": FIVE} | SAID | {"trained_until": "June"}, ["trained_until = 'June': expected"]),
        ({"config": FIVE} | SAID | {"scaler": "until June"}, ["'until ...' = 'June'"]),
        ({"config": FIVE} | SAID | {"scaler": "mine.json"}, ["no such file", "from training rows"]),
        ({"config": FIVE} | SAID | {"scaler": "scaler.pkl"}, []),
    ],
)
def test_what_cannot_be_seen_is_asked_for(tmp_path, options, words):
    """Everything about a checkpoint that its weights do not say is asked for at once."""
    written(tmp_path, "linear", {})
    (tmp_path / "checkpoint.pth").write_bytes(b"")

    said = refusal(tmp_path, **options)

    assert all(word in said for word in words), said


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("s.pkl", b"", "a pickle can run any code"),
        ("s.json", b"{}", 'expected JSON {"columns"'),
        ("s.json", b'{"mean": [0, 0], "scale": [1, 1]}', "expected 5 means and scales, found 2"),
        ("s.json", b'{"columns": ["a"], "mean": [0], "scale": [1]}', "is of columns ['a'], not of"),
        (
            "s.json",
            b'{"mean": [0, 0, 0, 0, 0], "scale": [1, 1, 0, 1, 1]}',
            "expected finite means and scales above 0",
        ),
    ],
)
def test_scaler_files_that_are_refused(tmp_path, name, content, said):
    """A scaler of other columns, of other sizes, or that could run code, is refused."""
    table = prices(COVARIATES)
    written(tmp_path, "linear", {})
    (tmp_path / name).write_bytes(content)
    config = FIVE | {"pred_len": PRED, "c_out": 1}
    arm = TSLibModel(root=str(tmp_path), model="Mini", config=config, columns=NAMES, scaler=name)

    with pytest.raises(ArmError, match=re.escape(said)):
        asked(table, arm)


def test_scaler_needs_rows_to_be_measured_on(tmp_path):
    """A history that begins after the checkpoint's training is said, with the way out."""
    table = prices(())
    written(tmp_path, "linear", {})
    config = {"seq_len": SEQ, "label_len": LABEL, "features": "S", "enc_in": 1}
    arm = TSLibModel(
        root=str(tmp_path), model="Mini", config=config, columns=["OT"], scaler="until 2001-01-01"
    )

    with pytest.raises(ForecastError, match="no session on or before 2001-01-01"):
        asked(table, arm)


@pytest.mark.parametrize("features", ["M", "MS"])
def test_own_columns_are_trained_too(tmp_path, features):
    """Without a checkpoint the network learns from the columns, all or the target alone."""
    table = prices(COVARIATES)
    width = 5 if features == "M" else 1
    written(tmp_path, "linear", {})
    arm = TSLibModel(
        root=str(tmp_path), model="Mini", columns=NAMES, epochs=8, learning_rate=1e-2,
        config={"seq_len": SEQ, "features": features, "c_out": width, "target": "OT"},
    )  # fmt: skip

    point, rows = asked(table, arm)

    last = table["OT"].to_numpy()[rows - 1][:, None]
    assert np.abs(point / last - 1).max() < 0.2
    assert arm.card()["context"].endswith(f"volume, OT; forecast is OT (features {features})")


def test_dataset_without_the_columns_is_refused():
    """A covariate that is missing and a target of another name are told with what there is."""

    class Reader:
        context_length = 1
        reads_columns = ("open", "volume")
        target_column = "OT"

        def forecast(self, contexts):
            raise NotImplementedError

    expect_columns(Reader(), dataset="A", target="OT", past=("volume", "open"))
    with pytest.raises(ArmError) as caught:
        expect_columns(Reader(), dataset="A", target="close", past=("open",))

    assert str(caught.value).startswith(
        "dataset A has no covariate volume and has the target 'close', not 'OT'; it has the target "
        "'close' and the covariates open"
    )
