"""The gate on random, poisoned score tables: always a verdict, always the same, never bought."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from scores_for_tests import table_of, with_truth

from harness.evidence.diagnostics import diagnose
from harness.experiments.policy import Policy
from harness.experiments.rules import CoverageRule, Criterion, EvidenceNeeded, Limits
from harness.judging.declared import Cell, JudgedGrid
from harness.judging.findings import Outcome
from harness.judging.selftest import self_test
from harness.judging.verdict import Verdict, conclude, gather, to_json, verdict_on
from harness.scoring.scores import UnitScores
from reports.words.sentences import sentence_of

Sized = Callable[[int, int], int]
BATCHES = 4
LOSSES = ("crps", "absolute_error", "squared_error")
STEPS = 3
WINDOWS = (0, 1, 2, 3, 5, 12, 20)
SICK = ("nan_cells", "nan_column", "infinite", "huge", "one_failed", "half_failed", "all_failed")
"""What makes windows of an arm worth nothing."""
ODD = (*SICK, "constant", "zero", "denormal", "same")

SECOND = ({"metric": "rmse", "margin": 0.1}, {"metric": "crps", "margin": 0.1, "statistic": "wins"})


def fine_table(draw: np.random.Generator, count: int, arm: str, seed: int = 1) -> UnitScores:
    """Random losses; the candidate's are lower by a factor drawn at random."""
    level = 1.0 if arm != "new" else float(draw.choice([0.5, 0.9, 1.0, 1.3]))
    values = {
        name: level * draw.gamma(4, 0.25, size=(count, STEPS))
        for name in (*LOSSES, "pinball", "scaled_error")
    }
    for each in (50, 68, 80, 95):
        values[f"coverage_{each}"] = (draw.random((count, STEPS)) < each / 100).astype(float)
    values["pit"] = draw.random((count, STEPS))
    return table_of(values, arm=arm, seed=seed, first=100, stride=STEPS)


def spoilt(unit: UnitScores, kind: str, draw: np.random.Generator, like: UnitScores) -> UnitScores:
    """The same table with one kind of poison in it."""
    source = like if kind == "same" else unit
    values = {name: cells.copy() for name, cells in source.values.items()}
    ok, count = unit.ok.copy(), len(unit)
    for name in LOSSES if count else ():
        _poison(values[name], kind, draw)
    if kind.endswith("failed"):
        chance = {"all": 1.0, "half": 0.5, "one": 1 / max(1, count)}[kind.partition("_")[0]]
        ok &= draw.random(count) >= chance
    blank = {name: np.where(ok[:, None], cells, np.nan) for name, cells in values.items()}
    why = tuple("" if each else "boom" for each in ok.tolist())
    return dataclasses.replace(unit, ok=ok, reason=why, values=blank)


def _poison(cells: np.ndarray, kind: str, draw: np.random.Generator) -> None:
    """Change losses [W, H] in place."""
    if kind == "nan_cells":
        cells[draw.random(cells.shape) < 0.1] = np.nan
    elif kind == "nan_column":
        cells[:, 0] = np.nan
    elif kind == "infinite":
        cells[draw.integers(len(cells))] = np.inf
    elif kind == "huge":
        cells[draw.random(len(cells)) < 0.3] = 1e308
    elif kind == "denormal":
        cells *= 1e-312
    elif kind in ("constant", "zero"):
        cells[:] = 0.0 if kind == "zero" else draw.choice([0.5, 1.0, 2.0])


def tables_of(draw: np.random.Generator) -> list[UnitScores]:
    """Legacy and, mostly, a candidate, a reference and a bystander; one in two of them odd."""
    count = int(draw.choice(WINDOWS))
    made = [fine_table(draw, count, "old")]
    for arm, seed, chance in (
        ("new", 1, 0.95),
        ("new", 2, 0.3),
        ("walk", 1, 0.7),
        ("other", 1, 0.4),
    ):
        if draw.random() < chance:
            made.append(fine_table(draw, count, arm, seed))
    if draw.random() < 0.1:  # a dataset on which the other side is missing
        made.append(with_truth(fine_table(draw, count, "old"), dataset="Y"))
    return [
        spoilt(unit, str(draw.choice(ODD)), draw, made[0]) if draw.random() < 0.4 else unit
        for unit in made
    ]


def policy_of(draw: np.random.Generator) -> Policy:
    """Few origins are enough, failures mostly and gains all allowed: the statistics are alone."""
    return Policy(
        baseline="old",
        candidate="new",
        min_origins=int(draw.choice([2, 10])),
        criteria=(
            Criterion(metric="crps", margin=0.05),
            Criterion(**SECOND[int(draw.integers(2))]),
        ),
        coverage=(CoverageRule(level=80, tolerance=0.3),),
        evidence=EvidenceNeeded(implausible_skill=0.99),
        limits=Limits(
            failures=int(draw.choice([0, 100])),
            min_skill=None if draw.random() < 0.5 else -0.5,
        ),
    )


def cells_of(scores: list[UnitScores]) -> list[Cell]:
    """The grid that exactly these scores fill."""
    return [Cell(arm=u.arm, dataset=u.dataset, seed=u.seed) for u in scores]


def whole_verdict(policy: Policy, scores: list[UnitScores], *, back: bool = False) -> Verdict:
    """Judge as the command does: with self-test and diagnostics; `back` turns the tables around."""
    cells = cells_of(scores)
    scores = scores[::-1] if back else scores
    evidence = gather(JudgedGrid(policy=policy, declared=cells, scores=scores))
    metrics = [rule.metric for rule in policy.criteria]
    return conclude(
        evidence,
        self_test=self_test(evidence),
        diagnostics=diagnose(scores, candidate="new", legacy="old", metrics=metrics, alpha=0.05),
    )


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("batch", range(BATCHES))
def test_any_table_has_a_verdict_and_the_same_one_again(batch: int, sized: Sized) -> None:
    """No crash, no warning (they are errors here), no failed self-test, no number in between."""
    count = sized(24, 500)
    for number in range(batch * count, (batch + 1) * count):
        draw = np.random.default_rng(number)
        scores, policy = tables_of(draw), policy_of(draw)

        if number % 4:  # the whole of it takes ten times as long
            assert verdict_on(policy, cells_of(scores), scores).outcome in Outcome, number
            continue
        found = whole_verdict(policy, scores)
        again = found if number % 16 else whole_verdict(policy, scores, back=True)

        assert found.outcome in Outcome, number
        assert to_json(found) == to_json(again), number
        assert found.self_test is not None
        assert not found.self_test.failures, number


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_poisoned_windows_of_the_candidate_never_buy_a_promotion(sized: Sized) -> None:
    """What was not promoted with its own losses is not promoted with some of them spoilt."""
    promoted, tables = 0, sized(48, 480)
    for number in range(tables):
        draw = np.random.default_rng([7, number])
        count = int(draw.choice([12, 30]))
        scores = [fine_table(draw, count, arm) for arm in ("old", "new", "walk")]
        policy = dataclasses.replace(policy_of(draw), limits=Limits(failures=1000))
        before = verdict_on(policy, cells_of(scores), scores).outcome
        scores[1] = spoilt(scores[1], str(draw.choice(SICK)), draw, scores[0])

        after = verdict_on(policy, cells_of(scores), scores).outcome

        promoted += before is Outcome.PROMOTE
        assert before is Outcome.PROMOTE or after is not Outcome.PROMOTE, number
    assert tables / 12 < promoted < tables - tables / 12


@pytest.mark.parametrize(("factor", "said"), [(0.5, Outcome.HOLD), (2.0, Outcome.HOLD)])
def test_losses_that_never_vary_are_no_infinite_significance(factor: float, said: Outcome) -> None:
    """Zero variance is nothing to estimate an uncertainty from, however far apart the arms are."""
    draw = np.random.default_rng(1)
    old = spoilt(fine_table(draw, 40, "old"), "none", draw, fine_table(draw, 40, "old"))
    values = {name: np.ones_like(cells) for name, cells in old.values.items()}
    old = dataclasses.replace(old, values=values)
    new = dataclasses.replace(
        old, arm="new", role="candidate", values={k: factor * v for k, v in values.items()}
    )
    policy = dataclasses.replace(
        policy_of(draw), criteria=(Criterion(metric="crps", margin=0.05),), coverage=()
    )
    policy = dataclasses.replace(policy, limits=Limits())

    verdict = whole_verdict(policy, [old, new])

    assert verdict.outcome is said
    assert "the same on every origin" in sentence_of(verdict.findings[0])
