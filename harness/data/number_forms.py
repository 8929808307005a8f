"""Numbers as people and programs write them: marks, groups, signs, units, multipliers.

As with dates, a decimal mark counts only when the whole column fits it; where two fit and differ,
the column is ambiguous.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal as Exact

import numpy as np

from harness.data.import_options import Decimal
from harness.data.tables import (
    NUMBER_WANTED,
    Declared,
    Faults,
    TextTable,
    is_missing,
    plain,
    shown,
)
from harness.window import Array

_WESTERN = "[1-9][0-9]{{0,2}}(?:{group}[0-9]{{3}})+|[0-9]{{1,3}}"
_INDIAN = "[1-9][0-9]?(?:{group}[0-9]{{2}})*{group}[0-9]{{3}}|[0-9]{{1,3}}"
_STYLES: tuple[tuple[str, Decimal, str], ...] = (
    *(("", ".", "[0-9]+"), (",", ".", _WESTERN), (" ", ".", _WESTERN), ("'", ".", _WESTERN)),
    *(("", ",", "[0-9]+"), (".", ",", _WESTERN), (" ", ",", _WESTERN), ("'", ",", _WESTERN)),
    (",", ".", _INDIAN),
)
"""Sign between groups, decimal mark, pattern of the whole part."""

_MULTIPLIERS = {
    **dict.fromkeys(("k", "tsd", "thousand", "mil", "тыс"), 3),
    **dict.fromkeys(("m", "mn", "mln", "mio", "million", "millions", "млн"), 6),
    **dict.fromkeys(("b", "bn", "bln", "mrd", "billion", "billions", "млрд"), 9),
    **dict.fromkeys(("t", "tn", "trn", "trillion"), 12),
    **dict.fromkeys(("lakh", "lac", "lakhs"), 5),
    **dict.fromkeys(("cr", "crore", "crores"), 7),
    **dict.fromkeys(("万", "萬", "만"), 4),
    **dict.fromkeys(("亿", "億", "억"), 8),
}
"""Powers of ten behind a number."""


TYPED = "numbers as the file has them"


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberColumn:
    """Numbers as read.

    Attributes
    ----------
    values
        NaN where a cell is a missing value, and where it is at fault.
    step
        The last printed place of the column: 0.01 for two decimals.
    unit
        The text that every cell has, such as ``USD``; blank without one.
    notes
        What is worth saying about the reading.
    form
        Its decimal mark and what stands between thousands, in words.
    """

    values: Array
    step: float
    unit: str = ""
    notes: tuple[str, ...] = ()
    form: str = TYPED


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cell:
    """A cell taken apart: sign and figures, the text before and behind, a power of ten.

    `exact` figures are a number of the file, not a text: their decimal mark is a point.
    """

    figures: str
    exact: bool = False
    before: str = ""
    behind: str = ""
    power: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _NumberReading:
    """A column under one decimal mark; None where a cell does not fit."""

    mark: Decimal
    values: Sequence[Exact | None]
    group: str

    @property
    def hits(self) -> int:
        return len(self.values) - self.values.count(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """A column of text: rows that hold a value, their parts, and the readings that fit."""

    rows: Sequence[int]
    cells: Sequence[_Cell]
    fitting: Sequence[_NumberReading]
    notes: tuple[str, ...]

    @property
    def marks(self) -> set[Decimal]:
        """Decimal marks among readings that differ; none when all readings agree."""
        same = all(reading.values == self.fitting[0].values for reading in self.fitting)
        marks = {reading.mark for reading in self.fitting}
        return set() if same and len(marks) > 1 else marks


def read_numbers(
    table: TextTable, names: Sequence[str], decimal: Decimal | None, faults: Faults
) -> dict[str, NumberColumn]:
    """Read columns of numbers; one that is sure of its decimal mark settles the others.

    What does not fit is added to `faults`.
    """
    texts = {
        name: _text_column(table, name, decimal, faults)
        for name in names
        if name not in table.typed
    }
    columns = {name: column for name, column in texts.items() if column is not None}
    sure = {marks.pop() for column in columns.values() if len(marks := column.marks) == 1}
    found = {}
    for name in names:
        if name in table.typed:  # the file says that it holds numbers
            cells = [plain(cell) for cell in table.column(name)]
            values = np.array([np.nan if is_missing(cell) else float(cell) for cell in cells])
            steps = [_step(Exact(c)) for c in cells if not is_missing(c) and "inf" not in c]
            found[name] = NumberColumn(values=values, step=min(steps, default=0.0))
        elif name in columns:
            found[name] = _only_reading(table, name, columns[name], sure, faults)
        else:
            found[name] = NumberColumn(values=np.full(len(table), np.nan), step=0.0)
        infinite = np.flatnonzero(np.isinf(found[name].values))
        if infinite.size:
            row = int(infinite[0])
            problem = f"{_shown(table, row, name)} is not finite; {NUMBER_WANTED}"
            faults.cell(table, row, name, problem, count=infinite.size)
    return found


def step_of(values: Array) -> float:
    """The last place that numbers need when they are written as briefly as possible."""
    return min(_step(Exact(repr(value).removesuffix(".0"))) for value in values.tolist())


def looks_like_a_number(cell: str) -> bool:
    """Whether a cell is a number, perhaps with a currency or a unit beside it."""
    parts = _taken_apart(plain(cell))
    return parts is not None and len(parts.before) <= 4 and len(parts.behind) <= 4


def _text_column(
    table: TextTable, name: str, decimal: Decimal | None, faults: Faults
) -> _Column | None:
    """A column taken apart; None after adding its misfits to `faults`."""
    texts = [plain(cell) for cell in table.column(name)]
    rows = [row for row, text in enumerate(texts) if not is_missing(text)]
    kinds = [isinstance(table.column(name)[row], Declared) for row in rows]
    cells = [
        _Cell(figures=texts[row], exact=True) if exact else _taken_apart(texts[row])
        for row, exact in zip(rows, kinds, strict=True)
    ]
    wrong = [row for row, cell in zip(rows, cells, strict=True) if cell is None]
    whole = [cell for cell in cells if cell is not None]
    if not wrong and whole:
        whole, notes, odd = _same_unit(rows, whole)
        if odd is not None:
            row, problem, count = odd
            faults.cell(table, row, name, f"{_shown(table, row, name)} {problem}", count=count)
            return None
        readings = [_read(whole, *style) for style in _STYLES if decimal in (None, style[1])]
        fitting = [reading for reading in readings if reading.hits == len(whole)]
        if fitting:
            return _Column(rows=rows, cells=whole, fitting=fitting, notes=notes)
        best = max(readings, key=lambda reading: reading.hits)
        wrong = [row for row, value in zip(rows, best.values, strict=True) if value is None]
    if not whole and not wrong:
        faults.add(f"column '{name}': no number in any row")
        return None
    cell = _shown(table, wrong[0], name)
    hint = f"{NUMBER_WANTED}; if it stands for a missing value, --missing-text {cell}"
    problem = f"{cell} is not a number; {hint}{table.skip_hint(wrong)}"
    faults.cell(table, wrong[0], name, problem, count=len(wrong))
    return None


def _taken_apart(text: str) -> _Cell | None:
    """Sign, figures and what stands around them; None for what holds no number."""
    match = re.fullmatch(r"(\D*)([0-9](?:[0-9.,' ]*[0-9])?(?:[eE][+-]?[0-9]{1,4})?)(\D*)", text)
    if not match:
        return None
    before, figures, behind = match[1].strip(), match[2], match[3].strip()
    if before[-1:] in (".", ",") and not before[:-1].strip("+-( "):  # .5
        before, figures = before[:-1].strip(), before[-1] + figures
    if behind[:1] in (".", ",") and not behind[1:].strip(") "):  # 7.
        behind, figures = behind[1:].strip(), figures + behind[0]
    negative = False
    if before.startswith("(") and behind.endswith(")"):
        before, behind, negative = before[1:].strip(), behind[:-1].strip(), True
    for sign in ("-", "+"):
        if before.startswith(sign) or before.endswith(sign):
            before, negative = before.strip(sign + " "), negative or sign == "-"
            break
    if behind == "-":
        behind, negative = "", True
    if re.search(r"[-+.,()'\"<>=~/:]$", before.removesuffix(".")) or behind[:1] in tuple(
        "-+.,'\":"
    ):
        return None
    word, _, rest = behind.partition(" ")
    power = _MULTIPLIERS.get(word.casefold().rstrip("."), 0)
    return _Cell(
        figures=("-" if negative else "") + figures,
        before=before,
        behind=rest.strip() if power else behind,
        power=power,
    )


def _same_unit(
    rows: Sequence[int], cells: Sequence[_Cell]
) -> tuple[list[_Cell], tuple[str, ...], tuple[int, str, int] | None]:
    """Cells that all carry one unit, what to say of it; or the first cell that does not."""
    written = [f"{cell.before} {cell.behind}".strip() for cell in cells]
    units = [unit.casefold() for unit in written]
    usual = max(dict.fromkeys(units), key=units.count)
    odd = [place for place, unit in enumerate(units) if unit != usual]
    if odd:
        row, unit = rows[odd[0]], written[odd[0]]
        has = f"carries '{unit}'" if unit else "carries no unit"
        others = f"'{written[units.index(usual)]}'" if usual else "none"
        hint = f"if it is one unit all the same, --ignore-text '{unit or usual}' takes the text out"
        return [], (), (row, f"{has}, the other rows {others}: mixed units? {hint}", len(odd))
    notes = []
    sample = cells[0]
    if usual == "%":
        notes.append(f"is in per cent: '{sample.figures}%' was read as {sample.figures}")
    elif usual:
        notes.append(f"carries '{f'{sample.before} {sample.behind}'.strip()}', which was dropped")
    if powers := sorted({cell.power for cell in cells if cell.power}):
        notes.append(f"has multipliers, read as {' and '.join(f'1e{power}' for power in powers)}")
    return list(cells), tuple(notes), None


def _read(cells: Sequence[_Cell], group: str, mark: Decimal, whole: str) -> _NumberReading:
    part = whole.format(group=re.escape(group)) if group else whole
    point = re.escape(mark)
    number = rf"[+-]?(?:(?:{part})(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?"
    fits = re.compile(number).fullmatch
    values: list[Exact | None] = []
    for cell in cells:
        figures = cell.figures
        if cell.exact:
            values.append(Exact(figures))
            continue
        if not fits(figures):
            values.append(None)
            continue
        plain_figures = figures.replace(group, "") if group else figures
        exact = Exact(plain_figures.replace(mark, "."))
        values.append(exact.scaleb(cell.power) if cell.power else exact)
    return _NumberReading(mark=mark, values=values, group=group)


def _only_reading(
    table: TextTable, name: str, column: _Column, sure: set[Decimal], faults: Faults
) -> NumberColumn:
    fitting = column.fitting
    if len(column.marks) > 1 and len(sure) == 1:
        fitting = [reading for reading in fitting if reading.mark in sure]
    first = fitting[0]
    values = np.full(len(table), np.nan)
    for other in fitting[1:]:
        for row, one, two in zip(column.rows, first.values, other.values, strict=True):
            if one != two and one is not None and two is not None:
                readings = f"{float(one)!r} or {float(two)!r}"
                marks = f"'{first.mark}' or '{other.mark}'"
                problem = f"could be {readings}; settle it by --decimal {marks}"
                faults.cell(table, row, name, f"{_shown(table, row, name)} {problem}")
                return NumberColumn(values=values, step=0.0)
    numbers = [value for value in first.values if value is not None]
    values[list(column.rows)] = [float(value) for value in numbers]
    notes = tuple(f"Column '{name}' {note}." for note in column.notes)
    cell = column.cells[0]
    figures = [each.figures for each in column.cells if not each.exact]
    form = "decimal comma" if first.mark == "," else "decimal point"
    form = form if any(first.mark in each for each in figures) else "no decimals"
    if first.group and any(first.group in each for each in figures):
        form += f", {first.group!r} between thousands"
    return NumberColumn(
        values=values,
        step=min(map(_step, numbers)),
        unit=f"{cell.before} {cell.behind}".strip(),
        notes=notes,
        form=form if figures else TYPED,
    )


def _step(value: Exact) -> float:
    """The last place that was printed, as a number; 1 for 350, 0.01 for 0.50."""
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int):
        return 0.0
    return float(f"1e{max(exponent, -320)}")


def _shown(table: TextTable, row: int, name: str) -> str:
    return shown(table.column(name)[row].strip())
