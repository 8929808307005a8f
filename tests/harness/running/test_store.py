"""The store: whole records or none."""

import json
import os

import numpy as np
import pytest

from harness.arm import ArmRef
from harness.errors import StoreError
from harness.running.records import read_curve, read_unit, write_unit
from harness.running.store import _owner as store_owner
from harness.running.store import open_store, read_record, write_record
from harness.running.unit import Job, Outcome, carry_out
from harness.window import RollingOrigin, up_to

PLAN = RollingOrigin(horizon=5, stride=10, origins=8, validation=60)


def job_of(series, request, use):
    windows = PLAN.over(series.dates)
    return Job(
        ref=ArmRef(
            name="x", use=f"arms_for_tests:{use}", role="legacy", folder=request.path.parent
        ),
        seed=1,
        plan=PLAN,
        series=up_to(series, int(windows.origin[-1])),
        windows=windows,
        threads=1,
        batch=256,
    )


@pytest.mark.parametrize("use", ["Flat", "Learner", "Sampler"])
def test_unit_survives_the_round_trip(tmp_path, series, request, use):
    """Quantiles, samples, residual distributions and curves are read back bit for bit."""
    store = open_store(tmp_path / "runs")
    job = job_of(series, request, use)
    outcome = carry_out(job)

    with store.new_unit("k1") as folder:
        write_unit(folder, job, outcome, {"seed": 1})
    found = read_unit(store.unit_folder("k1"))

    assert store.has_unit("k1")
    assert np.array_equal(found.origin, job.windows.origin)
    assert found.reason == ("",) * 8
    assert np.array_equal(found.forecast.point, outcome.point)
    for name in ("quantiles", "samples"):
        kept, made = getattr(found.forecast, name), getattr(outcome.forecast, name)
        assert (kept is None) == (made is None)
        assert kept is None or np.array_equal(kept, made)
    assert bool(read_curve(store.unit_folder("k1"))) == (use == "Learner")


def test_failed_unit_is_rows_too(tmp_path, series, request):
    """A unit without a single forecast still has a row per window with the reason."""
    store = open_store(tmp_path)
    job = job_of(series, request, "Flat")

    with store.new_unit("k") as folder:
        write_unit(folder, job, Outcome.blank(job.windows, "the process died"), {})
    found = read_unit(store.unit_folder("k"))

    assert found.reason == ("the process died",) * 8
    assert found.record["failed"] == 8
    assert np.isnan(found.forecast.point).all()


def test_unit_that_raises_leaves_nothing(tmp_path):
    """An error while writing leaves neither a unit nor a draft."""
    store = open_store(tmp_path)

    def write_half():
        with store.new_unit("k") as folder:
            (folder / "attempts.parquet").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()

    assert not store.has_unit("k")
    assert list((tmp_path / "tmp").iterdir()) == []


def test_second_writer_gives_way(tmp_path):
    """Of two processes that finish the same unit the first stays, whole."""
    store = open_store(tmp_path)
    for content in ("first", "second"):
        with store.new_unit("k") as folder:
            write_record(folder / "unit.json", {"schema": 1, "who": content})

    assert store.unit("k")["who"] == "first"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_sweep_removes_what_dead_processes_left(tmp_path):
    """Drafts of dead processes go; those of living ones and of other hosts stay."""
    store = open_store(tmp_path)
    names = ["999999999-x", f"{os.getpid()}-x"]
    here = store_owner().rpartition(".")[0]
    folders = [tmp_path / "tmp" / f"{here}.{name}" for name in names]
    elsewhere = tmp_path / "tmp" / "otherhost.999999999-x"
    for folder in (*folders, elsewhere):
        folder.mkdir()

    store.sweep()

    assert [folder.is_dir() for folder in (*folders, elsewhere)] == [False, True, True]


def test_newer_store_is_refused(tmp_path):
    """A store made by a newer version is not touched."""
    (tmp_path / "store.json").write_text(json.dumps({"schema": 99}))

    with pytest.raises(StoreError, match="newer version: schema 99"):
        open_store(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": "x"}', ""])
def test_torn_record_is_named(tmp_path, text):
    """A record that is torn or not ours is an error with its path."""
    file = tmp_path / "r.json"
    file.write_text(text)

    with pytest.raises(StoreError, match=r"r\.json"):
        read_record(file)


def test_torn_parquet_is_named(tmp_path, series, request):
    """A truncated table is an error that names the file, never a shorter table."""
    store = open_store(tmp_path)
    job = job_of(series, request, "Flat")
    with store.new_unit("k") as folder:
        write_unit(folder, job, carry_out(job), {})
    file = store.unit_folder("k") / "forecasts.parquet"
    file.write_bytes(file.read_bytes()[:-100])

    with pytest.raises(StoreError, match=r"forecasts\.parquet"):
        read_unit(store.unit_folder("k"))


def test_missing_store_is_an_error_for_readers(tmp_path):
    """Verbs that only read do not make a store."""
    with pytest.raises(StoreError, match="no store here"):
        open_store(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()
