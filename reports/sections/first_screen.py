"""The first screen: eight things a reader needs before anything else, each in a few words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from harness.evidence.comparison import Comparison, Planning
from harness.experiments.waivers import WaiverState
from harness.judging.findings import Finding, Outcome, no_prediction
from harness.judging.verdict import Verdict
from reports.page_input import PageInput, largest_losses, span
from reports.section import (
    Banner,
    Basis,
    BasisList,
    Block,
    Command,
    Facts,
    Group,
    Heading,
    Lines,
    Part,
    Section,
    Table,
    TableCell,
    Term,
    Text,
    columns,
    text,
    there,
)
from reports.sections.cost_tables import cost_line, not_measured
from reports.sections.forest import Forest, bounds_of, build_forest, effect_text, limit_text
from reports.sections.slices import SliceEffect, worst_slice
from reports.sections.trust import completeness_noted, weak_legacy
from reports.words import numbers, verdicts
from reports.words.facts import say
from reports.words.findings import sentence_of, why_open


def strip(page: PageInput) -> list[Basis]:
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


def _pairing(page: PageInput) -> Basis:
    mark = page.verdict.validity.pairing
    same = mark == "holds"
    text = "same origins and actuals for all arms" if same else "not shown to be the same windows"
    return Basis(label="Pairing", mark=mark, text=text)


def _completeness(page: PageInput) -> Basis:
    seen = page.verdict.validity
    failed = any(unit.failures for unit in seen.units)
    noted = ("" if failed else ", no window failed") + completeness_noted(seen)
    text = f"{seen.present} of {seen.declared} cells{noted}"
    return Basis(label="Completeness", mark=seen.completeness, text=text)


def _blindness(page: PageInput) -> Basis:
    found, mark = page.verdict.validity.blindness, page.verdict.validity.future_blindness
    text = "both sides passed T10"
    if mark == "broken":
        arms = numbers.listing(each.arm for each in found if each.state == "failed")
        text = f"{arms} reads past its origin"
    elif mark == "note":
        untested = [each.arm for each in found if each.state == "not tested"]
        said = f"{untested[0]} not tested" if len(untested) == 1 else "neither side tested"
        text = f"{said}: see What it rests on"
    return Basis(label="Future-blindness", mark=mark, text=text)


def _contamination(page: PageInput) -> Basis:
    seen = page.verdict.validity
    text = "no judged session was pretrained on"
    if seen.uncontaminated != "holds":
        known = [each.share for each in seen.contamination if each.share is not None]
        text = "unknown: the candidate does not say what it was pretrained on"
        if known and len(known) == len(seen.contamination):
            most = numbers.percent(max(known), digits=0)
            text = f"up to {most} of origins may be in its pretraining data"
    return Basis(label="Contamination", mark=seen.uncontaminated, text=text)


def _random_walk(page: PageInput) -> Basis:
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
    return Basis(label="Random-walk bar", mark=seen.above_reference(), text=text)


def _self_test(page: PageInput) -> Basis:
    found = page.verdict.self_test
    if found is None:
        text = f"not run: {page.beside.command('gate')}"
        return Basis(label="Self-test", mark="note", text=text)
    count = f"{found.passed} of {len(found.parts)} parts passed"
    bad = [part.code for part in found.parts if part.state == "failed"]
    failed = f"; failed: {', '.join(bad)}" if bad else ""
    return Basis(label="Self-test", mark=found.mark, text=f"{count}{failed}")


def _evidence(page: PageInput) -> Basis:
    label = "New evidence"
    change = page.beside.since
    if change is None:
        return Basis(label=label, mark="note", text="no history is stored")
    if change.before is None:
        return Basis(label=label, mark="holds", text="the first verdict on this pair")
    counts = [
        f"{numbers.plural(count, 'new origin')} on {name}"
        for name, count in change.new_origins.items()
    ]
    if not any(change.new_origins.values()):
        return Basis(label=label, mark="note", text="no new origin since the last verdict")
    return Basis(label=label, mark="holds", text=numbers.listing(counts))


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
    if compared is None or not compared.question.bound_high:
        return None
    asked = compared.question
    ends = [end for end in (high, -low if asked.bound_low and low is not None else None) if end]
    return max(ends) / abs(asked.bound_high) if ends else None


def name_of(finding: Finding) -> str:
    """A rule as a reader names it."""
    part = f", {finding.part}" if finding.part else ""
    where = "" if finding.unit == "ratio" else f" on {finding.dataset}{part}"
    return f"{numbers.metric_name(finding.metric)}{where}"


def _figures(finding: Finding) -> str:
    low, high = bounds_of(finding.comparison)
    known = low is not None or high is not None
    bounds = numbers.effects(finding.unit, low, high) if known else "none can be given"
    return f"{effect_text(finding)} (bounds {bounds}; limit {limit_text(finding)})"


def open_rules(verdict: Verdict) -> list[Open]:
    """Every rule without a decision, those that bind first."""
    unsure = (Outcome.HOLD, Outcome.INVALID)
    found = [each for each in verdict.findings if each.outcome in unsure]
    return [_open(each) for each in sorted(found, key=lambda each: not each.binding)]


def _open(finding: Finding) -> Open:
    compared = finding.comparison
    planned = compared.planning if compared else Planning()
    more, until, seeds = planned.more_origins, planned.decided_by, planned.seeds_needed
    if more is not None:
        needed = f"{more:,} more" + (f", by {until}" if until else "")
    else:
        needed = _silent(compared) if compared else "not compared"
    return Open(
        name=name_of(finding) + ("" if finding.role == "guardrail" else f" ({finding.role})"),
        detectable=numbers.effect(finding.unit, planned.detectable).removeprefix("+"),
        margin=limit_text(finding).removeprefix("≤ ").removeprefix("± "),
        needed=f"{seeds} seeds a side" if seeds and more is None else needed,
        why="" if more is not None else why_open(finding) or sentence_of(finding),
    )


def _silent(compared: Comparison) -> str:
    """Why no number of origins is named."""
    return say(no_prediction(compared.sample.independent_n)) if compared.silent else "out of reach"


_OPEN_SHOWN = 4
_WINDOWS_SHOWN = 3


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
    interval = numbers.effects("share", found.low, found.high)
    where = f"{found.title} on {found.dataset}"
    effect = numbers.effect("share", found.effect)
    said = f"{where}: CRPS {effect} against {page.verdict.legacy} (95 %: {interval}, n = "
    told = "better even there" if (found.effect or 0.0) < 0 else "worse"
    shown = told if found.shown else "not shown to be worse"
    return f"{said}{found.windows:,}): {shown}."


def changed(page: PageInput) -> list[str]:
    """What changed since the last verdict on this pair."""
    change, now = page.beside.since, page.verdict.outcome
    if change is None:
        return ["No history is stored with this page."]
    if change.before is None:
        return ["First verdict on this pair."]
    said = [f"{change.before} before, {now} now" if change.before != now else f"{now} as before"]
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


def first_screen(page: PageInput) -> Iterator[Section]:
    """The answer, what it rests on, and what speaks against it."""
    verdict = page.verdict
    yield Section(
        id="first",
        title="",
        items=(
            _banner(page),
            Group(id="why", style="why", blocks=_conclusion(page)),
            Group(
                style="middle",
                blocks=(
                    Group(id="effects", blocks=_effects(verdict)),
                    Group(
                        style="beside",
                        blocks=(
                            Group(id="undecided", blocks=_undecided(verdict)),
                            Group(id="weakness", blocks=_weakness(page)),
                        ),
                    ),
                ),
            ),
            Group(id="costs", blocks=_costs(page)),
            Group(
                id="trust",
                blocks=(
                    Heading(text="Trust", level=2),
                    BasisList(items=tuple(strip(page)), brief=True),
                ),
            ),
            Group(id="since", blocks=(Heading(text="Since", level=2), _since(page))),
        ),
    )


def _banner(page: PageInput) -> Banner:
    """Who, against whom, up to which day, on what, by which policy."""
    days = [facts.last_origin for facts in page.datasets.values()]
    until = f"to {max(days)}" if days else "no date stored"
    where = numbers.listing(page.dataset_names) or "no data"
    return Banner(
        outcome=page.verdict.outcome,
        meaning=numbers.MEANINGS[page.verdict.outcome],
        candidate=page.verdict.candidate,
        legacy=page.verdict.legacy,
        title=page.title,
        facts=(
            Term(name="Candidate", text=page.verdict.candidate),
            Term(name="Legacy", text=page.label(page.verdict.legacy)),
            Term(name="Origins", text=f"{until}, {where}"),
            Term(name="Policy", text=policy_text(page)),
        ),
    )


def _conclusion(page: PageInput) -> tuple[Block, ...]:
    verdict = page.verdict
    weak = numbers.listing(weak_legacy(page))
    warning = Text(
        lead=f"A weak bar on {weak}.",
        text=f"{verdict.candidate} beats {verdict.legacy}, but neither beats "
        f"{page.reference or 'the random walk'}: not a reason to trust either.",
        style="warning",
    )
    first = said_first(verdict)
    return there(
        *first,
        Text(text=why(verdict), style="summary"),
        Text(lead="Next:", text=verdicts.next_action(verdict), style="next"),
        warning if weak and not first else None,
    )


def said_first(verdict: Verdict) -> list[Text]:
    """What a reader must know before the answer: a straw man, rules changed after results."""
    return [
        Text(lead="Caution:", text=say(each), style="warning") for each in verdict.safeguards.first
    ]


def _effects(verdict: Verdict) -> tuple[Block, ...]:
    forest = build_forest(verdict)
    return (
        Heading(text="Every criterion: effect divided by its limit", level=2),
        replace(forest, kept=_kept(forest))
        if forest.groups
        else Text(text="No criterion was judged."),
    )


def _undecided(verdict: Verdict) -> tuple[Block, ...]:
    title = "What could not be told"
    still = open_rules(verdict)
    more = len(still) - _OPEN_SHOWN
    table = Table(
        small=True,
        caption=title,
        columns=columns(
            *("Criterion", "Detectable", "Limit", "Independent origins"),
            words=("Independent origins",),
        ),
        rows=tuple(
            (text(rule.name), text(rule.detectable), text(rule.margin), text(rule.needed, rule.why))
            for rule in still[:_OPEN_SHOWN]
        ),
    )
    return there(
        Heading(text=title, level=2),
        table if still else Text(text="Every criterion was decided."),
        Text(text=f"{more} more below", style="note", link="power") if more > 0 else None,
    )


def _weakness(page: PageInput) -> tuple[Block, ...]:
    worst = _worst(worst_slice(page, page.dataset_names), page)
    lost = tuple(lost_windows(page))
    table = Table(
        small=True,
        caption="Worst windows",
        caption_note="CRPS, share of the last value",
        columns=columns("Window", "Dataset", "Candidate", "Legacy", words=("Dataset",)),
        rows=tuple(
            (
                text(dates),
                text(dataset),
                text(candidate),
                TableCell(text=f"legacy {legacy}", quiet=True),
            )
            for dates, dataset, candidate, legacy in lost
        ),
    )
    none = f"No window was lost against {page.verdict.legacy}."
    return (
        Heading(text="Where it is worse even so", level=2),
        Text(lead="Worst part:", text=worst, style="worst"),
        table if lost else Text(text=none),
    )


def lost_windows(page: PageInput) -> Iterator[tuple[str, str, str, str]]:
    """The three windows of all datasets lost by most: dates, dataset, what each side lost there."""
    found = [(name, pick) for name in page.dataset_names for pick in largest_losses(page, name)]
    found.sort(key=lambda each: (each[1].legacy_loss or 0.0) - each[1].candidate_loss)
    for dataset, pick in found[:_WINDOWS_SHOWN]:
        facts = page.datasets.get(dataset)
        around = span(facts, pick.origin) if facts else None
        yield (
            f"from {around.dates[0]}" if around else f"row {pick.origin}",
            dataset,
            numbers.percent(pick.candidate_loss, digits=2),
            numbers.percent(pick.legacy_loss, digits=2),
        )


def _costs(page: PageInput) -> tuple[Block, ...]:
    found = cost_line(page, page.verdict.legacy)
    terms = tuple(
        Term(
            name=each.title,
            strong=each.ratio or "no ratio",
            state=each.word if each.ratio else "",
            note="; ".join(filter(None, (each.interval, each.floor)))
            if each.interval
            else each.said,
        )
        for each in found
    )
    return (
        Heading(text="Costs", quiet="candidate / legacy", level=2),
        Facts(style="cells", terms=terms)
        if found
        else Text(text=not_measured(page, page.verdict.legacy)),
    )


def _since(page: PageInput) -> Facts:
    waivers = "; ".join(_waiver(state) for state in page.verdict.waivers)
    return Facts(
        style="cells",
        terms=(
            Term(name="Since the last verdict", text="; ".join(changed(page))),
            Term(name="Waivers", text=waivers or "none"),
            Term(name="Fallback", text=fallback(page)),
            Term(name="Judge the same records again", code=page.beside.replay_command),
        ),
    )


def summary(page: PageInput) -> Iterator[Section]:
    """The answer and its criteria."""
    verdict = page.verdict
    weak = numbers.listing(weak_legacy(page))
    warning = Text(
        lead=f"A weak bar on {weak}:",
        text=f"{verdict.candidate} beats {verdict.legacy}, but neither beats the random walk. "
        "Beating a weak legacy model is not a reason to trust either.",
    )
    yield Section(
        id="first",
        title="",
        items=there(
            replace(_banner(page), facts=()),
            *said_first(verdict),
            Text(text=why(verdict)),
            Text(lead="Next:", text=verdicts.next_action(verdict)),
            warning if weak and not verdict.safeguards.first else None,
        ),
    )
    forest = build_forest(verdict)
    none = Text(text="No criterion was judged.")
    yield Section(id="effects", title="", items=(forest if forest.groups else none,))


def lists(page: PageInput) -> Iterator[Section]:
    """Everything else of the first screen, line by line."""
    verdict = page.verdict
    doubts = (
        f"{rule.name}: independent origins: {rule.needed}; detectable {rule.detectable}, "
        f"limit {rule.margin}"
        for rule in open_rules(verdict)
    )
    yield from _listed("Why no conclusion is allowed", verdicts.problems(verdict))
    yield from _listed("Reasons", verdicts.reasons(verdict))
    yield from _listed("What could not be told", doubts)
    yield from _listed("Waivers", map(verdicts.waiver, verdict.waivers))
    yield from _listed("The gate's self-test", _self_test_lines(verdict))
    if page.alone:
        return
    windows = (
        f"{dates} on {dataset}: CRPS {candidate} of the last value, legacy {legacy}"
        for dates, dataset, candidate, legacy in lost_windows(page)
    )
    worst = _worst(worst_slice(page, page.dataset_names), page)
    costs = (
        f"{each.title}: "
        + ", ".join(filter(None, (each.ratio, each.interval, each.floor, each.word, each.said)))
        for each in cost_line(page, verdict.legacy)
    )
    unmeasured = not_measured(page, verdict.legacy)
    yield from _listed("Where it is worse even so", (worst, *windows))
    yield from _listed("Costs, candidate over legacy", tuple(costs) or (unmeasured,))
    yield Section(
        id="trust", title="What it rests on", items=(BasisList(items=tuple(strip(page))),)
    )
    yield from _listed("Since the last verdict", changed(page))
    yield from _listed("Fallback", (fallback(page),))
    replay = Command(said="", command=page.beside.replay_command)
    yield Section(id="replay", title="Judge the same records again", items=(replay,))


def _listed(title: str, lines: Iterable[str]) -> Iterator[Section]:
    """A list under its title; nothing where it has no line."""
    found = tuple(lines)
    if found:
        yield Section(id="", title=title, items=(Lines(lines=found),))


def _self_test_lines(verdict: Verdict) -> list[str]:
    """One line where all parts passed, else a line per part that did not."""
    if verdict.self_test is None:
        return []
    parts = verdict.self_test.parts
    bad = [
        f"{part.code}, {part.state}: {verdicts.self_test_title(part)}: {say(part.found)}"
        for part in parts
        if part.state != "passed"
    ]
    count = f"{verdict.self_test.passed} of {len(parts)} parts passed"
    return [count, *dict.fromkeys(bad)]


def answer(page: PageInput) -> Iterator[Section]:
    """The answer, and a table of criteria for each dataset."""
    verdict = page.verdict
    said = Text(text=f"{verdict.outcome}: {verdicts.summary(verdict)}")
    yield Section(id="first", title="", items=(*said_first(verdict), said))
    for dataset, rows in build_forest(verdict).groups:
        table = Table(
            caption="",
            columns=columns(
                *("Result", "Criterion", "Effect", "Bounds", "Limit"), words=("Criterion",)
            ),
            rows=tuple(
                (
                    text(row.outcome.value),
                    text(f"{row.label} ({row.note})"),
                    text(row.effect),
                    text(row.interval),
                    text(row.limit),
                )
                for row in rows
            ),
        )
        yield Section(id="effects", title=dataset, items=(table,))


def reasons(page: PageInput) -> Iterator[Section]:
    """Why, a line each."""
    lines = Lines(lines=tuple(verdicts.reasons(page.verdict)))
    yield Section(id="reasons", title="", items=(lines,) if lines.lines else ())


def ending(page: PageInput) -> Iterator[Section]:
    """How the gate judged itself, and what to do next."""
    found = page.verdict.self_test
    if found is not None:
        rest = [f"{part.code} {part.state}" for part in found.parts if part.state != "passed"]
        more = f" ({', '.join(rest)})" if rest else ""
        count = f"{found.passed} of {len(found.parts)} parts passed"
        said = Text(text=f"Self-test of the gate: {count}{more}.")
        yield Section(id="self-test", title="", items=(said,))
    following = Text(lead="Next:", text=verdicts.next_action(page.verdict))
    yield Section(id="next", title="", items=(following,))


PARTS = (
    Part(order=100, page=first_screen, summary=summary, terminal=answer),
    Part(order=130, summary=lists),
    Part(order=500, terminal=reasons),
    Part(order=900, terminal=ending),
)
