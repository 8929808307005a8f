"""From a stored grid to stored verdicts: one for each legacy arm, one of which decides.

The policy's pair decides: its verdict is the exit code. Every other legacy arm gets a verdict of
its own against the same candidate, with a self-test and diagnostics of its own, for the record.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from harness.checks.asked_again import NEEDED, asked_fits, is_exempt
from harness.checks.predicate import CheckResult
from harness.checks.stored_checks import read_checks
from harness.errors import ConfigError, ForecastError, StoreError
from harness.evidence.comparison import ComparesOnce
from harness.evidence.diagnostics import Calibration, calibrate, diagnose
from harness.experiments.experiment import builtin_names, read_experiment
from harness.experiments.policy import Policy
from harness.gate.history import (
    CellInput,
    Inputs,
    changed,
    conflicts,
    last_on_pair,
    pair_key,
    passing,
    read_inputs,
    read_verdict,
    record_verdicts,
    scores_digest,
    standing,
)
from harness.gate.looks import (
    Reading,
    independent_of,
    news_of,
    read_now,
    record_reading,
    sessions_to_next,
    up_to,
)
from harness.gate.registration import changed_since
from harness.gate.seen_in_training import after_training
from harness.gate.stored_scores import (
    CellScores,
    score_cell,
    scoring_digest,
    truths_of,
)
from harness.judging.declared import FutureTests, Given, OriginPlan, PlanRecord
from harness.judging.fact import Fact, FactCode, fact
from harness.judging.findings import Outcome
from harness.judging.selftest import self_test
from harness.judging.verdict import Verdict, conclude, from_json, gather, plain, to_json
from harness.measure.record import read_costs
from harness.running.cells import cell_record, has_cell, issued_in_time
from harness.running.grid import Grid, GridCell
from harness.running.sources import digest, harness_digest
from harness.running.split import Split
from harness.running.store_folder import Store
from harness.scoring.scores import UnitScores
from harness.window import Dates, RollingOrigin

FUTURE = "T10"
"""The predicate of the battery that says whether an arm sees past its origin."""


def given_of(
    grid: Grid,
    store: Store,
    policy: Policy,
    *,
    problems: Sequence[Fact],
    today: str | None,
    changed: Fact | None,
) -> Given:
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
    costs = read_costs(store, grid, baseline=policy.baseline, candidate=policy.candidate)
    wanted = policy.limits.costs
    return Given(
        stride={name: split.plan.stride for name, split in grid.splits.items()},
        room={name: room_of(split) for name, split in grid.splits.items()},
        ended=tuple(n for n, split in grid.splits.items() if split.dataset.manifest.ended),
        larger=_larger(grid, policy),
        costs={k: v for k, v in costs.items.items() if k in wanted and not costs.reason},
        cards=_cards(grid, store, policy),
        futures=futures(grid, store, policy),
        doubts=(
            *_picked_seeds(grid, policy),
            *_single_seeds(grid, policy),
            *_given_up(grid, store),
            *_past(policy, today),
        ),
        changed=changed,
        problems=tuple(problems),
        today=today if policy.waivers else None,
        measure=f"abharness measure {Path(grid.experiment.source).name}",
        plan=_plan(grid, store, policy),
    )


def _cards(grid: Grid, store: Store, policy: Policy) -> dict[str, dict[str, str]]:
    """What the pair says of itself, from the first stored unit of each."""
    found: dict[str, dict[str, str]] = {}
    for cell in grid.cells:
        name = cell.arm.name
        judged = name in (policy.baseline, policy.candidate) and name not in found
        if judged and has_cell(store, cell):
            found[name] = dict(cell_record(store, cell).card)
    return found


def tried_for_future(grid: Grid, store: Store) -> dict[str, CheckResult]:
    """What the battery said of each arm it tried: that later sessions change no forecast."""
    found: dict[str, CheckResult] = {}
    files = {cell.arm.name: digest(cell.identity["weights"]) for cell in grid.cells}
    for record in read_checks(store):
        said = record.result(FUTURE)
        for arm in grid.experiment.arms:
            same = record.use == arm.use and dict(record.options) == dict(arm.options)
            same = same and record.weights == files.get(arm.name)
            if not same or record.kind != "arm" or not record.current or said is None:
                continue
            found[arm.name] = said
    return found


def futures(grid: Grid, store: Store, policy: Policy) -> dict[str, FutureTests]:
    """What was tested of both sides, whether they can have used the future.

    The battery's predicate, one its subject gives no answer to is as good as not tried; and every
    fit that was asked again. Records played back are exempt where they say when they were issued.
    """
    tried = tried_for_future(grid, store)
    found = {}
    for arm in (policy.baseline, policy.candidate):
        cells = [cell for cell in grid.cells if cell.arm.name == arm and has_cell(store, cell)]
        if cells and all(is_exempt(cell, store) for cell in cells):
            found[arm] = FutureTests(passed=("records issued in time",))
            continue
        said = {FUTURE: tried[arm].outcome} if arm in tried else {}
        failed = [fact(FactCode.FAILED_T10, arm=arm)] if said.get(FUTURE) == "fail" else []
        states: dict[str, set[str]] = {way: set() for way in NEEDED}
        known = asked_fits(store, cells)
        for cell in cells:
            for fit in cell.fits:
                asked = known.get(fit.key)
                there = {each.way: each for each in asked.found} if asked else {}
                for way in NEEDED:
                    states[way].add(there[way].state if way in there else "not tested")
                failed += [
                    fact(
                        FactCode.ASKED_OTHERWISE,
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


def _single_seeds(grid: Grid, policy: Policy) -> tuple[Fact, ...]:
    """Each arm of the pair that another seed would change, where one was declared."""
    if len(grid.experiment.run.seeds) > 1:
        return ()
    return tuple(fact(FactCode.ONE_SEED, arm=name) for name in _seeded(grid, policy))


def _seeded(grid: Grid, policy: Policy) -> list[str]:
    """Arms of the pair that a seed matters to, in the order of the experiment."""
    pair = (policy.baseline, policy.candidate)
    mine = [cell for cell in grid.cells if cell.arm.name in pair and cell.known.seeded]
    return list(dict.fromkeys(cell.arm.name for cell in mine))


def _past(policy: Policy, today: str | None) -> tuple[Fact, ...]:
    """That waivers are held against a day that is over: it may have been chosen for them."""
    if not policy.waivers or today is None or today >= datetime.now(UTC).date().isoformat():
        return ()
    return (fact(FactCode.DATE_PAST, date=today),)


def _picked_seeds(grid: Grid, policy: Policy) -> tuple[Fact, ...]:
    """That other seeds were run than the experiment declares, if a seed matters."""
    ran, declared = grid.experiment.run.seeds, grid.experiment.declared_seeds
    if set(ran) == set(declared) or not _seeded(grid, policy):
        return ()
    both = {"ran": tuple(sorted(ran)), "declared": tuple(sorted(declared))}
    return (fact(FactCode.HAND_PICKED_SEEDS, **both),)


def _given_up(grid: Grid, store: Store) -> Iterator[Fact]:
    """Each cell of which a damaged part was given up."""
    drops = [body for _, body in store.journal.all("drop") if not body.get("pruned")]
    for cell in grid.cells if drops else ():
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


def fingerprints(grid: Grid, store: Store, policy: Policy) -> dict[str, str]:
    """Digests of everything a verdict rests on.

    ``meaning`` is all that decides scores and how they are judged: the same meaning, the same
    numbers. ``machine`` is where the units ran: timings may differ with it, scores never.
    """
    meant = {
        "grid": grid.digest,
        "policy": digest(plain(policy)),
        "scoring": scoring_digest(),
        "code": judging_digest(),
    } | {f"data {name}": split.data for name, split in grid.splits.items()}
    machines = [_machine(cell, store) for cell in grid.cells if has_cell(store, cell)]
    return meant | {"meaning": digest(meant), "machine": digest(sorted(set(machines)))}


def judging_digest() -> str:
    """Digest of the code that decides a verdict: this module and all of ours that it imports."""
    return harness_digest(__name__)


def _machine(cell: GridCell, store: Store) -> str:
    return digest([dict(cell_record(store, cell).machine), cell.environment["libraries"]])


def _plan(grid: Grid, store: Store, policy: Policy) -> PlanRecord:
    pair = (policy.baseline, policy.candidate)
    mine = [cell for cell in grid.cells if cell.arm.name in pair and has_cell(store, cell)]
    in_time = {
        name: [set(issued_in_time(store, [cell])) for cell in mine if cell.dataset == name]
        for name in grid.splits
    }
    return PlanRecord(
        experiment=grid.experiment.name,
        seeds=tuple(grid.experiment.run.seeds),
        datasets=tuple(
            _origins(name, split, len(set.intersection(*in_time[name])) if in_time[name] else 0)
            for name, split in grid.splits.items()
        ),
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
            for record in store.journal.records("maintenance", cell.line)
            for body in [store.journal.body(record)]
        ),
    )


def _origins(name: str, split: Split, prospective: int) -> OriginPlan:
    dates = split.dataset.series.dates[split.windows.origin]
    plan = split.plan
    return OriginPlan(
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
        prospective=prospective,
    )


def _larger(grid: Grid, policy: Policy) -> tuple[str, int] | None:
    """The built-in experiment on the same pair that has more independent origins, if any."""
    asked = grid.experiment
    if asked.source not in builtin_names():
        return None
    dates = {name: split.dataset.series.dates for name, split in grid.splits.items()}
    now = min(_independent(plan, dates[name]) for name, plan in asked.plans.items())
    found = []
    for name in builtin_names():
        other = read_experiment(name)
        pair = (other.policy.baseline, other.policy.candidate)
        if pair == (policy.baseline, policy.candidate) and set(asked.plans) <= set(other.plans):
            counts = [_independent(other.plans[each], dates[each]) for each in asked.plans]
            found.append((min(counts), name))
    origins, name = max(found, default=(0, ""))
    return (name, origins) if origins > now else None


def _independent(plan: RollingOrigin, dates: Dates) -> int:
    """Non-overlapping origins of a plan on a series; 0 where it does not fit."""
    try:
        origins = len(plan.over(dates).origin)
    except ConfigError:
        return 0
    return origins * plan.stride // max(plan.stride, plan.gap + plan.horizon)


def room_of(split: Split) -> int:
    """Independent origins that raising the plan's `origins` could add."""
    plan, origin = split.plan, split.windows.origin
    if plan.first is None:  # counted back from the end: more origins start earlier
        rows = int(origin[0]) - (plan.history or plan.validation + 2)
    else:
        rows = len(split.dataset) - plan.gap - plan.horizon - int(origin[-1])
    return max(0, rows) // max(plan.stride, plan.gap + plan.horizon)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict, what it was judged from, and where it lies.

    Attributes
    ----------
    scores
        One per cell that is in the store and can be read.
    folder
        For what is drawn from it; named after the verdict.
    head, at
        The journal's head when it was passed, and the time (UTC, ISO); '' where not recorded.
    news
        What is new since the verdict before; empty where nobody asked.
    others
        Verdicts of the same candidate against the other legacy arms, with their folders.
    former
        Folders of the verdicts that these replaced.
    """

    verdict: Verdict
    scores: list[UnitScores]
    folder: Path
    head: str
    at: str = ""
    news: tuple[Fact, ...] = ()
    others: tuple[tuple[Verdict, Path], ...] = ()
    former: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What there is of a grid.

    Attributes
    ----------
    scores
        Of every cell that is stored and can be read.
    cells
        Every declared cell, with where its scores lie.
    problems
        Cells that are stored and cannot be read.
    """

    scores: list[UnitScores]
    cells: tuple[CellInput, ...]
    problems: tuple[Fact, ...]


def with_pair(policy: Policy, grid: Grid, *, baseline: str | None, candidate: str | None) -> Policy:
    """Choose another pair of arms to judge.

    Raises
    ------
    ConfigError
        When the experiment has no arm of that name.
    """
    names = [arm.name for arm in grid.experiment.arms]
    for flag, name in (("--baseline-arm", baseline), ("--candidate-arm", candidate)):
        if name is not None and name not in names:
            raise ConfigError(f"{flag} '{name}': no such arm; there are {', '.join(names)}")
    return dataclasses.replace(
        policy, baseline=baseline or policy.baseline, candidate=candidate or policy.candidate
    )


def judge_grid(
    grid: Grid, store: Store, *, policy: Policy, today: str | None = None, reuse: bool = False
) -> Judgement:
    """Score what is stored, judge every legacy arm by the policy and store the verdicts.

    Parameters
    ----------
    today
        ISO date that waivers are held against.
    reuse
        Take a pair's last verdict where nothing it rests on has changed, code included.
    """
    found = scored(grid, store)
    name = grid.experiment.name
    reading = _reading(grid, store, policy, found)
    if reading is not None and reading.standing is not None:
        return _as_it_stands(grid, store, reading, deciding_scores(grid, store, policy, found))
    fits = {cell.key: [fit.key for fit in cell.fits] for cell in grid.cells}
    conflicting = conflicts(store, found.cells, scoring=scoring_digest(), fits=fits)
    asked = _Asked(
        problems=(*found.problems, *conflicting.values()),
        changed=changed_since(grid, store, policy, code=judging_digest()),
        today=today,
        reuse=reuse,
        calibration=cache(lambda: calibrate(found.scores)),
    )
    mine = dataclasses.replace(asked, reading=reading)
    passed = [
        _judged(grid, store, each, found, asked if place else mine)
        for place, each in enumerate(_family(grid, policy))
    ]
    kept = deciding_scores(grid, store, policy, found)
    news = _news(grid, store, reading, passed[0][0], kept)
    with store.journal.writing() if not store.journal.read_only else nullcontext():
        names = record_verdicts(
            store,
            name,
            passed,
            scores=found.scores,
            conflicting=conflicting,
        )
        if reading is not None:
            record_reading(store, reading, passed[0][0], names[0])
    head, at = passing(store, names[0])
    first, *others = [
        (verdict, store.verdict_folder(name) / each)
        for each, (verdict, _) in zip(names, passed, strict=True)
    ]
    return Judgement(
        verdict=first[0],
        scores=after_training(found.scores, policy, passed[0][1].given.cards)[0],
        folder=first[1],
        head=head,
        at=at,
        news=(news,),
        others=tuple(others),
        former=tuple(
            store.verdict_folder(name) / before
            for verdict, _ in passed
            for before in _former(store, name, verdict)
            if before not in names
        ),
    )


def _reading(grid: Grid, store: Store, policy: Policy, found: Scored) -> Reading | None:
    """How the scores are to be read; None where some of the pair's are missing."""
    pair = (policy.candidate, policy.baseline)
    whole = all(each.scores for each in found.cells if each.arm in pair)
    if not whole or found.problems:
        return None
    return read_now(grid, store, policy, deciding_scores(grid, store, policy, found))


def deciding_scores(grid: Grid, store: Store, policy: Policy, found: Scored) -> list[UnitScores]:
    """The scores that decide: of origins that no side's weights have seen."""
    return after_training(found.scores, policy, _cards(grid, store, policy))[0]


def _news(
    grid: Grid,
    store: Store,
    reading: Reading | None,
    verdict: Verdict,
    scores: Sequence[UnitScores],
) -> Fact:
    """What is new since the verdict before on the pair."""
    now = independent_of(scores)
    if reading is None:
        former = store.journal.latest("passed", pair_key(grid.experiment.name, verdict)) or {}
        told = {"outcome": verdict.outcome.value, "before": former.get("outcome")}
        return fact(FactCode.NO_VERDICT, **told)
    if reading.look is not None:
        last = reading.before
        then, outcome = (last.look.origins, last.outcome) if last else ({}, None)
    else:
        known = store.journal.latest("passed", pair_key(grid.experiment.name, verdict)) or {}
        spans = {name: (s["first"], s["last"], "") for name, s in known.get("spans", {}).items()}
        then = independent_of(up_to(scores, spans))
        outcome = Outcome(known["outcome"]) if known else None
    new = max((count - then.get(name, 0) for name, count in now.items()), default=0)
    earlier = None if outcome is None else (outcome, new)
    return news_of(reading, verdict, earlier, wait=sessions_to_next(grid, scores))


def _as_it_stands(
    grid: Grid, store: Store, reading: Reading, scores: Sequence[UnitScores]
) -> Judgement:
    """The verdict of the last look, on the scores it was passed on."""
    taken = reading.standing
    assert taken is not None
    name, verdict = taken.verdict, read_verdict(store, taken.verdict)
    folder = store.verdict_folder(grid.experiment.name)
    spans = {
        each.dataset: (each.first, each.last, "")
        for each in (verdict.plan.datasets if verdict.plan else ())
    }
    family = store.journal.latest("family", name) or {"verdicts": []}
    names = [str(row["name"]) for row in family["verdicts"][1:]]
    if not store.journal.read_only:
        store.journal.append_new("stands", grid.experiment.name, {"verdict": name})
    head, at = passing(store, name)
    return Judgement(
        verdict=verdict,
        scores=up_to(scores, spans),
        folder=folder / name,
        head=head,
        at=at,
        news=(
            fact(
                FactCode.NOTHING_NEW,
                outcome=verdict.outcome.value,
                since=taken.look.until,
                wait=None if taken.ended else sessions_to_next(grid, scores),
            ),
        ),
        others=tuple((read_verdict(store, each), folder / each) for each in names),
    )


def _former(store: Store, experiment: str, verdict: Verdict) -> list[str]:
    """Name of the verdict before the last one on a pair."""
    records = store.journal.records("passed", pair_key(experiment, verdict))[-2:-1]
    return [str(store.journal.body(record)["name"]) for record in records]


def scored(grid: Grid, store: Store) -> Scored:
    """Score what is stored; a cell that cannot be read is named, and the others go on."""
    truths = truths_of(grid, store)
    scores: list[UnitScores] = []
    cells: list[CellInput] = []
    problems: list[Fact] = []
    for cell in grid.cells:
        unit: CellScores | None = None
        try:
            if has_cell(store, cell):
                unit = score_cell(cell, store, truths[cell.dataset])
        except (StoreError, ForecastError) as problem:
            problems.append(
                fact(
                    FactCode.UNIT_UNREADABLE,
                    arm=cell.arm.name,
                    dataset=cell.dataset,
                    seed=cell.seed,
                    problem=str(problem),
                )
            )
        cells.append(_cell_input(cell, unit, store))
        scores += [unit.scores] if unit else []
    return Scored(scores=scores, cells=tuple(cells), problems=tuple(problems))


def _cell_input(cell: GridCell, found: CellScores | None, store: Store) -> CellInput:
    plainly = CellInput(
        arm=cell.arm.name,
        role=cell.arm.role,
        dataset=cell.dataset,
        seed=cell.seed,
        unit=cell.key,
        line=cell.line,
    )
    if found is None:
        return plainly
    return dataclasses.replace(
        plainly,
        slot=found.slot,
        forecasts=found.forecasts,
        truth=found.scores.truth_digest,
        scores=scores_digest(found.scores),
        failures=found.scores.failures,
        machine=cell_record(store, cell).machine,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What all verdicts of a call share."""

    problems: tuple[Fact, ...]
    changed: Fact | None
    today: str | None
    reuse: bool
    calibration: Callable[[], Calibration]
    reading: Reading | None = None


def _family(grid: Grid, policy: Policy) -> list[Policy]:
    """The policy, which decides, then the same for every other legacy arm."""
    others = [
        arm.name
        for arm in grid.experiment.arms
        if arm.role == "legacy" and arm.name not in (policy.baseline, policy.candidate)
    ]
    return [policy, *(_against(policy, name) for name in others)]


def _against(policy: Policy, baseline: str) -> Policy:
    """The same policy on another legacy arm, which is no reference for itself."""
    reference = None if policy.reference == baseline else policy.reference
    return dataclasses.replace(policy, baseline=baseline, reference=reference)


def _judged(
    grid: Grid, store: Store, policy: Policy, found: Scored, asked: _Asked
) -> tuple[Verdict, Inputs]:
    """Judge one pair, and the gate itself on it."""
    given = given_of(
        grid, store, policy, problems=asked.problems, today=asked.today, changed=asked.changed
    )
    if asked.reading is not None:
        doubts = (*given.doubts, *asked.reading.facts)
        given = dataclasses.replace(given, doubts=doubts, look=asked.reading.look)
    inputs = Inputs(cells=found.cells, given=given, scoring=scoring_digest())
    given = dataclasses.replace(
        given, fingerprints=fingerprints(grid, store, policy) | {"inputs": inputs.digest}
    )
    known = _known(store, grid.experiment.name, policy, given) if asked.reuse else None
    if known is not None:
        return known, inputs
    calibration = asked.calibration()
    made = verdict_from(policy, inputs, found.scores, given=given, calibration=calibration)
    return from_json(to_json(made)), inputs  # as the record gives it, order of keys included


def _known(store: Store, experiment: str, policy: Policy, given: Given) -> Verdict | None:
    """The last verdict on a pair, if it rests on the same in every respect."""
    name = last_on_pair(store, experiment, policy)
    if not name:
        return None
    verdict = read_verdict(store, name)
    same = verdict.fingerprints == given.fingerprints and verdict.judged_on == given.today
    return verdict if same else None


def verdict_from(
    policy: Policy,
    inputs: Inputs,
    scores: Sequence[UnitScores],
    *,
    given: Given,
    calibration: Calibration | None = None,
) -> Verdict:
    """Judge recorded inputs, and the gate itself on them: what `gate` and `replay` share.

    Parameters
    ----------
    calibration
        Of the same scores, where another pair had it made already.
    """
    declared = [each.cell for each in inputs.cells]
    scores, facts, unjudged = after_training(scores, policy, given.cards)
    if facts or unjudged:
        calibration = None
        given = dataclasses.replace(
            given, doubts=(*given.doubts, *facts), problems=(*given.problems, *unjudged)
        )
    ask = ComparesOnce()
    evidence = gather(policy, declared, scores, given, ask=ask)
    diagnostics = diagnose(
        scores,
        candidate=policy.candidate,
        legacy=policy.baseline,
        metrics=list(dict.fromkeys(rule.metric for rule in policy.criteria)),
        alpha=policy.alpha,
        calibration=calibration,
    )
    tested = self_test(evidence, declared, scores, ask=ask)
    return conclude(evidence, self_test=tested, diagnostics=diagnostics)


def stored_judgement(grid: Grid, store: Store) -> Judgement:
    """Read the experiment's last verdict with the scores it was judged from.

    Raises
    ------
    StoreError
        When there is none, or grid or scores are others by now.
    """
    experiment = grid.experiment.name
    name = standing(store, experiment)
    folder = store.verdict_folder(experiment) / name
    if not name:
        raise StoreError(
            f"{store.root}: no verdict yet on '{experiment}'; `abharness gate` makes one"
        )
    verdict = read_verdict(store, name)
    found = scored(grid, store)
    if verdict.look is not None:
        policy = with_pair(
            grid.experiment.policy, grid, baseline=verdict.legacy, candidate=verdict.candidate
        )
        reading = _reading(grid, store, policy, found)
        if reading is not None and reading.standing and reading.standing.verdict == name:
            return _as_it_stands(grid, store, reading, deciding_scores(grid, store, policy, found))
    if verdict.fingerprints.get("grid") != grid.digest:
        raise StoreError(
            f"{folder}: the last verdict of '{experiment}' is on another grid than the "
            "experiment declares now; run `abharness gate` first"
        )
    inputs = read_inputs(store, name)
    others = changed(inputs.cells, found.cells)
    if others:
        raise StoreError(
            f"{folder}: the store holds other scores by now than the last verdict of "
            f"'{experiment}' was judged from: {'; '.join(map(str, others))}; run "
            "`abharness gate` first"
        )
    policy = dataclasses.replace(
        grid.experiment.policy, baseline=verdict.legacy, candidate=verdict.candidate
    )
    family = store.journal.latest("family", name) or {"verdicts": []}
    names = [str(row["name"]) for row in family["verdicts"][1:]]
    head, at = passing(store, name)
    return Judgement(
        verdict=verdict,
        scores=after_training(found.scores, policy, inputs.given.cards)[0],
        folder=folder,
        head=head,
        at=at,
        others=tuple((read_verdict(store, each), folder.parent / each) for each in names),
    )
