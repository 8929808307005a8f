"""What a rehearsal of the nights says, for a terminal and as a page of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.gate.rehearsal import Rehearsal
from harness.judging.findings import Outcome
from harness.judging.verdict import Verdict
from reports.section import (
    Banner,
    Block,
    Column,
    Details,
    Section,
    Table,
    TableCell,
    Text,
    columns,
    text,
)
from reports.sections.scorecard import bounds_of, limit_text
from reports.words import numbers
from reports.words.verdicts import problems, rule_name

_DECIDED = (Outcome.PROMOTE, Outcome.REJECT)
_TRUTHS = {
    "as it was": "the stored forecasts as they are",
    "arms exchanged": "each side under the other's name: what is a gain now should end in REJECT",
    "at the margin": "the candidate exactly at its limits: a PROMOTE here would be wrong",
}


def rehearsal_sections(
    found: Sequence[Rehearsal], *, title: str, experiment: str, paths: bool
) -> list[Section]:
    """What stood in the end for each truth, and how each came there.

    Parameters
    ----------
    found
        The nights as they were first, then those with a planted truth.
    paths
        With the numbers of every rule at every look, behind a click.
    """
    real = found[0]
    verdict, (last, _) = real.looks[-1][1], real.looks[-1]
    so = "decided" if real.outcome in _DECIDED else "still open at the end"
    banner = Banner(
        outcome=real.outcome,
        meaning=numbers.MEANINGS[real.outcome],
        candidate=verdict.candidate,
        legacy=verdict.legacy,
        title=title,
        said=f"Begun on {real.looks[0][0].until}, the nights would have said {real.outcome} on "
        f"{last.until}, {so} after {numbers.plural(len(real.looks), 'look')}.",
        following=f"if the planted truths below end as they should, `abharness nightly "
        f"{experiment}` is the job of every night.",
    )
    ends = Table(
        caption="What the nights end with",
        columns=columns(
            *("Truth", "Ends with", "on", "looks", "nights"), words=("Ends with", "on")
        ),
        rows=tuple(
            (
                text(each.truth, _TRUTHS[each.truth]),
                TableCell(text=each.outcome, strong=True),
                text(each.looks[-1][0].until),
                text(str(len(each.looks))),
                text(f"{each.nights:,}"),
            )
            for each in found
        ),
        note=f"Planned: {last.most:,} non-overlapping origins of a dataset at most. No model was "
        "run, nothing was recorded.",
    )
    return [
        Section(id="first", title="", items=(banner,) if paths else (Text(text=banner.said),)),
        Section(id="ends", title="Planted truths beside it", items=(ends,), link="Truths"),
        *(_stream(each, paths=paths) for each in found),
    ]


def _stream(found: Rehearsal, *, paths: bool) -> Section:
    """The looks of one truth, and where each rule stood at the last."""
    told = [_counts(verdict) for _, verdict in found.looks]
    ends = (0, len(told) - 1)
    moved = [at for at in range(len(told)) if at in ends or told[at] != told[at - 1]]
    left = len(told) - len(moved)
    heads = ("Until", "Origins", "Spent", "Shown", "Undecided", "Worse", "Says")
    looks = Table(
        caption=f"Every look, {found.truth}",
        columns=columns("Look", *heads, words=("Until", "Says")),
        rows=tuple(
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
        note="Spent: of the error rate of a PROMOTE. Origins: non-overlapping, by dataset."
        + (f" Left out: {numbers.plural(left, 'look')} that changed nothing." if left else ""),
    )
    look, verdict = found.looks[-1]
    rules = Table(
        caption=f"Every rule at the last look, {found.truth}",
        columns=(
            *columns("Rule", "Effect", "Bounds", "Result", words=("Result",)),
            Column(title="Limit", optional=True),
            Column(title="First shown", numeric=False, optional=True),
        ),
        rows=tuple(
            (
                text(f"{each.dataset} {rule_name(each)}"),
                text(numbers.found(each, each.value)),
                text(numbers.found_range(each, *bounds_of(each.comparison))),
                TableCell(text=numbers.finding_word(each), outcome=each.outcome),
                text(limit_text(each)),
                text(
                    look.latched.get(each.id, look.until if each.outcome is Outcome.PROMOTE else "")
                ),
            )
            for each in verdict.findings
            if each.comparison is not None
        ),
    )
    said = f"{_TRUTHS[found.truth][0].upper()}{_TRUTHS[found.truth][1:]}."
    items: tuple[Block, ...] = (Text(text=said), looks, rules)
    if why := problems(verdict):
        items += (Text(lead="No conclusion at the last look:", text=why[0]),)
    if paths:
        items += tuple(_paths(found))
    slug = found.truth.replace(" ", "-")
    return Section(
        id=slug, title=found.truth.capitalize(), items=items, link=found.truth.capitalize()
    )


def _paths(found: Rehearsal) -> Iterator[Details]:
    """Effect, bounds and level of each rule, look by look."""
    for first in found.looks[-1][1].findings:
        if first.comparison is None:
            continue
        rows = []
        for look, verdict in found.looks:
            for each in verdict.findings:
                if each.id != first.id:
                    continue
                level = look.levels[each.dataset].of(each.role)
                rows.append(
                    (
                        text(str(look.number), look.until),
                        text(numbers.found(each, each.value)),
                        text(numbers.found_range(each, *bounds_of(each.comparison))),
                        text("no look" if level is None else numbers.percent(level, digits=2)),
                        TableCell(text=numbers.finding_word(each), outcome=each.outcome),
                    )
                )
        name = f"{first.dataset} {rule_name(first)}, {found.truth}"
        table = Table(
            caption=name,
            caption_note=f"limit {limit_text(first)}",
            columns=columns("Look", "Effect", "Bounds", "Level", "Result", words=("Result",)),
            rows=tuple(rows),
        )
        yield Details(summary=name, blocks=(table,))


def _counts(verdict: Verdict) -> tuple[str, int, int, int]:
    """The outcome, and how many rules are shown, undecided and worse."""
    found = [each.outcome for each in verdict.findings]
    shown, undecided, worse = map(found.count, (Outcome.PROMOTE, Outcome.HOLD, Outcome.REJECT))
    return verdict.outcome, shown, undecided, worse
