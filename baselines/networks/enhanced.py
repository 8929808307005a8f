"""EnhancedAutoformer: learned decomposition and adaptive multi-scale auto-correlation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.networks.adaptive import AdaptiveAutoCorrelation
from baselines.networks.config import NetworkConfig, NetworkConfigError, Repairs
from baselines.networks.decomposition import LearnedAverage
from baselines.networks.embedding import DataEmbedding
from baselines.networks.feed import feed_forward
from baselines.networks.layers import CircularProjection, Dropout, SeasonalNorm, pointwise

ENCODER_SCALES = (1, 2, 4)
DECODER_SCALES = (1, 2)
DEAD_WIDTH = 64  # of the connections between layers that nothing calls


def _gain(repairs: Repairs) -> nn.Parameter:
    return nn.Parameter(torch.full((1,), 1.0 if repairs.open_gains else 0.1))


class _EnhancedBlock(nn.Module):
    """The feed-forward part both kinds of layer have.

    Attentions are built before it, as in the original, so that a seed gives the same weights.
    """

    def __init__(self, config: NetworkConfig, **attentions: AdaptiveAutoCorrelation) -> None:
        super().__init__()
        for name, attention in attentions.items():
            self.add_module(name, attention)
        self.conv1 = nn.Conv1d(config.d_model, config.d_ff, 1, bias=False)
        self.conv2 = nn.Conv1d(config.d_ff, config.d_model, 1, bias=False)
        self.dropout = Dropout(config.dropout)
        self.activation = config.activation

    def feed(self, x: Tensor, gain: Tensor | None = None) -> Tensor:
        """Feed-forward part on [B, L, d] times `gain`, before its own dropout."""
        first, second = self.conv1.weight.squeeze(-1), self.conv2.weight.squeeze(-1)
        second = second if gain is None else second * gain
        drop = self.dropout.p if self.training else 0.0
        return feed_forward(x, first, second, activation=self.activation, drop=drop)


class EnhancedEncoderLayer(_EnhancedBlock):
    """Scaled self-attention and gated feed-forward part, each followed by dropping the trend."""

    attention: AdaptiveAutoCorrelation

    def __init__(self, config: NetworkConfig, repairs: Repairs) -> None:
        attention = AdaptiveAutoCorrelation(config, repairs, ENCODER_SCALES)
        super().__init__(config, attention=attention)
        self.gate = nn.Sequential(nn.Conv1d(config.d_model, config.d_model, 1), nn.Sigmoid())
        self.decomp1 = LearnedAverage(config.d_model, config.moving_avg, repairs)
        self.decomp2 = LearnedAverage(config.d_model, config.moving_avg, repairs)
        self.attention_scale, self.ffn_scale = _gain(repairs), _gain(repairs)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, S, d] to the seasonal part [B, S, d]."""
        attended = self.attention(x, x, self.attention_scale)
        x = self.decomp1.seasonal(self.dropout.onto(x, attended))
        gate = self.gate[0]
        assert isinstance(gate, nn.Conv1d)
        opened = x * torch.sigmoid(pointwise(x, gate))
        fed = self.feed(opened, self.ffn_scale)
        return self.decomp2.seasonal(self.dropout.onto(x, fed))


class EnhancedEncoder(nn.Module):
    """Stack of encoder layers closed by `norm`."""

    def __init__(self, config: NetworkConfig, repairs: Repairs, norm: nn.Module) -> None:
        super().__init__()
        layers = (EnhancedEncoderLayer(config, repairs) for _ in range(config.e_layers))
        self.attn_layers = nn.ModuleList(layers)
        self.norm = norm
        wide, gaps = int(DEAD_WIDTH * config.factor), config.e_layers - 1
        if gaps and not repairs.live_parts:  # never called; part of every stored checkpoint (E-14)
            dead = (nn.Linear(wide, DEAD_WIDTH) for _ in range(gaps))
            self.cross_layer_connections = nn.ModuleList(dead)

    def forward(self, x: Tensor) -> Tensor:
        """Encode [B, S, d]."""
        for layer in self.attn_layers:
            x = layer(x)
        normed: Tensor = self.norm(x)
        return normed


class EnhancedDecoderLayer(_EnhancedBlock):
    """Self-attention, cross-attention and feed-forward part; their trends are collected."""

    self_attention: AdaptiveAutoCorrelation
    cross_attention: AdaptiveAutoCorrelation

    def __init__(self, config: NetworkConfig, repairs: Repairs) -> None:
        super().__init__(
            config,
            self_attention=AdaptiveAutoCorrelation(
                config, repairs, DECODER_SCALES, self_in_decoder=True
            ),
            cross_attention=AdaptiveAutoCorrelation(config, repairs, (1,)),
        )
        width = config.d_model
        self.decomp1, self.decomp2, self.decomp3 = (
            LearnedAverage(width, config.moving_avg, repairs) for _ in range(3)
        )
        self.projection = nn.Sequential(
            CircularProjection(width, width),
            nn.ReLU(),
            nn.Conv1d(width, config.targets, 1, bias=False),
        )
        self.self_attn_scale, self.cross_attn_scale = _gain(repairs), _gain(repairs)

    def forward(self, x: Tensor, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """Map [B, L, d] to the seasonal part [B, L, d] and a trend increment [B, L, targets]."""
        attended = self.self_attention(x, x, self.self_attn_scale)
        x, first = self.decomp1(self.dropout.onto(x, attended))
        crossed = self.cross_attention(x, encoded, self.cross_attn_scale)
        x, second = self.decomp2(self.dropout.onto(x, crossed))
        x, third = self.decomp3(self.dropout.onto(x, self.feed(x)))
        smooth, rectify, narrow = self.projection
        assert isinstance(narrow, nn.Conv1d)
        return x, pointwise(rectify(smooth(first + second + third)), narrow)


class EnhancedDecoder(nn.Module):
    """Stack of decoder layers: collects the trend, projects the seasonal part."""

    projection: nn.Module

    def __init__(self, config: NetworkConfig, repairs: Repairs, norm: nn.Module) -> None:
        super().__init__()
        layers = (EnhancedDecoderLayer(config, repairs) for _ in range(config.d_layers))
        self.layers = nn.ModuleList(layers)
        self.norm = norm
        self.projection = nn.Linear(config.d_model, config.c_out)
        targets = config.targets
        self.trend_again = config.d_layers > 1 and not repairs.single_trend
        if self.trend_again or not repairs.live_parts:
            self.trend_integration = nn.Sequential(
                nn.Linear(targets, targets), nn.ReLU(), nn.Linear(targets, targets)
            )

    def features(self, x: Tensor, encoded: Tensor, trend: Tensor) -> tuple[Tensor, Tensor]:
        """Decode [B, L, d]: normalised seasonal features [B, L, d] and trend [B, L, targets]."""
        increments = []
        for layer in self.layers:
            x, increment = layer(x, encoded)
            increments.append(increment)
        total = torch.stack(increments).sum(0)
        trend = trend + total
        if self.trend_again:
            trend = trend + self.trend_integration(total / len(increments))
        normed: Tensor = self.norm(x)
        return normed, trend

    def forward(self, x: Tensor, encoded: Tensor, trend: Tensor) -> tuple[Tensor, Tensor]:
        """Decode [B, L, d]: seasonal part [B, L, c_out] and trend [B, L, targets]."""
        features, trend = self.features(x, encoded, trend)
        return self.projection(features), trend


class DecoderStart(nn.Module):
    """What encoder and decoder begin with; the decoder reads x_dec, as the enhanced family does."""

    def __init__(self, config: NetworkConfig, repairs: Repairs) -> None:
        super().__init__()
        self.config, self.repairs = config, repairs

    def forward(self, x_dec: Tensor, decomp: nn.Module) -> tuple[Tensor, Tensor]:
        """Read [B, Λ+P, dec_in]: seasonal start [B, Λ+P, dec_in], trend [B, Λ+P, targets]."""
        config, repairs, targets = self.config, self.repairs, self.config.targets
        history = config.label_len
        seen = self._hide_horizon(x_dec) if repairs.blind_to_horizon else x_dec
        seasonal, trend = self._split(seen, decomp)
        first = 0 if repairs.aligned_history else x_dec.shape[1] - history
        rows = slice(first, first + history)
        level = x_dec[:, : history if repairs.history_level else None, :targets]
        level = level.mean(1, keepdim=True).expand(-1, config.pred_len, -1)
        horizon = torch.zeros_like(x_dec[:, : config.pred_len])
        if repairs.future_covariates:
            horizon = functional.pad(seasonal[:, -config.pred_len :, targets:], (targets, 0))
        return (
            torch.cat([seasonal[:, rows], horizon], dim=1),
            torch.cat([trend[:, rows, :targets], level], dim=1),
        )

    def _split(self, x_dec: Tensor, decomp: nn.Module) -> tuple[Tensor, Tensor]:
        """Seasonal part and trend; where repaired, kernels do not depend on the level."""
        if not self.repairs.level_free_encoder:
            seasonal, trend = decomp(x_dec)
            return seasonal, trend
        level = x_dec[:, : self.config.label_len].mean(1, keepdim=True)
        seasonal, trend = decomp(x_dec - level)
        return seasonal, trend + level

    def history(self, x_enc: Tensor) -> Tensor:
        """The history [B, S, enc_in] the encoder reads: its targets less their level if repaired.

        Their level is on the trend's way around the encoder.
        """
        if not self.repairs.level_free_encoder:
            return x_enc
        targets = x_enc[..., : self.config.targets]
        free = targets - targets.mean(1, keepdim=True)
        return torch.cat([free, x_enc[..., self.config.targets :]], dim=-1)

    def _hide_horizon(self, x_dec: Tensor) -> Tensor:
        """Replace the horizon's target values by the last known ones."""
        history, targets = self.config.label_len, self.config.targets
        last = x_dec[:, history - 1 : history, :targets].expand(-1, self.config.pred_len, -1)
        horizon = torch.cat([last, x_dec[:, history:, targets:]], dim=-1)
        return torch.cat([x_dec[:, :history], horizon], dim=1)


def combined(seasonal: Tensor, trend: Tensor, levels: int, *, ordered: bool) -> Tensor:
    """Add trend [B, L, nt] to the seasonal part [B, L, nt * nq], the same at every level.

    The last axis is target-major. `ordered` sorts the levels of each target.
    """
    if levels == 0:
        return trend + seasonal
    quantiles: Tensor = seasonal.unflatten(-1, (-1, levels)) + trend.unsqueeze(-1)
    if ordered:
        quantiles = quantiles.sort(dim=-1).values
    return quantiles.flatten(-2)


class EnhancedAutoformer(nn.Module):
    """EnhancedAutoformer, faithful to the fork unless a repair says otherwise.

    Parameters
    ----------
    config : NetworkConfig
        Quantile mode is on where it has `quantile_levels`; `c_out` must then be the number of
        targets times the number of levels, and the number of targets otherwise. A single target
        may have a wider `c_out`: its trend is then added to every channel, as in the original,
        unless `target_trend` is repaired.
    repairs : Repairs
        All but `per_sample_lags` are read.
    quantile_levels
        Ignored, as in the original (E-17), unless `constructor_levels` is repaired.

    Raises
    ------
    NetworkConfigError
        The sizes do not fit together; the message names the fields.
    """

    def __init__(
        self,
        config: NetworkConfig,
        repairs: Repairs | None = None,
        quantile_levels: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        repairs = repairs or Repairs()
        config = with_levels(config, repairs, quantile_levels)
        require_fit(config, repairs)
        self.config, self.repairs = config, repairs
        self.quantiles = tuple(sorted(config.quantile_levels))
        self.decomp = LearnedAverage(config.dec_in, config.moving_avg, repairs)
        self.start = DecoderStart(config, repairs)
        self.enc_embedding = DataEmbedding(config.enc_in, config)
        self.encoder = EnhancedEncoder(config, repairs, SeasonalNorm(config.d_model))
        self.dec_embedding = DataEmbedding(config.dec_in, config)
        self.decoder = EnhancedDecoder(config, repairs, SeasonalNorm(config.d_model))

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
            Scaled label history, then horizon rows: targets 0, covariates known.
        x_mark_dec : [B, label_len + pred_len, m] or None
            Calendar features aligned with x_dec.
        mask
            Accepted and ignored, as in the original.

        Returns
        -------
        [B, pred_len, c_out]
            Target-major in quantile mode. NaN in a sample's inputs makes its forecast NaN.
        """
        features, trend = self.features(x_enc, x_mark_enc, x_dec, x_mark_dec)
        return self.project(features, trend)

    def features(
        self, x_enc: Tensor, x_mark_enc: Tensor | None, x_dec: Tensor, x_mark_dec: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Everything before the last linear map: [B, pred_len, d] and trend [B, pred_len, nt]."""
        encoded = self.encoder(self.enc_embedding(self.start.history(x_enc), x_mark_enc))
        seasonal, trend = self.start(x_dec, self.decomp)
        decoded = self.dec_embedding(seasonal, x_mark_dec)
        features, trend = self.decoder.features(decoded, encoded, trend)
        return features[:, -self.config.pred_len :], trend[:, -self.config.pred_len :]

    def project(self, features: Tensor, trend: Tensor) -> Tensor:
        """The last linear map and the sum of trend and seasonal part: [B, pred_len, c_out]."""
        seasonal = self.decoder.projection(features)
        ordered = self.repairs.ordered_quantiles
        return combined(seasonal, trend, len(self.quantiles), ordered=ordered)


def with_levels(
    config: NetworkConfig, repairs: Repairs, levels: Sequence[float] | None
) -> NetworkConfig:
    """The config with a constructor's quantile levels, where they are not ignored (E-17)."""
    if not (repairs.constructor_levels and levels):
        return config
    return replace(config, quantile_levels=tuple(levels))


def require_fit(config: NetworkConfig, repairs: Repairs) -> None:
    """Refuse widths that do not fit the number of targets and levels."""
    wanted = config.targets * max(1, len(config.quantile_levels))
    spread = wanted == 1 and not (config.quantile_levels or repairs.target_trend)
    if config.c_out != wanted and not spread:
        raise NetworkConfigError(
            f"c_out: found {config.c_out}, wanted {wanted}: {config.targets} targets"
            f" (c_out_evaluation) times {max(1, len(config.quantile_levels))} quantile_levels"
        )
    if config.targets > config.dec_in:
        raise NetworkConfigError(
            f"c_out_evaluation: found {config.targets}, wanted at most dec_in ({config.dec_in})"
        )
    if config.decoder_len < 2 or config.seq_len < 2:
        raise NetworkConfigError("seq_len: wanted at least 2 steps of history and of decoder input")
