"""Markup in any text from outside stays text: on the page, the index, in Markdown and JUnit."""

from __future__ import annotations

import importlib.util
import json
import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from reports.forms import render_history, render_page
from reports.forms.html import render_html
from reports.forms.junit import render_junit
from reports.page_input import PageInput

Make = Callable[..., PageInput]


def _spoiling() -> Any:
    """The neighbour that makes hostile records; tests are no package to import from."""
    spec = importlib.util.spec_from_file_location(
        "spoiling", Path(__file__).with_name("spoiling.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


spoiling = _spoiling()


class Shape(HTMLParser):
    """Which tags with which attributes a page has, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: Counter[str] = Counter()
        self.attributes: set[tuple[str, str]] = set()
        self.text = ""
        self.links: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += tag != "wbr"  # where a name may be broken: more of them in long names
        self.attributes |= {(tag, name) for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def evil_page(make_page: Make) -> PageInput:
    """The full page with the prefix everywhere."""
    page: PageInput = spoiling.Spoiler()(spoiling.full_page(make_page))
    return page


def assert_same_shape(plain: str, evil: str) -> None:
    """No tag and no attribute of the hostile page is unknown to the plain one."""
    before, after = Shape(plain), Shape(evil)
    assert set(after.tags) <= set(before.tags)
    assert after.attributes <= before.attributes
    assert after.tags["script"] == before.tags["script"]
    assert after.tags["style"] == before.tags["style"]
    assert after.tags["title"] == before.tags["title"]


@pytest.mark.slow
def test_nearly_every_text_is_spoiled(make_page: Make) -> None:
    """The attack reaches names, sentences, reasons, cards, options, sources, waivers, machines."""
    spoiler = spoiling.Spoiler()
    spoiler(spoiling.full_page(make_page))

    wanted = [
        "PageInput.title", "PageInput.experiment_text", "PageInput.environment",
        "Verdict.candidate", "Verdict.legacy", "Fact.values", "Verdict.fingerprints",
        "Finding.id", "Finding.dataset", "Cell.arm",
        "UnitHealth.first_reason", "ArmFacts.name", "ArmFacts.use", "ArmFacts.card",
        "ArmFacts.options key", "DatasetFacts.id", "DatasetFacts.title", "DatasetFacts.source",
        "DatasetFacts.licence", "DatasetFacts.quirks", "DatasetFacts.warnings", "MetricSummary.arm",
        "UnitScores.reason", "CellRecord.machine", "CheckResult.reason", "Claimed.text",
        "Waiver.owner", "Waiver.reason",
        "AgainstReference.arm",
    ]  # fmt: skip
    assert [name for name in wanted if not spoiler.spoiled[name]] == []


@pytest.mark.slow
def test_the_page_shows_markup_as_text(make_page: Make, evil_page: PageInput) -> None:
    """Nothing opens a tag, adds an attribute, ends the title, the style or a chart."""
    evil = render_html(evil_page)

    assert_same_shape(render_html(spoiling.full_page(make_page)), evil)
    assert Shape(evil).text.count(spoiling.SEEN) > 100
    assert all(link.startswith("#") for link in Shape(evil).links)


@pytest.mark.slow
def test_the_page_of_nights_shows_markup_as_text(make_page: Make) -> None:
    """Names of experiments, arms, machines, events and why an update failed included."""
    found = spoiling.a_history(make_page().verdict)
    evil = render_history(spoiling.Spoiler()(found), "html")

    assert_same_shape(render_history(found, "html"), evil)
    assert Shape(evil).text.count(spoiling.SEEN) > 20


@pytest.mark.slow
@pytest.mark.parametrize("what", ["page", "nights"])
def test_markdown_shows_markup_as_text(make_page: Make, evil_page: PageInput, what: str) -> None:
    """Rendered with raw HTML allowed, there is no link, picture, code, script or new heading."""
    from markdown_it import MarkdownIt

    found = spoiling.a_history(make_page().verdict)
    plain, evil = (
        (render_page(spoiling.full_page(make_page), "md"), render_page(evil_page, "md"))
        if what == "page"
        else (render_history(found, "md"), render_history(spoiling.Spoiler()(found), "md"))
    )
    read = MarkdownIt("commonmark", {"html": True, "linkify": False}).enable("table")
    before, after = Shape(read.render(plain)), Shape(read.render(evil))

    assert after.tags == before.tags
    assert after.attributes <= before.attributes
    assert spoiling.SEEN in after.text.replace("\\", "")
    outside_code = re.sub(r"(?<![\\`])(`+)(?!`).*?(?<!`)\1(?!`)", "", evil)
    assert not re.search(r"(?<!\w)@\w", outside_code)
    assert "http://" not in outside_code
    assert "\x1b" not in evil


def test_junit_shows_markup_as_text(make_page: Make, evil_page: PageInput) -> None:
    """The XML parses, has the same elements, and holds the text."""
    plain = ElementTree.fromstring(render_junit(spoiling.full_page(make_page).verdict))
    text = render_junit(evil_page.verdict)
    evil = ElementTree.fromstring(text)

    assert [each.tag for each in plain.iter()] == [each.tag for each in evil.iter()]
    assert [sorted(each.attrib) for each in plain.iter()] == [
        sorted(each.attrib) for each in evil.iter()
    ]
    cases = [e for e in evil.iter("testcase") if e.get("classname") != "verdict.self-test"]
    names = [each.get("name", "") for each in cases]
    assert all(spoiling.SEEN in name for name in names)


@pytest.mark.slow
def test_json_holds_outside_text_as_it_is(evil_page: PageInput) -> None:
    """JSON escapes by itself; nothing is lost and nothing breaks out."""
    found = json.loads(render_page(evil_page, "json"))

    assert found["title"].startswith(spoiling.EVIL)
    assert found["verdict"]["candidate"].startswith(spoiling.EVIL)
