"""From quantiles to the report of an uncertainty call, in the layout of the legacy dictionaries.

Shapes: B windows, P steps, nt targets, nq levels of the output, Q levels read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from candidates.replacement.levels import beyond, node_levels, spread

INTERVALS = {"68%": 0.68, "95%": 0.95, "99%": 0.99}
LEVEL_INTERVALS = ("68%", "95%")
DEFAULT_LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
SAMPLES = 50

Reader = Callable[[Sequence[float]], Tensor]
"""Levels [Q] to quantiles [B, P, nt, Q]."""


def label(level: float) -> str:
    """The name of a level: q10, q2.5."""
    return f"q{100 * level:g}"


def report(
    read: Reader,
    *,
    own: Sequence[float],
    named: Sequence[float],
    output: Sequence[float],
    detailed: bool,
) -> dict[str, Any]:
    """Describe the predictive distribution.

    Parameters
    ----------
    read
        Gives quantiles at any levels.
    own
        Levels the backbone was trained on; beyond them quantiles are extrapolated.
    named
        Levels reported by name, as q10.
    output
        Levels of the output's last axis; empty in point mode.
    detailed
        Adds `predictions_samples`, equally likely values of each step, and `total_uncertainty`.

    Returns
    -------
    Keys of every report: prediction, uncertainty, variance, confidence_intervals, quantiles,
    extrapolated. In quantile mode also quantile_specific, and the first four are nt * nq wide,
    target-major: what they say of a target is repeated for each of its levels.
    """
    rest = (*node_levels()[0], *(_even() if detailed else ()))
    wanted = tuple(sorted({0.5, *named, *output, *_interval_levels(), *rest}))
    found = read(wanted)  # [B, P, nt, Q]
    at = {level: found[..., place] for place, level in enumerate(wanted)}
    nodes = found[..., [wanted.index(level) for level in node_levels()[0]]]
    sd, bands = spread(nodes), {}
    for name, share in INTERVALS.items():
        lower, upper = (at[level] for level in _ends(share))
        bands[name] = {"lower": lower, "upper": upper, "width": upper - lower}

    def wide(figure: Tensor) -> Tensor:
        return figure.repeat_interleave(len(output), dim=-1) if output else figure

    result: dict[str, Any] = {
        "prediction": target_major([at[level] for level in output]) if output else at[0.5],
        "uncertainty": wide(sd),
        "variance": wide(sd).square(),
        "confidence_intervals": {
            name: {key: wide(side) for key, side in band.items()} for name, band in bands.items()
        },
        "quantiles": {label(level): at[level] for level in named},
        "extrapolated": beyond(own, sorted({*named, *output, *_interval_levels()})),
    }
    if output:
        result["quantile_specific"] = {
            f"quantile_{level}": {
                "prediction": at[level],
                "uncertainty": sd,
                "confidence_intervals": {name: bands[name] for name in LEVEL_INTERVALS},
                "certainty_score": 1.0 / (1.0 + sd / (at[level].abs() + 1e-8)),
            }
            for level in output
        }
    if detailed:
        drawn = found[..., [wanted.index(level) for level in _even()]].movedim(-1, 0)
        result["predictions_samples"] = drawn.repeat_interleave(max(1, len(output)), dim=-1)
        result["total_uncertainty"] = result["uncertainty"]
    return result


def target_major(by_level: Sequence[Tensor]) -> Tensor:
    """Quantiles [B, P, nt] of nq levels as [B, P, nt * nq]: channel t * nq + q."""
    import torch

    return torch.stack(list(by_level), dim=-1).flatten(-2)


def _ends(share: float) -> tuple[float, float]:
    tail = round((1.0 - share) / 2.0, 6)
    return tail, 1.0 - tail


def _even() -> tuple[float, ...]:
    return tuple((place + 0.5) / SAMPLES for place in range(SAMPLES))


def _interval_levels() -> list[float]:
    return [level for share in INTERVALS.values() for level in _ends(share)]
