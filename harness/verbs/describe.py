"""The command line's verbs that only show: `config`, `arms`, `doctor`."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.verbs.common import (
    DataDirOption,
    ExperimentArg,
    PolicyOption,
    SeedsOption,
    SetOption,
    StoreOption,
    WithoutOption,
    WorkersOption,
    say,
    seed_numbers,
    verb,
)
from harness.verbs.schemas import SchemaOf, schema_text

if TYPE_CHECKING:
    from harness.arm_ref import ArmRef
    from harness.experiments.experiment import Experiment
    from harness.running.grid import Grid
    from harness.running.store_folder import Store


@verb("abharness config my-experiment.toml")
def config(
    context: typer.Context,
    experiment: ExperimentArg = "quick",
    store: StoreOption = Path("runs"),
    data_dir: DataDirOption = [],  # noqa: B006  # typer copies defaults
    workers: WorkersOption = 0,
    seeds: SeedsOption = None,
    changes: SetOption = [],  # noqa: B006
    without: WithoutOption = [],  # noqa: B006
    policy: PolicyOption = None,
    schema: Annotated[
        SchemaOf | None,
        typer.Option(
            "--schema", help="Print instead the JSON schema of such files, for an editor."
        ),
    ] = None,
) -> None:
    """Show every setting and its source, the grid, and all origins."""
    if schema is not None:
        typer.echo(schema_text(schema), nl=False)
        return
    from harness.running.store_folder import is_store, open_store
    from harness.verbs.common import grid_of

    flags, known = {}, {"COMMANDLINE": "flag", "ENVIRONMENT": "environment"}
    for name, value in (
        ("store", store), ("data_dir", data_dir), ("workers", workers), ("seeds", seeds)
    ):  # fmt: skip
        source = context.get_parameter_source(name)
        flags[name] = value, known.get(source.name if source else "", "default")
    there = open_store(store, create=False) if is_store(store) else None
    grid = grid_of(
        experiment,
        data_dir,
        seeds=seed_numbers(seeds),
        changes=changes,
        without=without,
        policy=policy,
        store=there,
        grow=True,
    )
    for line in (*setting_lines(grid, flags), "", *grid_lines(grid, there)):
        say(line)


@verb("abharness arms nightly")
def arms(experiment: ExperimentArg = "quick") -> None:
    """List an experiment's arms, their options and descriptions."""
    from harness.experiments.experiment import read_experiment

    for line in arm_lines(read_experiment(experiment)):
        say(line)


@verb("abharness doctor")
def doctor() -> None:
    """Show what this machine has and lacks."""
    for line in machine_lines():
        say(line)


_EXTRAS = {
    "codecarbon": "energy of a measuring session (extra `energy`)",
    "fracast": "an arm of that library (extra `fracast`)",
    "openpyxl": "data from Excel files (extra `xlsx`)",
    "ray": "fits on a Ray cluster (extra `ray`); some original checkouts import it",
    "arch": "references of the tests (extra `test`)",
    "statsmodels": "references of the tests (extra `test`)",
}
"""Packages that nothing needs by default, and what each is for."""


def setting_lines(grid: Grid, flags: Mapping[str, tuple[Any, str]]) -> Iterator[str]:
    """Every setting with its value and where it came from: flag, environment, file or default.

    Parameters
    ----------
    flags
        Value and source of each command-line setting.
    """
    from harness.running.fill import default_workers

    experiment = grid.experiment
    yield f"experiment {experiment.source}: {experiment.title}"
    yield f"{'setting':<46} {'value':<40} from"
    for name, (value, source) in flags.items():
        shown = value
        if name == "workers" and value == 0:
            shown = f"{default_workers(experiment.run.threads)} (as cores allow)"
        elif name == "data_dir":
            shown = ", ".join(map(str, value)) or None
        yield _setting(name.replace("_", "-"), shown, source)
    told = experiment.tables
    seeds_flag = {"seeds": "flag"} if flags.get("seeds", (None, ""))[0] is not None else {}
    yield from _fields("run", experiment.run, told.get("run", {}), experiment, seeds_flag)
    for name, split in grid.splits.items():
        given = {**told["plan"], **told["plan"].get(name, {})}
        yield from _fields(f"plan.{name}", split.plan, given, experiment)
    if experiment.measure is None:
        yield _setting("measure", "not measured", "default")
    else:
        yield from _fields("measure", experiment.measure, told["measure"], experiment)
    policy = told["policy"]
    yield from _fields("policy", experiment.policy, policy, experiment)
    for ref in experiment.arms:
        yield from _arm_fields(ref, experiment)


def _fields(
    name: str, made: Any, given: Any, experiment: Experiment, known: Mapping[str, str] | None = None
) -> Iterator[str]:
    """A line a field of a settings class, those of the classes in it included.

    Parameters
    ----------
    given
        The table it was read from; a text where that is a file of its own.
    known
        Where some fields came from.
    """
    for item in dataclasses.fields(made):
        value, at = getattr(made, item.name), f"{name}.{item.name}"
        table = given.get(item.name) if isinstance(given, Mapping) else given
        inner = value if isinstance(value, tuple) else (value,)
        if value != () and all(dataclasses.is_dataclass(each) for each in inner):
            for place, each in enumerate(inner):
                whole = isinstance(value, tuple)
                told = table[place] if whole and isinstance(table, Sequence) else table
                told = given if isinstance(given, str) else told or {}
                yield from _fields(f"{at}[{place}]" if whole else at, each, told, experiment)
            continue
        there = isinstance(given, str) or item.name in given
        source = (known or {}).get(item.name) or _told_by(at, experiment, there=there)
        source = given if source == "file" and isinstance(given, str) else source
        yield _setting(at, value, source)


def _arm_fields(ref: ArmRef, experiment: Experiment) -> Iterator[str]:
    """Every option of an arm, those left at the default of its class included."""
    at = f"arms.{ref.name}"
    yield _setting(f"{at}.role", ref.role, _told_by(f"{at}.role", experiment, there=True))
    yield _setting(f"{at}.use", ref.use, _told_by(f"{at}.use", experiment, there=True))
    with ref.asking():
        offered = dict(inspect.signature(ref.find()).parameters)
    defaults = {name: each.default for name, each in offered.items()}
    for name, default in defaults.items():
        if not isinstance(default, str | int | float | bool | list | dict | tuple | None):
            with ref.asking():  # a dataclass makes some of them anew
                defaults[name] = getattr(ref.build(), name, "-")
    for name, value in {**defaults, **ref.options}.items():
        there = name in ref.options
        yield _setting(f"{at}.{name}", value, _told_by(f"{at}.{name}", experiment, there=there))


def _told_by(at: str, experiment: Experiment, *, there: bool) -> str:
    """Who said what a setting is: a flag, the file, or nobody."""
    keys = [each.partition("=")[0] for each in experiment.edits.settings]
    plain = {at, re.sub(r"^plan\.[^.]+", "plan", at)}
    if any(key in plain or any(each.startswith(f"{key}.") for each in plain) for key in keys):
        return "flag"
    return "file" if there else "default"


def grid_lines(grid: Grid, store: Store | None = None) -> Iterator[str]:
    """The declared grid, and every origin with its dates.

    Parameters
    ----------
    store
        Where fits may have been timed.
    """
    from harness.running.cells import cell_record, has_cell

    yield f"grid of {len(grid.cells)} units, {grid.digest[:12]}"
    for cell in grid.cells:
        yield f"  {cell.key[:12]}  {cell.arm.role:<10} {cell}"
    again = {cell.arm.name: cell for cell in grid.cells if cell.learns and not cell.saves}
    for name, cell in again.items():
        count = sum(each.arm.name == name for each in grid.cells)
        said = f"{name} learns but its fits cannot be saved (no `save` and `restore`): "
        said += f"each night repeats {count} fits"
        if store is not None and has_cell(store, cell):
            record = cell_record(store, cell)
            each_s = record.seconds.get("fit", 0.0) / max(len(record.fits), 1)
            said += f", {count * each_s:.0f} s on one core"
        yield said
    for name, split in grid.splits.items():
        pending = len(split.issued) - len(split.windows)
        yield ""
        yield (
            f"{name}: {len(split.windows)} origins, {pending} more whose outcome is not known yet, "
            f"data {split.data[:12]}"
        )
        yield "  origin row  last session seen  first judged  last judged  fitted at row"
        dates = split.dataset.series.dates
        for window in split.windows:
            yield (
                f"  {window.origin:>10}  {dates[window.origin - 1]!s:>17}  "
                f"{dates[window.first]!s:>12}  {dates[window.stop - 1]!s:>11}  "
                f"{window.fitted_at:>13}"
            )


def arm_lines(experiment: Experiment) -> Iterator[str]:
    """The arms of an experiment."""
    from harness.arm import card_of

    arms = [ref.build() for ref in experiment.arms]
    for ref, arm in zip(experiment.arms, arms, strict=True):
        yield f"{ref.name} ({ref.role}): {ref.use}"
        for key, value in ref.options.items():
            yield f"  {key} = {value!r}"
        with ref.asking():
            length, card = arm.context_length, card_of(arm)
        yield f"  reads {length or 'all'} sessions"
        for title, text in card.items():
            yield f"  {title}: {text}"


def machine_lines() -> Iterator[str]:
    """What this machine has: hardware, libraries, models, what is optional, and its load."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    from harness.measure.load import sample_load
    from harness.running.fill import default_workers
    from harness.running.identity import library_versions, machine
    from reports.words.reason_words import why

    for title, text in machine().items():
        yield f"{title:<20} {text}"
    yield f"{'workers':<20} {default_workers(1)} at one thread each"
    for title, text in library_versions().items():
        yield f"{title:<20} {text}"
    for name, purpose in _EXTRAS.items():
        found = "installed" if importlib.util.find_spec(name) else "not installed"
        yield f"{name:<20} {found}; optional: {purpose}"
    try:
        repos = scan_cache_dir().repos
    except CacheNotFound:
        repos = frozenset()
    models = sorted(
        f"{repo.repo_id} at {', '.join(sorted(r.commit_hash[:12] for r in repo.revisions))}"
        for repo in repos
        if repo.repo_type == "model"
    )
    cached = "; ".join(models) or "none in the local cache; the bundled checkpoint needs none"
    yield f"{'hub models':<20} {cached}"
    busy = sample_load().problem("now")
    yield f"{'quiet':<20} {'yes: quiet enough to measure' if busy is None else why(busy)}"


def _setting(name: str, value: object, source: str) -> str:
    text = "-" if value is None or value == [] else str(value)
    return f"{name:<46} {text:<40} {source}"
