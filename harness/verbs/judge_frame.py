"""`harness.judge`: a verdict on forecasts that lie in a frame, without running a model."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import ConfigError
from harness.verbs.common import FilePath
from harness.verbs.init import as_toml
from harness.verbs.result import Result

if TYPE_CHECKING:
    import pandas as pd

    from harness.window import Dates, Rows

_CRPS = ({"metric": "crps", "margin": 0.02},)


def judge(
    frame: pd.DataFrame,
    policy: FilePath | Mapping[str, Any],
    *,
    series: str = "",
    interval: float = 0.0,
    store: FilePath | None = None,
) -> Result:
    """Judge two models whose forecasts and actuals lie in a frame of cutoffs.

    Parameters
    ----------
    frame
        A row a day that was forecast: `ds`, `cutoff`, `y` and the columns of both models, as
        `docs/recorded.md` has them.
    policy
        A policy file, or its table; `baseline` and `candidate` name models of the frame. Without
        rules the CRPS is judged with a margin of 2 %.
    series
        The series to judge, where the frame has several.
    interval
        Per cent between columns such as `yhat_lower` and `yhat_upper`, where the frame has them.
    store
        Where units, verdict and page are kept; by default a new temporary folder.

    Raises
    ------
    InputError
        When the frame or the policy cannot be used.
    """
    import numpy as np

    from harness.data.importer import import_file
    from harness.issued_forecasts import records_in
    from harness.parsing import read_toml
    from harness.recorded import LEAST_RECORDS
    from harness.verbs.compare import compare

    table = dict(policy) if isinstance(policy, Mapping) else read_toml(Path(policy))
    table = dict(table.get("policy", table))
    for side in ("baseline", "candidate"):
        if not isinstance(table.get(side), str):
            raise ConfigError(f"policy: {side}: expected the name of a model of the frame")
    if "criteria" not in table and "coverage" not in table:
        table["criteria"] = list(_CRPS)
    names = (table["baseline"], table["candidate"])
    sides = {
        name: records_in(frame, model=name, series=series, interval=interval) for name in names
    }
    first = sides[names[0]]
    if not first.actuals:
        raise ConfigError("the frame has no column of actuals: expected y")
    days = np.array(sorted(first.actuals), dtype="datetime64[D]")
    horizon = min(len(each.days) for side in sides.values() for each in side.records)
    paths = [name for name, side in sides.items() if not len(side.levels)]
    origins = _origins(first.cutoffs, days, horizon, LEAST_RECORDS if paths else 0)
    folder = Path(tempfile.mkdtemp(prefix="abharness-judge-")) if store is None else Path(store)
    folder.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{day},{float(first.actuals[day])!r}\n" for day in days)
    for old in (folder / "data").glob("frame.*"):
        old.unlink()
    import_file(
        Path("the frame"), dataset_id="frame", target="y", date="ds", folder=folder / "data",
        raw=f"ds,y\n{rows}".encode(),
    )  # fmt: skip
    frame.to_parquet(folder / "forecasts.parquet")
    recorded = {
        "use": "harness.recorded:Recorded",
        "file": "forecasts.parquet",
        "series": series,
        "interval": interval,
    }
    arms = [
        {"name": name, "role": role, "model": name, **recorded}
        for name, role in zip(names, ("legacy", "candidate"), strict=True)
    ]
    walk = {"use": "baselines.random_walk:RandomWalk", "context": 250}
    experiment = {
        "datasets": ["frame"],
        "plan": {
            "first": int(origins[0]),
            "origins": len(origins),
            "stride": int(origins[1] - origins[0]),
            "horizon": horizon,
            "validation": 0,
        },
        "arms": [*arms, {"name": "random-walk", "role": "reference", **walk}],
        "policy": table,
    }
    text = "".join(f"{key} = {as_toml(value)}\n" for key, value in experiment.items())
    (folder / "judged.toml").write_text(text, encoding="utf-8")
    return compare(folder / "judged.toml", store=folder / "runs", data_dir=[folder / "data"])


def _origins(cutoffs: Dates, days: Dates, horizon: int, needed: int) -> Rows:
    """Rows of the first sessions not seen, of cutoffs whose steps have all come.

    Raises
    ------
    ConfigError
        When fewer than two are left, or they are not evenly spaced.
    """
    import numpy as np

    rows = np.searchsorted(days, cutoffs, side="right")
    rows = rows[(rows >= 2) & (rows + horizon <= len(days))][needed:]
    if len(rows) < 2:
        why = f", {needed} of them history for a model without quantiles" if needed else ""
        raise ConfigError(
            f"the frame has {len(cutoffs)} cutoffs{why}; {len(rows)} can be judged (two sessions "
            f"before, {horizon} actuals after): expected 2 or more"
        )
    steps = np.diff(rows)
    if (steps != steps[0]).any():
        odd = cutoffs[np.searchsorted(np.searchsorted(days, cutoffs, side="right"), rows[1:])]
        raise ConfigError(
            f"the cutoffs of the frame are not evenly spaced: {steps[0]} sessions, but "
            f"{steps[steps != steps[0]][0]} before {odd[steps != steps[0]][0]}; leave out those "
            "between, or judge with an experiment of your own"
        )
    return rows.astype(np.int64)
