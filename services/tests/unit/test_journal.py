"""The journal keeps what it said it has, or says that it doesn't (PROTOCOL 1.7)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emporium.replication.effects import Durable, Persist, Promised
from emporium.replication.messages import Snapshot
from emporium.runtime import journal_rows as rows
from emporium.runtime.data_folder import AMNESIAC, INTACT, DataFolder
from emporium.runtime.errors import Corrupt, DiskFull, JournalError
from emporium.runtime.journal import JOURNAL, MARK, Journal, Storage
from emporium.runtime.journal_failures import POISONED
from emporium.runtime.memory_journal import MemoryJournal
from tests.unit.journal_history import History, copy_files, open_folder

WAL = f"{JOURNAL}-wal"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """An open, fresh journal."""
    made = Journal(tmp_path)
    made.open()
    yield made
    made.close()


def reopen(journal: Journal) -> Durable:
    """What a journal holds after a clean close."""
    journal.close()
    return journal.open()


# --- what is written is there ---


def test_fresh_journal_holds_nothing_but_an_incarnation_of_its_own(tmp_path: Path) -> None:
    """Two fresh journals are empty and differ in their incarnation."""
    names = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        found = open_folder(tmp_path / name).durable
        assert found == Durable(found.incarnation)
        names.add(found.incarnation)
    assert len(names) == 2


def test_incarnation_stays_over_restarts(journal: Journal) -> None:
    """Opening again gives the same incarnation."""
    assert reopen(journal).incarnation == reopen(journal).incarnation != ""


def test_what_was_written_is_found_again(journal: Journal) -> None:
    """Promise, genesis, snapshot and entries come back as they went in."""
    history = History()
    persists = [history.form(), history.append(3), history.take_snapshot(), history.append(1)]
    for persist in persists:
        journal.write(persist)
    found = reopen(journal)
    assert found.promised == Promised(1, 0)
    assert found.genesis == history.entries[0]
    assert found.snapshot == history.snapshot
    assert found.entries == history.kept()


@pytest.mark.parametrize("seed", range(12))
def test_journal_and_twin_keep_the_same(tmp_path: Path, seed: int) -> None:
    """Random transactions leave the same in the file, in memory and in a dumb list."""
    history = History(seed)
    journal, twin = Journal(tmp_path, incarnation=lambda: "aa"), MemoryJournal(lambda: "aa")
    assert journal.open() == twin.open()
    for step in range(60):
        persist = history.any()
        journal.write(persist)
        twin.write(persist)
        if step % 10 == 0:
            assert reopen(journal) == twin.durable()
            assert journal.counter == twin.counter == step + 1
    found = reopen(journal)
    journal.close()
    assert found == twin.durable()
    assert (found.entries, found.snapshot) == (history.kept(), history.snapshot)


def test_counter_grows_with_every_transaction(journal: Journal) -> None:
    """An empty transaction and a truncation count too."""
    history = History()
    for persist in (history.form(), history.append(4), Persist(truncate_from=4), Persist()):
        before = journal.counter
        journal.write(persist)
        assert journal.counter == before + 1


def test_snapshot_ahead_covers_entries_of_its_transaction(journal: Journal) -> None:
    """Entries up to a snapshot that is ahead of the log are dropped, later ones are kept."""
    history = History()
    journal.write(history.form())
    new = history.append(4).entries
    at = new[1]
    snapshot = Snapshot(at.index, at.epoch, at.chain, (), "state")
    journal.write(Persist(snapshot=snapshot, entries=new))
    assert reopen(journal).entries == tuple(new[2:])


def test_many_writes_are_folded_into_the_database(tmp_path: Path, journal: Journal) -> None:
    """The log file stays bounded however much is written."""
    history = History()
    journal.write(history.form())
    for _ in range(1_500):
        journal.write(history.append(1))
    assert (tmp_path / WAL).stat().st_size < 8_000_000
    assert (tmp_path / JOURNAL).stat().st_size > 50_000
    assert reopen(journal).entries == history.kept()


# --- what can't be read back is refused before it is written ---


def broken_persists(history: History) -> dict[str, Persist]:
    """Transactions that no core may ask for, by what is wrong with them."""
    entry = history.make()
    covered = Snapshot(2, 1, history.entries[1].chain, (), "state")
    return {
        "a gap": Persist(entries=[history.make()]),
        "a wrong chain": Persist(entries=[replace(entry, chain="00")]),
        "another command": Persist(entries=[replace(entry, command="x")]),
        "an older promise": Persist(promised=Promised(0, 1)),
        "another genesis": Persist(genesis=replace(history.entries[0], chain="00")),
        "compaction without a snapshot": Persist(compact_to=2),
        "truncation below the snapshot": Persist(truncate_from=2),
        "an older snapshot": Persist(snapshot=covered),
    }


@pytest.mark.parametrize(
    "name",
    [
        "a gap",
        "a wrong chain",
        "another command",
        "an older promise",
        "another genesis",
        "compaction without a snapshot",
        "truncation below the snapshot",
        "an older snapshot",
    ],
)
def test_impossible_transaction_is_refused_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    """The journal closes, isn't poisoned, and holds what it held."""
    history = History()
    journal = Journal(tmp_path)
    journal.open()
    journal.write(history.form())
    journal.write(history.append(3))
    if "snapshot" in name and "without" not in name:
        persist = history.take_snapshot()
        persist.compact_to, history.base = None, 0
        journal.write(persist)
    before = journal.counter
    kept = history.kept()
    with pytest.raises(JournalError):
        journal.write(broken_persists(history)[name])
    with pytest.raises(JournalError, match="isn't open"):
        journal.write(Persist())
    found = open_folder(tmp_path)
    assert (found.outcome, found.durable.entries) == (INTACT, kept)
    assert journal.counter == before


def test_newer_format_is_refused_and_left_alone(tmp_path: Path, journal: Journal) -> None:
    """The text names both versions, and the file isn't set aside."""
    journal.close()
    connection = sqlite3.connect(tmp_path / JOURNAL)
    connection.execute("UPDATE format SET version = 7, checksum = ?", (rows.checksum("format", 7),))
    connection.commit()
    connection.close()
    with pytest.raises(JournalError, match="format 7 and this program reads up to 1") as caught:
        open_folder(tmp_path)
    assert not isinstance(caught.value, Corrupt)
    assert not list(tmp_path.glob("set-aside-*"))


# --- damage: intact with everything acknowledged, or amnesia, never a silent loss ---


@pytest.fixture
def crashed(tmp_path: Path) -> tuple[Path, Durable]:
    """The files that a kill leaves, a part of it only in the log, a part only in the database;
    and what they hold."""
    live = tmp_path / "live"
    live.mkdir()
    history, journal = History(3), Journal(live)
    journal.open()
    for _ in range(15):
        journal.write(history.any())
    journal.write(history.append(100))
    journal.close()
    journal.open()
    for _ in range(15):
        journal.write(history.append(2))
    journal.write(Persist(promised=Promised(history.epoch + 1, 2)))
    left = copy_files(live, tmp_path / "left")
    journal.close()
    return left, journal_contents(tmp_path, left)


def journal_contents(tmp_path: Path, left: Path) -> Durable:
    """What a copy of the files holds."""
    found = open_folder(copy_files(left, tmp_path / "expected"))
    assert found.outcome == INTACT
    return found.durable


def check_no_silent_loss(folder: Path, expected: Durable) -> str:
    """Open damaged files: everything is there, or the replica knows that it forgot."""
    found = open_folder(folder)
    if found.outcome == INTACT:
        assert found.durable == expected
    else:
        assert found.outcome == AMNESIAC
        assert found.durable == Durable(found.durable.incarnation)
        assert found.durable.incarnation != expected.incarnation
        assert (folder / "set-aside-1" / JOURNAL).exists()
    return found.outcome


def damage(
    tmp_path: Path, left: Path, expected: Durable, name: str, edits: list[Callable[[bytes], bytes]]
) -> list[str]:
    """Apply each edit to the file `name` of a fresh copy; the outcomes."""
    outcomes = []
    for number, edit in enumerate(edits):
        folder = copy_files(left, tmp_path / f"{name}-{number}")
        (folder / name).write_bytes(edit((folder / name).read_bytes()))
        outcomes.append(check_no_silent_loss(folder, expected))
    return outcomes


def flip(offset: int, bits: int) -> Callable[[bytes], bytes]:
    """An edit that changes one byte."""
    return lambda data: data[:offset] + bytes([data[offset] ^ bits]) + data[offset + 1 :]


def cut(offset: int) -> Callable[[bytes], bytes]:
    """An edit that ends the file early."""
    return lambda data: data[:offset]


def zero(start: int, length: int) -> Callable[[bytes], bytes]:
    """An edit that overwrites a part with zeros."""
    return lambda data: data[:start] + bytes(length) + data[start + length :]


@pytest.mark.parametrize("name", [JOURNAL, WAL])
def test_flipped_byte_is_never_a_silent_loss(
    tmp_path: Path, crashed: tuple[Path, Durable], name: str
) -> None:
    """One changed byte, at 150 places of the database or its log."""
    left, expected = crashed
    size = (left / name).stat().st_size
    places = [*range(0, 100, 3), *range(100, size, size // 120)]
    edits = [flip(place, 1 << place % 8) for place in places]
    outcomes = damage(tmp_path, left, expected, name, edits)
    assert AMNESIAC in outcomes


@pytest.mark.parametrize("name", [JOURNAL, WAL])
def test_torn_tail_is_never_a_silent_loss(
    tmp_path: Path, crashed: tuple[Path, Durable], name: str
) -> None:
    """The database or its log, cut off at many places."""
    left, expected = crashed
    size = (left / name).stat().st_size
    places = [0, 1, 31, 32, 33, 56, size - 1, size - 25, *range(100, size, size // 60)]
    outcomes = damage(tmp_path, left, expected, name, [cut(place) for place in places])
    assert outcomes.count(AMNESIAC) > len(outcomes) * 0.8  # pages that the log has too are none


def test_zeroed_page_is_never_a_silent_loss(tmp_path: Path, crashed: tuple[Path, Durable]) -> None:
    """Each page of the database and of its log, lost."""
    left, expected = crashed
    for name, head, page in ((JOURNAL, 0, 4096), (WAL, 32, 4096 + 24)):
        starts = range(head, (left / name).stat().st_size, page)

        edits = [zero(start, page) for start in starts]
        assert AMNESIAC in damage(tmp_path, left, expected, name, edits)


def test_files_of_different_moments_are_found_out(tmp_path: Path) -> None:
    """Database, log and mark of any three moments: the state of one moment, at least the mark's,
    or amnesia."""
    live = tmp_path / "live"
    live.mkdir()
    history, journal, states = History(5), Journal(live, incarnation=lambda: "aa"), {}
    journal.open()
    moments = []
    for step in range(12):
        journal.write(history.any())
        if step % 4 == 3:
            journal._fold("PASSIVE")
        moments.append(copy_files(live, tmp_path / f"moment-{step}"))
        states[journal.counter] = journal_contents_of(tmp_path, moments[-1], step)
    journal.close()
    for number, (base, log, mark) in enumerate(
        (a, b, c) for a in moments[::2] for b in moments[::2] for c in moments[1::4]
    ):
        folder = tmp_path / f"mixed-{number}"
        folder.mkdir()
        for source, name in ((base, JOURNAL), (log, WAL), (mark, MARK)):
            if (source / name).exists():
                (folder / name).write_bytes((source / name).read_bytes())
        found = open_folder(folder)
        if found.outcome == INTACT:
            counter = rows_counter(folder)
            assert found.durable == states[counter]
            assert counter >= moments.index(mark) + 1


def journal_contents_of(tmp_path: Path, moment: Path, step: int) -> Durable:
    """What the files of one moment hold."""
    return open_folder(copy_files(moment, tmp_path / f"state-{step}")).durable


def rows_counter(folder: Path) -> int:
    """The counter in a closed journal."""
    connection = sqlite3.connect(folder / JOURNAL)
    (counter,) = connection.execute("SELECT counter FROM state").fetchone()
    connection.close()
    return int(counter)


@pytest.mark.parametrize("seed", range(4))
def test_transaction_cut_short_anywhere_is_whole_or_absent(tmp_path: Path, seed: int) -> None:
    """The files as they are before every single statement hold the state before or after."""
    live = tmp_path / "live"
    live.mkdir()
    opened: list[sqlite3.Connection] = []

    def connect(path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA cache_size = 4")  # changed pages spill before the commit
        opened.append(connection)
        return connection

    history, journal = History(seed), Journal(live, connect=connect, incarnation=lambda: "aa")
    before = journal.open()
    copies: list[Path] = []
    opened[-1].set_trace_callback(
        lambda _: copies.append(copy_files(live, tmp_path / f"cut-{len(copies)}"))
    )
    checked = 0
    for _ in range(12):
        journal.write(history.any())
        after = open_folder(copy_files(live, tmp_path / f"after-{len(copies)}")).durable
        for copy in copies[checked:]:
            found = open_folder(copy)
            assert found.outcome == INTACT
            assert found.durable in (before, after)
        before, checked = after, len(copies)
    journal.close()
    assert checked > 40


# --- a disk that fails ---


class FailingConnection(sqlite3.Connection):
    """A connection on which statements that begin with `fails` raise `code`, after the fact or
    before it."""

    fails = ""
    code = 0
    done_first = False

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        """As the real one, but for the failure."""
        if not self.fails or not sql.startswith(self.fails):
            return super().execute(sql, *parameters)
        if self.done_first:
            super().execute(sql, *parameters)
        error = sqlite3.OperationalError("planted")
        error.sqlite_errorcode, error.sqlite_errorname = self.code, f"PLANTED_{self.code}"
        raise error


def write_much(journal: Storage, history: History) -> None:
    """Write more than fits before the log is folded."""
    for _ in range(600):
        journal.write(history.append())


def fail_at(tmp_path: Path, fails: str, code: int, *, done_first: bool) -> JournalError:
    """Write until the planted failure; give the error."""
    opened: list[FailingConnection] = []

    def connect(path: Path) -> sqlite3.Connection:
        opened.append(sqlite3.connect(path, isolation_level=None, factory=FailingConnection))
        return opened[-1]

    folder = DataFolder(tmp_path, journal=lambda place: Journal(place, connect=connect))
    journal = folder.open().journal
    history = History()
    journal.write(history.form())
    connection = opened[-1]
    connection.fails, connection.code, connection.done_first = fails, code, done_first
    with pytest.raises(JournalError) as caught:
        write_much(journal, history)
    folder.close()
    return caught.value


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("statement", ["COMMIT", "UPDATE", "PRAGMA wal_checkpoint(PASSIVE)"])
@pytest.mark.parametrize(
    "code",
    [
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_IOERR_READ,
        sqlite3.SQLITE_CORRUPT,
    ],
)
def test_failed_write_poisons_the_journal(
    tmp_path: Path, statement: str, code: int, moment: str
) -> None:
    """The replica leaves, and starts again as an amnesiac whatever the file holds."""
    error = fail_at(tmp_path, statement, code, done_first=moment == "after")
    assert not isinstance(error, DiskFull)
    assert "planted" in error.detail
    assert (tmp_path / POISONED).exists()
    found = open_folder(tmp_path)
    assert found.outcome == AMNESIAC
    assert "poisoned" in found.sentence
    assert "planted" in found.sentence
    assert not (tmp_path / POISONED).exists()
    assert open_folder(tmp_path).outcome == INTACT


@pytest.mark.parametrize("statement", ["COMMIT", "UPDATE", "PRAGMA wal_checkpoint(PASSIVE)"])
def test_full_disk_leaves_the_journal_intact(tmp_path: Path, statement: str) -> None:
    """The replica leaves with its own error and comes back with its incarnation."""
    error = fail_at(tmp_path, statement, sqlite3.SQLITE_FULL, done_first=False)
    assert isinstance(error, DiskFull)
    found = open_folder(tmp_path)
    assert found.outcome == INTACT
    assert found.durable.genesis is not None


def test_mark_that_cannot_be_written_poisons(tmp_path: Path, journal: Journal) -> None:
    """The mark is part of the write: without it the journal can't be judged later."""
    history = History()
    journal.write(history.form())
    journal._mark.close()
    with pytest.raises(JournalError):
        journal.write(history.append())
    assert (tmp_path / POISONED).exists()


def test_folder_that_gives_no_log_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the right to write there is a clear error, and nothing is set aside."""
    open_folder(tmp_path)
    monkeypatch.setattr("emporium.runtime.journal_failures._may_write", lambda _: False)
    journal = Journal(tmp_path, connect=lambda path: sqlite3.connect(path / "no" / "such"))
    with pytest.raises(JournalError, match="can't be opened") as caught:
        journal.open()
    assert not isinstance(caught.value, Corrupt)
