"""Running, writing and the verb."""

import dataclasses
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from harness.arm_ref import ArmRef
from harness.checks import (
    PROBE,
    NetworkSizes,
    catalogue,
    check,
    class_subject,
    make_resolver,
    network_subject,
    run_battery,
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


def catalogue_of(code):
    return next(each for each in catalogue() if each.code == code)


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


class Drawn(Line):
    """Reads its history on the first draw of weights only."""

    def __init__(self, config):
        super().__init__(config)
        self.scale = 1.0 if torch.initial_seed() < 1000 else 0.0

    def forward(self, *inputs):
        return self.scale * super().forward(*inputs)


class Pretrained(Line):
    """The same weights however often it is built."""

    def __init__(self, config):
        super().__init__(config)
        nn.init.constant_(self.map.weight, 0.1)
        nn.init.zeros_(self.map.bias)


def test_draws_of_weights_that_disagree_are_told():
    """The gravest outcome counts, with its value, and the reason says how many draws pass."""
    (result,) = run_battery(line(kind=Drawn), ["T13"])

    assert (result.outcome, result.measured["value"]) == ("fail", 0.0)
    assert result.draws == ("pass", "fail", "fail")
    assert result.reason.endswith("; draws of weights disagree: 1 of 3 pass")


def test_draws_of_weights_that_agree_are_not_mentioned():
    """Every draw passes: the worst value is shown, and nothing said of draws."""
    (result,) = run_battery(line(), ["T13"])
    values = []
    for number in range(3):
        one = dataclasses.replace(line(), draw=number)
        values.append(catalogue_of("T13").function(one).value)

    assert result.draws == ("pass", "pass", "pass")
    assert result.measured["value"] == min(values)
    assert len(set(values)) == 3
    assert "draws" not in result.reason


def test_weights_that_are_not_drawn_are_asked_once():
    """A pretrained network has one draw; predicates that rest on none are asked once of all."""
    results = run_battery(line(kind=Pretrained), ["T12", "T13"])

    assert [result.draws for result in results] == [("pass",), ("pass",)]
    assert [result.draws for result in run_battery(line(), ["T18"])] == [("pass",)]


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


@pytest.mark.parametrize(
    ("codes", "require", "met"),
    [
        (["T9"], False, True),
        (["T9"], True, False),
        (["T18"], True, True),
        (["T15"], True, False),  # nothing passed
        (["T9", "T18"], ["T18"], True),
        (["T9", "T18"], ["T9"], False),
        (["T15", "T18"], ["T15"], False),  # required, and does not apply
        (["T18"], ["T10"], False),  # required, and was not tried
    ],
)
def test_a_requirement_is_met_or_not(codes, require, met):
    """A failure is a result unless it is required not to fail."""
    trial = check("line", {}, require=require, codes=codes, resolver=resolve)

    assert trial.met is met
    assert codes == [result.code for result in trial.results]


def test_class_of_a_user_is_called_with_a_namespace(user_module, capsys):
    """`module:Class` gets the configuration as attributes; what it prints does not get out."""
    options = {"config.d_model": 8, "scale": 0.0}

    trial = check("my_network:Model", options, codes=["T34", "T31"])

    outcomes = {result.code: result.outcome for result in trial.results}
    assert outcomes == {"T31": "pass", "T34": "fail"}
    assert capsys.readouterr().out == ""


def test_class_that_is_neither_arm_nor_network_is_refused(user_module):
    """A class without `forecast` and `forward` is wrong input."""
    with pytest.raises(ArmError, match="neither"):
        class_subject("my_network:Neither")


def test_class_that_is_an_arm_is_tried_as_one():
    """`module:Class` with a `forecast` method is asked the predicates on arms."""
    trial = check("baselines.random_walk:RandomWalk", {}, require=True)

    assert trial.met
    assert [each.code for each in catalogue("arm")] == [each.code for each in trial.results]


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
    (result,) = check("broken", {}, codes=["T31"], resolver=resolver).results

    assert result.outcome == "fail"
    assert "building: NameError" in result.reason
