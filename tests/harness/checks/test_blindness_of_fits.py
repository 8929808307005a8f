"""Arms that know the future are caught when their fits are asked again; honest ones pass."""

import dataclasses
import shutil
from pathlib import Path

import pandas as pd
import pytest
from in_process import InThisProcess

from harness.checks.blindness import NEEDED, ask_again, asked_fits, is_exempt
from harness.gate.circumstances import futures
from harness.gate.dossier import Dossier
from harness.judging.fact import FactCode
from harness.running.cells import read_cell
from harness.running.store_folder import open_store
from harness.verbs.check import try_blindness
from harness.verbs.common import grid_of
from reports.words.facts import say

GOLD = Path(__file__).parents[3] / "datasets" / "GOLD.csv"
CHEATS = {
    "ReadsTheFile": ("passed", "failed", "failed"),
    "MatchesValues": ("passed", "passed", "failed"),
    "LaterWindows": ("failed", "failed", "failed"),
    "SilentWhenFew": ("failed", "failed", "failed"),
    "Remembers": ("failed", "failed", "failed"),
    "LeavesNotes": ("passed", "failed", "failed"),
    "HonestWhenChecked": ("passed", "failed", "failed"),
    "Honest": ("passed", "passed", "passed"),
    "ForgotItsScaling": ("passed", "passed", "not tested"),
    "HidesBehindItsPoint": ("passed", "passed", "failed"),
}
"""What each does in order, under other dates and at other prices."""
EXPERIMENT = """\
schema = 1
datasets = ["GOLD"]

[plan]
horizon = 5
stride = 5
origins = 40
history = 300
validation = 60

[policy]
baseline = "Honest"
candidate = "ReadsTheFile"

[[policy.criteria]]
metric = "crps"
margin = 0.05
"""


def written(names, folder) -> Path:
    """An experiment on some of the arms, beside them."""
    shutil.copy(Path(__file__).with_name("arms_that_cheat.py"), folder)
    shutil.copy(GOLD, folder)
    arms = "".join(
        f'\n[[arms]]\nname = "{name}"\nuse = "arms_that_cheat:{name}"\nrole = "candidate"\n'
        f'path = "{folder / "GOLD.csv"}"\n'
        for name in names
    )
    file = folder / "cheats.toml"
    file.write_text(EXPERIMENT + arms, encoding="utf-8")
    return file


def found_on(file, store, names) -> dict[str, tuple[str, ...]]:
    """What each arm did when it was asked again."""
    grid, kept = grid_of(file, [], seeds=None), open_store(store)
    known = asked_fits(kept, [cell for cell in grid.cells if cell.arm.name in names])
    return {each.arm: tuple(way.state for way in each.found) for each in known.values()}


@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
def test_every_way_to_know_the_future_is_caught(tmp_path, call) -> None:
    """By file, date, price, batch, silence or notes; an honest arm and one without a unit pass."""
    file = written(CHEATS, tmp_path)
    call("run", file, "--store", tmp_path / "runs")
    grid, store = grid_of(file, [], seeds=None), open_store(tmp_path / "runs")

    ask_again(grid, store, list(CHEATS), workers=1, executor=InThisProcess())

    assert found_on(file, tmp_path / "runs", CHEATS) == CHEATS


@pytest.mark.slow
@pytest.mark.usefixtures("page_unread")
def test_a_cheat_ends_in_invalid_through_the_command_line(tmp_path, call) -> None:
    """In processes of their own: what was promised by looking ahead is refused, and says why."""
    names = ("Honest", "SilentWhenFew")
    file = written(names, tmp_path)
    text = file.read_text(encoding="utf-8").replace('"ReadsTheFile"', '"SilentWhenFew"')
    file.write_text(text, encoding="utf-8")

    code, out, err = call("compare", file, "--store", tmp_path / "runs")

    assert code == 5
    assert "SilentWhenFew knows what it cannot know" in " ".join(out.split())
    assert "asking 2 fits" in err
    assert found_on(file, tmp_path / "runs", names)["Honest"] == ("passed",) * (len(NEEDED) + 1)


@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
def test_a_fit_for_the_origin_to_come_is_not_asked_and_not_missed(tmp_path, call) -> None:
    """Every fit that is judged was asked; the next one has no forecast to be held against."""
    file = written(["Honest", "ClaimsToLearn"], tmp_path)
    text = file.read_text(encoding="utf-8").replace("origins = 40", "origins = 40\nrefit = 20")
    file.write_text(text.replace('"ReadsTheFile"', '"ClaimsToLearn"'), encoding="utf-8")
    call("run", file, "--store", tmp_path / "runs")
    grid, store = grid_of(file, [], seeds=None), open_store(tmp_path / "runs")

    ask_again(grid, store, ["ClaimsToLearn"], workers=1, executor=InThisProcess())

    cell = next(each for each in grid.cells if each.arm.name == "ClaimsToLearn")
    tested = futures(Dossier(grid=grid, store=store, policy=grid.experiment.policy))[
        "ClaimsToLearn"
    ]
    assert len(cell.fits) == 3
    assert len(asked_fits(store, [cell])) == 2
    assert set(NEEDED) <= set(tested.passed)


@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
def test_an_arm_that_does_not_repeat_itself_is_told_from_one_that_looks_ahead(
    tmp_path, call
) -> None:
    """By random numbers or a count of calls: refused as well, but not for the future it saw."""
    asked = {
        "DrawsUndeclared": FactCode.NOT_REPEATABLE,
        "CountsItsCalls": FactCode.NOT_REPEATABLE,
        "ReadsTheFile": FactCode.ASKED_OTHERWISE,
        "SilentWhenFew": FactCode.ASKED_OTHERWISE,
        "LaterWindows": FactCode.ASKED_OTHERWISE,
    }
    file = written(["Honest", *asked], tmp_path)
    call("run", file, "--store", tmp_path / "runs")
    grid, store = grid_of(file, [], seeds=None), open_store(tmp_path / "runs")

    ask_again(grid, store, ["Honest", *asked], workers=1, executor=InThisProcess())

    for arm, code in asked.items():
        policy = dataclasses.replace(grid.experiment.policy, candidate=arm)
        failed = futures(Dossier(grid=grid, store=store, policy=policy))[arm].failed
        assert {each.code for each in failed} == {code}, arm
        said = say(failed[0])
        assert ("declare `draws = True` with `seed`" in said) == (code == "not_repeatable")
        assert "keeps something between calls" in said
    known = asked_fits(store, list(grid.cells)).values()
    assert {each.arm: each.repeats for each in known}["Honest"] is None


UNSEEN = (
    "UndoesDates",
    "MatchesReturns",
    "ClaimsToLearn",
    "ClaimsWeights",
    "Replays",
)
"""What answers the same however it is asked: only a continuation that nobody knows tells."""


@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
def test_what_no_question_shows_the_placebo_doubts(tmp_path, call) -> None:
    """By undone dates, returns, pretended learning or weights, or kept answers."""
    file = written(["Honest", *UNSEEN], tmp_path)
    file.write_text(file.read_text(encoding="utf-8").replace('"ReadsTheFile"', f'"{UNSEEN[0]}"'))
    call("run", file, "--store", tmp_path / "runs")
    grid, store = grid_of(file, [], seeds=None), open_store(tmp_path / "runs")

    ask_again(grid, store, UNSEEN, workers=1, reference="Honest", executor=InThisProcess())

    known = asked_fits(store, list(grid.cells)).values()
    assert {each.arm for each in known} == set(UNSEEN)
    for each in known:
        assert {way.state for way in each.found} == {"passed"}, each.arm
        assert each.placebo is not None
        assert each.placebo.doubted, each.placebo


def log_of(path: Path, *, timed: bool) -> Path:
    """A log of the last value, one record for each of the last thousand sessions."""
    table = pd.read_csv(path)
    days, closes = table.iloc[:, 0].tolist(), table.iloc[:, 1].tolist()
    rows = []
    for last in range(len(days) - 1000, len(days) - 5):
        for step in range(1, 6):
            row = {"cutoff": days[last], "ds": days[last + step], "New": closes[last]}
            row |= {"New-lo-80": 0.99 * closes[last], "New-hi-80": 1.01 * closes[last]}
            rows.append(row | ({"issued_at": f"{days[last]} 23:00"} if timed else {}))
    file = path.with_name(f"log-{timed}.csv")
    pd.DataFrame(rows).to_csv(file, index=False)
    return file


@pytest.mark.slow
@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.usefixtures("in_process")
def test_records_are_not_asked_again(tmp_path, call, capsys, timed: bool, paired: bool) -> None:
    """Nor tried, nor as a pair's primary; exempt, with a caution, where each says when it came."""
    file = written(["Honest"], tmp_path)
    record = (
        f'use = "harness.recorded:Recorded", file = "{log_of(tmp_path / "GOLD.csv", timed=timed)}"'
    )
    walk = '{ use = "baselines.random_walk:RandomWalk" }'
    options = (
        f'use = "harness.fallback:WithFallback"\nprimary = {{ {record} }}\nfallback = {walk}'
        if paired
        else record.replace(", ", "\n")
    )
    text = file.read_text(encoding="utf-8").replace('"ReadsTheFile"', '"log"')
    file.write_text(f'{text}\n[[arms]]\nname = "log"\nrole = "candidate"\n{options}\n')
    call("run", file, "--store", tmp_path / "runs")
    grid, store = grid_of(file, [], seeds=None), open_store(tmp_path / "runs")

    ask_again(grid, store, ["log"], workers=1, executor=InThisProcess())
    try_blindness(grid, store, baseline="log", candidate="log")

    assert capsys.readouterr().err == ""
    (cell,) = [each for each in grid.cells if each.arm.name == "log"]
    assert read_cell(store, cell).reason[0] == ""
    assert found_on(file, tmp_path / "runs", ["log"]) == {}
    assert is_exempt(cell, store) == timed
    doubts = futures(Dossier(grid=grid, store=store, policy=grid.experiment.policy))["log"].doubts
    assert [each.code for each in doubts] == [FactCode.RECORDS_WORD] * timed


@pytest.mark.usefixtures("in_process")
def test_a_head_of_its_own_horizon_is_tried(tmp_path, call) -> None:
    """An arm that answers the five steps of its plan and no other number passes every test."""
    file = written(["Honest", "OwnHead"], tmp_path)
    file.write_text(file.read_text(encoding="utf-8").replace("ReadsTheFile", "OwnHead"))
    call("run", file, "--store", tmp_path / "runs")
    grid, store = grid_of(file, [], seeds=None), open_store(tmp_path / "runs")

    code, out, _ = call("check", "OwnHead", "--experiment", file, "--as", "arm", "--only", "T10")
    ask_again(grid, store, ["OwnHead"], workers=1, executor=InThisProcess())

    assert code == 0
    assert "pass" in out
    assert "n/a" not in out
    assert found_on(file, tmp_path / "runs", ["OwnHead"])["OwnHead"] == ("passed",) * 3


@pytest.mark.usefixtures("in_process")
def test_fits_are_asked_side_by_side_whichever_ends_first(tmp_path, call) -> None:
    """No worker stands idle while a fit is left, and each answer finds its own fit.

    One of them is the reference, and so asked the same twice.
    """

    class LastFirst(InThisProcess):
        most = 0

        def poll(self):
            self.most = max(self.most, len(self._waiting))
            self._waiting.insert(0, self._waiting.pop())
            return super().poll()

    names, processes = ["Honest", "ReadsTheFile", "LaterWindows"], LastFirst()
    file = written(names, tmp_path)
    call("run", file, "--store", tmp_path / "runs")
    grid, store = grid_of(file, [], seeds=None), open_store(tmp_path / "runs")

    ask_again(grid, store, names, workers=3, reference="Honest", executor=processes)

    assert processes.most == 3
    assert found_on(file, tmp_path / "runs", names) == {name: CHEATS[name] for name in names}
