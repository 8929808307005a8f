"""The documentation's CI files are parsed, and their commands run on a small experiment."""

import importlib.util
import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from harness import cli
from harness.running import fill
from harness.verbs import compare
from harness.verbs import run as run_verb

ROOT = Path(__file__).resolve().parent.parent
WALK = """[[arms]]
name = "walk"
use = "baselines.random_walk:RandomWalk"
role = "reference"
"""
FILES = sorted((ROOT / "docs" / "ci").glob("*.yml"))


def _conftest():
    """The small experiment of the harness's own tests."""
    spec = importlib.util.spec_from_file_location(
        "harness_conftest", ROOT / "tests" / "harness" / "conftest.py"
    )
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def scripts(path):
    """Every line of shell in a file, in order."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "jobs" in content:
        steps = [step for job in content["jobs"].values() for step in job["steps"]]
        return [line for step in steps for line in step.get("run", "").splitlines() if line]
    jobs = [job for job in content.values() if isinstance(job, dict)]
    return [line for job in jobs for line in (*job["script"], *job.get("after_script", ()))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_commands_run_as_written(path, tmp_path, monkeypatch, capsys):
    """Each `abharness` line ends with a code of its verb, and every file named later is there."""
    small = _conftest()
    shutil.copy(ROOT / "tests" / "harness" / "arms_for_tests.py", tmp_path)
    text = small.TINY.replace("[policy]\n", f"{WALK}\n[policy]\n")
    (tmp_path / "small.toml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ABHARNESS_STORE", "runs")
    monkeypatch.setattr(fill, "LocalProcesses", small.InThisProcess)
    for verb in (compare, run_verb):
        monkeypatch.setattr(verb, "try_blindness", lambda *_, **__: None)  # processes of its own
    monkeypatch.setattr("sys.excepthook", None)
    lines = scripts(path)

    codes = []
    for line in lines:
        words = shlex.split(line.replace("$EXPERIMENT", "small.toml"))
        if words[0] == "abharness":
            codes.append(cli.run_cli(words[1:]))
            printed = capsys.readouterr()
            assert "abharness:" not in printed.err, printed.err
        elif words[0] == "cat":
            assert Path(words[1]).stat().st_size > 0
        else:
            assert words[:2] == ["pip", "install"]

    assert len(codes) >= 2
    assert set(codes) == {0}  # the small experiment ends in PROMOTE


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_exit_code_is_lost(path):
    """No line swallows the decision, the store is cached, and records are kept whatever it is."""
    text = path.read_text(encoding="utf-8")

    assert not re.search(r"\|\| *true|continue-on-error|set \+e|;\s*exit 0", text)
    assert re.search(r"path: runs|paths: \[runs", text)
    assert re.search(r"if: always\(\)|when: always", text)
    assert "--records verdict" in text


def test_every_file_is_explained():
    """The page of the CI files links each of them, and there is a pair for each system."""
    page = (ROOT / "docs" / "ci" / "README.md").read_text(encoding="utf-8")

    assert {path.stem for path in FILES} == {
        f"{system}-{when}"
        for system in ("github", "gitlab")
        for when in ("nightly", "pull-request")
    }
    assert all(f"({path.name})" in page for path in FILES)


def test_known_ways_to_lose_an_exit_code_are_named():
    """Beside `|| true`, the guide names a pipe into tee and make, with what to write instead."""
    text = (ROOT / "docs" / "ci" / "README.md").read_text(encoding="utf-8")

    for words in ("|| true", "| tee log", "set -o pipefail", "`make` turns every failure into 2"):
        assert words in text
