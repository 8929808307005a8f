"""A reader's test: questions, and the place the documentation names for each answer."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports.forms.html import render_html
from reports.page_input import PageInput
from reports.sections.first_screen import fallback
from reports.words import numbers
from reports.words.next_step import next_step
from reports.words.verdicts import headline

ROOT = Path(__file__).resolve().parent.parent.parent
DOC = ROOT / "docs" / "reading-a-report.md"
VOID = {"meta", "br", "wbr", "hr", "img", "input", "link"}
SECOND = 2

pytestmark = pytest.mark.skipif(not DOC.is_file(), reason="needs the documentation")


class Words(HTMLParser):
    """The words inside each element that has an id, texts of charts left out."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.inside: dict[str, list[str]] = {}
        self._open: list[tuple[str, str | None]] = []
        self._joined = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._joined = tag == "wbr"
        if tag in VOID:
            return
        name = dict(attrs).get("id")
        self._open.append((tag, name))
        if name:
            self.inside[name] = []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Leave out what holds nothing."""

    def handle_endtag(self, tag: str) -> None:
        if any(each == tag for each, _ in self._open):
            while self._open.pop()[0] != tag:
                pass

    def handle_data(self, data: str) -> None:
        if any(tag == "svg" for tag, _ in self._open):
            return
        for _, name in self._open:
            if name and self._joined and self.inside[name]:
                self.inside[name][-1] += data
            elif name:
                self.inside[name].append(data)
        self._joined = False

    def at(self, name: str) -> str:
        """All words of an element, one blank apart."""
        return " ".join(" ".join(self.inside[name]).split())


@pytest.fixture(scope="module")
def page(make_page: Any) -> PageInput:
    """A page with all records beside it, and two windows that failed."""
    spec = importlib.util.spec_from_file_location(
        "spoiling", Path(__file__).with_name("spoiling.py")
    )
    assert spec is not None
    assert spec.loader is not None
    spoiling = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(spoiling)
    found: PageInput = spoiling.full_page(make_page)
    return found


@pytest.fixture(scope="module")
def words(page: PageInput) -> Words:
    """The page's words by place."""
    return Words(render_html(page))


def named_places() -> dict[str, list[str]]:
    """The questions of the documentation, with the places it names."""
    part = DOC.read_text(encoding="utf-8").partition("## Twelve")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in part.splitlines() if line.startswith("| ")]
    asked = {row[0].strip(): re.findall(r"`#([\w-]+)`", row[1]) for row in rows}
    return {question: places for question, places in asked.items() if question.endswith("?")}


def migrate(page: PageInput) -> list[str]:
    return [page.verdict.outcome.value, numbers.MEANINGS[page.verdict.outcome]]


def which_model(page: PageInput) -> list[str]:
    card = next(arm for arm in page.arms if arm.name == page.verdict.candidate).card
    return [page.verdict.candidate, card["checkpoint"], card["origin"], card["pretraining data"]]


def why_not(page: PageInput) -> list[str]:
    return [headline(page.verdict).replace("\u202f", " ")]


def run_next(page: PageInput) -> list[str]:
    step = next_step(page.verdict.next_action, store=page.beside.store)
    return [f"Next: {step}".replace("`", "")]


def how_much_better(page: PageInput) -> list[str]:
    """Absolute scores of both sides, and the effect with its bounds."""
    found = [
        page.summary(arm, "BETA", "crps") for arm in (page.verdict.candidate, page.verdict.legacy)
    ]
    values = [numbers.figure(row, row.value) for row in found if row is not None]
    finding = page.verdict.findings[5]
    return ["In figures", *values, numbers.effect("share", finding.value).replace("\u202f", " ")]


def old_model(page: PageInput) -> list[str]:
    """The legacy arm's own score beside the reference's."""
    arms = (page.verdict.legacy, page.reference or "")
    found = [page.summary(arm, "BETA", "crps") for arm in arms]
    return [*arms, *(numbers.figure(row, row.value) for row in found if row is not None)]


def tried_before(page: PageInput) -> list[str]:
    assert page.beside.since is not None
    return [f"{page.beside.since.before} before", f"verdict {page.beside.verdicts} on this pair"]


def how_old(page: PageInput) -> list[str]:
    day, found = np.datetime64(page.judged_at[:10]), []
    for facts in page.datasets.values():
        days = int((day - np.datetime64(facts.until)).astype(int))
        age = f"{days:,} days" if days < 730 else f"{days // 365} years"
        found.append(f"last row {facts.until}, {age} before the verdict")
    return found


def if_it_fails(page: PageInput) -> list[str]:
    return ["If it fails", fallback(page)]


def who_signs(page: PageInput) -> list[str]:
    return ["Who signs", "nobody: only a PROMOTE is signed"]


def worse_at_the_last_step(page: PageInput) -> list[str]:
    sides = []
    for arm in (page.verdict.candidate, page.verdict.legacy):
        losses = [unit.values["crps"][:, -1] for unit in page.scores_of(arm, "BETA")]
        sides.append(numbers.number(float(np.mean(losses))))
    return ["CRPS by step", *sides]


def memory(page: PageInput) -> list[str]:
    cost = page.beside.costs[page.verdict.legacy]["peak_memory"]
    assert cost.ratio is not None
    return ["Peak memory", f"{cost.ratio:.2f}×", f"{cost.low:.3g}", f"{cost.high:.3g}"]


def decidable(page: PageInput) -> list[str]:
    compared = page.verdict.findings[6].comparison
    assert compared is not None
    total = compared.sample.independent_n + (compared.planning.more_origins or 0)
    return [
        "RMSE",
        f"BETA {total} by {compared.planning.decided_by}",
    ]


def worse_even_so(page: PageInput) -> list[str]:
    """The window with the largest CRPS difference, as a share of the last value."""
    gaps = []
    for name, facts in page.datasets.items():
        pair = [page.scores_of(arm, name) for arm in (page.verdict.candidate, page.verdict.legacy)]
        losses = [
            np.mean([unit.values["crps"].mean(axis=1) for unit in units], axis=0) for units in pair
        ]
        lost = (losses[0] - losses[1]) / pair[0][0].last
        worst = int(np.argmax(lost))
        gaps.append((lost[worst], name, str(facts.dates[pair[0][0].origin[worst]])))
    _, name, day = max(gaps)
    return ["Weakest slice", name, day]


def honest(page: PageInput) -> list[str]:
    row = page.summary(page.verdict.candidate, "BETA", "coverage_80")
    assert row is not None
    return ["Coverage against nominal", numbers.figure(row, row.value).replace("\u202f", " ")]


def seen(page: PageInput) -> list[str]:
    arm = next(arm for arm in page.arms if arm.name == page.verdict.candidate)
    return ["Look-ahead test", "Pretraining data", arm.card["origin"], arm.card["pretraining data"]]


def doing_nothing(page: PageInput) -> list[str]:
    skill = next(
        each.skill
        for each in page.verdict.validity.standings
        if (each.arm, each.dataset) == (page.verdict.candidate, "BETA")
    )
    return [
        "Against random walk",
        numbers.percent(skill, signed=True).replace("\u202f", " "),
        "Skill",
    ]


def failed(page: PageInput) -> list[str]:
    count = sum(unit.failures for unit in page.verdict.validity.units)
    return ["Completeness", f"{count} of", "ValueError: too hot"]


def changed(page: PageInput) -> list[str]:
    assert page.beside.since is not None
    return [f"{page.beside.since.before} before", "new origins", page.beside.replay_command]


ANSWERS: Mapping[str, Callable[[PageInput], list[str]]] = {
    "May I migrate?": migrate,
    "To which model exactly?": which_model,
    "Why not yet?": why_not,
    "What do I run?": run_next,
    "How much better is it, absolutely?": how_much_better,
    "On which days is it worse?": worse_even_so,
    "Is the old model any good?": old_model,
    "How fast is it, and how big?": memory,
    "What was tried before?": tried_before,
    "How old are the data?": how_old,
    "What happens if it fails?": if_it_fails,
    "Who signs?": who_signs,
    "Is GOLD worse at 24 steps?": worse_at_the_last_step,
    "What would make it decidable?": decidable,
    "Are its intervals honest?": honest,
    "Can it have seen the answers?": seen,
    "Is either better than doing nothing?": doing_nothing,
    "Did anything fail?": failed,
    "What changed since the last verdict, and can I check this one?": changed,
}
FIRST = 12
"""So many are answered on the first screen or one click from it."""


def test_the_documentation_asks_every_question() -> None:
    """Each has a place, and each is tried here."""
    found = named_places()

    assert list(found) == list(ANSWERS)
    assert all(found.values())


@pytest.mark.slow
def test_the_first_twelve_are_answered_on_the_first_screen(page: PageInput, words: Words) -> None:
    """Whoever signs needs no scrolling for them."""
    first = words.at("first")

    missing = {
        question: [part for part in answer(page) if part not in first]
        for question, answer in list(ANSWERS.items())[:FIRST]
    }
    assert {question: parts for question, parts in missing.items() if parts} == {}


@pytest.mark.parametrize("question", ANSWERS)
def test_the_answer_stands_where_the_documentation_says(
    page: PageInput, words: Words, question: str
) -> None:
    """Every part of an answer, worked out from the records, is read at one of its places."""
    places = [place.replace("-N-", f"-{SECOND}-") for place in named_places()[question]]
    text = " ".join(words.at(place) for place in places)

    assert [part for part in ANSWERS[question](page) if part not in text] == []


def test_every_place_the_documentation_names_is_on_the_page(words: Words) -> None:
    """No anchor of the documentation leads nowhere."""
    named = set(re.findall(r"`#([\w-]+)`", DOC.read_text(encoding="utf-8")))

    places = {place.replace("-N-", f"-{SECOND}-") for place in named}
    assert places - set(words.inside) == set()
