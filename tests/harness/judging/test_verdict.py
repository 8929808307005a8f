"""The verdict: all outcomes, no green by accident, a record that lasts."""

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scores_for_tests import law_of, walk_of

from harness.errors import StoreError
from harness.evidence.diagnostics import diagnose
from harness.experiments.policy import Policy
from harness.experiments.rules import CoverageRule, Criterion, Limits
from harness.experiments.waivers import Waiver
from harness.judging.declared import Cell, Circumstances, JudgedGrid, OriginPlan, PlanRecord
from harness.judging.fact import SCHEMA, FactCode
from harness.judging.findings import Outcome
from harness.judging.selftest import self_test
from harness.judging.verdict import (
    EXIT_CODES,
    Verdict,
    conclude,
    from_json,
    gather,
    to_json,
    verdict_on,
)
from harness.scoring.scores import Truth, UnitScores
from reports.words.sentences import sentence_of
from reports.words.verdicts import problems, reasons, summary

GOLDEN = Path(__file__).parents[2] / "golden" / "verdict"
STEPS, STRIDE = 4, 4
POLICY = Policy(
    baseline="old",
    candidate="new",
    criteria=(
        Criterion(metric="crps", margin=0.02),
        Criterion(metric="rmse", margin=0.02),
        Criterion(metric="mae", margin=0.02),
    ),
    coverage=(CoverageRule(level=80, tolerance=0.08),),
)


def truth_of(dataset: str = "GOLD", windows: int = 150, seed: int = 0) -> Truth:
    """A random walk of prices around 100 to 200."""
    return walk_of(windows, STEPS, seed=seed, dataset=dataset)


def grid_of(
    *, new: float = 0.0, old: float = 0.8, windows: int = 150, width: float = 1.0
) -> list[UnitScores]:
    """Two datasets, a reference, legacy with two seeds and a candidate."""
    scores = []
    for number, dataset in enumerate(("GOLD", "DOW_JONES")):
        truth = truth_of(dataset, windows, number)
        scores += [
            law_of(truth, "walk"),
            law_of(truth, "old", noise=old),
            law_of(truth, "old", noise=old, seed=2),
            law_of(truth, "new", noise=new, width=width),
        ]
    return scores


def declared(scores: list[UnitScores]) -> list[Cell]:
    """The grid that exactly these scores fill."""
    return [Cell(arm=u.arm, dataset=u.dataset, seed=u.seed) for u in scores]


def judged(scores: list[UnitScores], policy: Policy = POLICY) -> Verdict:
    """Judge a full grid."""
    return verdict_on(policy, declared(scores), scores)


PLAN = PlanRecord(
    experiment="golden",
    seeds=(1, 2),
    datasets=tuple(
        OriginPlan(
            dataset=name,
            origins=150,
            first="2010-02-23",
            last="2011-10-12",
            stride=STRIDE,
            horizon=STEPS,
            gap=0,
            fits=3,
            refit=50,
            skipped=0,
        )
        for name in ("GOLD", "DOW_JONES")
    ),
)


@cache
def golden_verdict() -> Verdict:
    """The verdict whose record is kept for good, with every section."""
    scores = grid_of(old=0.8)
    ended = Waiver(finding="GOLD:mae:*", owner="ada", reason="see 12", until="2030-12-31")
    policy = dataclasses.replace(
        POLICY,
        mode="improve",
        criteria=(*POLICY.criteria, Criterion(metric="crps", role="success", margin=0.05)),
        waivers=(ended,),
    )
    given = Circumstances(
        stride={"GOLD": STRIDE, "DOW_JONES": STRIDE},
        plan=PLAN,
        fingerprints={"grid": "0" * 64},
        cards={"new": {"pretraining data": "no market data"}},
        today="2031-01-01",
    )
    grid = JudgedGrid(policy=policy, declared=declared(scores), scores=scores, given=given)
    evidence = gather(grid)
    beside = diagnose(scores, candidate="new", legacy="old", metrics=["crps"], alpha=0.05)
    tested = self_test(evidence)
    return conclude(evidence, self_test=tested, diagnostics=beside)


def test_better_candidate_is_promoted() -> None:
    """Everything shown within its margin is PROMOTE, exit code 0, and says why in figures."""
    verdict = judged(grid_of(new=0.0, old=0.8))

    assert verdict.outcome == Outcome.PROMOTE
    assert verdict.exit_code == 0
    assert summary(verdict) == "new may replace old: all 8 guardrails are shown to hold."
    assert any(
        "GOLD CRPS: the loss of new is" in text and "within it" in text for text in reasons(verdict)
    )


def test_worse_candidate_is_rejected() -> None:
    """A guardrail shown broken is REJECT, exit code 3, and names it."""
    verdict = judged(grid_of(new=1.0, old=0.0))

    assert verdict.outcome == Outcome.REJECT
    assert verdict.exit_code == 3
    assert "must not replace old: shown broken are" in summary(verdict)
    assert "shown worse than allowed" in reasons(verdict)[0]


def test_wrong_coverage_alone_is_rejected() -> None:
    """Intervals half as wide as they should be break the coverage guardrail."""
    verdict = judged(grid_of(width=0.5, old=3.0))

    broken = {f.metric for f in verdict.findings if f.outcome == Outcome.REJECT}
    assert verdict.outcome == Outcome.REJECT
    assert broken == {"coverage_80"}


def test_undecided_is_hold_and_says_what_would_decide() -> None:
    """Sides too close to tell apart are HOLD, exit code 4, with the next step."""
    verdict = judged(grid_of(new=0.5, old=0.5))

    assert verdict.outcome == Outcome.HOLD
    assert verdict.exit_code == 4
    assert "not decided" in summary(verdict)
    assert verdict.next_action.code is FactCode.KEEP_UNDECIDED


def test_too_few_origins_are_hold_whatever_the_numbers_say() -> None:
    """Twelve origins do not promote even a far better candidate."""
    verdict = judged(grid_of(new=0.0, old=5.0, windows=12))

    assert verdict.outcome == Outcome.HOLD
    assert "12 non-overlapping origins and the policy asks for 30" in reasons(verdict)[1]
    assert (
        "about 18 more independent origins would decide it with a chance of" in reasons(verdict)[1]
    )
    assert verdict.next_action.code is FactCode.WAIT_FOR_ORIGINS


@pytest.mark.slow
def test_all_rules_are_judged_and_shown_in_every_case() -> None:
    """Each rule on each dataset has a finding with a sentence, whatever the outcome."""
    for scores in (grid_of(), grid_of(new=1.0, old=0.0), grid_of(windows=12), grid_of()[1:]):
        verdict = verdict_on(POLICY, declared(grid_of()), scores)

        assert len(verdict.findings) == 2 * (len(POLICY.rules) + 2)
        assert len({finding.id for finding in verdict.findings}) == len(verdict.findings)
        assert all(sentence_of(finding).endswith(".") for finding in verdict.findings)


@pytest.mark.parametrize("lost", range(8))
def test_a_missing_cell_is_invalid(lost: int) -> None:
    """Any declared cell without scores, a reference or one seed even, is INVALID, exit code 5."""
    scores = grid_of()
    cells = declared(scores)
    gone = scores.pop(lost)

    verdict = verdict_on(POLICY, cells, scores)

    assert verdict.outcome == Outcome.INVALID
    assert verdict.exit_code == 5
    assert verdict.validity.missing == (Cell(arm=gone.arm, dataset=gone.dataset, seed=gone.seed),)
    assert "1 of 8 declared cells have no scores" in reasons(verdict)[0]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([], "declared grid is empty"),
        ([Cell(arm="old", dataset="GOLD", seed=1)], "has no new on GOLD"),
    ],
)
def test_an_empty_grid_is_invalid(cells: list[Cell], message: str) -> None:
    """Nothing declared, one side only or nothing scored is INVALID, never green."""
    assert verdict_on(POLICY, cells, []).outcome == Outcome.INVALID
    assert message in " ".join(reasons(verdict_on(POLICY, cells, [])))
    assert verdict_on(POLICY, declared(grid_of()), []).outcome == Outcome.INVALID


def test_a_cell_scored_twice_or_not_declared_is_invalid() -> None:
    """Double and undeclared units are named, not averaged in."""
    scores = grid_of()
    extra = dataclasses.replace(scores[0], seed=9)

    double = verdict_on(POLICY, declared(scores), [*scores, scores[3]])
    more = verdict_on(POLICY, declared(scores), [*scores, extra])

    assert double.outcome == Outcome.INVALID
    assert "new on GOLD, seed 1 has scores 2 times." in problems(double)
    assert more.outcome == Outcome.INVALID
    assert "walk on GOLD, seed 9 has scores but was not declared." in problems(more)


def test_case_7_other_actuals_under_the_same_name_are_invalid() -> None:
    """An arm judged against other data is refused, be it a reference only."""
    for position in range(4):
        scores = grid_of()
        unit = scores[position]
        scores[position] = law_of(truth_of("GOLD", seed=99), unit.arm, seed=unit.seed)

        verdict = judged(scores)

        assert verdict.outcome == Outcome.INVALID
        assert "same actuals" in reasons(verdict)[0]
        assert verdict.validity.truth_digests["GOLD"] == ""


def test_origins_off_the_planned_stride_are_invalid() -> None:
    """A window dropped on every side still shows, because the plan's stride is known."""
    short = []
    for unit in grid_of():
        keep = np.delete(np.arange(len(unit)), 7)
        short.append(unit.at(keep))

    verdict = verdict_on(POLICY, declared(short), short, Circumstances(stride={"GOLD": STRIDE}))

    assert verdict.outcome == Outcome.INVALID
    assert "origins are not every 4 sessions" in reasons(verdict)[0]


@pytest.mark.slow
def test_candidate_failures_beyond_the_limit_are_rejected() -> None:
    """A crash on three windows breaks a limit of none, however good the others are."""
    scores = grid_of()
    scores[3] = law_of(truth_of("GOLD"), "new", failed=(3, 4, 5))

    verdict = judged(scores)
    allowed = judged(scores, dataclasses.replace(POLICY, limits=Limits(failures=3)))

    assert verdict.outcome == Outcome.REJECT
    assert "GOLD failures: new failed 3 of 150 windows, limit 0: broken." in reasons(verdict)
    assert allowed.outcome != Outcome.REJECT
    assert sentence_of(allowed.findings[0]).endswith(
        "3 failed windows of new were counted as twice the worst loss."
    )


def test_legacy_failures_beyond_the_limit_are_invalid() -> None:
    """There is nothing sound to compare with when legacy crashed."""
    scores = grid_of()
    scores[1] = law_of(truth_of("GOLD"), "old", noise=0.8, failed=(3,))

    verdict = judged(scores)

    assert verdict.outcome == Outcome.INVALID
    assert "GOLD failures: old failed 1 of 300 windows, limit 0: broken" in reasons(verdict)[0]


def test_case_4_nan_on_hard_windows_is_never_promoted() -> None:
    """Perfect elsewhere and NaN where it is hard is a REJECT at any limit it exceeds."""
    truth = truth_of("GOLD")
    reference = law_of(truth, "walk").values["crps"].mean(axis=1)
    hard = tuple(np.argsort(reference)[-20:].tolist())
    scores = grid_of(new=0.0, old=0.0)
    scores[3] = law_of(truth, "new", failed=hard)

    assert judged(scores).outcome == Outcome.REJECT
    lenient = dataclasses.replace(POLICY, limits=Limits(failures=20))
    assert judged(scores, lenient).outcome in (Outcome.REJECT, Outcome.HOLD)


@pytest.mark.slow
def test_improve_needs_a_gain_and_replace_does_not() -> None:
    """In the mode improve a candidate that is only as good is HOLD; with a gain, PROMOTE."""
    improve = dataclasses.replace(
        POLICY,
        mode="improve",
        criteria=(*POLICY.criteria, Criterion(metric="crps", role="success", margin=0.5)),
    )
    replace = dataclasses.replace(improve, mode="replace")
    modest = dataclasses.replace(
        improve,
        criteria=(*POLICY.criteria, Criterion(metric="crps", role="success", margin=0.05)),
    )

    assert judged(grid_of(), improve).outcome == Outcome.HOLD
    assert "no gain over old is shown" in summary(judged(grid_of(), improve))
    assert judged(grid_of(), replace).outcome == Outcome.PROMOTE
    assert judged(grid_of(), modest).outcome == Outcome.PROMOTE


@pytest.mark.slow
def test_error_rate_is_split_over_successes_only() -> None:
    """Guardrails keep alpha, since all must hold; successes share it, since one is enough."""
    findings = golden_verdict().findings

    alphas = {(f.role, f.comparison.question.alpha) for f in findings if f.comparison}

    assert alphas == {("guardrail", 0.05), ("success", 0.025)}


def test_identical_arms_are_promoted_within_a_margin_only() -> None:
    """A tie may replace, because it loses nothing; it never is an improvement."""
    scores = grid_of(old=0.0)  # as good as the reference, or the candidate would be held back
    for position in (3, 7):
        old = scores[position - 2]
        scores[position] = dataclasses.replace(old, arm="new", role="candidate", seed=1)
        scores[position - 1] = dataclasses.replace(old, seed=2)
    wide = dataclasses.replace(POLICY, coverage=())

    assert judged(scores, wide).outcome == Outcome.PROMOTE
    assert "the same as old's" in sentence_of(judged(scores, wide).findings[0])


@pytest.mark.slow
def test_swapped_arms_mirror_the_verdict() -> None:
    """What is promoted one way round is rejected the other."""
    scores = grid_of(old=0.8)
    policy = dataclasses.replace(POLICY, coverage=())
    swapped = dataclasses.replace(policy, baseline="new", candidate="old")

    assert judged(scores, policy).outcome == Outcome.PROMOTE
    assert judged(scores, swapped).outcome == Outcome.REJECT


@pytest.mark.slow
def test_order_of_rows_and_units_changes_no_byte() -> None:
    """Shuffled units and reversed rows give the same record."""
    scores = grid_of()
    back = [unit.at(slice(None, None, -1)) for unit in scores[::-1]]

    assert to_json(verdict_on(POLICY, declared(scores), back)) == to_json(judged(scores))


def test_both_sides_are_set_against_the_reference() -> None:
    """Skill against the random walk is printed for both, and a weak candidate is cautioned."""
    verdict = judged(grid_of(new=0.5, old=0.8))

    standings = [s for s in verdict.validity.standings if s.metric == "crps"]
    assert [(s.dataset, s.arm) for s in standings] == [
        ("DOW_JONES", "old"),
        ("DOW_JONES", "new"),
        ("GOLD", "old"),
        ("GOLD", "new"),
    ]
    assert all(s.skill is not None and s.skill < 0 for s in standings)
    assert any("new is shown worse than walk: " in text for text in reasons(verdict))


@pytest.mark.slow
def test_record_is_read_back_as_it_was() -> None:
    """Writing and reading a verdict gives the same verdict and the same bytes, all outcomes."""
    for scores in (grid_of(), grid_of(new=1.0, old=0.0), grid_of(windows=12), grid_of()[1:]):
        verdict = verdict_on(POLICY, declared(grid_of()), scores)

        text = to_json(verdict)

        assert from_json(text) == verdict
        assert to_json(from_json(text)) == text


def test_record_holds_no_nan() -> None:
    """Even where nothing could be computed the JSON has null and a reason, never NaN."""
    scores = grid_of()
    scores[3] = law_of(truth_of("GOLD"), "new", failed=tuple(range(150)))

    text = to_json(judged(scores))

    def refuse(found: str) -> None:
        raise AssertionError(found)

    json.loads(text, parse_constant=refuse)
    assert "NaN" not in text.replace("NaN never", "")


def test_the_golden_record_is_what_judging_writes_today() -> None:
    """Every section, key, code and number: a change of the form changes the golden copy with it.

    Numbers may differ in their last digits from one machine to another.
    """
    kept = json.loads((GOLDEN / f"schema-{SCHEMA}.json").read_text(encoding="utf-8"))

    again = json.loads(to_json(golden_verdict()))

    old, new = dict(flat(kept)), dict(flat(again))
    numbers = [name for name, value in old.items() if isinstance(value, float)]
    assert old.keys() == new.keys()
    assert [old.pop(n) for n in numbers] == pytest.approx([new.pop(n) for n in numbers], rel=1e-9)
    assert old == new


def flat(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Every scalar of a record by its path."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in inner:
        if isinstance(each, dict | list) and each:
            yield from flat(each, f"{name}/{key}")
        else:
            yield f"{name}/{key}", None if each in ([], {}) else each


def test_the_golden_record_is_read_whole() -> None:
    """Self-test, error rates, power, waivers and diagnostics come back as they were written."""
    text = (GOLDEN / f"schema-{SCHEMA}.json").read_text(encoding="utf-8")

    kept = from_json(text)

    assert to_json(kept) == text
    assert kept.self_test is not None
    assert kept.self_test.passed == 6
    assert kept.multiplicity is not None
    assert kept.diagnostics is not None
    assert len(kept.power) == 10
    assert [state.active for state in kept.waivers] == [False]
    assert kept.judged_on == "2031-01-01"
    assert kept.validity.contamination[0].share == 0.0


@pytest.mark.slow
def test_no_sentence_is_stored() -> None:
    """Texts in a record are names, dates, digests and codes, and what users wrote: no prose."""
    scores = grid_of(new=0.5, old=0.5)
    records = [golden_verdict(), judged(scores), verdict_on(POLICY, declared(scores), scores[1:])]
    found = [
        (path, text)
        for verdict in records
        for path, text in flat(json.loads(to_json(verdict)))
        if isinstance(text, str) and text.count(" ") > 1
    ]

    assert [each for each in found if not re.search(_THEIRS, each[0])] == []


_THEIRS = r"contamination/\d+/said|comparison/(reason|seed_note)|^/diagnostics"
"""What an arm's card says is not ours; comparisons and diagnostics are made in `evidence`."""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a verdict"),
        ("[]", "not a verdict: its kind is not 'verdict'"),
        ('{"schema": 2}', "not a verdict: its kind is not 'verdict'"),
        ('{"kind": "verdict"}', "no schema number"),
        ('{"kind": "verdict", "schema": 1}', f"an older abharness: schema 1, .* {SCHEMA}; `abh"),
        ('{"kind": "verdict", "schema": 99}', f"a newer abharness: schema 99, .* reads {SCHEMA}$"),
        (f'{{"kind": "verdict", "schema": {SCHEMA}}}', "not a whole verdict: outcome"),
    ],
)
def test_records_that_cannot_be_read_are_refused(text: str, message: str) -> None:
    """Torn, foreign and newer records are one-line errors."""
    with pytest.raises(StoreError, match=message):
        from_json(text)


def test_edited_outcome_is_no_outcome() -> None:
    """A word that is no outcome is refused when read."""
    text = to_json(golden_verdict()).replace('"outcome": "PROMOTE"', '"outcome": "FINE"')

    with pytest.raises(StoreError, match="outcome"):
        from_json(text)


def test_a_word_of_another_version_is_named_without_all_that_are_known() -> None:
    """The line says where it stands and stays short."""
    record = json.loads(to_json(golden_verdict()))
    record["next_action"]["code"] = "ask_again_next_year"

    with pytest.raises(StoreError, match="'ask_again_next_year' is no value that") as refused:
        from_json(json.dumps(record))

    assert len(str(refused.value)) < 200


def test_exit_codes_cover_every_outcome() -> None:
    """PROMOTE 0, REJECT 3, HOLD 4, INVALID 5."""
    assert {outcome.value: code for outcome, code in EXIT_CODES.items()} == {
        "PROMOTE": 0,
        "REJECT": 3,
        "HOLD": 4,
        "INVALID": 5,
    }


def test_judging_imports_no_heavy_library() -> None:
    """Scores, comparison and verdict need neither torch nor pandas, statsmodels, arch, stats."""
    code = (
        "import sys, harness.judging.verdict, harness.scoring.metrics, harness.stats.longrun\n"
        "heavy = {'torch', 'transformers', 'pandas', 'statsmodels', 'arch', 'scipy', 'numba',\n"
        "         'matplotlib', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.strip() == "[]"
