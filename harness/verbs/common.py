"""What several verbs share: how a verb is declared, arguments and options, opening and saying."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, is_dataclass
from functools import wraps
from importlib import import_module
from inspect import Signature, getdoc, signature
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import typer

from harness.errors import ConfigError, escaped
from harness.verbs.result import Result

if TYPE_CHECKING:
    from harness.running.grid import Grid
    from harness.running.store_folder import Store

_Function = TypeVar("_Function", bound=Callable[..., Any])

FilePath = str | Path
"""A file or folder, as the public functions take them."""
HoldAs = Literal["fail", "pass"] | None
"""What HOLD ends with; None is as the policy says."""

VERBS: dict[str, tuple[Callable[..., Any], str]] = {}
"""Each verb by name: its command and an example. Filled by `verb` as modules are imported."""


def verb(
    example: str, *, show: Callable[[Result], None] | None = None
) -> Callable[[_Function], _Function]:
    """Make the decorated function a verb of the command line as well.

    Its name is the verb's, its annotations are the options, its docstring up to the parameters is
    the help. Where it gives a `Result`, that is printed, and the exit code is the result's.

    An annotation is an option as typer has it, or ``Annotated[kind, option]`` where the function
    takes more than a command line can give; a third entry makes its value of what was given. A
    parameter that is a dataclass stands for an option a field, with the defaults of its own.

    Parameters
    ----------
    example
        A whole command line, shown under the help.
    show
        Prints the result, where that takes more than its text in a line.
    """

    def declared(function: _Function) -> _Function:
        VERBS[function.__name__] = (command_of(function, show=show), f"Example:  {example}")
        return of_choices(function)

    return declared


def of_choices(function: _Function) -> _Function:
    """Refuse a value that a parameter's `Literal` does not list, as the command line does."""
    listed: dict[str, list[object]] = {}
    for name, hint in get_type_hints(function).items():
        parts = (hint, *get_args(hint))
        values = [each for part in parts if get_origin(part) is Literal for each in get_args(part)]
        listed[name] = [*values, None] if values and type(None) in parts else values
    parameters = signature(function)

    @wraps(function)
    def called(*args: Any, **values: Any) -> Any:
        try:
            given = parameters.bind(*args, **values).arguments
        except TypeError:
            return function(*args, **values)  # which names itself
        faults = [
            f"{name} = {value!r}: expected one of {', '.join(map(repr, listed[name]))}"
            for name, value in given.items()
            if listed[name] and value not in listed[name]
        ]
        if faults:
            raise ConfigError("; ".join(faults))
        return function(*args, **values)

    return cast(_Function, called)


def command_of(
    function: Callable[..., Any], *, show: Callable[[Result], None] | None = None
) -> Callable[..., None]:
    """The command of the command line that a function is; see `verb`."""
    hints = get_type_hints(function, include_extras=True)
    readers: dict[str, Callable[[Any], object]] = {}
    groups: dict[str, tuple[type, list[str]]] = {}
    asked = []
    for name, parameter in signature(function).parameters.items():
        kind = hints[name]
        if isinstance(kind, type) and is_dataclass(kind):
            fields = get_type_hints(kind, include_extras=True)
            groups[name] = (kind, list(fields))
            hints = {key: hints[key] for key in hints if key != name} | fields
            asked += [
                parameter.replace(
                    name=key, annotation=hint, default=getattr(parameter.default, key)
                )
                for key, hint in fields.items()
            ]
            continue
        option, *reader = getattr(hints[name], "__metadata__", (None,))
        if get_origin(option) is Annotated:
            hints[name] = option
            readers |= {name: reader[0]} if reader else {}
        listed = get_origin(getattr(hints[name], "__origin__", None)) is list
        default = [] if listed and not parameter.default else parameter.default
        asked.append(parameter.replace(annotation=hints[name], default=default))

    def command(**values: Any) -> None:
        read: dict[str, object] = {name: reader(values[name]) for name, reader in readers.items()}
        for name, (kind, fields) in groups.items():
            read[name] = kind(**{key: values.pop(key) for key in fields})
        done = function(**(values | read))
        if isinstance(done, Result):
            say(done.text) if show is None else show(done)
            raise typer.Exit(done.exit_code)

    command.__signature__ = Signature(asked)  # type: ignore[attr-defined]  # what typer reads
    command.__annotations__ = {name: kind for name, kind in hints.items() if name != "return"}
    command.__doc__ = (getdoc(function) or "").partition("\n\nParameters\n")[0]
    return command


def _builtin_experiments() -> list[str]:
    """What `tab` offers besides files."""
    folder = Path(__file__).parents[1] / "experiments"
    return sorted(file.stem for file in folder.glob("*.toml"))


ExperimentArg = Annotated[
    str,
    typer.Argument(
        metavar="EXPERIMENT",
        help="A TOML file, or a built-in experiment: quick, nightly.",
        autocompletion=_builtin_experiments,
    ),
]
StoreOption = Annotated[
    Path,
    typer.Option(
        "--store", metavar="FOLDER", envvar="ABHARNESS_STORE", help="Folder that holds all results."
    ),
]
DataDirOption = Annotated[
    list[Path],
    typer.Option(
        "--data-dir",
        metavar="FOLDER",
        envvar="ABHARNESS_DATA_DIR",
        help="Another folder of datasets; may be repeated.",
    ),
]
WorkersOption = Annotated[
    int,
    typer.Option(
        metavar="N",
        envvar="ABHARNESS_WORKERS",
        min=0,
        help="Units to run at once; 0: as many as the cores allow.",
    ),
]
OnOption = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="ray[:ADDRESS]",
        envvar="ABHARNESS_ON",
        help="Run arms on a Ray cluster at HOST:PORT or auto; without an address, at RAY_ADDRESS "
        "or on a new one.",
    ),
]
OnlyOption = Annotated[
    list[str],
    typer.Option(
        metavar="PATTERN",
        help="Only cells whose arm, dataset or arm/dataset/seed matches; * is allowed.",
    ),
]
SeedsOption = Annotated[
    str | None,
    typer.Option(metavar="SEEDS", help="Use these seeds, such as 1,2,3, not the experiment's."),
]
SetOption = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a setting of the experiment, such as plan.origins=100 or arms.NAME.epochs=2.",
    ),
]
WithoutOption = Annotated[
    list[str], typer.Option("--without", metavar="ARM", help="Leave out this arm.")
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        metavar="I/N", help="Run only part I of N of the grid, such as 2/4, for CI matrices."
    ),
]
RetryOption = Annotated[
    bool, typer.Option("--retry-failed", help="Run units with failed windows again.")
]
RecomputeOption = Annotated[
    bool,
    typer.Option("--recompute", help="Start these results afresh; the store keeps earlier ones."),
]
HoldAsOption = Annotated[
    HoldAs,
    typer.Option(help="Exit code of HOLD: fail is 4, pass is 0; by default the policy decides."),
]
PolicyOption = Annotated[
    Path | None,
    typer.Option("--policy", metavar="FILE", help="Judge by this policy, not the experiment's."),
]
DateOption = Annotated[
    str | None,
    typer.Option(
        "--date", metavar="DATE", help="Day on which waivers must be valid; default: today."
    ),
]
BaselineOption = Annotated[
    str | None,
    typer.Option("--baseline-arm", metavar="ARM", help="Use this arm as the baseline."),
]
CandidateOption = Annotated[
    str | None,
    typer.Option("--candidate-arm", metavar="ARM", help="Use this arm as the candidate."),
]

StrictDataOption = Annotated[
    bool,
    typer.Option(
        "--strict-data",
        help="End with 2 if a data update failed or more than five sessions are missing.",
    ),
]
RecordsOption = Annotated[
    Path | None,
    typer.Option("--records", metavar="FOLDER", help="Also write the verdict here, for CI."),
]


def seed_numbers(text: str | None) -> list[int] | None:
    """Read the option `--seeds`; None where it was left out.

    Raises
    ------
    ConfigError
        When it is not a list of whole numbers.
    """
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--seeds '{text}': expected whole numbers such as 1,2,3") from None


def shard_of(text: str | None) -> tuple[int, int] | None:
    """Read the option `--shard`.

    Raises
    ------
    ConfigError
        When it is not i/n.
    """
    if text is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}/[0-9]{1,9}", text):
        first, _, second = text.partition("/")
        return int(first), int(second)
    raise ConfigError(f"--shard '{text}': expected i/n with 1 <= i <= n, such as 2/4")


Experiment = Annotated[FilePath, ExperimentArg]
StoreFolder = Annotated[FilePath, StoreOption]
DataFolders = Annotated[Sequence[FilePath], DataDirOption]
Patterns = Annotated[Sequence[str], OnlyOption]
Seeds = Annotated[Sequence[int] | None, SeedsOption, seed_numbers]
Settings = Annotated[Sequence[str], SetOption]
LeftOut = Annotated[Sequence[str], WithoutOption]
Shard = Annotated[tuple[int, int] | None, ShardOption, shard_of]
PolicyFile = Annotated[FilePath | None, PolicyOption]
RecordsFolder = Annotated[FilePath | None, RecordsOption]
"""The same as the public functions take them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairAsked:
    """Which pair of which experiment, and where it is stored: options of verbs that run nothing."""

    experiment: ExperimentArg
    store: StoreOption = Path("runs")
    data_dir: DataDirOption = field(default_factory=list)
    seeds: SeedsOption = None
    changes: SetOption = field(default_factory=list)
    without: WithoutOption = field(default_factory=list)
    policy: PolicyOption = None
    baseline: BaselineOption = None
    candidate: CandidateOption = None


def say(text: object, *, err: bool = False) -> None:
    """Print a line, or some, with control characters shown; to standard error where asked."""
    context = _current_context(silent=True)
    told = str(text)
    if context is not None:
        told = pasteable(told, root=context.find_root().command, context=context)
    typer.echo(escaped(told), err=err)


_current_context: Any = import_module(
    f"{typer.Context.__mro__[1].__module__.rpartition('.')[0]}.globals"
).get_current_context
"""Of click, or of the copy of click that newer versions of typer bring."""
_PRINTED = re.compile(r"`abharness ((?:data )?[a-z]+)([^`]*)`")
_CARRIED = ("seeds", "changes", "without", "policy", "store", "to", "data_dir")
"""Parameters whose options a printed command takes over from the one that was given."""


def pasteable(text: str, *, root: Any, context: Any) -> str:
    """Complete each command in backticks by the experiment and the options that were given.

    Parameters
    ----------
    root
        The command line as a whole, which knows the parameters of every verb.
    context
        Of the command that was given: its parameters, and where each value comes from.
    """
    given = {
        name: value
        for name, value in context.params.items()
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    }

    def completed(found: re.Match[str]) -> str:
        node, told = root, found[2]
        for word in found[1].split():
            node = getattr(node, "commands", {}).get(word)
        known = {each.name: each for each in getattr(node, "params", ())}
        if "experiment" in known and known["experiment"].param_type_name == "argument":
            first = next(iter(told.split()), "")
            own = shlex.quote(str(given.get("experiment", "EXPERIMENT")))
            if first == "EXPERIMENT":
                told = told.replace(first, own, 1)
            elif not first or first.startswith("-"):
                told = f" {own}{told}"
        there = f"{' '.join(told.split())} "
        for name in (name for name in _CARRIED if name in given and name in known):
            option, value = known[name].opts[0], given[name]
            several = isinstance(value, list | tuple)
            for each in map(str, value if several else [value]):
                key = each.partition("=")[0] + "=" if name == "changes" else each
                if f"{option} {shlex.quote(key) if several else ''}" not in there:
                    told += f" {option} {shlex.quote(each)}"
        return f"`abharness {found[1]}{told}`"

    return _PRINTED.sub(completed, text)


def grid_of(
    experiment: FilePath,
    data_dir: Sequence[FilePath],
    *,
    seeds: Sequence[int] | None,
    policy: FilePath | None = None,
    changes: Sequence[str] = (),
    without: Sequence[str] = (),
    store: Store | None = None,
    grow: bool = False,
) -> Grid:
    """Read an experiment and declare its grid.

    Parameters
    ----------
    seeds, policy, changes, without
        What flags put in place of the experiment's own.
    store
        Where origins may have been recorded.
    grow
        Add origins that the data have reached since.
    """
    from harness.experiments.experiment import Edits, read_experiment
    from harness.running.fill import prepare

    edits = Edits(settings=tuple(changes), without=tuple(without))
    found = read_experiment(str(experiment), edits)
    if policy is not None:
        found = found.with_policy(Path(policy))
    if seeds is not None:
        found = found.with_seeds(list(seeds))
    return prepare(found, list(map(Path, data_dir)), store, grow=grow)


def opened(
    experiment: FilePath,
    store: FilePath,
    data_dir: Sequence[FilePath],
    *,
    seeds: Sequence[int] | None,
    policy: FilePath | None = None,
    changes: Sequence[str] = (),
    without: Sequence[str] = (),
    create: bool = True,
) -> tuple[Grid, Store]:
    """Declare the grid, say what is odd about its data, and open the store.

    Parameters
    ----------
    create
        Make the store where there is none, and add origins that the data have reached since.
    """
    from harness.running.store_folder import is_store, open_store

    there = open_store(Path(store), create=create) if is_store(Path(store)) else None
    grid = grid_of(
        experiment,
        data_dir,
        seeds=seeds,
        policy=policy,
        changes=changes,
        without=without,
        store=there,
        grow=create,
    )
    for split in grid.splits.values():
        for warning in split.dataset.warnings:
            say(f"note: {warning}", err=True)
    if odd := grid.experiment.odd_roles:
        say(f"note: {odd}", err=True)
    arms = {cell.arm.name: cell.known for cell in grid.cells}
    for note in (note for known in arms.values() for note in known.notes):
        say(f"note: {note}", err=True)
    return grid, there or open_store(Path(store), create=create)


def say_freshness(grid: Grid, *, strict: bool) -> None:
    """Say of each dataset that it was not updated, or lacks sessions.

    Raises
    ------
    DataError
        With `strict`, when there is anything to say.
    """
    from harness.errors import DataError
    from harness.gate.nights import data_facts
    from reports.words.facts import say as in_words

    found = [in_words(each) for each in data_facts(grid)]
    if strict and found:
        raise DataError(f"--strict-data: {'; '.join(found)}")
    for line in found:
        say(f"note: {line}", err=True)


def day_of(text: str | None) -> str:
    """Read the option `--date`; left out, today.

    Only waivers depend on it, and the verdict records it.

    Raises
    ------
    ConfigError
        When it is not a date.
    """
    from datetime import UTC, datetime

    from harness.experiments.waivers import as_date

    return datetime.now(UTC).date().isoformat() if text is None else as_date(text, "--date")
