"""Filling the grid: what is there stays, what is missing is run, what breaks becomes rows."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.data.dataset import builtin_folder
from harness.experiments.experiment import read_experiment
from harness.gate.stored_scores import score_grid
from harness.gate.upkeep import check_store
from harness.running import fill
from harness.running.cells import read_cell
from harness.running.executor import LocalProcesses
from harness.running.fill import default_workers, prepare
from harness.running.grid import select
from harness.running.identity import owner_mark
from harness.running.store_folder import Store, open_store

pytestmark = pytest.mark.usefixtures("known_charts")  # its pages show one market


def grid_of(file="tiny.toml", folders=()):
    store = open_store(Path("runs"), create=False) if Path("runs").exists() else None
    return prepare(read_experiment(str(file)), folders, store)


def keys():
    return {folder.name for folder in Path("runs/fits").iterdir()}


def files():
    """Every file of forecasts and of fits, with when it was written."""
    folders = (Path("runs/parts"), Path("runs/fits"))
    return {file: file.stat().st_mtime_ns for folder in folders for file in folder.rglob("*")}


def rows_of(grid, name):
    """What is stored of the first cell whose text contains a name."""
    cell = next(cell for cell in grid.cells if name in str(cell))
    return read_cell(open_store(Path("runs"), create=False), cell)


def computed(call, *arguments):
    """Run, and give the numbers of units asked for, declared and computed now."""
    code, out, _ = call("run", *arguments)
    assert code == 0
    found = re.match(r"(\d+) units of (\d+) in \S+, (\d+) computed now", out)
    assert found, out
    return tuple(map(int, found.groups()))


def test_second_call_computes_nothing(ran, call):
    """Everything is run once; asked again, nothing is."""
    before = files()

    assert computed(call, "tiny.toml") == (5, 5, 0)

    assert files() == before
    assert list(Path("runs/tmp").iterdir()) == []


def test_changed_option_recomputes_that_arm(ran, tiny, call):
    """Another option of one arm is another result of that arm, and of no other."""
    tiny(('role = "legacy"', 'role = "legacy"\ncontext = 31'))

    assert computed(call, "tiny.toml") == (5, 5, 1)
    assert len(keys()) == 6


def test_renaming_recomputes_nothing(ran, tiny, call):
    """Names of arms, the file's name and title, the policy and the worker count are not asked."""
    tiny(
        ('"old"', '"former"'),
        ('title = "Tiny"', 'title = "Other"'),
        ("margin = 0.05", "margin = 0.10"),
        name="other.toml",
    )

    assert computed(call, "other.toml", "--workers", "3") == (5, 5, 0)


def test_grid_is_declared_whole(tiny, call, in_process):
    """Every cell is written down before anything runs, also where only a part is asked for."""
    computed(call, "tiny.toml", "--only", "old")

    record = open_store(Path("runs")).journal.latest("grid", "tiny")

    assert [f"{c['arm']}/{c['dataset']}/{c['seed']}" for c in record["cells"]] == [
        "old/GOLD/1",
        "new/GOLD/1",
        "new/GOLD/2",
        "draws/GOLD/1",
        "draws/GOLD/2",
    ]
    assert record["text"] == Path("tiny.toml").read_text(encoding="utf-8")
    assert len(keys()) == 1


@pytest.mark.slow
def test_only_takes_a_part(tiny, call, in_process):
    """Patterns match an arm, a dataset, or arm/dataset/seed; several add up."""
    assert computed(call, "tiny.toml", "--only", "new") == (2, 5, 2)
    assert computed(call, "tiny.toml", "--only", "*/GOLD/2") == (2, 5, 1)
    assert computed(call, "tiny.toml", "--only", "old", "--only", "new") == (3, 5, 1)
    assert computed(call, "tiny.toml", "--only", "GOLD") == (5, 5, 1)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shards_are_a_partition(tiny, count):
    """Shards are disjoint, their union is the grid, and their sizes differ by one at most."""
    cells = grid_of().cells

    shards = [select(cells, shard=(i, count)) for i in range(1, count + 1)]

    assert sorted(str(c) for shard in shards for c in shard) == sorted(map(str, cells))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@pytest.mark.slow
def test_shards_fill_one_store(tiny, call, in_process, monkeypatch):
    """Shards seal nothing and deliver once; the next run without one asks no arm and seals all."""
    assert computed(call, "tiny.toml", "--shard", "1/2") == (3, 5, 3)
    assert computed(call, "tiny.toml", "--shard", "1/2") == (3, 5, 0)
    assert computed(call, "tiny.toml", "--shard", "2/2") == (2, 5, 2)
    assert open_store(Path("runs")).parts() == {}

    monkeypatch.setattr(fill, "LocalProcesses", None)

    sealed, nothing = (call("run", "tiny.toml")[1].splitlines()[0] for _ in range(2))
    count = "5 units of 5 in runs, 0 computed now"
    assert (sealed, nothing) == (f"{count}, 5 sealed from what shards had computed", count)
    assert list(Path("runs/incoming").iterdir()) == []


def test_other_seeds(ran, call):
    """Seeds given by flag replace those of the file, and the store keeps both."""
    assert computed(call, "tiny.toml", "--seeds", "1,2,3") == (7, 7, 2)


FAULTY = """
[[arms]]
name = "dies"
use = "arms_for_tests:Flat"
role = "reference"
fault = "die"

[[arms]]
name = "waits"
use = "arms_for_tests:Flat"
role = "reference"
wait_s = 600.0

[[arms]]
name = "eats"
use = "arms_for_tests:Flat"
role = "reference"
fault = "eat"

[[arms]]
name = "raises"
use = "arms_for_tests:Flat"
role = "reference"
fault = "raise"

[policy]
"""


@pytest.mark.slow
def test_broken_units_are_rows_and_the_others_go_on(tiny, call):
    """A crash, a hang and a memory hog become failed rows with the reason; the rest is unharmed."""
    tiny(
        ("\n[policy]\n", FAULTY), ("[run]\n", "[run]\ntime_limit_s = 12\nmemory_limit_mib = 600\n")
    )

    code, out, err = call("run", "tiny.toml")

    assert code == 0
    assert "9 units of 9" in out
    failed = [line.split(": ")[1] for line in out.splitlines() if line.startswith("failed")]
    assert failed == [f"{name}/GOLD/1" for name in ("dies", "waits", "eats", "raises")]
    grid = grid_of()
    for name, words in (
        ("dies", "ended with exit code 3"),
        ("waits", "the time limit is 12 s"),
        ("eats", "the memory limit is 600 MiB"),
        ("raises", "RuntimeError: told to <raise>"),
    ):
        assert all(words in reason for reason in rows_of(grid, name).reason), name
        assert words in err or name == "raises"
    assert len(rows_of(grid, "dies").reason) == 40
    for name in ("old", "new/GOLD/1", "new/GOLD/2", "draws/GOLD/1"):
        assert rows_of(grid, name).reason == ("",) * 40
    assert list(Path("runs/tmp").iterdir()) == [] or call("run", "tiny.toml")[0] == 0
    assert list(Path("runs/tmp").iterdir()) == []


STARTS = """
import os
import subprocess
import time
from pathlib import Path

from arms_for_tests import Flat


class Dies(Flat):
    def forecast(self, contexts):
        print("on \\x1b[31mstandard output", flush=True)
        os.write(2, b"last words \\xff\\x1b\\n\\n")
        os.kill(os.getpid(), self.context)
"""


@pytest.mark.slow
def test_last_words_of_a_unit_are_kept(tiny, call, tmp_path):
    """What a process printed before it died is in its unit's log, its last line in the reason."""
    (tmp_path / "starting_arms.py").write_text(STARTS, encoding="utf-8")
    tiny(('"arms_for_tests:Flat"', '"starting_arms:Dies"\ncontext = 11'))

    code, _, _ = call("run", "tiny.toml", "--only", "old")

    assert code == 0
    unit = rows_of(grid_of(), "old")
    said = "last words \ufffd\\x1b"
    assert set(unit.reason) == {f"the process was ended by SIGSEGV; its log ends with: {said}"}
    (log,) = Path("runs/fits").glob("*/log.txt")
    assert log.read_bytes() == b"on \x1b[31mstandard output\nlast words \xff\x1b\n\n"
    assert list(Path("runs/tmp").iterdir()) == []


def page_of(out: str) -> Path:
    """The page a command says it wrote."""
    return Path(out.split("page: ")[1].splitlines()[0])


@pytest.mark.slow
def test_failed_units_are_retried_when_asked(tiny, call, in_process):
    """Failures stay until asked for again; then only they are run, and their scores are new."""
    source = Path("arms_for_tests.py").read_text(encoding="utf-8")
    source += (
        "\n\nfrom pathlib import Path\n\n\nclass Moody(Flat):\n"
        "    def forecast(self, contexts):\n"
        "        if Path('bad-day').exists():\n"
        "            raise RuntimeError('bad day')\n"
        "        return Flat.forecast(self, contexts)\n"
    )
    Path("moody_arms.py").write_text(source, encoding="utf-8")
    tiny(("arms_for_tests:Flat", "moody_arms:Moody"))
    Path("bad-day").touch()
    assert call("compare", "tiny.toml")[0] == 5
    page = next(Path("runs/verdicts").rglob("report.html"))
    assert "INVALID" in page.read_text(encoding="utf-8")
    Path("bad-day").unlink()

    assert computed(call, "tiny.toml") == (5, 5, 0)
    assert computed(call, "tiny.toml", "--retry-failed") == (5, 5, 1)
    code, out, _ = call("compare", "tiny.toml")

    assert rows_of(grid_of(), "old").reason == ("",) * 40
    assert code == 0
    assert out.startswith("PROMOTE")
    drawn = page_of(out).read_text(encoding="utf-8")
    assert "PROMOTE" in drawn
    assert "bad day" not in drawn
    assert page_of(out) != page


@pytest.mark.slow
def test_an_answer_stopped_on_its_way_to_a_failures_place_leaves_that_whole(
    tiny, call, in_process, monkeypatch
):
    """Ended between file and seal the failure stands, sealed; asked again the answer counts."""
    Path("moody.py").write_text(
        "from pathlib import Path\nfrom arms_for_tests import Flat, Keeper\n\n\n"
        "class Moody(Flat):\n    def forecast(self, contexts):\n"
        "        assert not Path('bad-day').exists()\n"
        "        return Flat.forecast(self, contexts)\n\n\n"
        "class Untaught(Keeper):\n    def fit(self, context, *, seed):\n"
        "        assert not Path('bad-day').exists()\n"
        "        return Keeper.fit(self, context, seed=seed)\n"
    )
    tiny(("arms_for_tests:Flat", "moody:Moody"), ("arms_for_tests:Learner", "moody:Untaught"))
    Path("bad-day").touch()
    call("run", "tiny.toml")
    Path("bad-day").unlink()
    sealed = open_store(Path("runs")).parts()
    with monkeypatch.context() as patch:
        patch.setattr(Store, "seal", lambda *_: sys.exit("killed"))
        call("run", "tiny.toml", "--retry-failed")
    stopped = open_store(Path("runs"))

    assert stopped.parts() == sealed
    assert check_store(stopped).sound
    assert computed(call, "tiny.toml", "--retry-failed") == (5, 5, 3)
    mended = open_store(Path("runs"))
    assert all(not any(rows_of(grid_of(), name).reason) for name in ("old", "new"))
    assert check_store(mended).unsealed == ()


@pytest.mark.slow
def test_of_two_answers_without_records_the_later_is_adopted(tiny, call, in_process):
    """Where the records are lost, what took a failure's place takes it again."""
    Path("moody.py").write_text(
        "from pathlib import Path\nfrom arms_for_tests import Flat\n\n\n"
        "class Moody(Flat):\n    def forecast(self, contexts):\n"
        "        assert not Path('bad-day').exists()\n"
        "        return Flat.forecast(self, contexts)\n"
    )
    tiny(("arms_for_tests:Flat", "moody:Moody"))
    Path("bad-day").touch()
    call("run", "tiny.toml")
    failure = {file: file.read_bytes() for file in Path("runs/parts").iterdir()}
    Path("bad-day").unlink()
    call("run", "tiny.toml", "--retry-failed")
    for file in failure.keys() - set(Path("runs/parts").iterdir()):
        file.write_bytes(failure[file])
    Path("runs/records.sqlite").unlink()

    assert call("store", "adopt", "tiny.toml", "--why", "a test")[0] == 0

    assert rows_of(grid_of(), "old").reason == ("",) * 40


@pytest.mark.slow
def test_a_part_is_run_and_not_judged(tiny, call, in_process):
    """`compare --only` stores no verdict while cells are missing, and judges when none is."""
    code, first, _ = call("compare", "tiny.toml", "--only", "old")
    verdicts = list(Path("runs").rglob("verdict.json"))
    call("run", "tiny.toml")
    last, second, _ = call("compare", "tiny.toml", "--only", "old")

    assert (code, verdicts) == (0, [])
    assert first.startswith("1 units here, 4 of 5 are missing, such as ")
    assert "not judged" in first
    assert last == 0
    assert second.startswith("PROMOTE")


@pytest.mark.parametrize("model", ["nowhere/at-all", "empty"])
@pytest.mark.parametrize("verb", ["run", "compare"])
def test_missing_weights_end_a_run_before_it_starts(tiny, call, in_process, verb, model):
    """A hub model or a folder that lacks its weights is one line; nothing ran or is stored."""
    Path("empty").mkdir()
    Path("empty/config.json").write_text("{}", encoding="utf-8")
    arm = "candidates.hf_bayesian_autoformer:HFBayesianAutoformer"
    options = f'"{arm}"\nmodel = "{model}"\nlocal_only = true'
    tiny(('"arms_for_tests:Flat"', options))

    code, out, err = call(verb, "tiny.toml")

    assert (code, out) == (2, "")
    assert model in err.splitlines()[-1]
    assert not list(Path().glob("runs/parts/*"))
    assert not list(Path().glob("runs/verdicts/*"))


@pytest.mark.slow
def test_an_arm_that_failed_everywhere_is_said(tiny, call, in_process):
    """`run --strict` ends with 5 where an arm it was asked for has no forecast at all."""
    tiny(('role = "legacy"', 'role = "legacy"\nfault = "raise"'))

    code, out, _ = call("run", "tiny.toml", "--strict")
    part, other, _ = call("run", "tiny.toml", "--strict", "--only", "new")

    assert (code, part) == (5, 0)
    assert out.splitlines()[-1] == "every window failed: old"
    assert "every window failed" not in other


@pytest.mark.slow
def test_strict_data_ends_a_run_before_it_starts(tiny, call, in_process, tmp_path):
    """A failed update is said beside every run; with `--strict-data` it ends with 2."""
    told = ["--data-dir", "mine"]
    rows = "date,gold,silver\n2013-01-02,901.5,1601.5\n"
    Path("new.csv").write_text(rows, encoding="utf-8")
    call("data", "update", "GOLD", "new.csv", "--to", "mine")
    Path("new.csv").write_text(rows.replace("901.5", "91.5"), encoding="utf-8")
    call("data", "update", "GOLD", "new.csv", "--to", "mine")

    code, _, err = call("run", "tiny.toml", *told)
    strict, _, last = call("run", "tiny.toml", "--strict-data", *told)

    assert (code, strict) == (0, 2)
    assert "note: data not updated: GOLD: new.csv: 1 difference from the rows" in err
    assert "--strict-data: data not updated: GOLD" in last


def rows_in(store):
    """Every table of a store's parts and fits, as bytes."""
    files = [*store.glob("parts/*.parquet"), *store.glob("fits/*/*.parquet")]
    return {file.relative_to(store): file.read_bytes() for file in files}


@pytest.mark.slow
def test_worker_count_changes_no_forecast(ran, call, monkeypatch):
    """Fresh processes of two workers, and this one alone, write the same rows."""
    monkeypatch.setattr("harness.running.fill.LocalProcesses", LocalProcesses)

    assert call("run", "tiny.toml", "--store", "by-two", "--workers", 2)[0] == 0

    assert len(rows_in(ran)) == 7  # five parts and two curves
    assert rows_in(ran) == rows_in(Path("by-two"))


def test_same_name_other_data(tiny, call, in_process):
    """Two datasets under one name are never mixed up: not in units, scores or verdicts."""
    names = ("date", "price")
    lines = (builtin_folder() / "GOLD.csv").read_text(encoding="utf-8").splitlines()[-400:]
    prices = {line.split(",")[0]: float(line.split(",")[1]) for line in lines}
    for number in (1, 2):
        rows = [
            f"{day},{price * (1 + number * row / 1000)}"
            for row, (day, price) in enumerate(prices.items())
        ]
        file = Path(f"prices-{number}.csv")
        file.write_text("\n".join([",".join(names), *rows, ""]), encoding="utf-8")
        code, _, err = call(
            *("data", "import", file, "--id", "MINE", "--target", "price", "--date", "date"),
            *("--to", f"data-{number}"),
        )
        assert code == 0, err
    tiny(('["GOLD"]', '["MINE"]'))

    assert computed(call, "tiny.toml", "--data-dir", "data-1") == (5, 5, 5)
    assert computed(call, "tiny.toml", "--data-dir", "data-2") == (5, 5, 5)
    assert computed(call, "tiny.toml", "--data-dir", "data-1") == (5, 5, 0)

    store = open_store(Path("runs"), create=False)
    one, two = (score_grid(grid_of(folders=[Path(f"data-{n}")]), store) for n in (1, 2))
    assert [unit.truth_digest for unit in one] != [unit.truth_digest for unit in two]
    assert all((a.last != b.last).all() for a, b in zip(one, two, strict=True))
    code, _, err = call("report", "tiny.toml", "--data-dir", "data-2")
    assert code == 2
    assert "no verdict yet" in err


def test_progress_is_plain_lines_in_a_log(tiny, call, in_process):
    """Without a terminal each unit gets a line with how it ended and what is left."""
    code, _, err = call("run", "tiny.toml", "--workers", "1")

    lines = err.splitlines()
    assert code == 0
    assert lines[0] == "running 5 of 5 units on 1 worker"
    assert re.fullmatch(r"\[1/5\] old/GOLD/1: ok, [0-9.]+ s, (about|at least) .* left", lines[1])
    assert re.fullmatch(r"5/5 units in .*", lines[-1])
    assert "\r" not in err
    assert "\x1b" not in err


def test_an_origin_to_come_is_no_failure_in_the_progress(tiny, call, in_process):
    """An arm that fails where the outcome has not come, and nowhere else, is not said to fail."""
    tiny()
    (part,) = grid_of().splits.values()
    target = part.dataset.series.target
    judged, to_come = part.windows.origin[-1], part.issued.origin[-1]
    assert to_come == len(target) > judged
    use = 'use = "arms_for_tests:Flat"'
    tiny((use, f'{use}\nfault = "raise at"\nat = {float(target[to_come - 1])!r}'))

    _, _, err = call("run", "tiny.toml", "--only", "old")

    assert "old/GOLD/1: ok, no forecast for 1 window to come (" in err
    assert "failed windows" not in err


@pytest.mark.slow
def test_progress_counts_what_is_kept(tiny, call, in_process):
    """What the store holds already counts as done."""
    computed(call, "tiny.toml", "--only", "new")

    _, _, err = call("run", "tiny.toml")

    assert err.startswith("running 3 of 5 units on")
    assert "2 already in the store" in err
    assert "[3/5] old/GOLD/1" in err


def test_left_overs_of_the_dead_are_swept(tiny, call, in_process):
    """Folders of processes that are gone are removed; those of living ones are not."""
    open_store(Path("runs"))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    busy = f"{owner_mark()}busy"
    torn = busy.replace(f".{os.getpid()}-", f".{gone.pid}-")
    for name in (torn, busy):
        (Path("runs/tmp") / name).mkdir()
        (Path("runs/tmp") / name / "part").write_text("{", encoding="utf-8")

    assert computed(call, "tiny.toml") == (5, 5, 5)
    assert [folder.name for folder in Path("runs/tmp").iterdir()] == [busy]


@pytest.mark.parametrize("threads", [1, 2, 10_000])
def test_default_workers_fit_the_cores(threads):
    """There is at least one worker, and no more than cores over threads."""
    cores = default_workers(1)

    assert default_workers(threads) == max(1, cores // threads)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_interrupt_stops_and_resumes(tiny, call):
    """Ctrl-C ends with 130 and says how to go on; finished units are kept, the rest resumes."""
    tiny(
        ("arms_for_tests:Learner", "arms_for_tests:Flat"),
        ('role = "candidate"', 'role = "candidate"\nwait_s = 300.0'),
    )
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "harness", "run", "tiny.toml", "--workers", "2"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a background job of a shell inherits SIGINT ignored, and so would this process
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 60
        while len(list(Path("runs/parts").glob("*.parquet"))) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: parent and children
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()

    assert process.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == "stopped; everything finished is kept, the same command resumes"
    assert "Traceback" not in err
    kept = keys()
    assert len(kept) == 3
    assert computed(call, "tiny.toml", "--only", "old", "--only", "draws") == (3, 4, 0)
    assert list(Path("runs/tmp").iterdir()) == []
