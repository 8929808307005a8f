"""The quantile loss, weighted. Shapes: B series, T context values, H steps, Q levels."""

from __future__ import annotations

import torch
from torch import Tensor

from candidates.pretraining.batches import Batch, scale_of
from candidates.pretraining.recipe import Loss

ERROR_LIMIT = 60.0
"""Errors are cut at so many standard deviations of the context."""

_FLOOR = 0.05


def quantile_loss(quantiles: Tensor, batch: Batch, *, levels: Tensor, weights: Loss) -> Tensor:
    """Mean of ``2 max(u e, (u - 1) e)``, e the error in standard deviations of the context.

    With both weights 0 this is Chronos-Bolt's own loss divided by the number of steps (the library
    sums over steps), but for the cut at 60 deviations.

    Parameters
    ----------
    quantiles : [B, Q, H]
        In the unit of the batch.
    levels : [Q]
    """
    _, deviation = scale_of(batch.context)
    error = (batch.target[:, None] - quantiles.float()) / deviation[:, :, None]
    error = error.clamp(-ERROR_LIMIT, ERROR_LIMIT)
    level = levels[None, :, None]
    pinball = 2 * torch.maximum(level * error, (level - 1) * error)
    near = near_weights(pinball.shape[2], weights.near, device=pinball.device)
    calm = calm_weights(batch.context, weights.calm)
    return (pinball.mean(dim=1) * near * calm[:, None]).mean()


def near_weights(steps: int, power: float, *, device: torch.device) -> Tensor:
    """Weights of steps 1 .. H, falling as ``h^-power``, with mean 1, [H]."""
    weights = torch.arange(1, steps + 1, device=device).float() ** -power
    return weights / weights.mean()


def calm_weights(context: Tensor, power: float) -> Tensor:
    """Weights of series by how little they move from value to value, with mean 1, [B]."""
    _, deviation = scale_of(context)
    change = torch.diff(context, dim=1).abs().nanmean(dim=1) / deviation[:, 0]
    weights = (1 / (_FLOOR + change)) ** power
    return weights / weights.mean()
