"""The comparison: paired losses of two arms on one dataset, and what they say."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from harness.evidence.compared import Comparison, plan_of, spread_of
from harness.evidence.estimates import (
    Estimate,
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
from harness.evidence.inference import MeanRatio, diebold_mariano, first_order
from harness.evidence.outlook import outlook
from harness.evidence.pairing import Pair, filled, lost
from harness.evidence.power_law import detectable
from harness.evidence.resampling import RESAMPLES
from harness.evidence.seeds import seed_variance
from harness.evidence.sensitivity import vary
from harness.evidence.shares import Shares, shares_of
from harness.scoring.scores import non_overlapping
from harness.window import Array


def compare(both: Pair, question: Question) -> Comparison:
    """Answer as `answer` does, and say how much the answer is worth.

    That is: whether it stands under variations, what such a plan detects, and what would decide
    a question that is open.
    """
    made = answer(both, question)
    if not made.estimates:
        return made
    sides = _sides(_whole(both, question), question)
    lengths = {"lag": made.lag, "block": made.block}
    varied = vary(sides, question, conclusion=made.conclusion, **lengths)
    return _planned(dataclasses.replace(made, sensitivity=varied), both, question)


def answer(both: Pair, question: Question) -> Comparison:
    """Say what paired losses say to a question: effect, uncertainty, conclusion.

    Failed windows are filled against the candidate, so that a failure never helps it: its own
    with the largest loss seen on either side, legacy's with the smallest. The effect is that of
    the mean over seeds. `hac` and `bootstrap` say how sure it is over origins; where a side has
    several seeds, `seeds` and `two_level` say how sure it is over seeds as well.
    """
    whole = _whole(both, question)
    facts = _facts(both, question)
    reason = _why_nothing(whole)
    if reason:
        return _comparison(facts, reason=reason)
    sides = _sides(whole, question)
    if question.scale != "share" and not sides.tied and not sides.varies:
        return _comparison(facts, reason="the losses are the same on every origin: no uncertainty")
    found = ratio_of(*sides.means, both.overlap, question)
    facts |= _size(whole, sides, found, question)
    facts |= _equality(whole, found, question)
    estimates = deciding(sides, question)
    conclusion, reason = agreed(estimates)
    facts |= {"lag": found.law.lag, "block": block_of(sides, found.law.lag)}
    facts |= {"conclusion": conclusion, "resamples": RESAMPLES}
    facts["estimates"] = (*estimates, *_apart(both, sides, question))
    return _comparison(facts, reason=reason)


def _planned(made: Comparison, both: Pair, question: Question) -> Comparison:
    """Add what such a plan detects, and what would decide a question that is open."""
    spread = spread_of(made)
    if spread is None or made.silent:
        return made
    plan = plan_of(made)
    least = detectable(spread, plan, alpha=question.alpha, power=question.power)
    made = dataclasses.replace(made, detectable=least)
    if made.conclusion != "undecided" or made.effect is None:
        return made
    ahead = outlook(both, question, effect=made.effect, spread=spread, plan=plan)
    return dataclasses.replace(made, **ahead)


def _whole(both: Pair, question: Question) -> Pair:
    """What is compared, without failed windows."""
    if question.wins:
        return lost(both)
    return filled(both, share=question.scale == "share")


def _sides(whole: Pair, question: Question) -> Sides:
    """Both sides of the ratio that is asked for.

    A share is over 1. Of origins lost, legacy's seeds stand there too, by what each takes from or
    adds to the share, so that how they differ is seen.
    """
    if question.scale != "share":
        return Sides(above=whole.candidate, below=whole.legacy, overlap=whole.overlap)
    below = np.ones((1, len(whole.origin)))
    level = float(whole.candidate.mean())
    if question.wins and level > 0:
        below = 1 + (whole.legacy - whole.legacy.mean(axis=0)) / level
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
        if count == 1 and (arm == both.names[0] or question.wins or question.scale != "share")
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
        **_level(found, shares, question),
    }


def _level(found: MeanRatio, shares: Shares, question: Question) -> dict[str, Any]:
    """Variance of legacy's mean, as a share of it, and its covariance with the effect."""
    if question.scale == "share":
        return {}
    ratio, unit = point_of(found), shares.true / shares.found / found.law.n / found.below**2
    both, own = found.covariance[:, 1].tolist()
    return {
        "level_variance": unit * own,
        "level_covariance": unit * question.slope(ratio) * (both - ratio * own),
    }


def _over_seeds(filled: Pair, question: Question) -> dict[str, Any]:
    ours, theirs = filled.candidate.mean(axis=1), filled.legacy.mean(axis=1)
    if question.scale == "share":
        apart = theirs.mean() - theirs if question.wins else np.zeros(1)
        effects = [question.effect(a + b) for a in ours.tolist() for b in apart.tolist()]
    elif bool(np.any(theirs <= 0)):
        return {}
    else:
        effects = [question.effect(a / b) for a in ours.tolist() for b in theirs.tolist()]
    return {"seed_low": min(effects), "seed_high": max(effects)}


def _equality(whole: Pair, found: MeanRatio, question: Question) -> dict[str, Any]:
    """Diebold-Mariano test of equal losses; nothing for a coverage."""
    if question.scale == "share":
        return {}
    difference = whole.candidate.mean(axis=0) - whole.legacy.mean(axis=0)
    test = diebold_mariano(difference, lag=found.law.lag, horizon=whole.overlap)
    return {"statistic": test.statistic, "p_value": test.p_value} if test else {}
