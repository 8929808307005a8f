"""What the repairs of flags, lags, filters, quantiles, levels and dead parts change."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import baselines
from baselines.networks import build
from baselines.networks.config import NetworkConfigError, Repairs
from baselines.networks.correlation import causal_sum
from baselines.networks.decomposition import LearnedAverage
from baselines.networks.spectrum import pitches, shifted_sum

EVERY = (
    "Autoformer",
    "EnhancedAutoformer",
    "BayesianEnhancedAutoformer",
    "HierarchicalEnhancedAutoformer",
    "QuantileBayesianAutoformer",
)
SMALL = {
    "seq_len": 32, "label_len": 16, "pred_len": 8, "enc_in": 4, "dec_in": 4, "c_out": 2,
    "c_out_evaluation": 2, "d_model": 16, "n_heads": 2, "e_layers": 2, "d_layers": 2, "d_ff": 16,
    "moving_avg": 5, "factor": 2, "freq": "d", "dropout": 0.0,
}  # fmt: skip
LEVELS = {"quantile_levels": [0.1, 0.5, 0.9], "c_out": 6}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def built(name: str, config: dict[str, Any] | None = None, **options: Any) -> Any:
    """A small network; the vanilla one is given the only width it takes unrepaired."""
    changed = SMALL | (config or {})
    needs_repair = name == "Autoformer" and "target_trend" not in options
    if needs_repair and not options.get("repaired"):
        options["target_trend"] = True
    return baselines.build(name, changed, **options)


def inputs(batch: int = 3) -> tuple[Tensor, ...]:
    """Inputs of the small sizes; the horizon's targets are 0, its covariates known."""
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(batch, 32, 4, generator=draw).cumsum(1) / 3
    horizon = torch.randn(batch, 8, 4, generator=draw)
    horizon[..., :2] = 0.0
    marks = torch.rand(batch, 40, 3, generator=draw) - 0.5
    return x, marks[:, :32], torch.cat([x[:, 16:], horizon], dim=1), marks[:, 16:]


def forecast(network: nn.Module, parts: tuple[Tensor, ...]) -> Tensor:
    """One forecast in eval without gradient."""
    with torch.no_grad():
        out: Tensor = network.eval()(*parts)
    return out


def test_a_causal_sum_reads_no_later_row() -> None:
    """It is the circular sum with every row that comes later counted as 0 (V-08)."""
    values, lags = torch.randn(2, 9, 3), torch.tensor([[0, 4], [7, 2]])
    weights = torch.rand(2, 2)
    wanted = torch.zeros(2, 9, 3)
    for b in range(2):
        for t in range(9):
            for lag, weight in zip(lags[b].tolist(), weights[b], strict=True):
                place = (t + lag) % 9
                wanted[b, t] += weight * values[b, place] * (place <= t)

    torch.testing.assert_close(causal_sum(values, lags, weights), wanted)


@pytest.mark.parametrize("name", EVERY)
def test_decoder_self_attention_is_causal_when_repaired(name: str) -> None:
    """Flags exist, are set in decoder self-attention alone, and change the forecast (V-08, T6)."""
    network = built(name, repaired=True)
    flags = {n: m for n, m in network.named_modules() if hasattr(m, "mask_flag")}
    before = forecast(network, inputs())

    assert flags
    assert all(m.mask_flag == n.endswith("self_attention") for n, m in flags.items())
    for module in flags.values():
        module.mask_flag = False
    assert not torch.allclose(before, forecast(network, inputs()), atol=1e-6)


@pytest.mark.parametrize("name", ["Autoformer", "EnhancedAutoformer"])
def test_attention_dropout_works_when_repaired(name: str) -> None:
    """With every other dropout at 0, training is random only where lags are dropped (V-08)."""
    for repaired in (False, True):
        network = built(name, {"dropout": 0.5}, working_flags=repaired).train()
        for path, module in network.named_modules():
            if isinstance(module, nn.Dropout) and not path.endswith("lag_dropout"):
                module.p = 0.0

        first, second = network(*inputs()), network(*inputs())

        assert torch.equal(first, second) != repaired


def test_known_covariates_reach_the_vanilla_decoder_when_repaired() -> None:
    """The horizon rows of x_dec's covariates change the forecast, its targets never (V-09, T7)."""
    for repaired in (False, True):
        network, parts = built("Autoformer", future_covariates=repaired), inputs()
        base = forecast(network, parts)
        informed, leaked = parts[2].clone(), parts[2].clone()
        informed[:, 16:, 2:] += 1.0 + torch.randn(3, 8, 2)
        leaked[:, 16:, :2] += 1.0

        assert torch.equal(base, forecast(network, (*parts[:2], leaked, parts[3])))
        assert torch.equal(base, forecast(network, (*parts[:2], informed, parts[3]))) != repaired


@pytest.mark.parametrize(("length", "scales"), [(24, (1,)), (25, (1, 2, 4))])
def test_pitches_tell_low_from_high_frequencies(length: int, scales: tuple[int, ...]) -> None:
    """Each bin is told by the cosine of how far a wave turns in a step (E-12)."""
    wanted = []
    for scale in scales:
        steps = length // scale
        wanted += [f / (steps * scale) for f in range(steps // 2 + 1)]
    cosines = torch.cos(2 * torch.pi * torch.tensor(wanted * 2, dtype=torch.float64))

    found = pitches(length, scales, (torch.float64, torch.device("cpu")))

    torch.testing.assert_close(found, cosines, atol=1e-12, rtol=0)


def test_the_frequency_filter_is_more_than_a_gain_when_repaired() -> None:
    """Moving it rescales all scores alike in the original, and reorders them if repaired (E-12)."""
    for selective in (False, True):
        network = built("EnhancedAutoformer", selective_filter=selective)
        inner = network.encoder.attn_layers[0].attention.inner_correlation
        q, k = torch.randn(2, 1, 32, 16).unbind()
        scores = []
        for value in (0.3, 3.0):
            inner.frequency_filter.data.fill_(value)
            pairs = torch.stack([q, k])
            scores.append(inner._synthesis(pairs) @ inner._cross_spectrum(pairs)[0])
        cosine = torch.cosine_similarity(*(s.flatten() for s in scores), dim=0)

        assert (float(cosine.detach()) < 0.99) == selective


@pytest.mark.slow
def test_lags_join_the_choice_without_a_jump_when_repaired() -> None:
    """Along a path that turns one series into another, no step stays large (T12)."""
    draw = torch.Generator().manual_seed(3)
    first, second, source = torch.randn(3, 1, 32, 16, generator=draw, dtype=torch.float64)
    for soft in (False, True):
        torch.manual_seed(1)
        options = {"plain_lag_count": True, "soft_lags": soft}
        layer = built("EnhancedAutoformer", **options).encoder.attn_layers[0].attention.double()
        layer.layer_scale.data.fill_(1.0)
        with torch.no_grad():
            path = [
                layer(torch.lerp(first, second, s), source)
                for s in torch.linspace(0, 1, 401, dtype=torch.float64)
            ]
        jump = float(torch.cat(path).diff(dim=0).abs().max())

        assert (jump < 1e-2) == soft


@pytest.mark.parametrize("count", [0, 1, 3])
def test_shifted_sums_are_those_of_rolled_copies(count: int) -> None:
    """Values and gradients, and zeros where there is no lag at all."""
    lags = torch.stack([torch.randperm(7)[:count] for _ in range(2)])
    memory = torch.randn(2, 7, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, count, dtype=torch.float64, requires_grad=True)
    wanted = torch.stack(
        [
            sum((w * m.roll(-int(lag), 0) for lag, w in zip(row, ws, strict=True)), 0.0 * m)
            for m, row, ws in zip(memory, lags, weights, strict=True)
        ]
    )

    found = shifted_sum(memory, lags, weights)

    torch.testing.assert_close(found, wanted)
    target = torch.randn_like(wanted)
    ours = torch.autograd.grad(found, (memory, weights), target)
    theirs = torch.autograd.grad(wanted, (memory, weights), target, materialize_grads=True)
    torch.testing.assert_close(ours, theirs)


def test_shifted_sums_need_no_weights_that_sum_to_one() -> None:
    """Faded weights pass the value map's bias in proportion, as a plain loop does."""
    network = built("EnhancedAutoformer", soft_lags=True)
    attention = network.encoder.attn_layers[0].attention
    x, source = torch.randn(2, 2, 32, 16).unbind()
    with torch.no_grad():
        lags, weights = attention.inner_correlation(attention._pairs(x, source))
        values = attention.value_projection(source)
        mixed = shifted_sum(values, lags, weights)
        wanted = attention.out_projection(mixed) * attention.layer_scale

        found = attention(x, source)

    assert (weights.sum(-1) < 0.999).all()
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("name", ["BayesianEnhancedAutoformer", "QuantileBayesianAutoformer"])
def test_quantile_widths_are_free_of_the_point_forecast_when_repaired(name: str) -> None:
    """In the original each width is a line in the nt point forecasts; no longer (B-14)."""
    config = LEVELS | {"c_out": 3, "c_out_evaluation": 1}
    for free in (False, True):
        network = built(name, config, free_quantiles=free, mean_in_eval=True).double()
        parts = tuple(part.double() for part in inputs(8))
        low, middle, high = forecast(network, parts).flatten(0, 1).unbind(-1)
        design = torch.stack([middle, torch.ones_like(middle)], dim=1)
        line = design @ torch.linalg.lstsq(design, (high - low).unsqueeze(1)).solution
        left = (high - low) - line[:, 0]

        assert (float(left.abs().max()) > 1e-3) == free


def test_a_mask_in_the_fifth_place_is_ignored_when_repaired() -> None:
    """The Bayesian network then takes a mask as its siblings do, and a flag as before (B-30)."""
    network, parts = built("BayesianEnhancedAutoformer", repaired=True).eval(), inputs()

    masked = network(*parts, torch.ones(3, 1, 32, 32, dtype=torch.bool))

    assert torch.equal(masked, network(*parts))
    assert "prediction" in network(*parts, True)


@pytest.mark.parametrize("soft", [False, True])
def test_kernels_are_as_wide_as_configured_when_repaired(soft: bool) -> None:
    """In the original `moving_avg` changes nothing (E-19)."""
    for repaired in (False, True):
        reach = {}
        for width in (5, 40):
            repairs = Repairs(configured_kernel=repaired, soft_kernel=soft)
            split = LearnedAverage(3, width, repairs)
            split.kernel_predictor[2].bias.data.fill_(30.0)  # the widest kernel there is
            x = torch.zeros(1, 200, 3)
            x[:, 100] = 1.0
            _, trend = split(x)
            reach[width] = int((trend[0, :, 0].abs() > 1e-7).sum())

        assert reach == ({5: 9, 40: 79} if repaired else {5: 49, 40: 49})


@pytest.mark.parametrize("width", [1, 2, 5, 40])
@pytest.mark.parametrize("soft", [False, True])
def test_configured_kernels_of_any_width_average(width: int, soft: bool) -> None:
    """A constant series is all trend, whatever the width, also beyond the series (E-19)."""
    split = LearnedAverage(3, width, Repairs(configured_kernel=True, soft_kernel=soft))

    seasonal, trend = split(torch.full((2, 12, 3), 4.0))

    torch.testing.assert_close(trend, torch.full((2, 12, 3), 4.0))
    torch.testing.assert_close(seasonal, torch.zeros(2, 12, 3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("noise", [False, True])
def test_a_report_on_quantiles_has_one_point_path_per_target_when_repaired(noise: bool) -> None:
    """In the original the point is as wide as all quantiles of all targets (B-34)."""
    options = {"observation_noise": noise, "plain_gradients": True, "target_major_report": True}
    for repaired in (False, True):
        network = built(
            "BayesianEnhancedAutoformer", LEVELS, n_samples=5, point_report=repaired, **options
        ).eval()
        report = network(*inputs(), True)
        median = report["quantile_specific"]["quantile_0.5"]

        assert report["prediction"].shape[-1] == (2 if repaired else 6)
        assert report["confidence_intervals"]["95%"]["width"].shape[-1] == (2 if repaired else 6)
        if repaired:
            assert torch.equal(report["prediction"], median["prediction"])
            assert torch.equal(report["uncertainty"], median["uncertainty"])


def test_bounds_are_the_outermost_levels_when_repaired() -> None:
    """In the original they are missing for levels such as .05 and .95 (Q-09)."""
    config = {"quantile_levels": [0.05, 0.5, 0.95], "c_out": 2}
    faithful = built("QuantileBayesianAutoformer", config)
    repaired = built("QuantileBayesianAutoformer", config, outermost_bounds=True)

    assert set(faithful.predict_quantiles(inputs())) == {"quantiles", "median"}
    with pytest.raises(NetworkConfigError, match=r"wanted \.1 and \.9 in them"):
        faithful.get_uncertainty_metrics(inputs())
    found = repaired.predict_quantiles(inputs())
    assert torch.equal(found["lower_bound"], found["quantiles"][..., 0])
    assert torch.equal(found["upper_bound"], found["quantiles"][..., 2])
    assert repaired.get_uncertainty_metrics(inputs())["per_target"].shape == (2,)


@pytest.mark.parametrize("name", EVERY)
def test_a_level_goes_through_unchanged_when_repaired(name: str) -> None:
    """Raising one target's history raises that forecast by as much and no other (E-02, T9)."""
    network = built(name, repaired=True).double()
    parts = tuple(part.double() for part in inputs())
    flat = torch.full_like(parts[0], 2.0), torch.full_like(parts[2][:, :16], 2.0)
    shifts = []
    for height in (0.0, 3.0):
        x_enc, label = (part.clone() for part in flat)
        x_enc[..., 0] += height
        label[..., 0] += height
        x_dec = torch.cat([label, parts[2][:, 16:]], dim=1)
        shifts.append(forecast(network, (x_enc, parts[1], x_dec, parts[3])))

    shift = (shifts[1] - shifts[0]).unflatten(-1, (2, -1))

    if not name.startswith("Quantile"):  # its levels are maps of the point forecast
        torch.testing.assert_close(shift[..., 0, :], torch.full_like(shift[..., 0, :], 3.0))
        torch.testing.assert_close(shift[..., 1, :], torch.zeros_like(shift[..., 1, :]))
    assert shift.isfinite().all()


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("levels", [{}, LEVELS])
def test_every_parameter_learns_when_repaired(name: str, levels: dict[str, Any]) -> None:
    """One backward pass through the network's own loss reaches all of them (T11)."""
    if name == "Autoformer" and levels:
        levels = {"d_layers": 1}
    network = built(name, levels, repaired=True)
    out, truth = network(*inputs()), torch.randn(3, 8, 2)
    if hasattr(network, "quantile_loss"):
        loss = network.quantile_loss(out, truth)
    elif hasattr(network, "compute_loss"):
        loss = network.compute_loss(out, torch.zeros_like(out), nn.functional.mse_loss)
    else:
        loss = out.square().mean()

    loss.backward()

    assert [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize("heads", [2, 4])
def test_attention_between_levels_has_the_configured_heads_when_repaired(heads: int) -> None:
    """A width that 8 does not divide is refused by the original only (H-09)."""
    config = {"d_model": 12, "n_heads": heads}

    network = built("HierarchicalEnhancedAutoformer", config, configured_heads=True)

    assert forecast(network, inputs()).isfinite().all()
    with pytest.raises(NetworkConfigError, match="wanted a multiple of 8"):
        built("HierarchicalEnhancedAutoformer", config)


def test_values_are_carried_between_levels_when_repaired() -> None:
    """The value map changes the forecast; in the original it is never read (H-17)."""
    for carried in (False, True):
        config = {"d_model": 32, "n_heads": 2}
        network = built("HierarchicalEnhancedAutoformer", config, live_values=carried)
        for layer in network.cross_attention.cross_res_attention:
            layer.out.weight.data.mul_(50.0)
        base = forecast(network, inputs())
        for layer in network.cross_attention.cross_res_attention:
            layer.Lv.weight.data.mul_(-3.0)

        assert torch.equal(base, forecast(network, inputs())) != carried


@pytest.mark.parametrize("name", EVERY)
def test_a_faithful_checkpoint_loads_and_names_what_is_unused(name: str) -> None:
    """Into a repaired network everything known is loaded; the rest is listed by name."""
    faithful, repaired = built(name), built(name, repaired=True)

    found = baselines.load(repaired, faithful.state_dict())

    own, stored = repaired.state_dict(), faithful.state_dict()
    alike = {key for key, value in own.items() if value.shape == stored.get(key, Tensor()).shape}
    assert set(found.unused) == stored.keys() - alike
    assert set(found.missing) == own.keys() - alike
    assert all(torch.equal(own[key], stored[key]) for key in alike)
    assert len(alike) > len(own) // 2
    if name == "EnhancedAutoformer":
        assert found.missing == ()
        assert "encoder.cross_layer_connections.0.weight" in found.unused


def test_a_checkpoint_of_other_sizes_is_refused_by_name() -> None:
    """The message names the first entry that does not fit, and both shapes."""
    wide = built("EnhancedAutoformer", {"d_model": 32}).state_dict()

    with pytest.raises(NetworkConfigError, match=r"found shape \[32, .*wanted \[16, "):
        baselines.load(built("EnhancedAutoformer"), wide)
    with pytest.raises(NetworkConfigError, match="no stored name is the network's"):
        baselines.load(built("EnhancedAutoformer"), {"layer.weight": torch.zeros(1)})


def step(network: nn.Module) -> Tensor:
    """The training output of a network, after one backward pass through it."""
    out: Tensor = network(*inputs(2))
    out.square().mean().backward()
    return out


@cache
def read_unrepaired(name: str) -> frozenset[str]:
    """Switches that a network reads in being built and in a step, while all of them are off."""
    seen = set[str]()

    class Watched(Repairs):
        def __getattribute__(self, name: str) -> Any:
            if str(sys._getframe(1).f_globals["__name__"]).startswith("baselines."):
                seen.add(name)  # and not by `dataclasses.replace`, whose copy is watched too
            return super().__getattribute__(name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "Repairs", Watched)
        step(built(name))
    return frozenset(seen & set(Repairs.names()))


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_every_switch_works_alone(name: str) -> None:
    """One repair at a time builds a network that trains with finite gradients.

    A switch that is never asked leaves the network as it is without: the next test.
    """
    for switch in sorted(read_unrepaired(name)):
        network = built(name, **{switch: True})

        out = step(network)

        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        assert out.isfinite().all(), switch
        assert all(each.isfinite().all() for each in gradients), switch


@pytest.mark.parametrize("name", EVERY)
def test_no_switch_is_needed(name: str) -> None:
    """A network without any repair trains with finite gradients, and asks for some of them."""
    network = built(name)

    assert step(network).isfinite().all()
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)
    assert 3 <= len(read_unrepaired(name)) < len(Repairs.names())


def test_attention_fusion_asks_the_last_level_with_eight_heads() -> None:
    """Query is the last level, keys and values are all at one length; then comes a linear map."""
    config = {"fusion_strategy": "attention_fusion", "n_heads": 4}
    fusion = built("HierarchicalEnhancedAutoformer", config).fusion.double()
    levels = [torch.randn(2, length, 16, dtype=torch.float64) for length in (4, 4, 8)]

    found = fusion(levels, 24)

    aligned = [functional.interpolate(x.mT, size=24, mode="linear").mT for x in levels]
    attention, memory = fusion.attention_fusion, torch.cat(aligned, dim=1)
    maps = zip(attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3), strict=True)
    sides = zip((aligned[-1], memory, memory), maps, strict=True)
    q, k, v = (functional.linear(x, *m).unflatten(-1, (8, 2)).transpose(1, 2) for x, m in sides)
    heads = torch.softmax(q @ k.mT / 2**0.5, dim=-1) @ v
    mapped = fusion.fusion_projection(attention.out_proj(heads.transpose(1, 2).flatten(-2)))
    torch.testing.assert_close(found, mapped, rtol=1e-10, atol=1e-12)
