"""From repeated forecasts to the report of an uncertainty call."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from baselines.networks.config import Repairs

INTERVALS = {"68%": 0.68, "95%": 0.95, "99%": 0.99}
LEVEL_INTERVALS = ("68%", "95%")
EPISTEMIC_SHARE = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """Repeated forecasts, as far as a report reads them.

    Attributes
    ----------
    mean, variance : [B, P, C]
        Sample mean and sample variance.
    samples : [n, B, P, C] or None
        The forecasts themselves; None where only their moments were kept.
    """

    mean: Tensor
    variance: Tensor
    samples: Tensor | None

    @classmethod
    def kept(cls, samples: Tensor, repairs: Repairs) -> Draws:
        """Keep every forecast of [n, B, P, C].

        A single one has the variance 0 where that is repaired, NaN in the original.
        """
        if len(samples) > 1:
            variance = samples.var(0, unbiased=True)
        elif repairs.safe_spread:
            variance = torch.zeros_like(samples[0])
        else:
            variance = samples[0] * math.nan
        return cls(mean=samples.mean(0), variance=variance, samples=samples)

    @classmethod
    def streamed(cls, parts: Iterable[Tensor], repairs: Repairs) -> Draws:
        """Keep running moments of parts [k, B, P, C], so that memory does not grow with them.

        Parts are merged by the update of Chan, Golub and LeVeque (1979), in the order they come.
        """
        count, mean, squares = 0, torch.zeros(()), torch.zeros(())
        for part in parts:
            size, own = len(part), part.mean(0)
            shift = own - mean
            squares = squares + (part - own).square().sum(0)
            squares = squares + shift.square() * (count * size / (count + size))
            mean = mean + shift * (size / (count + size))
            count += size
        if count == 1:
            variance = torch.full_like(mean, 0.0 if repairs.safe_spread else math.nan)
        else:
            variance = squares / (count - 1)
        return cls(mean=mean, variance=variance, samples=None)

    def of(self, channels: slice) -> Draws:
        """The same forecasts of some channels only."""
        samples = None if self.samples is None else self.samples[..., channels]
        mean, variance = self.mean[..., channels], self.variance[..., channels]
        return Draws(mean=mean, variance=variance, samples=samples)


def report(
    draws: Draws,
    levels: tuple[float, ...],
    noise: Tensor | None,
    repairs: Repairs,
) -> dict[str, Any]:
    """Describe repeated forecasts.

    `noise` [C] is the learned variance of an observation, present where that is repaired; without
    it the intervals are sample quantiles, for which `draws` must hold its samples.
    Keys: prediction, uncertainty, variance, confidence_intervals; quantile_specific where there
    are levels. The first four are of all channels, the quantiles' among them, or of the median's
    alone where that is repaired (B-34).
    """
    point, own = draws, noise
    if repairs.point_report and len(levels) > 1:
        nearest = min(range(len(levels)), key=lambda index: abs(levels[index] - 0.5))
        point, own = _channels(draws, noise, slice(nearest, None, len(levels)))
    total = point.variance if own is None else point.variance + own
    result: dict[str, Any] = {
        "prediction": point.mean,
        "uncertainty": _root(total, repairs),
        "variance": total,
        "confidence_intervals": _intervals(point, own, tuple(INTERVALS)),
    }
    by_level, width = {}, draws.mean.shape[-1] // max(1, len(levels))
    for index, level in enumerate(levels):
        channels = slice(index * width, (index + 1) * width)  # blocks in the original (B-13)
        if repairs.target_major_report:
            channels = slice(index, None, len(levels))
        part, part_noise = _channels(draws, noise, channels)
        total = part.variance if part_noise is None else part.variance + part_noise
        spread = _root(total, repairs)
        by_level[f"quantile_{level}"] = {
            "prediction": part.mean,
            "uncertainty": spread,
            "confidence_intervals": _intervals(part, part_noise, LEVEL_INTERVALS),
            "certainty_score": 1.0 / (1.0 + spread / (part.mean.abs() + 1e-8)),
        }
    return {**result, "quantile_specific": by_level} if levels else result


def details(draws: Draws, noise: Tensor | None, repairs: Repairs) -> dict[str, Tensor | None]:
    """What a detailed report adds: the samples, and the epistemic and aleatoric parts."""
    if noise is None:
        total = draws.variance
        epistemic, aleatoric = EPISTEMIC_SHARE * total, (1 - EPISTEMIC_SHARE) * total
    else:
        total, epistemic, aleatoric = draws.variance + noise, draws.variance, noise
    return {
        "predictions_samples": draws.samples,
        "epistemic_uncertainty": _root(epistemic, repairs),
        "aleatoric_uncertainty": _root(aleatoric, repairs).expand_as(total),
        "total_uncertainty": _root(total, repairs),
    }


def _root(variance: Tensor, repairs: Repairs) -> Tensor:
    """Square root; with a gradient of 0, not NaN, at 0 where that is repaired."""
    if not repairs.safe_spread:
        return variance.sqrt()
    positive = variance > 0
    return torch.where(positive, torch.where(positive, variance, 1.0).sqrt(), 0.0)


def _intervals(
    draws: Draws, noise: Tensor | None, names: tuple[str, ...]
) -> dict[str, dict[str, Tensor]]:
    """Central intervals: sample quantiles, or normal ones where the noise is known."""
    found = {}
    for name in names:
        tail = (1.0 - INTERVALS[name]) / 2.0
        if noise is None:
            assert draws.samples is not None
            lower, upper = (draws.samples.quantile(q, dim=0) for q in (tail, 1.0 - tail))
        else:
            total = draws.variance + noise
            reach = -torch.special.ndtri(total.new_tensor(tail)) * total.sqrt()
            lower, upper = draws.mean - reach, draws.mean + reach
        found[name] = {"lower": lower, "upper": upper, "width": upper - lower}
    return found


def _channels(draws: Draws, noise: Tensor | None, channels: slice) -> tuple[Draws, Tensor | None]:
    """The forecasts, and the noise of an observation, of some channels only."""
    return draws.of(channels), None if noise is None else noise[channels]
