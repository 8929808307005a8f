"""Somebody else's model code: found, imported, given weights, and kept out of everything else.

A checkout's packages have common names (`layers`, `models`, `utils`). They can be imported only
while it is open; outside, `sys.modules`, `sys.path` and the import machinery are as they were.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import random
import sys
import traceback
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from baselines.checkout_sources import Sources
from baselines.weights import some
from harness.arm import generators_kept, staying
from harness.errors import AbharnessError, ArmError, exception_line

_RESERVED = frozenset(
    {"harness", "baselines", "candidates", "reports", "datasets"} | sys.stdlib_module_names
)
"""Never taken from a checkout: ours, Hugging Face's `datasets`, and Python's own."""


@dataclass(slots=True, kw_only=True)
class Checkout:
    """A folder with `models/` and what the models import.

    Attributes
    ----------
    root
        The folder.
    model
        Module under `models/`; dots lead into folders.
    class_name
        Its class; empty is `Model`, or the class named like the module.
    """

    root: Path
    model: str
    class_name: str = ""
    _names: frozenset[str] = field(default=frozenset(), init=False, repr=False)
    _modules: dict[str, ModuleType] = field(default_factory=dict, init=False, repr=False)

    @property
    def module_file(self) -> Path:
        """The one file of `models/` that is imported."""
        return self.root.joinpath("models", *self.model.split(".")).with_suffix(".py")

    @property
    def label(self) -> str:
        """The module's file as messages name it."""
        return self.module_file.relative_to(self.root).as_posix()

    @property
    def sources(self) -> Sources:
        """Its files as text."""
        return Sources(root=self.root, file=self.module_file)

    def check(self, config: Mapping[str, Any]) -> None:
        """See what can be seen without importing anything of it.

        Parameters
        ----------
        config
            All fields the class will be given.

        Raises
        ------
        ArmError
            Names the folder, file, package, class or config field that is not there.
        """
        self.check_files()
        faults = self.sources.faults()
        if not faults and not self.sources.may_have(self._wanted):
            faults = [self._no_class(self.sources.classes())]
        faults += self._lacking(config)
        if faults:
            raise ArmError("; ".join(faults))

    def check_files(self) -> None:
        """See that there is a checkout with the module.

        Raises
        ------
        ArmError
            Names what is not there.
        """
        if not self.root.is_dir():
            raise ArmError(
                f"root = '{self.root}': no such folder, nor one beside the experiment file"
            )
        if not (self.root / "models").is_dir():
            raise ArmError(f"root = '{self.root}' has no folder 'models', so it is not a checkout")
        if not all(part.isidentifier() for part in self.model.split(".")):
            raise ArmError(f"model = '{self.model}': expected the name of a module under models/")
        if not self.module_file.is_file():
            there = sorted(file.stem for file in (self.root / "models").glob("[!_]*.py"))
            raise ArmError(
                f"model = '{self.model}': no {self.label} in root; it has {some(there) or 'none'}"
            )

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Let the checkout's packages be imported; imports made before are still there.

        Raises
        ------
        ArmError
            When its code imports what is not installed or reads a config field that is not given.
        """
        self._names = self._names or self._importable()
        ours, path, bytecode = _taken_out(self._names), list(sys.path), sys.dont_write_bytecode
        finder = _Finder(root=self.root, names=self._names)
        sys.modules.update(self._modules)
        sys.meta_path.insert(0, finder)
        sys.dont_write_bytecode = True  # the checkout is read, never written to
        try:
            with self.explaining():
                yield
        finally:
            sys.meta_path.remove(finder)
            sys.path[:], sys.dont_write_bytecode = path, bytecode
            self._modules = _taken_out(self._names)
            sys.modules.update(ours)

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Say in one line of ours what its code lacks, where that can be told.

        Raises
        ------
        ArmError
            As `opened`.
        """
        try:
            yield
        except (AbharnessError, MemoryError):
            raise
        except Exception as problem:  # a user's code may fail in any way
            explained = None
            if isinstance(problem, ImportError | AttributeError):
                explained = self._explained(problem)
            place = self.place_of(problem)
            if explained is None and not place:
                raise
            raise explained or ArmError(f"{place}: {exception_line(problem)}") from problem

    def place_of(self, problem: BaseException) -> str:
        """File and line of the checkout where an exception was raised; '' where it was not."""
        frames = traceback.extract_tb(problem.__traceback__)
        own = [each for each in frames if Path(each.filename).is_relative_to(self.root)]
        if not own:
            return ""
        return f"{Path(own[-1].filename).relative_to(self.root).as_posix()}, line {own[-1].lineno}"

    def find_class(self) -> type[Any]:
        """Import the module and find its class; the checkout must be open.

        Raises
        ------
        ArmError
            When the module cannot be imported or has no such class.
        """
        importlib.invalidate_caches()
        try:
            module = importlib.import_module(f"models.{self.model}")
        except SyntaxError as problem:
            raise ArmError(f"{self.label} cannot be imported: {problem}") from problem
        for name in self._wanted:
            found = getattr(module, name, None)
            if isinstance(found, type):
                return found
        raise ArmError(self._no_class(self.sources.classes()))

    @property
    def _wanted(self) -> list[str]:
        return [self.class_name] if self.class_name else ["Model", self.model.split(".")[-1]]

    def _no_class(self, own: Sequence[str]) -> str:
        return (
            f"{self.label} has no class {' or '.join(map(repr, self._wanted))}; it has "
            f"{some(own) or 'none'}; name one with class_name"
        )

    def _lacking(self, config: Mapping[str, Any], *, met: Sequence[str] = ()) -> list[str]:
        """What the code reads of its config and is not given, in one phrase; none if all is there.

        Parameters
        ----------
        met
            A field that was met with when the code ran.
        """
        sure, maybe = self.sources.config_reads(self._wanted)
        names = [name for name in dict.fromkeys((*met, *sure)) if name not in config]
        if not names:
            return []
        told = ", ".join(map(repr, names))
        many = f"fields {told}, which are" if len(names) > 1 else f"field {told}, which is"
        more = [name for name in maybe if name not in (*config, *names)]
        also = f"; under some conditions it reads {', '.join(map(repr, more))}, too" if more else ""
        return [f"{self.label} needs config {many} not given, nor has run.py a default{also}"]

    def _explained(self, problem: ImportError | AttributeError) -> ArmError | None:
        """The error in one line of ours, where it is one of those we can name."""
        if isinstance(problem, AttributeError):
            if not isinstance(problem.obj, Namespace):
                return None
            return ArmError(*self._lacking(vars(problem.obj), met=[str(problem.name)]))
        if not isinstance(problem, ModuleNotFoundError) or not problem.name:
            return ArmError(f"{self.label} cannot be imported: {problem}")
        name, top = problem.name, problem.name.partition(".")[0]
        if top in self._names:
            return ArmError(f"{self.label} imports '{name}', which is not in the checkout")
        if top in _RESERVED and (self.root / top).is_dir():
            return ArmError(
                f"{self.label} imports '{name}': a folder '{top}' of a checkout cannot be "
                "imported here, the name is taken"
            )
        return ArmError(f"{self.label} needs package '{name}', which is not installed")

    def _importable(self) -> frozenset[str]:
        """Top-level names of the checkout that hold Python code."""
        files = {file.stem for file in self.root.glob("*.py")}
        folders = {file.relative_to(self.root).parts[0] for file in self.root.glob("*/*.py")}
        deeper = {file.relative_to(self.root).parts[0] for file in self.root.glob("*/*/*.py")}
        names = {name for name in files | folders | deeper if name.isidentifier()}
        return frozenset(names | {"models"}) - _RESERVED


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finder:
    """Finds the top-level names of one checkout before anything else is asked."""

    root: Path
    names: frozenset[str]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a top-level module; submodules are found by their packages.

        `models/__init__.py` is not run: it may import models whose packages are not installed.
        """
        if path is not None or fullname not in self.names:
            return None
        found = None
        if fullname != "models":
            found = PathFinder.find_spec(fullname, [str(self.root)])
        if found is None or found.loader is None:  # a folder as it is, whatever sys.path holds
            found = ModuleSpec(fullname, None, is_package=True)
            found.submodule_search_locations = [str(self.root / fullname)]
        return found


@contextmanager
def reproducible(seed: int, device: str) -> Iterator[None]:
    """Start every global generator a model may draw from at a seed, and put them back.

    On the CPU, `.cuda()` does nothing meanwhile: early models call it whatever the device.
    """
    import numpy as np
    import torch

    devices = [torch.device(device)] if device.startswith("cuda") else []
    cpu_alone = nullcontext() if devices else staying(torch.Tensor, torch.nn.Module)
    with torch.random.fork_rng(devices=devices), cpu_alone, generators_kept():
        if device == "cpu":  # the other seeds GPUs too: it notes the whole stack for each window
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002  # some models shuffle with it
        random.seed(seed)
        yield


def _taken_out(names: frozenset[str]) -> dict[str, ModuleType]:
    """Remove the modules under some top-level names from `sys.modules`."""
    keys = [name for name in sys.modules if name.partition(".")[0] in names]
    return {name: sys.modules.pop(name) for name in keys}
