"""What was claimed beside what was measured: for a terminal, as JSON and as Markdown."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import get_args

from harness.claims.claim import ClaimEvidence, ClaimRow, Measurement, Status
from harness.judging.findings import Finding
from reports.words import verdicts
from reports.words.numbers import wrapped
from reports.words.sentences import sentence_of

SCHEMA = 1
WIDTH = 100
_INDENT = (" " * 6, " " * 8)


def counted(rows: Sequence[ClaimRow]) -> dict[Status, int]:
    """How many rows have each status."""
    found = Counter(row.status for row in rows)
    return {status: found[status] for status in get_args(Status)}


def _counts_text(rows: Sequence[ClaimRow]) -> str:
    return ", ".join(f"{count} {status}" for status, count in counted(rows).items())


def terminal_lines(rows: Sequence[ClaimRow], *, width: int = WIDTH) -> list[str]:
    """Lines no wider than `width`: each claim with its status, rule and numbers."""
    lines = [*wrapped(_counts_text(rows), width, after="  "), ""]
    for group, title in GROUPS.items():
        mine = [row for row in rows if row.claim.group == group]
        if not mine:
            continue
        lines += [*wrapped(title, width, after="  "), ""]
        for row in mine:
            claim = row.claim
            head = f"{claim.number:>4}  {row.status.upper():<12}  {claim.text} [{claim.id}]"
            lines += wrapped(head, width, after=" " * 20)
            texts = [f"offered: {claim.offered}"]
            texts.append(f"{'why' if row.status == 'not testable' else 'rule'}: {row.rule}")
            for found in row.measured:
                mark = "." if found.holds is None else "+" if found.holds else "x"
                texts.append(f"{mark} {measured_text(found)}")
            texts += [f"? {why}" for why in row.open]
            texts += [f"> {command}" for command in row.commands]
            lines += [line for each in texts for line in wrapped(each, width, *_INDENT)]
        lines.append("")
    return lines[:-1]


def to_json(rows: Sequence[ClaimRow], evidence: ClaimEvidence) -> str:
    """The rows as a JSON object; a number that is not finite is null."""
    claims = []
    for row in rows:
        measured = []
        for found in row.measured:
            each = dataclasses.asdict(dataclasses.replace(found, judged=None))
            del each["judged"]
            each["said"] = said_of(found)
            for name in ("value", "low", "high"):
                if each[name] is not None and not math.isfinite(each[name]):
                    each[name] = None
            measured.append(each)
        claims.append(
            {
                "id": row.claim.id,
                "group": row.claim.group,
                "number": row.claim.number,
                "claim": row.claim.text,
                "offered": row.claim.offered,
                "status": row.status,
                "rule": row.rule,
                "measured": measured,
                "open": list(row.open),
                "commands": list(row.commands),
            }
        )
    record = {
        "schema": SCHEMA,
        "experiment": evidence.experiment,
        "baseline": evidence.baseline,
        "candidate": evidence.candidate,
        "verdict": evidence.verdict_id or None,
        "counts": counted(rows),
        "claims": claims,
    }
    return json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_markdown(rows: Sequence[ClaimRow], evidence: ClaimEvidence) -> str:
    """The rows as a page: a table for each group, and the rules below it."""
    lines = [
        "# Claims and measurements",
        "",
        f"Experiment `{evidence.experiment}`: {evidence.candidate} against {evidence.baseline}. "
        + (f"Verdict {evidence.verdict_id}. " if evidence.verdict_id else "No verdict yet. ")
        + f"{_counts_text(rows)}.",
    ]
    for group, title in GROUPS.items():
        mine = [row for row in rows if row.claim.group == group]
        if not mine:
            continue
        lines += ["", f"## {title}", "", "| # | claim | offered | status | measured here |"]
        lines.append("| --- | --- | --- | --- | --- |")
        for row in mine:
            claim = row.claim
            cells = (claim.number, f"{claim.text} `{claim.id}`", claim.offered, row.status)
            said = [_cell(measured_text(found)) for found in row.measured]
            said += [_cell(why) for why in row.open]
            said += [f"run `{text}`" for text in row.commands]
            lines.append(f"| {' | '.join(cells)} | {'<br>'.join(said) or _cell(row.rule)} |")
    lines += ["", "## What decides each", "", "| claim | rule |", "| --- | --- |"]
    lines += [f"| `{row.claim.id}` | {_cell(row.rule)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


GROUPS = {
    "summary": "Claims of the migration summary",
    "beside": "Claims of the documents beside it",
    "pipeline": "Defects of the original pipeline that are not reproduced here",
}


def measured_text(found: Measurement) -> str:
    """A measurement in one line: whose, on what, how much, from which record."""
    source = f" [{found.source}]" if found.source else ""
    if isinstance(found.judged, Finding):
        return said_of(found) + source
    where = "/".join(filter(None, (found.arm, found.dataset)))
    number = "" if found.value is None else _number(found.value)
    ends = ""
    if found.low is not None or found.high is not None:
        low, high = (
            "not bounded" if end is None else _number(end) for end in (found.low, found.high)
        )
        ends = f"({low} to {high})"
    value = " ".join(filter(None, (number, found.unit, ends)))
    parts = [f"{where}: {found.what}" if where else found.what]
    parts += [f"= {value}"] if value else []
    said = said_of(found)
    parts += [f"- {said}"] if said else []
    return " ".join(parts) + source


def said_of(found: Measurement) -> str:
    """Further words of a measurement: its own, or what the verdict or a finding of it says."""
    if isinstance(found.judged, Finding):
        return sentence_of(found.judged)
    return found.said if found.judged is None else verdicts.summary(found.judged)


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "not finite"
    whole = value == round(value) or abs(value) >= 1000
    return f"{value:,.0f}" if whole and abs(value) < 1e9 else f"{value:.3g}"
