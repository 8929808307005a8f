"""What a user gets wrong ends with code 2 and one line that says where and what was expected."""

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from harness.data.dataset import builtin_folder
from harness.running.store_folder import open_store

HEAD = "date,price\n"
ROWS = "2020-01-02,10\n2020-01-03,11\n2020-01-06,12\n"


@pytest.mark.parametrize("verb", ["compare", "run", "gate", "report", "config", "arms"])
def test_missing_experiment_file(tiny, refused, verb):
    """Every verb that takes an experiment names the file that is not there, and the built-in."""
    line = refused(verb, "nowhere.toml")

    assert "nowhere.toml: no such file" in line
    assert "quick" in line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[plan]", "[plan", ["not valid TOML", "line 5"]),
        ("origins = 40", f"origins = {'9' * 5000}", ["not valid TOML", "digits"]),
        ("[plan]", f"deep = {'[' * 3000}\n[plan]", ["not valid TOML", "recursion"]),
        ("schema = 1", "schema = 1\ncolour = 1", ["unknown key 'colour'", "datasets"]),
        ("horizon = 5", "horizont = 5", ["[plan]", "unknown key 'horizont'", "horizon"]),
        ("seeds =", "seed =", ["[run]", "unknown key 'seed'", "seeds"]),
        ('mode = "replace"', 'mood = "x"', ["[policy]", "unknown key 'mood'", "mode"]),
        ("margin = 0.05", "margins = 0.05", ["criteria[0]", "unknown key 'margins'", "margin"]),
        ('role = "legacy"', 'role = "legacy"\ncolour = 1', ["'old'", "'colour'", "context"]),
        ("stride = 5\n", "", ["[plan]", "missing key 'stride'"]),
        ('datasets = ["GOLD"]\n', "", ["missing key 'datasets'"]),
        ('role = "legacy"\n', "", ["'old'", "missing key 'role'"]),
        ('baseline = "old"\n', "", ["[policy]", "missing key 'baseline'"]),
        ('metric = "crps"\n', "", ["criteria[0]", "missing key 'metric'"]),
        ("horizon = 5", 'horizon = "5"', ["[plan]", "horizon = '5'", "integer"]),
        ("horizon = 5", "horizon = true", ["[plan]", "horizon = True", "integer"]),
        ("horizon = 5", "horizon = 0", ["horizon = 0", "1 or more"]),
        ("horizon = 5", 'horizon = 5\nfirst = "May"', ["first = 'May'", "date"]),
        ("seeds = [1, 2]", "seeds = [1.5]", ["[run]", "seeds", "integer"]),
        ("seeds = [1, 2]", "seeds = []", ["[run]", "seeds is empty"]),
        ("seeds = [1, 2]", "seeds = [-1]", ["[run]", "seeds", "0 or more"]),
        ("[run]\n", "[run]\nthreads = 0\n", ["[run]", "threads = 0", "more than 0"]),
        ('title = "Tiny"', "title = 3", ["title = 3", "expected a text"]),
        ('datasets = ["GOLD"]', 'datasets = "GOLD"', ["datasets = 'GOLD'", '["GOLD"]']),
        ("schema = 1", "schema = 2", ["schema = 2", "reads 1"]),
        ('role = "legacy"', 'role = "old"', ["role = 'old'", "legacy, candidate, reference"]),
        ('role = "legacy"', 'role = "legacy"\nday = 2020-01-02', ["'old'", "dates in quotes"]),
        ("[run]\nseeds = [1, 2]", "[run.seeds]\na = 1", ["[run]", "seeds", "expected"]),
        ("[plan]\n", "[plan.SILVER]\nstride = 1\n[plan]\n", ["[plan.SILVER]", "GOLD"]),
        (":Flat", ":Round", ["'old'", "no class 'Round'", "Flat, Keeper, Learner, Sampler"]),
        ("arms_for_tests:Flat", "nowhere_at_all:Flat", ["'old'", "module 'nowhere_at_all'"]),
        ("arms_for_tests:Flat", "Flat", ["use = 'Flat'", "module:Class"]),
        ('baseline = "old"', 'baseline = "off"', ["baseline = 'off'", "old, new, draws"]),
        ('candidate = "new"', 'candidate = "old"', ["both 'old'"]),
        ('name = "new"', 'name = "old"', ["two arms are named 'old'"]),
        ('metric = "crps"', 'metric = "cprs"', ["metric = 'cprs'", "'crps'", "rmse"]),
        ('metric = "crps"', 'metric = "coverage_80"', ["coverage_80", "[[policy.coverage]]"]),
        ("margin = 0.05", "margin = 2.0", ["margin = 2.0", "less than 1"]),
        ('mode = "replace"', 'mode = "guess"', ["mode = 'guess'", "'replace' or 'improve'"]),
        ("origins = 40", "origins = 4000", ["[plan]", "GOLD", "4000 origins", "fewer"]),
        ("horizon = 5", "horizon = 50000", ["horizon 50000", "GOLD", "sessions"]),
        ("horizon = 5", 'horizon = 5\nfirst = "2012-12-30"', ["GOLD", "row"]),
        ('["GOLD"]', '["SILVER"]', ["no dataset 'SILVER'", "DOW_JONES, GOLD"]),
        ('["GOLD"]', '["GOLD", "GOLD"]', ["datasets", "each id once"]),
    ],
)
def test_fault_in_the_experiment(tiny, refused, old, new, words):
    """Whatever is wrong in the file is named with its table and key, before anything runs."""
    file = tiny((old, new))

    line = refused("run", file)

    assert all(word in line for word in words), line
    assert not Path("runs/parts").exists()


ODD_ARMS = {
    "quits on import": ("raise SystemExit(0)", "sys.exit(0)"),
    "quits on import as if rejected": ("raise SystemExit(3)", "sys.exit(3)"),
    "quits when built": ("def __init__(self): raise SystemExit(0)", "sys.exit(0)"),
    "quits when asked for weights": (
        "def weight_files(self): raise SystemExit(0)", "sys.exit(0)"
    ),
    "breaks when asked for weights": (
        "def weight_files(self): raise RuntimeError('not now')", "RuntimeError: not now"
    ),
    "names weights that are not there": (
        "def weight_files(self): return ['nowhere/w.pt']", "weights nowhere/w.pt cannot be read"
    ),
    "breaks when asked whether it draws": (
        "seed = forecast\n    draws = property(lambda self: 1 / 0)", "ZeroDivisionError"
    ),
    "breaks when looked at": (
        "context_length = property(lambda self: 1 / 0)", "ZeroDivisionError"
    ),
}  # fmt: skip
"""Arms whose code does what it should not, outside of any forecast; words of the line."""


@pytest.mark.parametrize(
    ("name", "verb"),
    [
        *((name, "compare") for name in ODD_ARMS),
        *(("quits on import", verb) for verb in ("run", "gate", "report")),
    ],
)
def test_an_arm_ends_no_command(ran, tiny, refused, name, verb):
    """An arm that quits or breaks when imported, built or asked is wrong input, never code 0.

    All verbs ask an arm through the same door.
    """
    body, words = ODD_ARMS[name]
    module = f"odd_{abs(hash((name, verb)))}"
    text = f"    context_length = 3\n    def forecast(self, contexts): return None\n    {body}\n"
    whole = body if "import" in name else f"class Odd:\n{text}"
    Path(f"{module}.py").write_text(whole, encoding="utf-8")
    tiny(("arms_for_tests:Sampler", f"{module}:Odd"))

    line = refused(verb, "tiny.toml")

    assert "arm 'draws'" in line
    assert words in line


def test_an_exit_from_anywhere_is_no_verdict(tiny, call, monkeypatch):
    """Where a user's code is reached unguarded after all, asking for 0 still ends in 1."""

    def quits(*_, **__):
        raise SystemExit(0)

    monkeypatch.setattr("harness.verbs.gate.opened", quits)

    code, out, err = call("gate", "tiny.toml")

    assert (code, out) == (1, "")
    assert "ended by sys.exit(0) before there was a result" in err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compare", "--bogus"], ["--bogus"]),
        (["compere"], ["'compere'"]),
        (["run", "tiny.toml", "more.toml"], ["more.toml"]),
        (["run", "tiny.toml", "--workers", "two"], ["--workers", "integer"]),
        (["run", "tiny.toml", "--workers", "-1"], ["--workers", "0"]),
        (["run", "tiny.toml", "--only", "young"], ["--only 'young'", "draws, new, old", "GOLD"]),
        (["run", "tiny.toml", "--shard", "3/2"], ["--shard '3/2'", "1 <= i <= n"]),
        (["run", "tiny.toml", "--shard", "0/2"], ["--shard '0/2'", "2/4"]),
        (["run", "tiny.toml", "--shard", "half"], ["--shard 'half'", "i/n"]),
        (["run", "tiny.toml", "--shard", "1/2", "--strict"], ["with --strict", "whole grid"]),
        (["run", "tiny.toml", "--shard", "1/2", "--recompute"], ["with --recompute"]),
        (["run", "tiny.toml", "--shard", "1/2", "--on", "ray"], ["with --on"]),
        (["run", "tiny.toml", "--seeds", "1,b"], ["--seeds '1,b'", "1,2,3"]),
        (["run", "tiny.toml", "--seeds", "1,1"], ["seeds", "each seed once"]),
        (["gate", "tiny.toml", "--hold-as", "maybe"], ["--hold-as", "'fail', 'pass'"]),
        (["gate", "tiny.toml"], ["runs: no store here", "abharness run"]),
        (["report", "tiny.toml"], ["runs: no store here"]),
        (["data", "show", "SILVER"], ["no dataset 'SILVER'", "DOW_JONES, GOLD"]),
        (["data", "show", "../GOLD"], ["'../GOLD'", "letters"]),
        (["data", "list", "--data-dir", "nowhere"], ["nowhere: no such folder"]),
        (["data", "import", "prices.csv"], ["--id"]),
    ],
)
def test_fault_on_the_command_line(tiny, refused, arguments, words):
    """A flag or argument that cannot be used is named with what was expected."""
    line = refused(*arguments)

    assert all(word in line for word in words), line


def test_all_that_a_command_lacks_is_named_at_once(refused):
    """Every required argument and option that was left out, and the help of that very verb."""
    line = refused("data", "import", "prices.csv", "--date", "day")

    assert "Missing option '--id', option '--target'" in line
    assert "see abharness data import --help" in line


def test_a_printed_command_has_what_was_given(tiny, refused):
    """The command of a hint can be pasted: experiment and options are those of the one refused."""
    line = refused(
        "gate", "tiny.toml", "--store", "no store", "--seeds", "1", "--set", "plan.origins=39"
    )

    assert "`abharness run tiny.toml --seeds 1 --set plan.origins=39 --store 'no store'`" in line


@pytest.mark.slow
def test_arms_to_judge_must_exist(ran, refused):
    """An arm asked for by flag that the experiment does not have is named with those it has."""
    for flag in ("--baseline-arm", "--candidate-arm"):
        assert f"{flag} 'x': no such arm; there are old, new" in refused(
            "gate", "tiny.toml", flag, "x"
        )
    assert "both 'new'" in refused("gate", "tiny.toml", "--baseline-arm", "new")


def test_report_needs_a_verdict(ran, refused):
    """A store without a verdict of the experiment says which command makes one."""
    line = refused("report", "tiny.toml")

    assert "no verdict yet" in line
    assert "abharness gate" in line


def test_report_needs_the_verdict_of_this_grid(finished, tiny, refused):
    """After the experiment changed, its old verdict is not drawn as if it were the new one."""
    tiny(("margin = 0.05", "margin = 0.05\n"), ("origins = 40", "origins = 39"))

    assert "on a grid other than" in refused("report", "tiny.toml")


LONG = "a" * 300


@pytest.mark.parametrize(
    "arguments",
    [
        ("data", "show", LONG),
        ("data", "import", "prices.csv", "--id", LONG, "--target", "price", "--date", "date"),
        ("run", f"{LONG}.toml"),
        ("run", "tiny.toml", "--data-dir", LONG),
        ("run", "tiny.toml", "--store", LONG),
        ("compare", "tiny.toml", "--policy", LONG),
        ("replay", LONG),
        ("check", "random-walk", "--only", "T34", "--store", LONG),
        ("report", "--nights", "--store", LONG),
    ],
)
def test_names_the_system_refuses(tiny, refused, arguments):
    """A name that is too long for a file is one line, wherever it is given."""
    Path("prices.csv").write_text(HEAD + ROWS, encoding="utf-8")

    assert "File name too long" in refused(*arguments)


@pytest.mark.parametrize("verb", ["run", "compare"])
def test_a_name_that_is_no_text(tiny, refused, verb):
    """An experiment file whose name is not UTF-8 is refused before anything runs."""
    file = tiny(name=os.fsdecode(b"b\xe9.toml"))

    line = refused(verb, file)

    assert "b\\udce9.toml: the name of the file is not UTF-8" in line
    assert not Path("runs/parts").exists() or not list(Path("runs/parts").iterdir())


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "page.html"), 2),
        (OSError(errno.ENOSPC, "No space left on device"), 2),
        (ChildProcessError(errno.ECHILD, "No child processes"), None),
        (OSError("something else"), None),
    ],
)
def test_what_the_system_refuses_is_no_fault_of_ours(tiny, call, monkeypatch, problem, code):
    """A file or a disk that is refused ends in 2; other errors of the system stay crashes."""

    def refuses(*_, **__):
        raise problem

    monkeypatch.setattr("harness.verbs.run.opened", refuses)

    if code is None:
        with pytest.raises(OSError, match=str(problem.strerror or problem)):
            call("run", "tiny.toml")
    else:
        found, out, err = call("run", "tiny.toml")
        assert (found, out) == (code, "")
        assert err.count("\n") == 1
        assert problem.strerror in err


@pytest.mark.slow
@pytest.mark.parametrize("place", ["taken", "taken/deeper/store"])
def test_store_that_cannot_be_written(tiny, refused, place):
    """A file where the folder should be is named; root may write anywhere else."""
    Path("taken").write_text("mine", encoding="utf-8")

    line = refused("run", "tiny.toml", "--store", place)

    assert f"{place}: store cannot be written" in line
    assert Path("taken").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("verb", ["run", "compare", "gate", "report"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("PRAGMA user_version = 99", ["newer version", "schema 99", "up to 1"]),
        ("PRAGMA application_id = 7", ["not the records of a store"]),
        ("{torn", ["damaged", "not a database", "store adopt"]),
    ],
)
def test_store_of_another_making(tiny, refused, verb, content, words):
    """A store made by a newer version, or that is none, is refused by its file."""
    journal = open_store(Path("runs")).journal
    journal.close()
    if content.startswith("PRAGMA"):
        connection = sqlite3.connect(journal.path)
        connection.execute(content)
        connection.close()
    else:
        journal.path.write_text(content, encoding="utf-8")

    line = refused(verb, "tiny.toml")

    assert all(word in line for word in ["runs/records.sqlite", *words])


def test_damaged_forecasts(ran, call):
    """Forecasts that are gone allow no conclusion, and are named by their file."""
    file = next(Path("runs/parts").iterdir())
    file.unlink()

    code, out, _ = call("gate", "tiny.toml")

    assert code == 5
    assert file.name in "".join(out.split())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["empty"]),
        (HEAD, ["prices.csv"]),
        ("date,cost\n2020-01-02,10\n", ["'price'", "date, cost"]),
        (HEAD + "2020-01-02,10\n2020-01-06,12\n2020-01-03,11\n", ["line 4", "2020-01-03"]),
        (HEAD + "2020-01-02,10\n2020-01-02,11\n", ["line 3", "2020-01-02"]),
        (HEAD + "2020-01-02,10\n2020-01-03,ten\n", ["line 3", "price", "'ten'"]),
        (HEAD + "2020-01-02,10\nsoon,11\n", ["line 3", "date", "'soon'"]),
        (HEAD + "2020-01-02,10\n2020-01-03,\n", ["line 3", "price"]),
        (HEAD + "2020-01-02,10\n2020-01-03,nan\n", ["line 3", "price", "nan"]),
        (HEAD + "2020-01-02,10\n2020-01-03,-1\n", ["line 3", "price", "-1"]),
        (HEAD + "2020-01-02,10\n2020-01-03,11,12\n", ["line 3"]),
    ],
)
@pytest.mark.parametrize("way", ["import", "data-dir"])
def test_fault_in_a_data_file(tiny, refused, way, content, words):
    """A fault is named by file, line, column and value, imported or described by a manifest."""
    folder = Path("mine")
    folder.mkdir()
    file = folder / "prices.csv"
    file.write_text(content, encoding="utf-8")
    if way == "import":
        line = refused(
            *("data", "import", file, "--id", "X", "--target", "price", "--date", "date"),
            *("--to", "to"),
        )
        assert not Path("to").exists()
    else:
        manifest = (builtin_folder() / "GOLD.toml").read_text(encoding="utf-8")
        for old, new in (
            ('"GOLD"', '"X"'),
            ('"GOLD.csv"', '"prices.csv"'),
            ('"gold"', '"price"'),
            ('["silver"]', "[]"),
        ):
            manifest = manifest.replace(old, new)
        (folder / "X.toml").write_text(manifest, encoding="utf-8")
        tiny(('["GOLD"]', '["X"]'))
        line = refused("run", "tiny.toml", "--data-dir", folder)

    assert all(word in line for word in [str(file), *words]), line


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("rows = 9132", "rows = 9133", ["9132 rows", "9133"]),
        ("season = 5", "saison = 5", ["GOLD2.toml", "saison"]),
        ("season = 5", 'season = "5"', ["GOLD2.toml", "season"]),
        ("schema = 1", "schema = 2", ["GOLD2.toml", "schema"]),
        ('target = "gold"', 'target = "cost"', ["GOLD.csv", "cost"]),
        ('file = "GOLD.csv"', 'file = "LEAD.csv"', ["LEAD.csv"]),
        ('"aa58', '"bb58', ["GOLD.csv", "sha256"]),
    ],
)
def test_fault_in_a_manifest(tiny, refused, old, new, words):
    """A manifest that is wrong, or does not fit its file, is named with the key."""
    folder = Path("mine")
    folder.mkdir()
    shutil.copy(builtin_folder() / "GOLD.csv", folder)
    text = (builtin_folder() / "GOLD.toml").read_text(encoding="utf-8")
    assert old in text
    changed = text.replace(old, new).replace('id = "GOLD"', 'id = "GOLD2"')
    (folder / "GOLD2.toml").write_text(changed, encoding="utf-8")

    line = refused("data", "show", "GOLD2", "--data-dir", folder)

    assert all(word in line for word in words), line


def test_missing_data_file_to_import(tiny, refused):
    """A file that is not there is named."""
    line = refused("data", "import", "no.csv", "--id", "X", "--target", "p", "--date", "d")

    assert "no.csv" in line


def test_wrong_column_to_import(tiny, refused):
    """A column that is not in the file is named with those that are."""
    Path("prices.csv").write_text(HEAD + ROWS, encoding="utf-8")

    line = refused(
        "data", "import", "prices.csv", "--id", "X", "--target", "close", "--date", "date"
    )

    assert "prices.csv" in line
    assert "'close'" in line
    assert "date, price" in line


def test_two_datasets_of_one_name(tiny, refused):
    """A dataset that is found twice in folders of the user's is refused, not chosen from."""
    for name in ("one", "other"):
        shutil.copytree(builtin_folder(), name)

    line = refused("run", "tiny.toml", "--data-dir", "one", "--data-dir", "other")

    assert "two datasets are called 'DOW_JONES'" in line or "'GOLD'" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nowhere.toml"], "nowhere.toml: no such file"),
        (["run", "tiny.toml", "--bogus"], "--bogus"),
        (["--debug", "run", "nowhere.toml"], "nowhere.toml: no such file"),
    ],
)
def test_real_process(tiny, arguments, words):
    """A process of its own ends with 2 and one line, and with a traceback only on request."""
    command = [sys.executable, "-P", "-m", "harness", *arguments]

    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"COLUMNS": "40"}, check=False
    )

    assert done.returncode == 2
    assert done.stdout == ""
    assert words in done.stderr
    assert ("Traceback" in done.stderr) == ("--debug" in arguments)
    assert "--debug" in arguments or done.stderr.count("\n") == 1
