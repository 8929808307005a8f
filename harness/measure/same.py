"""Whether an arm forecasts the same when it is timed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.forecast import LEVELS
from harness.running.records import StoredUnit
from harness.window import Array, Series

TOLERANCE = 0.01
"""Of the standard deviation of one session's change. Batches of other sizes round otherwise, by
a thousandth of that at most; another forecast differs by whole deviations."""
DRAWN_TOLERANCE = 4.0
"""For arms that draw: in standard errors of a median of their draws, root mean square. Two honest
sets of draws differ by 1.8 (normal law)."""


def difference(unit: StoredUnit, timed: Mapping[str, Any], series: Series) -> str:
    """How forecasts made while timed differ from the stored ones; empty where they do not.

    Parameters
    ----------
    unit
        The ordinary unit of the same arm, data and seed.
    timed
        `number` [n] of the windows, `single_point` [n, H] and maybe `single_values` [n, H, Q];
        `offline_point` [W, H] and maybe `offline_values`.
    series
        What was forecast, for the scale.
    """
    if not len(timed["number"]):
        return "no window of the plan was forecast while timed"
    for mode, title in (("single", "one window at a time"), ("offline", "in batches")):
        point = timed[f"{mode}_point"]
        rows = timed["number"] if mode == "single" else np.arange(len(point))
        found = _difference(unit, rows, point, timed.get(f"{mode}_values"), series)
        if found:
            return f"timed {title} it forecasts something else: {found}"
    return ""


def _difference(
    unit: StoredUnit, rows: Any, point: Array, values: Array | None, series: Series
) -> str:
    """Compare windows `rows` [n] that have a stored forecast."""
    whole = unit.forecast
    good = np.array([not unit.reason[row] for row in rows.tolist()])
    rows = rows[good]
    if not len(rows):
        return ""
    stored, point = whole.point[rows], point[good][:, -whole.point.shape[1] :]
    if whole.samples is not None:
        return _of_draws(whole.samples[rows], stored, point)
    worst = np.max(np.abs(stored - point))
    own = not unit.record["residual_distribution"]  # else the distribution is the harness's
    if own and values is not None and whole.has_distribution:
        grid = values[good][:, -whole.point.shape[1] :]
        worst = max(worst, np.max(np.abs(whole.at(LEVELS)[rows] - grid)))
    scale = float(np.std(np.diff(series.target)))
    if worst <= TOLERANCE * scale:  # not so for NaN either
        return ""
    return f"by up to {worst / scale:.3g} standard deviations of a session's change"


def _of_draws(samples: Array, stored: Array, point: Array) -> str:
    """Draws [n, M, H] of the stored unit give the scale."""
    error = np.std(samples, axis=1) / np.sqrt(samples.shape[1])  # [n, H]
    apart = np.where(error > 0, np.abs(stored - point) / np.maximum(error, 1e-300), 0.0)
    away = float(np.sqrt(np.mean(apart**2)))
    if away <= DRAWN_TOLERANCE:
        return ""
    return f"{away:.3g} standard errors of its draws on average"
