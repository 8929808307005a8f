"""An arm on trial: built, loaded and fitted once on a made-up series."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.arm import Arm, Learns, Loads, Samples
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

SESSIONS, FIT_AT, VALIDATION, HORIZON = 720, 640, 150, 8
PLAN = RollingOrigin(horizon=HORIZON, stride=1, origins=1, validation=VALIDATION)


def made_up_series(*, seed: int = 0) -> Series:
    """A geometric random walk around 100 on weekdays, with one covariate of noise around 0."""
    rng = np.random.default_rng(seed)
    first = np.datetime64("2015-01-05")
    days = np.busday_offset(first, np.arange(SESSIONS), "forward").astype("datetime64[D]")
    whole = Series(
        dates=days,
        target=100.0 * np.exp(np.cumsum(0.01 * rng.standard_normal(SESSIONS))),
        past=rng.standard_normal((SESSIONS, 1)),
        past_names=("noise",),
        weekmask="1111100",
        season=5,
    )
    return up_to(whole, SESSIONS)


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
    """

    name: str
    construct: Callable[[dict[str, Any]], Arm]
    options: Mapping[str, Any] = field(default_factory=dict)
    use: str = ""
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
                arm.fit(fit_context(), seed=1)
            self._held["arm"] = arm
        return self._held["arm"]


def fit_context() -> Context:
    """What a learning arm is fitted on."""
    return context_at(made_up_series(), FIT_AT, plan=PLAN)


def contexts_for(arm: Arm, *origins: int, series: Series | None = None) -> Contexts:
    """Contexts at some origins, of the length the arm reads."""
    return contexts_at(
        made_up_series() if series is None else series,
        np.array(origins, dtype=np.int64),
        plan=PLAN,
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
    """Largest difference of point paths and quantiles, relative to the largest point."""
    pairs = [(first.point, second.point)]
    if first.quantiles is not None and second.quantiles is not None:
        pairs.append((first.quantiles, second.quantiles))
    scale = float(np.abs(first.point).max())
    return max(float(np.abs(a - b).max()) for a, b in pairs) / max(scale, 1e-12)
