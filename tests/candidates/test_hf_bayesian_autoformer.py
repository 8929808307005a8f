"""The replacement as an arm: its bundled checkpoint, other backbones, and clear refusals."""

import json
import warnings

import numpy as np
import pytest
import torch

from candidates.hf_bayesian_autoformer import HFBayesianAutoformer
from harness.errors import ArmError, ForecastError
from harness.forecast import LEVELS, extrapolated
from harness.window import RollingOrigin, contexts_at

PLAN = RollingOrigin(horizon=24, stride=10, origins=20, validation=20)
FEW = RollingOrigin(horizon=24, stride=10, origins=3, validation=20)


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
    assert (np.diff(found.quantiles, axis=2) >= 0).all()


@pytest.mark.smoke
def test_forecast_equals_the_pipeline_called_directly(series, bundled):
    """What the library answers is put in order, nothing else."""
    from chronos import BaseChronosPipeline

    contexts = contexts_of(series)
    pipeline = BaseChronosPipeline.from_pretrained(str(bundled.folder), dtype=torch.float32)

    direct = pipeline.predict(torch.tensor(contexts.target, dtype=torch.float32), 24)
    found = bundled.forecast(contexts)

    assert np.array_equal(found.quantiles, np.sort(direct.numpy().transpose(0, 2, 1)))


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


def test_folder_that_is_no_checkpoint_is_one_line(tmp_path):
    """A folder without a Chronos model is named in the error."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "t5"}))

    with pytest.raises(ArmError, match="is no Chronos checkpoint"):
        HFBayesianAutoformer(model=str(tmp_path)).load()


@pytest.mark.parametrize(
    "options",
    [
        {"context": 0},
        {"samples": 1},
        {"samples": 199},
        {"dtype": "int8"},
        {"finetune": {"epochs": 3}},
        {"finetune": {"lr": 0.0}},
        {"finetune": {}, "dtype": "bfloat16"},
    ],
)
def test_impossible_options_are_refused(options):
    """Options without a meaning are refused by name."""
    with pytest.raises(ValueError, match=list(options)[-1]):
        HFBayesianAutoformer(**options)


def test_sampling_backbone_is_seeded(series, tiny_t5):
    """Chronos-T5 answers sample paths; the seed decides them, the global state is left alone."""
    contexts = contexts_of(series, plan=FEW)
    state = torch.get_rng_state()
    found = []
    for seed in (1, 1, 2):
        arm = HFBayesianAutoformer(model=str(tiny_t5), samples=200)
        arm.seed(seed)
        found.append(arm.forecast(contexts).samples)

    assert found[0].shape == (3, 200, 24)
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
    assert torch.equal(state, torch.get_rng_state())


def test_samples_are_distributed_as_the_library_draws_them(series, tiny_t5):
    """Our draws and the pipeline's have the same distribution at every step."""
    from chronos import BaseChronosPipeline
    from scipy.stats import ks_2samp

    contexts = contexts_of(series, plan=FEW)
    arm = HFBayesianAutoformer(model=str(tiny_t5), samples=600)
    pipeline = BaseChronosPipeline.from_pretrained(str(tiny_t5), dtype=torch.float32)
    history = torch.tensor(contexts.target[:1], dtype=torch.float32)

    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own notes on generation settings
        torch.manual_seed(0)
        theirs = pipeline.predict(history, 24, num_samples=600)[0].numpy()
    ours = arm.forecast(contexts).samples[0]

    chances = [ks_2samp(ours[:, step], theirs[:, step]).pvalue for step in (0, 1, 11, 23)]
    assert min(chances) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["t5", "bolt", "chronos2"])
def test_every_backbone_forecasts_a_window_as_in_any_batch(series, tiny, kind):
    """Alone, among others, and among shorter histories: within 1e-4."""
    arm = HFBayesianAutoformer(model=tiny[kind], context=300, samples=200 * (kind == "t5"))
    plan = RollingOrigin(horizon=24, stride=40, origins=8, validation=20)
    origins = plan.over(series.dates).origin

    def at(chosen):
        asked = contexts_at(series, chosen, plan=plan, length=300, levels=LEVELS)
        return arm.forecast(asked).at(LEVELS)

    together = at(origins)
    alone = np.concatenate([at(origins[place : place + 1]) for place in range(8)])

    assert np.allclose(together, alone, rtol=1e-4)


@pytest.mark.parametrize("kind", ["t5", "bolt", "chronos2"])
@pytest.mark.parametrize("scale", [1e-6, 1e9])
def test_every_backbone_scales_with_the_price(series, tiny, kind, scale):
    """A price in another unit gives the forecast in that unit."""
    arm = HFBayesianAutoformer(model=tiny[kind], context=96, samples=200 * (kind == "t5"))
    contexts = contexts_of(series, plan=FEW)

    one = arm.forecast(contexts).at(LEVELS)
    other = arm.forecast(with_target(contexts, contexts.target * scale)).at(LEVELS)

    assert np.allclose(one * scale, other, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["t5", "bolt", "chronos2"])
def test_every_backbone_takes_odd_histories(series, tiny, kind):
    """Constant, two sessions long, longer than the model's context, with gaps: finite forecasts."""
    arm = HFBayesianAutoformer(model=tiny[kind], context=600, samples=200 * (kind == "t5"))
    contexts = contexts_of(series, length=560, plan=FEW)
    flat, short, holes = (contexts.target.copy() for _ in range(3))
    flat[:], short[:, :-2], holes[:, 500:540] = 7.0, np.nan, np.nan

    for target in (contexts.target, flat, short, holes):
        assert arm.forecast(with_target(contexts, target)).finite.all()


def test_short_level_range_is_the_models_own(series, tiny):
    """A checkpoint that stops at 0.1 and 0.9 answers these; the harness marks the rest."""
    found = HFBayesianAutoformer(model=tiny["bolt"]).forecast(contexts_of(series))

    assert found.levels.tolist() == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert extrapolated(found.levels, LEVELS) == 6


@pytest.mark.smoke
def test_covariates_and_calendar_reach_chronos2(series, tiny):
    """Other columns and dates change its forecast, unless it is told to leave them."""
    contexts = contexts_of(series)
    fields = {name: getattr(contexts, name) for name in contexts.__slots__}
    other = type(contexts)(**(fields | {"past": contexts.past[:, ::-1]}))
    later = type(contexts)(**(fields | {"dates": contexts.dates + np.timedelta64(91, "D")}))

    for covariates in (True, False):
        arm = HFBayesianAutoformer(model=tiny["chronos2"], context=96, covariates=covariates)
        found = arm.forecast(contexts).quantiles
        assert np.array_equal(found, arm.forecast(other).quantiles) is not covariates
        assert np.array_equal(found, arm.forecast(later).quantiles) is not covariates


def test_samples_must_fit_the_backbone(tiny_t5):
    """A backbone that draws needs a sample count, one that does not must have none."""
    with pytest.raises(ArmError, match="samples = 200"):
        HFBayesianAutoformer(model=str(tiny_t5)).load()
    with pytest.raises(ArmError, match="samples = 0"):
        HFBayesianAutoformer(samples=200).load()


def test_card_names_the_checkpoint(tiny):
    """The report is told whose checkpoint it is, what it was trained on and what it reads."""
    card = HFBayesianAutoformer().card()
    other = HFBayesianAutoformer(model="amazon/chronos-bolt-tiny", revision="abc").card()

    assert "not one of Amazon's" in card["origin"]
    assert card["pretraining data"] == "no market data"
    assert "target alone" in card["context"]
    assert "unknown" in other["pretraining data"]
    assert other["checkpoint"].endswith("at abc")
    assert "calendar" in HFBayesianAutoformer(model=tiny["chronos2"]).card()["context"]
    assert "1e-05" in HFBayesianAutoformer(finetune={}).card()["training"]
    assert "stretched" in HFBayesianAutoformer(conformal=True).card()["distribution"]
