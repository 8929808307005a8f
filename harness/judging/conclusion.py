"""From findings to one outcome, with what led to it and what to do now.

The outcome is the gravest of what was found, looked for from INVALID to PROMOTE.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.evidence.comparison import Comparison
from harness.evidence.prospects import prospects_of
from harness.experiments.waivers import WaiverState, states
from harness.judging.declared import JudgedGrid
from harness.judging.fact import Fact, FactCode, Value, fact
from harness.judging.findings import Finding, Multiplicity, Outcome, nearly_beyond
from harness.judging.safeguards import Safeguards, of_waivers, waived_away
from harness.judging.validity import Mark, Validity

State = Literal["passed", "failed", "not run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTestPart:
    """One of the six parts.

    Attributes
    ----------
    code
        ``a`` to ``f``.
    state
        ``not run`` is not a pass; `found` says why.
    found
        What it found.
    """

    code: str
    state: State
    found: Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """All parts."""

    parts: tuple[SelfTestPart, ...]

    @property
    def failures(self) -> tuple[Fact, ...]:
        """One for each part that failed."""
        return tuple(
            fact(FactCode.SELF_TEST_FAILED, part=each.code).resting_on(each.found)
            for each in self.parts
            if each.state == "failed"
        )

    @property
    def mark(self) -> Mark:
        """Whether the gate can be trusted: a part that failed breaks it, one not run is noted."""
        if self.failures:
            return "broken"
        return "holds" if self.passed == len(self.parts) else "note"

    @property
    def passed(self) -> int:
        """How many parts passed."""
        return sum(each.state == "passed" for each in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything examined and every rule judged, before anything is concluded."""

    grid: JudgedGrid
    validity: Validity
    findings: tuple[Finding, ...]
    multiplicity: Multiplicity
    safeguards: Safeguards


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """All that an outcome is made of.

    Attributes
    ----------
    findings
        With waived ones marked.
    waivers
        What each waiver of the policy did.
    safeguards
        What stands beside the rules.
    self_test
        None where the gate did not judge itself.
    """

    grid: JudgedGrid
    validity: Validity
    findings: tuple[Finding, ...]
    waivers: tuple[WaiverState, ...]
    safeguards: Safeguards
    self_test: SelfTest | None

    def of(self, outcome: Outcome) -> list[Finding]:
        """Findings of an outcome that bind."""
        return [each for each in self.findings if each.outcome is outcome and each.binding]

    @property
    def invalid(self) -> list[Finding]:
        """Findings that allow no conclusion: a success that cannot be judged is one too."""
        return [each for each in self.findings if each.outcome is Outcome.INVALID]

    @property
    def problems(self) -> tuple[Fact, ...]:
        """Why no conclusion is allowed, besides the findings."""
        failed = self.self_test.failures if self.self_test else ()
        return (*self.validity.problems, *failed)

    @property
    def gain(self) -> bool:
        """Whether a success is shown, where one is needed."""
        shown = any(f.role == "success" and f.outcome is Outcome.PROMOTE for f in self.findings)
        return self.grid.policy.mode == "replace" or shown

    @property
    def waived(self) -> list[Finding]:
        """Findings that a waiver keeps from binding."""
        return [each for each in self.findings if each.waived]

    @property
    def conclusion(self) -> Outcome:
        """The gravest of what was found; INVALID when nothing was compared."""
        compared = any(finding.comparison is not None for finding in self.findings)
        if self.problems or not compared or self.invalid:
            return Outcome.INVALID
        if self.of(Outcome.REJECT):
            return Outcome.REJECT
        if self.of(Outcome.HOLD) or not self.gain or self.safeguards.holds:
            return Outcome.HOLD
        return Outcome.PROMOTE

    def fact(self, code: FactCode, /, **values: Value) -> Fact:
        """State something about the pair."""
        legacy, candidate = self.grid.policy.pair
        return fact(code, candidate=candidate, legacy=legacy, **values)

    @property
    def answer(self) -> Fact:
        """The answer."""
        outcome = self.conclusion
        bars = [finding for finding in self.findings if finding.role == "guardrail"]
        if outcome == Outcome.INVALID:
            invalid = [finding.found for finding in self.invalid]
            first = [*self.problems, *invalid, fact(FactCode.NOTHING_COMPARED)][0]
            return self.fact(FactCode.NO_CONCLUSION).resting_on(first)
        if outcome == Outcome.REJECT:
            return self.fact(FactCode.BROKEN, rules=_rules(self.of(outcome)))
        if outcome == Outcome.PROMOTE:
            return self.fact(
                FactCode.ALL_HOLD,
                guardrails=len(bars),
                gain=self.grid.policy.mode == "improve",
                waived=len(self.waived),
            )
        open_ = self.of(Outcome.HOLD)
        on_losses = [finding for finding in open_ if finding.role == "guardrail"]
        if on_losses:
            count = len(on_losses)
            return self.fact(FactCode.GUARDRAILS_OPEN, open=count, guardrails=len(bars))
        if open_:
            return self.fact(FactCode.RULES_OPEN, rules=_rules(open_))
        if not self.gain:
            return self.fact(FactCode.NO_GAIN_YET)
        return self.fact(FactCode.HELD_BACK).resting_on(self.safeguards.holds[0])

    @property
    def grounds(self) -> tuple[Fact, ...]:
        """What led to the outcome, then the waivers, then what else must be known."""
        outcome = self.conclusion
        wanted = [finding for finding in self.findings if finding.role != "success"]
        if self.grid.policy.mode == "improve" and outcome in (Outcome.HOLD, Outcome.PROMOTE):
            wanted = list(self.findings)
        if outcome == Outcome.INVALID:
            wanted = list(self.findings)
        decisive = [f for f in wanted if f.outcome is outcome and not f.waived]
        if outcome == Outcome.INVALID:  # what broke an arm is often why nothing could be compared
            decisive += [f for f in self.of(Outcome.REJECT) if f.role == "limit"]
        problems = self.problems if outcome == Outcome.INVALID else ()
        empty = () if problems or decisive or self.safeguards.holds else (_NOTHING,)
        shown = [fact(FactCode.FINDING, id=each.id) for each in decisive]
        waivers = [fact(FactCode.WAIVER, place=place) for place in range(len(self.waivers))]
        beside = self.safeguards
        first = [_caution(each) for each in beside.first if each not in problems]
        holds = [each for each in beside.holds if each not in (*beside.first, *problems)]
        near = [each for each in map(nearly_beyond, self.findings) if each is not None]

        def room(said: Fact) -> float:
            numbers: Any = said.values
            return float((numbers["bound"] - numbers["effect"]) / numbers["error"])

        nearest = _one_a_dataset(sorted(near, key=room))
        rest = [*beside.notes, *self.validity.doubts, *nearest, *self._long_memory()]
        if outcome is not Outcome.HOLD:
            rest, holds = [*holds, *rest], []
        known = (*beside.first, *holds, *problems)
        cautions = [_caution(each) for each in rest if each not in known]
        if outcome is Outcome.INVALID:
            return (*problems, *shown, *empty, *first, *waivers, *cautions)
        return (*first, *holds, *shown, *empty, *waivers, *cautions)

    def _long_memory(self) -> list[Fact]:
        """Where differences may remember so long that intervals are too narrow: the most a dataset.

        What would no longer be shown comes first, what was widened already last.
        """
        found = []
        for finding in self.findings:
            compared = finding.comparison if finding.role != "limit" else None
            known = compared.variances if compared is not None else None
            if compared is None or known is None or known.memory is None:
                continue
            if known.memory.suspected or compared.shaken:
                said = fact(
                    FactCode.LONG_MEMORY,
                    dataset=finding.dataset,
                    metric=finding.metric,
                    part=finding.part,
                    memory=known.memory.order,
                    error=known.memory.error,
                    wider=known.memory_stretch,
                    done=known.memory.shown and compared.estimand.relative,
                    stands=not compared.shaken,
                    clusters=not (known.memory.suspected or compared.estimand.relative),
                )
                found.append(said)

        def weight(said: Fact) -> tuple[bool, bool, float]:
            values = said.values
            return bool(values["stands"]), bool(values["done"]), -float(values["wider"])  # type: ignore[arg-type]  # a number

        order = list(dict.fromkeys(each.values["dataset"] for each in found))
        found.sort(key=lambda each: (order.index(each.values["dataset"]), weight(each)))
        return _one_a_dataset(found)

    @property
    def advice(self) -> Fact:
        """What to do now: one step a person can take, and what it is worth."""
        outcome, given, holding = self.conclusion, self.grid.given, self.of(Outcome.HOLD)
        name = given.experiment
        if outcome == Outcome.PROMOTE:
            return self.fact(FactCode.REPLACE, experiment=name)
        if outcome == Outcome.REJECT:
            return self.fact(FactCode.KEEP, rules=_rules(self.of(outcome)), experiment=name)
        if outcome == Outcome.INVALID:
            missing = any(each.code is FactCode.CELLS_MISSING for each in self.problems)
            return self.fact(FactCode.FILL if missing else FactCode.REPAIR, experiment=name)
        if given.look is not None and given.look.last:
            return self.fact(FactCode.PLAN_ENDED, origins=given.look.most)
        if not holding and self.gain:
            held = self.safeguards.holds[0]
            return self.fact(FactCode.SETTLE_FIRST, experiment=name).resting_on(held)
        if holding and all(each.unit == "ratio" for each in holding):
            return self.fact(FactCode.MEASURE, rules=_rules(holding), experiment=name)
        if holding and all(each.found.code is FactCode.DEPENDS_ON_FAILED for each in holding):
            arm = holding[0].found.values["arm"]
            return self.fact(FactCode.RETRY_FAILED, arm=arm, experiment=name)
        return self._more_evidence()

    def _more_evidence(self) -> Fact:
        """The first step of these that is likely to decide a rule that is open.

        The larger built-in experiment, the origins that the history still holds, and waiting for
        sessions that come within a year. Where none is, the legacy arm is kept.
        """
        given = self.grid.given
        open_ = [f for f in self.findings if f.outcome is Outcome.HOLD and not f.waived]
        found = [(each, each.comparison) for each in open_ if each.comparison]
        about: dict[str, Value] = {
            "experiment": given.experiment,
            "alpha": self.grid.policy.alpha,
            "now": min((n for _, each in found if (n := each.sample.independent_n)), default=0),
            "ended": tuple(dict.fromkeys(f.dataset for f, _ in found if f.dataset in given.ended)),
            "better": next(
                (
                    str(e.values["reference"])
                    for e in self.safeguards.first
                    if e.code is FactCode.STRAW_MAN
                ),
                None,
            ),
            "unmeasured": any(each.unit == "ratio" for each in self.of(Outcome.HOLD)),
            "settled": tuple(
                (each.dataset, each.metric, each.part, each.unit, each.bound, compared.settled_at)
                for each, compared in found
                if compared.settled_at is not None
            ),
        }
        if given.look is not None and not about["ended"]:
            now = min(given.look.origins.values(), default=0)
            return self.fact(FactCode.NEXT_LOOK, **{**about, "now": now, "most": given.look.most})
        steps = () if given.look is not None else tuple(self._steps(found))
        about["hardly"] = None
        for each in steps:
            likely, unlikely, chance = self._prospects(each)
            if likely or chance is None:
                ends: dict[str, Value] = {"likely": likely, "unlikely": unlikely, "chance": chance}
                then = min(each.origins.values())
                return self.fact(each.code, **{**about, "then": then, **each.told, **ends})
            if each.code is FactCode.LARGER_PLAN and unlikely:
                chances = sorted(float(row[3]) for row in unlikely)
                named = (each.told["larger"], each.told["tighter"])
                about["hardly"] = (*named, chances[0], chances[-1])  # type: ignore[assignment]  # as told
        soon = [
            (each, compared.planning.more_origins or 0, compared.planning.decided_by)
            for each, compared in found
            if compared.planning.decided_by is not None
        ]
        if soon and not about["ended"]:
            return self.fact(
                FactCode.WAIT_FOR_ORIGINS,
                **about,
                rules=_rules([each for each, *_ in soon]),
                rest=len(found) - len(soon),
                more=max(more for _, more, _ in soon),
                until=max(str(until) for *_, until in soon),
            )
        wants = [
            (
                compared.sample.independent_n + compared.planning.more_origins,
                f.dataset,
                f.metric,
                f.part,
            )
            for f, compared in found
            if compared.planning.more_origins is not None
        ]
        nearest = min(wants, default=None)
        return self.fact(
            FactCode.KEEP_UNDECIDED,
            **about,
            nearest=nearest,
            silent=any(compared.silent for _, compared in found),
            held=max((min(each.origins.values()) for each in steps), default=None),
        )

    def _steps(self, found: Sequence[tuple[Finding, Comparison]]) -> Iterator[_Step]:
        """Larger plans on the same data: the larger built-in experiment, then earlier origins.

        Of those as many on each dataset, which makes no fit older.
        """
        given = self.grid.given
        larger = given.larger
        if larger is not None:
            tighter = any(
                larger.bounds.get(f"{each.metric}:{each.role}", each.bound) < each.bound
                for each, _ in found
            )
            yield _Step(
                code=FactCode.LARGER_PLAN,
                origins=larger.origins,
                told={"larger": larger.name, "seeds": larger.seeds, "tighter": tighter},
                seeds=larger.seeds,
                bounds=larger.bounds,
            )
        compared = sorted(
            (each.comparison for each in self.findings if each.comparison),
            # a rule whose arm failed everywhere counts no origins
            key=lambda each: each.sample.n > 0,
        )
        samples = {each.dataset: each.sample for each in compared}
        room = {name: given.room.get(name, 0) for name in samples if name in given.counted}
        raised = {
            name: samples[name].independent_n + more for name, more in room.items() if more > 0
        }
        if not any(each.dataset in raised for each, _ in found):
            return
        most = min(raised.values())
        plans = {each.dataset: each for each in given.plan.datasets} if given.plan else {}
        once = [samples[n].n for n in raised if n in plans and plans[n].refit is None]
        yield _Step(
            code=FactCode.RAISE_ORIGINS,
            origins={n: most if n in raised else s.independent_n for n, s in samples.items()},
            told={
                "then": most,
                "origins": tuple((n, most * samples[n].overlap) for n in raised),
                "every": len(raised) == len(samples),
                "refit": min(once, default=None),
            },
        )

    def _prospects(self, step: _Step) -> tuple[_Rows, _Rows, float | None]:
        """Open rules that a larger plan is likely to decide, and those that it is not.

        Rows of dataset, metric, part and chance, if the effects stay as they are; and the most the
        chance can be that every guardrail is decided, None where nothing is predicted.
        """
        likely: list[tuple[str | float, ...]] = []
        unlikely: list[tuple[str | float, ...]] = []
        every: list[float | None] = []
        for each in self.findings:
            found = each.comparison
            if found is None or each.waived:
                continue
            rule, origins = f"{each.metric}:{each.role}", step.origins.get(each.dataset, 0)
            bound = None if step.bounds is None else step.bounds.get(rule)
            ahead = prospects_of(found)
            chance = None
            if ahead is not None:
                chance = ahead.chance_with(independent=origins, seeds=step.seeds, bound=bound)
            asked = step.bounds is None or bound is not None
            if chance is not None and (not asked or origins < self.grid.policy.min_origins):
                chance = 0.0
            if each.outcome is Outcome.HOLD and chance is not None:
                row = (each.dataset, each.metric, each.part, chance)
                (likely if chance >= LIKELY else unlikely).append(row)
            if each.role == "guardrail":
                every.append(chance)
        known = [each for each in every if each is not None]
        whole = min(known) if known and len(known) == len(every) else None
        return tuple(likely), tuple(unlikely), whole


def case_of(evidence: Evidence, self_test: SelfTest | None = None) -> Case:
    """Apply the waivers and put everything together."""
    findings, safeguards = evidence.findings, evidence.safeguards
    policy, today = evidence.grid.policy, evidence.grid.given.today
    against = [f.id for f in findings if f.outcome in (Outcome.REJECT, Outcome.HOLD) and f.binding]
    found = states(policy.waivers, today=today, open_findings=against)
    waived = {name for state in found for name in state.waived}
    marked = tuple(dataclasses.replace(f, waived=f.id in waived) for f in findings)
    return Case(
        grid=evidence.grid,
        validity=evidence.validity,
        findings=marked,
        waivers=found,
        safeguards=dataclasses.replace(
            safeguards,
            holds=(*safeguards.holds, *waived_away(marked)),
            notes=(*safeguards.notes, *of_waivers(found, today=today)),
        ),
        self_test=self_test,
    )


def _rules(findings: Sequence[Finding]) -> tuple[tuple[str, ...], ...]:
    """Dataset, metric and part of each."""
    return tuple((each.dataset, each.metric, each.part) for each in findings)


def _one_a_dataset(found: Sequence[Fact]) -> list[Fact]:
    """The first fact of each dataset, with how many more there are."""
    by_dataset: dict[Value, list[Fact]] = {}
    for each in found:
        by_dataset.setdefault(each.values["dataset"], []).append(each)
    return [
        dataclasses.replace(first, values={**first.values, "others": len(more)})
        for first, *more in by_dataset.values()
    ]


_NOTHING = fact(FactCode.NOTHING_COMPARED)


def _caution(found: Fact) -> Fact:
    return fact(FactCode.CAUTION).resting_on(found)


LIKELY = 0.5
"""From this chance on a larger plan is expected to decide a rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """A larger plan that can be run: its fact, its origins by dataset, and what it asks for.

    `bounds` and `seeds` are None where they stay as they are.
    """

    code: FactCode
    origins: Mapping[str, int]
    told: Mapping[str, Value]
    seeds: int | None = None
    bounds: Mapping[str, float] | None = None


_Rows = tuple[tuple[str | float, ...], ...]
