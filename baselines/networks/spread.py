"""From repeated forecasts to the report of an uncertainty call."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from baselines.networks.config import Repairs

INTERVALS = {"68%": 0.68, "95%": 0.95, "99%": 0.99}
LEVEL_INTERVALS = ("68%", "95%")
EPISTEMIC_SHARE = 0.7


def report(
    samples: Tensor,
    levels: tuple[float, ...],
    noise: Tensor | None,
    repairs: Repairs,
    *,
    detailed: bool,
) -> dict[str, Any]:
    """Describe samples [n, B, P, C].

    `noise` [C] is the learned variance of an observation, present where that is repaired.
    Keys: prediction, uncertainty, variance, confidence_intervals; quantile_specific where there
    are levels; predictions_samples and the epistemic and aleatoric parts where `detailed`.
    """
    variance = _variance(samples, repairs)
    total = variance if noise is None else variance + noise
    result: dict[str, Any] = {
        "prediction": samples.mean(0),
        "uncertainty": _root(total, repairs),
        "variance": total,
        "confidence_intervals": _intervals(samples, total, noise, tuple(INTERVALS)),
    }
    if levels:
        result["quantile_specific"] = _by_level(samples, levels, noise, repairs)
    if detailed:
        epistemic, aleatoric = variance, noise
        if noise is None:
            epistemic, aleatoric = EPISTEMIC_SHARE * total, (1 - EPISTEMIC_SHARE) * total
        assert aleatoric is not None
        result["predictions_samples"] = samples
        result["epistemic_uncertainty"] = _root(epistemic, repairs)
        result["aleatoric_uncertainty"] = _root(aleatoric, repairs).expand_as(total)
        result["total_uncertainty"] = result["uncertainty"]
    return result


def _variance(samples: Tensor, repairs: Repairs) -> Tensor:
    """Sample variance; 0 for a single sample where that is repaired, NaN in the original."""
    if repairs.safe_spread and len(samples) == 1:
        return torch.zeros_like(samples[0])
    return samples.var(0, unbiased=True) if len(samples) > 1 else samples[0] * math.nan


def _root(variance: Tensor, repairs: Repairs) -> Tensor:
    """Square root; with a gradient of 0, not NaN, at 0 where that is repaired."""
    if not repairs.safe_spread:
        return variance.sqrt()
    positive = variance > 0
    return torch.where(positive, torch.where(positive, variance, 1.0).sqrt(), 0.0)


def _intervals(
    samples: Tensor, total: Tensor, noise: Tensor | None, names: tuple[str, ...]
) -> dict[str, dict[str, Tensor]]:
    """Central intervals: sample quantiles, or normal ones where the noise is known."""
    found = {}
    for name in names:
        tail = (1.0 - INTERVALS[name]) / 2.0
        if noise is None:
            lower, upper = samples.quantile(tail, dim=0), samples.quantile(1.0 - tail, dim=0)
        else:
            reach = -torch.special.ndtri(total.new_tensor(tail)) * total.sqrt()
            lower, upper = samples.mean(0) - reach, samples.mean(0) + reach
        found[name] = {"lower": lower, "upper": upper, "width": upper - lower}
    return found


def _by_level(
    samples: Tensor, levels: tuple[float, ...], noise: Tensor | None, repairs: Repairs
) -> dict[str, dict[str, Any]]:
    """The same figures for the channels of each level: blocks in the original (B-13)."""
    found, count = {}, len(levels)
    width = samples.shape[-1] // count
    for index, level in enumerate(levels):
        channels = slice(index * width, (index + 1) * width)
        if repairs.target_major_report:
            channels = slice(index, None, count)
        part, part_noise = samples[..., channels], None if noise is None else noise[channels]
        variance = _variance(part, repairs)
        total = variance if part_noise is None else variance + part_noise
        mean, spread = part.mean(0), _root(total, repairs)
        found[f"quantile_{level}"] = {
            "prediction": mean,
            "uncertainty": spread,
            "confidence_intervals": _intervals(part, total, part_noise, LEVEL_INTERVALS),
            "certainty_score": 1.0 / (1.0 + spread / (mean.abs() + 1e-8)),
        }
    return found
