"""What the user says about a file: the options of `data import` and `data update`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date as Date  # `date` is the name of a field elsewhere
from fractions import Fraction
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np

from harness.data.tables import shown
from harness.errors import DataError

Decimal = Literal[".", ","]

LANGUAGES = (
    *("de", "fr", "es", "it", "pt", "nl", "pl", "cs", "sk", "hu", "ro", "bg", "hr", "sl", "sr"),
    *("tr", "ru", "uk", "el", "sv", "da", "nb", "fi", "et", "lv", "lt", "id", "ms", "ca"),
)
"""Languages, besides English, whose month names are read."""

WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """All that the user said about a file; what is left out has to be plain from the file.

    Attributes
    ----------
    header
        ``none`` (columns are then called 1, 2, ...), the header's line, or names for the columns.
    delimiter, encoding
        What stands between columns; of text that is not UTF-8.
    sheet
        Of a workbook.
    skip_last
        Rows at the end that do not belong to the table.
    date_format
        A `strptime` pattern, or ``excel``, ``excel1904`` or ``epoch``.
    date_language
        Of month names that mean different months in two languages.
    timezone
        Zone in which a stamp's date is the session's; stamps without one are taken as UTC.
    decimal
        Decimal mark, for numbers that can be read in two ways.
    missing
        What becomes of rows that lack a value: refused, left out, or filled by the value before.
    missing_text, ignore_text
        Texts that stand for a missing value; texts that are taken out of every cell of numbers.
    sort
        Sort rows that are neither oldest nor newest first.
    duplicates
        Which of several rows of one date counts, as they stand in the file.
    drop, drop_days
        Dates of sessions, and days of the week such as ``Sat``, to leave out.
    scale_from
        ``DATE`` or ``DATE=FACTOR``: multiply the target from there on, by what undoes the move.
    id_column, series
        Column that tells several series apart; the ones to take, all if none is named.
    """

    header: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    sheet: str | None = None
    skip_last: int = 0
    date_format: str | None = None
    date_language: str | None = None
    timezone: str | None = None
    decimal: Decimal | None = None
    missing: Literal["refuse", "drop", "carry"] = "refuse"
    missing_text: tuple[str, ...] = ()
    ignore_text: tuple[str, ...] = ()
    sort: bool = False
    duplicates: Literal["first", "last"] | None = None
    drop: tuple[str, ...] = ()
    drop_days: tuple[str, ...] = ()
    scale_from: tuple[str, ...] = ()
    id_column: str | None = None
    series: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for told in self.drop:
            day_of(told, "--drop")
        for told in self.drop_days:
            if told.strip().casefold()[:3] not in WEEK:
                raise DataError(f"--drop-days {shown(told)}: expected Mon, Tue, Wed, Thu, Fri, ...")
        for told in self.scale_from:
            scale_of(told)
        if self.series and not self.id_column:
            raise DataError("--series needs --id-column, which names the column it stands in")
        known = ("en", *LANGUAGES)
        if self.date_language and self.date_language not in known:
            wanted = f"expected one of {', '.join(known)}"
            raise DataError(f"--date-language {self.date_language}: {wanted}")
        try:
            ZoneInfo(self.timezone or "UTC")
        except (ValueError, OSError, KeyError):
            wanted = "expected the name of a zone such as Europe/Berlin"
            raise DataError(f"--timezone {shown(self.timezone or '')}: {wanted}") from None


def day_of(text: str, option: str) -> np.datetime64:
    """The date that an option names; `DataError` where it is none."""
    try:
        return np.datetime64(Date.fromisoformat(text), "D")
    except ValueError:
        raise DataError(f"{option} {shown(text)}: expected a date such as 2020-01-31") from None


def scale_of(told: str) -> tuple[np.datetime64, Fraction | None]:
    """Date and factor of ``--scale-from``; None where no factor is said."""
    day, equals, factor = told.partition("=")
    try:
        over, _, under = factor.partition("/")
        by = Fraction(over) / Fraction(under or 1) if equals else None
    except (ValueError, ZeroDivisionError):
        by = Fraction(0)
    if by is not None and by <= 0:
        wanted = "expected DATE or DATE=FACTOR, such as 2023-02-15=100"
        raise DataError(f"--scale-from {shown(told)}: {wanted}")
    return day_of(day, "--scale-from"), by
