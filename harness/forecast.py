"""What an arm answers, and how answers of different forms are put on one footing.

Shapes: W windows, H steps, q levels of the arm, Q levels of the common grid, M samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import ForecastError
from harness.kernels import quantiles_of_samples
from harness.window import Array

_LOWER = (0.01, 0.025, 0.05, 0.1, 0.16, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45)
_UPPER = (0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.84, 0.9, 0.95, 0.975, 0.99)
LEVELS: Array = np.array([*_LOWER, 0.5, *_UPPER])
"""The common grid: every forecast is scored on these levels, whatever it was given on."""
LEVELS.flags.writeable = False
_STEPS = np.diff([0.0, *LEVELS, 1.0])
WEIGHTS: Array = (_STEPS[1:] + _STEPS[:-1]) / 2
"""Weights of the common grid: the trapezoid rule over 0 .. 1 for what is 0 at both ends."""
WEIGHTS.flags.writeable = False
ANSWERED = "the fallback answered: "
"""Starts the reason of a window that the arm's fallback answered."""


LARGEST = 1e30
"""A forecast beyond this is as good as infinite: squares and sums of it overflow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A point path and, where the arm has one, a predictive distribution.

    One of `quantiles`, `samples` and `deviation` may be given; with none, the harness adds a
    distribution from the arm's own residuals on the validation span and says so.

    Attributes
    ----------
    point : [W, H]
        Point path. NaN marks a window the arm could not do; what is masked, here or below, is NaN.
    levels : [q]
        Strictly increasing, inside (0, 1); empty without quantiles.
    quantiles : [W, H, q], optional
    samples : [W, M, H], optional
    deviation : [W, H], optional
        Standard deviation of a normal distribution around the point path.
    fallback
        W texts: why another arm answered a window, '' where the arm itself did. Empty when no
        other arm ever answers for it.

    Raises
    ------
    ForecastError
        When shapes or levels do not fit together. Values are not judged here: a window that is
        not finite becomes a failed attempt, crossings are counted when scored.
    """

    point: Array
    levels: Array
    quantiles: Array | None = None
    samples: Array | None = None
    deviation: Array | None = None
    fallback: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("point", "quantiles", "samples", "deviation"):
            object.__setattr__(self, name, _unmasked(getattr(self, name)))
        if self.point.ndim != 2:
            raise ForecastError(f"point path has shape {self.point.shape}, expected [W, H]")
        if len(self._given) > 1:
            raise ForecastError(f"a forecast has {' or '.join(self._given)}, not both")
        if self.fallback and len(self.fallback) != len(self.point):
            raise ForecastError(
                f"fallback has {len(self.fallback)} reasons for {len(self.point)} windows"
            )
        self._check_levels()
        windows, steps = self.point.shape
        if self.quantiles is not None:
            _expect_shape("quantiles", self.quantiles, (windows, steps, len(self.levels)))
        if self.samples is not None:
            _expect_shape("samples", self.samples, (windows, max(2, self.samples.shape[1]), steps))
        if self.deviation is not None:
            _expect_shape("deviations", self.deviation, (windows, steps))

    @property
    def _given(self) -> list[str]:
        names = ("quantiles", "samples", "deviation")
        return [name for name in names if getattr(self, name) is not None]

    def _check_levels(self) -> None:
        levels = self.levels
        if (self.quantiles is None) != (len(levels) == 0):
            raise ForecastError("levels and quantiles go together: one was given without the other")
        inside = bool(np.all((levels > 0) & (levels < 1)))
        if not inside or bool(np.any(np.diff(levels) <= 0)):
            raise ForecastError(f"levels {levels.tolist()} do not increase strictly inside (0, 1)")

    @classmethod
    def of_quantiles(cls, quantiles: Array, levels: Array, point: Array | None = None) -> Forecast:
        """Build from quantiles [W, H, q]; the point path is the median unless given."""
        if quantiles.ndim != 3:
            raise ForecastError(f"quantiles have shape {quantiles.shape}, expected [W, H, q]")
        if point is None:
            point = quantiles_at(quantiles, levels, np.array([0.5]))[..., 0]
        return cls(point=point, levels=levels, quantiles=quantiles)

    @classmethod
    def of_samples(cls, samples: Array, point: Array | None = None) -> Forecast:
        """Build from samples [W, M, H]; the point path is their mean unless given."""
        if samples.ndim != 3:
            raise ForecastError(f"samples have shape {samples.shape}, expected [W, M, H]")
        point = samples.mean(axis=1) if point is None else point
        return cls(point=point, levels=np.empty(0), samples=samples)

    @classmethod
    def of_gaussian(cls, mean: Array, deviation: Array) -> Forecast:
        """Build from means and standard deviations [W, H] of normal distributions."""
        return cls(point=mean, levels=np.empty(0), deviation=deviation)

    @classmethod
    def of_point(cls, point: Array) -> Forecast:
        """Build from a point path [W, H] alone."""
        return cls(point=point, levels=np.empty(0))

    def __len__(self) -> int:
        return len(self.point)

    @property
    def has_distribution(self) -> bool:
        """Whether there is more than a point path."""
        return bool(self._given)

    @property
    def finite(self) -> npt.NDArray[np.bool_]:
        """Which windows hold no NaN, no deviation below 0 and nothing beyond `LARGEST`, [W]."""
        fine: npt.NDArray[np.bool_] = np.asarray((np.abs(self.point) <= LARGEST).all(axis=1))
        for values in (self.quantiles, self.samples):
            if values is not None:
                fine &= (np.abs(values) <= LARGEST).all(axis=(1, 2))
        if self.deviation is not None:
            fine &= ((self.deviation >= 0) & (self.deviation <= LARGEST)).all(axis=1)
        return fine

    def steps(self, start: int) -> Forecast:
        """Leave out the steps before `start`, counted from 0."""
        return Forecast(
            point=self.point[:, start:],
            levels=self.levels,
            quantiles=None if self.quantiles is None else self.quantiles[:, start:],
            samples=None if self.samples is None else self.samples[:, :, start:],
            deviation=None if self.deviation is None else self.deviation[:, start:],
            fallback=self.fallback,
        )

    def at(self, wanted: Array) -> Array:
        """Quantiles [W, H, Q] at any levels [Q], in order, whatever form the forecast has.

        Raises
        ------
        ForecastError
            When it is a point path alone.
        """
        if self.quantiles is not None:
            return quantiles_at(np.sort(self.quantiles, axis=-1), self.levels, wanted)
        if self.samples is not None:
            ordered = np.sort(np.moveaxis(self.samples, 1, -1), axis=-1)
            return np.moveaxis(quantiles_of_samples(ordered, wanted)[0], 0, -1)
        if self.deviation is not None:
            return self.point[..., None] + self.deviation[..., None] * normal_scores(wanted)
        raise ForecastError("a point path alone has no quantiles")


def _unmasked(values: Any) -> Any:
    """The same with NaN for what is masked: the number behind a mask is no forecast."""
    if isinstance(values, np.ma.MaskedArray):
        return np.ma.filled(values.astype(np.float64), np.nan)
    return values


def quantiles_at(quantiles: Array, levels: Array, wanted: Array) -> Array:
    """Read quantiles at other levels.

    Straight lines between neighbouring quantiles on the scale of standard normal scores; beyond
    the outermost levels the line through the two outermost quantiles goes on. A normal
    distribution is reproduced exactly from any two of its quantiles. One level alone is repeated.

    Parameters
    ----------
    quantiles : [..., q]
        Not decreasing along the last axis.
    levels : [q]
    wanted : [Q]

    Returns
    -------
    [..., Q]
        NaN wherever one of the quantiles is not finite.
    """
    if len(levels) == len(wanted) and np.allclose(levels, wanted, rtol=0, atol=1e-9):
        return quantiles
    with np.errstate(invalid="ignore"):  # infinity times a weight of 0
        return quantiles @ _level_weights(levels, wanted)


def extrapolated(levels: Array, wanted: Array) -> int:
    """How many of `wanted` lie outside the range of `levels`."""
    return int(np.sum((wanted < levels[0] - 1e-9) | (wanted > levels[-1] + 1e-9)))


def normal_scores(levels: Array) -> Array:
    """Quantiles of the standard normal distribution at levels [Q]."""
    return np.array([NormalDist().inv_cdf(level) for level in levels.tolist()])


def _level_weights(levels: Array, wanted: Array) -> Array:
    """Weights [q, Q] of the linear map from quantiles at `levels` to quantiles at `wanted`."""
    weights = np.zeros((len(levels), len(wanted)))
    if len(levels) == 1:
        return weights + 1.0
    score = normal_scores(levels)
    for column, level in enumerate(wanted.tolist()):
        same = np.flatnonzero(np.abs(levels - level) < 1e-9)
        if len(same):
            weights[same[0], column] = 1.0
            continue
        left = int(np.clip(np.searchsorted(levels, level) - 1, 0, len(levels) - 2))
        share = (NormalDist().inv_cdf(level) - score[left]) / (score[left + 1] - score[left])
        weights[left, column] = 1.0 - share
        weights[left + 1, column] = share
    return weights


def _expect_shape(name: str, values: Array, shape: tuple[int, ...]) -> None:
    if values.shape != shape:
        raise ForecastError(f"{name} have shape {values.shape}, expected {shape}")
