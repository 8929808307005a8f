"""The first screen: eight things a reader needs before anything else, each in a few words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.evidence.comparison import Comparison
from harness.experiments.waivers import WaiverState
from harness.judging.findings import Finding, Outcome, no_prediction
from harness.judging.verdict import Verdict
from reports.page_input import PageInput, Pick, largest_losses, span
from reports.sections.cost_tables import Figure, cost_line, not_measured
from reports.sections.forest import Forest, bounds_of, build_forest, effect_text, limit_text
from reports.sections.slices import SliceEffect, worst_slice
from reports.sections.trust import Item, completeness_noted
from reports.words import numbers, verdicts
from reports.words.facts import say
from reports.words.findings import sentence_of, why_open


def strip(page: PageInput) -> list[Item]:
    """Pairing, completeness, blindness, contamination, random-walk bar, self-test, new evidence."""
    return [
        _pairing(page),
        _completeness(page),
        _blindness(page),
        _contamination(page),
        _random_walk(page),
        _self_test(page),
        _evidence(page),
    ]


def _pairing(page: PageInput) -> Item:
    mark = page.verdict.validity.pairing
    same = mark == "holds"
    text = "same origins and actuals for all arms" if same else "not shown to be the same windows"
    return Item(label="Pairing", mark=mark, text=text)


def _completeness(page: PageInput) -> Item:
    seen = page.verdict.validity
    noted = completeness_noted(seen)
    failed = any(unit.failures for unit in seen.units)
    text = f"{seen.present} of {seen.declared} cells{'' if failed else ', no window failed'}{noted}"
    return Item(label="Completeness", mark=seen.completeness, text=text)


def _blindness(page: PageInput) -> Item:
    found, mark = page.verdict.validity.blindness, page.verdict.validity.future_blindness
    text = "both sides passed T10"
    if mark == "broken":
        arms = numbers.listing(each.arm for each in found if each.state == "failed")
        text = f"{arms} reads past its origin"
    elif mark == "note":
        untested = [each.arm for each in found if each.state == "not tested"]
        said = f"{untested[0]} not tested" if len(untested) == 1 else "neither side tested"
        text = f"{said}: see What it rests on"
    return Item(label="Future-blindness", mark=mark, text=text)


def _contamination(page: PageInput) -> Item:
    seen = page.verdict.validity
    text = "no judged session was pretrained on"
    if seen.uncontaminated != "holds":
        known = [each.share for each in seen.contamination if each.share is not None]
        text = "unknown: the candidate does not say what it was pretrained on"
        if known and len(known) == len(seen.contamination):
            most = numbers.percent(max(known), digits=0)
            text = f"up to {most} of origins may be in its pretraining data"
    return Item(label="Contamination", mark=seen.uncontaminated, text=text)


def _random_walk(page: PageInput) -> Item:
    seen = page.verdict.validity
    parts, beaten, behind = [], [], []
    for dataset, sides in seen.bars.items():
        mine, theirs = (sides.get(arm) for arm in (page.verdict.candidate, page.verdict.legacy))
        skill = None if mine is None else mine.skill
        parts.append(f"{numbers.percent(skill, signed=True)} on {dataset}")
        beaten.append(skill is not None and skill > 0)
        if theirs is not None and not (theirs.skill is not None and theirs.skill > 0):
            behind.append(dataset)
    text = f"candidate's skill {numbers.listing(parts)}" if parts else "no reference arm"
    if behind and all(beaten):  # or the mark would not fit the words
        text += f"; legacy has none on {numbers.listing(behind)}"
    return Item(label="Random-walk bar", mark=seen.above_reference(), text=text)


def _self_test(page: PageInput) -> Item:
    found = page.verdict.self_test
    if found is None:
        text = f"not run: {page.beside.command('gate')}"
        return Item(label="Self-test", mark="note", text=text)
    count = f"{found.passed} of {len(found.parts)} parts passed"
    bad = [part.code for part in found.parts if part.state == "failed"]
    if bad:
        count += f"; failed: {', '.join(bad)}"
    return Item(label="Self-test", mark=found.mark, text=count)


def _evidence(page: PageInput) -> Item:
    label = "New evidence"
    entry, change = page.beside.entry, page.beside.change
    if entry is None:
        return Item(label=label, mark="note", text="no history is stored")
    if change is None:
        return Item(label=label, mark="holds", text="the first verdict on this pair")
    counts = [
        f"{numbers.plural(count, 'new origin')} on {name}"
        for name, count in change.new_origins.items()
    ]
    if not any(change.new_origins.values()):
        return Item(label=label, mark="note", text="no new origin since the last verdict")
    return Item(label=label, mark="holds", text=numbers.listing(counts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """A rule that could not be told: what would be found, what is asked, what would decide it.

    `why` is there where more origins would not decide it.
    """

    name: str
    detectable: str
    margin: str
    needed: str
    why: str


def why(verdict: Verdict) -> str:
    """Say in one sentence what the outcome rests on, with the figures of the rule that weighs most.

    An INVALID verdict has no figures to stand on: then it is the record's own sentence.
    """
    binding = [finding for finding in verdict.findings if finding.binding]
    mine = [finding for finding in binding if finding.outcome is verdict.outcome]
    if verdict.outcome is Outcome.INVALID or not (mine or binding):
        return verdicts.summary(verdict)
    lead = verdicts.summary(verdict).removesuffix(".")
    shown = _weightiest(mine or binding)
    if shown is None:
        return verdicts.summary(verdict)
    word = {Outcome.REJECT: "most beyond", Outcome.PROMOTE: "nearest to its limit"}.get(
        verdict.outcome, "furthest from shown"
    )
    return f"{lead}; {word}: {name_of(shown)} {_figures(shown)}."


def _weightiest(findings: Sequence[Finding]) -> Finding | None:
    """The rule whose bound comes nearest to its limit, or goes furthest beyond it."""
    known = [(strain(finding), finding) for finding in findings]
    rated = [(found, finding) for found, finding in known if found is not None]
    if rated:
        return max(rated, key=lambda pair: pair[0])[1]
    return next((finding for finding in findings if finding.value is not None), None)


def strain(finding: Finding) -> float | None:
    """Upper bound of the effect over its limit: 1 stands at the limit; None without one."""
    low, high = bounds_of(finding.comparison)
    compared = finding.comparison
    if compared is None or not compared.bound_high:
        return None
    ends = [end for end in (high, -low if compared.bound_low and low is not None else None) if end]
    return max(ends) / abs(compared.bound_high) if ends else None


def name_of(finding: Finding) -> str:
    """A rule as a reader names it."""
    part = f", {finding.part}" if finding.part else ""
    where = "" if finding.unit == "ratio" else f" on {finding.dataset}{part}"
    return f"{numbers.metric_name(finding.metric)}{where}"


def _figures(finding: Finding) -> str:
    low, high = bounds_of(finding.comparison)
    known = low is not None or high is not None
    bounds = numbers.effects(finding.metric, low, high) if known else "none can be given"
    return f"{effect_text(finding)} (bounds {bounds}; limit {limit_text(finding)})"


def open_rules(verdict: Verdict) -> list[Open]:
    """Every rule without a decision, those that bind first."""
    unsure = (Outcome.HOLD, Outcome.INVALID)
    found = [each for each in verdict.findings if each.outcome in unsure]
    return [_open(each) for each in sorted(found, key=lambda each: not each.binding)]


def _open(finding: Finding) -> Open:
    compared = finding.comparison
    detectable = compared.detectable if compared else None
    more = compared.more_origins if compared else None
    until = compared.decided_by if compared else None
    if more is not None:
        needed = f"{more:,} more" + (f", by {until}" if until else "")
    else:
        needed = _silent(compared) if compared else "not compared"
    seeds = compared.seeds_needed if compared else None
    return Open(
        name=name_of(finding) + ("" if finding.role == "guardrail" else f" ({finding.role})"),
        detectable=numbers.effect(finding.metric, detectable).removeprefix("+"),
        margin=limit_text(finding).removeprefix("≤ ").removeprefix("± "),
        needed=f"{seeds} seeds a side" if seeds and more is None else needed,
        why="" if more is not None else why_open(finding) or sentence_of(finding),
    )


def _silent(compared: Comparison) -> str:
    """Why no number of origins is named."""
    return say(no_prediction(compared.independent_n)) if compared.silent else "out of reach"


_OPEN_SHOWN = 4
_WINDOWS_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A window the candidate lost: when, where, and what each side lost there."""

    dates: str
    dataset: str
    candidate: str
    legacy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class First:
    """All of the first screen, in words.

    Attributes
    ----------
    facts
        Candidate, legacy arm, date and policy.
    why
        One sentence with its figures.
    undecided, more_undecided
        What could not be told, and how many further rules.
    worst, windows
        Where it is worse even so: a part of what was judged, and three windows.
    costs, unmeasured
        The cost line, or why there is none.
    changed, waivers, fallback
        Since the last verdict; rules that do not bind; what answers when the candidate cannot.
    """

    outcome: Outcome
    meaning: str
    facts: tuple[tuple[str, str], ...]
    why: str
    next_action: str
    forest: Forest
    kept: str
    undecided: tuple[Open, ...]
    more_undecided: int
    worst: str
    windows: tuple[Lost, ...]
    costs: tuple[Figure, ...]
    unmeasured: str
    trust: tuple[Item, ...]
    changed: tuple[str, ...]
    waivers: tuple[str, ...]
    fallback: str
    replay: str


def first_screen(page: PageInput, datasets: Sequence[str]) -> First:
    """Word the first screen of a page."""
    verdict = page.verdict
    forest = build_forest(verdict)
    still = open_rules(verdict)
    return First(
        outcome=verdict.outcome,
        meaning=numbers.MEANINGS[verdict.outcome],
        facts=_facts(page, datasets),
        why=why(verdict),
        next_action=verdicts.next_action(verdict),
        forest=forest,
        kept=_kept(forest),
        undecided=tuple(still[:_OPEN_SHOWN]),
        more_undecided=max(0, len(still) - _OPEN_SHOWN),
        worst=_worst(worst_slice(page, datasets), page),
        windows=_windows(page, datasets),
        costs=tuple(cost_line(page, verdict.legacy)),
        unmeasured=not_measured(page, verdict.legacy),
        trust=tuple(strip(page)),
        changed=tuple(changed(page)),
        waivers=tuple(_waiver(state) for state in verdict.waivers),
        fallback=fallback(page),
        replay=page.beside.replay_command,
    )


def _facts(page: PageInput, datasets: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Who, against whom, up to which day, on what, by which policy."""
    days = [facts.last_origin for facts in page.datasets.values()]
    until = f"to {max(days)}" if days else "no date stored"
    return (
        ("Candidate", page.verdict.candidate),
        ("Legacy", page.label(page.verdict.legacy)),
        ("Origins", f"{until}, {numbers.listing(datasets) or 'no data'}"),
        ("Policy", policy_text(page)),
    )


def policy_text(page: PageInput) -> str:
    """The policy in a few words."""
    policy = page.verdict.policy
    parts = []
    if policy.get("mode"):
        parts.append(str(policy["mode"]))
    if isinstance(policy.get("alpha"), float):
        parts.append(f"error rate {numbers.percent(policy['alpha'], digits=0)} a side")
    if isinstance(policy.get("min_origins"), int):
        parts.append(f"{policy['min_origins']} origins or more")
    return ", ".join(parts) or "as recorded below"


def _kept(forest: Forest) -> str:
    """One line for all counts that are kept."""
    if not forest.silent:
        return ""
    labels = numbers.listing(dict.fromkeys(row.label for row in forest.silent))
    return f"{numbers.plural(len(forest.silent), 'limit')} without an interval kept ({labels})"


def _worst(found: SliceEffect | None, page: PageInput) -> str:
    """The worst part in a sentence."""
    if found is None:
        return "No part can be compared: the sides share no scores."
    interval = numbers.effects("crps", found.low, found.high)
    where = f"{found.title} on {found.dataset}"
    effect = numbers.effect("crps", found.effect)
    said = f"{where}: CRPS {effect} against {page.verdict.legacy} (95 %: {interval}, n = "
    told = "better even there" if (found.effect or 0.0) < 0 else "worse"
    shown = told if found.shown else "not shown to be worse"
    return f"{said}{found.windows:,}): {shown}."


def _windows(page: PageInput, datasets: Sequence[str]) -> tuple[Lost, ...]:
    """The three windows of all datasets that were lost by most."""
    found = [(name, pick) for name in datasets for pick in largest_losses(page, name)]
    found.sort(key=lambda each: (each[1].legacy_loss or 0.0) - each[1].candidate_loss)
    return tuple(_lost(page, name, pick) for name, pick in found[:_WINDOWS_SHOWN])


def _lost(page: PageInput, dataset: str, pick: Pick) -> Lost:
    facts = page.datasets.get(dataset)
    around = span(facts, pick.origin) if facts else None
    return Lost(
        dates=f"from {around.dates[0]}" if around else f"row {pick.origin}",
        dataset=dataset,
        candidate=numbers.percent(pick.candidate_loss, digits=2),
        legacy=numbers.percent(pick.legacy_loss, digits=2),
    )


def changed(page: PageInput) -> list[str]:
    """What changed since the last verdict on this pair."""
    entry, change = page.beside.entry, page.beside.change
    if entry is None:
        return ["No history is stored with this page."]
    if change is None:
        return ["First verdict on this pair."]
    said = [
        f"{change.before} before, {change.after} now"
        if change.before != change.after
        else f"{change.after} as before"
    ]
    new = [f"{count:,} on {name}" for name, count in change.new_origins.items() if count]
    said.append(f"new origins: {numbers.listing(new)}" if new else "no new origin")
    moved = [
        f"{name} {old or 'new'} \u2192 {now or 'gone'}"
        for name, (old, now) in change.findings.items()
    ]
    if moved:
        more = f" and {len(moved) - 2} more" if len(moved) > 2 else ""
        said.append(f"moved: {', '.join(moved[:2])}{more}")
    if not change.same_meaning:
        said.append("other data, arms, policy or code")
    return said


def _waiver(state: WaiverState) -> str:
    each = state.waiver
    what = "ended" if not state.active else "open" if state.waived else "not needed"
    return f"{each.finding} until {each.until} by {each.owner}: {what}"


def fallback(page: PageInput) -> str:
    """What answers where the candidate cannot, and how often it did."""
    facts = next((arm for arm in page.arms if arm.name == page.verdict.candidate), None)
    behind = facts.card.get("fallback") if facts else None
    if not behind:
        return f"none: if {page.verdict.candidate} fails, nothing answers"
    units = [unit for unit in page.scores if unit.arm == page.verdict.candidate]
    count = sum(int(unit.answered_by_fallback.sum()) for unit in units)
    windows = sum(len(unit) for unit in units)
    return f"{behind} answered {count:,} of {windows:,} windows, none credited to the candidate"
