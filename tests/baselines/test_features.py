"""The seven channels and the calendar marks."""

from datetime import date

import numpy as np

from baselines.features import CHANNELS, WARM_UP, channels, daily_marks


def test_channels_equal_a_plain_loop(series):
    """Every channel at a session is what its definition says, computed one by one."""
    price = series.target[:80]
    log = np.log(price)

    found = channels(price)

    for row in range(60):
        now = row + WARM_UP
        month = log[now - 19 : now + 1]
        shocks = np.diff(log[now - 20 : now + 1])
        expected = [
            log[now],
            log[now] - log[now - 1],
            log[now] - log[now - 5],
            log[now] - log[now - 20],
            shocks.std(),
            log[now] - month.mean(),
            (log[now] - month.min()) / (month.max() - month.min()),
        ]
        assert np.allclose(found[row], expected)
    assert found.shape == (60, CHANNELS)


def test_channels_use_the_past_only(series):
    """Changing later prices changes no earlier channel."""
    changed = series.target.copy()
    changed[100:] *= 2

    assert np.array_equal(channels(series.target)[: 100 - WARM_UP], channels(changed)[:80])


def test_batched_channels_equal_single_ones(series):
    """A batch of contexts gives what each context gives alone."""
    batch = np.stack([series.target[:60], series.target[100:160]])

    assert np.array_equal(channels(batch)[1], channels(batch[1]))


def test_flat_prices_have_a_place_in_their_range():
    """A range of zero puts the price in its middle, not at NaN."""
    assert (channels(np.full(50, 7.0))[:, 6] == 0.5).all()


def test_marks_equal_the_calendar():
    """Weekday, day of month and day of year, each scaled to -0.5 .. 0.5."""
    days = np.arange(np.datetime64("2019-12-25"), np.datetime64("2020-03-05"))

    found = daily_marks(days)

    for row, day in zip(found, days.astype(object), strict=True):
        assert isinstance(day, date)
        year_day = day.timetuple().tm_yday
        expected = [day.weekday() / 6, (day.day - 1) / 30, (year_day - 1) / 365]
        assert np.allclose(row + 0.5, expected)
