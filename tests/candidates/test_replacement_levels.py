"""Quantiles at other levels, spread, labels; stretching of intervals; what fine-tuning may see."""

import dataclasses
from statistics import NormalDist

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from candidates.replacement.finetune import FineTuning, Spans
from candidates.replacement.levels import (
    beyond,
    draws_for,
    node_levels,
    pinball,
    read_at,
    spread,
    stretched,
    stretches,
)
from harness.forecast import LEVELS, quantiles_at

OWN = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def normal(levels, mean=3.0, sd=2.0):
    return torch.tensor([NormalDist(mean, sd).inv_cdf(level) for level in levels])


def test_tails_follow_the_outer_quantiles():
    """Levels beyond the backbone's go on in a straight line over normal scores: exact for one."""
    wanted = (0.005, 0.025, 0.5, 0.975, 0.995)

    found = read_at(normal(OWN), OWN, wanted)

    assert torch.allclose(found, normal(wanted), atol=1e-4)
    assert beyond(OWN, wanted) == (0.005, 0.025, 0.975, 0.995)


@settings(deadline=None, max_examples=50)
@given(arrays(np.float64, 9, elements=st.floats(-1e3, 1e3)))
def test_levels_are_read_as_the_harness_reads_them(values):
    """One rule on both sides; and quantiles that cross come out in order."""
    wanted = (0.01, 0.15, 0.5, 0.95, 0.99)

    found = read_at(torch.tensor(values), OWN, wanted).numpy()

    there = quantiles_at(np.sort(values), np.array(OWN), np.array(wanted))
    assert np.allclose(found, there, atol=1e-6)
    assert (np.diff(found) >= 0).all()


def test_wanted_levels_may_come_in_any_order():
    """Each level gets its own quantile."""
    found = read_at(normal(OWN), OWN, (0.9, 0.1, 0.5))

    assert torch.allclose(found, normal((0.9, 0.1, 0.5)), atol=1e-5)


def test_spread_is_the_standard_deviation():
    """Exact for a normal distribution, near for a uniform one, 0 with gradient 0 for a point."""
    levels = node_levels()[0]
    uniform = torch.tensor(levels, dtype=torch.float64)
    point = torch.full((len(levels),), 5.0, requires_grad=True)

    spread(point).backward()

    assert float(spread(normal(levels))) == pytest.approx(2.0, rel=1e-3)
    assert float(spread(uniform)) == pytest.approx(12**-0.5, rel=0.01)
    assert point.grad is not None
    assert point.grad.abs().max() == 0.0


def test_draws_follow_the_outermost_level():
    """Two draws are expected beyond it."""
    assert draws_for((0.1, 0.5)) == 20
    assert draws_for((0.005, 0.995)) == 400
    assert draws_for((0.5,)) == 4
    assert draws_for((1e-9, 0.5, 0.01)) == 200


def test_pinball_leaves_missing_truths_out():
    """Against the definition, with a gap."""
    quantiles, truth = torch.tensor([[1.0, 2.0], [5.0, 6.0]]), torch.tensor([1.5, torch.nan])

    assert float(pinball(quantiles, truth, (0.25, 0.75))) == pytest.approx(0.125)


def forecasts(rng, windows, steps, *, sd):
    """Quantiles [n, H, Q] of normal forecasts of spread `sd` around truths of spread 1."""
    scale = rng.uniform(0.5, 2.0, (windows, steps, 1))
    scores = np.array([NormalDist().inv_cdf(level) for level in LEVELS])
    return sd * scale * scores, scale[..., 0] * rng.standard_normal((windows, steps))


@pytest.mark.parametrize("sd", [0.5, 1.0, 2.0])
def test_stretching_makes_intervals_cover(sd):
    """Intervals half or twice as wide as they should be cover on new windows what they say."""
    rng = np.random.default_rng(0)
    quantiles, truth = forecasts(rng, 200, 10, sd=sd)
    by = stretches(quantiles, truth, LEVELS)

    fresh, later = forecasts(rng, 2000, 10, sd=sd)
    found = stretched(fresh, LEVELS, by)

    for low, share in ((1, 0.95), (3, 0.8), (6, 0.5)):
        inside = (found[..., low] <= later) & (later <= found[..., -1 - low])
        assert inside.mean() == pytest.approx(share, abs=0.02)
    assert np.allclose(by[[1, 3, 6]], 1.0 / sd, rtol=0.1)
    assert (np.diff(found, axis=-1) >= 0).all()
    assert np.array_equal(found[..., 11], fresh[..., 11])


def test_stretch_takes_the_finite_sample_rank():
    """Nine windows at 80 %: (n + 1) * 0.8 = the eighth smallest miss."""
    levels = np.array([0.1, 0.5, 0.9])
    quantiles = np.tile([-1.0, 0.0, 1.0], (9, 1, 1))
    truth = np.array([1.0, -2.0, 3.0, -4.0, 5.0, -6.0, 7.0, -8.0, 9.0])[:, None]

    assert stretches(quantiles, truth, levels).tolist() == [8.0, 1.0, 8.0]


def test_coverage_is_guaranteed_over_calibrations():
    """Over many calibrations on 19 exchangeable windows: the mean coverage is 16 in 20, exactly."""
    rng = np.random.default_rng(1)
    levels, covered = np.array([0.1, 0.5, 0.9]), []
    for _ in range(3000):
        quantiles = np.tile([-1.0, 0.0, 1.0], (20, 1, 1))
        by = stretches(quantiles[:19], rng.standard_normal((19, 1)), levels)
        found = stretched(quantiles[:1], levels, by)[0, 0]
        covered.append(NormalDist().cdf(found[2]) - NormalDist().cdf(found[0]))

    assert np.mean(covered) == pytest.approx(16 / 20, abs=0.006)


def test_stretch_bears_points_and_gaps():
    """A point forecast that hits misses nothing; missing truths are left out."""
    levels = np.array([0.1, 0.5, 0.9])
    quantiles = np.zeros((4, 2, 3))
    truth = np.array([[0.0, np.nan], [0.0, 0.0], [0.0, 0.0], [np.nan, np.nan]])

    assert stretches(quantiles, truth, levels).tolist() == [0.0, 1.0, 0.0]
    with pytest.raises(ValueError, match="finite truth"):
        stretches(quantiles, truth * np.nan, levels)


@settings(deadline=None)
@given(st.integers(30, 800), st.integers(5, 300), st.integers(1, 40))
def test_spans_keep_training_out_of_the_validation(sessions, validation, horizon):
    """No training truth lies in the validation span, no validation truth in the training span."""
    try:
        spans = Spans.of(sessions, validation, horizon)
    except ValueError:
        return
    cut = sessions - validation

    assert spans.train.max() + horizon <= cut
    assert spans.validation.min() >= cut
    assert spans.validation.max() + horizon <= sessions
    assert spans.train.min() >= 1


def test_fine_tuning_table_has_defaults():
    """An empty table is the defaults; wrong keys are named."""
    assert dataclasses.asdict(FineTuning.of({}))["steps"] == 200
    with pytest.raises(ValueError, match="known are steps, lr"):
        FineTuning.of({"epochs": 3})
    with pytest.raises(ValueError, match=r"finetune\.steps = 0"):
        FineTuning.of({"steps": 0})
