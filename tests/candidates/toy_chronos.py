"""Small Chronos checkpoints of all three kinds: of random weights, or schooled for seconds."""

from __future__ import annotations

from pathlib import Path

LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def t5(folder: Path) -> None:
    """Save a Chronos-T5 of random weights."""
    _save(lambda: _t5(width=16, reach=24, limit=15.0), folder)


def bolt(folder: Path) -> None:
    """Save a Chronos-Bolt that stops at the levels 0.1 and 0.9, as the published ones do."""
    from chronos.chronos_bolt import ChronosBoltModelForForecasting
    from transformers import T5Config

    config = T5Config(
        d_model=16, d_ff=32, d_kv=8, num_heads=2, num_layers=1, num_decoder_layers=1,
        vocab_size=2, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
        dropout_rate=0.1, initializer_factor=0.05,
        chronos_config={
            "context_length": 512, "prediction_length": 32, "input_patch_size": 16,
            "input_patch_stride": 16, "quantiles": LEVELS, "use_reg_token": True,
        },
        chronos_pipeline_class="ChronosBoltPipeline",
    )  # fmt: skip
    _save(lambda: ChronosBoltModelForForecasting(config), folder)


def chronos2(folder: Path) -> None:
    """Save a Chronos-2 that stops at the levels 0.05 and 0.95."""
    from chronos.chronos2.config import Chronos2CoreConfig
    from chronos.chronos2.model import Chronos2Model

    config = Chronos2CoreConfig(
        d_model=16, d_ff=32, d_kv=8, num_heads=2, num_layers=1, initializer_factor=0.2,
        chronos_config={
            "context_length": 512, "input_patch_size": 16, "input_patch_stride": 16,
            "output_patch_size": 16, "quantiles": [0.05, *LEVELS, 0.95], "use_reg_token": True,
            "use_arcsinh": True, "max_output_patches": 4,
        },
        chronos_pipeline_class="Chronos2Pipeline", architectures=["Chronos2Model"],
    )  # fmt: skip
    _save(lambda: Chronos2Model(config), folder)


def schooled_bolt(folder: Path) -> None:
    """Chronos-Bolt schooled for seconds by the recipe itself, at a third of its toy size."""
    from candidates.pretraining.optimise import Trainer
    from candidates.pretraining.recipe import Network, PretrainingRecipe, TrainingPlan

    network = Network(d_model=64, layers=1, context=96, steps=32, levels=tuple(LEVELS))
    settings = {"steps": 800, "batch": 32, "pool": 2048, "warmup": 20, "learning_rate": 3e-3}
    trainer = Trainer(
        recipe=PretrainingRecipe(network=network, training=TrainingPlan(**settings)),  # type: ignore[arg-type]
        device="cpu",
    )
    for _ in range(trainer.recipe.training.steps):
        trainer.advance()
    trainer.averaged().save_pretrained(folder)


def schooled_t5(folder: Path) -> None:
    """Chronos-T5 schooled by the loss of its fine-tuning, also on a few series that stand still."""
    import torch

    from candidates.pretraining.mixture import Batches
    from candidates.pretraining.optimise import learning_rate
    from candidates.pretraining.recipe import Network, PretrainingRecipe, TrainingPlan
    from candidates.replacement.loading import Source, load_pipeline
    from candidates.replacement.sampling import T5

    _save(lambda: _t5(width=32, reach=8, limit=5.0), folder)
    settings = TrainingPlan(
        steps=500, batch=32, pool=2048, warmup=20, shortened=0, learning_rate=5e-3
    )
    network = Network(context=48, steps=8)
    batches = Batches(recipe=PretrainingRecipe(network=network, training=settings))
    backbone = T5(load_pipeline(Source(model=str(folder))), samples=2, seed=0).train()
    optimizer = torch.optim.Adam(backbone.parameters())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for step in range(settings.steps):
            batch = batches.at(step)
            still = torch.arange(4.0)[:, None] * (1 + step)
            context = torch.cat([batch.context, still.expand(-1, network.context)])
            target = torch.cat([batch.target, still.expand(-1, network.steps)])
            optimizer.param_groups[0]["lr"] = learning_rate(step, settings)
            optimizer.zero_grad()
            backbone.loss(context, target).backward()
            torch.nn.utils.clip_grad_norm_(backbone.parameters(), settings.clip)
            optimizer.step()
    backbone.eval().model.save_pretrained(folder)


def _save(make, folder: Path) -> None:  # type: ignore[no-untyped-def]  # a transformers model
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        make().save_pretrained(folder)


def _t5(*, width: int, reach: int, limit: float):  # type: ignore[no-untyped-def]
    """A Chronos-T5 of 64 tokens between two limits that draws `reach` steps in one go."""
    from chronos.chronos import ChronosConfig
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        d_model=width, d_ff=2 * width, d_kv=8, num_heads=2, num_layers=1, num_decoder_layers=1,
        vocab_size=64, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
    )  # fmt: skip
    config.chronos_config = ChronosConfig(
        tokenizer_class="MeanScaleUniformBins",
        tokenizer_kwargs={"low_limit": -limit, "high_limit": limit},
        context_length=512, prediction_length=reach, n_tokens=64, n_special_tokens=2,
        pad_token_id=0, eos_token_id=1, use_eos_token=True, model_type="seq2seq",
        num_samples=10, temperature=1.0, top_k=50, top_p=1.0,
    ).__dict__  # fmt: skip
    return T5ForConditionalGeneration(config)
