"""From stored forecasts to stored scores: read back as written, and never stale."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from harness.errors import StoreError
from harness.experiments.experiment import read_experiment
from harness.gate import stored_scores
from harness.gate.stored_scores import read_scores, score_cell, score_grid, write_scores
from harness.running.run import prepare
from harness.running.split import split
from harness.running.store import open_store
from harness.scoring.scores import Truth


@pytest.fixture
def filled(tiny, call, in_process):
    """A grid and its store, every unit run."""
    assert call("run", "tiny.toml")[0] == 0
    return prepare(read_experiment("tiny.toml"), []), open_store(Path("runs"))


def files(store):
    return {file.name: file.stat().st_mtime_ns for file in (store.root / "scores").iterdir()}


def same(one, two):
    """Whether two scores are equal, NaN included."""
    for item in dataclasses.fields(one):
        a, b = getattr(one, item.name), getattr(two, item.name)
        if item.name == "values":
            assert list(a) == list(b)
            for name in a:
                np.testing.assert_array_equal(a[name], b[name], err_msg=name)
        elif isinstance(a, Truth):
            assert a.digest == b.digest == one.truth_digest
            assert a.dataset == b.dataset
        elif isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b, err_msg=item.name)
            assert a.dtype == b.dtype, item.name
        else:
            assert a == b, item.name
    return True


def truth_of(grid):
    part = grid.splits["GOLD"]
    return Truth.of("GOLD", part.dataset.series, part.windows)


def test_scores_survive_the_round_trip(filled):
    """What is read from the cache is what was computed, bit for bit."""
    grid, store = filled

    computed = score_grid(grid, store)
    stored = score_grid(grid, store)

    assert [(unit.arm, unit.seed) for unit in computed] == [
        (cell.arm.name, cell.seed) for cell in grid.cells
    ]
    assert all(same(one, two) for one, two in zip(computed, stored, strict=True))


def test_failed_windows_survive_too(tmp_path, filled):
    """NaN and reasons are read back; a failed window is not ok."""
    grid, store = filled
    first = score_grid(grid, store)[0]
    reason = ("told to", *first.reason[1:])
    values = {name: cells.copy() for name, cells in first.values.items()}
    for cells in values.values():
        cells[0] = np.nan
    failed = dataclasses.replace(
        first, reason=reason, values=values, ok=np.array([not text for text in reason])
    )

    write_scores(tmp_path / "x.parquet", failed)
    found = read_scores(
        tmp_path / "x.parquet", arm=first.arm, role=first.role, dataset="GOLD", seed=first.seed
    )

    assert same(found, failed)
    assert not found.ok[0]
    assert found.ok[1:].all()


def test_second_scoring_writes_nothing(filled, monkeypatch):
    """Scores that are there are read; the scoring itself is not called again."""
    grid, store = filled
    score_grid(grid, store)
    before = files(store)
    monkeypatch.setattr(stored_scores, "score", None)

    score_grid(grid, store)

    assert files(store) == before
    assert len(before) == 5


def test_other_names_find_the_same_scores(filled, tiny, monkeypatch):
    """Scores hold no names: under another arm name they are found, and carry it."""
    grid, store = filled
    score_grid(grid, store)
    renamed = prepare(read_experiment(str(tiny(('"old"', '"was"'), name="other.toml"))), [])
    monkeypatch.setattr(stored_scores, "score", None)

    assert score_grid(renamed, store)[0].arm == "was"


def test_other_scoring_code_scores_again(filled, monkeypatch):
    """After a change of the scoring code nothing of the old scores is used."""
    grid, store = filled
    score_grid(grid, store)
    monkeypatch.setattr(stored_scores, "scoring_digest", lambda: "other")

    score_grid(grid, store)

    assert len(files(store)) == 10


def test_origins_forecast_again_are_scored_again(tiny, call, in_process, tmp_path):
    """What failed and was asked again has its new scores, though its cell's key stays."""
    text = "from pathlib import Path\n\nfrom arms_for_tests import Flat\n\n\nclass Moody(Flat):\n"
    text += "    def forecast(self, contexts):\n        self.fault = Path('mood').read_text()\n"
    text += "        return Flat.forecast(self, contexts)\n"
    (tmp_path / "moody_flat.py").write_text(text, encoding="utf-8")
    tiny(("arms_for_tests:Flat", "moody_flat:Moody"))

    def scored_in(mood, *more):
        Path("mood").write_text(mood, encoding="utf-8")
        assert call("run", "tiny.toml", "--only", "old", *more)[0] == 0
        store = open_store(Path("runs"))
        grid = prepare(read_experiment("tiny.toml"), [], store)
        return grid.cells[0].key, score_cell(grid.cells[0], store, truth_of(grid))

    key, failed = scored_in("raise")
    again, fine = scored_in("", "--retry-failed")

    assert (failed.failures, fine.failures) == (40, 0)
    assert key == again


def test_other_actuals_are_other_scores(filled):
    """The same forecasts against other actuals are never read from the cache of the first."""
    grid, store = filled
    cell, truth = grid.cells[0], truth_of(grid)
    one = score_cell(cell, store, truth)

    two = score_cell(cell, store, dataclasses.replace(truth, values=truth.values + 1))

    assert one.truth_digest != two.truth_digest
    assert not all(np.array_equal(one.values[name], two.values[name]) for name in one.values)


def test_missing_units_are_left_out(tiny, call, in_process):
    """A grid that is half full has the scores of that half, in declared order."""
    assert call("run", "tiny.toml", "--only", "draws", "--only", "old")[0] == 0
    grid = prepare(read_experiment("tiny.toml"), [])

    found = score_grid(grid, open_store(Path("runs")))

    assert [(unit.arm, unit.seed) for unit in found] == [("old", 1), ("draws", 1), ("draws", 2)]


def test_unit_of_other_origins_is_refused(filled):
    """A unit is not scored on windows it was not run on."""
    grid, store = filled
    plan = dataclasses.replace(grid.splits["GOLD"].plan, origins=39)
    part = split(grid.splits["GOLD"].dataset, plan)

    with pytest.raises(StoreError, match="holds other origins than old/GOLD/1 asks"):
        score_cell(grid.cells[0], store, Truth.of("GOLD", part.dataset.series, part.windows))


def test_scores_of_another_schema_are_refused(filled):
    """A score file that a newer version wrote is refused by its name."""
    grid, store = filled
    score_grid(grid, store)
    for file in (store.root / "scores").iterdir():
        rows = pq.read_table(file)
        facts = json.loads(rows.schema.metadata[b"abharness"]) | {"schema": 4}
        pq.write_table(rows.replace_schema_metadata({"abharness": json.dumps(facts)}), file)

    with pytest.raises(StoreError, match="scores of schema 4, this version reads 3"):
        score_grid(grid, store)
