"""HierarchicalEnhancedAutoformer written plainly, to check the fast one against.

It reads the fast network's parameters, so both always hold the same weights.
"""

from __future__ import annotations

import math

import torch
from naive_autoformer import embed
from naive_enhanced import NaiveEnhanced
from torch import Tensor, nn
from torch.nn import functional as F

KINDS = 8  # coefficients of a multiwavelet channel
CROSS_CHANNELS = 64
CROSS_MODES = 32


def stretch(x: Tensor, length: int) -> Tensor:
    """Interpolate [B, L, C] linearly in time."""
    return F.interpolate(x.transpose(1, 2), size=length, mode="linear").transpose(1, 2)


def analysed(x: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """One wavelet level of [B, L, C]; mirrored samples pass no gradient."""
    length, taps = x.shape[1], len(low)
    steps = (length + taps - 1) // 2
    reach = 2 * (steps - 1) - length + taps
    rows = []
    for place in range(-(reach // 2), length + reach - reach // 2):
        inside = place % (2 * length)
        inside = min(inside, 2 * length - 1 - inside)
        rows.append(x[:, inside] if inside == place else x[:, inside].detach())
    bands: tuple[list[Tensor], list[Tensor]] = ([], [])
    for step in range(steps):
        window = torch.stack(rows[2 * step : 2 * step + taps], dim=1)  # [B, taps, C]
        for band, filter_ in zip(bands, (low, high), strict=True):
            band.append((window * filter_.view(1, -1, 1)).sum(1))
    return torch.stack(bands[0], dim=1), torch.stack(bands[1], dim=1)


def padded(x: Tensor) -> Tensor:
    """Append first rows of [B, N, c, k] up to a power of two."""
    return torch.cat([x, x[:, : 2 ** math.ceil(math.log2(x.shape[1])) - x.shape[1]]], dim=1)


def halved(x: Tensor, bank: Tensor) -> Tensor:
    """One level down of [B, N, c, k]."""
    return torch.cat([x[:, ::2], x[:, 1::2]], dim=-1) @ bank


def doubled(module: nn.Module, smooth: Tensor, detail: Tensor) -> Tensor:
    """One level up, to [B, 2N, c, k]."""
    both = torch.cat([smooth, detail], dim=-1)
    out = both.new_zeros(both.shape[0], 2 * both.shape[1], *smooth.shape[2:])
    out[:, ::2], out[:, 1::2] = both @ module.rc_e, both @ module.rc_o
    return out


def filtered(kernel: nn.Module, x: Tensor) -> Tensor:
    """Multiply the lowest modes of [B, N, c, k] by complex weights, one mode after the other."""
    bins = torch.fft.rfft(x.flatten(2), dim=1)
    weights = torch.complex(kernel.weights1, kernel.weights2)
    out = torch.zeros_like(bins)
    for mode in range(min(weights.shape[-1], bins.shape[1])):
        out[:, mode] = bins[:, mode] @ weights[..., mode]
    return torch.fft.irfft(out, n=x.shape[1], dim=1).view(x.shape)


def transform(module: nn.Module, x: Tensor) -> Tensor:
    """Multiwavelet transform of [B, N, d]."""
    length, kernel, ups = x.shape[1], module.MWT_CZ[0], []
    x = padded(module.Lk0(x).unflatten(-1, (-1, KINDS)))
    for _ in range(math.floor(math.log2(length))):
        detail, x = halved(x, kernel.ec_d), halved(x, kernel.ec_s)
        fine = filtered(kernel.A, detail) + filtered(kernel.B, x)
        ups.append((fine, filtered(kernel.C, detail)))
    x = kernel.T0(x)
    for detail, smooth in reversed(ups):
        x = doubled(kernel, x + smooth, detail)
    return module.Lk1(x[:, :length].flatten(2))


def scored(queries: Tensor, keys: Tensor, share: int) -> Tensor:
    """Fourier attention on [B, N, c, k], coefficient by coefficient; values are the keys."""
    length = queries.shape[1]
    modes = min(length // 2, CROSS_MODES, share // 2)
    if not modes:
        return torch.zeros_like(queries)
    q, k = (torch.fft.rfft(z, dim=1)[:, :modes] for z in (queries, keys))
    out = torch.zeros(*q[:, :1].shape, dtype=q.dtype).repeat(1, length // 2 + 1, 1, 1)
    for kind in range(queries.shape[-1]):
        scores = q[..., kind] @ k[..., kind].transpose(1, 2)
        scores = torch.complex(scores.real.tanh(), scores.imag.tanh())
        out[:, :modes, :, kind] = scores @ k[..., kind] / share**2
    return torch.fft.irfft(out, n=length, dim=1)


def crossed(module: nn.Module, x: Tensor, other: Tensor, heads: int) -> Tensor:
    """Attention of [B, N, d] to another level of the same length."""
    length, share, ups = x.shape[1], x.shape[2] // heads, []
    queries, keys = (
        padded(linear(z).unflatten(-1, (CROSS_CHANNELS, KINDS)))
        for linear, z in ((module.Lq, x), (module.Lk, other))
    )
    for _ in range(math.floor(math.log2(length))):
        query_detail, queries = halved(queries, module.ec_d), halved(queries, module.ec_s)
        key_detail, keys = halved(keys, module.ec_d), halved(keys, module.ec_s)
        fine = scored(query_detail, key_detail, share)
        ups.append((fine + scored(queries, keys, share), fine))
    out = scored(queries, keys, share)
    for detail, smooth in reversed(ups):
        out = doubled(module, out + smooth, detail)
    return module.out(out[:, :length].flatten(2))


class NaiveHierarchical(NaiveEnhanced):
    """Plain forward pass over a fast network's parameters; eight heads between levels."""

    def bands(self, x: Tensor) -> list[Tensor]:
        """Wavelet bands of [B, S, d], each brought to its length and mapped."""
        module, length, levels = self.fast.decomposer, x.shape[1], self.cfg.n_levels
        filters = [module.dwt_forward.get_buffer(name).flatten() for name in ("h0", "h1")]
        low, highs = x, []
        for _ in range(levels):
            low, high = analysed(low, *filters)
            highs.append(high)
        sizes = [length // 2**levels, *(length // 2 ** (levels - i) for i in range(levels))]
        out = []
        for band, size, linear in zip([low, *highs], sizes, module.scale_projections, strict=True):
            if band.shape[1] > size:
                fit = F.adaptive_avg_pool1d(band.transpose(1, 2), size).transpose(1, 2)
            else:
                fit = stretch(band, size)
            out.append(linear(fit))
        return out

    def encoded(self, x: Tensor) -> list[Tensor]:
        """Every level but the last band, encoded, and looking at the next one."""
        fast, levels = self.fast, []
        for band, module, encoder in zip(
            self.bands(x),
            fast.encoder.multiwavelet_transforms,
            fast.encoder.resolution_encoders,
            strict=False,  # the last band is dropped
        ):
            levels.append(self.encode(encoder, transform(module, band)))
        if self.cfg.use_cross_attention:
            for i, module in enumerate(fast.cross_attention.cross_res_attention):
                other = stretch(levels[i + 1], levels[i].shape[1])
                linear = fast.cross_attention.cross_projections[i]
                levels[i] = linear(crossed(module, levels[i], other, heads=8))
        return levels

    def fused(self, module: nn.Module, parts: list[Tensor], length: int) -> Tensor:
        """Softmax-weighted sum of parts brought to one length; one part stays as it is."""
        if len(parts) == 1:
            return parts[0]
        shares = torch.softmax(module.fusion_weights, dim=0)
        total = torch.zeros(())
        for share, part in zip(shares, parts, strict=True):
            total = total + share * stretch(part, length)
        return total

    def forward(
        self, x_enc: Tensor, m_enc: Tensor | None, x_dec: Tensor, m_dec: Tensor | None
    ) -> Tensor:
        """Forecast [B, P, c_out]."""
        fast, parts = self.fast, []
        levels = self.encoded(embed(fast.enc_embedding, x_enc, m_enc, self.p))
        seasonal, trend = self.start(x_dec)
        embedded = embed(fast.dec_embedding, seasonal, m_dec, self.p)
        for level, decoder in zip(levels, fast.decoder.resolution_decoders, strict=True):
            length = level.shape[1]
            parts.append(
                self.decode(decoder, stretch(embedded, length), level, stretch(trend, length))
            )
        seasonals, trends = ([*each] for each in zip(*parts, strict=True))
        seasonal = self.fused(fast.decoder.seasonal_fusion, seasonals, embedded.shape[1])
        trend = self.fused(fast.decoder.trend_fusion, trends, embedded.shape[1])
        return fast.projection(self.combine(seasonal, trend))[:, -self.cfg.pred_len :]
