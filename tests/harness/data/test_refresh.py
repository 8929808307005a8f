"""Commands that update datasets: run as lists, trusted or ignored; failures are remembered."""

import os
import re
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from harness.cli import run_cli
from harness.data.dataset import load
from harness.data.importer import import_file
from harness.data.refresh import PATIENCE, Refreshed, freshness, refresh, refresh_all
from harness.data.update import update_file
from harness.errors import DataError

DAYS = [day for row in range(60) if (day := date(2021, 3, 17) + timedelta(row)).weekday() < 5]
ROWS = [f"{day},{100 + row}.5" for row, day in enumerate(DAYS)]
Command = Callable[..., Path]


def table(start: int, stop: int | None = None) -> str:
    return "\n".join(["Date,Close", *ROWS[start:stop]]) + "\n"


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Make dataset X of 30 sessions with a command that runs some Python."""

    def make(code: str, *more: str, name: str = "X", limit: str = "") -> Path:
        folder = tmp_path / "data"
        raw = table(0, 30).encode()
        told = {"dataset_id": name, "target": "Close", "date": "Date", "folder": folder}
        import_file(Path("in.csv"), raw=raw, **told)  # type: ignore[arg-type]  # of several types
        words = ", ".join(f'"{word}"' for word in (sys.executable, f"{name}.py", *more))
        (folder / f"{name}.py").write_text(code)
        with (folder / f"{name}.toml").open("a") as manifest:
            manifest.write(f"\n[update]\ncommand = [{words}]\n{limit}")
        return folder

    return make


def attempt(folder: Path, **told: bool) -> tuple[Refreshed, list[str]]:
    said: list[str] = []
    return refresh("X", folders=[folder], tell=said.append, **told), said


def test_what_a_command_prints_is_appended(command: Command) -> None:
    """It runs in its folder, as a list without a shell, is shown first, and its table is read."""
    folder = command(
        f"import sys; open('ran', 'w').write(repr(sys.argv[1:])); print('''{table(29)}''')",
        "$HOME; exit 3",
    )

    done, said = attempt(folder)

    assert done.problem == ""
    assert done.updated is not None
    assert done.updated.added == len(DAYS) - 30
    assert (folder / "ran").read_text() == "['$HOME; exit 3']"
    assert said == [f"X: runs {sys.executable} X.py '$HOME; exit 3' in {folder}"]
    assert done.line == f"X: {len(DAYS) - 30} new sessions, now to {DAYS[-1]}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "limit", "problem"),
    [
        (
            "import sys; print('no', 'line', file=sys.stderr); sys.exit(3)",
            "",
            "exit code 3: no lin",
        ),
        ("import os; os.kill(os.getpid(), 9)", "", "failed with signal 9"),
        ("pass", "", "printed nothing; expected a table of sessions"),
        ("print('<html>')", "", "output of"),
        ("import time; time.sleep(60)", "time_limit_s = 0.5\n", "stopped after its time_limit_s"),
        (f"print('''{table(0).replace('104.5', '99.5')}''')", "", "Close of 2021-03-23, 104.5 bec"),
    ],
)
def test_a_failed_update_is_a_line_and_is_remembered(
    command: Command, code: str, limit: str, problem: str
) -> None:
    """A command that fails in any way changes nothing; later runs say so until one succeeds."""
    folder = command(code, limit=limit)

    done, _ = attempt(folder)

    dataset = load("X", [folder])
    remembered = freshness(dataset, DAYS[29] + timedelta(1)).problem
    assert problem in done.problem
    assert "\n" not in done.line
    assert done.line.startswith("data not updated: X: ")
    assert len(dataset) == 30
    assert remembered.startswith(done.problem)
    (folder / "X.py").write_text(f"print('''{table(0)}''')")
    attempt(folder)
    assert not freshness(load("X", [folder]), DAYS[-1] + timedelta(1)).problem


def test_a_command_that_is_not_there_is_a_line(command: Command) -> None:
    """A program that cannot be started is a problem, not an error."""
    folder = command("")
    manifest = folder / "X.toml"
    manifest.write_text(manifest.read_text().replace(sys.executable, "no-such-program"))

    assert "cannot be run: no such file" in attempt(folder)[0].problem


@pytest.mark.parametrize("mode", [0o646, 0o600])
def test_commands_that_others_could_have_written_need_trust(command: Command, mode: int) -> None:
    """A manifest that others can write is read, but its command is ignored unless trusted."""
    folder = command(f"print('''{table(0)}''')")
    (folder / "X.toml").chmod(mode)

    done, said = attempt(folder)
    trusted, _ = attempt(folder, trust=True)

    if mode == 0o646:
        assert "its command is not run, the manifest can be written by others" in done.problem
        assert said == []
    else:
        assert done.problem == ""
    assert trusted.problem == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_commands_of_another_owner_need_trust(command: Command) -> None:
    """A manifest that somebody else owns is read, but its command is ignored unless trusted."""
    folder = command(f"print('''{table(0)}''')")
    os.chown(folder / "X.toml", 12345, 12345)

    assert "the manifest is not yours" in attempt(folder)[0].problem
    assert attempt(folder, trust=True)[0].problem == ""


def test_all_are_refreshed_whatever_becomes_of_one(command: Command) -> None:
    """One failed command stops none of the others; datasets without one are left alone."""
    folder = command("raise SystemExit(1)")
    command(f"print('''{table(0)}''')", name="Y")

    done = list(refresh_all(folders=[folder], tell=[].append))

    assert [(each.dataset, bool(each.problem)) for each in done] == [("X", True), ("Y", False)]


def test_a_dataset_without_a_command_says_how_to_give_one(command: Command) -> None:
    """Asking for an update without file and command is wrong input."""
    with pytest.raises(DataError, match=r"dataset 'GOLD' has no command to update it; a table \[u"):
        refresh("GOLD", folders=[])


def test_lacking_sessions_are_counted(command: Command) -> None:
    """What an updated dataset lacks is counted by its calendar; data that ended lack nothing."""
    dataset = load("X", [command("")])

    fresh, late = (freshness(dataset, DAYS[row]) for row in (35, 36))
    ended = freshness(load("GOLD"), date(2026, 1, 1))

    assert [(each.last, each.lacking, each.problem) for each in (fresh, late)] == [
        (DAYS[29], PATIENCE, ""),
        (DAYS[29], PATIENCE + 1, ""),
    ]
    assert (ended.ended, ended.lacking, ended.problem) == (True, 0, "")


GUIDE = Path(__file__).resolve().parents[3] / "docs" / "data.md"
VENDOR = """
import pandas

class Ticker:
    def __init__(self, name):
        assert name == "^DJI"

    def history(self, *, period, auto_adjust):
        assert auto_adjust is False
        days = pandas.to_datetime(DAYS).tz_localize("America/New_York")
        days = days.append(pandas.DatetimeIndex([pandas.Timestamp.now(tz=days.tz)]))
        return pandas.DataFrame({"Open": 1.0, "Close": [*CLOSES, 7.0], "Volume": 0}, index=days)
"""


@pytest.mark.slow
@pytest.mark.skipif(not GUIDE.is_file(), reason="needs the checkout's docs")
def test_the_command_of_the_guide_prints_what_is_appended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a vendor's answer put in its place, ten lines continue the bundled Dow Jones."""
    text = GUIDE.read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    table = re.findall(r"```toml\n(\[update\].*?)```", text, re.DOTALL)[0]
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    old = load("DOW_JONES").series
    days = [*map(str, old.dates[-20:]), "2023-11-22", "2023-11-24"]
    closes = [*old.target[-20:].tolist(), 35273.03, 35390.15]
    told = f"DAYS = {days}\nCLOSES = {closes}\n"
    first = b"date,close\n2023-11-22,35273.03\n"
    update_file("DOW_JONES", Path("x"), folders=[], to=tmp_path, raw=first)
    (tmp_path / "prices.py").write_text(code, encoding="utf-8")
    (tmp_path / "yfinance.py").write_text(told + VENDOR, encoding="utf-8")
    with (tmp_path / "DOW_JONES.toml").open("a", encoding="utf-8") as manifest:
        manifest.write("\n" + table.replace('"python"', f'"{sys.executable}"'))

    done = refresh("DOW_JONES", folders=[tmp_path], tell=[].append)

    assert done.problem == ""
    assert done.line == "DOW_JONES: 1 new session, now to 2023-11-24"


def test_the_verb_ends_with_two_where_an_update_failed(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """`data update --all` says a line a dataset; one that failed is on standard error."""
    folder = command("raise SystemExit(1)")

    code = run_cli(["data", "update", "--all", "--data-dir", str(folder)])

    said = capsys.readouterr()
    assert code == 2
    assert "data not updated: X: " in said.err
    assert said.out == ""
