"""A pair of arms: the fallback answers where the primary fails, and gets no credit for it."""

import dataclasses
import tomllib
from pathlib import Path

import numpy as np
import pytest

from harness.arm import Arm, Describes, HasWeights, Learns, Loads, Samples
from harness.arm_ref import ArmRef
from harness.checks.arm_subject import ArmSubject
from harness.checks.runner import run_battery
from harness.errors import ArmError
from harness.evidence.estimand import MeanLoss
from harness.evidence.estimates import Question
from harness.evidence.pairing import pair
from harness.evidence.prospects import comparison_of
from harness.experiments.experiment import read_experiment
from harness.fallback import CROSSED, WithFallback
from harness.forecast import LEVELS
from harness.gate.stored_scores import read_scores, score_grid, write_scores
from harness.running.fill import prepare
from harness.running.grid import seeded
from harness.running.identity import arm_identity
from harness.running.parts import Part, read_part, write_part
from harness.running.sources import digest
from harness.running.store_folder import open_store
from harness.running.unit import Job, carry_out
from harness.scoring.scores import Truth, as_served, score
from harness.window import RollingOrigin, contexts_at, up_to

PLAN = RollingOrigin(horizon=5, stride=10, origins=20, validation=60)
USE = "harness.fallback:WithFallback"
WALK = {"use": "baselines.random_walk:RandomWalk"}
ARMS = '''
import numpy as np
from pathlib import Path
from harness.arm import Training
from harness.forecast import Forecast

class Odd:
    """The last value; misbehaves where told, and says what it can do."""

    context_length = 12

    def __init__(self, fault="", at=0.0, file=""):
        self.fault, self.at, self.file, self.widths = fault, at, file, set()

    def load(self):
        if self.fault == "no weights":
            raise OSError("weights are gone")

    def weight_files(self):
        return [Path(self.file)] if self.file else []

    def card(self):
        return {"Kind": "odd"}

    def forecast(self, contexts):
        self.widths.add(contexts.target.shape[1])
        bad = contexts.last == self.at if self.at else np.ones(len(contexts), bool)
        if self.fault == "raise" and bad.any():
            raise RuntimeError("cannot do this one")
        if self.fault == "count" and bad.any():
            contexts = None if len(contexts) == 1 else contexts
            if contexts is None:
                return Forecast.of_point(np.ones((3, 5)))
            raise RuntimeError("batch")
        last = np.repeat(contexts.last[:, None], contexts.horizon, axis=1)
        values = last[:, :, None] * np.linspace(0.9, 1.1, len(contexts.levels))
        if self.fault == "nan":
            values[bad] = np.nan
        if self.fault == "inf":
            values[bad] = np.inf
        if self.fault == "cross":
            values[bad] = values[bad][..., ::-1]
        return Forecast.of_quantiles(values, contexts.levels)

class Point(Odd):
    """A point path only."""

    def forecast(self, contexts):
        return Forecast.of_point(super().forecast(contexts).point)

class Shaky(Odd):
    """Its fit fails, or it learns nothing."""

    def fit(self, context, *, seed):
        if self.fault == "fit":
            raise ValueError("loss exploded")
        return Training(best_epoch=7)
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the odd arms lie."""
    (tmp_path / "odd_arms.py").write_text(ARMS, encoding="utf-8")
    return tmp_path


def odd(kind: str = "Odd", **options: object) -> dict[str, object]:
    return {"use": f"odd_arms:{kind}", **options}


def ref_of(folder, primary, fallback) -> ArmRef:
    options = {"primary": primary, "fallback": fallback}
    return ArmRef(name="pair", use=USE, role="candidate", options=options, folder=folder)


def job_of(series, ref: ArmRef, *, batch: int = 8) -> Job:
    windows = PLAN.over(series.dates)
    return Job(
        ref=ref,
        seed=1,
        plan=PLAN,
        series=up_to(series, int(windows.origin[-1])),
        windows=windows,
        threads=1,
        batch=batch,
    )


def hard(series, *windows: int) -> float:
    """The last value seen at a window: what the odd arms recognise it by."""
    return float(series.target[PLAN.over(series.dates).origin[windows[0]] - 1])


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("raise", "RuntimeError: cannot do this one"),
        ("nan", "forecast is not finite"),
        ("inf", "forecast is not finite"),
        ("cross", CROSSED),
        ("count", "ForecastError: the arm returned point paths of shape (3, 5) for 1 windows"),
    ],
)
def test_one_hard_window_is_answered_by_the_fallback_alone(series, folder, fault, words):
    """That window has the fallback's forecast and the reason; its batch mates the primary's."""
    primary = odd(fault=fault, at=hard(series, 5))

    found = carry_out(job_of(series, ref_of(folder, primary, WALK)))
    clean = carry_out(job_of(series, ref_of(folder, odd(), WALK)))
    walk = carry_out(job_of(series, ArmRef(name="w", use=WALK["use"], role="reference")))

    assert found.reason == [""] * 20
    assert [i for i, why in enumerate(found.fallback) if why] == [5]
    assert words in found.fallback[5]
    assert np.allclose(found.values[5], walk.forecast.at(LEVELS)[5])
    assert np.array_equal(np.delete(found.values, 5, axis=0), np.delete(clean.values, 5, axis=0))
    assert clean.fallback == [""] * 20


def test_batch_size_changes_nothing(series, folder):
    """One window at a time and all at once give the same bits and the same flags."""
    ref = ref_of(folder, odd(fault="raise", at=hard(series, 5)), WALK)

    alone, together = (carry_out(job_of(series, ref, batch=size)) for size in (1, 256))

    assert np.array_equal(alone.values, together.values)
    assert alone.fallback == together.fallback


def test_where_both_fail_the_window_fails_with_both_reasons(series, folder):
    """Nobody answered: a failed row, not a fallback's, and the other windows go on."""
    at = hard(series, 5)
    ref = ref_of(folder, odd(fault="nan", at=at), odd(fault="raise", at=at))

    found = carry_out(job_of(series, ref))

    assert [i for i, why in enumerate(found.reason) if why] == [5]
    assert found.reason[5] == (
        "primary: forecast is not finite; fallback: RuntimeError: cannot do this one"
    )
    assert not any(found.fallback)
    assert np.isnan(found.point[5]).all()


@pytest.mark.parametrize(
    ("primary", "words"),
    [
        (odd(fault="no weights"), "OSError: weights are gone"),
        (odd("Shaky", fault="fit"), "ValueError: loss exploded"),
        (odd(fault="raise"), "RuntimeError: cannot do this one"),
    ],
)
def test_a_primary_that_never_works_flags_every_window(series, folder, primary, words):
    """Missing weights or a failed fit do not end the unit: all windows are the fallback's."""
    found = carry_out(job_of(series, ref_of(folder, primary, WALK)))

    assert found.reason == [""] * 20
    assert all(words in why for why in found.fallback)


def test_a_point_path_without_errors_to_go_by_is_not_admissible(series, folder):
    """It cannot be measured on its validation span, or was never fitted: the fallback answers."""
    raises = odd(
        "Point", fault="raise", at=float(series.target[PLAN.over(series.dates).origin[0] - 40])
    )
    unfitted = ref_of(folder, odd("Point"), WALK).build()
    origins = PLAN.over(series.dates).origin
    contexts = contexts_at(series, origins, plan=PLAN, length=1000, levels=LEVELS)

    measured = carry_out(job_of(series, ref_of(folder, raises, WALK)))

    assert all("RuntimeError: cannot do this one" in why for why in measured.fallback)
    assert all("the pair was not fitted" in why for why in unfitted.forecast(contexts).fallback)


@pytest.mark.parametrize("side", ["primary", "fallback"])
def test_a_point_path_gets_the_distribution_of_its_own_errors(series, folder, side):
    """A side without a distribution is given one from its validation span, as if it ran alone."""
    sides = {"primary": odd(fault="raise"), "fallback": odd("Point")}
    if side == "primary":
        sides = {"primary": odd("Point"), "fallback": WALK}
    ref = ref_of(folder, sides["primary"], sides["fallback"])

    found = carry_out(job_of(series, ref))
    alone = carry_out(
        job_of(series, ArmRef(name="p", use="odd_arms:Point", role="legacy", folder=folder))
    )

    assert np.array_equal(found.values, alone.values)
    assert all(found.fallback) == (side == "fallback")


def test_each_arm_is_handed_its_own_context_length(series, folder):
    """The pair reads as much as the longer one needs; the shorter one sees its own part."""
    arm = ref_of(folder, odd(), {**WALK}).build()
    assert isinstance(arm, WithFallback)
    origins = PLAN.over(series.dates).origin

    arm.forecast(contexts_at(series, origins, plan=PLAN, length=arm.context_length, levels=LEVELS))

    assert arm.parts()[0].widths == {12}
    assert arm.context_length == arm.parts()[1].context_length


def test_abilities_are_passed_through(series, folder, tmp_path):
    """Weights, card, seeds and training record are those of the arms it is made of."""
    files = [tmp_path / name for name in ("one.bin", "two.bin")]
    arm = ref_of(folder, odd("Shaky", file=str(files[0])), odd(file=str(files[1]))).build()

    assert isinstance(arm, WithFallback)
    for ability in (Arm, Describes, HasWeights, Learns, Loads, Samples):
        assert isinstance(arm, ability)
    assert arm.weight_files() == files
    assert arm.card()["primary"] == "odd_arms:Shaky"
    assert arm.card()["fallback: Kind"] == "odd"
    assert seeded(arm)
    assert not seeded(ref_of(folder, odd(), WALK).build())
    outcome = carry_out(job_of(series, ref_of(folder, odd("Shaky"), WALK)))
    assert [fit.training.best_epoch for fit in outcome.fits] == [7]


@pytest.mark.parametrize("side", ["primary", "fallback"])
def test_identity_covers_sources_weights_and_options_of_both(folder, tmp_path, side):
    """Another weights file, option or source on either side is another result."""
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"one")

    def key(**changes: object) -> str:
        specs = {"primary": odd(), "fallback": odd()}
        specs[side] = odd(**{"file": str(weights), **changes})
        ref = ref_of(folder, specs["primary"], specs["fallback"])
        return digest(arm_identity(ref, ref.build()))

    first, option = key(), key(at=1.0)
    weights.write_bytes(b"two")

    assert len({first, option, key()}) == 3
    assert key() == key()


def test_source_of_either_side_is_in_the_identity(folder):
    """The pair's source digest changes with the package of a part, not with the harness's rest."""

    def source(primary: dict[str, object], fallback: dict[str, object]) -> str:
        ref = ref_of(folder, primary, fallback)
        return str(arm_identity(ref, ref.build())["source"])

    assert len({source(odd(), odd()), source(odd(), WALK), source(WALK, odd())}) == 3
    assert source(odd(), WALK) == source(odd(at=2.0), WALK)


@pytest.mark.parametrize(
    ("primary", "words"),
    [
        ("odd_arms:Odd", r"primary = 'odd_arms:Odd': expected a table such as \{use ="),
        ({"at": 1.0}, r"expected a table such as \{use ="),
        (odd(ta=1.0), "arm 'primary' .*known options are fault, at, file"),
    ],
)
def test_wrong_tables_are_refused(folder, primary, words):
    """A pair that cannot be built is the user's error, in one line; no fallback hides it."""
    with pytest.raises(ArmError, match=words) as refused:
        ref_of(folder, primary, WALK).build()

    assert "\n" not in str(refused.value)


def scored(series, folder, primary, tmp_path):
    """Run a pair, store it, read it back and score it; with the part as stored."""
    job, file = job_of(series, ref_of(folder, primary, WALK)), tmp_path / "part.parquet"
    write_part(file, Part.of(job.cutoffs, carry_out(job)))
    part = read_part(file)
    truth = Truth.of("X", series, job.windows)
    scores = score(truth, part.forecast, arm="pair", role="candidate", seed=1, reasons=part.reason)
    return part, scores


def test_case_6_a_fallbacks_forecast_is_never_credited_to_the_arm_that_failed(
    series, folder, tmp_path
):
    """A flagged window is NaN and a failure in every score; only as served it has a value."""
    part, scores = scored(series, folder, odd(fault="raise", at=hard(series, 5)), tmp_path)

    assert [bool(text) for text in part.forecast.fallback].count(True) == 1
    assert not any(part.reason)
    assert np.flatnonzero(scores.answered_by_fallback).tolist() == [5]
    assert scores.failures == 1
    assert scores.reason[5] == "the fallback answered: RuntimeError: cannot do this one"
    served = as_served(scores)
    assert served.failures == 0
    for name, cells in scores.values.items():
        assert np.isnan(cells[5]).all(), name
        assert np.isfinite(served.values[name]).all(), name
        assert np.array_equal(np.delete(cells, 5, 0), np.delete(served.values[name], 5, 0))


def test_comparison_fills_flagged_windows_against_the_primary(series, folder, tmp_path):
    """However good the fallback is, the pair's loss on that window is the largest there is."""
    fine = scored(series, folder, odd(), tmp_path)[1]
    again = tmp_path / "again"
    again.mkdir()
    flagged = scored(series, folder, odd(fault="raise", at=hard(series, 5)), again)[1]
    legacy = dataclasses.replace(fine, arm="old", role="legacy")
    question = Question(estimand=MeanLoss(metric="crps"), bound_high=10.0)

    same = comparison_of(pair([fine], [legacy], "crps"), question)
    worse = comparison_of(pair([flagged], [legacy], "crps"), question)

    assert same.effect.value == 0
    assert worse.failed.candidate == 1
    assert worse.effect.value > 0


def test_flags_survive_the_store(series, folder, tmp_path):
    """Reasons, flags and served scores are read back from the score file as written."""
    scores = scored(series, folder, odd(fault="nan", at=hard(series, 5)), tmp_path)[1]

    write_scores(tmp_path / "x.scores", scores)
    found = read_scores(tmp_path / "x.scores", ("pair", "candidate", "X", 1))

    assert found.fallback == scores.fallback
    assert list(found.served) == list(scores.served)
    for name, cells in scores.served.items():
        assert np.array_equal(found.served[name], cells)


def test_a_pair_runs_in_an_experiment(tiny, call, in_process):
    """Nested tables of an experiment file become the pair, its user modules found beside it."""
    pair_of = (
        'use = "harness.fallback:WithFallback"\n'
        'primary = {use = "arms_for_tests:Flat", fault = "raise"}\n'
        'fallback = {use = "arms_for_tests:Sampler"}\n'
    )
    tiny(('use = "arms_for_tests:Learner"\n', pair_of), name="pair.toml")

    assert call("run", "pair.toml")[0] == 0
    units = score_grid(prepare(read_experiment("pair.toml"), []), open_store(Path("runs")))
    pairs = [unit for unit in units if unit.arm == "new"]
    assert [unit.seed for unit in pairs] == [1, 2]
    assert all(unit.answered_by_fallback.all() for unit in pairs)


def test_a_pair_of_sound_arms_passes_the_battery():
    """Wrapping adds no fault: every predicate an arm must hold holds for the pair."""
    volatility = {"use": "baselines.random_walk:VolatilityRandomWalk"}
    options = {"primary": volatility, "fallback": WALK}
    subject = ArmSubject(
        name="pair", construct=lambda given: WithFallback(**given), options=options
    )

    results = run_battery(subject)

    assert len(results) > 10
    assert [result for result in results if result.outcome in ("fail", "error")] == []


def test_the_example_of_the_page_builds():
    """The table printed in docs/fallback.md is a valid arm of an experiment."""
    page = Path(__file__).parents[2] / "docs" / "fallback.md"
    text = page.read_text(encoding="utf-8").partition("```toml\n")[2].partition("```")[0]
    (spec,) = tomllib.loads(text)["arms"]
    options = {key: value for key, value in spec.items() if key not in ("name", "use", "role")}

    arm = ArmRef(name=spec["name"], use=spec["use"], role=spec["role"], options=options).build()

    assert isinstance(arm, WithFallback)
    assert [type(part).__name__ for part in arm.parts()] == [
        "HFBayesianAutoformer",
        "VolatilityRandomWalk",
    ]
