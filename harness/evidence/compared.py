"""What a comparison found, and what that says of plans like its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from harness.evidence.estimates import Conclusion, Estimate, Method, Question
from harness.evidence.power_law import Plan, Spread, too_few
from harness.evidence.sensitivity import Sensitivity
from harness.evidence.shares import true_share

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
