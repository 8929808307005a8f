"""The command line's verb `report`: a page drawn from records, and the index of a store."""

from __future__ import annotations

import dataclasses
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
            "--format", help="html writes a file; md and json are printed without --output."
        ),
    ] = "html",
    index: Annotated[
        bool, typer.Option("--index", help="All verdicts of the store instead of one page.")
    ] = False,
    output: Annotated[
        FilePath | None, Annotated[Path | None, typer.Option(help="Write it here.")]
    ] = None,
) -> Result:
    """Render the page of the experiment's last verdict from the records, or the store's index.

    Parameters
    ----------
    experiment, store, data_dir, seeds, changes, without
        As for `harness.run`; the store must be there.
    form
        html writes a file; md and json are the result's text where no `output` is named.
    index
        All verdicts of the store instead of one page.
    output
        Write it here.

    Raises
    ------
    InputError
        When experiment, data, arms or store cannot be used.
    """
    to = None if output is None else Path(output)
    if index:
        return _index(Path(store), form, to)
    return _page(
        *opened(
            experiment, store, data_dir, seeds=seeds, changes=changes, without=without, create=False
        ),
        form,
        to,
    )


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


def _index(root: Path, form: Format, output: Path | None) -> Result:
    from harness.running.store_folder import open_store
    from reports.collect import collect_index
    from reports.forms import render_store

    store = open_store(root, create=False)
    beside = store.root / "verdicts" / "index.html"
    file = output or (beside if form == "html" else None)
    linked = file is not None and file.resolve().parent == beside.resolve().parent
    return _given(render_store(collect_index(store, linked=linked), form), file)


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
    """Write the page beside the verdict's files, unless it is there as these records draw it."""
    from harness.running.sources import file_digest
    from harness.running.store_folder import write_text
    from reports.collect import drawn_from

    page = judgement.folder / "report.html"
    made_of = drawn_from(content)
    known = store.journal.latest("page", judgement.folder.name) or {}
    if known.get("made_of") != made_of or not page.is_file() or file_digest(page) != known["file"]:
        write_text(page, rendered(grid, store, judgement, content, "html"))
        said = {"made_of": made_of, "file": file_digest(page)}
        store.journal.append_new("page", judgement.folder.name, said)
    return page


def rendered(
    grid: Grid, store: Store, judgement: Judgement, content: PageInput, form: Format
) -> str:
    """Draw a page with its claims."""
    from reports.collect import with_claims
    from reports.forms import render_page

    return render_page(with_claims(content, grid, store, judgement), form)
