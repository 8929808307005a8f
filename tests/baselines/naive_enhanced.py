"""EnhancedAutoformer written plainly, sample by sample, to check and time the fast one against.

It reads the fast network's parameters, so both always hold the same weights.
"""

from __future__ import annotations

import math

import torch
from naive_autoformer import aggregate, circular_conv, embed, heads, match
from torch import Tensor, nn
from torch.nn import functional as F


def split(module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Learned decomposition of [B, L, C], one sample after the other."""
    table, length = module.feature_specific_trend_weights, x.shape[1]
    rows, smooth = x.transpose(1, 2), []
    for row, share in zip(rows, module.kernel_predictor(x.mean(1)), strict=True):
        size = min(max(round(5 + 45 * share.item()), 3), min(50, length // 2))
        size = max(3, size - (size + 1) % 2)
        kernel = F.softmax(table[:, :, :size], dim=-1)
        padded = F.pad(row.unsqueeze(0), (size // 2, size // 2), mode="replicate")
        smooth.append(F.conv1d(padded, kernel, groups=len(table))[:, :, :length])
    trend = torch.cat(smooth).transpose(1, 2)
    return x - trend, trend


def correlate(inner: nn.Module, q: Tensor, k: Tensor) -> Tensor:
    """Correlation of [B, H, E, L] at every scale, brought to one length and mixed."""
    length, parts = q.shape[-1], []
    single = len(inner.scales) == 1
    gain = 1.0 if single else torch.sigmoid(inner.frequency_filter)
    for scale in inner.scales:
        if length < 2 * scale:
            continue
        shape = (q.shape[0], -1, length)
        pool = (lambda z: z) if scale == 1 else (lambda z, s=scale: F.avg_pool1d(z, s, s))
        q_bins = torch.fft.rfft(pool(q.reshape(shape)), dim=-1) * gain
        k_bins = torch.fft.rfft(pool(k.reshape(shape)), dim=-1) * gain
        bins = q_bins * torch.conj(k_bins / (torch.abs(k_bins) + 1e-8))
        lags = torch.fft.irfft(bins, dim=-1)
        if lags.shape[-1] != length and not single:
            lags = F.interpolate(lags, size=length, mode="linear", align_corners=False)
        parts.append(lags)
    if not single:
        shares = F.softmax(inner.scale_weights[: len(parts)], dim=0)
        parts = [share * part for share, part in zip(shares, parts, strict=True)]
    return torch.clamp(torch.stack(parts).sum(0), -10, 10)


def count_lags(scores: Tensor, factor: float, length: int) -> int:
    """Lower median over the batch of the elbow of the sorted energies of [B, C, T]."""
    if length <= 10:
        return max(2, int(factor * math.log(length)))
    energy = scores.pow(2).sum(1).sort(dim=-1, descending=True).values
    first = energy[:, :-1] - energy[:, 1:]
    second = first[:, :-1] - first[:, 1:]
    most = min(int(0.3 * length), int(2 * factor * math.log(length)))
    counts = torch.clamp(second.argmax(-1) + 2, max(2, int(0.1 * math.log(length))), most)
    return int(counts.median())


class NaiveEnhanced(nn.Module):
    """Plain forward pass over a fast network's parameters."""

    def __init__(self, fast: nn.Module) -> None:
        super().__init__()
        self.fast, self.cfg, self.p = fast, fast.config, fast.config.dropout
        self.act = F.relu if fast.config.activation == "relu" else F.gelu

    def drop(self, x: Tensor) -> Tensor:
        """Ordinary dropout."""
        return F.dropout(x, self.p, self.training)

    def attend(self, module: nn.Module, x: Tensor, source: Tensor) -> Tensor:
        """Adaptive auto-correlation."""
        n_heads, length = self.cfg.n_heads, x.shape[1]
        q = heads(x, module.query_projection, n_heads)
        k = match(heads(source, module.key_projection, n_heads), length)
        v = match(heads(source, module.value_projection, n_heads), length)
        q, k = (F.layer_norm(z, z.shape[-1:]).permute(0, 2, 3, 1) for z in (q, k))
        scores = correlate(module.inner_correlation, q.contiguous(), k.contiguous())
        count = count_lags(scores, self.cfg.factor, length)
        picked, lags = scores.mean(1).topk(count, dim=-1)
        values = v.permute(0, 2, 3, 1).contiguous()
        out = aggregate(values, lags, torch.softmax(picked, dim=-1), False).permute(0, 3, 1, 2)
        return module.out_projection(out.reshape(*x.shape[:2], -1)) * module.layer_scale

    def feed(self, layer: nn.Module, x: Tensor) -> Tensor:
        """Two 1x1 convolutions."""
        y = self.drop(self.act(F.conv1d(x.transpose(-1, 1), layer.conv1.weight)))
        return self.drop(F.conv1d(y, layer.conv2.weight).transpose(-1, 1))

    def norm(self, module: nn.Module, x: Tensor) -> Tensor:
        """Seasonal layer norm, or an ordinary one."""
        if isinstance(module, nn.LayerNorm):
            return F.layer_norm(x, x.shape[-1:], module.weight, module.bias)
        y = module.layernorm(x)
        return y - y.mean(1, keepdim=True)

    def encode(self, encoder: nn.Module, x: Tensor) -> Tensor:
        """Encoder stack."""
        for layer in encoder.attn_layers:
            x = x + self.drop(layer.attention_scale * self.attend(layer.attention, x, x))
            x, _ = split(layer.decomp1, x)
            gate = torch.sigmoid(layer.gate[0](x.transpose(-1, 1))).transpose(-1, 1)
            x, _ = split(layer.decomp2, x + layer.ffn_scale * self.feed(layer, x * gate))
        return self.norm(encoder.norm, x)

    def decode(
        self, decoder: nn.Module, x: Tensor, encoded: Tensor, trend: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Decoder stack."""
        increments = []
        for layer in decoder.layers:
            y = layer.self_attn_scale * self.attend(layer.self_attention, x, x)
            x, t1 = split(layer.decomp1, x + self.drop(y))
            y = layer.cross_attn_scale * self.attend(layer.cross_attention, x, encoded)
            x, t2 = split(layer.decomp2, x + self.drop(y))
            x, t3 = split(layer.decomp3, x + self.feed(layer, x))
            y = F.relu(circular_conv(t1 + t2 + t3, layer.projection[0].weight))
            y = F.conv1d(y.transpose(1, 2), layer.projection[2].weight).transpose(1, 2)
            increments.append(y)
            trend = trend + y
        if len(increments) > 1:
            trend = trend + decoder.trend_integration(torch.stack(increments).mean(0))
        return decoder.projection(self.norm(decoder.norm, x)), trend

    def start(self, x_dec: Tensor) -> tuple[Tensor, Tensor]:
        """What the decoder begins with: seasonal part and trend."""
        cfg = self.cfg
        seasonal, trend = split(self.fast.decomp, x_dec)
        mean = x_dec[..., : cfg.targets].mean(1, keepdim=True).repeat(1, cfg.pred_len, 1)
        trend = torch.cat([trend[:, -cfg.label_len :, : cfg.targets], mean], dim=1)
        zeros = torch.zeros_like(x_dec[:, : cfg.pred_len])
        return torch.cat([seasonal[:, -cfg.label_len :], zeros], dim=1), trend

    def combine(self, seasonal: Tensor, trend: Tensor) -> Tensor:
        """Seasonal part plus trend, the same trend at every level."""
        if self.fast.quantiles:
            seasonal = seasonal.unflatten(-1, (self.cfg.targets, -1))
            return (seasonal + trend.unsqueeze(-1)).flatten(-2)
        return seasonal + trend

    def forward(
        self, x_enc: Tensor, m_enc: Tensor | None, x_dec: Tensor, m_dec: Tensor | None
    ) -> Tensor:
        """Forecast [B, P, c_out]."""
        fast = self.fast
        seasonal, trend = self.start(x_dec)
        encoded = self.encode(fast.encoder, embed(fast.enc_embedding, x_enc, m_enc, self.p))
        embedded = embed(fast.dec_embedding, seasonal, m_dec, self.p)
        seasonal, trend = self.decode(fast.decoder, embedded, encoded, trend)
        return self.combine(seasonal, trend)[:, -self.cfg.pred_len :]
