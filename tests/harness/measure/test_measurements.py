"""Parts of measuring that need no process: inputs, comparison, load, training, records."""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from harness.arm_ref import ArmRef
from harness.costs import CRITERIA
from harness.errors import StoreError
from harness.experiments.experiment import read_experiment
from harness.measure.evaluate import yearly_fits
from harness.measure.load import Busy, Load, load_between
from harness.measure.record import (
    MeasureRecord,
    machine_class,
    pair_of,
    read_costs,
    read_measure,
    record_key,
    write_measure,
)
from harness.measure.worker import Feed
from harness.parsing import parse_record
from harness.reasons import ReasonCode, reason
from harness.running import meter as meter_module
from harness.running.fill import load_datasets
from harness.running.grid import declare
from harness.running.meter import Meter
from harness.running.store_folder import open_store
from harness.running.unit import Job
from harness.verbs.measure import measure_as_asked
from harness.window import RollingOrigin, up_to
from reports.words.reason_words import why, why_all


@pytest.fixture
def feed(series):
    """Inputs of a job with a refit in the middle."""
    plan = RollingOrigin(horizon=5, stride=5, origins=8, refit=4, validation=60)
    windows = plan.over(series.dates)
    job = Job(
        ref=ArmRef(name="x", use="x:X", role="legacy"),
        seed=1,
        plan=plan,
        series=up_to(series, int(windows.origin[-1])),
        windows=windows,
        threads=1,
        batch=16,
    )
    return Feed(job=job, length=30, seed=3)


@pytest.fixture
def grid(tiny):
    """The tiny experiment declared."""
    experiment = read_experiment(str(tiny()))
    return declare(experiment, load_datasets(experiment, []))


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "s")


GOLDEN = Path(__file__).parents[2] / "golden" / "measure" / "schema-1.json"


def golden_record():
    content = json.loads(GOLDEN.read_text("utf-8"))
    return parse_record(MeasureRecord, content, where="golden")


def some_record(**changes):
    """The golden session with its first figure alone, on another class of machine."""
    golden = golden_record()
    return dataclasses.replace(
        golden, **({"costs": golden.costs[:1], "machine_class": "abc"} | changes)
    )


def test_no_timed_input_comes_twice(feed):
    """Thousands of inputs, beyond all origins there are: never the same numbers again."""
    inputs = [contexts.target.tobytes() for _, contexts in itertools.islice(feed.singles(), 2500)]

    assert len(set(inputs)) == 2500


def test_the_plans_windows_are_among_the_first_inputs(feed):
    """Each window that the first fit answers comes once, unscaled, not in a row of its own."""
    numbers = [number for number, _ in itertools.islice(feed.singles(), 2000)]
    known = [number for number in numbers if number is not None]

    assert sorted(known) == [0, 1, 2, 3]
    assert max(index for index, number in enumerate(numbers) if number is not None) < 8
    assert numbers[:4] != known


def test_no_input_reaches_beyond_the_last_origin(feed):
    """The latest value any timed input holds is the last one the plan shows."""
    last = max(contexts.dates[-1, -1] for _, contexts in itertools.islice(feed.singles(), 2000))

    assert last == feed.job.series.dates[-1]


def test_offline_passes_differ(feed):
    """Each pass over all windows holds other numbers; the first the plan's own."""
    first, second = feed.passes(3), feed.passes(3)
    whole = np.concatenate([part.target for part in first])

    assert [len(part) for part in first] == [3, 3, 2]
    np.testing.assert_array_equal(whole[:, -1], feed.job.series.target[feed.job.windows.origin - 1])
    assert not np.array_equal(first[0].target, second[0].target)


@pytest.mark.parametrize(
    ("used", "stolen", "said"),
    [(10.1, 0.0, ""), (20.0, 0.0, "others kept 1.00 of"), (10.0, 9.0, "its host took 0.90 cores")],
)
def test_load_is_what_others_did(used, stolen, said):
    """Our own work is no load; that of others and of the machine's host is."""
    load = load_between(
        Busy(at=0.0, used=0.0, stolen=0.0), Busy(at=10.0, used=used, stolen=stolen), own=10.0
    )

    assert said in why(load.problem("before"))
    assert bool(said) == (load.problem("before") is not None)


def test_a_year_of_nightly_runs(series):
    """Weekdays only: 261 sessions a year; a fit every 12 origins, 5 sessions apart."""
    plan = RollingOrigin(horizon=5, stride=5, origins=8, refit=12, validation=60)
    found = yearly_fits(30.0, plan, series.dates)

    assert found is not None
    assert found.fits == pytest.approx(261 / 60, rel=0.01)
    assert found.seconds == pytest.approx(30 * found.fits)


def test_a_plan_without_refits_has_no_yearly_cost(series):
    """It fits once and never again."""
    plan = RollingOrigin(horizon=5, stride=5, origins=8, validation=60)

    assert yearly_fits(30.0, plan, series.dates) is None


def test_a_meter_tells_work_from_waiting():
    """Wall-clock seconds count both, processor seconds only the first."""
    meter = Meter()
    with meter.phase("wait"):
        time.sleep(0.05)

    assert meter.seconds["wait"] >= 0.05
    assert meter.cpu_seconds["wait"] < 0.05


def test_a_meter_asks_the_gpu_that_is_in_use(monkeypatch):
    """Its peaks are started again with each phase, and read when its work is done."""
    asked = []
    gpu = SimpleNamespace(
        is_initialized=lambda: True,
        reset_peak_memory_stats=lambda: asked.append("reset"),
        synchronize=lambda: asked.append("wait"),
        max_memory_allocated=lambda: 5,
        max_memory_reserved=lambda: 8,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=gpu))
    meter = Meter()
    with meter.phase("fit"):
        asked.append("work")

    assert asked == ["reset", "work", "wait"]
    assert (meter.gpu_allocated, meter.gpu_reserved) == ({"fit": 5}, {"fit": 8})


def test_memory_that_cannot_be_told_is_missing(monkeypatch, tmp_path):
    """Where the high-water mark cannot be started again there is no peak, and a reason."""
    monkeypatch.setattr(meter_module, "_CLEAR", tmp_path)
    meter = Meter()
    with meter.phase("fit"):
        pass

    assert meter.peak_bytes == {}
    assert "cannot be written" in meter_module.why_no_peaks()


@pytest.mark.parametrize(
    ("fit_s", "others", "environment", "measured"),
    [
        (2.0, 0.0, "yes", True),
        (2.0, 1.5, "yes", False),
        (90.0, 0.0, "yes", False),
        (2.0, 0.0, "no", False),
    ],
)
def test_compare_measures_unasked_what_is_quick(
    grid, store, monkeypatch, capsys, fit_s, others, environment, measured
):
    """Under a minute on a quiet machine, unless the environment says never; a busy one is said."""
    taken = []
    record = SimpleNamespace(seconds={"fit": fit_s, "load": 0.1, "forecast": 0.2})
    load = Load(others=others, stolen=0.0, average=None)
    monkeypatch.setattr("harness.running.cells.has_cell", lambda *_: True)
    monkeypatch.setattr("harness.running.cells.cell_record", lambda *_: record)
    monkeypatch.setattr("harness.measure.load.sample_load", lambda: load)
    monkeypatch.setattr(
        "harness.measure.pair.measure_pair", lambda *asked, tell: taken.append(asked[2].settings)
    )
    monkeypatch.setenv("ABHARNESS_COSTS", environment)

    measure_as_asked(grid, store, unasked=True)
    measure_as_asked(grid, store)

    assert [each.budget_s for each in taken] == [60.0] * measured
    assert ("others kept 1.50 of" in capsys.readouterr().err) == bool(others)


def test_what_was_not_measured_says_so(grid, store):
    """Every criterion is there, without a figure and with a reason."""
    costs = read_costs(store, grid, baseline="old", candidate="new")

    assert list(costs.items) == list(CRITERIA)
    assert {cost.ratio for cost in costs.items.values()} == {None}
    assert all("abharness measure" in why_all(cost.reasons) for cost in costs.items.values())


def test_records_come_back(grid, store):
    """What a session wrote is what is read, with its machine; what it lacks has a reason."""
    cells = pair_of(grid, baseline="old", candidate="new")
    write_measure(store, record_key(*cells, "abc"), some_record())

    costs = read_costs(store, grid, baseline="old", candidate="new")

    assert costs["latency"] == golden_record().costs[0]
    assert costs["throughput"].reasons == (reason(ReasonCode.NOT_IN_SESSION),)
    assert costs.machine == golden_record().machine
    assert store.journal.last("measurement", costs.record) is not None


def test_this_machines_record_goes_first(grid, store):
    """Else the newest of another class."""
    cells = pair_of(grid, baseline="old", candidate="new")
    for name, day in (("aaa", 1), ("bbb", 3), ("ccc", 2)):
        key = record_key(*cells, name)
        write_measure(store, key, some_record(machine_class=name, measured_at=f"2026-01-0{day}"))
    newest = read_costs(store, grid, baseline="old", candidate="new").machine_class
    own = machine_class()
    write_measure(store, record_key(*cells, own), some_record(machine_class=own))

    assert newest == "bbb"
    assert read_costs(store, grid, baseline="old", candidate="new").machine_class == own


def test_the_golden_session_is_read_and_written_as_it_was(store):
    """A record becomes one of its class, and the same content again."""
    record = golden_record()

    write_measure(store, "key", record)

    assert store.journal.latest("measurement", "key") == json.loads(GOLDEN.read_text("utf-8"))
    assert [arm.arm for arm in record.arms] == [record.baseline, record.candidate]
    assert record.arms[0].training is not None
    assert record.arms[1].phases["fit"] is None


def test_a_session_of_another_form_names_every_fault(store):
    """What is missing and what has another type, each by its key, in one line."""
    content = json.loads(GOLDEN.read_text("utf-8")) | {"threads": "many"}
    del content["arms"][0]["offline"]["batch"]
    store.journal.append("measurement", "key", content)

    with pytest.raises(StoreError, match=r"key: threads: .*; arms\.0\.offline\.batch: "):
        read_measure(store, "key")


def test_an_unknown_dataset_to_measure_on_is_refused(tiny, refused):
    """The message names file, table and key."""
    tiny(("[policy]", '[measure]\ndataset = "OIL"\n\n[policy]'))

    assert "[measure] dataset = 'OIL'" in refused("measure", "tiny.toml")
