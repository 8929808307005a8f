"""The job of every night, from the update of the data to the first line of what it writes."""

import re
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.data.importer import import_file
from harness.data.update import update_file
from harness.gate.nights import nights
from harness.judging.fact import FactCode, fact
from harness.running.store_folder import open_store
from harness.verbs.nightly import alarm
from reports.words.facts import first_line as first_line_of

SCRIPT = """
from pathlib import Path
night = int(Path("night").read_text()) if Path("night").exists() else 0
Path("night").write_text(str(night + 1))
print("".join(Path("all.csv").read_text().splitlines(keepends=True)[: 601 + 3 * night]))
"""
EXPERIMENT = (
    ('datasets = ["GOLD"]', 'datasets = ["X"]'),
    ('metric = "crps"', 'metric = "rmse"'),
    ("margin = 0.05", "margin = 0.004\n\n[policy.looks]\nmax_origins = 19\nattempts = 1"),
    ('mode = "replace"', 'mode = "replace"\nmin_origins = 10'),
    ("stride = 5", "stride = 1"),
    ("origins = 40", "origins = 76"),
    ("seeds = [1, 2]", "seeds = [1]"),
)


@pytest.fixture
def night(tiny, in_process, page_unread, call, made_once, monkeypatch):
    """Give the command of a night on data that grow by 3 sessions each; the first one is over."""

    def night(folder=Path()):
        found = call(
            "nightly", "tiny.toml", "--store", "runs", "--data-dir", "data", "--records", "kept"
        )
        (folder / "said").write_text(found[1], encoding="utf-8")
        return found

    def make(folder):
        rows = Path(__file__).parents[3] / "datasets" / "GOLD.csv"
        lines = rows.read_text(encoding="utf-8").splitlines()
        columns, text = lines[0].split(","), "\n".join(lines[:601]) + "\n"
        told = {"dataset_id": "X", "target": columns[1], "date": columns[0], "folder": Path("data")}
        import_file(Path("in.csv"), raw=text.encode(), **told)
        Path("data/all.csv").write_text("\n".join(lines[:700]) + "\n", encoding="utf-8")
        Path("data/prices.py").write_text(SCRIPT, encoding="utf-8")
        with Path("data/X.toml").open("a") as manifest:
            manifest.write(f'\n[update]\ncommand = ["{sys.executable}", "prices.py"]\n')
        assert night()[0] == 4
        for each in ("runs", "data", "kept"):
            shutil.move(each, folder / each)
        shutil.move("said", folder / "said")

    tiny(*EXPERIMENT)
    shutil.copytree(made_once("first_night", make), ".", dirs_exist_ok=True)
    return night


def first_line(text: str) -> str:
    return text.splitlines()[0]


@pytest.mark.slow
def test_nights_say_what_is_new(night):
    """Terminal, Markdown and JUnit begin with the same words; the code is that of the decision."""
    said = []
    for place in range(3):
        if place:
            assert night()[0] == 4
        told = first_line(Path("said").read_text(encoding="utf-8"))
        assert told.count(" --data-dir data`") == told.count("`abharness")
        said.append(told.replace(" --data-dir data`", "`"))  # files are read elsewhere
        summary = Path("kept/summary.md").read_text(encoding="utf-8")
        assert first_line(summary).replace("\\", "") == f"**{said[-1]}**"
        news = ElementTree.parse("kept/junit.xml").find("testsuite/properties/property")
        assert news.attrib == {"name": "news", "value": said[-1]}

    new, old = zip(*(line.split("; ") for line in said), strict=True)
    assert new[0] == "the first verdict: HOLD"
    assert new[1].startswith("nothing new since ")
    assert new[1].endswith(": HOLD, next independent origin in 2 sessions")
    assert new[2] == "1 new independent origin: still HOLD"
    told = r"caution: X ends on 1980.* ago by its calendar \(.*\)"
    assert all(re.fullmatch(told, each) for each in old)
    found = nights(open_store(Path("runs")), "tiny")
    assert [first_line_of(each.news) for each in found] == said
    assert [each.marks for each in found] == [(), (), ()]


@pytest.mark.parametrize(
    ("code", "outcome", "ends"),
    [
        (FactCode.FIRST_VERDICT, 4, 0),
        (FactCode.FIRST_VERDICT, 3, 10),
        (FactCode.STILL, 3, 0),
        (FactCode.NOTHING_NEW, 4, 0),
        (FactCode.BECAME, 0, 10),
        (FactCode.BECAME_OTHERWISE, 4, 10),
        (FactCode.STILL, 5, 5),
    ],
)
def test_only_a_change_is_an_alarm_where_that_is_asked(code, outcome, ends):
    """A HOLD or a REJECT that goes on ends with 0, a change with 10, and INVALID never passes."""
    assert alarm([fact(code)], outcome) == ends


def test_a_night_without_data_keeps_what_stands(night):
    """Where the update fails the standing decision is said with its code, and why."""
    Path("data/prices.py").write_text("raise SystemExit(1)")

    code, out, err = night()

    assert code == 4
    assert first_line(out).startswith("nothing new since ")
    assert "; data not updated: X: 'python" in first_line(out).replace(sys.executable, "python")
    assert "data not updated: X: " in err


@pytest.mark.slow
def test_a_night_names_what_is_other_than_the_night_before(night, tiny):
    """Another rule and a revised session are marks of the night, whatever comes of them."""
    tiny(*EXPERIMENT, ("margin = 0.004", "margin = 0.005"))
    night()
    tiny(*EXPERIMENT)
    rows = next(Path("data").glob("*X*.csv")).read_text(encoding="utf-8").splitlines()
    price = rows[300].rpartition(",")[2]
    revised = [row.replace(price, f"{float(price) + 0.01}") if at == 300 else row
               for at, row in enumerate(rows)]  # fmt: skip
    text = "\n".join(revised) + "\n"
    update_file("X", Path("rows.csv"), folders=[Path("data")], raw=text.encode(), revise=True)
    Path("data/prices.py").write_text("raise SystemExit(1)")
    night()

    marks = [each.marks for each in nights(open_store(Path("runs")), "tiny")]

    assert marks == [(), ("policy",), ("data revised", "policy")]
