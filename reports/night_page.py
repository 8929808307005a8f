"""The page of an experiment's nights: where the decision stands, and how the evidence came to it.

What a nightly job publishes beside the report. Drawn from records alone, like the report, and of
the same blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.gate.nights import Night
from harness.judging.findings import Outcome
from harness.scoring.scores import Flags
from harness.stats.step import step_in
from harness.window import Rows
from reports.charts import value_axis, years_axis
from reports.night_input import HistoryInput, Losses
from reports.section import (
    Banner,
    Block,
    Chart,
    Details,
    Facts,
    Group,
    Lines,
    Section,
    Table,
    TableCell,
    Term,
    Text,
    table_of,
    text,
)
from reports.sections.scorecard import limit_text
from reports.svg import INKS, Ink, new_figure, to_svg
from reports.words import numbers
from reports.words.facts import first_line
from reports.words.next_step import next_step
from reports.words.verdicts import rule_name

STRIP = 250
"""Nights that are drawn, and listed in full."""


_SIGNS: dict[Outcome, tuple[int, str]] = {
    Outcome.PROMOTE: (3, "o"),
    Outcome.HOLD: (2, "D"),
    Outcome.REJECT: (1, "X"),
    Outcome.INVALID: (0, "^"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NightPage:
    """The page of an experiment's nights."""

    found: HistoryInput

    def sections(self) -> list[Section]:
        """Make the sections, in the order in which they are read."""
        makers = (self._today, self._new, self._detectable, self._strip, self._blocks)
        return [make() for make in (*makers, self._costs, self._events, self._fresh)]

    def _today(self) -> Section:
        """Where the decision stands, and when it is looked at next."""
        found = self.found
        verdict, look = found.verdict, found.verdict.look
        news = found.nights[-1].news if found.nights else ()
        said = (
            first_line(news) if news else f"{numbers.plural(len(found.entries), 'verdict')} so far"
        )
        terms = [Term(name="Stands since", strong=found.since or numbers.NONE)]
        if look is None:
            terms += [
                Term(name="Next look", text="none is planned: all the evidence is looked at once"),
                Term(name="Error rate spent", text="all of it, by each verdict"),
            ]
        else:
            day, wait = found.following
            at = "none: the plan has ended" if look.last else "none: no session will come"
            if wait is not None:
                at = f"{day}, in {numbers.plural(wait, 'session')}"
            over = verdict.outcome in (Outcome.PROMOTE, Outcome.REJECT)
            alpha = verdict.policy.get("alpha")
            whole = f" of {numbers.percent(alpha)}" if isinstance(alpha, float) else ""
            terms += [
                Term(name="Next look", text="none: it is decided" if over else at),
                Term(name="Error rate spent", strong=numbers.percent(look.spent), text=whole),
                Term(
                    name="Looks taken", strong=str(look.number), text=f", last until {look.until}"
                ),
                Term(
                    name="Attempt on these origins",
                    strong=str(look.attempt),
                    text=f", with {numbers.percent(look.share, digits=0)} of the error rate"
                    + (" on prospective origins alone" if look.prospective else ""),
                ),
            ]
        items: list[Block] = [
            Banner(
                outcome=verdict.outcome,
                meaning=numbers.MEANINGS[verdict.outcome],
                candidate=verdict.candidate,
                legacy=verdict.legacy,
                title=found.title,
                said=said,
                following=next_step(verdict.next_action),
            ),
            Facts(style="cells", terms=tuple(terms)),
        ]
        if found.page:
            items.append(Text(text="The report of this verdict", file=found.page))
        return Section(id="first", title="", items=tuple(items))

    def _new(self) -> Section:
        """Origins that came, their paired losses, and how the effect moved."""
        found = self.found
        look = found.verdict.look
        before = found.looked[-2][0] if len(found.looked) > 1 else None
        event, since = ("look" if look else "verdict"), dict[str, str]()  # its last origin before
        if before is not None:
            since = dict.fromkeys(before.origins, before.until)
        elif look is None and len(found.entries) > 1:
            since = {name: span.last for name, span in found.entries[-2].spans.items()}
        chosen: dict[str, Losses] = {}  # the first guardrail on a whole dataset, else a rule
        for each in sorted(found.losses, key=lambda each: each.finding.role != "guardrail"):
            chosen.setdefault(each.finding.dataset, each)
        primary = [chosen[name] for name in sorted(chosen)]
        rows = []
        for each in primary:
            name, count = each.finding.dataset, len(each.dates)
            sample = each.finding.comparison.sample if each.finding.comparison else None
            now = look.origins.get(name, 0) if look else sample.independent_n if sample else 0
            then = before.origins.get(name, 0) if before else None
            most = f"of {look.most}" if look else ""
            added = None if then is None else now - then
            if look is None and since.get(name):
                added = int((each.dates > np.datetime64(since[name])).sum())
            rows.append(
                (
                    name,
                    f"{count:,}",
                    text(f"{now:,}", most),
                    f"first {event}" if added is None else f"{added:,}",
                    f"{found.prospective.get(name, 0):,}",
                )
            )
        table = table_of(
            "Origins judged",
            ("Dataset", "All", "Non-overlapping", f"New at the last {event}", "Prospective"),
            rows,
            note="Prospective: forecast before the first session it is judged on, so nobody can "
            "have seen its outcome.",
        )
        charts = [
            chart
            for each in primary
            for chart in (
                self._dots(each, since.get(each.finding.dataset, ""), event),
                self._moved(each),
            )
        ]
        items: tuple[Block, ...] = (table, Group(style="charts", blocks=tuple(charts)))
        return Section(id="new", title="What is new", items=items, link="New")

    def _dots(self, each: Losses, since: str, event: str) -> Chart:
        """Paired differences by origin, those since the event before in the candidate's ink."""
        finding = each.finding
        level = float(each.below.mean()) or 1.0
        share = 100 * (each.above - each.below) / level
        days = each.dates.astype("datetime64[D]")
        new = days.astype(str) > (since or "9999-12-31")
        figure, axes = new_figure(top=22)
        inks: tuple[tuple[Flags, Ink, float], ...] = ((~new, "muted", 2.2), (new, "candidate", 4.0))
        for rows, ink, size in inks:
            axes.plot(
                days[rows].astype(float),
                share[rows],
                linestyle="none",
                marker="o",
                markersize=size,
                color=INKS[ink],
                clip_on=False,
            )
        axes.axhline(0, color=INKS["ink"], linewidth=0.8)
        years_axis(axes, days)
        value_axis(axes, "% of legacy's mean loss; above 0 the candidate lost more")
        name = numbers.metric_name(finding.metric)
        told = (
            f"{int(new.sum())} new since the {event} before" if new.any() else "none marked as new"
        )
        return Chart(
            level=3,
            title=f"{finding.dataset}: {name}, origin by origin",
            caption=f"Candidate less legacy at each origin; {told}.",
            svg=to_svg(
                figure,
                name=f"dots-{each.slug}",
                alt=f"{len(days)} paired differences of {name} on {finding.dataset}, {told}; "
                f"{int((share < 0).sum())} lie below 0, where the candidate is better",
            ),
        )

    def _moved(self, each: Losses) -> Chart:
        """The effect over all origins so far, with the interval of every look."""
        found = self.found
        finding, days = each.finding, each.dates.astype("datetime64[D]")
        start = min(max(10, len(days) // 10), len(days))
        places = np.unique(
            np.linspace(start, len(days), min(200, len(days) - start + 1)).astype(int)
        )
        path = np.array([each.effect(slice(0, int(at))) for at in places], dtype=float)
        figure, axes = new_figure(top=22)
        at = days[places - 1].astype(float)
        axes.plot(at, 100 * path, color=INKS["candidate"], linewidth=1.8)
        rows = []
        for look, findings in found.looked:
            seen = next((one for one in findings if one.id == finding.id), None)
            if seen is None or seen.comparison is None:
                continue
            low, high = seen.comparison.bounds
            day = float(np.datetime64(look.until).astype("datetime64[D]").astype(float))
            ends = [100 * end for end in (low, high) if end is not None]
            if len(ends) == 2:
                axes.plot([day, day], ends, color=INKS["ink"], linewidth=1.6)
            axes.plot([day], [100 * (seen.value or 0.0)], "o", color=INKS["ink"], markersize=4)
            rows.append(
                (
                    text(str(look.number), look.until),
                    numbers.found(finding, seen.value),
                    numbers.found_range(finding, low, high),
                    numbers.percent(look.alpha(finding.dataset, finding.role), digits=2),
                    TableCell(text=numbers.finding_word(seen), outcome=seen.outcome),
                )
            )
        axes.axhline(0, color=INKS["muted"], linewidth=0.7)
        axes.axhline(100 * finding.bound, color=INKS["ink"], linewidth=1, linestyle=(0, (3, 2)))
        years_axis(axes, np.concatenate([days[[max(0, start - 1)]], days[[-1]]]))
        value_axis(axes, "effect, %; dashed: the limit")
        name = numbers.metric_name(finding.metric)
        now = numbers.found(finding, finding.value)
        held = "Bars: the interval at each look, at the level of that look; together they hold."
        return Chart(
            level=3,
            title=f"{finding.dataset}: {name} over all origins so far",
            caption=held if rows else "No look was planned, so no interval holds at every night.",
            svg=to_svg(
                figure,
                name=f"path-{each.slug}",
                alt=f"The effect on {finding.dataset} moved to {now}; the limit is "
                f"{limit_text(finding)}; {numbers.plural(len(rows), 'look')}",
            ),
            table=table_of(
                f"{finding.dataset} {name} at each look",
                ("Look", "Effect", "Interval", "Level", "Result"),
                rows,
                words=("Result",),
            )
            if rows
            else None,
        )

    def _detectable(self) -> Section:
        """What the evidence of today would have shown, beside what is asked."""
        found = self.found
        rows = []
        for each in found.verdict.findings:
            made = each.comparison
            if made is None:
                continue
            seen = made.planning.detectable
            limit = limit_text(each)
            rows.append(
                (
                    each.dataset,
                    rule_name(each),
                    limit,
                    numbers.effect(each.unit, seen).removeprefix("+"),
                    numbers.found(each, each.value),
                    TableCell(text=numbers.finding_word(each), outcome=each.outcome),
                )
            )
        table = table_of(
            "Smallest difference seen by now",
            ("Dataset", "Rule", "Limit", "Seen by now", "Effect", "Result"),
            rows,
            words=("Rule", "Limit", "Result"),
            note="Seen by now: the smallest distance of the true effect from its limit that so "
            "many origins show with the power the policy asks for. Where it is larger than the "
            "distance you care about, only more origins help.",
        )
        none = Text(text="Nothing was compared.")
        return Section(
            id="detectable",
            title="What could have been seen by now",
            items=(table,) if rows else (),
            absent=none,
            link="Seen by now",
        )

    def _strip(self) -> Section:
        """Nights, or the verdicts passed where no night was run."""
        found = self.found
        nights = found.nights[-STRIP:]
        if not nights:
            rows = tuple(
                (
                    text(each.at[:10], f"verdict {each.sequence}"),
                    TableCell(text=each.outcome.value, outcome=each.outcome),
                    max((span.last for span in each.spans.values()), default=""),
                    self._between(place),
                )
                for place, each in reversed(list(enumerate(found.entries)))
            )
            heads = ("Passed", "Verdict", "Last origin", "Since the one before")
            table = table_of("Verdicts, newest first", heads, rows, words=heads[1:])
            none = Text(text="No night was run yet, `abharness nightly` runs one. Verdicts passed:")
            return Section(id="nights", title="Nights", items=(none, table), link="Nights")
        changed = [
            night
            for place, night in enumerate(nights)
            if night.marks or place == 0 or night.verdict != nights[place - 1].verdict
        ]
        said = (
            f"{numbers.plural(len(found.nights), 'night')}, {len(changed)} of the last "
            f"{len(nights)} brought another verdict or a change. On the others nothing that "
            "decides numbers was other than the night before."
        )
        items = (
            Text(text=said),
            Chart(
                level=3,
                title=f"The last {numbers.plural(len(nights), 'night')}",
                caption="Filled: another verdict than the night before; a stroke below: something "
                "that decides numbers was changed.",
                svg=self._strip_svg(nights),
            ),
            self._night_table("Nights with another verdict or a change, newest first", changed),
            Details(
                summary="Every night",
                blocks=(self._night_table("Every night, newest first", nights),),
            ),
        )
        return Section(id="nights", title="Nights", items=items, link="Nights")

    def _strip_svg(self, nights: Sequence[Night]) -> str:
        """A sign a night, by outcome."""
        figure, axes = new_figure(height=130, left=74, bottom=30)
        before = ""
        for place, night in enumerate(nights):
            height, sign = _SIGNS[night.outcome]
            fill = INKS["ink"] if night.verdict != before else INKS["paper"]
            before = night.verdict
            axes.plot(
                [place],
                [height],
                marker=sign,
                markersize=4.5 if len(nights) < 80 else 3,
                markeredgecolor=INKS["ink"],
                markeredgewidth=0.7,
                color=fill,
            )
            if night.marks:
                axes.plot([place, place], [-0.9, -0.4], color=INKS["candidate"], linewidth=2)
        axes.set_yticks([height for height, _ in _SIGNS.values()], [each.value for each in _SIGNS])
        axes.set_ylim(-1, 3.5)
        axes.set_xlim(-1, max(len(nights), 10))
        first, last = nights[0].at[:10], nights[-1].at[:10]
        if len(nights) < 8:  # the ends are too near each other for a label each
            labels = axes.set_xticks([0], [first if first == last else f"{first} to {last}"])
        else:
            labels = axes.set_xticks([0, len(nights) - 1], [first, last])
            labels[1].label1.set_horizontalalignment("right")
        labels[0].label1.set_horizontalalignment("left")
        counts = [
            f"{sum(night.outcome is each for night in nights)} {each.value}"
            for each in _SIGNS
            if any(night.outcome is each for night in nights)
        ]
        changes = sum(bool(night.marks) for night in nights)
        alt = f"{numbers.listing(counts)}; {numbers.plural(changes, 'night')} with a change"
        return to_svg(figure, name="nights-strip", alt=alt)

    def _night_table(self, caption: str, nights: Sequence[Night]) -> Table:
        """A row a night, the newest first."""
        rows = tuple(
            (
                text(night.at[:10], f"data to {max(night.until.values(), default='')}"),
                TableCell(text=night.outcome.value, outcome=night.outcome),
                first_line(night.news),
                ", ".join(night.marks) or "nothing",
            )
            for night in reversed(nights)
        )
        heads = ("Night", "Stands", "What was new", "Changed")
        return table_of(caption, heads, rows, words=heads[1:])

    def _between(self, place: int) -> str:
        """What changed from the verdict before the one at a place."""
        if not place:
            return "the first"
        old, new = self.found.entries[place - 1], self.found.entries[place]
        moved = "" if old.outcome == new.outcome else f"{old.outcome} became {new.outcome}"
        later = any(
            span.last > old.spans[name].last
            for name, span in new.spans.items()
            if name in old.spans
        )
        told = "new origins" if later else "no new origin"
        other = "" if old.meaning == new.meaning else "policy, data, arms or code changed"
        return "; ".join(filter(None, (moved, told, other)))

    def _blocks(self) -> Section:
        """Each rule by calendar block, recent origins against the ones before them."""
        found = self.found
        items: list[Block] = []
        for each in found.losses:
            names, rows_of = each.by_block()
            rows = [
                (
                    name,
                    f"{len(rows):,}",
                    numbers.found(each.finding, each.effect(rows)),
                )
                for name, rows in zip(names, rows_of, strict=True)
            ]
            recent = each.finding.comparison.recent if each.finding.comparison else None
            if recent is not None:
                count = len(each.dates) - recent.n
                before = each.effect(slice(0, count))
                told = numbers.found(each.finding, before)
                rows.append(("before the recent ones", f"{count:,}", told))
                told = numbers.found(each.finding, recent.effect)
                rows.append((f"recent, from {recent.since}", f"{recent.n:,}", told))
            what = f"{each.finding.dataset}: {rule_name(each.finding)}"
            items.append(
                Chart(
                    level=3,
                    title=what,
                    caption=f"Effect by block; dashed: the limit, {limit_text(each.finding)}.",
                    svg=self._block_svg(each, names, rows_of),
                    table=table_of(
                        f"{what}, by block", ("Origins from", "Origins", "Effect"), rows
                    ),
                )
            )
        shown, rest = items[:6], items[6:]
        more = (
            (
                Details(
                    summary=f"{len(rest)} more", blocks=(Group(style="charts", blocks=tuple(rest)),)
                ),
            )
            if rest
            else ()
        )
        return Section(
            id="blocks",
            title="Block by block",
            note="a break inside the history lies where it is",
            items=(Group(style="charts", blocks=tuple(shown)), *more) if items else (),
            absent=Text(text="No rule speaks of all of a dataset."),
            link="Block by block",
        )

    def _block_svg(self, each: Losses, names: Sequence[str], rows_of: Sequence[Rows]) -> str:
        """The effect of each block, and the limit."""
        figure, axes = new_figure(top=22)
        effects = [each.effect(rows) for rows in rows_of]
        known = [(place, 100 * value) for place, value in enumerate(effects) if value is not None]
        recent = each.finding.comparison.recent if each.finding.comparison else None
        since = recent.since if recent else "9999-12-31"
        late = [str(each.dates[rows[0]].astype("datetime64[D]")) >= since for rows in rows_of]
        axes.vlines(
            [place for place, _ in known], 0, [value for _, value in known],
            color=INKS["muted"], linewidth=1.2,
        )  # fmt: skip
        for place, value in known:
            fill = INKS["candidate"] if late[place] else INKS["muted"]
            axes.plot([place], [value], "o", markersize=5, color=fill)
        axes.axhline(0, color=INKS["ink"], linewidth=0.8)
        bound = 100 * each.finding.bound
        axes.axhline(bound, color=INKS["ink"], linewidth=1, linestyle=(0, (3, 2)))
        keep = range(0, len(names), -(-len(names) // 5))
        axes.set_xticks(list(keep), [names[at] for at in keep])
        axes.set_xlim(-0.6, len(names) - 0.4)
        value_axis(axes, "effect, %; coloured: the recent origins" if any(late) else "effect, %")
        told = ", ".join(
            f"{names[place]} {numbers.found(each.finding, value / 100)}" for place, value in known
        )
        alt = f"{rule_name(each.finding)} on {each.finding.dataset} by block: {told}"
        return to_svg(figure, name=f"blocks-{each.slug}", alt=alt)

    def _costs(self) -> Section:
        """What a night took, and whether that took a step."""
        found = self.found
        rows = []
        for each in found.costs:
            values = np.array(each.seconds)
            step = step_in(values)
            told = "no step"
            if len(values) < 10:
                told = f"not looked for: {numbers.plural(len(values), 'night')}"
            elif step is not None:
                told = f"from {each.days[step.place]} on {numbers.ratio(step.ratio)} times as long"
            rows.append(
                (
                    each.arm,
                    each.machine,
                    f"{len(values):,}",
                    numbers.seconds(float(np.median(values))),
                    numbers.seconds(float(values[-1])),
                    told,
                )
            )
        heads = ("Arm", "Machine", "Nights", "Median s", "Last s", "Step")
        table = table_of(
            "Seconds of an arm's process for one origin",
            heads,
            rows,
            words=("Machine", "Step"),
            note="Times of unlike machines are never put together.",
        )
        return Section(
            id="night-costs",
            title="What a night costs",
            items=(table,) if rows else (),
            absent=Text(text="No times are recorded."),
            link="Costs",
        )

    def _events(self) -> Section:
        """What somebody answers for, or has accepted."""
        found = self.found
        heads = ("Day", "What", "Answers for it")
        table = table_of("Acknowledged", heads, found.events, words=heads[1:])
        return Section(
            id="events",
            title="Acknowledged events",
            items=(table,) if found.events else (),
            absent=Text(text="None: no waiver, no part given up, no other installation."),
            link="Events",
        )

    def _fresh(self) -> Section:
        """How far the data have come."""
        found = self.found
        heads = ("Dataset", "Data to", "Last origin judged", "Pending", "State")
        rows = []
        for each in found.freshness:
            state = f"has ended: no new origin since {each.last_origin}" if each.ended else "grows"
            row = (each.dataset, each.until, each.last_origin, f"{each.pending:,}", state)
            rows.append(row)
        table = table_of(
            "Freshness of the data",
            heads,
            rows,
            words=("Data to", "Last origin judged", "State"),
            note="Pending: forecast already, and waiting for their outcome.",
        )
        news = found.nights[-1].news[1:] if found.nights else ()
        lines = (Lines(lines=tuple(first_line([each]) for each in news)),) if news else ()
        return Section(id="fresh", title="Freshness", items=(table, *lines), link="Freshness")
