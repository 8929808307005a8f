"""What must keep working while a migration lasts: old configs, checkpoints, scripts, the drop-in.

Two things are always checked of both sides: that the experiment's table builds the arm, and that
its kept fit, restored, gives the newest sealed forecast again: bit by bit, or to a millionth of the
last value where it rounds otherwise alone than in the batch of the night. The rest is named in the
rollout file's table `[compatibility]`. Code of users runs in processes of its own.
"""

from __future__ import annotations

import dataclasses
import glob
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import ConfigError, InputError, one_line
from harness.experiments.experiment import Experiment, read_experiment
from harness.parsing import parse_json
from harness.rollout.arm_process import ArmProcess
from harness.rollout.night import OpenRollout
from harness.rollout.served_arm import Served
from harness.rollout.settings import OldCheckpoint, Settings
from harness.running.cells import read_cell, stored_origins
from harness.running.fill import load_datasets
from harness.running.grid import GridCell, declare, limits_of
from harness.running.isolation import in_isolation
from harness.running.split import Split, split
from harness.running.store_folder import Store, write_text
from harness.running.unit import carry_out
from harness.window import Windows, up_to

LAYOUTS = ("T5", "T14", "T22", "T27")
"""Questions of the battery about layouts: lengths, widths, labels of quantiles, way of the call."""
CLOSE = 1e-6
"""Share of the last value by which a forecast may depend on what is forecast beside it."""
_PYTHON = ("python", "python3")
"""As the first word of a script: the Python that runs this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compatible:
    """One check: what must work, and why it does not ('' where it does)."""

    title: str
    reason: str


def compatible(opened: OpenRollout) -> list[Compatible]:
    """Check all of it; both sides once there is a move."""
    settings, state = opened.settings, opened.state
    asked, here = settings.compatibility, Path(settings.source).resolve().parent
    found: list[tuple[str, str]] = []
    if state.begun:
        for cell in opened.grid(state).cells:
            found += _of_cell(settings, cell, opened.store)
    for pattern in asked.configs:
        files = sorted(glob.glob(pattern, root_dir=here))  # noqa: PTH207  # or of the whole disk
        found += [] if files else [(f"{pattern}: its arms build", f"no such file in {here}")]
        for file in files:
            problem = ""
            try:
                experiment = read_experiment(str(here / file))
                declare(experiment, load_datasets(experiment, opened.folders))
            except InputError as fault:
                problem = one_line(str(fault))
            found.append((f"{file}: its arms build", problem))
    for each in asked.checkpoints:
        title = f"{each.arm} of {each.experiment} forecasts as in {each.recorded}, bit by bit"
        found.append((title, _as_recorded(each, opened)))
    for name in asked.drop_in:
        codes = [word for code in LAYOUTS for word in ("--only", code)]
        command = [sys.executable, "-m", "harness", "check", name, *codes, "--require", "all"]
        found.append((f"{name} answers in the legacy layouts", _ran(settings, command)))
    for script in asked.scripts:
        command = [sys.executable, *script[1:]] if script[0] in _PYTHON else list(script)
        found.append((f"{' '.join(script)}: runs", _ran(settings, command)))
    return [Compatible(title=title, reason=reason) for title, reason in found]


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
        served,
        limit_s=settings.compatibility.time_limit_s,
        memory_mib=settings.experiment.run.memory_limit_mib,
    )
    problem = process.start()
    yield f"{name}: its table builds, its fit loads", problem
    if problem:
        return
    title = f"{name}: the restored fit forecasts as sealed"
    whole = dataclasses.replace(cell.split, windows=cell.split.issued)
    there = stored_origins(store, dataclasses.replace(cell, split=whole))
    whole = dataclasses.replace(whole, windows=whole.issued.part(slice(0, max(1, there))))
    stored = read_cell(store, dataclasses.replace(cell, split=whole))
    series, origin = cell.split.dataset.series, int(stored.origin[-1])
    replies, _ = process.ask([(cell.dataset, up_to(series, origin))])
    process.close()
    again, why = replies[0]
    if stored.reason[-1] or again is None:
        yield title, why or f"it has no newest forecast: {stored.reason[-1]}"
        return
    kept, now = stored.forecast, again
    pairs = ((kept.point, now.point), (kept.distribution, now.distribution))
    apart = [
        math.inf if one is None or other is None else float(np.abs(one[-1] - other[0]).max())
        for one, other in pairs
        if one is not None or other is not None
    ]
    if (kept.form, kept.distribution is None) != (now.form, now.distribution is None):
        yield title, f"it answers {now.form} now, {kept.form} before"
    elif max(apart) > CLOSE * abs(float(series.target[origin - 1])):
        yield title, f"after {series.dates[origin - 1]} it differs by up to {max(apart):.3g}"
    else:  # alone its numbers may round otherwise than beside those of the night
        yield f"{title}, {'to a millionth' if max(apart) else 'bit by bit'}", ""


def record_checkpoints(opened: OpenRollout) -> list[str]:
    """Write the forecast of each named checkpoint whose file is not there; the others stay.

    It is that after the last session of the data.

    Returns
    -------
    list
        A line for each.

    Raises
    ------
    InputError
        When the file names none, or one of them cannot forecast.
    """
    named, here = opened.settings.compatibility.checkpoints, Path(opened.settings.source).parent
    if not named:
        raise ConfigError(
            f"{opened.settings.source}: no [[compatibility.checkpoints]], so nothing to record"
        )
    lines = []
    for each in named:
        file = here / each.recorded
        if file.exists():
            lines.append(f"{file}: already there, left as it is")
            continue
        known: dict[str, Any] = {"arm": each.arm, "forecasts": {}}
        experiment, splits = _asked(each, opened)
        for name, part in splits.items():
            cutoff = str(part.dataset.series.dates[-1])
            known["forecasts"][name] = _forecast(experiment, each.arm, part, cutoff)
        write_text(file, json.dumps(known, indent=1) + "\n")
        lines.append(f"{file}: recorded")
    return lines


def _asked(check: OldCheckpoint, opened: OpenRollout) -> tuple[Experiment, dict[str, Split]]:
    """The experiment of a checkpoint, and its data; `ConfigError` when it has no such arm."""
    experiment = read_experiment(str(Path(opened.settings.source).parent / check.experiment))
    names = [arm.name for arm in experiment.arms]
    if check.arm not in names:
        raise ConfigError(
            f"{check.experiment}: no arm '{check.arm}'; expected one of {', '.join(names)}"
        )
    datasets = load_datasets(experiment, opened.folders)
    return experiment, {
        name: split(datasets[name], plan) for name, plan in experiment.plans.items()
    }


def _forecast(experiment: Experiment, arm: str, part: Split, cutoff: str) -> dict[str, Any]:
    """What an arm forecasts after a session, as JSON has it, and of which rows.

    `InputError` when it has no forecast.
    """
    dates = part.dataset.series.dates
    row = int(np.searchsorted(dates, np.datetime64(cutoff), side="right"))
    at = np.array([row], dtype=np.int64)
    windows = Windows(origin=at, fitted_at=at, horizon=part.plan.horizon, gap=part.plan.gap)
    run = experiment.run
    job = part.job(
        experiment.arm(arm), seed=run.seeds[0], threads=run.threads, batch=1, windows=windows
    )

    def asked() -> dict[str, Any]:
        made = carry_out(job)
        if made.reason[0]:
            return {"problem": made.reason[0]}
        forecast = made.forecast
        values = forecast.distribution
        return {
            "point": forecast.point[0].tolist(),
            "distribution": None if values is None else values[0].tolist(),
        }

    found = in_isolation(asked, limits=limits_of(experiment))
    if "problem" in found:
        raise InputError(f"{arm} on {part.dataset.id}: {found['problem']}")
    return {"after": cutoff, "rows": part.rows_digest(row), **found}


def _as_recorded(check: OldCheckpoint, opened: OpenRollout) -> str:
    """Why an arm does not forecast what was recorded of it."""
    file = Path(opened.settings.source).parent / check.recorded
    if not file.is_file():
        command = f"abharness rollout record {opened.settings.source}"
        return f"nothing is recorded: `{command}` writes {check.recorded}"
    try:
        known = parse_json(file.read_bytes(), where=str(file))
        experiment, splits = _asked(check, opened)
        for name, part in splits.items():
            kept = known["forecasts"][name]
            again = _forecast(experiment, check.arm, part, kept["after"])
            if again["rows"] != kept["rows"]:
                return f"{name}: the rows up to {kept['after']} are others than were recorded"
            if again != kept:
                apart = np.abs(np.array(again["point"]) - np.array(kept["point"])).max()
                return f"{name}: another forecast after {kept['after']}, by up to {apart:.3g}"
    except (KeyError, TypeError, ValueError):
        return f"{check.recorded}: not what `abharness rollout record` writes"
    except InputError as problem:
        return one_line(str(problem))
    return ""


def _ran(settings: Settings, command: Sequence[str]) -> str:
    """Why a command beside the rollout file does not end with 0."""
    limit = settings.compatibility.time_limit_s
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
