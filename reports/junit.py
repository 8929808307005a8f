"""The verdict as JUnit XML, for the test page of a CI system."""

from __future__ import annotations

from typing import Literal
from xml.etree import ElementTree as Tree  # only writes; nothing is parsed

from harness.findings import Finding, Outcome
from harness.verdict import Verdict
from reports import wording

HoldAs = Literal["skip", "pass", "fail"]
_BAD = (Outcome.REJECT, Outcome.INVALID)


def render_junit(verdict: Verdict, *, hold_as: HoldAs = "skip") -> str:
    """Write one case per finding and one for the verdict as a whole.

    Parameters
    ----------
    verdict
        REJECT and INVALID are failures. The case of the whole also fails when nothing was
        judged: an empty verdict is INVALID and never looks green.
    hold_as
        What an undecided case is: ``skip`` (skipped, with the reason as its message), ``pass``
        or ``fail``. The outcome stands among the case's properties in any way.
    """
    cases = [_whole(verdict, hold_as)]
    cases += [_case(finding, hold_as) for finding in verdict.findings]
    suite = Tree.Element("testsuite", name="abharness", tests=str(len(cases)), errors="0")
    suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    suite.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))
    suite.extend(cases)
    suites = Tree.Element("testsuites")
    suites.append(suite)
    Tree.indent(suites)
    head = '<?xml version="1.0" encoding="utf-8"?>\n'
    return head + Tree.tostring(suites, encoding="unicode") + "\n"


def _whole(verdict: Verdict, hold_as: HoldAs) -> Tree.Element:
    name = f"{verdict.candidate} may replace {verdict.legacy}"
    case = Tree.Element("testcase", classname="verdict", name=wording.printable(name))
    lines = [verdict.summary, *verdict.validity.problems, *verdict.reasons, verdict.next_action]
    _conclude(case, verdict.outcome, verdict.summary, lines, hold_as)
    return case


def _case(finding: Finding, hold_as: HoldAs) -> Tree.Element:
    name = f"{wording.metric_name(finding.metric)} ({finding.role}) on {finding.dataset}"
    case = Tree.Element(
        "testcase",
        classname=wording.printable(f"verdict.{finding.dataset}"),
        name=wording.printable(name),
    )
    _conclude(case, finding.outcome, finding.sentence, [finding.sentence, finding.id], hold_as)
    return case


def _conclude(
    case: Tree.Element, outcome: Outcome, message: str, lines: list[str], hold_as: HoldAs
) -> None:
    properties = Tree.SubElement(case, "properties")
    Tree.SubElement(properties, "property", name="outcome", value=outcome.value)
    said = wording.printable(message)
    if outcome in _BAD or (outcome is Outcome.HOLD and hold_as == "fail"):
        found = Tree.SubElement(case, "failure", type=outcome.value, message=said)
        found.text = "\n".join(wording.printable(line) for line in lines)
    elif outcome is Outcome.HOLD and hold_as == "skip":
        Tree.SubElement(case, "skipped", message=f"HOLD: {said}")
    elif outcome is Outcome.HOLD:
        Tree.SubElement(properties, "property", name="undecided", value=said)
