"""The tables of a journal, their checksums, and how a whole journal is read and judged.

Four tables. `format` is the one thing that every version can read: the version and its checksum.
`state` is one row that every transaction rewrites: the counter, the promise and the extent of the
log. `entries` and `documents` (genesis and snapshot) hold what the replica keeps.

A journal is whole when every row has its checksum, the entries follow one another from the base
to the last index that the state names, without a gap, with the chain hash that the core computed,
and genesis and snapshot are there exactly when the state says so. So a row that is torn, changed,
lost or from another time is found at the start, before the replica promises anything.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, fields
from zlib import crc32

from emporium.replication import wire
from emporium.replication.effects import Durable, Promised
from emporium.replication.log import chain_hash
from emporium.replication.messages import Entry, Snapshot
from emporium.runtime.errors import Corrupt, JournalError

FORMAT_VERSION = 1
"""Raised when an older program can't read the file any more; it then refuses it."""

GENESIS, SNAPSHOT = "genesis", "snapshot"

TABLES = """
CREATE TABLE format (version INTEGER NOT NULL, checksum TEXT NOT NULL);
CREATE TABLE state (
    incarnation TEXT NOT NULL, counter INTEGER NOT NULL,
    promised_epoch INTEGER NOT NULL, candidate INTEGER NOT NULL,
    base_index INTEGER NOT NULL, base_chain TEXT NOT NULL,
    last_index INTEGER NOT NULL, last_chain TEXT NOT NULL,
    genesis TEXT NOT NULL, snapshot_index INTEGER NOT NULL, checksum TEXT NOT NULL
);
CREATE TABLE entries (
    "index" INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, kind TEXT NOT NULL,
    command TEXT NOT NULL, chain TEXT NOT NULL, checksum INTEGER NOT NULL
);
CREATE TABLE documents (name TEXT PRIMARY KEY, text TEXT NOT NULL, checksum TEXT NOT NULL);
"""

READ_ENTRIES = 'SELECT "index", epoch, kind, command, chain, checksum FROM entries ORDER BY "index"'


@dataclass(frozen=True, slots=True)
class State:
    """The state row. The log goes from after `base_index` to `last_index`."""

    incarnation: str
    counter: int = 0  # transactions so far; never goes back
    promised_epoch: int = 0
    candidate: int = -1
    base_index: int = 0
    base_chain: str = ""
    last_index: int = 0
    last_chain: str = ""
    genesis: str = ""  # chain hash of the genesis entry; empty before there is one
    snapshot_index: int = 0  # 0 when there is none

    @property
    def promised(self) -> Promised:
        """The promise as the core knows it."""
        return Promised(self.promised_epoch, self.candidate)

    def values(self) -> tuple[object, ...]:
        """The columns in the table's order, without the checksum."""
        return (
            self.incarnation,
            self.counter,
            self.promised_epoch,
            self.candidate,
            self.base_index,
            self.base_chain,
            self.last_index,
            self.last_chain,
            self.genesis,
            self.snapshot_index,
        )


STATE_COLUMNS = tuple(field.name for field in fields(State))
INSERT_STATE = f"INSERT INTO state VALUES ({', '.join('?' * (len(STATE_COLUMNS) + 1))})"  # noqa: S608
UPDATE_STATE = f"UPDATE state SET {', '.join(f'{c} = ?' for c in STATE_COLUMNS)}, checksum = ?"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a journal holds, verified."""

    state: State
    genesis: Entry | None
    snapshot: Snapshot | None
    entries: tuple[Entry, ...]  # all that are kept, also those that the snapshot covers

    def durable(self) -> Durable:
        """What the core starts from."""
        return Durable(
            incarnation=self.state.incarnation,
            promised=self.state.promised,
            genesis=self.genesis,
            snapshot=self.snapshot,
            entries=self.entries,
        )


def checksum(*values: object) -> str:
    """16 hex digits over the values and the places where one ends and the next begins."""
    texts = [str(value) for value in values]
    joined = "".join([f"{len(text)}:{text}" for text in texts])
    return hashlib.blake2b(joined.encode(), digest_size=8).hexdigest()


def entry_checksum(index: int, epoch: int, kind: str, command: str, chain: str) -> int:
    """The checksum of one row of entries. A quick one: it is in the path of every commit, and the
    chain hash covers the same fields and the entries before them."""
    return crc32(f"{index}|{epoch}|{kind}|{chain}|{command}".encode())


def entry_row(entry: Entry) -> tuple[object, ...]:
    """The row of an entry."""
    row = (entry.index, entry.epoch, entry.kind, entry.command, entry.chain)
    return (*row, entry_checksum(*row))


def document_row(name: str, record: Entry | Snapshot) -> tuple[str, str, str]:
    """The row of the genesis or the snapshot."""
    text = wire.encode(record)
    return name, text, checksum(name, text)


def check_follows(entries: Iterable[Entry], index: int, chain: str) -> tuple[int, str]:
    """Check that `entries` go on after (index, chain); give the (index, chain) of the last.

    Raises JournalError: the caller asks for something that could never be read back.
    """
    for entry in entries:
        expected = chain_hash(chain, entry.epoch, entry.index, entry.kind, entry.command)
        if entry.index != index + 1:
            raise JournalError(f"entry {entry.index} can't follow entry {index}")
        if entry.chain != expected:
            raise JournalError(f"entry {entry.index} doesn't have the chain hash of its place")
        index, chain = entry.index, entry.chain
    return index, chain


def read_contents(connection: sqlite3.Connection) -> Contents:
    """Read and verify everything, as of one moment. Raises Corrupt, JournalError for a newer
    format, and sqlite3.Error for what SQLite itself finds broken."""
    connection.execute("BEGIN")
    try:
        read_version(connection)
        state = _read_state(connection)
        genesis = _read_document(connection, GENESIS)
        snapshot = _read_document(connection, SNAPSHOT)
        entries = _read_entries(connection, state)
        if not isinstance(genesis, Entry | None) or not isinstance(snapshot, Snapshot | None):
            raise Corrupt("genesis or snapshot is another record")
        _check_documents(state, genesis, snapshot, entries)
        return Contents(state, genesis, snapshot, entries)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def read_version(connection: sqlite3.Connection) -> int:
    """The format version. Raises JournalError for a newer one, Corrupt for an unreadable one."""
    rows = connection.execute("SELECT version, checksum FROM format").fetchall()
    if len(rows) != 1 or rows[0][1] != checksum("format", rows[0][0]):
        raise Corrupt("the journal's format version can't be read")
    version = int(rows[0][0])
    if version > FORMAT_VERSION:
        raise JournalError(
            f"the journal has format {version} and this program reads up to {FORMAT_VERSION}:"
            " start the newer version again (the journal is left as it is)"
        )
    if version != FORMAT_VERSION:
        raise Corrupt(f"the journal has the unknown format {version}")
    return version


def _read_state(connection: sqlite3.Connection) -> State:
    rows = connection.execute(f"SELECT {', '.join(STATE_COLUMNS)}, checksum FROM state").fetchall()  # noqa: S608
    if len(rows) != 1:
        raise Corrupt(f"the journal has {len(rows)} state rows instead of one")
    *values, found = rows[0]
    if found != checksum(*values):
        raise Corrupt("the journal's state row doesn't have its checksum")
    return State(*values)


def _read_document(connection: sqlite3.Connection, name: str) -> object:
    """The genesis or the snapshot; None when there is none."""
    query = "SELECT text, checksum FROM documents WHERE name = ?"
    rows = connection.execute(query, (name,)).fetchall()
    if not rows:
        return None
    text, found = rows[0]
    if found != checksum(name, text):
        raise Corrupt(f"the {name} doesn't have its checksum")
    try:
        return wire.decode(text)
    except wire.WireError as error:
        raise Corrupt(f"the {name} can't be read: {error}") from None


def _read_entries(connection: sqlite3.Connection, state: State) -> tuple[Entry, ...]:
    """All entries. Every one must be the next, so that none is lost without being missed."""
    entries: list[Entry] = []
    index, chain = state.base_index, state.base_chain
    for row in connection.execute(READ_ENTRIES):
        found, epoch, kind, command, link, check = row
        if found != index + 1:
            raise Corrupt(f"entry {index + 1} is missing: {found} comes after {index}")
        if check != entry_checksum(found, epoch, kind, command, link):
            raise Corrupt(f"entry {found} doesn't have its checksum")
        if link != chain_hash(chain, epoch, found, kind, command):
            raise Corrupt(f"the chain is broken at entry {found}")
        entries.append(Entry(epoch, found, kind, command, link))
        index, chain = found, link
    if (index, chain) != (state.last_index, state.last_chain):
        raise Corrupt(f"the log ends at entry {index} instead of {state.last_index}")
    return tuple(entries)


def _check_documents(
    state: State, genesis: Entry | None, snapshot: Snapshot | None, entries: tuple[Entry, ...]
) -> None:
    """Genesis and snapshot are those that the state names, and fit the log."""
    if (genesis.chain if genesis else "") != state.genesis:
        raise Corrupt("the genesis isn't the one that the state names")
    if (snapshot.index if snapshot else 0) != state.snapshot_index:
        raise Corrupt(f"the snapshot at {state.snapshot_index} is missing")
    if snapshot is None:
        return
    if not state.base_index <= snapshot.index <= state.last_index:
        raise Corrupt(f"the snapshot at {snapshot.index} isn't within the log")
    at = snapshot.index - state.base_index
    chain = entries[at - 1].chain if at else state.base_chain
    if chain != snapshot.chain:
        raise Corrupt(f"the chain at entry {snapshot.index} isn't the snapshot's")
