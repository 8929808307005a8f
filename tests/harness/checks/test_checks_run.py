"""Running, writing and the verb."""

import dataclasses
import json
import random
import re
import sys
from pathlib import Path
from xml.etree import ElementTree as Tree

import numpy as np
import pytest
import torch
from torch import nn

from harness.arm import ArmRef
from harness.checks import (
    PROBE,
    NetworkSizes,
    catalogue,
    check,
    class_subject,
    make_resolver,
    network_subject,
    run_battery,
    table_lines,
    to_json,
    to_junit,
)
from harness.errors import ArmError, ConfigError

NETWORK = """\
from torch import nn

class Model(nn.Module):
    def __init__(self, configs, scale=1.0):
        super().__init__()
        print("made with", configs.d_model)
        self.steps, self.map = configs.pred_len, nn.Linear(configs.seq_len, configs.pred_len)
        self.scale = scale

    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec, mask=None):
        return self.scale * self.map(x_enc.transpose(1, 2)).transpose(1, 2)

class Neither:
    pass
"""
CODES = ["T18", "T10", "T9", "T15"]  # pass, pass, fail, not applicable


class Line(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.map = nn.Linear(config["seq_len"], config["pred_len"])

    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec, mask=None):
        return self.map(x_enc.transpose(1, 2)).transpose(1, 2)


class Failing(Line):
    def forward(self, *inputs):
        raise RuntimeError("told to\nfail")


def line(name="line", kind=Line):
    return network_subject(lambda _, config: kind(config), name)


def resolve(target, options):
    return line() if target == "line" else None


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    """A user's file with a network, importable for the test."""
    (tmp_path / "my_network.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("my_network", None)


def test_results_stand_in_order_of_their_numbers():
    """Codes are tried once each, by number."""
    results = run_battery(line(), ["T18", "T9", "T18"])

    assert [result.code for result in results] == ["T9", "T18"]


def test_failing_subject_is_an_error_a_predicate():
    """A network that always raises ends every predicate alone, with one line."""
    results = run_battery(line(kind=Failing), ["T9", "T18", "T31"])

    assert [result.outcome for result in results] == ["error", "error", "fail"]
    assert all("told to fail" in result.reason for result in results)


def test_results_are_frozen():
    """A result cannot be changed after the fact."""
    (result,) = run_battery(line(), ["T18"])

    with pytest.raises(dataclasses.FrozenInstanceError):
        result.outcome = "fail"


def test_unknown_code_is_refused():
    """A code that is none is wrong input, and the known ones are named."""
    with pytest.raises(ConfigError, match="T99; known are T1, T2"):
        run_battery(line(), ["T99"])


def test_global_random_state_is_put_back():
    """A battery leaves Python's, numpy's and torch's generators as they were."""
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    run_battery(line(), CODES)

    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002

    assert before == after


def test_table_names_outcome_and_reason():
    """The table shows every outcome, the reason of all that did not pass, and the counts."""
    lines = table_lines(run_battery(line(), CODES), title="line")

    assert lines[0] == "line"
    assert any(text.startswith("T9 ") and "FAIL" in text for text in lines)
    assert any("it has no uncertainty call" in text for text in lines)
    assert lines[-1].startswith("2 pass, 1 fail, 1 not applicable; ")


@pytest.mark.parametrize("width", [60, 100, 160])
def test_table_shows_value_threshold_and_time_of_every_row(width):
    """What passed has its measured value, its threshold and its duration, too; no line is wider."""
    results = run_battery(line())
    lines = table_lines(results, title="line", width=width)

    rows = {text.split()[0]: text for text in lines if text.startswith("T")}
    assert list(rows) == [result.code for result in results]
    assert lines[1].split() == ["code", "result", "value", "wanted", "time", "statement"]
    assert re.match(r"T18   pass    0 +<= 1e-06   \d\.\d\d s  the point", rows["T18"])
    assert re.match(r"T34   pass    \S+ +>= 1e-06   \d+\.\d\d s  the forecast", rows["T34"])
    assert max(map(len, lines)) <= max(width, 74)


def test_json_holds_every_result():
    """The JSON is valid, carries a schema, and holds measured values with their threshold."""
    found = json.loads(to_json(run_battery(line(), CODES), subject="line"))

    assert (found["schema"], found["subject"]) == (1, "line")
    by_code = {row["code"]: row for row in found["results"]}
    assert by_code["T9"]["outcome"] == "fail"
    assert by_code["T9"]["measured"]["value"] > by_code["T9"]["threshold"]
    assert by_code["T15"]["measured"] == {}


def test_junit_counts_failures_errors_and_skips():
    """JUnit has a case a predicate, and what did not pass is marked."""
    results = [*run_battery(line(), CODES), *run_battery(line(kind=Failing), ["T18"])]
    suite = Tree.fromstring(to_junit(results, subject="line"))[0]

    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}

    assert counts == {"tests": "5", "failures": "1", "errors": "1", "skipped": "1"}
    assert len(suite.findall(".//failure")) == 1


def test_junit_says_what_was_measured_where_it_passed():
    """Every case has its value and its threshold on its standard output."""
    suite = Tree.fromstring(to_junit(run_battery(line(), ["T18", "T34"]), subject="line"))[0]
    fixed, follows = (case.findtext("system-out") for case in suite)

    assert fixed.startswith("value 0, wanted at most 1e-06 of the output's scale: two eval passes")
    assert re.match(r"value [\d.e+]+, wanted at least 1e-06 of the output's scale: ", follows)


@pytest.mark.parametrize(
    ("codes", "require", "code"),
    [
        (["T9"], False, 0),
        (["T9"], True, 3),
        (["T18"], True, 0),
        (["T15"], True, 3),  # nothing passed
        (["T9", "T18"], ["T18"], 0),
        (["T9", "T18"], ["T9"], 3),
        (["T15", "T18"], ["T15"], 3),  # required, and does not apply
        (["T18"], ["T10"], 3),  # required, and was not tried
    ],
)
def test_exit_code_follows_what_is_required(codes, require, code):
    """A failure is a result unless it is required not to fail."""
    text, found = check("line", {}, require=require, codes=codes, resolver=resolve)

    assert found == code
    assert codes[0] in text


@pytest.mark.parametrize("form", ["json", "junit"])
def test_every_form_can_be_written(form):
    """The verb writes machine-readable forms, and nothing the subject printed."""
    text, _ = check("line", {}, codes=["T18"], form=form, resolver=resolve)

    assert json.loads(text) if form == "json" else Tree.fromstring(text) is not None


def test_class_of_a_user_is_called_with_a_namespace(user_module, capsys):
    """`module:Class` gets the configuration as attributes; what it prints does not get out."""
    options = {"config.d_model": 8, "scale": 0.0}

    text, _ = check("my_network:Model", options, codes=["T34", "T31"], form="json")

    outcomes = {row["code"]: row["outcome"] for row in json.loads(text)["results"]}
    assert outcomes == {"T31": "pass", "T34": "fail"}
    assert capsys.readouterr().out == ""


def test_class_that_is_neither_arm_nor_network_is_refused(user_module):
    """A class without `forecast` and `forward` is wrong input."""
    with pytest.raises(ArmError, match="neither"):
        class_subject("my_network:Neither")


def test_class_that_is_an_arm_is_tried_as_one():
    """`module:Class` with a `forecast` method is asked the predicates on arms."""
    text, code = check("baselines.random_walk:RandomWalk", {}, require=True)

    assert code == 0
    assert "T34" in text


def test_resolver_knows_arms_and_networks():
    """Networks go before arms of the same name; a name neither knows is refused with the list."""
    arm = ArmRef(name="walk", use="baselines.random_walk:RandomWalk", role="reference")
    resolver = make_resolver(arms={"walk": arm}, networks={"Autoformer": "baselines:build"})

    assert resolver("Autoformer", {"config.seq_len": 48}).sizes.seq_len == 48
    assert resolver("walk", {}).name == "walk"
    assert resolver("module:Class", {}) is None
    with pytest.raises(ConfigError, match="unknown 'nobody'; known are Autoformer, walk"):
        resolver("nobody", {})


def test_every_predicate_is_in_the_document():
    """The table of the document has each code with its statement, and marks the white-box ones."""
    text = (Path(__file__).resolve().parents[3] / "docs" / "battery.md").read_text("utf-8")
    on_arms = {each.code for each in catalogue("arm")}

    for each in catalogue():
        mark = " W" if each.white_box else " A" if each.code in on_arms else ""
        assert f"| {each.code}{mark} | {each.title} |" in text


def test_missing_factory_is_refused():
    """A factory that is not there is wrong input, on one line."""
    with pytest.raises(ArmError, match="nowhere"):
        network_subject("nowhere:build", "Autoformer")


def test_sizes_are_read_from_the_originals_fields():
    """Targets, levels and marks follow from the configuration; a missing size is named."""
    config = {**PROBE, "c_out": 6, "quantile_levels": [0.9, 0.1], "freq": "t", "embed": "fixed"}

    sizes = NetworkSizes.of(config)

    assert (sizes.targets, sizes.levels, sizes.marks) == (3, (0.1, 0.9), 5)
    with pytest.raises(ArmError, match="missing seq_len"):
        NetworkSizes.of({**PROBE, "seq_len": None})


def test_network_that_breaks_when_built_is_a_result():
    """A named network whose constructor crashes fails its predicates; the trial does not crash."""

    def crash(name, config):
        raise NameError("name '_heads' is not defined")

    resolver = make_resolver(networks={"broken": crash})
    text, code = check("broken", {}, codes=["T31"], resolver=resolver)

    assert code == 0
    assert "building: NameError" in text
