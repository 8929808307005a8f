"""The verb `export`: stored forecasts and scores as CSV or Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.verbs.common import (
    DataFolders,
    Experiment,
    FilePath,
    LeftOut,
    Seeds,
    Settings,
    StoreFolder,
    opened,
    verb,
)
from harness.verbs.result import Result


@verb("abharness export quick --format parquet --to exported")
def export(
    experiment: Experiment = "quick",
    *,
    store: StoreFolder = "runs",
    data_dir: DataFolders = (),
    seeds: Seeds = None,
    changes: Settings = (),
    without: LeftOut = (),
    form: Annotated[
        Literal["csv", "parquet"], typer.Option("--format", help="Output format.")
    ] = "csv",
    to: Annotated[
        FilePath,
        Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Folder to write to.")],
    ] = "exported",
) -> Result:
    """Write stored forecasts and scores as two tables.

    Their columns are those that forecasting libraries share.

    Parameters
    ----------
    experiment, store, data_dir, seeds, changes, without
        As for `harness.run`; the store must be there.
    form
        csv or parquet.
    to
        Folder of ``forecasts`` and ``scores``, made where there is none.

    Raises
    ------
    InputError
        When experiment, data, arms or store cannot be used, or the folder cannot be written.
    """
    from harness.errors import InputError
    from harness.gate.stored_tables import forecast_table, score_table

    grid, kept = opened(
        experiment, store, data_dir, seeds=seeds, changes=changes, without=without, create=False
    )
    folder, lines = Path(to), []
    tables = {"forecasts": forecast_table(grid, kept), "scores": score_table(grid, kept)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in tables.items():
            file = folder / f"{name}.{form}"
            if form == "csv":
                table.to_csv(file, index=False, date_format="%Y-%m-%d")
            else:
                table.to_parquet(file, index=False)
            lines.append(f"{file}: {len(table):,} rows, {len(table.columns)} columns")
    except OSError as problem:
        raise InputError(f"--to {folder}: cannot be written: {problem.strerror}") from None
    return Result(text="\n".join(lines), folder=folder)
