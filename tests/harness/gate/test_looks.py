"""A policy held against growing data: when a look takes place, and what stands in between."""

import dataclasses
import json
from pathlib import Path

import pytest
from in_process import InThisProcess, Quiet

from harness.data.dataset import load
from harness.experiments.experiment import read_experiment
from harness.gate.judge import judge_grid, stored_judgement
from harness.gate.looks import LOOK, TRIED
from harness.gate.rehearsal import rehearse
from harness.judging.fact import FactCode
from harness.running.fill import fill
from harness.running.grid import declare
from harness.running.store_folder import open_store
from harness.window import up_to

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


def test_a_look_takes_place_when_an_independent_origin_has_come(tiny, gold):
    """At stride 1 and horizon 5, one session in five brings a look; the others change nothing."""
    file = tiny(*GROWING)
    first, between, second = (night(file, gold, ENDS + more)[2] for more in (0, 4, 5))

    assert [each.verdict.look.number for each in (first, between, second)] == [1, 1, 2]
    codes = [each.news[0].code for each in (first, between, second)]
    assert codes == [FactCode.FIRST_VERDICT, FactCode.NOTHING_NEW, FactCode.STILL]
    assert (between.folder, between.head) == (first.folder, first.head)
    assert [len(unit) for unit in between.scores] == [len(unit) for unit in first.scores]


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


def test_without_looks_an_attempt_is_only_counted(tiny, gold):
    """A plain comparison says nothing of another one on the same sessions, and both are known."""
    night(tiny(), gold, ENDS)
    night(tiny(), gold, ENDS)
    _, store, other = night(tiny(("margin = 0.05", "margin = 0.06")), gold, ENDS)

    assert FactCode.TRIED_BEFORE not in {r.because.code for r in other.verdict.reasons if r.because}
    assert other.verdict.look is None
    assert len(rows(store, TRIED)) == 2


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
