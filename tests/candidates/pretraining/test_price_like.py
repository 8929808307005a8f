"""Price-like series have the statistics they are named for."""

import numpy as np
import pytest
import torch
from scipy import stats

from candidates.pretraining.mixture import (
    CEILING,
    Garch,
    autoregression,
    garch_innovations,
    jumps,
    log_price,
    price,
    returns_of,
    student_shocks,
    with_holidays,
)


def garch(omega, alpha, gamma, beta, *, count=1):
    def same(value):
        return torch.full((count,), value, dtype=torch.float64)

    return Garch(omega=same(omega), alpha=same(alpha), gamma=same(gamma), beta=same(beta))


def correlation(series, lag=1):
    """Autocorrelation of rows [B, T], over all of them."""
    centred = series - series.mean()
    return float((centred[:, lag:] * centred[:, :-lag]).mean() / (centred**2).mean())


@pytest.mark.parametrize("freedom", [3.5, 6.0, 30.0])
def test_shocks_are_student_t_of_unit_variance(rng, freedom):
    """Scaled back, they pass for draws from Student's t, tails included."""
    drawn = student_shocks(rng, 20_000, freedom=torch.full((5,), freedom)).numpy().ravel()

    scaled = drawn * np.sqrt(freedom / (freedom - 2))

    assert stats.kstest(scaled, stats.t(freedom).cdf).pvalue > 1e-3
    assert np.mean(np.abs(scaled) > stats.t(freedom).ppf(0.999)) == pytest.approx(2e-3, rel=0.25)
    assert drawn.std() == pytest.approx(1, abs=0.05)


def test_shocks_are_cut_and_independent(rng):
    """None is larger than the limit, and a shock says nothing of the next."""
    drawn = student_shocks(rng, 50_000, freedom=torch.full((4,), 3.5), limit=3.0)

    assert drawn.abs().max() == 3.0
    assert correlation(drawn) == pytest.approx(0, abs=0.01)
    assert correlation(drawn.abs()) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(
    "parameters", [(0.02, 0.05, 0.1, 0.85), (0.1, 0.1, 0.0, 0.8), (1.0, 0.0, 0.0, 0.0)]
)
def test_recursion_is_that_of_arch(parameters):
    """From the same shocks, the innovations are those of the simulator of `arch`."""
    from arch.univariate import GARCH  # a second, which no other test has to wait for

    shocks = np.random.default_rng(0).standard_t(8, size=400)
    model = garch(*parameters)
    reference, _ = GARCH(p=1, o=1, q=1).simulate(
        np.array(parameters), 400, lambda _: shocks, burn=0, initial_value=float(model.variance)
    )

    ours = garch_innovations(torch.from_numpy(shocks)[None], model)[0].numpy()

    assert np.allclose(ours, reference, rtol=1e-12)


def test_garch_has_its_variance_and_clusters(rng):
    """Innovations have the stated variance and no autocorrelation; their squares have one."""
    model = garch(0.05, 0.1, 0.0, 0.85, count=400)
    shocks = torch.randn(400, 1500, generator=rng, dtype=torch.float64)

    drawn = garch_innovations(shocks, model)

    assert float(model.variance[0]) == pytest.approx(1.0)
    assert float(drawn.var()) == pytest.approx(1.0, rel=0.05)
    assert correlation(drawn) == pytest.approx(0, abs=0.01)
    # for GARCH(1, 1): rho_1 = a (1 - b (a + b)) / (1 - 2 a b - b^2)
    expected = 0.1 * (1 - 0.85 * 0.95) / (1 - 2 * 0.1 * 0.85 - 0.85**2)
    assert correlation(drawn**2) == pytest.approx(expected, abs=0.03)
    assert float(stats.kurtosis(drawn.numpy(), axis=None)) > 0.3


def test_falls_raise_volatility_more_than_rises(rng):
    """With gamma above 0 the step after a fall is wilder than the step after a rise."""
    shocks = torch.randn(200, 1000, generator=rng, dtype=torch.float64)

    drawn = garch_innovations(shocks, garch(0.05, 0.02, 0.2, 0.8, count=200))

    before, after = drawn[:, :-1], drawn[:, 1:]
    assert after[before < 0].std() > 1.05 * after[before > 0].std()


def test_variance_stays_below_its_ceiling():
    """A shock beyond all measure does not blow a series up."""
    shocks = torch.ones(1, 200, dtype=torch.float64) * 12
    model = garch(0.05, 0.15, 0.0, 0.84)

    drawn = garch_innovations(shocks, model)

    assert float(drawn.max()) == pytest.approx(12 * float(torch.sqrt(CEILING * model.variance[0])))


def test_autoregression_is_its_recursion(rng):
    """It equals a plain loop, and its first autocorrelation is phi."""
    phi = torch.tensor([0.15, -0.1])
    shocks = torch.randn(2, 40_000, generator=rng)

    series = autoregression(shocks, phi)

    last = 0.0
    for step in range(5):
        last = 0.15 * last + float(shocks[0, step])
        assert float(series[0, step]) == pytest.approx(last, rel=1e-5)
    assert correlation(series[:1]) == pytest.approx(0.15, abs=0.02)
    assert correlation(series[1:]) == pytest.approx(-0.1, abs=0.02)


def test_jumps_have_their_rate_and_size(rng):
    """The stated share of steps jumps, by the stated standard deviation; at rate 0 none."""
    rate, size = torch.tensor([0.02, 0.0]), torch.tensor([3.0, 3.0])

    drawn = jumps(rng, 100_000, rate=rate, size=size)

    happened = drawn[0][drawn[0] != 0]
    assert len(happened) / 100_000 == pytest.approx(0.02, rel=0.1)
    assert float(happened.std()) == pytest.approx(3, rel=0.1)
    assert not drawn[1].any()


def test_holidays_repeat_the_value_before(rng):
    """The stated share of steps repeats; every other value is the one that was there."""
    series = torch.arange(50_000.0).repeat(2, 1)

    held = with_holidays(rng, series, rate=torch.tensor([0.05, 0.0]))

    repeats = torch.diff(held[0]) == 0
    assert float(repeats.float().mean()) == pytest.approx(0.05, rel=0.1)
    assert torch.equal(held[0, 1:][~repeats], series[0, 1:][~repeats])
    assert torch.equal(held[1], series[1])


def test_forms_of_a_price_belong_together(rng):
    """Returns add up to the logarithm of the price, and come back from it."""
    returns = 0.01 * torch.randn(3, 500, generator=rng, dtype=torch.float64)

    path = log_price(returns)

    assert torch.allclose(returns_of(path)[:, 1:], returns[:, 1:])
    assert not returns_of(path)[:, 0].any()
    assert torch.allclose(torch.log(price(path)), path)
    assert torch.isfinite(price(torch.tensor([[1e4, -1e4]]))).all()


def test_series_follow_the_generator_alone():
    """The same generator state gives the same bits; the global random state is not touched."""
    before = torch.get_rng_state()

    one, other = (
        student_shocks(torch.Generator().manual_seed(3), 50, freedom=torch.tensor([4.0]))
        for _ in range(2)
    )

    assert torch.equal(one, other)
    assert torch.equal(before, torch.get_rng_state())
