"""One cell of the grid carried out: an arm on a dataset with a seed, every window of it.

Everything an arm can get wrong ends here as rows: a window it failed has the reason and NaN.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from harness import errors
from harness.arm import (
    Arm,
    ArmRef,
    Learns,
    Loads,
    Samples,
    Training,
    _Result,
    attempt,
    card_of,
    exception_line,
    expect_answer,
    training_of,
)
from harness.errors import ForecastError
from harness.forecast import ANSWERED, LEVELS, Forecast
from harness.residuals import ResidualDistribution, measure_residuals
from harness.running.meter import Meter
from harness.window import (
    Array,
    Contexts,
    RollingOrigin,
    Rows,
    Series,
    Windows,
    context_at,
    contexts_at,
)

Form = Literal["quantiles", "samples", "gaussian", "none"]
"""How a unit's distribution is stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one process is handed.

    Attributes
    ----------
    series
        Rows before the last origin; later values never enter the process.
    batch
        Windows per call of the arm.
    """

    ref: ArmRef
    seed: int
    plan: RollingOrigin
    series: Series
    windows: Windows
    threads: int
    batch: int


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
        One per refit, for arms that learn.
    trace
        Traceback of the first failure, for the log.
    """

    reason: list[str]
    point: Array
    form: Form = "none"
    levels: Array = field(default_factory=lambda: np.empty(0))
    values: Array | None = None
    residual_distribution: bool = False
    fallback: list[str] = field(default_factory=list)
    fits: list[Fit] = field(default_factory=list)
    card: dict[str, str] = field(default_factory=dict)
    meter: Meter = field(default_factory=Meter)
    trace: str = ""

    @classmethod
    def blank(cls, windows: Windows, reason: str = "not run") -> UnitResult:
        """Every window failed, for the same reason."""
        empty = np.full((len(windows), windows.horizon), np.nan)
        return cls(reason=[reason] * len(windows), point=empty)

    @property
    def forecast(self) -> Forecast:
        """The answers as one forecast; NaN in failed windows."""
        return Forecast(
            point=self.point,
            levels=self.levels,
            quantiles=self.values if self.form == "quantiles" else None,
            samples=self.values if self.form == "samples" else None,
            deviation=self.values if self.form == "gaussian" else None,
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
            self.trace = errors.escaped("".join(traceback.format_exception(problem)))

    def put(self, part: slice, forecast: Forecast) -> None:
        """Store the forecast of some windows; those that are not finite are failed.

        Raises
        ------
        ForecastError
            When its form or levels differ from what the arm answered before.
        """
        form, values = _form_of(forecast)
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
        if forecast.fallback:
            self._note(part, forecast.fallback, fine.tolist())

    def _note(self, part: slice, why: Sequence[str], fine: Sequence[bool]) -> None:
        """Keep why the fallback answered, or why it could not."""
        self.fallback = self.fallback or [""] * len(self.reason)
        self.fallback[part] = [text if ok else "" for text, ok in zip(why, fine, strict=True)]
        self.reason[part] = [
            "" if ok else text or "forecast is not finite"
            for text, ok in zip(why, fine, strict=True)
        ]


def _form_of(forecast: Forecast) -> tuple[Form, Array]:
    if forecast.quantiles is not None:
        return "quantiles", forecast.quantiles
    if forecast.samples is not None:
        return "samples", forecast.samples
    assert forecast.deviation is not None
    return "gaussian", forecast.deviation


def carry_out(job: Job, *, tell: Callable[[float], None] = lambda share: None) -> UnitResult:
    """Fit and forecast every window of a unit; never raises for what an arm does.

    Parameters
    ----------
    tell
        Called with the share of windows that are done, after each batch.
    """
    outcome = UnitResult.blank(job.windows)
    everything = slice(0, len(job.windows))
    arm = _guarded(lambda: _prepared(job, outcome), outcome, everything)
    if arm is None:
        return outcome
    for fitted_at, part in job.windows.segments():
        answer = _guarded(lambda at=fitted_at: _fitted(arm, at, job, outcome), outcome, part)  # type: ignore[misc]  # a default binds the loop variable
        if answer is None:
            continue
        for batch in _batches(part, job.batch):
            _answer_into(outcome, batch, answer, job.windows.origin)
            tell(batch.stop / len(job.windows))
    return outcome


def _prepared(job: Job, outcome: UnitResult) -> Arm:
    with outcome.meter.phase("import"):
        arm = job.ref.build()
    if isinstance(arm, Samples):
        arm.seed(job.seed)
    with outcome.meter.phase("load"):
        if isinstance(arm, Loads):
            arm.load()
    outcome.card = card_of(arm)
    return arm


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
            forecast = self.arm.forecast(contexts)
        expect_answer(forecast, contexts)
        if not forecast.has_distribution:
            forecast = self.distribution().around(forecast, contexts.last)
        return forecast.steps(self.job.plan.gap) if self.job.plan.gap else forecast

    def distribution(self) -> ResidualDistribution:
        """Measure the arm's residuals on its validation span, once per fit."""
        if self.residuals is None:
            self.outcome.residual_distribution = True
            with self.outcome.meter.phase("residuals"):
                self.residuals = measure_residuals(
                    self.point, self.job.series, fitted_at=self.fitted_at, plan=self.job.plan
                )
        return self.residuals

    def point(self, origins: Rows) -> Array:
        """Point paths [R, reach] at past origins, in batches."""
        parts = _batches(slice(0, len(origins)), self.job.batch)
        return np.concatenate(
            [self.arm.forecast(self.contexts(origins[part])).point for part in parts]
        )

    def contexts(self, origins: Rows) -> Contexts:
        """Cut the contexts at origins [R]."""
        return contexts_at(
            self.job.series,
            origins,
            plan=self.job.plan,
            length=self.arm.context_length,
            levels=LEVELS,
        )


def _fitted(arm: Arm, fitted_at: int, job: Job, outcome: UnitResult) -> _Answer:
    """Fit the arm at an origin, where it learns."""
    if isinstance(arm, Learns):
        context = context_at(job.series, fitted_at, plan=job.plan)
        with outcome.meter.phase("fit"):
            training = training_of(arm.fit(context, seed=job.seed))
        outcome.fits.append(Fit(origin=fitted_at, training=training))
    return _Answer(arm=arm, job=job, fitted_at=fitted_at, outcome=outcome)


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


def _guarded(work: Callable[[], _Result], outcome: UnitResult, part: slice) -> _Result | None:
    result, failed = attempt(work)
    if failed is not None:
        outcome.fail(part, failed)
    return result


def _batches(part: slice, size: int) -> Iterator[slice]:
    for start in range(part.start, part.stop, size):
        yield slice(start, min(start + size, part.stop))
