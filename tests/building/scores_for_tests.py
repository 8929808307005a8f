"""The one builder of truths and scores for tests: no other test fills in `UnitScores` by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import ndtri

from harness.arm import Role
from harness.forecast import LEVELS, Forecast
from harness.scoring.scores import Truth, UnitScores, score

ROLES: Mapping[str, Role] = {"old": "legacy", "other": "legacy", "new": "candidate"}
"""What an arm is by its name; every other name is a reference."""


def truth_of(
    windows: int, steps: int = 4, *, first: int = 500, stride: int = 4, **changes: Any
) -> Truth:
    """Actuals of 100 that never move; `changes` are fields of `Truth`."""
    origin = first + stride * np.arange(windows, dtype=np.int64)
    given = {
        "dataset": "X",
        "origin": origin,
        "origin_date": np.datetime64("2010-01-04", "D") + origin,
        "step": np.arange(1, steps + 1),
        "values": np.full((windows, steps), 100.0),
        "last": np.full(windows, 100.0),
        "naive_scale": np.ones(windows),
    }
    return Truth(**given | changes)


def walk_of(
    windows: int = 60, steps: int = 4, *, seed: int = 0, price: float = 150.0, **changes: Any
) -> Truth:
    """Actuals of a random walk of prices, on the dataset GOLD unless told otherwise."""
    draw = np.random.default_rng(seed)
    path = price + np.cumsum(draw.normal(size=windows * 4 + 60))
    plain = truth_of(windows, steps, first=50, **{"dataset": "GOLD"} | changes)
    given = {
        "values": path[plain.origin[:, None] + np.arange(steps)],
        "last": path[plain.origin - 1],
    }
    return truth_of(windows, steps, first=50, **{"dataset": "GOLD"} | given | changes)


def table_of(
    values: Mapping[str, np.ndarray],
    *,
    arm: str = "new",
    role: Role | None = None,
    seed: int = 1,
    failed: Sequence[int] = (),
    truth: Truth | None = None,
    **options: Any,
) -> UnitScores:
    """Scores [W, H] by metric as they are, NaN on the windows that failed.

    `options` are those of `truth_of`, where no truth is given.
    """
    windows, steps = next(iter(values.values())).shape
    ok = np.ones(windows, dtype=bool)
    ok[list(failed)] = False
    judged = truth or truth_of(windows, steps, **options)
    return UnitScores(
        arm=arm,
        role=role or ROLES.get(arm, "reference"),
        seed=seed,
        truth=judged,
        truth_digest=judged.digest,
        ok=ok,
        reason=tuple("" if fine else "crash" for fine in ok.tolist()),
        values={name: np.where(ok[:, None], cells, np.nan) for name, cells in values.items()},
    )


def with_truth(unit: UnitScores, **changes: Any) -> UnitScores:
    """The same scores judged against a truth with other fields, though its digest stays."""
    return dataclasses.replace(unit, truth=dataclasses.replace(unit.truth, **changes))


def law_of(
    truth: Truth,
    arm: str,
    *,
    noise: float = 0.0,
    width: float = 1.0,
    late: float = 0.0,
    seed: int = 1,
    failed: Sequence[int] = (),
) -> UnitScores:
    """Scores of the true law of a random walk, its centre blurred and its width wrong at will.

    `late` blurs and widens the second half of the steps alone.
    """
    steps = truth.values.shape[1]
    behind = np.arange(steps) >= steps // 2
    error = np.sqrt(np.arange(1, steps + 1)) * np.where(behind, 1.0 + late, 1.0)
    draw = np.random.default_rng([seed, len(arm)])
    blur = (noise + late * behind) * draw.normal(size=truth.values.shape)
    centre = truth.last[:, None] + error * blur
    quantiles = centre[..., None] + width * error[:, None] * ndtri(LEVELS)
    quantiles[list(failed)] = np.nan
    forecast = Forecast.of_quantiles(quantiles, LEVELS)
    return score(truth, forecast, arm=arm, role=ROLES.get(arm, "reference"), seed=seed)
