"""How many origins are won: shares, ties, failures, seeds, and how often it goes wrong."""

import dataclasses
import math

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.special import ndtri

from harness.evidence.comparison import answer
from harness.evidence.estimand import MeanLoss, Wins
from harness.evidence.estimates import Question
from harness.evidence.pairing import Pair, lost
from harness.evidence.prospects import comparison_of, prospects_of
from harness.stats.statistical_power import Plan, Spread, detectable
from reports.words.reason_words import why

ASK = Question(estimand=Wins(metric="crps"), bound_high=0.05)


def pair_of(new: np.ndarray, old: np.ndarray, *, overlap: int = 1) -> Pair:
    """Losses [S, W] of both sides side by side."""
    count = new.shape[1]
    origin = 500 + 4 * np.arange(count, dtype=np.int64)
    return Pair(
        candidate=new,
        legacy=old,
        origin=origin,
        origin_date=np.datetime64("2010-01-04", "D") + origin,
        reach=4 * overlap,
        names=("new", "old", "X"),
        candidate_ok=np.isfinite(new),
        legacy_ok=np.isfinite(old),
    )


def sums_of(shape: tuple[int, int], overlap: int, rho: float, draw: np.random.Generator):
    """Sums over the overlap of a first-order autoregression, [R, n], of variance about 1."""
    noise = draw.normal(size=(shape[0], shape[1] + overlap + 99))
    levels = np.cumsum(lfilter([math.sqrt(1 - rho**2)], [1, -rho], noise, axis=1)[:, 99:], axis=1)
    return (levels[:, overlap:] - levels[:, :-overlap]) / overlap


def test_effect_is_the_share_lost_less_one_half() -> None:
    """Lower on 45 of 60 origins is a quarter more wins than losses, whatever the sizes are."""
    old = np.ones((1, 60))
    new = np.where(np.arange(60) % 4 == 0, 100.0, 0.99)[None]

    found = comparison_of(pair_of(new, old), ASK)

    assert found.effect.value == pytest.approx(-0.25)
    assert (found.effect.candidate, found.effect.legacy) == (0.25, 0.75)
    assert found.conclusion == "within"
    assert (
        comparison_of(
            pair_of(new, old), dataclasses.replace(ASK, estimand=MeanLoss(metric="crps"))
        ).effect.value
        > 20
    )


def test_the_same_loss_counts_half() -> None:
    """A tie on an origin is half a win; identical arms lose nothing and gain nothing."""
    old = np.random.default_rng(1).uniform(1, 2, size=(2, 60))
    half = old.copy()
    half[:, ::2] -= 0.5

    some = comparison_of(pair_of(half[:1], old[:1]), ASK)
    same = comparison_of(pair_of(old[:1], old[:1]), ASK)

    assert some.effect.value == pytest.approx(-0.25)
    assert (same.effect.value, same.conclusion) == (0.0, "within")
    assert comparison_of(pair_of(old[:1], old[:1]), dataclasses.replace(ASK, bound_high=0.0)).reason


def test_a_failed_window_is_lost_by_the_candidate_and_never_by_legacy() -> None:
    """NaN of the candidate is a loss of the candidate, NaN of legacy no gain of its own."""
    old, new = np.ones((1, 40)), np.full((1, 40), 0.9)
    new[0, :10], old[0, 10:15] = np.nan, np.nan

    found = comparison_of(pair_of(new, old), ASK)

    assert found.effect.candidate == 15 / 40
    assert (found.failed.candidate, found.failed.legacy) == (10, 5)


def test_nothing_but_failures_has_no_share() -> None:
    """Where nobody gave a number, nobody won."""
    none = np.full((1, 40), np.nan)

    found = comparison_of(pair_of(none, none), ASK)

    assert found.conclusion == "undecided"
    assert why(found.reason).endswith("have no number")


def test_swapping_the_arms_mirrors_the_share() -> None:
    """What one side wins the other loses, bounds included."""
    draw = np.random.default_rng(2)
    new, old = draw.normal(size=(3, 80)) - 0.3, draw.normal(size=(2, 80))
    ask = dataclasses.replace(ASK, bound_high=0.0)

    there, back = answer(pair_of(new, old), ask), answer(pair_of(old, new), ask)

    assert there.effect.value == pytest.approx(-back.effect.value)
    for method in ("hac", "bootstrap"):
        assert there.estimate(method).upper == pytest.approx(-back.estimate(method).lower, abs=0.01)


def test_every_seed_meets_every_seed() -> None:
    """Shares are those over all pairs of seeds, and both sides' add to 1."""
    draw = np.random.default_rng(3)
    new, old = draw.integers(0, 3, size=(2, 3, 50)).astype(float)

    made = lost(pair_of(new, old[:2]))

    pairs = [(a > b) + (a == b) / 2 for a in new for b in old[:2]]
    assert made.candidate.mean(axis=0) == pytest.approx(np.mean(pairs, axis=0))
    assert made.candidate.mean() + made.legacy.mean() == pytest.approx(1)


@pytest.mark.parametrize("side", ["candidate", "legacy"])
def test_seeds_of_either_side_are_a_source_of_error(side: str) -> None:
    """Where seeds differ by more than the effect, seeds and not origins leave it open."""
    draw = np.random.default_rng(4)
    base = draw.normal(size=(1, 400))
    apart = np.array([-1.0, 0.3, 0.7])[:, None] + draw.normal(size=(3, 400)) / 2
    sides = (base + apart - 0.4, base) if side == "candidate" else (base - 0.4, base + apart)

    found = comparison_of(pair_of(*sides), ASK)

    share = getattr(found.variances, f"{side}_seeds")
    assert found.estimate("hac").conclusion == "within"
    assert found.estimate("seeds").conclusion == "undecided"
    assert found.conclusion == "undecided"
    assert share > 10 * found.variances.origins
    assert found.effect.seed_high - found.effect.seed_low > 0.2
    assert found.effect.seed_low < found.effect.value < found.effect.seed_high


@pytest.mark.slow
@pytest.mark.parametrize(("overlap", "rho", "n"), [(1, 0.4, 60), (3, 0.0, 120)])
def test_wrong_conclusions_at_the_bound_are_few(overlap: int, rho: float, n: int) -> None:
    """Two sides as good as each other: each way at most 8 % of draws go wrong; 5 % are meant."""
    draw = np.random.default_rng(5)
    new, old = (sums_of((400, n), overlap, rho, draw) for _ in range(2))
    ask = dataclasses.replace(ASK, bound_high=0.0)

    said = [
        answer(pair_of(a[None], b[None], overlap=overlap), ask).conclusion
        for a, b in zip(new, old, strict=True)
    ]

    assert max(said.count("within"), said.count("beyond")) / 400 <= 0.08
    assert min(said.count("within"), said.count("beyond")) / 400 >= 0.015


@pytest.mark.slow
def test_power_of_wins_is_as_predicted() -> None:
    """A share as far from its bound as is detectable is shown in about four of five draws."""
    draw, count = np.random.default_rng(6), 300
    far = detectable(Spread(long_run=0.24, share=0.4), Plan(n=120), alpha=0.05, power=0.8)
    assert far is not None
    new = draw.normal(size=(count, 1, 120)) + math.sqrt(2) * ndtri(0.4)
    old = draw.normal(size=(count, 1, 120))

    found = [
        answer(pair_of(*each), dataclasses.replace(ASK, bound_high=far - 0.1)).conclusion
        for each in zip(new, old, strict=True)
    ]

    assert found.count("within") / count == pytest.approx(0.8, abs=0.05 + 2 * 0.023)


def test_spread_of_wins_holds_their_share() -> None:
    """Planning from a comparison of wins takes the variance of a share at the one found."""
    draw = np.random.default_rng(7)

    found = comparison_of(pair_of(*draw.normal(size=(2, 1, 400))), ASK)

    ahead = prospects_of(found)
    assert ahead is not None
    spread = ahead.spread
    assert spread.share == found.effect.candidate
    assert spread.long_run == pytest.approx(0.25, rel=0.3)
    assert (spread.level, spread.along) == (0.0, 0.0)
    assert 0 < (found.planning.detectable or 0) < 0.1
