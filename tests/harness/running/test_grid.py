"""The declared grid: its cells, their order, and parts of it."""

import dataclasses

import pytest

from harness.data.dataset import load
from harness.errors import ConfigError
from harness.experiments.experiment import read_experiment
from harness.running.fill import prepare
from harness.running.grid import declare, seeded, select
from harness.running.split import split
from harness.window import RollingOrigin


@pytest.fixture
def grid(tiny):
    """Two datasets, five cells each."""
    return prepare(read_experiment(str(tiny(('["GOLD"]', '["GOLD", "DOW_JONES"]')))), [])


def names(cells):
    return [str(cell) for cell in cells]


def test_cells_are_arms_by_datasets_by_seeds(grid):
    """Every arm meets every dataset; only arms that learn or draw have more than one seed."""
    assert names(grid.cells) == [
        f"{arm}/{dataset}/{seed}"
        for arm, seeds in (("old", [1]), ("new", [1, 2]), ("draws", [1, 2]))
        for dataset in ("GOLD", "DOW_JONES")
        for seed in seeds
    ]
    assert len({cell.key for cell in grid.cells}) == len(grid.cells)


def test_seeds_follow_what_the_arm_does(tiny):
    """An arm that can draw but says that it does not has one seed."""
    arms = {arm.name: arm.build() for arm in read_experiment(str(tiny())).arms}

    assert not seeded(arms["old"])
    assert seeded(arms["new"])
    assert seeded(arms["draws"])
    type(arms["draws"]).draws, kept = False, type(arms["draws"]).draws
    try:
        assert not seeded(arms["draws"])
    finally:
        type(arms["draws"]).draws = kept


def test_arm_whose_fit_draws_nothing_has_one_seed(tiny, monkeypatch):
    """It learns, and says that the seed does not matter."""
    learning = {arm.name: arm.build() for arm in read_experiment(str(tiny())).arms}["new"]
    monkeypatch.setattr(type(learning), "fit_draws", False, raising=False)

    assert not seeded(learning)


def test_job_holds_nothing_from_the_last_origin_on(grid):
    """What a process is handed ends before the last origin."""
    for cell in grid.cells:
        job = grid.job(cell)

        assert len(job.series) == int(job.windows.origin[-1])
        assert len(job.series) < len(grid.splits[cell.dataset].dataset)


@pytest.mark.slow
def test_digest_is_of_what_is_compared(tiny):
    """The grid's digest is that of its cells: a name or a seed changes it, a title does not."""
    experiment = read_experiment(str(tiny()))
    grid = prepare(experiment, [])

    assert prepare(dataclasses.replace(experiment, title="Other"), []).digest == grid.digest
    assert prepare(experiment.with_seeds([1]), []).digest != grid.digest
    assert prepare(read_experiment(str(tiny(('"old"', '"was"')))), []).digest != grid.digest


def test_skip_repeats_drops_sessions_before_windows_are_cut():
    """With `skip_repeats` windows are counted in the sessions that are left."""
    gold = load("GOLD")
    plan = RollingOrigin(horizon=5, stride=5, origins=40)

    kept, dropped = (
        split(gold, dataclasses.replace(plan, skip_repeats=asked)) for asked in (False, True)
    )

    assert (kept.dataset.skipped, dropped.dataset.skipped) == (0, 320)
    assert kept.data != dropped.data
    assert int(kept.windows.judged.max()) - int(dropped.windows.judged.max()) == 320


def test_two_datasets_may_have_two_plans(tiny):
    """Each dataset is cut by its own plan."""
    file = tiny(
        ('["GOLD"]', '["GOLD", "DOW_JONES"]'), ("[run]", "[plan.DOW_JONES]\norigins = 12\n[run]")
    )

    grid = prepare(read_experiment(str(file)), [])

    assert {name: len(part.windows) for name, part in grid.splits.items()} == {
        "GOLD": 40,
        "DOW_JONES": 12,
    }


@pytest.mark.parametrize(
    ("patterns", "count"),
    [
        ([], 10),
        (["new"], 4),
        (["GOLD"], 5),
        (["*/GOLD/2"], 2),
        (["new/GOLD/1"], 1),
        (["ne?"], 4),
        (["new", "GOLD"], 7),
    ],
)
def test_only(grid, patterns, count):
    """A pattern matches an arm, a dataset or arm/dataset/seed; the declared order stays."""
    taken = select(grid.cells, only=patterns)

    assert len(taken) == count
    assert names(taken) == [name for name in names(grid.cells) if name in names(taken)]


def test_every_pattern_must_match(grid):
    """One pattern that matches nothing is refused, also beside one that does."""
    with pytest.raises(
        ConfigError,
        match=r"--only 'old/\*/2' matches nothing \(did you mean 'old'\?\); arms are draws",
    ):
        select(grid.cells, only=["old", "old/*/2"])


@pytest.mark.parametrize("count", [1, 2, 3, 10, 13])
def test_shards_of_a_part(grid, count):
    """Shards of a part of the grid are disjoint and together that part."""
    part = select(grid.cells, only=["GOLD", "new"])

    shards = [
        select(grid.cells, only=["GOLD", "new"], shard=(i, count)) for i in range(1, count + 1)
    ]

    assert sorted(name for shard in shards for name in names(shard)) == sorted(names(part))


def test_record_names_every_cell(grid):
    """What is written to the store holds each cell once with its key."""
    record = grid.record()

    assert [cell["key"] for cell in record["cells"]] == [cell.key for cell in grid.cells]
    assert record["digest"] == grid.digest


def test_data_is_needed_for_every_dataset(tiny):
    """Declaring without the data of a named dataset is a fault of the caller."""
    experiment = read_experiment(str(tiny()))

    with pytest.raises(KeyError, match="GOLD"):
        declare(experiment, {})
