"""The journal: whole or not at all, in order, and damage found wherever it is."""

import json
import multiprocessing
import os
import random
import resource
import signal
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

import pytest

from harness.errors import NewerRecordError, StoreError
from harness.records import journal as module
from harness.records import sqlite_file
from harness.records.journal import FILE, Journal

FORK = multiprocessing.get_context("fork")
LARGE = {"numbers": {"noise": [number / 7 for number in range(400)], "few": [1, 2.5]}, "n": 1}


@pytest.fixture
def journal(tmp_path):
    return Journal.open(tmp_path / "runs", create=True)


def again(journal):
    journal.close()
    return Journal.open(journal.path.parent)


def test_records_come_back_as_they_were_written(journal):
    """Bodies of any size and text, the last of each key, in order, by the process that opens."""
    odd = {"": [None, True, 1e300, -0.0, "é\x00\u2028"], "$piece": "none", "b": {"$piece": {}}}
    with journal.writing():
        journal.append("fit", "a", {"n": 1})
        journal.append("fit", "b", odd)
    journal.append("fit", "a", LARGE)

    for one in (journal, Journal.open(journal.path.parent)):
        assert one.latest("fit", "a") == LARGE
        assert one.latest("fit", "b") == odd
        assert one.latest("fit", "c") is None
        assert [(r.key, body["n"]) for r, body in one.all("fit") if "n" in body] == [
            ("a", 1),
            ("a", 1),
        ]
        assert list(one.newest("fit")) == ["a", "b"]
        one.verify()


def test_many_bodies_are_read_as_one_by_one(journal, monkeypatch):
    """In the order asked for, large parts in their places, as objects and as text; damage stops."""
    monkeypatch.setattr(module, "_AT_ONCE", 3)
    with journal.writing():
        for number in range(8):
            journal.append("fit", f"{number}", {"n": number, **(LARGE if number % 2 else {})})
    asked = [r for r in journal.records("fit") if r.key != "4"][::-1]

    found = list(journal.bodies(asked))
    assert found == [journal.body(record) for record in asked]
    assert found == [json.loads(text) for text in journal.texts(asked)]
    assert [r.key for r in journal.after(asked[2].seq, kinds={"fit"})] == ["6", "7"]

    with sqlite3.connect(journal.path) as connection:
        connection.execute("UPDATE records SET body = x'7b7d' WHERE kind = 'fit' AND key = '2'")
    bodies = again(journal).bodies(asked)
    assert [next(bodies) for _ in range(4)] == found[:4]
    with pytest.raises(StoreError, match=r"\(fit 2\): its body was changed"):
        next(bodies)


def test_the_head_stands_for_everything_before_it(journal):
    """It changes with each record and is the same for who opens the store later."""
    heads = [journal.head]
    for key in ("a", "b", "b"):
        journal.append("fit", key, {})
        heads.append(journal.head)

    assert len(set(heads)) == 4
    assert again(journal).head == heads[-1]


def test_what_says_the_same_is_not_written_again(journal):
    """The last record of a key that says the same stands; another one in between does not."""
    first = journal.append_new("check", "a", LARGE)
    same = journal.append_new("check", "a", dict(reversed(LARGE.items())))
    other = journal.append_new("check", "a", {"n": 2})
    back = journal.append_new("check", "a", LARGE)

    assert same == first
    assert [r.seq for r in journal.records("check")] == [first.seq, other.seq, back.seq]


def test_large_parts_are_stored_once(journal):
    """Thousand records that share their large part take little more than one."""
    with journal.writing():
        for number in range(1000):
            journal.append("verdict", str(number), LARGE | {"n": number})

    assert journal.latest("verdict", "999") == LARGE | {"n": 999}
    assert journal.path.stat().st_size < 600_000


def test_a_transaction_that_fails_leaves_nothing(journal):
    """What was appended before the error is taken back, for this process and every other."""
    journal.append("fit", "a", {"n": 1})
    before = journal.head

    with suppress(KeyError), journal.writing():
        journal.append("fit", "a", LARGE)
        raise KeyError

    assert journal.latest("fit", "a") == {"n": 1}
    assert journal.head == again(journal).head == before


def test_two_openings_see_what_the_other_writes(journal, tmp_path):
    """Records of another process are taken in, in one order for all."""
    other = Journal.open(tmp_path / "runs")
    journal.append("fit", "a", {"n": 1})
    other.append("fit", "a", {"n": 2})

    assert journal.latest("fit", "a") == other.latest("fit", "a") == {"n": 2}
    assert journal.head == other.head


def hold(root, begun, end):
    with Journal.open(root).writing():
        begun.set()
        end.wait(30)


def test_a_second_writer_is_told_who_writes_and_ends(journal, tmp_path, monkeypatch):
    """It waits, names the process that holds the file whoever waits, and gives up in one line."""
    read = Path.read_text

    def with_a_waiting_process(file, *arguments, **options):
        waits = "1: -> FLOCK  ADVISORY  WRITE 1 00:00:1 0 EOF\n"
        return (waits if str(file) == "/proc/locks" else "") + read(file, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", with_a_waiting_process)
    begun, end = FORK.Event(), FORK.Event()
    holder = FORK.Process(target=hold, args=(tmp_path / "runs", begun, end))
    holder.start()
    begun.wait(30)
    told = []

    with (
        pytest.raises(StoreError, match=f"process {holder.pid} .*is writing to this store"),
        journal.writing(wait_s=0.2, tell=told.append),
    ):
        pass
    end.set()
    holder.join()

    assert len(told) == 1
    assert f"waiting for process {holder.pid}" in told[0]
    assert journal.append("fit", "a", {}).seq == 1


def test_a_reader_is_told_who_keeps_it_waiting(journal, tmp_path, monkeypatch):
    """Where another process writes its records out for long, a reader ends and names it."""
    monkeypatch.setattr(sqlite_file, "_WAIT_S", 0.1)
    other = sqlite3.connect(journal.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    with pytest.raises(StoreError, match=rf"cannot be read: process {os.getpid()} .* has it"):
        Journal.open(tmp_path / "runs")
    other.close()


def write_some(root, name):
    one = Journal.open(root)
    for number in range(20):
        with one.writing():
            one.append("fit", f"{name}-{number}", {"n": number})
            one.append("part", f"{name}-{number}", {"n": number})


def test_writers_at_the_same_time_lose_nothing(journal, tmp_path):
    """Each transaction of each of them is there, whole, and the chain holds."""
    writers = [FORK.Process(target=write_some, args=(tmp_path / "runs", n)) for n in range(3)]
    for each in writers:
        each.start()
    for each in writers:
        each.join()

    assert len(journal.records("fit")) == len(journal.records("part")) == 60
    kinds = [record.kind for record in journal._rows]
    assert kinds == ["fit", "part"] * 60
    journal.verify()


def write_for_ever(root):
    one = Journal.open(root)
    while True:
        with one.writing():
            for number in range(50):
                one.append("fit", str(number), LARGE | {"n": number})


@pytest.mark.slow
def test_a_killed_writer_leaves_whole_transactions(journal, tmp_path):
    """After each of ten kills there are some hundred percent of transactions, and it goes on."""
    chance = random.Random(0)
    for _ in range(10):
        writer = FORK.Process(target=write_for_ever, args=(tmp_path / "runs",))
        writer.start()
        time.sleep(0.05 + 0.1 * chance.random())
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()

        found = Journal.open(tmp_path / "runs")
        found.verify()
        assert len(found.records("fit")) % 50 == 0
        found.close()
    assert journal.records("fit")


def write_until_full(root, limit, answer):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    one = Journal.open(root)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        for number in range(200):
            noise = random.Random(number).random
            one.append("fit", str(number), {"numbers": [noise() for _ in range(50)]})
    except StoreError as problem:
        answer.put((len(one.records("fit")), one.head, str(problem)))


@pytest.mark.parametrize("limit", [16384, 20000, 30000, 61000])
def test_a_full_place_costs_the_open_transaction_only(journal, tmp_path, limit):
    """One line, the records before it are there, and the next call goes on."""
    answer = FORK.Queue()
    writer = FORK.Process(target=write_until_full, args=(tmp_path / "runs", limit, answer))
    writer.start()
    count, head, problem = answer.get(timeout=30)
    writer.join()

    assert "cannot be written" in problem
    assert "\n" not in problem
    assert len(journal.records("fit")) == count
    assert journal.head == head
    journal.append("fit", "next", {})
    journal.verify()


def some_journal(root):
    journal = Journal.open(root, create=True)
    for number in range(40):
        journal.append("fit", str(number % 7), {"n": number, "noise": os.urandom(40).hex()})
        journal.append("part", str(number), LARGE | {"n": number})
    heads = [(r, journal.body(r)) for r in (*journal.records("fit"), *journal.records("part"))]
    journal.close()
    return heads


def read_again(root, heads):
    """What is read after damage: everything as it was, or one line."""
    try:
        journal = Journal.open(root)
        try:
            found = [
                (r, journal.body(r)) for r in (*journal.records("fit"), *journal.records("part"))
            ]
        finally:
            journal.close()
    except StoreError as problem:
        return "told" if FILE in str(problem) and "\n" not in str(problem) else str(problem)
    return "same" if found == heads else "other"


@pytest.mark.parametrize("cut", [False, True])
def test_no_damage_changes_what_is_read(tmp_path, cut):
    """Of 60 changed bytes and 60 cut ends each is told, or changed nothing that is read."""
    heads = some_journal(tmp_path)
    file = tmp_path / FILE
    whole = file.read_bytes()
    chance = random.Random(1)
    said = []
    for _ in range(60):
        spoiled = bytearray(whole)
        at = chance.randrange(len(whole))
        if cut:
            del spoiled[at:]
        else:
            spoiled[at] ^= 1 << chance.randrange(8)
        file.write_bytes(spoiled)
        said.append(read_again(tmp_path, heads))

    assert set(said) <= {"told", "same"}
    assert said.count("told") == 60 if cut else said.count("told") > 40


def test_what_was_left_out_exchanged_or_put_in_is_named(tmp_path):
    """A row that was edited, removed, moved or added by SQL breaks the chain at that row."""
    edits = {
        "UPDATE records SET body = '{}' WHERE seq = 2": "row 2",
        "UPDATE records SET key = 'z' WHERE seq = 2": "row 2",
        "UPDATE records SET at = '2000-01-01' WHERE seq = 2": "row 2",
        "DELETE FROM records WHERE seq = 2": "row 2",
        "DELETE FROM records WHERE seq = 3": "2 rows",
        "UPDATE records SET seq = 9 WHERE seq = 2": "row 2",
        "INSERT INTO records SELECT 4, at, kind, key, digest, head, body FROM records": "row 4",
        "UPDATE tip SET seq = 2": "3 rows",
        "DROP TABLE tip": "no such table",
        "ALTER TABLE records RENAME COLUMN body TO other": "no such column",
    }
    for number, (edit, named) in enumerate(edits.items()):
        root = tmp_path / str(number)
        journal = Journal.open(root, create=True)
        for key in "abc":
            journal.append("fit", key, {"key": key})
        journal.close()
        connection = sqlite3.connect(root / FILE)
        connection.execute(edit + (" LIMIT 1" if edit.startswith("INSERT") else ""))
        connection.commit()
        connection.close()

        with pytest.raises(StoreError, match=f"damaged: .*{named}"):
            Journal.open(root).verify()


def test_other_files_are_refused_in_one_line(tmp_path):
    """No SQLite, another program's SQLite, a newer version, an empty file, none at all."""
    file = tmp_path / FILE
    with pytest.raises(StoreError, match="no store here"):
        Journal.open(tmp_path)
    file.write_bytes(b"")
    with pytest.raises(StoreError, match="not the records of a store"):
        Journal.open(tmp_path, create=True)
    file.write_bytes(b"hello" * 1000)
    with pytest.raises(StoreError, match="damaged"):
        Journal.open(tmp_path)
    file.unlink()
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE records(a)")
    connection.close()
    with pytest.raises(StoreError, match="not the records of a store"):
        Journal.open(tmp_path)
    file.unlink()
    Journal.open(tmp_path, create=True).close()
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(NewerRecordError, match="schema 2, this one reads up to 1"):
        Journal.open(tmp_path)


def test_a_place_that_cannot_be_written_is_read(journal, monkeypatch):
    """Without leave to write nothing is appended; without locks either it is read all the same."""
    journal.append("fit", "a", LARGE)
    journal.close()
    monkeypatch.setattr(module.os, "access", lambda path, mode: mode != os.W_OK)
    connect = sqlite3.connect

    def without_locks(place, **options):
        if "mode=ro" in place:
            raise sqlite3.OperationalError("locking protocol")
        return connect(place, **options)

    for way in (connect, without_locks):
        monkeypatch.setattr(module.sqlite3, "connect", way)
        found = Journal.open(journal.path.parent)

        assert found.latest("fit", "a") == LARGE
        with pytest.raises(StoreError, match="read-only"):
            found.append("fit", "b", {})
        found.close()


def test_a_journal_is_made_whole_beside_others(tmp_path):
    """Those who make it at the same time open the same one, and leave nothing else."""
    makers = [
        FORK.Process(target=lambda: Journal.open(tmp_path, create=True).append("fit", "a", {}))
        for _ in range(4)
    ]
    for each in makers:
        each.start()
    for each in makers:
        each.join()

    assert len(Journal.open(tmp_path).records("fit")) == 4
    assert [file.name for file in tmp_path.iterdir()] == [FILE]


def test_a_record_needs_a_place_and_text_sqlite_can_hold(journal, tmp_path):
    """Half characters in a key, and a folder that is a file, are one line."""
    with pytest.raises(StoreError, match="cannot be written"):
        journal.append("fit", "\ud800", {})
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="store cannot be written"):
        Journal.open(Path(tmp_path / "file"), create=True)
    assert journal.append("fit", "a", {}).seq == 1


def test_a_journal_at_rest_looks_once(tmp_path):
    """Inside, what others write meanwhile is not seen, unless asked to look; afterwards it is."""
    ours = Journal.open(tmp_path, create=True)
    theirs = Journal.open(tmp_path)
    ours.append("a", "1", {})
    with ours.at_rest(), ours.at_rest():
        before = ours.head
        theirs.append("b", "2", {})

        assert (ours.head, ours.records("b")) == (before, [])
        assert ours.refreshed() == theirs.head
        assert [record.key for record in ours.records("b")] == ["2"]
        theirs.append("b", "3", {})
        assert len(ours.records("b")) == 1
    assert len(ours.records("b")) == 2


@pytest.mark.parametrize("size", [100, 5_000, 50_000])
def test_bodies_of_every_size_are_read_as_they_were_written(tmp_path, size):
    """Small ones lie there as they are, larger ones packed; a second reader finds the same."""
    body = {"text": "".join(map(str, range(size)))[:size]}
    record = Journal.open(tmp_path, create=True).append("kind", "key", body)

    assert Journal.open(tmp_path).body(record) == body
