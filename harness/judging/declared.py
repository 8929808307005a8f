"""What was declared, and what the caller of a verdict knows besides the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from harness.arm import Role
from harness.costs import Cost
from harness.experiments.policy import Policy
from harness.judging.fact import Fact
from harness.scoring.scores import UnitScores, in_time_order
from harness.stats.spending import LEAST_LEVEL


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginPlan:
    """Where one dataset is judged: its origins, from ISO date to ISO date, and its fits.

    Attributes
    ----------
    stride, horizon, gap
        In sessions.
    fits, refit
        How many fits an arm that learns gets, and after how many origins; None is one fit.
    skipped
        Repeated sessions that were left out; None where repeats are kept.
    prospective
        Origins that every unit of both sides was issued for before their outcome.
    """

    dataset: str
    origins: int
    first: str
    last: str
    stride: int
    horizon: int
    gap: int
    fits: int
    refit: int | None
    skipped: int | None = None
    prospective: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRecord:
    """What was asked: the experiment by name, its seeds, and the plan of each dataset.

    Attributes
    ----------
    maintenance
        What came of the pair's forecasts each time that another installation went on with them.
    """

    experiment: str
    seeds: tuple[int, ...]
    datasets: tuple[OriginPlan, ...]
    maintenance: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LookLevel:
    """One-sided nominal levels at a look, by what is to be shown; None where nothing can be.

    Attributes
    ----------
    guardrail, success
        Of a bound kept, and of a gain.
    reject
        Of a bound broken.
    """

    guardrail: float | None
    success: float | None
    reject: float | None

    def of(self, role: str) -> float | None:
        """Level at which a finding of a role is shown to hold."""
        return self.success if role == "success" else self.guardrail


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One reading of evidence that goes on growing.

    Attributes
    ----------
    number
        From 1.
    until
        ISO date of the last session judged.
    attempt, share
        Which try on these origins it belongs to, from 1, and that try's part of the error rate.
    most
        Non-overlapping origins of a dataset with which the question ends.
    origins
        Non-overlapping origins by dataset.
    levels
        By dataset.
    spent
        Error rate of a PROMOTE that is spent up to here.
    latched
        Findings shown to hold at an earlier look, with its date.
    prospective
        Where the attempts before it used the error rate up: the prospective origins that alone
        count, as ISO dates by dataset. Empty where all origins count.
    """

    number: int
    until: str
    attempt: int
    share: float
    most: int
    origins: Mapping[str, int]
    levels: Mapping[str, LookLevel]
    spent: float
    latched: Mapping[str, str] = field(default_factory=dict)
    prospective: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def last(self) -> bool:
        """Whether every dataset has all the origins that were planned."""
        return min(self.origins.values(), default=0) >= self.most

    def alpha(self, dataset: str, role: str) -> float:
        """Level of the interval that is shown: never narrower than what a look has spent."""
        level = self.levels.get(dataset)
        return (level.of(role) if level else None) or LEAST_LEVEL


@dataclass(frozen=True, slots=True, kw_only=True)
class FutureTests:
    """What was tested of an arm, whether it can have used the future.

    Attributes
    ----------
    passed, missing
        Names of tests.
    failed
        What each that failed found.
    doubts
        What must be known though it forbids nothing.
    """

    passed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    failed: tuple[Fact, ...] = ()
    doubts: tuple[Fact, ...] = ()

    @property
    def state(self) -> Literal["passed", "failed", "not tested"]:
        """What they come to."""
        if self.failed:
            return "failed"
        return "passed" if self.passed and not self.missing else "not tested"


@dataclass(frozen=True, slots=True, kw_only=True)
class LargerPlan:
    """A built-in experiment on the same pair that has more independent origins.

    Attributes
    ----------
    name
        Of the experiment.
    origins
        Non-overlapping origins by dataset.
    seeds
        How many it runs.
    bounds
        What its own policy asks for, by the name of the rule.
    """

    name: str
    origins: Mapping[str, int]
    seeds: int
    bounds: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """The caller's part of a verdict.

    Attributes
    ----------
    stride
        Sessions between origins per dataset, held against the origins scored.
    room
        Independent origins per dataset that the data hold beyond those of the plan.
    ended
        Datasets that no session will be added to.
    larger
        A built-in experiment on the same pair with more independent origins; None without one.
    costs
        Measured ratios candidate / legacy by criterion; empty where nothing was measured.
    cards
        What each arm says of itself: title and text.
    futures
        What was tested of each side, whether it can have used the future; nothing of an arm that
        is not in it.
    changed
        That something was asked otherwise before the first result; said first.
    doubts
        What the caller found that must be known, though it forbids nothing.
    problems
        What the caller found that allows no conclusion: units that cannot be read, the same
        meaning with other scores.
    look
        Which reading of growing evidence it is; None where all of it is looked at once.
    today
        ISO date on which the verdict is passed; only waivers depend on it.
    experiment
        The experiment as commands name it.
    counted
        Datasets whose origins are counted back from the end, so that the plan can ask for more.
    plan, fingerprints
        Shown with the verdict.
    """

    stride: Mapping[str, int] = field(default_factory=dict)
    room: Mapping[str, int] = field(default_factory=dict)
    ended: tuple[str, ...] = ()
    larger: LargerPlan | None = None
    costs: Mapping[str, Cost] = field(default_factory=dict)
    cards: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    futures: Mapping[str, FutureTests] = field(default_factory=dict)
    changed: Fact | None = None
    doubts: tuple[Fact, ...] = ()
    problems: tuple[Fact, ...] = ()
    look: Look | None = None
    today: str | None = None
    experiment: str = "EXPERIMENT"
    counted: tuple[str, ...] = ()
    plan: PlanRecord | None = None
    fingerprints: Mapping[str, str] = field(default_factory=dict)

    def tests_of(self, arm: str) -> FutureTests:
        """What was tested of an arm, whether it can have used the future."""
        return self.futures.get(arm, FutureTests())


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of the declared grid; the role of its arm where the grid tells it."""

    arm: str
    dataset: str
    seed: int
    role: Role | None = None

    def __str__(self) -> str:
        return f"{self.arm} on {self.dataset}, seed {self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedGrid:
    """All that a verdict is made of.

    Attributes
    ----------
    policy
        The rules.
    declared
        Every cell the grid should hold.
    scores
        What there is, in any order.
    given
        What the caller knows besides.
    """

    policy: Policy
    declared: Sequence[Cell]
    scores: Sequence[UnitScores]
    given: Circumstances = field(default_factory=Circumstances)

    @property
    def datasets(self) -> tuple[str, ...]:
        """In the order declared."""
        return tuple(dict.fromkeys(cell.dataset for cell in self.declared))

    @property
    def in_order(self) -> JudgedGrid:
        """The same with its scores by dataset, arm and seed, each in time order."""
        scores = sorted(map(in_time_order, self.scores), key=lambda u: (u.dataset, u.arm, u.seed))
        return replace(self, scores=scores)

    def units(self, arm: str | None, dataset: str) -> list[UnitScores]:
        """Scores of an arm on a dataset."""
        return [unit for unit in self.scores if (unit.arm, unit.dataset) == (arm, dataset)]
