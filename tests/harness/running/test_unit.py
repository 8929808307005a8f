"""One unit: whatever an arm does ends as rows, in the right windows."""

import dataclasses

import numpy as np
import pytest

from harness.arm_ref import ArmRef
from harness.errors import ForecastError
from harness.forecast import LEVELS
from harness.residuals import measure_residuals
from harness.running.unit import Job, carry_out
from harness.window import RollingOrigin, up_to

ARMS = "arms_for_tests"
PLAN = RollingOrigin(horizon=5, stride=10, origins=20, validation=60)


def job_of(series, folder, use, *, plan=PLAN, batch=8, seed=1, **options):
    windows = plan.over(series.dates)
    return Job(
        ref=ArmRef(
            name="tested", use=f"{ARMS}:{use}", role="candidate", options=options, folder=folder
        ),
        seed=seed,
        plan=plan,
        series=up_to(series, int(windows.origin[-1])),
        windows=windows,
        threads=1,
        batch=batch,
    )


@pytest.fixture
def folder(request):
    return request.path.parents[1]


def test_every_window_is_answered_once(series, folder):
    """All windows have a forecast from their own context, the last partial batch included."""
    job = job_of(series, folder, "Flat", batch=7)

    outcome = carry_out(job)

    assert outcome.reason == [""] * 20
    assert np.array_equal(outcome.point[:, 0], series.target[job.windows.origin - 1])
    assert outcome.form == "quantiles"


def test_batch_size_changes_nothing(series, folder):
    """One window at a time and all at once give the same bits."""
    one = carry_out(job_of(series, folder, "Flat", batch=1))
    all_at_once = carry_out(job_of(series, folder, "Flat", batch=256))

    assert np.array_equal(one.values, all_at_once.values)


@pytest.mark.parametrize("fault", ["raise at", "nan at"])
def test_one_bad_window_is_isolated(series, folder, fault):
    """A window that raises or is NaN fails alone; its batch mates keep their forecasts."""
    bad = series.target[PLAN.over(series.dates).origin[5] - 1]

    outcome = carry_out(job_of(series, folder, "Flat", fault=fault, at=float(bad)))

    assert [i for i, reason in enumerate(outcome.reason) if reason] == [5]
    assert np.isnan(outcome.point[5]).all()
    assert np.isfinite(np.delete(outcome.point, 5, axis=0)).all()


@pytest.mark.parametrize(
    ("fault", "words"), [("raise", "RuntimeError: told to <raise>"), ("short", "point paths of")]
)
def test_broken_arm_fails_every_window(series, folder, fault, words):
    """An arm that always raises, or returns fewer forecasts than windows, has no forecast."""
    outcome = carry_out(job_of(series, folder, "Flat", fault=fault))

    assert all(words in reason for reason in outcome.reason)
    assert np.isnan(outcome.point).all()
    assert "Traceback" in outcome.trace


def test_unknown_option_becomes_rows(series, folder):
    """An arm that cannot be built in its process fails with the reason."""
    outcome = carry_out(job_of(series, folder, "Flat", colour="red"))

    assert "colour" in outcome.reason[0]


def test_learning_arm_is_fitted_per_refit(series, folder):
    """One fit per segment, each on what lies before its origin."""
    plan = dataclasses.replace(PLAN, refit=8)

    outcome = carry_out(job_of(series, folder, "Learner", plan=plan))

    assert [fit.origin for fit in outcome.fits] == plan.over(series.dates).origin[::8].tolist()
    assert outcome.residual_distribution
    assert np.array_equal(outcome.levels, LEVELS)
    assert outcome.reason == [""] * 20


def test_residual_quantiles_are_those_of_past_errors(series):
    """The added distribution is the errors of the validation span around their middle."""
    plan = dataclasses.replace(PLAN, horizon=3)
    at = 300

    found = measure_residuals(
        lambda origins: np.repeat(series.target[origins - 1][:, None], 3, axis=1),
        series,
        fitted_at=at,
        plan=plan,
    )

    errors = [
        (series.target[o + 2] - series.target[o - 1]) / series.target[o - 1]
        for o in range(at - 60, at - 3 + 1)
    ]
    assert np.allclose(found.relative[2], np.quantile(errors, LEVELS) - np.median(errors))


def test_point_arm_loses_the_windows_it_cannot_do(series):
    """Validation origins without a finite path are left out; too few of them are a reason."""
    last = lambda origins: np.repeat(series.target[origins - 1][:, None], 3, axis=1)  # noqa: E731
    plan = dataclasses.replace(PLAN, horizon=3)
    whole = measure_residuals(last, series, fitted_at=300, plan=plan).relative
    some = measure_residuals(
        lambda origins: np.where(origins[:, None] % 4 == 0, np.nan, last(origins)),
        series,
        fitted_at=300,
        plan=plan,
    ).relative

    assert np.isfinite(some).all()
    assert not np.array_equal(some, whole)
    with pytest.raises(ForecastError, match="not finite at 58 of 58 origins"):
        measure_residuals(lambda origins: last(origins) * np.nan, series, fitted_at=300, plan=plan)


def test_too_short_validation_span_is_a_reason(series, folder):
    """A point forecaster without enough validation origins fails and says what it needs."""
    plan = dataclasses.replace(PLAN, validation=10)

    outcome = carry_out(job_of(series, folder, "Learner", plan=plan))

    assert "validation span of 25 sessions" in outcome.reason[0]


def test_gap_is_forecast_but_not_judged(series, folder):
    """With a gap the stored steps start after it."""
    plan = dataclasses.replace(PLAN, gap=3)

    outcome = carry_out(job_of(series, folder, "Sampler", plan=plan))

    assert outcome.point.shape == (20, 5)
    assert outcome.values.shape == (20, 50, 5)


def test_seed_changes_only_arms_that_use_it(series, folder):
    """Two seeds differ for a learner and agree for a fixed rule."""
    learner = [carry_out(job_of(series, folder, "Learner", seed=s)).point for s in (1, 2)]
    flat = [carry_out(job_of(series, folder, "Flat", seed=s)).point for s in (1, 2)]

    assert not np.array_equal(*learner)
    assert np.array_equal(*flat)


def test_phases_are_metered(series, folder):
    """Seconds of every phase are there, and peak bytes where the system tells."""
    meter = carry_out(job_of(series, folder, "Learner")).meter

    assert {"import", "load", "fit", "residuals", "forecast"} <= set(meter.seconds)
    assert all(value > 2**20 for value in meter.peak_bytes.values())
