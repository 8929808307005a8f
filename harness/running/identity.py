"""What decides a result, as digests: the same digest, the same numbers.

A unit's key covers everything that can change its forecasts (data up to the last origin's steps,
plan, arm, options, weights, seed, threads, batch size, source of the arm and of the harness's own
path from data to forecast, library versions) and nothing that cannot (names, folders, workers).
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from harness.arm import Arm, ArmRef, HasWeights, Wraps
from harness.errors import ArmError
from harness.window import RollingOrigin

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


LIBRARIES = ("numpy", "scipy", "torch", "transformers", "chronos-forecasting")
"""Libraries whose version can change a forecast."""

_FORECAST_PATH = (
    *("window.py", "forecast.py", "arm.py"),
    *("running/unit.py", "residuals.py"),
)


def digest(content: object) -> str:
    """Hash anything JSON can hold, independent of key order: 64 hex digits."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Hash a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def unit_identity(
    ref: ArmRef,
    arm: Arm,
    *,
    plan: RollingOrigin,
    data: str,
    seed: int,
    threads: int,
    batch: int,
) -> dict[str, Any]:
    """Everything that can change a unit's forecasts.

    Parameters
    ----------
    ref, arm
        The arm as named and as built.
    data
        Digest of the rows the plan uses.
    """
    return {
        "data": data,
        "plan": dataclasses.asdict(plan),
        "use": ref.use,
        "options": dict(ref.options),
        "source": _arm_source(arm, use=ref.use),
        "harness": _harness_digest(),
        "weights": weights_digest(arm),
        "seed": seed,
        "threads": threads,
        "batch": batch,
        "libraries": library_versions(),
    }


@lru_cache(maxsize=1)
def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that can change a forecast."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine() -> dict[str, str]:
    """Facts about this machine that may change timings, never scores."""
    import psutil

    return {
        "processor": _processor(),
        "cores": str(allowed_cores()),
        "memory_gib": str(round(psutil.virtual_memory().total / 2**30)),
        "system": f"{platform.system()} {platform.release()}",
        "gpu": _gpu(),
    }


def allowed_cores() -> int:
    """Cores this process may use; not every system has affinities."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _gpu() -> str:
    found = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    models = [
        line.partition(":")[2].strip()
        for file in found
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.startswith("Model")
    ]
    return ", ".join(models) or "none"


def _arm_source(arm: Arm, *, use: str = "") -> str:
    """Digest of an arm's code; of an arm made of others, its own code and theirs.

    Files of its package that are no Python count, too, unless it names its files itself.
    """
    kind = type(arm)
    own = [name for name in (kind.__module__, use.partition(":")[0]) if name]
    data = not isinstance(arm, HasWeights)
    if not isinstance(arm, Wraps):
        return code_digest(own, [each.__module__ for each in kind.__mro__], data=data)
    ours = kind.__module__.partition(".")[0] == HARNESS
    file = sys.modules[kind.__module__].__file__ if ours else None
    source = file_digest(Path(file)) if file else code_digest(own, data=data)
    return digest([source, *map(_arm_source, arm.parts())])


def code_digest(own: Sequence[str], others: Sequence[str] = (), *, data: bool) -> str:
    """Digest of modules with all that they import from outside of installed libraries.

    Parameters
    ----------
    own, others
        See `sources.reached`.
    data
        Count files of packages that are no Python as well.
    """
    return _code_digest(tuple(sorted(set(own))), tuple(sorted(set(others))), data)


@lru_cache(maxsize=64)
def _code_digest(own: tuple[str, ...], others: tuple[str, ...], data: bool) -> str:
    found = {name: _place_digest(each, data) for name, each in reached(own, others).items()}
    if len(found) > 1:
        return digest(sorted(found.items()))
    return next(iter(found.values()), "unknown")


def _place_digest(place: Place, data: bool) -> str:
    if place.file is not None:
        return file_digest(place.file)
    files = [*place.python(), *(place.data() if data else ())]
    return digest({str(file.relative_to(root)): file_digest(file) for root, file in files})


@lru_cache(maxsize=1)
def _harness_digest() -> str:
    folder = Path(__file__).parent.parent
    return digest({name: file_digest(folder / name) for name in _FORECAST_PATH})


@lru_cache(maxsize=8)
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


def weights_digest(arm: Arm) -> Mapping[str, str]:
    """Digest of each file an arm names as its own, by the end of its path.

    Raises
    ------
    ArmError
        When one cannot be read.
    """
    if not isinstance(arm, HasWeights):
        return {}
    files = sorted(set(map(Path, arm.weight_files())))
    try:
        return {_shortest_name(file, files): file_digest(file) for file in files}
    except OSError as problem:
        raise ArmError(
            f"weights {problem.filename} cannot be read: {problem.strerror}; they are named by "
            "its `weight_files`"
        ) from None


def _shortest_name(file: Path, files: Sequence[Path]) -> str:
    """End of a file's path that no other file shares: its name, with folders where it must."""
    for depth in range(1, len(file.parts)):
        end = file.parts[-depth:]
        if sum(other.parts[-depth:] == end for other in files) == 1:
            return "/".join(end)
    return str(file)
