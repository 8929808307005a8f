"""The command line: parses, calls one function, prints, maps the outcome to an exit code.

Nothing heavy is imported before a verb needs it: `--help` answers at once.
"""

from __future__ import annotations

import errno
import importlib
import pkgutil
import sys
import traceback
from functools import cache
from typing import Annotated, Any

import typer

from harness import verbs
from harness.errors import InputError, one_line
from harness.verbs.common import VERBS, pasteable
from harness.verbs.data import data_app

INTERRUPTED = 130
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""What a system says of a whole disk, not of a file."""

_CommandLineError: Any = typer.BadParameter.__mro__[2]
"""`ClickException`: of click, or of the copy of click that newer versions of typer bring."""

app = typer.Typer(
    name="abharness",
    no_args_is_help=True,
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
for _found in pkgutil.iter_modules(verbs.__path__):
    importlib.import_module(f"{verbs.__name__}.{_found.name}")
for _name, (_command, _example) in sorted(VERBS.items()):
    app.command(_name, epilog=_example)(_command)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"abharness {version('abharness')}")
        raise typer.Exit


@app.callback()
def _settings(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Take the options that stand before a verb."""
    context.obj["verb"] = True
    if debug:
        sys.excepthook = sys.__excepthook__


def run_cli(arguments: list[str]) -> int:
    """Run a command line and return its exit code.

    What the user got wrong is one line on standard error and 2; what we got wrong ends in 1.
    """
    command = _all_verbs()
    sys.excepthook = _crash
    begun: dict[str, bool] = {}
    try:
        result = command.main(
            args=arguments, prog_name="abharness", standalone_mode=False, obj=begun
        )
    except (InputError, OSError, _CommandLineError) as problem:
        said = _refusal(problem)
        if said is None:
            raise
        if not isinstance(problem, _CommandLineError):
            said = _with_what_was_given(said, command, arguments)
        if isinstance(problem, _CommandLineError) or sys.excepthook is not sys.__excepthook__:
            typer.echo(said, err=True)
        else:
            traceback.print_exc()
        return 2
    except (KeyboardInterrupt, typer.Abort):
        result = INTERRUPTED
    except SystemExit as problem:  # no code but that of a verb says what came of it
        if not begun and problem.code == 0:  # completion is done before any verb
            return 0
        if not isinstance(problem.__context__, BrokenPipeError):
            _complain(f"ended by sys.exit({problem.code!r}) before there was a result")
        return 1
    if result == INTERRUPTED:  # newer versions of typer return it instead of raising
        typer.echo("\nstopped; everything finished is kept, the same command resumes", err=True)
    return int(result or 0)


@cache
def _all_verbs() -> Any:
    """The command with its verbs: typer takes some 25 ms to make it, each time the same."""
    return typer.main.get_command(app)


def _refusal(problem: Exception) -> str | None:
    """What the user is told of wrong input; None where it is no wrong input but a fault of ours."""
    if isinstance(problem, OSError):
        known = problem.filename is not None or problem.errno in _DISK
        where = problem.filename or "a file of the store, or of the temporary folder (TMPDIR)"
        return _line(f"{where}: {problem.strerror}") if known else None
    if not isinstance(problem, _CommandLineError):
        return _line(str(problem))
    text: str = problem.format_message()
    if "\n" in text:  # the help of a group that was given no verb
        return text
    context: Any = getattr(problem, "ctx", None)
    if context is not None and hasattr(problem, "param_type"):  # something required was left out
        required = (each for each in context.command.params if each.required)
        lacking = [each for each in required if each.name not in context.params]
        names = [f"{each.param_type_name} '{each.opts[0]}'" for each in lacking]
        text = f"Missing {', '.join(names)}" if names else text
    verb = "abharness" if context is None else context.command_path
    return _line(f"{text.removesuffix('.')}; see {verb} --help")


def _with_what_was_given(said: str, command: Any, arguments: list[str]) -> str:
    """The same with each printed command completed by the options of the one that was refused."""
    node, words = command, list(arguments)
    while place := next(
        (n for n, word in enumerate(words, 1) if word in getattr(node, "commands", ())), 0
    ):
        node, words = node.commands[words[place - 1]], words[place:]
    context = node.make_context(node.name, words, resilient_parsing=True)
    return pasteable(said, root=command, context=context)


def _crash(kind: type[BaseException], problem: BaseException, trace: object) -> None:
    _complain(f"internal error: {kind.__name__}: {problem} (abharness --debug ... shows more)")


def _complain(text: str) -> None:
    typer.echo(_line(text), err=True)


def _line(text: str) -> str:
    return f"abharness: {one_line(text)}"
