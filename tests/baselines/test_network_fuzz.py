"""Random configurations of every network against the plain ports."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from naive_autoformer import NaiveAutoformer
from naive_bayesian import NaiveBayesian
from naive_enhanced import NaiveEnhanced
from naive_hierarchical import NaiveHierarchical
from torch import Tensor, nn

import baselines
from baselines.networks.config import MARKS_BY_FREQUENCY, WAVELETS, NetworkConfigError

PLAIN: dict[str, Any] = {
    "Autoformer": NaiveAutoformer,
    "EnhancedAutoformer": NaiveEnhanced,
    "BayesianEnhancedAutoformer": NaiveBayesian,
    "QuantileBayesianAutoformer": NaiveBayesian,
    "HierarchicalEnhancedAutoformer": NaiveHierarchical,
}
LONGEST = 97
MANY = 100
CALENDAR = {"minute": 4, "hour": 24, "weekday": 7, "day": 31, "month": 12}
COLUMNS = ("month", "day", "weekday", "hour", "minute")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def drawn(name: str, draw: random.Random) -> tuple[dict[str, Any], dict[str, Any]]:
    """A random configuration and random options, which may not fit together.

    Heads are three channels wide at least and averages three steps: what is narrower makes all
    lags alike, and then rounding chooses among them, in the originals as well.
    """
    history, horizon = draw.randint(3, LONGEST), draw.randint(1, 24)
    heads, width = draw.choice([1, 2, 3, 4, 8]), draw.randint(3, 6)
    channels, covariates = draw.randint(1, 4), draw.randint(0, 3)
    wide = channels + covariates
    config = {
        "seq_len": history,
        "label_len": draw.randint(1, min(history, LONGEST - horizon)),
        "pred_len": horizon,
        "enc_in": wide,
        "dec_in": wide,
        "c_out": wide,
        "d_model": heads * width + draw.randint(0, heads - 1),
        "n_heads": heads,
        "e_layers": draw.randint(1, 3),
        "d_layers": draw.randint(1, 3),
        "d_ff": draw.choice([1, 8, 33]),
        "moving_avg": draw.choice([3, 5, 25, 33]),
        "factor": draw.choice([1, 2, 3, 5]),
        "dropout": 0.0,
        "embed": draw.choice(["timeF", "timeF", "fixed", "learned"]),
        "freq": draw.choice(["h", "t", "s", "m", "a", "w", "d", "b"]),
        "activation": draw.choice(["gelu", "relu"]),
    }
    options: dict[str, Any] = {}
    if name == "Autoformer":
        options["full_length_lags"] = draw.random() < 0.5
        return config, options
    levels = draw.choice([[], [], [0.5], [0.9, 0.1], [0.1, 0.5, 0.9]])
    config |= {"c_out": channels * max(1, len(levels)), "c_out_evaluation": channels}
    config |= {"quantile_levels": levels}
    if name.startswith("Hierarchical"):
        config |= {
            "n_levels": draw.randint(1, 4),
            "wavelet_type": draw.choice(list(WAVELETS)),
            "use_cross_attention": draw.random() < 0.7,
            "fusion_strategy": draw.choice(["weighted_concat", "weighted_sum", "attention_fusion"]),
            "d_model": max(8 * draw.randint(1, 5), -(-3 * heads // 8) * 8),
        }
    elif name.startswith("Bayesian"):
        options["uncertainty_method"] = draw.choice(["bayesian", "dropout"])
        options["bayesian_layers"] = draw.choice([["projection"], []])
    elif not levels:
        options["quantiles"], config["c_out"] = [0.2, 0.8], channels
    return config, options


def marks_of(config: dict[str, Any], shape: tuple[int, int], draw: torch.Generator) -> Tensor:
    """Calendar features [B, L, m]; whole numbers where they are looked up."""
    if config["embed"] == "timeF":
        width = MARKS_BY_FREQUENCY[config["freq"]]
        return torch.rand(*shape, width, generator=draw, dtype=torch.float64) - 0.5
    columns = [torch.randint(CALENDAR[name], shape, generator=draw) for name in COLUMNS]
    return torch.stack(columns, dim=-1)


def inputs_of(config: dict[str, Any], seed: int) -> tuple[Tensor | None, ...]:
    """Random inputs; now and then without marks, or constant."""
    draw, kind = torch.Generator().manual_seed(seed), random.Random(seed)
    batch, history = kind.randint(1, 5), config["seq_len"]
    ahead, known = config["pred_len"], config["label_len"]
    size = (batch, history, config["enc_in"])
    x_enc = torch.randn(*size, generator=draw, dtype=torch.float64).cumsum(1) / 3
    marked = kind.random() < 0.8
    if marked and kind.random() < 0.1:
        x_enc = x_enc[:, :1].expand(size).clone()
    x_dec = torch.cat([x_enc[:, -known:], x_enc.new_zeros(batch, ahead, size[2])], dim=1)
    if not marked:
        return x_enc, None, x_dec, None
    m_enc = marks_of(config, (batch, history), draw)
    return x_enc, m_enc, x_dec, marks_of(config, (batch, known + ahead), draw)


def buildable(name: str, seed: int) -> tuple[nn.Module, dict[str, Any], str]:
    """The first network that can be built from a seed on, its configuration, and both in words."""
    draw = random.Random(f"{name} {seed}")
    for _ in range(100):
        config, options = drawn(name, draw)
        torch.manual_seed(seed)
        try:
            network = baselines.build(name, config, **options)
        except NetworkConfigError:
            continue
        return moved(network, seed).double(), config, f"{name} {config} {options}"
    raise AssertionError(f"{name}: nothing that can be built was drawn from seed {seed}")


def moved(network: nn.Module, seed: int) -> nn.Module:
    """Move gains, shares and kernel sizes from where they start, so that differences show."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if name.endswith("_scale"):
                value.uniform_(0.4, 1.2, generator=draw)
            elif name.endswith(("scale_weights", "fusion_weights", "kernel_predictor.2.bias")):
                value.normal_(generator=draw)
    return network


def answer(network: nn.Module, parts: tuple[Tensor | None, ...], weights: list[Tensor]) -> Any:
    """Forecast and gradients from a fixed seed."""
    torch.manual_seed(9)
    out = network(*parts)
    return out.detach(), torch.autograd.grad(out.square().mean(), weights, allow_unused=True)


def decided(plain: nn.Module, parts: tuple[Tensor | None, ...]) -> bool:
    """Whether the plain port answers, and its answers stand where its inputs move by rounding.

    Where lags tie, as in a series that is one channel's alone, rounding chooses among them; where
    more lags are asked for than there are, the port fails, as the original does.
    """
    x_enc, m_enc, x_dec, m_dec = parts
    assert x_enc is not None
    assert x_dec is not None
    # rows of zeros move as well: a decoder that begins with nothing else has ties only
    near = [parts, *((by_rounding(x_enc), m_enc, by_rounding(x_dec), m_dec) for _ in range(4))]
    for mode in (False, True):
        try:
            answers = [forecast(plain.train(mode), inputs) for inputs in near]
        except RuntimeError as error:
            if "out of range" not in str(error):
                raise
            return False
        if not all(torch.allclose(a, answers[0], rtol=1e-7, atol=1e-8) for a in answers):
            return False
    return True


def by_rounding(values: Tensor) -> Tensor:
    """The same values, moved by about as much as rounding does."""
    return values + 1e-13 * (1 + values.abs()) * torch.randn(values.shape, dtype=values.dtype)


def forecast(network: nn.Module, parts: tuple[Tensor | None, ...]) -> Tensor:
    """Forecast from a fixed seed."""
    torch.manual_seed(9)
    with torch.no_grad():
        out: Tensor = network(*parts)
    return out


def compare(name: str, seed: int) -> None:
    """Hold a random network against its plain port, in eval and in training, with gradients."""
    for again in range(seed, seed + 5 * 10_000, 10_000):
        fast, config, words = buildable(name, again)
        plain, parts = PLAIN[name](fast).double(), inputs_of(config, again)
        if decided(plain, parts):
            break
    else:
        raise AssertionError(f"{name}: rounding decides in all networks drawn from seed {seed}")
    weights = [value for value in fast.parameters() if value.requires_grad]
    for mode in (False, True):
        wanted, theirs = answer(plain.train(mode), parts, weights)
        found, ours = answer(fast.train(mode), parts, weights)

        torch.testing.assert_close(
            found, wanted, rtol=1e-8, atol=1e-9, msg=lambda m: f"{words} {m}"
        )
        size = max(float(each.abs().max()) for each in theirs if each is not None)
        for one, other in zip(ours, theirs, strict=True):
            if one is not None and other is not None:
                assert float((one - other).abs().max()) <= 1e-7 * size, words
            else:  # a part that nothing reads has no gradient, or a gradient of zero
                assert all(not each.any() for each in (one, other) if each is not None), words


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", PLAIN)
def test_random_networks_are_the_plain_ones(name: str, seed: int) -> None:
    """Lengths from 3 to 97 and every option: outputs and gradients differ by rounding only."""
    compare(name, seed)


@pytest.mark.study
@pytest.mark.parametrize("name", PLAIN)
def test_many_random_networks_are_the_plain_ones(name: str) -> None:
    """The same for a hundred configurations of each network."""
    for seed in range(1000, 1000 + MANY):
        compare(name, seed)
