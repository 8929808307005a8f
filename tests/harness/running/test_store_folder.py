"""The store: what is sealed is what was sealed, and cutoffs only grow."""

import json
import os

import numpy as np
import pytest

from harness.errors import StoreError
from harness.running.identity import owner_mark
from harness.running.parts import Part
from harness.running.store_folder import Seal, StoredFit, bytes_digest, open_store

FIT = "f" * 64


def days(*dates):
    return np.array(dates, dtype="datetime64[D]")


def seal_of(key, *, content, replaces=()):
    """A seal of one origin."""
    return Seal(
        fit=FIT,
        file=bytes_digest(content),
        cutoffs=("2020-01-02",),
        digests=(key,),
        issued_at=("2026-01-01T00:00:00+00:00",),
        horizon=5,
        gap=0,
        rows="r",
        form="none",
        levels=(),
        residual_distribution=False,
        failed=(),
        by_fallback=(),
        first_reason="",
        environment={},
        replaces=replaces,
    )


def put(store, key, content, **seal):
    store.put_part(key, content)
    store.seal(FIT, None, key, seal_of(key, content=content, **seal))


def test_a_seal_tells_damage(tmp_path):
    """A sealed file that is changed, cut or gone is named; one that is whole is not."""
    store = open_store(tmp_path / "runs")
    put(store, "k", b"forecasts")
    (seal,) = store.seals(FIT).values()
    assert store.part_damage("k", seal) == ""

    store.part_file("k").write_bytes(b"Forecasts")
    assert store.part_damage("k", seal).endswith("k.parquet: is not what was sealed")
    with pytest.raises(StoreError, match="is not what was sealed"):
        store.read_sealed("k", seal)
    store.part_file("k").unlink()

    assert "cannot be read: No such file" in store.part_damage("k", seal)


def test_others_see_what_was_sealed(tmp_path):
    """Seals written by another process are taken in; merged and dropped parts are out."""
    one, other = open_store(tmp_path), open_store(tmp_path)
    assert one.seals(FIT) == {}

    put(other, "a", b"1")
    put(other, "b", b"2")
    assert list(one.seals(FIT)) == ["a", "b"]
    put(other, "c", b"3", replaces=("a", "b"))
    assert list(one.seals(FIT)) == ["c"]
    other.journal.append("drop", "c", {"why": "a test"})

    assert one.seals(FIT) == {}


def test_a_fit_is_kept_whole(tmp_path):
    """Files of a fit are put into place together, replace those there, and damage is named."""
    store = open_store(tmp_path)
    for content in (b"first", b"second"):
        with store.drafted({"state/a.json": content, "log.txt": content}) as drafted:
            store.put_fit(FIT, drafted)
    found = {"state/a.json": bytes_digest(b"second")}
    store.journal.append(
        "fit", FIT, {"cutoff": "2020-01-02", "identity": {}, "environment": {}, "files": found}
    )

    assert store.fit(FIT) == StoredFit(
        cutoff="2020-01-02", identity={}, environment={}, files=found
    )
    assert store.fit_damage(FIT) == ""
    (store.fit_folder(FIT) / "log.txt").unlink()  # not sealed
    assert store.fit_damage(FIT) == ""
    (store.fit_folder(FIT) / "state" / "a.json").write_bytes(b"secomd")
    assert store.fit_damage(FIT).endswith("a.json: is not what was sealed")
    assert list((tmp_path / "tmp").iterdir()) == []


def test_cutoffs_only_grow(tmp_path):
    """Recorded cutoffs stay; further ones are added, and others in their place are refused."""
    store = open_store(tmp_path)
    anchor = {"dataset": "GOLD", "plan": {"stride": 1}}
    store.record_cutoffs(anchor, days("2020-01-02", "2020-01-03"))
    store.record_cutoffs(anchor, days("2020-01-02"))
    store.record_cutoffs(anchor, days("2020-01-02", "2020-01-03", "2020-01-06"))

    assert store.cutoffs(anchor).tolist() == days("2020-01-02", "2020-01-03", "2020-01-06").tolist()
    assert len(store.cutoffs(anchor | {"dataset": "DOW_JONES"})) == 0
    assert len(store.journal.records("anchor")) == 2
    with pytest.raises(StoreError, match="recorded other origins"):
        store.record_cutoffs(anchor, days("2020-01-02", "2020-01-04"))


def test_failed_parts_are_rows_too(tmp_path):
    """A part without a single forecast has a row per origin with the reason."""
    part = Part.failed(days("2020-01-02", "2020-01-03"), 5, "the process died")

    assert part.reason == ("the process died",) * 2
    assert len(set(part.digests())) == 2
    assert np.isnan(part.forecast.point).all()


def test_sweep_removes_what_dead_processes_left(tmp_path):
    """Drafts of dead processes go; those of living ones and of other hosts stay."""
    store = open_store(tmp_path)
    names = ["999999999-x", f"{os.getpid()}-x"]
    here = owner_mark().rpartition(".")[0]
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
    (tmp_path / "fits/k").mkdir()
    store.journal.path.unlink()

    with pytest.raises(StoreError, match=r"results without their records.*store adopt EXPERIMENT"):
        open_store(tmp_path)


def test_missing_store_is_an_error_for_readers(tmp_path):
    """Verbs that only read do not make a store."""
    with pytest.raises(StoreError, match="no store here"):
        open_store(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()
