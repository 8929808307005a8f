"""What can be built, what is refused, and what each repair changes."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from naive_autoformer import NaiveAutoformer
from naive_enhanced import NaiveEnhanced, correlate
from naive_hierarchical import NaiveHierarchical
from torch import Tensor, nn

import baselines
from baselines.networks.adaptive import _PhaseSpectrum, each_alone
from baselines.networks.config import MARKS_BY_FREQUENCY, NetworkConfigError, Repairs
from baselines.networks.feed import feed_forward
from baselines.networks.layers import Dropout
from baselines.networks.spectrum import analysis_matrix, synthesis_matrix
from baselines.networks.wavelets import WaveletBands, analyse, legendre_filters

POINT = ("Autoformer", "EnhancedAutoformer", "BayesianEnhancedAutoformer")
EVERY = (*POINT, "HierarchicalEnhancedAutoformer", "QuantileBayesianAutoformer")
SMALL = {
    "seq_len": 32, "label_len": 16, "pred_len": 8, "enc_in": 4, "dec_in": 4, "c_out": 4,
    "d_model": 8, "n_heads": 2, "e_layers": 1, "d_layers": 1, "d_ff": 16, "moving_avg": 5,
    "factor": 2, "freq": "d", "dropout": 0.0,
}  # fmt: skip
TARGETS = {"c_out": 2, "c_out_evaluation": 2}
LEVELS = {"quantile_levels": [0.1, 0.5, 0.9], "c_out": 6, "c_out_evaluation": 2}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def small(name: str, **changes: Any) -> dict[str, Any]:
    """A small configuration that fits the network."""
    return SMALL | ({} if name == "Autoformer" else TARGETS) | changes


def inputs(config: dict[str, Any], batch: int = 3, seed: int = 1) -> tuple[Tensor, ...]:
    """Random inputs of the shapes the configuration asks for; horizon targets are 0."""
    draw = torch.Generator().manual_seed(seed)
    history, label, horizon = (config[key] for key in ("seq_len", "label_len", "pred_len"))
    marks = MARKS_BY_FREQUENCY[config.get("freq", "h")]
    x_enc = torch.randn(batch, history, config["enc_in"], generator=draw).cumsum(1) / 3
    x_dec = torch.cat([x_enc[:, -label:], torch.zeros(batch, horizon, config["dec_in"])], dim=1)
    m_enc = torch.rand(batch, history, marks, generator=draw) - 0.5
    return x_enc, m_enc, x_dec, torch.rand(batch, label + horizon, marks, generator=draw) - 0.5


def forecast(network: nn.Module, parts: tuple[Tensor, ...], seed: int = 5) -> Tensor:
    """One forecast without gradient from a fixed seed."""
    torch.manual_seed(seed)
    with torch.no_grad():
        out: Tensor = network(*parts)
    return out


def number(value: Tensor) -> float:
    """The value of a tensor of one number."""
    return float(value.detach())


def lively(network: nn.Module, seed: int = 2) -> nn.Module:
    """Move what stands at a constant or near zero, so that differences show."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if name.endswith(("_scale", "layer_scale")):
                value.fill_(0.8)
            elif name.endswith("kernel_predictor.2.bias"):
                value.copy_(torch.randn(value.shape, generator=draw) - 1.0)
    return network


def test_importing_the_baselines_loads_no_framework() -> None:
    """Listing arms must cost nothing, so torch waits for the first build."""
    code = "import sys, baselines; sys.exit('torch' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], check=False)

    assert done.returncode == 0


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("repaired", [False, True])
def test_every_network_trains_and_forecasts(name: str, repaired: bool) -> None:
    """Construction, forward, backward and a batch of one give finite forecasts (T31)."""
    config = small(name)
    network = baselines.build(name, config, repaired=repaired)
    parts = inputs(config)
    wide = 6 if name.startswith("Quantile") else config["c_out"]

    trained = network(*parts)
    trained.square().mean().backward()

    assert (3, 8, wide) == tuple(trained.shape)
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)
    assert forecast(network.eval(), tuple(part[:1] for part in parts)).isfinite().all()


@pytest.mark.parametrize("name", EVERY)
def test_state_round_trips(name: str) -> None:
    """A stored state loads strictly and gives the same forecast (T26)."""
    config = small(name)
    first, second = (baselines.build(name, config).eval() for _ in range(2))
    parts = inputs(config)

    second.load_state_dict(first.state_dict(), strict=True)

    assert torch.equal(forecast(first, parts), forecast(second, parts))


@pytest.mark.parametrize("name", EVERY)
def test_marks_may_be_absent(name: str) -> None:
    """Without calendar features only the values are embedded."""
    config = small(name)
    x_enc, _, x_dec, _ = inputs(config)

    assert (
        forecast(baselines.build(name, config).eval(), (x_enc, None, x_dec, None)).isfinite().all()
    )


@pytest.mark.parametrize("name", ["Autoformer", "EnhancedAutoformer"])
def test_the_fifth_argument_is_an_ignored_mask(name: str) -> None:
    """A mask changes nothing in a forecast."""
    config = small(name)
    network, parts = baselines.build(name, config).eval(), inputs(config)

    assert torch.equal(network(*parts), network(*parts, torch.ones(3, 32)))


def test_a_mask_is_no_request_for_uncertainty() -> None:
    """The Bayesian network takes a flag in fifth place, so a mask raises (B-30)."""
    config = small("BayesianEnhancedAutoformer")
    network = baselines.build("BayesianEnhancedAutoformer", config)

    with pytest.raises(RuntimeError, match="ambiguous"):
        network(*inputs(config), torch.ones(3, 32))


def test_the_config_is_neither_changed_nor_kept() -> None:
    """Building leaves the mapping as it was; changing it later changes no forecast (T29)."""
    config = small("QuantileBayesianAutoformer", quantile_levels=[0.1, 0.5, 0.9])
    before = copy.deepcopy(config)
    network = baselines.build("QuantileBayesianAutoformer", config, repaired=True).eval()
    parts = inputs(config)
    first = forecast(network, parts)

    assert before == config
    config["pred_len"] = 3
    assert torch.equal(first, forecast(network, parts))


REFUSED: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("Autoformer", {"d_modle": 8}, {}, "unknown field d_modle; known fields are seq_len"),
    ("Autoformer", {}, {"repaird": True}, "unknown option repaird; known options are repaired"),
    ("Autoformer", {}, {"repaired": 1}, "repaired: found 1"),
    ("Informer", {}, {}, "unknown network 'Informer'; known are Autoformer"),
    ("Autoformer", {"moving_avg": 24}, {}, "moving_avg: found 24, wanted an odd"),
    ("Autoformer", {"label_len": 33}, {}, "label_len: found 33, wanted at most seq_len"),
    ("Autoformer", {"c_out": 3}, {}, "c_out: found 3"),
    ("Autoformer", {"dec_in": 3}, {}, "dec_in: found 3"),
    ("Autoformer", {"seq_len": "32"}, {}, "seq_len: found '32'"),
    ("Autoformer", {"activation": "swish"}, {}, "activation: found 'swish', wanted one of gelu"),
    ("Autoformer", {"freq": "15min"}, {}, "freq: found '15min'"),
    ("Autoformer", {"dropout": 1.0}, {}, "dropout: found 1.0"),
    ("Autoformer", {"factor": 12}, {}, "factor: found 12"),
    ("Autoformer", {"n_heads": 9}, {}, "n_heads: found 9"),
    ("Autoformer", {"task_name": "imputation"}, {}, "task_name: found 'imputation'"),
    ("Autoformer", {"output_attention": True}, {}, "output_attention"),
    ("EnhancedAutoformer", {"c_out_evaluation": 2}, {}, "c_out: found 4, wanted 2"),
    ("EnhancedAutoformer", {"quantile_levels": [0.5, 1.5]}, {}, "quantile_levels"),
    ("EnhancedAutoformer", {"quantile_levels": [0.5, 0.5]}, {}, "each level once"),
    ("BayesianEnhancedAutoformer", {}, {"use_quantiles": True}, "c_out: found 4, wanted 20"),
    ("BayesianEnhancedAutoformer", {}, {"n_samples": 0}, "n_samples: found 0"),
    ("BayesianEnhancedAutoformer", {}, {"bayesian_layers": ["gate"]}, "bayesian_layers"),
    ("BayesianEnhancedAutoformer", {}, {"uncertainty_method": "x"}, "uncertainty_method"),
    ("HierarchicalEnhancedAutoformer", {"d_model": 12}, {}, "d_model: found 12"),
    ("HierarchicalEnhancedAutoformer", {"seq_len": 12}, {}, "wanted at least 16"),
    ("QuantileBayesianAutoformer", {}, {"kl_weight": 2.0}, "kl_weight"),
]


@pytest.mark.parametrize(("name", "changes", "options", "message"), REFUSED)
def test_what_cannot_be_built_is_refused_by_name(
    name: str, changes: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    """The message names the field or option and what there is to choose from."""
    with pytest.raises(NetworkConfigError, match=message):
        baselines.build(name, SMALL | changes, **options)


def test_widths_the_original_does_not_read_are_not_refused() -> None:
    """Bayesian point mode forecasts the targets; one target may have a wide seasonal part."""
    config = SMALL | {"c_out": 4, "c_out_evaluation": 2}
    spread = SMALL | {"c_out": 3, "c_out_evaluation": 1}

    bayesian = baselines.build("BayesianEnhancedAutoformer", config).eval()
    wide = [baselines.build(f"{kind}EnhancedAutoformer", spread) for kind in ("", "Hierarchical")]

    assert tuple(forecast(bayesian, inputs(config)).shape) == (3, 8, 2)
    assert [tuple(forecast(each, inputs(spread)).shape) for each in wide] == [(3, 8, 3)] * 2
    with pytest.raises(NetworkConfigError, match="c_out: found 3, wanted 1"):
        baselines.build("EnhancedAutoformer", spread, target_trend=True)


def test_missing_fields_are_all_named() -> None:
    """One message lists everything that must still be given."""
    with pytest.raises(NetworkConfigError, match="missing field seq_len, label_len, pred_len"):
        baselines.build("Autoformer", {"enc_in": 7, "dec_in": 7, "c_out": 7})


UNUSUAL = [
    {"seq_len": 37, "label_len": 20, "pred_len": 9, "activation": "relu", "embed": "fixed"},
    {"seq_len": 21, "label_len": 21, "pred_len": 30, "embed": "learned", "freq": "t"},
    {"seq_len": 40, "label_len": 9, "pred_len": 4, "d_model": 14, "n_heads": 3},
    {"seq_len": 50, "label_len": 3, "pred_len": 2, "e_layers": 2, "d_layers": 3, "factor": 1},
    {"seq_len": 530, "label_len": 20, "pred_len": 3},
]


PLAIN: dict[str, Any] = {
    "Autoformer": NaiveAutoformer,
    "EnhancedAutoformer": NaiveEnhanced,
    "HierarchicalEnhancedAutoformer": NaiveHierarchical,
}
UNUSUAL_LEVELS: list[dict[str, Any]] = [
    {"seq_len": 37, "label_len": 20, "pred_len": 9, "activation": "relu", "embed": "fixed"},
    {"seq_len": 64, "d_model": 16, "n_heads": 4, "e_layers": 2, "factor": 1},
    {"seq_len": 33, "n_levels": 2, "d_model": 24, "n_heads": 5, "d_layers": 2},
    {"seq_len": 17, "n_levels": 1, "label_len": 3, "pred_len": 5, "wavelet_type": "db2"},
    {"seq_len": 50, "n_levels": 4, "wavelet_type": "haar", "freq": "h"},
    {"seq_len": 40, "d_model": 20, "n_heads": 4, "use_cross_attention": False},
    {"seq_len": 56, "d_model": 16, **LEVELS},
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes"),
    [(name, changes) for name in ("Autoformer", "EnhancedAutoformer") for changes in UNUSUAL]
    + [("HierarchicalEnhancedAutoformer", changes) for changes in UNUSUAL_LEVELS],
)
def test_the_fast_network_is_the_plain_one(name: str, changes: dict[str, Any]) -> None:
    """At odd lengths, long horizons, other widths and embeddings only rounding differs."""
    config = small(name, **changes)
    fast = lively(baselines.build(name, config)).double()
    plain = PLAIN[name](fast).double()
    x_enc, m_enc, x_dec, m_dec = (part.double() for part in inputs(config))
    if config.get("embed"):
        m_enc, m_dec = (torch.randint(4, (*m.shape[:2], 5)) for m in (m_enc, m_dec))
    weights = [value for value in fast.parameters() if value.requires_grad]
    for train in (False, True):
        found = fast.train(train)(x_enc, m_enc, x_dec, m_dec)
        wanted = plain.train(train)(x_enc, m_enc, x_dec, m_dec)

        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-10)
        ours = torch.autograd.grad(found.square().mean(), weights, allow_unused=True)
        theirs = torch.autograd.grad(wanted.square().mean(), weights, allow_unused=True)
        for one, other in zip(ours, theirs, strict=True):
            if other is not None:
                torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


def test_scores_are_limited_as_in_the_plain_network() -> None:
    """Where queries are their own keys, scores pass 10 and are cut, channel by channel."""
    config = small("EnhancedAutoformer", seq_len=400)
    fast = lively(baselines.build("EnhancedAutoformer", config)).double()
    attention = fast.encoder.attn_layers[0].attention
    attention.inner_correlation.frequency_filter.data.fill_(6.0)
    attention.inner_correlation.scale_weights.data[0] = 3.0
    attention.key_projection.load_state_dict(attention.query_projection.state_dict())
    _, m_enc, x_dec, m_dec = (part.double() for part in inputs(config))
    parts = (torch.randn(3, 400, 4, dtype=torch.float64), m_enc, x_dec, m_dec)
    rows = fast.enc_embedding(parts[0], parts[1])
    scores, _ = attention.inner_correlation._scores(attention._pairs(rows, rows))

    found, wanted = fast(*parts), NaiveEnhanced(fast)(*parts)

    assert number(scores.max()) == 10.0
    assert number(scores.mean()) < 1.0
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-10)
    weights = [attention.query_projection.weight, attention.key_projection.weight]
    ours = torch.autograd.grad(found.square().mean(), weights)
    theirs = torch.autograd.grad(wanted.square().mean(), weights)
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_bin_without_content_has_no_phase(dtype: torch.dtype) -> None:
    """Keys with an exact period leave bins at exactly 0, which rounding must not fill."""
    config = small("EnhancedAutoformer", d_model=16, n_heads=4)
    network = baselines.build("EnhancedAutoformer", config).to(dtype)
    inner = network.encoder.attn_layers[0].attention.inner_correlation
    queries = torch.randn(3, 32, 16, dtype=dtype)
    keys = torch.randn(3, 8, 16, dtype=dtype).repeat(1, 4, 1)

    scores, _ = inner._scores(torch.stack([queries, keys]))

    q, k = (z.transpose(1, 2).unflatten(1, (4, 4)) for z in (queries, keys))
    wanted = correlate(inner, q, k).transpose(1, 2)
    torch.testing.assert_close(scores, wanted.detach(), rtol=1e-4, atol=2e-6)


def test_the_smallest_network_that_lost_its_phases_is_the_plain_one() -> None:
    """A level attended with one mode has an exact period; single precision must not see noise."""
    config = small(
        "HierarchicalEnhancedAutoformer", seq_len=64, d_model=16, n_heads=4, e_layers=2, factor=1
    )
    fast = baselines.build("HierarchicalEnhancedAutoformer", config).eval()
    found = forecast(fast, inputs(config))

    exact = forecast(NaiveHierarchical(fast.double()), tuple(x.double() for x in inputs(config)))

    assert number((found - exact).abs().max() / exact.abs().max()) < 1e-5


@pytest.mark.parametrize("scales", [(1,), (1, 2, 4)])
@pytest.mark.parametrize("floor", [1e-8, 1.0])
def test_the_phase_spectrum_has_the_right_gradient(floor: float, scales: tuple[int, ...]) -> None:
    """To queries, keys and gain, with the least and with the repaired floor."""
    pairs = torch.randn(2, 2, 11, 3, dtype=torch.float64, requires_grad=True)
    gain = torch.tensor([0.7], dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradcheck(
        lambda p, g: _PhaseSpectrum.apply(p, g, floor, scales),  # type: ignore[no-untyped-call]
        (pairs, gain),
    )


def test_dropout_keeps_its_rate_and_its_mean() -> None:
    """A tenth of the values is dropped and the mean is kept, from torch's own seed."""
    drop, ones = Dropout(0.1), torch.ones(400, 1000)

    torch.manual_seed(3)
    first = drop(ones)
    torch.manual_seed(3)
    again = drop(ones)
    torch.manual_seed(3)

    assert torch.equal(first, again)
    torch.testing.assert_close(drop.onto(ones, ones), 1.0 + first)
    assert abs(number((first == 0).float().mean()) - 0.1) < 0.003
    assert abs(number(first.mean()) - 1.0) < 0.003


@pytest.mark.slow
@pytest.mark.parametrize("drop", [0.0, 0.4])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_the_sliced_feed_forward_part_has_the_right_gradient(
    activation: str, drop: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Working in slices changes neither the values nor the gradients, under the same masks."""
    monkeypatch.setattr("baselines.networks.feed.SLICE", 7 * 64)
    x, first, second = (
        torch.randn(*shape, dtype=torch.float64, requires_grad=True)
        for shape in ((2, 40, 3), (7, 3), (4, 7))
    )

    def run(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        torch.manual_seed(0)
        return feed_forward(a, b, c, activation=activation, drop=drop)

    assert torch.autograd.gradcheck(run, (x, first, second))


# What the repairs claim


def changes_with(name: str, switch: str, **config: Any) -> tuple[Tensor, Tensor]:
    """Train-mode outputs of the same weights with and without one repair."""
    chosen = small(name, **config)
    plain, repaired = (
        lively(baselines.build(name, chosen, **{switch: on})) for on in (False, True)
    )
    repaired.load_state_dict(plain.state_dict(), strict=False)
    parts = inputs(chosen)
    parts[2][:, -chosen["pred_len"] :, 2:] = 1.0  # known covariates of the horizon
    return forecast(plain, parts), forecast(repaired, parts)


EFFECTS = [
    ("Autoformer", "per_sample_lags", {}),
    ("Autoformer", "full_length_lags", {"seq_len": 33}),
    ("Autoformer", "newest_keys", {}),
    ("Autoformer", "soft_lags", {}),
    ("EnhancedAutoformer", "aligned_history", {}),
    ("EnhancedAutoformer", "history_level", {}),
    ("EnhancedAutoformer", "future_covariates", {}),
    ("EnhancedAutoformer", "blind_to_horizon", {}),
    ("EnhancedAutoformer", "soft_kernel", {}),
    ("EnhancedAutoformer", "plain_lag_count", {}),
    ("EnhancedAutoformer", "aligned_scales", {}),
    ("EnhancedAutoformer", "single_trend", {"d_layers": 2}),
    ("EnhancedAutoformer", "ordered_quantiles", LEVELS),
    ("HierarchicalEnhancedAutoformer", "coarse_first", {"d_model": 32}),
    ("HierarchicalEnhancedAutoformer", "configured_fusion", {}),
    ("HierarchicalEnhancedAutoformer", "resized_single_level", {"n_levels": 1}),
    ("HierarchicalEnhancedAutoformer", "direct_output", {}),
    ("HierarchicalEnhancedAutoformer", "residual_levels", {}),
]


@pytest.mark.parametrize(("name", "switch", "config"), EFFECTS)
def test_a_repair_changes_the_forecast(name: str, switch: str, config: dict[str, Any]) -> None:
    """Each of these switches alone reaches the forecast of the same weights."""
    faithful, repaired = changes_with(name, switch, **config)

    assert not torch.allclose(faithful, repaired, atol=1e-5)


def test_every_repair_carries_its_dossier_number() -> None:
    """The switches say which defects they repair."""
    fields = Repairs.__dataclass_fields__.values()

    assert all(item.default is False and item.metadata["dossier"] for item in fields)
    assert all(getattr(Repairs.all(), name) for name in Repairs.names())


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("train", [False, True])
def test_repaired_forecasts_ignore_batch_mates(name: str, train: bool) -> None:
    """A sample's forecast is the same alone and in company, in train and eval (T1, T2)."""
    config = small(name)
    network = lively(baselines.build(name, config, repaired=True)).double().train(train)
    for module in network.modules():
        if isinstance(module, nn.Dropout):  # one of the fusion's own has a fixed rate
            module.p = 0.0
    parts = tuple(part.double() for part in inputs(config, batch=6))

    together = forecast(network, parts)
    alone = torch.cat([forecast(network, tuple(p[i : i + 1] for p in parts)) for i in range(6)])

    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY[1:])
def test_a_faithful_batch_can_be_answered_as_if_each_were_alone(name: str) -> None:
    """One pass gives what a pass per sample gives, and a plain pass does not (E-09)."""
    config = small(name, seq_len=64, label_len=32, pred_len=16)
    network = lively(baselines.build(name, config)).double().eval()
    parts = tuple(part.double() for part in inputs(config, batch=24))
    alone = torch.cat([forecast(network, tuple(p[i : i + 1] for p in parts)) for i in range(24)])

    with each_alone(network):
        together = forecast(network, parts)

    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(forecast(network, parts), alone, rtol=1e-6)


def test_the_vanilla_batch_shares_its_lags_in_training_only() -> None:
    """Faithful training mixes the batch and differs from eval; the repair does neither (V-01)."""
    config = small("Autoformer")
    parts = inputs(config)
    gaps = []
    for repaired in (False, True):
        network = baselines.build("Autoformer", config, per_sample_lags=repaired)
        gaps.append(
            (forecast(network.train(), parts) - forecast(network.eval(), parts)).abs().max()
        )

    assert gaps[0] > 1e-3
    assert gaps[1] < 1e-6


def test_newest_rows_reach_cross_attention_when_repaired() -> None:
    """Keys longer than the queries lose their newest rows, or their oldest if repaired (V-03)."""
    config = small("Autoformer", label_len=8)
    for newest, dead in ((False, slice(16, None)), (True, slice(0, 16))):
        network = baselines.build("Autoformer", config, newest_keys=newest).eval()
        encoded = torch.randn(2, 32, 8, requires_grad=True)
        layer = network.decoder.layers[0]
        layer.cross_attention(torch.randn(2, 16, 8), encoded).square().sum().backward()

        assert encoded.grad is not None
        assert number(encoded.grad[:, dead].abs().max()) == 0.0
        assert number(encoded.grad.abs().max()) > 0.0


def test_one_target_gives_one_channel_when_repaired() -> None:
    """With c_out 1 the original returns every channel, the repair the target (V-05)."""
    config = small("Autoformer", c_out=1)
    widths = [
        forecast(baselines.build("Autoformer", config, target_trend=on), inputs(config)).shape[-1]
        for on in (False, True)
    ]

    assert widths == [4, 1]


@pytest.mark.parametrize(("length", "full"), [(32, False), (33, True), (48, True)])
@pytest.mark.parametrize("scales", [(1,), (1, 2, 4)])
def test_aligned_scales_find_the_true_lag(length: int, full: bool, scales: tuple[int, ...]) -> None:
    """A copy moved by 8 steps correlates best at lag 8 (V-02, E-13, T3)."""
    place = (torch.float64, torch.device("cpu"))
    wave = torch.randn(length, 64, dtype=torch.float64)
    analysis = analysis_matrix(length, scales, place)
    first, second = (analysis @ wave.roll(8, 0), analysis @ wave)
    (a, b), (c, d) = first.chunk(2), second.chunk(2)
    cross = torch.cat([a * c + b * d, b * c - a * d])

    scores = synthesis_matrix(length, scales, full, True, place) @ cross

    assert int(scores.mean(1).argmax()) == 8


def enhanced_start(**switches: bool) -> tuple[Any, Tensor]:
    """An Enhanced network and decoder inputs that count upwards, horizon targets 0."""
    config = small("EnhancedAutoformer")
    network = baselines.build("EnhancedAutoformer", config, **switches)
    x_dec = torch.arange(24.0).view(1, -1, 1).repeat(1, 1, 4)
    x_dec[:, 16:, :2] = 0.0
    return network, x_dec


def test_decoder_history_is_x_decs_history_when_repaired() -> None:
    """History slots hold rows P.. in the original and rows 0.. when repaired (E-01, T8)."""
    for aligned, rows in ((False, slice(8, 24)), (True, slice(0, 16))):
        network, x_dec = enhanced_start(aligned_history=aligned)
        seasonal, trend = network.start(x_dec, network.decomp)

        torch.testing.assert_close(
            seasonal[..., :2] + trend, torch.cat([x_dec[:, rows, :2], trend[:, 16:]], dim=1)
        )


def test_the_level_of_the_history_is_kept_when_repaired() -> None:
    """A constant history goes on at its own level, not at two thirds of it (E-02, T9)."""
    for repaired, share in ((False, 16 / 24), (True, 1.0)):
        network, x_dec = enhanced_start(history_level=repaired)
        x_dec[:, :16, :2] = 3.0

        trend = network.start(x_dec, network.decomp)[1]

        torch.testing.assert_close(trend[:, 16:], torch.full((1, 8, 2), 3.0 * share))


def test_future_covariates_and_hidden_targets_when_repaired() -> None:
    """Known covariates reach the horizon, and targets left there never do (T7, T10)."""
    config = small("EnhancedAutoformer")
    network = lively(baselines.build("EnhancedAutoformer", config, repaired=True)).eval()
    parts = inputs(config)
    base = forecast(network, parts)

    leaked = [part.clone() for part in parts]
    leaked[2][:, 16:, :2] = 9.0
    assert torch.equal(base, forecast(network, tuple(leaked)))
    informed = [part.clone() for part in parts]
    informed[2][:, 16:, 2:] = 9.0
    assert not torch.allclose(base, forecast(network, tuple(informed)))


@pytest.mark.slow
def test_the_kernel_size_learns_and_glides_when_repaired() -> None:
    """The size predictor gets a gradient, and small changes stay small (E-05, E-06, T11, T12)."""
    for soft in (False, True):
        network, _ = enhanced_start(soft_kernel=soft)
        x = torch.randn(1, 64, 4).cumsum(1)
        trend = network.decomp(x)[1]
        trend.square().sum().backward()
        weight = network.decomp.kernel_predictor[0].weight
        path = torch.cat(
            [network.decomp(x + step)[1] - step for step in torch.linspace(-9, 9, 1500)]
        )
        jump = number((path[1:] - path[:-1]).abs().max())

        assert (weight.grad is not None) == soft
        assert (jump < 0.05) == soft


def test_kernels_start_as_moving_averages_when_repaired() -> None:
    """Above 25 entries only the repair starts from equal weights (E-07)."""
    for uniform in (False, True):
        network, _ = enhanced_start(uniform_kernel=uniform)
        kernel = network.decomp.kernels((27,))

        assert (number(kernel.detach().std()) < 1e-6) == uniform


def test_constructor_levels_count_when_repaired() -> None:
    """Levels given to the constructor are ignored by the original only (E-17)."""
    config = small("EnhancedAutoformer", c_out=6, c_out_evaluation=2)

    network = baselines.build(
        "EnhancedAutoformer", config, quantile_levels=[0.9, 0.1, 0.5], constructor_levels=True
    )

    assert network.quantiles == (0.1, 0.5, 0.9)
    with pytest.raises(NetworkConfigError, match="c_out"):
        baselines.build("EnhancedAutoformer", config, quantile_levels=[0.9, 0.1, 0.5])
    levels = {"quantile_levels": [0.5, 0.1, 0.9]}
    kept = baselines.build("HierarchicalEnhancedAutoformer", small("H"), **levels)
    assert kept.quantiles == ()


@pytest.mark.parametrize("name", EVERY[1:4])
def test_repaired_quantiles_do_not_cross(name: str) -> None:
    """Levels rise for every target and step (B-15, T23)."""
    config = small(name, **LEVELS)
    network = lively(baselines.build(name, config, repaired=True)).eval()

    quantiles = forecast(network, inputs(config)).unflatten(-1, (2, 3))

    assert (quantiles.diff(dim=-1) >= 0).all()


def bayesian(**options: Any) -> tuple[Any, tuple[Tensor, ...]]:
    """A small Bayesian network in eval and its inputs."""
    config = small("BayesianEnhancedAutoformer", **options.pop("config", {}))
    network = baselines.build("BayesianEnhancedAutoformer", config, n_samples=4, **options)
    return network.eval(), inputs(config)


def test_the_gradient_through_the_mean_is_whole_when_repaired() -> None:
    """The original records one of n passes, so its gradient is 1/n of it (B-03, T17)."""
    sizes = []
    for plain in (False, True):
        torch.manual_seed(0)
        network, parts = bayesian(plain_gradients=plain)
        network.train()
        torch.manual_seed(0)
        network(*parts, True)["prediction"].sum().backward()
        sizes.append(number(network.base_model.decoder.projection.bias_mean.grad.sum()))

    assert sizes[0] * 4 == pytest.approx(sizes[1], rel=1e-5)


def test_uncertainty_without_gradient_records_nothing_when_repaired() -> None:
    """Under no-grad the repaired call saves no tensor (B-01, T15)."""
    saved: list[list[int]] = [[], []]
    for plain in (False, True):
        network, parts = bayesian(plain_gradients=plain)

        def note(x: Tensor, into: list[int] = saved[plain]) -> Tensor:
            into.append(x.numel())
            return x

        with torch.no_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
            network(*parts, True)

    assert saved[0]
    assert not saved[1]


@pytest.mark.parametrize("method", ["bayesian", "dropout"])
def test_repaired_forecasts_are_sure_and_leave_no_trace(method: str) -> None:
    """Point forecasts are sure, generator and modes stay (B-04, B-06, B-11, T18, T19, T21)."""
    network, parts = bayesian(uncertainty_method=method, repaired=True)
    state = torch.get_rng_state()

    network.train()
    network(*parts, True)
    assert all(module.training for module in network.modules())
    network.eval()
    first, second = network(*parts), network(*parts)

    assert torch.equal(first, second)
    assert torch.equal(state, torch.get_rng_state())


def test_the_original_dropout_method_ends_in_eval() -> None:
    """A call in train mode leaves the original in eval, and random there (B-11, B-12)."""
    network, parts = bayesian(uncertainty_method="dropout")

    network.train()
    network(*parts, True)

    assert not network.training
    assert not torch.equal(forecast(network, parts, 1), forecast(network, parts, 2))


def test_one_sample_has_no_spread_when_repaired() -> None:
    """A single pass gives NaN in the original and 0 when repaired (B-07)."""
    config = small("BayesianEnhancedAutoformer")
    for safe in (False, True):
        network = baselines.build(
            "BayesianEnhancedAutoformer", config, n_samples=1, safe_spread=safe
        ).eval()

        spread = network(*inputs(config), True)["uncertainty"]

        assert (spread.isfinite().all() and (spread == 0).all()) == safe


def test_observation_noise_is_learned_and_reported_when_repaired() -> None:
    """The noise meets the error, widens intervals, is the aleatoric part (B-08, B-09)."""
    network, parts = bayesian(repaired=True)
    optimiser = torch.optim.Adam([network.observation_logvar], lr=0.1)
    for _ in range(200):
        optimiser.zero_grad()
        zeros = torch.zeros(4000, 1, 2)
        network.compute_loss(
            zeros, 3.0 * torch.randn(4000, 1, 2), nn.functional.mse_loss
        ).backward()
        optimiser.step()
    report = network(*parts, True, True)

    assert pytest.approx(number(report["aleatoric_uncertainty"].mean()), rel=0.05) == 3.0
    width = report["confidence_intervals"]["95%"]["width"]
    torch.testing.assert_close(width, 2 * 1.959964 * report["uncertainty"], rtol=1e-4, atol=1e-4)


def test_a_level_is_reported_from_its_own_channels_when_repaired() -> None:
    """Targets vary slowest, so level q of nq sits at every nq-th channel (B-13, T22)."""
    network, parts = bayesian(config=LEVELS, target_major_report=True)

    report = network(*parts, True)

    wanted = report["prediction"][..., 1::3]
    assert torch.equal(wanted, report["quantile_specific"]["quantile_0.5"]["prediction"])


def test_the_head_keeps_its_linear_when_repaired() -> None:
    """The random head starts at 0.1 N(0, 1), or at the linear it replaces (B-24)."""
    found = [bayesian(inherited_head=on)[0].base_model.decoder.projection for on in (False, True)]

    assert number(found[0].weight_mean.abs().max()) < 0.5
    assert number(found[1].weight_mean.abs().max()) < 8**-0.5
    assert number(found[1].weight_mean.std()) > 1.5 * number(found[0].weight_mean.std())


def test_the_loss_moves_by_the_kl_weight() -> None:
    """The loss holds the weighted KL once, 0 where nothing is random (T24, T25)."""
    network, _ = bayesian(kl_weight=0.5)
    plain, _ = bayesian(bayesian_layers=[])
    y = torch.zeros(1, 8, 2)

    parts = network.compute_loss(y, y + 1, nn.functional.mse_loss, return_components=True)

    raw = sum(number(layer.kl()) for layer in network.random_layers())
    assert 1.0 + 0.5 * raw == pytest.approx(number(parts["total_loss"]))
    assert raw > 0.0
    assert number(plain.get_kl_loss()) == 0.0


def test_the_quantile_network_says_that_it_is_a_repaired_build() -> None:
    """No original output exists, so its numbers are labelled; bounds and widths are there."""
    config = small("QuantileBayesianAutoformer")
    network = baselines.build("QuantileBayesianAutoformer", config, repaired=True)
    found = network.predict_quantiles(inputs(config))
    widths = network.get_uncertainty_metrics(inputs(config))

    assert "repaired build" in network.label
    assert {"quantiles", "lower_bound", "median", "upper_bound"} == set(found)
    assert (found["lower_bound"] <= found["upper_bound"]).all()
    assert tuple(widths["per_target"].shape) == (2,)
    assert network.training


def test_the_scaled_kl_no_longer_drowns_the_pinball_loss() -> None:
    """The raw KL sum is a thousand times the mean per weight that the repair uses (Q-06)."""
    config = small("QuantileBayesianAutoformer")
    sums = []
    for scaled in (False, True):
        torch.manual_seed(0)
        network = baselines.build("QuantileBayesianAutoformer", config, scaled_kl=scaled)
        sums.append(number(network.get_kl_loss()))

    assert sums[1] * (8 * 2 + 2) == pytest.approx(sums[0], rel=1e-5)


def test_every_band_is_used_when_repaired() -> None:
    """The original drops its last band; the repair encodes all and trains every map (H-01, T11)."""
    config = small("HierarchicalEnhancedAutoformer")
    for repaired in (False, True):
        network = baselines.build("HierarchicalEnhancedAutoformer", config, all_bands=repaired)
        network(*inputs(config)).sum().backward()
        last = network.decomposer.scale_projections[-1].weight

        assert (last.grad is not None) == repaired


def test_full_rate_decoding_gives_full_rank() -> None:
    """Decoding short levels and stretching them loses rank, decoding at full length not (T28)."""
    config = small("HierarchicalEnhancedAutoformer", c_out=1, c_out_evaluation=1)
    ranks = []
    for repaired in (False, True):
        network = (
            lively(
                baselines.build(
                    "HierarchicalEnhancedAutoformer", config, full_rate_decoding=repaired
                )
            )
            .eval()
            .double()
        )
        parts = tuple(part.double() for part in inputs(config, batch=64))
        ranks.append(int(torch.linalg.matrix_rank(forecast(network, parts)[..., 0], rtol=1e-9)))

    assert ranks[0] < ranks[1] == config["pred_len"]


@pytest.mark.parametrize("strategy", ["weighted_concat", "weighted_sum", "attention_fusion"])
@pytest.mark.parametrize("shared", [False, True])
def test_every_fusion_strategy_and_a_shared_encoder_work(strategy: str, shared: bool) -> None:
    """All strategies are in use when repaired, with one encoder or one for each level."""
    config = small("HierarchicalEnhancedAutoformer", fusion_strategy=strategy)
    network = baselines.build(
        "HierarchicalEnhancedAutoformer", config, repaired=True, shared_encoder=shared
    )

    network(*inputs(config)).sum().backward()

    assert all(value.grad is not None for value in network.fusion.parameters() if value.dim() > 1)
    assert len(network.encoder.resolution_encoders) == (1 if shared else 4)


@pytest.mark.parametrize("length", [7, 32, 51])
def test_the_wavelet_gradient_is_true_when_repaired(length: int) -> None:
    """Finite differences agree with the repaired gradient, not with the original's (H-13, T30)."""
    filters = torch.randn(8, 2, dtype=torch.float64)
    x = torch.randn(1, length, 2, dtype=torch.float64, requires_grad=True)

    for true in (False, True):
        agree = torch.autograd.gradcheck(
            lambda z, on=true: analyse(z, filters, true_gradient=on), (x,), raise_exception=False
        )
        assert agree == true


def test_wavelet_bands_have_the_documented_lengths() -> None:
    """96 steps and three levels give 12, 12, 24 and 48."""
    config = baselines.build("HierarchicalEnhancedAutoformer", small("H")).config
    bands = WaveletBands(config, Repairs())

    assert bands.lengths(96) == [12, 12, 24, 48]
    assert [band.shape[1] for band in bands(torch.randn(1, 96, 8))] == [12, 12, 24, 48]


def test_multiwavelet_filters_are_orthonormal() -> None:
    """The filter bank turns a cell's 16 numbers, so nothing is lost on the way down and up."""
    h0, h1, g0, g1 = legendre_filters()
    bank = torch.cat([torch.cat([h0, h1], 1), torch.cat([g0, g1], 1)])

    torch.testing.assert_close(bank @ bank.t(), torch.eye(16), atol=1e-6, rtol=0)


def test_batch_mates_no_longer_set_the_number_of_lags_when_repaired() -> None:
    """The original takes the batch's median count in eval too; the repair does not (E-09, T1)."""
    config = small("EnhancedAutoformer", seq_len=64, d_model=16)
    gaps = []
    for repaired in (False, True):
        torch.manual_seed(4)
        network = lively(
            baselines.build("EnhancedAutoformer", config, per_sample_lag_count=repaired)
        ).double()
        parts = tuple(part.double() for part in inputs(config, batch=8))
        together = forecast(network.eval(), parts)
        alone = [forecast(network, tuple(p[i : i + 1] for p in parts)) for i in range(8)]
        gaps.append(number((together - torch.cat(alone)).abs().max()))

    assert gaps[0] > 1e-4
    assert gaps[1] < 1e-9


def test_gains_start_open_when_repaired() -> None:
    """Attention enters the encoder with 0.01 of its size in the original, else whole (E-16)."""
    for repaired, gain in ((False, 0.01), (True, 1.0)):
        network, _ = enhanced_start(open_gains=repaired)
        layer = network.encoder.attn_layers[0]

        assert number(layer.attention_scale * layer.attention.layer_scale) == pytest.approx(gain)


@pytest.mark.parametrize("name", EVERY)
def test_inference_mode_leaves_training_possible(name: str) -> None:
    """Fixed matrices first made under inference mode still serve a backward pass."""
    config = small(name, seq_len=34, label_len=18, pred_len=7, moving_avg=7)
    network = baselines.build(name, config)
    with torch.inference_mode():
        network.eval()(*inputs(config))

    network.train()(*inputs(config)).sum().backward()

    assert any(value.grad is not None for value in network.parameters())
