"""Tricks and accidents with the pair, the data and the rules: one row each, with its outcome."""

import dataclasses

import numpy as np
import pytest
from scipy.special import ndtri
from scores_for_tests import law_of, walk_of

from harness.arm import Role
from harness.errors import ConfigError
from harness.evidence.comparison import answer
from harness.evidence.estimand import RelativeCoverage
from harness.evidence.estimates import Question
from harness.evidence.pairing import pair
from harness.experiments.policy import Policy
from harness.experiments.rules import CoverageRule, Criterion, EvidenceNeeded
from harness.experiments.waivers import Waiver
from harness.forecast import LEVELS, Forecast
from harness.judging.declared import Cell, Circumstances
from harness.judging.fact import FactCode
from harness.judging.findings import Outcome
from harness.judging.verdict import Verdict, verdict_on
from harness.scoring.scores import Truth, UnitScores, score
from reports.forms.junit import render_junit
from reports.words.verdicts import reasons

GUARDS = (Criterion(metric="crps", margin=0.02),)
ON_GOLD = (Criterion(metric="crps", margin=0.02, datasets=("GOLD",)),)
EARLY = (Criterion(metric="crps", margin=0.02, steps=(1, 2)),)
BY_RMSE = (Criterion(metric="rmse", margin=0.02),)
COVERED = (CoverageRule(level=80, tolerance=0.08),)
TODAY = "2026-01-01"


def waiver_of(finding: str, until: str = "2026-06-30") -> Waiver:
    """A waiver that holds today."""
    return Waiver(finding=finding, owner="ada", reason="see 12", until=until)


def units_of(
    name: str, *, walk: float, old: float, new: float, **options: float
) -> list[UnitScores]:
    """A reference, legacy and a candidate on a dataset, each blurred as told."""
    truth = walk_of(150, 4, seed=len(name), dataset=name)
    late = options.pop("late", 0.0)
    return [
        law_of(truth, "walk", noise=walk),
        law_of(truth, "old", noise=old, width=options.pop("old_width", 1.0)),
        law_of(truth, "new", noise=new, late=late, **options),
    ]


def judged(units: list[UnitScores], policy: Policy) -> Verdict:
    """The verdict on a full grid."""
    cells = [Cell(arm=u.arm, dataset=u.dataset, seed=u.seed, role=u.role) for u in units]
    return verdict_on(policy, cells, units, Circumstances(today=TODAY if policy.waivers else None))


FINE = {"walk": 0.4, "old": 0.8, "new": 0.0}
STRAW = {"walk": 0.0, "old": 1.5, "new": 0.0}
BEHIND = {"walk": 0.0, "old": 1.5, "new": 1.0}
WORSE = {"walk": 0.9, "old": 0.0, "new": 0.8}
ROWS = {
    "a straw man is a caution": (STRAW, {}, {}, "PROMOTE", FactCode.STRAW_MAN),
    "a straw man holds by policy": (
        STRAW, {}, {"broken_baseline": "hold"}, "HOLD", FactCode.STRAW_MAN,
    ),
    "a straw man is refused by policy": (
        STRAW, {}, {"broken_baseline": "invalid"}, "INVALID", FactCode.STRAW_MAN,
    ),
    "better than legacy and worse than the walk": (
        BEHIND, {}, {}, "HOLD", FactCode.BEHIND_REFERENCE,
    ),
    "worse on a dataset that no rule names": (
        FINE, WORSE, {"criteria": ON_GOLD}, "HOLD", FactCode.UNJUDGED_WORSE,
    ),
    "the same, allowed": (
        FINE, WORSE, {"criteria": ON_GOLD, "unjudged": "allow"}, "PROMOTE", FactCode.UNJUDGED_WORSE,
    ),
    "worse on a dataset where only coverage is judged": (
        FINE, WORSE, {"criteria": ON_GOLD, "coverage": (CoverageRule(level=80, tolerance=0.2),)},
        "HOLD", FactCode.UNJUDGED_WORSE,
    ),
    "worse on the steps that no rule names": (
        {"walk": 2.0, "old": 0.5, "new": 0.0, "late": 1.5}, {}, {"criteria": EARLY},
        "HOLD", FactCode.UNJUDGED_WORSE,
    ),
    "a dataset without rules where nothing is worse": (
        FINE, FINE, {"criteria": ON_GOLD}, "PROMOTE", FactCode.UNJUDGED,
    ),
    "intervals that no rule names and that do not cover": (
        FINE | {"width": 0.5}, {}, {"criteria": BY_RMSE}, "PROMOTE", FactCode.COVERS_OTHERWISE,
    ),
    "a margin of one half": (
        {"walk": 0.5, "old": 0.0, "new": 0.5}, {},
        {"criteria": (Criterion(metric="crps", margin=0.5),)}, "PROMOTE", FactCode.WIDE_MARGINS,
    ),
    "an error rate of one fifth": (FINE, {}, {"alpha": 0.2}, "PROMOTE", FactCode.LAX_ALPHA),
    "all that is lost is waived": (
        {"walk": 2.0, "old": 0.0, "new": 1.9}, {}, {"waivers": (waiver_of("*"),)},
        "HOLD", FactCode.ALL_WAIVED,
    ),
    "all but coverage is waived": (
        {"walk": 2.0, "old": 0.0, "new": 1.9}, {},
        {"waivers": (waiver_of("*:crps:*"),), "coverage": (CoverageRule(level=80, tolerance=0.9),)},
        "HOLD", FactCode.ALL_WAIVED,
    ),
    "a waiver of everything": (
        FINE, {}, {"waivers": (waiver_of("*"),)}, "PROMOTE", FactCode.BROAD_WAIVER,
    ),
    "a waiver for two years": (
        FINE, {}, {"waivers": (waiver_of("GOLD:crps:guardrail", "2028-01-01"),)},
        "PROMOTE", FactCode.LONG_WAIVER,
    ),
    "a gain nobody believes": (
        {"walk": 3.0, "old": 3.0, "new": 0.0}, {}, {}, "HOLD", FactCode.IMPLAUSIBLE,
    ),
}  # fmt: skip
"""Blur of the arms on GOLD and on DOW_JONES ({} is no second dataset), changes of the policy, the
outcome, and what must be said."""


@pytest.mark.parametrize("name", ROWS)
def test_no_trick_promotes_unseen(name: str) -> None:
    """Each ends as its row says, and its reasons name what was tried."""
    gold, dow, changes, outcome, code = ROWS[name]
    units = units_of("GOLD", **gold) + (units_of("DOW_JONES", **dow) if dow else [])
    policy = Policy(**{"baseline": "old", "candidate": "new", "criteria": GUARDS} | changes)

    verdict = judged(units, policy)

    because = [each.because.code if each.because else each.code for each in verdict.reasons]
    assert verdict.outcome == outcome
    assert code in because


def test_a_straw_man_is_said_first_everywhere() -> None:
    """Before any rule, with intervals, by RMSE and MAE too; a green JUnit file holds it as well."""
    verdict = judged(
        units_of("GOLD", **STRAW), Policy(baseline="old", candidate="new", criteria=GUARDS)
    )

    first = reasons(verdict)[0]
    assert verdict.outcome == "PROMOTE"
    assert first.startswith("Caution: old is shown worse than walk: CRPS +")
    assert all(f", {metric} +" in first for metric in ("RMSE", "MAE"))
    assert " to +" in first
    assert "walk would do as well" in first
    assert 'name="caution" value="old is shown worse than walk' in render_junit(verdict)


def ahead_of(truth: Truth, sessions: float, *, noise: float = 0.0) -> UnitScores:
    """The true law of a random walk for one that saw so many sessions past its origin."""
    steps = np.arange(1, truth.values.shape[1] + 1)
    path = np.column_stack([truth.last, truth.values])
    seen = path[:, np.minimum(steps, int(np.ceil(sessions)))]
    seen = seen + noise * np.random.default_rng(5).normal(size=(len(seen), 1))
    error = np.sqrt(np.maximum(steps - sessions, 1e-6))
    quantiles = seen[..., None] + error[:, None] * ndtri(LEVELS)
    return score(
        truth, Forecast.of_quantiles(quantiles, LEVELS), arm="new", role="candidate", seed=1
    )


@pytest.mark.parametrize(
    ("sessions", "noise", "outcome"),
    [(0, 0.0, "PROMOTE"), (1, 0.0, "HOLD"), (1, 0.2, "HOLD"), (0.8, 0.2, "HOLD"), (2, 0.0, "HOLD")],
)
def test_a_session_too_many_is_not_averaged_away(
    sessions: float, noise: float, outcome: str
) -> None:
    """A horizon off by one, a day written early: ten steps hide it, the first one shows it."""
    truth = walk_of(150, 10, seed=4)
    units = [law_of(truth, "walk"), law_of(truth, "old", noise=0.6), ahead_of(truth, sessions)]
    if noise:
        units[2] = ahead_of(truth, sessions, noise=noise)

    verdict = judged(units, Policy(baseline="old", candidate="new", criteria=GUARDS))

    assert verdict.outcome == outcome
    said = [text for text in reasons(verdict) if "look for a leak" in text]
    assert bool(said) == (outcome == "HOLD")
    assert all("at the first step" in text for text in said) or sessions > 1


@pytest.mark.parametrize(("arm", "role"), [("old", "legacy"), ("new", "candidate")])
def test_quantiles_out_of_order_are_said(arm: str, role: Role) -> None:
    """Labels or axes exchanged: what sorting repairs is named, on whichever side."""
    units = units_of("GOLD", **FINE)
    truth = units[0].truth
    error = np.sqrt(np.arange(1, 5))[:, None]
    turned = truth.last[:, None, None] + error * ndtri(LEVELS)[::-1]
    broken = score(truth, Forecast.of_quantiles(turned, LEVELS), arm=arm, role=role, seed=1)
    policy = Policy(baseline="old", candidate="new", criteria=GUARDS)

    found = [
        [text for text in reasons(judged(some, policy)) if "came out of order in 100.0 %" in text]
        for some in (units, [broken if unit.arm == arm else unit for unit in units])
    ]

    assert [len(texts) for texts in found] == [0, 1]
    assert f"the quantiles of {arm} came out of order" in found[1][0]


def test_a_candidate_within_the_margin_of_the_reference_is_not_held_back() -> None:
    """Half a per cent behind the random walk is within two: what holds is shown to lie beyond."""
    units = units_of("GOLD", walk=0.0, old=1.5, new=0.1)

    verdict = judged(units, Policy(baseline="old", candidate="new", criteria=GUARDS))

    assert verdict.outcome == "PROMOTE"
    assert verdict.safeguards.holds == ()


@pytest.mark.parametrize(("action", "outcome"), [("caution", "PROMOTE"), ("invalid", "INVALID")])
def test_what_was_not_tested_is_said(action: str, outcome: str) -> None:
    """A side that was not shown to be blind to the future is a caution, or INVALID by policy."""
    policy = Policy(
        baseline="old",
        candidate="new",
        criteria=GUARDS,
        evidence=EvidenceNeeded(untested=action),  # type: ignore[arg-type]  # closed set
    )

    verdict = judged(units_of("GOLD", **FINE), policy)

    assert verdict.outcome == outcome
    assert any("new was not shown to be blind to the future" in each for each in reasons(verdict))


def test_coverage_alone_is_no_policy() -> None:
    """It promotes whatever is as wide as it must be; the refusal says what is missing."""
    with pytest.raises(ConfigError, match="coverage alone says nothing about widths or errors"):
        Policy(baseline="old", candidate="new", coverage=COVERED)


@pytest.mark.parametrize(
    ("old", "new", "relative", "outcome"),
    [
        (0.6, 0.6, False, Outcome.REJECT),
        (0.6, 0.6, True, Outcome.PROMOTE),
        (0.6, 1.0, True, Outcome.PROMOTE),
        (1.6, 0.8, True, Outcome.PROMOTE),
        (1.0, 0.6, True, Outcome.REJECT),
        (1.0, 3.0, True, Outcome.REJECT),
        (50.0, 0.0, True, Outcome.HOLD),  # nothing varies
    ],
)
def test_coverage_relative_to_legacy(old: float, new: float, relative: bool, outcome: str) -> None:
    """As far from nominal as legacy is is enough, on whichever side; further is too far."""
    rule = CoverageRule(level=80, tolerance=0.08, relative=relative)
    policy = Policy(
        baseline="old",
        candidate="new",
        criteria=(Criterion(metric="mae", margin=0.02),),
        coverage=(rule,),
    )

    verdict = judged(units_of("GOLD", walk=0.0, old=0.0, new=0.0, old_width=old, width=new), policy)

    assert verdict.findings[1].id == f"GOLD:{rule.id}"
    assert verdict.findings[1].outcome is outcome


@pytest.mark.slow
@pytest.mark.parametrize("old", [0.8, 0.7, 0.9])
def test_relative_coverage_keeps_its_error_rate(old: float) -> None:
    """At the tolerance itself at most 8 % of samples pass, legacy on nominal or on either side."""
    draw, passed, count = np.random.default_rng(3), 0, 300
    question = Question(
        estimand=RelativeCoverage(level=80), bound_high=0.05, alpha=0.05 / 3, power=0.8
    )
    far = 0.8 - abs(old - 0.8) - 0.05
    mould = pair(
        *[[unit] for unit in units_of("GOLD", walk=0.0, old=0.0, new=0.0)[1:]][::-1], "mae"
    )
    for _ in range(count):
        hits = [draw.binomial(20, share, size=150) / 20 for share in (far, old)]
        both = dataclasses.replace(mould, candidate=hits[0][None], legacy=hits[1][None])
        passed += answer(both, question).conclusion == "within"

    assert passed / count <= 0.08
