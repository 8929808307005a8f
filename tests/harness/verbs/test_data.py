"""The verbs on datasets as a person uses them: what is printed, written and refused."""

import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness import cli

ROWS = [f"2021-03-{day:02},{day}.5,{day % 7}" for day in range(1, 29) if day % 7 not in (6, 0)]
IMPORT = ("data", "import", "in.csv", "--id", "X", "--target", "Close", "--date", "Date")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command line in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = cli.run_cli([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


def put(rows, *, head="Date,Close,Volume"):
    Path("in.csv").write_text("\n".join([head, *rows, ""]), encoding="utf-8")


def test_an_import_says_what_it_understood(run):
    """Span, calendar, gaps, moves, order and warnings come before the line that names the file."""
    put(ROWS[::-1])

    code, out, err = run(*IMPORT, "--to", "to", "--past", "Volume")

    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "dataset       X"
    assert [line.split("  ")[0] for line in lines if line[0] != " "] == [
        *("dataset", "target", "rows", "past", "sessions", "calendar", "range", "largest move"),
        *("repeats", "longest gap", "time zone", "read as", "understood", "warnings"),
        "wrote to/X.toml; use it with --data-dir to",
    ]
    assert "understood    Rows were newest first: reversed." in lines


@pytest.mark.parametrize(
    ("row", "form"),
    [
        (
            "{day:02}.03.2021;1.2{day:02},5",
            (
                "columns by semicolon; decimal comma, '.' between thousands; dates day-month-year, "
                "'01.03.2021' is 1 March 2021"
            ),
        ),
        (
            "2021-03-{day:02}\t1'2{day:02}",
            (
                'columns by tab; no decimals, "\'" between thousands; dates year-month-day, '
                "'2021-03-01' is 1 March 2021"
            ),
        ),
    ],
)
def test_an_import_says_how_it_read_separators_decimals_and_dates(run, row, form):
    """Always, in one line, whatever there was to choose between."""
    mark = ";" if ";" in row else "\t"
    put([row.format(day=day) for day in range(1, 6)], head=f"Date{mark}Close")

    code, out, _ = run(*IMPORT, "--dry-run")

    assert code == 0
    assert f"read as       {form}" in out.splitlines()


def test_a_folder_that_the_import_makes_may_be_named_before(run, monkeypatch):
    """Who set ABHARNESS_DATA_DIR to a folder that is still to come can import into it."""
    put(ROWS)
    monkeypatch.setenv("ABHARNESS_DATA_DIR", "to")

    assert run(*IMPORT, "--to", "to")[0] == 0
    assert Path("to/X.toml").is_file()


def test_a_dry_run_says_the_same_and_writes_nothing(run):
    """`--dry-run` ends with a line that says so."""
    put(ROWS)

    code, out, _ = run(*IMPORT, "--to", "to", "--dry-run")

    assert code == 0
    assert out.endswith("\nnothing written (--dry-run)\n")
    assert not Path("to").exists()


def test_every_option_reaches_the_import(run):
    """All options at once are understood as they are meant."""
    rows = [row.replace(",", ";") for row in ROWS]
    rows[3] = rows[3].replace(".5", "x")
    rows += ["2021-03-30;?!;1", "Total;1;1", "Total;1;1"]
    put(rows, head="a;b;c\nd;e;f")

    code, out, err = run(
        *("data", "import", "in.csv", "--id", "X", "--target", "e", "--date", "d", "--past", "f"),
        *("--header", "2", "--delimiter", ";", "--encoding", "utf-8", "--skip-last", "2"),
        *("--date-format", "%Y-%m-%d", "--decimal", ".", "--missing", "drop"),
        *("--missing-text", "?!", "--ignore-text", "x", "--sort", "--duplicates", "last"),
        *("--drop", "2021-03-02", "--drop-days", "Fri,Sat", "--scale-from", "2021-03-15=1/2"),
        *("--timezone", "UTC", "--date-language", "de", "--dry-run"),
    )

    assert (code, err) == (0, "")
    for part in ("--skip-last", "--drop)", "--drop-days", "multiplied by 1/2", "dropped (e 1)"):
        assert part in out, out


def test_a_long_file_is_imported_and_each_series_named(run):
    """One summary and one file a series."""
    put([f"{name},{row}" for name in "AB" for row in ROWS], head="id,Date,Close,Volume")

    code, out, _ = run(*IMPORT, "--id-column", "id", "--to", "to")

    assert code == 0
    assert [line for line in out.splitlines() if line.startswith(("dataset", "wrote"))] == [
        "dataset       X-A",
        "wrote to/X-A.toml; use it with --data-dir to",
        "dataset       X-B",
        "wrote to/X-B.toml; use it with --data-dir to",
    ]


def test_an_import_of_what_is_there_names_the_update(run):
    """The refusal says how tomorrow's file is added, and that works, from standard input too."""
    put(ROWS[:-2])
    run(*IMPORT)
    put(ROWS[:-1])

    code, _, err = run(*IMPORT)
    assert code == 2
    assert "add sessions with `abharness data update X FILE`" in err

    code, out, _ = run("data", "update", "X", "in.csv")
    assert code == 0
    assert "new           1 session, " in out
    assert out.endswith("\nupdated data/X.toml\n")
    assert run("data", "update", "X", "in.csv")[1].endswith("\nnothing new, nothing written\n")


@pytest.mark.parametrize("verb", ["import", "update"])
def test_standard_input_is_read(run, monkeypatch, verb):
    """A dash stands for standard input, which errors name as such."""
    put(ROWS[:-2])
    run(*IMPORT)
    content = "\n".join(["Date,Close", ROWS[-1].rsplit(",", 1)[0], "soon,5", ""]).encode()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))

    arguments = {
        "import": ("data", "import", "-", "--id", "Y", "--target", "Close", "--date", "Date"),
        "update": ("data", "update", "X", "-"),
    }
    code, _, err = run(*arguments[verb])

    assert code == 2
    assert "standard input: line 3: column 'Date': 'soon'" in err


def test_a_workbook_without_its_library_names_the_extra(run, monkeypatch):
    """Where openpyxl is not installed, one line says how to get it."""
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    import zipfile

    with zipfile.ZipFile("in.csv", "w") as archive:
        archive.writestr("xl/workbook.xml", "")

    code, _, err = run(*IMPORT)

    assert code == 2
    assert "pip install 'abharness[xlsx]'" in err
