"""Compiled networks and second derivatives, beside plain operations.

Tracing takes seconds and compiling more, so only one network is traced here; a study does all.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from naive_autoformer import NaiveAutoformer
from naive_bayesian import NaiveBayesian
from naive_enhanced import NaiveEnhanced
from naive_hierarchical import NaiveHierarchical
from torch import Tensor, nn

import baselines
from baselines.networks.adaptive import _HeadScale, _PhaseSpectrum
from baselines.networks.correlation import _LagAttention
from baselines.networks.decomposition import (
    Groups,
    less_average,
    unsmoothed,
    unsmoothed_by_mixture,
)
from baselines.networks.feed import feed_forward
from baselines.networks.layers import dropped
from baselines.networks.spectrum import shifted_sum

PLAIN: dict[str, Any] = {
    "Autoformer": NaiveAutoformer,
    "EnhancedAutoformer": NaiveEnhanced,
    "BayesianEnhancedAutoformer": NaiveBayesian,
    "QuantileBayesianAutoformer": NaiveBayesian,
    "HierarchicalEnhancedAutoformer": NaiveHierarchical,
}
SIZES = {
    "seq_len": 24, "label_len": 12, "pred_len": 6, "enc_in": 2, "dec_in": 2, "c_out": 2,
    "d_model": 8, "n_heads": 2, "e_layers": 1, "d_layers": 1, "d_ff": 12, "moving_avg": 5,
    "factor": 2, "freq": "d", "dropout": 0.0, "n_levels": 2,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def inputs(dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Random inputs of the sizes."""
    x, marks = torch.randn(3, 24, 2, dtype=dtype), torch.rand(3, 30, 3, dtype=dtype) - 0.5
    x_dec = torch.cat([x[:, 12:], x.new_zeros(3, 6, 2)], dim=1)
    return x, marks[:, :24], x_dec, marks[:, 12:]


def penalty(network: nn.Module, parts: tuple[Tensor, ...], weights: list[Tensor]) -> list[Tensor]:
    """Gradients of a gradient penalty on the inputs; zeros where there is none."""
    torch.manual_seed(9)
    read = [parts[0].clone().requires_grad_(), parts[2].clone().requires_grad_()]
    out = network(read[0], parts[1], read[1], parts[3])
    first = torch.autograd.grad(out.square().mean(), read, create_graph=True, allow_unused=True)
    total = sum((each.square().sum() for each in first if each is not None), torch.zeros(()))
    second = torch.autograd.grad(total, weights, allow_unused=True)
    pairs = zip(second, weights, strict=True)
    return [torch.zeros_like(w) if found is None else found for found, w in pairs]


@pytest.mark.parametrize("name", PLAIN)
def test_second_derivatives_are_the_plain_ones(name: str) -> None:
    """A gradient penalty moves every weight as it does in the plain port."""
    fast = baselines.build(name, SIZES).double().train()
    weights = [value for value in fast.parameters() if value.requires_grad]
    parts = inputs(torch.float64)

    found = penalty(fast, parts, weights)

    wanted = penalty(PLAIN[name](fast).double().train(), parts, weights)
    size = max(float(each.abs().max()) for each in wanted)
    assert size > 0
    for one, other in zip(found, wanted, strict=True):
        assert float((one - other).abs().max()) < 1e-9 * size


def feeding(activation: str) -> Callable[..., Tensor]:
    """The feed-forward part under the masks of one seed."""

    def fed(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
        torch.manual_seed(0)
        return feed_forward(x, first, second, activation=activation, drop=0.3)

    return fed


GROUPS = Groups([2, 1], torch.tensor([0, 2, 1]))
LAGS = torch.tensor([[0, 3], [5, 2], [1, 4]])
OPERATORS: dict[str, tuple[Callable[..., Tensor], list[tuple[int, ...]]]] = {
    "shortened lags": (
        lambda q, m: _LagAttention.apply(q, m, 4, 2, (False, False)),
        [(3, 7, 4)] * 2,
    ),
    "phases": (lambda p, g: _PhaseSpectrum.apply(p, g, 1e-8, (1, 2)), [(2, 2, 8, 3), (1,)]),
    "heads": (lambda q, k: _HeadScale.apply(q, k, 2), [(2, 3, 4)] * 2),
    "kernels": (lambda x, k: unsmoothed(x, k, GROUPS), [(3, 6, 2), (2, 3, 2)]),
    "averages": (lambda x: less_average(x, 5), [(1, 50, 1)]),  # longer than is made at once
    "odd lags": (lambda q, m: _LagAttention.apply(q, m, 4, 2, (True, True)), [(3, 7, 4)] * 2),
    "even lags": (lambda q, m: _LagAttention.apply(q, m, 4, 2, (True, False)), [(3, 8, 4)] * 2),
    "mixtures": (unsmoothed_by_mixture, [(3, 6, 2), (2, 3, 2), (3, 2)]),
    "shifts": (lambda m, w: shifted_sum(m, LAGS, w), [(3, 6, 2), (3, 2)]),
    "gelu": (feeding("gelu"), [(2, 3, 2), (5, 2), (2, 5)]),
    "relu": (feeding("relu"), [(2, 3, 2), (5, 2), (2, 5)]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATORS)
def test_operators_written_by_hand_have_both_derivatives(name: str) -> None:
    """First and second derivatives agree with finite differences."""
    operator, shapes = OPERATORS[name]
    given = tuple(torch.randn(s, dtype=torch.float64).requires_grad_() for s in shapes)
    if name == "phases":
        given[1].data.abs_().add_(0.5)

    assert torch.autograd.gradcheck(operator, given)
    assert torch.autograd.gradgradcheck(operator, given)


def both(network: nn.Module, compiled: Any, parts: tuple[Tensor, ...]) -> Iterator[Any]:
    """Answers of a network and of its compiled self, from the same seed."""
    for each in (network, compiled):
        torch.manual_seed(3)
        yield each(*parts)


def agree(name: str, backend: str) -> None:
    """Compile a network and hold its forecast, training output and gradients against its own."""
    torch._dynamo.reset()
    trace = logging.getLogger("torch.__trace")
    trace.propagate = False  # or pytest keeps every line of it, which takes minutes
    network, parts = baselines.build(name, SIZES), inputs(torch.float32)
    weights = list(network.parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's, such as on complex numbers
        compiled = torch.compile(network, backend=backend)
        network.eval()
        with torch.no_grad():
            found, wanted = both(network, compiled, parts)
        torch.testing.assert_close(wanted, found, rtol=1e-5, atol=1e-5)

        gradients = []
        network.train()
        for out in both(network, compiled, parts):
            network.zero_grad(set_to_none=True)
            out.square().mean().backward()
            found = [torch.zeros_like(p) if p.grad is None else p.grad for p in weights]
            gradients.append(found)
    size = max(float(each.abs().max()) for each in gradients[0])
    for one, other in zip(*gradients, strict=True):
        assert float((one - other).abs().max()) < 1e-5 * size


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["Autoformer", *(pytest.param(name, marks=pytest.mark.study) for name in list(PLAIN)[1:])],
)
def test_a_captured_network_is_the_network(name: str) -> None:
    """Traced as for compilation, forward and backward, every network answers as before."""
    agree(name, "aot_eager")


@pytest.mark.study
@pytest.mark.parametrize("name", PLAIN)
def test_a_compiled_network_is_the_network(name: str) -> None:
    """The same with the compiler's own code."""
    agree(name, "inductor")


@pytest.mark.parametrize(
    "backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.study)]
)
def test_compiled_dropout_passes_back_what_it_let_through(backend: str) -> None:
    """The gradient has the forecast's own mask, with its rate and scale."""
    torch._dynamo.reset()
    x = torch.ones(200, 500, requires_grad=True)

    out = torch.compile(lambda z: dropped(z * 1.0, 0.2), backend=backend)(x)
    out.sum().backward()

    assert x.grad is not None
    torch.testing.assert_close(x.grad, out.detach())
    assert abs(float((out == 0).float().mean()) - 0.2) < 0.01
    torch.testing.assert_close(out.max(), torch.tensor(1.25), rtol=1e-4, atol=0.0)
