"""The verb `compare`, the main job: run what is missing, judge, write the page."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from harness.verbs.check import try_blindness
from harness.verbs.common import (
    BaselineOption,
    CandidateOption,
    DataFolders,
    DateOption,
    Experiment,
    HoldAsOption,
    LeftOut,
    OnOption,
    Patterns,
    PolicyFile,
    RecomputeOption,
    RecordsFolder,
    RetryOption,
    Seeds,
    Settings,
    Shard,
    StoreFolder,
    StrictDataOption,
    WorkersOption,
    day_of,
    opened,
    say,
    say_freshness,
    verb,
)
from harness.verbs.gate import (
    as_typed,
    chosen_pair,
    judged,
    last_line_of,
    result_of,
    write_files,
)
from harness.verbs.measure import measure_as_asked
from harness.verbs.report import night_page, page_content, written_page
from harness.verbs.result import Result
from harness.verbs.run import filled


@verb("abharness compare quick --store runs")
def compare(
    experiment: Experiment = "quick",
    *,
    store: StoreFolder = "runs",
    data_dir: DataFolders = (),
    workers: WorkersOption = 0,
    seeds: Seeds = None,
    changes: Settings = (),
    without: LeftOut = (),
    only: Patterns = (),
    shard: Shard = None,
    retry_failed: RetryOption = False,
    recompute: RecomputeOption = False,
    baseline_arm: BaselineOption = None,
    candidate_arm: CandidateOption = None,
    hold_as: HoldAsOption = None,
    policy: PolicyFile = None,
    date: DateOption = None,
    records: RecordsFolder = None,
    strict_data: StrictDataOption = False,
    nightly: Annotated[
        bool, typer.Option("--as-nightly", help="Record this as a night; begin with what is new.")
    ] = False,
    on: OnOption = None,
) -> Result:
    """Run what is missing, judge, and write the page. The main job.

    Costs are measured if the experiment asks for it; without a table `[measure]`, once per
    machine, if that takes under a minute and the machine is quiet.

    Parameters
    ----------
    experiment, store, data_dir, workers, seeds, changes, without, only, shard, retry_failed, \
    recompute, strict_data, on
        As for `harness.run`. With `only` or `shard`, nothing is judged until all other cells are
        there.
    baseline_arm, candidate_arm, hold_as, policy, date, records
        As for `harness.gate`.
    nightly
        Record this as a night, and begin with what is new since the previous verdict.

    Raises
    ------
    InputError
        When experiment, data, arms or store cannot be used.
    """
    from harness.running.fill import not_run
    from harness.running.store_folder import write_text

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
    measure_as_asked(grid, kept, baseline=baseline_arm, candidate=candidate_arm, unasked=True)
    try_blindness(grid, kept, baseline=baseline_arm, candidate=candidate_arm)
    rest = not_run(grid, kept) if only or shard else []
    if rest:
        told = f"{units.total} units here, {len(rest)} of {len(grid.cells)} are missing"
        hint = "leave out --only and --shard to run the rest and judge"
        return Result(text=f"{told}, such as {rest[0]}: not judged; {hint}", units=units)
    judgement = judged(grid, kept, baseline_arm, candidate_arm, day, nightly=nightly)
    content = page_content(grid, kept, judgement)
    page = None if content.alone else written_page(grid, kept, judgement, content)
    write_files(kept, judgement, content, hold_as, records)
    if records is not None and page is not None:
        write_text(Path(records) / page.name, page.read_text(encoding="utf-8"))
    said = f"page: {page or 'none, stored units cannot be read'}"
    if nightly and page is not None:
        nights = night_page(grid, kept)
        assert nights.page is not None
        said += f"\nnights: {nights.page}"
        if records is not None:
            text = nights.page.read_text(encoding="utf-8")
            link = f'href="{judgement.folder.name}/report.html"'
            write_text(Path(records) / nights.page.name, text.replace(link, 'href="report.html"'))
    found = result_of(
        judgement,
        content,
        as_typed(content, grid, kept, data_dir),
        hold_as=hold_as,
        page=page,
        last_line=last_line_of(kept, judgement, said),
    )
    return dataclasses.replace(found, units=units)
