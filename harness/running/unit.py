"""An arm carried out: made ready at an origin, or restored, and asked for forecasts.

Everything an arm can get wrong ends here as rows: a window it failed has the reason and NaN. An
arm that can keep its fit always forecasts from the kept one, in the night it was made as well, so
that every night forecasts alike.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness import errors
from harness.arm import (
    Arm,
    Learns,
    Loads,
    Samples,
    Saves,
    Training,
    card_of,
    continues,
    expect_answer,
    logs_in,
    training_of,
)
from harness.arm_ref import ArmRef, attempt
from harness.errors import ArmError, ForecastError, exception_line
from harness.forecast import ANSWERED, LEVELS, Forecast, Form
from harness.residuals import ResidualDistribution, measure_residuals
from harness.running.meter import Meter
from harness.window import (
    Array,
    Contexts,
    Dates,
    RollingOrigin,
    Rows,
    Series,
    Windows,
    context_at,
    contexts_at,
)

_LONGEST_TRACE = 200_000
"""Characters of a traceback that are kept: the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one process is handed.

    Attributes
    ----------
    series
        Rows before the last origin; later values never enter the process.
    batch
        Windows per call of the arm.
    restored
        Folder of a kept fit to go on with; None makes the fit. Only for windows of one fit.
    follows
        Folder of the kept fit that this one starts from, where it is made and does so.
    days_moved
        Days by which the dates of `series` are later than the real ones: draws are those of the
        real dates.
    sessions
        Dates of all sessions known, without values, for an arm that plays a log back; else None.
    """

    ref: ArmRef
    seed: int
    plan: RollingOrigin
    series: Series
    windows: Windows
    threads: int
    batch: int
    restored: Path | None = None
    follows: Path | None = None
    days_moved: int = 0
    sessions: Dates | None = None

    @property
    def cutoffs(self) -> Dates:
        """The last session seen at each origin, [W]."""
        return self.series.dates[self.windows.origin - 1]

    @property
    def days(self) -> tuple[str, ...]:
        """The same as ISO dates."""
        return tuple(np.datetime_as_string(self.cutoffs, "D").tolist())


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """One fit: at which origin, and its training record."""

    origin: int
    training: Training


@dataclass(slots=True, kw_only=True)
class UnitResult:
    """What came of a unit.

    Attributes
    ----------
    reason
        W texts; empty where the window has a forecast.
    point : [W, H]
    values : [W, H, q], [W, M, H] or [W, H], optional
        Quantiles, samples or deviations, as `form` says; NaN where a window failed.
    levels : [q]
    fallback
        W texts: why the arm's fallback answered a window, '' where the arm did; empty for an arm
        without one.
    fits
        One per refit that was made here, for arms that learn.
    unfit
        Why the arm could not be made ready at the last fit's origin; empty where it was.
    saved
        The last fit was kept.
    residuals
        The distribution of the last fit's errors, where the arm gives a point path only.
    trace
        Traceback of the first failure, for the log.
    """

    reason: list[str]
    point: Array
    form: Form = "none"
    levels: Array = field(default_factory=lambda: np.empty(0))
    values: Array | None = None
    residual_distribution: bool = False
    residuals: ResidualDistribution | None = None
    unfit: str = ""
    saved: bool = False
    fallback: list[str] = field(default_factory=list)
    fits: list[Fit] = field(default_factory=list)
    card: dict[str, str] = field(default_factory=dict)
    meter: Meter = field(default_factory=Meter)
    trace: str = ""

    @classmethod
    def blank(cls, windows: Windows) -> UnitResult:
        """Every window failed: none was asked for yet."""
        empty = np.full((len(windows), windows.horizon), np.nan)
        return cls(reason=["not run"] * len(windows), point=empty)

    @property
    def forecast(self) -> Forecast:
        """The answers as one forecast; NaN in failed windows."""
        return Forecast.of_form(
            self.form,
            point=self.point,
            levels=self.levels,
            values=self.values,
            fallback=tuple(self.fallback),
        )

    @property
    def failures(self) -> list[str]:
        """W texts: why the arm itself has no forecast for a window, its fallback's or none."""
        flags = self.fallback or [""] * len(self.reason)
        return [
            reason or (f"{ANSWERED}{why}" if why else "")
            for reason, why in zip(self.reason, flags, strict=True)
        ]

    def fail(self, part: slice, problem: BaseException | str) -> None:
        """Mark windows as failed, with one line of reason."""
        text = problem if isinstance(problem, str) else exception_line(problem)
        self.reason[part] = [text] * len(self.reason[part])
        if isinstance(problem, BaseException) and not self.trace:
            trace = "".join(traceback.format_exception(problem))[-_LONGEST_TRACE:]
            self.trace = errors.escaped(trace)

    def put(self, part: slice, forecast: Forecast) -> None:
        """Store the forecast of some windows; those that are not finite are failed.

        Raises
        ------
        ForecastError
            When its form or levels differ from what the arm answered before.
        """
        form, values = forecast.form, forecast.distribution
        assert values is not None
        if self.values is None:
            self.form, self.levels = form, forecast.levels
            self.values = np.full((len(self.reason), *values.shape[1:]), np.nan)
        if (form, values.shape[1:]) != (self.form, self.values.shape[1:]) or not np.array_equal(
            forecast.levels, self.levels
        ):
            raise ForecastError("forecasts of one unit differ in form, levels or sample count")
        fine = forecast.finite
        self.point[part] = np.where(fine[:, None], forecast.point, np.nan)
        self.values[part] = np.where(fine.reshape(-1, *[1] * (values.ndim - 1)), values, np.nan)
        self.reason[part] = ["" if ok else "forecast is not finite" for ok in fine.tolist()]
        if forecast.fallback:  # why it answered, or why it could not
            told = list(zip(forecast.fallback, fine.tolist(), strict=True))
            self.fallback = self.fallback or [""] * len(self.reason)
            self.fallback[part] = [text if ok else "" for text, ok in told]
            self.reason[part] = [
                "" if ok else text or "forecast is not finite" for text, ok in told
            ]


STATE = "state"
"""Sub-folder of a kept fit with what the arm itself saved."""
RESIDUALS = "residuals.json"
"""File of a kept fit with its `ResidualDistribution`."""


def carry_out(
    job: Job,
    *,
    keep: Path | None = None,
    ready: Callable[[UnitResult], None] = lambda outcome: None,
    tell: Callable[[float], None] = lambda share: None,
) -> UnitResult:
    """Make the arm ready at every fit's origin and forecast; never raises for what an arm does.

    Every fit starts from a newly built arm, which is restored from the fit that it `follows`.

    Parameters
    ----------
    keep
        Folder for what a later night restores the fit from, for windows of one fit; left out,
        nothing is kept.
    ready
        Called once the arm is ready to forecast, or cannot be, for each fit.
    tell
        Called with the share of windows that are done, after each batch.
    """
    outcome = UnitResult.blank(job.windows)
    for fitted_at, part in job.windows.segments():
        outcome.unfit, outcome.saved = "", False
        answer, failed = attempt(
            lambda at=fitted_at: _ready(at, job, keep, outcome)  # type: ignore[misc]  # a default binds the loop variable
        )
        if failed is not None:
            outcome.fail(part, failed)
            outcome.unfit = outcome.reason[part.start]
        ready(outcome)
        if answer is None:
            continue
        for batch in answer.batches(job.windows.origin, part):
            _answer_into(outcome, batch, answer, job.windows.origin)
            tell(batch.stop / len(job.windows))
        outcome.residuals = answer.residuals
        if keep is not None and answer.residuals is not None:
            answer.residuals.write(keep / RESIDUALS)
    return outcome


def restored(job: Job) -> Callable[[Series], Forecast]:
    """Make an arm ready once, from its kept fit; what comes forecasts after the end of a series.

    It forecasts as in a night: the same rows give the same numbers. Neither this nor what it gives
    guards against what an arm raises.
    """
    fitted_at = int(job.windows.fitted_at[-1])
    answer = _ready(fitted_at, job, None, UnitResult.blank(job.windows))

    def after(series: Series) -> Forecast:
        answer.job = dataclasses.replace(job, series=series)
        return answer(np.array([len(series)]))

    return after


def _ready(fitted_at: int, job: Job, keep: Path | None, outcome: UnitResult) -> _Answer:
    """An arm as it stands after its fit at an origin."""
    arm = _built(job, outcome)
    if isinstance(arm, Learns):
        if job.restored is not None:
            _restore(arm, job.restored, outcome)
        else:
            if job.follows is not None:
                _restore(arm, job.follows, outcome)
            context = context_at(job.series, fitted_at, plan=job.plan)
            with outcome.meter.phase("fit"):
                training = training_of(arm.fit(context, seed=job.seed))
            outcome.fits.append(Fit(origin=fitted_at, training=training))
            if keep is not None and isinstance(arm, Saves):
                arm = _from_kept(arm, keep, job, outcome)
    answer = _Answer(arm=arm, job=job, fitted_at=fitted_at, outcome=outcome)
    if job.restored is not None and (job.restored / RESIDUALS).is_file():
        answer.residuals = ResidualDistribution.read(job.restored / RESIDUALS)
    return answer


def _from_kept(arm: Saves, keep: Path, job: Job, outcome: UnitResult) -> Arm:
    """Keep a fit and give a new arm that was restored from it; the arm itself where that fails.

    An `ArmError` where the next fit is to start from what cannot be kept.
    """

    def kept() -> Arm:
        (keep / STATE).mkdir()
        arm.save(keep / STATE)
        fresh = _built(job, outcome)
        _restore(fresh, keep, outcome)
        return fresh

    fresh, problem = attempt(kept)
    if fresh is not None:
        outcome.saved = True
        return fresh
    assert problem is not None
    shutil.rmtree(keep / STATE)
    assert isinstance(arm, Arm)
    why = exception_line(problem)
    if continues(arm):
        raise ArmError(f"its fit cannot be kept, and the next one must start from it: {why}")
    sys.stderr.write(f"its fit is not kept: {why}\n")
    return arm


def _built(job: Job, outcome: UnitResult) -> Arm:
    """A new arm, its weights read."""
    with outcome.meter.phase("import"):
        arm = job.ref.build()
    if isinstance(arm, Samples):
        arm.seed(job.seed)
    if job.sessions is not None:
        for log in logs_in(arm):
            log.know_sessions(job.sessions)
    with outcome.meter.phase("load"):
        if isinstance(arm, Loads):
            arm.load()
    outcome.card = card_of(arm)
    return arm


def _restore(arm: Arm, folder: Path, outcome: UnitResult) -> None:
    assert isinstance(arm, Saves)
    with outcome.meter.phase("restore"):
        arm.restore(folder / STATE)


@dataclass(slots=True, kw_only=True)
class _Answer:
    """How an arm, fitted at an origin, answers at later ones."""

    arm: Arm
    job: Job
    fitted_at: int
    outcome: UnitResult
    residuals: ResidualDistribution | None = None

    def __call__(self, origins: Rows) -> Forecast:
        """Forecast the judged steps at origins [R], with a distribution."""
        contexts = self.contexts(origins)
        with self.outcome.meter.phase("forecast"):
            self.start_draws(origins)
            forecast = self.arm.forecast(contexts)
        expect_answer(forecast, contexts)
        if not forecast.has_distribution:
            forecast = self.distribution().around(forecast, contexts.last)
        gap = self.job.plan.gap
        return forecast.part(steps=slice(gap, None)) if gap else forecast

    def batches(self, origins: Rows, part: slice) -> Iterator[slice]:
        """Cut some of the origins [W] into calls in which none decides what another is handed.

        Contexts of one call are equally long, so none is padded. An arm that draws is asked for
        one origin at a time, unless it starts its draws anew for each.
        """
        limits = [self.arm.context_length, self.job.plan.history]
        size = np.minimum.reduce([origins, *(np.full_like(origins, n) for n in limits if n)])
        most = 1 if self.alone else self.job.batch
        start = part.start
        for stop in range(part.start + 1, part.stop + 1):
            if stop == part.stop or stop - start == most or size[stop] != size[start]:
                yield slice(start, stop)
                start = stop

    @property
    def alone(self) -> bool:
        """Whether its batch mates would decide what an arm draws."""
        draws = isinstance(self.arm, Samples) and self.arm.draws
        return draws and not getattr(self.arm, "batches_draws", False)

    def start_draws(self, origins: Rows) -> None:
        """Start the arm's generator as on any night: from the seed and the cutoff alone."""
        if isinstance(self.arm, Samples) and self.arm.draws:
            day = self.job.series.dates[origins[0] - 1] - np.timedelta64(self.job.days_moved, "D")
            cutoff = str(day.astype("datetime64[D]"))
            self.arm.seed(draw_seed(self.job.seed, cutoff) if self.alone else self.job.seed)

    def distribution(self) -> ResidualDistribution:
        """The arm's residuals on its validation span, measured once per fit."""
        self.outcome.residual_distribution = True
        if self.residuals is None:
            with self.outcome.meter.phase("residuals"):
                self.residuals = measure_residuals(
                    self.point, self.job.series, fitted_at=self.fitted_at, plan=self.job.plan
                )
        return self.residuals

    def point(self, origins: Rows) -> Array:
        """Point paths [R, reach] at past origins, in batches."""
        found: list[Array] = []
        for part in self.batches(origins, slice(0, len(origins))):
            self.start_draws(origins[part])
            found.append(self.arm.forecast(self.contexts(origins[part])).point)
        return np.concatenate(found)

    def contexts(self, origins: Rows) -> Contexts:
        """Cut the contexts at origins [R]."""
        return contexts_at(
            self.job.series,
            origins,
            plan=self.job.plan,
            length=self.arm.context_length,
            levels=LEVELS,
        )


def draw_seed(seed: int, cutoff: str) -> int:
    """Seed of the draws at an origin, from 0 to 2**31 - 1: of the arm's seed and the ISO date."""
    text = f"{seed} {cutoff}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def _answer_into(
    outcome: UnitResult, part: slice, answer: Callable[[Rows], Forecast], origins: Rows
) -> None:
    """Ask for a batch; when it raises, halve it until the windows at fault stand alone."""
    failed = attempt(lambda: outcome.put(part, answer(origins[part])))[1]
    if failed is None:
        return
    middle = (part.start + part.stop) // 2
    if middle == part.start:
        outcome.fail(part, failed)
        return
    _answer_into(outcome, slice(part.start, middle), answer, origins)
    _answer_into(outcome, slice(middle, part.stop), answer, origins)
