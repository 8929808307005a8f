"""Progress lines and their estimates."""

import io
from types import SimpleNamespace

import pytest

from harness.verbs import progress
from harness.verbs.progress import LineProgress


def cell(arm, key):
    return SimpleNamespace(kind=arm, key=key)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is moved."""
    hand = SimpleNamespace(now=100.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: hand.now)
    return hand


def started(cells, workers=1):
    progress = LineProgress(stream=io.StringIO(), workers=workers)
    progress.begin(cells, done=0)
    return progress


def test_estimate_is_the_mean_of_the_arms_finished_units(clock):
    """Two more units of an arm that took 10 s each are 20 s on one worker, 10 s on two."""
    for workers, text in ((1, "about 20 s left"), (2, "about 10 s left")):
        progress = started([cell("a", "1"), cell("a", "2"), cell("a", "3")], workers)
        progress.ended(cell("a", "1"), 10.0, failed=0, reason="")
        assert text in progress.stream.getvalue()


def test_fits_say_nothing_about_nights_that_go_on(clock):
    """A fit that took long is no measure of forecasts from a kept fit of the same arm."""
    progress = started([cell("a fit", "1"), cell("a forecast", "2"), cell("a forecast", "3")])
    progress.ended(cell("a fit", "1"), 1000.0, failed=0, reason="")
    progress.ended(cell("a forecast", "2"), 2.0, failed=0, reason="")

    assert "about 2 s left" in progress.stream.getvalue().splitlines()[-1]


def test_quick_arms_say_nothing_about_slow_ones(clock):
    """An arm without a finished unit makes the estimate a lower bound, never 0 s left."""
    slow = cell("slow", "2")
    progress = started([cell("quick", "1"), slow, cell("slow", "3")])
    progress.ended(cell("quick", "1"), 0.5, failed=0, reason="")
    progress.started(slow)
    clock.now += 40

    progress.tick({"2": 0.0})

    last = progress.stream.getvalue().splitlines()[-1]
    assert "at least 40 s left" in last
    assert "about 0 s" not in last


def test_share_of_windows_gives_an_estimate(clock):
    """A unit that did a quarter of its windows in 40 s has two minutes to go."""
    slow = cell("slow", "2")
    progress = started([slow])
    progress.started(slow)
    clock.now += 40

    progress.tick({"2": 0.25})

    assert "about 2 min 00 s left" in progress.stream.getvalue().splitlines()[-1]


def test_failure_is_spelled_out(clock):
    """A unit with failed windows, or one that was stopped, does not read as ok."""
    progress = started([cell("a", "1"), cell("a", "2")])
    progress.ended(cell("a", "1"), 1.0, failed=3, reason="no luck")
    progress.ended(cell("a", "2"), 1.0, failed=9, reason="stopped after 5 s")

    lines = progress.stream.getvalue().splitlines()
    assert "3 windows FAILED (no luck)" in lines[1]
    assert "stopped after 5 s" in lines[2]


def test_a_window_to_come_has_not_failed_yet(clock):
    """Where only windows whose outcome is to come lack a forecast, nothing has failed."""
    progress = started([cell("a", "1"), cell("a", "2")])
    progress.ended(cell("a", "1"), 1.0, failed=0, reason="no record", pending=1)
    progress.ended(cell("a", "2"), 1.0, failed=1, reason="no luck", pending=1)

    lines = progress.stream.getvalue().splitlines()
    assert ": ok, no forecast for 1 window to come (no record), 1.0 s" in lines[1]
    assert ": 1 window FAILED (no luck), 1.0 s" in lines[2]


def test_units_are_not_looked_through_each_time_one_ends():
    """An estimate asks a unit for its kind when it begins and ends, however many there are."""
    asked = []

    class Counted(SimpleNamespace):
        @property
        def kind(self):
            asked.append(self.key)
            return self.key[0]

    cells = [Counted(key=f"{number % 7}-{number}") for number in range(200)]
    progress = started(cells)
    for each in cells:
        progress.started(each)
        progress.ended(each, 1.0, failed=0, reason="")

    assert len(asked) <= 10 * len(cells)
