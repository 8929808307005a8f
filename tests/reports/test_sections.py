"""A report is a list of sections, found in their folder; every form knows every kind of block."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.judging.findings import Outcome
from reports import sections
from reports.forms import render_page
from reports.forms.html import draw_block, without_skips
from reports.forms.plain import plainly
from reports.forms.terminal import render_terminal
from reports.page_input import PageInput
from reports.section import (
    Banner,
    Basis,
    BasisList,
    Block,
    Chart,
    Command,
    Details,
    Facts,
    Group,
    Heading,
    Lines,
    Section,
    Table,
    Term,
    Text,
    Verbatim,
    columns,
    text,
)
from reports.sections.scorecard import Scorecard, build_scorecard

Make = Callable[..., PageInput]
ADDED = """\
from reports.section import Placement, Section, Text

def moon(page):
    said = f"{page.verdict.candidate} was tried at full moon"
    yield Section(id="moon", title="The moon", items=(Text(text=said),), link="Moon")

PLACEMENTS = (Placement(order=650, page=moon, summary=moon, terminal=moon),)
"""


@pytest.fixture
def with_moon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A file more in the folder of sections."""
    (tmp_path / "moon.py").write_text(ADDED, encoding="utf-8")
    monkeypatch.setattr(sections, "__path__", [*sections.__path__, str(tmp_path)])
    sections.placements.cache_clear()
    yield
    sections.placements.cache_clear()


@pytest.mark.slow
@pytest.mark.usefixtures("with_moon")
def test_a_section_is_one_file(make_page: Make) -> None:
    """It stands in every form it asks for, in its place and in the navigation of the page."""
    page = make_page(datasets=["ALPHA"])
    said = "chronos-512 was tried at full moon"

    html, data = render_page(page, "html"), json.loads(render_page(page, "json"))

    assert f"<p>{said}</p>" in html
    assert '<li><a href="#moon">Moon</a></li>' in html
    assert html.index('id="criteria"') < html.index('id="moon"') < html.index('id="costs-detail"')
    assert said in str(data["sections"])
    assert said.replace("-", "\\-") in render_page(page, "md")
    assert said in render_terminal(page)


@pytest.mark.slow
def test_sections_have_names_of_their_own_and_an_order(make_page: Make) -> None:
    """No id stands twice on the page, and no two parts of a form claim the same place."""
    ids = [each.id for each in sections.sections_of(make_page(), "page")]
    places = Counter(
        (form, part.order)
        for part in sections.placements()
        for form in ("page", "summary", "terminal")
        if getattr(part, form) is not None
    )

    assert [name for name, count in Counter(ids).items() if count > 1] == []
    assert all(re.fullmatch("[a-z0-9-]+", name) for name in ids)
    assert [place for place, count in places.items() if count > 1] == []


def test_a_heading_skips_no_level() -> None:
    """A chart that stands right under the heading of its section is one level below it."""
    asked = "<h1>a</h1><h2>b</h2><h4>c</h4><h4>d</h4><h3>e</h3><h4>f</h4><h2>g</h2>"

    shown = without_skips(asked)

    assert shown == "<h1>a</h1><h2>b</h2><h3>c</h3><h3>d</h3><h3>e</h3><h4>f</h4><h2>g</h2>"


def blocks(page: PageInput) -> list[Block]:
    """One of each kind, with the word `moon` in it."""
    table = Table(caption="moon", columns=columns("Phase", "n"), rows=((text("moon"), text("1")),))
    return [
        table,
        dataclasses.replace(table, small=True),
        Chart(title="moon", caption="moon", svg="<svg/>", table=table),
        Chart(title="moon", caption="moon", svg="<svg/>"),
        Text(text="moon", lead="Full"),
        Command(said="not seen", command="moon"),
        Heading(text="moon", quiet="full"),
        Lines(lines=("moon", "sun"), codes=("a", "b"), shown=1),
        Facts(title="moon", terms=(Term(name="a", code="b", strong="c", state="d", note="e"),)),
        BasisList(items=(Basis(label="moon", mark="holds", text="up"),)),
        Banner(outcome=Outcome.HOLD, meaning="m", candidate="moon", legacy="sun", title="sky"),
        Details(summary="moon", blocks=(table,)),
        Group(blocks=(Text(text="moon"),)),
        Verbatim(text="moon\nsun"),
        Section(id="moon", title="moon", items=(), absent=Text(text="none")),
        dataclasses.replace(build_scorecard(page.verdict), kept="moon"),
    ]


def kinds() -> set[str]:
    """Every kind of block that the reports declare."""
    return {k.__name__ for k in Block.__subclasses__() if k.__module__.startswith("reports.")}


@pytest.mark.slow
def test_every_form_writes_every_kind_of_block(
    make_page: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing a section may hold is lost or refused by HTML, JSON, Markdown or the terminal."""
    page = make_page(datasets=["ALPHA"])
    found = blocks(page)
    assert {type(block).__name__ for block in found} == kinds()
    for block in found:
        section = Section(id="sky", title="sky", items=(block,))
        monkeypatch.setattr("reports.forms.json.sections_of", lambda *_, s=section: [s])
        for form in ("markdown", "terminal"):
            monkeypatch.setattr(f"reports.forms.{form}.sections_of", lambda *_, s=section: [s])
        said = CRITERION if isinstance(block, Scorecard) else "moon"

        assert "moon" in draw_block(block)
        assert [type(each) for each in plainly(block)] != []
        assert said in str(json.loads(render_page(page, "json"))["sections"][0]["items"])
        assert said in render_page(page, "md")
        assert said in render_terminal(page)


CRITERION = "RMSE"


def test_an_unknown_kind_of_block_is_an_error(make_page: Make) -> None:
    """A kind that a form does not know never vanishes silently."""

    class Moon(Block):
        pass

    with pytest.raises(TypeError, match="Moon"):
        list(plainly(Moon()))
    with pytest.raises(AttributeError, match="moon"):
        draw_block(Moon())
