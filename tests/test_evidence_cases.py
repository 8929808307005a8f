"""The sixteen cases that break at least one well-known tool: a test each, named after it.

Cases whose test stands with the module they are about are listed in `ELSEWHERE`, and their tests
must be there; the others are tested here.
"""

import ast
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from harness.arm_ref import ArmRef
from harness.errors import ConfigError
from harness.experiments.policy import Policy
from harness.experiments.rules import Criterion
from harness.forecast import Forecast
from harness.judging.declared import Cell
from harness.judging.findings import Outcome
from harness.judging.verdict import verdict_on
from harness.running.unit import Job, carry_out
from harness.scoring.scores import Truth, score
from harness.window import RollingOrigin, up_to
from reports.words import verdicts
from reports.words.sentences import sentence_of

TESTS = Path(__file__).resolve().parent
ELSEWHERE = {
    2: ("harness/evidence/test_comparison.py", "test_case_2_overlapping_origins_are_all_used"),
    3: ("harness/scoring/test_scores.py", "test_case_3_fewer_forecasts_than_windows_are_an_error"),
    4: ("harness/judging/test_verdict.py", "test_case_4_nan_on_hard_windows_is_never_promoted"),
    5: ("harness/running/test_unit.py", "test_one_bad_window_is_isolated"),
    6: ("harness/test_fallback.py", "test_case_6_a_fallbacks_forecast_is_never_credited"),
    7: ("harness/judging/test_verdict.py", "test_case_7_other_actuals_under_the_same_name"),
    9: ("baselines/test_legacy.py", "test_nan_validation_loss_is_never_the_best"),
    11: ("test_arm_contract.py", "test_window_alone_and_in_a_batch_agree"),
    13: ("harness/evidence/test_comparison.py", "test_case_13_identical_arms_tie"),
    14: (
        "harness/stats/test_longrun.py",
        "test_case_14_size_is_kept_on_autocorrelated_losses",
    ),
    15: (
        "harness/scoring/test_scores.py",
        "test_case_15_equal_forecasts_in_other_forms_score_alike",
    ),
}
"""Case to the file of its test and the start of the test's name."""
HERE = (1, 8, 10, 12, 16)
PLAN = RollingOrigin(horizon=5, stride=4, origins=60, validation=50)


def marks_of(function: ast.FunctionDef) -> str:
    """Decorators as text."""
    return " ".join(ast.unparse(each) for each in function.decorator_list)


@pytest.mark.parametrize("case", ELSEWHERE)
def test_case_has_its_test(case):
    """The test of the case is there, and is neither skipped nor expected to fail."""
    file, name = ELSEWHERE[case]
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))

    found = [
        each
        for each in ast.walk(tree)
        if isinstance(each, ast.FunctionDef) and each.name.startswith(name)
    ]

    assert len(found) == 1
    assert "skip" not in marks_of(found[0])
    assert "xfail" not in marks_of(found[0])


def test_all_sixteen_cases_have_a_test():
    """Every case is here or elsewhere, none twice."""
    assert sorted((*ELSEWHERE, *HERE)) == list(range(1, 17))
    for case in HERE:
        assert any(name.startswith(f"test_case_{case}_") for name in globals())


def job_of(series, *, arm: str, batch: int = 256, **options) -> Job:
    """A unit of one of the arms below."""
    windows = PLAN.over(series.dates)
    ref = ArmRef(name=arm, use=f"{__name__}:{arm}", role="candidate", options=options)
    seen = up_to(series, int(windows.origin[-1]))
    return Job(ref=ref, seed=1, plan=PLAN, series=seen, windows=windows, threads=1, batch=batch)


@dataclasses.dataclass(slots=True)
class Level:
    """The last value, scaled and scaled back by what it was told: a scaler fitted elsewhere."""

    mean: float = 0.0
    spread: float = 1.0
    context_length = 20

    def forecast(self, contexts):
        shape = (len(contexts), contexts.horizon, len(contexts.levels))
        scaled = (contexts.last - self.mean) / self.spread
        shrunk = 0.9 * scaled * self.spread + self.mean  # a shrunk forecast: the scaler matters
        return Forecast.of_quantiles(np.broadcast_to(shrunk[:, None, None], shape), contexts.levels)


def answers(series, arm) -> np.ndarray:
    """Point paths of an arm at every origin, without a process in between."""
    job = job_of(series, arm="Level")
    object.__setattr__(job, "ref", _Built(arm))
    return carry_out(job).point


@dataclasses.dataclass(slots=True)
class _Built:
    """An arm that is there already, in place of its name."""

    arm: object

    def build(self):
        return self.arm


def test_case_1_business_days_minus_holidays(series):
    """Sessions are counted as observed: holidays make neither rows nor steps, dates stay real."""
    holidays = np.arange(3, len(series), 11)
    kept = np.delete(np.arange(len(series)), holidays)
    observed = dataclasses.replace(
        series,
        dates=series.dates[kept],
        target=series.target[kept],
        past=series.past[kept],
    )
    windows = PLAN.over(observed.dates)

    truth = Truth.of("OWN", observed, windows)

    assert np.array_equal(truth.values, observed.target[windows.judged])
    assert np.array_equal(truth.origin_date, observed.dates[windows.origin])
    assert not set(truth.origin_date.tolist()) & set(series.dates[holidays].tolist())
    assert set(np.diff(windows.origin).tolist()) == {PLAN.stride}


def test_case_8_only_probabilistic_metrics_asked_for(series):
    """A policy of CRPS alone is judged; an arm with a point path alone is INVALID, not passed."""
    windows = PLAN.over(series.dates)
    truth = Truth.of("OWN", series, windows)
    flat = np.repeat(truth.last[:, None], PLAN.horizon, axis=1)
    levels = np.array([0.1, 0.5, 0.9])
    sure = Forecast.of_quantiles(flat[..., None] * np.array([0.97, 1.0, 1.03]), levels)
    wide = Forecast.of_quantiles(flat[..., None] * np.array([0.7, 1.0, 1.3]), levels)
    policy = Policy(baseline="old", candidate="new", criteria=(Criterion(metric="crps"),))
    cells = [Cell(arm=arm, dataset="OWN", seed=1) for arm in ("old", "new")]
    old = score(truth, wide, arm="old", role="legacy", seed=1)

    def verdict(forecast):
        new = score(truth, forecast, arm="new", role="candidate", seed=1)
        return verdict_on(policy, cells, [old, new])

    assert verdict(sure).outcome == Outcome.PROMOTE
    assert verdict(Forecast.of_point(flat)).outcome == Outcome.INVALID
    assert "has no scores for crps" in verdicts.summary(verdict(Forecast.of_point(flat)))
    with pytest.raises(ConfigError, match=r"no such metric; known metrics are crps, "):
        Criterion(metric="pit")


def test_case_10_a_scaler_fitted_on_the_whole_series_is_caught(series):
    """Perturbing the future, its first row too, moves such an arm and leaves a sound one alone."""
    origin = PLAN.over(series.dates).origin
    cut = int(origin[10])
    target = series.target.copy()
    target[cut:] *= 3.0
    changed = dataclasses.replace(series, target=target)
    upto = slice(0, 11)  # origins at or before the first row that changed

    def leaky(whole):
        return Level(mean=float(whole.target.mean()), spread=float(whole.target.std()))

    sound = [answers(each, Level(mean=100.0, spread=10.0))[upto] for each in (series, changed)]
    caught = [answers(each, leaky(each))[upto] for each in (series, changed)]

    assert np.array_equal(*sound)
    assert not np.array_equal(*caught)


def test_case_12_zero_actuals_in_mape_are_counted_and_shown(series):
    """A zero actual has no percentage error: the cell is NaN, counted, and the criterion open."""
    target = series.target.copy()
    target[PLAN.over(series.dates).origin[::7] + 1] = 0.0  # judged, never the last one seen
    holed = dataclasses.replace(series, target=target)
    truth = Truth.of("OWN", holed, PLAN.over(holed.dates))
    flat = Forecast.of_point(np.full(truth.values.shape, 100.0))
    units = [
        score(truth, flat, arm=arm, role=role, seed=1)
        for arm, role in (("old", "legacy"), ("new", "candidate"))
    ]
    rules = (Criterion(metric="mape", margin=0.1), Criterion(metric="mae", margin=0.1))
    policy = Policy(baseline="old", candidate="new", criteria=rules, min_origins=10)

    verdict = verdict_on(policy, [Cell(arm=u.arm, dataset="OWN", seed=1) for u in units], units)

    zeros = int((truth.values == 0).sum())
    assert zeros > 0
    assert {unit.missing for unit in verdict.validity.units} >= {zeros}
    assert verdict.findings[0].outcome == Outcome.HOLD
    assert "have no number" in sentence_of(verdict.findings[0])
    assert verdict.findings[1].outcome == Outcome.PROMOTE


@pytest.mark.parametrize("batch", [1, 7, 64, 256])
def test_case_16_every_origin_is_scored_exactly_once(series, batch):
    """Whatever the batch size, the last partial one too: one row of scores per origin."""
    job = dataclasses.replace(job_of(series, arm="Level"), batch=batch)
    object.__setattr__(job, "ref", _Built(Level()))
    truth = Truth.of("OWN", series, job.windows)

    unit = score(truth, carry_out(job).forecast, arm="new", role="candidate", seed=1)

    assert len(job.windows) % 7
    assert unit.origin.tolist() == sorted(set(job.windows.origin.tolist()))
    assert all(cells.shape == (len(job.windows), 5) for cells in unit.values.values())
    assert unit.ok.all()
    assert np.isfinite(unit.values["crps"]).all()
