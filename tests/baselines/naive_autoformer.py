"""The vanilla network written plainly, step by step, to check and time the fast one against.

It reads the fast network's parameters, so both always hold the same weights.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def moving_average(x: Tensor, window: int) -> Tensor:
    """Pool [B, L, C] over `window` steps with replicated ends."""
    reach = (window - 1) // 2
    front, end = x[:, :1].repeat(1, reach, 1), x[:, -1:].repeat(1, reach, 1)
    padded = torch.cat([front, x, end], dim=1)
    return F.avg_pool1d(padded.permute(0, 2, 1), window, stride=1).permute(0, 2, 1)


def circular_conv(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve [B, L, C] over three steps, circular in time."""
    padded = F.pad(x.permute(0, 2, 1), (1, 1), mode="circular")
    return F.conv1d(padded, weight).transpose(1, 2)


def embed(module: nn.Module, x: Tensor, marks: Tensor | None, p: float) -> Tensor:
    """Value plus calendar embedding."""
    out = circular_conv(x, module.value_embedding.tokenConv.weight)
    if marks is not None:
        out = out + module.temporal_embedding(marks)
    return F.dropout(out, p, module.training)


def heads(x: Tensor, linear: nn.Module, n_heads: int) -> Tensor:
    """Project [B, L, d] and split: [B, L, H, E]."""
    return linear(x).view(*x.shape[:2], n_heads, -1)


def match(x: Tensor, length: int, newest: bool = False) -> Tensor:
    """Zero-pad or cut [B, S, H, E] to `length` rows."""
    if x.shape[1] < length:
        return torch.cat([x, x.new_zeros(x.shape[0], length - x.shape[1], *x.shape[2:])], dim=1)
    return x[:, -length:] if newest else x[:, :length]


def aggregate(values: Tensor, lags: Tensor, weights: Tensor, shared: bool) -> Tensor:
    """Sum shifted copies of [B, H, E, L]; lags [k] rolled, or [B, k] gathered.

    Weights and positions are spread to full size first, as the original does.
    """
    batch, n_heads, width, length = values.shape
    out = torch.zeros_like(values)
    doubled = values.repeat(1, 1, 1, 2)
    start = torch.arange(length).view(1, 1, 1, -1).repeat(batch, n_heads, width, 1)
    for i in range(weights.shape[-1]):
        if shared:
            moved = torch.roll(values, -int(lags[i]), -1)
        else:
            shift = lags[:, i].view(-1, 1, 1, 1).repeat(1, n_heads, width, length)
            moved = torch.gather(doubled, -1, start + shift)
        out = out + moved * weights[:, i].view(-1, 1, 1, 1).repeat(1, n_heads, width, length)
    return out


def auto_correlation(
    module: nn.Module,
    x: Tensor,
    source: Tensor,
    n_heads: int,
    factor: float,
    training: bool,
    full_length: bool = False,
) -> Tensor:
    """One attention: correlations of every head and channel, mean, top lags, rolled sum."""
    length = x.shape[1]
    q = heads(x, module.query_projection, n_heads).permute(0, 2, 3, 1).contiguous()
    k = match(heads(source, module.key_projection, n_heads), length).permute(0, 2, 3, 1)
    v = match(heads(source, module.value_projection, n_heads), length).permute(0, 2, 3, 1)
    bins = torch.fft.rfft(q) * torch.conj(torch.fft.rfft(k.contiguous()))
    scores = torch.fft.irfft(bins, n=length if full_length else None)
    mean = scores.mean((1, 2))
    count = int(factor * math.log(length))
    if training:
        lags = mean.mean(0).topk(count).indices
        weights = torch.softmax(mean[:, lags], dim=-1)
    else:
        picked, lags = mean.topk(count, dim=-1)
        weights = torch.softmax(picked, dim=-1)
    out = aggregate(v.contiguous(), lags, weights, training).permute(0, 3, 1, 2)
    return module.out_projection(out.reshape(*x.shape[:2], -1))


class NaiveAutoformer(nn.Module):
    """Plain forward pass over a fast network's parameters."""

    def __init__(self, fast: nn.Module) -> None:
        super().__init__()
        self.fast = fast
        self.cfg = fast.config
        self.p = fast.config.dropout
        self.act = F.relu if fast.config.activation == "relu" else F.gelu

    def drop(self, x: Tensor) -> Tensor:
        """Ordinary dropout."""
        return F.dropout(x, self.p, self.training)

    def attend(self, module: nn.Module, x: Tensor, source: Tensor) -> Tensor:
        """Attention with this network's settings."""
        full = self.fast.repairs.full_length_lags
        cfg = self.cfg
        return auto_correlation(module, x, source, cfg.n_heads, cfg.factor, self.training, full)

    def feed(self, layer: nn.Module, x: Tensor) -> Tensor:
        """Two 1x1 convolutions."""
        y = self.drop(self.act(F.conv1d(x.transpose(-1, 1), layer.conv1.weight)))
        return self.drop(F.conv1d(y, layer.conv2.weight).transpose(-1, 1))

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Seasonal part and trend."""
        trend = moving_average(x, self.cfg.moving_avg)
        return x - trend, trend

    def norm(self, module: nn.Module, x: Tensor) -> Tensor:
        """Seasonal layer norm."""
        y = module.layernorm(x)
        return y - torch.mean(y, dim=1).unsqueeze(1).repeat(1, x.shape[1], 1)

    def encode(self, x: Tensor) -> Tensor:
        """Encoder stack."""
        for layer in self.fast.encoder.attn_layers:
            x, _ = self.split(x + self.drop(self.attend(layer.attention, x, x)))
            x, _ = self.split(x + self.feed(layer, x))
        return self.norm(self.fast.encoder.norm, x)

    def decode(self, x: Tensor, encoded: Tensor, trend: Tensor) -> Tensor:
        """Decoder stack; returns trend plus seasonal part."""
        for layer in self.fast.decoder.layers:
            x, t1 = self.split(x + self.drop(self.attend(layer.self_attention, x, x)))
            x, t2 = self.split(x + self.drop(self.attend(layer.cross_attention, x, encoded)))
            x, t3 = self.split(x + self.feed(layer, x))
            trend = trend + circular_conv(t1 + t2 + t3, layer.projection.weight)
        return trend + self.fast.decoder.projection(self.norm(self.fast.decoder.norm, x))

    def forward(
        self, x_enc: Tensor, m_enc: Tensor | None, x_dec: Tensor, m_dec: Tensor | None
    ) -> Tensor:
        """Forecast [B, P, c_out]."""
        cfg = self.cfg
        seasonal, trend = self.split(x_enc)
        mean = torch.mean(x_enc, dim=1).unsqueeze(1).repeat(1, cfg.pred_len, 1)
        zeros = torch.zeros(x_dec.shape[0], cfg.pred_len, x_dec.shape[2], dtype=x_enc.dtype)
        trend = torch.cat([trend[:, -cfg.label_len :], mean], dim=1)
        seasonal = torch.cat([seasonal[:, -cfg.label_len :], zeros], dim=1)
        encoded = self.encode(embed(self.fast.enc_embedding, x_enc, m_enc, self.p))
        embedded = embed(self.fast.dec_embedding, seasonal, m_dec, self.p)
        return self.decode(embedded, encoded, trend)[:, -cfg.pred_len :]
