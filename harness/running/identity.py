"""What decides a forecast, as digests: the same digest, the same numbers.

A fit's key covers everything the arm's owner decides that can change its forecasts (rows visible at
its cutoff, history, validation, steps, options, weights, seed, threads, device, source of the arm)
and nothing that cannot (names, folders, workers, stride, count, refit). The device belongs to a fit
and not to its line: what was fitted on one serves a night on another. The key of a fit that starts
from the last one covers that one's, and so those of all before it. What a newer installation
changes (libraries, and the harness's own path from data to forecast) is recorded beside the key,
as the fit's environment.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.arm import Arm, HasWeights, Wraps, continues, logs_in
from harness.arm_ref import ArmRef
from harness.errors import ArmError
from harness.running.sources import CodeReader, digest, file_digest
from harness.window import RollingOrigin

LIBRARIES = ("numpy", "scipy", "torch", "transformers", "chronos-forecasting")
"""Libraries whose version can change a forecast."""

DEVICES = ("cpu", "cuda")
"""Kinds of device that a fit may have been made on."""

OF_ONE_FIT = ("cutoff", "rows", "device", "results", "follows")
"""What of a fit's identity is not its line's."""

FORECASTING = ("harness.running.split", "harness.running.work")
"""What an arm's process is handed, and what carries it out: from here on imports are followed, so
that all of the harness between data and forecast is part of every environment."""


def arm_identity(ref: ArmRef, arm: Arm, code: CodeReader | None = None) -> dict[str, Any]:
    """What of an arm can change its forecasts: options, weights, its code and what that imports.

    A log that is played back counts origin by origin instead: see `GridCell.records`.

    Parameters
    ----------
    ref, arm
        The arm as named and as built.
    code
        Shared by the arms of an experiment, so that each file is read once.
    """
    return {
        "use": ref.use,
        "options": _without_device(ref.options),
        "source": _arm_source(arm, code or CodeReader(), use=ref.use),
        "weights": weights_digest(arm),
        **({"continues": True} if continues(arm) else {}),
    }


def environment_of(ref: ArmRef, arm: Arm, code: CodeReader | None = None) -> dict[str, Any]:
    """What lies between data and an arm's forecasts, and is not the arm's: harness, libraries."""
    roots = _modules_of(arm, use=ref.use)
    return {
        "harness": (code or CodeReader()).harness_digest(FORECASTING, roots),
        "libraries": library_versions(),
    }


def line_identity(
    arm: Mapping[str, Any], *, plan: RollingOrigin, seed: int | None, threads: int
) -> dict[str, Any]:
    """What an arm's fits at all origins have in common.

    Parameters
    ----------
    arm
        Its `arm_identity`.
    seed
        None for an arm that neither draws nor learns by chance.
    """
    return {
        **arm,
        "history": plan.history,
        "validation": plan.validation,
        "steps": plan.gap + plan.horizon,
        "skip_repeats": plan.skip_repeats,
        "seed": seed,
        "threads": threads,
    }


def unlike(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """What of an identity or an environment another machine has otherwise, a few words each."""
    words = {"harness": "code of the harness", "source": "code of the arm", "rows": "data"}
    found = []
    for name in sorted(here.keys() | there.keys()):
        one, other = here.get(name), there.get(name)
        if one == other:
            continue
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += unlike(one, other)
        else:
            said = f"{name} ({str(other)[:40]} there, {str(one)[:40]} here)"
            found.append(words.get(name, said))
    return found


def line_of(dataset: str, identity: Mapping[str, Any]) -> str:
    """Digest of what all nights of a cell have in common, from its identity or a fit's."""
    own = {name: value for name, value in identity.items() if name not in OF_ONE_FIT}
    return digest([dataset, own])


def device_name(arm: Arm) -> str:
    """The device an arm computes on here, such as ``cuda:1``; a GPU where one of its parts does."""
    if isinstance(arm, Wraps):
        names = [name for name in map(device_name, arm.parts()) if name]
        return next((name for name in names if name.startswith("cuda")), "".join(names[:1]))
    said = getattr(arm, "device", "")
    if said == "auto":
        return "cuda" if visible_gpus() else "cpu"
    return said if isinstance(said, str) else ""


def _without_device(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of an arm, and of those it is made of, but for the device."""
    return {
        name: _without_device(value) if isinstance(value, Mapping) else value
        for name, value in options.items()
        if name != "device"
    }


def visible_gpus() -> list[str]:
    """Numbers or names of the GPUs that CUDA shows to this process."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is not None:
        return [each.strip() for each in shown.split(",") if each.strip() not in ("", "-1")]
    return [str(number) for number in range(len(_gpu_files()))]


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


def process_space() -> str:
    """Names what numbers of processes are counted in: the host, and the container on it."""
    space = ""
    with suppress(OSError):
        space = str(Path("/proc/self/ns/pid").readlink())
    return re.sub("[^A-Za-z0-9]", "", platform.node() + space) or "host"


def owner_mark() -> str:
    """Start of the name of what this process writes for a while: which process of which host."""
    return f"{process_space()}.{os.getpid()}-"


def is_left_over(name: str) -> bool:
    """Whether the process that an `owner_mark` names is one of this host, and gone."""
    import psutil

    host, _, process = name.partition("-")[0].rpartition(".")
    mine = host == process_space() and process.isdigit()
    return mine and not psutil.pid_exists(int(process))


def machine() -> dict[str, str]:
    """Facts about this machine that may change timings, never scores."""
    import psutil

    processor = platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        processor = names[0] if names else processor
    except OSError:
        processor = platform.processor() or processor
    gpus = [
        line.partition(":")[2].strip()
        for file in _gpu_files()
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.startswith("Model")
    ]
    return {
        "processor": processor,
        "cores": str(allowed_cores()),
        "memory_gib": str(round(psutil.virtual_memory().total / 2**30)),
        "system": f"{platform.system()} {platform.release()}",
        "gpu": ", ".join(gpus) or "none",
    }


def allowed_cores() -> int:
    """Cores this process may use; not every system has affinities."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _gpu_files() -> list[Path]:
    return sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))


def _arm_source(arm: Arm, code: CodeReader, *, use: str = "") -> str:
    """Digest of an arm's code; of an arm made of others, its own code and theirs.

    Files of its package that are no Python count, too, unless it names its files itself.
    """
    kind = type(arm)
    own = [name for name in (kind.__module__, use.partition(":")[0]) if name]
    data = not isinstance(arm, HasWeights)
    if not isinstance(arm, Wraps):
        return code.arm_digest(own, [each.__module__ for each in kind.__mro__], data=data)
    parts = [_arm_source(part, code) for part in arm.parts()]
    return digest([code.arm_digest(own, data=data), *parts])


def _modules_of(arm: Arm, *, use: str = "") -> Iterator[str]:
    """The modules of an arm's classes, and of those of the arms it is made of."""
    yield from filter(
        None, [use.partition(":")[0], *(each.__module__ for each in type(arm).__mro__)]
    )
    for part in arm.parts() if isinstance(arm, Wraps) else ():
        yield from _modules_of(part)


def weights_digest(arm: Arm) -> Mapping[str, str]:
    """Digest of each file an arm names as its own, by the end of its path.

    Raises
    ------
    ArmError
        When one cannot be read.
    """
    if not isinstance(arm, HasWeights):
        return {}
    logs = {
        Path(f) for log in logs_in(arm) if isinstance(log, HasWeights) for f in log.weight_files()
    }
    files = sorted(set(map(Path, arm.weight_files())) - logs)

    def name_of(file: Path) -> str:
        """End of its path that no other file shares: its name, with folders where it must."""
        for depth in range(1, len(file.parts)):
            end = file.parts[-depth:]
            if sum(other.parts[-depth:] == end for other in files) == 1:
                return "/".join(end)
        return str(file)

    try:
        return {name_of(file): file_digest(file) for file in files}
    except OSError as problem:
        raise ArmError(
            f"weights {problem.filename} cannot be read: {problem.strerror}; they are named by "
            "its `weight_files`"
        ) from None
