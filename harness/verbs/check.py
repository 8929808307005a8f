"""The command line's verb `check`: one arm or network on trial."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from harness.errors import ConfigError
from harness.verbs.common import FilePath, LeftOut, Settings, say, verb
from harness.verbs.result import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.arm import Role
    from harness.arm_ref import ArmRef
    from harness.running.grid import Grid
    from harness.running.store_folder import Store


_REQUIREMENT_FAILED = 3
_WORDS = {"True": True, "False": False, "None": None}
"""As Python prints them, and as tables of results show them; JSON has them in lower case."""

_SIDES: dict[str, Role] = {"baselines": "legacy", "candidates": "candidate"}


@verb(
    "abharness check EnhancedAutoformer --option repaired=true",
    show=lambda done: typer.echo(done.text, nl=False),
)
def check(
    target: Annotated[
        str,
        typer.Argument(
            metavar="ARM",
            help="A network's name, an arm of --experiment, or module:Class, installed or in the "
            "current folder.",
        ),
    ],
    *,
    experiment: Annotated[
        FilePath,
        Annotated[
            str, typer.Option(metavar="EXPERIMENT", help="Experiment whose arms can be named.")
        ],
    ] = "nightly",
    kind: Annotated[
        Literal["network", "arm"] | None,
        typer.Option(
            "--as",
            help="What to try where a network and an arm share the name. For an arm, network is "
            "the network behind it, if its class offers one.",
        ),
    ] = None,
    options: Annotated[
        Mapping[str, Any] | None,
        Annotated[
            list[str],
            typer.Option(
                "--option",
                metavar="KEY=VALUE",
                help="Set an option of the arm or network: repaired=true, config.d_model=32.",
            ),
        ],
        lambda texts: dict(map(_pair, texts)),
    ] = None,
    only: Annotated[
        Sequence[str],
        Annotated[
            list[str], typer.Option(metavar="CODE", help="Try only this predicate, such as T1.")
        ],
    ] = (),
    require: Annotated[
        Sequence[str],
        Annotated[
            list[str],
            typer.Option(metavar="CODE", help="End with 3 unless this passes; all: if any fails."),
        ],
    ] = (),
    form: Annotated[
        Literal["table", "json", "junit"], typer.Option("--format", help="Output format.")
    ] = "table",
    store: Annotated[
        FilePath | None,
        Annotated[
            Path | None,
            typer.Option(
                metavar="FOLDER",
                envvar="ABHARNESS_STORE",
                help="Keep the results in this store, for `claims`.",
            ),
        ],
    ] = None,
    role: Annotated[
        Literal["legacy", "candidate", "reference"] | None,
        typer.Option(help="Role of a module:Class; by default that of its package, if it is ours."),
    ] = None,
    changes: Settings = (),
    without: LeftOut = (),
) -> Result:
    """Try every predicate of the battery on one arm or network.

    A failure is a result, not an error: the exit code is 0 unless --require says otherwise.

    Parameters
    ----------
    target
        A network by name, an arm of the experiment, or module:Class, installed or in the current
        folder.
    experiment
        The experiment whose arms can be named.
    kind
        What to try where a network and an arm share the name.
    options
        Of the arm or network, such as ``{"repaired": True, "config.d_model": 32}``.
    only
        Only these predicates, such as T1.
    require
        The exit code is 3 unless these pass; 'all': if any fails.
    form
        How the result's text is written.
    store
        Keep the results in this store, for `claims`.
    role
        Of a module:Class; by default that of its package, if it is ours.
    changes, without
        As for `harness.run`.

    Raises
    ------
    InputError
        When target, option or code is unknown, or the target lacks something it reads.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as units run; more gains small networks nothing
    from shutil import get_terminal_size

    from harness.checks import check as try_target
    from harness.checks import make_resolver
    from harness.checks.subject import NETWORKS, network_of
    from harness.experiments.experiment import Edits, read_experiment
    from harness.running.store_folder import open_store
    from reports.forms.check_results import table_lines, to_json, to_junit

    edits = Edits(settings=tuple(changes), without=tuple(without))
    asked = read_experiment(str(experiment), edits)
    arms = {ref.name: ref for ref in asked.arms}
    chosen = dict(options or {})
    side = role or _role_of(target, arms, kind)
    if kind == "network" and target in arms:
        network = network_of(arms[target])
        if network is not None:  # else the arm itself says that it offers none
            target, chosen = network.target, {**network.options, **chosen}
    trial = try_target(
        target,
        chosen,
        require=list(require) or False,
        codes=list(only) or None,
        resolver=make_resolver(
            arms=arms,
            networks=NETWORKS,
            kind=kind,
            horizon=max(plan.gap + plan.horizon for plan in asked.plans.values()),
        ),
        store=None if store is None else open_store(Path(store)),
        role=side,
        folder=Path.cwd(),
    )
    for note in _notes(target, chosen, arms, kind):
        say(f"note: {note}", err=True)
    if form == "json":
        text = to_json(trial.results, subject=trial.subject)
    elif form == "junit":
        text = to_junit(trial.results, subject=trial.subject)
    else:
        width = get_terminal_size((100, 24)).columns
        text = "\n".join([*table_lines(trial.results, title=trial.subject, width=width), ""])
    return Result(text=text, exit_code=0 if trial.met else _REQUIREMENT_FAILED)


def _notes(
    target: str, options: Mapping[str, Any], arms: Mapping[str, ArmRef], kind: str | None
) -> Iterator[str]:
    """What a reader of the results might take for something else."""
    from harness.checks.subject import NETWORKS, network_of, plain_options, unread_options

    if target not in NETWORKS or kind == "arm":
        return
    if kind is None and target in arms:
        stands = network_of(arms[target])
        if stands is None or (stands.target, stands.builds) != (target, False):
            yield (
                f"this tried our network '{target}', which is not the one behind the experiment's "
                "arm of that name; --as arm tries the arm, --as network the network behind it"
            )
    unread = unread_options(NETWORKS[target], target, plain_options(options))
    if unread:
        yield f"{target} does not read {', '.join(unread)}: setting it changes nothing"


def _role_of(target: str, arms: Mapping[str, ArmRef], kind: str | None) -> Role | None:
    """The side of a target: that of the network, of the arm, or of the package it lies in."""
    from harness.checks.subject import NETWORKS

    if target in arms and (kind == "arm" or target not in NETWORKS):
        return arms[target].role
    place = NETWORKS.get(target, target).partition(":")[0]
    return _SIDES.get(place.partition(".")[0])


def _pair(text: str) -> tuple[str, Any]:
    """Read KEY=VALUE; the value is JSON where it can be, otherwise a text."""
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise ConfigError(f"--option '{text}': expected KEY=VALUE, such as repaired=true")
    if value in _WORDS:
        return key, _WORDS[value]
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


WAIT_S = 3600.0
"""How long to wait while something is timed on this host."""

LIMIT_S = 600.0
"""An arm that takes longer for a fit and a few windows of a made-up series stays untested."""


def try_blindness(
    grid: Grid, store: Store, *, baseline: str | None = None, candidate: str | None = None
) -> None:
    """Try whether both arms of the pair can have used the future, as far as that was not tried.

    A check that cannot be carried out is reported, not raised.

    Parameters
    ----------
    baseline, candidate
        Arms in place of the policy's.
    """
    from harness.checks.blindness import ask_again, played_back
    from harness.gate.circumstances import FUTURE, tried_for_future
    from harness.running.cells import has_cell
    from harness.running.fill import default_workers
    from harness.running.lease import lease

    policy = grid.experiment.policy
    pair = (baseline or policy.baseline, candidate or policy.candidate)
    known = tried_for_future(grid, store)
    there = {cell.arm.name for cell in grid.cells if has_cell(store, cell)}
    logs = {arm.name for arm in grid.experiment.arms if played_back(arm)}  # nobody there to ask
    untried = [arm for arm in dict.fromkeys(pair) if arm in there - logs and arm not in known]
    workers = default_workers(grid.experiment.run.threads)
    bar = policy.reference_among({arm.name: arm.role for arm in grid.experiment.arms})
    with lease("shared", f"abharness check {' '.join(pair)}", wait_s=WAIT_S, tell=_tell):
        for arm in untried:
            _tell(f"checking, once, whether {arm} sees the future ({FUTURE})")
        problems = _try(grid, store, untried, FUTURE)
        tried = tried_for_future(grid, store) if untried else known
        for arm, problem in problems.items():
            found = tried.get(arm)
            if problem or found is None:
                _tell(f"note: {arm} could not be tried: {problem or 'it ended without a result'}")
            elif found.outcome not in ("pass", "fail"):
                _tell(f"note: {arm} stays untested: {found.reason}")
        ask_again(grid, store, pair, workers=workers, reference=bar, tell=_tell)


def _tell(text: str) -> None:
    say(text, err=True)


def _try(grid: Grid, store: Store, arms: Sequence[str], code: str) -> dict[str, str]:
    """Carry out one predicate on arms, in a fresh process each, all at once.

    '' or what went wrong, in a line, by arm; what they started ends with them.
    """
    from harness.running.executor import end_family
    from harness.running.supervisor import signal_name

    settings = grid.experiment.run
    asked = ("--experiment", grid.experiment.source, "--as", "arm", "--only", code)
    options = (*asked, *grid.experiment.edits.flags, "--store", str(store.root), "--")
    limit_s = min(LIMIT_S, settings.time_limit_s)
    last = time.monotonic() + limit_s

    @contextmanager
    def started(arm: str) -> Iterator[Callable[[], str]]:
        with tempfile.TemporaryFile() as said:  # a pipe would wait for whatever the arm started
            process = subprocess.Popen(  # noqa: S603  # our own program
                [sys.executable, "-P", "-m", "harness", "check", *options, arm],
                env=os.environ | {"OMP_NUM_THREADS": str(settings.threads)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                process_group=0,
            )

            def ended() -> str:
                try:
                    code = process.wait(max(0.0, last - time.monotonic()))
                except subprocess.TimeoutExpired:
                    return f"no answer within {limit_s:g} s"
                end_family(process.pid, alive=False)
                said.seek(0)
                lines = said.read().decode(errors="replace").strip().splitlines()
                if code < 0:
                    return f"its process was ended by {signal_name(-code)}"
                return "" if code == 0 else (lines or ["no reason given"])[-1]

            try:
                yield ended
            finally:
                if process.returncode is None:
                    end_family(process.pid, alive=True)
                    process.wait()

    with ExitStack() as trials:
        answers = {arm: trials.enter_context(started(arm)) for arm in arms}
        return {arm: answer() for arm, answer in answers.items()}
