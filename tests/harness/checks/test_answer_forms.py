"""Quantiles and intervals in every form an answer may have them."""

import pytest
import torch
from torch import nn

from harness.checks import network_subject, run_battery

SIZES = {"seq_len": 24, "label_len": 12, "pred_len": 6, "enc_in": 2}


class Line(nn.Module):
    """A linear map of the history that answers in the form of its class."""

    def __init__(self, config):
        super().__init__()
        self.map = nn.Linear(config["seq_len"], config["pred_len"])

    def path(self, x_enc):
        return self.map(x_enc.transpose(1, 2)).transpose(1, 2)

    def grid(self, x_enc):
        path = self.path(x_enc)
        return torch.stack([path - 1, path, path + 1], dim=-1)


class Labels(Line):
    """A dict from the plain call, its quantiles by labels such as q10."""

    shift = 1.0

    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec):
        path = self.path(x_enc)
        named = {"q10": path - self.shift, "q50": path, "q90": path + self.shift}
        return {"prediction": path, "quantiles": named}


class CrossingLabels(Labels):
    shift = -1.0


class Specific(Line):
    """Quantile mode, and labels such as q10 in the report."""

    quantiles = (0.1, 0.5, 0.9)
    reversed = False

    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec, return_uncertainty=False):
        grid = self.grid(x_enc)
        if not return_uncertainty:
            return grid.flatten(2)
        values = grid.flip(-1) if self.reversed else grid
        named = {f"q{level}": values[..., i] for i, level in enumerate((10, 50, 90))}
        return {"prediction": grid.flatten(2), "quantile_specific": named}


class WrongSpecific(Specific):
    reversed = True


class Axis(Specific):
    """Quantile mode, and quantiles on an axis of the report."""

    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec, return_uncertainty=False):
        grid = self.grid(x_enc)
        if not return_uncertainty:
            return grid.flatten(2)
        return {"prediction": grid.flatten(2), "quantiles": grid.flip(-1)}


class NoLevel(Labels):
    def forward(self, *inputs):
        found = super().forward(*inputs)
        return found | {"quantiles": {"q100": found["prediction"], "q50": found["prediction"]}}


class Bands(Line):
    """Intervals as pairs under shares, wider or narrower than they should be."""

    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec, return_uncertainty=False):
        path = self.path(x_enc)
        if not return_uncertainty:
            return path
        bands = {share: (path - z, path + z) for share, z in ((0.68, 0.8), (0.95, 1.6), (0.99, 2))}
        return {"prediction": path, "confidence_intervals": bands}


def result_of(kind, code):
    """One predicate on a network."""
    subject = network_subject(lambda name, config: kind(config), "planted", SIZES)
    (result,) = run_battery(subject, [code])
    return result


@pytest.mark.parametrize(
    ("kind", "code", "outcome"),
    [
        (Labels, "T22", "not applicable"),  # its labels have no place on an axis
        (Labels, "T23", "pass"),
        (CrossingLabels, "T23", "fail"),
        (Specific, "T22", "pass"),
        (Specific, "T23", "pass"),
        (WrongSpecific, "T22", "fail"),
        (WrongSpecific, "T23", "fail"),
        (Axis, "T23", "fail"),
        (NoLevel, "T23", "error"),
        (Line, "T23", "error"),  # has no forward pass at all
    ],
)
def test_quantiles_are_found_in_every_form(kind, code, outcome):
    """Labels and axes of a dict are read as an arm around the network would read them."""
    result = result_of(kind, code)

    assert result.outcome == outcome, result.reason


def test_intervals_may_be_pairs_under_shares():
    """T20 reads intervals by the share they name, whatever their label and form."""
    result = result_of(Bands, "T20")

    assert result.outcome in ("pass", "fail")
    assert list(result.measured)[1:] == ["68%", "95%", "99%"]


def test_label_that_is_no_level_is_named():
    """A label of 100 is an error that says so, not a tenth."""
    assert "'q100', which is no level" in result_of(NoLevel, "T23").reason
