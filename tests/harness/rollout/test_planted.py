"""The rehearsal: what a migration does when the truth is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process import Quiet

from harness.errors import StoreError
from harness.rollout import planted
from harness.rollout.harm import place_after, relative, seen_of
from harness.rollout.planted import rehearse
from harness.rollout.settings import LEGACY, Stage
from harness.rollout.stages import Move, RolloutState
from harness.rollout.stream import PairedStream, SideLosses


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


@pytest.mark.slow
def test_a_rehearsal_starts_by_itself_and_writes_no_move(migration, monkeypatch):
    """Without a day it goes through the last nights; the migration stands where it stood."""
    found = migration()
    found.judge()
    monkeypatch.setattr(planted, "NIGHTS", 20)
    paths = rehearse(found.open(), None, workers=1, progress=Quiet())

    assert {path.nights for path in paths} == {20}
    assert not found.open().state.begun


def test_a_rehearsal_without_a_stored_grid_is_refused(migration):
    """The line names what makes the forecasts."""
    with pytest.raises(StoreError, match="abharness run"):
        rehearse(migration().open(), None, workers=1, progress=Quiet())


def a_pair(rng: np.random.Generator, nights: int) -> PairedStream:
    """A series at stride 1 whose candidate is somewhere between far better and far worse."""
    days = np.busday_offset("2031-01-01", np.arange(nights), roll="forward")
    worse = 1.0 + rng.uniform(-0.3, 1.0)
    losses = rng.gamma(2.0, 0.5, nights), worse * rng.gamma(2.0, 0.5, nights)
    legacy, candidate = (
        SideLosses(
            early=each,
            whole=each,
            reason=("",) * nights,
            issued_at=tuple(f"{day}T00" for day in days),
            in_time=np.ones(nights, dtype=bool),
        )
        for each in losses
    )
    came = np.ones(nights, dtype=bool)
    return PairedStream(
        series="A",
        day=days,
        candidate=candidate,
        legacy=legacy,
        early_came=came,
        whole_came=came,
        wild=~came,
        gap=0,
        horizon=5,
        last=str(days[-1]),
    )


@given(seed=st.integers(0, 10_000), budget=st.floats(0.1, 20.0))
@settings(max_examples=25, deadline=None)
def test_the_budget_is_exceeded_by_one_horizon_at_most(seed, budget):
    """Whatever the losses, no more is lost beyond the budget than the nights of a horizon cost."""
    pair = a_pair(np.random.default_rng(seed), 90)
    costs = [relative(pair, place) for place in range(len(pair))]
    asked = Stage(kind="all")
    asked_of = SimpleNamespace(
        stages=(LEGACY, asked), budget=budget, limit=0.05, series=("A",), name="x"
    )
    day = str(pair.day[5])
    first = Move(
        event="advance", before=0, after=1, until={"A": day}, first={"A": day}, at=f"{day}T12"
    )
    state, most = RolloutState(place=1, moves=(first,)), 0.0
    for count in range(7, len(pair) + 1):
        seen = seen_of(asked_of, state, [pair.as_of(count)])
        most = max(most, seen.spent)
        back = place_after(asked_of, state, seen, None)
        if state.place and back is not None:
            assert back[1] == "budget"
            today = f"{pair.day[count - 1]}T12"
            move = Move(event="rollback", before=1, after=0, cause="budget", at=today)
            state = RolloutState(place=0, moves=(first, move))
    horizon = np.convolve(np.maximum(costs, 0.0), np.ones(pair.horizon + 1), "valid").max()

    assert most <= budget + horizon
