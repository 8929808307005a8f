"""The command line's verbs on datasets: list, show, import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.verbs.common import DataDirOption, say

data_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Datasets: list, show, import."
)


@data_app.command("list", epilog="Example:  abharness data list --data-dir my-data")
def data_list(data_dir: DataDirOption = []) -> None:  # noqa: B006
    """List the datasets there are."""
    from harness.verbs.describe import dataset_lines

    for line in dataset_lines(data_dir):
        say(line)


@data_app.command("show", epilog="Example:  abharness data show GOLD")
def data_show(
    dataset_id: Annotated[str, typer.Argument(metavar="ID", help="Id of a dataset.")],
    data_dir: DataDirOption = [],  # noqa: B006
) -> None:
    """Check a dataset and show its facts."""
    from harness.data.dataset import describe, load

    for title, text in describe(load(dataset_id, data_dir)).items():
        first, *more = text.splitlines() or [""]
        say(f"{title:<14}{first}")
        for line in more:
            say(f"{'':<14}{line}")


@data_app.command(
    "import",
    epilog="Example:  abharness data import prices.csv --id SILVER --target close --date day",
)
def data_import(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet.")],
    dataset_id: Annotated[str, typer.Option("--id", help="What to call it.")],
    target: Annotated[str, typer.Option(help="Column to forecast.")],
    date: Annotated[str, typer.Option(help="Column of dates.")],
    past: Annotated[list[str], typer.Option(help="Covariate columns.")] = [],  # noqa: B006
    to: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("data"),
    data_dir: DataDirOption = [],  # noqa: B006
    title: Annotated[str | None, typer.Option(help="For the report.")] = None,
    unit: Annotated[str | None, typer.Option(help="Unit of the target.")] = None,
    source: Annotated[str | None, typer.Option(help="Where it comes from.")] = None,
    licence: Annotated[str | None, typer.Option(help="What may be done with it.")] = None,
    date_format: Annotated[
        str | None, typer.Option(help="Settles ambiguous dates, such as %d/%m/%Y.")
    ] = None,
    decimal: Annotated[
        Literal[".", ","] | None, typer.Option(help="Settles ambiguous numbers.")
    ] = None,
) -> None:
    """Check a file of your own and make it a dataset."""
    from harness.data.importer import import_file

    manifest = import_file(
        file,
        dataset_id=dataset_id,
        target=target,
        date=date,
        folder=to,
        past=past,
        title=title,
        unit=unit,
        source=source,
        licence=licence,
        date_format=date_format,
        decimal=decimal,
        folders=data_dir,
    )
    say(f"wrote {manifest}; use it with --data-dir {to}")
