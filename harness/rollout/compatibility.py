"""What must go on working while a migration lasts: old configs, old fits, the calls of others.

Two things are always checked of both sides: that the experiment's table builds the arm, and that
its kept fit, restored, gives the newest sealed forecast again, bit by bit. Everything else is named
in the rollout file, each as a function (``use = "module:function"``, with ``arguments``), which
raises or returns a text where something does not work, or as a ``command``, which then ends with
another code than 0. Each runs in a process of its own.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import one_line
from harness.rollout.router import ArmProcess
from harness.rollout.served_arm import Served
from harness.rollout.settings import Settings
from harness.running.cells import read_cell
from harness.running.grid import Grid, GridCell
from harness.running.store_folder import Store
from harness.window import up_to

_CALL = """
import importlib, json, sys
module, _, name = sys.argv[1].partition(":")
said = getattr(importlib.import_module(module), name)(**json.loads(sys.argv[2]))
sys.exit(str(said) if said else 0)
"""
_LIMIT_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Compatible:
    """One check: what must work, and why it does not ('' where it does)."""

    title: str
    reason: str


def compatible(settings: Settings, grid: Grid, store: Store) -> list[Compatible]:
    """Check all of it."""
    found = [
        Compatible(title=title, reason=reason)
        for cell in grid.cells
        for title, reason in _of_cell(settings, cell, store)
    ]
    found += [
        Compatible(title=str(each["title"]), reason=_ran(settings, each))
        for each in settings.compatibility
    ]
    return found


def _of_cell(settings: Settings, cell: GridCell, store: Store) -> Iterator[tuple[str, str]]:
    name = f"{cell.arm.name} on {cell.dataset}"
    fit = cell.fits[-1]
    if store.fit(fit.key) is None:
        yield f"{name}: its table builds, its fit loads", "no night has made its fit yet"
        return
    served = Served(
        ref=cell.arm,
        made_of={},
        plans={cell.dataset: cell.split.plan},
        fits={cell.dataset: store.fit_folder(fit.key)},
        seed=cell.seed,
        threads=settings.experiment.run.threads,
    )
    process = ArmProcess(
        served, limit_s=_LIMIT_S, memory_mib=settings.experiment.run.memory_limit_mib
    )
    problem = process.start()
    yield f"{name}: its table builds, its fit loads", problem
    if problem:
        return
    title = f"{name}: the restored fit forecasts as sealed, bit by bit"
    whole = dataclasses.replace(cell.split, windows=cell.split.issued)
    stored = read_cell(store, dataclasses.replace(cell, split=whole))
    series, origin = cell.split.dataset.series, int(stored.origin[-1])
    replies, _ = process.ask([(cell.dataset, up_to(series, origin))])
    process.close()
    again, why = replies[0]
    if stored.reason[-1] or again is None:
        yield title, why or f"it has no newest forecast: {stored.reason[-1]}"
        return
    same = np.array_equal(again.point[0], stored.forecast.point[-1])
    for values, kept in (
        (again.quantiles, stored.forecast.quantiles),
        (again.samples, stored.forecast.samples),
        (again.deviation, stored.forecast.deviation),
    ):
        same = same and (values is None) == (kept is None)
        same = same and (values is None or kept is None or np.array_equal(values[0], kept[-1]))
    yield (
        title,
        "" if same else f"the forecast after {series.dates[origin - 1]} is another than was sealed",
    )


def _ran(settings: Settings, check: Mapping[str, Any]) -> str:
    """Why a check of the file does not pass; '' where it does."""
    command = [str(each) for each in check.get("command", ())]
    if "use" in check:
        given = json.dumps(check.get("arguments", {}))
        command = [sys.executable, "-c", _CALL, str(check["use"]), given]
    limit = float(check.get("time_limit_s", _LIMIT_S))
    here = Path(settings.source).resolve().parent
    known = [str(here), *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        done = subprocess.run(  # noqa: S603  # the file's own commands, no shell
            command,
            cwd=here,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(known)},
            capture_output=True,
            timeout=limit,
            check=False,
            text=True,
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        return f"no end within {limit:g} s"
    except OSError as problem:
        return f"{command[0]}: {problem.strerror}"
    if done.returncode == 0:
        return ""
    lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    said = one_line(lines[-1])[:200] if lines else "nothing was said"
    return f"ended with {done.returncode}: {said}"
