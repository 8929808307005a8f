"""The verbs that begin: `init` writes an experiment for data and arms, `demo` shows a verdict."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from harness.errors import ConfigError
from harness.verbs.common import DataDirOption, say, verb

if TYPE_CHECKING:
    from harness.arm import Role
    from harness.data.dataset import Dataset
    from harness.recorded import Recorded

_DATES = ("date", "ds", "datetime", "timestamp", "time", "day", "session")
_TARGETS = ("close", "adj close", "adj_close", "price", "last", "value", "y", "settle")
_ENOUGH = 30
"""Origins without overlap that a policy asks for."""
Ci = Literal["github", "gitlab", "none"]

_EXPERIMENT = """\
# {command}
schema = 1
title = {title}
datasets = {datasets}
policy = "policy.toml"

[plan]
{plan}
[run]
seeds = [1, 2]      # of every arm that learns or draws

[[arms]]
name = "random-walk"
use = "baselines.random_walk:VolatilityRandomWalk"
role = "reference"
{arms}"""
_POLICY = """\
# What must hold before {baseline} is replaced by {candidate}: docs/policies.md
baseline = {baseline}
candidate = {candidate}
reference = "random-walk"
mode = "replace"    # no worse is enough; "improve" also requires a gain
alpha = 0.05
min_origins = {enough}

[[criteria]]
metric = "crps"
margin = 0.02

[[criteria]]
metric = "mae"
margin = 0.05

[[coverage]]
level = 80
tolerance = 0.10
"""
_GITHUB = """\
# A gate on pull requests.
name: abharness gate
on: pull_request

permissions:
  contents: read

jobs:
  gate:
    runs-on: ubuntu-latest
    timeout-minutes: 60
    env:
      ABHARNESS_STORE: runs
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "3.11"
      - uses: actions/cache@v4
        with:
          path: runs
          key: abharness-${{{{ github.ref }}}}-${{{{ github.run_id }}}}
          restore-keys: |
            abharness-${{{{ github.ref }}}}-
            abharness-refs/heads/main-
      - run: pip install abharness          # from wherever you keep it
      - name: Compare                       # REJECT ends with 3, INVALID with 5; HOLD passes here
        run: {command} --hold-as pass --records verdict
      - name: Show the verdict on the job's page
        if: always()
        run: cat verdict/summary.md >> "$GITHUB_STEP_SUMMARY"
"""
_GITLAB = """\
# A gate on merge requests.
abharness gate:
  image: python:3.11
  rules:
    - if: $CI_PIPELINE_SOURCE == "merge_request_event"
  variables:
    ABHARNESS_STORE: runs
  cache:
    key: abharness
    paths: [runs]
  script:
    - pip install abharness                 # from wherever you keep it
    - {command} --records verdict
  allow_failure:
    exit_codes: 4                           # HOLD is a warning
  artifacts:
    when: always
    paths: [verdict]
    reports:
      junit: verdict/junit.xml
"""


_PIPELINES = {
    "github": (".github/workflows/abharness-gate.yml", _GITHUB),
    "gitlab": (".gitlab-ci.yml", _GITLAB),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _NamedArm:
    """An arm as the command line names it."""

    name: str
    use: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str, role: Role, folder: Path) -> _NamedArm:
        """Read ``module:Class``, a file of forecasts or a checkout, with options after commas."""
        what, *pairs = text.split(",")
        options = {}
        for pair in pairs:
            key, sign, value = pair.partition("=")
            if not sign or not key:
                raise ConfigError(f"--{role} '{text}': expected KEY=VALUE after a comma")
            try:
                options[key] = json.loads(value)
            except ValueError:
                options[key] = value
        name = str(options.pop("name", ""))
        place = folder / what
        if (place / "models").is_dir():
            there = sorted(file.stem for file in (place / "models").glob("[!_]*.py"))
            if len(there) != 1 and "model" not in options:
                raise ConfigError(
                    f"'{text}' has {len(there)} models: say {text},model={(there or ['NAME'])[0]}"
                )
            given = {"root": what, "model": there[0] if len(there) == 1 else ""} | options
            found = cls(name=str(given["model"]), use="baselines.tslib:TSLibModel", options=given)
        elif place.is_file() and place.suffix != ".py":
            found = cls(
                name=str(options.get("model", place.stem)),
                use="harness.recorded:Recorded",
                options={"file": what} | options,
            )
        elif re.fullmatch(r"[\w.]+:\w+", what):
            found = cls(name=what.partition(":")[2], use=what, options=options)
        else:
            raise ConfigError(
                f"--{role} '{what}': expected module:Class, a file of recorded forecasts or the "
                f"folder of a checkout, relative to {folder}"
            )
        return cls(name=name or found.name, use=found.use, options=found.options)

    def table(self, role: Role) -> str:
        """Its table in the experiment."""
        lines = [f"{key} = {as_toml(value)}" for key, value in self.options.items()]
        head = [
            "", "[[arms]]", f"name = {as_toml(self.name)}", f"use = {as_toml(self.use)}",
            f'role = "{role}"',
        ]  # fmt: skip
        return "\n".join([*head, *lines, ""])


def as_toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{k} = {as_toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False, default=str)


@verb("abharness init prices.csv --legacy my_arm:Old --candidate my_arm:New")
def init(
    data: Annotated[
        list[str],
        typer.Argument(metavar="DATA...", help="Files of prices, or ids of datasets."),
    ],
    legacy: Annotated[
        str,
        typer.Option(
            metavar="ARM",
            help="Forecaster in use: module:Class, a file of recorded forecasts or a checkout, "
            "with options after commas: my_arm:Old,window=20.",
        ),
    ],
    candidate: Annotated[
        str, typer.Option(metavar="ARM", help="Its possible replacement, in the same form.")
    ],
    target: Annotated[
        str, typer.Option(metavar="COLUMN", help="Column to forecast, where it is not obvious.")
    ] = "",
    date: Annotated[
        str, typer.Option(metavar="COLUMN", help="Column of dates, where it is not obvious.")
    ] = "",
    past: Annotated[
        list[str], typer.Option(metavar="COLUMN", help="A covariate column; may be repeated.")
    ] = [],  # noqa: B006
    horizon: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="Steps to forecast; 0: the shortest season of the data."
        ),
    ] = 0,
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder to write to.")] = Path(),
    ci: Annotated[Ci, typer.Option(help="Which CI file to write.")] = "github",
    data_dir: DataDirOption = [],  # noqa: B006  # typer copies defaults
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
) -> None:
    """Write experiment, policy and CI file for your data and arms."""
    from harness.arm import logs_in
    from harness.arm_ref import ArmRef
    from harness.recorded import Recorded

    sides: dict[Role, _NamedArm] = {
        "legacy": _NamedArm.read(legacy, "legacy", to),
        "candidate": _NamedArm.read(candidate, "candidate", to),
    }
    if sides["legacy"].name == sides["candidate"].name:
        sides = {role: replace(side, name=f"{side.name} ({role})") for role, side in sides.items()}
    paths = [to / "experiment.toml", to / "policy.toml"]
    paths += [to / _PIPELINES[ci][0]] if ci != "none" else []
    for path in paths:
        if path.exists() and not force:
            raise ConfigError(
                f"{path} exists already; --force overwrites it, --to writes elsewhere"
            )
    refs = [
        ArmRef(name=side.name, use=side.use, role=role, options=side.options, folder=to.resolve())
        for role, side in sides.items()
    ]
    arms = [ref.build() for ref in refs]  # what is wrong with one ends here, with nothing written
    setup = _Setup(to=to, folders=list(data_dir), sides=sides)
    setup.sets.extend(setup.dataset(each, target=target, date=date, past=past) for each in data)
    places = (os.path.relpath(each, to) for each in setup.folders)
    flags = "".join(f" --data-dir {shlex.quote(each)}" for each in places)
    command = f"abharness compare experiment.toml{flags}"
    logs = [log for arm in arms for log in logs_in(arm) if isinstance(log, Recorded)]
    plan = setup.plan_of_logs(logs, horizon) if logs else setup.plan(horizon)
    texts = dict(zip(paths, setup.texts(plan, command, ci), strict=True))
    setup.expect_whole(texts[paths[0]], texts[paths[1]])
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        say(f"wrote {path}")
    say(f"next: {'' if to == Path() else f'cd {shlex.quote(str(to))} && '}{command}")


def _commented(lines: Sequence[tuple[str, str]]) -> str:
    """Lines of a TOML table with their comments in one column."""
    width = max(len(line) for line, _ in lines)
    return "".join(f"{line:<{width}}  # {why}\n" for line, why in lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setup:
    """What an experiment is written for: where, on which data, for which arms."""

    to: Path
    folders: list[Path]
    sides: Mapping[Role, _NamedArm]
    sets: list[Dataset] = field(default_factory=list)

    def dataset(self, text: str, *, target: str, date: str, past: Sequence[str]) -> Dataset:
        """A dataset by its id, or made of a file; its folder joins `folders`."""
        from harness.data.dataset import load
        from harness.data.importer import import_file

        file = Path(text)
        if not file.is_file():
            return load(text, self.folders)
        made = self.to / "data"
        name = re.sub(r"[^\w.-]+", "_", file.stem).lstrip(".") or "data"
        if not (made / f"{name}.toml").is_file():
            date, target = _seen_columns(file, date=date, target=target)
            found = import_file(
                file, dataset_id=name, target=target, date=date, past=past, folder=made
            )
            say("\n".join(f"{title:<12} {said}" for each in found for title, said in each.lines()))
        if made not in self.folders:
            self.folders.append(made)
        return load(name, self.folders)

    def plan(self, horizon: int) -> str:
        """Lines of a plan of origins that do not overlap, counted back from the end of the data."""
        steps = horizon or max(each.series.season for each in self.sets)
        shortest = min(map(len, self.sets))
        validation = min(250, max(steps + 25, shortest // 6))
        room = (shortest - validation - 2 - 10 * steps) // steps
        origins = max(2, min(100, room * 2 // 3))
        lines = (
            (f"horizon = {steps}", "sessions judged at each origin"),
            (f"stride = {steps}", "origins do not overlap"),
            (f"origins = {origins}", "counted back from the end of the data, once"),
            (f"validation = {validation}", "last sessions before a fit: early stopping, residuals"),
        )
        return _commented(lines)

    def plan_of_logs(self, logs: Sequence[Recorded], horizon: int) -> str:
        """Lines of a plan whose origins are those of the logs.

        Of what all logs hold, the longest stretch of origins at one distance; without overlap where
        that leaves enough of them.

        Raises
        ------
        ConfigError
            When they have no two origins in common.
        """
        dataset = self.sets[0]
        series = dataset.series
        held = [log.origins_on(series) for log in logs]
        steps = horizon or min(least for _, least in held)
        shared = sorted(set.intersection(*({int(each) for each in origins} for origins, _ in held)))
        judged = [each for each in shared if each >= 2 and each + steps <= len(series)]
        if len(judged) < 2:
            raise ConfigError(
                f"the logs share {len(judged)} origins on {dataset.id} whose {steps} sessions have "
                "come: expected 2 or more, with the last day seen and the days forecast inside "
                f"{series.dates[0]} to {series.dates[-1]}"
            )
        apart = Counter(later - each for each, later in pairwise(judged)).most_common(1)[0][0]
        overlapping, alone = (_evenly(judged, each) for each in (apart, -(-steps // apart) * apart))
        stretch = alone if len(alone) >= _ENOUGH else max(overlapping, alone, key=len)
        if len(stretch) < 2:
            raise ConfigError(
                f"the {len(judged)} origins that the logs share on {dataset.id} lie at no common "
                "distance: expected forecasts issued every so many sessions"
            )
        stride = stretch[1] - stretch[0]
        grows = stretch[-1] + stride + steps > len(series)
        known = stretch[0]  # sessions before the first origin: half and more are to learn from
        validation = max(0, min(250, max(steps + 25, known // 6), known // 2 - 1))
        if len(stretch) < len(judged):
            say(
                f"note: the plan takes {len(stretch)} of the {len(judged)} origins that the logs "
                f"hold on {dataset.id}: those every {stride} sessions from "
                f"{series.dates[stretch[0]]} to {series.dates[stretch[-1]]}"
            )
        reach = ((f"origins = {len(stretch)}", "as far as the log reaches"),)
        lines = (
            (f"horizon = {steps}", "sessions judged at each origin"),
            (f"stride = {stride}", "sessions between origins, as the logs have them"),
            (f'first = "{series.dates[stretch[0]]}"', "the first origin"),
            *(() if grows else reach),
            (f"validation = {validation}", "last sessions before a fit: early stopping, residuals"),
        )
        return _commented(lines)

    def texts(self, plan: str, command: str, ci: Ci) -> list[str]:
        """Experiment, policy and, where one is asked for, the CI file."""
        ids = [each.id for each in self.sets]
        sides = self.sides
        baseline, candidate = as_toml(sides["legacy"].name), as_toml(sides["candidate"].name)
        experiment = _EXPERIMENT.format(
            command=command,
            title=as_toml(f"{sides['legacy'].name} against {sides['candidate'].name}"),
            datasets=as_toml(ids),
            plan=plan,
            arms="".join(side.table(role) for role, side in sides.items()),
        )
        policy = _POLICY.format(baseline=baseline, candidate=candidate, enough=_ENOUGH)
        pipeline = [_PIPELINES[ci][1].format(command=command)] if ci != "none" else []
        return [experiment, policy, *pipeline]

    def expect_whole(self, experiment: str, policy: str) -> None:
        """Declare the grid of what will be written, so that what is wrong with it ends here."""
        from harness.experiments.experiment import parse_experiment
        from harness.running.fill import prepare

        inside = "\n".join(
            line if not line.startswith("[[") else f"[[policy.{line[2:]}"
            for line in policy.splitlines()
        )
        text = experiment.replace('policy = "policy.toml"\n', "") + f"\n[policy]\n{inside}\n"
        source = str(self.to / "experiment.toml")
        prepare(parse_experiment(text, source=source, folder=self.to.resolve()), self.folders)


def _seen_columns(file: Path, *, date: str, target: str) -> tuple[str, str]:
    """The columns of dates and of prices: as told, by their names, or the only one there can be.

    Raises
    ------
    ConfigError
        When none or several do.
    """
    from harness.data.dates import is_dated
    from harness.data.number_forms import looks_like_a_number
    from harness.data.reading import first_cells
    from harness.data.tables import read_bytes

    columns = first_cells(file, read_bytes(file), known=_DATES)
    low = {name.lower(): name for name in columns}
    dated = [name for name, cells in columns.items() if all(map(is_dated, cells))]
    dates = [low[name] for name in _DATES if name in low] or (dated if len(dated) == 1 else [])
    targets = [low[name] for name in _TARGETS if name in low]
    rest = [
        name
        for name, cells in columns.items()
        if name and name not in (*dates, *dated) and any(map(looks_like_a_number, cells))
    ]
    targets = targets or (rest if len(rest) == 1 else [])
    asked = [] if date or dates else ["--date"]
    asked += [] if target or targets else ["--target"]
    if asked:
        there = f": it has {', '.join(columns)}" if columns else ""
        raise ConfigError(f"{file}: name the column with {' and '.join(asked)}{there}")
    return date or dates[0], target or targets[0]


def _evenly(origins: Sequence[int], stride: int) -> list[int]:
    """The longest run of origins at a distance, the last of those equally long."""
    length = dict[int, int]()
    for each in origins:
        length[each] = length.get(each - stride, 0) + 1
    last = max(origins, key=lambda each: (length[each], each))
    return list(range(last - (length[last] - 1) * stride, last + 1, stride))


_PLANTED = '''"""A candidate with a planted fault: it forgets to undo its own scaling."""

import numpy as np

from harness.forecast import Forecast


class ForgotItsScaling:
    """A sound rule on scaled prices, and the answer stays scaled: 0.6 where the price is 900."""

    context_length = 250

    def forecast(self, contexts):
        mean = contexts.target.mean(axis=1, keepdims=True)
        scale = contexts.target.std(axis=1, keepdims=True)
        scaled = (contexts.target - mean) / scale
        path = np.repeat(scaled[:, -1:], contexts.horizon, axis=1)
        return Forecast.of_point(path)  # and where are scale and mean?
'''
_DEMO = """\
schema = 1
title = "A planted fault: the candidate forgets to undo its scaling"
datasets = ["GOLD"]

[plan]
horizon = 5
stride = 5
origins = 60
validation = 100

[[arms]]
name = "random-walk"
use = "baselines.random_walk:VolatilityRandomWalk"
role = "reference"

[[arms]]
name = "in use"
use = "baselines.random_walk:RandomWalk"
role = "legacy"

[[arms]]
name = "planted"
use = "planted:ForgotItsScaling"
role = "candidate"

[policy]
baseline = "in use"
candidate = "planted"

[[policy.criteria]]
metric = "crps"
margin = 0.02
"""


@verb("abharness demo")
def demo(
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder to write to.")] = Path(
        "abharness-demo"
    ),
) -> None:
    """Judge a candidate with a planted fault: it must be rejected.

    Writes the arm, the experiment and the store, for you to read and change. The exit code is 1
    unless the verdict is REJECT.
    """
    from harness.verbs.compare import compare

    to.mkdir(parents=True, exist_ok=True)
    (to / "planted.py").write_text(_PLANTED, encoding="utf-8")
    (to / "demo.toml").write_text(_DEMO, encoding="utf-8")
    done = compare(to / "demo.toml", store=to / "runs")
    say(done.text)
    if done.exit_code != 3:
        say("the planted fault was NOT found: the verdict should be REJECT", err=True)
        raise typer.Exit(1)
    say(f"\nREJECT, as it must be: the fault is in {to / 'planted.py'}")
