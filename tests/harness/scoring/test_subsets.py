"""Slices: the right windows and steps, from stored scores alone."""

import dataclasses

import numpy as np
import pytest
from scores_for_tests import truth_of as plain_truth

from harness.errors import ConfigError
from harness.forecast import Forecast
from harness.gate.stored_scores import read_scores, write_scores
from harness.scoring.scores import Truth, UnitScores, score
from harness.scoring.subsets import Slice, slice_named, slices_of
from harness.window import Array

W, H = 12, 6
DRAWDOWN = np.array([0.0, 0.3, 0.0, 0.05, 0.2, 0.4, 0.25, 0.1, 0.0, 0.3, 0.1, 0.0])


def truth_of(**changes: object) -> Truth:
    """Twelve windows over three years, the fourth to the seventh volatile."""
    given = {
        "origin": 100 + 90 * np.arange(W, dtype=np.int64),
        "origin_date": np.datetime64("2001-02-01", "D") + 90 * np.arange(W),
        "step": np.arange(2, 2 + H),
        "values": np.arange(W * H, dtype=float).reshape(W, H),
        "last": np.full(W, 10.0),
        "volatility": np.array([1.0, 2, 3, 10, 11, 12, 13, 4, 5, 6, 7, 8]) / 100,
        "drawdown": DRAWDOWN,
    }
    return plain_truth(W, H, **given | changes)


def unit_of(truth: Truth, reasons: list[str] | None = None) -> UnitScores:
    """A forecast of 0 everywhere, so that the absolute error is the actual."""
    forecast = Forecast.of_point(np.zeros((W, H)))
    return score(truth, forecast, arm="A", role="legacy", seed=1, reasons=reasons)


def members(found: Truth, name: str) -> list[int]:
    """Places of the windows of a slice."""
    mask = slice_named(found, name).windows
    assert mask is not None
    return np.flatnonzero(mask).tolist()


def test_slices_come_in_a_fixed_order() -> None:
    """Thirds of the steps, terciles of volatility, years, the worst drawdown."""
    names = [each.name for each in slices_of(truth_of())]

    assert names == [
        *("steps:2-3", "steps:4-5", "steps:6-7"),
        *("volatility:low", "volatility:mid", "volatility:high"),
        *("year:2001", "year:2002", "year:2003"),
        "drawdown:worst",
    ]


def test_volatility_and_years_divide_the_windows() -> None:
    """Every window is in one tercile and in one year."""
    truth = truth_of()

    for kind in ("volatility", "year"):
        found = [each.windows for each in slices_of(truth) if each.name.startswith(kind)]
        assert np.array_equal(np.sum(found, axis=0), np.ones(W))
    assert members(truth, "volatility:high") == [3, 4, 5, 6]
    assert members(truth, "volatility:low") == [0, 1, 2, 7]
    assert members(truth, "year:2003") == [8, 9, 10, 11]


def test_worst_drawdown_is_the_run_of_origins_around_the_deepest() -> None:
    """Origins in a row at least half as deep; another fall as deep as half is not in it."""
    found = slice_named(truth_of(), "drawdown:worst")

    assert members(truth_of(), "drawdown:worst") == [4, 5, 6]
    assert found.title == (
        "worst drawdown, 2002-01-27 to 2002-07-26 (up to 40 % below the year's high)"
    )


@pytest.mark.parametrize("source", ["truth", "scores", "stored", "reversed"])
def test_slices_are_the_same_from_truth_scores_and_store(tmp_path, source: str) -> None:
    """What is stored with the scores is enough, and the order of rows decides nothing."""
    truth = truth_of()
    unit = unit_of(truth)
    write_scores(tmp_path / "x.scores", unit)
    stored = read_scores(tmp_path / "x.scores", ("A", "legacy", "X", 1))
    back = truth.at(slice(None, None, -1))
    found = {"truth": truth, "scores": unit.truth, "stored": stored.truth, "reversed": back}

    origins = {
        each.name: sorted(found[source].origin[each.windows].tolist())
        for each in slices_of(found[source])
        if each.windows is not None
    }

    wanted = {
        each.name: truth.origin[each.windows].tolist()
        for each in slices_of(truth)
        if each.windows is not None
    }
    assert origins == wanted


def errors_in(unit: UnitScores, part: Slice) -> Array:
    """Mean absolute errors of a slice, by origin."""
    errors: Array = unit.at(part.rows, part.columns).values["absolute_error"].mean(axis=1)
    return errors


def test_a_slice_cuts_windows_and_steps() -> None:
    """Steps are counted from the last value seen: with a gap of 1 the first is step 2."""
    unit = unit_of(truth_of())
    cells = unit.values["absolute_error"]

    steps = errors_in(unit, slice_named(unit.truth, "steps:4-5"))
    both = dataclasses.replace(slice_named(unit.truth, "year:2003"), steps=unit.step == 7)

    assert np.array_equal(steps, cells[:, 2:4].mean(axis=1))
    assert np.array_equal(errors_in(unit, both), cells[8:, 5])


def test_a_failed_window_stays_in_its_slice() -> None:
    """Its loss is NaN there: a slice is not a way to lose a failure."""
    unit = unit_of(truth_of(), reasons=[""] * 4 + ["crash"] + [""] * 7)

    losses = errors_in(unit, slice_named(unit.truth, "volatility:high"))

    assert np.isnan(losses).tolist() == [False, True, False, False]


@pytest.mark.parametrize("name", ["volatility:huge", "year:1999", "steps:1-3", "steps:6-9", "x"])
def test_unknown_slices_are_refused_with_what_there_is(name: str) -> None:
    """A policy that names a slice without windows or steps is told which there are."""
    with pytest.raises(ConfigError, match=r"no slice .*volatility:low.* within 2-7") as refused:
        slice_named(truth_of(), name)

    assert f"'{name}'" in str(refused.value)


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        ({"volatility": None}, "volatility"),
        ({"drawdown": None}, "drawdown"),
        ({"drawdown": np.zeros(W)}, "drawdown"),
        ({"volatility": np.full(W, np.nan)}, "volatility"),
    ],
)
def test_what_is_not_known_makes_no_slice(change: dict[str, object], gone: str) -> None:
    """No volatility, or no drawdown at all: no slice of it, and the others are there."""
    kinds = {each.name.partition(":")[0] for each in slices_of(truth_of(**change))}

    assert kinds == {"steps", "year", "volatility", "drawdown"} - {gone}


def test_equal_volatilities_are_one_slice() -> None:
    """Without a difference there is nothing to divide by; no window is lost."""
    truth = truth_of(volatility=np.full(W, 0.01))

    assert members(truth, "volatility:low") == list(range(W))
    assert "volatility:high" not in [each.name for each in slices_of(truth)]
