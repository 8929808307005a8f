"""Plain text: readable in a terminal and in a CI log."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from harness.judging.fact import FactCode, fact
from harness.judging.findings import Outcome
from reports.forms.terminal import render_terminal
from reports.page_input import PageInput
from reports.words.next_step import next_action

Make = Callable[..., PageInput]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(make_page: Make, width: int) -> None:
    """Tables fit, or become blocks; sentences are wrapped."""
    page = make_page()
    text = render_terminal(page, width=width)

    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("outcome", list(Outcome))
def test_the_outcome_comes_first_and_the_next_step_last(make_page: Make, outcome: Outcome) -> None:
    """The first word is the outcome, the last paragraph what to do."""
    page = make_page(outcome=outcome)
    text = render_terminal(page)

    assert text.startswith(f"{outcome.value}: ")
    following = " ".join(text.rpartition("\n\n")[2].split())
    assert f"Next: {next_action(page.verdict.next_action, store=page.beside.store)}" == following


def test_own_words_are_ascii(make_page: Make) -> None:
    """Any log can show the signs this package writes itself."""
    page = make_page()

    assert render_terminal(page).isascii()


def test_escape_codes_from_outside_are_shown_not_obeyed(make_page: Make) -> None:
    """A name cannot colour the log or move the cursor."""
    evil = fact(FactCode.NO_GAIN_YET, candidate="\x1b[31mred", legacy="\x1b[2Jx")
    verdict = dataclasses.replace(make_page().verdict, candidate="\x1b[2Jx", summary=evil)

    assert "\x1b" not in render_terminal(PageInput(verdict=verdict))


def test_an_empty_verdict_is_printed(make_page: Make) -> None:
    """Nothing judged leaves the outcome, the reasons and the next step."""
    verdict = make_page(outcome=Outcome.INVALID, findings=[]).verdict

    assert render_terminal(PageInput(verdict=verdict)).startswith("INVALID: ")


def test_columns_stay_in_line(make_page: Make) -> None:
    """Every row of a table is as wide as its rule, whatever signs it holds."""
    lines = render_terminal(make_page()).splitlines()
    rule = next(place for place, line in enumerate(lines) if line.startswith("-----"))

    assert all(len(line) == len(lines[rule]) for line in lines[rule + 1 : rule + 5])
