"""Origins that an arm's weights have seen decide nothing, and are said."""

import dataclasses

import numpy as np
import pytest
from scores_for_tests import table_of, truth_of

from harness.experiments.policy import Policy
from harness.experiments.rules import Criterion
from harness.gate.seen_in_training import after_training
from harness.judging.fact import FactCode
from reports.words.facts import say

POLICY = Policy(baseline="old", candidate="new", criteria=(Criterion(metric="mae"),))
TRUTH = truth_of(10)


def scores(truth=TRUTH):
    """The candidate is half as wrong as the baseline on the first four origins, then twice."""
    wrong = np.where(np.arange(10)[:, None] < 4, 0.5, 2.0) * np.ones((10, 4))
    sides = {"old": np.ones((10, 4)), "new": wrong, "rw": np.ones((10, 4))}
    return [table_of({"absolute_error": v}, arm=name, truth=truth) for name, v in sides.items()]


def until(row):
    """The date of an origin."""
    return str(TRUTH.origin_date[row])


@pytest.mark.parametrize("arm", ["old", "new"])
def test_origins_before_the_end_of_training_are_left_out(arm):
    """They are left out of every arm's scores, whoever has seen them, counted and set apart."""
    kept, doubts, problems = after_training(scores(), POLICY, {arm: {"trained until": until(3)}})

    assert [len(unit) for unit in kept] == [6, 6, 6]
    assert all((unit.origin_date > np.datetime64(until(3))).all() for unit in kept)
    assert problems == []
    assert [each.code for each in doubts] == [FactCode.SEEN_IN_TRAINING]
    values = doubts[0].values
    assert (values["arm"], values["origins"], values["of"]) == (arm, 4, 10)
    assert values["effect"] == pytest.approx(-0.5)
    assert "4 of 10 origins on X begin on or before" in say(doubts[0])


def test_the_later_of_two_dates_counts():
    """Where both sides have weights that were trained before, the later end decides."""
    cards = {"old": {"trained until": until(1)}, "new": {"trained until": until(5)}}

    kept, doubts, _ = after_training(scores(), POLICY, cards)

    assert [len(unit) for unit in kept] == [4, 4, 4]
    assert doubts[0].values["arm"] == "new"


def test_nothing_left_is_no_conclusion():
    """Where every origin was seen there is a problem, and no table without rows."""
    kept, doubts, problems = after_training(scores(), POLICY, {"old": {"trained until": until(9)}})

    assert [len(unit) for unit in kept] == [10, 10, 10]
    assert doubts == []
    assert problems[0].code is FactCode.ALL_SEEN_IN_TRAINING
    assert "let the plan begin later" in say(problems[0])


def test_other_arms_leave_nothing_out():
    """A reference with such weights, or a pair that says nothing, changes no score."""
    given = scores()

    kept, *facts = after_training(given, POLICY, {"rw": {"trained until": until(9)}})

    assert all(one is other for one, other in zip(kept, given, strict=True))
    assert facts == [[], []]
    assert dataclasses.is_dataclass(kept[0])
