"""The page of a migration: exposure, losses of both sides, budget, sentinel, what comes next."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.rollout.compatibility import Compatible
from harness.rollout.harm import Fault, SentinelLine, StreamTotals
from harness.rollout.night import Status
from harness.rollout.stages import stage_at
from harness.rollout.stream import PairedStream
from reports.charts import number_axis, value_axis, years_axis
from reports.forms.html import html_of
from reports.section import (
    Block,
    Chart,
    Command,
    Group,
    Lines,
    Row,
    Section,
    TableCell,
    Text,
    table_of,
)
from reports.svg import INKS, chart_style, new_figure, to_svg
from reports.words import rollout_words as words
from reports.words.numbers import identifier

SCHEMA = 1
_SHOWN = 20
_SMOOTH = 20
"""Origins whose mean loss is drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPage:
    """Where a migration stands, and what must keep working, in every form.

    Attributes
    ----------
    checks
        Empty where nothing was tried.
    """

    status: Status
    checks: Sequence[Compatible] = ()

    def sections(self) -> list[Section]:
        """Make all sections; call it inside `chart_style` where pictures are wanted."""
        found = [self._first(), self._exposure()]
        if self.status.seen is not None:
            found += [self._budget(self.status.seen), *self._series(self.status.seen)]
        found.append(self._requests())
        return [*found, self._compatibility()] if self.checks else found

    def html(self) -> str:
        """Draw the page: one HTML file that needs nothing else."""
        with chart_style():
            sections = self.sections()
        return html_of(
            sections,
            head=words.title(self.status),
            title="Rollout",
            first="Stage",
            source=f"the records up to {self.status.head}",
        )

    def text(self) -> str:
        """The same in a few lines, for a terminal."""
        status = self.status
        lines, last = [words.headline(status)], status.state.since
        if last is not None and last.event == "rollback":
            lines.append(f"last move: {words.move(last)}")
        if status.seen is not None:
            lines.append(
                f"budget: {_number(status.seen.spent)} of {status.settings.budget:g} legacy losses"
            )
            lines += [_sentinel(each) for each in status.seen.lines]
            late = {name: count for name, count in status.seen.late.items() if count}
            lines += [
                f"{name}: {count} origins came late: no evidence" for name, count in late.items()
            ]
            lines += [f"fault: {each}" for each in _faults(status.seen.faults)[-5:]]
        lines += [
            f"{'ok  ' if not each.reason else 'FAIL'} {each.title}"
            + (f": {each.reason}" if each.reason else "")
            for each in self.checks
        ]
        following = words.following(status)
        if status.refusals:
            lines += [
                f"{following}:",
                *(f"  {words.refusal(each)}" for each in status.refusals),
            ]
        else:
            lines.append(following)
        lines.append(f"next: {words.next_command(status)}")
        return "\n".join(lines)

    def json(self) -> str:
        """The same as plain data."""
        status = self.status
        state, seen = status.state, status.seen
        known: dict[str, Any] = {
            "schema": SCHEMA,
            "rollout": status.settings.name,
            "stage": str(status.settings.stages[state.place]),
            "place": state.place,
            "since": state.since.at if state.since else None,
            "served_by": dict(state.served_by)
            or dict.fromkeys(status.settings.series, status.settings.legacy),
            "held": words.move(state.held) if state.held else None,
            "moves": [{"at": each.at, "what": words.move(each)} for each in state.moves],
            "may_advance": not status.refusals,
            "refusals": [
                {"code": each.code, "why": words.refusal(each)}
                | {k: _finite(v) if isinstance(v, float) else v for k, v in each.values.items()}
                for each in status.refusals
            ],
            "budget": {
                "of": status.settings.budget,
                "spent": _finite(seen.spent) if seen else 0.0,
            },
            "sentinels": [
                {
                    "series": each.series,
                    "sum": each.sums[-1] if each.sums else 0.0,
                    "boundary": each.boundary,
                    "crossed": each.crossed or None,
                    "found_by": each.found_by,
                    "lacking": each.lacking,
                }
                for each in (seen.lines if seen else ())
            ],
            "faults": [each.detail for each in (seen.faults if seen else ())],
            "requests": list(status.requests),
            "compatibility": [
                {"what": each.title, "why_not": each.reason or None} for each in self.checks
            ],
            "next": words.next_command(status),
            "head": status.head,
        }
        return json.dumps(known, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)

    def _first(self) -> Section:
        items: list[Block] = [Text(text=words.headline(self.status), lead="Now.")]
        if self.status.refusals:
            said = tuple(words.refusal(each) for each in self.status.refusals)
            items += [Text(text=f"{words.following(self.status)}:"), Lines(lines=said)]
        else:
            items.append(Text(text=f"{words.following(self.status)}."))
        items.append(Command(said="Next", command=words.next_command(self.status)))
        return Section(id="first", title=words.title(self.status), items=tuple(items))

    def _exposure(self) -> Section:
        names = self.status.settings.series
        rows: list[Row] = [
            (
                each.at.replace("T", " ")[:19],
                words.move(each),
                *(each.served.get(name, "") for name in names),
                TableCell(text=each.verdict[:12] or "none", code=True),
            )
            for each in self.status.state.moves
        ]
        table = table_of(
            "Exposure over time: every move, and who served each series from then on",
            ("Time (UTC)", "Move", *names, "Verdict"),
            rows,
            words=("Move", *names, "Verdict"),
        )
        nothing = Text(text=f"No move yet: {self.status.settings.legacy} serves everything.")
        return Section(
            id="exposure",
            title="Exposure",
            items=(table,) if rows else (),
            absent=nothing,
            link="Exposure",
        )

    def _budget(self, seen: StreamTotals) -> Section:
        """What serving the candidate has cost, in legacy losses."""
        status = self.status
        said = Text(
            text=f"{_number(seen.spent)} of {status.settings.budget:g} legacy losses are spent on "
            f"{len(seen.budget)} origins that {status.settings.candidate} served. 1 is the loss of "
            "one legacy forecast; what the candidate did better counts against it."
        )
        known = [(day, spent) for day, spent in seen.budget if math.isfinite(spent)]
        charts: list[Block] = []
        if len(known) > 1:
            chart = _chart(
                "Budget spent",
                "Sum of (candidate - legacy) / legacy over the origins the candidate served.",
                "budget",
                np.array([day for day, _ in known], dtype="datetime64[D]"),
                {"spent": (np.array([each for _, each in known]), "candidate")},
                level=("the budget", status.settings.budget),
            )
            charts.append(chart)
        items = (said, Group(style="charts", blocks=tuple(charts)))
        return Section(id="budget", title="Loss budget", items=items, link="Budget")

    def _series(self, seen: StreamTotals) -> Iterator[Section]:
        """Of each series its sentinel, the losses of both sides, what came late, and the faults."""
        for pair, line in zip(seen.pairs, seen.lines, strict=True):
            items: list[Block] = [Text(text=_sentinel(line) + ".")]
            charts = self._loss_chart(pair)
            if line.boundary is not None and len(line.sums) > 1:
                sums = _chart(
                    "Sentinel",
                    "Cumulative harm beyond the limit, night by night; it goes off above the line.",
                    f"sentinel-{identifier(line.series)}",
                    np.array(line.day, dtype="datetime64[D]"),
                    {"sum": (np.array(line.sums), "candidate")},
                    level=("goes off", line.boundary),
                )
                charts = [sums, *charts]
            items += [Group(style="charts", blocks=tuple(charts))] if charts else []
            if seen.late.get(pair.series):
                items.append(
                    Text(
                        text=f"{seen.late[pair.series]} origins came late: served, and no evidence."
                    )
                )
            faults = [each for each in seen.faults if each.series == pair.series]
            if faults:
                lines = tuple(reversed(_faults(faults)))
                items += [
                    Text(text="Faults since the stage began:"),
                    Lines(lines=lines, shown=_SHOWN),
                ]
            yield Section(
                id=f"series-{identifier(pair.series)}",
                title=pair.series,
                items=(*items, Text(text=words.NOT_PROMISED, style="note")),
                link=pair.series,
            )

    def _loss_chart(self, pair: PairedStream) -> list[Block]:
        status = self.status
        came = pair.early_came
        if came.sum() < 2 * _SMOOTH:
            return []
        sides = {
            status.settings.legacy: (pair.legacy.early[came], "legacy"),
            status.settings.candidate: (pair.candidate.early[came], "candidate"),
        }
        smooth = {
            name: (np.convolve(losses, np.full(_SMOOTH, 1 / _SMOOTH), "valid"), ink)
            for name, (losses, ink) in sides.items()
        }
        stages = [stage_at(status.settings, status.state, at) for at in pair.candidate.issued_at]
        begun = status.state.stream
        served = np.array([each.exposes(pair.series) for each in stages])
        if (
            begun is not None
        ):  # what came before was forecast after its outcome, and served to nobody
            served &= pair.day.astype(str) >= begun.until[pair.series]
        return [
            _chart(
                "Losses of both sides",
                f"Mean {status.settings.metric} over steps 1 to 5, of {_SMOOTH} origins each. "
                f"Shaded: served by {status.settings.candidate}, which else answers in shadow.",
                f"losses-{identifier(pair.series)}",
                pair.day[came][_SMOOTH - 1 :],
                smooth,
                shaded=served[came][_SMOOTH - 1 :],
            )
        ]

    def _requests(self) -> Section:
        rows = tuple(
            (
                str(each["at"]).replace("T", " ")[:19],
                str(each["series"]),
                str(each["cutoff"]),
                str(each["stage"]),
                "served" if each["exposed"] else "not served",
                str(each["reason"]),
            )
            for each in reversed(self.status.requests)
        )
        heads = ("Time (UTC)", "Series", "After", "Stage", "Candidate", "Why not as the stage says")
        table = table_of(
            "Requests that the arm of their stage did not answer, and failures in shadow",
            heads,
            rows,
            words=heads,
        )
        nothing = Text(text="Every request was answered by the arm of its stage.")
        return Section(
            id="requests",
            title="Requests answered otherwise",
            items=(table,) if rows else (),
            absent=nothing,
            link="Requests",
        )

    def _compatibility(self) -> Section:
        rows = tuple(
            (each.title, "no" if each.reason else "yes", each.reason) for each in self.checks
        )
        table = table_of(
            "What must keep working", ("What", "Works", "Why not"), rows, words=("Works", "Why not")
        )
        return Section(
            id="compatibility", title="Compatibility", items=(table,), link="Compatibility"
        )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "no end"


def _sentinel(line: SentinelLine) -> str:
    if line.boundary is None:
        return f"{line.series}: no sentinel yet, {line.lacking} more nights are needed"
    now = line.sums[-1] if line.sums else 0.0
    off = f", went off on {line.crossed}" if line.crossed else ""
    found = f"within {line.found_by} nights" if line.found_by else "not within 250 nights"
    return (
        f"{line.series}: sentinel at {now:.2f} of {line.boundary:.2f} after {len(line.sums)} "
        f"nights{off}; 30 % harm is found in 8 of 10 {found}"
    )


def _faults(found: Sequence[Fault]) -> list[str]:
    """A line each, the same fault of many requests once."""
    count = Counter(f"{each.series} {each.day}: {each.what}" for each in found)
    return [line + (f" ({often} times)" if often > 1 else "") for line, often in count.items()]


def _chart(
    title: str,
    caption: str,
    name: str,
    days: np.ndarray[Any, np.dtype[np.datetime64]],
    lines: dict[str, tuple[Any, str]],
    *,
    level: tuple[str, float] | None = None,
    shaded: npt.NDArray[np.bool_] | None = None,
) -> Chart:
    figure, axes = new_figure(height=200, left=58, right=12, top=28)
    at = days.astype("datetime64[D]").astype(float)
    if level is not None:
        axes.axhline(level[1], color=INKS["muted"], linewidth=1, linestyle="--")
        axes.annotate(
            level[0],
            (at[0], level[1]),
            xytext=(4, 3),
            textcoords="offset points",
            color=INKS["muted"],
        )
    for side, (label, (_, ink)) in enumerate(lines.items() if len(lines) > 1 else ()):
        axes.annotate(  # whose line it is: one name above each end of the plot
            label,
            (side, 1),
            xytext=(0, 8),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="right" if side else "left",
            color=INKS[ink],  # type: ignore[index]  # an Ink
        )
    if shaded is not None:
        edges = np.flatnonzero(np.diff(shaded.astype(int), prepend=0, append=0))
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            axes.axvspan(at[start], at[stop - 1], color=INKS["muted"], alpha=0.15, linewidth=0)
    for values, ink in lines.values():
        axes.plot(at, values, color=INKS[ink], linewidth=1.4)  # type: ignore[index]  # an Ink
    years_axis(axes, days)
    number_axis(axes.yaxis, axes.get_ylim())
    value_axis(axes, "")
    head = ("Until", *lines)
    every = max(1, len(days) // _SHOWN)
    rows = tuple(
        (str(days[k]), *(f"{values[k]:.4g}" for values, _ in lines.values()))
        for k in range(len(days) - 1, -1, -every)
    )
    said = f"{title}: " + "; ".join(
        f"{label} from {values[0]:.3g} to {values[-1]:.3g}" for label, (values, _) in lines.items()
    )
    return Chart(
        title=title,
        caption=caption,
        svg=to_svg(figure, name=name, alt=said),
        table=table_of(title, head, rows),
    )
