"""Whether a conclusion is allowed at all: completeness, pairing, failures, standing."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from harness.costs import Cost
from harness.evidence.pairing import LARGEST
from harness.experiments.policy import Policy
from harness.judging.wording import percent
from harness.scoring.metrics import AGGREGATES
from harness.scoring.scores import Flags, UnitScores
from harness.scoring.summary import MetricSummary, skill_of, summarise

Fact = str | int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The caller's part of a verdict.

    Attributes
    ----------
    stride
        Sessions between origins per dataset, held against the origins scored.
    room
        Independent origins per dataset that the data hold beyond those of the plan.
    costs
        Measured ratios candidate / legacy by criterion; empty where nothing was measured.
    cards
        What each arm says of itself: title and text.
    blind
        Whether an arm passed the check that later sessions change no forecast; an arm that was
        not checked is not in it.
    doubts
        What the caller found that must be known, though it forbids nothing.
    problems
        What the caller found that allows no conclusion: units that cannot be read, the same
        meaning with other scores.
    today
        ISO date on which the verdict is passed; only waivers depend on it.
    measure
        The command that measures costs.
    facts, fingerprints
        Shown with the verdict.
    """

    stride: Mapping[str, int] = field(default_factory=dict)
    room: Mapping[str, int] = field(default_factory=dict)
    costs: Mapping[str, Cost] = field(default_factory=dict)
    cards: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    blind: Mapping[str, bool] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    today: str | None = None
    measure: str = "abharness measure"
    facts: Mapping[str, Fact] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of the declared grid."""

    arm: str
    dataset: str
    seed: int

    def __str__(self) -> str:
        return f"{self.arm} on {self.dataset}, seed {self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One side against the reference: skill is 1 - value / reference value; above 0 is better.

    Attributes
    ----------
    value, reference_value
        Of the same windows: those that neither failed with any seed.
    left_out
        Windows that one of them failed.
    """

    arm: str
    dataset: str
    metric: str
    reference: str
    value: float | None
    reference_value: float | None
    skill: float | None
    left_out: int = 0


def reference_arm(
    policy: Policy, declared: Sequence[Cell], scores: Sequence[UnitScores]
) -> str | None:
    """The arm both sides are set against: the policy's, or the reference arm declared first.

    An arm that is judged is no bar for itself.
    """
    if policy.reference is not None:
        return policy.reference
    order = {arm: at for at, arm in enumerate(dict.fromkeys(cell.arm for cell in declared))}
    sides = (policy.baseline, policy.candidate)
    bars = {unit.arm for unit in scores if unit.role == "reference" and unit.arm not in sides}
    return min(bars, key=lambda arm: (order.get(arm, len(order)), arm), default=None)


def standings_of(
    policy: Policy, declared: Sequence[Cell], scores: Sequence[UnitScores]
) -> tuple[Standing, ...]:
    """Both sides against the reference, by CRPS and every loss the policy names."""
    bar = reference_arm(policy, declared, scores)
    if bar is None:
        return ()
    metrics = dict.fromkeys(["crps", *(rule.metric for rule in policy.criteria)])
    needed = {name for metric in metrics for name in AGGREGATES[metric].metrics}
    units = [_only(needed, unit) for unit in scores]
    found: dict[tuple[str, str, str], Standing] = {}
    for dataset in dict.fromkeys(unit.dataset for unit in scores):
        there = [unit for unit in units if unit.dataset == dataset]
        against = [unit for unit in there if unit.arm == bar]
        for arm in (policy.baseline, policy.candidate):
            side = [unit for unit in there if unit.arm == arm]
            for each in _against(side, against, bar) if side else ():
                found[dataset, each.metric, arm] = each
    order = [
        (dataset, metric, arm)
        for dataset in dict.fromkeys(unit.dataset for unit in scores)
        for metric in metrics
        for arm in (policy.baseline, policy.candidate)
    ]
    return tuple(found[key] for key in order if key in found)


def _against(side: Sequence[UnitScores], bar: Sequence[UnitScores], name: str) -> list[Standing]:
    """A side against the reference by every metric both have, on windows neither failed."""
    fine = _fine([*side, *bar])
    units = [*side, *bar] if fine is None or fine.all() else [u.at(fine) for u in (*side, *bar)]
    out = 0 if fine is None else int((~fine).sum())
    if not len(units[0]):
        return [_nothing(side[0], name, out)]
    rows = {(row.arm, row.metric): row for row in summarise(units)}
    return [
        _standing(row, rows.get((name, row.metric)), name, out)
        for (arm, _), row in rows.items()
        if arm == side[0].arm
    ]


def _nothing(unit: UnitScores, bar: str, left_out: int) -> Standing:
    """No window is left that neither failed."""
    return Standing(
        arm=unit.arm,
        dataset=unit.dataset,
        metric="crps",
        reference=bar,
        value=None,
        reference_value=None,
        skill=None,
        left_out=left_out,
    )


def _fine(units: Sequence[UnitScores]) -> Flags | None:
    """Windows [W] that no unit failed; None where units are of other windows."""
    if len({len(unit) for unit in units}) > 1:
        return None
    fine: Flags = np.logical_and.reduce([unit.ok & ~_absurd(unit) for unit in units])
    return fine


def _absurd(unit: UnitScores) -> Flags:
    """Windows [W] with a loss so large that its sums overflow."""
    found = np.zeros(len(unit), dtype=bool)
    for cells in unit.values.values():
        found |= (np.abs(cells) > LARGEST).any(axis=1)
    return found


def _only(needed: Collection[str], unit: UnitScores) -> UnitScores:
    values = {name: cells for name, cells in unit.values.items() if name in needed}
    return dataclasses.replace(unit, values=values)


def _standing(
    row: MetricSummary, against: MetricSummary | None, bar: str, left_out: int
) -> Standing:
    reference_value = against.value if against else None
    return Standing(
        arm=row.arm,
        dataset=row.dataset,
        metric=row.metric,
        reference=bar,
        value=row.value,
        reference_value=reference_value,
        skill=skill_of(row.value, reference_value),
        left_out=left_out,
    )


CUT_OFF = "pretraining cut-off"
"""Title of the card fact that tells up to which ISO date an arm's pretraining data reach."""
PRETRAINING = "pretraining data"
NO_MARKET_DATA = "no market data"
"""A card's `PRETRAINING` fact that starts so says that no judged session can be in them."""
ONE_SEED = "was run with one seed"
"""What a doubt says of an arm that another seed would change."""
HAND_PICKED = "hand-picked seeds"
"""What a doubt says where other seeds were run than the experiment declares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitHealth:
    """What happened in one unit, for the validity section.

    Attributes
    ----------
    windows, failures
        Windows asked for and failed.
    missing
        Values that are NaN in windows that did not fail (a percentage error of an actual 0).
    crossings
        Share of cells whose quantiles came out of order.
    extrapolated
        Levels of the common grid beyond the arm's own.
    residual_distribution
        The harness added the distribution.
    first_reason
        Why the first failed window failed; ''.
    """

    arm: str
    dataset: str
    seed: int
    windows: int
    failures: int
    missing: int
    crossings: float
    extrapolated: int
    residual_distribution: bool
    first_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Blindness:
    """Whether an arm was shown not to see past its origin.

    Every context ends at its origin and every process is handed rows up to its last origin only;
    this is about an arm that keeps what it saw at later origins.
    """

    arm: str
    state: Literal["passed", "failed", "not tested"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contamination:
    """How much of what is judged may have been in an arm's pretraining data.

    Attributes
    ----------
    share
        Share of origins before the cut-off; None where the arm does not say.
    said
        What its card says.
    """

    arm: str
    dataset: str
    share: float | None
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """Whether a conclusion is allowed at all, and on what it rests.

    Attributes
    ----------
    problems
        Why no conclusion is allowed, one sentence each; empty when one is.
    declared, present
        Cells of the declared grid, and how many of them have scores.
    missing
        The cells that have none.
    truth_digests
        Dataset to the digest all units were judged against ('' when they differ).
    units
        Failures, NaN and crossings per unit.
    standings
        Both sides against the reference arm.
    blindness
        Both sides: whether they were shown not to see past their origin.
    contamination
        The candidate: judged origins that its pretraining data may hold.
    doubts
        What allows a conclusion and must be known with it, one sentence each.
    """

    problems: tuple[str, ...]
    declared: int
    present: int
    missing: tuple[str, ...]
    truth_digests: Mapping[str, str]
    units: tuple[UnitHealth, ...]
    standings: tuple[Standing, ...]
    blindness: tuple[Blindness, ...] = ()
    contamination: tuple[Contamination, ...] = ()
    doubts: tuple[str, ...] = ()


def examine(
    policy: Policy, declared: Sequence[Cell], scores: Sequence[UnitScores], given: Given
) -> Validity:
    """Check what a verdict would rest on.

    Problems are: what the caller found; an empty grid, a grid without one side on a dataset, cells
    that are missing, double or not declared; less evidence than the policy declares; units of one
    dataset that were judged against different actuals; origins that are not at the planned stride;
    a side that sees past its origin; and, where the policy says so, an implausible gain.
    """
    present = [(unit.arm, unit.dataset, unit.seed) for unit in scores]
    missing = tuple(
        str(cell) for cell in declared if (cell.arm, cell.dataset, cell.seed) not in set(present)
    )
    digests = _digests(scores)
    standings = standings_of(policy, declared, scores)
    gains, partly = _implausible(policy, standings), _partly(policy, standings)
    contamination = _contamination(policy, scores, given)
    refused = policy.evidence.implausible == "invalid"
    problems = [
        *given.problems,
        *_grid_problems(policy, declared),
        *_cell_problems(declared, present, missing),
        *_evidence_problems(policy, declared, scores),
        *_pairing_problems(digests),
        *_stride_problems(scores, given.stride),
        *_peeking(policy, given),
    ]
    return Validity(
        problems=(*problems, *(gains if refused else ())),
        declared=len(declared),
        present=len(declared) - len(missing),
        missing=missing,
        truth_digests=digests,
        units=tuple(_health(unit) for unit in scores),
        standings=standings,
        blindness=tuple(_blindness(arm, given) for arm in (policy.baseline, policy.candidate)),
        contamination=contamination,
        doubts=(*given.doubts, *_tainted(contamination), *(() if refused else gains), *partly),
    )


def datasets_of(declared: Sequence[Cell]) -> tuple[str, ...]:
    """Datasets of the grid, in the order declared."""
    return tuple(dict.fromkeys(cell.dataset for cell in declared))


def _pairing_problems(digests: Mapping[str, str]) -> list[str]:
    return [
        f"On {dataset} not all arms were judged against the same actuals and origins."
        for dataset, digest in digests.items()
        if not digest
    ]


def _grid_problems(policy: Policy, declared: Sequence[Cell]) -> list[str]:
    if not declared:
        return ["The declared grid is empty: nothing was compared."]
    cells = {(cell.arm, cell.dataset) for cell in declared}
    return [
        f"The declared grid has no {arm} on {dataset}."
        for dataset in datasets_of(declared)
        for arm in (policy.baseline, policy.candidate)
        if (arm, dataset) not in cells
    ]


def _cell_problems(
    declared: Sequence[Cell], present: list[tuple[str, str, int]], missing: tuple[str, ...]
) -> list[str]:
    problems = []
    if missing:
        shown = "; ".join(missing[:3]) + ("; ..." if len(missing) > 3 else "")
        problems.append(
            f"{len(missing)} of {len(declared)} declared cells have no scores: {shown}."
        )
    known = {(cell.arm, cell.dataset, cell.seed) for cell in declared}
    for unit in dict.fromkeys(present):
        name = Cell(arm=unit[0], dataset=unit[1], seed=unit[2])
        if present.count(unit) > 1:
            problems.append(f"{name} has scores {present.count(unit)} times.")
        if unit not in known:
            problems.append(f"{name} has scores but was not declared.")
    return problems


def _evidence_problems(
    policy: Policy, declared: Sequence[Cell], scores: Sequence[UnitScores]
) -> list[str]:
    """Less than what the policy declares is no evidence, however good it looks."""
    wanted, there = policy.evidence, datasets_of(declared)
    problems = [
        f"The policy declares evidence on {name}, and the grid has none there."
        for name in wanted.datasets
        if name not in there
    ]
    seeds = {c.seed for c in declared if c.arm in (policy.baseline, policy.candidate)}
    if declared and len(seeds) < wanted.seeds:
        problems.append(
            f"The policy declares {wanted.seeds} seeds, and the pair was run with {len(seeds)}."
        )
    counts = {unit.dataset: len(unit) for unit in scores}
    return problems + [
        f"The policy declares {wanted.origins} origins, and {name} has {count}."
        for name, count in counts.items()
        if count < wanted.origins
    ]


def _peeking(policy: Policy, given: Given) -> list[str]:
    return [
        f"{arm} failed the check that later sessions change no forecast: it reads past its origin."
        for arm in (policy.baseline, policy.candidate)
        if given.blind.get(arm) is False
    ]


def _blindness(arm: str, given: Given) -> Blindness:
    passed = given.blind.get(arm)
    state: Literal["passed", "failed"] = "passed" if passed else "failed"
    return Blindness(arm=arm, state="not tested" if passed is None else state)


def _contamination(
    policy: Policy, scores: Sequence[UnitScores], given: Given
) -> tuple[Contamination, ...]:
    """Origins of the candidate before its pretraining cut-off, per dataset."""
    card = given.cards.get(policy.candidate, {})
    cut_off, said = card.get(CUT_OFF), card.get(PRETRAINING, "")
    clean = cut_off is None and said.startswith(NO_MARKET_DATA)
    firsts = {unit.dataset: unit for unit in scores if unit.arm == policy.candidate}
    return tuple(
        Contamination(
            arm=policy.candidate,
            dataset=dataset,
            share=0.0 if clean else _share_before(cut_off, unit),
            said=cut_off or said or "the arm does not say what it was pretrained on",
        )
        for dataset, unit in firsts.items()
    )


def _tainted(found: Sequence[Contamination]) -> list[str]:
    """What must be known of a candidate that may have been pretrained on what is judged."""
    return [
        f"{percent(each.share)} of the origins on {each.dataset} lie before the pretraining "
        f"cut-off of {each.arm}, {each.said}: it may have seen what it is judged on."
        for each in found
        if each.share
    ]


def _share_before(cut_off: str | None, unit: UnitScores) -> float | None:
    try:
        day = np.datetime64(cut_off or "", "D")
    except ValueError:
        return None
    return None if np.isnat(day) else float(np.mean(unit.origin_date <= day))


def _implausible(policy: Policy, standings: Sequence[Standing]) -> list[str]:
    most = policy.evidence.implausible_skill
    return [
        f"On {each.dataset} {each.arm} is {percent(each.skill)} better than {each.reference} by "
        f"{each.metric}: more than {percent(most)} is implausible; look for a leak."
        for each in standings
        if each.arm == policy.candidate and each.metric == "crps"
        if each.skill is not None and each.skill > most
    ]


def _partly(policy: Policy, standings: Sequence[Standing]) -> list[str]:
    """That a candidate is set against the reference on a part of the windows only."""
    found = dict.fromkeys(
        (each.dataset, each.arm, each.reference, each.left_out)
        for each in standings
        if each.arm == policy.candidate and each.left_out
    )
    return [
        f"on {dataset} {arm} is set against {bar} without the {count} windows that one of them "
        "failed."
        for dataset, arm, bar, count in found
    ]


def _stride_problems(scores: Sequence[UnitScores], stride: Mapping[str, int]) -> list[str]:
    return [
        f"{unit.arm} on {unit.dataset}, seed {unit.seed}: origins are not every "
        f"{stride[unit.dataset]} sessions, as the plan says."
        for unit in scores
        if unit.dataset in stride
        and bool(np.any(np.diff(np.sort(unit.origin)) != stride[unit.dataset]))
    ]


def _digests(scores: Sequence[UnitScores]) -> dict[str, str]:
    found: dict[str, str] = {}
    for unit in scores:
        same = found.setdefault(unit.dataset, unit.truth_digest) == unit.truth_digest
        found[unit.dataset] = unit.truth_digest if same else ""
    return found


def _health(unit: UnitScores) -> UnitHealth:
    rows = slice(None) if unit.ok.all() else unit.ok
    holes = sum(int(np.isnan(cells[rows]).sum()) for cells in unit.values.values())
    return UnitHealth(
        arm=unit.arm,
        dataset=unit.dataset,
        seed=unit.seed,
        windows=len(unit),
        failures=unit.failures,
        missing=holes,
        crossings=unit.crossings,
        extrapolated=unit.extrapolated,
        residual_distribution=unit.residual_distribution,
        first_reason=next((text for text in unit.reason if text), ""),
    )
