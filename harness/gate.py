"""From a stored grid to a stored verdict."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import ConfigError, StoreError
from harness.grid import Grid, Split
from harness.identity import digest
from harness.policy import Policy
from harness.scores import UnitScores
from harness.scoring import score_grid, scoring_digest
from harness.store import Store, read_record, write_record, write_text
from harness.verdict import Cell, Verdict, from_json, judge, to_json

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict, what it was judged from, and where it lies.

    Attributes
    ----------
    scores
        One per cell that is in the store.
    folder
        Holds `verdict.json` and what is rendered from it.
    """

    verdict: Verdict
    scores: list[UnitScores]
    folder: Path


def with_pair(policy: Policy, grid: Grid, *, baseline: str | None, candidate: str | None) -> Policy:
    """Choose another pair of arms to judge.

    Raises
    ------
    ConfigError
        When the experiment has no arm of that name.
    """
    names = [arm.name for arm in grid.experiment.arms]
    for flag, name in (("--baseline-arm", baseline), ("--candidate-arm", candidate)):
        if name is not None and name not in names:
            raise ConfigError(f"{flag} '{name}': no such arm; there are {', '.join(names)}")
    return dataclasses.replace(
        policy, baseline=baseline or policy.baseline, candidate=candidate or policy.candidate
    )


def judge_grid(grid: Grid, store: Store, *, policy: Policy) -> Judgement:
    """Score what is stored, judge it by the policy and store the verdict."""
    scores = score_grid(grid, store)
    verdict = judge(
        policy,
        declared=[Cell(arm=c.arm.name, dataset=c.dataset, seed=c.seed) for c in grid.cells],
        scores=scores,
        stride={name: split.plan.stride for name, split in grid.splits.items()},
        room={name: _room(split) for name, split in grid.splits.items()},
        facts=_facts(grid),
        fingerprints=fingerprints(grid, policy),
    )
    folder = verdict_folder(grid, store, policy)
    write_text(folder / "verdict.json", to_json(verdict))
    _point_to(store, grid, folder)
    return Judgement(verdict=verdict, scores=scores, folder=folder)


def verdict_folder(grid: Grid, store: Store, policy: Policy) -> Path:
    """Where the verdict on this grid by this policy lies."""
    name = digest(fingerprints(grid, policy))[:12]
    return store.verdict_folder(grid.experiment.name) / name


def stored_judgement(grid: Grid, store: Store) -> Judgement:
    """Read the experiment's last verdict with the scores it was judged from.

    Raises
    ------
    StoreError
        When there is none, or the grid is another one by now.
    """
    folder = latest_folder(store, grid.experiment.name)
    verdict = from_json((folder / "verdict.json").read_text(encoding="utf-8"))
    if verdict.fingerprints.get("grid") != grid.digest:
        raise StoreError(
            f"{folder}: the last verdict of '{grid.experiment.name}' is on another grid than the "
            "experiment declares now; run `abharness gate` first"
        )
    return Judgement(verdict=verdict, scores=score_grid(grid, store), folder=folder)


def latest_folder(store: Store, experiment: str) -> Path:
    """Where the last verdict of an experiment lies.

    Raises
    ------
    StoreError
        When there is none.
    """
    folder = store.verdict_folder(experiment)
    if not (folder / "latest.json").is_file():
        raise StoreError(f"{folder}: no verdict yet; `abharness gate` makes one")
    return folder / str(read_record(folder / "latest.json")["folder"])


def fingerprints(grid: Grid, policy: Policy) -> Mapping[str, str]:
    """Digests of everything the verdict rests on."""
    found = {
        "grid": grid.digest,
        "policy": digest(_plain(dataclasses.asdict(policy))),
        "scoring": scoring_digest(),
    }
    return found | {f"data {name}": split.data for name, split in grid.splits.items()}


def _facts(grid: Grid) -> dict[str, str | int | float | bool | None]:
    found: dict[str, str | int | float | bool | None] = {
        "experiment": grid.experiment.name,
        "seeds": ", ".join(map(str, grid.experiment.run.seeds)),
    }
    for name, split in grid.splits.items():
        found[f"{name} origins"] = _origins_text(split)
        found[f"{name} refit"] = _refit_text(split)
        if split.plan.skip_repeats:
            found[f"{name} skip_repeats"] = f"{split.dataset.skipped} repeated sessions left out"
    return found


def _room(split: Split) -> int:
    """Independent origins that raising the plan's `origins` could add."""
    plan, origin = split.plan, split.windows.origin
    if plan.first is None:  # counted back from the end: more origins start earlier
        rows = int(origin[0]) - (plan.history or plan.validation + 2)
    else:
        rows = len(split.dataset) - plan.gap - plan.horizon - int(origin[-1])
    return max(0, rows) // max(plan.stride, plan.gap + plan.horizon)


def _origins_text(split: Split) -> str:
    dates = split.dataset.series.dates[split.windows.origin]
    plan = split.plan
    return (
        f"{len(split.windows)} from {dates[0]} to {dates[-1]}, every {plan.stride} sessions, "
        f"{plan.horizon} steps each" + (f" after a gap of {plan.gap}" if plan.gap else "")
    )


def _refit_text(split: Split) -> str:
    fits = len(list(split.windows.segments()))
    return (
        "once, at the first origin"
        if fits == 1
        else f"{fits} fits, every {split.plan.refit} origins"
    )


def _point_to(store: Store, grid: Grid, folder: Path) -> None:
    write_record(
        folder.parent / "latest.json",
        {"schema": SCHEMA, "folder": folder.name, "grid": grid.digest},
    )


def _plain(value: Any) -> Any:
    """Turn mapping proxies and tuples into what JSON holds."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
