"""What a rehearsal of the nights says, for a terminal and as a page of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.gate.rehearsal import Rehearsal
from harness.judging.declared import Look
from harness.judging.fact import FactCode
from harness.judging.findings import Finding, Outcome
from harness.judging.verdict import Verdict
from harness.reasons import ReasonCode
from reports.section import (
    Banner,
    Block,
    Column,
    Details,
    Lines,
    Section,
    Table,
    TableCell,
    Text,
    columns,
    table_of,
    text,
)
from reports.sections.scorecard import limit_text
from reports.words import numbers
from reports.words.next_step import next_step
from reports.words.reason_words import phrase
from reports.words.sentences import why_open
from reports.words.verdicts import problems, rule_name

_TRUTHS = {
    "as it was": "the stored forecasts as they are",
    "arms exchanged": "each side under the other's name: a gain becomes a loss and should end "
    "in REJECT",
    "at the margin": "the candidate's losses scaled to their limits over all origins, coverage as "
    "it was: a PROMOTE would be wrong",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsalPage:
    """What the nights would have said, and what they would have said of planted truths.

    Attributes
    ----------
    found
        The nights as they were first, then those with a planted truth.
    experiment
        As commands name it.
    """

    found: Sequence[Rehearsal]
    title: str
    experiment: str

    def sections(self, *, paths: bool) -> list[Section]:
        """What stood in the end for each truth, and how each came there.

        Parameters
        ----------
        paths
            With the numbers of every rule at every look, behind a click.
        """
        found, real = self.found, self.found[0]
        (first, _), (last, verdict) = real.looks[0], real.looks[-1]
        took = "1 look"
        if len(real.looks) > 1:
            took = f"{len(real.looks)} looks, the first on {first.until}"
        said = f"The nights would have said {real.outcome} on {last.until}, after {took}."
        if real.outcome is Outcome.HOLD:
            said = f"The nights would still have said HOLD on {last.until}, after {took}."
        elif real.outcome is Outcome.INVALID:
            why = problems(verdict)
            said = f"No conclusion on {last.until}, after {took}: {why[0] if why else 'see below'}"
        banner = Banner(
            outcome=real.outcome,
            meaning=numbers.MEANINGS[real.outcome],
            candidate=verdict.candidate,
            legacy=verdict.legacy,
            title=f"Rehearsal: {self.title}",
            said=said,
            following=self.following,
        )
        ends = table_of(
            "What the nights end with",
            ("Truth", "Ends with", "As it should", "On", "Looks", "Nights"),
            (
                (
                    text(each.truth, _TRUTHS[each.truth]),
                    TableCell(text=each.outcome, strong=True),
                    _as_it_should(each),
                    each.looks[-1][0].until,
                    str(len(each.looks)),
                    f"{each.nights:,}",
                )
                for each in found
            ),
            words=("Ends with", "As it should", "On"),
            note=f"Planned: {last.most:,} non-overlapping origins of a dataset at most. No model "
            "was run, nothing was recorded.",
        )
        told = Lines(style="plain", lines=(f"{real.outcome}: {said}", f"Next: {banner.following}"))
        return [
            Section(id="first", title="", items=(banner,) if paths else (told,)),
            Section(id="ends", title="How each truth ended", items=(ends,), link="Truths"),
            *(_stream(each, paths=paths) for each in found),
        ]

    @property
    def following(self) -> str:
        """What the planted truths say of a nightly that is asked like this one."""
        found, experiment = self.found, self.experiment
        if found[0].outcome is Outcome.INVALID:
            return next_step(found[0].looks[-1][1].next_action)
        seen = {each.truth: _as_it_should(each) for each in found}
        if "no: promoted" in seen.values():
            return "A planted truth was promoted, which is wrong: do not rely on such nights yet."
        nightly = f"`abharness nightly {experiment}` is the job of every night"
        if seen["arms exchanged"] == "yes":
            return f"Both planted truths ended as they should; {nightly}."
        return (
            "With this many origins even the exchanged arms, which should end in REJECT, stay "
            f"open; `abharness power {experiment}` says what would decide, and {nightly}."
        )


def _as_it_should(found: Rehearsal) -> str:
    """Whether a planted truth was seen; '' for the nights as they were."""
    if found.truth == "as it was":
        return ""
    if found.outcome is Outcome.INVALID:
        return "not judged"
    if found.truth == "at the margin":
        return "no: promoted" if found.outcome is Outcome.PROMOTE else "yes"
    told = {Outcome.REJECT: "yes", Outcome.PROMOTE: "no: promoted"}
    return told.get(found.outcome, "not found")


def _stream(found: Rehearsal, *, paths: bool) -> Section:
    """The looks of one truth, and where each rule stood at the last."""
    told = [_counts(verdict) for _, verdict in found.looks]
    ends = (0, len(told) - 1)
    moved = [at for at in range(len(told)) if at in ends or told[at] != told[at - 1]]
    left = len(told) - len(moved)
    heads = ("Until", "Origins", "Spent", "Shown", "Undecided", "Worse", "Says")
    looks = table_of(
        f"Every look, {found.truth}",
        ("Look", *heads),
        (
            (
                text(str(look.number)),
                text(look.until),
                text("/".join(map(str, look.origins.values()))),
                text(numbers.percent(look.spent)),
                *(text(str(count)) for count in told[at][1:]),
                TableCell(text=verdict.outcome, outcome=verdict.outcome),
            )
            for at, (look, verdict) in enumerate(found.looks)
            if at in moved
        ),
        words=("Until", "Says"),
        note="Spent: of the error rate of a PROMOTE, where most of the origins have come. Origins: "
        f"non-overlapping, on {numbers.listing(found.looks[-1][0].origins)}; once all have come, "
        "what was shown there stays."
        + (f" Left out: {numbers.plural(left, 'look')} that changed nothing." if left else ""),
    )
    look, verdict = found.looks[-1]
    stood: dict[str, tuple[Look, Finding]] = {}  # bounds of a night without a look mean nothing
    for then, before in found.looks:
        for each in before.findings:
            looked = then.levels[each.dataset].of(each.role) if each.comparison else None
            if each.comparison is not None and (looked is not None or each.id not in stood):
                stood[each.id] = then, each
    compared = [each for _, each in stood.values()]
    hidden = len(verdict.findings) - len(compared)
    rules = Table(
        caption=f"Every rule at the last look, {found.truth}",
        columns=(
            *columns("Rule", "Effect", "Bounds", "Result", words=("Result",)),
            Column(title="Limit", optional=True),
        ),
        rows=tuple(
            (
                text(f"{each.dataset} {rule_name(each)}"),
                text(numbers.found(each, each.value)),
                text(
                    numbers.found_range(each, *each.bounds),
                    "" if then is look else f"at its last look, {then.until}",
                ),
                TableCell(
                    text=f"shown {look.latched.get(each.id, look.until)}"
                    if each.outcome is Outcome.PROMOTE
                    else numbers.finding_word(each),
                    outcome=each.outcome,
                ),
                text(limit_text(each)),
            )
            for then, each in stood.values()
        ),
        note="The day is that of the look at which a rule was shown. Bounds are drawn at the level "
        "of a PROMOTE. A REJECT has a smaller one, since all rules share its error rate: bounds "
        "beyond a limit are undecided until that is reached."
        + (
            f" Not drawn: {numbers.plural(hidden, 'rule')} without bounds, such as failures."
            if hidden
            else ""
        ),
    )
    said = f"{_TRUTHS[found.truth][0].upper()}{_TRUTHS[found.truth][1:]}."
    items: tuple[Block, ...] = (Text(text=said), looks, rules, *_not_by_bounds(compared))
    if why := problems(verdict):
        items += (Text(lead="No conclusion at the last look:", text=why[0]),)
    if paths:
        items += tuple(_paths(found))
    slug = found.truth.replace(" ", "-")
    return Section(
        id=slug, title=found.truth.capitalize(), items=items, link=found.truth.capitalize()
    )


def _not_by_bounds(compared: Sequence[Finding]) -> Iterator[Lines]:
    """Rules whose bounds at the last look are not what their result rests on, and why it stands."""
    found: dict[str, list[str]] = {}
    for each in compared:
        reason = ""
        if each.found.code is FactCode.SHOWN_BEFORE:
            reason = "shown at an earlier look, and so it stays, wherever today's bounds lie"
        elif each.outcome is Outcome.HOLD:
            reason = why_open(each).removeprefix("not decided, ")
        if reason and reason != phrase(ReasonCode.CROSSES.value, {}):
            found.setdefault(reason, []).append(f"{each.dataset} {rule_name(each)}")
    if found:
        yield Lines(lines=tuple(f"{numbers.listing(who)}: {why}." for why, who in found.items()))


def _paths(found: Rehearsal) -> Iterator[Details]:
    """Effect, bounds and levels of each rule, look by look."""
    for first in found.looks[-1][1].findings:
        if first.comparison is None:
            continue
        rows = []
        for look, verdict in found.looks:
            for each in verdict.findings:
                if each.id != first.id:
                    continue
                level = look.levels[each.dataset].of(each.role)
                reject = look.levels[each.dataset].reject
                rows.append(
                    (
                        text(str(look.number), look.until),
                        numbers.found(each, each.value),
                        numbers.found_range(each, *each.bounds),
                        "no look" if level is None else numbers.percent(level, digits=2),
                        "" if reject is None else numbers.percent(reject, digits=2),
                        TableCell(text=numbers.finding_word(each), outcome=each.outcome),
                    )
                )
        name = f"{first.dataset} {rule_name(first)}, {found.truth}"
        table = table_of(
            name,
            ("Look", "Effect", "Bounds", "Level", "REJECT's level", "Result"),
            rows,
            words=("Result",),
            caption_note=f"limit {limit_text(first)}",
        )
        yield Details(summary=name, blocks=(table,))


def _counts(verdict: Verdict) -> tuple[str, int, int, int]:
    """The outcome, and how many rules are shown, undecided and worse."""
    found = [each.outcome for each in verdict.findings]
    shown, undecided, worse = map(found.count, (Outcome.PROMOTE, Outcome.HOLD, Outcome.REJECT))
    return verdict.outcome, shown, undecided, worse
