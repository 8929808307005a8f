"""Outlook: what would decide an open question, and by when."""

from __future__ import annotations

import math
from typing import TypedDict

import numpy as np

from harness.evidence.estimates import Question
from harness.evidence.pairing import Pair
from harness.evidence.power_law import Plan, Spread, origins_needed, seeds_needed
from harness.scoring.scores import non_overlapping

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
