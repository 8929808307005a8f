"""Folder rules: `datasets/` is data only, and nothing takes it for the library of that name."""

from __future__ import annotations

import csv
import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import harness
from harness.records.journal import Journal

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ["harness", "baselines", "candidates", "reports"]

needs_checkout = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").is_file() or not (ROOT / "datasets").is_dir(),
    reason="needs the checkout; these tests were copied away from it",
)


def _git_knows_us():
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        return False
    return (
        subprocess.run([git, "status"], cwd=ROOT, capture_output=True, check=False).returncode == 0
    )


needs_git = pytest.mark.skipif(not _git_knows_us(), reason="needs git and a checkout it may read")

AT_EXIT = """\
import atexit, importlib.util

def say():
    found = importlib.util.find_spec("datasets")
    print("NAMESPACE", found and (found.origin is None or found.loader is None))

atexit.register(say)
"""


def spec_in(output):
    """What a process said of `datasets` when it ended: None, or whether it is a namespace."""
    line = next(line for line in output.splitlines() if line.startswith("NAMESPACE "))
    return {"None": None, "False": False, "True": True}[line.removeprefix("NAMESPACE ")]


def settings(*, safe_path):
    found = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    return found | ({"PYTHONSAFEPATH": "1"} if safe_path else {})


def run(command, *, cwd, env=None):
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_checkout
def test_datasets_holds_data_only():
    """No Python file lies anywhere under `datasets/`; each data file has a manifest."""
    files = [file for file in (ROOT / "datasets").rglob("*") if file.is_file()]

    assert {file.suffix for file in files} == {".csv", ".toml"}
    assert {file.stem for file in files if file.suffix == ".csv"} == {
        file.stem for file in files if file.suffix == ".toml"
    }


@needs_git
def test_top_level_is_as_agreed():
    """Code lies in the four packages and in tests; a helper script may lie in docs."""
    listed = run(["git", "ls-files", "-co", "--exclude-standard", "*.py"], cwd=ROOT)

    assert {line.partition("/")[0] for line in listed.split()} <= {*PACKAGES, "tests", "docs"}


@needs_git
def test_no_file_names_a_place_of_this_machine():
    """No text in the repository holds the folder it was written in."""
    listed = run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT).splitlines()
    words = ["/".join(["", name, ""]) for name in ("work", "root", "tmp/v")]
    texts = (".py", ".toml", ".md", ".ini", ".html", ".css", ".txt", ".json", ".csv")

    found = [
        f"{name}: {word}"
        for name in listed
        if name.endswith(texts) and (ROOT / name).is_file()
        for word in words
        if word in (ROOT / name).read_text(encoding="utf-8")
    ]

    assert found == []


def test_this_process_sees_no_namespace():
    """Under pytest, however it was started, the name is free or the library's own."""
    found = importlib.util.find_spec("datasets")

    assert found is None or isinstance(found.loader, importlib.machinery.SourceFileLoader)


ARM = """\
import importlib.util, sys
from harness.forecast import Forecast
import numpy as np

class Spy:
    context_length = 5
    heavy_modules = ("spied",)

    def card(self):
        found = importlib.util.find_spec("datasets")
        early = sys.modules.get("spied")
        return {
            "unit": str(found and found.loader is None),
            "server": str(early and early.FOUND and early.FOUND.loader is None),
        }

    def forecast(self, contexts):
        return Forecast.of_point(np.ones((len(contexts), contexts.horizon)))
"""

EXPERIMENT = """\
datasets = ["GOLD"]
[plan]
horizon = 2
stride = 2
origins = 3
history = 50
validation = 20
[[arms]]
name = "a"
use = "spy_arms:Spy"
role = "legacy"
[[arms]]
name = "b"
use = "spy_arms:Spy"
role = "candidate"
[policy]
baseline = "a"
candidate = "b"
[[policy.criteria]]
metric = "mae"
"""


@pytest.fixture
def lookalike(tmp_path):
    """A folder like a checkout's root: `datasets/` with data, and an experiment with its arm."""
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "x.csv").write_text("date,x\n", encoding="utf-8")
    (tmp_path / "spy_arms.py").write_text(ARM, encoding="utf-8")
    (tmp_path / "spied.py").write_text(
        "import importlib.util\nFOUND = importlib.util.find_spec('datasets')\n", encoding="utf-8"
    )
    (tmp_path / "spy.toml").write_text(EXPERIMENT, encoding="utf-8")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("safe_path", [True, False])
def test_units_see_no_namespace(lookalike, safe_path):
    """Neither a unit's process nor the server it is forked from takes ./datasets for a package."""
    script = shutil.which("abharness", path=str(Path(sys.executable).parent))
    assert script is not None, "the console script is not installed"

    run(
        [script, "run", "spy.toml", "--only", "a"], cwd=lookalike, env=settings(safe_path=safe_path)
    )

    journal = Journal.open(lookalike / "runs")
    records = [body for _, body in journal.all("fit")]
    assert records
    for record in records:
        assert record["card"]["unit"] in ("None", "False")
        assert record["card"]["server"] in ("None", "False")


@pytest.mark.slow
@needs_checkout
@pytest.mark.parametrize("safe_path", [True, False])
@pytest.mark.parametrize("way", ["console script", "python -m harness", "pytest", "-m pytest"])
def test_no_way_of_starting_sees_a_namespace(tmp_path, way, safe_path):
    """Started from the checkout's root in any way, `datasets` is no namespace package."""
    python, scripts = sys.executable, Path(sys.executable).parent
    env = settings(safe_path=safe_path)
    if "pytest" in way:
        started = {"pytest": [str(scripts / "pytest")], "-m pytest": [python, "-m", "pytest"]}[way]
        one = "tests/test_layout.py::test_this_process_sees_no_namespace"
        said = run([*started, "-q", "-p", "no:cacheprovider", one], cwd=ROOT, env=env)
        assert "1 passed" in said
    else:
        (tmp_path / "sitecustomize.py").write_text(AT_EXIT, encoding="utf-8")
        started = {
            "console script": [str(scripts / "abharness")],
            "python -m harness": [python, "-m", "harness"],
        }[way]
        said = run([*started, "--version"], cwd=ROOT, env=env | {"PYTHONPATH": str(tmp_path)})
        assert spec_in(said) in (None, False)


@pytest.fixture(scope="session")
def installation(tmp_path_factory):
    """A folder as a wheel is installed into: the one under test, or a wheel built for this."""
    place = Path(harness.__file__).resolve().parent.parent
    if not (place / "pyproject.toml").is_file():
        return place
    pytest.importorskip("hatchling", reason="building a wheel needs hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


@pytest.fixture(scope="session")
def wheel_files(installation):
    """What the wheel holds, as its RECORD says."""
    record = next(installation.glob("abharness-*.dist-info/RECORD"))
    with record.open(encoding="utf-8", newline="") as stream:
        names = {row[0] for row in csv.reader(stream)}
    return {
        name
        for name in names
        if not name.startswith("..") and ".dist-info/" not in name and "__pycache__" not in name
    }


def test_wheel_has_the_data_under_a_name_of_its_own(wheel_files):
    """No `datasets/` at the top, which would overwrite the library's, and no other stranger."""
    assert {name.partition("/")[0] for name in wheel_files} == {*PACKAGES, "abharness-data"}
    assert {name for name in wheel_files if name.startswith("abharness-data/")} == {
        f"abharness-data/{name}.{suffix}"
        for name in ("DOW_JONES", "GOLD")
        for suffix in ("csv", "toml")
    }


def test_wheel_has_what_the_packages_need(wheel_files):
    """Templates, experiments and the checkpoint with its card are in the wheel."""
    for folder, ending in (
        ("reports/templates/", ".html"),
        ("reports/templates/", ".css"),
        ("harness/experiments/", "quick.toml"),
        ("harness/experiments/", "nightly.toml"),
        ("candidates/checkpoints/chronos-bolt-synthetic/", "config.json"),
        ("candidates/checkpoints/chronos-bolt-synthetic/", ".safetensors"),
        ("candidates/checkpoints/chronos-bolt-synthetic/", ".md"),
    ):
        found = [name for name in wheel_files if name.startswith(folder) and name.endswith(ending)]
        assert found, f"{folder}*{ending}"


@needs_git
def test_wheel_has_every_file_of_the_packages_but_pretraining(wheel_files):
    """Every tracked file of the four packages is in the wheel, but what trained the checkpoint."""
    listed = run(["git", "ls-files", *PACKAGES], cwd=ROOT).splitlines()
    recipe = {name for name in listed if name.startswith("candidates/pretraining/")}

    assert {name for name in listed if (ROOT / name).is_file()} - recipe <= wheel_files
    assert not [name for name in wheel_files if name.startswith("candidates/pretraining")]


CHECK_INSTALLED = """\
import pathlib, sys
sys.path.insert(0, sys.argv[1])
import harness, reports
from harness.data.dataset import builtin_folder, catalogue, load
from harness.experiments.experiment import builtin_names, read_experiment
from harness.running.fill import prepare
here = pathlib.Path(sys.argv[1]).resolve()
assert here in pathlib.Path(harness.__file__).resolve().parents, harness.__file__
assert builtin_folder() == here / "abharness-data", builtin_folder()
print(builtin_names(), list(catalogue()), len(load("GOLD")))
print(len(prepare(read_experiment("quick"), []).cells))
"""


@pytest.mark.slow
def test_wheel_finds_its_data_and_experiments(installation, tmp_path):
    """From an installed wheel, away from any checkout, the built-in material is found."""
    said = run([sys.executable, "-P", "-c", CHECK_INSTALLED, str(installation)], cwd=tmp_path)

    names, cells = said.splitlines()
    assert names == "['nightly', 'quick'] ['DOW_JONES', 'GOLD'] 9132"
    assert int(cells) >= 10
