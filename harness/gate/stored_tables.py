"""Stored forecasts and scores as tables, in the columns that forecasting libraries share.

Forecasts: a row for each session that was judged of each origin, ``unique_id`` (the dataset),
``ds`` (that session), ``cutoff`` (the last session seen), ``y`` (what came), and of each model its
path under its own name and its quantiles as ``Model-lo-80``, ``Model-median`` and ``Model-hi-80``.
Scores: a row for each session, origin, model and seed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import StoreError
from harness.forecast import LEVELS
from harness.gate.judge import scored
from harness.running.cells import has_cell, read_cell
from harness.running.grid import Grid, GridCell
from harness.running.store_folder import Store

if TYPE_CHECKING:
    import pandas as pd


def forecast_table(grid: Grid, store: Store) -> pd.DataFrame:
    """Every stored forecast of the judged origins; a window that failed is NaN.

    Raises
    ------
    StoreError
        When nothing is stored, or a file is not what was sealed.
    """
    import pandas as pd

    tables = []
    for name, split in grid.splits.items():
        dates, windows = split.dataset.series.dates, split.windows
        rows, steps = windows.judged, windows.horizon
        columns: dict[str, object] = {
            "unique_id": name,
            "ds": dates[rows].ravel(),
            "cutoff": np.repeat(dates[windows.origin - 1], steps),
            "y": split.dataset.series.target[rows].ravel(),
        }
        cells = [cell for cell in grid.cells if cell.dataset == name and has_cell(store, cell)]
        for cell in cells:
            seeds = sum(each.arm.name == cell.arm.name for each in cells)
            label = cell.arm.name if seeds == 1 else f"{cell.arm.name}-s{cell.seed}"
            forecast = read_cell(store, cell).forecast
            columns[label] = forecast.point.ravel()
            if not forecast.has_distribution:
                continue
            levels = forecast.levels if forecast.quantiles is not None else LEVELS
            quantiles = forecast.at(levels)
            for place, level in enumerate(levels.tolist()):
                covered = f"{abs(round(100 * (1 - 2 * level), 6)):g}"
                end = "median" if level == 0.5 else f"{'lo' if level < 0.5 else 'hi'}-{covered}"
                columns[f"{label}-{end}"] = quantiles[..., place].ravel()
        if cells:
            tables.append(pd.DataFrame(columns))
    if not tables:
        raise StoreError(f"{store.root}: no forecast is stored; `abharness run` makes them")
    return pd.concat(tables, ignore_index=True)


def score_table(grid: Grid, store: Store) -> pd.DataFrame:
    """Every score of the judged origins, one column a loss; NaN where a window failed.

    Raises
    ------
    StoreError
        When nothing is stored, or something stored cannot be scored.
    """
    import pandas as pd

    found = scored(grid, store)
    if found.problems:
        problem = found.problems[0].values["problem"]
        raise StoreError(f"{store.root}: {len(found.problems)} cells cannot be read: {problem}")
    cells: dict[tuple[str, str, int], GridCell] = {
        (cell.arm.name, cell.dataset, cell.seed): cell for cell in grid.cells
    }
    tables = []
    for unit in found.scores:
        cell = cells[unit.arm, unit.dataset, unit.seed]
        split, steps = cell.split, len(unit.step)
        dates = split.dataset.series.dates
        ahead = unit.origin[:, None] + unit.step - 1
        by_origin: dict[str, Any] = {
            "cutoff": dates[unit.origin - 1],
            "failed": ~unit.ok,
            "reason": list(unit.reason),
            "prospective": list(read_cell(store, cell).prospective),
        }
        tables.append(
            pd.DataFrame(
                {
                    "unique_id": unit.dataset,
                    "ds": dates[ahead].ravel(),
                    "step": np.tile(unit.step, len(unit)),
                    "model": unit.arm,
                    "seed": unit.seed,
                    **{key: np.repeat(value, steps) for key, value in by_origin.items()},
                    **{key: value.ravel() for key, value in sorted(unit.values.items())},
                }
            )
        )
    if not tables:
        raise StoreError(f"{store.root}: no scores are stored; `abharness run` makes forecasts")
    return pd.concat(tables, ignore_index=True)
