"""The answer as text: what Markdown and the terminal say in place of the first screen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from harness.judging.fact import FactCode
from reports.page_input import PageInput
from reports.section import BasisList, Command, Lines, Placement, Section, Text, table_of
from reports.sections.cost_tables import in_lines
from reports.sections.curves import worst_slice
from reports.sections.first_screen import (
    banner,
    fallback,
    lost_windows,
    must_know,
    open_rules,
    tried_before,
    weakest,
)
from reports.sections.scorecard import build_scorecard
from reports.sections.trust import strip
from reports.words import numbers, verdicts
from reports.words.next_step import next_action
from reports.words.verdicts import headline

_PLAIN = ("guardrail", "limit")
"""Roles that a label tells by itself."""


def _whole_step(page: PageInput) -> Text:
    told = next_action(page.verdict.next_action, store=page.beside.store)
    return Text(lead="Next:", text=told)


def warnings(page: PageInput) -> list[str]:
    """What must be read before the numbers: cautions, and that nothing is new."""
    found = [said for said, _ in must_know(page)]
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
            _whole_step(page),
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
        f"{rule.rule}{f' on {rule.dataset}' if rule.dataset else ''} (limit {rule.limit}): takes "
        f"{rule.needed}{'' if rule.why else ' independent origins in all'}"
        + ("" if rule.chance is None else f"; chance now {numbers.percent(rule.chance, digits=0)}")
        for rule in open_rules(verdict)
    )
    yield from _listed("Why no conclusion is allowed", verdicts.problems(verdict))
    yield from _listed("Failures", verdicts.failures(verdict, page.beside.logs))
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
    yield from _listed(
        "Weakest slice", (weakest(worst_slice(page, verdict.legacy), page), *windows)
    )
    yield from in_lines(page)
    yield Section(
        id="trust", title="What it rests on", items=(BasisList(items=tuple(strip(page))),)
    )
    yield from _listed("Tried before", (tried_before(page),))
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
    known = Lines(lines=tuple(f"Caution: {line}" for line in warnings(page)))
    yield Section(id="cautions", title="", items=(known,) if known.lines else ())
    for dataset, rows in build_scorecard(verdict).groups:
        told = (
            (
                row.word,
                row.label + ("" if row.note in _PLAIN else f" ({row.note})"),
                *(row.effect, row.interval, row.limit),
            )
            for row in rows
        )
        table = table_of(
            "",
            ("Result", "Rule", "Effect", "Bounds", "Limit"),
            (each for each in told),
            words=("Rule",),
        )
        yield Section(id="effects", title=dataset, items=(table,))


def reasons(page: PageInput) -> Iterator[Section]:
    """Why, a line each, but for the cautions, which stand above; and what failed."""
    verdict = page.verdict
    told = tuple(each for each in verdict.reasons if each.code is not FactCode.CAUTION)
    lines = verdicts.reasons(replace(verdict, reasons=told))
    lines += verdicts.failures(page.verdict, page.beside.logs)
    yield Section(id="reasons", title="", items=(Lines(lines=tuple(lines)),) if lines else ())


def ending(page: PageInput) -> Iterator[Section]:
    """How the gate judged itself, and what to do next."""
    found = page.verdict.self_test
    if found is not None:
        count = verdicts.parts_passed(found)
        rest = [f"{part.code} {part.state}" for part in found.parts if part.state != "passed"]
        more = f" ({', '.join(rest)})" if rest and count != "not run" else ""
        said = Text(text=f"Self-test of the gate: {count}{more}.")
        yield Section(id="self-test", title="", items=(said,))
    yield Section(id="next", title="", items=(_whole_step(page),))


PLACEMENTS = (
    Placement(order=105, summary=summary, terminal=answer),
    Placement(order=130, summary=lists),
    Placement(order=500, terminal=reasons),
    Placement(order=900, terminal=ending),
)
