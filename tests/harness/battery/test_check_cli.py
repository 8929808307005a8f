"""The verb `abharness check`."""

import json
import xml.etree.ElementTree as ElementTree

import pytest

from harness.battery import network_subject, read_checks
from harness.cli import run_cli
from harness.errors import ArmError
from harness.running.store import open_store

SMALL = ["--option", "config.d_model=16", "--option", "config.n_heads=2"]


def test_failure_is_a_result_unless_required(capsys):
    """A failing predicate ends in 0, and in 3 when it is required."""
    plain = run_cli(["check", "Autoformer", *SMALL, "--only", "T2"])
    printed = capsys.readouterr().out
    required = run_cli(["check", "Autoformer", *SMALL, "--only", "T2", "--require", "T2"])

    assert (plain, required) == (0, 3)
    assert "T2    FAIL" in printed


def test_repaired_network_meets_the_requirement(capsys):
    """The switch that repairs a defect turns its predicate to pass."""
    required = ["--only", "T2", "--require", "all"]
    code = run_cli(["check", "Autoformer", *SMALL, "--option", "repaired=true", *required])

    assert code == 0
    assert "T2    pass" in capsys.readouterr().out


def test_arm_of_an_experiment_is_checked_by_name(capsys):
    """An arm is found in the experiment and tried as an arm; results come as JSON."""
    code = run_cli(["check", "random-walk", "--only", "T34", "--format", "json"])

    found = json.loads(capsys.readouterr().out)
    assert code == 0
    assert "pass" in json.dumps(found)


def test_results_come_as_junit(capsys):
    """JUnit output is XML with a case for the predicate."""
    run_cli(["check", "Autoformer", *SMALL, "--only", "T9", "--format", "junit"])

    tree = ElementTree.fromstring(capsys.readouterr().out)
    assert len(list(tree.iter("testcase"))) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "Nobody"], "unknown 'Nobody'"),
        (["check", "Autoformer", "--only", "T99"], "T99"),
        (["check", "Autoformer", "--option", "repaired"], "expected KEY=VALUE"),
        (["check", "Autoformer", "--option", "colour=1"], "colour"),
        (["check", "nowhere:Class"], "nowhere"),
        (["check", "random-walk", "--option", "colour=1"], "colour"),
    ],
)
def test_wrong_input_is_one_line(capsys, arguments, words):
    """What cannot be tried ends in 2 with one line that names it."""
    code = run_cli(arguments)

    printed = capsys.readouterr()
    assert code == 2
    assert words in printed.err
    assert len(printed.err.splitlines()) == 1


@pytest.mark.parametrize("name", ["Arm", "Network"])
def test_missing_weights_are_one_line(tmp_path, monkeypatch, capsys, name):
    """An arm, or a network, whose weights are not there ends in 2, not in an error a question."""
    source = """\
from torch.nn import Module
from harness.errors import ArmError

class Arm:
    context_length = 1
    def load(self):
        raise ArmError("no weights at all")
    def forecast(self, contexts):
        return None

class Network(Module):
    def __init__(self, config):
        print("looking for them")
        raise ArmError("no weights at all")
    def forward(self, x):
        return x
"""
    (tmp_path / "weightless.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)

    code = run_cli(["check", f"weightless:{name}"])

    printed = capsys.readouterr()
    assert (code, printed.out) == (2, "")
    assert printed.err.splitlines() == ["abharness: no weights at all"]


@pytest.mark.parametrize("place", ["__init__", "forward"])
def test_a_network_that_quits_is_a_result(tmp_path, monkeypatch, capsys, place):
    """A network that calls `sys.exit` ends no command: its questions end in errors that say so."""
    module = f"quitting_{place.strip('_')}"
    source = "from torch.nn import Module\n\n\nclass Network(Module):\n"
    (tmp_path / f"{module}.py").write_text(
        f"{source}    def {place}(self, *_, **__):\n        raise SystemExit(0)\n"
        + ("" if place == "forward" else "    def forward(self, x):\n        return x\n")
        + ("    def __init__(self, _):\n        super().__init__()\n" if place == "forward" else "")
    )
    monkeypatch.syspath_prepend(tmp_path)

    code = run_cli(["check", f"{module}:Network", "--only", "T2", "--require", "all"])

    out = capsys.readouterr().out
    assert code == 3
    assert "asks to end the program: sys.exit(0)" in " ".join(out.split())


def test_a_factory_that_quits_is_one_line(tmp_path, monkeypatch):
    """A module of networks that ends the program when it is imported is wrong input."""
    (tmp_path / "quitting_factory.py").write_text("raise SystemExit(0)\n")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ArmError, match="asks to end the program"):
        network_subject("quitting_factory:build", "any")


def test_results_are_kept_in_the_store(tmp_path, capsys):
    """`--store` keeps the results under the side of the target, for later readers."""
    store = tmp_path / "runs"
    run_cli(["check", "Autoformer", *SMALL, "--only", "T2", "--store", str(store)])
    run_cli(["check", "random-walk", "--only", "T34", "--store", str(store)])

    network, arm = read_checks(open_store(store))
    assert (network.target, network.kind, network.role) == ("Autoformer", "network", "legacy")
    assert network.failing == ("T2",)
    assert network.options == {"config.d_model": 16, "config.n_heads": 2}
    assert (arm.target, arm.kind, arm.role) == ("random-walk", "arm", "reference")


def test_nothing_is_written_without_a_store(tmp_path, monkeypatch):
    """A trial leaves no files where nobody asked for them."""
    monkeypatch.chdir(tmp_path)
    run_cli(["check", "random-walk", "--only", "T34"])

    assert list(tmp_path.iterdir()) == []


def test_arm_is_tried_instead_of_the_network_of_its_name(capsys):
    """`--as arm` asks the arm of an experiment that a network shares its name with."""
    run_cli(["check", "Autoformer", "--as", "arm", "--only", "T3", "--format", "json"])

    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert (result["outcome"], "this is an arm" in result["reason"]) == ("not applicable", True)


def test_user_module_has_the_side_it_is_given(tmp_path, monkeypatch):
    """The side of a user's class is what `--role` says."""
    (tmp_path / "my_walk.py").write_text("from baselines.random_walk import RandomWalk\n")
    monkeypatch.syspath_prepend(tmp_path)
    store = tmp_path / "runs"
    target = ["check", "my_walk:RandomWalk", "--only", "T34", "--store", str(store)]
    run_cli([*target, "--role", "candidate"])

    (found,) = read_checks(open_store(store))
    assert found.role == "candidate"
