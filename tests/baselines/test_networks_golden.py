"""The networks against recorded outputs and gradients of the originals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import baselines

GOLDEN = Path(__file__).parents[1] / "golden" / "legacy"
INPUTS = ("x_enc", "x_mark_enc", "x_dec", "x_mark_dec")
TABLES = ("position_embedding.pe", "ec_s", "ec_d", "rc_e", "rc_o", "h0", "h1", "g0", "g1")
SPECTRAL = ("weights1", "weights2")
SET_BY_THE_RECORDING = (
    "_scale", "scale_weights", "fusion_weights", "frequency_filter", "_logvar",
    "feature_specific_trend_weights", "kernel_predictor.2.weight", "kernel_predictor.2.bias",
    "norm.weight", "norm.bias", "cross_res_attention.0.out.weight",
    "cross_res_attention.1.out.weight",
)  # fmt: skip


class Record:
    """One recorded fixture and a network that holds its weights."""

    def __init__(self, name: str, **options: Any) -> None:
        self.facts = json.loads((GOLDEN / f"{name}.json").read_text())
        self.tensors = load_file(GOLDEN / f"{name}.safetensors")
        self.inputs = [self.tensors[f"in/{name}"] for name in INPUTS]
        arguments = self.facts.get("constructor_arguments", {}) | options
        torch.manual_seed(self.facts["seeds"].get("init", 0))
        self.network = baselines.build(self.facts["model"], self.facts["config"], **arguments)
        self.load(self.facts.get("params_from", name))

    def load(self, name: str) -> None:
        """Fill every entry of the state: stored ones, and what a formula or the seed gives."""
        source = load_file(GOLDEN / f"{name}.safetensors")
        state = {key[6:]: value for key, value in source.items() if key.startswith("param/")}
        for key, rule in self.facts.get("kernels", {}).get("tensors", {}).items():
            state[key] = spectral_kernel(rule["t"], rule["shape"])
        own = self.network.state_dict()
        unstored = TABLES[:1] if "kernels" in self.facts else (TABLES[0], *SPECTRAL)
        state |= {key: own[key] for key in own if key.endswith(unstored)}
        self.network.load_state_dict(state, strict=True)

    def without_dropout(self) -> nn.Module:
        """The network in train mode with every dropout at 0."""
        for module in self.network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        return self.network.train()

    def gradients(self, prefix: str = "grad/") -> dict[str, tuple[Tensor | None, Tensor]]:
        """Gradient found and recorded, by parameter."""
        found = dict(self.network.named_parameters())
        length = len(prefix)
        return {
            key[length:]: (found[key[length:]].grad, value)
            for key, value in self.tensors.items()
            if key.startswith(prefix)
        }


def spectral_kernel(turn: int, shape: list[int]) -> Tensor:
    """Weights too large to store, by the formula of the recording."""
    n = torch.arange(shape[0] * shape[1] * shape[2], dtype=torch.int64)
    h = (n * 2654435 + turn * 1299709 + 104729) % (1 << 22)
    return (0.03125 * (2.0 * h.double() / (1 << 22) - 1.0)).float().view(shape)


def distance(found: Tensor, wanted: Tensor) -> float:
    """Largest difference over the largest value."""
    return float((found.detach() - wanted).abs().max() / wanted.abs().max().clamp_min(1e-30))


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


PLAIN = [
    ("autoformer_A", "", {}),
    ("autoformer_A_odd", "fork/", {}),
    ("autoformer_A_odd", "thuml/", {"full_length_lags": True}),
    ("enhanced_A", "", {}),
    ("enhanced_A_quantile", "", {}),
    ("enhanced_C_short", "", {}),
    ("hierarchical_A", "", {}),
    ("hierarchical_A_quantile", "", {}),
    ("hierarchical_C_fusion", "", {}),
    ("hierarchical_C_short", "", {}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "source", "options"), PLAIN)
def test_outputs_and_gradients_are_the_recorded_ones(
    name: str, source: str, options: dict[str, Any]
) -> None:
    """In eval, alone, in training and backwards the network does what the original did."""
    record = Record(name, **options)
    network, out = record.network.eval(), record.tensors

    with torch.no_grad():
        assert distance(network(*record.inputs), out[f"out/{source}eval"]) < 1e-5
        if f"out/{source}eval_first" in out:
            first = network(*(part[:1] for part in record.inputs))
            assert distance(first, out[f"out/{source}eval_first"]) < 1e-5
    trained = record.without_dropout()(*record.inputs)
    trained.square().mean().backward()

    assert distance(trained, out[f"out/{source}train_nodropout"]) < 1e-5
    pairs = record.gradients(f"grad/{source}")
    scale = max(float(wanted.abs().max()) for _, wanted in pairs.values())
    for found, wanted in pairs.values():
        assert found is not None
        assert float((found - wanted).abs().max()) < 1e-4 * scale
    for found, wanted in record.gradients("grad_slice/").values():
        assert found is not None
        assert distance(found[:12, :12], wanted) < 5e-4


@pytest.mark.parametrize("name", ["enhanced_C_short", "hierarchical_C_short"])
def test_scale_weights_that_are_left_learn_as_recorded(name: str) -> None:
    """Where a scale is too coarse for the length, the shares of the others sum to one."""
    record = Record(name)

    record.without_dropout()(*record.inputs).square().mean().backward()

    pairs = [p for key, p in record.gradients().items() if key.endswith("scale_weights")]
    assert pairs
    for found, wanted in pairs:
        assert found is not None
        assert distance(found, wanted) < 5e-4


INITIAL = [
    *("autoformer_A", "enhanced_A", "enhanced_A_quantile", "bayesian_A", "bayesian_A_quantile"),
    *("enhanced_C_short", "hierarchical_A", "hierarchical_C_fusion", "hierarchical_C_short"),
]


@pytest.mark.parametrize("name", INITIAL)
def test_one_seed_gives_the_originals_initial_weights(name: str) -> None:
    """Layers are built in the originals' order, so every weight left as built is bitwise equal."""
    facts = json.loads((GOLDEN / f"{name}.json").read_text())
    tensors = load_file(GOLDEN / f"{name}.safetensors")
    torch.manual_seed(facts["seeds"]["init"])

    built = baselines.build(facts["model"], facts["config"], **facts["constructor_arguments"])

    state = built.state_dict()
    stored = {key[6:]: value for key, value in tensors.items() if key.startswith("param/")}
    asked = [key for key in stored if not key.endswith(TABLES + SET_BY_THE_RECORDING)]
    assert len(asked) >= len(stored) / 2
    assert [key for key in asked if not torch.equal(state[key], stored[key])] == []


@pytest.mark.parametrize("name", ["autoformer_A", "enhanced_A", "enhanced_A_quantile"])
def test_double_precision_agrees_to_rounding(name: str) -> None:
    """In float64 only rounding is left between the network and the original."""
    record = Record(name)

    with torch.no_grad():
        found = record.network.double().eval()(*(part.double() for part in record.inputs))

    assert distance(found, record.tensors["out/eval_f64"]) < 1e-12


DEAD = ["enhanced_A", "bayesian_A", "hierarchical_A", "enhanced_C_short", "hierarchical_C_short"]


@pytest.mark.parametrize("name", DEAD)
def test_dead_parameters_are_the_same(name: str) -> None:
    """Exactly the parameters the original never trains get no gradient."""
    record = Record(name)

    record.without_dropout()(*record.inputs).sum().backward()

    dead = {key for key, value in record.network.named_parameters() if value.grad is None}
    assert set(record.facts["no_gradient"]) == dead


@pytest.mark.parametrize("name", ["bayesian_A", "bayesian_A_quantile"])
def test_random_weights_are_drawn_as_recorded(name: str) -> None:
    """From the same seed come the same draws, forecasts, gradients and KL term."""
    record = Record(name)
    out, seeds = record.tensors, record.facts["seeds"]
    network = record.network.eval()

    with torch.no_grad():
        torch.manual_seed(seeds["eval"])
        assert distance(network(*record.inputs), out["out/eval"]) < 1e-5
    record.without_dropout()
    torch.manual_seed(seeds["train"])
    trained = network(*record.inputs)
    trained.square().mean().backward()

    assert distance(trained, out["out/train_nodropout"]) < 1e-5
    scale = max(float(wanted.abs().max()) for _, wanted in record.gradients().values())
    for found, wanted in record.gradients().values():
        assert found is not None
        assert float((found - wanted).abs().max()) < 1e-4 * scale
    assert distance(network.get_kl_loss(), out["out/kl"][0]) < 1e-6


@pytest.mark.parametrize("name", ["bayesian_A", "bayesian_A_quantile"])
def test_the_uncertainty_report_is_the_recorded_one(name: str) -> None:
    """Every entry of the original's report is found under its name with its value."""
    record = Record(name)

    with torch.no_grad():
        torch.manual_seed(record.facts["seeds"]["uncertainty"])
        report = record.network.eval()(*record.inputs, True, True)

    recorded = [key for key in record.tensors if key.startswith("out/unc/")]
    assert recorded
    for key in recorded:
        kind, *path = key.removeprefix("out/unc/").split("/")
        found = report.get(kind)
        if kind == "ci":
            found = report["confidence_intervals"][f"{path[0]}%"][path[1]]
        elif kind.startswith("quantile_"):
            found = report["quantile_specific"][kind][path[0]]
        assert distance(found, record.tensors[key]) < 1e-5


def test_the_true_wavelet_gradient_is_autograds() -> None:
    """With the repair the gradient before the wavelets is the recorded true one (H-13)."""
    record = Record("hierarchical_A", true_wavelet_gradient=True)

    record.without_dropout()(*record.inputs).square().mean().backward()

    for found, wanted in record.gradients("grad_true_dwt/").values():
        assert found is not None
        assert distance(found, wanted) < 5e-4
