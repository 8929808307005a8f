"""Chronos checkpoints of all three kinds, of random weights, made small."""

from __future__ import annotations

from pathlib import Path

import pytest

LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def _saved(make, folder: Path) -> Path:  # type: ignore[no-untyped-def]  # a transformers model
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        make().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Chronos-T5."""
    from chronos.chronos import ChronosConfig
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        d_model=16, d_ff=32, d_kv=8, num_heads=2, num_layers=1, num_decoder_layers=1,
        vocab_size=64, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
    )  # fmt: skip
    config.chronos_config = ChronosConfig(
        tokenizer_class="MeanScaleUniformBins",
        tokenizer_kwargs={"low_limit": -15.0, "high_limit": 15.0},
        context_length=512, prediction_length=24, n_tokens=64, n_special_tokens=2,
        pad_token_id=0, eos_token_id=1, use_eos_token=True, model_type="seq2seq",
        num_samples=10, temperature=1.0, top_k=50, top_p=1.0,
    ).__dict__  # fmt: skip
    folder = tmp_path_factory.mktemp("t5")
    return _saved(lambda: T5ForConditionalGeneration(config), folder)


@pytest.fixture(scope="session")
def tiny_bolt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Chronos-Bolt that stops at the levels 0.1 and 0.9, as the published ones do."""
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
    folder = tmp_path_factory.mktemp("bolt")
    return _saved(lambda: ChronosBoltModelForForecasting(config), folder)


@pytest.fixture(scope="session")
def tiny_chronos2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Chronos-2 that stops at the levels 0.05 and 0.95."""
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
    folder = tmp_path_factory.mktemp("chronos2")
    return _saved(lambda: Chronos2Model(config), folder)


@pytest.fixture(scope="session")
def tiny(tiny_t5: Path, tiny_bolt: Path, tiny_chronos2: Path) -> dict[str, str]:
    """The folder of each kind."""
    return {"t5": str(tiny_t5), "bolt": str(tiny_bolt), "chronos2": str(tiny_chronos2)}
