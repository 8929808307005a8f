"""What an arm's process left becomes fits and parts of the store, checked and sealed.

Several hosts may make the same thing at once: the first to seal it wins, and the others give
theirs up, so that no forecast that was issued is replaced.

Many small parts of a fit become one: file names change, no digest of an origin does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from harness.errors import ChangedFileError, StoreError
from harness.running.cells import answered, counts, same_rows
from harness.running.executor import LOG, Finished
from harness.running.grid import GridCell, PlannedFit
from harness.running.identity import machine
from harness.running.parts import Part, part_bytes, together
from harness.running.sources import digest
from harness.running.store_folder import (
    Limit,
    ProcessCosts,
    Seal,
    Store,
    StoredFit,
    TrainingFacts,
    bytes_digest,
)
from harness.running.supervisor import Ending
from harness.running.unit import RESIDUALS, STATE, Job
from harness.running.work import TRACEBACK, FitReport, JobOutput, read_left, read_plain

MOST = 16
"""Parts of a fit that lie side by side before they are merged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DueOrigins:
    """Origins of a cell's fit that are to be forecast.

    Attributes
    ----------
    fit
        With the windows that are due.
    since
        Records that the store had when they were found to be: what another process seals later
        comes first.
    known
        The record of the fit then; None where there was none.
    expected
        Digest of a forecast that was sealed and is damaged, by cutoff: what comes must equal it.
    replaces
        Keys of the damaged parts.
    damaged
        Files of the fit are not what was sealed, so it is made again and must come out the same.
    again
        The fit failed by a limit that is higher now.
    fit_alone
        Only its fit is wanted, since another one starts from it: its forecasts are there.
    """

    cell: GridCell
    fit: PlannedFit
    since: int
    known: StoredFit | None
    expected: Mapping[str, str] = field(default_factory=dict)
    replaces: tuple[str, ...] = ()
    damaged: bool = False
    again: bool = False
    fit_alone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """What came of something due.

    Attributes
    ----------
    origins
        Forecast now.
    made
        Its fit was made now.
    failed, reason
        Origins the arm itself has no forecast for, and why for the first; for the first that is
        judged, where there is one.
    pending
        How many of them are not judged yet: their outcome is to come.
    problem
        Why nothing was sealed; empty where it was, or another process had sealed it before.
    no_answer
        That was the system's doing, or another process's: it may be tried again.
    overtaken
        Another process has sealed another fit meanwhile: what it has not forecast is due again.
    replaced
        Names of parts whose place it took: their files go once it is sealed.
    """

    origins: int = 0
    made: bool = False
    failed: int = 0
    reason: str = ""
    pending: int = 0
    problem: str = ""
    no_answer: bool = False
    overtaken: bool = False
    replaced: tuple[str, ...] = ()


def seal_finished(
    store: Store, due: DueOrigins, job: Job, number: int, finished: Finished
) -> Sealed:
    """Seal what the process left of one of its jobs.

    Raises
    ------
    StoreError
        When the store cannot be written.
    """
    left, ending = _read(finished, number, job)
    if left.part is None and ending.kind == "no answer":
        taken = _all_taken(store, due)
        return Sealed() if taken else Sealed(problem=ending.reason, no_answer=True)
    limit = None
    if left.part is None and ending.limit:
        limit = Limit(name=ending.limit, value=due.cell.limits[ending.limit])
    logs = _logs(finished.left, left)
    fit, files = _fit(due, left, ending, limit)
    if due.damaged and fit is not None and not _serves(fit, due.known):
        return Sealed(
            problem=f"its kept fit ({due.fit.key[:12]}) is damaged, and the repeated fit differs "
            "from it"
        )
    part = left.part or Part.failed(job.cutoffs, job.windows.horizon, ending.reason)
    spent = ProcessCosts(
        seconds=left.report.seconds if left.report else {"total": finished.seconds},
        peak_bytes=left.report.peak_bytes if left.report else {},
        machine=finished.machine or machine(),
    )
    added = files | (logs if fit is not None or any(part.reason) else {})
    with store.drafted(added) as drafted, store.journal.writing():
        sealed = store.fit(due.fit.key)
        if sealed != due.known and sealed is not None and counts(sealed.limit, due.cell):
            if fit is None or not _serves(fit, sealed):
                return Sealed(overtaken=not _all_taken(store, due))
            fit = None
        elif _in_vain(store, due, fit, number, finished):
            return Sealed(overtaken=True)
        elif fit is not None and not _goes_on(due):
            store.put_fit(due.fit.key, drafted)
        else:
            store.add_files(due.fit.key, drafted)
        done = seal_part(store, due, part, fit=fit, content=left.content, limit=limit, spent=spent)
    for former in done.replaced:
        store.part_file(former).unlink(missing_ok=True)
    return done


def _in_vain(
    store: Store, due: DueOrigins, fit: StoredFit | None, number: int, finished: Finished
) -> bool:
    """Whether the fit it went on or started from was given up, or is another one by now."""
    if fit is None:
        return store.fit(due.fit.key) != due.known
    key = str(due.fit.identity.get("follows", ""))
    if not key or _goes_on(due):
        return False
    started, known = finished.task.starts[number], store.fit(key)
    return known is None or started is None or started.state != known.state(key)


def _serves(fit: StoredFit, sealed: StoredFit | None) -> bool:
    """Whether a fit forecasts what one that was sealed does: all it kept for that is the same."""
    if sealed is None or bool(fit.problem) != bool(sealed.problem):
        return False
    spread = sealed.files.get(RESIDUALS)
    return fit.state("") == sealed.state("") and spread in (None, fit.files.get(RESIDUALS))


def _goes_on(due: DueOrigins) -> bool:
    """Whether the fit that was known is good, and what comes can only add to it."""
    return due.known is not None and not due.known.problem and not due.damaged


def _taken(store: Store, due: DueOrigins) -> set[str]:
    """Cutoffs of which another process has sealed a forecast since they became due."""
    found = set()
    for day, each in answered(store, due.cell, due.fit).items():
        record = store.journal.last("part", each.key)
        if record is not None and record.seq > due.since:
            found.add(day)
    return found


def _all_taken(store: Store, due: DueOrigins) -> bool:
    return len(_taken(store, due)) == len(due.fit.windows)


def _read(finished: Finished, number: int, job: Job) -> tuple[JobOutput, Ending]:
    """What a process left of a job, and how it ended in the light of that."""
    left, ending = JobOutput(), finished.ending
    reason = "the process ended with exit code 0 and left no result"
    if finished.left is not None:
        try:
            left = read_left(finished.left / str(number), job, vouched=ending.vouched)
        except StoreError as problem:
            said = str(problem).replace(f"{finished.left}/", "")
            reason = f"the process left no result: {said}"
            if isinstance(problem, ChangedFileError):
                ending = Ending(kind="no answer", reason=said)
    if left.part is None and ending.kind == "done":
        ending = Ending(kind="failed", reason=reason)
    return left, ending


def seal_unfit(store: Store, due: DueOrigins, reason: str, limit: Limit | None = None) -> Sealed:
    """Seal origins of a fit that is known to have failed: no arm is asked again."""
    cutoffs = due.cell.split.dataset.series.dates[due.fit.windows.origin - 1]
    with store.journal.writing():
        if store.fit(due.fit.key) != due.known:
            return Sealed(overtaken=True)
        part = Part.failed(cutoffs, due.fit.windows.horizon, reason)
        return seal_part(store, due, part, limit=limit)


def seal_part(
    store: Store,
    due: DueOrigins,
    part: Part,
    *,
    fit: StoredFit | None = None,
    content: bytes = b"",
    limit: Limit | None = None,
    spent: ProcessCosts | None = None,
) -> Sealed:
    """Put a part into the store and seal it, with the record of its fit where that is new.

    Origins that another process has sealed a forecast of since they became due are left to it, and
    all of them where only the fit is wanted.

    Parameters
    ----------
    content
        The part's file; left out, it is written here.
    """
    with store.journal.writing():
        if due.fit_alone:
            if fit is not None and not due.damaged:
                store.journal.append("fit", due.fit.key, dataclasses.asdict(fit))
            return Sealed(made=fit is not None and not fit.problem)
        taken = _taken(store, due)
        mine = [row for row, day in enumerate(map(str, part.cutoff)) if day not in taken]
        if not mine:
            return Sealed()
        if len(mine) < len(part):
            part, content = part.at(np.array(mine)), b""
        return _seal_part(store, due, part, fit=fit, content=content, limit=limit, spent=spent)


def _seal_part(
    store: Store,
    due: DueOrigins,
    part: Part,
    *,
    fit: StoredFit | None,
    content: bytes,
    limit: Limit | None,
    spent: ProcessCosts | None,
) -> Sealed:
    cutoffs = tuple(map(str, part.cutoff))
    digests = tuple(part.digests())
    found = dict(zip(cutoffs, digests, strict=True))
    changed = [day for day, wanted in due.expected.items() if found.get(day) != wanted]
    if changed:
        return Sealed(
            problem=f"the forecast of {changed[0]} is damaged, and the repeated one differs: "
            f"`abharness store drop {due.replaces[0]} --why` gives up the sealed one"
        )
    known = fit or store.fit(due.fit.key)
    windows, split = due.fit.windows, due.cell.split
    rows = split.rows_digest(int(windows.origin[-1]))
    whole = content or bytes(part_bytes(part))
    name = part_key(due.fit, known, cutoffs=cutoffs, rows=rows, records=due.cell.records)
    key, replaces = _own_name(store, due, name, bytes_digest(whole))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    before = {  # what is only made good again keeps the time it was issued at
        day: at
        for seal in store.seals(due.fit.key).values()
        for day, at in zip(seal.cutoffs, seal.issued_at, strict=True)
        if day in due.expected
    }
    fallback = part.forecast.fallback or ("",) * len(part)
    failures = [why or said for why, said in zip(part.reason, fallback, strict=True)]
    failed = tuple(day for day, why in zip(cutoffs, failures, strict=True) if why)
    reason = next(filter(None, failures), "")
    seal = Seal(
        fit=due.fit.key,
        file=bytes_digest(whole),
        cutoffs=cutoffs,
        digests=digests,
        issued_at=tuple(before.get(day, now) for day in cutoffs),
        horizon=windows.horizon,
        gap=windows.gap,
        rows=rows,
        form=part.form,
        levels=tuple(part.forecast.levels.tolist()),
        residual_distribution=part.residual_distribution,
        failed=failed,
        by_fallback=tuple(day for day, said in zip(cutoffs, fallback, strict=True) if said),
        first_reason=reason,
        environment=due.cell.environment,
        device=due.cell.device,
        limit=limit,
        spent=spent or ProcessCosts(),
        replaces=replaces,
        records=tuple(due.cell.records[day] for day in cutoffs) if due.cell.records else (),
    )
    store.put_part(key, whole)
    store.seal(due.fit.key, fit, key, seal)
    why = dict(zip(cutoffs, failures, strict=True))
    judged = set(split.days(split.windows.origin)).intersection(failed)
    return Sealed(
        origins=len(part),
        replaced=replaces,
        made=fit is not None and not fit.problem,
        failed=len(failed),
        reason=why[min(judged)] if judged else reason,
        pending=len(failed) - len(judged),
    )


def _own_name(store: Store, due: DueOrigins, name: str, file: str) -> tuple[str, tuple[str, ...]]:
    """A part's name that no other content is sealed under, and the names of those it replaces.

    What was asked again and is answered otherwise stands beside what it replaces until it is
    sealed: whatever ends this process in between, one of the two is whole.
    """
    for former, seal in store.seals(due.fit.key).items():
        start, _, attempt = former.partition("-")
        if start != name:
            continue
        name = former
        if former not in due.replaces and seal.file != file:
            return f"{start}-{int(attempt or 1) + 1}", (former, *due.replaces)
    return name, tuple(each for each in due.replaces if each != name)


def part_key(
    fit: PlannedFit,
    stored: StoredFit | None,
    *,
    cutoffs: Sequence[str],
    rows: str,
    records: Mapping[str, str],
) -> str:
    """Digest of all that a part's forecasts depend on.

    Parameters
    ----------
    stored
        The record of the fit; None where there is none.
    rows
        Digest of the rows visible at the last cutoff.
    records
        As of the cell.
    """
    return digest(
        {
            "fit": fit.key,
            "state": stored.state(fit.key) if stored else fit.key,
            "cutoffs": cutoffs,
            "horizon": fit.windows.horizon,
            "gap": fit.windows.gap,
            **({"records": [records[day] for day in cutoffs]} if records else {}),
            "rows": rows,
        }
    )


def _fit(
    due: DueOrigins, left: JobOutput, ending: Ending, limit: Limit | None
) -> tuple[StoredFit | None, dict[str, bytes]]:
    """The record of a fit that is new, or has more to it than was known, and its new files."""
    problem = left.fit.problem if left.fit else ending.reason
    files = {} if problem else dict(left.fit_files)  # nothing goes on from a fit that failed
    digests = {name: bytes_digest(content) for name, content in sorted(files.items())}
    if due.known is not None and _goes_on(due):
        if problem or RESIDUALS not in files or RESIDUALS in due.known.files:
            return None, {}
        return dataclasses.replace(due.known, files={**due.known.files, **digests}), files
    report = left.fit or FitReport(made=False)
    training = None
    if report.epochs is not None:
        training = TrainingFacts(
            epochs=report.epochs, best_epoch=report.best_epoch, diverged=report.diverged
        )
    record = StoredFit(
        cutoff=due.fit.cutoff,
        identity=due.fit.identity,
        environment=due.cell.environment,
        problem=problem,
        limit=limit if problem else None,
        saved=report.saved,
        files=digests,
        training=training,
        card=report.card,
    )
    return record, files


def _logs(scratch: Path | None, left: JobOutput) -> dict[str, bytes]:
    """What was printed, and the traceback of the first failure."""
    found: dict[str, bytes] = {}
    if scratch is not None:
        with suppress(StoreError, FileNotFoundError):
            found[LOG] = read_plain(scratch / LOG)
    if left.report is not None and left.report.trace:
        found[TRACEBACK] = left.report.trace.encode()
    return found


def keeps(store: Store, fit: PlannedFit) -> bool:
    """Whether a later night can go on with what the store holds of a fit."""
    known = store.fit(fit.key)
    return known is not None and any(
        name == RESIDUALS or name.startswith(f"{STATE}/") for name in known.files
    )


def merge_parts(store: Store, cells: Sequence[GridCell]) -> int:
    """Merge parts of fits that have many; gives how many files are fewer.

    What is damaged, or was made from other rows than those of today, stays as it is.

    Raises
    ------
    StoreError
        When the store cannot be written.
    """
    fits = {fit.key: (cell, fit) for cell in cells for fit in cell.fits}
    with store.journal.at_rest():
        many = [each for key, each in fits.items() if len(store.seals(key)) >= MOST]
    return sum(_merge(store, cell, fit) for cell, fit in many)


def _merge(store: Store, cell: GridCell, fit: PlannedFit) -> int:
    if len(seals := _alike(store, cell, fit)) < MOST:
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
    content = bytes(part_bytes(whole))
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
        spent=ProcessCosts.together(seal.spent for seal in seals.values()),
        replaces=tuple(seals),
    )
    known = store.fit(fit.key)
    key = part_key(fit, known, cutoffs=cutoffs, rows=newest.rows, records=cell.records)
    with store.journal.writing():
        if not seals.items() <= store.seals(fit.key).items():
            return 0  # another process has merged them, or given one up
        store.put_part(key, content)
        store.seal(fit.key, None, key, merged)
    for old in seals:
        store.part_file(old).unlink(missing_ok=True)
    return len(seals) - 1


def _alike(store: Store, cell: GridCell, fit: PlannedFit) -> dict[str, Seal]:
    """Parts that can be one, in order: whole, of today's rows, of one environment and device."""
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
        by_environment.setdefault(digest([seal.environment, seal.device]), {})[key] = seal
    return max(by_environment.values(), key=len, default={})


def _all(seals: Mapping[str, Seal], name: str) -> list[str]:
    return [value for seal in seals.values() for value in getattr(seal, name)]
