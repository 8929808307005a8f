"""What is trained on: batches of synthetic series, price-like and structural, randomly drawn.

The batch of a step is a pure function of recipe, seed and step: nothing random is carried from
step to step, so a run that goes on from a checkpoint sees the series it would have seen anyway.
Price-like series have clustered volatility, heavy tails, drift, jumps and holidays; structural
ones have seasons, trends, level shifts, rough and smooth noise. Every function is pure: the same
generator state, the same series.

Shapes: N series of a pool, B series of a batch, T context values, H steps, K harmonics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from candidates.pretraining.recipe import Mixture, PretrainingRecipe, PriceLike, Structural

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
    # a share of the pool becomes convex combinations of two standardised series
    dice = Dice(rng, len(pool))
    standard = (pool - pool.mean(1, keepdim=True)) / (pool.std(1, keepdim=True) + 1e-8)
    partner = standard[torch.randperm(len(pool), generator=rng, device=rng.device)]
    weight = dice.uniform()[:, None]
    chosen = dice.happens(mixture.mixed)[:, None] > 0
    pool = torch.where(chosen, weight * standard + (1 - weight) * partner, pool)
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
    shocks = student_shocks(rng, length + BURN_IN, freedom=freedom)
    innovations = garch_innovations(shocks, garch)
    phi = dice.uniform(-0.15, 0.15) * dice.happens(shares.autocorrelated)
    returns = autoregression(innovations, phi)[:, BURN_IN:]
    drift = dice.normal() * 0.08 * deviation * dice.happens(shares.drifting)
    rate = 0.003 * dice.happens(shares.jumping)
    leaps = jumps(rng, length, rate=rate, size=6 * deviation)
    path = log_price(returns + drift[:, None] + leaps)
    closed = dice.uniform(0.0, 0.05) * dice.happens(shares.with_holidays)
    path = with_holidays(rng, path, rate=closed)
    form = dice.uniform()[:, None]
    later = torch.where(form < shares.levels + shares.logs, path, returns_of(path))
    return torch.where(form < shares.levels, price(path), later)


def draw_structural(rng: Generator, count: int, *, length: int, shares: Structural) -> Tensor:
    """Draw sums of seasons, coloured noise, trend, level shift, white noise and random walk."""
    dice = Dice(rng, count)
    series = torch.zeros(count, length, device=rng.device)
    periods = torch.tensor(PERIODS, device=rng.device)
    for _ in range(3):  # seasons of three harmonics each
        chosen = torch.randint(len(PERIODS), (count,), generator=rng, device=rng.device)
        on = dice.happens(shares.seasonal)
        amplitude = torch.stack([dice.normal() / harmonic * on for harmonic in (1, 2, 3)], dim=1)
        phase = torch.stack([dice.uniform(0.0, 2 * math.pi) for _ in range(3)], dim=1)
        season = seasonal(length, period=periods[chosen], amplitude=amplitude, phase=phase)
        series = series + season
    noise = power_law_noise(rng, length, slope=dice.uniform(0.0, 3.0))
    series = series + noise * (dice.uniform(0.0, 3.0) * dice.happens(shares.coloured))[:, None]
    rise = 3 * dice.normal() * dice.happens(shares.trending)
    series = series + trend(length, rise=rise)
    size = 2 * dice.normal() * dice.happens(shares.shifted)
    series = series + level_shift(length, size=size, at=dice.uniform())
    fine = dice.log_uniform(0.005, 0.005 * math.exp(5))
    series = series + white_noise(rng, length, deviation=fine)
    walk = dice.uniform(0.0, 4.0) * dice.happens(shares.walking)
    series = series + random_walk(rng, length, deviation=walk)
    skewed = dice.happens(shares.exponential)[:, None] > 0
    return torch.where(skewed, exponential(series), series)


TARGET_LIMIT = 30.0
"""Targets are cut at so many standard deviations of their context."""

_POOLS, _SHORTENING = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingBatch:
    """Series cut in two.

    Attributes
    ----------
    context : [B, T]
        NaN in front where it was shortened.
    target : [B, H]
    """

    context: Tensor
    target: Tensor


@dataclass(slots=True, kw_only=True)
class Batches:
    """Makes batches; keeps the pool it is reading, which it can draw again."""

    recipe: PretrainingRecipe
    device: str = "cpu"
    _pool: Tensor | None = field(default=None, init=False, repr=False)
    _number: int = field(default=-1, init=False, repr=False)

    def at(self, step: int) -> TrainingBatch:
        """The batch of a step, counted from 0."""
        settings, size = self.recipe.training, self.recipe.network.context
        number, place = divmod(step, settings.pool // settings.batch)
        if self._pool is None or number != self._number:
            self._pool = None  # two at a time need twice the memory
            self._pool = draw_pool(
                self._generator(_POOLS, number, self.device),
                settings.pool,
                length=self.recipe.length,
                mixture=self.recipe.mixture,
            )
            self._number = number
        rows = self._pool[place * settings.batch : (place + 1) * settings.batch]
        context = rows[:, :size].clone()
        rng = self._generator(_SHORTENING, step, "cpu")
        if torch.rand((), generator=rng).item() < settings.shortened:  # hide the front of all rows
            length = int(torch.randint(settings.least, size + 1, (), generator=rng).item())
            context[:, : size - length] = float("nan")
        return TrainingBatch(context=context, target=within_reach(context, rows[:, size:]))

    def _generator(self, kind: int, number: int, device: str) -> Generator:
        """A generator of its own for each pool and step."""
        import numpy as np

        words = np.random.SeedSequence([self.recipe.training.seed, kind, number])
        state = int(words.generate_state(1, np.uint64)[0]) >> 1  # torch takes 63 bits on a GPU
        return Generator(device=device).manual_seed(state)


def scale_of(context: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of a context [B, T] as Chronos-Bolt takes them, [B, 1] each."""
    mean = torch.nanmean(context, dim=1, keepdim=True)
    deviation = ((context - mean) ** 2).nanmean(dim=1, keepdim=True).sqrt()
    return mean, torch.where(deviation == 0, 1e-5, deviation)


def within_reach(context: Tensor, target: Tensor) -> Tensor:
    """Cut targets [B, H] at 30 standard deviations of the context around its mean."""
    mean, deviation = scale_of(context)
    standard = (target - mean) / deviation
    return standard.clamp(-TARGET_LIMIT, TARGET_LIMIT) * deviation + mean


def seasonal(length: int, *, period: Tensor, amplitude: Tensor, phase: Tensor) -> Tensor:
    """Sum of K harmonics of one period, [B, T].

    Its variance over whole periods is half the sum of the squared amplitudes.

    Parameters
    ----------
    period : [B]
        Steps.
    amplitude, phase : [B, K]
        Of harmonics 1 .. K; phase in radians.
    """
    steps = torch.arange(length, device=period.device, dtype=period.dtype)
    wave = torch.zeros(len(period), length, device=period.device, dtype=period.dtype)
    for index in range(amplitude.shape[1]):
        angle = 2 * math.pi * (index + 1) * steps / period[:, None] + phase[:, index, None]
        wave = wave + amplitude[:, index, None] * torch.sin(angle)
    return wave


def power_law_noise(rng: Generator, length: int, *, slope: Tensor) -> Tensor:
    """Noise whose power falls with frequency f as ``f^-slope``, mean 0 and variance 1, [B, T].

    Slope 0 is white noise, 2 as rough as a random walk, 3 smooth. Drawn as a spectrum of twice the
    length, of which the first half is kept, so that it need not end where it starts. Source:
    Timmer and Koenig (1995).

    Parameters
    ----------
    slope : [B]
    """
    frequency = torch.fft.rfftfreq(2 * length, device=rng.device)[1:]
    shape = (len(slope), len(frequency))
    real = torch.randn(shape, generator=rng, device=rng.device)
    imaginary = torch.randn(shape, generator=rng, device=rng.device)
    bins = torch.complex(real, imaginary) * frequency ** (-slope[:, None] / 2)
    still = torch.zeros(len(slope), 1, device=rng.device, dtype=bins.dtype)
    noise = torch.fft.irfft(torch.cat([still, bins], dim=1), dim=1)[:, :length]
    standard: Tensor = (noise - noise.mean(1, keepdim=True)) / (noise.std(1, keepdim=True) + 1e-6)
    return standard


def trend(length: int, *, rise: Tensor) -> Tensor:
    """A straight line from 0 that rises by `rise` [B] in `length` steps, [B, T]."""
    steps = torch.arange(length, device=rise.device, dtype=rise.dtype)
    return rise[:, None] * steps / length


def level_shift(length: int, *, size: Tensor, at: Tensor) -> Tensor:
    """0 up to the share `at` [B] of the steps, then `size` [B], [B, T]."""
    steps = torch.arange(length, device=size.device)
    return size[:, None] * (steps > length * at[:, None])


def white_noise(rng: Generator, length: int, *, deviation: Tensor) -> Tensor:
    """Independent normal values of standard deviation `deviation` [B], [B, T]."""
    shape = (len(deviation), length)
    return torch.randn(shape, generator=rng, device=rng.device) * deviation[:, None]


def random_walk(rng: Generator, length: int, *, deviation: Tensor) -> Tensor:
    """Running sum of normal steps; the last value has standard deviation `deviation` [B]."""
    steps = white_noise(rng, length, deviation=deviation / math.sqrt(length))
    return torch.cumsum(steps, dim=1)


def exponential(series: Tensor) -> Tensor:
    """Exponential of the series over its standard deviation, within e^-6 .. e^6."""
    deviation = series.std(1, keepdim=True) + 1e-6
    return torch.exp((series / deviation).clamp(-6, 6))
