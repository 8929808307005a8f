"""From the text of an experiment to an arm, and how code that is not ours is run.

Importing, building and asking an arm runs the code of users: what it prints goes to standard
error, and whatever it raises is wrong input in a line that names the arm, or a failure of it.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import os
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from harness.arm import Arm, Fetches, Option, Pins, Role
from harness.errors import (
    AbharnessError,
    ArmError,
    NoAnswerError,
    QuitError,
    meant,
    one_line,
    refused_by_system,
)

_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRef:
    """An arm as an experiment names it.

    Attributes
    ----------
    name
        Unique in the experiment; shown everywhere.
    use
        ``module:Class``.
    role
        Which side it is on.
    options
        Keyword arguments of the class.
    folder
        Where the experiment file lies: a module that cannot be imported is looked for there.
    """

    name: str
    use: str
    role: Role
    options: Mapping[str, Option] = field(default_factory=dict)
    folder: Path | None = None

    def find(self) -> type[Any]:
        """Import the class.

        Raises
        ------
        ArmError
            When module or class is not there.
        """
        module_name, _, class_name = self.use.partition(":")
        named = module_name and class_name and not module_name.startswith(".")
        if not named:
            raise ArmError(f"arm '{self.name}': use = '{self.use}': expected 'module:Class'")
        module = self._module(module_name)
        with self.asking():  # a module may compute its attributes
            found = getattr(module, class_name, None)
        if not inspect.isclass(found):
            here = sorted(
                name
                for name, value in vars(module).items()
                if inspect.isclass(value)
                and value.__module__ == module.__name__
                and callable(getattr(value, "forecast", None))
            )
            known = f"{meant(class_name, here)}; it has {', '.join(here)}" if here else ""
            raise ArmError(
                f"arm '{self.name}': module '{module_name}' has no class '{class_name}'{known}"
                f"{self._hidden(module_name, module)}"
            )
        return found

    def _hidden(self, name: str, module: ModuleType) -> str:
        """Which file of the user a module of the same name hides; '' where none."""
        for folder in dict.fromkeys([self.folder or Path.cwd(), Path.cwd()]):
            own = folder.joinpath(*name.split("."))
            for file in (own.with_suffix(".py"), own / "__init__.py"):
                if file.is_file() and not file.samefile(getattr(module, "__file__", None) or "/"):
                    return (
                        f"; {file} is not read, since Python or an installed package has a module "
                        f"'{name}' ({getattr(module, '__file__', 'built in')}): rename the file"
                    )
        return ""

    def build(self) -> Arm:
        """Make the arm.

        Raises
        ------
        ArmError
            When it cannot be found, an option is unknown or missing, or a value is refused.
        """
        found = self.find()
        with self.asking():
            accepted = inspect.signature(found)
        named = {name: each for name, each in accepted.parameters.items() if each.kind in _BY_NAME}
        free = any(each.kind is each.VAR_KEYWORD for each in accepted.parameters.values())
        faults = [
            f"unknown option '{name}'{meant(name, named)}"
            for name in self.options
            if not (free or name in named)
        ]
        faults += [
            f"missing option '{name}'"
            for name, each in named.items()
            if each.default is each.empty and name not in self.options
        ]
        if faults:
            known = ", ".join(named) or "none"
            raise ArmError(
                f"arm '{self.name}' ({self.use}): {'; '.join(faults)}; known options are {known}"
            )
        beside = self._beside(found)
        with self.asking():
            arm = found(**{**self.options, **beside})
            # the user's own code may answer for both
            lacking = [] if getattr(arm, "forecast", None) else ["`forecast(contexts)`"]
            if not hasattr(arm, "context_length"):
                lacking.append("`context_length` (how many sessions it reads; None: all)")
            length: Any = None if lacking else arm.context_length
        if lacking:
            raise ArmError(
                f"arm '{self.name}': {self.use} lacks {' and '.join(lacking)}"
                f"{self._hidden(found.__module__, sys.modules[found.__module__])}"
            )
        whole_number = isinstance(length, int | np.integer) and not isinstance(length, bool)
        if length is not None and not (whole_number and length >= 1):
            raise ArmError(
                f"arm '{self.name}' ({self.use}): context_length = {length!r:.60}: expected a "
                "whole number of sessions, 1 or more, or None for all that may be seen"
            )
        made: Arm = arm
        return made

    def _beside(self, found: type[Any]) -> dict[str, Option]:
        """Options that name a file or folder which lies beside the experiment file, as its path.

        An option that is an arm itself, a table with `use`, has them inside.
        """
        inside: dict[str, Option] = {}
        for name, value in self.options.items():
            if isinstance(value, dict) and isinstance(value.get("use"), str):
                inner = dataclasses.replace(self, use=value["use"], options=value)
                with suppress(ArmError):  # which the arm around it will say
                    inside[name] = {**value, **inner._beside(inner.find())}
        given = {name: self.options.get(name) for name in getattr(found, "paths", ())}
        places = {
            name: self.folder / Path(value).expanduser()
            for name, value in given.items()
            if self.folder is not None and isinstance(value, str) and value
        }
        return inside | {name: str(place) for name, place in places.items() if place.exists()}

    def pinned(self) -> ArmRef:
        """The same with options that name its weights exactly; itself where they do.

        Raises
        ------
        ArmError
            As `build`, or when what is named loosely cannot be found.
        """
        if not hasattr(self.find(), "pinned"):
            return self
        arm = self.build()
        with self.asking():
            exact = arm.pinned() if isinstance(arm, Pins) else {}
        return dataclasses.replace(self, options={**self.options, **exact}) if exact else self

    def fetch(self) -> None:
        """Have on this machine what the arm will load.

        Raises
        ------
        ArmError
            As `build`, or when something is not there and cannot be had.
        """
        if not hasattr(self.find(), "fetch"):
            return
        arm = self.build()
        with self.asking():
            if isinstance(arm, Fetches):
                arm.fetch()

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Let the arm's own code run: whatever it raises is wrong input, in a line that names it.

        Raises
        ------
        ArmError
        """
        try:
            with user_code():
                yield
        except Exception as problem:  # a user's class may refuse in any way
            told = f"arm '{self.name}' ({self.use}): "
            said = _said(problem)
            raise ArmError(said if said.startswith(told) else told + said) from problem

    def _module(self, name: str) -> ModuleType:
        if self.folder is not None:
            look_beside(self.folder)
        try:
            with user_code():
                return importlib.import_module(name)
        except Exception as problem:  # importing runs the user's code
            said = _said(problem)
            if isinstance(problem, ModuleNotFoundError) and problem.name == name:
                top, _, last = name.rpartition(".")
                places = [str(self.folder or "."), *sys.path] if not top else []
                if top in sys.modules:
                    places = list(getattr(sys.modules[top], "__path__", ()))
                there = [each.name for each in pkgutil.iter_modules(places)]
                said += meant(last, there)
            if name.endswith(".py"):
                said = f"expected 'module:Class' without the ending, as '{name[:-3]}:Class'"
            raise ArmError(f"arm '{self.name}': cannot import module '{name}': {said}") from problem


@contextmanager
def user_code() -> Iterator[None]:
    """Run what is not ours: what it prints goes to standard error, `sys.exit` is an error.

    An exit code says what a verdict was, and standard output holds the result alone. Ctrl-C stays
    what it is.

    Raises
    ------
    QuitError
        When the code asks to end the program.
    """
    with suppress(OSError, ValueError):
        if sys.stdout is not None:  # it is None where it was closed by who started us
            sys.stdout.flush()  # what is ours goes where it belongs
    kept: int | None = None
    with suppress(OSError):  # one of them was closed by who started us
        os.fstat(2)
        kept = os.dup(1)
    if kept is not None:
        os.dup2(2, 1)  # for code below Python's own
    try:
        with redirect_stdout(sys.stderr):
            yield
    except SystemExit as problem:
        asked = "" if problem.code is None else repr(problem.code)
        raise QuitError(f"it asks to end the program: sys.exit({asked})") from problem
    finally:
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)


_Result = TypeVar("_Result")


def attempt(work: Callable[[], _Result]) -> tuple[_Result | None, Exception | None]:
    """Do an arm's work; the only place where whatever it raises is caught, exits included.

    Raises
    ------
    NoAnswerError
        When what it raised is the system's doing: a full or broken disk.
    """
    try:
        with user_code():
            return work(), None
    except Exception as problem:  # an arm may fail in any way; it becomes rows
        refused = refused_by_system(problem)
        if refused:
            raise NoAnswerError(refused) from problem
        return None, problem


class _FolderFinder:
    """Finds modules and packages in one folder, after every other place; never a namespace."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a top-level module."""
        spec = None if path is not None else PathFinder.find_spec(name, [self.folder], target)
        return spec if spec is not None and spec.loader is not None else None


def look_beside(folder: Path) -> None:
    """Let modules that are nowhere else be found in a folder, before folders named earlier."""
    others = [each for each in sys.meta_path if not isinstance(each, _FolderFinder)]
    earlier = [each for each in _beside() if each.folder != str(folder)]
    sys.meta_path[:] = [*others, _FolderFinder(folder), *earlier]


def folders_beside() -> tuple[str, ...]:
    """Folders in which modules that are nowhere else are looked for, in that order."""
    return tuple(each.folder for each in _beside())


def _beside() -> list[_FolderFinder]:
    return [each for each in sys.meta_path if isinstance(each, _FolderFinder)]


def _said(problem: Exception) -> str:
    """What an exception says, on one line; its class where that is not plain wrong input."""
    text = one_line(str(problem))
    if isinstance(problem, AbharnessError | ImportError | TypeError | ValueError) and text:
        return text
    return f"{type(problem).__name__}: {text}" if text else type(problem).__name__
