"""The verdict as JUnit XML, for the test page of a CI system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal
from xml.etree import ElementTree as Tree  # only writes; nothing is parsed

from harness.judging.conclusion import SelfTestPart
from harness.judging.fact import Fact
from harness.judging.findings import Finding, Outcome
from harness.judging.verdict import Verdict
from reports.page_input import HEAD, UnitKey
from reports.words import numbers, verdicts
from reports.words.facts import first_line, say
from reports.words.next_step import next_action
from reports.words.sentences import sentence_of
from reports.words.verdicts import headline

HoldAs = Literal["skip", "pass", "fail"]
_BAD = (Outcome.REJECT, Outcome.INVALID)


def render_junit(
    verdict: Verdict,
    *,
    hold_as: HoldAs = "skip",
    head: str = "",
    news: Sequence[Fact] = (),
    logs: Mapping[UnitKey, str] = MappingProxyType({}),
) -> str:
    """Write one case per finding, one for the verdict as a whole, one per part of the self-test.

    Parameters
    ----------
    verdict
        REJECT and INVALID are failures. The case of the whole also fails when nothing was
        judged: an empty verdict is INVALID and never looks green.
    hold_as
        What an undecided case is: ``skip`` (skipped, with the reason as its message), ``pass``
        or ``fail``. The outcome stands among the case's properties in any way.
    head
        Of the store's records when the verdict was passed: a property of the suite.
    news
        What is new since the verdict before, and of the data: the first property of the suite.
    logs
        Where the log of each unit with failed windows lies.
    """
    made = _Cases(verdict=verdict, hold_as=hold_as, logs=logs)
    cases = [made.whole(), *map(made.finding, verdict.findings)]
    cases += [made.part(part) for part in verdict.self_test.parts] if verdict.self_test else []
    suite = Tree.Element("testsuite", name="abharness", tests=str(len(cases)), errors="0")
    suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    suite.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))
    told = {"news": numbers.printable(first_line(news)), HEAD: head}
    if any(told.values()):
        properties = Tree.SubElement(suite, "properties")
        for name, value in told.items():
            if value:
                Tree.SubElement(properties, "property", name=name, value=value)
    suite.extend(cases)
    suites = Tree.Element("testsuites")
    suites.append(suite)
    Tree.indent(suites)
    head = '<?xml version="1.0" encoding="utf-8"?>\n'
    return head + Tree.tostring(suites, encoding="unicode") + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cases:
    """The cases of a verdict."""

    verdict: Verdict
    hold_as: HoldAs
    logs: Mapping[UnitKey, str]

    def whole(self) -> Tree.Element:
        """The verdict as a whole."""
        verdict = self.verdict
        name = f"{verdict.candidate} may replace {verdict.legacy}"
        case = Tree.Element("testcase", classname="verdict", name=numbers.printable(name))
        answer = verdicts.summary(verdict)
        led_to = [*verdicts.problems(verdict), *verdicts.reasons(verdict)]
        failed = verdicts.failures(verdict, self.logs)
        lines = [headline(verdict), answer, *led_to, *failed, next_action(verdict.next_action)]
        self.conclude(case, verdict.outcome, answer, list(dict.fromkeys(lines)))
        properties = case.find("properties")
        assert properties is not None
        told = [("caution", say(each)) for each in verdict.safeguards.first]
        for kind, said in [*told, *(("failed windows", each) for each in failed)]:
            # nothing else is written of a PROMOTE, and no more than a message of a HOLD
            Tree.SubElement(properties, "property", name=kind, value=numbers.printable(said))
        return case

    def finding(self, finding: Finding) -> Tree.Element:
        """One finding."""
        part = f", {finding.part}" if finding.part else ""
        name = f"{numbers.metric_name(finding.metric)} ({finding.role}) on {finding.dataset}{part}"
        case = Tree.Element(
            "testcase",
            classname=numbers.printable(f"verdict.{finding.dataset}"),
            name=numbers.printable(name),
        )
        said = sentence_of(finding)
        if finding.waived:  # skipped, never green: its outcome and sentence stay to be seen
            properties = Tree.SubElement(case, "properties")
            Tree.SubElement(properties, "property", name="outcome", value=finding.outcome.value)
            waived = numbers.printable(f"waived {finding.outcome}: {said}")
            Tree.SubElement(case, "skipped", message=waived)
        else:
            self.conclude(case, finding.outcome, said, [said, finding.id])
        return case

    def part(self, part: SelfTestPart) -> Tree.Element:
        """One part of the gate's self-test: failed, or skipped where it was not run."""
        name = numbers.printable(f"{part.code}: {verdicts.self_test_title(part)}")
        case = Tree.Element("testcase", classname="verdict.self-test", name=name)
        said = numbers.printable(say(part.found))
        if part.state == "failed":
            Tree.SubElement(case, "failure", type=Outcome.INVALID.value, message=said)
        elif part.state == "not run":
            Tree.SubElement(case, "skipped", message=said)
        return case

    def conclude(
        self, case: Tree.Element, outcome: Outcome, message: str, lines: list[str]
    ) -> None:
        """Say in a case how it came out."""
        properties = Tree.SubElement(case, "properties")
        Tree.SubElement(properties, "property", name="outcome", value=outcome.value)
        said = numbers.printable(message)
        if outcome in _BAD or (outcome is Outcome.HOLD and self.hold_as == "fail"):
            found = Tree.SubElement(case, "failure", type=outcome.value, message=said)
            found.text = "\n".join(numbers.printable(line) for line in lines)
        elif outcome is Outcome.HOLD and self.hold_as == "skip":
            Tree.SubElement(case, "skipped", message=f"HOLD: {said}")
        elif outcome is Outcome.HOLD:
            Tree.SubElement(properties, "property", name="undecided", value=said)
