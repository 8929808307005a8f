"""The vanilla Autoformer: decomposition and auto-correlation in an encoder and a decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.networks.config import NetworkConfig, NetworkConfigError, Repairs
from baselines.networks.correlation import AutoCorrelation, lag_count
from baselines.networks.decomposition import MovingAverage
from baselines.networks.embedding import DataEmbedding
from baselines.networks.feed import feed_forward
from baselines.networks.layers import (
    CircularProjection,
    Dropout,
    SeasonalNorm,
)


class _Block(nn.Module):
    """What encoder and decoder layers share: a feed-forward part and a decomposition.

    Attentions are built before it, as in the original, so that a seed gives the same weights.
    """

    def __init__(self, config: NetworkConfig, **attentions: AutoCorrelation) -> None:
        super().__init__()
        for name, attention in attentions.items():
            self.add_module(name, attention)
        self.conv1 = nn.Conv1d(config.d_model, config.d_ff, 1, bias=False)
        self.conv2 = nn.Conv1d(config.d_ff, config.d_model, 1, bias=False)
        self.decomp = MovingAverage(config.moving_avg)
        self.dropout = Dropout(config.dropout)
        self.activation = config.activation

    def feed(self, x: Tensor) -> Tensor:
        """Feed-forward part on [B, L, d], before its own dropout."""
        first, second = self.conv1.weight.squeeze(-1), self.conv2.weight.squeeze(-1)
        drop = self.dropout.p if self.training else 0.0
        return feed_forward(x, first, second, activation=self.activation, drop=drop)


class EncoderLayer(_Block):
    """Self-attention and feed-forward part, each followed by dropping the trend."""

    attention: AutoCorrelation

    def __init__(self, config: NetworkConfig, repairs: Repairs) -> None:
        super().__init__(config, attention=AutoCorrelation(config, repairs))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, S, d] to the seasonal part [B, S, d]."""
        x = self.decomp.seasonal(self.dropout.onto(x, self.attention(x, x)))
        return self.decomp.seasonal(self.dropout.onto(x, self.feed(x)))


class Encoder(nn.Module):
    """Stack of encoder layers closed by the seasonal norm."""

    def __init__(self, config: NetworkConfig, repairs: Repairs) -> None:
        super().__init__()
        layers = (EncoderLayer(config, repairs) for _ in range(config.e_layers))
        self.attn_layers = nn.ModuleList(layers)
        self.norm = SeasonalNorm(config.d_model)

    def forward(self, x: Tensor) -> Tensor:
        """Encode [B, S, d]."""
        for layer in self.attn_layers:
            x = layer(x)
        normed: Tensor = self.norm(x)
        return normed


class DecoderLayer(_Block):
    """Self-attention, cross-attention and feed-forward part; their trends are collected."""

    self_attention: AutoCorrelation
    cross_attention: AutoCorrelation

    def __init__(self, config: NetworkConfig, repairs: Repairs) -> None:
        super().__init__(
            config,
            self_attention=AutoCorrelation(config, repairs, self_in_decoder=True),
            cross_attention=AutoCorrelation(config, repairs),
        )
        self.projection = CircularProjection(config.d_model, config.c_out)

    def forward(self, x: Tensor, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """Map [B, L, d] to the seasonal part [B, L, d] and a trend increment [B, L, c_out]."""
        x = self.dropout.onto(x, self.self_attention(x, x))
        first = self.decomp.seasonal(x)
        y = self.dropout.onto(first, self.cross_attention(first, encoded))
        second = self.decomp.seasonal(y)
        z = self.dropout.onto(second, self.feed(second))
        third = self.decomp.seasonal(z)
        trend = (x - first) + (y - second) + (z - third)
        return third, self.projection(trend)


class Decoder(nn.Module):
    """Stack of decoder layers: collects the trend, projects the seasonal part."""

    def __init__(self, config: NetworkConfig, repairs: Repairs) -> None:
        super().__init__()
        layers = (DecoderLayer(config, repairs) for _ in range(config.d_layers))
        self.layers = nn.ModuleList(layers)
        self.norm = SeasonalNorm(config.d_model)
        self.projection = nn.Linear(config.d_model, config.c_out)

    def forward(self, x: Tensor, encoded: Tensor, trend: Tensor) -> tuple[Tensor, Tensor]:
        """Decode [B, L, d]; returns the seasonal part [B, L, c_out] and the trend [B, L, C]."""
        for layer in self.layers:
            x, increment = layer(x, encoded)
            trend = trend + increment
        return self.projection(self.norm(x)), trend


class Autoformer(nn.Module):
    """Vanilla Autoformer, faithful to the fork unless a repair says otherwise.

    Parameters
    ----------
    config : NetworkConfig
        `enc_in` and `dec_in` must agree; `c_out` must be `enc_in`, or 1 (then `enc_in` channels
        come out, defect V-05), or anything up to `enc_in` with `target_trend` repaired.
    repairs : Repairs
        `per_sample_lags`, `full_length_lags`, `newest_keys`, `target_trend`, `working_flags`,
        `soft_lags` and `future_covariates` are read.

    Raises
    ------
    NetworkConfigError
        The sizes do not fit together; the message names the fields.
    """

    def __init__(self, config: NetworkConfig, repairs: Repairs | None = None) -> None:
        super().__init__()
        self.config, self.repairs = config, repairs or Repairs()
        _require_fit(config, self.repairs)
        self.decomp = MovingAverage(config.moving_avg)
        self.enc_embedding = DataEmbedding(config.enc_in, config)
        self.dec_embedding = DataEmbedding(config.dec_in, config)
        self.encoder = Encoder(config, self.repairs)
        self.decoder = Decoder(config, self.repairs)

    def forward(
        self,
        x_enc: Tensor,
        x_mark_enc: Tensor | None,
        x_dec: Tensor,
        x_mark_dec: Tensor | None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Forecast the horizon.

        Parameters
        ----------
        x_enc : [B, S, enc_in]
            Scaled history.
        x_mark_enc : [B, S, m] or None
            Calendar features of the history.
        x_dec : [B, label_len + pred_len, dec_in]
            Its values are never read (V-09), unless `future_covariates` is repaired: then the
            horizon rows of the covariates are.
        x_mark_dec : [B, label_len + pred_len, m] or None
            Calendar features of label history and horizon.
        mask
            Accepted and ignored, as in the original.

        Returns
        -------
        [B, pred_len, c_out]
            NaN anywhere in a sample's history makes its forecast NaN.
        """
        encoded = self.encoder(self.enc_embedding(x_enc, x_mark_enc))
        seasonal, trend = self._start(x_enc, x_dec)
        decoded = self.dec_embedding(seasonal, x_mark_dec)
        seasonal, trend = self.decoder(decoded, encoded, trend)
        horizon = self.config.pred_len
        forecast: Tensor = trend[:, -horizon:] + seasonal[:, -horizon:]
        return forecast

    def _start(self, x_enc: Tensor, x_dec: Tensor) -> tuple[Tensor, Tensor]:
        """Seasonal part continued with zeros, trend with the history's mean: [B, Λ+P, enc_in]."""
        config = self.config
        seasonal, trend = self.decomp(x_enc)
        level = x_enc.mean(1, keepdim=True).expand(-1, config.pred_len, -1)
        trend = torch.cat([trend[:, -config.label_len :], level], dim=1)
        if self.repairs.target_trend:
            trend = trend[..., : config.c_out]
        seasonal = functional.pad(seasonal[:, -config.label_len :], (0, 0, 0, config.pred_len))
        if self.repairs.future_covariates and config.targets < config.dec_in:
            seasonal = seasonal + self._known_covariates(x_enc, x_dec)
        return seasonal, trend

    def _known_covariates(self, x_enc: Tensor, x_dec: Tensor) -> Tensor:
        """Seasonal part of the covariates in the horizon, zero elsewhere: [B, Λ+P, dec_in]."""
        label, horizon, targets = self.config.label_len, self.config.pred_len, self.config.targets
        known = torch.cat([x_enc, x_dec[:, label:]], dim=1)[..., targets:]
        return functional.pad(self.decomp.seasonal(known)[:, -horizon:], (targets, 0, label, 0))


def _require_fit(config: NetworkConfig, repairs: Repairs) -> None:
    """Refuse sizes the forward pass could not handle."""
    if config.moving_avg % 2 == 0:
        raise NetworkConfigError(f"moving_avg: found {config.moving_avg}, wanted an odd width")
    if config.label_len > config.seq_len:
        raise NetworkConfigError(
            f"label_len: found {config.label_len}, wanted at most seq_len ({config.seq_len})"
        )
    if config.dec_in != config.enc_in:
        raise NetworkConfigError(f"dec_in: found {config.dec_in}, wanted enc_in ({config.enc_in})")
    widths = range(1, config.enc_in + 1) if repairs.target_trend else (1, config.enc_in)
    if config.c_out not in widths:
        raise NetworkConfigError(
            f"c_out: found {config.c_out}, wanted enc_in ({config.enc_in}), or fewer with"
            " target_trend repaired"
        )
    for name, length in (("seq_len", config.seq_len), ("pred_len", config.decoder_len)):
        lags = length if repairs.full_length_lags else 2 * (length // 2)
        if lag_count(config.factor, length) > lags:
            raise NetworkConfigError(
                f"factor: found {config.factor}, more lags than the {lags} {name} allows"
            )
