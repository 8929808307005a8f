"""Requirements that stored scores and the stored verdict answer.

Shapes: W origins, H steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from harness.claims.claim import Answer, ClaimEvidence, Measurement, Requirement
from harness.evidence.comparison import answer
from harness.evidence.estimand import Coverage, RelativeCoverage, loss_of
from harness.evidence.estimates import Conclusion, Question
from harness.evidence.pairing import PairingError, overlap_of, pair
from harness.judging.findings import Outcome
from harness.reasons import ReasonCode, reason
from harness.scoring.metrics import AGGREGATES, PINBALL
from harness.scoring.scores import in_time_order, non_overlapping, reach_of
from harness.stats.bootstrap import RESAMPLES, block_law, stretched
from harness.stats.longrun import (
    block_starts,
    choose_lag,
    circular_means,
    generator_of,
    optimal_block,
)
from harness.window import Array

Bar = Literal["baseline", "reference"]
ByDataset = Callable[[ClaimEvidence, str], list[Measurement]]

TAILS = (0.025, 0.975)
"""Ends of every interval made here."""
LEAST_ORIGINS = 20
"""Non-overlapping origins below which no interval is made."""


def _everywhere(text: str, measure: ByDataset) -> Requirement:
    """Ask on every dataset; open where scores of a side are missing."""

    def ask(found: ClaimEvidence) -> Answer:
        run = found.command("compare")
        if not found.scores:
            return Answer.missing("no scores of this grid are stored", run)
        rows, why = list[Measurement](), list[str]()
        for dataset in found.datasets:
            try:
                rows += measure(found, dataset)
            except PairingError as problem:
                why.append(str(problem))
        answer = Answer.of(rows, why="the intervals do not decide")
        if why and answer.holds is not False:
            return Answer.missing("; ".join(why), run, measured=rows)
        return answer

    return Requirement(text=f"{text} on every dataset", ask=ask)


def better(metric: str, than: Bar) -> Requirement:
    """The candidate's loss is shown to be lower on every dataset."""
    title = AGGREGATES[metric].title

    def measure(found: ClaimEvidence, dataset: str) -> list[Measurement]:
        other = found.baseline if than == "baseline" else found.reference
        if other is None:
            raise PairingError(reason(ReasonCode.NO_REFERENCE_ARM))
        sides = found.scores_of(found.candidate, dataset), found.scores_of(other, dataset)
        question = Question(estimand=loss_of(metric), bound_high=0.0, alpha=found.alpha)
        said = answer(pair(*sides, metric), question)
        # no loss falls by more than all of it, whatever the interval of its ratio says
        low, high = (None if end is None else 100 * max(end, -1.0) for end in said.bounds)
        row = Measurement(
            what=f"{title} against {other}'s",
            value=None if said.effect.value is None else 100 * said.effect.value,
            unit="%",
            low=low,
            high=high,
            arm=found.candidate,
            dataset=dataset,
            source=_units(found, dataset, found.candidate, other),
            holds=_SHOWN[said.conclusion],
        )
        return [row]

    return _everywhere(f"{title} of the candidate shown lower than the {than}'s", measure)


def _units(found: ClaimEvidence, dataset: str, *arms: str) -> str:
    """The units behind a number; the verdict where there is one."""
    if found.verdict is not None:
        return f"verdict {found.verdict_id}"
    keys = [run.key[:12] for arm in arms for run in found.units_of(arm, dataset)]
    more = f" and {len(keys) - 2} more" if len(keys) > 2 else ""
    return f"units {', '.join(keys[:2])}{more}"


def nearer_coverage() -> Requirement:
    """Its intervals cover nearer to what they promise than the baseline's, on every dataset."""

    def measure(found: ClaimEvidence, dataset: str) -> list[Measurement]:
        """Differences of the distances from nominal, with the bounds that a rule on them has."""
        ours, theirs = (found.scores_of(arm, dataset) for arm in (found.candidate, found.baseline))
        rows = []
        for level in found.coverage_levels or (80,):
            estimand = RelativeCoverage(level=level)
            both = pair(ours, theirs, estimand.metric)
            alpha = found.alpha * estimand.alpha_share
            said = answer(both, Question(estimand=estimand, bound_high=0.0, alpha=alpha))
            known = bool(np.isfinite(both.candidate).all() and np.isfinite(both.legacy).all())
            enough = known and said.sample.independent_n >= LEAST_ORIGINS
            value = said.effect.value
            low, high = said.bounds if enough else (None, None)
            sides = (100 * each.mean() for each in (both.candidate, both.legacy))
            covered = " and ".join(f"{each:.1f} %" for each in sides)
            row = Measurement(
                what=f"distance from {level} % coverage, less that of {found.baseline}",
                value=100 * value if known and value is not None else None,
                unit="points",
                low=None if low is None else 100 * low,
                high=None if high is None else 100 * high,
                arm=found.candidate,
                dataset=dataset,
                source=_units(found, dataset, found.candidate, found.baseline),
                said=f"coverage is {covered}" + ("" if enough else "; no interval can be made"),
                holds=_SHOWN[said.conclusion] if enough else None,
            )
            rows.append(row)
        return rows

    text = (
        "intervals shown nearer to their nominal coverage than the baseline's, at every level the "
        "policy names,"
    )
    return _everywhere(text, measure)


_SHOWN: dict[Conclusion, bool | None] = {"within": True, "beyond": False, "undecided": None}


def covers() -> Requirement:
    """The verdict finds no coverage rule of the candidate broken, and all of them kept."""

    def ask(found: ClaimEvidence) -> Answer:
        if found.verdict is None:
            return Answer.missing(
                "no verdict on this grid is by this policy", found.command("compare")
            )
        rows = [
            Measurement(
                what=f"{each.metric.replace('_', ' ')} % less nominal",
                value=None if each.value is None else 100 * each.value,
                unit="points",
                arm=found.candidate,
                dataset=each.dataset,
                source=f"verdict {found.verdict_id}",
                judged=each,
                holds={Outcome.PROMOTE: True, Outcome.REJECT: False}.get(each.outcome),
            )
            for each in found.verdict.findings
            if each.comparison is not None and isinstance(each.estimand, Coverage)
        ]
        if not rows:
            return Answer.missing("the policy names no coverage")
        return Answer.of(rows, why="a coverage rule is open")

    return Requirement(text="the verdict finds every coverage rule kept", ask=ask)


def scored_by_level(low: int, high: int) -> Requirement:
    """Each level that is scored alone, from `low` to `high` per cent, has its pinball loss."""
    levels = [level for level in PINBALL if low <= level <= high]

    def measure(found: ClaimEvidence, dataset: str) -> list[Measurement]:
        """Mean loss of the candidate over seeds, origins and steps, the baseline's beside it."""
        rows = []
        for name in (f"pinball_{level}" for level in levels):
            means: list[float | None] = []  # NaN with a failed window, None without scores
            for arm in (found.candidate, found.baseline):
                scores = [e for e in found.scores_of(arm, dataset) if name in e.values]
                each = [score.values[name].mean() for score in scores]
                means.append(float(np.mean(each)) if each else None)
            ours, theirs = means
            if ours is None:
                raise PairingError(
                    reason(ReasonCode.NO_QUANTILES, arm=found.candidate, dataset=dataset)
                )
            known, title = bool(np.isfinite(ours)), AGGREGATES[name].title
            beside = "none" if theirs is None else f"{theirs:.3g}"
            beside = "not finite" if theirs is not None and np.isnan(theirs) else beside
            row = Measurement(
                what=title[0].upper() + title[1:],
                value=ours if known else None,
                unit="in units of the target",
                arm=found.candidate,
                dataset=dataset,
                source=_units(found, dataset, found.candidate, found.baseline),
                said=f"{found.baseline}'s is {beside}"
                + ("" if known else "; windows without a forecast"),
                holds=True if known else None,
            )
            rows.append(row)
        return rows

    listed = ", ".join(map(str, levels))
    text = f"the pinball loss at each of the levels {listed} % is measured"
    return _everywhere(text, measure)


def spread_follows_error() -> Requirement:
    """Wider intervals come with larger errors: the rank correlation is shown above 0."""
    wide, wrong = "width_80", "absolute_error"

    def measure(found: ClaimEvidence, dataset: str) -> list[Measurement]:
        units = [in_time_order(each) for each in found.scores_of(found.candidate, dataset)]
        if not units or any(wide not in unit.values for unit in units):
            raise PairingError(
                reason(ReasonCode.NO_QUANTILES, arm=found.candidate, dataset=dataset)
            )
        columns = [
            np.mean(
                [(unit.values[name] / unit.last[:, None]).mean(axis=1) for unit in units], axis=0
            )
            for name in (wide, wrong)
        ]
        reach = reach_of(units[0])
        pairs, apart = np.stack(columns), non_overlapping(units[0].origin, reach)
        blank = Measurement(
            what="rank correlation of 80 % width and absolute error",
            arm=found.candidate,
            dataset=dataset,
            source=_units(found, dataset, found.candidate),
        )
        varies = bool(np.isfinite(pairs).all() and (np.ptp(pairs, axis=1) > 0).all())
        if not varies or len(apart) < LEAST_ORIGINS:
            why = "too few" if varies else "with failed windows or one width"
            said = f"no interval: {len(apart)} origins apart, {why}"
            return [dataclasses.replace(blank, said=said)]
        low, value, high = rank_correlation(pairs, overlap_of(units[0].origin, reach))
        holds = True if low > 0 else False if high <= 0 else None
        return [dataclasses.replace(blank, value=value, low=low, high=high, holds=holds)]

    text = "rank correlation of the 80 % interval's width with the absolute error shown above 0"
    return _everywhere(text, measure)


def rank_correlation(pairs: Array, overlap: int) -> tuple[float, float, float]:
    """Spearman's coefficient of pairs [2, W] with its 95 % interval: low, value, high.

    Circular blocks of origins, as long as the lag of what one origin adds to the coefficient
    (its influence, Hampel 1974) asks for; resamples are stretched as those of a mean are, on
    Fisher's scale, on which they are nearer to normal.
    """
    rows = []
    for values in pairs:  # equal values at their mean rank; `scipy.stats` alone takes 0.3 s to load
        _, place, times = np.unique(values, return_inverse=True, return_counts=True)
        rows.append((np.cumsum(times) - (times - 1) / 2)[place])
    ranks = np.array(rows)
    ranks = (ranks - ranks.mean(axis=1, keepdims=True)) / ranks.std(axis=1, keepdims=True)
    one, other = ranks
    value = float((one * other).mean())
    influence = one * other - value * (one**2 + other**2) / 2
    count = pairs.shape[1]
    least = max(choose_lag(influence, overlap) + 1, overlap)
    block = min(count // 2, max(int(np.ceil(optimal_block(influence))), least))
    series = np.stack([one, other, one**2, other**2, one * other])
    starts = block_starts(count, block, RESAMPLES, generator_of(*pairs))
    a, b, aa, bb, ab = circular_means(series, starts, block)
    size = np.sqrt(np.maximum(0.0, (aa - a**2) * (bb - b**2)))
    drawn = np.divide(ab - a * b, size, out=np.zeros_like(size), where=size > 1e-12)
    turned = np.arctanh(np.clip([value, *drawn], -1 + 1e-9, 1 - 1e-9))
    law = block_law(count, block)
    low, high = np.quantile(stretched(turned[1:], float(turned[0]), law, 0.0), TAILS)
    return float(np.tanh(low)), value, float(np.tanh(high))


def judged(*outcomes: Outcome, against: Sequence[Outcome] = ()) -> Requirement:
    """The verdict came out as one of `outcomes`; one of `against` refutes."""

    def ask(found: ClaimEvidence) -> Answer:
        if found.verdict is None:
            return Answer.missing(
                "no verdict on this grid is by this policy", found.command("compare")
            )
        outcome = found.verdict.outcome
        row = Measurement(
            what=f"verdict {outcome.value}",
            arm=found.candidate,
            source=f"verdict {found.verdict_id}",
            judged=found.verdict,
            holds=True if outcome in outcomes else False if outcome in against else None,
        )
        return Answer.of([row], why=f"the verdict is {outcome.value}")

    names = " or ".join(each.value for each in outcomes)
    return Requirement(text=f"the verdict is {names}", ask=ask)
