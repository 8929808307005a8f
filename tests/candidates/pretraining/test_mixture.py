"""Pools hold what the recipe says."""

import dataclasses

import pytest
import torch
from scipy import stats

from candidates.pretraining.mixture import (
    Dice,
    draw_garch,
    draw_pool,
    draw_price_like,
    draw_structural,
)
from candidates.pretraining.recipe import Mixture, PriceLike, Structural

PLAIN = PriceLike(
    constant_volatility=0,
    asymmetric=0,
    autocorrelated=0,
    drifting=0,
    jumping=0,
    with_holidays=0,
    levels=1,
    logs=0,
)


def pool(seed=0, mixture=None, count=200):
    rng = torch.Generator().manual_seed(seed)
    return draw_pool(rng, count, length=120, mixture=mixture or Mixture())


def test_a_pool_is_finite_and_follows_its_seed():
    """Shape, no NaN; the same seed the same series, another seed others; nothing global moves."""
    before = torch.get_rng_state()

    one = pool()

    assert one.shape == (200, 120)
    assert torch.isfinite(one).all()
    assert torch.equal(one, pool())
    assert not torch.equal(one, pool(seed=1))
    assert torch.equal(before, torch.get_rng_state())


def test_volatility_is_stationary_and_in_its_range(rng):
    """Every process drawn has a finite variance, a deviation of 0.2 to 4 %, coefficients from 0."""
    model = draw_garch(Dice(rng, 5000), PriceLike())

    persistence = model.alpha + model.gamma / 2 + model.beta
    deviation = torch.sqrt(model.variance)
    assert float(persistence.max()) < 1
    assert all(float(each.min()) >= 0 for each in (model.omega, model.alpha, model.beta))
    assert 0.0019 < float(deviation.min()) < float(deviation.max()) < 0.0401
    assert float((model.alpha == 0).float().mean()) == pytest.approx(0.25, abs=0.03)
    assert float((model.gamma > 0).float().mean()) == pytest.approx(0.75 * 0.5, abs=0.03)


@pytest.mark.parametrize("form", ["levels", "logs", "returns"])
def test_forms_are_what_they_are_called(rng, form):
    """Prices are positive; logarithms wander; returns start at 0 and have no memory to speak of."""
    share = {"levels": 0.0, "logs": 0.0} | ({form: 1.0} if form != "returns" else {})

    drawn = draw_price_like(rng, 300, length=200, shares=dataclasses.replace(PLAIN, **share))

    steps = torch.diff(drawn, dim=1)
    memory = float((drawn[:, 1:] * drawn[:, :-1]).mean() / (drawn**2).mean())
    assert (float(drawn.min()) > 0) == (form == "levels")
    assert (memory > 0.9) == (form != "returns")
    assert float(steps.abs().max()) > 0


def test_price_like_returns_have_heavy_tails(rng):
    """Pooled standardised returns have far more kurtosis than normal ones."""
    shares = dataclasses.replace(PLAIN, levels=0.0)

    drawn = draw_price_like(rng, 300, length=500, shares=shares)[:, 1:]

    standard = drawn / drawn.std(1, keepdim=True)
    assert stats.kurtosis(standard.numpy(), axis=None) > 1.0


def test_holidays_come_to_their_share_of_series(rng):
    """Repeats are there where they are asked for, and nowhere else."""
    drawn = draw_price_like(
        rng, 400, length=400, shares=dataclasses.replace(PLAIN, with_holidays=0.5)
    )

    repeating = (torch.diff(drawn, dim=1) == 0).float().mean(1) > 0.002
    assert float(repeating.float().mean()) == pytest.approx(0.48, abs=0.08)


def test_structure_off_leaves_fine_noise(rng):
    """With every share 0 only the white noise is left, below a deviation of 0.75."""
    none = Structural(seasonal=0, coloured=0, trending=0, shifted=0, walking=0, exponential=0)

    drawn = draw_structural(rng, 200, length=300, shares=none)

    assert 0.004 < float(drawn.std(1).min()) < float(drawn.std(1).max()) < 0.85
    assert float((drawn[:, 1:] * drawn[:, :-1]).mean()) == pytest.approx(0, abs=0.01)


def test_shares_decide_what_a_pool_holds():
    """Price-like series as levels are positive, structural ones are not: 70 % is 70 %."""
    mixture = Mixture(
        price_like=0.7,
        mixed=0.0,
        prices=PLAIN,
        structure=Structural(exponential=0.0),
    )

    drawn = pool(mixture=mixture, count=1000)

    assert float((drawn.min(1).values > 0).float().mean()) == pytest.approx(0.7, abs=0.05)


def test_mixed_series_are_combinations_of_standardised_ones():
    """With all of them mixed no prices are left, and no series spreads by more than 1."""
    mixture = Mixture(price_like=1.0, mixed=1.0, prices=PLAIN)

    drawn = pool(mixture=mixture)

    assert float(drawn.mean(1).abs().max()) < 1e-3
    assert float(drawn.std(1).max()) < 1.001
