"""The legacy arm: training, forecasting, and what its pipeline must not do."""

import dataclasses
import math
import re

import numpy as np
import pytest
import torch
from torch import nn

from baselines.features import WARM_UP
from baselines.legacy import LegacyForecaster
from baselines.training import Material, Schedule, Sizes, evaluate, train, window_batch
from harness.errors import ForecastError
from harness.forecast import LEVELS
from harness.window import RollingOrigin, context_at, contexts_at

PLAN = RollingOrigin(horizon=6, stride=20, origins=5, validation=80)
SMALL = {
    "seq_len": 24,
    "label_len": 12,
    "d_model": 8,
    "n_heads": 2,
    "d_ff": 16,
    "e_layers": 1,
    "moving_avg": 5,
    "epochs": 3,
    "learning_rate": 1e-3,
}
SIZES = Sizes(seq_len=24, label_len=12, pred_len=6)


def fitted(series, *, seed=1, origin=None, **options):
    arm = LegacyForecaster(**(SMALL | options))
    origin = origin or int(PLAN.over(series.dates).origin[0])
    training = arm.fit(context_at(series, origin, plan=PLAN), seed=seed)
    return arm, training


def contexts_of(series, arm):
    return contexts_at(
        series,
        PLAN.over(series.dates).origin,
        plan=PLAN,
        length=arm.context_length,
        levels=LEVELS,
    )


@pytest.mark.slow
@pytest.mark.smoke
def test_training_is_recorded_and_repeats(series):
    """The same seed gives the same bits, another seed others, and each epoch is a row."""
    first, training = fitted(series)
    again, _ = fitted(series)
    other, _ = fitted(series, seed=2)

    points = [arm.forecast(contexts_of(series, arm)).point for arm in (first, again, other)]
    assert np.array_equal(points[0], points[1])
    assert not np.array_equal(points[0], points[2])
    assert len(training.curve) == 3
    assert all(row.gradient_norm > 0 for row in training.curve)
    assert training.best_epoch == min(training.curve, key=lambda row: row.validation_loss).epoch
    assert not training.diverged


def test_fit_leaves_global_randomness_alone(series):
    """Training draws from its own seed and puts the global state back."""
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)

    fitted(series)

    assert torch.equal(expected, torch.rand(3))


def test_validation_span_does_not_train_or_scale(series):
    """Prices of the validation span decide when to stop, not the first epoch's weights."""
    origin = int(PLAN.over(series.dates).origin[0])
    changed = series.target.copy()
    changed[origin - 70 : origin] *= 3
    other = dataclasses.replace(series, target=changed)

    losses = [fitted(data, epochs=1)[1].curve[0].train_loss for data in (series, other)]

    assert losses[0] == losses[1]


def test_forecast_reads_only_its_context(series):
    """Prices before the context it says it reads do not matter."""
    arm, _ = fitted(series)
    changed = series.target.copy()
    changed[: 300 - arm.context_length] *= 2
    other = dataclasses.replace(series, target=changed)
    origin = np.array([300])
    read = {"plan": PLAN, "length": arm.context_length, "levels": LEVELS}

    one = arm.forecast(contexts_at(series, origin, **read)).point
    two = arm.forecast(contexts_at(other, origin, **read)).point

    assert arm.context_length == 24 + WARM_UP
    assert np.array_equal(one, two)


def test_window_alone_and_in_a_batch_agree(series):
    """In eval mode a window's forecast does not depend on its batch mates."""
    arm, _ = fitted(series)
    contexts = contexts_of(series, arm)

    together = arm.forecast(contexts).point
    alone = np.concatenate(
        [
            arm.forecast(
                contexts_at(
                    series, np.array([o]), plan=PLAN, length=arm.context_length, levels=LEVELS
                )
            ).point
            for o in PLAN.over(series.dates).origin
        ]
    )

    assert np.allclose(together, alone, rtol=1e-5)


def test_unfitted_and_short_contexts_are_refused(series):
    """Without a fit, or with too short a context, there is a clear error."""
    arm = LegacyForecaster(**SMALL)
    with pytest.raises(ForecastError, match="not fitted"):
        arm.forecast(contexts_of(series, arm))

    arm, _ = fitted(series)
    with pytest.raises(ForecastError, match="reads 44 sessions"):
        arm.forecast(contexts_at(series, np.array([30]), plan=PLAN, length=44, levels=LEVELS))


@pytest.mark.parametrize(
    "options", [{"label_len": 97}, {"epochs": 0}, {"d_model": 65}, {"batch_size": 0}]
)
def test_impossible_options_are_refused(options):
    """Options the network cannot have are refused by name."""
    with pytest.raises(ValueError, match=next(iter(options))):
        LegacyForecaster(**options)


class Scripted(nn.Module):
    """Answers its one weight everywhere; can turn NaN in evaluation."""

    def __init__(self, *, nan_epochs=()):
        super().__init__()
        self.level = nn.Parameter(torch.zeros(1))
        self.nan_epochs = nan_epochs
        self.evaluated = 0

    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec):
        value = self.level
        if not self.training:
            self.evaluated += 1
            value = value * (math.nan if self.evaluated in self.nan_epochs else 1.0)
        return value.expand(len(x_enc), 6, 1)


def material(rows=200, train_rows=120):
    values = torch.ones(rows, 7)
    return Material(values=values, marks=torch.zeros(rows, 3), train_rows=train_rows)


def test_nan_validation_loss_is_never_the_best():
    """T33: an epoch whose validation loss is NaN is not kept, and the run is marked."""
    model = Scripted(nan_epochs=(2,))
    schedule = Schedule(epochs=4, learning_rate=0.1)

    training = train(model, material(), sizes=SIZES, schedule=schedule, seed=1)

    assert training.best_epoch == 4
    assert training.diverged
    assert math.isnan(training.curve[1].validation_loss)


def test_only_nan_keeps_no_epoch():
    """When every validation loss is NaN nothing is called best."""
    model = Scripted(nan_epochs=range(1, 100))

    training = train(model, material(), sizes=SIZES, schedule=Schedule(epochs=9), seed=1)

    assert training.best_epoch is None
    assert len(training.curve) == 3  # patience


def test_schedule_is_the_legacy_one():
    """The rate holds for two epochs and then halves at each."""
    schedule = Schedule(learning_rate=1e-4)

    assert [schedule.rate(e) for e in range(1, 6)] == [1e-4, 1e-4, 5e-5, 2.5e-5, 1.25e-5]


def test_windows_hold_the_contract():
    """Inputs, decoder inputs and truth are the rows they should be, the future left out."""
    rows = torch.arange(100.0)
    stuff = Material(values=rows[:, None].repeat(1, 7), marks=rows[:, None], train_rows=60)

    (x_enc, mark, x_dec, mark_dec), truth = window_batch(stuff, torch.tensor([10]), SIZES)

    assert x_enc[0, :, 0].tolist() == list(range(10, 34))
    assert mark[0, :, 0].tolist() == list(range(10, 34))
    assert x_dec[0, :, 0].tolist() == [*range(22, 34), *[0] * 6]
    assert mark_dec[0, :, 0].tolist() == list(range(22, 40))
    assert truth[0, :, 0].tolist() == list(range(34, 40))


def test_evaluate_puts_the_mode_back():
    """Evaluating leaves a training model in training."""
    model = Scripted().train()

    evaluate(model, material(), torch.arange(3), sizes=SIZES, loss=nn.functional.mse_loss)

    assert model.training


LEVELS_ASKED = [0.1, 0.25, 0.5, 0.75, 0.9]
FAMILY = [
    ("Autoformer", {}, "none"),
    ("EnhancedAutoformer", {}, "none"),
    ("EnhancedAutoformer", {"quantiles": LEVELS_ASKED}, "quantiles"),
    ("BayesianEnhancedAutoformer", {"options": {"n_samples": 20}}, "samples"),
    (
        "BayesianEnhancedAutoformer",
        {"options": {"n_samples": 20, "uncertainty_method": "dropout"}},
        "samples",
    ),
    ("BayesianEnhancedAutoformer", {"quantiles": LEVELS_ASKED}, "quantiles"),
    ("HierarchicalEnhancedAutoformer", {"n_heads": 8}, "none"),
    ("QuantileBayesianAutoformer", {"quantiles": LEVELS_ASKED}, "quantiles"),
    ("EnhancedAutoformer", {"options": {"repaired": True}}, "none"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("model", "options", "form"), FAMILY)
def test_every_legacy_model_trains_and_forecasts(series, model, options, form):
    """Each network learns for two epochs and answers prices in the form it has."""
    arm, training = fitted(series, model=model, epochs=2, **options)

    found = arm.forecast(contexts_of(series, arm))
    again = arm.forecast(contexts_of(series, arm))

    kinds = {"none": None, "quantiles": found.quantiles, "samples": found.samples}
    assert len(training.curve) == 2
    assert not training.diverged
    assert found.finite.all()
    assert 0.2 < float(np.median(found.point / contexts_of(series, arm).last[:, None])) < 5
    assert np.array_equal(found.point, again.point)
    assert (form == "none") == (found.quantiles is None and found.samples is None)
    assert form == "none" or kinds[form] is not None


def test_repaired_build_is_labelled():
    """The quantile Bayesian network, which never ran, says so in its card."""
    arm = LegacyForecaster(model="QuantileBayesianAutoformer", quantiles=LEVELS_ASKED)

    assert "REPAIRED BUILD" in arm.card()["model"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "one is lost, as in the fork; full_length_lags = true"),
        ({"full_length_lags": True}, "as in the original Autoformer repository"),
        ({"repaired": True}, "as in the original Autoformer repository"),
    ],
)
def test_the_card_says_whose_odd_lengths_these_are(options, said):
    """The fork and the original repository differ at odd lengths, and owners must know (V-02)."""
    assert said in LegacyForecaster(options=options).card()["lags"]


@pytest.mark.parametrize(
    "options",
    [
        {"model": "Transformer"},
        {"quantiles": [0.1, 0.9]},
        {"model": "EnhancedAutoformer", "quantiles": [0.9, 0.1]},
        {"model": "QuantileBayesianAutoformer"},
    ],
)
def test_quantiles_that_cannot_be_are_refused(options):
    """Unknown networks, levels out of order and modes a network lacks are refused."""
    with pytest.raises(ValueError, match=r"expected|needs|no quantile mode"):
        LegacyForecaster(**options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epochs": True}, "epochs = True: expected a valid integer"),
        ({"seq_len": "96"}, "seq_len = '96': expected a valid integer"),
        ({"dropout": "x"}, "dropout = 'x': expected a valid number"),
        ({"options": 3}, "options = 3: expected a valid dictionary"),
        ({"quantiles": 0.1}, "quantiles = 0.1: expected a valid list"),
        ({"device": "banana"}, "device = 'banana': expected cpu, cuda, cuda:1 or auto"),
    ],
)
def test_options_of_another_type_are_refused(options, said):
    """A value of another type is named when the arm is made, not when it trains."""
    with pytest.raises(ValueError, match=re.escape(said)):
        LegacyForecaster(**options)


def test_factor_may_be_a_fraction():
    """The number of lags is a factor, which in the originals need not be whole either."""
    assert LegacyForecaster(factor=1.5).factor == 1.5
