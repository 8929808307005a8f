"""Tricks and accidents with numbers: one row each, with the outcome it must have.

Every row was once answered wrongly, through the command line or the real decision functions.
"""

import dataclasses

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.special import ndtri
from scipy.stats import t
from scores_for_tests import law_of, table_of, truth_of, walk_of

from harness.errors import ForecastError
from harness.evidence.comparison import answer
from harness.evidence.estimand import Coverage, MeanLoss, RootLoss
from harness.evidence.estimates import Question, agreed, deciding
from harness.evidence.pairing import Sides, pair
from harness.evidence.prospects import comparison_of
from harness.experiments.policy import Policy
from harness.experiments.rules import CoverageRule, Criterion
from harness.forecast import LEVELS, Forecast
from harness.judging.declared import Cell, JudgedGrid
from harness.judging.findings import Outcome, judge_rule, multiplicity_of, rejected_together
from harness.judging.price_scale import on_another_scale
from harness.judging.selftest import self_test
from harness.judging.verdict import Verdict, conclude, gather
from harness.residuals import measure_residuals
from harness.scoring.scores import UnitScores, score
from harness.scoring.summary import summarise
from harness.stats.longrun import diebold_mariano, mean_ratio
from harness.window import RollingOrigin, Series
from reports.words import verdicts
from reports.words.sentences import sentence_of

CRPS = (Criterion(metric="crps", margin=0.02),)


def judged(old: UnitScores, new: UnitScores, *beside: UnitScores, **rules: object) -> Verdict:
    """The verdict on two units, with the gate's self-test."""
    units = [old, new, *beside]
    cells = [Cell(arm=u.arm, dataset=u.dataset, seed=u.seed, role=u.role) for u in units]
    policy = Policy(baseline="old", candidate="new", **{"criteria": CRPS} | rules)  # type: ignore[arg-type]
    evidence = gather(JudgedGrid(policy=policy, declared=cells, scores=units))
    return conclude(evidence, self_test=self_test(evidence))


def losses_of(losses: np.ndarray, arm: str) -> UnitScores:
    """A unit with one CRPS an origin, in units of the last value seen."""
    table = {"crps": 100.0 * losses[:, None]}
    return table_of(table, arm=arm, truth=truth_of(len(losses), 1, first=500, stride=1))


def losses_of_two(
    difference: float, *, windows: int = 60, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Losses of legacy, and of a candidate that is `difference` apart, as noisy as that."""
    draw = np.random.default_rng(seed)
    legacy = 0.01 + 0.004 * draw.gamma(2, size=windows)
    return legacy, legacy * (1 + difference * (0.5 + draw.normal(size=windows)))


@pytest.mark.parametrize("order", [1e-3, 1e-5, 1e-7, 1e-9, 1e-11, 1e-12])
@pytest.mark.parametrize("estimand", [MeanLoss(metric="crps"), RootLoss(metric="rmse")])
def test_half_widths_follow_the_size_of_the_differences(
    estimand: MeanLoss | RootLoss, order: float
) -> None:
    """An interval is right within 1 % however close the sides are: it scales with them."""
    question = Question(estimand=estimand, bound_high=0.02)
    halves = []
    for each in (order, 1e-3):
        legacy, candidate = losses_of_two(each)
        sides = Sides(above=candidate[None], below=legacy[None], overlap=1)
        found = deciding(sides, question)
        halves.append([(e.high - e.low) / 2 / each for e in found])  # type: ignore[operator]
        assert [e.conclusion for e in found] == ["within", "within"]

    assert halves[0][0] == pytest.approx(halves[1][0], rel=0.01)
    assert halves[0][1] == pytest.approx(halves[1][1], rel=0.05)  # other resamples are drawn


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("order", [0.0, 1e-14, 1e-9, 1e-6])
@pytest.mark.parametrize("margin", [0.0, 0.02])
def test_an_equal_port_is_never_refused(order: float, margin: float, seed: int) -> None:
    """A float32 copy, another order of summation: within any margin, and the gate stays sound."""
    draw = np.random.default_rng(seed)
    legacy = 0.01 + 0.004 * draw.gamma(2, size=60)
    port = legacy * (1 + order * draw.normal(size=60))

    verdict = judged(
        losses_of(legacy, "old"),
        losses_of(port, "new"),
        criteria=(Criterion(metric="crps", margin=margin),),
    )

    assert verdict.outcome == (Outcome.PROMOTE if margin else Outcome.HOLD)
    assert verdict.self_test is not None
    assert verdict.self_test.failures == ()


def test_what_rounding_makes_decides_nothing() -> None:
    """A difference of one sign below a billionth of the loss is neither a gain nor a harm."""
    legacy, _ = losses_of_two(0.0)
    for candidate in (legacy * (1 + 5e-10), legacy * (1 - 5e-10)):
        both = pair([losses_of(candidate, "new")], [losses_of(legacy, "old")], "crps")

        found = comparison_of(both, Question(estimand=MeanLoss(metric="crps"), bound_high=0.0))

        assert found.conclusion == "undecided"
        assert {each.conclusion for each in found.estimates} == {"undecided"}


def members_of(how: str, count: int, *, windows: int = 200) -> UnitScores:
    """Scores of the true law of a random walk, handed over as members of a set."""
    truth = walk_of(windows, seed=4)
    draw = np.random.default_rng(8)
    error = np.sqrt(np.arange(1, 5))[:, None]
    shape = (windows, 4, count)
    even = ndtri((np.arange(count) + 0.5) / count)
    half = draw.normal(size=(*shape[:2], count // 2))
    deviates = {
        "draws": draw.normal(size=shape),
        "not declared": draw.normal(size=shape),
        "quantiles": np.broadcast_to(even, shape),
        "quantiles out of order": np.broadcast_to(draw.permutation(even), shape),
        "stratified": ndtri((np.arange(count) + draw.uniform(size=shape)) / count),
        "mirrored": draw.permuted(np.concatenate([half, -half], axis=-1), axis=-1),
        "doubled": np.repeat(ndtri((np.arange(count // 2) + 0.5) / (count // 2)), 2) + 0 * error,
        "jittered": even + 0.2 * draw.normal(size=shape),
        "every tenth drawn": np.where(
            np.arange(windows)[:, None, None] % 10, even, draw.normal(size=shape)
        ),
        "mirrored nearly": np.concatenate(
            [half, -half * (1 + 1e-3 * draw.normal(size=half.shape))], -1
        ),
        "doubled nearly": np.repeat(half, 2, axis=-1) + 1e-9 * draw.normal(size=shape),
        "half of it drawn": np.concatenate(
            [
                half,
                np.broadcast_to(ndtri((np.arange(count // 2) + 0.5) / (count // 2)), half.shape),
            ],
            -1,
        ),
        "two far apart": np.where(np.arange(count) % 2, 1e3, -1e3) * (1 + np.arange(count)) + 0.0,
    }[how]
    paths = truth.last[:, None, None] + error * np.broadcast_to(deviates, shape)
    forecast = Forecast.of_samples(
        np.moveaxis(paths, -1, 1), truth.values, exchangeable=how != "not declared"
    )
    return score(truth, forecast, arm="new", role="candidate", seed=1)


@pytest.mark.parametrize(
    ("how", "drawn"),
    [
        ("draws", True),
        ("not declared", False),
        ("quantiles", False),
        ("quantiles out of order", False),
        ("stratified", False),
        ("mirrored", False),
        ("doubled", False),
        ("two far apart", False),
        ("jittered", False),
        ("every tenth drawn", False),
        ("mirrored nearly", False),
        ("doubled nearly", False),
        ("half of it drawn", False),
    ],
)
@pytest.mark.parametrize("count", [10, 20, 50])
def test_members_that_are_not_draws_gain_nothing(how: str, drawn: bool, count: int) -> None:
    """Sets that only look like samples are scored as quantiles, and the other reading is told."""
    wanted = float(law_of(walk_of(200, seed=4), "new").values["crps"].mean())

    found = members_of(how, count)

    gain = 1 - float(found.values["crps"].mean()) / wanted
    assert gain < 0.012
    assert found.members == count
    assert found.drawn == drawn or (how, count) == ("mirrored nearly", 50)  # half a per cent
    if how in ("draws", "quantiles", "quantiles out of order", "stratified"):
        assert gain > -0.02
    if how in ("draws", "not declared", "quantiles"):
        assert (abs(found.reading_gap) > 0.02) == (count < 50)


@pytest.mark.parametrize("deviation", [5e-324, 1e-320, 1e-200, 1e-14])
def test_a_denormal_width_is_none(deviation: float) -> None:
    """A normal distribution narrower than any number can tell is scored as its middle."""
    truth = walk_of(20, seed=3)
    middle = np.repeat(truth.last[:, None], 4, axis=1)

    narrow, none = (
        score(
            truth, Forecast.of_gaussian(middle, 0 * middle + width), arm="a", role="legacy", seed=1
        )
        for width in (deviation, 0.0)
    )

    assert narrow.values["crps"] == pytest.approx(none.values["crps"], rel=1e-9)
    assert np.isfinite(narrow.values["crps"]).all()
    assert narrow.ok.all()


def test_a_gap_between_readings_is_a_caution() -> None:
    """Members that are quantiles are said to be, with what the other reading would change."""
    old = law_of(walk_of(200, seed=4), "old", noise=0.3)

    found = [verdicts.reasons(judged(old, members_of(how, 20))) for how in ("quantiles", "draws")]

    assert any("lie too evenly to be any; read as draws, their" in text for text in found[0])
    assert any("as independent draws; read as quantiles, their CRPS" in text for text in found[1])


@pytest.mark.parametrize("count", [2, 5, 9])
def test_fewer_than_ten_members_are_refused(count: int) -> None:
    """Two opposite samples scored 0: so few say nothing of a distribution."""
    truth = walk_of(3)
    few = Forecast.of_samples(np.zeros((3, count, 4)))

    with pytest.raises(ForecastError, match=f"{count} samples a window say too little"):
        score(truth, few, arm="new", role="candidate", seed=1)


def scaled_of(arm: str, scale: float, shift: float = 0.0) -> UnitScores:
    """A sound path, answered on another scale, with the distribution of its own past errors."""
    truth = walk_of(60, seed=3)
    point = np.repeat(truth.last[:, None], 4, axis=1) * scale + shift
    spread = np.linspace(-2, 2, len(LEVELS))
    forecast = Forecast.of_quantiles(point[..., None] + spread, LEVELS, point)
    role = "legacy" if arm == "old" else "candidate"
    return score(truth, forecast, arm=arm, role=role, seed=1, residual_distribution=True)


SCALES = [(1e-4, 0.0), (0.0, 0.6), (0.0, 5.0), (100.0, 0.0), (0.45, 0.0), (-1.0, 0.0)]
"""Factor and shift: returns, z-scores, logs, pence for pounds, half the price, a sign."""


@pytest.mark.parametrize(("scale", "shift"), SCALES)
@pytest.mark.parametrize("metric", ["crps", "mae", "coverage"])
def test_a_path_far_from_the_prices_is_refused(scale: float, shift: float, metric: str) -> None:
    """Whatever the rules name: a candidate's is a REJECT, a baseline's is said to be broken."""
    wins = Criterion(metric="crps", statistic="wins", margin=0.49)
    rules: dict[str, object] = {"criteria": (wins,)}
    if metric == "coverage":
        rules["coverage"] = (CoverageRule(level=80, tolerance=0.9),)
    else:
        rules["criteria"] = (Criterion(metric=metric, margin=0.9),)
    sound = [scaled_of(arm, 1.0) for arm in ("old", "new")]
    far = [scaled_of(arm, scale, shift) for arm in ("old", "new")]

    refused, cautioned = judged(sound[0], far[1], **rules), judged(far[0], sound[1], **rules)

    assert refused.outcome == Outcome.REJECT
    assert any(f.metric == "point_path" for f in refused.findings if f.outcome == Outcome.REJECT)
    assert any(
        "Caution: on GOLD the point path of old" in text for text in verdicts.reasons(cautioned)
    )
    assert not any("point path" in text for text in verdicts.reasons(judged(*sound, **rules)))


@pytest.mark.parametrize(("below", "told"), [(0, True), (3, True), (30, False)])
def test_a_few_prices_below_zero_hide_no_scale(below: int, told: bool) -> None:
    """As of oil in 2020: the other windows tell; where half are below 0 there is no scale."""
    last = np.full(60, 50.0)
    last[:below] = -20.0
    actual = np.repeat(last[:, None], 4, axis=1) + 1.0

    assert on_another_scale(np.full((60, 4), 0.3), actual, last) == told
    assert not on_another_scale(actual - 1.0, actual, last)


@pytest.mark.parametrize("bias", [0.0, 0.02, -0.02, 1.0])
def test_the_added_distribution_lies_around_the_path(bias: float, series: Series) -> None:
    """Its median is the path: errors of the validation span never repair a bias."""
    plan = RollingOrigin(horizon=3, stride=4, origins=20, validation=60)

    def point_at(rows: np.ndarray) -> np.ndarray:
        return np.repeat(series.target[rows - 1][:, None], 3, axis=1) * (1 - bias)

    found = measure_residuals(point_at, series, fitted_at=200, plan=plan)
    made = found.around(Forecast.of_point(np.full((1, 3), 70.0)), np.array([100.0]))

    assert made.quantiles is not None
    assert made.quantiles[0, :, LEVELS.tolist().index(0.5)] == pytest.approx(70.0)
    assert (np.diff(made.quantiles, axis=-1) >= 0).all()


def test_few_origins_asked_for_are_a_caution() -> None:
    """A policy that asks for fewer than twenty non-overlapping origins is told what that means."""
    truth = walk_of(60, seed=3)
    old, new = law_of(truth, "old", noise=0.8), law_of(truth, "new")

    few, enough = judged(old, new, min_origins=19), judged(old, new, min_origins=20)

    said = "the policy asks for 19 non-overlapping origins only"
    assert any(said in text for text in verdicts.reasons(few))
    assert not any("origins only" in text for text in verdicts.reasons(enough))


def mistaken(unit: UnitScores, windows: dict[int, float]) -> UnitScores:
    """The same scores with the losses of some windows replaced."""
    cells = unit.values["crps"].copy()
    for window, loss in windows.items():
        cells[window] = loss
    return dataclasses.replace(unit, values={**unit.values, "crps": cells})


def noisy(arm: str, level: float, *, seed: int, windows: int = 120) -> UnitScores:
    """Losses around a level, in units of the last value seen."""
    draw = np.random.default_rng(seed)
    return losses_of(level * (1 + 0.3 * draw.normal(size=windows)).clip(0.1), arm)


ABSURD = [{7: 1e9}, {7: 1e4}, {7: 100.0}, {0: 1e9, 60: 1e7, 119: 1e5}]
"""Losses of a few windows; the others are near 1."""


@pytest.mark.parametrize("absurd", ABSURD)
def test_one_absurd_forecast_hides_nothing(absurd: dict[int, float]) -> None:
    """A candidate 17 % worse is a REJECT with an absurd window as without one."""
    old, worse = noisy("old", 0.01, seed=1), noisy("new", 0.0117, seed=2)
    equal = noisy("new", 0.01, seed=3)

    plain, found = judged(old, worse), judged(old, mistaken(worse, absurd))

    assert plain.outcome == found.outcome == Outcome.REJECT
    assert judged(old, mistaken(equal, absurd)).outcome in (Outcome.HOLD, Outcome.REJECT)
    assert any(
        "counted as twice the largest loss that both" in text for text in verdicts.reasons(found)
    )


@pytest.mark.parametrize("absurd", ABSURD)
def test_an_absurd_legacy_forecast_earns_nothing(absurd: dict[int, float]) -> None:
    """A candidate as bad as ever is not promoted because legacy was absurd once."""
    old, worse = noisy("old", 0.01, seed=1), noisy("new", 0.0117, seed=2)

    assert judged(mistaken(old, absurd), worse).outcome == Outcome.REJECT
    both = mistaken(worse, {90: 1e6})
    assert judged(mistaken(old, absurd), both).outcome == Outcome.REJECT


def test_a_legacy_arm_beyond_all_measure_leaves_the_gate_standing() -> None:
    """Losses 1e30 times the candidate's are a sound PROMOTE, or are refused in words: no crash."""
    legacy, candidate = losses_of_two(1e-2)

    verdict = judged(losses_of(1e30 * legacy, "old"), losses_of(candidate, "new"))

    assert verdict.self_test is not None
    assert verdict.self_test.failures == ()
    assert verdict.outcome != Outcome.REJECT


def test_a_burst_that_both_sides_have_is_counted_as_it_is() -> None:
    """Large losses at the same origins are the data's: nobody is spared them."""
    burst = dict.fromkeys(range(0, 120, 9), 400.0)
    old = mistaken(noisy("old", 0.01, seed=1), burst)
    new = mistaken(noisy("new", 0.0102, seed=2), dict.fromkeys(burst, 200.0))

    found = judged(old, new)

    compared = found.findings[0].comparison
    assert compared is not None
    assert (compared.failed.candidate_capped, compared.failed.legacy_capped) == (0, 0)
    assert found.outcome == Outcome.PROMOTE


def test_rmse_is_one_number_everywhere() -> None:
    """The root over all seeds' squared errors, scaled in standings and finding."""
    truth = walk_of(80, seed=3)
    old = [law_of(truth, "old", noise=noise, seed=seed) for seed, noise in ((1, 0.1), (2, 1.5))]
    new = [law_of(truth, "new", noise=0.2, seed=seed) for seed in (1, 2)]
    walk = law_of(truth, "walk")
    units = [*old, *new, walk]
    cells = [Cell(arm=u.arm, dataset=u.dataset, seed=u.seed, role=u.role) for u in units]
    policy = Policy(
        baseline="old", candidate="new", criteria=(Criterion(metric="rmse", margin=0.02),)
    )
    squares = {
        arm: np.mean([unit.values["squared_error"] for unit in side])
        for arm, side in (("old", old), ("new", new))
    }

    found = gather(JudgedGrid(policy=policy, declared=cells, scores=units))
    table = {row.arm: row.value for row in summarise(units) if row.metric == "rmse"}

    standings = {s.arm: s.value for s in found.validity.standings if s.metric == "rmse"}
    for arm, square in squares.items():
        assert table[arm] == pytest.approx(np.sqrt(square))
    compared = found.findings[0].comparison
    assert compared is not None
    scaled = [
        np.mean([u.values["squared_error"] / truth.last[:, None] ** 2 for u in side])
        for side in (old, new)
    ]
    assert compared.effect.legacy == pytest.approx(np.sqrt(scaled[0]))
    assert compared.effect.candidate == pytest.approx(np.sqrt(scaled[1]))
    assert standings == pytest.approx(dict(zip(("old", "new"), np.sqrt(scaled), strict=True)))


@pytest.mark.parametrize(("overlap", "n"), [(1, 48), (5, 97), (24, 250)])
def test_the_printed_p_value_keeps_its_level(overlap: int, n: int) -> None:
    """The p-value of equal losses is that of the law that decides: 5 % is 5 % of true nulls."""
    draw = np.random.default_rng(1)
    wrong = 0
    for _ in range(600):
        noise = np.convolve(draw.normal(size=n + overlap - 1), np.ones(overlap), mode="valid")
        legacy = 1.0 + 0.02 * draw.normal(size=n)
        law = mean_ratio(legacy + 0.05 * noise, legacy, overlap).law
        found = diebold_mariano(0.05 * noise, law)
        assert found is not None
        wrong += found.p_value < 0.05

    assert wrong / 600 < 0.09  # three standard errors above 6.3 %, what 3,000 draws gave


def broken_off(early: float, late: float, *, seed: int = 0, windows: int = 250) -> Verdict:
    """The verdict on a candidate with one effect for 70 % of the history and another one since."""
    draw = np.random.default_rng(seed)
    effect = np.where(np.arange(windows) < 0.7 * windows, early, late)
    old = 0.01 * (1 + 0.05 * draw.normal(size=windows))
    new = old * (1 + effect + 0.3 * draw.normal(size=windows))
    return judged(losses_of(old, "old"), losses_of(new, "new"))


def test_a_break_is_not_averaged_away() -> None:
    """PROMOTE is HOLD while the last origins alone are beyond the margin, and says since when."""
    found = broken_off(-0.12, 0.06)

    compared = found.findings[0].comparison
    assert compared is not None
    assert compared.conclusion == "within"
    assert compared.recent is not None
    assert compared.recent.n == 75
    assert found.outcome == Outcome.HOLD
    said = f"not over the last 75, since {compared.recent.since}: +"
    assert said in sentence_of(found.findings[0])
    assert broken_off(-0.12, -0.12).outcome == Outcome.PROMOTE


@pytest.mark.parametrize(("late", "said"), [(-0.02, True), (-0.12, False)])
def test_a_break_that_few_origins_hardly_show_is_a_caution(late: float, said: bool) -> None:
    """A PROMOTE names last origins that lie within the margin by less than 0.6 of their error."""
    found = broken_off(-0.12, late, seed=0, windows=97)

    assert found.outcome == Outcome.PROMOTE
    named = [text for text in verdicts.reasons(found) if "over the last 30 origins alone" in text]
    assert bool(named) == said
    assert all("a change for the worse could be missed" in text for text in named)


def test_a_gain_that_is_gone_is_none() -> None:
    """A success shown over all origins is HOLD where the last ones alone show no gain at all."""
    draw = np.random.default_rng(1)
    level = np.where(np.arange(97) < 67, 0.8, 1.005)
    old = 0.01 * (1 + 0.05 * draw.normal(size=97))
    new = old * level * (1 + 0.05 * draw.normal(size=97))
    rules = (*CRPS, Criterion(metric="crps", role="success", margin=0.05))

    found = judged(losses_of(old, "old"), losses_of(new, "new"), mode="improve", criteria=rules)

    assert [f.outcome for f in found.findings[:2]] == [Outcome.PROMOTE, Outcome.HOLD]


@pytest.mark.slow
def test_equal_arms_are_seldom_rejected_by_many_rules() -> None:
    """Two datasets by three metrics at margin 0: the chances of a wrong REJECT do not add up."""
    rules = [Criterion(metric=metric) for metric in ("crps", "mae", "rmse")]
    policy = Policy(baseline="old", candidate="new", criteria=tuple(rules))
    shared = multiplicity_of(policy, ["A", "B"])
    names = ("crps", "absolute_error", "squared_error")
    rejected = alone = 0
    for seed in range(200):
        draw = np.random.default_rng(seed)
        found = []
        for dataset in ("A", "B"):
            truth = truth_of(40, 1, first=500, stride=1, dataset=dataset)
            old, new = (
                table_of(
                    {name: 1 + 0.3 * draw.normal(size=(40, 1)) for name in names},
                    arm=arm,
                    truth=truth,
                )
                for arm in ("old", "new")
            )
            for rule in rules:
                found += judge_rule(
                    rule,
                    dataset,
                    policy=policy,
                    question=shared.asked_by(rule),
                    candidate=[new],
                    legacy=[old],
                    ask=answer,
                )
        together = rejected_together(found, alpha=0.05)
        alone += any(each.outcome == Outcome.REJECT for each in found)
        rejected += any(each.outcome == Outcome.REJECT for each in together)

    assert alone / 200 > 0.15
    assert rejected / 200 <= 0.08


def test_one_bad_rule_among_many_is_a_reject() -> None:
    """What is plainly worse is a REJECT however many rules stand beside it."""
    draw = np.random.default_rng(1)
    truth = truth_of(60, 1, first=500, stride=1)
    names = {"crps": "crps", "mae": "absolute_error", "rmse": "squared_error"}
    old = {name: 1 + 0.1 * draw.normal(size=(60, 1)) for name in names.values()}
    new = {name: cells + 0.02 * draw.normal(size=(60, 1)) for name, cells in old.items()}
    new["crps"] = new["crps"] * 1.3
    rules = tuple(Criterion(metric=name, margin=0.05) for name in names)

    found = judged(
        table_of(old, arm="old", truth=truth), table_of(new, arm="new", truth=truth), criteria=rules
    )

    assert found.outcome == Outcome.REJECT
    assert found.multiplicity is not None
    assert found.multiplicity.alpha_reject == 0.05


def remembering(order: float, count: int, seed: int) -> np.ndarray:
    """Fractionally integrated noise of an order d, [n]."""
    lags = np.arange(1, count + 2000)
    weights = np.concatenate([[1.0], np.cumprod((lags - 1 + order) / lags)])
    noise = np.random.default_rng(seed).normal(size=count + 2000)
    return np.convolve(noise, weights)[2000 : count + 2000]


@pytest.mark.parametrize(("order", "said"), [(0.0, False), (0.45, True)])
def test_long_memory_is_a_caution(order: float, said: bool) -> None:
    """Differences whose autocorrelation hardly falls are named: their interval is too narrow."""
    differences = 0.05 * remembering(order, 1000, 3)
    legacy = 1 + 0.1 * np.random.default_rng(4).normal(size=1000)

    found = judged(losses_of(0.01 * legacy, "old"), losses_of(0.01 * (legacy + differences), "new"))

    cautions = [text for text in verdicts.reasons(found) if "long memory" in text]
    assert bool(cautions) == said
    compared = found.findings[0].comparison
    assert compared is not None
    assert compared.variances is not None
    assert compared.variances.memory is not None
    assert compared.variances.memory.order == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize(("gain", "said"), [(0.0, True), (0.2, False)])
@pytest.mark.parametrize("seed", [52, 111, 188])
def test_a_conclusion_that_memory_would_unmake_is_said(gain: float, said: bool, seed: int) -> None:
    """Memory that too few origins can show is a caution where the conclusion hangs on it."""
    differences = 0.1 * remembering(0.3, 60, seed)
    legacy = 1 + 0.1 * np.random.default_rng(1000 + seed).normal(size=60)

    found = judged(
        losses_of(0.01 * legacy, "old"),
        losses_of(0.01 * (legacy + differences - gain), "new"),
        criteria=(Criterion(metric="crps", margin=0.0),),
    )

    cautions = [text for text in verdicts.reasons(found) if "spells may last (long memory" in text]
    assert found.outcome == Outcome.PROMOTE
    assert bool(cautions) == said
    assert all("its result would not hold" in text for text in cautions)


@pytest.mark.slow
@pytest.mark.parametrize("persistence", [0.8, 0.9])
def test_clustered_hits_are_seldom_taken_for_enough(persistence: float) -> None:
    """Hits that follow the volatility pass the bound they lie on in at most 8 % of samples."""
    draw = np.random.default_rng(12)
    size = (500, 297)
    shocks = np.sqrt(1 - persistence**2) * draw.normal(size=size)
    level = lfilter([1.0], [1.0, -persistence], shocks, axis=1)[:, 200:]
    wild = np.exp(0.4 * draw.normal(size=400_000))
    half = np.quantile(np.abs(wild * draw.normal(size=400_000)), 0.8)
    hits = (np.abs(draw.normal(size=level.shape) * np.exp(0.4 * level)) < half).astype(float)
    question = Question(estimand=Coverage(level=80), bound_high=0.0)
    within = 0
    for each in hits:
        sides = Sides(above=each[None], below=np.ones((1, 97)), overlap=1)
        within += agreed(deciding(sides, question))[0] == "within"

    assert within / len(hits) <= 0.08


@pytest.mark.parametrize("windows", [8, 12, 16, 40])
def test_a_slice_has_the_interval_its_windows_support(windows: int) -> None:
    """Picked origins that do not overlap have Student's own interval, with n - 1 degrees."""
    draw = np.random.default_rng(windows)
    old, new = 1 + 0.1 * draw.normal(size=(2, windows))
    whole = [losses_of(0.01 * each, arm) for each, arm in ((new, "new"), (old, "old"))]
    both = pair([whole[0]], [whole[1]], "crps", part=True)
    question = Question(estimand=MeanLoss(metric="crps"), bound_high=0.0)

    found = comparison_of(both, question)

    difference = new - new.mean() / old.mean() * old
    half = t.ppf(0.975, windows - 1) * difference.std(ddof=1) / np.sqrt(windows) / old.mean()
    test = found.estimate("hac")
    assert test is not None
    assert (test.high - test.low) / 2 == pytest.approx(half, rel=0.03)  # type: ignore[operator]
    assert found.lengths.lag == 0
