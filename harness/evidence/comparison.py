"""The comparison: paired losses of two arms on one dataset, and what they say."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import numpy as np

from harness.evidence.estimand import (
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
    seed_variance,
)
from harness.evidence.pairing import Pair, filled, lost
from harness.scoring.scores import non_overlapping
from harness.stats.bootstrap import RESAMPLES
from harness.stats.longrun import (
    MeanRatio,
    Shares,
    diebold_mariano,
    first_order,
    shares_of,
    true_share,
)
from harness.stats.statistical_power import (
    Plan,
    Spread,
    detectable,
    origins_needed,
    seeds_needed,
    too_few,
)
from harness.window import Array, Rows

REACHABLE = 100
"""More than this many times the origins or seeds there are is called out of reach."""


class Ahead(TypedDict, total=False):
    """What would decide; a key that is missing is out of reach."""

    more_origins: int
    decided_by: str
    seeds_needed: int | None


def outlook(both: Pair, question: Question, *, effect: float, spread: Spread, plan: Plan) -> Ahead:
    """Say how many more independent origins, or else seeds, would decide if the effect stays."""
    bounds = [b for b in (question.bound_low, question.bound_high) if b is not None]
    distance = min(abs(effect - bound) for bound in bounds)
    alpha, power = question.alpha, question.power
    independent_n = len(non_overlapping(both.origin, both.reach))
    most = plan.n + REACHABLE * independent_n * both.overlap
    origins = origins_needed(spread, plan, distance=distance, alpha=alpha, power=power, most=most)
    if origins is None:
        most = REACHABLE * max(plan.candidate_seeds, plan.legacy_seeds)
        seeds = seeds_needed(spread, plan, distance=distance, alpha=alpha, power=power, most=most)
        return {"seeds_needed": seeds}
    more = max(1, math.ceil((origins - plan.n) / both.overlap))
    return {"more_origins": more, "decided_by": date_of_more(both, more)}


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


INFLUENTIAL = 0.05
"""Share of the windows that is left out: those that pull hardest, either way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """The same question answered another way.

    Attributes
    ----------
    name
        ``without_influential``, ``half_lengths`` or ``double_lengths`` (of lag and block).
    n
        Origins used.
    effect, lower, upper
        As in the first estimate; None where it has none.
    conclusion
        What the methods agree on.
    """

    name: str
    n: int
    effect: float | None
    lower: float | None
    upper: float | None
    conclusion: Conclusion


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """How a conclusion fares under variations; it is shown and decides nothing.

    Attributes
    ----------
    variations
        Each answer.
    changed
        Names of those whose conclusion is another one.
    """

    variations: tuple[Variation, ...]
    changed: tuple[str, ...]


def vary(
    sides: Sides, question: Question, *, lag: int, block: int, conclusion: Conclusion
) -> Sensitivity:
    """Answer again without the most influential windows, and with other lags and blocks.

    Parameters
    ----------
    lag, block, conclusion
        Of the answer itself.
    """
    count = sides.above.shape[1]
    kept = sides.at(least_influential(sides))
    made = (
        _variation("without_influential", kept, question),
        _variation("half_lengths", sides, question, lag=lag // 2, block=max(1, block // 2)),
        _variation(
            "double_lengths",
            sides,
            question,
            lag=min(count - 1, 2 * lag),
            block=max(1, min(count // 2, 2 * block)),
        ),
    )
    return Sensitivity(
        variations=made,
        changed=tuple(each.name for each in made if each.conclusion != conclusion),
    )


def least_influential(sides: Sides) -> Rows:
    """Rows of all windows but the `INFLUENTIAL` share that pull the effect hardest.

    The pull of a window is the size of ``candidate - ratio * legacy`` there, to which the change
    of the ratio without it is proportional. At least two windows stay.
    """
    pull = np.abs(sides.difference)
    out = min(math.ceil(INFLUENTIAL * len(pull)), len(pull) - 2)
    kept: Rows = np.sort(np.argsort(-pull, kind="stable")[max(0, out) :])
    return kept


def _variation(
    name: str,
    sides: Sides,
    question: Question,
    *,
    lag: int | None = None,
    block: int | None = None,
) -> Variation:
    estimates = deciding(sides, question, lag=lag, block=block)
    first = estimates[0]
    return Variation(
        name=name,
        n=first.n,
        effect=first.effect,
        lower=first.lower,
        upper=first.upper,
        conclusion=agreed(estimates)[0],
    )


FailedAs = Literal["", "worst", "missed", "covered", "lost", "out"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Candidate against legacy by one metric on one dataset.

    Effects are shares: -0.03 is a loss 3 % lower than legacy's; for coverage they are the
    distance from nominal (-0.03: three points too few); for origins lost (a metric that ends in
    ``_wins``) that of their share from one half (-0.03: the candidate wins 53 of 100).

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
        coverage, where `legacy_value` is the legacy arm's coverage, shown and not judged; the
        share of origins each side loses to the other, where wins are counted).
    effect
        The estimate all methods share; None when it has none.
    estimates
        `hac` and `bootstrap`; `seeds` and `two_level` where a side has several seeds;
        `independent` when origins overlap.
    statistic, p_value
        Diebold-Mariano test of equality (Harvey-Leybourne-Newbold): two-sided. None when the
        losses are identical or one side has none.
    detectable
        Smallest distance of the true effect from the bound that is found with `power`; None
        where no distance is, and where `silent` says why.
    more_origins, decided_by
        Further independent origins that would decide if the effect stays as it is, and the ISO
        date by which they exist; None when decided, out of reach or where `silent` says why.
    seed_low, seed_high
        Range of the effect over the seeds of both sides.
    candidate_failed, legacy_failed
        Windows on which a side failed.
    candidate_failed_as, legacy_failed_as
        What those were counted as: ``worst`` (twice the largest loss seen), ``missed``,
        ``covered``, ``lost`` (an origin) or ``out`` (left out with their origins); '' where none
        failed, and in records of when the candidate's were its worst and legacy's its best.
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
    level_variance, level_covariance
        Variance of legacy's mean loss, as a share of it, and its covariance with the effect, both
        over origins: what a bound far from the effect adds to the error of a ratio. None where
        unknown, in older records and for a coverage.
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
    level_variance: float | None = None
    level_covariance: float | None = None
    candidate_failed_as: FailedAs = ""
    legacy_failed_as: FailedAs = ""

    @property
    def silent(self) -> str:
        """Why such a plan has no prediction, in words; '' where there may be one."""
        return too_few(self.independent_n)

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
    one = found.n / true_share(found.n, found.overlap, rho)  # from the mean to one origin
    return Spread(
        long_run=found.origin_variance * one,
        level=(found.level_variance or 0.0) * one,
        along=(found.level_covariance or 0.0) * one,
        rho=rho,
        skewness=lean * math.sqrt(found.n),
        share=_covered(found),
        candidate_seeds=(found.candidate_seed_variance or 0.0) * found.candidate_seeds,
        legacy_seeds=(found.legacy_seed_variance or 0.0) * found.legacy_seeds,
    )


def _covered(found: Comparison) -> float | None:
    """Share that is covered or lost, at which the variance holds: nominal where none or all is."""
    asked = Question(metric=found.metric, bound_high=found.bound_high)
    if asked.scale != "share" or found.candidate_value is None:
        return None
    return found.candidate_value if 0.0 < found.candidate_value < 1.0 else asked.nominal


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
