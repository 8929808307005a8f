"""Diagnostics from scores: what is found, what is left out, and that nothing is raised."""

import dataclasses
import json

import numpy as np
import pytest
from pydantic import TypeAdapter
from scipy.special import ndtri
from scores_for_tests import table_of

from harness.evidence.diagnostics import Diagnostics, diagnose
from harness.forecast import LEVELS
from harness.scoring.scores import UnitScores
from reports.words.reason_words import why

WINDOWS, STEPS = 60, 4


def unit_of(
    arm: str,
    role: str,
    *,
    error: float = 1.0,
    seed: int = 1,
    dataset: str = "X",
    width: float = 1.0,
) -> UnitScores:
    """Scores of an arm whose losses are `error` on average and whose intervals have a width."""
    draw = np.random.default_rng([len(arm), ord(arm[0]), seed])
    score = draw.normal(size=(WINDOWS, STEPS)) / width
    loss = error * draw.gamma(8, 1 / 8, size=(WINDOWS, STEPS))
    values = {
        "crps": loss,
        "absolute_error": loss,
        "squared_error": loss**2,
        "coverage_80": (np.abs(score) < ndtri(0.9)).astype(float),
        "coverage_95": (np.abs(score) < ndtri(0.975)).astype(float),
        "pit": np.clip(0.5 + 0.2 * score, LEVELS[0], LEVELS[-1]),
    }
    return table_of(values, arm=arm, role=role, seed=seed, dataset=dataset, first=100)


def grid() -> list[UnitScores]:
    """One reference, two legacy arms and a candidate, two seeds where they learn."""
    units = [unit_of("walk", "reference")]
    for seed in (1, 2):
        units += [
            unit_of("old", "legacy", error=1.3, seed=seed),
            unit_of("older", "legacy", error=2.0, seed=seed, width=0.5),
            unit_of("new", "candidate", seed=seed),
        ]
    return units


def found_in(units: list[UnitScores]) -> Diagnostics:
    return diagnose(
        units, candidate="new", legacy="old", metrics=["crps", "coverage_80"], alpha=0.05
    )


@pytest.fixture(scope="module")
def found() -> Diagnostics:
    return found_in(grid())


def test_every_arm_is_in_the_confidence_set_or_out_of_it(found: Diagnostics) -> None:
    """One set per dataset and judged loss; the worst arm is out."""
    (only,) = found.confidence_sets

    assert (only.dataset, only.metric) == ("X", "crps")
    assert {each.arm for each in only.members} == {"walk", "old", "older", "new"}
    assert "older" not in only.kept
    assert {"new", "walk"} <= set(only.kept)


def test_secondary_claims_leave_out_what_the_policy_judges(found: Diagnostics) -> None:
    """Every legacy arm and loss, but for the policy's pair and metric; adjusted by Holm."""
    claimed = {(each.legacy, each.metric) for each in found.secondary}

    assert ("old", "crps") not in claimed
    assert {("old", "mae"), ("older", "crps"), ("older", "rmse")} <= claimed
    assert all(each.legacy != "walk" for each in found.secondary)
    for each in found.secondary:
        assert (each.adjusted or 0) >= (each.p_value or 1)
        assert each.claim == ("better" if (each.adjusted or 1) <= 0.05 else "open")


def test_when_the_candidate_loses_is_asked_of_the_policys_pair(found: Diagnostics) -> None:
    """Conditional and fluctuation tests are made once per dataset and judged loss."""
    assert [(e.metric, e.candidate, e.legacy) for e in found.conditional] == [
        ("crps", "new", "old")
    ]
    (path,) = found.fluctuations
    assert path.smallest is not None
    assert path.smallest < 0
    assert all(span.loser == "legacy" for span in path.spans)


def test_calibration_is_tested_at_first_and_last_step(found: Diagnostics) -> None:
    """Each arm has both levels at both steps; too narrow intervals are found."""
    cells = {(each.arm, each.step, each.level) for each in found.intervals}

    assert {("new", 1, 80), ("new", 4, 95), ("walk", 4, 80)} <= cells
    assert len(cells) == len(found.intervals) == 16
    narrow = [each for each in found.intervals if each.arm == "older"]
    assert all((each.unconditional or 1) < 0.01 for each in narrow)
    assert {each.step for each in found.uniformity} == {1, 4}


def test_record_is_plain_and_reads_back(found: Diagnostics) -> None:
    """The dataclass goes through JSON without NaN and comes back equal."""
    text = json.dumps(dataclasses.asdict(found), allow_nan=False)

    assert TypeAdapter(Diagnostics).validate_json(text) == found


def test_order_of_units_and_rows_changes_nothing(found: Diagnostics) -> None:
    """Shuffled units and rows give the same record."""
    order = np.random.default_rng(0).permutation(WINDOWS)

    assert found_in([unit.at(order) for unit in grid()[::-1]]) == found


def test_failed_windows_are_named_never_dropped() -> None:
    """A failed window takes an arm out of the set and its calibration, with the reason."""
    units = grid()
    ok = np.ones(WINDOWS, dtype=bool)
    ok[3] = False
    hole = {name: np.where(ok[:, None], v, np.nan) for name, v in units[0].values.items()}
    units[0] = dataclasses.replace(units[0], ok=ok, values=hole)

    found = found_in(units)

    walk = next(each for each in found.confidence_sets[0].members if each.arm == "walk")
    assert (walk.kept, walk.standing, walk.number) == (False, "no_number", 1)
    assert all(each.reason for each in found.intervals if each.arm == "walk")


def test_what_cannot_be_compared_is_a_note() -> None:
    """Other actuals, and a dataset without the candidate, are notes and never errors."""
    units = grid()
    units[0] = dataclasses.replace(units[0], truth_digest="other")
    units.append(unit_of("old", "legacy", dataset="Y"))

    found = found_in(units)

    assert any("different actuals" in why(note) for note in found.notes)
    assert any("Y: new has no scores" in why(note) for note in found.notes)
    assert found_in([]).confidence_sets == ()
