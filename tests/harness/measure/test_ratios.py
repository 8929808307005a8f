"""Ratios of pairs: intervals that hold, percentiles that are supported, caches that are seen."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from harness.costs import Cost
from harness.errors import ConfigError
from harness.experiments.experiment import MeasureSettings
from harness.measure.ratios import (
    exact_ratio,
    least_count,
    paired_level,
    percentiles,
    ratio_of,
    repeats_are_faster,
)


def cost_of(ratio, criterion="latency"):
    """The cost a ratio makes."""
    return Cost(
        criterion=criterion, unit="s", baseline=1.0, candidate=ratio.value, ratio=ratio.value,
        low=ratio.low, high=ratio.high, log_se=ratio.log_se, df=ratio.df,
        noise_floor=ratio.noise_floor, n=ratio.n, valid=True,
    )  # fmt: skip


def processes(rng, sets, *, ratio=1.0, noise=0.01):
    """Log-normal figures of A, B and A'."""
    figures = np.exp(noise * rng.standard_normal((3, sets)))
    return figures[0], ratio * figures[1], figures[2]


@pytest.mark.parametrize("sets", [2, 3, 4])
def test_identical_arms_are_told_apart_rarely(sets):
    """At most 1 comparison in 20 of identical arms alarms."""
    rng = np.random.default_rng(1)

    alarms = [cost_of(ratio_of(*processes(rng, sets))).differs for _ in range(1000)]

    assert np.mean(alarms) <= 0.05


def test_a_planted_difference_is_found():
    """5 % is found in at least 9 of 10 sessions where processes differ by 1 %."""
    rng = np.random.default_rng(2)

    found = [cost_of(ratio_of(*processes(rng, 4, ratio=1.05))).differs for _ in range(500)]

    assert np.mean(found) >= 0.9


def test_the_interval_covers_the_true_ratio():
    """In at least 95 % of sessions, whether or not the candidate is the noisier one."""
    rng = np.random.default_rng(3)
    covered = []
    for _ in range(1000):
        ratio = ratio_of(*processes(rng, 4, ratio=1.3))
        covered.append(ratio.low <= 1.3 <= ratio.high)

    assert np.mean(covered) >= 0.95


def test_one_pair_has_a_ratio_and_no_interval():
    """Nothing is claimed about the spread of what was seen once."""
    ratio = ratio_of(np.array([2.0]), np.array([3.0]))

    assert ratio.value == pytest.approx(1.5)
    assert (ratio.low, ratio.high, ratio.log_se, ratio.noise_floor) == (None,) * 4
    assert cost_of(ratio).worst(0.05) is None


def test_counted_figures_have_no_spread():
    """Bytes and lines are exact, at every level."""
    cost = cost_of(exact_ratio(200.0, 50.0), "code_lines")

    assert cost.exact
    assert (cost.low, cost.ratio, cost.high) == (0.25, 0.25, 0.25)
    assert cost.worst(0.05) == pytest.approx(-0.75)


def test_bounds_say_worse_for_costs_and_rates_alike():
    """A slower candidate is worse by latency and by throughput."""
    rng = np.random.default_rng(4)
    seconds = processes(rng, 4, ratio=1.5)
    latency = cost_of(ratio_of(*seconds))
    rate = cost_of(ratio_of(*(1 / each for each in seconds)), "throughput")

    assert 0.4 < latency.best(0.05) < 0.5 < latency.worst(0.05) < 0.6
    assert 0.2 < rate.best(0.05) < 1 / 3 < rate.worst(0.05) < 0.4
    assert latency.worst(0.05) < latency.worst(0.01)


def test_what_moves_all_in_a_round_cancels():
    """A machine that slows down by half in the middle leaves the ratio alone."""
    weather = np.array([1.0, 1.0, 1.6, 2.0, 2.0])
    first, other = paired_level(weather, [1.1 * weather])

    assert other / first == pytest.approx(1.1)


@pytest.mark.parametrize(("share", "count"), [(0.5, 5), (0.9, 29), (0.99, 299)])
def test_percentiles_need_their_samples(share, count):
    """The counts that zero misses at 95 % confidence ask for."""
    assert least_count(share) == count


@pytest.mark.parametrize(
    ("count", "given"), [(4, []), (28, ["p50"]), (29, ["p50", "p90"]), (299, ["p50", "p90", "p99"])]
)
def test_unsupported_percentiles_are_left_out(count, given):
    """What the count does not support is None, never a number."""
    found = percentiles(np.linspace(1, 2, count).tolist())

    assert [name for name, value in dataclasses.asdict(found).items() if value is not None] == given


@pytest.mark.parametrize(("speed", "caught"), [(1.0, False), (0.97, False), (0.5, True)])
def test_repeated_inputs_must_not_be_faster(speed, caught):
    """A memory is seen through noise; warm processor caches are no memory."""
    rng = np.random.default_rng(5)
    fresh, again = np.exp(0.2 * rng.standard_normal((2, 64)))

    assert repeats_are_faster(fresh, speed * again)[0] is caught


def test_few_repeats_prove_nothing():
    """With five pairs no memory can be shown at 1 in 1000."""
    assert repeats_are_faster([1.0] * 5, [0.01] * 5) == (False, pytest.approx(0.01))


def test_a_cost_without_evidence_says_why():
    """No reason, no cost."""
    with pytest.raises(ValueError, match="needs a reason"):
        Cost(criterion="latency", unit="s")


@pytest.mark.parametrize(("key", "value"), [("sets", 1), ("rounds", 0), ("budget_s", -1.0)])
def test_settings_without_sense_are_refused(key, value):
    """The message names table and key."""
    with pytest.raises(ConfigError, match=rf"\[measure\] {key} = "):
        MeasureSettings(**{key: value})


def test_a_shown_gain_of_all_of_it_is_finite():
    """A candidate that is never fitted costs nothing of what the baseline does."""
    cost = cost_of(exact_ratio(60.0, 0.0), "fit_time")

    assert cost.worst(0.05) == -1.0
    assert math.isfinite(cost.worst(0.05))
