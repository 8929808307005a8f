"""What a claim is, what decides it, and how it came out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any, Literal

from harness.checks.predicate import CheckRecord
from harness.checks.subject import NetworkRef
from harness.costs import Costs
from harness.judging.findings import Finding
from harness.judging.verdict import Verdict
from harness.measure.code_lines import CodeSize
from harness.scoring.scores import UnitScores

Status = Literal["confirmed", "refuted", "undecided", "not testable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One number that was measured here, with what it says about a claim.

    Attributes
    ----------
    what
        What it is a number of.
    value, unit
        None where there is no single number, only `said`.
    low, high
        Interval of the value, where it has one.
    arm, dataset
        Whose, on what; '' where it is about neither.
    source
        The record it was read from: of units, a verdict, a check, a session.
    said
        Further words.
    judged
        What says more than words of its own: a finding, or a verdict.
    holds
        Whether it meets what is asked; None where it does not decide.
    """

    what: str
    value: float | None = None
    unit: str = ""
    low: float | None = None
    high: float | None = None
    arm: str = ""
    dataset: str = ""
    source: str = ""
    said: str = ""
    judged: Finding | Verdict | None = None
    holds: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the records say to a requirement.

    Attributes
    ----------
    holds
        None where they do not decide.
    measured
        The numbers behind it.
    why
        Why it is open, in words; '' where it is not.
    commands
        What to run so that it may be decided.
    """

    holds: bool | None
    measured: tuple[Measurement, ...] = ()
    why: str = ""
    commands: tuple[str, ...] = ()

    @classmethod
    def of(cls, measured: Sequence[Measurement], *, why: str = "") -> Answer:
        """Hold when all measurements do; fail when one does not; else stay open."""
        found = [each.holds for each in measured]
        holds = False if False in found else True if found and all(found) else None
        return cls(holds=holds, measured=tuple(measured), why="" if holds is not None else why)

    @classmethod
    def missing(cls, why: str, *commands: str, measured: Sequence[Measurement] = ()) -> Answer:
        """Nothing that decides is stored."""
        return cls(holds=None, measured=tuple(measured), why=why, commands=commands)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A unit of the grid as it ended.

    Attributes
    ----------
    key
        Of the unit.
    windows, failed
        Origins of the plan, and how many of them have no forecast.
    first_reason
        Why the first of those has none; '' where all have one.
    diverged
        Fits that diverged.
    form, levels
        In which the arm answers, and at which quantile levels.
    residual_distribution
        Whether the harness added the distribution.
    forecast_s, peak_bytes
        Seconds of forecasting all windows, highest resident memory; None where not told.
    machine
        Facts about it.
    """

    arm: str
    dataset: str
    seed: int
    key: str
    windows: int
    failed: int
    first_reason: str
    diverged: int
    form: str
    levels: tuple[float, ...]
    residual_distribution: bool
    forecast_s: float | None
    peak_bytes: int | None
    machine: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmOnTrial:
    """An arm of the judged pair as the experiment declares it, and the network it says it is."""

    name: str
    use: str
    options: Mapping[str, Any] = field(default_factory=dict)
    network: NetworkRef | None = None
    folder: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimEvidence:
    """All stored records that may decide a claim.

    Attributes
    ----------
    experiment, store
        As commands name them.
    baseline, candidate, reference
        Arms of the judged pair, and the bar both are held against.
    arms
        The judged pair under ``baseline`` and ``candidate``: what stored checks must be about.
    datasets
        Of the experiment.
    alpha
        Error rate of the policy.
    coverage_levels
        Central intervals, in per cent, that the policy names.
    verdict, verdict_id
        Of this grid; None where there is none.
    scores, runs
        One per unit of the grid that is stored.
    declared
        Units the grid asks for.
    checks
        Stored results of the battery; those of other code are marked.
    costs
        Ratios of a measuring session, where one was taken.
    checkout, checkout_root
        Names of the models in the user's checkout, each with its class, and its folder; empty
        where there is none.
    sizes
        Source lines: ``baseline`` and ``candidate`` of the arms here with the networks that stand
        for them, ``baseline_network`` and ``candidate_network`` of these alone, ``legacy`` and
        ``replacement`` of the networks in the user's checkout.
    """

    experiment: str
    store: str
    baseline: str
    candidate: str
    reference: str | None = None
    arms: Mapping[str, ArmOnTrial] = field(default_factory=dict)
    datasets: tuple[str, ...] = ()
    alpha: float = 0.05
    coverage_levels: tuple[int, ...] = ()
    verdict: Verdict | None = None
    verdict_id: str = ""
    scores: tuple[UnitScores, ...] = ()
    runs: tuple[StoredRun, ...] = ()
    declared: int = 0
    checks: tuple[CheckRecord, ...] = ()
    costs: Costs | None = None
    checkout: Mapping[str, str] = field(default_factory=dict)
    checkout_root: str = ""
    sizes: Mapping[str, CodeSize] = field(default_factory=dict)

    def command(self, verb: str) -> str:
        """The command that fills the store with what a verb makes."""
        return f"abharness {verb} {quote(self.experiment)} --store {quote(self.store)}"

    def check_command(self, target: str) -> str:
        """The command that stores what the battery says about a target, written for a shell."""
        return f"abharness check {target} --store {quote(self.store)}"

    def checkout_command(self, model: str, role: str) -> str:
        """The command that tries a model of the checkout, which must be found by its name."""
        target = quote(f"models.{model}:{self.checkout[model]}")
        command = self.check_command(f"{target} --role {role}")
        return f"PYTHONPATH={quote(self.checkout_root)} {command}"

    def units_of(self, arm: str, dataset: str) -> list[StoredRun]:
        """Stored units of an arm on a dataset."""
        return [each for each in self.runs if (each.arm, each.dataset) == (arm, dataset)]

    def scores_of(self, arm: str, dataset: str) -> list[UnitScores]:
        """Scores of an arm on a dataset."""
        return [each for each in self.scores if (each.arm, each.dataset) == (arm, dataset)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """Something the records must show for a claim to hold.

    Attributes
    ----------
    text
        What, with its threshold, in words.
    ask
        Reads the answer out of the evidence.
    """

    text: str
    ask: Callable[[ClaimEvidence], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A statement, and the rule that decides it: all its requirements must hold.

    Attributes
    ----------
    id
        Stable name.
    group
        ``summary``: of the migration summary; ``beside``: of documents beside it; ``pipeline``:
        that a defect of the original training pipeline is not reproduced here.
    number
        Of the summary's list, or the defect's.
    text
        The claim in our words.
    offered
        What was offered as evidence for it.
    requirements
        None: it cannot be tested, and `untestable` says why.
    """

    id: str
    group: Literal["summary", "beside", "pipeline"]
    number: str
    text: str
    offered: str
    requirements: tuple[Requirement, ...] = ()
    untestable: str = ""

    def __post_init__(self) -> None:
        if bool(self.requirements) == bool(self.untestable):
            raise ValueError(f"{self.id}: needs requirements, or a reason why it has none")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRow:
    """A claim beside what was measured.

    Attributes
    ----------
    claim
        The claim.
    status
        ``confirmed``: every requirement holds; ``refuted``: one is shown not to; ``undecided``:
        neither; ``not testable``: it has none.
    rule
        What decides it, in words.
    measured
        The numbers, in the order of the requirements.
    open
        Why it is undecided, in words.
    commands
        What to run to decide it.
    """

    claim: Claim
    status: Status
    rule: str
    measured: tuple[Measurement, ...] = ()
    open: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
