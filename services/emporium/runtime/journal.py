"""The journal: what a replica has on stable storage, in one SQLite file of its own.

`write` is one transaction in write-ahead mode with `synchronous=FULL`: when it returns, the disk
has it; when it raises, this replica leaves (PROTOCOL 1.7) and the file holds the transaction as a
whole or not at all. A counter grows with every transaction and goes into the mark afterwards, so
that a journal that lost its tail is recognised.

SQLite's own automatic checkpoint is off: it swallows errors, and a failed fsync of the database
followed by one that works would throw the log away while the pages never reached the disk. The
journal folds its log into the database itself, now and then, and sees the errors.

After opening, one thread alone uses a journal. `memory_journal` is its twin for tests.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from emporium.replication.effects import Durable, Persist, Promised
from emporium.replication.messages import Entry, Snapshot
from emporium.runtime import journal_rows as rows
from emporium.runtime.errors import Corrupt, JournalError
from emporium.runtime.files import sync_file, sync_folder
from emporium.runtime.journal_failures import opening_failed, writing_failed
from emporium.runtime.mark import Mark, behind, read_slots

JOURNAL, MARK, DRAFT = "journal.sqlite", "mark", "journal.draft"

_FOLD_PAGES = 1_000  # pages in the log after which it is folded into the database (about 4 MB)
_PAGES_A_WRITE = 2  # at least: the state row's page and that of the entries
_PAGE_CHARACTERS = 4_000
_READERS_WAIT_MS = 2_000  # how long an open waits for a reader of the file (verify, backup)

_INSERT_ENTRY = "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)"
_INSERT_DOCUMENT = "INSERT OR REPLACE INTO documents VALUES (?, ?, ?)"


class Storage(Protocol):
    """What the driver needs of a journal; this one and its twin in memory have it."""

    def open(self) -> Durable:
        """Read and verify everything. Raises JournalError (Corrupt: set it aside)."""

    def write(self, persist: Persist) -> None:
        """Bring one transaction to stable storage. Raises JournalError."""

    def close(self) -> None:
        """Give everything back; again is nothing."""


def connect(path: Path) -> sqlite3.Connection:
    """A connection without Python's own transactions; the thread may change once."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=_READERS_WAIT_MS / 1000,
        isolation_level=None,
        check_same_thread=False,
    )


class Journal:
    """The journal in a data folder. The folder's lock is the caller's (see `data_folder`)."""

    def __init__(
        self,
        folder: Path,
        *,
        connect: Callable[[Path], sqlite3.Connection] = connect,
        incarnation: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        """Touch nothing yet. `connect` and `incarnation` are other ones in tests."""
        self.path = folder / JOURNAL
        self._connect = connect
        self._new_incarnation = incarnation
        self._connection: sqlite3.Connection | None = None
        self._mark = Mark(folder / MARK)
        self._state = rows.State(incarnation="")
        self._unfolded = 0  # pages written since the last fold, as an estimate

    @property
    def counter(self) -> int:
        """Transactions so far, over all starts."""
        return self._state.counter

    # --- open and close ---

    def open(self) -> Durable:
        """Read and verify the file, or make it, sync it, and start the mark.

        Raises Corrupt when the journal is broken, behind its mark or lost (its mark is still
        there), DiskFull, and JournalError for what is wrong around it, a newer format included.
        """
        try:
            self._make_missing()
            slots = read_slots(self._mark_path)
            self._sync()
            self._connection = self._connect(self.path)
            contents = self._read(self._connection)
            if reason := behind(slots, contents.state):
                raise Corrupt(reason)
            self._fold("TRUNCATE")
            self._mark.start(contents.state)
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise opening_failed(error, self.path) from error
        except (ValueError, OverflowError) as error:  # text or numbers that no row of ours has
            self.close()
            raise Corrupt(f"the journal is broken: {error}") from error
        except JournalError:
            self.close()
            raise
        self._state = contents.state
        return contents.durable()

    @property
    def _mark_path(self) -> Path:
        return self.path.with_name(MARK)

    def _make_missing(self) -> None:
        """Make the file where there is none. It appears under its name when it is complete, so
        that a start that was cut short leaves no half journal."""
        if self.path.exists():
            return
        for name in (MARK, f"{JOURNAL}-wal", f"{JOURNAL}-shm"):
            if self.path.with_name(name).exists():
                raise Corrupt(f"the journal is gone, but {name} is there")
        draft = self.path.with_name(DRAFT)
        for end in ("", "-wal", "-shm"):
            draft.with_name(draft.name + end).unlink(missing_ok=True)
        draft.touch(mode=0o600)
        with contextlib.closing(self._connect(draft)) as connection:
            create_tables(connection, rows.State(self._new_incarnation()))
        sync_file(draft)
        draft.rename(self.path)
        sync_folder(self.path.parent)

    def _sync(self) -> None:
        """Bring to the disk whatever a killed predecessor left in the page cache. The checkpoint
        below does it too, but not all of it while somebody reads the file."""
        for end in ("", "-wal"):
            path = self.path.with_name(self.path.name + end)
            if path.exists():
                sync_file(path)

    @staticmethod
    def _read(connection: sqlite3.Connection) -> rows.Contents:
        """Set the connection up, then verify everything that the file holds."""
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA temp_store = MEMORY")  # there may be no folder to write to
        contents = rows.read_contents(connection)
        if (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise Corrupt(f"SQLite's check says: {found}")
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise JournalError(f"the file system gives no write-ahead log, only {mode!r}")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA synchronous = FULL")
        if sys.platform == "darwin":
            connection.execute("PRAGMA fullfsync = ON")
            connection.execute("PRAGMA checkpoint_fullfsync = ON")
        return contents

    def close(self) -> None:
        """Close the files; again is nothing. What failed before is told already."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()
        with contextlib.suppress(OSError):
            self._mark.close()

    # --- write ---

    def write(self, persist: Persist) -> None:
        """One transaction, in the order that `Persist` documents; on the disk when it returns.

        Raises DiskFull (nothing was written and the journal is intact) and JournalError (the
        journal is poisoned, or `persist` can't follow what the journal holds: then nothing was
        written). After any of them the journal is closed.
        """
        connection = self._connection
        if connection is None:
            raise JournalError("the journal isn't open")
        try:
            state = self._transact(connection, persist)
            self._state = state
            self._mark.write(state)
            if self._unfolded >= _FOLD_PAGES:
                self._fold("PASSIVE")
        except (sqlite3.Error, OSError) as error:
            failure = writing_failed(error, self.path)
            self.close()
            raise failure from error
        except JournalError:
            self.close()
            raise

    def _transact(self, connection: sqlite3.Connection, persist: Persist) -> rows.State:
        connection.execute("BEGIN IMMEDIATE")
        state = self._state
        if persist.promised is not None:
            state = _promise(state, persist.promised)
        if persist.genesis is not None:
            state = _put_genesis(connection, state, persist.genesis)
        if persist.truncate_from is not None:
            state = _truncate(connection, state, persist)
        if persist.snapshot is not None:
            state = _put_snapshot(connection, state, persist.snapshot)
            self._unfolded += len(persist.snapshot.state) // _PAGE_CHARACTERS
        if persist.compact_to is not None:
            state = _compact(connection, state, persist.compact_to)
        if persist.entries:
            state = _append(connection, state, persist.entries)
            size = sum(len(entry.command) + 64 for entry in persist.entries)
            self._unfolded += size // _PAGE_CHARACTERS
        state = replace(state, counter=state.counter + 1)
        values = state.values()
        connection.execute(rows.UPDATE_STATE, (*values, rows.checksum(*values)))
        connection.execute("COMMIT")
        self._unfolded += _PAGES_A_WRITE
        return state

    def _fold(self, how: str) -> None:
        """Copy the log's pages into the database and sync both. A reader makes it partial."""
        if self._connection is not None:
            self._connection.execute(f"PRAGMA wal_checkpoint({how})").fetchall()
            self._unfolded = 0


def create_tables(connection: sqlite3.Connection, state: rows.State) -> None:
    """Make an empty journal in `state`, in one transaction, and the write-ahead mode."""
    connection.execute("PRAGMA journal_mode = WAL").fetchone()
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN IMMEDIATE")
    for table in rows.TABLES.strip().split(";"):
        connection.execute(table)
    version = rows.FORMAT_VERSION
    row = (version, rows.checksum("format", version))
    connection.execute("INSERT INTO format VALUES (?, ?)", row)
    values = state.values()
    connection.execute(rows.INSERT_STATE, (*values, rows.checksum(*values)))
    connection.execute("COMMIT")


# --- the parts of a transaction, each from one state to the next ---


def _promise(state: rows.State, promised: Promised) -> rows.State:
    if promised.epoch < state.promised_epoch:
        raise JournalError(f"epoch {state.promised_epoch} is promised, {promised.epoch} is older")
    return replace(state, promised_epoch=promised.epoch, candidate=promised.candidate)


def _put_genesis(connection: sqlite3.Connection, state: rows.State, genesis: Entry) -> rows.State:
    if state.genesis not in ("", genesis.chain):
        raise JournalError("the journal belongs to another group")
    connection.execute(_INSERT_DOCUMENT, rows.document_row(rows.GENESIS, genesis))
    return replace(state, genesis=genesis.chain)


def _truncate(connection: sqlite3.Connection, state: rows.State, persist: Persist) -> rows.State:
    """Delete every entry from `truncate_from` on. What a snapshot covers is committed: it goes
    only together with a newer snapshot that replaces it."""
    index = persist.truncate_from or 0
    if index <= max(state.base_index, state.snapshot_index) and persist.snapshot is None:
        raise JournalError(f"entry {index} is covered by the snapshot and can't be truncated")
    if index > state.last_index:
        return state
    connection.execute('DELETE FROM entries WHERE "index" >= ?', (index,))
    last = max(index - 1, state.base_index)
    return replace(state, last_index=last, last_chain=_chain_at(connection, state, last))


def _put_snapshot(
    connection: sqlite3.Connection, state: rows.State, snapshot: Snapshot
) -> rows.State:
    """Replace the snapshot. One that isn't on this log's chain replaces the log too: it came from
    the reign, and what is here is older or was never committed."""
    index, chain = snapshot.index, snapshot.chain
    if index < max(state.base_index, state.snapshot_index):
        raise JournalError(f"the snapshot at {index} is older than what the journal has")
    connection.execute(_INSERT_DOCUMENT, rows.document_row(rows.SNAPSHOT, snapshot))
    if index > state.last_index or _chain_at(connection, state, index) != chain:
        connection.execute("DELETE FROM entries")
        state = replace(
            state, base_index=index, base_chain=chain, last_index=index, last_chain=chain
        )
    return replace(state, snapshot_index=index)


def _compact(connection: sqlite3.Connection, state: rows.State, index: int) -> rows.State:
    """Delete every entry up to `index`, which becomes the base of the chain."""
    if index <= state.base_index:
        return state
    if index > state.snapshot_index:
        raise JournalError(f"entry {index} isn't covered by the snapshot: it can't be compacted")
    chain = _chain_at(connection, state, index)
    connection.execute('DELETE FROM entries WHERE "index" <= ?', (index,))
    return replace(state, base_index=index, base_chain=chain)


def _append(connection: sqlite3.Connection, state: rows.State, entries: list[Entry]) -> rows.State:
    # A snapshot in the same transaction that is ahead of the log covers those up to its index.
    entries = [entry for entry in entries if entry.index > state.base_index]
    index, chain = rows.check_follows(entries, state.last_index, state.last_chain)
    connection.executemany(_INSERT_ENTRY, [rows.entry_row(entry) for entry in entries])
    return replace(state, last_index=index, last_chain=chain)


def _chain_at(connection: sqlite3.Connection, state: rows.State, index: int) -> str:
    """The chain hash at `index`, which is the base's or a kept entry's."""
    if index == state.base_index:
        return state.base_chain
    query = 'SELECT chain FROM entries WHERE "index" = ?'
    row = connection.execute(query, (index,)).fetchone()
    if row is None:
        raise JournalError(f"entry {index} isn't in the journal")
    return str(row[0])
