"""The page as a browser shows it: quiet, accessible, whole on one screen, on a phone, on paper."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import pytest

SIZES = ["quick", "nightly", "bare"]
ITEMS = [
    *("outcome", "why", "effects", "scores", "compared", "undecided", "weakness", "costs", "trust"),
    "since",
]
WIDTHS = [1280, 1440, 390]
TALLEST = {1280: 9_000, 390: 20_000}
"""Pixels of the whole page with its details folded."""
LEAST_PRINT_PX = 10.6
"""Eight points."""
TOO_WIDE = """() => [...document.querySelectorAll('.scroll, pre')]
    .filter(each => each.checkVisibility() && each.scrollWidth > each.clientWidth + 1)
    .map(each => `${each.getAttribute('aria-label')}: ${each.scrollWidth}/${each.clientWidth}`)"""
OPEN_ALL = "document.querySelectorAll('details').forEach(each => each.open = true)"
SMALLEST_PX = 10

WORDS_OF = """id => {
    const found = [];
    const walk = document.createTreeWalker(document.getElementById(id), NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const parent = walk.currentNode.parentElement;
        const text = walk.currentNode.textContent.trim();
        if (!text || !parent.checkVisibility()) continue;
        if (parent.closest('.unseen, details:not([open]) > :not(summary), svg')) continue;
        found.push({text: text, px: parseFloat(getComputedStyle(parent).fontSize)});
    }
    return found;
}"""
CUT_OFF = """() => [...document.querySelectorAll('#first *')]
    .filter(each => getComputedStyle(each).overflow !== 'visible')
    .filter(each => !each.matches('.unseen, svg, .unseen *, svg *'))
    .filter(each => each.scrollHeight > each.clientHeight + 1
        || each.scrollWidth > each.clientWidth + 1)
    .map(each => each.outerHTML.slice(0, 120))"""

Show = Callable[..., Any]
Look = Callable[..., Any]
Pages = Mapping[str, str]


def boxes(opened: Any) -> dict[str, dict[str, float]]:
    """Where the items stand."""
    return {name: opened.page.locator(f"#{name}").bounding_box() for name in ITEMS}


@pytest.mark.parametrize("size", SIZES)
def test_the_page_is_quiet_and_asks_for_nothing(look: Look, size: str) -> None:
    """No message on the console, no request besides the file itself."""
    opened = look(size)
    opened.page.evaluate(OPEN_ALL)

    assert opened.said == []
    assert opened.asked == []


@pytest.mark.parametrize(("size", "scheme"), [("quick", "dark"), ("nightly", "light")])
def test_axe_finds_no_violation(show: Show, pages: Pages, size: str, scheme: str) -> None:
    """Contrast, landmarks, names, tables, order of headings: with every detail open."""
    assert violations(show(pages[size], scheme=scheme)) == []


def violations(opened: Any) -> list[str]:
    """What axe-core finds, one line per rule."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    opened.page.evaluate(OPEN_ALL)
    found = axe.Axe().run(opened.page).response["violations"]
    return [
        f"{each['id']}: {each['help']}: {[node['html'][:160] for node in each['nodes'][:3]]}"
        for each in found
    ]


@pytest.mark.parametrize("size", [*SIZES, "cautioned"])
def test_the_first_screen_holds_every_item(look: Look, size: str) -> None:
    """At 1280 x 800 each item lies inside the window, without scrolling."""
    found = boxes(look(size))

    assert {name for name, box in found.items() if box is None} == set()
    outside = {
        name: box
        for name, box in found.items()
        if box["x"] < 0 or box["y"] < 0 or box["x"] + box["width"] > 1280.5
        or box["y"] + box["height"] > 800.5 or box["width"] < 40 or box["height"] < 10
    }  # fmt: skip
    assert outside == {}


@pytest.mark.parametrize("size", SIZES)
def test_no_item_of_the_first_screen_covers_another(look: Look, size: str) -> None:
    """The boxes do not overlap, unless one is part of the other."""
    opened = look(size)
    found = boxes(opened)

    overlapping = []
    for one, other in combinations(ITEMS, 2):
        inside = f"#{one} #{other}, #{other} #{one}"
        a, b = found[one], found[other]
        across = min(a["x"] + a["width"], b["x"] + b["width"]) - max(a["x"], b["x"])
        down = min(a["y"] + a["height"], b["y"] + b["height"]) - max(a["y"], b["y"])
        if min(across, down) > 1 and opened.page.locator(inside).count() == 0:
            overlapping.append((one, other))
    assert overlapping == []


def test_many_cautions_are_a_line_each_on_the_first_screen(show: Show, pages: Pages) -> None:
    """Each caution is there in brief, on one line, and its sentence is one click away."""
    opened = show(pages["cautioned"]).page

    found = opened.locator("#cautions summary").evaluate_all(
        "all => all.map(each => [each.textContent, each.getBoundingClientRect().height])"
    )
    opened.locator("#cautions summary").first.click()

    assert len(found) >= 8
    assert all(height < 20 for _, height in found)
    assert "replacing it proves little" in found[0][0]
    assert opened.locator("#cautions details[open] p").first.inner_text().endswith("as well.")


@pytest.mark.parametrize("size", [*SIZES, "cautioned"])
def test_the_first_screen_is_legible_and_whole(look: Look, size: str) -> None:
    """Each item has words, none smaller than ten pixels, and nothing is cut off."""
    opened = look(size)
    words = {name: opened.page.evaluate(WORDS_OF, name) for name in ITEMS}

    assert [name for name, found in words.items() if not found] == []
    small = [w for found in words.values() for w in found if w["px"] < SMALLEST_PX]
    assert small == []
    assert opened.page.evaluate(CUT_OFF) == []


@pytest.mark.parametrize("opening", ["", OPEN_ALL], ids=["closed", "open"])
@pytest.mark.parametrize("size", SIZES)
def test_a_phone_needs_no_sideways_scroll(look: Look, size: str, opening: str) -> None:
    """At 390 pixels the page is as wide as the window, with details closed and open."""
    opened = look(size, width=390)
    if opening:
        opened.page.evaluate(opening)

    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("width", [*WIDTHS, "paper"])
@pytest.mark.parametrize("size", [*SIZES, "failed", "long_names"])
def test_no_table_is_wider_than_its_box(look: Look, size: str, width: int | str) -> None:
    """Every column is seen without scrolling sideways, with all details open, on paper too.

    Nor is a box wider than the page, whatever sentence stands in it.
    """
    opened = look(size, width=718 if width == "paper" else width)
    if width == "paper":
        opened.page.emulate_media(media="print")
    opened.page.evaluate(OPEN_ALL)

    assert opened.page.evaluate(TOO_WIDE) == []
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert opened.page.evaluate(wide) <= 0


@pytest.mark.parametrize("width", TALLEST)
@pytest.mark.parametrize("size", SIZES)
def test_a_page_is_read_in_one_sitting(look: Look, size: str, width: int) -> None:
    """Depth is folded: the page is short, and the answer and every finding are seen unfolded."""
    opened = look(size, width=width)
    shown = opened.page.evaluate(
        "[...document.querySelectorAll('#first *, #criteria .findings li')]"
        ".filter(each => each.closest('details:not([open])') && !each.closest('.menu')).length"
    )

    assert opened.page.evaluate("document.documentElement.scrollHeight") <= TALLEST[width]
    assert opened.page.locator("#criteria .findings li").count() > 0
    assert shown == 0


@pytest.mark.parametrize(("width", "nav"), [(1440, ".bar"), (1280, ".bar"), (390, ".menu")])
def test_the_navigation_stays(look: Look, width: int, nav: str) -> None:
    """Far down the page its links are still in the window: at the side, on top, or as a menu."""
    opened = look("quick", width=width)
    opened.page.evaluate("window.scrollTo(0, 4000)")
    box = opened.page.locator(f"nav{nav}").bounding_box()

    assert box is not None
    assert 0 <= box["y"] < 100
    assert opened.page.evaluate(
        "[...document.querySelectorAll('nav a')].every(each => "
        "document.querySelector(each.getAttribute('href')))"
    )


@pytest.mark.parametrize("size", SIZES)
def test_print_is_large_enough_to_read(look: Look, size: str) -> None:
    """No word on paper is smaller than eight points, charts aside."""
    opened = look(size, width=718)
    opened.page.emulate_media(media="print")
    words = [
        word
        for name in (*ITEMS, "criteria", "dataset-1")
        for word in opened.page.evaluate(WORDS_OF, name)
    ]

    assert [word for word in words if word["px"] < LEAST_PRINT_PX] == []


@pytest.mark.parametrize("paper", ["A4", "Letter"])
@pytest.mark.parametrize("size", SIZES)
def test_the_first_printed_page_holds_every_item(look: Look, size: str, paper: str) -> None:
    """Every word of every item stands on page 1."""
    pypdf = pytest.importorskip("pypdf", reason="pypdf is missing")
    opened = look(size)
    opened.page.emulate_media(media="print")
    words = {name: opened.page.evaluate(WORDS_OF, name) for name in ITEMS}
    margin = dict.fromkeys(("top", "right", "bottom", "left"), "10mm")
    pdf = opened.page.pdf(format=paper, margin=margin, prefer_css_page_size=False)

    page = squeezed(pypdf.PdfReader(io.BytesIO(pdf)).pages[0].extract_text())

    missing = {
        name: [word["text"] for word in found if squeezed(word["text"]) not in page]
        for name, found in words.items()
    }
    assert {name: found for name, found in missing.items() if found} == {}


def squeezed(text: str) -> str:
    """Text without the blanks that a PDF does not keep."""
    return re.sub(r"\s", "", text)


def test_tables_sort_where_scripts_are_on(show: Show, pages: Pages) -> None:
    """A click on a head orders the rows by that column, and says so to a screen reader."""
    opened = show(pages["quick"])
    opened.page.evaluate(OPEN_ALL)
    table = opened.page.locator("table.sortable").first
    before = table.locator("tbody tr").all_inner_texts()
    heads = table.locator("thead th")
    heads.last.locator("button").click()

    sorts = [heads.nth(place).get_attribute("aria-sort") for place in range(heads.count())]
    assert [sort for sort in sorts if sort in ("ascending", "descending")] == [sorts[-1]]
    assert sorted(table.locator("tbody tr").all_inner_texts()) == sorted(before)


def test_the_page_reads_the_same_where_scripts_are_off(show: Show, pages: Pages) -> None:
    """No word needs a script: the first screen and every table are there without."""
    with_scripts = show(pages["quick"])
    without = show(pages["quick"], scripts=False)

    texts = [each.page.locator("main").text_content() for each in (with_scripts, without)]
    assert re.sub(r"\s+", " ", texts[0]) == re.sub(r"\s+", " ", texts[1])
    assert without.page.locator("table button").count() == 0


def test_screenshots_show_something(show: Show, pages: Pages, tmp_path: Any) -> None:
    """The first screen is drawn in light and in dark, and the two differ."""
    shots = []
    for scheme in ("light", "dark"):
        file = tmp_path / f"first-screen-{scheme}.png"
        show(pages["quick"], scheme=scheme).page.screenshot(path=file)
        shots.append(file.read_bytes())

    assert all(len(shot) > 30_000 for shot in shots)
    assert shots[0] != shots[1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_of_nights_is_quiet_and_accessible(
    show: Show, night_page: str, scheme: str
) -> None:
    """The page of the nights: no message, no request, no violation."""
    opened = show(night_page, scheme=scheme)

    assert violations(opened) == []
    assert opened.said == []
    assert opened.asked == []


def test_dates_sort_as_dates(show: Show, night_page: str) -> None:
    """A column of dates is ordered by day, and again the other way."""
    opened = show(night_page)
    opened.page.evaluate(OPEN_ALL)
    table = opened.page.locator("table", has_text="Every night, newest first")
    button = table.locator("thead th").nth(0).locator("button")

    orders = []
    for _ in range(2):
        button.click()
        orders.append([s[:10] for s in table.locator("tbody th").all_inner_texts()])

    days = [f"2021-01-0{day}" for day in range(2, 8)]
    assert orders == [days, days[::-1]]


@pytest.mark.parametrize("opening", ["", OPEN_ALL], ids=["closed", "open"])
def test_the_page_of_nights_fits_a_phone(show: Show, night_page: str, opening: str) -> None:
    """At 390 pixels it is as wide as the window."""
    opened = show(night_page, width=390, height=844)
    if opening:
        opened.page.evaluate(opening)

    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("what", ["page", "nights"])
def test_hostile_text_runs_nothing(show: Show, hostile: Pages, what: str) -> None:
    """Markup in names, reasons, cards and files sets no variable, loads nothing, breaks nothing."""
    opened = show(hostile[what])
    opened.page.evaluate(OPEN_ALL)

    assert opened.page.evaluate("typeof pwned") == "undefined"
    assert opened.asked == []
    assert opened.said == []
    assert opened.page.locator("img").count() == 0
