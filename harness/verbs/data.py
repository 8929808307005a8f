"""The command line's verbs on datasets: list, show, import, update."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from harness.verbs.common import DataDirOption, say

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
HeaderOption = Annotated[
    str | None,
    typer.Option(
        metavar="HEADER",
        help="none (columns become 1, 2, ...), its line number, or names: date,open,close.",
    ),
]
DelimiterOption = Annotated[
    str | None, typer.Option(metavar="TEXT", help="What separates columns.")
]
EncodingOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Encoding of text that is not UTF-8, such as cp1252."),
]
SheetOption = Annotated[str | None, typer.Option(metavar="NAME", help="Sheet of a workbook.")]
SkipLastOption = Annotated[
    int, typer.Option(metavar="N", min=0, help="Number of rows to leave out at the end.")
]
DateFormatOption = Annotated[
    str | None,
    typer.Option(
        metavar="FORMAT", help="Format of ambiguous dates: %d/%m/%Y, or excel, excel1904, epoch."
    ),
]
LanguageOption = Annotated[
    str | None,
    typer.Option("--date-language", metavar="CODE", help="Language of ambiguous month names: hr."),
]
TimezoneOption = Annotated[
    str | None,
    typer.Option(metavar="ZONE", help="Time zone that sets the date, such as Europe/Berlin."),
]
DecimalOption = Annotated[
    Literal[".", ","] | None, typer.Option(help="Decimal mark of ambiguous numbers.")
]
MissingOption = Annotated[
    Literal["refuse", "drop", "carry"],
    typer.Option(help="Rows without a value: refuse, leave out, or carry the last value on."),
]
MissingTextOption = Annotated[
    list[str], typer.Option(metavar="TEXT", help="A further text that means a missing value.")
]
IgnoreTextOption = Annotated[
    list[str], typer.Option(metavar="TEXT", help="A text to remove from cells of numbers.")
]
SortOption = Annotated[bool, typer.Option("--sort", help="Sort rows that are out of order.")]
DuplicatesOption = Annotated[
    Literal["first", "last"] | None, typer.Option(help="Which of several rows of one date to keep.")
]
DropOption = Annotated[
    list[str], typer.Option(metavar="DATE", help="A session to leave out, such as a bad tick.")
]
DropDaysOption = Annotated[
    str, typer.Option(metavar="DAYS", help="Weekdays to leave out: Sat,Sun.")
]
ScaleOption = Annotated[
    list[str],
    typer.Option("--scale-from", metavar="DATE[=FACTOR]", help="Undo a change of unit or a split."),
]
IdColumnOption = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN", help="Column that tells several series apart: one dataset each."
    ),
]
SeriesOption = Annotated[
    list[str], typer.Option(metavar="NAME", help="Take only this series of the id column.")
]


@data_app.command("list", epilog="Example:  abharness data list --data-dir my-data")
def data_list(data_dir: DataDirOption = []) -> None:  # noqa: B006
    """List all datasets."""
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

    _say_facts(describe(load(dataset_id, data_dir)).items())


@data_app.command(
    "import",
    epilog="Example:  abharness data import prices.csv --id SILVER --target close --date day",
)
def data_import(
    context: typer.Context,
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
    header: HeaderOption = None,
    delimiter: DelimiterOption = None,
    encoding: EncodingOption = None,
    sheet: SheetOption = None,
    skip_last: SkipLastOption = 0,
    date_format: DateFormatOption = None,
    date_language: LanguageOption = None,
    timezone: TimezoneOption = None,
    decimal: DecimalOption = None,
    missing: MissingOption = "refuse",
    missing_text: MissingTextOption = [],  # noqa: B006
    ignore_text: IgnoreTextOption = [],  # noqa: B006
    sort: SortOption = False,
    duplicates: DuplicatesOption = None,
    drop: DropOption = [],  # noqa: B006
    drop_days: DropDaysOption = "",
    scale_from: ScaleOption = [],  # noqa: B006
    id_column: IdColumnOption = None,
    series: SeriesOption = [],  # noqa: B006
) -> None:
    """Check a file, show what is understood and make it a dataset."""
    from harness.data.importer import About, import_file

    path, raw = _source(file)
    made = import_file(
        path,
        dataset_id=dataset_id,
        target=target,
        date=date,
        folder=to,
        past=past,
        options=_options(context),
        about=About(title=title, unit=unit, source=source, licence=licence),
        folders=[each for each in data_dir if each.is_dir() or each.resolve() != to.resolve()],
        raw=raw,
        dry_run=dry_run,
    )
    for one in made:
        _say_facts(one.lines())
        written = f"wrote {one.path}; use it with --data-dir {to}"
        say(written if one.path else "nothing written (--dry-run)")


@data_app.command("update", epilog="Example:  abharness data update SILVER prices.csv")
def data_update(
    context: typer.Context,
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
    header: HeaderOption = None,
    delimiter: DelimiterOption = None,
    encoding: EncodingOption = None,
    sheet: SheetOption = None,
    skip_last: SkipLastOption = 0,
    date_format: DateFormatOption = None,
    date_language: LanguageOption = None,
    timezone: TimezoneOption = None,
    decimal: DecimalOption = None,
    missing: MissingOption = "refuse",
    missing_text: MissingTextOption = [],  # noqa: B006
    ignore_text: IgnoreTextOption = [],  # noqa: B006
    sort: SortOption = False,
    duplicates: DuplicatesOption = None,
    drop: DropOption = [],  # noqa: B006
    drop_days: DropDaysOption = "",
    scale_from: ScaleOption = [],  # noqa: B006
    id_column: IdColumnOption = None,
    series: SeriesOption = [],  # noqa: B006
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
            options=_options(context),
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


def _options(context: typer.Context) -> ImportOptions:
    """What import and update are told about a file, from the parameters of the same names."""
    from harness.data.import_options import ImportOptions

    told = dict(context.params)
    told["drop_days"] = [day for day in told["drop_days"].split(",") if day]
    plain: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in told.items()
    }
    return ImportOptions(**{field.name: plain[field.name] for field in fields(ImportOptions)})


def _source(file: Path) -> tuple[Path, bytes | None]:
    """The name of the input and, for standard input, its content."""
    return (Path("standard input"), sys.stdin.buffer.read()) if str(file) == "-" else (file, None)


def _say_facts(facts: Iterable[tuple[str, str]]) -> None:
    for title, text in facts:
        first, *more = text.splitlines() or [""]
        say(f"{title:<14}{first}")
        for line in more:
            say(f"{'':<14}{line}")
