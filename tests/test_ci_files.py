"""The documentation's CI files are parsed, and their commands run on nights of growing data."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from harness import cli
from harness.data.importer import import_file
from harness.gate.nights import nights
from harness.running import fill
from harness.running.store_folder import open_store
from harness.verbs import compare
from harness.verbs import run as run_verb

ROOT = Path(__file__).resolve().parent.parent
CI = ROOT / "docs" / "ci"
FILES = sorted(CI.glob("*.yml"))
NIGHTLY = [path for path in FILES if path.stem.endswith("nightly")]
BEGUN = 800
"""Sessions of the first night."""
ARMS = """
from arms_for_tests import Flat as Legacy
from arms_for_tests import Learner as Candidate
"""
UPDATE = """
from pathlib import Path
rows = Path("../all.csv").read_text().splitlines(keepends=True)
print("".join(rows[: 1 + int(Path("../sessions").read_text())]))
"""


def _conftest():
    """The executor of the harness's own tests."""
    spec = importlib.util.spec_from_file_location(
        "harness_conftest", ROOT / "tests" / "harness" / "conftest.py"
    )
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def scripts(path):
    """Every script of a file with whether it runs whatever came before, in order."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "jobs" in content:
        steps = [step for job in content["jobs"].values() for step in job["steps"]]
        return [(step["run"], "if" in step) for step in steps if "run" in step]
    (job,) = (job for job in content.values() if isinstance(job, dict))
    before = [(each, False) for each in (*job.get("before_script", ()), *job["script"])]
    return before + [(each, True) for each in job.get("after_script", ())]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository that is no clone of abharness: an experiment, arms, data and a remote."""
    monkeypatch.setattr(fill, "LocalProcesses", _conftest().InThisProcess)
    for verb in (compare, run_verb):
        monkeypatch.setattr(verb, "try_blindness", lambda *_, **__: None)  # processes of its own

    def written_page(_, __, judgement, ___):
        page = judgement.folder / "report.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text("drawn elsewhere", encoding="utf-8")
        return page

    monkeypatch.setattr(compare, "written_page", written_page)
    monkeypatch.setattr("sys.excepthook", None)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    monkeypatch.setenv("ABHARNESS_STORE", "runs")
    monkeypatch.setenv("ABHARNESS_DATA_DIR", "data")
    work = tmp_path / "work"
    shutil.copytree(ROOT / "tests" / "harness", work, ignore=lambda _, names: [
        name for name in names if name != "arms_for_tests.py"])  # fmt: skip
    monkeypatch.chdir(work)
    Path("my_arms.py").write_text(ARMS, encoding="utf-8")
    text = (CI / "my-experiment.toml").read_text(encoding="utf-8")
    smaller = (
        ("origins = 625", "origins = 160"),
        ("history = 500", "history = 100"),
        ("max_origins = 137", "max_origins = 36"),
        ("margin = 0.05", "margin = 0.55"),  # in the middle of its interval: HOLD
        ('metric = "crps"', 'metric = "rmse"'),
    )
    for old, new in smaller:
        assert old in text
        text = text.replace(old, new)
    Path("small.toml").write_text(text, encoding="utf-8")
    lines = (ROOT / "datasets" / "GOLD.csv").read_text(encoding="utf-8").splitlines()
    columns, raw = lines[0].split(","), "\n".join(lines[: 1 + BEGUN]) + "\n"
    told = {"dataset_id": "MINE", "target": columns[1], "date": columns[0], "folder": Path("data")}
    import_file(Path("in.csv"), raw=raw.encode(), **told)
    Path("all.csv").write_text("\n".join(lines[: 1 + BEGUN + 50]) + "\n", encoding="utf-8")
    Path("data/prices.py").write_text(UPDATE, encoding="utf-8")
    with Path("data/MINE.toml").open("a", encoding="utf-8") as manifest:
        manifest.write(f'\n[update]\ncommand = ["{sys.executable}", "prices.py"]\n')
    shutil.copytree("data", tmp_path / "data")
    for line in ("init -q --bare ../origin", "init -q", "remote add origin ../origin"):
        subprocess.run(["git", *line.split()], check=True)
    return tmp_path


def job(path, capsys):
    """Run a file's scripts as its system does; gives the codes of its `abharness` lines."""
    codes, failed = {}, False
    for script, always in scripts(path):
        if failed and not always:
            continue
        words = shlex.split(script.replace("$EXPERIMENT", "small.toml"))
        if words[0] == "abharness":
            codes[words[1]] = cli.run_cli(words[1:])
            assert "abharness: " not in capsys.readouterr().err
            failed = failed or codes[words[1]] != 0
        elif words[0] != "pip" and "set-url" not in words:
            done = subprocess.run(["bash", "-eo", "pipefail", "-c", script], check=False)
            assert done.returncode == 0, script
    return codes


@pytest.mark.slow
@pytest.mark.parametrize("path", NIGHTLY, ids=lambda path: path.stem)
def test_four_nights_run_as_written(path, repository, capsys):
    """Each night adds a session; a cache evicted before the fourth loses no record and no look."""
    codes, heads = [], []
    for night in range(4):
        (repository / "work" / "sessions").write_text(str(BEGUN + 2 * night))
        shutil.rmtree("data")
        shutil.copytree(repository / "data", "data")  # a fresh checkout
        Path("runs/records.sqlite").unlink(missing_ok=True)  # the records come from their branch
        if night == 3:
            shutil.rmtree("runs")
        codes.append(job(path, capsys))
        heads.append(open_store(Path("runs"), create=False).journal.head)
        assert Path("verdict/nights.html").stat().st_size > 0
        assert Path("verdict/summary.md").stat().st_size > 0

    found = nights(open_store(Path("runs"), create=False), "small")
    assert codes == [{"nightly": 0, "replay": 0}] * 4
    assert len(found) == 4
    assert {each.outcome for each in found} == {"HOLD"}
    assert [each.marks for each in found] == [()] * 4
    kinds = [each.news[0].code for each in found]
    assert kinds == ["first_verdict", "still", "nothing_new", "still"]
    log = subprocess.run(
        ["git", "--git-dir", "../origin", "log", "--oneline", "abharness-records"],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ,
    ).stdout
    assert log.count("night") >= 1


@pytest.mark.slow
@pytest.mark.parametrize("path", [p for p in FILES if p not in NIGHTLY], ids=lambda p: p.stem)
def test_a_gate_runs_as_written(path, repository, capsys):
    """HOLD does not block: GitHub's gate ends with 0, GitLab's with 4, which it allows."""
    (repository / "work" / "sessions").write_text(str(BEGUN))

    codes = job(path, capsys)

    assert codes == {"power": 0, "run": 0, "gate": 0 if "github" in path.stem else 4}
    assert Path("verdict/summary.md").stat().st_size > 0


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_exit_code_is_lost(path):
    """No line swallows the decision, pipes fail with their first part, records are kept anyway."""
    text = path.read_text(encoding="utf-8")

    assert not re.search(r"\|\| *true|continue-on-error|set \+e", text)
    assert re.search(r"shell: bash|set -o pipefail", text)
    assert re.search(r"path: runs|paths: \[runs", text)
    assert re.search(r"if: always\(\)|when: always", text)
    assert "--records verdict" in text


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit(path):
    """A tag can be moved: each action is named by a commit, its version beside it."""
    used = re.findall(r"uses: (\S+)(.*)", path.read_text(encoding="utf-8"))

    for action, beside in used:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action)
        assert re.match(r" # v\d+\.\d+\.\d+", beside)


def test_every_file_is_explained():
    """The page of the CI files links each of them, and there is a pair for each system."""
    page = (CI / "README.md").read_text(encoding="utf-8")

    assert {path.stem for path in FILES} == {
        f"{system}-{when}"
        for system in ("github", "gitlab")
        for when in ("nightly", "pull-request")
    }
    assert all(f"({path.name})" in page for path in (*FILES, CI / "my-experiment.toml"))


def test_known_ways_to_lose_an_exit_code_are_named():
    """`|| true`, a pipe into tee, make and Jenkins, with what to write instead."""
    text = (CI / "README.md").read_text(encoding="utf-8")

    for words in ("|| true", "| tee log", "set -o pipefail", "`make` turns every failure into 2",
                  "Jenkins runs `sh`", "returnStatus"):  # fmt: skip
        assert words in text
