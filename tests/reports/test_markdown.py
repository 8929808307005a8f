"""Markdown: short enough for a CI page, and nothing in it acts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from harness.judging.fact import Fact, FactCode, fact
from harness.judging.findings import Outcome
from reports.forms.markdown import LIMIT, render_markdown
from reports.page_input import PageInput

Make = Callable[..., PageInput]


@pytest.mark.parametrize("outcome", list(Outcome))
def test_the_outcome_is_the_heading(make_page: Make, outcome: Outcome) -> None:
    """The first line says the outcome in a word, of a page and of a verdict alone."""
    page = make_page(outcome=outcome)

    of_page = render_markdown(page)
    of_verdict = render_markdown(PageInput(verdict=page.verdict))

    assert outcome.value in of_page.splitlines()[0]
    assert outcome.value in of_verdict.splitlines()[0]
    assert len(of_verdict) < len(of_page) < LIMIT


def test_tables_have_as_many_cells_as_heads(make_page: Make) -> None:
    """Every row of every table has the cells of its head, whatever the names hold."""
    page = make_page()
    arms = [dataclasses.replace(arm, name=arm.name) for arm in page.arms]
    lines = render_markdown(dataclasses.replace(page, arms=arms)).splitlines()
    sizes: list[set[int]] = [set()]
    for line in lines:
        if line.startswith("|"):
            sizes[-1].add(line.replace("\\|", "").count("|"))
        elif sizes[-1]:
            sizes.append(set())

    assert all(len(size) == 1 for size in sizes if size)


def said(text: str) -> Fact:
    """A fact with a text of the user's in it."""
    return fact(FactCode.READS_AHEAD, arm=text).resting_on(fact(FactCode.FAILED_T10, arm=text))


def test_long_records_are_cut_and_said_to_be(make_page: Make) -> None:
    """A verdict with endless reasons stays under the limit and says that parts are missing."""
    page = make_page()
    verdict = dataclasses.replace(page.verdict, reasons=(said("reason " * 400),) * 100)
    text = render_markdown(dataclasses.replace(page, verdict=verdict))

    assert len(text) <= LIMIT
    assert "Left out for length" in text


def test_a_limit_below_the_first_part_is_kept(make_page: Make) -> None:
    """Even the head is cut where the limit asks for it."""
    assert len(render_markdown(make_page(), limit=200)) <= 200


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("quick.toml", "`abharness compare quick.toml --store STORE`"),
        ("a`b", "``abharness compare a`b --store STORE``"),
        ("a``b", "```abharness compare a``b --store STORE```"),
        ("x`, *y*", "`abharness compare x`, \\*y\\* \\-\\-store STORE\\`"),
    ],
)
def test_commands_in_sentences_are_code_that_no_name_leaves(
    make_page: Make, name: str, code: str
) -> None:
    """They can be copied; a name with backticks is fenced by more, and nothing of it acts."""
    page = make_page(outcome=Outcome.INVALID)
    pair = {"candidate": "new", "legacy": "old"}
    step = fact(FactCode.FILL, experiment=name, **pair)
    verdict = dataclasses.replace(page.verdict, next_action=step)

    found = render_markdown(dataclasses.replace(page, verdict=verdict))

    assert f"then run {code}: it runs only those" in found


def test_markup_mentions_and_links_are_disarmed(make_page: Make) -> None:
    """Text from outside cannot open a tag, a cell, a link, or call a person."""
    evil = "<img src=x>|`a`[b](https://c.example) @someone\n# head"
    verdict = dataclasses.replace(make_page().verdict, reasons=(said(evil),), candidate=evil)

    text = render_markdown(PageInput(verdict=verdict))

    assert "<img" not in text
    assert "https://" not in text
    assert "@someone" not in text
    assert "\n# head" not in text
    assert "[b](" not in text
