"""Reference forecasters: the bar both sides must clear on prices.

Shapes: W windows, T context sessions, H steps, Q levels. Prices are positive, so all of them work
on log prices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.errors import ForecastError
from harness.forecast import Forecast
from harness.parsing import check_fields
from harness.window import Array, Contexts


@dataclass(slots=True, kw_only=True)
class RandomWalk:
    """The last price at every step; quantiles from the returns that h steps brought so far.

    Parameters
    ----------
    context
        Sessions whose overlapping h-step log returns make the distribution of step h.
    drift
        Let the point path grow by the mean log return of the context.
    """

    context: int = 1000
    drift: bool = False

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def context_length(self) -> int:
        """Sessions read at an origin."""
        return self.context

    def forecast(self, contexts: Contexts) -> Forecast:
        """Forecast every context at once."""
        price = _log_price(contexts)
        last = price[:, -1:]  # [W, 1]
        quantiles = np.stack(
            [
                last + _quantiles(price[:, step:] - price[:, :-step], contexts.levels)
                for step in _steps(contexts)
            ],
            axis=1,
        )  # [W, H, Q]
        growth = np.nanmean(np.diff(price, axis=1), axis=1, keepdims=True) if self.drift else 0.0
        point = contexts.last[:, None] * np.exp(growth * np.arange(1, contexts.horizon + 1))
        return Forecast.of_quantiles(np.exp(quantiles), contexts.levels, point)

    def card(self) -> Mapping[str, str]:
        """Facts for the report."""
        return {"distribution": f"empirical h-step log returns of the last {self.context} sessions"}


@dataclass(slots=True, kw_only=True)
class VolatilityRandomWalk:
    """The last price, with Student-t quantiles whose width follows recent volatility.

    The daily variance is an exponentially weighted mean of squared log returns (as in
    RiskMetrics, 1996); over the horizon it returns geometrically to the context's variance, and
    the variances of the steps add up.

    Parameters
    ----------
    context
        Sessions read.
    decay
        Weight of yesterday's variance against today's squared return.
    reversion
        Share of the distance to the context's variance that is left after each step.
    freedom
        Degrees of freedom of the Student-t quantiles, scaled to unit variance.
    """

    context: int = 250
    decay: float = 0.94
    reversion: float = 0.97
    freedom: float = 6.0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.freedom <= 2:
            raise ValueError(f"freedom = {self.freedom}: expected more than 2 (finite variance)")
        for name in ("decay", "reversion"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: expected between 0 and 1")

    @property
    def context_length(self) -> int:
        """Sessions read at an origin."""
        return self.context

    def forecast(self, contexts: Contexts) -> Forecast:
        """Forecast every context at once."""
        from scipy.special import stdtrit

        price = _log_price(contexts)
        returns = np.diff(price, axis=1)  # [W, T - 1]
        seen = np.isfinite(returns)
        weight = seen * self.decay ** np.arange(returns.shape[1])[::-1]
        squared = np.where(seen, returns, 0.0) ** 2
        recent = (squared * weight).sum(axis=1) / weight.sum(axis=1)
        longrun = squared.sum(axis=1) / seen.sum(axis=1)
        left = self.reversion ** np.arange(1, contexts.horizon + 1)
        variance = recent[:, None] * left + longrun[:, None] * (1.0 - left)  # of each day, [W, H]
        width = np.sqrt(np.cumsum(variance, axis=1))
        unit = np.sqrt((self.freedom - 2) / self.freedom)
        shocks = stdtrit(self.freedom, contexts.levels) * unit  # [Q], of variance 1
        quantiles = price[:, -1, None, None] + width[:, :, None] * shocks
        point = np.repeat(contexts.last[:, None], contexts.horizon, axis=1)
        return Forecast.of_quantiles(np.exp(quantiles), contexts.levels, point)

    def card(self) -> Mapping[str, str]:
        """Facts for the report."""
        return {
            "distribution": f"Student-t ({self.freedom:g}) around the last price; variance "
            f"weighted by {self.decay:g}, returning to that of {self.context} sessions by "
            f"{1 - self.reversion:.0%} a step"
        }


@dataclass(slots=True, kw_only=True)
class SeasonalNaive:
    """The last season again; quantiles from the log errors this made in the context.

    Parameters
    ----------
    context
        Sessions whose seasonal log differences make the distribution.
    season
        Sessions in a season; 0 takes the dataset's own.
    """

    context: int = 1000
    season: int = 0

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def context_length(self) -> int:
        """Sessions read at an origin."""
        return self.context

    def forecast(self, contexts: Contexts) -> Forecast:
        """Forecast every context at once."""
        season = self.season or contexts.season
        price = _log_price(contexts)
        if price.shape[1] < 2 * season:
            raise ForecastError(f"{price.shape[1]} sessions are too few for a season of {season}")
        path, quantiles = [], []
        for step in _steps(contexts):
            back = -(-step // season) * season  # whole seasons that reach back past the origin
            row = price.shape[1] + step - 1 - back
            path.append(contexts.target[:, row])
            errors = price[:, back:] - price[:, :-back]
            quantiles.append(price[:, row, None] + _quantiles(errors, contexts.levels))
        stacked = np.exp(np.stack(quantiles, axis=1))
        return Forecast.of_quantiles(stacked, contexts.levels, np.stack(path, axis=1))

    def card(self) -> Mapping[str, str]:
        """Facts for the report."""
        season = f"{self.season} sessions" if self.season else "the dataset's own season"
        return {
            "distribution": f"log errors of repeating {season} in the last {self.context} sessions"
        }


def _log_price(contexts: Contexts) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.log(contexts.target)


def _steps(contexts: Contexts) -> range:
    least = int(contexts.length.min())
    if least < contexts.horizon + 2:
        raise ForecastError(
            f"{least} sessions are too few for the returns of {contexts.horizon} steps"
        )
    return range(1, contexts.horizon + 1)


def _quantiles(values: Array, levels: Array) -> Array:
    """Empirical quantiles [W, Q] of values [W, N], front padding left out."""
    padded = bool(np.isnan(values[:, 0]).any())
    found: Array = (np.nanquantile if padded else np.quantile)(values, levels, axis=1)
    return found.T
