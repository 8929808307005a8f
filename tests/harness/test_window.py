"""Plans, windows and contexts."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigError
from harness.forecast import LEVELS
from harness.window import RollingOrigin, context_at, contexts_at, up_to


def days(count):
    return np.datetime64("2000-01-03") + np.arange(count)


@given(
    horizon=st.integers(1, 40),
    origins=st.integers(1, 40),
    stride=st.integers(1, 40),
    gap=st.integers(0, 10),
    extra=st.integers(0, 300),
    validation=st.integers(0, 50),
)
def test_counted_back_windows_end_with_the_data(horizon, origins, stride, gap, extra, validation):
    """No window is judged on what it sees, and the last judged session is the last there is."""
    length = validation + 2 + (origins - 1) * stride + gap + horizon + extra
    plan = RollingOrigin(
        horizon=horizon, origins=origins, stride=stride, gap=gap, validation=validation
    )

    windows = plan.over(days(length))

    assert len(windows) == origins
    assert windows.judged.max() == length - 1
    assert windows.judged.min() == windows.origin[0] + gap
    assert (np.diff(windows.origin) == stride).all()


@given(horizon=st.integers(1, 30), stride=st.integers(1, 30), extra=st.integers(0, 200))
def test_open_ended_plan_scores_every_origin_once(horizon, stride, extra):
    """Without a count, every origin whose steps all exist is taken, the last one included."""
    length = 100 + horizon + extra
    plan = RollingOrigin(horizon=horizon, stride=stride, first=100, validation=10)

    windows = plan.over(days(length))

    assert len(set(windows.origin.tolist())) == len(windows)
    assert windows.origin[-1] + horizon <= length < windows.origin[-1] + stride + horizon


def test_first_by_date_is_the_first_session_not_seen():
    """A date that is no session starts at the next one."""
    dates = np.array(["2020-01-02", "2020-01-03", "2020-01-06", "2020-01-07"], dtype="M8[D]")
    plan = RollingOrigin(horizon=1, stride=1, first="2020-01-04", validation=0)

    assert plan.over(dates).origin.tolist() == [2, 3]


def test_negative_first_counts_from_the_end():
    """A negative row is counted from the end."""
    plan = RollingOrigin(horizon=2, stride=2, first=-6, validation=0)

    assert plan.over(days(100)).origin.tolist() == [94, 96, 98]


@pytest.mark.parametrize(
    ("refit", "expected"), [(None, [0] * 7), (1, [0, 1, 2, 3, 4, 5, 6]), (3, [0, 0, 0, 3, 3, 3, 6])]
)
def test_refit_policy_says_which_fit_serves_a_window(refit, expected):
    """A window is served by the last fit at or before its origin."""
    plan = RollingOrigin(horizon=5, stride=5, origins=7, validation=10, refit=refit)

    windows = plan.over(days(200))

    assert windows.fitted_at.tolist() == [int(windows.origin[i]) for i in expected]
    assert [part.start for _, part in windows.segments()] == sorted(set(expected))
    assert sum(part.stop - part.start for _, part in windows.segments()) == 7


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"origins": 1000}, "has 300 sessions; 1000 origins every 10, .* need 10022"),
        ({"horizon": 500}, "does not fit"),
        ({"first": 290, "origins": 50}, "does not fit"),
        ({"first": 5}, "must lie before it"),
        ({"first": "soon"}, "expected a date"),
        ({"first": "2031-01-01"}, "first = '2031-01-01': the data ends on 20"),
        ({"horizon": 10**22}, "expected at most 10,000,000"),
        ({"horizon": 0, "stride": -1}, "horizon = 0: .* more; stride = -1: .* more"),
        ({"origins": 0}, "expected 1 or more"),
        ({"stride": 0}, "expected 1 or more"),
        ({"origins": None}, "needs `first`"),
    ],
)
def test_plan_that_does_not_fit_is_refused(change, words):
    """A plan the data cannot carry is one clear error, never a shorter plan."""
    base = {"horizon": 10, "stride": 10, "origins": 5, "validation": 20}

    with pytest.raises(ConfigError, match=words):
        RollingOrigin(**(base | change)).over(days(300))


def test_contexts_end_at_their_origins(series):
    """The last row of each context is the session before its origin, and nothing owns more."""
    plan = RollingOrigin(horizon=5, stride=50, origins=6, validation=50)
    windows = plan.over(series.dates)

    contexts = contexts_at(series, windows.origin, plan=plan, length=40, levels=LEVELS)

    for row, origin in enumerate(windows.origin.tolist()):
        assert contexts.dates[row, -1] == series.dates[origin - 1]
        assert np.array_equal(contexts.target[row], series.target[origin - 40 : origin])
        assert np.array_equal(contexts.past[row], series.past[origin - 40 : origin])
    assert contexts.target.base is None or contexts.target.base.shape[-1] <= 40


def test_short_history_is_padded_in_front(series):
    """Where less history exists than asked for, the front is NaN and the length says so."""
    plan = RollingOrigin(horizon=5, stride=200, origins=3, validation=50)
    origins = plan.over(series.dates).origin

    contexts = contexts_at(series, origins, plan=plan, length=300, levels=LEVELS)

    assert contexts.length.tolist() == [195, 300, 300]
    assert np.isnan(contexts.target[0, :105]).all()
    assert np.isnat(contexts.dates[0, :105]).all()
    assert np.array_equal(contexts.target[0, 105:], series.target[:195])


def test_sliding_history_limits_what_is_seen(series):
    """With a history of n sessions neither a fit nor a forecast sees more."""
    plan = RollingOrigin(horizon=5, stride=50, origins=4, validation=50, history=120)
    windows = plan.over(series.dates)

    fit = context_at(series, int(windows.origin[0]), plan=plan)
    contexts = contexts_at(series, windows.origin, plan=plan, length=None, levels=LEVELS)

    assert len(fit) == 120
    assert contexts.target.shape == (4, 120)


def test_contexts_are_read_only(series):
    """An arm cannot change what another arm will see."""
    plan = RollingOrigin(horizon=5, stride=50, origins=4, validation=50)
    contexts = contexts_at(
        series, plan.over(series.dates).origin, plan=plan, length=40, levels=LEVELS
    )

    with pytest.raises(ValueError, match="read-only"):
        contexts.target[0, 0] = 1.0


def test_context_does_not_hold_the_future(series):
    """Changing every value at and after the origin changes nothing in a context."""
    plan = RollingOrigin(horizon=5, stride=50, origins=1, validation=50)
    origin = plan.over(series.dates).origin
    other = series.target.copy()
    other[origin[0] :] = -1.0
    changed = dataclasses.replace(series, target=other)

    before = contexts_at(series, origin, plan=plan, length=None, levels=LEVELS)
    after = contexts_at(changed, origin, plan=plan, length=None, levels=LEVELS)

    assert np.array_equal(before.target, after.target)
    assert len(up_to(series, int(origin[0]))) == origin[0]


def test_future_dates_come_from_the_calendar_alone(series):
    """Future dates are the next days the weekmask opens on, whatever the data say."""
    plan = RollingOrigin(horizon=6, stride=50, origins=2, validation=50)
    contexts = contexts_at(
        series, plan.over(series.dates).origin, plan=plan, length=10, levels=LEVELS
    )

    weekday = (contexts.future_dates.astype(np.int64) - 4) % 7

    assert (contexts.future_dates[:, 0] > contexts.dates[:, -1]).all()
    assert (np.diff(contexts.future_dates, axis=1) > np.timedelta64(0, "D")).all()
    assert (weekday < 5).all()
