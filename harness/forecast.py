"""What an arm answers, and how answers of different forms are put on one footing.

Shapes: W windows, H steps, q levels of the arm, Q levels of the common grid, M samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from harness.errors import ForecastError
from harness.window import Array

_ROWS = 512
"""Rows of samples that are read at a time."""
LEAST_MEMBERS = 10
"""Fewer samples than this say too little of a distribution."""


def quantiles_of_samples(samples: Array, levels: Array) -> tuple[Array, int]:
    """Quantiles of sorted samples, and how many levels lie beyond the samples.

    The median-unbiased rule: level u lies at rank ``(M + 1/3) u + 1/3``, with straight lines
    between ranks; beyond the outermost sample that sample is repeated. Source: Hyndman and Fan
    (1996), definition 8.

    Parameters
    ----------
    samples : [W, H, M]
    levels : [Q]

    Returns
    -------
    [Q, W, H] and a count
    """
    count = samples.shape[-1]
    rank = (count + 1 / 3) * levels + 1 / 3 - 1  # from 0
    inside = np.clip(rank, 0, count - 1)
    left = np.minimum(inside.astype(np.int64), count - 2)
    share = inside - left
    rows = samples.reshape(-1, count)
    found = np.empty((len(levels), len(rows)))
    for start in range(0, len(rows), _ROWS):
        drawn = rows[start : start + _ROWS]
        low, high = drawn[:, left], drawn[:, left + 1]  # [n, Q]
        found[:, start : start + _ROWS] = (low * (1 - share) + high * share).T
    return found.reshape(len(levels), *samples.shape[:-1]), int(np.sum(rank != inside))


_LOWER = (0.01, 0.025, 0.05, 0.1, 0.16, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45)
_UPPER = (0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.84, 0.9, 0.95, 0.975, 0.99)
LEVELS: Array = np.array([*_LOWER, 0.5, *_UPPER])
"""The common grid: every forecast is scored on these levels, whatever it was given on."""
LEVELS.flags.writeable = False
ANSWERED = "the fallback answered: "
"""Starts the reason of a window that the arm's fallback answered."""


_PRECISION = {"float16": 2.5e-4, "bfloat16": 2e-3}
"""Half the spacing of coarse numbers between 0.5 and 1; of single precision where not named."""

_FALLS = 0.25
"""No model's quantiles cross this often; those of which steps were taken for levels do."""

Numbers = Any
"""What is read as an array of numbers: of numpy, nested lists or tuples, a tensor."""

LARGEST = 1e30
"""A forecast beyond this is as good as infinite: squares and sums of it overflow."""


Form = Literal["quantiles", "samples", "draws", "gaussian", "none"]
"""How a distribution is given; draws are samples that were declared exchangeable."""


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
    exchangeable
        The samples are declared to be independent draws.

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
    exchangeable: bool = False

    def __post_init__(self) -> None:
        for name in ("point", "quantiles", "samples", "deviation"):
            if getattr(self, name) is not None or name == "point":
                object.__setattr__(self, name, numbers_in(name, getattr(self, name)))
        object.__setattr__(self, "levels", levels_in(self.levels))
        if self.point.ndim != 2:
            raise ForecastError(f"point path has shape {self.point.shape}, expected [W, H]")
        if len(self._given) > 1:
            raise ForecastError(f"a forecast has {' or '.join(self._given)}, not both")
        if self.fallback and len(self.fallback) != len(self.point):
            raise ForecastError(
                f"fallback has {len(self.fallback)} reasons for {len(self.point)} windows"
            )
        if (self.quantiles is None) != (len(self.levels) == 0):
            raise ForecastError("levels and quantiles go together: one was given without the other")
        windows, steps = self.point.shape
        if self.quantiles is not None:
            _refuse_swapped(self.quantiles, len(self.levels))
            _expect_shape("quantiles", self.quantiles, (windows, steps, len(self.levels)))
        if self.samples is not None:
            _expect_shape("samples", self.samples, (windows, max(2, self.samples.shape[1]), steps))
        if self.deviation is not None:
            _expect_shape("deviations", self.deviation, (windows, steps))

    @property
    def _given(self) -> list[str]:
        names = ("quantiles", "samples", "deviation")
        return [name for name in names if getattr(self, name) is not None]

    @classmethod
    def of_quantiles(
        cls, quantiles: Numbers, levels: Numbers, point: Numbers | None = None
    ) -> Forecast:
        """Build from quantiles [W, H, q]; the point path is the median unless given.

        Like the other constructors it takes arrays of any precision, nested lists, and tensors.
        Levels in per cent are understood where they can mean nothing else.

        Raises
        ------
        ForecastError
            When shapes do not fit, or the last two axes are in the wrong order.
        """
        values, own = numbers_in("quantiles", quantiles), levels_in(levels)
        _refuse_swapped(values, len(own))
        if point is None:
            point = quantiles_at(values, own, np.array([0.5]))[..., 0]
        return cls(point=numbers_in("point", point), levels=own, quantiles=values)

    @classmethod
    def of_samples(
        cls, samples: Numbers, point: Numbers | None = None, *, exchangeable: bool = False
    ) -> Forecast:
        """Build from samples [W, M, H]; the point path is their mean unless given.

        Parameters
        ----------
        exchangeable
            They are independent draws. It is tested where they are scored; samples that are not
            declared so, or do not look it, are read as quantiles.
        """
        values = numbers_in("samples", samples)
        if values.ndim != 3:
            raise ForecastError(f"samples have shape {values.shape}, expected [W, M, H]")
        path = values.mean(axis=1) if point is None else numbers_in("point", point)
        return cls(point=path, levels=np.empty(0), samples=values, exchangeable=exchangeable)

    @classmethod
    def of_gaussian(cls, mean: Numbers, deviation: Numbers) -> Forecast:
        """Build from means and standard deviations [W, H] of normal distributions."""
        middle, spread = numbers_in("mean", mean), numbers_in("deviation", deviation)
        return cls(point=middle, levels=np.empty(0), deviation=spread)

    @classmethod
    def of_point(cls, point: Numbers) -> Forecast:
        """Build from a point path [W, H] alone."""
        return cls(point=numbers_in("point", point), levels=np.empty(0))

    def __len__(self) -> int:
        return len(self.point)

    @classmethod
    def of_form(
        cls,
        form: Form,
        *,
        point: Array,
        levels: Array,
        values: Array | None,
        fallback: tuple[str, ...],
    ) -> Forecast:
        """Build from what `form` and `distribution` gave of another one."""
        return cls(
            point=point,
            levels=levels,
            quantiles=values if form == "quantiles" else None,
            samples=values if form in ("samples", "draws") else None,
            deviation=values if form == "gaussian" else None,
            fallback=fallback,
            exchangeable=form == "draws",
        )

    @property
    def form(self) -> Form:
        """How the distribution is given."""
        if self.samples is not None:
            return "draws" if self.exchangeable else "samples"
        if self.quantiles is not None:
            return "quantiles"
        return "none" if self.deviation is None else "gaussian"

    @property
    def distribution(self) -> Array | None:
        """Quantiles [W, H, q], samples [W, M, H] or deviations [W, H]; None for a path alone."""
        given = (self.quantiles, self.samples, self.deviation)
        return next((values for values in given if values is not None), None)

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

    def expect_members(self) -> None:
        """Refuse fewer samples than `LEAST_MEMBERS`.

        Raises
        ------
        ForecastError
        """
        if self.samples is not None and self.samples.shape[1] < LEAST_MEMBERS:
            raise ForecastError(
                f"{self.samples.shape[1]} samples a window say too little of a distribution: "
                f"expected {LEAST_MEMBERS} or more, or quantiles with their levels"
            )

    def part(
        self, rows: slice | npt.NDArray[Any] = slice(None), steps: slice = slice(None)
    ) -> Forecast:
        """The same forecast of some windows and steps."""
        told = np.array(self.fallback, dtype=object)[rows].tolist() if self.fallback else ()
        return Forecast(
            point=self.point[rows][:, steps],
            levels=self.levels,
            quantiles=None if self.quantiles is None else self.quantiles[rows][:, steps],
            samples=None if self.samples is None else self.samples[rows][:, :, steps],
            deviation=None if self.deviation is None else self.deviation[rows][:, steps],
            fallback=tuple(told),
            exchangeable=self.exchangeable,
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


def numbers_in(name: str, values: Any) -> Array:
    """Double-precision numbers of an array, a nested list or a tensor of any framework.

    NaN stands for what is masked or None: the number behind a mask is not a forecast.

    Raises
    ------
    ForecastError
        When they are not numbers, or rows differ in length.
    """
    if isinstance(values, np.ma.MaskedArray):
        return np.ma.filled(values.astype(np.float64), np.nan)
    if hasattr(values, "detach"):  # a tensor of torch, maybe on a GPU and in a graph
        values = values.detach().cpu().double().numpy()
    elif isinstance(values, list | tuple):
        values = [numbers_in(name, x) if hasattr(x, "__len__") else x for x in values]
    try:
        found = np.asarray(values)
        if found.dtype.kind in "USMmVc":  # texts and dates would be read as numbers
            raise TypeError(f"found {found.dtype}")
        return found.astype(np.float64, copy=False)
    except (TypeError, ValueError) as problem:
        said = " ".join(str(problem).split())[:100]
        raise ForecastError(f"{name}: expected an array of numbers ({said})") from None


def levels_in(levels: Any) -> Array:
    """Levels [q] as they were meant: 0.1 where single precision made another of it, never per cent.

    Per cent are taken for granted where a level is above 1 and all are 1 or more, or lie evenly
    around 50.

    Raises
    ------
    ForecastError
        When they do not increase strictly inside (0, 1).
    """
    found = numbers_in("levels", levels).reshape(-1)
    if not len(found):
        return found
    if np.isfinite(found).all() and found.max() > 1:
        even = np.allclose(found + found[::-1], 100, rtol=0, atol=1e-3)
        if found.max() < 100 and (even or found.min() >= 1):
            found = found / 100
    precision = _PRECISION.get(str(getattr(levels, "dtype", "")).rpartition(".")[2], 2e-7)
    step = np.exp2(np.ceil(np.log2(np.maximum(found, 1e-9))))  # spacing grows with powers of two
    meant = found
    for digits in range(6, 1, -1):  # the shortest that single precision would make this number of
        rounded = np.round(found, digits)
        meant = np.where(np.abs(found - rounded) <= precision * step, rounded, meant)
    if not np.all((meant > 0) & (meant < 1)) or np.any(np.diff(meant) <= 0):
        raise ForecastError(
            f"levels {meant.tolist()} do not increase strictly inside (0, 1); per cent are "
            "understood where all are 1 or more, or lie evenly around 50"
        )
    return meant


def _refuse_swapped(values: Array, count: int) -> None:
    """Refuse quantiles [W, H, q] whose axes are in another order, by their shape or their rise."""
    if values.ndim != 3:
        raise ForecastError(f"quantiles have shape {values.shape}, expected [W, H, q]")
    first, second, third = values.shape
    if third != count and count in (first, second):
        swapped = second == count
        wanted = (first, third, count) if swapped else (second, third, count)
        said = "the last two axes look swapped" if swapped else "the axis of levels looks first"
        raise ForecastError(
            f"quantiles have shape {values.shape}, expected [W, H, q] = {wanted}: {said}"
        )
    if third != count:
        raise ForecastError(
            f"quantiles have shape {values.shape}, expected [W, H, q] with one for each of the "
            f"{count} levels"
        )
    if second == third == count and count > 2:
        falls = float(np.mean(np.diff(values, axis=2) < 0))
        upside_down = bool(np.mean(values[:, 0, -1] < values[:, 0, 0]) > 0.5)
        if (falls > _FALLS or upside_down) and not np.any(np.diff(values, axis=1) < 0):
            raise ForecastError(
                f"quantiles fall from one level to the next in {falls:.0%} of places, and never "
                "from one step to the next: expected [W, H, q], the last two axes look swapped"
            )


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
    weights: Array = np.full((len(levels), len(wanted)), float(len(levels) == 1))  # [q, Q]
    score = normal_scores(levels)
    for column, level in enumerate(wanted.tolist() if len(levels) > 1 else ()):
        same = np.flatnonzero(np.abs(levels - level) < 1e-9)
        if len(same):
            weights[same[0], column] = 1.0
            continue
        left = int(np.clip(np.searchsorted(levels, level) - 1, 0, len(levels) - 2))
        share = (NormalDist().inv_cdf(level) - score[left]) / (score[left + 1] - score[left])
        weights[left, column] = 1.0 - share
        weights[left + 1, column] = share
    with np.errstate(invalid="ignore"):  # infinity times a weight of 0
        return quantiles @ weights


def extrapolated(levels: Array, wanted: Array) -> int:
    """How many of `wanted` lie outside the range of `levels`."""
    return int(np.sum((wanted < levels[0] - 1e-9) | (wanted > levels[-1] + 1e-9)))


def normal_scores(levels: Array) -> Array:
    """Quantiles of the standard normal distribution at levels [Q]."""
    return np.array([NormalDist().inv_cdf(level) for level in levels.tolist()])


def _expect_shape(name: str, values: Array, shape: tuple[int, ...]) -> None:
    if values.shape != shape:
        raise ForecastError(f"{name} have shape {values.shape}, expected {shape}")
