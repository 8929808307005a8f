"""The forward contract of the originals: config fields, calendar marks, and forms of an answer.

Shapes: B windows, P predicted steps, H steps asked for, C channels, nt targets, nq levels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from baselines.columns import ChannelColumns
from baselines.features import CHANNELS, daily_marks
from harness.errors import ArmError, ForecastError
from harness.forecast import Forecast
from harness.network_answers import (
    ANSWERS,
    central_intervals,
    labelled_quantiles,
    prediction_in,
    quantile_axis,
)
from harness.window import Array, Dates

DEFAULTS: Mapping[str, Any] = {
    "task_name": "long_term_forecast",
    "seq_len": 96,
    "enc_in": CHANNELS,
    "d_model": 64,
    "n_heads": 8,
    "e_layers": 2,
    "d_layers": 1,
    "d_ff": 256,
    "factor": 1,
    "moving_avg": 25,
    "dropout": 0.1,
    "activation": "gelu",
    "embed": "timeF",
    "freq": "d",
    "output_attention": False,
}
"""Fields of every config, unless given."""

_FURTHER = """
label_len pred_len dec_in c_out c_out_evaluation quantile_levels n_levels wavelet_type
fusion_strategy use_cross_attention attention_type norm_type is_training model_id model data
root_path data_path features target checkpoints seasonal_patterns inverse top_k num_kernels distil
num_workers itr train_epochs batch_size patience learning_rate des loss lradj use_amp use_gpu gpu
use_multi_gpu devices seed num_class expand d_conv mask_rate kl_weight n_samples
uncertainty_method bayesian_layers use_quantiles validation_length test_length
"""

KNOWN = frozenset(DEFAULTS) | frozenset(_FURTHER.split())
"""Fields the originals have; others must occur somewhere in the checkout."""

_FINER = {"b": 0, "d": 0, "h": 1, "t": 2, "s": 3}
"""Marks in front of the daily ones by `freq`, each at the start of its range."""

Bands = dict[float, Array]


def check_config(config: Mapping[str, Any], columns: ChannelColumns | None = None) -> None:
    """Refuse what this program cannot feed, whatever the model makes of it.

    Parameters
    ----------
    config
        Fields that are given, defaults of a checkout among them.
    columns
        The channels, where they are not made of prices.

    Raises
    ------
    ArmError
        Names the field.
    """
    found = {**DEFAULTS, **config}
    _within(found, "seq_len", 1)
    if columns is None and isinstance(found["enc_in"], int) and found["enc_in"] > CHANNELS:
        raise ArmError(
            f"config.enc_in = {found['enc_in']}: the channels are made of prices, there are "
            f"{CHANNELS}; columns = [...] takes columns of the dataset instead, any number"
        )
    if columns is not None and found["enc_in"] != len(columns.names):
        raise ArmError(
            f"config.enc_in = {found['enc_in']}: columns names {len(columns.names)} channels"
        )
    _within(found, "enc_in", 1)
    for name, least in (("label_len", 0), ("pred_len", 1), ("c_out", 1), ("c_out_evaluation", 1)):
        if name in found:
            _within(found, name, least, found["seq_len"] if name == "label_len" else None)
    if found["freq"] not in _FINER:
        raise ArmError(f"config.freq = {found['freq']!r}: expected one of {', '.join(_FINER)}")
    if found.get("dec_in", found["enc_in"]) != found["enc_in"]:
        raise ArmError(
            f"config.dec_in = {found['dec_in']}: expected enc_in = {found['enc_in']}, encoder and "
            "decoder are given the same channels"
        )
    levels = found.get("quantile_levels") or []
    if not isinstance(levels, list) or not all(isinstance(x, float) and 0 < x < 1 for x in levels):
        raise ArmError(f"config.quantile_levels = {levels!r}: expected numbers between 0 and 1")


def full_config(
    config: Mapping[str, Any], horizon: int, columns: ChannelColumns | None = None
) -> dict[str, Any]:
    """Add the fields that are not given: defaults, and what data and plan decide.

    Raises
    ------
    ArmError
        When it predicts fewer steps than are asked for.
    """
    found = {**DEFAULTS, **config}
    levels = len(found.get("quantile_levels") or [None])
    answered = found["enc_in"] if columns is None else columns.answered
    targets = found["c_out"] // levels if "c_out" in found else answered
    made = {"c_out_evaluation": max(1, targets), **found}
    if made.get("pred_len", horizon) < horizon:
        raise ArmError(f"config.pred_len = {made['pred_len']}: the plan asks for {horizon} steps")
    return {
        "label_len": found["seq_len"] // 2,
        "pred_len": horizon,
        "dec_in": found["enc_in"],
        "c_out": made["c_out_evaluation"] * levels,
        **made,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What a network is given and how its answer is read.

    Attributes
    ----------
    inputs
        Channels it is given.
    levels
        Quantile levels of its last axis, which is then target-major; empty in point mode.
    targets
        Targets it forecasts; the first is the price unless `columns` says otherwise.
    embed, freq
        Which calendar marks it wants.
    columns
        The channels, where they are not made of prices.
    """

    seq_len: int
    label_len: int
    pred_len: int
    inputs: int
    levels: tuple[float, ...]
    targets: int
    embed: str
    freq: str
    columns: ChannelColumns | None = None

    @classmethod
    def of(cls, config: Mapping[str, Any], columns: ChannelColumns | None = None) -> Contract:
        """Read a full config."""
        levels = sorted(config.get("quantile_levels") or [])
        return cls(
            seq_len=config["seq_len"],
            label_len=config["label_len"],
            pred_len=config["pred_len"],
            inputs=config["enc_in"],
            levels=tuple(levels) if len(levels) > 1 else (),
            targets=config["c_out_evaluation"],
            embed=config["embed"],
            freq=config["freq"],
            columns=columns,
        )

    def _place(self, width: int) -> int:
        """Which of so many channels or targets is the one that is forecast."""
        return 0 if self.columns is None else self.columns.place(width)

    @property
    def learns_all(self) -> bool:
        """Whether the loss is told of every channel, as Time-Series-Library does for ``M``."""
        return self.columns is not None and self.columns.features == "M" and not self.levels

    def marks(self, dates: Dates) -> Array:
        """Calendar features of sessions [...], as [..., m]; the time of day is midnight."""
        if self.embed == "timeF":
            daily = daily_marks(dates)
            finer = np.full((*daily.shape[:-1], _FINER[self.freq]), -0.5)
            return np.concatenate([finer, daily], axis=-1)
        days, months = dates.astype("datetime64[D]"), dates.astype("datetime64[M]")
        parts = [
            months.astype(np.int64) % 12 + 1,
            (days - months).astype(np.int64) + 1,
            (days.astype(np.int64) - 4) % 7,
            *[np.zeros(dates.shape)] * (2 if self.freq == "t" else 1),
        ]
        return np.stack(parts, axis=-1).astype(np.float64)

    def trained(self, output: Any) -> Any:
        """What the loss is told of an answer: the target [B, P, 1], or its quantiles [B, P, nq].

        Every channel [B, P, C] where the library's own loss is told of all.

        Raises
        ------
        ForecastError
            When it is of no form that is understood, or too short.
        """
        found = self._steps(prediction(output))
        if self.learns_all and found.shape[-1] == self.inputs:
            return found
        if self._in_quantiles(found):
            return found[..., self._levels_of_target()]
        place = self._place(int(found.shape[-1]))
        return found[..., place : place + 1]

    def _levels_of_target(self) -> slice:
        """The target's levels on a target-major axis."""
        first = self._place(self.targets) * len(self.levels)
        return slice(first, first + len(self.levels))

    def loss(self, network: Any) -> Callable[[Any, Any], Any]:
        """Squared error or quantile loss; a network's own term (KL) is added when it trains."""
        import torch

        def plain(predicted: Any, truth: Any) -> Any:
            error = truth - predicted
            if predicted.shape == truth.shape:
                return (error**2).mean()
            level = torch.as_tensor(self.levels, dtype=error.dtype, device=error.device)
            return torch.maximum(level * error, (level - 1) * error).mean()

        if hasattr(network, "quantile_loss"):
            whole = network.quantile_loss
        elif hasattr(network, "configure_optimizer_loss"):
            whole = network.configure_optimizer_loss(plain)
        else:
            return plain

        def chosen(predicted: Any, truth: Any) -> Any:
            return (whole if torch.is_grad_enabled() else plain)(predicted, truth)

        return chosen

    def forecast(self, output: Any, horizon: int, restored: Callable[[Array], Array]) -> Forecast:
        """Read an answer as a forecast of `horizon` steps, in prices.

        Raises
        ------
        ForecastError
            When it is of no form that is understood.
        """
        found = self._rows(prediction(output))
        point: Array | None = None  # [B, P]; None for the median
        if self._in_quantiles(found):
            rows = found[..., self._levels_of_target()]
            bands = {level: rows[..., i] for i, level in enumerate(self.levels)}  # [B, P] each
        else:
            point, bands = found[..., self._place(found.shape[-1])], Bands()
        if isinstance(output, Mapping):
            bands = self._reported(output) or bands or self._intervals(output, point)
        path = None if point is None else restored(point[:, :horizon])
        if not bands:
            assert path is not None
            return Forecast.of_point(path)
        levels = sorted(bands)
        values = np.stack([bands[level][:, :horizon] for level in levels], axis=-1)
        return Forecast.of_quantiles(restored(values), np.array(levels), path)

    def _reported(self, output: Mapping[str, Any]) -> Bands:
        """Quantiles a dict reports by label, or on the levels of the config."""
        named = labelled_quantiles(output)
        if len(named) > 1:
            return {level: self._first(value) for level, value in named.items()}
        found = quantile_axis(output)
        if found is None:
            return {}
        key, values = found
        last = int(values.shape[-1]) if hasattr(values, "shape") else 0
        if last != len(self.levels):
            raise ForecastError(
                f"'{key}' has a last axis of {last}, config.quantile_levels names "
                f"{len(self.levels)}"
            )
        rows = self._rows(values)  # [B, P, nq] or target-major [B, P, nt * nq]
        if rows.shape[-1] > len(self.levels):
            rows = rows[..., self._levels_of_target()]
        return {x: rows[..., i] for i, x in enumerate(self.levels)}

    def _intervals(self, output: Mapping[str, Any], point: Array | None) -> Bands:
        """Bounds of central intervals; the prediction is taken for the median."""
        bands = Bands()
        for share, (low, high) in central_intervals(output).items():
            bands[round((1 - share) / 2, 6)] = self._first(low)
            bands[round((1 + share) / 2, 6)] = self._first(high)
        if bands and point is not None:
            bands[0.5] = point
        return bands

    def _first(self, value: Any) -> Array:
        """The target's part [B, P] of a tensor, or of a dict with `prediction`."""
        found = self._rows(prediction(value))
        rows: Array = found[..., self._place(found.shape[-1])]
        return rows

    def _rows(self, tensor: Any) -> Array:
        """The predicted steps [B, P, C] of a tensor as numbers."""
        rows: Array = self._steps(tensor).detach().cpu().double().numpy()
        return rows

    def _steps(self, tensor: Any) -> Any:
        """The predicted steps [B, P, C] of a tensor: its last ones."""
        found = tensor
        if tensor.ndim == 2:  # one channel
            found = tensor.unsqueeze(-1)
        elif tensor.ndim == 4:  # [B, L, nt, nq] is target-major
            found = tensor.flatten(2)
        elif tensor.ndim != 3:
            shape = list(tensor.shape)
            raise ForecastError(f"the network returned shape {shape}, expected [B, P, C]")
        if found.shape[1] < self.pred_len:
            raise ForecastError(
                f"the network returned {found.shape[1]} steps, expected pred_len = {self.pred_len}"
            )
        if not found.shape[2]:
            raise ForecastError(
                f"the network returned no channels (shape {list(tensor.shape)}), expected [B, P, C]"
            )
        return found[:, -self.pred_len :]

    def _in_quantiles(self, found: Any) -> bool:
        width = self.targets * len(self.levels)
        return bool(self.levels) and found.shape[-1] == width


def prediction(output: Any) -> Any:
    """Take the tensor of a prediction out of what a network returned.

    Raises
    ------
    ForecastError
        When there is none.
    """
    import torch

    found = prediction_in(output)
    if not isinstance(found, torch.Tensor):
        raise ForecastError(f"the network returned {type(found).__name__}, expected {ANSWERS}")
    return found


def _within(config: Mapping[str, Any], name: str, least: int, most: int | None = None) -> None:
    value = config[name]
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        wanted = f"{least} or more" if most is None else f"{least} to {most}"
        raise ArmError(f"config.{name} = {value!r}: expected {wanted}")
