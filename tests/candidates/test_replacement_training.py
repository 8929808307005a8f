"""Fine-tuning and calibration of the arm at a fit."""

import dataclasses
import random

import numpy as np
import pytest
import torch

from candidates.hf_bayesian_autoformer import HFBayesianAutoformer
from harness.arm import Learns
from harness.arm_ref import ArmRef
from harness.experiments.experiment import read_experiment
from harness.forecast import LEVELS
from harness.running.grid import seeded
from harness.running.unit import Job, carry_out
from harness.window import RollingOrigin, context_at, contexts_at, up_to

PLAN = RollingOrigin(horizon=6, stride=10, origins=6, validation=80)
FAST = {"steps": 12, "lr": 3e-3, "batch_size": 8, "every": 4}
USE = "candidates.hf_bayesian_autoformer:HFBayesianAutoformer"


def arm_on(folder, kind, **options):
    return HFBayesianAutoformer(
        model=folder, context=64, samples=200 * (kind == "t5"), **({"finetune": FAST} | options)
    )


def windows_of(series, arm):
    origins = PLAN.over(series.dates).origin
    context = context_at(series, int(origins[0]), plan=PLAN)
    asked = contexts_at(series, origins, plan=PLAN, length=arm.context, levels=LEVELS)
    return context, asked


def states():
    return random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state()  # noqa: NPY002


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["t5", "bolt", "chronos2"])
def test_fine_tuning_learns_and_keeps_its_best(series, tiny, kind):
    """The curve starts with the weights as they came; what is kept is its lowest point."""
    arm = arm_on(tiny[kind], kind)
    context, asked = windows_of(series, arm)
    before = arm.forecast(asked).point

    done = arm.fit(context, seed=1)

    losses = [row.validation_loss for row in done.curve]
    assert isinstance(arm, Learns)
    assert [row.epoch for row in done.curve] == list(range(len(losses)))
    assert done.best_epoch == int(np.argmin(losses)) > 0
    assert losses[-1] < losses[0]
    assert not done.diverged
    assert all(row.gradient_norm > 0 and row.learning_rate > 0 for row in done.curve[1:])
    assert not np.array_equal(before, arm.forecast(asked).point)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["t5", "bolt", "chronos2"])
def test_fit_depends_on_its_seed_alone(series, tiny, kind):
    """Fitting again starts from the pretrained weights; the global generators are put back."""
    arm = arm_on(tiny[kind], kind)
    context, asked = windows_of(series, arm)
    random.seed(5)
    before, found = states(), []

    for seed in (1, 2, 1):
        arm.fit(context, seed=seed)
        found.append(arm.forecast(asked).point)

    after = states()
    assert np.array_equal(found[0], found[2])
    assert not np.array_equal(found[0], found[1])
    assert before[:2] == after[:2]
    assert torch.equal(before[2], after[2])


def test_training_that_does_not_help_changes_nothing(series, tiny):
    """Where no look finds an improvement, the pretrained weights are kept."""
    arm = arm_on(tiny["bolt"], "bolt", finetune=FAST | {"lr": 30.0, "patience": 1})
    context, asked = windows_of(series, arm)
    before = arm.forecast(asked).point

    done = arm.fit(context, seed=1)

    assert done.best_epoch == 0
    assert np.array_equal(before, arm.forecast(asked).point)


def test_patience_ends_fine_tuning(series, tiny):
    """It stops after so many looks without improvement."""
    arm = arm_on(tiny["bolt"], "bolt", finetune=FAST | {"lr": 30.0, "steps": 40, "patience": 2})
    context, _ = windows_of(series, arm)

    assert len(arm.fit(context, seed=1).curve) == 3


def test_history_too_short_to_learn_from_is_refused(series, tiny):
    """The message says how many windows there are."""
    arm = arm_on(tiny["bolt"], "bolt")
    context, _ = windows_of(series, arm)
    short = dataclasses.replace(
        context, target=context.target[:84], dates=context.dates[:84], past=context.past[:84]
    )

    with pytest.raises(ValueError, match="holds 0 training"):
        arm.fit(short, seed=1)


def test_zero_shot_arm_does_not_learn():
    """Only an arm that was told to has a fit."""
    assert not isinstance(HFBayesianAutoformer(), Learns)
    assert isinstance(HFBayesianAutoformer(conformal=True), Learns)


def test_calibration_alone_has_one_seed():
    """It draws nothing at its fit; fine-tuning does, and so does a backbone of sample paths."""
    assert not seeded(HFBayesianAutoformer(conformal=True))
    assert seeded(HFBayesianAutoformer(conformal=True, finetune=FAST))
    assert seeded(HFBayesianAutoformer(conformal=True, samples=200))


def test_nightly_holds_the_zero_shot_arm_against_what_learning_adds():
    """Calibrated and fine-tuned it is an arm of its own, alike in everything else."""
    found = {arm.name: dict(arm.options) for arm in read_experiment("nightly").arms}
    plain = found["HFBayesianAutoformer"]

    assert found["HFBayesianAutoformer-conformal"] == plain | {"conformal": True}
    learning = found["HFBayesianAutoformer-finetuned"]
    assert learning == plain | {"finetune": learning["finetune"]}
    assert learning["finetune"]["steps"] <= 100


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"finetune": FAST}, {"conformal": True, "finetune": None}])
def test_fit_never_reads_past_its_origin(series, tiny, options):
    """Through the harness: later values move no forecast made up to them."""
    plan = dataclasses.replace(PLAN, refit=3)
    windows = plan.over(series.dates)
    cut = int(windows.origin[3])
    target = series.target.copy()
    target[cut:] *= np.random.default_rng(0).uniform(0.2, 5.0, len(target) - cut)
    found = []
    for each in (series, dataclasses.replace(series, target=target)):
        ref = ArmRef(
            name="x",
            use=USE,
            role="candidate",
            options={"model": tiny["bolt"], "context": 64, **options},
        )
        job = Job(
            ref=ref,
            seed=3,
            plan=plan,
            series=up_to(each, int(windows.origin[-1])),
            windows=windows,
            threads=1,
            batch=256,
        )
        outcome = carry_out(job)
        assert outcome.reason == [""] * 6
        found.append(outcome.values)

    assert np.array_equal(found[0][:4], found[1][:4])
    assert not np.array_equal(found[0][4:], found[1][4:])


def test_calibration_covers_and_keeps_the_point(made_series, tiny):
    """Intervals of a random network, far too wide, cover what they say afterwards."""
    series = made_series(1600)
    plan = RollingOrigin(horizon=6, stride=3, origins=120, validation=500)
    origins = plan.over(series.dates).origin
    asked = contexts_at(series, origins, plan=plan, length=64, levels=LEVELS)
    truth = series.target[origins[:, None] + np.arange(6)]
    plain = HFBayesianAutoformer(model=tiny["bolt"], context=64)
    calibrated = HFBayesianAutoformer(model=tiny["bolt"], context=64, conformal=True)
    done = calibrated.fit(context_at(series, int(origins[0]), plan=plan), seed=1)

    def covered(forecast):
        bounds = forecast.at(LEVELS)[..., [3, -4]]
        return float(((bounds[..., 0] <= truth) & (truth <= bounds[..., 1])).mean())

    before, after = plain.forecast(asked), calibrated.forecast(asked)
    assert done.curve == ()
    assert np.array_equal(before.point, after.point)
    assert abs(covered(after) - 0.8) < 0.1 < abs(covered(before) - 0.8)
    assert (np.diff(after.quantiles, axis=-1) >= 0).all()
