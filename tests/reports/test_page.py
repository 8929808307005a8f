"""The HTML page: complete, self-contained, escaped, the same bytes each time."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from harness.evidence.comparison import Effect, Planning
from harness.judging.declared import Cell, PlanRecord
from harness.judging.fact import Fact, FactCode, fact
from harness.judging.findings import Outcome
from harness.reasons import ReasonCode, reason
from reports.forms.html import render_html
from reports.page_input import PageInput
from reports.words.next_step import next_step
from reports.words.reason_words import why
from reports.words.verdicts import headline

Make = Callable[..., PageInput]
VOID = {"meta", "br", "wbr", "hr", "img", "input", "link", "path", "line", "circle", "use"}
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;$x^2$ 漢字 "


class Outline(HTMLParser):
    """Open and close tags, ids, links and words of a page."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.torn: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.tags: Counter[str] = Counter()
        self.headings: list[int] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "xlink:href"):
                self.targets.append(value or "")
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.torn.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        """All words, one blank apart."""
        return " ".join(" ".join(self.words).split())


def script_of(html: str) -> str:
    """The only script of a page."""
    return html.partition("<script>")[2].partition("</script>")[0]


@pytest.fixture(scope="session")
def whole(make_page: Make) -> str:
    """A whole page, drawn."""
    return render_html(make_page())


@pytest.mark.slow
@pytest.mark.smoke
def test_the_same_records_give_the_same_bytes(
    make_page: Make, whole: str, known_charts: dict[bytes, str]
) -> None:
    """Drawing a page twice, from records made twice, gives the same text."""
    known_charts.clear()

    assert render_html(make_page()) == whole


@pytest.mark.slow
def test_another_process_draws_the_same_bytes(
    make_page: Make, whole: str, known_charts: dict[bytes, str]
) -> None:
    """Neither the hash seed nor a user's matplotlib settings change the page."""
    import matplotlib as mpl

    known_charts.clear()
    with mpl.rc_context({"font.size": 22, "axes.grid": True, "svg.fonttype": "path"}):
        drawn = render_html(make_page())

    assert whole == drawn


def test_tags_are_balanced(whole: str) -> None:
    """Every tag that opens is closed, in order."""
    outline = Outline(whole)

    assert outline.torn == []
    assert outline.open == []


def test_ids_are_unique_and_links_lead_somewhere(whole: str) -> None:
    """No id comes twice, charts included, and each inner link has its target."""
    outline = Outline(whole)

    assert [name for name, count in Counter(outline.ids).items() if count > 1] == []
    assert {target for target in outline.targets if target.lstrip("#") not in outline.ids} == set()
    assert set(re.findall(r"url\(#([^)]*)\)", whole)) <= set(outline.ids)


def test_nothing_is_loaded_and_nothing_runs_but_sorting(whole: str) -> None:
    """There is no address, no import and no image, and no script but the one that sorts tables."""
    outline = Outline(whole)

    assert outline.tags["script"] == 1
    assert whole.count("</script>") == 1
    assert not re.search("fetch|XMLHttp|import|eval|cookie|localStorage", script_of(whole))
    assert "http" not in whole
    assert "@import" not in whole
    assert all(target.startswith("#") for target in outline.targets)


def test_headings_go_down_one_level_at_a_time(whole: str) -> None:
    """The outline starts with the only h1 and skips no level on the way down."""
    headings = Outline(whole).headings

    assert headings.count(1) == 1
    assert headings[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))


def test_each_table_has_a_caption_and_scopes(whole: str) -> None:
    """Every table says what it holds, and every head says what it heads."""
    outline = Outline(whole)

    assert outline.tags["table"] == outline.tags["caption"]
    assert re.findall(r"<th(?![^>]*scope=)[ >]", whole) == []


def test_each_chart_has_words_for_those_who_cannot_see_it(whole: str) -> None:
    """Every picture carries a text alternative and belongs to a figure with a caption."""
    charts = re.findall(r'<svg class="chart"[^>]*>', whole)

    assert len(charts) == Outline(whole).tags["figure"] == Outline(whole).tags["figcaption"]
    assert all('role="img"' in chart and 'aria-label="' in chart for chart in charts)
    assert all(
        len(label) > 20 for label in re.findall(r'class="chart"[^>]*aria-label="([^"]*)', whole)
    )


def test_no_stand_in_colour_is_left(whole: str) -> None:
    """Charts take every colour from the style sheet, so that they follow light and dark."""
    assert re.findall(r"#0[0-9a]0[0-9a]0[0-9a]", whole) == []
    assert set(re.findall(r"var\((--[a-z-]+)\)", whole)) <= set(re.findall(r"(--[a-z-]+):", whole))
    assert re.findall(r"(?:fill|stroke): #", whole) == []


@pytest.mark.slow
@pytest.mark.parametrize("outcome", list(Outcome))
def test_the_outcome_stands_first(make_page: Make, outcome: Outcome) -> None:
    """Word, shape, sentence and next step of each outcome open the page."""
    page = make_page(outcome=outcome, datasets=["ALPHA"])

    html = render_html(page)
    heading = html[html.index("<h1") : html.index("</h1>")]

    assert f">{outcome.value}</span>" in heading
    assert f'href="#mark-{outcome.lower()}"' in html[: html.index("<h1")].rpartition("<main>")[2]
    assert headline(page.verdict) in html
    step = next_step(page.verdict.next_action, store=page.beside.store)
    assert step in re.sub("</?code>", "`", html)


@pytest.mark.slow
def test_every_criterion_is_shown_with_its_numbers(make_page: Make) -> None:
    """Each finding is a row of the interval plot, in words and numbers."""
    page = make_page()

    html = render_html(page)
    rows = html[html.index('<table class="scorecard') : html.index("</table>")]

    kept = sum(each.role == "limit" for each in page.verdict.findings)

    assert rows.count('<tr role="row">') == 1 + len(page.verdict.findings) - kept
    assert "Kept, not drawn: failures." in html
    assert "−8.0\u202f%" in rows
    assert "+8.8 to +13.2\u202f%" in rows  # the widest of all methods that decide
    assert "80 ± 5\u202f%" in rows


@pytest.mark.slow
def test_all_that_the_reader_must_know_is_there(whole: str) -> None:
    """Distribution, checkpoint, refits, repeats, machine, licence and policy are all stated."""
    text = Outline(whole).text

    for words in (
        "the harness makes",
        "pretrained on synthetic series only",
        "fitted once, before the first origin",
        "repeat the price before them, kept",
        "single, unpaired measurements",
        "Example CPU 9000",
        "none needed",
        "starts as an index at 100.00",
        "nothing was trained, so there is no curve",
        "41 by 2026-05-04",
        "9f9f9f9f",
        'title = "Synthetic market"',
    ):
        assert words.lower() in text.lower()


@pytest.mark.slow
def test_overlapping_origins_have_the_others_beside(whole: str) -> None:
    """Where origins overlap, the metrics stand once more on those that do not."""
    assert "The same on the 10 origins of ALPHA that do not overlap" in whole


@pytest.mark.slow
def test_prospective_origins_and_installations_stand_on_the_page(make_page: Make) -> None:
    """How many origins were forecast before their outcome, and what other installations did."""
    page = make_page(datasets=["ALPHA"])
    plan = page.verdict.plan
    assert plan is not None
    event: dict[str, Any] = {"arm": "chronos-512", "dataset": "ALPHA", "seed": 1, "origins": 5}
    event |= {"day": "2026-01-02", "changed": "torch 2.5 -> 2.6", "apart": "a forecast differs"}
    events = [fact(FactCode.MAINTENANCE, **event, equal=equal) for equal in (True, False)]
    for each in (
        dataclasses.replace(plan, maintenance=(events[0],)),
        dataclasses.replace(
            plan,
            maintenance=(events[1],),
            datasets=(dataclasses.replace(plan.datasets[0], prospective=3),),
        ),
    ):
        verdict = dataclasses.replace(page.verdict, plan=each)
        text = Outline(render_html(dataclasses.replace(page, verdict=verdict))).text
        equal, some = not each.datasets[0].prospective, "3 of them prospective"

        assert f"Installation {'passed' if equal else 'note'}" in text
        assert "torch 2.5 -> 2.6" in text
        assert ("forecasts of its fits are equal" in text) == equal
        assert (some in text) != equal


def test_an_arm_that_fails_everywhere_is_shown_as_such(make_page: Make) -> None:
    """No window of the candidate: no forecast to draw, failures listed with their reason."""
    text = Outline(render_html(make_page(fail={"chronos-512": 20}, datasets=["ALPHA"]))).text

    assert "No window of chronos-512 on ALPHA has a score" in text
    assert "ValueError: too hot" in text
    assert "n/a" in text


@pytest.mark.slow
def test_some_failed_windows_leave_the_others_in_the_picture(make_page: Make) -> None:
    """NaN in some windows: no mean is shown, the worst window is one that was done."""
    page = make_page(fail={"chronos-512": 3}, datasets=["ALPHA"])
    text = Outline(render_html(page)).text

    assert "18 missing" in text
    assert "Worst window" in text


@pytest.mark.slow
def test_one_seed_and_one_arm_a_side_are_enough(make_page: Make) -> None:
    """With one seed there is no range, and nothing breaks."""
    arms = {
        "random-walk": ("reference", (1,), 1.0),
        "autoformer": ("legacy", (7,), 1.3),
        "chronos-512": ("candidate", (1,), 1.0),
    }
    page = make_page(arms=arms, datasets=["ALPHA"])

    assert "seed 7" in render_html(page)


@pytest.mark.slow
def test_an_arm_that_gives_a_point_path_only_is_drawn(make_page: Make) -> None:
    """Without a distribution the chart shows the path, and the table no interval."""
    page = make_page(datasets=["ALPHA"])
    answers = {
        key: dataclasses.replace(unit, forecast=type(unit.forecast).of_point(unit.forecast.point))
        if key[0] == "autoformer"
        else unit
        for key, unit in page.answers.items()
    }

    assert "point path only" in render_html(dataclasses.replace(page, answers=answers))


@pytest.mark.slow
def test_samples_are_drawn_like_quantiles(make_page: Make) -> None:
    """A forecast of samples [W, M, H] gets the same fan."""
    page = make_page(datasets=["ALPHA"])
    answers = dict(page.answers)
    for key in [key for key in answers if key[0] == "chronos-512"]:
        quantiles = answers[key].forecast.quantiles
        assert quantiles is not None
        samples = type(answers[key].forecast).of_samples(np.swapaxes(quantiles, 1, 2))
        answers[key] = dataclasses.replace(answers[key], forecast=samples)

    html = render_html(dataclasses.replace(page, answers=answers))

    assert "candidate, seed 1; median with 50, 80 and 95 % bands" in html


@pytest.mark.slow
@pytest.mark.parametrize(
    "missing",
    [
        {"curves": {}},
        {"units": {}},
        {"scores": []},
        {"summaries": []},
        {"datasets": {}},
        {"arms": []},
        {"environment": {}, "versions": {}, "fingerprints": {}, "experiment_text": ""},
        {
            "curves": {},
            "units": {},
            "scores": [],
            "summaries": [],
            "datasets": {},
            "arms": [],
        },
    ],
    ids=lambda each: "+".join(each),
)
def test_a_piece_that_is_missing_is_said_and_breaks_nothing(
    make_page: Make, missing: dict[str, Any]
) -> None:
    """The page is drawn, balanced, whatever record is not there."""
    outline = Outline(render_html(dataclasses.replace(make_page(datasets=["ALPHA"]), **missing)))

    assert outline.torn == []
    assert "HOLD" in outline.text


@pytest.mark.slow
def test_one_unit_missing_is_named(make_page: Make) -> None:
    """An INVALID verdict names the cell and still shows what is there."""
    page = make_page(outcome=Outcome.INVALID)
    key = ("chronos-512", "BETA", 1)
    units = {each: unit for each, unit in page.units.items() if each != key}
    scores = [each for each in page.scores if (each.arm, each.dataset) != key[:2]]
    rows = [row for row in page.summaries if (row.arm, row.dataset) != key[:2]]

    text = Outline(
        render_html(dataclasses.replace(page, units=units, scores=scores, summaries=rows))
    ).text

    assert "missing: chronos-512 on BETA, seed 1" in text
    assert "no unit is stored" in text


@pytest.mark.slow
def test_nothing_judged_is_said(make_page: Make) -> None:
    """A verdict without findings has no plot and says so."""
    page = make_page(outcome=Outcome.INVALID, findings=[], datasets=["ALPHA"])

    assert "No rule was judged" in render_html(page)


@pytest.mark.slow
def test_a_finding_without_numbers_is_shown(make_page: Make) -> None:
    """A comparison without an effect has a row, no bar, and its reason among the doubts."""
    from_conftest = make_page(outcome=Outcome.INVALID)
    first = from_conftest.verdict.findings[0]
    assert first.comparison is not None
    bare = dataclasses.replace(
        first,
        value=None,
        outcome=Outcome.INVALID,
        comparison=dataclasses.replace(
            first.comparison,
            effect=Effect(),
            variances=None,
            estimates=(),
            equality=None,
            planning=Planning(),
            reason=reason(ReasonCode.NO_SCORES),
        ),
    )

    html = render_html(make_page(outcome=Outcome.INVALID, findings=[bare], datasets=["ALPHA"]))

    assert "no interval" in html
    assert why(reason(ReasonCode.NO_SCORES)) in html


@pytest.mark.slow
def test_a_loss_that_is_not_finite_breaks_no_chart(make_page: Make) -> None:
    """A diverged fit (NaN from some epoch on) is drawn as far as it goes."""
    page = make_page(datasets=["ALPHA"])
    curves = {
        key: {name: each.copy() for name, each in curve.items()}
        for key, curve in page.curves.items()
    }
    for key, curve in curves.items():
        if curve:
            curve["validation_loss"][0 if key[2] == 1 else 3 :] = np.nan

    text = Outline(render_html(dataclasses.replace(page, curves=curves))).text

    assert "n/a" in text


def evil_problem() -> Fact:
    """A problem whose every text has markup in it."""
    place = {"dataset": EVIL, "metric": EVIL, "part": EVIL}
    return fact(FactCode.NOT_COMPARED, **place, problem="no_metric", arm=EVIL, seed=1, loss=EVIL)


def evil_page(page: PageInput) -> PageInput:
    """The same page with markup in every text that comes from outside."""

    def bad(text: str) -> str:
        return EVIL + text

    verdict = page.verdict
    findings = tuple(
        dataclasses.replace(each, id=bad(each.id), found=evil_problem())
        for each in verdict.findings
    )
    names = {arm.name: bad(arm.name) for arm in page.arms}
    sets = {name: bad(name) for name in page.datasets}
    validity = dataclasses.replace(
        verdict.validity,
        problems=(evil_problem(),),
        missing=(Cell(arm=EVIL, dataset=EVIL, seed=1),),
        reference=names["random-walk"],
        truth_digests={sets[name]: EVIL for name in verdict.validity.truth_digests},
        units=tuple(
            dataclasses.replace(each, arm=names[each.arm], first_reason=EVIL)
            for each in verdict.validity.units
        ),
        standings=tuple(
            dataclasses.replace(
                each, arm=names[each.arm], dataset=sets[each.dataset], reference=EVIL
            )
            for each in verdict.validity.standings
        ),
    )
    findings = tuple(
        dataclasses.replace(
            each,
            dataset=sets[each.dataset],
            metric=bad(each.metric) if place == 0 else each.metric,
            comparison=each.comparison
            and dataclasses.replace(
                each.comparison,
                reason=reason(ReasonCode.NO_SCORES_OF, arm=EVIL, dataset=EVIL),
                planning=Planning(decided_by=EVIL),
            ),
        )
        for place, each in enumerate(findings)
    )

    def key(each: tuple[str, str, int]) -> tuple[str, str, int]:
        return names[each[0]], sets[each[1]], each[2]

    pair = {"candidate": names[verdict.candidate], "legacy": names[verdict.legacy]}
    return PageInput(
        verdict=dataclasses.replace(
            verdict,
            candidate=names[verdict.candidate],
            legacy=names[verdict.legacy],
            summary=fact(FactCode.NO_CONCLUSION, **pair).resting_on(evil_problem()),
            reasons=(evil_problem(),),
            findings=findings,
            validity=validity,
            policy={"mode": EVIL, EVIL: {EVIL: [EVIL]}, "reference": names["random-walk"]},
            plan=PlanRecord(experiment=EVIL, seeds=(1,), datasets=()),
            fingerprints={EVIL: EVIL},
            next_action=fact(FactCode.KEEP, **pair, rules=((EVIL, "crps", EVIL),), experiment=EVIL),
        ),
        title=EVIL,
        experiment_text=EVIL,
        summaries=[
            dataclasses.replace(
                row,
                arm=names[row.arm],
                dataset=sets[row.dataset],
                metric=bad(row.metric) if row.metric == "bias" else row.metric,
            )
            for row in page.summaries
        ],
        scores=[
            dataclasses.replace(
                each,
                arm=names[each.arm],
                truth=dataclasses.replace(each.truth, dataset=sets[each.dataset]),
                reason=tuple(EVIL if reason else "" for reason in each.reason),
            )
            for each in page.scores
        ],
        units={
            key(each): dataclasses.replace(unit, machine=dict.fromkeys(unit.machine, EVIL))
            for each, unit in page.units.items()
        },
        answers={key(each): unit for each, unit in page.answers.items()},
        curves={key(each): curve for each, curve in page.curves.items()},
        datasets={
            sets[name]: dataclasses.replace(
                facts,
                id=sets[name],
                title=EVIL,
                unit=EVIL,
                source=EVIL,
                licence=EVIL,
                sha256=EVIL,
                first_origin=EVIL,
                last_origin=EVIL,
                warnings=(EVIL,),
                quirks=(EVIL,),
            )
            for name, facts in page.datasets.items()
        },
        arms=[
            dataclasses.replace(
                arm,
                name=names[arm.name],
                use=EVIL,
                options={EVIL: EVIL},
                card={"checkpoint " + EVIL: EVIL},
            )
            for arm in page.arms
        ],
        environment={EVIL: EVIL},
        versions={EVIL: EVIL},
        fingerprints={EVIL: EVIL},
    )


@pytest.mark.slow
def test_markup_from_outside_stays_text(make_page: Make) -> None:
    """Markup in names, reasons, cards, units and every other outside text is shown, never read."""
    plain = render_html(make_page(fail={"chronos-96": 2}))
    evil = render_html(evil_page(make_page(fail={"chronos-96": 2})))
    outline = Outline(evil)

    assert outline.tags["script"] == 1
    assert script_of(evil) == script_of(plain)
    assert outline.tags["img"] == 0
    assert "onerror" not in re.sub(r'"[^"]*"', "", "".join(re.findall(r"<[a-z][^>]*>", evil)))
    assert outline.torn == []
    named, expected = (
        [re.sub(r"-[a-z][0-9a-f]{10}$", "", name) for name in found.ids]  # shapes of a chart
        for found in (outline, Outline(plain))
    )
    assert named == expected
    assert evil.count("&lt;script&gt;") > 100


def test_a_page_stays_small(whole: str) -> None:
    """Two datasets with six arms stay far below a mebibyte."""
    assert len(whole.encode()) < 400_000


def test_importing_reports_costs_nothing() -> None:
    """Neither drawing nor frames nor networks are imported before a page is asked for."""
    heavy = [
        "matplotlib",
        "jinja2",
        "torch",
        "transformers",
        "pandas",
        "statsmodels",
        "pyarrow",
        "scipy",
    ]
    code = (
        "import sys, reports.sections, reports.forms.markdown, reports.forms.junit; "
        "import reports.forms.terminal; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


@pytest.mark.slow
def test_drawing_imports_no_torch() -> None:
    """Templates and charts need no network library and no data frame."""
    code = (
        "import sys; from reports.svg import chart_style, new_figure, to_svg\n"
        "with chart_style(): to_svg(new_figure()[0], name='a', alt='b')\n"
        "print([n for n in ('torch', 'transformers', 'pandas', 'statsmodels', "
        "'matplotlib.pyplot') if n in sys.modules])"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"
