"""The comparison: paired losses of two arms on one dataset, and what they say."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.estimates import (
    Conclusion,
    Estimate,
    Method,
    Question,
    Sides,
    agreed,
    block_of,
    by_test,
    deciding,
    lean_in,
    point_of,
    ratio_of,
)
from harness.inference import MeanRatio, diebold_mariano, first_order
from harness.outlook import date_of_more, outlook
from harness.pairing import Pair, filled
from harness.power_law import Plan, Spread, detectable
from harness.resampling import RESAMPLES
from harness.scores import non_overlapping
from harness.seeds import seed_variance
from harness.sensitivity import Sensitivity, vary
from harness.shares import Shares, shares_of, true_share
from harness.window import Array

__all__ = [
    "Comparison",
    "Conclusion",
    "Estimate",
    "Method",
    "Question",
    "Sensitivity",
    "compare",
    "date_of_more",
    "spread_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Candidate against legacy by one metric on one dataset.

    Effects are shares: -0.03 is a loss 3 % lower than legacy's; for coverage they are the
    distance from nominal (-0.03: three points too few).

    Attributes
    ----------
    metric, dataset, candidate, legacy
        What is compared. For coverage the candidate alone is judged.
    bound_low, bound_high
        The effect must be shown to lie between these; `bound_low` is None for losses.
    alpha, power
        Error rate of each bound; chance with which `detectable` is found.
    n, overlap, independent_n, effective_n
        Origins; consecutive ones that share a session; non-overlapping ones; and how many
        independent origins the estimate is worth.
    lag, block, resamples
        HAC lag, bootstrap block length (both in origins) and number of resamples.
    candidate_value, legacy_value
        Means of the compared loss (scaled by the last close; a root for RMSE; a share for
        coverage, where `legacy_value` is the legacy arm's coverage, shown and not judged).
    effect
        The estimate all methods share; None when it has none.
    estimates
        `hac` and `bootstrap`; `seeds` and `two_level` where a side has several seeds;
        `independent` when origins overlap.
    statistic, p_value
        Diebold-Mariano test of equality (Harvey-Leybourne-Newbold): two-sided. None when the
        losses are identical or one side has none.
    detectable
        Smallest distance of the true effect from the bound that is found with `power`.
    more_origins, decided_by
        Further independent origins that would decide if the effect stays as it is, and the ISO
        date by which they exist; None when decided or out of reach.
    seed_low, seed_high
        Range of the effect over the seeds of both sides.
    candidate_failed, legacy_failed
        Origins on which a side failed. They are filled against the candidate (its largest loss,
        legacy's smallest), never left out.
    conclusion
        What all estimates but `independent` agree on; ``undecided`` otherwise.
    reason
        Why there is no conclusion, in words; '' when there is one.
    rho
        First-order autocorrelation of the differences, less its bias.
    candidate_seeds, legacy_seeds
        Seeds of each side; 0 in records made before they were counted.
    origin_variance, candidate_seed_variance, legacy_seed_variance
        Variance of the effect by source: long-run variance over n, and the variance between the
        seeds of a side over their number. None where unknown.
    seeds_needed
        Seeds a side that would decide where no number of origins would; None otherwise.
    seed_note
        Which side has no several seeds, in words; '' when both have.
    sensitivity
        Whether the conclusion stands without the most influential windows and at other lags.
    lean
        Skewness of the effect over samples, less what may be noise; None in records made before
        it was kept.
    """

    metric: str
    dataset: str
    candidate: str
    legacy: str
    bound_low: float | None
    bound_high: float
    alpha: float
    power: float
    n: int
    overlap: int
    independent_n: int
    effective_n: float | None
    lag: int
    block: int
    resamples: int
    candidate_value: float | None
    legacy_value: float | None
    effect: float | None
    estimates: tuple[Estimate, ...]
    statistic: float | None
    p_value: float | None
    detectable: float | None
    more_origins: int | None
    decided_by: str | None
    seed_low: float | None
    seed_high: float | None
    candidate_failed: int
    legacy_failed: int
    conclusion: Conclusion
    reason: str
    rho: float | None = None
    candidate_seeds: int = 0
    legacy_seeds: int = 0
    origin_variance: float | None = None
    candidate_seed_variance: float | None = None
    legacy_seed_variance: float | None = None
    seeds_needed: int | None = None
    seed_note: str = ""
    sensitivity: Sensitivity | None = None
    lean: float | None = None

    @property
    def seed_share(self) -> float | None:
        """Share of the effect's variance that is owed to seeds; None where neither is known."""
        if self.origin_variance is None:
            return None
        seeds = (self.candidate_seed_variance or 0.0) + (self.legacy_seed_variance or 0.0)
        total = self.origin_variance + seeds
        return seeds / total if total > 0 else 0.0

    def estimate(self, method: Method) -> Estimate | None:
        """The estimate by one method, if it was made."""
        return next((each for each in self.estimates if each.method == method), None)


def compare(both: Pair, question: Question) -> Comparison:
    """Say what paired losses say to a question: effect, uncertainty, conclusion.

    Failed windows are filled against the candidate, so that a failure never helps it: its own
    with the largest loss seen on either side, legacy's with the smallest. The effect is that of
    the mean over seeds. `hac` and `bootstrap` say how sure it is over origins; where a side has
    several seeds, `seeds` and `two_level` say how sure it is over seeds as well.
    """
    whole = filled(both, share=question.scale == "share")
    facts = _facts(both, question)
    reason = _why_nothing(whole)
    if reason:
        return _comparison(facts, reason=reason)
    sides = _sides(whole, question)
    found = ratio_of(*sides.means, both.overlap, question)
    facts |= _size(whole, sides, found, question)
    facts |= _equality(whole, found, question)
    estimates = deciding(sides, question)
    conclusion, reason = agreed(estimates)
    lengths = {"lag": found.law.lag, "block": block_of(sides, found.law.lag)}
    facts |= {"conclusion": conclusion, "resamples": RESAMPLES, **lengths}
    facts["estimates"] = (*estimates, *_apart(both, sides, question))
    facts["sensitivity"] = vary(sides, question, conclusion=conclusion, **lengths)
    return _planned(_comparison(facts, reason=reason), both, question)


def _planned(made: Comparison, both: Pair, question: Question) -> Comparison:
    """Add what such a plan detects, and what would decide a question that is open."""
    spread = spread_of(made)
    if spread is None:
        return made
    plan = plan_of(made)
    least = detectable(spread, plan, alpha=question.alpha, power=question.power)
    made = dataclasses.replace(made, detectable=least)
    if made.conclusion != "undecided" or made.effect is None:
        return made
    ahead = outlook(both, question, effect=made.effect, spread=spread, plan=plan)
    return dataclasses.replace(made, **ahead)


def plan_of(found: Comparison) -> Plan:
    """Say how much a comparison looked at."""
    return Plan(
        n=found.n,
        overlap=found.overlap,
        candidate_seeds=max(1, found.candidate_seeds),
        legacy_seeds=max(1, found.legacy_seeds),
        bounds=1 if found.bound_low is None else 2,
    )


def spread_of(found: Comparison) -> Spread | None:
    """Say how relative differences vary, for planning; None where a comparison found nothing."""
    if found.origin_variance is None or found.n < 2:
        return None
    rho = found.rho or 0.0
    lean = 0.0 if found.lean is None else found.lean
    return Spread(
        long_run=found.origin_variance * found.n / true_share(found.n, found.overlap, rho),
        rho=rho,
        skewness=lean * math.sqrt(found.n),
        share=_covered(found),
        candidate_seeds=(found.candidate_seed_variance or 0.0) * found.candidate_seeds,
        legacy_seeds=(found.legacy_seed_variance or 0.0) * found.legacy_seeds,
    )


def _covered(found: Comparison) -> float | None:
    """Share that is covered, at which the variance holds: nominal where none or all is."""
    if not found.metric.startswith("coverage") or found.candidate_value is None:
        return None
    nominal = int(found.metric.partition("_")[2]) / 100
    return found.candidate_value if 0.0 < found.candidate_value < 1.0 else nominal


def _sides(whole: Pair, question: Question) -> Sides:
    share = question.scale == "share"
    below = np.ones((1, len(whole.origin))) if share else whole.legacy
    return Sides(above=whole.candidate, below=below, overlap=whole.overlap)


def _apart(both: Pair, sides: Sides, question: Question) -> tuple[Estimate, ...]:
    """The non-overlapping origins alone, where they are another set."""
    rows = non_overlapping(both.origin, both.reach)
    if not 2 <= len(rows) < len(both.origin):
        return ()
    alone = ratio_of(*sides.at(rows).means, 1, question)
    return (by_test("independent", alone, question),)


def _why_nothing(filled: Pair) -> str:
    if len(filled.origin) < 2:
        return f"{len(filled.origin)} origin allows no statement about uncertainty"
    sides = (filled.candidate, filled.legacy)
    for name, losses in zip(filled.names[:2], sides, strict=True):
        count = int((~np.isfinite(losses)).sum())
        if count:
            return f"{count} of {losses.size} losses of {name} have no number"
    return ""


def _facts(both: Pair, question: Question) -> dict[str, Any]:
    """What is known before anything is estimated."""
    candidate, legacy, dataset = both.names
    return {
        "metric": question.metric,
        "dataset": dataset,
        "candidate": candidate,
        "legacy": legacy,
        "bound_low": question.bound_low,
        "bound_high": question.bound_high,
        "alpha": question.alpha,
        "power": question.power,
        "n": len(both.origin),
        "overlap": both.overlap,
        "independent_n": len(non_overlapping(both.origin, both.reach)),
        "candidate_failed": int((~both.candidate_ok).sum()),
        "legacy_failed": int((~both.legacy_ok).sum()),
        **_seeds(both, question),
    }


def _seeds(both: Pair, question: Question) -> dict[str, Any]:
    """Seeds of each side, and what cannot be said of them."""
    ours, theirs = len(both.candidate), len(both.legacy)
    alone = [
        arm
        for arm, count in zip(both.names, (ours, theirs), strict=False)
        if count == 1 and (arm == both.names[0] or question.scale != "share")
    ]
    who = " and ".join(alone)
    verb = "has" if len(alone) == 1 else "have"
    note = f"{who} {verb} one seed or none: how seeds vary there is not in the interval"
    return {
        "candidate_seeds": ours,
        "legacy_seeds": theirs,
        "seed_note": note if alone else "",
    }


def _comparison(facts: dict[str, Any], *, reason: str) -> Comparison:
    """Make the noun; what was not found is None."""
    return Comparison(**(_NOTHING | facts), reason=reason)


_NOTHING: dict[str, Any] = {
    "effective_n": None,
    "lag": 0,
    "block": 0,
    "resamples": 0,
    "candidate_value": None,
    "legacy_value": None,
    "effect": None,
    "estimates": (),
    "statistic": None,
    "p_value": None,
    "detectable": None,
    "more_origins": None,
    "decided_by": None,
    "seed_low": None,
    "seed_high": None,
    "conclusion": "undecided",
}


def _size(whole: Pair, sides: Sides, found: MeanRatio, question: Question) -> dict[str, Any]:
    """Effect, both sides' values, where its variance comes from, what could be detected."""
    ratio = point_of(found)
    if not math.isfinite(ratio):
        return {}
    difference = sides.difference
    values = [float(side.mean()) for side in (whole.candidate, whole.legacy)]
    if question.scale == "root":
        values = [math.sqrt(value) for value in values]
    rho = first_order(difference)
    shares = shares_of(len(difference), found.law.lag, sides.overlap, rho)
    variance = found.variance(ratio) / shares.found
    return {
        "effect": question.effect(ratio),
        "candidate_value": values[0],
        "legacy_value": values[1],
        "rho": rho,
        "lean": lean_in(sides),
        "effective_n": _worth(variance, difference),
        **_variances(sides, found, shares, question),
        **_over_seeds(whole, question),
    }


def _worth(variance: float, difference: Array) -> float:
    """Independent origins that would leave the same long-run variance of the mean."""
    count, spread = len(difference), float(difference.var())
    worth = count * spread / variance if variance > 0 and spread > 0 else float(count)
    return min(float(count), max(1.0, worth))


def _variances(
    sides: Sides, found: MeanRatio, shares: Shares, question: Question
) -> dict[str, Any]:
    """Variance of the effect by origins and by the seeds of each side."""
    ratio = point_of(found)
    unit = (question.slope(ratio) / found.below) ** 2
    above = below = 0.0
    sure = question.scale == "share" and ratio in (0.0, 1.0)  # all hit or missed: not known exactly
    variance = found.variance(question.nominal if sure else ratio)
    origins = unit * variance / found.law.n * shares.true / shares.found
    if sides.seeded:
        above = unit * seed_variance(sides.above)
        below = unit * ratio**2 * seed_variance(sides.below)
    return {
        "origin_variance": origins,
        "candidate_seed_variance": above,
        "legacy_seed_variance": below,
    }


def _over_seeds(filled: Pair, question: Question) -> dict[str, Any]:
    ours, theirs = filled.candidate.mean(axis=1), filled.legacy.mean(axis=1)
    below = np.ones(1) if question.scale == "share" else theirs
    if bool(np.any(below <= 0)):
        return {}
    effects = [question.effect(a / b) for a in ours.tolist() for b in below.tolist()]
    return {"seed_low": min(effects), "seed_high": max(effects)}


def _equality(whole: Pair, found: MeanRatio, question: Question) -> dict[str, Any]:
    """Diebold-Mariano test of equal losses; nothing for a coverage."""
    if question.scale == "share":
        return {}
    difference = whole.candidate.mean(axis=0) - whole.legacy.mean(axis=0)
    test = diebold_mariano(difference, lag=found.law.lag, horizon=whole.overlap)
    return {"statistic": test.statistic, "p_value": test.p_value} if test else {}
