"""Parts: every form of forecast comes back as it was stored, what is torn is named."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.arm_ref import ArmRef
from harness.errors import ForecastError
from harness.forecast import Forecast
from harness.running.parts import Part, TornTableError, read_part, together, write_part
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
        if self.form in ("samples", "draws"):
            paths = draw.normal(size=(len(values), 10, contexts.horizon))
            return Forecast.of_samples(paths, exchangeable=self.form == "draws")
        return Forecast.of_quantiles(values[..., None] + [0.0, 1.0], np.array([0.25, 0.75]))
"""


def carried_out(series, folder: Path, form: str) -> tuple[Job, UnitResult]:
    """Forecasts of an arm that answers in one form."""
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


def part_of(job: Job, outcome: UnitResult) -> Part:
    return Part.of(job.cutoffs, outcome)


@pytest.mark.parametrize("form", ["gaussian", "samples", "draws", "quantiles"])
@pytest.mark.smoke
def test_every_form_survives_the_round_trip(series, tmp_path, form):
    """Point paths and distributions are read back bit for bit."""
    job, outcome = carried_out(series, tmp_path, form)
    assert outcome.reason == [""] * 6
    part, file = part_of(job, outcome), tmp_path / "part.parquet"

    write_part(file, part)
    found = read_part(file)

    assert (found.form, found.reason) == (form, ("",) * 6)
    assert np.array_equal(found.cutoff, series.dates[job.windows.origin - 1])
    assert found.digests() == part.digests()
    for name in ("point", "levels", "quantiles", "samples", "deviation"):
        one, other = getattr(found.forecast, name), getattr(outcome.forecast, name)
        assert (one is None) == (other is None), name
        assert one is None or np.array_equal(one, other), name


def test_levels_that_look_alike_stay_apart(series, tmp_path):
    """Levels closer than six digits have columns of their own."""
    job, outcome = carried_out(series, tmp_path, "quantiles")
    outcome.levels = np.array([0.25, 0.2500003])

    write_part(tmp_path / "part.parquet", part_of(job, outcome))

    assert np.array_equal(read_part(tmp_path / "part.parquet").forecast.levels, outcome.levels)


def test_parts_put_together_are_the_whole(series, tmp_path):
    """Parts in any order give the same rows, digests included, as one part over all origins."""
    job, outcome = carried_out(series, tmp_path, "samples")
    whole = part_of(job, outcome)
    cut = [whole.at(np.arange(start, start + 2)) for start in (4, 0, 2)]

    assert together(cut).digests() == whole.digests()


def test_failed_origins_join_any_form(series, tmp_path):
    """A part without a single forecast takes its place beside others; it says why."""
    job, outcome = carried_out(series, tmp_path, "gaussian")
    whole = part_of(job, outcome)
    failed = Part.failed(whole.cutoff[3:], 3, "the process died")

    found = together([whole.at(np.arange(3)), failed])

    assert found.reason == ("",) * 3 + ("the process died",) * 3
    assert np.isnan(found.forecast.deviation[3:]).all()


def test_a_part_in_another_form_is_a_failure(series, tmp_path):
    """Where a later fit answers in another form, its origins failed and say so."""
    first = part_of(*carried_out(series, tmp_path, "gaussian"))
    other = part_of(*carried_out(series, tmp_path, "samples"))

    found = together([first.at(np.arange(3)), other.at(np.arange(3, 6))])

    assert found.reason[:3] == ("",) * 3
    assert all("in another form" in text for text in found.reason[3:])


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def _edited(file: Path, name: str, change) -> None:
    table = pq.read_table(file)
    column = pa.array(change(table[name].to_numpy()), type=table.schema.field(name).type)
    pq.write_table(table.set_column(table.schema.get_field_index(name), name, column), file)


DAMAGE = {
    "cut": (_cut, "cannot be read"),
    "empty": (lambda file: file.write_bytes(b""), "cannot be read"),
    "gone": (lambda file: file.unlink(), "cannot be read"),
    "a folder": (lambda file: (file.unlink(), file.mkdir()), "cannot be read"),
    "reversed": (lambda file: _edited(file, "cutoff", lambda days: days[::-1]), "not in order"),
    "other steps": (lambda file: _edited(file, "step", lambda steps: steps[::-1]), "not in order"),
    "a hole": (
        lambda file: _edited(file, "point", lambda v: np.where(v == v[0], np.nan, v)), "do not fit"
    ),
    "one column less": (
        lambda file: pq.write_table(pq.read_table(file).drop(["cutoff"]), file),
        "not a complete part",
    ),
    "no facts": (
        lambda file: pq.write_table(pq.read_table(file).replace_schema_metadata(None), file),
        "not a complete part",
    ),
    "no rows": (lambda file: pq.write_table(pq.read_table(file).slice(0, 0), file), "complete pa"),
}  # fmt: skip
"""What can be wrong with a file of forecasts, and how it is said."""


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_not_whole_is_not_a_part(series, tmp_path, name):
    """A file that is torn, or whose rows do not fit together, is named; never a shorter part."""
    damage, words = DAMAGE[name]
    file = tmp_path / "part.parquet"
    write_part(file, part_of(*carried_out(series, tmp_path, "quantiles")))
    damage(file)

    with pytest.raises(TornTableError, match=f"part.parquet: .*{words}"):
        read_part(file)


def test_arms_without_a_fallback_have_no_column_of_it(series, tmp_path):
    """Nobody answered in place of an arm that has no fallback."""
    file = tmp_path / "part.parquet"

    write_part(file, part_of(*carried_out(series, tmp_path, "quantiles")))

    assert "fallback" not in pq.read_schema(file).names
    assert read_part(file).forecast.fallback == ()


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
