"""Whether the rows of two series that should be the same are, as far as both are printed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.data.number_forms import step_of
from harness.data.oddities import count_text
from harness.window import Array, Series

_COARSEST = 1e-3  # of a price: rows printed more coarsely than this cannot be compared
_LISTED = 6


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
