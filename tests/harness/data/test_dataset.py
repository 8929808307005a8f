"""Datasets: what comes with the package, what is checked, where they are found."""

import dataclasses
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.dataset import (
    BUILT_IN,
    MOST_SERIES,
    Dataset,
    builtin_folder,
    catalogue,
    check_count,
    describe,
    find,
    gaps_of,
    load,
    read_dataset,
    summaries,
)
from harness.data.manifest import Columns, Manifest, manifest_text, read_manifest
from harness.data.oddities import Repeats
from harness.errors import ConfigError, DataError

ROWS = """\
date,close,volume
2020-01-02,100.5,10
2020-01-03,101.25,11
2020-01-06,101.25,12
2020-01-07,99.0,-13
2020-01-08,98.5,0
2020-01-09,98.5,15
"""
Make = Callable[..., Path]


def put(
    folder: Path, content: bytes, *, name: str = "X", kind: str = "csv", **keys: object
) -> Path:
    """Write a data file with a manifest that fits its bytes, `keys` apart."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.{kind}").write_bytes(content)
    told = {
        "schema": 1,
        "id": name,
        "title": "A price",
        "file": f"{name}.{kind}",
        "sha256": hashlib.sha256(content).hexdigest(),
        "rows": 6,
        "first": date(2020, 1, 2),
        "last": date(2020, 1, 9),
        "source": "here",
        "licence": "any",
        "unit": "dollars",
        "calendar": "1111100",
        "season": 5,
        "columns": Columns(date="date", target="close", past=("volume",)),
    }
    path = folder / f"{name}.toml"
    path.write_text(manifest_text(Manifest(**(told | keys))), encoding="utf-8")  # type: ignore[arg-type]  # keys of several types
    return path


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Dataset]:
    """Put a text into a dataset and read it."""
    return lambda text=ROWS, **keys: read_dataset(put(tmp_path, text.encode(), **keys))


Read = Callable[..., Dataset]


# --- what comes with the package


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.smoke
def test_builtin_datasets_are_clean(name: str) -> None:
    """Both pass every check without a warning and cannot be written to."""
    dataset = load(name)

    assert dataset.warnings == ()
    assert len(dataset) == dataset.manifest.rows
    assert not dataset.series.target.flags.writeable
    assert not dataset.series.past.flags.writeable
    assert not dataset.series.dates.flags.writeable


def test_dow_jones_is_what_its_manifest_says() -> None:
    """Its quirks hold: 0.19 % repeats, one gap of 7 days, rounding until 1991."""
    dataset = load("DOW_JONES")
    series = dataset.series
    moves = series.target[1:] / series.target[:-1] - 1
    days = series.dates.astype("datetime64[Y]")
    two_decimals = series.target == np.round(series.target, 2)
    closed = np.busday_count(series.dates[0], series.dates[-1]) + 1 - len(series)

    assert (dataset.repeats.count, dataset.repeats.longest) == (21, 1)
    assert round(100 * dataset.repeats.share, 2) == 0.19
    assert closed == 383
    assert [gap.days for gap in gaps_of(series.dates, over=4)] == [7, 5, 5]
    assert gaps_of(series.dates, over=4)[0].before == "2001-09-10"
    assert two_decimals[days <= np.datetime64("1991")].all()
    assert two_decimals[days > np.datetime64("1991")].mean() < 0.1
    assert np.round(100 * moves[np.argsort(-np.abs(moves))[:3]], 2).tolist() == [
        -22.61,
        -12.93,
        11.37,
    ]


def test_gold_is_what_its_manifest_says() -> None:
    """Its quirks hold: an index, a row every weekday, 3.5 % repeats, a late start."""
    dataset = load("GOLD")
    gold, silver = dataset.series.target, dataset.series.past[:, 0]
    same_gold, same_silver = np.diff(gold) == 0, np.diff(silver) == 0
    moves = np.round(100 * (gold[1:] / gold[:-1] - 1), 2)
    weekdays = np.busday_count("1977-12-30", "2012-12-31") + 1

    assert weekdays == len(dataset)
    assert gaps_of(dataset.series.dates, over=3) == []
    assert [same.sum() for same in (same_gold, same_silver, same_gold & same_silver)] == [
        320,
        305,
        300,
    ]
    assert [round(100 * same.mean(), 2) for same in (same_gold, same_silver)] == [3.50, 3.34]
    assert Repeats(count=320, share=320 / 9131, longest=5, since="1978-01-02") == dataset.repeats
    assert (gold[:6].tolist(), silver[0]) == ([100.0] * 6, 223.42)
    assert gold[6] != 100.0
    assert str(dataset.series.dates[6]) == "1978-01-09"
    assert sorted(moves.tolist(), key=abs)[:-4:-1] == [9.96, 9.24, -9.02]
    assert np.round(100 * (silver[1:] / silver[:-1] - 1), 2).min() == -17.71


def test_data_folder_is_data_only() -> None:
    """Nothing in it can be imported, and line ends are those the digests were made from."""
    files = sorted(path.name for path in builtin_folder().iterdir() if path.is_file())

    assert files == ["DOW_JONES.csv", "DOW_JONES.toml", "GOLD.csv", "GOLD.toml"]
    assert all(b"\r" not in (builtin_folder() / name).read_bytes() for name in files)


def test_import_is_cheap_and_loading_needs_no_arrow() -> None:
    """The module alone imports neither pydantic nor pyarrow; reading CSV imports no pyarrow."""
    code = """
import json, sys
import harness.data.dataset as d
early = [name for name in ("pydantic", "pyarrow", "pandas") if name in sys.modules]
d.load("GOLD")
print(json.dumps([early, [name for name in ("pyarrow", "pandas") if name in sys.modules]]))
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, check=True)

    assert json.loads(done.stdout) == [[], []]


# --- what is checked


def test_a_dataset_is_read(read: Read) -> None:
    """Columns are found by name, quoted or not, in any order, on any line end."""
    plain = read()
    mixed = read(
        'volume,"close",x,date\r\n'
        + "".join(
            f'{v},"{c}",?,{d}\r\n' for d, c, v in (row.split(",") for row in ROWS.splitlines()[1:])
        )
    )

    assert plain.series.target.tolist() == [100.5, 101.25, 101.25, 99.0, 98.5, 98.5]
    assert plain.series.past.tolist() == [[10], [11], [12], [-13], [0], [15]]
    assert str(plain.series.dates[0]) == "2020-01-02"
    assert (
        plain.series.weekmask,
        plain.series.season,
        plain.series.past_names,
    ) == ("1111100", 5, ("volume",))
    assert plain.span_digest(6) == mixed.span_digest(6)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("101.25,11", "abc,11", "line 3: column 'close': 'abc' is not a number; expected"),
        ("101.25,11", ",11", "line 3: column 'close': empty; expected a number"),
        ("101.25,11", "1_000,11", "line 3: column 'close': '1_000' is not a number"),
        ("101.25,11", "nan,11", "line 3: column 'close': 'nan' is not finite"),
        ("99.0,-13", "99.0,-inf", "line 5: column 'volume': '-inf' is not finite"),
        ("101.25,11", "1e999,11", "line 3: column 'close': '1e999' is not finite"),
        ("101.25,11", "0.0,11", "line 3: column 'close': 0.0 is not a price; expected above 0"),
        ("101.25,11", "-1,11", "line 3: column 'close': -1 is not a price"),
        ("101.25,11", "101.25", "line 3: 2 values in '2020-01-03,101.25'; the header has 3"),
        ("101.25,11", "101.25,1,1", "line 3: 4 values in .*; the header has 3"),
        ("-03", "-3", "line 3: column 'date': '2020-01-3' is not a date such as 2020-01-31"),
        ("-01-03", "-02-30", "line 3: column 'date': '2020-02-30' is not a date"),
        ("-01-03", "-01-10", "line 4: column 'date': 2020-01-06 after 2020-01-10 .line 3.; exp"),
        ("-01-03", "-01-02", "line 3: column 'date': 2020-01-02 is on line 2 already"),
        ("-01-06", "-01-02", "line 4: column 'date': 2020-01-02 is on line 2 already"),
        ("close", "price", "line 1: no column 'close'; columns are date, price, volume"),
        ("volume", "close", "line 1: column 'close' appears 2 times"),
        ("98.5,15\n", "98.5,15\n2020-01-10,1,1\n", "X.csv: 7 rows; its manifest says 6"),
        ("2020-01-09", "2020-01-10", "line 7: column 'date': 2020-01-10; its manifest says 2020"),
        ("2020-01-02", "2020-01-01", "line 2: column 'date': 2020-01-01; its manifest says 2020"),
        (ROWS, "", "X.csv: empty file"),
        (ROWS, " \n\n", "X.csv: empty file"),
        (ROWS, "date,close,volume\n", "line 1: a header but no rows; columns are date, close,"),
        (ROWS, "PAR1", "X.csv: not a readable Parquet file"),
        (ROWS, "PK\x03\x04", "X.csv: an Excel or zip file; save it as CSV"),
    ],
)
def test_a_fault_is_one_line(read: Read, old: str, new: str, message: str) -> None:
    """Every fault names file, line, column and value; the header is line 1."""
    with pytest.raises(DataError, match=message) as caught:
        read(ROWS.replace(old, new, 1) if old != "volume" else ROWS.replace(old, new))

    assert "X.csv: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    """A value that was changed within bounds is found by the digest."""
    path = put(tmp_path, ROWS.encode())
    (tmp_path / "X.csv").write_text(ROWS.replace("100.5", "100.6"))

    with pytest.raises(DataError, match=r"X\.csv: sha256 is .*; its manifest says .* has changed"):
        read_dataset(path)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    """A manifest without its file names the file."""
    path = put(tmp_path, ROWS.encode())
    (tmp_path / "X.csv").unlink()

    with pytest.raises(DataError, match=r"X\.csv: no such file"):
        read_dataset(path)


def test_bytes_that_are_no_text_are_located(tmp_path: Path) -> None:
    """A byte that is not UTF-8 is named with its line."""
    path = put(tmp_path, ROWS.encode().replace(b",11", b",\xff"))

    with pytest.raises(DataError, match=r"X\.csv: line 3: byte 0xff is not UTF-8"):
        read_dataset(path)


def test_lines_are_counted_through_quotes_and_blanks(read: Read) -> None:
    """A quoted line break or an empty line before a fault does not shift its number."""
    text = ROWS.replace("101.25,11", '101.25,"11\n"').replace("99.0,-13", "bad,-13")

    with pytest.raises(DataError, match="line 6: column 'close': 'bad'"):
        read(text)
    with pytest.raises(DataError, match="line 7: column 'close': 'bad'"):
        read(text.replace("2020-01-06", "\n2020-01-06"))


def test_long_gaps_are_warned_of(read: Read) -> None:
    """Gaps over ten days are counted and the longest is shown with its dates."""
    dataset = read(
        ROWS.replace("2020-01-08", "2020-01-18").replace("2020-01-09", "2020-02-28"),
        last=date(2020, 2, 28),
    )

    assert [text.partition(": ")[2] for text in dataset.warnings] == [
        "2 gaps of more than 10 days, the longest 41 days, 2020-01-18 to 2020-02-28",
        "1 session on days its calendar leaves out, first 2020-01-18 (Saturday)",
    ]
    assert all("X.csv" in text for text in dataset.warnings)


def test_ten_days_are_no_long_gap(read: Read) -> None:
    """A gap of exactly ten days is not worth a warning."""
    dataset = read(
        ROWS.replace("2020-01-09", "2020-01-18"), last=date(2020, 1, 18), calendar="1" * 7
    )

    assert dataset.warnings == ()


# --- repeats and digests


def test_repeats_are_counted_and_dropped(read: Read) -> None:
    """A session that repeats the price before it goes, with its covariates."""
    dataset = read()
    kept = dataset.without_repeats()

    assert Repeats(count=2, share=0.4, longest=1, since="2020-01-06") == dataset.repeats
    assert kept.series.target.tolist() == [100.5, 101.25, 99.0, 98.5]
    assert kept.series.past.tolist() == [[10], [11], [-13], [0]]
    assert (kept.skipped, kept.repeats.count) == (2, 0)
    assert kept.without_repeats().skipped == 2
    assert not kept.series.target.flags.writeable


def parquet(path: Path, **columns: object) -> bytes:
    pq.write_table(pa.table(columns), path)
    return path.read_bytes()


DAYS = [row.split(",")[0] for row in ROWS.splitlines()[1:]]
CLOSE = [float(row.split(",")[1]) for row in ROWS.splitlines()[1:]]
VOLUME = [int(row.split(",")[2]) for row in ROWS.splitlines()[1:]]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.date32(), pa.timestamp("ns"), pa.timestamp("s", "UTC")]
)
@pytest.mark.smoke
def test_parquet_and_csv_have_one_digest(read: Read, tmp_path: Path, kind: pa.DataType) -> None:
    """The same numbers give the same span digest from either format, however dates are stored."""
    days = pa.array(np.array(DAYS, dtype="datetime64[s]"))
    days = days.cast(kind) if not pa.types.is_string(kind) else pa.array(DAYS)
    raw = parquet(tmp_path / "raw", date=days, close=CLOSE, volume=VOLUME)

    dataset = read_dataset(put(tmp_path, raw, name="P", kind="parquet"))

    assert read().span_digest(6) == dataset.span_digest(6)
    assert read().span_digest(3) == dataset.span_digest(3)


def test_faults_in_parquet_name_the_row(tmp_path: Path) -> None:
    """Rows of a Parquet file are counted from 1; an empty value is one."""
    raw = parquet(tmp_path / "raw", date=DAYS, close=[*CLOSE[:2], None, *CLOSE[3:]], volume=VOLUME)

    with pytest.raises(DataError, match=r"P\.parquet: row 3: column 'close': empty; expected"):
        read_dataset(put(tmp_path, raw, name="P", kind="parquet"))


def test_wrong_column_of_parquet_is_one_line(tmp_path: Path) -> None:
    """A column that is not there is answered with those that are."""
    raw = parquet(tmp_path / "raw", day=DAYS, close=CLOSE, volume=VOLUME)

    with pytest.raises(DataError, match=r"P\.parquet: no column 'date'; columns are day, close, v"):
        read_dataset(put(tmp_path, raw, name="P", kind="parquet"))


def test_later_rows_do_not_change_a_span_digest(read: Read) -> None:
    """The digest of rows before a stop ignores everything from the stop on."""
    short = read(ROWS.replace("2020-01-09,98.5,15\n", ""), rows=5, last=date(2020, 1, 8))

    assert short.span_digest(5) == read().span_digest(5)
    assert short.span_digest(5) != read().span_digest(6)


def test_a_span_digest_knows_everything_that_matters(read: Read) -> None:
    """A changed price, date, covariate, name, role or calendar changes it; a title does not."""
    base = read().span_digest(6)
    swapped = Columns(date="date", target="volume", past=("close",))
    renamed = Columns(date="date", target="close", past=("Volume",))
    positive = ROWS.replace("-13", "13").replace(",0\n", ",1\n")
    others = [
        read(ROWS.replace("100.5", "100.6")),
        read(ROWS.replace("-03,", "-04,")),
        read(ROWS.replace(",10\n", ",9\n")),
        read(positive),
        read(positive, columns=swapped),
        read(calendar="1111110"),
        read(season=6),
        read(ROWS.replace("volume", "Volume"), columns=renamed),
        read(columns=Columns(date="date", target="close")),
    ]

    assert len({base, *(other.span_digest(6) for other in others)}) == 10
    assert base == read(title="Another").span_digest(6)


@pytest.mark.parametrize("stop", [-1, 7])
def test_a_span_beyond_the_data_has_no_digest(read: Read, stop: int) -> None:
    """Asking for rows that are not there is an error, not another digest."""
    with pytest.raises(ValueError, match=f"stop = {stop}: expected 0 to 6"):
        read().span_digest(stop)


@given(st.integers(1, 9131), st.floats(1e-9, 1e9))
def test_one_changed_price_changes_the_digest(row: int, price: float) -> None:
    """Any other value on any row before the stop is noticed, none after it is."""
    dataset = load_once()
    old = dataset.series.target[row]
    before, after = dataset.span_digest(row), dataset.span_digest(row + 1)

    dataset.series.target[row] = price
    changed = dataclasses.replace(dataset)

    try:
        assert before == changed.span_digest(row)
        assert (old == price) == (after == changed.span_digest(row + 1))
    finally:
        dataset.series.target[row] = old


def load_once(kept: list[Dataset] = []) -> Dataset:  # noqa: B006 - the list is the cache
    if not kept:
        kept.append(load("GOLD"))
        kept[0].series.target.flags.writeable = True
    return kept[0]


# --- where datasets are found


def test_folders_add_datasets(tmp_path: Path) -> None:
    """A folder given later adds to the built-in ones; other TOML files in it do not matter."""
    put(tmp_path, ROWS.encode())
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")

    assert list(catalogue([tmp_path])) == ["DOW_JONES", "GOLD", "X"]
    assert tmp_path / "X.toml" == find("X", [tmp_path])
    assert len(load("X", [tmp_path, tmp_path, builtin_folder()])) == 6


def test_nothing_shadows_a_dataset(tmp_path: Path) -> None:
    """Two datasets of one id in folders of the user's are an error that names both files."""
    one, other = (put(tmp_path / name, ROWS.encode(), name="X") for name in ("a", "b"))
    folders = [tmp_path / "a", tmp_path / "b"]

    for look in (lambda: find("X", folders), lambda: catalogue(folders)):
        with pytest.raises(DataError, match="two datasets are called 'X'") as caught:
            look()
        assert str(one) in str(caught.value)
        assert str(other) in str(caught.value)


def continuing(folder: Path, *, rows: str, **keys: object) -> Path:
    """A dataset called GOLD with the manifest of the bundled one, `keys` apart."""
    known = read_manifest(builtin_folder() / "GOLD.toml")
    told = {field.name: getattr(known, field.name) for field in dataclasses.fields(known)}
    last = date.fromisoformat(rows.splitlines()[-1].split(",")[0])
    found = {"rows": rows.count("\n") - 1, "last": last, "ended": False}
    return put(folder, rows.encode(), name="GOLD", **(told | found | digests(rows) | keys))


def digests(rows: str) -> dict[str, object]:
    return {"file": "GOLD.csv", "sha256": hashlib.sha256(rows.encode()).hexdigest()}


@pytest.mark.slow
def test_a_dataset_that_continues_a_bundled_one_stands_for_it(tmp_path: Path) -> None:
    """The same rows, as far as both are printed, and later ones: it is found in its place."""
    bundled = (builtin_folder() / "GOLD.csv").read_text(encoding="utf-8")
    mine = continuing(tmp_path, rows=bundled + "2013-01-02,900.5,1600.5\n")

    found = load("GOLD", [tmp_path])

    assert find("GOLD", [tmp_path]) == catalogue([tmp_path])["GOLD"] == mine
    assert len(found) == 9133
    assert found.span_digest(9132) == load("GOLD").span_digest(9132)


@pytest.mark.parametrize(
    ("change", "keys", "said"),
    [
        (lambda rows: rows.replace("100.0,223.42", "100.0,224.42", 1), {}, "row 1: silver of 1977"),
        (
            lambda rows: "\n".join(rows.splitlines()[:-1]) + "\n",
            {},
            "last = 2012-12-28, built in 2",
        ),
        (lambda rows: rows, {"season": 6}, "season = 6, built in 5"),
        (
            lambda rows: rows.replace("1978-01-03", "1978-01-07"),
            {},
            "row 6: 1978-01-07 is in the file only",
        ),
    ],
)
def test_a_dataset_that_does_not_continue_a_bundled_one_is_refused(
    tmp_path: Path, change: Callable[[str], str], keys: dict[str, object], said: str
) -> None:
    """Another value, a lost end, another calendar or session: named in one line."""
    rows = change((builtin_folder() / "GOLD.csv").read_text(encoding="utf-8"))
    if "1978-01-07" in rows:  # in order again
        head, *body = rows.splitlines()
        rows = "\n".join([head, *sorted(body)]) + "\n"
    continuing(tmp_path, rows=rows, **keys)

    with pytest.raises(DataError, match="this file does not continue it") as caught:
        load("GOLD", [tmp_path])

    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_dataset_is_answered_with_the_known(tmp_path: Path) -> None:
    """The message holds the folders that were searched and what they have."""
    with pytest.raises(
        DataError, match=r"no dataset 'SILVER' in .*; known datasets are DOW_JONES, GOLD"
    ):
        find("SILVER", [tmp_path])


@pytest.mark.parametrize("name", ["", "../GOLD", "a/b", ".x", "GOLD "])
def test_an_id_is_no_path(name: str) -> None:
    """What cannot be an id is refused before any file is looked for."""
    with pytest.raises(DataError, match="cannot be a dataset's id"):
        find(name)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """A data folder that is not there is an error, not an empty one."""
    with pytest.raises(DataError, match="nowhere: no such folder"):
        catalogue([tmp_path / "nowhere"])


def test_summaries_show_broken_manifests_too(tmp_path: Path) -> None:
    """A manifest that cannot be read is listed with its problem and hides no other."""
    put(tmp_path, ROWS.encode())
    (tmp_path / "BAD.toml").write_text("file =")

    found = {entry.id: entry for entry in summaries([tmp_path])}

    assert list(found) == ["BAD", "DOW_JONES", "GOLD", "X"]
    assert found["BAD"].manifest is None
    assert "not valid TOML" in (found["BAD"].problem or "")
    assert found["X"].manifest is not None
    assert found["X"].manifest.rows == 6


def test_a_description_is_complete(read: Read) -> None:
    """Everything `data show` prints is text, figures included."""
    facts = describe(read())

    assert facts["sessions"] == "6 from 2020-01-02 to 2020-01-09"
    assert facts["repeats"] == "2 sessions (40.00 %)"
    assert facts["longest gap"] == "3 days, 2020-01-03 to 2020-01-06"
    assert facts["largest move"] == "-2.22 % on 2020-01-07"
    assert all(isinstance(text, str) and text for text in facts.values())


def install(folder: Path) -> Path:
    for name in BUILT_IN:
        put(folder, ROWS.encode(), name=name)
    return folder


def test_a_checkout_keeps_its_data_beside_the_code(tmp_path: Path) -> None:
    """In an editable checkout the folder is `datasets`, beside `harness`."""
    folder = install(tmp_path / "datasets")

    assert folder == builtin_folder(tmp_path / "harness")


def test_a_wheel_keeps_its_data_under_its_own_name(tmp_path: Path) -> None:
    """In an installation a foreign package `datasets` beside `harness` is not taken for ours."""
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").write_text("")
    folder = install(tmp_path / "abharness-data")

    assert folder == builtin_folder(tmp_path / "harness")


def test_a_foreign_package_is_not_our_data(tmp_path: Path) -> None:
    """Without our manifests the error says where they were expected."""
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "other.toml").write_text("")

    with pytest.raises(DataError, match=r"built-in datasets are not in .*abharness-data or "):
        builtin_folder(tmp_path / "harness")


def test_a_panel_has_no_verdict() -> None:
    """More datasets than a verdict can rest on are refused with the reason."""
    names = [f"S{number}" for number in range(MOST_SERIES + 1)]

    check_count(names[:-1])
    with pytest.raises(ConfigError, match="11 datasets: expected at most 10; 'every series' prom"):
        check_count(names)
