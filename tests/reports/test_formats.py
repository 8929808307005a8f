"""The page in Markdown and JSON: the same facts, within their limits."""

from __future__ import annotations

import dataclasses
import html
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness.cli import run_cli
from reports.forms import render_page
from reports.forms.junit import render_junit
from reports.forms.markdown import LIMIT
from reports.forms.terminal import render_terminal
from reports.page_input import PageInput
from reports.words.next_step import next_action

Make = Callable[..., PageInput]


def many(make_page: Make, arms: int) -> PageInput:
    """A page with many arms and long names."""
    names = {
        f"BayesianEnhancedAutoformer-repaired-{place:03}": ("legacy", (1,), 1.2)
        for place in range(arms)
    }
    pair = {"autoformer": ("legacy", (1,), 1.3), "chronos-512": ("candidate", (1,), 0.97)}
    walk = {"random-walk": ("reference", (1,), 1.0)}
    return make_page(arms={**walk, **pair, **names})


def test_markdown_holds_what_the_first_screen_holds(make_page: Make) -> None:
    """Outcome, both arms, why, criteria, doubts, worst, costs, trust, changes, how to replay."""
    page = make_page()
    text = render_page(page, "md")

    assert text.startswith("## ⏸️ HOLD: ")
    heads = re.findall(r"^### (.*)$", text, re.MULTILINE)
    wanted = [
        "Undecided", "Weakest slice", "Costs, candidate over legacy", "What it rests on",
        "Tried before", "If it fails", "Judge the same records again",
    ]  # fmt: skip
    assert [head for head in wanted if head not in heads] == []
    assert f"`{page.beside.replay_command}`" in text
    assert next_action(page.verdict.next_action).split()[0] in text


@pytest.mark.slow
def test_what_failed_names_its_log_in_every_form(make_page: Make) -> None:
    """A unit with failed windows says where its log lies: page, JSON, Markdown, text, JUnit."""
    page = make_page(fail={"chronos-512": 2}, datasets=["ALPHA"])
    logs = {("chronos-512", "ALPHA", 1): "runs/fits/abc/log.txt"}
    page = dataclasses.replace(page, beside=dataclasses.replace(page.beside, logs=logs))

    forms = [render_page(page, form) for form in ("html", "json", "md")]
    forms += [render_terminal(page), render_junit(page.verdict, logs=page.beside.logs)]

    flat = [re.sub(r"[\\\s]+", " ", form) for form in forms]
    assert [each.count("log: runs/fits/abc/log.txt") > 0 for each in flat] == [True] * 5


@pytest.mark.slow
def test_markdown_stays_short_whatever_the_grid(make_page: Make) -> None:
    """Tables that would make it longer than 60,000 characters are left out, and that is said."""
    page = many(make_page, 60)
    findings = page.verdict.findings * 40
    long = dataclasses.replace(page, verdict=dataclasses.replace(page.verdict, findings=findings))

    text = render_page(long, "md")

    assert len(render_page(page, "md")) < LIMIT
    assert len(text) < LIMIT
    assert "Left out for length" in text
    assert "HOLD" in text[:80]


@pytest.mark.slow
def test_json_holds_the_numbers_as_numbers(make_page: Make) -> None:
    """The verdict's record, one row per arm, dataset and metric, and what each unit took."""
    page = make_page(fail={"chronos-96": 2})
    found = json.loads(render_page(page, "json"))

    row = next(s for s in page.summaries if (s.arm, s.metric) == ("chronos-512", "crps"))
    shown = next(
        s
        for s in found["summaries"]
        if (s["arm"], s["metric"], s["dataset"]) == (row.arm, row.metric, row.dataset)
    )
    unit = next(u for u in found["units"] if (u["arm"], u["seed"]) == ("autoformer", 2))
    assert shown["value"] == row.value
    assert found["verdict"]["findings"][0]["value"] == page.verdict.findings[0].value
    assert unit["seconds"]["fit"] == pytest.approx(23.4)
    assert found["datasets"][0]["origins"] == 20


def parts_of(data: Any) -> Iterator[dict[str, Any]]:
    """Every mapping inside plain data."""
    if isinstance(data, dict):
        yield data
    for each in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
        yield from parts_of(each)


@pytest.mark.slow
def test_json_holds_every_table_of_the_page(make_page: Make) -> None:
    """Each captioned table, those under the charts included, with the same cells."""
    page = make_page(datasets=["ALPHA"])
    drawn = html.unescape(render_page(page, "html"))
    sections = json.loads(render_page(page, "json"))["sections"]
    tables = [each for each in parts_of(sections) if each.get("kind") == "table"]

    found = re.findall(r"<caption><span>(.*?)</span></caption>", drawn)
    captions = {re.sub(r"</?small>", "", each) for each in found}
    assert captions
    assert captions <= {table["caption"] for table in tables}
    assert all(len(row) == len(table["columns"]) for table in tables for row in table["rows"])


def test_an_unknown_format_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """One line names the three there are."""
    code = run_cli(["report", "--nights", "--format", "pdf"])
    said = capsys.readouterr().err

    assert code == 2
    assert said.count("\n") == 1
    assert all(form in said for form in ("html", "md", "json"))
