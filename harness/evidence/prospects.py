"""What an answer is worth: whether it stands under variations, and what larger plans would tell."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from harness.evidence.comparison import Comparison, Planning, answer, recent_origins
from harness.evidence.estimates import Question, vary
from harness.evidence.pairing import Pair
from harness.stats.longrun import true_share
from harness.stats.statistical_power import (
    Plan,
    Spread,
    Veto,
    chance_of_deciding,
    detectable,
    origins_needed,
    seeds_needed,
)

REACHABLE = 100
"""More than this many times the origins or seeds there are is called out of reach."""


EFFECTS = (0.0, -0.05, -0.1, -0.3)
"""True effects for which the chance of deciding is told."""
SOON = 366
"""Days ahead beyond which a date is no answer."""


def date_of_more(both: Pair, more: int) -> str | None:
    """ISO date by which `more` further independent origins and their steps exist, if that is soon.

    Sessions are turned into days at the pace of the origins there are. None where more than a
    year lies ahead.
    """
    rows = int(both.origin[-1] - both.origin[0])
    days = int((both.origin_date[-1] - both.origin_date[0]).astype("timedelta64[D]").astype(int))
    stride = int(np.diff(both.origin).min())
    sessions = more * both.overlap * stride + both.reach
    wait = math.ceil(sessions * days / rows)
    if wait > SOON:
        return None
    ahead = np.timedelta64(wait, "D")
    return str(both.origin_date[-1].astype("datetime64[D]") + ahead)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospects:
    """What a comparison lets one predict, of its own plan and of larger ones.

    Attributes
    ----------
    found, effect
        The comparison, and the effect it found.
    plan
        How much it looked at.
    spread
        How relative differences vary.
    """

    found: Comparison
    effect: float
    plan: Plan
    spread: Spread

    def as_planning(self, both: Pair) -> Planning:
        """Say what this plan detects, and what would decide a question that is open."""
        found, plan, spread, asked = self.found, self.plan, self.spread, self.found.question
        alpha, power = asked.alpha, asked.power
        planning = Planning(
            detectable=detectable(spread, plan, alpha=alpha, power=power),
            chances=tuple((true, self._chance(true, plan, asked)) for true in EFFECTS),
            chance=self._chance(self.effect, plan, asked),
        )
        if found.conclusion != "undecided":
            return planning
        distance = min(abs(self.effect - bound) for bound in asked.bounds)
        most = plan.n + REACHABLE * found.sample.independent_n * plan.overlap
        origins = origins_needed(
            spread, plan, distance=distance, alpha=alpha, power=power, most=most
        )
        if origins is not None:
            more = max(1, math.ceil((origins - plan.n) / plan.overlap))
            by = date_of_more(both, more)
            return dataclasses.replace(planning, more_origins=more, decided_by=by)
        most = REACHABLE * max(plan.candidate_seeds, plan.legacy_seeds)
        needed = seeds_needed(spread, plan, distance=distance, alpha=alpha, power=power, most=most)
        return dataclasses.replace(planning, seeds_needed=needed)

    def chance_with(
        self, *, independent: int, seeds: int | None = None, bound: float | None = None
    ) -> float:
        """Chance that a larger plan decides if the effect stays.

        Parameters
        ----------
        independent
            Non-overlapping origins of that plan.
        seeds
            Seeds there of a side that has several; None: as many as now. An arm with one draws
            nothing.
        bound
            What it asks for, as a rule names it; None: the same as here.
        """
        plan, asked = self.plan, self.found.question
        now = (plan.candidate_seeds, plan.legacy_seeds)
        ours, theirs = (have if seeds is None or have == 1 else seeds for have in now)
        larger = dataclasses.replace(
            plan, n=independent * plan.overlap, candidate_seeds=ours, legacy_seeds=theirs
        )
        if bound is not None:
            low, high = self.found.estimand.bounds(bound)
            asked = dataclasses.replace(asked, bound_low=low, bound_high=high)
        return self._chance(self.effect, larger, asked)

    def chance_at_look(self, true: float, *, independent: int, alpha: float, once: bool) -> float:
        """Chance that a look at so many non-overlapping origins shows the bound to be kept.

        Parameters
        ----------
        true
            The true effect.
        alpha
            What the look may spend; with `once` it is the only one.
        """
        plan, asked = self.plan, self.found.question
        more = (independent - self.found.sample.independent_n) * plan.overlap
        return chance_of_deciding(
            self._spread_at(true),
            dataclasses.replace(plan, n=plan.n + more, among_looks=not once),
            effect=true,
            bound_high=asked.bound_high,
            bound_low=asked.bound_low,
            alpha=alpha * asked.estimand.alpha_share,
            either_way=False,
        )

    def _chance(self, true: float, plan: Plan, asked: Question) -> float:
        """Chance that a plan decides a question if the true effect were another one."""
        low, high = asked.recent_bounds
        last = recent_origins(plan.n, plan.overlap)
        return chance_of_deciding(
            self._spread_at(true),
            plan,
            effect=true,
            bound_high=asked.bound_high,
            bound_low=asked.bound_low,
            alpha=asked.alpha,
            alpha_beyond=asked.alpha_beyond,
            veto=None if last is None else Veto(n=last, low=low, high=high),
            either_way=asked.bound_high >= 0,
        )

    def _spread_at(self, true: float) -> Spread:
        """How differences would vary if the true effect were another one.

        Then the candidate's losses would be so many times as large, and a difference varies as
        much more; a share varies as a share of that size does.
        """
        spread, effect = self.spread, self.effect
        if self.found.estimand.relative and effect > -1:
            by = (1 + true) / (1 + effect)
            return dataclasses.replace(
                spread,
                long_run=spread.long_run * by**2,
                along=spread.along * by,
                candidate_seeds=spread.candidate_seeds * by**2,
                legacy_seeds=spread.legacy_seeds * by**2,
                ratio=1 + true,
            )
        if spread.share is not None:
            share = min(0.999, max(0.001, spread.share + true - effect))
            by = share * (1 - share) / (spread.share * (1 - spread.share))
            long_run = spread.long_run * by
            return dataclasses.replace(spread, share=share, long_run=long_run, ratio=share)
        return spread


def prospects_of(found: Comparison) -> Prospects | None:
    """Say how a comparison's differences vary; None where nothing can be predicted.

    That is: where it found nothing, or has too few non-overlapping origins.
    """
    known, sample, effect = found.variances, found.sample, found.effect.value
    if known is None or effect is None or found.silent:
        return None
    one = sample.n / true_share(sample.n, sample.overlap, known.rho)  # from the mean to one origin
    share = found.estimand.share_at(found.effect.candidate)
    ratio = share if share is not None else 1.0
    if found.estimand.relative:
        ratio = 1 + effect
    return Prospects(
        found=found,
        effect=effect,
        plan=Plan(
            n=sample.n,
            overlap=sample.overlap,
            candidate_seeds=sample.candidate_seeds,
            legacy_seeds=sample.legacy_seeds,
            bounds=len(found.question.bounds),
            among_looks=found.question.among_looks,
        ),
        spread=Spread(
            long_run=known.origins * one,
            level=(known.level or 0.0) * one,
            along=(known.level_covariance or 0.0) * one,
            rho=known.rho,
            skewness=known.lean * math.sqrt(sample.n),
            share=share,
            candidate_seeds=known.candidate_seeds * sample.candidate_seeds,
            legacy_seeds=known.legacy_seeds * sample.legacy_seeds,
            ratio=ratio or 1.0,  # at a ratio of 0 nothing of legacy's seeds is in the effect
        ),
    )


def comparison_of(both: Pair, question: Question) -> Comparison:
    """Answer as `answer` does, and say how much the answer is worth.

    That is: whether it stands under variations, what such a plan detects, and what would decide
    a question that is open.
    """
    made = answer(both, question)
    if not made.estimates:
        return made
    sides = question.estimand.sides(question.estimand.whole(both))
    varied = vary(sides, question, lengths=made.lengths, conclusion=made.conclusion)
    made = dataclasses.replace(made, sensitivity=varied)
    ahead = prospects_of(made)
    return made if ahead is None else dataclasses.replace(made, planning=ahead.as_planning(both))


class ComparesOnce:
    """Answers as `comparison_of` does, and the same question about the same losses only once.

    Losses are the same where every bit of them is, in the same order.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Comparison] = {}

    def __call__(self, both: Pair, question: Question) -> Comparison:
        """Compare, or take the comparison that was made before."""
        arrays = (
            *(both.candidate, both.legacy, both.origin, both.origin_date),
            *(both.candidate_ok, both.legacy_ok),
        )
        content = tuple((each.shape, each.tobytes()) for each in arrays)
        key = (question, both.names, both.reach, *content)
        if key not in self._known:
            self._known[key] = comparison_of(both, question)
        return self._known[key]
