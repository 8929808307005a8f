"""What is due: issued origins that the store has no forecast of, as tasks for processes."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.arm_ref import ArmRef
from harness.data.tables import count_text
from harness.errors import escaped
from harness.running.cells import Answered, answered, counts
from harness.running.executor import LastFit, Task
from harness.running.grid import Grid, GridCell, PlannedFit
from harness.running.sealing import DueOrigins, keeps
from harness.running.sources import digest
from harness.running.store_folder import Limit, Store

_DAYS = 3
"""No answer on so many days makes a cell missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A task and what it is due for: one fit of an arm that learns, or all of a cell's.

    Attributes
    ----------
    cells
        Every cell that waits for it: cells that differ in name alone share their fits.
    alone
        It is all that is due of its cell.
    after
        Key of the fit that the one to be made starts from; '' where it starts anew.
    """

    task: Task
    due: tuple[DueOrigins, ...]
    cells: tuple[GridCell, ...]
    alone: bool
    after: str = ""

    @property
    def key(self) -> str:
        """Key of its task."""
        return self.task.key

    @property
    def arm(self) -> ArmRef:
        """The arm that is asked."""
        return self.due[0].cell.arm

    @property
    def kind(self) -> str:
        """The arm, and whether it is fitted or goes on from a kept fit."""
        made = self.due[0].cell.learns and any(kept is None for kept in self.task.kept)
        return f"{self.arm.name} {'fit' if made else 'forecast'}"

    def __str__(self) -> str:
        cell = str(self.due[0].cell)
        return cell if self.alone else f"{cell} from {self.due[0].fit.cutoff}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfit:
    """Origins without a fit: it failed, or the one that it starts from, for a reason.

    `limit` is the limit of ours that ended the fit, if one did.
    """

    due: DueOrigins
    reason: str
    limit: Limit | None = None


@dataclass(slots=True, kw_only=True)
class DueWork:
    """All that is due.

    Attributes
    ----------
    unfit
        Origins of fits that failed.
    given_up
        Cells that had no answer on `_DAYS` days, and why.
    damage
        What was found damaged and is made good, a line each.
    """

    works: list[Work] = field(default_factory=list)
    unfit: list[Unfit] = field(default_factory=list)
    given_up: dict[str, str] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)


def works(
    grid: Grid, store: Store, asked: Sequence[GridCell], *, retry_failed: bool = False
) -> DueWork:
    """Find what is due of some cells.

    Parameters
    ----------
    retry_failed
        Origins that failed are due as well, and what was given up.
    """
    found = DueWork()
    with store.journal.at_rest():
        waiting: dict[str, list[GridCell]] = {}
        grouped: list[list[DueOrigins]] = []
        for cell in asked:
            mine: list[DueOrigins] = []
            for due in _with_last_fits(
                store, cell, list(_due_of(store, cell, found, retry_failed=retry_failed)), found
            ):
                given_up = "" if retry_failed else _given_up(store, due.fit.key)
                if given_up:
                    found.given_up[str(cell)] = given_up
                elif due.known and due.known.problem and not (retry_failed or due.again):
                    found.unfit.append(Unfit(due=due, reason=due.known.problem))
                elif not retry_failed and (unfit := _without_last_fit(store, due)):
                    found.unfit.append(unfit)
                elif due.fit.key in waiting:
                    waiting[due.fit.key].append(cell)
                else:
                    waiting[due.fit.key] = [cell]
                    mine.append(due)
            grouped += [[due] for due in mine] if cell.learns else [mine] if mine else []
        per_cell = Counter(str(group[0].cell) for group in grouped)
        for group in grouped:
            cells = {str(cell): cell for due in group for cell in waiting[due.fit.key]}
            asks = [[due.fit.key, due.cell.split.days(due.fit.windows.origin)] for due in group]
            found.works.append(
                Work(
                    task=Task.of(
                        grid,
                        digest(asks),
                        fits=[(due.cell, due.fit) for due in group],
                        kept=[_goes_on_from(store, due) for due in group],
                    ),
                    due=tuple(group),
                    cells=tuple(cells.values()),
                    alone=per_cell[str(group[0].cell)] == 1,
                    after=_starts_from(store, group[0]),
                )
            )
    return found


def _starts_from(store: Store, due: DueOrigins) -> str:
    """Key of the fit that the one to be made here starts from; '' where none is or does."""
    return "" if _goes_on_from(store, due) else str(due.fit.identity.get("follows", ""))


def _goes_on_from(store: Store, due: DueOrigins) -> Path | None:
    return None if due.damaged else kept_fit(store, due.cell, due.fit)


def _with_last_fits(
    store: Store, cell: GridCell, dues: Sequence[DueOrigins], found: DueWork
) -> Sequence[DueOrigins]:
    """What is due of a cell, with fits to be made again only because one starts from them."""
    if not cell.continues:
        return dues
    mine, chain, wanted = {due.fit.key: due for due in dues}, list[DueOrigins](), False
    for fit in reversed(cell.fits):
        due, known = mine.get(fit.key), store.fit(fit.key)
        failed = known is not None and bool(known.problem)
        if due is None and wanted and not failed:
            damage = store.fit_damage(fit.key)
            if known is None or damage:
                if damage:
                    found.damage.append(escaped(f"{cell} is fitted again: {damage}"))
                due = DueOrigins(
                    cell=cell,
                    fit=fit.at(slice(0, 1)),
                    since=len(store.journal),
                    known=known,
                    damaged=bool(damage),
                    fit_alone=True,
                )
        if due is not None:
            chain.append(due)
        wanted = due is not None and _goes_on_from(store, due) is None
    return chain[::-1]


def _without_last_fit(store: Store, due: DueOrigins) -> Unfit | None:
    """Why a fit cannot be made: the one that it starts from failed."""
    if not _starts_from(store, due):
        return None
    before = (fit for fit in reversed(due.cell.fits) if fit.cutoff < due.fit.cutoff)
    for known in map(store.fit, (fit.key for fit in before)):
        if known is None or not counts(known.limit, due.cell):
            continue  # it is made first, if those before it did not fail
        if not known.problem:
            return None
        reason = f"the fit of {known.cutoff} that it starts from failed: {known.problem}"
        return Unfit(due=due, reason=reason, limit=known.limit)
    return None


def begun(
    store: Store, work: Work, *, delivered: Callable[[str], LastFit | None] | None = None
) -> Work | Unfit | str:
    """A work as it can begin now, since what its fit starts from is there.

    Parameters
    ----------
    delivered
        Finds a fit that is not sealed yet, by its key; its state is '' where it failed.

    Returns
    -------
    Work, Unfit or str
        The work, which waits for nothing more; what cannot be made since the last fit failed; or
        why it has to wait for another call.
    """
    if not work.after:
        return work
    unfit = _without_last_fit(store, work.due[0])
    if unfit is not None:
        return unfit
    last = last_fit(store, work.due[0].fit)
    if isinstance(last, str) and delivered is not None:
        last = delivered(work.after) or last
    if isinstance(last, LastFit) and not last.state:
        return Unfit(due=work.due[0], reason="the fit that it starts from failed")
    if isinstance(last, str):
        return last
    task = dataclasses.replace(work.task, follows=(last,))
    return dataclasses.replace(work, task=task, after="")


def last_fit(store: Store, fit: PlannedFit) -> LastFit | str | None:
    """The fit that another one starts from, None where it starts anew, or what is wrong with it."""
    key = str(fit.identity.get("follows", ""))
    if not key:
        return None
    known = store.fit(key)
    if known is None or known.problem:
        return "the fit that it starts from has not been made"
    damage = store.fit_damage(key)
    if damage:
        return f"it starts from the fit of {known.cutoff}: {damage}"
    return LastFit(folder=store.fit_folder(key), state=known.state(key))


def _due_of(
    store: Store, cell: GridCell, found: DueWork, *, retry_failed: bool
) -> Iterator[DueOrigins]:
    """What is due of a cell, fit by fit."""
    for fit in cell.fits:
        since, there, broken = _held(store, cell, fit)
        if len(there) == len(fit.windows) and not broken and not retry_failed:
            continue
        for key, why in broken.items():
            found.damage.append(escaped(f"{cell} is forecast again: {why} ({key[:12]})"))
        missing, expected = [], {}
        days = cell.split.days(fit.windows.origin)
        for day in days:
            each = there.get(day)
            good = each is not None and not (retry_failed and day in each.seal.failed)
            if good and each is not None and each.key in broken:
                expected[day] = each.digest
                good = False
            missing.append(not good)
        unanswered = set(days) - there.keys()
        changed = {
            day
            for seal in store.seals(fit.key).values()
            for day, record in zip(seal.cutoffs, seal.records, strict=False)
            if record and day in unanswered and record != cell.records.get(day, "")
        }
        if changed:
            some = count_text(len(changed), "origin")
            what = f"its log holds other records than before for {some}, first {min(changed)}"
            found.damage.append(escaped(f"{cell} is read again: {what}"))
        if any(missing):
            known = store.fit(fit.key)
            damage = store.fit_damage(fit.key)
            if damage:
                found.damage.append(escaped(f"{cell} is fitted again: {damage}"))
            yield DueOrigins(
                cell=cell,
                fit=fit.at(np.array(missing)),
                since=since,
                known=known,
                expected=expected,
                replaces=tuple(broken),
                damaged=bool(damage),
                again=known is not None and not counts(known.limit, cell),
            )


def _held(
    store: Store, cell: GridCell, fit: PlannedFit
) -> tuple[int, dict[str, Answered], dict[str, str]]:
    """As of how many records: answers of a fit by cutoff, and why parts they lie in are broken.

    Looked at again where another process may have merged meanwhile what was looked at.
    """
    while True:
        since, head = len(store.journal), store.journal.head
        there = answered(store, cell, fit)
        seals = {each.key: each.seal for each in there.values()}
        looked_at = ((key, store.part_damage(key, seal)) for key, seal in seals.items())
        broken = {key: why for key, why in looked_at if why}
        if not broken or store.journal.refreshed() == head:
            return since, there, broken


def _given_up(store: Store, fit: str) -> str:
    """Why nothing is tried any more: no answer on several days since the last one."""
    last = max((max(seal.issued_at) for seal in store.seals(fit).values()), default="")
    silent = [
        record
        for record in store.journal.records("no answer")
        if record.key == fit and record.at > last
    ]
    days = {record.at[:10] for record in silent}
    if len(days) < _DAYS:
        return ""
    reason = store.journal.body(silent[-1]).get("reason", "")
    return f"no answer on {len(days)} days, last: {reason}; --retry-failed tries again"


def kept_fit(store: Store, cell: GridCell, fit: PlannedFit) -> Path | None:
    """Where the fit lies that a night goes on from; None where it is made."""
    known = store.fit(fit.key)
    if known is None or known.problem or not keeps(store, fit):
        return None
    if cell.learns and not known.saved:
        return None
    return store.fit_folder(fit.key)
