"""Importing a user's file: what is understood, and what is refused with both readings."""

import csv
import io
from collections.abc import Callable
from dataclasses import fields
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.dataset import Dataset, builtin_folder, load, read_dataset
from harness.data.import_options import ImportOptions
from harness.data.importer import SeriesDescription, import_file
from harness.errors import DataError

Take = Callable[..., Dataset]
DAYS = ["2020-01-30", "2020-01-31", "2020-02-03", "2020-02-13"]
PRICES = [1234.5, 1235.25, 1233.0, 1300.0]
TODAY = date(2200, 1, 1)


@pytest.fixture
def take(tmp_path: Path) -> Take:
    """Import a text or bytes as dataset X and read it back."""

    def take(content: str | bytes, **options: Any) -> Dataset:
        file = tmp_path / "prices.txt"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        told = {"dataset_id": "X", "target": "price", "date": "day", "folder": tmp_path / "to"}
        known = {field.name for field in fields(ImportOptions)} & set(options)
        how = ImportOptions(**{name: options.pop(name) for name in known})
        (made,) = import_file(file, options=how, today=TODAY, **(told | options))
        assert made.path
        return read_dataset(made.path)

    return take


def lines(days: list[str], prices: list[str], *, mark: str = ";") -> str:
    rows = [f"{day}{mark}{price}" for day, price in zip(days, prices, strict=True)]
    return "\n".join([f"day{mark}price", *rows, ""])


def dated(days: list[str], *, mark: str = ";") -> str:
    return lines(days, [str(row + 1) for row in range(len(days))], mark=mark)


def priced(prices: list[str]) -> str:
    days = [str(date(2020, 1, 1) + timedelta(row)) for row in range(len(prices))]
    return lines(days, prices)


# --- what is understood


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16"])
def test_any_delimiter_and_mark_is_read(take: Take, mark: str, coding: str) -> None:
    """The delimiter is the one whose header has the columns; a byte order mark is dropped."""
    text = lines(DAYS, [str(price) for price in PRICES], mark=mark)

    dataset = take(text.encode(coding))

    assert dataset.series.target.tolist() == PRICES
    assert dataset.series.dates.astype(str).tolist() == DAYS


@pytest.mark.parametrize(
    "days",
    [
        ["2020-01-30", "2020-01-31", "2020-02-03", "2020-02-13"],
        ["2020-1-30", "2020-1-31", "2020-2-3", "2020-2-13"],
        ["2020/01/30", "2020/01/31", "2020/02/03", "2020/02/13"],
        ["2020.01.30", "2020.01.31", "2020.02.03", "2020.02.13"],
        ["20200130", "20200131", "20200203", "20200213"],
        ["30.01.2020", "31.01.2020", "03.02.2020", "13.02.2020"],
        ["30/01/2020", "31/01/2020", "03/02/2020", "13/02/2020"],
        ["01/30/2020", "01/31/2020", "02/03/2020", "02/13/2020"],
        ["1-30-2020", "1-31-2020", "2-3-2020", "2-13-2020"],
        ["30 Jan 2020", "31 Jan 2020", "3 Feb 2020", "13 Feb 2020"],
        ["30-JAN-2020", "31-JAN-2020", "03-FEB-2020", "13-FEB-2020"],
        ["January 30, 2020", "January 31, 2020", "February 3, 2020", "February 13, 2020"],
        ["Jan. 30, 2020", "Jan. 31, 2020", "Feb. 3, 2020", "Feb. 13, 2020"],
        ["2020-Jan-30", "2020-Jan-31", "2020-Feb-03", "2020-Feb-13"],
        ["2020-01-30T00:00:00Z", "2020-01-31T00:00:00Z", "2020-02-03T00:00:00Z", "2020-02-13"],
        ["2020-01-30 16:00:00-05:00", "2020-01-31 9:30", "2020-02-03 16:00:00.5", "2020-02-13"],
        ["30/01/2020 4:00 PM", "31/01/2020 4:00 PM", "03/02/2020 4:00 PM", "13/02/2020 4:00 PM"],
    ],
    ids=lambda days: days[0],
)
def test_dates_are_read_where_one_reading_fits_the_column(take: Take, days: list[str]) -> None:
    """One day beyond 12 settles the order of day and month for the whole column."""
    dataset = take(dated(days))

    assert dataset.series.dates.astype(str).tolist() == DAYS
    timed = any("dropped" in text for text in dataset.manifest.quirks)
    assert timed == any(part in days[0] for part in ("16:00", "4:00 PM"))


def test_dots_mean_day_month_year(take: Take) -> None:
    """Dates with dots have one reading even when every day could be a month."""
    assert str(take(dated(["03.04.2020", "04.04.2020"])).series.dates[0]) == "2020-04-03"


def test_equal_readings_are_no_ambiguity(take: Take) -> None:
    """Days that are their own months read the same either way."""
    assert str(take(dated(["01/01/2020", "02/02/2020"])).series.dates[1]) == "2020-02-02"


@pytest.mark.parametrize(
    ("pattern", "first"), [("%d/%m/%Y", "2020-04-03"), ("%m/%d/%Y", "2020-03-04")]
)
def test_a_date_format_settles_it(take: Take, pattern: str, first: str) -> None:
    """What is ambiguous is read as told."""
    dataset = take(dated(["03/04/2020", "05/06/2020"]), date_format=pattern)

    assert str(dataset.series.dates[0]) == first


@pytest.mark.parametrize(
    ("prices", "values"),
    [
        (["1234.5", "999"], [1234.5, 999]),
        (["1234,5", "999"], [1234.5, 999]),
        (["1,234.5", "999.0"], [1234.5, 999]),
        (["1.234,5", "999,0"], [1234.5, 999]),
        (["1 234,5", "999,0"], [1234.5, 999]),
        (["1\u00a0234,5", "999,0"], [1234.5, 999]),
        (["1\u2019234.50", "999.00"], [1234.5, 999]),
        (["1,234,567", "999,000"], [1234567, 999000]),
        (["1.234.567", "999.000"], [1234567, 999000]),
        (["1.234", "0.987"], [1.234, 0.987]),
        (["1,234", "0,987"], [1.234, 0.987]),
        (["1.234", "12.5"], [1.234, 12.5]),
        (["1.234", "1234"], [1.234, 1234]),
        (["1.5e3", " 2E-1 "], [1500, 0.2]),
        ([".5", "7."], [0.5, 7]),
    ],
    ids=lambda cells: str(cells[0]),
)
def test_numbers_are_read_where_one_reading_fits_the_column(
    take: Take, prices: list[str], values: list[float]
) -> None:
    """Groups of three and decimal marks are told apart by the column as a whole."""
    assert take(priced(prices)).series.target.tolist() == values


def test_one_column_settles_another(take: Take) -> None:
    """A covariate that is sure of its decimal mark decides for a target that is not."""
    text = "day;price;open\n2020-01-01;1.234;1.2\n2020-01-02;2.345;1.3\n"

    assert take(text, past=["open"]).series.target.tolist() == [1.234, 2.345]


@pytest.mark.parametrize(("decimal", "first"), [(".", 1.234), (",", 1234.0)])
def test_a_decimal_mark_settles_it(take: Take, decimal: str, first: float) -> None:
    """What is ambiguous is read as told."""
    assert take(priced(["1.234", "2.345"]), decimal=decimal).series.target[0] == first


def test_quoted_fields_and_spare_columns_are_read(take: Take) -> None:
    """Quotes, spaces around names, other columns and blank lines do no harm."""
    text = 'note,"day" , price\n"a, b",2020-01-01,"1,234.5"\n\n"line\nbreak",2020-01-02,"1,000.0"\n'

    assert take(text).series.target.tolist() == [1234.5, 1000.0]


@pytest.mark.parametrize(
    "days",
    [
        pa.array(DAYS),
        pa.array(["30/01/2020", "31/01/2020", "03/02/2020", "13/02/2020"]),
        pa.array([20200130, 20200131, 20200203, 20200213]),
        pa.array(np.array(DAYS, dtype="datetime64[D]")),
        pa.array(np.array(DAYS, dtype="datetime64[ns]") + np.timedelta64(1, "h")),
        pa.array(DAYS).dictionary_encode(),
    ],
    ids=lambda days: str(days.type)[:12],
)
@pytest.mark.smoke
def test_parquet_is_read(take: Take, tmp_path: Path, days: pa.Array) -> None:
    """Parquet is known by its content; its numbers need no decimal mark."""
    pq.write_table(pa.table({"day": days, "price": [1.234, 2.345, 3.456, 4.567]}), tmp_path / "p")

    dataset = take((tmp_path / "p").read_bytes())

    assert dataset.series.target.tolist() == [1.234, 2.345, 3.456, 4.567]
    assert dataset.series.dates.astype(str).tolist() == DAYS


# --- what is written


def test_a_dataset_is_written_whole(tmp_path: Path) -> None:
    """The manifest says what is known, the CSV is plain, nothing else is left behind."""
    file = tmp_path / "in.csv"
    file.write_text("day;Close;Silver\n30.01.2020;1,5;7\n31.01.2020;1,5;8\n03.02.2020;1,75;9\n")

    (made,) = import_file(
        file,
        dataset_id="my.price-1",
        target="Close",
        date="day",
        past=["Silver"],
        folder=tmp_path / "new" / "folder",
        about=SeriesDescription(title="Mine", unit="euro"),
    )
    path = made.path

    manifest = load("my.price-1", [tmp_path / "new" / "folder"]).manifest
    assert path == tmp_path / "new" / "folder" / "my.price-1.toml"
    assert sorted(item.name for item in path.parent.iterdir()) == [
        "my.price-1.csv",
        "my.price-1.toml",
    ]
    assert (path.parent / manifest.file).read_bytes() == (
        b"day,Close,Silver\n2020-01-30,1.5,7.0\n2020-01-31,1.5,8.0\n2020-02-03,1.75,9.0\n"
    )
    assert (manifest.title, manifest.unit, manifest.source) == (
        "Mine",
        "euro",
        "imported from in.csv",
    )
    assert manifest.quirks == (
        "Repeats the target of the session before: 1 session (50.00 %).",
        "The largest move is +16.67 % on 2020-02-03.",
        "Columns are separated by: semicolon.",
        "Dates were read as day-month-year: '30.01.2020' is 30 January 2020.",
    )
    assert str(tmp_path) not in path.read_text()


@pytest.mark.parametrize(
    ("steps", "calendar", "season"),
    [
        ([1, 1, 1, 1, 3], "1111100", 5),
        ([1] * 7, "1111111", 7),
        ([2, 2, 3], "1010100", 3),
        ([7], "1000000", 52),
        ([31, 30], "1111111", 12),
        ([91], "1111111", 4),
        ([365], "1111111", 1),
    ],
)
def test_calendar_and_season_come_from_the_dates(
    take: Take, steps: list[int], calendar: str, season: int
) -> None:
    """Days of the week with sessions make the calendar, the typical step the season."""
    days = [date(2020, 1, 6)]  # a Monday
    for row in range(60):
        days.append(days[-1] + timedelta(steps[row % len(steps)]))

    series = take(dated([str(day) for day in days])).series

    assert series.season == season
    if season < 12 and season > 1 and len(steps) > 1:
        assert series.weekmask == calendar


def test_a_rare_weekday_is_an_exception(take: Take) -> None:
    """One Saturday in a year of weekdays is recorded, not made part of the calendar."""
    days = [day for row in range(300) if (day := date(2020, 1, 6) + timedelta(row)).weekday() < 5]
    days.insert(5, date(2020, 1, 11))

    dataset = take(dated([str(day) for day in days]))

    assert dataset.series.weekmask == "1111100"
    assert any("first 2020-01-11 (Saturday)" in text for text in dataset.manifest.quirks)


@pytest.mark.slow
@given(
    prices=st.lists(
        st.floats(1e-6, 1e12, allow_subnormal=False), min_size=2, max_size=20, unique=True
    ),
    start=st.dates(date(1800, 1, 1), date(2100, 1, 1)),
    step=st.integers(1, 40),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    pattern=st.sampled_from(["%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%d.%m.%Y", "%d %b %Y", "%d/%m/%Y"]),
)
def test_numbers_and_dates_survive_exactly(
    tmp_path_factory: pytest.TempPathFactory,
    prices: list[float],
    start: date,
    step: int,
    delimiter: str,
    pattern: str,
) -> None:
    """Whatever is written unambiguously comes back bit for bit."""
    folder = tmp_path_factory.mktemp("import")
    days = [start + timedelta(step * row) for row in range(len(prices))]
    text = io.StringIO()
    rows = csv.writer(text, delimiter=delimiter)
    rows.writerow(["day", "price"])
    rows.writerows(
        (day.strftime(pattern), repr(price)) for day, price in zip(days, prices, strict=True)
    )
    (folder / "in").write_text(text.getvalue(), newline="")

    (made,) = import_file(
        folder / "in",
        dataset_id="X",
        target="price",
        date="day",
        folder=folder,
        options=ImportOptions(decimal=".", date_format=pattern if pattern == "%d/%m/%Y" else None),
        today=TODAY,
    )

    assert made.path
    series = read_dataset(made.path).series
    assert series.target.tolist() == prices
    assert series.dates.tolist() == days


# --- what is refused


@pytest.mark.slow
@pytest.mark.parametrize(
    ("days", "message"),
    [
        (
            ["01/01/2020", "03/04/2020"],
            "or 4 March 2020; settle it by --date-format, %d/%m/%Y or %m/%d/%Y",
        ),
        (["1/1/2020", "3/4/2020"], "line 3: .*: '3/4/2020' could be 3 April 2020 or 4 March 2020"),
        (["03-04-2020", "04-04-2020"], "'03-04-2020' could be 3 April 2020 or 4 March 2020"),
        (
            ["03/04/20", "13/04/20"],
            "'03/04/20' could be 3 April 2020 or 20 April 2003; settle it by",
        ),
        (["03-Apr-20", "04-Apr-20"], "settle it by --date-format, %d-%b-%y or %y-%b-%d"),
        (["2020-01-01", "soon"], "line 3: column 'day': 'soon' is not a date written year-month-"),
        (["2020-01-01", "2020-02-30"], "line 3: column 'day': '2020-02-30' is not a date"),
        (["2020-01-01", ""], "line 3: column 'day': empty; expected a date"),
        (["13/01/2020", "14/01/2020", "01/15/2020"], "line 4: column 'day': '01/15/2020' is not"),
        (["1 Xyz 2020", "2 Xyz 2020"], "line 2: column 'day': '1 Xyz 2020' is not a known form"),
        (["15778368000000000000", "15778368000000000001"], "line 2: .* neither a day of Excel"),
        (["10122011", "11122011"], "settle it by --date-format, %d%m%Y or %m%d%Y"),
        (["2020-03", "2020-04"], "'2020-03' names a month, not a day; --date-format %Y-%m takes"),
        (["2020-01-01", "2020-01-01"], "line 3: column 'day': 2020-01-01 is on line 2 already"),
        (["2020-01-01 9:00", "2020-01-01 17:00"], "line 3: .*: 2020-01-01 is on line 2 already"),
        (["2020-01-01", "2020-01-03", "2020-01-02"], "line 4: .*: 2020-01-02 after 2020-01-03"),
        (
            ["2020-01-05", "2020-01-03", "2020-01-04", "2020-01-02"],
            "line 4: .*: 2020-01-04 after 2020-01-03 .*; expected descending dates; --sort sorts",
        ),
    ],
)
def test_dates_are_refused_in_one_line(take: Take, days: list[str], message: str) -> None:
    """A date that is ambiguous, wrong, double or out of order is named with its line."""
    with pytest.raises(DataError, match=message) as caught:
        take(dated(days))

    assert "prices.txt: line " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("prices", "message"),
    [
        (
            ["1.234", "2.345"],
            "line 2: .*: '1.234' could be 1.234 or 1234.0; settle it by --decimal '.' or ','",
        ),
        (["1,234", "2,345"], "line 2: column 'price': '1,234' could be 1234.0 or 1.234; settle"),
        (["1.5", "abc"], "line 3: column 'price': 'abc' is not a number"),
        (["1.5", ""], "line 3: column 'price': empty; 1 of 2 rows lacks a value; --missing drop"),
        (["1.5", "null"], "line 3: column 'price': 'null' is a missing value; 1 of 2 rows"),
        (["1.5", "2,5", "3.5"], "line 3: column 'price': '2,5' is not a number"),
        (
            ["1.5", "$2.5"],
            r"line 3: column 'price': '\$2.5' carries '\$', the other rows none: mixed",
        ),
        (
            ["USD 1.5", "EUR 2.5", "EUR 2"],
            r"line 2: .*: 'USD 1.5' carries 'USD', the other rows 'EU",
        ),
        (["12,34.5", "1.5"], "line 2: column 'price': '12,34.5' is not a number"),
        (["1.5", "1e999"], "line 3: column 'price': '1e999' is not finite"),
        (["1.5", "0"], "line 3: column 'price': 0 is not a price; expected above 0"),
        (["1.5", "-3"], "line 3: column 'price': -3 is not a price"),
    ],
)
def test_numbers_are_refused_in_one_line(take: Take, prices: list[str], message: str) -> None:
    """A number that is ambiguous, wrong, empty or no price is named with its line."""
    with pytest.raises(DataError, match=message) as caught:
        take(priced(prices))

    assert "prices.txt: line " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("day;price\n", {}, "line 1: a header but no rows; columns are day, price"),
        ("", {}, "empty file"),
        ("day;price\n2020-01-01;1\n", {}, "one row; expected 2 or more"),
        ("day;price\n2020-01-01;1;2\n", {}, "line 2: 3 values in .*; the header has 2"),
        ("day,price\n2020-01-01,1,5\n", {}, "line 2: 3 values in .*; the header has 2"),
        ("day;close\n2020-01-01;1\n", {}, "line 1: no column 'price'; columns are day, close"),
        ("date;price\n2020-01-01;1\n", {}, "line 1: no column 'day'; columns are date, price"),
        ("day;price\n2020-01-01;1\n", {"past": ["x"]}, "line 1: no column 'x'; columns are day"),
        ("day;price;price\n2020-01-01;1;1\n", {}, "line 1: column 'price' appears 2 times"),
        (b"day;price\n2020-01-01;\xe9\n", {}, "line 2: byte 0xe9 is not UTF-8"),
        (b"\xef\xbb\xbf", {}, "empty file"),
        (
            "day;price\n1/2/2020;1\n",
            {"date_format": "%d%d"},
            "'1/2/2020' does not match --date-format '%d%d'",
        ),
        (b"PK\x03\x04", {}, "a damaged Excel or zip file; save it as CSV"),
        (b"\x1f\x8b", {}, "compressed; unpack it first"),
        (b"PAR1", {}, "not a readable Parquet file"),
        (
            "day;price\n1/2/2020;1\n",
            {"date_format": "%d.%m.%Y"},
            "line 2: column 'day': '1/2/2020' does not match --date-format '%d.%m.%Y'",
        ),
    ],
)
def test_files_are_refused_in_one_line(
    take: Take, content: str | bytes, options: dict[str, Any], message: str
) -> None:
    """A file that cannot be meant is named with what was expected."""
    with pytest.raises(DataError, match=message) as caught:
        take(content, **options)

    assert "prices.txt: " in str(caught.value)
    assert "\n" not in str(caught.value)


pieces = st.one_of(
    st.sampled_from(["day", "price", ",", ";", "\t", "\n", '"', "\r\n", "\0", "1.234", "1,5", "-"]),
    st.sampled_from(["2020-01-01", "2020-01-02", "03/04/2020", "3 Apr 2020", "1e999", "\ufeff"]),
    st.text(max_size=3),
)


@given(
    st.one_of(st.binary(max_size=60), st.lists(pieces, max_size=30).map("".join)),
    st.sampled_from(["", "day;price\n", "day,price\n2020-01-01,1\n"]),
)
def test_any_rubbish_is_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: str | bytes, start: str
) -> None:
    """Whatever a file holds, it is imported or refused in one line, never a crash."""
    folder = tmp_path_factory.mktemp("rubbish")
    content = content if isinstance(content, bytes) else content.encode(errors="replace")
    (folder / "in").write_bytes(start.encode() + content)

    try:
        import_file(folder / "in", dataset_id="X", target="price", date="day", folder=folder)
        problem = ""
    except DataError as error:
        problem = str(error)

    assert (folder / "X.toml").exists() == (not problem)
    assert len(problem.splitlines()) <= 1


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(DataError, match=r"nothing\.csv: no such file"):
        import_file(tmp_path / "nothing.csv", dataset_id="X", target="a", date="b", folder=tmp_path)


def test_a_column_has_one_role(take: Take) -> None:
    """A column cannot be target and covariate at once."""
    with pytest.raises(DataError, match="'price' has two roles"):
        take(dated(DAYS), past=["price"])


@pytest.mark.parametrize("name", [".hidden", "", "a/b", "../x", "a b", "ä"])
def test_an_id_must_be_a_file_name(take: Take, name: str) -> None:
    """An id that could leave the folder or hide in it is refused."""
    with pytest.raises(DataError, match="expected letters, digits"):
        take(dated(DAYS), dataset_id=name)


def test_an_existing_id_is_refused(take: Take, tmp_path: Path) -> None:
    """Neither a dataset of the folder nor a built-in one is replaced or shadowed."""
    take(dated(DAYS))
    before = (tmp_path / "to" / "X.csv").read_bytes()

    with pytest.raises(DataError, match=r"X\.toml: dataset 'X' exists already"):
        take(dated(DAYS[:2]))
    with pytest.raises(DataError, match="dataset 'GOLD' exists already"):
        take(dated(DAYS), dataset_id="GOLD")
    with pytest.raises(DataError, match="dataset 'X' exists already"):
        take(dated(DAYS), folder=tmp_path / "else", folders=[tmp_path / "to"])

    assert (tmp_path / "to" / "X.csv").read_bytes() == before


def test_a_file_in_the_way_is_kept(tmp_path: Path) -> None:
    """Importing into the folder of the file itself does not overwrite it."""
    file = tmp_path / "X.csv"
    file.write_text(dated(DAYS))

    with pytest.raises(DataError, match=r"X\.csv: exists already, and no import wrote it"):
        import_file(file, dataset_id="X", target="price", date="day", folder=tmp_path)

    assert file.read_text() == dated(DAYS)


def test_an_interrupted_import_can_be_repeated(
    take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data without its manifest is no dataset; the same import then completes it."""
    with monkeypatch.context() as patch:
        patch.setattr("harness.data.manifest.manifest_text", lambda manifest: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            take(dated(DAYS))

    assert [item.name for item in (tmp_path / "to").iterdir()] == ["X.csv"]
    assert len(take(dated(DAYS))) == 4


def test_a_folder_that_cannot_be_written_is_named(take: Take, tmp_path: Path) -> None:
    """A target folder that is a file is one line."""
    with pytest.raises(DataError, match=r"prices\.txt: cannot write dataset 'X': "):
        take(dated(DAYS), folder=tmp_path / "prices.txt")


@pytest.mark.slow
def test_builtin_data_can_be_imported_again(tmp_path: Path) -> None:
    """GOLD passes through the importer unchanged."""
    (made,) = import_file(
        builtin_folder() / "GOLD.csv",
        dataset_id="GOLD2",
        target="gold",
        date="date",
        past=["silver"],
        folder=tmp_path,
    )

    assert made.path
    assert read_dataset(made.path).digest == load("GOLD").digest
    assert made.built.series.weekmask == "1111100"
