"""From claims and evidence to rows."""

from __future__ import annotations

from collections.abc import Sequence

from harness.claims.catalogue import CLAIMS
from harness.claims.nouns import Answer, Claim, ClaimRow, Evidence, Status


def collect_claims(evidence: Evidence, claims: Sequence[Claim] = CLAIMS) -> tuple[ClaimRow, ...]:
    """Set every claim beside what was measured, in the order of the catalogue."""
    return tuple(_row(claim, evidence) for claim in claims)


def _row(claim: Claim, evidence: Evidence) -> ClaimRow:
    if not claim.requirements:
        return ClaimRow(claim=claim, status="not testable", rule=claim.untestable)
    answers = [each.ask(evidence) for each in claim.requirements]
    status = _status(answers)
    still = [each for each in answers if each.holds is None] if status == "undecided" else []
    return ClaimRow(
        claim=claim,
        status=status,
        rule="; and ".join(each.text for each in claim.requirements),
        measured=tuple(row for answer in answers for row in answer.measured),
        open=tuple(each.why for each in still),
        commands=tuple(dict.fromkeys(line for each in still for line in each.commands)),
    )


def _status(answers: Sequence[Answer]) -> Status:
    """Refuted by any that fails, confirmed by all that hold, else undecided."""
    held = [answer.holds for answer in answers]
    if False in held:
        return "refuted"
    return "undecided" if None in held else "confirmed"
