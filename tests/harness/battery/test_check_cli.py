"""The verb `abharness check`."""

import json
import xml.etree.ElementTree as ElementTree

import pytest

from harness.cli import run_cli

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
    ],
)
def test_wrong_input_is_one_line(capsys, arguments, words):
    """What cannot be tried ends in 2 with one line that names it."""
    code = run_cli(arguments)

    printed = capsys.readouterr()
    assert code == 2
    assert words in printed.err
    assert len(printed.err.splitlines()) == 1
