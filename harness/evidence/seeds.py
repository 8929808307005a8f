"""Seeds as a second source of error, beside the origins.

Shapes: S seeds of one side, n origins, B resamples. The variance of the mean of a side is
``between seeds / S + long-run / n``: a retrained model is another draw from the seeds.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from harness.evidence.inference import Law, MeanRatio, circular_means
from harness.evidence.power_law import freedom_of
from harness.window import Array


def seed_variance(losses: Array) -> float:
    """Variance of the mean over seeds of losses [S, n]: that between seeds, over S; 0 for one.

    The variance between the seeds' means holds what they do differently on single origins as
    well, and so does the long-run variance: their sum errs on the wide side. Source: Owen (2007).
    """
    if len(losses) < 2:
        return 0.0
    return float(losses.mean(axis=1).var(ddof=1)) / len(losses)


def with_seeds(found: MeanRatio, above: Array, below: Array) -> MeanRatio:
    """Add the variance between seeds to that over origins, for sides [S, n] each.

    Degrees of freedom by Satterthwaite (1946), at the estimated ratio: two seeds say little of
    how seeds vary, and the interval says so.
    """
    ratio = found.above / found.below if found.below else 1.0
    above_v, below_v = seed_variance(above), seed_variance(below)
    seeds = [
        (variance, len(side) - 1.0)
        for variance, side in ((above_v, above), (ratio**2 * below_v, below))
        if variance > 0
    ]
    origins = found.variance(ratio) / (found.law.n * found.law.factor**2)
    freedom = freedom_of([(origins, found.law.freedom), *seeds])
    covariance = found.covariance / found.law.factor**2
    return dataclasses.replace(
        found,
        covariance=covariance + found.law.n * np.diag([above_v, below_v]),
        law=Law(n=found.law.n, lag=found.law.lag, factor=1.0, freedom=freedom),
    )


def resampled_means(
    losses: Array, starts: npt.NDArray[np.int64], block: int, generator: np.random.Generator
) -> Array:
    """Means [B] of one side [S, n] with seeds drawn with replacement and blocks of origins.

    Drawn seeds are set ``sqrt(S / (S - 1))`` times as far from their mean as they are, so that
    the resampled variance is that of `seed_variance` without bias. Source: Davison and Hinkley
    (1997), section 3.8.
    """
    means = circular_means(losses, starts, block)  # [S, B]
    count = len(losses)
    middle: Array = means.mean(axis=0)
    if count < 2:
        return middle
    drawn = generator.integers(count, size=(count, means.shape[1]))
    apart: Array = np.take_along_axis(means, drawn, axis=0).mean(axis=0) - middle
    return middle + math.sqrt(count / (count - 1)) * apart
