"""The seven input channels of the legacy models, from past prices alone, and calendar marks.

Every channel at a session uses that session and earlier ones, at most `WARM_UP` back. The target
comes first, as the legacy pipeline orders its columns.

1. log price
2. log return over 1 session
3. log return over 5 sessions
4. log return over 20 sessions
5. standard deviation of the last 20 one-session log returns
6. log price minus its mean over the last 20 sessions
7. place of the log price in the range of the last 20 sessions, 0 to 1 (0.5 in a flat range)
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from harness.window import Array, Dates

WARM_UP = 20
"""Sessions before the first one that has all channels."""

CHANNELS = 7


def channels(price: Array) -> Array:
    """Compute the channels.

    Parameters
    ----------
    price : [..., T]
        Positive prices in time order, T > 20.

    Returns
    -------
    [..., T - 20, 7]
        NaN wherever a price it needs is NaN.
    """
    log = np.log(price)
    returns = np.diff(log, axis=-1)  # [..., T - 1]
    now = log[..., WARM_UP:]
    month = sliding_window_view(log, WARM_UP, axis=-1)[..., 1:, :]  # [..., T - 20, 20]
    shocks = sliding_window_view(returns, WARM_UP, axis=-1)
    low, high = month.min(axis=-1), month.max(axis=-1)
    flat = high == low
    return np.stack(
        [
            now,
            returns[..., WARM_UP - 1 :],
            now - log[..., WARM_UP - 5 : -5],
            now - log[..., :-WARM_UP],
            shocks.std(axis=-1),
            now - month.mean(axis=-1),
            np.where(flat, 0.5, (now - low) / np.where(flat, 1.0, high - low)),
        ],
        axis=-1,
    )


def daily_marks(dates: Dates) -> Array:
    """Calendar features of daily data (`timeF`, frequency d), each in [-0.5, 0.5].

    Parameters
    ----------
    dates : [...]
        `datetime64[D]`, without NaT.

    Returns
    -------
    [..., 3]
        Day of the week, of the month and of the year.
    """
    days = dates.astype("datetime64[D]")
    month = days.astype("datetime64[M]")
    year = days.astype("datetime64[Y]")
    weekday = (days.astype(np.int64) - 4) % 7  # 1970-01-05 was a Monday
    return np.stack(
        [
            weekday / 6 - 0.5,
            (days - month).astype(np.int64) / 30 - 0.5,
            (days - year).astype(np.int64) / 365 - 0.5,
        ],
        axis=-1,
    )
