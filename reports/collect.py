"""Gather from the store what a page shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from harness.checks.predicate import number_of
from harness.checks.stored_checks import read_checks
from harness.costs import Costs
from harness.errors import ConfigError, StoreError
from harness.experiments.experiment import MeasureSettings
from harness.gate.history import Entry, before, change, experiments, history, read_verdict
from harness.gate.registration import KIND
from harness.judging.verdict import Verdict, plain, to_json
from harness.measure.record import machine_class, read_costs, read_measure
from harness.records.journal import SCHEMA, SHORT
from harness.running.cells import StoredCell, has_cell, read_cell, read_curve
from harness.running.grid import Grid
from harness.running.sources import digest, package_digest
from harness.running.split import Split
from harness.running.store_folder import Store
from harness.scoring.scores import UnitScores
from harness.scoring.summary import summarise
from harness.window import up_to
from reports.index import IndexInput, Passed, Run, Track, newest, track_of
from reports.page_input import (
    HEAD,
    ArmFacts,
    Beside,
    Claimed,
    DatasetFacts,
    PageInput,
    PredicateResult,
    Registration,
    SessionTimes,
    Since,
    Tried,
    UnitFacts,
    UnitKey,
)
from reports.words import numbers

if TYPE_CHECKING:
    from harness.checks.stored_checks import CheckRecord
    from harness.gate.judge import Judgement


def collect(grid: Grid, store: Store, judgement: Judgement) -> PageInput:
    """Read everything about a verdict that a report may show; `with_claims` adds the claims.

    Raises
    ------
    StoreError
        When a stored unit cannot be read.
    """
    stored = {(c.arm.name, c.dataset, c.seed): c for c in grid.cells if has_cell(store, c)}
    read = {key: read_cell(store, cell) for key, cell in stored.items()}
    return PageInput(
        verdict=judgement.verdict,
        title=grid.experiment.title,
        experiment_text=grid.experiment.text,
        summaries=summarise(judgement.scores, reference=judgement.verdict.validity.reference),
        scores=judgement.scores,
        units={key: _unit_facts(unit) for key, unit in read.items()},
        curves={key: read_curve(store, cell) for key, cell in stored.items()},
        datasets={name: _dataset_facts(name, split) for name, split in grid.splits.items()},
        arms=[_arm_facts(grid, name, read) for name in _names(grid)],
        environment={"abharness": version("abharness"), "store schema": str(SCHEMA)},
        fingerprints={HEAD: judgement.head[:SHORT]},
        judged_at=judgement.at,
        versions=dict(grid.cells[0].known.environment["libraries"]) if grid.cells else {},
        beside=_beside(grid, store, judgement, read),
    )


def verdict_alone(judgement: Judgement) -> PageInput:
    """What there is to show where stored units cannot be read: the verdict and its scores."""
    return PageInput(
        verdict=judgement.verdict,
        fingerprints={HEAD: judgement.head[:SHORT]},
        judged_at=judgement.at,
        summaries=summarise(judgement.scores, reference=judgement.verdict.validity.reference),
        beside=Beside(others=tuple(verdict for verdict, _ in judgement.others)),
    )


def with_claims(page: PageInput, grid: Grid, store: Store) -> PageInput:
    """Add what was measured of each claim: the slowest part, wanted only where a page is drawn."""
    from harness.claims import collect_claims, gather
    from reports.words.claimed import GROUPS, measured_text

    evidence = gather(grid, store, named=Path(grid.experiment.source).name)
    rows = collect_claims(dataclasses.replace(evidence, store=store.root.resolve().name))
    found = []
    for row in rows:
        said = [measured_text(each) for each in row.measured[:6]]
        left = len(row.measured) - len(said)
        said += [f"and {left} more"] if left > 0 else []
        claimed = Claimed(
            group=GROUPS[row.claim.group],
            number=row.claim.number,
            text=row.claim.text,
            offered=row.claim.offered,
            status=row.status,
            decides=row.rule,
            found=(*said, *row.open, *(f"run: {line}" for line in row.commands)),
        )
        found.append(claimed)
    return dataclasses.replace(page, beside=dataclasses.replace(page.beside, claims=tuple(found)))


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
    records = [unit.digest for unit in page.units.values()]
    return digest([code, to_json(page.verdict), records, rest, dict(page.fingerprints)])


def _beside(
    grid: Grid, store: Store, judgement: Judgement, units: Mapping[UnitKey, StoredCell]
) -> Beside:
    """Read what else the store holds on a verdict."""
    verdict, others = judgement.verdict, tuple(other for other, _ in judgement.others)
    known = history(store, grid.experiment.name)
    mine = [each for each in known if each.name == judgement.folder.name]
    entry = mine[-1] if mine else None
    sides = [each.legacy for each in (verdict, *others)]
    costs = {legacy: _costs(grid, store, legacy, verdict.candidate) for legacy in sides}
    sessions = {legacy: each.record for legacy, each in costs.items() if each.record}
    arms = [grid.experiment.arm(name) for name in _names(grid)]
    names = {arm.name for arm in arms} | {str(arm.options.get("model")) for arm in arms}
    pair = (verdict.candidate, verdict.legacy)
    return Beside(
        experiment=Path(grid.experiment.source).name,
        store=store.root.resolve().name,
        folder=judgement.folder.name,
        others=others,
        costs=costs,
        measuring_s=_measuring_s(grid, verdict, units),
        sessions={legacy: _session(store, key) for legacy, key in sessions.items()},
        trials=tuple(
            _trial(each)
            for each in read_checks(store)
            if each.use in {arm.use for arm in arms} or each.target in names
        ),
        registered=_registered(grid, store),
        since=_since(known, entry, judgement.scores) if entry else None,
        verdicts=sum(
            (each.candidate, each.legacy) == pair
            for each in known
            if entry is None or each.sequence <= entry.sequence
        ),
    )


def _registered(grid: Grid, store: Store) -> Registration | None:
    """When the rules of the experiment were recorded, and whether results were there already."""
    rows = [
        Registration(day=row.at[:10], before_results=not body["results"])
        for row, body in store.journal.all(KIND)
        if row.key == grid.experiment.name
    ]
    return rows[-1] if rows else None


def _since(known: Sequence[Entry], entry: Entry, scores: Sequence[UnitScores]) -> Since:
    """What changed since the verdict before."""
    earlier = before(known, entry)
    if earlier is None:
        return Since()
    dates = {unit.dataset: [str(day) for day in unit.origin_date] for unit in scores}
    found = change(earlier, entry, dates=dates)
    return Since(
        before=found.before,
        findings=found.findings,
        new_origins=found.new_origins,
        same_meaning=found.same_meaning,
    )


def _measuring_s(grid: Grid, verdict: Verdict, units: Mapping[UnitKey, StoredCell]) -> float | None:
    """About what measuring a pair takes: its budget, and what one fit of each side took here."""
    settings = grid.experiment.measure or MeasureSettings()
    spent = {}
    for key, unit in units.items():
        if key[0] in (verdict.candidate, verdict.legacy):
            spent[key[0]] = unit.record.seconds.get("fit", 0.0)
    return settings.budget_s + settings.fits * sum(spent.values()) if len(spent) == 2 else None


def _session(store: Store, key: str) -> SessionTimes:
    arms = read_measure(store, key).arms
    if len(arms) != 2:
        return SessionTimes()
    legacy, candidate = arms
    firsts = [arm.phases.get("first") for arm in (legacy, candidate)]
    first_s = [None if phase is None else phase.seconds for phase in firsts]
    tails = [arm.single_stream.seconds.p90 for arm in (legacy, candidate)]
    return SessionTimes(first_s=(first_s[0], first_s[1]), p90_s=(tails[0], tails[1]))


def _trial(record: CheckRecord) -> Tried:
    return Tried(
        target=record.target,
        kind=record.kind,
        options=record.options,
        current=record.current,
        results=tuple(
            PredicateResult(
                code=each.code,
                title=each.title,
                outcome=each.outcome,
                value=each.measured.get("value"),
                wanted=each.wanted,
                reason=each.reason,
            )
            for each in sorted(record.results, key=lambda result: number_of(result.code))
        ),
    )


def _unit_facts(unit: StoredCell) -> UnitFacts:
    record = unit.record
    return UnitFacts(
        digest=digest(plain(record)),
        origin=unit.origin,
        last_date=unit.last_date,
        reason=unit.reason,
        forecast=unit.forecast,
        seconds=record.seconds,
        peak_bytes=record.peak_bytes,
        fits=len(record.fits),
        machine=record.machine,
    )


def _costs(grid: Grid, store: Store, legacy: str, candidate: str) -> Costs:
    try:
        return read_costs(store, grid, baseline=legacy, candidate=candidate)
    except (ConfigError, StoreError) as problem:
        dataset = grid.experiment.datasets[0]
        said = f"cannot be read: {problem}"
        return Costs.missing(legacy, candidate, dataset, said, unreadable=said)


def _names(grid: Grid) -> list[str]:
    return [arm.name for arm in grid.experiment.arms]


def _arm_facts(grid: Grid, name: str, units: Mapping[UnitKey, StoredCell]) -> ArmFacts:
    ref = grid.experiment.arm(name)
    records = [unit.record for key, unit in units.items() if key[0] == name]
    return ArmFacts(
        name=name,
        role=ref.role,
        use=ref.use,
        options=ref.options,
        card=records[0].card if records else {},
        residual_distribution=any(record.residual_distribution for record in records),
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
        until=str(dataset.series.dates[-1]),
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
        ended=str(manifest.last) if manifest.ended else "",
    )


_FACTS = {"processor": "{}", "cores": "{} cores", "memory_gib": "{} GiB", "gpu": "GPU {}"}


def collect_index(store: Store, *, linked: bool = True) -> IndexInput:
    """Read every verdict of a store; what cannot be read is named and the rest goes on.

    Parameters
    ----------
    linked
        Link the pages that were drawn: for an index that lies beside the verdicts.
    """
    reader = _Reader(store=store, linked=linked)
    found = [each for name in reader.names() for each in reader.passed(name)]
    return IndexInput(
        passed=sorted(found, key=_age, reverse=True),
        tracks=reader.tracks(found),
        problems=tuple(dict.fromkeys(reader.problems)),
    )


def _age(each: Passed) -> tuple[str, int, str]:
    """Later evidence is newer; within an experiment the order in which verdicts were passed."""
    return (each.until, each.entry.sequence, each.experiment)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """Reads records of a store, each once."""

    store: Store
    linked: bool
    problems: list[str] = field(default_factory=list)
    _verdicts: dict[str, Verdict | None] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Experiments with verdicts."""
        return experiments(self.store)

    def passed(self, name: str) -> Iterator[Passed]:
        """Every verdict on an experiment, the oldest first."""
        try:
            entries = history(self.store, name)
        except StoreError as problem:
            self.problems.append(self._said(problem))
            return
        dates = accumulate((_last_origin(entry) for entry in entries), max)
        for entry, until in zip(entries, dates, strict=True):
            yield self._one(name, entry, entries, until)

    def _one(self, name: str, entry: Entry, entries: Sequence[Entry], until: str) -> Passed:
        earlier = before(entries, entry)
        folder = self.store.verdict_folder(name) / entry.name
        known = [f"{_words(facts)} ({machine_class(facts)})" for facts in entry.machines]
        return Passed(
            experiment=name,
            entry=entry,
            until=until,
            change=change(earlier, entry) if earlier else None,
            machine="; ".join(sorted(set(known))) or "not recorded",
            page=self._page(folder),
        )

    def _page(self, folder: Path) -> str:
        there = self.linked and (folder / "report.html").is_file()
        return quote(f"{folder.parent.name}/{folder.name}/report.html") if there else ""

    def tracks(self, passed: Sequence[Passed]) -> list[Track]:
        """The runs of each pair on each class of machine; the pair that decides comes first."""
        groups: dict[tuple[str, str, str, str], list[Passed]] = {}
        for each in passed:
            pair = (each.entry.candidate, each.entry.legacy)
            groups.setdefault((each.experiment, *pair, each.machine), []).append(each)
        found = [track for runs in groups.values() for track in self._track(runs)]
        return sorted(found, key=lambda track: (track.experiment, not track.decides))

    def _track(self, passed: Sequence[Passed]) -> Iterator[Track]:
        last, left_out = newest(passed)
        runs = [
            Run(passed=each, verdict=verdict)
            for each in last
            if (verdict := self._verdict(each)) is not None
        ]
        if runs:
            yield track_of(runs, left_out=left_out)

    def _verdict(self, each: Passed) -> Verdict | None:
        name = each.entry.name
        if name not in self._verdicts:
            self._verdicts[name] = None
            try:
                self._verdicts[name] = read_verdict(self.store, name)
            except StoreError as problem:
                self.problems.append(self._said(problem))
        return self._verdicts[name]

    def _said(self, problem: Exception) -> str:
        """A problem without the path of the store, which is no one else's business."""
        return str(problem).replace(f"{self.store.root}/", "")


def _last_origin(entry: Entry) -> str:
    return max((span.last for span in entry.spans.values()), default="")


def _words(facts: Mapping[str, str]) -> str:
    said = [text.format(facts[name]) for name, text in _FACTS.items() if facts.get(name)]
    return numbers.printable(", ".join(said))
