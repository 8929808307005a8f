"""The first screen: what a reader who signs needs before anything else."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.evidence.comparison import Comparison, Planning
from harness.judging.fact import FactCode
from harness.judging.findings import Finding, Outcome, no_prediction
from harness.judging.verdict import Verdict
from reports.page_input import (
    ArmFacts,
    DatasetFacts,
    PageInput,
    compared_windows,
    largest_losses,
    span,
)
from reports.section import (
    Banner,
    BasisList,
    Block,
    Details,
    Facts,
    Group,
    Heading,
    Lines,
    Placement,
    Row,
    Section,
    TableCell,
    Term,
    Text,
    table_of,
    text,
)
from reports.sections.cost_tables import cost_line, unpaired
from reports.sections.curves import SliceEffect, worst_slice
from reports.sections.scorecard import build_scorecard
from reports.sections.trust import strip
from reports.words import numbers, verdicts
from reports.words.cautions import cautions
from reports.words.facts import say
from reports.words.next_step import next_step
from reports.words.sentences import sentence_of, why_open
from reports.words.verdicts import headline, rule_name

_OPEN_SHOWN = 3
_WINDOWS_SHOWN = 3
_SCORES = ("crps", "coverage_80", "rmse")
_SCORE_ROWS = 4
_LINE, _CAUTION_LINES = 165, 6
"""Characters in a line of the frame of cautions at 1280 px, and lines that leave enough room."""
_YEAR = 365
_DIGEST = 12
"""Characters of a digest that are enough to tell files apart; the whole stands below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRule:
    """A rule that is undecided on a dataset, and what would decide it.

    Attributes
    ----------
    place
        Dataset, metric and part.
    needed
        Independent origins in all, with the date by which they exist where that is soon; in words
        where no number of them is known to decide.
    chance
        That the origins there are decide it; None without a prediction.
    why
        Where more origins would not decide it.
    """

    rule: str
    dataset: str
    place: tuple[str, str, str]
    needed: str
    chance: float | None
    limit: str
    why: str

    def decided(self, chance: float | None) -> str:
        """Its dataset with a chance that it is decided; what it needs where none is known."""
        told = self.needed if chance is None else numbers.percent(chance, digits=0)
        return f"{self.dataset} {told}".strip()


def open_rules(verdict: Verdict) -> list[OpenRule]:
    """Every rule without a decision: those that bind first, and of them the nearest to one."""

    def distance(finding: Finding) -> tuple[bool, float]:
        found = finding.comparison
        more = found.planning.more_origins if found else None
        return not finding.binding, math.inf if found is None or more is None else _total(found)

    found = []
    for finding in sorted(verdict.findings, key=distance):
        if finding.outcome not in (Outcome.HOLD, Outcome.INVALID):
            continue
        compared = finding.comparison
        planned = compared.planning if compared else Planning()
        until, needed = planned.decided_by, "not compared" if compared is None else "out of reach"
        if compared is not None and planned.more_origins is not None:
            needed = f"{_total(compared):,}" + (f" by {until}" if until else "")
        elif planned.seeds_needed:
            needed = f"{planned.seeds_needed} seeds a side"
        elif compared is not None and compared.silent:
            needed = say(no_prediction(compared.sample.independent_n))
        each = OpenRule(
            rule=rule_name(finding),
            dataset="" if finding.unit == "ratio" else finding.dataset,
            place=(finding.dataset, finding.metric, finding.part),
            needed=needed,
            chance=planned.chance,
            limit=numbers.effect(finding.unit, finding.bound).removeprefix("+"),
            why=""
            if planned.more_origins is not None
            else why_open(finding) or sentence_of(finding),
        )
        found.append(each)
    return found


def _total(found: Comparison) -> int:
    """Independent origins that a rule takes in all."""
    return found.sample.independent_n + (found.planning.more_origins or 0)


def weakest(found: SliceEffect | None, page: PageInput) -> str:
    """The weakest slice in a sentence."""
    if found is None:
        return "No slice can be compared: the sides share no scores."
    bounds = numbers.effects("share", found.lower, found.upper)
    effect = numbers.effect("share", found.effect)
    told = "better even there" if (found.effect or 0.0) < 0 else "worse"
    counted = ", failures counted" if _failed(page, found.dataset) else ""
    return (
        f"{found.title} on {found.dataset}: CRPS {effect} against {page.verdict.legacy} "
        f"(bounds {bounds}, {numbers.plural(found.windows, 'window')}{counted}): "
        f"{told if found.shown else 'not shown to be worse'}."
    )


def lost_windows(page: PageInput) -> Iterator[tuple[str, str, str, str, str]]:
    """The three windows of all datasets lost by most: dates, dataset, by how much, each loss."""
    found = [(name, pick) for name in page.dataset_names for pick in largest_losses(page, name)]
    found.sort(key=lambda each: (each[1].legacy_loss or 0.0) - each[1].candidate_loss)
    for dataset, pick in found[:_WINDOWS_SHOWN]:
        facts = page.datasets.get(dataset)
        around = span(facts, pick.origin) if facts else None
        yield (
            f"from {around.dates[0]}" if around else f"row {pick.origin}",
            dataset,
            numbers.points(pick.candidate_loss - (pick.legacy_loss or 0.0), digits=2).lstrip("+"),
            numbers.percent(pick.candidate_loss, digits=2),
            numbers.percent(pick.legacy_loss, digits=2),
        )


def nothing_lost(page: PageInput) -> str:
    """Why there is no window to show: none was lost, or none has a loss of both sides."""
    if not any(compared_windows(page, name) for name in page.dataset_names):
        return "No window can be compared: none has a forecast by both sides."
    among = " that both sides forecast" if any(_failed(page, n) for n in page.dataset_names) else ""
    return f"No window{among} was lost against {page.verdict.legacy}."


def _failed(page: PageInput, dataset: str, *arms: str) -> bool:
    """Whether an arm failed a window of a dataset: one of `arms`, or of the two sides."""
    asked = arms or (page.verdict.candidate, page.verdict.legacy)
    return not all(unit.ok.all() for arm in asked for unit in page.scores_of(arm, dataset))


def changed(page: PageInput) -> list[str]:
    """What changed since the last verdict on this pair."""
    change, now = page.beside.since, page.verdict.outcome
    if change is None:
        return ["No verdict before to compare with."]
    if change.before is None:
        return ["First verdict on this pair."]
    said = [
        f"{change.before} before, {now} now" if change.before != now else f"{now} before as well"
    ]
    new = [f"{count:,} on {name}" for name, count in change.new_origins.items() if count]
    said.append(f"new origins: {numbers.listing(new)}" if new else "no origin since")
    names = {each.id: f"{rule_name(each)} on {each.dataset}" for each in page.verdict.findings}
    words = numbers.FINDING_WORDS
    moved = [
        f"{names.get(each, each)} {words[Outcome(old)] if old else 'new'} \u2192 "
        f"{words[Outcome(now)] if now else 'gone'}"
        for each, (old, now) in change.findings.items()
    ]
    if moved:
        more = f" and {len(moved) - 1} more" if len(moved) > 1 else ""
        said.append(f"{moved[0]}{more}")
    parts = [
        _PARTS.get(name, name.replace("data ", "data of "))
        for name in change.parts
        if name in _PARTS or name.startswith("data ")
    ]
    if parts:
        said.append(f"{numbers.listing(parts)} changed")
    return said


_PARTS = {"grid": "plan or arms", "policy": "policy", "scoring": "scoring", "code": "judging code"}


def fallback(page: PageInput) -> str:
    """What answers where the candidate cannot, and how often it did."""
    facts = page.arm(page.verdict.candidate)
    behind = facts.card.get("fallback") if facts else None
    if not behind:
        return "no forecast is made: no fallback stands behind the candidate"
    units = [unit for unit in page.scores if unit.arm == page.verdict.candidate]
    count = sum(int(unit.answered_by_fallback.sum()) for unit in units)
    windows = sum(len(unit) for unit in units)
    return f"{behind} answered {count:,} of {windows:,} windows, none credited to the candidate"


def what_it_is(arm: ArmFacts | None) -> str:
    """Which model an arm is: what its card says, or where its code is and how it is set."""
    if arm is None:
        return ""
    card = arm.card
    told = [card[title] for title in ("checkpoint", "origin") if card.get(title)]
    files = [name for name in arm.weights if not name.endswith(".json")]
    if told and len(files) == 1:
        told[0] += f" (SHA-256 {arm.weights[files[0]][:_DIGEST]}\u2026)"
    if card.get("pretraining data"):
        told.append(f"pretrained on {card['pretraining data']}")
    if card.get("training") and not card["training"].startswith("none"):
        told.append(f"trained here: {card['training']}")
    if arm.residual_distribution:
        told.append(
            "a point path only: the harness adds the distribution that CRPS and coverage judge"
        )
    if told:
        return "; ".join(told)
    options = ", ".join(f"{name} {numbers.plain(value)}" for name, value in arm.options.items())
    return f"{arm.use}" + (f" ({options})" if options else "")


def span_text(page: PageInput, facts: DatasetFacts) -> str:
    """Where a dataset was judged, and how old its last row was when it was judged."""
    age = ""
    if page.judged_at and facts.until:
        days = int((np.datetime64(page.judged_at[:10]) - np.datetime64(facts.until)).astype(int))
        told = numbers.plural(days, "day") if days < 2 * _YEAR else f"{days // _YEAR} years"
        age = f", {told} before the verdict" if days >= 0 else ""
    ended = "ended" if facts.ended else "last row"
    ends = f"; {ended} {facts.until}{age}" if facts.until else ""
    known = page.prospective(facts.id)
    prospective = f", {known:,} of them prospective" if known else ""
    return (
        f"{numbers.plural(facts.origins, 'origin')}{prospective}, {facts.first_origin} to "
        f"{facts.last_origin}, {facts.horizon} sessions ahead{ends}"
    )


def first_screen(page: PageInput) -> Iterator[Section]:
    """The answer, what it rests on, and what speaks against it."""
    verdict = page.verdict
    yield Section(
        id="first",
        title="",
        items=(
            banner(page),
            *_cautions(page),
            Group(
                style="middle",
                blocks=(
                    Group(
                        style="column",
                        blocks=(
                            Group(id="effects", blocks=_effects(verdict)),
                            Group(id="scores", blocks=_scores(page)),
                        ),
                    ),
                    Group(
                        style="column",
                        blocks=(
                            Group(id="compared", blocks=(_compared(page),)),
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
            Group(id="since", blocks=(Heading(text="Record", level=2), _record(page))),
        ),
    )


def banner(page: PageInput) -> Banner:
    """The question, the outcome, result and obstacle in a sentence, and the step."""
    verdict = page.verdict
    return Banner(
        outcome=verdict.outcome,
        meaning=numbers.MEANINGS[verdict.outcome],
        candidate=verdict.candidate,
        legacy=page.label(verdict.legacy),
        title=page.title,
        said=headline(verdict),
        following=next_step(verdict.next_action, store=page.beside.store),
    )


def must_know(page: PageInput) -> list[tuple[str, str]]:
    """What must be known with the answer, whole and in brief; that data have ended comes last."""
    ended = [f"{facts.id} on {facts.ended}" for facts in page.datasets.values() if facts.ended]
    found = [(each.said, each.brief) for each in cautions(page.verdict)]
    if ended:
        gone = f"Data have ended: {numbers.listing(ended)}"
        found.append((f"{gone}; no new origin will come.", gone))
    return found


def _cautions(page: PageInput) -> tuple[Block, ...]:
    """In whole sentences where they are few, else in brief, each with its sentence folded."""
    known = must_know(page)
    heading = Heading(text="Caution", level=2)
    if not known:
        return ()
    if sum(math.ceil(len(said) / _LINE) for said, _ in known) <= _CAUTION_LINES:
        listed: Block = Lines(lines=tuple(said for said, _ in known))
    else:
        folded = (Details(summary=brief, blocks=(Text(text=said),)) for said, brief in known)
        listed = Group(style="briefs", blocks=tuple(folded))
    return (Group(id="cautions", style="warning", blocks=(heading, listed)),)


def _compared(page: PageInput) -> Facts:
    verdict, policy, registered = page.verdict, page.verdict.policy, page.beside.registered
    seeds = {unit.seed for unit in page.scores if unit.arm in (verdict.candidate, verdict.legacy)}
    sure = ""
    if isinstance(policy.get("alpha"), float):
        sure = f"; {numbers.percent(1 - policy['alpha'], digits=0)} sure of each side"
    recorded = ""
    if registered is not None:
        order = "before" if registered.before_results else "after"
        recorded = f"rules recorded {registered.day}, {order} the first forecast"
    run = (
        page.title,
        f"seed{'s' * (len(seeds) > 1)} {numbers.listing(map(str, sorted(seeds)))}" if seeds else "",
        f"policy {policy['mode']}{sure}" if policy.get("mode") else "",
        recorded,
        f"judged {page.judged_at[:10]}" if page.judged_at else "",
        " ".join(filter(None, ("abharness", page.environment.get("abharness", "")))),
    )
    sides = (("Candidate", verdict.candidate), ("Legacy", verdict.legacy))
    return Facts(
        style="compared",
        terms=(
            *(
                Term(name=side, strong=page.label(arm), note=what_it_is(page.arm(arm)))
                for side, arm in sides
            ),
            *(
                Term(name="Data", strong=name, note=span_text(page, facts))
                for name, facts in page.datasets.items()
            ),
            Term(name="Run", text=", ".join(filter(None, run))),
        ),
    )


def _effects(verdict: Verdict) -> tuple[Block, ...]:
    scorecard = build_scorecard(verdict)
    quiet = "candidate against legacy, per cent; left is better, coverage between its limits"
    heading = Heading(text="Every rule", quiet=quiet, level=2)
    if not scorecard.groups:
        return heading, Text(text="No rule was judged.")
    labels = numbers.listing(dict.fromkeys(row.label for row in scorecard.silent))
    return heading, replace(scorecard, kept=f"Kept, not drawn: {labels}" if labels else "")


def _scores(page: PageInput) -> tuple[Block, ...]:
    """Absolute scores of both sides and of the reference."""
    verdict = page.verdict
    arms = [verdict.candidate, verdict.legacy, *([page.reference] if page.reference else [])]
    rows = []
    shown = max(1, _SCORE_ROWS // max(1, len(page.dataset_names)))
    for name in page.dataset_names:
        for metric in _SCORES[:shown]:
            found = [page.summary(arm, name, metric) for arm in arms]
            if any(row is not None and row.value is not None for row in found):
                values = [
                    numbers.NONE if row is None else numbers.figure(row, row.value) for row in found
                ]
                rows.append((name, numbers.metric_name(metric), *values))
    if not rows:
        return ()
    named: dict[str, list[str]] = {}
    for name, facts in page.datasets.items():
        named.setdefault(facts.unit, []).append(name)
    units = "; ".join(
        f"{numbers.listing(names)} in {unit.removeprefix('as in ')}"
        for unit, names in named.items()
        if unit
    )
    table = table_of(
        "Absolute scores",
        ("Dataset", "Metric", *map(page.label, arms)),
        rows,
        words=("Metric",),
        small=True,
    )
    missing = any(numbers.NONE in row for row in rows)
    if missing and any(_failed(page, name, *arms) for name in page.dataset_names):
        units = "; ".join(filter(None, (units, f"{numbers.NONE}: windows failed")))
    return Heading(text="In figures", quiet=units, level=2), table


def _undecided(verdict: Verdict) -> tuple[Block, ...]:
    """The chance of a decision by the origins there are, and by those of the next step."""
    still, step = open_rules(verdict), verdict.next_action.values
    heading = Heading(text="Undecided", quiet="chance that a rule is decided", level=2)
    if not still:
        return Heading(text="Undecided", level=2), Text(text="Every rule was decided.")
    rows: Any = (*step.get("likely", ()), *step.get("unlikely", ()))  # type: ignore[misc]  # rows
    later = {(dataset, metric, part): chance for dataset, metric, part, chance in rows}
    samples = [each.comparison.sample for each in verdict.findings if each.comparison]
    counts = [each.independent_n for each in samples if each.n]
    heads = [f"now, {numbers.plural(min(counts, default=0), 'origin')}"]
    heads += [f"next step, {step['then']:,}"] if later else []
    rules: dict[str, list[OpenRule]] = {}
    for each in still:
        rules.setdefault(each.rule, []).append(each)
    table: list[Row] = []
    for rule, found in list(rules.items())[:_OPEN_SHOWN]:
        now = ", ".join(each.decided(each.chance) for each in found)
        then = [", ".join(each.decided(later.get(each.place)) for each in found)] if later else []
        table.append((rule, text(now, found[0].why), *then))
    bars = sum(each.role == "guardrail" for each in verdict.power)
    if bars > 1 and (known := chance_of_all(verdict)) is not None:
        whole: list[Any] = [known, step["chance"]] if later else [known]
        ends = ["" if each is None else numbers.at_most(float(each)) for each in whole]
        table.append((f"all {bars} guardrails together", *ends))
    more = len(rules) - _OPEN_SHOWN
    drawn = table_of(
        "Undecided rules",
        ("Rule", *heads),
        table,
        small=True,
        note=f"and {numbers.plural(more, 'rule')} more" if more > 0 else "",
    )
    return heading, drawn


def chance_of_all(verdict: Verdict) -> float | None:
    """The most the chance can be that the origins there are decide every guardrail."""
    bars = [each for each in verdict.power if each.role == "guardrail"]
    chances = [each.chance for each in bars if each.chance is not None]
    return min(chances) if bars and len(chances) == len(bars) else None


def _weakness(page: PageInput) -> tuple[Block, ...]:
    lost = tuple(lost_windows(page))
    table = table_of(
        "Windows lost by most",
        ("Window", "Dataset", "Lost by", "Candidate, legacy"),
        (
            (
                dates,
                dataset,
                f"by {by}",
                TableCell(text=f"{candidate} against {legacy}", quiet=True),
            )
            for dates, dataset, by, candidate, legacy in lost
        ),
        words=("Dataset",),
        small=True,
        caption_note="CRPS, % of the last value",
    )
    return (
        Heading(text="Weakest slice", level=2),
        Text(text=weakest(worst_slice(page, page.verdict.legacy), page), style="worst"),
        table if lost else Text(text=nothing_lost(page)),
    )


def _costs(page: PageInput) -> tuple[Block, ...]:
    found = cost_line(page, page.verdict.legacy)
    if not found:
        return Heading(text="Costs", level=2), Text(text=unpaired(page, page.verdict.legacy))
    terms = []
    for each in found:
        told = (each.interval and f"({each.interval})", each.word) if each.ratio else ()
        state = " ".join(filter(None, told))
        ratio = each.ratio or "no ratio"
        terms.append(Term(name=each.title, strong=ratio, state=state, note=each.said))
    heading = Heading(text="Costs", quiet="candidate / legacy", level=2)
    return heading, Facts(style="cells", terms=tuple(terms))


def _record(page: PageInput) -> Facts:
    verdict = page.verdict
    waivers = "; ".join(map(verdicts.waiver_in_short, verdict.waivers))
    waived = (Term(name="Waivers", text=waivers),) if waivers else ()
    signed = "nobody: only a PROMOTE is signed, by whoever owns the forecaster"
    if verdict.outcome is Outcome.PROMOTE:
        signed = "whoever owns the forecaster: this page advises. Name, date:"
    return Facts(
        style="cells",
        terms=(
            Term(name="Tried before", text=tried_before(page)),
            *waived,
            Term(name="If it fails", text=fallback(page)),
            Term(name="Judge the same records again", code=page.beside.replay_command),
            Term(name="Who signs", text=signed),
        ),
    )


def tried_before(page: PageInput) -> str:
    """What this store holds on the pair, and on its origins, from before."""
    since = page.beside.since
    said = changed(page)
    if since is not None and since.before is None:
        known = any(each.code is FactCode.TRIED_BEFORE for each in cautions(page.verdict))
        said.append("others on these origins, see above" if known else "no other attempt here")
    return "; ".join(each.rstrip(".") for each in said)


PLACEMENTS = (Placement(order=100, page=first_screen),)
