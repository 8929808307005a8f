"""Results of a battery in the store, and back.

`checks/DIGEST.json`: one record per subject and options, replaced when it is tried again. Results
of predicates that were not tried again stay, as long as subject and battery are the same code.

Schema numbers: 1, the first; 2, with the files an arm names as its own. A record of schema 1 says
nothing of them.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Tree  # only writes; nothing is parsed

from harness.arm import Arm, Role
from harness.checks.arm_subject import ArmSubject
from harness.checks.predicate import CheckOutcome, CheckResult, Kind, attempt, number_of
from harness.checks.subject import Subject
from harness.errors import StoreError
from harness.running.identity import (
    library_versions,
    weights_digest,
)
from harness.running.lease import sole_writer
from harness.running.sources import CodeReader, digest
from harness.running.store import Store, read_record, write_record

SCHEMA = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRecord:
    """What a battery said about one subject.

    Attributes
    ----------
    target
        As on the command line: a name or ``module:Class``.
    kind
        Whether it was tried as a network or as an arm.
    role
        The side it is on; None where nobody said.
    use
        Where its code is.
    options
        It was built with.
    key
        Digest of all of these: the name of the record.
    source
        Digest of the subject's package, the battery and the libraries when it was tried.
    weights
        Digest of the files an arm named as its own; '' for a network, or where nobody looked.
    current
        They are the same today. Results of other code say nothing about this one.
    results
        One per predicate tried, by number.
    """

    target: str
    kind: Kind
    role: Role | None
    use: str
    options: Mapping[str, Any]
    key: str
    source: str
    weights: str = ""
    current: bool
    results: tuple[CheckResult, ...]

    def result(self, code: str) -> CheckResult | None:
        """What one predicate said, if it was tried."""
        return next((each for each in self.results if each.code == code), None)

    @property
    def failing(self) -> tuple[str, ...]:
        """Codes that failed or could not be answered."""
        return tuple(r.code for r in self.results if r.outcome in ("fail", "error"))


def write_check(
    store: Store,
    subject: Subject | ArmSubject,
    results: Sequence[CheckResult],
    *,
    target: str,
    role: Role | None,
    options: Mapping[str, Any],
) -> CheckRecord:
    """Store the results of a subject, and keep older ones of predicates that were left out."""
    kind: Kind = "arm" if isinstance(subject, ArmSubject) else "network"
    key = digest([target, kind, subject.use, dict(options)])
    record = CheckRecord(
        target=target,
        kind=kind,
        role=role,
        use=subject.use,
        options=dict(options),
        key=key,
        source=_source(subject.use),
        weights=_weights(subject),
        current=True,
        results=tuple(results),
    )
    file = _file(store, key)
    with sole_writer(file.parent):
        merged = _merged(file, record, results)
        record = dataclasses.replace(record, results=merged)
        write_record(file, {"schema": SCHEMA, **_plain(record)})
    return record


def _weights(subject: Subject | ArmSubject) -> str:
    if not isinstance(subject, ArmSubject):
        return ""
    arm, _ = attempt(lambda: subject.construct(copy.deepcopy(dict(subject.options))))
    return "" if arm is None else files_digest(arm)


def files_digest(arm: Arm) -> str:
    """Digest of the files an arm names as its own."""
    return digest(weights_digest(arm))


def _merged(
    file: Path, record: CheckRecord, results: Sequence[CheckResult]
) -> tuple[CheckResult, ...]:
    """The results by number, with what is known of other predicates of the same code and files."""
    known = _read(file) if file.is_file() else None
    same = known is not None and (known.source, known.weights) == (record.source, record.weights)
    kept = known.results if known is not None and same else ()
    merged = {each.code: each for each in (*kept, *results)}
    return tuple(sorted(merged.values(), key=lambda each: number_of(each.code)))


def read_checks(store: Store) -> list[CheckRecord]:
    """Read every stored check, by target, kind and key.

    Raises
    ------
    StoreError
        When one is torn or of a newer version.
    """
    found = [_read(file) for file in sorted((store.root / "checks").glob("*.json"))]
    return sorted(found, key=lambda each: (each.target, each.kind, each.key))


def _file(store: Store, key: str) -> Path:
    return store.root / "checks" / f"{key[:24]}.json"


def _plain(record: CheckRecord) -> dict[str, Any]:
    content = dataclasses.asdict(record)
    del content["current"]
    for row in content["results"]:
        measured = row["measured"].items()
        row["measured"] = {name: v if math.isfinite(v) else None for name, v in measured}
    return content


def _read(file: Path) -> CheckRecord:
    content = read_record(file, newest=SCHEMA)
    del content["schema"]
    try:
        content["results"] = tuple(map(_result, content["results"]))
        return CheckRecord(**content, current=content["source"] == _source(content["use"]))
    except (KeyError, TypeError, AttributeError) as problem:
        raise StoreError(f"{file}: not a whole check: {problem}") from None


def _result(row: Mapping[str, Any]) -> CheckResult:
    """One result; a number that was not finite comes back as NaN."""
    measured = {k: math.nan if v is None else float(v) for k, v in row["measured"].items()}
    return CheckResult(**{**row, "measured": measured})


@lru_cache(maxsize=64)
def _source(use: str) -> str:
    """Digest of everything that can change what a battery says about a subject."""
    module = use.partition(":")[0]
    own = [module] if module else []
    code = CodeReader()
    battery = code.harness_digest([__name__.rpartition(".")[0]], own)
    return digest([code.arm_digest(own, data=True), battery, library_versions()])


FACE_SCHEMA = 1
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
    rows = [_cells(each) for each in results]
    head = ("code", "result", "value", "wanted", "time", "statement")
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head) - 1)]

    def lines_of(row: tuple[str, ...]) -> list[str]:
        cells = [cell.ljust(space) for cell, space in zip(row, widths, strict=False)]
        start = "  ".join([*cells, ""])
        return _wrapped(row[-1], width, start, " " * len(start))

    lines = [*([title] if title else []), *lines_of(head)]
    for row, result in zip(rows, results, strict=True):
        lines += lines_of(row)
        if result.outcome != "pass":
            lines += _wrapped(_below(result), width, " " * 6, " " * 8)
    return [*lines, _summary(results)]


def _cells(result: CheckResult) -> tuple[str, ...]:
    sign = "<=" if result.wanted.startswith("at most") else ">="
    limit = f"{sign} {result.threshold:.3g}"
    seconds = f"{result.seconds:.2f} s"
    return result.code, MARKS[result.outcome], _value(result), limit, seconds, result.title


def _wrapped(text: str, width: int, start: str, after: str) -> list[str]:
    """A text in lines; where it is narrow the statement still has some room."""
    room = max(width, len(after) + 30)
    return textwrap.wrap(
        text, room, initial_indent=start, subsequent_indent=after, break_on_hyphens=False
    )


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
    record = {"schema": FACE_SCHEMA, "subject": subject, "results": rows}
    return json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


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
