"""The verb `run`: fill the grid with what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import ConfigError
from harness.verbs.check import try_blindness
from harness.verbs.common import (
    DataFolders,
    Experiment,
    FilePath,
    LeftOut,
    OnOption,
    Patterns,
    RecomputeOption,
    RetryOption,
    Seeds,
    Settings,
    Shard,
    StoreFolder,
    StrictDataOption,
    WorkersOption,
    opened,
    say_freshness,
    verb,
)
from harness.verbs.measure import measure_as_asked
from harness.verbs.result import Result

if TYPE_CHECKING:
    from harness.running.fill import RunSummary
    from harness.running.grid import Grid
    from harness.running.store_folder import Store


@verb("abharness run nightly --workers 2 --shard 1/3")
def run(
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
    strict: Annotated[
        bool, typer.Option("--strict", help="End with 5 if every window of an arm failed.")
    ] = False,
    strict_data: StrictDataOption = False,
    on: OnOption = None,
) -> Result:
    """Run what the grid is missing; run it again to resume.

    Parameters
    ----------
    experiment
        A TOML file, or a built-in experiment: quick, nightly.
    store
        Folder of all results; made where there is none.
    data_dir
        Further folders of datasets.
    workers
        Units to run at once; 0 is as many as the cores allow.
    seeds
        Seeds to use instead of the experiment's.
    changes, without
        Settings in place of the experiment's, such as ``plan.origins=100``, and arms left out.
    only
        Only cells whose arm, dataset or arm/dataset/seed matches one of these; * is allowed.
    shard
        (i, n): the i-th of n parts of the grid, i from 1. What it computes is left in the store's
        `incoming/`; the next call without it, or `compare` or `gate`, checks and seals it.
    retry_failed
        Run units with failed windows again.
    recompute
        Start these results afresh; the store keeps earlier ones.
    strict
        Exit code 5 if every window of an arm failed.
    strict_data
        Refuse to run if the last update of a dataset failed or more than five of its sessions are
        missing.
    on
        Where arms run: None is this machine, ``ray`` or ``ray:ADDRESS`` a cluster. Store, data and
        experiment must then lie on a file system that all its nodes share.

    Raises
    ------
    InputError
        When experiment, data, arms or store cannot be used.
    """
    if shard is not None:
        for option, given in (("strict", strict), ("recompute", recompute), ("on", on is not None)):
            if given:
                raise ConfigError(
                    f"run --shard: cannot be used with --{option}, which is for the whole grid"
                )
    grid, kept = opened(experiment, store, data_dir, seeds=seeds, changes=changes, without=without)
    say_freshness(grid, strict=strict_data)
    units = filled(
        grid,
        kept,
        workers=workers,
        only=only,
        shard=shard,
        retry_failed=retry_failed,
        recompute=recompute,
        hand_over=shard is not None,
        on=on,
        data_dir=data_dir,
    )
    grid = units.grid
    measure_as_asked(grid, kept)
    try_blindness(grid, kept)
    count = f"{units.total} units of {len(grid.cells)} in {store}, {units.computed} computed now"
    if units.computed:
        count += f" ({units.origins} origins, {units.fits} fits)"
    if units.delivered:
        count += f", {units.delivered} sealed from what shards had computed"
    failed = [f"failed windows: {cell}: {reason}" for cell, reason in units.failed.items()]
    failed += [f"no answer: {cell}: {reason}" for cell, reason in units.unanswered.items()]
    lost = [f"every window failed: {name}" for name in units.lost]
    code = 5 if strict and lost else 0
    text = "\n".join([count, *units.events, *failed, *lost])
    return Result(text=text, exit_code=code, units=units)


def filled(
    grid: Grid,
    store: Store,
    *,
    workers: int,
    only: Sequence[str],
    shard: tuple[int, int] | None,
    retry_failed: bool,
    recompute: bool = False,
    hand_over: bool = False,
    on: str | None = None,
    data_dir: Sequence[FilePath] = (),
) -> RunSummary:
    """Run what is missing, with progress on standard error; `hand_over` as `fill` says.

    Raises
    ------
    ConfigError
        When there is no such shard or number of workers, or the cluster cannot be used.
    """
    from harness.gate.judge import judging_digest
    from harness.gate.registration import register
    from harness.running.fill import default_workers, fill
    from harness.verbs.progress import LineProgress

    if workers < 0:
        raise ConfigError(f"workers = {workers}: expected 0 (as cores allow) or more")
    if shard is not None and not 1 <= shard[0] <= shard[1]:
        part = f"{shard[0]}/{shard[1]}"
        raise ConfigError(f"--shard '{part}': expected i/n with 1 <= i <= n, such as 2/4")
    register(grid, store, code=judging_digest())
    with ExitStack() as stack:
        cluster = None
        if on is not None:
            from harness.running.on_ray import OnRay

            kind, _, address = on.partition(":")
            if kind != "ray":
                raise ConfigError(f"--on '{on}': expected ray or ray:ADDRESS, such as ray:auto")
            folders = list(map(Path, data_dir))
            cluster = stack.enter_context(OnRay(grid, store.root, folders, address=address))
        most = cluster.workers if cluster else default_workers(grid.experiment.run.threads)
        count = workers or most
        return fill(
            grid,
            store,
            workers=count,
            progress=LineProgress(workers=count),
            only=only,
            shard=shard,
            retry_failed=retry_failed,
            recompute=recompute,
            hand_over=hand_over,
            executor=cluster,
        )
