"""The index of a store: every verdict newest first, trends, machines apart, problems named."""

from __future__ import annotations

import dataclasses
import re
import sqlite3
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest
from scores_for_tests import with_truth

from harness.cli import run_cli
from harness.evidence.comparison import Effect
from harness.gate.history import CellInput, Inputs, record_verdicts
from harness.judging.declared import Given
from harness.judging.findings import Outcome
from harness.judging.verdict import Verdict
from harness.running.store_folder import Store, open_store, write_text
from reports.collect import collect_index
from reports.forms.markdown import index_markdown
from reports.index import RUNS, render_index
from reports.page_input import PageInput
from reports.words import verdicts

Make = Callable[..., PageInput]
MACHINES = {
    "small": {"processor": "Example CPU", "cores": "2", "memory_gib": "8", "gpu": "none"},
    "large": {"processor": "Example CPU", "cores": "64", "memory_gib": "512", "gpu": "Example GPU"},
}


class Tables(HTMLParser):
    """The rows of each table of a page, as text, by the table's caption."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: dict[str, list[list[str]]] = {}
        self._rows: list[list[str]] = []
        self._caption: str | None = None
        self._inside = self._joined = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._joined = tag == "wbr"
        if tag == "table":
            self._rows, self._caption = [], None
        elif tag == "caption":
            self._caption = ""
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._inside = False
        elif tag == "table":
            self.found.setdefault(self._caption or "", []).extend(self._rows[1:])

    def handle_data(self, data: str) -> None:
        if self._inside:
            blank = "" if self._joined else " "
            self._rows[-1][-1] = f"{self._rows[-1][-1]}{blank}{' '.join(data.split())}".strip()
        elif self._caption == "":
            self._caption = data.strip()


class Book:
    """A store that verdicts are put into, without any unit being computed."""

    def __init__(self, root: Path, make_page: Make) -> None:
        self.store: Store = open_store(root / "runs")
        page = make_page(datasets=["ALPHA"])
        self._verdict, self._scores = page.verdict, page.scores

    def verdict(self, effect: float = -0.02, outcome: Outcome = Outcome.PROMOTE) -> Verdict:
        """A verdict whose first finding has that effect."""
        verdict = dataclasses.replace(self._verdict, outcome=outcome)
        first = verdict.findings[0]
        assert first.comparison is not None
        found = dataclasses.replace(
            first,
            value=effect,
            outcome=outcome,
            comparison=dataclasses.replace(first.comparison, effect=Effect(value=effect)),
        )
        return dataclasses.replace(verdict, findings=(found, *verdict.findings[1:]))

    def put(
        self,
        verdict: Verdict,
        *,
        experiment: str = "quick",
        machine: str = "small",
        others: Sequence[Verdict] = (),
        page: bool = False,
        later: int = 0,
    ) -> Path:
        """Put a verdict into the history; `later` moves its last origin on by so many days."""
        cell = CellInput(
            arm="a",
            role="legacy",
            dataset="ALPHA",
            seed=1,
            unit="u",
            scores="s",
            machine=MACHINES.get(machine, {}),
        )
        inputs = Inputs(cells=(cell,), given=Given(), scoring="s")
        scores = [with_truth(unit, origin_date=unit.origin_date + later) for unit in self._scores]
        passed = [(each, inputs) for each in (verdict, *others)]
        name, *_ = record_verdicts(self.store, experiment, passed, scores=scores, conflicting=())
        folder = self.store.verdict_folder(experiment) / name
        if page:
            write_text(folder / "report.html", "a page")
        return folder


@pytest.fixture
def book(tmp_path: Path, make_page: Make) -> Book:
    """An empty store."""
    return Book(tmp_path, make_page)


def drawn(book: Book) -> str:
    return render_index(collect_index(book.store))


def listed(html: str) -> list[list[str]]:
    return Tables(html).found["Every verdict that was passed"]


def test_verdicts_are_listed_newest_first(book: Book) -> None:
    """Later evidence comes first; on the same evidence, what was passed last."""
    book.put(book.verdict(-0.01))
    book.put(book.verdict(-0.02), later=7)
    book.put(book.verdict(-0.03), later=7)
    book.put(book.verdict(-0.04), experiment="nightly", later=3)

    names = [row[0] for row in listed(drawn(book))]

    assert names == ["quick 3", "quick 2", "nightly 1", "quick 1"]


def test_an_experiments_order_stands_whatever_its_dates(book: Book) -> None:
    """A verdict on a plan that ends earlier is not put before those it came after."""
    book.put(book.verdict(-0.01), later=30)
    book.put(book.verdict(-0.02))

    assert [row[0] for row in listed(drawn(book))] == ["quick 2", "quick 1"]


def test_a_row_says_what_was_passed_and_whether_it_decides(book: Book) -> None:
    """Outcome, both arms, the sentence; a verdict for the record is told from one that decides."""
    verdict = book.verdict(outcome=Outcome.REJECT)
    other = dataclasses.replace(verdict, legacy="autoformer-repaired", outcome=Outcome.HOLD)
    book.put(verdict, others=[other])

    record, deciding = listed(drawn(book))

    assert deciding[2:7] == [
        "REJECT",
        "chronos-512",
        "autoformer",
        "yes",
        verdicts.summary(verdict),
    ]
    assert record[2:6] == ["HOLD", "chronos-512", "autoformer-repaired", "no"]


def test_a_row_says_what_changed_since_the_last_on_its_pair(book: Book) -> None:
    """New outcomes are named, and the same origins again are no new evidence."""
    book.put(book.verdict(0.01, Outcome.HOLD))
    book.put(book.verdict(-0.02, Outcome.PROMOTE))

    last, first = (row[7] for row in listed(drawn(book)))

    assert first == "the first on this pair"
    assert last.startswith("no new evidence; HOLD became PROMOTE; ALPHA:crps:guardrail: HOLD to ")


def test_the_same_verdict_again_writes_nothing(book: Book) -> None:
    """Passing the same verdict twice adds no record and no row."""
    book.put(book.verdict())
    head = book.store.journal.head
    book.put(book.verdict())

    assert book.store.journal.head == head
    assert len(listed(drawn(book))) == 1


def test_a_trend_holds_every_run_with_its_effect_and_outcome(book: Book) -> None:
    """The figures of a track: a row per run, newest first, in the unit of the criterion."""
    book.put(book.verdict(0.01, Outcome.HOLD))
    book.put(book.verdict(-0.031, Outcome.PROMOTE))

    tables = Tables(drawn(book)).found
    figures = tables["Effect of each rule by run, with its outcome"]

    assert [row[1:3] for row in figures] == [
        ["PROMOTE", "−3.1 % PROMOTE"],
        ["HOLD", "+1.0 % HOLD"],
    ]
    assert tables["Each rule over the runs"][0][-1] == "HOLD 1, then PROMOTE 1"


def test_a_strip_puts_worse_above_the_limit_and_better_below(book: Book) -> None:
    """With a margin of 5 %, the limit's line lies between effects of 2 and of 9 %."""
    for effect in (0.02, 0.09):
        book.put(book.verdict(effect, Outcome.HOLD))

    strip = re.findall(r'<svg class="trend".*?</svg></svg>', drawn(book))[0]
    limit = re.search(r'class="limit" d="M0 ([\d.]+)H', strip)
    line = re.search(r'<path d="M[\d.]+ ([\d.]+)L[\d.]+ ([\d.]+)"', strip)

    assert limit is not None
    assert line is not None
    assert float(line[2]) < float(limit[1]) < float(line[1])


def test_a_strip_has_words_and_signs_besides_colour(book: Book) -> None:
    """The text alternative holds the values; a sign stands where the outcome changed and last."""
    for effect, outcome in ((0.09, Outcome.HOLD), (0.09, Outcome.REJECT), (0.08, Outcome.REJECT)):
        book.put(book.verdict(effect, outcome))

    strip = re.findall(r'<svg class="trend".*?</svg></svg>', drawn(book))[0]

    assert re.findall(r'href="#mark-(\w+)"', strip) == ["reject", "reject"]
    assert "over 3 runs" in strip
    assert "+9.0\u202f%, +9.0\u202f%, +8.0\u202f%" in strip


def test_machines_of_unlike_classes_share_no_track(book: Book) -> None:
    """Each class of machine has its own track, and the list says which run was where."""
    book.put(book.verdict(-0.01), machine="small")
    book.put(book.verdict(-0.02), machine="large")
    book.put(book.verdict(-0.03), machine="small")

    index = collect_index(book.store)
    runs = {track.machine: [r.entry.sequence for r in track.runs] for track in index.tracks}
    names = [row[8] for row in listed(render_index(index))]

    assert sorted(runs.values()) == [[1, 3], [2]]
    assert any("64 cores" in machine and "Example GPU" in machine for machine in runs)
    assert names[0] == names[2] != names[1]


def test_a_long_history_is_cut_and_says_so(book: Book) -> None:
    """The newest runs are drawn; the list of verdicts stays whole."""
    for run in range(RUNS + 2):
        book.put(book.verdict(-0.001 * run))

    html = drawn(book)

    assert len(listed(html)) == RUNS + 2
    assert f"{RUNS} runs, 2 earlier left out" in html
    assert len(html.encode()) < 1 << 20


def test_what_cannot_be_read_is_named_and_the_rest_is_shown(book: Book) -> None:
    """A damaged record costs its own row's trend only, and no path of the machine is told."""
    torn = book.put(book.verdict(-0.01))
    book.put(book.verdict(-0.02))
    journal = book.store.journal
    damaged = journal.last("verdict", torn.name)
    assert damaged is not None
    journal.close()
    connection = sqlite3.connect(journal.path)
    connection.execute("UPDATE records SET body = 'x' WHERE seq = ?", (damaged.seq,))
    connection.commit()
    connection.close()

    index = collect_index(open_store(book.store.root))
    html = render_index(index)

    assert [run.entry.sequence for run in index.tracks[0].runs] == [2]
    assert len(listed(html)) == 2
    assert f"row {damaged.seq} (verdict {torn.name})" in html
    assert str(book.store.root.parent) not in html


def test_only_pages_that_were_drawn_are_linked(book: Book) -> None:
    """Links are relative to the verdicts' folder; an index that lies elsewhere has none."""
    with_page = book.put(book.verdict(-0.01), page=True)
    book.put(book.verdict(-0.02))

    links = re.findall(r'href="([^#"][^"]*)"', drawn(book))
    elsewhere = render_index(collect_index(book.store, linked=False))

    assert links == [f"quick/{with_page.name}/report.html"]
    assert not re.search(r'href="[^#]', elsewhere)


def test_a_store_without_verdicts_says_what_makes_one(book: Book) -> None:
    """Nothing passed yet is no error."""
    html = drawn(book)

    assert "0 verdicts" in html
    assert "abharness gate" in html


def test_the_verb_writes_the_index_beside_the_verdicts(
    book: Book, capsys: pytest.CaptureFixture[str]
) -> None:
    """`report --index` needs no experiment; md and json are printed."""
    book.put(book.verdict())
    store = ["--index", "--store", str(book.store.root)]

    codes = [run_cli(["report", *store]), run_cli(["report", *store, "--format", "md"])]
    out = capsys.readouterr().out

    file = book.store.root / "verdicts" / "index.html"
    assert codes == [0, 0]
    assert file.read_text(encoding="utf-8") == drawn(book)
    assert out == f"page: {file}\n{index_markdown(collect_index(book.store))}"


def test_a_long_list_in_markdown_stays_within_its_limit(book: Book) -> None:
    """Rows that do not fit are left out, the oldest first, and that is said."""
    for run in range(6):
        book.put(book.verdict(-0.001 * run))
    index = collect_index(book.store)

    short = index_markdown(index, limit=900)

    assert len(index_markdown(index)) > 1000 > len(short)
    assert "quick 6" in short
    assert "quick 1 " not in short
    assert "Left out for length" in short
