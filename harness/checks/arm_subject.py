"""An arm on trial: built, loaded and fitted once on a made-up series."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.arm import Arm, Learns, Loads, ReadsColumns, Samples, training_of
from harness.checks.predicate import NotApplicableError
from harness.forecast import LEVELS, Forecast
from harness.window import (
    Context,
    Contexts,
    RollingOrigin,
    Series,
    context_at,
    contexts_at,
    up_to,
)

FIT_AT, AFTER, VALIDATION, HORIZON = 640, 80, 150, 8
"""Sessions before the first origin and after it, and steps; more for an arm that wants more."""
LONGEST = 4096
"""No made-up history is longer than this, however much an arm reads."""
NO_NUMBERS = "it gives no forecast of the made-up series in numbers, so nothing can be compared"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSubject:
    """An arm, as something that can be built.

    Attributes
    ----------
    name
        Shown in every output.
    options
        What the arm is built with.
    construct
        Options to arm.
    use
        Where its code is, ``module:Class``; '' where nobody said.
    horizon
        Steps it is asked for: those of its experiment's plan, for a head that has so many.
    """

    name: str
    construct: Callable[[dict[str, Any]], Arm]
    options: Mapping[str, Any] = field(default_factory=dict)
    use: str = ""
    horizon: int = HORIZON
    _held: dict[str, Arm] = field(default_factory=dict, repr=False, compare=False)

    def fresh(self, options: dict[str, Any] | None = None) -> Arm:
        """Build, seed and load the arm; the weights it starts from are drawn from one seed."""
        seed_all(0)
        arm = self.construct(copy.deepcopy(dict(self.options)) if options is None else options)
        if isinstance(arm, Samples):
            arm.seed(1)
        if isinstance(arm, Loads):
            arm.load()
        return arm

    def fitted(self) -> Arm:
        """The arm, fitted on the made-up series where it learns; one and the same every time."""
        if "arm" not in self._held:
            arm = self.fresh()
            if isinstance(arm, Learns):
                training_of(arm.fit(self.fit_context(arm), seed=1))
            self._held["arm"] = arm
        return self._held["arm"]

    @property
    def validation(self) -> int:
        """Sessions kept out of training."""
        return max(VALIDATION, 2 * self.horizon)

    @property
    def plan(self) -> RollingOrigin:
        """What contexts are cut by."""
        return RollingOrigin(horizon=self.horizon, stride=1, origins=1, validation=self.validation)

    def first_origin(self, arm: Arm) -> int:
        """Where it is fitted and first asked: with as much history before it as it reads."""
        return min(
            max(FIT_AT, self.validation + 8 * self.horizon, arm.context_length or 0), LONGEST
        )

    def series(self, arm: Arm) -> Series:
        """A geometric random walk around 100 on weekdays, with a covariate of noise around 0.

        Covariates have the names of those the arm reads, and sessions begin two years before the
        last that its weights have seen.
        """
        rng = np.random.default_rng(0)
        named = tuple(arm.reads_columns) if isinstance(arm, ReadsColumns) else ()
        names = named or ("noise",)
        sessions = self.first_origin(arm) + max(AFTER, 2 * self.horizon)
        first = np.datetime64("2015-01-05")
        if getattr(arm, "trained_until", ""):
            first = min(first, np.datetime64(arm.trained_until) - 730)  # type: ignore[attr-defined]  # just seen
        days = np.busday_offset(first, np.arange(sessions), "forward").astype("datetime64[D]")
        whole = Series(
            dates=days,
            target=100.0 * np.exp(np.cumsum(0.01 * rng.standard_normal(sessions))),
            past=rng.standard_normal((sessions, len(names))),
            past_names=names,
            weekmask="1111100",
            season=5,
        )
        return up_to(whole, sessions)

    def fit_context(self, arm: Arm) -> Context:
        """What a learning arm is fitted on."""
        return context_at(self.series(arm), self.first_origin(arm), plan=self.plan)

    def contexts(self, arm: Arm, *origins: int, series: Series | None = None) -> Contexts:
        """Contexts at some origins, of the length the arm reads."""
        return contexts_at(
            self.series(arm) if series is None else series,
            np.array(origins, dtype=np.int64),
            plan=self.plan,
            length=arm.context_length,
            levels=LEVELS,
        )


def seed_all(value: int) -> None:
    """Seed every global generator: Python's, numpy's, torch's where it is loaded."""
    import random
    import sys

    random.seed(value)
    np.random.seed(value)  # noqa: NPY002  # the global one is the point
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(value)


def gap_of(first: Forecast, second: Forecast) -> float:
    """Largest difference of point paths and distributions, relative to the largest point.

    Infinite where they have no distribution of the same form in common.

    Raises
    ------
    NotApplicableError
        When a number is missing: what is not there neither agrees nor differs.
    """
    names = ("point", "levels", "quantiles", "samples", "deviation")
    sides = [[getattr(expect_numbers(each), name) for name in names] for each in (first, second)]
    pairs = list(zip(*sides, strict=True))
    if any(np.shape(one) != np.shape(other) for one, other in pairs):
        return math.inf
    gaps = [np.abs(one - other).max(initial=0.0) for one, other in pairs if one is not None]
    return float(max(gaps)) / max(float(np.abs(first.point).max()), 1e-12)


def expect_numbers(forecast: Forecast) -> Forecast:
    """Give a forecast back that is finite in every window.

    Raises
    ------
    NotApplicableError
    """
    if not forecast.finite.all():
        raise NotApplicableError(NO_NUMBERS)
    return forecast
