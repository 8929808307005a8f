"""Seeds as a second source of error, and what stands when little things change."""

import numpy as np
import pytest

from harness.evidence.estimand import MeanLoss
from harness.evidence.estimates import (
    LagAndBlock,
    Question,
    agreed,
    block_of,
    by_bootstrap,
    deciding,
    least_influential,
    resampled_means,
    seed_variance,
    vary,
    with_seeds,
)
from harness.evidence.pairing import Sides
from harness.reasons import ReasonCode, reason
from harness.stats.bootstrap import block_law, lean_of, stretched
from harness.stats.longrun import block_starts, circular_means, mean_ratio

QUESTION = Question(estimand=MeanLoss(metric="crps"), bound_high=0.02)


def sides_of(
    *, seeds: int = 4, between: float = 0.05, effect: float = 0.0, seed: int = 0, n: int = 80
) -> Sides:
    """Losses of both sides whose seeds differ by a normal amount."""
    draw = np.random.default_rng(seed)
    level = 1 + 0.2 * draw.normal(size=n)

    def side(mean: float) -> np.ndarray:
        moved = between * draw.normal(size=(seeds, 1))
        return mean + level - 1 + moved + 0.05 * draw.normal(size=(seeds, n))

    return Sides(above=side(1 + effect), below=side(1.0), overlap=1)


def test_variance_of_the_mean_over_seeds() -> None:
    """The variance between the seeds' means, over their number; none for one seed."""
    losses = np.array([[1.0, 3.0], [2.0, 4.0], [6.0, 8.0]])

    assert seed_variance(losses) == pytest.approx(np.var([2, 3, 7], ddof=1) / 3)
    assert seed_variance(losses[:1]) == 0


def test_both_variances_add_up() -> None:
    """With a constant denominator the error is the root of both variances' sum."""
    sides = sides_of()
    ones = np.ones((1, 80))
    found = mean_ratio(sides.above.mean(axis=0), ones[0], 1)

    joint = with_seeds(found, sides.above, ones)

    origins = found.variance(found.excess) / 80 / found.law.factor**2
    assert joint.variance(found.excess) / 80 == pytest.approx(origins + seed_variance(sides.above))
    assert 3 <= joint.law.freedom <= found.law.freedom + 3


def test_without_seeds_nothing_changes() -> None:
    """One seed a side gives the bounds of the t test over origins."""
    sides = sides_of(seeds=1)
    found = mean_ratio(sides.above[0], sides.below[0], 1)

    assert with_seeds(found, sides.above, sides.below).bounds(0.05) == pytest.approx(
        found.bounds(0.05)
    )
    assert {each.method for each in deciding(sides, QUESTION)} == {"hac", "bootstrap"}


def test_resampled_seeds_have_the_variance_of_the_formula() -> None:
    """Drawn seeds and blocks vary by both variances, without bias even at two seeds."""
    for seeds in (2, 5):
        losses = sides_of(seeds=seeds, between=0.5).above
        draw = np.random.default_rng(1)
        starts = block_starts(80, 1, 40_000, draw)

        found = resampled_means(losses, starts, 1, draw)

        alone = circular_means(losses.mean(axis=0)[None], starts, 1)[0]
        assert found.var() - alone.var() == pytest.approx(seed_variance(losses), rel=0.05)


def test_seeds_that_differ_take_a_conclusion_away() -> None:
    """What the origins show and the seeds do not is undecided, and says so."""
    sides = sides_of(seeds=2, between=0.0, effect=-0.1)
    apart = np.array([[-0.1], [0.1]])
    sides = Sides(above=sides.above + apart, below=sides.below, overlap=1)

    estimates = deciding(sides, QUESTION)

    said = {each.method: each.conclusion for each in estimates}
    assert said["hac"] == said["bootstrap"] == "within"
    assert said["seeds"] == "undecided"
    conclusion, found = agreed(estimates)
    assert conclusion == "undecided"
    assert found == reason(ReasonCode.SEEDS_DISAGREE, said="within")


def test_seeds_that_agree_leave_it() -> None:
    """Seeds that hardly differ do not stand in the way of a conclusion."""
    estimates = deciding(sides_of(between=0.002, effect=-0.1), QUESTION)

    assert agreed(estimates) == ("within", None)
    assert len(estimates) == 4


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 5])
def test_level_is_kept_over_seeds(seeds: int) -> None:
    """With a true ratio at the bound few draws conclude, where origins alone would often."""
    question = Question(estimand=MeanLoss(metric="crps"), bound_high=0.0)
    joint = origins = 0
    for trial in range(250):
        sides = sides_of(seeds=seeds, between=0.1, seed=1000 + trial, n=40)
        estimates = deciding(sides, question)
        joint += agreed(estimates)[0] == "within"
        origins += estimates[0].conclusion == "within"

    assert joint / 250 <= 0.08
    assert origins / 250 > 0.2


def test_a_tie_has_no_seed_variance() -> None:
    """The same arm on both sides ties to the last bit, however its seeds differ."""
    losses = sides_of().above

    found = deciding(Sides(above=losses, below=losses.copy(), overlap=1), QUESTION)

    assert [(each.lower, each.upper) for each in found] == [(0, 0), (0, 0)]


def test_stretched_resamples_give_a_student_interval() -> None:
    """Normal resamples without lean get Student's quantiles over the factor."""
    from scipy.stats import norm, t

    drawn = norm.ppf((np.arange(4000) + 0.5) / 4000)
    law = block_law(100, 20)

    found = stretched(drawn, 0.0, law, 0.0)

    wanted = t.ppf(0.95, law.freedom) / law.factor
    assert np.quantile(found, 0.95) == pytest.approx(wanted, rel=0.01)
    assert np.all(np.diff(found) >= 0)


def test_lean_moves_the_bounds_the_way_losses_lean() -> None:
    """A long right tail moves both bounds to the right; noise moves nothing."""
    draw = np.random.default_rng(0)
    drawn = np.sort(draw.normal(size=4000))
    law = block_law(100, 1)
    skewed, even = draw.exponential(size=300), draw.normal(size=300)

    right = stretched(drawn, 0.0, law, lean_of(skewed, 1))
    none = stretched(drawn, 0.0, law, 0.0)

    assert np.all(np.quantile(right, [0.05, 0.95]) > np.quantile(none, [0.05, 0.95]))
    assert lean_of(skewed, 1) == pytest.approx(2 / np.sqrt(300), rel=0.4)
    assert lean_of(-skewed, 1) == -lean_of(skewed, 1)
    assert abs(lean_of(even, 1)) < 0.01
    assert lean_of(np.full(30, 3.0), 4) == 0


def test_block_is_at_least_the_reach_of_the_lag() -> None:
    """Blocks are no shorter than lag + 1 and no longer than half of the origins."""
    sides = sides_of()

    assert block_of(sides, 11) >= 12
    assert block_of(sides, 79) == 40


def test_bootstrap_mirrors_swapped_sides() -> None:
    """Inverse ratios have nearly inverse bounds: the lean is no favour to one side."""
    sides = sides_of(seeds=1)
    swapped = Sides(above=sides.below, below=sides.above, overlap=1)

    one, other = (by_bootstrap(each, 8, QUESTION) for each in (sides, swapped))

    assert (1 + (one.upper or 0)) * (1 + (other.lower or 0)) == pytest.approx(1, abs=0.01)


def test_most_influential_windows_are_left_out() -> None:
    """The 5 % of windows that pull hardest go, in either direction."""
    sides = sides_of(seeds=1, n=100)
    above = sides.above.copy()
    above[0, [7, 20]] += 9
    above[0, [50, 51, 99]] -= 9

    kept = least_influential(Sides(above=above, below=sides.below, overlap=1))

    assert sorted(set(range(100)) - set(kept.tolist())) == [7, 20, 50, 51, 99]


@pytest.mark.parametrize("n", [2, 3, 5, 12])
def test_few_origins_are_varied_without_an_error(n: int) -> None:
    """However few the origins, every variation has an answer and no block is all of them."""
    sides = sides_of(n=n)

    found = vary(
        sides,
        QUESTION,
        lengths=LagAndBlock(lag=n - 1, block=max(1, n // 2)),
        conclusion="undecided",
    )

    assert len(found.variations) == 3
    assert len(deciding(sides, QUESTION)) == 4


def test_a_conclusion_that_hangs_on_few_windows_is_named() -> None:
    """A gain made by three windows is gone without them; a steady one stays."""
    draw = np.random.default_rng(3)
    below = 1 + 0.05 * draw.normal(size=(1, 100))
    steady = Sides(above=0.9 * below, below=below, overlap=1)
    above = below + 0.02 * draw.normal(size=(1, 100))
    above[0, :5] -= 2.0
    few = Sides(above=above, below=below, overlap=1)

    firm = vary(steady, QUESTION, lengths=LagAndBlock(lag=5, block=6), conclusion="within")
    shaky = vary(
        few,
        Question(estimand=MeanLoss(metric="crps"), bound_high=-0.02),
        lengths=LagAndBlock(lag=5, block=6),
        conclusion="within",
    )

    assert firm.changed == ()
    assert [each.name for each in firm.variations] == [
        "without_influential",
        "half_lengths",
        "double_lengths",
    ]
    assert "without_influential" in shaky.changed
