"""The battery on the replacement, as arm and as network, on every backbone.

Left out, each for what the backbone is and not for what is made of it: T12 and T17 of Chronos-T5,
whose inputs are rounded to tokens and whose paths are chosen one token at a time; and of backbones
of random weights what only a trained one can be asked, or what the size of random weights decides:
T9, T17, T20, T28, T32.
"""

import pytest

from candidates.replacement.loading import BUNDLED
from harness.arm import ArmRef
from harness.battery import run_battery
from harness.battery.sources import arm_subject, class_subject

NETWORKS = ("bayesian", "quantile", "hierarchical")
EXCUSED = {
    BUNDLED: set(),
    "bolt": {"T20", "T28"},
    "chronos2": set(),
    "t5": {"T9", "T12", "T17", "T20", "T32"},
}
HEARD = {"T1", "T10", "T11", "T15", "T16", "T18", "T19", "T21", "T22", "T23", "T26", "T29", "T34"}


def failures(results, excused=frozenset()):
    return [
        f"{each.code}: {each.reason}"
        for each in results
        if each.outcome in ("fail", "error") and each.code not in excused
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kind", [BUNDLED, "bolt", "chronos2"])
def test_network_passes_every_predicate(tiny, kind, name):
    """All that apply to it."""
    use = f"candidates.replacement.{name}:Model"
    results = run_battery(class_subject(use, {}, {"backbone": tiny.get(kind, BUNDLED)}))

    assert failures(results, EXCUSED[kind]) == []
    assert sum(each.outcome == "pass" for each in results) >= 15


@pytest.mark.parametrize("kind", ["t5", "bolt", "chronos2", BUNDLED])
def test_network_passes_what_is_quickly_asked(tiny, kind):
    """Batch mates, truth ahead, gradients, graphs, generators, modes, labels, order, config."""
    use = "candidates.replacement.bayesian:Model"
    config = {"seq_len": 48, "label_len": 24, "pred_len": 8, "enc_in": 2}
    codes = HEARD - ({"T1", "T15"} if kind == "t5" else set())
    subject = class_subject(use, config, {"backbone": tiny.get(kind, BUNDLED)})
    results = run_battery(subject, codes)

    assert failures(results) == []
    assert all(each.outcome == "pass" for each in results)


@pytest.mark.parametrize("kind", ["t5", "bolt", "chronos2", BUNDLED])
@pytest.mark.parametrize("learns", [False, True])
def test_arm_passes_every_predicate(tiny, kind, learns):
    """All that apply to it, zero-shot, and fine-tuned and calibrated."""
    options = {"model": tiny.get(kind, BUNDLED), "context": 64}
    options |= {"samples": 200} if kind == "t5" else {}
    if learns:
        table = {"steps": 4, "every": 2, "batch_size": 4}
        options |= {"finetune": table, "conformal": kind != "t5"}
    use = "candidates.hf_bayesian_autoformer:HFBayesianAutoformer"
    ref = ArmRef(name="arm", use=use, role="candidate", options=options)

    results = run_battery(arm_subject(ref))

    assert failures(results, EXCUSED[kind]) == []
    assert sum(each.outcome == "pass" for each in results) >= 7
