"""Two versions of a series: whether they agree, and what a revision changed.

A forecast that was issued is held against what was known of its sessions first, unless the
experiment asks for the latest values: values that were known first stay beside the dataset, in one
CSV with a row per change.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np

from harness.data.number_forms import step_of
from harness.data.tables import count_text
from harness.errors import DataError
from harness.window import Array, Series, frozen

_COARSEST = 1e-3  # of a price: rows printed more coarsely than this cannot be compared
_LISTED = 6
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
            raise DataError(f"{path}: line {number}: not a revision: {problem}") from None
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
    return replace(series, target=frozen(target), past=frozen(past))


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A value that is not what it was.

    Attributes
    ----------
    row
        Of the old series.
    column
        0 is the target, then the covariates in order.
    place
        Where the new value stands, such as ``line 17``.
    """

    row: int
    column: int
    before: float
    after: float
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What two series have in common within the span of the old one.

    Attributes
    ----------
    common, earlier
        Sessions that both have; sessions of the new one before the old one's first.
    changed
        Values that differ by more than what is printed.
    lonely
        Sessions that only one of both has, a phrase each.
    """

    common: int
    earlier: int
    changed: tuple[Changed, ...]
    lonely: tuple[str, ...]

    def differences(self, old: Series, names: Sequence[str]) -> str:
        """All differences, the first of them listed; '' where there is none.

        Parameters
        ----------
        names
            Of the target and the covariates.
        """
        found = [
            *self.lonely,
            *(
                f"{each.place}: {names[each.column]} of {old.dates[each.row]}, "
                f"{each.before!s} became {each.after!s}"
                for each in self.changed
            ),
        ]
        if not found:
            return ""
        more = f"; and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
        return f"{'; '.join(found[:_LISTED])}{more}"

    @property
    def count_text(self) -> str:
        """How many differences there are."""
        return count_text(len(self.lonely) + len(self.changed), "difference")


def agreement(
    old: Series, new: Series, *, place: Callable[[int], str], steps: Sequence[float] | None = None
) -> Agreement:
    """Compare the rows that both should have: the coarser print of the two counts.

    A print coarser than a thousandth of a price never does.

    Parameters
    ----------
    place
        Where a row of the new series stands.
    steps
        The last printed place of its target and covariates; left out, what its numbers need.
    """
    first, last = old.dates[0], old.dates[-1]
    common, ours, theirs = np.intersect1d(old.dates, new.dates, return_indices=True)
    within = (new.dates >= first) & (new.dates <= last)
    covered = (old.dates >= new.dates[0]) & (old.dates <= new.dates[-1])
    lonely = [
        *(
            f"{place(row)}: {new.dates[row]} is in the file only"
            for row in np.flatnonzero(within & ~np.isin(new.dates, common)).tolist()
        ),
        *(
            f"{old.dates[row]} is in the dataset only"
            for row in np.flatnonzero(covered & ~np.isin(old.dates, common)).tolist()
        ),
    ]
    changed = list[Changed]()
    printed = [step_of(column) for column in _values(new)] if steps is None else steps
    both = zip(_values(old), _values(new)[:, theirs], printed, strict=True)
    for index, (column, after, step) in enumerate(both):
        before = column[ours]
        bound = 0.5 * max(step_of(column), step) * (1 + 1e-6) + 1e-12 * np.abs(before)
        if not index:
            bound = np.minimum(bound, _COARSEST * np.abs(before))
        differing = np.flatnonzero(~(np.abs(after - before) <= bound)).tolist()
        changed += [
            Changed(
                row=int(ours[row]),
                column=index,
                before=float(before[row]),
                after=float(after[row]),
                place=place(int(theirs[row])),
            )
            for row in differing
        ]
    return Agreement(
        common=int(common.size),
        earlier=int((new.dates < first).sum()),
        changed=tuple(changed),
        lonely=tuple(lonely),
    )


def _values(series: Series) -> Array:
    """Target and covariates, [1 + C, N]."""
    return np.vstack([series.target[None, :], series.past.T])
