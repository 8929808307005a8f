"""Both arms of a pair are tried for future-blindness before a verdict, once."""

from pathlib import Path

import pytest

from harness.checks.stored_checks import read_checks
from harness.experiments.experiment import read_experiment
from harness.running.fill import prepare
from harness.running.store_folder import open_store
from harness.verbs.check import try_blindness

PEEKING = '''\
from arms_for_tests import Flat


class Peeking(Flat):
    """Keeps the price of the latest session it ever saw."""

    latest = (0, 0.0)

    def forecast(self, contexts):
        dates = contexts.dates[:, -1].astype("int64")
        self.latest = max(self.latest, (int(dates.max()), float(contexts.last[dates.argmax()])))
        found = super().forecast(contexts)
        return type(found).of_point(found.point * 0 + self.latest[1])
'''


def tried(folder: Path):
    """The outcome of T10 by arm, of every stored check."""
    return {each.target: each.results[0].outcome for each in read_checks(open_store(folder))}


def grid_and_store(tmp_path):
    return prepare(read_experiment("tiny.toml"), []), open_store(tmp_path / "store")


@pytest.mark.slow
@pytest.mark.usefixtures("tiny", "in_process")
def test_both_sides_are_tried_once(tmp_path, call, capsys):
    """The answers are in the store, so a second call tries nothing."""
    grid, store = grid_and_store(tmp_path)
    call("run", "tiny.toml", "--store", tmp_path / "store")

    try_blindness(grid, store)
    first = capsys.readouterr().err
    try_blindness(grid, store)

    assert first.count("checking, once, whether") == 2
    assert capsys.readouterr().err == ""
    assert set(tried(store.root).values()) == {"pass"}
    assert set(tried(store.root)) == {
        grid.experiment.policy.baseline,
        grid.experiment.policy.candidate,
    }


@pytest.mark.slow
@pytest.mark.usefixtures("page_unread")
def test_an_arm_that_remembers_later_sessions_breaks_the_verdict(tiny, tmp_path, call):
    """A whole `compare` finds it out by itself and ends INVALID."""
    (tmp_path / "peeking_arms.py").write_text(PEEKING, encoding="utf-8")
    experiment = tiny(('use = "arms_for_tests:Flat"', 'use = "peeking_arms:Peeking"'))

    code, out, err = call("compare", experiment.name, "--store", tmp_path / "store")

    assert tried(tmp_path / "store") == {"old": "fail", "new": "pass"}, err
    assert code == 5
    assert "old knows what it cannot know" in " ".join(out.split())


@pytest.mark.slow
@pytest.mark.usefixtures("tiny", "in_process")
def test_what_cannot_be_tried_is_said_in_a_line(tmp_path, call, capsys, monkeypatch):
    """A check that breaks stops nothing and leaves the arm untested."""
    grid, store = grid_and_store(tmp_path)
    call("run", "tiny.toml", "--store", tmp_path / "store")
    monkeypatch.setattr("sys.executable", "/bin/false")

    try_blindness(grid, store)

    said = capsys.readouterr().err
    assert said.count("could not be tried: no reason given") == 2
    assert tried(store.root) == {}


@pytest.mark.slow
def test_only_what_was_run_is_tried_whatever_its_name(tiny, tmp_path, call, in_process, capsys):
    """A part of a grid tries the sides it has units of, also one whose name starts with a dash."""
    tiny(('name = "new"', 'name = "-new"'), ('candidate = "new"', 'candidate = "-new"'))
    grid, store = grid_and_store(tmp_path)
    call("run", "tiny.toml", "--store", tmp_path / "store", "--only", "*new*")

    try_blindness(grid, store)

    assert tried(store.root) == {"-new": "pass"}
    assert "could not be tried" not in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("os._exit(0)", "it ended without a result"),
        ("os.kill(os.getpid(), 9)", "its process was ended by SIGKILL"),
    ],
)
def test_a_check_that_ends_without_a_word_is_told(
    tiny, tmp_path, call, in_process, capsys, monkeypatch, body, words
):
    """An arm that ends the process it is tried in is not taken for tried, whatever it ends with."""
    (tmp_path / "ending_arms.py").write_text(
        "import os\nfrom arms_for_tests import Flat\n\n\nclass Ends(Flat):\n"
        "    def forecast(self, contexts):\n"
        "        if 'ENDS_WHEN_TRIED' in os.environ:\n"
        f"            {body}\n"
        "        return super().forecast(contexts)\n",
        encoding="utf-8",
    )
    tiny(('use = "arms_for_tests:Flat"', 'use = "ending_arms:Ends"'))
    call("run", "tiny.toml", "--store", tmp_path / "store", "--only", "old")
    grid, store = grid_and_store(tmp_path)
    capsys.readouterr()
    monkeypatch.setenv("ENDS_WHEN_TRIED", "1")

    try_blindness(grid, store)

    assert f"note: old could not be tried: {words}" in capsys.readouterr().err
    assert tried(store.root) == {}


@pytest.mark.slow
def test_why_an_arm_stays_untested_is_told(tiny, tmp_path, call, in_process, capsys):
    """An arm that answers nothing in numbers neither passed nor failed, and a note says so."""
    source = "from arms_for_tests import Flat\nfrom harness.forecast import Forecast\n\n\n"
    (tmp_path / "silent_arms.py").write_text(
        f"{source}class Silent(Flat):\n    def forecast(self, contexts):\n"
        "        return Forecast.of_point(super().forecast(contexts).point * float('nan'))\n",
        encoding="utf-8",
    )
    tiny(('use = "arms_for_tests:Flat"', 'use = "silent_arms:Silent"'))
    call("run", "tiny.toml", "--store", tmp_path / "store", "--only", "old")
    grid, store = grid_and_store(tmp_path)
    capsys.readouterr()

    try_blindness(grid, store)

    assert "note: old stays untested: it gives no forecast" in capsys.readouterr().err
    assert tried(store.root) == {"old": "not applicable"}
    try_blindness(grid, store)
    assert capsys.readouterr().err == ""
