"""The single rules of a policy: a loss, a coverage, hard limits, the evidence asked for.

A loss may be one of the user's, which a policy names as `module:function`.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.arm_ref import look_beside, user_code
from harness.costs import CRITERIA
from harness.errors import ConfigError, InputError, meant, one_line, refuse
from harness.evidence.estimand import (
    Coverage,
    MeanLoss,
    RelativeCoverage,
    RootLoss,
    Wins,
    loss_of,
    name_loss,
)
from harness.scoring.metrics import AGGREGATES, CENTRAL, use_loss
from harness.scoring.subsets import Scope
from harness.stats.spending import Spending
from harness.window import counted

RuleRole = Literal["guardrail", "success"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """A rule on a loss: how much worse (or how much better) the candidate may (or must) be.

    Attributes
    ----------
    metric
        Name of an aggregate that can be compared, such as ``crps``, or a loss of your own, such as
        ``mine:pnl_loss``.
    role
        ``guardrail`` must hold everywhere; ``success`` is a gain to be shown.
    margin
        Share of the legacy loss. Guardrail: the candidate may be this much worse. Success: it
        must be this much better. For wins, a share of the origins below or above one half.
    statistic
        What of the losses is compared: their ``mean`` over origins, or ``wins``, the share of
        origins on which the candidate's loss is the lower one (the same counts half).
    datasets, steps, slices
        As in `Scope`.
    """

    metric: str
    role: RuleRole = "guardrail"
    margin: float = 0.0
    statistic: Literal["mean", "wins"] = "mean"
    datasets: tuple[str, ...] = ()
    steps: tuple[int, ...] = ()
    slices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if ":" in self.metric and self.metric not in AGGREGATES:
            load_loss(self.metric)
        known = comparable_metrics()
        if Coverage.meant_by(self.metric):
            raise ConfigError(
                f"[[policy.criteria]] metric = '{self.metric}': coverage has no margin; it has a "
                "tolerance around nominal: write it as [[policy.coverage]]"
            )
        if self.metric in AGGREGATES and self.metric not in known:
            raise ConfigError(
                f"[[policy.criteria]] metric = '{self.metric}': is only reported; a margin "
                f"needs one of the losses {', '.join(known)}"
            )
        if self.metric not in known:
            raise ConfigError(
                f"[[policy.criteria]] metric = '{self.metric}': no such metric"
                f"{meant(self.metric, known)}; known metrics are {', '.join(known)}"
            )
        most = 0.5 if self.statistic == "wins" else 1
        margin = outside("margin", self.margin, 0, most, ends="[)")
        refuse("[[policy.criteria]]", [*margin, *self.scope.faults()])

    @property
    def scope(self) -> Scope:
        """Which part it speaks of."""
        return Scope(datasets=self.datasets, steps=self.steps, slices=self.slices)

    @property
    def estimand(self) -> MeanLoss | RootLoss | Wins:
        """What is compared."""
        return Wins(metric=self.metric) if self.statistic == "wins" else loss_of(self.metric)

    @property
    def bound(self) -> float:
        """What the effect must be shown to lie below: a gain is a negative effect."""
        return -self.margin if self.role == "success" else self.margin

    @property
    def id(self) -> str:
        """Name of the rule on one dataset, without its part."""
        return f"{self.estimand.name}:{self.role}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageRule:
    """A rule on the candidate's central interval: it must cover what it promises.

    Attributes
    ----------
    level
        Nominal coverage in per cent: 50, 68, 80 or 95.
    tolerance
        How far the true coverage may be from nominal, as a share (0.05 is five points).
    relative
        The tolerance is counted from the distance of the legacy interval instead: the candidate's
        coverage may be this much further from nominal than legacy's is.
    role
        Always ``guardrail``: covering what was promised is no gain over the legacy arm.
    datasets, steps, slices
        As in `Scope`.
    """

    level: int
    tolerance: float
    relative: bool = False
    role: RuleRole = "guardrail"
    datasets: tuple[str, ...] = ()
    steps: tuple[int, ...] = ()
    slices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        faults = outside("tolerance", self.tolerance, 0, 1, ends="()") + self.scope.faults()
        if self.level not in CENTRAL:
            there = ", ".join(map(str, CENTRAL))
            faults.append(f"level = {self.level}: no such interval; there are {there}")
        if self.role != "guardrail":
            faults.append(
                "role = 'success': covering what was promised is no gain over the legacy arm; it "
                "can only be a guardrail"
            )
        refuse("[[policy.coverage]]", faults)

    @property
    def scope(self) -> Scope:
        """Which part it speaks of."""
        return Scope(datasets=self.datasets, steps=self.steps, slices=self.slices)

    @property
    def estimand(self) -> Coverage | RelativeCoverage:
        """What is compared."""
        return RelativeCoverage(level=self.level) if self.relative else Coverage(level=self.level)

    @property
    def bound(self) -> float:
        """How far the effect may lie from 0: on either side, or above where it is relative."""
        return self.tolerance

    @property
    def id(self) -> str:
        """Name of the rule on one dataset, without its part."""
        return f"{self.estimand.name}:{self.role}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Hard limits, none of which a margin applies to.

    Attributes
    ----------
    failures
        Windows (summed over seeds) an arm may fail on one dataset. More on the candidate's side
        is a REJECT, more on the legacy side an INVALID.
    min_skill
        Least skill (by CRPS, a share) the candidate must be shown to have over the reference arm
        on every dataset; 0 is "as good as the random walk".
    peak_memory, latency, fit_time, load_time, checkpoint_bytes, code_lines
        Largest ratio candidate / legacy.
    throughput
        Smallest ratio candidate / legacy.
    """

    failures: int = 0
    min_skill: float | None = None
    peak_memory: float | None = None
    latency: float | None = None
    throughput: float | None = None
    fit_time: float | None = None
    load_time: float | None = None
    checkpoint_bytes: float | None = None
    code_lines: float | None = None

    def __post_init__(self) -> None:
        faults = counted(self, {"failures": 0})
        if self.min_skill is not None:
            faults += outside("min_skill", self.min_skill, -1, 1, ends="()")
        for name, bound in self.costs.items():
            faults += outside(name, bound, 0, float("inf"), ends="()")
        refuse("[policy.limits]", faults)

    @property
    def costs(self) -> dict[str, float]:
        """The ratios that are limited, with their bounds."""
        found = {name: getattr(self, name) for name in CRITERIA}
        return {name: bound for name, bound in found.items() if bound is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """How a policy is held against evidence that goes on growing, at one stated error rate.

    Attributes
    ----------
    max_origins
        Non-overlapping origins of a dataset with which the question ends: decided, or a last HOLD.
    spending
        How much of the error rate a look may spend: ``late`` keeps nearly all of it for the end
        (like O'Brien and Fleming's bounds), ``today`` gives it out in proportion to the origins.
    attempts
        How often, in all, something may be tried on the same origins, each with an equal part of
        the error rate; left out, the first three have 60, 25 and 15 % of it.
    """

    max_origins: int
    spending: Spending = "late"
    attempts: int | None = None

    def __post_init__(self) -> None:
        faults = counted(self, {"max_origins": 2})
        if self.spending not in ("late", "today"):
            faults.append(f"spending = '{self.spending}': expected late or today")
        if self.attempts is not None and not 1 <= self.attempts <= 3:
            faults.append(f"attempts = {self.attempts}: expected 1, 2 or 3")
        refuse("[policy.looks]", faults)

    def share(self, attempt: int) -> float:
        """Part of the error rate of a PROMOTE that an attempt has, counted from 1; 0 is closed."""
        shares = (
            (0.6, 0.25, 0.15) if self.attempts is None else (1 / self.attempts,) * self.attempts
        )
        return shares[attempt - 1] if attempt <= len(shares) else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceNeeded:
    """What evidence must be there before any conclusion: less is INVALID, not a shorter list.

    Attributes
    ----------
    datasets
        Ids the experiment must hold.
    seeds
        Seeds the pair must have been run with, at least.
    origins
        Windows on each dataset, at least.
    implausible_skill
        A candidate better than the reference arm by more than this share is doubted: on prices
        nobody beats the random walk by much.
    implausible
        What follows: a ``caution``, beside which there is no PROMOTE, or ``invalid``.
    untested
        What follows where a side was not shown to be blind to the future: a ``caution``, or
        ``invalid``.
    """

    datasets: tuple[str, ...] = ()
    seeds: int = 1
    origins: int = 2
    implausible_skill: float = 0.25
    implausible: Literal["caution", "invalid"] = "caution"
    untested: Literal["caution", "invalid"] = "caution"

    def __post_init__(self) -> None:
        skill = outside("implausible_skill", self.implausible_skill, 0, 1, ends="()")
        refuse("[policy.evidence]", [*counted(self, {"seeds": 1, "origins": 2}), *skill])


def comparable_metrics() -> list[str]:
    """Names of the losses a criterion may name."""
    return [name for name, each in AGGREGATES.items() if each.comparable]


def outside(name: str, value: float, low: float, high: float, *, ends: str) -> list[str]:
    """What is wrong with a number of a range whose lower end belongs to it where `ends` has ``[``.

    Where it lies inside, the list is empty.
    """
    above = value >= low if ends[0] == "[" else value > low
    if above and value < high:
        return []
    least = "at least" if ends[0] == "[" else "more than"
    below = "" if high == float("inf") else f" and less than {high}"
    share = ": a share, not per cent" if high == 1 and 1 <= value <= 100 else ""
    return [f"{name} = {value!r}: expected {least} {low}{below}{share}"]


_READ: dict[str, str] = {}
"""Digest of the file of each module that was imported for a loss."""


def load_loss(name: str, folder: Path | None = None) -> None:
    """Import a loss and let it count; a module that was edited since is imported again.

    Parameters
    ----------
    name
        ``module:function``.
    folder
        Where the policy lies: a module that is not installed is looked for there.

    Raises
    ------
    ConfigError
        When there is no such function, or it is no loss.
    """
    module_name, _, function_name = name.partition(":")
    look_beside(folder or Path.cwd())
    try:
        with user_code():
            known = module_name in sys.modules
            module = importlib.import_module(module_name)
            file = Path(module.__file__ or "")
            digest = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
            if known and _READ.get(module_name, digest) != digest:
                module = importlib.reload(module)
            _READ[module_name] = digest
            function = getattr(module, function_name, None)
    except InputError:
        raise
    except Exception as problem:  # importing runs the user's code
        said = f"{type(problem).__name__}: {one_line(str(problem))}"
        raise ConfigError(f"metric = '{name}': cannot import it: {said}") from problem
    if function is None:
        raise ConfigError(f"metric = '{name}': module '{module_name}' has no '{function_name}'")
    use_loss(name, function)
    name_loss(name)
