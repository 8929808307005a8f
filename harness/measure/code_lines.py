"""Source lines of an arm's own code: comments, docstrings and blank lines apart.

Counted is every module that the arm's module reaches by imports without leaving its package (or
its checkout), wherever in a function the import stands. Nothing is imported, files are read.
"""

from __future__ import annotations

import ast
import importlib.util
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib.machinery import PathFinder
from importlib.metadata import version
from pathlib import Path

from harness.errors import ArmError, ConfigError
from harness.running.sources import KeptByContent

_REPLACEMENTS = ("HF", "HuggingFace")


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeSize:
    """How much code stands behind something.

    Attributes
    ----------
    what
        Whose code, in words.
    files
        The files counted, sorted.
    lines
        Source lines in them.
    all_lines
        Lines of any kind, as ``wc -l`` counts them.
    """

    what: str
    files: tuple[Path, ...]
    lines: int
    all_lines: int


def _size_of(what: str, files: tuple[Path, ...]) -> CodeSize:
    every = sum(file.read_bytes().count(b"\n") for file in files)
    return CodeSize(what=what, files=files, lines=count_lines(files), all_lines=every)


def arm_size(use: str, folder: Path | None = None) -> CodeSize:
    """Measure the code behind an arm: a ``module:Class`` that is installed, or lies in a folder.

    Raises
    ------
    ArmError
        When the module's source cannot be found.
    """
    module = use.partition(":")[0]
    top = module.partition(".")[0]
    spec = importlib.util.find_spec(top)
    if spec is None and folder is not None:
        spec = PathFinder.find_spec(top, [str(folder)])
    if spec is None or spec.origin is None:
        raise ArmError(f"'{use}': the source of '{top}' cannot be found")
    package = spec.submodule_search_locations is not None
    base = Path(spec.origin).parent.parent if package else Path(spec.origin).parent
    return _measured(f"{module} and what it imports of {top}", base, [module], only=top)


def together(what: str, *sizes: CodeSize) -> CodeSize:
    """Several sizes as one; a file that is in more than one counts once."""
    files = tuple(sorted({file for size in sizes for file in size.files}))
    return _size_of(what, files)


def folder_size(root: Path, module: str) -> CodeSize:
    """Measure a module in a folder with what it imports there, such as a model of a checkout."""
    return _measured(f"{module} of {root.name} and what it imports of it", root, [module])


def checkout_sizes(root: Path) -> dict[str, CodeSize]:
    """Measure the models of a Time-Series-Library checkout: its own, and replacements in it.

    Returns
    -------
    dict
        Under ``legacy`` the modules ``models/*Autoformer.py``, under ``replacement`` those whose
        name starts with ``HF`` or ``HuggingFace``; each with what it imports of the checkout. A
        side without a module is left out.

    Raises
    ------
    ConfigError
        When the folder holds no such models.
    """
    models = checkout_models(root)
    new = [name for name in models if name.startswith(_REPLACEMENTS)]
    old = [name for name in models if name not in new]
    if not old:
        raise ConfigError(f"--legacy-root {root}: expected a checkout with models/*Autoformer.py")
    sides = {"legacy": old, "replacement": new}
    return {
        side: _measured(
            f"{', '.join(found)} of {root.name} and what they import of it",
            root,
            [f"models.{name}" for name in found],
        )
        for side, found in sides.items()
        if found
    }


def checkout_models(root: Path) -> dict[str, str]:
    """Names of the legacy models and replacements in a checkout, each with its class.

    Nothing is imported. The class is `Model`, as in the originals, or the one called like its file.
    """
    found = {}
    for file in sorted(root.glob("models/*.py")):
        if not (file.stem.endswith("Autoformer") or file.stem.startswith(_REPLACEMENTS)):
            continue
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):  # trying it will tell
            tree = ast.Module(body=[], type_ignores=[])
        classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
        called = file.stem if file.stem in classes else "Model"
        found[file.stem] = "Model" if "Model" in classes else called
    return found


def _measured(what: str, base: Path, modules: Sequence[str], *, only: str = "") -> CodeSize:
    """Some modules and all that they import under `base`, of one top package where it is named.

    The packages around a module are counted; what they import is not, unless a module asks.
    """
    followed, waiting = set[Path](), list(modules)
    while waiting:
        name = waiting.pop()
        if only and name.partition(".")[0] != only:
            continue
        place = base.joinpath(*name.split("."))
        for file in (place / "__init__.py", Path(f"{place}.py")):
            if file not in followed and file.is_file():  # none is of what lies elsewhere
                followed.add(file)
                waiting += _imports(file, base)
    packages = {folder / "__init__.py" for file in followed for folder in file.parents}
    around = {file for file in packages if base in file.parents and file.is_file()}
    return _size_of(what, tuple(sorted(followed | around)))


_counted = cache(partial(KeptByContent, maker=Path(__file__)))


def count_lines(files: Sequence[Path]) -> int:
    """Count the source lines of Python files by pygount; a content is counted once."""
    kept, counter = _counted(), f"pygount {version('pygount')}"
    total = 0
    for file in files:
        content = file.read_bytes()
        lines = kept.get(content, about=counter)
        if not isinstance(lines, int):
            with _importable_without_git():
                from pygount import SourceAnalysis
            lines = SourceAnalysis.from_file(str(file), "", encoding="utf-8").source_count
            kept.put(content, lines, about=counter)
        total += lines
    kept.keep()
    return total


@contextmanager
def _importable_without_git() -> Iterator[None]:
    """Let GitPython, which pygount imports, in where there is no git; else it refuses."""
    before = os.environ.get("GIT_PYTHON_REFRESH")
    os.environ["GIT_PYTHON_REFRESH"] = "quiet"
    try:
        yield
    finally:
        del os.environ["GIT_PYTHON_REFRESH"]
        if before is not None:
            os.environ["GIT_PYTHON_REFRESH"] = before


def _imports(file: Path, base: Path) -> list[str]:
    """Names of modules a file may import: of ``from a import b`` both ``a`` and ``a.b``."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):  # a checkout may hold files that cannot run
        return []
    package = file.relative_to(base).parent.parts
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            around = package[: len(package) - node.level + 1] if node.level else ()
            start = ".".join([*around, *filter(None, [node.module])])
            names += [start, *(f"{start}.{alias.name}" for alias in node.names)]
    return names
