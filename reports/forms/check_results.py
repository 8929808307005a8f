"""What the battery said of one subject: as a table for a terminal, as JSON, as JUnit XML.

`summary_table` sets many subjects beside each other, in Markdown.
"""

from __future__ import annotations

import dataclasses
import json
import math
import textwrap
from collections import Counter
from collections.abc import Sequence
from xml.etree import ElementTree as Tree  # only writes; nothing is parsed

from harness.checks.predicate import CheckOutcome, CheckRecord, CheckResult

SCHEMA = 1
WIDTH = 100
MARKS: dict[CheckOutcome, str] = {
    "pass": "pass",
    "fail": "FAIL",
    "not applicable": "n/a",
    "error": "ERROR",
}


def table_lines(
    results: Sequence[CheckResult], *, title: str = "", width: int = WIDTH
) -> list[str]:
    """Lines of a table no wider than `width`; what did not pass has the reason below it."""
    head = ("code", "result", "value", "wanted", "time", "statement")
    rows = [
        (
            each.code,
            MARKS[each.outcome],
            _value(each),
            f"{'<=' if each.limit == 'at most' else '>='} {each.threshold:.3g}",
            f"{each.seconds:.2f} s",
            each.title,
        )
        for each in results
    ]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head) - 1)]

    def lines_of(row: tuple[str, ...]) -> list[str]:
        cells = [cell.ljust(space) for cell, space in zip(row, widths, strict=False)]
        start = "  ".join([*cells, ""])
        return _wrapped(row[-1], width, start, " " * len(start))

    lines = [*([title] if title else []), *lines_of(head)]
    for row, result in zip(rows, results, strict=True):
        lines += lines_of(row)
        if result.outcome != "pass":
            wanted = f" (wanted {result.wanted})" if result.outcome == "fail" else ""
            lines += _wrapped(result.reason + wanted, width, " " * 6, " " * 8)
    counts = Counter(result.outcome for result in results)
    said = ", ".join(f"{counts[outcome]} {outcome}" for outcome in MARKS if counts[outcome])
    seconds = sum(result.seconds for result in results)
    return [*lines, f"{said or 'nothing was tried'}; {seconds:.1f} s"]


def _wrapped(text: str, width: int, start: str, after: str) -> list[str]:
    """A text in lines; where it is narrow the statement still has some room."""
    room = max(width, len(after) + 30)
    return textwrap.wrap(
        text,
        room,
        initial_indent=start,
        subsequent_indent=after,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _value(result: CheckResult) -> str:
    return f"{result.measured['value']:.3g}" if result.measured else "-"


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
    rows = []
    for result in results:
        measured = {k: v if math.isfinite(v) else None for k, v in result.measured.items()}
        row = dataclasses.asdict(result) | {"measured": measured, "wanted": result.wanted}
        rows.append(row)
    record = {"schema": SCHEMA, "subject": subject, "results": rows}
    return json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_junit(results: Sequence[CheckResult], *, subject: str = "subject") -> str:
    """One case a predicate: a failure, an error, or skipped where it does not apply.

    Each says on its standard output what was measured and what was wanted.
    """
    counts = Counter(result.outcome for result in results)
    suite = Tree.Element("testsuite", name=f"check {subject}", tests=str(len(results)))
    suite.set("failures", str(counts["fail"]))
    suite.set("errors", str(counts["error"]))
    suite.set("skipped", str(counts["not applicable"]))
    tags: dict[CheckOutcome, str] = {
        "fail": "failure",
        "error": "error",
        "not applicable": "skipped",
    }
    for result in results:
        case = Tree.SubElement(suite, "testcase", classname=f"check.{subject}")
        case.set("name", f"{result.code} {result.title}")
        case.set("time", f"{result.seconds:.3f}")
        said = _printable(f"{result.reason} (wanted {result.wanted})")
        if result.outcome in tags:
            Tree.SubElement(case, tags[result.outcome], message=said)
        measured = _printable(f"value {_value(result)}, wanted {result.wanted}: {result.reason}")
        Tree.SubElement(case, "system-out").text = measured
    suites = Tree.Element("testsuites")
    suites.append(suite)
    Tree.indent(suites)
    head = '<?xml version="1.0" encoding="utf-8"?>\n'
    return head + Tree.tostring(suites, encoding="unicode") + "\n"


def _printable(text: str) -> str:
    """Without the characters XML cannot hold."""
    return "".join(each if each.isprintable() else "?" for each in text)
