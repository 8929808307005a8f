"""What a nightly job would have said, night by night, from stored forecasts; no model is run.

The same is read off planted truths, so that one sees what this plan on these data does with a known
answer: the arms exchanged, and a candidate exactly at its margins.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.errors import StoreError
from harness.evidence.comparison import answer
from harness.evidence.estimand import loss_of
from harness.evidence.pairing import pair
from harness.experiments.policy import Policy
from harness.experiments.rules import Looks
from harness.gate.dossier import Dossier
from harness.gate.judge import deciding_scores, scored
from harness.gate.looks import independent_of
from harness.judging.declared import Cell, Circumstances, Look
from harness.judging.findings import Outcome
from harness.judging.sequential import latches, look_at
from harness.judging.verdict import Verdict, verdict_on
from harness.running.grid import Grid
from harness.running.store_folder import Store
from harness.scoring.metrics import AGGREGATES
from harness.scoring.scores import UnitScores, in_time_order, reach_of
from harness.window import Dates

MORE = 1.1
"""Origins in the end for each of the first look, where the policy plans no looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """The looks of a stream of nights.

    Attributes
    ----------
    truth
        ``as it was``, ``arms exchanged`` or ``at the margin``.
    nights
        Sessions judged from the first look to the last.
    looks
        Each look and its verdict, in order, up to the one that decides.
    """

    truth: str
    nights: int
    looks: tuple[tuple[Look, Verdict], ...]

    @property
    def outcome(self) -> Outcome:
        """What stood in the end."""
        return self.looks[-1][1].outcome


def rehearse(
    grid: Grid, store: Store, *, policy: Policy, since: str = "", every: int = 1
) -> list[Rehearsal]:
    """Read stored forecasts night by night, as they came and with planted truths.

    Parameters
    ----------
    since
        ISO date of the first night; left out, the history is so long by then that a tenth of it
        is still to come.
    every
        Sessions from night to night.

    Raises
    ------
    StoreError
        When forecasts of the pair are missing, or there is no night.
    """
    found = scored(grid, store)
    lacking = [each.cell for each in found.cells if each.arm in policy.pair and not each.scores]
    if lacking or found.problems:
        raise StoreError(
            f"{store.root}: forecasts of {lacking[0] if lacking else 'some cells'} are missing; "
            "`abharness run` makes them"
        )
    asked = Dossier(grid=grid, store=store, policy=policy)
    scores = [in_time_order(unit) for unit in deciding_scores(asked, found)]
    declared = [each.cell for each in found.cells]
    dates = {name: split.dataset.series.dates for name, split in grid.splits.items()}
    ends = [dates[unit.dataset][unit.origin - 1 + reach_of(unit)] for unit in scores]
    most = max(independent_of(scores).values())
    planned = policy.looks or Looks(max_origins=max(2, most), attempts=1)
    policy = dataclasses.replace(policy, looks=planned)
    nights = sorted({str(day) for each in ends for day in each})
    if since:
        nights = [day for day in nights if day >= since]
    else:
        least = math.ceil(most / MORE)
        came = {day: independent_of(_until(scores, ends, day)) for day in nights}
        nights = [day for day in nights if max(came[day].values()) >= least]
    nights = nights[::every]
    if not nights:
        raise StoreError(
            f"--from {since}: no origin was judged after that day, so there is nothing to rehearse"
        )
    other = {policy.candidate: policy.baseline, policy.baseline: policy.candidate}
    turned = [dataclasses.replace(each, arm=other.get(each.arm, each.arm)) for each in declared]
    roles = {unit.arm: unit.role for unit in scores}
    exchanged = [
        dataclasses.replace(unit, arm=other[unit.arm], role=roles[other[unit.arm]])
        if unit.arm in other
        else unit
        for unit in scores
    ]
    truths = {
        "as it was": (scores, declared),
        "arms exchanged": (exchanged, turned),
        "at the margin": (_at_margin(scores, policy), declared),
    }
    return [
        _stream(truth, units, cells, policy, ends, nights)
        for truth, (units, cells) in truths.items()
    ]


def _until(scores: Sequence[UnitScores], ends: Sequence[Dates], day: str) -> list[UnitScores]:
    """The scores of the origins whose last session had come by a day."""
    came = np.datetime64(day)
    return [unit.at(each <= came) for unit, each in zip(scores, ends, strict=True)]


def _stream(
    truth: str,
    scores: Sequence[UnitScores],
    declared: Sequence[Cell],
    policy: Policy,
    ends: Sequence[Dates],
    nights: Sequence[str],
) -> Rehearsal:
    """Take every look that the nights bring."""
    taken: list[tuple[Look, Verdict]] = []
    latched: dict[str, str] = {}
    before: dict[str, int] = {}
    for day in nights:
        there = _until(scores, ends, day)
        origins = independent_of(there)
        if not any(count > before.get(name, 0) for name, count in origins.items()):
            continue
        before = origins
        look = look_at(
            policy,
            origins,
            until=day,
            earlier=[each for each, _ in taken],
            latched=latched,
        )
        verdict = verdict_on(policy, declared, there, Circumstances(look=look), ask=answer)
        taken.append((look, verdict))
        latched = latches(verdict.findings, look)
        if verdict.outcome in (Outcome.PROMOTE, Outcome.REJECT) or look.last:
            break
    return Rehearsal(truth=truth, nights=len(nights), looks=tuple(taken))


def _at_margin(scores: Sequence[UnitScores], policy: Policy) -> list[UnitScores]:
    """A candidate whose mean losses lie at each margin, over all origins there are."""
    found = list(scores)
    for rule in policy.criteria:
        if rule.role != "guardrail" or rule.statistic != "mean":
            continue
        cell, estimand = AGGREGATES[rule.metric].of, loss_of(rule.metric)
        for dataset in {unit.dataset for unit in scores if rule.scope.covers(unit.dataset)}:
            sides = [
                [unit for unit in scores if (unit.arm, unit.dataset) == (arm, dataset)]
                for arm in (policy.candidate, policy.baseline)
            ]
            means = estimand.sides(pair(sides[0], sides[1], rule.metric)).means
            ratio = 1 + estimand.effect(float(means[0].mean() / means[1].mean()) - 1)
            times = estimand.cell_factor((1 + rule.margin) / ratio)
            for place, unit in enumerate(found):
                if (unit.arm, unit.dataset) == (policy.candidate, dataset):
                    values = {**unit.values, cell: unit.values[cell] * times}
                    found[place] = dataclasses.replace(unit, values=values)
    return found
