"""What must hold before a forecaster is replaced: the rules, read from `[policy]`.

A *guardrail* must be shown to be no worse than its margin, on every dataset. A *success* is a
gain that must be shown at least once when the mode is ``improve``. A *limit* is a hard number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from harness.errors import ConfigError, FaultCollector, meant, refuse
from harness.experiments.rules import (
    CoverageRule,
    Criterion,
    EvidenceNeeded,
    Limits,
    Looks,
    RuleRole,
    load_loss,
    outside,
)
from harness.experiments.waivers import Waiver, idle
from harness.parsing import fields_of, read_toml, table
from harness.scoring.metrics import forget_losses
from harness.scoring.subsets import Scope
from harness.window import counted

Mode = Literal["replace", "improve"]
HoldAs = Literal["fail", "pass"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """All rules of one migration question.

    Attributes
    ----------
    baseline, candidate
        Arm names: what is in use, and what may replace it.
    mode
        ``replace``: every guardrail shown is enough. ``improve``: one success must be shown too.
    alpha
        One-sided error rate of each guardrail; split over the successes, of which one is enough.
    power
        Chance with which a stated detectable effect is found.
    min_origins
        Fewer non-overlapping origins than this on a dataset: its criteria are HOLD.
    criteria, coverage, limits
        The rules.
    evidence
        What must be there before any conclusion.
    waivers
        Findings that do not bind for a while.
    hold_as
        What HOLD means to a caller that knows yes and no only: ``fail`` is exit code 4, ``pass``
        is 0. A flag wins over it.
    reference
        Third arm both sides are set against; when left out, the reference arm declared first.
    broken_baseline
        What follows where the baseline is shown worse than the reference: a ``caution`` that is
        said first, or ``hold`` or ``invalid``.
    looks
        How it is held against evidence that goes on growing; None is one look at all of it.
    unjudged
        ``hold``: no PROMOTE while the candidate is shown worse on a dataset whose losses no
        guardrail judges as a whole; ``allow``: a caution.
    """

    baseline: str
    candidate: str
    mode: Mode = "replace"
    alpha: float = 0.05
    power: float = 0.8
    min_origins: int = 30
    criteria: tuple[Criterion, ...] = ()
    coverage: tuple[CoverageRule, ...] = ()
    limits: Limits = field(default_factory=Limits)
    evidence: EvidenceNeeded = field(default_factory=EvidenceNeeded)
    waivers: tuple[Waiver, ...] = ()
    hold_as: HoldAs = "fail"
    reference: str | None = None
    broken_baseline: Literal["caution", "hold", "invalid"] = "caution"
    unjudged: Literal["hold", "allow"] = "hold"
    looks: Looks | None = None

    def __post_init__(self) -> None:
        faults = [
            *outside("alpha", self.alpha, 0, 0.5, ends="()"),
            *outside("power", self.power, 0.5, 1, ends="[)"),
            *counted(self, {"min_origins": 2}),
        ]
        if self.baseline == self.candidate:
            faults.append(f"baseline and candidate are both '{self.baseline}': nothing to decide")
        elif self.reference in (self.baseline, self.candidate):
            side = "baseline" if self.reference == self.baseline else "candidate"
            faults.append(
                f"reference = '{self.reference}': is also the {side}; expected a third arm, to "
                "compare both sides with"
            )
        if not self.rules:
            faults.append("has no [[policy.criteria]] and no [[policy.coverage]]")
        refuse("[policy]", faults)
        for rule, other in combinations(self.rules, 2):
            if rule.id == other.id and rule.scope.meets(other.scope):
                what = f"on {rule.estimand.metric} with the role '{rule.role}'"
                raise ConfigError(f"[policy] has two rules {what}; keep one")
        if {rule.estimand.metric for rule in self.rules} == {"mape"}:
            raise ConfigError(
                "[[policy.criteria]] metric = 'mape' stands alone: it prefers low forecasts; add a "
                "criterion on crps, rmse or mae"
            )
        if self.mode == "improve" and not self.successes:
            raise ConfigError(
                "[policy] mode = 'improve' needs a [[policy.criteria]] with role = 'success'"
            )
        if self.mode == "replace" and not any(each.role == "guardrail" for each in self.criteria):
            alone = "; coverage alone says nothing about widths or errors" if self.coverage else ""
            raise ConfigError(
                "[policy] mode = 'replace' needs a [[policy.criteria]] with role = 'guardrail'"
                f"{alone}"
            )

    @property
    def pair(self) -> tuple[str, str]:
        """Baseline and candidate."""
        return self.baseline, self.candidate

    @property
    def successes(self) -> tuple[Criterion, ...]:
        """Gains of which one must be shown in the mode ``improve``."""
        return tuple(rule for rule in self.criteria if rule.role == "success")

    @property
    def rules(self) -> tuple[Criterion | CoverageRule, ...]:
        """Criteria, then coverage rules, in the order written."""
        return (*self.criteria, *self.coverage)

    def reference_among(self, roles: Mapping[str, str]) -> str | None:
        """The arm both sides are set against: the one named, or the first reference arm.

        An arm that is judged is no reference for itself.

        Parameters
        ----------
        roles
            Arm to its role, in the order declared.
        """
        if self.reference is not None:
            return self.reference
        sides = (self.baseline, self.candidate)
        others = (arm for arm, role in roles.items() if role == "reference" and arm not in sides)
        return next(others, None)

    def judges_whole(self, dataset: str) -> bool:
        """Whether a guardrail on a loss speaks of a dataset without picking steps or slices."""
        return any(
            rule.role == "guardrail"
            and rule.scope.covers(dataset)
            and not (rule.scope.steps or rule.scope.slices)
            for rule in self.criteria
        )

    def guardrails_on(self, datasets: Sequence[str]) -> int:
        """How many findings must hold together."""
        return self._count("guardrail", datasets)

    def successes_on(self, datasets: Sequence[str]) -> int:
        """How many findings of which one is enough."""
        return self._count("success", datasets)

    def _count(self, role: RuleRole, datasets: Sequence[str]) -> int:
        return sum(
            len(rule.scope.parts)
            for rule in self.rules
            for dataset in datasets
            if rule.role == role and rule.scope.covers(dataset)
        )

    def finding_ids(self, datasets: Sequence[str]) -> list[str]:
        """Ids of all findings a verdict on these datasets will hold."""
        found = []
        for dataset in datasets:
            found += [
                finding_id(dataset, rule.id, part)
                for rule in self.rules
                if rule.scope.covers(dataset)
                for part in rule.scope.parts
            ]
            limits = ["candidate_failures", "legacy_failures"]
            limits += ["skill"] if self.limits.min_skill is not None else []
            found += [finding_id(dataset, f"{name}:limit") for name in limits]
        return found + [finding_id(EVERYWHERE, f"{name}:limit") for name in self.limits.costs]

    def refuse_unfit(self, datasets: Sequence[str], reach: int, *, where: str) -> None:
        """Refuse scopes, evidence and waivers that name what an experiment does not have.

        Parameters
        ----------
        datasets
            Ids of the experiment.
        reach
            Last judged step of the longest plan.

        Raises
        ------
        ConfigError
            Names the table and what there is to choose from.
        """
        tables = [("criteria", each.scope) for each in self.criteria]
        tables += [("coverage", each.scope) for each in self.coverage]
        tables += [("evidence", Scope(datasets=self.evidence.datasets))]
        faults = []
        for name, scope in tables:
            for dataset in scope.datasets:
                if dataset not in datasets:
                    near, there = meant(dataset, datasets), ", ".join(datasets)
                    faults.append(f"{name}: datasets: no '{dataset}' here{near}; there are {there}")
            if scope.steps and max(scope.steps) > reach:
                faults.append(
                    f"{name}: steps = {list(scope.steps)}: the last one judged is {reach}"
                )
        ids = self.finding_ids(datasets)
        faults += [
            f"waivers: finding = '{waiver.finding}' matches nothing"
            f"{meant(waiver.finding, ids)}; findings are {', '.join(ids)}"
            for waiver in idle(self.waivers, ids)
        ]
        refuse(f"{where}:", faults)


EVERYWHERE = "all"
"""Dataset of a finding that speaks of none in particular."""


def finding_id(dataset: str, rule: str, part: str = "") -> str:
    """Id of a finding: ``dataset:metric:role``, then ``@part`` for one on a part."""
    return f"{dataset}:{rule}" + (f"@{part}" if part else "")


def read_policy(path: Path, *, arms: Sequence[str]) -> Policy:
    """Read a policy from a file of its own: its tables at the top level, or under `[policy]`.

    Raises
    ------
    ConfigError
        As `parse_policy`, and when the file cannot be read.
    """
    found = read_toml(path)
    inner = found.get("policy")
    load_losses(inner if isinstance(inner, Mapping) else found, path.parent)
    if isinstance(inner, Mapping) and len(found) == 1:
        return parse_policy(inner, arms=arms, where=f"{path}: [policy]")
    return parse_policy(found, arms=arms, where=str(path))


def load_losses(found: Mapping[str, Any], folder: Path | None) -> None:
    """Import the losses that the criteria of a policy's table name as `module:function`.

    Those that another policy named are no longer scored.

    Raises
    ------
    ConfigError
        When one is not there, or is no loss.
    """
    forget_losses()
    criteria = found.get("criteria", ())
    for each in criteria if isinstance(criteria, list | tuple) else ():
        name = each.get("metric") if isinstance(each, Mapping) else None
        if isinstance(name, str) and ":" in name:
            load_loss(name, folder)


def parse_policy(
    found: Mapping[str, Any], *, arms: Sequence[str], where: str = "[policy]"
) -> Policy:
    """Read a policy from a parsed table.

    Parameters
    ----------
    found
        The table `[policy]` with the tables below it.
    arms
        Names of the experiment's arms; `baseline`, `candidate` and `reference` must be among them.
    where
        File and table, for errors.

    Raises
    ------
    ConfigError
        For anything unknown, missing, of another type, out of range, contradictory or duplicate.
    """
    notes = FaultCollector(where)
    notes.found += _empty_lists(found)
    given: dict[str, Any] = {}
    rules = {"criteria": Criterion, "coverage": CoverageRule, "waivers": Waiver}
    for key, kind in rules.items():
        items = found.get(key, [])
        if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
            notes.found.append(f"{key} = {items!r}: expected [[policy.{key}]] tables")
            continue
        read: list[Any] = []
        for index, item in enumerate(items):
            with notes.noting():
                read.append(table(kind, item, where=f"{where}: {key}[{index}]"))
        given[key] = tuple(read)
    singles = {"limits": Limits, "evidence": EvidenceNeeded, "looks": Looks}
    for key in found.keys() & singles.keys():
        if not isinstance(found[key], Mapping):
            notes.found.append(f"{key} = {found[key]!r}: expected a table [policy.{key}]")
            continue
        with notes.noting():
            given[key] = table(singles[key], found[key], where=f"{where}: {key}")
    plain = {key: value for key, value in found.items() if key not in {**rules, **singles}}
    values, faults = fields_of(Policy, plain, {**rules, **singles})
    for key in ("baseline", "candidate", "reference"):
        name = values.get(key)
        if name is not None and name not in arms:
            near = meant(name, arms)
            faults.append(f"{key} = '{name}': no such arm{near}; arms are {', '.join(arms)}")
    notes.found[:0] = faults
    notes.raise_any()
    return table(Policy, plain, where=where, given=given)


def _empty_lists(found: Any, place: str = "") -> Iterator[str]:
    """Lists without an entry, but for those of rules: left out they mean all, and empty unclear."""
    if isinstance(found, Mapping):
        for name, inner in found.items():
            yield from _empty_lists(inner, f"{place}: {name}" if place else name)
    elif isinstance(found, list):
        if not found and place not in ("criteria", "coverage", "waivers"):
            yield f"{place} = []: expected at least one entry, or no such key"
        for index, inner in enumerate(found):
            yield from _empty_lists(inner, f"{place}[{index}]")


_SLICE = re.compile(r"volatility:(low|mid|high)|year:\d{4}|drawdown:worst|steps:\d+-\d+")


def refuse_unjudged(
    policy: Policy, judged: Mapping[str, range], roles: Mapping[str, str], *, where: str
) -> None:
    """Refuse what no scores will ever hold: unknown slices, steps not judged, a missing reference.

    Parameters
    ----------
    judged
        Dataset to its judged steps.
    roles
        Arm to its role.

    Raises
    ------
    ConfigError
        Names table and key.
    """
    tables = [("criteria", each.scope) for each in policy.criteria]
    tables += [("coverage", each.scope) for each in policy.coverage]
    faults = []
    for name, scope in tables:
        odd = []
        for part in scope.slices:
            numbers = [int(end) for end in part.partition(":")[2].split("-") if end.isdigit()]
            if not _SLICE.fullmatch(part) or numbers != sorted(numbers):
                odd.append(
                    f"{name}: slices: '{part}': expected volatility:low, volatility:mid, "
                    "volatility:high, year:YYYY, drawdown:worst or steps:FIRST-LAST"
                )
        faults += odd
        if odd:
            continue
        ranges = [part for part in scope.slices if part.startswith("steps:")]
        ends = {int(end) for part in ranges for end in part.partition(":")[2].split("-")}
        said = f"steps = {list(scope.steps)}" if scope.steps else f"slices: {', '.join(ranges)}"
        for dataset, steps in judged.items():
            if scope.covers(dataset) and not all(x in steps for x in ends | set(scope.steps)):
                there = f"on {dataset} steps {steps[0]} to {steps[-1]} are judged"
                faults.append(f"{name}: {said}: {there}")
    if policy.limits.min_skill is not None and policy.reference_among(roles) is None:
        faults.append(
            f"limits: min_skill = {policy.limits.min_skill:g}: expected an arm with role = "
            "'reference' to measure skill against; there is none"
        )
    refuse(f"{where}:", faults)
