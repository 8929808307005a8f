"""How fast scoring and judging are, on one core."""

import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtri
from scores_for_tests import truth_of as plain_truth

from harness.experiments.policy import Policy
from harness.experiments.rules import CoverageRule, Criterion
from harness.forecast import LEVELS, Forecast
from harness.gate.stored_scores import write_scores
from harness.judging.declared import Cell
from harness.judging.verdict import verdict_on
from harness.scoring.kernels import fair_crps, pinball_sum
from harness.scoring.metrics import AGGREGATES
from harness.scoring.scores import Truth, UnitScores, score
from harness.scoring.summary import summarise

WINDOWS, STEPS = 5000, 24


def truth_of(windows: int, dataset: str = "X") -> Truth:
    """Standard normal actuals around 100, origins a horizon apart."""
    draw = np.random.default_rng(0)
    return plain_truth(
        windows,
        STEPS,
        first=100,
        stride=STEPS,
        dataset=dataset,
        origin_date=np.datetime64("1900-01-01", "D") + 100 + STEPS * np.arange(windows),
        values=100 + draw.normal(size=(windows, STEPS)),
        naive_square=np.ones(windows),
        volatility=draw.uniform(size=windows),
        drawdown=draw.uniform(size=windows),
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


def cpu_seconds(
    ours: Callable[[], Any], theirs: Callable[[], Any], *, rounds: int = 15
) -> tuple[list[float], list[float]]:
    """Seconds of processor time of both, in turns A B B A after one call each to warm up."""
    spent: tuple[list[float], list[float]] = ([], [])
    ours(), theirs()
    for _ in range(rounds):
        for which in (0, 1, 1, 0):
            start = time.process_time()
            (ours, theirs)[which]()
            spent[which].append(time.process_time() - start)
    return spent


def compare_with(
    benchmark: Any, theirs: Callable[[], Any], ours: Callable[[], Any], *, least: float
) -> None:
    """Time both in one interleaved run; theirs over ours must be at least so much."""
    own, other = cpu_seconds(ours, theirs)
    ratios = {"least": min(other) / min(own), "median": np.median(other) / np.median(own)}
    benchmark.extra_info |= {f"theirs over ours, {name}": each for name, each in ratios.items()}
    benchmark.pedantic(ours, rounds=15)

    assert ratios["median"] >= least


def other_libraries(benchmark: Any) -> tuple[Any, Any]:
    """Scoringrules and properscoring, whose imports warn, at their fastest: with numba."""
    if benchmark.disabled:
        pytest.skip("a ratio of timings; `tox -e bench` takes it")
    pytest.importorskip("numba", reason="`tox -e bench` brings numba")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("scoringrules"), pytest.importorskip("properscoring")


@pytest.mark.slow
@pytest.mark.usefixtures("one_core")
@pytest.mark.filterwarnings("ignore")  # the other library's
@pytest.mark.parametrize("levels", [1, 23])
def test_quantile_loss_against_scoringrules(benchmark: Any, levels: int) -> None:
    """Pinball loss of 120,000 cells: at least as fast as scoringrules' numba kernel."""
    rules, _ = other_libraries(benchmark)
    truth = truth_of(WINDOWS).values
    quantiles = np.ascontiguousarray(np.moveaxis(forecast_of(truth_of(WINDOWS)).at(LEVELS), -1, 0))
    rows, at = quantiles[:levels], LEVELS[:levels]
    one = np.ones(levels)

    def theirs() -> Any:
        pairs = zip(rows, at.tolist(), strict=True)
        return [rules.quantile_score(truth, row, u, backend="numba") for row, u in pairs]

    assert np.allclose(pinball_sum(truth, rows, at, one), 2 * sum(theirs()))
    compare_with(benchmark, theirs, lambda: pinball_sum(truth, rows, at, one), least=1.0)


@pytest.mark.usefixtures("one_core")
@pytest.mark.filterwarnings("ignore")  # the other library's
@pytest.mark.parametrize(
    ("library", "least"), [("fair", 2.0), ("pwm", 2.0), ("properscoring", 1.0)]
)
def test_fair_crps_against_other_libraries(benchmark: Any, library: str, least: float) -> None:
    """Fair CRPS of 100 unsorted samples: twice as fast as scoringrules, no slower than ps."""
    rules, proper = other_libraries(benchmark)
    draw = np.random.default_rng(0)
    truth, samples = draw.normal(size=20_000), draw.normal(size=(20_000, 100))

    def theirs() -> Any:
        if library == "properscoring":
            return proper.crps_ensemble(truth, samples)  # the biased 1/M^2 estimator
        return rules.crps_ensemble(truth, samples, estimator=library, backend="numba")

    if library != "properscoring":
        assert np.allclose(fair_crps(truth, samples), theirs())
    compare_with(benchmark, theirs, lambda: fair_crps(truth, samples), least=least)


@pytest.mark.slow
@pytest.mark.usefixtures("one_core")
@pytest.mark.parametrize("form", ["23 levels", "9 levels", "100 samples", "normal"])
def test_scoring_end_to_end(benchmark: Any, tmp_path: Path, form: str) -> None:
    """5,000 windows x 24 steps: all metrics, the file of every cell, the metrics table.

    A point is one window, step and level of the common grid, or sample where there are more.
    """
    truth = truth_of(WINDOWS)
    forecast = forms_of(truth)[form]
    depth = 100 if form == "100 samples" else len(LEVELS)
    file = tmp_path / "scores.parquet"

    def everything() -> list[Any]:
        unit = score(truth, forecast, arm="new", role="candidate", seed=1)
        file.unlink(missing_ok=True)
        write_scores(file, unit)
        return summarise([unit])

    table = benchmark.pedantic(everything, rounds=7, warmup_rounds=1)

    assert len(table) == len(AGGREGATES)
    start = time.process_time()
    everything()
    rate = truth.values.size * depth / (time.process_time() - start) / 1e6
    benchmark.extra_info["million points per second of processor time"] = rate
    assert benchmark.disabled or rate >= 20


def forms_of(truth: Truth) -> dict[str, Forecast]:
    """The same kind of forecast in every form an arm may answer in."""
    whole = forecast_of(truth)
    assert whole.quantiles is not None
    deciles = np.flatnonzero(np.isin(np.round(LEVELS * 1000), np.arange(100, 1000, 100)))
    noise = np.random.default_rng(2).normal(size=(len(truth.values), 100, STEPS))
    return {
        "23 levels": whole,
        "9 levels": Forecast.of_quantiles(whole.quantiles[..., deciles].copy(), LEVELS[deciles]),
        "100 samples": Forecast.of_samples(100 + noise),
        "normal": Forecast.of_gaussian(whole.point, np.ones(whole.point.shape)),
    }


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

    verdict = benchmark.pedantic(verdict_on, args=(policy, cells, units), rounds=3)  # type: ignore[attr-defined]  # pytest-benchmark's fixture

    assert len(verdict.findings) == 16
