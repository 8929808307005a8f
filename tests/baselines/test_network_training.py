"""Whole training runs of the networks beside those of the plain ports."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from naive_autoformer import NaiveAutoformer
from naive_bayesian import NaiveBayesian
from naive_enhanced import NaiveEnhanced
from naive_hierarchical import NaiveHierarchical

import baselines
from baselines.training import Material, Schedule, Sizes, train

PLAIN: dict[str, Any] = {
    "Autoformer": NaiveAutoformer,
    "EnhancedAutoformer": NaiveEnhanced,
    "BayesianEnhancedAutoformer": NaiveBayesian,
    "HierarchicalEnhancedAutoformer": NaiveHierarchical,
}
LENGTHS = {"seq_len": 24, "label_len": 12, "pred_len": 6}
CONFIG = LENGTHS | {
    "enc_in": 3, "dec_in": 3, "c_out": 3, "d_model": 8, "n_heads": 2, "e_layers": 2, "d_layers": 1,
    "d_ff": 16, "moving_avg": 5, "factor": 2, "freq": "d", "dropout": 0.0, "n_levels": 2,
}  # fmt: skip


def trained(name: str, *, plain: bool) -> tuple[Any, dict[str, torch.Tensor]]:
    """The losses of two epochs from the weights of one seed, and the weights they end with."""
    torch.manual_seed(0)
    network = baselines.build(name, CONFIG).double()
    draw = torch.Generator().manual_seed(1)
    values = torch.randn(100, 3, generator=draw, dtype=torch.float64).cumsum(0) / 3
    marks = torch.rand(100, 3, generator=draw, dtype=torch.float64) - 0.5
    torch.manual_seed(2)  # of the random weights
    done = train(
        PLAIN[name](network) if plain else network,
        Material(values=values, marks=marks, train_rows=78),
        sizes=Sizes(**LENGTHS, outputs=3, truths=3),
        schedule=Schedule(epochs=2, batch_size=8, learning_rate=1e-3),
        seed=3,
    )
    return done.curve, network.state_dict()


@pytest.mark.parametrize("name", PLAIN)
def test_training_goes_the_way_of_the_plain_network(name: str) -> None:
    """From the same weights and batches come the losses and the weights of the plain port."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    (ours, weights), (theirs, wanted) = (trained(name, plain=plain) for plain in (False, True))
    torch.set_num_threads(threads)

    for one, other in zip(ours, theirs, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-9)
        assert one.validation_loss == pytest.approx(other.validation_loss, rel=1e-9)
    for key, value in wanted.items():
        assert float((weights[key] - value).abs().max()) < 1e-7, key
