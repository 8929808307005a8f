"""A night costs a night: what was computed stays, what is new is computed once, nothing moves.

All 250 nights, in processes of their own: `tests/studies/test_nights.py`.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from in_process import InThisProcess, Quiet

from harness.data.dataset import load
from harness.experiments.experiment import read_experiment
from harness.gate.upkeep import adopt
from harness.running import identity, sealing
from harness.running.cells import answered, cell_digest, has_cell, read_cell
from harness.running.fill import fill
from harness.running.grid import declare
from harness.running.store_folder import open_store
from harness.window import up_to

pytestmark = pytest.mark.usefixtures("asked_here")

ENDS = 9000
"""Sessions of the first night."""

PAIR = """
[[arms]]
name = "pair"
use = "harness.fallback:WithFallback"
role = "reference"

[arms.primary]
use = "arms_for_tests:Flat"
fault = "raise at"
at = {at}

[arms.fallback]
use = "arms_for_tests:Keeper"

[policy]
"""


@pytest.fixture
def gold():
    return load("GOLD")


def night(file, gold, sessions, store="runs", **options):
    """A session's run on the first rows of the data; gives grid, store, summary and tasks."""
    data = dataclasses.replace(gold, series=up_to(gold.series, sessions))
    opened, executor = open_store(Path(store)), InThisProcess()
    grid = declare(read_experiment(str(file)), {"GOLD": data}, opened)
    summary = fill(grid, opened, workers=1, progress=Quiet(), executor=executor, **options)
    return grid, opened, summary, executor.done


def forecasts(grid, store):
    """What is stored of every cell."""
    return {str(cell): read_cell(store, cell) for cell in grid.cells}


def first_day(gold, sessions):
    """A plan's first origin, so many sessions before the end of the first night."""
    return ("origins = 40", f'first = "{gold.series.dates[ENDS - sessions]}"')


PLANS = {
    "every session": [],
    "one in three": [("stride = 5", "stride = 3")],
    "gap and repeats": [
        ("stride = 5", "stride = 1"), ("horizon = 5", "horizon = 5\ngap = 2\nskip_repeats = true")
    ],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("plan", PLANS)
def test_nights_equal_one_run_over_everything(tiny, gold, plan):
    """Nine nights compute every origin and fit once, and forecast what one run forecasts."""
    changes = PLANS[plan] or [("stride = 5", "stride = 1")]
    at = float(gold.series.target[ENDS + 3])
    file = tiny(
        first_day(gold, 30),
        *changes,
        ("validation = 60", "validation = 60\nrefit = 8"),
        ("arms_for_tests:Learner", "arms_for_tests:Keeper"),
        ("\n[policy]\n", PAIR.format(at=at)),
    )
    origins = fits = 0
    for sessions in range(ENDS, ENDS + 9):
        grid, store, summary, tasks = night(file, gold, sessions)
        origins, fits = origins + summary.origins, fits + summary.fits
        assert sum(len(job.windows) for task in tasks for job in task.jobs) == summary.origins

    assert night(file, gold, ENDS + 8)[2].computed == 0
    whole, other, once, _ = night(file, gold, ENDS + 8, "once")
    assert (origins, fits) == (once.origins, once.fits)
    found, wanted = forecasts(grid, store), forecasts(whole, other)
    for name, cell in found.items():
        assert np.array_equal(cell.origin, wanted[name].origin)
        assert cell.reason == wanted[name].reason
        assert cell.forecast.fallback == wanted[name].forecast.fallback
        for one, same in zip(
            (cell.forecast.point, cell.forecast.at(np.array([0.1, 0.9]))),
            (wanted[name].forecast.point, wanted[name].forecast.at(np.array([0.1, 0.9]))),
            strict=True,
        ):
            assert np.allclose(one, same, rtol=1e-6, atol=0)
    assert any(any(cell.forecast.fallback) for cell in found.values()) or "gap" in plan


def test_a_night_goes_on_from_the_kept_fit(tiny, gold):
    """The next session forecasts one origin of each arm, and fits only what cannot be kept."""
    file = tiny(
        first_day(gold, 30),
        ("stride = 5", "stride = 1"),
        ("arms_for_tests:Sampler", "arms_for_tests:Keeper"),
    )
    night(file, gold, ENDS)

    _, _, summary, tasks = night(file, gold, ENDS + 1)

    assert (summary.computed, summary.origins, summary.fits) == (5, 5, 0)
    kept = {task.jobs[0].ref.name: [bool(each) for each in task.kept] for task in tasks}
    assert kept == {"old": [False], "new": [False], "draws": [True]}


@pytest.mark.slow
def test_origins_counted_back_stay_where_they_began(tiny, gold):
    """`origins = 40` counts back once; then the list grows at the stride, and none moves."""
    file = tiny()
    before = night(file, gold, ENDS)[0].splits["GOLD"]

    for more in (1, 4, 5, 9, 10):
        after = night(file, gold, ENDS + more)[0].splits["GOLD"]
        assert after.issued.origin[:41].tolist() == before.issued.origin.tolist()
        assert len(after.issued) == 41 + more // 5
        assert len(after.windows) == 40 + more // 5

    assert (len(before.windows), len(before.issued)) == (40, 41)


@pytest.mark.slow
def test_what_is_pending_is_issued_once(tiny, gold):
    """An origin is forecast before its outcome comes, kept, and judged when it has come."""
    file = tiny(("stride = 5", "stride = 1"))
    grid, store, _, _ = night(file, gold, ENDS)
    cell = grid.cells[0]
    last = str(gold.series.dates[ENDS - 1])
    issued = answered(store, cell, cell.fits[-1])[last]
    assert len(grid.splits["GOLD"].issued) == len(grid.splits["GOLD"].windows) + 5

    grid, store, summary, _ = night(file, gold, ENDS + 5)
    cell = grid.cells[0]

    assert summary.origins == 5 * len(grid.cells)
    again = answered(store, cell, cell.fits[-1])[last]
    assert (again.digest, again.issued_at) == (issued.digest, issued.issued_at)
    assert last in map(str, read_cell(store, cell).last_date)


@pytest.mark.slow
def test_a_verdict_counts_only_recorded_origins(tiny, gold):
    """Where the data have grown and nothing was run, nothing is asked for that is not there."""
    file = tiny(("stride = 5", "stride = 1"))
    _, store, _, _ = night(file, gold, ENDS)
    data = dataclasses.replace(gold, series=up_to(gold.series, ENDS + 3))

    grid = declare(read_experiment(str(file)), {"GOLD": data}, store, grow=False)

    assert all(has_cell(store, cell) for cell in grid.cells)
    assert len(grid.splits["GOLD"].windows) == 43


@pytest.mark.slow
def test_another_refit_reuses_fits_at_equal_cutoffs(tiny, gold):
    """Fits stand at anchor + i x refit, whatever the refit: those that coincide are made once."""
    eight = tiny(("validation = 60", "validation = 60\nrefit = 8"))
    sixteen = tiny(("validation = 60", "validation = 60\nrefit = 16"), name="sixteen.toml")

    made = night(eight, gold, ENDS)[2].fits
    again = night(sixteen, gold, ENDS)[2]

    assert made == 5 * 6
    assert again.fits == 0
    assert again.origins > 0


@pytest.mark.slow
def test_a_fit_made_on_a_gpu_serves_a_night_without_one(tiny, gold, tmp_path, monkeypatch):
    """Another device fits nothing again: the kept fit forecasts, and each part says on what."""
    source = "from arms_for_tests import Keeper\n\n\nclass Open(Keeper):\n    device = 'auto'\n"
    (tmp_path / "open_arm.py").write_text(source, encoding="utf-8")
    file = tiny(
        first_day(gold, 30),
        ("stride = 5", "stride = 1"),
        ("arms_for_tests:Learner", "open_arm:Open"),
        ("validation = 60", "validation = 60\nrefit = 32"),
    )
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "gpu").write_text("Model: H200\n", encoding="utf-8")
    monkeypatch.setattr(identity, "_gpu_files", lambda: [tmp_path / "gpu"])
    first = night(file, gold, ENDS)[0]
    monkeypatch.setattr(identity, "_gpu_files", list)

    grid, store, summary, _ = night(file, gold, ENDS + 1)
    late, _, last, _ = night(file, gold, ENDS + 3)

    assert (summary.fits, last.fits) == (0, len(grid.cells))
    new = grid.cells[1]
    assert str(new) == "new/GOLD/1"
    assert (new.line, new.fits[0].key) == (first.cells[1].line, first.cells[1].fits[0].key)
    devices = [seal.device for seal in store.seals(new.fits[0].key).values()]
    assert devices == ["cuda", "cpu"]
    made_on = [fit.identity["device"] for fit in late.cells[1].fits]
    assert made_on == ["cuda", "cpu"]


@pytest.mark.slow
def test_many_parts_become_one(tiny, gold, monkeypatch):
    """After some nights a fit's parts are merged: fewer files, every origin's digest as it was."""
    monkeypatch.setattr(sealing, "MOST", 4)
    file = tiny(first_day(gold, 30), ("stride = 5", "stride = 1"))
    known: dict[str, tuple[str, str]] = {}
    counts = []
    for sessions in range(ENDS, ENDS + 9):
        grid, store, _, _ = night(file, gold, sessions)
        for cell in grid.cells:
            for each in answered(store, cell, cell.fits[0]).values():
                place = f"{cell} {each.cutoff}"
                said = (each.digest, each.issued_at)
                assert known.setdefault(place, said) == said
        counts.append(len(list(Path("runs/parts").iterdir())))

    assert max(counts) == 3 * len(grid.cells)
    assert len(known) == 39 * len(grid.cells)
    assert all(read_cell(store, cell).reason == ("",) * 34 for cell in grid.cells)
    assert night(file, gold, ENDS + 8)[2].computed == 0


LOG = """
[[arms]]
name = "log"
use = "harness.recorded:Recorded"
role = "reference"
file = "log.csv"

[policy]
"""


def logged(gold, sessions, *, changed=-1, interval=True):
    """A log up to a night's last session: a path, maybe an interval; one record changed."""
    lines = ["cutoff,ds,Log,Log-lo-80,Log-hi-80" if interval else "cutoff,ds,Log"]
    for origin in range(ENDS - 60, sessions + 1):
        last = gold.series.dates[origin - 1]
        price = float(gold.series.target[origin - 1]) + (origin == changed)
        for step in range(1, 6):
            day = np.busday_offset(last, step)
            lines.append(f"{last},{day},{price}" + (f",{price - step},{price + step}" * interval))
    Path("log.csv").write_text("\n".join(lines), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("interval", [True, False])
def test_a_log_that_grows_is_read_on_and_one_that_changes_is_noticed(tiny, gold, interval):
    """New records are one origin a night; a changed one is read again, with what rests on it."""
    changes = [("stride = 5", "stride = 1"), ("\n[policy]\n", LOG)]
    file = tiny(first_day(gold, 30), *changes)
    logged(gold, ENDS, interval=interval)
    night(file, gold, ENDS, only=("log",))
    logged(gold, ENDS + 1, interval=interval)
    first, store, grown, _ = night(file, gold, ENDS + 1, only=("log",))
    logged(gold, ENDS + 1, interval=interval, changed=ENDS - 10)

    second, store, changed, _ = night(file, gold, ENDS + 1, only=("log",))

    kept, anew = [next(c for c in grid.cells if c.arm.name == "log") for grid in (first, second)]
    assert (kept.line, kept.fits[0].key) == (anew.line, anew.fits[0].key)
    assert kept.key != anew.key
    assert (grown.origins, changed.origins) == (1, 1 if interval else 12)
    assert has_cell(store, anew)


@pytest.mark.slow
def test_merged_parts_are_adopted(tiny, gold, monkeypatch):
    """Where the records are lost, merged parts are taken in as well: nothing is forecast anew."""
    monkeypatch.setattr(sealing, "MOST", 3)
    file = tiny(first_day(gold, 30), ("stride = 5", "stride = 1"))
    for sessions in range(ENDS, ENDS + 5):
        grid, store, _, _ = night(file, gold, sessions)
    before = {str(cell): cell_digest(store, cell) for cell in grid.cells}
    store.journal.close()
    store.journal.path.unlink()
    data = dataclasses.replace(gold, series=up_to(gold.series, ENDS + 4))
    store = open_store(Path("runs"), without_records=True)
    grid = declare(read_experiment(str(file)), {"GOLD": data}, store)

    found = adopt(store, grid, why="the disk broke")

    assert found.left == ()
    assert {str(cell): cell_digest(store, cell) for cell in grid.cells} == before
    assert night(file, gold, ENDS + 4)[2].computed == 0
