"""The battery on the replacement, as network and as arm, on every backbone.

What only a trained forecaster can be asked is asked of checkpoints that were schooled for seconds;
the rest of random weights, too. The sample holds each network on the backbone that needs no
schooling, the arm on the bundled checkpoint, and all that is quickly asked.
"""

import pytest

from candidates.replacement.loading import BUNDLED
from harness.arm_ref import ArmRef
from harness.checks import catalogue, run_battery
from harness.checks.subject import arm_subject, class_subject

NETWORKS = ("bayesian", "quantile", "hierarchical")
KINDS = ("t5", "bolt", "chronos2", BUNDLED)
SHORT = {"seq_len": 32, "label_len": 16, "pred_len": 6, "enc_in": 2}
"""Sizes for Chronos-T5, which draws 400 paths of every series for a 99 % interval."""

HEARD = {"T1", "T10", "T11", "T15", "T16", "T18", "T19", "T21", "T22", "T23", "T26", "T29", "T34"}
SILENT = {"quantile": {"T15", "T16"}, "hierarchical": {"T15", "T16", "T22"}}
"""What does not apply to networks without an uncertainty call."""
ARM = "candidates.hf_bayesian_autoformer:HFBayesianAutoformer"
SAMPLE = {("chronos2", "bayesian"), (BUNDLED, "quantile"), (BUNDLED, True)}


def whole(others):
    """Every kind with each of the others; what is not of the sample is left to the study."""
    return [
        pytest.param(kind, other, marks=() if (kind, other) in SAMPLE else pytest.mark.study)
        for kind in KINDS
        for other in others
    ]


def failures(results):
    return [f"{each.code}: {each.reason}" for each in results if each.outcome in ("fail", "error")]


def subject_of_arm(folder, kind, *, learns, conformal=True):
    options = {"model": folder, "context": 64}
    options |= {"samples": 200} if kind == "t5" else {}
    if learns:
        table = {"steps": 4, "every": 2, "batch_size": 4}
        options |= {"finetune": table, "conformal": conformal}
    return arm_subject(ArmRef(name="arm", use=ARM, role="candidate", options=options))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), whole(NETWORKS))
def test_network_passes_every_predicate(schooled, kind, name):
    """All that apply to it; what it says of itself leaves out the jumps of tokens, no more."""
    use, config = f"candidates.replacement.hf_{name}:Model", SHORT if kind == "t5" else {}
    results = run_battery(class_subject(use, config, {"backbone": schooled(kind)}))

    assert failures(results) == []
    assert sum(each.outcome == "pass" for each in results) >= 15
    stated = {each.code for each in results if each.reason.startswith("it declares that it")}
    tokens = {"T12", "T17"} if name == "bayesian" else {"T12"}
    own = {"t5": {"T7"} | tokens, "bolt": {"T7"}, BUNDLED: {"T7"}, "chronos2": set()}
    assert stated == own[kind]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "learns"), whole([False, True]))
def test_arm_passes_every_predicate(schooled, kind, learns):
    """All that apply to it, zero-shot, and fine-tuned and calibrated."""
    results = run_battery(subject_of_arm(schooled(kind), kind, learns=learns))

    assert failures(results) == []
    assert sum(each.outcome == "pass" for each in results) >= 7


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name"),
    [*((kind, "bayesian") for kind in KINDS), ("chronos2", "quantile"), ("bolt", "hierarchical")],
)
def test_network_passes_what_is_quickly_asked(random_weights, kind, name):
    """Batch mates, truth ahead, gradients, graphs, generators, modes, labels, order, config."""
    use = f"candidates.replacement.hf_{name}:Model"
    config = {"seq_len": 48, "label_len": 24, "pred_len": 8, "enc_in": 2}
    codes = HEARD - ({"T1", "T15"} if kind == "t5" else set()) - SILENT.get(name, set())
    subject = class_subject(use, config, {"backbone": random_weights(kind)})
    results = run_battery(subject, codes)

    assert failures(results) == []
    assert all(each.outcome == "pass" for each in results)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("learns", [False, True])
def test_arm_of_random_weights_passes_what_needs_no_training(random_weights, kind, learns):
    """All but where its forecast lies."""
    codes = {each.code for each in catalogue("arm")} - {"T32"}
    subject = subject_of_arm(
        random_weights(kind), kind, learns=learns, conformal=kind != "t5"
    )  # paths of random weights take seconds to calibrate
    results = run_battery(subject, codes)

    assert failures(results) == []
    assert sum(each.outcome == "pass" for each in results) >= 7
