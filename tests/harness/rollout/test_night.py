"""Nights of a migration: what moves it, what does not, and what every refusal is called."""

from __future__ import annotations

import getpass
import shutil
from pathlib import Path

import pytest
from in_process import InThisProcess, Quiet

from harness.errors import ConfigError, StoreError
from harness.rollout.settings import read_rollout
from harness.rollout.stages import (
    MovedMeanwhileError,
    RefusedError,
    moved,
    record_move,
    state_of,
)
from harness.running import fill
from reports.rollout_page import RolloutPage

FROM = 'fault = "{}"\nfault_from = "2033-05-25"'
"""Ten sessions or so after the first night."""


def codes(problem: RefusedError) -> set[str]:
    """The refusals by their codes."""
    return {each.code for each in problem.refusals}


def refused(migration) -> set[str]:
    """Why it does not advance."""
    with pytest.raises(RefusedError) as found:
        migration.open().advance()
    return codes(found.value)


def fill_only(found):
    """What `abharness run` does: forecasts, and no look."""
    night = found.open()
    grid = fill.prepare(night.settings.experiment, night.folders, night.store)
    fill.fill(grid, night.store, workers=1, progress=Quiet(), executor=InThisProcess())


@pytest.mark.slow
def test_a_candidate_as_good_reaches_all(migration):
    """Shadow needs no verdict, all needs PROMOTE and an origin that is new since the shadow."""
    found = migration()
    found.open().advance()
    found.night()

    assert refused(found) == {"no verdict", "no new origin"}
    assert found.judge() == "PROMOTE"
    assert refused(found) == {"no new origin"}
    found.night(5)
    found.judge()
    state = found.open().advance("me")
    assert (state.place, state.moves[-1].served) == (2, {"A": "new", "B": "new"})


@pytest.mark.slow
def test_harm_after_the_start_goes_one_step_back(migration):
    """A candidate that becomes 50 % worse is found by the sentinel, and the watch begins anew."""
    found = migration(options='noise = 0.03\nsince = "2033-05-25"', keys="budget = 1000.0")
    found.judge()
    found.open().advance()
    found.night()
    found.night(5)
    assert found.judge() == "PROMOTE"
    found.open().advance()
    back = next(move for _ in range(8) if (move := found.night(5)[1]) is not None)

    assert (back.cause, back.before, back.after) == ("sentinel", 2, 1)
    assert found.open().state.served_by == {"A": "old", "B": "old"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "said"),
    [("raise", "told to raise"), ("nan", "not finite"), ("wild", "beyond ten legacy widths")],
)
def test_a_fault_where_it_serves_rolls_back_at_once(migration, fault, said):
    """A failure, NaN or a path beyond ten legacy widths leads to the legacy in the same night."""
    found = migration(stages='["all"]', options=FROM.format(fault))
    found.judge()
    found.open().advance()
    assert found.night(3)[1] is None
    state, back = found.night(5)

    assert (back.cause, state.place) == ("fault", 0)
    assert said in back.detail["what"]
    if fault != "wild":  # what failed the legacy answered: it costs no budget
        status = found.open().status()
        assert status.seen.spent == 0


@pytest.mark.slow
def test_a_fault_in_shadow_waits(migration):
    """In shadow nobody is served by the candidate: a fault is counted, and forbids to advance."""
    found = migration(options=FROM.format("raise") + '\nfault_to = "2033-05-25"', keys="calm = 8")
    found.judge()
    found.open().advance()
    found.night(3)
    state, back = found.night(5)
    found.judge()

    assert (back, state.place) == (None, 1)
    assert "fault" in refused(found)
    found.night(7)
    found.judge()
    assert found.open().advance().place == 2


@pytest.mark.slow
def test_the_budget_is_what_serving_may_cost(migration):
    """Once the losses of serving exceed the budget, the legacy serves, and it stays spent."""
    found = migration(
        stages='["all"]', options='noise = 0.03\nsince = "2033-05-25"', keys="budget = 0.5"
    )
    found.judge()
    found.open().advance()
    back = next(move for _ in range(20) if (move := found.night(1)[1]) is not None)

    assert (back.cause, back.after) == ("budget", 0)
    assert found.night(1)[1] is None
    found.judge()
    assert "budget spent" in refused(found)


@pytest.mark.slow
def test_no_data_never_advances(migration):
    """Nights without a session change nothing and allow nothing."""
    found = migration()
    found.judge()
    found.open().advance()
    found.night()
    before = [found.night(0)[1] for _ in range(3)]

    assert before == [None] * 3
    assert refused(found) == {"no new origin"}


@pytest.mark.slow
def test_a_stale_verdict_pauses(migration):
    """Once an open question has origins that no look has judged, the verdict before is stale."""
    found = migration(options="noise = 0.001")
    file = Path("move.toml")
    file.write_text(file.read_text().replace("margin = 0.05", "margin = 0.001"))
    assert found.judge() == "HOLD"
    found.open().advance()
    found.night(5)
    fill_only(found)

    assert "stale" in refused(found)


def test_an_invalid_verdict_pauses(migration):
    """INVALID allows no stage, shadow included, and rolls nothing back."""
    found = migration(options='fault = "raise"\nfault_from = "2032-01-01"')
    assert found.judge() == "INVALID"

    assert refused(found) == {"invalid"}
    assert found.open().state.place == 0


@pytest.mark.slow
def test_a_changed_policy_pauses(migration):
    """Stages are entered under one policy; another one refuses the next."""
    found = migration()
    found.judge()
    found.open().advance()
    found.night(5)
    file = Path("move.toml")
    file.write_text(file.read_text().replace("margin = 0.05", "margin = 0.5"))

    assert "policy changed" in refused(found)


@pytest.mark.slow
def test_a_new_revision_restarts_at_shadow(migration):
    """Other options of the candidate are another candidate, whose stream begins anew."""
    found = migration()
    found.judge()
    found.open().advance()
    found.night(5)
    found.judge()
    found.open().advance()
    file = Path("move.toml")
    file.write_text(
        file.read_text().replace('role = "candidate"', 'role = "candidate"\nnoise = 0.001')
    )
    state, move = found.night(1)

    assert (move.event, move.cause, state.place) == ("restart", "revision", 1)
    assert state.served_by == {"A": "old", "B": "old"}
    assert state.stream.until["A"] == str(found.days()[found.sessions - 1])


@pytest.mark.slow
def test_reject_leads_to_the_legacy(migration):
    """A look that rejects the candidate ends its shadow."""
    found = migration()
    found.judge()
    found.open().advance()
    found.night(5)
    file = Path("move.toml")
    file.write_text(
        file.read_text().replace('role = "candidate"', 'role = "candidate"\nnoise = 0.2')
    )
    assert found.judge() == "REJECT"
    moves = [found.night(0)[1] for _ in range(2)]

    assert found.open().state.place == 0
    assert "reject" in [each.cause for each in moves if each]


def test_a_hold_lasts_until_it_is_released(migration):
    """A hold refuses every stage with its reason, whoever asks, until it is released."""
    found = migration()
    found.open().hold("audit", "Ada")

    with pytest.raises(RefusedError) as problem:
        found.open().advance()
    assert problem.value.refusals[0].values["owner"] == "Ada"
    found.open().hold("done", "Ada", release=True)
    assert found.open().advance().place == 1


@pytest.mark.slow
def test_the_legacy_stays_for_a_while_and_then_retires(migration):
    """`retire_after` counts sessions since all; after it no night runs the legacy."""
    found = migration(stages='["all", {retire_after = 10}]')
    found.judge()
    found.open().advance()
    found.night(5)
    found.judge()
    assert "too soon" in refused(found)
    found.night(5)
    found.judge()
    found.open().advance()

    assert found.open().state.moves[-1].stage == "retired"
    assert found.night(1) == (found.open().state, None)


@pytest.mark.slow
def test_a_wider_margin_is_enough_for_a_part(migration):
    """A stage with a margin of its own is entered on HOLD where that margin is shown."""
    found = migration(stages='["shadow", {series = ["A"], margin = 0.4}, "all"]')
    file = Path("move.toml")
    file.write_text(
        file.read_text()
        .replace("margin = 0.05", "margin = 0.001")
        .replace('role = "candidate"', 'role = "candidate"\nnoise = 0.001')
    )
    assert found.judge() == "HOLD"
    found.open().advance()
    found.night(5)
    found.judge()

    state = found.open().advance()
    assert state.served_by == {"A": "new", "B": "old"}
    found.night(5)
    found.judge()
    assert "not shown" in refused(found)


def test_two_processes_never_make_two_moves_of_one_state(migration):
    """A move from a state that is no more is refused, and nothing is written."""
    night = migration().open()
    before = night.state
    move = moved(night.settings, before, 1, event="advance")
    record_move(night.store.journal, night.settings, before, move)

    with pytest.raises(MovedMeanwhileError):
        record_move(night.store.journal, night.settings, before, move)
    assert len(night.state.moves) == 1


def test_records_that_do_not_follow_are_named(migration):
    """A move that starts where the one before did not end is damage."""
    night = migration().open()
    night.store.journal.append("rollout", "x", {"event": "advance", "before": 1, "after": 2})

    with pytest.raises(StoreError, match="starts at stage 1"):
        state_of(night.store.journal, "x")


def test_every_fault_of_a_file_is_named_at_once(migration):
    """One line names each wrong key, stage and number, with what is expected."""
    migration(
        stages='["all", "shadow", {series = ["X"]}, 3]', keys="budget = -1.0\nmetric = 'rmse'"
    )

    with pytest.raises(ConfigError) as problem:
        read_rollout(Path("rollout.toml"))
    said = str(problem.value)
    for part in ("'shadow' after 'all'", "no series 'X'", "3:", "budget = -1.0", "metric = 'rmse'"):
        assert part in said
    assert "\n" not in said


def test_faults_of_every_kind_are_named_together(migration):
    """Unknown keys, wrong types, stages, series and numbers: all in one line, with what fits."""
    migration(
        stages='["shdow", {series = ["GLD", "OIL"]}, "all"]',
        keys="budgt = 5\nlimit = -1\nlatency_s = 'x'\n[compatibility]\nconfgs = ['a.toml']\n"
        "[[compatibility.checkpoints]]\nexperiment = 'a.toml'\narm = 3",
    )

    with pytest.raises(ConfigError) as problem:
        read_rollout(Path("rollout.toml"))
    assert str(problem.value).split("; ") == [
        "rollout.toml: latency_s = 'x': expected a valid number",
        "compatibility.checkpoints.0.arm = 3: expected a valid string",
        "compatibility.checkpoints.0: missing key 'recorded'",
        "compatibility: unknown key 'confgs'",
        "known keys are configs, checkpoints, drop_in, scripts, time_limit_s",
        "unknown key 'budgt'",
        (
            "known keys are experiment, stages, schema, metric, limit, budget, latency_s, "
            "memory_limit_mib, calm, feedback, compatibility"
        ),
        (
            'stages: \'shdow\': expected "shadow", "all", {series = [...], margin = ...} or '
            "{retire_after = SESSIONS}"
        ),
        "stages: no series 'GLD'",
        "there are A, B",
        "stages: no series 'OIL'",
        "there are A, B",
        "limit = -1.0: expected a finite number of 0 or more",
    ]


def test_a_missing_experiment_hides_no_other_fault(migration):
    """The faults of a rollout file are named beside that of the experiment's file."""
    migration(keys="calm = -1")
    file = Path("rollout.toml")
    file.write_text(file.read_text().replace("move.toml", "gone.toml"), encoding="utf-8")

    with pytest.raises(ConfigError, match=r"'gone.toml': .*no such file.*; calm = -1: expected"):
        read_rollout(file)


@pytest.mark.parametrize("move", ["hold", "rollback"])
def test_a_move_by_hand_has_a_name(migration, monkeypatch, move):
    """The login name where none is given; where the system has none, --owner is asked for."""
    found = migration()
    found.judge()
    found.open().advance(" Ada ")
    monkeypatch.setattr(getpass, "getuser", lambda: "grace")
    state = found.open().hold("audit", "") if move == "hold" else found.open().rollback("drill")

    assert [each.owner for each in state.moves] == ["Ada", "grace"]

    def nobody():
        raise KeyError("getpwuid(): uid not found: 4242")

    monkeypatch.setattr(getpass, "getuser", nobody)
    with pytest.raises(ConfigError, match="--owner"):
        found.open().advance()
    assert len(found.open().state.moves) == 2


def test_feedback_allows_no_stage_that_evidence_moves(migration):
    """Where the outcome depends on who served, only one stage can be asked for."""
    migration(stages='["shadow", "all"]', keys="feedback = true")

    with pytest.raises(ConfigError, match="feedback"):
        read_rollout(Path("rollout.toml"))


@pytest.mark.slow
def test_late_forecasts_are_counted_and_no_evidence(migration):
    """What was forecast after its outcome moves no sentinel, however bad it was, and is counted."""
    found = migration(options='noise = 0.2\nsince = "2021-05-25"', first_day="2019-01-01")
    found.judge()
    found.open().advance()
    _, back = found.night(60)
    status = found.open().status()

    assert back is None
    assert status.seen.late == {"A": 60, "B": 60}
    assert [max(line.sums) for line in status.seen.lines] == [0.0, 0.0]
    assert "60 origins came late: served, and no evidence" in RolloutPage(status=status).html()


@pytest.mark.slow
def test_an_edited_list_of_stages_changes_nobody_who_serves(migration):
    """Holds, harm and status go by the stages that were entered; the next stage is refused."""
    found = migration(
        stages='["shadow", {series = ["A"]}, "all"]',
        options='fault = "raise"\nfault_from = "2033-06-02"',
    )
    found.judge()
    for _ in range(2):
        found.open().advance()
        found.night(5)
        found.judge()
    file = Path("rollout.toml")
    file.write_text(file.read_text().replace('"shadow", {series = ["A"]}, "all"', '"shadow"'))
    found.open().hold("audit", "Ada")

    status = found.open().status()
    assert status.state.served_by == {"A": "new", "B": "old"}
    assert str(status.settings.stages[status.state.place]) == "A"
    assert "policy changed" in {each.code for each in status.refusals}
    state, back = found.night(5)
    assert (back.cause, back.detail["series"], state.place) == ("fault", "A", 0)


def test_a_rollback_by_hand_needs_neither_data_nor_arms(migration):
    """Whatever is broken beside the records, the legacy can be made to serve."""
    found = migration(stages='["all"]')
    found.judge()
    found.open().advance()
    shutil.rmtree("data")
    Path("sides.py").unlink()
    state = found.open().rollback("fire", "Ada")

    assert state.served_by == {"A": "old", "B": "old"}
    assert (state.moves[-1].why, state.moves[-1].owner) == ("fire", "Ada")
