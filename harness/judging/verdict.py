"""The verdict: all findings and one outcome, looked for from INVALID to PROMOTE.

Its record holds facts and numbers; `reports.words` makes the sentences.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from typing import Any, Literal

from harness.errors import StoreError
from harness.evidence.diagnostics import Diagnostics
from harness.evidence.prospects import comparison_of
from harness.experiments.policy import Policy
from harness.experiments.waivers import WaiverState
from harness.judging.conclusion import Evidence, SelfTest, case_of
from harness.judging.declared import Cell, Circumstances, JudgedGrid, Look, PlanRecord
from harness.judging.fact import SCHEMA, Fact, expect_schema
from harness.judging.findings import (
    Finding,
    MeasuringTask,
    Multiplicity,
    Outcome,
    RulePower,
    judge_rule,
    multiplicity_of,
    outlooks_of,
    rejected_together,
)
from harness.judging.limits import judge_cost, judge_limits
from harness.judging.safeguards import Safeguards, safeguards_of
from harness.judging.sequential import at_look, read_at
from harness.judging.validity import Validity, examine
from harness.parsing import adapter, faults_of
from harness.scoring.scores import UnitScores

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
    kind, schema
        What the record is, and the number of its form.
    outcome
        INVALID, REJECT, HOLD or PROMOTE.
    candidate, legacy
        Arm names.
    summary
        The answer.
    reasons
        What led to it, the weightiest first.
    findings
        Every rule on every dataset, in the order of the policy.
    validity
        What the findings rest on.
    safeguards
        What stands beside the rules: what is said first, holds a PROMOTE back, or must be known.
    policy
        The policy that was applied, as plain data.
    plan
        What the caller knows of the plan (horizon, stride, dates), shown with the verdict.
    fingerprints
        Digests by name, given by the caller.
    next_action
        What to do now.
    self_test
        What the gate found when it judged itself; None where it was not asked to.
    multiplicity
        How error rate and power are shared over the findings.
    power
        What such a plan can tell of each finding.
    waivers
        What each waiver did.
    look
        Which reading of growing evidence it is; None where all of it is looked at once.
    judged_on
        ISO date the waivers were held against; None where there are none.
    diagnostics
        What stands beside the findings and decides nothing; None where nobody looked.
    """

    outcome: Outcome
    candidate: str
    legacy: str
    summary: Fact
    reasons: tuple[Fact, ...]
    findings: tuple[Finding, ...]
    validity: Validity
    policy: Mapping[str, Any]
    safeguards: Safeguards = field(default_factory=Safeguards)
    plan: PlanRecord | None = None
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    next_action: Fact
    self_test: SelfTest | None = None
    multiplicity: Multiplicity | None = None
    power: tuple[RulePower, ...] = ()
    waivers: tuple[WaiverState, ...] = ()
    look: Look | None = None
    judged_on: str | None = None
    diagnostics: Diagnostics | None = None
    kind: Literal["verdict"] = "verdict"
    schema: int = SCHEMA

    @property
    def exit_code(self) -> int:
        """What the command ends with: 0 PROMOTE, 3 REJECT, 4 HOLD, 5 INVALID."""
        return EXIT_CODES[self.outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What changed from one verdict to a later one on the same pair.

    Attributes
    ----------
    before
        The earlier outcome; None where there was no verdict before.
    findings
        Id to (outcome before, outcome after) where they differ; None where there was none.
    new_origins
        Origins after the last one of before, by dataset: the only new evidence.
    parts
        Names of the fingerprints that differ: what decides the numbers and is another by now.
    """

    before: Outcome | None = None
    findings: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    new_origins: Mapping[str, int] = field(default_factory=dict)
    parts: tuple[str, ...] = ()


def verdict_on(
    policy: Policy,
    declared: Sequence[Cell],
    scores: Sequence[UnitScores],
    given: Circumstances | None = None,
    *,
    ask: MeasuringTask = comparison_of,
) -> Verdict:
    """Judge scores by a policy, without the gate's self-test.

    INVALID when a cell of the declared grid is missing or double, when the sides cannot be
    paired, or when nothing was compared; REJECT when a guardrail is shown broken or a limit is;
    HOLD when a guardrail or a limit is open, or no success is shown where one is needed; PROMOTE
    otherwise. All rules are judged and shown in every case.

    Parameters
    ----------
    policy, declared, scores, given
        As in `JudgedGrid`.
    ask
        As in `judge_rule`.
    """
    grid = JudgedGrid(
        policy=policy, declared=declared, scores=scores, given=given or Circumstances()
    )
    return conclude(gather(grid, ask=ask))


def gather(grid: JudgedGrid, *, ask: MeasuringTask = comparison_of) -> Evidence:
    """Examine what there is and judge every rule; `ask` as in `judge_rule`."""
    grid = grid.in_order
    multiplicity = multiplicity_of(grid.policy, grid.datasets)
    validity = examine(grid)
    return Evidence(
        grid=grid,
        validity=validity,
        findings=_findings(grid, shared=multiplicity, bar=validity.reference, ask=ask),
        multiplicity=multiplicity,
        safeguards=safeguards_of(grid, validity=validity, shared=multiplicity),
    )


def conclude(
    found: Evidence, *, self_test: SelfTest | None = None, diagnostics: Diagnostics | None = None
) -> Verdict:
    """Make the verdict; a failed self-test makes it INVALID, diagnostics decide nothing."""
    policy, given = found.grid.policy, found.grid.given
    case = case_of(found, self_test)
    return Verdict(
        outcome=case.conclusion,
        candidate=policy.candidate,
        legacy=policy.baseline,
        summary=case.answer,
        reasons=case.grounds,
        findings=case.findings,
        validity=found.validity,
        safeguards=case.safeguards,
        policy=plain(policy),
        plan=given.plan,
        fingerprints=dict(given.fingerprints),
        next_action=case.advice,
        self_test=self_test,
        multiplicity=found.multiplicity,
        power=outlooks_of(case.findings),
        waivers=case.waivers,
        look=given.look,
        judged_on=given.today if policy.waivers else None,
        diagnostics=diagnostics,
    )


def _findings(
    grid: JudgedGrid, *, shared: Multiplicity, bar: str | None, ask: MeasuringTask
) -> tuple[Finding, ...]:
    """Judge every rule on every dataset."""
    policy, given, found = grid.policy, grid.given, list[Finding]()
    for dataset in grid.datasets:
        legacy, candidate = (grid.units(arm, dataset) for arm in policy.pair)
        for rule in policy.rules:
            if rule.scope.covers(dataset):
                asked = shared.asked_by(rule, rivals=shared.guardrails)
                if given.look is not None:
                    asked = at_look(asked, given.look.alpha(dataset, rule.role))
                found += judge_rule(
                    rule,
                    dataset,
                    policy=policy,
                    question=asked,
                    candidate=candidate,
                    legacy=legacy,
                    ask=ask,
                )
        found += judge_limits(grid, dataset, shared=shared, bar=bar, ask=ask)
    if given.look is None:
        found = rejected_together(found, alpha=policy.alpha)
    else:
        found = read_at(found, given.look)
    costs = [
        judge_cost(
            name,
            bound,
            given.costs.get(name),
            alpha=policy.alpha,
            command=f"abharness measure {given.experiment}",
        )
        for name, bound in policy.limits.costs.items()
    ]
    return (*found, *costs)


def to_json(verdict: Verdict) -> str:
    """Write the canonical record: sorted keys, shortest exact floats, no NaN."""
    content = plain(verdict)
    return json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: str, *, where: str = "verdict.json") -> Verdict:
    """Read a record.

    Parameters
    ----------
    where
        The file, for errors.

    Raises
    ------
    StoreError
        When it is not a verdict, is torn, or was made by another version.
    """
    try:
        content = json.loads(text)
    except json.JSONDecodeError as problem:
        raise StoreError(f"{where}: not a verdict: {problem}") from None
    return verdict_of(content, where=where)


def verdict_of(content: Any, *, where: str) -> Verdict:
    """Make a verdict of a record as JSON has it; errors as of `from_json`."""
    from pydantic import ValidationError

    if not isinstance(content, dict) or content.get("kind") != "verdict":
        raise StoreError(f"{where}: not a verdict: its kind is not 'verdict'")
    expect_schema(content, where=where)
    try:
        verdict: Verdict = adapter(Verdict).validate_python(content)
    except ValidationError as problem:
        raise StoreError(f"{where}: not a whole verdict: {faults_of(problem)[0]}") from None
    return verdict


def plain(value: Any) -> Any:
    """Turn nouns into what JSON holds, keys in order; a number that is not finite becomes None."""
    kind: Any = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if (names := _fields_of(kind)) is not None:
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): plain(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value


@cache
def _fields_of(kind: type) -> tuple[str, ...] | None:
    """Names of a dataclass's fields; None of another class."""
    known = dataclasses.is_dataclass(kind)
    return tuple(each.name for each in dataclasses.fields(kind)) if known else None
