"""From a stored grid to stored verdicts: one for each legacy arm, one of which decides.

The policy's pair decides: its verdict is the exit code. Every other legacy arm gets a verdict of
its own against the same candidate, with a self-test and diagnostics of its own, for the record.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.errors import ForecastError, StoreError
from harness.evidence.diagnostics import Calibration, calibrate, diagnose
from harness.evidence.prospects import ComparesOnce
from harness.experiments.policy import Policy
from harness.gate.circumstances import circumstances_of
from harness.gate.dossier import Dossier
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
    EvidenceReading,
    PastLook,
    at_look_only,
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
from harness.judging.declared import Circumstances, JudgedGrid
from harness.judging.fact import Fact, FactCode, fact
from harness.judging.findings import Outcome
from harness.judging.selftest import self_test
from harness.judging.verdict import Verdict, conclude, gather, plain, verdict_of
from harness.running.cells import cell_record, has_cell
from harness.running.grid import Grid
from harness.running.sources import digest, harness_digest
from harness.running.store_folder import Store
from harness.scoring.scores import UnitScores


def fingerprints(asked: Dossier) -> dict[str, str]:
    """Digests of everything a verdict rests on.

    ``meaning`` is all that decides scores and how they are judged: the same meaning, the same
    numbers. ``machine`` is where the units ran: timings may differ with it, scores never.
    """
    grid, store = asked.grid, asked.store
    meant = {
        "grid": grid.digest,
        "policy": digest(plain(asked.policy)),
        "scoring": scoring_digest(),
        "code": judging_digest(),
    } | {f"data {name}": split.data for name, split in grid.splits.items()}
    with store.journal.at_rest():
        machines = [
            [dict(cell_record(store, cell).machine), cell.environment["libraries"]]
            for cell in grid.cells
            if has_cell(store, cell)
        ]
    ran_on = sorted({digest(each) for each in {repr(each): each for each in machines}.values()})
    return meant | {"meaning": digest(meant), "machine": digest(ran_on)}


def judging_digest() -> str:
    """Digest of the code that decides a verdict: this module and all of ours that it imports."""
    return harness_digest(__name__)


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


def judge_grid(grid: Grid, store: Store, *, policy: Policy, today: str | None = None) -> Judgement:
    """Score what is stored, judge every legacy arm by the policy and store the verdicts.

    A pair's last verdict is taken where nothing that it rests on has changed, code and libraries
    included; `recompute.replay` judges it again nevertheless.

    Parameters
    ----------
    today
        ISO date that waivers are held against.
    """
    asked = Dossier(grid=grid, store=store, policy=policy)
    found = scored(grid, store)
    decides = deciding_scores(asked, found)
    reading = _reading(asked, found, decides)
    if reading is not None and reading.standing is not None:
        return _as_it_stands(asked, reading.standing, decides)
    fits = {cell.key: [fit.key for fit in cell.fits] for cell in grid.cells}
    conflicting, recorded = conflicts(store, found.cells, scoring=scoring_digest(), fits=fits)
    changed = changed_since(asked, code=judging_digest())
    calibration = cache(lambda: calibrate(found.scores))
    passed = []
    for each in (asked, *asked.others):
        given = circumstances_of(
            each,
            problems=(*found.problems, *conflicting.values()),
            today=today,
            changed=changed,
        )
        if reading is not None and each is asked:
            doubts = (*given.doubts, *reading.facts)
            given = dataclasses.replace(given, doubts=doubts, look=reading.look)
        passed.append(_judged(each, found, given, calibration))
    verdict = passed[0][0]
    news = _news(asked, reading, verdict, decides)
    with store.journal.writing() if not store.journal.read_only else nullcontext():
        names = record_verdicts(
            store,
            asked.name,
            passed,
            scores=found.scores,
            recorded={*conflicting, *recorded},
        )
        if reading is not None:
            record_reading(store, reading, verdict, names[0])
    folder = store.verdict_folder(asked.name)
    head, at = passing(store, names[0])
    return Judgement(
        verdict=verdict,
        scores=at_look_only(decides, verdict.look.prospective if verdict.look else {}),
        folder=folder / names[0],
        head=head,
        at=at,
        news=(news,),
        others=tuple(
            (other, folder / name) for name, (other, _) in zip(names[1:], passed[1:], strict=True)
        ),
        former=tuple(
            folder / before
            for each, _ in passed
            for record in store.journal.records("passed", pair_key(asked.name, each))[-2:-1]
            if (before := str(store.journal.body(record)["name"])) not in names
        ),
    )


def deciding_scores(asked: Dossier, found: Scored) -> list[UnitScores]:
    """The scores that decide: of origins that no side's weights have seen."""
    return after_training(found.scores, asked.policy, asked.cards)[0]


def _reading(
    asked: Dossier, found: Scored, decides: Sequence[UnitScores]
) -> EvidenceReading | None:
    """How the scores that decide are to be read; None where some of the pair's are missing."""
    whole = all(each.scores for each in found.cells if each.arm in asked.policy.pair)
    return read_now(asked, decides) if whole and not found.problems else None


def _news(
    asked: Dossier, reading: EvidenceReading | None, verdict: Verdict, scores: Sequence[UnitScores]
) -> Fact:
    """What is new since the verdict before on the pair."""
    now = independent_of(scores)
    known = asked.store.journal.latest("passed", pair_key(asked.name, verdict)) or {}
    if reading is None or verdict.outcome is Outcome.INVALID:
        told = {"outcome": verdict.outcome.value, "before": known.get("outcome")}
        return fact(FactCode.NO_VERDICT, **told)
    if reading.look is not None:
        last, now = reading.before, dict(reading.look.origins)
        then, outcome = (last.look.origins, last.outcome) if last else ({}, None)
        if last and bool(last.look.prospective) != bool(reading.look.prospective):
            then = {}
    else:
        spans = {name: (s["first"], s["last"], "") for name, s in known.get("spans", {}).items()}
        first = {unit.dataset: unit for unit in reversed(scores)}
        then = independent_of(up_to(list(first.values()), spans))
        outcome = Outcome(known["outcome"]) if known else None
    new = max((count - then.get(name, 0) for name, count in now.items()), default=0)
    earlier = None if outcome is None else (outcome, new)
    return news_of(reading, verdict, earlier, wait=sessions_to_next(asked.grid, scores))


def _as_it_stands(asked: Dossier, taken: PastLook, scores: Sequence[UnitScores]) -> Judgement:
    """The verdict of the last look, on the scores it was passed on."""
    journal, verdict = asked.store.journal, read_verdict(asked.store, taken.verdict)
    spans = {
        each.dataset: (each.first, each.last, "")
        for each in (verdict.plan.datasets if verdict.plan else ())
    }
    if not journal.read_only:
        journal.append_new("stands", asked.name, {"verdict": taken.verdict})
    news = fact(
        FactCode.NOTHING_NEW,
        outcome=verdict.outcome.value,
        since=taken.look.until,
        wait=None if taken.ended else sessions_to_next(asked.grid, scores),
    )
    scores = at_look_only(up_to(scores, spans), taken.look.prospective)
    return _recorded(asked, taken.verdict, verdict, scores=scores, news=(news,))


def _recorded(
    asked: Dossier,
    name: str,
    verdict: Verdict,
    *,
    scores: list[UnitScores],
    news: tuple[Fact, ...] = (),
) -> Judgement:
    """A verdict of the store, with those that were passed on the other legacy arms beside it."""
    store = asked.store
    folder = store.verdict_folder(asked.name)
    family = store.journal.latest("family", name) or {"verdicts": []}
    names = [str(row["name"]) for row in family["verdicts"][1:]]
    head, at = passing(store, name)
    return Judgement(
        verdict=verdict,
        scores=scores,
        folder=folder / name,
        head=head,
        at=at,
        news=news,
        others=tuple((read_verdict(store, each), folder / each) for each in names),
    )


def scored(grid: Grid, store: Store) -> Scored:
    """Score what is stored; a cell that cannot be read is named, and the others go on."""
    truths = truths_of(grid, store)
    scores: list[UnitScores] = []
    cells: list[CellInput] = []
    problems: list[Fact] = []
    with store.journal.at_rest():
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
            found = CellInput(
                arm=cell.arm.name,
                role=cell.arm.role,
                dataset=cell.dataset,
                seed=cell.seed,
                unit=cell.key,
                line=cell.line,
            )
            if unit is not None:
                scores.append(unit.scores)
                found = dataclasses.replace(
                    found,
                    slot=cell.slot,
                    forecasts=unit.forecasts,
                    truth=unit.scores.truth_digest,
                    scores=scores_digest(unit.scores),
                    failures=unit.scores.failures,
                    machine=cell_record(store, cell).machine,
                )
            cells.append(found)
    return Scored(scores=scores, cells=tuple(cells), problems=tuple(problems))


def _judged(
    asked: Dossier, found: Scored, given: Circumstances, calibration: Callable[[], Calibration]
) -> tuple[Verdict, Inputs]:
    """Judge one pair, and the gate itself on it."""
    inputs = Inputs(cells=found.cells, given=given, scoring=scoring_digest())
    marks = fingerprints(asked) | {"inputs": inputs.digest}
    known = last_on_pair(asked.store, asked.name, asked.policy)
    if known and known.fingerprints == marks and known.judged_on == given.today:
        return known, inputs
    given = dataclasses.replace(given, fingerprints=marks)
    made = verdict_from(asked.policy, inputs, found.scores, given=given, calibration=calibration())
    return verdict_of(plain(made), where="verdict"), inputs  # as the record gives it


def verdict_from(
    policy: Policy,
    inputs: Inputs,
    scores: Sequence[UnitScores],
    *,
    given: Circumstances,
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
    if given.look is not None and given.look.prospective:
        calibration, scores = None, at_look_only(scores, given.look.prospective)
    ask = ComparesOnce()
    grid = JudgedGrid(policy=policy, declared=declared, scores=scores, given=given)
    evidence = gather(grid, ask=ask)
    diagnostics = diagnose(
        scores,
        candidate=policy.candidate,
        legacy=policy.baseline,
        metrics=list(dict.fromkeys(rule.metric for rule in policy.criteria)),
        alpha=policy.alpha,
        calibration=calibration,
    )
    tested = self_test(evidence, ask=ask)
    return conclude(evidence, self_test=tested, diagnostics=diagnostics)


def stored_judgement(grid: Grid, store: Store) -> Judgement:
    """Read the experiment's last verdict with the scores it was judged from.

    Raises
    ------
    StoreError
        When there is none, or grid or scores are others by now.
    """
    experiment = grid.experiment
    name = standing(store, experiment.name)
    folder = store.verdict_folder(experiment.name) / name
    if not name:
        raise StoreError(
            f"{store.root}: no verdict yet on '{experiment.name}'; `abharness gate` makes one"
        )
    verdict = read_verdict(store, name)
    found = scored(grid, store)
    if verdict.look is not None:
        policy = experiment.policy_on(baseline=verdict.legacy, candidate=verdict.candidate)
        asked = Dossier(grid=grid, store=store, policy=policy)
        decides = deciding_scores(asked, found)
        reading = _reading(asked, found, decides)
        if reading is not None and reading.standing and reading.standing.verdict == name:
            return _as_it_stands(asked, reading.standing, decides)
    if verdict.fingerprints.get("grid") != grid.digest:
        raise StoreError(
            f"{folder}: the last verdict of '{experiment.name}' was judged on a grid other than "
            "the one the experiment now declares; run `abharness gate` first"
        )
    inputs = read_inputs(store, name)
    others = changed(inputs.cells, found.cells)
    if others:
        raise StoreError(
            f"{folder}: the scores in the store have changed since the last verdict of "
            f"'{experiment.name}': {'; '.join(map(str, others))}; run `abharness gate` first"
        )
    policy = dataclasses.replace(
        experiment.policy, baseline=verdict.legacy, candidate=verdict.candidate
    )
    decides = after_training(found.scores, policy, inputs.given.cards)[0]
    only = verdict.look.prospective if verdict.look else {}
    asked = Dossier(grid=grid, store=store, policy=policy)
    return _recorded(asked, name, verdict, scores=at_look_only(decides, only))
