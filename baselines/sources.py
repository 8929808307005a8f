"""What the Python files of a checkout say without being run."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SKIPPED = frozenset({"venv", "env", "site-packages", "node_modules", "__pycache__"})
_MAYBE = (
    *(ast.For, ast.While, ast.Try, ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.BoolOp),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.With, ast.Match),
)
"""Parts of a function that may run never, or in which a failure may be caught."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The files below a folder, seen from one module in it.

    Attributes
    ----------
    root
        The folder its imports start from.
    file
        The module.
    """

    root: Path
    file: Path

    def deciding(self) -> list[Path]:
        """Files that decide a forecast: `layers`, `utils`, and all the module imports anywhere."""
        found = set[Path]()
        waiting = [self.file]
        for folder in ("layers", "utils"):
            waiting += (self.root / folder).rglob("*.py")
        while waiting:
            file = waiting.pop()
            if file not in found and file.is_file():
                found.add(file)
                for node in ast.walk(_tree(file)):
                    waiting += self._files_of(node, file)
        return sorted(found - {self.root / "models" / "__init__.py"})

    def mentions(self, words: set[str]) -> set[str]:
        """Which of some identifiers occur in a Python file of the checkout."""
        left = set(words)
        for file in self._all():
            if not left:
                break
            left -= set(re.findall(r"\w+", file.read_text(encoding="utf-8", errors="replace")))
        return words - left

    def missing_package(self) -> str | None:
        """A package that importing the module needs in any case, and that is not installed."""
        seen, waiting = {self.root / "models" / "__init__.py"}, [self.file]
        while waiting:
            file = waiting.pop()
            if file in seen or not file.is_file():
                continue
            seen.add(file)
            for node in _tree(file).body:
                here = list(self._files_of(node, file))
                waiting += here
                for parts in [] if any(map(Path.is_file, here)) else self._names_of(node, file):
                    if not (self.root / parts[0]).exists() and not _is_installed(parts[0]):
                        return parts[0]
        return None

    def classes(self) -> list[str]:
        """Classes the module defines."""
        return sorted(node.name for node in _tree(self.file).body if isinstance(node, ast.ClassDef))

    def may_have_class(self, wanted: list[str]) -> bool:
        """Whether one of some names could be a class of the module."""
        bound = set[str]()
        for node in ast.walk(_tree(self.file)):
            if isinstance(node, ast.ClassDef):
                bound.add(node.name)
            elif isinstance(node, ast.alias):
                bound.add(node.asname or node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                bound.add(node.id)
        return "*" in bound or not bound.isdisjoint(wanted)

    def config_reads(self, wanted: list[str]) -> list[str]:
        """Fields the constructor of a class reads from its config in any case, in order."""
        classes = {n.name: n for n in _tree(self.file).body if isinstance(n, ast.ClassDef)}
        for name in wanted:
            for node in classes[name].body if name in classes else ():
                if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                    return _reads(node)
        return []

    def _all(self) -> Iterator[Path]:
        """Files that decide first, then every other one outside environments."""
        first = self.deciding()
        yield from first
        for file in sorted(set(self.root.rglob("*.py")) - set(first)):
            folders = file.relative_to(self.root).parts[:-1]
            if not any(part in _SKIPPED or part.startswith(".") for part in folders):
                yield file

    def _files_of(self, node: ast.AST, file: Path) -> Iterator[Path]:
        """Files of the checkout that an import statement may mean."""
        for parts in self._names_of(node, file):
            for depth in range(1, len(parts) + 1):
                yield self.root.joinpath(*parts[:depth]).with_suffix(".py")
                yield self.root.joinpath(*parts[:depth], "__init__.py")

    def _names_of(self, node: ast.AST, file: Path) -> list[tuple[str, ...]]:
        """Dotted names an import statement may mean, as parts."""
        if isinstance(node, ast.Import):
            return [tuple(alias.name.split(".")) for alias in node.names]
        if not isinstance(node, ast.ImportFrom):
            return []
        package = file.relative_to(self.root).parent.parts
        base = package[: len(package) - node.level + 1] if node.level else ()
        base += tuple(node.module.split(".")) if node.module else ()
        names = [(*base, alias.name) for alias in node.names if alias.name != "*"] or [base]
        return [name for name in names if name]


def _tree(file: Path) -> ast.Module:
    """Parse a file; one that cannot be parsed says nothing."""
    try:
        return ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return ast.Module(body=[], type_ignores=[])


def _is_installed(top: str) -> bool:
    try:
        return top in sys.modules or importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        return True


def _reads(function: ast.FunctionDef) -> list[str]:
    """Attributes of the first argument after `self` that are read in any case."""
    names = [argument.arg for argument in function.args.args[1:2]]
    stored = {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store)
    }
    if not names or names[0] in stored:
        return []
    return [
        node.attr
        for node in _certain(function.body)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == names[0]
        and node.attr not in stored | {"__dict__"}
    ]


def _certain(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Parts that run in any case."""
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.Return | ast.Raise):
            return
        if isinstance(node, ast.If | ast.IfExp):
            waiting.insert(0, node.test)
            if any(isinstance(each, ast.Return | ast.Raise) for each in ast.walk(node)):
                waiting[1:] = []
        elif not isinstance(node, _MAYBE):
            yield node
            waiting[:0] = ast.iter_child_nodes(node)
