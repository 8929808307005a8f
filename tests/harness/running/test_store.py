"""The store: whole records or none."""

import json
import os

import numpy as np
import pytest

from harness.arm import ArmRef
from harness.errors import NewerRecordError, StoreError
from harness.running.store import (
    UNIT_FACTS,
    UNIT_FILES,
    open_store,
    read_curve,
    read_record,
    read_unit,
    write_record,
    write_unit,
)
from harness.running.store import _owner as store_owner
from harness.running.unit import Job, UnitResult, carry_out
from harness.window import RollingOrigin, up_to

PLAN = RollingOrigin(horizon=5, stride=10, origins=8, validation=60)


def job_of(series, request, use):
    windows = PLAN.over(series.dates)
    return Job(
        ref=ArmRef(
            name="x", use=f"arms_for_tests:{use}", role="legacy", folder=request.path.parents[1]
        ),
        seed=1,
        plan=PLAN,
        series=up_to(series, int(windows.origin[-1])),
        windows=windows,
        threads=1,
        batch=256,
    )


@pytest.mark.parametrize("use", ["Flat", "Learner", "Sampler"])
@pytest.mark.smoke
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
        write_unit(folder, job, UnitResult.blank(job.windows, "the process died"), {})
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


def write_whole(folder, who):
    """Write the least that is a whole unit."""
    for name in UNIT_FILES:
        (folder / name).touch()
    write_record(
        folder / "unit.json",
        {name: kind() for name, kind in UNIT_FACTS.items()} | {"schema": 1, "who": who},
    )


def test_second_writer_gives_way(tmp_path):
    """Of two processes that finish the same unit the first stays, whole."""
    store = open_store(tmp_path)
    for content in ("first", "second"):
        with store.new_unit("k") as folder:
            write_whole(folder, content)

    assert store.unit("k")["who"] == "first"
    assert list((tmp_path / "tmp").iterdir()) == []


DAMAGE = {
    "no record": (lambda folder: (folder / "unit.json").unlink(), "no such record"),
    "a torn record": (lambda folder: os.truncate(folder / "unit.json", 20), "cannot be read"),
    "an empty record": (lambda folder: os.truncate(folder / "unit.json", 0), "cannot be read"),
    "a record of nothing": (
        lambda folder: (folder / "unit.json").write_text('{"schema": 1}'),
        "not a whole record: it lacks windows",
    ),
    "a record of other facts": (
        lambda folder: write_record(
            folder / "unit.json", dict.fromkeys(UNIT_FACTS, "six") | {"schema": 1}
        ),
        "it lacks windows, horizon, levels",
    ),
    "another kind of record": (
        lambda folder: (folder / "unit.json").write_text("[]"), "not a record of ours"
    ),
    "no forecasts": (
        lambda folder: (folder / "forecasts.parquet").unlink(), "forecasts.parquet: no such file"
    ),
}  # fmt: skip
"""What can be wrong with a unit's folder, and how it is said."""


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_not_whole_is_no_unit(tmp_path, name):
    """A damaged unit is not there, is named to who asks, and gives way to a whole one."""
    damage, words = DAMAGE[name]
    store = open_store(tmp_path)
    with store.new_unit("k") as folder:
        write_whole(folder, "first")
    assert store.has_unit("k")
    damage(store.unit_folder("k"))

    assert not store.has_unit("k")
    with pytest.raises(StoreError, match=words):
        store.holds("k")
    with store.new_unit("k") as folder:
        write_whole(folder, "second")

    assert store.holds("k")
    assert store.unit("k")["who"] == "second"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_unit_of_a_newer_version_is_not_replaced(tmp_path):
    """What only a newer version can read is not taken for damage."""
    store = open_store(tmp_path)
    with store.new_unit("k") as folder:
        write_record(folder / "unit.json", {"schema": 99})

    def write_again():
        with store.new_unit("k") as folder:
            write_whole(folder, "ours")

    assert not store.has_unit("k")
    with pytest.raises(NewerRecordError, match="schema 99"):
        write_again()
    assert json.loads((store.unit_folder("k") / "unit.json").read_text()) == {"schema": 99}


def test_a_changed_table_is_not_read(tmp_path, series, request):
    """A unit's record holds digests of its tables; one byte that differs is found and named."""
    store, job = open_store(tmp_path), job_of(series, request, "Learner")
    with store.new_unit("k") as folder:
        write_unit(folder, job, carry_out(job), {})
    names = sorted(store.unit("k")["files"])
    assert names == ["attempts.parquet", "curve.parquet", "forecasts.parquet"]

    for name in names:
        file = store.unit_folder("k") / name
        whole = file.read_bytes()
        file.write_bytes(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:])
        with pytest.raises(StoreError, match=f"{name}: is not what was written"):
            read_unit(store.unit_folder("k"))
        file.write_bytes(whole)

    assert read_unit(store.unit_folder("k")).reason == ("",) * 8


def test_a_unit_without_digests_is_refused(tmp_path, series, request):
    """Units from before digests were kept are named in one line that says what helps."""
    store, job = open_store(tmp_path), job_of(series, request, "Flat")
    with store.new_unit("k") as folder:
        write_unit(folder, job, carry_out(job), {})
        record = json.loads((folder / "unit.json").read_text())
        del record["files"]
        write_record(folder / "unit.json", record)

    with pytest.raises(StoreError, match="k: was written by an older abharness; remove it"):
        read_unit(store.unit_folder("k"))


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


def test_older_store_is_refused(tmp_path):
    """A store of the form before the journal is not touched, and told what to do with."""
    (tmp_path / "store.json").write_text(json.dumps({"schema": 1}))

    with pytest.raises(StoreError, match=r"older abharness.*remove it, or name another"):
        open_store(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["store.json"]


def test_results_without_their_records_are_refused(tmp_path):
    """A store whose journal is gone is not begun anew over what is left."""
    store = open_store(tmp_path)
    (tmp_path / "units/k").mkdir()
    store.journal.path.unlink()

    with pytest.raises(StoreError, match=r"results without their records.*store adopt --why"):
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
