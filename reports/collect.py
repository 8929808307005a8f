"""Gather from the store what a page shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import numpy as np

from harness.arm_ref import ArmRef
from harness.checks.stored_checks import read_checks
from harness.costs import Costs
from harness.errors import ConfigError, StoreError
from harness.evidence.estimand import Skill, loss_of
from harness.evidence.pairing import PairingError, pair
from harness.experiments.experiment import MeasureSettings
from harness.gate.dossier import Dossier
from harness.gate.history import (
    Entry,
    before,
    change,
    fingerprints_of,
    history,
    read_verdict,
    standing,
)
from harness.gate.judge import deciding_scores, scored
from harness.gate.looks import looks_of, sessions_to_next
from harness.gate.nights import nights
from harness.gate.registration import KIND
from harness.judging.reference import shown_by
from harness.judging.verdict import Change, Verdict, plain
from harness.measure.record import machine_class, read_costs, read_measure
from harness.measure.session import session_s
from harness.records.journal import SCHEMA, SHORT
from harness.running.cells import (
    cell_digest,
    cell_record,
    has_cell,
    issued_in_time,
    read_cell,
    read_curve,
)
from harness.running.executor import LOG
from harness.running.grid import Grid
from harness.running.sources import digest, package_digest
from harness.running.split import Split
from harness.running.store_folder import Store, bytes_digest
from harness.running.stored_cell import CellRecord, StoredCell
from harness.scoring.scores import UnitScores
from harness.scoring.summary import MetricSummary, summarise
from harness.window import up_to
from reports.night_input import CostSeries, DataState, HistoryInput, Losses
from reports.page_input import (
    HEAD,
    ArmFacts,
    Claimed,
    DatasetFacts,
    PageInput,
    PageRecords,
    ReadWhenAsked,
    Registration,
    SessionTimes,
    UnitKey,
)
from reports.words import numbers

if TYPE_CHECKING:
    from harness.gate.judge import Judgement


def collect(grid: Grid, store: Store, judgement: Judgement) -> PageInput:
    """Read everything about a verdict that a report may show; `with_claims` adds the claims.

    Raises
    ------
    StoreError
        When a stored unit cannot be read, also later, where its forecasts or curves are asked for.
    """
    with store.journal.at_rest():
        cells = {(c.arm.name, c.dataset, c.seed): c for c in grid.cells if has_cell(store, c)}
        for cell in cells.values():
            cell_digest(store, cell)  # raises where a file is not what was sealed
        records = {key: cell_record(store, cell) for key, cell in cells.items()}
    known = _Stored(
        grid=grid,
        store=store,
        judgement=judgement,
        units=records,
        answers=ReadWhenAsked(cells, lambda key: read_cell(store, cells[key])),
    )
    return PageInput(
        verdict=judgement.verdict,
        title=grid.experiment.title,
        experiment_text=grid.experiment.text,
        summaries=_summaries(judgement),
        scores=judgement.scores,
        units=records,
        answers=known.answers,
        curves=ReadWhenAsked(cells, lambda key: read_curve(store, cells[key])),
        datasets={name: _dataset_facts(name, split) for name, split in grid.splits.items()},
        arms=[known.arm(arm) for arm in grid.experiment.arms],
        environment={"abharness": version("abharness"), "store schema": str(SCHEMA)},
        fingerprints={HEAD: judgement.head[:SHORT]},
        judged_at=judgement.at,
        versions=dict(grid.cells[0].environment["libraries"]) if grid.cells else {},
        beside=known.beside(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """A verdict with the store it lies in, and what is stored of its cells."""

    grid: Grid
    store: Store
    judgement: Judgement
    units: Mapping[UnitKey, CellRecord]
    answers: Mapping[UnitKey, StoredCell]

    def beside(self) -> PageRecords:
        """Read what else the store holds on a verdict."""
        grid, store, judgement = self.grid, self.store, self.judgement
        verdict, others = judgement.verdict, tuple(other for other, _ in judgement.others)
        known = history(store, grid.experiment.name)
        entry = next((each for each in known[::-1] if each.name == judgement.folder.name), None)
        sides = [each.legacy for each in (verdict, *others)]
        measured = {legacy: self.measured(legacy) for legacy in sides}
        arms, place = grid.experiment.arms, Path(store.root.resolve().name)
        names = {arm.name for arm in arms} | {str(arm.options.get("model")) for arm in arms}
        pair = (verdict.candidate, verdict.legacy)
        registered = [
            Registration(day=row.at[:10], before_results=not body["results"])
            for row, body in store.journal.all(KIND)
            if row.key == grid.experiment.name
        ]
        return PageRecords(
            experiment=quote(Path(grid.experiment.source).name),
            store=quote(str(place)),
            folder=str(place / judgement.folder.relative_to(store.root)),
            others=others,
            costs={legacy: costs for legacy, (costs, _) in measured.items()},
            measuring_s=self.measuring_s,
            sessions={
                legacy: times for legacy, (_, times) in measured.items() if times is not None
            },
            logs=self.logs(),
            trials=tuple(
                each
                for each in read_checks(store)
                if each.use in {arm.use for arm in arms} or each.target in names
            ),
            registered=registered[-1] if registered else None,
            since=self.since(known, entry) if entry else None,
            verdicts=sum(
                (each.candidate, each.legacy) == pair
                for each in known
                if entry is None or each.sequence <= entry.sequence
            ),
        )

    def logs(self) -> dict[UnitKey, str]:
        """The log of the fit that the first failed window of each unit was asked of."""
        failed = {key for key, record in self.units.items() if record.failed}
        scored = (unit for unit in self.judgement.scores if unit.failures)
        failed |= {(unit.arm, unit.dataset, unit.seed) for unit in scored}
        found = {}
        for cell in self.grid.cells:
            key = (cell.arm.name, cell.dataset, cell.seed)
            if key not in failed or not any(self.answers[key].reason):
                continue
            reasons = self.answers[key].reason
            first = self.answers[key].origin[next(at for at, why in enumerate(reasons) if why)]
            for fit in cell.fits:
                log = self.store.fit_folder(fit.key) / LOG
                if first in fit.windows.origin and log.is_file():
                    parts = (
                        self.store.root.resolve().name,
                        *log.relative_to(self.store.root).parts,
                    )
                    found[key] = "/".join(parts)
        return found

    def since(self, known: Sequence[Entry], entry: Entry) -> Change:
        """What changed since the verdict before."""
        earlier = before(known, entry)
        if earlier is None:
            return Change()
        scores = self.judgement.scores
        dates = {unit.dataset: [str(day) for day in unit.origin_date] for unit in scores}
        found = change(earlier, entry, dates=dates)
        then = fingerprints_of(self.store, earlier.name)
        now = fingerprints_of(self.store, entry.name)
        return dataclasses.replace(found, parts=tuple(n for n in now if then.get(n) != now[n]))

    @property
    def measuring_s(self) -> float | None:
        """About what measuring the pair takes; None where a side has no unit."""
        experiment, verdict = self.grid.experiment, self.judgement.verdict
        settings = experiment.measure or MeasureSettings()
        dataset = settings.dataset or experiment.datasets[0]
        spent = {key[:2]: record.seconds for key, record in self.units.items()}
        sides = [spent.get((arm, dataset)) for arm in (verdict.legacy, verdict.candidate)]
        known = [side for side in sides if side is not None]
        return session_s(settings, known) if len(known) == len(sides) else None

    def measured(self, legacy: str) -> tuple[Costs, SessionTimes | None]:
        """What a pair costs, and the times of its session; no times where none was measured."""
        candidate = self.judgement.verdict.candidate
        try:
            costs = read_costs(self.store, self.grid, baseline=legacy, candidate=candidate)
        except (ConfigError, StoreError) as problem:
            dataset = self.grid.experiment.datasets[0]
            return Costs.missing(legacy, candidate, dataset, unreadable=str(problem)), None
        if not costs.record:
            return costs, None
        arms = read_measure(self.store, costs.record).arms
        if len(arms) != 2:
            return costs, SessionTimes()
        firsts = [arm.phases.get("first") for arm in arms]
        first_s = [None if phase is None else phase.seconds for phase in firsts]
        tails = [arm.single_stream.seconds.p90 for arm in arms]
        return costs, SessionTimes(first_s=(first_s[0], first_s[1]), p90_s=(tails[0], tails[1]))

    def arm(self, arm: ArmRef) -> ArmFacts:
        """What is known of an arm."""
        weights = [
            cell.identity["weights"] for cell in self.grid.cells if cell.arm.name == arm.name
        ]
        records = [record for key, record in self.units.items() if key[0] == arm.name]
        return ArmFacts(
            name=arm.name,
            role=arm.role,
            use=arm.use,
            options=arm.options,
            card=records[0].card if records else {},
            residual_distribution=any(record.residual_distribution for record in records),
            weights=dict(weights[0]) if weights else {},
        )


def _summaries(judgement: Judgement) -> list[MetricSummary]:
    """A row per arm, dataset and metric; skill is that of the scaled losses that are judged."""
    validity, found = judgement.verdict.validity, []
    bar = validity.reference
    known = {(each.arm, each.dataset): each.skill for each in validity.standings
             if each.metric == "crps"}  # fmt: skip
    for row in summarise(judgement.scores, reference=bar):
        key, skill = (row.arm, row.dataset), row.skill
        if row.metric == "crps" and row.arm != bar and skill is not None:
            if key not in known:
                there = [unit for unit in judgement.scores if unit.dataset == row.dataset]
                side, against = ([u for u in there if u.arm == arm] for arm in (row.arm, bar))
                seen = shown_by(loss_of("crps"), side, against, alpha=None)
                known[key] = seen.skill if seen else None
            skill = known[key]
        found.append(dataclasses.replace(row, skill=skill))
    return found


def verdict_alone(judgement: Judgement) -> PageInput:
    """What there is to show where stored units cannot be read: the verdict and its scores."""
    return PageInput(
        verdict=judgement.verdict,
        fingerprints={HEAD: judgement.head[:SHORT]},
        judged_at=judgement.at,
        summaries=_summaries(judgement),
        beside=PageRecords(others=tuple(verdict for verdict, _ in judgement.others)),
    )


def with_claims(page: PageInput, grid: Grid, store: Store, judgement: Judgement) -> PageInput:
    """Add what was measured of each claim: the slowest part, wanted only where a page is drawn."""
    from harness.claims import collect_claims, gather
    from reports.forms.claim_rows import GROUPS, measured_text

    named = Path(grid.experiment.source).name
    evidence = gather(grid, store, named=named, judgement=judgement)
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
            found=(*said, *row.open),
            commands=tuple(row.commands),
        )
        found.append(claimed)
    return dataclasses.replace(page, beside=dataclasses.replace(page.beside, claims=tuple(found)))


def drawn_from(page: PageInput) -> str:
    """Digest of all records a page is drawn from and of the code that draws it.

    Claims are measured on these records and on the source of both sides; scores, summaries and
    curves are those of the units.
    """
    code = [package_digest(name) for name in ("reports", "harness", "baselines", "candidates")]
    # JSON takes ten times as long
    units = [bytes_digest(repr(record).encode()) for record in page.units.values()]
    records = [_told(each, but=("dates", "target")) for each in page.datasets.values()]
    records += [_told(page.beside, but=("claims",))]
    derived = ("verdict", "summaries", "scores", "units", "answers", "curves", "datasets", "beside")
    return digest([code, plain(page.verdict), units, records, _told(page, but=derived)])


def _told(
    record: DatasetFacts | PageRecords | PageInput, *, but: Collection[str]
) -> dict[str, object]:
    fields = (each.name for each in dataclasses.fields(record) if each.name not in but)
    return {name: plain(getattr(record, name)) for name in fields}


_MACHINE = {"processor": "{}", "cores": "{} cores", "memory_gib": "{} GiB", "gpu": "GPU {}"}


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


def collect_history(grid: Grid, store: Store, *, page: str = "") -> HistoryInput:
    """Read what the store holds on an experiment's nights.

    Parameters
    ----------
    page
        File of the report, relative to the page.

    Raises
    ------
    StoreError
        When there is no verdict yet, or a record or a score cannot be read.
    """
    experiment = grid.experiment
    name = standing(store, experiment.name)
    if not name:
        raise StoreError(
            f"{store.root}: no verdict yet on '{experiment.name}'; `abharness nightly` passes one"
        )
    verdict = read_verdict(store, name)
    policy = dataclasses.replace(
        experiment.policy, candidate=verdict.candidate, baseline=verdict.legacy
    )
    asked = Dossier(grid=grid, store=store, policy=policy)
    scores = deciding_scores(asked, scored(grid, store))
    known = _Nights(asked=asked, verdict=verdict)
    wait = sessions_to_next(grid, scores) if verdict.look is not None else None
    return HistoryInput(
        title=experiment.title,
        verdict=verdict,
        since=known.since,
        nights=[
            night
            for night in nights(store, experiment.name)
            if (night.legacy, night.candidate) == policy.pair
        ],
        entries=known.entries,
        looked=[
            (each.look, read_verdict(store, each.verdict).findings)
            for each in looks_of(store, name)
        ],
        following=(known.day_after(wait), wait),
        losses=list(known.losses(scores)),
        prospective={
            each.dataset: len(issued_in_time(store, [each]))
            for each in asked.stored
            if each.arm.name == verdict.candidate
        },
        costs=list(known.costs()),
        events=known.acknowledged(),
        freshness=[
            DataState(
                dataset=dataset,
                until=str(split.dataset.series.dates[-1]),
                last_origin=str(split.dataset.series.dates[int(split.windows.origin[-1])]),
                ended=str(split.dataset.manifest.last) if split.dataset.manifest.ended else "",
                pending=len(split.issued) - len(split.windows),
            )
            for dataset, split in grid.splits.items()
        ],
        page=page,
    )


_MACHINE = {"processor": "{}", "cores": "{} cores", "memory_gib": "{} GiB", "gpu": "GPU {}"}


@dataclass(frozen=True, kw_only=True)  # no slots: what is derived is worked out once
class _Nights:
    """The verdict that stands, and what it was judged from."""

    asked: Dossier
    verdict: Verdict

    @cached_property
    def entries(self) -> list[Entry]:
        """Every verdict on the pair, the oldest first."""
        known, pair_ = history(self.asked.store, self.asked.name), self.asked.policy.pair
        return [each for each in known if (each.legacy, each.candidate) == pair_]

    @property
    def since(self) -> str:
        """ISO day of the first of the verdicts in a row that had the outcome which stands."""
        since = ""
        for each in reversed(self.entries):
            if each.outcome is not self.verdict.outcome:
                break
            since = each.at[:10]
        return since

    def day_after(self, wait: int | None) -> str:
        """The earliest day on which so many sessions have come, by the calendars of the data."""
        if wait is None:
            return ""
        days = [
            np.busday_offset(
                split.dataset.series.dates[-1].astype("datetime64[D]"),
                wait,
                roll="forward",
                weekmask=split.dataset.manifest.calendar,
            )
            for split in self.asked.grid.splits.values()
            if not split.dataset.manifest.ended
        ]
        return str(min(days, default=""))

    def losses(self, scores: Sequence[UnitScores]) -> Iterator[Losses]:
        """What each rule on all of a dataset compares, but for gains, which compare the same."""
        verdict, seen = self.verdict, set()
        for each in verdict.findings:
            if each.comparison is None or each.estimand is None or each.part:
                continue
            key = (each.dataset, each.estimand)
            ours, theirs = (
                [unit for unit in scores if (unit.arm, unit.dataset) == (arm, each.dataset)]
                for arm in (verdict.candidate, verdict.legacy)
            )
            if key in seen or isinstance(each.estimand, Skill):
                continue
            seen.add(key)
            metric = each.estimand.metric
            try:
                both = pair(ours, theirs, metric)
            except PairingError:
                continue
            made = each.estimand.sides(each.estimand.whole(both))
            above, below = made.means
            yield Losses(finding=each, above=above, below=below, dates=both.origin_date)

    def costs(self) -> Iterator[CostSeries]:
        """Seconds of an origin by arm and class of machine, one figure a night."""
        arms = {fit.key: cell.arm.name for cell in self.asked.cells for fit in cell.fits}
        found: dict[tuple[str, str], dict[str, list[float]]] = {}
        for row, body in self.asked.store.journal.all("part"):
            arm, spent = arms.get(body["fit"]), body["spent"]
            seconds = sum(v for k, v in spent["seconds"].items() if k not in ("fit", "total"))
            if arm is None or body["replaces"] or not spent["machine"] or not seconds:
                continue
            machine = spent["machine"]
            words = [
                said.format(machine[name]) for name, said in _MACHINE.items() if machine.get(name)
            ]
            named = f"{numbers.printable(', '.join(words))} ({machine_class(machine)})"
            of = found.setdefault((arm, named), {})
            of.setdefault(row.at[:10], []).append(seconds / len(body["cutoffs"]))
        for (arm, machine), days in sorted(found.items()):
            medians = tuple(float(np.median(values)) for values in days.values())
            yield CostSeries(arm=arm, machine=machine, days=tuple(days), seconds=medians)

    def acknowledged(self) -> list[tuple[str, str, str]]:
        """Waivers with owner and end, parts given up, and other installations, the newest first."""
        verdict, grid, store = self.verdict, self.asked.grid, self.asked.store
        fits = {fit.key: str(cell) for cell in grid.cells for fit in cell.fits}
        lines = {cell.line for cell in grid.cells}
        found = [
            (
                verdict.judged_on or "",
                f"waiver of {each.waiver.finding}: {each.waiver.reason}"
                + ("" if each.active else " (has ended)"),
                f"{each.waiver.owner}, until {each.waiver.until}",
            )
            for each in verdict.waivers
        ]
        dated = [
            (row.at[:10], f"a part of {fits[body['fit']]} was given up: {body['why']}", "")
            for row, body in store.journal.all("drop")
            if body.get("fit") in fits and not body.get("pruned")
        ]
        changes = {
            (
                row.at[:10],
                f"another installation: {body['changed']}; "
                + (
                    "the same forecasts" if body["equal"] else "other forecasts, results begin anew"
                ),
                "",
            ): None
            for row, body in store.journal.all("maintenance")
            if row.key in lines
        }
        return [*found, *sorted([*dated, *changes], reverse=True)]
