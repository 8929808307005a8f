"""Dates as people and programs write them: the readings that a whole column allows.

A way of writing counts only when every cell of the column fits it. Where two ways fit and differ,
the one that puts the rows in order is meant; if both do, the column is ambiguous.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from datetime import date as Date  # `date` is the name of a field elsewhere
from decimal import Decimal as Exact
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np

from harness.data.import_options import LANGUAGES, ImportOptions
from harness.data.tables import Faults, TextTable, is_missing, plain, shown
from harness.errors import DataError
from harness.window import Dates

NO_TIMES = "no times of day in the file"

_ENGLISH = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_ENGLISH_NAMES = {
    month[:size].lower(): number
    for number, month in enumerate(_ENGLISH, start=1)
    for size in range(3, len(month) + 1)
}
_EXCHANGED = ("day-month-year", "month-day-year")
_ALSO = {"de": {"mrz": 3, "maerz": 3}, "pt": {"marco": 3}}  # written so, though not in CLDR
_YEAR, _SHORT = "(?P<y>(?:1[5-9]|2[01])[0-9]{2})", "'?(?P<c>[0-9]{2})"
_DAY, _MONTH = "(?P<d>[0-9]{1,2})", "(?P<m>[0-9]{1,2})"
_DAY2, _MONTH2 = "(?P<d>[0-9]{2})", "(?P<m>[0-9]{2})"
_WORD = r"(?P<b>[^\W\d_]{3,14})\.?"
_WEEKDAY = r"(?P<before>[^\W\d_]{2,14}\.?,? +)?"
_GAP, _OF = r"[-/., ]{0,2}", r"(?:d[e']l? ?)?"
_ORDINAL = r"(?:st|nd|rd|th|er|º|ª)?"
_SHAPES = {
    "year-month-day": f"{_YEAR}(?P<s>[-/.]) ?{_MONTH}(?P=s) ?{_DAY}\\.?",
    "YYYYMMDD": f"{_YEAR}{_MONTH2}{_DAY2}",
    "day-month-year": f"{_DAY}(?P<s>[-/.]) ?{_MONTH}(?P=s) ?{_YEAR}\\.?",
    "month-day-year": f"{_MONTH}(?P<s>[-/]){_DAY}(?P=s){_YEAR}",  # nobody writes it with dots
    "DDMMYYYY": f"{_DAY2}{_MONTH2}{_YEAR}",
    "MMDDYYYY": f"{_MONTH2}{_DAY2}{_YEAR}",
    "day-name-year": f"{_DAY}{_ORDINAL}{_GAP}{_OF}{_WORD}{_GAP}{_OF}{_YEAR}\\.?",
    "name-day-year": f"{_WORD} *{_DAY}{_ORDINAL}[, ]+{_YEAR}",
    "year-name-day": f"{_YEAR}{_GAP}{_WORD}{_GAP}{_DAY}\\.?",
    "year-month-day in Chinese, Japanese or Korean": f"{_YEAR}[年년] ?{_MONTH}[月월] ?{_DAY}[日일]",
    "day-month-yy": f"{_DAY}(?P<s>[-/. ]){_MONTH}(?P=s){_SHORT}",
    "month-day-yy": f"{_MONTH}(?P<s>[-/]){_DAY}(?P=s){_SHORT}",
    "yy-month-day": f"{_SHORT}(?P<s>[-/.]){_MONTH}(?P=s){_DAY}",
    "day-name-yy": f"{_DAY}{_GAP}{_WORD}{_GAP}{_SHORT}",
    "name-day-yy": f"{_WORD} *{_DAY}{_ORDINAL}[, ]+{_SHORT}",
    "yy-name-day": f"{_SHORT}{_GAP}{_WORD}{_GAP}{_DAY}",
    "YYMMDD": f"(?P<c>[0-9]{{2}}){_MONTH2}{_DAY2}",
    "DDMMYY": f"{_DAY2}{_MONTH2}(?P<c>[0-9]{{2}})",
    "MMDDYY": f"{_MONTH2}{_DAY2}(?P<c>[0-9]{{2}})",
}
_PATTERNS = {
    name: re.compile(f"{_WEEKDAY}{shape}(?: ?[гр]\\.?)?(?: ?\\([^\\W\\d_]+\\))?")
    for name, shape in _SHAPES.items()
}
_CLOCK = re.compile(
    r"(?P<day>.*?[^\s,T])(?:T|,? +)(?P<h>[0-9]{1,2}):(?P<min>[0-9]{2})(?::(?P<sec>[0-9]{2}))?"
    r"(?:[.,][0-9]+)?(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?"
    r"(?: ?(?P<zone>Z|(?:UTC|GMT)?[+-][0-9]{2}:?(?:[0-9]{2})?|[A-Z]{2,5}))?"
    r"(?: ?[\[(][\w/ ]+[\])]| [A-Z]\w+/[\w/]+)?"
)
_PACKED = re.compile(
    r"((?:1[5-9]|2[01])[0-9]{2}(?:0[1-9]|1[0-2])[0-3][0-9])[T ]?([0-9]{2})([0-9]{2})([0-9]{2})?(Z?)"
)
_SERIAL = re.compile(r"[1-7][0-9]{4}(?:[.,][0-9]+)?")
_EXPONENT = re.compile(r"[0-9](?:\.([0-9]+))?[Ee]\+?([0-9]{1,2})")
_EPOCH = re.compile(r"-?[0-9]{6,19}(?:\.[0-9]*)?")
_CENTURY = " A century that would lie in the future was read as the one before."
_UNITS = ((1e17, 1e9, "nanoseconds"), (1e14, 1e6, "microseconds"), (1e11, 1e3, "milliseconds"))
_MONTH_ONLY = (
    (re.compile(f"{_YEAR}(?P<s>[-/.]?)(?P<m>0[1-9]|1[0-2])"), "month"),
    (re.compile(f"(?P<m>0?[1-9]|1[0-2])(?P<s>[-/.]){_YEAR}"), "month"),
    (re.compile(f"{_WORD}[-/ ]{_YEAR}"), "month"),
    (re.compile(f"{_YEAR}[-/ ]?[QqTt][1-4]|[QqTt][1-4][-/ ]?{_YEAR.replace('y', 'c')}"), "quarter"),
    (re.compile(f"{_YEAR}-?[WwKk][0-9]{{2}}"), "week"),
    (re.compile(_YEAR), "year"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DateColumn:
    """Dates as read, NaT where a cell is a missing value, and what is worth saying about them.

    Attributes
    ----------
    zone
        Which zone's dates they are, in words.
    form
        How they were read, with the first of the file.
    """

    dates: Dates
    notes: tuple[str, ...]
    zone: str = NO_TIMES
    form: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stamp:
    """A cell taken apart: what names the day, and the time of day with its zone if it has one."""

    day: str
    seconds: int = 0
    zone: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _DateReading:
    """A column as one way of writing gives it; None where a cell does not fit."""

    name: str
    values: Sequence[Date | None]
    seconds: Sequence[int] | None = None

    @property
    def fits(self) -> bool:
        return None not in self.values

    @property
    def hits(self) -> int:
        return len(self.values) - self.values.count(None)

    @property
    def breaks(self) -> int:
        """Steps against the usual direction of time."""
        days = [value.toordinal() for value in self.values if value is not None]
        steps = [two - one for one, two in pairwise(days)]
        return min(sum(step < 0 for step in steps), sum(step > 0 for step in steps))


def read_dates(
    table: TextTable, name: str, options: ImportOptions, today: Date, faults: Faults
) -> DateColumn:
    """Read a column of dates, one a row in the order of the file; misfits are added to `faults`.

    Parameters
    ----------
    today
        No session may be later than the day after.
    """
    column = [cell.strip() for cell in table.column(name)]
    cells = [plain(cell) for cell in column]
    filled = [row for row, cell in enumerate(cells) if not is_missing(cell)]
    dates = np.full(len(cells), "NaT", dtype="datetime64[D]")
    if not filled:
        faults.add(f"column '{name}': no date in any row")
        return DateColumn(dates=dates, notes=())
    stamps = [_taken_apart(cells[row]) for row in filled]
    reading = _only_reading(table, name, filled, stamps, options, today, faults)
    if reading is None:
        return DateColumn(dates=dates, notes=())
    seconds = reading.seconds or [stamp.seconds for stamp in stamps]
    zones = ["Z"] * len(stamps) if reading.seconds else [stamp.zone for stamp in stamps]
    days = [value for value in reading.values if value is not None]
    days, zone, notes = _zoned(days, seconds, zones, options.timezone)
    if reading.name not in ("year-month-day", "YYYYMMDD"):
        text = f"Dates were read as {reading.name}: {shown(column[filled[0]])} is {_long(days[0])}."
        short = re.search("yy|YY|%y", reading.name.replace("YYYY", ""))
        notes.insert(0, text + (_CENTURY if short and min(days).year < 2000 else ""))
    dates[filled] = np.array(days, dtype="datetime64[D]")
    if late := [row for row in filled if dates[row].item() > today + timedelta(days=1)]:
        problem = f"{shown(column[late[0]])} is {dates[late[0]]}, which lies in the future"
        hint = f"check --date-format and --timezone{table.skip_hint(late)}"
        faults.cell(table, late[0], name, f"{problem}; {hint}", count=len(late))
    first = f"{shown(column[filled[0]])} is {_long(dates[filled[0]].item())}"
    form = f"dates {reading.name}, {first}"
    return DateColumn(dates=dates, notes=tuple(notes), zone=zone, form=form)


def _only_reading(
    table: TextTable,
    name: str,
    filled: Sequence[int],
    stamps: Sequence[_Stamp],
    options: ImportOptions,
    today: Date,
    faults: Faults,
) -> _DateReading | None:
    """The one reading of the column; None after adding why there is none to `faults`."""
    column = [cell.strip() for cell in table.column(name)]
    found = _readings([plain(column[row]) for row in filled], stamps, options, today)
    fitting = [reading for reading in found if reading.fits]
    if not fitting:
        best = max(found, key=lambda reading: reading.hits)
        misfits = [row for row, value in zip(filled, best.values, strict=True) if value is None]
        problem = f"{shown(column[misfits[0]])} {_misfit(plain(column[misfits[0]]), best, options)}"
        if table.place == "row" and best.hits and best.name in _EXCHANGED:
            problem += "; where Excel made dates of texts, day and month may be exchanged"
        problem += table.skip_hint(misfits)
        faults.cell(table, misfits[0], name, problem, count=len(misfits))
        return None
    least = min(reading.breaks for reading in fitting)
    reading, *others = (each for each in fitting if each.breaks <= 3 * least)
    for other in others:
        for row, stamp, *both in zip(filled, stamps, reading.values, other.values, strict=True):
            if both[0] != both[1]:
                hint = _settled_by(stamp.day, reading.name, other.name)
                could = f"could be {' or '.join(_long(day) for day in both if day)}"
                problem = f"{shown(column[row])} {could}; settle it by {hint}"
                faults.cell(table, row, name, problem)
                return None
    return reading


def looks_like_a_date(cell: str, *, alone: bool = False) -> bool:
    """Whether a cell is a date in some way of writing, or at least begins with a digit."""
    return bool(re.match(r"[-+]?[0-9]", plain(cell))) or is_dated(cell, alone=alone)


def is_dated(cell: str, *, alone: bool = False) -> bool:
    """Whether a cell is a date in a way of writing that no plain number has.

    With `alone`, a word in front of it, which may be a day of the week, makes it none.
    """
    day = _taken_apart(plain(cell)).day
    if day.isdigit():
        return False
    found = (pattern.fullmatch(day) for pattern in _PATTERNS.values())
    return any(match is not None and not (alone and match["before"]) for match in found)


def _taken_apart(cell: str) -> _Stamp:
    if packed := _PACKED.fullmatch(cell):
        day, hour, minute, second, zone = packed.groups()
        if int(hour) < 24 and int(minute) < 60:
            cell = f"{day} {hour}:{minute}:{second or '00'}{zone}"
    match = _CLOCK.fullmatch(cell)
    power = _EXPONENT.fullmatch(cell)
    if power and len(power[1] or "") >= int(power[2]):  # every figure of the whole number is there
        cell = str(int(Exact(cell)))
    if not match:
        return _Stamp(day=re.sub(r"\.0+$", "", cell) if re.fullmatch(r"[0-9.]+", cell) else cell)
    hour = int(match["h"])
    if match["half"]:
        hour = hour % 12 + (12 if match["half"] in "Pp" else 0)
    seconds = 3600 * hour + 60 * int(match["min"]) + int(match["sec"] or 0)
    return _Stamp(day=match["day"].rstrip(" ,"), seconds=seconds, zone=match["zone"])


def _readings(
    cells: Sequence[str], stamps: Sequence[_Stamp], options: ImportOptions, today: Date
) -> list[_DateReading]:
    """The column in every way of writing that some of it fits; in the one that was told."""
    days, form = [stamp.day for stamp in stamps], options.date_format or ""
    found = [_DateReading(name="", values=[None] * len(cells))]
    if form in ("excel", "excel1904"):
        return [_excel(days, form)]
    if form == "epoch":
        return [_epoch(days)]
    if form:
        return [_DateReading(name=f"'{form}'", values=_by_pattern(cells, days, form, today))]
    if all(map(_SERIAL.fullmatch, days)):
        found.append(usual := _excel(days, "excel"))
        week = [day.weekday() for day in usual.values if day is not None]
        if week.count(5) > 4 and not week.count(0):  # Tuesday to Saturday: one day late
            found.append(_excel(days, "excel1904"))
    if all(map(_EPOCH.fullmatch, days)) and (epochs := _epoch(days)).fits:
        found.append(epochs)
    found += _shaped(days, _ENGLISH_NAMES, today)
    if any(reading.fits for reading in found):
        return found
    return found + list(_in_other_languages(days, options, today))


def _in_other_languages(
    days: Sequence[str], options: ImportOptions, today: Date
) -> Iterator[_DateReading]:
    """Readings by month names of other languages, each distinct one once."""
    matches = (pattern.fullmatch(day) for day in days for pattern in _PATTERNS.values())
    words = {_fold(match["b"]) for match in matches if match and "b" in match.groupdict()}
    seen = set[tuple[tuple[str, int], ...]]()
    for language in (options.date_language,) if options.date_language else LANGUAGES:
        if not words or language == "en":
            return
        months = {word: month for word in words if (month := _months(language).get(word))}
        if months and (key := tuple(sorted(months.items()))) not in seen:
            seen.add(key)
            yield from _shaped(days, months, today, language=language)


def _shaped(
    days: Sequence[str], months: Mapping[str, int], today: Date, *, language: str = ""
) -> Iterator[_DateReading]:
    """Readings by the shapes of dates; with a language, only those that have names of months."""
    suffix = f" with month names in '{language}'" if language else ""
    for name, pattern in _PATTERNS.items():
        matches = [pattern.fullmatch(day) for day in days if "name" in name or not language]
        if not any(matches):
            continue
        values: list[Date | None] = []
        for match in matches:
            if match is None:
                values.append(None)
                continue
            part, day = match.groupdict(), int(match["d"])
            month = int(part["m"]) if part.get("m") else months.get(_fold(part["b"]), 0)
            if part.get("y"):
                values.append(_day(int(part["y"]), month, day))
            else:
                values.append(_of_short_year(int(part["c"]), month, day, today))
        yield _DateReading(name=name + suffix, values=values)


def _of_short_year(short: int, month: int, day: int, today: Date) -> Date | None:
    """The last day so written that does not lie in the future."""
    this = _day(2000 + short, month, day)
    if this is not None and this <= today + timedelta(days=1):
        return this
    return _day(1900 + short, month, day)


def _day(year: int, month: int, day: int) -> Date | None:
    try:
        return Date(year, month, day)
    except ValueError:
        return None


def _excel(cells: Sequence[str], form: str) -> _DateReading:
    since, start = ("1904", Date(1904, 1, 1)) if "1904" in form else ("1900", Date(1899, 12, 30))
    fits = [re.fullmatch(r"([0-9]{1,5})(?:[.,][0-9]+)?", cell) for cell in cells]
    days = [start + timedelta(days=int(match[1])) if match else None for match in fits]
    return _DateReading(name=f"serial numbers of Excel (days since {since})", values=days)


def _epoch(cells: Sequence[str]) -> _DateReading:
    """Days of Unix times; the largest number settles their unit."""
    numbers = [float(cell) if _EPOCH.fullmatch(cell) else None for cell in cells]
    most = max((abs(number) for number in numbers if number is not None), default=0.0)
    scale, unit = next(((s, u) for size, s, u in _UNITS if most >= size), (1.0, "seconds"))
    values: list[Date | None] = []
    seconds: list[int] = []
    for number in numbers:
        fits = number is not None and most >= 1e8 and abs(number / scale) < 1e11
        whole = int((number or 0.0) // scale)
        values.append(Date(1970, 1, 1) + timedelta(days=whole // 86400) if fits else None)
        seconds.append(whole % 86400)
    return _DateReading(name=f"Unix {unit}", values=values, seconds=seconds)


def _by_pattern(
    cells: Sequence[str], days: Sequence[str], form: str, today: Date
) -> list[Date | None]:
    """Days by a `strptime` pattern of whole cells, or of them without the time of day."""
    values: list[Date | None] = []
    for texts in zip(cells, days, strict=True):
        value = None
        for text in texts:
            with suppress(ValueError, re.error):  # '%d%d' is the latter
                value = value or datetime.strptime(text, form).date()
        if value is not None and "%y" in form:
            value = _of_short_year(value.year % 100, value.month, value.day, today)
        values.append(value)
    return values


def _fold(word: str) -> str:
    """A word without case, accents and a full stop at its end."""
    letters = unicodedata.normalize("NFKD", word.casefold())
    return "".join(sign for sign in letters if not unicodedata.combining(sign)).rstrip(".")


@cache
def _months(language: str) -> Mapping[str, int]:
    """Month by every name that CLDR has for it, and by first letters that only one has."""
    from babel import Locale

    names: dict[str, int] = {}
    starts: dict[str, set[int]] = {}
    for forms in Locale.parse(language).months.values():
        for width in ("wide", "abbreviated"):
            for number, written in forms[width].items():
                word = _fold(written.removeprefix("de ").removeprefix("d’"))
                names[word] = number
                for size in range(3, len(word)):
                    starts.setdefault(word[:size], set()).add(number)
    only = {word: min(numbers) for word, numbers in starts.items() if len(numbers) == 1}
    return {**only, **names, **_ALSO.get(language, {})}


def _zoned(
    days: list[Date], seconds: Sequence[int], zones: Sequence[str | None], zone: str | None
) -> tuple[list[Date], str, list[str]]:
    """Dates of the same moments in the zone asked for, which zone they are of, and what to say."""
    if not zone:
        if not any(seconds):
            return days, NO_TIMES, []
        hours = sorted({second // 3600 for second in seconds})
        span = f"{hours[0]:02}:00" + (f" to {hours[-1]:02}:59" if len(hours) > 1 else "")
        named = sorted({own for own in zones if own})
        names = ", ".join(named[:3]) if named else "no zone"
        utc = set(named) <= {"Z", "UTC", "GMT", "+00:00", "+0000"} and named
        told = f"stamps of {span} name {'UTC' if utc else names}, dates as written there"
        return days, f"{told}; --timezone takes others", ["Times of day were dropped."]
    there, moved = ZoneInfo(zone), []
    for day, second, own in zip(days, seconds, zones, strict=True):
        offset: tzinfo = UTC
        if digits := re.search(r"([+-])([0-9]{2}):?([0-9]{2})?", own or ""):
            minutes = 60 * int(digits[2]) + int(digits[3] or 0)
            offset = timezone(timedelta(minutes=-minutes if digits[1] == "-" else minutes))
        elif own not in (None, "Z", "UTC", "GMT"):
            hint = "expected an offset such as -05:00, or leave --timezone out"
            raise DataError(f"--timezone: the file's zone '{own}' has no fixed offset; {hint}")
        here = datetime(day.year, day.month, day.day, tzinfo=offset)
        moved.append((here + timedelta(seconds=second)).astimezone(there).date())
    return moved, f"{zone} (--timezone)", [f"Dates are those of {zone} (--timezone)."]


def _misfit(cell: str, best: _DateReading, options: ImportOptions) -> str:
    """Why a cell names no day as the column is read, and what would help."""
    if options.date_format:
        return f"does not match --date-format '{options.date_format}'"
    if best.hits:
        return f"is not a date written {best.name} as the other rows are"
    if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", cell) and len(cell) != 8:
        return "is a number, but neither a day of Excel nor a Unix time; write it as 2020-01-31"
    if re.fullmatch(r"[0-9.]+[Ee]\+[0-9]+", cell):
        return "is a number that lost its digits; export the column without exponents"
    for pattern, what in _MONTH_ONLY:
        if match := pattern.fullmatch(cell):
            if what == "month":
                first = f"--date-format {_spelt(match)} takes its first day"
                return f"names a month, not a day; {first}"
            return f"names a {what}, not a day; give each row the date of its session"
    unknown = "is not a known form of date"
    if re.search(r"[^\W\d_]{3}", cell) and re.search("[0-9]", cell):
        known = f"English and {len(LANGUAGES)} other languages"
        return (
            f"{unknown}; month names are read in {known}: write months as numbers, or give "
            "--date-format, as '%a %b %d %H:%M:%S %Y'"
        )
    return f"{unknown}; give --date-format, as %d.%m.%Y"


def _settled_by(cell: str, one: str, two: str) -> str:
    """The option that chooses between two readings of a cell."""
    tongues = [found[1] for name in (one, two) if (found := re.search(r"'(\w+)'$", name))]
    if len(tongues) == 2:
        return f"--date-language {tongues[0]} or {tongues[1]}"
    forms = []
    for name in (one, two):
        if name.startswith("serial"):
            forms.append("excel1904" if "1904" in name else "excel")
        elif name.startswith("Unix"):
            forms.append("epoch")
        else:
            match = _PATTERNS[name.partition(" with ")[0]].fullmatch(cell)
            assert match
            forms.append(_spelt(match))
    return f"--date-format, {' or '.join(forms)}"


def _spelt(match: re.Match[str]) -> str:
    """The cell with `strptime` codes for its parts."""
    found = match.groupdict()
    month = "%b" if len(found.get("b") or "") == 3 else "%B"
    codes = {"y": "%Y", "c": "%y", "m": "%m", "d": "%d", "b": month}
    spans = [(match.span(part), code) for part, code in codes.items() if found.get(part)]
    text = match.string
    for (start, stop), code in sorted(spans, reverse=True):
        text = text[:start] + code + text[stop:]
    return text


def _long(day: Date) -> str:
    return f"{day.day} {_ENGLISH[day.month - 1]} {day.year}"
