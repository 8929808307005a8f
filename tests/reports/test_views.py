"""What the charts of a dataset are drawn from: parts, differences over time, calibration, seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from harness.forecast import Forecast
from reports.forms.html import render_html
from reports.page_input import FAN_LEVELS, PageInput, fan
from reports.sections.curves import seed_view, slice_effects, slice_view, time_view, worst_slice
from reports.sections.metric_tables import parts_view, pit_views, width_view
from reports.svg import chart_style

Make = Callable[..., PageInput]


def column(rows: Sequence[Sequence[Any]], at: int) -> list[str]:
    """Texts of one column of a table."""
    return [row[at].text for row in rows]


def test_a_part_is_compared_on_its_own_windows(make_page: Make) -> None:
    """The whole has the effect of the mean losses; a part counts only its own windows."""
    page = make_page(datasets=["ALPHA"])
    found = {each.name: each for each in slice_effects(page, "ALPHA", "autoformer")}
    losses = {
        arm: np.mean([u.values["crps"] / u.last[:, None] for u in page.scores_of(arm, "ALPHA")])
        for arm in ("chronos-512", "autoformer")
    }

    assert found["all"].effect == pytest.approx(losses["chronos-512"] / losses["autoformer"] - 1)
    assert found["all"].windows == 20
    assert sum(each.windows for name, each in found.items() if "volatility" in name) == 20


def test_a_part_of_few_windows_has_no_effect(make_page: Make) -> None:
    """Fewer windows than a policy may judge say nothing."""
    found = slice_effects(make_page(datasets=["ALPHA"]), "ALPHA", "autoformer")
    few = [each for each in found if each.windows < 8]

    assert few
    assert all(each.effect is None and each.lower is None for each in few)


def test_the_worst_part_is_the_worst_of_all_datasets(make_page: Make) -> None:
    """By the effect; everything together is no part."""
    page = make_page()
    every = [
        each
        for name in ("ALPHA", "BETA")
        for each in slice_effects(page, name, "autoformer")
        if each.effect is not None and each.name != "all"
    ]

    worst = worst_slice(page, page.verdict.legacy)

    assert worst is not None
    assert worst.effect == max(each.effect or 0 for each in every)


def test_sides_that_cannot_be_paired_have_no_part(make_page: Make) -> None:
    """Without scores of one side there is nothing to draw, and nothing breaks."""
    page = make_page(datasets=["ALPHA"])
    alone = dataclasses.replace(page, scores=page.scores_of("chronos-512", "ALPHA"))

    assert slice_view(alone, "ALPHA", name="a") is None
    assert time_view(alone, "ALPHA", name="a") is None
    assert worst_slice(alone, page.verdict.legacy) is None


def test_the_difference_over_time_ends_at_the_sum(make_page: Make) -> None:
    """The last point added up is the number of origins times the mean difference."""
    page = make_page(datasets=["ALPHA"])
    losses = [
        np.mean([(u.values["crps"] / u.last[:, None]).mean(axis=1)
                 for u in page.scores_of(arm, "ALPHA")], axis=0)
        for arm in ("chronos-512", "autoformer")
    ]  # fmt: skip

    with chart_style():
        chart = time_view(page, "ALPHA", name="a")

    assert chart is not None
    assert chart.table is not None
    last = float(column(chart.table.rows, 2)[-1].replace("\u2212", "-"))
    assert last == pytest.approx(100 * float((losses[0] - losses[1]).sum()), rel=2e-3)


def test_the_band_of_chance_grows_with_time(make_page: Make) -> None:
    """Equal arms wander further the longer they do."""
    with chart_style():
        chart = time_view(make_page(datasets=["ALPHA"]), "ALPHA", name="a")
    assert chart is not None
    assert chart.table is not None

    band = [float(text.removeprefix("\u00b1 ")) for text in column(chart.table.rows, 3)]

    assert band == sorted(band)
    assert band[3] == pytest.approx(2 * band[0], rel=0.01)  # the square root of the origins


def test_transforms_are_shares_of_all_outcomes(make_page: Make) -> None:
    """Ten bins of each side that hold everything."""
    with chart_style():
        charts = pit_views(make_page(datasets=["ALPHA"]), "ALPHA", name="a")

    assert [chart.title for chart in charts] == ["PIT of autoformer", "PIT of chronos-512"]
    for chart in charts:
        assert chart.table is not None
        shares = [float(text.removesuffix(" %")) for text in column(chart.table.rows, 1)]
        assert len(shares) == 10
        assert sum(shares) == pytest.approx(100, abs=0.6)


def test_a_score_is_the_sum_of_its_parts(make_page: Make) -> None:
    """Miscalibration less discrimination plus uncertainty, the last the same for all arms."""
    table = parts_view(make_page(datasets=["ALPHA"]), "ALPHA")
    assert table is not None

    for row in table.rows:
        score, miss, tell, doubt = (float(cell.text) for cell in row[1:])
        assert score == pytest.approx(miss - tell + doubt, abs=0.002)
    assert len(set(column(table.rows, 4))) == 1


def test_width_stands_beside_the_coverage_reached(make_page: Make) -> None:
    """Each arm with whole intervals has a row."""
    page = make_page(datasets=["ALPHA"])
    with chart_style():
        chart = width_view(page, "ALPHA", name="a")
    assert chart is not None
    assert chart.table is not None

    assert column(chart.table.rows, 0) == [arm.name for arm in page.arms]


def test_seeds_are_shown_with_their_range(make_page: Make) -> None:
    """Lowest and highest of the arm's seeds, as in the metrics table."""
    page = make_page(datasets=["ALPHA"])
    row = page.summary("autoformer", "ALPHA", "crps")
    with chart_style():
        chart = seed_view(page, "ALPHA", name="a")
    assert chart is not None
    assert chart.table is not None
    assert row is not None
    assert row.low is not None

    found = {cells[0].text: [cell.text for cell in cells[1:]] for cells in chart.table.rows}

    assert found["autoformer"][0] == "2"
    assert float(found["autoformer"][2]) == pytest.approx(row.low, rel=1e-3)
    assert found["chronos-512"][0] == "1"


def repaired(page: PageInput, arm: str) -> PageInput:
    """The same page with an arm whose card calls it a repaired build."""
    arms = [
        dataclasses.replace(each, card={"model": "It, a REPAIRED BUILD: none ever ran"})
        if each.name == arm
        else each
        for each in page.arms
    ]
    return dataclasses.replace(page, arms=arms)


@pytest.mark.slow
def test_a_repaired_build_is_marked_wherever_its_numbers_stand(make_page: Make) -> None:
    """In the tables in words, in the charts by a dagger with its meaning below."""
    html = render_html(repaired(make_page(datasets=["ALPHA"]), "autoformer-repaired"))
    tables = html.count("autoformer-<wbr>repaired<small>legacy, a repaired build</small>")

    assert tables >= 4
    assert "autoformer-repaired" in html
    assert "\u2020" in html
    assert "\u2020 A repaired build: no original ever ran." in html
    assert "\u2020" not in render_html(make_page(datasets=["ALPHA"]))


def test_a_gaussian_forecast_is_drawn_with_its_bands(make_page: Make) -> None:
    """Mean and deviation give quantiles as any other form does."""
    page = make_page(datasets=["ALPHA"])
    key = ("chronos-512", "ALPHA", 1)
    unit = page.answers[key]
    shape = unit.forecast.point.shape
    gaussian = Forecast.of_gaussian(np.full(shape, 100.0), np.full(shape, 2.0))
    answers = {**page.answers, key: dataclasses.replace(unit, forecast=gaussian)}

    found = fan(dataclasses.replace(page, answers=answers), *key[:2], int(unit.origin[0]))

    assert found is not None
    assert found.quantiles is not None
    assert found.quantiles.shape == (shape[1], len(FAN_LEVELS))
    assert found.quantiles[0, [0, 3, 6]] == pytest.approx([96.08, 100.0, 103.92], abs=0.01)
