"""How fast scoring and judging are, on one core."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtri

from harness.forecast import LEVELS, Forecast
from harness.policy import CoverageRule, Criterion, Policy
from harness.scores import Truth, UnitScores, score
from harness.verdict import Cell, judge

WINDOWS, STEPS = 5000, 24


def truth_of(windows: int, dataset: str = "X") -> Truth:
    """Standard normal actuals around 100, origins a horizon apart."""
    draw = np.random.default_rng(0)
    origin = 100 + STEPS * np.arange(windows, dtype=np.int64)
    return Truth(
        dataset=dataset,
        origin=origin,
        origin_date=np.datetime64("1900-01-01", "D") + origin,
        step=np.arange(1, STEPS + 1),
        values=100 + draw.normal(size=(windows, STEPS)),
        last=np.full(windows, 100.0),
        naive_scale=np.ones(windows),
    )


def forecast_of(truth: Truth, seed: int = 1) -> Forecast:
    """Normal forecasts on the common grid."""
    centre = 100 + 0.3 * np.random.default_rng(seed).normal(size=truth.values.shape)
    return Forecast.of_quantiles(centre[..., None] + ndtri(LEVELS), LEVELS)


@pytest.fixture
def one_core() -> Any:
    """Stay on one core for the length of a test."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    yield
    os.sched_setaffinity(0, allowed)


@pytest.mark.usefixtures("one_core")
def test_scoring_5000_windows(benchmark: Callable[..., Any]) -> None:
    """All metrics on 5,000 windows x 24 steps x 23 levels, per-window output included."""
    truth = truth_of(WINDOWS)
    forecast = forecast_of(truth)
    score(truth, forecast, arm="new", role="candidate", seed=1)

    scores = benchmark.pedantic(  # type: ignore[attr-defined]  # pytest-benchmark's fixture
        score,
        args=(truth, forecast),
        kwargs={"arm": "new", "role": "candidate", "seed": 1},
        rounds=15,
    )

    assert len(scores) == WINDOWS


@pytest.mark.usefixtures("one_core")
def test_judging_a_nightly_grid(benchmark: Callable[..., Any]) -> None:
    """Two datasets of 250 origins, five seeds a side, four guardrails and two coverages."""
    units: list[UnitScores] = []
    for dataset in ("GOLD", "DOW_JONES"):
        truth = truth_of(250, dataset)
        for arm, role in (("walk", "reference"), ("old", "legacy"), ("new", "candidate")):
            units += [
                score(truth, forecast_of(truth, seed), arm=arm, role=role, seed=seed)  # type: ignore[arg-type]  # of the closed set
                for seed in range(5)
            ]
    policy = Policy(
        baseline="old",
        candidate="new",
        criteria=tuple(Criterion(metric=m, margin=0.02) for m in ("crps", "rmse", "mae", "mase")),
        coverage=tuple(CoverageRule(level=at, tolerance=0.05) for at in (80, 95)),
    )
    cells = [Cell(arm=u.arm, dataset=u.dataset, seed=u.seed) for u in units]

    verdict = benchmark.pedantic(judge, args=(policy, cells, units), rounds=3)  # type: ignore[attr-defined]  # pytest-benchmark's fixture

    assert len(verdict.findings) == 16
