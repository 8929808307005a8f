"""A predictive distribution for arms that give a point path only.

This is the harness's doing, not the model's, and the report says so: for each step ahead, the
errors the arm made on its validation span, in units of the last value seen, are taken as the
errors it will make, less their median: it never repairs the path.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.errors import ForecastError
from harness.forecast import LEVELS, Forecast
from harness.window import Array, RollingOrigin, Rows, Series

LEAST_ORIGINS = 20
"""Fewer validation origins than this give no distribution worth the name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualDistribution:
    """Quantiles of an arm's past errors.

    Attributes
    ----------
    relative : [H, Q]
        Quantiles of (value - point) / last value seen, on the common levels, per step, less their
        median: the path stays in the middle, and what is wrong with it stays to be seen.
    """

    relative: Array

    def write(self, file: Path) -> None:
        """Keep it with the fit it was measured on, as JSON."""
        file.write_text(json.dumps(self.relative.tolist()), encoding="utf-8")

    @classmethod
    def read(cls, file: Path) -> ResidualDistribution:
        """Read what `write` wrote, the same bits."""
        return cls(relative=np.array(json.loads(file.read_text(encoding="utf-8"))))

    def around(self, forecast: Forecast, last: Array) -> Forecast:
        """Put the distribution around a point path; `last` [W] is the last value seen."""
        spread = last[:, None, None] * self.relative
        return Forecast(
            point=forecast.point,
            levels=LEVELS,
            quantiles=forecast.point[:, :, None] + spread,
        )


def measure_residuals(
    point_at: Callable[[Rows], Array], series: Series, *, fitted_at: int, plan: RollingOrigin
) -> ResidualDistribution:
    """Forecast every origin of the validation span and keep the errors' quantiles.

    Parameters
    ----------
    point_at
        Point paths [R, H] of the arm at origins [R].
    series
        Read up to row ``fitted_at - 1`` only.
    fitted_at
        The origin of the fit, where the validation span ends.

    Raises
    ------
    ForecastError
        When the validation span holds fewer than `LEAST_ORIGINS` origins at which the arm's
        point path is finite. Others are left out here, and are failures where they are judged.
    """
    reach = plan.gap + plan.horizon
    origins = np.arange(fitted_at - plan.validation, fitted_at - reach + 1, dtype=np.int64)
    if len(origins) < LEAST_ORIGINS:
        raise ForecastError(
            f"a point forecast needs a validation span of {reach + LEAST_ORIGINS} sessions for its "
            f"distribution, the plan has validation = {plan.validation}"
        )
    point = point_at(origins)
    fine = np.asarray(np.isfinite(point).all(axis=1))
    if fine.sum() < LEAST_ORIGINS:
        raise ForecastError(
            f"the point path is not finite at {len(fine) - fine.sum()} of {len(fine)} origins of "
            f"the validation span: {LEAST_ORIGINS} are needed for its distribution"
        )
    origins, point = origins[fine], point[fine]
    actual = series.target[origins[:, None] + np.arange(reach)]
    relative = (actual - point) / series.target[origins - 1][:, None]
    around = relative - np.median(relative, axis=0)
    return ResidualDistribution(relative=np.quantile(around, LEVELS, axis=0).T)
