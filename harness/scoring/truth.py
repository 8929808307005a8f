"""What came, and what was known at each origin; the same for every arm on a dataset.

Shapes: W windows, H steps.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.window import Array, Dates, Rows, Series, Windows

Flags = npt.NDArray[np.bool_]
VOLATILITY_SESSIONS = 20
"""Changes the trailing volatility is made of: a trading month."""
DRAWDOWN_SESSIONS = 250
"""Sessions whose highest value the drawdown is measured from: a trading year."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What came, and what it is scaled by; the same for every arm on a dataset.

    Attributes
    ----------
    dataset
        Id of the dataset.
    origin : [W]
        Row of the first session not seen.
    origin_date : [W]
        Date of that row, `datetime64[D]`.
    step : [H]
        Sessions ahead of the last one seen, 1-based: with a gap of g the first is g + 1.
    values : [W, H]
        What came.
    last : [W]
        Last value seen.
    naive_scale : [W]
        Mean absolute one-session change before the origin (the denominator of MASE).
    naive_square : [W], optional
        Mean squared one-session change before the origin (the denominator of RMSSE).
    volatility : [W], optional
        Root mean square of the last `VOLATILITY_SESSIONS` changes over the last value seen; NaN
        where that is 0.
    drawdown : [W], optional
        How far the last value seen lies below the highest of the last `DRAWDOWN_SESSIONS`, as a
        share of that; NaN where that is not above 0.
    """

    dataset: str
    origin: Rows
    origin_date: Dates
    step: Rows
    values: Array
    last: Array
    naive_scale: Array
    naive_square: Array | None = None
    volatility: Array | None = None
    drawdown: Array | None = None

    @classmethod
    def of(cls, dataset: str, series: Series, windows: Windows) -> Truth:
        """Read what came off the whole series."""
        change = np.diff(series.target)
        seen = windows.origin - 1  # the last row that is seen
        last = series.target[seen]
        return cls(
            dataset=dataset,
            origin=windows.origin,
            origin_date=series.dates[windows.origin],
            step=windows.gap + 1 + np.arange(windows.horizon, dtype=np.int64),
            values=series.target[windows.judged],
            last=last,
            naive_scale=_trailing_mean(np.abs(change), seen),
            naive_square=_trailing_mean(change**2, seen),
            volatility=_volatility(change, seen, last),
            drawdown=_drawdown(series.target, seen),
        )

    @property
    def digest(self) -> str:
        """Hash of everything a score depends on besides the forecast; not of name or row order."""
        order = np.argsort(self.origin, kind="stable")
        content = hashlib.sha256(str(self.values.shape).encode())
        for rows in (self.step, self.origin[order], self.origin_date[order]):
            whole = rows.astype("datetime64[D]") if rows.dtype.kind == "M" else rows
            content.update(np.ascontiguousarray(whole).astype("<i8").tobytes())
        known = (self.naive_square, self.volatility, self.drawdown)
        for numbers in (self.values, self.last, self.naive_scale, *known):
            given = b"" if numbers is None else np.ascontiguousarray(numbers[order], dtype="<f8")
            content.update(bytes(given))
        return content.hexdigest()


def _trailing_mean(changes: Array, seen: Rows) -> Array:
    """Mean of all changes up to each row seen, [W]."""
    so_far = np.concatenate([[0.0], np.cumsum(changes)])
    mean: Array = so_far[seen] / np.maximum(seen, 1)
    return mean


def _volatility(change: Array, seen: Rows, last: Array) -> Array:
    """Root mean square of the last changes up to each row seen, over the value there, [W]."""
    size = np.array(
        [np.sqrt(np.mean(change[max(0, row - VOLATILITY_SESSIONS) : row] ** 2)) for row in seen]
    )
    relative: Array = size / np.where(last != 0, np.abs(last), np.nan)
    return relative


def _drawdown(target: Array, seen: Rows) -> Array:
    """Share by which each row seen lies below the highest value of the last sessions, [W]."""
    high = np.array([target[max(0, row + 1 - DRAWDOWN_SESSIONS) : row + 1].max() for row in seen])
    share: Array = 1 - target[seen] / np.where(high > 0, high, np.nan)
    return share
