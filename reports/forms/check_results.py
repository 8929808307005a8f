"""What the battery said of one subject: as a table for a terminal, as JSON, as JUnit XML."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Sequence
from xml.etree import ElementTree as Tree  # only writes; nothing is parsed

from harness.checks.predicate import CheckOutcome, CheckResult
from reports.words.numbers import wrapped

SCHEMA = 1
WIDTH = 100
_ROOM = 30
"""Characters that a statement has at least, however narrow it is."""
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
        room = max(width, len(start) + _ROOM)
        return wrapped(row[-1], room, start, " " * len(start))

    lines = [*([title] if title else []), *lines_of(head)]
    for row, result in zip(rows, results, strict=True):
        lines += lines_of(row)
        if result.outcome != "pass":
            wanted = f" (wanted {result.wanted})" if result.outcome == "fail" else ""
            room = max(width, 8 + _ROOM)
            lines += wrapped(result.reason + wanted, room, " " * 6, " " * 8)
    counts = Counter(result.outcome for result in results)
    said = ", ".join(f"{counts[outcome]} {outcome}" for outcome in MARKS if counts[outcome])
    seconds = sum(result.seconds for result in results)
    return [*lines, f"{said or 'nothing was tried'}; {seconds:.1f} s"]


def _value(result: CheckResult) -> str:
    return f"{result.measured['value']:.3g}" if result.measured else "-"


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
