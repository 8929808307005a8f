"""What code a result comes from: imports are followed, and what they reach is hashed.

Code counts as its syntax tree, without docstrings and comments: rewording changes nothing. Of our
own packages only the modules count that are reached; of a user's package every file, since it may
load its parts by name. Imports count wherever they stand, inside functions as well, but those for
type checking only, which never run. `harness/__init__.py` is not followed: it looks up the public
functions when they are asked for, and no arm depends on them.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import os
import re
import site
import sys
import sysconfig
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

HARNESS = __name__.partition(".")[0]
OURS = (HARNESS, "baselines", "candidates")
"""Followed module by module, also where our distribution is installed as a library."""
_NO_DATA = ("py.typed",)
_COMPILED = (".py", ".pyc", ".pyo")
_CLASS_BY_NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
"""Such as `baselines.random_walk:RandomWalk`."""


def digest(content: object) -> str:
    """Hash anything JSON can hold, independent of key order: 64 hex digits."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Hash a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A Python file as far as it decides what is computed.

    Attributes
    ----------
    digest
        Of its syntax tree, without docstrings and comments; of its bytes where it is no Python.
    names
        Dotted names it may import: of modules, and of what is taken from them.
    """

    digest: str
    names: tuple[str, ...]


class KeptByContent:
    """What was worked out from files before, by their content.

    It lies where Python keeps its compiled files, and like those may be deleted at any time. Where
    Python writes none, it lies in the user's cache, which `XDG_CACHE_HOME` may name; where nothing
    can be written, nothing is kept.

    Parameters
    ----------
    maker
        The code that works it out: another one may find something else.
    file
        JSON; whatever it holds that is not whole is passed over.
    """

    def __init__(self, *, maker: Path, file: Path | None = None) -> None:
        self._file = file or _kept_for(maker)
        self._maker = file_digest(maker)
        self._new = False
        self._known: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            found = json.loads(self._file.read_text(encoding="utf-8"))
            if isinstance(found, dict) and len(found) < _MOST:
                self._known = found

    def get(self, content: bytes, *, about: str) -> Any:
        """What was put there for a content, or None."""
        return self._known.get(self._key(content, about))

    def put(self, content: bytes, found: Any, *, about: str) -> None:
        """Remember what JSON can hold."""
        self._known[self._key(content, about)] = found
        self._new = True

    def keep(self) -> None:
        """Write down what is new."""
        if not self._new:
            return
        self._new = False
        draft = self._file.with_suffix(f".{os.getpid()}")
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps(self._known), encoding="utf-8")
            draft.replace(self._file)

    def _key(self, content: bytes, about: str) -> str:
        return hashlib.sha256(f"{self._maker} {about}\n".encode() + content).hexdigest()


def _kept_for(maker: Path) -> Path:
    """Where what a module of ours works out is kept."""
    compiled = Path(importlib.util.cache_from_source(str(maker))).with_suffix(".json")
    there = next(each for each in compiled.parents if each.is_dir())
    if not sys.dont_write_bytecode and os.access(there, os.W_OK):
        return compiled
    folder = Path(os.environ.get("XDG_CACHE_HOME", ""))
    with suppress(RuntimeError):  # who has no home keeps nothing
        folder = folder if folder.is_absolute() else Path.home() / ".cache"
        return folder / "abharness" / compiled.name
    return compiled


class SourceMemory(KeptByContent):
    """Sources that were read before: parsing all of them takes half a second."""

    def __init__(self, file: Path | None = None) -> None:
        super().__init__(file=file, maker=Path(__file__))

    def read(self, content: bytes, *, package: str) -> SourceFile:
        """As `read_source`."""
        known = self.get(content, about=package)
        if isinstance(known, list) and known and all(isinstance(each, str) for each in known):
            return SourceFile(digest=known[0], names=tuple(known[1:]))
        found = read_source(content, package=package)
        self.put(content, [found.digest, *found.names], about=package)
        return found


_MOST = 4000
"""Contents that are remembered; beyond it all are read again once."""


_memory = cache(SourceMemory)


def read_source(content: bytes, *, package: str) -> SourceFile:
    """Read a Python file's content.

    Parameters
    ----------
    package
        What its relative imports start from.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as escapes that a later Python refuses
            tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError):  # nothing that this Python can import
        return SourceFile(digest=hashlib.sha256(content).hexdigest(), names=())
    names = dict.fromkeys(_imported(tree, package))
    return SourceFile(digest=_tree_digest(tree), names=tuple(names))


def _tree_digest(tree: ast.AST) -> str:
    """Hash a syntax tree, without the texts that stand alone: docstrings, and those of constants.

    Fields that are empty are passed over, so that a field a later Python adds changes nothing.
    """
    words: list[str] = []
    waiting: list[object] = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, ast.Expr) and _text(item.value) is not None:
            continue
        if not isinstance(item, ast.AST):
            words.append(repr(item))
            continue
        words.append(type(item).__name__)
        waiting.append(0)  # an end: the same parts nested otherwise are another tree
        for name in item._fields:
            value = getattr(item, name, None)
            if isinstance(value, list):
                if value:
                    waiting += (0, *value, name)
            elif value is not None or name == "value":
                waiting += (value, name)
    return hashlib.sha256("\0".join(words).encode(errors="surrogatepass")).hexdigest()


def _text(node: object) -> str | None:
    """The text that an expression is, where it is one."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return None


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Dotted names that code may import, and parts of packages it reaches through a name."""
    bound: dict[str, str] = {}
    attributes: list[ast.Attribute] = []
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If):
            name = getattr(node.test, "attr", getattr(node.test, "id", ""))
            if name == "TYPE_CHECKING":
                waiting += node.orelse
                continue
        if isinstance(node, ast.Attribute):
            attributes.append(node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            imports = _bound(node, package)
            yield from (name for _, name in imports)
            bound.update(imports)
        else:
            yield from _by_name(node, package)
        waiting += ast.iter_child_nodes(node)
    for node in attributes:
        first, _, rest = _chain(node).partition(".")
        if bound.get(first, "").partition(".")[0] in OURS:
            yield f"{bound[first]}.{rest}"


def _bound(node: ast.Import | ast.ImportFrom, package: str) -> list[tuple[str, str]]:
    """Names in the code with what an import makes of them."""
    if isinstance(node, ast.ImportFrom):
        start = _absolute("." * node.level + (node.module or ""), package)
        return [(alias.asname or alias.name, f"{start}.{alias.name}") for alias in node.names]
    found: list[tuple[str, str]] = []
    for alias in node.names:
        top = alias.name.partition(".")[0]
        found.append(("", alias.name))
        found.append((alias.asname, alias.name) if alias.asname else (top, top))
    return found


def _by_name(node: ast.AST, package: str) -> Iterator[str]:
    """Modules that are named in a text: imported by a call, or as the place of a class."""
    if isinstance(node, ast.Call) and node.args:
        function = getattr(node.func, "attr", getattr(node.func, "id", ""))
        name = _text(node.args[0])
        if name is not None and function in ("import_module", "__import__"):
            yield _absolute(name, package)
    text = _text(node)
    if text is not None and _CLASS_BY_NAME.fullmatch(text):
        yield text.partition(":")[0]


def _absolute(name: str, package: str) -> str:
    """A name with its leading dots resolved."""
    plain = name.lstrip(".")
    level = len(name) - len(plain)
    if not level:
        return plain
    parts = package.split(".")
    start = parts[: len(parts) - level + 1]
    return ".".join([*start, *([plain] if plain else [])])


def _chain(node: ast.expr) -> str:
    """`a.b.c` as a text; '' where it does not start with a name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleFiles:
    """A top-level module as files.

    Attributes
    ----------
    file
        Of a module that is one file.
    folders
        Of a package.
    """

    file: Path | None = None
    folders: tuple[Path, ...] = ()

    def python(self) -> Iterator[tuple[Path, Path]]:
        """Its Python files, each with the folder it counts from."""
        if self.file is not None:
            yield self.file.parent, self.file
        for root in self.folders:
            yield from ((root, file) for file in sorted(root.rglob("*.py")) if _counts(file, root))

    def data(self) -> Iterator[tuple[Path, Path]]:
        """Every other file of a package: a table, a configuration, a compiled module."""
        for root in self.folders:
            for file in sorted(root.rglob("*")):
                plain = file.suffix not in _COMPILED and file.name not in _NO_DATA
                if plain and _counts(file, root):
                    yield root, file

    def module(self, name: str) -> Path | None:
        """The file of one of its modules by dotted name: a package's is its `__init__.py`."""
        for root in self.folders:
            stem = root.joinpath(*name.split(".")[1:])
            for file in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py"):
                if file.is_file() and (stem != root or file.name == "__init__.py"):
                    return file
        return self.file if "." not in name else None


def _counts(file: Path, root: Path) -> bool:
    parts = file.relative_to(root).parts
    hidden = any(part.startswith(".") for part in parts)
    return file.is_file() and not hidden and "__pycache__" not in parts


def place_of(top: str) -> ModuleFiles | None:
    """Where a top-level module lies; None where it is not to be found as files."""
    try:
        spec: ModuleSpec | None = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):  # no such module, or one made by hand
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations is not None:
        return ModuleFiles(folders=tuple(sorted(map(Path, spec.submodule_search_locations))))
    file = Path(spec.origin) if spec.has_location and spec.origin else None
    return ModuleFiles(file=file) if file is not None and file.is_file() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachedCode:
    """What some modules are made of.

    Attributes
    ----------
    ours
        Modules of our own packages by dotted name.
    others
        Whole top-level modules of others, by name.
    """

    ours: Mapping[str, Path]
    others: Mapping[str, ModuleFiles]

    def in_harness(self, *, wanted: bool) -> dict[str, Path]:
        """Our modules that are part of the harness, or those that are not."""
        return {
            name: file
            for name, file in self.ours.items()
            if (name.partition(".")[0] == HARNESS) == wanted
        }


class CodeReader:
    """Follows imports and hashes what they reach; reads each file once.

    Make a new one for each look: an arm's file may be edited while a notebook is open.
    """

    def __init__(self) -> None:
        self._places: dict[str, ModuleFiles | None] = {}
        self._sources: dict[Path, SourceFile] = {}
        self._modules: dict[str, Path | None] = {}
        self._memory = _memory()

    def arm_digest(self, own: Iterable[str], others: Iterable[str] = (), *, data: bool) -> str:
        """Digest of modules with all that they import outside of `harness` and of libraries.

        Parameters
        ----------
        own
            Modules that count wherever they lie.
        others
            Further modules, which count where they are no installed library.
        data
            Count files of their packages that are no Python as well.

        Returns
        -------
        str
            'unknown' where there is no such file.
        """
        reached = self.reached(own, others)
        ours = reached.in_harness(wanted=False)
        parts: dict[str, object] = {
            name: self._source(name, file).digest for name, file in ours.items()
        }
        if data:
            folders = {file.parent for file in ours.values() if file.name == "__init__.py"}
            parts["data"] = {
                f"{folder.name}/{file.relative_to(folder)}": file_digest(file)
                for folder in sorted(folders)
                for file in _data_of(folder)
            }
        for name, place in reached.others.items():
            library = _installed(place)  # whose files count as their bytes
            python = {
                str(file.relative_to(root)): file_digest(file)
                if library
                else self._source(_module_name(name, root, file), file).digest
                for root, file in place.python()
            }
            rest = {str(file.relative_to(root)): file_digest(file) for root, file in place.data()}
            parts[name] = digest([python, rest if data else {}])
        return digest(parts) if ours or reached.others else "unknown"

    def harness_digest(self, roots: Iterable[str], others: Iterable[str] = ()) -> str:
        """Digest of the modules of `harness` that some modules, of whatever package, lead to."""
        ours = self.reached(roots, others).in_harness(wanted=True)
        return digest({name: self._source(name, file).digest for name, file in ours.items()})

    def reached(self, own: Iterable[str], others: Iterable[str] = ()) -> ReachedCode:
        """Follow imports from some modules on, as `arm_digest` says."""
        ours: dict[str, Path] = {}
        places: dict[str, ModuleFiles] = {}
        seen: set[str] = set()
        own = set(own)
        waiting = [*own, *others]
        while waiting:
            name = waiting.pop()
            top = name.partition(".")[0]
            if name in seen or top in sys.stdlib_module_names:
                continue
            seen.add(name)
            place = self._place(top)
            if place is None:
                continue
            if top in OURS:
                for module, file in self._on_the_way(name):
                    if module not in ours:
                        ours[module] = file
                        names = self._source(module, file).names
                        # the harness knows arms as texts only, and runs none
                        waiting += (
                            n for n in names if top != HARNESS or n.partition(".")[0] == HARNESS
                        )
            elif top not in places and (name in own or not _installed(place)):
                places[top] = place
                if not _installed(place):
                    for root, file in place.python():
                        waiting += self._source(_module_name(top, root, file), file).names
        self._memory.keep()
        return ReachedCode(ours=dict(sorted(ours.items())), others=dict(sorted(places.items())))

    def _on_the_way(self, name: str) -> Iterator[tuple[str, Path]]:
        """The modules that importing a dotted name runs: packages above it, and itself.

        A name that is taken from a module is none itself.
        """
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            module = ".".join(parts[:count])
            if module not in self._modules:
                place = self._place(parts[0])
                self._modules[module] = place.module(module) if place else None
            file = self._modules[module]
            if file is not None and module != HARNESS:
                yield module, file

    def _place(self, top: str) -> ModuleFiles | None:
        if top not in self._places:
            self._places[top] = place_of(top)
        return self._places[top]

    def _source(self, module: str, file: Path) -> SourceFile:
        if file not in self._sources:
            package = module if file.name == "__init__.py" else module.rpartition(".")[0]
            self._sources[file] = self._memory.read(file.read_bytes(), package=package)
        return self._sources[file]


def _module_name(top: str, root: Path, file: Path) -> str:
    """The dotted name of a file below a package's folder, or of a module that is one file."""
    parts = file.relative_to(root).with_suffix("").parts
    inside = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join([top, *inside]) if root.name == top or len(parts) > 1 else top


def _data_of(folder: Path) -> Iterator[Path]:
    """Files of a package that are no Python, without those of packages inside it."""
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or entry.name == "__pycache__":
            continue
        if entry.is_dir() and not (entry / "__init__.py").is_file():
            yield from _data_of(entry)
        elif entry.is_file() and entry.suffix not in _COMPILED and entry.name not in _NO_DATA:
            yield entry


def _installed(place: ModuleFiles) -> bool:
    paths = [place.file] if place.file is not None else list(place.folders)
    return all(
        any(folder in path.parents for folder in _library_folders())
        or not {"site-packages", "dist-packages"}.isdisjoint(path.parts)
        for path in paths
    )


@cache
def _library_folders() -> frozenset[Path]:
    """Where Python keeps its own modules and what was installed."""
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    known = [sysconfig.get_path(kind) for kind in kinds]
    return frozenset(map(Path, [*known, *site.getsitepackages(), site.getusersitepackages()]))


@cache
def harness_digest(*roots: str) -> str:
    """Digest of the modules of `harness` that some of them lead to, as they were first read.

    What this process runs does not change with its files.
    """
    return _as_started().harness_digest(roots)


@cache
def _as_started() -> CodeReader:
    """Reads the code that this process runs."""
    return CodeReader()


@cache
def package_digest(name: str) -> str:
    """Digest of every file of one of our packages, templates and styles included."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    files = {
        str(file.relative_to(root)): file_digest(file)
        for root in map(Path, spec.submodule_search_locations or ())
        for file in sorted(root.rglob("*.*"))
        if file.is_file() and "__pycache__" not in file.parts
    }
    return digest(files)
