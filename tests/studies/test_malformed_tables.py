"""2,000 malformed tables, and as many damaged files: no traceback, nothing silently wrong.

Tables as vendors write them get a fault planted; each must be refused in one line, imported as it
was before, or warned of.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from harness.data.import_options import ImportOptions
from harness.data.importer import Imported, import_file
from harness.errors import DataError

Sized = Callable[[int, int], int]
BATCHES = 4
TODAY = date(2026, 11, 28)
Truth = dict[date, float]

DATE_FORMS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y"),
    *("%d-%b-%Y", "%b %d, %Y", "%d %B %Y", "%d-%b-%y", "%m/%d/%y", "%Y-%m-%d 00:00:00", "excel"),
    *("ms", "s", "%A, %B %d, %Y", "%Y-%m-%dT00:00:00Z", "%d%b%Y", "%Y年%m月%d日"),
)
NUMBER_FORMS = ("1234.56", "1,234.56", "1.234,56", "1 234,56", "1'234.56", "1234,56")
MISSING = ("", ".", "null", "NaN", "#N/A", "-", "n/a", "NULL", "#N/A N/A", "—", "None", "ND")
AFFIXES = (("", ""), ("$", ""), ("USD ", ""), ("", " EUR"), ("€", ""), ("", " kr"))


@dataclass(kw_only=True)
class Case:
    """One file with what is true of it.

    Attributes
    ----------
    content
        Bytes of the file.
    truth
        What an import may find; a session may be lacking only where a note says so.
    options
        What the user says.
    planted
        What was done to the table; blank where nothing is wrong.
    must_refuse
        Whether there is nothing to import.
    must_warn
        Whether an import must warn.
    """

    content: bytes
    truth: Truth
    options: ImportOptions
    planted: str = ""
    must_refuse: bool = False
    must_warn: bool = False
    shape: dict[str, object] = field(default_factory=dict)


def business_days(rng: random.Random, rows: int) -> list[date]:
    day = date(rng.randint(1985, 2024), rng.randint(1, 12), rng.randint(1, 28))
    days: list[date] = []
    while len(days) < rows:
        if day.weekday() < 5 and rng.random() > 0.02:
            days.append(day)
        day += timedelta(days=1)
    return days


def walk(rng: random.Random, rows: int) -> list[float]:
    price = rng.choice((1.5, 40.0, 900.0, 17000.0))
    prices = []
    for _ in range(rows):
        price *= 1 + rng.gauss(0, 0.012)
        prices.append(round(price, 2))
    return prices


def date_text(day: date, form: str) -> str:
    if form == "excel":
        return str((day - date(1899, 12, 30)).days)
    if form in ("ms", "s"):
        seconds = (day - date(1970, 1, 1)).days * 86400
        return str(seconds * (1000 if form == "ms" else 1))
    return day.strftime(form)


def number_text(value: float, form: str) -> str:
    text = f"{value:,.2f}"
    swap = {
        "1234.56": ("", "."),
        "1,234.56": (",", "."),
        "1.234,56": (".", ","),
        "1 234,56": (" ", ","),
        "1'234.56": ("'", "."),
        "1234,56": ("", ","),
    }
    group, mark = swap[form]
    return text.replace(".", "!").replace(",", group).replace("!", mark)


Rows = list[list[str]]


@dataclass(kw_only=True)
class Draft:
    """A table before it is written: faults work on it."""

    rng: random.Random
    days: list[date]
    prices: list[float]
    rows: Rows
    form: str
    numbers: str
    affix: tuple[str, str]
    delimiter: str
    must_refuse: bool = False
    must_warn: bool = False
    options: ImportOptions = field(default_factory=ImportOptions)
    below: str = ""

    def cell(self, value: float) -> str:
        return self.affix[0] + number_text(value, self.numbers) + self.affix[1]


def draft(rng: random.Random) -> Draft:
    """A sound table in some vendor's way of writing."""
    rows = rng.randint(40, 110)
    delimiter = rng.choice((",", ";", "\t", "|"))
    made = Draft(
        rng=rng,
        days=business_days(rng, rows),
        prices=walk(rng, rows),
        rows=[],
        form=rng.choice(DATE_FORMS),
        numbers=rng.choice(NUMBER_FORMS),
        affix=rng.choice(AFFIXES) if rng.random() < 0.3 else ("", ""),
        delimiter=delimiter,
    )
    volume = [rng.randint(1000, 9_000_000) for _ in range(rows)]
    made.rows = [
        [date_text(day, made.form), made.cell(price), str(size)]
        for day, price, size in zip(made.days, made.prices, volume, strict=True)
    ]
    return made


def written(made: Draft) -> tuple[bytes, dict[str, object]]:
    """The draft as bytes: order, header, text above and below, quotes, encoding."""
    rng, mark = made.rng, made.delimiter
    newest = rng.random() < 0.35
    rows = made.rows[::-1] if newest else made.rows
    quoted = rng.random() < 0.3 or any(mark in cell for row in rows for cell in row)
    end = rng.choice(("\n", "\r\n"))

    def line(cells: list[str]) -> str:
        return mark.join(f'"{cell}"' if quoted else cell for cell in cells)

    above = rng.choice(("", "", "", "Prices of X", f"Report{mark}daily", 'He said "x" and left'))
    head = line(["Date", "Close", "Volume"])
    below = made.below or rng.choice(("", "", "", "Source: example exchange", "* delayed"))
    lines = [*([above] if above else []), head, *map(line, rows), *([below] if below else [])]
    if rng.random() < 0.15:
        lines.insert(rng.randint(3, len(lines) - 2), mark * 2)
    if rng.random() < 0.1:
        lines = [text + mark if text != below and text != above else text for text in lines]
    coding = rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16"))
    text = end.join([*lines, ""])
    shape = {
        "dates": made.form,
        "numbers": made.numbers,
        "affix": made.affix,
        "delimiter": mark,
        "above": above,
        "below": below,
        "newest": newest,
        "quoted": quoted,
        "coding": coding,
    }
    return text.encode(coding, errors="replace"), shape


# --- faults: each changes the draft and says whether it may be imported


def junk_cell(made: Draft) -> None:
    """A cell of prices or dates that is neither."""
    row, column = made.rng.randrange(len(made.rows)), made.rng.choice((0, 1))
    made.rows[row][column] = made.rng.choice(("abc", "see note", "12/34/5678x", "1.2.3.4", "0x1F"))
    made.must_refuse = True


def missing_refused(made: Draft) -> None:
    """Missing values without an option."""
    for row in made.rng.sample(range(1, len(made.rows) - 1), made.rng.randint(1, 4)):
        made.rows[row][1] = made.rng.choice(MISSING)
    made.must_refuse = True


def missing_dropped(made: Draft) -> None:
    """Missing values that are to be dropped."""
    for row in sorted(made.rng.sample(range(1, len(made.rows) - 1), 3), reverse=True):
        made.rows[row][1] = made.rng.choice(MISSING)
        del made.days[row], made.prices[row]
    made.options = ImportOptions(missing="drop")


def two_rows_of_a_date(made: Draft) -> None:
    """A date that stands there twice with two prices."""
    row = made.rng.randrange(1, len(made.rows))
    made.rows.insert(row, [made.rows[row][0], made.cell(made.prices[row] * 1.01), "5"])
    made.must_refuse = True


def same_row_twice(made: Draft) -> None:
    """A row that stands there twice."""
    row = made.rng.randrange(1, len(made.rows))
    made.rows.insert(row, list(made.rows[row]))


def swapped_rows(made: Draft) -> None:
    """Two rows in each other's place."""
    row = made.rng.randrange(2, len(made.rows) - 2)
    made.rows[row], made.rows[row + 1] = made.rows[row + 1], made.rows[row]
    made.must_refuse = True


def short_row(made: Draft) -> None:
    """A row that ends before its price."""
    row = made.rng.randrange(1, len(made.rows) - 1)
    made.rows[row] = made.rows[row][:1]
    made.must_refuse = True


def long_row(made: Draft) -> None:
    """A row with a cell too many."""
    row = made.rng.randrange(len(made.rows))
    made.rows[row].insert(1, "7")
    made.must_refuse = True


def bad_tick(made: Draft) -> None:
    """One price of another size."""
    row = made.rng.randrange(1, len(made.rows) - 1)
    made.prices[row] = round(made.prices[row] * made.rng.choice((0.01, 0.1, 10, 100, 2.0, 0.4)), 2)
    made.rows[row][1] = made.cell(made.prices[row])
    made.must_warn = True


def unit_switch(made: Draft) -> None:
    """Prices of another unit from one session on."""
    factor = made.rng.choice((0.01, 100.0, 1000.0, 0.1))
    for row in range(made.rng.randrange(8, len(made.rows) - 8), len(made.rows)):
        made.prices[row] = round(made.prices[row] * factor, 6)
        made.rows[row][1] = made.cell(made.prices[row])
        made.prices[row] = round(made.prices[row], 2)
    made.must_warn = True


def split(made: Draft) -> None:
    """An unadjusted split."""
    for row in range(made.rng.randrange(8, len(made.rows) - 8), len(made.rows)):
        made.prices[row] = round(made.prices[row] / made.rng.choice((2, 2)), 2)
        made.rows[row][1] = made.cell(made.prices[row])
    made.must_warn = True


def other_currency(made: Draft) -> None:
    """Some prices in another currency than the others."""
    row = made.rng.randrange(1, len(made.rows) - 1)
    for each, price in enumerate(made.prices):
        sign = "GBP " if each >= row else "USD "
        made.rows[each][1] = sign + number_text(price, made.numbers)
    made.must_refuse = True


def future(made: Draft) -> None:
    """Sessions that have not been."""
    move = date(2027, 3, 1) - made.days[0]
    made.days = [day + move for day in made.days]
    made.form = "%Y-%m-%d"
    for row, day in zip(made.rows, made.days, strict=True):
        row[0] = date_text(day, made.form)
    made.must_refuse = True


def utc_stamps(made: Draft) -> None:
    """Sessions stamped at midnight of a zone east of Greenwich, in UTC."""
    made.days = [day - timedelta(days=1) for day in made.days]
    for row, day in zip(made.rows, made.days, strict=True):
        row[0] = f"{day} 22:00:00+00:00"
    made.must_warn = True


def filled_weekends(made: Draft) -> None:
    """Weekends filled with Friday's price."""
    known = dict(zip(made.days, made.prices, strict=True))
    made.days, made.prices = [], []
    day, price = min(known), known[min(known)]
    while day <= max(known):
        price = known.get(day, price)
        made.days.append(day)
        made.prices.append(price)
        day += timedelta(days=1)
    made.rows = [
        [date_text(day, made.form), made.cell(price), "5"]
        for day, price in zip(made.days, made.prices, strict=True)
    ]
    made.must_warn = True


def not_a_price(made: Draft) -> None:
    """A price of zero or less."""
    row = made.rng.randrange(len(made.rows))
    made.rows[row][1] = made.rng.choice(("0", "-5", "(12)", "0"))
    made.must_refuse = True


def no_date(made: Draft) -> None:
    """A price without a date."""
    made.rows[made.rng.randrange(1, len(made.rows) - 1)][0] = made.rng.choice(("", "NaT"))
    made.must_refuse = True


def total_below(made: Draft) -> None:
    """A line of sums below the table."""
    made.below = made.delimiter.join(("Total", made.cell(sum(made.prices)), "1"))
    made.must_refuse = True


def header_again(made: Draft) -> None:
    """Two files, one behind the other."""
    made.rows.insert(made.rng.randrange(3, len(made.rows) - 3), ["Date", "Close", "Volume"])


def cut_off(made: Draft) -> None:
    """A download that ended in the middle of a date."""
    made.below = made.rows[-1][0][:3] if made.rows[-1][0][:3].isdigit() else "20"
    made.must_refuse = True


def nothing(made: Draft) -> None:
    """No fault."""


FAULTS: tuple[Callable[[Draft], None], ...] = (
    *(nothing, nothing, nothing, junk_cell, missing_refused, missing_dropped),
    *(two_rows_of_a_date, same_row_twice, swapped_rows, short_row, long_row, bad_tick),
    *(unit_switch, split, other_currency, future, utc_stamps, filled_weekends, not_a_price),
    *(no_date, total_below, header_again, cut_off),
)


def tables(seed: int) -> Iterator[Case]:
    """Cases without end."""
    rng = random.Random(seed)
    while True:
        made = draft(rng)
        fault = rng.choice(FAULTS)
        fault(made)
        content, shape = written(made)
        yield Case(
            content=content,
            truth=dict(zip(made.days, made.prices, strict=True)),
            options=made.options,
            planted=fault.__name__,
            must_refuse=made.must_refuse,
            must_warn=made.must_warn,
            shape=shape,
        )


def damaged(case: Case, rng: random.Random) -> Case:
    """The same file with bytes lost, doubled or changed anywhere: anything may come of it."""
    content = bytearray(case.content)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(content))
        way = rng.randrange(4)
        if way == 0:
            del content[place : place + rng.randint(1, 30)]
        elif way == 1:
            content[place:place] = content[place : place + rng.randint(1, 30)]
        elif way == 2:
            content[place] = rng.randrange(256)
        else:
            content[place:place] = rng.choice((b'"', b"\n", b",", b";", b"\0", b"\xff", b"--"))
        content = content or bytearray(b"x")
    return replace(case, content=bytes(content), planted="damaged bytes")


def verdict(case: Case, made: Imported | None, problem: str) -> str:
    """What is wrong with an outcome; blank where it may stand."""
    if problem:
        if "\n" in problem or len(problem) > 1500:
            return f"not one line: {problem}"
        sound = not (case.must_refuse or case.must_warn)
        return f"refused: {problem}" if sound and "--d" not in problem else ""
    assert made
    if case.must_refuse:
        return f"imported although {case.planted}: {made.built.notes}"
    series = made.built.series
    found = dict(zip(series.dates.tolist(), series.target.tolist(), strict=True))
    wrong = [day for day, price in found.items() if case.truth.get(day) != price]
    if wrong and not case.must_warn:
        return (
            f"{len(wrong)} wrong, first {wrong[0]}: {found[wrong[0]]}, {case.truth.get(wrong[0])}"
        )
    if len(found) < len(case.truth) and "dropped" not in " ".join(made.built.notes):
        return f"{len(case.truth) - len(found)} sessions lost: {made.built.notes}"
    if case.must_warn and not made.built.warnings:
        return f"no warning of {case.planted}"
    return ""


def outcome(case: Case, folder: Path) -> tuple[Imported | None, str]:
    """What an import makes of a case: a dataset, or one line."""
    try:
        made = import_file(
            folder / "in.csv",
            dataset_id="X",
            target="Close",
            date="Date",
            folder=folder,
            options=case.options,
            raw=case.content,
            dry_run=True,
            today=TODAY,
        )
    except DataError as error:
        return None, str(error)
    return made[0], ""


def changed(case: Case, made: Imported) -> str:
    """Prices that damage changed by more than a fifth without a warning, and lost sessions."""
    series = made.built.series
    found = dict(zip(series.dates.tolist(), series.target.tolist(), strict=True))
    for day, price in found.items():
        if day in case.truth and abs(price / case.truth[day] - 1) > 0.2:
            return f"{day}: {price}, {case.truth[day]}"
    if len(set(case.truth) - set(found)) > 3:
        return f"{len(set(case.truth) - set(found))} lost: {made.built.notes}"
    return ""


@pytest.mark.parametrize("seed", range(BATCHES))
def test_planted_faults_are_found_or_refused(tmp_path: Path, seed: int, sized: Sized) -> None:
    """A sound table comes back as it was; a fault is refused in one line or warned of."""
    for case in itertools.islice(tables(seed), sized(20, 500)):
        assert verdict(case, *outcome(case, tmp_path)) == "", (case.planted, case.shape)


@pytest.mark.parametrize("seed", range(BATCHES))
def test_damaged_files_are_never_silently_other(tmp_path: Path, seed: int, sized: Sized) -> None:
    """Bytes lost, doubled or changed give one line, a warning, or the prices that were there."""
    rng = random.Random(seed)
    for sound in itertools.islice(tables(seed), sized(15, 500)):
        case = damaged(sound, rng)
        made, problem = outcome(case, tmp_path)

        assert (made is None) == bool(problem)
        assert "\n" not in problem
        assert made is None or made.built.warnings or changed(case, made) == "", case.shape


def test_a_fault_that_is_let_pass_is_noticed(tmp_path: Path) -> None:
    """The study can fail: an import that finds nothing wrong with a fault does not stand."""
    sound = next(tables(1))
    made, _ = outcome(sound, tmp_path)
    faulty = [case for case in itertools.islice(tables(99), 150) if case.must_refuse]
    odd = [case for case in itertools.islice(tables(99), 150) if case.must_warn]

    assert len({case.planted for case in faulty + odd}) > 12
    assert all(verdict(case, made, "") != "" for case in faulty + odd)
