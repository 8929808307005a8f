"""The same records give the same bytes: no clock, no path of the machine, no order of hashing."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from in_process import InThisProcess, Quiet

from harness.experiments.experiment import read_experiment
from harness.gate.judge import judge_grid
from harness.running.fill import fill, prepare
from harness.running.store_folder import open_store

EXPERIMENT = """\
schema = 1
title = "Two walks"
datasets = ["GOLD"]

[plan]
horizon = 5
stride = 5
origins = 40
history = 300
validation = 60

[run]
seeds = [1]

[[arms]]
name = "walk"
use = "baselines.random_walk:RandomWalk"
role = "reference"

[[arms]]
name = "old"
use = "baselines.random_walk:SeasonalNaive"
role = "legacy"

[[arms]]
name = "older"
use = "baselines.random_walk:RandomWalk"
role = "legacy"
drift = true

[[arms]]
name = "new"
use = "baselines.random_walk:VolatilityRandomWalk"
role = "candidate"

[policy]
baseline = "old"
candidate = "new"
mode = "replace"

[[policy.criteria]]
metric = "crps"
margin = 0.05

[[policy.waivers]]
finding = "GOLD:crps:guardrail"
owner = "the desk"
reason = "tried before"
until = "2099-12-31"
"""
FORMS = ("html", "md", "json")
LOOKS_LIKE_A_TIME = r"\b\d{1,2}:\d{2}:\d{2}\b"
ALL_FORMS = """\
import sys
from harness.cli import run_cli
for name, asked in (("page", ["walks.toml"]), ("nights", ["walks.toml", "--nights"])):
    for form in ("html", "md", "json"):
        code = run_cli(["report", *asked, "--format", form, "--output", f"{name}.{form}"])
        assert code == 0, (name, form)
heavy = ("torch", "transformers", "chronos", "pandas", "statsmodels", "arch")
print("loaded:", *[name for name in heavy if name in sys.modules], file=sys.stderr)
"""


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an experiment and a store in which it was judged."""
    folder = tmp_path_factory.mktemp("judged")
    file = folder / "walks.toml"
    file.write_text(EXPERIMENT, encoding="utf-8")
    grid = prepare(read_experiment(str(file)), [])
    store = open_store(folder / "runs")
    fill(grid, store, workers=1, progress=Quiet(), executor=InThisProcess())
    judge_grid(grid, store, policy=grid.experiment.policy, today="2030-01-01")
    return folder


def drawing(judged: Path, to: Path, **variables: str) -> subprocess.Popen[str]:
    """A new process that draws page and nights in every form, from a copy of the store."""
    shutil.copytree(judged, to)
    return subprocess.Popen(
        [sys.executable, "-P", "-c", ALL_FORMS],
        cwd=to,
        env=os.environ | variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawn:
    """What a process drew, by file, and what it printed last: the libraries it had loaded."""

    files: dict[str, bytes]
    loaded: str


@pytest.fixture(scope="module")
def twice(judged: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Drawn]:
    """The same store drawn in two places, with unlike settings."""
    root = tmp_path_factory.mktemp("twice")
    places = {
        root / "here": {"PYTHONHASHSEED": "1", "TZ": "UTC", "LC_ALL": "C.UTF-8"},
        root / "there" / "far": {"PYTHONHASHSEED": "77", "TZ": "Asia/Tokyo", "LC_ALL": "C"},
    }
    running = {to: drawing(judged, to, **settings) for to, settings in places.items()}
    drawn = []
    for to, process in running.items():
        _, said = process.communicate()
        assert process.returncode == 0, said
        files = {file.name: file.read_bytes() for form in FORMS for file in to.glob(f"*.{form}")}
        drawn.append(Drawn(files=files, loaded=said.rpartition("loaded:")[2]))
    return drawn


@pytest.mark.slow
def test_a_copy_elsewhere_gives_the_same_bytes(twice: list[Drawn]) -> None:
    """Page and index in HTML, Markdown and JSON, under another hash seed, clock and folder."""
    one, other = twice

    assert len(one.files) == 6
    assert one.files == other.files


@pytest.mark.slow
def test_no_form_tells_a_time_or_a_folder_of_the_machine(judged: Path, twice: list[Drawn]) -> None:
    """There is no time of day of the rendering and no absolute path of the store."""
    for name, content in twice[0].files.items():
        text = content.decode()
        assert str(judged.parent) not in text, name
        assert "/tmp/" not in text, name
        assert re.findall(LOOKS_LIKE_A_TIME, text) == [], name


@pytest.mark.slow
def test_drawing_a_page_from_a_store_imports_no_torch(twice: list[Drawn]) -> None:
    """Neither a network library nor what brings one, from the command line to the file."""
    assert [each.loaded.split() for each in twice] == [[], []]
