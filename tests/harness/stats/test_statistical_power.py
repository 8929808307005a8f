"""What a plan can decide, against textbook values, plain sums and simulation."""

import dataclasses
import math

import numpy as np
import pytest
from scipy.stats import norm

from harness.evidence.estimand import MeanLoss
from harness.evidence.estimates import Question, agreed, deciding
from harness.evidence.pairing import Sides
from harness.stats.longrun import correlation_found, first_order, overlap_law, shares_of
from harness.stats.spending import chance_by_looks, levels
from harness.stats.statistical_power import (
    Plan,
    Spread,
    Veto,
    both_shown,
    chance_of_deciding,
    detectable,
    freedom_of,
    origins_needed,
    precision_of,
    seeds_needed,
)

NINE = Spread(long_run=0.09)


def predicted_power(
    spread: Spread, plan: Plan, *, effect: float, bound: float, alpha: float
) -> float:
    """Chance that a plan shows a true effect to lie below its bound."""
    return precision_of(spread, plan, alpha).power(bound - effect)


def sums_of(count: int, overlap: int, draw: np.random.Generator) -> np.ndarray:
    total = np.cumsum(np.concatenate([[0.0], draw.normal(size=count + overlap - 1)]))
    return (total[overlap:] - total[:-overlap]) / math.sqrt(overlap)


@pytest.mark.parametrize(("n", "wanted"), [(60, 0.096), (250, 0.047)])
def test_detectable_effects_are_those_known(n: int, wanted: float) -> None:
    """A relative sd of 0.30 gives the known effects, up to a quarter more at small n."""
    found = detectable(NINE, Plan(n=n), alpha=0.05, power=0.8)

    assert wanted <= found <= 1.25 * wanted


def test_few_origins_detect_what_the_whole_rule_was_seen_to() -> None:
    """With 20 origins 3,000 draws put 80 % of the upper bounds below 0.216 (a t test: 0.167)."""
    assert detectable(NINE, Plan(n=20), alpha=0.05, power=0.8) == pytest.approx(0.216, rel=0.05)


def test_many_origins_give_the_normal_law() -> None:
    """With many origins the power is that of a normal test with known variance."""
    found = predicted_power(NINE, Plan(n=20_000), effect=-0.005, bound=0.0, alpha=0.05)

    wanted = norm.sf(norm.isf(0.05) - 0.005 / math.sqrt(0.09 / 20_000))
    assert found == pytest.approx(wanted, abs=0.01)


def test_power_at_the_bound_is_the_error_rate() -> None:
    """No distance from the bound is shown as often as the level allows, without overlap."""
    assert predicted_power(NINE, Plan(n=250), effect=0.02, bound=0.02, alpha=0.05) == pytest.approx(
        0.05, abs=0.01
    )


@pytest.mark.parametrize(("n", "last"), [(97, 30), (250, 75)])
def test_the_veto_of_the_last_origins_is_in_the_chance(n: int, last: int) -> None:
    """As often as in draws of both means: it takes two to four points of 80 %."""
    far = detectable(NINE, Plan(n=n), alpha=0.05, power=0.8)
    asked = {"effect": -far, "bound_high": 0.0, "alpha": 0.05}
    draw = np.random.default_rng(2)
    late = draw.normal(size=400_000) * 0.3 / math.sqrt(last)
    early = draw.normal(size=400_000) * 0.3 / math.sqrt(n - last)
    whole = (last * late + (n - last) * early) / n

    found = chance_of_deciding(NINE, Plan(n=n), **asked, veto=Veto(n=last, low=None, high=0.0))

    assert chance_of_deciding(NINE, Plan(n=n), **asked) == pytest.approx(0.8, abs=0.002)
    shown = whole < np.quantile(whole, 0.8)
    assert found == pytest.approx(float((shown & (late < far)).mean()), abs=0.01)
    assert 0.75 < found < 0.785


def test_rules_that_share_an_error_rate_reject_less_often() -> None:
    """A bound is shown broken among twelve at a twelfth of the rate: as the single test at that."""
    asked = {"effect": 0.08, "bound_high": 0.02, "alpha": 0.05}

    alone = chance_of_deciding(NINE, Plan(n=97), **asked)
    among = chance_of_deciding(NINE, Plan(n=97), **asked, alpha_beyond=0.05 / 12)

    assert 0.0 <= among < alone - 0.2
    single = predicted_power(NINE, Plan(n=97), effect=-0.06, bound=0.0, alpha=0.05 / 12)
    assert among == pytest.approx(single, abs=0.002)


@pytest.mark.parametrize("effect", [0.0, 0.05])
def test_a_coverage_is_vetoed_at_twice_its_tolerance(effect: float) -> None:
    """Of simulated means over all origins and over the last ones, both bounds and both vetoes."""
    spread, n, last = Spread(long_run=0.16, share=0.8), 250, 75
    draw = np.random.default_rng(2)
    late = effect + draw.normal(size=400_000) * math.sqrt(0.16 / last)
    early = effect + draw.normal(size=400_000) * math.sqrt(0.16 / (n - last))
    whole = (last * late + (n - last) * early) / n
    bounds = {"bound_high": 0.08, "bound_low": -0.08, "alpha": 0.05, "either_way": False}

    without = chance_of_deciding(spread, Plan(n=n), effect=effect, **bounds)
    found = chance_of_deciding(
        spread, Plan(n=n), effect=effect, **bounds, veto=Veto(n=last, low=-0.16, high=0.16)
    )

    shown = np.abs(whole) < np.quantile(np.abs(whole), without)
    assert found == pytest.approx(float((shown & (np.abs(late) < 0.16)).mean()), abs=0.01)


@pytest.mark.parametrize("skewness", [-0.47, 0.0, 0.47])
def test_a_chance_is_a_number_however_far_the_effect_lies(skewness: float) -> None:
    """What rounding leaves of an impossible outcome is next to nothing, and never not a number."""
    bounds = {"bound_high": 0.08, "bound_low": -0.08, "alpha": 0.05}
    vetoed = {**bounds, "veto": Veto(n=45, low=-0.16, high=0.16)}
    for effect in np.linspace(-0.4, 0.4, 41).tolist():
        spread = Spread(long_run=0.168, rho=-0.085, skewness=skewness, share=0.5 + effect)
        within = [
            chance_of_deciding(spread, Plan(n=150), effect=effect, **asked, either_way=False)
            for asked in (bounds, vetoed)
        ]
        decided = chance_of_deciding(spread, Plan(n=150), effect=effect, **vetoed)

        assert 0.0 <= within[1] <= within[0] + 1e-12
        assert within[1] - 1e-12 <= decided <= 1.0
        assert abs(effect) < 0.2 or within[0] < 0.01


def shown(sides: list[Sides], question: Question) -> float:
    """Share of draws of which every method says the bound is kept."""
    said = [agreed(deciding(each, question))[0] for each in sides]
    return said.count("within") / len(said)


@pytest.mark.parametrize(("n", "overlap"), [(60, 1), (60, 3), (120, 6)])
def test_predicted_power_is_that_of_the_whole_rule(n: int, overlap: int) -> None:
    """T test and bootstrap show the detectable effect as often as predicted."""
    draw = np.random.default_rng(n)
    spread = Spread(long_run=0.09 * overlap, rho=(overlap - 1) / overlap)
    far = detectable(spread, Plan(n=n, overlap=overlap), alpha=0.05, power=0.8)
    above = 1 + 0.3 * np.stack([sums_of(n, overlap, draw) for _ in range(400)])

    found = shown(
        [Sides(above=each[None], below=np.ones((1, n)), overlap=overlap) for each in above],
        Question(estimand=MeanLoss(metric="crps"), bound_high=far),
    )

    assert found == pytest.approx(0.8, abs=0.05 + 2 * math.sqrt(0.16 / 400))


@pytest.mark.slow
def test_predicted_power_holds_where_seeds_carry_half_of_the_variance() -> None:
    """Three seeds say little of how seeds differ, and the prediction knows it."""
    draw, n = np.random.default_rng(5), 60
    spread = Spread(long_run=0.09, candidate_seeds=3 * 0.09 / n)
    plan = Plan(n=n, candidate_seeds=3)
    far = detectable(spread, plan, alpha=0.05, power=0.8)
    apart = math.sqrt(spread.candidate_seeds) * draw.normal(size=(400, 3, 1))
    above = 1 + 0.3 * draw.normal(size=(400, 1, n)) + apart

    found = shown(
        [Sides(above=each, below=np.ones((1, n)), overlap=1) for each in above],
        Question(estimand=MeanLoss(metric="crps"), bound_high=far),
    )

    assert found == pytest.approx(0.8, abs=0.05 + 2 * math.sqrt(0.16 / 400))
    assert far > 1.2 * detectable(spread, replace_seeds(plan, 30), alpha=0.05, power=0.8)


def replace_seeds(plan: Plan, count: int) -> Plan:
    return dataclasses.replace(plan, candidate_seeds=count)


def test_skewed_losses_take_more_when_they_lean_to_high_values() -> None:
    """A mean that leans up is estimated with a larger error when it is high: less is shown."""
    plan, aim = Plan(n=60), {"alpha": 0.05, "power": 0.8}
    up, down = (dataclasses.replace(NINE, skewness=each) for each in (2.0, -2.0))

    assert detectable(up, plan, **aim) > 1.05 * detectable(NINE, plan, **aim)
    assert detectable(down, plan, **aim) < detectable(NINE, plan, **aim)


@pytest.mark.parametrize("bounds", [1, 2])
def test_power_of_a_coverage_and_its_detectable_distance_are_inverse(bounds: int) -> None:
    """What is detectable is shown with just that power; two bounds ask for more than one."""
    spread, plan = Spread(long_run=0.16, share=0.8), Plan(n=250, bounds=bounds)

    far = detectable(spread, plan, alpha=0.05, power=0.8)

    given = {"effect": 0.0, "bound": far, "alpha": 0.05}
    assert predicted_power(spread, plan, **given) == pytest.approx(0.8, abs=1e-6)
    two = dataclasses.replace(plan, bounds=2)
    assert predicted_power(spread, two, **given) == pytest.approx(
        0.8 if bounds == 2 else 0.6, abs=0.1 if bounds == 1 else 1e-6
    )


@pytest.mark.parametrize("along", [-60.0, 0.0, 60.0])
def test_a_bound_is_tested_with_the_variance_it_has_there(along: float) -> None:
    """At a distance d the differences have variance ``V - 2 d C + d^2 W``, as Fieller's bounds do.

    With many origins d is then a root of ``d^2 = k^2 (V - 2 d C + d^2 W) / n``.
    """
    n, own, level = 20_000, 9.0, 900.0
    spread = Spread(long_run=own, level=level, along=along)

    found = detectable(spread, Plan(n=n), alpha=0.05, power=0.8)

    square = (norm.isf(0.05) + norm.isf(0.2)) ** 2 / n
    wanted = max(np.roots([1 - square * level, 2 * square * along, -square * own]).real)
    assert found == pytest.approx(wanted, rel=0.03)
    assert abs(wanted - math.sqrt(square * own)) > 0.05 * wanted


def test_the_other_bound_has_the_covariance_with_the_other_sign() -> None:
    """A lower bound lies the other way, where what made an upper one vary more makes it less."""
    spread, plan = Spread(long_run=0.09, level=0.5, along=0.06), Plan(n=40)
    turned = dataclasses.replace(spread, along=-spread.along)
    at = {"effect": 0.0, "bound": 0.2, "alpha": 0.05}

    upper, lower = (precision_of(each, plan, 0.05).shown(0.2) for each in (spread, turned))
    both = predicted_power(spread, dataclasses.replace(plan, bounds=2), **at)

    chance = precision_of(spread, plan, 0.05).hurdles.chance
    assert chance @ upper > chance @ lower + 0.03
    assert both == pytest.approx(chance @ both_shown(upper, lower), abs=1e-9)


@pytest.mark.parametrize("ratio", [0.6, 1.0, 1.5])
def test_legacy_seeds_weigh_as_much_as_the_tested_ratio_of_them(ratio: float) -> None:
    """At a bound d away, legacy's seeds are in the difference ``ratio + d`` times, not `ratio`."""
    far, own = 0.2, 0.002
    plan = Plan(n=100, candidate_seeds=3, legacy_seeds=3)
    spread = Spread(long_run=0.09, candidate_seeds=0.001, legacy_seeds=ratio**2 * own, ratio=ratio)
    at = {"effect": 0.0, "bound": far, "alpha": 0.05}

    found = predicted_power(spread, plan, **at)
    both = predicted_power(spread, dataclasses.replace(plan, bounds=2), **at)

    there, below = (
        precision_of(
            dataclasses.replace(spread, legacy_seeds=(ratio + d) ** 2 * own, ratio=math.inf),
            plan,
            0.05,
        )
        for d in (far, -far)
    )
    assert found == pytest.approx(there.power(far), abs=1e-9)
    shown = both_shown(there.shown(far), below.shown(far))
    assert both == pytest.approx(there.hurdles.chance @ shown, abs=1e-9)
    assert below.power(far) > there.power(far)


@pytest.mark.slow
@pytest.mark.parametrize("pull", [-0.5, 0.5])
def test_a_far_bound_is_predicted_where_legacy_varies(pull: float) -> None:
    """With a legacy that varies along with the difference, only its level tells the power."""
    draw, n, count = np.random.default_rng(11), 40, 400
    normal = draw.normal(size=(2, count, n))
    level = 1 + 0.6 * normal[0]
    above = level + 0.8 * (pull * normal[0] + math.sqrt(1 - pull**2) * normal[1])
    spread = Spread(long_run=0.64, level=0.36, along=0.48 * pull)
    far = detectable(spread, Plan(n=n), alpha=0.05, power=0.8)
    bare = dataclasses.replace(spread, level=0.0, along=0.0)

    found = shown(
        [Sides(above=a[None], below=b[None], overlap=1) for a, b in zip(above, level, strict=True)],
        Question(estimand=MeanLoss(metric="crps"), bound_high=far),
    )

    assert found == pytest.approx(0.8, abs=0.05 + 2 * math.sqrt(0.16 / count))
    without = predicted_power(bare, Plan(n=n), effect=-far, bound=0.0, alpha=0.05)
    assert abs(without - found) > 0.07


def test_more_of_everything_never_detects_less() -> None:
    """Origins, seeds and a larger error rate make what is detectable smaller."""
    spread, plan = (
        Spread(long_run=0.09, rho=0.4, candidate_seeds=0.002),
        Plan(n=80, candidate_seeds=3),
    )
    ways = [plan, dataclasses.replace(plan, n=100), dataclasses.replace(plan, n=400)]
    ways.append(dataclasses.replace(plan, n=400, candidate_seeds=6))

    found = [detectable(spread, each, alpha=0.05, power=0.8) for each in ways]

    assert found == sorted(found, reverse=True)
    assert detectable(spread, plan, alpha=0.1, power=0.8) < found[0]


def test_origins_needed_are_the_fewest_that_do() -> None:
    """With the origins needed the power is reached, with a twentieth fewer it is not."""
    plan, aim = Plan(n=60, overlap=2), {"alpha": 0.05, "power": 0.8}

    needed = origins_needed(NINE, plan, distance=0.03, **aim)

    assert needed is not None
    at, below = (
        detectable(NINE, dataclasses.replace(plan, n=count), **aim)
        for count in (needed, int(0.95 * needed))
    )
    assert at <= 0.03 < below
    assert origins_needed(NINE, plan, distance=1e-9, **aim) is None


def test_seeds_bound_what_origins_can_do() -> None:
    """Where seeds differ more than the distance only more seeds decide."""
    spread = Spread(long_run=0.01, candidate_seeds=0.001)
    plan, aim = Plan(n=100, candidate_seeds=3), {"alpha": 0.05, "power": 0.8}

    seeds = seeds_needed(spread, plan, distance=0.03, **aim)

    assert origins_needed(spread, plan, distance=0.03, **aim) is None
    assert seeds is not None
    assert seeds > 3
    more = dataclasses.replace(plan, candidate_seeds=seeds)
    assert detectable(spread, more, **aim) <= 0.03


def test_degrees_of_freedom_lie_between_least_and_sum() -> None:
    """Satterthwaite's are those of the larger part at one end and the sum at the other."""
    assert freedom_of([(1.0, 20.0), (0.0, 1.0)]) == 20
    assert freedom_of([(1.0, 4.0), (1.0, 4.0)]) == 8
    assert freedom_of([(1e-9, 20.0), (1.0, 1.0)]) == pytest.approx(1.0)


def test_no_variance_is_certain() -> None:
    """Without any variance everything inside the bound is shown, and nothing at it."""
    none = precision_of(Spread(long_run=0.0), Plan(n=30), 0.05)

    assert (none.power(0.01), none.power(0.0)) == (pytest.approx(1.0, abs=1e-12), 0.0)
    assert none.detectable(0.8) == 0


@pytest.mark.parametrize(("overlap", "rho"), [(1, 0.0), (1, 0.6), (6, 0.9)])
def test_shares_agree_with_plain_sums(overlap: int, rho: float) -> None:
    """Variance of the mean and expected Bartlett estimate are those of the whole matrix."""
    n, lag = 40, 12
    levels = next(
        x
        for x in np.linspace(-0.9, 0.97, 20_001)
        if _sum_correlation(overlap, float(x)) >= rho - 1e-12
    )
    rows = np.arange(n)
    apart = np.abs(rows[:, None] - rows)
    covariance = np.vectorize(lambda k: _sum_covariance(overlap, float(levels), int(k)))(apart)
    long_run = overlap**2 * (1 + levels) / (1 - levels)
    weights = np.clip(1 - apart / (lag + 1), 0, None)
    without = np.eye(n) - 1 / n

    found = shares_of(n, lag, overlap, rho)

    assert found.true == pytest.approx(covariance.sum() / n / long_run, rel=1e-3)
    wanted = np.trace(weights @ without @ covariance @ without) / n / long_run
    assert found.found == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize(("rho", "n"), [(0.0, 60), (0.8, 60), (0.9, 120)])
def test_the_autocorrelation_found_is_that_of_simulated_samples(rho: float, n: int) -> None:
    """Its mean is known to a hundredth, where the ratio of mean autocovariances is not."""
    draw = np.random.default_rng(3)
    series = np.empty((4000, n))
    series[:, 0] = draw.normal(size=4000)
    for t in range(1, n):
        fresh = math.sqrt(1 - rho**2) * draw.normal(size=4000)
        series[:, t] = rho * series[:, t - 1] + fresh

    mean, _ = correlation_found(n, 1, rho)

    seen = [first_order(each) for each in series]
    assert np.mean(seen) == pytest.approx(mean, abs=0.01)


def _sum_covariance(overlap: int, rho: float, shift: int) -> float:
    pairs = [abs(a - b - shift) for a in range(overlap) for b in range(overlap)]
    return float(sum(rho**k for k in pairs))


def _sum_correlation(overlap: int, rho: float) -> float:
    return _sum_covariance(overlap, rho, 1) / _sum_covariance(overlap, rho, 0)


def test_law_under_overlap_is_wider_than_without() -> None:
    """Sharing sessions costs degrees of freedom beyond those of the lag."""
    alone, shared = overlap_law(250, 40, 1), overlap_law(250, 40, 12)

    assert shared.freedom < alone.freedom
    assert shared.factor < alone.factor
    assert alone.freedom == pytest.approx(1.5 * 250 / 41, rel=0.1)


def test_looks_together_show_what_simulated_paths_cross() -> None:
    """The chance by the last of five looks is that of Brownian paths; of one look it is its own."""
    fractions = np.array([0.5, 0.6, 0.7, 0.85, 1.0])
    chances = [0.2, 0.0, 0.35, 0.3, 0.6]
    steps = np.random.default_rng(5).normal(size=(100_000, 5))
    paths = np.cumsum(steps * np.sqrt(np.diff(fractions, prepend=0.0)), axis=1)
    crossed = paths / np.sqrt(fractions) > norm.isf(chances)

    found = chance_by_looks(chances, fractions.tolist())

    assert found == pytest.approx(crossed.any(axis=1).mean(), abs=0.005)
    assert chance_by_looks([0.3], [0.7]) == pytest.approx(0.3, abs=1e-9)
    assert chance_by_looks([0.1, 1.0], [0.5, 1.0]) == pytest.approx(1.0)


def test_looks_are_predicted_as_streams_were_seen_to_pass_them() -> None:
    """Of 400 streams 10 % better, first look, last and once held 95.0, 96.5 and 97.0 %."""
    spread, counts = Spread(long_run=0.3**2), list(range(120, 133))
    fractions = [count / counts[-1] for count in counts]

    def one(count: int, level: float) -> float:
        return predicted_power(spread, Plan(n=count), effect=-0.1, bound=0.0, alpha=level)

    single = [
        one(count, level)
        for count, level in zip(counts, levels(fractions, 0.05, "late").tolist(), strict=True)
    ]
    found = single[0], chance_by_looks(single, fractions), one(counts[-1], 0.05)

    assert found == pytest.approx((0.950, 0.965, 0.970), abs=0.05)


@pytest.mark.parametrize(
    ("n", "tolerance", "simulated"),
    [(48, 0.10, 0.095), (48, 0.13, 0.294), (120, 0.06, 0.026), (120, 0.08, 0.204)],
)
def test_an_interval_that_is_mostly_too_long_for_a_tolerance_sometimes_is_not(
    n: int, tolerance: float, simulated: float
) -> None:
    """The chance that a coverage is shown within is that of 1,000 draws (to 4 points), not 0."""
    rho, long_run = (0.0, 0.16) if n == 48 else (0.105, 0.2016)  # a normal with 0.2 below its 80 %
    skewness = -0.6 / 0.16 * math.sqrt(long_run)
    spread = Spread(long_run=long_run, rho=rho, share=0.8, skewness=skewness)

    found = chance_of_deciding(
        spread,
        Plan(n=n),
        effect=0.0,
        bound_high=tolerance,
        bound_low=-tolerance,
        alpha=0.05,
        either_way=False,
    )

    assert found == pytest.approx(simulated, abs=0.04)
