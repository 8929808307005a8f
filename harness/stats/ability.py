"""When does one arm lose: conditional predictive ability and fluctuations over time.

Shapes: n origins in time order. Differences are candidate minus legacy, over legacy's mean loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from harness.reasons import Reason, ReasonCode, reason
from harness.stats.longrun import (
    choose_lag,
    constant,
    fixed_smoothing,
    long_run_covariance,
    overlap_law,
    wald,
)
from harness.window import Array, Dates

Flags = npt.NDArray[np.bool_]
Side = Literal["candidate", "legacy"]
WINDOW_SHARE = 0.3
"""Share of the origins in one window of the fluctuation test."""
CRITICAL = {
    0.05: (3.393, 3.179, 3.012, 2.890, 2.779, 2.634, 2.560, 2.433, 2.248),
    0.10: (3.170, 2.948, 2.766, 2.626, 2.500, 2.356, 2.252, 2.130, 1.950),
}
"""Two-sided critical values at window shares 0.1 .. 0.9: Giacomini and Rossi (2010), table I."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionalAbility:
    """Whether past losses tell which arm will lose (Giacomini and White 2006).

    Attributes
    ----------
    n, lag
        Origins with an instrument, and the HAC lag.
    statistic, p_value
        F statistic of "neither the mean difference nor the last one known predicts anything";
        None where it has no value.
    persistence
        Slope of a difference on the last one known at its origin.
    losing_share
        Share of origins at which the candidate was to be expected to lose.
    reason
        Why there is no statistic.
    """

    dataset: str
    metric: str
    candidate: str
    legacy: str
    n: int
    lag: int
    statistic: float | None
    p_value: float | None
    persistence: float | None
    losing_share: float | None
    reason: Reason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LosingSpan:
    """Origins, first and last by ISO date, over which one arm was shown to lose."""

    first: str
    last: str
    loser: Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Fluctuation:
    """Whether the difference was 0 all the time (Giacomini and Rossi 2010).

    Attributes
    ----------
    n, window, lag
        Origins, origins in one window, HAC lag.
    level
        Error rate of the test: the table has 5 and 10 %.
    critical
        Critical value for the size of the statistic.
    largest, smallest
        Extremes of the windows' statistics: above 0 where the candidate loses.
    spans
        Where they are beyond the critical value.
    reason
        Why there is no statistic.
    """

    dataset: str
    metric: str
    candidate: str
    legacy: str
    n: int
    window: int
    lag: int
    level: float
    critical: float | None
    largest: float | None
    smallest: float | None
    spans: tuple[LosingSpan, ...]
    reason: Reason | None


Names = tuple[str, str, str, str]
"""Dataset, metric, candidate, legacy."""


def conditional_ability(difference: Array, *, overlap: int, names: Names) -> ConditionalAbility:
    """Test whether a constant or the last known difference predicts the differences [n].

    The last known one lies `overlap` origins back: its steps have come. The Wald statistic has a
    Bartlett covariance and is read as ``F`` with the degrees of freedom that covariance is worth,
    as Hotelling's. Sources: Giacomini and White (2006), theorem 3; Sun (2013) for the F law.
    """
    later, known = difference[overlap:], difference[:-overlap]
    if not np.isfinite(difference).all():
        return _no_ability(names, len(later), reason(ReasonCode.LOSSES_MISSING))
    if len(later) < 10 or constant(known):
        return _no_ability(names, len(later))
    instruments = np.stack([np.ones(len(known)), known])  # [q, n]
    moments = instruments * later
    lag = max(choose_lag(each, overlap) for each in moments)
    statistic, p_value = wald(moments, overlap_law(len(later), lag, overlap))
    slope, level = np.polyfit(known, later, 1).tolist()
    return ConditionalAbility(
        **_named(names),
        n=len(later),
        lag=lag,
        statistic=statistic,
        p_value=p_value,
        persistence=slope,
        losing_share=float(np.mean(level + slope * known > 0)),
        reason=None if p_value is not None else reason(ReasonCode.FEW_FOR_OVERLAP),
    )


def fluctuation(
    difference: Array, dates: Dates, *, overlap: int, alpha: float, names: Names
) -> Fluctuation:
    """Test whether the mean difference over a moving window was 0 all the time.

    The statistic is the mean over the window, over its error by the long-run variance of the
    whole sample, with the factor of the fixed-smoothing law.
    """
    count = len(difference)
    level = 0.10 if alpha >= 0.10 else 0.05
    window = max(1, round(WINDOW_SHARE * count))
    whole = bool(np.isfinite(difference).all())
    known = count > 1 and whole and not constant(difference)
    lag = choose_lag(difference, overlap) if known else 0
    spread = float(long_run_covariance(difference[None], lag)[0, 0]) if known else 0.0
    found: dict[str, Any] = {"largest": None, "smallest": None, "critical": None, "spans": ()}
    found["reason"] = reason(ReasonCode.FEW_ORIGINS if whole else ReasonCode.LOSSES_MISSING)
    if count >= 20 and spread > 0:
        sums = np.concatenate([[0.0], np.cumsum(difference)])
        path = (sums[window:] - sums[:-window]) / math.sqrt(window * spread)
        path *= fixed_smoothing(count, lag, overlap).factor
        critical = CRITICAL[level][round(WINDOW_SHARE * 10) - 1]
        sides: tuple[tuple[Side, Flags], ...] = (
            ("candidate", path > critical),
            ("legacy", path < -critical),
        )
        spans = []
        for loser, beyond in sides:  # runs of windows, with the dates of all their origins
            edges = np.flatnonzero(np.diff(np.concatenate([[False], beyond, [False]]).astype(int)))
            for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
                first, last = _iso(dates[start]), _iso(dates[stop + window - 2])
                spans.append(LosingSpan(first=first, last=last, loser=loser))
        found = {
            "largest": float(path.max()),
            "smallest": float(path.min()),
            "critical": critical,
            "spans": tuple(sorted(spans, key=lambda span: (span.first, span.loser))),
            "reason": None,
        }
    return Fluctuation(**_named(names), n=count, window=window, lag=lag, level=level, **found)


def _iso(day: np.datetime64) -> str:
    return str(day.astype("datetime64[D]"))


_FEW = reason(ReasonCode.FEW_KNOWN, least=10)


def _no_ability(names: Names, count: int, why: Reason = _FEW) -> ConditionalAbility:
    return ConditionalAbility(
        **_named(names),
        n=count,
        lag=0,
        statistic=None,
        p_value=None,
        persistence=None,
        losing_share=None,
        reason=why,
    )


def _named(names: Names) -> dict[str, Any]:
    return dict(zip(("dataset", "metric", "candidate", "legacy"), names, strict=True))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjust p-values by Holm's step-down rule, in the order given.

    With m claims the smallest is multiplied by m, the next by m - 1, and so on; none becomes
    smaller than one before it, none larger than 1. Rejecting what lies at or below alpha makes a
    single false claim with a chance of at most alpha, however the claims depend on each other.
    Source: Holm (1979).
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for rank, index in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = least
    return tuple(adjusted)
