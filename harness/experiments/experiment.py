"""The parsed experiment file, and where each setting came from."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import shlex
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, get_args

from harness.arm import Role
from harness.arm_ref import ArmRef
from harness.errors import ConfigError, FaultCollector, meant, refuse
from harness.experiments.policy import (
    Policy,
    load_losses,
    parse_policy,
    read_policy,
    refuse_unjudged,
)
from harness.parsing import parse_toml, read_text, read_toml, table
from harness.window import MOST, RollingOrigin, counted


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
        times = {name: getattr(self, name) for name in ("block_s", "budget_s", "wait_s")}
        refuse(
            "[measure]",
            [
                *counted(self, {"sets": 2, "rounds": 1, "fits": 1}),
                *(
                    f"{name} = {value}: expected 0 or more"
                    for name, value in times.items()
                    if not 0 <= value < math.inf
                ),
            ],
        )


SCHEMA = 1
_SEEDS = 2**32
"""Seeds are below it: some generators take no larger ones."""
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
        faults = [] if self.seeds else ["seeds is empty; expected at least one"]
        if len(set(self.seeds)) != len(self.seeds):
            faults.append(f"seeds = {list(self.seeds)}: expected each seed once")
        if any(not 0 <= seed < _SEEDS for seed in self.seeds):
            faults.append(f"seeds = {list(self.seeds)}: expected 0 or more, less than {_SEEDS}")
        for name in ("threads", "batch", "time_limit_s", "memory_limit_mib"):
            if not 0 < getattr(self, name) <= MOST:
                wanted = f"more than 0, at most {MOST:,}"
                faults.append(f"{name} = {getattr(self, name)}: expected {wanted}")
        refuse("[run]", faults)


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
                        f"--set '{each}': no such arm{meant(keys[1], arms)}; expected "
                        f"arms.NAME.OPTION=VALUE with one of {', '.join(arms)}"
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
                f"--without '{missing[0]}': no such arm in {where}{meant(missing[0], arms)}; "
                f"there are {', '.join(arms)}"
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

    @property
    def odd_roles(self) -> str:
        """What of the policy's pair does not fit the roles of its arms; '' where all does."""
        sides = {"baseline": self.policy.baseline, "candidate": self.policy.candidate}
        wanted = {"baseline": "candidate", "candidate": "legacy"}
        odd = [
            f"{side} = '{name}' has the role {wanted[side]}"
            for side, name in sides.items()
            if self.arm(name).role == wanted[side]
        ]
        swapped = ": swapped? It is judged as the policy says" if len(odd) == 2 else ""
        return " and ".join(odd) + swapped

    def arm(self, name: str) -> ArmRef:
        """Find an arm by name."""
        return next(arm for arm in self.arms if arm.name == name)

    def with_seeds(self, seeds: Iterable[int]) -> Experiment:
        """Copy the experiment with other seeds."""
        return dataclasses.replace(self, run=dataclasses.replace(self.run, seeds=tuple(seeds)))

    def policy_on(self, *, baseline: str | None, candidate: str | None) -> Policy:
        """The policy on another pair of arms; None leaves a side as it is.

        Raises
        ------
        ConfigError
            When the experiment has no arm of that name.
        """
        names = [arm.name for arm in self.arms]
        for flag, name in (("--baseline-arm", baseline), ("--candidate-arm", candidate)):
            if name is not None and name not in names:
                near, there = meant(name, names), ", ".join(names)
                raise ConfigError(f"{flag} '{name}': no such arm{near}; there are {there}")
        return dataclasses.replace(
            self.policy,
            baseline=baseline or self.policy.baseline,
            candidate=candidate or self.policy.candidate,
        )

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
    if not source.strip():
        raise ConfigError("experiment '': expected a TOML file, or the name of a built-in one")
    near = meant(source, [*builtin_names(), *map(str, path.parent.glob("*.toml"))])
    built_in = f"built in are {', '.join(builtin_names())}"
    absent = f", and no built-in experiment of that name{near}; {built_in}"
    text = read_text(path, absent=absent)
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
    reading = _Reading(found=found, source=source, folder=folder, notes=FaultCollector(source))
    notes = reading.notes
    notes.found += reading.faults_at_the_top()
    arms = reading.arms() if "arms" in found else ()
    plans: dict[str, RollingOrigin] = {}
    with notes.noting():
        if "plan" in found and "datasets" in found:
            plans = reading.plans()
    run, measure, policy = RunSettings(), None, None
    with notes.noting():
        run = table(RunSettings, reading.table("run"), where=f"{source}: [run]")
    with notes.noting():
        if "measure" in found:
            inner = reading.table("measure")
            measure = table(MeasureSettings, inner, where=f"{source}: [measure]")
            if plans and measure.dataset not in (None, *plans):
                near, there = meant(measure.dataset, plans), ", ".join(plans)
                raise ConfigError(
                    f"{source}: [measure] dataset = '{measure.dataset}': no such dataset{near}; "
                    f"there are {there}"
                )
    with notes.noting():
        if arms and "policy" in found:
            policy = reading.policy(arms, plans)
    notes.raise_any()
    assert policy is not None
    return Experiment(
        name=Path(source).stem,
        source=source,
        title=found.get("title", Path(source).stem),
        text=text,
        plans=plans,
        arms=arms,
        run=run,
        policy=policy,
        tables=found,
        measure=measure,
        edits=edits,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """A parsed file, where it came from, and what is found wrong with it on the way.

    Attributes
    ----------
    folder
        Where user modules and a policy of its own may lie.
    """

    found: Mapping[str, Any]
    source: str
    folder: Path | None
    notes: FaultCollector

    def faults_at_the_top(self) -> Iterator[str]:
        """Keys that are unknown, missing or of another kind."""
        found, known = self.found, ", ".join(_TABLES)
        for key in found:
            if key not in _TABLES:
                yield f"unknown key '{key}'{meant(key, _TABLES)}; known keys are {known}"
        needed = ("datasets", "plan", "arms", "policy")
        if missing := ", ".join(f"'{key}'" for key in needed if key not in found):
            yield f"missing key{'s' * (',' in missing)} {missing}"
        if found.get("schema", SCHEMA) != SCHEMA:
            yield f"schema = {found['schema']!r}: this version reads {SCHEMA}"
        if not isinstance(title := found.get("title", ""), str):
            yield f"title = {title!r}: expected a text"

    def table(self, key: str) -> dict[str, Any]:
        """The table of a key; empty where there is none.

        Raises
        ------
        ConfigError
            When it is something else.
        """
        inner = self.found.get(key, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{self.source}: {key} = {inner!r}: expected a table [{key}]")
        return inner

    def plans(self) -> dict[str, RollingOrigin]:
        """One plan per dataset: the common keys, overridden by those of a table of its name."""
        where, ids = self.source, self.found["datasets"]
        if not isinstance(ids, list) or not ids or not all(isinstance(each, str) for each in ids):
            raise ConfigError(f'{where}: datasets = {ids!r}: expected ids such as ["GOLD"]')
        if len(set(ids)) != len(ids):
            raise ConfigError(f"{where}: datasets = {ids}: expected each id once")
        common = self.table("plan")
        own = {key: value for key, value in common.items() if isinstance(value, dict)}
        notes = FaultCollector(where)
        for key in own:
            if key not in ids:
                near = meant(key, ids)
                notes.found.append(
                    f"[plan.{key}]: no such dataset{near}; there are {', '.join(ids)}"
                )
        shared = {key: value for key, value in common.items() if key not in own}
        plans = {}
        for name in ids:
            with notes.noting():
                inner = shared | own.get(name, {})
                plans[name] = table(RollingOrigin, inner, where=f"{where}: [plan]")
        notes.raise_any()
        return plans

    def arms(self) -> tuple[ArmRef, ...]:
        """Arms of an experiment; what is wrong with any is noted."""
        found = self.found["arms"]
        if not isinstance(found, list) or not found or not all(isinstance(x, dict) for x in found):
            self.notes.found.append("arms: expected [[arms]] tables")
            return ()
        arms: list[ArmRef] = []
        for item in found:
            name = item.get("name")
            label = f"[[arms]] {name!r}:" if name else "[[arms]]:"
            texts: dict[str, Any] = {key: item.get(key) for key in ("name", "use", "role")}
            faults = [
                f"missing key '{key}' (a text)"
                for key, text in texts.items()
                if not isinstance(text, str) or not text.strip()
            ]
            role, roles = texts["role"], get_args(Role)
            if isinstance(role, str) and role.strip() and role not in roles:
                wanted = f"expected one of {', '.join(roles)}{meant(role, roles)}"
                faults.append(f"role = '{role}': {wanted}")
            options = {key: value for key, value in item.items() if key not in texts}
            try:
                json.dumps(options, allow_nan=False)  # they become part of a digest and of a record
            except (TypeError, ValueError):
                faults.append(
                    f"options {options!r}: expected texts, finite numbers, true or false, lists "
                    "and tables; dates in quotes"
                )
            if any(arm.name == name for arm in arms):
                faults.append(f"two arms are named '{name}'")
            self.notes.found += [f"{label} {'; '.join(faults)}"] if faults else []
            use = str(texts["use"])
            arms.append(
                ArmRef(
                    name=str(name), use=use, role=texts["role"], options=options, folder=self.folder
                )
            )
        return tuple(arms)

    def policy(self, arms: tuple[ArmRef, ...], plans: Mapping[str, RollingOrigin]) -> Policy:
        """The table `[policy]`, or the file it names, beside the experiment's."""
        names, label = [arm.name for arm in arms], f"{self.source}: [policy]"
        file = self.found["policy"]
        if isinstance(file, str):
            label = file
            policy = read_policy((self.folder or Path()) / file, arms=names)
        else:
            own = self.table("policy")
            load_losses(own, self.folder)
            policy = parse_policy(own, arms=names, where=label)
        if plans:
            _refuse_unfit(policy, arms, plans, where=label)
        return policy


def _refuse_unfit(
    policy: Policy, arms: Iterable[ArmRef], plans: Mapping[str, RollingOrigin], *, where: str
) -> None:
    roles = {arm.name: arm.role for arm in arms}
    reach = max(plan.gap + plan.horizon for plan in plans.values())
    policy.refuse_unfit(tuple(plans), reach, where=where)
    judged = {
        name: range(plan.gap + 1, plan.gap + plan.horizon + 1) for name, plan in plans.items()
    }
    refuse_unjudged(policy, judged, roles, where=where)
