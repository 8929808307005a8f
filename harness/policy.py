"""What must hold before a forecaster is replaced: the rules, read from `[policy]`.

A *guardrail* must be shown to be no worse than its margin, on every dataset. A *success* is a
gain that must be shown at least once when the mode is ``improve``. A *limit* is a hard number.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, TypeVar

from harness.errors import ConfigError
from harness.metrics import AGGREGATES, CENTRAL
from harness.parsing import table

RuleRole = Literal["guardrail", "success"]
Mode = Literal["replace", "improve"]
_Rule = TypeVar("_Rule", "Criterion", "CoverageRule")


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """A rule on a loss: how much worse (or how much better) the candidate may (or must) be.

    Attributes
    ----------
    metric
        Name of an aggregate that can be compared, such as ``crps``.
    role
        ``guardrail`` must hold everywhere; ``success`` is a gain to be shown.
    margin
        Share of the legacy loss. Guardrail: the candidate may be this much worse. Success: it
        must be this much better.
    """

    metric: str
    role: RuleRole = "guardrail"
    margin: float = 0.0

    def __post_init__(self) -> None:
        known = comparable_metrics()
        if self.metric.startswith("coverage"):
            raise ConfigError(
                f"[[policy.criteria]] metric = '{self.metric}': coverage has no margin; it has a "
                "tolerance around nominal: write it as [[policy.coverage]]"
            )
        if self.metric in AGGREGATES and self.metric not in known:
            raise ConfigError(
                f"[[policy.criteria]] metric = '{self.metric}': is reported, but is no loss that a "
                f"margin applies to; those are {', '.join(known)}"
            )
        if self.metric not in known:
            near = get_close_matches(self.metric, known, n=1)
            meant = f"; did you mean '{near[0]}'?" if near else ""
            raise ConfigError(
                f"[[policy.criteria]] metric = '{self.metric}': no such metric{meant} "
                f"Known are {', '.join(known)}"
            )
        _between("[[policy.criteria]] margin", self.margin, 0, 1, ends="[)")

    @property
    def id(self) -> str:
        """Name of the rule, unique in a policy."""
        return f"{self.metric}:{self.role}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageRule:
    """A rule on the candidate's central interval: it must cover what it promises.

    Attributes
    ----------
    level
        Nominal coverage in per cent: 50, 68, 80 or 95.
    tolerance
        How far the true coverage may be from nominal, as a share (0.05 is five points).
    role
        Always ``guardrail``: covering what was promised is no gain over the legacy arm.
    """

    level: int
    tolerance: float
    role: RuleRole = "guardrail"

    def __post_init__(self) -> None:
        if self.level not in CENTRAL:
            raise ConfigError(
                f"[[policy.coverage]] level = {self.level}: no such interval; there are "
                f"{', '.join(map(str, CENTRAL))}"
            )
        _between("[[policy.coverage]] tolerance", self.tolerance, 0, 1, ends="()")
        if self.role != "guardrail":
            raise ConfigError(
                "[[policy.coverage]] role = 'success': covering what was promised is no gain over "
                "the legacy arm; it can only be a guardrail"
            )

    @property
    def metric(self) -> str:
        """Name of the aggregate that is judged."""
        return f"coverage_{self.level}"

    @property
    def id(self) -> str:
        """Name of the rule, unique in a policy."""
        return f"{self.metric}:{self.role}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Hard numbers.

    Attributes
    ----------
    failures
        Windows (summed over seeds) an arm may fail on one dataset. More on the candidate's side
        is a REJECT, more on the legacy side an INVALID.
    """

    failures: int = 0

    def __post_init__(self) -> None:
        if self.failures < 0:
            raise ConfigError(f"[policy.limits] failures = {self.failures}: expected 0 or more")


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
    reference
        Arm both sides are set against; the first reference arm when left out.
    """

    baseline: str
    candidate: str
    mode: Mode = "replace"
    alpha: float = 0.05
    power: float = 0.8
    min_origins: int = 30
    criteria: tuple[Criterion, ...] = ()
    coverage: tuple[CoverageRule, ...] = ()
    limits: Limits = Limits()
    reference: str | None = None

    def __post_init__(self) -> None:
        if self.baseline == self.candidate:
            raise ConfigError(
                f"[policy] baseline and candidate are both '{self.baseline}': nothing to decide"
            )
        _between("[policy] alpha", self.alpha, 0, 0.5, ends="()")
        _between("[policy] power", self.power, 0.5, 1, ends="[)")
        if self.min_origins < 2:
            raise ConfigError(f"[policy] min_origins = {self.min_origins}: expected 2 or more")
        self._check_rules()

    def _check_rules(self) -> None:
        if not self.rules:
            raise ConfigError("[policy] has no [[policy.criteria]] and no [[policy.coverage]]")
        ids = [rule.id for rule in self.rules]
        for rule in self.rules:
            if ids.count(rule.id) > 1:
                raise ConfigError(
                    f"[policy] has two rules on {rule.metric} with the role '{rule.role}'; keep one"
                )
        if {rule.metric for rule in self.rules} == {"mape"}:
            raise ConfigError(
                "[[policy.criteria]] metric = 'mape' stands alone: it prefers low forecasts; add a "
                "criterion on crps, rmse or mae"
            )
        if self.mode == "improve" and not self.successes:
            raise ConfigError(
                "[policy] mode = 'improve' needs a [[policy.criteria]] with role = 'success'"
            )
        if self.mode == "replace" and not any(rule.role == "guardrail" for rule in self.rules):
            raise ConfigError("[policy] mode = 'replace' needs a rule with role = 'guardrail'")

    @property
    def successes(self) -> tuple[Criterion, ...]:
        """Gains of which one must be shown in the mode ``improve``."""
        return tuple(rule for rule in self.criteria if rule.role == "success")

    @property
    def rules(self) -> tuple[Criterion | CoverageRule, ...]:
        """Criteria, then coverage rules, in the order written."""
        return (*self.criteria, *self.coverage)


def comparable_metrics() -> list[str]:
    """Names of the losses a criterion may name."""
    return [name for name, each in AGGREGATES.items() if each.comparable]


def parse_policy(
    found: Mapping[str, Any], *, arms: Sequence[str], where: str = "[policy]"
) -> Policy:
    """Read a policy from a parsed table.

    Parameters
    ----------
    found
        The table `[policy]` with `[[policy.criteria]]`, `[[policy.coverage]]`, `[policy.limits]`.
    arms
        Names of the experiment's arms; `baseline`, `candidate` and `reference` must be among them.
    where
        File and table, for errors.

    Raises
    ------
    ConfigError
        For anything unknown, missing, of another type, out of range, contradictory or duplicate.
    """
    _refuse_unknown(found, where)
    limits = found.get("limits", {})
    if not isinstance(limits, Mapping):
        raise ConfigError(f"{where}: limits = {limits!r}: expected a table [policy.limits]")
    plain = {key: value for key, value in found.items() if key not in _TABLES}
    given = {
        "criteria": _rules(Criterion, found, "criteria", where),
        "coverage": _rules(CoverageRule, found, "coverage", where),
        "limits": table(Limits, limits, where=f"{where}: limits"),
    }
    policy = table(Policy, plain, where=where, given=given)
    for key in ("baseline", "candidate", "reference"):
        name = getattr(policy, key)
        if name is not None and name not in arms:
            raise ConfigError(f"{where}: {key} = '{name}': no such arm; arms are {', '.join(arms)}")
    return policy


_TABLES = ("criteria", "coverage", "limits")


def _refuse_unknown(found: Mapping[str, Any], where: str) -> None:
    known = [each.name for each in dataclasses.fields(Policy)]
    for key in found:
        if key not in known:
            raise ConfigError(f"{where}: unknown key '{key}'; known keys are {', '.join(known)}")


def _rules(kind: type[_Rule], found: Mapping[str, Any], key: str, where: str) -> tuple[_Rule, ...]:
    items = found.get(key, [])
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise ConfigError(f"{where}: {key} = {items!r}: expected [[policy.{key}]] tables")
    return tuple(
        table(kind, item, where=f"{where}: {key}[{index}]") for index, item in enumerate(items)
    )


def _between(what: str, value: float, low: float, high: float, *, ends: str) -> None:
    above = value >= low if ends[0] == "[" else value > low
    if not (above and value < high):
        least = "at least" if ends[0] == "[" else "more than"
        raise ConfigError(f"{what} = {value!r}: expected {least} {low} and less than {high}")
