"""A policy held against growing data: when a look takes place, and what stands in between."""

import dataclasses
import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from in_process import InThisProcess, Quiet

from harness.data.dataset import load
from harness.errors import StoreError
from harness.experiments.experiment import read_experiment
from harness.gate.dossier import Dossier
from harness.gate.judge import judge_grid, scored, stored_judgement
from harness.gate.looks import LOOK, TRIED, read_now, record_reading
from harness.gate.nights import record_night
from harness.gate.recompute import replay
from harness.gate.rehearsal import rehearse
from harness.gate.upkeep import adopt
from harness.judging.declared import LookLevel
from harness.judging.fact import FactCode, fact
from harness.judging.findings import Outcome
from harness.running.fill import fill
from harness.running.grid import declare
from harness.running.store_folder import open_store
from harness.window import up_to
from reports.forms.html import html_of
from reports.forms.terminal import text_of
from reports.rehearsal_page import RehearsalPage
from reports.words.verdicts import rule_name

ENDS = 9000
"""Sessions of the first night."""
GROWING = (
    ('metric = "crps"', 'metric = "rmse"'),
    ("margin = 0.05", "margin = 0.004\n\n[policy.looks]\nmax_origins = 19\nattempts = 1"),
    ('mode = "replace"', 'mode = "replace"\nmin_origins = 10'),
    ("stride = 5", "stride = 1"),
    ("origins = 40", "origins = 76"),
    ("seeds = [1, 2]", "seeds = [1]"),
)


@pytest.fixture(scope="module")
def gold():
    return load("GOLD")


def night(file, gold, sessions, store="runs"):
    """Forecast and judge on the first sessions of the data."""
    data = dataclasses.replace(gold, series=up_to(gold.series, sessions))
    opened = open_store(Path(store))
    grid = declare(read_experiment(str(file)), {"GOLD": data}, opened)
    fill(grid, opened, workers=1, progress=Quiet(), executor=InThisProcess())
    return grid, opened, judge_grid(grid, opened, policy=grid.experiment.policy)


def rows(store, kind):
    return [record.key for record in store.journal.records(kind)]


@pytest.mark.slow
def test_a_look_takes_place_when_an_independent_origin_has_come(tiny, gold):
    """At stride 1 and horizon 5, one session in five brings a look; the others change nothing."""
    file = tiny(*GROWING)
    first, between, second = (night(file, gold, ENDS + more)[2] for more in (0, 4, 5))

    assert [each.verdict.look.number for each in (first, between, second)] == [1, 1, 2]
    codes = [each.news[0].code for each in (first, between, second)]
    assert codes == [FactCode.FIRST_VERDICT, FactCode.NOTHING_NEW, FactCode.STILL]
    assert (between.folder, between.head) == (first.folder, first.head)
    assert [len(unit) for unit in between.scores] == [len(unit) for unit in first.scores]


@pytest.mark.slow
def test_the_last_planned_origin_ends_it(tiny, gold):
    """With all that was planned and nothing shown the HOLD is the last, whatever comes later."""
    file = tiny(*GROWING)
    nights = [night(file, gold, ENDS + more) for more in (0, 15, 20)]

    verdicts = [each[2].verdict for each in nights]
    assert [each.look.number for each in verdicts] == [1, 2, 2]
    assert verdicts[1].look.last
    assert verdicts[1].next_action.code is FactCode.PLAN_ENDED
    assert stored_judgement(nights[2][0], nights[2][1]).verdict == verdicts[1]
    store = nights[2][1]
    assert rows(store, LOOK) == [rows(store, TRIED)[0]] * 2
    golden = Path(__file__).parents[2] / "golden" / LOOK / "schema-1.json"
    taken = store.journal.body(store.journal.records(LOOK)[0])
    assert taken.keys() == json.loads(golden.read_text(encoding="utf-8")).keys()


def test_what_was_shown_stays_shown(tiny, gold):
    """A decision at a look stands, whatever comes later."""
    file = tiny(*GROWING, ('metric = "rmse"', 'metric = "crps"'))
    first, later = (night(file, gold, ENDS + more)[2] for more in (0, 10))

    assert first.verdict.outcome == "PROMOTE"
    assert later.verdict == first.verdict
    assert later.news[0].code is FactCode.NOTHING_NEW


def test_other_rules_on_the_same_origins_are_another_attempt(tiny, gold):
    """A changed margin is attempt 2; with one attempt planned nothing is left for it."""
    night(tiny(*GROWING), gold, ENDS)
    file = tiny(*GROWING, ("margin = 0.004", "margin = 0.2"), name="other.toml")
    _, store, found = night(file, gold, ENDS)

    assert found.verdict.look.attempt == 2
    assert found.verdict.look.share == 0
    assert found.verdict.outcome == "HOLD"
    codes = [each.because.code for each in found.verdict.reasons if each.because]
    assert FactCode.ATTEMPTS_USED in codes
    assert FactCode.TRIED_BEFORE in codes
    assert len(set(rows(store, TRIED))) == 2


@pytest.mark.slow
def test_without_looks_another_attempt_is_a_caution(tiny, gold):
    """The same question again says nothing; another one on the same sessions says which it is."""
    _, _, first = night(tiny(), gold, ENDS)
    _, _, again = night(tiny(), gold, ENDS)
    _, store, other = night(tiny(("margin = 0.05", "margin = 0.06")), gold, ENDS)

    def tried(found):
        return [r.because for r in found.verdict.reasons
                if r.because and r.because.code is FactCode.TRIED_BEFORE]  # fmt: skip

    assert [tried(first), tried(again)] == [[], []]
    (caution,) = tried(other)
    assert (caution.values["attempt"], caution.values["what"]) == (2, ("rules",))
    assert other.verdict.look is None
    assert len(rows(store, TRIED)) == 2


def test_of_two_jobs_at_once_one_takes_the_look(tiny, gold):
    """The one that comes late stops with a line; the look of the other is there, once."""
    file = tiny(*GROWING)
    grid, store, _ = night(file, gold, ENDS)
    data = dataclasses.replace(gold, series=up_to(gold.series, ENDS + 5))
    grid = declare(read_experiment(str(file)), {"GOLD": data}, store)
    fill(grid, store, workers=1, progress=Quiet(), executor=InThisProcess())
    asked = Dossier(grid=grid, store=store, policy=grid.experiment.policy)
    late = read_now(asked, scored(grid, store).scores)

    quick = judge_grid(grid, open_store(Path("runs")), policy=grid.experiment.policy)
    with pytest.raises(StoreError, match="another job took look 2 in the meantime; run the"):
        record_reading(store, late, quick.verdict, "late")

    assert (late.look.number, quick.verdict.look.number) == (2, 2)
    assert len(rows(store, LOOK)) == 2


@pytest.mark.slow
def test_another_installation_is_no_other_attempt(tiny, gold, edited_module):
    """With other code between data and forecasts, and the same numbers, the looks go on."""
    file = tiny(*GROWING)
    night(file, gold, ENDS)
    with edited_module("harness.residuals", added="UNUSED = 1"):
        _, store, found = night(file, gold, ENDS + 5)

    assert (found.verdict.look.number, found.verdict.look.attempt) == (2, 1)
    assert len(set(rows(store, TRIED))) == 1


def test_lost_records_are_said(tiny, gold):
    """A store adopted without its records counts as a new attempt of an unknown number."""
    file = tiny(*GROWING)
    grid, store, _ = night(file, gold, ENDS)
    store.journal.close()
    Path("runs/records.sqlite").unlink()
    with pytest.raises(StoreError, match="results without their records"):
        open_store(Path("runs"))
    store = open_store(Path("runs"), without_records=True)
    adopt(store, grid, why="the disk was full")

    found = judge_grid(grid, store, policy=grid.experiment.policy)

    lost = [r.because.values for r in found.verdict.reasons
            if r.because and r.because.code is FactCode.RECORDS_LOST]  # fmt: skip
    assert [each["why"] for each in lost] == ["the disk was full"]


@pytest.mark.parametrize("kind", ["look", "tried", "night"])
def test_an_edited_record_ends_with_a_line(tiny, gold, kind):
    """A look, an attempt or a night that was changed by hand is refused by name, never used."""
    file = tiny(*GROWING)
    grid, store, found = night(file, gold, ENDS)
    record_night(Dossier(grid=grid, store=store, policy=grid.experiment.policy), found)
    store.journal.close()
    connection = sqlite3.connect("runs/records.sqlite")
    connection.execute("UPDATE records SET body = '{}' WHERE kind = ?", (kind,))
    connection.commit()
    connection.close()

    def again():
        grid, store, found = night(file, gold, ENDS)
        record_night(Dossier(grid=grid, store=store, policy=grid.experiment.policy), found)

    with pytest.raises(StoreError, match=rf"{kind}.* its body was changed after it was written"):
        again()


@pytest.mark.slow
def test_a_rehearsal_says_what_the_nights_said(tiny, gold):
    """From stored forecasts it takes the looks that the nights took, with the same outcomes."""
    file = tiny(*GROWING)
    nights = [night(file, gold, ENDS + more) for more in (0, 5, 10, 15)]
    grid, store, _ = nights[-1]
    head = store.journal.head

    found, exchanged, at_margin = rehearse(
        grid, store, policy=grid.experiment.policy, since=nights[0][2].verdict.look.until
    )

    assert [look.origins for look, _ in found.looks] == [{"GOLD": n} for n in (16, 17, 18, 19)]
    for (look, verdict), (*_, passed) in zip(found.looks, nights, strict=True):
        assert look == passed.verdict.look
        assert verdict.outcome == passed.verdict.outcome
    assert exchanged.truth == "arms exchanged"
    assert at_margin.outcome != "PROMOTE"
    assert store.journal.head == head


@pytest.mark.slow
def test_a_rehearsal_exchanges_arms_with_other_seeds(tiny, gold):
    """A side that learns and one that does not trade places; every form tells where they end."""
    seeds = ("seeds = [1]", "seeds = [1, 2]")
    grid, store, _ = night(tiny(*GROWING, seeds), gold, ENDS + 5)

    found = rehearse(grid, store, policy=grid.experiment.policy)
    told = {"title": "Gold", "experiment": "tiny.toml"}
    sections = RehearsalPage(found=found, **told).sections(paths=True)
    plain = text_of(RehearsalPage(found=found, **told).sections(paths=False), width=80)

    assert [each.outcome for each in found[1:]] == ["HOLD", "HOLD"]
    assert max(map(len, plain.splitlines())) <= 80
    once = dataclasses.replace(found[0], looks=found[0].looks[-1:])
    alone = text_of(
        RehearsalPage(found=[once, *found[1:]], **told).sections(paths=False), width=200
    )
    assert "after 1 look." in alone
    assert all(f"{each.truth}  " in plain for each in found)
    page = html_of(sections, head="x", title="y")
    assert [f'id="{name}"' in page for name in ("as-it-was", "at-the-margin")] == [True, True]
    assert "GOLD RMSE, at the margin" in page


def _told(found, **changed):
    """The rehearsal as the terminal has it, with the last look of the first truth changed."""
    first, *others = found
    look, verdict = first.looks[-1]
    level = LookLevel(guardrail=0.01, success=0.01, reject=0.01)
    look = dataclasses.replace(look, levels=dict.fromkeys(look.levels, level))
    last = (look, dataclasses.replace(verdict, **changed))
    first = dataclasses.replace(first, looks=(*first.looks[:-1], last))
    told = RehearsalPage(found=[first, *others], title="Gold", experiment="x").sections(paths=False)
    return " ".join(text_of(told, width=80).split())


def test_a_rehearsal_says_why_a_result_is_not_what_its_bounds_show(tiny, gold):
    """Shown at an earlier look, held back for REJECT's level, or INVALID: said in words, first."""
    grid, store, _ = night(tiny(*GROWING), gold, ENDS + 5)
    found = rehearse(grid, store, policy=grid.experiment.policy)
    verdict = found[0].looks[-1][1]
    each = next(one for one in verdict.findings if one.comparison is not None)
    latched = fact(FactCode.SHOWN_BEFORE, since="2020-02-20")
    shown = dataclasses.replace(each, outcome=Outcome.PROMOTE, found=latched)
    beyond = fact(FactCode.NOT_BEYOND_YET, level=0.01, p=0.02)
    held = dataclasses.replace(each, id="other", outcome=Outcome.HOLD, found=beyond)
    problem = fact(FactCode.NOTHING_COMPARED)
    broken = dataclasses.replace(verdict.validity, problems=(problem,))

    plain = _told(found, findings=(shown, held))
    invalid = _told(found, validity=broken, outcome=Outcome.INVALID)

    name = f"{each.dataset} {rule_name(each)}"
    assert f"- {name}: shown at an earlier look, and so it stays" in plain
    assert f"- {name}: it lies beyond its limit (p 0.02), and a REJECT asks for at most" in plain
    assert plain.startswith("HOLD: ")
    assert invalid.startswith("INVALID: No conclusion on ")
    assert "Nothing was compared." in invalid[:200]


def test_a_rule_is_shown_as_its_last_look_left_it(tiny, gold):
    """A night without a look draws bounds at no level: those of its last look stand."""
    grid, store, _ = night(tiny(*GROWING), gold, ENDS + 5)
    found = rehearse(grid, store, policy=grid.experiment.policy)
    look, verdict = found[0].looks[-1]
    blind = dict.fromkeys(look.levels, LookLevel(guardrail=None, success=None, reject=None))
    moved = [dataclasses.replace(each, value=8.5) for each in verdict.findings]
    later = (
        dataclasses.replace(look, levels=blind),
        dataclasses.replace(verdict, findings=tuple(moved)),
    )
    first = dataclasses.replace(found[0], looks=(*found[0].looks, later))

    sections = RehearsalPage(found=[first, *found[1:]], title="Gold", experiment="x").sections(
        paths=False
    )
    told = text_of(sections, width=200)

    assert "850.0" not in told
    assert moved[0].dataset in told


@pytest.mark.slow
def test_after_the_last_attempt_prospective_origins_count_at_the_whole_error_rate(tiny, gold):
    """Closed on what was seen, an attempt is judged on outcomes that came after it was asked."""
    shift = np.datetime64("today") - gold.series.dates[ENDS + 2]
    later = np.where(np.arange(len(gold.series.dates)) > ENDS + 2, 3, 0)  # far from midnight
    dates = gold.series.dates + shift + later.astype("timedelta64[D]")
    data = dataclasses.replace(gold, series=dataclasses.replace(gold.series, dates=dates))
    night(tiny(*GROWING), data, ENDS)
    file = tiny(*GROWING, ("margin = 0.004", "margin = 0.2"), name="other.toml")

    nights = [night(file, data, ENDS + more) for more in (0, 5, 25, 30)]

    verdicts = [each[2].verdict for each in nights]
    assert [len(each.look.prospective.get("GOLD", ())) for each in verdicts] == [0, 0, 18, 23]
    assert [each.look.share for each in verdicts] == [0, 0, 1, 1]
    assert [len(unit) for unit in nights[2][2].scores] == [18] * len(nights[2][2].scores)
    assert verdicts[2].look.levels["GOLD"].reject != verdicts[1].look.levels["GOLD"].reject
    assert replay("other", nights[-1][1]).same
