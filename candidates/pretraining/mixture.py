"""What is trained on: pools of series of both kinds, drawn with random parameters.

Shapes: N series of a pool, T steps.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from candidates.pretraining import price_like as prices
from candidates.pretraining import structural
from candidates.pretraining.price_like import Garch
from candidates.pretraining.recipe import Mixture, PriceLike, Structural

BURN_IN = 100
"""Steps a price-like series runs before it is used."""

PERIODS = (5.0, 7, 12, 20, 24, 30, 48, 52, 60, 96, 168, 252, 365)
"""Seasons in steps: weeks, months, days, hours and years of the usual frequencies."""


class Dice:
    """Random parameters of N series, from one generator."""

    def __init__(self, rng: Generator, count: int) -> None:
        self.rng, self.count = rng, count

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Uniform between two ends, [N]."""
        draws = torch.rand(self.count, generator=self.rng, device=self.rng.device)
        return low + (high - low) * draws

    def log_uniform(self, low: float, high: float) -> Tensor:
        """Uniform on the logarithmic scale, [N]."""
        return torch.exp(self.uniform(math.log(low), math.log(high)))

    def normal(self) -> Tensor:
        """Standard normal, [N]."""
        return torch.randn(self.count, generator=self.rng, device=self.rng.device)

    def happens(self, share: float) -> Tensor:
        """1 for about this share of the series, else 0, [N]."""
        return (self.uniform() < share).float()


def draw_pool(rng: Generator, count: int, *, length: int, mixture: Mixture) -> Tensor:
    """Draw a pool of series in random order, [N, T], float32, all finite.

    A share of them is then mixed pairwise: a random convex combination of two standardised series.
    """
    price_like = round(count * mixture.price_like)
    parts = []
    if price_like:
        parts.append(draw_price_like(rng, price_like, length=length, shares=mixture.prices))
    if others := count - price_like:
        parts.append(draw_structural(rng, others, length=length, shares=mixture.structure))
    pool = torch.nan_to_num(torch.cat(parts), nan=0.0, posinf=0.0, neginf=0.0)
    pool = _mixed(rng, pool, share=mixture.mixed)
    return pool[torch.randperm(count, generator=rng, device=rng.device)]


def draw_garch(dice: Dice, shares: PriceLike) -> Garch:
    """Draw volatility processes: a daily deviation of 0.2 to 4 %, persistence 0.78 to 0.9975."""
    alpha = dice.uniform(0.02, 0.15)
    gamma = dice.uniform(0.0, 0.12) * dice.happens(shares.asymmetric)
    persistence = 1 - torch.exp(-dice.uniform(1.5, 6.0))
    beta = persistence - alpha - gamma / 2
    moves = 1 - dice.happens(shares.constant_volatility)
    alpha, gamma, beta = alpha * moves, gamma * moves, beta * moves
    variance = dice.log_uniform(0.002, 0.04) ** 2
    omega = variance * (1 - alpha - gamma / 2 - beta)
    return Garch(omega=omega, alpha=alpha, gamma=gamma, beta=beta)


def draw_price_like(rng: Generator, count: int, *, length: int, shares: PriceLike) -> Tensor:
    """Draw price-like series as prices, logarithms of prices or returns, [N, T]."""
    dice = Dice(rng, count)
    garch = draw_garch(dice, shares)
    deviation = torch.sqrt(garch.variance)
    freedom = 3 + dice.log_uniform(0.5, 0.5 * math.exp(4))
    shocks = prices.student_shocks(rng, length + BURN_IN, freedom=freedom)
    innovations = prices.garch_innovations(shocks, garch)
    phi = dice.uniform(-0.15, 0.15) * dice.happens(shares.autocorrelated)
    returns = prices.autoregression(innovations, phi)[:, BURN_IN:]
    drift = dice.normal() * 0.08 * deviation * dice.happens(shares.drifting)
    rate = 0.003 * dice.happens(shares.jumping)
    leaps = prices.jumps(rng, length, rate=rate, size=6 * deviation)
    path = prices.log_price(returns + drift[:, None] + leaps)
    closed = dice.uniform(0.0, 0.05) * dice.happens(shares.with_holidays)
    path = prices.with_holidays(rng, path, rate=closed)
    form = dice.uniform()[:, None]
    later = torch.where(form < shares.levels + shares.logs, path, prices.returns_of(path))
    return torch.where(form < shares.levels, prices.price(path), later)


def draw_structural(rng: Generator, count: int, *, length: int, shares: Structural) -> Tensor:
    """Draw sums of seasons, coloured noise, trend, level shift, white noise and random walk."""
    dice = Dice(rng, count)
    series = torch.zeros(count, length, device=rng.device)
    for _ in range(3):
        series = series + _draw_season(dice, length, share=shares.seasonal)
    noise = structural.power_law_noise(rng, length, slope=dice.uniform(0.0, 3.0))
    series = series + noise * (dice.uniform(0.0, 3.0) * dice.happens(shares.coloured))[:, None]
    rise = 3 * dice.normal() * dice.happens(shares.trending)
    series = series + structural.trend(length, rise=rise)
    size = 2 * dice.normal() * dice.happens(shares.shifted)
    series = series + structural.level_shift(length, size=size, at=dice.uniform())
    fine = dice.log_uniform(0.005, 0.005 * math.exp(5))
    series = series + structural.white_noise(rng, length, deviation=fine)
    walk = dice.uniform(0.0, 4.0) * dice.happens(shares.walking)
    series = series + structural.random_walk(rng, length, deviation=walk)
    skewed = dice.happens(shares.exponential)[:, None] > 0
    return torch.where(skewed, structural.exponential(series), series)


def _draw_season(dice: Dice, length: int, *, share: float) -> Tensor:
    """One seasonal component of three harmonics for a share of the series, [N, T]."""
    periods = torch.tensor(PERIODS, device=dice.rng.device)
    chosen = torch.randint(len(PERIODS), (dice.count,), generator=dice.rng, device=dice.rng.device)
    on = dice.happens(share)
    amplitude = torch.stack([dice.normal() / harmonic * on for harmonic in (1, 2, 3)], dim=1)
    phase = torch.stack([dice.uniform(0.0, 2 * math.pi) for _ in range(3)], dim=1)
    return structural.seasonal(length, period=periods[chosen], amplitude=amplitude, phase=phase)


def _mixed(rng: Generator, pool: Tensor, *, share: float) -> Tensor:
    """Replace a share of the pool by convex combinations of two standardised series."""
    dice = Dice(rng, len(pool))
    standard = (pool - pool.mean(1, keepdim=True)) / (pool.std(1, keepdim=True) + 1e-8)
    partner = standard[torch.randperm(len(pool), generator=rng, device=rng.device)]
    weight = dice.uniform()[:, None]
    chosen = dice.happens(share)[:, None] > 0
    return torch.where(chosen, weight * standard + (1 - weight) * partner, pool)
