"""The gate's self-test: it passes on sound evidence, and fails where the gate is broken."""

import dataclasses

import pytest
from scores_for_tests import law_of, walk_of

from harness.experiments.policy import Policy
from harness.experiments.rules import CoverageRule, Criterion
from harness.judging import selftest
from harness.judging.conclusion import SelfTest
from harness.judging.declared import Cell, JudgedGrid
from harness.judging.findings import Outcome
from harness.judging.selftest import self_test
from harness.judging.verdict import Evidence, conclude, gather
from harness.scoring.scores import UnitScores
from reports.words import verdicts
from reports.words.facts import say

POLICY = Policy(
    baseline="old",
    candidate="new",
    mode="improve",
    min_origins=20,
    criteria=(
        Criterion(metric="crps", margin=0.02),
        Criterion(metric="rmse", margin=0.02),
        Criterion(metric="crps", role="success", margin=0.05),
    ),
)


def scores_of(*, old: float = 0.8, windows: int = 60) -> list[UnitScores]:
    """A reference, a legacy arm with two seeds and a candidate on one dataset."""
    truth = walk_of(windows, seed=3)
    arms = (("walk", 1, 0.0), ("old", 1, old), ("old", 2, old), ("new", 1, 0.0))
    return [law_of(truth, arm, seed=seed, noise=noise) for arm, seed, noise in arms]


def tried(
    scores: list[UnitScores], policy: Policy = POLICY, lost: int = 0
) -> tuple[Evidence, SelfTest]:
    """Judge all but the first `lost` scores, and the gate."""
    cells = [Cell(arm=u.arm, dataset=u.dataset, seed=u.seed) for u in scores]
    evidence = gather(JudgedGrid(policy=policy, declared=cells, scores=scores[lost:]))
    return evidence, self_test(evidence)


def states(found: SelfTest) -> dict[str, str]:
    """State by part."""
    return {part.code: part.state for part in found.parts}


@pytest.fixture(scope="module")
def scores() -> list[UnitScores]:
    """Sound scores."""
    return scores_of()


def test_all_parts_pass_on_sound_evidence(scores: list[UnitScores]) -> None:
    """Six parts run and pass, and the verdict carries them without changing its outcome."""
    evidence, found = tried(scores)

    verdict = conclude(evidence, self_test=found)

    assert states(found) == dict.fromkeys("abcdef", "passed")
    assert verdict.outcome == conclude(evidence).outcome == Outcome.PROMOTE
    assert verdict.self_test == found


def test_parts_and_slices_are_planted_too(scores: list[UnitScores]) -> None:
    """Criteria on some steps and years are tried on exactly these."""
    rules = (
        Criterion(metric="crps", margin=0.02, steps=(1, 2)),
        Criterion(metric="mae", margin=0.02, slices=("year:2010", "steps:1-1")),
    )
    _, found = tried(
        scores, dataclasses.replace(POLICY, mode="replace", min_origins=8, criteria=rules)
    )

    assert set(states(found).values()) == {"passed"}
    assert "3 rules tie" in say(found.parts[0].found)


@pytest.mark.slow
def test_few_origins_still_hold_back(scores: list[UnitScores]) -> None:
    """Where a plan cannot decide, the parts say so instead of failing."""
    _, found = tried(scores, dataclasses.replace(POLICY, min_origins=500))

    assert states(found) == dict.fromkeys("abdef", "passed") | {"c": "not run"}
    assert "no guardrail has the evidence to reject" in say(found.parts[1].found)


@pytest.mark.slow
def test_losses_of_one_window_leave_a_ratio_open(scores: list[UnitScores]) -> None:
    """Where one window is nearly the whole loss, no bound exists: that is no fault of the gate."""
    heavy = [dataclasses.replace(unit, values=dict(unit.values)) for unit in scores]
    for unit in heavy:
        wild = unit.values["squared_error"].copy()
        wild[0] *= 1e9
        unit.values["squared_error"] = wild  # type: ignore[index]  # a dict, made above

    evidence, found = tried(heavy)

    rmse = next(f.comparison for f in evidence.findings if f.metric == "rmse")
    assert rmse is not None
    assert rmse.conclusion == "undecided"
    assert "failed" not in states(found).values()
    assert "rejected by 1 of 2" in say(found.parts[1].found)


@pytest.mark.slow
def test_seeds_far_apart_leave_a_planted_factor_open(scores: list[UnitScores]) -> None:
    """Two seeds that differ by more than was planted decide nothing: no fault of the gate."""
    apart = [
        dataclasses.replace(
            unit, values={**unit.values, "squared_error": 25 * unit.values["squared_error"]}
        )
        if (unit.arm, unit.seed) == ("old", 2)
        else unit
        for unit in scores
    ]

    _, found = tried(apart)

    assert "failed" not in states(found).values()
    assert "rejected by 1 of 2" in say(found.parts[1].found)


def test_without_sound_evidence_nothing_is_run(scores: list[UnitScores]) -> None:
    """A missing cell makes the verdict INVALID for its own reason; no part claims to pass."""
    evidence, found = tried(scores, lost=1)

    assert set(states(found).values()) == {"not run"}
    assert conclude(evidence, self_test=found).outcome == Outcome.INVALID


def test_a_policy_without_losses_has_nothing_to_plant(scores: list[UnitScores]) -> None:
    """Wins and coverage alone leave the parts on losses not run, and the others pass."""
    policy = Policy(
        baseline="old",
        candidate="new",
        criteria=(Criterion(metric="crps", statistic="wins"),),
        coverage=(CoverageRule(level=80, tolerance=0.2),),
    )

    _, found = tried(scores, policy)

    assert states(found) == {
        "a": "not run", "b": "not run", "c": "not run", "d": "passed", "e": "not run", "f": "passed"
    }  # fmt: skip


BROKEN = {
    "a": ("_alarms", lambda sides, question: 60),
    "b": ("judge_rule", "always PROMOTE"),
    "c": ("judge_rule", "always HOLD"),
    "d": ("examine", "blind"),
    "e": ("by_test", "lopsided"),
    "f": ("gather", "by position"),
}


@pytest.mark.slow
@pytest.mark.parametrize("part", BROKEN)
def test_a_broken_gate_is_caught(
    scores: list[UnitScores], monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """Each part fails when what it watches is broken, and the verdict is INVALID and says which."""
    name, fault = BROKEN[part]
    evidence = tried(scores)[0]
    monkeypatch.setattr(selftest, name, fault if callable(fault) else breaking(name, fault))

    found = self_test(evidence)

    verdict = conclude(evidence, self_test=found)
    assert states(found)[part] == "failed"
    assert verdict.outcome == Outcome.INVALID
    assert f"self-test failed, part {part}" in " ".join(verdicts.reasons(verdict))


def breaking(name: str, fault: str):  # type: ignore[no-untyped-def]  # wraps anything
    """The real function with a fault."""
    real = getattr(selftest, name)

    def wrapped(*given, **options):  # type: ignore[no-untyped-def]  # as the real one
        found = real(*given, **options)
        if name == "judge_rule":
            outcome = Outcome.PROMOTE if "PROMOTE" in fault else Outcome.HOLD
            return [dataclasses.replace(each, outcome=outcome) for each in found]
        if name == "examine":
            return dataclasses.replace(found, problems=())
        if name == "by_test":
            return dataclasses.replace(found, lower=-0.5, conclusion="undecided")
        first = f"the first, {given[0].scores[0].arm}"
        return dataclasses.replace(
            found, validity=dataclasses.replace(found.validity, reference=first)
        )

    return wrapped
