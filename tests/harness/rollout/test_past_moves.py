"""Replaying a migration: every night and every move comes out of the records again."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.rollout import night as nights
from harness.rollout.past_moves import replay
from harness.rollout.stages import KIND
from harness.rollout.stream import OBSERVED

HARM = {
    "fault": ('fault = "raise"\nfault_from = "2033-05-25"', ""),
    "budget": ('noise = 0.03\nsince = "2033-05-25"', "budget = 0.5"),
    "sentinel": ('noise = 0.03\nsince = "2033-05-25"', "budget = 1000.0"),
}


def begun(migration, **given):
    """A migration that serves by the candidate, each side with some nights."""
    found = migration(**given)
    found.judge()
    found.open().advance("Ada")
    found.night(5)
    found.judge()
    found.open().advance("Ada")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("cause", HARM)
def test_what_rolled_back_is_derived_again(migration, cause):
    """Advances, quiet nights and the night of each harm come out as recorded, hold included."""
    options, keys = HARM[cause]
    found = begun(migration, options=options, keys=keys)
    moves = [found.night(5)[1] for _ in range(5)]
    found.open().hold("audit", "Ada")
    told = replay(found.open())

    assert cause in {move.cause for move in moves if move}
    assert told.differ == ()
    assert (told.moves, told.nights) == (len(found.open().state.moves), 6)


@pytest.mark.slow
def test_a_night_that_should_have_rolled_back_is_named(migration, monkeypatch):
    """Where harm was met and no move was written, the night comes out otherwise."""
    options, keys = HARM["fault"]
    found = begun(migration, options=options, keys=keys)
    with monkeypatch.context() as context:
        context.setattr(nights, "place_after", lambda *_: None)
        found.night(5)
    told = replay(found.open())

    assert len(told.differ) == 1
    assert "recorded that it stayed, derived (0, 'fault'" in told.differ[0]


def test_a_move_that_the_rules_refused_is_named(migration):
    """An advance without a verdict, on no new origin, is named with what refuses it."""
    found = migration(stages='["all"]')
    night = found.open()
    night.store.journal.append(
        KIND,
        "rollout",
        {
            "event": "advance",
            "before": 0,
            "after": 1,
            "stage": "all",
            "served": {"A": "new", "B": "new"},
            "until": {name: str(found.days()[found.sessions - 1]) for name in "AB"},
            "first": {name: str(found.days()[300]) for name in "AB"},
        },
    )
    said = " ".join(replay(night).differ)

    assert "what its file asked is not recorded" in said
    assert "recorded origins none, derived {'A': 40, 'B': 40}" in said


@pytest.mark.slow
def test_moves_are_held_against_the_file_of_their_day(migration):
    """A file that asks otherwise by now changes nothing of what was moved under the former one."""
    options, keys = HARM["budget"]
    found = begun(migration, options=options, keys=keys)
    for _ in range(4):
        found.night(5)
    assert found.open().state.moves[-1].cause == "budget"
    file = Path("rollout.toml")
    file.write_text(file.read_text().replace("budget = 0.5", "budget = 900.0"))

    assert replay(found.open()).differ == ()


@pytest.mark.slow
def test_values_that_came_later_change_no_past_night(migration):
    """What was reported after a night, and told of its sessions, is not held against it."""
    options, keys = HARM["sentinel"]
    found = begun(migration, options=options, keys=keys)
    for _ in range(5):
        found.night(5)
    night = found.open()
    days = found.days()[found.sessions - 40 : found.sessions + 5].astype(str).tolist()
    text = Path("move.toml").read_text()
    Path("move.toml").write_text(text.replace("horizon = 5", 'horizon = 5\ntruth = "latest"'))
    before = replay(found.open())
    body = {"dates": days, "values": [500.0] * len(days), "until": days[-6]}
    night.store.journal.append(OBSERVED, "A", body)

    assert replay(found.open()).differ == before.differ


@pytest.mark.slow
def test_another_revision_is_taken_as_recorded(migration):
    """Nights and moves of a candidate that is no more are counted, not derived."""
    found = begun(migration)
    text = Path("move.toml").read_text()
    Path("move.toml").write_text(
        text.replace('role = "candidate"', 'role = "candidate"\nnoise = 0.001')
    )
    found.night(1)
    found.night(1)
    told = replay(found.open())

    assert told.differ == ()
    assert (told.moves, told.nights, told.former) == (2, 2, 2)
