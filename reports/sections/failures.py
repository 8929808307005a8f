"""Windows that failed or that a fallback answered, and cells without scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from harness.scoring.scores import UnitScores
from reports.page_input import PageInput, UnitKey
from reports.section import Lines, Placement, Section, Table, TableCell, Text, columns, text, there
from reports.words import numbers


def failures(page: PageInput) -> Table | None:
    """Failed windows with their reasons; None when there are none."""
    groups: dict[tuple[str, str, int, str], list[str]] = {}
    for key, reason, day in _failed(page):
        groups.setdefault((*key, reason), []).append(day)
    if not groups:
        return None
    rows = tuple(_failure_row(key, days) for key, days in list(groups.items())[:_SHOWN])
    left = numbers.plural(len(groups) - len(rows), "further reason")
    return Table(
        caption="Failed windows, by reason",
        columns=columns(*_FAILURE_HEADS, words=("Dataset", "First origin", "Reason")),
        rows=rows,
        note=f"{left} left out; the store holds all." if len(groups) > len(rows) else "",
    )


def _failure_row(key: tuple[str, str, int, str], days: Sequence[str]) -> tuple[TableCell, ...]:
    arm, dataset, seed, reason = key
    counted = (str(seed), f"{len(days):,}", min(days))
    return (text(arm), text(dataset), *map(text, counted), text(numbers.printable(reason)))


def _failed(page: PageInput) -> Iterable[tuple[UnitKey, str, str]]:
    """Each failed window: unit, reason, origin date; scores first, stored units for the rest."""
    seen = set()
    for scores in page.scores:
        key = (scores.arm, scores.dataset, scores.seed)
        seen.add(key)
        for reason, day in zip(scores.reason, scores.origin_date.tolist(), strict=True):
            if reason:
                yield key, reason, str(day)
    for key in sorted(set(page.units) - seen):
        unit = page.units[key]
        for reason, day in zip(unit.reason, unit.last_date.tolist(), strict=True):
            if reason:
                yield key, reason, str(day)


_FAILURE_HEADS = ("Arm", "Dataset", "Seed", "Windows", "First origin", "Reason")


_SHOWN = 40


def fallback_table(page: PageInput) -> Table | None:
    """Windows that an arm's fallback answered, with reasons; None where there are none."""
    rows = [row for unit in page.scores for row in _answered_rows(unit)]
    if not rows:
        return None
    return Table(
        caption="Windows a fallback answered",
        columns=columns(
            "Arm",
            "Dataset",
            "Seed",
            "Windows",
            "Origins",
            "Reason",
            words=("Dataset", "Origins", "Reason"),
        ),
        rows=tuple(rows),
        note="None of them is credited to the arm: each counts as a failure of it.",
    )


def _answered_rows(unit: UnitScores) -> Iterator[tuple[TableCell, ...]]:
    """A row for each reason for which a unit's fallback answered."""
    days = [str(day) for day in unit.origin_date[unit.answered_by_fallback]]
    reasons = [why for why in unit.fallback if why]
    for why in dict.fromkeys(reasons):
        mine = [day for day, each in zip(days, reasons, strict=True) if each == why]
        counted = (str(unit.seed), f"{len(mine):,}", _days(mine), numbers.printable(why))
        yield (text(unit.arm), text(unit.dataset), *map(text, counted))


def _days(days: Sequence[str]) -> str:
    more = f" and {len(days) - 4} more" if len(days) > 4 else ""
    return ", ".join(days[:4]) + more


def failed(page: PageInput) -> Iterator[Section]:
    """What went wrong, by reason."""
    missing = page.verdict.validity.missing
    gone = (Text(text="Cells of the grid without scores:"), Lines(lines=tuple(map(str, missing))))
    yield Section(
        id="failures",
        title="Failures",
        link="Failures",
        items=(
            *there(fallback_table(page), failures(page) or Text(text="No window failed.")),
            *(gone if missing else ()),
        ),
    )


PLACEMENTS = (Placement(order=900, page=failed),)
