"""Claims set beside planted evidence: every rule can confirm, refute, and stay open."""

import dataclasses
import json
import subprocess
import sys

import pytest

from harness.checks import CheckRecord, CheckResult
from harness.checks.subject import NETWORKS, NetworkRef
from harness.claims import (
    CLAIMS,
    Claim,
    ClaimEvidence,
    collect_claims,
)
from harness.claims.claim import ArmOnTrial, StoredRun
from harness.claims.gather import _sizes
from harness.costs import Cost, Costs
from harness.measure.code_lines import CodeSize
from reports.forms.claim_rows import counted, terminal_lines, to_json, to_markdown

FAMILY = (
    "Autoformer",
    "EnhancedAutoformer",
    "BayesianEnhancedAutoformer",
    "HierarchicalEnhancedAutoformer",
    "QuantileBayesianAutoformer",
)
NETWORK = NetworkRef(target="HFBayesianAutoformer", use="somewhere:it")
ARMS = {
    "baseline": ArmOnTrial(name="old", use="somewhere:it"),
    "candidate": ArmOnTrial(name="new", use="somewhere:it", network=NETWORK),
}
EMPTY = ClaimEvidence(
    experiment="tiny",
    store="runs",
    baseline="old",
    candidate="new",
    arms=ARMS,
    datasets=("A",),
)


def record(target, outcomes, *, kind="network", role="legacy", options=None, current=True):
    """A stored check with outcomes by code."""
    results = tuple(
        CheckResult(
            code=code,
            title=f"statement {code}",
            outcome=outcome,
            measured={} if outcome in ("error", "not applicable") else {"value": 1.0},
            limit="at most",
            threshold=0.0,
            unit="",
            draws=(outcome,),
            reason="because",
            seconds=0.1,
        )
        for code, outcome in outcomes.items()
    )
    return CheckRecord(
        target=target,
        kind=kind,
        role=role,
        use=NETWORKS[target] if target in FAMILY else "somewhere:it",
        options=options or {},
        key=f"{target}{kind}" * 3,
        source="code",
        weights="",
        current=current,
        results=results,
    )


def new_network(**outcomes):
    return record("HFBayesianAutoformer", outcomes, role="candidate")


def unit(arm, *, seconds=1.0, peak=2**30, failed=0, diverged=False, machine="one", seed=1, **more):
    """A stored unit of ten windows."""
    run = StoredRun(
        arm=arm,
        dataset="A",
        seed=seed,
        key=f"{arm}{seed}" * 9,
        windows=10,
        failed=failed,
        first_reason="broke" if failed else "",
        diverged=int(diverged),
        form="quantiles",
        levels=(0.1, 0.5, 0.9),
        residual_distribution=False,
        forecast_s=seconds,
        peak_bytes=peak,
        machine={"processor": machine},
    )
    return dataclasses.replace(run, **more)


def row_of(name, evidence):
    """The row of one claim."""
    (claim,) = [each for each in CLAIMS if each.id == name]
    return collect_claims(evidence, [claim])[0]


def status_of(name, **fields):
    return row_of(name, dataclasses.replace(EMPTY, **fields)).status


def test_every_claim_of_the_summary_has_a_row():
    """All thirty are there once, under stable names, each with what was offered for it."""
    summary = [claim for claim in CLAIMS if claim.group == "summary"]

    assert [claim.number for claim in summary] == [str(number) for number in range(1, 31)]
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)
    assert {claim.number for claim in CLAIMS if claim.group == "pipeline"} == {
        "X-01",
        "X-08",
        "9.4",
    }
    assert all(claim.offered for claim in CLAIMS)


def test_without_records_nothing_is_decided():
    """No data confirms or refutes nothing; what a run can decide names the command."""
    rows = collect_claims(EMPTY)

    assert {row.status for row in rows} == {"undecided", "not testable"}
    for row in rows:
        unsure = row.status == "undecided"
        assert bool(row.open) == unsure
        assert row.measured == ()
    runnable = [row for row in rows if row.commands]
    assert len(runnable) > 25
    assert all(
        line.startswith("abharness ") and line.endswith("--store runs")
        for row in runnable
        for line in row.commands
    )


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        ("pass", "confirmed"),
        ("fail", "refuted"),
        ("error", "refuted"),
        ("not applicable", "undecided"),
    ],
)
def test_predicate_of_the_candidate_decides(outcome, status):
    """A claim on the network follows its predicates; one that does not apply decides nothing."""
    network = new_network(T27="pass", T29="pass", T31=outcome)

    assert status_of("drop-in", checks=(network,)) == status


def test_untried_predicate_leaves_a_claim_open():
    """All must have been tried; the row says which was not, and how to try it."""
    row = row_of("drop-in", dataclasses.replace(EMPTY, checks=(new_network(T27="pass"),)))

    assert row.status == "undecided"
    assert "T29 was not tried" in row.open[0]
    assert row.commands == ("abharness check HFBayesianAutoformer --store runs",)


def test_one_failure_refutes_whatever_is_open():
    """A predicate that fails refutes, even though another was not tried."""
    assert status_of("drop-in", checks=(new_network(T27="fail"),)) == "refuted"


def test_check_of_other_code_says_nothing():
    """A stored check that is not of today's code is not evidence, and the row says so."""
    old = dataclasses.replace(new_network(T27="pass", T29="pass", T31="pass"), current=False)
    row = row_of("drop-in", dataclasses.replace(EMPTY, checks=(old,)))

    assert (row.status, row.measured) == ("undecided", ())
    assert "different code" in row.open[0]


def test_a_defect_of_several_networks_counts_once():
    """More than twenty distinct predicates confirm; fewer refute only when all five were tried."""
    codes = [f"T{number}" for number in range(1, 22)]
    shared = [record(name, dict.fromkeys(codes[:20], "fail")) for name in FAMILY]
    spread = [record(n, dict.fromkeys(codes[i::5], "fail")) for i, n in enumerate(FAMILY)]

    assert status_of("twenty-defects", checks=tuple(spread)) == "confirmed"
    assert status_of("twenty-defects", checks=tuple(shared)) == "refuted"
    assert status_of("twenty-defects", checks=tuple(shared[:4])) == "undecided"


def test_repaired_network_is_not_a_legacy_network():
    """What a repaired build fails is no defect of the original."""
    repaired = [record(n, {"T1": "fail"}, options={"repaired": True}) for n in FAMILY]

    assert status_of("legacy-risk", checks=tuple(repaired)) == "undecided"


def test_defects_are_gone_only_if_the_candidate_has_none_of_them():
    """The candidate is asked what legacy networks fail, and nothing else."""
    family = tuple(record(name, {"T1": "fail", "T2": "pass"}) for name in FAMILY)

    def status(*more):
        return status_of("defects-gone", checks=(*family, *more))

    assert status(new_network(T1="pass", T2="fail")) == "confirmed"
    assert status(new_network(T1="not applicable")) == "confirmed"
    assert status(new_network(T1="fail", T2="pass")) == "refuted"
    assert status(new_network(T2="pass")) == "undecided"
    assert status() == "undecided"


def test_pipeline_defect_is_asked_of_the_baseline_arm():
    """The row of a pipeline defect follows the baseline's arm, not the candidate's."""

    def status(name, outcome):
        arm = record(name, {"T33": outcome}, kind="arm")
        return status_of("nan-never-best", checks=(arm,))

    assert status("old", "pass") == "confirmed"
    assert status("old", "fail") == "refuted"
    assert status("new", "pass") == "undecided"


@pytest.mark.parametrize(
    ("change", "status"),
    [({}, "confirmed"), ({"failed": 1}, "refuted"), ({"diverged": True}, "refuted")],
)
def test_failed_windows_speak_against_readiness(change, status):
    """A failed window or a diverged fit refutes; the row counts them."""
    checks = (new_network(T31="pass"),)

    assert status_of("production-ready", checks=checks, runs=(unit("new", **change),)) == status


@pytest.mark.parametrize("ours", [(1.0, 2.0), (9.0,), (1.0, 9.0)])
def test_times_of_units_are_shown_and_decide_nothing(ours):
    """Units run beside whatever else the machine does: only a paired session says who is faster."""
    runs = [unit("new", seconds=each, seed=number) for number, each in enumerate(ours)]
    runs += [unit("old", seconds=4.0, seed=1), unit("old", seconds=5.0, seed=2)]
    row = row_of("inference", dataclasses.replace(EMPTY, runs=tuple(runs)))

    assert row.status == "undecided"
    assert [found.holds for found in row.measured] == [None]
    assert "abharness measure tiny --store runs" in row.commands


def test_times_of_two_machines_are_not_compared():
    """Units of different machines say nothing about speed, so no ratio is shown."""
    runs = (unit("new", seconds=1.0), unit("old", seconds=4.0, machine="other"))
    row = row_of("inference", dataclasses.replace(EMPTY, runs=runs))

    assert row.status == "undecided"
    assert row.measured == ()
    assert "abharness measure tiny --store runs" in row.commands


@pytest.mark.parametrize(
    ("ratio", "status"),
    [
        ((0.5, 0.4, 0.6), "confirmed"),
        ((2.0, 1.8, 2.2), "refuted"),
        ((0.9, 0.7, 1.2), "undecided"),
    ],
)
def test_measuring_session_goes_before_the_units(ratio, status):
    """A paired session decides by its interval, whatever the units' own times say."""
    value, low, high = ratio
    latency = Cost(
        criterion="latency", unit="s", ratio=value, low=low, high=high, noise_floor=0.01, valid=True
    )
    costs = Costs.missing("old", "new", "A")
    costs = dataclasses.replace(costs, items={"latency": latency})
    runs = (unit("new", seconds=9.0), unit("old", seconds=1.0))

    assert status_of("inference", runs=runs, costs=costs) == status


@pytest.mark.parametrize(("lines", "status"), [(200, "confirmed"), (300, "refuted")])
def test_code_size_is_a_measured_ratio(lines, status):
    """Eighty per cent fewer, to the nearest ten, confirms."""
    sizes = {
        "baseline": CodeSize(what="old", files=(), lines=1000, all_lines=2 * 1000),
        "candidate": CodeSize(what="new", files=(), lines=lines, all_lines=2 * lines),
    }

    assert status_of("less-code", sizes=sizes) == status


def test_an_arm_that_plays_records_back_has_no_source_lines():
    """What made its forecasts is not there: the claim stays open and says so."""
    recorded = ArmOnTrial(name="old", use="harness.recorded:Recorded")
    live = ArmOnTrial(name="new", use="baselines.random_walk:SeasonalNaive")
    sizes = _sizes({"baseline": recorded, "candidate": live}, None)
    row = row_of("less-code", dataclasses.replace(EMPTY, sizes=sizes))

    assert list(sizes) == ["candidate"]
    assert row.status == "undecided"
    assert "plays records back" in row.open[0]


def test_checkout_takes_the_place_of_the_rebuild():
    """With the user's checkout its legacy lines are what the candidate is held against."""
    sizes = {
        "baseline": CodeSize(what="old", files=(), lines=1000, all_lines=2 * 1000),
        "candidate": CodeSize(what="new", files=(), lines=300, all_lines=2 * 300),
        "legacy": CodeSize(what="checkout", files=(), lines=5000, all_lines=2 * 5000),
    }
    row = row_of("less-code", dataclasses.replace(EMPTY, sizes=sizes))

    assert row.status == "confirmed"
    assert "300 against 5000" in row.measured[0].said


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, "undecided"),  # crossings are in the scores, and there are none
        ({"levels": [0.25, 0.5, 0.75]}, "refuted"),
        ({"form": "samples", "levels": []}, "undecided"),
    ],
)
def test_levels_must_reach_as_far_as_claimed(change, status):
    """Levels that end before 0.1 or 0.9 refute."""
    assert status_of("quantiles", runs=(unit("new", **change),)) == status


@pytest.mark.parametrize(
    ("outcome", "more", "status"),
    [
        ("pass", {"save_pretrained": 0.0}, "confirmed"),
        ("fail", {"save_pretrained": 0.5}, "refuted"),
        ("pass", {}, "refuted"),  # it offers no such calls
    ],
)
def test_ecosystem_asks_for_a_round_trip(outcome, more, status):
    """A network that cannot save itself and come back does not fit the ecosystem."""
    network = new_network(T26=outcome)
    result = dataclasses.replace(network.results[0], measured={"value": 0.0, **more})
    network = dataclasses.replace(network, results=(result,))

    assert status_of("ecosystem", checks=(network,)) == status


def test_claim_without_rule_or_reason_is_refused():
    """A claim is testable by its requirements, or says why it is not."""
    with pytest.raises(ValueError, match="needs requirements, or a reason"):
        Claim(id="empty", group="summary", number="1", text="text", offered="nothing")


def everything():
    family = tuple(record(name, {"T1": "fail", "T33": "pass"}) for name in FAMILY)
    sizes = {
        "baseline": CodeSize(what="old", files=(), lines=1000, all_lines=2 * 1000),
        "candidate": CodeSize(what="new", files=(), lines=900, all_lines=2 * 900),
    }
    checks = (*family, new_network(T1="pass", T27="fail"))
    return dataclasses.replace(EMPTY, checks=checks, sizes=sizes, runs=(unit("new"), unit("old")))


def test_terminal_lines_fit_and_hold_every_claim():
    """No line is wider than 100 columns; each claim, status, number and command is there."""
    rows = collect_claims(everything())
    lines = terminal_lines(rows)

    assert max(map(len, lines)) <= 100
    text = " ".join(" ".join(lines).split())
    assert all(f"[{claim.id}]" in text for claim in CLAIMS)
    assert "REFUTED It needs about 80 % less custom code." in text
    assert "> abharness compare tiny --store runs" in text
    assert all(len(line) <= 60 for line in terminal_lines(rows, width=60) if " " in line.strip())


def test_json_holds_every_row():
    """The JSON is valid with counts that add up, values with units, and null for what is not."""
    evidence = everything()
    rows = collect_claims(evidence)
    found = json.loads(to_json(rows, evidence))

    assert (found["schema"], found["candidate"], found["verdict"]) == (1, "new", None)
    assert sum(found["counts"].values()) == len(found["claims"]) == len(CLAIMS)
    assert found["counts"] == counted(rows)
    by_id = {row["id"]: row for row in found["claims"]}
    saved = by_id["less-code"]["measured"][0]
    assert (saved["value"], saved["unit"], saved["holds"]) == (pytest.approx(10.0), "%", False)
    assert by_id["drop-in"]["measured"][0]["source"].startswith("check ")


def test_markdown_has_a_row_for_every_claim():
    """Each table row has its five cells, whatever the texts hold."""
    evidence = everything()
    text = to_markdown(collect_claims(evidence), evidence)
    tables = [line for line in text.splitlines() if line.startswith("|")]

    claims = [line for line in tables if line.replace("\\|", "").count("|") == 6]
    assert len(claims) == len(CLAIMS) + 2 * 3  # and heads of three tables
    assert all(f"`{claim.id}`" in text for claim in CLAIMS)


def test_claims_load_no_framework():
    """Judging and writing claims imports neither torch nor pandas."""
    code = (
        "import sys; from harness.claims import ClaimEvidence, collect_claims;"
        "from reports.forms.claim_rows import terminal_lines;"
        "found = ClaimEvidence(experiment='e', store='s', baseline='a', candidate='b');"
        "rows = collect_claims(found);"
        "terminal_lines(rows); print([n for n in ('torch', 'pandas', 'transformers')"
        " if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
