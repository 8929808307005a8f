"""The journal of a store: one SQLite file that holds every record, only ever added to.

A record has a kind, a key and a body of JSON. Its row carries the digest of the body, and a head:
the hash of the head before it, of kind, key and time, and of that digest. So the head of the last
row stands for everything written before it, and a row that was changed, lost or put between others
is found and named when the journal is opened. Bodies are held against their digests when they are
read. That protects against accident and against arms, not against the owner of the disk, who can
write a whole new chain: whoever kept an earlier head can tell.

A transaction is there whole or not at all: after a kill, a power cut or a full disk SQLite takes
back the open one, and no other. Parts of a body that are large are rows of their own, kind
``$piece``, and shared by all records that hold the same.

Schema numbers: 1, the first (`PRAGMA user_version`).
"""

from __future__ import annotations

import bz2
import hashlib
import json
import logging
import os
import sqlite3
import weakref
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.errors import DamagedRecordsError, NewerRecordError, StoreError, one_line
from harness.parsing import parse_json
from harness.records.sqlite_file import begin_writing, close, connected, damaged, make, told

FILE = "records.sqlite"
SCHEMA = 1
SHORT = 12
"""Characters of a head that are shown to people."""

_LOG = logging.getLogger(__name__)
_APPLICATION = 0x61626861
_EMPTY = f"PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {SCHEMA};"
_EMPTY += """
CREATE TABLE records(
    seq INTEGER PRIMARY KEY, at TEXT, kind TEXT, key TEXT, digest TEXT, head TEXT, body BLOB
);
CREATE TABLE tip(one INTEGER PRIMARY KEY, seq INTEGER, head TEXT);
INSERT INTO tip VALUES (1, 0, '');
"""  # the body comes last: the rest of a row is read without the pages that hold it
_BEHIND = "SELECT seq, at, kind, key, digest, head FROM records WHERE seq > ? ORDER BY seq"
_PIECE = "$piece"
_PIECE_BYTES, _PIECE_DEPTH = 2000, 2
_PIECE_MARK = f'"{_PIECE}"'.encode()
_PIECES_HELD = 256
"""Pieces that are held in memory: most records share a few."""
_AT_ONCE = 200
"""Bodies that are read in one go."""
_PLAIN_BYTES, _LARGE_BYTES = 512, 65_536
"""Bodies up to the first are stored as they are, from the second on as small as they get."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row of the journal, without its body; `Journal.body` reads that.

    Attributes
    ----------
    seq
        Its place, from 1.
    at
        When it was written: UTC, ISO format, to the second.
    kind, key
        What it is, and of what.
    digest
        Hash of its body.
    head
        Hash of everything up to here.
    """

    seq: int
    at: str
    kind: str
    key: str
    digest: str
    head: str

    def __str__(self) -> str:
        return f"row {self.seq} ({self.kind} {self.key[:40]})"


class Journal:
    """The records of a store. Open one with `Journal.open`; one process and thread uses it.

    Attributes
    ----------
    path
        The SQLite file.
    read_only
        Nothing can be appended: the place cannot be written.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, *, read_only: bool) -> None:
        self.path = path
        self.read_only = read_only
        self._connection = connection
        self._rows: list[Record] = []
        self._places: dict[str, dict[str, list[int]]] = {}  # kind, key -> places in _rows
        self._version = -1
        self._writing = False
        self._resting = False
        self._pieces: dict[str, Any] = {}
        self._close = weakref.finalize(self, close, connection, os.getpid())

    @classmethod
    def open(cls, root: Path, *, create: bool = False) -> Journal:
        """Open the journal of a store, and walk its chain once.

        A place that cannot be written is opened for reading.

        Parameters
        ----------
        root
            The folder of the store.
        create
            Make one where there is none.

        Raises
        ------
        StoreError
            When there is none, it is damaged, or no journal of ours.
        NewerRecordError
            When a newer version made it.
        """
        path = root / FILE
        if create and not path.exists():
            make(path, _EMPTY)
        if not path.is_file():
            raise StoreError(f"{path}: no such file, so there is no store here")
        read_only = not (os.access(path, os.W_OK) and os.access(root, os.W_OK))
        with told(path):
            connection = connected(path, read_only=read_only)
        journal = cls(connection, path, read_only=read_only)
        try:
            with told(path):
                (application,) = connection.execute("PRAGMA application_id").fetchone()
                (schema,) = connection.execute("PRAGMA user_version").fetchone()
            if application != _APPLICATION:
                raise DamagedRecordsError(f"{path}: an SQLite file, but not the records of a store")
            if schema > SCHEMA:
                raise NewerRecordError(
                    f"{path}: made by a newer version: schema {schema}, this one reads up to "
                    f"{SCHEMA}"
                )
            if schema != SCHEMA:
                raise damaged(path, f"its schema number is {schema}")
            journal._catch_up()
        except BaseException:
            journal.close()
            raise
        return journal

    def close(self) -> None:
        """Give the file back; what was not committed is gone."""
        self._close()

    @property
    def head(self) -> str:
        """Hash of everything written so far; '' of an empty journal."""
        if not self._resting:  # it is asked for very often
            self._catch_up()
        return self._rows[-1].head if self._rows else ""

    @property
    def short(self) -> str:
        """The head as people are shown it."""
        return self.head[:SHORT]

    def __len__(self) -> int:
        self._catch_up()
        return len(self._rows)

    def records(self, kind: str, key: str | None = None) -> list[Record]:
        """Every record of a kind, of one key or of all, in the order in which they were written."""
        self._catch_up()
        keys = self._places.get(kind, {})
        places = (
            keys.get(key, []) if key is not None else sorted(p for k in keys.values() for p in k)
        )
        return [self._rows[at] for at in places]

    def after(self, seq: int, *, kinds: Collection[str]) -> list[Record]:
        """Every record of some kinds behind a place, in the order in which they were written."""
        self._catch_up()
        return [record for record in self._rows[seq:] if record.kind in kinds]

    def newest(self, kind: str) -> dict[str, Record]:
        """The last record of every key of a kind; keys in the order of their first record."""
        self._catch_up()
        return {key: self._rows[at[-1]] for key, at in self._places.get(kind, {}).items()}

    def last(self, kind: str, key: str) -> Record | None:
        """The last record of a kind and key; None where there is none."""
        self._catch_up()
        places = self._places.get(kind, {}).get(key)
        return self._rows[places[-1]] if places else None

    def latest(self, kind: str, key: str) -> dict[str, Any] | None:
        """The body of the last record of a kind and key; None where there is none.

        Raises
        ------
        StoreError
            When it is not what was written.
        """
        found = self.last(kind, key)
        return None if found is None else self.body(found)

    def all(self, kind: str, key: str | None = None) -> list[tuple[Record, dict[str, Any]]]:
        """As `records`, each with its body."""
        found = self.records(kind, key)
        return list(zip(found, self.bodies(found), strict=True))

    def body(self, record: Record) -> dict[str, Any]:
        """Read what a record says, held against its digest.

        Raises
        ------
        StoreError
            When it is not what was written.
        """
        return next(self.bodies([record]))

    def bodies(self, records: Sequence[Record]) -> Iterator[dict[str, Any]]:
        """As `body`, of many in one go."""
        for text, record in zip(self._texts(records), records, strict=True):
            content = self._parsed(text, record)
            yield self._whole(content, _PIECE_DEPTH) if _PIECE_MARK in text else content

    def texts(self, records: Sequence[Record]) -> Iterator[bytes]:
        """As `bodies`, each still as JSON."""
        for text, record in zip(self._texts(records), records, strict=True):
            if _PIECE_MARK in text:
                yield _canonical(self._whole(self._parsed(text, record), _PIECE_DEPTH))
            else:
                yield text

    def append(
        self, kind: str, key: str, body: Mapping[str, Any], *, alone: bool = False
    ) -> Record:
        """Write a record, in the open transaction or in one of its own.

        Parameters
        ----------
        body
            As JSON has it: texts as keys, finite numbers.
        alone
            No other record holds the same, so that no part of it is stored as a piece.

        Raises
        ------
        StoreError
            When the place cannot be written, or another process goes on writing to it.
        """
        content, pieces = _split(body, depth=0 if alone else _PIECE_DEPTH)
        with self.writing():
            for name, piece in pieces.items():
                if self.last(_PIECE, name) is None:
                    self._append(_PIECE, name, piece)
            return self._append(kind, key, content)

    def append_new(self, kind: str, key: str, body: Mapping[str, Any]) -> Record:
        """Write a record unless the last one of its kind and key says the same; give that one."""
        wanted = _digest(_canonical(_split(body)[0]))
        known = self.last(kind, key)
        if known is None or known.digest != wanted:
            with self.writing():  # another process may have written it meanwhile
                known = self.last(kind, key)
                if known is None or known.digest != wanted:
                    known = self.append(kind, key, body)
        return known

    @contextmanager
    def writing(
        self, *, wait_s: float = 60.0, tell: Callable[[str], object] = _LOG.warning
    ) -> Iterator[None]:
        """Make one transaction of all that is appended inside: there whole or not at all.

        Inside another `writing` it is part of that one.

        Parameters
        ----------
        wait_s
            How long to wait for another process that writes.
        tell
            Called once with who that is.

        Raises
        ------
        StoreError
            When the place cannot be written, or the other process goes on writing.
        """
        if self._writing:
            yield
            return
        if self.read_only:
            raise StoreError(f"{self.path.parent}: store cannot be written: it is read-only")
        self._begin(wait_s, tell)
        kept = len(self._rows)
        self._writing = True
        try:
            yield
            with told(self.path, "written"):
                if len(self._rows) > kept:
                    last = (len(self._rows), self._rows[-1].head)
                    update = "UPDATE tip SET seq = ?, head = ? WHERE one = 1"
                    self._connection.execute(update, last)
                self._connection.execute("COMMIT")
        except BaseException:
            self._forget_after(kept)
            with suppress(sqlite3.Error):  # a full disk has taken it back already
                self._connection.execute("ROLLBACK")
            raise
        finally:
            self._writing = False

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Look once for what others have written, and not again inside.

        For loops that ask much and write nothing; `refreshed` looks nevertheless.
        """
        if self._resting:
            yield
            return
        self._catch_up()
        self._resting = True
        try:
            yield
        finally:
            self._resting = False

    def refreshed(self) -> str:
        """The head, once what others have written is taken in."""
        self._resting, before = False, self._resting
        try:
            return self.head
        finally:
            self._resting = before

    def verify(self) -> None:
        """Read everything again: the file's own structure, the chain and every body.

        Raises
        ------
        StoreError
            Names the first row that is not what was written.
        """
        with told(self.path):
            (said,) = self._connection.execute("PRAGMA integrity_check(1)").fetchone()
        if said != "ok":
            raise damaged(self.path, one_line(str(said)))
        self._forget_after(0)
        self._pieces.clear()
        self._version = -1
        self._catch_up()
        for text, record in zip(self._texts(self._rows), self._rows, strict=True):
            self._parsed(text, record)

    # -- reading -----------------------------------------------------------------------------

    def _catch_up(self) -> None:
        """Take in rows that others have written since, each held against the one before it."""
        if self._writing or self._resting:
            return
        with told(self.path):
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
            if version == self._version:
                return
            self._connection.execute("BEGIN")
            try:
                found = self._connection.execute(_BEHIND, (len(self._rows),)).fetchall()
                tip = self._connection.execute("SELECT one, seq, head FROM tip").fetchall()
            finally:
                self._connection.execute("COMMIT")
        for row in found:
            self._take_in(Record(*row))
        last = (1, len(self._rows), self._rows[-1].head) if self._rows else (1, 0, "")
        if tip != [last]:
            found_rows = f"{len(self._rows)} rows"
            raise damaged(self.path, f"{found_rows}, but its record of the last one disagrees")
        self._version = version

    def _take_in(self, record: Record) -> None:
        texts = (record.at, record.kind, record.key, record.digest, record.head)
        before = self._rows[-1].head if self._rows else ""
        if record.seq != len(self._rows) + 1 or not all(isinstance(text, str) for text in texts):
            raise damaged(
                self.path, f"row {len(self._rows) + 1} is missing or was not written by abharness"
            )
        if record.head != _head(before, record.kind, record.key, record.at, record.digest):
            raise damaged(self.path, f"{record} was changed or moved after it was written")
        self._add(record)

    def _add(self, record: Record) -> None:
        self._places.setdefault(record.kind, {}).setdefault(record.key, []).append(len(self._rows))
        self._rows.append(record)

    def _forget_after(self, kept: int) -> None:
        while len(self._rows) > kept:
            record = self._rows.pop()
            self._places[record.kind][record.key].pop()
            if not self._places[record.kind][record.key]:
                del self._places[record.kind][record.key]

    def _texts(self, records: Sequence[Record]) -> Iterator[bytes]:
        """The bodies of rows, with names of pieces in place of them, held against their digests."""
        for start in range(0, len(records), _AT_ONCE):
            some = records[start : start + _AT_ONCE]
            places = ", ".join(str(record.seq) for record in some)
            with told(self.path):
                found = dict(
                    self._connection.execute(
                        f"SELECT seq, body FROM records WHERE seq IN ({places})"  # noqa: S608  # whole numbers of ours
                    ).fetchall()
                )
            for record in some:
                packed: Any = found.get(record.seq)
                text = b""
                with suppress(TypeError, ValueError, OSError, EOFError, zlib.error):
                    plainly = packed[:1] in (b"{", b"[")
                    unpacking = bz2.decompress if packed[:3] == b"BZh" else zlib.decompress
                    text = bytes(packed) if plainly else unpacking(packed)
                if _digest(text) != record.digest:
                    said = f"{record}: its body was changed after it was written"
                    raise damaged(self.path, said)
                yield text

    def _parsed(self, text: bytes, record: Record) -> Any:
        return parse_json(text, where=f"{self.path}: {record}")

    def _whole(self, content: Any, depth: int) -> Any:
        """Put pieces in their places."""
        if isinstance(content, dict):
            if list(content) == [_PIECE]:
                name = str(content[_PIECE])
                if name not in self._pieces:
                    record = self.last(_PIECE, name)
                    if record is None:
                        raise damaged(self.path, f"piece {name} is missing")
                    if len(self._pieces) >= _PIECES_HELD:
                        self._pieces.clear()
                    (text,) = self._texts([record])
                    self._pieces[name] = self._parsed(text, record)
                content = self._pieces[name]
            if depth and isinstance(content, dict):
                return {key: self._whole(value, depth - 1) for key, value in content.items()}
        return content

    # -- writing -----------------------------------------------------------------------------

    def _append(self, kind: str, key: str, content: Any) -> Record:
        text = _canonical(content)
        digest = _digest(text)
        at = datetime.now(UTC).isoformat(timespec="seconds")
        before = self._rows[-1].head if self._rows else ""
        head = _head(before, kind, key, at, digest)
        record = Record(len(self._rows) + 1, at, kind, key, digest, head)
        packed = text
        if len(text) > _PLAIN_BYTES:
            packed = (bz2 if len(text) >= _LARGE_BYTES else zlib).compress(text, 9)
        with told(self.path, "written"):
            self._connection.execute(
                "INSERT INTO records(seq, at, kind, key, digest, head, body) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (record.seq, at, kind, key, digest, head, packed),
            )
        self._add(record)
        return record

    def _begin(self, wait_s: float, tell: Callable[[str], object]) -> None:
        begin_writing(self._connection, self.path, wait_s=wait_s, tell=tell)
        try:  # nobody else can write any more: take in what others have written until now
            with told(self.path):
                found = self._connection.execute(_BEHIND, (len(self._rows),)).fetchall()
            for row in found:
                self._take_in(Record(*row))
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise


def _split(body: Mapping[str, Any], *, depth: int = _PIECE_DEPTH) -> tuple[Any, dict[str, Any]]:
    """A body with the names of its large parts in their places, and these by name."""
    pieces: dict[str, Any] = {}

    def without(content: Any, depth: int) -> Any:
        if not isinstance(content, Mapping) or not depth:
            return content
        found = {}
        for key, value in content.items():
            part = without(value, depth - 1)
            if isinstance(part, Mapping | list | tuple):
                text = _canonical(part)
                looks_like_one = isinstance(part, Mapping) and list(part) == [_PIECE]
                if len(text) > _PIECE_BYTES or looks_like_one:
                    name = _digest(text)
                    pieces[name] = part
                    part = {_PIECE: name}
            found[key] = part
        return found

    return without(body, depth), pieces


def _canonical(content: Any) -> bytes:
    """As every version writes the same content: keys in order, no blanks, UTF-8."""
    text = json.dumps(
        content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode("utf-8", errors="surrogatepass")


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _head(before: str, kind: str, key: str, at: str, digest: str) -> str:
    return _digest("\n".join((before, kind, key, at, digest)).encode("utf-8", "surrogatepass"))
