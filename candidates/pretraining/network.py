"""The Chronos-Bolt network of a recipe, with random weights."""

from __future__ import annotations

from typing import Any

import torch

from candidates.pretraining.recipe import Network, Recipe

HEAD = 32
"""Width of an attention head."""


def build_network(recipe: Recipe) -> Any:
    """Build `chronos.chronos_bolt.ChronosBoltModelForForecasting` with seeded first weights.

    The global random state is left as it was.
    """
    from chronos.chronos_bolt import ChronosBoltModelForForecasting

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.training.seed)
        return ChronosBoltModelForForecasting(_config(recipe.network))


def parameter_count(network: Any) -> int:
    """Trained parameters."""
    return sum(weights.numel() for weights in network.parameters())


def _config(size: Network) -> Any:
    from transformers import T5Config

    make: Any = T5Config  # its annotations lack keywords that it takes
    config = make(
        d_model=size.d_model,
        d_ff=4 * size.d_model,
        d_kv=HEAD,
        num_heads=max(2, size.d_model // HEAD),
        num_layers=size.layers,
        num_decoder_layers=size.layers,
        dropout_rate=0.0,
        feed_forward_proj="relu",
        is_encoder_decoder=True,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
        initializer_factor=0.05,
        vocab_size=2,
        n_positions=512,
        use_cache=True,
    )
    config.chronos_config = _bolt(size)
    config.reg_token_id = 1
    config.chronos_pipeline_class = "ChronosBoltPipeline"
    return config


def _bolt(size: Network) -> dict[str, Any]:
    """What Chronos-Bolt reads besides T5's own settings."""
    return {
        "context_length": size.context,
        "prediction_length": size.steps,
        "input_patch_size": size.patch,
        "input_patch_stride": size.patch,
        "quantiles": list(size.levels),
        "use_reg_token": True,
    }
