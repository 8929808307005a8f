"""The verb `rollout` and its page: what is printed, what it ends with, what is drawn."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from harness.rollout.harm import Fault
from harness.rollout.settings import read_rollout
from harness.verbs import nightly
from harness.verbs.result import Result
from reports.rollout_page import RolloutPage

PLACES = ("--store", "runs", "--data-dir", "data")


def begun(migration, **given):
    """A migration in shadow with some nights."""
    found = migration(**given)
    found.judge()
    found.open().advance()
    found.night(30)
    return found


@pytest.mark.slow
def test_the_way_of_a_good_candidate(migration, call):
    """Advance enters each stage with 0, or ends with 4 and says what is missing."""
    found = migration()
    found.judge()

    first = call("rollout", "advance", "rollout.toml", *PLACES, "--owner", "Ada")
    again = call("rollout", "advance", "rollout.toml", *PLACES)
    found.night(5)
    found.judge()
    second = call("rollout", "advance", "rollout.toml", *PLACES)

    assert (first[0], again[0], second[0]) == (0, 4, 0)
    assert "old serves everything, new answers beside it" in first[1]
    assert "no independent origin has come" in again[2]
    assert "new serves everything, old answers beside it" in second[1]


@pytest.mark.slow
def test_status_names_the_next_command(migration, call):
    """The last line is a command that can be copied."""
    begun(migration)

    code, out, _ = call("rollout", "status", "rollout.toml", *PLACES, "--no-check")

    assert code == 0
    told = "next: abharness rollout advance rollout.toml --data-dir data --owner NAME"
    assert out.splitlines()[-1] == told
    assert "sentinel at 0.00 of" in out


@pytest.mark.slow
def test_status_as_json_holds_numbers(migration, call):
    """A monitor reads stage, budget, sentinels and reasons without words."""
    begun(migration)

    _, out, _ = call("rollout", "status", "rollout.toml", *PLACES, "--format", "json", "--no-check")
    found = json.loads(out)

    assert (found["stage"], found["served_by"]) == ("shadow", {"A": "old", "B": "old"})
    assert [each["series"] for each in found["sentinels"]] == ["A", "B"]
    assert "stale" not in [each["code"] for each in found["refusals"]]


def test_alert_on_change_tells_each_move_once(migration, call):
    """10 after a move, 0 when it was told."""
    found = migration()
    found.judge()
    found.open().advance()
    ask = ("rollout", "status", "rollout.toml", *PLACES, "--no-check", "--alert-on", "change")

    assert [call(*ask)[0] for _ in range(2)] == [10, 0]
    found.open().rollback("drill", "Ada")
    code, out, _ = call(*ask)
    assert code == 10
    assert "last move: rolled back to 'legacy' by Ada: drill" in out


def test_hold_and_rollback_want_a_reason(migration, call):
    """Without --why each is refused in a line, with 2."""
    migration().judge()

    for what in ("hold", "rollback"):
        code, _, err = call("rollout", what, "rollout.toml", *PLACES)
        assert code == 2
        assert "needs --why" in err


@pytest.mark.slow
def test_what_must_go_on_working_is_a_line_each(migration, call):
    """Both sides build and forecast as sealed; a function and a command of the file are tried."""
    keys = """
[compatibility]
configs = ["old/*.toml", "gone.toml"]
scripts = [["sh", "-c", "echo broken >&2; exit 3"], ["python", "unchanged.py", "--model", "old"]]
"""
    begun(migration, keys=keys)
    Path("old").mkdir()
    for name, side in (("good", "Side"), ("broken", "Gone")):
        text = Path("move.toml").read_text().replace("sides:Side", f"sides:{side}")
        Path(f"old/{name}.toml").write_text(text, encoding="utf-8")
    shutil.copy("sides.py", "old")
    Path("unchanged.py").write_text("import sides, sys\nassert 'old' in sys.argv\n")

    _, out, _ = call("rollout", "status", "rollout.toml", *PLACES)

    for each in ("old on A", "old on B", "new on A", "new on B"):
        assert f"ok   {each}: the restored fit forecasts as sealed, bit by bit" in out
    assert "ok   old/good.toml: its arms build" in out
    assert "FAIL old/broken.toml: its arms build: arm 'old'" in out
    assert "FAIL gone.toml: its arms build: no such file" in out
    assert "exit 3: runs: ended with 3: broken" in out
    assert "ok   python unchanged.py --model old: runs" in out


@pytest.mark.slow
def test_an_old_checkpoint_is_held_against_its_recorded_forecast(migration, call):
    """`record` writes it once; growing data change nothing, another model or a revised row does."""
    keys = """
[[compatibility.checkpoints]]
experiment = "trial.toml"
arm = "new"
recorded = "old/new.json"
"""
    found = migration(keys=keys)
    trial = Path("trial.toml")
    trial.write_text(Path("move.toml").read_text(), encoding="utf-8")
    ask = ("rollout", "status", "rollout.toml", *PLACES)
    title = "new of trial.toml forecasts as in old/new.json, bit by bit"
    found.judge()

    before = call(*ask)[1]
    made = call("rollout", "record", "rollout.toml", *PLACES)
    again = call("rollout", "record", "rollout.toml", *PLACES)
    found.grow(3)
    grown = call(*ask)[1]
    kept = Path("old/new.json").read_text(encoding="utf-8")
    known = json.loads(kept)
    known["forecasts"]["B"]["rows"] = "other"
    Path("old/new.json").write_text(json.dumps(known), encoding="utf-8")
    revised = call(*ask)[1]
    Path("old/new.json").write_text(kept, encoding="utf-8")
    other = trial.read_text().replace('role = "candidate"', 'role = "candidate"\nnoise = 1e-9')
    trial.write_text(other, encoding="utf-8")
    changed = call(*ask)[1]

    assert f"FAIL {title}: nothing is recorded: `abharness rollout record" in before
    assert ("old/new.json: recorded" in made[1], "left as it is" in again[1]) == (True, True)
    assert f"ok   {title}" in grown
    assert "B: the rows up to" in revised
    assert f"FAIL {title}: A: another forecast after" in changed


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["raise", "wild"])
def test_the_page_shows_the_whole_migration(migration, fault):
    """Moves, budget, sentinels, faults and the next command stand on it, and the same each time."""
    found = begun(
        migration, stages='["all"]', options=f'fault = "{fault}"\nfault_from = "2033-07-01"'
    )
    found.night(5)
    status = found.open().status()
    page = RolloutPage(status=status).html()

    assert page == RolloutPage(status=found.open().status()).html()
    for each in ("rolled back to", "Loss budget", "sentinel at", "Losses of both sides"):
        assert each in page
    assert "fault at " in page


@pytest.mark.slow
def test_equal_faults_of_many_requests_are_one_line(migration):
    """The terminal counts them, and says once what was wrong."""
    found = begun(migration)
    found.night(1)
    status = found.open().status()
    fault = Fault(day="2033-05-18", series="A", what="new: no answer", served=True)
    seen = dataclasses.replace(status.seen, faults=(fault, fault))

    said = RolloutPage(status=dataclasses.replace(status, seen=seen)).text()

    assert "fault: A 2033-05-18: new: no answer (2 times)" in said.splitlines()


@pytest.mark.slow
def test_replay_derives_the_moves_again(migration, call):
    """The recorded sentinel night comes out of the stream again; another one is named with 5."""
    found = begun(
        migration,
        options='noise = 0.03\nsince = "2033-05-25"',
        keys="budget = 1000.0",
    )
    for _ in range(6):
        found.night(5)
    assert found.open().state.moves[-1].cause == "sentinel"
    told = call("rollout", "replay", "rollout.toml", *PLACES)
    night = found.open()
    last = night.state.moves[-1]
    night.store.journal.append(
        "rollout",
        "rollout",
        {
            "event": "rollback",
            "before": last.after,
            "after": last.after,
            "cause": "sentinel",
            "detail": {"series": "A", "day": "2033-06-01", "boundary": 1.0},
        },
    )
    forged = call("rollout", "replay", "rollout.toml", *PLACES)

    assert told[0] == 0
    assert forged[0] == 5
    assert "derived" in forged[1]


@pytest.mark.slow
def test_the_nightly_job_does_the_rollout_beside_its_experiment(migration, call, monkeypatch):
    """The night of a rollout follows the look, its page is drawn, and a move is a change."""
    found = migration(stages='["all"]', options='fault = "raise"\nfault_from = "2033-05-18"')
    found.judge()
    found.open().advance()
    found.grow(3)
    monkeypatch.setattr(nightly, "compare", lambda *_, **__: Result(text="judged", exit_code=4))

    code, out, _ = call("nightly", "move.toml", *PLACES, "--alert-on", "change")

    assert code == 10
    assert "tonight it rolled back to 'legacy': fault at" in out
    assert Path("runs/rollouts/rollout.html").is_file()


def test_the_three_options_are_rollout_files():
    """Each file of the docs can be read, and is the list of stages that the docs say."""
    folder = Path(__file__).parents[3] / "docs" / "rollout"
    found = {
        name: [str(each) for each in read_rollout(folder / f"{name}.toml").stages]
        for name in ("immediate", "side-by-side", "gradual")
    }

    assert found == {
        "immediate": ["legacy", "all", "retired"],
        "side-by-side": ["legacy", "shadow"],
        "gradual": ["legacy", "shadow", "GOLD", "all", "retired"],
    }
