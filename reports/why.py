"""One sentence why, and what could not be told, written from the record with its figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.judging.findings import Finding, Outcome
from harness.judging.verdict import Verdict
from reports import wording
from reports.forest import bounds_of, effect_text, limit_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """A rule that could not be told: what would be found, what is asked, what would decide it.

    `why` is there where more origins would not decide it.
    """

    name: str
    detectable: str
    margin: str
    needed: str
    why: str


def why(verdict: Verdict) -> str:
    """Say in one sentence what the outcome rests on, with the figures of the rule that weighs most.

    An INVALID verdict has no figures to stand on: then it is the record's own sentence.
    """
    binding = [finding for finding in verdict.findings if finding.binding]
    mine = [finding for finding in binding if finding.outcome is verdict.outcome]
    if verdict.outcome is Outcome.INVALID or not (mine or binding):
        return verdict.summary
    lead = verdict.summary.removesuffix(".")
    shown = _weightiest(mine or binding)
    if shown is None:
        return verdict.summary
    word = {Outcome.REJECT: "most beyond", Outcome.PROMOTE: "nearest to its limit"}.get(
        verdict.outcome, "furthest from shown"
    )
    return f"{lead}; {word}: {name_of(shown)} {_figures(shown)}."


def _weightiest(findings: Sequence[Finding]) -> Finding | None:
    """The rule whose bound comes nearest to its limit, or goes furthest beyond it."""
    known = [(strain(finding), finding) for finding in findings]
    rated = [(found, finding) for found, finding in known if found is not None]
    if rated:
        return max(rated, key=lambda pair: pair[0])[1]
    return next((finding for finding in findings if finding.value is not None), None)


def strain(finding: Finding) -> float | None:
    """Upper bound of the effect over its limit: 1 stands at the limit; None without one."""
    low, high = bounds_of(finding.comparison)
    compared = finding.comparison
    if compared is None or not compared.bound_high:
        return None
    ends = [end for end in (high, -low if compared.bound_low and low is not None else None) if end]
    return max(ends) / abs(compared.bound_high) if ends else None


def name_of(finding: Finding) -> str:
    """A rule as a reader names it."""
    part = f", {finding.part}" if finding.part else ""
    where = "" if finding.unit == "ratio" else f" on {finding.dataset}{part}"
    return f"{wording.metric_name(finding.metric)}{where}"


def _figures(finding: Finding) -> str:
    low, high = bounds_of(finding.comparison)
    known = low is not None or high is not None
    bounds = wording.effects(finding.metric, low, high) if known else "none can be given"
    return f"{effect_text(finding)} (bounds {bounds}; limit {limit_text(finding)})"


def open_rules(verdict: Verdict) -> list[Open]:
    """Every rule without a decision, those that bind first."""
    unsure = (Outcome.HOLD, Outcome.INVALID)
    found = [each for each in verdict.findings if each.outcome in unsure]
    return [_open(each) for each in sorted(found, key=lambda each: not each.binding)]


def _open(finding: Finding) -> Open:
    compared = finding.comparison
    detectable = compared.detectable if compared else None
    more = compared.more_origins if compared else None
    until = compared.decided_by if compared else None
    if more is not None:
        needed = f"{more:,} more" + (f", by {until}" if until else "")
    else:
        needed = (compared.silent or "out of reach") if compared else "not compared"
    seeds = compared.seeds_needed if compared else None
    return Open(
        name=name_of(finding) + ("" if finding.role == "guardrail" else f" ({finding.role})"),
        detectable=wording.effect(finding.metric, detectable).removeprefix("+"),
        margin=limit_text(finding).removeprefix("≤ ").removeprefix("± "),
        needed=f"{seeds} seeds a side" if seeds and more is None else needed,
        why="" if more is not None else (compared.reason if compared else "") or finding.sentence,
    )
