"""A verdict in words: the answer, what led to it, what to do now, and what it rests on."""

from __future__ import annotations

from harness.experiments.waivers import WaiverState
from harness.judging.conclusion import SelfTestPart
from harness.judging.declared import OriginPlan, PlanRecord
from harness.judging.fact import Fact, FactCode
from harness.judging.verdict import Verdict
from reports.words.facts import SELF_TEST_TITLES, say
from reports.words.sentences import sentence_of


def summary(verdict: Verdict) -> str:
    """The answer in one sentence."""
    return say(verdict.summary)


def next_action(verdict: Verdict) -> str:
    """What to do now, in one sentence."""
    return say(verdict.next_action)


def problems(verdict: Verdict) -> list[str]:
    """Why no conclusion is allowed, a sentence each."""
    return [say(each) for each in verdict.validity.problems]


def reasons(verdict: Verdict) -> list[str]:
    """What led to the outcome, a sentence each, the weightiest first."""
    return [_reason(each, verdict) for each in verdict.reasons]


def _reason(found: Fact, verdict: Verdict) -> str:
    if found.code is FactCode.FINDING:
        wanted = found.values["id"]
        return sentence_of(next(each for each in verdict.findings if each.id == wanted))
    if found.code is FactCode.WAIVER:
        place = found.values["place"]
        assert isinstance(place, int)
        return waiver(verdict.waivers[place])
    return say(found)


def waiver(state: WaiverState) -> str:
    """What a waiver did."""
    each = state.waiver
    by = f"by {each.owner}: {each.reason.rstrip('.')}"
    if not state.active:
        return f"A waiver of {each.finding} ended on {each.until} and does nothing ({by})."
    if state.waived:
        names = ", ".join(state.waived)
        return f"Waived until {each.until}, so not binding: {names} ({by})."
    return f"A waiver of {each.finding} until {each.until} was not needed ({by})."


def waiver_in_short(state: WaiverState) -> str:
    """A waiver in a few words: what, until when, by whom, and what it did."""
    each = state.waiver
    what = "ended" if not state.active else "open" if state.waived else "not needed"
    return f"{each.finding} until {each.until} by {each.owner}: {what}"


def failures(verdict: Verdict) -> list[str]:
    """Units whose windows failed, with the first reason, those of the judged pair first."""
    failed = sorted((each for each in verdict.validity.units if each.failures),
                    key=lambda each: not each.judged)  # fmt: skip
    return [
        f"{each.arm} on {each.dataset}, seed {each.seed}: {each.failures} of {each.windows} "
        f"windows failed: {each.first_reason or 'no reason was stored'}"
        for each in failed
    ]


def self_test_lines(verdict: Verdict) -> list[str]:
    """One line where all parts passed, else a line per part that did not."""
    if verdict.self_test is None:
        return []
    parts = verdict.self_test.parts
    bad = [
        f"{part.code}, {part.state}: {self_test_title(part)}: {say(part.found)}"
        for part in parts
        if part.state != "passed"
    ]
    count = f"{verdict.self_test.passed} of {len(parts)} parts passed"
    return [count, *dict.fromkeys(bad)]


def self_test_title(part: SelfTestPart) -> str:
    """What must be true of a part of the gate's self-test."""
    return SELF_TEST_TITLES[part.code]


def plan(record: PlanRecord | None) -> dict[str, str]:
    """The plan as names and texts."""
    if record is None:
        return {}
    found = {"experiment": record.experiment, "seeds": ", ".join(map(str, record.seeds))}
    for each in record.datasets:
        found[f"{each.dataset} origins"] = _origins(each)
        found[f"{each.dataset} refit"] = (
            "once, at the first origin"
            if each.fits == 1
            else f"{each.fits} fits, every {each.refit} origins"
        )
        if each.skipped is not None:
            found[f"{each.dataset} skip_repeats"] = f"{each.skipped} repeated sessions left out"
    return found


def _origins(each: OriginPlan) -> str:
    gap = f" after a gap of {each.gap}" if each.gap else ""
    return (
        f"{each.origins} from {each.first} to {each.last}, every {each.stride} sessions, "
        f"{each.horizon} steps each{gap}"
    )
