"""Cells as the store holds them: the parts of all their fits, put together in order of origins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from harness.errors import StoreError
from harness.running.grid import GridCell, PlannedFit
from harness.running.parts import Part, column, read_table, together
from harness.running.sources import digest
from harness.running.split import Split
from harness.running.store_folder import Limit, ProcessCosts, Seal, Store
from harness.running.stored_cell import CellRecord, FitFacts, StoredCell
from harness.running.work import CURVE
from harness.window import Array

_Found = TypeVar("_Found")


class Answered(NamedTuple):  # a grid has one for each origin: a dataclass takes longer to make
    """Where the forecast of an origin lies: its seal, and its place there."""

    key: str
    seal: Seal
    place: int

    @property
    def cutoff(self) -> str:
        """Last session seen."""
        return self.seal.cutoffs[self.place]

    @property
    def issued_at(self) -> str:
        """UTC time it was made."""
        return self.seal.issued_at[self.place]

    @property
    def digest(self) -> str:
        """Digest of the forecast."""
        return self.seal.digests[self.place]


def answered(store: Store, cell: GridCell, fit: PlannedFit) -> dict[str, Answered]:
    """Which of a fit's issued origins the store holds, by cutoff; the newest part counts."""

    def find() -> dict[str, Answered]:
        known = store.fit(fit.key)
        if known is not None and not counts(known.limit, cell):
            return {}
        cutoffs = cell.split.days(fit.windows.origin)
        wanted = dict(zip(cutoffs, fit.windows.origin.tolist(), strict=True))
        found: dict[str, Answered] = {}
        for key, seal in reversed(store.seals(fit.key).items()):
            plan = (fit.windows.horizon, fit.windows.gap)
            if (seal.horizon, seal.gap) != plan or not counts(seal.limit, cell):
                continue
            places = [
                (place, cutoff)
                for place, cutoff in enumerate(seal.cutoffs)
                if cutoff in wanted and cutoff not in found
            ]
            if seal.records or cell.records:
                records = seal.records or ("",) * len(seal.cutoffs)
                places = [
                    (at, day) for at, day in places if records[at] == cell.records.get(day, "")
                ]
            if not same_rows(cell.split, seal):
                issued, split = seal.issued_at, cell.split
                places = [
                    (at, day)
                    for at, day in places
                    if is_prospective(split, wanted[day], issued[at])
                ]
            found |= {cutoff: Answered(key, seal, place) for place, cutoff in places}
        return found

    return store.once(fit, find)


def counts(limit: Limit | None, cell: GridCell) -> bool:
    """Whether a failure counts: one by a limit only while that is no higher."""
    return limit is None or cell.limits.get(limit.name, 0.0) <= limit.value


def same_rows(split: Split, seal: Seal) -> bool:
    """Whether the rows a part was made from are those of today."""
    dates, last = split.dataset.series.dates, np.datetime64(seal.cutoffs[-1])
    row = int(np.searchsorted(dates, last))
    return row < len(dates) and dates[row] == last and split.rows_digest(row + 1) == seal.rows


def is_prospective(split: Split, origin: int, issued_at: str) -> bool:
    """Whether a forecast was issued before its first judged session."""
    dates, first = split.dataset.series.dates, origin + split.plan.gap
    return first >= len(dates) or issued_at[:10] < str(dates[first])


def issued_in_time(store: Store, cells: Sequence[GridCell]) -> dict[int, str]:
    """Judged origins of some cells that one was issued for before its outcome: the first such day.

    Parameters
    ----------
    cells
        Of one dataset.
    """
    found: dict[int, str] = {}
    for cell in cells:
        origins = cell.split.windows.origin.tolist()
        for origin, each in zip(origins, _judged(store, cell), strict=True):
            if each is not None and is_prospective(cell.split, origin, each.issued_at):
                found[origin] = min(each.issued_at[:10], found.get(origin, "9"))
    return found


def _judged(store: Store, cell: GridCell) -> Iterator[Answered | None]:
    """Every judged origin of a cell with where it lies, in order."""
    last = int(cell.split.windows.origin[-1])
    for fit in cell.fits:
        there = answered(store, cell, fit)
        judged = fit.windows.origin[fit.windows.origin <= last]
        yield from map(there.get, cell.split.days(judged))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is known of a cell's judged origins: its record, or how many are not there."""

    seals: Mapping[str, Seal]
    missing: int
    record: CellRecord | None


def _known(store: Store, cell: GridCell) -> _Known:
    """What the store's records say of a cell, found once for as long as they stay the same."""

    def find() -> _Known:
        there = [each for each in _judged(store, cell) if each is not None]
        missing = len(cell.split.windows) - len(there)
        by_key = {each.key: each.seal for each in there}
        if missing:
            return _Known(seals=by_key, missing=missing, record=None)
        seals = by_key.values()
        fits = [(plan, store.fit(plan.key)) for plan in cell.fits]
        first = next((seal for seal in seals if seal.form != "none"), None)
        spent = ProcessCosts.together(seal.spent for seal in seals)
        some = there if any(seal.failed or seal.by_fallback for seal in seals) else ()
        failed = [each.seal.first_reason for each in some if each.cutoff in each.seal.failed]
        record = CellRecord(
            windows=len(there),
            form=first.form if first else "none",
            levels=first.levels if first else (),
            residual_distribution=any(seal.residual_distribution for seal in seals),
            failed=len(failed),
            first_reason=next(iter(failed), ""),
            answered_by_fallback=sum(each.cutoff in each.seal.by_fallback for each in some),
            fits=tuple(
                FitFacts(
                    origin=int(plan.windows.fitted_at[0]),
                    epochs=fit.training.epochs,
                    best_epoch=fit.training.best_epoch,
                    diverged=fit.training.diverged,
                )
                for plan, fit in fits
                if fit is not None and fit.training is not None
            ),
            card=next((fit.card for _, fit in fits if fit is not None and fit.card), {}),
            seconds=spent.seconds,
            peak_bytes=spent.peak_bytes,
            machine=next((s.spent.machine for s in reversed(seals) if s.spent.machine), {}),
            devices=tuple(sorted({seal.device for seal in seals if seal.device})),
            digest=digest([each.digest for each in there]),
        )
        return _Known(seals=by_key, missing=0, record=record)

    return store.once(cell, find)


def has_cell(store: Store, cell: GridCell) -> bool:
    """Whether every judged origin of a cell was answered, failures included."""
    return not _known(store, cell).missing


def stored_origins(store: Store, cell: GridCell) -> int:
    """How many of a cell's judged origins the store holds, the last of them may be missing.

    Raises
    ------
    StoreError
        When one before them is missing.
    """
    found = [each is not None for each in _judged(store, cell)]
    if not all(found[: sum(found)]):
        cell_record(store, cell)  # says how many are missing
    return sum(found)


def cell_digest(store: Store, cell: GridCell) -> str:
    """Digest of a cell's judged forecasts, whatever parts they lie in.

    Raises
    ------
    StoreError
        When one is not there, or its file is not what was sealed.
    """

    def sealed() -> str:
        found = cell_record(store, cell).digest
        for key, seal in _known(store, cell).seals.items():
            damage = store.part_damage(key, seal)
            if damage:
                raise StoreError(damage)
        return found

    return settled(store, sealed)


def cell_record(store: Store, cell: GridCell) -> CellRecord:
    """What is recorded of a cell's judged origins, without reading a forecast.

    Raises
    ------
    StoreError
        When an origin is not there.
    """
    known = _known(store, cell)
    if known.record is None:
        raise StoreError(
            f"{cell}: {known.missing} of {len(cell.split.windows)} origins are not in the store"
        )
    return known.record


def read_cell(store: Store, cell: GridCell) -> StoredCell:
    """Read what is stored of a cell's judged origins.

    Raises
    ------
    StoreError
        When an origin is not there, or a file is not what was sealed.
    """

    def read() -> StoredCell:
        record = cell_record(store, cell)
        there = [each for each in _judged(store, cell) if each is not None]
        files: dict[str, Part] = {}
        for each in there:
            if each.key not in files:
                files[each.key] = store.read_sealed(each.key, each.seal)
        runs: list[Part] = []
        start = 0
        for stop in range(1, len(there) + 1):
            if stop == len(there) or there[stop].key != there[start].key:
                rows = np.array([each.place for each in there[start:stop]], dtype=np.int64)
                runs.append(files[there[start].key].at(rows))
                start = stop
        whole = together(runs)
        origin = cell.split.windows.origin
        return StoredCell(
            record=record,
            origin=origin,
            last_date=whole.cutoff,
            reason=whole.reason,
            forecast=whole.forecast,
            issued_at=tuple(each.issued_at for each in there),
            prospective=tuple(
                is_prospective(cell.split, row, each.issued_at)
                for row, each in zip(origin.tolist(), there, strict=True)
            ),
        )

    return settled(store, read)


def settled(store: Store, read: Callable[[], _Found]) -> _Found:
    """Read again where another process has written meanwhile: it may have merged what was read."""
    while True:
        head = store.journal.head
        try:
            return read()
        except StoreError:
            if store.journal.refreshed() == head:
                raise


def read_curve(store: Store, cell: GridCell) -> dict[str, Array]:
    """Read a cell's training curves as columns; empty for arms that do not learn.

    Raises
    ------
    StoreError
        When a file is torn.
    """
    found: list[dict[str, Any]] = []
    for plan in cell.fits:
        file: Path = store.fit_folder(plan.key) / CURVE
        known = store.fit(plan.key)
        if known is None or CURVE not in known.files:
            continue
        rows = read_table(file)
        columns = {name: column(rows, name) for name in rows.column_names}
        at = np.full(rows.num_rows, int(plan.windows.fitted_at[0]), dtype=np.int64)
        found.append({"fitted_at": at, **columns})
    if not found:
        return {}
    return {name: np.concatenate([each[name] for each in found]) for name in found[0]}
