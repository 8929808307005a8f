"""Series that move like prices: volatility that clusters, heavy tails, drift, jumps, holidays.

Shapes: B series, T steps. Every function is pure: the same generator state, the same series.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

CEILING = 400.0
"""A conditional variance never exceeds so many times the unconditional one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Garch:
    """Parameters of B processes of GJR-GARCH(1, 1) form, all [B].

    ``h[t+1] = omega + (alpha + gamma 1[e[t] < 0]) e[t]^2 + beta h[t]`` with
    ``e[t] = sqrt(h[t]) z[t]``. With gamma 0 it is GARCH(1, 1); with alpha, gamma and beta 0 the
    variance is constant. Sources: Bollerslev (1986); Glosten, Jagannathan and Runkle (1993).
    """

    omega: Tensor
    alpha: Tensor
    gamma: Tensor
    beta: Tensor

    @property
    def variance(self) -> Tensor:
        """Unconditional variance for symmetric shocks of unit variance, [B]."""
        return self.omega / (1 - self.alpha - self.gamma / 2 - self.beta)


def student_shocks(rng: Generator, length: int, *, freedom: Tensor, limit: float = 12.0) -> Tensor:
    """Draw Student-t shocks of unit variance, cut at `limit` on both sides, [B, T].

    Two uniforms make one shock: ``sqrt(f (u^(-2/f) - 1)) cos(2 pi v)`` is Student-t with f degrees
    of freedom, whatever f is. Source: Bailey (1994).

    Parameters
    ----------
    freedom : [B]
        Degrees of freedom, above 2.
    """
    degrees = freedom[:, None]
    shape = (len(freedom), length)
    radius = torch.rand(shape, generator=rng, device=rng.device).clamp_(min=1e-30)
    angle = torch.rand(shape, generator=rng, device=rng.device)
    draws = torch.sqrt(degrees * torch.expm1(-2 / degrees * torch.log(radius)))
    draws = draws * torch.cos(2 * math.pi * angle)
    return (draws * torch.sqrt((degrees - 2) / degrees)).clamp(-limit, limit)


def garch_innovations(shocks: Tensor, garch: Garch) -> Tensor:
    """Give shocks [B, T] the volatility of a GJR-GARCH process, which starts at its variance."""
    usual = garch.variance
    variance, innovations = usual, torch.empty_like(shocks)
    for step in range(shocks.shape[1]):
        now = torch.sqrt(variance) * shocks[:, step]
        innovations[:, step] = now
        reaction = garch.alpha + garch.gamma * (now < 0)
        variance = garch.omega + reaction * now * now + garch.beta * variance
        variance = torch.minimum(variance, CEILING * usual)
    return innovations


def autoregression(innovations: Tensor, phi: Tensor) -> Tensor:
    """``x[t] = phi x[t-1] + e[t]`` from x = 0, [B, T]; phi [B]."""
    series, last = torch.empty_like(innovations), torch.zeros_like(phi)
    for step in range(innovations.shape[1]):
        last = phi * last + innovations[:, step]
        series[:, step] = last
    return series


def jumps(rng: Generator, length: int, *, rate: Tensor, size: Tensor) -> Tensor:
    """Normal jumps of standard deviation `size` at a share `rate` of the steps, [B, T]."""
    shape = (len(rate), length)
    happens = torch.rand(shape, generator=rng, device=rng.device) < rate[:, None]
    return happens * torch.randn(shape, generator=rng, device=rng.device) * size[:, None]


def with_holidays(rng: Generator, series: Tensor, *, rate: Tensor) -> Tensor:
    """Repeat the value before at a share `rate` [B] of the steps, never at the first."""
    count, length = series.shape
    closed = torch.rand((count, length), generator=rng, device=rng.device) < rate[:, None]
    steps = torch.arange(length, device=series.device).expand(count, length)
    last_open = torch.cummax(steps.masked_fill(closed, 0), dim=1).values
    return torch.gather(series, 1, last_open)


def log_price(returns: Tensor) -> Tensor:
    """Add returns [B, T] up to a logarithmic price."""
    return torch.cumsum(returns, dim=1)


def price(log_prices: Tensor) -> Tensor:
    """From logarithmic prices to prices, kept within e^-8 .. e^8."""
    return torch.exp(log_prices.clamp(-8, 8))


def returns_of(log_prices: Tensor) -> Tensor:
    """Differences of logarithmic prices, the first one 0, [B, T]."""
    return torch.diff(log_prices, dim=1, prepend=log_prices[:, :1])
