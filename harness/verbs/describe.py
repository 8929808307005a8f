"""The command line's verbs that only show: `config`, `arms`, `doctor`."""

from __future__ import annotations

from pathlib import Path

import typer

from harness.verbs.options import (
    DataDirOption,
    ExperimentArg,
    PolicyOption,
    SeedsOption,
    StoreOption,
    WorkersOption,
)
from harness.verbs.saying import say


def config(
    context: typer.Context,
    experiment: ExperimentArg = "quick",
    store: StoreOption = Path("runs"),
    data_dir: DataDirOption = [],  # noqa: B006  # typer copies defaults
    workers: WorkersOption = 0,
    seeds: SeedsOption = None,
    policy: PolicyOption = None,
) -> None:
    """Show every setting with where it came from, the grid, and all origins with dates."""
    from harness.verbs.listing import grid_lines, setting_lines
    from harness.verbs.opening import grid_of

    flags = {
        name: (value, _source_of(context, name))
        for name, value in (
            ("store", store), ("data_dir", data_dir), ("workers", workers), ("seeds", seeds)
        )
    }  # fmt: skip
    grid = grid_of(experiment, data_dir, seeds=seeds, policy=policy)
    for line in (*setting_lines(grid, flags), "", *grid_lines(grid)):
        say(line)


def arms(experiment: ExperimentArg = "quick") -> None:
    """List the arms of an experiment, their options and what they say of themselves."""
    from harness.running.experiment import read_experiment
    from harness.verbs.listing import arm_lines

    for line in arm_lines(read_experiment(experiment)):
        say(line)


def doctor() -> None:
    """Show what this machine has and lacks."""
    from harness.verbs.listing import machine_lines

    for line in machine_lines():
        say(line)


def _source_of(context: typer.Context, name: str) -> str:
    source = context.get_parameter_source(name)
    known = {"COMMANDLINE": "flag", "ENVIRONMENT": "environment"}
    return known.get(source.name if source else "", "default")
