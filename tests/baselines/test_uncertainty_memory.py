"""What an uncertainty call holds in memory, and that running moments are the plain ones."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import baselines
from baselines.networks.config import Repairs
from baselines.networks.spread import Draws

CONFIG = {
    "seq_len": 32, "label_len": 16, "pred_len": 16, "enc_in": 5, "dec_in": 5, "c_out": 5,
    "d_model": 8, "n_heads": 2, "e_layers": 1, "d_layers": 1, "d_ff": 16, "freq": "d",
}  # fmt: skip
LEVELS = {"quantile_levels": [0.1, 0.5, 0.9], "c_out": 15, "c_out_evaluation": 5}


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors made inside it while they are alive, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self._note(leaf)
        return made

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self.known or not size:
            return
        self.known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


def peak_of(passes: int, name: str = "BayesianEnhancedAutoformer", **options: Any) -> int:
    """Peak of the bytes that tensors of an uncertainty call in eval hold at once."""
    config = CONFIG | options.pop("config", {})
    torch.manual_seed(0)
    network: Any = baselines.build(name, config, n_samples=passes, **options).eval()
    x = torch.randn(64, 32, 5)
    x_dec = torch.cat([x[:, 16:], torch.zeros(64, 16, 5)], dim=1)
    inputs = (x, None, x_dec, None)
    network(*inputs)  # fixed matrices are made once
    with LiveBytes() as live:
        network.describe(inputs)
    return live.peak


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "most"),
    [({}, 200), ({"config": LEVELS}, 200), ({"uncertainty_method": "dropout"}, 60)],
    ids=["weights", "quantiles", "dropout"],
)
def test_memory_does_not_grow_with_the_passes_when_repaired(
    options: dict[str, Any], most: int
) -> None:
    """The peak at many passes is the peak at 10 to within a hundredth."""
    few, many = (peak_of(n, repaired=True, **options) for n in (10, most))

    assert many <= 1.01 * few


def test_memory_of_the_quantile_network_does_not_grow_when_repaired() -> None:
    """The quantile network inherits the call, and its memory."""
    few, many = (
        peak_of(n, "QuantileBayesianAutoformer", config=LEVELS, repaired=True) for n in (20, 200)
    )

    assert many <= 1.01 * few


@pytest.mark.slow
def test_the_original_keeps_every_pass() -> None:
    """Sample quantiles need all samples, so the faithful call grows (the probe can see it)."""
    assert peak_of(200) > 2 * peak_of(20)


@pytest.mark.parametrize("sizes", [[1], [1, 1], [1, 8, 3], [7]])
def test_running_moments_are_the_plain_ones(sizes: list[int]) -> None:
    """Parts of any size merge to the mean and the sample variance of all of them."""
    samples = 100.0 + torch.randn(sum(sizes), 3, 4, 2, dtype=torch.float64)
    repairs = Repairs.all()

    found = Draws.streamed(samples.split(sizes), repairs)
    wanted = Draws.kept(samples, repairs)

    torch.testing.assert_close(found.mean, wanted.mean)
    torch.testing.assert_close(found.variance, wanted.variance, rtol=1e-9, atol=1e-12)


def test_a_summary_and_a_detailed_report_agree() -> None:
    """The moments of a call that keeps no sample are those of the samples of one that does."""
    torch.manual_seed(0)
    network: Any = baselines.build(
        "BayesianEnhancedAutoformer", CONFIG | LEVELS, n_samples=30, repaired=True
    ).eval()
    x = torch.randn(4, 32, 5)
    inputs = (x, None, torch.cat([x[:, 16:], torch.zeros(4, 16, 5)], dim=1), None)

    brief, full = network.describe(inputs), network.describe(inputs, detailed=True)

    samples = full["predictions_samples"]
    assert len(samples) == 30
    middle = samples.mean(0)[..., 1::3]  # of three levels, the median of each target
    torch.testing.assert_close(brief["prediction"], middle, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(brief["uncertainty"], full["uncertainty"], rtol=1e-4, atol=1e-5)
    for level in ("quantile_0.1", "quantile_0.9"):
        ours, theirs = (each["quantile_specific"][level] for each in (brief, full))
        torch.testing.assert_close(ours["prediction"], theirs["prediction"], rtol=1e-4, atol=1e-5)


def test_passes_made_at_once_are_those_made_one_by_one() -> None:
    """Each sample of a faithful call is the forecast of one more draw from the same seed."""
    torch.manual_seed(0)
    network: Any = baselines.build("BayesianEnhancedAutoformer", CONFIG, n_samples=11).eval()
    x = torch.randn(4, 32, 5)
    inputs = (x, None, torch.cat([x[:, 16:], torch.zeros(4, 16, 5)], dim=1), None)

    torch.manual_seed(3)
    samples = network.describe(inputs, detailed=True)["predictions_samples"]
    torch.manual_seed(3)
    alone = torch.stack([network(*inputs) for _ in range(11)])

    torch.testing.assert_close(samples, alone, rtol=1e-5, atol=1e-6)
