"""Replay, history and verdicts on several legacy arms: what is kept, and what it is good for."""

import dataclasses
import json
import multiprocessing
import re
import shutil
from pathlib import Path

import pytest

from harness.gate.history import Entry, OriginSpan, before, change, history, remember
from harness.gate.judge import latest_folder
from harness.gate.recompute import replay
from harness.judging.fact import FactCode, fact
from harness.judging.findings import Outcome
from harness.judging.verdict import from_json
from harness.running.store import open_store
from reports.words import facts as words

GOLDEN = Path(__file__).parents[2] / "golden/verdict"
THIRD = """
[[arms]]
name = "older"
use = "arms_for_tests:Flat"
role = "legacy"
context = 10
fault = "{fault}"

[policy]"""


def test_replay_needs_neither_experiment_nor_data_nor_units(finished, call):
    """With the units, the experiment and its arms gone, the bytes are still the same."""
    folder = latest_folder(open_store(Path("runs")), "tiny")
    shutil.rmtree("runs/parts")
    shutil.rmtree("runs/fits")
    Path("tiny.toml").unlink()
    Path("arms_for_tests.py").unlink()

    code, out, err = call("replay", folder)

    assert (code, err) == (0, "")
    assert out.startswith("the same, byte by byte: PROMOTE: new may replace old")


def test_replay_of_a_copy_names_its_store(ran, call):
    """Records copied elsewhere are judged again with the store that is named, and only with one."""
    call("gate", "tiny.toml", "--records", "kept")

    assert call("replay", "kept", "--store", "runs")[0] == 0
    assert call("replay", "kept/verdict.json", "--store", "runs")[0] == 0
    assert "lies in no store" in call("replay", "kept")[2]


def test_replay_names_scores_that_are_gone(finished, call):
    """A score file that was removed is one line, and the code that of INVALID."""
    folder = latest_folder(open_store(Path("runs")), "tiny")
    for file in Path("runs/scores").iterdir():
        file.unlink()

    found = replay(folder)

    assert not found.same
    assert "scores of new on GOLD, seed 1:" in " ".join(map(words.say, found.differences))
    assert call("replay", folder)[0] == 5


def test_replay_notes_other_code(finished, monkeypatch):
    """Judged by code that changed since, it says so, and still compares every byte."""
    folder = latest_folder(open_store(Path("runs")), "tiny")
    monkeypatch.setattr("harness.gate.recompute.judging_digest", lambda: "0" * 64)

    found = replay(folder)

    assert found.same
    assert found.notes == (fact(FactCode.OTHER_CODE),)


@pytest.mark.parametrize("name", ["nothing.json", "runs"])
def test_what_is_no_verdict_is_refused(ran, refused, name):
    """A path without a verdict is one line and the code of wrong input."""
    assert "cannot be read" in refused("replay", name)


@pytest.mark.parametrize("name", ["verdict.json", "inputs.json", "index.json"])
def test_records_of_an_older_abharness_are_one_line(finished, call, name):
    """Schemas are counted from 1 again, so an older record is told by what it lacks."""
    folder = latest_folder(open_store(Path("runs")), "tiny")
    file = (folder.parent if name == "index.json" else folder) / name
    record = json.loads(file.read_text(encoding="utf-8"))
    for each in record.get("entries", []):
        each["summary"] = "new may replace old."
    record.pop("kind", None)
    file.write_text(json.dumps(record | {"schema": 1}), encoding="utf-8")

    code, _, err = call(*(("replay", folder) if name == "verdict.json" else ("gate", "tiny.toml")))

    assert code == 2
    assert f"{name}: was written by an older abharness" in err
    assert "run `abharness gate` again" in err
    assert err.count("\n") == 1


def test_other_words_change_nothing_in_a_replay(finished, call, monkeypatch):
    """Facts and figures are compared: with every phrase reworded the bytes are still the same."""
    folder = latest_folder(open_store(Path("runs")), "tiny")
    for code in words._PHRASES:
        monkeypatch.setitem(words._PHRASES, code, lambda values: "Otherwise said.")
    monkeypatch.setattr("reports.words.numbers.in_sentence", lambda share, **_: "some")

    code, out, _ = call("replay", folder)

    assert code == 0
    assert out.startswith("the same, byte by byte: PROMOTE: Otherwise said.")


def test_the_same_verdict_again_is_confirmed_not_new(finished, tiny, call):
    """Judging the same history three times is one entry, confirmed twice; other rules are one."""
    call("gate", "tiny.toml")
    call("gate", "tiny.toml")
    tiny(("margin = 0.05", "margin = 0.04"))
    call("gate", "tiny.toml")

    found = history(open_store(Path("runs")), "tiny")

    assert [(e.sequence, e.outcome, e.confirmed) for e in found] == [
        (1, Outcome.PROMOTE, 2),
        (2, Outcome.PROMOTE, 0),
    ]
    assert found[0].folder != found[1].folder
    assert (Path("runs/verdicts/tiny") / found[0].folder / "verdict.json").is_file()
    assert before(found, found[1]) == found[0]
    assert change(found[0], found[1]).new_origins == {"GOLD": 0}
    assert not change(found[0], found[1]).same_meaning


def entry(**changes) -> Entry:
    """A small entry."""
    made = Entry(
        sequence=1,
        folder="a",
        candidate="new",
        legacy="old",
        outcome=Outcome.HOLD,
        summary=fact(FactCode.NOTHING_COMPARED),
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
    assert (found.before, found.after) == (Outcome.HOLD, Outcome.PROMOTE)
    assert found.findings == {
        "GOLD:crps:guardrail": ("HOLD", "PROMOTE"),
        "GOLD:mae:guardrail": (None, "HOLD"),
    }
    assert back.new_origins == {"GOLD": 0}
    assert back.same_meaning


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "outcome"), [("", "PROMOTE"), ("raise", "INVALID")])
def test_every_legacy_arm_gets_a_verdict_and_one_decides(tiny, call, in_process, fault, outcome):
    """The policy's pair decides the code; the other legacy arm is on record, whatever it says.

    The gate judges itself on that pair too: all parts pass on sound losses, none does on others.
    """
    tiny(("\n[policy]", THIRD.format(fault=fault)))
    code, out, _ = call("compare", "tiny.toml")
    folder = latest_folder(open_store(Path("runs")), "tiny")

    family = json.loads((folder / "family.json").read_text(encoding="utf-8"))

    assert code == 0
    assert family["decides"] == "old"
    assert [(row["legacy"], row["outcome"]) for row in family["verdicts"]] == [
        ("old", "PROMOTE"),
        ("older", outcome),
    ]
    other = folder.parent / family["verdicts"][1]["folder"]
    verdict = from_json((other / "verdict.json").read_text(encoding="utf-8"))
    assert (verdict.legacy, verdict.outcome) == ("older", outcome)
    states = {part.state for part in verdict.self_test.parts}
    assert states == ({"passed"} if outcome == "PROMOTE" else {"not run"})
    assert {each.legacy for each in verdict.diagnostics.fluctuations} <= {"older"}
    assert {each.arm for each in verdict.diagnostics.intervals} >= {"new", "old"}
    assert f"Against older, for the record: {outcome}" in " ".join(out.split())
    assert "older" in (folder / "summary.md").read_text(encoding="utf-8")
    assert call("replay", other)[0] == 0


def test_an_arm_is_diagnosed_alike_for_every_pair(tiny, call, in_process):
    """What all pairs share is what a pair alone would find, and what replay finds again."""
    tiny(("\n[policy]", THIRD.format(fault="")))
    call("compare", "tiny.toml")
    folder = latest_folder(open_store(Path("runs")), "tiny")
    family = json.loads((folder / "family.json").read_text(encoding="utf-8"))

    one, other = (
        from_json((folder.parent / row["folder"] / "verdict.json").read_text(encoding="utf-8"))
        for row in family["verdicts"]
    )

    assert one.diagnostics.intervals == other.diagnostics.intervals
    assert one.diagnostics.uniformity == other.diagnostics.uniformity
    assert {each.legacy for each in one.diagnostics.secondary} == {"old", "older"}
    assert replay(folder.parent / family["verdicts"][1]["folder"]).same


def test_a_policy_on_wins_is_run_judged_drawn_and_replayed(tiny, call, in_process):
    """From the experiment's file to the page: the rule has its finding, part and bytes."""
    wins = '[[policy.criteria]]\nmetric = "crps"\nstatistic = "wins"\nmargin = 0.2\n'
    tiny(('[[policy.criteria]]\nmetric = "crps"', wins + '\n[[policy.criteria]]\nmetric = "crps"'))
    code, out, _ = call("compare", "tiny.toml")
    folder = latest_folder(open_store(Path("runs")), "tiny")

    verdict = from_json((folder / "verdict.json").read_text(encoding="utf-8"))

    assert code == verdict.exit_code
    assert [f.id for f in verdict.findings[:2]] == [
        "GOLD:crps_wins:guardrail",
        "GOLD:crps:guardrail",
    ]
    assert verdict.self_test.failures == ()
    assert "crps_wins" in " ".join(out.split())
    assert "has the lower loss on" in (folder / "report.html").read_text(encoding="utf-8")
    assert replay(folder).same
    assert call("power", "tiny.toml", "--format", "json")[0] == 0


def test_scores_are_compared_as_numbers(finished):
    """A score file written again with the same numbers is no difference."""
    folder = latest_folder(open_store(Path("runs")), "tiny")
    import pyarrow.parquet as pq

    for file in Path("runs/scores").glob("*.parquet"):
        table = pq.read_table(file)
        pq.write_table(table, file, compression="zstd")

    assert replay(folder).same


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
def moody(tiny, call, in_process, made_once):
    """Work beside a judged store whose legacy arm answers by its mood, 0.05 when it was judged.

    Gives what sets the mood and runs that arm again.
    """
    Path("moody_arm.py").write_text(MOODY, encoding="utf-8")
    tiny(("arms_for_tests:Flat", "moody_arm:Moody"))

    def again(mood, verb="compare", name="tiny.toml"):
        Path("mood").write_text(str(mood), encoding="utf-8")
        store = open_store(Path("runs"))
        for key, record in store.journal.newest("fit").items():
            if "moody_arm" in store.journal.body(record)["identity"]["use"]:
                for part in store.seals(key):
                    store.journal.append("drop", part, {"why": "another mood"})
        return call(verb, name)

    def make(folder):
        assert again(0.05)[0] == 0
        Path("runs").rename(folder / "runs")

    shutil.copytree(made_once("moody", make) / "runs", "runs")
    return again


def verdict_folders(name="tiny"):
    return {file.parent for file in Path(f"runs/verdicts/{name}").glob("*/verdict.json")}


@pytest.mark.slow
def test_other_scores_stay_a_conflict_however_often_one_asks(moody, call):
    """The verdict on a conflict is no precedent: the first scores are still held against it."""
    (first,) = verdict_folders()

    codes = [moody(0.06)[0], call("compare", "tiny.toml")[0], call("gate", "tiny.toml")[0]]
    code, out, _ = moody(0.07)

    assert [*codes, code] == [5, 5, 5, 5]
    said = " ".join(out.split())
    assert "has other scores than in an earlier verdict" in said
    named = re.search(r"removing verdicts/tiny/(\w+) and verdicts/tiny/(\w+) from the store", said)
    assert named is not None
    assert first.name in named.groups()


@pytest.mark.slow
def test_other_scores_are_accepted_by_removing_the_verdicts_that_had_others(moody, call):
    """Who has found the cause removes the folders the message names, and nothing else."""
    (first,) = verdict_folders()
    assert moody(0.06)[0] == 5

    shutil.rmtree(first)

    assert call("compare", "tiny.toml")[0] == 0
    assert call("report", "tiny.toml", "--format", "md")[0] == 0
    assert "its record is gone" in call("report", "--index", "--format", "json")[1]


@pytest.mark.slow
def test_many_verdicts_hide_no_conflict(moody, call, tiny):
    """Scores are held against every verdict that was passed, not against some of the last."""
    for margin in range(6, 28):
        tiny(("arms_for_tests:Flat", "moody_arm:Moody"), ("0.05", f"0.{margin:02}"))
        assert call("gate", "tiny.toml")[0] == 0
    assert len(verdict_folders()) == 23
    shutil.rmtree(max(verdict_folders(), key=lambda folder: folder.stat().st_mtime))

    assert moody(0.06)[0] == 5


def test_a_unit_is_held_against_verdicts_on_other_experiments(moody, call, tiny):
    """Another name of the experiment washes nothing away: its units are the same."""
    tiny(("arms_for_tests:Flat", "moody_arm:Moody"), name="renamed.toml")

    assert moody(0.06, name="renamed.toml")[0] == 5


def test_a_page_is_not_drawn_from_other_scores_than_its_verdict(moody, call, refused):
    """After a unit was run again with other scores, `report` asks for a new verdict first."""
    assert call("report", "tiny.toml", "--format", "md")[0] == 0

    assert moody(0.5, verb="run")[0] == 0
    line = refused("report", "tiny.toml", "--format", "md")

    assert "holds other scores by now" in line
    assert "old on GOLD, seed 1; run `abharness gate` first" in line
    assert call("gate", "tiny.toml")[0] == 5
    assert call("report", "tiny.toml", "--format", "md")[0] == 0


def test_a_page_needs_every_unit_its_verdict_had(moody, call, refused):
    """A unit that is gone since the verdict is named as well."""
    next(Path("runs/parts").iterdir()).unlink()

    assert "holds other scores by now" in refused("report", "tiny.toml")


def test_a_verdict_that_is_gone_is_one_line(moody, call, refused):
    """The pointer to a last verdict that was removed says how to get one."""
    (first,) = verdict_folders()
    shutil.rmtree(first)

    assert "verdict.json: cannot be read" in refused("report", "tiny.toml")


def remember_some(store, verdict, start):
    """Pass ten verdicts in a process of its own."""
    for number in range(start, start + 10):
        made = dataclasses.replace(verdict, candidate=f"c{number}")
        remember(store, "tiny", made, folder=str(number), decides=True, scores=[])


def test_verdicts_passed_at_the_same_time_are_all_listed(tmp_path):
    """Writers of the index wait for one another: no entry and no number is lost."""
    store = open_store(tmp_path)
    verdict = from_json((GOLDEN / "schema-1.json").read_text(encoding="utf-8"))
    context = multiprocessing.get_context("fork")
    starts = range(0, 30, 10)
    writers = [
        context.Process(target=remember_some, args=(store, verdict, start)) for start in starts
    ]

    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    entries = history(store, "tiny")
    assert sorted(int(entry.folder) for entry in entries) == list(range(30))
    assert [entry.sequence for entry in entries] == list(range(1, 31))
