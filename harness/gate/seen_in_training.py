"""Origins that the weights of an arm have seen: shown apart, and left out of every decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.experiments.policy import Policy
from harness.judging.fact import Fact, FactCode, Value, fact
from harness.scoring.metrics import AGGREGATES
from harness.scoring.scores import Flags, UnitScores

TRAINED_UNTIL = "trained until"
"""Fact of a card: the last session that an arm's weights have seen, an ISO date."""


def after_training(
    scores: Sequence[UnitScores], policy: Policy, cards: Mapping[str, Mapping[str, str]]
) -> tuple[list[UnitScores], list[Fact], list[Fact]]:
    """Leave out origins that a side's weights have seen: they prove nothing about it.

    Returns
    -------
    The scores of all arms at the origins that are left; what was left out, as doubts; and, where
    that is every origin of a dataset, as problems, with nothing left out there.
    """
    dates = {name: cards.get(name, {}).get(TRAINED_UNTIL, "") for name in policy.pair}
    arm = max(dates, key=lambda name: dates[name])
    if not dates[arm]:
        return list(scores), [], []
    until = np.datetime64(dates[arm])
    kept: list[UnitScores] = []
    facts: dict[str, Fact] = {}
    problems: dict[str, Fact] = {}
    for unit in scores:
        later = unit.origin_date > until
        said: dict[str, Value] = {"dataset": unit.dataset, "arm": arm, "until": dates[arm]}
        said["of"] = len(later)
        if later.all():
            kept.append(unit)
        elif not later.any():
            problems[unit.dataset] = fact(FactCode.ALL_SEEN_IN_TRAINING, **said)
            kept.append(unit)
        else:
            metric, effect = _effect_where(~later, scores, policy, unit.dataset)
            more: dict[str, Value] = {"metric": metric, "effect": effect}
            said["origins"] = int((~later).sum())
            facts[unit.dataset] = fact(FactCode.SEEN_IN_TRAINING, **said, **more)
            kept.append(unit.at(later))
    return kept, list(facts.values()), list(problems.values())


def _effect_where(
    rows: Flags, scores: Sequence[UnitScores], policy: Policy, dataset: str
) -> tuple[str, float | None]:
    """The policy's first loss at some origins: the candidate's share above the baseline's."""
    metric = policy.criteria[0].metric if policy.criteria else "crps"
    of = AGGREGATES[metric].of
    units = [unit for unit in scores if unit.dataset == dataset and of in unit.values]
    sides = [
        [float(unit.values[of][rows].mean()) for unit in units if unit.arm == name]
        for name in (policy.candidate, policy.baseline)
    ]
    if not all(sides) or not np.mean(sides[1]) > 0:
        return metric, None
    effect = float(np.mean(sides[0]) / np.mean(sides[1]) - 1)
    return metric, effect if np.isfinite(effect) else None
