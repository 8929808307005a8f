"""Everything a page shows, gathered from the store by whoever asks for the page.

Nothing here is computed: a page is drawn from these records alone, so that drawing it twice
gives the same bytes.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar

import numpy as np

from harness.arm import Role
from harness.checks.predicate import CheckRecord
from harness.costs import Costs
from harness.forecast import Forecast
from harness.judging.verdict import Change, Verdict
from harness.running.stored_cell import CellRecord, StoredCell
from harness.scoring.scores import UnitScores
from harness.scoring.summary import MetricSummary
from harness.window import Array, Dates, Rows


def machine_text(machine: Mapping[str, str]) -> str:
    """Name the machine of a stored unit."""
    if not machine:
        return "machine not stated"
    parts = [str(machine.get("processor", "processor not stated"))]
    if machine.get("cores"):
        parts.append(f"{machine['cores']} cores")
    if machine.get("gpu") not in (None, "", "none"):
        parts.append(str(machine["gpu"]))
    return ", ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """When the rules were recorded, an ISO day, and whether no result of the pair was there yet."""

    day: str
    before_results: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTimes:
    """What a measuring session took without an interval, in seconds, legacy then candidate."""

    first_s: tuple[float | None, float | None] = (None, None)
    p90_s: tuple[float | None, float | None] = (None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A claim beside what was measured, in words.

    Attributes
    ----------
    group
        Title of the documents it stands in.
    decides
        The rule that decides it.
    found
        What was measured, and why it is open, a line each.
    commands
        What to run to settle it.
    """

    group: str
    number: str
    text: str
    offered: str
    status: str
    decides: str
    found: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRecords:
    """Records beside the verdict.

    Attributes
    ----------
    experiment, store
        As commands name them, quoted for a shell. Names only, no path of a machine.
    folder
        Of the verdict, from beside the store.
    others
        Verdicts of the same candidate against the other legacy arms.
    costs
        Measured costs of the candidate by legacy arm; where nothing was measured they say why.
    measuring_s
        About how many seconds it takes to measure the costs of the pair; None where unknown.
    sessions
        What measuring sessions took beside the costs, by legacy arm.
    logs
        Where the log of each unit with failed windows lies, from the folder of the store.
    trials
        Results of the battery on the arms of the page.
    claims
        What was claimed beside what was measured.
    since
        What changed since the last verdict on the pair; None for a verdict that is in none.
    registered
        When the rules were recorded; None where they never were.
    verdicts
        How many verdicts on this pair the history holds, this one included.
    """

    experiment: str = "EXPERIMENT"
    store: str = "STORE"
    folder: str = "VERDICT"
    others: Sequence[Verdict] = ()
    costs: Mapping[str, Costs] = field(default_factory=dict)
    measuring_s: float | None = None
    sessions: Mapping[str, SessionTimes] = field(default_factory=dict)
    logs: Mapping[UnitKey, str] = field(default_factory=dict)
    trials: Sequence[CheckRecord] = ()
    claims: Sequence[Claimed] = ()
    since: Change | None = None
    registered: Registration | None = None
    verdicts: int = 0

    def command(self, verb: str, *options: str) -> str:
        """The command that makes a record of the experiment."""
        return " ".join(["abharness", verb, self.experiment, *options, "--store", self.store])

    def check_command(self, arm: str) -> str:
        """The command that tries the battery on an arm of the experiment."""
        name = shlex.quote(arm)
        return f"abharness check {name} --experiment {self.experiment} --store {self.store}"

    @property
    def replay_command(self) -> str:
        """The command that judges the same records again."""
        return f"abharness replay {shlex.quote(self.folder)}"


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
    until
        ISO date of the last row of the file, judged or not; '' where it is not known.
    first_origin, last_origin
        ISO dates of the first session not seen, at the first and the last origin.
    origins, stride, horizon, gap, refit
        The plan; `refit` None is one fit, at the first origin.
    skip_repeats
        Whether sessions that repeat the price before them were dropped.
    repeats
        Share of such sessions in the file.
    ended
        ISO date of the last session of data that have ended, '' for others.
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
    until: str = ""
    warnings: tuple[str, ...] = ()
    quirks: tuple[str, ...] = ()
    ended: str = ""

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
    weights
        Name to SHA-256 of each file of its checkpoint.
    """

    name: str
    role: Role
    use: str
    options: Mapping[str, object] = field(default_factory=dict)
    card: Mapping[str, str] = field(default_factory=dict)
    residual_distribution: bool = False
    weights: Mapping[str, str] = field(default_factory=dict)

    @property
    def repaired(self) -> bool:
        """Whether its card calls it a repaired build, of which no original ever ran."""
        return any("repaired build" in said.lower() for said in self.card.values())


HEAD = "head of the store's records"
"""Name of the fingerprint that stands for every record up to the verdict."""


_Read = TypeVar("_Read")
_KEPT = 16
"""Units whose forecasts are held at a time."""


class ReadWhenAsked(Mapping[UnitKey, _Read]):
    """What the store holds of each unit, read where it is drawn; the last ones are kept."""

    def __init__(self, keys: Iterable[UnitKey], read: Callable[[UnitKey], _Read]) -> None:
        self._keys = dict.fromkeys(keys)
        self._read = lru_cache(maxsize=_KEPT)(read)

    def __getitem__(self, key: UnitKey) -> _Read:
        if key not in self._keys:
            raise KeyError(key)
        return self._read(key)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[UnitKey]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


@dataclass(frozen=True, slots=True, weakref_slot=True, kw_only=True, eq=False)
class PageInput:
    """All a page shows; one is only ever equal to itself, so that what is drawn may be kept by it.

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
        By arm, dataset and seed; one that is missing is simply not there.
    answers
        Forecasts of the same units.
    curves
        Columns of `curve.parquet` by unit; empty or absent for arms that do not learn.
    datasets
        By id, in the order of the experiment.
    arms
        In the order of the experiment.
    environment, versions, fingerprints
        Name and text.
    judged_at
        ISO time at which the verdict was passed; '' where the store does not say.
    beside
        What else the store holds on this verdict.
    """

    verdict: Verdict
    title: str = ""
    experiment_text: str = ""
    summaries: Sequence[MetricSummary] = ()
    scores: Sequence[UnitScores] = ()
    units: Mapping[UnitKey, CellRecord] = field(default_factory=dict)
    answers: Mapping[UnitKey, StoredCell] = field(default_factory=dict)
    curves: Mapping[UnitKey, Mapping[str, Array]] = field(default_factory=dict)
    datasets: Mapping[str, DatasetFacts] = field(default_factory=dict)
    arms: Sequence[ArmFacts] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    judged_at: str = ""
    beside: PageRecords = field(default_factory=PageRecords)

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
        """The arm both sides are set against, as the verdict found it."""
        return self.verdict.validity.reference

    @property
    def dataset_names(self) -> list[str]:
        """Datasets in the order of the experiment, then any that only the records name."""
        named = [each.dataset for each in self.verdict.findings if each.unit != "ratio"]
        named += [row.dataset for row in self.summaries]
        return list(dict.fromkeys([*self.datasets, *named]))

    def prospective(self, dataset: str) -> int:
        """Judged origins of a dataset that were forecast before their outcome."""
        plan = self.verdict.plan
        found = (
            (each.prospective for each in plan.datasets if each.dataset == dataset) if plan else ()
        )
        return next(iter(found), 0)

    @property
    def alone(self) -> bool:
        """Whether nothing but the verdict is known, as of one that is only for the record."""
        return not (self.arms or self.datasets or self.units)

    def summary(self, arm: str, dataset: str, metric: str) -> MetricSummary | None:
        """Find one row of the metrics table."""
        wanted = (arm, dataset, metric)
        found = (row for row in self.summaries if (row.arm, row.dataset, row.metric) == wanted)
        return next(found, None)

    def arm(self, name: str) -> ArmFacts | None:
        """What is known of an arm."""
        return next((each for each in self.arms if each.name == name), None)

    def unit_keys(self, arm: str, dataset: str) -> list[UnitKey]:
        """Stored units of an arm on a dataset, by seed."""
        return sorted(key for key in self.units if key[:2] == (arm, dataset))

    def scores_of(self, arm: str, dataset: str) -> list[UnitScores]:
        """Scores of an arm on a dataset, by seed."""
        found = [each for each in self.scores if (each.arm, each.dataset) == (arm, dataset)]
        return sorted(found, key=lambda each: each.seed)


FAN_LEVELS: Array = np.array([0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975])
FAN_LEVELS.flags.writeable = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowPick:
    """A window to show: why, where it is, and what each side lost there.

    Losses are the window's CRPS as a share of the last value seen, mean over steps and seeds.
    """

    word: str
    origin: int
    candidate_loss: float
    legacy_loss: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fan:
    """One arm's forecast of one window.

    Attributes
    ----------
    quantiles : [H, 7], optional
        At `FAN_LEVELS`; None for an arm without a distribution.
    point : [H]
    """

    arm: str
    seed: int
    point: Array
    quantiles: Array | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSpan:
    """The sessions around an origin: seen before it, and judged after it.

    Attributes
    ----------
    seen_dates, seen : [T], [T]
    dates, truth : [H], [H]
    """

    seen_dates: Dates
    seen: Array
    dates: Dates
    truth: Array


def relative_loss(scores: Sequence[UnitScores]) -> tuple[Rows, Array]:
    """Origins [W] and each window's CRPS over the last value seen [W], mean over seeds.

    NaN where a window failed for any seed. Units on other origins than the first are left out:
    such a verdict is INVALID already.
    """
    usable = [each for each in scores if "crps" in each.values]
    if not usable:
        return np.empty(0, dtype=np.int64), np.empty(0)
    origin = usable[0].origin
    same = [each for each in usable if np.array_equal(each.origin, origin)]
    losses = [each.values["crps"].mean(axis=1) / each.last for each in same]
    return origin, np.mean(losses, axis=0)


def picks(page: PageInput, dataset: str) -> list[WindowPick]:
    """Choose the worst, median and best window by the candidate's loss."""
    origin, loss = relative_loss(page.scores_of(page.verdict.candidate, dataset))
    ranked = [int(place) for place in np.argsort(loss, kind="stable") if np.isfinite(loss[place])]
    if not ranked:
        return []
    places = {
        "Worst": ranked[-1],
        "Median": ranked[(len(ranked) - 1) // 2],
        "Best": ranked[0],
    }
    legacy = _losses_by_origin(page, page.verdict.legacy, dataset)
    return [
        WindowPick(
            word=word,
            origin=int(origin[place]),
            candidate_loss=float(loss[place]),
            legacy_loss=legacy.get(int(origin[place])),
        )
        for word, place in places.items()
    ]


def largest_losses(page: PageInput, dataset: str, *, count: int = 3) -> list[WindowPick]:
    """Windows where the candidate loses most against the legacy arm, gravest first."""
    candidate = _losses_by_origin(page, page.verdict.candidate, dataset)
    legacy = _losses_by_origin(page, page.verdict.legacy, dataset)
    gaps = sorted((legacy[at] - loss, at) for at, loss in candidate.items() if at in legacy)
    return [
        WindowPick(word="", origin=at, candidate_loss=candidate[at], legacy_loss=legacy[at])
        for gap, at in gaps[:count]
        if gap < 0
    ]


def compared_windows(page: PageInput, dataset: str) -> int:
    """How many windows of a dataset have a loss of both sides."""
    sides = (page.verdict.candidate, page.verdict.legacy)
    ours, theirs = (_losses_by_origin(page, arm, dataset) for arm in sides)
    return len(ours.keys() & theirs.keys())


def _losses_by_origin(page: PageInput, arm: str, dataset: str) -> dict[int, float]:
    origin, loss = relative_loss(page.scores_of(arm, dataset))
    pairs = zip(origin.tolist(), loss.tolist(), strict=True)
    return {at: value for at, value in pairs if np.isfinite(value)}


def span(facts: DatasetFacts, origin: int) -> PriceSpan | None:
    """Cut the sessions around an origin; None where the series does not reach."""
    first = origin + facts.gap
    stop = first + facts.horizon
    if stop > len(facts.target):
        return None
    start = max(0, origin - max(20, 2 * facts.horizon))
    return PriceSpan(
        seen_dates=facts.dates[start:origin],
        seen=facts.target[start:origin],
        dates=facts.dates[first:stop],
        truth=facts.target[first:stop],
    )


def fan(page: PageInput, arm: str, dataset: str, origin: int) -> Fan | None:
    """Read an arm's forecast at an origin, by key, from its first seed that has one there."""
    for key in page.unit_keys(arm, dataset):
        unit = page.answers[key]
        found = np.flatnonzero(unit.origin == origin)
        row = int(found[0]) if len(found) == 1 else -1
        if row < 0 or unit.reason[row] or not np.isfinite(unit.forecast.point[row]).all():
            continue
        quantiles = None
        if unit.forecast.has_distribution:
            quantiles = window_of(unit.forecast, slice(row, row + 1)).at(FAN_LEVELS)[0]
        return Fan(arm=arm, seed=key[2], point=unit.forecast.point[row], quantiles=quantiles)
    return None


def window_of(forecast: Forecast, rows: slice | Rows) -> Forecast:
    """Some windows of a forecast, in the same form."""
    quantiles, samples, deviation = forecast.quantiles, forecast.samples, forecast.deviation
    return Forecast(
        point=forecast.point[rows],
        levels=forecast.levels,
        quantiles=None if quantiles is None else quantiles[rows],
        samples=None if samples is None else samples[rows],
        deviation=None if deviation is None else deviation[rows],
    )
