"""The public functions: a notebook does what the command does, with the same words and codes."""

import importlib
import inspect
import json
import subprocess
import sys
from types import ModuleType

import pytest

import harness
from harness.errors import ConfigError
from harness.verbs.common import VERBS

pytestmark = pytest.mark.usefixtures("known_charts")  # its pages show one market

PUBLIC = ["check", "compare", "gate", "report", "run"]


@pytest.mark.slow
@pytest.mark.smoke
def test_a_notebook_compares_as_the_command_does(tiny, call, in_process):
    """`compare` returns the verdict, the code and the text of the command.

    The command repeats its own options in the commands that it prints.
    """
    found = harness.compare("tiny.toml", store="runs", seeds=[1, 2])
    code, out, _ = call("compare", "tiny.toml", "--store", "runs", "--seeds", "1,2")

    assert out.count(" --seeds 1,2 --store runs`") == 1
    told = out.replace(" --seeds 1,2 --store runs`", "`").replace(
        "rollout.toml --store runs`", "rollout.toml`"
    )
    assert told == f"{found.text}\n"
    assert (code, found.exit_code) == (0, 0)
    assert found.verdict.outcome == "PROMOTE"
    assert found.units.computed == 5
    crps = found.metrics().query("metric == 'crps'")
    assert crps["arm"].tolist() == ["old", "new", "draws"]
    assert (crps["value"] > 0).all()
    assert found.page.is_file()
    assert json.loads((found.folder / "verdict.json").read_text())["outcome"] == "PROMOTE"


@pytest.mark.slow
def test_run_gate_and_report_are_the_halves_of_it(tiny, call, in_process, tmp_path):
    """`run` fills, `gate` judges what is there, `report` draws it: each with the command's text."""
    ran = harness.run("tiny.toml", only=["old"])
    judged = harness.gate("tiny.toml", hold_as="pass")
    shown = harness.report("tiny.toml", form="md")

    assert (ran.units.total, ran.verdict) == (1, None)
    assert (judged.verdict.outcome, judged.exit_code) == ("INVALID", 5)
    assert str(judged) == judged.text
    assert call("gate", "tiny.toml", "--hold-as", "pass")[1] == f"{judged.text}\n"
    assert call("report", "tiny.toml", "--format", "md")[1] == shown.text
    assert shown.page is None
    assert harness.report("tiny.toml", nights=True).page.name == "nights.html"


def test_check_tries_an_arm(tiny):
    """`check` returns the table, and the code of what is required."""
    found = harness.check("old", experiment="tiny.toml", only=["T10"], require=["T1"])

    assert "T10" in found.text
    assert found.exit_code == 3


@pytest.mark.slow
def test_the_room_called_gate_is_the_verb_as_well(ran):
    """`harness.gate` judges also where its room, which has the same name, was imported."""
    importlib.import_module("harness.gate.judge")

    assert isinstance(harness.gate, ModuleType)
    assert harness.gate("tiny.toml").verdict.outcome == "PROMOTE"


@pytest.mark.slow
@pytest.mark.smoke
def test_a_notebook_shows_the_first_screen(tiny, in_process):
    """The verdict is shown in a frame without scripts; names of arms are escaped."""
    tiny(('"new"', '"n<i>ew"'))
    found = harness.compare("tiny.toml")
    shown = found._repr_html_()

    assert shown.startswith("<iframe sandbox ")
    assert "n&amp;lt;i&amp;gt;ew" in shown
    assert "<i>" not in shown
    assert "INVALID" in shown or "PROMOTE" in shown


def test_a_notebook_shows_the_text_where_nothing_was_judged(tiny, in_process):
    """Without a verdict the text is shown, escaped."""
    shown = harness.run("tiny.toml", only=["old"])._repr_html_()

    assert shown.startswith("<pre>1 units of 5 in runs, 1 computed now")


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong",
    [
        {"workers": -1},
        {"shard": (3, 2)},
        {"hold_as": "maybe"},
        {"date": "tomorrow"},
        {"only": ["nothing"]},
        {"baseline_arm": "nobody"},
    ],
    ids=str,
)
def test_wrong_arguments_are_refused(tiny, in_process, wrong):
    """What the command line cannot even say is refused as what it can say wrongly."""
    with pytest.raises(ConfigError, match=next(iter(wrong)).partition("_")[0]):
        harness.compare("tiny.toml", **wrong)


@pytest.mark.parametrize(
    ("function", "wrong"),
    [
        (harness.compare, {"hold_as": "maybe"}),
        (harness.report, {"form": "pdf"}),
        (harness.check, {"role": "new"}),
    ],
)
def test_a_value_that_is_no_choice_is_refused_at_once(tmp_path, monkeypatch, function, wrong):
    """From Python as from the command line, what is not listed ends the call before any work."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigError, match=rf"^{next(iter(wrong))} = .*: expected one of '"):
        function("quick", **wrong)

    assert list(tmp_path.iterdir()) == []


LATE = """\
import sys
import harness.arm
early = [name for name in sys.modules if name.startswith(("harness.verbs", "typer", "reports"))]
assert not early, early
import harness
assert set(harness.__all__) == set(harness._PUBLIC)
assert set(harness.__all__) <= set(dir(harness))
for name in harness.__all__:
    assert getattr(harness, name).__name__ == name
try:
    harness.judged
except AttributeError as problem:
    print(problem)
"""


@pytest.mark.smoke
def test_public_names_are_looked_up_late():
    """Importing a noun loads no verb; every public name is there and no other."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", LATE], capture_output=True, text=True, check=True
    )

    assert done.stdout == "module 'harness' has no attribute 'judged'\n"


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_function_takes_what_its_verb_takes(name):
    """Every option of a verb is an argument of the public function, and the other way round."""
    renamed = {"baseline": "baseline_arm", "candidate": "candidate_arm", "option": "options"}
    verb = [renamed.get(each, each) for each in inspect.signature(VERBS[name][0]).parameters]
    public = list(inspect.signature(harness.__getattr__(name)).parameters)

    assert sorted(public) == sorted(verb)
