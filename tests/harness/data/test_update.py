"""Updating a dataset: sessions are appended, rows that are there must agree, nothing tears."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data.dataset import Dataset, load
from harness.data.import_options import ImportOptions
from harness.data.importer import import_file
from harness.data.update import Updated, update_file
from harness.errors import DataError

TODAY = date(2026, 11, 28)
DAYS = [day for row in range(60) if (day := date(2021, 3, 17) + timedelta(row)).weekday() < 5]
CLOSES = [round(31000 + 37.13 * row + 0.5 * (row % 3), 2) for row in range(len(DAYS))]
Rows = dict[date, object]
ROWS: Rows = dict(zip(DAYS, CLOSES, strict=True))


def text(rows: Rows, *, head: str = "Date,Close") -> str:
    return head + "\n" + "".join(f"{day},{price}\n" for day, price in rows.items())


def part(start: int, stop: int | None = None) -> Rows:
    return {day: ROWS[day] for day in DAYS[start:stop]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with dataset X of the first 30 sessions."""
    take(tmp_path / "to", text(part(0, 30)))
    return tmp_path / "to"


def take(folder: Path, content: str, **told: Any) -> None:
    columns = {"dataset_id": "X", "target": "Close", "date": "Date", "folder": folder}
    import_file(Path("in.csv"), raw=content.encode(), today=TODAY, **(columns | told))


@pytest.fixture
def update(folder: Path) -> Callable[..., Updated]:
    """Update X by a text."""

    def update(content: str, **told: Any) -> Updated:
        return update_file(
            "X", Path("new.csv"), folders=[folder], raw=content.encode(), today=TODAY, **told
        )

    return update


def found(folder: Path) -> Dataset:
    return load("X", [folder])


@pytest.mark.parametrize(
    "rows",
    [part(0), part(20), part(29), dict(reversed(part(0).items()))],
    ids=["all", "recent", "last", "newest first"],
)
def test_new_sessions_are_appended(
    folder: Path, update: Callable[..., Updated], rows: Rows
) -> None:
    """A longer file, a recent part of it, or one newest first: the outcome is the same."""
    before = found(folder)

    done = update(text(rows))

    after = found(folder)
    assert done.added == len(DAYS) - 30
    assert after.series.dates.tolist() == DAYS
    assert after.series.target.tolist() == CLOSES
    assert after.span_digest(30) == before.span_digest(30)
    assert sorted(file.name for file in folder.iterdir()) == [f"X.{DAYS[-1]}.csv", "X.toml"]


def test_one_session_a_night_equals_one_import(
    folder: Path, tmp_path: Path, update: Callable[..., Updated]
) -> None:
    """Sessions one by one give the rows, and the digest of every prefix, of one file."""
    for row in range(30, len(DAYS)):
        assert update(text(part(row - 1, row + 1))).added == 1
    take(tmp_path / "whole", text(ROWS))

    one, other = found(folder), load("X", [tmp_path / "whole"])
    assert [one.span_digest(stop) for stop in range(len(DAYS) + 1)] == [
        other.span_digest(stop) for stop in range(len(DAYS) + 1)
    ]


def test_a_file_of_new_sessions_only_cannot_be_compared(update: Callable[..., Updated]) -> None:
    """One new session alone is enough, and it is said that nothing was compared."""
    done = update(text(part(30, 31)))

    assert done.added == 1
    assert "old rows could not be compared" in done.notes[0]


def test_nothing_new_writes_nothing(folder: Path, update: Callable[..., Updated]) -> None:
    """The same file again changes no byte."""
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    done = update(text(part(0, 30)))

    assert (done.added, done.path) == (0, None)
    assert before == {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (ROWS | {DAYS[4]: 31150.0}, rf"line 6: Close of {DAYS[4]}, 31149.02 became 31150.0"),
        (
            ROWS | {DAYS[4]: 31149.03},
            "1 difference from the rows of dataset 'X', so nothing was",
        ),
        ({d: f"{ROWS[d] * 0.5:.2f}" for d in DAYS}, "30 differences .*; and 24 more"),
        ({d: ROWS[d] for d in DAYS if d != DAYS[4]}, rf"{DAYS[4]} is in the dataset only"),
        (
            dict(sorted((ROWS | {date(2021, 3, 20): 5.0}).items())),
            r"line 5: 2021-03-20 is in the file only",
        ),
        (ROWS | {DAYS[4]: ""}, "line 6: column 'Close': empty"),
        (ROWS | {DAYS[-1]: "abc"}, "'abc' is not a number"),
        (ROWS | {date(2027, 1, 4): 31000.0}, "lies in the future"),
    ],
)
def test_rows_that_differ_change_nothing(
    folder: Path, update: Callable[..., Updated], rows: Rows, message: str
) -> None:
    """Another value, a lost or an inserted session, any fault of the file: each is named."""
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    with pytest.raises(DataError, match=message) as caught:
        update(text(rows))

    assert "\n" not in str(caught.value)
    assert before == {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize(
    ("write", "agrees"),
    [
        (lambda price: f"{price:.6f}", True),
        (lambda price: f"{price:.1f}", True),
        (lambda price: f"{price:.0f}", True),
        (lambda price: f"{price + 0.0004:.4f}", True),
        (lambda price: f"{price + 0.0101:.4f}", False),
        (lambda price: f"{price + 0.2:.1f}", False),
        (lambda price: f"{price / 1e3:.0f}e3", False),
    ],
)
def test_rows_agree_as_far_as_they_are_printed(
    folder: Path, update: Callable[..., Updated], write: Callable[[float], str], agrees: bool
) -> None:
    """The coarser print of both counts, but never one coarser than a thousandth of the price."""
    rows: Rows = {day: write(float(str(ROWS[day]))) for day in DAYS}

    if agrees:
        assert update(text(rows)).added == len(DAYS) - 30
    else:
        with pytest.raises(DataError, match="nothing was written"):
            update(text(rows))
    assert found(folder).series.target[:30].tolist() == CLOSES[:30]


def test_earlier_sessions_are_left_out(update: Callable[..., Updated]) -> None:
    """A file that begins before the dataset adds nothing at its start, and it is said."""
    done = update(text({date(2021, 3, 1): 5.0, **ROWS}))

    assert done.series.dates[0].item() == DAYS[0]
    assert "1 session before 2021-03-17, where it starts, left out." in done.notes


def test_calendar_and_season_stay(folder: Path, update: Callable[..., Updated]) -> None:
    """Saturdays that come later are warned of, not made part of the calendar."""
    days = {DAYS[-1] + timedelta(row): 33000.0 + row for row in range(1, 60)}

    done = update(text(ROWS | days))

    assert found(folder).series.weekmask == "1111100"
    assert found(folder).series.season == 5
    assert any("on days its calendar leaves out" in text for text in done.warnings)


def test_a_jump_at_the_seam_is_warned_of(update: Callable[..., Updated]) -> None:
    """New sessions in another unit are named with their line."""
    done = update(text({day: float(str(ROWS[day])) / 100 for day in DAYS[30:]}))

    assert f"on {DAYS[30]} (line 2), and prices stay about 100 times smaller" in done.warnings[0]


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    """Covariates come along, names may differ from the import's, their number may not."""
    three = {day: f"{price},{row}" for row, (day, price) in enumerate(ROWS.items())}
    first = dict(list(three.items())[:30])
    take(tmp_path, text(first, head="Date,Close,V"), past=["V"])
    told: dict[str, Any] = {"folders": [tmp_path], "today": TODAY}
    raw = text(three, head="day,last,vol").encode()

    with pytest.raises(DataError, match=r"--past: 2 columns; expected 1 as at import \(V\)"):
        update_file("X", Path("n"), raw=raw, past=["a", "b"], **told)
    done = update_file("X", Path("n"), raw=raw, date="day", target="last", past=["vol"], **told)

    assert done.manifest.columns.names == ("Date", "Close", "V")
    assert found(tmp_path).series.past[:, 0].tolist() == list(range(len(DAYS)))


def test_options_of_import_count(folder: Path, update: Callable[..., Updated]) -> None:
    """Missing values are dropped on request, a long file gives one series."""
    rows = ROWS | {DAYS[35]: ""}

    assert update(text(rows), options=ImportOptions(missing="drop")).added == len(DAYS) - 31


def test_a_dry_run_writes_nothing(folder: Path, update: Callable[..., Updated]) -> None:
    """What would be added is said, the dataset stays."""
    done = update(text(ROWS), dry_run=True)

    assert (done.added, done.path, len(found(folder))) == (len(DAYS) - 30, None, 30)


def test_quirks_follow_the_data(folder: Path, update: Callable[..., Updated]) -> None:
    """Figures in quirks are made anew; what a person wrote there stays."""
    manifest = folder / "X.toml"
    content = manifest.read_text()
    manifest.write_text(content.replace("quirks = [\n", 'quirks = [\n    "Mine.",\n'))

    update(text(ROWS | {DAYS[-1]: 90000.0}))

    quirks = found(folder).manifest.quirks
    assert "Mine." in quirks
    assert len([quirk for quirk in quirks if quirk.startswith("The largest move")]) == 1


@pytest.mark.slow
def test_a_bundled_dataset_is_continued_elsewhere(tmp_path: Path) -> None:
    """New sessions of a built-in dataset make one of its id in the user's folder; it stays."""
    told: dict[str, Any] = {"folders": [], "raw": b"date,gold,silver\n2013-01-02,901,1601\n"}

    with pytest.raises(DataError, match="GOLD comes with abharness: it is complete"):
        update_file("GOLD", Path("x"), **told)
    done = update_file("GOLD", Path("x.csv"), to=tmp_path / "new", **told)

    found = load("GOLD", [tmp_path / "new"])
    assert done.path == tmp_path / "new" / "GOLD.toml"
    assert found.span_digest(9132) == load("GOLD").span_digest(9132)
    assert (len(found), found.manifest.ended, load("GOLD").manifest.ended) == (9133, False, True)
    assert found.manifest.source.endswith("from 2013-01-02 on x.csv")


def test_a_revision_changes_old_values_and_keeps_them(
    folder: Path, update: Callable[..., Updated]
) -> None:
    """Named rows take their new values; what was known first stays, however often they change."""
    first = found(folder)
    once, twice = ROWS | {DAYS[4]: 31150.0}, ROWS | {DAYS[4]: 31160.0, DAYS[31]: 31000.0}

    done = update(text({day: once[day] for day in DAYS[:30]}), revise=True)
    update(text(once))
    again = update(text(twice), revise=True)

    after = found(folder)
    assert [(each.session, each.after) for each in done.revised] == [(DAYS[4], 31150.0)]
    assert [each.before for each in again.revised] == [31150.0, ROWS[DAYS[31]]]
    assert after.series.target[[4, 31]].tolist() == [31160.0, 31000.0]
    assert after.first_known.target.tolist() == CLOSES
    assert after.first_known.target[:30].tolist() == first.series.target.tolist()
    assert after.without_repeats().first_known.target[4] == CLOSES[4]
    assert after.span_digest(4) == first.span_digest(4)
    assert after.span_digest(5) != first.span_digest(5)
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({d: ROWS[d] for d in DAYS if d != DAYS[4]}, rf"{DAYS[4]} is in the dataset only"),
        (dict(sorted((ROWS | {date(2021, 3, 20): 5.0}).items())), "2021-03-20 is in the file only"),
    ],
)
def test_a_revision_moves_no_session(
    folder: Path, update: Callable[..., Updated], rows: Rows, message: str
) -> None:
    """Sessions that come or go between others would move origins: refused, nothing changes."""
    with pytest.raises(DataError, match=message):
        update(text(rows), revise=True)

    assert len(found(folder)) == 30


def test_a_changed_record_of_revisions_is_refused(
    folder: Path, update: Callable[..., Updated]
) -> None:
    """The values known first are promised by the manifest, as the data are."""
    update(text(ROWS | {DAYS[4]: 31150.0}), revise=True)
    record = next(folder.glob("X.revisions.*.csv"))
    record.write_bytes(record.read_bytes().replace(b"31149.02", b"31149.03"))

    with pytest.raises(DataError, match=r"not the record of revisions that X\.toml names"):
        found(folder)


def test_a_name_that_is_taken_is_not_written_over(
    folder: Path, update: Callable[..., Updated]
) -> None:
    """A dataset called as the new data file would be is not harmed."""
    take(folder, text(part(0, 5)), dataset_id=f"X.{DAYS[-1]}")

    with pytest.raises(DataError, match=f"the name belongs to dataset 'X.{DAYS[-1]}'"):
        update(text(ROWS))

    assert len(load(f"X.{DAYS[-1]}", [folder])) == 5


def test_a_second_update_waits_for_nobody(folder: Path, update: Callable[..., Updated]) -> None:
    """While one update holds the folder, another ends with a line."""
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)

    with pytest.raises(DataError, match="another update is running here"):
        update(text(ROWS))
    os.close(handle)

    assert update(text(ROWS)).added


@pytest.mark.parametrize("at", ["data", "manifest", "old data"])
def test_a_death_at_any_step_leaves_a_dataset(
    folder: Path, update: Callable[..., Updated], monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """The old rows or the new ones are there, whole, and the same update completes it."""
    import harness.data.manifest as module

    written = []
    real = module.write_whole

    def dying(path: Path, content: bytes) -> None:
        written.append(path)
        if len(written) == {"data": 1, "manifest": 2}.get(at):
            raise KeyboardInterrupt
        real(path, content)

    def no_unlink(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_whole", dying)
        if at == "old data":
            patch.setattr(Path, "unlink", no_unlink)
            patch.setattr(module, "write_whole", lambda path, content: path.write_bytes(content))
        with pytest.raises(KeyboardInterrupt):
            update(text(ROWS))

    assert len(found(folder)) == (len(DAYS) if at == "old data" else 30)
    update(text(ROWS))
    assert found(folder).series.dates.tolist() == DAYS


READER = """
import sys
from pathlib import Path
from harness.data.dataset import load
folder, last = Path(sys.argv[1]), sys.argv[2]
seen = 0
while True:
    dataset = load("X", [folder])
    assert len(dataset) >= seen, (len(dataset), seen)
    seen = len(dataset)
    if str(dataset.series.dates[-1]) == last:
        break
print(seen)
"""


def test_a_reader_beside_updates_sees_whole_datasets(
    folder: Path, update: Callable[..., Updated]
) -> None:
    """While sessions are appended one by one, another process reads old or new, never neither."""
    reader = subprocess.Popen(
        [sys.executable, "-P", "-c", READER, str(folder), str(DAYS[-1])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    for row in range(30, len(DAYS)):
        update(text(part(row - 1, row + 1)))

    out, err = reader.communicate(timeout=60)
    assert (err, out) == (b"", f"{len(DAYS)}\n".encode())
    assert np.isfinite(found(folder).series.target).all()
