"""Fits that form a chain: an arm that `continues` starts each fit from its last one."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from in_process import InThisProcess, Quiet

from harness.data.dataset import load
from harness.experiments.experiment import read_experiment
from harness.fallback import WithFallback
from harness.gate.upkeep import check_store
from harness.running.cells import read_cell
from harness.running.fill import fill
from harness.running.grid import declare
from harness.running.incoming import arrived
from harness.running.store_folder import Store, open_store
from harness.running.supervisor import Ending
from harness.window import RollingOrigin, context_at, up_to

ENDS = 9000
FRAGILE = """
from pathlib import Path
from arms_for_tests import Chained

class Fragile(Chained):
    '''Cannot be fitted after the day in a file; comes out otherwise where there is another one.'''

    def fit(self, context, *, seed):
        day, file = str(context.dates[-1].astype("datetime64[D]")), Path("fails after")
        if file.exists() and day > file.read_text():
            raise RuntimeError("it cannot be fitted now")
        training = super().fit(context, seed=seed)
        self.growth += len(list(Path().glob("uneven"))) * 1e-6
        return training
"""


@pytest.fixture
def night(tiny, tmp_path, asked_here):
    """Run a session of two chains, one a seed, with a fit at each third origin.

    Gives grid, store, what was done and the forecasts. On the first night a chain has four fits,
    and every third night one more.
    """
    (tmp_path / "fragile.py").write_text(FRAGILE)
    gold = load("GOLD")
    begins = f'first = "{gold.series.dates[ENDS - 9]}"'

    def run(sessions=ENDS, store="runs", *, arm="arms_for_tests:Chained", refit=3, **options):
        file = tiny(
            ("arms_for_tests:Learner", arm), ("origins = 40", begins), ("stride = 5", "stride = 1"),
            ("validation = 60", f"validation = 60\nrefit = {refit}"),
        )  # fmt: skip
        data = dataclasses.replace(gold, series=up_to(gold.series, sessions))
        opened = open_store(Path(store))
        grid = declare(read_experiment(str(file)), {"GOLD": data}, opened)
        grid = dataclasses.replace(grid, cells=[c for c in grid.cells if c.arm.name == "new"])
        executor = options.pop("executor", InThisProcess())
        settings = {"workers": 1, "progress": Quiet(), **options}
        summary = fill(grid, opened, executor=executor, **settings)
        grid = dataclasses.replace(
            summary.grid, cells=[c for c in summary.grid.cells if c.arm.name == "new"]
        )
        if options.get("hand_over") or summary.unanswered:
            return grid, opened, summary, {}
        return grid, opened, summary, {str(cell): read_cell(opened, cell) for cell in grid.cells}

    return run


def same(found, wanted):
    """Whether two nights forecast the same, bit by bit."""
    return {name: each.record.digest for name, each in found[3].items()} == {
        name: each.record.digest for name, each in wanted[3].items()
    }


def growths(store, cell):
    """What each fit of a chain learned, in order."""
    states = (store.fit_folder(fit.key) / "state/state.json" for fit in cell.fits)
    return [json.loads(state.read_text())[0] for state in states]


@pytest.mark.slow
def test_each_fit_starts_from_the_last_night_by_night(night):
    """A chain grown by a night at a time is that of one run over everything, bit by bit."""
    grown = [night(sessions) for sessions in range(ENDS, ENDS + 5)][-1]
    whole = night(ENDS + 4, "once")
    alone = night(ENDS + 4, "alone", arm="arms_for_tests:Keeper")

    assert same(grown, whole)
    for cell, single in zip(whole[0].cells, alone[0].cells, strict=True):
        mine, own = growths(whole[1], cell), growths(alone[1], single)
        assert len(mine) == 5
        assert mine[0] == own[0]
        assert mine[1:] == [before / 2 + each for before, each in zip(mine, own[1:], strict=False)]
    assert len(grown[1].journal.records("fit")) == len(whole[1].journal.records("fit")) == 10


def test_the_key_of_a_fit_covers_those_before_it(night):
    """A chain that is fitted at other origins is another one from there on."""
    grids = [
        night(arm=f"arms_for_tests:{name}", refit=refit)[0]
        for name in ("Chained", "Keeper")
        for refit in (3, 6)
    ]
    often, seldom, *alone = ({fit.cutoff: fit.key for fit in each.cells[0].fits} for each in grids)
    first, *later = seldom

    assert alone[1].items() <= alone[0].items()
    assert often[first] == seldom[first]
    assert all(often[day] != seldom[day] for day in later)


class Slots(InThisProcess):
    """Takes what it is given, and does first what it took first; notes how many it has."""

    def __init__(self):
        super().__init__()
        self.taken = []

    def poll(self):
        self.taken.append(len(self._waiting))
        return super().poll()


def test_two_workers_carry_out_two_chains_side_by_side(night):
    """No worker waits while a chain has a fit whose last one is there."""
    slots = Slots()

    night(executor=slots, workers=2)

    assert slots.taken == [2] * 7 + [1]


class Full(InThisProcess):
    """Has room for a task only when nothing runs, and only at the third time it is offered."""

    def __init__(self):
        super().__init__()
        self.offered = 0

    def submit(self, task):
        self.offered += 1
        return not self._waiting and self.offered % 3 == 0 and super().submit(task)

    def poll(self):
        return super().poll() if self._waiting else []


def test_a_fit_that_waits_for_room_has_its_last_one_looked_at_once(night, monkeypatch):
    """However often it is offered to an executor that is full, as with chains on one GPU."""
    calm = night(store="calm")
    executor, seen, look = Full(), [], Store.fit_damage

    def noted(store, key):
        seen.extend([key] if executor.offered else [])  # else it is found what is due
        return look(store, key)

    monkeypatch.setattr(Store, "fit_damage", noted)

    found = night(executor=executor, workers=2)

    starts = [str(t.fits[0][1].identity["follows"]) for t in executor.done if t.follows]
    assert executor.offered > 2 * len(executor.done)
    assert len(starts) == 6
    assert sorted(seen) == sorted(starts)
    assert same(found, calm)


def test_a_fit_that_fails_fails_those_after_it(night):
    """They say which it was; asked again once it can be made, all is as if it had never failed."""
    calm = night(ENDS + 4, "calm", arm="fragile:Fragile")
    fits = calm[0].cells[0].fits
    Path("fails after").write_text(fits[0].cutoff)
    failed = night(ENDS + 3, arm="fragile:Fragile")
    Path("fails after").unlink()
    still = night(ENDS + 4, arm="fragile:Fragile")
    mended = night(ENDS + 4, arm="fragile:Fragile", retry_failed=True)

    for _, _, _, cells in (failed, still):
        for cell in cells.values():
            own, later = "RuntimeError: it cannot be fitted now", cell.reason[6:]
            said = f"the fit of {fits[1].cutoff} that it starts from failed: {own}"
            assert cell.reason[:6] == ("",) * 3 + (own,) * 3
            assert later == (said,) * len(later)
    assert same(mended, calm)


@pytest.mark.slow
@pytest.mark.parametrize("lost", [[-1], [-2, -1], [0, 1, 2, 3]])
def test_a_damaged_fit_is_made_again_before_one_starts_from_it(night, caplog, lost):
    """It is told, and what comes is bit by bit what would have come without the damage."""
    calm = night(ENDS + 3, "calm")
    grid, store, _, _ = night()
    before = growths(store, grid.cells[0])
    for each in lost:
        folder = store.fit_folder(grid.cells[0].fits[each].key)
        (folder / "state/state.json").write_bytes(b"[1.0, 0.0]")

    after = night(ENDS + 3)

    assert growths(store, grid.cells[0]) == before
    assert sum("is fitted again" in each for each in caplog.messages) == len(lost)
    assert same(after, calm)
    assert check_store(after[1]).sound


@pytest.mark.slow
def test_none_starts_from_a_damaged_fit_that_comes_out_otherwise(night):
    """Made again it is another fit: the chain has no answer until it is begun anew."""
    grid, store, _, _ = night(arm="fragile:Fragile")
    states = [store.fit_folder(fit.key) / "state/state.json" for fit in grid.cells[0].fits]
    states[-1].unlink()
    Path("uneven").touch()

    _, _, summary, _ = night(ENDS + 3, arm="fragile:Fragile")
    anew = night(ENDS + 3, arm="fragile:Fragile", recompute=True)

    assert list(summary.unanswered) == ["new/GOLD/1"]
    assert "the repeated fit differs from it" in summary.unanswered["new/GOLD/1"]
    assert anew[2].unanswered == {}
    assert anew[2].fits == 10
    assert same(anew, night(ENDS + 3, "once", arm="fragile:Fragile"))


class Silent(InThisProcess):
    """The system keeps the fits of one day from an answer."""

    def __init__(self, day):
        super().__init__()
        self.day = day

    def poll(self):
        (ended,) = super().poll()
        if ended.task.fits[0][1].cutoff != self.day:
            return [ended]
        return [
            dataclasses.replace(ended, left=None, ending=Ending(kind="no answer", reason="killed"))
        ]


@pytest.mark.slow
def test_what_starts_from_an_unanswered_fit_waits_for_it(night):
    """Where the system kept a fit from an answer none after it is made, and none fails."""
    calm = night(store="calm")
    executor = Silent(calm[0].cells[0].fits[1].cutoff)
    _, store, summary, _ = night(executor=executor)

    assert len(executor.done) == 2 * 3  # the first fits, and twice those that are silent
    assert list(summary.unanswered) == ["new/GOLD/1", "new/GOLD/2"]
    assert summary.failed == {}
    assert not any(seal.failed for seal in store.parts().values())
    assert same(night(), calm)


def test_shards_hand_over_whole_chains(night):
    """Each fit starts from what was delivered of its last one; sealed, all is as in one run."""
    calm = night(store="calm")
    for number in (1, 2):
        night(hand_over=True, shard=(number, 2))
    delivered = len(list(arrived(Path("runs"))))

    sealed = night()

    assert delivered == 8
    assert (sealed[2].fits, sealed[2].delivered) == (0, 2)
    assert same(sealed, calm)


def test_a_delivered_fit_that_starts_from_another_is_given_up(night):
    """Of a chain that was delivered, what does not start from the fit sealed here is made anew."""
    night(arm="fragile:Fragile", hand_over=True)
    for folder, found in arrived(Path("runs")):
        if "follows" not in found.jobs[0].identity:
            shutil.rmtree(folder)
    Path("uneven").touch()

    here = night(arm="fragile:Fragile")

    assert here[2].fits == 8
    assert same(here, night(store="once", arm="fragile:Fragile"))
    assert list(arrived(Path("runs"))) == []


def test_a_link_made_again_elsewhere_starts_from_the_same_fit(night, edited_module):
    """In another environment the newest fit comes out equal, since it starts from its last one."""
    before = night()

    with edited_module("harness.running.unit", added="MORE = 1"):
        after = night()

    assert len(after[2].events) == 2
    assert all("are equal, so it goes on" in said for said in after[2].events)
    assert same(after, before)


@pytest.mark.slow
def test_of_a_pair_only_the_part_that_continues_goes_on(tmp_path, monkeypatch):
    """A chained primary starts from its last fit; a fallback beside it is fitted anew."""
    arms = Path(__file__).parents[1] / "arms_for_tests.py"
    (tmp_path / "two_kinds.py").write_text(arms.read_text())
    monkeypatch.syspath_prepend(str(tmp_path))
    pair = [{"use": f"two_kinds:{name}"} for name in ("Chained", "Keeper")]
    first, second = (WithFallback(primary=pair[0], fallback=pair[1]) for _ in range(2))
    plan = RollingOrigin(horizon=5, stride=1, origins=1, validation=60)
    contexts = [context_at(load("GOLD").series, origin, plan=plan) for origin in (500, 600)]
    first.fit(contexts[0], seed=1)
    first.save(tmp_path)

    second.restore(tmp_path)
    second.fit(contexts[1], seed=1)

    alone = [WithFallback(primary=pair[1], fallback=pair[1]) for _ in range(2)]
    for each, context in zip(alone, contexts, strict=True):
        each.fit(context, seed=1)
    own = [each.parts()[0].growth for each in alone]
    assert second.continues
    assert [part.growth for part in second.parts()] == [own[0] / 2 + own[1], own[1]]


@pytest.mark.parametrize(
    ("arm", "said"),
    [
        ("class Bad(Flat): continues = True", "it needs `fit`, `save` and `restore`"),
        ("class Bad(Keeper): continues = 'no'", "continues = 'no': expected true or false"),
    ],
)
def test_an_arm_that_cannot_continue_is_refused(tiny, call, tmp_path, arm, said):
    """One line names the arm, and what it says of itself that it cannot keep."""
    (tmp_path / "bad.py").write_text(f"from arms_for_tests import Flat, Keeper\n\n{arm}\n")
    tiny(("arms_for_tests:Learner", "bad:Bad"))

    code, _, err = call("run", "tiny.toml")

    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("abharness: arm 'new' (bad:Bad): ")
    assert said in err


def test_a_link_that_cannot_be_kept_fails(night):
    """Its windows and those after it say so: nothing could start from it."""
    Path("lost.py").write_text(
        "from arms_for_tests import Chained\n\nclass Lost(Chained):\n"
        "    def save(self, folder):\n        raise OSError('no room for this')\n"
    )
    _, _, _, cells = night(arm="lost:Lost")

    reasons = cells["new/GOLD/1"].reason
    assert reasons[0].startswith("ArmError: its fit cannot be kept, and the next one must start")
    assert all("that it starts from failed: ArmError: its fit" in each for each in reasons[3:])
