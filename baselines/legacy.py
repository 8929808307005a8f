"""The legacy models as arms: channels, scaling, training and forecasting around a network."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from baselines.contract import Contract
from baselines.features import CHANNELS, WARM_UP, channels, daily_marks
from baselines.pipeline import (
    Scale,
    TrainedNetwork,
    check_ready,
    check_recipe,
    divergence,
    evaluating,
    one_by_one,
    recipe_text,
    schedule_of,
    tensor,
    torch_device,
)
from baselines.weights import put_weights
from harness.arm import Training
from harness.errors import ForecastError
from harness.forecast import Forecast
from harness.window import Context, Contexts

if TYPE_CHECKING:
    from baselines.training import Sizes

_NETWORKS = (
    "Autoformer",
    "EnhancedAutoformer",
    "BayesianEnhancedAutoformer",
    "HierarchicalEnhancedAutoformer",
    "QuantileBayesianAutoformer",
)


@dataclass(slots=True, kw_only=True)
class LegacyForecaster:
    """A legacy network trained by the legacy recipe on seven channels, forecasting the price.

    Its distribution is the network's own where it has one: quantiles in quantile mode, draws of
    the Bayesian networks. Otherwise it is a point path and the harness adds one.

    Parameters
    ----------
    model
        Name of the network, as `baselines.build` knows it.
    seq_len, label_len
        Sessions the encoder and the decoder see. Twenty more are read for the channels.
    d_model, n_heads, e_layers, d_layers, d_ff, factor, moving_avg, dropout, activation
        The originals' configuration.
    quantiles
        Levels of quantile mode, trained by the pinball loss; empty is point mode.
    options
        The network's own constructor arguments and switches, such as ``repaired = true``.
    epochs, patience, batch_size, learning_rate, train_stride
        The originals' recipe; training windows start every `train_stride` sessions.
    device
        ``cpu``, ``cuda``, or ``auto`` for a GPU when there is one.
    precision
        Of the linear maps while training: ``float32``, or ``bf16`` where the device has it.
    """

    model: str = "Autoformer"
    seq_len: int = 96
    label_len: int = 48
    d_model: int = 64
    n_heads: int = 8
    e_layers: int = 2
    d_layers: int = 1
    d_ff: int = 256
    factor: float = 1
    moving_avg: int = 25
    dropout: float = 0.1
    activation: str = "gelu"
    quantiles: list[float] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    epochs: int = 10
    patience: int = 3
    batch_size: int = 32
    learning_rate: float = 1e-4
    train_stride: int = 1
    device: str = "cpu"
    precision: Literal["float32", "bf16"] = "float32"
    _network: Any = field(default=None, init=False, repr=False)
    _scale: Any = field(default=None, init=False, repr=False)
    _horizon: int = field(default=0, init=False, repr=False)
    _seed: int = field(default=0, init=False, repr=False)
    _diverged: str = field(default="", init=False, repr=False)

    heavy_modules = ("torch", "torch._dynamo")  # optimisers import the latter: a second a process

    def __post_init__(self) -> None:
        if self.precision not in ("float32", "bf16"):
            raise ValueError(f"precision = {self.precision!r}: expected float32 or bf16")
        check_recipe(self)
        self.options, self.quantiles = copy.deepcopy(self.options), list(self.quantiles)
        if self.model not in _NETWORKS:
            raise ValueError(f"model = '{self.model}': expected one of {', '.join(_NETWORKS)}")
        if not 1 <= self.label_len <= self.seq_len:
            raise ValueError(
                f"label_len = {self.label_len}: expected 1 to seq_len = {self.seq_len}"
            )
        if self.n_heads < 1 or self.d_model < 1 or self.d_model % self.n_heads:
            raise ValueError(
                f"d_model = {self.d_model} is not divisible by n_heads = {self.n_heads}"
            )
        self._check_quantiles()

    @property
    def context_length(self) -> int:
        """Sessions read at an origin."""
        return self.seq_len + WARM_UP

    @property
    def network(self) -> str:
        """The network that stands for it, as `abharness check` names it."""
        return self.model

    @property
    def network_options(self) -> Mapping[str, Any]:
        """Options it is tried with to be this arm's."""
        return dict(self.options)

    def fetch(self) -> None:
        """See that the device is there."""
        if self.device not in ("cpu", "auto"):
            torch_device(self.device)

    def fit(self, context: Context, *, seed: int) -> Training:
        """Train from scratch; the scaler sees the training span only."""
        import torch

        from baselines.training import Material, train

        values = channels(context.target)
        train_rows = len(values) - context.validation
        self._scale, self._seed = Scale.of(values[: max(train_rows, 1)]), seed
        material = Material(
            values=tensor(self._scale.apply(values), self.device),
            marks=tensor(daily_marks(context.dates[WARM_UP:]), self.device),
            train_rows=train_rows,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._network, self._horizon = self._built(context.horizon), context.horizon
            done = train(
                self._network,
                material,
                sizes=self._sizes(context.horizon),
                schedule=schedule_of(self, self.precision),
                seed=seed,
                loss=self._contract(context.horizon).loss(self._network),
            )
        self._diverged = divergence(done, self.learning_rate)
        return done

    def save(self, folder: Path) -> None:
        """Write the trained network and its scaler."""
        TrainedNetwork(
            weights=self._network.state_dict(),
            scale=self._scale,
            horizon=self._horizon,
            seed=self._seed,
            diverged=self._diverged,
        ).save(folder, self)

    def restore(self, folder: Path) -> None:
        """Stand as after the fit that was saved."""
        import torch

        found = TrainedNetwork.read(folder, self)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(found.seed)
            network = self._built(found.horizon)
        put_weights(network, found.weights, label=folder.name)
        self._network, self._horizon = network, found.horizon
        self._scale, self._seed, self._diverged = found.scale, found.seed, found.diverged

    def forecast(self, contexts: Contexts) -> Forecast:
        """Forecast every context as if it were alone, in as few passes as that takes.

        Raises
        ------
        ForecastError
            Before a fit, and where its training diverged.
        """
        check_ready(self._network, self.model, contexts, self.context_length)
        masked = self._draws() and self._network.uncertainty_method == "dropout"
        together = self._together  # but for masks of dropout, which are each window's own
        found = one_by_one(together, contexts) if masked else together(contexts)
        if self._diverged and not found.finite.all():
            raise ForecastError(self._diverged)
        return found

    def _together(self, contexts: Contexts) -> Forecast:
        """Forecast in one pass of the network, or in as many as it draws."""
        import torch

        from baselines.networks.adaptive import each_alone
        from baselines.training import decoder_input

        x_enc = tensor(self._scale.apply(channels(contexts.target)), self.device)
        dates = np.concatenate([contexts.dates[:, WARM_UP:], contexts.future_dates], axis=1)
        marks = tensor(daily_marks(dates), self.device)
        x_dec, x_mark_dec = decoder_input(x_enc, marks, self._sizes(contexts.horizon))
        with (
            evaluating(self._network),
            each_alone(self._network),
            torch.no_grad(),
            torch.random.fork_rng(devices=[]),
        ):
            torch.manual_seed(self._seed)  # the same draws for every batch
            inputs = (x_enc, marks[:, : self.seq_len], x_dec, x_mark_dec)
            if self._draws():
                report = self._network.describe(inputs, detailed=True)
                draws = report["predictions_samples"][..., 0].double().cpu().numpy()  # [n, B, P]
                paths = self._scale.prices(draws.transpose(1, 0, 2))
                return Forecast.of_samples(paths, exchangeable=True)
            output = self._network(*inputs)
        contract = self._contract(contexts.horizon)
        return contract.forecast(output, contexts.horizon, self._scale.prices)

    def card(self) -> Mapping[str, str]:
        """Facts for the report."""
        lags = {}
        if self.model == "Autoformer":  # which of two repositories its odd lengths follow (V-02)
            lags["lags"] = (
                "at odd lengths one is lost, as in the fork; full_length_lags = true keeps all, as "
                "the original Autoformer repository does: checkpoints of that one need it"
            )
            if self.options.get("full_length_lags", self.options.get("repaired", False)):
                lags["lags"] = (
                    "all of them at odd lengths too, as in the original Autoformer repository"
                )
        changed = ", ".join(f"{key} = {value}" for key, value in self.options.items())
        label = f"with {changed}" if changed else "faithful to the original including its defects"
        if self.model == "QuantileBayesianAutoformer":
            label = "a REPAIRED BUILD: no version of the original ever ran"
        distribution = "none of its own: a point path"
        if self._draws():
            distribution = (
                "its own: draws of its random layer or dropout, without observation noise"
            )
        elif self.quantiles:
            distribution = f"its own: quantiles at {', '.join(map(str, self.quantiles))}"
        return {
            "model": f"{self.model}, {label}",
            **lags,
            "context": f"{self.seq_len} sessions of 7 channels made of past prices "
            f"({WARM_UP} more are read to make them)",
            "distribution": distribution,
            "training": recipe_text(self),
            "not reproduced": "the original pipeline's wrong target column, NaN taken as an "
            "improvement, test loss read while training, missing look-back at the split",
        }

    def _draws(self) -> bool:
        return self.model == "BayesianEnhancedAutoformer" and not self.quantiles

    def _check_quantiles(self) -> None:
        inside = all(isinstance(level, float) and 0 < level < 1 for level in self.quantiles)
        if not inside or sorted(set(self.quantiles)) != self.quantiles:
            raise ValueError(f"quantiles = {self.quantiles}: expected rising levels in (0, 1)")
        if self.model == "Autoformer" and self.quantiles:
            raise ValueError("quantiles: the plain Autoformer has no quantile mode")
        if self.model == "QuantileBayesianAutoformer" and len(self.quantiles) < 2:
            raise ValueError(f"{self.model} needs quantiles, such as [0.1, 0.25, 0.5, 0.75, 0.9]")

    def _config(self, horizon: int) -> dict[str, Any]:
        return {
            "task_name": "long_term_forecast",
            "seq_len": self.seq_len,
            "label_len": self.label_len,
            "pred_len": horizon,
            "enc_in": CHANNELS,
            "dec_in": CHANNELS,
            "c_out": max(1, len(self.quantiles)),
            "c_out_evaluation": 1,
            "d_model": self.d_model,
            "n_heads": self.n_heads,
            "e_layers": self.e_layers,
            "d_layers": self.d_layers,
            "d_ff": self.d_ff,
            "factor": self.factor,
            "moving_avg": self.moving_avg,
            "dropout": self.dropout,
            "activation": self.activation,
            "quantile_levels": self.quantiles,
            "embed": "timeF",
            "freq": "d",
        }

    def _contract(self, horizon: int) -> Contract:
        return Contract.of(self._config(horizon))

    def _built(self, horizon: int) -> Any:
        from baselines import build

        network = build(self.model, self._config(horizon), **self.options)
        return network.to(torch_device(self.device))

    def _sizes(self, horizon: int) -> Sizes:
        from baselines.training import Sizes

        return Sizes(
            seq_len=self.seq_len,
            label_len=self.label_len,
            pred_len=horizon,
            outputs=max(1, len(self.quantiles)),
        )
