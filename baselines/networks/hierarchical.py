"""HierarchicalEnhancedAutoformer: an Enhanced network on every band of a wavelet split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from baselines.networks.config import NetworkConfig, NetworkConfigError, Repairs
from baselines.networks.decomposition import LearnedAverage
from baselines.networks.embedding import DataEmbedding
from baselines.networks.enhanced import (
    DecoderStart,
    EnhancedDecoder,
    EnhancedEncoder,
    combined,
    require_fit,
    with_levels,
)
from baselines.networks.wavelets import (
    MultiwaveletCross,
    MultiwaveletTransform,
    WaveletBands,
    resized,
)

HEADS = 8  # of all attention, whatever the config says, unless `configured_heads` is repaired
SINGLE = "weighted_sum"


class LevelEncoder(nn.Module):
    """Multiwavelet transform and Enhanced encoder for each level."""

    def __init__(self, config: NetworkConfig, repairs: Repairs, levels: int, shared: bool) -> None:
        super().__init__()
        self.shared = shared
        width = config.d_model
        self.resolution_encoders = nn.ModuleList(
            EnhancedEncoder(config, repairs, nn.LayerNorm(width))
            for _ in range(1 if shared else levels)
        )
        self.multiwavelet_transforms = nn.ModuleList(
            MultiwaveletTransform(width) for _ in range(levels)
        )

    def forward(self, bands: Sequence[Tensor]) -> list[Tensor]:
        """Encode as many sequences [B, L_i, d] as there are levels; further ones are dropped."""
        encoded = []
        for index, transform in enumerate(self.multiwavelet_transforms):
            encoder = self.resolution_encoders[0 if self.shared else index]
            encoded.append(encoder(transform(bands[index])))
        return encoded


class LevelAttention(nn.Module):
    """Lets every level but the last look at the next one."""

    def __init__(self, config: NetworkConfig, repairs: Repairs, levels: int) -> None:
        super().__init__()
        width = config.d_model
        self.residual = repairs.residual_levels
        heads, values = heads_of(config, repairs), repairs.live_values
        self.cross_res_attention = nn.ModuleList(
            MultiwaveletCross(width, heads, carries_values=values) for _ in range(levels - 1)
        )
        self.cross_projections = nn.ModuleList(nn.Linear(width, width) for _ in range(levels - 1))
        if not repairs.live_parts:
            self.fusion_weights = nn.Parameter(torch.full((levels,), 1.0 / levels))  # never read

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Map sequences [B, L_i, d] to sequences of the same lengths."""
        attended = []
        for index, attend in enumerate(self.cross_res_attention):
            level = levels[index]
            seen = attend(level, resized(levels[index + 1], level.shape[1]))
            crossed = self.cross_projections[index](seen)
            attended.append(level + crossed if self.residual else crossed)
        return [*attended, levels[-1]]


class LevelFusion(nn.Module):
    """Brings sequences of one width to one length and makes one of them.

    weighted_sum: softmax weights; weighted_concat: a two-layer map of all of them side by side;
    attention_fusion: attention from the last level to all levels, then a linear map.
    """

    def __init__(
        self, strategy: str, width: int, levels: int, heads: int, repairs: Repairs
    ) -> None:
        super().__init__()
        self.strategy, self.resize_single = strategy, repairs.resized_single_level
        if strategy == SINGLE or not repairs.live_parts:
            self.fusion_weights = nn.Parameter(torch.full((levels,), 1.0 / levels))
        if strategy == "weighted_concat":
            self.fusion_projection: nn.Module = nn.Sequential(
                nn.Linear(levels * width, 2 * width),
                nn.GELU(),
                nn.Dropout(0.1),
                nn.Linear(2 * width, width),
            )
        elif strategy == "attention_fusion":
            if width % heads:
                raise NetworkConfigError(
                    f"fusion_strategy: attention_fusion has {heads} heads, found width {width}"
                )
            self.attention_fusion = nn.MultiheadAttention(width, heads, batch_first=True)
            self.fusion_projection = nn.Linear(width, width)

    def forward(self, sequences: Sequence[Tensor], length: int) -> Tensor:
        """Fuse sequences [B, L_i, C] into [B, length, C]; a single one may stay as it is (H-11)."""
        if len(sequences) == 1 and not self.resize_single:
            return sequences[0]
        aligned = [resized(sequence, length) for sequence in sequences]
        if self.strategy == "weighted_concat":
            fused: Tensor = self.fusion_projection(torch.cat(aligned, dim=-1))
            return fused
        if self.strategy == "attention_fusion":
            memory = torch.cat(aligned, dim=1)
            attended = self.attention_fusion(aligned[-1], memory, memory, need_weights=False)[0]
            mapped: Tensor = self.fusion_projection(attended)
            return mapped
        shares = torch.softmax(self.fusion_weights, dim=0)
        return torch.stack([s * a for s, a in zip(shares, aligned, strict=True)]).sum(0)


class LevelDecoder(nn.Module):
    """An Enhanced decoder per level at the level's own length, and the fusion of what they say."""

    def __init__(self, config: NetworkConfig, repairs: Repairs, levels: int) -> None:
        super().__init__()
        strategy = config.fusion_strategy if repairs.configured_fusion else SINGLE
        heads = heads_of(config, repairs)
        decoders = 1 if repairs.full_rate_decoding else levels
        self.resolution_decoders = nn.ModuleList(
            EnhancedDecoder(config, repairs, nn.LayerNorm(config.d_model)) for _ in range(decoders)
        )
        if not repairs.full_rate_decoding:
            self.seasonal_fusion, self.trend_fusion = (
                LevelFusion(strategy, width, levels, heads, repairs)
                for width in (config.c_out, config.targets)
            )

    def forward(self, x: Tensor, levels: Sequence[Tensor], trend: Tensor) -> tuple[Tensor, Tensor]:
        """Decode [B, L, d] against levels [B, L_i, d]: seasonal part and trend, [B, L, ..]."""
        length = x.shape[1]
        if len(self.resolution_decoders) == 1 and levels[0].shape[1] == length:
            seasonal, trend = self.resolution_decoders[0](x, levels[0], trend)
            return seasonal, trend
        parts = [
            decoder(resized(x, level.shape[1]), level, resized(trend, level.shape[1]))
            for decoder, level in zip(self.resolution_decoders, levels, strict=True)
        ]
        seasonal_parts, trend_parts = zip(*parts, strict=True)
        return self.seasonal_fusion(seasonal_parts, length), self.trend_fusion(trend_parts, length)


class HierarchicalEnhancedAutoformer(nn.Module):
    """HierarchicalEnhancedAutoformer, faithful to the fork unless a repair says otherwise.

    Parameters
    ----------
    config : NetworkConfig
        Where levels attend to each other `d_model` must be a multiple of 8 (of `n_heads` where
        `configured_heads` is repaired); `seq_len` must be at least 2 ** (n_levels + 1).
    repairs : Repairs
        Those of the enhanced network and the H-numbers are read.
    quantile_levels
        Ignored, as in the original (E-17), unless `constructor_levels` is repaired.
    shared_encoder
        One encoder for all levels, as the migration commit offers.

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
        shared_encoder: bool = False,
    ) -> None:
        super().__init__()
        repairs = repairs or Repairs()
        config = with_levels(config, repairs, quantile_levels)
        _require_levels(config, repairs)
        self.config, self.repairs = config, repairs
        self.quantiles = tuple(sorted(config.quantile_levels))
        levels = config.n_levels + (1 if repairs.all_bands else 0)
        self.enc_embedding = DataEmbedding(config.enc_in, config)
        self.dec_embedding = DataEmbedding(config.dec_in, config)
        self.decomposer = WaveletBands(config, repairs)
        self.encoder = LevelEncoder(config, repairs, levels, shared_encoder)
        self.decoder = LevelDecoder(config, repairs, levels)
        self.decomp = LearnedAverage(config.dec_in, config.moving_avg, repairs)
        self.start = DecoderStart(config, repairs)
        if config.use_cross_attention:
            self.cross_attention = LevelAttention(config, repairs, levels)
        if repairs.full_rate_decoding or not repairs.live_parts:
            chosen = repairs.configured_fusion or not repairs.full_rate_decoding
            strategy = config.fusion_strategy if chosen else SINGLE
            heads, resizing = heads_of(config, repairs), replace(repairs, resized_single_level=True)
            self.fusion = LevelFusion(strategy, config.d_model, levels, heads, resizing)
        if not repairs.direct_output:
            self.projection = nn.Linear(config.c_out, config.c_out)

    def forward(
        self,
        x_enc: Tensor,
        x_mark_enc: Tensor | None,
        x_dec: Tensor,
        x_mark_dec: Tensor | None,
        enc_self_mask: Tensor | None = None,
        dec_self_mask: Tensor | None = None,
        dec_enc_mask: Tensor | None = None,
    ) -> Tensor:
        """Forecast the horizon: [B, pred_len, c_out].

        Inputs as for `EnhancedAutoformer`; the three masks are accepted and ignored.
        """
        history = self.start.history(x_enc)
        levels = self.encoder(self.decomposer(self.enc_embedding(history, x_mark_enc)))
        if self.config.use_cross_attention:
            levels = self.cross_attention(levels)
        seasonal, trend = self.start(x_dec, self.decomp)
        decoded = self.dec_embedding(seasonal, x_mark_dec)
        if self.repairs.full_rate_decoding:
            levels = [self.fusion(levels, decoded.shape[1])]
        seasonal, trend = self.decoder(decoded, levels, trend)
        ordered = self.repairs.ordered_quantiles
        forecast = combined(seasonal, trend, len(self.quantiles), ordered=ordered)
        if not self.repairs.direct_output:
            forecast = self.projection(forecast)
        return forecast[:, -self.config.pred_len :]


def heads_of(config: NetworkConfig, repairs: Repairs) -> int:
    """Heads of the attention between levels and of the fusion."""
    return config.n_heads if repairs.configured_heads else HEADS


def _require_levels(config: NetworkConfig, repairs: Repairs) -> None:
    """Refuse sizes the wavelet split or the attention between levels cannot take."""
    require_fit(config, repairs)
    if config.seq_len >> config.n_levels < 2:
        raise NetworkConfigError(
            f"seq_len: found {config.seq_len}, wanted at least {2 << config.n_levels}"
            f" for {config.n_levels} n_levels"
        )
    alone = config.n_levels == 1 and not repairs.all_bands and not repairs.resized_single_level
    if alone and config.seq_len // 2 < config.pred_len:  # it is never stretched (H-11)
        raise NetworkConfigError(
            f"pred_len: found {config.pred_len}, wanted at most {config.seq_len // 2}, what a"
            f" single level of seq_len {config.seq_len} holds"
        )
    heads = heads_of(config, repairs)
    attends = config.use_cross_attention and (config.n_levels > 1 or repairs.all_bands)
    if attends and config.d_model % heads:
        raise NetworkConfigError(f"d_model: found {config.d_model}, wanted a multiple of {heads}")
