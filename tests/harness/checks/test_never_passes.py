"""What must not pass: NaN, what cannot be built, what is refused at every size."""

import math

import pytest
import torch
from torch import nn

from harness.checks import network_subject, run_battery
from harness.checks.predicate import least, worst

SIZES = {"seq_len": 24, "label_len": 12, "pred_len": 6, "enc_in": 2}
VALUES = {  # what a predicate compares or counts of forecasts; the others look at state or shape
    *("T1", "T2", "T7", "T9", "T10", "T12", "T13", "T17", "T18", "T20", "T22", "T23", "T26"),
    *("T28", "T31", "T34"),
}


class Line(nn.Module):
    """A linear map of the history."""

    def __init__(self, config):
        super().__init__()
        self.map = nn.Linear(config["seq_len"], config["pred_len"])
        self.wide = config["c_out"]

    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec):
        return self.map(x_enc[..., : self.wide].transpose(1, 2)).transpose(1, 2)


class Nothing(Line):
    def forward(self, *inputs):
        return math.nan * super().forward(*inputs)


class NothingUnsure(nn.Module):
    """NaN at every level, in the forecast, the report and the labelled quantiles."""

    quantiles = (0.1, 0.5, 0.9)

    def __init__(self, config):
        super().__init__()
        self.map = nn.Linear(config["seq_len"], config["pred_len"])

    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec, return_uncertainty=False):
        path = math.nan * self.map(x_enc.transpose(1, 2)).transpose(1, 2)
        grid = torch.stack([path, path, path], dim=-1)
        if not return_uncertainty:
            return grid.flatten(2)
        named = {f"quantile_{x}": grid[..., i] for i, x in enumerate(self.quantiles)}
        return {"prediction": grid.flatten(2), "quantile_specific": named}


class NothingInTraining(Line):
    def forward(self, *inputs):
        return super().forward(*inputs) * (math.nan if self.training else 1.0)


class NothingWhenHigh(Line):
    def forward(self, x_enc, *inputs):
        path = super().forward(x_enc, *inputs)
        return torch.where(x_enc.mean() > 1.0, math.nan, path)


class NothingOnOneChannel(Line):
    def forward(self, x_enc, *inputs):
        path = x_enc[:, -1:].repeat(1, self.map.out_features, 1)
        return torch.where(x_enc[:, :1, 1:] > 1.0, math.nan, path)


class NothingOnceSaved(Line):
    def save_pretrained(self, folder):
        pass

    @classmethod
    def from_pretrained(cls, folder):
        return Nothing({**SIZES, "c_out": 2})


class Refusing(Line):
    """Refuses every size but one."""

    def __init__(self, config):
        if (config["seq_len"], config.get("quantile_levels")) != (24, None):
            raise ValueError("24 steps, and no levels")
        super().__init__(config)


class Broken(Line):
    def __init__(self, config):
        raise KeyError("zz")


class OneRefused(Line):
    def __init__(self, config):
        if config["seq_len"] == 4 or config.get("quantile_levels"):
            raise ValueError("too short")
        super().__init__(config)


def outcome(code, kind):
    """One predicate on a network."""
    subject = network_subject(lambda name, config: kind(config), "planted", SIZES)
    (result,) = run_battery(subject, [code])
    return result


@pytest.mark.parametrize("kind", [Nothing, NothingUnsure])
@pytest.mark.parametrize("code", sorted(VALUES))
def test_forecasts_of_nan_pass_nothing_that_reads_values(code, kind):
    """Whatever compares or counts values of forecasts does not pass where all are NaN."""
    assert outcome(code, kind).outcome != "pass"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("T1", NothingInTraining),
        ("T9", NothingOnOneChannel),
        ("T12", NothingWhenHigh),
        ("T26", NothingOnceSaved),
    ],
)
def test_one_nan_among_numbers_does_not_pass(code, kind):
    """A predicate that takes the worst of several numbers loses none that is NaN."""
    result = outcome(code, kind)

    assert result.outcome == "fail"
    assert math.isnan(result.measured["value"])


def test_worst_and_least_keep_nan():
    """NaN wins in any place; without one they are the largest and the smallest."""
    assert math.isnan(worst([0.0, math.nan, 1.0]))
    assert math.isnan(least([0.0, math.nan]))
    assert (worst([1.0, 3.0, 2.0]), least([1.0, 3.0, -2.0])) == (3.0, -2.0)


@pytest.mark.parametrize("code", ["T5", "T14"])
def test_what_cannot_be_built_refuses_no_size(code):
    """A constructor that always raises is an error; refusing every size is no pass either."""
    broken, refusing, once = (outcome(code, kind) for kind in (Broken, Refusing, OneRefused))

    assert (broken.outcome, broken.reason) == ("error", "KeyError: 'zz'")
    assert refusing.outcome == "not applicable"
    assert "are refused when built" in refusing.reason
    assert once.outcome == "pass"
