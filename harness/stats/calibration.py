"""Calibration: do intervals cover what they promise, and do misses come one by one.

Shapes: n origins in time order, R repeated sequences (seeds and sub-sequences).

Hits of steps further ahead overlap, so they are never pooled: origins that share a session are
split into sub-sequences that do not, each is tested, and Holm's rule joins them. P-values are
ranks among drawn sequences of independent hits at the promised rate (Dufour 2006): right at any
n, where chi-squared laws are not for the few misses of a 95 % interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from harness.reasons import Reason, ReasonCode, reason
from harness.stats.ability import holm
from harness.stats.longrun import choose_lag, overlap_law, wald
from harness.window import Array

LEVELS = (80, 95)
"""Central intervals that are tested, in per cent."""
DRAWS = (999, 4999)
"""Drawn sequences behind a p-value, at least and at most."""
DRAWN_HITS = 1_250_000
"""Hits that are drawn between those limits: fewer sequences where they are long."""
LAGS = 4
"""Earlier hits in the dynamic quantile regression."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalCalibration:
    """Tests of one arm's central interval at one step.

    Attributes
    ----------
    step, level
        Sessions ahead; promised coverage in per cent.
    n, sequences
        Origins, and sequences that were tested apart: seeds times sub-sequences.
    coverage
        Share covered, over all seeds.
    unconditional, independence, joint
        P-values of Kupiec (1995) and Christoffersen (1998).
    dynamic_quantile
        P-value of Engle and Manganelli (2004) with four earlier hits.
    reason
        Why there are no p-values.
    """

    dataset: str
    arm: str
    step: int
    level: int
    n: int
    sequences: int
    coverage: float | None
    unconditional: float | None
    independence: float | None
    joint: float | None
    dynamic_quantile: float | None
    reason: Reason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniformity:
    """Test of one arm's probability integral transforms at one step.

    Attributes
    ----------
    centre, spread
        Mean and standard deviation of the transforms, on a scale where a calibrated arm has 0
        and 1: ``sqrt(12) (PIT - 1/2)``.
    lag, statistic, p_value
        HAC lag, F statistic and p-value of "both moments are as promised".
    reason
        Why there is no p-value.
    """

    dataset: str
    arm: str
    step: int
    n: int
    centre: float | None
    spread: float | None
    lag: int
    statistic: float | None
    p_value: float | None
    reason: Reason | None


def kupiec(hits: Array, share: float) -> Array:
    """Likelihood ratio [...] of "hits [..., n] come at the rate `share`": Kupiec (1995)."""
    count, found = hits.shape[-1], hits.sum(axis=-1)
    return 2 * (_log(found, count, found / count) - _log(found, count, share))


def independence(hits: Array) -> Array:
    """Likelihood ratio [...] of "a hit does not depend on the one before": Christoffersen (1998).

    Of a first-order chain against independent hits at the rate found after the first one.
    """
    before, after = hits[..., :-1], hits[..., 1:]
    hit_hit, hit = (before * after).sum(axis=-1), before.sum(axis=-1)
    all_hits, count = after.sum(axis=-1), before.shape[-1]
    miss_hit, miss = all_hits - hit_hit, count - hit
    chain = _log(hit_hit, hit, _rate(hit_hit, hit)) + _log(miss_hit, miss, _rate(miss_hit, miss))
    return 2 * (chain - _log(all_hits, count, all_hits / count))


def dynamic_quantile(hits: Array, share: float) -> Array:
    """Statistic [...] of "nothing known predicts a hit": Engle and Manganelli (2004).

    ``h' X (X' X)^-1 X' h / (share (1 - share))`` with h the hits less `share` and X a constant
    and the `LAGS` hits before; a regressor that never varies counts once.
    """
    centred = hits - share
    count = centred.shape[-1]
    known = [centred[..., LAGS - j : count - j] for j in range(1, LAGS + 1)]
    design = np.stack([np.ones_like(known[0]), *known], axis=-1)  # [..., n - LAGS, q]
    turned = np.swapaxes(design, -1, -2)
    moments = turned @ centred[..., LAGS:, None]  # [..., q, 1]
    inverse = np.linalg.pinv(turned @ design, rcond=1e-10, hermitian=True)
    square: Array = (np.swapaxes(moments, -1, -2) @ inverse @ moments)[..., 0, 0]
    return square / (share * (1 - share))


def _rate(found: Array, count: Array) -> Array:
    rate: Array = found / np.maximum(count, 1)
    return rate


def _log(found: Array, count: Array | int, rate: Array | float) -> Array:
    """Log-likelihood of `found` hits out of `count` at `rate`, with 0 log 0 = 0."""
    from scipy.special import xlog1py, xlogy

    total: Array = xlogy(found, rate) + xlog1py(count - found, -np.asarray(rate))
    return total


def _statistics(hits: Array, share: float) -> dict[str, Array]:
    """Every statistic [...] of hits [..., n] by its test; joint is `kupiec` and `independence`."""
    rate, clusters = kupiec(hits, share), independence(hits)
    return {
        "unconditional": rate,
        "independence": clusters,
        "joint": rate + clusters,
        "dynamic_quantile": dynamic_quantile(hits, share),
    }


@cache
def _drawn(count: int, per_cent: int) -> dict[str, Array]:
    """Each statistic, sorted, of independent sequences at the promised rate."""
    generator = np.random.default_rng([count, per_cent])
    draws = max(DRAWS[0], min(DRAWS[1], DRAWN_HITS // count))
    hits = (generator.random((draws, count)) < per_cent / 100).astype(np.float64)
    parts = np.array_split(hits, max(1, hits.size // 50_000))  # as much as a cache holds
    found = [_statistics(part, per_cent / 100) for part in parts]
    return {name: np.sort(np.concatenate([each[name] for each in found])) for name in found[0]}


def p_values(hits: Array, per_cent: int) -> dict[str, Array]:
    """P-values [R] of each test on sequences of hits [R, n] against a coverage in per cent.

    The rank of a statistic among those of independent sequences; ties count against the claim.
    """
    found, statistics = {}, _statistics(hits, per_cent / 100)
    for name, drawn in _drawn(hits.shape[-1], per_cent).items():
        rank = np.searchsorted(drawn, statistics[name] - 1e-9)
        found[name] = (1 + len(drawn) - rank) / (len(drawn) + 1)
    return found


def interval_calibration(
    hits: Array, *, level: int, step: int, overlap: int, names: tuple[str, str]
) -> IntervalCalibration:
    """Test the hits [S, n] of a central interval, one row a seed, of a dataset and an arm.

    Parameters
    ----------
    overlap
        Consecutive origins whose `step` sessions share one: every `overlap`-th origin makes a
        sub-sequence. Hits that are NaN are not tested.
    """
    seeds, count = hits.shape
    parts = [hits[:, start::overlap] for start in range(min(overlap, count))]
    shortest = min((part.shape[1] for part in parts), default=0)
    why = _why_not(hits, shortest)
    found: dict[str, float] = {}
    if why is None:
        each = [p_values(part, level) for part in parts]
        for name in each[0]:
            found[name] = min(holm([p for part in each for p in part[name].tolist()]))
    return IntervalCalibration(
        dataset=names[0],
        arm=names[1],
        step=step,
        level=level,
        n=count,
        sequences=seeds * len(parts),
        coverage=None if _missing(why) else float(hits.mean()),
        unconditional=found.get("unconditional"),
        independence=found.get("independence"),
        joint=found.get("joint"),
        dynamic_quantile=found.get("dynamic_quantile"),
        reason=why,
    )


def uniformity(pit: Array, *, step: int, overlap: int, names: tuple[str, str]) -> Uniformity:
    """Test mean and spread of probability integral transforms [S, n], of a dataset and an arm.

    First two raw moments of ``sqrt(12) (PIT - 1/2)``, averaged over seeds, with a Bartlett
    covariance: overlap changes no moment, only their covariance. Source: Knueppel (2015).
    """
    count = pit.shape[1]
    why = _why_not(pit, count)
    centred = np.sqrt(12) * (pit - 0.5)
    moments = np.stack([centred.mean(axis=0), np.square(centred).mean(axis=0) - 1])
    moments = moments.round(12)  # or the roundings of transforms that never vary seem a variance
    lag, statistic, p_value = 0, None, None
    if why is None:
        lag = max(choose_lag(each, overlap) for each in moments)
        statistic, p_value = wald(moments, overlap_law(count, lag, overlap))
        why = None if p_value is not None else reason(ReasonCode.FEW_FOR_OVERLAP)
    missing = _missing(why)
    return Uniformity(
        dataset=names[0],
        arm=names[1],
        step=step,
        n=count,
        centre=None if missing else float(centred.mean()),
        spread=None if missing else float(np.sqrt(np.square(centred).mean())),
        lag=lag,
        statistic=statistic,
        p_value=p_value,
        reason=why,
    )


def _why_not(numbers: Array, shortest: int) -> Reason | None:
    holes = int((~np.isfinite(numbers)).sum())
    if holes or not numbers.size:
        return reason(ReasonCode.WINDOWS_MISSING, windows=holes, of=numbers.size)
    enough = shortest >= 2 * LAGS + 2
    return None if enough else reason(ReasonCode.FEW_APART, origins=shortest)


def _missing(why: Reason | None) -> bool:
    return why is not None and why.code is ReasonCode.WINDOWS_MISSING
