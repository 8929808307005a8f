"""A verdict in words: the answer, what led to it, what to do now, and what it rests on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.experiments.waivers import WaiverState
from harness.judging.conclusion import SelfTest, SelfTestPart
from harness.judging.declared import PlanRecord
from harness.judging.fact import FactCode
from harness.judging.findings import Finding, Outcome
from harness.judging.verdict import Verdict
from reports.words import numbers
from reports.words.facts import SELF_TEST_TITLES, say
from reports.words.sentences import sentence_of


def summary(verdict: Verdict) -> str:
    """The answer in one sentence."""
    return say(verdict.summary)


def problems(verdict: Verdict) -> list[str]:
    """Why no conclusion is allowed, a sentence each."""
    return [say(each) for each in verdict.validity.problems]


def reasons(verdict: Verdict) -> list[str]:
    """What led to the outcome, a sentence each, the weightiest first."""
    said = []
    for found in verdict.reasons:
        if found.code is FactCode.FINDING:
            wanted = found.values["id"]
            said.append(sentence_of(next(each for each in verdict.findings if each.id == wanted)))
        elif found.code is FactCode.WAIVER:
            place = found.values["place"]
            assert isinstance(place, int)
            said.append(waiver(verdict.waivers[place]))
        else:
            said.append(say(found))
    return said


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


def failures(verdict: Verdict, logs: Mapping[tuple[str, str, int], str]) -> list[str]:
    """Units whose windows failed: why the first did and where its log is; the judged pair first."""
    failed = sorted((each for each in verdict.validity.units if each.failures),
                    key=lambda each: not each.judged)  # fmt: skip
    found = []
    for each in failed:
        log = logs.get((each.arm, each.dataset, each.seed), "")
        found.append(
            f"{each.arm} on {each.dataset}, seed {each.seed}: {each.failures} of {each.windows} "
            f"windows failed: {each.first_reason or 'no reason was stored'}"
            + (f" (log: {log})" if log else "")
        )
    return found


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
    return [parts_passed(verdict.self_test), *dict.fromkeys(bad)]


def parts_passed(tested: SelfTest) -> str:
    """How many parts of the gate's self-test passed; that it was not run where none was."""
    if all(part.state == "not run" for part in tested.parts):
        return "not run"
    return f"{tested.passed} of {len(tested.parts)} parts passed"


def self_test_title(part: SelfTestPart) -> str:
    """What must be true of a part of the gate's self-test."""
    return SELF_TEST_TITLES[part.code]


def plan(record: PlanRecord | None) -> dict[str, str]:
    """The plan as names and texts."""
    if record is None:
        return {}
    found = {"experiment": record.experiment, "seeds": ", ".join(map(str, record.seeds))}
    for each in record.datasets:
        gap = f" after a gap of {each.gap}" if each.gap else ""
        known = f" ({each.prospective} prospective)" if each.prospective else ""
        found[f"{each.dataset} origins"] = (
            f"{each.origins}{known} from {each.first} to {each.last}, every {each.stride} "
            f"sessions, {each.horizon} steps each{gap}"
        )
        found[f"{each.dataset} refit"] = (
            "once, at the first origin"
            if each.fits == 1
            else f"{each.fits} fits, every {each.refit} origins"
        )
        if each.skipped is not None:
            found[f"{each.dataset} skip_repeats"] = f"{each.skipped} repeated sessions left out"
    return found


_SMALL = 0.005
_NAMED = 3


def headline(verdict: Verdict) -> str:
    """Result and obstacle in one sentence; the record's own where no loss was compared."""
    if verdict.outcome is Outcome.INVALID:
        return summary(verdict)
    parts = [part for part in (result(verdict), obstacle(verdict)) if part]
    said = "; ".join(parts)
    return f"{said[0].upper()}{said[1:]}." if parts else summary(verdict)


def main_losses(verdict: Verdict) -> list[Finding]:
    """A finding for each dataset by the loss that leads: CRPS, or the first that is judged."""
    rules = [
        each
        for each in verdict.findings
        if not each.part
        and each.value is not None
        and each.unit == "share"
        and each.comparison is not None
    ]
    lead = next((each.metric for each in rules if each.metric == "crps"), None)
    metric = lead or next((each.metric for each in rules), None)
    found: dict[str, Finding] = {}
    for each in rules:
        if each.metric == metric:
            found.setdefault(each.dataset, each)
    return list(found.values())


def result(verdict: Verdict) -> str:
    """How much lower or higher the leading loss is; '' where none was compared."""
    found = main_losses(verdict)
    if not found:
        return ""
    name, legacy = numbers.metric_name(found[0].metric), verdict.legacy
    changes = {each.dataset: each.value or 0.0 for each in found}
    said = {dataset: change_text(value) for dataset, value in changes.items()}
    if len(set(said.values())) == 1:
        told = f"{next(iter(said.values()))} {on_all(changes)}"
    elif len(said) <= _NAMED:
        told = numbers.listing(f"{text} on {dataset}" for dataset, text in said.items())
    else:
        ends = sorted(changes.values())
        told = f"from {change_text(ends[0])} to {change_text(ends[-1])} on {len(said)} datasets"
    unclear = [each.dataset for each in found if not _told_apart(each)]
    doubt = ""
    if unclear:
        where = "" if len(unclear) == len(found) else f" {on_all(unclear)}"
        doubt = f" (not told apart from equal{where})"
    return f"{name} is {told}{doubt} compared with {legacy}"


def change_text(value: float) -> str:
    """A relative change in words: 35 % lower."""
    if abs(value) < _SMALL:
        return "about equal"
    size = numbers.percent(abs(value), digits=0 if abs(value) >= 0.095 else 1)
    return f"{size} {'lower' if value < 0 else 'higher'}"


def _told_apart(finding: Finding) -> bool:
    """Whether the bounds of every method that decides leave 0 out."""
    low, high = finding.bounds
    return (low is not None and low > 0) or (high is not None and high < 0)


def obstacle(verdict: Verdict) -> str:
    """What keeps the candidate from replacing the legacy arm, or that nothing does."""
    binding = [each for each in verdict.findings if each.binding]
    mine = [each for each in binding if each.outcome is verdict.outcome]
    if verdict.outcome is Outcome.PROMOTE:
        waived = sum(each.waived for each in verdict.findings)
        but = f", but for {numbers.plural(waived, 'waived rule')}" if waived else ""
        rules = f"all {len(binding)} binding rules are"
        return f"{'the one binding rule is' if len(binding) == 1 else rules} met{but}"
    if verdict.summary.code is FactCode.HELD_BACK and verdict.summary.because is not None:
        which = " that is not waived" if any(each.waived for each in verdict.findings) else ""
        return f"every rule{which} is met, but {_without_stop(say(verdict.summary.because))}"
    if not mine:
        return _without_stop(summary(verdict))
    word = "worse than allowed" if verdict.outcome is Outcome.REJECT else "still undecided"
    return f"{word}: {'; '.join(named(mine, verdict.findings))}"


def named(findings: Iterable[Finding], among: Sequence[Finding]) -> list[str]:
    """Rules in words, those on the same datasets together, such as RMSE and MAE on GOLD."""
    places: dict[str, list[str]] = {}
    for each in findings:
        where = places.setdefault(rule_name(each), [])
        if each.unit != "ratio" and each.dataset not in where:
            where.append(each.dataset)
    together: dict[tuple[str, ...], list[str]] = {}
    for name, where in places.items():
        together.setdefault(tuple(where), []).append(name)
    count = len({each.dataset for each in among if each.unit != "ratio"})
    return [
        f"{numbers.listing(names)} {on_all(where, of=count)}".strip()
        for where, names in together.items()
    ]


def rule_name(finding: Finding) -> str:
    """What a rule is about, without its dataset."""
    part = f" ({finding.part})" if finding.part else ""
    gain = " (gain asked for)" if finding.role == "success" else ""
    return f"{numbers.metric_name(finding.metric)}{part}{gain}"


def on_all(datasets: Iterable[str], *, of: int | None = None) -> str:
    """On which datasets; 'both' and 'all' where these are all of several."""
    found = list(datasets)
    every = len(found) if of is None else of
    if not found:
        return ""
    if len(found) == every and every == 2:
        return "on both datasets"
    if len(found) == every and every > 2:
        return f"on all {every} datasets"
    return f"on {numbers.listing(found)}" if len(found) <= _NAMED else f"on {len(found)} datasets"


def _without_stop(text: str) -> str:
    return text.removesuffix(".")
