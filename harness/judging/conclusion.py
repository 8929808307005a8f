"""From findings to one outcome, with what led to it and what to do now.

The outcome is the gravest of what was found, looked for from INVALID to PROMOTE.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.experiments.policy import Policy
from harness.experiments.waivers import WaiverState, states
from harness.judging.declared import Given
from harness.judging.fact import Fact, FactCode, Value, fact
from harness.judging.findings import Finding, Outcome, nearly_beyond
from harness.judging.safeguards import Safeguards, of_waivers, waived_away
from harness.judging.validity import Mark, Validity

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
    rest = [*beside.notes, *case.validity.doubts, *_nearly_beyond(case), *_long_memory(case)]
    if outcome is not Outcome.HOLD:
        rest, holds = [*holds, *rest], []
    known = (*beside.first, *holds, *problems)
    cautions = [_caution(each) for each in rest if each not in known]
    if outcome is Outcome.INVALID:
        return (*problems, *shown, *empty, *first, *waivers, *cautions)
    return (*first, *holds, *shown, *empty, *waivers, *cautions)


def _one_a_dataset(found: Sequence[Fact]) -> list[Fact]:
    """The first fact of each dataset, with how many more there are."""
    by_dataset: dict[Value, list[Fact]] = {}
    for each in found:
        by_dataset.setdefault(each.values["dataset"], []).append(each)
    return [
        dataclasses.replace(first, values={**first.values, "others": len(more)})
        for first, *more in by_dataset.values()
    ]


def _nearly_beyond(case: Case) -> list[Fact]:
    """Where the last origins lie hardly within, the nearest to its bound a dataset."""
    found = [each for each in map(nearly_beyond, case.findings) if each is not None]

    def room(said: Fact) -> float:
        bound, effect, error = (float(said.values[name]) for name in ("bound", "effect", "error"))  # type: ignore[arg-type]  # numbers
        return (bound - effect) / error

    return _one_a_dataset(sorted(found, key=room))


def _long_memory(case: Case) -> list[Fact]:
    """Where differences may remember so long that the interval is too narrow: the most a dataset.

    What would no longer be shown comes first, what was widened already last.
    """
    found = []
    for finding in case.findings:
        compared = finding.comparison if finding.role != "limit" else None
        known = compared.variances if compared is not None else None
        if compared is None or known is None or known.memory is None:
            continue
        if known.memory.suspected or compared.shaken:
            said = fact(
                FactCode.LONG_MEMORY,
                dataset=finding.dataset,
                metric=finding.metric,
                part=finding.part,
                memory=known.memory.order,
                error=known.memory.error,
                wider=known.memory_stretch,
                done=known.memory.shown and compared.estimand.relative,
                stands=not compared.shaken,
            )
            found.append(said)

    def weight(said: Fact) -> tuple[bool, bool, float]:
        values = said.values
        return bool(values["stands"]), bool(values["done"]), -float(values["wider"])  # type: ignore[arg-type]  # a number

    order = list(dict.fromkeys(each.values["dataset"] for each in found))
    ordered = sorted(found, key=lambda each: (order.index(each.values["dataset"]), weight(each)))
    return _one_a_dataset(ordered)


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
        (each.dataset, each.metric, each.part, each.unit, each.bound, found.settled_at)
        for each, found in compared
        if found.settled_at is not None
    )
    silent = [f for _, f in compared if f.silent and f.planning.more_origins is None]
    if silent:
        few = min(each.sample.independent_n for each in silent)
        return case.fact(FactCode.COMPARE_WITH_MORE, origins=few)
    counts = [found.planning.more_origins for _, found in compared]
    known = [count for count in counts if count is not None]
    wants = [
        found.sample.independent_n + found.planning.more_origins
        for _, found in compared
        if found.planning.more_origins is not None
    ]
    name, origins = given.larger or ("", 0)
    if any(want <= origins for want in wants):
        return case.fact(
            FactCode.LARGER_PLAN,
            experiment=name,
            origins=origins,
            now=min(found.sample.independent_n for _, found in compared),
            enough=len(known) == len(counts) and max(wants) <= origins,
            settled=settled,
        )
    settle = case.fact(
        FactCode.SETTLE_MARGIN,
        least=min(wants, default=None),
        larger=given.larger,
        settled=settled,
    )
    if not known or len(known) < len(counts):
        return settle
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
        return settle
    return case.fact(
        FactCode.WAIT_FOR_ORIGINS,
        more=max(known),
        dataset=most,
        held=given.room.get(most, 0),
        until=until,
        settled=settled,
    )
