"""The model confidence set against arch, with ties, holes and a known best arm."""

import warnings

import numpy as np
import pytest

from harness.stats.confidence_set import confidence_set, eliminate, standardised
from harness.stats.longrun import block_starts


def losses_of(count: int = 120, *, arms: int = 4, gap: float = 0.2, seed: int = 0) -> np.ndarray:
    """Losses [K, n]; every arm is `gap` worse than the one before it."""
    draw = np.random.default_rng(seed)
    return 1 + gap * np.arange(arms)[:, None] + 0.5 * draw.normal(size=(arms, count))


def set_of(losses: np.ndarray, **options: float) -> object:
    """The confidence set of arms a, b, c, ..."""
    named = {chr(97 + index): each for index, each in enumerate(losses)}
    given = {"dataset": "X", "metric": "crps", "overlap": 1, "alpha": 0.05} | options
    return confidence_set(named, **given)


@pytest.mark.parametrize("block", [1, 5, 12])
@pytest.mark.parametrize("gap", [0.0, 0.1])
def test_elimination_is_that_of_arch(block: int, gap: float) -> None:
    """With the same resamples the p-values are those of arch's range statistic."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the other library's imports, not ours
        from arch.bootstrap import MCS
    losses = losses_of(gap=gap, seed=block)
    theirs = MCS(
        losses.T,
        0.05,
        reps=300,
        block_size=block,
        bootstrap="circular",
        seed=np.random.default_rng(5),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.compute()
        wanted = theirs.pvalues["Pvalue"].sort_index().to_numpy()
    starts = block_starts(losses.shape[1], block, 300, np.random.default_rng(5))

    found = eliminate(*standardised(losses, block, starts))

    assert np.allclose(wanted, found, atol=1e-12)


def test_the_best_arm_stays_and_bad_ones_leave() -> None:
    """An arm much worse than the best leaves the set; the best one stays first."""
    found = set_of(losses_of(gap=0.5))

    assert found.kept == ("a",)
    assert found.members[0].p_value == 1.0
    assert [each.arm for each in found.members] == ["a", "b", "c", "d"]


def test_identical_arms_tie_and_stand_together() -> None:
    """Arms with the same losses are one arm to the test, and never an error."""
    losses = losses_of(gap=0.5)

    found = set_of(np.stack([losses[0], losses[0], losses[3]]))

    assert found.kept == ("a", "b")
    assert (found.members[1].standing, found.members[1].beside) == ("ties", "a")
    assert set_of(np.stack([losses[0]] * 3)).kept == ("a", "b", "c")


def test_a_constant_difference_is_certain() -> None:
    """An arm that loses by the same amount each time leaves, without a division by zero."""
    losses = losses_of(arms=1)[0]

    assert set_of(np.stack([losses, losses + 0.01])).kept == ("a",)


def test_an_arm_with_holes_is_named_and_not_judged() -> None:
    """Missing losses never put an arm in the set, and never take another out."""
    losses = losses_of(gap=0.0)
    losses[0, 3:5] = np.nan

    found = set_of(losses)

    hole = next(each for each in found.members if each.arm == "a")
    assert not hole.kept
    assert (hole.standing, hole.number) == ("no_number", 2)
    assert "a" not in found.kept


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_origins_keep_every_arm(count: int) -> None:
    """Where nothing can be told, nobody leaves."""
    assert set(set_of(losses_of(count)).kept) == {"a", "b", "c", "d"}


def test_the_same_losses_give_the_same_set() -> None:
    """Resamples are seeded by the losses: the same input gives the same bits."""
    losses = dict(zip("abcd", losses_of(gap=0.1), strict=True))
    options = {"dataset": "X", "metric": "crps", "overlap": 2, "alpha": 0.1}

    one = confidence_set(losses, **options)
    other = confidence_set(dict(losses), **options)

    assert one == other


def test_equal_arms_are_seldom_told_apart() -> None:
    """At 5 %, five equal arms of 60 origins lose one in at most 10 % of draws."""
    lost = 0
    for seed in range(200):
        losses = losses_of(60, arms=5, gap=0.0, seed=seed)
        lost += len(set_of(losses).kept) < 5

    assert lost / 200 <= 0.10


def wandering(count: int, seed: int) -> np.ndarray:
    """Losses [n] whose level wanders: they ask for the longest lag there is."""
    return np.abs(4 + np.cumsum(np.random.default_rng(seed).normal(size=count)))


def test_a_hopeless_arm_leaves_and_changes_nothing() -> None:
    """An arm with four times the loss leaves first, is named, and the others are as without it."""
    losses = losses_of(48, arms=3, gap=0.0)
    bad = 4 * losses[0] + 0.1 * np.sin(np.arange(48) / 8)
    plain, among = set_of(losses), set_of(np.stack([*losses, bad]))

    left = next(each for each in among.members if each.arm == "d")
    assert (left.kept, left.standing, left.beside in "abc") == (False, "hopeless", True)
    assert left.number == pytest.approx(4, rel=0.2)
    assert among.kept == plain.kept
    assert among.block == plain.block


def test_no_arm_has_the_lag_of_another() -> None:
    """Equal arms stay beside one that wanders, and no block is longer than half of the sample."""
    kept = 0
    for seed in range(20):
        losses = losses_of(48, arms=3, gap=0.0, seed=seed)
        found = set_of(np.stack([*losses, wandering(48, seed)]))
        kept += {"a", "b", "c"} <= set(found.kept)
        assert found.block <= 24

    assert kept >= 17


def test_a_pair_of_roundings_ties() -> None:
    """Arms apart by less than a billionth of their loss are one arm to the test."""
    losses = losses_of(gap=0.5)

    found = set_of(np.stack([losses[0], losses[0] * (1 + 1e-12), losses[3]]))

    assert found.kept == ("a", "b")
