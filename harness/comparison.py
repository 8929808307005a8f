"""The comparison: paired losses of two arms on one dataset, and what they say."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.estimates import (
    RESAMPLES,
    Conclusion,
    Estimate,
    Method,
    Question,
    agreed,
    by_bootstrap,
    by_test,
    point_of,
    ratio_of,
)
from harness.inference import MeanRatio, diebold_mariano, optimal_block
from harness.pairing import Pair
from harness.scores import non_overlapping
from harness.window import Array

__all__ = ["Comparison", "Conclusion", "Estimate", "Method", "Question", "compare", "date_of_more"]


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
        `hac`, `bootstrap` and, when origins overlap, `independent`.
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
        What `hac` and `bootstrap` agree on; ``undecided`` otherwise.
    reason
        Why there is no conclusion, in words; '' when there is one.
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

    def estimate(self, method: Method) -> Estimate | None:
        """The estimate by one method, if it was made."""
        return next((each for each in self.estimates if each.method == method), None)


def compare(both: Pair, question: Question) -> Comparison:
    """Say what paired losses say to a question: effect, uncertainty, conclusion.

    Failed windows are filled against the candidate, so that a failure never helps it: its own
    with the largest loss seen on either side, legacy's with the smallest. Seeds are averaged per
    origin: the uncertainty is that of origins, given the seeds that were run.
    """
    filled = _filled(both, question)
    facts = _facts(both, question)
    reason = _why_nothing(filled)
    if reason:
        return _comparison(facts, reason=reason)
    above, level = filled.candidate.mean(axis=0), filled.legacy.mean(axis=0)
    below = np.ones(len(above)) if question.scale == "share" else level
    found = ratio_of(above, below, both.overlap, question)
    facts |= _size(filled, question, found, above - point_of(found) * below)
    facts |= _equality(above, level, found, both.overlap, question)
    estimates = _estimates(both, above, below, found, question)
    conclusion, reason = agreed(estimates[0], estimates[1])
    facts |= {"estimates": estimates, "conclusion": conclusion, "resamples": RESAMPLES}
    facts |= {"block": _block(both, above, below)}
    if conclusion == "undecided":
        facts |= _outlook(both, question, facts)
    return _comparison(facts, reason=reason)


def _estimates(
    both: Pair, above: Array, below: Array, found: MeanRatio, question: Question
) -> tuple[Estimate, ...]:
    """Both deciding methods, then the non-overlapping origins alone where they are another set."""
    block = _block(both, above, below)
    made = [by_test("hac", found, question), by_bootstrap(above, below, block, question)]
    apart = non_overlapping(both.origin, both.reach)
    if 2 <= len(apart) < len(both.origin):
        alone = ratio_of(above[apart], below[apart], 1, question)
        made.append(by_test("independent", alone, question))
    return tuple(made)


def _block(both: Pair, above: Array, below: Array) -> int:
    """Bootstrap block: the automatic length, no shorter than the overlap."""
    mean = float(below.mean())
    difference = above - (float(above.mean()) / mean if mean else 1.0) * below
    return min(len(above), max(math.ceil(optimal_block(difference)), both.overlap))


def _filled(both: Pair, question: Question) -> Pair:
    """Fill failed windows against the candidate; a NaN with another cause stays."""
    fine = np.concatenate([both.candidate[both.candidate_ok], both.legacy[both.legacy_ok]])
    seen = fine[np.isfinite(fine)]
    if not len(seen):
        return both
    worst, best = (0.0, 1.0) if question.scale == "share" else (seen.max(), seen.min())
    return dataclasses.replace(
        both,
        candidate=np.where(both.candidate_ok, both.candidate, worst),
        legacy=np.where(both.legacy_ok, both.legacy, best),
    )


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


def _size(filled: Pair, question: Question, found: MeanRatio, difference: Array) -> dict[str, Any]:
    """Effect, both sides' values, what could be detected, effective n, range over seeds."""
    ratio = point_of(found)
    if not math.isfinite(ratio):
        return {"lag": found.law.lag}
    law, variance = found.law, found.variance(ratio)
    reach = law.critical(question.alpha) + law.critical(1 - question.power)
    error = math.sqrt(variance / law.n) / abs(found.below)
    spread = float(difference.var())
    worth = law.n * spread / variance if variance > 0 and spread > 0 else float(law.n)
    sides = [float(side.mean()) for side in (filled.candidate, filled.legacy)]
    if question.scale == "root":
        sides = [math.sqrt(side) for side in sides]
    return {
        "lag": law.lag,
        "effect": question.effect(ratio),
        "candidate_value": sides[0],
        "legacy_value": sides[1],
        "detectable": reach * error * question.slope(ratio),
        "effective_n": min(float(law.n), max(1.0, worth)),
        **_over_seeds(filled, question),
    }


def _over_seeds(filled: Pair, question: Question) -> dict[str, Any]:
    ours, theirs = filled.candidate.mean(axis=1), filled.legacy.mean(axis=1)
    below = np.ones(1) if question.scale == "share" else theirs
    if bool(np.any(below <= 0)):
        return {}
    effects = [question.effect(a / b) for a in ours.tolist() for b in below.tolist()]
    return {"seed_low": min(effects), "seed_high": max(effects)}


def _equality(
    above: Array, level: Array, found: MeanRatio, overlap: int, question: Question
) -> dict[str, Any]:
    """Diebold-Mariano test of equal losses; nothing for a coverage."""
    if question.scale == "share":
        return {}
    test = diebold_mariano(above - level, lag=found.law.lag, horizon=overlap)
    return {"statistic": test.statistic, "p_value": test.p_value} if test else {}


def _outlook(both: Pair, question: Question, facts: dict[str, Any]) -> dict[str, Any]:
    """How many more independent origins would decide if the effect stays, and by which date."""
    effect, detectable = facts.get("effect"), facts.get("detectable")
    if effect is None or detectable is None:
        return {}
    bounds = [b for b in (question.bound_low, question.bound_high) if b is not None]
    gap = min(abs(effect - bound) for bound in bounds)
    count, independent = len(both.origin), facts["independent_n"]
    if gap * math.sqrt(_REACHABLE) <= detectable:
        return {}
    more = max(1, math.ceil(count * ((detectable / gap) ** 2 - 1) / both.overlap))
    if more > _REACHABLE * independent:
        return {}
    return {"more_origins": more, "decided_by": date_of_more(both, more)}


_REACHABLE = 100
"""More than this many times the origins there are is called out of reach."""


def date_of_more(both: Pair, more: int) -> str:
    """ISO date by which `more` further independent origins and their steps exist.

    Sessions are turned into days at the pace of the origins there are.
    """
    rows = int(both.origin[-1] - both.origin[0])
    days = int((both.origin_date[-1] - both.origin_date[0]).astype("timedelta64[D]").astype(int))
    stride = int(np.diff(both.origin).min())
    sessions = more * both.overlap * stride + both.reach
    ahead = np.timedelta64(math.ceil(sessions * days / rows), "D")
    return str(both.origin_date[-1].astype("datetime64[D]") + ahead)
