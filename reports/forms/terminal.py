"""The verdict as plain text for a terminal or a CI log: no colour codes, no box characters."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.judging.verdict import Verdict
from harness.scoring.summary import MetricSummary
from reports.sections.forest import ForestRow, build_forest
from reports.words import numbers, verdicts

_LEAST = 40
_Rows = Mapping[tuple[str, str], MetricSummary]
_METRICS = ("crps", "rmse", "coverage_80", "mae", "mape", "mase", "coverage_95")
_SIGNS = {"\u2212": "-", "\u202f": " ", "≤": "<=", "±": "+/-", "…": "..."}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grid:
    """Text in columns; those from `first_number` on are aligned to the right."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    first_number: int


def render_terminal(
    verdict: Verdict,
    *,
    summaries: Sequence[MetricSummary] = (),
    others: Sequence[Verdict] = (),
    width: int = 80,
) -> str:
    """Write outcome, findings and metrics, at most `width` characters wide where words allow.

    A table that is too wide is written as one block per row. `others` are verdicts on other
    legacy arms, which decide nothing here.
    """
    width = max(width, _LEAST)
    parts = [
        _wrapped(f"{verdict.outcome}: {verdicts.summary(verdict)}", width),
        *(_draw_group(name, rows, width) for name, rows in build_forest(verdict).groups),
        *(_draw_titled(name, summaries, width) for name in _datasets(summaries)),
        "\n".join(_wrapped(f"- {reason}", width, hang=2) for reason in verdicts.reasons(verdict)),
        "\n".join(_wrapped(_against(other), width, hang=2) for other in others),
        _wrapped(_self_test(verdict), width),
        _wrapped(f"Next: {verdicts.next_action(verdict)}", width),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _against(other: Verdict) -> str:
    said = verdicts.summary(other)
    return f"Against {other.legacy}, for the record: {other.outcome}: {said}"


def _self_test(verdict: Verdict) -> str:
    if verdict.self_test is None:
        return ""
    parts = verdict.self_test.parts
    rest = [f"{part.code} {part.state}" for part in parts if part.state != "passed"]
    more = f" ({', '.join(rest)})" if rest else ""
    return f"Self-test of the gate: {verdict.self_test.passed} of {len(parts)} parts passed{more}."


def _draw_group(dataset: str, rows: Sequence[ForestRow], width: int) -> str:
    grid = _Grid(
        head=("Result", "Criterion", "Effect", "Bounds", "Limit"),
        rows=tuple(_finding(row) for row in rows),
        first_number=2,
    )
    return f"{_text(dataset)}\n{_draw(grid, width)}"


def _finding(row: ForestRow) -> tuple[str, ...]:
    name = f"{row.label} ({row.note})"
    return (row.outcome.value, name, row.effect, row.interval, row.limit)


def _datasets(summaries: Sequence[MetricSummary]) -> list[str]:
    return list(dict.fromkeys(row.dataset for row in summaries))


def _draw_titled(dataset: str, summaries: Sequence[MetricSummary], width: int) -> str:
    """Draw a dataset's metrics: as many as fit, the weightiest first."""
    rows = {(row.arm, row.metric): row for row in summaries if row.dataset == dataset}
    known = [metric for metric in _METRICS if any(each == metric for _, each in rows)]
    grids = [_metrics(known[:count], rows) for count in range(len(known), 0, -1)]
    fitting = next((grid for grid in grids if _width(grid) <= width), None)
    drawn = _draw(fitting or _metrics(known, rows), width)
    return f"{_text(dataset)}\n{drawn}"


def _metrics(shown: Sequence[str], rows: _Rows) -> _Grid:
    arms = list(dict.fromkeys(arm for arm, _ in rows))
    return _Grid(
        head=("Arm", *(numbers.metric_name(name) for name in shown), "Skill", "Failed"),
        rows=tuple(_arm_row(arm, shown, rows) for arm in arms),
        first_number=1,
    )


def _width(grid: _Grid) -> int:
    return sum(_sizes(grid)) + 2 * (len(grid.head) - 1)


def _sizes(grid: _Grid) -> list[int]:
    columns = zip(grid.head, *grid.rows, strict=True)
    return [max(len(_text(cell)) for cell in column) for column in columns]


def _arm_row(arm: str, shown: Sequence[str], by_key: _Rows) -> tuple[str, ...]:
    found = [by_key.get((arm, metric)) for metric in shown]
    values = [numbers.NONE if row is None else numbers.figure(row, row.value) for row in found]
    crps = by_key.get((arm, "crps"))
    failed = max((row.failures for row in found if row is not None), default=0)
    skill = numbers.percent(None if crps is None else crps.skill, signed=True)
    return (arm, *values, skill, f"{failed:,}")


def _draw(grid: _Grid, width: int) -> str:
    """Draw a table, or a block per row where it is too wide."""
    if not grid.rows:
        return ""
    rows = [tuple(_text(cell) for cell in row) for row in grid.rows]
    if _width(grid) > width:
        return "\n".join(_block(grid.head, row, width) for row in rows)
    sizes = _sizes(grid)
    rule = tuple("-" * size for size in sizes)
    return "\n".join(_line(row, sizes, grid.first_number) for row in (grid.head, rule, *rows))


def _line(row: Sequence[str], sizes: Sequence[int], first_number: int) -> str:
    cells = (
        cell.rjust(size) if place >= first_number else cell.ljust(size)
        for place, (cell, size) in enumerate(zip(row, sizes, strict=True))
    )
    return "  ".join(cells).rstrip()


def _block(head: Sequence[str], row: Sequence[str], width: int) -> str:
    """Write the first cells as a heading, the others named below it."""
    facts = ", ".join(
        f"{name.lower()} {cell}" for name, cell in zip(head[1:], row[1:], strict=True) if cell
    )
    return _wrapped(f"{row[0]}: {facts}", width, hang=4)


def _wrapped(text: str, width: int, *, hang: int = 0) -> str:
    return textwrap.fill(_text(text), width, subsequent_indent=" " * hang, break_on_hyphens=False)


def _text(text: str) -> str:
    """One printable line, with signs that any log can show."""
    return re.sub("|".join(_SIGNS), lambda sign: _SIGNS[sign[0]], numbers.printable(text))
