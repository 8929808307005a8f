"""Which windows are shown, and what is read of them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure

from reports.charts import _apart, number_axis
from reports.page_input import PageInput, fan, largest_losses, picks, relative_loss, span
from reports.sections.metric_tables import chance_range

Make = Callable[..., PageInput]


def test_worst_median_and_best_are_what_they_say(make_page: Make) -> None:
    """The three windows are the last, middle and first by the candidate's relative CRPS."""
    page = make_page()
    origin, loss = relative_loss(page.scores_of("chronos-512", "ALPHA"))
    ranked = origin[np.argsort(loss)]

    chosen = {pick.word: pick.origin for pick in picks(page, "ALPHA")}

    assert {"Worst": ranked[-1], "Median": ranked[9], "Best": ranked[0]} == chosen


def test_a_failed_window_is_never_best_or_worst(make_page: Make) -> None:
    """NaN is left out of the ranking, not sorted to one of its ends."""
    page = make_page(fail={"chronos-512": 4})
    failed = set(page.scores_of("chronos-512", "ALPHA")[0].origin[:4].tolist())

    assert all(pick.origin not in failed for pick in picks(page, "ALPHA"))
    assert all(math.isfinite(pick.candidate_loss) for pick in picks(page, "ALPHA"))


def test_largest_losses_are_those_against_the_legacy_arm(make_page: Make) -> None:
    """Gravest first, and only windows the candidate really lost."""
    found = largest_losses(make_page(), "BETA")
    gaps = [pick.candidate_loss - (pick.legacy_loss or 0) for pick in found]

    assert gaps == sorted(gaps, reverse=True)
    assert all(gap > 0 for gap in gaps)


def test_a_span_ends_where_the_judged_steps_end(make_page: Make) -> None:
    """What was seen ends before the origin, what came has the horizon's length."""
    facts = make_page().datasets["ALPHA"]
    found = span(facts, 400)

    assert found is not None
    assert found.seen_dates[-1] == facts.dates[399]
    assert found.dates.tolist() == facts.dates[400:406].tolist()
    assert span(facts, len(facts.target)) is None


def test_a_fan_is_read_by_origin_not_by_place(make_page: Make) -> None:
    """Rows in another order give the same forecast; a failed one gives none."""
    page = make_page(fail={"chronos-512": 1})
    unit = page.answers["chronos-512", "ALPHA", 1]

    found = fan(page, "chronos-512", "ALPHA", int(unit.origin[5]))

    assert found is not None
    assert found.point.tolist() == unit.forecast.point[5].tolist()
    assert fan(page, "chronos-512", "ALPHA", int(unit.origin[0])) is None
    assert fan(page, "chronos-512", "ALPHA", -1) is None


@pytest.mark.parametrize(("level", "count"), [(0.5, 10), (0.8, 48), (0.95, 20), (0.95, 1)])
def test_the_range_of_chance_is_that_of_the_binomial(level: float, count: int) -> None:
    """The band holds the central 95 % of hits, as scipy counts them."""
    from scipy.stats import binom

    low, high = chance_range(level, count)

    assert (low * count, high * count) == pytest.approx(binom.ppf([0.025, 0.975], count, level))


def test_labels_are_moved_apart_and_stay_in_order() -> None:
    """Neighbouring labels keep their gap and move as little as possible."""
    placed = _apart([10.0, 11.0, 12.0, 60.0], gap=13, low=-50, high=200)

    assert np.diff(placed).min() >= 13 - 1e-9
    assert placed[3] == 60.0
    assert np.mean(placed[:3]) == pytest.approx(11.0)


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [(-9.0, 3.0, ["−7.5", "−5.0", "−2.5", "0.0", "2.5"]), (-30.0, 70.0, None)],
)
def test_ticks_are_written_with_the_decimals_they_need(
    low: float, high: float, labels: list[str] | None
) -> None:
    """A step of 2.5 is not rounded to 2; whole steps have no decimals."""
    axes = Figure().subplots()
    axes.set_ylim(low, high)

    number_axis(axes.yaxis, (low, high))

    places = [float(at) for at in axes.yaxis.get_majorticklocs() if low <= at <= high]
    said = [axes.yaxis.get_major_formatter()(at, None) for at in places]
    assert [float(text.replace("−", "-")) for text in said] == places
    assert said == labels or labels is None
    assert labels is not None or not any("." in text for text in said)
