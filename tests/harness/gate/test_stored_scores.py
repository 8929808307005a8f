"""From stored forecasts to stored scores: read back as written, and never stale."""

import dataclasses
import hashlib
import json
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
from in_process import InThisProcess, Quiet
from safetensors.numpy import load, save

from harness.data import dataset
from harness.data.revisions import Revision
from harness.errors import StoreError
from harness.experiments.experiment import read_experiment
from harness.gate import stored_scores
from harness.gate.stored_scores import (
    file_of,
    read_scores,
    score_cell,
    score_grid,
    truths_of,
    write_scores,
)
from harness.running.cells import issued_in_time
from harness.running.fill import fill, prepare
from harness.running.grid import declare
from harness.running.split import split
from harness.running.store_folder import open_store
from harness.scoring.scores import Truth
from harness.window import up_to


@pytest.fixture
def filled(ran):
    """A grid and its store, every unit run."""
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


@pytest.mark.slow
@pytest.mark.parametrize("plan", ["first", "latest"])
def test_what_was_issued_in_time_is_held_against_what_came_first(tiny, plan):
    """A later revision moves the actuals of other origins; with truth = "latest", of all."""
    gold = dataset.load("GOLD")
    today = np.datetime64(datetime.now(UTC).date(), "D")
    moved = gold.series.dates[:9010] + (today - gold.series.dates[9000])
    series = dataclasses.replace(up_to(gold.series, 9010), dates=moved)
    file = tiny(("stride = 5", f'stride = 1\ntruth = "{plan}"'))

    def told(sessions, data):
        data = dataclasses.replace(data, series=up_to(data.series, sessions))
        store = open_store(Path("runs"))
        grid = declare(read_experiment(str(file)), {"GOLD": data}, store)
        fill(grid, store, workers=1, progress=Quiet(), executor=InThisProcess())
        return truths_of(grid, store)["GOLD"], issued_in_time(store, grid.cells)

    data = dataclasses.replace(gold, series=series)
    told(9000, data)
    before, in_time = told(9010, data)
    rows = {9002: 1.5, 8000: 2.0}  # the first was issued for in time
    target = series.target.copy()
    for row, factor in rows.items():
        target[row] *= factor
    revisions = tuple(
        Revision(
            revised=(today + 20).astype(date),
            session=moved[row].astype(date),
            column="gold",
            before=float(series.target[row]),
            after=float(target[row]),
        )
        for row in rows
    )
    new = dataclasses.replace(series, target=target)
    after, _ = told(9010, dataclasses.replace(data, series=new, revisions=revisions))

    assert sorted(in_time) == [9001, 9002, 9003, 9004, 9005]
    held = before.origin >= 9001
    same = np.isclose(before.values, after.values).all(axis=1)
    assert same[held].all() == (plan == "first")
    assert np.array_equal(before.naive_scale[held], after.naive_scale[held]) == (plan == "first")
    assert not np.array_equal(before.naive_scale[~held], after.naive_scale[~held])


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

    write_scores(tmp_path / "x.scores", failed)
    found = read_scores(tmp_path / "x.scores", (first.arm, first.role, "GOLD", first.seed))

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
    before = files(store)
    monkeypatch.setattr(stored_scores, "scoring_digest", lambda: "other")

    score_grid(grid, store)

    assert list(files(store)) == list(before)
    assert not set(files(store).items()) & set(before.items())


@pytest.mark.slow
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
        return grid.cells[0].key, score_cell(grid.cells[0], store, truth_of(grid)).scores

    key, failed = scored_in("raise")
    again, fine = scored_in("", "--retry-failed")

    assert (failed.failures, fine.failures) == (40, 0)
    assert key == again


def test_other_actuals_are_other_scores(filled):
    """The same forecasts against other actuals are never read from the cache of the first."""
    grid, store = filled
    cell, truth = grid.cells[0], truth_of(grid)
    one = score_cell(cell, store, truth).scores

    other = dataclasses.replace(truth, values=truth.values + 1)
    two = score_cell(cell, store, other).scores

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

    with pytest.raises(StoreError, match="holds origins other than those old/GOLD/1 asks for"):
        score_cell(grid.cells[0], store, Truth.of("GOLD", part.dataset.series, part.windows))


def rewritten(file, *, sealed=False, drop=(), facts=None, last=1.0):
    """Write a score file with other numbers or facts, under a digest that fits or the old one."""
    head, content = file.read_bytes()[:64], file.read_bytes()[64:]
    said = {"abharness": facts_in(content)} if facts is None else facts
    arrays = {name: array for name, array in load(content).items() if name not in drop}
    if "at_origin" in arrays:
        arrays["at_origin"][0] *= last
    content = save(arrays, said)
    if sealed:
        head = hashlib.sha256(content).hexdigest().encode()
    file.write_bytes(head + content)


def facts_in(content):
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size])["__metadata__"]["abharness"]


EDITS = {
    "last / 4": lambda file: rewritten(file, last=0.25),
    "no numbers": lambda file: rewritten(file, drop=["cells"]),
    "no facts": lambda file: rewritten(file, facts={}),
    "no facts, by a digest that fits": lambda file: rewritten(file, facts={}, sealed=True),
    "other facts, by a digest that fits": lambda file: rewritten(
        file, facts={"abharness": "[]"}, sealed=True
    ),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-9]),
    "empty": lambda file: file.write_bytes(b""),
    "nothing, by a digest that fits": lambda file: file.write_bytes(
        hashlib.sha256(b"").hexdigest().encode()
    ),
}


@pytest.mark.slow
def test_an_edited_score_file_changes_no_verdict(ran, call):
    """Whatever is done to kept scores before judging, the verdict is the one of the forecasts."""
    sound = call("gate", "tiny.toml", "--store", "runs")
    kept = {file: file.read_bytes() for file in Path("runs/scores").iterdir()}
    for name, edit in EDITS.items():
        for file in kept:
            edit(file)
        assert {file.read_bytes() for file in kept}.isdisjoint(kept.values()), name

        edited = call("gate", "tiny.toml", "--store", "runs")

        assert edited == sound, name
        found = {file: file.read_bytes() for file in Path("runs/scores").iterdir()}
        assert found == kept, name
    assert call("store", "check")[0] == 0


def test_no_flipped_byte_of_a_score_file_is_read(filled):
    """A change of any single byte makes the file one that is derived again."""
    grid, store = filled
    cell, truth = grid.cells[1], truth_of(grid)
    sound = score_cell(cell, store, truth)
    file = file_of(store, cell.slot)
    whole = file.read_bytes()
    chance = np.random.default_rng(0)
    for at in chance.integers(len(whole), size=40).tolist():
        file.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])

        assert read_scores(file, ("new", "candidate", "GOLD", 1)) is None
    assert same(score_cell(cell, store, truth).scores, sound.scores)
    assert file.read_bytes() == whole
