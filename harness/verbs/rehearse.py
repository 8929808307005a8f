"""The verb `rehearse`: what a nightly job would have said, had it been started then."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.verbs.common import (
    PairAsked,
    opened,
    say,
    seed_numbers,
    verb,
)


@verb("abharness rehearse nightly --from 2019-01-01")
def rehearse(
    pair: PairAsked = PairAsked(experiment="nightly"),  # noqa: B008  # frozen
    since: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="First night to replay.")
    ] = None,
    every: Annotated[int, typer.Option(metavar="N", min=1, help="Sessions per night.")] = 1,
    page: Annotated[
        Path | None, typer.Option("--page", metavar="FILE", help="Also write a page to this file.")
    ] = None,
) -> None:
    """Show, night by night, what the nightly job would have said.

    Reads stored forecasts and runs no model. Does the same for two planted truths: the arms
    swapped, and a candidate exactly at its margins.
    """
    from shutil import get_terminal_size

    from harness.experiments.waivers import as_date
    from harness.gate.rehearsal import rehearse as rehearsed
    from harness.running.store_folder import write_text
    from reports.forms.html import html_of
    from reports.forms.terminal import text_of
    from reports.rehearsal_page import RehearsalPage

    grid, kept = opened(
        pair.experiment,
        pair.store,
        pair.data_dir,
        seeds=seed_numbers(pair.seeds),
        changes=pair.changes,
        without=pair.without,
        policy=pair.policy,
        create=False,
    )
    wanted = grid.experiment.policy_on(baseline=pair.baseline, candidate=pair.candidate)
    day = "" if since is None else as_date(since, "--from")
    found = rehearsed(grid, kept, policy=wanted, since=day, every=every)
    title = grid.experiment.title
    told = RehearsalPage(found=found, title=title, experiment=pair.experiment)
    say(text_of(told.sections(paths=False), width=get_terminal_size((80, 24)).columns))
    if page is not None:
        head = f"{found[0].outcome}: rehearsal of {title}"
        sections = told.sections(paths=True)
        write_text(page, html_of(sections, head=head, title=f"Rehearsal of {title}"))
        say(f"page: {page}")
