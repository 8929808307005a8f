"""A unit's files: every form of forecast comes back as it was stored."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from harness.arm import ArmRef
from harness.errors import ForecastError
from harness.forecast import Forecast
from harness.running.store import read_unit, write_unit
from harness.running.unit import Job, UnitResult, carry_out
from harness.window import RollingOrigin, up_to

PLAN = RollingOrigin(horizon=3, stride=20, origins=6, validation=60)
ARM = """
import numpy as np
from harness.forecast import Forecast

class Any:
    context_length = 4

    def __init__(self, form):
        self.form = form

    def forecast(self, contexts):
        draw = np.random.default_rng(len(contexts))
        shape = (len(contexts), contexts.horizon)
        values = contexts.last[:, None] + draw.normal(size=shape)
        if self.form == "gaussian":
            return Forecast.of_gaussian(values, draw.uniform(1, 2, size=shape))
        if self.form == "samples":
            return Forecast.of_samples(draw.normal(size=(len(values), 17, contexts.horizon)))
        return Forecast.of_quantiles(values[..., None] + [0.0, 1.0], np.array([0.25, 0.75]))
"""


def carried_out(series, folder: Path, form: str) -> tuple[Job, UnitResult]:
    """A unit of an arm that answers in one form."""
    (folder / "any_form.py").write_text(ARM, encoding="utf-8")
    windows = PLAN.over(series.dates)
    ref = ArmRef(name="a", use="any_form:Any", role="legacy", options={"form": form}, folder=folder)
    job = Job(
        ref=ref,
        seed=1,
        plan=PLAN,
        series=up_to(series, int(windows.origin[-1])),
        windows=windows,
        threads=1,
        batch=4,
    )
    return job, carry_out(job)


@pytest.mark.parametrize("form", ["gaussian", "samples", "quantiles"])
def test_every_form_survives_the_round_trip(series, tmp_path, form):
    """Point paths and distributions are read back bit for bit."""
    job, outcome = carried_out(series, tmp_path, form)
    assert outcome.reason == [""] * 6

    folder = tmp_path / "unit"
    folder.mkdir()
    write_unit(folder, job, outcome, {})
    found, made = read_unit(folder).forecast, outcome.forecast

    assert outcome.form == form
    for name in ("point", "levels", "quantiles", "samples", "deviation"):
        one, other = getattr(found, name), getattr(made, name)
        assert (one is None) == (other is None), name
        assert one is None or np.array_equal(one, other), name


def test_units_of_arms_without_a_fallback_have_no_column_of_it(series, tmp_path):
    """What was stored before there were fallbacks reads as what is stored now: nobody answered."""
    job, outcome = carried_out(series, tmp_path, "quantiles")
    folder = tmp_path / "unit"
    folder.mkdir()

    write_unit(folder, job, outcome, {})

    assert "fallback" not in pq.read_schema(folder / "attempts.parquet").names
    assert read_unit(folder).forecast.fallback == ()


def test_a_forecast_in_two_forms_is_refused():
    """Quantiles, samples and a deviation exclude one another."""
    point = np.zeros((2, 3))

    with pytest.raises(ForecastError, match="quantiles or deviation, not both"):
        Forecast(
            point=point,
            levels=np.array([0.5]),
            quantiles=point[..., None],
            deviation=np.ones((2, 3)),
        )
