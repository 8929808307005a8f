"""Replay, history and verdicts on several legacy arms: what is kept, and what it is good for."""

import dataclasses
import multiprocessing
import shutil
from pathlib import Path

import pytest

from harness.gate.history import (
    Entry,
    Inputs,
    OriginSpan,
    before,
    change,
    history,
    record_verdicts,
    standing,
)
from harness.gate.recompute import replay
from harness.judging.declared import Circumstances
from harness.judging.fact import SCHEMA, FactCode, fact
from harness.judging.findings import Outcome
from harness.judging.verdict import from_json
from harness.running.store_folder import open_store
from reports.words import facts as words
from reports.words import reason_words

pytestmark = pytest.mark.usefixtures("known_charts")  # its pages show one market

GOLDEN = Path(__file__).parents[2] / "golden/verdict"
THIRD = """
[[arms]]
name = "older"
use = "arms_for_tests:Flat"
role = "legacy"
context = 10
fault = "{fault}"

[policy]"""


def folder_of(name):
    """Where the last verdict is drawn."""
    store = open_store(Path("runs"))
    return store.verdict_folder(name) / standing(store, name)


@pytest.mark.slow
def test_replay_needs_the_store_alone(finished, call):
    """With the experiment and all that was drawn gone, the bytes are still the same."""
    shutil.rmtree("runs/verdicts")
    Path("tiny.toml").unlink()

    code, out, err = call("replay", "tiny", "--store", "runs")

    assert (code, err) == (0, "")
    assert out.startswith("the same, byte by byte: PROMOTE: new may replace old")


@pytest.mark.slow
def test_replay_of_a_copy_names_its_store(ran, call):
    """Records copied elsewhere are judged again with the store that is named, and only with one."""
    call("gate", "tiny.toml", "--records", "kept")

    assert call("replay", "kept", "--store", "runs")[0] == 0
    assert call("replay", "kept/verdict.json", "--store", "runs")[0] == 0
    assert "is not inside a store" in call("replay", "kept")[2]


def test_replay_takes_the_file_of_an_experiment(finished, call, monkeypatch):
    """With its name or its file the last verdict on it in the usual store is judged again."""
    Path("tiny").mkdir()  # a folder of the same name is no verdict
    by_file = call("replay", "tiny.toml")
    Path("runs").rename("kept")
    monkeypatch.setenv("ABHARNESS_STORE", "kept")

    assert by_file[0] == 0
    assert by_file[1].startswith("the same, byte by byte: PROMOTE")
    assert call("replay", "tiny") == by_file


def test_replay_needs_what_came_to_pass(finished, call):
    """Without any score file the actuals are gone: a line a cell, and the code of INVALID."""
    folder = folder_of("tiny")
    for file in Path("runs/scores").iterdir():
        file.unlink()

    found = replay(str(folder))

    assert not found.same
    assert "scores of new on GOLD, seed 1:" in " ".join(map(words.say, found.differences))
    assert call("replay", folder)[0] == 5


@pytest.mark.slow
def test_replay_notes_other_code(finished, monkeypatch):
    """Judged by code that changed since, it says so, and still compares every byte."""
    folder = folder_of("tiny")
    monkeypatch.setattr("harness.gate.recompute.judging_digest", lambda: "0" * 64)

    found = replay(str(folder))

    assert found.same
    assert found.notes == (fact(FactCode.OTHER_CODE),)


@pytest.mark.parametrize("name", ["nothing.json", "runs", "tiny.toml", "unheard-of"])
def test_what_is_no_verdict_is_refused(ran, refused, name):
    """A path without a verdict is one line and the code of wrong input."""
    line = refused("replay", name, "--store", "runs")

    assert name in line
    assert "no verdict" in line or "cannot be read" in line or "not a verdict" in line


@pytest.mark.slow
def test_other_words_change_nothing_in_a_replay(finished, call, monkeypatch):
    """Facts and figures are compared: with every phrase reworded the bytes are still the same."""
    folder = folder_of("tiny")
    for code in words._PHRASES:
        monkeypatch.setitem(words._PHRASES, code, lambda values: "Otherwise said.")
    for code in reason_words.REASONS:
        monkeypatch.setitem(reason_words.REASONS, code, lambda values: "for another reason")
    monkeypatch.setattr("reports.words.numbers.in_sentence", lambda share, **_: "some")

    code, out, _ = call("replay", folder)

    assert code == 0
    assert out.startswith("the same, byte by byte: PROMOTE: Otherwise said.")


@pytest.mark.slow
def test_the_same_verdict_again_writes_nothing(finished, tiny, call):
    """Judging the same history three times is one entry and no record; other rules are one more."""
    head = open_store(Path("runs")).journal.head
    call("gate", "tiny.toml")
    call("compare", "tiny.toml")
    assert open_store(Path("runs")).journal.head == head
    tiny(("margin = 0.05", "margin = 0.04"))
    call("gate", "tiny.toml")

    found = history(open_store(Path("runs")), "tiny")

    assert [(e.sequence, e.outcome) for e in found] == [(1, "PROMOTE"), (2, "PROMOTE")]
    assert found[0].name != found[1].name
    assert before(found, found[1]) == found[0]
    assert change(found[0], found[1]).new_origins == {"GOLD": 0}
    assert found[0].meaning != found[1].meaning


def entry(**changes) -> Entry:
    """A small entry."""
    made = Entry(
        sequence=1,
        name="a",
        head="h",
        candidate="new",
        legacy="old",
        outcome=Outcome.HOLD,
        decides=True,
        meaning="m",
        outcomes={"GOLD:crps:guardrail": "HOLD"},
        spans={"GOLD": OriginSpan(origins=3, first="2020-01-01", last="2020-03-01")},
    )
    return dataclasses.replace(made, **changes)


def test_only_origins_that_came_to_pass_are_new_evidence():
    """Origins after the last one known count; longer history behind it does not."""
    span = OriginSpan(origins=5, first="2019-01-01", last="2020-05-01")
    later = entry(
        sequence=2,
        outcome=Outcome.PROMOTE,
        outcomes={"GOLD:crps:guardrail": "PROMOTE", "GOLD:mae:guardrail": "HOLD"},
        spans={"GOLD": span},
    )
    days = ["2019-01-01", "2020-01-01", "2020-03-01", "2020-04-01", "2020-05-01"]

    found = change(entry(), later, dates={"GOLD": days})
    back = change(
        entry(), entry(spans={"GOLD": OriginSpan(origins=9, first="2010-01-01", last="2020-03-01")})
    )

    assert found.new_origins == {"GOLD": 2}
    assert found.before == Outcome.HOLD
    assert found.findings == {
        "GOLD:crps:guardrail": ("HOLD", "PROMOTE"),
        "GOLD:mae:guardrail": (None, "HOLD"),
    }
    assert back.new_origins == {"GOLD": 0}


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "outcome"), [("", "PROMOTE"), ("raise", "INVALID")])
def test_every_legacy_arm_gets_a_verdict_and_one_decides(
    ran, tiny, call, fault, outcome, page_unread
):
    """The policy's pair decides the code; the other legacy arm is on record, whatever it says.

    The gate judges itself on that pair too: all parts pass on sound losses, none does on others.
    """
    tiny(("\n[policy]", THIRD.format(fault=fault)))
    code, out, _ = call("compare", "tiny.toml")
    folder = folder_of("tiny")

    family = open_store(Path("runs")).journal.latest("family", folder.name)["verdicts"]

    assert code == 0
    assert [(row["legacy"], row["outcome"]) for row in family] == [
        ("old", "PROMOTE"),
        ("older", outcome),
    ]
    other = folder.parent / family[1]["name"]
    verdict = from_json((other / "verdict.json").read_text(encoding="utf-8"))
    assert (verdict.legacy, verdict.outcome) == ("older", outcome)
    states = {part.state for part in verdict.self_test.parts}
    assert states == ({"passed"} if outcome == "PROMOTE" else {"not run"})
    assert {each.legacy for each in verdict.diagnostics.fluctuations} <= {"older"}
    assert {each.arm for each in verdict.diagnostics.intervals} >= {"new", "old"}
    assert f"Against older, for the record: {outcome}" in " ".join(out.split())
    assert "older" in (folder / "summary.md").read_text(encoding="utf-8")
    assert call("replay", other)[0] == 0


@pytest.mark.slow
def test_an_arm_is_diagnosed_alike_for_every_pair(ran, tiny, call, page_unread):
    """What all pairs share is what a pair alone would find, and what replay finds again."""
    tiny(("\n[policy]", THIRD.format(fault="")))
    call("compare", "tiny.toml")
    folder = folder_of("tiny")
    family = open_store(Path("runs")).journal.latest("family", folder.name)["verdicts"]

    one, other = (
        from_json((folder.parent / row["name"] / "verdict.json").read_text(encoding="utf-8"))
        for row in family
    )

    assert one.diagnostics.intervals == other.diagnostics.intervals
    assert one.diagnostics.uniformity == other.diagnostics.uniformity
    assert {each.legacy for each in one.diagnostics.secondary} == {"old", "older"}
    assert replay(family[1]["name"], open_store(Path("runs"))).same


@pytest.mark.slow
def test_a_policy_on_wins_is_run_judged_drawn_and_replayed(ran, tiny, call):
    """From the experiment's file to the page: the rule has its finding, part and bytes."""
    wins = '[[policy.criteria]]\nmetric = "crps"\nstatistic = "wins"\nmargin = 0.2\n'
    tiny(('[[policy.criteria]]\nmetric = "crps"', wins + '\n[[policy.criteria]]\nmetric = "crps"'))
    code, out, _ = call("compare", "tiny.toml")
    folder = folder_of("tiny")

    verdict = from_json((folder / "verdict.json").read_text(encoding="utf-8"))

    assert code == verdict.exit_code
    assert [f.id for f in verdict.findings[:2]] == [
        "GOLD:crps_wins:guardrail",
        "GOLD:crps:guardrail",
    ]
    assert verdict.self_test.failures == ()
    assert "windows lost by CRPS" in " ".join(out.split())
    assert "has the lower loss on" in (folder / "report.html").read_text(encoding="utf-8")
    assert replay(str(folder)).same
    assert call("power", "tiny.toml", "--format", "json")[0] == 0


MOODY = """
from pathlib import Path

import numpy as np

from harness.forecast import Forecast


class Moody:
    context_length = 1

    def forecast(self, contexts):
        point = np.repeat(contexts.last[:, None], contexts.horizon, axis=1)
        return Forecast.of_gaussian(point, point * float(Path("mood").read_text()))
"""


@pytest.fixture
def moody(tiny, call, in_process, made_once, page_unread):
    """Work beside a judged store whose legacy arm answers by its mood, 0.05 when it was judged.

    Gives what sets the mood and runs that arm again.
    """
    Path("moody_arm.py").write_text(MOODY, encoding="utf-8")
    tiny(("arms_for_tests:Flat", "moody_arm:Moody"))

    def again(mood, verb="compare", name="tiny.toml", dropped=lambda fit: {}):
        Path("mood").write_text(str(mood), encoding="utf-8")
        store = open_store(Path("runs"))
        for key, record in store.journal.newest("fit").items():
            if "moody_arm" in store.journal.body(record)["identity"]["use"]:
                for part in store.seals(key):
                    store.journal.append("drop", part, {"why": "another mood"} | dropped(key))
        return call(verb, name)

    def make(folder):
        assert again(0.05)[0] == 0
        Path("runs").rename(folder / "runs")

    shutil.copytree(made_once("moody", make) / "runs", "runs")
    return again


@pytest.mark.slow
def test_other_scores_stay_a_conflict_however_often_one_asks(moody, call):
    """The verdict on a conflict is no precedent: the first scores are still held against it."""
    first = standing(open_store(Path("runs")), "tiny")

    codes = [moody(0.06)[0], call("compare", "tiny.toml")[0], call("gate", "tiny.toml")[0]]
    code, out, _ = moody(0.07)

    assert [*codes, code] == [5, 5, 5, 5]
    assert f"has other scores than in the earlier verdict {first}" in " ".join(out.split())


@pytest.mark.slow
def test_other_scores_are_accepted_once_a_part_was_given_up(moody, call):
    """What `store drop` recorded makes room for others, and every verdict says so."""
    assert moody(0.06)[0] == 5

    code, out, _ = moody(0.07, dropped=lambda fit: {"fit": fit})

    assert code == 0
    assert "was given up and forecast again: another mood" in " ".join(out.split())
    assert call("compare", "tiny.toml")[0] == 0
    assert call("report", "tiny.toml", "--format", "md")[0] == 0


@pytest.mark.slow
def test_many_verdicts_hide_no_conflict(moody, call, tiny):
    """Scores are held against the first that were judged, not against some of the last."""
    for margin in range(6, 9):
        tiny(("arms_for_tests:Flat", "moody_arm:Moody"), ("0.05", f"0.{margin:02}"))
        assert call("gate", "tiny.toml")[0] == 0
    assert len(history(open_store(Path("runs")), "tiny")) == 4

    assert moody(0.06)[0] == 5


@pytest.mark.slow
def test_a_unit_is_held_against_verdicts_on_other_experiments(moody, call, tiny):
    """Another name of the experiment washes nothing away: its units are the same."""
    tiny(("arms_for_tests:Flat", "moody_arm:Moody"), name="renamed.toml")

    assert moody(0.06, name="renamed.toml")[0] == 5


@pytest.mark.slow
def test_a_page_is_not_drawn_from_other_scores_than_its_verdict(moody, call, refused):
    """After a unit was run again with other scores, `report` asks for a new verdict first."""
    assert call("report", "tiny.toml", "--format", "md")[0] == 0

    assert moody(0.5, verb="run")[0] == 0
    line = refused("report", "tiny.toml", "--format", "md")

    assert "scores in the store have changed" in line
    assert "old on GOLD, seed 1; run `abharness gate tiny.toml` first" in line
    assert call("gate", "tiny.toml")[0] == 5
    assert call("report", "tiny.toml", "--format", "md")[0] == 0


def test_a_page_needs_every_unit_its_verdict_had(moody, call, refused):
    """A unit that is gone since the verdict is named as well."""
    next(Path("runs/parts").iterdir()).unlink()

    assert "scores in the store have changed" in refused("report", "tiny.toml")


def remember_some(root, verdict, start):
    """Pass ten verdicts in a process of its own."""
    store = open_store(root)
    inputs = Inputs(cells=(), given=Circumstances(), scoring="s")
    for number in range(start, start + 10):
        made = dataclasses.replace(verdict, candidate=f"c{number}")
        record_verdicts(store, "tiny", [(made, inputs)], scores=[], recorded=())


def test_verdicts_passed_at_the_same_time_are_all_listed(tmp_path):
    """Writers wait for one another: no entry and no number is lost."""
    store = open_store(tmp_path)
    verdict = from_json((GOLDEN / f"schema-{SCHEMA}.json").read_text(encoding="utf-8"))
    context = multiprocessing.get_context("fork")
    starts = range(0, 30, 10)
    writers = [
        context.Process(target=remember_some, args=(tmp_path, verdict, start)) for start in starts
    ]

    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    entries = history(store, "tiny")
    assert {entry.candidate for entry in entries} == {f"c{number}" for number in range(30)}
    assert [entry.sequence for entry in entries] == list(range(1, 31))
    store.journal.verify()
