"""Waivers, limits, parts and what a verdict rests on: what each does to the outcome."""

import dataclasses
import json

import numpy as np
import pytest
from scores_for_tests import law_of, walk_of, with_truth

from harness.costs import Cost
from harness.errors import ConfigError
from harness.experiments.policy import Policy
from harness.experiments.rules import CoverageRule, Criterion, EvidenceNeeded, Limits
from harness.experiments.waivers import Waiver
from harness.judging.declared import Cell, Circumstances, FutureTests
from harness.judging.fact import FactCode, fact
from harness.judging.findings import Outcome
from harness.judging.validity import CUT_OFF, PRETRAINING
from harness.judging.verdict import Verdict, from_json, to_json, verdict_on
from harness.reasons import ReasonCode, reason
from harness.scoring.scores import Truth, UnitScores
from reports.words import numbers
from reports.words.next_step import next_step
from reports.words.sentences import sentence_of
from reports.words.verdicts import reasons, summary

POLICY = Policy(
    baseline="old",
    candidate="new",
    min_origins=20,
    criteria=(Criterion(metric="crps", margin=0.02),),
)
BROKEN = Waiver(finding="GOLD:crps:guardrail", owner="ada", reason="see 12", until="2030-06-30")


def truth_of(windows: int = 60, price: float = 150.0) -> Truth:
    """A random walk of prices."""
    calm = np.where(np.arange(windows) % 3 == 0, 0.01, 0.02 + np.arange(windows) / 1e4)
    return walk_of(windows, seed=5, price=price, volatility=calm)


def grid_of(new: float = 0.0, old: float = 0.8, late: float = 0.0) -> list[UnitScores]:
    """A reference, legacy and a candidate on one dataset."""
    truth = truth_of()
    return [
        law_of(truth, "walk"),
        law_of(truth, "old", noise=old),
        law_of(truth, "new", noise=new, late=late),
    ]


def judged(scores: list[UnitScores], policy: Policy = POLICY, **given: object) -> Verdict:
    """Judge a full grid."""
    cells = [Cell(arm=u.arm, dataset=u.dataset, seed=u.seed) for u in scores]
    return verdict_on(policy, cells, scores, Circumstances(**given))  # type: ignore[arg-type]  # by name


def with_(**changes: object) -> Policy:
    """The policy with changes."""
    return dataclasses.replace(POLICY, **changes)  # type: ignore[arg-type]  # by name


def test_an_active_waiver_keeps_a_finding_from_binding_and_stays_visible() -> None:
    """What would be a REJECT is promoted, and owner, reason and end date stand in the reasons."""
    scores = [law_of(truth_of(), "walk", noise=1.1), *grid_of(1.0, 0.0)[1:]]
    two = (Criterion(metric="crps", margin=0.02), Criterion(metric="mae", margin=0.9))
    verdict = judged(scores, with_(criteria=two, waivers=(BROKEN,)), today="2030-06-30")

    assert judged(scores).outcome == Outcome.REJECT
    assert verdict.outcome == Outcome.PROMOTE
    assert "but for 1 waived finding" in summary(verdict)
    assert verdict.findings[0].outcome == Outcome.REJECT
    assert verdict.findings[0].waived
    assert any("Waived until 2030-06-30" in r and "ada: see 12" in r for r in reasons(verdict))
    assert verdict.judged_on == "2030-06-30"


@pytest.mark.parametrize("today", ["2030-07-01", None])
def test_a_waiver_that_ended_does_nothing_and_is_reported(today: str | None) -> None:
    """The day after its last day, or without a day, the verdict is as without it, and says so."""
    verdict = judged(grid_of(1.0, 0.0), with_(waivers=(BROKEN,)), today=today)

    assert verdict.outcome == Outcome.REJECT
    assert any("ended on 2030-06-30 and does nothing" in text for text in reasons(verdict))


def test_a_waiver_that_was_not_needed_is_said_to_be_so() -> None:
    """A waiver of a finding that holds changes nothing and is named."""
    verdict = judged(grid_of(), with_(waivers=(BROKEN,)), today="2030-01-01")

    assert verdict.outcome == Outcome.PROMOTE
    assert "its one guardrail is shown to hold" in summary(verdict)
    assert any("was not needed" in text for text in reasons(verdict))


def test_no_waiver_lifts_an_invalid() -> None:
    """Where no conclusion is allowed a waiver allows none."""
    scores = grid_of()[:2]
    cells = [Cell(arm=u.arm, dataset=u.dataset, seed=u.seed) for u in grid_of()]
    policy = with_(waivers=(dataclasses.replace(BROKEN, finding="*"),))

    assert (
        verdict_on(policy, cells, scores, Circumstances(today="2030-01-01")).outcome
        == Outcome.INVALID
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"owner": " "}, "owner is empty"),
        ({"reason": ""}, "reason is empty"),
        ({"until": "soon"}, "until = 'soon': expected a date"),
    ],
)
def test_waivers_without_owner_reason_or_end_are_refused(
    change: dict[str, str], words: str
) -> None:
    """All three are needed."""
    with pytest.raises(ConfigError, match=words):
        dataclasses.replace(BROKEN, **change)


def cost(ratio: float, *, spread: float = 0.02, valid: bool = True, noise: float = 0.01) -> Cost:
    """A measured ratio of latencies."""
    return Cost(
        criterion="latency",
        unit="s",
        baseline=1.0,
        candidate=ratio,
        ratio=ratio,
        low=ratio * np.exp(-2 * spread),
        high=ratio * np.exp(2 * spread),
        log_se=spread,
        df=20,
        noise_floor=noise,
        n=8,
        valid=valid,
        reasons=() if valid else (reason(ReasonCode.HOST_BUSY, when="while", taken=0.9),),
    )


@pytest.mark.parametrize(
    ("found", "outcome", "words"),
    [
        (None, Outcome.HOLD, "it was not measured; `abharness measure x` measures it"),
        (cost(1.1), Outcome.PROMOTE, "1.1 times legacy's (1.06 to 1.14, noise 1.0 %)"),
        (cost(1.3), Outcome.REJECT, "limit at most 1.2 times legacy's: broken"),
        (cost(1.19), Outcome.HOLD, "interval and noise reach across the limit"),
        (cost(1.1, noise=0.2), Outcome.HOLD, "interval and noise reach across the limit"),
        (
            cost(1.1, valid=False),
            Outcome.INVALID,
            "no conclusion allowed, the machine was busy while",
        ),
    ],
)
def test_cost_limits(found: Cost | None, outcome: Outcome, words: str) -> None:
    """Not measured is open and says what measures it; the interval and the noise floor decide."""
    policy = with_(limits=Limits(latency=1.2))

    verdict = judged(
        grid_of(), policy, costs={} if found is None else {"latency": found},
        experiment="x",
    )  # fmt: skip

    assert verdict.outcome == outcome
    assert verdict.findings[-1].id == "all:latency:limit"
    assert words in sentence_of(verdict.findings[-1])
    assert from_json(to_json(verdict)) == verdict


def test_an_unmeasured_limit_is_what_to_do_next() -> None:
    """When nothing else is open, the next step is to measure."""
    verdict = judged(grid_of(), with_(limits=Limits(latency=1.2)))

    assert verdict.next_action.code is FactCode.MEASURE
    assert "open are all latency" in summary(verdict)


@pytest.mark.parametrize(
    ("ratio", "outcome"), [(0.7, Outcome.PROMOTE), (0.3, Outcome.REJECT), (0.5, Outcome.HOLD)]
)
def test_throughput_is_limited_from_below(ratio: float, outcome: Outcome) -> None:
    """Of a rate, at least so much of legacy's is asked."""
    found = dataclasses.replace(cost(ratio), criterion="throughput", unit="windows/s")

    verdict = judged(grid_of(), with_(limits=Limits(throughput=0.5)), costs={"throughput": found})

    assert verdict.outcome == outcome


@pytest.mark.parametrize(
    ("new", "wanted", "outcome"),
    [
        (0.0, -0.05, Outcome.PROMOTE),
        (1.5, 0.0, Outcome.REJECT),
        (0.0, 0.05, Outcome.REJECT),
        (0.0, 0.0, Outcome.HOLD),
    ],
)
def test_least_skill_over_the_random_walk(new: float, wanted: float, outcome: Outcome) -> None:
    """The candidate must be shown to have it: as good as the walk has no 5 %, and shows no 0."""
    scores = grid_of(new, old=3.0)
    if new == wanted == 0.0:
        scores[2] = law_of(truth_of(), "new", noise=0.1)

    verdict = judged(scores, with_(limits=Limits(min_skill=wanted)))

    found = next(f for f in verdict.findings if f.metric == "skill")
    assert found.outcome == outcome
    assert sentence_of(found).startswith("GOLD skill by CRPS: the loss of new is")


def test_bounds_of_a_loss_end_at_all_of_it() -> None:
    """An interval that reaches below -100 % is written to -100 %, in sentences and in tables."""
    found = judged(grid_of()).findings[0]
    assert found.comparison is not None
    wide = [dataclasses.replace(each, lower=-3.5) for each in found.comparison.estimates]
    comparison = dataclasses.replace(found.comparison, estimates=tuple(wide))
    found = dataclasses.replace(found, comparison=comparison)

    assert "(bounds -100.0 to " in sentence_of(found)
    assert numbers.found_range(found, *found.bounds).startswith("\u2212100.0 to ")


def test_least_skill_without_a_reference_is_invalid() -> None:
    """There must be something to have skill over."""
    verdict = judged(grid_of()[1:], with_(limits=Limits(min_skill=0.0)))

    assert verdict.outcome == Outcome.INVALID
    assert "there is no reference arm" in summary(verdict)


def test_rules_on_steps_and_slices_are_findings_of_their_own() -> None:
    """A candidate that loses late is fine early: each part is a finding with its own numbers."""
    rules = (
        Criterion(metric="crps", margin=0.02, steps=(1, 2)),
        Criterion(metric="crps", margin=0.02, steps=(3, 4)),
        Criterion(metric="mae", margin=0.02, slices=("volatility:high", "steps:1-2")),
    )

    verdict = judged(grid_of(0.0, 0.8, late=2.0), with_(criteria=rules, min_origins=10))

    found = {f.id: f for f in verdict.findings}
    assert found["GOLD:crps:guardrail@steps:1-2"].outcome == Outcome.PROMOTE
    assert found["GOLD:crps:guardrail@steps:3-4"].outcome == Outcome.REJECT
    assert found["GOLD:mae:guardrail@steps:1-2"].outcome == Outcome.PROMOTE
    high = found["GOLD:mae:guardrail@volatility:high"].comparison
    assert high is not None
    assert high.sample.n == 20
    said = sentence_of(found["GOLD:crps:guardrail@steps:3-4"])
    assert "GOLD CRPS (steps:3-4): the loss of new is" in said
    assert verdict.multiplicity is not None
    assert verdict.multiplicity.guardrails == 4


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Criterion(metric="crps", slices=("volatility:huge",)), "no slice 'volatility:huge'"),
        (Criterion(metric="crps", steps=(9,)), "not all of steps [9]"),
        (CoverageRule(level=80, tolerance=0.1, slices=("year:1999",)), "no slice 'year:1999'"),
    ],
)
def test_parts_that_are_not_there_are_invalid(rule: Criterion | CoverageRule, words: str) -> None:
    """A rule on nothing is never a rule that holds."""
    extra = {"criteria" if isinstance(rule, Criterion) else "coverage": (rule,)}

    verdict = judged(grid_of(), with_(**extra))

    assert verdict.outcome == Outcome.INVALID
    assert words in " ".join(reasons(verdict))


def test_a_slice_of_too_few_windows_is_invalid() -> None:
    """Seven windows in a slice are no evidence at all."""
    scores = grid_of()
    rare = np.where(np.arange(60) < 7, np.datetime64("2009-12-01"), scores[0].origin_date)
    scores = [with_truth(unit, origin_date=rare) for unit in scores]
    rule = Criterion(metric="crps", slices=("year:2009",))

    verdict = judged(scores, with_(criteria=(rule,)))

    assert verdict.outcome == Outcome.INVALID
    assert "the slice year:2009 selects 7 windows, too few to judge" in summary(verdict)


def test_a_margin_on_a_loss_of_nothing_is_invalid() -> None:
    """A share of a baseline's loss that is as good as 0 means nothing, and is said to."""
    scores = grid_of()
    tiny = 1e-9 * scores[1].values["absolute_error"]
    scores[1] = dataclasses.replace(scores[1], values={**scores[1].values, "absolute_error": tiny})

    verdict = judged(scores, with_(criteria=(Criterion(metric="mae", margin=0.02),)))

    assert verdict.outcome == Outcome.INVALID
    assert "old's loss is as good as 0" in summary(verdict)


def test_a_margin_on_a_loss_of_one_window_is_undecided() -> None:
    """A loss that varies too much for a ratio to have bounds holds the verdict open."""
    scores = grid_of()
    lone = np.zeros_like(scores[1].values["absolute_error"])
    lone[30] = 5.0
    values = {**scores[1].values, "absolute_error": lone}
    scores[1] = dataclasses.replace(scores[1], values=values)

    verdict = judged(scores, with_(criteria=(Criterion(metric="mae", margin=0.02),)))

    assert verdict.outcome == Outcome.HOLD
    assert any("the uncertainty has no bounds" in sentence for sentence in reasons(verdict))


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (EvidenceNeeded(datasets=("GOLD", "OIL")), "declares evidence on OIL"),
        (EvidenceNeeded(seeds=3), "declares 3 seeds, and the pair was run with 1"),
        (EvidenceNeeded(origins=61), "declares 61 origins, and GOLD has 60"),
    ],
)
def test_less_evidence_than_declared_is_invalid(evidence: EvidenceNeeded, words: str) -> None:
    """A narrowed experiment is not judged as if it were the whole."""
    verdict = judged(grid_of(), with_(evidence=evidence))

    assert verdict.outcome == Outcome.INVALID
    assert words in summary(verdict)


@pytest.mark.parametrize(("action", "outcome"), [("caution", "HOLD"), ("invalid", "INVALID")])
def test_implausible_gains_are_doubted(action: str, outcome: str) -> None:
    """A candidate far better than the random walk is held back, or refused if the policy says."""
    scores = grid_of()
    scores[0] = law_of(truth_of(), "walk", noise=2.0)
    evidence = EvidenceNeeded(implausible_skill=0.2, implausible=action)  # type: ignore[arg-type]  # closed set

    verdict = judged(scores, with_(evidence=evidence))

    assert verdict.outcome == outcome
    assert "is implausible; look for a leak" in " ".join((summary(verdict), *reasons(verdict)))


def test_an_arm_that_reads_past_its_origin_is_invalid() -> None:
    """A failed check of blindness forbids any conclusion; one not made is said to be so."""
    untested = judged(grid_of()).validity.blindness
    ahead = fact(FactCode.FAILED_T10, arm="new")
    tests = {"old": FutureTests(passed=("T10",)), "new": FutureTests(failed=(ahead,))}
    seen = judged(grid_of(), futures=tests)

    assert [each.state for each in untested] == ["not tested", "not tested"]
    assert [each.state for each in seen.validity.blindness] == ["passed", "failed"]
    assert seen.outcome == Outcome.INVALID
    assert "new knows what it cannot know: later sessions it has seen" in summary(seen)


def test_an_arm_that_does_not_repeat_itself_is_invalid_and_not_accused() -> None:
    """What answers otherwise when asked the same twice is refused for that."""
    values = {"arm": "new", "dataset": "GOLD", "seed": 1, "at": "2012-04-30", "apart": 0.01}
    itself = fact(FactCode.NOT_REPEATABLE, way="in order", **values)
    seen = judged(grid_of(), futures={"new": FutureTests(failed=(itself,))})

    assert seen.outcome == Outcome.INVALID
    assert "asked the same twice, it answered otherwise" in summary(seen)
    assert "knows what it cannot know" not in summary(seen)


@pytest.mark.parametrize(
    ("card", "share"),
    [
        ({PRETRAINING: "no market data"}, 0.0),
        ({CUT_OFF: "2010-05-06"}, 0.3),
        ({CUT_OFF: "unknown"}, None),
        ({}, None),
    ],
)
def test_contamination_is_told(card: dict[str, str], share: float | None) -> None:
    """The share of origins before the pretraining cut-off is in the record, and cautioned."""
    verdict = judged(grid_of(), cards={"new": card})

    found = verdict.validity.contamination[0].share
    assert found == (None if share is None else pytest.approx(share, abs=0.05))
    assert any("pretraining cut-off" in text for text in reasons(verdict)) == bool(share)


def test_error_rates_are_recorded() -> None:
    """Guardrails keep alpha and share power; the record says what each finding could detect."""
    rules = (*POLICY.criteria, Criterion(metric="mae", margin=0.02))

    verdict = judged(grid_of(), with_(criteria=rules))

    content = json.loads(to_json(verdict))
    assert content["multiplicity"]["alpha_guardrail"] == 0.05
    assert content["multiplicity"]["power_each"] == pytest.approx(0.9)
    assert [row["finding"] for row in content["power"]] == [
        "GOLD:crps:guardrail", "GOLD:mae:guardrail"
    ]  # fmt: skip
    assert all(row["detectable"] > 0 for row in content["power"])


def test_too_few_origins_for_a_prediction_are_said_to_be() -> None:
    """With nine origins no finding names what is detectable, and the advice claims no count."""
    truth = truth_of(windows=9)
    scores = [
        law_of(truth, "walk"),
        law_of(truth, "old", noise=0.4),
        law_of(truth, "new", noise=0.4, seed=2),
    ]

    verdict = judged(scores, with_(min_origins=5))

    row = verdict.power[0]
    assert verdict.outcome is Outcome.HOLD
    assert (row.detectable, row.chance, row.more_origins) == (None, None, None)
    assert row.silent == fact(FactCode.NO_PREDICTION, origins=9, least=10)
    assert "9 non-overlapping origins are too few to say" in next_step(verdict.next_action)


@pytest.mark.parametrize(
    ("old", "role", "margin", "outcome", "ending"),
    [
        (0.8, "guardrail", 0.05, Outcome.PROMOTE, "margin 5 points: shown to stay within it."),
        (0.8, "success", 0.05, Outcome.PROMOTE, "asked are more than 55 %: gain shown."),
        (0.0, "guardrail", 0.05, Outcome.REJECT, "margin 5 points: shown worse than allowed."),
    ],
)
def test_wins_are_judged_against_one_half(
    old: float, role: str, margin: float, outcome: Outcome, ending: str
) -> None:
    """The share of origins won is held against half less the margin, or half and the gain."""
    rule = Criterion(metric="crps", statistic="wins", role=role, margin=margin)  # type: ignore[arg-type]  # of the closed set
    rules = (rule,) if role == "guardrail" else (Criterion(metric="crps", margin=0.02), rule)

    verdict = judged(grid_of(0.8 - old, old), with_(criteria=rules))

    finding = next(f for f in verdict.findings if f.metric == "crps_wins")
    assert (finding.outcome, verdict.outcome) == (outcome, outcome)
    assert (finding.id, finding.unit) == (f"GOLD:crps_wins:{role}", "points")
    assert finding.value == finding.comparison.effect.value
    won = 100 * (0.5 - finding.value)
    assert f"new has the lower loss on {won:.1f} % of the origins (bounds " in sentence_of(finding)
    assert sentence_of(finding).endswith(ending)
    assert from_json(to_json(verdict)).findings == verdict.findings


def test_wins_leave_the_rest_of_a_verdict_as_it_is() -> None:
    """Beside a rule on means, one on wins moves none of its numbers."""
    rules = (Criterion(metric="crps", margin=0.02),)
    both = (*rules, Criterion(metric="crps", statistic="wins", margin=0.05))

    one, two = (judged(grid_of(), with_(criteria=each)) for each in (rules, both))

    mean = two.findings[0]
    assert mean.comparison is not None
    assert one.findings[0].comparison is not None
    assert mean.comparison.estimates == one.findings[0].comparison.estimates
    assert sentence_of(mean) == sentence_of(one.findings[0])
