"""`harness.judge`: a verdict on a frame of cutoffs, without running a model."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import harness
from harness.errors import ConfigError

CUTOFFS, STEPS, EVERY = 80, 3, 2


def frame(*, seed=1, intervals=True):
    """Forecasts of two models: the last value, and the last value off by a percent."""
    rng = np.random.default_rng(seed)
    count = 10 + CUTOFFS * EVERY + STEPS
    days = np.busday_offset("2021-01-04", np.arange(count), "forward")
    prices = 100 * np.exp(np.cumsum(0.01 * rng.standard_normal(count)))
    rows = []
    for origin in range(10, 10 + CUTOFFS * EVERY, EVERY):
        for step in range(STEPS):
            last = prices[origin - 1]
            row = {
                "ds": days[origin + step],
                "cutoff": days[origin - 1],
                "y": prices[origin + step],
            }
            for model, path in (("Good", last), ("Bad", last * 1.05)):
                row[model] = path
                if intervals:
                    spread = 1.28 * 0.01 * last * np.sqrt(step + 1)
                    row |= {f"{model}-lo-80": path - spread, f"{model}-hi-80": path + spread}
            rows.append(row)
    return pd.DataFrame(rows)


SCRIPT = """
import harness, pandas
policy = {"baseline": "Good", "candidate": "Bad"}
done = harness.judge(pandas.read_parquet("frame.parquet"), policy, interval=80, store="kept")
print("ran once:", done.exit_code, done.verdict.candidate)
"""


@pytest.mark.slow
def test_frame_is_judged_by_a_plain_script(tmp_path):
    """A worse model in a frame is rejected, by a script of four lines without a main guard.

    The columns of one model do not say how wide its interval is.
    """
    bounds = {"Bad-lo-80": "Bad_lower", "Bad-hi-80": "Bad_upper"}
    frame().rename(columns=bounds).to_parquet(tmp_path / "frame.parquet")
    (tmp_path / "mine.py").write_text(SCRIPT)

    said = subprocess.run(
        [sys.executable, "mine.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert said.stdout == "ran once: 3 Bad\n"
    assert (tmp_path / "kept" / "judged.toml").is_file()


@pytest.mark.parametrize(
    ("change", "policy", "said"),
    [
        (lambda f: f.drop(columns="y"), {}, "no column of actuals: expected y"),
        (lambda f: f, {"candidate": 3}, "candidate: expected the name of a model"),
        (lambda f: f[f["cutoff"] > f["cutoff"].max() - pd.Timedelta(days=3)], {}, "2 or more"),
        (
            lambda f: f[f["cutoff"] != f["cutoff"].unique()[9]],
            {},
            "not evenly spaced: 2 sessions, b",
        ),
        (
            lambda f: f[["ds", "cutoff", "y", "Good", "Bad"]][:60],
            {},
            "20 of them history for a model without quantiles",
        ),
    ],
)
def test_frames_that_cannot_be_judged(tmp_path, change, policy, said):
    """What a verdict would lack is one line."""
    whole = {"baseline": "Good", "candidate": "Bad"} | policy

    with pytest.raises(ConfigError, match=said):
        harness.judge(change(frame()), whole, store=tmp_path)
