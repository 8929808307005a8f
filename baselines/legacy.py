"""The legacy models as arms: channels, scaling, training and forecasting around a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from baselines.features import CHANNELS, WARM_UP, channels, daily_marks
from harness.arm import Training
from harness.errors import ForecastError
from harness.forecast import Forecast
from harness.window import Array, Context, Contexts

_SCALE_FLOOR = 1e-8


@dataclass(slots=True, kw_only=True)
class LegacyForecaster:
    """A legacy network trained by the legacy recipe on seven channels, forecasting the price.

    It gives a point path; where the network has no distribution, the harness adds one.

    Parameters
    ----------
    model
        Name of the network, as `baselines.build` knows it.
    seq_len, label_len
        Sessions the encoder and the decoder see. Twenty more are read for the channels.
    d_model, n_heads, e_layers, d_layers, d_ff, factor, moving_avg, dropout, activation
        The originals' configuration.
    epochs, patience, batch_size, learning_rate, train_stride
        The originals' recipe; training windows start every `train_stride` sessions.
    device
        ``cpu``, ``cuda``, or ``auto`` for a GPU when there is one.
    """

    model: str = "Autoformer"
    seq_len: int = 96
    label_len: int = 48
    d_model: int = 64
    n_heads: int = 8
    e_layers: int = 2
    d_layers: int = 1
    d_ff: int = 256
    factor: int = 1
    moving_avg: int = 25
    dropout: float = 0.1
    activation: str = "gelu"
    epochs: int = 10
    patience: int = 3
    batch_size: int = 32
    learning_rate: float = 1e-4
    train_stride: int = 1
    device: str = "cpu"
    _network: Any = field(default=None, init=False, repr=False)
    _scale: Any = field(default=None, init=False, repr=False)

    heavy_modules = ("torch",)

    def __post_init__(self) -> None:
        if not 1 <= self.label_len <= self.seq_len:
            raise ValueError(
                f"label_len = {self.label_len}: expected 1 to seq_len = {self.seq_len}"
            )
        for name in ("epochs", "patience", "batch_size", "train_stride", "d_model", "n_heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: expected 1 or more")
        if self.d_model % self.n_heads:
            raise ValueError(
                f"d_model = {self.d_model} is not divisible by n_heads = {self.n_heads}"
            )

    @property
    def context_length(self) -> int:
        """Sessions read at an origin."""
        return self.seq_len + WARM_UP

    def fit(self, context: Context, *, seed: int) -> Training:
        """Train from scratch; the scaler sees the training span only."""
        import torch

        from baselines.training import Material, Schedule, train

        values = channels(context.target)
        train_rows = len(values) - context.validation
        self._scale = Scale.of(values[: max(train_rows, 1)])
        material = Material(
            values=self._tensor(self._scale.apply(values)),
            marks=self._tensor(daily_marks(context.dates[WARM_UP:])),
            train_rows=train_rows,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._network = self._built(context.horizon)
            return train(
                self._network,
                material,
                sizes=self._sizes(context.horizon),
                schedule=Schedule(
                    epochs=self.epochs,
                    patience=self.patience,
                    batch_size=self.batch_size,
                    learning_rate=self.learning_rate,
                    stride=self.train_stride,
                ),
                seed=seed,
            )

    def forecast(self, contexts: Contexts) -> Forecast:
        """Forecast every context in one pass of the network."""
        import torch

        from baselines.training import decoder_input

        if self._network is None:
            raise ForecastError(f"{self.model} was not fitted before it was asked to forecast")
        if int(contexts.length.min()) < self.context_length:
            raise ForecastError(
                f"{self.model} reads {self.context_length} sessions, a context has "
                f"{int(contexts.length.min())}"
            )
        sizes = self._sizes(contexts.horizon)
        x_enc = self._tensor(self._scale.apply(channels(contexts.target)))
        dates = np.concatenate([contexts.dates[:, WARM_UP:], contexts.future_dates], axis=1)
        marks = self._tensor(daily_marks(dates))
        x_dec, x_mark_dec = decoder_input(x_enc, marks, sizes)
        self._network.eval()
        with torch.no_grad():
            output = self._network(x_enc, marks[:, : self.seq_len], x_dec, x_mark_dec)
        scaled = output[:, -sizes.pred_len :, 0].double().cpu().numpy()
        return Forecast.of_point(np.exp(self._scale.restore(scaled)))

    def card(self) -> Mapping[str, str]:
        """Facts for the report."""
        return {
            "model": f"{self.model}, faithful to the original including its defects",
            "context": f"{self.seq_len} sessions of 7 channels made of past prices "
            f"({WARM_UP} more are read to make them)",
            "distribution": "none of its own: a point path",
            "training": f"Adam at {self.learning_rate:g}, up to {self.epochs} epochs of batches of "
            f"{self.batch_size}, a window every {self.train_stride} session(s), early stopping "
            f"after {self.patience} epochs without improvement on the validation span",
            "not reproduced": "the original pipeline's wrong target column, NaN taken as an "
            "improvement, test loss read while training, missing look-back at the split",
        }

    def _built(self, horizon: int) -> Any:
        from baselines import build

        return build(
            self.model,
            {
                "task_name": "long_term_forecast",
                "seq_len": self.seq_len,
                "label_len": self.label_len,
                "pred_len": horizon,
                "enc_in": CHANNELS,
                "dec_in": CHANNELS,
                "c_out": 1,
                "d_model": self.d_model,
                "n_heads": self.n_heads,
                "e_layers": self.e_layers,
                "d_layers": self.d_layers,
                "d_ff": self.d_ff,
                "factor": self.factor,
                "moving_avg": self.moving_avg,
                "dropout": self.dropout,
                "activation": self.activation,
                "embed": "timeF",
                "freq": "d",
            },
        ).to(self._torch_device())

    def _sizes(self, horizon: int) -> Any:
        from baselines.training import Sizes

        return Sizes(seq_len=self.seq_len, label_len=self.label_len, pred_len=horizon)

    def _tensor(self, values: Array) -> Any:
        import torch

        return torch.as_tensor(values, dtype=torch.float32, device=self._torch_device())

    def _torch_device(self) -> str:
        import torch

        if self.device != "auto":
            return self.device
        return "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Mean and standard deviation per channel, [C]."""

    mean: Array
    sd: Array

    @classmethod
    def of(cls, values: Array) -> Scale:
        """Measure rows [N, C]."""
        return cls(mean=values.mean(axis=0), sd=np.maximum(values.std(axis=0), _SCALE_FLOOR))

    def apply(self, values: Array) -> Array:
        """Scale channels [..., C]."""
        return (values - self.mean) / self.sd

    def restore(self, target: Array) -> Array:
        """Scaled values of the first channel in its own unit again."""
        restored: Array = target * self.sd[0] + self.mean[0]
        return restored
