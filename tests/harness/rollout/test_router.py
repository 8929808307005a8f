"""The router: who answers, what a bad candidate costs the caller, and what is kept of it."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import numpy as np
import pytest

from harness.data.dataset import load
from harness.errors import ForecastError, InputError, StoreError
from harness.rollout import Rollout
from harness.running.cells import read_cell

NOW = 'fault = "{}"\nfault_from = "2033-05-27"'
"""After the sessions of the first night."""


def history(found, name="A", *, beyond=0):
    """What a caller asks with: the sessions up to now, and some more."""
    series = load(name, [Path("data")]).series
    days = found.days()[: found.sessions + beyond]
    more = np.full(beyond, series.target[-1])
    return np.concatenate([series.target, more]), days


def opened(found) -> Rollout:
    """The router of another process."""
    return Rollout.open("rollout.toml", store="runs", data_dir=["data"])


def begun(migration, *, stage=1, **given):
    """A migration whose stream has a night, at a stage."""
    found = migration(**given)
    found.judge()
    found.open().advance()
    found.night()
    for _ in range(stage - 1):
        found.night(5)
        found.judge()
        found.open().advance()
    return found


def asked(router, found, name="A", beyond=0):
    """The answer for a series after the newest session."""
    values, days = history(found, name, beyond=beyond)
    return router.forecast(name, values, dates=days)


@pytest.mark.slow
def test_each_stage_serves_by_its_arm(migration):
    """Shadow serves the legacy, a part the candidate for its series alone, all for every one."""
    found = begun(migration, stages='["shadow", {series = ["A"]}, "all"]', options="noise = 1e-9")
    with opened(found) as router:
        served = [asked(router, found, name).served_by for name in "AB"]
        found.night(5)
        found.judge()
        router.advance("me")
        served += [asked(router, found, name).served_by for name in "AB"]
        found.night(5)
        found.judge()
        found.open().advance()  # another process
        both = {name: history(found, name) for name in "AB"}
        answers = router.forecast_all(both)

        assert served == ["old", "old", "new", "old"]
        assert [(a.served_by, a.stage, a.reason) for a in answers.values()] == [
            ("new", "all", "")
        ] * 2


@pytest.mark.slow
def test_it_answers_as_the_night_does(migration):
    """The same rows give, to the bit, the forecast that the night sealed."""
    found = begun(migration)
    with opened(found) as router:
        made = asked(router, found).forecast
    night = found.open()
    grid = night.grid(night.state)
    cell = next(c for c in grid.cells if str(c).startswith("old/A"))
    whole = dataclasses.replace(cell.split, windows=cell.split.issued)
    stored = read_cell(night.store, dataclasses.replace(cell, split=whole))

    assert np.array_equal(made.quantiles[0], stored.forecast.quantiles[-1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("raise", "told to raise"),
        ("nan", "not finite"),
        ("wild", "beyond ten legacy widths"),
        ("hang", "no answer within"),
        ("die", "its process ended"),
        ("eat", "MiB, the limit is"),
    ],
)
def test_a_bad_candidate_costs_the_caller_the_flag(migration, fault, said):
    """Whatever it does, the legacy answers with the reason, and serves from then on."""
    limit = 60.0 if fault == "eat" else 3.0
    keys = f"latency_s = {limit}\nmemory_limit_mib = 600"
    found = begun(migration, stages='["all"]', keys=keys, options=NOW.format(fault))
    with opened(found) as router:
        good = asked(router, found)
        bad = asked(router, found, beyond=8)
        router._by_writer(lambda: None)  # what was noted is a record
        after = asked(router, found, beyond=8)
        state = router.status()

    assert (good.served_by, good.reason) == ("new", "")
    assert bad.served_by == "old"
    assert said in bad.reason
    assert (after.served_by, after.stage, after.reason) == ("old", "legacy", "")
    assert (state.moves[-1].cause, state.place) == ("fault", 0)
    assert said in state.moves[-1].detail["what"]


@pytest.mark.slow
def test_what_neither_side_can_answer_is_an_error(migration):
    """Both reasons are named; in a batch the other series keep their answers."""
    found = begun(migration, options=NOW.format("raise"))
    file = Path("move.toml")
    text = file.read_text().replace('role = "legacy"', 'role = "legacy"\n' + NOW.format("nan"))
    file.write_text(text)
    found.judge()
    found.night(1)
    with opened(found) as router:
        batch = {"A": history(found, "A", beyond=8), "B": history(found, "B")}
        whole = router.forecast_all(batch)
        with pytest.raises(ForecastError, match=r"not finite.*told to raise"):
            asked(router, found, beyond=8)

    assert isinstance(whole["A"], ForecastError)
    assert whole["B"].served_by == "old"


@pytest.mark.slow
def test_the_shadow_never_reaches_the_caller(migration):
    """A candidate that is slow or fails in shadow is a record, and no request waits for it."""
    found = begun(migration, keys="latency_s = 1.0", options=NOW.format("hang"))
    with opened(found) as router:
        answer = asked(router, found, beyond=8)
        before = found.open().requests(found.open().state)  # nobody has asked the candidate yet
        made = router.shadow()

        assert (answer.served_by, answer.reason) == ("old", "")
        assert before == []
        assert [(each.arm, each.forecast) for each in made] == [("new", None)]
        assert "no answer within" in made[0].reason
        assert router.status().place == 1
    assert [each.served for each in found.open().requests(found.open().state)] == [False]


@pytest.mark.slow
def test_many_threads_get_their_own_answers(migration):
    """Requests of many threads never get each other's forecast."""
    found = begun(migration)
    wrong = []

    def ask(router, name):
        values, days = history(found, name)
        for shift in range(1, 20):
            made = router.forecast(name, values[:-shift], dates=days[:-shift]).forecast
            if made.point[0, 0] != values[-shift - 1]:
                wrong.append((name, shift))

    with opened(found) as router:
        threads = [threading.Thread(target=ask, args=(router, name)) for name in "ABAB"]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

    assert not wrong


@pytest.mark.slow
def test_observed_values_count_as_the_plan_says(migration):
    """Of a session that is reported twice the first value counts, or the latest."""
    found = begun(migration)
    days = found.days()[found.sessions : found.sessions + 5]
    with opened(found) as router:
        for value in (90.0, 300.0):
            router.observe("A", days, np.full(5, value))
    losses, file = {}, Path("move.toml")
    text = file.read_text()
    for which in ("first", "latest"):
        file.write_text(text.replace("horizon = 5", f'horizon = 5\ntruth = "{which}"'))
        night = found.open()
        seen = night.seen(night.state, night.grid(night.state))
        assert seen is not None
        losses[which] = seen.pairs[0].legacy.whole[-1]

    assert losses["latest"] > 1.5 * losses["first"] > 0


@pytest.mark.slow
def test_wrong_requests_name_every_fault(migration):
    """An unknown series, and a history that is none, are one line each."""
    found = begun(migration)
    with opened(found) as router:
        with pytest.raises(InputError, match="expected one of A, B"):
            router.forecast("X", [1.0], dates=["2031-01-01"])
        with pytest.raises(InputError, match="not finite; dates have shape"):
            router.forecast("A", [1.0, np.nan], dates=["2031-01-01"])


def test_nothing_is_served_before_a_night(migration):
    """Without fits there is nothing to open, and the line says what makes them."""
    found = migration()
    found.judge()
    found.open().advance()

    with pytest.raises(StoreError, match="abharness nightly"):
        opened(found)


@pytest.mark.slow
def test_other_code_of_an_arm_is_not_served_by_the_fit_of_the_former(migration):
    """Arms whose code changed since their fits are not loaded, and the line says why."""
    found = begun(migration, stages='["all"]')
    Path("sides.py").write_text(Path("sides.py").read_text().replace("0.97", "0.96"))
    with pytest.raises(InputError, match="has changed since its fit was made"):
        opened(found)
