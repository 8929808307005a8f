"""Where the code of an arm lies: its own module, and what that reaches by imports.

Installed libraries are left out: their versions say what they are. Nothing is imported to find
out; import statements are read from the text, wherever in a file they stand.
"""

from __future__ import annotations

import importlib.util
import re
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path

HARNESS = __name__.partition(".")[0]
"""Ours: what of it decides a forecast is part of every identity anyway."""
_SIDES = ("baselines", "candidates")
"""Ours too, and code of arms: followed also where our distribution is installed as a library."""
_NO_DATA = ("py.typed",)
_COMPILED = (".py", ".pyc", ".pyo")

_FROM = re.compile(r"(?:^|[:;])[ \t]*from[ \t]+([A-Za-z_]\w*)", re.MULTILINE)
_IMPORT = re.compile(r"(?:^|[:;])[ \t]*import[ \t]+([^\n;#]+)", re.MULTILINE)
_BY_NAME = re.compile(r"""(?:import_module|__import__)\(\s*["']([A-Za-z_]\w*)""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
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


def _counts(file: Path, root: Path) -> bool:
    parts = file.relative_to(root).parts
    hidden = any(part.startswith(".") for part in parts)
    return file.is_file() and not hidden and "__pycache__" not in parts


def reached(own: Iterable[str], others: Iterable[str] = ()) -> dict[str, Place]:
    """Top-level modules an arm is made of, by name.

    Parameters
    ----------
    own
        Modules of the arm, which count wherever they lie.
    others
        Further modules, which count where they are no installed library.
    """
    found: dict[str, Place] = {}
    for name in own:
        top = name.partition(".")[0]
        place = place_of(top)
        if place is not None:
            found[top] = place
    waiting = [*others, *(name for place in found.values() for name in _imports(place))]
    while waiting:
        top = waiting.pop().partition(".")[0]
        if top in found or top == HARNESS or top in sys.stdlib_module_names:
            continue
        place = place_of(top)
        if place is not None and (top in _SIDES or not _installed(place)):
            found[top] = place
            waiting += _imports(place)
    return found


def place_of(top: str) -> Place | None:
    """Where a top-level module lies; None where it is not to be found as files."""
    spec = _spec(top)
    if spec is None:
        return None
    if spec.submodule_search_locations is not None:
        return Place(folders=tuple(sorted(map(Path, spec.submodule_search_locations))))
    file = Path(spec.origin) if spec.has_location and spec.origin else None
    return Place(file=file) if file is not None and file.is_file() else None


def _spec(top: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):  # no such module, or one made by hand
        return None


def _imports(place: Place) -> set[str]:
    """Top-level names that the files of a module may import."""
    names: set[str] = set()
    for _, file in place.python():
        if file.suffix != ".py":
            continue
        text = file.read_text(encoding="utf-8", errors="replace").replace("\\\n", " ")
        names |= {*_FROM.findall(text), *_BY_NAME.findall(text)}
        for line in _IMPORT.findall(text):
            names |= {part.split()[0].partition(".")[0] for part in line.split(",") if part.split()}
    return names


def _installed(place: Place) -> bool:
    paths = [place.file] if place.file is not None else list(place.folders)
    return all(
        any(folder in path.parents for folder in _library_folders())
        or not {"site-packages", "dist-packages"}.isdisjoint(path.parts)
        for path in paths
    )


@lru_cache(maxsize=1)
def _library_folders() -> frozenset[Path]:
    """Where Python keeps its own modules and what was installed."""
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    known = [sysconfig.get_path(kind) for kind in kinds]
    return frozenset(map(Path, [*known, *site.getsitepackages(), site.getusersitepackages()]))
