"""The replacement: its bundled checkpoint, other backbones, and clear refusals."""

import json
import warnings

import numpy as np
import pytest
import torch

from candidates.hf_bayesian_autoformer import HFBayesianAutoformer
from harness.errors import ArmError, ForecastError
from harness.forecast import LEVELS
from harness.window import RollingOrigin, contexts_at

PLAN = RollingOrigin(horizon=24, stride=10, origins=20, validation=20)


def contexts_of(series, length=96, plan=PLAN):
    return contexts_at(
        series, plan.over(series.dates).origin, plan=plan, length=length, levels=LEVELS
    )


@pytest.fixture(scope="module")
def bundled():
    arm = HFBayesianAutoformer(context=96)
    arm.load()
    return arm


def with_target(contexts, target):
    fields = {name: getattr(contexts, name) for name in contexts.__slots__}
    return type(contexts)(**(fields | {"target": target}))


def test_bundled_checkpoint_answers_its_own_levels(series, bundled):
    """The forecast holds the trained levels, untouched and in order."""
    found = bundled.forecast(contexts_of(series))

    assert found.quantiles.shape == (20, 24, 17)
    assert found.levels[0] == 0.01
    assert found.levels[-1] == 0.99
    assert found.finite.all()
    assert (np.diff(found.quantiles, axis=2) >= 0).mean() > 0.99


def test_forecast_equals_the_pipeline_called_directly(series, bundled):
    """The arm adds nothing to and takes nothing from what the library answers."""
    from chronos import BaseChronosPipeline

    contexts = contexts_of(series)
    pipeline = BaseChronosPipeline.from_pretrained(str(bundled.folder), dtype=torch.float32)

    direct = pipeline.predict(torch.tensor(contexts.target, dtype=torch.float32), 24)
    found = bundled.forecast(contexts)

    assert np.array_equal(found.quantiles, direct.numpy().transpose(0, 2, 1))


def test_window_alone_and_in_a_batch_agree(series, bundled):
    """A window's forecast does not depend on its batch mates."""
    contexts = contexts_of(series)
    alone = contexts_at(
        series,
        PLAN.over(series.dates).origin[7:8],
        plan=PLAN,
        length=96,
        levels=LEVELS,
    )

    together = bundled.forecast(contexts).quantiles[7]

    assert np.allclose(together, bundled.forecast(alone).quantiles[0], rtol=1e-4)


@pytest.mark.parametrize("scale", [1e-6, 1e9])
def test_scaled_prices_give_scaled_forecasts(series, bundled, scale):
    """The unit of the price does not matter."""
    contexts = contexts_of(series)

    one = bundled.forecast(contexts).quantiles
    other = bundled.forecast(with_target(contexts, contexts.target * scale)).quantiles

    assert np.allclose(one * scale, other, rtol=1e-3)


def test_forecast_depends_on_its_input(series, bundled):
    """T34: another history gives another forecast, the same history the same one."""
    contexts = contexts_of(series)

    found = bundled.forecast(contexts)

    assert np.array_equal(found.quantiles, bundled.forecast(contexts).quantiles)
    assert not np.allclose(
        found.quantiles[0] / contexts.last[0], found.quantiles[1] / contexts.last[1]
    )


def test_global_randomness_and_input_are_left_alone(series, bundled):
    """T19: forecasting moves no global generator and changes no input."""
    contexts = contexts_of(series)
    before, state = contexts.target.copy(), torch.get_rng_state()

    bundled.forecast(contexts)

    assert np.array_equal(before, contexts.target)
    assert torch.equal(state, torch.get_rng_state())


def test_context_without_any_value_is_refused(series, bundled):
    """A history of NaN alone has no forecast."""
    contexts = contexts_of(series)
    empty = contexts.target.copy()
    empty[3] = np.nan

    with pytest.raises(ForecastError, match="no value"):
        bundled.forecast(with_target(contexts, empty))


def test_gaps_in_a_context_are_the_backbones_business(series, bundled):
    """NaN inside a history is handled as the pipeline does, with a finite forecast."""
    contexts = contexts_of(series)
    holes = contexts.target.copy()
    holes[:, 40:45] = np.nan

    assert bundled.forecast(with_target(contexts, holes)).finite.all()


def test_missing_hub_model_is_one_line(monkeypatch):
    """Without a network a hub id fails with what was looked for and how to get it."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    arm = HFBayesianAutoformer(model="amazon/chronos-bolt-small", local_only=True)

    with pytest.raises(ArmError, match="hf download amazon/chronos-bolt-small") as caught:
        arm.load()

    assert "\n" not in str(caught.value)


def test_folder_that_is_no_checkpoint_is_one_line(tmp_path):
    """A folder without a Chronos model is named in the error."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "t5"}))

    with pytest.raises(ArmError, match="is no Chronos checkpoint"):
        HFBayesianAutoformer(model=str(tmp_path)).load()


@pytest.mark.parametrize("options", [{"context": 0}, {"samples": 1}])
def test_impossible_options_are_refused(options):
    """Options without a meaning are refused by name."""
    with pytest.raises(ValueError, match=next(iter(options))):
        HFBayesianAutoformer(**options)


@pytest.fixture(scope="module")
def tiny_t5(tmp_path_factory):
    """A Chronos-T5 of random weights, small enough to be made in a test."""
    from chronos.chronos import ChronosConfig
    from transformers import T5Config, T5ForConditionalGeneration

    folder = tmp_path_factory.mktemp("t5")
    config = T5Config(
        d_model=16, d_ff=32, d_kv=8, num_heads=2, num_layers=1, num_decoder_layers=1,
        vocab_size=64, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
    )  # fmt: skip
    config.chronos_config = ChronosConfig(
        tokenizer_class="MeanScaleUniformBins",
        tokenizer_kwargs={"low_limit": -15.0, "high_limit": 15.0},
        context_length=64, prediction_length=24, n_tokens=64, n_special_tokens=2,
        pad_token_id=0, eos_token_id=1, use_eos_token=True, model_type="seq2seq",
        num_samples=10, temperature=1.0, top_k=50, top_p=1.0,
    ).__dict__  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def test_sampling_backbone_is_seeded(series, tiny_t5):
    """Chronos-T5 answers sample paths; the seed decides them, the global state is put back."""
    contexts = contexts_of(series)
    state = torch.get_rng_state()
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own notes on generation settings
        for seed in (1, 1, 2):
            arm = HFBayesianAutoformer(model=str(tiny_t5), samples=10)
            arm.seed(seed)
            found.append(arm.forecast(contexts).samples)

    assert found[0].shape == (20, 10, 24)
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
    assert torch.equal(state, torch.get_rng_state())


def test_samples_must_fit_the_backbone(tiny_t5):
    """A backbone that draws needs a sample count, one that does not must have none."""
    with pytest.raises(ArmError, match="samples = 200"):
        HFBayesianAutoformer(model=str(tiny_t5)).load()
    with pytest.raises(ArmError, match="samples = 0"):
        HFBayesianAutoformer(samples=50).load()


def test_card_names_the_checkpoint():
    """The report is told whose checkpoint it is and what it was trained on."""
    card = HFBayesianAutoformer().card()

    assert "not one of Amazon's" in card["origin"]
    assert card["pretraining data"] == "no market data"
    assert (
        "unknown"
        in HFBayesianAutoformer(model="amazon/chronos-bolt-tiny").card()["pretraining data"]
    )
