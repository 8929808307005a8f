"""The verbs that begin: `init` writes what can be run, `demo` rejects a planted fault."""

import re
import sys

import numpy as np
import pandas as pd
import pytest
import yaml

from harness.experiments.experiment import read_experiment

ARMS = """
class Old:
    context_length = 5
    def __init__(self, *, window=3):
        self.window = window
    def forecast(self, contexts):
        raise NotImplementedError


class New(Old):
    pass
"""
CHECKOUT = """
class Model:
    def __init__(self, configs):
        self.pred_len = configs.pred_len
"""


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """A folder with a table of prices, two arms, a log of forecasts and a checkout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)  # that of another test
    rng = np.random.default_rng(1)
    days = np.busday_offset("2019-01-07", np.arange(600), "forward")
    close = 100 * np.exp(np.cumsum(0.01 * rng.standard_normal(600)))
    table = pd.DataFrame({"Date": days, "Open": close + 1, "Close": close, "Volume": 9.0})
    table.to_csv("our prices.csv", index=False)
    (tmp_path / "mine.py").write_text(ARMS)
    pd.DataFrame(
        {"ds": days[1:], "cutoff": days[:-1], "Old": close[:-1], "New": close[:-1]}
    ).to_parquet("log.parquet")
    (tmp_path / "checkout" / "models").mkdir(parents=True)
    (tmp_path / "checkout" / "models" / "Mini.py").write_text(CHECKOUT)
    yield tmp_path
    sys.modules.pop("mine", None)


@pytest.mark.slow
def test_init_writes_what_can_be_run(begun, call):
    """Data are imported, arms built and the grid declared; nothing that can be seen is asked."""
    code, out, err = call(
        "init", "our prices.csv", "--legacy", "mine:Old,window=7", "--candidate", "mine:New"
    )

    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "next: abharness compare experiment.toml --data-dir data"
    made = read_experiment("experiment.toml")
    assert made.datasets == ("our_prices",)
    assert made.arm("Old").options == {"window": 7}
    assert (made.policy.baseline, made.policy.candidate) == ("Old", "New")
    assert made.policy.reference == "random-walk"
    assert (made.plans["our_prices"].horizon, made.plans["our_prices"].stride) == (5, 5)
    assert made.plans["our_prices"].origins > 30
    assert call("config", "experiment.toml", "--data-dir", "data")[0] == 0
    steps = yaml.safe_load((begun / ".github/workflows/abharness-gate.yml").read_text())
    runs = [step.get("run", "") for step in steps["jobs"]["gate"]["steps"]]
    assert any(
        each.startswith("abharness compare experiment.toml --data-dir data") for each in runs
    )


def test_init_knows_logs_checkouts_and_datasets(begun, call):
    """A file of forecasts, the folder of a checkout and an id are understood as what they are."""
    log = pd.read_parquet("log.parquet")
    shift = pd.Timestamp("2010-01-04") - log["cutoff"].min()
    log.assign(ds=log["ds"] + shift, cutoff=log["cutoff"] + shift).to_parquet("log.parquet")
    code, _, err = call(
        "init", "GOLD", "--legacy", "checkout", "--candidate", "log.parquet,model=New", "--ci",
        "gitlab", "--horizon", "3",
    )  # fmt: skip

    assert (code, err) == (0, "")
    made = read_experiment("experiment.toml")
    assert made.arm("Mini").options == {"root": "checkout", "model": "Mini"}
    assert made.arm("New").use == "harness.recorded:Recorded"
    assert made.arm("New").options == {"file": "log.parquet", "model": "New"}
    assert made.plans["GOLD"].horizon == 3
    job = yaml.safe_load((begun / ".gitlab-ci.yml").read_text())["abharness gate"]
    assert job["script"][-1] == "abharness compare experiment.toml --records verdict"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["our prices.csv", "--legacy", "mine:Older"], "(did you mean 'Old'?); it has New, Old"),
        (["our prices.csv", "--legacy", "mine"], "expected module:Class, a file of recorded"),
        (["our prices.csv", "--legacy", "mine:Old,window"], "expected KEY=VALUE after a comma"),
        (["nothing.csv", "--legacy", "mine:Old"], "nothing.csv"),
        (["SILVER", "--legacy", "mine:Old"], "no dataset 'SILVER'"),
        (["log.parquet", "--legacy", "mine:Old"], "name the column with --target"),
        (["our prices.csv", "--legacy", "log.parquet"], "holds several models: Old, New"),
        (["GOLD", "--legacy", "log.parquet,model=Old"], "the logs share 0 origins on GOLD"),
    ],
)
def test_init_writes_nothing_when_something_is_wrong(begun, call, words, said):
    """What is wrong with data or arms is one line, and no file is written."""
    code, _, err = call("init", *words, "--candidate", "mine:New")

    assert code == 2
    assert said in err
    assert not (begun / "experiment.toml").exists()


@pytest.mark.parametrize(
    ("every", "steps", "lost", "plan", "validation"),
    [
        (1, 1, [], "horizon = 1, stride = 1, first = 2019-01-09, origins = None", 0),
        (1, 5, [], "horizon = 5, stride = 5, first = 2019-01-14, origins = None", 1),
        (5, 5, [], "horizon = 5, stride = 5, first = 2019-01-09, origins = None", 0),
        (5, 10, [], "horizon = 10, stride = 10, first = 2019-01-16, origins = None", 2),
        (5, 5, [200], "horizon = 5, stride = 5, first = 2019-10-23, origins = None", 34),
        (5, 5, [400], "horizon = 5, stride = 5, first = 2019-01-09, origins = 80", 0),
    ],
)
def test_the_plan_of_a_log_is_that_of_its_forecasts(
    begun, call, every, steps, lost, plan, validation
):
    """Origins, stride and horizon are what the log holds; of a gap the longer side is taken.

    At least half of what lies before the first origin is left to learn from.
    """
    prices = pd.read_csv("our prices.csv")
    rows = [
        {
            "cutoff": prices.Date[row],
            "ds": prices.Date[row + step],
            "q10": 90,
            "q50": 99,
            "q90": 110,
        }
        for row in range(1, 600 - steps, every)
        for step in range(1, steps + 1)
        if (row - 1) not in lost
    ]
    pd.DataFrame(rows).to_csv("log.csv.gz", index=False)

    code, out, err = call(
        "init", "our prices.csv", "--legacy", "mine:Old", "--candidate", "log.csv.gz"
    )

    made = read_experiment("experiment.toml").plans["our_prices"]
    found = f"horizon = {made.horizon}, stride = {made.stride}, first = {made.first}"
    assert (code, err) == (0, "")
    assert f"{found}, origins = {made.origins}" == plan
    assert made.validation == validation
    assert (bool(lost) or made.stride != every) == ("note: the plan takes" in out)


@pytest.mark.parametrize("mark", [";", "\t"])
def test_init_sees_the_only_columns_there_can_be(begun, call, mark):
    """Names in another language are no question where one column has dates and one numbers."""
    days = np.busday_offset("2015-01-05", np.arange(900), "forward").astype(object)
    lines = [f"{day:%d.%m.%Y}{mark}{100 + row % 7},25" for row, day in enumerate(days)]
    (begun / "kurse.txt").write_text("\n".join([f"Datum{mark}Schluss", *lines]))
    (begun / "two.csv").write_text("Datum,Eins,Zwei\n2020-01-02,1,2\n2020-01-03,1,2\n")
    arms = ("--legacy", "mine:Old", "--candidate", "mine:New", "--ci", "none")

    refused = call("init", "two.csv", *arms)
    code, out, err = call("init", "kurse.txt", *arms)

    assert (code, err) == (0, "")
    assert "Schluss, from 100.25" in out
    assert refused[0] == 2
    assert "name the column with --target: it has Datum, Eins, Zwei" in refused[2]


def test_init_overwrites_when_told(begun, call):
    """A file that is there stays, unless --force says otherwise."""
    (begun / "policy.toml").write_text("mine")
    words = ("init", "GOLD", "--legacy", "mine:Old", "--candidate", "mine:New", "--ci", "none")

    code, _, err = call(*words)
    kept = (begun / "policy.toml").read_text()

    assert (code, kept) == (2, "mine")
    assert "policy.toml exists already; --force overwrites it" in err
    assert call(*words, "--force")[0] == 0
    assert (begun / "policy.toml").read_text() != "mine"


@pytest.mark.slow
def test_demo_rejects_its_planted_fault(tmp_path, monkeypatch, call):
    """The candidate that forgets to undo its scaling is rejected, and demo says so with 0."""
    monkeypatch.chdir(tmp_path)

    code, out, _ = call("demo")

    assert code == 0
    assert re.match("REJECT: ", out)
    assert out.rstrip().endswith("planted.py")
