"""Gather from the store what a page shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.battery.records import read_checks
from harness.costs import Costs
from harness.errors import ConfigError, StoreError
from harness.gate.history import Entry, before, change, history
from harness.judging.verdict import Verdict, plain, to_json
from harness.measure.records import read_costs
from harness.running.grid import Grid, Split
from harness.running.identity import digest, package_digest
from harness.running.records import StoredUnit, read_curve, read_unit
from harness.running.store import SCHEMA, Store, read_record
from harness.scoring.scores import UnitScores
from harness.scoring.summary import summarise
from harness.window import up_to
from reports.beside import Beside
from reports.inputs import ArmFacts, DatasetFacts, PageInput, UnitKey

if TYPE_CHECKING:
    from harness.claims.nouns import ClaimRow


def collect(
    grid: Grid,
    store: Store,
    verdict: Verdict,
    scores: Sequence[UnitScores],
    *,
    folder: Path | None = None,
    others: Sequence[Verdict] = (),
    claims: bool = True,
) -> PageInput:
    """Read everything about a verdict that a page may show.

    Parameters
    ----------
    folder
        Where the verdict lies; left out, nothing beside it is read but costs and checks.
    others
        Verdicts of the same candidate against the other legacy arms.
    claims
        Measure the claims as well; `with_claims` adds them later.
    """
    stored = {
        (c.arm.name, c.dataset, c.seed): store.unit_folder(c.key)
        for c in grid.cells
        if store.has_unit(c.key)
    }
    units: dict[UnitKey, StoredUnit] = {key: read_unit(path) for key, path in stored.items()}
    page = PageInput(
        verdict=verdict,
        title=grid.experiment.title,
        experiment_text=grid.experiment.text,
        summaries=summarise(scores, reference=reference_of(grid)),
        scores=scores,
        units=units,
        curves={key: read_curve(path) for key, path in stored.items()},
        datasets={name: _dataset_facts(name, split) for name, split in grid.splits.items()},
        arms=[_arm_facts(grid, name, units) for name in _names(grid)],
        environment={"abharness": version("abharness"), "store schema": str(SCHEMA)},
        versions=dict(grid.cells[0].identity["libraries"]) if grid.cells else {},
        beside=beside_of(grid, store, verdict, scores, folder=folder, others=others),
    )
    return with_claims(page, grid, store) if folder and claims else page


def with_claims(page: PageInput, grid: Grid, store: Store) -> PageInput:
    """Add what was measured of each claim: the slowest part, wanted only where a page is drawn."""
    rows = _claims(grid, store)
    return dataclasses.replace(page, beside=dataclasses.replace(page.beside, claims=rows))


def drawn_from(page: PageInput) -> str:
    """Digest of all records a page is drawn from and of the code that draws it.

    Claims are measured on these records and on the source of both sides.
    """
    beside = page.beside
    code = [package_digest(name) for name in ("reports", "harness", "baselines", "candidates")]
    rest = {
        each.name: plain(getattr(beside, each.name))
        for each in dataclasses.fields(beside)
        if each.name != "claims"
    }
    records = [unit.record for unit in page.units.values()]
    return digest([code, to_json(page.verdict), records, rest])


def beside_of(
    grid: Grid,
    store: Store,
    verdict: Verdict,
    scores: Sequence[UnitScores],
    *,
    folder: Path | None,
    others: Sequence[Verdict],
) -> Beside:
    """Read what else the store holds on a verdict."""
    known = history(store, grid.experiment.name)
    entry = _entry_of(known, folder)
    earlier = before(known, entry) if entry else None
    sides = [each.legacy for each in (verdict, *others)]
    costs = {legacy: _costs(grid, store, legacy, verdict.candidate) for legacy in sides}
    return Beside(
        experiment=Path(grid.experiment.source).name,
        store=store.root.resolve().name,
        folder=folder.name if folder else "VERDICT",
        others=tuple(others),
        costs=costs,
        sessions=_sessions(store, costs),
        checks=tuple(read_checks(store)),
        entry=entry,
        change=change(earlier, entry, dates=_dates(scores)) if earlier and entry else None,
        verdicts=_passed(known, verdict, entry),
    )


def _entry_of(known: Sequence[Entry], folder: Path | None) -> Entry | None:
    """The verdict's place in the history, without how often it was passed again.

    That is the index's to say: a page does not change by it.
    """
    mine = [each for each in known if folder is not None and each.folder == folder.name]
    return dataclasses.replace(mine[-1], confirmed=0) if mine else None


def _passed(known: Sequence[Entry], verdict: Verdict, entry: Entry | None) -> int:
    """Verdicts on the same pair, up to this one."""
    pair = (verdict.candidate, verdict.legacy)
    until = [each for each in known if entry is None or each.sequence <= entry.sequence]
    return sum((each.candidate, each.legacy) == pair for each in until)


def _costs(grid: Grid, store: Store, legacy: str, candidate: str) -> Costs:
    try:
        return read_costs(store, grid, baseline=legacy, candidate=candidate)
    except (ConfigError, StoreError) as problem:
        dataset = grid.experiment.datasets[0]
        return Costs.missing(legacy, candidate, dataset, f"cannot be read: {problem}")


def _sessions(store: Store, costs: Mapping[str, Costs]) -> dict[str, dict[str, Any]]:
    """Records of the sessions that costs were read from."""
    known = {legacy: found.record for legacy, found in costs.items() if found.record}
    return {legacy: read_record(store.root / record) for legacy, record in known.items()}


def _claims(grid: Grid, store: Store) -> tuple[ClaimRow, ...]:
    from harness.claims import collect_claims, gather

    named = Path(grid.experiment.source).name
    evidence = gather(grid, store, named=named)
    found = dataclasses.replace(evidence, store=store.root.resolve().name)
    return collect_claims(found)


def _dates(scores: Sequence[UnitScores]) -> dict[str, list[str]]:
    """ISO dates of all origins by dataset."""
    return {unit.dataset: [str(day) for day in unit.origin_date] for unit in scores}


def reference_of(grid: Grid) -> str | None:
    """The arm all others are set against: the policy's, or the first reference arm."""
    named = grid.experiment.policy.reference
    references = (arm.name for arm in grid.experiment.arms if arm.role == "reference")
    return named or next(references, None)


def _names(grid: Grid) -> list[str]:
    return [arm.name for arm in grid.experiment.arms]


def _arm_facts(grid: Grid, name: str, units: Mapping[UnitKey, StoredUnit]) -> ArmFacts:
    ref = grid.experiment.arm(name)
    records = [unit.record for key, unit in units.items() if key[0] == name]
    return ArmFacts(
        name=name,
        role=ref.role,
        use=ref.use,
        options=ref.options,
        card=records[0]["card"] if records else {},
        residual_distribution=any(record["residual_distribution"] for record in records),
    )


def _dataset_facts(name: str, split: Split) -> DatasetFacts:
    dataset, plan, windows = split.dataset, split.plan, split.windows
    series = up_to(dataset.series, int(windows.judged.max()) + 1)
    first, last = (str(series.dates[row]) for row in windows.origin[[0, -1]].tolist())
    manifest = dataset.manifest
    dropped = dataset.skipped  # by skip_repeats, so no longer among the rows
    repeats = dropped + int((np.diff(dataset.series.target) == 0).sum())
    return DatasetFacts(
        id=name,
        title=manifest.title,
        unit=manifest.unit,
        dates=series.dates,
        target=series.target,
        source=manifest.source,
        licence=manifest.licence,
        sha256=dataset.digest,
        first_origin=first,
        last_origin=last,
        origins=len(windows),
        stride=plan.stride,
        horizon=plan.horizon,
        gap=plan.gap,
        refit=plan.refit,
        skip_repeats=plan.skip_repeats,
        repeats=repeats / (len(dataset) + dropped),
        warnings=dataset.warnings,
        quirks=manifest.quirks,
    )
