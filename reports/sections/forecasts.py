"""Forecasts of the worst, median and best window, and where the candidate loses most."""

from __future__ import annotations

from collections.abc import Sequence

from reports.charts import fan_chart, fan_limits, history_chart, strokes
from reports.page_input import (
    DatasetFacts,
    Fan,
    PageInput,
    Pick,
    PriceSpan,
    fan,
    largest_losses,
    picks,
    span,
)
from reports.section import (
    Block,
    Chart,
    Details,
    Group,
    Heading,
    Table,
    TableCell,
    Text,
    columns,
    text,
)
from reports.words import numbers


def history_view(page: PageInput, facts: DatasetFacts, *, name: str) -> Chart | None:
    """Draw the whole series in small: what was judged, and where the windows below lie."""
    if len(facts.target) < 2:
        return None
    around = [(pick.word.lower(), span(facts, pick.origin)) for pick in picks(page, facts.id)]
    marks = {word: each.dates[0] for word, each in around if each is not None}
    since = facts.dates[facts.dates.astype(str) >= facts.first_origin]
    judged = (since if len(since) else facts.dates)[0], facts.dates[-1]
    return Chart(
        title=f"{facts.title}, the whole history",
        caption=f"Grey: the judged span, from {judged[0]} to {judged[1]}.",
        svg=history_chart(
            facts.dates,
            facts.target,
            judged=judged,
            marks=marks,
            unit=facts.unit,
            name=name,
            alt=f"{facts.title} from {facts.dates[0]} to {facts.dates[-1]}; judged from "
            f"{judged[0]}.",
        ),
    )


def window_views(
    page: PageInput, facts: DatasetFacts, *, name: str
) -> tuple[tuple[Group, ...], tuple[str, ...]]:
    """Draw the chosen windows; the second answer says what could not be drawn."""
    chosen = picks(page, facts.id)
    if not chosen:
        return (), (
            (
                f"No window of {page.verdict.candidate} on {facts.id} has a score, so there is "
                "no worst, median or best one to draw."
            ),
        )
    views, notes = [], []
    for pick in chosen:
        around = span(facts, pick.origin)
        if around is None:
            notes.append(f"The {pick.word.lower()} window lies outside the series given.")
        else:
            views.append(_window(page, facts, pick, around, name=f"{name}-{pick.word.lower()}"))
    return tuple(views), tuple(notes)


def _window(
    page: PageInput, facts: DatasetFacts, pick: Pick, around: PriceSpan, *, name: str
) -> Group:
    """One window: its heading, its facts, a fan chart per side, and their figures."""
    sides = (page.verdict.legacy, page.verdict.candidate)
    fans = [fan(page, arm, facts.id, pick.origin) for arm in sides]
    drawn = [each for each in fans if each is not None]
    charts = tuple(
        _fan(page, facts, each, drawn, around, name=f"{name}-{place}")
        for place, each in enumerate(fans)
        if each is not None
    )
    absent = [arm for arm, each in zip(sides, fans, strict=True) if each is None]
    missing = f" {numbers.listing(absent)} has no forecast here." if absent else ""
    legacy = numbers.percent(pick.legacy_loss, digits=2)
    said = (
        f"{around.dates[0]} to {around.dates[-1]}. CRPS as a share of the last value "
        f"seen: {page.verdict.candidate} "
        f"{numbers.percent(pick.candidate_loss, digits=2)}, {page.verdict.legacy} {legacy}."
        + missing
    )
    about: list[Block] = [Heading(text=f"{pick.word} window", level=4), Text(text=said)]
    if drawn:
        table = _fan_table(drawn, around, facts)
        about.append(Details(summary="The figures of these charts", blocks=(table,)))
    return Group(style="window", blocks=(Group(style="about", blocks=tuple(about)), *charts))


def _fan(
    page: PageInput,
    facts: DatasetFacts,
    shown: Fan,
    fans: Sequence[Fan],
    around: PriceSpan,
    *,
    name: str,
) -> Chart:
    side = "candidate" if shown.arm == page.verdict.candidate else "legacy"
    form = "point path only" if shown.quantiles is None else "median with 50, 80 and 95 % bands"
    low, high = (float(each[-1]) for each in (around.truth, _middle(shown)))
    alt = (
        f"{side} {shown.arm}: {form} for {around.dates[0]} to {around.dates[-1]}. It ends at "
        f"{numbers.number(high)} where the actual was {numbers.number(low)}."
    )
    return Chart(
        level=5,
        title=page.label(shown.arm),
        caption=f"{side}, seed {shown.seed}; {form}"
        + (", a repaired build" if shown.arm in page.repaired else ""),
        svg=fan_chart(
            shown,
            around,
            ink=strokes(page)[shown.arm].ink if shown.arm in strokes(page) else "reference",
            limits=fan_limits(fans, around),
            unit=facts.unit,
            name=name,
            alt=alt,
        ),
    )


def _middle(shown: Fan) -> list[float]:
    values = shown.point if shown.quantiles is None else shown.quantiles[:, 3]
    return [float(value) for value in values]


def _fan_table(fans: Sequence[Fan], around: PriceSpan, facts: DatasetFacts) -> Table:
    titles = ["Date", "actual"]
    for each in fans:
        titles += [f"{each.arm} median", f"{each.arm} 80 %"]
    rows = []
    for step, (day, value) in enumerate(zip(around.dates, around.truth.tolist(), strict=True)):
        cells = [text(str(day)), text(numbers.number(value))]
        for each in fans:
            cells += _fan_cells(each, step)
        rows.append(tuple(cells))
    return Table(
        caption=f"Forecasts on {facts.id} from {around.dates[0]}, {facts.unit}",
        columns=columns(*titles),
        rows=tuple(rows),
    )


def _fan_cells(shown: Fan, step: int) -> list[TableCell]:
    if shown.quantiles is None:
        return [text(numbers.number(float(shown.point[step]))), text(numbers.NONE)]
    low, middle, high = (float(shown.quantiles[step, place]) for place in (1, 3, 5))
    return [
        text(numbers.number(middle)),
        text(numbers.between(numbers.number(low), numbers.number(high))),
    ]


def lost_most(page: PageInput, facts: DatasetFacts | None) -> Table | None:
    """Where the candidate loses most against the legacy arm."""
    if facts is None:
        return None
    rows = []
    for pick in largest_losses(page, facts.id):
        around = span(facts, pick.origin)
        assert pick.legacy_loss is not None
        rows.append(
            (
                text(
                    f"{around.dates[0]} to {around.dates[-1]}" if around else f"row {pick.origin}"
                ),
                text(numbers.percent(pick.candidate_loss, digits=2)),
                text(numbers.percent(pick.legacy_loss, digits=2)),
                text(numbers.points(pick.candidate_loss - pick.legacy_loss, digits=2)),
            )
        )
    if not rows:
        return None
    return Table(
        caption=f"Where {page.verdict.candidate} loses most against {page.verdict.legacy} "
        f"on {facts.id}",
        columns=columns("Window", page.verdict.candidate, page.verdict.legacy, "Difference"),
        rows=tuple(rows),
        note="CRPS as a share of the last value seen, mean over steps and seeds.",
    )
