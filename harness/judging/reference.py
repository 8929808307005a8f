"""Both sides set against the reference arm, with intervals: whether either is a straw man."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.evidence.estimand import Estimand, loss_of
from harness.evidence.estimates import Conclusion, Question, by_test, with_seeds
from harness.evidence.pairing import PairingError, counted, pair
from harness.experiments.policy import Policy
from harness.judging.declared import JudgedGrid
from harness.judging.fact import Fact, FactCode, Scalar, fact
from harness.scoring.scores import UnitScores
from harness.stats.longrun import centred

ALWAYS = ("crps", "rmse", "mae")
"""Losses by which arms are set against each other whatever the policy names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgainstReference:
    """One side against the reference: skill is 1 - value / reference value; above 0 is better.

    Attributes
    ----------
    value, reference_value
        Losses scaled as in a finding, on the windows that neither failed with any seed.
    skill, low, high
        With the one-sided bounds, each of level 1 - alpha, that decide `shown`; None where there
        are none.
    shown
        What a one-sided test of level alpha shows; '' where it shows neither.
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
    low: float | None = None
    high: float | None = None
    shown: Literal["better", "worse", ""] = ""
    left_out: int = 0


def reference_arm(grid: JudgedGrid) -> str | None:
    """The arm both sides are set against, found once for a verdict and kept in its record."""
    scored: dict[str, str] = {
        unit.arm: unit.role for unit in sorted(grid.scores, key=lambda unit: unit.arm)
    }
    roles = {cell.arm: cell.role or scored.get(cell.arm, "") for cell in grid.declared}
    return grid.policy.reference_among({**roles, **scored})


def standings_of(grid: JudgedGrid, bar: str | None) -> tuple[AgainstReference, ...]:
    """Both sides against the reference `bar`: by CRPS, RMSE, MAE and every loss of the policy."""
    if bar is None:
        return ()
    metrics = dict.fromkeys([*ALWAYS, *(rule.metric for rule in grid.policy.criteria)])
    found = []
    for dataset in dict.fromkeys(unit.dataset for unit in grid.scores):
        sides = [grid.units(arm, dataset) for arm in grid.policy.pair]
        against = grid.units(bar, dataset)
        for metric in metrics:
            for side in sides:
                known = shown_by(loss_of(metric), side, against, alpha=grid.policy.alpha)
                found += [known] if known else []
    return tuple(found)


def shown_by(
    estimand: Estimand,
    side: Sequence[UnitScores],
    against: Sequence[UnitScores],
    *,
    alpha: float | None,
) -> AgainstReference | None:
    """One arm against another by the t test alone, on windows that neither failed.

    None where they cannot be paired or one has no scores for it; no skill where no window is left,
    and no test without `alpha`.
    """
    try:
        both = pair(side, against, estimand.metric)
    except PairingError:
        return None
    failed = np.logical_not(both.candidate_ok.all(axis=0) & both.legacy_ok.all(axis=0))
    arm, other, dataset = both.names
    blank = AgainstReference(
        arm=arm,
        dataset=dataset,
        metric=estimand.name,
        reference=other,
        value=None,
        reference_value=None,
        skill=None,
        left_out=int(failed.sum()),
    )
    sides = estimand.sides(estimand.whole(counted(both, out=failed)))
    above, below = sides.means
    if not len(above) or not np.isfinite(above).all() or not below.mean() > 0:
        return blank
    known = dataclasses.replace(
        blank,
        value=estimand.value(float(above.mean())),
        reference_value=estimand.value(float(below.mean())),
        skill=-estimand.effect(centred(above, below)[0]),
    )
    if alpha is None or len(above) < 2 or not estimand.uncertain(sides):
        return known
    ratio = estimand.ratio_of(sides)
    if sides.seeded:
        ratio = with_seeds(ratio, sides.above, sides.below)
    test = by_test("hac", ratio, Question(estimand=estimand, bound_high=0.0, alpha=alpha))
    return dataclasses.replace(
        known,
        low=None if test.upper is None else -test.upper,
        high=None if test.lower is None else -test.lower,
        shown=_SHOWN[test.conclusion],
    )


_SHOWN: dict[Conclusion, Literal["better", "worse", ""]] = {
    "within": "better",
    "beyond": "worse",
    "undecided": "",
}


def rows_of(
    standings: Sequence[AgainstReference],
) -> tuple[tuple[str, str, Scalar, Scalar, Scalar], ...]:
    """Dataset, metric, and skill with its interval, as a fact holds them."""
    return tuple((each.dataset, each.metric, each.skill, each.low, each.high) for each in standings)


def straw_man(policy: Policy, standings: Sequence[AgainstReference]) -> Fact | None:
    """That the baseline is shown worse than the reference: to beat it proves little."""
    worse = [each for each in standings if each.arm == policy.baseline and each.shown == "worse"]
    if not worse:
        return None
    return fact(
        FactCode.STRAW_MAN,
        candidate=policy.candidate,
        legacy=policy.baseline,
        reference=worse[0].reference,
        rows=rows_of(worse),
    )
