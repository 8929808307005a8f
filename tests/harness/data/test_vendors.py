"""Files as vendors export them: read in one command where they have one reading, else one line."""

import io
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from harness.data.import_options import ImportOptions
from harness.data.importer import Imported, import_file
from harness.errors import DataError

TODAY = date(2026, 11, 28)
DAYS = [day for row in range(56) if (day := date(2021, 3, 17) + timedelta(row)).weekday() < 5]
RETURNS = np.random.default_rng(4).normal(0, 0.01, len(DAYS))
CLOSES = [round(float(price), 2) for price in 31669.62 * np.exp(np.cumsum(RETURNS))]
VOLUMES = [350_220_000 + 10_000 * row for row in range(len(DAYS))]
Take = Callable[..., Imported]


@pytest.fixture
def take_all(tmp_path: Path) -> Callable[..., tuple[Imported, ...]]:
    """Import a content without writing; options of any kind by name."""

    def take(content: str | bytes, **told: Any) -> tuple[Imported, ...]:
        how = {
            field.name: told.pop(field.name)
            for field in fields(ImportOptions)
            if field.name in told
        }
        columns = {"dataset_id": "X", "target": "Close", "date": "Date", "folder": tmp_path}
        return import_file(
            tmp_path / "in.csv",
            raw=content if isinstance(content, bytes) else content.encode(),
            options=ImportOptions(**how),
            today=TODAY,
            dry_run=True,
            **(columns | told),
        )

    return take


@pytest.fixture
def take(take_all: Callable[..., tuple[Imported, ...]]) -> Take:
    """Import one series."""
    return lambda content, **told: take_all(content, **told)[0]


def table(
    day: Callable[[date], str] = str,
    price: Callable[[float], str] = str,
    *,
    head: tuple[str, ...] = ("Date", "Close"),
    mark: str = ",",
    newest: bool = False,
) -> str:
    rows = [mark.join((day(d), price(p))) for d, p in zip(DAYS, CLOSES, strict=True)]
    return "\n".join([mark.join(head), *(rows[::-1] if newest else rows), ""])


def with_volume(text: Callable[[int], str]) -> str:
    rows = zip(DAYS, CLOSES, VOLUMES, strict=True)
    return "Date,Close,Vol.\n" + "".join(f"{d},{p},{text(v)}\n" for d, p, v in rows)


def same(made: Imported) -> bool:
    series = made.built.series
    return bool(series.dates.tolist() == DAYS and series.target.tolist() == CLOSES)


def german(price: float) -> str:
    return f"{price:,.2f}".translate(str.maketrans(",.", ".,"))


def named(names: str, form: str = "{d} {b} {y}") -> Callable[[date], str]:
    """Dates with the names of March, April and May."""
    months = dict(zip((3, 4, 5), names.split(), strict=True))
    return lambda day: form.format(
        d=day.day, b=months[day.month], y=day.year, s=f"{day.year % 100:02}"
    )


def epoch(day: date, *, hour: int = 0) -> int:
    return int(datetime(day.year, day.month, day.day, hour, tzinfo=UTC).timestamp())


# --- dates


@pytest.mark.parametrize(
    "write",
    [
        "%m/%d/%y",
        "%d.%m.%y",
        "%y/%m/%d",
        "%d-%b-%y",
        "%d%m%Y",
        "%y%m%d",
        "%d%b%Y",
        "%a, %d %b %Y 00:00:00 GMT",
        "%a %b %d %Y 00:00:00 GMT+0100 (CET)",
        "%A, %B %d, %Y",
        "%dth %B %Y",
        "%Y- %m- %d",
        "%Y年%m月%d日",
        "%Y년 %m월 %d일",
        "%Y%m%d 000000",
        "%Y%m%d160000",
        "%Y-%m-%d 09:30:00 EST",
        "%Y-%m-%d 00:00:00.000 America/New_York",
    ],
)
def test_dates_of_vendors_are_read(take: Take, write: str) -> None:
    """Short years, names, weekdays and packed stamps have one reading in a whole column."""
    made = take(table(lambda day: day.strftime(write), mark=";", newest="%b" in write))

    assert same(made)


@pytest.mark.parametrize(
    ("names", "form"),
    [
        ("Mär Apr Mai", "{d}. {b} {y}"),
        ("Mrz Apr Mai", "{d:02}. {b} {s}"),
        ("mars avr. mai", "{d} {b} {y}"),
        ("marzo abril mayo", "{d} de {b} de {y}"),
        ("mar abr may", "{d:02}-{b}-{s}"),
        ("março abril maio", "{d} de {b} de {y}"),
        ("marca kwietnia maja", "{d} {b} {y}"),
        ("března dubna května", "{d}. {b} {y}"),
        ("марта апреля мая", "{d} {b} {y} г."),
        ("Mart Nisan Mayıs", "{d} {b} {y}"),
        ("maaliskuuta huhtikuuta toukokuuta", "{d}. {b} {y}"),
        ("márc. ápr. máj.", "{y}. {b} {d}."),
    ],
)
def test_month_names_of_other_languages_are_read(take: Take, names: str, form: str) -> None:
    """Names come from CLDR; which language it was is said."""
    made = take(table(named(names, form), mark=";"))

    assert same(made)
    assert "with month names in '" in made.built.notes[1]


@pytest.mark.parametrize(("language", "month"), [("pl", 11), ("hr", 10)])
def test_a_name_of_two_months_is_settled_by_its_language(
    take: Take, language: str, month: int
) -> None:
    """Listopad is November in Polish and October in Croatian."""
    text = "Date,Close\n" + "".join(f"{day}. listopad 2020,{day}\n" for day in range(2, 20))

    with pytest.raises(DataError, match="settle it by --date-language pl or hr"):
        take(text)
    made = take(text, date_language=language)

    assert made.built.series.dates[0].item() == date(2020, month, 2)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda day: str((day - date(1899, 12, 30)).days), "serial numbers of Excel"),
        (lambda day: f"{(day - date(1899, 12, 30)).days}.6875", "serial numbers of Excel"),
        (lambda day: str(epoch(day)), "Unix seconds"),
        (lambda day: str(1000 * epoch(day)), "Unix milliseconds"),
        (lambda day: str(10**6 * epoch(day)), "Unix microseconds"),
        (lambda day: f"{10**9 * epoch(day)}", "Unix nanoseconds"),
        (lambda day: f"{epoch(day, hour=14)}.0", "Unix seconds"),
        (lambda day: f"{epoch(day):.18e}", "Unix seconds"),
    ],
)
def test_dates_as_numbers_are_read_and_said(
    take: Take, write: Callable[[date], str], said: str
) -> None:
    """Excel's days and Unix times are told apart by their size."""
    made = take(table(write))

    assert same(made)
    assert said in made.built.notes[0]


def test_order_chooses_between_readings_in_a_long_file_too(take: Take) -> None:
    """Day first and year first both fit: the one that runs to and fro is not meant."""
    text = "x,Date,Close\n" + "".join(
        f"{name},{day:%d-%b-%y},{price + plus:.2f}\n"
        for name, plus in (("A", 0), ("B", 5))
        for day, price in zip(DAYS, CLOSES, strict=True)
    )

    with pytest.raises(DataError, match="the file holds 2 series"):
        take(text)

    assert same(take(text, id_column="x"))


def test_the_days_of_a_macintosh_are_asked_for(take: Take) -> None:
    """Excel's days since 1904, read as since 1900, fall on Saturdays: both readings are shown."""
    text = table(lambda day: str((day - date(1904, 1, 1)).days))

    with pytest.raises(DataError, match="settle it by --date-format, excel or excel1904"):
        take(text)

    assert same(take(text, date_format="excel1904"))


@pytest.mark.parametrize("told", [None, "%m/%d/%y"])
def test_a_century_in_the_future_is_the_one_before(take: Take, told: str | None) -> None:
    """Years 30 are 1930 before 2030, with a format and without, and it is said."""
    days = [day for row in range(60) if (day := date(1930, 1, 6) + timedelta(row)).weekday() < 5]
    text = "Date,Close\n" + "".join(f"{day:%m/%d/%y},{10 + day.day}\n" for day in days)

    made = take(text, date_format=told)

    assert made.built.series.dates.tolist() == days
    assert "A century that would lie in the future" in made.built.notes[0]


def test_sessions_that_have_not_been_are_refused(take: Take) -> None:
    """A date after today is named with what may be wrong."""
    with pytest.raises(
        DataError, match=r"line 3: .* '2027-01-05' .*lies in the future; check --da"
    ):
        take("Date,Close\n2026-01-05,1\n2027-01-05,2\n")


@pytest.mark.parametrize(
    ("cell", "advice"),
    [
        ("Mar 2021", "--date-format %b %Y takes"),
        ("03/2021", "--date-format %m/%Y takes"),
        ("2021Q1", "names a quarter, not a day"),
        ("2021-W07", "names a week, not a day"),
        ("1.61594E+12", "is a number that lost its digits"),
        ("17 Xyzember 2021", "write months as numbers"),
    ],
)
def test_advice_on_dates_fits_the_cell(take: Take, cell: str, advice: str) -> None:
    """What names no day is told why, with a format that would work."""
    with pytest.raises(DataError, match=advice):
        take(f"Date,Close\n{cell},1\n{cell},2\n")


@pytest.mark.parametrize(
    "write",
    [
        lambda day: f"{day - timedelta(1)} 23:00:00",
        lambda day: f"{day - timedelta(1)}T23:00:00.000Z",
        lambda day: f"{day - timedelta(1)} 23:00:00+00:00",
        lambda day: f"{day - timedelta(1)} 17:00:00-06:00",
        lambda day: str(epoch(day) - 3600),
    ],
)
def test_a_time_zone_moves_stamps_to_their_session(
    take: Take, write: Callable[[date], str]
) -> None:
    """Without the option the dates are a day early and it is said; with it they are right."""
    early = take(table(write))
    right = take(table(write), timezone="Europe/Berlin")

    assert "--timezone takes others" in early.built.zone
    assert right.built.zone == "Europe/Berlin (--timezone)"
    assert "in weeks without a Friday" in early.built.warnings[0]
    assert "--timezone" in early.built.warnings[0]
    assert same(right)
    assert right.built.warnings == ()


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"timezone": "Mars/Olympus"}, "--timezone 'Mars/Olympus': expected the name of a zone"),
        ({"date_language": "xx"}, "--date-language xx: expected one of en, de"),
        ({"drop": ("soon",)}, "--drop 'soon': expected a date such as 2020-01-31"),
        ({"drop_days": ("Caturday",)}, "--drop-days 'Caturday': expected Mon"),
        ({"scale_from": ("2021-04-01=0",)}, "--scale-from '2021-04-01=0': expected DATE"),
        ({"scale_from": ("2021-04-01",)}, "the move there is .*; give the factor, as"),
        ({"scale_from": ("1999-04-01=2",)}, "--scale-from 1999-04-01=2: expected a date from"),
        ({"drop": ("2021-03-20",)}, "--drop 2021-03-20: there is no such session"),
        ({"series": ("A",)}, "--series needs --id-column"),
        ({"encoding": "klingon"}, "--encoding 'klingon': expected the name of an encoding"),
        ({"delimiter": "::"}, "--delimiter '::': expected one character"),
        ({"header": "a"}, "--header has 1 name, the file 2 columns; name them all"),
    ],
)
def test_options_that_cannot_be_meant_are_named(
    take: Take, told: dict[str, Any], message: str
) -> None:
    """An option is answered with what it expects."""
    with pytest.raises(DataError, match=message):
        take(table(), **told)


# --- numbers


@pytest.mark.parametrize(
    "write",
    [
        lambda price: f"${price:,.2f}",
        lambda price: f"USD {price:,.2f}",
        lambda price: f"{price:.2f} EUR",
        lambda price: f"€{german(price)}",
        lambda price: f"R$ {german(price)}",
        lambda price: f"Rs.{price:,.2f}",
        lambda price: f"US-$ {price:.2f}",
        lambda price: f"{price:.2f} USD/oz",
        lambda price: f"CHF {price:,.2f}".replace(",", "’"),
        lambda price: f"{price:,.2f}".replace(",", "\u202f").replace(".", ","),
        lambda price: f"{price / 1000:.5f}K",
        lambda price: f"'{price:.2f}'",
        lambda price: f"{price:.2f}".translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")),
    ],
)
def test_numbers_of_vendors_are_read(take: Take, write: Callable[[float], str]) -> None:
    """A unit that every cell has says nothing about the number; groups and digits vary."""
    assert same(take(table(price=write, mark=";")))


def test_a_currency_is_the_unit(take: Take) -> None:
    """What every cell of the target carries is the manifest's unit."""
    assert take(table(price=lambda price: f"USD {price}")).manifest.unit == "USD"
    assert take(table()).manifest.unit == "as in column Close"


def test_indian_groups_are_read(take: Take) -> None:
    """Lakhs are set off by twos."""
    text = "Date;Close\n2021-03-17;1,26,678.48\n2021-03-18;10,26,981.60\n"

    assert take(text).built.series.target.tolist() == [126678.48, 1026981.6]


@pytest.mark.parametrize(
    ("write", "values"),
    [
        (lambda v: f"{v / 1e6:.2f}M", VOLUMES),
        (lambda v: f"{v / 1e6:.2f} Mio.", VOLUMES),
        (lambda v: f"{v / 1e9:.5f}B", VOLUMES),
        (lambda v: f"{v / 1e7:.3f} Cr", VOLUMES),
        (lambda v: f"{v / 1e6:.2f}M" if v % 3 else f"{v}", VOLUMES),
        (lambda v: f"{v % 7 - 3}%", [v % 7 - 3 for v in VOLUMES]),
        (lambda v: f"({v})", [-v for v in VOLUMES]),
        (lambda v: f"−{v}", [-v for v in VOLUMES]),
        (lambda v: f"{v}-", [-v for v in VOLUMES]),
    ],
)
def test_covariates_of_vendors_are_read(
    take: Take, write: Callable[[int], str], values: list[float]
) -> None:
    """K, M and B multiply, a per cent stays one, and there are several ways to be negative."""
    made = take(with_volume(write), past=["Vol."])

    assert made.built.series.past[:, 0].tolist() == values


@pytest.mark.parametrize("unit", ["EUR ", "", "£"])
def test_a_column_of_two_units_is_refused(take: Take, unit: str) -> None:
    """Prices in dollars and then in something else are not one series."""
    prices = iter(range(len(CLOSES)))
    text = table(price=lambda price: f"{'$' if next(prices) < 20 else unit}{price}")

    with pytest.raises(DataError, match=r"mixed units?"):
        take(text)


# --- missing values


MISSING = [
    "",
    ".",
    "null",
    "NaN",
    "#N/A",
    "-",
    "#N/A N/A",
    "n/a",
    "ND",
    "—",
    "*N/A*",
    "(null)",
    "#WERT!",
    "$-",
]


@pytest.mark.parametrize("mark", MISSING)
def test_missing_values_are_refused_dropped_or_carried(take: Take, mark: str) -> None:
    """The refusal counts the rows, names the first and both options."""
    lines = table().splitlines()
    lines[5] = f"{DAYS[4]},{mark}"
    lines[9] = f"{DAYS[8]},{mark}"
    text = "\n".join(lines)

    with pytest.raises(DataError) as caught:
        take(text)
    dropped, carried = take(text, missing="drop"), take(text, missing="carry")

    for part in (
        "line 6: column 'Close': ",
        f"2 of {len(DAYS)} rows lack",
        "--missing drop",
        "carry",
    ):
        assert part in str(caught.value)
    assert dropped.built.series.dates.tolist() == [d for d in DAYS if d not in (DAYS[4], DAYS[8])]
    assert f"2 rows with missing values dropped (Close 2), the first of {DAYS[4]}." in (
        dropped.built.notes
    )
    assert carried.built.series.target[4] == CLOSES[3]


def test_values_missing_before_the_first_cannot_be_carried(take: Take) -> None:
    """Rows without a value to carry are dropped, and it is said."""
    text = "Date,Close,V\n2021-03-15,1,\n2021-03-16,2,5\n2021-03-17,3,\n"

    made = take(text, past=["V"], missing="carry")

    assert made.built.series.past[:, 0].tolist() == [5, 5]
    assert "Missing values carried forward (V 2); 1 row before the first value dropped." in (
        made.built.notes
    )


def test_newest_first_is_carried_in_time_order(take: Take) -> None:
    """The value before is the one of the earlier session, not of the row above."""
    made = take("Date,Close\n2021-03-18,3\n2021-03-17,\n2021-03-16,1\n", missing="carry")

    assert made.built.series.target.tolist() == [1, 1, 3]


def test_other_texts_may_stand_for_missing(take: Take) -> None:
    """A text that is no number is refused with the option, which then works."""
    text = "Date,Close\n2021-03-16,1\n2021-03-17,Market shut\n2021-03-18,3\n"

    with pytest.raises(DataError, match="--missing-text 'Market shut'"):
        take(text)
    made = take(text, missing_text=("Market shut",), missing="drop")

    assert made.built.series.target.tolist() == [1, 3]


# --- rows and headers


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: ["Prices of X", "", '"as is, without ""warranty"""', "", *lines],
        lambda lines: ["Symbol,X", "Currency,USD", ",", *lines],
        lambda lines: ['He said "x', '"never closed', *lines],
        lambda lines: [lines[0], "YYYY-MM-DD,USD", *lines[1:]],
        lambda lines: [lines[0], ",^GSPC500", *lines[1:]],
        lambda lines: [*lines, "", '"Source: an exchange, delayed"'],
        lambda lines: [*lines, "Source: X", "Downloaded 2021-06-08 12:00"],
        lambda lines: [*lines[:9], lines[0], *lines[9:]],
        lambda lines: [*lines[:9], ",", "", *lines[9:]],
        lambda lines: [line + "," if row else line for row, line in enumerate(lines)],
        lambda lines: [line + ",,," for line in lines],
        lambda lines: ["Unnamed: 0,Close", *lines[1:]],
        lambda lines: [",Close", *lines[1:]],
        lambda lines: [lines[0], *(f"{row},{line}" for row, line in enumerate(lines[1:]))],
        lambda lines: ["sep=;", *(line.replace(",", ";") for line in lines)],
        lambda lines: ['"sep=|"', *(line.replace(",", "|") for line in lines)],
        lambda lines: [f"| {x} |".replace(",", " | ") for x in (lines[0], "---,---", *lines[1:])],
        lambda lines: ["# made by x", *lines[:9], "# a gap", *lines[9:]],
        lambda lines: [line.replace(",", "   ") for line in lines],
        lambda lines: [line.replace(",", " ") for line in lines],
        lambda lines: [lines[0], *lines[:0:-1]],
        lambda lines: [*lines[:9], lines[8], *lines[9:]],
        lambda lines: [
            "Price,Close,Open",
            "Ticker,^X,^X",
            "Date,,",
            *(f"{x},1" for x in lines[1:]),
        ],
        lambda lines: [
            "Ticker,^X,^X",
            "Price,Close,Open",
            "Date,,",
            *(f"{x},1" for x in lines[1:]),
        ],
    ],
)
def test_tables_with_more_around_them_are_found(
    take: Take, change: Callable[[list[str]], list[str]]
) -> None:
    """Text above and below, units, blank rows, spare delimiters, several header lines."""
    made = take("\r\n".join([*change(table().splitlines()), ""]))

    assert same(made)
    assert made.built.notes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[1:], "line 1: no column 'Date': this looks like data.*--header none"),
        (lambda lines: [*lines, "60 rows"], "it is at the end, --skip-last 1 leaves it out"),
        (lambda lines: [*lines, "Total,123"], "'Total' is not a date .*--skip-last 1 leaves out"),
        (lambda lines: [*lines, "2021-0"], "1 value in '2021-0'.*--skip-last 1"),
        (lambda lines: ["", "Close,Date"], "line 2: a header but no rows"),
        (lambda lines: ["Day,close", *lines[1:]], "no column 'Date', no 'Close'; columns are Day"),
        (lambda lines: ["Date,Close (USD)", *lines[1:]], r"did you mean 'Close \(USD\)'"),
        (lambda lines: [line.replace(",", "~") for line in lines], "--delimiter '~'"),
        (
            lambda lines: [f"{line},5" if n else line for n, line in enumerate(lines)],
            "with decimal commas, columns need another separator",
        ),
        (lambda lines: ["Date,close", *lines[1:]], "no column 'Close'; .*did you mean 'close'"),
        (lambda lines: ["date,Adj Close", *lines[1:]], r"did you mean 'date', 'Adj Close'\?"),
        (
            lambda lines: ["Date,Close,Close", "2021-01-04,1,2"],
            "appears 2 times; --header a,b",
        ),
        (
            lambda lines: ["P,Close,Close", "T,^A,^B", "Date,,", "2021-01-04,1,2"],
            r"column 'Close' appears 2 times as 'Close \^A', 'Close \^B': name one",
        ),
        (
            lambda lines: [*lines[:5], f"{DAYS[2]},5", *lines[5:]],
            "--duplicates first or last keeps",
        ),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], "--sort sorts them"),
        (
            lambda lines: [*lines[:5], '2021-04-01,"5', *lines[5:8], '2021-04-09",6', *lines[9:]],
            "line 10: a cell of several lines holds the start of a row; a quotation mark",
        ),
        (
            lambda lines: [*lines[:5], '2021-04-01,"5', *lines[5:]],
            "a quotation mark is missing or extra",
        ),
        (lambda lines: [*lines[1:9], *lines], "line 9: 8 rows of data are above this header"),
    ],
)
def test_tables_that_have_no_one_reading_name_the_option(
    take: Take, change: Callable[[list[str]], list[str]], message: str
) -> None:
    """What cannot be decided is named with what would decide it."""
    with pytest.raises(DataError, match=message):
        take("\n".join(change(table().splitlines())))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda lines: lines[1:], {"header": "none", "date": "1", "target": "2"}),
        (lambda lines: lines[1:], {"header": "Date,Close"}),
        (lambda lines: lines, {"header": "day,last", "date": "day", "target": "last"}),
        (lambda lines: ["Date,Close", "x,y", *lines], {"header": "3"}),
        (lambda lines: [*lines, "60 rows"], {"skip_last": 1}),
        (lambda lines: [line.replace(",", "~") for line in lines], {"delimiter": "~"}),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], {"sort": True}),
        (lambda lines: [*lines[:5], f"{DAYS[3]},5", *lines[5:]], {"duplicates": "first"}),
        (lambda lines: [*lines[:4], f"{DAYS[3]},5", *lines[4:]], {"duplicates": "last"}),
    ],
)
def test_the_options_that_refusals_name_work(
    take: Take, change: Callable[[list[str]], list[str]], told: dict[str, Any]
) -> None:
    """Headers by number or by name, rows left out, other delimiters, orders and repeats."""
    assert same(take("\n".join(change(table().splitlines())), **told))


def test_all_faults_are_told_at_once(take: Take) -> None:
    """One answer names dates, numbers, prices and rows that are wrong."""
    text = "Date,Close,V\n2021-03-16,1,a\nsoon,2,5\n2021-03-18,-3,5\n2021-03-19,4\n2021-03-22,5,5\n"

    with pytest.raises(DataError) as caught:
        take(text, past=["V"])

    for part in (
        "line 5: 2 values",
        "'soon' is not a date",
        "'a' is not a number",
        "-3 is not a p",
    ):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


# --- several series


LONG = "unique_id,Date,Close\n" + "".join(
    f"{name},{day},{price * factor:.2f}\n"
    for name, factor in (("^X", 1), ("A/B", 2))
    for day, price in zip(DAYS, CLOSES, strict=True)
)


def test_a_long_file_makes_a_dataset_of_each_series(
    take_all: Callable[..., tuple[Imported, ...]],
) -> None:
    """Signs that no file name should have are replaced; one series may be taken alone."""
    both = take_all(LONG, id_column="unique_id")
    (one,) = take_all(LONG, id_column="unique_id", series=("A/B",))

    assert [made.manifest.id for made in both] == ["X-_X", "X-A_B"]
    assert same(both[0])
    assert one.manifest.id == "X"
    assert one.built.series.target[0] == both[1].built.series.target[0]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({}, r"holds 2 series \(column 'unique_id': \^X, A/B\): --id-column unique_id"),
        ({"id_column": "Close"}, "--id-column 'Close': that column already has a role"),
        ({"id_column": "ticker"}, "no column 'ticker'; columns are unique_id, Date, Close"),
        ({"id_column": "unique_id", "series": ("Z",)}, "no series 'Z' in column 'unique_id'; it"),
    ],
)
def test_a_long_file_is_never_taken_for_one_series(
    take: Take, told: dict[str, Any], message: str
) -> None:
    """The column that tells series apart is named, whatever it is called."""
    with pytest.raises(DataError, match=message):
        take(LONG, **told)


@pytest.mark.parametrize("column", ["Ticker", "Name", "isin"])
def test_series_one_after_another_are_warned_of(take: Take, column: str) -> None:
    """Two series without a common date look like one: the column of ids is named."""
    rows = "".join(
        f"{'AB'[row > 20]},{day},{price}\n"
        for row, (day, price) in enumerate(zip(DAYS, CLOSES, strict=True))
    )

    made = take(f"{column},Date,Close\n{rows}")

    assert made.built.warnings[0].startswith(f"column '{column}' holds 2 values (A, B)")


def test_utf_16_that_lost_a_byte_is_refused(take: Take) -> None:
    """From a lost byte on no line ends, so that all later sessions would be one cell."""
    whole = table().encode("utf-16")

    assert same(take(whole))
    with pytest.raises(DataError, match=r"line 10: damaged, a byte of its UTF-16 is missing"):
        take(whole[:351] + whole[352:-1])
    with pytest.raises(DataError, match=r"byte 0x0a is not UTF-16; save it as UTF-8"):
        take(whole[:-1])


def test_series_of_one_name_are_refused(take: Take) -> None:
    """Two series whose names become the same are not written over each other."""
    with pytest.raises(DataError, match=r"'\^A' and '/A' would both be called 'X-_A'"):
        take(LONG.replace("^X", "^A").replace("A/B", "/A"), id_column="unique_id")


# --- other kinds of file


def arrow(**columns: object) -> pa.Table:
    values = {"Date": pa.array(DAYS), "Close": pa.array(CLOSES)} | columns
    return pa.table(values)


def parquet(data: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(data, sink)
    return sink.getvalue()


def stamps(*, hours: int, zone: str | None) -> pa.Array:
    moments = np.array(DAYS, dtype="datetime64[us]") + np.timedelta64(hours, "h")
    return pa.array(moments, pa.timestamp("us")).cast(pa.timestamp("us", zone))


@pytest.mark.parametrize(
    "data",
    [
        arrow(),
        arrow(Date=stamps(hours=0, zone="UTC")),
        arrow(Date=stamps(hours=4, zone="America/New_York")),
        arrow(Date=pa.array([1000 * epoch(day) for day in DAYS])),
        arrow().rename_columns(["Date", "('Close', '^X')"]),
        arrow().rename_columns(["('Date', '')", "('Close', '^X')"]),
        arrow().rename_columns(["__index_level_0__", "Close"]),
        arrow().rename_columns(["__index_level_0__", "('^X', 'Close')"]),
        arrow(Close=pa.array(CLOSES).cast(pa.decimal128(12, 2), safe=False)),
    ],
    ids=lambda data: str(data.schema).replace("\n", " ")[:60],
)
def test_parquet_of_pandas_is_read(take: Take, data: pa.Table) -> None:
    """Columns of several levels, an index without a name, stamps with a zone."""
    assert same(take(parquet(data)))


def test_a_ticker_of_parquet_is_asked_for(take: Take) -> None:
    """Two tickers have two closes; either is taken by its whole name, as a tuple or in words."""
    data = arrow(B=pa.array(CLOSES)).rename_columns(["Date", "('Close', 'A')", "('Close', 'B')"])

    with pytest.raises(DataError, match="2 times as 'Close A', 'Close B': name one"):
        take(parquet(data))

    assert same(take(parquet(data), target="Close B"))
    assert same(take(parquet(data), target="('Close', 'A')"))


def test_empty_cells_of_parquet_are_missing_values(take: Take) -> None:
    """Null and NaN alike are refused or dropped."""
    data = arrow(Close=pa.array([None, float("nan"), *CLOSES[2:]]))

    with pytest.raises(DataError, match=f"row 1: .*; 2 of {len(DAYS)} rows lack a value"):
        take(parquet(data))

    assert len(take(parquet(data), missing="drop").built.series) == len(DAYS) - 2


def test_feather_is_read(take: Take) -> None:
    """Feather is known by its content."""
    sink = io.BytesIO()
    feather.write_feather(arrow(), sink)

    assert same(take(sink.getvalue()))


def workbook(**sheets: list[list[object]]) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    sink = io.BytesIO()
    book.save(sink)
    return sink.getvalue()


def cells(day: Callable[[date], object] = lambda day: day) -> list[list[object]]:
    return [["Date", "Close"], *([day(d), p] for d, p in zip(DAYS, CLOSES, strict=True))]


@pytest.mark.parametrize(
    "sheets",
    [
        {"S": cells()},
        {"S": [["Prices"], [], *cells()]},
        {"S": cells(lambda day: (day - date(1899, 12, 30)).days)},
        {"S": cells(lambda day: f"{day:%d.%m.%Y}")},
        {"Info": [["Prices of X"]], "Data": cells()[:1] + cells()[:0:-1]},
    ],
    ids=lambda sheets: "-".join(sheets),
)
def test_workbooks_are_read(take: Take, sheets: dict[str, list[list[object]]]) -> None:
    """The sheet that has the columns is taken and named; its numbers need no decimal mark."""
    made = take(workbook(**sheets))

    assert same(made)
    assert made.built.notes[0] == f"Sheet '{list(sheets)[-1]}'."


def test_numbers_and_texts_of_a_workbook_may_mix(take: Take) -> None:
    """A number is exact; texts beside it are read as texts are."""
    rows = cells()
    for row in rows[1::2]:
        row[1] = f"{row[1]:,.2f}"

    assert same(take(workbook(S=rows)))


def test_dates_that_excel_made_of_some_texts_are_refused(take: Take) -> None:
    """Where some days became dates and others stayed text, day and month may be exchanged."""
    rows = cells(lambda day: day if day.day <= 12 else f"{day:%d/%m/%Y}")

    with pytest.raises(DataError, match="day and month may be exchanged"):
        take(workbook(S=rows))


def test_two_sheets_with_the_columns_are_asked_for(take: Take) -> None:
    """Which of two sheets is meant is for the user to say."""
    book = workbook(One=cells(), Two=[["Date", "Close"], [DAYS[0], 1], [DAYS[1], 2]])

    with pytest.raises(
        DataError, match="2 sheets have these columns: One, Two; choose one with --sheet"
    ):
        take(book)
    with pytest.raises(DataError, match="no sheet 'Three'; sheets are One, Two"):
        take(book, sheet="Three")

    assert same(take(book, sheet="One"))


FOREIGN = [
    (
        b"<!DOCTYPE html><html><body>Too Many Requests</body>",
        "a web page, not a table; it says 'To",
    ),
    (b"<html>\n<h1>429</h1>", "a web page, not a table"),
    (b"<?xml version='1.0'?><a/>", "XML or a web page, not a table"),
    (b"Exceeded the daily hits limit", "not a table; it says 'Exceeded the daily hits limit'"),
    (b'{"error": "limit"}', "JSON, not a table"),
    (b'[{"Date": "2021-01-01"}]', "JSON, not a table"),
    (b"%PDF-1.7 ", "a PDF; save the table as CSV"),
    (b"SQLite format 3\0", "a database; save the table as CSV"),
    (b"\x80\x04\x95abc", "a pickle; save it as Parquet or CSV"),
    (b"\x89PNG\r\n\x1a\n", "a picture, not a table"),
    (b"\xd0\xcf\x11\xe0", "an old or protected Excel file; save it as CSV"),
    (b"ARROW1xxxxxxxxxxxx", "not a readable Feather file"),
    (b"PAR1xxxxxxxxxxxxPAR1", "not a readable Parquet file"),
    (table().encode("utf-16-le"), "not text; if it is UTF-16, use --encoding utf-16-le"),
    ("Date,Prix é\n".encode("cp1252"), "line 1: byte 0xe9 is not UTF-8; .*--encoding cp1252"),
]


@pytest.mark.parametrize(("content", "message"), FOREIGN, ids=[text for _, text in FOREIGN])
def test_what_is_no_table_is_called_by_its_name(take: Take, content: bytes, message: str) -> None:
    """Pages, errors of a server, databases and other bytes are recognised."""
    with pytest.raises(DataError, match=message):
        take(content)


def test_another_encoding_is_read_when_told(take: Take) -> None:
    """Text of Western Europe is one byte a letter."""
    text = table(named("Mär Apr Mai", "{d}. {b} {y}"), mark=";")

    assert same(take(text.encode("cp1252"), encoding="cp1252"))
    assert same(take(table().encode("utf-16-le"), encoding="utf-16-le"))


# --- options that change the series


def test_sessions_and_days_are_left_out(take: Take) -> None:
    """A bad tick by its date, weekends by their names; both are said."""
    lines = table().splitlines()
    lines[8] = f"{DAYS[7]},{CLOSES[7] * 100:.2f}"
    lines.insert(4, "2021-03-20,31000")

    made = take("\n".join(lines), drop=(str(DAYS[7]),), drop_days=("Sat", "sun"))

    assert made.built.series.dates.tolist() == [*DAYS[:7], *DAYS[8:]]
    assert made.built.notes == (
        f"The session of {DAYS[7]} was left out (--drop).",
        "1 session on Sat, sun left out (--drop-days).",
    )


@pytest.mark.parametrize(("factor", "told"), [(100, ""), (1000, ""), (2, "=2"), (0.125, "=1/8")])
def test_a_change_of_unit_is_undone(take: Take, factor: float, told: str) -> None:
    """A power of ten needs no factor, a split does; numbers come back as they were written."""
    lines = table().splitlines()
    for row in range(20, len(DAYS)):
        lines[row + 1] = f"{DAYS[row]},{CLOSES[row] / factor:.8f}"

    made = take("\n".join(lines), scale_from=(f"{DAYS[20]}{told}",))

    assert np.abs(made.built.series.target - CLOSES).max() < 1e-5
    assert made.built.warnings == ()


def lines_of(made: Imported) -> Iterator[str]:
    return (f"{title}: {text}" for title, text in made.lines())


def test_what_was_understood_is_told(take: Take) -> None:
    """Rows, span, calendar, gaps, largest move, repeats, what was left out, what is odd."""
    told = list(lines_of(take(table(newest=True))))

    for part in (
        f"rows: {len(DAYS)} of {len(DAYS)} in the file",
        "time zone: no times of day in the file",
        f"sessions: {len(DAYS)} from {DAYS[0]} to {DAYS[-1]}",
        "calendar: 1111100",
        "longest gap: 3 days",
        "largest move: ",
        "repeats: none",
        "understood: Rows were newest first: reversed.",
        "warnings: none",
    ):
        assert any(line.startswith(part) for line in told), part


def test_a_dry_run_writes_nothing(take: Take, tmp_path: Path) -> None:
    """Everything is checked and said, nothing is made."""
    made = take(table())

    assert made.path is None
    assert list(tmp_path.iterdir()) == []
