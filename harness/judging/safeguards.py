"""What stands beside the rules of a policy: what holds a PROMOTE back, and what must be known.

A policy says what is judged. These look at what it does not say: a baseline or a candidate that a
random walk beats, data and losses that no rule speaks of, rules so wide or so thoroughly waived
that they judge nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from harness.evidence.comparison import answer
from harness.evidence.estimand import Coverage, loss_of
from harness.evidence.estimates import Question
from harness.evidence.pairing import PairingError, pair
from harness.experiments.rules import EvidenceNeeded
from harness.experiments.waivers import WaiverState
from harness.judging.declared import JudgedGrid
from harness.judging.fact import Fact, FactCode, Value, fact
from harness.judging.findings import Finding, Multiplicity, judge_rule
from harness.judging.reference import ALWAYS, AgainstReference, rows_of, shown_by, straw_man
from harness.judging.validity import Validity

WIDEST_MARGIN = 0.25
"""A margin or tolerance beyond this lets pass what nobody would call as good."""
LARGEST_ALPHA = 0.1
LONGEST_WAIVER = 366
"""Days."""
COVERAGES = (80, 95)
OFF_BY = 0.1
"""Coverage that no rule names is told where it is shown to be further from nominal than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Safeguards:
    """What was found beside the rules.

    Attributes
    ----------
    first
        Said before anything else.
    holds
        With any of these a PROMOTE is a HOLD.
    notes
        Must be known with whatever the outcome is.
    """

    first: tuple[Fact, ...] = ()
    holds: tuple[Fact, ...] = ()
    notes: tuple[Fact, ...] = ()


def safeguards_of(grid: JudgedGrid, *, validity: Validity, shared: Multiplicity) -> Safeguards:
    """Look at everything that does not depend on the findings."""
    policy, changed = grid.policy, grid.given.changed
    weak = straw_man(policy, validity.standings)
    straw = (weak,) if weak else ()
    first = (*straw, *((changed,) if changed else ()))
    behind = list(_behind(grid, shared=shared, bar=validity.reference))
    worse = list(_worse_beside(grid))
    nobody = [name for name in grid.datasets if not policy.judges_whole(name)]
    unjudged = [each for each in worse if each.code is FactCode.UNJUDGED_WORSE]
    stops = [*unjudged] if policy.unjudged == "hold" else []
    implausible = [each for each in validity.doubts if each.code is FactCode.IMPLAUSIBLE]
    notes = [*_covers(grid), *(each for each in worse if each not in stops)]
    own = [each for each in validity.standings if each.arm == policy.candidate]
    if below := [each for each in own if each.skill is not None and each.skill < 0]:
        # beating a weak legacy arm is no reason to migrate
        said: dict[str, Value] = {"arm": policy.candidate, "reference": below[0].reference}
        notes.insert(0, fact(FactCode.BELOW_REFERENCE, **said, rows=rows_of(below)))
    if nobody:
        notes.append(fact(FactCode.UNJUDGED, datasets=tuple(nobody)))
    if validity.reference is None:
        pair_ = {"candidate": policy.candidate, "legacy": policy.baseline}
        notes.append(fact(FactCode.NO_REFERENCE_ARM, **pair_))
    wide = [  # what passes settings so wide is hardly judged
        (rule.estimand.name, abs(rule.bound))
        for rule in policy.rules
        if rule.role == "guardrail" and abs(rule.bound) > WIDEST_MARGIN
    ]
    if wide:
        rules = tuple(dict.fromkeys(wide))
        notes.append(fact(FactCode.WIDE_MARGINS, rules=rules, most=WIDEST_MARGIN))
    if policy.alpha > LARGEST_ALPHA:
        notes.append(fact(FactCode.LAX_ALPHA, alpha=policy.alpha, most=LARGEST_ALPHA))
    doubted, skill = EvidenceNeeded().implausible_skill, policy.evidence.implausible_skill
    if skill > doubted:
        notes.append(fact(FactCode.LAX_IMPLAUSIBLE, skill=skill, most=doubted))
    return Safeguards(
        first=first,
        holds=(
            *(straw if policy.broken_baseline == "hold" else ()),
            *behind,
            *stops,
            *implausible,
        ),
        notes=tuple(notes),
    )


def _behind(grid: JudgedGrid, *, shared: Multiplicity, bar: str | None) -> Iterator[Fact]:
    """Guardrails and successes that the candidate breaks with the reference in legacy's place."""
    policy, found = grid.policy, list[Finding]()
    for dataset in grid.datasets:
        candidate, reference = grid.units(policy.candidate, dataset), grid.units(bar, dataset)
        for rule in policy.criteria:
            if not rule.scope.covers(dataset) or not candidate or not reference:
                continue
            _, bound = rule.estimand.bounds(rule.bound)
            found += judge_rule(
                rule,
                dataset,
                policy=policy,
                question=Question(
                    estimand=rule.estimand,
                    bound_high=max(0.0, bound),  # of a gain: not worse than the reference
                    alpha=shared.alpha_guardrail * rule.estimand.alpha_share,
                    power=shared.power_each,
                ),
                candidate=candidate,
                legacy=reference,
                ask=answer,
            )
    shown = [each for each in found if each.comparison and each.comparison.conclusion == "beyond"]
    if shown:
        rules = tuple(dict.fromkeys((each.dataset, each.metric, each.part) for each in shown))
        yield fact(FactCode.BEHIND_REFERENCE, arm=policy.candidate, reference=bar, rules=rules)


def _worse_beside(grid: JudgedGrid) -> Iterator[Fact]:
    """Where the candidate is shown worse than legacy by a loss that no rule judges as a whole."""
    policy = grid.policy
    beside: list[AgainstReference] = []
    unjudged: list[AgainstReference] = []
    for dataset in grid.datasets:
        legacy, candidate = (grid.units(arm, dataset) for arm in policy.pair)
        named = {
            rule.metric
            for rule in policy.criteria
            if rule.scope.covers(dataset) and not (rule.scope.steps or rule.scope.slices)
        }
        for metric in ALWAYS:
            if metric in named:
                continue
            found = shown_by(loss_of(metric), candidate, legacy, alpha=policy.alpha)
            if found is not None and found.shown == "worse":
                (beside if policy.judges_whole(dataset) else unjudged).append(found)
    pair_: dict[str, Value] = {"arm": policy.candidate, "legacy": policy.baseline}
    if unjudged:
        yield fact(FactCode.UNJUDGED_WORSE, **pair_, rows=rows_of(unjudged))
    if beside:
        yield fact(FactCode.WORSE_BESIDE, **pair_, rows=rows_of(beside))


def _covers(grid: JudgedGrid) -> Iterator[Fact]:
    """Intervals of the candidate that no rule judges and that are shown not to cover."""
    policy, rows = grid.policy, []
    for dataset in grid.datasets:
        side = grid.units(policy.candidate, dataset)
        for level in COVERAGES:
            if any(each.level == level and each.scope.covers(dataset) for each in policy.coverage):
                continue
            estimand = Coverage(level=level)
            try:
                both = pair(side, side, estimand.metric)
            except PairingError:
                continue
            asked = Question(
                estimand=estimand, bound_low=-OFF_BY, bound_high=OFF_BY, alpha=policy.alpha
            )
            found = answer(both, asked)
            test = found.estimate("seeds") or found.estimate("hac")
            if found.conclusion == "beyond" and test is not None and test.effect is not None:
                shares = [
                    None if each is None else min(1.0, max(0.0, estimand.nominal + each))
                    for each in (test.effect, test.low, test.high)
                ]
                rows.append((dataset, estimand.metric, *shares))
    if rows:
        yield fact(FactCode.COVERS_OTHERWISE, arm=policy.candidate, rows=tuple(rows))


def waived_away(findings: Sequence[Finding]) -> Iterator[Fact]:
    """That every guardrail on a loss is waived: coverage and limits alone are no policy."""
    losses = [
        each
        for each in findings
        if each.role == "guardrail" and each.estimand is not None and each.unit == "share"
    ]
    bars = losses or [each for each in findings if each.role == "guardrail"]
    if bars and all(each.waived for each in bars):
        yield fact(FactCode.ALL_WAIVED)


def of_waivers(states: Sequence[WaiverState], *, today: str | None) -> Iterator[Fact]:
    """Waivers that hold for more than a year, or for findings nobody named."""
    for each in states:
        written = each.waiver
        if any(sign in written.finding for sign in "*?["):
            waived = len(each.waived)
            yield fact(FactCode.BROAD_WAIVER, finding=written.finding, waived=waived)
        days = (date.fromisoformat(written.until) - date.fromisoformat(today or written.until)).days
        if days > LONGEST_WAIVER:
            yield fact(
                FactCode.LONG_WAIVER,
                finding=written.finding,
                until=written.until,
                days=days,
                most=LONGEST_WAIVER,
            )
