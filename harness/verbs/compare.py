"""The verb `compare`, the main job: run what is missing, judge, write the page."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import typer

from harness.verbs.check import try_blindness
from harness.verbs.common import (
    BaselineOption,
    CandidateOption,
    DataDirOption,
    DateOption,
    ExperimentArg,
    FilePath,
    HoldAs,
    HoldAsOption,
    OnlyOption,
    OnOption,
    PolicyOption,
    RecomputeOption,
    RecordsOption,
    RetryOption,
    SeedsOption,
    SetOption,
    ShardOption,
    StoreOption,
    StrictDataOption,
    WithoutOption,
    WorkersOption,
    day_of,
    opened,
    say,
    say_freshness,
    seed_numbers,
    shard_of,
    verb,
)
from harness.verbs.gate import chosen_pair, judged, last_line_of, result_of, write_files
from harness.verbs.measure import measure_as_asked
from harness.verbs.report import page_content, written_page
from harness.verbs.result import Result
from harness.verbs.run import filled


def compare(
    experiment: FilePath = "quick",
    *,
    store: FilePath = "runs",
    data_dir: Sequence[FilePath] = (),
    workers: int = 0,
    seeds: Sequence[int] | None = None,
    changes: Sequence[str] = (),
    without: Sequence[str] = (),
    only: Sequence[str] = (),
    shard: tuple[int, int] | None = None,
    retry_failed: bool = False,
    recompute: bool = False,
    baseline_arm: str | None = None,
    candidate_arm: str | None = None,
    hold_as: HoldAs = None,
    policy: FilePath | None = None,
    date: str | None = None,
    records: FilePath | None = None,
    strict_data: bool = False,
    on: str | None = None,
) -> Result:
    """Run what is missing, judge, and write the page. The main job.

    Parameters
    ----------
    experiment, store, data_dir, workers, seeds, changes, without, only, shard, retry_failed, \
    recompute, strict_data, on
        As for `harness.run`. With `only` or `shard`, nothing is judged while other cells are
        missing.
    baseline_arm, candidate_arm, hold_as, policy, date, records
        As for `harness.gate`.

    Raises
    ------
    InputError
        When experiment, data, arms or store cannot be used.
    """
    return compared(
        experiment,
        store=store,
        data_dir=data_dir,
        workers=workers,
        seeds=seeds,
        changes=changes,
        without=without,
        only=only,
        shard=shard,
        retry_failed=retry_failed,
        recompute=recompute,
        baseline_arm=baseline_arm,
        candidate_arm=candidate_arm,
        hold_as=hold_as,
        policy=policy,
        date=date,
        records=records,
        strict_data=strict_data,
        on=on,
    )


def compared(
    experiment: FilePath,
    *,
    store: FilePath,
    data_dir: Sequence[FilePath],
    workers: int = 0,
    seeds: Sequence[int] | None = None,
    changes: Sequence[str] = (),
    without: Sequence[str] = (),
    only: Sequence[str] = (),
    shard: tuple[int, int] | None = None,
    retry_failed: bool = False,
    recompute: bool = False,
    baseline_arm: str | None = None,
    candidate_arm: str | None = None,
    hold_as: HoldAs = None,
    policy: FilePath | None = None,
    date: str | None = None,
    records: FilePath | None = None,
    strict_data: bool = False,
    on: str | None = None,
    nightly: bool = False,
) -> Result:
    """Compare by hand, or as the job of every night, which begins with what is new."""
    from harness.running.fill import not_run

    day = day_of(date)
    grid, kept = opened(
        experiment, store, data_dir, seeds=seeds, changes=changes, without=without, policy=policy
    )
    chosen_pair(grid, baseline_arm, candidate_arm)  # a wrong name ends here, before anything runs
    say_freshness(grid, strict=strict_data)
    units = filled(
        grid,
        kept,
        workers=workers,
        only=only,
        shard=shard,
        retry_failed=retry_failed,
        recompute=recompute,
        on=on,
        data_dir=data_dir,
    )
    grid = units.grid
    for event in units.events:
        say(f"note: {event}", err=True)
    measure_as_asked(grid, kept, baseline=baseline_arm, candidate=candidate_arm)
    try_blindness(grid, kept, baseline=baseline_arm, candidate=candidate_arm)
    rest = not_run(grid, kept) if only or shard else []
    if rest:
        told = f"{units.total} units here, {len(rest)} of {len(grid.cells)} are missing"
        hint = "without --only and --shard the rest is run and judged"
        return Result(text=f"{told}, such as {rest[0]}: not judged; {hint}", units=units)
    judgement = judged(grid, kept, baseline_arm, candidate_arm, day, reuse=True, nightly=nightly)
    content = page_content(grid, kept, judgement)
    page = None if content.alone else written_page(grid, kept, judgement, content)
    write_files(kept, judgement, content, hold_as, records)
    if records is not None and page is not None:
        from harness.running.store_folder import write_text

        write_text(Path(records) / page.name, page.read_text(encoding="utf-8"))
    found = result_of(
        judgement,
        content,
        hold_as=hold_as,
        page=page,
        last_line=last_line_of(
            kept, judgement, f"page: {page or 'none, stored units cannot be read'}"
        ),
    )
    return dataclasses.replace(found, units=units)


@verb("abharness compare quick --store runs")
def compare_command(
    experiment: ExperimentArg = "quick",
    store: StoreOption = Path("runs"),
    data_dir: DataDirOption = [],  # noqa: B006  # typer copies defaults
    workers: WorkersOption = 0,
    seeds: SeedsOption = None,
    changes: SetOption = [],  # noqa: B006
    without: WithoutOption = [],  # noqa: B006
    only: OnlyOption = [],  # noqa: B006
    shard: ShardOption = None,
    retry_failed: RetryOption = False,
    recompute: RecomputeOption = False,
    baseline: BaselineOption = None,
    candidate: CandidateOption = None,
    hold_as: HoldAsOption = None,
    policy: PolicyOption = None,
    date: DateOption = None,
    records: RecordsOption = None,
    strict_data: StrictDataOption = False,
    on: OnOption = None,
) -> None:
    """Run what is missing, judge, and write the page. The main job."""
    done = compare(
        experiment,
        store=store,
        data_dir=data_dir,
        workers=workers,
        seeds=seed_numbers(seeds),
        changes=changes,
        without=without,
        only=only,
        shard=shard_of(shard),
        retry_failed=retry_failed,
        recompute=recompute,
        baseline_arm=baseline,
        candidate_arm=candidate,
        hold_as=hold_as,
        policy=policy,
        date=date,
        records=records,
        strict_data=strict_data,
        on=on,
    )
    say(done.text)
    raise typer.Exit(done.exit_code)
