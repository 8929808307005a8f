"""Arms that know the future are caught when their fits are asked again; honest ones pass."""

import shutil
from pathlib import Path

import pytest
from in_process import InThisProcess

from harness.checks.asked_again import NEEDED, ask_again, asked_fits
from harness.running.store_folder import open_store
from harness.verbs.common import grid_of

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


@pytest.mark.usefixtures("in_process")
def test_every_way_to_know_the_future_is_caught(tmp_path, call) -> None:
    """By file, date, price, batch, silence or notes; an honest arm and one without a unit pass."""
    file = written(CHEATS, tmp_path)
    call("run", file, "--store", tmp_path / "runs")
    grid, store = grid_of(file, [], seeds=None), open_store(tmp_path / "runs")

    ask_again(grid, store, list(CHEATS), workers=1, executor=InThisProcess())

    assert found_on(file, tmp_path / "runs", CHEATS) == CHEATS


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
