"""The results for a terminal, as JSON and as JUnit."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree as Tree  # only writes; nothing is parsed

from harness.battery.nouns import CheckResult, Outcome
from harness.battery.records import CheckRecord

SCHEMA = 1
MARKS: dict[Outcome, str] = {
    "pass": "pass",
    "fail": "FAIL",
    "not applicable": "n/a",
    "error": "ERROR",
}


def table_lines(results: Sequence[CheckResult], *, title: str = "") -> list[str]:
    """Lines of a table; what did not pass has the reason, and what was wanted, below it."""
    rows = [(r.code, MARKS[r.outcome], _value(r), r.title) for r in results]
    head = ("code", "result", "value", "statement")
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(3)]
    indent = " " * (sum(widths[:2]) + 4)

    def line(row: tuple[str, ...]) -> str:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        return "  ".join([*cells, row[3]])

    lines = [title, line(head)] if title else [line(head)]
    for row, result in zip(rows, results, strict=True):
        lines.append(line(row))
        if result.outcome != "pass":
            lines.append(indent + _below(result))
    return [*lines, _summary(results)]


def _below(result: CheckResult) -> str:
    wanted = f" (wanted {result.wanted})" if result.outcome == "fail" else ""
    return result.reason + wanted


def _value(result: CheckResult) -> str:
    return f"{result.measured['value']:.3g}" if result.measured else "-"


def _summary(results: Sequence[CheckResult]) -> str:
    counts = Counter(result.outcome for result in results)
    seconds = sum(result.seconds for result in results)
    said = ", ".join(f"{counts[outcome]} {outcome}" for outcome in MARKS if counts[outcome])
    return f"{said or 'nothing was tried'}; {seconds:.1f} s"


def summary_table(records: Sequence[CheckRecord]) -> str:
    """Stored trials as a Markdown table, one row a subject: which predicates fail, which are idle.

    Records of other code than today's are left out.
    """
    lines = ["| tried | with | fail | do not apply | pass |", "| --- | --- | --- | --- | --- |"]
    for record in records:
        if record.current:
            given = ", ".join(f"`{key}={value}`" for key, value in record.options.items())
            idle = " ".join(r.code for r in record.results if r.outcome == "not applicable")
            passed = sum(r.outcome == "pass" for r in record.results)
            failing = " ".join(record.failing)
            name = f"`{record.target}`" + (" (arm)" if record.kind == "arm" else "")
            lines.append(f"| {name} | {given} | {failing} | {idle} | {passed} |")
    return "\n".join(lines) + "\n"


def to_json(results: Sequence[CheckResult], *, subject: str = "") -> str:
    """The results as a JSON object; a number that is not finite is null."""
    rows = [dataclasses.asdict(result) for result in results]
    for row in rows:
        row["measured"] = {name: _finite(value) for name, value in row["measured"].items()}
    record = {"schema": SCHEMA, "subject": subject, "results": rows}
    return json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def to_junit(results: Sequence[CheckResult], *, subject: str = "subject") -> str:
    """One case a predicate: a failure, an error, or skipped where it does not apply."""
    counts = Counter(result.outcome for result in results)
    suite = Tree.Element("testsuite", name=f"check {subject}", tests=str(len(results)))
    suite.set("failures", str(counts["fail"]))
    suite.set("errors", str(counts["error"]))
    suite.set("skipped", str(counts["not applicable"]))
    tags: dict[Outcome, str] = {"fail": "failure", "error": "error", "not applicable": "skipped"}
    for result in results:
        case = Tree.SubElement(suite, "testcase", classname=f"check.{subject}")
        case.set("name", f"{result.code} {result.title}")
        case.set("time", f"{result.seconds:.3f}")
        if result.outcome in tags:
            said = _printable(f"{result.reason} (wanted {result.wanted})")
            Tree.SubElement(case, tags[result.outcome], message=said)
    suites = Tree.Element("testsuites")
    suites.append(suite)
    Tree.indent(suites)
    head = '<?xml version="1.0" encoding="utf-8"?>\n'
    return head + Tree.tostring(suites, encoding="unicode") + "\n"


def _printable(text: str) -> str:
    """Without the characters XML cannot hold."""
    return "".join(each if each.isprintable() else "?" for each in text)
