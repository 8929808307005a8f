"""The reference forecasters against closed forms and plain loops."""

import re

import numpy as np
import pytest
from scipy.stats import t as student

from baselines.random_walk import RandomWalk, SeasonalNaive, VolatilityRandomWalk
from harness.arm_ref import ArmRef
from harness.errors import ArmError, ForecastError
from harness.forecast import LEVELS
from harness.window import RollingOrigin, contexts_at

PLAN = RollingOrigin(horizon=6, stride=20, origins=10, validation=20)


def contexts_of(series, length):
    return contexts_at(
        series, PLAN.over(series.dates).origin, plan=PLAN, length=length, levels=LEVELS
    )


def test_random_walk_quantiles_are_those_of_past_returns(series):
    """Each step's quantiles are the last price times past returns over as many steps."""
    contexts = contexts_of(series, 200)

    found = RandomWalk(context=200).forecast(contexts)

    seen = contexts.target[3]
    returns = [np.log(seen[i + 4] / seen[i]) for i in range(200 - 4)]
    assert (found.point == contexts.last[:, None]).all()
    assert np.allclose(found.quantiles[3, 3], seen[-1] * np.exp(np.quantile(returns, LEVELS)))


def test_drift_grows_by_the_mean_return(series):
    """With drift the point path continues the context's mean growth."""
    contexts = contexts_of(series, 101)

    found = RandomWalk(context=101, drift=True).forecast(contexts)

    growth = np.log(contexts.target[0, -1] / contexts.target[0, 0]) / 100
    assert np.allclose(found.point[0], contexts.last[0] * np.exp(growth * np.arange(1, 7)))


def test_volatility_random_walk_follows_its_recursion(series):
    """Widths equal those of a plain loop over squared returns and steps."""
    contexts = contexts_of(series, 250)
    arm = VolatilityRandomWalk()

    found = arm.forecast(contexts)

    returns = np.diff(np.log(contexts.target[2]))
    weights = [arm.decay ** (len(returns) - 1 - i) for i in range(len(returns))]
    recent = sum(w * r**2 for w, r in zip(weights, returns, strict=True)) / sum(weights)
    longrun = np.mean(returns**2)
    variance = sum(
        recent * arm.reversion**h + longrun * (1 - arm.reversion**h) for h in range(1, 7)
    )
    shocks = student.ppf(LEVELS, 6) * np.sqrt(4 / 6)
    expected = contexts.last[2] * np.exp(shocks * np.sqrt(variance))
    assert np.allclose(found.quantiles[2, 5], expected)


def test_seasonal_naive_repeats_the_last_season(series):
    """Step h repeats the session that many seasons back that has been seen."""
    contexts = contexts_of(series, 100)

    found = SeasonalNaive(context=100).forecast(contexts)

    assert np.array_equal(found.point[:, 0], contexts.target[:, -5])
    assert np.allclose(found.point[:, 4], contexts.target[:, -1])
    assert np.allclose(found.point[:, 5], contexts.target[:, -5])


@pytest.mark.parametrize("arm", [RandomWalk(), VolatilityRandomWalk(), SeasonalNaive()])
@pytest.mark.parametrize("scale", [1e-6, 1e9])
def test_scaled_prices_give_scaled_forecasts(series, arm, scale):
    """The unit of the price does not matter."""
    contexts = contexts_of(series, 150)
    scaled = type(contexts)(
        **{n: getattr(contexts, n) for n in contexts.__slots__}
        | {"target": contexts.target * scale}
    )

    one, other = arm.forecast(contexts), arm.forecast(scaled)

    assert np.allclose(one.quantiles * scale, other.quantiles, rtol=1e-9)


@pytest.mark.parametrize("arm", [RandomWalk(), VolatilityRandomWalk(), SeasonalNaive()])
def test_padded_contexts_equal_short_ones(series, arm):
    """Padding in front of a short history changes nothing."""
    origins = np.array([100, 300])
    together = contexts_at(series, origins, plan=PLAN, length=250, levels=LEVELS)
    alone = contexts_at(series, origins[:1], plan=PLAN, length=250, levels=LEVELS)

    assert np.allclose(arm.forecast(together).quantiles[0], arm.forecast(alone).quantiles[0])


def test_too_short_a_history_is_refused(series):
    """Fewer sessions than steps give no returns to learn from."""
    contexts = contexts_at(series, np.array([5]), plan=PLAN, length=250, levels=LEVELS)

    with pytest.raises(ForecastError, match="too few"):
        RandomWalk().forecast(contexts)


@pytest.mark.parametrize("options", [{"freedom": 2.0}, {"decay": 1.0}, {"reversion": 0.0}])
def test_impossible_options_are_refused(options):
    """Options without a meaning are refused by name."""
    with pytest.raises(ValueError, match=next(iter(options))):
        VolatilityRandomWalk(**options)


@pytest.mark.parametrize(
    ("use", "options", "said"),
    [
        ("RandomWalk", {"drift": "false"}, "drift = 'false': expected a valid boolean"),
        ("RandomWalk", {"context": "9"}, "context = '9': expected a valid integer"),
        ("VolatilityRandomWalk", {"freedom": "6"}, "freedom = '6': expected a valid number"),
        ("SeasonalNaive", {"season": 1.5}, "season = 1.5: expected a valid integer"),
    ],
)
def test_options_of_another_type_are_refused(use, options, said):
    """A text is no flag and no number: the arm is not made, and the option is named."""
    ref = ArmRef(name="walk", use=f"baselines.random_walk:{use}", role="reference", options=options)

    with pytest.raises(ArmError, match=re.escape(said)):
        ref.build()
