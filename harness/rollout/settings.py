"""What a rollout file asks: whose migration it is, its stages, and what rolls it back."""

from __future__ import annotations

import dataclasses
import json
import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from harness.errors import ConfigError
from harness.experiments.experiment import Experiment, builtin_names, read_experiment
from harness.experiments.rules import comparable_metrics
from harness.parsing import adapter, parse_record, read_toml
from harness.scoring.metrics import AGGREGATES

SCHEMA = 1
_NO_OTHER_KEYS = {"extra": "forbid"}
Kind = Literal["legacy", "shadow", "series", "all", "retired"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Who is served by which side.

    Attributes
    ----------
    kind
        ``legacy``: before the first stage and after a roll-back to it. ``shadow``: the legacy
        serves, the candidate answers as well. ``series``: the candidate serves some. ``all``: it
        serves all, the legacy answers as well. ``retired``: the legacy no longer does.
    series
        Those the candidate serves, of kind ``series``.
    margin
        A share that is enough to enter it, in place of each guardrail's own margin; None where
        nothing but PROMOTE is.
    after
        Sessions that the stage before must have lasted, of kind ``retired``.
    """

    kind: Kind
    series: tuple[str, ...] = ()
    margin: float | None = None
    after: int = 0

    def exposes(self, series: str) -> bool:
        """Whether the candidate serves a series."""
        return self.kind in ("all", "retired") or series in self.series

    @property
    def exposed(self) -> bool:
        """Whether the candidate serves any."""
        return self.kind in ("all", "retired", "series")

    def __str__(self) -> str:
        return ", ".join(self.series) if self.kind == "series" else self.kind


LEGACY = Stage(kind="legacy")


@dataclass(frozen=True, slots=True, kw_only=True)
class OldCheckpoint:
    """An arm whose forecast was recorded once: a file of an experiment, a name in it, a file."""

    __pydantic_config__ = _NO_OTHER_KEYS

    experiment: str
    arm: str
    recorded: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compatibility:
    """What must keep working while a migration lasts; paths are seen from the rollout file.

    Attributes
    ----------
    configs
        Files of experiments whose arms must build; `*` stands for any name.
    checkpoints
        Arms that must forecast, bit by bit, what was recorded of them.
    drop_in
        Networks that must answer in the legacy layouts.
    scripts
        Commands, as lists of words, that must end with 0.
    time_limit_s
        Of each script.
    """

    __pydantic_config__ = _NO_OTHER_KEYS

    configs: tuple[str, ...] = ()
    checkpoints: tuple[OldCheckpoint, ...] = ()
    drop_in: tuple[str, ...] = ()
    scripts: tuple[tuple[str, ...], ...] = ()
    time_limit_s: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A rollout file.

    Attributes
    ----------
    name
        Of the file, without its suffix: what its records are kept under.
    source, experiment
        The file, and the experiment it names.
    stages
        In order; the first of all is `LEGACY`.
    metric
        Loss that budget and sentinel are counted in; mean over the steps.
    limit
        Share by which the candidate's loss may exceed the legacy's before it is harm.
    budget
        Legacy losses that may be lost to serving the candidate, in all.
    latency_s, memory_limit_mib
        What the candidate may take for an answer, and hold.
    calm
        Sessions without a fault of the candidate that an exposing stage asks for.
    feedback
        What is forecast depends on which forecast was served. Then no evidence is paired and no
        stage may be moved by it.
    compatibility
        What must keep working.
    """

    name: str
    source: str
    experiment: Experiment
    stages: tuple[Stage, ...]
    metric: str
    limit: float
    budget: float = 5.0
    latency_s: float = 5.0
    memory_limit_mib: int = 4096
    calm: int = 20
    feedback: bool = False
    compatibility: Compatibility = Compatibility()

    @property
    def candidate(self) -> str:
        """Name of the new side."""
        return self.experiment.policy.candidate

    @property
    def legacy(self) -> str:
        """Name of the old side."""
        return self.experiment.policy.baseline

    @property
    def series(self) -> tuple[str, ...]:
        """Datasets of the experiment."""
        return self.experiment.datasets

    def arm_of(self, stage: Stage, series: str) -> str:
        """Name of the side that serves a series at a stage."""
        return self.candidate if stage.exposes(series) else self.legacy


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keys:
    """The file as it is written."""

    __pydantic_config__ = _NO_OTHER_KEYS

    experiment: str
    stages: tuple[Any, ...]
    schema: int = SCHEMA
    metric: str = ""
    limit: float = 0.05
    budget: float = 5.0
    latency_s: float = 5.0
    memory_limit_mib: int = 4096
    calm: int = 20
    feedback: bool = False
    compatibility: Compatibility = Compatibility()


def read_rollout(path: Path) -> Settings:
    """Read a rollout file with the experiment it names, which lies beside it or is built in.

    Raises
    ------
    ConfigError
        Names every fault of the file in one line, with what was found and what was expected.
    """
    found = json.loads(json.dumps(read_toml(path), default=str))  # a date is not a key's value
    faults, wrong = _key_faults(found)
    right = {key: value for key, value in found.items() if key not in wrong}
    keys = parse_record(
        _Keys, {"experiment": "", "stages": [], **right}, where=str(path), error=ConfigError
    )
    experiment = None
    if "experiment" in right:
        builtin = keys.experiment in builtin_names()
        try:
            experiment = read_experiment(
                keys.experiment if builtin else str(path.parent / keys.experiment)
            )
        except ConfigError as problem:
            faults.append(f"experiment = '{keys.experiment}': {problem}")
    stages = [_stage(each) for each in keys.stages]
    faults += [each for each in stages if isinstance(each, str)]
    made = (LEGACY, *(each for each in stages if isinstance(each, Stage)))
    if keys.schema != SCHEMA:
        faults.append(f"schema = {keys.schema!r}: this version reads {SCHEMA}")
    if "stages" in right and not stages:
        faults.append("stages = []: expected at least one")
    if experiment is not None:
        listed = (LEGACY, *(each if isinstance(each, Stage) else None for each in stages))
        faults += _order_faults(listed, experiment.datasets)
    faults += _value_faults(keys)
    if keys.feedback and [str(each) for each in made[1:]] not in (["shadow"], ["all"]):
        faults.append(
            "feedback = true: where the outcome depends on which forecast was served, no stage can "
            'be moved by evidence: expected stages = ["shadow"] or ["all"]'
        )
    if faults or experiment is None:
        raise ConfigError(f"{path}: {'; '.join(faults)}")
    judged = [rule.metric for rule in experiment.policy.criteria if rule.metric in loss_metrics()]
    taken = {
        each.name: getattr(keys, each.name)
        for each in dataclasses.fields(keys)
        if each.name not in ("experiment", "stages", "schema", "metric")
    }
    return Settings(
        name=path.stem,
        source=str(path),
        experiment=experiment,
        stages=made,
        metric=keys.metric or next(iter(judged), "mae"),
        **taken,
    )


def _key_faults(found: Mapping[str, Any]) -> tuple[list[str], set[str]]:
    """Keys that are unknown, missing or of another type, in words; and their top-level names."""
    from pydantic import ValidationError

    kinds = {"": _Keys, "compatibility": Compatibility, "checkpoints": OldCheckpoint}
    faults, wrong = [], set[str]()
    try:
        adapter(_Keys).validate_json(json.dumps(found), strict=True)
    except ValidationError as problem:
        for each in problem.errors(include_url=False):
            place = [str(part) for part in each["loc"]]
            wrong.add(place[0])
            table = next((part for part in reversed(place[:-1]) if part in kinds), "")
            key, inside = place[-1], f"{'.'.join(place[:-1])}: " if place[:-1] else ""
            if each["type"] == "unexpected_keyword_argument":
                known = ", ".join(item.name for item in dataclasses.fields(kinds[table]))
                faults.append(f"{inside}unknown key '{key}'; known keys are {known}")
            elif each["type"] in ("missing", "missing_argument"):
                faults.append(f"{inside}missing key '{key}'")
            else:
                wanted = each["msg"].removeprefix("Input should be ")
                shown = reprlib.repr(each["input"])
                faults.append(f"{'.'.join(place)} = {shown}: expected {wanted}")
    return faults, wrong


def _value_faults(keys: _Keys) -> list[str]:
    """Numbers and names that no rollout can have."""
    faults = []
    for name, value, zero in (
        ("limit", keys.limit, True),
        ("budget", keys.budget, False),
        ("latency_s", keys.latency_s, False),
        ("memory_limit_mib", keys.memory_limit_mib, False),
        ("calm", keys.calm, True),
        ("compatibility.time_limit_s", keys.compatibility.time_limit_s, False),
    ):
        if not 0 <= value < math.inf or not (value or zero):
            least = "of 0 or more" if zero else "above 0"
            faults.append(f"{name} = {value}: expected a finite number {least}")
    if keys.metric and keys.metric not in loss_metrics():
        faults.append(f"metric = '{keys.metric}': expected one of {', '.join(loss_metrics())}")
    if not all(keys.compatibility.scripts):
        faults.append("compatibility.scripts: one is empty; each must be a command")
    return faults


def loss_metrics() -> list[str]:
    """Losses whose mean over the steps of an origin can be watched."""
    means = [AGGREGATES[name] for name in comparable_metrics()]
    return [each.name for each in means if not each.rooted and not each.over]


def _stage(found: Any) -> Stage | str:
    """A stage, or what is wrong with it."""
    said = (
        f'stages: {found!r}: expected "shadow", "all", {{series = [...], margin = ...}} or '
        "{retire_after = SESSIONS}"
    )
    if found in ("shadow", "all"):
        return Stage(kind=found)
    if not isinstance(found, dict):
        return said
    margin, after = found.get("margin"), found.get("retire_after")
    if isinstance(margin, bool) or isinstance(after, bool):
        return said
    names = found.get("series", [])
    numbers = [each for each in (margin, after) if each is not None]
    fine = all(isinstance(each, int | float) and 0 <= each < math.inf for each in numbers)
    if found.keys() == {"retire_after"} and isinstance(after, int) and fine:
        return Stage(kind="retired", after=after)
    whole = {"stage": "all"} if found.get("stage") == "all" else {}
    if whole and found.keys() <= {"stage", "margin"} and fine:
        return Stage(kind="all", margin=margin)
    listed = isinstance(names, list) and names and all(isinstance(each, str) for each in names)
    if found.keys() <= {"series", "margin"} and listed and fine:
        return Stage(kind="series", series=tuple(names), margin=margin)
    return said


def _order_faults(stages: Sequence[Stage | None], series: Sequence[str]) -> list[str]:
    """What is wrong with a list of stages: each must expose more than the one before.

    Nothing is said of the order around a stage that cannot be read, which is None.
    """
    faults = []
    for before, stage in pairwise(stages):
        if stage is None:
            continue
        unknown = [name for name in stage.series if name not in series]
        faults += [f"stages: no series '{name}'; there are {', '.join(series)}" for name in unknown]
        if before is None:
            continue
        served = [{name for name in series if each.exposes(name)} for each in (before, stage)]
        grows = served[0] < served[1] or (before.kind, stage.kind) in (
            ("legacy", "shadow"),
            ("all", "retired"),
        )
        if not grows and not unknown:
            faults.append(f"stages: '{stage}' after '{before}' serves the candidate no more widely")
        if stage.kind == "retired" and before.kind != "all":
            faults.append('stages: retire_after stands only after "all"')
    return faults
