"""The verb `report`: the page of a verdict drawn from records, and that of the nights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.errors import StoreError
from harness.verbs.common import (
    DataFolders,
    Experiment,
    FilePath,
    LeftOut,
    Seeds,
    Settings,
    StoreFolder,
    opened,
    say,
    verb,
)
from harness.verbs.result import Result

if TYPE_CHECKING:
    from harness.gate.judge import Judgement
    from harness.running.grid import Grid
    from harness.running.store_folder import Store
    from reports.page_input import PageInput

Format = Literal["html", "md", "json"]

PAGE = "report.html"
"""Name of the page in a verdict's folder."""


@verb(
    "abharness report quick --output report.html",
    show=lambda done: typer.echo(done.text, nl=False) if done.page is None else say(done.text),
)
def report(
    experiment: Experiment = "quick",
    *,
    store: StoreFolder = "runs",
    data_dir: DataFolders = (),
    seeds: Seeds = None,
    changes: Settings = (),
    without: LeftOut = (),
    form: Annotated[
        Format,
        typer.Option(
            "--format", help="html writes a file; md and json are printed unless --output is given."
        ),
    ] = "html",
    nights: Annotated[
        bool, typer.Option("--nights", help="Show how decision and evidence moved, by night.")
    ] = False,
    output: Annotated[
        FilePath | None,
        Annotated[Path | None, typer.Option(metavar="FILE", help="Write to this file.")],
    ] = None,
) -> Result:
    """Render the page of the last verdict, or that of the nights.

    Parameters
    ----------
    experiment, store, data_dir, seeds, changes, without
        As for `harness.run`; the store must be there.
    form
        html writes a file; md and json are the result's text where no `output` is named.
    nights
        How the decision and its evidence moved, instead of one verdict.
    output
        The file to write to.

    Raises
    ------
    InputError
        When experiment, data, arms or store cannot be used.
    """
    to = None if output is None else Path(output)
    grid, kept = opened(
        experiment, store, data_dir, seeds=seeds, changes=changes, without=without, create=False
    )
    return night_page(grid, kept, form, to) if nights else _page(grid, kept, form, to)


def _page(grid: Grid, store: Store, form: Format, output: Path | None) -> Result:
    from harness.gate.judge import stored_judgement
    from harness.running.store_folder import write_text

    judgement = stored_judgement(grid, store)
    content = page_content(grid, store, judgement)
    if content.alone:
        from reports.words import verdicts

        raise StoreError(f"{judgement.folder}: no page: {verdicts.summary(judgement.verdict)}")
    if form == "html" and not store.journal.read_only:
        page = written_page(grid, store, judgement, content)
        if output is not None:
            write_text(output, page.read_text(encoding="utf-8"))
        found = Result(text=f"page: {output or page}", page=output or page)
    elif form == "html" and output is None:
        raise StoreError(
            f"{store.root}: store cannot be written: it is read-only; --output FILE writes the "
            "page elsewhere"
        )
    else:
        found = _given(rendered(grid, store, judgement, content, form), output)
    return dataclasses.replace(
        found,
        verdict=judgement.verdict,
        others=tuple(verdict for verdict, _ in judgement.others),
        folder=judgement.folder,
        content=content,
    )


def night_page(
    grid: Grid, store: Store, form: Format = "html", output: Path | None = None
) -> Result:
    """Write the page of an experiment's nights; it links the report where that lies beside it."""
    from harness.gate.history import standing
    from reports.collect import collect_history
    from reports.forms import render_history

    folder = store.verdict_folder(grid.experiment.name)
    beside = folder / "nights.html"
    file = output or (beside if form == "html" else None)
    page = f"{standing(store, grid.experiment.name)}/{PAGE}"
    if file is None or file.resolve().parent != folder.resolve():
        page = PAGE
    there = file is not None and (file.parent / page).is_file()
    found = collect_history(grid, store, page=page if there else "")
    return _given(render_history(found, form), file)


def _given(text: str, file: Path | None) -> Result:
    """A text as the result, or written to a file, and where."""
    from harness.running.store_folder import write_text

    if file is None:
        return Result(text=text)
    write_text(file, text)
    return Result(text=f"page: {file}", page=file)


def page_content(grid: Grid, store: Store, judgement: Judgement) -> PageInput:
    """What all forms of a report show but claims.

    The verdict and its scores alone where units cannot be read, which the verdict says.
    """
    from reports.collect import collect, verdict_alone

    try:
        return collect(grid, store, judgement)
    except StoreError:
        if judgement.verdict.outcome != "INVALID":
            raise
        return verdict_alone(judgement)


def written_page(grid: Grid, store: Store, judgement: Judgement, content: PageInput) -> Path:
    """Draw the page beside the verdict's files."""
    from reports.collect import drawn_from

    def page() -> str:
        return rendered(grid, store, judgement, content, "html")

    keep_drawn(store, judgement.folder, {PAGE: page}, made_of=drawn_from(content))
    return judgement.folder / PAGE


def keep_drawn(
    store: Store, folder: Path, files: Mapping[str, Callable[[], str]], *, made_of: str
) -> None:
    """Write files of a verdict's folder, but those that are there as `made_of` draws them.

    Parameters
    ----------
    files
        File name to what draws it.
    made_of
        Digest of all that they are drawn from.
    """
    from harness.running.sources import file_digest
    from harness.running.store_folder import write_text

    known = store.journal.latest("drawn", folder.name) or {}
    now = dict(known)
    for name, draw in files.items():
        file, said = folder / name, known.get(name, {})
        if said.get("made_of") == made_of and file.is_file() and file_digest(file) == said["file"]:
            continue
        write_text(file, draw())
        now[name] = {"made_of": made_of, "file": file_digest(file)}
    store.journal.append_new("drawn", folder.name, now)


def rendered(
    grid: Grid, store: Store, judgement: Judgement, content: PageInput, form: Format
) -> str:
    """Draw a page with its claims."""
    from reports.collect import with_claims
    from reports.forms import render_page

    return render_page(with_claims(content, grid, store, judgement), form)
