"""The verdict: all findings and one outcome, looked for from INVALID to PROMOTE.

Its record holds facts and numbers; `reports.words` makes the sentences. Schema numbers of the
record: 1, the first.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.errors import StoreError
from harness.evidence.comparison import compare
from harness.evidence.diagnostics import Diagnostics
from harness.experiments.policy import Policy
from harness.experiments.rules import Criterion
from harness.experiments.waivers import WaiverState, states
from harness.judging.declared import Cell, Given, Look, PlanRecord, datasets_of
from harness.judging.fact import Fact, FactCode, Value, fact
from harness.judging.findings import (
    Ask,
    Finding,
    Multiplicity,
    Outcome,
    Outlook,
    judge_cost,
    judge_failures,
    judge_path,
    judge_rule,
    judge_skill,
    multiplicity_of,
    outlooks_of,
    question_of,
    rejected_together,
)
from harness.judging.safeguards import (
    Safeguards,
    of_waivers,
    safeguards_of,
    waived_away,
)
from harness.judging.sequential import at_look, read_at
from harness.judging.validity import Mark, Validity, examine
from harness.scoring.scores import UnitScores, in_time_order

State = Literal["passed", "failed", "not run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTestPart:
    """One of the six parts.

    Attributes
    ----------
    code
        ``a`` to ``f``.
    state
        ``not run`` is not a pass; `found` says why.
    found
        What it found.
    """

    code: str
    state: State
    found: Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """All parts."""

    parts: tuple[SelfTestPart, ...]

    @property
    def failures(self) -> tuple[Fact, ...]:
        """One for each part that failed."""
        return tuple(
            fact(FactCode.SELF_TEST_FAILED, part=each.code).resting_on(each.found)
            for each in self.parts
            if each.state == "failed"
        )

    @property
    def mark(self) -> Mark:
        """Whether the gate can be trusted: a part that failed breaks it, one not run is noted."""
        if self.failures:
            return "broken"
        return "holds" if self.passed == len(self.parts) else "note"

    @property
    def passed(self) -> int:
        """How many parts passed."""
        return sum(each.state == "passed" for each in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """All that an outcome is made of.

    Attributes
    ----------
    findings
        With waived ones marked.
    waivers
        What each waiver of the policy did.
    safeguards
        What stands beside the rules.
    self_test
        None where the gate did not judge itself.
    """

    policy: Policy
    validity: Validity
    findings: tuple[Finding, ...]
    waivers: tuple[WaiverState, ...]
    safeguards: Safeguards
    self_test: SelfTest | None

    def of(self, outcome: Outcome) -> list[Finding]:
        """Findings of an outcome that bind."""
        return [each for each in self.findings if each.outcome is outcome and each.binding]

    @property
    def invalid(self) -> list[Finding]:
        """Findings that allow no conclusion: a success that cannot be judged is one too."""
        return [each for each in self.findings if each.outcome is Outcome.INVALID]

    @property
    def problems(self) -> tuple[Fact, ...]:
        """Why no conclusion is allowed, besides the findings."""
        failed = self.self_test.failures if self.self_test else ()
        return (*self.validity.problems, *failed)

    @property
    def gain(self) -> bool:
        """Whether a success is shown, where one is needed."""
        shown = any(f.role == "success" and f.outcome is Outcome.PROMOTE for f in self.findings)
        return self.policy.mode == "replace" or shown

    @property
    def waived(self) -> list[Finding]:
        """Findings that a waiver keeps from binding."""
        return [each for each in self.findings if each.waived]

    def fact(self, code: FactCode, /, **values: Value) -> Fact:
        """State something about the pair."""
        pair = {"candidate": self.policy.candidate, "legacy": self.policy.baseline}
        return fact(code, **pair, **values)


def case_of(
    policy: Policy,
    validity: Validity,
    findings: Sequence[Finding],
    *,
    safeguards: Safeguards,
    today: str | None,
    self_test: SelfTest | None,
) -> Case:
    """Apply the waivers and put everything together."""
    against = [f.id for f in findings if f.outcome in (Outcome.REJECT, Outcome.HOLD) and f.binding]
    found = states(policy.waivers, today=today, open_findings=against)
    waived = {name for state in found for name in state.waived}
    marked = tuple(dataclasses.replace(f, waived=f.id in waived) for f in findings)
    return Case(
        policy=policy,
        validity=validity,
        findings=marked,
        waivers=found,
        safeguards=dataclasses.replace(
            safeguards,
            holds=(*safeguards.holds, *waived_away(marked)),
            notes=(*safeguards.notes, *of_waivers(found, today=today)),
        ),
        self_test=self_test,
    )


def outcome_of(case: Case) -> Outcome:
    """The gravest of what was found; INVALID when nothing was compared."""
    compared = any(finding.comparison is not None for finding in case.findings)
    if case.problems or not compared or case.invalid:
        return Outcome.INVALID
    if case.of(Outcome.REJECT):
        return Outcome.REJECT
    if case.of(Outcome.HOLD) or not case.gain or case.safeguards.holds:
        return Outcome.HOLD
    return Outcome.PROMOTE


def summary_of(case: Case, outcome: Outcome) -> Fact:
    """The answer."""
    bars = [finding for finding in case.findings if finding.role == "guardrail"]
    if outcome == Outcome.INVALID:
        invalid = [finding.found for finding in case.invalid]
        first = [*case.problems, *invalid, fact(FactCode.NOTHING_COMPARED)][0]
        return case.fact(FactCode.NO_CONCLUSION).resting_on(first)
    if outcome == Outcome.REJECT:
        return case.fact(FactCode.BROKEN, rules=_rules(case.of(outcome)))
    if outcome == Outcome.PROMOTE:
        return case.fact(
            FactCode.ALL_HOLD,
            guardrails=len(bars),
            gain=case.policy.mode == "improve",
            waived=len(case.waived),
        )
    open_ = case.of(Outcome.HOLD)
    on_losses = [finding for finding in open_ if finding.role == "guardrail"]
    if on_losses:
        count = len(on_losses)
        return case.fact(FactCode.GUARDRAILS_OPEN, open=count, guardrails=len(bars))
    if open_:
        return case.fact(FactCode.RULES_OPEN, rules=_rules(open_))
    if not case.gain:
        return case.fact(FactCode.NO_GAIN_YET)
    return case.fact(FactCode.HELD_BACK).resting_on(case.safeguards.holds[0])


def _rules(findings: Sequence[Finding]) -> tuple[tuple[str, ...], ...]:
    """Dataset, metric and part of each."""
    return tuple((each.dataset, each.metric, each.part) for each in findings)


def reasons_of(case: Case, outcome: Outcome) -> tuple[Fact, ...]:
    """What led to the outcome, then the waivers, then what else must be known."""
    wanted = [finding for finding in case.findings if finding.role != "success"]
    if case.policy.mode == "improve" and outcome in (Outcome.HOLD, Outcome.PROMOTE):
        wanted = list(case.findings)
    if outcome == Outcome.INVALID:
        wanted = list(case.findings)
    decisive = [f for f in wanted if f.outcome is outcome and not f.waived]
    if outcome == Outcome.INVALID:  # what broke an arm is often why nothing could be compared
        decisive += [f for f in case.of(Outcome.REJECT) if f.role == "limit"]
    problems = case.problems if outcome == Outcome.INVALID else ()
    empty = () if problems or decisive or case.safeguards.holds else (_NOTHING,)
    shown = [fact(FactCode.FINDING, id=each.id) for each in decisive]
    waivers = [fact(FactCode.WAIVER, place=place) for place in range(len(case.waivers))]
    beside = case.safeguards
    first = [_caution(each) for each in beside.first if each not in problems]
    holds = [each for each in beside.holds if each not in (*beside.first, *problems)]
    rest = [*beside.notes, *case.validity.doubts, *_long_memory(case)]
    if outcome is not Outcome.HOLD:
        rest, holds = [*holds, *rest], []
    known = (*beside.first, *holds, *problems)
    cautions = [_caution(each) for each in rest if each not in known]
    if outcome is Outcome.INVALID:
        return (*problems, *shown, *empty, *first, *waivers, *cautions)
    return (*first, *holds, *shown, *empty, *waivers, *cautions)


def _long_memory(case: Case) -> list[Fact]:
    """Where differences may remember so long that the interval is too narrow."""
    found = []
    for finding in case.findings:
        compared = finding.comparison if finding.role != "limit" else None
        known = compared.variances if compared is not None else None
        if compared is None or known is None or known.memory is None:
            continue
        if known.memory.suspected:
            found.append(
                fact(
                    FactCode.LONG_MEMORY,
                    dataset=finding.dataset,
                    metric=finding.metric,
                    part=finding.part,
                    memory=known.memory.order,
                    error=known.memory.error,
                    wider=known.memory_stretch,
                    done=known.memory.shown and compared.estimand.relative,
                )
            )
    return found


_NOTHING = fact(FactCode.NOTHING_COMPARED)


def _caution(found: Fact) -> Fact:
    return fact(FactCode.CAUTION).resting_on(found)


def next_action(case: Case, outcome: Outcome, given: Given) -> Fact:
    """What to do now."""
    if outcome == Outcome.PROMOTE:
        return case.fact(FactCode.REPLACE)
    if outcome == Outcome.REJECT:
        return case.fact(FactCode.KEEP)
    if outcome == Outcome.INVALID:
        return case.fact(FactCode.REPAIR)
    if given.look is not None and given.look.last:
        return case.fact(FactCode.PLAN_ENDED, origins=given.look.most)
    if not case.of(Outcome.HOLD) and case.gain:
        return case.fact(FactCode.SETTLE_FIRST).resting_on(case.safeguards.holds[0])
    unmeasured = [f for f in case.of(Outcome.HOLD) if f.unit == "ratio"]
    if unmeasured and len(unmeasured) == len(case.of(Outcome.HOLD)):
        return case.fact(FactCode.MEASURE, rules=_rules(unmeasured))
    return _what_decides(case, given)


def _what_decides(case: Case, given: Given) -> Fact:
    """A step a person can take: a larger experiment, more of the history, or the margin.

    Beside it the bounds that today's evidence would show to be kept.
    """
    open_ = [f for f in case.findings if f.outcome is Outcome.HOLD and not f.waived]
    compared = [(each, each.comparison) for each in open_ if each.comparison]
    settled = tuple(
        (each.dataset, each.metric, each.part, each.bound, found.settled_at)
        for each, found in compared
        if found.settled_at is not None
    )
    silent = [f for _, f in compared if f.silent and f.planning.more_origins is None]
    if silent:
        few = min(each.sample.independent_n for each in silent)
        return case.fact(FactCode.COMPARE_WITH_MORE, origins=few)
    counts = [found.planning.more_origins for _, found in compared]
    known = [count for count in counts if count is not None]
    if given.larger is not None and compared:
        name, origins = given.larger
        now = min(found.sample.independent_n for _, found in compared)
        enough = len(known) == len(counts) and now + max(known, default=0) <= origins
        return case.fact(
            FactCode.LARGER_PLAN,
            experiment=name,
            origins=origins,
            now=now,
            enough=enough,
            settled=settled,
        )
    if not known or len(known) < len(counts):
        return case.fact(FactCode.SETTLE_MARGIN, settled=settled)
    wanted = dict.fromkeys((each.dataset for each, _ in compared), 0)
    for each, found in compared:
        wanted[each.dataset] = max(wanted[each.dataset], found.planning.more_origins or 0)
    lacking = {name: count - given.room.get(name, 0) for name, count in wanted.items()}
    most = max(lacking, key=lambda name: lacking[name])
    if lacking[most] <= 0:
        return case.fact(FactCode.RAISE_ORIGINS, more=max(known), settled=settled)
    dates = [found.planning.decided_by for _, found in compared]
    until = None if None in dates else max(filter(None, dates), default=None)
    if until is None or most in given.ended:
        return case.fact(FactCode.SETTLE_MARGIN, settled=settled)
    return case.fact(
        FactCode.WAIT_FOR_ORIGINS,
        more=max(known),
        dataset=most,
        held=given.room.get(most, 0),
        until=until,
        settled=settled,
    )


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
    power: tuple[Outlook, ...] = ()
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
class Evidence:
    """Everything examined and every rule judged, before anything is concluded."""

    policy: Policy
    given: Given
    validity: Validity
    findings: tuple[Finding, ...]
    multiplicity: Multiplicity
    safeguards: Safeguards


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
    policy: Policy,
    declared: Sequence[Cell],
    scores: Sequence[UnitScores],
    given: Given,
    *,
    ask: Ask = compare,
) -> Evidence:
    """Examine what there is and judge every rule; parameters as in `judge` and `judge_rule`."""
    scores = sorted(map(in_time_order, scores), key=lambda u: (u.dataset, u.arm, u.seed))
    multiplicity = multiplicity_of(policy, datasets_of(declared))
    validity = examine(policy, declared, scores, given)
    return Evidence(
        policy=policy,
        given=given,
        validity=validity,
        findings=_findings(policy, declared, scores, given, multiplicity, validity.reference, ask),
        multiplicity=multiplicity,
        safeguards=safeguards_of(
            policy, declared, scores, validity=validity, shared=multiplicity, changed=given.changed
        ),
    )


def conclude(
    found: Evidence, *, self_test: SelfTest | None = None, diagnostics: Diagnostics | None = None
) -> Verdict:
    """Make the verdict; a failed self-test makes it INVALID, diagnostics decide nothing."""
    policy, given = found.policy, found.given
    case = case_of(
        policy,
        found.validity,
        found.findings,
        safeguards=found.safeguards,
        today=given.today,
        self_test=self_test,
    )
    outcome = outcome_of(case)
    return Verdict(
        outcome=outcome,
        candidate=policy.candidate,
        legacy=policy.baseline,
        summary=summary_of(case, outcome),
        reasons=reasons_of(case, outcome),
        findings=case.findings,
        validity=found.validity,
        safeguards=case.safeguards,
        policy=plain(policy),
        plan=given.plan,
        fingerprints=dict(given.fingerprints),
        next_action=next_action(case, outcome, given),
        self_test=self_test,
        multiplicity=found.multiplicity,
        power=outlooks_of(case.findings),
        waivers=case.waivers,
        look=given.look,
        judged_on=given.today if policy.waivers else None,
        diagnostics=diagnostics,
    )


def _findings(
    policy: Policy,
    declared: Sequence[Cell],
    scores: Sequence[UnitScores],
    given: Given,
    shared: Multiplicity,
    bar: str | None,
    ask: Ask,
) -> tuple[Finding, ...]:
    """Judge every rule on every dataset."""
    found: list[Finding] = []
    for dataset in datasets_of(declared):
        there = [unit for unit in scores if unit.dataset == dataset]
        candidate = [unit for unit in there if unit.arm == policy.candidate]
        legacy = [unit for unit in there if unit.arm == policy.baseline]
        for rule in policy.rules:
            if rule.scope.covers(dataset):
                asked = question_of(
                    rule,
                    alpha=shared.alpha(rule.role),
                    power=shared.power_each,
                    rivals=shared.guardrails,
                )
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
        found += _limits(policy, dataset, there, shared, bar, ask)
    if given.look is None:
        found = rejected_together(found, alpha=policy.alpha)
    else:
        found = read_at(found, given.look)
    return (*found, *_costs(policy, given))


def _costs(policy: Policy, given: Given) -> list[Finding]:
    return [
        judge_cost(name, bound, given.costs.get(name), alpha=policy.alpha, command=given.measure)
        for name, bound in policy.limits.costs.items()
    ]


def _limits(
    policy: Policy,
    dataset: str,
    there: Sequence[UnitScores],
    shared: Multiplicity,
    bar: str | None,
    ask: Ask,
) -> list[Finding]:
    arms = {"candidate": policy.candidate, "legacy": policy.baseline}
    sides = {side: [unit for unit in there if unit.arm == arm] for side, arm in arms.items()}
    most = policy.limits.failures
    found = [
        judge_failures(
            "candidate", dataset, arm=arms["candidate"], limit=most, units=sides["candidate"]
        ),
        judge_failures("legacy", dataset, arm=arms["legacy"], limit=most, units=sides["legacy"]),
        *judge_path(dataset, sides["candidate"]),
    ]
    if policy.limits.min_skill is not None:
        rule = Criterion(metric="crps")
        found.append(
            judge_skill(
                dataset,
                policy=policy,
                question=question_of(rule, alpha=shared.alpha_guardrail, power=shared.power_each),
                candidate=sides["candidate"],
                reference=[unit for unit in there if unit.arm == bar],
                ask=ask,
            )
        )
    return found


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
    from pydantic import TypeAdapter, ValidationError

    try:
        content = json.loads(text)
    except json.JSONDecodeError as problem:
        raise StoreError(f"{where}: not a verdict: {problem}") from None
    schema = content.get("schema") if isinstance(content, dict) else None
    if not isinstance(schema, int):
        raise StoreError(f"{where}: not a verdict: it has no schema number")
    if content.get("kind") != "verdict":  # the number was counted from 1 again since
        raise StoreError(f"{where}: was written by an older abharness; run `abharness gate` again")
    if schema > SCHEMA:
        raise StoreError(
            f"{where}: was written by a newer abharness: schema {schema}, this one reads {SCHEMA}"
        )
    try:
        return TypeAdapter(Verdict).validate_python(content)
    except ValidationError as problem:
        first = problem.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise StoreError(f"{where}: not a whole verdict: {place}: {first['msg']}") from None


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
