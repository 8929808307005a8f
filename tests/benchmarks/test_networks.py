"""How fast the legacy networks train and forecast, beside plain ones that hold the same weights."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import baselines

sys.path.append(str(Path(__file__).parents[1] / "baselines"))
from naive_autoformer import NaiveAutoformer  # found by the line above
from naive_enhanced import NaiveEnhanced

CONFIG = {
    "seq_len": 96, "label_len": 48, "pred_len": 24, "enc_in": 7, "dec_in": 7, "c_out": 7,
    "d_model": 64, "n_heads": 8, "e_layers": 2, "d_layers": 1, "d_ff": 256, "factor": 1,
}  # fmt: skip
PLAIN = {"Autoformer": NaiveAutoformer, "EnhancedAutoformer": NaiveEnhanced}


def material(batch: int = 32) -> tuple[tuple[Tensor, ...], Tensor]:
    """Inputs of the usual shapes, and a truth."""
    draw = torch.Generator().manual_seed(0)
    x, m = (torch.randn(batch, 96, width, generator=draw) for width in (7, 4))
    x_dec = torch.cat([x[:, 48:], torch.zeros(batch, 24, 7)], dim=1)
    return (x, m, x_dec, m[:, :72]), torch.randn(batch, 24, 7, generator=draw)


def step_of(network: nn.Module) -> Callable[[], Tensor]:
    """One training step: forward, backward, Adam."""
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4)
    parts, truth = material()

    def step() -> Tensor:
        optimiser.zero_grad()
        loss: Tensor = (network.train()(*parts) - truth).square().mean()
        loss.backward()
        optimiser.step()
        return loss.detach()

    return step


def forecast_of(network: nn.Module) -> Callable[[], Tensor]:
    """One forecast of a batch in eval without gradient."""
    parts, _ = material()

    def forecast() -> Tensor:
        with torch.no_grad():
            output: Tensor = network.eval()(*parts)
        return output

    return forecast


@pytest.mark.parametrize("plain", [False, True], ids=["ours", "plain"])
@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("work", [step_of, forecast_of])
def test_networks(benchmark: Any, work: Any, name: str, plain: bool) -> None:
    """Time one training step or one forecast, ours and the plain one in one group."""
    network = baselines.build(name, CONFIG)
    benchmark.group = f"{name} {work.__name__}"

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # waiting for a busy core would be timed with more
    timed = work(PLAIN[name](network) if plain else network)
    result = benchmark.pedantic(timed, rounds=5, warmup_rounds=1)

    torch.set_num_threads(threads)

    assert torch.isfinite(result).all()
