"""Count what a stranger must walk through in this house, and print it; no test fails on a count.

    python tests/house.py [ROOT] [--of verdict_on --of compare]

For a function: the functions and modules of ours that it may enter. Names are followed from module
to module, as an upper bound: a name that is loaded counts as called, an attribute counts as every
method of that name in the modules that the asking module imports, directly or not, a class brings
the methods that Python calls by itself, a constant what its value names, and who asks a package for
its `__path__` is taken to enter all that its modules define. Then the size of the house, its
private helpers with a single place of use, and the names of files and classes that stand for two
things.
"""

from __future__ import annotations

import argparse
import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

ROOMS = ("harness", "baselines", "candidates", "reports")
ASKED = ("verdict_on", "judge", "compare", "render_html")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Module:
    """One file: what it defines, and where its other names come from."""

    name: str
    text: str
    is_package: bool
    functions: dict[str, Function] = field(default_factory=dict)
    """By qualified name: `make`, `Table.rows`; what is nested in one belongs to it."""
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    constants: dict[str, ast.expr] = field(default_factory=dict)

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax."""
        return ast.parse(self.text)

    def __post_init__(self) -> None:
        for node in self.tree.body:
            if isinstance(node, Function):
                self.functions[node.name] = node
            elif isinstance(node, ast.ClassDef):
                self.classes[node.name] = node
                for each in node.body:
                    if isinstance(each, Function):
                        self.functions[f"{node.name}.{each.name}"] = each
            elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    self.constants |= (
                        {target.id: node.value} if isinstance(target, ast.Name) else {}
                    )

    def defines(self, name: str) -> bool:
        """Whether a name is a function, a class or a constant of this module."""
        return name in self.functions or name in self.classes or name in self.constants

    @cached_property
    def imported(self) -> dict[str, tuple[str, str]]:
        """Local name to module and the name in it; an empty name is the module itself."""
        found = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for name in node.names:
                    found[name.asname or name.name.partition(".")[0]] = (name.name, "")
            elif isinstance(node, ast.ImportFrom):
                source = self._absolute(node)
                for name in node.names:
                    found[name.asname or name.name] = (source, name.name)
        return found

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        above = parts[: len(parts) - node.level + self.is_package]
        return ".".join([*above, *([node.module] if node.module else [])])


class House:
    """All modules below a root, and the ways between their functions."""

    def __init__(self, root: Path) -> None:
        self.modules: dict[str, Module] = {}
        for room in ROOMS:
            for file in sorted((root / room).rglob("*.py")):
                parts = file.relative_to(root).with_suffix("").parts
                package = parts[-1] == "__init__"
                name = ".".join(parts[:-1] if package else parts)
                self.modules[name] = Module(name, file.read_text(encoding="utf-8"), package)
        self.methods: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for module in self.modules.values():
            for qualified in module.functions:
                if "." in qualified:
                    self.methods[qualified.partition(".")[2]].add((module.name, qualified))

    def origin(self, module: str, name: str) -> tuple[str, str] | None:
        """The module of ours that defines a name, and the name there; `None` for foreign ones."""
        for _ in range(9):  # as far as a name is handed on
            here = self.modules.get(module)
            if here is None:
                return None
            if not name or here.defines(name):
                return module, name
            if name in here.imported:
                source, other = here.imported[name]
                if other and f"{source}.{other}" in self.modules:
                    return f"{source}.{other}", ""
                if source == module:
                    return None
                module, name = source, other
            else:
                return None
        return None

    @cached_property
    def imports(self) -> dict[str, set[str]]:
        """The modules of ours that each module imports by itself."""
        found: dict[str, set[str]] = {}
        for module in self.modules.values():
            sources = {
                f"{source}.{name}" if f"{source}.{name}" in self.modules else source
                for source, name in module.imported.values()
            }
            found[module.name] = sources & set(self.modules)
        return found

    @cached_property
    def within_reach(self) -> dict[str, set[str]]:
        """The modules that each module imports, directly or through others, and itself."""
        found = {}
        for start in self.modules:
            seen, waiting = {start}, [start]
            while waiting:
                for each in self.imports[waiting.pop()] - seen:
                    seen.add(each)
                    waiting.append(each)
            found[start] = seen
        return found

    def named(self, module: str, node: ast.AST) -> Iterator[tuple[str, str]]:
        """The functions, methods and classes of ours that a piece of code names."""
        for each in ast.walk(node):
            found = None
            if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load):
                if each.id == "__path__":
                    yield from self._within(module)
                found = self.origin(module, each.id)
            elif isinstance(each, ast.Attribute):
                known = isinstance(each.value, ast.Name) and self.origin(module, each.value.id)
                if known and known[1] == "" and each.attr == "__path__":
                    yield from self._within(known[0])
                elif known and known[1] == "":
                    found = self.origin(known[0], each.attr)
                else:
                    yield from (
                        method
                        for method in self.methods.get(each.attr, ())
                        if method[0] in self.within_reach[module]
                    )
            if found is not None and found[1]:
                yield found

    def _within(self, package: str) -> Iterator[tuple[str, str]]:
        """All that the modules of a package define."""
        for module in self.modules.values():
            if module.name.startswith(f"{package}."):
                for name in (*module.functions, *module.constants):
                    yield module.name, name

    def _entered(self, named: tuple[str, str]) -> Iterator[tuple[str, str]]:
        """The function or constant itself, or the methods that Python calls by itself."""
        module, name = named
        here = self.modules[module]
        if name in here.functions or name in here.constants:
            yield module, name
        elif name in here.classes:
            for qualified in here.functions:
                owner, _, method = qualified.partition(".")
                if owner == name and method.startswith("__"):
                    yield module, qualified

    def reached(self, module: str, function: str) -> tuple[int, int]:
        """How many functions a call of this one may enter, itself included, and how many modules.

        A module counts when one of its functions is entered, or a class or constant is named.
        """
        seen, waiting = {(module, function)}, [(module, function)]
        rooms = {module}
        while waiting:
            place, name = waiting.pop()
            here = self.modules[place]
            for found in self.named(place, here.functions.get(name) or here.constants[name]):
                rooms.add(found[0])
                for each in self._entered(found):
                    if each not in seen:
                        seen.add(each)
                        waiting.append(each)
        functions = [name for place, name in seen if name in self.modules[place].functions]
        return len(functions), len(rooms)

    def private_helpers(self, *, methods: bool) -> str:
        """How many private functions there are, and how many have one place of use in their module.

        With `methods`, those of private classes and private ones of any class count as well: making
        a method of a function is no way to have fewer of them.
        """
        helpers = single = 0
        for module in self.modules.values():
            used = Counter(
                each.id if isinstance(each, ast.Name) else each.attr
                for each in ast.walk(module.tree)
                if isinstance(each, ast.Name | ast.Attribute) and isinstance(each.ctx, ast.Load)
            )
            for qualified in module.functions:
                *owner, name = qualified.split(".")
                private = any(part.startswith("_") for part in (*owner, name))
                if private and not name.startswith("__") and (methods or not owner):
                    helpers += 1
                    single += used[name] <= 1
        return f"{helpers}, used once: {single} ({single / max(helpers, 1):.0%})"

    def twice(self) -> tuple[list[str], list[str]]:
        """Names of files, then of classes, that occur more than once."""
        files = Counter(
            m.name.rpartition(".")[2] for m in self.modules.values() if not m.is_package
        )
        classes = Counter(name for m in self.modules.values() for name in m.classes)
        return (
            sorted(name for name, count in files.items() if count > 1 and name != "__main__"),
            sorted(name for name, count in classes.items() if count > 1),
        )


def main() -> None:
    """Print the counts of one checkout."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument(
        "root", nargs="?", type=Path, default=Path(__file__).resolve().parent.parent
    )
    options.add_argument("--of", action="append", help="a function; may be repeated")
    asked = options.parse_args()
    house = House(asked.root)
    for name in asked.of or ASKED:
        for module in house.modules.values():
            if name in module.functions:
                functions, rooms = house.reached(module.name, name)
                print(f"{module.name}.{name}: {functions} functions in {rooms} modules")
    files_of_code = [each for each in house.modules.values() if not each.is_package]
    lines = sum(each.text.count("\n") for each in house.modules.values())
    importers = Counter(used for name, all_ in house.imports.items() for used in all_ - {name})
    lonely = sum(importers[each.name] == 1 for each in files_of_code)
    files, classes = house.twice()
    print(f"house: {len(files_of_code)} modules, {lines} lines without tests")
    print(f"modules with a single importer: {lonely}")
    print(f"private helpers: {house.private_helpers(methods=False)}")
    print(f"with methods: {house.private_helpers(methods=True)}")
    print(f"file names that occur twice: {', '.join(files) or 'none'}")
    print(f"class names that occur twice: {', '.join(classes) or 'none'}")


if __name__ == "__main__":
    main()
