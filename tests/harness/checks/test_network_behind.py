"""The network that stands for an arm: named or built by its class, and tried as a network."""

import sys
from pathlib import Path

import pytest

from harness.arm_ref import ArmRef
from harness.checks import read_checks
from harness.checks.subject import NetworkRef, network_of
from harness.errors import ArmError
from harness.running.store_folder import open_store

MODULE = """\
import contextlib
from torch import nn
from harness.forecast import Forecast

class Net(nn.Module):
    def __init__(self, configs, scale=1.0):
        super().__init__()
        self.map, self.scale = nn.Linear(configs.seq_len, configs.pred_len), scale

    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec, mask=None):
        path = self.map(x_enc.cuda().transpose(1, 2)).transpose(1, 2)
        return self.scale * path.cuda()

class Plain:
    context_length = 5

    def __init__(self, scale=1.0):
        self.scale = scale

    def forecast(self, contexts):
        return Forecast.of_point(contexts.target[:, -contexts.horizon :])

class Named(Plain):
    network = "their_arms:Net"

    @property
    def network_options(self):
        return {} if self.scale == 1.0 else {"scale": self.scale}

class Building(Plain):
    network_config = {"seq_len": 36}
    working_now = []

    def build_network(self, config):
        assert self.working_now, "called outside of its context"
        return Net(config, scale=self.scale)

    @contextlib.contextmanager
    def working(self):
        self.working_now.append(1)
        try:
            yield
        finally:
            self.working_now.pop()
"""
EXPERIMENT = """\
datasets = ["GOLD"]

[plan]
horizon = 5
stride = 5
origins = 40
validation = 60

[[arms]]
name = "plain one"
use = "their_arms:Plain"
role = "reference"

[[arms]]
name = "named"
use = "their_arms:Named"
role = "candidate"
scale = 0.0

[[arms]]
name = "building"
use = "their_arms:Building"
role = "legacy"

[[arms]]
name = "Autoformer"
use = "their_arms:Building"
role = "legacy"

[policy]
baseline = "building"
candidate = "named"

[[policy.criteria]]
metric = "mae"
margin = 0.02
"""


@pytest.fixture(autouse=True)
def trial(tmp_path, monkeypatch):
    """An experiment beside its arms, in the current folder."""
    (tmp_path / "their_arms.py").write_text(MODULE)
    (tmp_path / "trial.toml").write_text(EXPERIMENT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    yield
    sys.modules.pop("their_arms", None)


def tried(call, *arguments):
    """Outcome by code of a trial kept in a store, and the record."""
    code, _, err = call("check", *arguments, "--experiment", "trial.toml", "--store", "runs")
    assert code == 0, err
    (record,) = read_checks(open_store(Path("runs")))
    return {result.code: result.outcome for result in record.results}, record


def test_named_network_is_tried_for_the_arm(call):
    """The record is the network's own, with the options that make it this arm's."""
    found, record = tried(call, "named", "--as", "network", "--only", "T34", "--only", "T31")

    assert found == {"T31": "pass", "T34": "fail"}  # at a scale of 0 nothing depends on anything
    assert (record.target, record.kind) == ("their_arms:Net", "network")
    assert record.use == "their_arms:Net"
    assert (record.options, record.role) == ({"scale": 0.0}, "candidate")


def test_option_given_goes_before_the_arms_own(call):
    """What the command line says of the network wins."""
    found, _ = tried(call, "named", "--as", "network", "--option", "scale=2.0", "--only", "T34")

    assert found == {"T34": "pass"}


@pytest.mark.slow
def test_built_network_is_asked_everything_that_applies(call):
    """It is built at the arm's own sizes, in its context, and `.cuda()` stays on the CPU."""
    found, record = tried(call, "building", "--as", "network")

    assert len(found) == 34
    assert "error" not in found.values()
    assert (found["T31"], found["T34"], found["T27"]) == ("pass", "pass", "pass")
    assert sys.modules["their_arms"].Building.working_now == []
    assert (record.target, record.kind) == ("building", "network")
    assert record.use == "their_arms:Building"


def test_arm_that_builds_goes_before_our_network_of_its_name(call):
    """With `--as network` a user's arm called like one of ours is tried, not ours."""
    found, record = tried(call, "Autoformer", "--as", "network", "--only", "T31")

    assert (found, record.use) == ({"T31": "pass"}, "their_arms:Building")


def test_our_network_of_an_arms_name_is_noted(call):
    """Without `--as` ours is taken, and a note says that it is not the arm's."""
    code, _, err = call("check", "Autoformer", "--experiment", "trial.toml", "--only", "T31")

    assert code == 0
    assert "is not the one behind the experiment's arm of that name" in err


def test_nightly_arms_are_named_like_their_networks(call):
    """In the shipped experiment the note has nothing to say."""
    code, _, err = call("check", "Autoformer", "--only", "T31")

    assert (code, err) == (0, "")


def test_arm_without_a_network_is_refused(refused):
    """An arm whose class offers none says so in one line."""
    said = refused("check", "plain one", "--as", "network", "--experiment", "trial.toml")

    assert "arm 'plain one' offers no network" in said
    assert "neither `network` nor `build_network`" in said


def ref(name, **options):
    return ArmRef(
        name="it", use=f"their_arms:{name}", role="legacy", options=options, folder=Path()
    )


def test_class_says_which_network_stands_for_it():
    """A name with options, a network it builds, or none."""
    assert network_of(ref("Plain")) is None
    assert network_of(ref("Named")) == NetworkRef(target="their_arms:Net", use="their_arms:Net")
    built = network_of(ref("Building", scale=2.0))
    assert built == NetworkRef(
        target="it", use="their_arms:Building", options={"scale": 2.0}, builds=True
    )
    with pytest.raises(ArmError, match="colour"):
        network_of(ref("Named", colour=1))


@pytest.mark.parametrize(
    ("options", "same"),
    [
        ({"scale": 2.0}, True),
        ({"scale": 2.0, "config.d_model": 8}, True),
        ({"scale": 1.0}, False),
        ({}, False),
        ({"scale": 2.0, "repaired": True}, False),
    ],
)
def test_another_size_is_the_same_network_and_another_option_is_not(options, same):
    """Fields of the configuration change the size on trial; options make another network."""
    network = NetworkRef(target="t", use="u", options={"scale": 2.0})

    assert network.is_tried_with(options) == same


@pytest.mark.parametrize(
    ("use", "options", "target", "tried_with"),
    [
        ("candidates.hf_bayesian_autoformer:HFBayesianAutoformer", {}, "HFBayesianAutoformer", {}),
        (
            "candidates.hf_bayesian_autoformer:HFBayesianAutoformer",
            {"model": "amazon/chronos-2", "context": 96},
            "HFBayesianAutoformer",
            {"backbone": "amazon/chronos-2"},
        ),
        ("baselines.legacy:LegacyForecaster", {}, "Autoformer", {}),
        (
            "baselines.legacy:LegacyForecaster",
            {"model": "EnhancedAutoformer", "options": {"repaired": True}},
            "EnhancedAutoformer",
            {"repaired": True},
        ),
    ],
)
def test_our_arms_name_their_networks(use, options, target, tried_with):
    """The arms of both sides say which network they are, with the options that change it."""
    found = network_of(ArmRef(name="arm", use=use, role="legacy", options=options))

    assert found is not None
    assert (found.target, found.options, found.builds) == (target, tried_with, False)
    assert found.use in ("candidates:build", "baselines:build")


def test_reference_arms_have_no_network():
    """A random walk is no network, whatever is tried beside it."""
    for name in ("RandomWalk", "VolatilityRandomWalk", "SeasonalNaive"):
        use = f"baselines.random_walk:{name}"
        assert network_of(ArmRef(name="arm", use=use, role="reference")) is None
