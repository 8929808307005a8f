"""The command line's verb `replay`: a verdict judged again from the stored forecasts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from harness.verbs.common import say, verb

DIFFERS = 5
"""A verdict that cannot be repeated supports no conclusion: the code of INVALID."""


@verb("abharness replay quick --store runs")
def replay(
    verdict: Annotated[
        str,
        typer.Argument(
            metavar="VERDICT",
            help="An experiment (its last verdict), a verdict's name, or a verdict.json.",
        ),
    ],
    store: Annotated[
        Path | None,
        typer.Option(
            "--store",
            metavar="FOLDER",
            help="Store of the record; by default that of a verdict.json, else runs.",
        ),
    ] = None,
) -> None:
    """Judge a recorded verdict again and show every difference.

    Needs neither data nor models: scores are derived again from the sealed forecasts. A file is
    compared with the record of its verdict.

    Ends with 0 if every byte is the same, with 5 if anything differs.
    """
    from harness.gate.recompute import is_verdict_file
    from harness.gate.recompute import replay as judge_again
    from harness.records.journal import SHORT
    from harness.running.store_folder import open_store
    from reports.words.facts import say as in_words

    if store is None and not is_verdict_file(verdict):
        store = Path(os.environ.get("ABHARNESS_STORE", "runs"))
    opened = None if store is None else open_store(store, create=False)
    found = judge_again(verdict, opened)
    for note in found.notes:
        say(f"note: {in_words(note)}", err=True)
    if found.same:
        answer = in_words(found.verdict.summary)
        say(f"the same, byte by byte: {found.verdict.outcome}: {answer}")
        say(f"head {found.head[:SHORT]}")
        return
    say(f"differs in {len(found.differences)} places:")
    for each in found.differences:
        say(f"  {in_words(each)}")
    raise typer.Exit(DIFFERS)
