"""From block resamples to a confidence distribution that keeps its level in small samples.

Shapes: n origins in time order, B resamples.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from harness.stats.longrun import TDistribution
from harness.window import Array

RESAMPLES = 2000
"""Bootstrap resamples of every comparison."""


def lean_of(difference: Array, block: int) -> float:
    """Skewness of the mean of differences [n], from their circular blocks.

    That of the blocks over the root of their number m. It is shrunk towards 0 by its own noise
    (variance 6 / m without any skewness; James and Stein 1961): what cannot be told apart from
    chance leaves a symmetric law.
    """
    count = len(difference)
    around = np.concatenate([difference, difference[: block - 1]]) - difference.mean()
    sums = np.cumsum(np.concatenate([[0.0], around]))
    blocks = sums[block:] - sums[:-block]
    size = float(np.mean(blocks**2))
    if size <= 1e-24 * float(difference @ difference):
        return 0.0
    skewness = float(np.mean(blocks**3)) / size**1.5
    return float(shrunk(np.array(skewness), count / block))


def shrunk(skewness: Array, number: float) -> Array:
    """Skewness of a mean of `number` blocks with that skewness, less what may be their noise."""
    seen = np.maximum(number * skewness**2, 6.0)
    lean: Array = (1 - 6 / seen) * skewness / math.sqrt(number)
    return lean


def moved(normal: Array, lean: Array) -> Array:
    """Normal deviates of the ranks at which BCa reads resamples of a mean with skewness `lean`."""
    sixth = np.clip(lean / 6, -0.2, 0.2)
    found: Array = sixth + (sixth + normal) / np.maximum(0.1, 1 - sixth * (sixth + normal))
    return found


def stretched(drawn: Array, point: float, law: TDistribution, lean: float) -> Array:
    """Turn resampled values [B] into a confidence distribution, in order.

    Percentiles of block resamples are too close to the estimate: blocks miss the part
    ``law.factor`` of the spread, and the spread is itself an estimate. So each deviation is
    divided by the factor and multiplied by Student's over the normal quantile of its rank
    (Hesterberg 2015, section 4.4). And they lean too little where losses are skewed, so ranks
    are first moved as in Efron's (1987) BCa; both of its constants are a sixth of the skewness
    `lean` for a mean.
    """
    from scipy.special import ndtr

    rank, normal, wider = _ranks(len(drawn), law.freedom)
    deviates = moved(normal, np.array(lean))
    deviation = np.interp(ndtr(deviates), rank, np.sort(drawn)) - point
    found: Array = np.sort(point + deviation * wider / law.factor)
    return found


@lru_cache(maxsize=64)
def _ranks(count: int, freedom: float) -> tuple[Array, Array, Array]:
    """Ranks [B], their normal quantiles, and how many times as far out Student's lie."""
    from scipy.special import ndtri, stdtrit

    rank = (np.arange(count) + 0.5) / count
    normal = ndtri(rank)
    middle = np.abs(normal) < 1e-9
    wider = stdtrit(freedom, rank) / np.where(middle, 1.0, normal)
    wider[middle] = 1.0
    return rank, normal, wider


def block_law(n: int, block: int) -> TDistribution:
    """Law of a statistic whose spread is that of circular blocks: they see ``1 - block / n``."""
    return TDistribution(
        n=n,
        lag=block - 1,
        factor=math.sqrt(1 - block / n),
        freedom=min(float(n - 1), 1.5 * n / block),
    )
