"""A policy held against evidence that goes on growing: what each look may spend, and what it finds.

A look takes place when a dataset has more non-overlapping origins than at the look before. Each
finding is then judged by the rule that always judges it, at the level its share of the error rate
allows (`harness.stats.spending`). What was shown to hold at a look stays shown: each finding may
cross at a look of its own.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from harness.evidence.estimates import Question
from harness.experiments.policy import Policy
from harness.judging.declared import Look, LookLevel
from harness.judging.fact import FactCode, fact
from harness.judging.findings import Finding, Outcome, p_of_reject
from harness.stats.bootstrap import RESAMPLES
from harness.stats.spending import levels, spent


def look_at(
    policy: Policy,
    origins: Mapping[str, int],
    *,
    until: str,
    earlier: Sequence[Look] = (),
    latched: Mapping[str, str] | None = None,
    attempt: int = 1,
    prospective: Mapping[str, tuple[str, ...]] | None = None,
) -> Look:
    """Plan the look that so many origins allow.

    An attempt that has no part of the error rate has all of it on its prospective origins, and half
    of that of a REJECT there and on the others each.

    Parameters
    ----------
    policy
        With a table of looks.
    origins
        Non-overlapping origins by dataset, all of whose steps have come.
    until
        ISO date of the last session judged.
    earlier
        The looks before it, in order.
    latched
        Findings that were shown to hold, with the date of their look.
    attempt
        Which try on these origins it belongs to, from 1.
    prospective
        See `Look`; `origins` counts those alone then.
    """
    asked = policy.looks
    assert asked is not None
    share = 1.0 if prospective else asked.share(attempt)
    rejects = policy.guardrails_on(list(origins))
    rejects += len(origins) if policy.limits.min_skill is not None else 0
    rejects *= 1 if asked.share(attempt) else 2
    successes = max(1, policy.successes_on(list(origins)))

    def at(dataset: str, alpha: float) -> float | None:
        alike = [look for look in earlier if bool(look.prospective) == bool(prospective)]
        counts = [look.origins[dataset] for look in alike if dataset in look.origins]
        if alpha <= 0 or not origins[dataset]:
            return None
        fractions = [count / asked.max_origins for count in (*counts, origins[dataset]) if count]
        level = float(levels(fractions, alpha, asked.spending)[-1])
        return None if math.isnan(level) else level

    most = max(origins.values(), default=0) / asked.max_origins
    return Look(
        number=len(earlier) + 1,
        until=until,
        attempt=attempt,
        share=share,
        most=asked.max_origins,
        origins=dict(origins),
        levels={
            name: LookLevel(
                guardrail=at(name, policy.alpha * share),
                success=at(name, policy.alpha * share / successes),
                reject=at(name, policy.alpha / max(1, rejects)),
            )
            for name in origins
        },
        spent=spent(most, policy.alpha * share, asked.spending) if share and most else 0.0,
        latched=dict(latched or {}),
        prospective=dict(prospective or {}),
    )


def grown(origins: Mapping[str, int], before: Look) -> int:
    """Non-overlapping origins that came since a look, of the dataset with most of them."""
    return max((count - before.origins.get(name, 0) for name, count in origins.items()), default=0)


def at_look(asked: Question, alpha: float) -> Question:
    """Ask at the level of a look, with at least 40 resamples beyond it as far as 20,000 go."""
    level = alpha * asked.estimand.alpha_share
    resamples = max(RESAMPLES, min(20_000, math.ceil(40 / level)))
    return dataclasses.replace(
        asked, alpha=level, alpha_beyond=None, resamples=resamples, among_looks=True
    )


def read_at(findings: Sequence[Finding], look: Look) -> list[Finding]:
    """Leave open what the level of a look does not show, and keep what an earlier one showed."""
    read = []
    for finding in findings:
        each = finding
        level = look.levels.get(each.dataset)
        if each.comparison is None or level is None:
            read.append(each)
            continue
        if each.outcome is Outcome.PROMOTE and level.of(each.role) is None:
            each = dataclasses.replace(each, outcome=Outcome.HOLD, found=fact(FactCode.NO_LOOK))
        if each.outcome is Outcome.REJECT:
            p_value = p_of_reject(each)
            if level.reject is None or p_value > level.reject:
                later = fact(FactCode.NOT_BEYOND_YET, level=level.reject, p=p_value)
                each = dataclasses.replace(each, outcome=Outcome.HOLD, found=later)
        since = look.latched.get(each.id)
        waits = each.found.code in (FactCode.UNDECIDED, FactCode.NO_LOOK)
        if since is not None and each.outcome is Outcome.HOLD and waits:
            shown = fact(FactCode.SHOWN_BEFORE, since=since)
            each = dataclasses.replace(each, outcome=Outcome.PROMOTE, found=shown)
        read.append(each)
    return read


def latches(findings: Sequence[Finding], look: Look) -> dict[str, str]:
    """Findings shown to hold up to now, with the date of their look."""
    now = {
        each.id: look.until
        for each in findings
        if each.comparison is not None and each.outcome is Outcome.PROMOTE
    }
    return {**now, **look.latched}
