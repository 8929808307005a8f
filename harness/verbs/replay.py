"""The command line's verb `replay`: a verdict judged again from its stored losses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.verbs.common import say, verb

DIFFERS = 5
"""A verdict that cannot be repeated supports no conclusion: the code of INVALID."""


@verb("abharness replay runs/verdicts/quick/0123abcd")
def replay(
    verdict: Annotated[
        Path, typer.Argument(metavar="VERDICT", help="A verdict.json, or the folder it lies in.")
    ],
    store: Annotated[
        Path | None,
        typer.Option("--store", help="Where its scores lie; left out: the store it lies in."),
    ] = None,
) -> None:
    """Judge a stored verdict again, without data or models: the same bytes, or what differs.

    Ends with 0 when every byte is the same, with 5 when something differs.
    """
    from harness.gate.recompute import replay as judge_again
    from harness.running.store import open_store
    from reports.words.facts import say as in_words

    opened = None if store is None else open_store(store, create=False)
    found = judge_again(verdict, opened)
    for note in found.notes:
        say(f"note: {in_words(note)}", err=True)
    if found.same:
        answer = in_words(found.verdict.summary)
        say(f"the same, byte by byte: {found.verdict.outcome}: {answer}")
        return
    say(f"differs in {len(found.differences)} places:")
    for each in found.differences:
        say(f"  {in_words(each)}")
    raise typer.Exit(DIFFERS)
