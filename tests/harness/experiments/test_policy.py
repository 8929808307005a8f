"""The policy: what is read, and every way of getting it wrong."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ConfigError
from harness.experiments.policy import Policy, parse_policy, read_policy
from harness.experiments.rules import (
    CoverageRule,
    Criterion,
    EvidenceNeeded,
    Limits,
    comparable_metrics,
)
from harness.experiments.waivers import Waiver

ARMS = ["old", "new", "walk"]
TEXT = """
baseline = "old"
candidate = "new"
mode = "improve"
alpha = 0.1
power = 0.9
min_origins = 40
reference = "walk"

[[criteria]]
metric = "crps"
margin = 0.02

[[criteria]]
metric = "crps"
role = "success"
margin = 0.05

[[coverage]]
level = 80
tolerance = 0.05

[limits]
failures = 2
"""


def found_with(**changes: Any) -> dict[str, Any]:
    """A small good policy table with changes; None removes a key."""
    found: dict[str, Any] = {
        "baseline": "old",
        "candidate": "new",
        "criteria": [{"metric": "crps", "margin": 0.02}],
    }
    found |= changes
    return {key: value for key, value in found.items() if value is not None}


def test_whole_policy_is_read() -> None:
    """Every key of a TOML table arrives in the noun."""
    policy = parse_policy(tomllib.loads(TEXT), arms=ARMS)

    assert policy == Policy(
        baseline="old",
        candidate="new",
        mode="improve",
        alpha=0.1,
        power=0.9,
        min_origins=40,
        reference="walk",
        criteria=(
            Criterion(metric="crps", margin=0.02),
            Criterion(metric="crps", role="success", margin=0.05),
        ),
        coverage=(CoverageRule(level=80, tolerance=0.05),),
        limits=Limits(failures=2),
    )
    assert [rule.id for rule in policy.rules] == [
        "crps:guardrail",
        "crps:success",
        "coverage_80:guardrail",
    ]


def test_small_policy_gets_the_defaults() -> None:
    """Left out: replace, 5 %, 80 %, 30 origins, no failures, the first reference arm."""
    policy = parse_policy(found_with(), arms=ARMS)

    assert (policy.mode, policy.alpha, policy.power) == ("replace", 0.05, 0.8)
    assert (policy.min_origins, policy.limits.failures, policy.reference) == (30, 0, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"alfa": 0.05},
            r"nightly.toml: \[policy\]: unknown key 'alfa' \(did you mean 'alpha'\?\); known",
        ),
        ({"baseline": None}, "missing key 'baseline'"),
        ({"candidate": "newer"}, r"candidate = 'newer': no such arm .* 'new'\?\); arms are old"),
        ({"baseline": "older"}, "baseline = 'older': no such arm"),
        ({"reference": "drift"}, "reference = 'drift': no such arm"),
        ({"candidate": "old"}, "baseline and candidate are both 'old'"),
        ({"mode": "swap"}, "mode = 'swap': expected 'replace' or 'improve'"),
        ({"mode": "improve"}, "'improve' needs a .* role = 'success'"),
        ({"alpha": 0}, "alpha = 0.*: expected more than 0 and less than 0.5"),
        ({"alpha": 0.5}, "alpha = 0.5"),
        ({"alpha": "5 %"}, "alpha = '5 %'"),
        ({"alpha": float("nan")}, "alpha = nan"),
        ({"power": 1}, "power = 1"),
        ({"power": 0.2}, "power = 0.2"),
        ({"min_origins": 1}, "min_origins = 1: expected 2 or more"),
        ({"min_origins": 30.5}, "min_origins = 30.5"),
        ({"min_origins": True}, "min_origins = True"),
        ({"criteria": []}, r"no \[\[policy.criteria\]\]"),
        ({"criteria": {"metric": "crps"}}, r"expected \[\[policy.criteria\]\] tables"),
        ({"criteria": ["crps"]}, r"expected \[\[policy.criteria\]\] tables"),
        ({"criteria": [{"margin": 0.02}]}, "missing key 'metric'"),
        ({"criteria": [{"metric": "crsp"}]}, "no such metric .did you mean 'crps'"),
        ({"criteria": [{"metric": "bias", "margin": 0.02}]}, "a margin needs one of the losses"),
        ({"criteria": [{"metric": "width_80"}]}, "a margin needs one of the losses"),
        ({"criteria": [{"metric": "coverage_80", "margin": 0.02}]}, "coverage has no margin"),
        ({"criteria": [{"metric": "crps", "margin": -0.02}]}, "margin = -0.02: expected at least"),
        ({"criteria": [{"metric": "crps", "margin": 1.0}]}, "margin = 1.0"),
        ({"criteria": [{"metric": "crps", "margin": "2 %"}]}, "margin = '2 %'"),
        ({"criteria": [{"metric": "crps", "role": "guard"}]}, "role = 'guard'"),
        ({"criteria": [{"metric": "crps", "slack": 0.1}]}, r"criteria\[0\]: unknown key 'slack'"),
        ({"criteria": [{"metric": "mape", "margin": 0.02}]}, "'mape' stands alone"),
        (
            {"criteria": [{"metric": "crps", "margin": 0.02}, {"metric": "crps", "margin": 0.05}]},
            "two rules on crps with the role 'guardrail'",
        ),
        (
            {"criteria": [{"metric": "crps", "role": "success", "margin": 0.02}]},
            "'replace' needs a .*criteria.* with role = 'guardrail'",
        ),
        ({"coverage": [{"level": 90, "tolerance": 0.05}]}, "level = 90: no such interval"),
        ({"coverage": [{"level": 80}]}, "missing key 'tolerance'"),
        ({"coverage": [{"level": 80, "tolerance": 0}]}, "tolerance = 0"),
        ({"coverage": [{"level": 80, "tolerance": 5}]}, "tolerance = 5"),
        ({"coverage": [{"level": 80, "tolerance": 0.05, "margin": 0.1}]}, "unknown key 'margin'"),
        (
            {"coverage": [{"level": 80, "tolerance": 0.05, "role": "success"}]},
            "can only be a guardrail",
        ),
        (
            {"coverage": [{"level": 80, "tolerance": 0.05}, {"level": 80, "tolerance": 0.1}]},
            "two rules on coverage_80",
        ),
        ({"limits": {"failures": -1}}, "failures = -1"),
        ({"limits": {"failure": 1}}, "limits: unknown key 'failure' .* known keys are .*failures"),
        ({"limits": [1]}, r"expected a table \[policy.limits\]"),
    ],
)
def test_faulty_policies_are_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    """Each fault is one line that names the file, the key and what was expected."""
    with pytest.raises(ConfigError, match=message) as caught:
        parse_policy(found_with(**changes), arms=ARMS, where="nightly.toml: [policy]")

    assert str(caught.value).startswith("nightly.toml: ")
    assert "\n" not in str(caught.value)


MORE = """
baseline = "old"
candidate = "new"
hold_as = "pass"

[[criteria]]
metric = "crps"
margin = 0.02
statistic = "mean"
datasets = ["GOLD"]
steps = [1, 2, 3, 8]
slices = ["volatility:high", "year:2010"]

[evidence]
datasets = ["GOLD"]
seeds = 3
origins = 60
implausible_skill = 0.1
implausible = "invalid"

[limits]
min_skill = 0.0
latency = 1.5
throughput = 0.5

[[waivers]]
finding = "GOLD:candidate_failures:*"
owner = "ada"
reason = "see 12"
until = 2030-06-30
"""


def test_scopes_evidence_limits_and_waivers_are_read() -> None:
    """Every further key of a TOML table arrives in the noun; a date may be a date."""
    policy = parse_policy(tomllib.loads(MORE), arms=ARMS)

    assert policy == Policy(
        baseline="old",
        candidate="new",
        hold_as="pass",
        criteria=(
            Criterion(
                metric="crps",
                margin=0.02,
                datasets=("GOLD",),
                steps=(1, 2, 3, 8),
                slices=("volatility:high", "year:2010"),
            ),
        ),
        evidence=EvidenceNeeded(
            datasets=("GOLD",), seeds=3, origins=60, implausible_skill=0.1, implausible="invalid"
        ),
        limits=Limits(min_skill=0.0, latency=1.5, throughput=0.5),
        waivers=(
            Waiver(
                finding="GOLD:candidate_failures:*",
                owner="ada",
                reason="see 12",
                until="2030-06-30",
            ),
        ),
    )
    assert policy.finding_ids(["GOLD", "OIL"]) == [
        "GOLD:crps:guardrail@volatility:high steps:1-3,8",
        "GOLD:crps:guardrail@year:2010 steps:1-3,8",
        "GOLD:candidate_failures:limit",
        "GOLD:legacy_failures:limit",
        "GOLD:skill:limit",
        "OIL:candidate_failures:limit",
        "OIL:legacy_failures:limit",
        "OIL:skill:limit",
        "all:latency:limit",
        "all:throughput:limit",
    ]
    policy.refuse_unfit(["GOLD", "OIL"], 8, where="x")


def test_mean_and_wins_of_one_metric_are_two_rules() -> None:
    """A policy may judge a metric both ways; each has a finding with a name of its own."""
    rules = [CRPS, CRPS | {"statistic": "wins"}]

    policy = parse_policy(
        {"baseline": "old", "candidate": "new", "criteria": rules}, arms=["old", "new"]
    )

    assert policy.finding_ids(["GOLD"])[:2] == [
        "GOLD:crps:guardrail",
        "GOLD:crps_wins:guardrail",
    ]


CRPS = {"metric": "crps", "margin": 0.02}
WAIVER = {"finding": "GOLD:*", "owner": "ada", "reason": "why", "until": "2030-01-01"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hold_as": "skip"}, "hold_as = 'skip': expected 'fail' or 'pass'"),
        ({"criteria": [CRPS | {"statistic": "median"}]}, "statistic = 'median': expected 'mean'"),
        (
            {"criteria": [CRPS | {"statistic": "wins", "margin": 0.5}]},
            r"margin = 0.5: expected at least 0 and less than 0.5",
        ),
        (
            {"criteria": [{"metric": "coverage_80", "statistic": "wins"}]},
            r"coverage has no margin; it has a tolerance .* \[\[policy.coverage\]\]",
        ),
        ({"criteria": [{"metric": "bias", "statistic": "wins"}]}, "is only reported; a margin"),
        ({"criteria": [CRPS | {"steps": [0]}]}, "expected 1 or more"),
        ({"criteria": [CRPS | {"steps": [1, 1]}]}, "an entry is there twice"),
        ({"criteria": [CRPS | {"slices": ["high"]}]}, "expected a name such as volatility:high"),
        ({"criteria": [CRPS, CRPS | {"datasets": ["GOLD"]}]}, "two rules on crps"),
        ({"limits": {"min_skill": 2}}, "min_skill = 2"),
        ({"limits": {"latency": 0}}, "latency = 0.*: expected more than 0"),
        ({"limits": {"speed": 1}}, "limits: unknown key 'speed'"),
        ({"evidence": {"seeds": 0}}, "seeds = 0: expected 1 or more"),
        ({"evidence": {"runs": 3}}, "evidence: unknown key 'runs'"),
        ({"evidence": {"implausible": "ignore"}}, "implausible = 'ignore'"),
        ({"waivers": [WAIVER | {"until": "never"}]}, "until = 'never': expected a date"),
        ({"waivers": [{"finding": "GOLD:*"}]}, r"waivers\[0\]: missing key 'owner'"),
        ({"waivers": [WAIVER | {"by": "x"}]}, r"waivers\[0\]: unknown key 'by'"),
    ],
)
def test_faulty_scopes_limits_and_waivers_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    """Each is one line that names the file, the key and what was expected."""
    with pytest.raises(ConfigError, match=message) as caught:
        parse_policy(found_with(**changes), arms=ARMS, where="nightly.toml: [policy]")

    assert str(caught.value).startswith("nightly.toml: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"criteria": [CRPS | {"datasets": ["OIL"]}]}, "criteria: datasets: no 'OIL' here"),
        ({"criteria": [CRPS | {"steps": [9]}]}, r"steps = \[9\]: the last one judged is 8"),
        ({"evidence": {"datasets": ["OIL"]}}, "evidence: datasets: no 'OIL' here"),
        ({"waivers": [WAIVER | {"finding": "OIL:*"}]}, "finding = 'OIL:\\*' matches nothing"),
    ],
)
def test_what_an_experiment_does_not_have_is_refused(changes: dict[str, Any], message: str) -> None:
    """Scopes, evidence and waivers that match nothing are errors before anything is run."""
    policy = parse_policy(found_with(**changes), arms=ARMS)

    with pytest.raises(ConfigError, match=message):
        policy.refuse_unfit(["GOLD"], 8, where="nightly.toml: [policy]")


@pytest.mark.parametrize("head", ["", "[policy]\n"])
def test_policy_in_a_file_of_its_own(tmp_path: Path, head: str) -> None:
    """Its tables stand at the top level, or under `[policy]`; errors name the file."""
    file = tmp_path / "policy.toml"
    body = 'baseline = "old"\ncandidate = "new"\ncriteria = [{metric = "crps", margin = 0.02}]\n'
    file.write_text(head + body, encoding="utf-8")

    assert read_policy(file, arms=ARMS) == parse_policy(found_with(), arms=ARMS)
    file.write_text(head + body + "marign = 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"policy\.toml: .*unknown key 'marign'"):
        read_policy(file, arms=ARMS)


@pytest.mark.parametrize("metric", comparable_metrics())
def test_every_comparable_metric_can_be_a_criterion(metric: str) -> None:
    """Each loss the harness compares may be named, MAPE beside another."""
    rows = [{"metric": name} for name in dict.fromkeys((metric, "crps"))]

    policy = parse_policy(found_with(criteria=rows), arms=ARMS)

    assert policy.criteria[0].metric == metric


@pytest.mark.parametrize(
    ("changes", "reference"),
    [
        ({}, "walk"),
        ({"reference": "drift"}, "drift"),
        ({"baseline": "walk"}, "drift"),
        ({"baseline": "walk", "candidate": "drift"}, None),
    ],
)
def test_a_judged_arm_is_never_its_own_reference(
    changes: dict[str, str], reference: str | None
) -> None:
    """The reference is the one named, or the first reference arm that is not judged itself."""
    roles = {"old": "legacy", "new": "candidate", "walk": "reference", "drift": "reference"}
    sides = {"baseline": "old", "candidate": "new", **changes}
    policy = Policy(**sides, criteria=(Criterion(metric="crps"),))  # type: ignore[arg-type]  # by name

    assert policy.reference_among(roles) == reference
