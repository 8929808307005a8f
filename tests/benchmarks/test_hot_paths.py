"""How fast the paths are that every run goes: cutting windows, reading the store, one step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import baselines
from harness.forecast import LEVELS, Forecast
from harness.running.parts import Part, read_part, write_part
from harness.running.unit import UnitResult
from harness.window import RollingOrigin, contexts_at

WINDOWS, HORIZON = 1000, 24
CONFIG = {
    "seq_len": 96, "label_len": 48, "pred_len": HORIZON, "enc_in": 7, "dec_in": 7, "c_out": 1,
    "c_out_evaluation": 1, "d_model": 64, "n_heads": 8, "e_layers": 2, "d_layers": 1, "d_ff": 256,
    "factor": 1, "moving_avg": 25, "dropout": 0.1, "activation": "gelu", "embed": "timeF",
    "freq": "d", "task_name": "long_term_forecast", "quantile_levels": [],
}  # fmt: skip
NETWORKS = (
    "Autoformer",
    "EnhancedAutoformer",
    "BayesianEnhancedAutoformer",
    "HierarchicalEnhancedAutoformer",
    "QuantileBayesianAutoformer",
)


@pytest.fixture
def one_thread() -> Any:
    """Compute on one thread: waiting for a busy core would be timed with more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_cutting_windows(benchmark: Callable[..., Any], made_series: Any) -> None:
    """Windows of a plan and their contexts, 512 sessions each."""
    series = made_series(3000)
    plan = RollingOrigin(horizon=HORIZON, stride=1, origins=WINDOWS, validation=100)

    def cut() -> Any:
        windows = plan.over(series.dates)
        return contexts_at(series, windows.origin, plan=plan, length=512, levels=LEVELS)

    assert len(benchmark(cut)) == WINDOWS


def test_reading_a_part(benchmark: Callable[..., Any], made_series: Any, tmp_path: Any) -> None:
    """A stored part of 1,000 windows x 24 steps x 23 levels."""
    series = made_series(2000)
    plan = RollingOrigin(horizon=HORIZON, stride=1, origins=WINDOWS, validation=100)
    windows = plan.over(series.dates)
    outcome, file = UnitResult.blank(windows), tmp_path / "part.parquet"
    values = torch.rand(WINDOWS, HORIZON, len(LEVELS)).double().numpy()
    outcome.put(slice(0, WINDOWS), Forecast.of_quantiles(values, LEVELS))
    write_part(file, Part.of(series.dates[windows.origin - 1], outcome))

    assert len(benchmark(lambda: read_part(file))) == WINDOWS


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", NETWORKS)
def test_training_step(benchmark: Any, name: str) -> None:
    """Forward, backward and Adam on a batch of 32, of each legacy network."""
    quantiles = [0.1, 0.5, 0.9] if name.startswith("Quantile") else []
    outputs = max(1, len(quantiles))
    network = baselines.build(name, CONFIG | {"quantile_levels": quantiles, "c_out": outputs})
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4)
    draw = torch.Generator().manual_seed(0)
    x, marks = (torch.randn(32, 120, width, generator=draw) for width in (7, 3))
    x_dec = torch.cat([x[:, 48:96], torch.zeros(32, HORIZON, 7)], dim=1)
    inputs = (x[:, :96], marks[:, :96], x_dec, marks[:, 48:])

    def step() -> torch.Tensor:
        optimiser.zero_grad()
        loss: torch.Tensor = network.train()(*inputs)[:, -HORIZON:].square().mean()
        loss.backward()
        optimiser.step()
        return loss.detach()

    assert torch.isfinite(benchmark.pedantic(step, rounds=5, warmup_rounds=1))
