"""The loss is Chronos-Bolt's, weighted as the recipe says."""

import numpy as np
import pytest
import torch

from candidates.pretraining.mixture import Batches, TrainingBatch
from candidates.pretraining.optimise import build_network, calm_weights, near_weights, quantile_loss
from candidates.pretraining.recipe import Loss

LEVELS = torch.tensor([0.1, 0.5, 0.9])
PLAIN = Loss(near=0.0, calm=0.0)


def made(rng, *, count=6):
    return TrainingBatch(
        context=torch.randn(count, 64, generator=rng).cumsum(1),
        target=torch.randn(count, 24, generator=rng),
    )


def test_unweighted_loss_is_the_librarys(tiny):
    """Times the number of steps it is what the library's own forward pass answers."""
    network = build_network(tiny).eval()
    batch = Batches(recipe=tiny).at(0)

    with torch.no_grad():
        theirs = network(context=batch.context, target=batch.target.clone())
        ours = quantile_loss(theirs.quantile_preds, batch, levels=LEVELS, weights=PLAIN)

    assert float(ours) * 24 == pytest.approx(float(theirs.loss), rel=1e-4)


def test_weighted_loss_is_its_plain_loop(rng):
    """A loop over series, levels and steps gives the same number."""
    batch = made(rng)
    quantiles = torch.randn(6, 3, 24, generator=rng)
    weights = Loss(near=0.4, calm=1.0)

    ours = quantile_loss(quantiles, batch, levels=LEVELS, weights=weights)

    near = np.arange(1, 25) ** -0.4
    deviation = batch.context.numpy().std(axis=1)
    calm = 1 / (0.05 + np.abs(np.diff(batch.context.numpy(), axis=1)).mean(axis=1) / deviation)
    total = 0.0
    for series in range(6):
        for index, level in enumerate((0.1, 0.5, 0.9)):
            for step in range(24):
                gap = float(batch.target[series, step] - quantiles[series, index, step])
                error = np.clip(gap / deviation[series], -60, 60)
                pinball = 2 * max(level * error, (level - 1) * error)
                total += pinball * near[step] / near.mean() * calm[series] / calm.mean()
    assert float(ours) == pytest.approx(total / (6 * 3 * 24), rel=1e-4)


def test_loss_ignores_the_unit(rng):
    """Prices a million times as large give the same loss."""
    batch, quantiles = made(rng), torch.randn(6, 3, 24, generator=rng)
    large = TrainingBatch(context=batch.context * 1e6, target=batch.target * 1e6)

    one = quantile_loss(quantiles, batch, levels=LEVELS, weights=Loss())
    other = quantile_loss(quantiles * 1e6, large, levels=LEVELS, weights=Loss())

    assert float(one) == pytest.approx(float(other), rel=1e-4)


def test_weights_have_mean_one_and_their_order(rng):
    """Near steps weigh more than far ones, calm series more than wild ones; power 0 is even."""
    near = near_weights(24, 0.4, device=torch.device("cpu"))
    walk = torch.randn(1, 300, generator=rng).cumsum(1)
    calm = calm_weights(torch.cat([walk, torch.randn(1, 300, generator=rng)]), 1.0)

    assert float(near.mean()) == pytest.approx(1)
    assert bool((torch.diff(near) < 0).all())
    assert float(calm.mean()) == pytest.approx(1)
    assert calm[0] > 3 * calm[1]
    assert near_weights(5, 0.0, device=torch.device("cpu")).tolist() == [1] * 5
    assert calm_weights(walk, 0.0).tolist() == [1]
