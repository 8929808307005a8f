"""Everything a page shows, gathered from the store by whoever asks for the page.

Nothing here is computed: a page is drawn from these records alone, so that drawing it twice
gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.arm import Role
from harness.judging.verdict import Verdict
from harness.running.records import StoredUnit
from harness.scoring.scores import UnitScores
from harness.scoring.summary import Summary
from harness.window import Array, Dates
from reports.beside import Beside

UnitKey = tuple[str, str, int]
"""Arm, dataset, seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """A dataset as the page describes it, with the series that charts are drawn from.

    Attributes
    ----------
    id, title, unit
        From the manifest; `unit` is that of the target.
    dates, target : [N]
        The sessions the plan saw: after `skip_repeats`, up to the last judged session.
    source, licence, sha256
        From the manifest.
    warnings, quirks
        What loading warned of, and what the manifest knows.
    first_origin, last_origin
        ISO dates of the first session not seen, at the first and the last origin.
    origins, stride, horizon, gap, refit
        The plan; `refit` None is one fit, at the first origin.
    skip_repeats
        Whether sessions that repeat the price before them were dropped.
    repeats
        Share of such sessions in the file.
    """

    id: str
    title: str
    unit: str
    dates: Dates
    target: Array
    source: str
    licence: str
    sha256: str
    first_origin: str
    last_origin: str
    origins: int
    stride: int
    horizon: int
    gap: int = 0
    refit: int | None = None
    skip_repeats: bool = False
    repeats: float = 0.0
    warnings: tuple[str, ...] = ()
    quirks: tuple[str, ...] = ()

    @property
    def overlap(self) -> int:
        """Consecutive origins that share a judged session, counting the origin itself."""
        return -(-self.horizon // self.stride)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmFacts:
    """An arm as the page describes it.

    Attributes
    ----------
    name, role, use, options
        As in the experiment.
    card
        Title and text of each fact the arm states about itself.
    residual_distribution
        It gives a point path only; the harness added the distribution.
    """

    name: str
    role: Role
    use: str
    options: Mapping[str, object] = field(default_factory=dict)
    card: Mapping[str, str] = field(default_factory=dict)
    residual_distribution: bool = False

    @property
    def repaired(self) -> bool:
        """Whether its card calls it a repaired build, of which no original ever ran."""
        return any("repaired build" in said.lower() for said in self.card.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class PageInput:
    """All a page shows.

    Attributes
    ----------
    verdict
        The record the page is about.
    title, experiment_text
        Title and file of the experiment.
    summaries
        One row per arm, dataset and metric.
    scores
        One per unit that has scores.
    units
        Stored units by arm, dataset and seed; one that is missing is simply not there.
    curves
        Columns of `curve.parquet` by unit; empty or absent for arms that do not learn.
    datasets
        By id, in the order of the experiment.
    arms
        In the order of the experiment.
    environment, versions, fingerprints
        Name and text.
    beside
        What else the store holds on this verdict.
    """

    verdict: Verdict
    title: str
    experiment_text: str = ""
    summaries: Sequence[Summary] = ()
    scores: Sequence[UnitScores] = ()
    units: Mapping[UnitKey, StoredUnit] = field(default_factory=dict)
    curves: Mapping[UnitKey, Mapping[str, Array]] = field(default_factory=dict)
    datasets: Mapping[str, DatasetFacts] = field(default_factory=dict)
    arms: Sequence[ArmFacts] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    beside: Beside = field(default_factory=Beside)

    @property
    def repaired(self) -> tuple[str, ...]:
        """Arms that no original ever ran as: marked wherever their numbers stand."""
        return tuple(arm.name for arm in self.arms if arm.repaired)

    def label(self, name: str) -> str:
        """An arm's name in a chart: a dagger marks a repaired build."""
        return f"{name}\u2020" if name in self.repaired else name

    @property
    def dagger(self) -> str:
        """What the dagger means, for captions; '' where no arm has one."""
        return " \u2020 A repaired build: no original ever ran." if self.repaired else ""

    @property
    def reference(self) -> str | None:
        """The arm both sides are set against: the policy's, or the first reference arm."""
        named = self.verdict.policy.get("reference")
        if named:
            return str(named)
        return next((arm.name for arm in self.arms if arm.role == "reference"), None)

    def summary(self, arm: str, dataset: str, metric: str) -> Summary | None:
        """Find one row of the metrics table."""
        wanted = (arm, dataset, metric)
        found = (row for row in self.summaries if (row.arm, row.dataset, row.metric) == wanted)
        return next(found, None)

    def unit_keys(self, arm: str, dataset: str) -> list[UnitKey]:
        """Stored units of an arm on a dataset, by seed."""
        return sorted(key for key in self.units if key[:2] == (arm, dataset))

    def scores_of(self, arm: str, dataset: str) -> list[UnitScores]:
        """Scores of an arm on a dataset, by seed."""
        found = [each for each in self.scores if (each.arm, each.dataset) == (arm, dataset)]
        return sorted(found, key=lambda each: each.seed)
