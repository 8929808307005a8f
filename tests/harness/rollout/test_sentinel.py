"""The sentinel: its parts against plain loops, what NaN does, and what it finds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.rollout.sentinel import (
    LEAST_STRETCH,
    NIGHTS,
    SLACK,
    STEPS,
    Sentinel,
    calibrated,
    harm_beyond,
)
from harness.window import Array


def watch(**changes: float) -> Sentinel:
    """A sentinel with chosen numbers."""
    found = {"cap": 10.0, "jump": 1e9, "boundary": 1.0} | changes
    return Sentinel(**found, paths=np.zeros((1, NIGHTS)))


def stretch_of(mean: float, *, sd: float = 0.2, nights: int = 250) -> Array:
    """Nights of independent noise around a mean."""
    return mean + sd * np.random.default_rng(3).standard_normal(nights)


def calm(mean: float = 0.0) -> Sentinel:
    """A sentinel calibrated on such nights."""
    return calibrated(stretch_of(mean), streams=1, generator=np.random.default_rng(5))


@pytest.mark.parametrize("gap", [0, 3])
def test_harm_is_in_units_of_what_was_known_when_the_forecast_was_issued(gap: int) -> None:
    """The usual loss of a night is the decayed mean of origins all of whose steps had come."""
    rng = np.random.default_rng(0)
    candidate, legacy = rng.gamma(2, 1, 30), rng.gamma(2, 1, 30)
    expected = np.full(30, math.nan)
    for night in range(STEPS + gap, 30):
        known = legacy[: night - STEPS - gap + 1]
        weights = 0.5 ** (np.arange(len(known))[::-1] / 10)
        usual = float(weights @ known / weights.sum())
        expected[night] = (candidate[night] - 1.05 * legacy[night]) / usual

    actual = harm_beyond(candidate, legacy, limit=0.05, gap=gap)

    assert np.allclose(actual, expected, equal_nan=True, rtol=1e-12)


def test_later_losses_change_no_earlier_night() -> None:
    """No night's harm depends on a loss that came later."""
    rng = np.random.default_rng(1)
    candidate, legacy = rng.gamma(2, 1, 40), rng.gamma(2, 1, 40)
    whole = harm_beyond(candidate, legacy, limit=0.05)

    part = harm_beyond(candidate[:25], legacy[:25], limit=0.05)

    assert np.array_equal(whole[:25], part, equal_nan=True)


def test_a_night_without_a_candidate_loss_is_harm_without_limit() -> None:
    """NaN never helps: what the candidate failed counts as the cap, whatever the legacy did."""
    candidate, legacy = np.ones(20), np.ones(20)
    candidate[10] = math.nan
    candidate[12], legacy[12] = math.nan, math.nan

    harm = harm_beyond(candidate, legacy, limit=0.0)

    assert harm[10] == harm[12] == math.inf
    assert watch(cap=0.3).sums(harm)[12] == pytest.approx(2 * 0.3 - 2 * SLACK - SLACK)


def test_a_night_without_a_legacy_loss_leaves_the_sum_as_it_is() -> None:
    """Where nothing can be compared, nothing is forgotten and nothing added."""
    harm = np.array([math.nan, 0.5, math.nan, math.nan, 0.5])

    sums = watch().sums(harm)

    assert sums == pytest.approx([0, 0.45, 0.45, 0.45, 0.9])


def test_a_legacy_that_erred_in_nothing_makes_any_loss_harm() -> None:
    """Where the legacy's usual loss is 0, the same loss is no harm and more is unlimited harm."""
    candidate, legacy = np.zeros(12), np.zeros(12)
    candidate[11] = 0.1

    harm = harm_beyond(candidate, legacy, limit=0.05)

    assert harm[10] == 0
    assert harm[11] == math.inf


def test_the_sum_is_a_capped_cusum_with_growing_noise() -> None:
    """Sums equal a plain loop over the formulas of the specification."""
    harm = np.random.default_rng(2).standard_normal(120)
    found = watch(cap=0.8, jump=0.5)
    capped, total, expected = np.minimum(harm, 0.8), 0.0, []
    for night in range(120):
        squares = [(capped[u] - capped[u - 5]) ** 2 for u in range(5, night + 1)][-80:]
        ratio = float(np.mean(squares)) / 0.5 if squares else 0.0
        noise = math.sqrt(max(1.0, (10 + len(squares) * ratio) / (10 + len(squares))))
        total = max(0.0, total + capped[night] / noise - 0.05)
        expected.append(total)

    assert found.sums(harm) == pytest.approx(expected)


def test_the_stretch_lends_its_spread_and_never_its_mean() -> None:
    """Whatever the candidate's mean in the stretch, the same cap and the same boundary come out."""
    usual, better, worse = calm(), calm(-0.5), calm(0.5)

    assert better.boundary == pytest.approx(usual.boundary)
    assert worse.cap == pytest.approx(usual.cap) == pytest.approx(better.cap)


def test_a_candidate_that_was_much_better_is_found_when_it_breaks() -> None:
    """A stretch in which the candidate was 40 % better does not blind the watch to a break."""
    found = calm(-0.45)

    assert found.crossed(stretch_of(0.25, nights=100)) is not None


def test_one_terrible_night_does_not_set_it_off() -> None:
    """Harm is capped: a single night, and one session that five nights share, stay below."""
    harm = np.full(100, -0.05)
    harm[50:55] = 1e6

    assert calm().crossed(harm) is None


def test_sides_that_never_differed_leave_a_watch_that_works() -> None:
    """Without any spread the watch bears one bad session and finds what goes on."""
    found = calibrated(np.zeros(250), streams=1, generator=np.random.default_rng(0))
    burst, harm = np.full(60, -0.05), np.full(60, 0.25)
    burst[20:25] = 5.0

    assert found.crossed(burst) is None
    assert found.crossed(harm) is not None


@pytest.mark.parametrize("spread", [0.0, 1e-12, 1e-3])
def test_a_quiet_stretch_does_not_make_harm_count_as_noise(spread: float) -> None:
    """Sides that hardly differed, and then a harm that varies from night to night: it is found."""
    rng = np.random.default_rng(1)
    found = calibrated(spread * rng.standard_normal(250), streams=2, generator=rng)
    harm = 0.25 + 0.3 * rng.standard_normal(60)

    night = found.crossed(harm)
    assert night is not None
    assert night < 30


def test_more_series_share_the_error_rate() -> None:
    """With four series each has a higher boundary than one alone."""
    nights = stretch_of(0.0)
    one, four = (
        calibrated(nights, streams=streams, generator=np.random.default_rng(5)).boundary
        for streams in (1, 4)
    )

    assert four > one


def test_larger_harm_is_found_earlier() -> None:
    """The night by which harm is found falls with the harm, and without harm it is never."""
    found = calm()
    nights = [found.found_by(harm) for harm in (0.1, 0.25, 0.6)]

    assert None not in nights
    assert nights == sorted(nights, reverse=True)
    assert found.found_by(0.0) is None


def test_the_promised_night_is_kept() -> None:
    """What is printed as found in 8 of 10 is found in at least 7 of 10 independent streams."""
    found = calm()
    promised = found.found_by(0.25)
    assert promised is not None
    streams = 0.25 + 0.2 * np.random.default_rng(9).standard_normal((200, NIGHTS))
    nights = [found.crossed(np.minimum(each, 9.0)) for each in streams]

    assert np.mean([n is not None and n < promised for n in nights]) >= 0.7


def test_too_short_a_stretch_is_refused() -> None:
    """Nights that cannot be told do not count towards the 120 that are needed."""
    nights = stretch_of(0.0, nights=LEAST_STRETCH)
    nights[0] = math.nan

    with pytest.raises(ValueError, match="119 nights: expected 120"):
        calibrated(nights, streams=1, generator=np.random.default_rng(0))
