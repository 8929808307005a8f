"""The verdict: all findings and one outcome, looked for from INVALID to PROMOTE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.findings import Finding, Outcome

SCHEMA = 1
EXIT_CODES: Mapping[Outcome, int] = {
    Outcome.PROMOTE: 0,
    Outcome.REJECT: 3,
    Outcome.HOLD: 4,
    Outcome.INVALID: 5,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of the declared grid."""

    arm: str
    dataset: str
    seed: int

    def __str__(self) -> str:
        return f"{self.arm} on {self.dataset}, seed {self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitHealth:
    """What happened in one unit, for the validity section.

    Attributes
    ----------
    windows, failures
        Windows asked for and failed.
    missing
        Values that are NaN in windows that did not fail (a percentage error of an actual 0).
    crossings
        Share of cells whose quantiles came out of order.
    extrapolated
        Levels of the common grid beyond the arm's own.
    residual_distribution
        The harness added the distribution.
    first_reason
        Why the first failed window failed; ''.
    """

    arm: str
    dataset: str
    seed: int
    windows: int
    failures: int
    missing: int
    crossings: float
    extrapolated: int
    residual_distribution: bool
    first_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One side against the reference: skill is 1 - value / reference value; above 0 is better."""

    arm: str
    dataset: str
    metric: str
    reference: str
    value: float | None
    reference_value: float | None
    skill: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """Whether a conclusion is allowed at all, and on what it rests.

    Attributes
    ----------
    problems
        Why no conclusion is allowed, one sentence each; empty when one is.
    declared, present
        Cells of the declared grid, and how many of them have scores.
    missing
        The cells that have none.
    truth_digests
        Dataset to the digest all units were judged against ('' when they differ).
    units
        Failures, NaN and crossings per unit.
    standings
        Both sides against the reference arm.
    """

    problems: tuple[str, ...]
    declared: int
    present: int
    missing: tuple[str, ...]
    truth_digests: Mapping[str, str]
    units: tuple[UnitHealth, ...]
    standings: tuple[Standing, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer to whether the legacy arm may be replaced by the candidate.

    Attributes
    ----------
    schema
        Number of the record's form.
    outcome
        INVALID, REJECT, HOLD or PROMOTE.
    candidate, legacy
        Arm names.
    summary
        The answer in one sentence.
    reasons
        Plain sentences, the weightiest first.
    findings
        Every rule on every dataset, in the order of the policy.
    validity
        What the findings rest on.
    policy
        The policy that was applied, as plain data.
    facts
        What the caller knows of the plan (horizon, stride, dates), shown with the verdict.
    fingerprints
        Digests by name, given by the caller.
    next_action
        What to do now, in one sentence.
    """

    outcome: Outcome
    candidate: str
    legacy: str
    summary: str
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...]
    validity: Validity
    policy: Mapping[str, Any]
    facts: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    next_action: str
    schema: int = SCHEMA

    @property
    def exit_code(self) -> int:
        """What the command ends with: 0 PROMOTE, 3 REJECT, 4 HOLD, 5 INVALID."""
        return EXIT_CODES[self.outcome]
