"""The rehearsal: what a migration does when the truth is known."""

from __future__ import annotations

import pytest
from in_process import Quiet

from harness.errors import StoreError
from harness.rollout.planted import rehearse


@pytest.mark.slow
def test_planted_truths_take_the_stages_they_should(migration):
    """Better reaches all; harm is rolled back; a failing week serves nobody; the budget holds."""
    found = migration(options="noise = 0.001", keys="budget = 4.0")
    found.judge()
    paths = {
        each.truth: each
        for each in rehearse(found.open(), "2032-10-01", workers=1, progress=Quiet())
    }
    causes = {name: {move.cause for move in path.moves} for name, path in paths.items()}

    assert paths["10 % better"].stage == paths["equal"].stage == "all"
    assert paths["30 % worse from the start"].stage in ("legacy", "shadow")
    assert {"sentinel", "budget", "reject"} & causes["30 % worse after a third"]
    assert paths["equal, failing for a week"].stage in ("legacy", "shadow", "all")
    assert {"fault", "reject"} & causes["equal, failing for a week"]
    for path in paths.values():  # two series, each at most one horizon late
        assert path.spent <= 4.0 + 2 * 5 * 0.3


def test_a_rehearsal_writes_no_move(migration):
    """The migration stands where it stood."""
    found = migration()
    found.judge()
    rehearse(found.open(), "2033-04-25", workers=1, progress=Quiet())

    assert not found.open().state.begun


def test_a_rehearsal_without_a_stored_grid_is_refused(migration):
    """The line names what makes the forecasts."""
    with pytest.raises(StoreError, match="abharness run"):
        rehearse(migration().open(), None, workers=1, progress=Quiet())
