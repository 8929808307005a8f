"""What a revision changed: the values that were known first stay beside the dataset.

A forecast that was issued is held against what was known of its sessions first, unless the
experiment asks for the latest values. One CSV lies beside the data file, a row per change.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np

from harness.errors import DataError
from harness.window import Series

_HEADER = ("revised", "session", "column", "before", "after")


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One value that an update changed.

    Attributes
    ----------
    revised
        Day of the update.
    session
        Whose value it is.
    column
        Name of the target or of a covariate.
    """

    revised: date
    session: date
    column: str
    before: float
    after: float


def revisions_bytes(revisions: Iterable[Revision]) -> bytes:
    """The record as CSV, in order; numbers are written so that they come back bit by bit."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADER)
    for each in revisions:
        writer.writerow(
            (each.revised, each.session, each.column, repr(each.before), repr(each.after))
        )
    return text.getvalue().encode()


def read_revisions(path: Path, raw: bytes) -> tuple[Revision, ...]:
    """Read what `revisions_bytes` wrote.

    Raises
    ------
    DataError
        One line naming file and line.
    """
    lines = list(csv.reader(io.StringIO(raw.decode("utf-8", "replace"))))
    if not lines or tuple(lines[0]) != _HEADER:
        raise DataError(f"{path}: line 1: expected the header {','.join(_HEADER)}")
    found = []
    for number, line in enumerate(lines[1:], 2):
        try:
            revised, session, column, before, after = line
            found.append(
                Revision(
                    revised=date.fromisoformat(revised),
                    session=date.fromisoformat(session),
                    column=column,
                    before=float(before),
                    after=float(after),
                )
            )
        except ValueError as problem:
            raise DataError(f"{path}: line {number}: no revision: {problem}") from None
    return tuple(found)


def first_known(series: Series, names: Sequence[str], revisions: Sequence[Revision]) -> Series:
    """A series as its sessions were first known; sessions it lacks are passed over.

    Parameters
    ----------
    names
        Of the target and the covariates.
    """
    if not revisions:
        return series
    target, past = series.target.copy(), series.past.copy()
    for each in reversed(revisions):  # so that the first change of a value is undone last
        session = np.datetime64(each.session, "D")
        row = int(np.searchsorted(series.dates, session))
        if row == len(series) or series.dates[row] != session or each.column not in names:
            continue
        column = names.index(each.column)
        if column:
            past[row, column - 1] = each.before
        else:
            target[row] = each.before
    for values in (target, past):
        values.flags.writeable = False
    return replace(series, target=target, past=past)
