"""What a manifest may say, and how it is told that it may not."""

import tomllib
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.manifest import Columns, Manifest, is_manifest, manifest_text, read_manifest
from harness.errors import DataError

TEXT = """\
schema = 1
id = "X"
title = "A price"
file = "X.csv"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
rows = 10
first = 2020-01-02
last = 2020-01-15
source = "here"
licence = "any"
unit = "dollars"
calendar = "1111100"
season = 5

[columns]
date = "date"
target = "close"
past = ["volume"]
"""
Read = Callable[[str], Manifest]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write a text as X.toml and read it."""

    def read(text: str) -> Manifest:
        (tmp_path / "X.toml").write_text(text, encoding="utf-8")
        return read_manifest(tmp_path / "X.toml")

    return read


def test_a_manifest_is_read_with_its_types(read: Read) -> None:
    """Dates are dates, columns a record, and quirks may be left out."""
    manifest = read(TEXT)

    assert date(2020, 1, 2) == manifest.first
    assert Columns(date="date", target="close", past=("volume",)) == manifest.columns
    assert manifest.columns.names == ("date", "close", "volume")
    assert manifest.quirks == ()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title =", "titel =", r"unknown key 'titel' .*known keys are calendar, columns, ended, "),
        ("past =", "future =", r"\[columns\] unknown key 'future'; known keys are date, past,"),
        ('unit = "dollars"\n', "", "missing key 'unit'"),
        ('target = "close"\n', "", r"\[columns\] missing key 'target'"),
        ("rows = 10", 'rows = "10"', "rows = '10': expected a valid integer"),
        ("rows = 10", "rows = 10.5", "rows = 10.5: expected a valid integer"),
        ("rows = 10", "rows = 1", "rows = 1: expected 2 or more"),
        ('["volume"]', '"volume"', r"\[columns\] past = 'volume': expected a valid"),
        ('["volume"]', "[1]", r"\[columns\] past = 1: expected a valid string"),
        ('["volume"]', '["close"]', r"\[columns\] 'close' has two roles"),
        ("first = 2020-01-02", 'first = "soon"', "first = 'soon': expected a valid date"),
        ("first = 2020-01-02", "first = 2021-01-02", "last = 2020-01-15: expected a date after"),
        ('"X.csv"', '"../X.csv"', r"file = '../X.csv': expected the name of a file in the same"),
        ('"X.csv"', '"..\\\\X.csv"', "file = .*: expected the name of a file in the same"),
        ('"1111100"', '"MTWTF"', "calendar = 'MTWTF': expected seven of 0 and 1"),
        ('"1111100"', '"0000000"', "calendar = '0000000': expected seven of 0 and 1"),
        ("season = 5", "season = 0", "season = 0: expected 1 or more"),
        ('sha256 = "00', 'sha256 = "G0', "sha256 = 'G0.*': expected 64 hex digits"),
        ('id = "X"', 'id = "Y"', "id = 'Y': expected 'X', as the file's name"),
        ('id = "X"', 'id = ".X"', "id = '.X': expected letters"),
        ("schema = 1", "schema = 2", "schema = 2: this abharness reads 1; update abharness"),
        ("schema = 1", "schema = 0", "schema = 0: expected 1"),
        ("schema = 1\n", "", "missing key 'schema'"),
        ("schema = 1", "schema", "not valid TOML: "),
        ("schema = 1", 'schema = 1\nended = "no"', "ended = 'no': expected a valid boolean"),
        (
            "past =",
            "[update]\ncommand = []\nx =",
            r"\[update\] unknown key 'x'; known keys are com",
        ),
        (
            'past = ["volume"]',
            "[update]\ncommand = []",
            r"\[update\] command = \[\]: expected a pr",
        ),
        (
            'past = ["volume"]',
            "[update]\ncommand = 'sh x'",
            r"\[update\] command = 'sh x': expected",
        ),
    ],
)
def test_a_wrong_manifest_is_one_line(read: Read, old: str, new: str, message: str) -> None:
    """Each fault names the file, the key, what was found and what was expected."""
    assert old in TEXT

    with pytest.raises(DataError, match=message) as caught:
        read(TEXT.replace(old, new))

    assert "X.toml: " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ((("season = 5", ""), ("rows = 10", "")), "missing key 'rows'; missing key 'season'"),
        ((("season = 5", "season = 0"), ("rows = 10", "rows = 1")), "rows = 1: .*; season = 0: "),
    ],
)
def test_all_faults_of_a_manifest_are_told(read: Read, change, said) -> None:  # type: ignore[no-untyped-def]  # pairs of texts
    """One line names them all."""
    text = TEXT
    for old, new in change:
        assert old in text
        text = text.replace(old, new)

    with pytest.raises(DataError, match=said):
        read(text)


def test_a_missing_manifest_is_one_line(tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(DataError, match=r"Y\.toml: no such file"):
        read_manifest(tmp_path / "Y.toml")


def test_other_toml_files_are_told_apart() -> None:
    """A file is a manifest when it speaks of a data file, whatever else is wrong with it."""
    assert is_manifest(tomllib.loads(TEXT))
    assert is_manifest({"sha256": ""})
    assert not is_manifest({"project": {}, "tool": {}})


text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


@given(st.lists(text, min_size=3, max_size=5, unique=True), text, st.lists(text, max_size=3))
def test_what_is_written_is_read_back(names: list[str], title: str, quirks: list[str]) -> None:
    """Any text survives the way through TOML, control characters included."""
    manifest = Manifest(
        schema=1,
        id="X",
        title=title,
        file="X.csv",
        sha256="0" * 64,
        rows=2,
        first=date(2020, 1, 1),
        last=date(2020, 1, 2),
        source=title,
        licence="",
        unit="",
        calendar="1111111",
        season=7,
        columns=Columns(date=names[0], target=names[1], past=tuple(names[2:])),
        quirks=tuple(quirks),
    )

    found = tomllib.loads(manifest_text(manifest))

    assert (title, quirks) == (found["title"], found["quirks"])
    assert names == [found["columns"]["date"], found["columns"]["target"], *names[2:]]
    assert names[2:] == found["columns"]["past"]
