"""What the battery said, as a table, JSON, JUnit and Markdown."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree as Tree

import pytest
from torch import nn

from harness.checks import network_subject, run_battery
from reports.forms.check_results import table_lines, to_json, to_junit

GOLDEN = Path(__file__).parents[1] / "golden" / "check" / "schema-1.json"
CODES = ["T18", "T10", "T9", "T15"]  # pass, pass, fail, not applicable


class Line(nn.Module):
    """A linear map of the steps."""

    def __init__(self, config):
        super().__init__()
        self.map = nn.Linear(config["seq_len"], config["pred_len"])

    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec, mask=None):
        return self.map(x_enc.transpose(1, 2)).transpose(1, 2)


class Failing(Line):
    """Raises whatever it is asked."""

    def forward(self, *inputs):
        raise RuntimeError("told to\nfail")


def line(kind=Line):
    return network_subject(lambda _, config: kind(config), "line")


def test_table_names_outcome_and_reason():
    """The table shows every outcome, the reason of all that did not pass, and the counts."""
    lines = table_lines(run_battery(line(), CODES), title="line")

    assert lines[0] == "line"
    assert any(text.startswith("T9 ") and "FAIL" in text for text in lines)
    assert any("it has no uncertainty call" in text for text in lines)
    assert lines[-1].startswith("2 pass, 1 fail, 1 not applicable; ")


@pytest.mark.parametrize("width", [60, 100, 160])
def test_table_shows_value_threshold_and_time_of_every_row(width):
    """What passed has its measured value, its threshold and its duration, too; no line is wider."""
    results = run_battery(line())
    lines = table_lines(results, title="line", width=width)

    rows = {text.split()[0]: text for text in lines if text.startswith("T")}
    assert list(rows) == [result.code for result in results]
    assert lines[1].split() == ["code", "result", "value", "wanted", "time", "statement"]
    assert re.match(r"T18   pass    0 +<= 1e-06   \d\.\d\d s  the point", rows["T18"])
    assert re.match(r"T34   pass    \S+ +>= 1e-06   \d+\.\d\d s  the forecast", rows["T34"])
    assert max(map(len, lines)) <= max(width, 74)


def test_json_holds_every_result():
    """The JSON is valid, carries a schema, and holds measured values with their threshold."""
    found = json.loads(to_json(run_battery(line(), CODES), subject="line"))

    assert (found["schema"], found["subject"]) == (1, "line")
    by_code = {row["code"]: row for row in found["results"]}
    assert by_code["T9"]["outcome"] == "fail"
    assert by_code["T9"]["measured"]["value"] > by_code["T9"]["threshold"]
    assert by_code["T15"]["measured"] == {}


def test_junit_counts_failures_errors_and_skips():
    """JUnit has a case a predicate, and what did not pass is marked."""
    results = [*run_battery(line(), CODES), *run_battery(line(kind=Failing), ["T18"])]
    suite = Tree.fromstring(to_junit(results, subject="line"))[0]

    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}

    assert counts == {"tests": "5", "failures": "1", "errors": "1", "skipped": "1"}
    assert len(suite.findall(".//failure")) == 1


def test_junit_says_what_was_measured_where_it_passed():
    """Every case has its value and its threshold on its standard output."""
    suite = Tree.fromstring(to_junit(run_battery(line(), ["T18", "T34"]), subject="line"))[0]
    fixed, follows = (case.findtext("system-out") for case in suite)

    assert fixed.startswith("value 0, wanted at most 1e-06 of the output's scale: two eval passes")
    assert re.match(r"value [\d.e+]+, wanted at least 1e-06 of the output's scale: ", follows)
