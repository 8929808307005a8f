"""Training in bf16: on request only, near the float32 run, transforms and losses in float32."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import baselines
from baselines.legacy import LegacyForecaster
from baselines.training import Material, Schedule, Sizes, train, working_in

EVERY = (
    "Autoformer",
    "EnhancedAutoformer",
    "BayesianEnhancedAutoformer",
    "HierarchicalEnhancedAutoformer",
    "QuantileBayesianAutoformer",
)
SIZES = Sizes(seq_len=16, label_len=8, pred_len=4)


def trained(name: str, precision: Any, device: str = "cpu", **options: Any) -> tuple[Any, Any]:
    """A small network after two epochs, and its curve."""
    config = {
        "seq_len": 16, "label_len": 8, "pred_len": 4, "enc_in": 3, "dec_in": 3, "c_out": 3,
        "d_model": 8, "n_heads": 2, "e_layers": 1, "d_ff": 16, "freq": "d", "dropout": 0.0,
        "moving_avg": 5, "factor": 1, "n_levels": 1,
    }  # fmt: skip
    torch.manual_seed(0)
    network: Any = baselines.build(name, config, **options).to(device)
    draw = torch.Generator().manual_seed(1)
    values: Tensor = torch.randn(80, 3, generator=draw).cumsum(0) / 3
    material = Material(
        values=values.to(device), marks=torch.zeros(80, 3, device=device), train_rows=60
    )
    schedule = Schedule(epochs=2, batch_size=8, learning_rate=1e-3, precision=precision)
    return network, train(network, material, sizes=SIZES, schedule=schedule, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("repaired", [False, True])
def test_bf16_training_is_near_float32_training(name: str, repaired: bool) -> None:
    """Weights stay float32 and finite, and the first loss is the float32 one to a few percent."""
    network, low = trained(name, "bf16", repaired=repaired)
    _, full = trained(name, "float32", repaired=repaired)

    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in network.parameters())
    assert low.curve[0].train_loss == pytest.approx(full.curve[0].train_loss, rel=0.1)
    assert low.curve[0].train_loss != full.curve[0].train_loss
    assert not low.diverged


def test_float32_is_the_default_and_touches_nothing() -> None:
    """Unless bf16 is asked for, no product is made in it."""
    with working_in(Schedule().precision, torch.device("cpu")):
        product = torch.ones(2, 2) @ torch.ones(2, 2)

    assert product.dtype == torch.float32
    assert LegacyForecaster().precision == "float32"


def test_an_unknown_precision_is_refused() -> None:
    """The message names the option and the choices."""
    with pytest.raises(ValueError, match="precision = 'fp16': expected float32 or bf16"):
        LegacyForecaster(precision="fp16")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_networks_train_on_a_gpu(name: str, precision: str) -> None:
    """Every network trains there in both precisions, near the CPU's float32 loss."""
    _, found = trained(name, precision, "cuda")
    _, wanted = trained(name, "float32")

    assert found.curve[0].train_loss == pytest.approx(wanted.curve[0].train_loss, rel=0.1)
