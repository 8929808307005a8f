"""Comparisons: pairing by key, mirrored effects, ties, failures, undecided."""

import dataclasses
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from scores_for_tests import table_of, with_truth

from harness.evidence.comparison import Comparison, Planning, answer
from harness.evidence.estimand import ESTIMANDS, Coverage
from harness.evidence.estimates import Question
from harness.evidence.pairing import PairingError, Sides, pair
from harness.evidence.prospects import comparison_of, prospects_of
from harness.judging.fact import FactCode, fact
from harness.judging.findings import Finding, Outcome
from harness.scoring.scores import UnitScores
from harness.stats.statistical_power import Plan, detectable
from reports.words.reason_words import why
from reports.words.sentences import sentence_of

METRICS = {"crps": "crps", "rmse": "squared_error", "mae": "absolute_error"}


def unit_of(
    losses: np.ndarray,
    *,
    arm: str = "new",
    seed: int = 1,
    stride: int = 4,
    metric: str = "crps",
    failed: tuple[int, ...] = (),
) -> UnitScores:
    """Scores with the given losses [W, H] by one metric, last close 100."""
    values = {metric: losses, "coverage_80": (losses < 2).astype(float)}
    role = "candidate" if arm == "new" else "legacy"
    return table_of(values, arm=arm, role=role, seed=seed, stride=stride, failed=failed)


def losses_of(seed: int = 0, count: int = 80, mean: float = 1.0) -> np.ndarray:
    """Positive losses [W, 4]."""
    return mean * np.random.default_rng(seed).gamma(4, 0.25, size=(count, 4))


def ask(metric: str = "crps", margin: float = 0.02, **options: float) -> Question:
    """A guardrail's question."""
    return Question(estimand=ESTIMANDS[metric], bound_high=margin, **options)


def compared(new: np.ndarray, old: np.ndarray, question: Question | None = None) -> Comparison:
    """Compare losses [W, 4] by CRPS."""
    return comparison_of(pair([unit_of(new)], [unit_of(old, arm="old")], "crps"), question or ask())


def concluded(new: np.ndarray, old: np.ndarray) -> Comparison:
    """The same without what decides nothing: variations and planning."""
    return answer(pair([unit_of(new)], [unit_of(old, arm="old")], "crps"), ask())


@pytest.mark.slow
@given(st.integers(0, 200))
@settings(max_examples=25)
def test_swapping_the_arms_mirrors_the_effect(seed: int) -> None:
    """Swapped sides give the inverse ratio, mirrored bounds and the opposite test statistic."""
    new, old = losses_of(seed), losses_of(seed + 1)

    one, other = compared(new, old), compared(old, new)

    assert one.effect.value is not None
    assert other.effect.value is not None
    assert (1 + one.effect.value) * (1 + other.effect.value) == pytest.approx(1)
    assert one.equality.statistic == pytest.approx(-other.equality.statistic)
    assert math.copysign(1, one.effect.value) == -math.copysign(1, other.effect.value)


def test_case_13_identical_arms_tie() -> None:
    """Two arms with the same losses differ by exactly 0, with certainty, by both methods."""
    losses = losses_of()

    found = compared(losses, losses.copy())

    assert found.effect.value == 0
    for each in found.estimates:
        assert (each.low, each.high, each.conclusion) == (0, 0, "within")
    assert found.conclusion == "within"
    assert found.equality is None


def test_identical_arms_never_show_a_gain() -> None:
    """A tie is no success, even when any gain above 0 would do."""
    losses = losses_of()

    assert compared(losses, losses.copy(), ask(margin=-0.0)).conclusion == "undecided"


@pytest.mark.parametrize(
    ("factor", "wanted"), [(0.7, "within"), (1.5, "beyond"), (1.02, "undecided")]
)
def test_conclusions_follow_the_truth(factor: float, wanted: str) -> None:
    """Clearly better is within, clearly worse is beyond, at the margin is undecided."""
    new, old = losses_of(1, mean=factor), losses_of(2)

    assert compared(new, old).conclusion == wanted


@pytest.mark.parametrize("metric", ["crps", "rmse", "mae"])
def test_effect_is_the_relative_difference_of_scaled_losses(metric: str) -> None:
    """The effect is candidate over legacy less 1, for RMSE on the root scale."""
    of = METRICS[metric]
    new, old = losses_of(3), losses_of(4)
    both = pair([unit_of(new, metric=of)], [unit_of(old, arm="old", metric=of)], metric)

    found = comparison_of(both, ask(metric))

    ratio = new.mean() / old.mean()
    unit = 100.0**2 if metric == "rmse" else 100.0
    value = new.mean() / unit
    rooted = metric == "rmse"
    assert found.effect.value == pytest.approx((math.sqrt(ratio) if rooted else ratio) - 1)
    assert found.effect.candidate == pytest.approx(math.sqrt(value) if rooted else value)


def test_margin_is_mapped_to_squared_losses_for_rmse() -> None:
    """The RMSE p-value is that of the squared losses against the squared margin."""
    new, old = losses_of(5), losses_of(6)
    of = METRICS["rmse"]
    squared = comparison_of(
        pair([unit_of(new, metric=of)], [unit_of(old, arm="old", metric=of)], "rmse"),
        ask("rmse", 0.05),
    )
    plain = compared(new, old, ask(margin=1.05**2 - 1))

    ours, theirs = squared.estimate("hac"), plain.estimate("hac")

    assert ours is not None
    assert theirs is not None
    assert ours.p_within == pytest.approx(theirs.p_within)
    assert (1 + (ours.upper or 0)) ** 2 == pytest.approx(1 + (theirs.upper or 0))


def test_losses_are_scaled_by_the_last_close() -> None:
    """Multiplying prices and losses of some windows changes nothing."""
    new, old = losses_of(7), losses_of(8)
    factor = np.linspace(1, 50, len(new))
    units = [unit_of(new * factor[:, None]), unit_of(old * factor[:, None], arm="old")]
    raised = [with_truth(unit, last=unit.last * factor) for unit in units]

    found = comparison_of(pair(raised[:1], raised[1:], "crps"), ask())

    assert found.effect.value == pytest.approx(compared(new, old).effect.value)


def test_row_and_seed_order_change_nothing() -> None:
    """Shuffled rows and units give the same comparison to the last bit."""
    units = [unit_of(losses_of(s), seed=s) for s in (1, 2, 3)]
    old = unit_of(losses_of(9), arm="old")
    order = np.random.default_rng(0).permutation(len(old))
    shuffled = old.at(order)

    assert comparison_of(pair(units, [old], "crps"), ask()) == comparison_of(
        pair(units[::-1], [shuffled], "crps"), ask()
    )


def test_seeds_are_averaged_per_origin_and_their_range_is_shown() -> None:
    """The effect is that of the seed means; the range is over all pairs of seeds."""
    new = [losses_of(s) for s in (1, 2)]
    old = losses_of(3)
    both = pair([unit_of(x, seed=s) for s, x in enumerate(new)], [unit_of(old, arm="old")], "crps")

    found = comparison_of(both, ask())

    per_seed = [x.mean() / old.mean() - 1 for x in new]
    assert found.effect.value == pytest.approx(np.mean(per_seed))
    assert (found.effect.seed_low, found.effect.seed_high) == pytest.approx(
        (min(per_seed), max(per_seed))
    )


@pytest.mark.slow
@given(st.lists(st.integers(0, 79), min_size=1, max_size=60, unique=True))
@settings(max_examples=30)
def test_case_4_nan_on_hard_windows_is_never_an_improvement(hard: list[int]) -> None:
    """Failing on any windows never makes the candidate's effect better than scoring them."""
    new, old = losses_of(1), losses_of(2)
    whole = compared(new, old)

    holed = comparison_of(
        pair([unit_of(new, failed=tuple(hard))], [unit_of(old, arm="old")], "crps"), ask()
    )

    assert holed.failed.candidate == len(hard)
    assert holed.sample.n == 80
    assert whole.effect.value is not None
    assert holed.effect.value is not None
    assert holed.effect.value > whole.effect.value


def test_a_legacy_failure_never_helps_the_candidate() -> None:
    """Windows that legacy failed count as its best."""
    new, old = losses_of(1), losses_of(2)

    holed = comparison_of(
        pair([unit_of(new)], [unit_of(old, arm="old", failed=(0, 5))], "crps"), ask()
    )

    assert holed.failed.legacy == 2
    assert (holed.effect.value or 0) > (compared(new, old).effect.value or 0)


def test_nothing_but_failures_is_undecided_with_a_reason() -> None:
    """When no loss is a number there is no effect, no NaN and a reason."""
    every = tuple(range(80))

    found = comparison_of(
        pair(
            [unit_of(losses_of(), failed=every)],
            [unit_of(losses_of(), arm="old", failed=every)],
            "crps",
        ),
        ask(),
    )

    assert found.effect.value is None
    assert found.conclusion == "undecided"
    assert "80 of 80 losses of new have no number" in why(found.reason)


def test_values_missing_for_another_cause_are_undecided() -> None:
    """A loss that has no number in a window that did not fail is not filled and not skipped."""
    new = losses_of()
    new[3, 1] = np.nan

    found = compared(new, losses_of(2))

    assert found.conclusion == "undecided"
    assert "1 of 80 losses of new have no number" in why(found.reason)


def test_a_perfect_legacy_gives_no_bounds_and_no_nan() -> None:
    """A legacy loss of 0 has no ratio: no conclusion, and a reason."""
    found = compared(losses_of(), np.zeros((80, 4)))

    assert found.conclusion == "undecided"
    assert found.effect.value is None
    assert "for a ratio to it to have bounds" in why(found.reason)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_origins_say_nothing(count: int) -> None:
    """Nought or one origin gives no uncertainty, hence no conclusion."""
    found = compared(losses_of(count=count), losses_of(1, count=count))

    assert found.conclusion == "undecided"
    assert found.reason


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("dataset", "Y", "scored on X and Y"),
        ("truth_digest", "other", "different actuals"),
        ("origin", 501 + 4 * np.arange(80), "different origins"),
        ("origin", np.full(80, 500), "same origin twice"),
        ("origin_date", np.datetime64("1999-01-01", "D") + np.arange(80), "different dates"),
        ("step", np.arange(2, 6), "different steps"),
        ("values", {}, "has no scores for crps"),
    ],
)
def test_sides_judged_on_other_things_are_refused(field: str, value: object, message: str) -> None:
    """Units that differ in data, origins, dates, steps or metric are never paired."""
    old = unit_of(losses_of(2), arm="old")
    if field in ("truth_digest", "values"):
        old = dataclasses.replace(old, **{field: value})
    else:
        old = with_truth(old, **{field: value})

    with pytest.raises(PairingError) as refused:
        pair([unit_of(losses_of())], [old], "crps")

    assert message in why(refused.value.why)


def test_one_empty_side_is_refused() -> None:
    """Nothing on one side is an error, never an empty comparison."""
    with pytest.raises(PairingError, match="no scores"):
        pair([], [unit_of(losses_of(), arm="old")], "crps")


def test_case_2_overlapping_origins_are_all_used_and_the_rest_shown() -> None:
    """With a stride below the horizon all origins count, with a longer lag and a subset beside."""
    new, old = losses_of(1, mean=0.8), losses_of(2)
    both = pair([unit_of(new, stride=1)], [unit_of(old, arm="old", stride=1)], "crps")

    found = comparison_of(both, ask())

    alone = found.estimate("independent")
    assert (found.sample.n, found.sample.overlap, found.sample.independent_n) == (80, 4, 20)
    assert found.lengths.lag >= 11
    assert found.lengths.block >= 4
    assert alone is not None
    assert alone.n == 20
    assert (alone.effect or 0) == pytest.approx(new[::4].mean() / old[::4].mean() - 1)


def test_coverage_is_judged_on_both_sides_of_nominal() -> None:
    """True coverage passes its tolerance; too little and too much are both beyond it."""
    draw = np.random.default_rng(0)

    def covered(share: float) -> Comparison:
        losses = np.where(draw.uniform(size=(300, 4)) < share, 1.0, 3.0)
        both = pair([unit_of(losses)], [unit_of(losses, arm="old")], "coverage_80")
        return comparison_of(
            both, Question(estimand=Coverage(level=80), bound_low=-0.05, bound_high=0.05)
        )

    right, little, much = covered(0.8), covered(0.6), covered(0.97)

    assert right.conclusion == "within"
    assert little.conclusion == "beyond"
    assert much.conclusion == "beyond"
    assert (little.effect.value or 0) == pytest.approx((little.effect.candidate or 0) - 0.8)
    assert right.equality is None


def test_coverage_bounds_are_wilsons() -> None:
    """With independent windows the bounds are Wilson's, at the test's own critical value."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the other library's imports, not ours
        from statsmodels.stats.proportion import proportion_confint
    hits = np.zeros(200)
    hits[:171] = 1.0
    question = Question(estimand=Coverage(level=80), bound_low=-0.05, bound_high=0.05)
    sides = Sides(above=hits[None], below=np.ones((1, 200)), overlap=1)
    found = question.estimand.ratio_of(sides, lag=0)

    bounds = found.bounds(0.025)

    level = 2 * norm.sf(found.law.critical(0.025))
    wilson = np.array(proportion_confint(171, 200, level, method="wilson"))
    assert bounds == pytest.approx(wilson - 1, abs=1e-9)


def test_a_coverage_that_never_varies_is_not_taken_for_certain() -> None:
    """Ten windows all covered do not show that 80 % intervals cover 100 %... nor 80 %."""
    losses = np.ones((10, 4))
    both = pair([unit_of(losses)], [unit_of(losses, arm="old")], "coverage_80")

    found = comparison_of(
        both, Question(estimand=Coverage(level=80), bound_low=-0.3, bound_high=0.3)
    )

    assert found.conclusion == "undecided"
    assert found.effect.value == pytest.approx(0.2)
    assert (found.effect.seed_low, found.effect.seed_high) == pytest.approx((0.2, 0.2))


def test_detectable_effect_matches_the_known_example() -> None:
    """Twenty origins with a relative sd of 0.30 detect about 17 %, a little more at small n."""
    draw = np.random.default_rng(1)
    noise = draw.normal(size=(2000, 1))
    noise = 0.3 * (noise - noise.mean()) / noise.std()
    old = np.ones((2000, 4))

    found = compared(old + noise, old)

    assert (found.planning.detectable or 0) * math.sqrt(2000 / 20) == pytest.approx(0.167, rel=0.12)
    assert found.variances.effective_n == pytest.approx(2000, rel=0.3)


def test_open_questions_say_how_many_origins_would_decide_and_when() -> None:
    """More origins when open, and a date where it is near; none when decided or out of reach."""
    base = losses_of(1, count=60)
    near = compared(base * 0.99 + 0.02 * losses_of(2, count=60), base)
    open_, far = (
        compared(losses_of(3, count=60, mean=m), losses_of(4, count=60)) for m in (0.87, 0.95)
    )

    assert (far.planning.more_origins or 0) > 1000
    assert far.planning.decided_by is None
    assert near.planning.more_origins is None
    assert open_.conclusion == "undecided"
    assert open_.planning.more_origins is not None
    assert open_.planning.decided_by is not None
    days = np.datetime64(open_.planning.decided_by) - np.datetime64("2010-01-04") - 500 - 59 * 4
    assert days.astype(int) == pytest.approx(open_.planning.more_origins * 4 + 4, abs=1)


def finding_on(found: Comparison) -> Finding:
    """An open guardrail with that comparison."""
    return Finding(
        id="X:crps:guardrail",
        metric="crps",
        dataset="X",
        role="guardrail",
        outcome=Outcome.HOLD,
        bound=found.question.bound_high,
        value=found.effect.value,
        comparison=found,
        found=fact(FactCode.UNDECIDED),
    )


@pytest.mark.parametrize(("count", "told"), [(9, False), (10, True)])
def test_below_ten_origins_nothing_is_predicted(count: int, told: bool) -> None:
    """As in `power`, nine non-overlapping origins have no detectable effect, and say why."""
    found = compared(losses_of(3, count=count), losses_of(4, count=count))

    assert found.conclusion == "undecided"
    assert (found.planning.detectable is not None) is told
    assert found.silent is not told
    if not told:
        assert found.planning == Planning()
        assert sentence_of(finding_on(found)).endswith(
            "the bounds reach across the limit; no prediction: 9 non-overlapping origins, "
            "fewer than the 10 it takes."
        )


def test_many_seeds_that_differ_ask_for_seeds() -> None:
    """Where the seeds leave it open, shares of variance and the seeds needed are given."""
    old = losses_of(1, count=200)
    new = [0.97 * old * (1 + shift) for shift in (-0.05, 0.0, 0.05)]
    both = pair([unit_of(x, seed=s) for s, x in enumerate(new)], [unit_of(old, arm="old")], "crps")

    found = comparison_of(both, ask())

    assert found.conclusion == "undecided"
    assert "other seeds may not" in why(found.reason)
    assert found.variances.origins < 0.01 * found.variances.candidate_seeds
    assert (found.sample.candidate_seeds, found.sample.legacy_seeds) == (3, 1)
    assert found.planning.more_origins is None
    assert (found.planning.seeds_needed or 0) > 3
    sentence = sentence_of(finding_on(found))
    assert f"about {found.planning.seeds_needed} seeds a side would" in sentence


def test_spread_of_a_comparison_predicts_its_own_detectable_effect() -> None:
    """Planning from a comparison gives back about what it could detect itself."""
    found = compared(losses_of(1, count=150), losses_of(2, count=150))

    ahead = prospects_of(found)

    assert ahead is not None
    plan = Plan(n=found.sample.n, overlap=found.sample.overlap)
    assert detectable(ahead.spread, plan, alpha=0.05, power=0.8) == pytest.approx(
        found.planning.detectable, rel=0.1
    )
    assert prospects_of(compared(losses_of(), np.zeros((80, 4)))) is None


def varying_level(count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Losses [W, 1] of candidate and legacy with a known level and a known covariance.

    Legacy's variance is 0.25 of its squared mean; the candidate's differ from them by noise of
    variance 0.04 and a fifth of legacy's deviation.
    """
    draw = np.random.default_rng(8)
    old = 1 + 0.5 * draw.choice([-1.0, 1.0], size=(count, 1))
    return old + 0.2 * (old - 1) + 0.2 * draw.normal(size=(count, 1)), old


def test_spread_holds_the_level_of_legacy_and_its_covariance() -> None:
    """What a bound far from the effect is tested with is about that of the losses' law."""
    new, old = varying_level()

    ahead = prospects_of(compared(new, old))

    assert ahead is not None
    spread = ahead.spread
    assert spread.level == pytest.approx(0.25, rel=0.3)
    assert spread.along == pytest.approx(0.2 * 0.25, rel=0.3)
    assert spread.long_run == pytest.approx(0.04 + 0.2**2 * 0.25, rel=0.3)


def test_level_of_a_rooted_loss_is_on_the_scale_of_its_effect() -> None:
    """An RMSE moves by half of what its squares do: level as of the squares, covariance halved."""
    new, old = varying_level()
    plain, root = (
        prospects_of(
            comparison_of(
                pair([unit_of(new, metric=of)], [unit_of(old, arm="old", metric=of)], name),
                ask(name),
            )
        )
        for name, of in (("mae", "absolute_error"), ("rmse", "squared_error"))
    )

    assert plain is not None
    assert root is not None
    assert root.spread.level == pytest.approx(plain.spread.level, rel=1e-9)
    assert root.spread.along == pytest.approx(plain.spread.along / 2, rel=0.02)


def test_planning_knows_that_memory_widens_a_bound_far_from_the_effect() -> None:
    """Where the level of legacy's loss drifts for long, no plan promises what the tests leave open.

    The candidate is five times as good; what legacy's mean really is, so few origins cannot tell.
    """
    draw = np.random.default_rng(3)
    old = (0.03 + 0.3 * np.linspace(0, 1, 150) ** 2 + 0.01 * draw.gamma(2, size=150))[:, None]
    new = 0.02 * draw.gamma(4, 0.25, size=(150, 1))

    found = compared(new, old)

    assert found.variances is not None
    assert found.variances.stretch > 1.5
    assert found.conclusion == "undecided"
    assert found.planning.chance is not None
    assert found.planning.chance < 0.8
    assert found.planning.more_origins is None or found.planning.more_origins > 30


def test_sensitivity_is_recorded_and_does_not_decide() -> None:
    """A clear gain stands under every variation; a tie changes under none."""
    clear = compared(losses_of(1, mean=0.7), losses_of(2))
    tie = compared(losses_of(), losses_of())

    for found in (clear, tie):
        assert found.conclusion == "within"
        assert found.sensitivity is not None
        assert found.sensitivity.changed == ()
        assert len(found.sensitivity.variations) == 3


@pytest.mark.parametrize(("rho", "overlap"), [(0.0, 1), (0.6, 1), (0.0, 6)])
def test_effective_origins_are_those_of_the_variance(rho: float, overlap: int) -> None:
    """On average over draws, origins are worth what their autocorrelation leaves of them."""
    draw = np.random.default_rng(8)
    found = []
    for _ in range(40):
        noise = draw.normal(size=500 + overlap - 1)
        for t in range(1, len(noise)):
            noise[t] += rho * noise[t - 1]
        sums = np.cumsum(np.concatenate([[0.0], noise]))
        moving = (sums[overlap:] - sums[:-overlap]) / overlap
        old = np.ones((500, 4))
        found.append(concluded(old + 0.1 * moving[:, None], old).variances.effective_n)

    wanted = 500 * (1 - rho) / (1 + rho) / overlap
    assert np.median(found) == pytest.approx(min(500, wanted), rel=0.2)


def test_disagreeing_methods_are_undecided() -> None:
    """Where only one method reaches a conclusion the comparison has none, and says so."""
    for seed in range(400):
        found = concluded(losses_of(seed, count=40, mean=0.87), losses_of(seed + 1000, count=40))
        said = {each.conclusion for each in found.estimates[:2]}
        if len(said) > 1:
            assert found.conclusion == "undecided"
            assert "methods disagree" in why(found.reason)
            return
    pytest.fail("no disagreement in 400 draws")


def test_comparison_is_the_same_each_time() -> None:
    """Resamples are seeded by the losses: the same input gives the same bits."""
    new, old = losses_of(1), losses_of(2)

    assert compared(new, old) == compared(new.copy(), old.copy())


@pytest.mark.slow
def test_size_and_power_of_a_whole_comparison() -> None:
    """At the margin few are let through; a real gain of the detectable size mostly is."""
    draw = np.random.default_rng(11)
    let, found_gain, trials = 0, 0, 150
    for _ in range(trials):
        old = draw.gamma(4, 0.25, size=(60, 4))
        noise = draw.normal(scale=0.15, size=(60, 4))
        let += concluded(1.02 * old + noise, old).conclusion == "within"
        found_gain += concluded(0.92 * old + noise, old).conclusion == "within"

    assert let / trials <= 0.10
    assert found_gain / trials >= 0.75
