"""The main job: run what is missing, judge, write the page; and its halves `run` and `gate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from harness.errors import StoreError
from harness.verbs.check import try_blindness
from harness.verbs.common import (
    BaselineOption,
    CandidateOption,
    DataDirOption,
    DateOption,
    ExperimentArg,
    HoldAsOption,
    OnlyOption,
    PolicyOption,
    RecordsOption,
    RetryOption,
    SeedsOption,
    ShardOption,
    StoreOption,
    WorkersOption,
    copied,
    day_of,
    opened,
    say,
    shard_of,
    verb,
)
from harness.verbs.measure import measure_as_asked
from harness.verbs.report import page_content, written_page

if TYPE_CHECKING:
    from harness.experiments.policy import Policy
    from harness.gate.judge import Judgement
    from harness.running.grid import Grid
    from harness.running.run import RunSummary
    from harness.running.store import Store
    from reports.page_input import PageInput

HoldAs = Literal["fail", "pass"] | None


_STORE = Path("runs")


@verb("abharness compare quick --store runs")
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
    hold_as: HoldAsOption = None,
    policy: PolicyOption = None,
    date: DateOption = None,
    records: RecordsOption = None,
) -> None:
    """Run what is missing, judge, and write the page. The main job."""
    day = day_of(date)
    grid, kept = opened(experiment, store, data_dir, seeds=seeds, policy=policy)
    _pair(grid, baseline, candidate)  # a wrong name ends here, before anything is run
    _filled(grid, kept, workers=workers, only=only, shard=shard, retry_failed=retry_failed)
    measure_as_asked(grid, kept, baseline=baseline, candidate=candidate)
    try_blindness(grid, kept, baseline=baseline, candidate=candidate)
    judgement = _judged(grid, kept, baseline, candidate, day, reuse=True)
    content = page_content(grid, kept, judgement)
    _write_ci_files(judgement, _tables(grid, kept, judgement), hold_as)
    page = written_page(grid, kept, judgement, content) if content else None
    copied(judgement.folder, records)
    _print_verdict(judgement)
    say(f"page: {page or 'none, stored units cannot be read'}")
    raise typer.Exit(_exit_code(judgement, hold_as))


@verb("abharness run nightly --workers 2 --shard 1/3")
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
    grid, kept = opened(experiment, store, data_dir, seeds=seeds)
    summary = _filled(
        grid, kept, workers=workers, only=only, shard=shard, retry_failed=retry_failed
    )
    measure_as_asked(grid, kept)
    try_blindness(grid, kept)
    say(f"{summary.total} units of {len(grid.cells)} in {store}, {summary.computed} computed now")
    for cell, reason in summary.failed.items():
        say(f"failed windows: {cell}: {reason}")


@verb("abharness gate quick --candidate-arm HFBayesianAutoformer-96")
def gate(
    experiment: ExperimentArg = "quick",
    store: StoreOption = _STORE,
    data_dir: DataDirOption = [],  # noqa: B006
    seeds: SeedsOption = None,
    baseline: BaselineOption = None,
    candidate: CandidateOption = None,
    hold_as: HoldAsOption = None,
    policy: PolicyOption = None,
    date: DateOption = None,
    records: RecordsOption = None,
) -> None:
    """Judge what is stored; the exit code is the decision.

    Writes verdict.json, junit.xml and summary.md, and a verdict on every other legacy arm.
    """
    day = day_of(date)
    grid, kept = opened(experiment, store, data_dir, seeds=seeds, policy=policy, create=False)
    judgement = _judged(grid, kept, baseline, candidate, day)
    _write_ci_files(judgement, _tables(grid, kept, judgement), hold_as)
    copied(judgement.folder, records)
    _print_verdict(judgement)
    say(f"records: {judgement.folder}")
    raise typer.Exit(_exit_code(judgement, hold_as))


def _filled(
    grid: Grid,
    store: Store,
    *,
    workers: int,
    only: list[str],
    shard: str | None,
    retry_failed: bool,
) -> RunSummary:
    from harness.running.run import default_workers, fill
    from harness.verbs.progress import LineProgress

    count = workers or default_workers(grid.experiment.run.threads)
    return fill(
        grid,
        store,
        workers=count,
        progress=LineProgress(workers=count),
        only=only,
        shard=shard_of(shard),
        retry_failed=retry_failed,
    )


def _pair(grid: Grid, baseline: str | None, candidate: str | None) -> Policy:
    from harness.gate.judge import with_pair

    return with_pair(grid.experiment.policy, grid, baseline=baseline, candidate=candidate)


def _judged(
    grid: Grid,
    store: Store,
    baseline: str | None,
    candidate: str | None,
    day: str,
    *,
    reuse: bool = False,
) -> Judgement:
    from harness.gate.judge import judge_grid

    policy = _pair(grid, baseline, candidate)
    return judge_grid(grid, store, policy=policy, today=day, reuse=reuse)


def _tables(grid: Grid, store: Store, judgement: Judgement) -> PageInput | None:
    """What the summary shows, without what only a page does; None where units cannot be read."""
    from reports.collect import collect

    try:
        return collect(grid, store, judgement.verdict, judgement.scores)
    except StoreError:
        if judgement.verdict.outcome != "INVALID":
            raise
        return None


def _write_ci_files(judgement: Judgement, content: PageInput | None, hold_as: HoldAs) -> None:
    """Write JUnit XML and Markdown beside every verdict; the deciding one has its page's tables."""
    from harness.running.store import write_text
    from reports.forms.junit import render_junit
    from reports.forms.markdown import render_markdown

    said = _hold_as(judgement, hold_as)
    subject = content or judgement.verdict
    others = [verdict for verdict, _ in judgement.others]
    folder = judgement.folder
    write_text(folder / "junit.xml", render_junit(judgement.verdict, hold_as=said))
    write_text(folder / "summary.md", render_markdown(subject, others=others))
    for verdict, at in judgement.others:
        write_text(at / "junit.xml", render_junit(verdict, hold_as=said))
        write_text(at / "summary.md", render_markdown(verdict))


def _hold_as(judgement: Judgement, flag: HoldAs) -> Literal["fail", "pass"]:
    """What HOLD ends with: the flag, else the policy."""
    return flag or ("pass" if judgement.verdict.policy.get("hold_as") == "pass" else "fail")


def _print_verdict(judgement: Judgement) -> None:
    from shutil import get_terminal_size

    from harness.scoring.summary import summarise
    from reports.forms.terminal import render_terminal

    reference = judgement.verdict.validity.reference
    summaries = summarise(judgement.scores, reference=reference)
    width = get_terminal_size((120, 24)).columns
    others = [verdict for verdict, _ in judgement.others]
    say(render_terminal(judgement.verdict, summaries=summaries, others=others, width=width))


def _exit_code(judgement: Judgement, hold_as: HoldAs) -> int:
    """What the verb ends with: the verdict on the policy's pair decides, no other."""
    held = judgement.verdict.outcome == "HOLD" and _hold_as(judgement, hold_as) == "pass"
    return 0 if held else judgement.verdict.exit_code
