"""From findings to one outcome, and to the sentences that say why and what to do now."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.evidence.compared import Comparison
from harness.judging.findings import Finding, Outcome
from harness.judging.policy import Policy
from harness.judging.selfcheck import SelfTest
from harness.judging.validity import Validity
from harness.judging.waivers import WaiverState, states
from harness.judging.wording import percent


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """All that an outcome is made of.

    Attributes
    ----------
    findings
        With waived ones marked.
    waivers
        What each waiver of the policy did.
    self_test
        None where the gate did not judge itself.
    """

    policy: Policy
    validity: Validity
    findings: tuple[Finding, ...]
    waivers: tuple[WaiverState, ...]
    self_test: SelfTest | None

    def of(self, outcome: Outcome) -> list[Finding]:
        """Findings of an outcome that bind."""
        return [each for each in self.findings if each.outcome is outcome and each.binding]

    @property
    def invalid(self) -> list[Finding]:
        """Findings that allow no conclusion: a success that cannot be judged is one too."""
        return [each for each in self.findings if each.outcome is Outcome.INVALID]

    @property
    def problems(self) -> tuple[str, ...]:
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


def case_of(
    policy: Policy,
    validity: Validity,
    findings: Sequence[Finding],
    *,
    today: str | None,
    self_test: SelfTest | None,
) -> Case:
    """Apply the waivers and put everything together."""
    against = [f.id for f in findings if f.outcome in (Outcome.REJECT, Outcome.HOLD) and f.binding]
    found = states(policy.waivers, today=today, open_findings=against)
    waived = {name for state in found for name in state.waived}
    return Case(
        policy=policy,
        validity=validity,
        findings=tuple(dataclasses.replace(f, waived=f.id in waived) for f in findings),
        waivers=found,
        self_test=self_test,
    )


def outcome_of(case: Case) -> Outcome:
    """The gravest of what was found; INVALID when nothing was compared."""
    compared = any(finding.comparison is not None for finding in case.findings)
    if case.problems or not compared or case.invalid:
        return Outcome.INVALID
    if case.of(Outcome.REJECT):
        return Outcome.REJECT
    if case.of(Outcome.HOLD) or not case.gain:
        return Outcome.HOLD
    return Outcome.PROMOTE


def summary_of(case: Case, outcome: Outcome) -> str:
    """The answer in one sentence."""
    new, old = case.policy.candidate, case.policy.baseline
    bars = [finding for finding in case.findings if finding.role == "guardrail"]
    if outcome == Outcome.INVALID:
        invalid = [finding.sentence for finding in case.invalid]
        first = [*case.problems, *invalid, "Nothing was compared."][0]
        return f"No conclusion on replacing {old} by {new} is allowed: {first}"
    if outcome == Outcome.REJECT:
        return f"{new} must not replace {old}: shown broken are {_names(case.of(outcome))}."
    if outcome == Outcome.HOLD:
        return _held(case, bars)
    gain = " and a gain is shown" if case.policy.mode == "improve" else ""
    if case.waived:
        count = f"{len(case.waived)} waived {_noun(len(case.waived), 'finding')}"
        return f"{new} may replace {old}: all is shown to hold{gain}, but for {count}."
    return f"{new} may replace {old}: all {len(bars)} guardrails are shown to hold{gain}."


def _held(case: Case, bars: Sequence[Finding]) -> str:
    new, old = case.policy.candidate, case.policy.baseline
    open_ = case.of(Outcome.HOLD)
    on_losses = [finding for finding in open_ if finding.role == "guardrail"]
    if on_losses:
        count = f"{len(on_losses)} of {len(bars)} guardrails"
        return f"Whether {new} may replace {old} is not decided: {count} are open."
    if open_:
        return f"Whether {new} may replace {old} is not decided: open are {_names(open_)}."
    return f"{new} keeps every guardrail, but no gain over {old} is shown yet."


def _names(findings: Sequence[Finding]) -> str:
    shown = [f"{f.dataset} {f.metric}" + (f" ({f.part})" if f.part else "") for f in findings[:3]]
    more = f" and {len(findings) - 3} more" if len(findings) > 3 else ""
    return ", ".join(shown) + more


def _noun(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"


def reasons_of(case: Case, outcome: Outcome) -> tuple[str, ...]:
    """What led to the outcome, then the waivers, then what else must be known."""
    wanted = [finding for finding in case.findings if finding.role != "success"]
    if case.policy.mode == "improve" and outcome in (Outcome.HOLD, Outcome.PROMOTE):
        wanted = list(case.findings)
    if outcome == Outcome.INVALID:
        wanted = list(case.findings)
    decisive = [f.sentence for f in wanted if f.outcome is outcome and not f.waived]
    if outcome == Outcome.INVALID:  # what broke an arm is often why nothing could be compared
        decisive += [f.sentence for f in case.of(Outcome.REJECT) if f.role == "limit"]
    problems = case.problems if outcome == Outcome.INVALID else ()
    empty = () if problems or decisive else ("Nothing was compared.",)
    waivers = [state.sentence for state in case.waivers]
    return (*problems, *decisive, *empty, *waivers, *_cautions(case))


def _cautions(case: Case) -> list[str]:
    """Beating a weak legacy arm is no reason to migrate: say where the candidate is weak itself."""
    weak = [
        f"Caution: on {each.dataset} {each.arm} is {percent(-each.skill)} worse than "
        f"{each.reference} by {each.metric}."
        for each in case.validity.standings
        if each.arm == case.policy.candidate and each.skill is not None and each.skill < 0
    ]
    return [*weak, *(f"Caution: {text}" for text in case.validity.doubts)]


def next_action(case: Case, outcome: Outcome, room: Mapping[str, int]) -> str:
    """What to do now, in one sentence."""
    new, old = case.policy.candidate, case.policy.baseline
    if outcome == Outcome.PROMOTE:
        return f"Replace {old} by {new}, and keep comparing them on new origins."
    if outcome == Outcome.REJECT:
        return f"Keep {old}; look at the windows where {new} loses most before trying again."
    if outcome == Outcome.INVALID:
        return "Repair what is named first, run the missing cells, and judge again."
    unmeasured = [f for f in case.of(Outcome.HOLD) if f.unit == "ratio"]
    if unmeasured and len(unmeasured) == len(case.of(Outcome.HOLD)):
        return f"Keep {old} for now, measure what is open ({_names(unmeasured)}), and judge again."
    return _more_origins(case, room)


def _more_origins(case: Case, room: Mapping[str, int]) -> str:
    """How many more origins would decide what is open, and where they come from."""
    old = case.policy.baseline
    open_ = [f for f in case.findings if f.outcome is Outcome.HOLD and not f.waived]
    needed = [finding.comparison for finding in open_ if finding.comparison]
    counts = [each.more_origins for each in needed if each.more_origins is not None]
    silent = [each for each in needed if each.silent and each.more_origins is None]
    if silent:
        few = min(each.independent_n for each in silent)
        return (
            f"Keep {old} for now; {few} non-overlapping origins are too few to say how many would "
            "decide: compare again with more."
        )
    if not counts or len(counts) < len(needed):
        return (
            f"Keep {old} for now; some effects lie so close to their bound that more origins will "
            "not decide them: settle beforehand whether the margin is what you mean."
        )
    more = f"{max(counts)} more independent origins"
    return f"Keep {old} for now and compare again with {more}: {_where_from(needed, room)}"


def _where_from(needed: Sequence[Comparison], room: Mapping[str, int]) -> str:
    """Whether the data hold the origins that are needed, and when the rest will be there."""
    counts = dict.fromkeys((each.dataset for each in needed), 0)
    for each in needed:
        counts[each.dataset] = max(counts[each.dataset], each.more_origins or 0)
    lacking = {name: count - room.get(name, 0) for name, count in counts.items()}
    most = max(lacking, key=lambda name: lacking[name])
    if lacking[most] <= 0:
        return "the data hold that many, so raise `origins` in the plan."
    dates = [each.decided_by for each in needed if each.decided_by and lacking[each.dataset] > 0]
    rest = f"the rest will be there by {max(dates)}" if dates else "the rest is yet to come"
    margin = "Settle beforehand whether the margin is what you mean."
    return f"{most} holds {room.get(most, 0)}, {rest}. {margin}"
