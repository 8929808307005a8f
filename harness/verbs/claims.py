"""The command line's verb `claims`: what was claimed beside what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.verbs.common import (
    DataDirOption,
    ExperimentArg,
    SeedsOption,
    SetOption,
    StoreOption,
    WithoutOption,
    say,
    seed_numbers,
    verb,
)


@verb("abharness claims nightly --markdown claims.md")
def claims(
    experiment: ExperimentArg = "quick",
    store: StoreOption = Path("runs"),
    data_dir: DataDirOption = [],  # noqa: B006  # typer copies defaults
    seeds: SeedsOption = None,
    changes: SetOption = [],  # noqa: B006
    without: WithoutOption = [],  # noqa: B006
    legacy_root: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            exists=True,
            file_okay=False,
            help="A checkout of the legacy models: its source lines and checks of its networks "
            "count, not our rebuild's.",
        ),
    ] = None,
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write JSON here; - is stdout.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a Markdown page here.")
    ] = None,
) -> None:
    """Set every claim of the migration summary beside what was measured.

    Reads stored records, runs nothing; a row without data names the command that makes it. A
    refuted claim is a result: the exit code is 0.
    """
    from shutil import get_terminal_size

    from harness.claims import collect_claims, gather
    from harness.running.store import is_store, open_store, write_text
    from harness.verbs.common import grid_of
    from reports.forms.claim_rows import terminal_lines, to_json, to_markdown

    opened = open_store(store, create=False) if is_store(store) else None
    grid = grid_of(
        experiment,
        data_dir,
        seeds=seed_numbers(seeds),
        changes=changes,
        without=without,
        store=opened,
    )
    evidence = gather(grid, opened, named=experiment, legacy_root=legacy_root, at=store)
    if opened is None:
        say(f"note: no store at {store}, so only source lines are measured", err=True)
    rows = collect_claims(evidence)
    if markdown is not None:
        write_text(markdown, to_markdown(rows, evidence))
        say(f"page: {markdown}", err=True)
    if json_file == "-":
        typer.echo(to_json(rows, evidence), nl=False)
        return
    if json_file is not None:
        write_text(Path(json_file), to_json(rows, evidence))
    for line in terminal_lines(rows, width=min(100, get_terminal_size((100, 24)).columns)):
        say(line)
