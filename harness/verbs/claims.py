"""The command line's verb `claims`: what was claimed beside what was measured."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
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
            help="A checkout of the legacy models: count its source lines and check its networks, "
            "not those of our rebuild.",
        ),
    ] = None,
    json_file: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE", help="Write JSON to this file; - is stdout."),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a Markdown page to this file.")
    ] = None,
    run: Annotated[
        bool, typer.Option("--run", help="First run what rows without data need.")
    ] = False,
) -> None:
    """Compare every claim of the migration summary with measurements.

    Reads stored records. A row without data names the command that produces it; --run runs those
    commands first. A refuted claim is a result: the exit code is 0.
    """
    from shutil import get_terminal_size

    from harness.claims import collect_claims, gather
    from harness.running.store_folder import is_store, open_store, write_text
    from harness.verbs.common import grid_of
    from reports.forms.claim_rows import terminal_lines, to_json, to_markdown

    done: set[str] = set()
    while True:
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
        rows = collect_claims(evidence)
        wanted = dict.fromkeys(each for row in rows for each in row.commands)
        missing = [each for each in wanted if each not in done] if run else []
        if not missing:
            break
        done.add(missing[0])  # one at a time: what it makes may be what others were missing
        _carry_out(missing[0], data_dir, [*grid.experiment.edits.flags], seeds)
    if opened is None:
        say(f"note: no store at {store}, so only source lines are measured", err=True)
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


def _carry_out(
    command: str, data_dir: Sequence[Path], flags: Sequence[str], seeds: str | None
) -> None:
    """Run a command line of ours as it stands; that it fails is said, and its rows stay empty."""
    before, _, after = command.partition("abharness ")
    settings = dict(each.split("=", 1) for each in shlex.split(before))  # PYTHONPATH of a checkout
    words = shlex.split(after)
    if seeds is not None and words[0] in ("run", "compare", "gate"):
        flags = [*flags, "--seeds", seeds]
    for folder in data_dir if words[0] != "check" else ():
        flags = [*flags, "--data-dir", str(folder)]
    say(f"running {shlex.join(['abharness', *words, *flags])}", err=True)
    ended = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-P", "-m", "harness", *words, *flags],
        env=os.environ | settings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
    )
    if ended.returncode in (1, 2):
        why = (ended.stderr.strip().splitlines() or ["no reason given"])[-1]
        say(f"note: it ended with {ended.returncode}: {why}", err=True)
