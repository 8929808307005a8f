"""What every arm of the built-in experiments must hold, whatever it is made of."""

import dataclasses

import numpy as np
import pytest

from harness.arm import Arm, Describes
from harness.arm_ref import ArmRef
from harness.experiments.experiment import builtin_names, read_experiment
from harness.forecast import LEVELS
from harness.running.unit import Job, carry_out
from harness.window import RollingOrigin, contexts_at, up_to

PLAN = RollingOrigin(horizon=6, stride=10, origins=8, validation=40, refit=4)
SMALLER = {
    "baselines.legacy:LegacyForecaster": {
        "seq_len": 24,
        "label_len": 12,
        "d_model": 8,
        "n_heads": 2,
        "d_ff": 16,
        "epochs": 2,
        "train_stride": 4,
        "learning_rate": 1e-3,
    },
}
SHORTER = {"steps": 6, "batch_size": 4, "every": 3, "patience": 2}
"""What is asked of an arm that is fine-tuned."""


def all_arms():
    """Every arm named by a built-in experiment, made small where it would learn for long.

    Arms that differ in nothing but the device are one.
    """
    found = {}
    for name in builtin_names():
        for ref in read_experiment(name).arms:
            options = dict(ref.options) | SMALLER.get(ref.use, {})
            options |= {"finetune": SHORTER} if "finetune" in options else {}
            small = dataclasses.replace(ref, options=options)
            same = {name: value for name, value in options.items() if name != "device"}
            found.setdefault((ref.use, repr(sorted(same.items(), key=str))), small)
    return list(found.values())


def outcome_of(ref: ArmRef, series, *, plan=PLAN, batch=256):
    windows = plan.over(series.dates)
    return carry_out(
        Job(
            ref=ref,
            seed=3,
            plan=plan,
            series=up_to(series, int(windows.origin[-1])),
            windows=windows,
            threads=1,
            batch=batch,
        )
    )


@pytest.fixture(scope="module")
def usual():
    """What an arm answers on the plain series, asked once per arm."""
    answers = {}

    def answer(ref, series):
        key = repr(ref)
        if key not in answers:
            answers[key] = outcome_of(ref, series)
        return answers[key]

    return answer


arms = pytest.mark.parametrize("ref", all_arms(), ids=lambda ref: ref.name)


@pytest.mark.slow
@arms
def test_future_is_hidden(ref, series, usual):
    """Perturbing every value at and after an origin moves no forecast made up to it, not a bit.

    So the same fit and windows give the same bits, too.
    """
    origin = PLAN.over(series.dates).origin
    cut = int(origin[4])  # the origin of the second fit: its row is the boundary
    rng = np.random.default_rng(0)
    target, past = series.target.copy(), series.past.copy()
    target[cut:] *= rng.uniform(0.2, 5.0, len(target) - cut)
    past[cut:] = rng.standard_normal(past[cut:].shape)
    changed = dataclasses.replace(series, target=target, past=past)

    before, after = usual(ref, series), outcome_of(ref, changed)

    assert before.reason == after.reason == [""] * 8
    assert np.array_equal(before.point[:5], after.point[:5])
    assert np.array_equal(before.values[:5], after.values[:5])
    assert not np.array_equal(before.values[5:], after.values[5:])


@pytest.mark.slow
@arms
def test_window_alone_and_in_a_batch_agree(ref, series, usual):
    """Forecasts do not depend on what else is in the batch, to 1e-4 relative."""
    alone, together = outcome_of(ref, series, batch=1), usual(ref, series)

    assert np.allclose(alone.values, together.values, rtol=1e-4)


@pytest.mark.slow
@arms
def test_arm_keeps_the_protocol(ref, series, usual):
    """It is an arm, describes itself in text, and its quantiles are nearly always in order.

    The legacy quantile network crosses by design (Q-07 of the dossier): that is its own result.
    """
    arm = ref.build()
    outcome = usual(ref, series)

    assert isinstance(arm, Arm)
    assert isinstance(arm, Describes)
    assert all(isinstance(text, str) for pair in arm.card().items() for text in pair)
    if outcome.form == "quantiles" and ref.role != "legacy":
        assert (np.diff(outcome.values, axis=2) >= 0).mean() > 0.99


@arms
def test_input_is_left_alone(ref, series):
    """An arm cannot write into its contexts; what it was handed is what it leaves."""
    plan = dataclasses.replace(PLAN, refit=None)
    origins = plan.over(series.dates).origin
    contexts = contexts_at(
        series, origins, plan=plan, length=ref.build().context_length, levels=LEVELS
    )

    assert not contexts.target.flags.writeable
    assert not contexts.past.flags.writeable
    assert not contexts.dates.flags.writeable
