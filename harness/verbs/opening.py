"""What every verb that works on an experiment starts with: its grid, its store, its settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.errors import ConfigError
from harness.verbs.options import seed_numbers

if TYPE_CHECKING:
    from harness.running.grid import Grid
    from harness.running.store import Store


RECORDS = ("verdict.json", "inputs.json", "family.json", "junit.xml", "summary.md", "report.html")


def grid_of(
    experiment: str, data_dir: list[Path], *, seeds: str | None, policy: Path | None = None
) -> Grid:
    """Read an experiment and declare its grid.

    Parameters
    ----------
    seeds, policy
        What flags put in place of the experiment's own.
    """
    from harness.running.experiment import read_experiment
    from harness.running.run import prepare

    found = read_experiment(experiment)
    if policy is not None:
        found = found.with_policy(policy)
    return prepare(found.with_seeds(seed_numbers(seeds)) if seeds else found, data_dir)


def opened(
    experiment: str,
    store: Path,
    data_dir: list[Path],
    *,
    seeds: str | None,
    policy: Path | None = None,
    create: bool = True,
) -> tuple[Grid, Store]:
    """Declare the grid, say what is odd about its data, and open the store."""
    from harness.running.store import open_store

    grid = grid_of(experiment, data_dir, seeds=seeds, policy=policy)
    for split in grid.splits.values():
        for warning in split.dataset.warnings:
            typer.echo(f"note: {warning}", err=True)
    return grid, open_store(store, create=create)


def copied(folder: Path, to: Path | None) -> None:
    """Copy a verdict's records to a folder whose name a CI system knows beforehand."""
    from harness.verbs.files import write_out

    if to is None:
        return
    for name in RECORDS:
        if (folder / name).is_file():
            write_out(to / name, (folder / name).read_text(encoding="utf-8"))


def day_of(text: str | None) -> str:
    """Read the option `--date`; left out, today.

    Only waivers depend on it, and the verdict records it.

    Raises
    ------
    ConfigError
        When it is no date.
    """
    from datetime import UTC, datetime

    from harness.judging.waivers import as_date

    return datetime.now(UTC).date().isoformat() if text is None else as_date(text, "--date")


def shard_of(text: str | None) -> tuple[int, int] | None:
    """Read the option `--shard`.

    Raises
    ------
    ConfigError
        When it is not i/n.
    """
    if text is None:
        return None
    first, slash, second = text.partition("/")
    if slash and first.isdigit() and second.isdigit() and 1 <= int(first) <= int(second):
        return int(first), int(second)
    raise ConfigError(f"--shard '{text}': expected i/n with 1 <= i <= n, such as 2/4")
