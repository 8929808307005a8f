"""The page of the nights: what it says, in which order, and that nothing lies off its axes."""

import dataclasses
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from harness.gate.history import OriginSpan
from harness.judging.fact import FactCode, fact
from harness.judging.findings import Outcome
from reports.forms import render_history
from reports.night_page import NightPage
from reports.svg import chart_style


@pytest.fixture(scope="module")
def found(make_page):
    """Six nights with two looks, and something in every text field."""
    file = Path(__file__).with_name("spoiling.py")
    spec = importlib.util.spec_from_file_location("spoiling", file)
    spoiling = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(spoiling)
    return spoiling.a_history(make_page().verdict)


def section(found, name):
    with chart_style():
        return next(each for each in NightPage(found=found).sections() if each.id == name)


def test_sections_stand_in_the_order_in_which_they_are_read(found):
    """Outcome, what is new, what could be seen, nights, blocks, costs, events, freshness."""
    with chart_style():
        ids = [each.id for each in NightPage(found=found).sections()]

    assert ids == [
        "first",
        "new",
        "detectable",
        "nights",
        "blocks",
        "night-costs",
        "events",
        "fresh",
    ]


def test_markdown_begins_with_the_line_of_the_night(found):
    """The first line is what the terminal and JUnit of that night begin with."""
    first = render_history(found, "md").splitlines()[0].replace("\\", "")

    assert first.startswith("**2 new independent origins: still HOLD; data not updated: ALPHA: ")


def test_the_first_screen_says_when_the_next_look_is_and_what_is_spent(found):
    """Day and sessions of the next look, the part of the error rate spent, and the attempt."""
    page = render_history(found, "html")

    assert "2021-01-12, in 3 sessions" in page
    assert re.search(r"<b>4.0\u202f%</b>", page)
    assert "with 25\u202f% of the error rate" in page


def test_a_decided_plan_has_no_next_look(found):
    """After PROMOTE or REJECT nothing is looked at any more."""
    promoted = dataclasses.replace(found.verdict, outcome=Outcome.PROMOTE)

    page = render_history(dataclasses.replace(found, verdict=promoted), "html")

    assert "none: it is decided" in page


def test_without_looks_no_interval_is_claimed_to_hold_every_night(found):
    """A verdict on everything at once spends all of its error rate, each time."""
    plain = dataclasses.replace(found.verdict, look=None)

    page = render_history(dataclasses.replace(found, verdict=plain, looked=()), "html")

    assert "none is planned: all the evidence is looked at once" in page
    assert "No look was planned, so no interval holds at every night." in page


def test_without_looks_origins_since_the_verdict_before_are_new(found):
    """They are counted and marked by the last origin that the verdict before it was passed on."""
    dates = found.losses[0].dates
    dataset = found.losses[0].finding.dataset
    old = {dataset: OriginSpan(origins=97, first=str(dates[0]), last=str(dates[-4]))}
    two = [dataclasses.replace(found.entries[0], spans=old), found.entries[-1]]
    plain = dataclasses.replace(found.verdict, look=None)

    table, charts = section(
        dataclasses.replace(found, verdict=plain, looked=(), entries=two), "new"
    ).items
    first, _ = section(
        dataclasses.replace(found, verdict=plain, looked=(), entries=two[:1]), "new"
    ).items

    column = [each.title for each in table.columns].index("New at the last verdict")
    row = next(row for row in table.rows if row[0].text == dataset)
    assert row[column].text == "3"
    assert "3 new since the verdict before" in charts.blocks[0].caption
    assert {row[column].text for row in first.rows} == {"first verdict"}


@pytest.mark.parametrize(
    ("days", "said"), [((1, 1), "2021-01-01"), ((1, 2), "2021-01-01 to 2021-01-02")]
)
def test_few_nights_have_one_label(found, days, said):
    """Labels of nights that lie next to each other do not run into each other."""
    nights = [
        dataclasses.replace(night, at=f"2021-01-0{day}T02:00:00Z")
        for night, day in zip(found.nights, days, strict=False)
    ]

    chart = section(dataclasses.replace(found, nights=nights), "nights").items[1]

    assert re.findall(r">([^<>]*2021[^<>]*)</text>", chart.svg) == [said]


def test_commands_in_the_list_of_nights_are_set_as_code(found):
    """What is quoted in a sentence is code on the page, in a table as above it."""
    told = dataclasses.replace(
        found.nights[-1],
        news=(fact(FactCode.DATA_OLD, dataset="ALPHA", last="2021-01-04", lacking=1234),),
    )

    page = render_history(dataclasses.replace(found, nights=[*found.nights[:-1], told]), "html")

    assert (
        "1,234 sessions ago by its calendar (<code>abharness data update ALPHA FILE</code>" in page
    )


def test_every_effect_lies_inside_its_chart(found):
    """However far a block has moved, its dot is inside the picture, never pinned to its edge."""
    far = [dataclasses.replace(each, above=each.above + 9.0 * (np.arange(100) > 90))
           for each in found.losses]  # fmt: skip

    page = render_history(dataclasses.replace(found, losses=far), "html")

    for svg in re.findall(r'<svg class="chart".*?</svg>', page, re.DOTALL):
        height = float(re.search(r'height="([\d.]+)"', svg)[1])
        dots = [float(y) for y in re.findall(r'<use [^>]*y="([-\d.]+)"', svg)]
        assert all(0 <= y <= height for y in dots)


@pytest.mark.slow
def test_a_step_of_the_cost_is_dated(found):
    """Times that tripled from one night on are named with that night and their ratio."""
    rows = section(found, "night-costs").items[0].rows

    assert rows[0][-1].text == "from 2021-01-11 on 2.98 times as long"


def test_data_that_ended_are_a_state_of_their_own(found):
    """Ended data say since when no origin has come; an update that failed is said below."""
    table, lines = section(found, "fresh").items

    assert [row[-1].text for row in table.rows] == [
        "grows",
        "has ended: no new origin since 2021-01-04",
    ]
    assert lines.lines[0].startswith("data not updated: ALPHA")


def test_changes_are_listed_with_their_night(found):
    """The short list holds nights with another verdict or a change, the long one all."""
    _, chart, short, every = section(found, "nights").items

    assert [row[0].text for row in short.rows] == ["2021-01-06", "2021-01-05", "2021-01-02"]
    assert short.rows[0][-1].text == "data revised"
    assert len(every.blocks[0].rows) == 6
    assert "6 HOLD; 1 night with a change" in chart.svg


def test_where_no_night_was_run_the_verdicts_are_listed(found):
    """A store that was only compared by hand shows its verdicts instead."""
    none, table = section(dataclasses.replace(found, nights=()), "nights").items

    assert none.text.startswith("No night was run yet")
    assert table.rows[0][-1].text == "the first"


@pytest.mark.slow
def test_the_same_records_give_the_same_bytes(found):
    """Drawn twice, in every form."""
    for form in ("html", "md", "json"):
        assert render_history(found, form) == render_history(found, form)
