"""All that is shown of one dataset: metrics, curves, calibration, forecasts, training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reports.charts import fan_chart, fan_limits, history_chart, strokes
from reports.page_input import (
    DatasetFacts,
    Fan,
    PageInput,
    PriceSpan,
    WindowPick,
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
    Lines,
    Placement,
    Section,
    Table,
    Text,
    table_of,
    there,
)
from reports.sections import metric_tables
from reports.sections.curves import seed_view, slice_view, step_views, time_view, training_views
from reports.sections.metric_tables import coverage_view, parts_view, pit_views, width_view
from reports.words import numbers


def datasets(page: PageInput) -> Iterator[Section]:
    """A section for each dataset."""
    for place, name in enumerate(page.dataset_names, 1):
        facts = page.datasets.get(name)
        titled = facts is not None and facts.title != name
        yield Section(
            id=f"dataset-{place}",
            title=name,
            note=facts.title if facts and titled else "",
            link=name,
            style="dataset",
            items=tuple(_blocks(page, name, place)),
        )


def _blocks(page: PageInput, dataset: str, place: int) -> Iterator[Block]:
    anchor, name = f"dataset-{place}", f"d{place}"
    facts = page.datasets.get(dataset)
    if facts is not None:
        yield Text(text=_plan(facts), style="plan")
    folded = there(
        metric_tables.intervals(page, dataset),
        metric_tables.independent(page, dataset),
        metric_tables.others(page, dataset),
    )
    yield Group(
        id=f"{anchor}-metrics",
        blocks=(
            metric_tables.accuracy(page, dataset),
            *(Details(summary=table.caption, blocks=(table,)) for table in folded),
        ),
    )
    yield Group(id=f"{anchor}-windows", blocks=tuple(_windows(page, dataset, facts, name)))
    split = "No score can be split: no arm has a whole distribution stored."
    yield _charts(
        "Over steps and time",
        _pass(
            f"{anchor}-steps",
            *step_views(page, dataset, name=name),
            absent="No arm has values by step.",
        ),
        _pass(
            f"{anchor}-time",
            time_view(page, dataset, name=f"{name}-time"),
            absent="No difference over time: the two sides share no whole set of losses.",
        ),
    )
    yield _charts(
        "By slice and by seed",
        _pass(
            f"{anchor}-slices",
            slice_view(page, dataset, name=f"{name}-slices"),
            absent="No slice can be compared.",
        ),
        _pass(
            f"{anchor}-seeds",
            seed_view(page, dataset, name=f"{name}-seeds"),
            absent="No arm has a CRPS by seed.",
        ),
    )
    yield _charts(
        "Calibration: coverage, width, PIT, parts of the score",
        _pass(
            f"{anchor}-coverage",
            coverage_view(page, dataset, name=f"{name}-coverage"),
            absent="No arm has intervals.",
        ),
        _pass(
            f"{anchor}-width",
            width_view(page, dataset, name=f"{name}-width"),
            absent="No arm has whole intervals.",
        ),
        _pass(
            f"{anchor}-pit",
            *pit_views(page, dataset, name=f"{name}-pit"),
            absent="No transforms: the sides have no distribution.",
        ),
        below=Group(id=f"{anchor}-parts", blocks=(parts_view(page, dataset) or Text(text=split),)),
    )
    charts, untrained = training_views(page, dataset, name=name)
    lines = (Lines(lines=untrained, style="plain"),) if untrained else ()
    yield Details(
        summary="Training",
        blocks=(*((Group(style="charts", blocks=charts),) if charts else ()), *lines),
    )


def _charts(title: str, *groups: Group, below: Block | None = None) -> Details:
    """Charts behind a click."""
    return Details(summary=title, blocks=there(Group(style="charts", blocks=groups), below))


def _plan(facts: DatasetFacts) -> str:
    gap = f", after a gap of {facts.gap}" if facts.gap else ""
    overlap = (
        f"; {facts.overlap} consecutive origins overlap" if facts.overlap > 1 else "; no overlap"
    )
    ended = f" The data have ended, on {facts.ended}: no new origin will come."
    return (
        f"{numbers.plural(facts.origins, 'origin')} from {facts.first_origin} to "
        f"{facts.last_origin}, every {numbers.plural(facts.stride, 'session')}, "
        f"{facts.horizon} sessions ahead{gap}{overlap}." + (ended if facts.ended else "")
    )


def _pass(name: str, *charts: Chart | None, absent: str) -> Group:
    return Group(id=name, style="pass", blocks=there(*charts) or (Text(text=absent),))


def _windows(
    page: PageInput, dataset: str, facts: DatasetFacts | None, name: str
) -> Iterator[Block]:
    yield Heading(text="The candidate's worst, median and best window")
    if facts is None:
        yield Text(text=f"No series of {dataset} was given, so no forecast can be drawn.")
        return
    views, notes = window_views(page, facts, name=name)
    for note in notes:
        yield Text(text=note)
    if views:
        legend = Text(
            text="Below, thin line: what was seen before the origin (dashed upright). Line with "
            "dots: the actuals. Coloured line: the median; bands: its 50, 80 and 95 % intervals. "
            "Both sides of a window share one axis.",
            style="note",
        )
        history = history_view(page, facts, name=f"{name}-history")
        yield Group(style="window history", blocks=there(history, legend))
    yield from views
    yield from there(lost_most(page, facts))


def summary(page: PageInput) -> Iterator[Section]:
    """Losses of every dataset, then intervals."""
    for make in (metric_tables.accuracy, metric_tables.intervals):
        for name in page.datasets:
            table = make(page, name)
            yield Section(id=name, title="", items=(table,))


def terminal(page: PageInput) -> Iterator[Section]:
    """A table of metrics for each dataset."""
    for name in dict.fromkeys(row.dataset for row in page.summaries):
        yield Section(id=name, title=name, items=(metric_tables.in_short(page, name),))


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
    views, notes = [], []
    for pick in picks(page, facts.id):
        around = span(facts, pick.origin)
        if around is None:
            notes.append(f"The {pick.word.lower()} window lies outside the series given.")
        else:
            window = _Window(page=page, facts=facts, pick=pick, around=around)
            views.append(window.drawn(f"{name}-{pick.word.lower()}"))
    if not (views or notes):
        notes = [
            (
                f"No window of {page.verdict.candidate} on {facts.id} has a score, so there is no "
                "worst, median or best one to draw."
            )
        ]
    return tuple(views), tuple(notes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """One window of a dataset that is shown, with the prices around it."""

    page: PageInput
    facts: DatasetFacts
    pick: WindowPick
    around: PriceSpan

    def drawn(self, name: str) -> Group:
        """One window: its heading, its facts, a fan chart per side, and their figures."""
        page, pick, around = self.page, self.pick, self.around
        sides = (page.verdict.legacy, page.verdict.candidate)
        fans = [fan(page, arm, self.facts.id, pick.origin) for arm in sides]
        drawn = [each for each in fans if each is not None]
        charts = tuple(
            self.chart(each, drawn, name=f"{name}-{place}")
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
            table = self.table(drawn)
            about.append(Details(summary="The figures of these charts", blocks=(table,)))
        return Group(style="window", blocks=(Group(style="about", blocks=tuple(about)), *charts))

    def chart(self, shown: Fan, fans: Sequence[Fan], *, name: str) -> Chart:
        """A fan of one side; all `fans` share one axis."""
        page, around = self.page, self.around
        side = "candidate" if shown.arm == page.verdict.candidate else "legacy"
        form = "point path only" if shown.quantiles is None else "median with 50, 80 and 95 % bands"
        middle = shown.point if shown.quantiles is None else shown.quantiles[:, 3]
        actual, end = (numbers.number(float(each[-1])) for each in (around.truth, middle))
        looks = strokes(page)
        return Chart(
            level=5,
            title=page.label(shown.arm),
            caption=f"{side}, seed {shown.seed}; {form}"
            + (", a repaired build" if shown.arm in page.repaired else ""),
            svg=fan_chart(
                shown,
                around,
                ink=looks[shown.arm].ink if shown.arm in looks else "reference",
                limits=fan_limits(fans, around),
                unit=self.facts.unit,
                name=name,
                alt=f"{side} {shown.arm}: {form} for {around.dates[0]} to {around.dates[-1]}. "
                f"It ends at {end} where the actual was {actual}.",
            ),
        )

    def table(self, fans: Sequence[Fan]) -> Table:
        """The figures of the fans."""
        titles = ["Date", "actual"]
        for each in fans:
            titles += [f"{each.arm} median", f"{each.arm} 80 %"]
        rows = []
        for step, (day, value) in enumerate(
            zip(self.around.dates, self.around.truth.tolist(), strict=True)
        ):
            cells = [str(day), numbers.number(value)]
            for each in fans:
                if each.quantiles is None:
                    cells += [numbers.number(float(each.point[step])), numbers.NONE]
                else:
                    low, middle, high = (
                        numbers.number(float(each.quantiles[step, place])) for place in (1, 3, 5)
                    )
                    cells += [middle, numbers.between(low, high)]
            rows.append(cells)
        return table_of(
            f"Forecasts on {self.facts.id} from {self.around.dates[0]}, {self.facts.unit}",
            titles,
            rows,
        )


def lost_most(page: PageInput, facts: DatasetFacts) -> Table | None:
    """Where the candidate loses most against the legacy arm; None where it loses nowhere."""
    rows = []
    for pick in largest_losses(page, facts.id):
        around = span(facts, pick.origin)
        assert pick.legacy_loss is not None
        told = (
            f"{around.dates[0]} to {around.dates[-1]}" if around else f"row {pick.origin}",
            numbers.percent(pick.candidate_loss, digits=2),
            numbers.percent(pick.legacy_loss, digits=2),
            numbers.points(pick.candidate_loss - pick.legacy_loss, digits=2),
        )
        rows.append(told)
    if not rows:
        return None
    return table_of(
        f"Where {page.verdict.candidate} loses most against {page.verdict.legacy} on {facts.id}",
        ("Window", page.verdict.candidate, page.verdict.legacy, "Difference"),
        rows,
        note="CRPS as a share of the last value seen, mean over steps and seeds.",
    )


PLACEMENTS = (Placement(order=400, page=datasets, summary=summary, terminal=terminal),)
