"""What a verdict on a pair is given besides its scores: costs, cards, tests, the plan, doubts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from shlex import quote

from harness.checks.blindness import NEEDED, asked_fits, is_exempt, judging_fits
from harness.checks.predicate import CheckResult
from harness.checks.stored_checks import read_checks
from harness.errors import ConfigError
from harness.experiments.experiment import builtin_names, read_experiment
from harness.gate.dossier import Dossier
from harness.judging.declared import (
    Circumstances,
    FutureTests,
    LargerPlan,
    OriginPlan,
    PlanRecord,
)
from harness.judging.fact import Fact, FactCode, fact
from harness.measure.record import read_costs
from harness.running.cells import issued_in_time
from harness.running.grid import Grid
from harness.running.sources import digest
from harness.running.split import Split
from harness.running.store_folder import Store
from harness.window import RollingOrigin

FUTURE = "T10"
"""The predicate of the battery that says whether an arm sees past its origin."""


def circumstances_of(
    asked: Dossier, *, problems: Sequence[Fact], today: str | None, changed: Fact | None
) -> Circumstances:
    """Gather what a verdict on a pair rests on besides its scores, without fingerprints.

    Parameters
    ----------
    problems
        What allows no conclusion, found by the caller.
    today
        ISO date for the waivers.
    changed
        That something was asked otherwise before the first result.
    """
    grid, policy, wanted = asked.grid, asked.policy, asked.policy.limits.costs
    costs = read_costs(asked.store, grid, baseline=policy.baseline, candidate=policy.candidate)
    past = policy.waivers and today is not None and today < datetime.now(UTC).date().isoformat()
    return Circumstances(
        stride={name: split.plan.stride for name, split in grid.splits.items()},
        room={name: room_of(split) for name, split in grid.splits.items()},
        ended=tuple(n for n, split in grid.splits.items() if split.dataset.manifest.ended),
        larger=_larger(asked),
        costs={k: v for k, v in costs.items.items() if k in wanted and not costs.unreadable},
        cards=asked.cards,
        futures=futures(asked),
        doubts=(
            *_doubts(asked),
            *([fact(FactCode.DATE_PAST, date=today)] if past else []),
        ),
        changed=changed,
        problems=tuple(problems),
        today=today if policy.waivers else None,
        experiment=quote(Path(grid.experiment.source).name),
        counted=tuple(n for n, plan in grid.experiment.plans.items() if plan.first is None),
        plan=_plan(asked),
    )


def tried_for_future(grid: Grid, store: Store) -> dict[str, CheckResult]:
    """What the battery said of each arm it tried: that later sessions change no forecast."""
    found: dict[str, CheckResult] = {}
    weights = {cell.arm.name: cell.identity["weights"] for cell in grid.cells}
    files = {arm: digest(found) for arm, found in weights.items()}
    for record in read_checks(store):
        said = record.result(FUTURE)
        for arm in grid.experiment.arms:
            same = record.use == arm.use and dict(record.options) == dict(arm.options)
            same = same and record.weights == files.get(arm.name)
            if not same or record.kind != "arm" or not record.current or said is None:
                continue
            found[arm.name] = said
    return found


def futures(asked: Dossier) -> dict[str, FutureTests]:
    """What was tested of both sides, whether they can have used the future.

    The battery's predicate, one its subject gives no answer to is as good as not tried; and every
    fit that was asked again. Records played back are exempt where they say when they were issued.
    """
    tried, store = tried_for_future(asked.grid, asked.store), asked.store
    found = {}
    for arm in asked.policy.pair:
        cells = [cell for cell in asked.stored if cell.arm.name == arm]
        if cells and all(is_exempt(cell, store) for cell in cells):
            word = (fact(FactCode.RECORDS_WORD, arm=arm),) if arm == asked.policy.candidate else ()
            found[arm] = FutureTests(passed=("records issued in time",), doubts=word)
            continue
        said = {FUTURE: tried[arm].outcome} if arm in tried else {}
        failed = [fact(FactCode.FAILED_T10, arm=arm)] if said.get(FUTURE) == "fail" else []
        states: dict[str, set[str]] = {way: set() for way in NEEDED}
        known = asked_fits(store, cells)
        for cell in cells:
            for fit in judging_fits(cell):
                again = known.get(fit.key)
                there = {each.way: each for each in again.found} if again else {}
                for way in NEEDED:
                    states[way].add(there[way].state if way in there else "not tested")
                failed += [
                    fact(
                        FactCode.NOT_REPEATABLE
                        if again is not None and again.repeats is False
                        else FactCode.ASKED_OTHERWISE,
                        arm=arm,
                        way=each.way,
                        dataset=cell.dataset,
                        seed=cell.seed,
                        at=each.at,
                        apart=each.apart,
                    )
                    for each in there.values()
                    if each.state == "failed"
                ]
        doubts = [
            fact(
                FactCode.PLACEBO_DOUBTS,
                arm=arm,
                dataset=held.dataset,
                reference=held.reference,
                skill=held.skill,
                placebo=held.placebo,
            )
            for held in (each.placebo for each in known.values())
            if held is not None and held.doubted
        ]
        passed = [way for way, seen in states.items() if seen == {"passed"}]
        passed += [FUTURE] if said.get(FUTURE) == "pass" else []
        missing = [way for way in (FUTURE, *NEEDED) if way not in passed]
        found[arm] = FutureTests(
            passed=tuple(passed),
            missing=tuple(missing),
            failed=tuple(failed),
            doubts=tuple(doubts),
        )
    return found


def _doubts(asked: Dossier) -> Iterator[Fact]:
    """That a seed matters and others ran than are declared, or only one did; parts given up."""
    experiment = asked.grid.experiment
    ran, declared = experiment.run.seeds, experiment.declared_seeds
    drawing = list(dict.fromkeys(cell.arm.name for cell in asked.cells if cell.known.seeded))
    if drawing and set(ran) != set(declared):
        both = {"ran": tuple(sorted(ran)), "declared": tuple(sorted(declared))}
        yield fact(FactCode.HAND_PICKED_SEEDS, **both)
    if len(ran) == 1:
        yield from (fact(FactCode.ONE_SEED, arm=name) for name in drawing)
    drops = [body for _, body in asked.store.journal.all("drop") if not body.get("pruned")]
    for cell in asked.grid.cells if drops else ():
        fits = {fit.key for fit in cell.fits}
        for body in drops:
            if body.get("fit") in fits:
                yield fact(
                    FactCode.PART_GIVEN_UP,
                    arm=cell.arm.name,
                    dataset=cell.dataset,
                    seed=cell.seed,
                    why=str(body["why"]),
                )


def _plan(asked: Dossier) -> PlanRecord:
    grid, journal, mine = asked.grid, asked.store.journal, asked.stored
    in_time = {
        name: [set(issued_in_time(asked.store, [each])) for each in mine if each.dataset == name]
        for name in grid.splits
    }
    origins = []
    for name, split in grid.splits.items():
        dates = split.dataset.series.dates[split.windows.origin]
        plan = split.plan
        origins.append(
            OriginPlan(
                dataset=name,
                origins=len(split.windows),
                first=str(dates[0]),
                last=str(dates[-1]),
                stride=plan.stride,
                horizon=plan.horizon,
                gap=plan.gap,
                fits=len(list(split.windows.segments())),
                refit=plan.refit,
                skipped=split.dataset.skipped if plan.skip_repeats else None,
                prospective=len(set.intersection(*in_time[name])) if in_time[name] else 0,
            )
        )
    return PlanRecord(
        experiment=asked.name,
        seeds=tuple(grid.experiment.run.seeds),
        datasets=tuple(origins),
        maintenance=tuple(
            fact(
                FactCode.MAINTENANCE,
                arm=cell.arm.name,
                dataset=cell.dataset,
                seed=cell.seed,
                day=record.at[:10],
                changed=str(body["changed"]),
                origins=int(body["origins"]),
                equal=bool(body["equal"]),
                apart=str(body["difference"]),
            )
            for cell in mine
            for record in journal.records("maintenance", cell.line)
            for body in [journal.body(record)]
        ),
    )


_read_builtin = cache(read_experiment)


def _larger(dossier: Dossier) -> LargerPlan | None:
    """The built-in experiment on the same pair that has the most independent origins, if more."""
    grid, asked = dossier.grid, dossier.grid.experiment
    if asked.source not in builtin_names():
        return None
    dates = {name: split.dataset.series.dates for name, split in grid.splits.items()}

    def origins_of(plans: Mapping[str, RollingOrigin]) -> dict[str, int]:
        """Non-overlapping origins of plans on today's series; 0 where one does not fit."""
        found = dict.fromkeys(asked.plans, 0)
        for name in asked.plans:
            plan = plans[name]
            with suppress(ConfigError):
                origins = len(plan.over(dates[name]).origin)
                found[name] = origins * plan.stride // max(plan.stride, plan.gap + plan.horizon)
        return found

    most, found = min(origins_of(asked.plans).values()), None
    for name in builtin_names():
        other = _read_builtin(name)
        same = other.policy.pair == dossier.policy.pair
        if not same or not set(asked.plans) <= set(other.plans):
            continue
        origins = origins_of(other.plans)
        if min(origins.values()) > most:
            most = min(origins.values())
            found = LargerPlan(
                name=name,
                origins=origins,
                seeds=len(other.run.seeds),
                bounds={rule.id: rule.bound for rule in other.policy.rules},
            )
    return found


def room_of(split: Split) -> int:
    """Independent origins that raising the plan's `origins` could add."""
    plan, origin = split.plan, split.windows.origin
    if plan.first is None:  # counted back from the end: more origins start earlier
        rows = int(origin[0]) - (plan.history or plan.validation + 2)
    else:
        rows = len(split.dataset) - plan.gap - plan.horizon - int(origin[-1])
    return max(0, rows) // max(plan.stride, plan.gap + plan.horizon)
