"""Which chances of being wrong a verdict has: how they are split, and what could be detected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.judging.findings import Finding, FindingRole
from harness.judging.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Multiplicity:
    """How error rate and power are shared.

    All guardrails must hold, so each keeps alpha: a chance to pass wrongly is at most that of one.
    Their powers multiply, so each is planned with more: 1 - (1 - power) / guardrails finds all of
    them together with at least the power asked for (Bonferroni). One success is enough, so the
    successes share alpha.

    Attributes
    ----------
    guardrails, successes
        Findings of each role.
    alpha_guardrail, alpha_success
        One-sided error rate of each finding.
    power, power_each
        As asked for all guardrails together, and what each is planned with.
    """

    guardrails: int
    successes: int
    alpha_guardrail: float
    alpha_success: float
    power: float
    power_each: float

    def alpha(self, role: FindingRole) -> float:
        """Error rate of a finding of a role."""
        return self.alpha_success if role == "success" else self.alpha_guardrail


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerRow:
    """What one finding could have detected.

    Attributes
    ----------
    finding
        Its id.
    margin
        Distance of its bound from equality, as a share (or points).
    detectable
        Smallest distance from the bound that is found with the planned power.
    enough
        A candidate as good as legacy would probably be told apart from the bound; None where
        there is no number.
    more_origins, decided_by
        What would decide it if the effect stays, and by when; None when decided or out of reach.
    silent
        Why there is no prediction, in words; '' where there may be one.
    """

    finding: str
    margin: float
    detectable: float | None
    enough: bool | None
    more_origins: int | None
    decided_by: str | None
    silent: str = ""


def multiplicity_of(policy: Policy, datasets: Sequence[str]) -> Multiplicity:
    """Share out alpha and power over the findings a policy makes on these datasets."""
    guardrails, successes = policy.guardrails_on(datasets), policy.successes_on(datasets)
    return Multiplicity(
        guardrails=guardrails,
        successes=successes,
        alpha_guardrail=policy.alpha,
        alpha_success=policy.alpha / max(1, successes),
        power=policy.power,
        power_each=1 - (1 - policy.power) / max(1, guardrails),
    )


def power_rows(findings: Sequence[Finding]) -> tuple[PowerRow, ...]:
    """One row per finding that compares losses or coverage."""
    return tuple(_row(each) for each in findings if each.comparison is not None)


def _row(finding: Finding) -> PowerRow:
    found = finding.comparison
    assert found is not None
    margin = abs(finding.bound)
    return PowerRow(
        finding=finding.id,
        margin=margin,
        detectable=found.detectable,
        enough=None if found.detectable is None else found.detectable <= margin,
        more_origins=found.more_origins,
        decided_by=found.decided_by,
        silent=found.silent,
    )
