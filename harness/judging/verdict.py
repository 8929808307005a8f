"""The verdict: all findings and one outcome, looked for from INVALID to PROMOTE.

Schema numbers of the record: 1, the first; 2, with self-test, error rates, power, waivers, parts,
measured limits, blindness, contamination and diagnostics. A record of schema 1 has none of these.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.errors import StoreError
from harness.evidence.diagnostics import Diagnostics
from harness.judging.conclusion import case_of, next_action, outcome_of, reasons_of, summary_of
from harness.judging.error_rates import Multiplicity, PowerRow, multiplicity_of, power_rows
from harness.judging.findings import Finding, Outcome, judge_rule, question_of
from harness.judging.given import Fact, Given
from harness.judging.limits import judge_cost, judge_failures, judge_skill
from harness.judging.policy import Criterion, Policy
from harness.judging.selfcheck import SelfTest
from harness.judging.validity import (
    Cell,
    Standing,
    UnitHealth,
    Validity,
    datasets_of,
    examine,
    reference_arm,
)
from harness.judging.waivers import WaiverState
from harness.scoring.scores import UnitScores, in_time_order

__all__ = [
    "EXIT_CODES",
    "SCHEMA",
    "Cell",
    "Evidence",
    "Given",
    "Standing",
    "UnitHealth",
    "Validity",
    "Verdict",
    "conclude",
    "from_json",
    "gather",
    "judge",
    "to_json",
]

SCHEMA = 2
EXIT_CODES: Mapping[Outcome, int] = {
    Outcome.PROMOTE: 0,
    Outcome.REJECT: 3,
    Outcome.HOLD: 4,
    Outcome.INVALID: 5,
}
"""What a command that judges ends with."""


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
    self_test
        What the gate found when it judged itself; None where it was not asked to.
    multiplicity
        How error rate and power are shared over the findings.
    power
        What each finding could have detected.
    waivers
        What each waiver did.
    judged_on
        ISO date the waivers were held against; None where there are none.
    diagnostics
        What stands beside the findings and decides nothing; None where nobody looked.
    """

    outcome: Outcome
    candidate: str
    legacy: str
    summary: str
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...]
    validity: Validity
    policy: Mapping[str, Any]
    facts: Mapping[str, Fact] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    next_action: str
    self_test: SelfTest | None = None
    multiplicity: Multiplicity | None = None
    power: tuple[PowerRow, ...] = ()
    waivers: tuple[WaiverState, ...] = ()
    judged_on: str | None = None
    diagnostics: Diagnostics | None = None
    schema: int = SCHEMA

    @property
    def exit_code(self) -> int:
        """What the command ends with: 0 PROMOTE, 3 REJECT, 4 HOLD, 5 INVALID."""
        return EXIT_CODES[self.outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything examined and every rule judged, before anything is concluded."""

    policy: Policy
    given: Given
    validity: Validity
    findings: tuple[Finding, ...]
    multiplicity: Multiplicity


def judge(
    policy: Policy,
    declared: Sequence[Cell],
    scores: Sequence[UnitScores],
    given: Given | None = None,
) -> Verdict:
    """Judge scores by a policy, without the gate's self-test.

    INVALID when a cell of the declared grid is missing or double, when the sides cannot be
    paired, or when nothing was compared; REJECT when a guardrail is shown broken or a limit is;
    HOLD when a guardrail or a limit is open, or no success is shown where one is needed; PROMOTE
    otherwise. All rules are judged and shown in every case.

    Parameters
    ----------
    policy
        The rules.
    declared
        Every cell the grid should hold.
    scores
        What there is, in any order.
    given
        What the caller knows besides.
    """
    return conclude(gather(policy, declared, scores, given or Given()))


def gather(
    policy: Policy, declared: Sequence[Cell], scores: Sequence[UnitScores], given: Given
) -> Evidence:
    """Examine what there is and judge every rule; parameters as in `judge`."""
    scores = sorted(map(in_time_order, scores), key=lambda u: (u.dataset, u.arm, u.seed))
    multiplicity = multiplicity_of(policy, datasets_of(declared))
    return Evidence(
        policy=policy,
        given=given,
        validity=examine(policy, declared, scores, given),
        findings=_findings(policy, declared, scores, given, multiplicity),
        multiplicity=multiplicity,
    )


def conclude(
    found: Evidence, *, self_test: SelfTest | None = None, diagnostics: Diagnostics | None = None
) -> Verdict:
    """Make the verdict; a failed self-test makes it INVALID, diagnostics decide nothing."""
    policy, given = found.policy, found.given
    case = case_of(policy, found.validity, found.findings, today=given.today, self_test=self_test)
    outcome = outcome_of(case)
    return Verdict(
        outcome=outcome,
        candidate=policy.candidate,
        legacy=policy.baseline,
        summary=summary_of(case, outcome),
        reasons=reasons_of(case, outcome),
        findings=case.findings,
        validity=found.validity,
        policy=plain(policy),
        facts=dict(given.facts),
        fingerprints=dict(given.fingerprints),
        next_action=next_action(case, outcome, given.room),
        self_test=self_test,
        multiplicity=found.multiplicity,
        power=power_rows(case.findings),
        waivers=case.waivers,
        judged_on=given.today if policy.waivers else None,
        diagnostics=diagnostics,
    )


def _findings(
    policy: Policy,
    declared: Sequence[Cell],
    scores: Sequence[UnitScores],
    given: Given,
    shared: Multiplicity,
) -> tuple[Finding, ...]:
    """Judge every rule on every dataset."""
    found: list[Finding] = []
    for dataset in datasets_of(declared):
        there = [unit for unit in scores if unit.dataset == dataset]
        candidate = [unit for unit in there if unit.arm == policy.candidate]
        legacy = [unit for unit in there if unit.arm == policy.baseline]
        for rule in policy.rules:
            if rule.scope.covers(dataset):
                asked = question_of(rule, alpha=shared.alpha(rule.role), power=shared.power_each)
                found += judge_rule(
                    rule,
                    dataset,
                    policy=policy,
                    question=asked,
                    candidate=candidate,
                    legacy=legacy,
                )
        found += _limits(policy, dataset, declared, there, shared)
    return (*found, *_costs(policy, given))


def _costs(policy: Policy, given: Given) -> list[Finding]:
    return [
        judge_cost(name, bound, given.costs.get(name), alpha=policy.alpha, command=given.measure)
        for name, bound in policy.limits.costs.items()
    ]


def _limits(
    policy: Policy,
    dataset: str,
    declared: Sequence[Cell],
    there: Sequence[UnitScores],
    shared: Multiplicity,
) -> list[Finding]:
    arms = {"candidate": policy.candidate, "legacy": policy.baseline}
    sides = {side: [unit for unit in there if unit.arm == arm] for side, arm in arms.items()}
    most = policy.limits.failures
    found = [
        judge_failures(
            "candidate", dataset, arm=arms["candidate"], limit=most, units=sides["candidate"]
        ),
        judge_failures("legacy", dataset, arm=arms["legacy"], limit=most, units=sides["legacy"]),
    ]
    if policy.limits.min_skill is not None:
        bar = reference_arm(policy, declared, there)
        rule = Criterion(metric="crps")
        found.append(
            judge_skill(
                dataset,
                policy=policy,
                question=question_of(rule, alpha=shared.alpha_guardrail, power=shared.power_each),
                candidate=sides["candidate"],
                reference=[unit for unit in there if unit.arm == bar],
            )
        )
    return found


def to_json(verdict: Verdict) -> str:
    """Write the canonical record: sorted keys, shortest exact floats, no NaN."""
    content = plain(verdict)
    return json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: str) -> Verdict:
    """Read a record of this or any earlier schema.

    Raises
    ------
    StoreError
        When it is no verdict, is torn, or was made by a newer version.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        content = json.loads(text)
    except json.JSONDecodeError as problem:
        raise StoreError(f"not a verdict: {problem}") from None
    schema = content.get("schema") if isinstance(content, dict) else None
    if not isinstance(schema, int) or not 1 <= schema <= SCHEMA:
        raise StoreError(f"a verdict of schema {schema}; this version reads up to {SCHEMA}")
    try:
        return TypeAdapter(Verdict).validate_python(content)
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise StoreError(f"not a whole verdict: {where}: {first['msg']}") from None


def plain(value: Any) -> Any:
    """Turn nouns into what JSON holds; a number that is not finite becomes None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Outcome):
        return value.value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
