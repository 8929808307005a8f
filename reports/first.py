"""The first screen: eight things a reader needs before anything else, each in a few words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.judging.findings import Outcome
from harness.judging.waivers import WaiverState
from reports import strip, wording
from reports.cost_line import Figure, cost_line, not_measured
from reports.forest import Forest, build_forest
from reports.inputs import PageInput
from reports.slice_views import SliceEffect, worst_slice
from reports.trust import Item
from reports.why import Open, open_rules, why
from reports.windows import Pick, largest_losses, span

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
        meaning=wording.MEANINGS[verdict.outcome],
        facts=_facts(page, datasets),
        why=why(verdict),
        next_action=verdict.next_action,
        forest=forest,
        kept=_kept(forest),
        undecided=tuple(still[:_OPEN_SHOWN]),
        more_undecided=max(0, len(still) - _OPEN_SHOWN),
        worst=_worst(worst_slice(page, datasets), page),
        windows=_windows(page, datasets),
        costs=tuple(cost_line(page, verdict.legacy)),
        unmeasured=not_measured(page, verdict.legacy),
        trust=tuple(strip.strip(page)),
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
        ("Origins", f"{until}, {wording.listing(datasets) or 'no data'}"),
        ("Policy", policy_text(page)),
    )


def policy_text(page: PageInput) -> str:
    """The policy in a few words."""
    policy = page.verdict.policy
    parts = []
    if policy.get("mode"):
        parts.append(str(policy["mode"]))
    if isinstance(policy.get("alpha"), float):
        parts.append(f"error rate {wording.percent(policy['alpha'], digits=0)} a side")
    if isinstance(policy.get("min_origins"), int):
        parts.append(f"{policy['min_origins']} origins or more")
    return ", ".join(parts) or "as recorded below"


def _kept(forest: Forest) -> str:
    """One line for all counts that are kept."""
    if not forest.silent:
        return ""
    labels = wording.listing(dict.fromkeys(row.label for row in forest.silent))
    return f"{wording.plural(len(forest.silent), 'limit')} without an interval kept ({labels})"


def _worst(found: SliceEffect | None, page: PageInput) -> str:
    """The worst part in a sentence."""
    if found is None:
        return "No part can be compared: the sides share no scores."
    interval = wording.effects("crps", found.low, found.high)
    where = f"{found.title} on {found.dataset}"
    effect = wording.effect("crps", found.effect)
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
        candidate=wording.percent(pick.candidate_loss, digits=2),
        legacy=wording.percent(pick.legacy_loss, digits=2),
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
    said.append(f"new origins: {wording.listing(new)}" if new else "no new origin")
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
