"""The parsed experiment file, and where each setting came from."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import shlex
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, get_args

from harness.arm import Role
from harness.arm_ref import ArmRef
from harness.errors import ConfigError
from harness.experiments.policy import (
    Policy,
    load_losses,
    parse_policy,
    read_policy,
    refuse_unjudged,
)
from harness.parsing import parse_toml, read_toml, table
from harness.window import RollingOrigin


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureSettings:
    """The table `[measure]`: how the costs of two arms are taken.

    Attributes
    ----------
    with_run
        Measure at the end of `run` and `compare` as well, unless the pair is measured already.
    dataset
        On which dataset; left out: the experiment's first.
    sets
        Times that fresh processes of both arms are started, side by side, taking turns.
    rounds
        A B B A rounds in each set, single stream.
    block_s
        A turn calls the arm until this many seconds are spent, at least once.
    fits
        Paired fits where both arms learn. With one there is a ratio but no interval.
    budget_s
        No further set is started when this much time is spent; two are always taken.
    wait_s
        How long to wait for the host.
    energy
        Energy of the offline runs as well; needs codecarbon. Never judged.
    """

    with_run: bool = True
    dataset: str | None = None
    sets: int = 4
    rounds: int = 8
    block_s: float = 0.1
    fits: int = 1
    budget_s: float = 150.0
    wait_s: float = 600.0
    energy: bool = False

    def __post_init__(self) -> None:
        for name, least in (("sets", 2), ("rounds", 1), ("fits", 1)):
            if getattr(self, name) < least:
                raise ConfigError(
                    f"[measure] {name} = {getattr(self, name)}: expected {least} or more"
                )
        for name in ("block_s", "budget_s", "wait_s"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ConfigError(f"[measure] {name} = {value}: expected 0 or more")


SCHEMA = 1
_TABLES = ("schema", "title", "datasets", "plan", "run", "arms", "measure", "policy")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """How units are carried out.

    Attributes
    ----------
    seeds
        Seeds of every arm that learns or draws; other arms run once, with the first.
    threads
        Threads of each unit. Sums in another order round otherwise, so this is part of a
        unit's identity, and the number of workers is not.
    batch
        Windows per call of an arm.
    time_limit_s, memory_limit_mib
        A unit beyond either is stopped and becomes failed rows.
    """

    seeds: tuple[int, ...] = (1,)
    threads: int = 1
    batch: int = 256
    time_limit_s: float = 3600.0
    memory_limit_mib: int = 8192

    def __post_init__(self) -> None:
        if not self.seeds:
            raise ConfigError("[run] seeds is empty; expected at least one")
        if len(set(self.seeds)) != len(self.seeds):
            raise ConfigError(f"[run] seeds = {list(self.seeds)}: expected each seed once")
        if min(self.seeds) < 0:
            raise ConfigError(f"[run] seeds = {list(self.seeds)}: expected 0 or more")
        for name in ("threads", "batch", "time_limit_s", "memory_limit_mib"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"[run] {name} = {getattr(self, name)}: expected more than 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """What the command line changes in an experiment before it is read.

    Attributes
    ----------
    settings
        ``KEY=VALUE`` each: `plan.origins=100`, `run.seeds=[1, 2]`, `policy.alpha=0.1`, or an
        option of an arm, `arms.NAME.epochs=2`. A value is TOML where it can be, else a text.
    without
        Arms that are left out.
    """

    settings: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    @property
    def flags(self) -> tuple[str, ...]:
        """The same as words of a command line."""
        sets = [word for each in self.settings for word in ("--set", each)]
        return (*sets, *(word for arm in self.without for word in ("--without", arm)))

    def apply(self, found: dict[str, Any], *, where: str, folder: Path | None) -> dict[str, Any]:
        """Change a parsed experiment; what it holds afterwards is read as if it were written so.

        Raises
        ------
        ConfigError
            When a flag names what is not there, or no key at all.
        """
        found = copy.deepcopy(found)
        if isinstance(found.get("policy"), str) and any(
            each.startswith("policy.") for each in self.settings
        ):
            found["policy"] = read_toml((folder or Path()) / found["policy"])
        listed = found.get("arms")
        if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
            return found  # refused as it stands
        arms = {str(each.get("name")): each for each in listed}
        for each in self.settings:
            path, sign, text = each.partition("=")
            keys, place = path.split("."), found
            if not sign or not all(keys) or (len(keys) < 2 and path not in ("title", "datasets")):
                raise ConfigError(f"--set '{each}': expected KEY=VALUE such as plan.origins=100")
            if keys[0] == "arms":
                name = max((n for n in arms if path.startswith(f"arms.{n}.")), key=len, default="")
                if not name:
                    raise ConfigError(
                        f"--set '{each}': no such arm; expected arms.NAME.OPTION=VALUE with one of "
                        f"{', '.join(arms)}"
                    )
                keys, place = path.removeprefix(f"arms.{name}.").split("."), arms[name]
            for key in keys[:-1]:
                inner = place.setdefault(key, {})
                if not isinstance(inner, dict):
                    raise ConfigError(f"--set '{each}': {key} of {where} is not a table")
                place = inner
            place[keys[-1]] = _as_toml(text)
        missing = [name for name in self.without if name not in arms]
        if missing:
            raise ConfigError(
                f"--without '{missing[0]}': no such arm in {where}; there are {', '.join(arms)}"
            )
        found["arms"] = [each for name, each in arms.items() if name not in self.without]
        return found


def _as_toml(text: str) -> Any:
    """A value as TOML has it; what is none is a text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What is compared, on which data and origins, and by which policy.

    Attributes
    ----------
    name
        File name without suffix.
    source
        What the user gave: a path, or the name of a built-in experiment.
    text
        The file as read.
    plans
        One plan per dataset id.
    measure
        How costs are measured; None where the file has no table `[measure]`.
    edits
        What flags put in place of the file's words.
    """

    name: str
    source: str
    title: str
    text: str
    plans: Mapping[str, RollingOrigin]
    arms: tuple[ArmRef, ...]
    run: RunSettings
    policy: Policy
    tables: Mapping[str, Any]
    measure: MeasureSettings | None = None
    edits: Edits = field(default_factory=Edits)

    @property
    def datasets(self) -> tuple[str, ...]:
        """Dataset ids in the order of the file."""
        return tuple(self.plans)

    @property
    def declared_seeds(self) -> tuple[int, ...]:
        """Seeds the file declares, whatever a flag put in their place."""
        return tuple(self.tables.get("run", {}).get("seeds", RunSettings().seeds))

    def arm(self, name: str) -> ArmRef:
        """Find an arm by name."""
        return next(arm for arm in self.arms if arm.name == name)

    def with_seeds(self, seeds: Iterable[int]) -> Experiment:
        """Copy the experiment with other seeds."""
        return dataclasses.replace(self, run=dataclasses.replace(self.run, seeds=tuple(seeds)))

    def with_policy(self, path: Path) -> Experiment:
        """Copy the experiment with the policy of another file.

        Raises
        ------
        ConfigError
            When the file is wrong, or names what the experiment does not have.
        """
        policy = read_policy(path, arms=[arm.name for arm in self.arms])
        _refuse_unfit(policy, self.arms, self.plans, where=str(path))
        return dataclasses.replace(self, policy=policy)


def builtin_names() -> list[str]:
    """Names of the experiments that ship with the harness."""
    folder = resources.files("harness") / "experiments"
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith("toml"))


def read_experiment(source: str, edits: Edits | None = None) -> Experiment:
    """Read an experiment from a path or by the name of a built-in one.

    Parameters
    ----------
    edits
        What flags put in place of the file's words.

    Raises
    ------
    ConfigError
        When there is no such experiment, or its file is wrong; names file, table and key.
    """
    if source in builtin_names():
        file = resources.files("harness") / "experiments" / f"{source}.toml"
        text = file.read_text(encoding="utf-8")
        return parse_experiment(text, source=source, folder=None, edits=edits)
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{source}: no such file, and no built-in experiment of that name; "
            f"built in are {', '.join(builtin_names())}"
        ) from None
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{source}: cannot be read: {problem}") from None
    return parse_experiment(text, source=source, folder=path.resolve().parent, edits=edits)


def parse_experiment(
    text: str, *, source: str, folder: Path | None, edits: Edits | None = None
) -> Experiment:
    """Parse the text of an experiment file; `folder` is where user modules may lie."""
    found = parse_toml(text, where=source)
    edits = edits or Edits()
    if edits.flags:
        found = edits.apply(found, where=source, folder=folder)
        text += f"\n# with {shlex.join(edits.flags)}\n"
    if Path(source).stem.strip(". ") != Path(source).stem:
        raise ConfigError(
            f"{source}: an experiment has the name of its file, which must neither begin nor end "
            "with a dot or a space: rename the file"
        )
    for key in found:
        if key not in _TABLES:
            raise ConfigError(f"{source}: unknown key '{key}'; known keys are {', '.join(_TABLES)}")
    for key in ("datasets", "plan", "arms", "policy"):
        if key not in found:
            raise ConfigError(f"{source}: missing key '{key}'")
    if found.get("schema", SCHEMA) != SCHEMA:
        raise ConfigError(f"{source}: schema = {found['schema']!r}: this version reads {SCHEMA}")
    title = found.get("title", Path(source).stem)
    if not isinstance(title, str):
        raise ConfigError(f"{source}: title = {title!r}: expected a text")
    arms = _arms(found["arms"], where=source, folder=folder)
    plans = _plans(found["plan"], found["datasets"], where=source)
    return Experiment(
        name=Path(source).stem,
        source=source,
        title=title,
        text=text,
        plans=plans,
        arms=arms,
        run=table(
            RunSettings, _mapping(found.get("run", {}), source, "run"), where=f"{source}: [run]"
        ),
        policy=_policy(found["policy"], arms=arms, plans=plans, where=source, folder=folder),
        tables=found,
        measure=_measure(found, source),
        edits=edits,
    )


def _measure(found: Mapping[str, Any], source: str) -> MeasureSettings | None:
    """How costs are measured; None where the experiment does not ask for it."""
    if "measure" not in found:
        return None
    settings = table(
        MeasureSettings,
        _mapping(found["measure"], source, "measure"),
        where=f"{source}: [measure]",
    )
    if settings.dataset not in (None, *found["datasets"]):
        raise ConfigError(f"{source}: [measure] dataset = '{settings.dataset}': no such dataset")
    return settings


def _policy(
    found: Any,
    *,
    arms: tuple[ArmRef, ...],
    plans: Mapping[str, RollingOrigin],
    where: str,
    folder: Path | None,
) -> Policy:
    """The table `[policy]`, or the file it names, beside the experiment's."""
    names = [arm.name for arm in arms]
    label = f"{where}: [policy]"
    if isinstance(found, str):
        label = found
        policy = read_policy((folder or Path()) / found, arms=names)
    else:
        table = _mapping(found, where, "policy")
        load_losses(table, folder)
        policy = parse_policy(table, arms=names, where=label)
    _refuse_unfit(policy, arms, plans, where=label)
    return policy


def _refuse_unfit(
    policy: Policy, arms: Iterable[ArmRef], plans: Mapping[str, RollingOrigin], *, where: str
) -> None:
    reach = max(plan.gap + plan.horizon for plan in plans.values())
    policy.refuse_unfit(tuple(plans), reach, where=where)
    judged = {
        name: range(plan.gap + 1, plan.gap + plan.horizon + 1) for name, plan in plans.items()
    }
    refuse_unjudged(policy, judged, {arm.name: arm.role for arm in arms}, where=where)


def _plans(found: Any, ids: Any, *, where: str) -> dict[str, RollingOrigin]:
    """One plan per dataset: the common keys, overridden by the table named after the dataset."""
    if not isinstance(ids, list) or not ids or not all(isinstance(each, str) for each in ids):
        raise ConfigError(f'{where}: datasets = {ids!r}: expected ids such as ["GOLD"]')
    if len(set(ids)) != len(ids):
        raise ConfigError(f"{where}: datasets = {ids}: expected each id once")
    common = _mapping(found, where, "plan")
    own = {key: value for key, value in common.items() if isinstance(value, dict)}
    for key in own:
        if key not in ids:
            raise ConfigError(f"{where}: [plan.{key}]: no such dataset; there are {', '.join(ids)}")
    shared = {key: value for key, value in common.items() if key not in own}
    return {
        name: table(RollingOrigin, shared | own.get(name, {}), where=f"{where}: [plan]")
        for name in ids
    }


def _arms(found: Any, *, where: str, folder: Path | None) -> tuple[ArmRef, ...]:
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ConfigError(f"{where}: arms: expected [[arms]] tables")
    arms = tuple(_arm(item, where=where, folder=folder) for item in found)
    names = [arm.name for arm in arms]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{where}: [[arms]]: two arms are named '{name}'")
    return arms


def _arm(found: dict[str, Any], *, where: str, folder: Path | None) -> ArmRef:
    name = found.get("name")
    label = f"{where}: [[arms]] {name!r}" if name else f"{where}: [[arms]]"
    for key in ("name", "use", "role"):
        if not isinstance(found.get(key), str) or not found[key]:
            raise ConfigError(f"{label}: missing key '{key}' (a text)")
    if found["role"] not in get_args(Role):
        raise ConfigError(
            f"{label}: role = '{found['role']}': expected one of {', '.join(get_args(Role))}"
        )
    options = {key: value for key, value in found.items() if key not in ("name", "use", "role")}
    try:
        json.dumps(options, allow_nan=False)  # they become part of a digest and of a record
    except (TypeError, ValueError):
        raise ConfigError(
            f"{label}: options {options!r}: expected texts, finite numbers, true or false, lists "
            "and tables; dates in quotes"
        ) from None
    return ArmRef(
        name=found["name"], use=found["use"], role=found["role"], options=options, folder=folder
    )


def _mapping(found: Any, where: str, key: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise ConfigError(f"{where}: {key} = {found!r}: expected a table [{key}]")
    return found
