"""Evaluation looks at nothing from the first test origin on, and scores as the harness does."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import candidates
from baselines.random_walk import VolatilityRandomWalk
from candidates.pretraining.evaluation import (
    REFERENCE,
    TEST_PLAN,
    ValidationSpan,
    before_test,
    evaluate,
    load_checkpoint,
    load_reference,
    markdown,
    read_series,
)
from harness.arm_ref import ArmRef
from harness.data.dataset import builtin_folder, load
from harness.errors import ArmError, DataError
from harness.experiments.experiment import read_experiment
from harness.forecast import LEVELS, Forecast
from harness.running.unit import Job, carry_out
from harness.scoring.scores import Truth, score
from harness.window import contexts_at


@dataclasses.dataclass(slots=True, kw_only=True)
class Wide:
    """The last price, with quantiles a fixed distance around it."""

    context_length: int | None = 50
    width: float = 1.0

    def forecast(self, contexts):
        last = np.repeat(contexts.last[:, None, None], contexts.horizon, axis=1)
        away = np.linspace(-self.width, self.width, 19)
        return Forecast.of_quantiles(last + away, np.linspace(0.05, 0.95, 19))


@pytest.fixture(scope="module")
def gold():
    return load("GOLD").series


def run(arm, series, span=None):
    reference = load_reference(REFERENCE)
    return evaluate(arm, reference, series=series, name="GOLD", span=span or ValidationSpan())


def test_test_plan_is_that_of_the_nightly_experiment():
    """What counts as test is what the nightly experiment judges."""
    plans = read_experiment("nightly").plans

    assert plans.keys() == {"DOW_JONES", "GOLD"}
    for name, plan in plans.items():
        dates = load(name).series.dates
        counted = dataclasses.replace(plan, refit=None, first=None, origins=TEST_PLAN.origins)
        assert counted == TEST_PLAN
        assert np.array_equal(plan.over(dates).origin, TEST_PLAN.over(dates).origin)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["DOW_JONES", "GOLD"])
def test_series_are_those_of_the_harness(name):
    """The manifest's path leads to the same dates and prices that the harness reads."""
    found, series = read_series(builtin_folder() / f"{name}.toml")

    theirs = load(name).series
    assert found == name
    assert np.array_equal(series.dates, theirs.dates)
    assert np.array_equal(series.target, theirs.target)


def test_test_span_plays_no_part(gold):
    """Other prices from the first test origin on change no figure."""
    stop = int(TEST_PLAN.over(gold.dates).origin[0])
    target = gold.target.copy()
    target[stop:] *= 3

    other = run(Wide(), dataclasses.replace(gold, target=target))

    assert other == run(Wide(), gold)
    assert np.datetime64(other.last) < gold.dates[stop]
    assert len(before_test(gold)) == stop


@pytest.mark.parametrize(("sessions", "windows"), [(500, 96), (100, 16), (None, 1210)])
def test_spans_end_before_the_test(gold, sessions, windows):
    """The span's sessions, or all that have a whole context, are forecast every five sessions."""
    found = run(Wide(), gold, ValidationSpan(sessions=sessions))

    first = int(np.searchsorted(gold.dates, np.datetime64(found.first)))
    assert found.windows == windows
    assert first == (len(before_test(gold)) - sessions if sessions else 50)


def test_figures_are_those_of_the_harness(gold):
    """CRPS, MAE and coverage equal what the harness scores for the same arms and windows."""
    seen = before_test(gold)
    plan = dataclasses.replace(
        TEST_PLAN, stride=5, first=len(seen) - 500, origins=None, validation=0, history=None
    )
    windows = plan.over(seen.dates)
    truth = Truth.of("GOLD", seen, windows)

    found = run(Wide(), gold)

    def scored(forecast):
        values = score(truth, forecast, arm="x", role="reference", seed=0).values
        return {name: float(cells.mean()) for name, cells in values.items()}

    ref = ArmRef(name="x", use=REFERENCE, role="reference")
    job = Job(ref=ref, seed=0, plan=plan, series=seen, windows=windows, threads=1, batch=64)
    outcome = carry_out(job)
    theirs = scored(Forecast(point=outcome.point, levels=outcome.levels, quantiles=outcome.values))
    contexts = contexts_at(seen, windows.origin, plan=plan, length=50, levels=LEVELS)
    ours = scored(Wide().forecast(contexts))

    assert isinstance(ref.build(), VolatilityRandomWalk)
    assert found.crps == pytest.approx(ours["crps"] / theirs["crps"])
    assert found.mae == pytest.approx(ours["absolute_error"] / theirs["absolute_error"])
    assert found.coverage[80] == pytest.approx(ours["coverage_80"])
    assert found.reference_coverage[95] == pytest.approx(theirs["coverage_95"])


def test_reference_against_itself_is_one(gold):
    """An arm that is the reference has ratios of exactly 1 and the same coverage."""
    found = run(load_reference(REFERENCE), gold)

    assert (found.crps, found.mae) == (1.0, 1.0)
    assert found.coverage == found.reference_coverage


def test_bundled_checkpoint_is_as_good_as_its_card_says(gold):
    """The figures of the card's validation span come out again."""
    folder = Path(candidates.__file__).parent / "checkpoints" / "chronos-bolt-synthetic"
    card = (folder / "README.md").read_text(encoding="utf-8")

    found = run(load_checkpoint(folder), gold)

    row = markdown([found]).splitlines()[-1]
    printed = next(line for line in card.splitlines() if f"{found.first} to {found.last}" in line)
    ours, theirs = ([cell.strip() for cell in text.split("|")[4:6]] for text in (row, printed))
    assert [float(cell) for cell in ours] == pytest.approx([float(c) for c in theirs], abs=0.002)


def test_missing_checkpoint_is_named(tmp_path):
    """A folder without a model is refused in one line, as is one of another kind."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"model_type": "bert"}')

    with pytest.raises(ArmError, match="no checkpoint there; expected a folder"):
        load_checkpoint(tmp_path)
    with pytest.raises(ArmError, match="no Chronos model with quantiles") as caught:
        load_checkpoint(tmp_path / "other")

    assert "\n" not in str(caught.value)


def test_changed_data_are_refused(tmp_path):
    """A file that is not the one the manifest describes is not evaluated on."""
    for name in ("GOLD.toml", "GOLD.csv"):
        (tmp_path / name).write_bytes((builtin_folder() / name).read_bytes())
    with (tmp_path / "GOLD.csv").open("a") as file:
        file.write("2013-01-01,900,1500\n")

    with pytest.raises(DataError, match="is not the file that GOLD"):
        read_series(tmp_path / "GOLD.toml")


def test_span_without_room_is_refused(gold):
    """A context longer than what lies before the test leaves no origin."""
    with pytest.raises(DataError, match="GOLD: no origin in the span"):
        run(Wide(context_length=6110), gold)


def test_reference_must_answer_quantiles(gold):
    """A point forecaster has no CRPS to measure against."""

    class Point:
        context_length = 5

        def forecast(self, contexts):
            return Forecast.of_point(np.ones((len(contexts), contexts.horizon)))

    with pytest.raises(ArmError, match="quantiles"):
        evaluate(Wide(), Point(), series=gold, name="GOLD", span=ValidationSpan())
