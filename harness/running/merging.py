"""Many small parts of a fit become one: file names change, no digest of an origin does."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from harness.errors import StoreError
from harness.running.cells import answered, same_rows
from harness.running.grid import GridCell, PlannedFit
from harness.running.parts import together
from harness.running.sealing import as_file
from harness.running.sources import digest
from harness.running.store_folder import Seal, Spent, Store, bytes_digest

MOST = 16
"""Parts of a fit that lie side by side before they are merged."""


def merge_parts(store: Store, cells: Sequence[GridCell]) -> int:
    """Merge parts of fits that have many; gives how many files are fewer.

    What is damaged, or was made from other rows than those of today, stays as it is.

    Raises
    ------
    StoreError
        When the store cannot be written.
    """
    fits = {fit.key: (cell, fit) for cell in cells for fit in cell.fits}
    return sum(_merge(store, cell, fit) for cell, fit in fits.values())


def _merge(store: Store, cell: GridCell, fit: PlannedFit) -> int:
    seals = _alike(store, cell, fit)
    if len(seals) < MOST:
        return 0
    try:
        parts = {key: store.read_sealed(key, seal) for key, seal in seals.items()}
    except StoreError:
        return 0  # named and made good when it is due
    whole = together(list(parts.values()))
    sealed = dict(zip(_all(seals, "cutoffs"), _all(seals, "digests"), strict=True))
    issued = dict(zip(_all(seals, "cutoffs"), _all(seals, "issued_at"), strict=True))
    records = dict(zip(_all(seals, "cutoffs"), _all(seals, "records"), strict=False))
    cutoffs = tuple(map(str, whole.cutoff))
    if dict(zip(cutoffs, whole.digests(), strict=True)) != sealed:
        return 0
    content = as_file(whole)
    newest = max(seals.values(), key=lambda seal: seal.cutoffs[-1])
    merged = dataclasses.replace(
        newest,
        file=bytes_digest(content),
        cutoffs=cutoffs,
        digests=tuple(sealed[day] for day in cutoffs),
        issued_at=tuple(issued[day] for day in cutoffs),
        records=tuple(records[day] for day in cutoffs) if records else (),
        form=whole.form,
        levels=tuple(whole.forecast.levels.tolist()),
        residual_distribution=whole.residual_distribution,
        failed=tuple(_all(seals, "failed")),
        by_fallback=tuple(_all(seals, "by_fallback")),
        first_reason=next((s.first_reason for s in seals.values() if s.first_reason), ""),
        spent=_spent(list(seals.values())),
        replaces=tuple(seals),
    )
    key = digest([fit.key, "merged", cutoffs, newest.rows, sorted(seals)])
    store.put_part(key, content)
    store.seal(fit.key, None, key, merged)
    for old in seals:
        store.part_file(old).unlink(missing_ok=True)
    return len(seals) - 1


def _alike(store: Store, cell: GridCell, fit: PlannedFit) -> dict[str, Seal]:
    """Parts that can be one: whole, of today's rows, made in one environment, in order of time."""
    there = answered(store, cell, fit)
    used: dict[str, int] = {}
    for each in there.values():
        used[each.key] = used.get(each.key, 0) + 1
    seals = {each.key: each.seal for each in there.values()}
    good = {
        key: seal
        for key, seal in seals.items()
        if used[key] == len(seal.cutoffs) and seal.limit is None and same_rows(cell.split, seal)
    }
    by_environment: dict[str, dict[str, Seal]] = {}
    for key, seal in sorted(good.items(), key=lambda item: item[1].cutoffs[0]):
        by_environment.setdefault(digest(seal.environment), {})[key] = seal
    return max(by_environment.values(), key=len, default={})


def _all(seals: Mapping[str, Seal], name: str) -> list[str]:
    return [value for seal in seals.values() for value in getattr(seal, name)]


def _spent(seals: Sequence[Seal]) -> Spent:
    """Seconds added up, peaks the highest, the machine of the last."""
    seconds: dict[str, float] = {}
    peaks: dict[str, int] = {}
    for spent in (seal.spent for seal in seals):
        for phase, value in spent.seconds.items():
            seconds[phase] = seconds.get(phase, 0.0) + value
        for phase, peak in spent.peak_bytes.items():
            peaks[phase] = max(peaks.get(phase, 0), peak)
    return Spent(seconds=seconds, peak_bytes=peaks, machine=seals[-1].spent.machine)
