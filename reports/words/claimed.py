"""What was measured of a claim, in words."""

from __future__ import annotations

import math

from harness.claims.claim import Measurement
from harness.judging.findings import Finding
from reports.words import verdicts
from reports.words.sentences import sentence_of

GROUPS = {
    "summary": "Claims of the migration summary",
    "beside": "Claims of the documents beside it",
    "pipeline": "Defects of the original pipeline that are not reproduced here",
}


def measured_text(found: Measurement) -> str:
    """A measurement in one line: whose, on what, how much, from which record."""
    where = "/".join(filter(None, (found.arm, found.dataset)))
    number = "" if found.value is None else _number(found.value)
    ends = ""
    if found.low is not None and found.high is not None:
        ends = f"({_number(found.low)} to {_number(found.high)})"
    value = " ".join(filter(None, (number, found.unit, ends)))
    parts = [f"{where}: {found.what}" if where else found.what]
    parts += [f"= {value}"] if value else []
    said = said_of(found)
    parts += [f"- {said}"] if said else []
    return " ".join(parts) + (f" [{found.source}]" if found.source else "")


def said_of(found: Measurement) -> str:
    """Further words of a measurement: its own, or what the verdict or a finding of it says."""
    if isinstance(found.judged, Finding):
        return sentence_of(found.judged)
    return found.said if found.judged is None else verdicts.summary(found.judged)


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "not finite"
    return f"{value:.0f}" if value == round(value) and abs(value) < 1e6 else f"{value:.3g}"
