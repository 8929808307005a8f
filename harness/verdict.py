"""The verdict: all findings and one outcome, looked for from INVALID to PROMOTE.

Schema numbers of the record: 1, the first.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.errors import StoreError
from harness.findings import Finding, Outcome, judge_failures, judge_rule
from harness.policy import Policy
from harness.scores import UnitScores, in_time_order
from harness.validity import Cell, Standing, UnitHealth, Validity, datasets_of, examine
from harness.wording import percent

__all__ = [
    "EXIT_CODES",
    "SCHEMA",
    "Cell",
    "Standing",
    "UnitHealth",
    "Validity",
    "Verdict",
    "from_json",
    "judge",
    "to_json",
    "verdict_table",
]

SCHEMA = 1
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


def judge(
    policy: Policy,
    declared: Sequence[Cell],
    scores: Sequence[UnitScores],
    *,
    stride: Mapping[str, int] | None = None,
    room: Mapping[str, int] | None = None,
    facts: Mapping[str, str | int | float | bool | None] | None = None,
    fingerprints: Mapping[str, str] | None = None,
) -> Verdict:
    """Judge scores by a policy.

    INVALID when a cell of the declared grid is missing or double, when the sides cannot be
    paired, or when nothing was compared; REJECT when a guardrail is shown broken or the
    candidate failed more windows than allowed; HOLD when a guardrail is open, or no success is
    shown where one is needed; PROMOTE otherwise. All rules are judged and shown in every case.

    Parameters
    ----------
    policy
        The rules.
    declared
        Every cell the grid should hold.
    scores
        What there is, in any order.
    stride
        Sessions between origins per dataset, to be held against the origins scored.
    room
        Independent origins per dataset that the data hold beyond those of the plan.
    facts, fingerprints
        Shown with the verdict, from the caller.
    """
    scores = sorted(map(in_time_order, scores), key=lambda u: (u.dataset, u.arm, u.seed))
    validity = examine(policy, declared, scores, stride=stride)
    findings = _findings(policy, declared, scores)
    outcome = _outcome(policy, validity, findings)
    return Verdict(
        outcome=outcome,
        candidate=policy.candidate,
        legacy=policy.baseline,
        summary=_summary(policy, outcome, validity, findings),
        reasons=_reasons(policy, outcome, validity, findings),
        findings=findings,
        validity=validity,
        policy=_plain(policy),
        facts=dict(facts or {}),
        fingerprints=dict(fingerprints or {}),
        next_action=_next_action(policy, outcome, findings, room or {}),
    )


def _findings(
    policy: Policy, declared: Sequence[Cell], scores: Sequence[UnitScores]
) -> tuple[Finding, ...]:
    datasets = datasets_of(declared)
    split = max(1, len(policy.successes) * len(datasets))
    found = []
    for dataset in datasets:
        sides = {
            arm: [unit for unit in scores if unit.dataset == dataset and unit.arm == arm]
            for arm in (policy.candidate, policy.baseline)
        }
        found += [
            judge_rule(
                rule,
                dataset,
                policy=policy,
                alpha=policy.alpha / (split if rule.role == "success" else 1),
                candidate=sides[policy.candidate],
                legacy=sides[policy.baseline],
            )
            for rule in policy.rules
        ]
        found += _limits(policy, dataset, sides)
    return tuple(found)


def _limits(
    policy: Policy, dataset: str, sides: Mapping[str, Sequence[UnitScores]]
) -> list[Finding]:
    arms = {"candidate": policy.candidate, "legacy": policy.baseline}
    return [
        judge_failures(
            side, dataset, arm=arms[side], limit=policy.limits.failures, units=sides[arms[side]]
        )
        for side in ("candidate", "legacy")
    ]


def _outcome(policy: Policy, validity: Validity, findings: Sequence[Finding]) -> Outcome:
    compared = any(finding.comparison is not None for finding in findings)
    if validity.problems or not compared or _of(findings, Outcome.INVALID):
        return Outcome.INVALID
    binding = [finding for finding in findings if finding.role != "success"]
    if _of(binding, Outcome.REJECT):
        return Outcome.REJECT
    if _of(binding, Outcome.HOLD) or not _gain(policy, findings):
        return Outcome.HOLD
    return Outcome.PROMOTE


def _of(findings: Sequence[Finding], outcome: Outcome) -> list[Finding]:
    return [finding for finding in findings if finding.outcome == outcome]


def _gain(policy: Policy, findings: Sequence[Finding]) -> bool:
    """Whether a success is shown, where one is needed."""
    shown = any(f.role == "success" and f.outcome == Outcome.PROMOTE for f in findings)
    return policy.mode == "replace" or shown


def _summary(
    policy: Policy, outcome: Outcome, validity: Validity, findings: Sequence[Finding]
) -> str:
    new, old = policy.candidate, policy.baseline
    bars = [finding for finding in findings if finding.role == "guardrail"]
    binding = [finding for finding in findings if finding.role != "success"]
    if outcome == Outcome.INVALID:
        invalid = [finding.sentence for finding in _of(findings, Outcome.INVALID)]
        first = [*validity.problems, *invalid, "Nothing was compared."][0]
        return f"No conclusion on replacing {old} by {new} is allowed: {first}"
    if outcome == Outcome.REJECT:
        broken = _of(binding, Outcome.REJECT)
        names = ", ".join(_name(finding) for finding in broken[:3])
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        return f"{new} must not replace {old}: shown broken are {names}{more}."
    if outcome == Outcome.HOLD:
        open_ = _of(bars, Outcome.HOLD)
        if open_:
            count = f"{len(open_)} of {len(bars)} guardrails"
            return f"Whether {new} may replace {old} is not decided: {count} are open."
        return f"{new} keeps every guardrail, but no gain over {old} is shown yet."
    gain = " and a gain is shown" if policy.mode == "improve" else ""
    return f"{new} may replace {old}: all {len(bars)} guardrails are shown to hold{gain}."


def _name(finding: Finding) -> str:
    return f"{finding.dataset} {finding.metric}"


def _reasons(
    policy: Policy, outcome: Outcome, validity: Validity, findings: Sequence[Finding]
) -> tuple[str, ...]:
    """What led to the outcome, then what else must be known."""
    wanted = [finding for finding in findings if finding.role != "success"]
    if policy.mode == "improve" and outcome in (Outcome.HOLD, Outcome.PROMOTE):
        wanted = list(findings)
    decisive = [finding.sentence for finding in _of(wanted, outcome)]
    problems = validity.problems if outcome == Outcome.INVALID else ()
    empty = () if problems or decisive else ("Nothing was compared.",)
    return (*problems, *decisive, *empty, *_cautions(policy, validity))


def _cautions(policy: Policy, validity: Validity) -> list[str]:
    """Beating a weak legacy arm is no reason to migrate: say where the candidate is weak itself."""
    return [
        f"Caution: on {each.dataset} {each.arm} is {percent(-each.skill)} worse than "
        f"{each.reference} by {each.metric}."
        for each in validity.standings
        if each.arm == policy.candidate and each.skill is not None and each.skill < 0
    ]


def _next_action(
    policy: Policy, outcome: Outcome, findings: Sequence[Finding], room: Mapping[str, int]
) -> str:
    new, old = policy.candidate, policy.baseline
    if outcome == Outcome.PROMOTE:
        return f"Replace {old} by {new}, and keep comparing them on new origins."
    if outcome == Outcome.REJECT:
        return f"Keep {old}; look at the windows where {new} loses most before trying again."
    if outcome == Outcome.INVALID:
        return "Repair what is named first, run the missing cells, and judge again."
    needed = [f.comparison for f in findings if f.comparison and f.outcome == Outcome.HOLD]
    counts = [each.more_origins for each in needed if each.more_origins is not None]
    dates = [each.decided_by for each in needed if each.decided_by is not None]
    if not counts or len(counts) < len(needed):
        return (
            f"Keep {old} for now; some effects lie so close to their bound that more origins will "
            "not decide them: settle beforehand whether the margin is what you mean."
        )
    more = f"Keep {old} for now and compare again with {max(counts)} more independent origins"
    if all((each.more_origins or 0) <= room.get(each.dataset, 0) for each in needed):
        return f"{more}: the data hold that many, so raise `origins` in the plan."
    return f"{more} (there by {max(dates)})." if dates else f"{more}."


def verdict_table(verdict: Verdict) -> list[tuple[str, ...]]:
    """Rows for a terminal: a header, then one row per finding."""
    header = ("dataset", "rule", "role", "effect", "interval", "bound", "origins", "outcome")
    return [header, *(_row(finding) for finding in verdict.findings)]


def _row(finding: Finding) -> tuple[str, ...]:
    found = finding.comparison
    test = found.estimate("hac") if found else None
    ends = "-"
    if test and test.low is not None and test.high is not None:
        ends = f"{percent(test.low, signed=True)} .. {percent(test.high, signed=True)}"
    value = "-"
    if finding.value is not None:
        limit = finding.role == "limit"
        value = f"{finding.value:g}" if limit else percent(finding.value, signed=True)
    bound = f"{finding.bound:g}"
    if finding.role != "limit":
        two_sided = found is not None and found.bound_low is not None
        sign = "±" if two_sided else ""
        bound = sign + percent(finding.bound, signed=not two_sided)
    count = f"{found.n} ({found.independent_n})" if found else "-"
    return (
        finding.dataset,
        finding.metric,
        finding.role,
        value,
        ends,
        bound,
        count,
        finding.outcome.value,
    )


def to_json(verdict: Verdict) -> str:
    """Write the canonical record: sorted keys, shortest exact floats, no NaN."""
    content = _plain(verdict)
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
    if schema != SCHEMA:
        raise StoreError(f"a verdict of schema {schema}; this version reads up to {SCHEMA}")
    try:
        return TypeAdapter(Verdict).validate_python(content)
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise StoreError(f"not a whole verdict: {where}: {first['msg']}") from None


def _plain(value: Any) -> Any:
    """Turn nouns into what JSON holds; a number that is not finite becomes None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Outcome):
        return value.value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
