"""Faults put into a run, its store, its data and its records: each caught, none silently green.

The table is `FAULTS`: what is broken, the exit code of `gate`, and words of the reason.
"""

import dataclasses
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.data.dataset import builtin_folder
from harness.errors import StoreError
from harness.experiments.experiment import read_experiment
from harness.gate.judge import scored
from harness.judging.declared import Cell
from harness.judging.verdict import verdict_on
from harness.running.fill import prepare
from harness.running.grid import Grid
from harness.running.parts import read_part
from harness.running.sources import file_digest
from harness.running.store_folder import Seal, Store, open_store
from reports.words import verdicts

CONSTANT = """
import numpy as np
from harness.forecast import Forecast

class Constant:
    context_length = 5

    def forecast(self, contexts):
        shape = (len(contexts), contexts.horizon, len(contexts.levels))
        return Forecast.of_quantiles(np.full(shape, 1650.0), contexts.levels)
"""
NEW = 'name = "new"\nuse = "arms_for_tests:Learner"'
FLAT_NEW = 'name = "new"\nuse = "arms_for_tests:Flat"\ncontext = 20'
HARD = "@the last value seen at one origin"


def _grid() -> Grid:
    store = open_store(Path("runs"), create=False) if Path("runs").is_dir() else None
    return prepare(read_experiment("tiny.toml"), [], store)


def part_of(arm: str) -> tuple[Store, str, Seal]:
    """The store, with key and seal of the first part of an arm."""
    store = open_store(Path("runs"))
    cell = next(cell for cell in _grid().cells if cell.arm.name == arm)
    return store, *next(iter(store.seals(cell.fits[0].key).items()))


def rewrite(arm: str, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change the forecasts of an arm and seal them, as if the pipeline had written them so."""
    store, key, seal = part_of(arm)
    file = store.part_file(key)
    pq.write_table(change(pq.read_table(file)), file)
    sealed(store, key, seal)


def sealed(store: Store, key: str, seal: Seal) -> None:
    """Seal a part's file as it is now, as far as it can be read."""
    file = store.part_file(key)
    changed = {"file": file_digest(file)}
    with suppress(StoreError):
        part = read_part(file)
        changed |= {"cutoffs": tuple(map(str, part.cutoff)), "digests": tuple(part.digests())}
    store.seal(seal.fit, None, key, dataclasses.replace(seal, **changed))


def edited(name: str, change: Callable[..., object]) -> Callable[[pa.Table], pa.Table]:
    """Change one column."""

    def edit(table: pa.Table) -> pa.Table:
        kind = table.schema.field(name).type
        values = pa.array(change(table[name].to_numpy()), type=kind)
        return table.set_column(table.schema.get_field_index(name), name, values)

    return edit


def dropped_cell(tiny) -> None:
    store, key, _ = part_of("new")
    store.journal.append("drop", key, {"why": "a test"})


def shifted_split(tiny) -> None:
    rewrite("new", edited("cutoff", lambda days: days + np.timedelta64(1)))


def reversed_windows(tiny) -> None:
    rewrite("new", edited("cutoff", lambda days: days[::-1]))


def reversed_forecasts(tiny) -> None:
    rewrite("new", lambda table: table.take(np.arange(table.num_rows)[::-1]))


def truncated_parquet(tiny) -> None:
    store, key, seal = part_of("new")
    file = store.part_file(key)
    file.write_bytes(file.read_bytes()[:-100])
    sealed(store, key, seal)


def changed_forecast(tiny) -> None:
    store, key, _ = part_of("new")
    file = store.part_file(key)
    whole = file.read_bytes()
    file.write_bytes(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:])


def deleted_forecasts(tiny) -> None:
    store, key, _ = part_of("new")
    store.part_file(key).unlink()


def stale_store(tiny) -> None:
    tiny(('use = "arms_for_tests:Flat"', 'use = "arms_for_tests:Flat"\ncontext = 31'))


def other_plan(tiny) -> None:
    tiny(("origins = 40", "origins = 41"))


def emptied_store(tiny) -> None:
    store = open_store(Path("runs"))
    for key in store.journal.newest("part"):
        store.journal.append("drop", key, {"why": "a test"})


def no_store(tiny) -> None:
    Path("runs").rename("elsewhere")


def policy_typo(tiny) -> None:
    tiny(('metric = "crps"', 'metric = "crsp"'))


def waiver_of_nothing(tiny) -> None:
    rows = '{finding = "GOLD:rmse:*", owner = "a", reason = "b", until = 2030-01-01}'
    tiny(('mode = "replace"', f'mode = "replace"\nwaivers = [{rows}]'))


def slice_of_nothing(tiny) -> None:
    tiny(("margin = 0.05", 'margin = 0.05\nslices = ["year:1985"]'))


def more_evidence_declared(tiny) -> None:
    tiny(('mode = "replace"', 'mode = "replace"\nevidence = {seeds = 5, origins = 60}'))


STORED = {
    "dropped cell": (dropped_cell, 5, "1 of 5 declared cells have no scores: new on GOLD"),
    "shifted split": (shifted_split, 5, "declared cells have no scores: new on GOLD"),
    "reversed windows": (reversed_windows, 5, "its origins are not in order"),
    "reversed forecasts": (reversed_forecasts, 5, "its steps are not in order"),
    "truncated forecasts": (truncated_parquet, 5, "parquet: cannot be read"),
    "changed forecast": (changed_forecast, 5, "parquet: is not what was sealed"),
    "deleted forecasts": (deleted_forecasts, 5, "parquet: cannot be read: No such file"),
    "stale store, other options": (stale_store, 5, "declared cells have no scores: old on GOLD"),
    "stale store, other plan": (other_plan, 5, "5 of 5 declared cells have no scores"),
    "emptied store": (emptied_store, 5, "5 of 5 declared cells have no scores"),
    "no store": (no_store, 2, "no store here"),
    "policy typo": (policy_typo, 2, "no such metric (did you mean 'crps'?)"),
    "waiver of nothing": (waiver_of_nothing, 2, "'GOLD:rmse:*' matches nothing"),
    "slice of nothing": (slice_of_nothing, 5, "no slice 'year:1985'"),
    "more evidence declared": (more_evidence_declared, 5, "declares 5 seeds"),
}
"""Faults put in after a sound run: how, the exit code of `gate`, words of the reason."""

RUN = {
    "constant forecast": (
        (NEW, 'name = "new"\nuse = "constant:Constant"'), 3, "worse than allowed: CRPS on GOLD"
    ),
    "NaN on windows": (
        (NEW, FLAT_NEW + f'\nfault = "nan at"\nat = {HARD}'), 3, "new failed 1 of 40 windows"
    ),
    "crash on one window": (
        (NEW, FLAT_NEW + f'\nfault = "raise at"\nat = {HARD}'), 3, "new failed 1 of 40 windows"
    ),
    "crashed candidate": ((NEW, FLAT_NEW + '\nfault = "raise"'), 5, "new failed 40 of 40 windows"),
    "NaN throughout": ((NEW, FLAT_NEW + '\nfault = "nan"'), 5, "new failed 40 of 40 windows"),
    "crashed legacy": (
        ('role = "legacy"', 'role = "legacy"\nfault = "raise"'), 5, "nothing sound to compare to"
    ),
}  # fmt: skip
"""Faults of an arm: the change of the experiment, the exit code of `gate`, words of the reason."""


@pytest.mark.slow
@pytest.mark.parametrize("name", STORED)
def test_fault_in_store_or_policy_is_caught(ran, tiny, call, name):
    """What was sound before the fault is not green after it, and the reason names the fault."""
    change, code, words = STORED[name]
    change(tiny)

    found, out, err = call("gate", "tiny.toml")

    assert found == code
    assert " ".join(words.split()) in " ".join((out + err).split())
    assert "internal error" not in err


@pytest.mark.slow
@pytest.mark.parametrize("change", [changed_forecast, deleted_forecasts])
def test_damaged_forecasts_are_made_again(finished, tiny, call, caplog, change, page_unread):
    """`compare` says what is not as it was sealed; made again it must be the same, and it is."""
    change(tiny)
    assert call("gate", "tiny.toml")[0] == 5

    code, out, _ = call("compare", "tiny.toml")

    assert code == 0
    assert out.startswith("PROMOTE")
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "new/GOLD/1 is forecast again"
    ]


@pytest.mark.slow
def test_damaged_forecasts_that_come_out_otherwise_are_not_accepted(
    finished, tiny, call, page_unread
):
    """Other numbers in place of damaged ones are no result until the sealed ones are given up."""
    store, key, seal = part_of("new")
    other = dataclasses.replace(seal, digests=("0" * 64, *seal.digests[1:]))
    store.seal(seal.fit, None, key, other)
    deleted_forecasts(tiny)

    code, out, _ = call("run", "tiny.toml")

    assert code == 0
    assert "new/GOLD/1: the forecast of" in out
    assert f"`abharness store drop {key} --why`" in out
    assert call("gate", "tiny.toml")[0] == 5
    store.journal.append("drop", key, {"why": "a test"})
    assert call("compare", "tiny.toml")[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["torn", "empty", "other"])
def test_torn_scores_are_derived_again(finished, call, damage):
    """Scores follow from stored forecasts, so a file of them that is torn costs nothing."""
    whole = {file: file.read_bytes() for file in Path("runs/scores").glob("*.scores")}
    for file, content in whole.items():
        file.write_bytes({"torn": content[:-100], "empty": b""}.get(damage, b""))
        if damage == "other":
            pq.write_table(pa.table({"step": [1, 2]}), file)

    code, out, _ = call("gate", "tiny.toml")

    assert code == 0
    assert out.startswith("PROMOTE")
    assert {file: file.read_bytes() for file in whole} == whole


@pytest.mark.slow
@pytest.mark.parametrize("name", RUN)
def test_fault_of_an_arm_is_caught(tiny, call, in_process, tmp_path, name):
    """An arm that breaks or answers nonsense is never promoted, and what it broke is named."""
    change, code, words = RUN[name]
    (tmp_path / "constant.py").write_text(CONSTANT, encoding="utf-8")
    split = _grid().splits["GOLD"]
    last = split.dataset.series.target[split.windows.origin[20] - 1]
    tiny((change[0], change[1].replace(HARD, repr(float(last)))))
    call("run", "tiny.toml")

    found, out, _ = call("gate", "tiny.toml")

    assert found == code
    assert words in " ".join(out.split())


@pytest.mark.slow
def test_swapped_arms_are_the_opposite_verdict(ran, call):
    """Naming the arms the wrong way round turns a PROMOTE into a REJECT."""
    assert call("gate", "tiny.toml")[0] == 0
    assert call("gate", "tiny.toml", "--baseline-arm", "new", "--candidate-arm", "old")[0] == 3


def test_duplicated_cell_is_invalid(ran):
    """A unit that is scored twice is named, not averaged in."""
    grid = _grid()
    found = scored(grid, open_store(Path("runs"))).scores
    cells = [Cell(arm=c.arm.name, dataset=c.dataset, seed=c.seed) for c in grid.cells]

    verdict = verdict_on(grid.experiment.policy, cells, [*found, found[1]])

    assert verdict.exit_code == 5
    assert "new on GOLD, seed 1 has scores 2 times." in verdicts.problems(verdict)


def test_scores_of_other_data_under_the_same_name_are_invalid(ran):
    """An arm judged against other actuals than the others is refused."""
    grid = _grid()
    found = scored(grid, open_store(Path("runs"))).scores
    found[1] = dataclasses.replace(found[1], truth_digest="0" * 64)
    cells = [Cell(arm=c.arm.name, dataset=c.dataset, seed=c.seed) for c in grid.cells]

    verdict = verdict_on(grid.experiment.policy, cells, found)

    assert verdict.exit_code == 5
    assert "not all arms were judged against the same actuals" in verdicts.summary(verdict)


@pytest.mark.slow
def test_other_data_under_the_same_name(tiny, call, in_process):
    """A data file that changed is refused; with a manifest to match, nothing old counts for it."""
    rows = (builtin_folder() / "GOLD.csv").read_text(encoding="utf-8").splitlines()[-500:]
    lines = ["day,price", *(",".join(row.split(",")[:2]) for row in rows), ""]
    tiny(('["GOLD"]', '["OWN"]'))
    make = ("data", "import", "own.csv", "--id", "OWN", "--target", "price", "--date", "day")
    Path("own.csv").write_text("\n".join(lines), encoding="utf-8")
    call(*make, "--to", "mine")
    call("run", "tiny.toml", "--data-dir", "mine")
    sound = call("gate", "tiny.toml", "--data-dir", "mine")[0]
    lines[-3] = lines[-3].split(",")[0] + ",9999"

    Path("mine/OWN.csv").write_text("\n".join(lines), encoding="utf-8")
    code, _, err = call("gate", "tiny.toml", "--data-dir", "mine")
    Path("own.csv").write_text("\n".join(lines), encoding="utf-8")
    call(*make, "--to", "fresh")

    assert sound in (0, 3, 4)
    assert code == 2
    assert "OWN" in err
    assert call("gate", "tiny.toml", "--data-dir", "fresh")[0] == 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"outcome": "PROMOTE"', '"outcome": "REJECT"', ": outcome, findings"),
        ('"margin": 0.05', '"margin": 0.5', "policy.criteria[0].margin"),
        ('"n": 40', '"n": 41', "findings[GOLD:crps:guardrail].comparison.sample.n"),
        ('"owner": ', '"owner": ', ""),
    ],
)
def test_edited_verdict_is_caught(finished, call, old, new, words):
    """A word, a number or a rule changed in a drawn verdict is named by `replay`."""
    file = next(Path("runs/verdicts/tiny").glob("*/verdict.json"))
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(old, new), encoding="utf-8")

    code, out, err = call("replay", file)

    if old == new:
        assert (code, err) == (0, "")
        assert out.startswith("the same, byte by byte: PROMOTE")
    else:
        assert code == 5
        assert words in out
        assert "verdict.json: is not as it was drawn from the record of" in out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("inputs", lambda body: body["given"]["stride"].update(GOLD=6), "inputs: are not those"),
        ("verdict", lambda body: body["policy"].update(alpha=0.2), "policy does not fit"),
    ],
)
def test_a_record_that_does_not_fit_the_others_is_caught(finished, call, kind, change, words):
    """Inputs or a policy written in place of those that were judged are named by `replay`."""
    journal = open_store(Path("runs")).journal
    (name,) = journal.newest("verdict")
    body = journal.latest(kind, name)
    change(body)
    journal.append(kind, name, body)

    code, out, _ = call("replay", name, "--store", "runs")

    assert code == 5
    assert words in out


def test_other_scores_of_the_same_meaning_are_a_pipeline_error(finished, call):
    """The same unit with other numbers than in an earlier verdict is called an error."""
    rewrite("new", edited("point", lambda values: values * 1.001))

    code, out, _ = call("gate", "tiny.toml")

    assert code == 5
    assert "an error of the pipeline" in " ".join(out.split())
