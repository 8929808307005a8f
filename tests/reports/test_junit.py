"""JUnit: one case per finding, never green by accident."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from xml.etree import ElementTree as Tree

import pytest

from harness.judging.fact import FactCode, fact
from harness.judging.findings import Outcome
from reports.forms.junit import HoldAs, render_junit
from reports.page_input import PageInput
from reports.words import verdicts

Make = Callable[..., PageInput]


def suite(text: str) -> Tree.Element:
    """The only suite of a report."""
    found = Tree.fromstring(text).find("testsuite")
    assert found is not None
    return found


def test_each_finding_is_a_case(make_page: Make) -> None:
    """There is a case per finding and one for the verdict, and the counts agree."""
    verdict = make_page(outcome=Outcome.REJECT).verdict

    found = suite(render_junit(verdict))

    assert len(found.findall("testcase")) == 1 + len(verdict.findings) == int(found.attrib["tests"])
    assert len(found.findall("testcase/failure")) == 5 == int(found.attrib["failures"])


@pytest.mark.parametrize("outcome", [Outcome.REJECT, Outcome.INVALID])
def test_rejected_and_invalid_are_failures(make_page: Make, outcome: Outcome) -> None:
    """The case of the whole fails with the outcome as its type and the summary as its message."""
    verdict = make_page(outcome=outcome).verdict

    failure = suite(render_junit(verdict)).find("testcase/failure")

    assert failure is not None
    assert outcome.value == failure.attrib["type"]
    assert verdicts.summary(verdict) == failure.attrib["message"]


@pytest.mark.parametrize(
    ("hold_as", "failures", "skipped"), [("skip", 0, 5), ("pass", 0, 0), ("fail", 5, 0)]
)
def test_undecided_is_what_the_caller_says(
    make_page: Make, hold_as: HoldAs, failures: int, skipped: int
) -> None:
    """HOLD is skipped, passed or failed on demand, and always told by a property."""
    found = suite(render_junit(make_page(outcome=Outcome.HOLD).verdict, hold_as=hold_as))
    told = [each.attrib["value"] for each in found.iterfind("testcase/properties/property")]

    assert failures == int(found.attrib["failures"])
    assert skipped == int(found.attrib["skipped"])
    assert told.count("HOLD") == 5


def test_a_promotion_is_green(make_page: Make) -> None:
    """A verdict whose findings all hold has neither failures nor skipped cases."""
    found = suite(render_junit(make_page(outcome=Outcome.PROMOTE).verdict))

    assert (found.attrib["failures"], found.attrib["skipped"]) == ("0", "0")


def test_nothing_judged_is_a_failure(make_page: Make) -> None:
    """A verdict without findings still fails: not run never looks like passed."""
    found = suite(render_junit(make_page(outcome=Outcome.INVALID, findings=[]).verdict))

    assert "1" == found.attrib["failures"] == found.attrib["tests"]


def test_text_that_xml_forbids_is_replaced(make_page: Make) -> None:
    """Markup and control characters from outside leave the file readable."""
    verdict = make_page(outcome=Outcome.REJECT).verdict
    answer = fact(FactCode.NO_GAIN_YET, candidate='<b>&\x00\x1b[31m"', legacy="a\x08<b>")
    evil = dataclasses.replace(verdict, summary=answer, candidate="a\x08<b>")

    message = suite(render_junit(evil)).find("testcase/failure")

    assert message is not None
    assert message.attrib["message"].startswith(r'<b>&\x00\x1b[31m"')
