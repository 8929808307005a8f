"""The command line: parses, calls one function, prints, maps the outcome to an exit code.

Nothing heavy is imported before a verb needs it: `--help` answers at once.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from harness.check_cli import check
from harness.data_cli import data_app
from harness.errors import ConfigError, InputError
from harness.options import (
    BaselineOption,
    CandidateOption,
    DataDirOption,
    ExperimentArg,
    HoldAsOption,
    OnlyOption,
    RetryOption,
    SeedsOption,
    ShardOption,
    StoreOption,
    WorkersOption,
)

if TYPE_CHECKING:
    from harness.gate import Judgement
    from harness.grid import Grid
    from harness.run import RunSummary
    from harness.store import Store
    from reports.inputs import PageInput

INTERRUPTED = 130

_CommandLineError: Any = typer.BadParameter.__mro__[2]
"""`ClickException`: of click, or of the copy of click that newer versions of typer bring."""

app = typer.Typer(
    name="abharness",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="May we replace our legacy forecaster with this new one?\n\n"
    "Runs both on identical rolling-origin splits, judges the paired losses by a policy, and "
    "writes a report.\n\n"
    "Exit codes: 0 PROMOTE or done, 1 a fault of abharness, 2 wrong input, 3 REJECT, 4 HOLD, "
    "5 INVALID.",
    epilog="Start with:  abharness compare",
)
app.add_typer(data_app, name="data")

_STORE = Path("runs")


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"abharness {version('abharness')}")
        raise typer.Exit


@app.callback()
def _settings(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Take the options that stand before a verb."""
    if debug:
        sys.excepthook = sys.__excepthook__


@app.command(epilog="Example:  abharness compare quick --store runs")
def compare(
    experiment: ExperimentArg = "quick",
    store: StoreOption = _STORE,
    data_dir: DataDirOption = [],  # noqa: B006  # typer copies defaults
    workers: WorkersOption = 0,
    seeds: SeedsOption = None,
    only: OnlyOption = [],  # noqa: B006
    shard: ShardOption = None,
    retry_failed: RetryOption = False,
    baseline: BaselineOption = None,
    candidate: CandidateOption = None,
    hold_as: HoldAsOption = "fail",
) -> None:
    """Run what is missing, judge, and write the page. The main job."""
    grid, opened = _prepared(experiment, store, data_dir, seeds)
    _filled(grid, opened, workers=workers, only=only, shard=shard, retry_failed=retry_failed)
    judgement = _judged(grid, opened, baseline, candidate)
    content = _content(grid, opened, judgement)
    _write_ci_files(judgement, content, hold_as)
    page = _page(judgement, content)
    _print_verdict(grid, judgement)
    typer.echo(f"page: {page}")
    raise typer.Exit(_exit_code(judgement, hold_as))


@app.command(epilog="Example:  abharness run nightly --workers 2 --shard 1/3")
def run(
    experiment: ExperimentArg = "quick",
    store: StoreOption = _STORE,
    data_dir: DataDirOption = [],  # noqa: B006
    workers: WorkersOption = 0,
    seeds: SeedsOption = None,
    only: OnlyOption = [],  # noqa: B006
    shard: ShardOption = None,
    retry_failed: RetryOption = False,
) -> None:
    """Fill the grid; running the same command again resumes."""
    grid, opened = _prepared(experiment, store, data_dir, seeds)
    summary = _filled(
        grid, opened, workers=workers, only=only, shard=shard, retry_failed=retry_failed
    )
    typer.echo(
        f"{summary.total} units of {len(grid.cells)} in {store}, {summary.computed} computed now"
    )
    for cell, reason in summary.failed.items():
        typer.echo(f"failed windows: {cell}: {reason}")


@app.command(epilog="Example:  abharness gate quick --candidate-arm HFBayesianAutoformer-96")
def gate(
    experiment: ExperimentArg = "quick",
    store: StoreOption = _STORE,
    data_dir: DataDirOption = [],  # noqa: B006
    seeds: SeedsOption = None,
    baseline: BaselineOption = None,
    candidate: CandidateOption = None,
    hold_as: HoldAsOption = "fail",
) -> None:
    """Judge what is stored; the exit code is the decision.

    Writes verdict.json, junit.xml and summary.md.
    """
    grid, opened = _prepared(experiment, store, data_dir, seeds, create=False)
    judgement = _judged(grid, opened, baseline, candidate)
    content = _content(grid, opened, judgement)
    _write_ci_files(judgement, content, hold_as)
    _print_verdict(grid, judgement)
    typer.echo(f"records: {judgement.folder}")
    raise typer.Exit(_exit_code(judgement, hold_as))


@app.command(epilog="Example:  abharness report quick --output report.html")
def report(
    experiment: ExperimentArg = "quick",
    store: StoreOption = _STORE,
    data_dir: DataDirOption = [],  # noqa: B006
    seeds: SeedsOption = None,
    output: Annotated[Path | None, typer.Option(help="Write a copy of the page here.")] = None,
) -> None:
    """Render the page of the experiment's last verdict from the records."""
    from harness.gate import stored_judgement
    from harness.store import write_text

    grid, opened = _prepared(experiment, store, data_dir, seeds, create=False)
    judgement = stored_judgement(grid, opened)
    page = _page(judgement, _content(grid, opened, judgement), anew=True)
    if output is not None:
        write_text(output, page.read_text(encoding="utf-8"))
    typer.echo(f"page: {output or page}")


@app.command(epilog="Example:  abharness config my-experiment.toml")
def config(
    context: typer.Context,
    experiment: ExperimentArg = "quick",
    store: StoreOption = _STORE,
    data_dir: DataDirOption = [],  # noqa: B006
    workers: WorkersOption = 0,
    seeds: SeedsOption = None,
) -> None:
    """Show every setting with where it came from, the grid, and all origins with dates."""
    from harness.listing import grid_lines, setting_lines

    flags = {
        name: (value, _source_of(context, name))
        for name, value in (
            ("store", store), ("data_dir", data_dir), ("workers", workers), ("seeds", seeds)
        )
    }  # fmt: skip
    grid = _grid(experiment, data_dir, seeds)
    for line in (*setting_lines(grid, flags), "", *grid_lines(grid)):
        typer.echo(line)


@app.command(epilog="Example:  abharness arms nightly")
def arms(experiment: ExperimentArg = "quick") -> None:
    """List the arms of an experiment, their options and what they say of themselves."""
    from harness.experiment import read_experiment
    from harness.listing import arm_lines

    for line in arm_lines(read_experiment(experiment)):
        typer.echo(line)


@app.command(epilog="Example:  abharness doctor")
def doctor() -> None:
    """Show what this machine has and lacks."""
    from harness.listing import machine_lines

    for line in machine_lines():
        typer.echo(line)


app.command("check", epilog="Example:  abharness check EnhancedAutoformer --option repaired=true")(
    check
)


def run_cli(arguments: list[str]) -> int:
    """Run a command line and return its exit code.

    What the user got wrong is one line on standard error and 2; what we got wrong ends in 1.
    """
    command = typer.main.get_command(app)
    sys.excepthook = _crash
    try:
        result = command.main(args=arguments, prog_name="abharness", standalone_mode=False)
    except InputError as problem:
        if sys.excepthook is sys.__excepthook__:
            traceback.print_exc()
        else:
            _complain(str(problem))
        return 2
    except _CommandLineError as problem:
        text = problem.format_message()
        if "\n" in text:  # the help of a group that was given no verb
            typer.echo(text, err=True)
        else:
            _complain(f"{text.removesuffix('.')}; see abharness --help")
        return 2
    except (KeyboardInterrupt, typer.Abort):
        result = INTERRUPTED
    if result == INTERRUPTED:  # newer versions of typer return it instead of raising
        typer.echo("\nstopped; everything finished is kept, the same command resumes", err=True)
    return int(result or 0)


def _crash(kind: type[BaseException], problem: BaseException, trace: object) -> None:
    _complain(f"internal error: {kind.__name__}: {problem} (abharness --debug ... shows more)")


def _complain(text: str) -> None:
    typer.echo(f"abharness: {' '.join(text.split())}", err=True)


def _grid(experiment: str, data_dir: list[Path], seeds: str | None) -> Grid:
    from harness.experiment import read_experiment
    from harness.run import prepare

    found = read_experiment(experiment)
    return prepare(found.with_seeds(_numbers(seeds)) if seeds else found, data_dir)


def _prepared(
    experiment: str, store: Path, data_dir: list[Path], seeds: str | None, *, create: bool = True
) -> tuple[Grid, Store]:
    from harness.store import open_store

    grid = _grid(experiment, data_dir, seeds)
    for split in grid.splits.values():
        for warning in split.dataset.warnings:
            typer.echo(f"note: {warning}", err=True)
    return grid, open_store(store, create=create)


def _filled(
    grid: Grid,
    store: Store,
    *,
    workers: int,
    only: list[str],
    shard: str | None,
    retry_failed: bool,
) -> RunSummary:
    from harness.console import LineProgress
    from harness.run import default_workers, fill

    count = workers or default_workers(grid.experiment.run.threads)
    return fill(
        grid,
        store,
        workers=count,
        progress=LineProgress(workers=count),
        only=only,
        shard=_shard(shard),
        retry_failed=retry_failed,
    )


def _judged(grid: Grid, store: Store, baseline: str | None, candidate: str | None) -> Judgement:
    from harness.gate import judge_grid, with_pair

    policy = with_pair(grid.experiment.policy, grid, baseline=baseline, candidate=candidate)
    return judge_grid(grid, store, policy=policy)


def _content(grid: Grid, store: Store, judgement: Judgement) -> PageInput:
    from reports.collect import collect

    return collect(grid, store, judgement.verdict, judgement.scores)


def _page(judgement: Judgement, content: PageInput, *, anew: bool = False) -> Path:
    """Write the page, unless the same records were drawn by the same code before."""
    from harness.identity import digest, package_digest
    from harness.store import write_text
    from harness.verdict import to_json

    page, drawn = judgement.folder / "report.html", judgement.folder / ".report-drawn-from"
    records = [unit.record for unit in content.units.values()]
    made_of = digest([package_digest("reports"), to_json(judgement.verdict), records])
    known = drawn.read_text(encoding="utf-8") if drawn.is_file() and page.is_file() else ""
    if anew or known != made_of:
        from reports.page import render_html

        write_text(page, render_html(content))
        write_text(drawn, made_of)
    return page


def _write_ci_files(
    judgement: Judgement, content: PageInput, hold_as: Literal["fail", "pass"]
) -> None:
    from harness.store import write_text
    from reports.junit import render_junit
    from reports.markdown import render_markdown

    junit = render_junit(judgement.verdict, hold_as=hold_as)
    write_text(judgement.folder / "junit.xml", junit)
    write_text(judgement.folder / "summary.md", render_markdown(content))


def _print_verdict(grid: Grid, judgement: Judgement) -> None:
    from shutil import get_terminal_size

    from harness.scores import summarise
    from reports.collect import reference_of
    from reports.terminal import render_terminal

    summaries = summarise(judgement.scores, reference=reference_of(grid))
    width = get_terminal_size((120, 24)).columns
    typer.echo(render_terminal(judgement.verdict, summaries=summaries, width=width))


def _exit_code(judgement: Judgement, hold_as: str) -> int:
    held = judgement.verdict.outcome == "HOLD" and hold_as == "pass"
    return 0 if held else judgement.verdict.exit_code


def _numbers(text: str) -> list[int]:
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--seeds '{text}': expected whole numbers such as 1,2,3") from None
    return found


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, slash, second = text.partition("/")
    if slash and first.isdigit() and second.isdigit() and 1 <= int(first) <= int(second):
        return int(first), int(second)
    raise ConfigError(f"--shard '{text}': expected i/n with 1 <= i <= n, such as 2/4")


def _source_of(context: typer.Context, name: str) -> str:
    source = context.get_parameter_source(name)
    known = {"COMMANDLINE": "flag", "ENVIRONMENT": "environment"}
    return known.get(source.name if source else "", "default")
