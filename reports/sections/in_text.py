"""The first screen where nothing is drawn: in a terminal, and as Markdown for a CI job."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from reports.page_input import PageInput
from reports.section import (
    BasisList,
    Command,
    Lines,
    Placement,
    Section,
    Table,
    Text,
    columns,
    text,
    there,
)
from reports.sections.cost_tables import cost_line, not_measured
from reports.sections.first_screen import (
    banner,
    changed,
    fallback,
    lost_windows,
    must_know,
    open_rules,
    weakest,
)
from reports.sections.scorecard import build_scorecard
from reports.sections.slices import worst_slice
from reports.sections.trust import strip
from reports.words import verdicts
from reports.words.headline import headline

_PLAIN = ("guardrail", "limit")
"""Roles that a label tells by itself."""


def warnings(page: PageInput) -> list[str]:
    """What must be read before the numbers: cautions, and that nothing is new."""
    found = must_know(page)
    since = page.beside.since
    if since is not None and since.before is not None and not any(since.new_origins.values()):
        again = f"; this is verdict {page.beside.verdicts} on the pair" * (page.beside.verdicts > 1)
        found.insert(0, f"Nothing new: no origin was added since the last look{again}.")
    return found


def summary(page: PageInput) -> Iterator[Section]:
    """The answer, what must be known with it, and its rules."""
    verdict = page.verdict
    yield Section(
        id="first",
        title="",
        items=(
            replace(banner(page), said="", following=""),
            Text(text=headline(verdict)),
            Text(lead="Next:", text=verdicts.next_action(verdict)),
        ),
    )
    yield from _listed("Caution", warnings(page))
    scorecard = build_scorecard(verdict)
    none = Text(text="No rule was judged.")
    yield Section(id="effects", title="", items=(scorecard if scorecard.groups else none,))


def lists(page: PageInput) -> Iterator[Section]:
    """Everything else of the first screen, line by line."""
    verdict = page.verdict
    doubts = (
        f"{rule.name}: independent origins needed: {rule.needed}; could detect {rule.detectable}, "
        f"limit {rule.margin}"
        for rule in open_rules(verdict)
    )
    yield from _listed("Why no conclusion is allowed", verdicts.problems(verdict))
    yield from _listed("Failures", verdicts.failures(verdict))
    yield from _listed("Reasons", verdicts.reasons(verdict))
    yield from _listed("Undecided", doubts)
    yield from _listed("Waivers", map(verdicts.waiver, verdict.waivers))
    yield from _listed("The gate's self-test", verdicts.self_test_lines(verdict))
    if page.alone:
        return
    windows = (
        f"{dates} on {dataset}: CRPS {candidate} of the last value, legacy {legacy}: lost by {by}"
        for dates, dataset, by, candidate, legacy in lost_windows(page)
    )
    costs = (
        f"{each.title}: "
        + ", ".join(filter(None, (each.ratio, each.interval, each.floor, each.word, each.said)))
        for each in cost_line(page, verdict.legacy)
    )
    unmeasured = not_measured(page, verdict.legacy)
    yield from _listed(
        "Weakest slice", (weakest(worst_slice(page, verdict.legacy), page), *windows)
    )
    yield from _listed("Costs, candidate over legacy", tuple(costs) or (unmeasured,))
    yield Section(
        id="trust", title="What it rests on", items=(BasisList(items=tuple(strip(page))),)
    )
    yield from _listed("Since the last look", changed(page))
    yield from _listed("If it fails", (fallback(page),))
    replay = Command(said="", command=page.beside.replay_command)
    yield Section(id="replay", title="Judge the same records again", items=(replay,))


def _listed(title: str, lines: Iterable[str]) -> Iterator[Section]:
    """A list under its title; nothing where it has no line."""
    found = tuple(lines)
    if found:
        yield Section(id="", title=title, items=(Lines(lines=found),))


def answer(page: PageInput) -> Iterator[Section]:
    """The answer, what must be known with it, and a table of rules for each dataset."""
    verdict = page.verdict
    asked = f"may {verdict.candidate} replace {verdict.legacy}?"
    said = Text(text=f"{verdict.outcome}: {asked} {headline(verdict)}")
    yield Section(id="first", title="", items=(said,))
    yield Section(id="cautions", title="", items=there(_dashed("Caution", warnings(page))))
    for dataset, rows in build_scorecard(verdict).groups:
        table = Table(
            caption="",
            columns=columns(*("Result", "Rule", "Effect", "Bounds", "Limit"), words=("Rule",)),
            rows=tuple(
                (
                    text(row.word),
                    text(row.label + ("" if row.note in _PLAIN else f" ({row.note})")),
                    text(row.effect),
                    text(row.interval),
                    text(row.limit),
                )
                for row in rows
            ),
        )
        yield Section(id="effects", title=dataset, items=(table,))


def _dashed(lead: str, lines: Iterable[str]) -> Lines | None:
    found = tuple(f"{lead}: {line}" for line in lines)
    return Lines(lines=found) if found else None


def reasons(page: PageInput) -> Iterator[Section]:
    """Why, a line each, but for the cautions, which stand above; and what failed."""
    above = {said.rstrip(".").casefold() for said in warnings(page)}
    lines = [
        each
        for each in verdicts.reasons(page.verdict)
        if each.removeprefix("Caution: ").rstrip(".").casefold() not in above
    ]
    lines += verdicts.failures(page.verdict)
    yield Section(id="reasons", title="", items=(Lines(lines=tuple(lines)),) if lines else ())


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


PLACEMENTS = (
    Placement(order=105, summary=summary, terminal=answer),
    Placement(order=130, summary=lists),
    Placement(order=500, terminal=reasons),
    Placement(order=900, terminal=ending),
)
