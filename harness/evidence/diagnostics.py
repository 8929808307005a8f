"""Diagnostics: what stands beside the verdict and does not decide it.

All arms at once, secondary claims, when the candidate loses, and calibration. Every part says
why it has no number where it has none; nothing here raises on scores that cannot be compared.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

from harness.evidence.estimand import loss_of
from harness.evidence.pairing import Pair, PairingError, filled, overlap_of, pair
from harness.reasons import Reason, ReasonCode, reason
from harness.scoring.metrics import AGGREGATES
from harness.scoring.scores import UnitScores, in_time_order
from harness.stats.ability import (
    ConditionalAbility,
    Fluctuation,
    conditional_ability,
    fluctuation,
    holm,
)
from harness.stats.calibration import (
    LEVELS,
    IntervalCalibration,
    Uniformity,
    interval_calibration,
    uniformity,
)
from harness.stats.confidence_set import ConfidenceSet, confidence_set
from harness.stats.longrun import tied
from harness.window import Array

Claim = Literal["better", "worse", "open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondaryClaim:
    """The candidate against one legacy arm by one metric the policy does not judge.

    Attributes
    ----------
    effect
        Candidate over legacy less 1; None where it has none.
    p_value, adjusted
        Two-sided p-value of equal losses by the autocorrelation-robust t test, and the same by
        Holm over all secondary claims; None where it has none.
    claim
        ``better``, ``worse`` or ``open`` at the adjusted level.
    reason
        Why there is no p-value.
    """

    dataset: str
    metric: str
    candidate: str
    legacy: str
    n: int
    effect: float | None
    p_value: float | None
    adjusted: float | None
    claim: Claim
    reason: Reason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostics:
    """Everything that is looked at beside the policy's rules, at the level `alpha`.

    Attributes
    ----------
    confidence_sets
        Per dataset and metric of the policy, over all arms.
    secondary
        Candidate against every legacy arm by every loss, but for the pairs the policy judges.
    conditional, fluctuations
        When the candidate loses against the policy's legacy arm, per dataset and metric.
    intervals, uniformity
        Calibration per dataset, arm, step (first and last) and, for intervals, level.
    notes
        What was left out and why.
    """

    alpha: float
    confidence_sets: tuple[ConfidenceSet, ...]
    secondary: tuple[SecondaryClaim, ...]
    conditional: tuple[ConditionalAbility, ...]
    fluctuations: tuple[Fluctuation, ...]
    intervals: tuple[IntervalCalibration, ...]
    uniformity: tuple[Uniformity, ...]
    notes: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What of the diagnostics is of each arm alone, and so the same for every pair."""

    intervals: tuple[IntervalCalibration, ...]
    uniformity: tuple[Uniformity, ...]


def calibrate(scores: Sequence[UnitScores]) -> Calibration:
    """Test the calibration of every arm at the first and the last step, from units in any order."""
    intervals, uniform = list[IntervalCalibration](), list[Uniformity]()
    for group in _groups(scores).values():
        first = group[0]
        same = len({unit.truth_digest for unit in group}) == 1
        if not same or not all("pit" in unit.values for unit in group):
            continue
        for column in dict.fromkeys((0, len(first.step) - 1)):
            step = int(first.step[column])
            overlap, names = overlap_of(first.origin, step), (first.dataset, first.arm)
            intervals += [
                interval_calibration(
                    np.stack([unit.values[f"coverage_{level}"][:, column] for unit in group]),
                    level=level,
                    step=step,
                    overlap=overlap,
                    names=names,
                )
                for level in LEVELS
            ]
            pit = np.stack([unit.values["pit"][:, column] for unit in group])
            uniform.append(uniformity(pit, step=step, overlap=overlap, names=names))
    return Calibration(intervals=tuple(intervals), uniformity=tuple(uniform))


def diagnose(
    scores: Sequence[UnitScores],
    *,
    candidate: str,
    legacy: str,
    metrics: Sequence[str],
    alpha: float,
    calibration: Calibration | None = None,
) -> Diagnostics:
    """Look at everything beside the policy's own rules.

    Parameters
    ----------
    scores
        All units of all arms, in any order.
    candidate, legacy
        The policy's pair.
    metrics
        Comparable aggregates the policy judges; others are left out.
    alpha
        Error rate of each confidence set and test, and of all secondary claims together.
    calibration
        Of the same scores, where another pair had it made already.
    """
    tested = calibration or calibrate(scores)
    groups = _groups(scores)
    judged = [name for name in metrics if name in AGGREGATES and AGGREGATES[name].comparable]
    pairs, notes = _pairs(groups, candidate, judged)
    primary = {key: both for key, both in pairs.items() if key[1] == legacy and key[2] in judged}
    sets = []
    for dataset, metric in product(dict.fromkeys(key[0] for key in pairs), judged):
        against = {key[1]: both for key, both in pairs.items() if key[::2] == (dataset, metric)}
        if against:
            first = next(iter(against.values()))
            losses = {candidate: first.candidate.mean(axis=0)}
            losses |= {arm: both.legacy.mean(axis=0) for arm, both in against.items()}
            sets.append(
                confidence_set(
                    losses, dataset=dataset, metric=metric, overlap=first.overlap, alpha=alpha
                )
            )
    return Diagnostics(
        alpha=alpha,
        confidence_sets=tuple(sets),
        secondary=_claims(pairs, groups, primary, alpha),
        conditional=tuple(
            conditional_ability(_difference(both), overlap=both.overlap, names=_names(key[2], both))
            for key, both in primary.items()
        ),
        fluctuations=tuple(
            fluctuation(
                _difference(both),
                both.origin_date,
                overlap=both.overlap,
                alpha=alpha,
                names=_names(key[2], both),
            )
            for key, both in primary.items()
        ),
        intervals=tested.intervals,
        uniformity=tested.uniformity,
        notes=notes,
    )


Key = tuple[str, str, str]
"""Dataset, arm, metric."""
Groups = dict[tuple[str, str], list[UnitScores]]
"""Dataset and arm to the units of all its seeds."""


def _groups(scores: Sequence[UnitScores]) -> Groups:
    found: Groups = {}
    for unit in sorted(scores, key=lambda unit: (unit.dataset, unit.arm, unit.seed)):
        found.setdefault((unit.dataset, unit.arm), []).append(in_time_order(unit))
    return found


def _pairs(
    groups: Groups, candidate: str, judged: Sequence[str]
) -> tuple[dict[Key, Pair], tuple[Reason, ...]]:
    """Pair the candidate with every other arm by the losses both have; why where that fails.

    With legacy arms by every loss, with the others by those that are judged.
    """
    found: dict[Key, Pair] = {}
    notes: list[Reason] = []
    for (dataset, arm), units in groups.items():
        ours = groups.get((dataset, candidate))
        if ours is None:
            notes.append(reason(ReasonCode.NO_SCORES_OF, arm=candidate, dataset=dataset))
        elif arm != candidate:
            legacy = units[0].role == "legacy"
            for metric, each in AGGREGATES.items():
                there = all(each.of in unit.values for unit in (*ours, *units))
                if not each.comparable or not there or not (legacy or metric in judged):
                    continue
                try:
                    found[dataset, arm, metric] = pair(ours, units, metric)
                except PairingError as problem:
                    notes.append(problem.why)
    return found, tuple(each for at, each in enumerate(notes) if each not in notes[:at])


def _claims(
    pairs: dict[Key, Pair], groups: Groups, primary: Collection[Key], alpha: float
) -> tuple[SecondaryClaim, ...]:
    """Test the pairs of candidate and legacy arms that the policy does not judge."""
    found = []
    for key, both in pairs.items():
        if key in primary or groups[key[:2]][0].role != "legacy":
            continue
        estimand = loss_of(key[2])
        whole = estimand.whole(both)
        effect = p_value = None
        above, below = whole.candidate.mean(axis=0), whole.legacy.mean(axis=0)
        complete = bool(np.isfinite(above).all() and np.isfinite(below).all())
        if complete and len(above) > 1:
            ratio = estimand.ratio_of(estimand.sides(whole))
            effect = estimand.effect(ratio.excess) if math.isfinite(ratio.excess) else None
            least = -abs(ratio.statistic(0.0))
            p_value = 1.0 if tied(above, below) else min(1.0, 2 * ratio.law.chance_below(least))
        why = ReasonCode.FEW_ORIGINS if complete else ReasonCode.LOSSES_MISSING
        found.append(
            SecondaryClaim(
                dataset=both.names[2],
                metric=key[2],
                candidate=both.names[0],
                legacy=both.names[1],
                n=len(both.origin),
                effect=effect,
                p_value=p_value,
                adjusted=None,
                claim="open",
                reason=reason(why) if p_value is None else None,
            )
        )
    tested = [index for index, each in enumerate(found) if each.p_value is not None]
    adjusted = holm([found[index].p_value or 0.0 for index in tested])
    for index, p_value in zip(tested, adjusted, strict=True):
        shown: Claim = "better" if (found[index].effect or 0.0) < 0 else "worse"
        found[index] = dataclasses.replace(
            found[index], adjusted=p_value, claim=shown if p_value <= alpha else "open"
        )
    return tuple(found)


def _difference(both: Pair) -> Array:
    """Differences [n] over legacy's mean loss, 0 of a tie; failures count against the candidate."""
    whole = filled(both)
    above, below = whole.candidate.mean(axis=0), whole.legacy.mean(axis=0)
    if tied(above, below):
        return np.zeros(len(above))
    level = float(below.mean()) if len(below) else 0.0
    difference: Array = (above - below) / level if level else above - below
    return difference


def _names(metric: str, both: Pair) -> tuple[str, str, str, str]:
    return both.names[2], metric, both.names[0], both.names[1]
