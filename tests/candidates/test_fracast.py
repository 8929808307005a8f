"""Fracast-0 as an arm: the arm contract, its package's own answers, and clear refusals."""

import dataclasses
import importlib.util

import numpy as np
import pytest

from candidates.fracast import Fracast
from harness.arm import Arm, Describes, HasWeights, Loads, Samples
from harness.arm_ref import ArmRef
from harness.errors import ArmError
from harness.forecast import LEVELS
from harness.running.unit import Job, carry_out
from harness.window import RollingOrigin, contexts_at, up_to

installed = pytest.mark.skipif(
    importlib.util.find_spec("fracast") is None,
    reason="the optional package is missing: pip install 'abharness[fracast]'",
)
PLAN = RollingOrigin(horizon=6, stride=10, origins=8, validation=80)
REF = ArmRef(
    name="fracast", use="candidates.fracast:Fracast", role="candidate", options={"context": 256}
)


@pytest.fixture(scope="module")
def arm():
    found = Fracast(context=256)
    found.load()
    return found


def contexts_of(series):
    origins = PLAN.over(series.dates).origin
    return contexts_at(series, origins, plan=PLAN, length=256, levels=LEVELS)


def outcome_of(series, *, batch=256):
    windows = PLAN.over(series.dates)
    past = up_to(series, int(windows.origin[-1]))
    return carry_out(
        Job(ref=REF, seed=3, plan=PLAN, series=past, windows=windows, threads=1, batch=batch)
    )


@installed
def test_unit_runs_and_repeats(series):
    """As a unit of an experiment it answers every window, ordered, the same bits twice."""
    one, other = outcome_of(series), outcome_of(series)

    assert one.reason == [""] * 8
    assert np.isfinite(one.values).all()
    assert (np.diff(one.values, axis=2) >= 0).all()
    assert np.array_equal(one.values, other.values)


@pytest.mark.slow
@installed
def test_future_is_hidden(series):
    """Other prices from an origin on change no forecast made up to it."""
    cut = int(PLAN.over(series.dates).origin[4])
    target = series.target.copy()
    target[cut:] *= 1.5

    before, after = outcome_of(series), outcome_of(dataclasses.replace(series, target=target))

    assert np.array_equal(before.values[:5], after.values[:5])
    assert not np.array_equal(before.values[5:], after.values[5:])


@pytest.mark.slow
@installed
def test_window_alone_and_in_a_batch_agree(series):
    """Forecasts do not depend on what else is in the batch, to 1e-4 relative."""
    assert np.allclose(outcome_of(series, batch=1).values, outcome_of(series).values, rtol=1e-4)


@pytest.mark.slow
@installed
def test_answers_are_those_of_the_package(series, arm):
    """But for the order of levels it is what the package answers for the same history."""
    from fracast import FracastModel

    contexts = contexts_of(series)
    model = FracastModel.from_pretrained(weights="fp32")

    direct = np.sort(model.forecast_batch(contexts.target, horizon=6), axis=2)
    found = arm.forecast(contexts)

    assert np.allclose(found.quantiles, direct, rtol=1e-5)
    assert np.allclose(found.levels, np.arange(1, 10) / 10)
    assert np.array_equal(found.point, found.quantiles[:, :, 4])


@pytest.mark.slow
@installed
@pytest.mark.parametrize("scale", [1e-6, 1e9])
def test_scaled_prices_give_scaled_forecasts(series, arm, scale):
    """The unit of the price does not matter, however small: the bare package has a floor."""
    contexts = contexts_of(series)

    one = arm.forecast(contexts).quantiles
    other = arm.forecast(dataclasses.replace(contexts, target=contexts.target * scale)).quantiles

    assert np.allclose(one * scale, other, rtol=1e-4)


@pytest.mark.slow
@installed
def test_long_horizons_go_on(series, arm):
    """Past the 48 steps of one answer there are more, and the first 48 stay the same."""
    contexts = contexts_of(series)

    one, more = (
        arm.forecast(dataclasses.replace(contexts, horizon=steps)).quantiles[:2]
        for steps in (48, 60)
    )

    assert more.shape == (2, 60, 9)
    assert np.isfinite(more).all()
    assert np.allclose(one, more[:, :48], rtol=1e-6)


@installed
def test_gaps_constants_and_short_histories(series, arm):
    """Gaps are left out, a constant is continued, too few values are a failed window only."""
    contexts = contexts_of(series)
    target = contexts.target.copy()
    target[0, 10:40] = np.nan
    target[1] = 5.0
    target[2, :-7] = np.nan

    found = arm.forecast(dataclasses.replace(contexts, target=target))

    assert found.finite.tolist() == [True, True, False, True, True, True, True, True]
    assert np.allclose(found.quantiles[1], 5.0, rtol=1e-4)


@installed
def test_input_and_global_randomness_are_left_alone(series, arm):
    """Forecasting changes neither its contexts nor a generator that others use."""
    import torch

    contexts = contexts_of(series)
    before, state = contexts.target.copy(), torch.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002  # the global state is the point

    arm.forecast(contexts)

    assert np.array_equal(before, contexts.target)
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002


@installed
def test_weights_and_code_of_the_package_are_its_identity(arm):
    """What decides a forecast is digested: the weights in use, and the package's code."""
    names = {file.name for file in arm.weight_files()}

    assert {"model.safetensors", "config.json", "inference.py"} <= names
    assert "model.int8.safetensors" not in names
    assert "model.int8.safetensors" in {f.name for f in Fracast(weights="w8").weight_files()}
    assert all(file.is_file() for file in arm.weight_files())


@installed
def test_small_weights_answer_nearly_the_same(series, arm):
    """The eight-bit weights are within 3 % of the full ones."""
    contexts = contexts_of(series)

    small = Fracast(context=256, weights="w8").forecast(contexts).quantiles

    assert np.allclose(small, arm.forecast(contexts).quantiles, rtol=0.03)


def test_it_keeps_the_protocols():
    """An arm that loads, has weights and a card, and draws nothing."""
    arm = Fracast()

    assert isinstance(arm, Arm)
    assert isinstance(arm, Loads)
    assert isinstance(arm, HasWeights)
    assert isinstance(arm, Describes)
    assert not isinstance(arm, Samples)
    assert all(isinstance(text, str) for pair in arm.card().items() for text in pair)
    assert "unknown" in arm.card()["pretraining data"]


def test_missing_package_is_said_in_one_line(monkeypatch):
    """Whoever asks for weights or a forecast learns what to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    for ask in (Fracast().load, Fracast().weight_files):
        with pytest.raises(ArmError, match=r"pip install 'abharness\[fracast\]'") as caught:
            ask()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"context": 4}, "context = 4: expected 8 to 2048"),
        ({"context": 4096}, "context = 4096: expected 8 to 2048"),
        ({"weights": "int4"}, "weights = 'int4': expected 'fp32' or 'w8'"),
    ],
)
def test_wrong_options_are_named(options, said):
    """Option, value and what would do."""
    with pytest.raises(ArmError, match=said):
        dataclasses.replace(REF, options=options).build()
