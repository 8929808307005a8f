"""The command line's verbs on datasets: list, show, import, update."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from harness.verbs.common import DataDirOption, command_of, say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.data.import_options import ImportOptions

data_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Datasets: list, show, import, update."
)

FileArg = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="A CSV, .xlsx, Parquet or Feather file; - is standard input."
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """What `import` and `update` are told about a file; see `ImportOptions`."""

    header: Annotated[
        str | None,
        typer.Option(
            metavar="HEADER",
            help="none (columns become 1, 2, ...), its line number, or names: date,open,close.",
        ),
    ] = None
    delimiter: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What separates columns.")
    ] = None
    encoding: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Encoding of text that is not UTF-8, such as cp1252."),
    ] = None
    sheet: Annotated[str | None, typer.Option(metavar="NAME", help="Sheet of a workbook.")] = None
    skip_last: Annotated[
        int, typer.Option(metavar="N", min=0, help="Number of rows to leave out at the end.")
    ] = 0
    date_format: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="Format of ambiguous dates: %d/%m/%Y, or excel, excel1904, epoch.",
        ),
    ] = None
    date_language: Annotated[
        str | None,
        typer.Option(
            "--date-language", metavar="CODE", help="Language of ambiguous month names: hr."
        ),
    ] = None
    timezone: Annotated[
        str | None,
        typer.Option(metavar="ZONE", help="Time zone that sets the date, such as Europe/Berlin."),
    ] = None
    decimal: Annotated[
        Literal[".", ","] | None, typer.Option(help="Decimal mark of ambiguous numbers.")
    ] = None
    missing: Annotated[
        Literal["refuse", "drop", "carry"],
        typer.Option(help="Rows without a value: refuse, leave out, or carry the last value on."),
    ] = "refuse"
    missing_text: Annotated[
        list[str], typer.Option(metavar="TEXT", help="A further text that means a missing value.")
    ] = field(default_factory=list)
    ignore_text: Annotated[
        list[str], typer.Option(metavar="TEXT", help="A text to remove from cells of numbers.")
    ] = field(default_factory=list)
    sort: Annotated[bool, typer.Option("--sort", help="Sort rows that are out of order.")] = False
    duplicates: Annotated[
        Literal["first", "last"] | None,
        typer.Option(help="Which of several rows of one date to keep."),
    ] = None
    drop: Annotated[
        list[str], typer.Option(metavar="DATE", help="A session to leave out, such as a bad tick.")
    ] = field(default_factory=list)
    drop_days: Annotated[
        str, typer.Option(metavar="DAYS", help="Weekdays to leave out: Sat,Sun.")
    ] = ""
    scale_from: Annotated[
        list[str],
        typer.Option(
            "--scale-from", metavar="DATE[=FACTOR]", help="Undo a change of unit or a split."
        ),
    ] = field(default_factory=list)
    id_column: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="Column that tells several series apart: one dataset each."
        ),
    ] = None
    series: Annotated[
        list[str], typer.Option(metavar="NAME", help="Take only this series of the id column.")
    ] = field(default_factory=list)

    def told(self) -> ImportOptions:
        """As the importer takes them."""
        from harness.data.import_options import ImportOptions

        given = {each.name: getattr(self, each.name) for each in fields(self)}
        given["drop_days"] = [day for day in self.drop_days.split(",") if day]
        plain: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in given.items()
        }
        return ImportOptions(**plain)


@data_app.command("list", epilog="Example:  abharness data list --data-dir my-data")
def data_list(data_dir: DataDirOption = []) -> None:  # noqa: B006
    """List all datasets."""
    from harness.data.dataset import summaries

    rows = summaries(data_dir)
    say(f"{'id':<16} {'rows':>6}  {'first':<10}  {'last':<10}  title")
    for row in rows:
        if row.manifest is None:
            say(f"{row.id:<16} {row.problem}")
            continue
        found = row.manifest
        say(f"{row.id:<16} {found.rows:>6}  {found.first}  {found.last}  {found.title}")


@data_app.command("show", epilog="Example:  abharness data show GOLD")
def data_show(
    dataset_id: Annotated[str, typer.Argument(metavar="ID", help="Id of a dataset.")],
    data_dir: DataDirOption = [],  # noqa: B006
) -> None:
    """Check a dataset and show its facts."""
    from harness.data.dataset import describe, load

    _say_facts(describe(load(dataset_id, data_dir)).items())


@data_app.command(
    "import",
    epilog="Example:  abharness data import prices.csv --id SILVER --target close --date day",
)
@command_of
def data_import(
    file: FileArg,
    dataset_id: Annotated[str, typer.Option("--id", metavar="ID", help="Id of the dataset.")],
    target: Annotated[str, typer.Option(metavar="COLUMN", help="Column to forecast.")],
    date: Annotated[str, typer.Option(metavar="COLUMN", help="Column of dates.")],
    past: Annotated[
        list[str], typer.Option(metavar="COLUMN", help="A covariate column; may be repeated.")
    ] = [],  # noqa: B006
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder to write to.")] = Path("data"),
    data_dir: DataDirOption = [],  # noqa: B006
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what is understood; write nothing.")
    ] = False,
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="Title for reports.")] = None,
    unit: Annotated[str | None, typer.Option(metavar="TEXT", help="Unit of the target.")] = None,
    source: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Where the data come from.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Licence of the data.")
    ] = None,
    options: FileOptions = FileOptions(),
) -> None:
    """Check a file, show what is understood and make it a dataset."""
    from harness.data.importer import SeriesDescription, import_file

    path, raw = _source(file)
    made = import_file(
        path,
        dataset_id=dataset_id,
        target=target,
        date=date,
        folder=to,
        past=past,
        options=options.told(),
        about=SeriesDescription(title=title, unit=unit, source=source, licence=licence),
        folders=[each for each in data_dir if each.is_dir() or each.resolve() != to.resolve()],
        raw=raw,
        dry_run=dry_run,
    )
    for one in made:
        _say_facts(one.lines())
        written = f"wrote {one.path}; use it with --data-dir {to}"
        say(written if one.path else "nothing written (--dry-run)")


@data_app.command("update", epilog="Example:  abharness data update SILVER prices.csv")
@command_of
def data_update(
    dataset_id: Annotated[str, typer.Argument(metavar="ID", help="Id of a dataset.")] = "",
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="As for import; without one, the update command is run."
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Run the update command of every dataset that has one.")
    ] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Run even commands of manifests that are not yours.")
    ] = False,
    revise: Annotated[
        bool, typer.Option("--revise", help="Accept revised values; the old ones are kept.")
    ] = False,
    target: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Target, if its name has changed.")
    ] = None,
    date: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Dates, if the name has changed.")
    ] = None,
    past: Annotated[
        list[str], typer.Option(metavar="COLUMN", help="Covariates, if their names have changed.")
    ] = [],  # noqa: B006
    to: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder the dataset was written to.")
    ] = Path("data"),
    data_dir: DataDirOption = [],  # noqa: B006
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what is understood; write nothing.")
    ] = False,
    options: FileOptions = FileOptions(),
) -> None:
    """Append a file's new sessions to a dataset; its old rows must agree.

    Without a file, the update command in the manifest prints one: a table [update] with, for
    example, command = ["python", "prices.py"].
    """
    from harness.data.dataset import find
    from harness.data.refresh import note_attempt
    from harness.data.update import update_file
    from harness.errors import DataError, one_line

    folders = [*data_dir, *([to] if to.is_dir() else [])]
    if bool(dataset_id) == every or (every and file):
        raise DataError("data update: expected the id of a dataset and perhaps a file, or --all")
    if file is None:
        if revise or dry_run:
            raise DataError("data update: --revise and --dry-run need a file; - is standard input")
        raise typer.Exit(_refreshed("" if every else dataset_id, folders, trust=trust))
    path, raw = _source(file)
    try:
        updated = update_file(
            dataset_id,
            path,
            folders=folders,
            to=to,
            date=date,
            target=target,
            past=past,
            options=options.told(),
            raw=raw,
            revise=revise,
            dry_run=dry_run,
        )
    except DataError as problem:
        if not dry_run:
            note_attempt(find(dataset_id, folders), one_line(str(problem)))
        raise
    if not dry_run:
        note_attempt(updated.path or find(dataset_id, folders), "")
    _say_facts(updated.lines())
    if updated.path:
        say(f"updated {updated.path}")
    else:
        changes = updated.added or updated.revised
        say("nothing written (--dry-run)" if changes else "nothing new, nothing written")


def _refreshed(dataset_id: str, folders: list[Path], *, trust: bool) -> int:
    """Run the command of a dataset, or of all; the exit code."""
    from harness.data.refresh import refresh, refresh_all

    def tell(text: str) -> None:
        say(text, err=True)

    if dataset_id:
        done = [refresh(dataset_id, folders=folders, trust=trust, tell=tell)]
    else:
        done = list(refresh_all(folders=folders, trust=trust, tell=tell))
    if not done:
        say("no dataset has an update command; give one in a table [update] of its manifest")
    for each in done:
        say(each.line, err=bool(each.problem))
    return 2 if any(each.problem for each in done) else 0


def _source(file: Path) -> tuple[Path, bytes | None]:
    """The name of the input and, for standard input, its content."""
    return (Path("standard input"), sys.stdin.buffer.read()) if str(file) == "-" else (file, None)


def _say_facts(facts: Iterable[tuple[str, str]]) -> None:
    for title, text in facts:
        first, *more = text.splitlines() or [""]
        say(f"{title:<14}{first}")
        for line in more:
            say(f"{'':<14}{line}")
