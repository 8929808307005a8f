"""Two hosts compute the same at once: the first to seal wins, the other gives its own up."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from in_process import InThisProcess, Quiet

from harness.data.dataset import load
from harness.errors import StoreError
from harness.experiments.experiment import read_experiment
from harness.gate.upkeep import check_store
from harness.running import incoming, sealing
from harness.running.cells import read_cell
from harness.running.due import works
from harness.running.fill import fill
from harness.running.grid import declare
from harness.running.incoming import deliver
from harness.running.sources import file_digest
from harness.running.store_folder import Store, open_store
from harness.window import up_to

pytestmark = pytest.mark.usefixtures("asked_here")

ENDS = 9000
LEARNER = "arms_for_tests:Learner"
ARM = """\
import os
from arms_for_tests import Keeper, Learner

class Uneven:
    '''Comes out otherwise each time it is fitted, as with another number of threads.'''

    def fit(self, context, *, seed):
        training = super().fit(context, seed=seed)
        self.growth += int.from_bytes(os.urandom(4)) * 1e-12
        return training

class Kept(Uneven, Keeper):
    pass

class Lost(Uneven, Learner):
    pass
"""


class Meanwhile(InThisProcess):
    """Something happens after the first task has ended, before anything of it is sealed."""

    def __init__(self, then):
        super().__init__()
        self.then = then

    def poll(self):
        ended = super().poll()
        then, self.then = self.then, lambda: None
        then()
        return ended


@pytest.fixture
def gold():
    return load("GOLD")


@pytest.fixture
def host(tiny, tmp_path, gold):
    """Make a host: gives its grid and its view of the store; the arms' module is written."""
    (tmp_path / "uneven.py").write_text(ARM)

    def made(sessions=ENDS, file="tiny.toml"):
        data = dataclasses.replace(gold, series=up_to(gold.series, sessions))
        store = open_store(Path("runs"))
        return declare(read_experiment(file), {"GOLD": data}, store), store

    return made


def run(host, then=lambda: None, **options):
    """Fill the grid of a host; gives what that was."""
    grid, store = host
    executor = Meanwhile(then)
    return fill(grid, store, workers=1, progress=Quiet(), executor=executor, **options)


def stored(host):
    """Digest and time of each forecast, by cell and cutoff, as the store has it."""
    grid, store = host
    return {
        str(cell): (read_cell(store, cell).record.digest, read_cell(store, cell).issued_at)
        for cell in grid.cells
    }


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["uneven:Kept", "uneven:Lost"])
def test_what_another_host_sealed_first_stays(tiny, host, arm):
    """Two hosts fit the same arms otherwise: the store keeps the first, the second adds nothing."""
    tiny((LEARNER, arm))
    first, second = host(), host()
    before = {}

    def then():
        assert run(first).fits == 5
        before.update(stored(first), head=first[1].journal.head)

    summary = run(second, then)

    assert (summary.fits, summary.origins, summary.computed) == (0, 0, 0)
    assert (summary.total, summary.unanswered) == (5, {})
    assert {**stored(second), "head": second[1].journal.head} == before
    assert check_store(second[1]).sound
    assert list(Path("runs/tmp").iterdir()) == []


@pytest.mark.slow
def test_what_is_left_comes_from_the_fit_sealed_first(tiny, host):
    """Where the other host forecast fewer origins, its fit forecasts the rest, not one's own."""
    first_day = f'first = "{load("GOLD").series.dates[ENDS - 60]}"'
    tiny(("origins = 40", first_day), ("stride = 5", "stride = 1"), (LEARNER, "uneven:Kept"))
    first, second = host(ENDS), host(ENDS + 3)

    summary = run(second, lambda: run(first))

    assert summary.origins == 3 * 5
    assert summary.fits == 0
    series = second[0].splits["GOLD"].dataset.series
    for cell in (each for each in second[0].cells if each.arm.name == "new"):
        state = second[1].fit_folder(cell.fits[0].key) / "state/state.json"
        growth = np.exp(sum(json.loads(state.read_text())) * np.arange(1, 6))
        seals = second[1].seals(cell.fits[0].key)
        assert len(seals) == 2
        for part in (second[1].read_sealed(*each) for each in seals.items()):
            last = series.target[np.searchsorted(series.dates, part.cutoff)]
            assert np.allclose(part.forecast.point, last[:, None] * growth, rtol=1e-9)
    assert check_store(second[1]).sound


@pytest.mark.slow
def test_files_are_put_into_place_in_the_transaction_that_seals_them(tiny, host, monkeypatch):
    """While a fit or a part is put into place no other host writes, and none sees it unsealed."""
    grid, store = host()
    other, seen = host()[1], []
    for name in ("put_fit", "put_part"):
        put = getattr(Store, name)

        def paused(self, *arguments, put=put, name=name):
            with pytest.raises(StoreError, match="is writing to this store"):
                other.journal.writing(wait_s=0).__enter__()
            put(self, *arguments)
            seen.append((name, len(other.journal)))

        monkeypatch.setattr(Store, name, paused)
    cells = [cell for cell in grid.cells if cell.arm.name == "new"]

    run((dataclasses.replace(grid, cells=cells), store))

    names, records = zip(*seen, strict=True)
    assert names == ("put_fit", "put_part") * 2
    assert records[0] == records[1] < records[2] == records[3]


def damage(host, folder, pattern):
    for file in sorted((host[1].root / folder).glob(pattern)):
        file.write_bytes(b"damaged")


@pytest.mark.slow
@pytest.mark.parametrize("what", [("fits", "*/state/state.json"), ("parts", "*.parquet")])
def test_what_another_host_made_good_stays(tiny, host, what):
    """Two hosts find the same damage: both end sound, with the forecasts that were sealed."""
    tiny((LEARNER, "arms_for_tests:Keeper"))
    run(host())
    before = stored(host())
    damage(host(), *what)
    if what[0] == "fits":
        damage(host(), "parts", "*.parquet")
    first, second = host(), host()

    summary = run(second, lambda: run(first))

    assert summary.unanswered == {}
    assert stored(second) == before
    assert check_store(second[1]).sound


@pytest.mark.slow
def test_parts_merged_by_another_host_are_no_damage(tiny, host, monkeypatch):
    """A host that looks for what is due while another merges parts finds nothing damaged."""
    tiny(("stride = 5", "stride = 1"))
    for sessions in range(ENDS, ENDS + 3):
        run(host(sessions))
    monkeypatch.setattr(sealing, "MOST", 3)
    first, second = host(ENDS + 2), host(ENDS + 2)
    whole, looked = Store.part_damage, []

    def looks(self, key, seal):
        if not looked:
            looked.append(key)
            assert sealing.merge_parts(first[1], first[0].cells) > 0
        return whole(self, key, seal)

    monkeypatch.setattr(Store, "part_damage", looks)
    found = works(*second, second[0].cells)

    assert (found.works, found.damage) == ([], [])


@pytest.mark.slow
def test_parts_are_merged_once(tiny, host, monkeypatch):
    """Of two hosts that merge the same parts the second leaves it at that."""
    tiny(("stride = 5", "stride = 1"))
    for sessions in range(ENDS, ENDS + 3):
        run(host(sessions))
    monkeypatch.setattr(sealing, "MOST", 3)
    first, second = host(ENDS + 2), host(ENDS + 2)
    drawn = sealing.part_bytes

    def meanwhile(part):
        monkeypatch.setattr(sealing, "part_bytes", drawn)
        assert sealing.merge_parts(first[1], first[0].cells) > 0
        return drawn(part)

    monkeypatch.setattr(sealing, "part_bytes", meanwhile)

    assert sealing.merge_parts(second[1], second[0].cells) == 0
    assert check_store(second[1]).sound


def test_a_delivery_taken_by_another_host_is_no_failure(tiny, host, monkeypatch):
    """What another host seals and removes while one reads it is neither failed nor sealed twice."""
    (grid, store), second = host(), host()
    executor = InThisProcess()
    for work in works(grid, store, grid.cells).works:
        executor.submit(work.task)
        for finished in executor.poll():
            files = [file for file in finished.left.rglob("*") if file.is_file()]
            vouched = {str(f.relative_to(finished.left)): file_digest(f) for f in files}
            ending = dataclasses.replace(finished.ending, vouched=vouched)
            deliver(store.root, dataclasses.replace(finished, ending=ending))
    read = incoming.read_delivery
    summaries = []

    def meanwhile(folder):
        monkeypatch.setattr(incoming, "read_delivery", read)
        delivery = read(folder)
        summaries.append(run((grid, store)))
        return delivery

    monkeypatch.setattr(incoming, "read_delivery", meanwhile)
    summaries.append(run(second))

    assert [each.delivered for each in summaries] == [5, 0]
    assert [each.failed | each.unanswered for each in summaries] == [{}, {}]
    assert list(Path("runs/incoming").iterdir()) == []
    assert check_store(store).sound


@pytest.mark.slow
def test_a_maintenance_event_is_recorded_once(tiny, host, edited_module, monkeypatch):
    """Two hosts of another environment end with the results that the first of them recorded."""
    tiny((LEARNER, "uneven:Lost"))
    run(host())
    with edited_module("harness.forecast", added="OTHER = 1"):
        first, second = host(), host()
        summary = run(second, lambda: run(first))
        again = run(host())

    lines = [record.key for record in second[1].journal.records("maintenance")]
    assert len(lines) == len(set(lines)) == 5
    assert len(summary.events) == 5
    assert (again.computed, again.events) == (0, ())
