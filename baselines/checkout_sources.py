"""What the Python files of a checkout say without being run."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_SKIPPED = frozenset({"venv", "env", "site-packages", "node_modules", "__pycache__"})
_MAYBE = (
    *(ast.While, ast.Try, ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.BoolOp),
    *(ast.SetComp, ast.DictComp, ast.With, ast.Match),
)
"""Parts of a function that may run never, or in which a failure may be caught."""

_Place = tuple[Path, ast.FunctionDef]
"""A function or method, and the file it stands in."""


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
                top, installed = parts[0], True
                with suppress(ImportError, ValueError):  # else nobody can tell
                    installed = top in sys.modules or importlib.util.find_spec(top) is not None
                if not installed:
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

    def config_reads(self, wanted: list[str]) -> tuple[list[str], list[str]]:
        """Fields that a class, and all that it hands its config to, read of it, in order.

        Returns
        -------
        Those read whenever it is built, and those read only where its code goes that way.
        """
        found = _ConfigReads(sources=self)
        for name in wanted:
            if _defined(self.file, name):
                found.follow_class(self.file, name, 0, sure=True)
                break
        return list(found.sure), [name for name in found.maybe if name not in found.sure]

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

    def resolved(self, file: Path, name: str) -> tuple[Path, ast.ClassDef | ast.FunctionDef] | None:
        """Where a class or function that a file names is defined in the checkout."""
        for _ in range(8):  # imports may go in a circle
            if found := _defined(file, name):
                return file, found
            head, _, rest = name.partition(".")
            parts: tuple[str, ...] = ()
            for node in ast.walk(_tree(file)):
                aliases = node.names if isinstance(node, ast.Import | ast.ImportFrom) else []
                for alias, whole in zip(aliases, self._names_of(node, file), strict=False):
                    if alias.asname is None and isinstance(node, ast.Import):
                        parts = tuple(name.split(".")) if whole[0] == head else parts
                    elif (alias.asname or alias.name) == head:
                        parts = (*whole, *filter(None, rest.split(".")))
            depths = range(len(parts) - 1, 0, -1)
            module, depth = next(
                ((at, depth) for depth in depths if (at := self._module(parts[:depth]))), (None, 0)
            )
            if module is None:
                return None
            file, name = module, ".".join(parts[depth:])
        return None

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


@dataclass(slots=True, kw_only=True)
class _ConfigReads:
    """Collects the fields that are read of a config, through every call it is handed to.

    Attributes
    ----------
    sure, maybe
        Fields read in any case, and under some condition; the keys in order.
    """

    sources: Sources
    sure: dict[str, None] = field(default_factory=dict)
    maybe: dict[str, None] = field(default_factory=dict)
    _seen: set[tuple[Path, int, frozenset[str], bool]] = field(default_factory=set)

    def follow_class(self, file: Path, name: str, place: int | str, *, sure: bool) -> None:
        """Follow a config handed to a class as an argument: to its constructor and methods."""
        methods = list(self._methods(file, name))
        maker = next((each for each in methods if each[1].name == "__init__"), None)
        if maker is None or not (parameter := _parameter(maker[1], place, skip=1)):
            return
        kept = self._follow(*maker, {parameter}, methods, sure=sure)
        for at, method in methods:
            if kept and method.name != "__init__":
                self._follow(at, method, kept, methods, sure=False)

    def _methods(self, file: Path, name: str) -> Iterator[_Place]:
        """Methods of a class, then those of what it is made from."""
        found = self.sources.resolved(file, name)
        if found and isinstance(found[1], ast.ClassDef):
            yield from (
                (found[0], each) for each in found[1].body if isinstance(each, ast.FunctionDef)
            )
            for base in found[1].bases:
                if _dotted(base) not in ("", name):
                    yield from self._methods(found[0], _dotted(base))

    def _follow(
        self,
        file: Path,
        function: ast.FunctionDef,
        names: set[str],
        methods: Sequence[_Place],
        *,
        sure: bool,
    ) -> set[str]:
        """Follow a config that has some names in a function; the names that `self` keeps it by."""
        if (key := (file, function.lineno, frozenset(names), sure)) in self._seen:
            return set()
        self._seen.add(key)
        nodes = [node for part in function.body for node in ast.walk(part)]
        stored = {
            _dotted(node)
            for node in nodes
            if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store)
        }
        if not names.isdisjoint(stored):  # another object from then on
            return set()
        names = names | {
            _dotted(target)
            for node in nodes
            if isinstance(node, ast.Assign) and _dotted(node.value) in names
            for target in node.targets
        }
        own = {name.rpartition(".")[2] for name in stored if name.rpartition(".")[0] in names}
        own |= {"__dict__", *(str(node.value) for node in nodes if isinstance(node, ast.Constant))}
        certain = list(_certain(function.body)) if sure else []
        caught = {
            id(each) for node in nodes if isinstance(node, ast.Try) for each in ast.walk(node)
        }
        known = {id(node) for node in certain}
        for node in (*certain, *(node for node in nodes if id(node) not in known | caught)):
            if isinstance(node, ast.Attribute) and _dotted(node.value) in names - {""}:
                if node.attr not in own:
                    (self.sure if id(node) in known else self.maybe)[node.attr] = None
            elif isinstance(node, ast.Call):
                self._follow_call((file, function), node, names, methods, sure=id(node) in known)
        return {name for name in names if name.startswith("self.")}

    def _follow_call(
        self,
        at: _Place,
        call: ast.Call,
        names: set[str],
        methods: Sequence[_Place],
        *,
        sure: bool,
    ) -> None:
        """Follow a config into whatever of the checkout is called with it."""
        handed: list[int | str] = [p for p, each in enumerate(call.args) if _dotted(each) in names]
        handed += [word.arg for word in call.keywords if word.arg and _dotted(word.value) in names]
        called, callee, skip = _dotted(call.func), None, 1
        if called.startswith("self."):
            callee = next((each for each in methods if f"self.{each[1].name}" == called), None)
        elif isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Call):
            above = methods[methods.index(at) + 1 :] if at in methods else ()  # super().__init__
            callee = next((each for each in above if each[1].name == call.func.attr), None)
        for place in handed:
            if callee is None and (found := self.sources.resolved(at[0], called)):
                if isinstance(found[1], ast.ClassDef):
                    self.follow_class(found[0], found[1].name, place, sure=sure)
                    continue
                callee, methods, skip = (found[0], found[1]), (), 0
            if callee and (parameter := _parameter(callee[1], place, skip=skip)):
                self._follow(*callee, {parameter}, methods, sure=sure)


def _defined(file: Path, name: str) -> ast.ClassDef | ast.FunctionDef | None:
    """The class or function that a file defines under a name."""
    kinds = (ast.ClassDef, ast.FunctionDef)
    return next((n for n in _tree(file).body if isinstance(n, kinds) and n.name == name), None)


def _parameter(function: ast.FunctionDef, place: int | str, *, skip: int) -> str:
    """The parameter that an argument fills; '' where it has none of its own."""
    several = [*function.args.posonlyargs, *function.args.args][skip:]
    if isinstance(place, int):
        return several[place].arg if place < len(several) else ""
    return place if place in {each.arg for each in (*several, *function.args.kwonlyargs)} else ""


def _dotted(node: ast.expr) -> str:
    """A name with its attributes, such as ``self.configs``; '' for any other expression."""
    if isinstance(node, ast.Attribute):
        start = _dotted(node.value)
        return f"{start}.{node.attr}" if start else ""
    return node.id if isinstance(node, ast.Name) else ""


def _certain(body: Sequence[ast.stmt]) -> Iterator[ast.AST]:
    """Parts that run in any case; what is done for each of a range is taken to be."""
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.Return | ast.Raise):
            waiting = [node.value] if isinstance(node, ast.Return) and node.value else []
        elif isinstance(node, ast.If | ast.IfExp):
            waiting.insert(0, node.test)
            if any(isinstance(each, ast.Return | ast.Raise) for each in ast.walk(node)):
                waiting[1:] = []
        elif isinstance(node, ast.For | ast.ListComp | ast.GeneratorExp):
            turns = node if isinstance(node, ast.For) else node.generators[0]
            waiting.insert(0, turns.iter)
            if isinstance(turns.iter, ast.Call) and _dotted(turns.iter.func) == "range":
                waiting[1:1] = node.body if isinstance(node, ast.For) else [node.elt]
        elif not isinstance(node, _MAYBE):
            yield node
            waiting[:0] = ast.iter_child_nodes(node)
