"""What to do next: every outcome has one step that a person can take."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest
from scores_for_tests import law_of, walk_of

from harness.experiments.policy import Policy
from harness.experiments.rules import CoverageRule, Criterion, Limits
from harness.experiments.waivers import Waiver
from harness.judging.conclusion import LIKELY
from harness.judging.declared import Cell, Circumstances, LargerPlan, OriginPlan, PlanRecord
from harness.judging.fact import FactCode, fact
from harness.judging.verdict import Verdict, verdict_on
from harness.scoring.scores import UnitScores
from reports.words.next_step import next_action, next_step

COVERAGE = CoverageRule(level=80, tolerance=0.08)
CRPS = Criterion(metric="crps", margin=0.02)
POLICY = Policy(
    baseline="old", candidate="new", min_origins=30, criteria=(CRPS,), coverage=(COVERAGE,)
)
BOUNDS = {"crps:guardrail": 0.02, "coverage_80:guardrail": 0.08}
ROOMY, FULL = {"GOLD": 100_000}, {"GOLD": 0}


def plan(origins: int, **bounds: float) -> LargerPlan:
    """A larger experiment that asks for the same, but for these bounds."""
    asked = BOUNDS | {f"{name}:guardrail": bound for name, bound in bounds.items()}
    return LargerPlan(name="big", origins={"GOLD": origins}, seeds=5, bounds=asked)


@cache
def grid_of(
    new: float = 0.5, old: float = 0.5, windows: int = 60, width: float = 1.0, walk: float = 0.0
) -> tuple[UnitScores, ...]:
    """A reference, a legacy arm with two seeds and a candidate on one dataset."""
    truth = walk_of(windows, 4, seed=0, dataset="GOLD")
    return (
        law_of(truth, "walk", noise=walk),
        law_of(truth, "old", noise=old),
        law_of(truth, "old", noise=old, seed=2),
        law_of(truth, "new", noise=new, width=width, seed=3),
    )


def judged(scores: tuple[UnitScores, ...], given: Circumstances, **policy: object) -> Verdict:
    """Judge what is there of a full grid."""
    cells = [Cell(arm=u.arm, dataset=u.dataset, seed=u.seed) for u in grid_of()]
    asked = dataclasses.replace(POLICY, **policy)  # type: ignore[arg-type]  # by name
    return verdict_on(asked, cells, scores, dataclasses.replace(given, experiment="mine.toml"))


WAIVED = tuple(
    Waiver(finding=f"GOLD:{each}", owner="ada", reason="known", until="2030-01-01")
    for each in ("crps:guardrail",)
)
FAILED = fact(FactCode.SCORES_CONFLICT, arm="old", dataset="GOLD", seed=1, verdicts=("ab",))
COUNTED = Circumstances(counted=("GOLD",), room=ROOMY)
ENDED = Circumstances(ended=("GOLD",))

CASES = {
    "promoted": (
        grid_of(new=0.0, old=0.8, windows=150),
        Circumstances(),
        {},
        "replace",
        "abharness rollout status",
    ),
    "broken": (grid_of(new=2.0, old=0.0), Circumstances(), {}, "keep", "--candidate-arm NAME"),
    "a cell is missing": (
        grid_of()[:3],
        Circumstances(),
        {},
        "fill",
        "abharness compare mine.toml`",
    ),
    "another problem": (
        *(
            grid_of(),
            Circumstances(problems=(FAILED,)),
            {},
            "repair",
            "abharness compare mine.toml`",
        ),
    ),
    "only a cost is open": (
        *(
            grid_of(new=0.0, old=0.8, windows=150),
            Circumstances(),
            {"limits": Limits(latency=1.2)},
            "measure",
        ),
        "abharness measure mine.toml`, then `abharness gate mine.toml`",
    ),
    "every rule on a loss is waived": (
        *(grid_of(new=2.0, old=0.0, walk=2.0), Circumstances(today="2029-01-01")),
        {"waivers": WAIVED, "coverage": ()},
        *("settle_first", "Take a waiver out of the policy"),
    ),
    "a random walk is better": (
        *(grid_of(new=0.8, old=2.5), Circumstances(), {"coverage": ()}, "settle_first"),
        "abharness gate mine.toml --set policy.candidate=walk --set policy.reference=ANOTHER`",
    ),
    "a loss is open, a larger experiment is there": (
        *(
            grid_of(),
            Circumstances(larger=plan(100_000)),
            {},
            "larger_plan",
            "abharness compare big`",
        ),
    ),
    "the larger one decides nothing, the history does": (
        *(grid_of(), dataclasses.replace(COUNTED, larger=plan(70))),
        *({}, "raise_origins", "abharness compare mine.toml --set plan.origins=100060`"),
    ),
    "a plan from a first date takes no more of the history": (
        *(
            grid_of(),
            Circumstances(room=ROOMY, ended=("GOLD",)),
            {},
            "keep_undecided",
            "abharness init",
        ),
    ),
    "coverage alone is open": (
        *(grid_of(new=0.0, old=2.5, windows=40, width=0.9), Circumstances(larger=plan(100_000))),
        *({}, "larger_plan", "It should decide 80 % coverage on GOLD"),
    ),
    "few origins, and more come soon": (
        *(
            grid_of(windows=12),
            Circumstances(),
            {},
            "wait_for_origins",
            "abharness nightly mine.toml`",
        ),
    ),
    "few origins, and the data have ended": (
        *(grid_of(windows=12), ENDED, {}, "keep_undecided", "abharness init"),
    ),
    "too few to predict anything": (
        *(grid_of(windows=9), dataclasses.replace(COUNTED, room={"GOLD": 40})),
        *({"min_origins": 5}, "raise_origins", "too few to say what it will decide"),
    ),
    "open, and nothing can be run": (
        *(grid_of(), ENDED, {}, "keep_undecided", "no run is likely to decide an open rule"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_every_outcome_has_a_step_that_a_person_can_take(case: str) -> None:
    """One step first, with its command; never a limit that the evidence would meet."""
    scores, given, policy, code, words = CASES[case]

    verdict = judged(scores, given, **policy)

    assert verdict.next_action.code == code, verdict.summary
    assert words in next_step(verdict.next_action)
    assert "Limits that" not in next_step(verdict.next_action)
    assert next_action(verdict.next_action).startswith(next_step(verdict.next_action))


def test_a_larger_plan_says_which_rules_it_is_likely_to_decide() -> None:
    """Each open rule stands on one side, by its chance with the origins of that plan."""
    scores = grid_of(new=0.0, old=2.5, windows=40, width=0.9)
    easy, hard = (
        judged(
            scores, Circumstances(larger=plan(origins, coverage_80=0.05), ended=("GOLD",))
        ).next_action
        for origins in (100_000, 41)
    )

    assert easy.code is FactCode.LARGER_PLAN
    assert [row[1] for row in easy.values["likely"]] == ["coverage_80"]  # type: ignore[union-attr, index]  # rows
    assert easy.values["likely"][0][3] >= LIKELY  # type: ignore[index, operator]  # a row
    assert easy.values["tighter"]
    assert hard.code is FactCode.KEEP_UNDECIDED


def test_a_rule_that_the_larger_plan_does_not_ask_is_not_decided_by_it() -> None:
    """A plan without the open rule is no step, whatever its origins."""
    larger = dataclasses.replace(plan(100_000), bounds={})
    other = dataclasses.replace(larger, bounds={"mae:guardrail": 0.02})

    codes = [
        judged(grid_of(), Circumstances(larger=each)).next_action.code for each in (larger, other)
    ]

    assert codes == [FactCode.KEEP_UNDECIDED] * 2


@pytest.mark.parametrize(
    ("bound", "at", "said"),
    [
        (0.02, 0.035, "GOLD CRPS +3.5 % (asked +2.0 %)"),
        (0.02, 0.0204, "GOLD CRPS just over +2.0 % (asked +2.0 %)"),
        (-0.05, -0.03, "GOLD CRPS -3.0 % (asked -5.0 %)"),
        (0.02, -0.01, ""),  # kept already: it is open for want of origins
        (-0.05, 0.001, ""),  # no gain
    ],
)
def test_a_limit_is_named_only_where_taking_it_would_help(
    bound: float, at: float, said: str
) -> None:
    """It asks for less than the rule does, and a gain that is asked for stays a gain."""
    step = fact(FactCode.KEEP_UNDECIDED, legacy="old", silent=False, nearest=None, held=None,
                experiment="mine.toml", ended=(), now=60,
                settled=(("GOLD", "crps", "", "share", bound, at),))  # fmt: skip

    told = next_action(step)

    assert said in told
    assert ("Limits that" in told) is bool(said)


def test_a_reference_that_failed_everywhere_leaves_the_larger_plan_as_it_is() -> None:
    """Origins are counted by the rules that have some, and no refit is 0."""
    _, *sides = grid_of()
    nothing = walk_of(60, 4, seed=0, dataset="GOLD")
    failing = law_of(nothing, "walk", failed=range(60))
    planned = OriginPlan(dataset="GOLD", origins=60, first="2020-01-01", last="2020-12-31",
                         stride=4, horizon=4, gap=0, fits=1, refit=None)  # fmt: skip
    record = PlanRecord(experiment="mine", seeds=(1, 2), datasets=(planned,))

    step = judged(
        (failing, *sides), dataclasses.replace(COUNTED, plan=record), limits=Limits(min_skill=0.0)
    ).next_action

    assert step.code is FactCode.RAISE_ORIGINS
    assert (step.values["now"], step.values["refit"]) == (60, 60)


def test_limits_that_would_be_met_stand_last_and_are_called_another_policy() -> None:
    """Whoever reads on learns them, and that taking one is not what the evidence asks for."""
    step = judged(grid_of(), Circumstances(larger=plan(100_000), ended=("GOLD",))).next_action

    whole = next_action(step)

    first, _, last = whole.partition("Limits that today's evidence would meet")
    assert "these data have ended" in first
    assert "another attempt on these sessions, with its own 5 % chance of a wrong" in first
    assert "changes the policy: decide before you look at new results" in last


def test_commands_name_the_store() -> None:
    """Where results lie elsewhere, the step goes on with those."""
    step = judged(grid_of(), Circumstances(larger=plan(100_000))).next_action

    assert "`abharness compare big --store kept`" in next_step(step, store="kept")
    assert "`abharness compare big`" in next_step(step, store="runs")
    assert np.isfinite(step.values["chance"])  # type: ignore[arg-type]  # a number
