"""Which stored checks count for a side: its own arm, and the network that stands for it."""

import dataclasses

import numpy as np
import pytest
from scores_for_tests import table_of

from harness.checks import CheckRecord, CheckResult
from harness.checks.subject import LEGACY_NETWORKS, NetworkRef
from harness.claims import CLAIMS, ClaimEvidence, collect_claims
from harness.claims.claim import ArmOnTrial
from harness.measure.code_lines import CodeSize

NETWORK = NetworkRef(target="Net", use="pack:build", options={"backbone": "x"})
ARM = ArmOnTrial(name="my new arm", use="pack.arm:Arm", options={"context": 9}, network=NETWORK)
OLD = ArmOnTrial(name="old", use="pack.old:Arm")
BASE = ClaimEvidence(
    experiment="my trial.toml",
    store="runs",
    baseline="old",
    candidate="my new arm",
    arms={"baseline": OLD, "candidate": ARM},
    datasets=("A",),
)


def record(target, outcomes, *, use, kind="network", role="candidate", options=(), current=True):
    """A stored check with outcomes by code."""
    results = tuple(
        CheckResult(
            code=code,
            title="statement",
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
    given = dict(options)
    return CheckRecord(
        target=target,
        kind=kind,
        role=role,
        use=use,
        options=given,
        key=f"{target}{kind}{sorted(given.items())}{use}" * 3,
        source="code",
        weights="",
        current=current,
        results=results,
    )


def network(options=(("backbone", "x"),), **outcomes):
    """A check of the candidate's network."""
    return record("Net", outcomes, use="pack:build", options=options)


def arm(**outcomes):
    """A check of the candidate's arm."""
    return record("my new arm", outcomes, use="pack.arm:Arm", kind="arm", options={"context": 9})


def row_of(name, *checks, **fields):
    """The row of one claim."""
    (claim,) = [each for each in CLAIMS if each.id == name]
    evidence = dataclasses.replace(BASE, checks=checks, **fields)
    return collect_claims(evidence, [claim])[0]


OTHERS = {
    "another of our networks": record("Other", {"T26": "fail"}, use="pack:build"),
    "a user's class with that role": record("mine:Broken", {"T26": "error"}, use="mine:Broken"),
    "other weights": network((("backbone", "y"),), T26="fail"),
    "no options": network((), T26="fail"),
    "a network of that name elsewhere": record("Net", {"T26": "fail"}, use="mine:build"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_network_that_stands_for_nobody_decides_nothing(other):
    """Whatever else was tried under the candidate's role neither refutes nor opens a claim."""
    alone = row_of("layer-swaps", OTHERS[other])
    beside = row_of("layer-swaps", network(T26="pass"), OTHERS[other])

    assert alone.status == "undecided"
    assert beside.status == "confirmed"
    assert [each.holds for each in beside.measured] == [True, None]
    assert beside.measured[1].said == "for comparison only: does not stand for the candidate"


def test_predicate_that_does_not_apply_to_another_network_leaves_the_claim_decided():
    """A claim confirmed by its own network stays so when a sibling is tried into the store."""
    own = network(T15="pass", T16="pass", T17="pass")
    codes = dict.fromkeys(("T15", "T16", "T17"), "not applicable")
    sibling = record("Sibling", codes, use="pack:build")

    old = legacy("BayesianEnhancedAutoformer", dict.fromkeys(codes, "fail"))

    assert row_of("gradient-defect", old, own).status == "confirmed"
    assert row_of("gradient-defect", old, own, sibling).status == "confirmed"


@pytest.mark.parametrize(
    ("outcome", "status"), [("fail", "confirmed"), ("pass", "refuted"), (None, "undecided")]
)
def test_a_defect_is_gone_only_where_the_old_side_had_it(outcome, status):
    """The replacement passes; whether the legacy network fails decides, and untried is open."""
    codes = ("T15", "T16", "T17")
    own = network(**dict.fromkeys(codes, "pass"))
    old = [legacy("BayesianEnhancedAutoformer", dict.fromkeys(codes, outcome))] if outcome else []
    row = row_of("gradient-defect", own, *old)

    assert row.status == status
    asked = "abharness check BayesianEnhancedAutoformer --store runs"
    assert (asked in row.commands) == (outcome is None)


def test_arm_without_a_network_gets_nothing_from_networks():
    """A candidate whose class names none has no network; the row says so and names no command."""
    walk = ArmOnTrial(name="walk", use="pack.walk:Walk")
    arms = {"baseline": OLD, "candidate": walk}
    row = row_of("layer-swaps", network(T26="pass"), arms=arms, candidate="walk")

    assert row.status == "undecided"
    assert row.open == ("no network stands for walk: its class names none",)
    assert row.commands == ()
    tried = record("walk", {"T29": "pass"}, use="pack.walk:Walk", kind="arm", role="reference")
    mutation = row_of("config-mutation", network(T29="fail"), tried, arms=arms, candidate="walk")
    assert mutation.status == "confirmed"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, "confirmed"),
        ({"options": {"context": 8}}, "undecided"),
        ({"use": "pack.walk:Walk"}, "undecided"),
        ({"target": "another"}, "undecided"),
    ],
)
def test_arm_is_the_one_the_experiment_declares(change, status):
    """A check of an arm of that name with other options, or of another class, is of another arm."""
    tried = dataclasses.replace(arm(T1="pass", T18="pass", T21="pass"), **change)
    row = row_of("stability", tried, runs=())
    held = {each.holds for each in row.measured if each.what.startswith("T")}

    assert held == ({True} if status == "confirmed" else set())
    other = "of different options or code" in " ".join(row.open)
    assert other == (status == "undecided" and "target" not in change)


def test_sizes_of_one_network_are_taken_together():
    """Where one size does not apply another decides; a size that fails refutes."""
    wide = (("backbone", "x"), ("config.d_model", 64))
    quantiles = network(wide, T26="not applicable")

    assert row_of("layer-swaps", network(T26="pass"), quantiles).status == "confirmed"
    assert row_of("layer-swaps", quantiles).status == "undecided"
    failing = network(wide, T26="fail")
    assert row_of("layer-swaps", network(T26="pass"), failing).status == "refuted"


def test_commands_try_the_network_with_the_arms_options():
    """The command can be pasted into a shell: names and values are quoted."""
    row = row_of("layer-swaps")

    assert row.commands == ("abharness check Net --option 'backbone=\"x\"' --store runs",)
    stability = row_of("stability")
    wanted = "abharness check 'my new arm' --as arm --experiment 'my trial.toml' --store runs"
    assert wanted in stability.commands


def test_network_an_arm_builds_is_tried_by_the_arms_name():
    """Its check counts under the arm's class and options, and the command asks for it."""
    built = NetworkRef(target="my new arm", use="pack.arm:Arm", options={"context": 9}, builds=True)
    arms = {"baseline": OLD, "candidate": dataclasses.replace(ARM, network=built)}
    own = record(
        "my new arm",
        {"T26": "pass"},
        use="pack.arm:Arm",
        options={"context": 9, "config.d_model": 8},
    )

    assert row_of("layer-swaps", own, arms=arms).status == "confirmed"
    row = row_of("layer-swaps", arms=arms)
    assert row.commands == (
        "abharness check 'my new arm' --as network --experiment 'my trial.toml' --store runs",
    )


def legacy(name, outcomes, **more):
    """A check of a faithful legacy network."""
    return record(name, outcomes, use="baselines:build", role="legacy", **more)


@pytest.mark.parametrize("claim", ["analysed", "twenty-defects", "legacy-risk", "defects-gone"])
def test_stale_check_of_the_family_is_not_called_untried(claim):
    """Rows on the legacy networks tell a check of other code from none at all."""
    never = LEGACY_NETWORKS[-1]
    stale = [legacy(name, {"T1": "fail"}, current=False) for name in LEGACY_NETWORKS[:-1]]
    row = row_of(claim, *stale, network(T1="pass"))

    assert row.status == "undecided"
    said = " ".join(row.open)
    assert f"not tried: {never}; the stored check is of different code: " in said
    assert LEGACY_NETWORKS[-2] in said
    assert f"abharness check {LEGACY_NETWORKS[-2]} --store runs" in row.commands


OWN_ARM = {
    "use": "baselines.tslib:TSLibModel",
    "role": "legacy",
    "options": {"root": "own", "model": "Autoformer"},
}


def test_a_users_own_network_goes_before_our_rebuild():
    """What it fails counts under the name of its model, and the row says whose it is."""
    ours = legacy("Autoformer", {"T1": "pass"})
    theirs = record("mine", {"T1": "fail"}, **OWN_ARM)
    file = record("models.Autoformer:Model", {"T2": "fail"}, use="models.Autoformer:Model")
    file = dataclasses.replace(file, role="legacy")

    assert row_of("legacy-risk", ours).status == "undecided"
    for own in (theirs, file):
        row = row_of("legacy-risk", ours, own)
        assert row.status == "confirmed"
        assert row.measured[1].what == "failing predicates of your own network"
        assert row.measured[1].arm == "Autoformer"


def test_an_own_network_of_another_name_counts_as_well():
    """A sixth legacy network adds what it fails, and is not asked for where it was not tried."""
    other = record("mine:Sixth", {"T1": "fail"}, use="mine.models:Sixth", role="legacy")

    assert row_of("legacy-risk", other).status == "confirmed"
    assert not any("Sixth" in line for line in row_of("twenty-defects", other).commands)


CHECKOUT = {"checkout": {"Autoformer": "Model", "Net": "Model"}, "checkout_root": "my own"}


def test_what_a_checkout_holds_our_rebuild_never_stands_for():
    """With `--legacy-root` the row asks for the checkout's network, in a command for a shell."""
    ours = legacy("Autoformer", {"T1": "fail"})
    theirs = record("models.Autoformer:Model", {"T1": "fail"}, use="models.Autoformer:Model")
    theirs = dataclasses.replace(theirs, role="legacy")
    row = row_of("legacy-risk", ours, **CHECKOUT)

    assert row.status == "undecided"
    assert (
        "PYTHONPATH='my own' abharness check models.Autoformer:Model --role legacy --store runs"
        in row.commands
    )
    assert row_of("legacy-risk", ours, theirs, **CHECKOUT).status == "confirmed"


def test_the_users_file_of_the_replacements_name_is_judged():
    """Where the checkout holds the candidate's network, that file decides and ours does not."""
    ours = network(T26="pass")
    theirs = record("models.Net:Model", {"T26": "error"}, use="models.Net:Model")

    assert row_of("layer-swaps", ours, **CHECKOUT).status == "undecided"
    assert row_of("layer-swaps", ours, **CHECKOUT).open == ("the checkout's own Net was not tried",)
    assert row_of("layer-swaps", ours, theirs, **CHECKOUT).status == "refuted"
    assert row_of("layer-swaps", ours, theirs).status == "confirmed"


def test_a_repaired_build_is_labelled_and_of_no_weight():
    """It stands beside the faithful one, which alone is counted."""
    repaired = legacy("Autoformer", {"T9": "fail"}, options={"repaired": True})
    row = row_of("legacy-risk", legacy("Autoformer", {"T1": "pass"}), repaired)

    assert row.status == "undecided"
    assert [each.value for each in row.measured] == [0, 0, 1]
    assert "repaired build" in row.measured[2].what
    assert row.measured[2].holds is None


def sized(**lines):
    return {
        name: CodeSize(what=name, files=(), lines=count, all_lines=2 * count)
        for name, count in lines.items()
    }


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        (
            sized(baseline=1000, candidate=300, baseline_network=700, candidate_network=200),
            "300 against 1000; arm and network of both sides",
        ),
        (
            sized(legacy=5000, baseline=1000, candidate=300, candidate_network=200),
            "200 against 5000; networks alone of both sides, ours against the checkout's",
        ),
        (
            sized(legacy=5000, replacement=400, candidate=300, candidate_network=200),
            "400 against 5000; networks alone of both sides, all of the checkout",
        ),
        (
            sized(legacy=5000, replacement=400, document_baseline=915, document_candidate=207),
            "207 against 915; the pair that the document names",
        ),
        (
            sized(legacy=5000, candidate=300),
            "300 against 5000; networks of the checkout against the arm alone",
        ),
    ],
)
def test_lines_of_both_sides_are_of_the_same_things(sizes, said):
    """The row says what was counted, and it is arms with networks, or networks, on both sides."""
    first, *others = row_of("less-code", sizes=sizes).measured

    assert said in first.said
    assert first.holds is not None
    assert all(each.holds is None for each in others)


def test_lines_are_compared_with_lines():
    """The claim on the length of files counts lines of any kind, and more than 1500 of them."""
    checks = [arm(T34="pass"), network(T34="pass")]

    assert row_of("complete-suite", *checks, sizes=sized(candidate=750)).status == "refuted"
    assert row_of("complete-suite", *checks, sizes=sized(candidate=751)).status == "confirmed"


def scores(arm_name, **values):
    """Scores of one unit on two origins and three steps."""
    cells = {name: np.full((2, 3), value) for name, value in values.items()}
    return table_of(cells, arm=arm_name, role="candidate", dataset="A")


def test_loss_at_each_level_stands_beside_the_baselines():
    """The claim on quantiles shows the measured pinball loss of every level, and T22."""
    levels = (10, 25, 50, 75, 90)
    ours = scores("my new arm", **{f"pinball_{level}": level / 10 for level in (5, *levels)})
    theirs = scores("old", **{f"pinball_{level}": 9.0 for level in levels})
    row = row_of("quantiles", network(T22="pass"), scores=(ours, theirs))
    losses = [each for each in row.measured if each.what.startswith("Pinball")]

    assert [each.value for each in losses] == [pytest.approx(level / 10) for level in levels]
    assert {each.said for each in losses} == {"old's is 9"}
    assert all(each.holds for each in losses)
    assert "T22" in next(each.what for each in row.measured if each.what.startswith("T"))


def test_level_with_failed_windows_is_no_number():
    """A loss that is not finite is not averaged away, and decides nothing."""
    levels = (10, 25, 50, 75, 90)
    ours = scores("my new arm", **{f"pinball_{level}": np.nan for level in levels})
    row = row_of("quantiles", scores=(ours,))
    losses = [each for each in row.measured if each.what.startswith("Pinball")]

    assert {(each.value, each.holds) for each in losses} == {(None, None)}
    assert losses[0].said == "old's is none; windows without a forecast"


def test_what_was_not_tried_of_a_claim_is_said():
    """The open part of backward compatibility says what was tried and what was not."""
    (why,) = row_of("backward-compatible", network(T27="pass")).open

    assert "tried are the call and the configuration (T27)" in why
    assert "not tried is a state dict of a legacy network" in why


def test_pipeline_row_claims_what_is_measured():
    """That no epoch of NaN is kept is what T33 measures; that one is kept at all is not."""
    (claim,) = [each for each in CLAIMS if each.id == "nan-never-best"]

    assert "No epoch whose loss is NaN is kept." in claim.text
    assert "best" not in claim.text
