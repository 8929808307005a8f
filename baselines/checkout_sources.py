"""What the Python files of a checkout say without being run."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

    def faults(self) -> list[str]:
        """What keeps the module from being imported in any case: each file, package and name."""
        found: list[str] = []
        seen, waiting = {self.root / "models" / "__init__.py"}, [self.file]
        while waiting:
            file = waiting.pop()
            if file in seen or not file.is_file():
                continue
            seen.add(file)
            label = file.relative_to(self.root).as_posix()
            try:
                body = ast.parse(file.read_bytes()).body
            except (SyntaxError, ValueError) as problem:
                line = f", line {problem.lineno}" if isinstance(problem, SyntaxError) else ""
                found.append(f"{label}{line} cannot be parsed: {getattr(problem, 'msg', problem)}")
                continue
            for node in body:
                waiting += self._files_of(node, file)
                found += self._unmet(node, file, label)
        return list(dict.fromkeys(found))

    def _unmet(self, node: ast.stmt, file: Path, label: str) -> Iterator[str]:
        """What an import statement asks for that is not there."""
        for parts in self._names_of(node, file):
            if not (self.root / parts[0]).exists() and not self._module(parts[:1]):
                if not _is_installed(parts[0]):
                    yield f"{label} needs package '{parts[0]}', which is not installed"
                continue
            whole = parts if isinstance(node, ast.Import) else parts[:-1] or parts
            module = self._module(whole)
            place = f"{label}, line {node.lineno}"
            if module is None and not self.root.joinpath(*whole).is_dir():
                yield f"{place} imports '{'.'.join(whole)}', which is not in the checkout"
            elif module is not None and len(parts) > len(whole) and not self._offers(module, parts):
                it = "is empty" if not module.read_bytes().strip() else "does not define it"
                name = module.relative_to(self.root).as_posix()
                yield f"{place} imports '{parts[-1]}' from {name}, which {it}"

    def _module(self, parts: tuple[str, ...]) -> Path | None:
        """The file of a module of the checkout; None for a folder alone, or what is not there."""
        at = self.root.joinpath(*parts)
        files = (at.with_suffix(".py"), at / "__init__.py") if parts else ()
        return next((file for file in files if file.is_file()), None)

    def _offers(self, module: Path, parts: tuple[str, ...]) -> bool:
        """Whether a module may define the last of some names, or has it beside it."""
        below = module.parent if module.name == "__init__.py" else module.with_suffix("")
        if (below / parts[-1]).is_dir() or (below / f"{parts[-1]}.py").is_file():
            return True
        return Sources(root=self.root, file=module).may_have([parts[-1]])

    def classes(self) -> list[str]:
        """Classes the module defines."""
        return sorted(node.name for node in _tree(self.file).body if isinstance(node, ast.ClassDef))

    def may_have(self, wanted: list[str]) -> bool:
        """Whether one of some names could be bound in the module."""
        bound = set[str]()
        for node in ast.walk(_tree(self.file)):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                bound.add("*" if node.name == "__getattr__" else node.name)
            elif isinstance(node, ast.alias):
                bound.add(node.asname or node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                bound.add(node.id)
            elif isinstance(node, ast.Name) and node.id in ("globals", "exec", "setattr", "vars"):
                bound.add("*")
        return "*" in bound or not bound.isdisjoint(wanted)

    def config_reads(self, wanted: list[str]) -> list[str]:
        """Fields the constructor of a class reads from its config in any case, in order."""
        classes = {n.name: n for n in _tree(self.file).body if isinstance(n, ast.ClassDef)}
        for name in wanted:
            for node in classes[name].body if name in classes else ():
                if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                    return _reads(node)
        return []

    def run_defaults(self) -> dict[str, Any]:
        """What the checkout's `run.py` gives a field that is left out: parsed, not run.

        Where there is no `run.py`, the first script beside it that has arguments
        (``run_longExp.py``, ``main_informer.py``). Defaults that are no plain values are left out.
        """
        others = (self.root.glob(f"{start}*.py") for start in ("run", "main", "train"))
        scripts = [self.root / "run.py", *(file for found in others for file in sorted(found))]
        for script in filter(Path.is_file, scripts):
            found: dict[str, Any] = {}
            for node in ast.walk(_tree(script)):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    found |= _argument(node, node.func.attr)
            if found:
                return found
        return {}

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


def _argument(node: ast.Call, called: str) -> dict[str, Any]:
    """Name and default of an argument that a call of argparse declares."""
    given = {word.arg: word.value for word in node.keywords if word.arg}
    if called == "set_defaults":
        return {name: _plain(value) for name, value in given.items() if _plain(value) is not ...}
    flags = [_plain(each) for each in node.args]
    longest = max(
        (f for f in flags if isinstance(f, str) and f.startswith("--")), key=len, default=""
    )
    name = _plain(given["dest"]) if "dest" in given else longest.lstrip("-").replace("-", "_")
    if called != "add_argument" or not name:
        return {}
    switch = {"store_true": False, "store_false": True}.get(_plain(given.get("action")))
    default = _plain(given["default"]) if "default" in given else ... if switch is None else switch
    kind = given.get("type")
    if isinstance(default, str) and isinstance(kind, ast.Name):
        try:
            default = {"int": int, "float": float}.get(kind.id, str)(default)
        except ValueError:
            return {}
    return {} if default is ... else {str(name): default}


def _plain(node: ast.expr | None) -> Any:
    """The value of an expression that is written out; ``...`` for any other."""
    try:
        return ... if node is None else ast.literal_eval(node)
    except (ValueError, TypeError):
        return ...


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
