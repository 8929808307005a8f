"""What is warned of in a series: jumps, ticks, filled days, shifted days; and what is not."""

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import pytest

from harness.data.dataset import BUILT_IN, load
from harness.data.manifest import calendar_of, season_of
from harness.data.oddities import oddities
from harness.window import Array, Series

Change = Callable[[Array], Array]


def series(target: Array, days: list[date], past: Array | None = None) -> Series:
    dates = np.array(days, dtype="datetime64[D]")
    return Series(
        dates=dates,
        target=target,
        past=np.empty((len(dates), 0)) if past is None else past[:, None],
        past_names=() if past is None else ("volume",),
        weekmask=calendar_of(dates),
        season=season_of(dates),
    )


def weekdays(count: int, *, without: tuple[int, ...] = (5, 6)) -> list[date]:
    days = (date(2023, 1, 2) + timedelta(row) for row in range(3 * count))
    return [day for day in days if day.weekday() not in without][:count]


def walk(count: int, *, scale: float = 0.01, seed: int = 1) -> Array:
    steps = np.random.default_rng(seed).normal(0, scale, count)
    return np.round(400 * np.exp(np.cumsum(steps)), 2)


def found(change: Change, days: list[date] | None = None) -> list[str]:
    days = days or weekdays(100)
    return oddities(series(change(walk(len(days))), days), lambda row: f"line {row + 2}")


def times(factor: float, start: int, stop: int | None = None) -> Change:
    def change(target: Array) -> Array:
        target[start:stop] *= factor
        return target

    return change


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILT_IN)
def test_the_built_in_data_are_not_odd(name: str) -> None:
    """October 1987, March 2020 and 320 repeated holidays are real: nothing is warned of."""
    assert oddities(load(name).series) == []


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("scale", [0.002, 0.01, 0.05])
def test_a_random_walk_is_not_odd(scale: float, seed: int) -> None:
    """Series of any volatility pass without a warning."""
    assert oddities(series(walk(300, scale=scale, seed=seed), weekdays(300))) == []


@pytest.mark.parametrize("factor", [0.01, 100, 10, 1000, 0.001])
def test_a_change_of_unit_is_found(factor: float) -> None:
    """The row, the power of ten and the option that undoes it are named."""
    (text,) = found(times(factor, 33))

    size = max(factor, 1 / factor)
    assert f"on {weekdays(100)[33]} (line 35), and prices stay about {size:g} times" in text
    assert f"--scale-from {weekdays(100)[33]} multiplies" in text


@pytest.mark.parametrize(
    ("factor", "undo"), [(0.5, "2"), (0.25, "4"), (8.0, "1/8"), (1.5, "1/1.5")]
)
def test_a_split_is_found(factor: float, undo: str) -> None:
    """A lasting change of level that is no power of ten is named with a plain factor."""
    (text,) = found(times(factor, 33))

    assert f"--scale-from {weekdays(100)[33]}={undo} would undo it" in text


@pytest.mark.parametrize("factor", [0.01, 0.5, 1.3, 10, 100])
@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_bad_tick_is_found(factor: float, length: int) -> None:
    """A move that is undone within three sessions is named with the sessions to drop."""
    (text,) = found(times(factor, 50, 50 + length))

    days = " ".join(f"--drop {day}" for day in weekdays(100)[50 : 50 + length])
    assert f"back {length} session" in text
    assert f"a bad tick? {days} leaves it out" in text


def test_many_jumps_are_counted() -> None:
    """A few are shown, all are counted."""

    def change(target: Array) -> Array:
        target[10::20] *= 100
        return target

    texts = found(change)

    assert len(texts) == 4
    assert texts[-1] == "5 moves like bad ticks in all"


def test_a_covariate_of_two_units_is_found() -> None:
    """Volume in thousands and then in pieces is named."""
    volume = np.exp(np.random.default_rng(2).normal(8, 0.3, 100))
    volume[40:] *= 1000

    (text,) = oddities(series(walk(100), weekdays(100), volume))

    assert text.startswith(
        f"covariate 'volume' is about 1000 times larger from {weekdays(100)[40]}"
    )


def filled(days: list[date], *, straight: bool) -> Array:
    """Prices on all days: weekends repeat Friday, or lie between Friday and Monday."""
    known = np.array([day.weekday() < 5 for day in days])
    prices = walk(len(days))
    rows = np.arange(len(days))
    if straight:
        return np.interp(rows, rows[known], prices[known])
    return prices[np.maximum.accumulate(np.where(known, rows, 0))]


@pytest.mark.parametrize(
    ("straight", "how"), [(False, "repeat the one before"), (True, "lie on a")]
)
def test_filled_weekends_are_found(straight: bool, how: str) -> None:
    """Weekends filled forward or by lines are named with the share and the option."""
    days = weekdays(140, without=())

    (text,) = oddities(series(filled(days, straight=straight), days))

    assert text.startswith(f"28.6 % of sessions are Saturdays and Sundays that {how}")
    assert "--drop-days Sat,Sun" in text


def test_sparser_data_filled_forward_are_found() -> None:
    """Weekly prices on every weekday are named, and a feed that stopped as well."""
    weekly = found(lambda target: np.repeat(target[::5], 5))
    stopped = found(lambda target: np.append(target[:88], np.full(12, target[87])))

    assert weekly[0].startswith("80.8 % of sessions repeat the one before, up to 4 in a row")
    assert stopped[0].startswith("the target stands still for 12 sessions from ")


@pytest.mark.parametrize(
    ("without", "start"),
    [
        ((4, 5), "20 sessions on Sundays, first 2023-01-08, in weeks without a Friday: "),
        ((0, 6), "20 sessions on Saturdays, first 2023-01-07, in weeks without a Monday: "),
        ((5,), "16 sessions on Sundays, first 2023-01-08, but none on Saturdays"),
    ],
)
def test_shifted_days_are_found(without: tuple[int, ...], start: str) -> None:
    """Weeks from Sunday or from Tuesday on are named, with both things they may be."""
    days = weekdays(100, without=without)

    (text,) = oddities(series(walk(100), days))

    assert text.startswith(start)


def test_days_that_shift_with_the_summer_are_found() -> None:
    """London's midnight is the evening before in UTC, from April to October only."""
    days = [day - timedelta(4 <= day.month <= 10) for day in weekdays(500)]

    (text,) = oddities(series(walk(500), sorted(set(days))[:500]))[-1:]

    assert "in weeks without a Friday: either" in text
    assert "one day early; --timezone" in text


def test_a_unit_switch_in_a_few_rows_is_found() -> None:
    """A 100-fold move needs no usual one beside it."""
    days = weekdays(4)

    assert "100 times smaller" in oddities(series(np.array([400, 401, 4.02, 4.03]), days))[0]


@pytest.mark.parametrize("step", [7, 30, 91])
def test_sparse_data_have_no_gaps(step: int) -> None:
    """A gap is one only beside the usual distance of sessions."""
    days = [date(2010, 1, 1) + timedelta(step * row) for row in range(60)]

    assert oddities(series(walk(60), days)) == []
    assert len(oddities(series(walk(57), days[:20] + days[23:]))) == 1
