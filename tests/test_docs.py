"""What the documents say is run, so that it stays true."""

import importlib
import re
import tomllib
from pathlib import Path

import pytest
from in_process import InThisProcess

from baselines.networks.config import Repairs
from harness.cli import run_cli
from harness.experiments.experiment import builtin_names, parse_experiment
from harness.running import fill
from harness.verbs import compare
from harness.verbs.common import VERBS

ROOT = Path(__file__).resolve().parent.parent
DOCS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


def blocks(path, language):
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.slow
def test_example_arm_runs_as_printed(tmp_path, monkeypatch, capsys):
    """The arm and the experiment of the guide, copied out of it, end in a verdict and a page."""
    guide = ROOT / "docs" / "writing-an-arm.md"
    (tmp_path / "my_arm.py").write_text(blocks(guide, "python")[0])
    (tmp_path / "my-experiment.toml").write_text(blocks(guide, "toml")[0])
    monkeypatch.chdir(tmp_path)

    code = run_cli(["compare", "my-experiment.toml"])

    printed = capsys.readouterr()
    assert code in (0, 3, 4), printed.err
    assert "FAILED" not in printed.err
    assert next(Path("runs").rglob("report.html")).stat().st_size > 10_000


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path):
    """Every relative link in a document names a file that is there."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))

    assert [link for link in links if not (path.parent / link).exists()] == []


def test_names_of_the_reading_guide_are_there():
    """Every dotted name of the guide to the code is a module of ours, or something in one."""
    guide = (ROOT / "docs" / "reading-the-code.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`([a-z_]+(?:\.\w+)+)`", guide))

    assert len(names) > 30
    assert [name for name in sorted(names) if not is_there(name)] == []


def is_there(name):
    """Whether a name below `harness` or `reports` can be imported."""
    parts = (name if name.startswith("reports.") else f"harness.{name}").split(".")
    inside = []
    while not (file := ROOT.joinpath(*parts)).is_dir() and not file.with_suffix(".py").is_file():
        inside.insert(0, parts.pop())
    found = importlib.import_module(".".join(parts))
    for part in inside:
        if part in getattr(found, "__dataclass_fields__", ()):
            return True
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True


def test_every_switch_of_the_legacy_networks_is_explained():
    """The table of switches is the one in the code, row by row."""
    text = (ROOT / "docs" / "legacy-models.md").read_text(encoding="utf-8")
    wanted = [
        f"| `{name}` | {field.metadata['dossier']} | {field.metadata['what']} |"
        for name, field in Repairs.__dataclass_fields__.items()
    ]

    assert [line for line in text.splitlines() if line.startswith("| `") and ".py" not in line] == (
        wanted
    )


def test_example_of_the_legacy_networks_runs():
    """The lines of Python in the guide run as they are printed."""
    (code,) = blocks(ROOT / "docs" / "legacy-models.md", "python")
    names = {}

    exec(code, names)  # our own document

    assert names["path"].shape == (2, 24, 1)
    assert names["report"]["uncertainty"].shape == (2, 24, 1)
    assert names["left"].missing != names["left"].unused


def test_ci_runs_the_readme_command():
    """CI's script runs the same steps as the README's test command."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    command = next(line for line in readme.splitlines() if line.strip().endswith("bin/tox"))

    for step in command.strip().split(" && "):
        assert step in script


def test_every_pin_satisfies_the_ranges():
    """Every dependency of the project is pinned in the constraints file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    }

    names = {re.split(r"[<>=\[; ]", text)[0].lower() for text in wanted}

    assert names <= pinned


def test_the_page_of_commands_names_every_verb():
    """A command line of every verb stands there."""
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")

    assert [verb for verb in VERBS if not re.search(rf"abharness {verb}\b", page)] == []


def test_readme_names_the_builtin_experiments():
    """The README tells of every built-in experiment."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert all(f"`{name}`" in readme for name in builtin_names())


def test_example_experiment_parses_and_fits_its_data():
    """The commented experiment of the reference page is a valid one, and its arms can be built."""
    text = blocks(ROOT / "docs" / "experiments.md", "toml")[0]

    experiment = parse_experiment(text, source="docs.toml", folder=None)
    grid = fill.prepare(experiment, [])

    assert len(grid.splits["DOW_JONES"].windows) == 48
    assert len(grid.splits["GOLD"].windows) == 60
    assert len(grid.cells) == 2 * (1 + 3 + 1)


@pytest.mark.slow
def test_the_lines_for_a_notebook_run_as_printed(tmp_path, monkeypatch, capsys):
    """The guide's Python, on a small experiment, gives a verdict, a page and the first screen.

    In this process: the experiment runs in processes of its own in the first test of this file.
    """
    guide = ROOT / "docs" / "writing-an-arm.md"
    (tmp_path / "my_arm.py").write_text(blocks(guide, "python")[0])
    (tmp_path / "my-experiment.toml").write_text(blocks(guide, "toml")[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fill, "LocalProcesses", InThisProcess)
    monkeypatch.setattr(compare, "try_blindness", lambda *_, **__: None)
    first, second = blocks(ROOT / "docs" / "python.md", "python")
    second = second.replace('candidate_arm="HFBayesianAutoformer-96", ', "")
    names = {}

    for lines in (first, second):
        exec(lines.replace('"quick"', '"my-experiment.toml"'), names)

    assert names["result"].page.is_file()
    assert names["result"].verdict == names["ours"].verdict
    assert names["result"]._repr_html_().startswith("<iframe")
    assert capsys.readouterr().out.startswith(names["ours"].verdict.outcome)
